"""Numbers of identity cards and resident certificates of Taiwan (國民身分證, 居留證)."""

from __future__ import annotations

from curate.personal_data.check_digits import tw_id_remainder

from .shape import ALONE, DIGIT, ENDED, NOT_ORDER, ShapeRecognizer, plain


class TwIdCardRecognizer(ShapeRecognizer):
    """A letter and nine digits by their check digit, the first of them for the holder's sex (1, 2; foreigners 8, 9)."""

    ENTITY = "TW_ID_CARD"
    SHAPES = (("letter and 9 digits", rf"{ALONE}{NOT_ORDER}[A-ZＡ-Ｚ][1289１２８９]{DIGIT}{{8}}{ENDED}", 0.1),)

    def validate_result(self, pattern_text: str) -> bool | None:
        return tw_id_remainder(plain(pattern_text).upper()) == 0
