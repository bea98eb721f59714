"""The page for a run or an import."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from schemas.report import (
    Column,
    Lang,
    LengthRow,
    Section,
    Text,
    Words,
    bars,
    columns,
    equation,
    examples,
    headline,
    histograms,
    listing,
    note,
    number,
    page,
    percent,
    steps,
    table,
    title_of,
)
from schemas.report_clusters import cluster_sections, conflict_section
from schemas.report_passages import passage_section
from schemas.report_profile import (
    KIND_NAMES,
    fields_of,
    findings_section,
    language_of,
    profile_sections,
    profile_tiles,
    rejected_section,
    rows_of,
    spoken,
    verdict_bar,
)
from schemas.report_scrub import names_line, scrub_section
from schemas.report_synth import render_synth


def _with_language(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report with languages guessed from the rows that it shows, where those of its rows are not known."""
    known = {code: rows for code, rows in (report.get("languages") or {}).items() if code != "?"}
    if known:
        return {"languages": known}
    shown = [str(one.get("excerpt") or "") for one in report.get("examples") or []]
    chinese = sum(1 for text in shown if re.search("[\u4e00-\u9fff]", text))
    return {"languages": {"zh": chinese, "other": len(shown) - chinese}}


def render_run(report: Mapping[str, Any], *, when: str | None = None, lang: Lang = "auto") -> str:
    """The page for a run or an import. All keys but title, rows_in and rows_out may be missing.

    title, dataset (path), kind, rows_in, rows_out, rejected, merged, made, dropped {reason: n},
    funnel [{step, use, rows_in, dropped {reason: n}, edited, seconds}],
    examples of dropped rows [{reason, step, id, where "file:line", excerpt, because}],
    rejected_reasons {reason: n}, rejected_examples [{reason, file, line, excerpt}],
    sources [{name, kind, licence, training, personal_data, rows}], findings (as in a profile),
    inputs [{path, rows, fingerprint}], fingerprint, recipe (YAML text), clusters and conflicts (see
    `report_clusters`), passages:FIELD (see `report_passages`), before and after (profiles). A report with
    `after` alone, such as an import's, shows that profile whole; one with `synth` is a job's, with a page of its own.
    """
    if "synth" in report:
        return render_synth(report)
    before, after = report.get("before"), report.get("after")
    kind = KIND_NAMES.get(str(report.get("kind", "")))
    facts: list[Text] = [kind or "", str(report.get("dataset") or ""), when or ""]
    stand = [verdict_bar(after), profile_tiles(after)] if after and not before else []
    scrubbed = [part for name, part in report.items() if name == "scrubbed" or name.startswith("scrubbed:")]
    names = next((line for part in scrubbed if (line := names_line(part))), [])
    opening = Section(blocks=[*names, headline(_run_headline(report)), _balance(report), *stand])
    sections = [
        opening,
        *map(scrub_section, scrubbed),
        findings_section(report.get("findings") or []),
        _funnel_section(report),
        _dropped_section(report),
    ]
    sections += [*cluster_sections(report.get("clusters") or {}), conflict_section(report.get("conflicts") or [])]
    sections += [passage_section(part) for name, part in report.items() if name.startswith("passages:")]
    if before and after:
        sections.append(_before_after(before, after))
    elif after:
        left_out = ("findings", "rejected") if report.get("findings") else ("rejected",)
        sections += profile_sections({key: value for key, value in after.items() if key not in left_out})
    sections += [
        rejected_section(_rejected_reasons(report), report.get("rejected_examples") or []),
        _origin_section(report),
        _recipe_section(report),
    ]
    subject = Words("Run report", "处理报告") if report.get("funnel") else Words("Import report", "导入报告")
    return page(
        str(report["title"]),
        subject,
        sections,
        facts=facts,
        lang=language_of(lang, after or before or _with_language(report)),
    )


