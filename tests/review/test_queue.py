"""Which rows are asked about, how they are shuffled, and what is noted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from review.asked import Asked, Review, key_of
from review.backend import Access
from review.backends.xlsx import Xlsx
from review.forms import FORMS
from review.labels import pull, status
from review.pairs import meaning
from review.pushing import Push, push, read_only
from review.queue import Choice, choose, contents
from schemas.dataset import open_dataset
from schemas.errors import UserError
from tests.review.made import book_push, candidates, chat, labelled, pair, pairs, write_dataset

KEY = b"a key for tests"


def test_a_larger_limit_adds_to_the_rows_of_a_smaller_one(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "d", "preference", pairs(50)))

    few = choose(dataset, FORMS["pairs"], Choice(limit=10), KEY).items
    more = choose(dataset, FORMS["pairs"], Choice(limit=20), KEY).items

    assert [one.id for one in few] == [one.id for one in more[:10]]
    assert len({one.id for one in more}) == 20


def test_order_is_random_the_same_again_and_no_order_of_the_dataset(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "d", "preference", pairs(400)))

    once = choose(dataset, FORMS["pairs"], Choice(), KEY).items
    again = choose(dataset, FORMS["pairs"], Choice(), KEY).items
    other = choose(dataset, FORMS["pairs"], Choice(), b"another key").items

    assert once == again
    assert 150 < sum(one.shown == (0, 1) for one in once) < 250  # 5 standard deviations
    assert {one.id: one.shown for one in once} != {one.id: one.shown for one in other}
    assert {one.id for one in once} == {one.id for one in other}


def test_pairs_that_say_the_same_are_not_asked(tmp_path: Path) -> None:
    rows = [pair("q", "same", "same"), pair("r", "a", "b"), pair("s", "a", " ")]
    dataset = open_dataset(write_dataset(tmp_path / "d", "preference", rows))

    chosen = choose(dataset, FORMS["pairs"], Choice(), KEY)

    assert len(chosen.items) == 1
    assert chosen.left_out == {"same_answers": 1, "too_few_answers": 1}


def test_rows_are_taken_by_a_number_in_extra_highest_or_lowest_first(tmp_path: Path) -> None:
    rows = [pair(f"q{n}", "a", "b") | {"extra": orjson.dumps({"doubt": n / 10}).decode()} for n in range(5)]
    dataset = open_dataset(write_dataset(tmp_path / "d", "preference", [*rows, pair("none", "a", "b")]))

    highest = choose(dataset, FORMS["pairs"], Choice(select="doubt", limit=2), KEY)
    lowest = choose(dataset, FORMS["pairs"], Choice(select="lowest:doubt", limit=1), KEY)

    assert [one.score for one in highest.items] == [0.4, 0.3]
    assert [one.score for one in lowest.items] == [0.0]
    assert highest.items[0].why == "highest doubt"
    assert highest.left_out["no_score"] == 1


def test_a_score_that_no_row_has_is_a_mistake(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "d", "preference", pairs(2)))

    with pytest.raises(UserError, match="has a number named 'doubt'"):
        choose(dataset, FORMS["pairs"], Choice(select="doubt"), KEY)


def test_gold_by_share_knows_the_datasets_own_verdict(tmp_path: Path) -> None:
    rows = [candidates(f"q{n}", "low", "high", scores=(0.1, 0.9)) for n in range(20)]
    dataset = open_dataset(write_dataset(tmp_path / "d", "candidates", rows))

    items = choose(dataset, FORMS["pairs"], Choice(gold="0.1"), KEY).items

    assert [one.gold for one in items if one.gold] == ["1", "1"]


def test_gold_of_another_dataset_is_hidden_among_the_others(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "d", "preference", pairs(30), task="support"))
    gold = write_dataset(tmp_path / "g", "preference", [pair("1+1?", "2", "3"), pair("2+2?", "4", "5")], task="gold")

    items = choose(dataset, FORMS["pairs"], Choice(gold=str(gold)), KEY).items

    places = [place for place, one in enumerate(items) if one.gold is not None]
    assert len(items) == 32 and len(places) == 2
    assert {one.task for one in items} == {"support"}
    assert places != [30, 31]


def test_repeats_show_the_answers_the_other_way_round(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "d", "preference", pairs(40)))

    items = choose(dataset, FORMS["pairs"], Choice(repeat=0.1), KEY).items

    first = {one.row_id: one for one in items if not one.repeat}
    repeats = [one for one in items if one.repeat]
    assert len(repeats) == 4
    assert all(one.shown == first[one.row_id].shown[::-1] and one.id != first[one.row_id].id for one in repeats)
    assert all(one.chars == first[one.row_id].chars[::-1] for one in repeats)


def test_ranking_asks_for_as_many_answers_as_most_rows_have(tmp_path: Path) -> None:
    rows = [candidates(f"q{n}", "a", "b", "c") for n in range(3)] + [candidates("x", "a", "b")]
    dataset = open_dataset(write_dataset(tmp_path / "d", "candidates", rows))

    chosen = choose(dataset, FORMS["ranking"], Choice(), KEY)

    assert chosen.k == 3
    assert [sorted(one.shown) for one in chosen.items] == [[0, 1, 2]] * 3
    assert chosen.left_out == {"too_few_answers": 1}


def test_a_form_that_does_not_fit_the_rows_is_a_mistake(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "d", "chat", [chat("q", "a")]))

    with pytest.raises(UserError, match="holds chat rows, and the form pairs is about preference or candidates"):
        choose(dataset, FORMS["pairs"], Choice(), KEY)


def test_what_a_row_says_is_found_only_while_it_says_it(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "d", "preference", pairs(3)))
    items = choose(dataset, FORMS["pairs"], Choice(), KEY).items
    changed = replace(items[0], row_hash="0" * 32)

    found = [one.id for one, _ in contents(dataset, [changed, *items[1:]])]

    assert found == [one.id for one in items[1:]]


def test_a_choice_means_an_answer_whatever_side_it_stood_on() -> None:
    turned = Asked("i", "r", "h", (1, 0), (3, 5), "s", "", 1)

    left = meaning(FORMS["pairs"], turned, {"better": "left", "margin": "2", "why": " ", "edited": "  better\n"})
    tie = meaning(FORMS["pairs"], turned, {"better": "tie"})

    assert left == {"better": "1", "margin": '"2"', "edited": '"better"'}
    assert tie == {"better": '"tie"'}


def test_a_ranking_means_places_in_the_row() -> None:
    asked = Asked("i", "r", "h", (2, 0, 1), (1, 1, 1), "s", "", 1)
    value = [{"value": "answer_1", "rank": 2}, {"value": "answer_2", "rank": 1}, {"value": "answer_3", "rank": 2}]

    assert meaning(FORMS["ranking"], asked, {"ranking": value}) == {"ranking": "[[0],[1,2]]"}


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("pairs", {"better": "neither"}),
        ("answers", {"accurate": 6}),
        ("answers", {"accurate": True}),
        ("accept", {"decision": "keep", "reasons": ["ugly"]}),
    ],
)
def test_a_value_that_the_form_does_not_know_is_refused(form: str, values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=list(values)[-1]):
        meaning(FORMS[form], Asked("i", "r", "h", (0, 1), (1, 1), "s", "", 1), values)


def test_an_edit_that_changes_nothing_is_none(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "chat", [chat("q", "line one\nline </script> two")])
    found, access = book_push(tmp_path / "home", dataset, "accept", "anna", overlap=1)
    (asked,) = Review(access.home, found["review"]).asked().values()

    same = meaning(FORMS["accept"], asked, {"decision": "keep", "edited": "line one \r\nline <\u2060/script> two\n"})
    other = meaning(FORMS["accept"], asked, {"decision": "fix", "edited": "line 1 <\u2060/script>"})

    assert same == {"decision": '"keep"'}
    assert other == {"decision": '"fix"', "edited": '"line 1 </script>"'}


def test_pushing_again_asks_nothing_again_and_more_rows_make_a_new_round(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(30))
    first, access = book_push(tmp_path / "home", dataset, "pairs", "anna", "bo", limit=10)

    second, _ = book_push(tmp_path / "home", dataset, "pairs", "anna", "bo", limit=10)
    third, _ = book_push(tmp_path / "home", dataset, "pairs", "anna", "bo", limit=15)

    assert (first["new"], second["new"], second["sent"], third["new"]) == (10, 0, 0, 5)
    rounds = [one.round for one in Review(access.home, first["review"]).asked().values()]
    assert rounds == [1] * 10 + [2] * 5


def test_a_review_keeps_its_form(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(3))
    book_push(tmp_path / "home", dataset, "pairs", "anna", "bo", name="r")

    with pytest.raises(UserError, match="was pushed with form pairs, and this is form answers"):
        book_push(tmp_path / "home", dataset, "answers", "anna", "bo", name="r")


def test_a_third_opinion_is_asked_once_until_it_is_answered(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(5))
    home = tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", "bo", name="r")
    review = Review(home, "r")
    one = next(iter(review.asked().values()))
    labelled(home, "r", tmp_path / "l", {(one.id, "anna"): {"better": "left"}, (one.id, "bo"): {"better": "right"}})
    only = tmp_path / "only.jsonl"
    only.write_bytes(orjson.dumps({"row_id": one.row_id, "answers": [0, 1]}) + b"\n")

    first, _ = book_push(home, dataset, "pairs", "cai", name="r", only=only)
    second, _ = book_push(home, dataset, "pairs", "cai", name="r", only=only)

    assert (first["new"], second["new"]) == (1, 0)
    again = [other for other in review.asked().values() if other.again]
    assert [(other.row_id, other.round, other.why) for other in again] == [(one.row_id, 2, "a third opinion")]
    assert review.assigned()[again[0].id] == ["cai"]


def test_a_file_of_rows_takes_plain_ids_and_names_the_line_it_cannot_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text('abc\n\n{"row_id": "def", "answers": [1, 0]}\n')
    bad.write_text('abc\n{"row": 1}\n')

    assert read_only(good) == {"abc": set(), "def": {(0, 1)}}
    with pytest.raises(UserError) as caught:
        read_only(bad)
    assert caught.value.line == 2


def test_rows_that_are_not_scrubbed_go_only_to_trusted_addresses(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(3), personal_data="present")
    key = tmp_path / "key"
    key.write_text("secret-canary")
    access = Access(tmp_path / "home", "https://argilla.example.com", key)

    with pytest.raises(UserError, match="may hold personal data and would be sent to https"):
        push(Push(dataset, "pairs", Choice()), access)

    assert not (tmp_path / "home" / "egress.jsonl").exists()
    assert not Review(tmp_path / "home", "d-pairs").exists


def test_the_homes_key_is_for_its_owner_and_stays(tmp_path: Path) -> None:
    key = key_of(tmp_path)

    assert key_of(tmp_path) == key
    assert len(key) == 64
    assert (tmp_path / "reviews" / "key").stat().st_mode & 0o777 == 0o600


def nothing_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a push were killed after it noted what it was going to send."""
    monkeypatch.setattr(Xlsx, "send", lambda self, records: iter(()))


