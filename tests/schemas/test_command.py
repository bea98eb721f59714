"""What all command lines share."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from schemas.command import application, copy_report, settings_given
from schemas.errors import UserError


def test_a_command_line_answers_to_h_and_lets_errors_through() -> None:
    app = application("made", "It makes things.")

    @app.command()
    def first() -> None:
        raise UserError("it does not work")

    @app.command()
    def second() -> None:
        typer.echo("done")

    assert "It makes things." in CliRunner().invoke(app, ["-h"]).output
    assert isinstance(CliRunner().invoke(app, ["first"]).exception, UserError)
    assert CliRunner().invoke(app, ["second"]).output == "done\n"


def test_settings_are_names_and_values() -> None:
    assert settings_given(["rows=20", "task.use=a=b"], "rows=20") == {"rows": "20", "task.use": "a=b"}
    assert settings_given(None, "rows=20") == {}


@pytest.mark.parametrize("item", ["rows", "=20", "rows=", "", "="])
def test_what_is_no_setting_is_refused_with_an_example(item: str) -> None:
    with pytest.raises(UserError, match=r"^--map .* is not of the form NAME=VALUE") as caught:
        settings_given([item], "output=answer", option="--map")

    assert caught.value.hint == "for example --map output=answer"


def test_a_report_is_copied_where_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("made", encoding="utf-8")

    copy_report(tmp_path, None)
    copy_report(tmp_path, tmp_path / "pages" / "of" / "it.html")

    assert (tmp_path / "pages" / "of" / "it.html").read_text(encoding="utf-8") == "made"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pages", "report.html"]


def test_a_report_that_is_wanted_where_it_already_is_stays(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("made", encoding="utf-8")

    copy_report(tmp_path, tmp_path / "report.html")

    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "made"


def test_a_report_into_a_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("made", encoding="utf-8")

    with pytest.raises(UserError, match="is a folder"):
        copy_report(tmp_path, tmp_path)
