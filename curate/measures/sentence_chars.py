"""How long sentences are, in characters."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives
from curate.readability import in_sentences, letters


class SentenceChars(Measure):
    """Mean length of a sentence in letters and digits, Chinese characters among them; spaces and marks do not count.

    Sentence length is the oldest measure of how hard a text is (Lively & Pressey 1923, Flesch 1948), and part of those
    for Chinese as well. A sentence ends at 。！？…!?, at a full stop with space behind it, and at the end of a line.
    Code blocks and the marks of lists are left out. Null where there is no sentence.
    """

    type = "numbers"
    unit = "characters"

    shares = "sentences"

    examples = (
        gives(12.5, instruction="How was it?", answer="It was good. We paid 3.50 and left!"),
        gives(4, instruction="怎么样？", answer="很好。我们还会再来！"),
        gives(7, instruction="List two.", answer="1. Red apples\n2. Pears"),
        gives(None, instruction="写代码", answer="```python\nprint(1)\n```"),
    )

    def value(self, field: Field) -> pl.Expr:
        return in_sentences(self.text(field), letters)
