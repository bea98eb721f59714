"""The page for a job of synthesis: what was made, what it cost, what may be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from schemas.report import (
    Column,
    Section,
    Text,
    Words,
    equation,
    examples,
    headline,
    listing,
    note,
    number,
    page,
    percent,
    table,
)
from schemas.report_profile import KIND_NAMES, findings_section, language_of, rejected_section

_VERDICTS = {
    "allow": Words("may be trained on", "可用于训练"),
    "conditions": Words("may be trained on, with duties", "可用于训练，但有附带义务"),
    "review": Words("somebody has to look", "需人工审查"),
    "deny": Words("may not be trained on", "不可用于训练"),
}


def render_synth(report: Mapping[str, Any]) -> str:
    """The page for a job, from the dataset's report whose key `synth` says what `synth show` prints."""
    job = report["synth"]
    kind = KIND_NAMES.get(str(report.get("kind", "")), "")
    opening = Section(blocks=[headline(_headline(job)), _balance(job)])
    sections = [
        opening,
        findings_section(report.get("findings") or []),
        _cost_section(job),
        _terms_section(job),
        _examples_section(job),
        _diversity_section(job.get("diversity") or {}),
        rejected_section(job["rejected"], report.get("rejected_examples") or []),
        _recipe_section(report),
    ]
    subject = Words("Synthesis report", "合成报告")
    facts: list[Text] = [kind, str(job["task"]), str(report.get("created") or "")]
    return page(str(report["title"]), subject, sections, facts=facts, lang=language_of("auto", report))


def _headline(job: Mapping[str, Any]) -> Words:
    kept, tries = number(job["kept"]), number(job["tries"])
    if not job["complete"]:
        missing = number(job["missing"])
        return Words(
            f"{kept} rows were made before the budget ended; {missing} are missing.",
            f"预算用尽前生成了 {kept} 行，还缺 {missing}。",
        )
    return Words(f"{kept} rows were made in {tries} tries.", f"{tries} 次尝试生成了 {kept} 行。")


def _balance(job: Mapping[str, Any]) -> Markup:
    rejected = sum(job["rejected"].values())
    terms: list[tuple[str, int, Text]] = [
        ("", job["kept"] + rejected, Words("made or read", "生成或读入")),
        ("−", rejected, Words("rejected", "被拒绝")),
        ("=", job["kept"], Words("rows", "行")),
    ]
    return equation(terms)


def _cost_section(job: Mapping[str, Any]) -> Section:
    budget = job["budget"]
    tokens = job["tokens"]
    rows: list[list[Text]] = [
        [Words("requests paid", "已付费请求"), number(job["paid_requests"]), ""],
        [
            Words("tokens: prompts, answers", "词元：提示、回答"),
            f"{number(tokens['prompt'])}, {number(tokens['completion'])}",
            number(budget["tokens"]) if budget["tokens"] is not None else "–",
        ],
        [
            Words("money", "费用"),
            f"{job['money']:.4f}",
            f"{budget['money']:.4f}" if budget["money"] is not None else "–",
        ],
        [Words("sent, perhaps billed", "已发送，可能计费"), number(job["perhaps_billed"]["requests"]), ""],
        [Words("paid by earlier runs", "此前运行已付费"), number(job["resumed"]), ""],
        [Words("requests a second", "每秒请求数"), f"{job['this_run']['requests_per_second']:,.1f}", ""],
    ]
    heads = [Column(""), Column(Words("so far", "已用"), number=True), Column(Words("budget", "预算"), number=True)]
    return Section(Words("Cost", "成本"), blocks=[table(heads, rows)])


def _terms_section(job: Mapping[str, Any]) -> Section:
    teachers: list[list[Text]] = [
        [
            str(one["name"]),
            ", ".join(str(place["address"]) for place in one["endpoints"]),
            _VERDICTS[one["verdict"]],
            str(one["said"]),
        ]
        for one in job["teachers"]
    ]
    sources = [
        [str(one["name"]), str(one["training"]), str(one["personal_data"]), str(one["because"])]
        for one in job["sources"]
    ]
    blocks = [
        table(
            [
                Column(Words("teacher", "教师模型")),
                Column(Words("asked at", "调用地址")),
                Column(Words("its output", "其输出")),
                Column(Words("terms", "条款")),
            ],
            teachers,
        )
    ]
    if sources:
        blocks.append(
            table(
                [
                    Column(Words("source", "来源")),
                    Column(Words("training", "训练")),
                    Column(Words("personal data", "个人信息")),
                    Column(Words("because of", "依据")),
                ],
                sources,
            )
        )
    lead = Words(
        "A made row inherits the strictest of its teachers' terms and its seeds' restrictions. Not legal advice.",
        "生成的行沿用教师模型条款与种子来源中最严格的限制。本报告不构成法律意见。",
    )
    return Section(Words("What may be done with the rows", "这些行可以如何使用"), lead, blocks)


