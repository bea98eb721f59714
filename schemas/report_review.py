"""The page of `review agreement`: how far answers can be trusted, and by whom they were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from markupsafe import Markup

from schemas.report import (
    Column,
    Section,
    Text,
    Tile,
    Words,
    headline,
    note,
    number,
    page,
    percent,
    table,
    tiles,
)

_QUESTIONS: dict[str, Text] = {
    "better": Words("Which is better", "哪个更好"),
    "strength": Words("How much better", "好多少"),
    "order": Words("Order, pair by pair", "排序（两两比较）"),
    "decision": Words("Keep, fix or drop", "保留、修改或剔除"),
    "reasons": Words("Reasons", "理由"),
    "accurate": Words("Accurate", "准确"),
    "relevant": Words("Relevant", "切题"),
    "safe": Words("Safe", "安全"),
    "complete": Words("Complete", "完整"),
    "tone": Words("Tone", "语气"),
    "needs_human": Words("Needs a human", "需要人工"),
    "intent": Words("Intent", "意图"),
    "emotion": Words("Emotion", "情绪"),
}
_FLAGS = {
    "position": Words("chooses by place", "按位置选择"),
    "length": Words("chooses by length", "按长短选择"),
    "gold": Words("often wrong on known answers", "已知答案题常错"),
    "self_consistency": Words("answers repeats differently", "重复题前后不一"),
    "disagrees": Words("agrees less than others", "与他人一致率偏低"),
    "fast": Words("very fast", "作答过快"),
}
_KINDS = {
    "person_position": Words("A person chooses by place", "有人按位置选择"),
    "person_length": Words("A person chooses by length", "有人按长短选择"),
    "person_gold": Words("A person is often wrong on known answers", "有人在已知答案的题上常错"),
    "person_self_consistency": Words("A person answers repeats differently", "有人对重复题前后不一"),
    "person_disagrees": Words("A person agrees less than the others do", "有人与他人的一致率偏低"),
    "person_fast": Words("A person answers very fast", "有人作答过快"),
    "position_effect": Words("Answers on one side win more often", "一侧的回答更常胜出"),
    "length_effect": Words("Longer answers mostly win", "较长的回答更常胜出"),
    "low_agreement": Words("People read the question differently", "大家对问题的理解不一致"),
    "third_opinion": Words("No majority", "没有多数意见"),
    "same_people_again": Words("Asked again, answered by nobody new", "再次提问，但没有新的人作答"),
}
_FIXES_ZH = {
    "person_position": "导出时用 `--rule bradley_terry` 去除位置影响，或用 `--without` 排除此人",
    "person_length": "先看这些回答，再导出",
    "person_gold": "先与本人沟通；可用 `--without` 排除，或用 `--rule dawid_skene`",
    "person_self_consistency": "先与本人沟通；可用 `--without` 排除",
    "person_disagrees": "导出时用 `--rule dawid_skene`，按可靠程度加权",
    "person_fast": "先看这些回答，再导出",
    "position_effect": "导出时用 `--rule bradley_terry` 去除位置影响",
    "length_effect": "先看较长的回答是否确实更好，否则模型会学成冗长",
    "low_agreement": "请把标注指南写清楚，再请人重看一部分",
    "third_opinion": "用 `--third FILE` 写出，再用 `review push --only FILE` 请第三人判断",
    "same_people_again": "仍无多数意见：请先添加一名新的标注员，再推送一次",
}


def render_agreement(found: Mapping[str, Any], *, lang: Literal["en", "zh"] = "en") -> str:
    """The page for what `review agreement --json` prints."""
    people, answers = len(found["people"]), number(found["answers"])
    facts: list[Text] = [Words(f"form {found['form']}", f"表单 {found['form']}"), str(found.get("created", ""))]
    return page(
        str(found["review"]),
        Words("agreement", "一致性"),
        [
            Section(
                "",
                "",
                [
                    headline(
                        Words(
                            f"{answers} answers of {people} people to {number(found['units'])} things.",
                            f"{people} 人对 {number(found['units'])} 项作了 {answers} 次回答。",
                        )
                    ),
                    tiles(_tiles(found)),
                ],
            ),
            _what_to_know(found),
            _agreement(found),
            _swayed(found),
            _people(found),
            _third(found),
        ],
        facts=facts,
        lang=lang,
    )


def _tiles(found: Mapping[str, Any]) -> list[Tile]:
    shown = []
    for name, one in list(found["alpha"].items())[:3]:
        label = _QUESTIONS.get(name, name)
        said = label if isinstance(label, Words) else Words(label, label)
        shown.append(Tile(Words(f"α: {said.en}", f"α：{said.zh}"), _alpha(one["value"]), _between(one)))
    for key, words in (
        ("position_effect", Words("Left preferred", "左侧胜出")),
        ("length_effect", Words("Longer preferred", "较长者胜出")),
    ):
        if found[key] and found[key]["n"]:
            shown.append(Tile(words, _share(found[key]["value"]), _share_between(found[key])))
    third = len(found["third_opinion"])
    return [*shown, Tile(Words("No majority", "没有多数"), number(third))]


def _what_to_know(found: Mapping[str, Any]) -> Section:
    if not found["findings"]:
        return Section()
    items = []
    for one in found["findings"]:
        items.append(
            {
                "kind": one["kind"],
                "severity": one["severity"],
                "count": one["count"],
                "fix": one["fix"],
                "example": one.get("person") or one.get("question"),
            }
        )
    return Section(Words("Before you export", "导出之前"), "", [_findings(items)])


def _findings(items: list[dict[str, Any]]) -> Markup:
    """Findings whose names this page knows, each in both languages."""
    rows: list[list[Text]] = [
        [
            _KINDS.get(one["kind"], one["kind"]),
            str(one["example"] or ""),
            number(one["count"]),
            Words(one["fix"], _FIXES_ZH.get(one["kind"], one["fix"])),
        ]
        for one in items
    ]
    columns = [
        Column(Words("what", "发现")),
        Column(Words("who or where", "对象")),
        Column(Words("answers", "数量"), number=True),
        Column(Words("what to do", "处理")),
    ]
    return table(columns, rows)


def _agreement(found: Mapping[str, Any]) -> Section:
    rows: list[list[Text]] = []
    for name, one in found["alpha"].items():
        pair = found["pairwise"].get(name) or {}
        rows.append(
            [
                _QUESTIONS.get(name, name),
                _alpha(one["value"]),
                _between(one),
                _share(pair.get("value")),
                number(one["units"]),
            ]
        )
    columns = [
        Column(Words("question", "问题")),
        Column("α", number=True),
        Column("95 %", number=True),
        Column(Words("same answer", "回答相同"), number=True),
        Column(Words("things", "项数"), number=True),
    ]
    lead = Words(
        "Krippendorff's α: 1 is perfect agreement, 0 is chance. 0.8 is usually asked for, 0.667 is the least.",
        "Krippendorff α：1 为完全一致，0 为碰运气。通常要求 0.8，最低 0.667。",
    )
    missing = note(Words("A dash: not defined, as everybody said the same.", "短横线：所有人回答相同，无法计算。"))
    blocks = [
        table(columns, rows),
        *([missing] if any(one["value"] is None for one in found["alpha"].values()) else []),
    ]
    return Section(Words("Agreement", "一致性"), lead, blocks if rows else [])


def _swayed(found: Mapping[str, Any]) -> Section:
    rows: list[list[Text]] = []
    for key, words in (
        ("position_effect", Words("The answer on the left", "左侧的回答")),
        ("length_effect", Words("The longer answer", "较长的回答")),
    ):
        one = found[key]
        if one and one["n"]:
            odds = one["odds"]
            said = "–" if odds is None else f"×{odds['value']:.2f} ({odds['low']:.2f}–{odds['high']:.2f})"
            rows.append([words, _share(one["value"]), _share_between(one), number(one["n"]), said])
    columns = [
        Column(""),
        Column(Words("preferred", "胜出"), number=True),
        Column("95 %", number=True),
        Column(Words("decided", "已分胜负"), number=True),
        Column(Words("odds, quality held fixed", "胜出几率（质量相同时）"), number=True),
    ]
    lead = Words(
        "Order is random, so half should win on the left. The odds come from a Bradley–Terry model with terms for each "
        "person: how many times likelier an answer wins for standing left, or for being twice as long.",
        "展示顺序随机，左侧应有一半胜出。几率来自含个人项的 Bradley–Terry 模型：位于左侧、或长一倍，胜出几率变为几倍。",
    )
    return Section(Words("What swayed people", "什么影响了判断"), lead, [table(columns, rows)] if rows else [])


def _people(found: Mapping[str, Any]) -> Section:
    care: list[list[Text]] = []
    habits: list[list[Text]] = []
    for person, one in found["people"].items():
        flags = [_FLAGS[flag] for flag in one["flags"]]
        said: Text = Words(", ".join(flag.en for flag in flags), "，".join(flag.zh for flag in flags)) if flags else ""
        measured = [_with_interval(one[name]) for name in ("agrees", "gold", "self_consistency")]
        care.append([person, number(one["answers"]), *measured])
        sides = [_share(one.get(name, {}).get("value")) for name in ("left", "longer")]
        habits.append([person, *sides, number(one["median_seconds"]), said])
    person = Column(Words("person", "人员"))
    columns = [
        person,
        Column(Words("answers", "回答"), number=True),
        Column(Words("agrees with others", "与他人一致"), number=True),
        Column(Words("gold right", "已知题正确"), number=True),
        Column(Words("repeats same", "重复题一致"), number=True),
    ]
    others = [
        person,
        Column(Words("left preferred", "选左侧"), number=True),
        Column(Words("longer preferred", "选较长"), number=True),
        Column(Words("seconds, median", "用时中位数（秒）"), number=True),
        Column(Words("what speaks against", "存疑之处")),
    ]
    lead = Words(
        "People are named by pseudonyms that only the project home can resolve. In brackets: 95 % intervals, and the "
        "number they rest on.",
        "人员以化名表示，只有项目目录能对应到本人。括号内为 95% 区间和题数。",
    )
    return Section(Words("People", "人员"), lead, [table(columns, care), table(others, habits)] if care else [])


def _third(found: Mapping[str, Any]) -> Section:
    shown = found["third_opinion"][:20]
    if not shown:
        return Section()
    rows: list[list[Text]] = [
        [
            str(one["row_id"]),
            ", ".join(f"{value} × {count}" for value, count in one["votes"].items()),
            Words("by the same people", "仍是原来的人") if one["same_people"] else "",
        ]
        for one in shown
    ]
    columns = [
        Column(Words("row", "行")),
        Column(Words("votes (places in the row)", "投票（行内位置）")),
        Column(Words("asked again", "再次提问")),
    ]
    whole = number(len(found["third_opinion"]))
    lead = Words(
        f"{whole} have no majority; the first are listed. `--third FILE` writes them all.",
        f"{whole} 项没有多数意见，以下为前若干项。`--third FILE` 写出全部。",
    )
    return Section(Words("A third opinion is wanted", "需要第三人判断"), lead, [table(columns, rows)])


def _alpha(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _between(one: Mapping[str, Any]) -> str:
    return "–" if one["low"] is None or one["high"] is None else f"{one['low']:.3f} – {one['high']:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value, 1)


def _share_between(one: Mapping[str, Any]) -> str:
    return "–" if one["low"] is None else f"{percent(one['low'], 1)} – {percent(one['high'], 1)}"


def _with_interval(one: Mapping[str, Any]) -> str:
    return "–" if not one["n"] else f"{_share(one['value'])} ({_share_between(one)}; {one['n']})"
