"""Surrogates: values made with a key that stand in the place of personal data and can belong to nobody.

Under one key a value gets the same surrogate in every dataset. Equal means equal once written plainly: full-width and
half-width, with and without separators or +86, capitals in an e-mail address. A surrogate keeps the shape of what it
replaces: digits, separators, widths, +86, the form of a date, the language of a name.

Where a type's surrogates are at least as many as its values, a keyed permutation gives each value its own: a Feistel
network over any number of values with cycle walking (Black and Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA
2002) whose rounds are HMAC-SHA-256. Two values then never share a surrogate, in no run and no dataset:

    CN_MOBILE                 10^10    2 and ten digits: no Chinese number of eleven digits begins with 2
    CREDIT_CARD, CN_BANK_CARD 10^(n-3) n digits, the first two kept; the Luhn digit is off by five
    CN_ID_CARD                2·10^13  a first pair of digits that no province has, and a wrong check digit
    CN_USCC                   9·10^18  the same for companies
    CN_PASSPORT, CN_TRAVEL_PERMIT, CN_LICENSE_PLATE   first character: one that is never issued
    IBAN_CODE                 as many as there are account numbers of the country; the check digits are 00
    DATE_OF_BIRTH             73,048   days from 1700 to 1899

Where that cannot be, HMAC-SHA-256 chooses. With 64 bits or more (e-mail address, URL, IPv6 address, WeChat account,
markers) two of ten million values share one with a chance of 3 in a million. The rest have too few for that, so each
`Surrogates` remembers what it gave and gives a second value the next free one: within one run no two values share a
surrogate. Across runs such a displaced value may have another one; of n values n²/2N are displaced, where N is

    PHONE_NUMBER              2·10^8 (North America: area code 1dd, its end 0 or 1), else 10^(digits-2) for +09...
                              or 10^(digits-3) for 000...
    CN_LANDLINE               10^7 to 10^9, area code 000 or 000d
    US_SSN                    4.9·10^7, areas 900 to 999 with groups that no tax number has
    IP_ADDRESS                2.7·10^8, 240.0.0.0/4
    PERSON                    298,080 in Chinese, 196,608 in English (3,072 for one word); surnames that are all but
                              extinct, or invented
    CN_ADDRESS                8·10^8, cities that are on no map
    QQ numbers                10^(digits-1), beginning with 0

When such a space is used up, in recipes (whose rows come in any order, so that nothing can be remembered), and for
every type, shape or secret that is not listed, the surrogate is a marker such as <API_KEY-0123456789abcdef>: there is
no harmless look-alike of a key, and a look-alike sets off every scanner.
"""

from __future__ import annotations

import datetime
import hmac
import ipaddress
import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt, prod
from pathlib import Path

from curate.personal_data.check_digits import USCC_ALPHABET, cn_id, luhn, uscc
from curate.personal_data.invented import (
    CITIES_ZH,
    DISTRICTS_ZH,
    GIVEN_EN,
    GIVEN_ZH,
    GIVEN_ZH_SECOND,
    ROADS_ZH,
    SURNAMES_EN,
    SURNAMES_ZH,
)
from schemas.errors import UserError

VERSION = 2
"""Raised whenever a value gets another surrogate than before under the same key."""

KEY_BYTES = 32
_SHORTEST_KEY = 16
_ROUNDS = 10
_MANY = 1 << 60
"""With so many surrogates it is not remembered which are taken."""
_FEW = 1_000_000
"""A number whose shape leaves fewer surrogates than this gets a marker instead."""
_TRIES = 64

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_key(path: Path) -> None:
    """Write a new random key to `path`, readable by its owner alone. Raises FileExistsError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> bytes:
    """The key in a file: its text without white space at the ends. Raises UserError, which never quotes it."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise UserError(
            f"the key file {path} cannot be read: {error.strerror}",
            hint="leave the key file out, and `curate scrub` makes a key",
        ) from None
    if len(key) < _SHORTEST_KEY:
        raise UserError(
            f"the key in {path} is too short: {len(key)} bytes",
            hint=f"at least {_SHORTEST_KEY} bytes that nobody can guess: openssl rand -hex {KEY_BYTES}",
        )
    return key


# ── surrogates ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Plan:
    """How one value gets its surrogate."""

    space: str
    """Name of the numbers to choose from: equal names, equal surrogates."""
    value: str
    """The value, written plainly."""
    size: int
    """How many surrogates there are."""
    write: Callable[[int], str]
    """The surrogate of a number below `size`, in the shape of the value."""
    rank: int | None = None
    """The value's own number below `size`, where every value has one."""


