"""Whatever is done to a file, reading it raises nothing but UserError, and no line of it is lost in silence."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest
import zstandard

from curate.check import check_paths
from curate.exporting import export_dataset
from curate.files import InputFile
from curate.importing import import_files, result_json
from curate.read import Reading, read_files
from schemas.dataset import problems
from schemas.errors import UserError
from schemas.formats import FORMATS

FILES = 600
"""Mutated files that are read by default."""

SOAK_FILES = 10_000
"""Mutated files that `make soak` reads."""

IMPORTED = 12
"""Of this many files one is imported, verified, checked and exported too, which takes longer than reading it."""

USER = {"role": "user", "content": "What does 退款 mean?"}
GOOD = {"role": "assistant", "content": "It means “refund”.\nAsk again \\ 再问。"}
BAD = {"role": "assistant", "content": "No idea 😀"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "退款"}'}}
HUMAN, GPT = {"from": "human", "value": "退款？"}, {"from": "gpt", "value": "refund"}
ASKED, TOLD = "What is 1+1?", 'It is "2": two'

SEEDS: dict[str, list[dict[str, Any]]] = {
    "alpaca": [
        {"instruction": ASKED, "input": "", "output": TOLD},
        {"instruction": ASKED, "input": "数学", "output": TOLD, "history": [["a", "b"]], "system": "s", "id": 7},
    ],
    "kto_alpaca": [{"instruction": ASKED, "output": TOLD, "kto_tag": True}],
    "sharegpt": [
        {"conversations": [HUMAN, GPT]},
        {
            "conversations": [
                HUMAN,
                {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
                {"from": "observation", "value": "1"},
                GPT,
            ],
            "tools": '[{"name": "f"}]',
            "system": "s",
        },
    ],
    "kto_sharegpt": [{"conversations": [HUMAN, GPT], "label": False}],
    "messages": [
        {"messages": [USER, GOOD]},
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "退款", "tool_call_id": "c1"},
                GOOD | {"weight": 0.5, "time": 1},
            ],
            "tools": [{"type": "function", "function": {"name": "look_up"}}],
        },
    ],
    "kto_messages": [{"messages": [USER, GOOD], "label": True}],
    "pairs": [{"conversation": [{"human": ASKED, "assistant": TOLD}], "system": "s"}],
    "prompt_completion": [{"prompt": [USER], "completion": [GOOD]}],
    "kto_prompt_completion": [{"prompt": [USER], "completion": [GOOD], "label": True}],
    "prompt_completion_text": [{"prompt": ASKED, "completion": TOLD, "n": 1, "score": 0.5}],
    "kto": [{"prompt": ASKED, "completion": TOLD, "label": True}],
    "preference": [{"prompt": [USER], "chosen": [GOOD], "rejected": [BAD], "margin": 0.5}],
    "preference_text": [{"prompt": ASKED, "chosen": TOLD, "rejected": "", "input": "x"}],
    "preference_implicit": [{"chosen": [USER, GOOD], "rejected": [USER, BAD]}],
    "preference_implicit_text": [
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}
    ],
    "preference_sharegpt": [{"conversations": [HUMAN], "chosen": GPT, "rejected": GPT | {"value": "x"}}],
    "rejected_response": [{"messages": [USER, GOOD], "rejected_response": "no"}],
    "openai_preference": [{"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}],
    "candidates": [{"prompt": ASKED, "answers": [{"text": "a", "score": 1}, {"text": "b", "model": "m"}]}],
    "text": [{"text": "Once upon a time. 从前。", "title": "t"}],
}


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def as_arrow(rows: list[dict[str, Any]], make: Callable[..., Any]) -> bytes:
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with make(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out)
    return out.getvalue()


def as_xlsx(rows: list[dict[str, Any]]) -> bytes:
    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def files() -> dict[str, bytes]:
    """Small files as they are met, by name: every format, file type, packing and encoding."""
    texts = [{"question": f"问题 {n}?", "answer": f'line "{n}",\nnext', "id": str(n)} for n in range(6)]
    lines = as_jsonl(SEEDS["messages"] * 4)
    array = json.dumps(texts, ensure_ascii=False, indent=1)
    table = "question,answer,id\n" + "".join(f'问题 {n},"a ""{n}"",\nb",{n}\n' for n in range(6))
    return {
        **{f"{name}.jsonl": as_jsonl(rows * 4) for name, rows in SEEDS.items()},
        "mixed.jsonl": b"".join(map(as_jsonl, SEEDS.values())),
        "array.json": array.encode(),
        "flat.json": json.dumps([row for rows in SEEDS.values() for row in rows]).encode(),
        "holder.json": f'{{"version": 1, "data": {array}}}'.encode(),
        "objects.json": "\n".join(json.dumps(row, indent=1) for row in SEEDS["candidates"] * 3).encode(),
        "utf16.jsonl": codecs.BOM_UTF16_LE + lines.decode().encode("utf-16-le"),
        "utf16be.csv": table.encode("utf-16-be"),
        "gb.jsonl": as_jsonl(texts).decode().encode("gb18030"),
        "table.csv": table.encode(),
        "table.tsv": table.replace(",", "\t").encode(),
        "plain.txt": "从前有座山\n".encode() * 5,
        "packed.jsonl.gz": gzip.compress(lines),
        "packed.csv.zst": zstandard.ZstdCompressor().compress(table.encode()),
        "rows.parquet": as_parquet(SEEDS["preference"] * 3),
        "rows.arrow": as_arrow(texts, pa.ipc.new_file),
        "stream.arrow": as_arrow(SEEDS["preference"] * 3, pa.ipc.new_stream),
        "book.xlsx": as_xlsx(texts),
        "packed.parquet.gz": gzip.compress(as_parquet(texts)),
    }


INSERTED = [
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",",
    b":", b"\n", b"\r", b"\r\n", b"\n\n", b" ", b"null", b"NaN", b"1e999", b"9" * 30, b"-", b"\\ud800", b"\\u0000",
    b"true", b'"id": 1, ', b'"label": ', b'"_import": {"turns": 3}, ', b'"messages": [], ', b"[" * 300, b'{"a":' * 1200,
    b"\t", b";", b"\x1f\x8b", b"\x28\xb5\x2f\xfd",
]  # fmt: skip


def mutated(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """The file after one to four accidents."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(out) + 1)
        upto = min(len(out), at + dice.choice([1, 1, 2, 8, 64]))
        accident = dice.randrange(9)
        if accident == 0 and upto > at:
            out[at] ^= 1 << dice.randrange(8)
        elif accident == 1:
            del out[at:upto]
        elif accident == 2:
            out = out[:at]
        elif accident == 3:
            begin = dice.randrange(len(other) + 1)
            out[at:upto] = other[begin : begin + dice.choice([4, 32, 200])]
        elif accident in (4, 5):
            out[at:at] = dice.choice(INSERTED) * dice.choice([1, 1, 1, 3])
        elif accident == 6:
            lines = bytes(out).split(b"\n")
            one, two = dice.randrange(len(lines)), dice.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            out = bytearray(b"\n".join(lines))
        elif accident == 7:
            out[at:at] = out[at:upto] * 3
        else:
            words = [b'"role"', b'"content"', b"user", b"from", b"null", b'"', b"output", b"{", b"question"]
            out = bytearray(
                bytes(out).replace(dice.choice(words), dice.choice([*words, *INSERTED]), dice.choice([1, -1]))
            )
    return bytes(out)


