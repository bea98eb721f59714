"""What the report about near duplicates is made of: pairs side by side, the curve, sources that lost much."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.clusters import Clusters, side_by_side
from curate.near import Comparison

Runs = list[list[str]]


def clusters_of(comparison: Comparison, texts: Sequence[str], sources: Sequence[str] | None = None) -> Clusters:
    """Clusters among texts; a row's id is `row` and its place."""
    summaries = pl.DataFrame(
        {
            "ordinal": pl.Series(range(len(texts)), dtype=pl.Int64),
            "id": pl.Series([f"row{place}" for place in range(len(texts))], dtype=pl.String),
            "compared": comparison.summary(pl.Series(texts, dtype=pl.String)),
            "source": pl.Series(sources or ["web"] * len(texts), dtype=pl.String),
        }
    )

    def fetched(ordinals: Sequence[int]) -> pl.DataFrame:
        found = [texts[ordinal] for ordinal in ordinals]
        schema = {"ordinal": pl.Int64, "text": pl.String}
        return pl.DataFrame({"ordinal": list(ordinals), "text": found}, schema=schema)

    return Clusters(comparison, summaries, pl.Series(range(len(texts)), dtype=pl.Int64), fetched)


def differing(runs: Runs) -> list[str]:
    return [text for text, kind in runs if kind == "differs"]


def whole(runs: Runs) -> str:
    return "".join(text for text, _ in runs)


# --- Side by side ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "gone", "left", "right"),
    [
        ("Boil the water.", "Boil some water.", ["the"], ["some"]),
        ("Boil the water.", "Boil the water!", ["."], ["!"]),
        ("Boil water", "Boil the water", [], ["the "]),
        ("先把水烧开", "先把茶烧开", ["水"], ["茶"]),
        ("三个工作日内处理", "三个工作日之内处理", [], ["之"]),
        ("a b c d e", "a x c y e", ["b", "d"], ["x", "y"]),
        ("tea", "tea", [], []),
        ("", "tea", [], ["tea"]),
    ],
)
def test_just_what_differs_is_marked(kept: str, gone: str, left: list[str], right: list[str]) -> None:
    found = side_by_side(kept, gone)

    assert [differing(found[side]) for side in ("left", "right")] == [left, right]
    assert [whole(found[side]) for side in ("left", "right")] == [kept, gone]


@pytest.mark.parametrize(
    ("kept", "gone", "left", "right"),
    [
        ("用iPhone手机拍照很好", "用iPhone手机录像很好", "拍照", "录像"),
        ("我有3个苹果和两个梨", "我有3个苹果和四个梨", "两", "四"),
        ("买了5本书", "买了6本书", "5", "6"),
    ],
)
def test_a_chinese_character_behind_a_word_or_number_is_marked_alone(
    kept: str, gone: str, left: str, right: str
) -> None:
    found = side_by_side(kept, gone)

    assert "".join(differing(found["left"])) == left
    assert "".join(differing(found["right"])) == right


words = st.lists(st.sampled_from(["tea", "pot", "水", "茶", ".", "12"]), max_size=25).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(kept=words, gone=words)
def test_what_is_marked_the_same_is_the_same_on_both_sides(kept: str, gone: str) -> None:
    found = side_by_side(kept, gone)

    same = ["".join(text for text, kind in found[side] if kind == "same") for side in ("left", "right")]
    assert same[0] == same[1]
    assert bool(differing(found["left"]) or differing(found["right"])) == (kept != gone)


@pytest.mark.parametrize("begin", ["steep the leaves and wait ", "泡茶之前先把水烧开，"])
def test_long_texts_are_shown_from_shortly_before_they_differ_and_cut(begin: str) -> None:
    kept, gone = begin * 60 + "AAA " + begin * 30, begin * 60 + "BBB " + begin * 30

    found = side_by_side(kept, gone)

    for side, mark in (("left", "AAA"), ("right", "BBB")):
        shown = whole(found[side])
        assert shown.startswith("…")
        assert shown.endswith("…")
        assert mark in "".join(differing(found[side]))
        assert shown.index(mark) < 100
        assert len(shown) < 400


def test_texts_that_differ_from_the_start_on_are_cut() -> None:
    found = side_by_side("tea " * 5_000, "茶" * 50_000)

    assert len(whole(found["left"])) < 400
    assert len(whole(found["right"])) < 400


