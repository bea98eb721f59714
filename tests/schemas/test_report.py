"""Tests of schemas/report.py."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from bs4 import BeautifulSoup

from schemas import report
from schemas.excerpt import excerpt
from schemas.report import Column, LengthRow, Section, Tile, Words
from schemas.report_profile import render_profile
from schemas.report_run import render_run

HOSTILE = (
    "</title></style></svg><script>alert(1)</script><img src=x onerror=alert(1)>"
    '<a href="javascript:alert(1)">&"\'{{ 7*7 }}{% raw %}`x`\x1b[31m\u202egnp.exe\x00'
)
STATS = {"rows": 3, "min": 2, "p50": 5, "p95": 40, "p99": 40, "max": 40, "mean": 15.7}
HISTOGRAM = {
    "edges": [1, 2, 3, 4, 6, 7, 10, 13, 18, 24, 32, 42],
    "counts": [0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1],
    "zero": 1,
}


def profile(said: str = "plain") -> dict[str, Any]:
    """A profile of four rows in which every piece of data says `said`."""
    shown = {"id": said, "where": said, "instruction": said, "excerpt": said, "because": said}
    finding = {"count": 1, "share": 0.25, "example": shown, "use": None}
    return {
        "rows": 4,
        "clean_rows": 3,
        "bytes": 2_100_000,
        "text_bytes": 900,
        "files": 2,
        "formats": {said: 4},
        "kinds": {"chat": 4},
        "turns": {"2": 3, "4": 1},
        "roles": {"user": 5, "assistant": 5, said: 1},
        "languages": {"zh": 3, "en": 1},
        "tasks": {said: 3, "(none)": 1},
        "sources": {said: 4},
        "lengths": {"answer": STATS, "conversation": STATS},
        "words": {"answer": STATS},
        "tokens": {"conversation": STATS},
        "token_counts": {"estimated": False, "by": said},
        "histograms": {
            "answer": {"characters": HISTOGRAM, "words": HISTOGRAM},
            "conversation": {"characters": HISTOGRAM, "tokens": HISTOGRAM},
        },
        "groups": {
            "task": [
                {"name": said, "rows": 3, "lengths": {"answer": STATS}, "histograms": {"answer": HISTOGRAM}},
                {"name": "(none)", "rows": 1, "lengths": {"answer": STATS}, "histograms": {"answer": HISTOGRAM}},
            ],
            "source": [],
            "language": [],
        },
        "sequences": {"estimated": False, "over": {"1024": 1, "2048": 0, "4096": 0, "8192": 0}},
        "checks": {"refusal": 1},
        "verdicts": {"refusal": 1, "clean": 3},
        "duplicates": {"exact": 0, "near": None},
        "examples": {"refusal": [shown]},
        "repeated": {"instructions": [{"excerpt": said, "rows": 2}], "openings": [{"excerpt": said, "rows": 2}]},
        "personal_data": {"email": 1, said: 1},
        "personal_data_rows": 1,
        "preference": {"pairs": 4, "longer": 3, "shorter": 0, "identical": 1},
        "rejected": {said: 2},
        "rejected_examples": [{"reason": said, "file": said, "line": 3, "excerpt": said}],
        "findings": [
            {**finding, "kind": "refusal", "severity": "high", "fix": "add `- use: refusal`", "use": "refusal"},
            {**finding, "kind": said, "severity": said, "fix": said},
            {**finding, "kind": "new_kind", "severity": "low", "fix": said, "example": said},
        ],
    }


def run(said: str = "plain", **more: Any) -> dict[str, Any]:
    """A run of 1,000 rows in which every piece of data says `said`."""
    return {
        "title": said,
        "dataset": said,
        "kind": "chat",
        "rows_in": 1000,
        "rows_out": 830,
        "rejected": 20,
        "merged": 5,
        "made": 5,
        "dropped": {"too_short": 100, said: 50},
        "funnel": [
            {
                "step": said,
                "use": "./mine.py",
                "rows_in": 980,
                "dropped": {"too_short": 100, said: 50},
                "edited": 7,
                "seconds": 1.25,
            },
            {"step": "normalise", "use": "normalise", "rows_in": 830, "dropped": {}, "edited": 0, "seconds": None},
        ],
        "examples": [
            {"reason": "too_short", "step": said, "id": said, "where": said, "excerpt": said, "because": said},
            {"reason": said, "step": said, "id": "ab", "where": "", "excerpt": said, "because": None},
        ],
        "rejected_reasons": {said: 20},
        "rejected_examples": [{"reason": said, "file": said, "line": None, "excerpt": said}],
        "sources": [
            {"name": said, "kind": "buy", "licence": said, "training": said, "personal_data": "none", "rows": 9}
        ],
        "findings": [],
        "inputs": [{"path": said, "rows": 1000, "fingerprint": said}],
        "fingerprint": said,
        "recipe": f"name: x\n# {said}\nstages: []",
        **more,
    }


def pages(said: str) -> dict[str, str]:
    return {
        "profile": render_profile(profile(said), said, said),
        "run": render_run(run(said, before=profile(said), after=profile(said)), when=said),
        "import": render_run(run(said, after=profile(said)), when=said),
    }


@pytest.mark.parametrize("name", ["profile", "run", "import"])
def test_data_cannot_become_part_of_the_page(name: str) -> None:
    html = pages(HOSTILE)[name]

    soup = BeautifulSoup(html, "html.parser")

    assert soup.find_all(["script", "img", "a", "iframe", "object", "embed", "link", "form", "base"]) == []
    assert len(soup.find_all("title", string=True)) == len(soup.find_all("title"))
    assert len(soup.find_all("style")) == 1 and "alert" not in soup.style.get_text()  # type: ignore[union-attr]
    for tag in soup.find_all(True):
        assert not [key for key, value in tag.attrs.items() if key.startswith("on") or "alert" in str(value)]
    assert "<script>alert(1)</script>" in soup.get_text()
    assert "{{ 7*7 }}" in soup.get_text()


@pytest.mark.parametrize("name", ["profile", "run", "import"])
def test_control_and_direction_characters_do_not_reach_the_page(name: str) -> None:
    html = pages(HOSTILE)[name]

    assert not [char for char in "\x1b\u202e\x00" if char in html]
    assert "\\u202egnp.exe" in html


@pytest.mark.parametrize("name", ["profile", "run", "import"])
def test_a_page_loads_nothing(name: str) -> None:
    html = pages("plain")[name]

    soup = BeautifulSoup(html, "html.parser")
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})

    assert policy is not None and str(policy["content"]).startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert not [word for word in ("http:", "https:", "//", "url(", "@import", "src=", "href=") if word in html]


class _Balance(HTMLParser):
    VOID = frozenset({"meta", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["profile", "run", "import"])
def test_every_element_that_opens_closes(name: str) -> None:
    parser = _Balance()

    parser.feed(pages(HOSTILE)[name])

    assert parser.open == []


def test_everything_the_page_says_is_there_in_both_languages() -> None:
    soup = BeautifulSoup(render_profile(profile(), "data"), "html.parser")

    english, chinese = soup.select("span.en"), soup.select("span.zh")

    assert len(english) == len(chinese) > 50
    assert {span["lang"] for span in english} == {"en"} and {span["lang"] for span in chinese} == {"zh-Hans"}
    assert not [span for span in english if span.get_text().strip() == "" and span.find_parent("h2")]
    headings = [heading.select_one(".zh").get_text() for heading in soup.find_all("h2")]  # type: ignore[union-attr]
    assert headings[:3] == ["发现的问题", "构成", "长度"]


@pytest.mark.parametrize(
    ("lang", "languages", "opens"),
    [
        ("auto", {"zh": 3, "en": 1}, "show-zh"),
        ("auto", {"zh": 1, "en": 3}, "show-en"),
        ("auto", {}, "show-en"),
        ("en", {"zh": 3}, "show-en"),
        ("zh", {"en": 3}, "show-zh"),
    ],
)
def test_a_page_opens_in_the_language_of_most_rows_unless_told(
    lang: report.Lang, languages: dict[str, int], opens: str
) -> None:
    html = render_profile(profile() | {"languages": languages}, "data", lang=lang)

    checked = BeautifulSoup(html, "html.parser").select("input[checked]")

    assert [one["id"] for one in checked] == [opens]


def test_a_run_shows_that_its_counts_balance() -> None:
    soup = BeautifulSoup(render_run(run()), "html.parser")

    terms = [
        (term.i.get_text() if term.i else "", term.b.get_text(), term.select_one(".en").get_text())  # type: ignore[union-attr]
        for term in soup.select(".equation .term")
    ]

    assert terms == [
        ("", "1,000", "rows in"),
        ("−", "20", "rejected"),
        ("−", "150", "dropped"),
        ("−", "5", "merged"),
        ("+", "5", "made"),
        ("=", "830", "rows out"),
    ]


def test_a_run_shows_its_steps_with_what_each_dropped() -> None:
    soup = BeautifulSoup(render_run(run("odd")), "html.parser")

    first, second = soup.select(".steps tbody tr")

    assert [reason.get_text(" ", strip=True) for reason in first.select(".reason")] == ["too_short 100", "odd 50"]
    assert first.select(".number")[0].get_text() == "980"
    assert [bar.find("title").get_text() for bar in first.select("rect")] == ["830", "−150"]  # type: ignore[union-attr]
    assert second.select(".reason") == []


def test_a_report_with_two_profiles_compares_them_and_one_with_one_shows_it() -> None:
    after = profile() | {"rows": 2}

    compared = render_run(run(before=profile(), after=after), lang="en")
    shown = render_run(run(after=after), lang="en")

    assert "−50.0%" in compared and "处理前" in compared
    assert "处理前" not in shown and "Sequence length" in shown


def test_a_report_of_the_least_is_still_a_page() -> None:
    html = render_run({"title": "t", "rows_in": 0, "rows_out": 0})

    assert "There were no rows." in html


def test_a_copy_names_the_row_that_stays() -> None:
    one = {"reason": "copy", "step": "exact", "id": "a", "excerpt": "x", "because": '{"kept":"0123456789abcdef"}'}
    two = one | {"because": '{"kept": "0123456789abcdef", "similarity": 0.93}'}

    html = render_run(run(examples=[one | {"reason": "too_short"}, two | {"reason": "too_short"}]))

    assert html.count("repeats row <code>01234567</code>") == 1
    assert html.count("0.93 like row <code>01234567</code>") == 1


def test_a_histogram_has_a_bar_for_every_bin_that_is_not_empty() -> None:
    soup = BeautifulSoup(report.histograms([LengthRow("answer", HISTOGRAM, STATS)]), "html.parser")

    titles = [bar.find("title").get_text() for bar in soup.find_all("rect")]  # type: ignore[union-attr]

    assert titles == ["2: 1", "4–5: 1", "32–41: 1"]
    assert [tick.get_text() for tick in soup.select(".ticks span")] == ["1", "10"]
    assert soup.select(".grid .number")[-4:] != [] and soup.select("svg > title")[0].get_text() == (
        "min 2, p50 5, p95 40, max 40"
    )


def test_rows_that_are_all_of_length_zero_make_no_histogram_but_no_error_either() -> None:
    nothing = {"edges": [1, 2], "counts": [0], "zero": 3}

    html = report.histograms([LengthRow("answer", nothing, STATS | {"p50": 0})])

    assert BeautifulSoup(html, "html.parser").find_all("rect") == []


def test_bars_beyond_a_dozen_are_added_up() -> None:
    soup = BeautifulSoup(report.bars({f"task {n}": 20 - n for n in range(15)}), "html.parser")

    rows = soup.find_all("tr")

    assert len(rows) == report.SHOWN
    assert rows[-1].select(".number")[0].get_text() == "30"


def test_shares_fill_the_bar() -> None:
    soup = BeautifulSoup(report.shares([("a", 1, "accent"), ("b", 0, "c1"), ("c", 3, "c2")]), "html.parser")

    widths = [(rect["x"], rect["width"]) for rect in soup.find_all("rect")]

    assert widths == [("0.00", "250.00"), ("250.00", "750.00")]


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(1, 3, "33.3%"), (0, 5, "0%"), (5, 5, "100%"), (1, 5000, "<0.1%"), (99_999, 100_000, ">99.9%"), (1, 0, "–")],
)
def test_a_share_never_claims_all_or_nothing_wrongly(part: int, whole: int, shown: str) -> None:
    assert report.percent(part, whole) == shown


def test_numbers_are_written_for_people() -> None:
    assert [report.number(1_234_567), report.number(15.25), report.number(None)] == ["1,234,567", "15.2", "–"]
    assert [report.size(0), report.size(2_100_000), report.size(None)] == ["0 bytes", "2.1 MB", "–"]
    assert [report.short(950), report.short(10_000), report.short(12_345_678)] == ["950", "10k", "12.3M"]


def test_other_packages_can_build_a_page_from_the_pieces() -> None:
    blocks = [
        report.tiles([Tile(Words("Answers", "回答"), "12", "3 people")]),
        report.table([Column(Words("Person", "人员")), Column("n", number=True)], [("<b>Ann</b>", "7")]),
        report.listing("a: 1\nb: <2>"),
    ]

    html = report.page("agreement", Words("Review", "评审"), [Section(Words("Who", "谁"), blocks=blocks)], lang="zh")
    soup = BeautifulSoup(html, "html.parser")

    assert soup.html is not None and soup.html["lang"] == "zh-Hans"
    assert soup.select("td")[0].get_text() == "<b>Ann</b>"
    assert soup.pre is not None and soup.pre.get_text() == "a: 1\nb: <2>\n"


def test_a_task_named_like_a_language_code_keeps_its_name() -> None:
    html = render_profile(profile("it") | {"languages": {"it": 4}}, "data")

    assert html.count("Italian") == 1
    assert '<bdi dir="auto">it</bdi>' in html


def test_languages_are_shown_by_who_speaks_where_there_are_several() -> None:
    by_role = {"user": {"zh": 3, "en": 1}, "assistant": {"en": 4}}

    html = render_profile(profile() | {"languages_by_role": by_role, "rows_in_several_languages": 1}, "data")

    table = next(one for one in BeautifulSoup(html, "html.parser").find_all("table") if "who speaks" in one.get_text())
    cells = [[cell.get_text(" ", strip=True) for cell in line.find_all(["td", "th"])] for line in table.find_all("tr")]
    assert [line[1:] for line in cells[1:]] == [["4", "25.0%", "75.0%"], ["4", "100%", "–"]]
    assert "1 row holds messages in two languages or more." in html


def test_one_language_takes_no_table_by_who_speaks() -> None:
    html = render_profile(profile() | {"languages_by_role": {"user": {"zh": 3}, "tool": {"zh": 1}}}, "data")

    assert "by who speaks" not in html


def test_an_import_shows_how_its_rows_stand_and_what_was_found() -> None:
    report_of_import = {"title": "t", "rows_in": 4, "rows_out": 4, "after": profile()}

    soup = BeautifulSoup(render_run(report_of_import), "html.parser")

    assert "Import report" in soup.get_text()
    assert len(soup.select(".shares rect")) >= 2
    assert [level.get_text() for level in soup.select(".findings .level .en")] == ["high", "low", "low"]


def test_an_excerpt_is_shown_as_it_is() -> None:
    shown = excerpt("写信到 li.lei@example.com 或拨打 13812345678")

    html = render_profile(profile(shown), "data")

    assert "写信到 &lt;EMAIL_ADDRESS&gt; 或拨打 &lt;CN_MOBILE&gt;" in html


@pytest.mark.parametrize(
    ("known", "opens"),
    [
        ({"languages": {"zh": 3, "en": 1, "?": 9}}, "zh-Hans"),
        ({"languages": {"en": 3}, "examples": [{"reason": "copy", "excerpt": "你好"}]}, "en"),
        ({"languages": {"?": 4}, "examples": [{"reason": "copy", "excerpt": "您的订单"}]}, "zh-Hans"),
        ({"languages": {"?": 4}, "examples": [{"reason": "copy", "excerpt": "Your order"}]}, "en"),
        ({}, "en"),
    ],
    ids=["most rows", "known rows", "shown rows", "shown English", "nothing known"],
)
def test_a_runs_page_opens_in_the_language_of_its_rows(known: dict[str, Any], opens: str) -> None:
    html = render_run({"title": "t", "rows_in": 4, "rows_out": 4} | known)

    soup = BeautifulSoup(html, "html.parser")

    assert soup.html is not None and soup.html["lang"] == opens
