"""Documents → rows: each section is the answer to a question made of its heading, those above it, and the title.

A package where the other collectors are one file: each format has a reader of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from curate.collectors.collector import Collector, Found, Refused, is_chinese, width
from curate.collectors.docs.document import Document, Limits, Section
from curate.collectors.docs.reader import FORMATS, Reader
from curate.collectors.docs.split import split
from curate.collectors.docs.wording import question
from schemas.errors import Rejected, nearest


class Docs(Collector):
    """Rows from Markdown, reStructuredText, HTML, DOCX, PDF with a text layer, and plain text.

    Each file is read in a process of its own with a time limit, so that a hostile one cannot harm or stop the run.
    """

    libraries: ClassVar[tuple[str, ...]] = (
        "beautifulsoup4",
        "docutils",
        "mammoth",
        "markdown-it-py",
        "markdownify",
        "markitdown",
        "pdfplumber",
    )

    lang: str = Field(default="auto", description="language of the questions: en, zh or auto (the section's)")
    min_chars: int = Field(default=80, ge=1, description="characters a section must have; a Chinese one counts as two")
    max_chars: int = Field(
        default=4_000,
        ge=200,
        description="longer sections are split between paragraphs; a Chinese character counts as two",
    )
    merge: bool = Field(default=True, description="put sections that are too short into the section above them")
    max_megabytes: int = Field(default=50, ge=1, description="largest file that is read, in MB")
    max_pages: int = Field(default=500, ge=1, description="pages of a PDF that are read")
    timeout_seconds: float = Field(default=120.0, gt=0, description="time that reading one file may take")

    @field_validator("lang")
    @classmethod
    def _known_lang(cls, value: str) -> str:
        if value not in ("auto", "en", "zh"):
            raise ValueError(f"there is no language named {value!r}: {nearest(value, ('auto', 'en', 'zh'))}")
        return value

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        return tuple(FORMATS)

    def collect(self, files: Sequence[tuple[Path, str]]) -> Iterator[Found | Refused]:
        limits = Limits(self.max_megabytes * 1_000_000, self.max_pages)
        with Reader(limits, self.timeout_seconds) as reader:
            for path, file in files:
                form = "rst" if file.lower().endswith(".rst.txt") else FORMATS.get(Path(file).suffix.lower(), "plain")
                try:
                    document = reader.read(path, form)
                except Rejected as error:
                    yield Refused(file, None, error.reason, error.detail)
                    continue
                yield from self._rows(document, file)

    def _rows(self, document: Document, file: str) -> Iterator[Found | Refused]:
        for reason, detail in document.unused:
            yield Refused(file, None, reason, detail)
        sections = [_clean(section) for section in document.sections]
        if not any(section.text for section in sections):
            yield Refused(file, None, "empty", "holds no text")
            return
        title = _title(document, sections, file)
        for section in _merged(sections, self.min_chars) if self.merge else _as_they_are(sections):
            problem = self._reason(section)
            if problem is not None:
                yield Refused(
                    file, section.line, problem[0], problem[1], held=" > ".join(section.path) + "\n" + section.text
                )
                continue
            yield from self._parts(section, title, file)

    def _reason(self, section: Section) -> tuple[str, str] | None:
        if not section.text:
            return "empty_section", "has a heading and nothing under it"
        if width(section.text) < self.min_chars:
            return "too_short", f"has fewer than {self.min_chars} characters"
        if _LICENCE.search(section.text):
            return "licence_text", "is the text of a licence"
        if _is_links(section.text):
            return "navigation", "holds little but links"
        return None

    def _parts(self, section: Section, title: str | None, file: str) -> Iterator[Found | Refused]:
        pieces, too_long = split(section.text, self.max_chars)
        for block in too_long:
            detail = f"holds a block longer than {self.max_chars} characters that cannot be divided"
            yield Refused(file, section.line, "too_long", detail, held=block)
        name = " > ".join(section.path) or title or ""
        lang = self.lang if self.lang != "auto" else "zh" if is_chinese(section.text) else "en"
        for number, piece in enumerate(pieces, start=1):
            asked = question(title, section.path, lang=lang, part=number, parts=len(pieces), key=f"{file}:{name}")
            extra: dict[str, object] = {"title": title} if title else {}
            if section.page is not None:
                extra["page"] = section.page
            yield Found(
                messages=[{"role": "user", "content": asked}, {"role": "assistant", "content": piece}],
                file=file,
                line=section.line,
                part=(f"{name} ({number}/{len(pieces)})" if len(pieces) > 1 else name) or None,
                task="answer_from_document",
                extra=extra,
            )


_LICENCE = re.compile(
    r"permission\s+is\s+hereby\s+granted,\s+free\s+of\s+charge|redistribution\s+and\s+use\s+in\s+source\s+and\s+binary"
    r"|(?:without|no)\s+warrant(?:y|ies)\s+(?:of\s+any\s+kind|or\s+conditions\s+of\s+any\s+kind)|PROVIDED\s+(?:BY.{0,80}?)?[\"“]AS\s+IS[\"”]"
    r"|is\s+free\s+software[;:,]\s+you\s+can\s+redistribute",
    re.IGNORECASE,
)


def _merged(sections: Sequence[Section], min_chars: int) -> list[Section]:
    """Sections in order, where the short ones at the ends of branches became part of the section above them.

    A heading with nothing of its own whose text all went elsewhere is no loss: it lives on in the paths below it.
    """
    taken: set[int] = set()
    texts = [section.text for section in sections]
    parents = _parents(sections)
    has_children = {parent for parent in parents if parent is not None}
    for index in reversed(range(len(sections))):
        parent = parents[index]
        below = [child for child, above in enumerate(parents) if above == index] if index in has_children else []
        gained = [child for child in below if child in taken]
        if gained:
            added = [f"**{sections[child].path[-1]}**\n\n{texts[child]}" for child in gained]
            texts[index] = "\n\n".join([text for text in (texts[index], *added) if text])
        left = [child for child in below if child not in taken]
        short = bool(texts[index]) and width(texts[index]) < min_chars
        if short and not left and parent is not None:
            taken.add(index)
    result = []
    for index, section in enumerate(sections):
        if index in taken or (not texts[index] and (index in has_children or not section.path)):
            continue
        result.append(replace(section, text=texts[index]))
    return result


def _as_they_are(sections: Sequence[Section]) -> list[Section]:
    parents = set(_parents(sections))
    return [
        section for index, section in enumerate(sections) if section.text or (section.path and index not in parents)
    ]


def _parents(sections: Sequence[Section]) -> list[int | None]:
    """The index of the section directly above each: the last one before it whose path begins its own."""
    parents: list[int | None] = []
    open_sections: list[int] = []
    for index, section in enumerate(sections):
        while open_sections and not _is_above(sections[open_sections[-1]].path, section.path):
            open_sections.pop()
        parents.append(open_sections[-1] if open_sections else None)
        if section.path:
            open_sections.append(index)
    return parents


def _is_above(path: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return len(path) < len(other) and other[: len(path)] == path


def _clean(section: Section) -> Section:
    """The section without characters that no row may hold, and without blank headings."""
    text = section.text.encode("utf-8", "replace").decode().replace("\x00", "")
    path = tuple(
        name for name in (heading.encode("utf-8", "replace").decode().strip() for heading in section.path) if name
    )
    return replace(section, text=text if text.strip() else "", path=path)


def _title(document: Document, sections: Sequence[Section], file: str) -> str | None:
    """What to call the document: the title it gives, its only top heading, or what its file is called."""
    headings = {heading.casefold() for section in sections for heading in section.path[:2]}
    if document.title:
        # "Installing — The Handbook" over a section called Installing: the book's name is what it adds.
        parts = [part.strip() for part in re.split(r"\s+(?:[—–|·»-]|::)\s+", document.title) if part.strip()]
        others = [part for part in parts if part.casefold() not in headings]
        if others and len(others) < len(parts):
            return others[-1]
        return document.title
    tops = Counter(section.path[0] for section in sections if section.path)
    if len(tops) == 1:
        return next(iter(tops))
    place = Path(file)
    stem = place.name.split(".")[0]
    if (
        stem.lower()
        in ("readme", "index", "main", "doc", "docs", "history", "changelog", "changes", "news", "authors", "install")
        and place.parent.name
    ):
        return (
            f"{place.parent.name} {stem}"
            if stem.lower() not in ("readme", "index", "main", "doc", "docs")
            else place.parent.name
        )
    return re.sub(r"[-_]+", " ", stem).strip() or None


def _is_links(text: str) -> bool:
    """Whether a text is a list of links: most of what can be read is the text of links."""
    links = re.findall(r"\[([^\[\]]*)\]\(https?:[^()\s]*\)", text)
    if len(links) < 3:
        return False
    readable = re.sub(r"\[([^\[\]]*)\]\([^()]*\)", r"\1", text)
    return sum(len(link) for link in links) > 0.7 * len(re.sub(r"[\s*+-]+", "", readable))
