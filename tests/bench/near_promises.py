"""What near duplicates promise, measured: recall and precision, no blow-up, cost that follows the new rows, memory.

    python tests/bench/near_promises.py [--rows 100000] [--rounds 3] [--against 400000] [--million]

Four tables. Planted near duplicates in both languages and five length classes, against a search by brute force in plain
Python. Inputs made to be slow, beside ordinary ones of as many bytes, taking turns. New rows compared with an index
that grows. And, with --million, `curate dedup` on a million rows of 1.1 KB beside a tenth of them, with the memory it
took: what is its own, and with it the pages of files, which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from curate.importing import import_files  # noqa: E402
from curate.near import Comparison  # noqa: E402
from curate.near_index import index_of  # noqa: E402
from curate.read import Reading  # noqa: E402
from tests.curate.test_near import by_brute_force, planted  # noqa: E402

CLASSES = {5: 400, 20: 300, 90: 200, 300: 100, 1_500: 40}
"""Tokens of a text, and how many families of four texts."""

ROW_TOKENS = 180


def show_planted() -> None:
    """Recall and precision for planted near duplicates."""
    print("planted near duplicates: threshold 0.7, the default shingles; lsh: five tokens, recall promised 0.99")
    print(
        f"  {'language':9} {'tokens':>6} {'texts':>6} {'pairs':>6} {'exact: recall, precision':>26} {'of it, lsh':>14}"
    )
    for language in ("en", "zh"):
        for size, families in CLASSES.items():
            texts = planted(language, size, families)
            expected, _ = by_brute_force(texts, 0.7)
            found = Comparison(0.7).matches(pl.Series(texts)).kept.tolist()
            gone, true = {n for n, kept in enumerate(found) if kept >= 0}, {n for n, k in enumerate(expected) if k >= 0}
            exact = Comparison(0.7, n=5).matches(pl.Series(texts)).kept >= 0
            lsh = Comparison(0.7, n=5, search="lsh").matches(pl.Series(texts)).kept >= 0
            share = f"{(exact & lsh).sum() / exact.sum():.3f}" if exact.any() else "no pairs"
            recall, precision = len(gone & true) / len(true), len(gone & true) / len(gone)
            print(
                f"  {language:9} {size:>6} {len(texts):>6} {len(true):>6} {recall:>18.3f}, {precision:.3f} {share:>14}"
            )


def ordinary(count: int, seed: int = 1) -> pl.Series:
    """Texts of about 180 words, every tenth of them another with one word changed."""
    chance = np.random.default_rng(seed)
    numbers = (chance.zipf(1.2, size=(count, ROW_TOKENS)) + chance.integers(0, 40, (count, ROW_TOKENS))) % 60_000
    numbers[9::10] = numbers[8::10][: len(numbers[9::10])]
    numbers[9::10, 50] += 1
    words = pl.Series(numbers.ravel()).cast(pl.String) + "w"
    joined: pl.Series = words.reshape((count, ROW_TOKENS)).arr.join(" ")
    return joined


def hostile(count: int) -> dict[str, pl.Series]:
    """Inputs that make a careless search slow, each about as large as `ordinary(count)`."""
    plain = ordinary(count)
    own = pl.Series([f"x{number}" for number in range(count)])
    return {
        "equal rows": pl.Series([plain[0]]).new_from_index(0, count),
        "one word differs": plain[0] + " " + own,
        "one shingle in all rows": "for more see our page " + plain,
        "empty rows": pl.Series([""]).new_from_index(0, count),
        "a row of 50 MB": pl.concat([plain, pl.Series([" ".join(ordinary(48_000, 2))])]),
        "a chain": pl.Series([" ".join(f"w{n}" for n in range(at, at + ROW_TOKENS)) for at in range(count)]),
    }


def seconds(work: Callable[[], object]) -> float:
    """Wall time of some work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def show_hostile(count: int, rounds: int) -> None:
    """Hostile inputs beside ordinary ones."""
    comparison = Comparison()
    inputs = {"ordinary rows": ordinary(count)} | hostile(count)
    taken: dict[str, list[float]] = {name: [] for name in inputs}
    verified = {}
    comparison.matches(ordinary(100))
    for _ in range(rounds):
        for name, texts in inputs.items():
            began = time.perf_counter()
            verified[name] = comparison.matches(texts).verified
            taken[name].append(time.perf_counter() - began)
    print(
        f"\n{count:,} rows: the search alone, median of {rounds}; time as a multiple of ordinary rows' per byte; pairs"
    )
    sizes = {name: max(int(texts.str.len_bytes().sum()), 1) for name, texts in inputs.items()}
    for name in inputs:
        ratios = [one / base for one, base in zip(taken[name], taken["ordinary rows"], strict=True)]
        larger = max(sizes[name] / sizes["ordinary rows"], 1)
        ratio, median = statistics.median(ratios) / larger, statistics.median(taken[name])
        print(f"  {name:24}{sizes[name] / 1e6:>6.0f} MB {median:>7.2f} s {ratio:>6.2f}x {verified[name]:>11,} compared")


