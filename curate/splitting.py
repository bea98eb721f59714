"""Cutting a dataset into train, validation and test so that nothing leaks: near duplicates stay on one side."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import polars as pl

from curate.importing import Made, finding
from curate.marks import with_fields
from curate.near import Comparison, entries_from
from curate.recipe import open_inputs
from curate.running import link
from curate.stage import FIELD_PREFIX
from schemas.chat import FIELDS, Field
from schemas.console import progress
from schemas.dataset import Dataset, DatasetWriter, Told, open_dataset
from schemas.errors import UserError, nearest
from schemas.manifest import InputFile, StepCount, fingerprint, library_versions
from schemas.run import AlreadyDone, Run, run_into

VERSION = 1
"""Raised whenever the same rows and settings are split otherwise than before."""

By = Literal["cluster", "source", "time"]
TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)

_LIBRARIES = ("assay", "polars", "numba")


@dataclass(frozen=True)
class Split:
    """How a dataset is cut."""

    validation: float = 0.05
    """Share of the rows that validation should have, 0 to 1."""
    test: float = 0.05
    by: By = "cluster"
    """cluster: chance; source: whole sources; time: the newest rows are held out, by the key `when` of `extra`."""
    when: str | None = None
    on: tuple[Field, ...] = ("conversation",)
    """Fields whose near duplicates must not be on both sides."""
    threshold: float = 0.8
    seed: int = 0

    def checked(self) -> Split:
        """These settings, or UserError with what is wrong."""
        if not (0 <= self.validation < 1 and 0 <= self.test < 1 and 0 < self.validation + self.test < 1):
            raise UserError(
                f"validation {self.validation:g} and test {self.test:g} must be shares of the rows that leave some",
                hint="for example --validation 0.05 --test 0.05",
            )
        if (self.by == "time") != (self.when is not None):
            raise UserError(
                "`--by time` and `--when KEY` go together",
                hint="KEY is a key of `extra` that holds a date: `curate show DATASET`",
            )
        return self


def split_from(*, by: str, on: Sequence[str] | None, **given: Any) -> Split:
    """How to split, from what a person wrote. Raises UserError."""
    if by not in get_args(By):
        raise UserError(f"--by {by!r} is none of {', '.join(get_args(By))}", hint=nearest(by, get_args(By)))
    for one in on or ():
        if one not in FIELDS:
            raise UserError(f"--on {one!r} is no field", hint=nearest(one, FIELDS))
    if not 0.3 <= given["threshold"] <= 1:
        raise UserError(f"--threshold {given['threshold']:g} is not between 0.3 and 1", hint="0.8 is usual")
    fields: Any = tuple(on) if on else ("conversation",)
    return Split(by=cast(By, by), on=fields, **given).checked()


def split_dataset(path: Path, out: Path, how: Split, *, replace: bool = False) -> Made:
    """Write the dataset again with its `split` column filled. Raises UserError where there is nothing to hold out."""
    how = how.checked()
    (dataset,) = open_inputs([path])
    settings = {**how.__dict__, "on": list(how.on)}
    parts = {"command": "split", "version": VERSION, "settings": settings, "input": dataset.manifest.digest}
    mark = fingerprint(parts)
    try:
        with run_into(out, mark, replace=replace) as run:
            run.clear()
            _carry_out(dataset, how, settings, run, mark)
            run.publish()
    except AlreadyDone:
        return Made([open_dataset(out)], already=True)
    return Made([open_dataset(out)])


def _carry_out(dataset: Dataset, how: Split, settings: dict[str, Any], run: Run, mark: str) -> None:
    began = time.monotonic()
    with progress("split", 2 * dataset.rows) as shown:
        found = _looked_at(dataset, how, lambda rows: shown.at(rows, rows, "compare"))
        comparison = Comparison(threshold=how.threshold)
        entries = entries_from(found["compared"])
        clusters = comparison.components(entries)
        splits, moved = assign(found, clusters, how)
        leaks = leaking(comparison, entries, splits)
        if leaks:
            raise AssertionError(f"{leaks} rows that are held out are near duplicates of rows to train on")
        writer = DatasetWriter(run.folder, dataset.kind)
        try:
            first = 0
            for frame in dataset.batches():
                column = splits[first : first + frame.height].alias("split")
                writer.add(frame.with_columns(column))
                first += frame.height
                shown.at(dataset.rows + first, dataset.rows + first, "write")
            writer.close()
        except BaseException:
            writer.abandon()
            raise
    counted = {name: int((splits == name).sum()) for name in SPLITS}
    changed = int((found["split"].fill_null("") != splits).sum())
    manifest: dict[str, Any] = {
        "command": "split",
        "name": f"{dataset.manifest.name}",
        "fingerprint": mark,
        "sources": dataset.manifest.sources,
        "inputs": [
            InputFile(path=str(dataset.folder), fingerprint=dataset.manifest.fingerprint, rows=dataset.rows),
        ],
        "recipe": {"split": settings, "rows": counted, "clusters": len(np.unique(clusters)), "leaks": leaks},
        "steps": [StepCount(step="split", use="split", rows_in=dataset.rows, edited=changed)],
        "chain": [*dataset.manifest.chain, link(dataset.manifest)],
        "findings": _findings(counted, moved, how, dataset.rows),
        "versions": library_versions(_LIBRARIES),
        "seconds": {"split": round(time.monotonic() - began, 3)},
    }
    writer.finish(Told(dataset.rows, manifest))


def _looked_at(dataset: Dataset, how: Split, tell: Callable[[int], None]) -> pl.DataFrame:
    """`id`, `source`, `split`, `when` and what rows are compared by, of every row."""
    comparison = Comparison(threshold=how.threshold)
    names = [FIELD_PREFIX + one for one in how.on]
    when = pl.col("extra").str.json_path_match(f"$['{how.when}']") if how.when else pl.lit(None, dtype=pl.String)
    found, rows = [], 0
    for frame in dataset.batches():
        full = with_fields(frame, dataset.kind, [pl.col(name) for name in names])
        text = full.select(pl.concat_str(names, separator="\n", ignore_nulls=True)).to_series()
        compared = comparison.summary(text).alias("compared")
        found.append(full.select("id", "source", "split", when.alias("when"), compared))
        rows += frame.height
        tell(rows)
    whole = pl.concat(found)
    if how.when and whole["when"].null_count() == whole.height:
        raise UserError(f"no row has {how.when!r} in `extra`", hint=f"see what rows hold: curate show {dataset.folder}")
    return whole


def assign(rows: pl.DataFrame, clusters: np.ndarray[Any, np.dtype[np.int64]], how: Split) -> tuple[pl.Series, int]:
    """The split of each row, no cluster on two sides; and how many rows went to train because their cluster was on
    several. `rows` has `id`, `source` and `when`; `clusters` says whose cluster each is in."""
    units = pl.DataFrame(
        {"place": np.arange(rows.height), "cluster": clusters, "id": rows["id"], "source": rows["source"]}
    )
    units = units.with_columns(rows["when"].alias("when"))
    if how.by == "source":
        return _by_source(units, how)
    groups = units.group_by("cluster").agg(pl.len().alias("rows"), pl.col("id").min(), pl.col("when").max())
    if how.by == "time":  # the newest first; rows without a date are oldest
        ordered = groups.sort("when", "id", descending=[True, False], nulls_last=True)
    else:
        ordered = _shuffled(groups, "id", how.seed)
    taken = _taken(ordered["rows"].to_list(), rows.height, how)
    by_cluster = dict(zip(ordered["cluster"].to_list(), taken, strict=True))
    return pl.Series("split", [by_cluster[one] for one in clusters.tolist()], dtype=pl.String), 0


def _by_source(units: pl.DataFrame, how: Split) -> tuple[pl.Series, int]:
    groups = _shuffled(units.group_by("source").agg(pl.len().alias("rows")), "source", how.seed)
    taken = _taken(groups["rows"].to_list(), units.height, how)
    by_source = dict(zip(groups["source"].to_list(), taken, strict=True))
    if set(by_source.values()) == {TRAIN}:
        sizes = ", ".join(f"{name} {rows:,}" for name, rows in groups.select("source", "rows").iter_rows())
        raise UserError(
            f"no source is small enough to be held out: {sizes}",
            hint="ask for larger shares with --validation and --test, or split by cluster",
        )
    told = units.with_columns(pl.col("source").replace_strict(by_source).alias("split"))
    mixed = pl.col("split").n_unique().over("cluster") > 1
    moved = told.select((mixed & (pl.col("split") != TRAIN)).sum()).item()
    return told.select(pl.when(mixed).then(pl.lit(TRAIN)).otherwise("split").alias("split")).to_series(), int(moved)


def _shuffled(groups: pl.DataFrame, key: str, seed: int) -> pl.DataFrame:
    """The groups in an order that chance, the seed and their names decide, and not their order."""
    chance = [hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in groups[key].to_list()]
    return groups.with_columns(pl.Series("chance", chance, dtype=pl.Binary)).sort("chance").drop("chance")


def _taken(sizes: Sequence[int], total: int, how: Split) -> list[str]:
    """The split of each group in order: test is filled first, then validation; a group that would overfill one by more
    than a tenth of it is trained on."""
    wanted = {TEST: how.test * total, VALIDATION: how.validation * total}
    filled = dict.fromkeys(wanted, 0)
    found = []
    for size in sizes:
        fits = [name for name, most in wanted.items() if filled[name] < most and filled[name] + size <= most * 1.1 + 1]
        name = fits[0] if fits else TRAIN
        if fits:
            filled[name] += size
        found.append(name)
    return found


def leaking(comparison: Comparison, entries: Any, splits: pl.Series) -> int:
    """How many rows that are held out are near duplicates of a row of another split; searched for anew."""
    rows = {name: np.flatnonzero((splits == name).to_numpy()) for name in SPLITS}
    found = 0
    for known, asked in ((TRAIN, VALIDATION), (TRAIN, TEST), (VALIDATION, TEST)):
        if len(rows[known]) and len(rows[asked]):
            matches = comparison.nearest(entries, rows[known], rows[asked])
            found += int((matches.kept[rows[asked]] >= 0).sum())
    return found


def _findings(counted: dict[str, int], moved: int, how: Split, total: int) -> list[dict[str, Any]]:
    findings = []
    for name, share in ((VALIDATION, how.validation), (TEST, how.test)):
        if counted[name] < 0.5 * share * total:
            fix = "clusters or sources are too large to be held out whole: raise --threshold, or split otherwise"
            findings.append(finding("small_split", "medium", counted[name], f"{name}: wanted {share:.0%} of rows", fix))
    if moved:
        fix = "they were nearly the same as rows of sources that are trained on, and would have leaked"
        findings.append(finding("moved_to_train", "low", moved, f"{moved:,} rows of held-out sources", fix))
    return findings
