"""Answers that do not repeat themselves."""

from __future__ import annotations

import polars as pl

from curate.measure import only
from curate.stage import Field, Filter, Setting, drop, keep

_OUTSIDE = r"(?s)```.*?(?:```|\z)"
_ASKS_FOR_IT = (
    r"(?i)\brepeat|\brepetit|\btimes\b|\blyrics?\b|\bpoems?\b|\bsongs?\b|\bchorus\b|\brhym|\btwister"
    r"|\bmantra|\bchant|\bascii\b|\bpattern\b"
    r"|重复|循环|歌词|歌曲|首歌|诗|副歌|绕口令|顺口溜|排比|遍|图案|叠词|儿歌|口号"
)

_REASONS = ("one_phrase_over_and_over", "repeated_lines", "repeated_phrases")


class Repetition(Filter):
    """Drop rows whose answer repeats itself: lines, long phrases, or one phrase over and over.

    After the rules of Gopher (Rae et al. 2021, https://arxiv.org/abs/2112.11446, table A1), made for web pages;
    answers are short and their lists alike, so the limits are wider. A Chinese character or an emoji counts as a word.
    """

    field: Field = Setting(default="answer", description="the text that is looked at; code blocks in it are not")
    min_words: int = Setting(default=50, ge=1, description="shorter texts stay, unless one phrase runs on in them")
    max_line_share: float = Setting(
        default=0.4, ge=0, le=1, description="largest share of characters in lines that stood there before, 0 to 1"
    )
    max_top_share: float = Setting(
        default=0.4, ge=0, le=1, description="largest share of characters in the commonest phrase of four words, 0 to 1"
    )
    max_repeated_share: float = Setting(
        default=0.5,
        ge=0,
        le=1,
        description="largest share of characters in phrases of ten words that came before, 0 to 1",
    )
    max_run_words: int = Setting(
        default=24, ge=2, description="most words that one phrase, said over and over without a break, may fill"
    )

    examples = (
        drop(
            "repeated_lines",
            instruction="Give me tips.",
            answer="\n".join(
                [
                    "Drink enough water every single day, whatever the weather may be like.",
                    "Sleep well and rise early, as the old people used to say.",
                ]
                * 4
            ),
        ),
        drop(
            "repeated_lines",
            instruction="给我一些建议",
            answer="\n".join(
                [
                    "每天都要喝足够的水，保持身体健康，不要等到口渴才喝水。",
                    "早睡早起身体好，晚上不要玩手机，注意保护眼睛。",
                ]
                * 4
            ),
        ),
        drop(
            "one_phrase_over_and_over",
            instruction="What is love?",
            answer="Love is " + "a very good thing and " * 12 + "that is all.",
        ),
        drop(
            "one_phrase_over_and_over", instruction="介绍一下北京", answer="北京是一座" + "历史悠久的" * 12 + "城市。"
        ),
        drop("one_phrase_over_and_over", instruction="好吗？", answer="好" * 40),
        drop(
            "repeated_phrases",
            instruction="Tell me about tea.",
            answer=" ".join(
                (
                    f"In {place}, people say that tea is the best drink in the world and that nothing "
                    f"else comes close to it."
                )
                for place in ("China", "Japan", "India", "Kenya", "Turkey")
            ),
        ),
        drop(
            "repeated_phrases",
            instruction="说说茶",
            answer="".join(
                f"在{place}，人们都说茶是世界上最好的饮料，没有什么能够与它相比。"
                for place in ("中国", "日本", "印度", "英国", "土耳其")
            ),
        ),
        keep(
            instruction="Give me tips.",
            answer=(
                "Drink enough water every day. Sleep well and rise early. Walk to work when you "
                "can, and take the stairs. Eat plenty of greens, and do not forget to laugh with "
                "your friends, for laughing is known to keep people well for longer than any pill "
                "that you can buy."
            ),
        ),
        keep(
            instruction="给我一些建议",
            answer="每天喝足够的水，早睡早起。上班尽量步行，多走楼梯，少坐电梯。多吃蔬菜水果，少吃油炸食品。别忘了和朋友们一起欢笑，因为欢笑比任何药物都更能让人保持健康和快乐，这是大家都知道的道理。",
        ),
        drop("one_phrase_over_and_over", instruction="Thanks!", answer="🎉🥳🎊" * 12),
        keep(instruction="How was it?", answer="Great! 🎉🎉🎉🎉🎉"),
        keep(instruction="What a joke!", answer="Ha ha ha ha ha! Very good."),
        keep(instruction="真好笑", answer="哈哈哈哈哈哈哈哈哈哈，太好笑了。"),
        keep(instruction="Say 'never' thirty times.", answer="never " * 30),
        keep(instruction="把“加油”重复二十遍", answer="加油" * 20),
        keep(instruction="Print a matrix of zeros.", answer="0 0 0 0 0 0 0 0\n" * 8),
        keep(instruction="写一个循环", answer="```c\n" + "x = x + 1; // 加一\n" * 20 + "```"),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        verdict = self._text().map_batches(self._verdicts, return_dtype=pl.Int8, is_elementwise=True)
        # A null costs nothing: few answers repeat themselves, and only their instructions are looked at.
        asked = only(verdict > 0, self.text("instruction"))
        allowed = asked.str.contains(_ASKS_FOR_IT).fill_null(False)
        return {reason: (verdict == place) & ~allowed for place, reason in enumerate(_REASONS, 1)}

    def _verdicts(self, texts: pl.Series) -> pl.Series:
        """Place of the reason in _REASONS, from 1; 0 where there is none."""
        from curate.kernels.repetition import repetition

        long = pl.col("words") >= self.min_words
        verdict = (
            pl.when(pl.col("run") > self.max_run_words)
            .then(1)
            .when(long & (pl.col("lines") > self.max_line_share))
            .then(2)
            .when(long & ((pl.col("top") > self.max_top_share) | (pl.col("repeated") > self.max_repeated_share)))
            .then(3)
            .otherwise(0)
        )
        return repetition(texts).select(verdict.cast(pl.Int8)).to_series()

    def because(self) -> dict[str, pl.Expr]:
        measured = self._text().map_batches(_measures, return_dtype=_MEASURES, is_elementwise=True)

        def percent(name: str) -> pl.Expr:
            return (measured.struct.field(name) * 100).round().cast(pl.Int64)

        return {
            "one_phrase_over_and_over": pl.format("one phrase fills {} words", measured.struct.field("run")),
            "repeated_lines": pl.format("{} % in lines that stood there before", percent("lines")),
            "repeated_phrases": pl.format(
                "{} % in phrases that came before, {} % in the commonest", percent("repeated"), percent("top")
            ),
        }

    def _text(self) -> pl.Expr:
        return self.text(self.field).str.replace_all(_OUTSIDE, "\n")


_MEASURES = pl.Struct(
    {"words": pl.Int64, "run": pl.Int64, "lines": pl.Float64, "top": pl.Float64, "repeated": pl.Float64}
)


def _measures(texts: pl.Series) -> pl.Series:
    from curate.kernels.repetition import repetition

    return repetition(texts).to_struct(texts.name)
