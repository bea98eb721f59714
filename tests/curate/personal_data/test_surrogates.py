"""Surrogates: one for a value, never one for two, of its shape, and nobody's."""

from __future__ import annotations

import datetime
import random
import re
import stat
from collections.abc import Callable
from pathlib import Path

import phonenumbers
import pytest

from curate.personal_data.detect import Detector
from curate.personal_data.replace import Replacing
from curate.personal_data.surrogates import Surrogates, is_surrogate, make_key, permuted, proquint, read_key
from schemas.errors import UserError

KEY = b"a key for tests that nobody else has"


def luhn(body: str) -> str:
    total = sum(int(d) if place % 2 else sum(divmod(2 * int(d), 10)) for place, d in enumerate(reversed(body)))
    return f"{body}{-total % 10}"


def id_check(body: str) -> str:
    return "10X98765432"[sum(int(char) * 2 ** (17 - place) for place, char in enumerate(body)) % 11]


def uscc_check(body: str) -> str:
    chars = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    return chars[-sum(chars.index(char) * 3**place for place, char in enumerate(body)) % 31]


def id_card(chance: random.Random) -> str:
    day = datetime.date(1930, 1, 1) + datetime.timedelta(days=chance.randrange(30_000))
    body = f"{chance.choice(['110105', '440305', '310115'])}{day:%Y%m%d}{chance.randrange(1000):03d}"
    return body + id_check(body)


def uscc(chance: random.Random) -> str:
    body = "91" + "350100" + "".join(chance.choices("0123456789ABCDEFGHJKLMNPQRTUWXY", k=9))
    return body + uscc_check(body)


def iban(chance: random.Random) -> str:
    account = "".join(chance.choices("0123456789", k=18))
    return f"DE{98 - int(f'{account}131400') % 97:02d}{account}"


VALUES: dict[str, Callable[[random.Random], str]] = {
    "CN_MOBILE": lambda c: f"1{c.choice('35789')}{c.randrange(10**9):09d}",
    "CN_LANDLINE": lambda c: f"0{c.choice(['10', '21', '755', '571'])}-{c.randrange(2 * 10**7, 9 * 10**7)}",
    "PHONE_NUMBER": lambda c: f"+44 20 {c.randrange(1000, 9999)} {c.randrange(10**4):04d}",
    "CREDIT_CARD": lambda c: luhn(f"4{c.randrange(10**14):014d}"),
    "CN_BANK_CARD": lambda c: luhn(f"62{c.randrange(10**16):016d}"),
    "CN_ID_CARD": id_card,
    "CN_USCC": uscc,
    "IBAN_CODE": iban,
    "US_SSN": lambda c: f"{c.randrange(100, 600)}-{c.randrange(1, 100):02d}-{c.randrange(1, 10**4):04d}",
    "CN_PASSPORT": lambda c: f"E{c.randrange(10**8):08d}",
    "CN_TRAVEL_PERMIT": lambda c: f"H{c.randrange(10**8):08d}",
    "CN_LICENSE_PLATE": lambda c: f"粤{c.choice('ABCS')}{c.randrange(10**5):05d}",
    "DATE_OF_BIRTH": lambda c: f"{datetime.date(1920, 1, 1) + datetime.timedelta(days=c.randrange(36_000))}",
    "EMAIL_ADDRESS": lambda c: f"user{c.randrange(10**9)}@corp.cn",
    "URL": lambda c: f"https://u{c.randrange(10**9)}.corp.cn/a/b?c=d",
    "IP_ADDRESS": lambda c: ".".join(str(c.randrange(1, 240)) for _ in range(4)),
    "CN_SOCIAL_ACCOUNT": lambda c: f"wx_{c.randrange(10**9)}",
    "PERSON": lambda c: "".join(chr(c.randrange(0x4E00, 0x9FA5)) for _ in range(3)),
    "CN_ADDRESS": lambda c: f"北京市朝阳区建国路{c.randrange(10**6)}号",
    "SECRET": lambda c: f"sk-{c.randrange(10**30)}",
    "UK_NHS": lambda c: f"{c.randrange(10**10):010d}",
}


