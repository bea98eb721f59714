"""Which rows are near duplicates of a row that is kept: candidates by shared keys, each verified by its exact Jaccard.

Rows come in the order of who would rather be kept. A row that reaches the threshold with a row kept before is dropped,
else it is kept: of what is kept no two rows are near duplicates, and each dropped row is one of the row it names.
Only kept rows are searched, so that a hundred thousand copies of a row cost one comparison each.

Two rows that reach the threshold always share a key when the keys are the rarest shingles of each (the prefix filter of
Chaudhuri et al. 2006, with the shorter prefix for the smaller row of Xiao et al. 2008), and with a known probability
when they are bands of MinHash signatures.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.kernels.compiled import in_parallel, kernel, threads, words_at
from curate.kernels.shingles import U64, Longs, Sets

Ints = np.ndarray[Any, np.dtype[np.int32]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

_FREQUENCY_BITS = 24
_FREQUENCY_SHIFT = U64(64 - _FREQUENCY_BITS)
_CLASSES = 9
_BLOCK = 8_192
_KEY_BITS = 31
KEY_SHIFT = U64(64 - _KEY_BITS)
_SAMPLED = 12_000_000
_NEVER = 1e-9


@dataclass(frozen=True)
class Keys:
    """Keys of rows, one after another: row i's are slots[starts[i]:starts[i + 1]], the first `short[i]` of which find
    rows of any size, and the others smaller rows only."""

    slots: Ints
    """The keys' highest 31 bits; a key that no other row has is -1."""
    starts: Longs
    short: Ints


@dataclass(frozen=True)
class Matches:
    """For each row the kept row it is a near duplicate of, or -1, and their Jaccard similarity."""

    kept: Longs
    similarity: Floats
    verified: int
    """How many pairs of rows were compared."""


@kernel
def _count(addresses: Longs, sizes: Longs, begin: int, end: int, step: int, table: Any) -> None:
    for row in range(begin, end, step):
        hashes = words_at(addresses[row])
        for place in range(sizes[row]):
            slot = hashes[place] >> _FREQUENCY_SHIFT
            if table[slot] < 255:
                table[slot] += np.uint8(1)


@kernel
def _prefixes(addresses: Longs, sizes: Longs, begin: int, end: int, table: Any, key_starts: Longs, slots: Ints) -> None:
    """The keys of some rows: their rarest shingles, those of about the same frequency in the order of their hashes."""
    classes = np.zeros(256, np.int64)
    for frequency in range(256):
        width = 0
        while frequency >> width:
            width += 1
        classes[frequency] = width
    for row in range(begin, end):
        hashes = words_at(addresses[row])
        used = key_starts[row]
        last = key_starts[row + 1]
        rarity = 0
        while used < last:
            following = _CLASSES
            for place in range(sizes[row]):
                found = classes[table[hashes[place] >> _FREQUENCY_SHIFT]]
                if found == rarity:
                    slots[used] = np.int32(hashes[place] >> KEY_SHIFT)
                    used += 1
                    if used == last:
                        break
                elif rarity < found < following:
                    following = found
            rarity = following


@kernel
def _drop_single(slots: Ints, bits: int) -> None:
    """Set keys that occur once to -1: they find nothing."""
    seen = np.zeros(1 << bits, np.uint8)
    shift = _KEY_BITS - bits
    for place in range(len(slots)):
        if slots[place] < 0:
            continue
        slot = slots[place] >> shift
        if seen[slot] < 2:
            seen[slot] += np.uint8(1)
    for place in range(len(slots)):
        if slots[place] >= 0 and seen[slots[place] >> shift] < 2:
            slots[place] = -1


@kernel
def common(a: int, a_size: int, b: int, b_size: int, need: int) -> int:
    """How many hashes two sorted sets at memory addresses have in common, or -1 if they cannot have `need`."""
    left = words_at(a)
    right = words_at(b)
    i = j = count = 0
    while i < a_size and j < b_size:
        x = left[i]
        y = right[j]
        if x == y:
            count += 1
            i += 1
            j += 1
        elif x < y:
            i += 1
            if count + a_size - i < need:
                return -1
        else:
            j += 1
            if count + b_size - j < need:
                return -1
    return count if count >= need else -1


@kernel
def needed(a_size: int, b_size: int, threshold: float) -> int:
    """How many shingles two sets must have in common for their Jaccard similarity to reach the threshold."""
    return int(np.ceil(threshold / (1.0 + threshold) * (a_size + b_size) - _NEVER))


