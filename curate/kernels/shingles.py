"""Texts as sets of shingles, hashed straight from their UTF-8 bytes.

Normalised: NFKC, case folded, runs of white space as one space. Tokens are maximal runs of letters and digits; each
ideograph and kana is a token of its own, and so is every other visible character, so that C is not C++ and 2+3 is not
2-3. A shingle is `n` tokens in a row (or `n` characters); a text of fewer is one shingle, and a text without any token
is compared by its exact characters. A shingle is known by a hash of 64 bits. What stands between two ANSWER_MARKs is
told apart from the same words elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curate.kernels.characters import CONTEXT, KIND_SHIFT, LETTER, SPACE, folded, table
from curate.kernels.compiled import in_parallel, inlined, kernel, words_at
from schemas.chat import ANSWER_MARK

U64 = np.uint64
Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Longs = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

WORDS, CHARACTERS = 0, 1
"""What shingles are made of."""

_STEP = U64(0x9E3779B97F4A7C15)
_BASIS = U64(0xCBF29CE484222325)
_PRIME = U64(0x100000001B3)
_EXACT = U64(0x8EBC6AF09C88C6E3)
_MARK = ord(ANSWER_MARK)
_EDGE = U64(0x589965CC75374CC3)
_CODE = np.uint32((1 << KIND_SHIFT) - 1)
_KIND = np.uint32(KIND_SHIFT)
_CONTEXT = np.uint32(CONTEXT)
_FOLD = -1
_ZERO, _NINE = ord("0"), ord("9")
_OPERATORS = np.array([ord(char) for char in "+*/×÷=<>%"], dtype=np.uint32)
_NOT = np.array([ord(char) for char in "不没無无非别未否莫勿"], dtype=np.uint32)


def _hash_of(word: str) -> int:
    """The hash that a word has as a token."""
    mask = (1 << 64) - 1
    value = int(_BASIS)
    for char in word:
        value = (value ^ ord(char)) * int(_PRIME) & mask
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & mask
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & mask
    return value ^ value >> 33


_NEGATIONS = np.array(
    [_hash_of(word) for word in ("not", "no", "never", "without", "cannot", "nor", "none", "t")], dtype=np.uint64
)
"""Hashes of words that negate; t is what is left of don't."""

_SMALL = 3_000
_BUCKETS = 512
_BUCKET_SHIFT = U64(64 - 9)
_MOST_N = 64

MOST_TOKENS = 1 << 62
"""No limit to how many tokens a text may have."""


@dataclass(frozen=True)
class Sets:
    """Sorted sets of distinct shingle hashes, each at an address in memory."""

    addresses: Longs
    sizes: Longs
    """How many shingles each row has; 0 for a row that is null or empty."""
    held: Sequence[Any]
    """What keeps the memory from being freed."""

    @property
    def total(self) -> int:
        """How many shingles there are, counted once for each row."""
        return int(self.sizes.sum())


@inlined
def mixed(x: Any) -> Any:
    """A hash's bits spread over all 64 (the finaliser of MurmurHash3); one to one."""
    x ^= x >> U64(33)
    x *= U64(0xFF51AFD7ED558CCD)
    x ^= x >> U64(33)
    x *= U64(0xC4CEB9FE1A85EC53)
    x ^= x >> U64(33)
    return x


