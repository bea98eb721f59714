"""Self-contained HTML reports: one page, no script, no network, dark and light, English and Chinese.

A page is made of pieces that any package may use: `tiles`, `shares`, `bars`, `histograms`, `table`, `examples`,
`findings`, `steps`, `equation`, `listing`, put into `Section`s and given to `page`. `render_profile` and `render_run`
are the two pages that `curate` writes. What a piece says is a `Words` (both languages) or a str (data, the same in
both); everything is escaped, and control and bidirectional characters are made visible, here and not by the caller.
Masking and cutting are the caller's: whatever comes from a row has passed `schemas.excerpt` before it comes here.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from schemas.excerpt import printable

Lang = Literal["auto", "en", "zh"]
"""Which language a page opens in; the reader can switch. `auto`: Chinese when most rows are."""

SHOWN = 12
"""How many bars a chart has at most."""


class Words(NamedTuple):
    """Something the report itself says, in both languages. What stands between backquotes is shown as code."""

    en: str
    zh: str


Text = str | Words
"""What a piece shows: the report's own words, or a piece of data."""


@dataclass(frozen=True)
class Tile:
    """One number that matters."""

    label: Text
    value: Text
    note: Text = ""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    label: Text
    number: bool = False


@dataclass(frozen=True)
class LengthRow:
    """One line of a length chart: `histogram` {edges, counts, zero} and `stats` {p50, p95, p99, max}."""

    label: Text
    histogram: Mapping[str, Any]
    stats: Mapping[str, float]
    note: Text = ""


@dataclass(frozen=True)
class Section:
    """A heading and the pieces under it."""

    title: Text = ""
    lead: Text = ""
    blocks: Sequence[Markup] = field(default_factory=tuple)


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def number(value: float | int | None) -> str:
    """`1234567` as `1,234,567`; nothing as a dash."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def percent(part: float, whole: float) -> str:
    """A share in per cent, with as many digits as mean something: `92.4%`, `<0.1%`, and 100% only when it is all."""
    if whole <= 0:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1%"
    if share < 100 and share > 99.9:
        return ">99.9%"
    return f"{share:.0f}%" if share in (0, 100) else f"{share:.1f}%"


def size(count: int | None) -> str:
    """Bytes in the unit that reads best: `2.1 MB`."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def short(value: float) -> str:
    """A number in a few characters, for tiles and axes: `12.3k`, `4.5M`."""
    for limit, divisor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= limit:
            scaled = value / divisor
            return f"{scaled:.0f}{unit}" if scaled >= 100 or scaled == int(scaled) else f"{scaled:.1f}{unit}"
    return f"{value:,.0f}"


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def tiles(items: Sequence[Tile]) -> Markup:
    """The numbers that matter, large."""
    return _macro("tiles", items)


def headline(text: Words) -> Markup:
    """One sentence that says how it stands."""
    return _macro("headline", text)


def note(text: Words) -> Markup:
    """A remark under a chart: what was measured, and what not."""
    return _macro("note", text)


def shares(parts: Iterable[tuple[Text, int, str]]) -> Markup:
    """One bar cut into shares: label, count, and colour (`accent`, `c1` … `c8`). Parts of nothing are left out."""
    given = [part for part in parts if part[1] > 0]
    total = sum(count for _, count, _ in given)
    segments, x = [], 0.0
    for label, count, colour in given:
        width = 1000 * count / total
        segment = {"label": label, "count": number(count), "share": percent(count, total), "colour": colour}
        segments.append(segment | {"x": f"{x:.2f}", "width": f"{width:.2f}"})
        x += width
    return _macro("shares", segments)


def bars(
    counts: Mapping[str, int] | Sequence[tuple[Text, int]],
    *,
    caption: Text = "",
    whole: int | None = None,
    tone: Literal["accent", "bad", "warn", "mild"] = "accent",
) -> Markup:
    """Horizontal bars in the order given, the longest as wide as the chart; shares are of `whole`, or of the sum."""
    rows: list[tuple[Text, int]] = list(counts.items()) if isinstance(counts, Mapping) else list(counts)
    total = sum(count for _, count in rows) if whole is None else whole
    if len(rows) > SHOWN:
        rest = sum(count for _, count in rows[SHOWN - 1 :])
        rows = [*rows[: SHOWN - 1], (Words("others", "其他"), rest)]
    longest = max((count for _, count in rows), default=0) or 1
    drawn = [
        {
            "label": _REST.get(label, label) if isinstance(label, str) else label,
            "count": number(count),
            "share": percent(count, total),
            "width": f"{1000 * count / longest:.1f}",
        }
        for label, count in rows
    ]
    return _macro("bars", caption, drawn, tone)


def histograms(rows: Sequence[LengthRow], *, caption: Text = "") -> Markup:
    """Distributions of lengths under each other on one logarithmic axis; the bright line is the median."""
    edges = [row.histogram["edges"] for row in rows if row.histogram["counts"]]
    if not edges:
        return Markup("")
    used = [_used(row.histogram) for row in rows if sum(row.histogram["counts"])]
    low = math.floor(math.log10(max(min((bounds[0] for bounds in used), default=1), 1)))
    high = math.log10(max(max((bounds[1] for bounds in used), default=10), 10 ** (low + 1)))
    span = high - low

    def x(value: float) -> float:
        return min(max(1000 * (math.log10(max(value, 1)) - low) / span, 0), 1000)

    ticks = [{"x": round(x(10**power), 1), "label": short(10**power)} for power in range(low, math.floor(high) + 1)]
    drawn = [_drawn(row, x) for row in rows]
    return _macro("histograms", caption, drawn, ticks, ("p50", "p95", "p99", "max"))


def _used(histogram: Mapping[str, Any]) -> tuple[int, int]:
    places = [place for place, count in enumerate(histogram["counts"]) if count]
    return histogram["edges"][places[0]], histogram["edges"][places[-1] + 1]


