"""Tests of schemas/run.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schemas import run as module
from schemas.errors import UserError
from schemas.run import STATE, AlreadyDone, Run, run_into, standing

ONE, TWO = "1" * 64, "2" * 64


def finish(run: Run, fingerprint: str, text: str = "rows") -> None:
    """Write something that looks like a dataset, and publish it."""
    (run.folder / "data").mkdir(exist_ok=True)
    (run.folder / "data" / "00000.parquet").write_text(text)
    said = {"format_version": 1, "fingerprint": fingerprint, "kind": "text", "shards": [{"path": "data/00000.parquet"}]}
    (run.folder / "manifest.json").write_text(json.dumps(said))
    run.publish()


def made(out: Path, fingerprint: str = ONE, *, replace: bool = False, text: str = "rows") -> Path:
    with run_into(out, fingerprint, replace=replace) as run:
        finish(run, fingerprint, text)
    return out


def rows_of(out: Path) -> str:
    return (out / "data" / "00000.parquet").read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    with run_into(tmp_path / "out", ONE) as run:
        (run.folder / "half").write_text("x")
        seen_meanwhile = (tmp_path / "out").exists()
        finish(run, ONE)

    assert not seen_meanwhile
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["data", "half", "manifest.json"]


def test_a_run_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    made(tmp_path / "out")

    with pytest.raises(AlreadyDone), run_into(tmp_path / "out", ONE):
        pass

    assert names(tmp_path) == ["out"]


def test_the_result_of_another_run_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    out = made(tmp_path / "out", text="old")

    with pytest.raises(UserError, match="another run") as refused:
        made(out, TWO, text="new")
    kept = rows_of(out)
    made(out, TWO, replace=True, text="new")

    assert "--replace" in refused.value.hint
    assert (kept, rows_of(out)) == ("old", "new")
    assert names(tmp_path) == ["out"]


def test_what_was_cut_off_is_continued_by_the_same_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_into(tmp_path / "out", ONE) as run:
        (run.folder / "half").write_text("x")
        raise KeyboardInterrupt

    with run_into(tmp_path / "out", ONE) as again:
        assert again.continued
        assert (again.folder / "half").read_text() == "x"


def test_what_was_cut_off_is_cleared_by_another_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_into(tmp_path / "out", ONE) as run:
        (run.folder / "half").mkdir()
        (run.folder / "half" / "deep").write_text("x")
        raise KeyboardInterrupt

    with run_into(tmp_path / "out", TWO) as other:
        assert not other.continued
        assert names(other.folder) == [STATE]


def test_work_that_was_being_cleared_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), run_into(tmp_path / "out", ONE) as run:
        (run.folder / "work").mkdir()
        raise KeyboardInterrupt
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", killed)
        with run_into(tmp_path / "out", TWO):
            pass

    with run_into(tmp_path / "out", ONE) as again:
        assert not again.continued
        assert names(again.folder) == [STATE]


def test_a_mistake_of_the_user_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError), run_into(tmp_path / "out", ONE) as run:
        (run.folder / "half").write_text("x")
        raise UserError("the recipe is wrong")

    assert names(tmp_path) == []


def test_a_second_writer_is_refused_while_the_first_one_works(tmp_path: Path) -> None:
    with run_into(tmp_path / "out", ONE) as run:
        with pytest.raises(UserError, match="another command is writing"):
            made(tmp_path / "out", TWO)
        finish(run, ONE)

    assert names(tmp_path) == ["out"]
    assert standing(tmp_path / "out", ONE) == "this"


def test_a_second_writer_is_refused_while_the_first_one_clears_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = made(tmp_path / "out")
    remove = shutil.rmtree
    refused: list[str] = []

    def slowly(path: Path, ignore_errors: bool = False) -> None:
        if path.name.endswith("-old"):
            with pytest.raises(UserError) as error:
                made(out, "3" * 64, replace=True)
            refused.append(error.value.message)
        remove(path, ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", slowly)
    made(out, TWO, replace=True)

    assert len(refused) == 1 and "another command is writing" in refused[0]
    assert standing(out, TWO) == "this"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.docx": "years of work"},
        {"manifest.json": '{"name": "a browser extension", "version": 3}', "main.js": "code"},
        {"public/manifest.json": '{"short_name": "App"}', "src/main.js": "code"},
        {"manifest.json": "not even JSON"},
        {"manifest.json": "[]"},
        {".hidden": ""},
    ],
)
def test_a_folder_of_something_else_is_never_touched(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text(text)
    before = contents(tmp_path)

    for replace in (False, True):
        with pytest.raises(UserError):
            made(tmp_path / "out", replace=replace)

    assert contents(tmp_path) == before


def test_a_folder_of_several_datasets_is_never_replaced(tmp_path: Path) -> None:
    made(tmp_path / "all" / "first", ONE)
    made(tmp_path / "all" / "second", TWO)
    before = contents(tmp_path)

    with pytest.raises(UserError, match="other files"):
        made(tmp_path / "all", "3" * 64, replace=True)

    assert contents(tmp_path) == before


def test_datasets_that_one_import_wrote_are_replaced_together(tmp_path: Path) -> None:
    for kind in ("chat", "text"):
        made(tmp_path / "out" / kind, ONE)
        said = json.loads((tmp_path / "out" / kind / "manifest.json").read_text()) | {"kind": kind}
        (tmp_path / "out" / kind / "manifest.json").write_text(json.dumps(said))

    made(tmp_path / "out", TWO, replace=True, text="new")

    assert rows_of(tmp_path / "out") == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["notes.txt", "data/mine.parquet", "deep/er/notes.txt"])
def test_a_dataset_with_files_of_the_users_own_in_it_is_not_replaced(tmp_path: Path, name: str) -> None:
    out = made(tmp_path / "out")
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("mine")
    before = contents(tmp_path)

    with pytest.raises(UserError, match=name):
        made(out, TWO, replace=True)

    assert contents(tmp_path) == before


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    made(tmp_path / "out")

    assert names(tmp_path) == ["out"]
    assert rows_of(tmp_path / "out") == "rows"


@pytest.mark.parametrize("out", ["file", "file/out", "file/deep/out"])
def test_a_file_in_the_way_is_named(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(UserError, match="file"):
        made(tmp_path / out, replace=True)

    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link_and_the_folder_it_points_to_is_written(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "disk").mkdir()
    if exists:
        made(tmp_path / "disk" / "real", ONE, text="old")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")

    made(tmp_path / "out", TWO, replace=True, text="new")

    assert (tmp_path / "out").is_symlink()
    assert rows_of(tmp_path / "disk" / "real") == "new"
    assert names(tmp_path) == ["disk", "out"]
    assert names(tmp_path / "disk") == ["real"]


def test_two_names_of_one_folder_are_one_lock(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with run_into(tmp_path / "real" / "out", ONE), pytest.raises(UserError, match="another command"):
        made(tmp_path / "link" / "out", ONE)


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # the tests may run as root, who is refused nothing

    with pytest.raises(UserError, match="out cannot be written: Permission denied"):
        made(tmp_path / "out")


def test_a_name_that_is_too_long_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="File name too long"):
        made(tmp_path / ("x" * 255))


def test_a_replacement_cut_off_between_its_renames_is_undone(tmp_path: Path) -> None:
    out = made(tmp_path / "out", text="old")
    out.rename(module.replaced_name(out))

    with pytest.raises(AlreadyDone):
        made(out, ONE)

    assert rows_of(out) == "old"
    assert names(tmp_path) == ["out"]


def test_a_replacement_cut_off_after_its_renames_is_cleared_up(tmp_path: Path) -> None:
    out = made(tmp_path / "out", text="new")
    made(module.replaced_name(out), TWO, text="old")

    with pytest.raises(AlreadyDone):
        made(out, ONE)

    assert rows_of(out) == "new"
    assert names(tmp_path) == ["out"]


RACE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from schemas.errors import UserError
from schemas.run import AlreadyDone, run_into

def write(out, mine, replace):
    try:
        with run_into(out, mine, replace=replace) as run:
            (run.folder / "rows").write_text(mine)
            said = '{"format_version": 1, "fingerprint": "%s", "kind": "text", "shards": [{"path": "rows"}]}' % mine
            (run.folder / "manifest.json").write_text(said)
            run.publish()
        return 10
    except AlreadyDone:
        return 11
    except UserError:
        return 12

for number in range(int(sys.argv[2])):
    out = Path(sys.argv[1]) / str(number)
    wait, go = os.pipe()
    children = []
    for child in range(4):
        pid = os.fork()
        if not pid:
            os.close(go)
            os.read(wait, 1)
            status = 99
            try:
                status = write(out, str(child) if sys.argv[3] != "same" else "same", sys.argv[3] == "replace")
            finally:
                os._exit(status)
        children.append(pid)
    os.close(go), os.close(wait)
    print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children), (out / "rows").read_text())
"""


