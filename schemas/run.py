"""One run into one folder: skip what is done, continue what was cut off, refuse what is something else.

The run works in a sibling folder `.NAME.tmp`, locked while it runs, and renames it to NAME when everything in it is on
disk. A reader therefore finds the whole dataset or none. A kill leaves the temporary folder, which the same command
continues and another clears.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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

    def publish(self) -> None:
        """Make the folder durable and rename it to its name, replacing what was there."""
        (self.folder / STATE).unlink(missing_ok=True)
        sync_tree(self.folder)
        old = _sibling(self.out, "old")
        if self.out.exists():
            os.rename(self.out, old)
        os.rename(self.folder, self.out)
        sync_folder(self.out.parent)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def run_into(out: Path, fingerprint: str, *, replace: bool = False) -> Iterator[Run]:
    """A locked temporary folder for the run with this fingerprint.

    Raises AlreadyDone when `out` holds its result, UserError when `out` holds something else (and `replace` is not
    given), or when another process is writing it.
    """
    out = Path(os.path.abspath(out))
    folder = _sibling(out, "tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{out.parent} is not a folder", hint="choose another --out") from error
    lock = _locked(folder, out)
    try:
        _recover(out)
        _check_target(out, fingerprint, replace)
        continued = _claim(folder, fingerprint)
        yield Run(folder, out, continued)
    finally:
        # An unfinished but empty folder is not worth continuing, and would be litter beside the user's files.
        if folder.is_dir() and _same(lock, folder) and not any(path.name != STATE for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def dataset_fingerprint(folder: Path) -> str | None:
    """Fingerprint in the manifest of a dataset folder (or of the first dataset in a folder of several), or None."""
    for path in (folder / MANIFEST, *sorted(folder.glob(f"*/{MANIFEST}"))):
        if path.is_file():
            try:
                found = orjson.loads(path.read_bytes())
            except orjson.JSONDecodeError as error:
                raise DatasetError(
                    f"{path} is damaged: {error}", hint="make the dataset again, with --replace"
                ) from error
            return str(found.get("fingerprint")) if isinstance(found, dict) else None
    return None


def _sibling(out: Path, ending: str) -> Path:
    return out.with_name(f".{out.name}.{ending}")


def _same(handle: int, path: Path) -> bool:
    try:
        here = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (mine.st_dev, mine.st_ino)


def _locked(folder: Path, out: Path) -> int:
    """A handle that holds the lock on the temporary folder itself, so that no lock file stays behind."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise UserError(
                f"another command is writing {out}", hint="wait until it has finished, or choose another --out"
            ) from None
        if _same(handle, folder):
            return handle
        os.close(handle)  # it was published or cleared between opening and locking


def _recover(out: Path) -> None:
    """Undo a replacement that was cut off between its two renames."""
    old = _sibling(out, "old")
    if not old.exists():
        return
    if out.exists():
        shutil.rmtree(old)
    else:
        os.rename(old, out)


def _check_target(out: Path, fingerprint: str, replace: bool) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file, not a folder", hint="choose another --out")
    found = dataset_fingerprint(out)
    if found == fingerprint:
        raise AlreadyDone
    if found is None:
        if not any(out.iterdir()):
            return
        raise UserError(
            f"{out} holds other files and is no dataset", hint="choose another --out; nothing in it was touched"
        )
    if not replace:
        raise DatasetError(
            f"{out} holds the result of another run (fingerprint {found[:12]}, this one is {fingerprint[:12]})",
            hint="choose another --out, or give --replace to put the new dataset in its place",
        )


def _claim(folder: Path, fingerprint: str) -> bool:
    """Make the temporary folder this run's own; True if it holds earlier work of the same run."""
    state = folder / STATE
    try:
        known = orjson.loads(state.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        known = {}
    if known.get("fingerprint") == fingerprint:
        return True
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    write_durably(state, orjson.dumps({"fingerprint": fingerprint}))
    return False


def write_durably(path: Path, data: bytes) -> None:
    """Write a small file so that after a power cut it is whole or absent."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
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
