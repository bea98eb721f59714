"""Tests of curate/recipe.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.importing import import_files
from curate.read import Reading
from curate.recipe import (
    checked_settings,
    describe_collectors,
    describe_stages,
    input_paths,
    load_recipe,
    shipped_recipes,
)
from curate.stage import Filter, Input, Setting
from curate.stages.length import Length
from curate.stages.top_by_score import TopByScore
from schemas.dataset import Dataset
from schemas.errors import RecipeError, UserError, UserErrors
from schemas.lookup import names
from schemas.recipe import describe_settings
from tests.helpers import write_rows

TEA = {"instruction": "How do I make tea?", "output": "Boil water."}


@pytest.fixture
def raw(tmp_path: Path) -> Dataset:
    return import_files([write_rows(tmp_path / "rows.jsonl", [TEA])], tmp_path / "raw", Reading(), {}).datasets[0]


def mistakes(path: Path | str, **given: Any) -> list[str]:
    """What is wrong with a recipe, as people see it."""
    with pytest.raises(UserError) as error:
        load_recipe(str(path), **given)
    errors = error.value.errors if isinstance(error.value, UserErrors) else [error.value]
    assert all("\n" not in one.message for one in errors)
    return [f"{one.line}: {one.message} ({one.hint})" for one in errors]


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_mistake_is_reported_at_once_with_line_and_nearest_name(tmp_path: Path) -> None:
    path = recipe(
        tmp_path,
        f"""\
name: [tea]
inputts: []
inputs: [{tmp_path}/nothing]
stages:
  - use: lenght
  - use: length
    min_char: 5
    max_chars: many
  - min_chars: 5
  - use: top_by_score
  - use: exact_duplicates
    keep: frist
  - use: length
    use: empty
  - use: ./nothing.py
  - 7
