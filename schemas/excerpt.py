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
_FULL_WIDTH_DIGITS = {ord("０") + digit: ord("0") + digit for digit in range(10)}

# Possessive bounds and no nested repeats: each pattern is linear in the text.
_SECRETS = re.compile(
    r"(?:sk|pk|ghp|gho|hf|xox[bap]|AKIA)[-_]?[A-Za-z0-9_\-]{16,200}|-----BEGIN [A-Z ]{3,40}-----"
    r"|(?<=Bearer )[A-Za-z0-9._\-]{16,2000}"
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+\-]{1,64}[@＠][A-Za-z0-9\-]{1,63}(?:[.．][A-Za-z0-9\-]{1,63}){1,8}")
_ID_NUMBER = re.compile(r"(?<![0-9A-Za-z])\d{6}[ \-]?(?:18|19|20)\d{2}[ \-]?\d{4}[ \-]?\d{3}[0-9Xx](?![0-9A-Za-z])")
_CARD = re.compile(r"(?<![0-9])(?:\d[ \-]?){14,18}\d(?![0-9])")
_PHONE = re.compile(
    r"(?<![0-9A-Za-z.])(?:\+\d{1,3}[ \-]?|\(\+\d{1,3}\) ?)?(?:1[3-9]\d(?:[ \-]?\d{4}){2}"
    r"|\(?0\d{2,3}\)?[ \-]\d{7,8}|\(?\d{3}\)?[ \-.]\d{3}[ \-.]\d{4})(?![0-9])"
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
    """`text` with obvious identifiers replaced by a tag such as `<email>`. Full-width digits count as digits."""
    plain = text.translate(_FULL_WIDTH_DIGITS)
    for name, pattern in MASKS:
        plain = pattern.sub(f"<{name}>", plain)
    return plain


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

    Masking comes first, so that a cut never leaves half an identifier behind. Escape for HTML where it is put into HTML.
    """
    if value is None:
        return "∅"
    if isinstance(value, str):
        text = value[:_SCAN_CHARS]
    else:
        text = str(value)[:_SCAN_CHARS]
    line = printable(mask(text)).strip()
    if len(line) > chars or len(text) == _SCAN_CHARS:
        return line[: chars - 1].rstrip() + "…"
    return line
