"""Self-contained HTML reports: one page, no script, no network, dark and light, English and Chinese.

A page is made of pieces that any package may use: `tiles`, `shares`, `bars`, `histograms`, `table`, `examples`,
`findings`, `steps`, `equation`, `listing`, put into `Section`s and given to `page`; `report_profile` and `report_run`
have the two pages that `curate` writes. What a piece says is a `Words` (both languages) or a str (data, the same in
both); everything is escaped, and control and bidirectional characters are made visible, here and not by the caller.
Masking and cutting are the caller's: whatever comes from a row has passed `schemas.excerpt` before it comes here.
"""

from __future__ import annotations

import math
import re
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
            "label": REST.get(label, label) if isinstance(label, str) else label,
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


def scaled_bars(rows: Sequence[tuple[Text, int]], whole: int) -> Markup:
    drawn = [
        {"label": label, "count": number(count), "share": percent(count, whole), "width": f"{1000 * count / whole:.1f}"}
        for label, count in rows
    ]
    return _macro("bars", "", drawn, "accent")


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


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_FOOT = Words(
    "Excerpts are cut, and obvious identifiers in them are masked. This page loads nothing and runs no script.",
    "示例已截短，并遮盖了明显的个人标识。本页面不加载任何外部内容，也不运行脚本。",
)
_LEVELS = {"high": Words("high", "严重"), "medium": Words("medium", "中等"), "low": Words("low", "轻微")}
REST: dict[str, Text] = {"(none)": Words("none named", "未注明"), "(other)": Words("others", "其他")}
_STEP_LABELS = {
    "step": Words("Step", "步骤"),
    "rows_in": Words("Rows in", "输入行"),
    "left": Words("Left over", "剩余"),
    "dropped": Words("Dropped", "剔除"),
    "edited": Words("Edited", "改写"),
    "seconds": Words("Time", "用时"),
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
    "budget_spent": Words("The budget ended before the rows were there", "预算已用尽，尚未生成全部行"),
    "nothing_made": Words("No row was good", "没有生成任何合格的行"),
    "too_few_rows": Words("Fewer rows than were asked for", "生成的行少于要求"),
    "mostly_rejected": Words("More was rejected than kept", "被拒绝的多于保留的"),
    "terms_review": Words("Somebody has to look at a teacher's terms", "教师模型的条款需人工审查"),
    "terms_conditions": Words("A teacher's terms come with duties", "教师模型的条款附带义务"),
    "dropped_not_scrubbed": Words("Dropped rows still hold personal data", "被剔除的行仍含个人信息"),
    "terms_deny": Words("A teacher's terms forbid training on its output", "教师模型的条款禁止用其输出训练"),
    "seeds_restrict": Words("The seeds restrict what may be done with the rows", "种子的限制沿用到生成的行"),
    "bad_seeds": Words("Seeds that could not be read", "无法读取的种子"),
    "small_teacher": Words("The teacher is a very small model", "教师模型过小"),
    "perhaps_billed": Words("Requests without an answer, perhaps billed", "未收到回答、可能已计费的请求"),
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
    "HK_ID_CARD": Words("Hong Kong identity card numbers", "香港身份证号"),
    "TW_ID_CARD": Words("Taiwanese identity card numbers", "台湾身份证号"),
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
