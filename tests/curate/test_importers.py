"""Every type of file, packing and encoding gives its rows, each with its line; what is broken is refused."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import zstandard

from curate.files import MAX_ROW_BYTES, InputFile
from curate.read import Reading, file_encoding, find_rows, importers, read_files
from schemas.dataset import Reject

ROWS = [
    {"instruction": "Name a planet.", "input": "", "output": 'Mars, the red one; or "Venus"'},
    {"instruction": "天空是什么颜色？", "input": "白天\n晴天", "output": "蓝色，😀"},
    {"instruction": "Say nothing.", "input": "", "output": "\ttab and\nline"},
]
CHATS = [
    {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": f"hello {number}", "reasoning_content": None},
        ],
        "tags": ["a", None],
        "meta": {"stars": number},
    }
    for number in range(3)
]


def read(path: Path, **settings: Any) -> tuple[list[dict[str, Any]], list[Reject]]:
    """The rows of a file as a dataset has them, and its refusals."""
    reading = Reading(**settings).checked()
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for piece in read_files(find_rows([path], reading).files, reading):
        rejects += piece.rejects
        if piece.frame is not None:
            rows += piece.frame.to_dicts()
    return rows, rejects


def asked(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["messages"][0]["content"], row["messages"][-1]["content"]) for row in rows]


def lines_of(rows: list[dict[str, Any]]) -> list[int]:
    return [row["origin"]["line"] for row in rows]


def expected(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [
        (f"{row['instruction']}\n{row['input']}" if row["input"] else row["instruction"], row["output"]) for row in rows
    ]


# --- Types of file ----------------------------------------------------------------------------------------------------


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def as_csv(rows: list[dict[str, Any]], separator: str = ",") -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def as_arrow(rows: list[dict[str, Any]], make: Callable[..., Any]) -> bytes:
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with make(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def as_xlsx(rows: list[dict[str, Any]]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(list(rows[0]))
    for row in rows:
        sheet.append([row[name] or None for name in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def array(rows: list[dict[str, Any]], indent: int | None = None) -> bytes:
    return json.dumps(rows, indent=indent, ensure_ascii=False).encode()


def pretty_lines(rows: list[dict[str, Any]], before: int) -> list[int]:
    """The line on which each row begins when they stand one under the other, each on lines of its own."""
    found, line = [], before
    for row in rows:
        found.append(line)
        line += len(json.dumps(row, indent=2, ensure_ascii=False).split("\n"))
    return found


TYPES: dict[str, tuple[str, bytes, list[int]]] = {
    "JSON Lines": ("a.jsonl", as_jsonl(ROWS), [1, 2, 3]),
    "JSON Lines named ndjson": ("a.ndjson", as_jsonl(ROWS), [1, 2, 3]),
    "JSON Lines named json": ("a.json", as_jsonl(ROWS), [1, 2, 3]),
    "JSON Lines with CRLF and blank lines": ("a.jsonl", as_jsonl(ROWS).replace(b"}\n", b"}\r\n\r\n"), [1, 3, 5]),
    "a JSON array on one line": ("a.json", array(ROWS), [1, 1, 1]),
    "a JSON array, an object a line": ("a.json", array(ROWS).replace(b"}, ", b"},\n"), [1, 2, 3]),
    "a JSON array, pretty printed": ("a.json", array(ROWS, indent=2), pretty_lines(ROWS, 2)),
    "an object that holds the rows": (
        "a.json",
        b'{"version": "1.0", "data":\n' + array(ROWS, indent=2) + b"}",
        pretty_lines(ROWS, 3),
    ),
    "an object that holds the rows on one line": ("a.json", b'{"data": ' + array(ROWS) + b', "n": [1, 2]}', [1, 1, 1]),
    "an object with a list for each split": (
        "a.json",
        b'{\n"train": ' + array(ROWS[:1]) + b',\n"size": 3,\n"test": ' + array(ROWS[1:]) + b"\n}\n",
        [2, 4, 4],
    ),
    "objects one after another": (
        "a.json",
        b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS),
        pretty_lines(ROWS, 1),
    ),
    "CSV": ("a.csv", as_csv(ROWS), [2, 3, 5]),
    "CSV with semicolons": ("a.csv", as_csv(ROWS, ";"), [2, 3, 5]),
    "CSV with tabs": ("a.csv", as_csv(ROWS, "\t"), [2, 3, 5]),
    "CSV after blank lines": ("a.csv", b"\n\n" + as_csv(ROWS), [4, 5, 7]),
    "TSV": ("a.tsv", as_csv(ROWS, "\t"), [2, 3, 5]),
    "Parquet": ("a.parquet", as_parquet(ROWS), [1, 2, 3]),
    "an Arrow file": ("a.arrow", as_arrow(ROWS, pa.ipc.new_file), [1, 2, 3]),
    "an Arrow stream": ("a.arrow", as_arrow(ROWS, pa.ipc.new_stream), [1, 2, 3]),
    "a workbook": ("a.xlsx", as_xlsx(ROWS), [2, 3, 4]),
}  # fmt: skip

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", TYPES)
def test_every_type_of_file_gives_its_rows_and_their_lines(tmp_path: Path, name: str, packing: str) -> None:
    file, data, lines = TYPES[name]
    path = tmp_path / (file + packing)
    path.write_bytes(PACKINGS[packing](data))

    rows, rejects = read(path)

    assert not rejects
    assert asked(rows) == expected(ROWS)
    assert lines_of(rows) == lines


def test_every_ending_that_is_read_is_tested_here() -> None:
    tested = {Path(file).suffix for file, _, _ in TYPES.values()}

    assert set(importers()) - tested == {".txt", ".feather", ".ipc", ".xlsm"}


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_text_file_is_one_row(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"story.txt{packing}"
    path.write_bytes(PACKINGS[packing]("从前\r\n有座山".encode()))

    rows, rejects = read(path)

    assert not rejects
    assert [(row["text"], row["title"]) for row in rows] == [("从前\r\n有座山", "story")]


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("a.parquet", as_parquet(CHATS)),
        ("a.arrow", as_arrow(CHATS, pa.ipc.new_stream)),
        ("a.json", array(CHATS)),
        ("a.csv", as_csv([{key: json.dumps(value) for key, value in row.items()} for row in CHATS])),
    ],
)
def test_nested_rows_are_read_from_every_type_that_can_hold_them(tmp_path: Path, file: str, data: bytes) -> None:
    (tmp_path / file).write_bytes(data)

    rows, rejects = read(tmp_path / file)

    assert not rejects
    assert asked(rows) == [("hi", f"hello {number}") for number in range(3)]


def test_a_folder_that_datasets_saved_is_read(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    parts = DatasetDict({"train": Dataset.from_list(CHATS[:2]), "test": Dataset.from_list(CHATS[2:])})
    parts.save_to_disk(str(tmp_path / "saved"))

    rows, rejects = read(tmp_path / "saved")

    assert not rejects
    assert sorted(row["origin"]["file"].split("/")[0] for row in rows) == ["test", "train", "train"]
    assert sorted(asked(rows)) == [("hi", f"hello {number}") for number in range(3)]


def test_every_sheet_of_a_workbook_is_read_from_its_own_header(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "一月"
    book.active.append(["问题", "回答", None, "分数"])
    book.active.append([None, None])
    book.active.append(["q", "a", None, 3.0])
    other = book.create_sheet("Feb")
    other.append([None, None])
    other.append(["instruction", "output"])
    other.append(["=1+1", 5])
    book.create_sheet("empty")
    book.save(tmp_path / "a.xlsx")

    rows, rejects = read(tmp_path / "a.xlsx")

    assert [(row["origin"]["part"], row["origin"]["line"]) for row in rows] == [("一月", 3), ("Feb", 3)]
    assert rows[0]["extra"] == '{"分数":"3"}'
    assert not rejects


def test_times_and_other_types_of_parquet_stay_beside_the_row(tmp_path: Path) -> None:
    table = pa.table(
        {
            "instruction": ["q"],
            "output": ["a"],
            "at": pa.array([1_000_000_001], pa.timestamp("ns")),
            "year": pa.array([400_000_000_000], pa.timestamp("s")),
            "took": pa.array([5], pa.duration("ns")),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "raw": pa.array([b"\xff"]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", version="2.6")

    rows, rejects = read(tmp_path / "a.parquet")

    assert not rejects
    assert set(json.loads(rows[0]["extra"])) == {"at", "year", "took", "map", "raw"}


def test_columns_without_a_name_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("instruction,,output,\nq,,a,\nq,b,a,\n")

    rows, rejects = read(tmp_path / "a.csv")

    assert lines_of(rows) == [2]
    assert [(one.line, one.reason) for one in rejects] == [(3, "wrong_field_count")]


def test_a_column_named_twice_is_refused_where_both_say_something(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("instruction,output,output\nq,a,\nq,a,b\n")

    rows, rejects = read(tmp_path / "a.csv")

    assert lines_of(rows) == [2]
    assert [(one.line, one.reason) for one in rejects] == [(3, "duplicate_column")]


@pytest.mark.parametrize("cell", ["[1, 2]", '{"a": 1}', '[{"a": 1}]', "{", '[{"role": 1, "role": 2}]'])
def test_text_that_looks_like_json_stays_text(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.csv").write_bytes(as_csv([{"prompt": cell, "completion": cell}]))

    rows, rejects = read(tmp_path / "a.csv")

    assert not rejects
    assert asked(rows) == [(cell, cell)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q,a,b", "wrong_field_count"),
        ("q", "wrong_field_count"),
        ('"q"x,a', "bad_csv"),
        ('q,"a', "bad_csv"),
    ],
)
def test_a_bad_line_of_csv_is_refused_where_it_begins(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(f"instruction,output\nfirst,row\n{line}\n")

    rows, rejects = read(tmp_path / "a.csv")

    assert lines_of(rows) == [2]
    assert [(one.line, one.reason) for one in rejects] == [(3, reason)]


# --- Encodings --------------------------------------------------------------------------------------------------------

ENCODINGS: dict[str, tuple[bytes, str, str]] = {
    "UTF-8": (b"", "utf-8", "utf-8"),
    "UTF-8 with a mark": (codecs.BOM_UTF8, "utf-8", "utf-8"),
    "UTF-16 LE with a mark": (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16-le"),
    "UTF-16 BE with a mark": (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16-be"),
    "UTF-16 LE": (b"", "utf-16-le", "utf-16-le"),
    "UTF-16 BE": (b"", "utf-16-be", "utf-16-be"),
    "UTF-32 with a mark": (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
    "GB18030": (b"", "gb18030", "gb18030"),
}
CHINESE = [
    {"instruction": "天空是什么颜色？", "input": "", "output": "晴天的时候，天空是蓝色的。"},
    {"instruction": "一加一等于几？", "input": "", "output": "等于二，这是最简单的算术。"},
]


@pytest.mark.parametrize("file", ["a.jsonl", "a.json", "a.csv", "a.tsv"])
@pytest.mark.parametrize("name", ENCODINGS)
def test_the_encoding_of_a_text_file_is_found(tmp_path: Path, name: str, file: str) -> None:
    mark, codec, found = ENCODINGS[name]
    data = {
        ".jsonl": as_jsonl(CHINESE),
        ".json": array(CHINESE, indent=1),
        ".csv": as_csv(CHINESE),
        ".tsv": as_csv(CHINESE, "\t"),
    }[Path(file).suffix]
    path = tmp_path / file
    path.write_bytes(mark + data.decode().encode(codec))

    rows, rejects = read(path)

    assert not rejects
    assert asked(rows) == expected(CHINESE)
    assert lines_of(rows) == ([2, 3] if file in ("a.csv", "a.tsv") else [2, 7] if file == "a.json" else [1, 2])
    assert file_encoding(InputFile(path, file, "a")) == found


def test_a_short_text_without_a_mark_is_known_for_utf_16(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text\n你好\n".encode("utf-16-le"))

    rows, rejects = read(tmp_path / "a.csv")

    assert not rejects
    assert [row["text"] for row in rows] == ["你好"]


def test_big5_is_read_when_it_is_named(tmp_path: Path) -> None:
    traditional = [{"instruction": "天空是什麼顏色？", "input": "", "output": "藍色"}]
    (tmp_path / "a.jsonl").write_bytes(as_jsonl(traditional).decode().encode("big5"))

    rows, rejects = read(tmp_path / "a.jsonl", encoding="big5")

    assert not rejects
    assert asked(rows) == expected(traditional)


@pytest.mark.parametrize("file", ["a.jsonl", "a.csv", "a.json"])
def test_bytes_that_are_no_text_cost_only_their_own_row(tmp_path: Path, file: str) -> None:
    rows_ = [{"instruction": f"问题{number}", "input": "", "output": f"答案{number}"} for number in range(4)]
    data = {"a.jsonl": as_jsonl(rows_), "a.csv": as_csv(rows_), "a.json": array(rows_)}[file]
    (tmp_path / file).write_bytes(data.replace("答案2".encode(), b"\xff\xfe"))

    rows, rejects = read(tmp_path / file)

    assert asked(rows) == expected([rows_[0], rows_[1], rows_[3]])
    assert [one.reason for one in rejects] == ["invalid_utf8"]


def test_a_header_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfa,output\n" + "问题,答案\n".encode() * 50)

    rows, rejects = read(tmp_path / "a.csv", encoding="utf-8")

    assert not rows
    assert [(one.line, one.reason) for one in rejects] == [(1, "invalid_utf8")]


# --- Broken files -----------------------------------------------------------------------------------------------------

MANY = [{"instruction": f"q{number}", "input": "", "output": f"a{number}" * 20} for number in range(3000)]


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@pytest.mark.parametrize(("file", "write"), [("a.jsonl", as_jsonl), ("a.csv", as_csv), ("a.json", array)])
def test_a_packed_file_that_was_cut_off_gives_its_beginning(
    tmp_path: Path, file: str, write: Callable[[Any], bytes], packing: str
) -> None:
    packed = PACKINGS[packing](write(MANY))
    path = tmp_path / (file + packing)
    path.write_bytes(packed[: len(packed) // 2])

    rows, rejects = read(path)

    assert asked(rows) == expected(MANY[: len(rows)])
    assert packing == ".zst" or len(rows) > 1000
    assert "truncated_file" in {one.reason for one in rejects}


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_damage_inside_a_packed_file_is_named(tmp_path: Path, packing: str) -> None:
    packed = bytearray(PACKINGS[packing](as_jsonl(MANY)))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\xff" * 64
    (tmp_path / f"a.jsonl{packing}").write_bytes(packed)

    _, rejects = read(tmp_path / f"a.jsonl{packing}")

    assert {one.reason for one in rejects} & {"damaged_file", "truncated_file"}


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("file", "write"),
    [("a.parquet", as_parquet), ("a.arrow", lambda rows: as_arrow(rows, pa.ipc.new_file)), ("a.xlsx", as_xlsx)],
)
def test_a_binary_file_that_was_cut_off_is_refused(
    tmp_path: Path, file: str, write: Callable[[Any], bytes], packing: str
) -> None:
    data = write(MANY)
    path = tmp_path / (file + packing)
    path.write_bytes(PACKINGS[packing](data[: len(data) * 2 // 3]))

    _, rejects = read(path)

    assert [one.reason for one in rejects] == ["damaged_file"]


def test_an_arrow_stream_that_was_cut_off_gives_its_whole_batches(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(MANY)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=500)
    (tmp_path / "a.arrow").write_bytes(out.getvalue()[: len(out.getvalue()) * 2 // 3])

    rows, rejects = read(tmp_path / "a.arrow")

    assert len(rows) == 1500 or len(rows) == 2000
    assert [(one.line, one.reason) for one in rejects] == [(len(rows) + 1, "damaged_file")]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_an_array_that_was_cut_off_gives_its_beginning(tmp_path: Path, indent: int | None, share: float) -> None:
    data = array(MANY, indent)
    begin = data[: int(len(data) * share)]
    (tmp_path / "a.json").write_bytes(begin)

    rows, rejects = read(tmp_path / "a.json")

    assert len(rows) == begin.count(b"}")
    assert asked(rows) == expected(MANY[: len(rows)])
    assert [one.reason for one in rejects] == ["truncated_file"]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_broken_row_of_an_array_costs_nothing_else(tmp_path: Path, indent: int | None) -> None:
    answers = [{"prompt": f"q{n}", "answers": [{"text": "a"}, {"text": "b"}, {"text": "c"}]} for n in range(4)]
    data = json.dumps(answers, indent=indent).replace('"q1"', '"q1" oops')
    (tmp_path / "a.json").write_text(data)

    rows, rejects = read(tmp_path / "a.json")

    assert [row["prompt"][0]["content"] for row in rows] == ["q0", "q2", "q3"]
    assert [one.reason for one in rejects] == ["bad_json"]


def test_a_row_that_holds_a_list_of_objects_is_a_row(tmp_path: Path) -> None:
    row = {"prompt": "q", "answers": [{"text": "a"}, {"text": "b"}]}
    (tmp_path / "a.json").write_text(json.dumps(row, indent=2))

    rows, rejects = read(tmp_path / "a.json")

    assert not rejects
    assert [len(row["answers"]) for row in rows] == [2]


def zeros(size: int) -> Iterator[bytes]:
    yield from (b" " * (1 << 20) for _ in range(size >> 20))


@pytest.mark.parametrize("file", ["a.jsonl", "a.json", "a.csv", "a.txt", "a.parquet"])
@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_a_bomb_is_given_up_early(tmp_path: Path, file: str, packing: str) -> None:
    path = tmp_path / (file + packing)
    with path.open("wb") as out:
        packer: Any = (
            gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9)
            if packing == ".gz"
            else zstandard.ZstdCompressor(level=19).stream_writer(out, closefd=False)
        )
        with packer:
            for chunk in zeros(200 << 20):
                packer.write(chunk)

    rows, rejects = read(path)

    assert not rows
    assert {one.reason for one in rejects} <= {"compression_bomb", "too_large"}
    assert rejects


def test_a_bomb_inside_a_workbook_is_not_opened(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (100 << 20))

    _, rejects = read(tmp_path / "a.xlsx")

    assert [one.reason for one in rejects] == ["compression_bomb"]


@pytest.mark.parametrize("file", ["a.jsonl", "a.json", "a.csv"])
def test_a_line_of_100_megabytes_is_refused_in_bounded_memory(tmp_path: Path, file: str) -> None:
    begin, end, rest = {
        "a.jsonl": ('{"instruction": "', '", "output": "a"}\n', '{"instruction": "q", "output": "a"}\n'),
        "a.json": ('[{"instruction": "', '", "output": "a"},\n', '{"instruction": "q", "output": "a"}]\n'),
        "a.csv": ("instruction,output\n", ",a\n", "q,a\n"),
    }[file]
    path = tmp_path / file
    with path.open("w") as out:
        out.write(begin)
        for _ in range(100):
            out.write("x" * (1 << 20))
        out.write(end + rest)
    script = (
        "import sys; from pathlib import Path; from curate.read import *\n"
        "def peak():\n"
        "    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "before = peak()\n"
        "found = list(read_files(find_rows([Path(sys.argv[1])], Reading()).files, Reading()))\n"
        "print(sum(one.frame.height for one in found if one.frame is not None))\n"
        "print(*[(one.line, one.reason) for piece in found for one in piece.rejects])\n"
        "print((peak() - before) // 1024)\n"
    )

    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)

    rows, rejects, megabytes = done.stdout.splitlines()
    assert rows == "1"
    assert rejects == {"a.jsonl": "(1, 'too_large')", "a.json": "(1, 'too_large')", "a.csv": "(2, 'too_large')"}[file]
    assert int(megabytes) < 400


def test_the_limit_of_a_line_does_not_depend_on_where_it_stands(tmp_path: Path) -> None:
    long = json.dumps({"instruction": "x" * (MAX_ROW_BYTES - 1000), "output": "y" * 2000})
    (tmp_path / "a.jsonl").write_text(f'{long}\n{{"instruction": "q", "output": "a"}}\n')

    rows, rejects = read(tmp_path / "a.jsonl")

    assert lines_of(rows) == [2]
    assert [(one.line, one.reason) for one in rejects] == [(1, "too_large")]


@pytest.mark.parametrize("file", ["a.jsonl", "a.json", "a.csv"])
@pytest.mark.parametrize("levels", [201, 900, 1100, 200_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deep_nesting_is_refused(tmp_path: Path, file: str, levels: int, brackets: str) -> None:
    deep = "[" * levels + "]" * levels if brackets == "[]" else '{"a":' * levels + "1" + "}" * levels
    text = f'{{"instruction": "q", "output": "a", "x": {deep}}}'
    good = '{"instruction": "q", "output": "a"}'
    quoted = deep.replace('"', '""')
    data = {
        "a.jsonl": f"{text}\n{deep}\n{good}\n",
        "a.json": f"[{text},\n{deep},\n{good}]",
        "a.csv": f'messages\n"{quoted}"\n',
    }[file]
    (tmp_path / file).write_text(data)

    rows, rejects = read(tmp_path / file)

    assert len(rows) == (0 if file == "a.csv" else 1)
    assert {one.reason for one in rejects} <= {"too_deep", "not_an_object", "wrong_type", "unknown_format"}
    assert rejects


def test_a_link_that_leaves_the_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_bytes(as_jsonl(ROWS))
    inside = tmp_path / "data"
    inside.mkdir()
    (inside / "a.jsonl").write_bytes(as_jsonl(ROWS))
    (inside / "out.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (inside / "up").symlink_to(tmp_path)

    found = find_rows([inside], Reading())

    assert [file.name for file in found.files] == ["a.jsonl"]
    assert found.passed_over == ["out.jsonl"]


@pytest.mark.parametrize("text", ['[{"text": "a"}, {"text": "b"}]', '[\n  {"text": "a"},\n  {"text": "b"}\n]\n'])
def test_an_array_named_as_lines_is_read_as_an_array(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)

    pieces = list(read_files([InputFile(path, path.name, "s")], Reading()))

    assert [text for piece in pieces if piece.frame is not None for text in piece.frame["text"]] == ["a", "b"]
