"""Accounts at WeChat, QQ and other Chinese services (微信号, QQ 号), where one is spoken of."""

from __future__ import annotations

from .shape import ShapeRecognizer

_SAID = r"[ \t]?(?:[号號][码碼]?|账号|帐号|ID|名)"
_SIGN = r"[ \t]{0,2}(?:[:：=是为叫]|就是){1,2}[ \t]{0,2}"
_WECHAT = r"(?:微信|威信|薇信|徽信|V信|wechat|weixin|(?<![A-Za-z])(?:vx|wx|wxid)|(?<![A-Za-z])加V)"
_OTHER = r"(?:抖音|小红书|快手|支付宝|淘宝|旺旺|微博|B站|钉钉|陌陌|知乎)"
_START = r"(?<![A-Za-z0-9_\-])(?=[A-Za-z])"
_NAME = r"[A-Za-z][\-_A-Za-z0-9]{5,19}(?![\-_A-Za-z0-9.@]|[ \t]?[（(]号)"
_NAME_WITH_DIGIT = r"(?=[\-_A-Za-z]{1,19}[0-9])" + _NAME
_QQ = r"(?<![A-Za-z])(?:QQ|扣扣|企鹅号?|Q Q|ＱＱ)"
_Q = r"(?<![A-Za-z0-9_])Q[:：]"  # also how a question begins: only before what is as long as most QQ numbers, and alone
_Q_NUMBER = r"[1-9１-９][0-9０-９]{8,9}(?=[ \t]{0,3}(?:$|[，。；、,;）)】]))"
_ADDED = r"(?:加|扣)Q(?:群|号|號)?"
_QQ_NUMBER = r"[1-9１-９][0-9０-９]{4,10}(?![0-9０-９A-Za-z_@]|\.\d|[万元个人名次%])"


class CnSocialAccountRecognizer(ShapeRecognizer):
    """6 to 20 letters and digits after 微信号, 5 to 11 digits after QQ, names after 抖音号 and the like."""

    ENTITY = "CN_SOCIAL_ACCOUNT"
    SHAPES = (
        ("wechat", rf"{_START}(?<={_WECHAT}(?:{_SAID}(?:{_SIGN}|[ \t]{{0,2}})|{_SIGN})){_NAME}", 0.8),
        ("wechat, nothing between", rf"{_START}(?<={_WECHAT}[ \t]{{0,2}}){_NAME_WITH_DIGIT}", 0.6),
        (
            "wechat by number",
            rf"(?=[1-9])(?<![0-9])(?<={_WECHAT}(?:{_SAID}(?:{_SIGN}|[ \t]{{0,2}})"
            rf"|{_SIGN}))[1-9][0-9]{{5,10}}(?![0-9A-Za-z_@]|\.\d)",
            0.6,
        ),
        ("qq", rf"(?=[1-9１-９])(?<={_QQ}群?(?:{_SAID})?(?:{_SIGN}|[ \t]{{0,2}})){_QQ_NUMBER}", 0.8),
        ("q, added", rf"(?=[1-9１-９])(?<={_ADDED}(?:{_SIGN}|[ \t]{{0,2}})){_QQ_NUMBER}", 0.6),
        ("q", rf"(?=[1-9１-９])(?<={_Q}){_Q_NUMBER}", 0.6),
        (
            "others",
            rf"(?<![A-Za-z0-9_.\-])(?=[A-Za-z0-9@])(?<={_OTHER}(?:{_SAID}(?:{_SIGN}|[ \t]{{0,2}})"
            rf"|[:：][ \t]{{0,2}}))@?[A-Za-z0-9][\-_.A-Za-z0-9]{{4,23}}(?![\-_A-Za-z0-9@])",
            0.6,
        ),
    )
