"""reStructuredText → sections in Markdown. Nothing is included, fetched or run; Sphinx's marks are read as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from curate.collectors.docs.document import Document, Section
from schemas.errors import Rejected


def read_rst(text: str) -> Document:
    """The sections of a reStructuredText document, with the lines of their headings."""
    import docutils.core
    import docutils.nodes
    import docutils.utils
    from docutils.parsers.rst import directives, roles

    _offer_directives(text, directives)
    known_roles = dict(roles._roles)
    try:
        tree = docutils.core.publish_doctree(_without_roles(text), settings_overrides=_SETTINGS)
    except docutils.utils.SystemMessage as error:
        raise Rejected("bad_markup", f"cannot be read as reStructuredText: {error}") from error
    finally:
        roles._roles.clear()
        roles._roles.update(known_roles)
    title = tree.get("title")
    sections: list[Section] = []
    _walk(tree, (), sections, 1)
    return Document(title, sections, _lost(tree))


_SETTINGS = {
    "_disable_config": True,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 5,
    "warning_stream": False,
    "doctitle_xform": False,
    "docinfo_xform": False,
    "sectsubtitle_xform": False,
    "syntax_highlight": "none",
    "smart_quotes": False,
    "line_length_limit": 100_000,
    "input_encoding": "unicode",
}

_ROLE = re.compile(r"(?<![`\w\\]):((?:[A-Za-z][\w+.-]*:){0,2})([A-Za-z][\w+.-]*):`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_PROSE_ROLES = frozenset(
    [
        "ref",
        "doc",
        "term",
        "numref",
        "abbr",
        "guilabel",
        "menuselection",
        "emphasis",
        "strong",
        "title",
        "any",
        "download",
    ]
)
_KEPT_ROLES = frozenset(["math", "sub", "sup", "subscript", "superscript", "code"])


def _without_roles(text: str) -> str:
    """The text with Sphinx's roles as words or literals: docutils does not know them and would drop what they hold."""

    def plain(match: re.Match[str]) -> str:
        role, content = match.group(2), match.group(3)
        if role in _KEPT_ROLES:
            return match.group(0)
        shown = re.fullmatch(r"(.+?)\s+<.*>", content, re.DOTALL)
        words = (shown.group(1) if shown else content).lstrip("!")
        if words.startswith("~"):
            words = words[1:].split(".")[-1]
        words = " ".join(words.split())
        return words if role in _PROSE_ROLES or not words else f"``{words}``"

    return _ROLE.sub(plain, text)


def _offer_directives(text: str, directives: Any) -> None:
    """Teaches docutils every directive that the text names and it does not know: its content is read, or left out."""
    from docutils import nodes
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    class Content(Directive):  # type: ignore[misc]
        """A directive of Sphinx or of somebody's own: a label made of its arguments, and its content as text."""

        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True
        option_spec = _AnyOption()

        def run(self) -> list[Any]:
            name = self.name.split(":")[-1].lower()
            argument = " ".join(self.arguments[0].split()) if self.arguments else ""
            if name in _LEFT_OUT:
                return []
            if name in _CODE:
                language = argument.split()[0] if argument else ""
                return [nodes.literal_block("\n".join(self.content), "\n".join(self.content), language=language)]
            box = nodes.container()
            content = StringList(self.content)
            if name in _LABELLED:
                end = ":" if self.content else "."
                box += nodes.paragraph("", "", nodes.strong("", f"{_LABELLED[name]} {argument}".strip() + end))
            elif argument and name not in ("only", "ifconfig"):
                signature = nodes.literal("", argument)
                box += nodes.paragraph("", "", signature)
            self.state.nested_parse(content, self.content_offset, box)
            return [box]

    for name in set(re.findall(r"^\s*\.\.\s+([A-Za-z][\w+.:-]*?)::(?:\s|$)", text, re.MULTILINE)):
        if name.lower() in _LEFT_OUT or name.lower() not in directives._directive_registry:
            directives._directives[name.lower()] = Content


class _AnyOption(dict[str, Any]):
    """Options that take whatever is written."""

    def __bool__(self) -> bool:
        return True

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> Any:
        return lambda argument: argument