class Surrogates:
    """The surrogates under one key. May be used by several threads.

    `remembers`: whether it remembers what it gave, so that types with few surrogates have some. Which of two values
    comes first then decides, so values have to come in one order. Without it those types have markers, and what a value
    gets depends on nothing but the key.
    """

    def __init__(self, key: bytes, *, remembers: bool = True) -> None:
        self._key = key
        self._remembers = remembers
        self._numbers: dict[tuple[str, bytes], int | None] = {}
        self._taken: dict[str, set[int]] = {}
        self._lock = threading.Lock()

    def of(self, type_: str, text: str) -> str:
        """The surrogate of `text`, which was found to be of this type."""
        plan = _plan(type_, text)
        if plan is not None:
            number = self._number(plan)
            if number is not None:
                return plan.write(number)
        return f"<{type_}-{self._hash(f'marker:{type_}', _plain(text))[:8].hex()}>"

    def _number(self, plan: _Plan) -> int | None:
        if plan.rank is not None:
            return permuted(self._hash("permute", plan.space), plan.rank, plan.size)
        if plan.size >= _MANY:
            return self._chosen(plan, 0)
        if not self._remembers:
            return None
        value = self._hash(plan.space, plan.value)[:16]
        with self._lock:
            if (plan.space, value) not in self._numbers:
                taken = self._taken.setdefault(plan.space, set())
                free = (number for number in map(partial(self._chosen, plan), range(_TRIES)) if number not in taken)
                number = next(free, None)
                if number is not None:
                    taken.add(number)
                self._numbers[plan.space, value] = number
            return self._numbers[plan.space, value]

    def _chosen(self, plan: _Plan, attempt: int) -> int:
        return int.from_bytes(self._hash(f"{plan.space}\x00{attempt}", plan.value), "big") % plan.size

    def _hash(self, purpose: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\x00{value}".encode("utf-8", "surrogatepass"), "sha256")


def permuted(key: bytes, number: int, size: int) -> int:
    """Where a keyed permutation of the numbers below `size` takes `number`."""
    wide = isqrt(size - 1) + 1 if size > 1 else 1
    high = -(-size // wide)
    while True:
        left, right = divmod(number, wide)
        for round_ in range(_ROUNDS):
            if round_ % 2:
                right = (right + _round(key, round_, left)) % wide
            else:
                left = (left + _round(key, round_, right)) % high
        number = left * wide + right
        if number < size:
            return number


def _round(key: bytes, round_: int, half: int) -> int:
    return int.from_bytes(hmac.digest(key, b"%d:%d" % (round_, half), "sha256"), "big")


def is_surrogate(type_: str, text: str) -> bool:
    """Whether `text` is a surrogate, a tag or a mask, or reserved for examples, so that it can belong to nobody.

    Needs no key: it tells by the range. E-mail addresses and URLs of example domains (RFC 2606) count, IP addresses of
    documentation ranges (RFC 5737, RFC 3849) too, and the American numbers 555-0100 to 555-0199, kept for fiction.
    """
    left = _MARKER.sub("", text)
    if not any(char.isalnum() for char in left):
        return True
    known = _KNOWN.get(type_)
    return known is not None and known(_plain(text))


_MARKER = re.compile(r"[<＜][A-Z][A-Z_]{1,40}(?:-[0-9a-f]{16})?[>＞]")


# ── shapes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain(text: str) -> str:
    """`text` with full-width characters and invisible ones as what they mean."""
    return "".join(char for char in unicodedata.normalize("NFKC", text).strip() if unicodedata.category(char) != "Cf")


def _digits(text: str) -> str:
    return "".join(char for char in text if char in _DIGITS)


def _filled(text: str, chars: str) -> str:
    """`chars` in the places of the letters and digits of `text`, in its widths, capitals and separators."""
    kept = [char for char in text if unicodedata.category(char) != "Cf"]
    for replaced in (str.isalnum, str.isdigit):  # digits alone where there is a word among them: 555 0100 ext. 7
        if sum(map(replaced, kept)) == len(chars):
            rest = iter(chars)
            return "".join(_like(next(rest), char) if replaced(char) else char for char in kept)
    return chars


def _like(char: str, old: str) -> str:
    wide = "\uff01" <= old <= "\uff5e"
    if old.islower():
        char = char.lower()
    return chr(ord(char) + 0xFEE0) if wide and "!" <= char <= "~" else char


def _classes(chars: str) -> str | None:
    """`0` for each digit and `A` for each letter; None where there is anything else."""
    found = "".join("0" if char in _DIGITS else "A" if char in _LETTERS else "?" for char in chars)
    return None if "?" in found else found


def _of_classes(chars: str) -> tuple[int, int, Callable[[int], str]]:
    """The number of `chars` among all texts with digits and letters in the same places, how many those are, and what
    writes the text of a number."""
    alphabets = [_DIGITS if char in _DIGITS else _LETTERS for char in chars]
    return _rank(chars, alphabets), prod(map(len, alphabets)), partial(_unrank, alphabets)


def _rank(chars: str, alphabets: Sequence[str]) -> int:
    number = 0
    for char, alphabet in zip(chars, alphabets, strict=True):
        number = number * len(alphabet) + alphabet.index(char)
    return number


def _unrank(alphabets: Sequence[str], number: int) -> str:
    found = []
    for alphabet in reversed(alphabets):
        number, place = divmod(number, len(alphabet))
        found.append(alphabet[place])
    return "".join(reversed(found))


# ── telephones ───────────────────────────────────────────────────────────────────────────────────────────────────────

_MOBILE = re.compile(r"(?:(?:00)?86)?(1[3-9][0-9]{9})")
_PHONE_CHARS = re.compile(r"[+(（]?[0-9 ()\-.+/·‐-—]*(?:(?:ext|x|转)\.? ?[0-9]{1,6})?", re.IGNORECASE)


def _mobile(text: str) -> _Plan | None:
    digits = _digits(_plain(text))
    found = _MOBILE.fullmatch(digits)
    if not found:
        return None
    before = digits[: found.start(1)]
    number = found[1]
    return _Plan("mobile", number, 10**10, lambda drawn: _filled(text, f"{before}2{drawn:010d}"), rank=int(number[1:]))


def _landline(text: str) -> _Plan | None:
    plain = _plain(text)
    digits = _digits(plain)
    before = "86" if re.match(r"\(?(?:\+|00)?86(?![0-9]{6}$)", plain) and len(digits) > 10 else ""
    national = digits[digits.index("86") + 2 :] if before else digits
    national = national if not before or national.startswith("0") else "0" + national
    area = national[:3] if national.startswith(("010", "02")) else national[:4]
    if not area.startswith("0") or not 10 <= len(national) <= 18:
        return None
    kept = digits[: digits.index("86") + 2] if before else ""
    short = len(kept) + len(national) > len(digits)  # +86 10 ...: the 0 is not written
    free = len(national) - 3

    def write(number: int) -> str:
        new = f"000{number:0{free}d}"
        return _filled(text, kept + (new[1:] if short else new))

    return _Plan(f"landline:{len(national)}", national, 10**free, write)


def _phone(text: str) -> _Plan | None:
    plain = _plain(text)
    digits = _digits(plain)
    if not _PHONE_CHARS.fullmatch(plain):
        return None
    if digits.startswith(("86", "0086")) or (len(digits) == 11 and plain[0] != "+"):
        chinese = _mobile(text) or (_landline(text) if "86" in digits[:4] else None)
        if chinese is not None:
            return chinese
    international = plain.lstrip("(").startswith("+")
    american = digits[1:] if len(digits) == 11 and digits[0] == "1" else digits
    if len(american) == 10 and american[0] in "23456789" and (len(digits) == 11 or not international):
        before = digits[: len(digits) - 10]

        def american_number(number: int) -> str:
            first, rest = divmod(number, 10**7)
            return _filled(text, f"{before}1{first // 2}{first % 2}{rest:07d}")

        return _Plan("phone:american", american, 2 * 10**8, american_number)
    # No country's code begins with 0, and no country dials abroad by 09: +00 and +011 are read as +.
    front = "09" if international else "000"
    free = len(digits) - len(front)
    if free < 6:
        return None
    kind = "+" if international else ""
    return _Plan(
        f"phone:{kind}{len(digits)}", digits, 10**free, lambda number: _filled(text, f"{front}{number:0{free}d}")
    )


_MOBILE_GROUPS = {(11,), (3, 4, 4), (4, 4, 3), (3, 3, 5), (3, 8), (6, 5), (7, 4), (1,) * 11}


def _is_grouped_as_mobile(plain: str) -> bool:
    """Whether eleven digits, a country code before them left out, stand in groups as Chinese mobile numbers do:
    27 82 123 4567 is somebody's in South Africa. In one run of digits the two cannot be told apart."""
    groups = [len(run) for run in re.findall("[0-9]+", plain)]
    digits, left = _digits(plain), sum(groups) - 11
    if left > 0 and groups[0] == left and digits[:left] in ("86", "0086"):
        groups = groups[1:]
    elif left > 0 and digits[:left] in ("86", "0086"):
        groups[0] -= left
    return tuple(groups) in _MOBILE_GROUPS or digits.startswith(("8600", "008600"))


def _is_phone(plain: str) -> bool:
    digits = _digits(plain)
    if plain.lstrip("(").startswith("+09") or digits.startswith("000"):
        return True
    if re.fullmatch(r"(?:(?:00)?86)?2[0-9]{10}|(?:00)?8600[0-9]{6,}", digits):
        here = not plain.lstrip("(").startswith("+") or digits.startswith("86")
        return here and _is_grouped_as_mobile(plain)
    return re.fullmatch(r"1?(?:1[0-9][01][0-9]{7}|[2-9][0-9]{2}55501[0-9]{2})", digits) is not None


# ── numbers with check digits ────────────────────────────────────────────────────────────────────────────────────────


def _card(text: str) -> _Plan | None:
    digits = _digits(_plain(text))
    if not 12 <= len(digits) <= 19 or int(digits[-1]) != luhn(digits[:-1]):
        return None
    first, free = digits[:2], len(digits) - 3

    def write(number: int) -> str:
        body = f"{first}{number:0{free}d}"
        return _filled(text, f"{body}{(luhn(body) + 5) % 10}")

    return _Plan(f"card:{len(digits)}:{first}", digits, 10**free, write, rank=int(digits[2:-1]))


def _is_card(plain: str) -> bool:
    digits = _digits(plain)
    return 12 <= len(digits) <= 19 and int(digits[-1]) == (luhn(digits[:-1]) + 5) % 10


# GB/T 2260: the first two digits of every province, and of residence permits for Taiwan; and as many that none has.
_PROVINCES = (
    *("11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43"),
    *("44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82", "83", "91"),
)
_NO_PROVINCES = (
    *("16", "17", "18", "19", "20", "24", "25", "26", "27", "28", "29", "30", "38", "39", "40", "47", "48", "49"),
    *("55", "56", "57", "58", "59", "60", "66", "67", "68", "69", "70", "72", "73", "74", "75", "76", "77", "78"),
)
_EPOCH, _DAYS = datetime.date(1900, 1, 1), 73_048


def _day(year: str, month: str, day: str) -> int | None:
    """Days from 1900-01-01 to a date of this or the next century, None where there is no such date."""
    try:
        days = (datetime.date(int(year), int(month), int(day)) - _EPOCH).days
    except ValueError:
        return None
    return days if 0 <= days < _DAYS else None


def _id_card(text: str) -> _Plan | None:
    chars = "".join(char for char in _plain(text).upper() if char.isalnum())
    old = len(chars) == 15
    if not re.fullmatch(r"[0-9]{17}[0-9X]|[0-9]{15}", chars) or chars[:2] not in _PROVINCES:
        return None
    born = ("19" + chars[6:12]) if old else chars[6:14]
    day = _day(born[:4], born[4:6], born[6:])
    if day is None or (not old and chars[17] != "0123456789X"[cn_id(chars[:17])]):
        return None
    days = 36_525 if old else _DAYS
    rank = ((_PROVINCES.index(chars[:2]) * 10**4 + int(chars[2:6])) * days + day) * 1000 + int(
        chars[12:15] if old else chars[14:17]
    )

    def write(number: int) -> str:
        number, order = divmod(number, 1000)
        number, days_since = divmod(number, days)
        province, place = divmod(number, 10**4)
        date = (_EPOCH + datetime.timedelta(days=days_since)).strftime("%Y%m%d")[2 if old else 0 :]
        body = f"{_NO_PROVINCES[province]}{place:04d}{date}{order:03d}"
        return _filled(text, body if old else body + "0123456789X"[(cn_id(body) + 1) % 11])

    return _Plan(f"id_card:{len(chars)}", chars, len(_PROVINCES) * 10**4 * days * 1000, write, rank=rank)


def _is_id_card(plain: str) -> bool:
    chars = "".join(char for char in plain.upper() if char.isalnum())
    if not re.fullmatch(r"[0-9]{17}[0-9X]|[0-9]{15}", chars) or chars[:2] not in _NO_PROVINCES:
        return False
    return len(chars) == 15 or chars[17] == "0123456789X"[(cn_id(chars[:17]) + 1) % 11]


def _uscc(text: str) -> _Plan | None:
    chars = "".join(char for char in _plain(text).upper() if char.isalnum())
    if (
        not re.fullmatch(rf"[{USCC_ALPHABET}]{{2}}[0-9]{{6}}[{USCC_ALPHABET}]{{10}}", chars)
        or chars[2:4] not in _PROVINCES
    ):
        return None
    if chars[17] != USCC_ALPHABET[uscc(chars[:17])]:
        return None
    first = chars[:2]
    rank = (_PROVINCES.index(chars[2:4]) * 10**4 + int(chars[4:8])) * 31**9 + _rank(chars[8:17], [USCC_ALPHABET] * 9)

    def write(number: int) -> str:
        number, company = divmod(number, 31**9)
        province, place = divmod(number, 10**4)
        body = f"{first}{_NO_PROVINCES[province]}{place:04d}{_unrank([USCC_ALPHABET] * 9, company)}"
        return _filled(text, body + USCC_ALPHABET[(uscc(body) + 1) % 31])

    return _Plan(f"uscc:{first}", chars, len(_PROVINCES) * 10**4 * 31**9, write, rank=rank)


def _is_uscc(plain: str) -> bool:
    chars = "".join(char for char in plain.upper() if char.isalnum())
    ours = (
        re.fullmatch(rf"[{USCC_ALPHABET}]{{2}}[0-9]{{6}}[{USCC_ALPHABET}]{{10}}", chars) and chars[2:4] in _NO_PROVINCES
    )
    return bool(ours) and chars[17] == USCC_ALPHABET[(uscc(chars[:17]) + 1) % 31]


def _iban(text: str) -> _Plan | None:
    chars = "".join(char for char in _plain(text).upper() if char.isalnum())
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[0-9A-Z]{8,30}", chars):
        return None
    if int("".join(str(int(char, 36)) for char in chars[4:] + chars[:4])) % 97 != 1:
        return None
    rank, size, written = _of_classes(chars[4:])
    return _Plan(
        f"iban:{chars[:2]}:{_classes(chars[4:])}",
        chars,
        size,
        lambda number: _filled(text, f"{chars[:2]}00{written(number)}"),
        rank=rank,
    )


def _is_iban(plain: str) -> bool:
    return re.fullmatch(r"[A-Za-z]{2}00[0-9A-Za-z \-]+", plain) is not None


def _ssn(text: str) -> _Plan | None:
    digits = _digits(_plain(text))
    if len(digits) != 9:
        return None

    def write(number: int) -> str:
        number, serial = divmod(number, 9999)
        area, group = divmod(number, 49)
        return _filled(text, f"9{area:02d}{group + 1:02d}{serial + 1:04d}")

    return _Plan("ssn", digits, 100 * 49 * 9999, write)


def _is_ssn(plain: str) -> bool:
    return re.fullmatch(r"9[0-9]{2}(?:0[1-9]|[1-4][0-9])[0-9]{4}", _digits(plain)) is not None


# ── documents and plates ─────────────────────────────────────────────────────────────────────────────────────────────

_PASSPORTS = dict(zip("EGDSPHKM", "XZWYQVJU", strict=True))
_PERMITS = dict(zip("HMCWLT", "XYZQVU", strict=True))


def _lettered(space: str, letters: dict[str, str], text: str) -> _Plan | None:
    chars = "".join(char for char in _plain(text).upper() if char.isalnum())
    if not 8 <= len(chars) <= 12 or chars[0] not in letters or _classes(chars) is None:
        return None
    rank, size, written = _of_classes(chars[1:])
    return _Plan(
        f"{space}:{chars[0]}:{_classes(chars)}",
        chars,
        size,
        lambda number: _filled(text, letters[chars[0]] + written(number)),
        rank=rank,
    )


def _is_lettered(letters: dict[str, str], plain: str) -> bool:
    chars = "".join(char for char in plain.upper() if char.isalnum())
    return bool(chars) and chars[0] in letters.values() and len(_digits(chars)) >= 7


_PLATES = dict(
    zip(
        "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使",
        "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬闰余成岁律吕调阳腾",
        strict=True,
    )
)


def _plate(text: str) -> _Plan | None:
    chars = "".join(char for char in _plain(text).upper() if char.isalnum())
    last = chars[-1:] if chars[-1:] in "学警港澳挂领使试超" else ""
    free = chars[1 : len(chars) - len(last)]
    if not chars or chars[0] not in _PLATES or not 5 <= len(free) <= 7 or _classes(free) is None:
        return None
    rank, size, written = _of_classes(free)
    return _Plan(
        f"plate:{chars[0]}:{_classes(free)}:{last}",
        chars,
        size,
        lambda number: _filled(text, _PLATES[chars[0]] + written(number) + last),
        rank=rank,
    )


def _is_plate(plain: str) -> bool:
    return plain[:1] in _PLATES.values()


# ── dates ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_MONTH = "|".join(f"{month}|{month[:3]}\\.?" for month in _MONTHS) + "|Sept\\.?"
_YEAR = r"(?P<year>(?:1[7-9]|20)[0-9]{2})"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_YEAR} ?[-/.年 ] ?(?P<month>1[0-2]|0?[1-9]) ?[-/.月 ] ?(?P<day>[12][0-9]|3[01]|0?[1-9]) ?[日号]?",
        rf"{_YEAR}(?P<month>1[0-2]|0[1-9])(?P<day>[12][0-9]|3[01]|0[1-9])",
        rf"(?P<month>{_MONTH}),? (?P<day>[12][0-9]|3[01]|0?[1-9])(?:st|nd|rd|th)?,? {_YEAR}",
        rf"(?P<day>[12][0-9]|3[01]|0?[1-9])(?:st|nd|rd|th)?(?: of)?[ -](?P<month>{_MONTH}),?[ -]{_YEAR}",
        rf"(?P<month>1[0-2]|0?[1-9])[-/. ](?P<day>[12][0-9]|3[01]|0?[1-9])[-/. ]{_YEAR}",
        rf"(?P<day>[12][0-9]|3[01]|0?[1-9])[-/. ](?P<month>1[0-2]|0?[1-9])[-/. ]{_YEAR}",
    )
)
"""Where day and month cannot be told apart, the month is taken to come first."""


