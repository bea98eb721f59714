"""Chinese mobile numbers (手机号)."""

from __future__ import annotations

from .shape import ALONE, DIGIT, NOT_ORDER, ShapeRecognizer, digits

_COUNTRY = r"(?:[(（]?(?:[+＋]|00)?86[)）]?[ \-－]?)?"
_GAP = r"[ \-－—–.·　]"
_NUMBER = (
    rf"[1１][3-9３-９]{DIGIT}(?:{DIGIT}{{8}}|{_GAP}{DIGIT}{{4}}{_GAP}{DIGIT}{{4}}|{DIGIT}{_GAP}{DIGIT}{{4}}{_GAP}{DIGIT}{{3}}"
    rf"|[ \-]{DIGIT}{{3}}[ \-]{DIGIT}{{5}}|{_GAP}{DIGIT}{{8}}"
    rf"|{DIGIT}{{3}}{_GAP}{DIGIT}{{5}}|{DIGIT}{{4}}{_GAP}{DIGIT}{{4}})"
)
_SPACED = rf"[1１]{_GAP}[3-9３-９](?:{_GAP}{DIGIT}){{9}}"
_END = (
    r"(?![0-9０-９A-Za-z_]|[.．]\d|[ \-]?\d{4}"
    r"|[ \t]?(?:元|圆|块钱|万元|亿|美元|港元|日元|欧元|人民币|RMB|USD|CNY|字节|bytes|毫秒|微秒|纳秒))"
)
_CALLED = (
    r"(?<=(?:电话|電話|手机|手機|联系|聯[繫絡]|号码|號碼|热线|微信|致电|拨打|短信|mobile|phone|\btel\b|call"
    r"|contact|whatsapp)[^\n0-9０-９]{0,12})"
)
_NUMERALS = "零〇一幺二两三四五六七八九"
_SPELT = (
    rf"(?<![{_NUMERALS}十百千万亿点])[一幺][三四五六七八九](?:[，,、 \-]?[{_NUMERALS}]){{9}}"
    rf"(?![，,、 \-]?[{_NUMERALS}十百千万亿])"
)
_SPELT_AS = str.maketrans(_NUMERALS, "0011223456789")
_FIRST = r"(?=[(（]?[+＋]?[0-9０-９])"
_NOT_MONEY = r"(?<![¥￥$€£.+\-=&#])(?<!(?:金额|总额|余额|价格|总价|售价|营收|收入|预算|市值)[:：为是]?[ \t]?)"


class CnMobileRecognizer(ShapeRecognizer):
    """11 digits from 13 to 19, with +86, in groups, full-width, in Chinese numerals; digit by digit in the context of a
    telephone."""

    ENTITY = "CN_MOBILE"
    SHAPES = (
        ("with +86", _FIRST + r"(?<![0-9０-９A-Za-z_])[(（]?(?:[+＋]|00)86[)）]?[ \-－]?" + _NUMBER + _END, 0.9),
        ("11 digits", _FIRST + ALONE + _NOT_MONEY + NOT_ORDER + _COUNTRY + _NUMBER + _END, 0.8),
        ("in context", _FIRST + ALONE + _CALLED + _COUNTRY + _NUMBER + _END, 0.85),
        ("in numerals", _SPELT, 0.75),
        ("digit by digit", _FIRST + ALONE + _CALLED + _COUNTRY + _SPACED + _END, 0.7),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        """Only segments that are in use: https://www.miit.gov.cn, numbering plan of public mobile networks."""
        number = digits(pattern_text.translate(_SPELT_AS))[-11:]
        first, third = number[:2], number[2]
        unused = {"14": "23", "15": "4", "16": "03489", "17": "9", "19": "4"}.get(first, "")
        return False if third in unused or len(set(number[2:])) == 1 else None
