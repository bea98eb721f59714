"""Tests of schemas/excerpt.py."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.excerpt import EXCERPT_CHARS, excerpt, mask, printable

PIECES = st.sampled_from(
    [
        "\x1b[31m",
        "\u202e",
        "\u200b",
        "\n",
        "\r",
        "\x00",
        "\x7f",
        "\x9b",
        "a@b.co",
        "13812345678",
        "<b>",
        "👩\u200d🚀",
        "\ud800",
        "泡茶 ",
    ]
)
TEXTS = st.lists(PIECES | st.text(st.characters(), max_size=9), max_size=40).map("".join)

IDENTIFIERS = {
    "EMAIL_ADDRESS": [
        "a@b.co",
        "first.last+tag@mail.example.com",
        "ｆｏｏ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        "x_y@sub-domain.org.cn",
        "nobody(at)example.com",
        "155588833#qq.com",
    ],
    "CN_MOBILE": [
        "13812345678",
        "138 1234 5678",
        "138-1234-5678",
        "138.1234.5678",
        "+8613812345678",
        "+86 138 1234 5678",
        "（+86）13812345678",
        "８６ １３８１２３４５６７８",
        "１３８１２３４５６７８",
        "138\u00a01234\u00a05678",
    ],
    "CN_LANDLINE": ["010-12345678", "０１０－１２３４５６７８", "021-6384-8888", "(021)63848888"],
    "PHONE_NUMBER": ["+1 415 555 0132", "(415) 555-0132", "415-555-0132", "07911 123456", "0912-345-678"],
    "CN_ID_CARD": [
        "11010519491231002X",
        "11010519491231002x",
        "110105 19491231 0021",
        "１１０１０５１９４９１２３１００２Ｘ",
    ],
    "TW_ID_CARD": ["A123456789"],
    "HK_ID_CARD": ["A123456(3)", "Ｃ１２３４５６（９）"],
    "CN_USCC": ["91350100M000100Y43", "９１３５０１００Ｍ０００１００Ｙ４３"],
    "CN_BANK_CARD": ["6222021234567890123", "6222 0212 3456 7890 123"],
    "CREDIT_CARD": ["4111-1111-1111-1111", "４１１１　１１１１　１１１１　１１１１"],
    "CN_LICENSE_PLATE": ["京A12345", "粤B·D12345"],
    "US_SSN": ["078-05-1120"],
    "US_ITIN": ["912-70-1234"],
    "UK_NINO": ["AB 12 34 56 C"],
    "IBAN_CODE": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "IP_ADDRESS": ["8.8.4.104", "2400:3200:baba::1:20"],
    "MAC_ADDRESS": ["00:1B:44:11:3A:B7"],
    "SECRET": [
        "sk-proj-abcDEF0123456789abcDEF",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "hf_abcdefghijklmnopqrst",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789012-abcdefghijkl",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.s5xOXGh9",
        "password=Hunter2xyz!",
        "Pwd: a1b2c3",
        "密码：qwe12345",
    ],
}


@pytest.mark.parametrize(("kind", "said"), [(kind, one) for kind, some in IDENTIFIERS.items() for one in some])
@pytest.mark.parametrize("around", ["{}", "您好{}，谢谢", "call {}, or", "({})", "：{}。", "a,{},b", '"{}"'])
def test_an_identifier_is_masked_wherever_it_stands(kind: str, said: str, around: str) -> None:
    shown = excerpt(around.format(said))

    assert shown == around.format(f"<{kind}>")


def test_a_key_is_masked_to_its_end() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA\n" * 300 + "-----END RSA PRIVATE KEY-----"

    shown = mask(f"Use this:\n{key}\nthanks")

    assert shown == "Use this:\n<SECRET>-----END RSA PRIVATE KEY-----\nthanks"
    assert mask("Authorization: Bearer abcdefghijklmnop.qrst-uvwx") == "Authorization: Bearer <SECRET>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("我的生日是1990年5月1日，请帮我算命", "我的生日是<DATE_OF_BIRTH>，请帮我算命"),
        ("出生日期：１９９０－０５－０１", "出生日期：<DATE_OF_BIRTH>"),
        ("I was born on March 3, 1991.", "I was born on <DATE_OF_BIRTH>."),
        ("DOB: 03/04/1991", "DOB: <DATE_OF_BIRTH>"),
        ("微信号：test_abc123，加我", "微信号：<CN_SOCIAL_ACCOUNT>，加我"),
        ("护照号 E12345678", "护照号 <CN_PASSPORT>"),
        ("家住杭州市西湖区虚构路88号3幢501室。", "家住<CN_ADDRESS>。"),
        ("my driver license is D1234567", "my driver license is <US_DRIVER_LICENSE>"),
        ("account 123456789012", "account <US_BANK_NUMBER>"),
    ],
)
def test_what_its_context_tells_is_masked_and_the_context_is_not(text: str, shown: str) -> None:
    assert excerpt(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "task_description_for_the_whole_user_story",
        "risk-assessment-framework-version-2",
        "pkg_resources_and_other_modules",
        "2024-01-15 10:30:00",
        "版本 1.2.3.4567",
        "3.14159265358979",
        "100,000,000,000",
        "１２：３０，全角标点（不变）",
        "me@home",
        "密码：请联系客服 400",
        "a password must have 8 characters",
        "1234567890",
        "$150,000.00 a year",
        "3b95930ba6d123456789012345f94a8f",
        "成立于1990年5月1日",
        "The treaty of May 3, 1991 was signed.",
        "请到三楼的会议室",
        "127.0.0.1 and 192.168.1.20",
        "升级到版本 12.0.1.234",
    ],
)
def test_what_is_no_identifier_is_shown_as_it_is(text: str) -> None:
    assert excerpt(text) == text


@given(TEXTS, st.integers(1, 200))
def test_an_excerpt_is_one_harmless_line_of_at_most_its_length(text: str, chars: int) -> None:
    shown = excerpt(text, chars)

    assert len(shown) <= chars
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown.encode()


@given(
    st.text(st.characters(categories=["L", "Zs", "Po"], exclude_characters="@＠﹫"), max_size=EXCERPT_CHARS).map(
        str.strip
    )
)
def test_a_short_text_with_nothing_to_hide_is_shown_whole(text: str) -> None:
    assert excerpt(text) == text


@pytest.mark.parametrize("before", range(EXCERPT_CHARS - 20, EXCERPT_CHARS))
def test_a_cut_leaves_no_half_identifier(before: int) -> None:
    shown = excerpt("茶" * before + "somebody@example.com" + "茶" * 50)

    assert "somebody" not in shown and "@" not in shown


@pytest.mark.parametrize("filler", [" ", "Bearer " + "a" * 1500 + " "])
@pytest.mark.parametrize("short", range(1, 21))
def test_an_identifier_at_the_end_of_what_is_looked_at_is_not_shown_in_part(filler: str, short: int) -> None:
    before = (filler * 20_000)[: 20_000 - short]

    shown = excerpt(before.rstrip("a") + "somebody@example.com".rjust(20_000 - len(before.rstrip("a"))) + "x" * 100)

    assert "some" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("\x1b[31mred\x1b[0m", "\\u001b[31mred\\u001b[0m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("one\ntwo\r\nthree\u2028four\tfive", "one⏎two⏎⏎three⏎four five"),
        ("\x00\x7f\x9b", "\\u0000\\u007f\\u009b"),
        ("\ud83d", "\\ud83d"),
        ("", ""),
        (None, "∅"),
        (12.5, "12.5"),
        ({"a": "x@y.zz"}, "{'a': '<EMAIL_ADDRESS>'}"),
    ],
)
def test_what_could_break_out_is_made_visible(text: object, shown: str) -> None:
    assert excerpt(text) == shown


def test_printable_leaves_words_alone() -> None:
    assert printable("怎么泡茶？ Tea & “cake” 🍵") == "怎么泡茶？ Tea & “cake” 🍵"


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1",
        "1 ",
        "1-",
        "+1",
        "a.",
        "a@",
        "a@a.",
        "@",
        "sk-",
        "-----BEGIN ",
        "-----BEGIN AAA-----",
        "Bearer ",
        "eyJ",
        "eyJaaaaaaaa.",
        "AA11 ",
        "(",
        "0",
        "86",
        "１",
        "\u200b",
        "𝟏",
        "AKIA",
    ],
)
def test_a_long_adversarial_text_is_no_trouble(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))

    assert len(excerpt(text)) <= EXCERPT_CHARS
    assert len(mask(text)) < 8 * len(text)
