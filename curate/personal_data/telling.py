"""What is told of personal data that was found: counts by type, source and field, masked examples; never a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

_EXAMPLES = 3


def noted(found: pl.DataFrame, sources: pl.Series) -> dict[str, Any]:
    """What to note of some rows, as JSON. `found` is as `curate.personal_data.replace.FOUND`; `sources` has the source
    of each row."""
    whole = found.with_columns(sources.gather(found["row"]).alias("source"))
    counted = whole.group_by("type", "field", "source").agg(
        pl.col("count").sum(), pl.col("row").n_unique().alias("rows")
    )
    examples = found.drop_nulls("example").select("type", "field", "example")
    return {
        "rows": found["row"].n_unique(),
        "found": [list(one) for one in counted.sort("type", "field", "source").iter_rows()],
        "examples": [list(one) for one in examples.iter_rows()],
    }


def summed(notes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Notes of several parts brought together: `rows`, `values`, `types` {type: n}, `by_source` [[source, type, n]],
    `by_field` [[field, type, n, rows]], `examples` [{type, field, excerpt}]."""
    types: Counter[str] = Counter()
    by_source: Counter[tuple[str, str]] = Counter()
    by_field: Counter[tuple[str, str]] = Counter()
    rows_of: Counter[tuple[str, str]] = Counter()
    shown: Counter[str] = Counter()
    examples = []
    for note in notes:
        for type_, field, source, values, rows in note["found"]:
            types[type_] += values
            by_source[source, type_] += values
            by_field[field, type_] += values
            rows_of[field, type_] += rows
        for type_, field, excerpt in note["examples"]:
            example = {"type": type_, "field": field, "excerpt": excerpt}
            if shown[type_] < _EXAMPLES and example not in examples:
                shown[type_] += 1
                examples.append(example)
    return {
        "rows": sum(note["rows"] for note in notes),
        "values": sum(types.values()),
        "types": dict(types.most_common()),
        "by_source": [[*key, values] for key, values in by_source.most_common()],
        "by_field": [[*key, values, rows_of[key]] for key, values in by_field.most_common()],
        "examples": examples,
    }


def findings(told: Mapping[str, Any], *, names: bool) -> list[dict[str, Any]]:
    """Findings of a run that replaced personal data, in the form that reports have."""
    found = []
    if told["values"]:
        listed = ", ".join(f"{name} {number:,}" for name, number in told["types"].items())
        found.append(
            {
                "kind": "personal_data_replaced",
                "severity": "low",
                "count": told["values"],
                "example": listed,
                "fix": "look at the examples in the report: what was replaced wrongly, and what was not found",
            }
        )
    if not names:
        found.append(
            {
                "kind": "names_not_looked_for",
                "severity": "medium",
                "count": 0,
                "example": "names of people stay where they are",
                "fix": "`--names`, or `names: true` in a recipe, looks for them with a model, which takes longer",
            }
        )
    return found
