"""Every task, asked of a real small model by the real runner: it ends, with rows or with reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Rejected
from schemas.lookup import find, names
from schemas.rows import KINDS, content_columns
from synth.installing import has_engine, model_file
from synth.journal import Journal
from synth.request import Request
from synth.runner import Outcome, run
from synth.task import Example, Language, Made, Seed, Task, play_all
from synth.teachers.local import Serving, local_teacher
from synth.teachers.openai_api import Teacher

pytestmark = pytest.mark.skipif(
    not has_engine() or model_file() is None, reason="the local teacher is not installed: synth install-teacher"
)
LANGUAGES: tuple[Language, Language] = ("en", "zh")


@pytest.fixture(scope="module")
def teacher() -> Iterator[Teacher]:
    with local_teacher(serving=Serving(slots=1, context_tokens=4_096, threads=1)) as served:
        yield served


def example_of(task: type[Task], lang: Language) -> Example:
    """The task's first example in a language of which something is made."""
    return next(one for one in task.examples if one.made and Seed.of(one.row).lang == lang)


def cases() -> list[Any]:
    """Each task in one language, once, in turns (about a minute of CPU); in the other, three times, in a soak.

    One language after the other: the server keeps what prompts have in common."""
    found = []
    for lang in LANGUAGES:
        for number, name in enumerate(names("synth.tasks")):
            often = LANGUAGES[number % 2] == lang
            mark = pytest.mark.slow if often else pytest.mark.soak
            found.append(pytest.param(name, lang, 1 if often else 3, marks=mark, id=f"{name}-{lang}"))
    return found


@pytest.mark.parametrize(("name", "lang", "rows"), cases())
def test_a_task_gets_through_with_a_real_model(
    name: str, lang: Language, rows: int, teacher: Teacher, tmp_path: Path
) -> None:
    kind: type[Task] = find("synth.tasks", name, Task)  # type: ignore[type-abstract]
    example = example_of(kind, lang)
    task = kind(**{**example.settings, "max_tokens": 32, "check_tokens": 24})
    seed = Seed.of(example.row, example.others)
    asked: list[Request] = []
    outcomes: list[Outcome] = []

    with Journal(tmp_path) as journal:

        def ask(questions: Sequence[Request]) -> Iterator[Outcome]:
            asked.extend(questions)
            for outcome in run([replace(one, teacher="") for one in questions], [teacher], journal):
                outcomes.append(outcome)
                yield outcome

        results = play_all(task, [(seed, number) for number in range(rows)], ask)

    assert asked
    assert len(results) == rows
    assert all(made for made in results)
    assert not [one for one in outcomes if getattr(one, "reason", "") in ("bad_request", "tries", "budget")]
    for one in (one for made in results for one in made):
        if isinstance(one, Rejected):
            assert one.reason
        else:
            assert is_a_row(one)


def is_a_row(made: Made) -> bool:
    content: dict[str, Any] = dict(made.content)
    return made.kind in KINDS and set(content) <= set(content_columns(made.kind))