def show_incremental(most: int, rounds: int) -> None:
    """New rows against an index that grows."""
    new = ordinary(10_000, seed=9)
    comparison = Comparison()
    print("\n10,000 new rows against an index: their sets, and the search; median of rounds")
    with tempfile.TemporaryDirectory() as folder:
        for count in (most // 16, most // 4, most):
            path = Path(folder) / f"{count}.jsonl"
            path.write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in ordinary(count)))
            dataset = import_files([path], Path(folder) / str(count), Reading(), {}).datasets[0]

            def text(frame: pl.DataFrame) -> pl.Series:
                return frame["text"]

            built = seconds(lambda: index_of(dataset, comparison, "text", text))  # noqa: B023
            index = index_of(dataset, comparison, "text", text)
            sets = statistics.median(seconds(lambda: comparison.entries(new)) for _ in range(rounds))
            entries = comparison.entries(new)
            search = statistics.median(
                seconds(lambda: index.search(entries, 0.8))  # noqa: B023
                for _ in range(rounds)
            )
            print(
                f"  {count:>9,} rows indexed (once, {built:.1f} s): sets {sets:.2f} s, search {search:.2f} s",
                flush=True,
            )


def measured(command: list[str]) -> tuple[float, int, int]:
    """Wall seconds of a command; the most memory of its own, and with mapped files, in bytes."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own = whole = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        for name, value in re.findall(r"(RssAnon|VmHWM):\s+(\d+)", status):
            own = max(own, int(value) << 10) if name == "RssAnon" else own
            whole = max(whole, int(value) << 10) if name == "VmHWM" else whole
        time.sleep(0.1)
    if process.wait():
        sys.exit(f"{command} failed")
    return time.monotonic() - began, own, whole


def lines(count: int) -> Iterator[bytes]:
    """Rows for a file, a piece at a time."""
    for seed in range(0, count, 50_000):
        for text in ordinary(min(50_000, count - seed), seed + 3):
            yield orjson.dumps({"text": text}) + b"\n"


def show_million(memory: str) -> None:
    """`curate dedup` on a million rows beside a tenth of them."""
    print(f"\ncurate dedup --memory {memory}, of a dataset on disk")
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        for count in (100_000, 1_000_000):
            path = Path(folder) / f"{count}.jsonl"
            with path.open("wb") as file:
                file.writelines(lines(count))
            dataset = Path(folder) / f"{count}"
            import_files([path], dataset, Reading(), {})
            command = [sys.executable, "-m", "curate.cli", "dedup", str(dataset), "--memory", memory, "--out"]
            found = measured([*command, str(Path(folder) / f"{count}-clean")])
            taken.append(found[0])
            print(
                f"  {count:>9,} rows, {path.stat().st_size / 1e6:,.0f} MB: {found[0]:.1f} s, memory of its own "
                f"{found[1] / 1e9:.2f} GB, with mapped files {found[2] / 1e9:.2f} GB",
                flush=True,
            )
        print(f"  time as a multiple: {taken[1] / taken[0]:.1f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=int, default=400_000)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--memory", default="1GB")
    chosen = parser.parse_args()
    show_planted()
    show_hostile(chosen.rows, chosen.rounds)
    show_incremental(chosen.against, chosen.rounds)
    if chosen.million:
        show_million(chosen.memory)


if __name__ == "__main__":
    main()
