"""What all command lines share: how they are set up, `--set NAME=VALUE`, `--report FILE`, and how servers end."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from schemas.errors import UserError


def application(name: str, help_: str) -> typer.Typer:
    """An empty command line: short help options, plain help pages, and our own way with errors."""
    return typer.Typer(
        name=name,
        help=help_,
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def settings_given(items: Iterable[str] | None, example: str, *, option: str = "--set") -> dict[str, str]:
    """NAME=VALUE options as a dict. Raises UserError for one that is not of that form; `example` shows one that is."""
    found = {}
    for item in items or ():
        name, _, value = item.partition("=")
        if not name or not value:
            raise UserError(f"{option} {item!r} is not of the form NAME=VALUE", hint=f"for example {option} {example}")
        found[name] = value
    return found


def copy_report(folder: Path, file: Path | None) -> None:
    """Copy the report in a folder to the file that `--report` names, if it names one. Raises UserError for a folder."""
    from schemas.dataset import REPORT

    report = folder / REPORT
    if file is None or (file.exists() and file.samefile(report)):
        return
    if file.is_dir():
        raise UserError(f"--report {file} is a folder", hint=f"name a file, as in {file / REPORT}")
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report, file)


@contextmanager
def terminable() -> Iterator[None]:
    """While a server runs, a termination (SIGTERM) is as good as Ctrl-C: KeyboardInterrupt."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
