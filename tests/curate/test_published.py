from __future__ import annotations

import jsonschema
import pytest
import yaml

from curate.published import CHINESE, READMES, ROOT, SCHEMA, filled, recipe_schema, schema_text
from curate.recipe import RECIPES, STAGES
from schemas.lookup import names


def test_the_published_recipe_schema_is_what_the_stages_say() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()


@pytest.mark.parametrize("name", READMES)
def test_the_tables_in_the_readmes_are_what_the_code_says(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert filled(text, READMES[name]) == text


def test_every_stage_is_described_in_chinese() -> None:
    assert set(CHINESE) == set(names(STAGES))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_under_the_published_schema(path: object) -> None:
    recipe = yaml.safe_load((RECIPES / str(path)).read_text(encoding="utf-8"))

    jsonschema.validate(recipe, recipe_schema())


def test_a_misspelt_setting_is_invalid_under_the_published_schema() -> None:
    recipe = {"inputs": ["a"], "stages": [{"use": "length", "min_char": 3}]}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(recipe, recipe_schema())
