"""How rows do by every measure: numbers summed up, yes and no counted with a few examples. A part of the profile.

The result's keys:

    numbers       {measure: {field, unit, rows: how many have a value, min, p5, p50, p95, max, mean}}; all but `rows`
                  are null where no row has one
    yes           {measure: {field, of: rows that have a verdict, rows: those with a yes, share of `of`, examples:
                  [{id, where "file:line", instruction, excerpt, because}]}}; masked as in the profile; because: what
                  the yes was said for, or null
    not_measured  {measure: why, with what to install}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.marks import with_fields
from curate.measure import MEASURES, Measured, measured
from curate.showing import NOTHING, example_rows
from curate.stage import FIELD_PREFIX
from schemas.errors import UserError, nearest
from schemas.lookup import names as names_in

COSTLY = ("bloom_level", "dale_chall_readability_score", "lexical_diversity")
"""Measures left out unless named: each takes as long as all the others together."""

_QUANTILES = {"p5": 0.05, "p50": 0.5, "p95": 0.95}
_DIGITS = 4
_MOST = 2**31 - 1


def cheap() -> list[str]:
    """The measures that ship and are not costly."""
    return [name for name in names_in(MEASURES) if name not in COSTLY]


@dataclass(frozen=True)
class Values:
    """Rows of a kind, with the texts that are shown of them, and the value of every measure for each."""

    rows: pl.DataFrame
    kind: str
    values: pl.DataFrame


class Signals:
    """Measures frames of rows one after the other; keeps four bytes a row and number, and a few excerpts.

    `names`: measures as filters name them (`chars`, `chars(instruction)`, `./mine.py`), or those that are cheap. What
    needs a library that is not installed is told in the result. Raises UserError for a measure that does not exist.
    """

    def __init__(self, names: Sequence[str] | None = None, *, max_examples: int = 3) -> None:
        self._max_examples = max_examples
        self._measures: dict[str, Measured] = {}
        self._values: dict[str, pl.Expr] = {}
        self._not_measured: dict[str, str] = {}
        for name in cheap() if names is None else names:
            self._measures[name] = _found(name)
            try:
                self._values[name] = self._measures[name].value
            except UserError as error:
                self._not_measured[name] = f"{error.message}: {error.hint}" if error.hint else error.message
        self._together: dict[str, dict[str, pl.Expr]] = {}
        for name, value in self._values.items():
            self._together.setdefault(self._measures[name].measure.shares or name, {})[name] = value
        self._numbers: dict[str, list[pl.Series]] = {name: [] for name in self._of_type("numbers")}
        self._yes: dict[str, list[int]] = {name: [0, 0] for name in self._of_type("true/false")}
        self._examples: dict[str, list[dict[str, Any]]] = {name: [] for name in self._yes}

    def add(self, frame: pl.DataFrame, kind: str) -> None:
        """Measure rows: `frame` has the canonical columns of `kind` (`schemas.rows.columns`), any number of rows."""
        self.take(self.measured(frame, kind))

    def measured(self, frame: pl.DataFrame, kind: str) -> Values:
        """The values of rows, which `take` counts; any thread may do it."""
        if frame.is_empty() or not self._values:
            return Values(frame, kind, frame.clear())
        shown = [pl.col(f"{FIELD_PREFIX}{name}") for name in ("instruction", "answer", "conversation")]
        full = with_fields(frame.rechunk(), kind, [*self._values.values(), *shown])
        # Lazily, because only then does polars work out just once what several have in common; and not all in one go,
        # where keeping whatever two have in common costs more than it saves.
        groups = [full.lazy().select(**some).collect() for some in self._together.values()]
        return Values(full, kind, pl.concat(groups, how="horizontal").select(list(self._values)))

    def take(self, some: Values) -> None:
        """Count the values of the rows that come next."""
        full, kind, values = some.rows, some.kind, some.values
        if values.is_empty():
            return
        for name, kept in self._numbers.items():
            kept.append(_narrow(values[name]))
        for name, counted in self._yes.items():
            found = values[name]
            counted[0] += found.len() - found.null_count()
            counted[1] += int(found.sum() or 0)
            missing = self._max_examples - len(self._examples[name])
            if missing > 0 and found.any():
                shown = full.filter(found).head(missing).rechunk()
                self._examples[name] += _examples(shown, kind, self._measures[name])

    def result(self) -> dict[str, Any]:
        """How the rows added do; JSON-able, the keys are in the module's docstring."""
        return {
            "numbers": {name: self._number(name) for name in self._numbers},
            "yes": {name: self._count(name) for name in self._yes},
            "not_measured": dict(self._not_measured),
        }

    def _of_type(self, type: str) -> list[str]:
        return [name for name in self._values if self._measures[name].measure.type == type]

    def _number(self, name: str) -> dict[str, Any]:
        found = self._measures[name]
        values = pl.concat(self._numbers[name]) if self._numbers[name] else pl.Series([], dtype=pl.Float32)
        values = values.drop_nulls()
        told: dict[str, Any] = {"min": values.min(), "max": values.max(), "mean": values.cast(pl.Float64).mean()}
        told |= {key: values.quantile(share, "nearest") for key, share in _QUANTILES.items()}
        ordered = {key: _rounded(told[key]) for key in ("min", *_QUANTILES, "max", "mean")}
        return {"field": found.field, "unit": found.measure.unit, "rows": values.len()} | ordered

    def _count(self, name: str) -> dict[str, Any]:
        of, rows = self._yes[name]
        share = round(rows / of, 6) if of else 0.0
        examples = self._examples[name]
        return {"field": self._measures[name].field, "of": of, "rows": rows, "share": share, "examples": examples}


def _found(name: str) -> Measured:
    try:
        found = measured(name)
    except ValueError as error:
        raise UserError(f"measure {name!r}: {error}") from error
    if found is None:
        raise UserError(f"there is no measure {name!r}", hint=nearest(name, names_in(MEASURES)))
    return found


def _narrow(values: pl.Series) -> pl.Series:
    """The numbers in four bytes each; what is not a number is null."""
    if values.dtype.is_integer():
        return values.clip(-_MOST, _MOST).cast(pl.Int32)
    return values.fill_nan(None).cast(pl.Float32)


def _rounded(value: Any) -> float | int | None:
    return value if value is None or isinstance(value, int) else round(float(value), _DIGITS)


def _examples(rows: pl.DataFrame, kind: str, found: Measured) -> list[dict[str, Any]]:
    """What is shown of a few rows to which a measure said yes."""
    seen = found.measure.seen(found.field)
    because = NOTHING if seen is None else seen
    text = pl.coalesce(f"{FIELD_PREFIX}{found.field}", f"{FIELD_PREFIX}conversation")
    return example_rows(with_fields(rows, kind, [text, because]), text, because)
