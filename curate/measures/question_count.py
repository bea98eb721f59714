"""How many questions there are."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives


class QuestionCount(Measure):
    """How many questions there are, by their question marks; `??` is one, and none is in a web address."""

    type = "numbers"
    unit = "questions"
    field = "instruction"

    examples = (
        gives(2, instruction="Who are you? And what do you want?!", answer="Nothing."),
        gives(2, instruction="你是谁？？想要什么？", answer="没什么。"),
        gives(1, instruction="为什么?快说", answer="因为。"),
        gives(0, instruction="Open https://example.com/?q=1", answer="Done."),
        gives(0, instruction="写一首诗。", answer="好？"),
    )

    def value(self, field: Field) -> pl.Expr:
        mark = r"[?？!！]*？[?？!！]*|\?[?!]*(?:[\s\"'”’」』)\]*_]|\p{Han}|$)"
        return self.text(field).str.count_matches(mark).cast(pl.Int64)
