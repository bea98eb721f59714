"""What a measure is: one number, or one yes or no, about each row, under a name that filters and profiles share."""

from __future__ import annotations

import hashlib
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl

from curate.stage import FIELD_PREFIX
from schemas.chat import FIELDS, Field
from schemas.errors import nearest
from schemas.excerpt import excerpt
from schemas.lookup import find, names
from schemas.manifest import library_versions

__all__ = [
    "MEASURES",
    "Field",
    "Measure",
    "Measured",
    "ascii_edges",
    "describe_measures",
    "gives",
    "measured",
    "only",
    "share",
]

MEASURES = "curate.measures"
"""The package whose files are the measures that ship."""


@dataclass(frozen=True)
class Given:
    """One row and what a measure gives for it: its documentation and its test."""

    value: float | bool | None
    row: Mapping[str, Any]


def gives(value: float | bool | None, /, **row: Any) -> Given:
    """A row and its value. `row`: as in `curate.stage.keep`. Numbers are compared to six digits."""
    return Given(value, row)


def ascii_edges(pattern: str) -> str:
    r"""The pattern with each `\b` as the edge of an ASCII word: there is one beside a Chinese character too, and polars
    finds it ten times faster in Chinese text, where Unicode's edges keep its engine from its fast way."""
    return pattern.replace(r"\b", r"(?-u:\b)")


def only(where: pl.Expr, text: pl.Expr) -> pl.Expr:
    """The text where it is worth a closer look, else null, which costs nothing: what polars leaves behind a null of
    `pl.when(…).then(…)` is the text itself, and patterns are tried on it (polars 2.1)."""
    return pl.when(where).then(pl.when(where).then(text).otherwise(pl.lit("")))


def share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """How much of `whole` is `part` (Float64); null where there is no whole."""
    return pl.when(whole > 0).then(part / whole)


class Measure(ABC):
    """One number, or one yes or no, about each row; null where the row has none. A file's name is the measure's.

    The docstring's first line says what it is; what follows says how it is measured, with its source.
    """

    type: ClassVar[Literal["numbers", "true/false"]]
    unit: ClassVar[str] = ""
    """What numbers count (`characters`, `US school grade`, `share`); empty for true/false."""
    field: ClassVar[Field] = "answer"
    """What is looked at unless a user names another field."""
    version: ClassVar[int] = 1
    """Raised whenever rows get other values than before."""
    shares: ClassVar[str] = ""
    """A name for work that measures have in common: those with the same one are worked out together."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version affects the values."""
    examples: ClassVar[Sequence[Given]] = ()
    """Rows with their values, zh and en."""

    @staticmethod
    def text(name: Field) -> pl.Expr:
        """The text that a field name means in the rows at hand; see `schemas.chat.field`."""
        return pl.col(FIELD_PREFIX + name)

    @abstractmethod
    def value(self, field: Field) -> pl.Expr:
        """Float64, Int64 or Boolean, as `type` says, measured on `field`. Looks at one row at a time."""

    def seen(self, field: Field) -> pl.Expr | None:
        """What a yes was said for (`“Sure!”`), a String shown beside the row, or None; not part of the value."""
        return None

    @classmethod
    def description(cls) -> str:
        """First line of the measure's docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Measured:
    """A measure with the field it looks at."""

    name: str
    measure: Measure
    field: Field

    @property
    def value(self) -> pl.Expr:
        """The measure's values."""
        return self.measure.value(self.field)

    def identity(self) -> dict[str, Any]:
        """What affects the values, for fingerprints; a user's measure counts by its text."""
        found: dict[str, Any] = {"field": self.field, "version": self.measure.version}
        if self.name.endswith(".py"):
            found["source"] = hashlib.sha256(Path(self.name).read_bytes()).hexdigest()
        else:
            found["measure"] = self.name
        if self.measure.libraries:
            found["libraries"] = library_versions(self.measure.libraries)
        return found


def measured(name: str) -> Measured | None:
    """The measure that `name` or `name(field)` means, such as `chars(answer)` or `./mine.py`; None if there is none.

    Raises ValueError when there is such a measure but no such field, and UserError when a user's file is no measure.
    """
    parts = re.fullmatch(r"([^()]+?)(?:\(\s*(\w+)\s*\))?", name)
    if parts is None or (parts[1] not in names(MEASURES) and not parts[1].endswith(".py")):
        return None
    measure = find(MEASURES, parts[1], Measure)()  # type: ignore[type-abstract]
    field = parts[2] or measure.field
    if field not in FIELDS:
        raise ValueError(f"no field named {field!r}: {nearest(field, FIELDS)}")
    return Measured(parts[1], measure, field)  # type: ignore[arg-type]


def describe_measures(name: str | None = None) -> list[dict[str, Any]]:
    """Every measure there is, or one, as data. Raises UserError for one that does not exist."""
    found = []
    for one in [name] if name else names(MEASURES):
        cls = find(MEASURES, one, Measure)  # type: ignore[type-abstract]
        found.append(
            {
                "name": one,
                "type": cls.type,
                "unit": cls.unit,
                "field": cls.field,
                "version": cls.version,
                "description": cls.description(),
                "doc": inspect.getdoc(cls) or "",
                "examples": [
                    {"value": example.value, "row": {key: excerpt(value) for key, value in example.row.items()}}
                    for example in cls.examples
                ],
            }
        )
    return found
