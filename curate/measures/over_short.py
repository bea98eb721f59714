"""Answers too short for what was asked."""

from __future__ import annotations

import polars as pl

from curate.languages import width
from curate.measure import Field, Measure, ascii_edges, gives, only

_MOST_CHARS = 120
"""An answer of this width is long enough to be judged by a person; a Chinese character counts as two and a half."""

_MOST_ASKED = 500
"""A longer instruction brings its material along, and words of it may ask for nothing."""

_LONG_EN = ascii_edges(
    r"(?i)(?:^|[.!?:\n]\s*|\b(?:please|you to|can you|could you|would you|help me|and|then) )"
    r"(?:write|compose|draft|create|generate|produce|craft|develop|prepare)(?: me| us| out| up)? "
    r"(?:an? |the |some )?(?:(?:\w|-)+[ ,]+){0,4}?(?:essay|article|blog post|blog|short story|story|report|speech"
    r"|press release|cover letter|research paper"
    r"|white ?paper|chapter|tutorial|screenplay|business plan|case study|dissertation|lesson plan|itinerary)\b"
    r"|\b(?:explain|describe|discuss|elaborate|analy[sz]e)\b[^.!?\n]{0,80}?\bin (?:great |more |full |as much"
    r" )?(?:detail|depth|length)\b"
    r"|\b(?:detailed|comprehensive|in-depth|thorough|step-by-step) (?:explanation|analysis|guide|report|description"
    r"|account|review|tutorial|plan)\b"
    r"|\b(?:at least|minimum of|no (?:less|fewer) than|about|around|approximately|a) [1-9],?\d?\d00[- ]words?\b"
)
_LONG_ZH = (
    r"(?:写|撰写|创作|编写|生成|起草|拟)(?:出|作)?(?:一)?(?:篇|份|部)[^。！？\n]{0,40}?(?:文章|作文|论文|短文|散文"
    r"|小说|故事|报告|演讲稿|发言稿|新闻稿|稿子|博客|游记|日记|影评|书评|评论|方案|计划书|计划|总结|教案|童话|读后感"
    r"|观后感)"
    r"|写(?:一)?个[^。！？\n，]{0,20}(?:故事|小说|童话)"
    r"|(?:详细|详尽|深入|全面)(?:地|的)?(?:解释|说明|介绍|描述|阐述|论述|分析|讲解|讲述|描写|列出)(?:[^：:]|$)"
    r"|(?:不少于|至少|不低于|大约|约|左右|写)\s?[1-9]\d{2,3}\s?(?:个)?(?:字|词)|[1-9]\d{2,3}\s?字(?:左右|以上|的)"
)
# Something short about something long, or a piece of it, or as short as it can be.
_SHORT = ascii_edges(
    r"(?i)\b(?:titles?|headlines?|headings?|names?|slogans?|taglines?|captions?|sentences?|one[- ]line\w*|lines?"
    r"|phrases?|words? or less|brief\w*|short(?:en|est)?|concise\w*|tweets?|haikus?|summar\w+"
    r"|topics?|keywords?|key words|hooks?|thesis|classif\w+|categori[sz]\w+|identify|extract|choose|select|which"
    r"|does|is|are|correct|grammar|translat\w+|rewrite|rephrase|edit|prompts?|questions?|(?:six|ten|\d{1,2})[-"
    r" ]words?|[1-9]\d?[- ]characters?|micro\w*|subject|outline|opening|ending|introduction|conclusion|paragraph)\b"
    r"|标题|题目|名字|名称|取名|起名|标语|口号|一句话|一句|句子|简短|短[故文评诗小]|简洁|简要|简单|简述|概括|概述"
    r"|摘要|总结以下|关键词|主题|短语|开头|结尾|大纲|提纲|分类|判断|提取|选择|翻译|改写|纠正|修改|润色|是否|吗|哪"
    r"|几[个句]|问题|段落|一段|微型|超短|多少字|(?:^|[^\d])\d{1,2}\s?个?字"
)


class OverShort(Measure):
    """Whether an essay, a story, a report or a detailed explanation was asked for and the answer is a line at most."""

    type = "true/false"

    examples = (
        gives(
            True,
            instruction="Write an essay about the French Revolution.",
            answer="The French Revolution began in 1789.",
        ),
        gives(True, instruction="Explain in detail how a rainbow forms.", answer="Light is refracted."),
        gives(True, instruction="写一篇关于环境保护的文章。", answer="环境保护非常重要。"),
        gives(True, instruction="请详细解释彩虹是怎样形成的。", answer="光的折射。"),
        gives(True, instruction="以春天为题写一篇800字的作文", answer="春天来了，花开了。"),
        gives(False, instruction="Write a title for an essay about rain.", answer="After the Rain"),
        gives(False, instruction="Write a one-sentence story.", answer="The last man on Earth heard a knock."),
        gives(False, instruction="Which essay is longer?", answer="The second."),
        gives(False, instruction="Explain rain.", answer="Water falls from clouds."),
        gives(False, instruction="给这篇文章写一个标题", answer="雨后"),
        gives(False, instruction="用一句话写一个故事", answer="他敲了敲门，门里传来他自己的声音。"),
        gives(False, instruction="解释一下雨", answer="水从云里落下。"),
        gives(
            False,
            instruction="Write a story about a dog.",
            answer="Rex was an old dog. One day he heard a cry from the river. He jumped and pulled a child ashore.\n"
            "Nobody ever called him old again.",
        ),
        gives(None, text="A text answers nothing."),
    )

    def value(self, field: Field) -> pl.Expr:
        text, instruction = self.text(field), self.text("instruction")
        short = width(text) <= _MOST_CHARS
        # A null costs nothing: only short answers have their instruction looked at.
        asked = only(short & (instruction.str.len_chars() <= _MOST_ASKED) & text.str.contains(r"\S"), instruction)
        long = asked.str.contains(_LONG_EN) | asked.str.contains(_LONG_ZH)
        found = (long & ~asked.str.contains(_SHORT)).fill_null(False)
        return pl.when(text.is_not_null() & instruction.is_not_null()).then(found)

    def seen(self, field: Field) -> pl.Expr:
        asked = pl.coalesce(
            self.text("instruction").str.extract(_LONG_EN, 0), self.text("instruction").str.extract(_LONG_ZH, 0)
        )
        return pl.format("{} characters for “{}”", self.text(field).str.len_chars(), asked.str.strip_chars(" .!?:\n"))
