"""The part of a run's report about passages that many rows hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.report import Column, Section, Words, note, number, percent, table, title_of


def passage_section(passages: Mapping[str, Any]) -> Section:
    """A section for {field, action, rows, least, holding, dropped, cut, passages [{excerpt, letters, rows, sources
    [[name, rows]]}]}."""
    if not passages or not passages["passages"]:
        return Section()
    columns = [
        Column(Words("rows", "行数"), number=True),
        Column(Words("share", "占比"), number=True),
        Column(Words("letters", "字数"), number=True),
        Column(Words("passage", "段落")),
        Column(Words("sources", "来源")),
    ]
    rows = [
        [
            number(one["rows"]),
            percent(one["rows"], passages["rows"]),
            number(one["letters"]),
            str(one["excerpt"]),
            ", ".join(f"{name} {number(count)}" for name, count in one["sources"]),
        ]
        for one in passages["passages"]
    ]
    name = title_of(str(passages["field"]))
    title = Words(f"Repeated passages: {_in(name, 'en')}", f"重复的段落：{_in(name, 'zh')}")
    return Section(title, _lead(passages), [note(_what_was_done(passages)), table(columns, rows)])


def _in(name: str | Words, lang: str) -> str:
    return name if isinstance(name, str) else str(getattr(name, lang)).lower()


def _lead(passages: Mapping[str, Any]) -> Words:
    holding, rows, least = (number(passages[name]) for name in ("holding", "rows", "least"))
    return Words(
        f"{holding} of {rows} rows hold a passage that stands word for word in at least {least} different texts. "
        "Each was compared by its text; rows with the very same text count once towards that.",
        f"{rows} 行中有 {holding} 行含有至少在 {least} 个不同文本中逐字重复的段落。"
        "每一处都按原文核对；完全相同的文本只算一次。",
    )


def _what_was_done(passages: Mapping[str, Any]) -> Words:
    cut, dropped = number(passages["cut"]), number(passages["dropped"])
    if passages["action"] == "cut":
        return Words(
            f"They were cut out of {cut} rows; {dropped} rows that were nothing else were dropped.",
            f"已从 {cut} 行中删去这些段落；{dropped} 行除此之外别无内容，已剔除。",
        )
    if passages["action"] == "drop":
        return Words(f"{dropped} rows that are mostly such were dropped.", f"{dropped} 行大部分为此类段落，已剔除。")
    return Words(
        "Nothing was changed. With `action: cut` they are taken out of the rows; with `action: drop` rows that are "
        "mostly such are dropped.",
        "数据未作改动。设 `action: cut` 可从行中删去这些段落；设 `action: drop` 可剔除大部分为此类段落的行。",
    )
