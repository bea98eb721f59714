"""Sets of shingles are those of a plain reading of the definition, whatever the text is made of."""

from __future__ import annotations

import io
import random
import re
import unicodedata
from collections.abc import Hashable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import characters
from curate.kernels.characters import CONTEXT, KIND_SHIFT, LETTER, SPACE, table
from curate.kernels.shingles import CHARACTERS, WORDS, contiguous, joined, shingle_sets, sort_distinct

# --- The definition in plain Python ----------------------------------------------------------------------

ALONE = ("CJK ", "HIRAGANA ", "KATAKANA", "HENTAIGANA ", "IDEOGRAPHIC ", "VERTICAL IDEOGRAPHIC ", "HANGZHOU ")
"""How the names of ideographs and kana begin, and of the letters that stand for them."""


def fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@cache
def kind(char: str) -> str:
    """What a folded character does: "space" parts tokens, "word" joins its neighbours, "alone" is a token."""
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Zs", "Zl", "Zp"):
        return "space"
    if category[0] not in "LNM":
        return "alone"
    name = unicodedata.name(char, "")
    is_one = category in ("Lo", "Lm", "Nl") and name.startswith(ALONE) and "MINNAN TONE" not in name
    return "alone" if is_one and "MINNAN NASALIZED" not in name else "word"


def words_of(text: str) -> list[str]:
    found, word = [], ""
    for char in fold(text):
        if kind(char) == "word":
            word += char
            continue
        if word:
            found.append(word)
            word = ""
        if kind(char) == "alone":
            found.append(char)
    return [*found, word] if word else found


def characters_of(text: str) -> list[str]:
    """Characters, with a run of white space as one space and none at the ends."""
    spaced = "".join(" " if kind(char) == "space" else char for char in fold(text))
    return list(re.sub(" +", " ", spaced).strip(" "))


def plain(text: str | None, n: int, unit: int = WORDS, *, edges: bool = False) -> set[Hashable]:
    """The set of a text's shingles, by the definition."""
    if not text:
        return set()
    tokens: list[str | None] = [*(words_of(text) if unit == WORDS else characters_of(text))]
    if not tokens:
        return {("exactly", text)}
    if edges:
        tokens = [*[None] * (n - 1), *tokens, *[None] * (n - 1)]
    if len(tokens) < n:
        return {tuple(tokens)}
    return {tuple(tokens[place : place + n]) for place in range(len(tokens) - n + 1)}


