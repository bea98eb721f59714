"""Which of some shingles are among those of other texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.kernels.compiled import in_parallel, kernel, words_at
from curate.kernels.shingles import U64, Hashes, Longs, Sets

_BITS = 22
_SHIFT = U64(64 - _BITS)


@kernel
def is_known(value: Any, known: Hashes, table: Any) -> bool:
    """Whether a hash is among the sorted `known`; `table` is what `known_table` gives for them."""
    if not table[value >> _SHIFT]:
        return False
    low = 0
    high = len(known)
    while low < high:
        middle = (low + high) >> 1
        if known[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(known) and known[low] == value


def known_table(known: Hashes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """By the highest bits of a hash whether any of `known` has the same: most are told without a search."""
    table = np.zeros(1 << _BITS, dtype=np.bool_)
    table[(known >> _SHIFT).astype(np.int64)] = True
    return table


@kernel
def _among(addresses: Longs, sizes: Longs, begin: int, end: int, known: Hashes, table: Any, counts: Longs) -> None:
    for row in range(begin, end):
        hashes = words_at(addresses[row])
        for place in range(sizes[row]):
            if is_known(hashes[place], known, table):
                counts[row] += 1


def count_among(sets: Sets, known: Hashes) -> Longs:
    """How many of each row's shingles are among `known`, which is sorted."""
    table = known_table(known)
    counts = np.zeros(len(sets.sizes), dtype=np.int64)
    in_parallel(
        lambda begin, end: _among(sets.addresses, sets.sizes, begin, end, known, table, counts), len(sets.sizes)
    )
    return counts
