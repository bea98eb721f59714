"""The novelty filter decides as comparing every pair would, exactly, in whatever batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import pytest

from schemas.errors import Rejected
from synth.novelty import MAX_TOKENS, Alike, Pool, common_length, only_new, rouge_l, tokens, words
from synth.task import Made, Seed


def plain_common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """The textbook's table."""
    row = [0] * (len(other) + 1)
    for token in one:
        before = row[:]
        for place, there in enumerate(other):
            row[place + 1] = before[place] + 1 if token == there else max(before[place + 1], row[place])
    return row[-1]


def brute_force(seeds: Sequence[str], texts: Sequence[str], threshold: str) -> list[Alike | None]:
    """Every text against all that are in the pool, in fractions."""
    pool = [(place, tokens(text)) for place, text in enumerate(seeds)]
    found: list[Alike | None] = []
    for place, text in enumerate(texts, len(seeds)):
        own = tokens(text)
        scores = {
            other: Fraction(2 * plain_common_length(own, there), len(own) + len(there))
            for other, there in pool
            if own and there
        }
        best = max(scores, key=lambda other: (scores[other], -other), default=None)
        if best is not None and scores[best] > Fraction(threshold):
            found.append(Alike(best, float(scores[best])))
        else:
            pool.append((place, own))
            found.append(None)
    return found


def in_batches(pool: Pool, texts: Sequence[str], chance: random.Random) -> list[Alike | None]:
    found: list[Alike | None] = []
    while len(found) < len(texts):
        found += pool.admit(texts[len(found) : len(found) + chance.randint(1, 30)])
    return found


def made_up(chance: random.Random, *, chinese: bool) -> list[str]:
    """Texts of which half are others with tokens left out, put in or moved."""
    known, longest = chance.choice((3, 8, 40, 300)), chance.choice((3, 12, 40, 150))
    alphabet = [chr(0x4E00 + number) if chinese else f"w{number}" for number in range(known)]
    lists = [
        [alphabet[int(known * chance.random() ** 2)] for _ in range(chance.randint(0, longest))] for _ in range(40)
    ]
    for _ in range(40):
        edited = [token for token in chance.choice(lists) if chance.random() > 0.15]
        if edited and chance.random() < 0.5:
            edited.insert(chance.randrange(len(edited)), edited.pop(chance.randrange(len(edited))))
        lists.append([*edited, chance.choice(alphabet)])
    chance.shuffle(lists)
    return [("" if chinese else " ").join(one) for one in lists]


@pytest.mark.parametrize("seed", range(40))
def test_it_decides_as_brute_force_does(seed: int) -> None:
    chance = random.Random(seed)
    texts = made_up(chance, chinese=seed % 2 == 1)
    threshold = chance.choice(("0.7", "0.5", "0.9", "0.3", "0.99"))

    found = in_batches(Pool(texts[:7], float(threshold)), texts[7:], chance)

    assert found == brute_force(texts[:7], texts[7:], threshold)


def test_exactly_the_threshold_is_not_above_it() -> None:
    seed = "a b c d e f g h i j"
    at, above = "a b c d e f g x y z", "a b c d e f g h v w"

    found = Pool([seed]).admit([at, above])

    assert found == [None, Alike(0, 0.8)]


def test_the_nearest_is_told_and_of_equals_the_first() -> None:
    pool = Pool(["one two three four five", "one two three four six", "one two three four six seven"])

    [found] = pool.admit(["one two three four six"])

    assert found == Alike(1, 1.0)


def test_what_is_refused_does_not_join() -> None:
    pool = Pool(["one two three four five six seven eight nine ten"])

    found = pool.admit(
        [
            "one two three four five six seven eight nine eleven",
            "one two three four five six eleven twelve thirteen nine",
            "zero",
        ]
    )

    assert [alike is None for alike in found] == [False, True, True]
    assert len(pool) == 3


def test_texts_without_words_are_new() -> None:
    pool = Pool(["", "!!!"])

    assert pool.admit(["", "???", "…"]) == [None, None, None]


def test_order_counts_and_case_marks_and_width_do_not() -> None:
    pool = Pool(["How do I reset my password?", "Ｎａｍｅ　ｔｈｒｅｅ　ｃｏｌｏｕｒｓ"])

    found = pool.admit(["how do i RESET my password", "password my reset I do how", "name three colours!"])

    assert found == [Alike(0, 1.0), None, Alike(1, 1.0)]


def test_chinese_is_compared_by_characters_or_by_words() -> None:
    characters, by_words = Pool(["怎么重置我的登录密码"]), Pool(["怎么重置我的登录密码"], tokenize=words)

    found = [pool.admit(["怎么重置我的账户密码"])[0] for pool in (characters, by_words)]

    assert found[0] == Alike(0, 0.8)
    assert found[1] is not None and found[1].place == 0
    assert tokens("GPT-4用了3个GPU") == ["gpt", "4", "用", "了", "3", "个", "gpu"]


@pytest.mark.parametrize("sizes", [(0, 5), (1, 1), (63, 70), (64, 64), (65, 130), (200, 30)])
def test_the_longest_common_subsequence_is_the_tables(sizes: tuple[int, int]) -> None:
    chance = random.Random(sum(sizes))
    one, other = ([chance.choice("abcd") for _ in range(size)] for size in sizes)

    assert common_length(one, other) == plain_common_length(one, other)


def test_very_long_texts_are_compared_by_their_first_tokens() -> None:
    long = " ".join(f"w{number}" for number in range(MAX_TOKENS))

    found = Pool([long + " end"]).admit([long + " another end" * 50_000])

    assert found == [Alike(0, 1.0)]
    assert rouge_l(long + " x" * 10, long) == 1.0


def test_one_at_a_time_is_the_same_as_all_at_once() -> None:
    texts = made_up(random.Random(5), chinese=False)

    single = Pool()
    one_by_one = [single.admit([text])[0] for text in texts]

    assert one_by_one == Pool().admit(texts)


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5])
def test_a_threshold_is_between_nought_and_one(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Pool([], threshold)


def test_made_rows_that_are_not_new_are_rejected_in_order() -> None:
    seed = Seed.of({"id": "a", "messages": []})
    first, second = (
        seed.chat("Name three rivers in Africa.", "Nile"),
        seed.chat("Name three rivers in Africa!", "Congo"),
    )
    refused = Rejected("copy", "near")

    results = only_new([first, refused, second], Pool(["Name a lake."]))

    assert results[:2] == [first, refused]
    assert isinstance(results[2], Rejected) and results[2].reason == "not_novel"
    assert isinstance(first, Made)
