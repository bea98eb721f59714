"""How much of a text stands in the instruction already."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives


class InstructionAnswerOverlap(Measure):
    """Share of the answer's distinct pairs of words that the instruction has too, 0 to 1: high where it copies.

    Case does not count; a Chinese character is a word, and so is a punctuation mark. Extracts and corrections copy
    rightly; where nothing is new and nothing was to be copied see `restates_question`.
    """

    type = "numbers"
    unit = "share"

    examples = (
        gives(0.5, instruction="What is the capital of France?", answer="Capital of course"),
        gives(1.0, instruction="Say: tea is warm", answer="Tea is warm"),
        gives(0.75, instruction="法国首都是哪里？", answer="法国首都呢"),
        gives(0.0, instruction="你好", answer="今天天气很好"),
        gives(None, instruction="好吗？", answer="好"),
        gives(None, instruction="Tea?", answer=""),
    )

    def value(self, field: Field) -> pl.Expr:
        pair = pl.struct(answer=self.text(field), instruction=self.text("instruction"))
        return pair.map_batches(_shares, return_dtype=pl.Float64, is_elementwise=True)


def _shares(pairs: pl.Series) -> pl.Series:
    from curate.kernels.phrases import shared_shares

    return shared_shares(pairs.struct.field("answer"), pairs.struct.field("instruction"), 2)
