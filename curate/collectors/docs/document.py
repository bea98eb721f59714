"""What every reader of documents gives back: sections under headings, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one heading, up to the next.

    `path` holds the headings above it and its own; it is empty for what comes before the first heading.
    """

    path: tuple[str, ...]
    text: str
    line: int | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document's title if it says one, its sections in order, and what could not be used of it (reason, detail)."""

    title: str | None
    sections: list[Section] = field(default_factory=list)
    unused: list[tuple[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Document:
        """The document that `as_json` wrote."""
        sections = [Section(**{**one, "path": tuple(one["path"])}) for one in value["sections"]]
        return cls(value["title"], sections, [(reason, detail) for reason, detail in value["unused"]])


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read before it is refused or cut."""

    max_bytes: int
    max_pages: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading and where the text under it begins and ends, as indices into lines."""

    level: int
    text: str
    start: int
    body: int
    page: int | None = None


def nest(headings: Sequence[Heading]) -> list[tuple[str, ...]]:
    """The path of each heading: the headings above it and its own. A level that was skipped does not count."""
    open_headings: list[Heading] = []
    paths: list[tuple[str, ...]] = []
    for heading in headings:
        while open_headings and open_headings[-1].level >= heading.level:
            open_headings.pop()
        open_headings.append(heading)
        paths.append(tuple(one.text for one in open_headings))
    return paths


def without_lines(document: Document) -> Document:
    """The same document for formats whose lines mean nothing to a reader."""
    return replace(document, sections=[replace(section, line=None) for section in document.sections])
