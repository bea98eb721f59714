"""The part of a profile's page about measures: numbers and flaws of the rows, each by the name that filters use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from schemas.report import Column, Section, Text, Words, examples, note, number, percent, table

_MOST_EXAMPLES = 3


def measure_sections(measures: Mapping[str, Any]) -> list[Section]:
    """Sections for {numbers, yes, not_measured} as `curate.signals` gives them."""
    if not measures:
        return []
    return [_flaws(measures.get("yes") or {}), _numbers(measures)]


def _flaws(yes: Mapping[str, Any]) -> Section:
    there = sorted((name for name in yes if yes[name]["rows"]), key=lambda name: (-yes[name]["rows"], name))
    if not there:
        return Section()
    lead = Words(
        "What may be wrong with a row besides the checks above. `- use: flaws` drops such rows; `- use: where` with "
        "`column: NAME` keeps or drops by any one of them.",
        "除上述检查外，数据行还可能存在的问题。`- use: flaws` 剔除这些行；"
        "`- use: where` 加 `column: 名称` 可按其中任一项筛选。",
    )
    groups: list[tuple[str, Text, int | None, Any]] = [
        (
            name,
            _said(name, percent(yes[name]["rows"], yes[name]["of"])),
            yes[name]["rows"],
            yes[name]["examples"][:_MOST_EXAMPLES],
        )
        for name in there
    ]
    return Section(Words("Signals of quality", "质量信号"), lead, [examples(groups)])


def _said(name: str, share: str) -> Words:
    title = TITLES.get(name, Words(name.replace("_", " "), name))
    return Words(f"{title.en}, {share}", f"{title.zh}，{share}")


def _numbers(measures: Mapping[str, Any]) -> Section:
    known = {name: one for name, one in (measures.get("numbers") or {}).items() if one["rows"]}
    blocks: list[Markup] = []
    if known:
        columns = [
            Column(Words("measure", "指标")),
            Column(Words("what it is", "含义")),
            Column(Words("rows", "行数"), number=True),
            Column("p5", number=True),
            Column(Words("median", "中位数"), number=True),
            Column("p95", number=True),
            Column(Words("highest", "最大"), number=True),
        ]
        rows: list[list[Text]] = [
            [
                name,
                _titled(name, one["unit"], one["field"]),
                number(one["rows"]),
                *(_figure(one[key]) for key in ("p5", "p50", "p95", "max")),
            ]
            for name, one in known.items()
        ]
        blocks.append(table(columns, rows))
    for name, why in (measures.get("not_measured") or {}).items():
        blocks.append(note(Words(f"`{name}` was not measured: {why}", f"未测量 `{name}`：{why}")))
    lead = Words(
        "Readability, variety and make-up of the texts. Each can be named in `- use: where`.",
        "文本的可读性、多样性与构成。每一项都可用于 `- use: where`。",
    )
    return Section(Words("Measures", "各项指标"), lead, blocks)


def _titled(name: str, unit: str, field: str) -> Words:
    title = TITLES.get(name, Words(name.replace("_", " "), name))
    chinese = f"{UNITS_ZH.get(unit, unit)}，{_FIELDS.get(field, field)}"
    return Words(f"{title.en} ({unit}, {field})", f"{title.zh}（{chinese}）")


def _figure(value: float | int | None) -> str:
    if value is None or isinstance(value, int) or abs(value) >= 100:
        return number(value if value is None else round(value))
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


_FIELDS = {
    "instruction": "指令",
    "answer": "回答",
    "conversation": "整段对话",
    "prompt": "提示",
    "chosen": "被选回答",
    "rejected": "落选回答",
    "text": "文本",
}
UNITS_ZH = {
    "characters": "字符",
    "words": "词",
    "share": "占比",
    "times": "倍",
    "items": "项",
    "addresses": "个",
    "questions": "个",
    "messages": "条",
    "points": "分",
    "US school grade": "美国年级",
    "years of schooling": "受教育年数",
    "HSK 3.0 level": "HSK 3.0 等级",
    "Bloom's level": "布鲁姆层级",
    "true/false": "是/否",
}
"""What numbers count, in Chinese."""
TITLES = {
    "automated_readability_index": Words("Automated Readability Index", "自动可读性指数（英文）"),
    "bloom_level": Words("Bloom's level of the instruction", "指令的布鲁姆认知层级"),
    "chars": Words("Length", "长度"),
    "cjk_share": Words("Chinese, Japanese or Korean characters", "中日韩字符占比"),
    "code_share": Words("Part of the text in code blocks", "代码块占比"),
    "coleman_liau_index": Words("Coleman–Liau index", "Coleman–Liau 指数（英文）"),
    "compression_ratio": Words("How well it compresses: repetitive text does", "压缩比：重复多则高"),
    "dale_chall_readability_score": Words("Dale–Chall readability", "Dale–Chall 可读性（英文）"),
    "digit_share": Words("Digits", "数字占比"),
    "distinct_2": Words("Different pairs of words", "不同二元组占比"),
    "duplicate_line_share": Words("Lines said before", "重复行占比"),
    "flesch_kincaid_grade": Words("Flesch–Kincaid grade", "Flesch–Kincaid 年级（英文）"),
    "flesch_reading_ease": Words("Flesch reading ease", "Flesch 易读度（英文）"),
    "gunning_fog": Words("Gunning fog index", "Gunning 迷雾指数（英文）"),
    "hallucinated_link": Words("A link that cannot be", "不可能存在的链接"),
    "hsk_level": Words("Level of its Chinese", "中文难度等级"),
    "instruction_answer_overlap": Words("Words of the answer that the question has", "回答与问题的重叠"),
    "invalid_json": Words("JSON that is none", "JSON 无法解析"),
    "lexical_diversity": Words("Lexical diversity", "词汇多样性"),
    "list_item_count": Words("Items of lists", "列表项数"),
    "open_code_fence": Words("A code block that stays open", "代码块未闭合"),
    "over_apologetic": Words("Too many apologies", "过度道歉"),
    "over_short": Words("Too short for what was asked", "相对于要求过短"),
    "prompt_injection": Words("Text that gives the model orders", "提示注入"),
    "punctuation_share": Words("Punctuation", "标点占比"),
    "question_count": Words("Questions", "问句数"),
    "restates_question": Words("Only says the question again", "只复述问题"),
    "sentence_chars": Words("Mean length of a sentence", "平均句长"),
    "sentence_words": Words("Mean length of a sentence", "平均句长"),
    "smog_index": Words("SMOG index", "SMOG 指数（英文）"),
    "templated_opening": Words("A stock opening", "套话开头"),
    "toxic_words": Words("Toxic words", "辱骂等有害词语"),
    "turns": Words("Messages of a conversation", "对话消息数"),
    "uppercase_share": Words("Capital letters", "大写字母占比"),
    "url_count": Words("Addresses of pages", "网址数"),
}
"""What each measure is called in reports."""
