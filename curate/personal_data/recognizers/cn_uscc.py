"""Unified social credit codes of Chinese organisations (统一社会信用代码)."""

from __future__ import annotations

from curate.personal_data.check_digits import USCC_ALPHABET, uscc

from .shape import ALONE, ENDED, ShapeRecognizer, plain

_KINDS = frozenset(
    office + kind
    for office, kinds in (
        ("1", "1239"),
        ("2", "19"),
        ("3", "123459"),
        ("4", "19"),
        ("5", "123459"),
        ("6", "129"),
        ("7", "129"),
        ("8", "19"),
        ("9", "123"),
        ("A", "19"),
        ("N", "1239"),
        ("Y", "1"),
    )
    for kind in kinds
)
"""Registering office and kind of organisation: the first two characters."""
_CODE = (
    r"[0-9A-HJ-NPQRTUWXY]{2}[ \-]?[0-9]{6}[ \-]?(?:[0-9A-HJ-NPQRTUWXY]{10}"
    r"|[0-9A-HJ-NPQRTUWXY]{9}[ \-][0-9A-HJ-NPQRTUWXY])"
)


class CnUsccRecognizer(ShapeRecognizer):
    """18 characters by their check character (GB 32100-2015, ISO 7064-like MOD 31)."""

    ENTITY = "CN_USCC"
    SHAPES = (("18 characters", ALONE + _CODE + ENDED, 0.5),)

    def validate_result(self, pattern_text: str) -> bool | None:
        code = "".join(char for char in plain(pattern_text).upper() if char in USCC_ALPHABET)
        # One number in 31 passes: an identity card's, of 17 digits in a row, is told by its own check digit.
        return code[:2] in _KINDS and USCC_ALPHABET[uscc(code[:17])] == code[17]
