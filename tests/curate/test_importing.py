"""Tests of curate/importing.py."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import importing as module
from curate.importing import collect_files, import_files, result_json
from curate.read import Reading, read_files
from schemas.dataset import Dataset, open_dataset, problems
from schemas.errors import UserError
from tests.helpers import curate, curate_json, write_rows

TEA = {"instruction": "How do I make tea?", "output": "Boil water."}
COFFEE = {"instruction": "How do I make coffee?", "output": "Grind beans."}


def imported(*paths: Path, out: Path, source: dict[str, Any] | None = None, **reading: Any) -> Dataset:
    (dataset,) = import_files(paths, out, Reading(**reading), source or {}).datasets
    return dataset


def imported_as(source: str, path: Path, out: Path) -> Dataset:
    (dataset,) = import_files([path], out, Reading(source=source), {}).datasets
    return dataset


def rows_of(dataset: Dataset) -> pl.DataFrame:
    return pl.concat(dataset.batches())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- Ids --------------------------------------------------------------------------------------------------------------


def test_ids_stay_when_lines_are_inserted_above(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one" / "rows.jsonl", [TEA, COFFEE])
    two = write_rows(tmp_path / "two" / "rows.jsonl", [{"instruction": "New?", "output": "Yes."}, {}, TEA, COFFEE])

    before, after = (rows_of(imported(path, out=path.parent / "out")) for path in (one, two))

    assert after["id"].to_list()[1:] == before["id"].to_list()
    assert [origin["line"] for origin in after["origin"]] == [1, 3, 4]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), st.integers(0, 12))
def test_repeated_content_is_numbered_whatever_file_of_a_source_it_is_in(
    tmp_path_factory: pytest.TempPathFactory, said: list[str], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    rows = [{"instruction": word, "output": word} for word in said]
    whole = write_rows(folder / "whole.jsonl", rows)
    for name, part in (("1", rows[:cut]), ("2", rows[cut:])):
        write_rows(folder / "parts" / f"{name}.jsonl", part)

    one = rows_of(imported_as("web", whole, folder / "one"))
    two = rows_of(imported_as("web", folder / "parts", folder / "two"))

    assert one["id"].to_list() == two["id"].to_list()
    assert one["id"].n_unique() == len(said)
    assert one["content_hash"].n_unique() == len(set(said))


def test_equal_content_of_another_source_is_another_row(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [TEA])

    one, two = (rows_of(imported_as(source, path, tmp_path / source)) for source in ("web", "book"))

    assert one["id"][0] != two["id"][0]
    assert one["content_hash"][0] == two["content_hash"][0]


# --- Fingerprints -----------------------------------------------------------------------------------------------------


class Marked(Exception):  # noqa: N818 - no error
    """Carries a fingerprint out of a command before it does anything."""


def mark_of(
    monkeypatch: pytest.MonkeyPatch, paths: list[Path], told: dict[str, Any] | None = None, **reading: Any
) -> str:
    def instead(out: Path, fingerprint: str, *, replace: bool) -> Any:
        raise Marked(fingerprint)

    monkeypatch.setattr(module, "run_into", instead)
    with pytest.raises(Marked) as marked:
        import_files(paths, Path("out"), Reading(**reading), told or {})
    return str(marked.value)


def test_a_fingerprint_is_the_same_in_another_folder_and_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = write_rows(tmp_path / "here" / "rows.jsonl", [TEA])
    there = write_rows(tmp_path / "there" / "deep" / "rows.jsonl", [TEA])
    program = """
