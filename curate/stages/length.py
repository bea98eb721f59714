"""Rows of a reasonable length."""

from __future__ import annotations

import polars as pl
from pydantic import model_validator

from curate.stage import Field, Filter, Setting, drop, keep


class Length(Filter):
    """Drop rows whose text is too short or too long, in characters."""

    field: Field = Setting(default="answer", description="what is measured; white space at both ends does not count")
    min_chars: int = Setting(default=1, ge=0, description="shorter texts are dropped")
    max_chars: int = Setting(default=100_000, ge=1, description="longer texts are dropped")

    examples = (
        keep(instruction="What is the capital of France?", answer="The capital of France is Paris."),
        keep(instruction="法国的首都是哪里？", answer="巴黎。"),
        keep(instruction="Pick 1, 2 or 3.", answer="3"),
        keep(messages=[{"role": "user", "content": "嗯"}]),
        drop("too_short", instruction="Describe a sunset.", answer=" \n"),
        drop("too_short", instruction="描述一下日落。", answer="　　"),
        drop("too_long", instruction="Write a novel.", answer="a" * 100_001),
        drop("too_long", instruction="写一部小说。", answer="字" * 100_001),
        keep(settings={"min_chars": 4, "max_chars": 20}, instruction="颜色？", answer="天空是蓝色的。"),
        keep(settings={"min_chars": 4, "max_chars": 20}, instruction="Colour?", answer="The sky is blue."),
        drop("too_short", settings={"min_chars": 4, "max_chars": 20}, instruction="颜色？", answer="蓝。"),
        drop("too_short", settings={"min_chars": 4, "max_chars": 20}, instruction="Colour?", answer="Red"),
        drop("too_long", settings={"min_chars": 4, "max_chars": 20}, instruction="颜色？", answer="蓝" * 21),
        drop("too_long", settings={"field": "text", "max_chars": 9}, text="A text of more than nine characters."),
        keep(settings={"field": "text", "max_chars": 9}, text="九个字以内的文本。"),
    )

    @model_validator(mode="after")
    def _in_order(self) -> Length:
        if self.min_chars > self.max_chars:
            raise ValueError(
                f"min_chars ({self.min_chars}) is more than max_chars ({self.max_chars}): no row could stay"
            )
        return self

    def reasons(self) -> dict[str, pl.Expr]:
        return {"too_short": self._chars() < self.min_chars, "too_long": self._chars() > self.max_chars}

    def because(self) -> dict[str, pl.Expr]:
        measured = pl.format("{} characters", self._chars())
        return {"too_short": measured, "too_long": measured}

    def _chars(self) -> pl.Expr:
        return self.text(self.field).str.strip_chars().str.len_chars()