def some(type_: str, count: int = 2_000) -> list[str]:
    chance = random.Random(type_)
    return sorted({VALUES[type_](chance) for _ in range(count)})


@pytest.mark.parametrize("type_", VALUES)
def test_two_values_never_share_a_surrogate(type_: str) -> None:
    surrogates = Surrogates(KEY)
    values = some(type_)

    found = [surrogates.of(type_, value) for value in values]

    assert len(set(found)) == len(values)
    assert not set(found) & set(values)


@pytest.mark.parametrize("type_", VALUES)
def test_a_surrogate_is_known_without_a_key_and_a_value_is_not_one(type_: str) -> None:
    surrogates = Surrogates(KEY)

    for value in some(type_, 300):
        assert is_surrogate(type_, surrogates.of(type_, value))
        assert not is_surrogate(type_, value)


@pytest.mark.parametrize("type_", VALUES)
def test_a_surrogate_of_a_key_is_the_same_wherever_and_of_another_key_another(type_: str) -> None:
    values = some(type_, 60)
    found = [Surrogates(KEY).of(type_, value) for value in values]

    assert [Surrogates(KEY).of(type_, value) for value in values] == found
    assert sum(a == Surrogates(KEY[::-1]).of(type_, value) for a, value in zip(found, values, strict=True)) <= 1


@pytest.mark.parametrize("type_", VALUES)
def test_what_is_replaced_by_surrogates_is_not_replaced_again(type_: str) -> None:
    replacing = Replacing(Detector(), "surrogate", Surrogates(KEY))
    value = Surrogates(KEY).of(type_, some(type_, 5)[0])
    text = (
        f"{'客户资料' if type_.startswith('CN') else 'Client'}: {value} (电话 phone 生日 born 密码 password 卡号 card)."
    )

    assert replacing.text(text) == text


@pytest.mark.parametrize(
    ("type_", "written", "shape"),
    [
        ("CN_MOBILE", "+86 139-1234-5678", r"\+86 2\d\d-\d{4}-\d{4}"),
        ("CN_MOBILE", "１３９１２３４５６７８", "２[０-９]{10}"),
        ("CN_LANDLINE", "(0755) 2634 5678", r"\(000\d\) \d{4} \d{4}"),
        ("CN_LANDLINE", "+86 10 6234 5678", r"\+86 00 \d{4} \d{4}"),
        ("PHONE_NUMBER", "(212) 456-7890", r"\(1\d[01]\) \d{3}-\d{4}"),
        ("PHONE_NUMBER", "+1 212.456.7890", r"\+1 1\d[01]\.\d{3}\.\d{4}"),
        ("PHONE_NUMBER", "212-456-7890 x123", r"\d{3}-\d{3}-\d{4} x\d{3}"),
        ("CREDIT_CARD", "4539 1488 0343 6467", r"45\d\d \d{4} \d{4} \d{4}"),
        ("CN_ID_CARD", "１１０１０５１９４９１２３１００２Ｘ", "[０-９]{17}[０-９Ｘ]"),
        ("IBAN_CODE", "GB82 WEST 1234 5698 7654 32", r"GB00 [A-Z]{4} \d{4} \d{4} \d{4} \d\d"),
        ("US_SSN", "123 45 6789", r"9\d\d [0-4]\d \d{4}"),
        ("CN_PASSPORT", "EA1234567", r"X[A-Z]\d{7}"),
        ("CN_LICENSE_PLATE", "京A·D1234挂", r"天[A-Z]·[A-Z]\d{4}挂"),
        ("DATE_OF_BIRTH", "1990年1月5日", r"1[78]\d\d年\d{1,2}月\d{1,2}日"),
        ("DATE_OF_BIRTH", "Jan. 5, 1990", r"[A-Z][a-z]{2}\.? \d{1,2}, 1[78]\d\d"),
        ("DATE_OF_BIRTH", "05/01/1990", r"\d\d/\d\d/1[78]\d\d"),
        ("EMAIL_ADDRESS", "Li.Lei@corp.cn", r"[a-z]{5}(\.[a-z]{5}){3}@example\.(com|org|net)"),
        ("URL", "www.corp.cn/a", r"www\.[a-z\-]{23}\.example\.com/[a-z]{5}"),
        ("IP_ADDRESS", "2400:da00::6666", r"2001:db8:[0-9a-f:]+"),
        ("CN_SOCIAL_ACCOUNT", "123456789", r"0\d{8}"),
        ("PERSON", "王小明", r"[\u4e00-\u9fff]{4}"),
        ("PERSON", "JOHN SMITH", r"[A-Z]+ [A-Z]+"),
        ("CN_ADDRESS", "上海市浦东新区世纪大道100号", r".{2}市.{2}区.{2}路\d{1,4}号"),
        ("SECRET", "hunter2!", r"<SECRET-[0-9a-f]{16}>"),
        ("DATE_OF_BIRTH", "一九九〇年", r"<DATE_OF_BIRTH-[0-9a-f]{16}>"),
    ],
)
def test_a_surrogate_has_the_shape_of_its_value(type_: str, written: str, shape: str) -> None:
    found = Surrogates(KEY).of(type_, written)

    assert re.fullmatch(shape, found), found
    assert is_surrogate(type_, found)