def race(folder: Path, rounds: int, way: str) -> list[tuple[list[int], str]]:
    """Four writers at once, again and again: 10 won, 11 found it done, 12 was refused; and what the folder holds."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", RACE, str(folder), str(rounds), way, str(root)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""})
    lines = [line.split() for line in said.stdout.splitlines()]
    return [([int(one) for one in line[:-1]], line[-1]) for line in lines]


@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_of_writers_at_once_exactly_one_wins(tmp_path: Path, rounds: int) -> None:
    races = race(tmp_path, rounds, "other")

    assert len(races) == rounds
    for said, held in races:
        assert sorted(said) == [10, 12, 12, 12]
        assert int(held) == said.index(10)
    assert sorted(map(int, names(tmp_path))) == list(range(rounds))


@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_of_equal_runs_at_once_one_writes(tmp_path: Path, rounds: int) -> None:
    races = race(tmp_path, rounds, "same")

    assert all(said.count(10) == 1 and set(said) <= {10, 11, 12} for said, _ in races)
    assert sorted(map(int, names(tmp_path))) == list(range(rounds))


@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_writers_that_replace_each_other_leave_one_whole_result(tmp_path: Path, rounds: int) -> None:
    races = race(tmp_path, rounds, "replace")

    for said, held in races:
        assert set(said) <= {10, 12}
        assert said[int(held)] == 10
    assert sorted(map(int, names(tmp_path))) == list(range(rounds))
