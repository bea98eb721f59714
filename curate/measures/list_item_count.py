"""How many list items there are."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives

_ITEM = (
    r"(?m)^[ \t>]*(?:[-*+•·●▪◦‣–][ \t]+|\d{1,3}[.)][ \t]+|\d{1,3}(?:[、．）)]|\.\p{Han})|[(（]\d{1,3}[)）]|[①-⑳]"
    r"|[一二三四五六七八九十]{1,3}、)"
)


class ListItemCount(Measure):
    """How many lines are items of a list: `- …`, `1. …`, `（1）…`, `一、…`."""

    type = "numbers"
    unit = "items"

    examples = (
        gives(3, instruction="Three fruits?", answer="Here are three:\n- Apples\n- Pears\n* Plums"),
        gives(2, instruction="Steps?", answer="1. Boil water.\n   (twice)\n2) Add tea."),
        gives(3, instruction="三种水果？", answer="1、苹果\n2.梨\n（3）李子"),
        gives(2, instruction="大纲", answer="一、引言\n  内容\n二、结论"),
        gives(0, instruction="How much?", answer="1.5 litres\n-3 °C\n2024 was warm."),
        gives(0, instruction="多少？", answer="一共三个。\n十个以内都行。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return self.text(field).str.count_matches(_ITEM).cast(pl.Int64)
