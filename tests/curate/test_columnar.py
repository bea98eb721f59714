"""Blocks of plain lines are read by whole columns, and give just what they give line by line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.columnar import Layout
from curate.files import InputFile
from curate.read import Reading, read_files
from schemas.dataset import Reject

BLOCK_BYTES = 256
"""Blocks so small that a short file has several: a file's first block is always read line by line."""


def pieces(
    data: bytes, *, by_columns: bool, task: str | None = None
) -> tuple[dict[str, pl.DataFrame], list[Reject], int]:
    """Frames by kind, refusals, and how many rows were read by whole columns."""
    frames: dict[str, list[pl.DataFrame]] = {}
    rejects: list[Reject] = []
    whole = 0
    real = Layout.frame

    def counted(layout: Layout, *arguments: Any) -> pl.DataFrame | None:
        nonlocal whole
        frame = real(layout, *arguments) if by_columns else None
        whole += frame.height if frame is not None else 0
        return frame

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(data)
        with patch("curate.files.CHUNK_BYTES", BLOCK_BYTES), patch.object(Layout, "frame", counted):
            for piece in read_files([InputFile(path, "rows.jsonl", "rows")], Reading(task=task)):
                rejects += piece.rejects
                if piece.frame is not None and piece.kind is not None:
                    frames.setdefault(piece.kind, []).append(piece.frame)
    return {kind: pl.concat(found) for kind, found in frames.items()}, rejects, whole


def assert_both_ways_agree(data: bytes, task: str | None = None) -> int:
    frames, rejects, whole = pieces(data, by_columns=True, task=task)
    expected, refused, none = pieces(data, by_columns=False, task=task)
    assert none == 0
    assert rejects == refused
    assert frames.keys() == expected.keys()
    for kind, frame in frames.items():
        assert frame.equals(expected[kind])
    return whole


# --- Files ------------------------------------------------------------------------------------------------------------

texts = st.text(max_size=10) | st.sampled_from(
    [
        '"',
        "\\",
        '":',
        '",',
        '","',
        ',"',
        'a",',
        "a\\",
        '\\":',
        "}\n{",
        "a:b",
        ' "x" : 1',
        "\u0000",
        "\u2028",
        "😀",
        "é",
        "\ud7ff",
        "\ufeff",
        "",
        "[]",
        "NaN",
    ]
)
plain_values: st.SearchStrategy[Any] = texts | st.none() | st.booleans() | st.integers() | st.floats()
odd_values = plain_values | st.lists(texts, max_size=2) | st.dictionaries(texts, texts, max_size=2)


def turns(speaker: str, said: str) -> st.SearchStrategy[list[Any]]:
    role = st.sampled_from(["user", "assistant", "human", "gpt", "system"])
    return st.lists(st.fixed_dictionaries({speaker: role, said: texts}), min_size=1, max_size=3)


SHAPES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "alpaca": {"instruction": texts, "input": texts | st.none(), "output": texts},
    "alpaca_own": {
        "id": texts,
        "question": texts,
        "answer": texts,
        "task": texts,
        "lang": st.just("zh"),
        "n": st.integers(-(1 << 63), (1 << 64) - 1),
        "ok": st.booleans(),
        "_import": texts,
    },
    "alpaca_twice": {"question": texts, "input": texts | st.none(), "context": texts | st.none(), "answer": texts},
    "alpaca_label": {"question": texts, "answer": texts, "system": st.just(""), "label": texts | st.just("true")},
    "alpaca_backslash": {"instruction": texts, "output": texts, "odd\\": texts, 'odd"': texts},
    "alpaca_plain": {"instruction": texts, "input": texts, "output": texts, "n": st.integers(), "ok": st.booleans()},
    "prompt_completion": {"prompt": texts, "completion": texts, "note": texts},
    "text": {"text": texts},
    "text_more": {"id": texts, "text": texts, "url": texts, "n": st.integers(0, 9), "split": st.just("train")},
    "text_titled": {"title": texts, "text": texts},
    "prompt_completion_label": {
        "prompt": texts,
        "completion": texts,
        "label": st.sampled_from(["true", "good", "false"]),
    },
    "prompt_and_answers": {"prompt": texts, "completion": texts, "chosen": texts | st.booleans(), "rejected": texts},
    "sharegpt": {"conversations": turns("from", "value"), "id": texts},
    "messages": {"messages": turns("role", "content"), "note": texts | st.integers()},
}


