"""Rows are kept and dropped as a comparison of every row with every kept row would have it, in few comparisons."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import matching
from curate.kernels.matching import Entries, Matches, match, prefix_keys
from curate.kernels.shingles import shingle_sets

THRESHOLDS = [0.3, 0.5, 0.8, 0.9, 1.0]
Named = list[tuple[int, Fraction]]
"""For each row the kept row it goes for, or -1, and how alike they are."""


# --- The rule in plain Python ----------------------------------------------------------------------------


def plain_set(text: str, n: int) -> frozenset[tuple[str, ...]]:
    words = text.split()
    if not words:
        return frozenset()
    return frozenset(tuple(words[place : place + n]) for place in range(max(1, len(words) - n + 1)))


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> Fraction:
    return Fraction(len(a & b), len(a | b)) if a and b else Fraction(0)


def by_brute_force(texts: Sequence[str], n: int, threshold: float, order: Sequence[int]) -> Named:
    """Each row in order, compared with all that were kept before it."""
    sets = [plain_set(text, n) for text in texts]
    kept: list[int] = []
    found: Named = [(-1, Fraction(0))] * len(texts)
    for row in order:
        alike = [(jaccard(sets[row], sets[other]), -other) for other in kept]
        most, other = max(alike, default=(Fraction(0), 0))
        if most >= Fraction(str(threshold)):
            found[row] = (-other, most)
        else:
            kept.append(row)
    return found


def matched(texts: Sequence[str], n: int, threshold: float, order: Sequence[int] | None = None) -> Matches:
    entries = Entries.single(shingle_sets(pl.Series(texts, dtype=pl.String), n))
    places = np.array(range(len(texts)) if order is None else order, dtype=np.int64)
    return match(entries, prefix_keys(entries.sets, threshold), places, threshold)


def assert_as_by_brute_force(texts: Sequence[str], n: int, threshold: float, order: Sequence[int]) -> int:
    """How many rows go."""
    found = matched(texts, n, threshold, order)
    expected = by_brute_force(texts, n, threshold, order)
    assert found.kept.tolist() == [other for other, _ in expected]
    assert found.similarity.tolist() == [float(alike) for _, alike in expected]
    return int((found.kept >= 0).sum())


# --- Which rows stay -------------------------------------------------------------------------------------

texts_of_few_words = st.lists(st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join), max_size=40)


@st.composite
def families(draw: st.DrawFn) -> list[str]:
    """Texts, and texts like them: a word changed, words put before or behind."""
    words = st.lists(st.sampled_from([f"w{number}" for number in range(30)]), min_size=1, max_size=12)
    found = draw(st.lists(words, min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 25))):
        whole = list(draw(st.sampled_from(found)))
        whole[draw(st.integers(0, len(whole) - 1))] = "x"
        found.append(draw(st.sampled_from([whole, ["y", *whole], [*whole, "z"], whole[1:] or whole])))
    return [" ".join(one) for one in found]


@pytest.mark.parametrize("threshold", THRESHOLDS)
@settings(max_examples=40, deadline=None)
@given(texts=st.one_of(texts_of_few_words, families()), n=st.sampled_from([1, 2, 3, 5]), chance=st.randoms())
def test_rows_go_for_the_kept_row_they_are_most_like(
    threshold: float, texts: list[str], n: int, chance: random.Random
) -> None:
    order = list(range(len(texts)))
    chance.shuffle(order)

    assert_as_by_brute_force(texts, n, threshold, order)


def some_rows(count: int, seed: int) -> list[str]:
    """Rows of 1 to 40 words, most like an earlier one, those that many share and those that few do."""
    chance = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(200)] + ["the", "of"] * 40
    found: list[list[str]] = []
    for _ in range(count):
        if found and chance.random() < 0.7:
            words = list(chance.choice(found))
            for _ in range(chance.choice([0, 1, 1, 2, 5])):
                words[chance.randrange(len(words))] = chance.choice(vocabulary)
        else:
            words = [chance.choice(vocabulary) for _ in range(chance.randint(1, 40))]
        found.append(words)
    return [" ".join(words) for words in found]


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_hundreds_of_rows_go_as_by_brute_force(threshold: float, n: int) -> None:
    texts = some_rows(300, seed=n)
    order = random.Random(3).sample(range(len(texts)), len(texts))

    gone = assert_as_by_brute_force(texts, n, threshold, order)

    assert 5 < gone < 295


@pytest.mark.parametrize("threshold", [Fraction(place, 20) for place in range(6, 21)])
def test_a_pair_just_at_the_threshold_is_found_and_one_just_below_it_is_not(threshold: Fraction) -> None:
    shared, whole = threshold.numerator * 12, threshold.denominator * 12
    words = [f"w{number}" for number in range(whole + 1)]

    at = matched([" ".join(words[:shared]), " ".join(words[:whole])], 1, float(threshold))
    below = matched([" ".join(words[:shared]), " ".join(words[: whole + 1])], 1, float(threshold))

    assert (at.kept.tolist(), at.similarity[1]) == ([-1, 0], float(threshold))
    assert below.kept.tolist() == [-1, -1]


@pytest.mark.parametrize(("order", "kept"), [([0, 1, 2], [-1, -1, 0]), ([1, 0, 2], [-1, -1, 0])])
def test_of_two_kept_rows_equally_like_a_row_the_upper_one_is_named(order: list[int], kept: list[int]) -> None:
    texts = ["a b c x", "a b c y", "a b c"]

    found = matched(texts, 1, 0.75, order)

    assert found.kept.tolist() == kept


def test_the_most_alike_of_kept_rows_is_named_wherever_it_stands() -> None:
    texts = ["a b c d", "a b c d e f g h", "a b c d e f g"]

    found = matched(texts, 1, 0.55, [0, 1, 2])

    assert found.kept.tolist() == [-1, -1, 1]
    assert found.similarity.tolist() == [0.0, 0.0, 7 / 8]


def test_a_row_is_no_duplicate_of_a_row_that_goes() -> None:
    texts = ["a b c d", "b c d e", "c d e f"]

    found = matched(texts, 1, 0.6)

    assert found.kept.tolist() == [-1, 0, -1]


def test_no_rows_match_nothing() -> None:
    found = matched([], 5, 0.8)

    assert (len(found.kept), len(found.similarity), found.verified) == (0, 0, 0)


# --- Threads and blocks ----------------------------------------------------------------------------------


def facts(found: Matches) -> tuple[list[int], list[float]]:
    """What must be the same; how many pairs were compared need not, because threads may lose a count."""
    return found.kept.tolist(), found.similarity.tolist()


@pytest.mark.parametrize("threshold", [0.3, 0.8])
@pytest.mark.parametrize("count", [1, 3, 16])
def test_the_result_does_not_depend_on_how_many_threads_there_are(
    threshold: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = some_rows(3_000, seed=1)
    monkeypatch.setattr(matching, "_BLOCK", 500)
    usual = facts(matched(texts, 2, threshold))
    monkeypatch.setattr("curate.kernels.matching.threads", lambda: count)
    monkeypatch.setattr("curate.kernels.compiled.threads", lambda: count)

    found = facts(matched(texts, 2, threshold))

    assert found == usual


@pytest.mark.parametrize("threshold", [0.3, 0.8])
@pytest.mark.parametrize("block", [1, 7, 64, 299, 1_000])
def test_the_result_does_not_depend_on_the_size_of_blocks(
    threshold: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = some_rows(300, seed=2)
    order = random.Random(4).sample(range(len(texts)), len(texts))
    usual = matched(texts, 2, threshold, order)
    monkeypatch.setattr(matching, "_BLOCK", block)

    found = matched(texts, 2, threshold, order)

    assert facts(found) == facts(usual)


# --- Rows made to take long ------------------------------------------------------------------------------

ROWS = 20_000


def test_a_row_twenty_thousand_times_takes_one_comparison_each() -> None:
    found = matched(["the same words again and again"] * ROWS, 2, 0.8)

    assert found.kept.tolist() == [-1] + [0] * (ROWS - 1)
    assert found.verified < 2 * ROWS


def test_equal_rows_go_for_the_one_that_comes_first_in_the_order() -> None:
    order = random.Random(6).sample(range(ROWS), ROWS)

    found = matched(["the same words again and again"] * ROWS, 2, 0.8, order)

    assert found.kept[order[0]] == -1
    assert set(np.delete(found.kept, order[0]).tolist()) == {order[0]}
    assert found.verified < 2 * ROWS


@pytest.mark.parametrize("threshold", [0.3, 0.8])
def test_a_shingle_that_all_rows_share_does_not_make_them_candidates(threshold: float) -> None:
    texts = ["everyone " + " ".join(f"w{row}x{place}" for place in range(6)) for row in range(ROWS)]

    found = matched(texts, 1, threshold)

    assert (found.kept == -1).all()
    assert found.verified < 5 * ROWS


def test_a_template_that_all_rows_share_does_not_make_them_candidates() -> None:
    template = " ".join(f"t{place}" for place in range(12))
    texts = [f"{template} " + " ".join(f"w{row}x{place}" for place in range(6)) for row in range(ROWS)]

    found = matched(texts, 1, 0.8)

    assert (found.kept == -1).all()
    assert found.verified < 5 * ROWS


def test_empty_rows_are_like_nothing() -> None:
    found = matched([""] * ROWS + ["tea", "tea"], 5, 0.8)

    assert (found.kept[:-1] == -1).all()
    assert found.kept[-1] == ROWS
    assert found.verified == 1


def test_a_very_long_row_is_not_compared_with_every_part_of_it() -> None:
    words = [f"w{place}" for place in range(ROWS * 5)]
    parts = [" ".join(words[place : place + 5]) for place in range(0, len(words), 5)]

    first = matched([" ".join(words), *parts], 1, 0.8)
    last = matched([*parts, " ".join(words)], 1, 0.8)

    assert (first.kept == -1).all()
    assert (last.kept == -1).all()
    assert max(first.verified, last.verified) < 5 * ROWS


def test_two_kinds_of_rows_take_one_comparison_with_each_kind() -> None:
    found = matched(["a b c d e f", "u v w x y z"] * (ROWS // 2), 1, 0.8)

    assert found.kept.tolist() == [-1, -1] + [0, 1] * (ROWS // 2 - 1)
    assert found.verified < 2 * ROWS