def _drawn(row: LengthRow, x: Any) -> dict[str, Any]:
    edges, counts = row.histogram["edges"], row.histogram["counts"]
    # Bins differ in width on the axis where lengths are small, so that the area is what counts.
    densities = [
        count / math.log(edges[place + 1] / edges[place]) if count else 0.0 for place, count in enumerate(counts)
    ]
    highest = max(densities, default=0) or 1.0
    drawn = []
    for place, count in enumerate(counts):
        if not count:
            continue
        left, right = x(edges[place]), x(edges[place + 1])
        height = max(100 * densities[place] / highest, 1.5)
        last = edges[place + 1] - 1
        span = number(edges[place]) if last == edges[place] else f"{number(edges[place])}–{number(last)}"
        drawn.append(
            {
                "x": f"{left:.1f}",
                "width": f"{max(right - left - 1.5, 0.8):.1f}",
                "y": f"{100 - height:.1f}",
                "height": f"{height:.1f}",
                "title": f"{span}: {number(count)}",
            }
        )
    median = row.stats.get("p50")
    return {
        "label": row.label,
        "note": row.note,
        "bars": drawn,
        "median": None if median is None else f"{x(median):.1f}",
        "title": ", ".join(f"{name} {number(row.stats.get(name))}" for name in ("min", "p50", "p95", "max")),
        "figures": [number(row.stats.get(name)) for name in ("p50", "p95", "p99", "max")],
    }


def table(columns: Sequence[Column], rows: Iterable[Sequence[Text]], *, caption: Text = "") -> Markup:
    """A table; cells are text, and numbers already written with `number`."""
    return _macro("table", columns, [list(row) for row in rows], caption)


def listing(text: str) -> Markup:
    """Program text, such as a recipe, line by line."""
    return _macro("listing", text.splitlines())


def columns(blocks: Sequence[Markup]) -> Markup:
    """Pieces beside each other where there is room."""
    return _macro("columns", [block for block in blocks if block])


def equation(terms: Sequence[tuple[str, int, Text]]) -> Markup:
    """Counts that balance: sign (`−`, `+`, `=` or nothing), count, what it is."""
    return _macro("equation", [{"sign": sign, "count": number(count), "label": label} for sign, count, label in terms])


def examples(groups: Iterable[tuple[str, Text, int | None, Sequence[Mapping[str, Any]]]]) -> Markup:
    """Rows shown under what they are examples of: name, note, how many there are, and {id, where, instruction, excerpt,
    because} of some."""
    drawn = [
        {
            "name": name,
            "note": about,
            "count": "" if count is None else number(count),
            "examples": [_example(one) for one in shown],
        }
        for name, about, count, shown in groups
    ]
    return _macro("examples", drawn)


def findings(items: Iterable[Mapping[str, Any]]) -> Markup:
    """Findings in the order given: {kind, severity, count, share, example, fix, use}."""
    drawn = []
    for item in items:
        severity = item.get("severity") if item.get("severity") in _LEVELS else "low"
        kind = str(item.get("kind", ""))
        share = item.get("share")
        example = item.get("example")
        drawn.append(
            {
                "severity": severity,
                "level": _LEVELS[str(severity)],
                "title": title_of(kind),
                "count": number(item.get("count")),
                "share": "" if share is None else percent(share, 1),
                "example": _example(example if isinstance(example, Mapping) else {"excerpt": example})
                if example
                else None,
                "fix": fix_of(item),
            }
        )
    return _macro("findings", drawn)


def pairs(items: Iterable[Mapping[str, Any]]) -> Markup:
    """Two texts side by side with their differences marked: {id, kept, similarity, left and right: [[text, "same" or
    "differs"]]}; left is the row that stays."""
    return _macro("pairs", [{**item, "similarity": f"{item['similarity']:.3f}"} for item in items])


def steps(funnel: Sequence[Mapping[str, Any]]) -> Markup:
    """The rows' way through a recipe: [{step, use, rows_in, dropped {reason: n}, edited, seconds}]."""
    most = max((int(step.get("rows_in") or 0) for step in funnel), default=0) or 1
    drawn = []
    for step in funnel:
        rows_in = int(step.get("rows_in") or 0)
        dropped = dict(step.get("dropped") or {})
        lost = sum(dropped.values())
        left = 1000 * (rows_in - lost) / most
        lost_width = max(1000 * lost / most, 4.0) if lost else 0.0
        drawn.append(
            {
                "step": str(step.get("step", "")),
                "use": "" if step.get("use") in (None, step.get("step")) else str(step["use"]),
                "rows_in": number(rows_in),
                "rows_out": number(rows_in - lost),
                "lost_rows": number(lost),
                "left": f"{min(left, 1000 - lost_width):.1f}",
                "lost": f"{lost_width:.1f}",
                "dropped": [(reason, number(count)) for reason, count in dropped.items() if count],
                "edited": number(step["edited"]) if step.get("edited") else "–",
                "seconds": "–" if step.get("seconds") is None else f"{step['seconds']:,.1f} s",
            }
        )
    return _macro("steps", drawn, _STEP_LABELS)


def page(
    title: str,
    subject: Text,
    sections: Sequence[Section],
    *,
    facts: Sequence[Text] = (),
    lang: Literal["en", "zh"] = "en",
    foot: Text = "",
) -> str:
    """A whole page: what it is about (`subject`), its title, a line of facts under it, and its sections."""
    shown = [section for section in sections if section.blocks]
    return str(_macro("page", title, subject, [fact for fact in facts if fact], shown, lang == "zh", foot or _FOOT))


def title_of(kind: str) -> Text:
    """What a kind of finding, check, field or identifier is called; an unknown one by its own name."""
    return _TITLES.get(kind) or kind.replace("_", " ")


def fix_of(finding: Mapping[str, Any]) -> Text:
    """What to do about a finding, in both languages where the kind is known."""
    english = str(finding.get("fix", ""))
    if use := finding.get("use"):
        return Words(english or f"add `- use: {use}` to a recipe", f"在配方中加入 `- use: {use}`")
    chinese = _FIXES_ZH.get(str(finding.get("kind", "")))
    return Words(english, chinese) if chinese else Words(english, english)


