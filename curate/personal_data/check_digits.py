"""Check digits of numbers: pure arithmetic, for what finds numbers and for what makes others in their place."""

from __future__ import annotations

USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""What unified social credit codes are written with (GB 32100-2015)."""

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_TW_LETTERS = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
"""In the order of their values, from 10 on."""


def luhn(body: str) -> int:
    """Check digit of the digits before it (ISO/IEC 7812-1, Luhn 1960)."""
    total = 0
    for place, char in enumerate(reversed(body)):
        value = int(char) * (1 if place % 2 else 2)
        total += value - 9 if value > 9 else value
    return -total % 10


def cn_id(body: str) -> int:
    """Check value, 10 written X, of the first 17 digits of a Chinese identity card (GB 11643-1999, MOD 11-2)."""
    return (12 - sum(int(char) * weight for char, weight in zip(body, _ID_WEIGHTS, strict=True))) % 11


def uscc(body: str) -> int:
    """Check value, a place in `USCC_ALPHABET`, of the first 17 characters of a code (GB 32100-2015, MOD 31)."""
    total = sum(USCC_ALPHABET.index(char) * pow(3, place, 31) for place, char in enumerate(body))
    return -total % 31


def tw_id_remainder(number: str) -> int:
    """0 where the check digit of a letter and nine digits is right, as Taiwan's identity cards have it."""
    value = _TW_LETTERS.index(number[0]) + 10
    digits = (value // 10, value % 10, *map(int, number[1:]))
    return sum(digit * weight for digit, weight in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10


def hk_id_remainder(number: str) -> int:
    """0 where the check digit is right of one or two letters, six digits and it, as Hong Kong's identity cards have it;
    a missing letter counts 36."""
    values = [int(char, 36) for char in number.rjust(9)[:8].replace(" ", "")]
    values = [36] * (8 - len(values)) + values
    check = 10 if number[-1] == "A" else int(number[-1])
    return (sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) + check) % 11
