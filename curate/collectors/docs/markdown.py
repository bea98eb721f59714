"""Markdown → sections. Code stays as it is; front matter, comments, badges, contents and dead links are left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from curate.collectors.docs.document import Document, Heading, Section, nest


def read_markdown(text: str, *, tags: bool = False) -> Document:
    """The sections of a Markdown text, with the lines of their headings. `tags` says that HTML tags in it are text."""
    from markdown_it import MarkdownIt

    text, title = _without_front_matter(text)
    lines = text.split("\n")
    # Inline marks are left as they are written, so only blocks are parsed.
    tokens = MarkdownIt("commonmark").enable("table").disable("inline").parse(text)
    code = [False] * (len(lines) + 1)
    headings: list[Heading] = []
    for token, after in zip(tokens, [*tokens[1:], None], strict=False):
        if token.map is None:
            continue
        start, end = token.map
        if token.type in ("fence", "code_block"):
            code[start:end] = [True] * (end - start)
        elif token.type == "heading_open" and token.level == 0 and after is not None:
            headings.append(Heading(int(token.tag[1]), plain(after.content, tags=tags), start, end))
    prose = "\n".join(line for line, is_code in zip(lines, code, strict=False) if not is_code)
    definitions = {name.lower(): target for name, target in _DEFINITION.findall(prose)}

    def body(start: int, end: int) -> str:
        return _clean(lines[start:end], code[start:end], definitions, tags)

    sections = [Section((), body(0, headings[0].start if headings else len(lines)), 1)]
    ends = [*(heading.start for heading in headings[1:]), len(lines)]
    for heading, path, end in zip(headings, nest(headings), ends, strict=False):
        sections.append(Section(path, body(heading.body, end), heading.start + 1))
    return Document(title, sections)


def plain(inline: str, *, tags: bool = False) -> str:
    """Text of a heading without its marks, links and anchors."""
    inline = re.sub(r"\s*\{#[^}]*\}\s*$", "", inline[:300])  # emphasis is found in quadratic time
    inline = _IMAGE.sub("", inline)
    inline = _LINK.sub(r"\1", inline)
    inline = _REFERENCE.sub(r"\1", inline)
    if not tags:
        inline = _TAG.sub("", inline)
    inline = re.sub(r"(\*\*|__)(\S(?:.*?\S)?)\1", r"\2", inline)
    inline = re.sub(r"(?<!\w)([*_])(\S(?:.*?\S)?)\1(?!\w)", r"\2", inline)
    inline = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", inline.replace("`", ""))
    return " ".join(inline.replace("¶", "").replace("\uf0c1", "").split())


_DEFINITION = re.compile(r"^ {0,3}\[([^\[\]\n]+)\]:[ \t]*<?(\S+?)>?(?:[ \t]+[\"'(][^\n]*)?[ \t]*$", re.MULTILINE)
_IMAGE = re.compile(r"!\[[^\[\]]*\](?:\([^()\n]*(?:\([^()\n]*\)[^()\n]*)?\)|\[[^\[\]\n]*\])")
_LINK = re.compile(
    r"\[([^\[\]]*)\]\(\s*<?([^()\s<>]*(?:\([^()\s<>]*\)[^()\s<>]*)*)>?(?:\s+\"[^\"\n]*\"|\s+'[^'\n]*')?\s*\)"
)
_REFERENCE = re.compile(r"\[([^\[\]]+)\]\[([^\[\]\n]*)\]")
_TAG = re.compile(
    r"</?(?:a|abbr|b|big|br|center|details|div|em|figure|figcaption|font|h[1-6]|hr|i|img|ins|nobr|p|picture|section"
    r"|small|source|span|strong|sub|summary|sup|u|video|wbr)(?:\s[^<>]*=[^<>]*)?\s*/?>",
    re.IGNORECASE,
)
_INLINE_CODE = re.compile(r"(`+)(?!`)(.*?)(?<!`)\1(?!`)", re.DOTALL)
_TOC_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\[[^\[\]]*\]\(#[^()\s]*\)\s*")


def _without_front_matter(text: str) -> tuple[str, str | None]:
    """The text with its front matter blanked, so that lines keep their numbers, and the title it gives."""
    fence = text[:3]
    if fence not in ("---", "+++") or text[3:4] != "\n":
        return text, None
    end = text.find(f"\n{fence}", 3)
    if end < 0 or end > 20_000 or text[end + 4 : end + 5] not in ("", "\n"):
        return text, None
    matter = text[4:end]
    if not re.search(r"^[\w\"-]+\s*[:=]", matter, re.MULTILINE):
        return text, None
    found = re.search(r"^title\s*[:=]\s*(.+?)\s*$", matter, re.MULTILINE)
    title = found.group(1).strip("\"' ") if found else None
    return "\n" * text[: end + 4].count("\n") + text[end + 4 :], title or None


def _clean(lines: list[str], code: list[bool], definitions: dict[str, str], tags: bool) -> str:
    blocks: list[str] = []
    for is_code, block in _runs(lines, code):
        blocks.append("\n".join(block) if is_code else _clean_prose("\n".join(block), definitions, tags))
    joined = "\n".join(blocks).strip("\n")
    return joined if joined.strip() else ""


def _runs(lines: list[str], code: list[bool]) -> Iterator[tuple[bool, list[str]]]:
    start = 0
    for index in range(1, len(lines) + 1):
        if index == len(lines) or code[index] != code[start]:
            if start < index:
                yield code[start], lines[start:index]
            start = index


def _clean_prose(text: str, definitions: dict[str, str], tags: bool) -> str:
    if not tags:
        text = cut_between(text, "<!--", "-->")
        for tag in ("script", "style", "svg", "iframe"):
            text = cut_between(text, f"<{tag}", f"</{tag}>")
    text = _DEFINITION.sub("", text)
    text = "\n".join("" if _is_contents(line) else line for line in text.split("\n"))
    text = _outside_inline_code(text, lambda piece: _clean_inline(piece, definitions, tags))
    lines = [line.rstrip() for line in text.split("\n")]
    shown = ["" if line.strip() in ("---", "***", "___", "&nbsp;") else line for line in lines]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(shown))


def _is_contents(line: str) -> bool:
    """Whether a line belongs to a table of contents: a list item that is a link within the page, or a mark for one."""
    return _TOC_ITEM.fullmatch(line) is not None or line.strip().lower() in ("[toc]", "[[toc]]", "{:toc}")


def _clean_inline(text: str, definitions: dict[str, str], tags: bool) -> str:
    def by_reference(match: re.Match[str]) -> str:
        target = definitions.get((match.group(2) or match.group(1)).lower())
        return match.group(0) if target is None else _linked(match.group(1), target)

    text = _IMAGE.sub("", text)
    text = _LINK.sub(lambda match: _linked(match.group(1), match.group(2)), text)
    text = _REFERENCE.sub(by_reference, text)
    return text if tags else _TAG.sub("", text)


def _linked(text: str, target: str) -> str:
    # A path or an anchor leads nowhere once the section stands alone; an address still does.
    if not text.strip():
        return ""
    return f"[{text}]({target})" if target.startswith(("http://", "https://")) else text


def _outside_inline_code(text: str, change: Callable[[str], str]) -> str:
    """`text` changed everywhere but between backticks; a stand-in keeps links whole that hold code."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match.group(0))
        return f"\ue010{len(kept) - 1}\ue011"

    changed = change(_INLINE_CODE.sub(keep, text.replace("\ue010", "").replace("\ue011", "")))
    return re.sub("\ue010(\\d+)\ue011", lambda match: kept[int(match.group(1))], changed)


def cut_between(text: str, start: str, end: str) -> str:
    """`text` without what lies between two marks, in linear time; lines keep their numbers, an unclosed mark stays."""
    pieces: list[str] = []
    at = 0
    # Lower case of the same length: a few letters grow when lowered, and places must agree.
    lowered = text.translate(_ASCII_LOWER)
    while (found := lowered.find(start, at)) >= 0:
        close = lowered.find(end, found + len(start))
        if close < 0:
            break
        pieces += [text[at:found], "\n" * text.count("\n", found, close)]
        at = close + len(end)
    return "".join([*pieces, text[at:]])


_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
