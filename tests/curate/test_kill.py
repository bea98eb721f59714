"""A dataset is whole or absent: commands that are killed at any moment, and then run again."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.dataset import Dataset, open_dataset, problems

ROOT = Path(__file__).parents[2]

RECIPE = """
stages:
  - use: normalise_text
  - use: exact_duplicates
  - use: length
    min_chars: 12
  - use: exact_duplicates
    name: same_question
    field: instruction
  - use: empty
"""

DRIVER = """
import json, os, signal, sys

sys.path.insert(0, sys.argv[2])
import curate.cli, curate.importing, curate.pages, curate.recipe, curate.running  # loaded once, for every child
from curate.engines.local import LocalEngine

# What changes the disk for good, and what a kill can come between.
CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir")


def carry_out(args, kill_at, wanted, log):
    calls, seen = [], []

    def counted(name, real):
        def call(*args, **kwargs):
            calls.append(f"{name} {' '.join(str(one) for one in args)}")
            if len(calls) == kill_at or (wanted and wanted in calls[-1]):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

    for name in CALLS:
        setattr(os, name, counted(name, getattr(os, name)))
    segment = LocalEngine._segment
    def remembered(self, rows, steps, choice, folder):
        seen.append(folder.name)
        return segment(self, rows, steps, choice, folder)
    LocalEngine._segment = remembered
    sys.argv = ["curate", *args]
    status = 70
    try:
        curate.cli.main()
        status = 0
    except SystemExit as left:
        status = left.code or 0
    finally:
        with open(log, "w") as file:
            json.dump({"status": status, "calls": len(calls), "segments": seen}, file)
        os._exit(0)


for job in json.loads(sys.argv[1]):
    log = sys.argv[3]
    if os.path.exists(log):
        os.remove(log)
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        carry_out(job["args"], job.get("kill_at"), job.get("kill_when"), log)
    os.waitpid(pid, 0)
    said = json.load(open(log)) if os.path.exists(log) and os.path.getsize(log) else {"status": -9}
    print(json.dumps(said), flush=True)
"""


def drive(jobs: Sequence[dict[str, Any]], log: Path) -> list[dict[str, Any]]:
    """Carry out commands one after the other, each in a process of its own; `status` is -9 where one was killed.

    `kill_at` is the number of the call that changes the disk in whose place the process dies, `kill_when` a part of
    that call in words.
    """
    command = [sys.executable, "-c", DRIVER, json.dumps(jobs), str(ROOT), str(log)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in said.stdout.splitlines()]


def write_rows(path: Path) -> None:
    dice = random.Random(1)
    with path.open("w") as file:
        for number in range(600):
            answer = dice.choice(["Yes.", "用水泡三分钟就可以喝了。", "It takes about three minutes in hot water."])
            row = {"instruction": f"问题 {dice.randrange(300)}?", "output": answer * dice.randrange(1, 4)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            if number % 100 == 0:
                file.write("not JSON\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files to import, the dataset `raw` of them, and what the run makes of it, `clean`: none was interrupted."""
    home = tmp_path_factory.mktemp("kill")
    write_rows(home / "rows.jsonl")
    (home / "recipe.yaml").write_text(RECIPE)
    said = drive([{"args": import_into(home, "raw")}, {"args": run_into(home, "clean")}], home / "log")
    assert [one["status"] for one in said] == [0, 0]
    assert len(list(open_dataset(home / "clean").dropped())) > 1
    return home


def import_into(home: Path, out: str) -> list[str]:
    return ["import", str(home / "rows.jsonl"), "--out", str(home / out), "--source", "tea"]


def run_into(home: Path, out: str) -> list[str]:
    return ["run", str(home / "recipe.yaml"), "--input", str(home / "raw"), "--out", str(home / out)]


COMMANDS = {"import": (import_into, "raw"), "run": (run_into, "clean")}


def facts(dataset: Dataset) -> dict[str, Any]:
    """Everything about a dataset that does not depend on when and where it was made."""
    said = dataset.manifest.model_dump(exclude={"created", "seconds", "files", "checksum", "name"})
    for step in said["steps"]:
        del step["seconds"]
    folder = dataset.folder
    return {
        "manifest": said,
        "data": {path.name: path.read_bytes() for path in (folder / "data").iterdir()},
        "dropped": [frame.rows() for frame in dataset.dropped()],
        "rejected": list(dataset.rejected()),
        "names": sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")),
    }


def assert_whole(home: Path, out: str, like: str) -> None:
    """`out` is the dataset that `like` is, and nothing lies beside it."""
    assert facts(open_dataset(home / out)) == facts(open_dataset(home / like))
    assert not list(problems(home / out))
    assert not [path.name for path in home.iterdir() if path.name.startswith(".")]
    shutil.rmtree(home / out)


@pytest.mark.parametrize("command", ["import", "run"])
@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_a_command_killed_at_a_random_moment_does_the_same_when_run_again(home: Path, command: str, kills: int) -> None:
    arguments, like = COMMANDS[command]
    args = [sys.executable, "-m", "curate.cli", *arguments(home, "again")]
    dice = random.Random(kills)
    began = time.monotonic()
    subprocess.run(args, cwd=ROOT, capture_output=True, check=True)
    seconds = time.monotonic() - began
    shutil.rmtree(home / "again")

    for _ in range(kills):
        process = subprocess.Popen(args, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0, seconds * 1.05))
        process.kill()
        process.wait()
        subprocess.run(args, cwd=ROOT, capture_output=True, check=True)

        assert_whole(home, "again", like)


