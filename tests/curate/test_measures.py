"""Every measure gives what its examples say, however rows are cut; and measures in filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.marks import Step, mark, with_fields
from curate.measure import MEASURES, Given, Measure, measured
from curate.recipe import one_stage
from curate.stages.where import Where
from schemas.errors import UserError
from schemas.lookup import names
from tests.curate.test_stages import chats, frame_of, kind_of

NAMES = names(MEASURES)


def measure_named(name: str) -> Measure:
    found = measured(name)
    assert found is not None
    return found.measure


def values(name: str, frame: pl.DataFrame, kind: str) -> pl.Series:
    found = measured(name)
    assert found is not None
    return with_fields(frame, kind, [found.value]).lazy().select(value=found.value).collect()["value"]


def by_kind(examples: Any) -> dict[str, list[Given]]:
    groups: dict[str, list[Given]] = {}
    for example in examples:
        groups.setdefault(kind_of(example.row), []).append(example)
    return groups


@pytest.mark.parametrize("name", NAMES)
def test_a_measure_gives_what_its_examples_say(name: str) -> None:
    for kind, examples in by_kind(measure_named(name).examples).items():
        given = values(name, frame_of([example.row for example in examples]), kind).to_list()

        for example, value in zip(examples, given, strict=True):
            wanted = example.value if example.value is None else pytest.approx(example.value, rel=1e-6)
            assert value == wanted, example.row


@pytest.mark.parametrize("name", NAMES)
def test_a_measure_has_its_type_its_unit_and_examples_in_both_languages(name: str) -> None:
    measure = measure_named(name)
    texts = " ".join(str(text) for example in measure.examples for text in example.row.values())

    given = values(name, chats(("hi", "there")), "chat").dtype

    assert given == pl.Boolean if measure.type == "true/false" else given in (pl.Int64, pl.Float64)
    assert bool(measure.unit) == (measure.type == "numbers")
    assert measure.description().endswith(".")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in texts)
    assert any("a" <= letter <= "z" for letter in texts)


@pytest.mark.parametrize("name", NAMES)
def test_a_measure_looks_at_one_row_at_a_time(name: str) -> None:
    examples = max(by_kind(measure_named(name).examples).values(), key=len)
    frame, kind = frame_of([example.row for example in examples]), kind_of(examples[0].row)

    whole = values(name, frame, kind).to_list()
    single = [values(name, frame[place : place + 1], kind)[0] for place in range(frame.height)]

    assert single == whole
    assert values(name, frame[::-1], kind).to_list() == whole[::-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_measure_takes_rows_that_have_no_such_text(name: str) -> None:
    frame = chats(("hi", ""), ("", "there")).with_columns(messages=pl.col("messages").list.head(0))

    assert values(name, frame, "chat").len() == 2


def test_a_filter_compares_a_measure_of_any_field() -> None:
    frame = chats(("hi", "a long answer"), ("a long question", "ok"))

    kept = mark(frame, "chat", [Step("where", Where(column="chars(instruction)", op=">", value=5))]).kept

    assert kept["id"].to_list() == [frame["id"][1]]


def test_a_measure_of_the_user_is_named_by_its_file_and_counts_by_its_text(tmp_path: Path) -> None:
    mine = tmp_path / "vowels.py"
    code = """
import polars as pl
from curate.measure import Measure
class Vowels(Measure):
    "Vowels."
    type = "numbers"
    unit = "vowels"
    def value(self, field):
        return self.text(field).str.count_matches("[aeiou]").cast(pl.Int64)
"""
    mine.write_text(code)
    where = Where(column=str(mine), op=">=", value=2)
    frame = chats(("q", "aei"), ("q", "xyz"))

    kept = mark(frame, "chat", [Step("where", where)]).kept
    before = where.relies_on()
    mine.write_text(code + "# changed")

    assert kept["id"].to_list() == [frame["id"][0]]
    assert where.relies_on() != before


def test_the_version_of_a_measure_enters_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = one_stage("where", {"column": "chars", "op": ">", "value": 3}, "test")
    before = recipe.identity()
    monkeypatch.setattr("curate.measures.chars.Chars.version", 2)

    after = recipe.identity()

    assert before != after


@pytest.mark.parametrize(
    ("column", "said"),
    [("char", "did you mean 'chars'"), ("chars(anwser)", "did you mean 'answer'"), ("chars(", "no column or measure")],
)
def test_a_measure_that_does_not_exist_is_told_with_the_nearest(column: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Where(column=column, op=">", value=1)


def test_a_file_that_holds_no_measure_is_told(tmp_path: Path) -> None:
    (tmp_path / "none.py").write_text("x = 1")

    with pytest.raises(UserError, match="exactly one public Measure"):
        measured(str(tmp_path / "none.py"))
