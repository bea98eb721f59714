"""Where a recognizer may find something: one pass of Rust patterns over all texts, derived from the recognizer's own.

A pattern of Python's `regex` is relaxed into one of polars' engine that matches wherever the first does, and more:

- zero-width assertions are dropped, which lets more through; a positive look-behind at the very beginning and a
  look-ahead at the very end are kept as text instead (`(?<=QQ:)\\d+` becomes `QQ:\\d+`), which lets through no less;
- long repeats lose their upper bound, a back-reference is the group that it means.

So a text in which the relaxed pattern matches nowhere has no finding. Where it matches, every finding begins in one of
its matches: the leftmost of non-overlapping matches cover every place where a match can begin. A finding then lies in
the *window* from that match to the pattern's greatest width behind it, and what its assertions look at lies within
`reach` characters more. Windows that overlap are one. A recognizer run on the window alone finds what it finds in the
text.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import regex

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

# The parser of the standard library's `re`: it has no public name, nor types, and its trees are what they long were.
sre: Any = importlib.import_module("re._constants")
sre_parser: Any = importlib.import_module("re._parser")

_LONG_REPEAT = 8
_UNBOUNDED = 1 << 20
"""A pattern that may match more characters than this has no windows."""

_CLASSES = {
    sre.CATEGORY_DIGIT: "0-9",
    sre.CATEGORY_SPACE: r"\t-\r\x20",
    sre.CATEGORY_WORD: "0-9A-Za-z_",
    sre.CATEGORY_NOT_DIGIT: r"\x00-/:-\x{10ffff}",
    sre.CATEGORY_NOT_SPACE: r"\x00-\x08\x0e-\x1f!-\x{10ffff}",
    sre.CATEGORY_NOT_WORD: r"\x00-/:-@\[-\^`\{-\x{10ffff}",
}
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_ASSERTIONS = (sre.ASSERT, sre.ASSERT_NOT)


@dataclass(frozen=True)
class Candidates:
    """Where one recognizer may find something."""

    pattern: str
    """In the syntax of polars' engine."""
    width: int
    """How many characters what it matches may have, look-arounds at its ends included."""
    reach: int
    """How many characters its assertions look at besides."""
    digits: int = 0
    """How many digits, ASCII or full-width, what it matches has at least."""
    hint: str | None = None
    """A cheaper pattern that matches somewhere in every text in which `pattern` does."""

    @property
    def has_windows(self) -> bool:
        """Whether it is enough to run the recognizer on windows of a text."""
        return self.width + 2 * self.reach < _UNBOUNDED


def candidates(recognizer: EntityRecognizer) -> Candidates | None:
    """Where a recognizer may find something; None where nothing tells, and every text is to be tried.

    Told by its `patterns`, if it is a PatternRecognizer. Others declare `candidate_patterns`, one of which matches
    wherever something that they look at begins; in `candidate_width` how many characters that has at most, where
    those that the patterns match are fewer; in `candidate_reach` how many characters around it they look at.
    """
    patterns = getattr(recognizer, "candidate_patterns", None) or getattr(recognizer, "patterns", None)
    if not patterns:
        return None
    flags = getattr(recognizer, "global_regex_flags", 0)
    try:
        relaxed = [_relaxed(pattern.regex, flags) for pattern in patterns]
    except (ValueError, RecursionError, re.error):
        return None
    reach = max(one.reach for one in relaxed) + getattr(recognizer, "candidate_reach", 0)
    width = max(*(one.width for one in relaxed), getattr(recognizer, "candidate_width", 0))
    pattern = "|".join(dict.fromkeys(one.pattern for one in relaxed))
    return Candidates(pattern, width, reach, min(one.digits for one in relaxed), getattr(recognizer, "hint", None))


DIGIT = "[0-9０-９]"
"""What counts as a digit."""


def holding(texts: pl.Series, several: Sequence[Candidates | None]) -> list[pl.Series]:
    """For each of several the places (UInt32) of the texts in which it may find something.

    Most of what is looked for has digits and most texts have few: they are counted once for all, and a pattern is
    tried only where there are as many as it needs.
    """
    digits = texts.str.count_matches(DIGIT)
    found = []
    for told in several:
        places = pl.int_range(len(texts), dtype=pl.UInt32, eager=True)
        if told is not None:
            if told.digits:
                places = places.filter(digits >= told.digits)
            for pattern in (told.hint, told.pattern):
                if pattern is not None:
                    here = texts if len(places) == len(texts) else texts.gather(places)
                    places = places.filter(here.str.contains(pattern))
        found.append(places)
    return found


