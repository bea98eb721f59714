"""The part of a run's report about personal data: what was found where, and what was put in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from schemas.report import Column, Section, Text, Words, bars, headline, note, number, table

NO_NAMES = Words("Names were not looked for.", "未查找人名。")
"""The first line of a report, until they are."""

_WITH = {
    "tag": Words("its type in brackets", "以类型标签替换"),
    "surrogate": Words("a made-up value of the same shape", "以形状相同的虚构值替换"),
    "mask": Words("asterisks", "以星号遮盖"),
    "drop_row": Words("a tag, and the row was dropped", "以标签替换并剔除该行"),
}
_SHOWN = 40


def names_line(scrubbed: Mapping[str, Any]) -> list[Markup]:
    """What stands before all else in the report of a run that replaced personal data."""
    return [headline(NO_NAMES)] if scrubbed and not scrubbed["names"] else []


def scrub_section(scrubbed: Mapping[str, Any]) -> Section:
    """A section for {with, names, entities, rows, values, types {type: n}, by_source [[source, type, n]], by_field
    [[field, type, n, rows]], examples [{type, field, excerpt}]}; nothing in it is a value that was found."""
    if not scrubbed:
        return Section()
    values, rows = number(scrubbed["values"]), number(scrubbed["rows"])
    with_ = _WITH[scrubbed["with"]]
    lead = Words(
        f"{values} values in {rows} rows and beside them; in the place of each stands {with_.en}.",
        f"在 {rows} 行及其附属信息中找到 {values} 处，均{with_.zh}。",
    )
    blocks: list[Markup] = []
    if scrubbed["entities"]:
        listed = ", ".join(f"`{name}`" for name in scrubbed["entities"])
        blocks.append(note(Words(f"Only these types were looked for: {listed}.", f"仅查找以下类型：{listed}。")))
    if scrubbed["types"]:
        caption = Words("Values by type", "各类型的数量")
        blocks.append(bars(list(scrubbed["types"].items()), whole=int(scrubbed["values"]), caption=caption))
        blocks += [_by_field(scrubbed), _by_source(scrubbed), _examples(scrubbed)]
    return Section(Words("Personal data", "个人信息"), lead, blocks)


def _by_field(scrubbed: Mapping[str, Any]) -> Markup:
    columns = [
        Column(Words("field", "字段")),
        Column(Words("type", "类型")),
        Column(Words("values", "数量"), number=True),
        Column(Words("rows", "行数"), number=True),
    ]
    rows: list[list[Text]] = [
        [str(field), str(type_), number(values), number(rows) if rows else "–"]
        for field, type_, values, rows in scrubbed["by_field"][:_SHOWN]
    ]
    return table(columns, rows)


def _by_source(scrubbed: Mapping[str, Any]) -> Markup:
    columns = [
        Column(Words("source", "来源")),
        Column(Words("type", "类型")),
        Column(Words("values", "数量"), number=True),
    ]
    return table(columns, [[str(name), str(type_), number(n)] for name, type_, n in scrubbed["by_source"][:_SHOWN]])


def _examples(scrubbed: Mapping[str, Any]) -> Markup:
    columns = [
        Column(Words("type", "类型")),
        Column(Words("field", "字段")),
        Column(Words("where it stood", "所在上下文")),
    ]
    rows = [[str(one["type"]), str(one["field"]), str(one["excerpt"])] for one in scrubbed["examples"]]
    return table(columns, rows)
