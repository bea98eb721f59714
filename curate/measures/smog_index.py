"""Years of schooling that English takes, by words of three syllables."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives
from curate.readability import LIBRARIES, Counts, english


class SmogIndex(Measure):
    """Years of schooling that a text takes, by its words of three syllables or more; English only.

    After McLaughlin 1969 (Journal of Reading 12), who measured thirty sentences: of shorter texts it says less.
    Null where the text is not English by its script; exactly textstat's value elsewhere.
    """

    type = "numbers"
    unit = "years of schooling"
    shares = "counts of English"
    libraries = LIBRARIES

    examples = (
        gives(3.1291, instruction="Go on.", answer="The cat sat on the mat. It was happy there."),
        gives(
            15.903189,
            instruction="Go on.",
            answer="Photosynthesis converts electromagnetic radiation into chemical energy.",
        ),
        gives(None, instruction="什么是光合作用？", answer="光合作用把光能转化为化学能。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return english(self.text(field), _smog)


def _smog(counts: Counts) -> float:
    root: float = (30 * (counts.polysyllables / counts.sentences)) ** 0.5
    return (1.043 * root) + 3.1291
