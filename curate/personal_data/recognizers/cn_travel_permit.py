"""Permits to travel between the mainland, Hong Kong, Macao and Taiwan (港澳通行证, 台胞证, 回乡证)."""

from __future__ import annotations

from .shape import ALONE, DIGIT, ENDED, ShapeRecognizer

_LETTERED = rf"(?:C[A-HJ-NP-Z]?|[WLTHMＣＨＭ]) ?{DIGIT}{{7,10}}"
_NUMBER = (
    rf"(?:(?:C[A-HJ-NP-Z]?|[WLTHMＣＨＭ]) ?{DIGIT}{{7,10}}(?:[(（]{DIGIT}{{2}}[)）])?|{DIGIT}{{8}}"
    rf"|{DIGIT}{{10}}(?:[(（][A-Z0-9][)）])?)"
)
_BEFORE = (
    r"(?<=(?:通行[证證]|回[乡鄉][证證]|台胞[证證]|返乡证|来往内地|来往大陆|往来港澳"
    r"|往来台湾)[^\n0-9０-９A-Za-z]{0,14}(?:No\.?:? ?)?)"
)
_BEHIND = r"(?=[^\n0-9０-９]{0,10}(?:通行证|回乡证|台胞证))"


class CnTravelPermitRecognizer(ShapeRecognizer):
    """C, W, L, T, H or M and digits, or 8 or 10 digits, where such a permit is spoken of."""

    ENTITY = "CN_TRAVEL_PERMIT"
    SHAPES = (
        ("in context", ALONE + _BEFORE + _NUMBER + ENDED, 0.8),
        ("context behind", ALONE + _LETTERED + ENDED + _BEHIND, 0.6),
    )
