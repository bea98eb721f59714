"""The part of a profile's page about what instructions ask for: verbs with their objects, and Bloom's levels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from schemas.excerpt import printable
from schemas.report import Column, Section, Words, note, number, percent, shares, table

_COLOURS = 8
_SIZE = 640
_HOLE, _MIDDLE, _RIM = 78.0, 178.0, 250.0
_GAP = 0.004
_WORD_ANGLE = 0.05
"""Radians that a word at the rim takes."""

_LEVELS = {
    "1": Words("remember", "记忆"),
    "2": Words("understand", "理解"),
    "3": Words("apply", "应用"),
    "4": Words("analyse", "分析"),
    "5": Words("evaluate", "评价"),
    "6": Words("create", "创造"),
}
_LANGUAGES = {"en": Words("English", "英语"), "zh": Words("Chinese", "中文"), "other": Words("others", "其他语言")}


def verbs_section(summary: Mapping[str, Any]) -> Section:
    """The section for what `curate.complexity.Verbs.result` gives; none where nothing was measured."""
    measured = summary.get("measured") or {}
    if not measured.get("rows"):
        return Section()
    rows, pairs = measured["rows"], measured["with_pair"]
    lead = Words(
        f"{percent(pairs, rows)} of the instructions name something to do and what to do it to: "
        f"{number(measured['distinct_pairs'])} different pairs, {measured['entropy_bits']:.1f} bits of entropy. "
        f"{percent(measured['simple'], rows)} ask only for what one remembers (list, name), "
        f"{percent(measured['hard'], rows)} for more (explain, compare, write).",
        f"{percent(pairs, rows)} 的指令说明了要做什么、对什么做：共 {number(measured['distinct_pairs'])} 种动宾搭配，"
        f"熵为 {measured['entropy_bits']:.1f} 比特。{percent(measured['simple'], rows)} 只需回忆（列出、说出），"
        f"{percent(measured['hard'], rows)} 要求更多（解释、比较、写作）。",
    )
    blocks = [
        _sunburst(summary["pairs"], rows),
        _levels(measured),
        *_by_language(summary["languages"]),
        *_pairs(summary["pairs"]),
        *_notes(summary),
    ]
    return Section(Words("What is asked for", "要求做什么"), lead, blocks)


class _Arc(NamedTuple):
    """Part of a ring: angles clockwise from the top, radii, colour, how strong, what it says, where, its tooltip."""

    begin: float
    end: float
    inner: float
    outer: float
    colour: int
    opacity: float
    label: str
    label_at: float
    """The label's angle; none is shown where that is not below `room`, at which other words begin."""
    room: float
    title: str


def _sunburst(pairs: Mapping[str, Mapping[str, Any]], whole: int) -> Markup:
    """Verbs in the inner ring and their objects in the outer one; angles are rows. Empty where there are no pairs."""
    arcs = list(_arcs(pairs, whole))
    if not arcs:
        return Markup("")
    half = _SIZE / 2
    drawn = Markup("").join(map(_drawn, arcs))
    return Markup(
        '<figure class="sunburst"><svg viewBox="{} {} {} {}" role="img" style="max-width:{}px;margin:1.2rem auto 0">'
        '<g style="font-size:11px">{}</g></svg></figure>'
    ).format(-half, -half, _SIZE, _SIZE, _SIZE, drawn)


def _arcs(pairs: Mapping[str, Mapping[str, Any]], whole: int) -> Iterator[_Arc]:
    total = sum(int(one["rows"]) for one in pairs.values())
    begin = 0.0
    for place, (verb, one) in enumerate(pairs.items()):
        colour, rows = place % _COLOURS + 1, int(one["rows"])
        end = begin + math.tau * rows / total
        room = end - _WORD_ANGLE / 2
        yield _Arc(begin, end, _HOLE, _MIDDLE, colour, 0.85, verb, (begin + end) / 2, room, _title(verb, rows, whole))
        at, word_at = begin, begin - _WORD_ANGLE / 2
        for noun, count in one["objects"].items():
            after = at + math.tau * count / total
            # Behind the word before it, if need be, for as long as there is room beside the verb.
            word_at = max((at + after) / 2, word_at + _WORD_ANGLE)
            said = _title(f"{verb} · {noun}", count, whole)
            yield _Arc(at, after, _MIDDLE, _RIM, colour, 0.6, noun, word_at, room, said)
            at = after
        if at < end - 1e-9:
            yield _Arc(at, end, _MIDDLE, _RIM, colour, 0.15, "", end, end, _title(f"{verb} · …", _rest(one), whole))
        begin = end


def _rest(one: Mapping[str, Any]) -> int:
    return int(one["rows"]) - sum(map(int, one["objects"].values()))


def _title(what: str, rows: int, whole: int) -> str:
    return f"{what}: {number(rows)} · {percent(rows, whole)}"


