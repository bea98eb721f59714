"""How often a text repeats itself, beside a plain count."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.repetition import LONGEST_PHRASE, repetition

PIECES = st.sampled_from(
    [
        "a",
        "tea",
        "Tee",
        "42",
        "7up",
        "好",
        "茶",
        "の",
        "😀",
        "é",
        "\n",
        " ",
        ", ",
        "a line of words\n",
        "一行中文，字数够\n",
    ]
)
TEXTS = st.lists(st.lists(PIECES, max_size=40).map(lambda some: "".join(some * 2)), min_size=1, max_size=8)
WORD = re.compile(r"[一-鿿\u3040-\u30ff\U0001f300-\U0001faff]|(?:[^\W_](?<![一-鿿\u3040-\u30ff]))+")


def plain(text: str) -> dict[str, Any]:
    """The same by the words of the docstring, one after the other."""
    words = [word for word in WORD.findall(text) if not ("0" <= word[0] <= "9")]
    total = max(sum(map(len, words)), 1)
    phrases = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    times = Counter(phrases)
    top = max((times[one] * len("".join(one)) for one in phrases if times[one] > 1), default=0)
    back = sum(len(one[0]) for one in phrases if times[one] > 1)
    covered, seen = set(), set()
    for at in range(len(words) - 9):
        phrase = tuple(words[at : at + 10])
        covered |= set(range(at, at + 10)) if phrase in seen else set()
        seen.add(phrase)
    repeated = sum(len(words[at]) for at in covered) / total if back > 0.2 * total else 0.0
    run = 0
    for length in range(1, LONGEST_PHRASE + 1):
        for at in range(len(words)):
            end = at
            while end + length < len(words) and words[end] == words[end + length]:
                end += 1
            size = end - at + length
            run = max(run, size) if end > at and size >= 5 * length and max(times.values(), default=0) >= 4 else run
    lines = [one for one in text.split("\n") if sum(any(WORD.findall(c)) and c not in "0123456789" for c in one) >= 6]
    again = sum(len(one) for at, one in enumerate(lines) if one in lines[:at])
    return {
        "words": len(words),
        "run": run,
        "lines": again / max(sum(map(len, lines)), 1),
        "top": min(top / total, 1.0),
        "repeated": repeated,
    }


@settings(deadline=None)
@given(TEXTS)
def test_what_is_counted_is_a_plain_count(texts: list[str]) -> None:
    found = repetition(pl.Series(texts, dtype=pl.String)).to_dicts()

    assert found == [plain(text) for text in texts]


def test_rows_do_not_depend_on_each_other() -> None:
    texts = ["every day is a good day, " * 9, "每天都是好日子，" * 9, "", "no word of this comes again"]

    together = repetition(pl.Series(texts)).to_dicts()

    assert together == [repetition(pl.Series([text])).to_dicts()[0] for text in texts]


def test_a_null_has_no_words() -> None:
    assert repetition(pl.Series([None, "one two"], dtype=pl.String))["words"].to_list() == [0, 2]


def test_half_a_million_words_that_are_all_alike_are_counted_at_once() -> None:
    found = repetition(pl.Series(["好" * 500_000, "tea " * 500_000]))

    assert found.select("words", "run", "lines", "top").rows() == [(500_000, 500_000, 0.0, 1.0)] * 2


@pytest.mark.parametrize("word", ["a ", "好", "one two three, ", "a line of words\n"])
def test_texts_of_any_length_are_counted(word: str) -> None:
    texts = [(word * 70)[:length] for length in range(140)]

    found = [repetition(pl.Series([text])).to_dicts()[0] for text in texts]

    assert found == [plain(text) for text in texts]
