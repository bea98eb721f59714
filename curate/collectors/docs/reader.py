"""Documents are read in a process of their own: it has a time limit, a memory limit, no network and no other files.

Parsers of documents are large and their input may be hostile. What a file does to this process, the run survives.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from curate.collectors.docs.document import Document, Limits
from schemas.errors import Rejected

FORMATS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".rst": "rst",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".docx": "word",
    ".pdf": "pdf",
    ".txt": "plain",
}
"""Endings of files, and how they are read."""

MEMORY_BYTES = 4 * 2**30


class Reader:
    """Reads documents one after another in one process, which is started again when a file ends it."""

    def __init__(self, limits: Limits, timeout_seconds: float) -> None:
        self._limits = limits
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def read(self, path: Path, form: str) -> Document:
        """The sections of a file. Raises Rejected for what cannot be read, in time or at all."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        slow = threading.Event()

        def stop() -> None:
            slow.set()
            process.kill()

        timer = threading.Timer(self._timeout_seconds, stop)
        timer.start()
        try:
            request = {
                "path": str(path.absolute()),
                "form": form,
                "limits": [self._limits.max_bytes, self._limits.max_pages],
            }
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (BrokenPipeError, OSError):
            line = ""
        finally:
            timer.cancel()
        if not line.endswith("\n"):
            self._stop()
            if slow.is_set():
                raise Rejected("too_slow", f"took longer than {self._timeout_seconds:g} s to read")
            raise Rejected("unreadable", "ended the process that read it")
        answer = json.loads(line)
        if "reason" in answer:
            raise Rejected(answer["reason"], answer["detail"])
        return Document.from_json(answer)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from curate.collectors.docs.reader import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                    "PYTHONIOENCODING": "utf-8",
                },
            )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def read_document(path: Path, form: str, limits: Limits) -> Document:
    """The sections of a file, read in this process. Raises Rejected for what cannot be read."""
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise Rejected("too_large", f"is larger than {limits.max_bytes // 1_000_000:,} MB")
        if size == 0:
            raise Rejected("empty", "is empty")
        data = path.read_bytes()
    except OSError as error:
        raise Rejected("unreadable", error.strerror or type(error).__name__) from error
    if form == "word":
        from curate.collectors.docs.word import read_word

        return read_word(data)
    if form == "pdf":
        from curate.collectors.docs.pdf import read_pdf

        return read_pdf(data, limits.max_pages)
    return _read_text(data, form)


def _read_text(data: bytes, form: str) -> Document:
    from curate.collectors.collector import decode
    from curate.collectors.docs.html import read_html
    from curate.collectors.docs.markdown import read_markdown
    from curate.collectors.docs.plain import read_plain
    from curate.collectors.docs.rst import read_rst

    reads = {"markdown": read_markdown, "rst": read_rst, "html": read_html, "plain": read_plain}
    return reads[form](decode(data))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        max_bytes, max_pages = request["limits"]
        return read_document(Path(request["path"]), request["form"], Limits(max_bytes, max_pages)).as_json()
    except Rejected as error:
        return {"reason": error.reason, "detail": error.detail}
    except RecursionError:
        return {"reason": "too_deep", "detail": "is nested too deeply to read"}
    except MemoryError:
        return {"reason": "too_large", "detail": f"needs more than {MEMORY_BYTES // 2**30} GB of memory to read"}
    except Exception as error:
        return {"reason": "unreadable", "detail": f"made the parser fail: {type(error).__name__}"}


def serve() -> None:
    """Answers requests, a line of JSON each, until there are no more."""
    # Parsers that print must not be taken for answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(2, 1)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    allowed: list[str] = []
    _confine(allowed)
    for line in sys.stdin:
        request = json.loads(line)
        allowed[:] = [os.path.realpath(request["path"])]
        # ASCII only: lone surrogates in a hostile file would not encode.
        answers.write(json.dumps(_answer(request)) + "\n")
        answers.flush()


def _confine(allowed: list[str]) -> None:
    """From here on this process opens only its own program and the files in `allowed`, to read; and no connection."""
    program = str(Path(__file__).parents[3])  # an editable install leaves it out of sys.path
    own = {sys.prefix, sys.base_prefix, sys.exec_prefix, program, *(path for path in sys.path if path)}
    roots = tuple(f"{os.path.realpath(path)}{os.sep}" for path in own)
    forbidden = frozenset(
        """socket.connect socket.getaddrinfo socket.bind subprocess.Popen os.system os.exec os.posix_spawn os.fork
        os.remove os.rename os.rmdir os.mkdir shutil.rmtree urllib.Request ctypes.dlopen""".split()  # noqa: SIM905
    )

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in forbidden and not (event == "ctypes.dlopen" and _is_own(arguments[0], roots)):
            raise PermissionError(f"a document's reader may not do this: {event}")
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            writes = isinstance(arguments[1], str) and any(letter in arguments[1] for letter in "wax+")
            if path != os.devnull and (writes or not (path.startswith(roots) or path in allowed)):
                raise PermissionError("a document's reader may open no other file")

    sys.addaudithook(guard)


def _is_own(name: object, roots: tuple[str, ...]) -> bool:
    return name is None or (isinstance(name, str) and ("/" not in name or os.path.realpath(name).startswith(roots)))
