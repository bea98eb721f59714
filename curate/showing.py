"""What is shown of a few rows as examples: where they stood, what they ask and say, and what was found, all masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from schemas.excerpt import excerpt

NOTHING = pl.lit(None, dtype=pl.String)


def example_rows(rows: pl.DataFrame, text: pl.Expr, because: pl.Expr = NOTHING) -> list[dict[str, Any]]:
    """`id`, `where`, `instruction`, `excerpt` of `text` and `because` of each row; `rows` has `id`, `origin` and the
    `field:` columns that the expressions name."""
    shown = rows.lazy().select("id", "origin", instruction="field:instruction", text=text, because=because).collect()
    return [
        {
            "id": row["id"],
            "where": where(row["origin"]),
            "instruction": None if row["instruction"] is None else excerpt(row["instruction"], 100),
            "excerpt": excerpt(row["text"]),
            "because": None if row["because"] is None else excerpt(row["because"].strip()),
        }
        for row in shown.iter_rows(named=True)
    ]


def where(origin: Mapping[str, Any] | None) -> str:
    """`file:line` of a row's origin; empty where it has none."""
    if not origin or not origin["file"]:
        return ""
    file = excerpt(origin["file"], 200)
    return file if origin["line"] is None else f"{file}:{origin['line']}"
