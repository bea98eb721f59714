"""Which of some shingles are among those of other texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels.compiled import in_parallel, kernel, words_at
from curate.kernels.shingles import U64, Hashes, Longs, Sets

_BITS = 22
_SHIFT = U64(64 - _BITS)


@kernel
def _among(addresses: Longs, sizes: Longs, begin: int, end: int, known: Hashes, table: Any, counts: Longs) -> None:
    for row in range(begin, end):
        hashes = words_at(addresses[row])
        for place in range(sizes[row]):
            value = hashes[place]
            if table[value >> _SHIFT]:
                low = 0
                high = len(known)
                while low < high:
                    middle = (low + high) >> 1
                    if known[middle] < value:
                        low = middle + 1
                    else:
                        high = middle
                if low < len(known) and known[low] == value:
                    counts[row] += 1


def count_among(sets: Sets, known: Hashes) -> Longs:
    """How many of each row's shingles are among `known`, which is sorted."""
    table = np.zeros(1 << _BITS, dtype=np.uint8)
    table[(known >> _SHIFT).astype(np.int64)] = 1
    counts = np.zeros(len(sets.sizes), dtype=np.int64)
    in_parallel(
        lambda begin, end: _among(sets.addresses, sets.sizes, begin, end, known, table, counts), len(sets.sizes)
    )
    return counts