def _date(plain: str) -> tuple[re.Match[str], int] | None:
    """How a date is written, and its days from 1900-01-01, which are negative before."""
    for pattern in _DATES:
        found = pattern.fullmatch(plain)
        if found:
            month = found["month"]
            if not month.isdigit():
                month = str([one[:3].lower() for one in _MONTHS].index(month[:3].lower()) + 1)
            try:
                return found, (datetime.date(int(found["year"]), int(month), int(found["day"])) - _EPOCH).days
            except ValueError:
                return None
    return None


def _birthday(text: str) -> _Plan | None:
    plain = _plain(text)
    read = _date(plain)
    if read is None or not 0 <= read[1] < _DAYS:
        return None
    found, days = read

    def write(number: int) -> str:
        date = datetime.date(1700, 1, 1) + datetime.timedelta(days=number)
        new = {"year": f"{date.year}", "month": _month_like(found["month"], date.month), "day": f"{date.day}"}
        if len(found["day"]) == 2:
            new["day"] = f"{date.day:02d}"
        pieces, end = [], 0
        for name in sorted(new, key=found.start):
            pieces += [plain[end : found.start(name)], new[name]]
            end = found.end(name)
        written = "".join([*pieces, plain[end:]])
        wide = any("\uff10" <= char <= "\uff19" for char in text)
        return "".join(_like(char, "０") if wide and char in _DIGITS else char for char in written)

    return _Plan("birthday", str(days), _DAYS, write, rank=days)


