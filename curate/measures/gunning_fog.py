"""Years of schooling that English takes, by long sentences and long uncommon words."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives
from curate.readability import LIBRARIES, Counts, english


class GunningFog(Measure):
    """Years of schooling that a text takes, by words in a sentence and the share of long uncommon words; English only.

    After Gunning 1952 (The Technique of Clear Writing). Long uncommon words have three syllables or more and are not on
    textstat's list of easy words.
    Null where the text is not English by its script; exactly textstat's value elsewhere.
    """

    type = "numbers"
    unit = "years of schooling"
    shares = "counts of English"
    libraries = LIBRARIES

    examples = (
        gives(2.0, instruction="Go on.", answer="The cat sat on the mat. It was happy there."),
        gives(
            31.371429,
            instruction="Go on.",
            answer="Photosynthesis converts electromagnetic radiation into chemical energy.",
        ),
        gives(None, instruction="什么是光合作用？", answer="光合作用把光能转化为化学能。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return english(self.text(field), _fog)


def _fog(counts: Counts) -> float:
    return 0.4 * (counts.words_per_sentence + 100 * counts.complex / counts.words)