@kernel
def _probe(
    order: Longs, begin: int, end: int, first: Longs, rows: Longs, both: Any, addresses: Longs, sizes: Longs,
    slots: Ints, starts: Longs, short: Ints, shift: int, heads: Any, following: Ints, owner: Ints, first_posting: int,
    threshold: float, stamp: Ints, kept: Longs, similarity: Floats,
) -> int:  # fmt: skip
    """Look for each of some rows among the rows kept so far whose postings are at `first_posting` or later."""
    verified = 0
    for place in range(begin, end):
        row = order[place]
        for entry in range(first[row], first[row + 1]):
            size = sizes[entry]
            for number in range(starts[entry], starts[entry + 1]):
                slot = slots[number]
                if slot < 0:
                    continue
                is_short = number - starts[entry] < short[entry]
                for table in range(2 if is_short else 1):
                    posting = heads[table, slot >> shift]
                    while posting >= first_posting:
                        other = owner[posting]
                        posting = following[posting]
                        if stamp[other] == entry:
                            continue
                        other_size = sizes[other]
                        # What both keys are of decides whether such a pair is found here, or needs to be at all.
                        if table == 0 and not is_short and other_size > size:
                            continue
                        if table == 1 and other_size <= size:
                            continue
                        stamp[other] = entry
                        if both[entry] and both[other]:
                            continue
                        need = needed(size, other_size, threshold)
                        if need > min(size, other_size):
                            continue
                        verified += 1
                        count = common(addresses[entry], size, addresses[other], other_size, need)
                        if count >= 0:
                            found = count / (size + other_size - count)
                            named = rows[other]
                            if found > similarity[row] or (found == similarity[row] and other_first(kept[row], named)):
                                similarity[row] = found
                                kept[row] = named
    return verified


@kernel
def other_first(known: int, other: int) -> bool:
    """Whether of two equally similar rows the second should be named: the one whose ordinal is lower."""
    return known < 0 or other < known


@kernel
def _settle(
    order: Longs, begin: int, end: int, first: Longs, rows: Longs, both: Any, addresses: Longs, sizes: Longs,
    slots: Ints, starts: Longs, short: Ints, shift: int, heads: Any, following: Ints, owner: Ints, state: Longs,
    threshold: float, stamp: Ints, kept: Longs, similarity: Floats,
) -> None:  # fmt: skip
    """Decide a block of rows in order: those not near a row kept before, in this block or earlier, are kept, and can be
    found from now on. `state` has how many postings there are, and how many pairs were verified."""
    first_posting = state[0]
    for place in range(begin, end):
        row = order[place]
        state[1] += _probe(
            order, place, place + 1, first, rows, both, addresses, sizes, slots, starts, short, shift, heads,
            following, owner, first_posting, threshold, stamp, kept, similarity,
        )  # fmt: skip
        if kept[row] < 0:
            _insert(first[row], first[row + 1], slots, starts, short, shift, heads, following, owner, state)


@kernel
def _insert(
    begin: int, end: int, slots: Ints, starts: Longs, short: Ints, shift: int, heads: Any, following: Ints, owner: Ints,
    state: Longs,
) -> None:  # fmt: skip
    """Let some entries be found from now on."""
    for entry in range(begin, end):
        for number in range(starts[entry], starts[entry + 1]):
            slot = slots[number]
            if slot < 0:
                continue
            table = 0 if number - starts[entry] < short[entry] else 1
            posting = state[0]
            following[posting] = heads[table, slot >> shift]
            owner[posting] = entry
            heads[table, slot >> shift] = posting
            state[0] = posting + 1


@kernel
def _insert_rows(
    rows: Longs, first: Longs, slots: Ints, starts: Longs, short: Ints, shift: int, heads: Any, following: Ints,
    owner: Ints, state: Longs,
) -> None:  # fmt: skip
    for row in rows:
        _insert(first[row], first[row + 1], slots, starts, short, shift, heads, following, owner, state)


