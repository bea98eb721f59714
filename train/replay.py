"""General data mixed into the rows, so that what the model could before is not forgotten (rehearsal: Robins 1995; for
language models Scialom et al. 2022, arXiv 2205.12393).

A share is one of tokens: rows of one dataset may be ten times as long as those of another. Rows are taken by chance, as
the seed says, each at most once, and none that is held out. Those that the replayed dataset itself holds out are never
trained on: their loss before and after says what was forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from schemas.dataset import open_dataset
from schemas.errors import UserError
from train.data import TokenRows, gathered
from train.reading import Material, Part, open_material
from train.recipe import Training, share_of

FIRST_LOOK = 512
"""Rows that are turned into tokens at first; each further look takes twice as many."""

NO_ROWS = gathered([])
HELD_OUT_ROWS = 200
"""Of those that a replayed dataset holds out, as many are looked at: their loss is to show a direction."""


@dataclass(frozen=True)
class Replayed:
    """A dataset that is replayed."""

    path: str
    share: float
    """Of all tokens that are trained on."""
    material: Material

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.material.datasets[0].manifest.name or Path(self.path).name


def open_replay(settings: Training, kind: str) -> list[Replayed]:
    """The datasets that a recipe replays, and that may be: their sources' terms are checked as those of the data.
    Raises UserError."""
    found = []
    for path, share in map(share_of, settings.replay):
        if Path(path).resolve() in {Path(one).resolve() for one in settings.data}:
            raise UserError(f"{path} is trained on already: there is nothing to replay of it", hint="name general data")
        material = open_material(
            [path],
            kind,
            allow=settings.allow,
            validation=settings.validation,
            seed=settings.seed,
            elsewhere=frozenset(settings.allow),
        )
        found.append(Replayed(path, share, material))
        if found[-1].name in {one.name for one in found[:-1]}:
            raise UserError(f"two replayed datasets are called {found[-1].name!r}", hint="give one another name")
    return found


def sources_of(settings: Training) -> frozenset[str]:
    """Names of the sources of what a recipe replays."""
    return frozenset(
        name for path, _ in map(share_of, settings.replay) for name in open_dataset(Path(path)).manifest.sources
    )


def chosen(
    one: Replayed, tokens: int, encode: Callable[[Iterator[dict[str, Any]]], Iterator[Any]], held_out: frozenset[bytes]
) -> list[Any]:
    """Encoded rows of a dataset with so many tokens together, in an order by chance; fewer if it has no more. Rows
    whose digest is in `held_out` are left out."""
    from train.reference import digests

    order = _in_order(one)
    found: list[Any] = []
    first, many, sum_ = 0, FIRST_LOOK, 0
    while first < len(order) and sum_ < tokens:
        wanted = order[first : first + many]
        first, many = first + many, 2 * many
        place = {row: number for number, row in enumerate(wanted)}
        rows = sorted(_rows(one, "train", wanted), key=lambda row: place[row["id"]])
        for encoded in encode(iter(rows)):
            if sum_ >= tokens:
                break
            if held_out.isdisjoint(digests(_as_rows(encoded))):
                found.append(encoded)
                sum_ += length_of(encoded)
    return found


def held_out_rows(one: Replayed) -> list[dict[str, Any]]:
    """Some of the rows that a replayed dataset holds out, by chance."""
    order = _in_order(one, "validation")[:HELD_OUT_ROWS]
    return _rows(one, "validation", order)


def length_of(encoded: Any) -> int:
    """Tokens of a row, or of both sides of a pair."""
    return len(encoded.ids) if hasattr(encoded, "ids") else len(encoded.chosen.ids) + len(encoded.rejected.ids)


def _as_rows(encoded: Any) -> TokenRows:
    """One row, or both sides of a pair, as rows."""
    sides = [encoded] if hasattr(encoded, "ids") else [encoded.chosen, encoded.rejected]
    lengths = [0, *np.cumsum([len(side.ids) for side in sides]).tolist()]
    return TokenRows(
        np.concatenate([side.ids for side in sides]),
        np.concatenate([side.weights for side in sides]),
        np.asarray(lengths, dtype=np.int64),
        [side.id for side in sides],
        [side.task for side in sides],
    )


def _in_order(one: Replayed, part: Part = "train") -> list[str]:
    """The ids of a part's rows in an order by chance, the same on every machine."""
    ids = [str(name) for frame in one.material.frames(part, ["id", "split"]) for name in frame["id"]]
    return sorted(ids, key=lambda name: hashlib.sha256(f"{one.material.seed}\x1d{name}".encode()).digest())


def _rows(one: Replayed, part: Part, ids: Sequence[str]) -> list[dict[str, Any]]:
    wanted = pl.Series(ids, dtype=pl.String)
    return [
        row
        for frame in one.material.frames(part)
        for row in frame.filter(pl.col("id").is_in(wanted.implode())).iter_rows(named=True)
    ]


def warning_of(one: Replayed, rows: int, tokens: int, wanted: int) -> str | None:
    """What is to be said where a dataset has too little to replay."""
    if tokens >= 0.98 * wanted:
        return None
    return (
        f"all {rows:,} rows of {one.path} are replayed, and their {tokens:,} tokens are less than the share of "
        f"{one.share:g} that is asked for ({wanted:,}): no row is taken twice"
    )


def losses_of(replayed: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is reported of each replayed dataset, with its loss on what it holds out before the first step and after the
    last look."""
    found = []
    for one in replayed:
        key = f"eval_replay_{one['name']}"
        seen = [record[key] for record in log if key in record]
        found.append({**one, "loss": {"first": seen[0], "last": seen[-1]} if seen else None})
    return found