def test_what_a_killed_push_left_is_sent_with_its_own_dataset_and_keeps_no_other_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, rows = tmp_path / "home", pairs(12)
    first = write_dataset(tmp_path / "first", "preference", rows[:5])
    second = write_dataset(tmp_path / "second", "preference", rows[5:])
    with monkeypatch.context() as cut_off:
        nothing_arrives(cut_off)
        book_push(home, first, "pairs", "anna", "bo", name="r")

    other, _ = book_push(home, second, "pairs", "anna", "bo", name="r")
    arrived = len(Review(home, "r").sent())
    rest, _ = book_push(home, first, "pairs", "anna", "bo", name="r")

    assert (other["new"], other["sent"], arrived) == (7, 7, 7)
    (finding,) = other["findings"]
    assert (finding["kind"], finding["count"]) == ("rows_elsewhere", 5)
    assert f"push {first} as it was" in finding["fix"]
    assert (rest["new"], rest["sent"], rest["findings"]) == (0, 5, [])
    assert Review(home, "r").sent() == Review(home, "r").asked().keys()


def test_rows_of_two_datasets_are_asked_once_more_each_with_its_own(tmp_path: Path) -> None:
    home, rows = tmp_path / "home", pairs(4)
    first = write_dataset(tmp_path / "first", "preference", rows[:2])
    second = write_dataset(tmp_path / "second", "preference", rows[2:])
    for dataset in (first, second):
        book_push(home, dataset, "pairs", "anna", "bo", name="r")
    only = tmp_path / "only"
    only.write_text("\n".join({one.row_id for one in Review(home, "r").asked().values()}))

    with_first, _ = book_push(home, first, "pairs", "cai", name="r", only=only)
    with_second, _ = book_push(home, second, "pairs", "cai", name="r", only=only)

    assert [(one["new"], one["sent"]) for one in (with_first, with_second)] == [(2, 2), (2, 2)]
    assert [[one["count"] for one in found["findings"]] for found in (with_first, with_second)] == [[2], []]
    assert f"push {second} as it was" in with_first["findings"][0]["fix"]


