"""Windows and units that texts share are those of a plain reading of the definition, whatever the texts hold."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import passages as kernel
from curate.kernels.passages import Found, Passages, extended, letters, shared, stretches, within
from tests.curate import plain_passages as plain

SPAN, LEAST, ROWS = 8, 3, 2
SMALL = Passages(SPAN, LEAST)

PIECES = [
    *["tea ", "Tea ", "the pot", " ", "  ", "\n", "\r\n", "\n\n", "\u3000", "\u200b", "2.0", "1. ", "12"],
    *["ß", "é", "e\u0301", "🙂", "𠀀"],
    *["茶", "水", "好喝", "か", "。", "！", "？", "!", ". ", ".", "…", "~", "”", "）"],
    *[")", '"', "：", ": ", "，", "-", "=="],
]  # fmt: skip
BLOCKS = [
    "warm the pot before you pour. ",
    "Wait four minutes! Then drink it\n",
    "感谢您的咨询，祝您生活愉快！客服小王",
    "请在订单页面点击退货。",
    "1. Boil the water: ",
    "\n\n",
    "=" * 12,
]

texts = st.lists(st.sampled_from([*PIECES, *BLOCKS, *BLOCKS]), max_size=14).map("".join)


def found_in(found: kernel.Shared) -> set[tuple[int, int, int, int]]:
    one = found.found
    return {
        (int(text), int(begin), int(end), int(count))
        for text, begin, end, count in zip(one.texts, one.begins, one.ends, found.counts[found.ids], strict=True)
    }


def both(rows: list[str], passages: Passages = SMALL, least: int = ROWS) -> tuple[kernel.Shared, kernel.Shared]:
    series = pl.Series(rows, dtype=pl.String)
    hashes, sizes = passages.fingerprints(series)
    owners = np.repeat(np.arange(len(rows)), sizes)
    once = {(int(owner), int(value)) for owner, value in zip(owners, hashes, strict=True)}
    values, counts = np.unique(np.array([value for _, value in once], dtype=np.uint64), return_counts=True)
    windows, units = passages.find(series, values[counts >= least])
    return shared(windows, series, least), shared(units, series, least)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(texts, min_size=1, max_size=6))
def test_shared_windows_and_units_are_those_of_the_definition(rows: list[str]) -> None:
    windows, units = both(rows)

    assert found_in(windows) == plain.shared([plain.windows(row, SPAN, LEAST) for row in rows], ROWS)
    assert found_in(units) == plain.shared([plain.units(row, LEAST) for row in rows], ROWS)


@settings(max_examples=200, deadline=None)
@given(row=texts)
def test_sentences_are_those_of_the_definition(row: str) -> None:
    found = SMALL.sentences(pl.Series([row]))

    parts = [plain.Piece(tuple(part)) for part in plain.sentences(plain.tokens_of(row))]
    expected = [part.place for part in parts if part.words]
    assert list(zip(found.begins.tolist(), found.ends.tolist(), strict=True)) == expected


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(texts, min_size=1, max_size=5))
def test_stretches_cover_just_the_tokens_of_what_is_shared(rows: list[str]) -> None:
    series = pl.Series(rows, dtype=pl.String)
    windows, units = both(rows)

    cover = stretches(series, windows.found, units.found)

    for text, row in enumerate(rows):
        here = [(int(b), int(e)) for t, b, e in zip(cover.texts, cover.begins, cover.ends, strict=True) if t == text]
        parts = [(b, e) for t, b, e, _ in found_in(windows) | found_in(units) if t == text]
        assert plain.covered(row, here) == plain.covered(row, parts)
        assert here == sorted(here)


def test_letters_are_counted_in_the_whole_and_in_parts() -> None:
    series = pl.Series(["Tea 茶, 2!", "", "水水水"])
    part = kernel.Stretches(np.array([0, 2]), np.array([4, 3]), np.array([8, 9]))

    assert letters(series).tolist() == [5, 0, 3]
    assert letters(series, part).tolist() == [1, 0, 2]


def test_texts_are_followed_as_far_as_all_say_the_same() -> None:
    series = pl.Series(["Tea is good for you", "TEA  is good, for", "tea is\ngood!"])

    ends = extended(series, np.array([0, 1, 2]), np.array([3, 3, 3]))

    assert [row.encode()[:end].decode() for row, end in zip(series, ends.tolist(), strict=True)] == [
        "Tea is good",
        "TEA  is good",
        "tea is\ngood",
    ]


def test_only_sentences_wholly_inside_are_within() -> None:
    series = pl.Series(["One two. Three four. Five six."])
    cover = kernel.Stretches(np.array([0]), np.array([4]), np.array([30]))

    inside = within(SMALL.sentences(series), cover)

    assert (inside.begins.tolist(), inside.ends.tolist()) == ([9], [30])


def test_what_stands_between_fences_counts_only_where_it_is_asked_for() -> None:
    code = "from tea import pot, water, leaves\n"
    rows = [f"Text {place} of some kind.\n```python\n{code}```\nEnd {place}." for place in range(3)]

    assert not found_in(both(rows)[1])
    assert len(found_in(both(rows, Passages(SPAN, LEAST, fences=False))[1])) >= 3


def test_text_behind_a_code_block_counts_again() -> None:
    rows = [f"```\nx = {place}\n```\nThank you for shopping here!" for place in range(2)]

    assert {rows[0].encode()[b:e].decode() for t, b, e, _ in found_in(both(rows)[1]) if t == 0} == {
        "Thank you for shopping here!"
    }


def test_a_ruler_is_no_passage() -> None:
    windows, units = both(["-" * 500, "a " + "-" * 500, "b " + "=-" * 300, "c " + "=-" * 300])

    assert not found_in(windows)
    assert not found_in(units)


def test_texts_whose_hashes_collide_are_told_apart() -> None:
    rows = pl.Series(["red green blue", "red green blue", "one two three", "red green blue"])
    same = np.zeros(4, dtype=np.uint64)
    every = Found(same, np.arange(4), np.zeros(4, np.int64), np.zeros(4, np.int64), np.array([14, 14, 13, 14]))

    assert found_in(shared(every, rows, 3)) == {(0, 0, 14, 3), (1, 0, 14, 3), (3, 0, 14, 3)}
    assert not found_in(shared(every, rows, 4))


@pytest.mark.parametrize("text", ["a\u0301 b", "Ａ b", "İstanbul b", "ﬁne b"])
def test_a_place_is_one_in_the_text_as_it_is(text: str) -> None:
    rows = [f"{text} c d e. {place}" for place in range(2)]

    found = both(rows)[1].found

    assert rows[0].encode()[found.begins[0] : found.ends[0]].decode() == f"{text} c d e."


def test_a_text_that_repeats_itself_counts_once() -> None:
    row = "Tea is good for you. " * 2_000

    assert not found_in(both([row])[0])
    assert not found_in(both([row, "Something else altogether."])[1])


def test_long_random_texts_share_just_what_was_planted() -> None:
    chance = random.Random(3)
    planted = " ".join(f"p{chance.randrange(10**9)}" for _ in range(60))
    rows = [" ".join(f"w{chance.randrange(10**9)}" for _ in range(400)) for _ in range(40)]
    rows = [f"{row} {planted} {row[::-1]}" if place % 4 == 0 else row for place, row in enumerate(rows)]

    windows, units = both(rows, Passages(50, 5), 10)

    assert {text for text, *_ in found_in(windows)} == set(range(0, 40, 4))
    assert {count for *_, count in found_in(windows)} == {10}
    assert len(found_in(windows)) == 10 * 11
    assert not found_in(units)
