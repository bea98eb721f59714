"""How any piece of a row is shown: cut, made harmless, personal data masked. Nothing shows a row any other way.

The masks are for display, and cheap: finding and replacing personal data in the data itself is a stage's work.
"""

from __future__ import annotations

import re
import unicodedata

EXCERPT_CHARS = 160
"""How many characters of a piece are shown by default."""

_SCAN_CHARS = 20_000
_LONGEST = 2_100
"""No identifier that is masked is longer."""

# Looked for in a copy in which each of these characters is its plain counterpart.
_PLAIN = (
    {wide: wide - 0xFEE0 for span in ("０９", "ＡＺ", "ａｚ") for wide in range(ord(span[0]), ord(span[1]) + 1)}
    | dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2009\u202f\u3000"), " ")
    | dict.fromkeys(map(ord, "‐‑‒–—−－"), "-")
    | {ord("＠"): "@", ord("．"): ".", ord("＋"): "+", ord("＿"): "_", ord("（"): "(", ord("）"): ")"}
)

# Every pattern is linear in the text: repeats are bounded, and of two that follow each other only one can match a
# character. Where a pattern has groups the last one that matched is what is masked, which may be nothing.
_ALONE, _ENDED = r"(?<![0-9A-Za-z_])", r"(?![0-9A-Za-z_])"
_HAN = "\u3400-\u9fff\uf900-\ufaff"