def _examples_section(job: Mapping[str, Any]) -> Section:
    shown = [
        {"where": str(one["id"]), "excerpt": "\n".join(f"{k}: {v}" for k, v in one.items() if k not in ("id", "kind"))}
        for one in job["examples"]
    ]
    if not shown:
        return Section()
    return Section(
        Words("Rows", "生成的行"), blocks=[examples([("made", Words("first rows", "前几行"), int(job["kept"]), shown)])]
    )


_SIDES = (("made", Words("made", "生成")), ("seeds", Words("seeds", "种子")))


def _diversity_section(spread: Mapping[str, Any]) -> Section:
    fields = spread.get("fields") or {}
    if not fields:
        return Section()
    rows: list[list[Text]] = []
    for field, one in fields.items():
        for side, words in _SIDES:
            if (found := one[side]) is not None:
                rows.append(
                    [
                        Words(f"{field}, {words.en}", f"{field}，{words.zh}"),
                        number(found["texts"]),
                        f"{found['distinct_1']:.3f}",
                        f"{found['distinct_2']:.3f}",
                        f"{found['self_overlap']:.3f}",
                        f"{found['compression_ratio']:.2f}",
                        number(found["lengths"]["p50"]),
                        f"{one['seed_overlap']:.3f}" if side == "made" else "",
                    ]
                )
    heads = [
        Column(Words("field", "字段")),
        Column(Words("texts", "文本数"), number=True),
        Column(Words("distinct-1", "distinct-1"), number=True),
        Column(Words("distinct-2", "distinct-2"), number=True),
        Column(Words("self-overlap", "自身重叠"), number=True),
        Column(Words("compression", "压缩比"), number=True),
        Column(Words("median tokens", "词元中位数"), number=True),
        Column(Words("shared with seeds", "与种子重叠"), number=True),
    ]
    depth = ", ".join(f"{depth}: {number(count)}" for depth, count in (spread.get("depth") or {}).items())
    share = spread.get("share_synthetic_seeds") or 0.0
    said = Words(
        f"Generations of teachers' answers that rows descend from: {depth}. "
        f"{percent(share, 1)} of the seeds were made by a teacher themselves.",
        f"各行经过的合成代数：{depth}。种子中有 {percent(share, 1)} 本身由教师模型生成。",
    )
    meaning = _meaning(spread.get("embeddings"))
    return Section(Words("Diversity", "多样性"), blocks=[table(heads, rows), *meaning, note(said)])


def _meaning(meant: Mapping[str, Any] | None) -> list[Markup]:
    """How varied the rows are in what they mean, where the recipe names embeddings."""
    if meant is None:
        return []
    rows: list[list[Text]] = []
    for field, one in meant["fields"].items():
        for side, words in _SIDES:
            if (found := one[side]) is not None:
                near = one["nearest_seed"] if side == "made" else None
                rows.append(
                    [
                        Words(f"{field}, {words.en}", f"{field}，{words.zh}"),
                        number(found["texts"]),
                        f"{found['vendi_score']:.1f}",
                        f"{found['mean_distance']:.3f}",
                        "" if near is None else f"{near:.3f}",
                    ]
                )
    if not rows:
        because = str(meant["because"])
        return [
            note(
                Words(
                    f"Embeddings of {meant['model']}: not measured, {because}",
                    f"{meant['model']} 的嵌入：未测量，{because}",
                )
            )
        ]
    heads = [
        Column(Words(f"by embeddings of {meant['model']}", f"按 {meant['model']} 的嵌入")),
        Column(Words("texts", "文本数"), number=True),
        Column(Words("Vendi score", "Vendi 分数"), number=True),
        Column(Words("mean distance", "平均距离"), number=True),
        Column(Words("nearest seed", "与最近种子的相似度"), number=True),
    ]
    return [
        table(heads, rows),
        note(
            Words(
                "The Vendi score is how many texts with nothing in common would be as varied; both sides have equally "
                "many texts. The distance is one minus the cosine; the nearest seed is the median similarity.",
                "Vendi 分数表示同等多样性相当于多少条互不相干的文本；两侧文本数相同。"
                "距离为一减余弦相似度；最近种子一列为相似度的中位数。",
            )
        ),
    ]


def _recipe_section(report: Mapping[str, Any]) -> Section:
    return Section(Words("Recipe", "配方"), blocks=[listing(str(report.get("recipe") or ""))])