def _run_headline(report: Mapping[str, Any]) -> Words:
    rows_in, rows_out = int(report["rows_in"]), int(report["rows_out"])
    if not rows_in:
        return Words("There were no rows.", "没有输入行。")
    if rows_out == rows_in and not report.get("made"):
        return Words(f"All {number(rows_in)} rows were kept.", f"{number(rows_in)} 行全部保留。")
    kept = rows_out - int(report.get("made") or 0)
    return Words(
        f"{number(kept)} of {number(rows_in)} rows were kept, {percent(kept, rows_in)}.",
        f"{number(rows_in)} 行中保留了 {number(kept)} 行（{percent(kept, rows_in)}）。",
    )


def _rejected_reasons(report: Mapping[str, Any]) -> dict[str, int]:
    reasons = report.get("rejected_reasons") or report.get("rejected") or {}
    if isinstance(reasons, Mapping):
        return dict(reasons)
    counted: dict[str, int] = {}
    for one in report.get("rejected_examples") or []:
        counted.setdefault(str(one.get("reason")), 0)
    if len(counted) == 1:
        return {next(iter(counted)): int(reasons)}
    return {**counted, "rejected": int(reasons)} if not counted else {}


def _balance(report: Mapping[str, Any]) -> Markup:
    rejected = report.get("rejected") or 0
    lost = {
        "rejected": sum(rejected.values()) if isinstance(rejected, Mapping) else int(rejected),
        "dropped": sum((report.get("dropped") or {}).values()),
        "merged": int(report.get("merged") or 0),
    }
    names = {
        "rejected": Words("rejected", "被拒绝"),
        "dropped": Words("dropped", "剔除"),
        "merged": Words("merged", "合并"),
    }
    terms: list[tuple[str, int, Text]] = [("", int(report["rows_in"]), Words("rows in", "输入行"))]
    terms += [("−", count, names[name]) for name, count in lost.items() if count]
    if made := int(report.get("made") or 0):
        terms.append(("+", made, Words("made", "新增")))
    terms.append(("=", int(report["rows_out"]), Words("rows out", "输出行")))
    return equation(terms)


def _funnel_section(report: Mapping[str, Any]) -> Section:
    funnel = report.get("funnel") or []
    lead = Words(
        "What each step did, in order. Red is what it dropped.", "各步骤按顺序所做的处理，红色为被剔除的部分。"
    )
    return Section(Words("Step by step", "逐步处理"), lead, [steps(funnel)] if funnel else [])


def _dropped_section(report: Mapping[str, Any]) -> Section:
    dropped = report.get("dropped") or {}
    if not dropped:
        return Section()
    ordered = sorted(dropped.items(), key=lambda one: (-one[1], one[0]))
    shown: dict[str, list[Mapping[str, Any]]] = {}
    for one in report.get("examples") or []:
        shown.setdefault(str(one.get("reason")), []).append(one)
    groups: list[tuple[str, Text, int | None, Sequence[Mapping[str, Any]]]] = [
        (reason, _in_step(shown[reason]), count, shown[reason]) for reason, count in ordered if reason in shown
    ]
    lead = Words(
        "Nothing is lost: the dataset's `dropped` folder has every row and its reason (`curate show --dropped`).",
        "没有数据丢失：被剔除的行连同原因保存在数据集的 `dropped` 目录中，可用 `curate show --dropped` 查看。",
    )
    chart = bars(ordered, whole=int(report["rows_in"]), tone="bad")
    return Section(Words("Dropped, and why", "剔除原因"), lead, [chart, examples(groups)])


def _in_step(shown: Sequence[Mapping[str, Any]]) -> Text:
    steps_named = ", ".join(sorted({str(one["step"]) for one in shown if one.get("step")}))
    return Words(f"in step `{steps_named}`", f"步骤 `{steps_named}`") if steps_named else ""


