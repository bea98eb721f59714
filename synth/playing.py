"""Tries: a task carried out on seeds, thousands at once, the questions of all rounds together.

The questions of many tries are handed to the runner as one window. What is answered goes on at once; what it asks next
goes into the next window, before new tries are begun. So no more is in memory than a few windows, however many seeds
there are, and a window is long enough for the endpoint to be busy all the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

from schemas.egress import note_departure
from schemas.errors import Rejected
from synth.budget import Budget
from synth.journal import Journal
from synth.request import Answer, Failure, Request
from synth.runner import Patience, request_key, run
from synth.task import JUDGE, Made, Rounds, Seed, Task
from synth.teachers.openai_api import Teacher

FIRST_WINDOW = 1_024
"""How many questions the first window has, while nothing is known of the endpoint's pace."""

MOST_QUESTIONS = 32_768
WINDOW_SECONDS = 30.0
MOST_TRIES = 16_384
"""How many tries may be under way; fewer where each asks much at once, so that no more than `MOST_QUESTIONS` wait."""

IDS_AT_ONCE = 1_000
"""How many rows one line of the record of departures names."""


@dataclass(slots=True)
class Try:
    """A task carried out on one seed, once."""

    place: int
    """Which seed."""
    number: int
    """How often it was tried before."""
    seed: Seed
    making: Rounds | None
    asked: Sequence[Request] = ()
    results: Sequence[Made | Rejected] = ()
    done: bool = False
    cut_off: bool = False
    """Whether the budget ended before it."""
    questions: int = 0
    teachers: set[str] = field(default_factory=set)
    """Names of the teachers that answered."""
    key: str = ""
    """The latest request to a teacher that is no judge, or else to the judge."""
    model: str = ""
    """What its endpoint says answered."""


def begun(task: Task, seed: Seed, place: int, number: int, by_role: Mapping[str, str]) -> Try:
    """A try that has come to its first questions; `by_role` is what the runner calls the teachers that tasks name."""
    one = Try(place, number, seed, task.rounds(seed, number, seed.chance(number)))
    _step(one, by_role, None)
    return one


def _step(one: Try, by_role: Mapping[str, str], answers: Sequence[Answer] | None) -> None:
    assert one.making is not None
    try:
        asked = next(one.making) if answers is None else one.making.send(answers)
    except StopIteration as end:
        _end(one, list(end.value))
    except Rejected as rejected:
        _end(one, [rejected])
    except Exception as error:
        error.add_note(f"while rows were made of the seed {one.seed.id}")
        raise
    else:
        one.asked = [replace(request, teacher=by_role[request.teacher]) for request in asked]
        if not one.asked:
            _end(one, [])


def _end(one: Try, results: Sequence[Made | Rejected]) -> None:
    one.results, one.asked, one.making, one.done = results, (), None, True