def sets(*texts: str | None, n: int = 1, unit: int = WORDS, edges: bool = False) -> list[set[int]]:
    """The sets that the kernel gives."""
    found = shingle_sets(pl.Series(texts, dtype=pl.String), n, unit, edges=edges)
    hashes, ends = contiguous(found).tolist(), np.cumsum(found.sizes).tolist()
    return [set(hashes[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


def same(a: str, b: str, n: int = 1, unit: int = WORDS) -> bool:
    one, other = sets(a, b, n=n, unit=unit)
    return one == other


def jaccard(a: set[Hashable] | set[int], b: set[Hashable] | set[int]) -> tuple[int, int]:
    """How many shingles two sets share, of how many."""
    return len(a & b), len(a | b)


# --- Any text --------------------------------------------------------------------------------------------

PIECES = [
    *["a", "B", "ab", "AB", "the ", "The", "tea", " ", "  ", "\n", "\t", "\u00a0", "\u3000", "\u200b", "\x00", "\x1f"],
    *["1", "2", "12", "½", "²", "①", "+", "-", "++", ".", ",", "，", "。", "？", "?", "'", "’", "_", "€"],
    *["茶", "水", "中文", "〇", "々", "豈", "⼀", "か", "が", "カ", "ガ", "ｶ", "ﾞ", "か\u3099", "ー", "・", "ヿ", "𠀀"],
    *["한", "글", "한글", "ᄒ", "ᅡ", "ᆫ", "ㄱ", "ㅏ"],
    *["é", "e\u0301", "É", "e", "\u0301", "\u0327", "ñ", "Å", "ß", "ẞ", "SS", "ﬁ", "fi", "ǅ", "İ", "ı", "ς", "Σ", "ŉ"],
    *[
        "Ａ",
        "ａ",
        "１",
        "＋",
        "🙂",
        "👍🏽",
        "👨\u200d👩",
        "\ufe0f",
        "\U000e0101",
        "ﷺ",
        "नि",
        "ไทย",
        "ֿ",
        "\ue000",
        "\u0378",
    ],
]

texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
    st.lists(st.sampled_from(PIECES[:8]), max_size=30).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@st.composite
def alike(draw: st.DrawFn) -> tuple[str, str]:
    """Two texts that have something in common."""
    shared = draw(texts)
    return draw(texts) + shared + draw(texts), draw(texts) + shared


pairs = st.one_of(st.tuples(texts, texts), alike())


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@settings(max_examples=50, deadline=None)
@given(pair=pairs)
def test_two_texts_are_as_alike_as_their_sets_of_words_in_a_row(n: int, pair: tuple[str, str]) -> None:
    assert jaccard(*sets(*pair, n=n)) == jaccard(*(plain(text, n) for text in pair))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@settings(max_examples=50, deadline=None)
@given(pair=pairs)
def test_with_edges_the_first_and_last_words_count_as_much_as_others(n: int, pair: tuple[str, str]) -> None:
    assert jaccard(*sets(*pair, n=n, edges=True)) == jaccard(*(plain(text, n, edges=True) for text in pair))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@settings(max_examples=50, deadline=None)
@given(pair=pairs)
def test_two_texts_are_as_alike_as_their_sets_of_characters_in_a_row(n: int, pair: tuple[str, str]) -> None:
    a, b = ((text.strip() and text + ".") or text for text in pair)  # what white space at the end is: see below

    assert jaccard(*sets(a, b, n=n, unit=CHARACTERS)) == jaccard(*(plain(text, n, CHARACTERS) for text in (a, b)))


@settings(max_examples=50, deadline=None)
@given(given_texts=st.lists(st.one_of(st.none(), texts), max_size=70), n=st.integers(1, 6))
def test_a_texts_set_does_not_depend_on_the_texts_beside_it(given_texts: list[str | None], n: int) -> None:
    together = sets(*given_texts, n=n)

    assert [len(one) for one in together] == [len(plain(text, n)) for text in given_texts]
    assert together == [sets(text, n=n)[0] for text in given_texts]


# --- What must differ and what must not ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("C", "C++"),
        ("2+3", "2-3"),
        ("2+3", "2+5"),
        ("2+3", "23"),
        ("a b", "ab"),
        ("x", "x?"),
        ("茶水", "茶"),
        ("が", "か"),
        ("🙂", "🙁"),
        ("e", "é"),
    ],
)
def test_what_says_something_else_differs(a: str, b: str) -> None:
    assert not same(a, b)
    assert not same(a, b, n=5)
    assert not same(a, b, n=5, unit=CHARACTERS)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("TEA", "tea"),
        ("Straße", "STRASSE"),
        ("ΟΔΟΣ", "οδος"),
        ("ｔｅａ１２", "tea12"),
        ("2＋3", "2+3"),
        ("ﬁne", "fine"),
        ("café", "cafe\u0301"),
        ("①", "1"),
        ("한글", unicodedata.normalize("NFD", "한글")),
        ("が", "か\u3099"),
        ("ｶﾀｶﾅ", "カタカナ"),
        ("\u212b", "å"),
    ],
)
@pytest.mark.parametrize("unit", [WORDS, CHARACTERS])
def test_width_case_and_spelling_of_characters_do_not_matter(a: str, b: str, unit: int) -> None:
    assert same(a, b, unit=unit)
    assert same(f"drink {a} now", f"drink {b} now", n=2, unit=unit)


