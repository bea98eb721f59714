"""How long it takes to find repeated passages, and that hostile rows take no longer than others.

    python tests/bench/corpus.py corpus.jsonl
    python tests/bench/repeated_passages.py corpus.jsonl [--rows 100000] [--rounds 3]

Each kind of rows has about as many bytes as the corpus, and is searched in turn with the others, in as many rounds as
asked for. Printed are the best times, in seconds of processor and of clock, what they are over the corpus's, and over
the time that polars needs to parse the corpus.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.kernels.passages import Passages
from curate.kernels.shingles import Longs
from curate.passages import Survey, summary, survey
from schemas.console import say

_NOTICE = (
    "This message is confidential and meant for the person it is addressed to alone. If you received it by mistake, "
    "please tell the sender, delete it with everything attached to it, and do not copy, keep or pass on any part of it."
)
_ZH = "祝您生活愉快！客服小王"


def kinds(corpus: pl.Series) -> dict[str, pl.Series]:
    """Rows of several kinds, each of about the corpus's size."""
    size = int(corpus.str.len_bytes().sum())
    one = corpus[len(corpus) // 2]
    chance = random.Random(7)
    sentence = "One and the same sentence, again and again. "
    blocks = [" ".join(f"w{chance.randrange(10**6)}" for _ in range(30)) for _ in range(300)]
    mixed = [" ".join(chance.choices(blocks, k=5)) for _ in range(size // 1200)]
    return {
        "corpus": corpus,
        "with a signature in each row": corpus + f"\n\n{_ZH}",
        "with a notice in each row": corpus + f"\n{_NOTICE}",
        "one row, again and again": pl.Series([one]).sample(size // len(one.encode()), with_replacement=True),
        "rows that differ in a number": pl.Series([f"{place}\n{one}" for place in range(size // len(one.encode()))]),
        "built from 300 blocks": pl.Series(mixed),
        "half of it one sentence in one row": pl.concat(
            [corpus.head(len(corpus) // 2), pl.Series([sentence * (size // 2 // len(sentence))])]
        ),
        "marks": pl.Series(["=-" * 500] * (size // 1000)),
    }


def search(texts: pl.Series) -> Survey:
    """All that the stage does with texts at hand, to cut and to list passages."""
    passages = Passages()

    def texts_of(rows: Longs) -> pl.Series:
        return texts.gather(rows)

    found = survey(summary(texts, passages), passages, lambda _: 10, texts_of)
    found.passages(40)
    found.cuts(passages)
    return found


def timed(work: Callable[[Any], Any], given: Any) -> tuple[float, float, Any]:
    """Seconds of processor and of clock, and what came of it."""
    cpu, clock = time.process_time(), time.perf_counter()
    made = work(given)
    return time.process_time() - cpu, time.perf_counter() - clock, made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    corpus = pl.read_ndjson(chosen.corpus, n_rows=chosen.rows)["text"]
    rows = kinds(corpus)
    search(corpus.head(100))
    best: dict[str, tuple[float, float]] = {}
    told: dict[str, tuple[int, int]] = {}
    for _ in range(chosen.rounds):
        parse = timed(pl.read_ndjson, chosen.corpus)
        best["polars parses the file"] = min(best.get("polars parses the file", parse[:2]), parse[:2])
        for name, texts in rows.items():
            cpu, clock, found = timed(search, texts)
            best[name] = min(best.get(name, (cpu, clock)), (cpu, clock))
            told[name] = len(texts), len(np.unique(found.cover.texts))
    say(f"{'rows of this kind':<36} {'rows':>8} {'holding':>8} {'cpu s':>7} {'clock s':>8} {'× corpus':>9}")
    for name, (cpu, clock) in best.items():
        count, holding = told.get(name, (0, 0))
        ratio = cpu / best["corpus"][0]
        say(f"{name:<36} {count:>8,} {holding:>8,} {cpu:>7.2f} {clock:>8.2f} {ratio:>9.2f}")
    say(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, all kinds of rows held at once"
    )


if __name__ == "__main__":
    main()
