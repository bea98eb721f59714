"""The process in which llama.cpp serves a model: started by `synth.teachers.local`, by this file's path.

It imports nothing of ours, reads its settings as one line of JSON on standard input, answers with one line on standard
output (`port`, or `error`), and ends when standard input does: so it never outlives who started it, whatever killed
that. The key stands in no argument and in no variable of the environment.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_HTTP_THREADS = 128
"""Each open connection holds one: more than the runner keeps open to a teacher of few slots."""

_PROMPT_CACHE_MIB = 256
_ERRORS_ONLY = 1
"""llama.cpp's verbosity: what it logs above it may hold prompts."""

_LOOK_SECONDS = 1.0


def serve() -> None:
    """Serve until standard input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # llama.cpp may write to standard output
    settings = json.loads(sys.stdin.buffer.readline())
    _end_by_signal(armed=True)
    threading.Thread(target=_end_with_input, args=(settings,), daemon=True).start()
    try:
        import xllamacpp

        server = xllamacpp.Server(_params(xllamacpp, settings))
    except (ImportError, OSError, RuntimeError) as error:
        _answer(answers, {"error": str(error)})
        _end(settings, 1)
    _end_by_signal(armed=False)
    _answer(answers, {"port": int(server.listening_address.rpartition(":")[2])})
    # A process that forked from the one that started this may hold its end of the pipe open: so look for that, too.
    while os.getppid() == settings["parent"]:
        time.sleep(_LOOK_SECONDS)
    _end(settings)


def _params(xllamacpp: Any, settings: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.model_alias = {settings["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.api_keys = [settings["key"]]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context_tokens"]
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = settings["threads"]
        cpu.poll = 0  # waiting threads sleep: who spins takes the core from who works
    params.n_threads_http = _HTTP_THREADS
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.verbosity = _ERRORS_ONLY
    params.offline = True
    params.ui = False
    params.endpoint_slots = False
    return params


def _end_by_signal(*, armed: bool) -> None:
    """Have the kernel end this process (SIGIO) when standard input ends: while a model is loaded, which may take
    minutes and all memory, no thread of Python's is heard."""
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC if armed else flags & ~os.O_ASYNC)


def _end_with_input(settings: dict[str, Any]) -> None:
    sys.stdin.buffer.read()
    _end(settings)


def _end(settings: dict[str, Any], status: int = 0) -> None:
    """End at once, and take away the key of what is no longer served: who would have may have been killed. Two threads
    may come here: the second one must not end the process between the first one's two steps."""
    key_file = Path(settings["key_file"])
    for step in (key_file.unlink, key_file.parent.rmdir):
        with suppress(OSError):
            step()
    os._exit(status)


def _answer(handle: int, value: dict[str, Any]) -> None:
    os.write(handle, json.dumps(value).encode() + b"\n")
    os.close(handle)


if __name__ == "__main__":
    serve()