_SECRETS = (
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|ghp|gho|ghs|ghu|glpat|hf|xox[abprs])[-_]|github_pat_|AKIA|ASIA|AIza)"
    r"[A-Za-z0-9_\-]{16,200}"
    r"|-----BEGIN [A-Z ]{3,40}-----[A-Za-z0-9+/=\\\s]*"
    r"|(?<=Bearer )[A-Za-z0-9._\-]{16,2000}"
    r"|(?i:passw(?:or)?d|pwd|密码|口令)[\"']? ?(?:[:=：]|是|为) ?[\"']?"
    r"(?=[A-Za-z!@#$%^&*_+=.\-]{0,63}[0-9])[A-Za-z0-9!@#$%^&*_+=.\-]{4,64}"
    r"|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_\-]{8,600}\.[A-Za-z0-9_\-]{8,1000}(?:\.[A-Za-z0-9_\-]{0,400})?"
    r"|(?<=://)[^\s/@:]{1,64}:[^\s/@]{1,64}(?=@)|(?<![A-Za-z0-9])LTAI[A-Za-z0-9]{12,30}"
    r"|(?i:api[_ -]?key|secret(?:[_ -]?key)?|access[_ -]?key|token)[\"']? ?(?:[:=：]|是|为|is) ?[\"']?"
    r"(?=[A-Za-z_+/.\-]{0,63}[0-9])([A-Za-z0-9_+/=.\-]{8,200})"
    r"|\b(?:mysql|mysqldump|sshpass|redis-cli|mongo|psql)\b[^\n]{0,60}? -[pa] ?[\"']?([^\s\"'-][^\s\"']{3,63})"
)
_MAIL_HOST = (
    r"(?:vip\.)?(?:qq|163|126|139|189|263|yeah|foxmail|sina|sohu|aliyun|tom|gmail|hotmail|outlook|live|msn|yahoo"
    r"|icloud)"
)
_EMAIL = (
    r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,8}"
    r"|(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]{1,64} ?[\[({<] ?at ?[\])}>] ?[A-Za-z0-9\-]{1,63}"
    r"(?:(?: ?[\[({<] ?dot ?[\])}>] ?|\.)[A-Za-z0-9\-]{1,63}){1,8}"
    rf"|(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]{{1,64}}(?:[#＃]{_MAIL_HOST}\.| at {_MAIL_HOST} dot )(?:com|cn|net)"
)
_ID_CARD = (
    r"(?<![0-9A-Za-z])(?:[1-8]\d(?:[ \-.]?\d){4}[ \-.]?(?:1[ \-.]?9"
    r"|2[ \-.]?0)(?:[ \-.]?\d){9}[ \-.]?[0-9Xx])(?![0-9A-Za-z])"
    r"|(?:身份[证證]|身分[证證]|证件|证[号號]|公民身份"
    r"|(?i:sfz))[^\n0-9]{0,12}([1-8]\d{5}[ \-]?\d{6}[ \-]?\d{3}|[1-8]\d{16}[0-9Xx])(?![0-9A-Za-z])"
)
_TW_ID_CARD = rf"{_ALONE}(?i:[A-Z])[1289]\d{{8}}{_ENDED}"
_HK_ID_CARD = (
    rf"{_ALONE}(?i:[A-Z]{{1,2}})\d{{6}} ?\([0-9Aa]\)"
    rf"|(?:身份[证證]|(?i:\bHKID|ID card))[^\n0-9]{{0,14}}?{_ALONE}((?i:[A-Z]{{1,2}})\d{{6}}[0-9Aa]){_ENDED}"
)
_CARD = rf"{_ALONE}(?:\d[ \-]?){{14,18}}\d{_ENDED}"
_BANK_CARD = rf"{_ALONE}62(?:[ \-]?\d){{14,17}}{_ENDED}"
_COUNTRY = r"(?:(?:\+|00)?86[ \-]?|\((?:\+|00)?86\) ?)?"
_MOBILE = (
    rf"(?<![0-9A-Za-z.]){_COUNTRY}1[3-9]\d(?:(?:[ \-.·]?\d{{4}}){{2}}|[ \-]\d{{3}}[ \-]\d{{5}}"
    rf"|\d[ \-.]\d{{4}}[ \-.]\d{{3}}"
    r"|\d{3}[ \-.]\d{5})(?![0-9])"
    rf"|(?<![0-9A-Za-z.]){_COUNTRY}1[ \-.·][3-9](?:[ \-.·]\d){{9}}(?![0-9])"
    r"|(?<![零〇一幺二两三四五六七八九十百])[一幺][三四五六七八九](?:[,，、 \-]?[零〇一幺二两三四五六七八九]){9}"
    r"(?![零〇一幺二两三四五六七八九十百千万亿])"
)
_LANDLINE = (
    rf"(?<![0-9A-Za-z.]){_COUNTRY}(?:\(0\d{{2,3}}\)|0\d{{2,3}})[ \-]{{0,2}}\d{{3,4}}[ \-]?\d{{4}}"
    r"(?: ?(?:转|分机|ext\.?|x|-) ?\d{1,5})?(?![0-9])"
    r"|(?<![0-9A-Za-z.])(?:\+|00)86[ \-]?[1-9]\d{1,2}[ \-]?\d{3,4}[ \-]?\d{4}(?![0-9])"
    r"|(?:电话|電話|座机|固话|传真|热线|致电|拨打)[^\n0-9]{0,8}([2-8]\d{2,3}[ \-]?\d{4}(?: ?(?:转|分机"
    r"|-) ?\d{1,5})?)(?![0-9])"
)
_PHONE = (
    r"(?<![0-9A-Za-z.])(?:\+\d{1,3}[ \-]?|\(\+?\d{1,3}\) ?|1[ \-.])?(?:\(\d{3}\)|\d{3})[ \-.]?\d{3}[ \-.]\d{4}(?![0-9])"
    r"|(?<![0-9A-Za-z.,])(?:\+|00(?=[1-9]))(?=\d(?:[ \-.()]{0,2}\d){6})\d{1,3}(?:[ \-.]?\(?\d{1,5}\)?){2,6}(?![0-9])"
    rf"|{_ALONE}0(?:20 [378]\d{{3}} ?\d{{4}}|1\d{{2,3}} \d{{3}} ?\d{{3,4}}|7\d{{3}} ?\d{{3}} ?\d{{3}}"
    rf"|9\d{{2}}-?\d{{3}}-?\d{{3}}){_ENDED}"
    r"|(?i:phone|mobile|\bcell|\bcall|\btel\b|\bfax|\bdial|whatsapp|hotline|\btext\b|电话|電話|手机|联系|拨打)"
    r"[^\n0-9+(]{0,28}(\+?\(?\d(?:[ \-./()]{0,2}\d){6,14})(?![0-9])"
)
_SSN = (
    r"(?<![0-9A-Za-z\-])\d{3}-\d{2}-\d{4}(?![0-9A-Za-z\-])|(?i:\bssn"
    r"|social security)[^\n0-9]{0,24}(\d{3}[ .]?\d{2}[ .]?\d{4})(?![0-9])"
)
_IBAN = r"(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?(?![0-9A-Za-z])"
_YEAR = r"(?:19\d{2}|20\d{2})"
_MONTH = (
    r"(?i:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DATE = (
    rf"(?:{_YEAR} ?年 ?\d{{1,2}} ?月(?: ?\d{{1,2}} ?[日号])?|[5-9]\d年\d{{1,2}}月\d{{1,2}}[日号]"
    r"|[一二][九零〇][零〇一二三四五六七八九]{2}年[一二三四五六七八九十]{1,2}月[一二三四五六七八九十]{1,3}[日号]"
    rf"|{_YEAR}[\-/.]\d{{1,2}}[\-/.]\d{{1,2}}|\d{{1,2}}[\-/.]\d{{1,2}}[\-/.](?:{_YEAR}|\d{{2}})"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?[ \-](?:of )?{_MONTH},?[ \-](?:{_YEAR}|\d{{2}})|{_MONTH} \d{{1,2}}(?:st|nd"
    rf"|rd|th)?,? {_YEAR}"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?![0-9])"
)
_BIRTH = (
    rf"(?i:date of birth|birth ?date|birthday|\bdob\b|\bd\.o\.b\.?|\bborn\b|\bbirth\b)[^\n0-9]{{0,20}}?({_DATE})"
    rf"|(?:出生日期|出生年月日?|出生时间|出生于|出生|生于|生日|诞辰)[^\n0-9。]{{0,10}}?({_DATE})"
    rf"|({_DATE}) ?(?:出生|生于|生人|生日|生[,。;；， ]|是?(?:我|他|她|本人|孩子)?的生日)"
)
_PASSPORT = (
    rf"(?i:护照|護照|passport)[^\n0-9]{{0,14}}?{_ALONE}((?i:[A-Z]{{1,2}}\.? ?\d{{7,8}})|1[45]\d{{7}}){_ENDED}"
    rf"|{_ALONE}((?i:[A-Z]{{1,2}} ?\d{{7,8}})|1[45]\d{{7}})[^\n0-9]{{0,8}}[护護]照"
)
_US_PASSPORT = rf"(?i:passport|护照)[^\n0-9]{{0,24}}{_ALONE}(\d{{9}}){_ENDED}"
_PERMIT = (
    r"(?:通行[证證]|回[乡鄉][证證]|台胞[证證]|返乡证|来往内地|来往大陆|往来港澳"
    r"|往来台湾)[^\n0-9A-Za-z]{0,14}(?:No\.?:? ?)?"
    rf"([A-Z]{{1,2}} ?\d{{7,10}}(?:\(\d{{2}}\))?|\d{{8}}|\d{{10}}(?:\([A-Z0-9]\))?){_ENDED}"
    rf"|{_ALONE}([CWLTHM] ?\d{{7,10}})[^\n0-9]{{0,10}}(?:通行证|回乡证|台胞证)"
)
_PLATE = (
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼] ?[A-HJ-NP-Za-hj-np-z][ ·.•・\-]?"
    rf"(?=[A-Za-z]{{0,4}}\d[A-Za-z]{{0,4}}\d)[A-HJ-NP-Za-hj-np-z0-9]{{4,5}}[A-HJ-NP-Za-hj-np-z0-9挂学警港澳]{_ENDED}"
)
_USCC = (
    rf"{_ALONE}(?i:(?=[0-9 \-]{{2,20}}[A-Z])(?:[1-9AN][1-59]"
    rf"|Y1)[ \-]?\d{{6}}[ \-]?[0-9A-HJ-NPQRTUWXY]{{9}}[ \-]?[0-9A-HJ-NPQRTUWXY]){_ENDED}"
)
_SAID = r"[ \t]?(?:[号號][码碼]?|账号|帐号|ID|名)"
_SIGN = r"[ \t]{0,2}(?:[:：=是为叫]|就是){1,2}[ \t]{0,2}"
_NAMED = rf"(?:{_SAID}(?:{_SIGN}|[ \t]{{0,2}})|{_SIGN})"
_ACCOUNT = (
    r"(?i:(?:微信|威信|薇信|徽信|V信|wechat|weixin|(?<![a-z])(?:vx|wx|wxid)|(?<![a-z])加V)"
    rf"(?:{_NAMED}([a-z][\-_a-z0-9]{{5,19}}|[1-9]\d{{5,10}})"
    rf"|[ \t]{{0,2}}((?=[\-_a-z]{{1,19}}\d)[a-z][\-_a-z0-9]{{5,19}}))(?![\-_a-z0-9.@]))"
    rf"|(?i:(?<![a-z])(?:QQ|扣扣|企鹅号?|Q Q)群?(?:{_SAID})?(?:{_SIGN}|[ \t]{{0,2}})|[加扣]Q(?:群"
    rf"|号)?(?:{_SIGN}|[ \t]{{0,2}}))"
    r"([1-9]\d{4,10})(?![\dA-Za-z_@]|\.\d|[万元个人名次%])"
    r"|(?<![A-Za-z0-9_])Q[:：]([1-9]\d{8,9})(?=[ \t]{0,3}(?:$|[,.;，。；、）)】]))"
    rf"|(?i:(?:抖音|小红书|快手|支付宝|淘宝|旺旺|微博|B站|钉钉|陌陌|知乎)(?:{_SAID}(?:{_SIGN}|[ \t]{{0,2}})"
    rf"|[:：][ \t]{{0,2}})(@?[a-z0-9][\-_.a-z0-9]{{4,23}}))"
)
_ENDS = "省市区县旗州盟镇乡村路街巷弄道里坊屯寨组"
_UNIT = rf"[{_HAN}0-9A-Za-z](?:(?![{_ENDS}号栋幢室座])[{_HAN}0-9A-Za-z]){{0,10}}(?:街道|[{_ENDS}])[ ,]?"
_PLACE = rf"(?:(?![{_ENDS}号號栋幢室座0-9])[{_HAN}A-Za-z]){{0,14}}"
_WITHIN = (
    r"(?:[ ,\-]?(?:[A-Za-z]|\d{1,5}[A-Za-z]?|[一二三四五六七八九十百]{1,4}|[甲乙丙丁])\-?(?:号楼|号院|号|栋"
    r"|幢|单元|层|楼|室|座|房|门|户)"
    r"|[ \-]\d{1,4}(?:-\d{1,4}){0,3})"
)
_NUMBERED = (
    r"(?:\d{1,5}|[一二三四五六七八九十百千]{1,5})(?:[\-之](?:\d{1,5}"
    r"|[一二三四五六七八九十]{1,5}))?[号號](?:之[一二三四五]|附\d{1,3}号)?"
)
_DETAIL = rf"(?:{_NUMBERED}(?:[ ,]?{_PLACE}{_WITHIN}{{1,5}})?|{_PLACE}{_WITHIN}{{1,5}})"
_ADDRESS = (
    rf"(?:地址|住址|住所|户籍|籍贯|住在|家住|现住|居住于|住于|搬到|位于|坐落于|寄到|寄往|寄至|送到|送至|收件"
    rf"|收货|通讯处)"
    rf"[为是在到: \t]{{0,4}}((?:{_UNIT}){{0,8}}{_DETAIL})|(?:{_UNIT}){{2,8}}{_DETAIL}"
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IP = (
    r"(?i:\b(?:version|ver|v|release|build)|版本号?|版|固件|内核|驱动|升级到|更新到|章|节|[=<>~]=|chrome"
    r"|firefox)[ .:/]{0,2}\d{1,3}(?:\.\d{1,3}){3}()"
    r"|(?<![0-9A-Za-z_.\-])(?:10|127|0|255|169\.254|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}(?![0-9])()"
    rf"|(?<![0-9A-Za-z_.\-])(?=[0-9.]{{8}})((?:{_OCTET}\.){{3}}{_OCTET}(?:/\d{{1,2}})?)(?![0-9A-Za-z_]|\.\d"
    rf"|-[0-9A-Za-z]| ?版)"
    r"|(?<![0-9A-Za-z_:.])((?=(?:[0-9a-fA-F]{0,4}:){2}[0-9a-fA-F:.]{3})(?:[0-9a-fA-F]{0,4}:){3,7}"
    r"[0-9a-fA-F]{1,4})(?![0-9A-Za-z_:])"
)
_MAC = rf"{_ALONE}(?:[0-9A-Fa-f]{{2}}[:\-]){{5}}[0-9A-Fa-f]{{2}}{_ENDED}"
_CRYPTO = rf"{_ALONE}(?:bc1[a-z0-9]{{25,59}}|(?=[a-z0-9]{{0,30}}[A-Z])[13][a-km-zA-HJ-NP-Z1-9]{{25,34}}){_ENDED}"
_ITIN = rf"{_ALONE}9\d{{2}}[ \-](?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])[ \-]\d{{4}}{_ENDED}"
_NINO = rf"{_ALONE}[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z]{{2}} ?\d{{2}} ?\d{{2}} ?\d{{2}} ?[A-Da-d]{_ENDED}"
_NHS = rf"\bNHS\b[^\n0-9]{{0,24}}(\d{{3}}[ \-]?\d{{3}}[ \-]?\d{{4}}){_ENDED}"
_LICENCE = (
    rf"(?i:\bdriver|\bdriving|licen[cs]e\b|驾照|驾驶证)[^\n0-9]{{0,24}}?{_ALONE}((?i:[A-Z]{{1,2}}\d{{3,9}})){_ENDED}"
)
_ACCOUNT_NUMBER = rf"(?i:\baccount|\bacct|\brouting|账号|账户)[^\n0-9]{{0,24}}(\d{{8,17}}){_ENDED}"

MASKS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("SECRET", _SECRETS),
        ("EMAIL_ADDRESS", _EMAIL),
        ("CN_ID_CARD", _ID_CARD),
        ("TW_ID_CARD", _TW_ID_CARD),
        ("HK_ID_CARD", _HK_ID_CARD),
        ("CN_USCC", _USCC),
        ("IBAN_CODE", _IBAN),
        ("CN_BANK_CARD", _BANK_CARD),
        ("CREDIT_CARD", _CARD),
        ("DATE_OF_BIRTH", _BIRTH),
        ("CN_PASSPORT", _PASSPORT),
        ("CN_TRAVEL_PERMIT", _PERMIT),
        ("CN_SOCIAL_ACCOUNT", _ACCOUNT),
        ("CN_LICENSE_PLATE", _PLATE),
        ("US_ITIN", _ITIN),
        ("US_SSN", _SSN),
        ("UK_NHS", _NHS),
        ("UK_NINO", _NINO),
        ("US_PASSPORT", _US_PASSPORT),
        ("CN_MOBILE", _MOBILE),
        ("CN_LANDLINE", _LANDLINE),
        ("PHONE_NUMBER", _PHONE),
        ("MAC_ADDRESS", _MAC),
        ("IP_ADDRESS", _IP),
        ("CRYPTO", _CRYPTO),
        ("US_DRIVER_LICENSE", _LICENCE),
        ("US_BANK_NUMBER", _ACCOUNT_NUMBER),
        ("CN_ADDRESS", _ADDRESS),
    )
)
"""What is masked, in order: the type, as the stage `personal_data` names it, and the pattern that finds it."""