def _drawn(arc: _Arc) -> Markup:
    path = Markup('<path class="fill-c{}" fill-opacity="{}" d="{}"><title>{}</title></path>').format(
        arc.colour, arc.opacity, _path(arc), printable(arc.title)
    )
    if not arc.label or arc.label_at > arc.room:
        return path
    # Words run outward; on the left half they are turned round, so that none stands on its head.
    turned = arc.label_at % math.tau > math.pi
    degrees = math.degrees(arc.label_at) - 90 + (180 if turned else 0)
    outside = arc.outer == _RIM
    radius = arc.outer + 5 if outside else (arc.inner + arc.outer) / 2
    anchor = ("end" if turned else "start") if outside else "middle"
    # The inner ring is of middle tones in light and dark alike.
    return path + Markup(
        '<text transform="rotate({:.2f}) translate({:.1f} 0)" text-anchor="{}" dominant-baseline="central" '
        'style="fill:{}">{}</text>'
    ).format(
        degrees,
        -radius if turned else radius,
        anchor,
        "var(--ink)" if outside else "#14171b",
        _shortened(arc.label, 11 if outside else 14),
    )


def _path(arc: _Arc) -> str:
    """A ring segment as SVG has it; a whole ring is drawn a little short: an arc cannot end where it began."""
    begin, end = arc.begin, min(arc.end, arc.begin + math.tau - 0.001)
    if end - begin > 2 * _GAP:
        begin, end = begin + _GAP / 2, end - _GAP / 2
    large = int(end - begin > math.pi)
    outer, inner = (arc.outer - 1.0, arc.inner + 1.0)
    return (
        f"M{_point(outer, begin)}A{outer:g} {outer:g} 0 {large} 1 {_point(outer, end)}"
        f"L{_point(inner, end)}A{inner:g} {inner:g} 0 {large} 0 {_point(inner, begin)}Z"
    )


def _point(radius: float, angle: float) -> str:
    return f"{radius * math.sin(angle):.2f} {-radius * math.cos(angle):.2f}"


def _shortened(label: str, most: int) -> str:
    """What there is room for: a Chinese character takes as much as two letters."""
    room, shown = most, ""
    for letter in printable(label):
        room -= 2 if ord(letter) > 0x2E7F else 1
        if room < 0:
            return shown + "…"
        shown += letter
    return shown


def _levels(measured: Mapping[str, Any]) -> Markup:
    levels = measured["levels"]
    none = measured["rows"] - sum(levels.values())
    parts: list[tuple[Words, int, str]] = [
        (_LEVELS[level], rows, f"c{place}") for place, (level, rows) in enumerate(levels.items(), 1)
    ]
    return shares([*parts, (Words("no such verb", "无此类动词"), none, "c8")])


def _by_language(languages: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    if len(languages) < 2:
        return []
    shown = [
        Column(Words("language", "语言")),
        Column(Words("rows", "行数"), number=True),
        Column(Words("with a pair", "有动宾搭配"), number=True),
        Column(Words("different pairs", "搭配种数"), number=True),
        Column(Words("entropy, bits", "熵（比特）"), number=True),
        Column(Words("only remember", "只需回忆"), number=True),
        Column(Words("more", "要求更多"), number=True),
    ]
    cells = [
        [
            _LANGUAGES.get(name, name),
            number(one["rows"]),
            percent(one["with_pair"], one["rows"]),
            number(one["distinct_pairs"]),
            f"{one['entropy_bits']:.1f}",
            percent(one["simple"], one["rows"]),
            percent(one["hard"], one["rows"]),
        ]
        for name, one in languages.items()
    ]
    return [table(shown, cells)]


def _pairs(pairs: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    if not pairs:
        return []
    shown = [
        Column(Words("verb", "动词")),
        Column(Words("rows", "行数"), number=True),
        Column(Words("commonest objects", "最常见的宾语")),
    ]
    cells = [
        [verb, number(one["rows"]), " · ".join(f"{noun} {number(count)}" for noun, count in one["objects"].items())]
        for verb, one in pairs.items()
    ]
    return [table(shown, cells)]


def _notes(summary: Mapping[str, Any]) -> Iterator[Markup]:
    yield note(
        Words(
            "Inner ring: the commonest verbs, each with all its objects; outer ring: the commonest objects of each. "
            "After Self-Instruct (Wang et al. 2022), by each instruction's first sentence. Levels are those of Bloom's "
            "taxonomy (Anderson & Krathwohl 2001), by lists of verbs. English is parsed and Chinese goes by rules, so "
            "compare sets of one language.",
            "内圈为最常见的动词（含其全部宾语），外圈为各动词最常见的宾语。方法依 Self-Instruct（Wang 等，2022），"
            "只看每条指令的第一句。层级依布卢姆分类法（Anderson 与 Krathwohl，2001），按动词表判定。"
            "英语用句法分析，中文用规则，因此只宜在同一语言的数据之间比较。",
        )
    )
    if sample := summary.get("sample"):
        looked, about = number(sample["sentences"]), number(summary["sentences"])
        yield note(
            Words(
                f"A sample: {looked} of about {about} different first sentences, with all their "
                f"{number(sample['rows'])} rows.",
                f"此为抽样：约 {about} 个不同的首句中取 {looked} 个，共 {number(sample['rows'])} 行。",
            )
        )
    for language, one in (summary.get("not_measured") or {}).items():
        name = _LANGUAGES.get(language, Words(language, language))
        yield note(
            Words(
                f"Not measured: {number(one['rows'])} rows ({name.en}): {one['why']}",
                f"未测量：{number(one['rows'])} 行（{name.zh}）：{one['why']}",
            )
        )
