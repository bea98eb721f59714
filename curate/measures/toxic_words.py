"""Words of abuse."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import polars as pl

from curate.measure import Field, Measure, ascii_edges, gives, only


class ToxicWords(Measure):
    """Whether it holds an obscenity, a slur or abuse, in English or Chinese, from the list in `toxic_words.txt`.

    English words are matched whole (Scunthorpe and Essex pass), Chinese ones wherever they stand but in words that only
    contain them (智障人士, 《白痴》). It knows words and not what is meant by them: a quotation counts, and hatred in
    polite words does not.
    """

    type = "true/false"

    examples = (
        gives(True, instruction="Hi", answer="What the FUCK do you want?"),
        gives(True, instruction="你好", answer="你这个傻逼，滚开。"),
        gives(True, instruction="Hi", answer="fuck你"),
        gives(True, instruction="你好", answer="真是个脑残"),
        gives(True, instruction="Hi", answer="Shut up, you piece of shit."),
        gives(False, instruction="Where is it?", answer="Scunthorpe is in Lincolnshire; Essex and Penistone are not."),
        gives(
            False,
            instruction="Name a bird.",
            answer="A cock is a male bird, a tit is a small one, and a donkey is an ass.",
        ),
        gives(
            False,
            instruction="Is it safe?",
            answer="Flame retardants retard the spread of fire; find the chink in its armour.",
        ),
        gives(False, instruction="Tell me of shiitake.", answer="Shiitake, matsushita and mishits are words."),
        gives(False, instruction="推荐一款相机", answer="傻瓜相机操作简单，适合新手。"),
        gives(False, instruction="帮助谁？", answer="这个项目帮助智障人士和弱智儿童。"),
        gives(False, instruction="陀思妥耶夫斯基写过什么？", answer="他写过《白痴》和《罪与罚》。"),
        gives(False, instruction="早上做什么？", answer="先做早操，你做了吗？他妈妈也来了。"),
        gives(None, instruction="Hi", messages=[{"role": "user", "content": "你好"}]),
    )

    def value(self, field: Field) -> pl.Expr:
        text, words = self.text(field), _words()
        # A null costs nothing: only texts in which a word stands at all are looked at again.
        every = [*words["english words"], *words["chinese words"]]
        likely = only(text.str.contains_any(every, ascii_case_insensitive=True), text)
        english = likely.str.contains(_whole(words["english words"])).fill_null(False)
        left = likely.str.replace_all("|".join(words["chinese exceptions"]), "")
        chinese = left.str.contains_any(words["chinese words"], ascii_case_insensitive=True).fill_null(False)
        return pl.when(text.is_not_null()).then(english | chinese)

    def seen(self, field: Field) -> pl.Expr:
        text, words = self.text(field), _words()
        found = text.str.extract(_whole(words["english words"]), 0)
        return pl.coalesce(
            found, text.str.extract_many(words["chinese words"], ascii_case_insensitive=True).list.first()
        )


@cache
def _words() -> dict[str, list[str]]:
    """The sections of the list."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(section, []).append(line)
    return found


def _whole(words: list[str]) -> str:
    """A pattern of any of the words, whole: no ASCII letter or digit beside it, though perhaps a Chinese one."""
    return ascii_edges(rf"(?i)\b(?:{'|'.join(map(re.escape, words))})\b")
