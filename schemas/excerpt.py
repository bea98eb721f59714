"""How any piece of a row is shown: cut, made harmless, obvious identifiers masked. Nothing shows a row any other way.

The masks are for display. They hide the commonest identifiers and promise nothing about the data itself: finding and
replacing personal data is a stage's work.
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

# Bounded repeats and no nested ones: each pattern is linear in the text.
_SECRETS = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|ghp|gho|ghs|ghu|glpat|hf|xox[abprs])[-_]|github_pat_|AKIA|ASIA|AIza)"
    r"[A-Za-z0-9_\-]{16,200}"
    r"|-----BEGIN [A-Z ]{3,40}-----[A-Za-z0-9+/=\\\s]*"
    r"|(?<=Bearer )[A-Za-z0-9._\-]{16,2000}"
    r"|(?i:passw(?:or)?d|pwd|密码|口令)[\"']? ?(?:[:=：]|是|为) ?[\"']?"
    r"(?=[A-Za-z!@#$%^&*_+=.\-]{0,63}[0-9])[A-Za-z0-9!@#$%^&*_+=.\-]{4,64}"
    r"|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_\-]{8,600}\.[A-Za-z0-9_\-]{8,1000}(?:\.[A-Za-z0-9_\-]{0,400})?"
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,8}")
_ID_NUMBER = re.compile(r"(?<![0-9A-Za-z])\d{6}[ \-]?(?:18|19|20)\d{2}[ \-]?\d{4}[ \-]?\d{3}[0-9Xx](?![0-9A-Za-z])")
_CARD = re.compile(r"(?<![0-9])(?:\d[ \-]?){14,18}\d(?![0-9])")
_PHONE = re.compile(
    r"(?<![0-9A-Za-z.])(?:(?:\+|00)\d{1,3}[ \-]?|\((?:\+|00)\d{1,3}\) ?|86[ \-]?)?"
    r"(?:1[3-9]\d(?:[ \-.]?\d{4}){2}|(?:\(0\d{2,3}\)|0\d{2,3})[ \-]?\d{3,4}[ \-]?\d{4}"
    r"|(?:\(\d{3}\)|\d{3})[ \-.]\d{3}[ \-.]\d{4})(?![0-9])"
    r"|(?<![0-9A-Za-z.])\+\d{1,3}(?:[ \-]?\d{2,4}){2,5}(?![0-9])"
)
_SSN = re.compile(r"(?<![0-9A-Za-z\-])\d{3}-\d{2}-\d{4}(?![0-9A-Za-z\-])")
_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?(?![0-9A-Za-z])")

MASKS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("secret", _SECRETS),
    ("email", _EMAIL),
    ("id_number", _ID_NUMBER),
    ("iban", _IBAN),
    ("card_number", _CARD),
    ("ssn", _SSN),
    ("phone", _PHONE),
)
"""What is masked, in order: the identifier's type and the pattern that finds it."""


def mask(text: str) -> str:
    """`text` with obvious identifiers replaced by a tag such as `<email>`, full-width ones too."""
    plain = text.translate(_PLAIN)
    for name, pattern in MASKS:
        spans = [found.span() for found in pattern.finditer(plain)]
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
    whole = len(text) <= _SCAN_CHARS
    # Where the scan ends in the middle of an identifier, no pattern sees it: what may be one is left out.
    masked = mask(text) if whole else mask(text[:_SCAN_CHARS])[:-_LONGEST]
    line = printable(masked).strip()
    if len(line) > chars or not whole:
        return line[: chars - 1].rstrip() + "…"
    return line