def matches(texts: pl.Series, told: Candidates) -> pl.Series:
    """What the relaxed pattern matches in each text, from its beginning on: a list of strings for each."""
    return texts.str.extract_all(told.pattern)


def windows(text: str, told: Candidates, matched: Iterable[str]) -> list[tuple[int, int]]:
    """Runs of characters of `text` that a recognizer has to see, in order, none touching another."""
    found: list[tuple[int, int]] = []
    place = 0
    for match in matched:
        # The leftmost match is the first place where the same characters stand: the pattern sees nothing around them.
        begin = text.index(match, place)
        place = begin + len(match)
        first = max(0, begin - told.reach)
        last = min(len(text), max(place, place - 1 + told.width) + told.reach)
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _relaxed(pattern: str, flags: int) -> Candidates:
    """A pattern of `regex` with these flags, relaxed. ValueError for what is not known to be relaxed soundly."""
    parsed = sre_parser.parse(pattern, _python_flags(flags))
    if not flags & regex.ASCII:
        raise ValueError("classes of Unicode differ between engines and versions")
    insensitive = bool(parsed.state.flags & sre.SRE_FLAG_IGNORECASE)
    items = _inlined(parsed, {})
    before, body, behind = _edges(items)
    text = "".join(_emitted(part, insensitive) for part in (before, body, behind))
    width = sum(_width(part) for part in (before, body, behind))
    digits = sum(_digits(part) for part in (before, body, behind))
    return Candidates(f"(?:{text})", min(width, _UNBOUNDED), min(_reach(items), _UNBOUNDED) + 1, digits)


def _python_flags(flags: int) -> int:
    table = ((regex.IGNORECASE, sre.SRE_FLAG_IGNORECASE), (regex.DOTALL, sre.SRE_FLAG_DOTALL))
    return int(sre.SRE_FLAG_ASCII | sum(python for theirs, python in table if flags & theirs))


def _inlined(items: Iterable[Any], groups: dict[int, list[Any]]) -> list[Any]:
    """The same with each back-reference replaced by the group that it means."""
    inlined: list[Any] = []
    for operation, argument in items:
        if operation is sre.SUBPATTERN:
            part = _inlined(argument[3], groups)
            groups[argument[0]] = part
            argument = (*argument[:3], part)
        elif operation is sre.BRANCH:
            argument = (argument[0], [_inlined(one, groups) for one in argument[1]])
        elif operation in _REPEATS:
            argument = (*argument[:2], _inlined(argument[2], groups))
        elif operation in _ASSERTIONS:
            argument = (argument[0], _inlined(argument[1], groups))
        elif operation is sre.ATOMIC_GROUP:
            argument = _inlined(argument, groups)
        elif operation is sre.GROUPREF:
            if argument not in groups:
                raise ValueError("a reference to what comes later")
            operation, argument = sre.SUBPATTERN, (None, 0, 0, groups[argument])
        inlined.append((operation, argument))
    return inlined


