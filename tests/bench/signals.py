"""How long the signals of a profile take, against plain Python that reads row by row.

    python tests/bench/signals.py [--rows 100000] [--seed 7] [--rounds 3] [--frame 20000]

Rows are made up: questions with answers of about 1 KB, half in English and half in Chinese, all distinct, with code
blocks, lists, links and stock phrases among them. Both sides are timed in turns and the best of each is told. The plain
side measures seven of the numbers as most people write them; what is compared is those seven alone, and all signals are
timed besides.
"""

from __future__ import annotations

import argparse
import random
import re
import time
import zlib
from collections.abc import Callable
from itertools import pairwise

import polars as pl

from curate.signals import Signals, cheap
from tests.curate.test_stages import chats

SEVEN = (
    "cjk_share",
    "compression_ratio",
    "digit_share",
    "distinct_2",
    "duplicate_line_share",
    "punctuation_share",
    "uppercase_share",
)
READABILITY = (
    "automated_readability_index",
    "coleman_liau_index",
    "flesch_kincaid_grade",
    "flesch_reading_ease",
    "gunning_fog",
    "hsk_level",
    "smog_index",
)
HAN = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定"
TOKEN = re.compile(r"[\u3400-\u9fff]|\w+|[^\w\s]")


def corpus(rows: int, seed: int) -> pl.DataFrame:
    """Chats, all distinct, of about 1 KB each."""
    chance = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(20_000)]
    pairs = []
    for number in range(rows):
        if number % 2:
            sentences = ["".join(chance.choices(HAN, k=chance.randint(8, 30))) + "。" for _ in range(17)]
            question, opening = (
                f"请解释第{number}个问题：{sentences.pop()}",
                "当然可以！以下是" if number % 20 == 1 else "",
            )
        else:
            sentences = [" ".join(chance.choices(words, k=chance.randint(5, 18))).capitalize() + "." for _ in range(13)]
            question, opening = f"Explain number {number}: {sentences.pop()}", "Sure! " if number % 20 == 0 else ""
        extra = chance.choice(
            ("", "", "\n\n```python\nprint(1)\n```", "\n\n- one\n- two", "\nhttps://docs.python.org/3/")
        )
        pairs.append((question, opening + chance.choice((" ", "\n")).join(sentences) + extra))
    return pl.concat(chats(*pairs[start : start + 10_000]) for start in range(0, rows, 10_000))


def with_signals(frame: pl.DataFrame, names: list[str], size: int) -> dict[str, object]:
    """What signals tell of the rows, frame by frame."""
    signals = Signals(names)
    for part in frame.iter_slices(size):
        signals.add(part, "chat")
    return signals.result()


def row_by_row(frame: pl.DataFrame) -> dict[str, list[float]]:
    """The seven numbers in plain Python."""
    found: dict[str, list[float]] = {name: [] for name in SEVEN}
    for messages in frame["messages"].to_list():
        text = messages[-1]["content"]
        tokens = [token.casefold() for token in TOKEN.findall(text)]
        pairs = list(pairwise(tokens))
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        letters = sum(map(str.isalpha, text))
        found["cjk_share"].append(sum("\u3400" <= char <= "\u9fff" for char in text) / len(text))
        found["compression_ratio"].append(len(text.encode()) / len(zlib.compress(text.encode())))
        found["digit_share"].append(sum(map(str.isdigit, text)) / len(text))
        found["distinct_2"].append(len(set(pairs)) / max(len(pairs), 1))
        found["duplicate_line_share"].append(1 - len(set(lines)) / max(len(lines), 1))
        found["punctuation_share"].append(len(re.findall(r"[^\w\s]", text)) / len(text))
        found["uppercase_share"].append(sum(map(str.isupper, text)) / max(letters, 1))
    return found


def best(rounds: int, *works: Callable[[], object]) -> list[tuple[float, float]]:
    """Seconds of the clock and of all processors that each work takes, the best of several rounds taken in turns."""
    seconds = [(float("inf"), float("inf"))] * len(works)
    for _ in range(rounds):
        for place, work in enumerate(works):
            clock, processors = time.perf_counter(), time.process_time()
            work()
            took = (time.perf_counter() - clock, time.process_time() - processors)
            seconds[place] = min(seconds[place], took, key=lambda pair: pair[1])
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frame", type=int, default=20_000, help="rows measured at a time")
    given = parser.parse_args()
    frame = corpus(given.rows, given.seed)
    texts = frame["messages"].explode().struct.field("content")
    print(f"{frame.height:,} rows, {int(texts.str.len_bytes().sum()) / 1e6:,.0f} MB")
    with_signals(frame.head(100), cheap(), given.frame)  # kernels are compiled and lists read once

    others = [name for name in cheap() if name not in READABILITY]
    plain, seven, some, every = best(
        given.rounds,
        lambda: row_by_row(frame),
        lambda: with_signals(frame, list(SEVEN), given.frame),
        lambda: with_signals(frame, others, given.frame),
        lambda: with_signals(frame, cheap(), given.frame),
    )

    names = ("seven numbers, row by row", "seven numbers, signals", f"{len(others)} signals", f"{len(cheap())} signals")
    for name, (clock, processors) in zip(names, (plain, seven, some, every), strict=True):
        print(f"{name:<28} {clock:7.2f} s, {processors:7.2f} s of processors")
    print(f"seven numbers: {plain[0] / seven[0]:.1f} times faster, {plain[1] / seven[1]:.1f} times by processors")
    print(f"{len(others)} signals are those without readability")


if __name__ == "__main__":
    main()
