"""The language of each row, and of each of its turns."""

from __future__ import annotations

import json
from functools import partial

import polars as pl

from curate.languages import CONVERSATION, LIBRARIES, Method, guesses, turn_languages
from curate.stage import Edit, Field, Setting, edit, keep

TURN_LANGUAGES = "turn_languages"
"""The key in `extra` that holds the language of each turn."""


class DetectLanguage(Edit):
    """Fill `lang`: ISO 639 codes, zh-en for mixed text, code for program text, und where nothing tells.

    Cantonese as it is spoken is yue; standard Chinese is zh in either script.
    """

    field: Field = Setting(
        default="conversation",
        description="the text whose language counts; for conversation the last instruction and its answer",
    )
    method: Method = Setting(
        default="fasttext",
        description="what tells languages of one script apart: fasttext, or langdetect, which is far slower",
    )
    turns: bool = Setting(
        default=False,
        description="whether to write the language of each turn to `extra.turn_languages`, as in `en zh zh`",
    )
    overwrite: bool = Setting(default=False, description="whether to replace languages that are there already")

    version = 2
    libraries = LIBRARIES

    examples = (
        edit({"lang": "en"}, instruction="Describe a sunset.", answer="The sky turns orange, then red."),
        edit({"lang": "zh"}, instruction="描述一下日落。", answer="天空先变成橙色，然后变红。"),
        edit({"lang": "zh"}, instruction="怎么用 Python 的 pandas 读 CSV？", answer="用 `pd.read_csv` 就可以了。"),
        edit({"lang": "en"}, instruction="What does 你好 mean in English?", answer="It means hello."),
        edit(
            {"lang": "zh-en"},
            instruction="把这句话翻译成英文：今天天气很好，我们去公园散步吧。",
            answer="The weather is nice today, let's go for a walk in the park.",
        ),
        edit({"lang": "fr"}, instruction="Décris un coucher de soleil.", answer="Le ciel devient orange, puis rouge."),
        edit({"lang": "ja"}, instruction="夕焼けを説明してください。", answer="空がオレンジ色になり、赤くなります。"),
        edit({"lang": "ko"}, instruction="일몰을 설명해 주세요.", answer="하늘이 주황색으로 변합니다."),
        edit({"lang": "ru"}, instruction="Опиши закат.", answer="Небо становится оранжевым, потом красным."),
        edit({"lang": "zh"}, instruction="写一个加法函数", answer="```python\ndef add(a, b):\n    return a + b\n```"),
        edit({"lang": "code"}, text="def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\n"),
        edit({"lang": "code"}, text="```js\nfunction add(a, b) {\n  return a + b; // 求和\n}\n```"),
        edit({"lang": "und"}, instruction="1 + 1 = ?", answer="2"),
        edit({"lang": "zh"}, text="你好"),
        edit({"lang": "en"}, text="Hello, how are you?"),
        keep(instruction="你好", answer="您好！", lang="zh"),
        keep(instruction="Hello", answer="Hi there!", lang="en-GB"),
        edit({"lang": "en"}, settings={"overwrite": True}, text="Hello, how are you?", lang="zh"),
        edit({"lang": "zh"}, settings={"overwrite": True}, text="你好，最近怎么样？", lang="en"),
        edit({"lang": "zh"}, text="請問圖書館在哪裡？我想借幾本書。"),
        edit({"lang": "yue"}, text="佢哋而家喺邊度呀？我唔知喎。"),
        edit({"lang": "zh"}, text="“ありがとう”是什么意思？"),
        edit(
            {"lang": "en"},
            instruction="Write a function that adds two numbers.",
            answer="def add(first, second):\n    total = first + second\n    return total",
        ),
        edit({"lang": "zh"}, settings={"method": "langdetect"}, text="今天天气很好，我们去公园散步吧。"),
        edit(
            {"lang": "de"}, settings={"method": "langdetect"}, text="Heute ist das Wetter schön, wir gehen spazieren."
        ),
    )

    def columns(self, known: pl.DataFrame | None = None) -> dict[str, pl.Expr]:
        """`known`: what `curate.languages.prose` gave for the texts of all fields, if it did."""
        if self.field == "conversation":
            parts = [self.text("instruction"), self.text("answer")]
            both = pl.coalesce(*parts).is_not_null()
            parts.append(pl.when(~both).then(self.text("conversation")))
        else:
            parts = [self.text(self.field)]
        if not self.overwrite:
            parts = [pl.when(pl.col("lang").is_null()).then(part) for part in parts]
        row = pl.struct(part.alias(str(number)) for number, part in enumerate(parts))
        found = row.map_batches(
            partial(_languages, method=self.method, known=known), return_dtype=pl.String, is_elementwise=True
        )
        columns = {"lang": found if self.overwrite else pl.coalesce("lang", found)}
        if self.turns:
            noted = partial(_noted, method=self.method, overwrite=self.overwrite)
            row = pl.struct("extra", CONVERSATION.alias("conversation"))
            columns["extra"] = row.map_batches(noted, return_dtype=pl.String, is_elementwise=True)
        return columns


def _languages(rows: pl.Series, method: Method, known: pl.DataFrame | None) -> pl.Series:
    parts = rows.struct.unnest()
    # Rows whose language is there already have no texts here, and most datasets have it for all or for none.
    asked = parts.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
    found = guesses(*parts[asked], method=method, known=known)["lang"]
    whole = pl.Series(rows.name, [None] * len(rows), dtype=pl.String)
    return whole.scatter(asked, found) if len(asked) else whole


def _noted(rows: pl.Series, method: Method, overwrite: bool) -> pl.Series:
    told = turn_languages(rows.struct.field("conversation"), method)
    by_row = dict(told.group_by("row").agg(pl.col("lang").str.join(" ")).iter_rows())
    extras = rows.struct.field("extra")
    return pl.Series(
        rows.name, [_with(extra, by_row.get(row), overwrite) for row, extra in enumerate(extras)], dtype=pl.String
    )


def _with(extra: str | None, told: str | None, overwrite: bool) -> str | None:
    held = json.loads(extra) if extra else {}
    if told is None or (TURN_LANGUAGES in held and not overwrite):
        return extra
    return json.dumps(held | {TURN_LANGUAGES: told}, ensure_ascii=False)
