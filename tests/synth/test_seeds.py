"""Seeds out of files as people have them: encodings, endings, bad lines; ids as `curate import` gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.errors import UserError
from synth.recipe import SeedSettings
from synth.seeds import Seeds, read_seeds
from tests.helpers import curate_json, write_rows

ROWS = [
    {"instruction": "什么是路由器？", "output": "转发数据包的设备。"},
    {"instruction": "What is a router?", "output": "It forwards packets.", "task": "network"},
]


def read(*paths: Path, **told: Any) -> Seeds:
    return read_seeds([SeedSettings(path=str(path), **told) for path in paths])


def asked(seeds: Seeds) -> list[str]:
    return [row["text"] if "text" in row else row["messages"][0]["content"] for row in seeds.rows]


def refused(seeds: Seeds) -> list[tuple[str, int | None, str]]:
    return [(one.file, one.line, one.reason) for one in seeds.rejects]


LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
TABLE = "instruction,output\n什么是路由器？,转发数据包的设备。\nWhat is a router?,It forwards packets.\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.ndjson", LINES.replace("\n", "\r\n").encode()),
        ("a.jsonl", LINES.encode("utf-8-sig")),
        ("a.jsonl", LINES.encode("gb18030")),
        ("a.jsonl", LINES.encode("utf-16")),
        ("a.json", json.dumps(ROWS).encode()),
        ("a.json", json.dumps({"version": 1, "data": ROWS}).encode()),
        ("a.json", LINES.encode()),
        ("a.csv", TABLE.encode()),
        ("a.csv", TABLE.encode("gb18030")),
        ("a.csv", TABLE.replace(",", ";").encode()),
        ("a.tsv", TABLE.replace(",", "\t").encode()),
    ],
)
def test_files_of_rows_are_read_however_they_are_written(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)

    found = read(tmp_path / name)

    assert asked(found) == ["什么是路由器？", "What is a router?"]
    assert found.rejects == []


def test_parquet_is_read(tmp_path: Path) -> None:
    pl.DataFrame(ROWS).write_parquet(tmp_path / "a.parquet")

    assert asked(read(tmp_path / "a.parquet")) == ["什么是路由器？", "What is a router?"]


def test_a_folder_of_texts_is_a_text_each(tmp_path: Path) -> None:
    (tmp_path / "docs" / "更多").mkdir(parents=True)
    (tmp_path / "docs" / "a.md").write_text("# Returns\n\nWithin 7 days.")
    (tmp_path / "docs" / "更多" / "b.txt").write_bytes("七天内可以退货。".encode("gb18030"))
    (tmp_path / "docs" / "c.txt").write_text(" \n")
    (tmp_path / "docs" / ".hidden.txt").write_text("no")
    (tmp_path / "docs" / "picture.png").write_bytes(b"\x89PNG")

    found = read(tmp_path / "docs")

    assert asked(found) == ["# Returns\n\nWithin 7 days.", "七天内可以退货。"]
    assert [row["origin"]["file"] for row in found.rows] == ["a.md", "更多/b.txt"]
    assert list(found.sources) == ["docs"]


def test_bad_rows_are_rejected_where_they_stand(tmp_path: Path) -> None:
    good = json.dumps(ROWS[0], ensure_ascii=False).encode()
    lines = [good, b"{", b'{"instruction": "\xff\xfe", "output": "x"}', b"null", b'{"a": 1}', b'{"messages": []}', b""]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "b.csv").write_text("instruction,output\nq,a\nq,a,b\n")

    found = read(tmp_path / "a.jsonl", tmp_path / "b.csv")

    assert asked(found) == ["什么是路由器？", "q"]
    assert refused(found) == [
        ("a.jsonl", 2, "bad_json"), ("a.jsonl", 3, "bad_json"), ("a.jsonl", 4, "not_an_object"),
        ("a.jsonl", 5, "unknown_format"), ("a.jsonl", 6, "empty_conversation"), ("b.csv", 3, "wrong_cells"),
    ]  # fmt: skip


def test_the_same_row_twice_is_one_seed(tmp_path: Path) -> None:
    curate_json("import", write_rows(tmp_path / "rows.jsonl", ROWS), "--out", tmp_path / "set")

    found = read(tmp_path / "set", tmp_path / "set")

    assert len(found.rows) == 2
    assert [reason for _, _, reason in refused(found)] == ["repeated_seed", "repeated_seed"]


def test_ids_of_a_file_are_those_of_its_import(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [*ROWS, ROWS[0]])
    curate_json("import", file, "--out", tmp_path / "set")

    assert [row["id"] for row in read(file).rows] == [row["id"] for row in read(tmp_path / "set").rows]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", b"", "there are no seeds"),
        ("a.jsonl", b"{", "none of 1 rows"),
        ("a.jsonl", b"\x00" * 50, "none of 1 rows"),
        ("a.txt", b"\x80\xff\x00", "none of 1 rows"),
        ("a.parquet", b"PAR1 not", "cannot be read"),
        ("a.docx", b"x", "seeds are not read from a.docx"),
    ],
)
def test_a_file_without_seeds_is_a_sentence(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(UserError, match=said):
        read(tmp_path / name)


def test_a_dataset_says_itself_where_its_rows_come_from(tmp_path: Path) -> None:
    curate_json("import", write_rows(tmp_path / "rows.jsonl", ROWS), "--out", tmp_path / "set")

    with pytest.raises(UserError, match="says itself"):
        read(tmp_path / "set", training="allowed")


def test_two_sources_of_one_name_on_other_terms_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    write_rows(tmp_path / "more" / "rows.jsonl", [{"instruction": "a", "output": "b"}])
    settings = [
        SeedSettings(path=str(tmp_path / "rows.jsonl"), training="denied"),
        SeedSettings(path=str(tmp_path / "more" / "rows.jsonl"), training="allowed"),
    ]

    with pytest.raises(UserError, match="describe the source 'rows' differently"):
        read_seeds(settings)
