"""One run into one folder: skip what is done, continue what was cut off, refuse what is something else.

The run works in a sibling folder `.NAME.assay-tmp`, locked while it runs, and renames it to NAME when everything in it
is on disk. A reader therefore finds the whole dataset or none. A kill leaves the temporary folder, which the same
command continues and another clears.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from schemas.errors import DatasetError, UserError
from schemas.manifest import MANIFEST

STATE = "run.json"
"""File in the temporary folder that says which run it belongs to; not part of the finished dataset."""


class AlreadyDone(Exception):  # noqa: N818 - an outcome, not an error
    """The folder holds the finished result of exactly this run."""


@dataclass(frozen=True)
class Run:
    """A run in progress: write below `folder`, then call `publish`."""

    folder: Path
    out: Path
    continued: bool
    """True when an earlier, cut-off run of the same fingerprint left work behind in `folder`."""

    def clear(self) -> None:
        """Remove everything written so far; a run that is cut off from now on begins anew."""
        _clear(self.folder)

    def publish(self) -> None:
        """Make the folder durable and rename it to its name, replacing what was there."""
        sync_tree(self.folder)
        (self.folder / STATE).unlink(missing_ok=True)
        sync_folder(self.folder)
        old = _sibling(self.out, "old")
        if self.out.exists():
            self.out.rename(old)
        self.folder.rename(self.out)
        sync_folder(self.out.parent)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def run_into(out: Path, fingerprint: str, *, replace: bool = False) -> Iterator[Run]:
    """A locked temporary folder for the run with this fingerprint.

    Raises AlreadyDone when `out` holds its result, UserError when `out` holds something else (and `replace` is not
    given, or it is not all ours to replace), or when another process is writing it. What the run leaves behind is kept
    for the same command to continue, unless it ends in a UserError: then the same command would fail again.
    """
    out = Path(os.path.realpath(out))  # through a link, so that the folder it points to is written, under one lock
    folder = _sibling(out, "tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder, out)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{error.filename} is not a folder", hint="choose another --out") from error
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}", hint="choose another --out") from error
    try:
        _recover(out)
        _check_target(out, fingerprint, replace)
        run = Run(folder, out, _claim(folder, fingerprint))
        try:
            yield run
        except UserError:
            run.clear()
            raise
    finally:
        # An unfinished but empty folder is not worth continuing, and would be litter beside the user's files.
        if _same(lock, folder) and not any(path.name != STATE for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def standing(out: Path, fingerprint: str) -> Literal["nothing", "this", "another"]:
    """Whether `out` holds nothing, the result of this run, or that of another.

    Raises UserError when it is no folder, or a folder of something that no run wrote.
    """
    if not out.exists() and not out.is_symlink():
        return "nothing"
    if not out.is_dir():
        raise UserError(f"{out} is a file, not a folder", hint="choose another --out")
    if not any(out.iterdir()):
        return "nothing"
    found = _manifests(out)
    if not found:
        raise UserError(
            f"{out} holds other files and is no dataset", hint="choose another --out; nothing in it was touched"
        )
    return "this" if all(one["fingerprint"] == fingerprint for one in found.values()) else "another"


def replaced_name(out: Path) -> Path:
    """Where a dataset stands for the moment in which another one takes its place."""
    return _sibling(Path(os.path.realpath(out)), "old")


def _manifests(folder: Path) -> dict[Path, dict[str, Any]]:
    """Manifest of the dataset in a folder, or of those that one import wrote below it, one for each kind of row."""
    own = folder / MANIFEST
    found = {path.parent: _manifest(path) for path in ([own] if own.is_file() else folder.glob(f"*/{MANIFEST}"))}
    if own.is_file() and found[folder] is None:
        raise DatasetError(
            f"{own} is damaged, or is not a dataset's", hint=f"if nothing of yours is in {folder}, delete it by hand"
        )
    ours = {place: said for place, said in found.items() if said is not None}
    together = len({said["fingerprint"] for said in ours.values()}) == 1
    if len(ours) < len(found) or not together or any(at not in (folder, folder / ours[at]["kind"]) for at in ours):
        return {}
    return ours


def _manifest(path: Path) -> dict[str, Any] | None:
    try:
        said = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return None
    ours = isinstance(said, dict) and {"format_version", "fingerprint", "kind", "shards"} <= said.keys()
    return said if ours else None


def _foreign(out: Path) -> list[str]:
    """Files in a folder of ours that no run wrote."""
    known = set()
    for place, said in _manifests(out).items():
        written = [one["path"] for key in ("shards", "dropped", "rejected", "files") for one in said.get(key, ())]
        known |= {place / path for path in (MANIFEST, *written)}
    return sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path not in known and (path.is_symlink() or not path.is_dir())
    )


def _sibling(out: Path, ending: str) -> Path:
    return out.with_name(f".{out.name}.assay-{ending}")


def _same(handle: int, path: Path) -> bool:
    try:
        here = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (mine.st_dev, mine.st_ino)


def _locked(folder: Path, out: Path) -> int:
    """A handle that holds the lock on the temporary folder itself, so that no lock file stays behind."""
    busy = UserError(f"another command is writing {out}", hint="wait until it has finished, or choose another --out")
    while True:
        folder.mkdir(exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if not _lock(handle):
            os.close(handle)
            raise busy
        if _same(handle, folder):
            break
        os.close(handle)  # it was published or cleared between opening and locking
    if _publishing(out):
        if not any(folder.iterdir()):
            folder.rmdir()
        os.close(handle)
        raise busy
    return handle


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _publishing(out: Path) -> bool:
    """Whether another command has just renamed its folder to `out`, lock and all, and is clearing up behind itself."""
    try:
        handle = os.open(out, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


def _recover(out: Path) -> None:
    """Undo a replacement that was cut off between its two renames, or clear up behind one that was not."""
    old = _sibling(out, "old")
    if not old.exists():
        return
    if out.exists():
        shutil.rmtree(old)
    else:
        old.rename(out)


def _check_target(out: Path, fingerprint: str, replace: bool) -> None:
    found = standing(out, fingerprint)
    if found == "nothing":
        return
    if found == "this":
        raise AlreadyDone
    if not replace:
        raise DatasetError(
            f"{out} holds the result of another run",
            hint="choose another --out, or give --replace to put the new one there",
        )
    foreign = _foreign(out)
    if foreign:
        more = f" and {len(foreign) - 1} more" if foreign[1:] else ""
        raise UserError(
            f"{out} cannot be replaced: it holds files that no run wrote: {foreign[0]}{more}",
            hint="move them elsewhere first, or choose another --out",
        )


def _claim(folder: Path, fingerprint: str) -> bool:
    """Make the temporary folder this run's own; True if it holds earlier work of the same run."""
    said = orjson.dumps({"fingerprint": fingerprint})
    state = folder / STATE
    if state.is_file() and state.read_bytes() == said:
        return True
    _clear(folder)
    write_durably(state, said)
    return False


def _clear(folder: Path) -> None:
    """Empty the temporary folder. What says whose it is goes first: nobody may continue what is half removed."""
    (folder / STATE).unlink(missing_ok=True)
    sync_folder(folder)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file so that after a power cut it is whole or absent."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to disk."""
    for root, _, files in os.walk(folder):
        for name in files:
            handle = os.open(Path(root) / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(root))
