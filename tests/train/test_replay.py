"""General data mixed in against forgetting: how much, which rows, and what is said of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError, UserErrors
from tests.train.small import CutOff, chat_dataset, cut_at, job_of, kill, log, questions, read_json, train_with
from tests.train.test_dpo import pairs, pairs_dataset
from train.reference import digests
from train.running import Tokens, carry_out, prepare, recipe_of, tokens_of

job = partial(job_of, "sft")
train = partial(train_with, "sft")


def general(folder: Path, count: int = 200, **source: Any) -> Path:
    """Longer rows about other things, a tenth of them held out."""
    rows = [
        {
            "messages": [("user", f"Tell me about number {place}."), ("assistant", f"{place} is a number. " * 4)],
            "split": "validation" if place % 10 == 9 else "train",
        }
        for place in range(count)
    ]
    return chat_dataset(folder, rows, **source).folder


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return general(tmp_path_factory.mktemp("data") / "old")


def replayed(tokens: Tokens) -> list[str]:
    (one,) = tokens.replay
    return list(one["row_ids"])


def test_the_share_is_one_of_all_tokens(model: Path, data: Path, old: Path, tmp_path: Path) -> None:
    made = job(model, data, tmp_path / "out", replay=[f"{old}=0.3"])

    tokens = tokens_of(made)

    (one,) = tokens.replay
    total = int(tokens.train.lengths.sum())
    longest = int(tokens.train.lengths[32:].max())
    assert len(tokens.train) == 32 + one["rows"]
    assert one["tokens"] == int(tokens.train.lengths[32:].sum())
    assert 0 <= one["tokens"] - 0.3 * (total - one["tokens"]) / 0.7 < longest


def test_rows_are_the_same_for_one_seed_and_others_for_another(
    model: Path, data: Path, old: Path, tmp_path: Path
) -> None:
    found = [
        replayed(tokens_of(job(model, data, tmp_path / "out", replay=[f"{old}=0.2"], seed=seed))) for seed in (1, 1, 2)
    ]

    assert found[0] == found[1]
    assert set(found[0]) != set(found[2])
    assert len(set(found[0])) == len(found[0])


def test_two_datasets_have_their_shares(model: Path, data: Path, old: Path, tmp_path: Path) -> None:
    other = general(tmp_path / "other", 100)

    tokens = tokens_of(job(model, data, tmp_path / "out", replay=[f"{old}=0.2", f"{other}=0.1"]))

    total = int(tokens.train.lengths.sum())
    assert [round(one["tokens"] / total, 1) for one in tokens.replay] == [0.2, 0.1]


def test_too_little_is_said_and_never_taken_twice(model: Path, data: Path, tmp_path: Path) -> None:
    made = job(model, data, tmp_path / "out", replay=[f"{general(tmp_path / 'few', 10)}=0.5"])

    tokens = tokens_of(made)

    assert len(set(replayed(tokens))) == len(replayed(tokens)) == 9
    assert any("all 9 rows of" in one and "no row is taken twice" in one for one in made.warnings)


def test_validation_has_nothing_of_it_and_forgetting_shows_apart(
    model: Path, data: Path, old: Path, tmp_path: Path
) -> None:
    plain = train(model, data, tmp_path / "plain")
    made = job(model, data, tmp_path / "out", replay=[f"{old}=0.2"])
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    assert tokens.validation is not None
    assert len(tokens.validation) == 8
    assert len(tokens.replay_validation["old"]) == 20
    assert set(outcome.report["eval"]["by_task"]) == set(plain.report["eval"]["by_task"])
    first = log(outcome.folder)[0]
    assert first["step"] == 0, "the model as it was"
    (said,) = outcome.report["replay"]
    assert said["loss"]["first"] == first["eval_replay_old"]
    assert said["loss"]["last"] < said["loss"]["first"]
    assert f"{said['rows']:,} rows of old" in (outcome.folder / "README.md").read_text(encoding="utf-8")


def test_what_validation_holds_out_is_not_replayed(model: Path, data: Path, tmp_path: Path) -> None:
    copy = [{**one, "split": "train"} for one in questions(40)]
    again = chat_dataset(tmp_path / "again", copy).folder

    tokens = tokens_of(job(model, data, tmp_path / "out", replay=[f"{again}=0.6"]))

    assert tokens.validation is not None
    held_out = set(digests(tokens.validation))
    assert len(held_out) == 8
    assert held_out.isdisjoint(digests(tokens.train))


def test_lineage_card_and_identity_name_what_was_replayed(model: Path, data: Path, tmp_path: Path) -> None:
    old = general(tmp_path / "old", 100, licence="MIT")

    outcome = train(model, data, tmp_path / "out", replay=[f"{old}=0.2"], max_steps=1)

    lineage, manifest = read_json(outcome.folder / "lineage.json"), read_json(outcome.folder / "manifest.json")
    assert len(lineage["rows"]["train"]) == 32
    assert len(lineage["rows"]["replay"]["old"]) == outcome.report["replay"][0]["rows"]
    assert [one["name"] for one in lineage["datasets"]] == ["chat", "old"]
    assert manifest["identity"]["replay"][0][2] == 0.2
    assert "MIT" in (outcome.folder / "README.md").read_text(encoding="utf-8")


def test_terms_of_what_is_replayed_are_those_of_all_data(model: Path, data: Path, tmp_path: Path) -> None:
    old = general(tmp_path / "old", 20, training="denied")

    with pytest.raises(UserErrors) as caught:
        job(model, data, tmp_path / "out", replay=[f"{old}=0.2"])
    outcome = train(model, data, tmp_path / "out", replay=[f"{old}=0.2"], allow=["old"], max_steps=1)

    assert "the source 'old' (20 rows) may not be trained on" in caught.value.errors[0].message
    assert outcome.report["allowed"] == ["old"]
    with pytest.raises(UserError, match="there is no such source"):
        job(model, data, tmp_path / "out", replay=[f"{old}=0.2"], allow=["old", "olt"])


@pytest.mark.parametrize("step", [1, 4])
def test_a_cut_off_run_goes_on_with_the_same_rows(
    step: int, model: Path, data: Path, old: Path, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"replay": [f"{old}=0.2"]}
    expected = train(model, data, tmp_path / "whole", **more)

    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(step), **more)
    found = train(model, data, tmp_path / "out", **more)

    assert log(found.folder) == log(expected.folder)
    assert found.report["replay"] == expected.report["replay"]


def test_a_killed_run_is_resumed_by_its_folder_alone(model: Path, data: Path, old: Path, tmp_path: Path) -> None:
    expected = train(model, data, tmp_path / "whole", replay=[f"{old}=0.2"])
    kill("sft", model, data, tmp_path / "out", 5, replay=[f"{old}=0.2"])

    made = prepare(recipe_of(tmp_path / "out"), device="cpu")
    found = carry_out(made, tokens_of(made), lambda *_: None)

    assert found.report["resumed_from"] == 4
    assert log(found.folder) == log(expected.folder)


def test_another_share_is_another_run(model: Path, data: Path, old: Path, tmp_path: Path) -> None:
    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(3), replay=[f"{old}=0.2"])

    with pytest.raises(UserError, match="replay changed"):
        train(model, data, tmp_path / "out", replay=[f"{old}=0.3"])


@pytest.mark.parametrize("said", ["old", "old=", "=0.1", "old=1", "old=0", "old=nan", "old=x", "a=0.5"])
def test_what_is_no_share_is_refused(said: str, model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        job(model, data, tmp_path / "out", replay=[said, "b=0.5"])

    errors = caught.value.errors if isinstance(caught.value, UserErrors) else [caught.value]
    assert any("DATASET=SHARE" in one.message or "leave nothing of the data" in one.message for one in errors)


def test_the_data_themselves_are_not_replayed(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is trained on already"):
        job(model, data, tmp_path / "out", replay=[f"{data}=0.1"])


def test_pairs_are_replayed_in_dpo(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where what the reference says is kept
    data = pairs_dataset(tmp_path / "data", pairs(12)).folder
    old = pairs_dataset(tmp_path / "old", pairs(30)[12:]).folder

    outcome = train_with("dpo", model, data, tmp_path / "out", replay=[f"{old}=0.2"], max_steps=1)

    assert outcome.report["replay"][0]["rows"] > 0


def test_the_option_is_the_setting(model: Path, data: Path, old: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from train.cli import app

    said = ["sft", "--model", str(model), "--data", str(data), "--out", str(tmp_path / "out"), "--json", "--dry-run"]

    found = json.loads(CliRunner().invoke(app, [*said, "--replay", f"{old}=0.25"]).stdout)

    (one,) = found["replay"]
    assert one["name"] == "old"
    assert one["of_all_tokens"] == pytest.approx(0.25, abs=0.03)
    assert "row_ids" not in one
