"""Every task through the whole command's work: seeds read from a file, real HTTP, the journal, a dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.dataset import open_dataset, problems
from schemas.lookup import find, names
from synth.job import carry_out
from synth.journal import Journal
from synth.opening import seed_at
from synth.recipe import load_recipe
from synth.request import Request
from synth.seeds import read_seeds
from synth.task import Example, Said, Task, play
from tests.helpers import write_rows
from tests.synth.command import answering, question_of

TASKS = names("synth.tasks")


def examples_of(name: str) -> list[Example]:
    """Examples of a task that make rows, all of the same settings as the first; no two of one seed."""
    cls: type[Task] = find("synth.tasks", name, Task)  # type: ignore[type-abstract]
    making = [one for one in cls.examples if one.made and not one.number and not one.others]
    alike = [one for one in making if one.settings == making[0].settings]
    return list({json.dumps(one.row, sort_keys=True, default=str): one for one in alike}.values())


def as_given(row: Mapping[str, Any]) -> dict[str, Any]:
    """An example's seed as a line of a file, which has a message at least."""
    given = {key: value for key, value in row.items() if key != "id"}
    return given | ({"messages": [{"role": "user", "content": "Hello."}]} if row.get("messages") == [] else {})


@pytest.mark.parametrize("name", TASKS)
def test_a_task_makes_rows_of_a_file_over_http(name: str, tmp_path: Path) -> None:
    examples = examples_of(name)
    cls: type[Task] = find("synth.tasks", name, Task)  # type: ignore[type-abstract]
    task = cls(**examples[0].settings)
    file = write_rows(tmp_path / "seeds.jsonl", [as_given(one.row) for one in examples])
    value: dict[str, Any] = {
        "name": name,
        "seeds": str(file),
        "task": {"use": name, **json.loads(json.dumps(examples[0].settings))},
        "teacher": {"model": "stub", "base_url": "http://127.0.0.1:1/v1"},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    table: dict[str, list[str]] = {}
    rows = read_seeds(load_recipe(path).seeds).rows
    seeds = seed_at(task, rows, 0)
    for place, example in enumerate(examples):
        left = [
            one if isinstance(one, str) else json.dumps(one) for one in example.answers if not isinstance(one, Said)
        ]

        def answer(request: Request, left: list[str] = left) -> Said:
            text = left.pop(0)
            table.setdefault(question_of(request.body), []).append(text)
            return Said(text)

        play(task, seeds(place), 0, answer)

    with answering(table) as url:
        path.write_text(yaml.safe_dump(value | {"teacher": {"model": "stub", "base_url": url}}, sort_keys=False))
        made = carry_out(load_recipe(path), tmp_path / "out", home=tmp_path / "home")

    assert made["complete"]
    assert made["kept"] >= 1, made["rejected"]
    for one in made["datasets"]:
        assert list(problems(Path(one["dataset"]))) == []
    held = [row for frame in open_dataset(Path(made["dataset"])).batches() for row in frame.iter_rows(named=True)]
    assert {row["lang"] for row in held} <= {"en", "zh"}
    assert all(set(row["parents"]) & {one["id"] for one in rows} for row in held)
    assert all(json.loads(row["extra"])["made_by"] == name for row in held)
    with Journal(tmp_path / "home") as journal:
        wrote = [journal.find(json.loads(row["extra"])["request"]) for row in held]
    # One teacher writes and judges here: what a row names is what wrote it, and no verdict.
    assert all(one is not None and not str(one.text).startswith('{"verdict"') for one in wrote)
