"""Tests of schemas/recipe.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import RecipeError, UserErrors, raise_all
from schemas.recipe import MAX_CHARS, Document, allowed, read_document, settings_of, spelled

DOUBLES = "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))
MERGES = "\n".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))


class Tea(BaseModel):
    """Settings to test with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: int = Field(ge=1)
    kind: Literal["green", "black"] = "green"
    leaves: tuple[str, ...] = ()


def mistakes(text: str) -> list[str]:
    """The mistakes in a document that holds settings, as people see them."""
    document = Document(text, "tea.yaml")
    _, errors = settings_of(Tea, document.value, document, ())
    return [f"{error.line}: {error.message} ({error.hint})" for error in [*document.errors, *errors]]


def test_every_mistake_is_found_with_its_line_and_what_is_meant() -> None:
    found = mistakes("minutes: many\nkind: gren\nleafs: [a]\nkind: green\n")

    assert found == [
        "4: 'kind' is set twice (remove one of them)",
        "1: minutes: input should be a valid integer, unable to parse string as an integer (found 'many')",
        "3: leafs: there is no setting 'leafs' (did you mean 'leaves'?)",
    ]
    assert mistakes("minutes: 3\nkind: gren") == ["2: kind: 'gren' is not a choice (did you mean 'green'?)"]


def test_a_setting_that_is_missing_is_named() -> None:
    assert mistakes("kind: black") == ["1: the setting 'minutes' is missing ()"]


def test_a_mistake_deep_down_has_its_own_line() -> None:
    assert mistakes("minutes: 3\nleaves:\n  - a\n  - [b]\n") == [
        "4: leaves[1]: input should be a valid string (found ['b'])"
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"a0: &a0 [x, x]\n{DOUBLES}",
        f"a0: &a0\n  x: 1\n{MERGES}",
        "a: &a [*a]",
        "a: &a\n  b: *a",
        "&a [*a, *a]",
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000 + "x",
        "x" * (MAX_CHARS + 1),
        "[" + "1, " * 20_000 + "]",
        "? " * 1000,
    ],
    ids=[
        "doubling",
        "merging",
        "itself",
        "itself in a map",
        "itself at the top",
        "deep",
        "deep maps",
        "deep lists",
        "long",
        "wide",
        "keys",
    ],
)
def test_a_bomb_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Document(text, "bomb.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch /tmp/assay-was-here']",
        "!!python/name:os.system",
        "a: !mine {}",
        "a: 2024-13-45",
        "a: !!bool maybe",
        "a: !!timestamp x",
        "a: !!float ''",
        "a: !!int x",
        "{[1]: 2}",
        "a: *b",
        "a: 'open",
        "a: b: c",
        "a\n  b: c",
        "\ta: b",
        "a: 1\n---\nb: 2",
        "\x00",
        "%YAML 9.9\n---\na: 1",
    ],
)
def test_what_is_no_plain_yaml_is_a_sentence(text: str) -> None:
    with pytest.raises(RecipeError) as error:
        Document(text, "recipe.yaml")

    assert error.value.message.startswith("recipe.yaml is not valid YAML: ")


def test_a_mistake_in_the_yaml_has_its_line() -> None:
    with pytest.raises(RecipeError) as error:
        Document("name: tea\nstages:\n  - use: [length\n", "recipe.yaml")

    assert error.value.line in (3, 4)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        Document(text, "x.yaml")
    except RecipeError as error:
        assert error.message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    )
)
def test_what_is_written_is_what_is_read(value: Any) -> None:
    document = Document(yaml.safe_dump(value), "x.yaml")

    assert document.value == value
    assert document.errors == []


def test_anchors_are_allowed_where_they_stay_small() -> None:
    document = Document("a: &same\n  x: 1\nb: *same\nc:\n  <<: *same\n  y: 2\n", "x.yaml")

    assert document.value == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    assert document.line(("c", "y")) == 6
    assert document.line(("b", "x")) == 3


@pytest.mark.parametrize("written", [b"\xff\xfe", b"a: \x80"])
def test_a_recipe_that_is_no_text_is_a_sentence(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "recipe.yaml").write_bytes(written)

    for path in (tmp_path / "recipe.yaml", tmp_path):
        with pytest.raises(RecipeError, match="is no text file"):
            read_document(path)


def test_a_recipe_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"\xef\xbb\xbfname: tea\r\n")

    assert read_document(tmp_path / "recipe.yaml").value == {"name": "tea"}


def test_a_recipe_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not exist"):
        read_document(tmp_path / "recipe.yaml")


def test_mistakes_are_raised_together() -> None:
    raise_all([])
    with pytest.raises(RecipeError, match="one"):
        raise_all([RecipeError("one")])
    with pytest.raises(UserErrors) as error:
        raise_all([RecipeError("one"), RecipeError("two")])

    assert [one.message for one in error.value.errors] == ["one", "two"]


def test_places_and_choices_are_spelled_as_people_write_them() -> None:
    assert spelled(("stages", 2, "min_chars")) == "stages[2].min_chars"
    assert allowed(Literal["a", "b"] | None) == ["a", "b"]