@pytest.mark.parametrize(
    ("type_", "written"),
    [
        (
            "CN_MOBILE",
            ["13912345678", "139 1234 5678", "+86-139-1234-5678", "１３９１２３４５６７８", "139\u200b12345678"],
        ),
        ("CREDIT_CARD", ["4539148803436467", "4539-1488-0343-6467"]),
        ("EMAIL_ADDRESS", ["li.lei@corp.cn", "Li.Lei@Corp.CN", "li.lei＠corp.cn"]),
        ("DATE_OF_BIRTH", ["1990-01-05", "1990/01/05", "1990.01.05"]),
        ("US_SSN", ["123-45-6789", "123 45 6789"]),
        ("PERSON", ["John Smith", "john  smith"]),
    ],
)
def test_a_value_has_one_surrogate_however_it_is_written(type_: str, written: list[str]) -> None:
    surrogates = Surrogates(KEY)

    assert len({re.sub(r"^86|\W", "", plain(surrogates.of(type_, one))) for one in written}) == 1


def plain(text: str) -> str:
    narrow = "".join(chr(ord(char) - 0xFEE0) if "\uff01" <= char <= "\uff5e" else char for char in text)
    return narrow.casefold().removeprefix("+86")


def test_a_value_has_one_surrogate_whichever_type_it_was_taken_for() -> None:
    surrogates = Surrogates(KEY)

    assert surrogates.of("PHONE_NUMBER", "+8613912345678") == "+86" + surrogates.of("CN_MOBILE", "13912345678")
    card = luhn("622202000000000012")
    assert surrogates.of("CREDIT_CARD", card) == surrogates.of("CN_BANK_CARD", card)


def test_no_telephone_company_gives_out_a_surrogate() -> None:
    surrogates = Surrogates(KEY)

    for type_, region in (("CN_MOBILE", "CN"), ("CN_LANDLINE", "CN"), ("PHONE_NUMBER", "GB")):
        for value in some(type_, 500):
            found = surrogates.of(type_, value)
            try:
                number = phonenumbers.parse(found, region)
            except phonenumbers.NumberParseException:
                continue
            assert not phonenumbers.is_valid_number(number), found
    for tail in range(500):
        american = phonenumbers.parse(surrogates.of("PHONE_NUMBER", f"212-456-{tail:04d}"), "US")
        assert not phonenumbers.is_valid_number(american)


