"""What a task is: settings that turn a seed into questions for a teacher, and the answers into rows.

A task asks nothing itself. It yields what is to be asked and is handed the answers, one round after the other, and
answers with the rows made; the runner does the asking. With the same seed, number and answers it asks and makes the
same, so that a job that was killed is run again over the answers it already has.
"""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from schemas.errors import Rejected
from synth.request import Failure, Request

__all__ = [
    "Example",
    "Language",
    "Made",
    "OneRound",
    "Rejected",
    "Reply",
    "Request",
    "Rounds",
    "Said",
    "Seed",
    "Setting",
    "Task",
    "companions",
    "gives",
    "play",
    "play_all",
    "rejects",
    "turn",
]

Language = Literal["en", "zh"]
"""The language a task asks in, and expects answers in."""

CHINESE = 0.3
"""The share of Chinese from which a text is Chinese; names and terms in English often make up the rest."""

_UNIT = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W\d_\u3400-\u4dbf\u4e00-\u9fff]+")


JUDGE = "judge"
"""The teacher that checks and compares; a recipe that names none has the one that makes do both."""


class Reply(Protocol):
    """What a task sees of a teacher's answer: `synth.request.Answer` is one, and so is `Said`."""

    @property
    def text(self) -> str | None:
        """What the teacher wrote."""

    @property
    def finish_reason(self) -> str:
        """Why it stopped, as the endpoint says: stop, length, content_filter."""

    @property
    def refused(self) -> bool:
        """Whether the endpoint withheld the answer."""

    @property
    def model(self) -> str:
        """What the endpoint says answered."""


@dataclass(frozen=True)
class Said:
    """A reply by itself, as examples and tests have them."""

    text: str | None
    finish_reason: str = "stop"
    refused: bool = False
    model: str = ""


@dataclass(frozen=True)
class Seed:
    """The row that something is made from, and the language it is in."""

    row: Mapping[str, Any]
    """The row's canonical columns (`schemas.rows`)."""
    lang: Language = "en"
    others: Sequence[Mapping[str, Any]] = ()
    """Further rows, for tasks that show several (`Task.companions`)."""
    key: str = ""
    """What the task's chances are drawn from, with the number: the job's seed and the row's id."""

    @classmethod
    def of(cls, row: Mapping[str, Any], others: Sequence[Mapping[str, Any]] = (), job_seed: int = 0) -> Seed:
        """The seed that a row is. Its language is the row's column, or is told from its script."""
        lang = str(row.get("lang") or "")
        told: Language
        if lang:
            told = "zh" if lang.startswith(("zh", "yue", "cmn")) else "en"
        else:
            told = "zh" if chinese_share(" ".join(_texts(row))) > CHINESE else "en"
        return cls(row, told, others, f"{job_seed}/{row.get('id', '')}")

    @property
    def id(self) -> str:
        """The row's id."""
        return str(self.row.get("id", ""))

    @cached_property
    def turns(self) -> list[Mapping[str, Any]]:
        """The row's conversation: of a preference and of candidates, the prompt and the better or first answer."""
        row = self.row
        if row.get("messages") is not None:
            return list(row["messages"])
        answers = row.get("answers") or [{}]
        better = row.get("chosen") or answers[0].get("messages") or []
        return [*(row.get("prompt") or []), *better]

    @cached_property
    def instruction(self) -> str:
        """The last thing that a user said. Raises Rejected where nobody did."""
        return self._said(self._asked_at, "no_instruction")

    @cached_property
    def answer(self) -> str:
        """What the assistant said after that. Raises Rejected where it did not."""
        after = range(self._asked_at + 1, len(self.turns))
        at = next((place for place in reversed(after) if self.turns[place].get("role") == "assistant"), -1)
        return self._said(at, "no_answer")

    @cached_property
    def text(self) -> str:
        """A document: a plain text's whole text; of other rows the answer, or else the instruction."""
        text = self.row.get("text")
        if text and str(text).strip():
            return str(text).strip()
        try:
            return self.answer
        except Rejected:
            return self.instruction

    @property
    def before(self) -> list[dict[str, Any]]:
        """The turns before the instruction."""
        return [_plain(one) for one in self.turns[: max(self._asked_at, 0)]]

    @property
    def depth(self) -> int:
        """How many teachers' answers the row descends from: 0 for a row that no teacher made."""
        extra = self.row.get("extra")
        if not extra:
            return 0
        import orjson

        try:
            found = orjson.loads(extra) if isinstance(extra, str) else extra
            depth = found.get("depth", 0)
        except (orjson.JSONDecodeError, AttributeError):
            return 0
        return depth if type(depth) is int and depth >= 0 else 0

    def chance(self, number: int) -> random.Random:
        """The chances of one row made from the seed: the same on every machine and in every run."""
        return random.Random(f"{self.key}\0{number}")  # noqa: S311 - to vary prompts, not to hide anything

    def made(
        self, kind: str, content: Mapping[str, Any], notes: Mapping[str, Any] | None = None, about: str = ""
    ) -> Made:
        """A row made from this seed and those shown with it."""
        ids = [str(row["id"]) for row in (self.row, *self.others) if row.get("id")]
        depth = 1 + max(Seed(row).depth for row in (self.row, *self.others))
        return Made(kind, content, tuple(dict.fromkeys(ids)), self.lang, depth, notes or {}, about)

    def chat(self, instruction: str, answer: str, notes: Mapping[str, Any] | None = None, system: str = "") -> Made:
        """A chat of one question and its answer."""
        opening = [turn("system", system)] if system else []
        messages = [*opening, turn("user", instruction), turn("assistant", answer)]
        return self.made("chat", {"messages": messages}, notes, instruction)

    @cached_property
    def _asked_at(self) -> int:
        return next((at for at in reversed(range(len(self.turns))) if self.turns[at].get("role") == "user"), -1)

    def _said(self, at: int, reason: str) -> str:
        said = str(self.turns[at].get("content") or "").strip() if at >= 0 else ""
        if not said:
            raise Rejected(reason, "the seed has none")
        return said


