"""What is generated from the tasks: the JSON Schema of a job's recipe, by which editors complete and check recipes.

`python -m synth.published` writes it; a test holds that it is up to date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.lookup import find, names
from synth.recipe import (
    TASKS,
    BudgetSettings,
    EmbeddingSettings,
    EndpointSettings,
    JobSettings,
    LocalSettings,
    PriceSettings,
    SeedSettings,
    TeacherSettings,
    describe_tasks,
)
from synth.task import Task

SCHEMA = Path(__file__).parent.parent / "schemas" / "json" / "synth_recipe.json"


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a job's recipe."""
    endpoint = EndpointSettings.model_json_schema()
    teacher = TeacherSettings.model_json_schema()
    teacher["properties"] |= endpoint["properties"] | {
        "price": PriceSettings.model_json_schema(),
        "endpoints": {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [{"type": "string"}, endpoint]},
        },
    }
    teachers = {"anyOf": [{"const": "local"}, teacher, LocalSettings.model_json_schema()]}
    seeds = {"anyOf": [{"type": "string"}, SeedSettings.model_json_schema()]}
    own = {"type": "object", "properties": {"use": {"type": "string", "pattern": "\\.py$"}}, "required": ["use"]}
    listed = names(TASKS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe of synthesis",
        "type": "object",
        "additionalProperties": False,
        "required": ["seeds", "task", "teacher"],
        "properties": {
            **JobSettings.model_json_schema()["properties"],
            "seeds": {"anyOf": [seeds, {"type": "array", "minItems": 1, "items": seeds}]},
            "task": {"anyOf": [{"enum": listed}, {"type": "string", "pattern": "\\.py$"}, own, *map(_task, listed)]},
            "teacher": teachers,
            "judge": {"anyOf": [{"type": "string"}, teachers]},
            "teachers": {"type": "object", "additionalProperties": teachers},
            "embeddings": EmbeddingSettings.model_json_schema(),
            "budget": BudgetSettings.model_json_schema(),
        },
    }


def _task(name: str) -> dict[str, Any]:
    """The schema of one task's settings."""
    cls: type[Task] = find(TASKS, name, Task)  # type: ignore[type-abstract]
    schema = cls.model_json_schema()
    schema["description"] = describe_tasks(name)[0]["description"]
    schema["properties"] = {"use": {"const": name}, **schema.get("properties", {})}
    schema["required"] = ["use", *schema.get("required", [])]
    return schema


def schema_text() -> str:
    """The schema as its file's text."""
    return json.dumps(recipe_schema(), ensure_ascii=False, indent=2) + "\n"


def write() -> None:
    """Write the schema to its file."""
    SCHEMA.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    write()
