"""Where a chat template runs: ours in this process, anybody else's in one of its own with limits.

A template is a program. Jinja's sandbox keeps it from files and from Python, and not from loops, from memory or from
endless text. One process renders all conversations of a template; it is killed when one takes too long.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import resource
import select
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

BEGIN, END = "\ufdd1", "\ufdd2"
"""What stands around the assistant's text while a template is rendered: code points that are no characters."""

SECONDS = 10.0
"""That a template of somebody else's may take to be compiled, or to write one conversation."""

MEMORY_BYTES = 1 << 30
"""Address space that it may use."""

MOST_KILLED = 3
"""Conversations that it may not come to an end with, before it is given up."""

_START_SECONDS = 60.0
_LENGTH = struct.Struct("<I")


Tokens = tuple[tuple[str, str], ...]
"""Names of special tokens that a template may use, and what they are."""


class TemplateRefusesError(Exception):
    """A template does not take a conversation; says why in its own words."""


class TemplateGivenUpError(TemplateRefusesError):
    """A template does not come to an end, again and again."""


class Program(Protocol):
    """A compiled template."""

    def write(self, said: Mapping[str, Any], most: int) -> str:
        """What it writes where it sees `said`, the assistant's text between BEGIN and END. Raises TemplateRefusesError,
        also for more than `most` characters."""


class Here:
    """A template in this process. Raises TemplateRefusesError where it cannot be compiled."""

    def __init__(self, text: str, tokens: Tokens, day: datetime.date) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: day.strftime(form)
        self._tokens = dict(tokens)
        try:
            self._compiled = environment.from_string(text)
        except (jinja2.TemplateError, SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            raise TemplateRefusesError(f"{error}"[:300] or type(error).__name__) from None

    def write(self, said: Mapping[str, Any], most: int) -> str:
        written: list[str] = []
        try:
            for piece in self._compiled.generate(**{**self._tokens, **said}):
                written.append(piece)
                most -= len(piece)
                if most < 0:
                    raise TemplateRefusesError("the template writes without end")
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise TemplateRefusesError(f"{error}"[:300]) from None
        except (RecursionError, MemoryError) as error:
            raise TemplateRefusesError(type(error).__name__) from None
        return "".join(written)


class Apart:
    """A template in a process of its own. Raises TemplateRefusesError where it cannot be compiled."""

    def __init__(self, text: str, tokens: Tokens, day: datetime.date) -> None:
        self._asked = {"text": text, "tokens": tokens, "day": day.isoformat()}
        self._killed = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def write(self, said: Mapping[str, Any], most: int) -> str:
        if self._process is None:
            if self._killed >= MOST_KILLED:
                raise TemplateGivenUpError(f"it came to no end with {MOST_KILLED} conversations")
            self._start()
        # JSON is ASCII, at most twelve bytes for a character.
        return str(self._answer({"said": said, "most": most, "seconds": SECONDS}, 12 * most + 1024))

    def _start(self) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        program = "import sys; sys.path.insert(0, sys.argv[1]); from train.rendering import serve; serve()"
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", program, str(Path(__file__).parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._process = process
        self._end = weakref.finalize(self, _kill, process)
        self._read(process, time.monotonic() + _START_SECONDS, 1024)  # it is there
        self._answer({**self._asked, "seconds": SECONDS}, 1 << 16)

    def _answer(self, asked: Mapping[str, Any], most_bytes: int) -> Any:
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(_framed(asked))
            process.stdin.flush()
        except OSError:
            raise self._given_up("the template's process ended") from None
        found = self._read(process, time.monotonic() + SECONDS, most_bytes)
        if "refused" in found:
            raise TemplateRefusesError(str(found["refused"])[:300])
        return found["text"]

    def _read(self, process: subprocess.Popen[bytes], until: float, most_bytes: int) -> dict[str, Any]:
        head = self._bytes(process, _LENGTH.size, until)
        (length,) = _LENGTH.unpack(head)
        if length > most_bytes:
            raise self._given_up("the template writes without end")
        found: dict[str, Any] = json.loads(self._bytes(process, length, until))
        return found

    def _bytes(self, process: subprocess.Popen[bytes], wanted: int, until: float) -> bytes:
        assert process.stdout is not None
        handle, found = process.stdout.fileno(), bytearray()
        while len(found) < wanted:
            if not select.select([handle], [], [], max(until - time.monotonic(), 0))[0]:
                raise self._given_up(f"the template takes longer than {SECONDS:g} s")
            piece = os.read(handle, wanted - len(found))
            if not piece:
                raise self._given_up("the template takes too much time or memory")
            found += piece
        return bytes(found)

    def _given_up(self, why: str) -> TemplateRefusesError:
        self._end()
        self._process = None
        self._killed += 1
        return TemplateRefusesError(why)


@lru_cache(maxsize=8)
def apart(text: str, tokens: Tokens, day: datetime.date) -> Apart:
    """The process of a template, the same one whenever it is asked for again."""
    return Apart(text, tokens, day)


def serve() -> None:
    """What the process does: reads a template, then conversations, each answered by what the template makes of it."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    program: Here | None = None
    _limit()
    target.write(_framed({}))
    target.flush()
    while head := source.read(_LENGTH.size):
        asked = json.loads(source.read(_LENGTH.unpack(head)[0]))
        # Should nobody be there any more who could kill it, it still ends.
        seconds = math.ceil(time.process_time() + asked["seconds"]) + 1
        with contextlib.suppress(OSError, ValueError):  # it has less already
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try:
            if program is None:
                program = Here(asked["text"], asked["tokens"], datetime.date.fromisoformat(asked["day"]))
                answer = _framed({"text": ""})
            else:
                answer = _framed({"text": program.write(asked["said"], asked["most"])})
        except TemplateRefusesError as error:
            answer = _framed({"refused": str(error)})
        except Exception as error:  # a template's doing, whatever it is
            answer = _framed({"refused": type(error).__name__})
        target.write(answer)
        target.flush()


def _limit() -> None:
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
    ):
        with contextlib.suppress(OSError, ValueError):  # not every system knows each of them
            resource.setrlimit(what, (most, most))


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what it has not read
            stream.close()  # type: ignore[union-attr] # both are pipes
    process.wait()


def _framed(said: Mapping[str, Any]) -> bytes:
    data = json.dumps(said).encode()
    return _LENGTH.pack(len(data)) + data


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}` around what the assistant says, as transformers has it."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("marked"), [], [], body).set_lineno(line)

    def marked(self, caller: Any) -> str:
        return f"{BEGIN}{caller()}{END}"


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as chat templates expect it: nothing escaped for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
