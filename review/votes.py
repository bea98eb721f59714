"""Labels as votes: what each person said about each thing, in terms of the row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from review.forms import FORMS, Form
from schemas.dataset import Dataset, open_dataset
from schemas.errors import UserError


class Unit(NamedTuple):
    """What is voted on: a row as it was, and which of its answers."""

    row_id: str
    row_hash: str
    answers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's answer to one question about a unit."""

    unit: Unit
    person: str
    value: Any
    shown: tuple[int, ...]
    chars: tuple[int, ...]
    asked: str
    gold: Any
    """The right value; None where it is not known."""
    repeat: bool
    round: int
    seconds: float | None
    task: str | None
    lang: str | None
    again: int = 0
    """How often it was asked before, because there was no majority."""


@dataclass(frozen=True)
class Reviewed:
    """A dataset of labels, read."""

    labels: Dataset
    form: Form
    votes: dict[str, list[Vote]]
    """Question to votes, in the dataset's order."""

    @property
    def recipe(self) -> dict[str, Any]:
        """What the labels' manifest says about the review."""
        return self.labels.manifest.recipe

    def deciding(self) -> list[Vote]:
        """Each person's first vote on each unit, to the question that decides."""
        return firsts(self.votes.get(self.form.decides.name, ()))


def firsts(votes: Iterable[Vote]) -> list[Vote]:
    """Each person's first vote on each unit: what is said again tells of the person, not of the row."""
    found: dict[tuple[Unit, str], Vote] = {}
    for vote in votes:
        key = (vote.unit, vote.person)
        old = found.get(key)
        if old is None or (vote.round, vote.repeat) < (old.round, old.repeat):
            found[key] = vote
    return list(found.values())


def read_votes(folder: Path) -> Reviewed:
    """The votes in a dataset of labels. Raises UserError when `review pull` did not write it."""
    labels = open_dataset(folder)
    form = FORMS.get(str(labels.manifest.recipe.get("form")))
    if labels.kind != "label" or form is None:
        raise UserError(f"{folder} holds no labels of a review", hint="pull some: review pull NAME --out DIR")
    votes: dict[str, list[Vote]] = {}
    wanted = ["row_id", "row_hash", "question", "value", "rater", "seconds", "shown", "round", "extra", "task", "lang"]
    for frame in labels.batches(wanted):
        for row in frame.iter_rows(named=True):
            shown = tuple(orjson.loads(row["shown"])) if row["shown"] else ()
            extra = orjson.loads(row["extra"])
            vote = Vote(
                Unit(row["row_id"], row["row_hash"], tuple(sorted(shown))),
                row["rater"],
                orjson.loads(row["value"]),
                shown,
                tuple(extra["chars"]),
                extra["asked"],
                orjson.loads(extra["gold"]) if extra.get("gold") else None,
                bool(extra.get("repeat")),
                row["round"] or 1,
                row["seconds"],
                row["task"],
                row["lang"],
                extra.get("again", 0),
            )
            votes.setdefault(row["question"], []).append(vote)
    return Reviewed(labels, form, votes)
