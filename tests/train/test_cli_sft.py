"""`train sft`, `resume`, `show` and `merge` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from schemas.console import fail
from schemas.errors import UserError
from tests.train.small import chat_dataset, questions, tiny_model
from train.cli import app


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cli")
    data = chat_dataset(folder / "chat", questions(20)).folder
    return {"model": tiny_model(folder / "tiny"), "data": data, "out": folder / "out"}


def ran(*arguments: object) -> str:
    found = CliRunner().invoke(app, [str(one) for one in arguments])
    if isinstance(found.exception, UserError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


def sft(made: dict[str, Path], *more: object) -> str:
    settings = [f"--set={one}" for one in ("max_steps=4", "eval_steps=2", "per_device_train_batch_size=4")]
    return ran("sft", "-m", made["model"], "-d", made["data"], "-o", made["out"], *settings, *more)


def test_a_dry_run_shows_three_rows_with_their_mask_and_writes_nothing(made: dict[str, Path]) -> None:
    said = sft(made, "--dry-run")
    found = json.loads(sft(made, "--dry-run", "--json"))

    assert (
        "2. <|im_start|>user⏎What is question number 1?<|im_end|>⏎<|im_start|>assistant⏎⟦ANSWER 1.<|im_end|>⟧" in said
    )
    assert len(found["examples"]) == 3
    assert found["steps"] == 4
    assert not made["out"].exists()


def test_a_run_is_shown_again_and_merged(made: dict[str, Path], tmp_path: Path) -> None:
    made = {**made, "out": tmp_path / "out"}

    trained: dict[str, Any] = json.loads(sft(made, "--json"))
    again: dict[str, Any] = json.loads(sft(made, "--json"))
    shown = ran("show", made["out"], "--report", tmp_path / "page.html")
    merged: dict[str, Any] = json.loads(
        ran("merge", made["out"], "-o", tmp_path / "merged", "--dtype", "fp32", "--json")
    )

    assert {"adapter", "steps", "loss", "eval", "memory_gb", "seconds"} <= trained.keys()
    assert set(trained["loss"]) == {"first", "last"}
    assert (trained["already"], again["already"]) == (False, True)
    assert "validation" in shown
    assert "<svg" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert merged["verified"]["same_top_token"] == 1.0


def test_what_cannot_be_resumed_says_why(made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no run to go on with"):
        ran("resume", tmp_path / "nothing")
    with pytest.raises(UserError, match="is no adapter that `train` made"):
        ran("show", tmp_path)


def test_mistakes_are_json_with_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError) as caught:
        ran("sft", "--set", "lr=1")
    with pytest.raises(SystemExit) as left:
        fail(caught.value, as_json=True)

    assert left.value.code == 2
    assert {"here it is `learning_rate`"} <= {one["hint"] for one in json.loads(capsys.readouterr().out)["errors"]}
