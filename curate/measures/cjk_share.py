"""How much of a text is Chinese or Japanese."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives, share

_CJK = r"[\p{Han}\p{Hiragana}\p{Katakana}]"


class CjkShare(Measure):
    """Share of characters that are Chinese characters or kana, 0 to 1."""

    type = "numbers"
    unit = "share"

    examples = (
        gives(1.0, instruction="Say hello.", answer="你好"),
        gives(0.5, instruction="用哪个库？", answer="用这个csv"),
        gives(0.0, instruction="用英语说", answer="Hello, world!"),
        gives(0.8, instruction="日本語で", answer="こんにち。"),
        gives(0.0, instruction="한국어로", answer="안녕하세요"),
        gives(None, instruction="Hi", answer=""),
    )

    def value(self, field: Field) -> pl.Expr:
        text = self.text(field)
        return share(text.str.count_matches(_CJK), text.str.len_chars())
