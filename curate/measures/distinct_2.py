"""How varied a text's wording is."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives


class Distinct2(Measure):
    """Share of pairs of words in a row that are distinct, 0 to 1: low where wording repeats itself.

    After Li et al. 2016 (https://arxiv.org/abs/1510.03055), of pairs instead of words in all. Case does not count; a
    Chinese character is a word, and so is a punctuation mark. It falls with length: compare texts of like length.
    """

    type = "numbers"
    unit = "share"

    examples = (
        gives(1.0, instruction="Tea?", answer="Tea is a warm drink"),
        gives(0.5, instruction="Tea?", answer="Tea is tea is TEA"),
        gives(0.5, instruction="好吗？", answer="好的好的好"),
        gives(1.0, instruction="茶？", answer="茶是热的"),
        gives(None, instruction="Tea?", answer="Yes"),
        gives(None, instruction="茶？", answer="是"),
    )

    def value(self, field: Field) -> pl.Expr:
        return self.text(field).map_batches(_shares, return_dtype=pl.Float64, is_elementwise=True)


def _shares(texts: pl.Series) -> pl.Series:
    from curate.kernels.phrases import distinct_shares

    return distinct_shares(texts, 2)
