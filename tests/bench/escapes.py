"""Escapes: what a text of nothing but escapes costs, against one of the same size without.

    python tests/bench/escapes.py [--megabytes 1] [--rounds 5]

A text such as `\\u0041\\u0042` is looked at as it stands and as it is read. Prints for each kind of escape the ratio of
its time to that of plain letters, the median of rounds that take turns, and how the time grows when the text doubles.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from curate.personal_data.detect import Detector
from curate.personal_data.replace import Replacing

PLAIN = "Abcdefgh "
ESCAPES = ("\\u0041", "\\u0031", "中\\u4e2d", "%41", "&#65;", "\\n", "\u200b", "a \\u0041b ")


def seconds(replacing: Replacing, text: str) -> float:
    began = time.process_time()
    replacing.text(text)
    return time.process_time() - began


def repeated(unit: str, chars: int) -> str:
    return unit * (chars // len(unit))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    chars = int(given.megabytes * 1e6)
    replacing = Replacing(Detector())
    replacing.text("warm up: nobody@nowhere.cn 你好 \\u0041")
    for unit in ESCAPES:
        times = [
            [
                seconds(replacing, repeated(one, size))
                for one, size in ((PLAIN, chars), (unit, chars), (unit, 2 * chars))
            ]
            for _ in range(given.rounds)
        ]
        plain, escaped, doubled = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{unit!r:>14}: {escaped / plain:5.1f} x plain letters, doubled {doubled / escaped:.2f} x")


if __name__ == "__main__":
    main()