def _month_like(old: str, month: int) -> str:
    if old.isdigit():
        return f"{month:02d}" if len(old) == 2 else f"{month}"
    name = _MONTHS[month - 1]
    short = len(old.rstrip(".")) <= 4 and old.lower() not in ("may", "june", "july")
    name = name[:3] + ("." if old.endswith(".") and name != "May" else "") if short else name
    return name.upper() if old.isupper() else name.lower() if old.islower() else name


def _is_birthday(plain: str) -> bool:
    read = _date(plain)
    return read is not None and read[1] < 0


# ── addresses of the net ─────────────────────────────────────────────────────────────────────────────────────────────

_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"


def proquint(number: int) -> list[str]:
    """64 bits as four words that can be spoken (D. Wilkerson, A Proposal for Proquints, 2009): `lusab`."""
    return [_quint(number >> shift & 0xFFFF) for shift in (48, 32, 16, 0)]


def _quint(bits: int) -> str:
    alphabets = (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS, _CONSONANTS)
    return _unrank(alphabets, bits)


_QUINT = rf"[{_CONSONANTS}][{_VOWELS}][{_CONSONANTS}][{_VOWELS}][{_CONSONANTS}]"
_EXAMPLE = r"(?:[a-z0-9\-]+\.)*(?:example\.(?:com|org|net)|example|invalid|test|localhost)"
"""Names that RFC 2606 and RFC 6761 keep for examples and tests."""


