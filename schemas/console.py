"""The only module that prints: results, progress, errors.

On a terminal: colours and a live line with rate and time left. Piped: plain lines. With `--json`: one JSON object on
standard output, and progress as plain lines on standard error.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NoReturn, TextIO, cast

from schemas.errors import UserError, UserErrors

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

_PIPED_COLUMNS = 160
_PLAIN_EVERY_SECONDS = 10.0
_LIVE_EVERY_SECONDS = 0.1
_INTERRUPTED = "interrupted; nothing was published, and the same command starts or continues the work"


def _rich(stream: IO[str] | None = None) -> RichConsole:
    from rich.console import Console as RichConsole

    file = stream or sys.stdout
    width = None if file.isatty() or "COLUMNS" in os.environ else _PIPED_COLUMNS
    return RichConsole(file=file, highlight=False, soft_wrap=not file.isatty(), width=width, emoji=False, markup=False)


def show_json(value: object) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def say(text: str = "", *, style: str = "") -> None:
    """Print a line of our own words on standard output. Pieces of rows in it have passed `excerpt`."""
    _rich().print(text, style=style or None)


def piece(text: str) -> None:
    """Print a piece of a line on standard output, at once. What terminals obey has been made visible in it."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a line on standard error."""
    _rich(sys.stderr).print(text, style="dim")


def heading(text: str) -> None:
    """Print a heading."""
    say()
    say(text, style="bold")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[int] = ()) -> None:
    """Print a table; `numbers` are the columns to align right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = _rich()
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(columns):
        drawn.add_column(name, justify="right" if number in set(numbers) else "left", overflow="fold")
    for row in rows:
        drawn.add_row(
            *(
                Text(count(cell) if isinstance(cell, (int, float)) and not isinstance(cell, bool) else str(cell))
                for cell in row
            )
        )
    console.print(drawn)


def count(value: float | None) -> str:
    """A number as people read it: 12,345, or with two digits where it is a fraction."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent, without claiming 0 % or 100 % for what is not."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %"


def size(bytes_: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "KB", "MB", "GB"):
        if bytes_ < 1000:
            return f"{bytes_:.0f} {unit}" if unit in ("B", "KB") else f"{bytes_:.1f} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.1f} TB"


def duration(seconds: float) -> str:
    """A length of time as people read it."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _fitting(line: str, columns: int) -> str:
    """A line cut to what fits into so many columns of a terminal; wide characters take two."""
    width = 0
    for place, char in enumerate(line):
        width += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if width > columns:
            return line[: place - 1] + "…"
    return line


class _Forgiving:
    """A stream whose reader may go away (`| head`): what is written after that goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._gone()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._gone()

    def _gone(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class Progress:
    """Says how far a command has come: call `at` as often as you like."""

    def __init__(self, label: str, total: float, stream: IO[str]) -> None:
        self.label = label
        self.total = total
        self.stream = stream
        self.live = stream.isatty()
        self.began = self.shown = time.monotonic()
        self.rows = 0
        self.done = 0.0

    def at(self, done: float, rows: int, label: str = "") -> None:
        """`done` of `total` (bytes or rows) is behind us, and `rows` rows came of it."""
        self.done, self.rows, self.label = done, rows, label or self.label
        now = time.monotonic()
        if now - self.shown >= (_LIVE_EVERY_SECONDS if self.live else _PLAIN_EVERY_SECONDS):
            self.shown = now
            self._show(now)

    def _show(self, now: float) -> None:
        seconds = max(now - self.began, 1e-6)
        portion = min(self.done / self.total, 1.0) if self.total else 0.0
        left = f", {duration(seconds / portion * (1 - portion))} left" if 0.02 < portion < 1 else ""
        line = f"{self.label}  {100 * portion:3.0f} %  {self.rows:,} rows  {self.rows / seconds:,.0f} rows/s{left}"
        if self.live:
            self.stream.write(f"\r\x1b[2K{_fitting(line, shutil.get_terminal_size().columns - 1)}")
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def end(self) -> None:
        """Clear the live line."""
        if self.live:
            self.stream.write("\r\x1b[2K")
            self.stream.flush()


@contextmanager
def progress(label: str, total: float) -> Iterator[Progress]:
    """A progress line on standard error."""
    shown = Progress(label, total, sys.stderr)
    try:
        yield shown
    finally:
        shown.end()


def fail(error: UserError, *, as_json: bool) -> NoReturn:
    """Show a person's mistake and exit with status 2."""
    errors = error.errors if isinstance(error, UserErrors) else [error]
    if as_json:
        show_json({"errors": [one.as_json() for one in errors]})
    else:
        console = _rich(sys.stderr)
        for one in errors:
            where = f"{one.file}:{one.line}: " if one.file and one.line and one.file not in one.message else ""
            console.print(f"error: {where}{_safe(one.message)}", style="bold red")
            if one.hint:
                console.print(f"  hint: {_safe(one.hint)}")
    sys.exit(2)


def _safe(text: str) -> str:
    from schemas.excerpt import printable

    return "\n".join(printable(line) for line in text.split("\n"))


def guarded(command: Callable[[], Any]) -> None:
    """Run a program's command line: mistakes become sentences, an interrupt is quiet, everything else is our bug."""
    as_json = "--json" in sys.argv
    sys.stdout = cast(TextIO, _Forgiving(sys.stdout))
    try:
        command()
    except SystemExit as end:
        if end.code == 130:  # the command line library's way of telling an interrupt
            note(_INTERRUPTED)
        raise
    except UserError as error:
        fail(error, as_json=as_json)
    except KeyboardInterrupt:
        note(_INTERRUPTED)
        sys.exit(130)
    except OSError as error:
        if error.errno in (28, 122):
            fail(
                UserError(f"the disk is full: {error}", hint="free some space and run the same command again"),
                as_json=as_json,
            )
        if isinstance(error, PermissionError):
            fail(UserError(f"not allowed: {error}", hint="check who owns the file or folder"), as_json=as_json)
        raise
