"""Carrying out stages on one frame of rows (pure): who is kept, who is marked and why, what was rewritten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from curate.arrays import lists
from curate.stage import FIELD_PREFIX, Compare, Edit, Edited, Filter, Stage
from schemas.chat import field as field_expression
from schemas.chat import rewrite
from schemas.errors import UserError
from schemas.rows import columns, content_columns, content_digest

MARK_COLUMNS = ("stage", "reason", "because")
"""Columns that a dropped row has besides its own, all String: the step's name, why, and what was found."""


@dataclass(frozen=True)
class Step:
    """A stage with the name it has in its recipe (`length`, or `length-2` where a recipe uses it twice)."""

    name: str
    stage: Stage


@dataclass
class Marked:
    """What stages made of a frame of rows."""

    kept: pl.DataFrame
    dropped: list[pl.DataFrame] = field(default_factory=list)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(step, reason) to rows dropped."""
    edited: Counter[str] = field(default_factory=Counter)
    """step to rows changed."""
    noted: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """step to what it needs to tell."""


def dropped_columns(kind: str) -> dict[str, pl.DataType]:
    """Columns of a frame of dropped rows: the kind's own and the marks."""
    return columns(kind) | {name: pl.String() for name in MARK_COLUMNS}


def with_fields(frame: pl.DataFrame, kind: str, expressions: Iterable[pl.Expr]) -> pl.DataFrame:
    """`frame` with the `field:` columns that the expressions refer to."""
    roots = {root for expression in expressions for root in expression.meta.root_names()}
    missing = sorted(root for root in roots if root.startswith(FIELD_PREFIX) and root not in frame.columns)
    return frame.with_columns(field_expression(kind, name.removeprefix(FIELD_PREFIX)).alias(name) for name in missing)


