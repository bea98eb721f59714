"""School grade for which English is written, by letters and sentences."""

from __future__ import annotations

import polars as pl

from curate.measure import Field, Measure, gives
from curate.readability import LIBRARIES, Counts, english


class ColemanLiauIndex(Measure):
    """US school grade for which a text is written, by letters and sentences per hundred words; English only.

    After Coleman & Liau 1975 (Journal of Applied Psychology 60). Needs no syllables.
    Null where the text is not English by its script; exactly textstat's value elsewhere.
    """

    type = "numbers"
    unit = "US school grade"
    shares = "counts of English"
    libraries = LIBRARIES

    examples = (
        gives(-3.16, instruction="Go on.", answer="The cat sat on the mat. It was happy there."),
        gives(
            33.0, instruction="Go on.", answer="Photosynthesis converts electromagnetic radiation into chemical energy."
        ),
        gives(None, instruction="什么是光合作用？", answer="光合作用把光能转化为化学能。"),
    )

    def value(self, field: Field) -> pl.Expr:
        return english(self.text(field), _grade, syllables=False)


def _grade(counts: Counts) -> float:
    letters = counts.letters / counts.words * 100
    sentences = counts.sentences / counts.words * 100
    return (0.058 * letters) - (0.296 * sentences) - 15.8