@pytest.mark.parametrize("command", ["import", "run"])
@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.soak)])
def test_a_command_killed_at_any_change_to_the_disk_does_the_same_when_run_again(
    home: Path, command: str, kills: int
) -> None:
    arguments, like = COMMANDS[command]
    (whole,) = drive([{"args": arguments(home, "whole")}], home / "log")
    shutil.rmtree(home / "whole")
    places = sorted({1 + number * whole["calls"] // kills for number in range(kills)} | {whole["calls"]})

    said = drive(
        [
            {"args": arguments(home, f"again-{place}"), "kill_at": kill_at}
            for place in places
            for kill_at in (place, None)
        ],
        home / "log",
    )

    assert [one["status"] for one in said] == [-9, 0] * len(places)
    for place in places:
        assert_whole(home, f"again-{place}", like)


@pytest.mark.parametrize("command", ["import", "run"])
@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_a_replacement_killed_at_any_change_to_the_disk_leaves_the_old_dataset_or_the_new_one(
    home: Path, command: str, kills: int
) -> None:
    arguments, like = COMMANDS[command]
    shutil.copytree(home / "raw", home / "other")
    (home / "other.jsonl").write_text('{"instruction": "Tea?", "output": "A drink of leaves."}\n')
    old = ["import", str(home / "other.jsonl"), "--out", str(home / "other"), "--replace"]
    replace = [*arguments(home, "again"), "--replace"]
    first, whole = drive([{"args": old}, {"args": [*arguments(home, "other"), "--replace"]}], home / "log")
    shutil.rmtree(home / "other")
    # Most of what happens, happens before: every second kill is among the last calls, where the folders change places.
    last = [whole["calls"] - number for number in range(kills // 2)]
    places = sorted(
        {*last, *(1 + number * whole["calls"] // kills for number in range(kills))} & set(range(1, whole["calls"] + 1))
    )

    for place in places:
        old_one = [*old[:-3], "--out", str(home / "again")]
        killed = drive([{"args": old_one}, {"args": replace, "kill_at": place}], home / "log")
        # Until the command is run again, the old dataset, or the new one, or the old one put aside is there.
        there = [name for name in ("again", ".again.assay-old") if (home / name / "manifest.json").is_file()]
        whole_meanwhile = [not list(problems(home / name)) for name in there[:1]]
        (again,) = drive([{"args": replace}], home / "log")

        assert [one["status"] for one in killed] == [0, -9]
        assert whole_meanwhile == [True]
        assert again["status"] == 0
        assert_whole(home, "again", like)
    assert first["status"] == whole["status"] == 0


def test_a_replacement_killed_between_its_renames_is_finished_by_the_same_command(home: Path) -> None:
    (home / "tea.jsonl").write_text('{"instruction": "Tea?", "output": "A drink of leaves."}\n')
    old = ["import", str(home / "tea.jsonl"), "--out", str(home / "again")]
    replace = [*run_into(home, "again"), "--replace"]
    moved = f"rename {home}/.again.assay-tmp {home}/again"

    said = drive([{"args": old}, {"args": replace, "kill_when": moved}], home / "log")
    between = sorted(path.name for path in home.iterdir() if "again" in path.name)
    refused, again = drive([{"args": run_into(home, "again")}, {"args": replace}], home / "log")

    assert [one["status"] for one in said] == [0, -9]
    assert between == [".again.assay-old", ".again.assay-tmp"]
    assert (refused["status"], again["status"]) == (2, 0)
    assert_whole(home, "again", "clean")


@pytest.mark.parametrize(
    ("moment", "redone"),
    [
        ("replace {work}/000/.done.json.part", ["000", "001"]),
        ("mkdir {work}/001", ["001"]),
        ("replace {work}/001/.done.json.part", ["001"]),
        ("unlink {work}/000/kept.arrow", []),
        ("mkdir {home}/.again.assay-tmp/data", ["000", "001"]),
        ("replace {home}/.again.assay-tmp/.manifest.json.part", []),
        ("rmdir {work}", ["000", "001"]),
    ],
)
def test_a_run_continues_behind_the_last_comparison_it_finished(home: Path, moment: str, redone: list[str]) -> None:
    when = moment.format(home=home, work=home / ".again.assay-tmp" / "work")

    killed, again = drive(
        [{"args": run_into(home, "again"), "kill_when": when}, {"args": run_into(home, "again")}], home / "log"
    )

    assert killed["status"] == -9
    assert again == {"status": 0, "calls": again["calls"], "segments": redone}
    assert_whole(home, "again", "clean")


def test_work_that_was_half_removed_is_done_again_and_not_continued(home: Path) -> None:
    work = home / ".again.assay-tmp" / "work"
    (killed,) = drive([{"args": run_into(home, "again"), "kill_when": f"mkdir {work}/001"}], home / "log")
    (work / "000" / "kept.arrow").unlink()

    (again,) = drive([{"args": run_into(home, "again")}], home / "log")

    assert killed["status"] == -9
    assert again["segments"] == ["000", "001"]
    assert_whole(home, "again", "clean")
