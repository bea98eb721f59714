"""Attributes are dealt in their shares, the same everywhere; and what is varied measures as varied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from synth.diversity import Shares, compared, coverage, deal, distinct, seed_overlap, self_overlap

ATTRIBUTES: dict[str, Shares | Sequence[str]] = {
    "difficulty": ("easy", "hard"),
    "length": {"short": 3.0, "long": 1.0},
    "format": ("prose", "list", "table"),
}


def test_the_same_is_dealt_in_every_process() -> None:
    assert [deal(ATTRIBUTES, "7/5e1f", number) for number in range(3)] == [
        {"difficulty": "hard", "format": "table", "length": "long"},
        {"difficulty": "easy", "format": "list", "length": "short"},
        {"difficulty": "easy", "format": "prose", "length": "long"},
    ]


def test_values_come_in_their_shares_over_the_numbers_of_a_seed() -> None:
    dealt = [deal(ATTRIBUTES, "0/seed", number) for number in range(240)]

    shares = coverage(dealt)

    assert shares["length"]["short"] == pytest.approx(0.75, abs=0.03)
    assert shares["difficulty"]["easy"] == pytest.approx(0.5, abs=0.03)
    assert shares["format"]["table"] == pytest.approx(1 / 3, abs=0.03)


def test_pairs_of_values_are_covered_too() -> None:
    pairs = Counter(
        (dealt["difficulty"], dealt["format"]) for dealt in (deal(ATTRIBUTES, "0/seed", number) for number in range(60))
    )

    assert len(pairs) == 6
    assert min(pairs.values()) >= 6


def test_values_come_in_their_shares_over_many_seeds() -> None:
    shares = coverage([deal(ATTRIBUTES, f"0/{seed}", 0) for seed in range(4_000)])

    assert shares["length"]["short"] == pytest.approx(0.75, abs=0.03)


def test_another_jobs_seed_deals_otherwise() -> None:
    assert [deal(ATTRIBUTES, "0/a", 0), deal(ATTRIBUTES, "0/b", 0)] != [deal(ATTRIBUTES, "1/a", 0)] * 2


def test_a_share_of_nought_is_never_dealt() -> None:
    dealt = {deal({"kind": {"a": 0, "b": 1, "c": 0}}, f"{number}", number)["kind"] for number in range(500)}

    assert dealt == {"b"}


def test_nothing_to_deal_is_nothing_dealt() -> None:
    assert deal({}, "0/a", 3) == {}


@pytest.mark.parametrize("shares", [{}, {"a": -1.0, "b": 2.0}, {"a": 0.0}])
def test_impossible_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="kind needs values"):
        deal({"kind": shares}, "0/a", 0)


def test_distinct_shares_are_of_runs_that_differ() -> None:
    split = [["a", "b", "a", "b"], ["a", "b"]]

    assert distinct(split, 1) == pytest.approx(2 / 6)
    assert distinct(split, 2) == pytest.approx(2 / 4)
    assert distinct(split, 2, budget=2) == 1.0
    assert distinct([], 1) == 0.0


def test_overlap_counts_what_another_text_has_too() -> None:
    same, other = ["one", "two", "three", "four"], ["one", "two", "three", "five"]

    assert self_overlap([same, other]) == pytest.approx(2 / 4)
    assert self_overlap([same]) == 0.0
    assert self_overlap([["a", "a", "a", "a", "a"]]) == 0.0
    assert seed_overlap([same], [other]) == pytest.approx(1 / 2)


def test_made_rows_are_measured_beside_their_seeds() -> None:
    seeds = ["How do I reset my password?", "Where is my parcel now?", "怎么退货？"]
    made = ["Tell me a joke about cats."] * 3

    said = compared(made, seeds)

    assert isinstance(said["made"], dict) and isinstance(said["seeds"], dict)
    assert said["made"]["distinct_2"] < said["seeds"]["distinct_2"]
    assert said["made"]["self_overlap"] == 1.0
    assert said["seeds"]["self_overlap"] == 0.0
    assert said["made"]["compression_ratio"] > said["seeds"]["compression_ratio"]
    assert said["made"]["lengths"] == {"p5": 6, "p50": 6, "p95": 6}
    assert said["seed_overlap"] == 0.0


def test_distinct_shares_are_over_equally_many_tokens() -> None:
    few, many = ["a b c d"], ["a b c d"] + ["e f g h"] * 100

    said = compared(many, few)

    assert isinstance(said["made"], dict) and isinstance(said["seeds"], dict)
    assert said["made"]["distinct_1"] == said["seeds"]["distinct_1"] == 1.0


def test_no_text_is_told_apart_from_dull_text() -> None:
    assert compared([], ["a"])["made"] is None
    assert compared([], [])["seed_overlap"] == 0.0


def test_of_much_text_some_is_measured() -> None:
    said = compared([f"text number {number} " + "x" * 1_000 for number in range(20_000)], ["short"])

    assert isinstance(said["made"], dict)
    assert 5_000 < said["made"]["texts"] < 9_000
