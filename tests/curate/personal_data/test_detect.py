from __future__ import annotations

import logging
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from curate.personal_data.analyzer import ENTITIES, Language, analyzer
from curate.personal_data.detect import SCHEMA, Detector, language_of, resolved

_FILLER = {
    "en": (
        "The committee met again on Tuesday and agreed on very little. ",
        "Costs rose by 12.5% in 2023: see table 4, line 1201. ",
        "Is it the one that they had before? No, it is not the same. ",
        "def f(x):\n    return x ** 2 + 1990\n",
        "Note: be:12 the:99 http://a.b re:run at 10:45:12.\n",
    ),
    "zh": (
        "委员会周二再次开会，几乎没有达成一致。",
        "2023年成本上涨了12.5%，见表4第1201行。\n",
        "这和以前的是同一个吗？不，不是。",
        "他说：“时间是10:45:12。” version 1.2.3.4，",
        "订单号：2023110900012345 已经发货了 ",
    ),
}
_PLANTED = (
    "my passport number is 123456789",
    "account: 12345678901",
    "driver license no. D1234567",
    "SSN 536-32-3065",
    "ssn: 536323065",
    "call (212) 555-0147 x12",
    "mail a.b@example.com or c@example.org",
    "card 4929 5785 6933 9117",
    "IBAN GB42 HRSI 5661 3285 4316 68 now",
    "mac 00:1A:2B:3C:4D:5E",
    "at https://www.example.com/a?b=c",
    "host 203.0.113.45 is down",
    "born on March 3, 1991",
    "password = 'n0t-Real-99'",
    "national insurance AB 12 34 56 C",
    "手机13800001234",
    "身份证号11019819900307123X",
    "邮箱a@b.com或者",
    "卡号6200001028156950131，",
    "护照E12345678",
    "家住杭州市西湖区虚构路88号3幢501室",
    "微信号：test_abc123",
    "京A00012",
    "座机010-80001234转12",
    "生于1985年6月3日",
    "itin 912-78-1234",
    "driving\n\n\n  be is the of 123456789",
    "社会安全号码 536-32-3065",
)


def _texts(count: int, seed: int) -> list[str]:
    """Sparse and dense, short and long, in both languages, the same every time."""
    chance = random.Random(seed)
    texts = []
    for _ in range(count):
        language = chance.choice(("en", "zh"))
        fillers = chance.choice((0, 1, 3, 20, 60))
        parts = [chance.choice(_FILLER[language]) for _ in range(fillers)]
        parts += [
            chance.choice(_PLANTED) + chance.choice(("", " ", "，", ". ", "\n")) for _ in range(chance.randint(0, 6))
        ]
        chance.shuffle(parts)
        texts.append("".join(parts))
    return texts


