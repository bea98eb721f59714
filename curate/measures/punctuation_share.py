"""How much of a text is punctuation."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives, share


class PunctuationShare(Measure):
    """Share of characters that are punctuation or symbols (emoji, brackets, operators), 0 to 1."""

    type = "numbers"
    unit = "share"

    examples = (
        gives(0.25, instruction="Hi", answer="Hey!"),
        gives(0.5, instruction="你好", answer="您好！😊"),
        gives(1.0, instruction="Draw a line.", answer="====----"),
        gives(None, instruction="你好", answer=""),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        return share(text.str.count_matches(r"[\p{P}\p{S}]"), text.str.len_chars())
