"""Chinese fixed-line numbers (座机)."""

from __future__ import annotations

import phonenumbers

from .shape import ALONE, DIGIT, ENDED, NOT_ORDER, ShapeRecognizer, digits

_COUNTRY = r"(?:(?:[+＋]|00)?86[ \-－]?)?"
_AREA = rf"[0０](?:[1１][0０]|[2２][0-57-9０-５７-９]|[3-9３-９]{DIGIT}{{2}})"
_AREA_ABROAD = rf"(?:[1１][0０]|[2２][0-57-9０-５７-９]|[3-9３-９]{DIGIT}{{2}})"
_GAP = r"[ \-－—–　]"
_FIRST = r"(?=[(（+＋]{0,2}[0-9０-９])"
_LOCAL = rf"[2-8２-８]{DIGIT}{{2,3}}{_GAP}?{DIGIT}{{4}}"
_EXTENSION = rf"(?: ?(?:转|分机|ext\.?|x|\-|－) ?{DIGIT}{{1,5}})?"
_CALLED = r"(?<=(?:电话|電話|座机|固话|固定电话|传真|热线|分机|总机|致电|拨打|\btel\b|\bfax\b|phone)[^\n0-9０-９]{0,8})"
_CALLED_IN_CHINESE = r"(?<=(?:电话|電話|座机|固话|传真|热线|致电|拨打)[^\n0-9０-９]{0,8})"


class CnLandlineRecognizer(ShapeRecognizer):
    """Area code and 7 or 8 digits, with an extension; without an area code only where a telephone is spoken of."""

    ENTITY = "CN_LANDLINE"
    SHAPES = (
        (
            "area code",
            _FIRST + ALONE + NOT_ORDER + rf"{_COUNTRY}(?:[(（]{_AREA}[)）]{_GAP}?|{_AREA}{_GAP}{{1,2}})"
            rf"{_LOCAL}{_EXTENSION}{ENDED}",
            0.85,
        ),
        ("abroad", rf"{_FIRST}{ALONE}(?:[+＋]|00)86{_GAP}?{_AREA_ABROAD}{_GAP}?{_LOCAL}{_EXTENSION}{ENDED}", 0.9),
        ("area code, in one", _FIRST + ALONE + _CALLED + rf"{_COUNTRY}{_AREA}{_LOCAL}{_EXTENSION}{ENDED}", 0.85),
        ("local, in context", _FIRST + ALONE + _CALLED_IN_CHINESE + rf"{_LOCAL}{_EXTENSION}{ENDED}", 0.8),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        number = digits(pattern_text)
        if len(set(number[-7:])) == 1:
            return False
        # 020 is Guangzhou and London: what is written in English and is a British number is one.
        is_british = self.supported_language == "en" and number.startswith("0") and is_british_number(number)
        return False if is_british else None


def is_british_number(number: str) -> bool:
    """Whether these digits are a number of the United Kingdom as it is dialled there, by its numbering plan."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, "GB"))
    except phonenumbers.NumberParseException:
        return False
