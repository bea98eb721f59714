"""Phrases of a few tokens: how many of a text's are distinct, and how many of one text's stand in another.

Tokens are those of `curate.kernels.shingles`: words, single ideographs and kana, and every other visible character.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from curate.kernels.characters import folded, table
from curate.kernels.compiled import in_parallel, kernel
from curate.kernels.matching import common
from curate.kernels.shingles import (
    MOST_TOKENS,
    WORDS,
    Bytes,
    Longs,
    buffers,
    shingle,
    shingle_sets,
    sort_distinct,
    without_context,
)

Doubles = np.ndarray[Any, np.dtype[np.float64]]

_FOLD = -1
_VISIBLE = r"[^\p{Z}\p{Cc}\p{Cf}]"


@kernel
def _distinct(data: Bytes, offsets: Longs, chars: Any, n: int, shares: Doubles) -> None:
    """Of each row's phrases the share that is distinct: -1 where the text must be folded first, -2 for none."""
    longest = 0
    for row in range(len(shares)):
        longest = max(longest, offsets[row + 1] - offsets[row])
    ring = np.zeros(n, np.uint64)
    room = np.empty(longest + n + 2, np.uint64)
    spare = np.empty(longest + n + 2, np.uint64)
    counts = np.zeros(65537, np.int64)
    for row in range(len(shares)):
        count = shingle(
            data, offsets[row], offsets[row + 1], chars, n, WORDS, False, False, n - 1, MOST_TOKENS, ring, room
        )
        if count > 0:
            shares[row] = sort_distinct(room, count, spare, counts) / count
        else:
            shares[row] = -1.0 if count == _FOLD else -2.0


@kernel
def _shared(a: Longs, a_sizes: Longs, b: Longs, b_sizes: Longs, begin: int, end: int, counts: Longs) -> None:
    for row in range(begin, end):
        counts[row] = common(a[row], a_sizes[row], b[row], b_sizes[row], 0)


def distinct_shares(texts: pl.Series, n: int) -> pl.Series:
    """Of each text's phrases of `n` tokens the share that is distinct (Float64, 0 to 1); null where there is none."""
    shares = np.zeros(len(texts), dtype=np.float64)
    chars = table()

    def work(begin: int, end: int) -> None:
        data, offsets = buffers(texts.slice(begin, end - begin))
        _distinct(data, offsets, chars, n, shares[begin:end])

    in_parallel(work, len(texts), max(32, int(texts.str.len_bytes().sum()) >> 20))
    waiting = np.flatnonzero(shares == _FOLD)
    if len(waiting):
        data, offsets = buffers(pl.Series([folded(text) for text in texts.gather(waiting)], dtype=pl.String))
        late = np.zeros(len(waiting), dtype=np.float64)
        _distinct(data, offsets, without_context(), n, late)
        shares[waiting] = late
    return _where_seen(texts, pl.Series(shares), pl.Series(shares >= 0))


def shared_shares(texts: pl.Series, others: pl.Series, n: int) -> pl.Series:
    """Of each text's distinct phrases of `n` tokens the share that its other text has too (Float64, 0 to 1); null where
    the text has none."""
    own, other = (shingle_sets(series, n, least=n - 1) for series in (texts, others))
    counts = np.zeros(len(texts), dtype=np.int64)
    in_parallel(
        lambda begin, end: _shared(own.addresses, own.sizes, other.addresses, other.sizes, begin, end, counts),
        len(texts),
    )
    return _where_seen(texts, pl.Series(counts) / pl.Series(own.sizes), pl.Series(own.sizes > 0))


def _where_seen(texts: pl.Series, shares: pl.Series, known: pl.Series) -> pl.Series:
    """The shares that are known, of texts with a visible character: one without is a single shingle of its own."""
    known = known & texts.str.contains(_VISIBLE).fill_null(False)
    return pl.select(pl.when(known).then(shares)).to_series().alias(texts.name)
