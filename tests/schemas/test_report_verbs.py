"""Tests of schemas/report_verbs.py."""

from __future__ import annotations

import re
from typing import Any

import pytest
from bs4 import BeautifulSoup

from schemas.report import Words, page
from schemas.report_verbs import verbs_section

HOSTILE = "</text></svg><script>alert(1)</script><img src=x onerror=alert(1)>&\"'{{ 7*7 }}\u202egnp"


def summary(verb: str = "write", noun: str = "poem", **other: Any) -> dict[str, Any]:
    """What `curate.complexity.Verbs.result` gives for ten rows."""
    found = {
        "rows": 10,
        "with_verb": 9,
        "with_pair": 8,
        "distinct_pairs": 4,
        "entropy_bits": 1.906,
        "levels": {"1": 2, "2": 1, "3": 0, "4": 1, "5": 0, "6": 5},
        "simple": 2,
        "hard": 7,
    }
    return {
        "rows": 12,
        "instructions": 11,
        "sentences": 9,
        "sample": None,
        "not_measured": {},
        "measured": found,
        "languages": {"en": found},
        "pairs": {
            verb: {"rows": 5, "language": "en", "objects": {noun: 3, "story": 1}},
            "列出": {"rows": 3, "language": "zh", "objects": {"水果": 3}},
        },
    } | other


def html(given: dict[str, Any]) -> str:
    return page("data", Words("Profile", "概况"), [verbs_section(given)])


def test_the_chart_shows_verbs_inside_and_objects_outside() -> None:
    soup = BeautifulSoup(html(summary()), "html.parser")

    labels = [text.get_text() for text in soup.select(".sunburst text")]
    tooltips = [title.get_text() for title in soup.select(".sunburst path title")]
    assert labels == ["write", "poem", "story", "列出", "水果"]
    assert tooltips == [
        "write: 5 · 50.0%",
        "write · poem: 3 · 30.0%",
        "write · story: 1 · 10.0%",
        "write · …: 1 · 10.0%",
        "列出: 3 · 30.0%",
        "列出 · 水果: 3 · 30.0%",
    ]


def test_the_section_says_its_numbers_in_both_languages() -> None:
    soup = BeautifulSoup(html(summary()), "html.parser")

    section = soup.select_one("section")

    assert section is not None
    english = " ".join(one.get_text() for one in section.select(".en"))
    chinese = " ".join(one.get_text() for one in section.select(".zh"))
    for said in (english, chinese):
        assert all(part in said for part in ("80.0%", "20.0%", "70.0%", "1.9", "Self-Instruct"))
    assert "Inner ring" in english and "内圈" in chinese


def test_a_sample_and_what_was_not_measured_are_said() -> None:
    given = summary(
        sample={"sentences": 20_000, "rows": 31_000},
        sentences=48_000,
        not_measured={"en": {"rows": 700, "why": "the model is not installed"}},
    )

    text = BeautifulSoup(html(given), "html.parser").get_text()

    assert "20,000 of about 48,000" in text
    assert "700 rows (English): the model is not installed" in text


def test_whatever_a_noun_says_is_text() -> None:
    soup = BeautifulSoup(html(summary(HOSTILE, HOSTILE)), "html.parser")

    assert not soup.select("script, img, a")
    assert "\u202e" not in str(soup)
    assert "{{ 7*7 }}" in soup.get_text()


@pytest.mark.parametrize("count", [1, 2, 60])
def test_arcs_are_drawn_for_one_verb_and_for_many(count: int) -> None:
    pairs = {f"verb{n}": {"rows": 1, "language": "en", "objects": {"noun": 1}} for n in range(count)}

    soup = BeautifulSoup(html(summary(pairs=pairs)), "html.parser")

    paths = [path["d"] for path in soup.select(".sunburst path")]
    assert len(paths) == 2 * count
    for path in paths:
        assert re.fullmatch(r"(?:[MLAZ]|[\d. -])+", str(path))


def test_nothing_measured_is_no_section_and_no_pairs_no_chart() -> None:
    nothing = summary(measured={"rows": 0})
    no_pairs = summary(pairs={})

    assert not verbs_section(nothing).blocks
    assert "sunburst" not in html(no_pairs)
    assert "Bloom" in html(no_pairs)
