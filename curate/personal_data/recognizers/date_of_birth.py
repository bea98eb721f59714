"""Dates of birth, where a birth is spoken of."""

from __future__ import annotations

from .shape import DIGIT, ShapeRecognizer, plain

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_YEAR = r"(?:19[0-9]{2}|20[0-9]{2})"
_DATE_ZH = (
    rf"(?:[1１2２][9９0０]{DIGIT}{{2}} ?年 ?{DIGIT}{{1,2}} ?月(?: ?{DIGIT}{{1,2}} ?[日号])?"
    rf"|[5-9]{DIGIT}年{DIGIT}{{1,2}}月{DIGIT}{{1,2}}[日号]"
    r"|[一二][九零〇][零〇一二三四五六七八九]{2}年[一二三四五六七八九十]{1,2}月[一二三四五六七八九十]{1,3}[日号])"
)
_DATE = (
    rf"(?:{_YEAR}([\-/.])[0-9]{{1,2}}\1[0-9]{{1,2}}|[0-9]{{1,2}}([\-/.])[0-9]{{1,2}}\2(?:{_YEAR}|[0-9]{{2}})"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH},? {_YEAR}"
    rf"|[0-9]{{1,2}}-{_MONTH}-(?:{_YEAR}|[0-9]{{2}}))"
)
_DATE_FROM_MONTH = rf"{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? {_YEAR}"
# What is cheap to look at comes first: a look-behind at every character would cost 20 µs.
_DIGIT_FIRST = r"(?<![0-9０-９.\-/])(?=[0-9０-９一二])"
_MONTH_FIRST = r"(?<![A-Za-z])(?=[JFMASOND][a-z]{2})"
_COMPACT = r"(?:19[0-9]{2}|20[0-9]{2})(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_BEFORE_EN = (
    r"(?<=(?:\bdate of birth|\bbirth ?date|\bbirthday|\bdob|\bd\.o\.b\.?|\bborn(?: (?:on|in))?|\bbirth)"
    r"[^\n0-9]{0,20})"
)
_BEFORE_ZH = r"(?<=(?:出生日期|出生年月日?|出生时间|出生于|出生|生于|生日|诞辰)[^\n0-9０-９。]{0,10})"
_BEHIND_ZH = r"(?= ?(?:出生|生于|生人|生日|生[，,。；; ]|是?(?:我|他|她|本人|孩子)?的生日))"
_END = r"(?![0-9０-９]|[\-/.][0-9])"


class DateOfBirthRecognizer(ShapeRecognizer):
    """Dates from 1900 on after or before the words for a birth, in Chinese and in English."""

    ENTITY = "DATE_OF_BIRTH"
    SHAPES = (
        ("en", rf"{_DIGIT_FIRST}{_BEFORE_EN}{_DATE}{_END}", 0.8),
        ("en, month first", rf"{_MONTH_FIRST}{_BEFORE_EN}{_DATE_FROM_MONTH}{_END}", 0.8),
        ("zh", rf"{_DIGIT_FIRST}{_BEFORE_ZH}(?:{_DATE_ZH}|{_DATE})(?![0-9０-９])", 0.8),
        ("zh, compact", rf"(?<![0-9A-Za-z])(?=[0-9]){_BEFORE_ZH}{_COMPACT}(?![0-9A-Za-z])", 0.7),
        ("en, compact", rf"(?<![0-9A-Za-z])(?=[0-9]){_BEFORE_EN}{_COMPACT}(?![0-9A-Za-z])", 0.7),
        ("zh, behind", rf"{_DIGIT_FIRST}(?:{_DATE_ZH}|{_DATE}){_BEHIND_ZH}", 0.75),
    )

    def invalidate_result(self, pattern_text: str) -> bool:
        numbers = [int(part) for part in "".join(c if c.isdigit() else " " for c in plain(pattern_text)).split()]
        small = sorted(number for number in numbers if number < 100)
        return (
            bool(small) and len(numbers) >= 3 and (small[0] < 1 or small[0] > 12 or (len(small) == 2 and small[1] > 31))
        )