def _edges(items: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """The text of a positive look-behind at the beginning, what is between, that of a look-ahead at the end."""
    begin, end = 0, len(items)
    before: list[Any] = []
    behind: list[Any] = []
    while begin < end and items[begin][0] in (*_ASSERTIONS, sre.AT):
        operation, argument = items[begin]
        if operation is sre.ASSERT and argument[0] < 0:
            before = list(argument[1])
        begin += 1
    while end > begin and items[end - 1][0] in (*_ASSERTIONS, sre.AT):
        operation, argument = items[end - 1]
        if operation is sre.ASSERT and argument[0] > 0:
            behind = list(argument[1])
        end -= 1
    return before, items[begin:end], behind


def _emitted(items: Iterable[Any], insensitive: bool) -> str:
    pieces = []
    for operation, argument in items:
        if operation is sre.LITERAL:
            pieces.append(f"[{_cased(argument, argument, insensitive)}]")
        elif operation is sre.NOT_LITERAL:
            pieces.append(f"[^{_cased(argument, argument, insensitive)}]")
        elif operation is sre.ANY:
            pieces.append("(?s:.)")
        elif operation is sre.IN:
            pieces.append(_class(argument, insensitive))
        elif operation is sre.BRANCH:
            pieces.append("(?:" + "|".join(_emitted(one, insensitive) for one in argument[1]) + ")")
        elif operation is sre.SUBPATTERN:
            if argument[1] or argument[2]:
                raise ValueError("flags for a part of a pattern")
            pieces.append(f"(?:{_emitted(argument[3], insensitive)})")
        elif operation is sre.ATOMIC_GROUP:
            pieces.append(f"(?:{_emitted(argument, insensitive)})")
        elif operation in _REPEATS:
            pieces.append(_repeated(argument[0], argument[1], argument[2], insensitive))
        elif operation not in (*_ASSERTIONS, sre.AT):
            raise ValueError(f"no form for {operation}")
    return "".join(pieces)


def _repeated(low: int, high: int, items: Iterable[Any], insensitive: bool) -> str:
    one = _emitted(items, insensitive)
    if not one:
        return ""
    endless = high is sre.MAXREPEAT or high - low > _LONG_REPEAT
    return f"(?:{one}){{{low},{'' if endless else high}}}"


def _class(items: Sequence[Any], insensitive: bool) -> str:
    negated, pieces = "", []
    for operation, argument in items:
        if operation is sre.NEGATE:
            negated = "^"
        elif operation is sre.LITERAL:
            pieces.append(_cased(argument, argument, insensitive))
        elif operation is sre.RANGE:
            pieces.append(_cased(argument[0], argument[1], insensitive))
        elif operation is sre.CATEGORY and argument in _CLASSES:
            pieces.append(_CLASSES[argument])
        else:
            raise ValueError(f"no form for {operation}")
    return f"[{negated}{''.join(pieces)}]"


def _cased(first: int, last: int, insensitive: bool) -> str:
    """A range of a class, with the other case of what ASCII letters are in it, as `regex` has it under ASCII."""
    spans = [(first, last)]
    if insensitive:
        for letters, shift in (((0x41, 0x5A), 32), ((0x61, 0x7A), -32)):
            low, high = max(first, letters[0]), min(last, letters[1])
            if low <= high:
                spans.append((low + shift, high + shift))
    return "".join(rf"\x{{{low:x}}}-\x{{{high:x}}}" for low, high in spans)


def _width(items: Iterable[Any]) -> int:
    """How many characters these match at most."""
    width = 0
    for operation, argument in items:
        if operation in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
            width += 1
        elif operation is sre.BRANCH:
            width += max((_width(one) for one in argument[1]), default=0)
        elif operation is sre.SUBPATTERN:
            width += _width(argument[3])
        elif operation is sre.ATOMIC_GROUP:
            width += _width(argument)
        elif operation in _REPEATS:
            width += _width(argument[2]) * (_UNBOUNDED if argument[1] is sre.MAXREPEAT else argument[1])
    return width


def _reach(items: Iterable[Any]) -> int:
    """How many characters the assertions in these look at, at most, on either side."""
    reach = 0
    for operation, argument in items:
        if operation in _ASSERTIONS:
            reach += _width(argument[1]) + _reach(argument[1])
        elif operation is sre.BRANCH:
            reach += sum(_reach(one) for one in argument[1])
        elif operation is sre.SUBPATTERN:
            reach += _reach(argument[3])
        elif operation is sre.ATOMIC_GROUP:
            reach += _reach(argument)
        elif operation in _REPEATS:
            reach += _reach(argument[2])
    return reach


def _digits(items: Iterable[Any]) -> int:
    """How many digits, ASCII or full-width, these match at least."""
    digits = 0
    for operation, argument in items:
        if operation is sre.LITERAL:
            digits += _is_digit(argument, argument)
        elif operation is sre.IN:
            digits += all(
                (kind is sre.CATEGORY and one is sre.CATEGORY_DIGIT)
                or (kind is sre.LITERAL and _is_digit(one, one))
                or (kind is sre.RANGE and _is_digit(*one))
                for kind, one in argument
            )
        elif operation is sre.BRANCH:
            digits += min((_digits(one) for one in argument[1]), default=0)
        elif operation is sre.SUBPATTERN:
            digits += _digits(argument[3])
        elif operation is sre.ATOMIC_GROUP:
            digits += _digits(argument)
        elif operation in _REPEATS:
            digits += _digits(argument[2]) * argument[0]
    return digits


def _is_digit(first: int, last: int) -> bool:
    return 0x30 <= first <= last <= 0x39 or 0xFF10 <= first <= last <= 0xFF19
