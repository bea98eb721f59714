"""School grade for which English is written, by characters and sentences."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives
from curate.readability import LIBRARIES, Counts, english


class AutomatedReadabilityIndex(Measure):
    """US school grade for which a text is written, by characters in a word and words in a sentence; English only.

    After Senter & Smith 1967 (AMRL-TR-66-220). Needs no syllables.
    Null where the text is not English by its script; exactly textstat's value elsewhere.
    """

    type = "numbers"
    unit = "US school grade"
    shares = "counts of English"
    libraries = LIBRARIES

    examples = (
        gives(-2.916, instruction="Go on.", answer="The cat sat on the mat. It was happy there."),
        gives(
            25.805714,
            instruction="Go on.",
            answer="Photosynthesis converts electromagnetic radiation into chemical energy.",
        ),
        gives(None, instruction="什么是光合作用？", answer="光合作用把光能转化为化学能。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return english(self.text(field), _grade, syllables=False)


def _grade(counts: Counts) -> float:
    return (4.71 * (counts.chars / counts.tokens)) + (0.5 * counts.words_per_sentence) - 21.43