def lines_in(data: bytes) -> int:
    """Lines that hold something, counted on their own."""
    return sum(1 for line in data.removeprefix(codecs.BOM_UTF8).split(b"\n") if line.strip())


def read(path: Path, reading: Reading) -> tuple[int, int]:
    """How many rows and refusals a file gives."""
    rows = rejects = 0
    for piece in read_files([InputFile(path, path.name, "fuzz", reading.encoding)], reading):
        rows += piece.frame.height if piece.frame is not None else 0
        rejects += len(piece.rejects)
        assert all(reject.reason.isidentifier() and reject.detail for reject in piece.rejects)
    return rows, rejects


def assert_imported_whole(path: Path, rows: int, rejects: int, dice: random.Random) -> None:
    """Import, verify, check and export what could be read."""
    out = path.parent / "dataset"
    checked = check_paths([path], Reading())
    assert (checked["rows"], checked["usable"]) == (rows + rejects, rows)
    try:
        made = import_files([path], out, Reading(), {}, replace=True)
    except UserError:
        assert rows == 0
        return
    result = result_json(made)
    assert (result["rows_in"], result["rows_out"], result["rejected"]) == (rows + rejects, rows, rejects)
    for dataset in made.datasets:
        assert list(problems(dataset.folder)) == []
        name = dice.choice([one.name for one in FORMATS.values() if one.kind == dataset.kind])
        ending = dice.choice([".jsonl", ".csv", ".xlsx", ".parquet", ".json.gz"])
        exported = export_dataset(dataset.folder, name, path.parent / f"out{ending}", replace=True)
        assert exported["rows_in"] == exported["rows_out"] + sum(exported["rejected"].values())


def fuzz(folder: Path, count: int, first: int) -> None:
    known = files()
    names = sorted(known)
    for number in range(first, first + count):
        dice = random.Random(number)
        name = names[number % len(names)]
        data = mutated(known[name], known[dice.choice(names)], dice)
        path = folder / name
        path.write_bytes(data)
        try:
            rows, rejects = read(path, Reading())
            if name.endswith(".jsonl") and not data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
                told = sum(read(path, Reading(encoding="utf-8")))
                # What begins as an array is read as one, object by object; what is wrong between them is told besides.
                as_array = data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
                assert told >= 1 if as_array else told == lines_in(data)
            if dice.randrange(IMPORTED) == 0:
                assert_imported_whole(path, rows, rejects, dice)
        except Exception as error:
            error.add_note(f"file {number}: {name} {data[:4000]!r}")
            raise
        path.unlink()


def test_every_format_is_among_the_files() -> None:
    assert set(SEEDS) == set(FORMATS)


def test_files_that_are_whole_are_read_whole(tmp_path: Path) -> None:
    for name, data in files().items():
        (tmp_path / name).write_bytes(data)

        rows, rejects = read(tmp_path / name, Reading())

        assert rows
        assert not rejects


def test_mutated_files_raise_nothing_and_lose_no_line(tmp_path: Path) -> None:
    fuzz(tmp_path, FILES, first=0)


@pytest.mark.soak
def test_ten_thousand_mutated_files_raise_nothing_and_lose_no_line(tmp_path: Path) -> None:
    fuzz(tmp_path, SOAK_FILES, first=1_000_000)