def _email(text: str) -> _Plan | None:
    plain = _plain(text).casefold()
    if plain.count("@") != 1:
        return None
    endings = ("com", "org", "net")

    def write(number: int) -> str:
        ending, name = divmod(number, 1 << 64)
        return f"{'.'.join(proquint(name))}@example.{endings[ending]}"

    return _Plan("email", plain, len(endings) << 64, write)


def _is_email(plain: str) -> bool:
    return re.fullmatch(rf"[^@\s]+@{_EXAMPLE}\.?", plain.casefold()) is not None


_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]{1,20}://)?(?P<host>[^/?#\s]+)(?P<rest>[/?#].*)?", re.DOTALL | re.I)


def _url(text: str) -> _Plan | None:
    found = _URL.fullmatch(_plain(text))
    if not found:
        return None
    scheme, host, rest = found["scheme"] or "", found["host"].casefold(), found["rest"] or ""
    www = "www." if host.startswith("www.") else ""

    def write(number: int) -> str:
        page, site = divmod(number, 1 << 64)
        path = f"/{_quint(page)}" if len(rest) > 1 else rest
        return f"{scheme}{www}{'-'.join(proquint(site))}.example.com{path}"

    return _Plan("url", host + rest, 1 << 80, write)


def _is_url(plain: str) -> bool:
    found = _URL.fullmatch(plain)
    host = (found["host"] if found else plain).casefold().rpartition("@")[2].partition(":")[0]
    return re.fullmatch(rf"{_EXAMPLE}\.?", host) is not None