@kernel
def shingle(
    data: Bytes, begin: int, end: int, chars: Any, n: int, unit: int, edges: bool, guard: bool, least: int, most: int,
    ring: Hashes, out: Hashes,
) -> int:  # fmt: skip
    """The hashes of a text's shingles in order, repeats and all; how many. -1 where the text must be folded first, -2
    where it has not more than `least` or more than `most` tokens."""
    if begin == end:
        return 0
    top = U64(1)
    for _ in range(n - 1):
        top *= _STEP
    count = found = slot = tokens = 0
    rolling = U64(0)
    if edges:
        for _ in range(n - 1):
            rolling = rolling * _STEP + _EDGE
            ring[slot] = _EDGE
            count += 1
            slot += 1
    word = _BASIS
    in_word = False
    has_digit = False
    answer = U64(0)
    meaning = U64(0)
    space = True  # none before the first character
    at = begin
    while at <= end:
        if at == end:
            entry = np.uint32(32)
            at += 1
        else:
            byte = data[at]
            if byte < 0x80:
                code = np.uint32(byte)
                at += 1
            elif byte < 0xE0:
                code = (np.uint32(byte & 0x1F) << np.uint32(6)) | np.uint32(data[at + 1] & 0x3F)
                at += 2
            elif byte < 0xF0:
                code = (
                    (np.uint32(byte & 0x0F) << np.uint32(12))
                    | (np.uint32(data[at + 1] & 0x3F) << np.uint32(6))
                    | np.uint32(data[at + 2] & 0x3F)
                )
                at += 3
            else:
                code = (
                    (np.uint32(byte & 0x07) << np.uint32(18))
                    | (np.uint32(data[at + 1] & 0x3F) << np.uint32(12))
                    | (np.uint32(data[at + 2] & 0x3F) << np.uint32(6))
                    | np.uint32(data[at + 3] & 0x3F)
                )
                at += 4
            if code == _MARK:
                answer = ~answer
                code = np.uint32(32)
            entry = chars[code]
            if entry >= _CONTEXT:
                return -1
        kind = entry >> _KIND
        code = entry & _CODE
        if unit == WORDS:
            if kind == LETTER:
                word = (word ^ U64(code)) * _PRIME
                in_word = True
                if _ZERO <= code <= _NINE:
                    has_digit = True
                continue
            ends = 2 if in_word and kind != SPACE else 1 if in_word or kind != SPACE else 0
        else:
            if kind == SPACE:
                space = True
                continue
            ends = 2 if space and tokens > 0 else 1  # a run of white space is one, and none at the edges
            space = False
        for turn in range(ends):
            if unit == WORDS and in_word:
                token = mixed(word)
                word = _BASIS
                in_word = False
                if guard and has_digit:
                    meaning += token
                elif guard:
                    for negation in _NEGATIONS:
                        if token == negation:
                            meaning += _STEP
                has_digit = False
            elif unit == CHARACTERS and ends == 2 and turn == 0:
                token = mixed(_BASIS ^ (U64(32) * _STEP))
            else:
                token = mixed(_BASIS ^ (U64(code) * _STEP))
                if guard:
                    for one in _NOT:
                        if code == one:
                            meaning += _STEP
                    for one in _OPERATORS:
                        if code == one:
                            meaning += token
            if answer != 0:
                token = mixed(token ^ answer)
            tokens += 1
            if tokens > most:
                return -2
            if count >= n:
                rolling -= ring[slot] * top
            rolling = rolling * _STEP + token
            ring[slot] = token
            count += 1
            slot += 1
            if slot == n:
                slot = 0
            if count >= n:
                out[found] = mixed(rolling)
                found += 1
    if tokens == 0:
        rolling = _EXACT
        for place in range(begin, end):
            rolling = (rolling ^ U64(data[place])) * _PRIME
        out[0] = mixed(rolling)
        return 1
    if edges:
        for _ in range(n - 1):
            if count >= n:
                rolling -= ring[slot] * top
            rolling = rolling * _STEP + _EDGE
            ring[slot] = _EDGE
            count += 1
            slot += 1
            if slot == n:
                slot = 0
            if count >= n:
                out[found] = mixed(rolling)
                found += 1
    elif found == 0:
        out[0] = mixed(rolling)
        found = 1
    if guard and meaning != 0:
        for place in range(found):
            out[place] = mixed(out[place] ^ meaning)
    return found if tokens > least else -2


@kernel
def sort_distinct(values: Hashes, count: int, spare: Hashes, counts: Longs) -> int:
    """Sort the first values and take out repeats; how many are left. Hashes are spread evenly, which a bucket sort
    uses; long texts get a radix sort, whose time does not depend on what they hold."""
    if count <= 40:
        for i in range(1, count):
            value = values[i]
            j = i - 1
            while j >= 0 and values[j] > value:
                values[j + 1] = values[j]
                j -= 1
            values[j + 1] = value
    elif count <= _SMALL:
        counts[: _BUCKETS + 1] = 0
        for i in range(count):
            counts[np.int64(values[i] >> _BUCKET_SHIFT) + 1] += 1
        for i in range(_BUCKETS):
            counts[i + 1] += counts[i]
        for i in range(count):
            bucket = np.int64(values[i] >> _BUCKET_SHIFT)
            spare[counts[bucket]] = values[i]
            counts[bucket] += 1
        for i in range(1, count):
            value = spare[i]
            j = i - 1
            while j >= 0 and spare[j] > value:
                spare[j + 1] = spare[j]
                j -= 1
            spare[j + 1] = value
        for i in range(count):
            values[i] = spare[i]
    else:
        for turn in range(4):  # an even number: the result is where the values were
            shift = U64(16 * turn)
            counts[:] = 0
            for i in range(count):
                counts[np.int64((values[i] >> shift) & U64(0xFFFF)) + 1] += 1
            for i in range(65536):
                counts[i + 1] += counts[i]
            for i in range(count):
                bucket = np.int64((values[i] >> shift) & U64(0xFFFF))
                spare[counts[bucket]] = values[i]
                counts[bucket] += 1
            values, spare = spare, values
    left = 0
    for i in range(count):
        if i == 0 or values[i] != values[i - 1]:
            values[left] = values[i]
            left += 1
    return left