@pytest.mark.parametrize(("a", "b"), [("ｶﾞﾗｽ", "ガラス"), ("ﾊﾟﾝ", "パン"), ("ㄱㅏ", "가"), ("ￂￇ", "ᅡᅦ"), ("ﾡￂ", "가")])
@pytest.mark.parametrize("unit", [WORDS, CHARACTERS])
def test_a_half_width_character_joins_the_one_before_it_as_a_full_width_one_does(a: str, b: str, unit: int) -> None:
    assert unicodedata.normalize("NFKC", a) == b

    assert same(a, b, unit=unit)


@pytest.mark.parametrize("space", [" ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\u200b", "\x00"])
def test_any_white_space_and_what_cannot_be_seen_is_one_space(space: str) -> None:
    assert same(f"green{space}tea", "green tea", n=2)
    assert same(f"green{space}tea", "green tea", n=3, unit=CHARACTERS)
    assert same(f"{space}green tea{space}", "green tea", n=2)


@pytest.mark.parametrize("around", [" tea", "\n\n tea", "tea ", "tea \n", "\u3000tea\u3000"])
def test_white_space_at_the_ends_is_no_character_of_a_text(around: str) -> None:
    assert same(around, "tea", n=3, unit=CHARACTERS)


@pytest.mark.parametrize("unit", [WORDS, CHARACTERS])
def test_texts_without_a_token_are_the_same_where_each_character_is(unit: int) -> None:
    one, again, other = sets("\u200b \n", "\u200b \n", "\u200b  \n", n=5, unit=unit)

    assert one == again
    assert len(one) == 1
    assert not one & other


@pytest.mark.parametrize("unit", [WORDS, CHARACTERS])
@pytest.mark.parametrize("edges", [False, True])
def test_a_null_and_an_empty_text_have_no_set(unit: int, edges: bool) -> None:
    found = shingle_sets(pl.Series([None, "tea", "", None], dtype=pl.String), 2, unit, edges=edges)

    assert [size > 0 for size in found.sizes.tolist()] == [False, True, False, False]


def test_no_texts_have_no_sets() -> None:
    assert len(shingle_sets(pl.Series([], dtype=pl.String), 5).sizes) == 0


@pytest.mark.parametrize(("text", "n", "unit"), [("green tea", 5, WORDS), ("茶", 2, WORDS), ("te", 3, CHARACTERS)])
def test_a_text_of_fewer_tokens_is_one_shingle(text: str, n: int, unit: int) -> None:
    short, longer = sets(text, text + "!" * n, n=n, unit=unit)

    assert len(short) == 1
    assert not short & longer


def test_edges_tell_a_text_from_one_that_goes_on() -> None:
    short, longer, first = sets("green tea", "green tea leaves", "green", n=2, edges=True)

    assert jaccard(short, longer) == (2, 5)
    assert len(first) == 2


@pytest.mark.parametrize("n", [0, -1, 65])
def test_shingles_of_nothing_or_of_very_many_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 64"):
        shingle_sets(pl.Series(["tea"]), n)


def test_shingles_of_sixty_four_tokens_are_told_apart() -> None:
    text = " ".join(map(str, range(100)))

    found = sets(text, text.replace("50", "x"), " ".join(map(str, range(64))), n=64)

    assert [len(one) for one in found] == [37, 37, 1]
    assert found[2] < found[0]
    assert jaccard(found[0], found[1]) == jaccard(plain(text, 64), plain(text.replace("50", "x"), 64))


# --- Long texts ------------------------------------------------------------------------------------------


def long_text(pieces: list[str], size: int, between: str) -> str:
    chance = random.Random(5)
    found, length = [], 0
    while length < size:
        found.append(chance.choice(pieces))
        length += len(found[-1].encode()) + len(between)
    return between.join(found)