_DOCUMENTATION = tuple(
    ipaddress.ip_network(net)
    for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "2001:db8::/32", "3fff::/20")
)


def _ip(text: str) -> _Plan | None:
    try:
        found = ipaddress.ip_address(_plain(text))
    except ValueError:
        return None
    if found.version == 4:
        return _Plan(
            "ip:4",
            str(found),
            (1 << 28) - 1,
            lambda number: _filled_octets(text, ipaddress.IPv4Address((0xF << 28) + number)),
        )
    return _Plan("ip:6", str(found), 1 << 96, lambda number: str(ipaddress.IPv6Address((0x20010DB8 << 96) + number)))


def _filled_octets(text: str, address: ipaddress.IPv4Address) -> str:
    wide = any("\uff10" <= char <= "\uff19" for char in text)
    return "".join(_like(char, "０") if wide else char for char in str(address))


def _is_ip(plain: str) -> bool:
    try:
        found = ipaddress.ip_address(plain.strip("[]").partition("%")[0].partition("/")[0])
    except ValueError:
        return False
    return any(found in net for net in _DOCUMENTATION if net.version == found.version)


def _account(text: str) -> _Plan | None:
    plain = _plain(text)
    if "@" in plain:
        return _email(text)
    if re.fullmatch(r"[0-9 \-]+", plain):
        digits = _digits(plain)
        if _MOBILE.fullmatch(digits):
            return _mobile(text)
        free = len(digits) - 1
        return (
            _Plan(f"qq:{len(digits)}", digits, 10**free, lambda number: _filled(text, f"0{number:0{free}d}"))
            if (10**free >= _FEW)
            else None
        )
    if not re.fullmatch(r"[A-Za-z0-9_\-]+", plain):
        return None
    return _Plan("account", plain, 1 << 64, lambda number: "_".join(proquint(number)))


