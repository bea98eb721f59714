"""What a stage is: a frozen set of settings that marks rows (Filter), rewrites them (Edit) or compares them (Compare).

A stage never removes a row; it marks it with a reason, and the engine writes marked rows to `dropped/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from schemas.chat import FIELDS, Field

__all__ = [
    "FIELD_PREFIX",
    "Choice",
    "Compare",
    "Edit",
    "Edited",
    "Example",
    "Fetch",
    "Field",
    "Filter",
    "Input",
    "Setting",
    "Stage",
    "drop",
    "edit",
    "keep",
]

FIELD_PREFIX = "field:"
"""Prefix of the columns that the engine fills with a row's texts while a stage looks at them."""


class _IsInput:
    """Marks a setting whose value is a path; it enters the fingerprint by the content found there."""


Input = Annotated[str, _IsInput()]
"""A setting that names a dataset or file to read."""

Fetch = Callable[[Sequence[int], Sequence[str]], pl.DataFrame]
"""`fetch(ordinals, names)`: for just those rows, a frame of `ordinal` and the named columns or fields
(`field:answer`, ...), in the order of `ordinals`."""


@dataclass(frozen=True)
class Example:
    """One row and what a stage does with it: its documentation and its test."""

    row: Mapping[str, Any]
    reason: str | None = None
    after: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def keep(*, settings: Mapping[str, Any] | None = None, **row: Any) -> Example:
    """A row the stage keeps. `row`: `instruction` and `answer`, or `messages`, or `prompt`, `chosen` and `rejected`, or
    `text`; and any of `task`, `source`, `lang`. Examples with equal settings are one dataset, in the order written."""
    return Example(row, settings=settings or {})


def drop(reason: str, /, *, settings: Mapping[str, Any] | None = None, **row: Any) -> Example:
    """A row the stage marks with `reason`."""
    return Example(row, reason=reason, settings=settings or {})


def edit(after: Mapping[str, Any], /, *, settings: Mapping[str, Any] | None = None, **row: Any) -> Example:
    """A row the stage rewrites: `after` names what differs (`answer`, `lang`, ...) and its new value."""
    return Example(row, after=after, settings=settings or {})


class Stage(BaseModel, ABC):
    """Settings of one step of a recipe. The fields are the YAML keys; the docstring's first line is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    version: ClassVar[int] = 1
    """Raised whenever the same settings give other rows than before."""

    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version affects the rows; their versions enter the fingerprint."""

    examples: ClassVar[Sequence[Example]] = ()
    """Rows with what happens to them."""

    @staticmethod
    def text(name: Field) -> pl.Expr:
        """The text that a field name means in the rows at hand; see `schemas.chat.field`."""
        if name not in FIELDS:
            raise ValueError(f"no field named {name!r}")
        return pl.col(FIELD_PREFIX + name)

    def relies_on(self) -> dict[str, Any]:
        """What else affects the rows besides settings, version and libraries, for the fingerprint: JSON-able."""
        return {}

    @classmethod
    def description(cls) -> str:
        """First line of the stage's docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]


class Filter(Stage):
    """Marks rows by looking at each row alone."""

    @abstractmethod
    def reasons(self) -> dict[str, pl.Expr]:
        """Reason to Boolean expression, true for rows to drop; the first true reason in order counts. Null is false.

        Expressions look at one row at a time: no window, no aggregate over rows, no shift.
        """

    def because(self) -> dict[str, pl.Expr]:
        """Reason to String expression with what was measured (`12 characters`), shown beside the dropped row."""
        return {}


@dataclass(frozen=True)
class Edited:
    """What an Edit made of some rows."""

    rows: pl.DataFrame
    """The same rows in the same order, with columns rewritten."""
    drop: pl.DataFrame | None = None
    """Rows to drop, rewritten too: `place` among the rows, `reason` and `because`."""
    noted: Mapping[str, Any] | None = None
    """What the Edit needs to tell of them, as JSON; nothing that is not masked."""


class Edit(Stage):
    """Rewrites columns, one row at a time."""

    def columns(self) -> dict[str, pl.Expr]:
        """Column to its new value (`lang`, `task`, ...)."""
        return {}

    def texts(self, text: pl.Expr) -> pl.Expr | None:
        """New value of every piece of text in the row (message contents, reasoning, titles), or None to leave all.

        `text` is a String expression that may be null."""
        return None

    def rows(self, frame: pl.DataFrame, kind: str) -> Edited | None:
        """For an Edit that must see whole rows: what it makes of some of them, whichever those are. None where
        `columns` and `texts` say all."""
        return None

    def told(self, noted: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Findings and parts of the run's report (as in a Choice), from what was noted of all rows, in order."""
        return [], {}


@dataclass(frozen=True)
class Choice:
    """Rows that a Compare drops, and what it has to say besides."""

    rows: pl.DataFrame
    findings: Sequence[dict[str, Any]] = ()
    """Findings in the form that reports have: kind, severity, count, example, fix."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """Parts of the run's report, by their names in `schemas.report_run.render_run`; nothing that is not masked."""
    cuts: pl.DataFrame | None = None
    """What is cut out of rows that stay; its columns are `curate.cutting.CUTS`."""

    @classmethod
    def of(cls, chosen: pl.DataFrame | Choice) -> Choice:
        """What a Compare answered, as a Choice."""
        return chosen if isinstance(chosen, Choice) else cls(chosen)


class Compare(Stage):
    """Marks rows by comparing them with each other; and may cut out of some what others hold too."""

    @abstractmethod
    def summary(self) -> dict[str, pl.Expr]:
        """Narrow columns computed from each row alone; all that `choose` sees of the rows."""

    @abstractmethod
    def choose(self, summaries: pl.DataFrame, fetch: Fetch) -> pl.DataFrame | Choice:
        """Rows to drop: a frame of `ordinal` (Int64), `reason` (String) and `because` (String); or a Choice of them.

        `summaries` has `ordinal` (Int64, ascending: the order of the rows), `id` (String) and the summary's columns,
        for every row. The answer must not depend on how rows were split into shards.
        """