@pytest.mark.parametrize(
    ("pieces", "between"),
    [
        (["tea", "Tea", "water", "12", "+", "leaf,", "pot"], " "),
        ([chr(code) for code in range(0x4E00, 0x4F00)], ""),
        (["cafe\u0301", "ﬁne", "Straße", "tea"], " "),
    ],
    ids=["words", "ideographs", "folded"],
)
def test_a_text_of_two_megabytes_has_its_set(pieces: list[str], between: str) -> None:
    text = long_text(pieces, 2_000_000, between)

    found = sets(text, text + " end", n=5)

    assert len(found[0]) == len(plain(text, 5))
    assert len(found[1] - found[0]) == 1


@pytest.mark.parametrize("token", ["tea ", "茶", "+", "e\u0301 "])
def test_one_token_over_and_over_is_one_shingle(token: str) -> None:
    text = token * 100_000

    assert len(sets(text, n=5)[0]) == 1
    assert len(sets(text, n=2, edges=True)[0]) == 3
    assert sets(text, n=5) == sets(token * 5, n=5)


def test_a_word_of_a_megabyte_is_one_token() -> None:
    word, other = sets("a" * 1_000_000, "a" * 999_999 + "b", n=1)

    assert len(word) == len(other) == 1
    assert word != other


# --- Series, limits --------------------------------------------------------------------------------------


def test_a_slice_and_a_series_in_chunks_have_the_sets_of_their_texts() -> None:
    given_texts = ["green tea", None, "a pot of tea", "", "cafe\u0301 noir", "茶水很好喝", "x"] * 20
    whole = sets(*given_texts, n=2)
    chunked = pl.concat([pl.Series(given_texts[:50]), pl.Series(given_texts[50:])], rechunk=False)

    of_slice = shingle_sets(pl.Series(given_texts).slice(33, 40), 2)
    of_chunks = shingle_sets(chunked, 2)

    assert contiguous(of_chunks).tolist() == [one for found in whole for one in sorted(found)]
    assert contiguous(of_slice).tolist() == [one for found in whole[33:73] for one in sorted(found)]


def test_sets_that_are_joined_stand_one_after_another() -> None:
    parts = [shingle_sets(pl.Series(group), 1) for group in (["a b", "c"], ["d é e\u0301"])]

    both = joined(*parts)

    assert both.sizes.tolist() == [2, 1, 2]
    assert both.total == 5
    assert contiguous(both).tolist() == [one for part in parts for one in contiguous(part).tolist()]


@pytest.mark.parametrize("accent", ["", "é"])
@pytest.mark.parametrize("edges", [False, True])
def test_only_texts_of_more_than_the_least_and_at_most_the_most_tokens_have_a_set(accent: str, edges: bool) -> None:
    accented = unicodedata.normalize("NFD", accent)
    given_texts = pl.Series([" ".join([f"w{accented}"] * count) for count in range(1, 9)])

    some = shingle_sets(given_texts, 2, edges=edges, least=3, most=6)

    assert [place + 1 for place, size in enumerate(some.sizes) if size] == [4, 5, 6]


# --- Sorting ---------------------------------------------------------------------------------------------


