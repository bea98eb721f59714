"""MinHash signatures (Broder 1997) and their bands (LSH: Leskovec, Rajaraman & Ullman, ch. 3), as datasketch has them.

A signature holds, for each of some permutations a·h + b modulo 2**32, the least value of a text's shingles; h is the
higher half of a shingle's hash, mixed. Two texts agree in each value with the probability of their Jaccard similarity.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.kernels.characters import folded, table
from curate.kernels.compiled import in_parallel, inlined, kernel
from curate.kernels.matching import KEY_SHIFT, Keys, without_single
from curate.kernels.shingles import MOST_TOKENS, U64, Hashes, Longs, buffers, mixed, shingle, without_context

if TYPE_CHECKING:
    import datasketch

Signatures = np.ndarray[Any, np.dtype[np.uint32]]

PERMUTATIONS = 128
SEED = 1
"""What datasketch's MinHash has when nothing else is said."""

_NONE = np.uint32(0xFFFFFFFF)


@inlined
def mixed32(h: Any) -> Any:
    """The finaliser of MurmurHash3 for 32 bits, which datasketch applies to each hash."""
    h ^= h >> np.uint32(16)
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h ^= h >> np.uint32(13)
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    h ^= h >> np.uint32(16)
    return h


@kernel
def _sign(
    data: Any, offsets: Longs, begin: int, end: int, chars: Any, n: int, unit: int, room: Hashes, factors: Signatures,
    offsets32: Signatures, signatures: Signatures, counts: Longs,
) -> None:  # fmt: skip
    """The signatures of some rows. A count of -1 says: fold the text first."""
    ring = np.zeros(n, np.uint64)
    halves = np.empty(len(room), np.uint32)
    for row in range(begin, end):
        count = shingle(data, offsets[row], offsets[row + 1], chars, n, unit, False, False, 0, MOST_TOKENS, ring, room)
        counts[row] = count
        for place in range(count):
            halves[place] = mixed32(np.uint32(room[place] >> U64(32)))
        for permutation in range(len(factors)):
            factor = factors[permutation]
            offset = offsets32[permutation]
            least = _NONE
            for place in range(count):
                value = np.uint32(factor * halves[place] + offset)
                least = min(value, least)
            signatures[row, permutation] = least


@kernel
def _band(signatures: Signatures, counts: Longs, bands: int, rows: int, begin: int, end: int, slots: Any) -> None:
    for row in range(begin, end):
        for band in range(bands):
            if counts[row] <= 0:
                slots[row, band] = -1
                continue
            key = U64(band + 1) * U64(0x9E3779B97F4A7C15)
            for place in range(band * rows, (band + 1) * rows):
                key = mixed(key ^ U64(signatures[row, place]))
            slots[row, band] = np.int32(key >> KEY_SHIFT)


@cache
def permutations(count: int = PERMUTATIONS, seed: int = SEED) -> tuple[Signatures, Signatures]:
    """Factors and offsets of the permutations, those of datasketch's scheme `affine32`."""
    chance = np.random.RandomState(seed)
    factors = chance.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, chance.randint(0, 1 << 32, count, dtype=np.uint32)


def signatures(texts: pl.Series, n: int, unit: int) -> tuple[Signatures, Longs]:
    """Each text's signature, and of how many shingles it is (repeats counted); 0 for a null or an empty text."""
    counts = np.zeros(len(texts), dtype=np.int64)
    found = np.empty((len(texts), PERMUTATIONS), dtype=np.uint32)
    _signed(texts, n, unit, table(), found, counts)
    waiting = np.flatnonzero(counts < 0)
    if len(waiting):
        plain = pl.Series([folded(text) for text in texts.gather(waiting).to_list()], dtype=pl.String)
        late, late_counts = np.empty((len(plain), PERMUTATIONS), dtype=np.uint32), np.zeros(len(plain), np.int64)
        _signed(plain, n, unit, without_context(), late, late_counts)
        found[waiting], counts[waiting] = late, late_counts
    return found, counts


def _signed(texts: pl.Series, n: int, unit: int, chars: Any, found: Signatures, counts: Longs) -> None:
    data, offsets = buffers(texts)
    longest = int(np.diff(offsets).max(initial=0)) + 2
    factors, offsets32 = permutations()
    room = threading.local()

    def work(begin: int, end: int) -> None:
        if not hasattr(room, "out"):
            room.out = np.empty(longest, dtype=np.uint64)
        _sign(data, offsets, begin, end, chars, n, unit, room.out, factors, offsets32, found, counts)

    in_parallel(work, len(texts))


def bands_for(threshold: float, recall: float) -> tuple[int, int, float]:
    """Bands, rows of each, and the expected recall of pairs just at the threshold: the most rows, and so the fewest
    candidates, with which it is at least `recall`. Raises ValueError where no banding reaches it."""
    for rows in range(PERMUTATIONS, 0, -1):
        bands = PERMUTATIONS // rows
        expected = 1 - (1 - threshold**rows) ** bands
        if expected >= recall:
            return bands, rows, expected
    raise ValueError(f"no banding of {PERMUTATIONS} permutations finds {recall:.4f} of pairs at {threshold}")


def band_slots(texts: pl.Series, n: int, unit: int, bands: int, rows: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Each text's keys, one for each band: 31 bits of a hash, or -1 for a null or an empty text."""
    signed, counts = signatures(texts, n, unit)
    slots = np.empty((len(texts), bands), dtype=np.int32)
    in_parallel(lambda begin, end: _band(signed, counts, bands, rows, begin, end, slots), len(texts))
    return slots


def band_keys(slots: np.ndarray[Any, np.dtype[np.int32]]) -> Keys:
    """Keys to match rows by, from the slots of their bands."""
    count, bands = slots.shape
    starts = np.arange(count + 1, dtype=np.int64) * bands
    return without_single(Keys(slots.ravel().copy(), starts, np.full(count, bands, dtype=np.int32)), more_bits=4)


def as_datasketch(signed: Signatures) -> list[datasketch.MinHash]:
    """Signatures as datasketch's own objects, to be put into a `datasketch.MinHashLSH`. Needs datasketch."""
    import datasketch

    return [
        datasketch.MinHash(num_perm=PERMUTATIONS, seed=SEED, hashvalues=values, scheme="affine32") for values in signed
    ]
