"""Numbers of payment cards."""

from __future__ import annotations

from .shape import ALONE, DIGIT, ENDED, NOT_ORDER, ShapeRecognizer, digits, is_luhn

_GAP = r"[ \-－　]"
_NUMBER = (
    rf"(?:{DIGIT}{{13,19}}|{DIGIT}{{4}}(?:{_GAP}{DIGIT}{{4}}){{2}}{_GAP}{DIGIT}{{1,4}}(?:{_GAP}{DIGIT}{{3}})?"
    rf"|{DIGIT}{{4}}{_GAP}{DIGIT}{{6}}{_GAP}{DIGIT}{{4,5}})"
)
_CALLED = r"(?<=(?:card|visa|master|maestro|amex|diners|discover|jcb|\bcc\b|payment|信用卡|卡号)[^\n0-9]{0,24})"
# Lengths in digits by the first ones (ISO/IEC 7812, the networks' own tables).
_NETWORKS = (
    *((first, (13, 16, 19)) for first in ("4",)),
    *((str(first), (16,)) for first in (*range(51, 56), *range(2221, 2721))),
    *((first, (15,)) for first in ("34", "37")),
    *((str(first), (16, 17, 18, 19)) for first in ("6011", "65", "62", *range(644, 650))),
    *((str(first), (14, 16, 19)) for first in (36, 38, 39, *range(300, 306))),
    *((str(first), (16, 17, 18, 19)) for first in range(3528, 3590)),
)
_LENGTHS = dict(_NETWORKS)


class PaymentCardRecognizer(ShapeRecognizer):
    """Numbers of a known network, of its length, with a right check digit; any with it where a card is spoken of."""

    ENTITY = "CREDIT_CARD"
    SHAPES = (
        ("13 to 19 digits", ALONE + r"(?<![.+\-/])" + NOT_ORDER + _NUMBER + ENDED + r"(?!\.\d|-\d)", 0.1),
        ("in context", ALONE + _CALLED + _NUMBER + ENDED, 0.7),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        number = digits(pattern_text)
        if not is_luhn(number) or len(set(number)) < 2:
            return False
        lengths = next((_LENGTHS[number[:size]] for size in range(1, 5) if number[:size] in _LENGTHS), ())
        # 13 digits that begin with 4 are as often a count of milliseconds or an article number.
        return True if len(number) in lengths and len(number) > 13 else None
