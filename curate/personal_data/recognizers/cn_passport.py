"""Numbers of Chinese passports (护照)."""

from __future__ import annotations

from .shape import ALONE, DIGIT, ENDED, ShapeRecognizer

_SINCE_2012 = rf"[EＥ](?:[A-HJ-NP-Z]{DIGIT}{{7}}|{DIGIT}{{8}})"
_OTHERS = rf"(?:[GＧDSPHKM] ?{DIGIT}{{8}}|(?:DE|SE|PE|MA|KJ){DIGIT}{{7}}|1[45]{DIGIT}{{7}}|P\.?{DIGIT}{{7}})"
_NUMBER = rf"(?:{_SINCE_2012}|[EＥ] ?{DIGIT}{{8}}|{_OTHERS})"
_BEFORE = r"(?<=(?:护照|護照|passport)[^\n0-9０-９]{0,14})"
_BEHIND = r"(?=[^\n0-9０-９]{0,8}[护護]照)"


class CnPassportRecognizer(ShapeRecognizer):
    """E and 8 digits (or a letter and 7), G, D, S, P and earlier ones, where a passport is spoken of."""

    ENTITY = "CN_PASSPORT"
    SHAPES = (
        ("in context", ALONE + _BEFORE + _NUMBER + ENDED, 0.8),
        ("context behind", ALONE + _NUMBER + ENDED + _BEHIND, 0.6),
    )
