"""Rows that a comparison describes."""

from __future__ import annotations

import difflib
import re
from typing import Any, Literal

import polars as pl
from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from curate.measure import MEASURES, measured
from curate.stage import Filter, Setting, drop, keep
from schemas.lookup import names
from schemas.rows import KINDS, columns

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not_in", "is_null", "not_null", "contains"]
Value = StrictBool | StrictInt | StrictFloat | StrictStr

_ORDERED = ("<", "<=", ">", ">=")


def _simple_columns() -> dict[str, pl.DataType]:
    """Columns of simple type that some kind of row has."""
    every = {name: dtype for kind in KINDS for name, dtype in columns(kind).items()}
    return {name: dtype for name, dtype in every.items() if not dtype.is_nested() and name != "extra"}


class Where(Filter):
    """Keep the rows that a comparison with a column, a key of `extra` or a measure describes; drop the others."""

    column: str = Setting(
        description="a column (task, source, lang, ...), `extra.NAME`, or a measure: `chars`, `chars(instruction)`"
    )
    op: Operator = Setting(
        description="==, !=, <, <=, >, >=, in, not_in, is_null, not_null or contains (part of a text)"
    )
    value: Value | tuple[Value, ...] | None = Setting(
        default=None, description="what to compare with; a list for in, not_in"
    )

    examples = (
        keep(settings={"column": "task", "op": "==", "value": "qa"}, task="qa", instruction="Why?", answer="Because."),
        drop(
            "not_selected",
            settings={"column": "task", "op": "==", "value": "qa"},
            task="chat",
            instruction="Hi",
            answer="Hi",
        ),
        drop("not_selected", settings={"column": "task", "op": "==", "value": "qa"}, instruction="你好", answer="您好"),
        keep(settings={"column": "task", "op": "!=", "value": "闲聊"}, instruction="你好", answer="没有任务的行留下"),
        drop(
            "not_selected",
            settings={"column": "task", "op": "!=", "value": "闲聊"},
            task="闲聊",
            instruction="嗨",
            answer="嗨",
        ),
        keep(
            settings={"column": "lang", "op": "in", "value": ["zh", "en"]}, lang="zh", instruction="你好", answer="您好"
        ),
        drop(
            "not_selected",
            settings={"column": "lang", "op": "in", "value": ["zh", "en"]},
            lang="fr",
            instruction="Oui",
            answer="Non",
        ),
        keep(
            settings={"column": "lang", "op": "not_in", "value": ["fr"]}, lang="zh", instruction="你好", answer="您好"
        ),
        drop(
            "not_selected",
            settings={"column": "lang", "op": "not_in", "value": ["fr"]},
            lang="fr",
            instruction="a",
            answer="b",
        ),
        keep(
            settings={"column": "extra.score", "op": ">=", "value": 4},
            extra='{"score": 4.5}',
            instruction="好",
            answer="好",
        ),
        keep(
            settings={"column": "extra.score", "op": ">=", "value": 4},
            extra='{"score": "5"}',
            instruction="a",
            answer="b",
        ),
        drop(
            "not_selected",
            settings={"column": "extra.score", "op": ">=", "value": 4},
            extra='{"score": 3}',
            instruction="a",
            answer="b",
        ),
        drop(
            "not_selected",
            settings={"column": "extra.score", "op": ">=", "value": 4},
            extra='{"分": 5}',
            instruction="啊",
            answer="不",
        ),
        keep(
            settings={"column": "extra.好 评", "op": "==", "value": True},
            extra='{"好 评": true}',
            instruction="好",
            answer="好",
        ),
        drop(
            "not_selected",
            settings={"column": "extra.好 评", "op": "==", "value": True},
            extra='{"好 评": false}',
            instruction="好",
            answer="好",
        ),
        keep(settings={"column": "chars(answer)", "op": ">", "value": 3}, instruction="你好", answer="您好呀！"),
        drop(
            "not_selected", settings={"column": "chars(answer)", "op": ">", "value": 3}, instruction="Hi", answer="Hi!"
        ),
        keep(
            settings={"column": "source", "op": "contains", "value": "客服"},
            source="客服-2024",
            instruction="你好",
            answer="您好",
        ),
        drop(
            "not_selected",
            settings={"column": "source", "op": "contains", "value": "客服"},
            source="web",
            instruction="Hi",
            answer="Hi",
        ),
        keep(settings={"column": "split", "op": "is_null"}, instruction="你好", answer="您好"),
        drop(
            "not_selected", settings={"column": "split", "op": "is_null"}, split="test", instruction="Hi", answer="Hi"
        ),
        keep(settings={"column": "split", "op": "not_null"}, split="train", instruction="Hi", answer="Hi"),
        drop("not_selected", settings={"column": "split", "op": "not_null"}, instruction="你好", answer="您好"),
        keep(
            settings={"column": "margin", "op": ">", "value": 0.5},
            prompt="好？",
            chosen="好",
            rejected="坏",
            margin=0.75,
        ),
        drop(
            "not_selected",
            settings={"column": "margin", "op": ">", "value": 0.5},
            prompt="ok?",
            chosen="yes",
            rejected="no",
            margin=0.5,
        ),
    )

    @model_validator(mode="after")
    def _sensible(self) -> Where:
        kind = self._type()
        if self.op in ("is_null", "not_null"):
            if self.value is not None:
                raise ValueError(f"`{self.op}` compares with nothing: leave `value` out")
            return self
        if self.value is None:
            raise ValueError(f"`{self.op}` needs a `value`")
        if self.op in ("in", "not_in"):
            if not isinstance(self.value, tuple) or not self.value:
                raise ValueError(f"`{self.op}` needs a list as `value`, such as [zh, en]")
        elif isinstance(self.value, tuple):
            raise ValueError(f"`{self.op}` needs one `value`, not a list; for a list use `in`")
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if len({_kind(value) for value in values}) > 1:
            raise ValueError("all of `value` must be of one kind: text, numbers or true/false")
        given = _kind(values[0])
        if self.op == "contains" and (given != "text" or kind not in ("text", "any")):
            raise ValueError("`contains` looks for text in text")
        if self.op in _ORDERED and given == "true/false":
            raise ValueError(f"`{self.op}` cannot compare true/false")
        if kind not in ("any", given):
            raise ValueError(f"`{self.column}` holds {kind}, and `value` is {given}")
        return self

    def reasons(self) -> dict[str, pl.Expr]:
        return {"not_selected": ~self._selected().fill_null(False)}

    def relies_on(self) -> dict[str, Any]:
        found = None if self.column in _simple_columns() else measured(self.column)
        return {"measure": found.identity()} if found else {}

    def because(self) -> dict[str, pl.Expr]:
        found = pl.coalesce(self._found().cast(pl.String).str.head(80), pl.lit("null"))
        return {"not_selected": pl.format("{} is {}", pl.lit(self.column), found)}

    def _selected(self) -> pl.Expr:
        found, value = self._found(), self.value
        if self.op == "is_null":
            return found.is_null()
        if self.op == "not_null":
            return found.is_not_null()
        if isinstance(value, tuple):
            among = found.is_in(list(value))
            return among if self.op == "in" else ~among.fill_null(False)
        if self.op == "contains":
            return found.str.contains(str(value), literal=True)
        compared = {
            "==": found == value,
            "!=": found.ne_missing(pl.lit(value)),
            "<": found < value,
            "<=": found <= value,
            ">": found > value,
            ">=": found >= value,
        }
        return compared[self.op]

    def _found(self) -> pl.Expr:
        """What the rows hold, as the type of `value`."""
        if self.column in _simple_columns():
            return pl.col(self.column)
        if found := measured(self.column):
            return found.value
        held = pl.col("extra").str.json_path_match(f"$['{self.column.removeprefix('extra.')}']")
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        kind = _kind(values[0]) if values[0] is not None else "text"
        if kind == "numbers":
            return held.cast(pl.Float64, strict=False)
        return held.replace_strict({"true": True, "false": False}, default=None) if kind == "true/false" else held

    def _type(self) -> str:
        """What `column` holds: text, numbers, true/false, or any. Raises ValueError when there is no such column."""
        if self.column not in _simple_columns() and (found := measured(self.column)):
            return found.measure.type
        if self.column.startswith("extra."):
            name = self.column.removeprefix("extra.")
            if not name or re.search(r"['\"\\\]\[]", name):
                raise ValueError(f"`{self.column}`: after `extra.` comes the name of a key, without quotes or brackets")
            return "any"
        simple = _simple_columns()
        if self.column not in simple:
            close = difflib.get_close_matches(
                self.column.partition("(")[0], [*simple, *names(MEASURES)], n=1, cutoff=0.75
            )
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(
                f"there is no column or measure {self.column!r}; {hint}`curate measures` lists measures, and a field "
                f"of your own is `extra.{self.column.partition('(')[0]}`"
            )
        dtype = simple[self.column]
        return "true/false" if dtype == pl.Boolean else "numbers" if dtype.is_numeric() else "text"


def _kind(value: object) -> str:
    return "true/false" if isinstance(value, bool) else "numbers" if isinstance(value, int | float) else "text"