_CODE = frozenset(
    ["sourcecode", "code-block", "highlight-block", "testcode", "doctest", "ipython", "prompt", "parsed-code", "cli"]
)
_LEFT_OUT = frozenset(
    """toctree index module currentmodule automodule autoclass autofunction automethod autosummary autodata
    autoexception autoattribute py-module literalinclude highlight tabularcolumns graphviz plot testsetup testcleanup
    sectionauthor codeauthor todo todolist mermaid uml youtube bibliography program default-domain click argparse image
    figure video contents sectnum meta inheritance-diagram""".split()  # noqa: SIM905 - a list of words reads as words
)
_LABELLED = {
    "versionadded": "Added in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "versionremoved": "Removed in version",
    "seealso": "See also",
}


def _lost(tree: Any) -> list[tuple[str, str]]:
    """What docutils could make nothing of: it puts such text into its messages, where no section has it."""
    from docutils import nodes

    messages = [one for one in tree.findall(nodes.system_message) if one.get("level", 0) >= 3]
    lines = [str(one.get("line")) for one in messages if any(isinstance(c, nodes.literal_block) for c in one.children)]
    if not lines:
        return []
    shown = ", ".join(lines[:20]) + (" and more" if len(lines) > 20 else "")
    return [("bad_markup", f"cannot be read as reStructuredText at line {shown}")]


def _walk(node: Any, path: tuple[str, ...], sections: list[Section], line: int | None) -> None:
    """Adds the section that a node is, then those inside it."""
    from docutils import nodes

    name = path
    own: list[Any] = []
    inner: list[Any] = []
    for child in node.children:
        if isinstance(child, nodes.section):
            inner.append(child)
        elif isinstance(child, nodes.title):
            name = (*path, " ".join(child.astext().split()))
        else:
            own.append(child)
    sections.append(Section(name, _blocks(own), line))
    for child in inner:
        title = next((one for one in child.children if isinstance(one, nodes.title)), child)
        # docutils counts from the line under the title.
        at = title.line or child.line
        _walk(child, name, sections, max(1, at - 1) if at else None)


def _blocks(children: Iterable[Any], depth: int = 0) -> str:
    if depth > 60:
        raise Rejected("too_deep", "nests blocks more than 60 deep")
    return "\n\n".join(text for child in children if (text := _block(child, depth + 1)).strip())


def _block(node: Any, depth: int) -> str:
    from docutils import nodes

    if isinstance(node, _hidden()) or "contents" in getattr(node, "attributes", {}).get("classes", ()):
        return ""
    if isinstance(
        node, nodes.paragraph | nodes.rubric | nodes.attribution | nodes.caption | nodes.title | nodes.subtitle
    ):
        text = _inline(node)
        return f"**{text}**" if isinstance(node, nodes.rubric | nodes.title | nodes.subtitle) and text else text
    if isinstance(node, nodes.literal_block | nodes.doctest_block):
        language = node.get("language") or next(
            (name for name in node.get("classes", []) if name not in ("code", "highlight")), ""
        )
        if isinstance(node, nodes.doctest_block):
            language = "pycon"
        fence = "`" * max(3, max((len(run) for run in re.findall("`{3,}", node.astext())), default=2) + 1)
        return f"{fence}{language}\n{node.astext()}\n{fence}"
    if isinstance(node, nodes.math_block):
        return f"$$\n{node.astext()}\n$$"
    if isinstance(node, nodes.bullet_list):
        return _list(node, ("-" for _ in node.children), depth)
    if isinstance(node, nodes.enumerated_list):
        start = int(node.get("start", 1))
        return _list(node, (f"{start + at}." for at in range(len(node.children))), depth)
    if isinstance(node, nodes.definition_list | nodes.option_list | nodes.field_list):
        return "\n".join(_definition(item, depth) for item in node.children)
    if isinstance(node, nodes.block_quote):
        return _indent(_blocks(node.children, depth), "> ")
    if isinstance(node, nodes.line_block):
        return "\n".join(
            _inline(line) if isinstance(line, nodes.line) else _block(line, depth) for line in node.children
        )
    if isinstance(node, nodes.Admonition):
        label = node.__class__.__name__.capitalize()
        inner = _blocks(node.children, depth)
        return inner if isinstance(node, nodes.admonition) else f"**{label}:** {inner}"
    if isinstance(node, nodes.table):
        return _table(node, depth)
    if isinstance(node, nodes.Inline | nodes.Text):
        return _inline_one(node)
    return _blocks(node.children, depth)


