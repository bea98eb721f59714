"""A small real model on this machine as a teacher: llama.cpp in a process of its own, behind the same kind of endpoint
as any other."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import IO, Any

from schemas.command import terminable
from schemas.errors import UserError
from synth.installing import MODEL, MODEL_SHA256, has_engine, model_file, sha256_of
from synth.teachers.openai_api import Endpoint, Teacher

SLOTS = 4
"""Answers written at once."""

CONTEXT_TOKENS = 4_096
"""Prompt and answer of one request together; a longer prompt is refused, and its row rejected (`bad_request`)."""

_PROCESS = Path(__file__).with_name("llama_process.py")
_MAGIC = b"GGUF"
_LEAST_BYTES = 1_024
_START_SECONDS = 600.0
_STOP_SECONDS = 5.0
_LOG_BYTES = 1 << 16
_DETAIL_CHARS = 300


@dataclass(frozen=True)
class Serving:
    """How a local model is served."""

    slots: int = SLOTS
    context_tokens: int = CONTEXT_TOKENS
    threads: int = 0
    """0 is one for each core there is."""
    port: int = 0
    """0 is one that is free."""


@contextmanager
def local_teacher(
    model: Path | None = None, *, name: str = "local", serving: Serving | None = None
) -> Iterator[Teacher]:
    """A teacher that lives as long as the context: the small model that `synth install-teacher` installs, or the model
    in a GGUF file.

    It is served at a port of 127.0.0.1, to who has its key: a file that only this user can read, and that goes with it.
    The teacher's revision is the file's SHA-256, so that another file is asked anew. Its answers to the same question
    may differ: by chance above temperature 0, and at 0 in what is nearly a tie, since numbers are summed in another
    order beside other questions. The journal keeps the first.

    Raises UserError when something is not installed, the file is no model, or the server does not start.
    """
    with _served(model, name, serving or Serving()) as (teacher, process):
        try:
            yield teacher
        except UserError as error:
            if process.poll() is None:
                raise
            # The endpoint did not answer because its process is gone: say that.
            raise UserError(f"the local teacher's process ended: {_ending(process)}", hint=error.message) from error


def serve(model: Path | None, serving: Serving, tell: Callable[[Teacher], None]) -> None:
    """Serve a model until Ctrl-C or a termination; `tell` is called when it is there. Raises as `local_teacher`."""
    with _served(model, "local", serving) as (teacher, process), suppress(KeyboardInterrupt), terminable():
        tell(teacher)
        raise UserError(
            f"the local teacher's process ended: {_ending(process)}", hint="the same command starts it anew"
        )


@contextmanager
def _served(model: Path | None, name: str, serving: Serving) -> Iterator[tuple[Teacher, subprocess.Popen[bytes]]]:
    if not has_engine():
        raise _not_installed()
    file = _default_file() if model is None else _gguf(model)
    revision = sha256_of(file)
    if model is None and revision != MODEL_SHA256:
        raise UserError(f"{file} has been changed", hint="synth install-teacher puts it right")
    served = MODEL if model is None else file.stem
    with tempfile.TemporaryDirectory(prefix="assay-teacher-") as folder, tempfile.TemporaryFile() as log:
        key = secrets.token_urlsafe(32)
        key_file = Path(folder) / "key"
        key_file.touch(mode=0o600)
        key_file.write_text(key, encoding="ascii")
        settings = asdict(serving) | {
            "model": str(file.resolve()),
            "name": served,
            "key": key,
            "key_file": str(key_file),
            "threads": serving.threads or cores(),
            "parent": os.getpid(),
        }
        process = _start(settings, log)
        try:
            port = _port(process, log, file, serving.port)
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", key_file=str(key_file), transport="llama")
            yield Teacher(name, served, (endpoint,), revision=f"sha256:{revision}"), process
        finally:
            _stop(process)


def cores() -> int:
    """How many cores this process may use: those it may run on, each once, and no more than its container is given."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    twins = set()
    for number in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        try:
            twins.add(siblings.read_text(encoding="ascii").strip())
        except OSError:
            twins.add(str(number))
    count = len(twins)
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        count = min(count, round(int(quota) / int(period)))
    return max(1, count)


def _default_file() -> Path:
    found = model_file()
    if found is None:
        raise _not_installed()
    return found


def _not_installed() -> UserError:
    return UserError("the local teacher is not installed", hint="synth install-teacher does it: 127 MB, once")


def _gguf(path: Path) -> Path:
    """A path that holds a GGUF file. Raises UserError for one that does not."""
    if not path.is_file():
        said = "is no file" if path.exists() else "does not exist"
        raise UserError(f"{path} {said}", hint="name a file of a model in the GGUF format")
    try:
        with path.open("rb") as file:
            begins = file.read(len(_MAGIC))
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint="check who owns it") from None
    if begins != _MAGIC:
        hint = "a folder of safetensors is converted by llama.cpp's convert_hf_to_gguf.py"
        if b"version https://git-lfs".startswith(begins) and begins:
            hint = "it is a pointer to a large file: git lfs pull fetches the file itself"
        raise UserError(f"{path} is no model in the GGUF format", hint=hint)
    if size < _LEAST_BYTES:
        raise UserError(f"{path} has {size} bytes and is not whole", hint="fetch it again")
    return path


def _start(settings: dict[str, Any], log: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": str(settings["threads"]), "OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen(
        [sys.executable, "-P", str(_PROCESS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        start_new_session=True,  # Ctrl-C is for who started it
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended by itself, and says why
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
    return process


def _port(process: subprocess.Popen[bytes], log: IO[bytes], file: Path, asked: int) -> int:
    """Wait until the model is served; the port. Raises UserError saying why it is not."""
    assert process.stdout is not None
    began = monotonic()
    if not select.select([process.stdout], [], [], _START_SECONDS)[0]:
        raise UserError(f"{file} is not loaded after {monotonic() - began:.0f} seconds", hint="try a smaller model")
    line = process.stdout.readline()
    said = json.loads(line) if line else {}
    if "port" in said:
        return int(said["port"])
    process.wait()
    logged = _first_error(log)
    if asked and "bind" in logged:
        raise UserError(f"port {asked} is taken", hint="name another one, or none for a free one")
    if not said:
        raise UserError(
            f"llama.cpp crashed while it loaded {file}: {_ending(process)}",
            hint="the file may be damaged, or its model, context and slots too large for this machine",
        )
    if "Failed to init server" not in said["error"]:
        raise UserError(f"llama.cpp cannot be loaded: {said['error'][:_DETAIL_CHARS]}", hint="synth install-teacher")
    raise UserError(
        f"llama.cpp cannot load {file}: {logged or said['error']}",
        hint="see that the file is whole, and that its architecture is not newer than the installed xllamacpp",
    )


def _first_error(log: IO[bytes]) -> str:
    """The first error in the log: those after it follow from it."""
    log.seek(0)
    lines = log.read(_LOG_BYTES).decode(errors="replace").splitlines()
    first = next((line for line in lines if " E " in line), "")
    return first.partition(" E ")[2].partition(": ")[2].strip()[:_DETAIL_CHARS]


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    if code == -9:
        return "killed (signal 9); there may have been too little memory"
    return f"signal {-code}" if code < 0 else f"status {code}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Close its standard input, which ends it; or kill it."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