@pytest.mark.parametrize(
    ("kept", "gone", "secrets"),
    [
        ("Write to jane.doe@example.com now", "Write to jane.roe@example.com now", ["jane", "doe", "roe", "example"]),
        ("Write to ann@example.com now", "Write to ann@example.org now", ["ann@", "example"]),
        ("Call 13800138000 today", "Call 13900139000 today", ["1380", "1390", "8000"]),
        ("请拨打13800138000联系我们", "请拨打13800138001联系我们", ["1380", "8000", "8001"]),
        ("Call 13800138000", "Write to ann@example.com", ["1380", "ann@"]),
    ],
)
def test_addresses_and_numbers_are_masked_even_where_they_are_what_differs(
    kept: str, gone: str, secrets: list[str]
) -> None:
    found = side_by_side(kept, gone)

    shown = whole(found["left"]) + whole(found["right"])
    assert [secret for secret in secrets if secret in shown] == []
    assert "<CN_MOBILE>" in shown or "<EMAIL_ADDRESS>" in shown


def test_an_address_where_a_long_text_is_cut_is_masked() -> None:
    for before in range(2_900, 3_010, 7):
        begin = "tea " * (before // 4)
        found = side_by_side(begin + "ann.other@example.com", begin + "ann.author@example.com")

        assert "ann." not in whole(found["left"]) + whole(found["right"])


def test_nothing_in_a_text_reaches_the_report_as_a_control_character() -> None:
    found = side_by_side("a \x1b[31m b \u202e c", "a \x1b[32m b \u202e d")

    assert not {"\x1b", "\u202e"} & set(whole(found["left"]) + whole(found["right"]))


# --- The curve -------------------------------------------------------------------------------------------


def random_texts(seed: int) -> list[str]:
    chance = random.Random(seed)
    found: list[list[str]] = []
    for _ in range(200):
        tokens = (
            list(chance.choice(found)) if found and chance.random() < 0.7 else chance.choices("abcdefghijklm", k=12)
        )
        for _ in range(chance.choice([0, 1, 2, 4])):
            tokens[chance.randrange(12)] = chance.choice("nopqrsuvwxyz")
        found.append(tokens)
    return [" ".join(tokens) for tokens in found]


@pytest.mark.parametrize("explore", [None, 0.3, 0.55, 0.8, 0.95])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_more_rows_stay_at_a_higher_threshold(explore: float | None, seed: int) -> None:
    clusters = clusters_of(Comparison(0.8, n=1), random_texts(seed))

    curve = clusters.report(explore)["curve"]

    thresholds, rows = [[point[place] for point in curve] for place in (0, 1)]
    assert thresholds == sorted(set(thresholds))
    assert rows == sorted(rows)
    assert thresholds[-1] == 1.0


def test_the_curve_goes_up_through_rows_that_are_like_a_row_and_like_each_other() -> None:
    a, b = "a b c d e f g h", "a b c d e f x y"
    clusters = clusters_of(Comparison(0.8, n=1), [a, b, b, b])

    curve = dict(map(tuple, clusters.report(0.3)["curve"]))

    assert curve[0.8] == 2
    assert curve[0.3] == 1
    assert curve[0.75] <= curve[0.8]


def test_the_curve_says_how_many_rows_stay_at_the_threshold_itself() -> None:
    clusters = clusters_of(Comparison(0.8, n=1), random_texts(4))

    report = clusters.report(0.4)

    curve = dict(map(tuple, report["curve"]))
    assert curve[0.8] == report["rows"] - report["dropped"]
    assert min(curve) == 0.4
    assert curve[0.4] < curve[0.8]


def test_the_lowest_threshold_of_the_curve_has_what_a_search_with_it_keeps() -> None:
    texts = random_texts(5)
    lower = clusters_of(Comparison(0.4, n=1), texts).report(None)

    curve = dict(map(tuple, clusters_of(Comparison(0.8, n=1), texts).report(0.4)["curve"]))

    assert curve[0.4] == lower["rows"] - lower["dropped"]


def test_without_looking_lower_the_curve_begins_at_the_threshold() -> None:
    curve = clusters_of(Comparison(0.8, n=1), random_texts(6)).report(None)["curve"]

    assert [point[0] for point in curve] == [0.8, 0.85, 0.9, 0.95, 1.0]


# --- Findings, sources, sizes ----------------------------------------------------------------------------


def test_a_source_that_lost_more_than_the_alarm_is_a_finding() -> None:
    texts = ["a b c d", "e f g h", "a b c d", "a b c d", "i j k l", "m n o p", "a b c d"]
    sources = ["good", "good", "bad", "bad", "bad", "fine", "fine"]
    clusters = clusters_of(Comparison(0.8), texts, sources)

    found = clusters.findings(0.5)

    assert [(one["kind"], one["severity"], one["count"]) for one in found] == [("source_of_near_duplicates", "high", 2)]
    assert found[0]["share"] == pytest.approx(2 / 3)
    assert found[0]["example"].startswith("bad: 2 of 3 rows")


@pytest.mark.parametrize(("alarm", "names"), [(0.1, {"bad", "fine"}), (0.49, {"bad", "fine"}), (0.9, set())])
def test_a_lower_alarm_names_more_sources(alarm: float, names: set[str]) -> None:
    texts = ["a b c d", "a b c d", "a b c d", "i j k l", "m n o p", "a b c d"]
    clusters = clusters_of(Comparison(0.8), texts, ["good", "bad", "bad", "bad", "fine", "fine"])

    found = clusters.findings(alarm)

    assert {one["example"].partition(":")[0] for one in found} == names


def test_a_report_counts_rows_clusters_sizes_and_sources() -> None:
    texts = ["a b c d", "a b c d", "e f g h", "a b c d", "e f g h", "i j k l"]
    sources = ["web", "web", "web", "book", "book", "book"]

    found = clusters_of(Comparison(0.8), texts, sources).report(None)

    assert (found["rows"], found["dropped"], found["clusters"]) == (6, 3, 2)
    assert found["sizes"] == [["2", 1], ["3", 1]]
    assert found["by_source"] == [["book", 3, 2], ["web", 3, 1]]
    assert [one["size"] for one in found["largest"]] == [3, 2]


def test_pairs_at_the_border_are_the_least_alike_and_name_both_rows() -> None:
    texts = ["a b c d e f g h i j", "a b c d e f g h i j", "a b c d e f g h i x", "a b c d e f g h x y"]
    clusters = clusters_of(Comparison(0.6, n=1), texts)

    found = clusters.report(None)["borderline"]

    assert [(one["id"], one["kept"], one["similarity"]) for one in found] == [
        ("row3", "row0", 0.6667),
        ("row2", "row0", 0.8182),
        ("row1", "row0", 1.0),
    ]
    assert differing(found[1]["right"]) == ["x"]


def test_a_large_cluster_shows_the_least_alike_of_its_rows() -> None:
    base = "a b c d e f g h i j"
    texts = [base] * 30 + [base.replace("j", "x"), base.replace("i", "y")]

    (found,) = clusters_of(Comparison(0.8, n=1), texts).report(None)["largest"]

    assert found["size"] == 32
    assert {one["id"] for one in found["pairs"][:2]} == {"row30", "row31"}


@pytest.mark.parametrize("search", ["exact", "lsh"])
@pytest.mark.parametrize("texts", [[], ["a b c d"], ["", ""], ["green tea", "black coffee"]])
def test_a_report_about_nothing_is_empty(search: Any, texts: list[str]) -> None:
    found = clusters_of(Comparison(0.8, search=search), texts).report(0.5)

    assert (found["rows"], found["dropped"], found["clusters"]) == (len(texts), 0, 0)
    assert found["largest"] == found["borderline"] == []


def test_bands_and_an_exact_search_report_the_same_of_clear_duplicates() -> None:
    texts = ["a b c d e f g h", "a b c d e f g h", "green tea from the hills of the north", "", "x y z", "X Y Z"]
    exact = clusters_of(Comparison(0.8, n=2), texts).report(None)

    found = clusters_of(Comparison(0.8, n=2, search="lsh"), texts).report(None)

    assert {name: one for name, one in found.items() if name != "how"} == {
        name: one for name, one in exact.items() if name != "how"
    }
    assert found["how"]["recall"] >= 0.99