def _hidden() -> tuple[type, ...]:
    from docutils import nodes

    return (
        nodes.comment, nodes.system_message, nodes.substitution_definition, nodes.target, nodes.pending, nodes.image,
        nodes.raw, nodes.docinfo, nodes.transition, nodes.footnote, nodes.citation, nodes.header, nodes.footer,
        nodes.meta,
    )  # fmt: skip


def _list(node: Any, marks: Iterable[str], depth: int) -> str:
    items = []
    for mark, item in zip(marks, node.children, strict=False):
        text = _blocks(item.children, depth)
        items.append(f"{mark} " + _indent(text, " " * (len(mark) + 1)).lstrip())
    loose = any("\n\n" in item for item in items)
    return ("\n\n" if loose else "\n").join(items)


def _definition(item: Any, depth: int) -> str:
    from docutils import nodes

    terms = []
    body = ""
    for child in item.children:
        if isinstance(child, nodes.definition | nodes.description | nodes.field_body):
            body = _blocks(child.children, depth)
        elif isinstance(child, nodes.option_group):
            terms.append(f"`{child.astext()}`")
        else:
            terms.append(_inline(child))
    term = " ".join(terms)
    if isinstance(item, nodes.field):
        term += ":"
    return f"- {term if term.startswith('`') else f'**{term}**'}\n" + _indent(body, "  ") if body else f"- {term}"


def _table(node: Any, depth: int) -> str:
    from docutils import nodes

    title = next((_block(child, depth) for child in node.children if isinstance(child, nodes.title)), "")
    rows: list[list[str]] = []
    heads = 0
    for group in node.findall(nodes.tgroup):
        for part in group.children:
            if not isinstance(part, nodes.thead | nodes.tbody):
                continue
            for row in part.children:
                heads += isinstance(part, nodes.thead)
                cells: list[str] = []
                for entry in row.children:
                    text = " ".join(_blocks(entry.children, depth).split()).replace("|", "\\|")
                    cells += [text, *[""] * int(entry.get("morecols", 0))]
                rows.append(cells)
    return "\n\n".join(part for part in (title, table(rows, has_head=heads > 0)) if part)


def table(rows: list[list[str]], *, has_head: bool = True) -> str:
    """A Markdown table; without a head its first line is empty, as Markdown wants one."""
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        return ""
    columns = max(len(row) for row in rows)
    rows = [[*row, *[""] * (columns - len(row))] for row in rows]
    if not has_head:
        rows = [[""] * columns, *rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * columns}", *lines[1:]])


def _inline(node: Any) -> str:
    return "".join(_inline_one(child) for child in node.children)


def _inline_one(node: Any) -> str:
    from docutils import nodes

    if isinstance(node, nodes.Text):
        return " ".join(re.split(r"[ \t]*\n[ \t]*", cast(str, node.astext())))
    if isinstance(node, nodes.literal):
        text = node.astext()
        return f"`` {text} ``" if "`" in text else f"`{text}`"
    if isinstance(node, nodes.math):
        return f"${node.astext()}$"
    if isinstance(node, nodes.strong):
        return f"**{_inline(node)}**"
    if isinstance(node, nodes.emphasis):
        return f"*{_inline(node)}*"
    if isinstance(node, nodes.reference):
        target = node.get("refuri", "")
        text = _inline(node)
        plain = not target.startswith(("http://", "https://")) or target == text
        return text if plain else f"[{text}]({target})"
    if isinstance(
        node, nodes.footnote_reference | nodes.citation_reference | nodes.image | nodes.system_message | nodes.raw
    ):
        return ""
    if isinstance(node, nodes.target):
        return _inline(node)
    if isinstance(node, nodes.problematic):
        return cast(str, node.astext())
    return _inline(node)


def _indent(text: str, by: str) -> str:
    return "\n".join(f"{by}{line}".rstrip() if line or by.strip() else "" for line in text.split("\n"))
