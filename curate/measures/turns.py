"""How long a conversation is."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from curate.measure import Field, Measure, gives


class Turns(Measure):
    """How many messages the row has, those of systems and tools too; of a pair the better side.

    It counts the same whatever field is named. A plain text is one.
    """

    type = "numbers"
    unit = "messages"
    field = "conversation"

    examples = (
        gives(2, instruction="Hi", answer="Hello!"),
        gives(
            3,
            messages=[
                {"role": "user", "content": "你好"},
                {"role": "assistant", "content": "您好！"},
                {"role": "user", "content": "再见"},
            ],
        ),
        gives(2, prompt="Hi", chosen="Hello!", rejected="What?"),
        gives(1, text="A whole text."),
    )

    def value(self, field: Field) -> pl.Expr:
        conversation = cs.by_name("messages", "prompt", "chosen", require_all=False)
        messages = pl.sum_horizontal(pl.lit(0), conversation.list.len().cast(pl.Int64))
        return pl.max_horizontal(messages, pl.when(self.text(field).is_not_null()).then(1)).cast(pl.Int64)