@st.composite
def lines_of(draw: st.DrawFn, shape: dict[str, st.SearchStrategy[Any]]) -> bytes:
    """Mostly plain rows of one shape, and among them every kind of line that is not."""
    lines: list[bytes] = []
    ascii_only = draw(st.booleans())
    for _ in range(draw(st.integers(4, 25))):
        row = {key: draw(value) for key, value in shape.items()}
        kind = draw(st.integers(0, 40))
        text = json.dumps(row, ensure_ascii=ascii_only, separators=draw(st.sampled_from([(", ", ": "), (",", ":")])))
        if kind == 0:
            text = json.dumps({key: row[key] for key in draw(st.permutations(list(row)))})
        elif kind == 1:
            text = json.dumps({key: value for key, value in row.items() if key != draw(st.sampled_from(list(row)))})
        elif kind == 2:
            text = json.dumps(row | {draw(st.sampled_from([*row, "new"])): draw(odd_values)})
        elif kind == 3:
            text = text[:-1] + f", {json.dumps(draw(st.sampled_from(list(row))))}: {json.dumps(draw(odd_values))}}}"
        elif kind == 4:
            text = text + draw(st.sampled_from([" ", text, "," + text, "x", "\r", "\x00", "]"]))
        elif kind == 5:
            text = text.replace(
                draw(st.sampled_from([":", ",", "{", '"'])), draw(st.sampled_from([" : ", "\n", " ", ""]))
            )
        elif kind == 6:
            text = draw(st.sampled_from(["", " ", "\t", "[]", "null", "1", "{}", "[{}]", '{"a":1', "}\n{", "\ufeff{}"]))
        elif kind == 7:
            text = text.replace("1", draw(st.sampled_from(["-0", "1.0", "1e5", "9" * 25, "01", "1e999", "NaN"])), 1)
        elif kind == 8:
            text = text.replace(
                '"', draw(st.sampled_from(['"\\ud800', '"\\udc00', '"\\ud83d\\ude00', '"\\u0000', '"\x01'])), 1
            )
        elif kind == 9:
            text = text.replace('"', '"\\u0061', 1)
        elif kind == 10:
            lines.append(text.encode("utf-8", "surrogatepass")[:-3] + b"\xff\xfe" + b'"}')
            continue
        lines.append(text.encode("utf-8", "surrogatepass"))
    data = draw(st.sampled_from([b"\n"] * 9 + [b"\r\n", b"\n\n"])).join(lines)
    return draw(st.sampled_from([b""] * 9 + [b"\xef\xbb\xbf"])) + data + draw(st.sampled_from([b"", b"\n", b"\r\n"]))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), task=st.none() | st.just("t"))
def test_by_columns_and_line_by_line_give_the_same(shape: str, data: st.DataObject, task: str | None) -> None:
    file = data.draw(lines_of(SHAPES[shape]))

    assert_both_ways_agree(file, task)


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"instruction": f"Name {number}", "input": "", "output": f"It is {number}"} | more


PLAIN: dict[str, list[dict[str, Any]]] = {
    "alpaca": [row(number) for number in range(50)],
    "alpaca with an id and more": [row(number, id=f"{number}", url="u", n=number, ok=True) for number in range(50)],
    "prompt and completion": [{"prompt": f"{number}", "completion": "你好"} for number in range(90)],
    "text": [{"text": f'第 {number} 章\n\t"quoted" \\ 😀', "id": f"{number}", "n": -number} for number in range(60)],
    "sharegpt": [{"conversations": [{"from": "human", "value": f"{number}"}]} for number in range(50)],
    "messages": [
        {"messages": [{"role": "user", "content": f"{number}"}, {"role": "assistant", "content": "😀"}]}
        for number in range(50)
    ],
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_plain_rows_are_read_by_columns(name: str, separators: tuple[str, str], ascii_only: bool) -> None:
    lines = [json.dumps(one, ensure_ascii=ascii_only, separators=separators) for one in PLAIN[name]]

    whole = assert_both_ways_agree("\n".join(lines).encode())

    assert whole > 0.7 * len(lines)


@pytest.mark.parametrize("name", ["alpaca", "alpaca with an id and more", "prompt and completion", "text"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_rows_of_plain_texts_are_not_even_parsed(name: str, separators: tuple[str, str], ascii_only: bool) -> None:
    lines = [json.dumps(one, ensure_ascii=ascii_only, separators=separators) for one in PLAIN[name]]

    with patch.object(Layout, "_walked", side_effect=AssertionError):
        whole = pieces("\n".join(lines).encode(), by_columns=True)[2]

    assert whole > 0.7 * len(lines)


ODD: dict[str, str] = {
    "a key that occurs twice": '{"instruction": "q", "input": "", "output": "a", "output": "b"}',
    "a key that occurs twice, once escaped": '{"instruction": "q", "input": "", "output": "a", "\\u006futput": "b"}',
    "a key that occurs twice beside a text like one": '{"instruction": "\\":", "input": "", "input": "", "output": ""}',
    "two objects on one line": '{"instruction": "q", "input": "", "output": "a"} {"instruction": "q", "output": "a"}',
    "two objects on one line with a comma": '{"instruction":"","input":"","output":""},{"instruction":"","output":""}',
    "an object across lines": '{"instruction": "q",\n"input": "", "output": "a"}',
    "a missing field": '{"instruction": "q", "output": "a"}',
    "a null": '{"instruction": "q", "input": "", "output": null}',
    "a new field": '{"instruction": "q", "input": "", "output": "a", "url": "u"}',
    "another order": '{"output": "a", "input": "", "instruction": "q"}',
    "half a surrogate pair": '{"instruction": "\\ud800", "input": "", "output": "a"}',
    "another format": '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}',
    "a blank line": "",
    "no object": "[1, 2]",
    "broken JSON": '{"instruction": "q", "input": "", "output": "a"',
}


@pytest.mark.parametrize("name", ODD)
def test_one_odd_line_among_plain_ones_is_read_as_it_is_line_by_line(name: str) -> None:
    lines = [json.dumps(row(number)) for number in range(60)]

    whole = assert_both_ways_agree("\n".join([*lines[:40], ODD[name], *lines[40:]]).encode())

    assert whole > 20


def test_a_block_that_ends_in_a_row_of_no_format_does_not_stop_the_next(tmp_path: Path) -> None:
    good = {"instruction": "How do I make tea?", "output": "Boil water."}
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in [good, {"unknown": 1}, {"unknown": 1}]))

    pieces = list(read_files([InputFile(path, path.name, "s")], Reading()))

    assert sum(piece.frame.height for piece in pieces if piece.frame is not None) == 1
    assert [reject.line for piece in pieces for reject in piece.rejects] == [2, 3]
