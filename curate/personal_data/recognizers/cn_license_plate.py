"""Number plates of Chinese cars (车牌), those of new-energy cars too."""

from __future__ import annotations

from .shape import ShapeRecognizer, digits, plain

_PROVINCES = "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]"
_AUTHORITY = "[A-HJ-NP-ZＡ-ＨＪ-ＮＰ-Ｚ]"
_CHAR = "[A-HJ-NP-Z0-9Ａ-ＨＪ-ＮＰ-Ｚ０-９]"
_GAP = r"[ ·.•・\-　]?"
_END = "(?![A-Za-z0-9_])"


class CnLicensePlateRecognizer(ShapeRecognizer):
    """Province, authority and five characters, or six for new energy (GA 36-2018); at least two of them digits."""

    ENTITY = "CN_LICENSE_PLATE"
    SHAPES = (
        ("five", rf"{_PROVINCES} ?{_AUTHORITY}{_GAP}{_CHAR}{{4}}(?:{_CHAR}|[挂学警港澳]){_END}", 0.75),
        (
            "new energy",
            rf"{_PROVINCES} ?{_AUTHORITY}{_GAP}(?:[A-HJK][A-HJ-NP-Z0-9][0-9]{{4}}|[0-9]{{5}}[A-HJK]){_END}",
            0.8,
        ),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        number = plain(pattern_text)
        return False if len(digits(number)) < 2 or number.endswith(("KB", "GB", "MB", "TB")) else None