@kernel
def _find(parents: Longs, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@kernel
def _connect(
    first: Longs, rows: Longs, both: Any, addresses: Longs, sizes: Longs, slots: Ints, starts: Longs, short: Ints,
    shift: int, heads: Any, following: Ints, owner: Ints, state: Longs, threshold: float, stamp: Ints, uniform: Any,
    parents: Longs,
) -> None:  # fmt: skip
    """Join each row with every earlier one that it is a near duplicate of, except where they are joined already.

    `uniform` says of each list of postings that all its rows are joined: one look at the first is enough then.
    """
    for row in range(len(first) - 1):
        for entry in range(first[row], first[row + 1]):
            size = sizes[entry]
            for number in range(starts[entry], starts[entry + 1]):
                slot = slots[number]
                if slot < 0:
                    continue
                slot >>= shift
                is_short = number - starts[entry] < short[entry]
                for table in range(2 if is_short else 1):
                    posting = heads[table, slot]
                    while posting >= 0:
                        other = owner[posting]
                        posting = following[posting]
                        if _find(parents, rows[other]) == _find(parents, row):
                            if uniform[table, slot]:
                                break
                            continue
                        if stamp[other] == entry or (both[entry] and both[other]):
                            continue
                        other_size = sizes[other]
                        if table == 0 and not is_short and other_size > size:
                            continue
                        if table == 1 and other_size <= size:
                            continue
                        stamp[other] = entry
                        need = needed(size, other_size, threshold)
                        if need > min(size, other_size):
                            continue
                        state[1] += 1
                        if common(addresses[entry], size, addresses[other], other_size, need) >= 0:
                            a = _find(parents, row)
                            b = _find(parents, rows[other])
                            parents[max(a, b)] = min(a, b)
            for number in range(starts[entry], starts[entry + 1]):
                slot = slots[number]
                if slot < 0:
                    continue
                slot >>= shift
                table = 0 if number - starts[entry] < short[entry] else 1
                head = heads[table, slot]
                if head >= 0 and _find(parents, rows[owner[head]]) != _find(parents, row):
                    uniform[table, slot] = False
            _insert(entry, entry + 1, slots, starts, short, shift, heads, following, owner, state)
    for row in range(len(first) - 1):
        parents[row] = _find(parents, row)


def frequencies(sets: Sets) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """About how often shingles occur, by the highest bits of their hashes."""
    step = 1 + sets.total // _SAMPLED  # how rare a shingle is need not be known exactly
    own = threading.local()
    tables = []

    def work(begin: int, end: int) -> None:
        if not hasattr(own, "table"):
            own.table = np.zeros(1 << _FREQUENCY_BITS, dtype=np.uint8)
            tables.append(own.table)
        _count(sets.addresses, sets.sizes, begin + -begin % step, end, step, own.table)

    in_parallel(work, len(sets.sizes))
    total = tables.pop() if tables else np.zeros(1 << _FREQUENCY_BITS, dtype=np.uint8)
    for table in tables:
        room = np.uint8(255) - total
        total += np.minimum(table, room)
    return total


def prefix_keys(sets: Sets, threshold: float) -> Keys:
    """Keys that any two rows share whose Jaccard similarity reaches the threshold."""
    return without_single(all_prefix_keys(sets, threshold, frequencies(sets)))


def all_prefix_keys(sets: Sets, threshold: float, table: np.ndarray[Any, np.dtype[np.uint8]]) -> Keys:
    """The same, also those that no other row has; rarity by `table`, which must be the same for all rows compared."""
    sizes = sets.sizes
    counts = np.where(sizes > 0, sizes - np.ceil(threshold * sizes - _NEVER).astype(np.int64) + 1, 0)
    both = np.ceil(2 * threshold / (1 + threshold) * sizes - _NEVER).astype(np.int64)
    short = np.where(sizes > 0, sizes - both + 1, 0).astype(np.int32)
    starts = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    slots = np.empty(int(starts[-1]), dtype=np.int32)
    in_parallel(lambda begin, end: _prefixes(sets.addresses, sizes, begin, end, table, starts, slots), len(sizes))
    return Keys(slots, starts, short)


def without_single(keys: Keys, more_bits: int = 1) -> Keys:
    """The keys with those that only one row has set to -1, in place. More bits tell more keys apart."""
    _drop_single(keys.slots, min(_bits(len(keys.slots)) + more_bits, _KEY_BITS))
    return keys


def _bits(keys: int) -> int:
    """Bits of a table with a place for each key."""
    return min(max(keys.bit_length(), 12), _KEY_BITS - 1)


@dataclass(frozen=True)
class Entries:
    """What rows are compared by: one set of shingles for each, or two for rows near the length where shingles change.

    Row i's entries are those from first[i] to first[i + 1]; `rows` says whose each entry is. Two entries that are both
    set in `both` are not compared: their rows are by another pair of theirs.
    """

    sets: Sets
    first: Longs
    rows: Longs
    both: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def single(cls, sets: Sets) -> Entries:
        """One set for each row."""
        count = len(sets.sizes)
        return cls(sets, np.arange(count + 1), np.arange(count), np.zeros(count, dtype=bool))

    @classmethod
    def double(cls, short: Sets, long: Sets) -> Entries:
        """A set of the one kind, of the other, or of both for each row."""
        count = len(short.sizes)
        whose = np.concatenate([np.arange(count), np.arange(count)])
        sizes = np.concatenate([short.sizes, long.sizes])
        is_short = np.arange(2 * count) < count
        there = sizes > 0
        chosen = np.flatnonzero(there)
        chosen = chosen[np.lexsort((is_short[chosen], whose[chosen]))]
        rows = whose[chosen]
        first = np.searchsorted(rows, np.arange(count + 1))
        twice = there[:count] & there[count:]
        sets = Sets(np.concatenate([short.addresses, long.addresses])[chosen], sizes[chosen], [short.held, long.held])
        return cls(sets, first, rows, is_short[chosen] & twice[rows])


class _Index:
    """Postings of the rows that can be found."""

    def __init__(self, entries: Entries, keys: Keys) -> None:
        postings = int((keys.slots >= 0).sum())
        bits = _bits(postings)
        self.state = np.zeros(2, dtype=np.int64)
        """How many postings there are, and how many pairs were verified."""
        self.heads = np.full((2, 1 << bits), -1, dtype=np.int32)
        places = (
            keys.slots, keys.starts, keys.short, _KEY_BITS - bits, self.heads, np.empty(postings, dtype=np.int32),
            np.empty(postings, dtype=np.int32),
        )  # fmt: skip
        sets = entries.sets
        self.insertion = (entries.first, *places)
        self.arguments = (entries.first, entries.rows, entries.both, sets.addresses, sets.sizes, *places)
        self._stamps = [np.full(len(entries.rows), -1, dtype=np.int32) for _ in range(threads() + 1)]
        count = len(entries.first) - 1
        self.kept = np.full(count, -1, dtype=np.int64)
        self.similarity = np.zeros(count, dtype=np.float64)

    @property
    def stamp(self) -> Ints:
        """Which rows were compared already, for whoever searches alone."""
        return self._stamps[0]

    def look(self, rows: Longs, threshold: float) -> None:
        """Search for each of some rows in all threads."""
        free = list(self._stamps[1:])

        def work(begin: int, end: int) -> int:
            stamp = free.pop()
            try:
                verified = _probe(
                    rows, begin, end, *self.arguments, 0, threshold, stamp, self.kept, self.similarity
                )  # fmt: skip
                return int(verified)
            finally:
                free.append(stamp)

        self.state[1] += sum(in_parallel(work, len(rows), 2 * threads()))

    def found(self) -> Matches:
        """What was found for each row."""
        return Matches(self.kept, self.similarity, int(self.state[1]))


def match(entries: Entries, keys: Keys, order: Longs, threshold: float) -> Matches:
    """Decide rows in `order`: kept, or dropped for the kept row they are most like, the earlier of two."""
    index = _Index(entries, keys)
    for begin in range(0, len(order), _BLOCK):
        block = order[begin : begin + _BLOCK]
        if index.state[0]:
            index.look(block, threshold)
        _settle(
            block, 0, len(block), *index.arguments, index.state, threshold, index.stamp, index.kept, index.similarity
        )  # fmt: skip
    return index.found()


def nearest(entries: Entries, keys: Keys, known: Longs, asked: Longs, threshold: float) -> Matches:
    """For each row of `asked` the row of `known` that it is most like, where that reaches the threshold."""
    index = _Index(entries, keys)
    _insert_rows(known, *index.insertion, index.state)
    index.look(asked, threshold)
    return index.found()


def components(entries: Entries, keys: Keys, threshold: float) -> Longs:
    """Connected components of rows that reach the threshold pairwise, however long the chains: for each row the first
    row of its component."""
    index = _Index(entries, keys)
    parents = np.arange(len(entries.first) - 1, dtype=np.int64)
    uniform = np.ones(index.heads.shape, dtype=np.bool_)
    _connect(*index.arguments, index.state, threshold, index.stamp, uniform, parents)
    return parents
