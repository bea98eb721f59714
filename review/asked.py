"""What was asked and what was answered: a review's folder in the project home.

    <home>/reviews/key                    secret from which shuffles and people's pseudonyms are made
    <home>/reviews/NAME/review.json       what was pushed, where and how
                        asked.jsonl       one line for each thing asked, on disk before it is sent
                        sent.jsonl        ids of what has arrived there
                        assigned.jsonl    who gets what, where that is decided here
                        answers.jsonl     every answer ever seen, the latest of each person to each thing last

The files only grow by whole lines that are flushed; a torn last line is cut off by the next command that writes.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from schemas.errors import UserError, nearest
from schemas.run import write_durably

FOLDER = "reviews"
_NAME = re.compile(r"[\w][\w.-]{0,99}")


@dataclass(frozen=True)
class Asked:
    """One thing that people are asked about: a row, or some of its answers."""

    id: str
    """What the record is called in the place where people answer: 32 hexadecimal digits, the same on every push."""
    row_id: str
    row_hash: str
    shown: tuple[int, ...]
    """Places of the answers in the row (0 and 1: chosen and rejected), in the order in which people see them."""
    chars: tuple[int, ...]
    """How long each of them is, in that order."""
    source: str
    why: str
    """Why it is asked: drawn at random, highest of a score, gold, a repeat, a third opinion."""
    round: int
    task: str | None = None
    lang: str | None = None
    score: float | None = None
    gold: str | None = None
    """The right value of the question that decides, as JSON; None where it is not known."""
    repeat: bool = False
    again: int = 0
    """How often it was asked before, because there was no majority."""
    prefilled: str | None = None
    """Digest of the text that is shown for editing, by `prefill_digest`."""


@dataclass(frozen=True)
class Answer:
    """What one person said about one thing."""

    asked: str
    person: str
    """The person's pseudonym."""
    values: dict[str, Any]
    """Question to value, as the place where people answer has it."""
    at: str
    """When, in ISO 8601."""
    seconds: float | None = None


@dataclass(frozen=True)
class Pushed:
    """What a review is about, and how it is asked."""

    name: str
    form: str
    backend: str
    kind: str
    """Kind of the rows."""
    datasets: dict[str, str]
    """Fingerprint to path, as given, of every dataset whose rows were pushed."""
    lang: str
    overlap: int
    place: dict[str, Any] = field(default_factory=dict)
    """What the backend has to know to find it again: an address and an id, or a folder. Never a key."""
    k: int = 2
    """How many answers are shown at once."""


class Review:
    """One review's folder."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name
        self.folder = home / FOLDER / name

    @property
    def exists(self) -> bool:
        """Whether something was pushed under this name."""
        return (self.folder / "review.json").is_file()

    def pushed(self) -> Pushed:
        """What was pushed. Raises UserError when nothing was."""
        try:
            return Pushed(**orjson.loads((self.folder / "review.json").read_bytes()))
        except FileNotFoundError:
            known = names(self.home)
            hint = nearest(self.name, known) or "push a dataset first: review push DATASET --as pairs"
            raise UserError(f"there is no review named {self.name!r} in {self.home}", hint=hint) from None

    def save(self, pushed: Pushed) -> None:
        """Write what was pushed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.folder / "review.json", orjson.dumps(asdict(pushed), option=orjson.OPT_INDENT_2))

    def forget(self) -> None:
        """Undo `save`: nothing came of it."""
        (self.folder / "review.json").unlink(missing_ok=True)

    def asked(self) -> dict[str, Asked]:
        """Everything asked, by id, in the order in which it was chosen."""
        found = {}
        for one in _lines(self.folder / "asked.jsonl"):
            found[one["id"]] = Asked(**one | {"shown": tuple(one["shown"]), "chars": tuple(one["chars"])})
        return found

    def ask(self, items: Sequence[Asked]) -> None:
        """Note that things are going to be asked; on disk when it returns."""
        _append(self.folder / "asked.jsonl", map(asdict, items))

    def sent(self) -> set[str]:
        """Ids of what has arrived in the place where people answer."""
        return {id_ for one in _lines(self.folder / "sent.jsonl") for id_ in one["ids"]}

    def deliveries(self) -> int:
        """How often something arrived there."""
        return sum(1 for _ in _lines(self.folder / "sent.jsonl"))

    def arrived(self, ids: Sequence[str]) -> None:
        """Note that things have arrived; on disk when it returns."""
        _append(self.folder / "sent.jsonl", [{"ids": list(ids)}])

    def assigned(self) -> dict[str, list[str]]:
        """Whom each thing was given to, where somebody has to be named."""
        return {one["asked"]: one["people"] for one in _lines(self.folder / "assigned.jsonl")}

    def assign(self, given: dict[str, list[str]]) -> None:
        """Note whom things are given to; on disk when it returns."""
        _append(self.folder / "assigned.jsonl", ({"asked": asked, "people": people} for asked, people in given.items()))

    def answers(self) -> dict[tuple[str, str], Answer]:
        """The latest answer of each person to each thing."""
        found = {}
        for one in _lines(self.folder / "answers.jsonl"):
            found[one["asked"], one["person"]] = Answer(**one)
        return found

    def answer(self, answers: Iterable[Answer]) -> None:
        """Note answers; on disk when it returns."""
        _append(self.folder / "answers.jsonl", map(asdict, answers))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second command from writing. Raises UserError when one does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another command is working on the review {self.name}", hint="wait until it has finished"
                ) from None
            try:
                yield
            finally:
                with suppress(OSError):  # a folder in which nothing was written would be litter
                    self.folder.rmdir()
        finally:
            os.close(handle)


def names(home: Path) -> list[str]:
    """Names of the reviews in a project home."""
    return sorted(path.parent.name for path in (home / FOLDER).glob("*/review.json"))


def checked_name(name: str) -> str:
    """A review's name. Raises UserError when it cannot be a folder's and a data set's."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be a review's name", hint="letters, digits, '-', '_' and '.', for example --name round-1"
        )
    return name


def key_of(home: Path) -> bytes:
    """The home's secret, made when it is first needed; readable by its owner only."""
    path = home / FOLDER / "key"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        new = path.with_name(f".key.{os.getpid()}")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_hex(32).encode())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another command was first
            os.link(new, path)
        new.unlink()
    return path.read_bytes()


def keyed(key: bytes, *parts: str) -> bytes:
    """A digest that nobody without the key can make or foresee."""
    return hmac.new(key, b"\x00".join(part.encode() for part in parts), hashlib.sha256).digest()


def prefill_digest(text: str) -> str:
    """A digest that knows a text again whatever an editor did to its spaces and line ends."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:32]


def pseudonym(key: bytes, place: str, person: str) -> str:
    """What a person is called in labels. `place` keeps equal ids of two servers apart."""
    return f"p-{keyed(key, 'person', place, person).hex()[:12]}"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file; a torn last one is left out."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.endswith(b"\n"):
                yield orjson.loads(line)


def _append(path: Path, records: Iterable[dict[str, Any]]) -> None:
    data = b"".join(orjson.dumps(record) + b"\n" for record in records)
    if not data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.truncate(_whole(path))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _whole(path: Path) -> int:
    """Where the last whole line ends."""
    return path.read_bytes().rfind(b"\n") + 1