@dataclass(frozen=True)
class Made:
    """A row that a task made."""

    kind: str
    """chat, preference, candidates or text."""
    content: Mapping[str, Any]
    """The kind's content columns; what is left out is null."""
    parents: tuple[str, ...] = ()
    """Ids of the rows it was made from."""
    lang: str = "en"
    depth: int = 1
    """How many teachers' answers it descends from."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of it, as JSON, for the column `extra`."""
    about: str = ""
    """What must be new in it: its question, without what is quoted for it. Where `Task.novel` says so."""

    def extra(self) -> dict[str, Any]:
        """What goes into the column `extra`; a later job reads the depth there."""
        return {**self.notes, "depth": self.depth}


Rounds = Generator[Sequence[Request], Sequence[Reply], Sequence["Made | Rejected"]]
"""A row in the making: yields questions, is sent their answers in the same order, and returns what came of it. Where it
makes several rows, those that were not good enough stand among them as the reason why."""


@dataclass(frozen=True)
class Example:
    """A seed, what a teacher answers, and what becomes of it: a task's documentation and its test."""

    row: Mapping[str, Any]
    answers: Sequence[str | Mapping[str, Any] | Said]
    """In the order asked, over all rounds; a mapping is a JSON answer."""
    made: Sequence[Mapping[str, Any]] = ()
    """For each row made, some of its texts (`instruction`, `answer`, `chosen`, `rejected`, `text`) and notes."""
    reasons: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    others: Sequence[Mapping[str, Any]] = ()


def gives(
    row: Mapping[str, Any], answers: Sequence[str | Mapping[str, Any] | Said], *made: Mapping[str, Any], **more: Any
) -> Example:
    """A seed of which such rows are made. `more`: `settings`, `number`, `others`, and `reasons` of those rejected."""
    return Example(row, answers, made, **more)


def rejects(
    reason: str, row: Mapping[str, Any], answers: Sequence[str | Mapping[str, Any] | Said] = (), **more: Any
) -> Example:
    """A seed of which nothing is made, and why."""
    return Example(row, answers, reasons=(reason,), **more)