import sys; from pathlib import Path
from curate.importing import import_files; from curate.read import Reading, read_files
reading = Reading(columns={'output': 'answer', 'instruction': 'question'})
made = import_files([Path(sys.argv[1])], Path(sys.argv[2]), reading, {'licence': 'MIT'})
print(made.datasets[0].manifest.fingerprint)
"""

    found = set()
    for seed in ("1", "2"):
        said = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-c", program, str(there), str(tmp_path / f"out-{seed}")]
        found.add(subprocess.check_output(command, text=True, cwd=tmp_path, env=said).strip())
    found.add(mark_of(monkeypatch, [here], {"licence": "MIT"}, columns={"instruction": "question", "output": "answer"}))

    assert len(found) == 1


def test_everything_that_affects_the_rows_changes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [TEA])
    other = write_rows(tmp_path / "other" / "rows.jsonl", [COFFEE])
    renamed = write_rows(tmp_path / "renamed.jsonl", [TEA])

    marks = [
        mark_of(monkeypatch, [path]),
        mark_of(monkeypatch, [other]),
        mark_of(monkeypatch, [renamed]),
        mark_of(monkeypatch, [path, renamed]),
        mark_of(monkeypatch, [renamed, path]),
        mark_of(monkeypatch, [path], format="alpaca"),
        mark_of(monkeypatch, [path], task="chat"),
        mark_of(monkeypatch, [path], encoding="gb18030"),
        mark_of(monkeypatch, [path], source="web"),
        mark_of(monkeypatch, [path], columns={"output": "answer"}),
        mark_of(monkeypatch, [path], columns={"instruction": "answer"}),
        *(
            mark_of(monkeypatch, [path], {name: value})
            for name, value in {
                "kind": "buy",
                "licence": "MIT",
                "terms": "open",
                "evidence": "1",
                "training": "allowed",
                "personal_data": "none",
                "consent": "yes",
            }.items()
        ),
    ]
    monkeypatch.setattr(module, "VERSION", 99)
    marks.append(mark_of(monkeypatch, [path]))

    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("mutations", [50, pytest.param(1000, marks=pytest.mark.soak)])
def test_every_changed_byte_changes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutations: int
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [TEA, COFFEE])
    whole = path.read_bytes()
    dice = random.Random(5)

    marks = {mark_of(monkeypatch, [path]): whole}
    for _ in range(mutations):
        place = dice.randrange(len(whole))
        change = dice.choice([bytes([whole[place] ^ 1 << dice.randrange(8)]), b"", whole[place : place + 1] * 2])
        path.write_bytes(whole[:place] + change + whole[place + 1 :])
        found = marks.setdefault(mark_of(monkeypatch, [path]), path.read_bytes())
        assert found == path.read_bytes()

    assert len(marks) > mutations / 2


# --- Counts -----------------------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        json.dumps(TEA),
        json.dumps(COFFEE),
        json.dumps({"text": "plain"}),
        json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}),
        json.dumps({"instruction": 5, "output": None}),
        '{"instruction": "a", "instruction": "b", "output": "c"}',
        "{",
        "[]",
        "null",
        '{"unknown": 1}',
        "\x00",
        '{"instruction": "\\ud800", "output": "x"}',
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(LINES, max_size=25))
def test_every_line_is_a_row_or_rejected(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "rows.jsonl").write_text("\n".join(lines))

    try:
        made = import_files([folder / "rows.jsonl"], folder / "out", Reading(), {})
    except UserError:
        assert names(folder) == ["rows.jsonl"]
        return

    found = result_json(made)
    assert found["rows_in"] == len(lines) == found["rows_out"] + found["rejected"]
    for dataset in made.datasets:
        assert not list(problems(dataset.folder))
    places = {
        (one["origin"]["file"], one["origin"]["line"])
        for data in made.datasets
        for one in rows_of(data).rows(named=True)
    }
    refused = {(one["file"], one["line"]) for dataset in made.datasets for one in dataset.rejected()}
    assert places | refused == {("rows.jsonl", number + 1) for number in range(len(lines))}
    assert not places & refused


def test_each_kind_of_row_becomes_its_own_dataset(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [TEA, {"text": "plain"}, TEA, "bad"])

    made = import_files([path], tmp_path / "out", Reading(), {})
    again = import_files([path], tmp_path / "out", Reading(), {})

    assert sorted(dataset.kind for dataset in made.datasets) == ["chat", "text"]
    assert names(tmp_path / "out") == ["chat", "text"]
    assert not made.already and again.already
    assert result_json(made)["rejected_by_reason"] == {"not_an_object": 1}
    with pytest.raises(UserError, match="several datasets"):
        open_dataset(tmp_path / "out")


# --- What cannot be imported ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("rows.jsonl", "", "no rows in"),
        ("rows.jsonl", "\n\n\n", "no rows in"),
        ("rows.json", "[]", "no rows in"),
        ("rows.csv", "instruction,output\n", "no rows in"),
        ("rows.csv", "", "no rows in"),
        ("rows.txt", "", "no rows in"),
        ("rows.jsonl", "nonsense\n", "none of 1 rows"),
        ("rows.jsonl", '{"foo": 1}\n', "none of 1 rows"),
        ("rows.parquet", "PAR1", "none of 1 rows"),
        ("rows.xyz", "x", "ending that is not known"),
        ("notes", "x", "ending that is not known"),
    ],
)
def test_what_holds_no_rows_is_a_sentence_and_leaves_nothing(tmp_path: Path, file: str, text: str, said: str) -> None:
    (tmp_path / file).write_text(text)

    with pytest.raises(UserError, match=said) as error:
        import_files([tmp_path / file], tmp_path / "out", Reading(), {})

    assert error.value.hint
    assert "\n" not in error.value.message + error.value.hint
    assert names(tmp_path) == [file]


def test_a_folder_with_nothing_in_it_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(UserError, match="no file with rows"):
        import_files([tmp_path / "folder"], tmp_path / "out", Reading(), {})
    with pytest.raises(UserError, match="nothing to collect"):
        collect_files("code", [tmp_path / "folder"], tmp_path / "out", {}, {})

    assert names(tmp_path) == ["folder"]


def test_a_path_that_is_not_there_and_a_dataset_that_cannot_be_fetched_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    said = {}
    for name in ("rows.jsonl", "deep/er/rows.jsonl", "somebody/no-such-dataset"):
        found = curate_json("import", name, "--out", tmp_path / "out", status=2)
        (said[name],) = found["errors"]

    assert [one["message"].split(" ")[1:4] for one in list(said.values())[:2]] == [["does", "not", "exist"]] * 2
    assert said["somebody/no-such-dataset"]["message"].startswith("somebody/no-such-dataset ")
    assert all(one["hint"] and "\n" not in one["message"] for one in said.values())
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["line\nbreak", "x" * 230, "\x1b[31m", "bad\udcff"])
def test_a_file_with_an_odd_name_is_a_sentence_or_a_source(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / f"{name}.jsonl", [TEA])

    with pytest.raises(UserError) as error:
        import_files([path], tmp_path / "out", Reading(), {})
    hint = error.value.hint

    assert "--source" in hint or "rename" in hint
    if "\udcff" not in name:
        assert imported_as("web", path, tmp_path / "out").rows == 1


def test_a_file_that_changes_while_it_is_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [TEA])

    def changing(*given: Any) -> Iterator[Any]:
        yield from read_files(*given)
        path.write_text(json.dumps(COFFEE))

    monkeypatch.setattr(module, "read_files", changing)
    with pytest.raises(UserError, match="changed while it was read"):
        imported(path, out=tmp_path / "out")

    assert names(tmp_path) == ["rows.jsonl"]


def test_a_file_that_vanishes_while_it_is_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [TEA])
    gone = write_rows(tmp_path / "gone.jsonl", [TEA])

    def vanishing(*given: Any) -> Iterator[Any]:
        yield from read_files(*given)
        gone.unlink()

    monkeypatch.setattr(module, "read_files", vanishing)
    with pytest.raises(UserError, match=r"gone\.jsonl"):
        imported(path, gone, out=tmp_path / "out")

    assert names(tmp_path) == ["rows.jsonl"]


def test_a_full_disk_publishes_nothing_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [TEA])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(pq.ParquetWriter, "write_table", full)
        imported(path, out=tmp_path / "out")
    left = names(tmp_path)

    assert left == ["rows.jsonl"]
    assert imported(path, out=tmp_path / "out").rows == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte; skipped where it takes more rights than the tests have."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full_is_a_sentence(tmp_path: Path, small_disk: Path) -> None:
    dice = random.Random(2)
    rows = [{"instruction": f"{number}", "output": f"{dice.getrandbits(4000):x}"} for number in range(2000)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    some = write_rows(tmp_path / "some.jsonl", rows[:9])

    said = curate("import", path, "--out", small_disk / "out")
    left = names(small_disk)
    again = curate("import", some, "--out", small_disk / "out")

    assert said.returncode == 2
    assert "disk is full" in said.stderr and "Traceback" not in said.stderr
    assert left == []
    assert again.returncode == 0


def test_the_users_own_file_is_never_written_over(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [TEA])

    for out in (path, tmp_path):
        with pytest.raises(UserError):
            import_files([path], out, Reading(), {}, replace=True)

    assert names(tmp_path) == ["rows.jsonl"]
    assert json.loads(path.read_text()) == TEA
