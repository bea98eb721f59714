"""The page for a profile, and its parts for any page that holds one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from markupsafe import Markup

from schemas.report import (
    REST,
    Column,
    Lang,
    LengthRow,
    Section,
    Text,
    Tile,
    Words,
    bars,
    columns,
    examples,
    findings,
    headline,
    histograms,
    note,
    number,
    page,
    percent,
    scaled_bars,
    shares,
    short,
    size,
    table,
    tiles,
    title_of,
)
from schemas.report_measures import measure_sections
from schemas.report_verbs import verbs_section


def render_profile(profile: Mapping[str, Any], title: str, when: str | None = None, *, lang: Lang = "auto") -> str:
    """The page for a profile (its keys: `curate/profile.py`). `when` is a date as it should be read."""
    facts: list[Text] = [_kinds(profile), _amount(profile), when or ""]
    opening = Section(blocks=[headline(_profile_headline(profile)), verdict_bar(profile), profile_tiles(profile)])
    sections = [opening, *profile_sections(profile)]
    return page(title, Words("Data profile", "数据概览"), sections, facts=facts, lang=language_of(lang, profile))


def profile_sections(profile: Mapping[str, Any]) -> list[Section]:
    """What a profile has to say below its first screen, for any page that holds a profile."""
    made = [
        findings_section(profile.get("findings") or []),
        _mix(profile),
        _length_section(profile),
        _sequence_section(profile),
        _preference_section(profile),
        _repeated_section(profile),
        _example_section(profile),
        _personal_section(profile),
        *measure_sections(profile.get("measures") or {}),
        *([verbs_section(profile["verbs"])] if profile.get("verbs") else []),
        rejected_section(profile.get("rejected") or {}, profile.get("rejected_examples") or []),
    ]
    return [section for section in made if section.blocks]


def _profile_headline(profile: Mapping[str, Any]) -> Words:
    rows, clean = profile["rows"], profile.get("clean_rows", profile["rows"])
    if not rows:
        return Words("There are no rows.", "没有可用的行。")
    share = percent(clean, rows)
    severe = sum(1 for finding in profile.get("findings") or [] if finding.get("severity") == "high")
    apart = []
    if personal := int(profile.get("personal_data_rows") or 0):
        apart.append(Words(f"{number(personal)} hold personal data", f"{number(personal)} 行含个人信息"))
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


def verdict_bar(profile: Mapping[str, Any]) -> Markup:
    """Rows by the first check that found them, and those in which nothing was found, as one bar."""
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


def profile_tiles(profile: Mapping[str, Any]) -> Markup:
    """The numbers of a profile that matter, large."""
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


def findings_section(items: Sequence[Mapping[str, Any]]) -> Section:
    """The section of findings; empty without any."""
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
            charts.append(bars(spoken(counts) if key == "languages" else counts, caption=caption, whole=rows))
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


def spoken(languages: Mapping[str, int]) -> list[tuple[Text, int]]:
    """Languages by their names, with how many rows are in each."""
    return [(_LANGUAGES.get(code, code), rows) for code, rows in languages.items()]


def _length_section(profile: Mapping[str, Any]) -> Section:
    distributions = profile.get("histograms") or {}
    stats = {"characters": profile.get("lengths"), "words": profile.get("words"), "tokens": profile.get("tokens")}
    estimated = (profile.get("token_counts") or {}).get("estimated", True)
    fields = fields_of(profile)
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
    labels = REST | _LANGUAGES if caption is _GROUPS["language"] else REST
    lines = [
        LengthRow(
            labels.get(group["name"], group["name"]),
            group["histograms"][wanted],
            group["lengths"][wanted],
            rows_of(group["rows"]),
        )
        for group in groups
        if wanted in group["histograms"]
    ]
    name = title_of(wanted)
    english, chinese = (name.en.lower(), name.zh) if isinstance(name, Words) else (name, name)
    full = Words(f"{caption.en}: {english}, characters", f"{caption.zh}：{chinese}，字符")
    return [histograms(lines, caption=full)] if lines else []


def fields_of(profile: Mapping[str, Any]) -> list[str]:
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


def rows_of(count: int) -> Words:
    """`3 rows`."""
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
    chart = scaled_bars(rows, profile["rows"])
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


def rejected_section(rejected: Mapping[str, int], shown: Sequence[Mapping[str, Any]]) -> Section:
    """The section of input that never became a row: {reason: n}, and examples of it."""
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
    kinds = [KIND_NAMES.get(kind, Words(kind, kind)) for kind in profile.get("kinds") or {}]
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


def language_of(lang: Lang, profile: Mapping[str, Any] | None) -> Literal["en", "zh"]:
    """The language that a page opens in: the one asked for, or that of most rows by `languages` {code: rows}."""
    if lang != "auto":
        return lang
    languages = dict((profile or {}).get("languages") or {})
    chinese = sum(rows for code, rows in languages.items() if code.startswith("zh"))
    return "zh" if 2 * chinese > sum(languages.values()) else "en"


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
KIND_NAMES = {
    "chat": Words("conversations", "对话数据"),
    "candidates": Words("ranked answers", "多回答数据"),
    "preference": Words("preference pairs", "偏好数据"),
    "text": Words("plain text", "纯文本"),
    "label": Words("labels", "标注"),
    "score": Words("scores", "评分"),
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
