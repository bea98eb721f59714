"""Plain text → sections, by underlines, numbering and capitals, where a text has such headings."""

from __future__ import annotations

import re
import textwrap

from curate.collectors.docs.document import Document, Heading, Section, nest


def read_plain(text: str) -> Document:
    """The sections of a plain text; one without a path where it has no headings."""
    lines = text.expandtabs(4).split("\n")
    headings = _underlined(lines) or _numbered(lines) or _capitals(lines)
    first = headings[0].start if headings else len(lines)
    sections = [Section((), _body(lines[:first]), 1)]
    ends = [*(heading.start for heading in headings[1:]), len(lines)]
    for heading, path, end in zip(headings, nest(headings), ends, strict=False):
        sections.append(Section(path, _body(lines[heading.body : end]), heading.start + 1))
    return Document(None, sections)


def numbering(line: str) -> int:
    """Level of a heading that its number shows, 0 for none: `2`, `2.1`, 第一章, 第二节, 一、, （一）."""
    line = line.strip()
    # A heading is short and no sentence; a list item usually ends in a mark.
    if not 2 <= len(line) <= 80 or line[-1] in ".。;；,，:：!！":
        return 0
    for level, pattern in _NUMBERING:
        found = pattern.match(line)
        if found:
            return level or found.group(1).count(".") + 1
    return 0


_NUMBERING: tuple[tuple[int, re.Pattern[str]], ...] = (
    (1, re.compile(r"第[一二三四五六七八九十百零〇\d]+[章编篇部](?:\s|[:：、]|(?=[\u4e00-\u9fff]))")),
    (2, re.compile(r"第[一二三四五六七八九十百零〇\d]+节(?:\s|[:：、]|(?=[\u4e00-\u9fff]))")),
    (1, re.compile(r"(?:Chapter|CHAPTER|Part|PART|Appendix|APPENDIX|Article|ARTICLE)\s+(?:\d+|[IVXLC]+|[A-Z])\b")),
    (2, re.compile(r"[一二三四五六七八九十]+、\s*\S")),
    (3, re.compile(r"[（(][一二三四五六七八九十]+[）)]\s*\S")),
    (0, re.compile(r"(\d{1,2}(?:\.\d{1,2}){1,4})\.?(?:\s+(?=[A-Z\u4e00-\u9fff])|(?=[\u4e00-\u9fff]))")),
    (0, re.compile(r"(\d{1,2})[.)]?\s+(?=[A-Z][\w'’-]+(?:[ ,/&-]+[\w'’()-]+){0,8}$)")),
    (0, re.compile(r"(\d{1,2})[.、]?\s*(?=[\u4e00-\u9fff][^。；，]{1,24}$)")),
)
_RULE = re.compile(r"\s*([=\-~^*#])\1{2,}\s*")


def _underlined(lines: list[str]) -> list[Heading]:
    found: list[Heading] = []
    marks: list[str] = []
    for index in range(1, len(lines)):
        title = lines[index - 1].strip()
        rule = _RULE.fullmatch(lines[index])
        if not rule or not 2 <= len(title) <= 100 or _RULE.fullmatch(lines[index - 1]):
            continue
        if abs(_cells(title) - len(lines[index].strip())) > 4 or (
            index >= 2 and lines[index - 2].strip() and not _RULE.fullmatch(lines[index - 2])
        ):
            continue
        overlined = index >= 2 and _RULE.fullmatch(lines[index - 2]) is not None
        mark = rule.group(1) + ("+" if overlined else "")
        if mark not in marks:
            marks.append(mark)
        found.append(Heading(marks.index(mark) + 1, title, index - 2 if overlined else index - 1, index + 1))
    return found


def _numbered(lines: list[str]) -> list[Heading]:
    found: list[Heading] = []
    for index, line in enumerate(lines):
        alone = (index == 0 or not lines[index - 1].strip()) and (
            index + 1 == len(lines) or not lines[index + 1].strip()
        )
        level = numbering(line) if line[:1].strip() or line.startswith("  ") else 0
        if level and (alone or _is_chinese_heading(line)):
            found.append(Heading(level, " ".join(line.split()), index, index + 1))
    return _without_contents(found) if len(found) >= 2 else []


def _without_contents(headings: list[Heading]) -> list[Heading]:
    """Headings without those of a table of contents: lines that follow one another at once and come again later."""
    last = {heading.text: index for index, heading in enumerate(headings)}
    return [heading for index, heading in enumerate(headings) if last[heading.text] == index]


def _is_chinese_heading(line: str) -> bool:
    return re.match(r"\s*(?:第[一二三四五六七八九十百零〇\d]+[章编篇部节]|[一二三四五六七八九十]+、)", line) is not None


def _capitals(lines: list[str]) -> list[Heading]:
    found = [
        Heading(1, line.strip().rstrip(":"), index, index + 1)
        for index, line in enumerate(lines)
        if re.fullmatch(r"[A-Z][A-Z0-9 ,/&'():-]{3,60}", line.strip())
        and line[:1].strip()
        and len(re.findall("[A-Z]", line)) >= 4
        and (index == 0 or not lines[index - 1].strip())
    ]
    return found if len(found) >= 2 else []


def _cells(text: str) -> int:
    return sum(2 if letter > "\u2e7f" else 1 for letter in text)


def _body(lines: list[str]) -> str:
    text = textwrap.dedent("\n".join(line.rstrip() for line in lines))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")