def _is_account(plain: str) -> bool:
    digits = _digits(plain)
    if digits and digits == plain.replace(" ", "").replace("-", ""):
        return digits[0] == "0" or _is_phone(plain)
    return re.fullmatch("_".join([_QUINT] * 4), plain) is not None or _is_email(plain)


# ── names and places ─────────────────────────────────────────────────────────────────────────────────────────────────

_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def _name(text: str) -> _Plan | None:
    plain = " ".join(_plain(text).split())
    if not any(char.isalpha() for char in plain):
        return None
    if _CHINESE.search(plain):
        parts = (SURNAMES_ZH, GIVEN_ZH, GIVEN_ZH_SECOND)
        return _Plan("name:zh", plain, prod(map(len, parts)), lambda number: "".join(_picked(number, *parts)))
    words = (GIVEN_EN, *SURNAMES_EN) if " " in plain else SURNAMES_EN

    def write(number: int) -> str:
        *given, first, second = _picked(number, *words)
        name = " ".join([*given, first + second])
        return name.upper() if plain.isupper() else name.lower() if plain.islower() else name

    return _Plan(f"name:en:{len(words)}", plain.casefold(), prod(map(len, words)), write)


def _picked(number: int, *words: Sequence[str]) -> list[str]:
    found = []
    for choice in reversed(words):
        number, place = divmod(number, len(choice))
        found.append(choice[place])
    return found[::-1]


