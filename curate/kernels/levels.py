"""How many of each text's ideographs are of which level."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.kernels.compiled import kernel
from curate.kernels.shingles import Bytes, Longs, buffers

FIRST, LAST = 0x4E00, 0x9FFF
"""The ideographs that are looked at: the block that Unicode began with."""


@kernel
def _count(data: Bytes, offsets: Longs, levels: Any, counts: Longs) -> None:
    for row in range(len(counts)):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            first = data[at]
            if first < 0x80:
                at += 1
            elif first < 0xE0:
                at += 2
            elif first < 0xF0:
                code = (
                    (np.int64(first) & 0x0F) << 12
                    | (np.int64(data[at + 1]) & 0x3F) << 6
                    | np.int64(data[at + 2]) & 0x3F
                )
                if FIRST <= code <= LAST:
                    counts[row, levels[code - FIRST]] += 1
                at += 3
            else:
                at += 4


def level_counts(texts: pl.Series, levels: npt.NDArray[np.uint8]) -> Longs:
    """For each text (a null is empty) and each level how many of its ideographs are of it. `levels` has that of each
    code point from `FIRST` to `LAST`."""
    counts = np.zeros((len(texts), int(levels.max()) + 1), dtype=np.int64)
    data, offsets = buffers(texts.rechunk())
    _count(data, offsets, levels, counts)
    return counts
