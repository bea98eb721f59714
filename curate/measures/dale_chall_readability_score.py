"""How hard English is, by words that a fourth-grader does not know."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives
from curate.readability import LIBRARIES, Counts, english


class DaleChallReadabilityScore(Measure):
    """How hard a text is, by the share of words that are not on a list of easy ones, and sentences; English only.

    After Dale & Chall 1948 (Educational Research Bulletin 27): up to 4.9 for grade 4, 9.0 and more for college.
    The list is textstat's, and has no inflected forms.
    Null where the text is not English by its script; exactly textstat's value elsewhere.
    """

    type = "numbers"
    unit = "points"
    shares = "counts of English"
    libraries = LIBRARIES

    examples = (
        gives(0.248, instruction="Go on.", answer="The cat sat on the mat. It was happy there."),
        gives(
            17.517986,
            instruction="Go on.",
            answer="Photosynthesis converts electromagnetic radiation into chemical energy.",
        ),
        gives(None, instruction="什么是光合作用？", answer="光合作用把光能转化为化学能。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return english(self.text(field), _score)


def _score(counts: Counts) -> float:
    unfamiliar = 100 * counts.unfamiliar / counts.words
    score = (0.1579 * unfamiliar) + (0.0496 * counts.words_per_sentence)
    if unfamiliar > 5:
        score += 3.6365
    return score
