"""The published schema of a job's recipe is up to date, and agrees with what the command takes."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from schemas.lookup import names
from synth.pages import recipe_for
from synth.published import SCHEMA, recipe_schema, schema_text
from synth.recipe import describe_tasks


def test_the_schema_is_up_to_date() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), "run python -m synth.published"


@pytest.mark.parametrize("name", names("synth.tasks"))
def test_the_recipe_that_is_shown_for_a_task_is_one(name: str) -> None:
    needed = [one["name"] for one in describe_tasks(name)[0]["settings"] if one["required"]]
    recipe = yaml.safe_load(recipe_for(name, needed))

    if not needed:
        jsonschema.validate(recipe, recipe_schema())
    assert recipe["task"]["use"] == name


@pytest.mark.parametrize("wrong", [{"sead": 3}, {"task": "parafrase"}, {"teacher": {"modl": "x"}}, {"rows": 0}])
def test_mistakes_are_told_by_the_schema_too(wrong: dict[str, object]) -> None:
    recipe = {"seeds": "a.jsonl", "task": "paraphrase", "teacher": "local"}
    jsonschema.validate(recipe, recipe_schema())

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**recipe, **wrong}, recipe_schema())
