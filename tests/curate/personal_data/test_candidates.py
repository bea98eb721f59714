from __future__ import annotations

import polars as pl
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as some
from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer

from curate.personal_data.candidates import candidates, matches, windows
from curate.personal_data.recognizers.shape import FLAGS

_PATTERNS = (
    r"\b[0-9]{3}-[0-9]{2}\b",
    r"(?<=id:? ?)[0-9]{2,4}(?![0-9.])",
    r"(?<![a-z])(?=[0-9])(?<=no[^\n0-9]{0,3})[0-9]{2,3}",
    r"[0-9]{2,3}(?= ?(?:ok|no))",
    r"(?:a|ab)(?:c|bcd){1,3}d*",
    r"([0-9a-f]{2})([:-])(?:[0-9a-f]{2}\2){1,2}[0-9a-f]{2}",
    r"^[^\s:]{1,3}:\w{0,12}$",
    r"(?>a{1,3})b?\Wc",
    r"[^k\d]{2}[k-s]\S\D",
)


def _recognizer(pattern: str, flags: int = FLAGS) -> EntityRecognizer:
    return PatternRecognizer("X", patterns=[Pattern("x", pattern, 0.5)], global_regex_flags=flags)


@pytest.mark.parametrize("pattern", _PATTERNS)
@settings(max_examples=150, deadline=None)
@given(text=some.text(alphabet="0123ab cdik:.-noOK\nKſ中é", max_size=60))
def test_windows_show_a_recognizer_all_that_it_finds_in_the_text(pattern: str, text: str) -> None:
    recognizer = _recognizer(pattern)
    told = candidates(recognizer)
    assert told is not None

    whole = {one.span() for one in regex.finditer(pattern, text, FLAGS) if one[0]}
    spans = windows(text, told, matches(pl.Series([text]), told)[0]) if told.has_windows else [(0, len(text))]
    in_windows = {
        (begin + one.start(), begin + one.end())
        for begin, end in spans
        for one in regex.finditer(pattern, text[begin:end], FLAGS)
        if one[0]
    }

    assert in_windows == whole
    assert not whole or pl.Series([text]).str.contains(told.pattern)[0]


def test_windows_that_overlap_are_one() -> None:
    told = candidates(_recognizer(r"\b[0-9]{3}\b"))
    assert told is not None

    text = "a" * 50 + " 123 456 " + "a" * 50 + " 789 " + "a" * 50

    spans = windows(text, told, ["123", "456", "789"])

    assert spans == [(50, 61), (109, 116)]


def test_a_look_behind_narrows_what_is_tried() -> None:
    told = candidates(_recognizer(r"\b(?<=QQ ?)[0-9]{5}\b"))
    assert told is not None

    tried = pl.Series(["QQ 12345", "12345", "qq12345"]).str.contains(told.pattern)

    assert tried.to_list() == [True, False, True]


@pytest.mark.parametrize(
    "recognizer",
    [_recognizer(r"\d+", flags=regex.IGNORECASE), _recognizer(r"(?<=a)(?i:b)\p{Han}"), _recognizer(r"(?i:b)")],
)
def test_a_pattern_that_is_not_known_to_be_relaxed_soundly_is_tried_everywhere(recognizer: EntityRecognizer) -> None:
    told = candidates(recognizer)

    assert told is None


def test_a_pattern_without_an_upper_bound_has_no_windows() -> None:
    told = candidates(_recognizer(r"a[0-9]+"))

    assert told is not None
    assert not told.has_windows
