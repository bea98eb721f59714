"""Stages carried out in this process on rows cut into shards, as a cluster would: it keeps stages honest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import polars as pl

from curate.cutting import cut_out
from curate.marks import Marked, Step, dropped_by, dropped_columns, mark, summarise, with_fields
from curate.stage import Choice, Compare, Fetch
from schemas.rows import columns

CHOICE = {"ordinal": pl.Int64(), "reason": pl.String(), "because": pl.String()}
"""Columns of what a Compare chooses."""


def run_shards(kind: str, shards: Sequence[pl.DataFrame], steps: Sequence[Step]) -> Marked:
    """Carry out `steps` on rows cut into `shards`; the result does not depend on where the cuts are.

    Filters and Edits see one shard at a time. A Compare sees the summaries of all shards in order, and gets at the rows
    themselves only through `fetch`.
    """
    held = list(shards)
    dropped: list[pl.DataFrame] = []
    reasons: Counter[tuple[str, str]] = Counter()
    edited: Counter[str] = Counter()
    for step in steps:
        if isinstance(step.stage, Compare):
            held, gone, changed = _compare(kind, held, step.name, step.stage)
            edited += Counter({step.name: changed} if changed else {})
            for frame in gone:
                for reason, count in frame.group_by("reason").len().iter_rows():
                    reasons[step.name, reason] += count
        else:
            results = [mark(shard, kind, [step]) for shard in held]
            held = [result.kept for result in results]
            gone = [frame for result in results for frame in result.dropped]
            reasons += sum((result.reasons for result in results), Counter())
            edited += sum((result.edited for result in results), Counter())
        whole = pl.concat(gone) if gone else pl.DataFrame()
        if not whole.is_empty():
            dropped.append(whole)
    kept = pl.concat(held) if held else pl.DataFrame(schema=columns(kind))
    return Marked(kept, dropped, reasons, edited)


def _compare(
    kind: str, shards: list[pl.DataFrame], step: str, stage: Compare
) -> tuple[list[pl.DataFrame], list[pl.DataFrame], int]:
    if not shards:
        return [], [], 0
    starts = [0, *accumulate(shard.height for shard in shards)]
    summaries = pl.concat([summarise(shard, kind, stage, first) for shard, first in zip(shards, starts, strict=False)])
    made = Choice.of(stage.choose(summaries, _fetch_from(kind, shards, starts)))
    choice = checked_choice(made.rows, step, starts[-1])
    kept, gone, changed = [], [], 0
    for shard, first in zip(shards, starts, strict=False):
        ordinal = pl.int_range(first, first + shard.height, dtype=pl.Int64).alias("ordinal")
        numbered = shard.with_columns(ordinal)
        if made.cuts is not None:
            numbered, some = cut_out(numbered, kind, made.cuts)
            changed += some
        left, marked = dropped_by(numbered, step, choice)
        kept.append(left)
        gone.append(marked.select(*dropped_columns(kind)))
    return kept, gone, changed


def checked_choice(choice: pl.DataFrame, step: str, rows: int) -> pl.DataFrame:
    """A Compare's choice with its columns as they must be: each row at most once, each with a reason.

    Raises ValueError where a stage breaks that promise.
    """
    choice = choice.select(pl.col(name).cast(dtype) for name, dtype in CHOICE.items())
    ordinals = choice["ordinal"]
    if choice["reason"].null_count() or ordinals.null_count():
        raise ValueError(f"{step} chose rows without a reason")
    if ordinals.n_unique() != len(ordinals):
        raise ValueError(f"{step} chose the same row twice")
    if len(ordinals) and not ordinals.is_between(0, rows - 1).all():
        raise ValueError(f"{step} chose rows that do not exist")
    return choice


def _fetch_from(kind: str, shards: Sequence[pl.DataFrame], starts: Sequence[int]) -> Fetch:
    def fetch(ordinals: Sequence[int], names: Sequence[str]) -> pl.DataFrame:
        wanted = pl.DataFrame({"ordinal": pl.Series(ordinals, dtype=pl.Int64)})
        parts = []
        for shard, first in zip(shards, starts, strict=False):
            inside = wanted.filter(pl.col("ordinal").is_between(first, first + shard.height - 1)).to_series()
            rows = shard[(inside - first).to_list()]
            full = with_fields(rows, kind, [pl.col(name) for name in names])
            parts.append(full.select(inside, *(pl.col(name) for name in names)))
        found = pl.concat(parts).unique("ordinal")
        return wanted.join(found, on="ordinal", how="left", maintain_order="left")

    return fetch
