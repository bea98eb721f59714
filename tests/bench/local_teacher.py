"""Tokens a second of the local teacher, by how many answers it writes at once and with how many threads.

    python tests/bench/local_teacher.py [--slots 1 2 4 8] [--threads 1 2] [--requests 24] [--tokens 64] [--rounds 2]

Each round takes the settings in turn, each with a server of its own, so that what else the machine does falls on all of
them. The runner asks, told nothing of slots. A rate counts the tokens of answers only, from the first request to the
last answer. What counts is the ratio to the first setting in the same round. Wall figures say little while the machine
is busy: the CPU that the server takes for a token is what a quiet machine's rate follows from. All prompts begin alike,
so that few slots read less of them anew. The model is the installed one.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import product
from pathlib import Path
from statistics import median
from time import monotonic

import psutil

from synth.journal import Journal
from synth.request import Answer, Request
from synth.runner import run
from synth.teachers.local import Serving, local_teacher


def rate(slots: int, threads: int, requests: int, tokens: int) -> tuple[float, float]:
    """Tokens written a second, and in a second of CPU."""
    asked = (
        Request(
            {
                "messages": [{"role": "user", "content": f"Write a story about {number} dogs and their long journey."}],
                "max_tokens": tokens,
                "temperature": 0,
            }
        )
        for number in range(requests)
    )
    with (
        local_teacher(serving=Serving(slots=slots, threads=threads)) as teacher,
        tempfile.TemporaryDirectory() as home,
        Journal(Path(home)) as journal,
    ):
        server = psutil.Process().children()[0]
        began, before = monotonic(), sum(server.cpu_times()[:2])
        outcomes = list(run(asked, [teacher], journal))
        seconds, cpu_seconds = monotonic() - began, sum(server.cpu_times()[:2]) - before
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    written = sum(outcome.completion_tokens for outcome in outcomes if isinstance(outcome, Answer))
    return written / seconds, written / cpu_seconds


def main() -> None:
    """Print a line for each setting."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()

    settings = list(product(given.slots, given.threads))
    found: dict[tuple[int, int], list[tuple[float, float]]] = {one: [] for one in settings}
    for _ in range(given.rounds):
        for one in settings:
            found[one].append(rate(*one, given.requests, given.tokens))
            print(
                "slots {}, threads {}: {:.1f} tokens/s, {:.1f} in a second of CPU".format(*one, *found[one][-1]),
                flush=True,
            )
    print(f"\nmedian ratios to slots {settings[0][0]}, threads {settings[0][1]}:")
    for one in settings:
        wall, cpu = (
            median(rates[which] / first[which] for rates, first in zip(found[one], found[settings[0]], strict=True))
            for which in (0, 1)
        )
        print(f"slots {one[0]}, threads {one[1]}: {wall:.2f}, in a second of CPU {cpu:.2f}")


if __name__ == "__main__":
    main()
