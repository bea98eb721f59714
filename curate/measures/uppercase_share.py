"""How much of a text is in capitals."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives, share


class UppercaseShare(Measure):
    """Share of letters that are capitals, 0 to 1; Chinese characters are letters that are not."""

    type = "numbers"
    unit = "share"

    examples = (
        gives(1.0, instruction="Shout.", answer="STOP! NOW!"),
        gives(0.25, instruction="Hi", answer="Okay."),
        gives(0.25, instruction="什么是GPU", answer="显卡的芯片通常叫做GPU。"),
        gives(0.0, instruction="大声说", answer="停下！"),
        gives(None, instruction="1 + 1?", answer="2"),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        # Few characters of a text are no letters, and what is rarer is counted faster.
        return share(text.str.count_matches(r"\p{Lu}"), text.str.len_chars() - text.str.count_matches(r"\P{L}"))
