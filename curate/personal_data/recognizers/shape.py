"""What our recognizers share: a list of patterns for one type, read as ASCII so that Chinese characters end a word."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import ClassVar

import regex
from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer, RecognizerResult

from curate.personal_data.check_digits import luhn

FLAGS = regex.ASCII | regex.IGNORECASE | regex.MULTILINE | regex.DOTALL
"""Presidio's own flags, and ASCII: with it `\\b` and `\\w` do not take Chinese characters for letters."""

DIGIT = "[0-9０-９]"
HAN = "\u3400-\u9fff\uf900-\ufaff"
ALONE = "(?<![0-9０-９A-Za-z_])"
"""Before a number that stands alone."""
ENDED = "(?![0-9０-９A-Za-z_])"
"""Behind a number that stands alone."""
NOT_ORDER = (
    r"(?<!(?:订单号?|单号|运单号?|快递号?|流水号|序列号|编号|工号|学号|批号|条码|货号|版本号?|order|tracking|invoice"
    r"|serial|ISBN|SKU)(?: ?(?:no\.?|number|id|码|是|为))?[:：#＃ ]{0,3})"
)
"""Before a number that is nobody's: no order, shipment, serial or product number."""

_PLAIN = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


class ShapeRecognizer(PatternRecognizer):
    """A type that is told by the shape of its values and, where there is one, by their checksum."""

    ENTITY: ClassVar[str]
    SHAPES: ClassVar[Sequence[tuple[str, str, float]]]
    """Name, pattern and score (0 to 1) of each shape. Patterns are bounded: the longest match has a known width."""
    SHAPE_FLAGS: ClassVar[int] = FLAGS

    def __init__(self, supported_language: str = "zh") -> None:
        super().__init__(
            supported_entity=self.ENTITY,
            patterns=[Pattern(name, shape, score) for name, shape, score in self.SHAPES],
            supported_language=supported_language,
            global_regex_flags=self.SHAPE_FLAGS,
        )


def finding(recognizer: EntityRecognizer, begin: int, end: int, score: float) -> RecognizerResult:
    """What a recognizer of one type found from one character to another."""
    metadata = {
        RecognizerResult.RECOGNIZER_NAME_KEY: str(recognizer.name),  # type: ignore[has-type]
        RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
    }
    kind = recognizer.supported_entities[0]
    return RecognizerResult(kind, begin, end, score, recognition_metadata=metadata)


def plain(text: str) -> str:
    """`text` with full-width letters, digits and signs in their ASCII form, character by character."""
    return text.translate(_PLAIN)


def digits(text: str) -> str:
    """Only the ASCII and full-width digits of `text`, as ASCII."""
    return "".join(char for char in plain(text) if char in "0123456789")


def is_luhn(number: str) -> bool:
    """Whether the last of some digits is the check digit of the others (ISO/IEC 7812-1, Luhn 1960)."""
    return luhn(number[:-1]) == int(number[-1])


def is_date(year: int, month: int, day: int) -> bool:
    """Whether somebody alive may have been born on that day."""
    try:
        return date(1900, 1, 1) <= date(year, month, day) <= date(date.today().year, 12, 31)
    except ValueError:
        return False