def _example(one: Mapping[str, Any]) -> dict[str, Any]:
    where = one.get("where") or ""
    if not where and one.get("file"):
        where = str(one["file"]) if one.get("line") is None else f"{one['file']}:{one['line']}"
    return {
        "id": str(one.get("id") or ""),
        "where": str(where),
        "instruction": one.get("instruction"),
        "excerpt": one.get("excerpt", ""),
        **_because(one.get("because")),
    }


def _because(because: object) -> dict[str, Text]:
    """What was found, in words. A stage that compares rows says it in JSON: `{"kept": id of the row that stays}`."""
    text = str(because or "")
    if kept := re.search(r'"kept": ?"(\w{8})', text):
        if alike := re.search(r'"similarity": ?([\d.]+)', text):
            return {
                "found": Words(f"{alike[1]} like row `{kept[1]}`", f"与行 `{kept[1]}` 的相似度为 {alike[1]}"),
                "because": "",
            }
        return {"found": Words(f"repeats row `{kept[1]}`", f"与行 `{kept[1]}` 重复"), "because": ""}
    return {"found": Words("found: ", "依据：") if text else "", "because": text}


# ── a profile ────────────────────────────────────────────────────────────────────────────────────────────────────────


def render_profile(profile: Mapping[str, Any], title: str, when: str | None = None, *, lang: Lang = "auto") -> str:
    """The page for a profile (its keys: `curate/profile.py`). `when` is a date as it should be read."""
    facts: list[Text] = [_kinds(profile), _amount(profile), when or ""]
    opening = Section(blocks=[headline(_profile_headline(profile)), _verdict_bar(profile), _profile_tiles(profile)])
    sections = [opening, *profile_sections(profile)]
    return page(title, Words("Data profile", "数据概览"), sections, facts=facts, lang=_language(lang, profile))


def profile_sections(profile: Mapping[str, Any]) -> list[Section]:
    """What a profile has to say below its first screen, for any page that holds a profile."""
    from schemas.report_measures import measure_sections
    from schemas.report_verbs import verbs_section

    made = [
        _findings_section(profile.get("findings") or []),
        _mix(profile),
        _length_section(profile),
        _sequence_section(profile),
        _preference_section(profile),
        _repeated_section(profile),
        _example_section(profile),
        _personal_section(profile),
        *measure_sections(profile.get("measures") or {}),
        *([verbs_section(profile["verbs"])] if profile.get("verbs") else []),
        _rejected_section(profile.get("rejected") or {}, profile.get("rejected_examples") or []),
    ]
    return [section for section in made if section.blocks]


def _profile_headline(profile: Mapping[str, Any]) -> Words:
    rows, clean = profile["rows"], profile.get("clean_rows", profile["rows"])
    if not rows:
        return Words("There are no rows.", "没有可用的行。")
    share = percent(clean, rows)
    severe = sum(1 for finding in profile.get("findings") or [] if finding.get("severity") == "high")
    apart = [
        (Words(f"{number(count)} hold personal data", f"{number(count)} 行含个人信息"))
        for count in (int(profile.get("personal_data_rows") or 0),)
        if count
    ]
    near, exact = (int((profile.get("duplicates") or {}).get(name) or 0) for name in ("near", "exact"))
    if near > exact:
        apart.append(Words(f"{number(near)} are near duplicates", f"{number(near)} 行近似重复"))
    besides = Words("", "")
    if apart:
        besides = Words(f"; {' and '.join(one.en for one in apart)}", f"；另有{'、'.join(one.zh for one in apart)}")
    if clean == rows:
        tail = Words(f"All of them pass the checks{besides.en}.", f"全部通过了各项检查{besides.zh}。")
    else:
        tail = Words(f"{share} of them pass the checks{besides.en}.", f"其中 {share} 通过了各项检查{besides.zh}。")
    if severe == 0:
        attention = Words("", "")
    elif severe == 1:
        attention = Words(" One finding needs attention before training.", "有 1 项问题需要在训练前处理。")
    else:
        attention = Words(
            f" {severe} findings need attention before training.", f"有 {severe} 项问题需要在训练前处理。"
        )
    return Words(f"{number(rows)} rows. {tail.en}{attention.en}", f"共 {number(rows)} 行，{tail.zh}{attention.zh}")


def _verdict_bar(profile: Mapping[str, Any]) -> Markup:
    verdicts = dict(profile.get("verdicts") or {})
    if not profile["rows"]:
        return Markup("")
    clean = verdicts.pop("clean", 0)
    parts: list[tuple[Text, int, str]] = [(Words("nothing found", "未发现问题"), clean, "accent")]
    parts += [
        (_SHORT.get(name, title_of(name)), count, f"c{1 + place % 8}")
        for place, (name, count) in enumerate(verdicts.items())
    ]
    return shares(parts)


def _profile_tiles(profile: Mapping[str, Any]) -> Markup:
    rows = profile["rows"]
    lengths, tokens = profile.get("lengths") or {}, profile.get("tokens") or {}
    whole: Mapping[str, Any] = lengths.get("conversation") or next(iter(lengths.values()), {})
    counted = tokens.get("conversation")
    estimated = (profile.get("token_counts") or {}).get("estimated", True)
    shown = [Tile(Words("Rows", "行数"), number(rows), _files(profile))]
    if counted:
        total = counted["mean"] * counted["rows"]
        shown.append(
            Tile(
                Words("Tokens, estimated", "Token 数（估算）") if estimated else Words("Tokens", "Token 数"),
                ("≈ " if estimated else "") + short(total),
                Words(f"{number(counted['p50'])} in the median row", f"每行中位数 {number(counted['p50'])}"),
            )
        )
    if whole:
        shown.append(
            Tile(
                Words("Median length", "长度中位数"),
                number(whole["p50"]),
                Words(
                    f"characters; 95% are under {number(whole['p95'] + 1)}",
                    f"字符；95% 的行不超过 {number(whole['p95'])}",
                ),
            )
        )
    exact = (profile.get("duplicates") or {}).get("exact") or 0
    shown.append(Tile(Words("Repeated rows", "重复行"), number(exact), percent(exact, rows)))
    if rejected := sum((profile.get("rejected") or {}).values()):
        shown.append(Tile(Words("Not readable", "无法读取"), number(rejected), percent(rejected, rows + rejected)))
    return tiles(shown)