def _is_name(plain: str) -> bool:
    if _CHINESE.search(plain):
        return len(plain) == 4 and plain[:2] in SURNAMES_ZH and plain[2] in GIVEN_ZH and plain[3] in GIVEN_ZH_SECOND
    *given, surname = plain.split() or [""]
    joined = any(surname.casefold() == word for word in _surnames_en(surname))
    return joined and len(given) <= 1 and all(word.title() in GIVEN_EN for word in given)


def _surnames_en(like: str) -> Iterator[str]:
    for first in SURNAMES_EN[0]:
        if like.casefold().startswith(first.casefold()):
            yield from ((first + second).casefold() for second in SURNAMES_EN[1])


def _address(text: str) -> _Plan | None:
    plain = "".join(_plain(text).split())
    if not _CHINESE.search(plain):
        return None

    def write(number: int) -> str:
        number, house = divmod(number, 9999)
        city, district, road = _picked(number, CITIES_ZH, DISTRICTS_ZH, ROADS_ZH)
        return f"{city}市{district}区{road}路{house + 1}号"

    return _Plan("address", plain, len(CITIES_ZH) * len(DISTRICTS_ZH) * len(ROADS_ZH) * 9999, write)


_ADDRESS = re.compile(
    rf"(?:{'|'.join(CITIES_ZH)})市(?:{'|'.join(DISTRICTS_ZH)})区(?:{'|'.join(ROADS_ZH)})路[0-9]{{1,4}}号?"
)


def _is_address(plain: str) -> bool:
    return _ADDRESS.fullmatch(plain) is not None


# ── by type ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_PLANS: dict[str, Callable[[str], _Plan | None]] = {
    "CN_MOBILE": _mobile,
    "CN_LANDLINE": _landline,
    "PHONE_NUMBER": _phone,
    "CREDIT_CARD": _card,
    "CN_BANK_CARD": _card,
    "CN_ID_CARD": _id_card,
    "CN_USCC": _uscc,
    "IBAN_CODE": _iban,
    "US_SSN": _ssn,
    "CN_PASSPORT": partial(_lettered, "passport", _PASSPORTS),
    "CN_TRAVEL_PERMIT": partial(_lettered, "permit", _PERMITS),
    "CN_LICENSE_PLATE": _plate,
    "DATE_OF_BIRTH": _birthday,
    "EMAIL_ADDRESS": _email,
    "URL": _url,
    "IP_ADDRESS": _ip,
    "CN_SOCIAL_ACCOUNT": _account,
    "PERSON": _name,
    "CN_ADDRESS": _address,
}

_KNOWN: dict[str, Callable[[str], bool]] = {
    "CN_MOBILE": _is_phone,
    "CN_LANDLINE": _is_phone,
    "PHONE_NUMBER": _is_phone,
    "CREDIT_CARD": _is_card,
    "CN_BANK_CARD": _is_card,
    "CN_ID_CARD": _is_id_card,
    "CN_USCC": _is_uscc,
    "IBAN_CODE": _is_iban,
    "US_SSN": _is_ssn,
    "CN_PASSPORT": partial(_is_lettered, _PASSPORTS),
    "CN_TRAVEL_PERMIT": partial(_is_lettered, _PERMITS),
    "CN_LICENSE_PLATE": _is_plate,
    "DATE_OF_BIRTH": _is_birthday,
    "EMAIL_ADDRESS": _is_email,
    "URL": _is_url,
    "IP_ADDRESS": _is_ip,
    "CN_SOCIAL_ACCOUNT": _is_account,
    "PERSON": _is_name,
    "CN_ADDRESS": _is_address,
}


def _plan(type_: str, text: str) -> _Plan | None:
    make = _PLANS.get(type_)
    return make(text) if make is not None else None