_DIGIT_OR_NUMERAL = re.compile(r"[0-9一二三四五六七八九十幺]")
_ONLY_WITH_DIGITS = frozenset(name for name, _ in MASKS) - {"SECRET", "EMAIL_ADDRESS", "CN_SOCIAL_ACCOUNT"}


def mask(text: str) -> str:
    """`text` with what looks like personal data replaced by its type, such as `<EMAIL_ADDRESS>`, full-width ones too.

    The types are those of the stage `personal_data`, whose findings are checked and looked at in context: a mask hides
    more than it finds, and misses names of people and what is told by checksums alone.
    """
    plain = text.translate(_PLAIN)
    numbered = _DIGIT_OR_NUMERAL.search(plain) is not None
    for name, pattern in MASKS:
        if not numbered and name in _ONLY_WITH_DIGITS:
            continue
        found = (one.span(one.lastindex or 0) for one in pattern.finditer(plain))
        spans = [(begin, end) for begin, end in found if begin < end]
        if spans:
            text, plain = (_replaced(one, spans, f"<{name}>") for one in (text, plain))
    return text


def _replaced(text: str, spans: list[tuple[int, int]], tag: str) -> str:
    pieces, end = [], 0
    for begin, after in spans:
        pieces += [text[end:begin], tag]
        end = after
    return "".join([*pieces, text[end:]])


def printable(text: str) -> str:
    """`text` with control, bidirectional and zero-width characters made visible, so that none reaches a terminal."""
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
    if char in "\n\r\t\u2028\u2029":
        return "⏎" if char != "\t" else " "
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return f"\\u{ord(char):04x}" if char != "\u200d" else ""
    return char


def excerpt(value: object, chars: int = EXCERPT_CHARS) -> str:
    """One line of at most `chars` characters to show for a value: masked, then cut, then made printable.

    Masking comes first, so that a cut never leaves half an identifier behind. Escape it where it is put into HTML.
    """
    if value is None:
        return "∅"
    text = value if isinstance(value, str) else str(value)
    # The beginning is enough, but where it is nearly all masks.
    for scanned in (_LONGEST + 8 * chars, _SCAN_CHARS):
        whole = len(text) <= scanned
        # Where the scan ends in the middle of an identifier, no pattern sees it: what may be one is left out.
        masked = mask(text) if whole else mask(text[:scanned])[:-_LONGEST]
        line = printable(masked).strip()
        if len(line) > chars or whole:
            break
    return line if len(line) <= chars and whole else line[: chars - 1].rstrip() + "…"
