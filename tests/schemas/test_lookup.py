"""Tests of schemas/lookup.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.stage import Filter, Stage
from curate.stages.length import Length
from schemas.errors import UserError
from schemas.lookup import find, names

MINE = """
import polars as pl
from curate.stage import Filter
from curate.stages.length import Length

class {name}(Filter):
    "Drop what I do not like."
    def reasons(self) -> dict[str, pl.Expr]:
        return {{"disliked": self.text("answer") == "{word}"}}
"""


def test_a_name_is_the_class_in_the_file_of_that_name() -> None:
    assert find("curate.stages", "length", Stage) is Length
    assert "length" in names("curate.stages")


def test_a_name_that_is_not_there_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match="no stage named 'lenght'") as error:
        find("curate.stages", "lenght", Stage)

    assert error.value.hint == "did you mean 'length'?"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "os", "length.py.bak", "../stage", "length\n", "__init__", "stages.length"]
)
def test_a_name_that_is_no_name_is_a_sentence(name: str) -> None:
    with pytest.raises(UserError, match="no stage named"):
        find("curate.stages", name, Stage)


def test_a_users_own_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.format(name="Mine", word="meh"))

    found = find("curate.stages", str(tmp_path / "mine.py"), Stage)

    assert issubclass(found, Filter)
    assert found.description() == "Drop what I do not like."


def test_a_file_that_was_edited_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(name="First", word="meh"))
    first = find("curate.stages", str(path), Stage)
    path.write_text(MINE.format(name="Second", word="meh"))

    second = find("curate.stages", str(path), Stage)

    assert (first.__name__, second.__name__) == ("First", "Second")
    assert find("curate.stages", str(path), Stage) is second


def test_a_file_beside_another_of_the_same_name_is_its_own(tmp_path: Path) -> None:
    for name in ("One", "Two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(MINE.format(name=name, word="meh"))

    found = [find("curate.stages", str(tmp_path / name / "mine.py"), Stage).__name__ for name in ("One", "Two")]

    assert found == ["One", "Two"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:", "SyntaxError"),
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("\x00", "cannot be loaded"),
        ("x = 1", "exactly one public Stage class, found: none"),
        ("from curate.stages.length import Length", "found: none"),
        (MINE.format(name="_Hidden", word=""), "found: none"),
        (MINE.format(name="One", word="") + MINE.format(name="Two", word=""), "found: One, Two"),
    ],
)
def test_a_file_that_is_no_stage_is_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(text)

    with pytest.raises(UserError, match=said):
        find("curate.stages", str(tmp_path / "mine.py"), Stage)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a file"):
        find("curate.stages", str(tmp_path / "mine.py"), Stage)