def test_check_digits_of_surrogates_are_wrong() -> None:
    surrogates = Surrogates(KEY)

    for value in some("CREDIT_CARD", 300):
        found = surrogates.of("CREDIT_CARD", value)
        assert luhn(found[:-1]) != found
    for value in some("CN_ID_CARD", 300):
        found = surrogates.of("CN_ID_CARD", value)
        assert id_check(found[:-1]) != found[-1]
        datetime.datetime.strptime(found[6:14], "%Y%m%d")
    for value in some("CN_USCC", 300):
        found = surrogates.of("CN_USCC", value)
        assert uscc_check(found[:-1]) != found[-1]


@pytest.mark.parametrize("size", [1, 2, 3, 10, 97, 1_000, 4_097])
def test_a_permutation_gives_each_number_another(size: int) -> None:
    assert sorted(permuted(KEY, number, size) for number in range(size)) == list(range(size))


def test_a_space_that_is_used_up_gives_markers() -> None:
    surrogates = Surrogates(KEY)

    found = [surrogates.of("PERSON", f"Name{chr(97 + number // 26 % 26)}{number}x") for number in range(4_000)]

    assert len(set(found)) == len(found)
    assert sum(one.startswith("<PERSON-") for one in found) >= 4_000 - 3_072


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("EMAIL_ADDRESS", "someone@example.com"),
        ("URL", "http://test.example.org:8080/x"),
        ("IP_ADDRESS", "203.0.113.7"),
        ("PHONE_NUMBER", "+1 212 555 0123"),
        ("CN_MOBILE", "<CN_MOBILE>"),
        ("SECRET", "********"),
        ("SECRET", "<SECRET-0123456789abcdef>"),
    ],
)
def test_what_is_kept_for_examples_and_what_was_replaced_is_nobodys(type_: str, text: str) -> None:
    assert is_surrogate(type_, text)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("PHONE_NUMBER", "01 23 45 67 89"),
        ("PHONE_NUMBER", "+82 10-1234-5678"),
        ("PHONE_NUMBER", "+0044 20 7946 0958"),
        ("PHONE_NUMBER", "+20 10 1234 5678"),
        ("PHONE_NUMBER", "020 7946 0958"),
        ("EMAIL_ADDRESS", "someone@example.com.cn"),
        ("URL", "https://example.com.evil.cn/"),
        ("PERSON", "欧阳娜娜"),
        ("PERSON", "John Smith"),
        ("IP_ADDRESS", "192.0.3.1"),
    ],
)
def test_what_looks_like_a_surrogate_and_may_be_somebodys_is_none(type_: str, text: str) -> None:
    assert not is_surrogate(type_, text)


def test_a_surrogate_never_breaks_json() -> None:
    surrogates = Surrogates(KEY)
    hostile = ['"', "\\", "\n", '139"1234"5678', "a@b\n.cn", '"}{"', "1990-01-05\x00"]

    for type_ in VALUES:
        for value in hostile:
            assert not set(surrogates.of(type_, value)) & set('"\\\n\x00') or value in hostile[2:]


def test_a_proquint_says_its_number() -> None:
    assert proquint(0x7F000001_3F54DCC1) == ["lusab", "babad", "gutih", "tugad"]


def test_a_key_is_its_owners_and_random(tmp_path: Path) -> None:
    make_key(tmp_path / "a" / "key")
    make_key(tmp_path / "b" / "key")

    assert stat.S_IMODE((tmp_path / "a" / "key").stat().st_mode) == 0o600
    assert read_key(tmp_path / "a" / "key") != read_key(tmp_path / "b" / "key")
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "a" / "key")


def test_a_short_key_is_refused_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")

    with pytest.raises(UserError, match="too short") as refused:
        read_key(tmp_path / "key")

    assert "hunter2" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize(
    ("number", "nobodys"),
    [
        ("27 82 123 4567", False),
        ("27-82-123-4567", False),
        ("+27821234567", False),
        ("213 1234 5678", True),
        ("21312345678", True),
        ("+86 213 1234 5678", True),
        ("86-21312345678", True),
    ],
)
def test_a_foreign_number_that_begins_with_2_is_somebodys(number: str, nobodys: bool) -> None:
    assert is_surrogate("PHONE_NUMBER", number) == nobodys
