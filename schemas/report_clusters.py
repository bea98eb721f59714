"""The part of a run's report about near duplicates: what to choose a threshold by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from schemas.report import Column, Section, Words, bars, note, number, pairs, percent, table


def cluster_sections(clusters: Mapping[str, Any]) -> list[Section]:
    """Sections for {how, rows, dropped, clusters, sizes [[name, n]], curve [[threshold, rows]], by_source [[name, rows,
    dropped]], largest [{size, pairs}], borderline [pair]}; a pair is {id, kept, similarity, left, right}."""
    if not clusters:
        return []
    opening = Section(
        Words("Near duplicates", "近似重复"),
        _lead(clusters),
        [note(_how(clusters["how"])), *_curve(clusters), *_sizes(clusters), *_sources(clusters["by_source"])],
    )
    return [opening, _borderline(clusters["borderline"]), _largest(clusters["largest"])]


def conflict_section(conflicts: Sequence[Mapping[str, Any]]) -> Section:
    """A section for [{question, kinds, rows, answers [{rows, id, answer, about}]}]."""
    if not conflicts:
        return Section()
    lead = Words(
        "Nearly the same question, and answers that cannot all be right. People should settle these.",
        "几乎相同的问题，回答却互相矛盾，不可能都对。这些应由人来裁定。",
    )
    columns = [
        Column(Words("rows", "行数"), number=True),
        Column(Words("answer", "回答")),
        Column(Words("disagrees on", "矛盾之处")),
    ]
    blocks = [
        table(
            columns,
            [[number(one["rows"]), str(one["answer"]), str(one["about"])] for one in conflict["answers"]],
            caption=str(conflict["question"]),
        )
        for conflict in conflicts
    ]
    return Section(Words("Conflicting answers", "互相矛盾的回答"), lead, blocks)


def _lead(clusters: Mapping[str, Any]) -> Words:
    dropped, total, groups = (number(clusters[name]) for name in ("dropped", "rows", "clusters"))
    known = int(clusters.get("known") or 0)
    return Words(
        f"{dropped} of {total} rows went for a row that stays, in {groups} clusters. Every pair was verified."
        + (f" {number(known)} more are like rows of the other dataset." if known else ""),
        f"{total} 行中有 {dropped} 行因与某一保留行近似而剔除，共 {groups} 组。每一对都经过精确核对。"
        + (f"另有 {number(known)} 行与另一数据集中的行近似。" if known else ""),
    )


def _how(how: Mapping[str, Any]) -> Words:
    unit = Words("characters", "字符") if how["unit"] == "characters" else Words("words", "词")
    n = how["n"]
    shingles = Words(
        f"shingles of {n} {unit.en}" if n else f"shingles of 5 {unit.en}, pairs for short texts",
        f"连续 {n} 个{unit.zh}" if n else f"连续 5 个{unit.zh}，短文本用 2 个",
    )
    threshold, verified = f"{how['threshold']:g}", number(how["verified"])
    if how["search"] == "lsh":
        bands, rows, recall = how["bands"], how["rows"], percent(how["recall"], 1)
        return Words(
            f"MinHash LSH over {shingles.en}: {bands} bands of {rows} values find {recall} of the pairs just at "
            f"the threshold of {threshold}. {verified} pairs were compared.",
            f"对{shingles.zh}做 MinHash LSH：{bands} 段、每段 {rows} 个值，"
            f"恰在阈值 {threshold} 处的成对召回率 {recall}。"
            f"共比较 {verified} 对。",
        )
    return Words(
        f"Exact search over {shingles.en}: no pair at or above the threshold of {threshold} is missed. Rows have "
        f"{how['per_row']:g} shingles on average; {verified} pairs were compared.",
        f"对{shingles.zh}做精确检索：不会漏掉任何不低于阈值 {threshold} 的成对。"
        f"平均每行 {how['per_row']:g} 个片段，共比较 {verified} 对。",
    )


def _curve(clusters: Mapping[str, Any]) -> list[Markup]:
    points = [(f"{threshold:.2f}", int(rows)) for threshold, rows in clusters["curve"]]
    caption = Words("Threshold, and about how many rows stay", "阈值与大致保留的行数")
    return [bars(points, whole=int(clusters["rows"]), caption=caption)] if points else []


def _sizes(clusters: Mapping[str, Any]) -> list[Markup]:
    sizes = [(str(name), int(count)) for name, count in clusters["sizes"]]
    caption = Words("Rows in a cluster, and how many clusters there are of that size", "每组行数与组数")
    return [bars(sizes, whole=int(clusters["clusters"]), caption=caption)] if sizes else []


def _sources(by_source: Sequence[Sequence[Any]]) -> list[Markup]:
    if not by_source:
        return []
    columns = [
        Column(Words("source", "来源")),
        Column(Words("rows", "行数"), number=True),
        Column(Words("dropped", "剔除"), number=True),
        Column(Words("share", "占比"), number=True),
    ]
    rows = [[str(name), number(rows), number(gone), percent(gone, rows)] for name, rows, gone in by_source]
    return [table(columns, rows)]


def _borderline(shown: Sequence[Mapping[str, Any]]) -> Section:
    if not shown:
        return Section()
    lead = Words(
        "The least alike of the pairs. If they ask for different things, raise the threshold; if they are plainly the "
        "same, lower it. Left is the row that stays.",
        "最不相似的几对。若它们要求的并不是同一件事，请调高阈值；若明显相同，可以调低。左侧为保留的行。",
    )
    return Section(Words("At the border", "临界的成对"), lead, [pairs(shown)])


def _largest(shown: Sequence[Mapping[str, Any]]) -> Section:
    if not shown:
        return Section()
    lead = Words(
        "A row that stays on the left, and the least alike of the rows that went for it on the right.",
        "左侧为保留的行，右侧为因它而剔除、最不相似的行。",
    )
    blocks = []
    for cluster in shown:
        size = number(cluster["size"])
        blocks += [note(Words(f"{size} rows", f"{size} 行")), pairs(cluster["pairs"])]
    return Section(Words("Largest clusters", "最大的组"), lead, blocks)