def _before_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> Section:
    heads = [Column(""), *(Column(name, number=True) for name in (_BEFORE, _AFTER, Words("change", "变化")))]
    rows: list[list[Text]] = [_compared(Words("Rows", "行数"), before["rows"], after["rows"])]
    for name in fields_of(before):
        for key, words in (("p50", Words("median", "中位数")), ("p95", Words("95th percentile", "95 分位"))):
            old, new = ((profile.get("lengths") or {}).get(name, {}).get(key) for profile in (before, after))
            if old is not None and new is not None:
                title = title_of(name)
                label = (
                    Words(f"{title.en}, {words.en}", f"{title.zh}，{words.zh}") if isinstance(title, Words) else title
                )
                rows.append(_compared(label, old, new))
    blocks = [table(heads, rows)]
    for name in fields_of(before)[:2]:
        lines = [
            LengthRow(
                label, profile["histograms"][name]["characters"], profile["lengths"][name], rows_of(profile["rows"])
            )
            for label, profile in ((_BEFORE, before), (_AFTER, after))
            if "characters" in (profile.get("histograms") or {}).get(name, {})
        ]
        title = title_of(name)
        if len(lines) == 2 and isinstance(title, Words):
            blocks.append(histograms(lines, caption=Words(f"{title.en}, characters", f"{title.zh}，字符")))
    mixes = [
        bars(spoken(profile["languages"]), caption=label, whole=profile["rows"])
        for label, profile in ((_BEFORE, before), (_AFTER, after))
        if profile.get("languages")
    ]
    if len(mixes) == 2:
        blocks.append(columns(mixes))
    lead = Words(
        "The same measures of what went in and what came out. Lengths in characters.",
        "对输入和输出做同样的度量，长度单位为字符。",
    )
    return Section(Words("Before and after", "前后对比"), lead, blocks)


def _compared(label: Text, old: int, new: int) -> list[Text]:
    change = "–" if old == new or not old else f"{100 * (new - old) / old:+.1f}%".replace("-", "−")
    return [label, number(old), number(new), change]


def _origin_section(report: Mapping[str, Any]) -> Section:
    blocks = []
    if sources := report.get("sources"):
        heads = [
            Column(Words("Source", "来源")),
            Column(Words("Kind", "方式")),
            Column(Words("Licence", "许可")),
            Column(Words("Training", "可否训练")),
            Column(Words("Personal data", "个人信息")),
            Column(Words("Rows", "行数"), number=True),
        ]
        rows = [
            (
                str(one.get("name") or ""),
                _SOURCE_WORDS.get(str(one.get("kind")), str(one.get("kind") or "–")),
                str(one.get("licence") or "–"),
                _SOURCE_WORDS.get(str(one.get("training")), str(one.get("training") or "–")),
                _SOURCE_WORDS.get(str(one.get("personal_data")), str(one.get("personal_data") or "–")),
                number(one.get("rows")),
            )
            for one in sources
        ]
        blocks.append(table(heads, rows))
    if inputs := report.get("inputs"):
        heads = [
            Column(Words("Input", "输入")),
            Column(Words("Fingerprint", "指纹")),
            Column(Words("Rows", "行数"), number=True),
        ]
        files = [
            (str(one.get("path") or ""), str(one.get("fingerprint") or "–")[:16], number(one.get("rows")))
            for one in inputs
        ]
        blocks.append(table(heads, files))
    lead = Words("Where the rows come from and what may be done with them.", "数据从哪里来，可以怎样使用。")
    return Section(Words("Origin", "出处"), lead, blocks)


def _recipe_section(report: Mapping[str, Any]) -> Section:
    blocks = []
    if recipe := report.get("recipe"):
        blocks.append(listing(str(recipe)))
    if fingerprint := report.get("fingerprint"):
        blocks.append(note(Words(f"Fingerprint `{fingerprint}`", f"指纹 `{fingerprint}`")))
    lead = Words("The same recipe on the same input gives the same rows.", "同样的配方和输入，总是得到同样的数据。")
    return Section(Words("Recipe", "配方"), lead, blocks)


_BEFORE, _AFTER = Words("before", "处理前"), Words("after", "处理后")
_SOURCE_WORDS = {
    "buy": Words("bought", "购买"),
    "build": Words("built", "自建"),
    "collect": Words("collected", "采集"),
    "allowed": Words("allowed", "允许"),
    "conditional": Words("conditional", "有条件"),
    "denied": Words("denied", "禁止"),
    "unknown": Words("unknown", "未知"),
    "present": Words("present", "含有"),
    "scrubbed": Words("scrubbed", "已脱敏"),
    "none": Words("none", "无"),
}
