"""How long the novelty filter takes, against comparing every pair with the package rouge_score.

    python tests/bench/novelty.py [--texts 50000] [--sample 300] [--seed 7] [--rounds 3]

Instructions are made up of words by Zipf's law, 6 to 40 tokens, half in English and half in Chinese; one in four is an
earlier one with a tenth of its tokens exchanged. On a sample both sides decide about the same texts, in turns, and the
medians' ratio and any decision that differs are told: rouge_score computes in floating point, so that a pair at exactly
0.7 may count as above it. rouge_score knows no Chinese; there its own tokens are ours. Then the filter alone has all
texts. Without the package (`pip install rouge-score`) every pair is compared by this package's own bit-parallel
function, which is many times faster than rouge_score's, and the ratio says less of it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from synth.novelty import THRESHOLD, Pool, common_length, tokens


def corpus(count: int, seed: int, *, chinese: bool) -> list[str]:
    """Instructions, a quarter of them near others."""
    chance = random.Random(seed)
    words = [chr(0x4E00 + number) for number in range(4_000)] if chinese else [f"w{n}" for n in range(20_000)]
    sums = list(accumulate(1 / (place + 1) for place in range(len(words))))
    made: list[list[str]] = []
    for number in range(count):
        if number and chance.random() < 0.25:
            text = list(chance.choice(made))
            for _ in range(max(1, len(text) // 10)):
                text[chance.randrange(len(text))] = chance.choice(words)
        else:
            text = [words[bisect(sums, chance.random() * sums[-1])] for _ in range(chance.randint(6, 40))]
        made.append(text)
    return [("" if chinese else " ").join(text) for text in made]


def all_pairs(texts: Sequence[str]) -> list[bool]:
    """Which texts are new, by comparing each with all that are."""
    above = _scorer()
    kept: list[Any] = []
    new = []
    for text in texts:
        new.append(not any(above(text, other) for other in kept))
        if new[-1]:
            kept.append(text)
    return new


def filtered(texts: Sequence[str]) -> list[bool]:
    """Which texts are new, by the filter."""
    return [alike is None for alike in Pool().admit(texts)]


def _scorer() -> Callable[[str, str], bool]:
    try:
        from rouge_score import rouge_scorer  # type: ignore[import-not-found]
    except ImportError:
        split: dict[str, list[str]] = {}

        def above(one: str, other: str) -> bool:
            left, right = (split.setdefault(text, tokens(text)) for text in (one, other))
            return 20 * common_length(left, right) > 7 * (len(left) + len(right))

        return above

    class Split:
        def tokenize(self, text: str) -> list[str]:
            return tokens(text)

    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False, tokenizer=Split())
    return lambda one, other: bool(scorer.score(one, other)["rougeL"].fmeasure > THRESHOLD)


def timed(work: Callable[[Sequence[str]], list[bool]], texts: Sequence[str]) -> tuple[float, list[bool]]:
    """Seconds, and what was decided."""
    begin = time.perf_counter()
    decided = work(texts)
    return time.perf_counter() - begin, decided


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    filtered(["compile the kernel"])
    try:
        import rouge_score  # noqa: F401

        against = "rouge_score"
    except ImportError:
        against = "own function, every pair"
    for name, chinese in (("English", False), ("Chinese", True)):
        sample = corpus(given.sample, given.seed, chinese=chinese)
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(given.rounds):
            seconds, mine = timed(filtered, sample)
            ours.append(seconds)
            seconds, plain = timed(all_pairs, sample)
            theirs.append(seconds)
        differ = sum(one != other for one, other in zip(mine, plain, strict=True))
        ratio = statistics.median(theirs) / statistics.median(ours)
        print(
            f"{name}, {given.sample:,} texts: filter {statistics.median(ours):.3f} s, {against} "
            f"{statistics.median(theirs):.2f} s, ratio {ratio:,.0f}, kept {sum(mine):,}, decisions that differ {differ}"
        )
        texts = corpus(given.texts, given.seed + 1, chinese=chinese)
        took = [timed(filtered, texts) for _ in range(given.rounds)]
        seconds = statistics.median(one for one, _ in took)
        print(f"{name}, {given.texts:,} texts: filter {seconds:.2f} s, kept {sum(took[0][1]):,}")


if __name__ == "__main__":
    main()