def test_a_dataset_that_was_made_anew_after_a_kill_is_asked_about_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, dataset = tmp_path / "home", write_dataset(tmp_path / "d", "preference", pairs(3))
    with monkeypatch.context() as cut_off:
        nothing_arrives(cut_off)
        book_push(home, dataset, "pairs", "anna", "bo", name="r")
    shutil.rmtree(dataset)
    write_dataset(dataset, "preference", [pair("q", "new", "newer")])

    found, _ = book_push(home, dataset, "pairs", "anna", "bo", name="r")

    assert (found["new"], found["sent"]) == (1, 1)
    assert [(one["kind"], one["count"]) for one in found["findings"]] == [("rows_elsewhere", 3)]


def test_gold_that_a_killed_push_left_comes_in_a_workbook_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, rows = tmp_path / "home", pairs(6)
    dataset = write_dataset(tmp_path / "d", "preference", rows[:4])
    gold = write_dataset(tmp_path / "gold", "preference", rows[4:])
    with monkeypatch.context() as cut_off:
        nothing_arrives(cut_off)
        book_push(home, dataset, "pairs", "anna", name="r", overlap=1, gold=str(gold))
    without, _ = book_push(home, dataset, "pairs", "anna", name="r", overlap=1)
    (book,) = (home / "reviews" / "r" / "workbooks").glob("*.xlsx")
    handed_out = book.read_bytes()

    with_gold, _ = book_push(home, dataset, "pairs", "anna", name="r", overlap=1, gold=str(gold))

    assert "give the same --gold as before" in without["findings"][0]["fix"]
    assert (without["sent"], with_gold["sent"]) == (4, 2)
    assert book.read_bytes() == handed_out


