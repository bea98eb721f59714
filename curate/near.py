"""Near duplicates among texts: which rows stay, and for which row that stays each of the others goes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays import lists
from curate.kernels.matching import Entries, Matches, components, match, nearest, prefix_keys
from curate.kernels.shingles import CHARACTERS, WORDS, Longs, Sets, contiguous, shingle_sets
from curate.kernels.signatures import band_keys, band_slots, bands_for

SHORT_TOKENS = 60
"""Texts of up to so many tokens are compared by shorter shingles: a word changed in a short text changes most of its
shingles of five."""

SHORT_REACH = 2
"""So many times as long a text may be for a short one to be compared with it."""

SHORT_N, WORDS_N, CHARACTERS_N = 2, 5, 5

Unit = Literal["words", "characters"]
Search = Literal["exact", "lsh"]


@dataclass(frozen=True)
class Comparison:
    """How texts are compared: by shingles of `n` words or characters; and how alike duplicates are at least.

    Without `n` texts of more than 60 tokens are compared by shingles of five; shorter ones by pairs of tokens, their
    edges among them, with texts of up to 120, and not where numbers, operators or negations differ. No measure of
    wording tells "in Paris" from "in Rome" in a text of 50 words, but these can be told: tests/bench/near_defaults.py
    has the figures. Characters are compared by fives.
    """

    threshold: float = 0.8
    n: int | None = None
    unit: Unit = "words"
    search: Search = "exact"
    recall: float = 0.99
    """What share of pairs just at the threshold `lsh` must find."""

    def bands(self) -> tuple[int, int, float]:
        """Bands, rows of each and expected recall of `lsh`."""
        return bands_for(self.threshold, self.recall)

    def summary(self, texts: pl.Series) -> pl.Series:
        """What rows are compared by, a struct for each: `short` and `long`, sets of shingles, or `slots` of bands."""
        if self.search == "lsh":
            bands, rows, _ = self.bands()
            slots = band_slots(texts, self._single_n(), self._kind(), bands, rows)
            offsets = np.arange(len(texts) + 1, dtype=np.int64) * bands
            values = pa.Array.from_buffers(pa.int32(), slots.size, [None, pa.py_buffer(np.ascontiguousarray(slots))])
            return _series("slots", offsets, values).to_frame().to_struct(texts.name)
        short, long = self._sets(texts)
        return pl.DataFrame([_lists("short", short), _lists("long", long)]).to_struct(texts.name)

    def entries(self, texts: pl.Series) -> Entries:
        """What texts at hand are compared by."""
        short, long = self._sets(texts)
        return Entries.double(short, long)

    def match(self, entries: Entries, order: Longs, threshold: float | None = None) -> Matches:
        """Near duplicates by an exact search."""
        least = self.threshold if threshold is None else threshold
        return match(entries, prefix_keys(entries.sets, least), order, least)

    def match_slots(self, slots: Any, entries: Entries, order: Longs) -> Matches:
        """Near duplicates among those whose bands collide; `entries` has the sets of at least these rows."""
        return match(entries, band_keys(slots), order, self.threshold)

    def components(self, entries: Entries) -> Longs:
        """For each row the first row of its connected component, however long the chain between them."""
        return components(entries, prefix_keys(entries.sets, self.threshold), self.threshold)

    def nearest(self, entries: Entries, known: Longs, asked: Longs) -> Matches:
        """For each row of `asked` the most similar row of `known`, where it is a near duplicate of one."""
        return nearest(entries, prefix_keys(entries.sets, self.threshold), known, asked, self.threshold)

    def matches(self, texts: pl.Series) -> Matches:
        """Near duplicates among texts at hand, earlier ones kept rather than later ones."""
        order = np.arange(len(texts), dtype=np.int64)
        if self.search == "exact":
            return self.match(self.entries(texts), order)
        bands, rows, _ = self.bands()
        slots = band_slots(texts, self._single_n(), self._kind(), bands, rows)
        return self.match_slots(slots, Entries.single(self.whole(texts)), order)

    def _sets(self, texts: pl.Series) -> tuple[Sets, Sets]:
        """Sets of short and of long texts."""
        if self.n is not None or self.unit == "characters":
            whole = self.whole(texts)
            nothing = np.zeros(len(texts), dtype=np.int64)
            return Sets(nothing, nothing, []), whole
        return (
            shingle_sets(texts, SHORT_N, WORDS, edges=True, guard=True, most=SHORT_REACH * SHORT_TOKENS),
            shingle_sets(texts, WORDS_N, WORDS, least=SHORT_TOKENS),
        )

    def whole(self, texts: pl.Series) -> Sets:
        """One set of shingles for each text."""
        return shingle_sets(texts, self._single_n(), self._kind())

    def _single_n(self) -> int:
        return self.n if self.n is not None else CHARACTERS_N if self.unit == "characters" else WORDS_N

    def _kind(self) -> int:
        return CHARACTERS if self.unit == "characters" else WORDS


def warm_up() -> None:
    """Load the compiled kernels in a thread of their own, which takes a third of a second, while rows are read."""

    def load() -> None:
        for comparison in (Comparison(n=WORDS_N), Comparison()):
            comparison.matches(pl.Series(["a b c d e f"] * 2))

    threading.Thread(target=load, name="kernels", daemon=True).start()


def entries_from(summaries: pl.Series) -> Entries:
    """Entries from what `Comparison.summary` gave, in place: `summaries` must live as long as they are used."""
    short, long = (_sets_of(summaries.struct.field(name)) for name in ("short", "long"))
    return Entries.double(short, long)


def slots_from(summaries: pl.Series) -> Any:
    """The slots of bands from what `Comparison.summary` gave: (rows, bands)."""
    column = summaries.struct.field("slots")
    if column.is_empty():
        return np.empty((0, 1), dtype=np.int32)
    return column.explode(empty_as_null=False, keep_nulls=False).to_numpy().reshape(len(column), -1)


def rows_to_compare(slots: Any) -> Longs:
    """Rows that share a key with another row: only their texts are needed."""
    keys = band_keys(slots)
    return np.flatnonzero((keys.slots.reshape(slots.shape) >= 0).any(axis=1))


def _lists(name: str, sets: Sets) -> pl.Series:
    offsets = np.zeros(len(sets.sizes) + 1, dtype=np.int64)
    np.cumsum(sets.sizes, out=offsets[1:])
    hashes = contiguous(sets)
    values = pa.Array.from_buffers(pa.uint64(), len(hashes), [None, pa.py_buffer(hashes)])
    return _series(name, offsets, values)


def _series(name: str, offsets: Longs, values: pa.Array) -> pl.Series:
    made = pl.from_arrow(lists(offsets, values))
    assert isinstance(made, pl.Series)
    return made.alias(name)


def _sets_of(column: pl.Series) -> Sets:
    """Sets where a column of lists has them, without copying them."""
    addresses, sizes, held = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], []
    for chunk in column.get_chunks():
        array = chunk.to_arrow(compat_level=pl.CompatLevel.newest())
        offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
        values = array.values
        buffer = values.buffers()[1]
        begin = (buffer.address if buffer is not None else 0) + 8 * values.offset
        addresses.append(begin + 8 * offsets[:-1])
        sizes.append(np.diff(offsets))
        held.append(array)
    return Sets(np.concatenate(addresses), np.concatenate(sizes), held)
