"""Repeated passages are found, cut out and dropped as the definition says, and users are told what and where."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.cutting import without
from curate.importing import import_files
from curate.lineage import trace
from curate.marks import summarise
from curate.read import Reading
from curate.recipe import load_recipe
from curate.running import run_recipe
from curate.stage import Choice
from curate.stages.repeated_passages import RepeatedPassages
from schemas.dataset import Dataset, open_dataset
from tests.curate import plain_passages as plain
from tests.curate.kernels.test_passages import BLOCKS, PIECES
from tests.curate.test_stages import chats, frame_of, same_whatever_the_cuts
from tests.helpers import curate_json, write_rows

BYE = "祝您生活愉快！客服小王"
NOTICE = (
    "This message is confidential and meant for the person it is addressed to alone. If you received it by mistake, "
    "please tell the sender, delete it with everything attached to it, and do not copy, keep or pass on any part of it "
    "in any form, since that may be against the law of the land."
)


def answers(*texts: str) -> pl.DataFrame:
    return chats(*((f"Question {place}?", text) for place, text in enumerate(texts)))


def outcome(frame: pl.DataFrame, **given: Any) -> list[str]:
    """The answer of each row after the stage, or the reason for which it was dropped."""
    marked = same_whatever_the_cuts("chat", frame, RepeatedPassages(**given))
    found = {row["id"]: row["messages"][-1]["content"] for row in marked.kept.iter_rows(named=True)}
    found |= {row["id"]: f"<{row['reason']}>" for gone in marked.dropped for row in gone.iter_rows(named=True)}
    return [found[one] for one in frame["id"]]


def chosen(frame: pl.DataFrame, stage: RepeatedPassages) -> Choice:
    def fetch(ordinals: Sequence[int], names: Sequence[str]) -> pl.DataFrame:
        texts = [frame["messages"][one][-1]["content"] for one in ordinals]
        return pl.DataFrame({"ordinal": ordinals, names[0]: texts}, schema={"ordinal": pl.Int64, names[0]: pl.String})

    return stage.choose(summarise(frame, "chat", stage, 0), fetch)


def passages(frame: pl.DataFrame, **given: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chosen(frame, RepeatedPassages(**given)).report["passages:answer"]["passages"]
    return found


# --- By the definition -----------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"span_tokens": 8, "min_tokens": 3, "min_rows": 2}


def plainly_cut(rows: Sequence[str]) -> list[str]:
    """What is left of each row, by the plain reading of the definition."""
    texts = list(dict.fromkeys(rows))
    shared = plain.shared([plain.windows(text, 8, 3) for text in texts], 2)
    shared |= plain.shared([plain.units(text, 3) for text in texts], 2)
    left = {}
    for number, text in enumerate(texts):
        covered = plain.covered(text, [(begin, end) for one, begin, end, _ in shared if one == number])
        at, words = 0, 0
        spans: list[tuple[int, int]] = []
        runs: list[list[plain.Piece]] = [[]]
        for part in plain.sentences(plain.tokens_of(text)):
            if all(at + place in covered for place in range(len(part))):
                runs[-1].append(plain.Piece(tuple(part)))
            else:
                runs.append([])
            at += len(part)
        for run_ in runs:
            worded = [piece for piece in run_ if piece.words]
            words += sum(piece.words for piece in worded)
            spans += [(worded[0].place[0], worded[-1].place[1])] if worded else []
        only = words and words == plain.Piece(tuple(plain.tokens_of(text))).words
        made = without(text, spans)
        left[text] = "<nothing_else>" if only else made if made.strip() else text
    return [left[row] for row in rows]


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.sampled_from([*PIECES, *BLOCKS, *BLOCKS]), min_size=1, max_size=10).map("".join),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_cut_is_what_the_definition_says(rows: list[str]) -> None:
    assert outcome(answers(*rows), action="cut", **SMALL) == plainly_cut(rows)


# --- Users' cases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", ["", "\n", "\n\n", "  "])
def test_a_signature_is_cut_wherever_it_stands(between: str) -> None:
    texts = [f"第{place}条：明天上午发货。" for place in range(10)]

    assert outcome(answers(*(text + between + BYE for text in texts)), action="cut") == texts


def test_a_notice_is_cut_from_the_middle_of_other_text() -> None:
    rows = [f"Order {place} left today.\n\n{NOTICE}\n\nKind regards, {place}" for place in range(10)]

    left = outcome(answers(*rows), action="cut")

    assert left == [f"Order {place} left today.\n\nKind regards, {place}" for place in range(10)]


def test_a_long_run_counts_though_its_lines_are_broken_elsewhere() -> None:
    words = NOTICE.split()
    rows = [
        f"Row {place} says: "
        + "".join(f"{word}{' ' if at % (place + 7) else chr(10)}" for at, word in enumerate(words))
        for place in range(10)
    ]

    found = passages(answers(*rows))

    assert [(one["rows"], "This message" in one["excerpt"].replace("⏎", " ")) for one in found] == [(10, True)]


def test_nine_rows_are_too_few() -> None:
    assert passages(answers(*(f"Row {place}.\n{BYE}" for place in range(9)))) == []


def test_a_share_of_the_rows_can_be_asked_for_besides() -> None:
    rows = [f"Row {place}.\n{BYE if place < 10 else ''}" for place in range(100)]

    assert passages(answers(*rows), min_share=0.1)
    assert not passages(answers(*rows), min_share=0.11)


def test_the_same_answer_again_and_again_is_no_passage() -> None:
    assert passages(answers(*[f"Yes, of course, in every one of our shops. {BYE}"] * 50)) == []


def test_rows_that_are_the_same_are_cut_alike_and_counted_as_rows() -> None:
    rows = [f"第{place // 3}条：明天上午发货。{BYE}" for place in range(30)]

    found = passages(answers(*rows))

    assert [one["rows"] for one in found] == [30]
    assert outcome(answers(*rows), action="cut") == [row.removesuffix(BYE) for row in rows]


def test_one_row_that_repeats_itself_is_no_passage() -> None:
    rows = [f"{NOTICE} " * 500, *(f"Row {place} says something of its own." for place in range(20))]

    assert passages(answers(*rows), min_rows=2) == []


def test_what_leads_to_a_list_stays() -> None:
    rows = [f"Here are some of the best tips for you:\n- tip {place}" for place in range(12)]

    assert passages(answers(*rows)) == []


def test_numbers_before_a_line_do_not_make_it_one_of_its_own() -> None:
    rows = [f"{place}. Boil the water first." for place in range(12)]

    assert passages(answers(*rows)) == []


def test_code_is_left_alone_unless_it_is_asked_for() -> None:
    rows = [
        f"Program {place}:\n```python\nfrom os import path, sep, pathsep\nprint({place})\n```" for place in range(10)
    ]

    assert not passages(answers(*rows))
    assert [one["rows"] for one in passages(answers(*rows), code=True)] == [10]


def test_table_rules_and_rulers_are_no_passages() -> None:
    rows = [f"| {place} | b |\n|{'-' * 40}|{'-' * 40}|\n{'=' * 80}" for place in range(20)]

    assert passages(answers(*rows)) == []


def test_rows_that_are_mostly_passages_are_dropped_and_say_so() -> None:
    rows = [f"Row {place}.\n{NOTICE}" for place in range(10)] + [NOTICE + " However: " + "new words here. " * 30]

    marked = same_whatever_the_cuts("chat", answers(*rows), RepeatedPassages(action="drop"))

    assert marked.reasons == {("stage", "repeated_passages"): 10}
    assert marked.dropped[0]["because"][0].startswith("98%: “This message is confidential")
    assert marked.kept.height == 1


def test_a_licence_is_found_in_source_files() -> None:
    licence = "# " + NOTICE.replace(", ", ",\n# ")
    frame = frame_of([{"text": f"# Copyright 20{place} Foo\n{licence}\n\nx = {place}\n"} for place in range(10, 22)])

    marked = same_whatever_the_cuts("text", frame, RepeatedPassages(field="text", action="cut"))

    assert marked.kept["text"].to_list() == [f"# Copyright 20{place} Foo\n\nx = {place}\n" for place in range(10, 22)]


def test_marks_that_close_what_is_around_a_passage_stay() -> None:
    notice = " * " + NOTICE.replace(". ", ".\n * ")
    rows = [f"/*\n * File {place}.\n{notice}\n */\nint x{place};" for place in range(10)]

    left = outcome(answers(*rows), action="cut")

    assert left == [f"/*\n * File {place}.\n */\nint x{place};" for place in range(10)]


def test_both_sides_of_a_pair_are_cut_by_two_steps() -> None:
    frame = frame_of(
        [{"prompt": f"问{n}", "chosen": f"好的第{n}个。{BYE}", "rejected": f"不行第{n}个。{BYE}"} for n in range(10)]
    )

    for name in ("chosen", "rejected"):
        frame = same_whatever_the_cuts("preference", frame, RepeatedPassages(field=name, action="cut")).kept

    assert {BYE in json.dumps(row, ensure_ascii=False) for row in frame.to_dicts()} == {False}


def test_the_longer_of_two_passages_within_each_other_is_shown_first_and_once() -> None:
    rows = [f"Row {place} begins.\n{NOTICE}\n{BYE}" for place in range(20)]

    found = passages(answers(*rows))

    assert len(found) == 1
    assert found[0]["letters"] > 200


def test_what_is_shown_is_masked_and_says_the_sources() -> None:
    rows = [
        {"instruction": "q", "answer": f"Row {n}.\nWrite to jane.doe@example.com, please do.", "source": "ab"[n % 2]}
        for n in range(20)
    ]
    choice = chosen(frame_of(rows), RepeatedPassages())

    shown = choice.report["passages:answer"]["passages"][0]
    assert (shown["rows"], shown["sources"]) == (20, [["a", 10], ["b", 10]])
    assert "jane.doe" not in json.dumps([choice.report, *choice.findings])
    assert [(one["kind"], one["count"]) for one in choice.findings] == [("repeated_passages", 20)]


@pytest.mark.parametrize("wrong", [{"min_rows": 1}, {"span_tokens": 4}, {"field": "title"}, {"action": "mark"}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RepeatedPassages(**wrong)


def test_hostile_rows_stop_nothing() -> None:
    rows = [
        "",
        "\n" * 1_000,
        "。" * 5_000,
        "```" * 1_000,
        "a" * 100_000,
        "\u200b\ufeff\x00",
        "1. " * 2_000,
        "啊" * 3_000,
    ]

    left = outcome(answers(*rows, *rows), action="cut", **SMALL)

    assert Counter(left) == Counter(rows + rows)


# --- A run -----------------------------------------------------------------------------------------------


def run(folder: Path, rows: Sequence[Any], *stages: Any) -> Dataset:
    write_rows(folder / "rows.jsonl", list(rows))
    import_files([folder / "rows.jsonl"], folder / "rows", Reading(), {"kind": "collect"})
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"inputs": [str(folder / "rows")], "stages": list(stages)}))
    return run_recipe(load_recipe(str(recipe)), folder / "out").datasets[0]


SUPPORT = [
    *({"instruction": f"问题{place}", "output": f"第{place}条：明天上午发货。\n\n{BYE}"} for place in range(12)),
    {"instruction": "谢谢", "output": BYE},
    {"instruction": "有停车位吗？", "output": "门口有六个停车位。"},
]
CUT = {"use": "repeated_passages", "action": "cut"}


def test_a_run_that_cuts_balances_verifies_and_says_what_it_did(tmp_path: Path) -> None:
    made = run(tmp_path, SUPPORT, CUT, "length")

    step = made.manifest.steps[0]
    assert (step.rows_in, step.edited, step.dropped) == (14, 12, {"nothing_else": 1})
    assert made.rows == 13 - made.manifest.steps[1].dropped.get("too_short", 0)
    assert curate_json("verify", made.folder)["ok"]
    before = pl.concat(open_dataset(tmp_path / "rows").batches())
    after = pl.concat(made.batches()).join(before, on="id", suffix="_before")
    assert after.height == made.rows
    changed = after["content_hash"] != after["content_hash_before"]
    assert changed.sum() == sum("条" in text[1]["content"] for text in after["messages"].to_list())
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    assert "重复的段落" in page
    assert BYE in page


def test_why_says_what_was_cut_out_of_a_row(tmp_path: Path) -> None:
    made = run(tmp_path, SUPPORT, CUT, "empty")

    cut, kept = (trace(made.folder, f"rows.jsonl:{line}")["way"][-2] for line in (3, 14))

    assert cut["verdict"] == "rewritten"
    assert BYE in cut["because"]
    assert kept["verdict"] == "kept"


def test_why_does_not_guess_where_a_later_step_rewrote_the_row(tmp_path: Path) -> None:
    made = run(tmp_path, SUPPORT, CUT, "detect_language")

    way = trace(made.folder, "rows.jsonl:3")["way"]

    assert "cannot be told" in way[-2]["verdict"]


def test_two_steps_in_one_recipe_are_told_apart_in_the_report(tmp_path: Path) -> None:
    rows = [{"instruction": f"请教一下各位老师 {n}", "output": f"第{n}条。\n{BYE}"} for n in range(12)]

    made = run(
        tmp_path, rows, "repeated_passages", {"use": "repeated_passages", "name": "asked", "field": "instruction"}
    )

    report = json.loads((made.folder / "report.json").read_text())
    assert {"passages:answer", "passages:instruction"} <= set(report)
