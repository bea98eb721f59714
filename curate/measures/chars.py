"""Length in characters."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives


class Chars(Measure):
    """Length in characters."""

    type = "numbers"
    unit = "characters"

    examples = (
        gives(3, instruction="Hi", answer="Hi!"),
        gives(4, instruction="你好", answer="您好呀！"),
        gives(0, instruction="你好", answer=""),
    )

    def value(self, field: Field) -> pl.Expr:
        return self.text(field).str.len_chars().cast(pl.Int64)
