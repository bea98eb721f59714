"""What a place where people answer has to do. Each is one file in `review/backends`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from review.asked import Asked, Pushed
from review.forms import Form

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Record:
    """One thing to show: what is asked, the turns before, and the answers in the order in which they are shown."""

    asked: Asked
    prompt: Messages
    answers: list[Messages]
    editable: str = ""
    """The text that is shown for editing, if any."""


@dataclass(frozen=True)
class Given:
    """A submitted answer as the place has it; `person` is what it calls the person."""

    asked: str
    person: str
    values: dict[str, Any]
    at: str


@dataclass(frozen=True)
class Access:
    """How to get to a place, as the command line says it."""

    home: Path
    url: str | None = None
    key_file: Path | None = None
    workspace: str | None = None
    people: tuple[str, ...] = ()
    folder: Path | None = None
    guidelines: str = ""


@dataclass(frozen=True)
class Progress:
    """How far people are."""

    rows: int
    """Things that were asked and have arrived."""
    answered: int
    """Those of them that have as many answers as were wanted."""
    answers: int
    people: dict[str, int] = field(default_factory=dict)
    """Name to submitted answers."""


class Backend(ABC):
    """A place where people answer. `place` of a review is what `prepare` returned, or nothing before."""

    timed = True
    """Whether an answer's time is when the person gave it, and not when a file of many was saved."""

    def __init__(self, access: Access, pushed: Pushed, form: Form) -> None:
        self.access = access
        self.pushed = pushed
        self.form = form

    @property
    @abstractmethod
    def address(self) -> str | None:
        """Where rows are sent; None where they go into files on this machine."""

    @abstractmethod
    def prepare(self) -> dict[str, Any]:
        """Make the place ready, once; what has to be known to find it again."""

    @abstractmethod
    def check(self, asked: Sequence[Asked]) -> None:
        """Raise UserError if things cannot be put there for want of people: called before they are noted as asked."""

    @abstractmethod
    def send(self, records: Iterator[Record]) -> Iterator[Sequence[str]]:
        """Put records there, each at most once however often it is sent; the ids of those that have arrived."""

    @abstractmethod
    def answers(self) -> Iterator[Sequence[Given]]:
        """Every submitted answer there is, some at a time."""

    @abstractmethod
    def progress(self) -> Progress:
        """How far people are."""
