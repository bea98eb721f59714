"""Recipes of training runs: every mistake at once, with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import RecipeError, UserErrors
from schemas.lookup import find, names
from train.adapter import ADAPTERS, Adapter
from train.recipe import load_recipe

GIVEN = {"model": "m", "data": ["d"], "out": "o"}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_options_win_over_the_file_and_settings_win_over_options(tmp_path: Path) -> None:
    path = written(tmp_path, "model: a\ndata: d\nout: o\nlearning_rate: 1e-4\nadapter: {use: lora, r: 8}\nseed: 1\n")

    recipe = load_recipe("sft", path, {"model": "b", "out": None}, {"adapter.r": "4", "seed": "7"})

    assert recipe.settings.model == "b"
    assert recipe.settings.data == ("d",)
    assert recipe.settings.learning_rate == 1e-4
    assert (recipe.filled()["adapter"]["r"], recipe.settings.seed) == (4, 7)


def test_every_mistake_is_reported_at_once_with_its_line_and_nearest_name(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "model: m\ndata: d\nout: o\nlerning_rate: 1\nlr: 2\nr: 3\nmax_length: tall\nadapter:\n  use: lora\n  rank: 4\n",
    )

    with pytest.raises(UserErrors) as caught:
        load_recipe("sft", path, {}, {})

    said = {(one.line, one.message.partition(":")[0]): one.hint for one in caught.value.errors}
    assert said[4, "lerning_rate"] == "did you mean 'learning_rate'?"
    assert said[5, "lr"] == "here it is `learning_rate`"
    assert said[6, "r"].startswith("it is a setting of the adapter: adapter: {use: lora, r")
    assert (7, "max_length") in said
    assert (10, "adapter.rank") in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapter": "lorra"}, "there is no adapter named 'lorra'"),
        ({"max_steps": "0"}, "nothing would be trained"),
        ({"learning_rate": "-1"}, "greater than 0"),
        ({"lr_scheduler_type": "cosin"}, "'cosin' is not a choice"),
        ({"reasoning": "maybe"}, "'maybe' is not a choice"),
    ],
)
def test_a_value_that_cannot_be_is_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("sft", None, GIVEN, settings)


def test_a_recipe_of_another_method_names_its_command(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'dpo' is not 'sft'") as caught:
        load_recipe("sft", written(tmp_path, "method: dpo\nmodel: m\ndata: d\nout: o\n"), {}, {})

    assert caught.value.hint == "use `train dpo`"


@pytest.mark.parametrize("name", names(ADAPTERS))
def test_a_filled_recipe_reads_as_the_same_recipe(name: str) -> None:
    recipe = load_recipe("sft", None, GIVEN, {"adapter": name})
    filled = recipe.filled()

    again = load_recipe(str(filled.pop("method")), None, filled, {})

    assert again.filled() == recipe.filled()


@pytest.mark.parametrize("name", names(ADAPTERS))
def test_every_adapter_says_what_it_is_in_one_sentence(name: str) -> None:
    said = find(ADAPTERS, name, Adapter).__doc__  # type: ignore[type-abstract]

    assert said
    assert ":" in said.split("\n")[0]
