"""Numbers of identity cards of Hong Kong (香港身份證)."""

from __future__ import annotations

from curate.personal_data.check_digits import hk_id_remainder

from .shape import ALONE, DIGIT, ShapeRecognizer, plain

_CALLED = r"(?<=(?:身份[证證]|\bHKID|ID card|identity card)[^\n0-9０-９]{0,14})"
_NUMBER = rf"[A-ZＡ-Ｚ]{{1,2}}{DIGIT}{{6}}"


class HkIdCardRecognizer(ShapeRecognizer):
    """One or two letters, six digits and a check digit (0 to 9 or A) that is right: in brackets, or in the context of a
    card."""

    ENTITY = "HK_ID_CARD"
    SHAPES = (
        ("in brackets", rf"{ALONE}{_NUMBER}[ \t]?[(（][0-9０-９AＡ][)）]", 0.1),
        ("in context", rf"{ALONE}(?=[A-ZＡ-Ｚ]){_CALLED}{_NUMBER}[0-9０-９AＡ](?![0-9０-９A-Za-z_])", 0.1),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        written = "".join(char for char in plain(pattern_text).upper() if char.isalnum())
        return hk_id_remainder(written) == 0
