"""Checkpoints that can be trusted: a marker written last, a hash of every file, and the last whole one found again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import orjson

from schemas.dataset import sha256_of
from schemas.run import sync_folder, sync_tree, write_durably

CHECKPOINTS = "checkpoints"
"""Folder of a run that they are in."""

COMPLETE = "COMPLETE"
"""Name of the marker: written when everything else is on disk, and holds each file's size and SHA-256."""

_NAME = re.compile(r"checkpoint-(\d+)")


def step_of(folder: Path) -> int:
    """The optimizer step that a checkpoint was taken at; -1 of what is no checkpoint."""
    found = _NAME.fullmatch(folder.name)
    return int(found[1]) if found else -1


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, whole or not, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_dir() and step_of(path) >= 0), key=step_of)


def seal(folder: Path) -> None:
    """Make a checkpoint durable and mark it whole."""
    sync_tree(folder)
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    write_durably(folder / COMPLETE, orjson.dumps({"step": step_of(folder), "files": files}))
    sync_folder(folder.parent)


def damage(folder: Path) -> str:
    """What is wrong with a checkpoint, in words; empty when it is whole. Reads every byte."""
    try:
        said = orjson.loads((folder / COMPLETE).read_bytes())["files"]
        named = {str(name): (int(one["bytes"]), str(one["sha256"])) for name, one in said.items()}
    except FileNotFoundError:
        return "it was not finished"
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ValueError):
        return f"its {COMPLETE} is damaged"
    for name, (size, sha256) in named.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is gone"
        if path.stat().st_size != size or sha256_of(path) != sha256:
            return f"{name} is not what was written"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    unknown = sorted(there - named.keys() - {COMPLETE})
    return f"{unknown[0]} is not part of it" if unknown else ""


def last_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint in a folder, and a sentence for each newer one that is damaged. Those are removed, so
    that nothing takes them for whole."""
    said: list[str] = []
    for path in reversed(checkpoints(folder)):
        wrong = damage(path)
        if not wrong:
            return path, said
        said.append(f"{path.name} is left out: {wrong}")
        shutil.rmtree(path, ignore_errors=True)
    return None, said


def prune(folder: Path, keep: int, best: Path | None) -> None:
    """Remove all but the last `keep` checkpoints and the best one. The marker goes first: what is half removed is not
    whole."""
    marked = [path for path in checkpoints(folder) if (path / COMPLETE).is_file()]
    for path in marked[:-keep]:
        if best is None or path.name != best.name:
            (path / COMPLETE).unlink()
            shutil.rmtree(path, ignore_errors=True)
