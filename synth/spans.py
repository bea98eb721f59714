"""Finding a quotation in the document it is said to be from."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

_SAME = str.maketrans("’‘“”„«»‐‑‒–—−", '\'\'"""""------')


@dataclass(frozen=True)
class Span:
    """Characters `begin` to `end` of a document."""

    begin: int
    end: int


def find_span(document: str, quote: str) -> Span | None:
    """Where a quotation stands in a document, word for word: white space, full-width forms and kinds of quotation mark
    and dash may differ, and marks around it; nothing else. The first place; linear in the document."""
    whole, places = _bare(document)
    wanted = _bare(quote.strip().strip("\"'“”‘’…").strip())[0]
    at = whole.find(wanted) if wanted else -1
    if at < 0:
        return None
    return Span(places[at], places[at + len(wanted) - 1] + 1)


def _bare(text: str) -> tuple[str, list[int]]:
    """A text without white space and in plain forms, and where each of its characters stood."""
    letters: list[str] = []
    places: list[int] = []
    for place, letter in enumerate(text.translate(_SAME)):
        plain = letter if letter.isascii() else unicodedata.normalize("NFKC", letter)
        for one in plain:
            if not one.isspace():
                letters.append(one)
                places.append(place)
    return "".join(letters), places
