"""How easily English reads, from about 100 down."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives
from curate.readability import LIBRARIES, Counts, english


class FleschReadingEase(Measure):
    """How easily a text reads: about 100 is very easy, 60 to 70 plain, below 30 hard; English only.

    After Flesch 1948 (Journal of Applied Psychology 32): words in a sentence and syllables in a word. Has no bounds.
    Null where the text is not English by its script; exactly textstat's value elsewhere.
    """

    type = "numbers"
    unit = "points"
    shares = "counts of English"
    libraries = LIBRARIES

    examples = (
        gives(108.7, instruction="Go on.", answer="The cat sat on the mat. It was happy there."),
        gives(
            -102.412857,
            instruction="Go on.",
            answer="Photosynthesis converts electromagnetic radiation into chemical energy.",
        ),
        gives(None, instruction="什么是光合作用？", answer="光合作用把光能转化为化学能。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return english(self.text(field), _ease)


def _ease(counts: Counts) -> float:
    syllables = counts.syllables / counts.words
    if syllables == 0:
        return 0.0
    return 206.835 - 1.015 * counts.words_per_sentence - 84.6 * syllables