def _findings_section(items: Sequence[Mapping[str, Any]]) -> Section:
    if not items:
        return Section()
    lead = Words(
        "Most severe first, each with a row to look at and what to do.", "按严重程度排列，每项附一行示例和处理办法。"
    )
    return Section(Words("Findings", "发现的问题"), lead, [findings(items)])


def _mix(profile: Mapping[str, Any]) -> Section:
    rows = profile["rows"]
    charts = []
    for key, caption in (
        ("languages", Words("Language", "语言")),
        ("formats", Words("Format", "格式")),
        ("sources", Words("Source", "来源")),
        ("tasks", Words("Task", "任务")),
        ("turns", Words("Messages in a row", "每行消息数")),
    ):
        counts = profile.get(key) or {}
        if counts and not (key == "tasks" and list(counts) == ["(none)"]):
            charts.append(bars(_spoken(counts) if key == "languages" else counts, caption=caption, whole=rows))
    if roles := profile.get("roles"):
        charts.append(
            bars(
                [(_ROLES.get(role, role), count) for role, count in roles.items()],
                caption=Words("Who speaks, messages", "各角色消息数"),
            )
        )
    lead = Words("What the rows are made of.", "这些数据由什么组成。")
    return Section(Words("The mix", "构成"), lead, [*([columns(charts)] if charts else []), *_role_languages(profile)])


def _role_languages(profile: Mapping[str, Any]) -> list[Markup]:
    """Which languages each role speaks, where there is more than one."""
    by_role: Mapping[str, Mapping[str, int]] = profile.get("languages_by_role") or {}
    totals: Counter[str] = Counter()
    for counts in by_role.values():
        totals.update(counts)
    # A few messages taken for another language are worth no column.
    shown = [code for code, count in totals.most_common(_LANGUAGES_SHOWN) if 100 * count >= totals.total()]
    if len(shown) < 2:
        return []
    heads = [Column(Words("Who speaks", "角色")), Column(Words("Messages", "消息数"), number=True)]
    heads += [Column(_LANGUAGES.get(code, code), number=True) for code in shown]
    heads += [Column(Words("others", "其他"), number=True)] if len(totals) > len(shown) else []
    lines: list[list[Text]] = []
    for role, counts in by_role.items():
        whole = sum(counts.values())
        held = [counts.get(code, 0) for code in shown]
        held += [whole - sum(held)] if len(totals) > len(shown) else []
        lines.append([_ROLES.get(role, role), number(whole), *(percent(one, whole) if one else "–" for one in held)])
    made = [table(heads, lines, caption=Words("Languages of messages, by who speaks", "各角色消息的语言"))]
    if several := profile.get("rows_in_several_languages"):
        one = several == 1
        made.append(
            note(
                Words(
                    f"{number(several)} {'row holds' if one else 'rows hold'} messages in two languages or more.",
                    f"有 {number(several)} 行的消息使用了两种或更多语言。",
                )
            )
        )
    return made


def _spoken(languages: Mapping[str, int]) -> list[tuple[Text, int]]:
    return [(_LANGUAGES.get(code, code), rows) for code, rows in languages.items()]


def _length_section(profile: Mapping[str, Any]) -> Section:
    distributions = profile.get("histograms") or {}
    stats = {"characters": profile.get("lengths"), "words": profile.get("words"), "tokens": profile.get("tokens")}
    estimated = (profile.get("token_counts") or {}).get("estimated", True)
    fields = _fields(profile)
    blocks = []
    for unit, caption in _UNITS.items():
        if unit == "tokens" and estimated:
            continue
        lines = [
            LengthRow(
                title_of(name),
                distributions[name][unit],
                (stats[unit] or {})[name],
                _empty_note(distributions[name][unit]),
            )
            for name in fields
            if unit in distributions.get(name, {}) and name in (stats[unit] or {})
        ]
        if lines:
            blocks.append(histograms(lines, caption=caption))
    for key, caption in _GROUPS.items():
        blocks += _group_lengths((profile.get("groups") or {}).get(key) or [], caption, fields)
    lead = Words(
        "How long each part is. The axis is logarithmic; the orange line is the median.",
        "各部分的长度。横轴为对数刻度，橙色线为中位数。",
    )
    if blocks:
        blocks.append(
            note(
                Words(
                    "A word is one Chinese character or kana, or a run of letters and digits.",
                    "“词”指一个汉字或假名，或一串连续的字母和数字。",
                )
            )
        )
    return Section(Words("Lengths", "长度"), lead, blocks)


def _group_lengths(groups: Sequence[Mapping[str, Any]], caption: Words, fields: Sequence[str]) -> list[Markup]:
    wanted = next((name for name in ("answer", "chosen", "text", "conversation") if name in fields), None)
    if wanted is None or len(groups) < 2:
        return []
    labels = _REST | _LANGUAGES if caption is _GROUPS["language"] else _REST
    lines = [
        LengthRow(
            labels.get(group["name"], group["name"]),
            group["histograms"][wanted],
            group["lengths"][wanted],
            _rows(group["rows"]),
        )
        for group in groups
        if wanted in group["histograms"]
    ]
    name = title_of(wanted)
    english, chinese = (name.en.lower(), name.zh) if isinstance(name, Words) else (name, name)
    full = Words(f"{caption.en}: {english}, characters", f"{caption.zh}：{chinese}，字符")
    return [histograms(lines, caption=full)] if lines else []


def _fields(profile: Mapping[str, Any]) -> list[str]:
    """The fields worth showing: not an answer that is the chosen one, not a conversation that is the text."""
    lengths = profile.get("lengths") or {}
    names = [
        name for name in ("instruction", "answer", "chosen", "rejected", "text", "conversation") if name in lengths
    ]
    for same, other in (("answer", "chosen"), ("conversation", "text")):
        if same in names and lengths.get(same) == lengths.get(other):
            names.remove(same)
    return names


