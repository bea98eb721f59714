"""Signatures are datasketch's own, and their bands find the promised share of pairs and no other pair."""

from __future__ import annotations

import random
import unicodedata
from fractions import Fraction

import datasketch
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.shingles import CHARACTERS, WORDS, contiguous, shingle_sets
from curate.kernels.signatures import PERMUTATIONS, as_datasketch, band_slots, bands_for, signatures
from curate.near import Comparison

ENGLISH = "Boil fresh water, warm the pot, add a spoon of leaves for each cup, and wait four minutes before you pour."
CHINESE = "先把水烧开，温一下茶壶，每杯放一勺茶叶，等四分钟再倒出来。不要用煮过两次的水，茶会没有味道。"


def by_datasketch(text: str, n: int, unit: int) -> datasketch.MinHash:
    """What datasketch makes of the higher halves of a text's shingle hashes."""
    made = datasketch.MinHash(hashfunc=lambda value: value >> 32)
    for value in contiguous(shingle_sets(pl.Series([text]), n, unit)).tolist():
        made.update(value)
    return made


@pytest.mark.parametrize("unit", [WORDS, CHARACTERS])
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize(
    "text",
    [ENGLISH, CHINESE, "tea", "茶", unicodedata.normalize("NFD", "Un thé glacé, s'il vous plaît. ") * 3, ENGLISH * 20],
    ids=["english", "chinese", "word", "ideograph", "accents", "repeats"],
)
def test_a_signature_is_what_datasketch_gives(text: str, n: int, unit: int) -> None:
    found, counts = signatures(pl.Series([text]), n, unit)

    assert counts[0] > 0
    assert found[0].tolist() == by_datasketch(text, n, unit).hashvalues.tolist()


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from("abé茶水 か\u0301+"), min_size=1, max_size=30), min_size=1, max_size=20))
def test_a_signature_does_not_depend_on_the_texts_beside_it(texts: list[str]) -> None:
    found, _ = signatures(pl.Series(texts), 2, WORDS)

    assert found.tolist() == [by_datasketch(text, 2, WORDS).hashvalues.tolist() for text in texts]


def test_a_null_and_an_empty_text_have_no_shingles_and_no_keys() -> None:
    texts = pl.Series([None, "green tea", ""])

    _, counts = signatures(texts, 1, WORDS)
    slots = band_slots(texts, 1, WORDS, 16, 8)

    assert counts.tolist() == [0, 2, 0]
    assert [(row == -1).all() for row in slots] == [True, False, True]
    assert (slots[1] >= 0).all()


def test_datasketch_finds_our_signatures_in_its_own_index() -> None:
    texts = pl.Series(
        [ENGLISH, CHINESE, ENGLISH.replace("four", "five"), CHINESE.replace("四", "五"), "Ask your mother."]
    )
    found, _ = signatures(texts, 2, WORDS)
    objects = as_datasketch(found)
    index = datasketch.MinHashLSH(threshold=0.6, num_perm=PERMUTATIONS)

    for place, one in enumerate(objects):
        index.insert(place, one)

    assert [sorted(index.query(one)) for one in objects] == [[0, 2], [1, 3], [0, 2], [1, 3], [4]]
    assert sorted(index.query(by_datasketch(ENGLISH, 2, WORDS))) == [0, 2]


def test_two_signatures_agree_in_about_as_many_values_as_the_texts_are_alike() -> None:
    one, other = " ".join(map(str, range(3_000))), " ".join(map(str, range(1_000, 4_000)))

    found, _ = signatures(pl.Series([one, other]), 1, WORDS)

    assert (found[0] == found[1]).mean() == pytest.approx(0.5, abs=0.15)


# --- Bands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("recall", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_bands_have_the_most_rows_with_which_the_recall_is_reached(threshold: float, recall: float) -> None:
    def expected(rows: int) -> float:
        return float(1 - (1 - threshold**rows) ** (PERMUTATIONS // rows))

    bands, rows, reached = bands_for(threshold, recall)

    assert bands == PERMUTATIONS // rows
    assert reached == pytest.approx(expected(rows))
    assert reached >= recall
    assert all(expected(more) < recall for more in range(rows + 1, PERMUTATIONS + 1))


def test_a_recall_that_no_bands_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="no banding"):
        bands_for(0.01, 0.99)


def test_rows_with_the_same_band_share_that_key_only() -> None:
    base = " ".join(map(str, range(50)))
    near = base.replace("49", "x")
    bands, rows = 32, 4

    signed, _ = signatures(pl.Series([base, near, base]), 1, WORDS)
    slots = band_slots(pl.Series([base, near, base]), 1, WORDS, bands, rows)

    alike = (signed[0] == signed[1]).reshape(bands, rows).all(axis=1)
    assert 0 < alike.sum() < bands
    assert (slots[0] == slots[1]).tolist() == alike.tolist()
    assert slots[0].tolist() == slots[2].tolist()
    assert len(set(slots[0].tolist())) == bands


# --- Pairs found -----------------------------------------------------------------------------------------

PAIRS = 3_000


def planted(low: float, high: float, seed: int) -> tuple[list[str], list[Fraction]]:
    """Pairs of texts one after another, each of words of its own, and how alike they are: from `low` to `high`."""
    chance = random.Random(seed)
    texts, alike = [], []
    for pair in range(PAIRS):
        while True:
            size = chance.randint(30, 90)
            changed = chance.randint(1, size - 1)
            found = Fraction(size - changed, size + changed)
            if low <= found <= high:
                break
        words = [f"w{pair}x{place}" for place in range(size)]
        other = [f"w{pair}y{place}" if place < changed else word for place, word in enumerate(words)]
        texts += [" ".join(words), " ".join(other)]
        alike.append(found)
    return texts, alike


@pytest.mark.parametrize(("threshold", "recall"), [(0.8, 0.99), (0.7, 0.95), (0.5, 0.9)])
def test_the_promised_share_of_pairs_at_the_threshold_is_found(threshold: float, recall: float) -> None:
    texts, alike = planted(threshold, threshold + 0.05, seed=11)

    found = Comparison(threshold, n=1, search="lsh", recall=recall).matches(pl.Series(texts))

    named = found.kept[1::2]
    hits = np.flatnonzero(named >= 0)
    assert (found.kept[::2] == -1).all()
    assert len(hits) >= recall * PAIRS
    assert named[hits].tolist() == [2 * pair for pair in hits.tolist()]
    assert found.similarity[1::2][hits].tolist() == [float(alike[pair]) for pair in hits.tolist()]


def test_fewer_pairs_are_found_where_fewer_are_asked_for() -> None:
    texts, _ = planted(0.8, 0.82, seed=12)

    most, fewer = (
        Comparison(0.8, n=1, search="lsh", recall=recall).matches(pl.Series(texts)) for recall in (0.99, 0.5)
    )

    assert 0.5 * PAIRS <= (fewer.kept >= 0).sum() < (most.kept >= 0).sum()
    assert fewer.verified < most.verified


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_no_pair_below_the_threshold_is_reported(threshold: float) -> None:
    texts, _ = planted(threshold - 0.1, threshold - 0.0001, seed=13)

    found = Comparison(threshold, n=1, search="lsh").matches(pl.Series(texts))

    assert (found.kept == -1).all()
    assert found.verified > PAIRS // 2
