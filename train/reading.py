"""What is trained on: datasets of the right kind, sources that allow it, and the rows that are held out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from schemas.dataset import Dataset, datasets_in, open_dataset
from schemas.errors import UserError, UserErrors, raise_all
from schemas.sources import Source

Part = Literal["train", "validation"]

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Material:
    """Datasets to train on, and how their rows are divided."""

    datasets: list[Dataset]
    sources: dict[str, Source]
    rows_by_source: dict[str, int]
    split_by: Literal["column", "prompt", "nothing"]
    """column: `curate split` said which rows are held out; prompt: chance did; nothing: none are."""
    allowed: list[str] = field(default_factory=list)
    """Sources that deny training and were allowed by name."""
    warnings: list[str] = field(default_factory=list)
    held_out: frozenset[str] = frozenset()
    """Ids of rows that chance held out."""
    seed: int = 0
    """What chance is seeded with."""

    def rows(self, part: Part) -> Iterator[dict[str, Any]]:
        """The rows of a part in order, as dicts. Rows of the test split are in none."""
        for frame in self.frames(part):
            yield from frame.iter_rows(named=True)

    def frames(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows of a part in order. Of `columns`, id and split have to be among them."""
        for dataset in self.datasets:
            for frame in dataset.batches(columns):
                yield self._of(frame, part)

    def _of(self, frame: pl.DataFrame, part: Part) -> pl.DataFrame:
        split = pl.col("split").fill_null("train")
        if part == "validation" and self.split_by == "column":
            return frame.filter(split == "validation")
        frame = frame.filter(~split.is_in(HELD_OUT))
        if self.split_by != "prompt":
            return frame if part == "train" else frame.clear()
        held = pl.col("id").is_in(list(self.held_out))
        return frame.filter(held if part == "validation" else ~held)


def open_material(
    paths: Sequence[str],
    kind: str,
    *,
    allow: Sequence[str],
    validation: float,
    seed: int,
    elsewhere: frozenset[str] = frozenset(),
) -> Material:
    """The datasets at some paths, checked. `validation`: share of prompts that is held out by chance where no row says
    which split it is of. `elsewhere`: sources of other data of the run, which `allow` may name too. Raises UserError
    with every mistake."""
    datasets, errors = [], []
    for path in paths:
        try:
            datasets.append(_open(Path(path), kind))
        except UserError as error:
            errors.append(error)
    raise_all(errors)
    sources: dict[str, Source] = {}
    rows: dict[str, int] = {}
    for dataset in datasets:
        for name, source in dataset.manifest.sources.items():
            if name in sources and sources[name].training != source.training:
                strictest = min(sources[name], source, key=lambda one: _ORDER.index(one.training))
                sources[name] = strictest
            else:
                sources.setdefault(name, source)
        for name, count in dataset.manifest.rows_by_source.items():
            rows[name] = rows.get(name, 0) + count
    allowed, warnings = _permitted(sources, rows, allow, elsewhere)
    split_by, held_out, more = _divided(datasets, validation, seed)
    return Material(datasets, sources, rows, split_by, allowed, warnings + more, held_out, seed)


_ORDER = ("denied", "unknown", "conditional", "allowed")


def _open(path: Path, kind: str) -> Dataset:
    if path.is_file():
        raise UserError(f"{path} is a file, not a dataset", hint=f"import it first: curate import {path} --out DIR")
    if path.is_dir() and not datasets_in(path):
        raise UserError(f"{path} is no dataset", hint=f"import it first: curate import {path} --out DIR")
    dataset = open_dataset(path)
    if dataset.kind != kind:
        hint = {
            ("chat", "preference"): "train dpo learns from preferences",
            ("preference", "chat"): "train sft learns from conversations",
            ("chat", "text"): "train pretrain learns from plain text",
            (
                "preference",
                "candidates",
            ): "several answers are no pair yet: let people say which is better (review push, "
            "review export --to preference)",
        }.get((kind, dataset.kind), "see what it holds: curate show")
        raise UserError(f"{path} holds rows of kind {dataset.kind}, and rows of kind {kind} are needed", hint=hint)
    if not dataset.rows:
        raise UserError(f"{path} has no rows", hint="see its report for why")
    return dataset


def _permitted(
    sources: dict[str, Source], rows: dict[str, int], allow: Sequence[str], elsewhere: frozenset[str]
) -> tuple[list[str], list[str]]:
    """Sources allowed by name although they deny it, and warnings. Raises UserError for those that deny it."""
    used = {name: source for name, source in sources.items() if rows.get(name)}
    unknown = sorted(set(allow) - used.keys() - elsewhere)
    if unknown:
        from schemas.errors import nearest

        raise UserError(f"--allow {unknown[0]!r}: there is no such source", hint=nearest(unknown[0], used))
    denied = [name for name, source in used.items() if source.training == "denied"]
    refused = [name for name in denied if name not in allow]
    if refused:
        raise UserErrors(
            [
                UserError(
                    f"the source {name!r} ({rows[name]:,} rows) may not be trained on",
                    hint=f"leave it out (curate mix), or --allow {name} if you may; the model's card will say so",
                )
                for name in refused
            ]
        )
    warnings = []
    for said, words in (
        ("unknown", "nobody has said whether models may be trained on"),
        ("conditional", "conditions are set for training models on"),
    ):
        of = [name for name, source in used.items() if source.training == said]
        if of:
            more = f" and {len(of) - 3} more sources" if len(of) > 3 else ""
            warnings.append(f"{words} {', '.join(of[:3])}{more}")
    return [name for name in denied if name in allow], warnings


def _divided(
    datasets: Sequence[Dataset], validation: float, seed: int
) -> tuple[Literal["column", "prompt", "nothing"], frozenset[str], list[str]]:
    """How the rows are divided, the ids that chance held out, and warnings."""
    splits = {
        str(one) for dataset in datasets for frame in dataset.batches(["split"]) for one in frame["split"].unique()
    }
    if "validation" in splits:
        return "column", frozenset(), []
    if validation == 0:
        return "nothing", frozenset(), []
    groups: dict[str, list[str]] = {}
    for dataset in datasets:
        names = ["id", "split", *(["messages"] if dataset.kind == "chat" else ["prompt"])]
        for frame in dataset.batches(names):
            for row in frame.filter(~pl.col("split").fill_null("train").is_in(HELD_OUT)).iter_rows(named=True):
                groups.setdefault(_prompt_hash(row, seed), []).append(row["id"])
    wanted = math.ceil(validation * sum(len(ids) for ids in groups.values()))
    if len(groups) < 2:
        return "nothing", frozenset(), ["every row has the same prompt: none is held out for validation"]
    held: list[str] = []
    for _, ids in sorted(groups.items()):
        if len(held) >= wanted or len(held) + len(ids) > 2 * wanted:
            continue
        held += ids
    if not held:
        return "nothing", frozenset(), ["no prompt is rare enough to be held out for validation"]
    warning = (
        f"no row says which split it is of: {len(held):,} rows were held out by their prompts; "
        "`curate split` also keeps near duplicates of training rows out of validation"
    )
    return "prompt", frozenset(held), [warning]


def _prompt_hash(row: dict[str, Any], seed: int) -> str:
    """Equal for rows with the same turns before the last answer."""
    turns = row.get("prompt") or row.get("messages") or []
    if "messages" in row:
        last = max((place for place, one in enumerate(turns) if one["role"] == "assistant"), default=0)
        turns = turns[:last]
    said = "\x1e".join(f"{one['role']}\x1f{one['content'] or ''}" for one in turns)
    return hashlib.sha256(f"{seed}\x1d{said}".encode()).hexdigest()
