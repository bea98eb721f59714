"""Workbooks: blind, shuffled, harmless, and checked cell by cell when they come back."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from review.asked import Review
from review.backend import Access
from review.labels import pull, status
from review.votes import read_votes
from schemas.dataset import open_dataset, problems
from schemas.errors import UserErrors
from tests.review.made import asked_of, book_push, candidates, chat, pair, pairs, write_dataset


def books(home: Path, name: str = "r") -> list[Path]:
    return sorted((home / "reviews" / name / "workbooks").glob("*.xlsx"))


def fill(path: Path, change: Callable[[Any], None]) -> None:
    book = openpyxl.load_workbook(path)
    change(book["review"])
    book.save(path)


def answer_all(sheet: Any, first: int, *values: Any) -> None:
    for line in range(2, sheet.max_row + 1):
        for number, value in enumerate(values):
            sheet.cell(line, first + number).value = value


def test_a_round_trip_brings_every_answer_back_once(tmp_path: Path) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(12)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", "bo", "cai", name="r", repeat=0.25, lang="zh")
    for path in books(home):
        fill(path, lambda sheet: answer_all(sheet, 6, "A 更好", "明显更好", None, "改 =1+1"))

    found = pull("r", tmp_path / "labels", Access(home))
    again = pull("r", tmp_path / "labels", Access(home))

    votes = read_votes(tmp_path / "labels").votes
    assert (found["asked"], found["answers"], found["people"]) == (15, 30, 3)
    assert again["already"] and again["fingerprint"] == found["fingerprint"]
    assert Counter(vote.asked for vote in votes["better"]) == Counter({one.id: 2 for one in asked_of(home, "r")})
    assert all(vote.value == vote.shown[0] for vote in votes["better"])
    assert {vote.value for vote in votes["edited"]} == {"改 =1+1"}
    assert list(problems(tmp_path / "labels")) == []


def test_names_of_models_and_verdicts_are_not_in_the_workbook(tmp_path: Path) -> None:
    rows = [candidates(f"q{n}", f"one {n}", f"two {n}", scores=(0.123, 0.877)) for n in range(5)]
    dataset, home = write_dataset(tmp_path / "d", "candidates", rows), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", "bo", name="r", gold="0.2")

    with zipfile.ZipFile(books(home)[0]) as packed:
        held = b"".join(packed.read(name) for name in packed.namelist())

    assert b"model-" not in held and b"0.877" not in held and b"gold" not in held


def test_people_see_rows_in_orders_of_their_own(tmp_path: Path) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(30)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", "bo", name="r")

    orders = []
    for path in books(home):
        sheet = openpyxl.load_workbook(path)["review"]
        orders.append([str(sheet.cell(line, 2).value).partition(".")[0] for line in range(2, sheet.max_row + 1)])

    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_rows_are_shared_out_evenly_and_repeats_go_to_the_same_people(tmp_path: Path) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(31)), tmp_path / "home"
    book_push(home, dataset, "pairs", "a", "b", "c", "d", name="r", repeat=0.2)

    assigned = Review(home, "r").assigned()

    asked = asked_of(home, "r")
    first = {one.row_id: assigned[one.id] for one in asked if not one.repeat}
    load = Counter(person for people in first.values() for person in people)
    assert max(load.values()) - min(load.values()) <= 1
    assert all(sorted(assigned[one.id]) == sorted(first[one.row_id]) for one in asked if one.repeat)


def test_formulas_in_rows_stay_text(tmp_path: Path) -> None:
    evil = '=HYPERLINK("http://x","click")'
    rows = [pair("+1+1", evil, "@SUM(A1)\x07\u202e")]
    dataset, home = write_dataset(tmp_path / "d", "preference", rows), tmp_path / "home"

    book_push(home, dataset, "pairs", "anna", name="r", overlap=1)

    sheet = openpyxl.load_workbook(books(home)[0])["review"]
    cells = [sheet.cell(2, column) for column in (3, 4, 5)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert {cells[1].value, cells[2].value} == {evil, "@SUM(A1)\\u0007\\u202e"}
    assert all(cell.quotePrefix for cell in cells[1:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda sheet: setattr(sheet["F2"], "value", "lef"), "cell F2: 'lef' is no answer"),
        (lambda sheet: setattr(sheet["B3"], "value", "f" * 32 + ".12345678"), "cell B3: the id was changed"),
        (lambda sheet: setattr(sheet["B3"], "value", sheet["B2"].value), "cell B3: the same id as in B2"),
        (lambda sheet: setattr(sheet["F4"], "value", None), "cell F4: 'Which answer is better?' is not answered"),
        (lambda sheet: setattr(sheet["I2"], "value", "=1+1"), "cell I2: a formula is no answer"),
    ],
)
def test_what_was_changed_is_named_by_its_cell(tmp_path: Path, change: Callable[[Any], None], said: str) -> None:
    rows = [pair(f"q{n}", f"a{n}", f"b{n}") for n in range(4)]
    dataset, home = write_dataset(tmp_path / "d", "preference", rows), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", name="r", overlap=1)
    fill(books(home)[0], lambda sheet: answer_all(sheet, 6, "A is better", "Clearly"))
    fill(books(home)[0], change)

    with pytest.raises(UserErrors) as caught:
        pull("r", tmp_path / "labels", Access(home))

    assert caught.value.errors[0].message.partition(": ")[2].startswith(said)
    assert not (tmp_path / "labels").exists()
    assert Review(home, "r").answers() == {}


def test_every_mistake_in_every_workbook_is_reported_at_once(tmp_path: Path) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(4)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", "bo", name="r")
    for path in books(home):
        fill(path, lambda sheet: answer_all(sheet, 6, "perhaps"))
    (books(home)[0].parent / "broken.xlsx").write_bytes(b"not a workbook")

    with pytest.raises(UserErrors) as caught:
        pull("r", tmp_path / "labels", Access(home))

    assert len(caught.value.errors) == 9


def test_a_row_of_another_persons_workbook_is_refused(tmp_path: Path) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(3)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", "bo", name="r")
    anna, bo = books(home)
    taken = openpyxl.load_workbook(bo)["review"]["B2"].value
    fill(anna, lambda sheet: setattr(sheet["B2"], "value", taken))

    with pytest.raises(UserErrors, match="cell B2: the id was changed, or is from another workbook"):
        pull("r", tmp_path / "labels", Access(home))


def test_rows_may_be_sorted_and_left_unanswered(tmp_path: Path) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(6)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", name="r", overlap=1, lang="zh")

    def turn(sheet: Any) -> None:
        lines = [[cell.value for cell in line] for line in sheet.iter_rows(min_row=2)]
        for number, line in enumerate(reversed(lines)):
            for column, value in enumerate(line, start=1):
                sheet.cell(number + 2, column).value = value
        for number in range(2, 5):
            sheet.cell(number, 6).value = "B 更好"

    fill(books(home)[0], turn)

    found = status("r", Access(home))
    pulled = pull("r", tmp_path / "labels", Access(home))

    assert (found["answered"], found["answers"], found["people"]) == (3, 3, {"anna": 3})
    assert pulled["answers"] == 3


def test_every_form_goes_out_and_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    several = write_dataset(tmp_path / "c", "candidates", [candidates("q", "x", "y", "z")])
    chats = write_dataset(tmp_path / "d", "chat", [chat("你好，我要退款", "好的，请提供订单号")])
    expected = {
        "ranking": (several, 7, [2, "1", 3], {"ranking"}),
        "answers": (
            chats,
            5,
            [5, 4, "3", 2, 1, "改好的回答"],
            {"accurate", "relevant", "safe", "complete", "tone", "edited"},
        ),
        "accept": (chats, 4, ["修改后保留", "是", None, "是"], {"decision", "reasons"}),
        "labels": (chats, 4, ["需要", "退换或退款", "着急"], {"needs_human", "intent", "emotion"}),
    }

    for form, (dataset, first, values, _) in expected.items():
        book_push(home, dataset, form, "anna", name=form, overlap=1, lang="zh")
        fill(books(home, form)[0], lambda sheet, first=first, values=values: answer_all(sheet, first, *values))  # type: ignore[misc]
        pull(form, tmp_path / form, Access(home))

    for form, (_, _, _, questions) in expected.items():
        votes = read_votes(tmp_path / form).votes
        assert votes.keys() == questions
    assert read_votes(tmp_path / "accept").votes["reasons"][0].value == ["off_topic", "wrong"]
    (asked,) = asked_of(home, "ranking")
    assert read_votes(tmp_path / "ranking").votes["ranking"][0].value == [
        [asked.shown[1]],
        [asked.shown[0]],
        [asked.shown[2]],
    ]
    assert open_dataset(tmp_path / "labels").manifest.recipe["lang"] == "zh"


def test_a_workbook_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("review.backends.xlsx.MOST_UNPACKED", 4 << 20)
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(2)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", name="r", overlap=1)
    bomb = books(home)[0].parent / "bomb.xlsx"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("xl/big.xml", "w") as file:
        for _ in range(5):
            file.write(bytes(1 << 20))

    with pytest.raises(UserErrors, match="too large for a workbook"):
        pull("r", tmp_path / "labels", Access(home))


def test_unscrubbed_rows_in_workbooks_are_warned_about(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", "preference", pairs(2), personal_data="unknown")

    found, _ = book_push(tmp_path / "home", dataset, "pairs", "anna", "bo", name="r")

    assert [one["kind"] for one in found["findings"]] == ["not_scrubbed"]


def saved_at(path: Path, moment: str | None) -> None:
    """Make a workbook say when it was saved last, or say nothing about it."""
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    core = parts.pop("docProps/core.xml")
    if moment is not None:
        parts["docProps/core.xml"] = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + moment.encode(), core)
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in parts.items():
            packed.writestr(name, data)


def handed_in(book: Path, folder: Path, *answers: Any) -> Path:
    """A copy of a workbook in a folder of its own, with the same answer in every row."""
    folder.mkdir()
    copy = folder / book.name
    shutil.copy(book, copy)
    fill(copy, lambda sheet: answer_all(sheet, 6, *answers))
    return copy


def verdicts(folder: Path) -> list[Any]:
    return [vote.value == vote.shown[0] for vote in read_votes(folder).votes["better"]]


@pytest.mark.parametrize("by", ["the workbook's property", "the file's date"])
def test_an_older_workbook_does_not_take_the_place_of_a_newer_one(tmp_path: Path, by: str) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(3)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", name="r", overlap=1)
    (book,) = books(home)
    for week, answer in ((1, "A is better"), (2, "B is better")):
        copy = handed_in(book, tmp_path / f"week{week}", answer)
        moment = datetime(2025, 3, 3 + 7 * week, 18, tzinfo=UTC)
        if by == "the file's date":
            saved_at(copy, None)
            os.utime(copy, (moment.timestamp(), moment.timestamp()))
        else:
            saved_at(copy, moment.strftime("%Y-%m-%dT%H:%M:%SZ"))

    newer = pull("r", tmp_path / "labels", Access(home, folder=tmp_path / "week2"))
    older = pull("r", tmp_path / "labels", Access(home, folder=tmp_path / "week1"))

    assert (newer["changed"], newer["older"]) == (0, 0)
    assert (older["changed"], older["older"], older["already"]) == (0, 3, True)
    assert verdicts(tmp_path / "labels") == [False] * 3


def test_a_newer_workbook_changes_answers_and_says_how_many(tmp_path: Path) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(3)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", name="r", overlap=1)
    (book,) = books(home)
    saved_at(handed_in(book, tmp_path / "week1", "A is better"), "2025-03-10T18:00:00Z")
    changed = handed_in(book, tmp_path / "week2", "A is better")
    fill(changed, lambda sheet: setattr(sheet["F3"], "value", "B is better"))
    saved_at(changed, "2025-03-10T18:10:00Z")

    pull("r", tmp_path / "labels", Access(home, folder=tmp_path / "week1"))
    found = pull("r", tmp_path / "labels", Access(home, folder=tmp_path / "week2"))

    assert (found["changed"], found["older"], found["answers"]) == (1, 0, 3)
    assert sorted(verdicts(tmp_path / "labels")) == [False, True, True]
    assert {vote.seconds for vote in read_votes(tmp_path / "labels").votes["better"]} == {None}


def test_a_workbook_that_was_only_saved_again_gives_the_same_labels(tmp_path: Path) -> None:
    dataset, home = write_dataset(tmp_path / "d", "preference", pairs(2)), tmp_path / "home"
    book_push(home, dataset, "pairs", "anna", name="r", overlap=1)
    fill(books(home)[0], lambda sheet: answer_all(sheet, 6, "A is better"))
    pull("r", tmp_path / "labels", Access(home))
    saved_at(books(home)[0], "2099-01-01T00:00:00Z")

    again = pull("r", tmp_path / "labels", Access(home))

    assert (again["already"], again["changed"], again["older"]) == (True, 0, 0)
