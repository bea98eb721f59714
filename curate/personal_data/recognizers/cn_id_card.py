"""Numbers of Chinese identity cards (居民身份证), of 18 and of 15 digits."""

from __future__ import annotations

from curate.personal_data import check_digits

from .shape import ALONE, DIGIT, ENDED, ShapeRecognizer, digits, is_date, plain

_PROVINCES = frozenset(
    str(code)
    for first, last in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83))
    for code in range(first, last + 1)
)

_GAP = r"[ \-－　.]?"
_LONG = rf"{DIGIT}(?:{_GAP}{DIGIT}){{16}}{_GAP}[0-9０-９XxＸｘ]{ENDED}"
_SHORT = rf"{DIGIT}{{6}}[ \-]?{DIGIT}{{6}}[ \-]?{DIGIT}{{3}}{ENDED}"
_CALLED = (
    r"(?<=(?:身份[证證]|身分[证證]|证件|证[号號]|公民身份|居民身份|身份号|居住[证證]|\bSFZ"
    r"|\bID (?:card|no|number)\b|identity card|national ID)"
    r"[^\n0-9０-９]{0,12})"
)
_NO_DIGIT = "(?<![0-9０-９])(?=[0-9０-９])"


class CnIdCardRecognizer(ShapeRecognizer):
    """18 digits by their check digit (GB 11643-1999, ISO 7064 MOD 11-2); in the context of a card also those whose
    check digit is wrong, and 15 digits. The birth date and the province must exist in any case. Residence permits for
    people of Hong Kong, Macao and Taiwan (居住证) have such a number too, which begins with 81, 82 or 83."""

    ENTITY = "CN_ID_CARD"
    SHAPES = (
        ("18 digits", ALONE + _LONG, 0.1),
        ("18 digits in context", _NO_DIGIT + _CALLED + _LONG, 0.6),
        ("15 digits", ALONE + _SHORT, 0.1),
        ("15 digits in context", _NO_DIGIT + _CALLED + _SHORT, 0.7),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        number = "".join(char for char in plain(pattern_text).upper() if char in "0123456789X")
        if number[:2] not in _PROVINCES:
            return False
        if len(number) == 15:
            return None if is_date(1900 + int(number[6:8]), int(number[8:10]), int(number[10:12])) else False
        if not is_date(int(number[6:10]), int(number[10:12]), int(number[12:14])):
            return False
        return True if "0123456789X"[check_digits.cn_id(digits(number[:17]))] == number[17] else None
