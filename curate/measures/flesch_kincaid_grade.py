"""School grade for which English is written, by the length of its sentences and words."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives
from curate.readability import LIBRARIES, Counts, english


class FleschKincaidGrade(Measure):
    """US school grade for which a text is written, by words in a sentence and syllables in a word; English only.

    After Kincaid, Fishburne, Rogers & Chissom 1975 (Research Branch Report 8-75). The simplest texts can be below 0.
    Null where the text is not English by its script; exactly textstat's value elsewhere.
    """

    type = "numbers"
    unit = "US school grade"
    shares = "counts of English"
    libraries = LIBRARIES

    examples = (
        gives(-0.66, instruction="Go on.", answer="The cat sat on the mat. It was happy there."),
        gives(
            29.282857,
            instruction="Go on.",
            answer="Photosynthesis converts electromagnetic radiation into chemical energy.",
        ),
        gives(None, instruction="什么是光合作用？", answer="光合作用把光能转化为化学能。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return english(self.text(field), _grade)


def _grade(counts: Counts) -> float:
    syllables = counts.syllables / counts.words
    if syllables == 0:
        return 0.0
    return (0.39 * counts.words_per_sentence) + (11.8 * syllables) - 15.59
