"""How much of a text is numbers."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives, share


class DigitShare(Measure):
    """Share of characters that are digits, full-width ones too, 0 to 1."""

    type = "numbers"
    unit = "share"

    examples = (
        gives(0.5, instruction="Count.", answer="12ab"),
        gives(0.5, instruction="几点？", answer="１２点整"),
        gives(0.0, instruction="几个？", answer="三个"),
        gives(None, instruction="Hi", answer=""),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        return share(text.str.count_matches(r"\p{Nd}"), text.str.len_chars())
