"""Tests of schemas/dataset.py."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import dataset as module
from schemas.dataset import (
    HELD_CHARS,
    Dataset,
    DatasetWriter,
    Reject,
    Told,
    datasets_in,
    open_dataset,
    problems,
    repeated,
    write_manifest,
)
from schemas.errors import DatasetError
from schemas.manifest import Manifest, sealed
from schemas.rows import columns, content_columns, content_digest, row_ids
from schemas.run import replaced_name

CALLS = '[{"type": "function", "function": {"name": "weather", "arguments": "{}"}}]'


def turn(role: str, content: str | None, **given: Any) -> dict[str, Any]:
    names = ("name", "tool_calls", "tool_call_id", "reasoning", "weight")
    return {"role": role, "content": content, **dict.fromkeys(names)} | given


ASKED = [turn("user", "怎么泡茶？\n“请”<b>")]
TOLD = [
    turn("assistant", None, tool_calls=CALLS),
    turn("tool", "", tool_call_id="1"),
    turn("assistant", "烧水", weight=0.5),
]
CONTENT: dict[str, list[dict[str, Any]]] = {
    "chat": [
        {"messages": ASKED + TOLD, "tools": "[]", "verdict": True},
        {"messages": [turn("user", "Hi")], "tools": None, "verdict": None},
        {"messages": [], "tools": None, "verdict": False},
    ],
    "candidates": [
        {"prompt": ASKED, "answers": [{"messages": TOLD, "teacher": "t", "rank": 1, "score": 0.1}], "tools": None},
        {"prompt": ASKED, "answers": [], "tools": None},
    ],
    "preference": [
        {"prompt": ASKED, "chosen": TOLD, "rejected": [turn("assistant", "")], "margin": 1.5, "raters": 3},
        {"prompt": [], "chosen": TOLD, "rejected": [turn("assistant", "no")]},
    ],
    "text": [{"text": "Tea\x00\u2028", "title": "T", "path": None}, {"text": "", "title": None, "path": None}],
    "label": [{"row_id": "0" * 32, "row_hash": "1" * 32, "question": "good?", "value": "true", "rater": None}],
    "score": [{"row_id": "0" * 32, "row_hash": "1" * 32, "name": "ppl", "value": 1e-300}],
}


def frame(kind: str, contents: Sequence[dict[str, Any]], **given: Any) -> pl.DataFrame:
    full = [dict.fromkeys(content_columns(kind)) | content for content in contents]
    digests = [content_digest(content) for content in full]
    ids = row_ids("web", b"".join(digests), np.arange(len(full)))
    rows = [
        dict.fromkeys(columns(kind))
        | {
            "id": ids[16 * place :][:16].hex(),
            "content_hash": digests[place].hex(),
            "copy": 0,
            "source": "web",
            "parents": [],
        }
        | {"origin": {"file": "a.jsonl", "line": place + 1, "part": None}}
        | content
        | given
        for place, content in enumerate(full)
    ]
    return pl.DataFrame(rows, schema=columns(kind))


def texts(*said: str, **given: Any) -> pl.DataFrame:
    return frame("text", [{"text": one} for one in said], **given)


def write(
    folder: Path, *frames: pl.DataFrame, kind: str = "text", dropped: Sequence[pl.DataFrame] = (), rejects: int = 0
) -> Dataset:
    writer = DatasetWriter(folder, kind)
    for one in frames:
        writer.add(one)
    for one in dropped:
        writer.drop(one.with_columns(stage=pl.lit("length"), reason=pl.lit("too_short"), because=pl.lit("1 < 2")))
    for number in range(rejects):
        writer.rejects.add(Reject("a.jsonl", number + 1, "bad_json", "not JSON", "{"))
    writer.close()
    rows_in = writer.data.rows + sum(one.height for one in dropped) + rejects
    writer.finish(Told(rows_in, {"command": "import", "name": "tea", "fingerprint": "f" * 64}))
    return open_dataset(folder)


def queried(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return list(connection.execute(sql).fetchall())


def rewritten(dataset: Dataset, **change: Any) -> None:
    """Write the manifest again with other values, sealed as if they were right."""
    said = dataset.manifest.model_dump() | change
    (dataset.folder / "manifest.json").write_bytes(sealed(Manifest.model_validate(said)))


def kinds_of(folder: Path) -> list[str]:
    return [kind for kind, _, _ in problems(folder)]


# --- Read by others -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONTENT)
@pytest.mark.parametrize("empty", [False, True])
def test_polars_duckdb_and_datasets_read_what_was_written(
    kind: str, empty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    rows = frame(kind, CONTENT[kind]).clear() if empty else frame(kind, CONTENT[kind])
    folder = write(tmp_path / "set", rows, kind=kind, dropped=[frame(kind, CONTENT[kind])]).folder

    by_us = pl.concat([rows.clear(), *open_dataset(folder).batches()])
    by_polars = pl.read_parquet(folder / "data")
    by_duckdb = queried(f"select * from '{folder}/**/*.parquet'")
    # As a stream where there are no rows: `datasets` builds no table of nothing, from any file.
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), streaming=empty)

    wanted = rows.rows(named=True)
    assert by_us.schema == by_polars.schema == columns(kind)
    assert by_us.rows(named=True) == by_polars.rows(named=True) == wanted
    assert by_duckdb == [tuple(row.values()) for row in wanted]
    assert list(loaded) == ["train"]
    assert list(loaded["train"]) == wanted
    assert empty or loaded["train"].column_names == list(columns(kind))


def test_columns_that_are_null_throughout_keep_their_types(tmp_path: Path) -> None:
    rows = frame("preference", [{"prompt": [], "chosen": [], "rejected": []}], origin=None)

    folder = write(tmp_path / "set", rows, kind="preference").folder

    assert pl.read_parquet(folder / "data").schema == columns("preference")
    assert queried(f"select typeof(margin), margin from '{folder}/data/*.parquet'") == [("DOUBLE", None)]


def test_dropped_rows_are_read_with_their_marks_and_in_no_glob_of_parquet(tmp_path: Path) -> None:
    dataset = write(tmp_path / "set", texts("kept"), dropped=[texts("gone"), texts("gone too")])

    dropped = pl.concat(dataset.dropped())

    assert dropped.select("text", "stage", "reason", "because").rows() == [
        ("gone", "length", "too_short", "1 < 2"),
        ("gone too", "length", "too_short", "1 < 2"),
    ]
    assert [path.name for path in dataset.folder.rglob("*.parquet")] == ["00000.parquet"]
    assert pl.read_parquet(dataset.folder / "**/*.parquet")["text"].to_list() == ["kept"]


def test_a_dataset_in_several_shards_is_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(tmp_path / "whole", *(texts(str(number), external_id=str(number)) for number in range(9)))
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(module, "SHARD_BYTES", 200)

    parts = write(tmp_path / "parts", *(texts(str(number), external_id=str(number)) for number in range(9)))

    assert len(parts.manifest.shards) > 2
    assert [row[0] for one in parts.batches(["text"]) for row in one.rows()] == list("012345678")
    assert pl.read_parquet(parts.folder / "data")["text"].to_list() == list("012345678")
    assert parts.manifest.digest == whole.manifest.digest
    assert not list(problems(parts.folder))


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    rows = [frame("chat", CONTENT["chat"], external_id=str(number)) for number in range(5)]

    one, two = (write(tmp_path / name, *rows, kind="chat") for name in ("one", "two"))

    assert one.manifest.shards == two.manifest.shards


def test_rows_that_match_are_found_wherever_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 1)
    dataset = write(tmp_path / "set", *(texts(str(number), external_id=str(number % 3)) for number in range(7)))

    found = pl.concat(dataset.matching(pl.col("external_id") == "1"))

    assert found["text"].to_list() == ["1", "4"]
    assert found.schema == columns("text")


def test_what_was_rejected_is_cut_and_kept(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "set", "text")
    writer.add(texts("kept"))
    writer.rejects.add(Reject("a.jsonl", 2, "bad_json", "not JSON", "x" * (HELD_CHARS + 1)))
    writer.close()

    writer.finish(Told(2, {"command": "import", "name": "tea", "fingerprint": "f" * 64}))

    (record,) = open_dataset(tmp_path / "set").rejected()
    assert (record["file"], record["line"], record["reason"]) == ("a.jsonl", 2, "bad_json")
    assert len(record["held"]) == HELD_CHARS + 1


def test_half_characters_in_what_was_rejected_are_written_as_escapes(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "set", "text")
    writer.add(texts("kept"))
    writer.rejects.add(Reject("a\udcff", None, "invalid_unicode", "the key \ud800", "held \udfff 茶"))
    writer.close()

    writer.finish(Told(2, {"command": "import", "name": "tea", "fingerprint": "f" * 64}))

    assert list(open_dataset(tmp_path / "set").rejected()) == [
        {
            "file": "a\\udcff",
            "line": None,
            "reason": "invalid_unicode",
            "detail": "the key \\ud800",
            "held": "held \\udfff 茶",
        }
    ]


# --- What is no dataset ---------------------------------------------------------------------------------------------


def test_what_is_no_dataset_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file.jsonl").write_text("{}")
    (tmp_path / "folder").mkdir()
    write(tmp_path / "several" / "text", texts("Hi"))
    write(tmp_path / "several" / "chat", frame("chat", CONTENT["chat"]), kind="chat")

    said = {}
    for name in ("nothing", "file.jsonl", "folder", "several"):
        with pytest.raises(DatasetError) as error:
            open_dataset(tmp_path / name)
        said[name] = f"{error.value.message} / {error.value.hint}"

    assert "does not exist / make a dataset" in said["nothing"]
    assert "is a file, not a dataset / import it first" in said["file.jsonl"]
    assert "has no manifest.json" in said["folder"]
    assert f"{tmp_path}/several/chat, {tmp_path}/several/text" in said["several"]
    assert [path.name for path in datasets_in(tmp_path / "several")] == ["chat", "text"]


def test_a_dataset_that_was_being_replaced_is_said_to_be_safe(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", texts("Hi")).folder
    folder.rename(replaced_name(folder))

    with pytest.raises(DatasetError, match="was being replaced") as error:
        open_dataset(folder)

    assert "run that command again" in error.value.hint


def test_a_manifest_from_somewhere_else_is_a_sentence(tmp_path: Path) -> None:
    for text in ("", "{}", "[]", "nul", '{"format_version": 99}'):
        (tmp_path / "manifest.json").write_text(text)

        with pytest.raises(DatasetError, match="damaged or was written by another version"):
            open_dataset(tmp_path)


def test_a_damaged_shard_is_a_sentence_when_it_is_read(tmp_path: Path) -> None:
    dataset = write(tmp_path / "set", texts("Hi"))
    shard = dataset.folder / "data" / "00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-50])

    with pytest.raises(DatasetError, match="cannot be read") as error:
        list(dataset.batches())

    assert "curate verify" in error.value.hint


# --- verify ---------------------------------------------------------------------------------------------------------


def test_a_whole_dataset_has_no_problems(tmp_path: Path) -> None:
    for kind, contents in CONTENT.items():
        write(tmp_path / kind, frame(kind, contents), kind=kind, dropped=[frame(kind, contents)], rejects=2)

        assert not list(problems(tmp_path / kind))


@pytest.mark.parametrize("flips", [150, pytest.param(10_000, marks=pytest.mark.soak)])
def test_every_flipped_bit_is_found(tmp_path: Path, flips: int) -> None:
    folder = write(tmp_path / "set", texts("one", "two"), dropped=[texts("gone")], rejects=2).folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    dice = random.Random(3)

    missed = []
    for number in range(flips):
        path = files[number % len(files)]
        whole = path.read_bytes()
        place = dice.randrange(len(whole) * 8)
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << place % 8
        path.write_bytes(broken)
        if next(problems(folder), None) is None:
            missed.append((path.name, place))
        path.write_bytes(whole)

    assert len(files) == 8
    assert not missed
    assert not list(problems(folder))


def test_missing_extra_and_swapped_files_are_found(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", texts("one"), dropped=[texts("gone")], rejects=1).folder
    other = write(tmp_path / "other", texts("two"), dropped=[texts("lost")], rejects=1).folder
    shard = folder / "data" / "00000.parquet"

    found = {}
    for name in ("data/00000.parquet", "dropped/00000.arrow", "rejected.jsonl", "README.md", "report.html"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        found[name] = kinds_of(folder)
        (folder / name).write_bytes(kept)
    for name in ("data/00001.parquet", "data/x", "dropped/1.arrow", "deep/stray.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(shard.read_bytes())
        found[name] = kinds_of(folder)
        (folder / name).unlink()
    whole = kinds_of(folder)
    shutil.copy(other / "data" / "00000.parquet", shard)
    swapped = set(kinds_of(folder))

    assert list(found.values()) == [["missing_file"]] * 5 + [["unknown_file"]] * 4
    assert whole == []
    assert swapped <= {"wrong_hash", "wrong_size"} and swapped


def test_a_manifest_that_says_something_else_than_the_rows_is_found(tmp_path: Path) -> None:
    dataset = write(tmp_path / "set", texts("one", "two"), dropped=[texts("gone")], rejects=1)
    counts = dataset.manifest.counts.model_dump()
    wrong: dict[str, dict[str, Any]] = {
        "digest": {"digest": "0" * 64},
        "source": {"rows_by_source": {"book": 2}},
        "dropped": {"counts": counts | {"dropped": {"too_long": 1}}},
        "rejected": {"counts": counts | {"rejected": {"too_large": 1}}},
        "rows": {
            "counts": counts | {"rows_in": 5, "rows_out": 3},
            "rows_by_source": {"web": 3},
            "shards": [dataset.manifest.shards[0].model_dump() | {"rows": 3}],
        },
    }

    found = {}
    for name, change in wrong.items():
        rewritten(dataset, **change)
        found[name] = kinds_of(dataset.folder)

    assert found["digest"] == ["wrong_digest"]
    assert found["source"] == found["dropped"] == found["rejected"] == ["wrong_count"]
    assert found["rows"] == ["wrong_count", "wrong_count"]


def test_repeated_ids_and_wrong_content_are_found(tmp_path: Path) -> None:
    twice = texts("one")
    changed = texts("two").with_columns(text=pl.lit("three"))
    copies = texts("four").with_columns(copy=pl.lit(1, dtype=pl.Int64))

    write(tmp_path / "twice", twice, twice)
    write(tmp_path / "changed", changed)
    write(tmp_path / "copies", texts("four"), copies)

    assert kinds_of(tmp_path / "twice") == ["repeated_id"]
    assert kinds_of(tmp_path / "changed") == ["wrong_content"]
    assert kinds_of(tmp_path / "copies") == []


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 2)), max_size=6), max_size=5))
def test_repeated_rows_are_those_that_came_before(frames: list[list[tuple[str, int]]]) -> None:
    every = [one for some in frames for one in some]
    schema = {"id": pl.String, "copy": pl.Int64}

    found = repeated(lambda: (pl.DataFrame(some, schema=schema, orient="row") for some in frames))

    assert found["ordinal"].to_list() == [place for place, one in enumerate(every) if one in every[:place]]
    assert Counter(found["id"]) == Counter(every[place][0] for place in found["ordinal"])


def test_the_folder_says_what_it_holds_to_other_tools(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", texts("one", lang="en")).folder

    card = (folder / "README.md").read_text()
    croissant = json.loads((folder / "croissant.json").read_text())

    assert "data_files: data/*.parquet" in card
    assert [one["sha256"] for one in croissant["distribution"] if "sha256" in one] == [
        shard.sha256 for shard in open_dataset(folder).manifest.shards
    ]


def test_a_dataset_of_another_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "d", texts("a"))
    dataset = open_dataset(tmp_path / "d")
    write_manifest(tmp_path / "d", dataset.manifest.model_copy(update={"format_version": 1}))

    with pytest.raises(DatasetError, match="is of format 1") as refused:
        open_dataset(tmp_path / "d")

    assert "--replace" in (refused.value.hint or "")
