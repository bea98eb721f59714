from __future__ import annotations

import jsonschema
import orjson
import pytest

from schemas.published import FOLDER, published, text_of
from schemas.rows import KINDS, columns


@pytest.mark.parametrize("name", published())
def test_published_schemas_are_what_the_classes_say(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")

    assert written == text_of(published()[name])


def test_no_schema_is_left_of_a_class_that_is_gone() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == {*published(), "recipe.json", "synth_recipe.json"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_is_described(kind: str) -> None:
    schema = published()[f"{kind}.json"]

    assert set(schema["properties"]) == set(columns(kind))
    assert all(one.get("description") for one in schema["properties"].values())


def test_a_chat_row_is_valid_under_its_schema() -> None:
    row = {
        "id": "0" * 32,
        "content_hash": "1" * 32,
        "copy": 0,
        "external_id": None,
        "source": "s",
        "task": None,
        "lang": "zh",
        "split": None,
        "origin": {"file": "a.jsonl", "line": 1, "part": None},
        "parents": [],
        "extra": None,
        "messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": None, "tool_calls": "[]"}],
    }

    jsonschema.validate(row, published()["chat.json"])

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(row | {"messages": "你好"}, orjson.loads(text_of(published()["chat.json"])))