def _empty_note(histogram: Mapping[str, Any]) -> Text:
    empty = histogram.get("zero")
    return Words(f"{number(empty)} empty", f"{number(empty)} 行为空") if empty else ""


def _rows(count: int) -> Words:
    return Words("1 row" if count == 1 else f"{number(count)} rows", f"{number(count)} 行")


def _sequence_section(profile: Mapping[str, Any]) -> Section:
    sequences = profile.get("sequences") or {}
    over = sequences.get("over") or {}
    if not profile["rows"] or not over:
        return Section()
    by = str((profile.get("token_counts") or {}).get("by", ""))
    if sequences.get("estimated"):
        lead = Words(
            "Rows longer than a context of so many tokens. An estimate: give a tokenizer with `--tokenizer` to count.",
            "超过各上下文长度（Token）的行数。未提供分词器，为估算值；可用 `--tokenizer` 精确计数。",
        )
        remark = note(Words(f"Estimate: {by}.", "估算方法：每 4 个字符约 1 个 Token，每个汉字约 0.7 个 Token。"))
    else:
        lead = Words("Rows longer than a context of so many tokens.", "超过各上下文长度（Token）的行数。")
        remark = note(
            Words(
                f"Counted with {by}, each message by itself; what a chat template adds is not counted.",
                f"用 {by} 逐条消息计数，不含对话模板增加的 Token。",
            )
        )
    rows: list[tuple[Text, int]] = [(f"> {number(int(limit))}", count) for limit, count in over.items()]
    chart = _scaled_bars(rows, profile["rows"])
    window = [_window_note(sequences["window"])] if sequences.get("window") else []
    return Section(Words("Sequence length", "序列长度"), lead, [chart, *window, remark])


def _window_note(window: Mapping[str, Any]) -> Markup:
    rows, tokens, cut = (number(window[name]) for name in ("rows", "tokens", "cut"))
    of_tokens, of_compute = (percent(window[name], 1) for name in ("share_of_tokens", "share_of_compute"))
    width = number(window["hidden_size"])
    guess = Words(", a guess", "，为假定值") if window["assumed"] else Words("", "")
    return note(
        Words(
            f"{rows} rows are longer than the model's window of {tokens} tokens: {of_tokens} of all tokens, and "
            f"{of_compute} of the compute of training, attention counted for layers {width} wide{guess.en}. Cutting "
            f"them takes {cut} tokens away.",
            f"{rows} 行超过模型窗口（{tokens} Token）：占全部 Token 的 {of_tokens}，占训练算力的 {of_compute}"
            f"（含注意力，按隐藏维度 {width} 计{guess.zh}）。截断会丢掉 {cut} 个 Token。",
        )
    )


def _scaled_bars(rows: Sequence[tuple[Text, int]], whole: int) -> Markup:
    drawn = [
        {"label": label, "count": number(count), "share": percent(count, whole), "width": f"{1000 * count / whole:.1f}"}
        for label, count in rows
    ]
    return _macro("bars", "", drawn, "accent")


def _preference_section(profile: Mapping[str, Any]) -> Section:
    pairs = profile.get("preference")
    if not pairs or not pairs.get("pairs"):
        return Section()
    same = pairs["pairs"] - pairs["longer"] - pairs["shorter"]
    parts: list[tuple[Text, int, str]] = [
        (Words("chosen is longer", "被选回答更长"), pairs["longer"], "c2"),
        (Words("equally long", "长度相同"), same, "c6"),
        (Words("chosen is shorter", "被选回答更短"), pairs["shorter"], "accent"),
    ]
    remark = Words(
        f"Identical pairs: {number(pairs['identical'])}.", f"两个回答完全相同的对：{number(pairs['identical'])}。"
    )
    lead = Words(
        "If the better answer is nearly always the longer one, a model learns length.",
        "如果更好的回答几乎总是更长，模型学到的就是“写得长”。",
    )
    return Section(Words("Preference pairs", "偏好对"), lead, [shares(parts), note(remark)])


def _repeated_section(profile: Mapping[str, Any]) -> Section:
    repeated = profile.get("repeated") or {}
    blocks = []
    for name, caption in (
        ("instructions", Words("Most repeated instructions", "重复最多的指令")),
        ("openings", Words("Most repeated openings of answers", "重复最多的回答开头")),
    ):
        if shown := repeated.get(name):
            heads = [Column(caption), Column(Words("rows", "行数"), number=True), Column("%", number=True)]
            cells = [(one["excerpt"], number(one["rows"]), percent(one["rows"], profile["rows"])) for one in shown]
            blocks.append(table(heads, cells))
    lead = Words("What a model would see most often.", "模型会最常看到的内容。")
    return Section(Words("Repeats", "重复"), lead, [columns(blocks)] if blocks else [])


def _example_section(profile: Mapping[str, Any]) -> Section:
    checks = profile.get("checks") or {}
    shown = profile.get("examples") or {}
    groups = [
        (name, title_of(name), count, shown[name][:3]) for name, count in checks.items() if count and shown.get(name)
    ]
    lead = Words("Rows that the checks found, to judge the checks by.", "被各项检查找出的行，供判断检查是否得当。")
    return Section(Words("Rows found", "找出的行"), lead, [examples(groups)] if groups else [])


def _personal_section(profile: Mapping[str, Any]) -> Section:
    found = profile.get("personal_data") or {}
    if not found:
        return Section()
    lead = Words(
        "Rows that hold it, by type, as `- use: personal_data` and `curate scrub` find it. In the examples every value "
        "is masked.",
        "按类型统计含有个人信息的行，与 `- use: personal_data`、`curate scrub` 的结果一致。示例中的值均已遮盖。",
    )
    rows = [(title_of(name), count) for name, count in found.items()]
    shown = profile.get("examples") or {}
    groups: list[tuple[str, Text, int | None, Sequence[Mapping[str, Any]]]] = [
        (name, title_of(name), count, shown[name][:3]) for name, count in found.items() if shown.get(name)
    ]
    blocks = [bars(rows, whole=profile["rows"], tone="warn"), examples(groups)]
    if not profile.get("names_looked_for"):
        blocks.insert(0, note(Words("Names of people were not looked for (`--names`).", "未查找人名（`--names`）。")))
    return Section(Words("Personal data", "个人信息"), lead, blocks)