def without_fields(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` without the `field:` columns."""
    return frame.drop(name for name in frame.columns if name.startswith(FIELD_PREFIX))


def mark(frame: pl.DataFrame, kind: str, steps: Sequence[Step]) -> Marked:
    """Carry out Filters and Edits in order on `frame` (the kind's canonical columns, any number of rows)."""
    result = Marked(frame)
    for step in steps:
        try:
            _carry_out(result, kind, step)
        except UserError:
            raise
        except Exception as error:
            raise _blamed(error, result.kept, step.name, partial(_carried_out, kind=kind, step=step)) from error
    result.kept = without_fields(result.kept)
    return result


def _carried_out(frame: pl.DataFrame, kind: str, step: Step) -> None:
    _carry_out(Marked(frame), kind, step)


def _carry_out(result: Marked, kind: str, step: Step) -> None:
    if isinstance(step.stage, Filter):
        result.kept, dropped = _filter(result.kept, kind, step.name, step.stage)
        if not dropped.is_empty():
            result.dropped.append(dropped)
            for reason, count in dropped.group_by("reason").len().iter_rows():
                result.reasons[step.name, reason] += count
    elif isinstance(step.stage, Edit):
        result.kept = without_fields(result.kept)
        whole = step.stage.rows(result.kept, kind)
        if whole is not None:
            _take(result, kind, step.name, whole)
            return
        result.kept, changed = _edit(result.kept, kind, step.stage)
        if changed:
            result.edited[step.name] += changed
    else:
        raise TypeError(f"{step.name} is neither a Filter nor an Edit")


def summarise(frame: pl.DataFrame, kind: str, stage: Compare, first_ordinal: int, name: str = "") -> pl.DataFrame:
    """`ordinal`, `id` and the stage's summary of each row of `frame`; ordinals count from `first_ordinal`.

    Raises UserError naming the step `name` and a row on which it fails.
    """
    try:
        return _summarise(frame, kind, stage, first_ordinal)
    except UserError:
        raise
    except Exception as error:
        again = partial(_summarise, kind=kind, stage=stage, first_ordinal=first_ordinal)
        raise _blamed(error, frame, name or type(stage).__name__, again) from error


def _summarise(frame: pl.DataFrame, kind: str, stage: Compare, first_ordinal: int) -> pl.DataFrame:
    expressions = stage.summary()
    full = with_fields(frame, kind, expressions.values())
    ordinal = pl.int_range(first_ordinal, first_ordinal + frame.height, dtype=pl.Int64).alias("ordinal")
    return full.lazy().select(ordinal, "id", **expressions).collect()


def dropped_by(frame: pl.DataFrame, step: str, choice: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`frame` (with `ordinal`) split into kept and dropped rows by a Compare's choice."""
    joined = frame.join(choice, on="ordinal", how="left", maintain_order="left").drop("ordinal")
    gone = joined.filter(pl.col("reason").is_not_null()).with_columns(pl.lit(step).alias("stage"))
    kept = joined.filter(pl.col("reason").is_null()).drop("reason", "because")
    return kept, gone.select(*kept.columns, *MARK_COLUMNS)


def _filter(frame: pl.DataFrame, kind: str, name: str, stage: Filter) -> tuple[pl.DataFrame, pl.DataFrame]:
    reasons, because = stage.reasons(), stage.because()
    if not reasons:
        return frame, frame.clear()
    full = with_fields(frame, kind, [*reasons.values(), *because.values()])
    verdict = pl.coalesce(pl.when(true).then(pl.lit(reason)) for reason, true in reasons.items())
    # Lazily, because only then does polars work out just once what several reasons have in common.
    full = full.lazy().with_columns(verdict.alias("reason")).collect()
    gone = full.filter(pl.col("reason").is_not_null())
    if gone.is_empty():
        return full.drop("reason"), gone
    explained: list[pl.Expr] = [pl.lit(None, dtype=pl.String)]
    explained += [pl.when(pl.col("reason") == why).then(found.cast(pl.String)) for why, found in because.items()]
    gone = gone.lazy().with_columns(pl.lit(name).alias("stage"), pl.coalesce(explained).alias("because")).collect()
    return full.filter(pl.col("reason").is_null()).drop("reason"), gone.select(list(dropped_columns(kind)))


def _edit(frame: pl.DataFrame, kind: str, stage: Edit) -> tuple[pl.DataFrame, int]:
    new: dict[str, pl.Expr | pl.Series] = dict(stage.columns())
    if stage.texts(pl.lit("")) is not None:
        touched = rewrite(kind, lambda text: text)
        new |= {name: _rewritten(frame[name], lambda text: _not_none(stage.texts(text))) for name in touched}
    own = columns(kind)
    unknown = sorted(set(new) - set(own))
    if unknown:
        raise UserError(
            f"a {kind} row has no column {unknown[0]!r}", hint=f"columns an Edit may fill: {', '.join(sorted(own))}"
        )
    before = with_fields(frame, kind, [value for value in new.values() if isinstance(value, pl.Expr)])
    values = [value.cast(own[name]).alias(name) for name, value in new.items()]
    after = before.lazy().with_columns(values).collect()
    after, differs = rehashed(before, after, list(new), kind)
    return after, int(differs.sum())


def rehashed(
    before: pl.DataFrame, after: pl.DataFrame, names: Sequence[str], kind: str
) -> tuple[pl.DataFrame, pl.Series]:
    """`after` with the content hash of each row that differs from `before` in one of the columns `names`; and which
    rows those are."""
    differs = (
        pl.DataFrame({name: after[name].ne_missing(before[name]) for name in names})
        .select(pl.any_horizontal(pl.all()))
        .to_series()
    )
    if differs.any() and set(names) & set(content_columns(kind)):
        after = without_fields(after)
        hashes = content_hashes(after.filter(differs), kind)
        places = (differs.cast(pl.Int64).cum_sum() - 1).clip(0, len(hashes) - 1)
        spread = pl.Series(hashes, dtype=pl.String).gather(places)
        new_hash = pl.when(differs).then(spread).otherwise(pl.col("content_hash"))
        after = after.with_columns(new_hash.alias("content_hash"))
    return after, differs


def _take(result: Marked, kind: str, name: str, edited: Edited) -> None:
    """Take over what an Edit made of the rows."""
    if edited.noted is not None:
        result.noted.setdefault(name, []).append(edited.noted)
    if edited.rows is result.kept and edited.drop is None:
        return
    after, differs = rehashed(result.kept, edited.rows, list(columns(kind)), kind)
    if edited.drop is not None and edited.drop.height:
        numbered = after.with_columns(pl.int_range(after.height, dtype=pl.Int64).alias("ordinal"))
        stays = ~numbered["ordinal"].is_in(edited.drop["place"].cast(pl.Int64).implode())
        after, gone = dropped_by(numbered, name, edited.drop.rename({"place": "ordinal"}).cast({"ordinal": pl.Int64}))
        differs = differs.filter(stays)
        result.dropped.append(gone.select(list(dropped_columns(kind))))
        for reason, count in gone.group_by("reason").len().iter_rows():
            result.reasons[name, reason] += count
    result.kept = after
    if differs.any():
        result.edited[name] += int(differs.sum())


def _rewritten(series: pl.Series, change: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """`series` with `change` applied to every text that people or models wrote, however deeply it lies.

    The texts of all rows are laid end to end first: inside `list.eval` polars calls a batch function once for each row
    (75 µs a call), here it is called once for the frame.
    """
    if isinstance(series.dtype, pl.List):
        flat = _rewritten(series.explode(empty_as_null=False, keep_nulls=False), change)
        offsets = np.zeros(len(series) + 1, dtype=np.int64)
        np.cumsum(series.list.len().fill_null(0).to_numpy(), out=offsets[1:])
        null = series.is_null() if series.null_count() else None
        rewritten = pl.from_arrow(lists(offsets, flat.to_arrow(compat_level=pl.CompatLevel.newest()), null))
        assert isinstance(rewritten, pl.Series)
        return rewritten.alias(series.name)
    if isinstance(series.dtype, pl.Struct):
        parts = series.struct.unnest()
        texts = [name for name in ("content", "reasoning", "messages") if name in parts.columns]
        return parts.with_columns(_rewritten(parts[name], change) for name in texts).to_struct(series.name)
    return series.to_frame("text").select(change(pl.col("text")).alias(series.name)).to_series()


def _not_none(value: pl.Expr | None) -> pl.Expr:
    assert value is not None
    return value


def content_hashes(frame: pl.DataFrame, kind: str) -> list[str]:
    """Content hash of each row of `frame`: 32 hexadecimal digits."""
    return [content_digest(row).hex() for row in frame.select(content_columns(kind)).iter_rows(named=True)]


def _blamed(error: Exception, frame: pl.DataFrame, name: str, again: Callable[[pl.DataFrame], object]) -> UserError:
    """The error as a sentence naming the first row on which a step fails, found by doing it `again` on halves."""
    while frame.height > 1:
        half = frame.head(frame.height // 2)
        try:
            again(half)
            frame = frame.tail(frame.height - half.height)
        except Exception:  # any failure means the row is in this half
            frame = half
    row = frame["id"][0] if frame.height else "(no row)"
    said = str(error).splitlines()[0] if str(error) else ""
    return UserError(
        f"stage {name!r} failed on row {row}: {type(error).__name__}: {said}",
        hint="nothing was written; mend the stage, or leave such rows out with a stage before it",
    )
