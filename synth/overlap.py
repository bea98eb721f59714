"""The compiled inner loop of `synth.novelty`: for each text of a batch, the text of a pool that is most like it.

All arithmetic is on whole numbers, so that no rounding decides: with n and m tokens and a longest common subsequence
of l, ROUGE-L's F-measure is 2l / (n + m), and it is above top / bottom where 2l * bottom > top * (n + m).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])
Longs = np.ndarray[Any, np.dtype[np.int64]]

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay" / "kernels"
_config: Any = numba.config
if "NUMBA_CACHE_DIR" not in os.environ:
    _config.CACHE_DIR = str(_CACHE)

_U64 = np.uint64
_SPREAD = _U64(0x9E3779B97F4A7C15)
_ONES = _U64(0xFFFFFFFFFFFFFFFF)
_M1, _M2, _M4 = _U64(0x5555555555555555), _U64(0x3333333333333333), _U64(0x0F0F0F0F0F0F0F0F)
_H01 = _U64(0x0101010101010101)


def _kernel(function: Function) -> Function:
    return cast(Function, numba.njit(nogil=True, cache=True)(function))


@_kernel
def _count_ones(word: Any) -> int:
    word = word - ((word >> _U64(1)) & _M1)
    word = (word & _M2) + ((word >> _U64(2)) & _M2)
    word = (word + (word >> _U64(4))) & _M4
    return int((word * _H01) >> _U64(56))


@_kernel
def _common(masks: Any, places: Longs, words: int, row: Any, tokens: Longs, begin: int, end: int) -> int:
    """Length of the longest common subsequence of a query, given as bit masks of where its tokens stand, and
    tokens[begin:end]: a word of 64 places of the query at a time (Hyyrö 2004)."""
    for word in range(words):
        row[word] = _ONES
    for position in range(begin, end):
        place = places[tokens[position]]
        if place < 0:
            continue
        carry = _U64(0)
        for word in range(words):
            old = row[word]
            met = old & masks[place, word]
            total = old + met
            over = _U64(1) if total < old else _U64(0)
            total_and_carry = total + carry
            if total_and_carry < total:
                over = _U64(1)
            row[word] = total_and_carry | (old - met)
            carry = over
    zeros = 0
    for word in range(words):
        zeros += _count_ones(~row[word])
    return zeros


@_kernel
def _shared(tokens: Longs, begin: int, end: int, left: Longs) -> int:
    """How many of tokens[begin:end] a query has, by how many of each are `left` to it."""
    count = 0
    for position in range(begin, end):
        token = tokens[position]
        if left[token] > 0:
            count += 1
        left[token] -= 1
    for position in range(begin, end):
        left[tokens[position]] += 1
    return count


@_kernel
def search(
    tokens: Longs, starts: Longs, ranked: Longs, first: int, last: int, held_at: Longs, counts: Longs, rooms: Longs,
    postings: Longs, used: int, places: Longs, left: Longs, seen: Longs, signs: Any, needs: Longs, compare: bool,
    top: int, bottom: int, best: Longs, shared: Longs,
) -> int:  # fmt: skip
    """Texts `first` to `last`, of tokens[starts[i]:starts[i + 1]], one after the other: `best[i - first]` is the
    earliest of the most alike texts before it in the pool, or -1 where none is alike enough, and the text joins.

    `ranked` has each text's tokens with the rarest first. By it a text is posted under the first of its tokens: so
    many that two texts alike enough must share one (prefix filtering: Chaudhuri, Ganti & Kaushik 2006); where the
    first that they share stands bounds how many they share at all (Xiao et al. 2008). A later token's bound is never
    higher, so that a text refused there need not be remembered. `signs` has a bit for each token of a text, some
    for several: a bit that the other lacks is a token that it lacks.

    A token's postings lie together, at postings[held_at[token]:][:counts[token]], each owner, size and depth in one
    number; where they outgrow their room they move to the end. Answers where that is then.
    """
    longest = 1
    for i in range(first, last):
        longest = max(longest, starts[i + 1] - starts[i])
    width = (longest + 63) // 64
    masks = np.zeros((longest, width), dtype=np.uint64)
    row = np.zeros(width, dtype=np.uint64)

    for i in range(first, last):
        begin, end = starts[i], starts[i + 1]
        size = end - begin
        best[i - first] = -1
        if size == 0:
            continue
        least = top * size // (2 * bottom - top) + 1
        prefix = size - least + 1
        words = (size + 63) // 64
        sign = _U64(0)
        for position in range(begin, end):
            sign |= _U64(1) << ((_U64(tokens[position]) * _SPREAD) >> _U64(58))
        signs[i] = sign
        if compare:
            different = 0
            for position in range(begin, end):
                token = tokens[position]
                if places[token] < 0:
                    places[token] = different
                    for word in range(words):
                        masks[different, word] = _U64(0)
                    different += 1
                offset = position - begin
                masks[places[token], offset >> 6] |= _U64(1) << _U64(offset & 63)
                left[token] += 1
            found, found_of = 0, 1
            for depth in range(prefix):
                token = ranked[begin + depth]
                if depth and token == ranked[begin + depth - 1]:
                    continue
                rest = size - depth
                for posting in range(held_at[token], held_at[token] + counts[token]):
                    packed = postings[posting]
                    other_size = (packed >> 12) & 0xFFF
                    need = needs[size + other_size]
                    if rest < need or other_size - (packed & 0xFFF) < need:
                        continue
                    other = packed >> 24
                    if seen[other] == i:
                        continue
                    seen[other] = i
                    theirs = signs[other]
                    if size - _count_ones(sign & ~theirs) < need or other_size - _count_ones(theirs & ~sign) < need:
                        continue
                    other_begin, other_end = starts[other], starts[other + 1]
                    if words > 1 and _shared(tokens, other_begin, other_end, left) < need:
                        continue
                    length = _common(masks, places, words, row, tokens, other_begin, other_end)
                    if length < need:
                        continue
                    both = size + other_size
                    ahead = length * found_of - found * both
                    if ahead > 0 or (ahead == 0 and other < best[i - first]):
                        best[i - first], found, found_of = other, length, both
            shared[i - first] = found
            for position in range(begin, end):
                places[tokens[position]] = -1
                left[tokens[position]] = 0
        if best[i - first] < 0:
            for depth in range(prefix):
                token = ranked[begin + depth]
                if depth and token == ranked[begin + depth - 1]:
                    continue
                if counts[token] == rooms[token]:
                    for posting in range(counts[token]):
                        postings[used + posting] = postings[held_at[token] + posting]
                    held_at[token] = used
                    rooms[token] = max(2, 2 * rooms[token])
                    used += rooms[token]
                postings[held_at[token] + counts[token]] = (i << 24) | (size << 12) | depth
                counts[token] += 1
    return used
