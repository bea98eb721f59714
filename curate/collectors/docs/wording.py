"""How a question about a section is worded, in Chinese or English, always the same for the same section."""

from __future__ import annotations

import re
from collections.abc import Sequence

from curate.collectors.collector import choose


def question(title: str | None, path: Sequence[str], *, lang: str, part: int = 1, parts: int = 1, key: str) -> str:
    """What one would ask to be told a section: from its heading, the headings above it and the document's title."""
    headings = [name for name in (_bare(heading) for heading in path) if name]
    above = headings[:-1]
    if title and not any(_same(title, heading) for heading in headings):
        above = [title, *above]
    subject = headings[-1] if headings else title or ""
    if not headings:
        above = []
    place = " > ".join(above)
    if not subject:
        kind = "untitled"
    elif asked := _asked(subject, lang):
        subject, kind = asked, "asked"
    elif not place:
        kind = "introduction"
    else:
        kind = "general" if _GENERAL.fullmatch(subject.strip()) else "section"
    phrasings = _PHRASINGS[lang, kind]
    if kind == "asked":
        text = subject if not place else choose(phrasings, key).format(subject=subject, place=place)
    else:
        text = choose(phrasings, key).format(subject=subject, place=place)
    if parts > 1:
        text += f"（第 {part} 部分，共 {parts} 部分）" if lang == "zh" else f" (part {part} of {parts})"
    return text


def _bare(heading: str) -> str:
    """A heading without its number."""
    found = re.fullmatch(
        r"(?:\d+(?:\.\d+)*[.、)]?\s+|第[一二三四五六七八九十百\d]+[章节]\s*|[一二三四五六七八九十]+、\s*"
        r"|[（(][一二三四五六七八九十]+[)）]\s*)(\S.*)",
        heading,
    )
    return (found.group(1) if found else heading).strip(" :：#").strip()


def _same(one: str, other: str) -> bool:
    return re.sub(r"\W+", "", one).casefold() == re.sub(r"\W+", "", other).casefold()


def _asked(subject: str, lang: str) -> str | None:
    """The question that a heading is already, or names: `How to install it`, 如何安装."""
    if subject.endswith(("?", "？")):
        return subject
    if lang == "zh":
        return f"{subject}？" if re.match(r"(?:如何|怎样|怎么|为什么|为何|什么是|哪些|何时|是否)", subject) else None
    found = re.fullmatch(r"How to (\w.*[^.:])", subject, re.IGNORECASE)
    return f"How do I {found.group(1)}?" if found else None


_GENERAL = re.compile(
    r"(?:an? |the )?(?:overview|introduction|intro|summary|abstract|background|description|usage|synopsis|notes?"
    r"|examples?|details|requirements|installation|features|options|parameters|arguments|configuration|faq"
    r"|troubleshooting|contents|about|license|licence|credits|authors?|contributing|changelog|changes|history"
    r"|references|see also|status|support|limitations|caveats|motivation|goals|basic usage|quick ?start"
    r"|getting started|conclusions?|appendix|general"
    r"|概述|概要|简介|介绍|引言|背景|前言|摘要|说明|总结|小结|结论|用法|使用方法|使用说明|示例|例子|参数|配置|安装|要求"
    r"|环境要求|特性|功能|注意事项|备注|常见问题|附录|参考|参考资料|其他|快速开始|目标|目的|适用范围|总则|附则|更新日志"
    r"|许可证?|贡献)",
    re.IGNORECASE,
)
"""Headings that say nothing without those above them."""

_PHRASINGS: dict[tuple[str, str], tuple[str, ...]] = {
    ("en", "section"): (
        "What does “{place}” say about “{subject}”?",
        "Explain “{subject}”, as covered in “{place}”.",
        "I am reading “{place}”. Tell me about “{subject}”.",
        "What should I know about “{subject}” ({place})?",
        "{place}: what is there to know about “{subject}”?",
        "Describe “{subject}” in the context of “{place}”.",
    ),
    ("en", "general"): (
        "What does the section “{subject}” of “{place}” say?",
        "Give me the “{subject}” part of “{place}”.",
        "“{place}”: what goes under “{subject}”?",
        "Write the section “{subject}” for “{place}”.",
    ),
    ("en", "introduction"): (
        "What is “{subject}” about?",
        "Tell me about “{subject}”.",
        "Give an introduction to “{subject}”.",
        "Explain “{subject}”.",
    ),
    ("en", "asked"): ("{subject} ({place})", "About “{place}”: {subject}", "{subject} I mean in “{place}”."),
    ("en", "untitled"): ("Write a passage of documentation.",),
    ("zh", "section"): (
        "“{place}”中关于“{subject}”是怎么说的？",
        "请说明“{place}”中的“{subject}”。",
        "我在看“{place}”，请介绍一下“{subject}”。",
        "关于“{subject}”（{place}），我需要了解什么？",
        "请结合“{place}”讲解“{subject}”。",
    ),
    ("zh", "general"): (
        "“{place}”的“{subject}”部分讲了什么？",
        "请给出“{place}”的“{subject}”。",
        "“{place}”里，“{subject}”一节的内容是什么？",
        "请写出“{place}”的“{subject}”部分。",
    ),
    ("zh", "introduction"): (
        "“{subject}”讲的是什么？",
        "请介绍一下“{subject}”。",
        "请说明“{subject}”。",
    ),
    ("zh", "asked"): ("{subject}（{place}）", "关于“{place}”：{subject}", "在“{place}”中，{subject}"),
    ("zh", "untitled"): ("请写一段文档。",),
}