def values_of(size: int, distinct: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    chance = np.random.default_rng(seed)
    pool = chance.integers(0, 1 << 64, max(distinct, 1), dtype=np.uint64)
    return pool[chance.integers(0, len(pool), size)]


SIZES = [0, 1, 2, 39, 40, 41, 42, 511, 512, 513, 2_999, 3_000, 3_001, 3_002, 70_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("distinct", ["one", "few", "all"])
def test_values_are_sorted_and_repeats_taken_out(size: int, distinct: str) -> None:
    values = values_of(size, {"one": 1, "few": 7, "all": size}[distinct], size)
    expected = np.unique(values).tolist()

    room = np.concatenate([values, np.full(3, 5, np.uint64)])
    left = sort_distinct(room, size, np.empty(size + 1, np.uint64), np.zeros(65_537, np.int64))

    assert room[:left].tolist() == expected
    assert room[size:].tolist() == [5, 5, 5]


@pytest.mark.parametrize("size", [40, 41, 3_000, 3_001])
def test_values_close_together_and_at_both_ends_are_sorted(size: int) -> None:
    values = np.array([(1 << 64) - 1 - place if place % 2 else place for place in range(size)], dtype=np.uint64)
    expected = sorted(values.tolist())

    left = sort_distinct(values, size, np.empty(size, np.uint64), np.zeros(65_537, np.int64))

    assert values[:left].tolist() == expected


# --- The table of characters -----------------------------------------------------------------------------


def code_points() -> Iterator[int]:
    return (code for code in range(0x110000) if not 0xD800 <= code < 0xE000)


def test_the_table_says_of_every_character_what_it_is_folded_to_and_whether_it_joins_parts_or_stands_alone() -> None:
    entries = table().tolist()

    wrong = []
    for code in code_points():
        if entries[code] >= CONTEXT:
            continue
        to = fold(chr(code))
        is_kind = entries[code] >> KIND_SHIFT
        said = "word" if is_kind == LETTER else "space" if is_kind == SPACE else "alone"
        if len(to) != 1 or (ord(to), kind(to)) != (entries[code] & ((1 << KIND_SHIFT) - 1), said):
            wrong.append(f"U+{code:04X}")

    assert wrong == []


def test_the_table_knows_ideographs_and_kana_from_other_visible_characters() -> None:
    entries = table()

    kinds = [int(entries[ord(char)]) >> KIND_SHIFT for char in "茶か+。a 1"]

    assert kinds[0] == kinds[1]
    assert kinds[2] == kinds[3]
    assert len(set(kinds)) == 4
    assert kinds[4] == kinds[6] == LETTER


def test_every_character_that_joins_the_one_before_it_is_folded_with_its_text() -> None:
    entries = table()
    befores = ["a", "か", "カ", "ハ", "가", "\u1100", "ক", "त"]

    wrong = [
        f"U+{code:04X} after {before}"
        for code in code_points()
        if entries[code] < CONTEXT and unicodedata.category(chr(code)) != "Cn"
        for before in befores
        if fold(before + chr(code)) != before + fold(chr(code))
    ]

    assert wrong == []


def test_characters_that_depend_on_their_neighbours_are_what_they_are_by_the_definition() -> None:
    special = [chr(code) for code in code_points() if table()[code] >= CONTEXT]

    found = sets(*(f"a{char}b" for char in special), n=1)
    expected = sets(*(fold(f"a{char}b") for char in special), n=1)

    wrong = [
        f"U+{ord(char):04X}"
        for char, one, other in zip(special, found, expected, strict=True)
        if one != other or len(one) != len(plain(f"a{char}b", 1))
    ]
    assert len(special) > 1_000
    assert wrong == []


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The table's file, in a cache of this test's own."""
    file = tmp_path / f"characters-{characters._VERSION}-{unicodedata.unidata_version}.npy"
    np.save(file, table(), allow_pickle=False)
    monkeypatch.setattr(characters, "CACHE", tmp_path)
    table.cache_clear()
    yield file
    table.cache_clear()


def test_the_table_is_read_from_the_cache(cached: Path) -> None:
    other = np.full(0x110000, 7, np.uint32)
    np.save(cached, other)

    found = table()

    assert np.array_equal(found, other)


def damaged(damage: str, whole: bytes) -> bytes:
    if damage == "another shape":
        file = io.BytesIO()
        np.save(file, np.zeros(100, np.uint32))
        return file.getvalue()
    return {"empty": b"", "cut": whole[:-1_000]}[damage]


@pytest.mark.parametrize("damage", ["empty", "cut", "another shape"])
def test_a_damaged_cache_file_is_replaced(damage: str, cached: Path) -> None:
    whole = cached.read_bytes()
    right = np.load(cached)
    cached.write_bytes(damaged(damage, whole))

    found = table()

    assert np.array_equal(found, right)
    assert cached.read_bytes() == whole
    assert list(cached.parent.iterdir()) == [cached]


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    expected = table().copy()
    monkeypatch.setattr(characters, "CACHE", tmp_path / "file")
    table.cache_clear()

    found = table()
    table.cache_clear()

    assert np.array_equal(found, expected)
