"""How far a text can be squeezed."""

from __future__ import annotations

import zlib

import polars as pl

from curate.measure import Field, Measure, gives


class CompressionRatio(Measure):
    """How many times smaller zlib makes the text: high where it repeats itself.

    UTF-8 bytes over compressed bytes, as in Radford et al. 2022 (https://arxiv.org/abs/2212.04356, section 4.5), who
    take more than 2.4 for a model that runs in circles. Prose of a few hundred words is at 1.5 to 2.5 in English and
    at 1.2 to 2 in Chinese; texts of a line or two are near 1 whatever they say.
    """

    type = "numbers"
    unit = "times"

    examples = (
        gives(200 / 13, instruction="Say it again.", answer="ha" * 100),
        gives(300 / 19, instruction="再说一遍", answer="好的" * 50),
        gives(6 / 14, instruction="你好", answer="您好"),
        gives(None, instruction="Hi", answer=""),
    )

    def value(self, field: Field) -> pl.Expr:
        return self.text(field).map_batches(_ratios, return_dtype=pl.Float64, is_elementwise=True)


def _ratios(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.name, [_ratio(text) for text in texts], dtype=pl.Float64)


def _ratio(text: str | None) -> float | None:
    if not text:
        return None
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))
