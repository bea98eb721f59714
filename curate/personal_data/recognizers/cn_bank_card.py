"""Numbers of Chinese bank cards (银行卡)."""

from __future__ import annotations

from .shape import ALONE, DIGIT, ENDED, NOT_ORDER, ShapeRecognizer, digits, is_luhn

_NUMBER = (
    rf"(?:{DIGIT}{{16,19}}|{DIGIT}{{4}}(?:[ \-－　]{DIGIT}{{4}}){{3}}(?:[ \-－　]?{DIGIT}{{1,3}})?"
    rf"|{DIGIT}{{6}}[ \-－　]{DIGIT}{{10,13}})"
)
_CALLED = (
    r"(?<=(?:银行卡|储蓄卡|借记卡|信用卡|贷记卡|工资卡|社保卡|卡号|账号|帐号|账户|帐户|收款|开户行|打款|汇款|转账"
    r"|农行|工行|建行|中行|交行|招行|银行)[^\n0-9０-９]{0,14})"
)


class CnBankCardRecognizer(ShapeRecognizer):
    """UnionPay cards (62 …, 16 to 19 digits) by their check digit; others by it in the context of an account."""

    ENTITY = "CN_BANK_CARD"
    SHAPES = (
        ("16 to 19 digits", ALONE + NOT_ORDER + _NUMBER + ENDED, 0.1),
        ("in context", ALONE + _CALLED + _NUMBER + ENDED, 1.0),
    )

    def validate_result(self, pattern_text: str) -> bool | None:
        number = digits(pattern_text)
        if not 16 <= len(number) <= 19 or number[0] in "012" or not is_luhn(number):
            return False
        return True if number.startswith("62") else None
