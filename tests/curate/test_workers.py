from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import psutil
import pytest

from curate import read, workers
from curate.files import CHUNK_BYTES, InputFile
from curate.read import Reading, read_files
from schemas.dataset import Reject
from schemas.errors import UserError
from tests.helpers import write_rows

LONG = "词 word " * 400


def many(path: Path) -> Path:
    """A file of some blocks: plain rows, rows in other formats, and lines that cannot be used."""
    rows: list[object] = []
    for number in range(12 * CHUNK_BYTES // 3000):
        rows.append({"instruction": f"问题 {number % 50}", "input": "", "output": LONG, "n": number})
        if number % 97 == 0:
            rows.append({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]})
        if number % 101 == 0:
            rows.append({"instruction": "no answer"})
    return write_rows(path, rows)


def everything(path: Path) -> tuple[pl.DataFrame, list[Reject]]:
    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    for piece in read_files([InputFile(path, path.name, "s")], Reading()):
        rejects += piece.rejects
        if piece.frame is not None:
            frames.append(piece.frame)
    return pl.concat(frames), rejects


def test_several_processes_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = many(tmp_path / "rows.jsonl")
    alone = everything(path)
    monkeypatch.setattr(read, "WORTH_BYTES", 1)

    together = everything(path)

    assert together[0].equals(alone[0])
    assert together[1] == alone[1]
    assert alone[0]["id"].n_unique() == alone[0].height


def test_a_worker_that_dies_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = many(tmp_path / "rows.jsonl")
    monkeypatch.setattr(read, "WORTH_BYTES", 1)
    monkeypatch.setattr(workers, "MOST", 1)
    others = set(psutil.Process().children())  # servers of other tests
    pieces = read_files([InputFile(path, path.name, "s")], Reading())
    while next(pieces).bytes_read <= CHUNK_BYTES:
        pass

    for child in set(psutil.Process().children()) - others:
        child.kill()

    with pytest.raises(UserError, match="ended"):
        list(pieces)


def test_no_worker_outlives_a_command_that_was_killed(tmp_path: Path) -> None:
    path = many(tmp_path / "rows.jsonl")
    script = (
        "import sys, time; from pathlib import Path; from curate import read; from curate.files import InputFile\n"
        "read.WORTH_BYTES = 1\n"
        "pieces = read.read_files([InputFile(Path(sys.argv[1]), 'r', 's')], read.Reading())\n"
        "while next(pieces).bytes_read <= 2 << 20: pass\n"
        "print('reading', flush=True); time.sleep(600)"
    )
    command = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert command.stdout is not None
    command.stdout.readline()
    children = psutil.Process(command.pid).children()

    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    psutil.wait_procs(children, timeout=20)

    assert children
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
