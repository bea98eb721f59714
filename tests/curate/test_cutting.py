"""Cutting pieces out of texts leaves the rest as somebody would have written it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from curate.cutting import CUTS, cut_out, cut_parts, pieces, without
from schemas.chat import FIELDS, TURN_SEPARATOR
from schemas.chat import field as field_expression
from schemas.rows import columns, content_columns, content_digest
from tests.curate.test_stages import frame_of


def cut(text: str, *parts: str) -> str:
    spans = []
    for part in parts:
        begin = len(text[: text.index(part)].encode())
        spans.append((begin, begin + len(part.encode())))
    return without(text, spans)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SIG", ""),
        ("One. SIG", "One."),
        ("One.\n\nSIG\n", "One."),
        ("SIG\n\nOne.", "One."),
        ("One. SIG Two.", "One. Two."),
        ("One.\nSIG\nTwo.", "One.\nTwo."),
        ("One.\n\nSIG\n\nTwo.", "One.\n\nTwo."),
        ("One.\n\nSIG\nTwo.", "One.\n\nTwo."),
        ("One.\nSIG Two.", "One.\nTwo."),
        ("One. SIG\nTwo.", "One.\nTwo."),
        ("一。SIG二。", "一。二。"),
        ("一。 SIG二。", "一。 二。"),
        ("SIG\n    x = 1", "    x = 1"),
        ("def f():\n    SIG\n    return 1", "def f():\n    return 1"),
        ("def f():\n    SIG\n\nx", "def f():\n\nx"),
        ("def f():\n    SIG x", "def f():\n    x"),
        ("One.\r\nSIG\r\nTwo.", "One.\r\nTwo."),
    ],
)
def test_white_space_around_a_cut_is_mended(text: str, left: str) -> None:
    assert cut(text, "SIG") == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A SIG1 SIG2 B", "A B"),
        ("A\nSIG1\nSIG2\nB", "A\nB"),
        ("SIG1 A SIG2", "A"),
        ("SIG1\n\nSIG2", ""),
        ("ASIG1SIG2B", "AB"),
    ],
)
def test_several_cuts_are_mended_as_one(text: str, left: str) -> None:
    assert cut(text, "SIG1", "SIG2") == left


def test_nothing_is_cut_where_there_is_nothing_to_cut() -> None:
    assert without(" A \n", []) == " A \n"


def test_many_cuts_take_time_in_proportion() -> None:
    text = "keep cut " * 100_000

    left = without(text, [(place * 9 + 5, place * 9 + 8) for place in range(100_000)])

    assert left == " ".join(["keep"] * 100_000)


ROWS: dict[str, list[dict[str, Any]]] = {
    "chat": [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "茶？"},
                {"role": "assistant", "content": "好。"},
                {"role": "tool", "content": None},
                {"role": "user", "content": "Tea?\nPot?"},
                {"role": "assistant", "content": "Yes.\n\nIndeed.", "reasoning": "hm"},
            ]
        },
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": ""}]},
    ],
    "preference": [
        {
            "prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "chosen": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}],
            "rejected": "e",
        }
    ],
    "text": [{"text": "One text.\nTwo lines."}],
}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("name", FIELDS)
def test_pieces_joined_are_the_field(kind: str, name: str) -> None:
    for given in ROWS[kind]:
        frame = frame_of([given])
        text = frame.select(field_expression(kind, name)).to_series()[0]

        found = pieces(kind, name, frame.row(0, named=True))

        assert TURN_SEPARATOR.join(holder[key] for holder, key in found) == (text or "")


def test_pieces_of_candidates_joined_are_the_field() -> None:
    turn = {"name": None, "tool_calls": None, "tool_call_id": None, "reasoning": None, "weight": None}
    said = [[turn | {"role": "assistant", "content": text}] for text in ("one", "two")]
    row = dict.fromkeys(columns("candidates")) | {
        "prompt": [turn | {"role": "user", "content": "which?"}],
        "answers": [{"messages": one, "teacher": None, "rank": None, "score": None} for one in said],
    }
    frame = pl.DataFrame([row], schema=columns("candidates"))

    for name in FIELDS:
        found = TURN_SEPARATOR.join(holder[key] for holder, key in pieces("candidates", name, row))
        assert found == (frame.select(field_expression("candidates", name)).to_series()[0] or "")


def cut_rows(frame: pl.DataFrame, kind: str, *cuts: tuple[int, str, int, int]) -> tuple[pl.DataFrame, int]:
    numbered = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("ordinal"))
    return cut_out(numbered, kind, pl.DataFrame(list(cuts), schema=CUTS, orient="row"))


def test_a_cut_row_keeps_its_id_and_place_and_gets_another_content_hash() -> None:
    frame = frame_of([{"instruction": "q", "answer": text} for text in ("One. Two.", "Three.", "Four. Five.")])

    after, changed = cut_rows(frame, "chat", (2, "answer", 5, 11), (0, "answer", 0, 4))

    assert changed == 2
    assert after["id"].to_list() == frame["id"].to_list()
    assert [row[1]["content"] for row in after["messages"].to_list()] == ["Two.", "Three.", "Four."]
    rows = after.select(content_columns("chat")).iter_rows(named=True)
    assert after["content_hash"].to_list() == [content_digest(row).hex() for row in rows]
    assert after["content_hash"][1] == frame["content_hash"][1]
    assert after.drop("ordinal").schema == frame.schema


def test_a_cut_reaches_several_turns_and_leaves_none_empty() -> None:
    turns = [{"role": "user", "content": "Hi. SIG"}, {"role": "assistant", "content": "SIG"}]
    frame = frame_of([{"messages": turns}])

    after, changed = cut_rows(frame, "chat", (0, "conversation", 4, 11))

    assert changed == 1
    assert [turn["content"] for turn in after["messages"][0].to_list()] == ["Hi.", "SIG"]


def test_both_answers_of_a_pair_can_be_cut() -> None:
    frame = frame_of([{"prompt": "q", "chosen": "One. SIG", "rejected": "Two. SIG"}])

    after, _ = cut_rows(frame, "preference", (0, "chosen", 5, 8), (0, "rejected", 5, 8))

    assert [after[name][0][0]["content"] for name in ("chosen", "rejected")] == ["One.", "Two."]


def test_what_was_cut_is_told_from_the_rows() -> None:
    before = {"text": "One. Two is here.\nThree! 四。五。"}
    after = {"text": "One.\nThree! 五。"}

    assert cut_parts(before, after, "text") == ["Two is here.", "四。"]


def test_telling_what_was_cut_out_of_a_long_text_does_not_take_long() -> None:
    line = "The same again.\n"
    before, after = {"text": line * 200_000 + "x"}, {"text": "y\n" + line * 100_000}

    assert len(cut_parts(before, after, "text")) == 1