def _rejected_section(rejected: Mapping[str, int], shown: Sequence[Mapping[str, Any]]) -> Section:
    if not rejected:
        return Section()
    lead = Words(
        "Input that never became a row. `rejected.jsonl` has all of it.",
        "没有成为数据行的输入，全部记录在 `rejected.jsonl`。",
    )
    groups: list[tuple[str, Text, int | None, Sequence[Mapping[str, Any]]]] = [
        (reason, "", count, [one for one in shown if one.get("reason") == reason]) for reason, count in rejected.items()
    ]
    return Section(Words("Rejected input", "被拒绝的输入"), lead, [examples(groups)])


def _kinds(profile: Mapping[str, Any]) -> Words:
    kinds = [_KIND_NAMES.get(kind, Words(kind, kind)) for kind in profile.get("kinds") or {}]
    return (
        Words(", ".join(kind.en for kind in kinds), "、".join(kind.zh for kind in kinds))
        if kinds
        else Words("no rows", "无数据行")
    )


def _amount(profile: Mapping[str, Any]) -> str:
    return size(profile["bytes"]) if profile.get("bytes") is not None else ""


def _files(profile: Mapping[str, Any]) -> Text:
    files = profile.get("files")
    if not files:
        return ""
    return Words("in one file" if files == 1 else f"in {number(files)} files", f"来自 {number(files)} 个文件")


def _language(lang: Lang, profile: Mapping[str, Any] | None) -> Literal["en", "zh"]:
    if lang != "auto":
        return lang
    languages = dict((profile or {}).get("languages") or {})
    chinese = sum(rows for code, rows in languages.items() if code.startswith("zh"))
    return "zh" if 2 * chinese > sum(languages.values()) else "en"