class Player:
    """Carries a task out. `teachers` are by the name that tasks give them; the runner knows them by their own."""

    def __init__(
        self,
        task: Task,
        seed_at: Callable[[int], Seed],
        teachers: Mapping[str, Teacher],
        journal: Journal,
        budget: Budget,
        *,
        job: str,
        home: Path,
        tell: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._task = task
        self._seed_at = seed_at
        self._by_role = {role: teacher.name for role, teacher in teachers.items()}
        self._teachers = list({teacher.name: teacher for teacher in teachers.values()}.values())
        self._journal = journal
        self._budget = budget
        self._job = job
        self._home = home
        self._tell = tell
        batches = any(endpoint.transport == "batch" for teacher in self._teachers for endpoint in teacher.endpoints)
        self._window = MOST_QUESTIONS if batches else FIRST_WINDOW
        self._widest = 1
        """The most questions that a try has asked at once."""
        self._patience = Patience()
        self._noted: set[tuple[str, str]] = set()
        self.cut_off = False
        """Whether the budget has ended: nothing more is begun."""
        self.found = 0
        """Answers that were in the journal, and those that several tries shared."""

    def play(self, wanted: Iterator[tuple[int, int]]) -> Iterator[Try]:
        """The tries of some seeds, by place and number, in their order, whatever is answered first."""
        under_way: deque[Try] = deque()
        more = True
        while True:
            asking = [one for one in under_way if one.asked]
            questions = sum(len(one.asked) for one in asking)
            most = max(1, min(MOST_TRIES, MOST_QUESTIONS // self._widest))
            while more and not self.cut_off and questions < self._window and len(under_way) < most:
                following = next(wanted, None)
                if following is None:
                    more = False
                    break
                one = begun(self._task, self._seed_at(following[0]), *following, self._by_role)
                under_way.append(one)
                if one.asked:
                    asking.append(one)
                    questions += len(one.asked)
            if not asking:
                yield from _finished(under_way)
                if not more or self.cut_off:
                    return
                continue
            for _ in self._ask(asking):
                yield from _finished(under_way)

    def _ask(self, asking: Sequence[Try]) -> Iterator[None]:
        """Ask what the tries ask; each goes on as soon as its own answers are there."""
        self._note_departures(asking)
        count = sum(len(one.asked) for one in asking)
        began = monotonic()
        questions = [request for one in asking for request in one.asked]
        running = run(
            questions, self._teachers, self._journal, self._budget, job=self._job, patience=self._patience,
            on_event=self._heard, total=count,
        )  # fmt: skip
        with closing(running):
            for one in asking:
                self._take(one, list(islice(running, len(one.asked))))
                yield
            for _ in running:  # to its end, where it tells what it did
                pass
        self._patience = Patience(first=self._patience.endpoint)  # it has answered, in the window before
        pace = count / max(monotonic() - began, 1e-3)
        self._window = max(self._window // 2, int(min(MOST_QUESTIONS, max(FIRST_WINDOW, pace * WINDOW_SECONDS))))

    def _take(self, one: Try, given: Sequence[Answer | Failure]) -> None:
        judge = self._by_role[JUDGE]
        one.questions += len(given)
        for request, outcome in zip(one.asked, given, strict=True):
            one.teachers.add(request.teacher)
            if isinstance(outcome, Answer) and (not one.key or request.teacher != judge or len(self._teachers) == 1):
                one.key, one.model = outcome.key, outcome.model
        failed = [outcome for outcome in given if isinstance(outcome, Failure)]
        if not failed:
            _step(one, self._by_role, [outcome for outcome in given if isinstance(outcome, Answer)])
            self._widest = max(self._widest, len(one.asked))
            return
        assert one.making is not None
        one.making.close()
        if any(outcome.reason == "budget" for outcome in failed):
            self.cut_off = one.cut_off = True
            _end(one, [])
        else:
            one.key = failed[0].key
            _end(one, [Rejected(failed[0].reason, failed[0].detail)])

    def _heard(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "end":
            self.found += event["cached"] + event["shared"]
        self._tell(event)

    def _note_departures(self, asking: Sequence[Try]) -> None:
        """Write down which rows go where, before they do; what the journal answers goes nowhere."""
        leaving: dict[str, list[str]] = {}
        for one in asking:
            ids = [one.seed.id, *(str(row.get("id", "")) for row in one.seed.others)]
            for request in one.asked:
                new = [id_ for id_ in ids if (request.teacher, id_) not in self._noted]
                if new and self._journal.find(request_key(request, self._teachers)) is None:
                    self._noted.update((request.teacher, id_) for id_ in new)
                    leaving.setdefault(request.teacher, []).extend(new)
        for teacher in self._teachers:
            ids = leaving.get(teacher.name, [])
            for endpoint in teacher.endpoints:
                for first in range(0, len(ids), IDS_AT_ONCE):
                    note_departure(
                        self._home,
                        destination=endpoint.shown,
                        command=f"synth run {self._job}",
                        rows=ids[first : first + IDS_AT_ONCE],
                    )


def _finished(under_way: deque[Try]) -> Iterator[Try]:
    while under_way and under_way[0].done:
        yield under_way.popleft()
