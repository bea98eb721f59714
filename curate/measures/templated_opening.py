"""Answers that open with a stock phrase."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, ascii_edges, gives
from curate.stages.boilerplate import Boilerplate

_EN = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|definitely|no problem|gladly|understood|got it|alright|great)"
    r"(?:[!.,:—–]| ?-) ?(?:i(?:'d| would|'ll| will| can|'m| am) (?:be )?(?:\w+ ){0,2}(?:help|assist|happy|glad|do"
    r"|try|provide|give|write|explain)"
    r"|here(?:'s| is| are| you go|,)|let me|let's|below|the following|this is|i)\b"
    r"|(?:sure(?: thing)?|certainly|of course|absolutely|gladly)(?:! |!?\n)"
    r"|(?:that(?:'s| is) )?(?:an? |what an? )?(?:great|good|excellent|interesting|fantastic|wonderful|thoughtful)"
    r" question[!.,]"
    r"|(?:thank you|thanks) for (?:your |the |asking (?:this|that|such)?)\s?(?:\w+ ){0,2}(?:question|inquiry|enquiry"
    r"|query|prompt|request)\b"
    r"|i(?:'d| would|'m| am|'ll| will) (?:be )?(?:more than )?(?:happy|glad|delighted) to (?:help|assist|provide"
    r"|answer|explain|do that)\b"
)
_ZH = (
    r"(?:当然(?:可以|没问题)?|没问题|好的呢?|好嘞|可以的|乐意效劳|非常乐意)[!！，,。~～：:]\s?(?:(?:我|让我)(?:很"
    r"|非常|十分)?(?:来|会|可以|将|乐意|愿意|帮|为|给)"
    r"|(?:以下|下面|这里|这|如下|下列)(?:是|就|有|给|为)|请看|为您|为你|给您|给你)"
    r"|(?:当然(?:可以|没问题)?|没问题|乐意效劳)[!！]"
    r"|(?:这|这个|您的|你的)?(?:真)?(?:是)?(?:一?个)?(?:很|非常|十分)?(?:好|棒|有趣|有意思|重要"
    r"|优秀)的?(?:一个)?(?:问题|提问)[!！。，,]"
    r"|(?:非常|十分)?(?:感谢|谢谢)(?:您|你)的(?:提问|问题|请求|咨询|询问)"
    r"|(?:很|非常|十分)(?:高兴|乐意|荣幸)(?:能)?(?:够)?(?:为|帮助|帮|协助|回答)(?:您|你)"
)
_OPENING = ascii_edges(rf"(?i)^[\s\"“*]*(?:{_EN}|{_ZH})")


class TemplatedOpening(Measure):
    """Whether it opens with a stock phrase: "Sure! Here is", "Great question!", 当然可以！, 作为一个AI.

    A model learns the phrase with the answer. An "As an AI" is told by the stage `boilerplate`, which drops answers
    that are nothing but such phrases.
    """

    type = "true/false"
    version = 1 + Boilerplate.version

    examples = (
        gives(True, instruction="Explain rain.", answer="Sure! Rain is water that falls from clouds."),
        gives(True, instruction="A poem.", answer="Certainly, here is a poem about rain:\n\nIt falls."),
        gives(True, instruction="Why?", answer="That's a great question! Because of gravity."),
        gives(
            True, instruction="Best film?", answer="As an AI language model, I have no favourite, but see Casablanca."
        ),
        gives(True, instruction="解释一下雨", answer="当然可以！雨是从云里落下的水。"),
        gives(True, instruction="写首诗", answer="好的，以下是一首关于雨的诗：\n春雨落"),
        gives(True, instruction="为什么？", answer="这是一个很好的问题！因为重力。"),
        gives(True, instruction="最好的电影？", answer="作为一个AI语言模型，我没有偏好，但《活着》很好。"),
        gives(False, instruction="Explain rain.", answer="Rain is water that falls from clouds."),
        gives(False, instruction="Are you sure?", answer="Sure, but only because I checked it twice."),
        gives(False, instruction="Will it rain?", answer="Certainly not before noon."),
        gives(False, instruction="Which is bigger?", answer="Of course the sun is."),
        gives(False, instruction="Is it big?", answer="Great Britain is an island."),
        gives(False, instruction="他会来吗？", answer="当然会来，他已经出发了。"),
        gives(False, instruction="好的教育是什么", answer="好的教育是启发，而不是灌输。"),
        gives(False, instruction="这是问题吗", answer="这是一个复杂的问题，没有简单的答案。"),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        stock = text.str.head(120).str.replace_all("’", "'", literal=True).str.contains(_OPENING)
        return stock | Boilerplate(field=field).ai_preamble().fill_null(False)

    def seen(self, field: Field) -> pl.Expr:
        opening = self.text(field).str.head(120).str.replace_all("’", "'", literal=True).str.extract(_OPENING, 0)
        return pl.format("opens with “{}”", pl.coalesce(opening.str.strip_chars(), self.text(field).str.head(40)))
