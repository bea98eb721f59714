"""Tries: a task carried out on seeds, thousands at once, the questions of all rounds together.

A job is one run of the engine. The engine takes questions as the endpoint has room for them: what tries ask that have
come further goes first, then new tries are begun. So the endpoint is busy all the time, and no more is in memory than
what it is asked and what waits behind a slow answer, however many seeds there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from schemas.egress import note_departure
from schemas.errors import Rejected
from synth.budget import Budget
from synth.journal import Journal
from synth.request import Answer, Failure, Request
from synth.runner import LOOK_AHEAD, Outcome, request_key, run
from synth.task import JUDGE, Made, Rounds, Seed, Task
from synth.teachers.openai_api import Teacher

MOST_TRIES = 16_384
"""How many tries may be under way; fewer where each asks much at once."""

BEGUN_AT_ONCE = (32, 256)
"""How many tries are begun, and their departures written down, at once: the least and the most."""

IDS_AT_ONCE = 1_000
"""How many rows one line of the record of departures names."""

_CHUNK_SECONDS = 0.5
_NOTE_SECONDS = 0.2


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
    judged: Sequence[bool] = ()
    """Whether each of `asked` only asks for a judgement, which the same teacher may give that writes."""
    outcomes: list[Outcome] = field(default_factory=list)
    """What came of `asked` so far."""
    results: Sequence[Made | Rejected] = ()
    done: bool = False
    cut_off: bool = False
    """Whether the budget ended before it."""
    questions: int = 0
    teachers: set[str] = field(default_factory=set)
    """Names of the teachers that answered."""
    key: str = ""
    """The latest request that was not for a judgement, or else the first that was."""
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
        one.asked = [Request(request.body, request.sample, by_role[request.teacher]) for request in asked]
        one.judged = [request.teacher == JUDGE for request in asked]
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
        self._wanted: Iterator[tuple[int, int]] | None = None
        """Tries to begin; None where all are begun. Set by the caller's thread, emptied by the engine's."""
        self._over = False
        self._under_way: deque[Try] = deque()
        """What is begun, in order: the engine's thread appends, the caller's takes."""
        self._going_on: deque[Try] = deque()
        """What has further questions: the caller's thread appends, the engine's takes."""
        self._asking: deque[Try] = deque()
        """Whose questions the engine has, in the order in which it was given them."""
        self._widest = 1
        """The most questions that a try has asked at once."""
        self._chunk = BEGUN_AT_ONCE[0]
        self._chunk_at = 0.0
        self._noted: set[tuple[str, str]] = set()
        self._noted_at = 0.0
        self.cut_off = False
        """Whether the budget has ended: nothing more is begun."""
        self.found = 0
        """Answers that were in the journal, and those that several tries shared."""

    def play(self, batches: Callable[[], Iterator[tuple[int, int]] | None]) -> Iterator[Try]:
        """The tries of some seeds, by place and number, in their order, whatever is answered first.

        `batches` is called for more when all tries before have been taken, and says None where there are no more. Only
        one job can be played at a time."""
        self._wanted = batches()
        self._over = self._wanted is None
        running = run(
            self._questions(), self._teachers, self._journal, self._budget, job=self._job, on_event=self._heard
        )
        with closing(running):
            for outcome in running:
                if outcome is not None:
                    self._take(self._asking[0], outcome)
                all_begun = self._wanted is None  # read before it is seen what is under way: nothing is added then
                yield from self._finished()
                if all_begun and not self._under_way and not self._over:
                    following = None if self.cut_off else batches()
                    self._wanted, self._over = following, following is None

    # In the engine's thread.

    def _questions(self) -> Iterator[Request | None]:
        """What is to be asked, as the engine has room for it; None where answers are to be waited for."""
        further: deque[Try] = deque()
        leaving: list[Try] = []
        fresh: deque[Try] = deque()
        while not self._over:
            while self._going_on:
                one = self._going_on.popleft()
                (leaving if self._leaves(one) else further).append(one)
            # Many at once, since each time is a flush to disk; but never while nothing else is waited for.
            if leaving and (monotonic() - self._noted_at > _NOTE_SECONDS or not self._asking):
                self._note_departures(leaving)
                further.extend(leaving)
                leaving.clear()
            if not further and not fresh:
                fresh.extend(self._begin())
                self._note_departures(fresh)
            if further or fresh:
                yield from self._handed_over((further or fresh).popleft())
            else:
                yield None

    def _handed_over(self, one: Try) -> Iterator[Request]:
        self._widest = max(self._widest, len(one.asked))
        for request in one.asked:
            self._asking.append(one)
            yield request

    def _begin(self) -> Iterator[Try]:
        """Begin some tries; those that have questions. As many at once as are asked in about half a second."""
        if self.cut_off:
            self._wanted = None
        if self._wanted is None:
            return
        least, most = BEGUN_AT_ONCE
        now = monotonic()
        self._chunk = (
            min(most, 2 * self._chunk) if now - self._chunk_at < _CHUNK_SECONDS else max(least, self._chunk // 2)
        )
        self._chunk_at = now
        room = min(MOST_TRIES, LOOK_AHEAD // self._widest) - len(self._under_way)
        for _ in range(min(self._chunk, max(room, not self._under_way))):
            following = next(self._wanted, None)
            if following is None:
                self._wanted = None
                return
            one = begun(self._task, self._seed_at(following[0]), *following, self._by_role)
            self._under_way.append(one)
            if one.asked:
                yield one

    def _leaves(self, one: Try) -> bool:
        """Whether a row of a try goes where it has not been."""
        return any((request.teacher, id_) not in self._noted for request in one.asked for id_ in _ids(one.seed))

    def _note_departures(self, asking: Iterable[Try]) -> None:
        """Write down which rows go where, before they do; what the journal answers goes nowhere."""
        leaving: dict[str, list[str]] = {}
        for one in asking:
            ids = _ids(one.seed)
            for request in one.asked:
                new = [id_ for id_ in ids if (request.teacher, id_) not in self._noted]
                if new and self._journal.find(request_key(request, self._teachers)) is None:
                    self._noted.update((request.teacher, id_) for id_ in new)
                    leaving.setdefault(request.teacher, []).extend(new)
        if leaving:
            self._noted_at = monotonic()
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

    def _heard(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "end":
            self.found += event["cached"] + event["shared"]
        self._tell(event)

    # In the caller's thread.

    def _take(self, one: Try, outcome: Outcome) -> None:
        """Take what came of a try's next question; when that is all, the try goes on."""
        self._asking.popleft()
        one.outcomes.append(outcome)
        if len(one.outcomes) < len(one.asked):
            return
        self._go_on(one)
        if one.asked:
            self._going_on.append(one)

    def _go_on(self, one: Try) -> None:
        given, one.outcomes = one.outcomes, []
        one.questions += len(given)
        for request, judged, outcome in zip(one.asked, one.judged, given, strict=True):
            one.teachers.add(request.teacher)
            if isinstance(outcome, Answer) and (not one.key or not judged):
                one.key, one.model = outcome.key, outcome.model
        failed = [outcome for outcome in given if isinstance(outcome, Failure)]
        if not failed:
            _step(one, self._by_role, [outcome for outcome in given if isinstance(outcome, Answer)])
            return
        assert one.making is not None
        one.making.close()
        if any(outcome.reason == "budget" for outcome in failed):
            self.cut_off = one.cut_off = True
            _end(one, [])
        else:
            one.key = failed[0].key
            _end(one, [Rejected(failed[0].reason, failed[0].detail)])

    def _finished(self) -> Iterator[Try]:
        while self._under_way and self._under_way[0].done:
            yield self._under_way.popleft()


def _ids(seed: Seed) -> list[str]:
    return [seed.id, *(str(row.get("id", "")) for row in seed.others)]
