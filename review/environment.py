"""The review server's own environment: made once for all projects, in the user's cache directory.

Argilla's server pins libraries that exclude ours, so it lives apart. What it needs is locked with hashes in
`server/requirements.txt`; the folder is named after that file and the Python it was made for, is made under another
name and renamed when whole, so that a kill leaves nothing half made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from schemas.errors import UserError

REQUIREMENTS = Path(__file__).parent / "server" / "requirements.txt"
"""Every distribution of the server's environment, with its hashes."""

NEWEST = (3, 13)
"""The newest Python that wheels of all of them exist for; 3.11 is the oldest that assay runs on."""

_UNREACHABLE = ("connection", "resolve", "network", "timed out", "no matching distribution")


def cache_folder() -> Path:
    """Where environments lie: below the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay" / "review-server"


def server_python(say: Callable[[str], None]) -> Path:
    """The Python of the server's environment, which is made first where it is missing; `say` is told how far it is.

    Raises UserError when it cannot be made: no package index within reach, no fitting Python, no disk.
    """
    base = _base_python()
    folder = cache_folder() / _name(base)
    python = folder / "bin" / "python"
    if python.exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock"), say):
        if not python.exists():  # another command may have made it while this one waited
            shutil.rmtree(folder, ignore_errors=True)  # its Python is gone
            _make(folder, base, say)
    return python


def _base_python() -> str:
    """A Python that the locked requirements fit: this one, or an older one beside it."""
    if sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], 10, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    raise UserError(
        f"the review server needs Python 3.11 to 3.{NEWEST[1]}, and this is 3.{sys.version_info.minor}",
        hint=f"install python3.{NEWEST[1]} beside it; the review server finds it by that name",
    )


def _name(base: str) -> str:
    own = f"3.{sys.version_info.minor}"
    version = own if base == sys.executable else Path(base).name.removeprefix("python")
    return f"{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}-py{version}"


@contextmanager
def _alone(lock: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock, waiting for another command that installs the same."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another command is installing the review server: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make(folder: Path, base: str, say: Callable[[str], None]) -> None:
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)  # a killed command's; the lock is ours
    say(f"installing the review server into {folder}: once for all projects, about 3 minutes and 600 MB")
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _run([base, "-m", "venv", "--without-pip", str(made)], "its environment could not be made")
        _install(made / "bin" / "python", say)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    say("the review server is installed")


def _install(python: Path, say: Callable[[str], None]) -> None:
    """Install the requirements. Debian leaves `ensurepip` out of its Python, and uv's environments have no pip."""
    chosen = ["--require-hashes", "--only-binary", ":all:", "--requirement", str(REQUIREMENTS)]
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    if find_spec("pip"):
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", *quiet, *chosen]
    elif find_spec("ensurepip"):
        _run([str(python), "-m", "ensurepip"], "pip could not be put into its environment")
        command = [str(python), "-m", "pip", "install", *quiet, *chosen]
    elif shutil.which("uv"):
        command = ["uv", "pip", "install", "--python", str(python), *chosen]
    else:
        raise UserError("there is no pip to install the review server with", hint=f"{sys.executable} -m ensurepip")
    total = sum(line[:1].isalnum() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    _run(command, "the review server could not be installed", _progress(total, say))


def _progress(total: int, say: Callable[[str], None]) -> Callable[[str], None]:
    """Told each line of pip's, says every now and then how far it is."""
    begun = 0

    def told(line: str) -> None:
        nonlocal begun
        if line.startswith("Collecting "):
            begun += 1
            if begun % 15 == 0:
                say(f"  {begun} of {total} packages fetched")
        elif line.startswith("Installing collected"):
            say(f"  putting {begun or total} packages in place")

    return told


def _run(command: list[str], failure: str, told: Callable[[str], None] = lambda line: None) -> None:
    """Run a command, showing its lines to `told`; a UserError with its last words when it fails."""
    settings = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=settings
    )
    assert running.stdout is not None
    lines: list[str] = []
    try:
        for line in running.stdout:
            told(line)
            lines = [*lines[-30:], line.strip()]
        status = running.wait()
    except BaseException:
        running.kill()
        running.wait()
        raise
    if status:
        errors = [line for line in lines if "error" in line.lower()] or lines or [f"exit status {status}"]
        offline = any(word in line.lower() for line in lines for word in _UNREACHABLE)
        raise UserError(
            f"{failure}: {errors[0][:300]}",
            hint="no package index could be reached; it is needed once, after that the server works offline. "
            "PIP_INDEX_URL names a mirror"
            if offline
            else "the same command tries again",
        )
