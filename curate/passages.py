"""Passages that many texts share: where they are, how many hold them, and what of a text they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.arrays import lists
from curate.kernels.passages import (
    Passages,
    Shared,
    Stretches,
    extended,
    letters,
    shared,
    stretches,
    within,
)
from curate.kernels.shingles import Hashes, Longs

SUMMARY = pl.Struct({"text": pl.Binary(), "prints": pl.List(pl.UInt64())})
"""What rows are compared by: a digest of the text, and hashes of what it may share with others."""

_DIGEST_BYTES = 16
_TRIES = 400
_KNOWN = 0.5
_MORE = 2


def summary(texts: pl.Series, passages: Passages) -> pl.Series:
    """The summary of each text; null for a null."""
    hashes, sizes = passages.fingerprints(texts)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(sizes, out=offsets[1:])
    values = pa.Array.from_buffers(pa.uint64(), len(hashes), [None, pa.py_buffer(hashes)])
    prints = pl.from_arrow(lists(offsets, values))
    assert isinstance(prints, pl.Series)
    digests = [None if text is None else sha256(text.encode()).digest()[:_DIGEST_BYTES] for text in texts.to_list()]
    return pl.DataFrame([pl.Series("text", digests, dtype=pl.Binary), prints.alias("prints")]).to_struct(texts.name)


@dataclass(frozen=True)
class Passage:
    """A passage as it stands in the first text that holds it."""

    text: str
    letters: int
    rows: Longs
    """Which rows hold it, by their places in the summaries."""


@dataclass(frozen=True)
class Survey:
    """What many texts share. Texts that are the same are one text, however many rows have it."""

    least: int
    """How many different texts must hold a passage."""
    texts: pl.Series
    """The texts that may hold one, each once, in the order of the first rows that have them."""
    rows: list[Longs]
    """The rows that have each of these texts, by their places in the summaries."""
    cover: Stretches
    windows: Shared
    units: Shared

    def shares(self) -> Any:
        """What share of each text's letters is in passages, 0 to 1."""
        whole = letters(self.texts)
        return letters(self.texts, self.cover) / np.maximum(whole, 1)

    def cuts(self, passages: Passages) -> tuple[Stretches, Any]:
        """The sentences and lines that are in passages from beginning to end; and whether a text has no letter
        besides."""
        cuts = within(passages.sentences(self.texts), self.cover)
        whole = letters(self.texts)
        return cuts, (letters(self.texts, cuts) == whole) & (whole > 0)

    def passages(self, most: int) -> list[Passage]:
        """The passages that account for most letters: runs of windows first, then units besides these; each as far as
        all texts that hold its beginning go on saying the same. Those that are mostly part of others are left out."""
        kinds = [self.windows, self.units]
        ids = np.concatenate([self.windows.ids, self.units.ids + len(self.windows.counts)])
        counts = np.concatenate([one.counts for one in kinds])
        which, begins, ends = (
            np.concatenate([getattr(one.found, name) for one in kinds]) for name in ("texts", "begins", "ends")
        )
        by_text = np.argsort(which, kind="stable")
        starts = np.searchsorted(which[by_text], np.arange(len(self.texts) + 1))
        by_id = np.argsort(ids, kind="stable")
        id_starts = np.searchsorted(ids[by_id], np.arange(len(counts) + 1))
        first = by_id[id_starts[:-1]]
        is_unit = np.arange(len(counts)) >= len(self.windows.counts)
        size = np.where(is_unit, ends[first] - begins[first], 1)
        order = np.lexsort((begins[first], which[first], -counts * size, is_unit))
        listed = np.zeros(len(counts), dtype=np.bool_)
        found: dict[bool, list[Passage]] = {False: [], True: []}
        tries = {False: 0, True: 0}
        for one in order.tolist():
            kind = bool(is_unit[one])
            if listed[one] or len(found[kind]) == most or tries[kind] == _TRIES:
                continue
            tries[kind] += 1
            at = by_id[id_starts[one] : id_starts[one + 1]]
            texts, places = np.unique(which[at], return_index=True)
            end = int(extended(self.texts, texts, ends[at[places]])[0])
            begin, text = int(begins[first[one]]), int(texts[0])
            here = by_text[starts[text] : starts[text + 1]]
            inside = ids[here[(begins[here] >= begin) & (ends[here] <= end)]]
            known = listed[inside].mean() > _KNOWN
            # What is in many more texts than this passage is one of its own.
            listed[inside[counts[inside] < _MORE * len(texts)]] = True
            if not known:
                said = self.texts[text].encode()[begin:end].decode()
                rows = np.sort(np.concatenate([self.rows[one] for one in texts.tolist()]))
                found[kind].append(Passage(said, int(letters(pl.Series([said]))[0]), rows))
        every = sorted([*found[False], *found[True]], key=lambda one: -one.letters * len(one.rows))
        return every[:most]


def survey(
    summaries: pl.Series, passages: Passages, least_for: Callable[[int], int], texts_of: Callable[[Longs], pl.Series]
) -> Survey:
    """What the rows of some summaries share. `least_for` says how many of that many different texts must hold a
    passage; `texts_of` gives the texts of rows. Memory: the texts of those rows that share a fingerprint with enough
    others, and 40 bytes for each token of a passage."""
    places = pl.DataFrame({"text": summaries.struct.field("text"), "prints": summaries.struct.field("prints")})
    places = places.with_row_index("row").filter(pl.col("text").is_not_null())
    grouped = places.group_by("text", maintain_order=True).agg(pl.col("row"), pl.col("prints").first())
    least = least_for(grouped.height)
    known = _frequent(grouped["prints"], least)
    grouped = grouped.filter(_holds(grouped["prints"], known))
    rows = [np.asarray(one, dtype=np.int64) for one in grouped["row"].to_list()]
    texts = texts_of(np.array([one[0] for one in rows], dtype=np.int64))
    windows, units = (shared(found, texts, least) for found in passages.find(texts, known))
    return Survey(least, texts, rows, stretches(texts, windows.found, units.found), windows, units)


def _flat(prints: pl.Series) -> Hashes:
    return prints.explode(empty_as_null=False, keep_nulls=False).to_numpy()


def _frequent(prints: pl.Series, least: int) -> Hashes:
    """The hashes that at least so many rows have, sorted."""
    every = np.sort(_flat(prints))
    if len(every) < least:
        return every[:0]
    # A row has each hash once: a hash that many rows have stands as many times in a row.
    return np.unique(every[: len(every) - least + 1][every[: len(every) - least + 1] == every[least - 1 :]])


def _holds(prints: pl.Series, known: Hashes) -> pl.Series:
    """Which rows have one of the known hashes."""
    if not len(known):
        return pl.Series(np.zeros(len(prints), dtype=np.bool_))
    flat = _flat(prints)
    hits = known[np.minimum(np.searchsorted(known, flat), len(known) - 1)] == flat
    ends = prints.list.len().cum_sum().to_numpy()
    sums = np.concatenate([[0], np.cumsum(hits)])
    return pl.Series(sums[ends] > sums[ends - prints.list.len().to_numpy()])
