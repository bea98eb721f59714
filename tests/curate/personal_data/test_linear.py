"""No pattern, ours or Presidio's, takes more than linear time, whatever a text holds."""

from __future__ import annotations

import time
from functools import cache

import polars as pl
import pytest

from curate.personal_data.analyzer import ENTITIES, analyzer
from curate.personal_data.detect import Detector

ADVERSARIES = (
    *(
        "a",
        "1",
        "１",
        "中",
        " ",
        "\n",
        "区",
        "1 ",
        "1-",
        "1.",
        "a.",
        "a@",
        "a@a.",
        "1.1.1.1.",
        "0:",
        "::",
        "12:",
        "(1)",
        "+1",
    ),
    *(
        "北京市区",
        "地址：",
        "微信：",
        "QQ：1",
        "密码：",
        "password=",
        "-----BEGIN PRIVATE KEY-----",
        "eyJaaaaaaaaaaaa.",
    ),
    *(
        "born on ",
        "call 1",
        "1990年1月",
        "护照E",
        "http://a.",
        "http://a:a@",
        "http://a.com/(",
        "www.a.",
        "postgres://a:aa@",
    ),
    *("bearer a", "GB82WEST", "sk-a", "aa:bb:", "4111 ", "62", "京A0", "order ", "a [at] ", "x1 ", "1bc1", "Jan 1, "),
    *(
        "mysql -p",
        "mysql a ",
        "mongo -u a ",
        "sshpass -p ",
        "a#qq.",
        "a at qq dot ",
        "mail a1 at ",
        "Q：1",
        "加Q",
        "A1234 ",
    ),
)
"""What is repeated: beginnings of values that never come to an end, and what separates their parts."""


@cache
def _recognizers() -> list[tuple[str, object]]:
    found = analyzer("zh", tuple(ENTITIES)).registry.get_recognizers(language="zh", all_fields=True)
    return sorted(((str(one.name), one) for one in found), key=lambda pair: pair[0])  # type: ignore[has-type]


def _seconds(name: str, text: str) -> float:
    recognizer = dict(_recognizers())[name]
    times = []
    for _ in range(3):
        began = time.process_time()
        recognizer.analyze(text, recognizer.supported_entities, None)  # type: ignore[attr-defined]
        times.append(time.process_time() - began)
    return min(times)


def _repeated(piece: str, chars: int) -> str:
    return (piece * (chars // len(piece) + 1))[:chars]


@pytest.mark.parametrize("name", [name for name, _ in _recognizers()])
def test_eight_times_the_text_takes_no_more_than_about_eight_times_as_long(name: str) -> None:
    slow = []
    for piece in ADVERSARIES:
        long = _seconds(name, _repeated(piece, 8_000))
        if long > 0.05:
            short = _seconds(name, _repeated(piece, 1_000))
            if long > 25 * short:
                slow.append((piece, short, long))

    # Quadratic time would be 64 times as long.
    assert slow == []


def test_a_text_of_many_findings_is_searched_in_linear_time() -> None:
    def seconds(count: int) -> float:
        texts = pl.Series(["account 123456789, 13800001234 a@b.com. " * count])
        began = time.process_time()
        Detector(tuple(ENTITIES)).find(texts)
        return time.process_time() - began

    seconds(10)

    assert seconds(2_000) < 30 * seconds(200) + 0.1
