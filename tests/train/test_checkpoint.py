"""Checkpoints: whole or known to be damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from train.checkpoint import COMPLETE, checkpoints, damage, last_whole, prune, seal


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"w" * 1000)
    (path / "state.json").write_text(str(step), encoding="utf-8")
    seal(path)
    return path


def test_a_sealed_checkpoint_is_whole(tmp_path: Path) -> None:
    assert damage(checkpoint(tmp_path, 3)) == ""


@pytest.mark.parametrize("harm", ["unfinished", "truncated", "flipped", "gone", "more", "marker"])
def test_any_change_to_a_checkpoint_is_seen(tmp_path: Path, harm: str) -> None:
    path = checkpoint(tmp_path, 3)
    file = path / "weights"
    harms: dict[str, Callable[[], object]] = {
        "unfinished": (path / COMPLETE).unlink,
        "truncated": lambda: file.write_bytes(b"w" * 999),
        "flipped": lambda: file.write_bytes(b"w" * 999 + b"x"),
        "gone": file.unlink,
        "more": lambda: (path / "more").write_bytes(b""),
        "marker": lambda: (path / COMPLETE).write_bytes(b'{"files": 3}'),
    }
    harms[harm]()

    assert damage(path)


def test_the_newest_whole_one_is_found_and_damaged_newer_ones_are_removed(tmp_path: Path) -> None:
    for step in (2, 10, 4):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-10" / "weights").write_bytes(b"")

    found, said = last_whole(tmp_path)

    assert found == tmp_path / "checkpoint-4"
    assert said == ["checkpoint-10 is left out: weights is not what was written"]
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-4"]


def test_without_a_whole_one_there_is_none(tmp_path: Path) -> None:
    assert last_whole(tmp_path / "nowhere") == (None, [])


def test_the_last_ones_and_the_best_one_are_kept(tmp_path: Path) -> None:
    paths = [checkpoint(tmp_path, step) for step in (1, 2, 3, 4)]

    prune(tmp_path, 2, paths[0])

    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-3", "checkpoint-4"]