def _with_language(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report with languages guessed from the rows that it shows, where those of its rows are not known."""
    known = {code: rows for code, rows in (report.get("languages") or {}).items() if code != "?"}
    if known:
        return {"languages": known}
    shown = [str(one.get("excerpt") or "") for one in report.get("examples") or []]
    chinese = sum(1 for text in shown if re.search("[\u4e00-\u9fff]", text))
    return {"languages": {"zh": chinese, "other": len(shown) - chinese}}


# ── a run ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def render_run(report: Mapping[str, Any], *, when: str | None = None, lang: Lang = "auto") -> str:
    """The page for a run or an import. All keys but title, rows_in and rows_out may be missing.

    title, dataset (path), kind, rows_in, rows_out, rejected, merged, made, dropped {reason: n},
    funnel [{step, use, rows_in, dropped {reason: n}, edited, seconds}],
    examples of dropped rows [{reason, step, id, where "file:line", excerpt, because}],
    rejected_reasons {reason: n}, rejected_examples [{reason, file, line, excerpt}],
    sources [{name, kind, licence, training, personal_data, rows}], findings (as in a profile),
    inputs [{path, rows, fingerprint}], fingerprint, recipe (YAML text), clusters and conflicts (see
    `report_clusters`), passages:FIELD (see `report_passages`), before and after (profiles). A report with
    `after` alone, such as an import's, shows that profile whole.
    """
    before, after = report.get("before"), report.get("after")
    kind = _KIND_NAMES.get(str(report.get("kind", "")))
    facts: list[Text] = [kind or "", str(report.get("dataset") or ""), when or ""]
    stand = [_verdict_bar(after), _profile_tiles(after)] if after and not before else []
    from schemas.report_scrub import names_line, scrub_section

    scrubbed = report.get("scrubbed") or {}
    opening = Section(blocks=[*names_line(scrubbed), headline(_run_headline(report)), _balance(report), *stand])
    sections = [
        opening,
        scrub_section(scrubbed),
        _findings_section(report.get("findings") or []),
        _funnel_section(report),
        _dropped_section(report),
    ]
    from schemas.report_clusters import cluster_sections, conflict_section
    from schemas.report_passages import passage_section

    sections += [*cluster_sections(report.get("clusters") or {}), conflict_section(report.get("conflicts") or [])]
    sections += [passage_section(part) for name, part in report.items() if name.startswith("passages:")]
    if before and after:
        sections.append(_before_after(before, after))
    elif after:
        left_out = ("findings", "rejected") if report.get("findings") else ("rejected",)
        sections += profile_sections({key: value for key, value in after.items() if key not in left_out})
    sections += [
        _rejected_section(_rejected_reasons(report), report.get("rejected_examples") or []),
        _origin_section(report),
        _recipe_section(report),
    ]
    subject = Words("Run report", "处理报告") if report.get("funnel") else Words("Import report", "导入报告")
    return page(
        str(report["title"]),
        subject,
        sections,
        facts=facts,
        lang=_language(lang, after or before or _with_language(report)),
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
    for name in _fields(before):
        for key, words in (("p50", Words("median", "中位数")), ("p95", Words("95th percentile", "95 分位"))):
            old, new = ((profile.get("lengths") or {}).get(name, {}).get(key) for profile in (before, after))
            if old is not None and new is not None:
                title = title_of(name)
                label = (
                    Words(f"{title.en}, {words.en}", f"{title.zh}，{words.zh}") if isinstance(title, Words) else title
                )
                rows.append(_compared(label, old, new))
    blocks = [table(heads, rows)]
    for name in _fields(before)[:2]:
        lines = [
            LengthRow(
                label, profile["histograms"][name]["characters"], profile["lengths"][name], _rows(profile["rows"])
            )
            for label, profile in ((_BEFORE, before), (_AFTER, after))
            if "characters" in (profile.get("histograms") or {}).get(name, {})
        ]
        title = title_of(name)
        if len(lines) == 2 and isinstance(title, Words):
            blocks.append(histograms(lines, caption=Words(f"{title.en}, characters", f"{title.zh}，字符")))
    mixes = [
        bars(_spoken(profile["languages"]), caption=label, whole=profile["rows"])
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


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_FOOT = Words(
    "Excerpts are cut, and obvious identifiers in them are masked. This page loads nothing and runs no script.",
    "示例已截短，并遮盖了明显的个人标识。本页面不加载任何外部内容，也不运行脚本。",
)
_BEFORE, _AFTER = Words("before", "处理前"), Words("after", "处理后")
_UNITS = {
    "characters": Words("Characters", "字符"),
    "words": Words("Words", "词"),
    "tokens": Words("Tokens", "Token"),
}
_GROUPS = {
    "task": Words("By task", "按任务"),
    "source": Words("By source", "按来源"),
    "language": Words("By language", "按语言"),
}
_LEVELS = {"high": Words("high", "严重"), "medium": Words("medium", "中等"), "low": Words("low", "轻微")}
_REST: dict[str, Text] = {"(none)": Words("none named", "未注明"), "(other)": Words("others", "其他")}
_LANGUAGES: dict[str, Text] = {
    "zh": Words("Chinese", "中文"),
    "en": Words("English", "英文"),
    "zh-en": Words("Chinese and English", "中英混合"),
    "ja": Words("Japanese", "日文"),
    "ko": Words("Korean", "韩文"),
    "fr": Words("French", "法文"),
    "de": Words("German", "德文"),
    "es": Words("Spanish", "西班牙文"),
    "pt": Words("Portuguese", "葡萄牙文"),
    "it": Words("Italian", "意大利文"),
    "nl": Words("Dutch", "荷兰文"),
    "sv": Words("Swedish", "瑞典文"),
    "fi": Words("Finnish", "芬兰文"),
    "pl": Words("Polish", "波兰文"),
    "cs": Words("Czech", "捷克文"),
    "ro": Words("Romanian", "罗马尼亚文"),
    "ca": Words("Catalan", "加泰罗尼亚文"),
    "ru": Words("Russian", "俄文"),
    "uk": Words("Ukrainian", "乌克兰文"),
    "el": Words("Greek", "希腊文"),
    "tr": Words("Turkish", "土耳其文"),
    "ar": Words("Arabic", "阿拉伯文"),
    "he": Words("Hebrew", "希伯来文"),
    "fa": Words("Persian", "波斯文"),
    "hi": Words("Hindi", "印地文"),
    "th": Words("Thai", "泰文"),
    "vi": Words("Vietnamese", "越南文"),
    "id": Words("Indonesian", "印尼文"),
    "code": Words("program text", "程序代码"),
    "und": Words("undecided", "无法判定"),
}
_LANGUAGES_SHOWN = 5
_ROLES = {
    "system": Words("system", "系统"),
    "user": Words("user", "用户"),
    "assistant": Words("assistant", "助手"),
    "tool": Words("tool", "工具"),
}
_KIND_NAMES = {
    "chat": Words("conversations", "对话数据"),
    "candidates": Words("ranked answers", "多回答数据"),
    "preference": Words("preference pairs", "偏好数据"),
    "text": Words("plain text", "纯文本"),
    "label": Words("labels", "标注"),
    "score": Words("scores", "评分"),
}
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
_STEP_LABELS = {
    "step": Words("Step", "步骤"),
    "rows_in": Words("Rows in", "输入行"),
    "left": Words("Left over", "剩余"),
    "dropped": Words("Dropped", "剔除"),
    "edited": Words("Edited", "改写"),
    "seconds": Words("Time", "用时"),
}
_SHORT = {
    "empty": Words("no answer", "无回答"),
    "exact_duplicates": Words("repeated", "重复"),
    "refusal": Words("refused", "拒答"),
    "boilerplate": Words("stock phrase", "套话"),
    "truncated": Words("cut off", "截断"),
    "placeholder": Words("placeholder", "占位"),
    "repetition": Words("repeats itself", "自我重复"),
    "language_mismatch": Words("other language", "语言不一致"),
}
_TITLES = {
    "instruction": Words("Instruction", "指令"),
    "answer": Words("Answer", "回答"),
    "conversation": Words("Conversation", "整段对话"),
    "chosen": Words("Chosen answer", "被选回答"),
    "rejected": Words("Rejected answer", "落选回答"),
    "text": Words("Text", "文本"),
    "empty": Words("Rows without an answer", "没有回答的行"),
    "exact_duplicates": Words("Rows that repeat another row", "与其他行重复的行"),
    "source_of_near_duplicates": Words(
        "A source loses most of its rows as near duplicates", "某一来源的大部分行被判为近似重复"
    ),
    "personal_data_replaced": Words("Personal data that was replaced", "已替换的个人信息"),
    "names_not_looked_for": Words("Names of people were not looked for", "未查找人名"),
    "conflicting_answers": Words("Questions whose answers contradict each other", "回答互相矛盾的问题"),
    "repeated_passages": Words("Passages that many rows hold word for word", "在许多行中逐字重复的段落"),
    "near_duplicates": Words("Rows nearly the same as another", "与其他行近似重复的行"),
    "refusal": Words("Answers that refuse or only decline", "拒绝作答的回答"),
    "boilerplate": Words("Answers that are a stock phrase, or begin with one", "只有客套话或以套话开头的回答"),
    "truncated": Words("Answers that were cut off", "被截断的回答"),
    "placeholder": Words("Answers with a placeholder left in", "残留占位符的回答"),
    "repetition": Words("Answers that repeat themselves", "自我重复的回答"),
    "language_mismatch": Words("Answers in another language than the question", "与提问语言不一致的回答"),
    "rejected_input": Words("Input that could not be read", "无法读取的输入"),
    "repeated_instruction": Words("One instruction in many rows", "同一条指令反复出现"),
    "repeated_opening": Words("One opening in many answers", "大量回答以同一句开头"),
    "one_task": Words("One task makes up most rows", "单一任务占比过高"),
    "one_source": Words("One source makes up most rows", "单一来源占比过高"),
    "long_sequences": Words("Rows longer than a model takes in", "超过模型窗口的行"),
    "length_bias": Words("The better answer is mostly the longer one", "更好的回答大多更长"),
    "identical_pairs": Words("Pairs of identical answers", "两个回答完全相同的偏好对"),
    "personal_data": Words("Rows that hold personal data", "含有个人信息的行"),
    "secret": Words("Keys and other secrets", "密钥等机密"),
    "SECRET": Words("Keys and other secrets", "密钥等机密"),
    "PERSON": Words("Names of people", "人名"),
    "CN_ID_CARD": Words("Chinese identity card numbers", "身份证号"),
    "CN_MOBILE": Words("Chinese mobile numbers", "手机号"),
    "CN_LANDLINE": Words("Chinese landline numbers", "固定电话"),
    "CN_BANK_CARD": Words("Chinese bank card numbers", "银行卡号"),
    "CN_PASSPORT": Words("Chinese passport numbers", "护照号"),
    "CN_TRAVEL_PERMIT": Words("Travel permit numbers (Hong Kong, Macao, Taiwan)", "港澳台通行证号"),
    "CN_LICENSE_PLATE": Words("Chinese number plates", "车牌号"),
    "CN_USCC": Words("Unified social credit codes", "统一社会信用代码"),
    "CN_SOCIAL_ACCOUNT": Words("WeChat, QQ and other accounts", "微信、QQ 等账号"),
    "CN_ADDRESS": Words("Chinese addresses", "住址"),
    "DATE_OF_BIRTH": Words("Dates of birth", "出生日期"),
    "EMAIL_ADDRESS": Words("E-mail addresses", "电子邮箱"),
    "PHONE_NUMBER": Words("Telephone numbers", "电话号码"),
    "CREDIT_CARD": Words("Payment card numbers", "信用卡号"),
    "IBAN_CODE": Words("Bank accounts (IBAN)", "银行账号（IBAN）"),
    "IP_ADDRESS": Words("IP addresses", "IP 地址"),
    "MAC_ADDRESS": Words("MAC addresses", "MAC 地址"),
    "URL": Words("Addresses of pages", "网址"),
    "CRYPTO": Words("Bitcoin addresses", "比特币地址"),
    "US_SSN": Words("American social security numbers", "美国社会安全号码"),
    "US_ITIN": Words("American taxpayer numbers", "美国纳税人识别号"),
    "US_PASSPORT": Words("American passport numbers", "美国护照号"),
    "US_DRIVER_LICENSE": Words("American driving licences", "美国驾照号"),
    "US_BANK_NUMBER": Words("American bank accounts", "美国银行账号"),
    "UK_NHS": Words("British health service numbers", "英国医保号"),
    "UK_NINO": Words("British national insurance numbers", "英国国民保险号"),
    "invalid_json": Words("Answers in JSON that is none", "JSON 无法解析的回答"),
    "open_code_fence": Words("Answers whose code block stays open", "代码块未闭合的回答"),
    "over_short": Words("Answers too short for what was asked", "相对于要求过短的回答"),
    "restates_question": Words("Answers that only say the question again", "只复述问题的回答"),
    "over_apologetic": Words("Answers that apologise too much", "过度道歉的回答"),
    "hallucinated_link": Words("Links that cannot be", "不可能存在的链接"),
    "templated_opening": Words("Answers with a stock opening", "以套话开头的回答"),
    "toxic_words": Words("Toxic words", "辱骂等有害词语"),
    "prompt_injection": Words("Texts that give the model orders", "提示注入"),
}
_FIXES_ZH = {
    "personal_data_replaced": "请看报告中的示例：有无误替换，有无遗漏",
    "names_not_looked_for": "加 `--names`（配方中为 `names: true`）用模型查找人名，耗时更长",
    "conflicting_answers": "请人裁定，报告中已并排列出；也可设 `drop: minority` 保留最常见的回答",
    "repeated_passages": "先在报告中查看；`action: cut` 从行中删去这些段落，`action: drop` 剔除大部分为此类段落的行",
    "source_of_near_duplicates": "先看报告中的成对再下结论：若比较的多是共用模板，可用 `field: answer`，或调高阈值",
    "rejected_input": "对文件运行 `curate check`：逐行说明哪里无法读取及原因",
    "templated_opening": "模型会学会这句套话：请改写，或用 `- use: flaws`（`measures: [templated_opening]`）剔除",
    "toxic_words": "先看这些行；`- use: flaws`（`measures: [toxic_words]`）可剔除",
    "prompt_injection": "先看这些行；`- use: flaws`（`measures: [prompt_injection]`）可剔除",
    "repeated_instruction": "先看这些行，再在配方中加入 `- use: exact_duplicates`，或用 `- use: balance` 限制数量",
    "repeated_opening": "模型会学会这句套话：若是拒答，用 `- use: refusal` 剔除；否则请人改写",
    "one_task": "在配方中加入 `- use: balance`（`by: task`、`max_share: 0.5`），或补充其他任务的数据",
    "one_source": "在配方中加入 `- use: balance`（`by: source`、`max_share: 0.5`），或补充其他来源的数据",
    "long_sequences": "用 `- use: length`（`field: conversation`）剔除，或在训练时调大最大长度",
    "length_bias": "这样的数据奖励的是篇幅：补充一些“更好的回答更短”的偏好对",
    "identical_pairs": "这样的对学不到任何东西：用 `curate show` 查看，再请人重新评判",
}


# ── the template ─────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _module() -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["words"] = lambda value: isinstance(value, Words)
    return environment.get_template("report.html").module


def _harmless(value: Any) -> Any:
    """Control and bidirectional characters made visible in whatever is written, if the caller has not done so."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) and value != "\n" else value


def _macro(name: str, *arguments: Any) -> Markup:
    return Markup(getattr(_module(), name)(*arguments))  # noqa: S704 - the macros escape what they are given
