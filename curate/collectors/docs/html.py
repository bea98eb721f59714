"""HTML → sections: the main part of a page without navigation, scripts and styles; tables and code as Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from curate.collectors.docs.document import Document, Section
from curate.collectors.docs.markdown import cut_between, read_markdown
from schemas.errors import Rejected


def read_html(text: str) -> Document:
    """The sections of a page, with the lines of their headings."""
    from bs4 import BeautifulSoup, Comment, Declaration, Doctype, ProcessingInstruction
    from bs4.element import Tag

    # Python's parser takes quadratic time over what these two lines take out.
    text = cut_between(text, "<!--", "-->").replace("<!--", "").replace("<![", "&lt;![")
    soup = BeautifulSoup(_MARKS.sub("", text), "html.parser")
    if _depth(soup) > _MAX_DEPTH:
        raise Rejected("too_deep", f"nests elements more than {_MAX_DEPTH} deep")
    page_title = soup.title.get_text(" ", strip=True) if soup.title is not None else ""
    for piece in soup.find_all(
        string=lambda found: isinstance(found, Comment | Declaration | Doctype | ProcessingInstruction)
    ):
        piece.extract()
    for tag in soup.find_all(list(_DROPPED_TAGS)):
        tag.extract()
    for tag in soup.find_all(_is_navigation):
        tag.extract()
    main = _main(soup)
    for heading in main.find_all(_HEADINGS):
        line = heading.sourceline or 0
        for link in heading.find_all("a"):
            if link.get_text(strip=True).casefold() in _ANCHORS:
                link.extract()
        heading.insert(0, f"\ue000{line}\ue001")
    for list_tag in main.find_all(["ul", "ol"]):
        if isinstance(list_tag, Tag) and list_tag.parent is not None and _is_contents(list_tag):
            list_tag.extract()
    document = read_markdown(_to_markdown(main), tags=True)
    sections = [_placed(section) for section in document.sections]
    return Document(page_title or None, sections)


_MARKS = re.compile("[\ue000\ue001]")
_MARK = re.compile("\ue000(\\d+)\ue001\\s*")
_MAX_DEPTH = 200
_ANCHORS = frozenset(["", "#", "§", "¶", "🔗", "link", "permalink", "anchor", "\uf0c1"])
_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
_DROPPED_TAGS = frozenset(
    [
        "script", "style", "nav", "noscript", "template", "iframe", "svg", "form", "button", "select", "input",
        "textarea", "object", "embed", "canvas", "audio", "video", "head", "aside", "footer", "map", "dialog", "math",
    ]
)  # fmt: skip
_NAVIGATION = re.compile(
    r"(?:^|[-_ ])(?:nav|navbar|navigation|navheader|navfooter|sidebar|sphinxsidebar(?:wrapper)?|breadcrumbs?|toc"
    r"|toctree-wrapper|contents|menu|topbar|footer|cookies?|headerlink|permalink|anchorjs-link|doc-anchor|srclink|src"
    r"|rightside|out-of-band|related|pagination|pager|skip-link|skiplink|share|social|advert\w*|ads|comments?"
    r"|search(?:box|form|bar)?|prev-next-\w+|rst-footer-buttons|wy-nav-side|md-sidebar|md-header|md-footer|edit-page"
    r"|copybtn|mw-editsection|mw-jump-link|catlinks|printfooter|noprint)(?:$|[ ])",
    re.IGNORECASE,
)


def _is_navigation(tag: Any) -> bool:
    if tag.name in ("html", "body", "main", "article"):
        return False
    if tag.get("role") in ("navigation", "banner", "contentinfo", "search", "complementary", "menu", "dialog"):
        return True
    if tag.get("hidden") is not None or tag.get("aria-hidden") == "true":
        return True
    style = tag.get("style")
    if isinstance(style, str) and re.search(r"display\s*:\s*none", style):
        return True
    names = tag.get("class") or []
    names = [names] if isinstance(names, str) else list(names)
    own = tag.get("id")
    found = any(_NAVIGATION.search(name) for name in names) or (
        isinstance(own, str) and bool(_NAVIGATION.fullmatch(own))
    )
    # A wrapper that holds the page's headings is no navigation, whatever it is called.
    return found and len(tag.find_all(_HEADINGS, limit=3)) < 3


def _is_contents(tag: Any) -> bool:
    """Whether a list is a table of contents: nothing but links within the page or to its neighbours, at least three."""
    links = tag.find_all("a")
    if len(links) < 3:
        return False
    linked = sum(len(link.get_text(strip=True)) for link in links)
    inside = all(not str(link.get("href") or "#").startswith(("http://", "https://")) for link in links)
    return inside and linked >= 0.9 * len(tag.get_text("", strip=True))


def _main(soup: Any) -> Any:
    """The element that holds what the page is about."""
    whole = soup.body or soup
    for pattern in ({"name": "main"}, {"role": "main"}, {"name": "article"}, {"class_": "body"}, {"id": "content"}):
        found = soup.find_all(**pattern)
        if len(found) == 1 and len(found[0].get_text()) > 0.4 * len(whole.get_text()):
            return found[0]
    return whole


def _depth(soup: Any) -> int:
    deepest = 0
    stack = [(soup, 0)]
    while stack:
        node, depth = stack.pop()
        deepest = max(deepest, depth)
        for child in getattr(node, "contents", ()):
            if hasattr(child, "contents"):
                stack.append((child, depth + 1))
    return deepest


def _to_markdown(element: Any) -> str:
    from markdownify import ATX, MarkdownConverter

    converter = MarkdownConverter(
        heading_style=ATX,
        bullets="-",
        strip=["img"],
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        table_infer_header=True,
        code_language_callback=_code_language,
    )
    return str(converter.convert_soup(element))


def _code_language(element: Any) -> str:
    for tag in [*element.find_all("code", limit=1), element, *list(element.parents)[:3]]:
        names = tag.get("class") if hasattr(tag, "get") else None
        for name in [names] if isinstance(names, str) else names or []:
            found = re.fullmatch(r"(?:language|lang|highlight|brush|sourceCode)[-:_](?:source-)?([A-Za-z0-9+#]+)", name)
            if found and found.group(1) not in ("default", "none", "text", "wrapper"):
                return found.group(1)
    return ""


def _placed(section: Section) -> Section:
    """The section with the line that was put into its heading, and clean headings."""
    line = section.line if not section.path else None
    if section.path and (found := _MARK.match(section.path[-1])):
        line = int(found.group(1)) or None
    path = tuple(name for name in (_MARK.sub("", heading).strip() for heading in section.path) if name)
    return replace(section, path=path, line=line, text=_MARK.sub("", section.text))
