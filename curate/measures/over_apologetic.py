"""Answers that apologise and apologise."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, ascii_edges, gives, only

_EN = ascii_edges(
    r"(?i)\b(?:(?:i|we)(?:'m| am|'re| are)?(?: \w+){0,2} (?:sorry|apologi[sz]e)\b|(?:my|our) (?:\w+ )?apologies\b"
    r"|apologies for\b|(?:so|very|really|deeply|terribly) sorry\b|sorry (?:for|about)\b|please (?:forgive|excuse)"
    r" (?:me|us)\b|please accept (?:my|our)\b)"
)
_ZH = r"(?:抱歉|对不起|不好意思|致歉|歉意|道歉|请(?:您|你)?(?:多多)?(?:原谅|见谅|谅解))"
_DOUBLED = ascii_edges(
    r"(?:非常|十分|万分|很|真的|实在|特别|超级){2,}(?:的)?(?:抱歉|对不起|不好意思)|(?i)\b(?:so,? so|very,? very"
    r"|really,? really|truly,? truly) sorry\b"
)
_ASKED = ascii_edges(
    r"(?i)\b(?:apolog|sorry|forgiv|regret|complain|excuse|role-?play|dialogue|script|translat|paraphras|rewrite"
    r"|lyrics|letter|e-?mail|message|story|stories|conversation|dialog|screenplay|draft|compose)\w*"
    r"|道歉|致歉|抱歉|对不起|不好意思|歉意|检讨|原谅|投诉|悔|对话|扮演|台词|剧本|翻译|改写|润色|歌词|安抚|邮件|信件"
    r"|封信|短信|回信|故事|小说|作文|公告|通知|对白|剧情"
)
_LIKELY = ("sorry", "apolog", "forgive", "excuse", "歉", "对不起", "不好意思", "谅")
"""One of these is in every apology."""

_TIMES = 3


class OverApologetic(Measure):
    """Whether it apologises three times or more, or with 非常非常抱歉, where no apology was asked for."""

    type = "true/false"

    examples = (
        gives(
            True,
            instruction="Where is my order?",
            answer="I'm sorry for the delay. I sincerely apologize. We are very sorry about this. It ships today.",
        ),
        gives(True, instruction="You are wrong.", answer="I am so, so sorry! It is 12."),
        gives(True, instruction="我的快递呢？", answer="非常非常抱歉！您的快递明天到。"),
        gives(True, instruction="你算错了", answer="对不起，我算错了。给您带来不便，深表歉意，请您原谅。答案是十二。"),
        gives(False, instruction="Where is my order?", answer="I'm sorry for the delay. It ships today."),
        gives(False, instruction="我的快递呢？", answer="非常抱歉让您久等了，您的快递明天到，再次致歉。"),
        gives(
            False,
            instruction="Write an apology to a client.",
            answer="I'm sorry. I sincerely apologize. Please accept my apologies. Yours, Ann",
        ),
        gives(False, instruction="写一封道歉信", answer="对不起，我非常非常抱歉，请您原谅。"),
        gives(False, instruction="Describe Tom.", answer="Tom felt sorry for the dog, and the dog felt sorry for Tom."),
        gives(False, instruction="讲个故事", answer="他说了声抱歉，转身走了。"),
        gives(None, text="I'm so, so sorry."),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        some = only(text.str.contains_any(list(_LIKELY), ascii_case_insensitive=True), text).str.replace_all(
            "’", "'", literal=True
        )
        many = some.str.count_matches(_EN) + some.str.count_matches(_ZH) >= _TIMES
        found = (many | some.str.contains(_DOUBLED)).fill_null(False)
        asked = only(found, self.text("instruction")).str.contains(_ASKED).fill_null(False)
        return pl.when(text.is_not_null() & self.text("instruction").is_not_null()).then(found & ~asked)