def _plain(texts: list[str], threshold: float) -> pl.DataFrame:
    """What Presidio's analyzer with the same registry finds in each text."""
    engines = {language: analyzer(language, tuple(ENTITIES)) for language in ("en", "zh")}
    rows = [
        (place, one.start, one.end, one.entity_type, one.score)
        for place, text in enumerate(texts)
        for one in engines[language_of(text)].analyze(text, language_of(text), score_threshold=threshold)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("text", "begin", "end", "type", "score")


@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_findings_are_those_of_a_plain_analyzer_on_every_text(threshold: float) -> None:
    texts = _texts(240, seed=3)

    found = Detector(tuple(ENTITIES), threshold=threshold).find_all(pl.Series(texts))

    assert found.equals(_plain(texts, threshold))
    assert found.height > 500


@settings(max_examples=60, deadline=None)
@given(
    parts=some.lists(
        some.sampled_from(
            [*_PLANTED, *_FILLER["en"], *_FILLER["zh"], " ", "\n\n", "the be of:", ":", "a" * 700, "是的" * 350]
        ),
        max_size=14,
    )
)
def test_findings_are_those_of_a_plain_analyzer_on_any_text(parts: list[str]) -> None:
    texts = ["".join(parts)]

    found = Detector(tuple(ENTITIES), threshold=0.0).find_all(pl.Series(texts))

    assert found.equals(_plain(texts, 0.0))


def test_places_are_counted_in_characters_and_null_texts_have_none() -> None:
    texts = pl.Series(["😀中文 a@b.com", None, "", "nothing"], dtype=pl.String)

    found = Detector().find(texts)

    assert found.schema == SCHEMA
    assert found.rows() == [(0, 4, 11, "EMAIL_ADDRESS", 1.0)]


def test_no_text_gives_an_empty_frame() -> None:
    found = Detector().find(pl.Series([], dtype=pl.String))

    assert found.schema == SCHEMA
    assert found.is_empty()


def test_findings_do_not_overlap_and_the_longest_stays() -> None:
    texts = pl.Series(["postgres://app:n0tReal99@db.example.com:5432/app and 手机13800001234"])

    found = Detector().find(texts)

    assert [row[3] for row in found.rows()] == ["SECRET", "CN_MOBILE"]


def test_of_findings_alike_the_more_telling_type_stays() -> None:
    findings = pl.DataFrame(
        [(0, 0, 18, "CN_USCC", 1.0), (0, 0, 18, "CN_ID_CARD", 1.0), (0, 18, 20, "URL", 0.5)],
        schema=SCHEMA,
        orient="row",
    )

    kept = resolved(findings)

    assert [row[3] for row in kept.rows()] == ["CN_ID_CARD", "URL"]


def test_only_the_types_that_are_asked_for_are_found() -> None:
    texts = pl.Series(["a@b.com 13800001234", "电话 13800001234"])

    found = Detector(entities=("CN_MOBILE",)).find(texts)

    assert found["type"].unique().to_list() == ["CN_MOBILE"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("plain", "en"),
        ("café", "en"),
        ("a中b", "zh"),
        ("１２３", "zh"),
        ("한국", "zh"),
        ("かな", "zh"),
        ("“quoted”", "en"),
    ],
)
def test_a_text_with_chinese_characters_or_signs_is_read_as_chinese(text: str, language: Language) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize("language", ["zh", "en"])
def test_all_types_are_looked_for_in_both_languages(language: Language) -> None:
    usual = set(analyzer(language).get_supported_entities(language))
    every = set(analyzer(language, tuple(ENTITIES)).get_supported_entities(language))

    assert every == set(ENTITIES)
    assert every - usual == {"URL"}


def test_values_never_reach_a_log(caplog: pytest.LogCaptureFixture) -> None:
    texts = pl.Series(
        ["canary-value@example.com GB42 HRSI 5661 3285 4316 68, my passport is 987654321", "卡号4111111111111111"]
    )

    with caplog.at_level(logging.DEBUG):
        Detector(tuple(ENTITIES), threshold=0.0).find_all(texts)

    for value in ("canary", "HRSI", "987654321", "411111"):
        assert value not in caplog.text


def test_nothing_is_written_to_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLDEXTRACT_CACHE", str(tmp_path / "tld"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    Detector().find(pl.Series(["user@example.co.uk", "中文 user@example.com.cn"]))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("type_", ["CN_MOBILE", "CN_LANDLINE"])
def test_a_chinese_number_is_named_so_however_likely_it_is_a_telephone_at_all(type_: str) -> None:
    rows = [(0, 3, 14, "PHONE_NUMBER", 0.85), (0, 3, 14, type_, 0.8), (0, 20, 31, "PHONE_NUMBER", 0.5)]

    found = resolved(pl.DataFrame(rows, schema=SCHEMA, orient="row"))

    assert found["type"].to_list() == [type_, "PHONE_NUMBER"]


def test_a_mobile_number_on_a_line_of_its_own_is_one() -> None:
    texts = pl.Series(["call me\n13812345678\n", "电话：\n13812345678", "phone\r\n+86 138-1234-5678"])

    found = Detector().find(texts)

    assert found["type"].to_list() == ["CN_MOBILE"] * 3


@pytest.mark.parametrize(
    "text", ["A1234567 " * 50, "LICENSE: A1234567", "驾照 A1234567", "account 12345678901, A1234567"]
)
def test_shapes_that_need_a_context_are_found_as_presidio_finds_them(text: str) -> None:
    plain = analyzer(language_of(text)).analyze(text, language_of(text))

    found = Detector().find_all(pl.Series([text]))

    expected = sorted((one.start, one.end, one.entity_type) for one in plain)
    assert found.select("begin", "end", "type").rows() == expected