""",
    )

    found = mistakes(path)

    assert found == [
        "1: name: must be text (found ['tea'])",
        "2: inputts: there is no key 'inputts' (did you mean 'inputs'?)",
        f"3: {tmp_path}/nothing does not exist (make a dataset with `curate import PATH --out DIR`)",
        "5: stages[0].use: there is no stage named 'lenght' (did you mean 'length'?)",
        "7: stages[1].min_char: there is no setting 'min_char' (did you mean 'min_chars'?)",
        "8: stages[1].max_chars: input should be a valid integer, unable to parse string as an integer (found 'many')",
        "9: stages[2]: a stage names what it uses (- use: length)",
        "10: stages[3]: the setting 'scores' is missing (dataset of scores, or a .parquet or .jsonl file with `row_id` "
        "and `value`)",
        "12: stages[4].keep: 'frist' is not a choice (did you mean 'first'?)",
        "14: 'use' is set twice (remove one of them)",
        "15: stages[6].use: nothing.py is not a file (name a Python file relative to where the command runs)",
        "16: stages[7]: a stage names what it uses (- use: length)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a recipe has the keys"),
        ("- length", "a recipe has the keys"),
        ("just words", "a recipe has the keys"),
        ("stages: length", "stages must be a list"),
        ("stages: {length: {}}", "stages must be a list"),
        ("stages: []", "stages must be a list"),
        ("stages: [length]", "names no inputs"),
        ("stages: [length]\ninputs: 5", "inputs must be a list"),
        ("stages: [length]\ninputs: [[a]]", "inputs must be a list"),
        ("stages: [length]\ninputs: []", "inputs must be a list"),
        ("stages: [{use: [length]}]\ninputs: x", "a stage names what it uses"),
        ("stages: [{use: length, name: inputs}]\ninputs: x", "'inputs' is taken"),
        ("stages: [{use: length, name: 5}]\ninputs: x", "5 is taken, or no name"),
        ("stages: [{use: length, min_chars: 9, max_chars: 3}]\ninputs: x", "x does not exist"),
        ("stages: [{use: top_by_score, scores: nothing.jsonl, keep_rows: 1}]\ninputs: x", "nothing.jsonl is neither"),
        ("stages: [length\ninputs: x", "not valid YAML"),
    ],
)
def test_a_recipe_that_is_wrong_is_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(mistakes(recipe(tmp_path, text)))


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(UserError):
        load_recipe(str(path))


def test_inputs_of_several_kinds_are_found_before_data_is_read(tmp_path: Path, raw: Dataset) -> None:
    text = write_rows(tmp_path / "text.jsonl", [{"text": "plain"}])
    plain = import_files([text], tmp_path / "plain", Reading(), {}).datasets[0]
    path = recipe(tmp_path, "stages: [length, lenght]")

    found = mistakes(path, inputs=[raw.folder, plain.folder, tmp_path / "nothing", text])

    assert [one.split(": ", 1)[1] for one in found] == [
        f"{tmp_path}/nothing does not exist (make a dataset with `curate import PATH --out DIR`)",
        f"{text} is a file, not a dataset (import it first: curate import {text} --out DIR)",
        "the inputs hold different kinds of rows: chat, text (run the recipe on each kind by itself)",
        "stages[1].use: there is no stage named 'lenght' (did you mean 'length'?)",
    ]


def test_a_recipe_that_is_right_is_filled(tmp_path: Path, raw: Dataset) -> None:
    path = recipe(
        tmp_path, f"inputs: {raw.folder}\nstages:\n  - length\n  - {{use: length, max_chars: 9}}\n  - empty\n"
    )

    loaded = load_recipe(str(path))

    assert (loaded.name, loaded.inputs) == ("recipe", (raw.folder,))
    assert [step.name for step in loaded.steps] == ["length", "length-2", "empty"]
    assert loaded.filled()["stages"][:2] == [
        {"use": "length", "field": "answer", "min_chars": 1, "max_chars": 100_000},
        {"use": "length", "name": "length-2", "field": "answer", "min_chars": 1, "max_chars": 9},
    ]


def test_no_two_steps_have_one_name(tmp_path: Path, raw: Dataset) -> None:
    path = recipe(tmp_path, "stages: [length, length, {use: empty, name: length-2}, {use: empty, name: a}, length]")
    fine = recipe(tmp_path / "raw", "stages: [{use: empty, name: length-2}, length, length, length]")

    found = mistakes(path, inputs=[raw.folder])
    loaded = load_recipe(str(fine), inputs=[raw.folder])

    assert found == ["1: stages[2].name: 'length-2' is taken, or no name (choose another)"]
    assert [step.name for step in loaded.steps] == ["length-2", "length", "length-3", "length-4"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"stages.length.min_chars": "many"}, "min_chars: input should be a valid integer"),
        ({"stages.length.min_chars": "-1"}, "min_chars: input should be greater than or equal to 0"),
        ({"stages.length.min_chars": "2024-13-45"}, "min_chars: input should be a valid integer"),
        ({"stages.length.min_chars": "!!python/name:os.system x"}, "min_chars: input should be a valid integer"),
        ({"stages.length.min_chars": "[" * 999}, "min_chars: input should be a valid integer"),
        ({"stages.length.min_chars": ""}, "min_chars: input should be a valid integer"),
        ({"stages.length.min_char": "5"}, "did you mean 'min_chars'?"),
        ({"stages.lenght.min_chars": "5"}, "did you mean 'length'?"),
        ({"length.min_chars": "5"}, "for example --set stages.length.min_chars=80"),
        ({"stages.length": "5"}, "for example --set stages.length.min_chars=80"),
        ({"stages..": "5"}, "for example --set stages.length.min_chars=80"),
        ({"name": "x"}, "for example --set stages.length.min_chars=80"),
        ({"stages.length.use": "empty"}, "there is no setting 'use'"),
    ],
)
def test_a_setting_of_the_command_line_that_is_wrong_is_a_sentence(
    tmp_path: Path, raw: Dataset, overrides: dict[str, str], said: str
) -> None:
    path = recipe(tmp_path, "stages: [length]")

    (found,) = mistakes(path, overrides=overrides, inputs=[raw.folder])

    assert said in found


def test_a_setting_of_the_command_line_wins_and_is_typed(tmp_path: Path, raw: Dataset) -> None:
    mine = "class Mine(Filter):\n  'Mine.'\n  most: int = 1\n  def reasons(self): return {}\n"
    (tmp_path / "my.own.py").write_text(f"from curate.stage import Filter\n{mine}")
    path = recipe(
        tmp_path, f"stages: [{{use: length, min_chars: 5}}, {{use: exact_duplicates}}, {{use: {tmp_path}/my.own.py}}]"
    )
    overrides = {
        "stages.length.min_chars": "7",
        "stages.exact_duplicates.prefer": "[a, b]",
        "stages.exact_duplicates.keep": "last",
        "stages.my.own.most": "3",
    }

    filled = load_recipe(str(path), overrides, [raw.folder]).filled()["stages"]

    assert filled[0]["min_chars"] == 7
    assert (filled[1]["prefer"], filled[1]["keep"]) == (["a", "b"], "last")
    assert filled[2]["most"] == 3


def test_a_recipe_is_found_by_name_even_beside_a_folder_of_that_name(
    tmp_path: Path, raw: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean").mkdir()

    loaded = load_recipe("clean", inputs=[raw.folder])

    assert loaded.name == "clean"
    assert mistakes("claen") == ["None: there is no recipe named 'claen', and no such file (did you mean 'clean'?)"]
    assert "is no text file" in mistakes("raw")[0]
    assert "does not exist" in mistakes("deep/recipe.yaml")[0]


def test_the_shipped_recipes_are_right(raw: Dataset) -> None:
    shipped = shipped_recipes()

    assert {one["name"] for one in shipped} >= {"clean"}
    for one in shipped:
        assert one["description"]
        assert len(load_recipe(one["name"], inputs=[raw.folder]).steps) == len(one["stages"])


def test_settings_that_name_inputs_are_known_in_every_form() -> None:
    class Reads(Filter):
        """Reads much."""

        one: Input
        maybe: Input | None = None
        described: Input = Setting(default="", description="where")
        many: list[Input] = Setting(default_factory=list)
        other: str = "x"

        def reasons(self) -> dict[str, Any]:
            return {}

    paths = input_paths(Reads(one="a", maybe="b", many=["c", "d"]))

    assert paths == {"one": [Path("a")], "maybe": [Path("b")], "many": [Path("c"), Path("d")]}
    assert input_paths(Reads(one="a")) == {"one": [Path("a")]}
    assert input_paths(TopByScore(scores="s.jsonl", keep_rows=1)) == {"scores": [Path("s.jsonl")]}
    assert input_paths(Length()) == {}


def test_settings_of_a_collector_are_typed_and_checked() -> None:
    class Tea(Filter):
        """Settings to test with."""

        minutes: int
        leaves: tuple[str, ...] = ()

        def reasons(self) -> dict[str, Any]:
            return {}

    assert checked_settings(Tea, {"minutes": "3", "leaves": "[a]"}, "curate collect tea") == {
        "minutes": 3,
        "leaves": ("a",),
    }
    with pytest.raises(UserErrors) as error:
        checked_settings(Tea, {"minuts": "3"}, "curate collect tea")
    assert [one.message for one in error.value.errors] == [
        "curate collect tea: --set the setting 'minutes' is missing",
        "curate collect tea: --set minuts: there is no setting 'minuts'",
    ]
    with pytest.raises(RecipeError, match="valid integer"):
        checked_settings(Tea, {"minutes": "2024-13-45"}, "curate collect tea")


def test_every_stage_and_collector_is_described() -> None:
    stages = describe_stages()
    (length,) = describe_stages("length")

    assert [one["name"] for one in stages] == names("curate.stages")
    assert all(one["description"] and one["kind"] != "stage" and one["examples"] for one in stages)
    assert length["reasons"] == ["too_long", "too_short"]
    assert {one["name"] for one in describe_settings(Length)} == {"field", "min_chars", "max_chars"}
    assert {"chats", "code", "docs"} <= {one["name"] for one in describe_collectors()}
    with pytest.raises(UserError, match="no stage named 'x'"):
        describe_stages("x")
