"""Near duplicates among texts are all found and nothing else is, by the sets that texts of a length are compared by."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.matching import Entries, Matches
from curate.near import SHORT_TOKENS, Comparison, entries_from, rows_to_compare, slots_from

Tokens = tuple[str, ...]
NEGATIONS = {"not", "no", "never", "without", "cannot", "nor", "none", "t", *"不没無无非别未否莫勿"}


# --- How alike two texts are, in plain Python ------------------------------------------------------------


def tokens_of(text: str) -> Tokens:
    """Words that white space parts, and each Chinese character."""
    spaced = "".join(f" {char} " if "\u4e00" <= char <= "\u9fff" else char for char in text)
    return tuple(spaced.split())


def windows(tokens: Sequence[str], n: int) -> frozenset[Tokens]:
    return frozenset(tuple(tokens[place : place + n]) for place in range(max(1, len(tokens) - n + 1)))


def ratio(a: frozenset[Tokens], b: frozenset[Tokens]) -> Fraction:
    shared = len(a & b)
    return Fraction(shared, len(a) + len(b) - shared)


def meaning(tokens: Sequence[str]) -> tuple[Tokens, int]:
    """Numbers and operators, and how many negations there are."""
    told = [token for token in tokens if re.search(r"[0-9]|^[+*/×÷=<>%]$", token)]
    negations = sum(token in NEGATIONS for token in tokens)
    return tuple(sorted(told)), negations


class Plain:
    """A text and its sets."""

    def __init__(self, text: str) -> None:
        tokens = tokens_of(text)
        self.size = len(tokens)
        self.meaning = meaning(tokens)
        self.pairs = frozenset(pairwise(("<begin>", *tokens, "<end>")))
        self.fives = windows(tokens, 5)

    def like(self, other: Plain) -> Fraction:
        if not self.size or not other.size:
            return Fraction(0)
        if self.size > SHORT_TOKENS and other.size > SHORT_TOKENS:
            return ratio(self.fives, other.fives)
        if max(self.size, other.size) <= 2 * SHORT_TOKENS and self.meaning == other.meaning:
            return ratio(self.pairs, other.pairs)
        return Fraction(0)


def by_brute_force(texts: Sequence[str], threshold: float) -> tuple[list[int], list[float]]:
    """The kept row that each row goes for, or -1, and how alike they are."""
    plain = [Plain(text) for text in texts]
    kept: list[int] = []
    named, similarity = [-1] * len(texts), [0.0] * len(texts)
    for row, one in enumerate(plain):
        most, other = max(((one.like(plain[other]), -other) for other in kept), default=(Fraction(0), 0))
        if most >= Fraction(str(threshold)):
            named[row], similarity[row] = -other, float(most)
        else:
            kept.append(row)
    return named, similarity


def facts(found: Matches) -> tuple[list[int], list[float]]:
    return found.kept.tolist(), found.similarity.tolist()


# --- Planted near duplicates -----------------------------------------------------------------------------

WORDS = {
    "en": ["".join("abcdefghij"[int(digit)] for digit in f"{number:04}") for number in range(4_000)],
    "zh": [chr(code) for code in range(0x4E00, 0x5E00)],
}
TELLING = {"en": ["12", "7", "+", "=", "not", "never"], "zh": ["12 ", "7 ", "+", "=", "不", "没"]}
"""What makes another text of a short one: numbers, operators, negations."""

BETWEEN = {"en": " ", "zh": ""}


def written(tokens: Sequence[str], language: str) -> str:
    return BETWEEN[language].join(tokens)


def with_changes(tokens: Sequence[str], changes: int, language: str, chance: random.Random) -> list[str]:
    """The tokens with some replaced, taken out or put in."""
    found = list(tokens)
    for _ in range(changes):
        words = TELLING if chance.random() < 0.1 else WORDS
        place, new = chance.randrange(len(found)), chance.choice(words[language])
        found[place : place + 1] = chance.choice([[new], [], [found[place], new]])
        found = found or [new]
    return found


def planted(language: str, size: int, families: int) -> list[str]:
    """Texts of about so many tokens, each with three like it that are changed more and more, in a random order."""
    chance = random.Random(size)
    texts = []
    for _ in range(families):
        base = [chance.choice(WORDS[language]) for _ in range(max(1, round(size * chance.uniform(0.9, 1.1))))]
        texts.append(written(base, language))
        for most in (0.01, 0.04, 0.12):
            changes = round(size * chance.uniform(0, most)) + chance.randint(0, 1)
            texts.append(written(with_changes(base, changes, language, chance), language))
    chance.shuffle(texts)
    return texts


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("size", "families"), [(5, 60), (20, 60), (90, 60), (300, 40), (1_500, 12)])
def test_every_near_duplicate_is_found_and_nothing_else(language: str, size: int, families: int) -> None:
    texts = planted(language, size, families)

    found = Comparison(0.7).matches(pl.Series(texts))

    assert facts(found) == by_brute_force(texts, 0.7)
    assert families / 2 < (found.kept >= 0).sum() < 3 * families


def test_languages_and_lengths_do_not_get_in_each_others_way() -> None:
    sizes = [(5, 15), (20, 15), (90, 15), (300, 10)]
    texts = [
        text for language in ("en", "zh") for size, families in sizes for text in planted(language, size, families)
    ]
    random.Random(2).shuffle(texts)

    found = Comparison(0.7).matches(pl.Series(texts))

    assert facts(found) == by_brute_force(texts, 0.7)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_with_n_all_texts_are_compared_by_shingles_of_n(n: int) -> None:
    texts = [text for size in (5, 90, 300) for text in planted("en", size, 10)]
    sets = [windows(tokens_of(text), n) for text in texts]

    found = Comparison(0.6, n=n).matches(pl.Series(texts))

    gone = np.flatnonzero(found.kept >= 0).tolist()
    assert [found.similarity[row] for row in gone] == [float(ratio(sets[row], sets[found.kept[row]])) for row in gone]
    left = np.flatnonzero(found.kept < 0).tolist()
    assert max(ratio(sets[a], sets[b]) for a in left for b in left if a != b) < Fraction(6, 10)


def test_characters_are_compared_by_fives() -> None:
    texts = ["abcdefghij", "abcdefghijk", "先把水烧开再放茶叶", "先把水烧开再放茶"]

    found = Comparison(0.5, unit="characters").matches(pl.Series(texts))

    assert facts(found) == ([-1, 0, -1, 2], [0.0, 6 / 7, 0.0, 4 / 5])


# --- Two kinds of length ---------------------------------------------------------------------------------

EDGES = [SHORT_TOKENS + more for more in (-5, -1, 0, 1, 2, 20)]
EDGES += [2 * SHORT_TOKENS + more for more in (-1, 0, 1, 10, 40)]


@pytest.mark.parametrize("threshold", [0.4, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("seed", [1, 2])
def test_texts_about_as_long_as_where_shingles_change_are_compared_as_their_lengths_say(
    threshold: float, seed: int
) -> None:
    chance = random.Random(seed)
    bases = [[chance.choice(WORDS["en"]) for _ in range(3 * SHORT_TOKENS)] for _ in range(6)]
    texts = []
    for _ in range(150):
        size = chance.choice(EDGES)
        tokens = with_changes(chance.choice(bases)[:size], chance.choice([0, 0, 1, 3, 10]), "en", chance)
        texts.append(written(tokens, "en"))

    found = Comparison(threshold).matches(pl.Series(texts))

    assert facts(found) == by_brute_force(texts, threshold)
    assert (found.kept >= 0).any()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(SHORT_TOKENS - 10, 2 * SHORT_TOKENS + 15), min_size=2, max_size=12),
    begins=st.lists(st.integers(0, 12), min_size=12, max_size=12),
    threshold=st.sampled_from([0.4, 0.5, 0.8, 0.9]),
)
def test_parts_of_one_text_are_compared_as_their_lengths_say(
    sizes: list[int], begins: list[int], threshold: float
) -> None:
    words = WORDS["en"]
    texts = [written(words[begin : begin + size], "en") for size, begin in zip(sizes, begins, strict=False)]

    found = Comparison(threshold).matches(pl.Series(texts))

    assert facts(found) == by_brute_force(texts, threshold)


L = SHORT_TOKENS


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (L, L + 1, Fraction(L, L + 3)),
        (L + 1, L + 2, Fraction(L - 3, L - 2)),
        (L, 2 * L, Fraction(L, 2 * L + 2)),
        (L, 2 * L + 1, Fraction(0)),
        (L + 1, 2 * L + 1, Fraction(L - 3, 2 * L - 3)),
        (4, 5, Fraction(4, 7)),
    ],
)
def test_a_text_and_the_same_with_more_behind_are_so_alike(one: int, other: int, alike: Fraction) -> None:
    texts = [written(WORDS["en"][:size], "en") for size in (one, other)]

    found = Comparison(0.3).matches(pl.Series(texts))

    assert found.similarity[1] == float(alike)


def test_a_word_changed_in_a_short_text_still_makes_a_near_duplicate() -> None:
    tokens = WORDS["en"][:40]
    changed = [*tokens[:20], "other", *tokens[21:]]

    by_rule = Comparison(0.8).matches(pl.Series([written(tokens, "en"), written(changed, "en")]))
    by_fives = Comparison(0.8, n=5).matches(pl.Series([written(tokens, "en"), written(changed, "en")]))

    assert by_rule.kept.tolist() == [-1, 0]
    assert by_fives.kept.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("one", "other"),
    [("12", "13"), ("12", "twelve"), ("+", "*"), ("=", "<"), ("not", "really"), ("do", "don't"), ("5%", "5")],
)
def test_a_short_text_with_another_number_operator_or_negation_is_another_text(one: str, other: str) -> None:
    words = WORDS["en"][: SHORT_TOKENS - 10]
    texts = [written([*words[:20], told, *words[20:]], "en") for told in (one, other, one)]

    found = Comparison(0.6).matches(pl.Series(texts))

    assert found.kept.tolist() == [-1, -1, 0]


def test_a_long_text_with_another_number_is_a_near_duplicate() -> None:
    words = WORDS["en"][: SHORT_TOKENS + 10]
    texts = [written([*words[:20], told, *words[20:]], "en") for told in ("12", "13")]

    found = Comparison(0.6).matches(pl.Series(texts))

    assert found.kept.tolist() == [-1, 0]


# --- In shards -------------------------------------------------------------------------------------------


def mixed_texts() -> list[str | None]:
    texts: list[str | None] = [None, "", "tea", "…", "…", None]
    texts += [text for size in (5, 90, 300) for language in ("en", "zh") for text in planted(language, size, 8)]
    random.Random(9).shuffle(texts)
    return texts


def cuts(texts: Sequence[str | None], size: int) -> list[pl.Series]:
    whole = pl.Series("text", texts, dtype=pl.String)
    return [whole.slice(begin, size) for begin in range(0, len(whole), size)] + [whole.clear()]


@pytest.mark.parametrize("comparison", [Comparison(0.7), Comparison(0.7, n=3)], ids=["two kinds", "threes"])
@pytest.mark.parametrize("size", [1, 17, 1_000])
@pytest.mark.parametrize("rechunk", [False, True])
def test_summaries_of_shards_match_as_the_whole_does(comparison: Comparison, size: int, rechunk: bool) -> None:
    texts = mixed_texts()
    summaries = pl.concat([comparison.summary(part) for part in cuts(texts, size)], rechunk=rechunk)

    found = comparison.match(entries_from(summaries), np.arange(len(texts)))

    assert facts(found) == facts(comparison.matches(pl.Series(texts)))
    assert (found.kept >= 0).sum() > 20


def test_a_slice_of_summaries_matches_as_its_texts_do() -> None:
    texts = mixed_texts()
    comparison = Comparison(0.7)
    chunks = pl.concat([comparison.summary(part) for part in cuts(texts, 40)], rechunk=False)
    assert chunks.n_chunks() > 2

    found = comparison.match(entries_from(chunks.slice(25, 90)), np.arange(90))

    assert facts(found) == facts(comparison.matches(pl.Series(texts[25:115])))


def test_summaries_that_were_written_and_read_match_as_before(tmp_path: Path) -> None:
    texts = mixed_texts()
    comparison = Comparison(0.7)
    summaries = pl.DataFrame({"compared": comparison.summary(pl.Series(texts))})
    summaries.write_ipc(tmp_path / "summaries.arrow")
    through = pl.read_ipc(tmp_path / "summaries.arrow")

    found = comparison.match(entries_from(through["compared"]), np.arange(len(texts)))

    assert facts(found) == facts(comparison.matches(pl.Series(texts)))


@pytest.mark.parametrize("size", [5, 17, 1_000])
def test_bands_of_shards_match_as_the_whole_does(size: int) -> None:
    texts = pl.Series(mixed_texts())
    comparison = Comparison(0.7, search="lsh")
    slots = slots_from(pl.concat([comparison.summary(part) for part in cuts(texts.to_list(), size)], rechunk=False))

    found = comparison.match_slots(slots, Entries.single(comparison.whole(texts)), np.arange(len(texts)))

    assert facts(found) == facts(comparison.matches(texts))
    assert set(np.flatnonzero(found.kept >= 0).tolist()) <= set(rows_to_compare(slots).tolist())


def test_bands_find_what_an_exact_search_finds_and_nothing_else() -> None:
    texts = pl.Series(planted("en", 300, 40) + planted("zh", 1_500, 6))
    exact = Comparison(0.7, n=5).matches(texts)

    found = Comparison(0.7, n=5, search="lsh", recall=0.999).matches(texts)

    hits = np.flatnonzero(found.kept >= 0)
    assert facts(found) == facts(exact)
    assert len(hits) > 40


@pytest.mark.parametrize("search", ["exact", "lsh"])
def test_no_texts_have_no_near_duplicates(search: str) -> None:
    comparison = Comparison(search="lsh" if search == "lsh" else "exact")

    found = comparison.matches(pl.Series([], dtype=pl.String))

    assert facts(found) == ([], [])


def test_bands_of_no_rows_are_none() -> None:
    summaries = Comparison(search="lsh").summary(pl.Series([], dtype=pl.String))

    assert len(rows_to_compare(slots_from(summaries))) == 0


def test_an_order_says_which_of_the_rows_stay() -> None:
    texts = pl.Series(
        ["green tea from the hills", "green tea from the hills!", "black coffee", "Green tea from the hills"]
    )
    comparison = Comparison(0.6)

    found = comparison.match(comparison.entries(texts), np.array([3, 2, 1, 0]))

    assert found.kept.tolist() == [3, 3, -1, -1]


def test_a_lower_threshold_can_be_asked_of_the_same_entries() -> None:
    texts = pl.Series(["a b c d e f", "a b c d e x", "u v w x y z"])
    comparison = Comparison(0.9)
    entries = comparison.entries(texts)

    strict, lenient = (comparison.match(entries, np.arange(3), threshold) for threshold in (None, 0.5))

    assert strict.kept.tolist() == [-1, -1, -1]
    assert facts(lenient) == ([-1, 0, -1], [0.0, 5 / 9, 0.0])