class Task(BaseModel, ABC):
    """Settings of one way of making rows. The fields are YAML keys; the docstring's first line is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: ClassVar[int] = 1
    """Raised whenever the same settings ask or make something else than before."""

    examples: ClassVar[Sequence[Example]] = ()

    novel: ClassVar[bool] = False
    """Whether what a row is about must be new among all that the job makes, and the seeds: the runner has
    `synth.novelty.only_new` see to it, in the job's order. Not where likeness is the point."""

    temperature: float = Setting(
        default=0.7, ge=0, le=2, description="how freely the teacher writes; checks are asked at 0"
    )
    max_tokens: int = Setting(default=1_024, ge=1, description="the longest answer the teacher may give, in tokens")
    check_tokens: int = Setting(
        default=256, ge=1, description="the longest answer to a check; more for a teacher that thinks aloud"
    )

    @abstractmethod
    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        """What to ask and what to make of the answers; `number` counts the rows wanted of this seed, from 0.

        Raises Rejected (before the first question too) where the seed or an answer cannot be used. Pure: everything
        random comes from `chance`."""

    def companions(self) -> int:
        """How many rows besides the seed a row is made from."""
        return 0

    @classmethod
    def description(cls) -> str:
        """First line of the task's docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]


class OneRound(Task):
    """A task whose questions are all asked at once."""

    @abstractmethod
    def ask(self, seed: Seed, number: int, chance: random.Random) -> Sequence[Request]:
        """The questions."""

    @abstractmethod
    def read(self, seed: Seed, asked: Sequence[Request], answers: Sequence[Reply]) -> Sequence[Made | Rejected]:
        """What became of them. Raises Rejected where nothing did."""

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        """Ask once, and read."""
        asked = self.ask(seed, number, chance)
        answers = yield asked
        return self.read(seed, asked, answers)


def play(task: Task, seed: Seed, number: int, answer: Callable[[Request], Reply]) -> list[Made | Rejected]:
    """What a task makes of a seed where `answer` answers every question, one by one: all that a runner does, less the
    journal, the budget and the haste."""
    making = task.rounds(seed, number, seed.chance(number))
    try:
        asked = next(making)
        while True:
            asked = making.send([answer(one) for one in asked])
    except StopIteration as done:
        return list(done.value)
    except Rejected as rejected:
        return [rejected]


def play_all(
    task: Task,
    wanted: Iterable[tuple[Seed, int]],
    ask: Callable[[Sequence[Request]], Iterable[Reply | Failure]],
) -> list[list[Made | Rejected]]:
    """What a task makes of many seeds and numbers, in their order. `ask` is handed the questions of a round all
    together, whosesoever they are, and answers in their order. Where one has no answer, its row is rejected with the
    failure's reason, and the others go on."""
    makings = [task.rounds(seed, number, seed.chance(number)) for seed, number in wanted]
    results: list[list[Made | Rejected]] = [[] for _ in makings]

    def step(place: int, answers: Sequence[Reply] | None) -> Sequence[Request]:
        """The next questions of one row; none where it is done."""
        try:
            return next(makings[place]) if answers is None else makings[place].send(answers)
        except StopIteration as done:
            results[place] = list(done.value)
        except Rejected as rejected:
            results[place] = [rejected]
        return ()

    asked = {place: step(place, None) for place in range(len(makings))}
    while asked := {place: questions for place, questions in asked.items() if questions}:
        replies = iter(ask([question for questions in asked.values() for question in questions]))
        after: dict[int, Sequence[Request]] = {}
        for place, questions in asked.items():
            given = list(islice(replies, len(questions)))
            failed = next((one for one in given if isinstance(one, Failure)), None)
            if failed is None:
                after[place] = step(place, [one for one in given if not isinstance(one, Failure)])
            else:
                makings[place].close()
                results[place] = [Rejected(failed.reason, failed.detail)]
        asked = after
    return results


def companions(rows: Sequence[Mapping[str, Any]], place: int, count: int, job_seed: int = 0) -> list[Mapping[str, Any]]:
    """`count` rows besides the one at `place`, drawn by the job's seed and that row's id."""
    others = len(rows) - 1
    drawn = random.Random(f"{job_seed}/{rows[place].get('id', place)}/others")  # noqa: S311
    picked = drawn.sample(range(others), min(count, others))
    return [rows[at if at < place else at + 1] for at in picked]


def turn(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    """One message."""
    return {"role": role, "content": content, **more}


def chinese_share(text: str) -> float:
    """How many of a text's Chinese characters and other words are the former, 0 to 1; 0 of a text without either."""
    units = _UNIT.findall(text)
    return sum("\u3400" <= unit[0] <= "\u9fff" for unit in units) / len(units) if units else 0.0


def tag_of(text: str) -> str:
    """A short mark that does not occur in a text, the same for the same text."""
    mark = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    while mark in text:
        mark = sha256(mark.encode()).hexdigest()[:8]
    return mark


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value is not None}


def _texts(row: Mapping[str, Any]) -> list[str]:
    messages = [*(row.get("messages") or []), *(row.get("prompt") or []), *(row.get("chosen") or [])]
    return [str(row.get("text") or ""), *(str(one.get("content") or "") for one in messages)]