def test_a_third_opinion_that_nobody_is_left_for_is_not_noted_as_asked(tmp_path: Path) -> None:
    home, dataset = tmp_path / "home", write_dataset(tmp_path / "d", "preference", pairs(4))
    book_push(home, dataset, "pairs", "anna", "bo", name="r", limit=2)
    asked = Review(home, "r").asked()
    (tmp_path / "only").write_text(next(iter(asked.values())).row_id)

    with pytest.raises(UserError, match="everybody has seen a row that wants a third opinion"):
        book_push(home, dataset, "pairs", "anna", "bo", name="r", only=tmp_path / "only")

    assert Review(home, "r").asked() == asked
    more, _ = book_push(home, dataset, "pairs", "anna", "bo", name="r")
    assert (more["new"], more["sent"]) == (2, 2)


def test_a_source_that_two_datasets_tell_of_differently_is_a_mistake(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(3))
    gold = write_dataset(tmp_path / "gold", "preference", [pair("q", "a", "b")], personal_data="present")

    with pytest.raises(UserError, match="the source 'made' is none in one dataset and present in"):
        book_push(tmp_path / "home", dataset, "pairs", "anna", name="r", overlap=1, gold=str(gold))

    assert not Review(tmp_path / "home", "r").exists


def test_gold_rows_that_are_not_scrubbed_go_only_to_trusted_addresses(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(3))
    hidden = [pair("q", "a", "b")]
    gold = write_dataset(tmp_path / "gold", "preference", hidden, source="hidden", personal_data="present")
    (tmp_path / "key").write_text("secret-canary")
    access = Access(tmp_path / "home", "https://argilla.example.com", tmp_path / "key")

    with pytest.raises(UserError, match="may hold personal data and would be sent to https"):
        push(Push(dataset, "pairs", Choice(gold=str(gold))), access)


def test_who_is_refused_the_lock_leaves_the_folder_of_its_owner(tmp_path: Path) -> None:
    review = Review(tmp_path, "r")

    with review.lock():
        with pytest.raises(UserError, match="another command is working on the review r"), Review(tmp_path, "r").lock():
            pass
        there = review.folder.is_dir()

    assert there
    assert not review.folder.exists(), "a folder in which nothing was written"


@pytest.mark.parametrize("name", ["../r", "a/b", "", ".hidden"])
def test_a_name_that_is_no_folders_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be a review's name"):
        pull(name, tmp_path / "out", Access(tmp_path))
    with pytest.raises(UserError, match="cannot be a review's name"):
        status(name, Access(tmp_path))

    assert list(tmp_path.iterdir()) == []
