"""Searching many rows that were indexed before for the few that new rows are near duplicates of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.kernels.compiled import in_parallel, kernel, threads
from curate.kernels.matching import Entries, Floats, Ints, Keys, Matches, common, needed, other_first
from curate.kernels.shingles import Longs

_TOP_BITS = 20
_TOP_SHIFT = 31 - _TOP_BITS


@dataclass(frozen=True)
class Postings:
    """Keys of indexed entries in order, and whose they are."""

    slots: Ints
    owners: Ints
    short: np.ndarray[Any, np.dtype[np.bool_]]
    """Whether the key finds rows of any size, and not just smaller ones."""
    top: Longs
    """Where keys with each value of the highest 20 bits begin: 2**20 + 1 places."""

    @classmethod
    def of(cls, keys: Keys) -> Postings:
        """The postings of keys."""
        counts = np.diff(keys.starts)
        owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        short = np.arange(len(keys.slots)) - np.repeat(keys.starts[:-1], counts) < np.repeat(keys.short, counts)
        order = np.argsort(keys.slots, kind="stable")
        slots = keys.slots[order]
        top = np.searchsorted(slots, np.arange((1 << _TOP_BITS) + 1, dtype=np.int64) << _TOP_SHIFT)
        return cls(slots, owners[order], short[order], top.astype(np.int64))


@kernel
def _search(
    begin: int, end: int, rows: Longs, both: Any, addresses: Longs, sizes: Longs, slots: Ints, starts: Longs,
    short: Ints, known_rows: Longs, known_both: Any, known_addresses: Longs, known_sizes: Longs, known_slots: Ints,
    owners: Ints, known_short: Any, top: Longs, threshold: float, stamp: Ints, kept: Longs, similarity: Floats,
) -> int:  # fmt: skip
    verified = 0
    for entry in range(begin, end):
        size = sizes[entry]
        row = rows[entry]
        for number in range(starts[entry], starts[entry + 1]):
            slot = slots[number]
            low = top[slot >> _TOP_SHIFT]
            high = top[(slot >> _TOP_SHIFT) + 1]
            last = high
            while low < high:
                middle = (low + high) >> 1
                if known_slots[middle] < slot:
                    low = middle + 1
                else:
                    high = middle
            is_short = number - starts[entry] < short[entry]
            while low < last and known_slots[low] == slot:
                other = owners[low]
                other_short = known_short[low]
                low += 1
                if stamp[other] == entry or (both[entry] and known_both[other]):
                    continue
                other_size = known_sizes[other]
                if not is_short and (not other_short or other_size > size):
                    continue
                if not other_short and other_size <= size:
                    continue
                stamp[other] = entry
                need = needed(size, other_size, threshold)
                if need > min(size, other_size):
                    continue
                verified += 1
                count = common(addresses[entry], size, known_addresses[other], other_size, need)
                if count >= 0:
                    found = count / (size + other_size - count)
                    named = known_rows[other]
                    if found > similarity[row] or (found == similarity[row] and other_first(kept[row], named)):
                        similarity[row] = found
                        kept[row] = named
    return verified


def search(new: Entries, keys: Keys, known: Entries, postings: Postings, threshold: float) -> Matches:
    """For each new row the known row that it is most like, where that reaches the threshold. `keys` are of the new
    entries, by the frequencies that the postings were made with."""
    count = len(new.first) - 1
    kept = np.full(count, -1, dtype=np.int64)
    similarity = np.zeros(count, dtype=np.float64)

    def work(begin: int, end: int) -> int:
        stamp = np.full(len(known.rows), -1, dtype=np.int32)
        verified = _search(
            new.first[begin], new.first[end], new.rows, new.both, new.sets.addresses, new.sets.sizes, keys.slots,
            keys.starts, keys.short, known.rows, known.both, known.sets.addresses, known.sets.sizes, postings.slots,
            postings.owners, postings.short, postings.top, threshold, stamp, kept, similarity,
        )  # fmt: skip
        return int(verified)

    return Matches(kept, similarity, sum(in_parallel(work, count, threads())))
