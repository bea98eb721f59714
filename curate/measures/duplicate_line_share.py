"""How much of a text are lines that come again."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives, only, share


class DuplicateLineShare(Measure):
    """Share of lines that stood in the text before, 0 to 1; blank lines do not count, nor space around a line.

    The duplicate line fraction of Rae et al. 2021 (Gopher, https://arxiv.org/abs/2112.11446, table A1), who drop web
    pages above 0.3.
    """

    type = "numbers"
    unit = "share"

    examples = (
        gives(0.5, instruction="Tips?", answer="Drink water.\n\nSleep.\n  Sleep.\nDrink water."),
        gives(1 / 3, instruction="建议？", answer="多喝水。\n早睡。\n早睡。"),
        gives(0.0, instruction="Hi", answer="Hello!"),
        gives(None, instruction="你好", answer="\n"),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        line = pl.element().str.strip_chars()
        several_lines = only(text.str.contains("\n", literal=True), text)
        lines = several_lines.str.split("\n").list.eval(line.filter(line != ""))
        several = share(lines.list.len() - lines.list.n_unique(), lines.list.len())
        return pl.when(lines.is_not_null()).then(several).when(text.str.contains(r"\S")).then(0.0)