@kernel
def _sets(
    data: Bytes, offsets: Longs, chars: Any, n: int, unit: int, edges: bool, guard: bool, least: int, most: int,
    out: Hashes, sizes: Longs,
) -> int:  # fmt: skip
    """The sets of some rows, one after another in `out`; how many hashes. Sizes below 0 are as in `shingle`."""
    longest = 0
    for row in range(len(sizes)):
        longest = max(longest, offsets[row + 1] - offsets[row])
    ring = np.zeros(n, np.uint64)
    spare = np.empty(longest + n + 2, np.uint64)
    counts = np.zeros(65537, np.int64)
    used = 0
    for row in range(len(sizes)):
        room = out[used:]
        count = shingle(data, offsets[row], offsets[row + 1], chars, n, unit, edges, guard, least, most, ring, room)
        if count >= 0:
            count = sort_distinct(room, count, spare, counts)
            used += count
        sizes[row] = count
    return used


def contiguous(sets: Sets) -> Hashes:
    """The hashes of all sets, one after another."""
    out = np.empty(sets.total, dtype=np.uint64)
    starts = np.cumsum(sets.sizes) - sets.sizes
    in_parallel(lambda begin, end: _gather(sets.addresses, sets.sizes, begin, end, starts, out), len(sets.sizes))
    return out


@kernel
def _gather(addresses: Longs, sizes: Longs, begin: int, end: int, starts: Longs, out: Hashes) -> None:
    for row in range(begin, end):
        hashes = words_at(addresses[row])
        for place in range(sizes[row]):
            out[starts[row] + place] = hashes[place]


def joined(*parts: Sets) -> Sets:
    """The sets of several, one after another."""
    return Sets(
        np.concatenate([part.addresses for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        [one for part in parts for one in part.held],
    )


def buffers(texts: pl.Series) -> tuple[Bytes, Longs]:
    """The bytes of a String series and where each row's begin; nulls are empty."""
    array = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    if array.offset:
        raise ValueError("a sliced array")
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[: len(array) + 1]
    return np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else np.zeros(1, np.uint8), bounds


def shingle_sets(
    texts: pl.Series,
    n: int,
    unit: int = WORDS,
    *,
    edges: bool = False,
    guard: bool = False,
    least: int = 0,
    most: int = MOST_TOKENS,
) -> Sets:
    """The set of shingles of each text, each of `n` tokens or characters (at most 64); none for a null or an empty one.

    Only for texts of more than `least` and at most `most` tokens. With `edges` a text begins and ends in n - 1 tokens
    that stand for its edges, so that its first and last words count as much as the others. With `guard` texts whose
    numbers, operators or count of negations differ have no shingle in common: "2+3" is not "2+5", and "do" not "don't".
    Raises ValueError for an `n` out of range.
    """
    if not 1 <= n <= _MOST_N:
        raise ValueError(f"shingles of {n}: between 1 and {_MOST_N}")
    chars = table()
    sizes = np.zeros(len(texts), dtype=np.int64)
    addresses = np.zeros(len(texts), dtype=np.int64)
    room = threading.local()

    def work(begin: int, end: int) -> Hashes:
        data, offsets = buffers(texts.slice(begin, end - begin))
        needed = len(data) + (n + 1) * (end - begin) + 1
        if getattr(room, "out", np.zeros(0)).size < needed:
            room.out = np.empty(needed, dtype=np.uint64)
        used = _sets(data, offsets, chars, n, unit, edges, guard, least, most, room.out, sizes[begin:end])
        made: Hashes = room.out[:used].copy()
        placed = np.maximum(sizes[begin:end], 0)
        addresses[begin:end] = made.ctypes.data + 8 * (np.cumsum(placed) - placed)
        return made

    size = int(texts.str.len_bytes().sum())
    held: list[Any] = in_parallel(work, len(texts), max(32, size >> 20))
    waiting = np.flatnonzero(sizes == _FOLD)
    np.maximum(sizes, 0, out=sizes)
    if len(waiting):
        plain = pl.Series([folded(text) for text in texts.gather(waiting).to_list()], dtype=pl.String)
        data, offsets = buffers(plain)
        out = np.empty(len(data) + (n + 1) * len(plain) + 1, dtype=np.uint64)
        late = np.zeros(len(plain), dtype=np.int64)
        _sets(data, offsets, without_context(), n, unit, edges, guard, least, most, out, late)
        late = np.maximum(late, 0)
        sizes[waiting] = late
        addresses[waiting] = out.ctypes.data + 8 * (np.cumsum(late) - late)
        held.append(out)
    return Sets(addresses, sizes, held)


def without_context() -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The table for texts that are folded: what else would depend on its neighbours is a letter."""
    codes = np.arange(len(table()), dtype=np.uint32) | np.uint32(LETTER << KIND_SHIFT)
    return np.where(table() >= CONTEXT, codes, table())


def in_order(text: str, n: int, unit: int = WORDS) -> Hashes:
    """The hashes of one text's shingles as they come, repeats and all."""
    plain = folded(text)
    data, offsets = buffers(pl.Series([plain], dtype=pl.String))
    out = np.empty(len(data) + n + 2, dtype=np.uint64)
    count = shingle(
        data, 0, int(offsets[1]), without_context(), n, unit, False, False, 0, MOST_TOKENS, np.zeros(n, np.uint64), out
    )
    return out[:count]
