"""What passages are, in plain Python: slow, and to be read against the kernels."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ENDS, CLOSES, BREAKS = set(".!?。~…"), set("\"'”’)」』】]》*"), set("\n\x0b\x0c\r\x85\u2028\u2029")


@dataclass(frozen=True)
class Token:
    value: str
    is_word: bool
    begin: int
    end: int
    """Bytes of the text in UTF-8."""
    gap: bool
    broke: bool
    """White space, and an end of a line, before it."""
    raw: str


@dataclass(frozen=True)
class Piece:
    """A run of tokens."""

    tokens: tuple[Token, ...]

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(token.value for token in self.tokens)

    @property
    def words(self) -> int:
        return sum(token.is_word for token in self.tokens)

    @property
    def place(self) -> tuple[int, int]:
        return self.tokens[0].begin, self.tokens[-1].end


def folded(char: str) -> str:
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold())
    return once if len(once) == 1 else char


def kind(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Cc", "Cf") or category[0] == "Z":
        return "space"
    if any(first <= char <= last for first, last in ("\u4e00\u9fff", "\u3041\u3096", "\U00020000\U000323af")):
        return "single"
    return "letter" if category[0] in "LNM" else "mark"


def tokens_of(text: str) -> list[Token]:
    found: list[Token] = []
    at, gap, broke, open_word = 0, False, False, False
    for char in text:
        after = at + len(char.encode())
        value = folded(char)
        what = kind(value)
        if what == "space":
            gap, broke, open_word = True, broke or char in BREAKS, False
        elif what == "letter" and open_word:
            last = found[-1]
            found[-1] = Token(last.value + value, True, last.begin, after, last.gap, last.broke, last.raw + char)
        else:
            found.append(Token(value, what != "mark", at, after, gap, broke, char))
            gap, broke, open_word = False, False, what == "letter"
        at = after
    return found


def sentences(tokens: Sequence[Token]) -> list[list[Token]]:
    """Runs of tokens: behind an end (and what closes it) if white space follows, or an ideograph, or if it is wide; and
    at ends of lines."""
    found: list[list[Token]] = []
    ended = wide = False
    for token in tokens:
        stays = ended and not token.gap and (token.value in ENDS or token.value in CLOSES)
        ideograph = len(token.value) == 1 and kind(token.value) == "single"
        if not found or token.broke or (ended and not stays and (wide or token.gap or ideograph)):
            found.append([])
            ended = False
        elif not stays:
            ended = False
        found[-1].append(token)
        numbered = token.value == "." and len(found[-1]) == 2 and all("0" <= c <= "9" for c in found[-1][0].value)
        if token.value in ENDS and not numbered:
            wide = (wide and ended) or ord(token.raw) >= 0x80
            ended = True
    return found


def units(text: str, least: int) -> list[Piece]:
    """Sentences, lines, and pairs of sentences of which one is short; none that ends in a colon."""
    parts = sentences(tokens_of(text))
    lines: list[list[Token]] = []
    for part in parts:
        if not lines or part[0].broke:
            lines.append([])
        lines[-1] += part
    made = [Piece(tuple(part)) for part in (*parts, *lines)]
    for one, two in pairwise(parts):
        if min(Piece(tuple(one)).words, Piece(tuple(two)).words) < least:
            made.append(Piece((*one, *two)))
    return [one for one in made if one.words >= least and one.values[-1] != ":"]


def windows(text: str, span: int, least: int) -> list[Piece]:
    tokens = tokens_of(text)
    made = [Piece(tuple(tokens[place : place + span])) for place in range(len(tokens) - span + 1)]
    return [one for one in made if one.words >= least]


def shared(pieces: Sequence[Sequence[Piece]], rows: int) -> set[tuple[int, int, int, int]]:
    """Text, bytes, and in how many texts, of those pieces that so many texts hold."""
    counts = Counter(values for some in pieces for values in {one.values for one in some})
    return {
        (text, *one.place, counts[one.values])
        for text, some in enumerate(pieces)
        for one in some
        if counts[one.values] >= rows
    }


def covered(text: str, places: Sequence[tuple[int, int]]) -> set[int]:
    """Tokens of a text that lie in one of the places, by number."""
    return {
        number
        for number, token in enumerate(tokens_of(text))
        if any(begin <= token.begin and token.end <= end for begin, end in places)
    }
