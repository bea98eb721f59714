"""Partial freezing: what is trained when, that it is written, and that a cut-off run thaws as if it had not been."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from schemas.errors import UserError, UserErrors
from tests.train.small import (
    CutOff,
    cut_at,
    job_of,
    kill,
    log,
    loss_of,
    read_json,
    tiny_model,
    train_with,
)
from train.adapters.freezing import Freezing
from train.memory import Setup, memory_of, trained_parameters
from train.running import carry_out, prepare, recipe_of, tokens_of
from train.shapes import shape_of

job = partial(job_of, "sft")
train = partial(train_with, "sft")

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of four layers."""
    return tiny_model(tmp_path_factory.mktemp("models") / "deep", layers=4)


def freezing(**more: Any) -> dict[str, Any]:
    return {"adapter": "freezing", **{f"adapter__{name}": value for name, value in more.items()}}


def changed(before: Path, after: Path) -> set[str]:
    """The parts of a model that differ: layers by their number, other parts by their name."""
    old, new = load_file(before / WEIGHTS), load_file(after / WEIGHTS)
    differ = {name.removeprefix("model.") for name in old if not torch.equal(old[name].float(), new[name].float())}
    return {name.split(".")[1] if name.startswith("layers.") else name.split(".")[0] for name in differ}


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"layers": 1, "unfreeze_at": []}, {"3", "norm"}),
        ({"layers": 1, "unfreeze_at": [0.5]}, {"2", "3", "norm"}),
        ({"layers": 0, "unfreeze_at": [0.3, 0.6], "unfreeze_layers": 2}, {"0", "1", "2", "3", "norm"}),
        ({"layers": 1, "unfreeze_at": [], "norm": False, "lm_head": True}, {"3", "embed_tokens"}),
    ],
)
def test_only_what_has_thawed_changes(
    settings: dict[str, Any], parts: set[str], deep: Path, data: Path, tmp_path: Path
) -> None:
    made = job(deep, data, tmp_path / "out", **freezing(**settings), load_best_model_at_end=False)

    outcome = carry_out(made, tokens_of(made), lambda *_: None)

    assert changed(deep, outcome.folder) == parts


def test_a_run_that_would_begin_with_nothing_trained_is_refused(deep: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is trained at the first step"):
        train(deep, data, tmp_path / "out", **freezing(layers=0, norm=False))


def test_layers_thaw_at_their_share_of_the_run() -> None:
    adapter = Freezing(layers=2, unfreeze_at=(0.25, 0.5), unfreeze_layers=3)

    trained = [adapter.layers_at(step, 8, 7) for step in range(1, 9)]

    assert trained == [2, 2, 5, 5, 7, 7, 7, 7]
    assert adapter.most_layers(7) == 7
    assert adapter.most_layers(24) == 8


def test_what_is_frozen_has_no_optimizer_state(deep: Path, data: Path, tmp_path: Path) -> None:
    more = freezing(layers=1, unfreeze_at=[0.9])

    with pytest.raises(CutOff):
        train(deep, data, tmp_path / "out", cut_at(5), **more)

    kept = tmp_path / ".out.assay-tmp" / "checkpoints" / "checkpoint-4" / "optimizer.pt"
    states = torch.load(kept, weights_only=True)["state"]
    assert len(states) == 9 + 1, "the nine tensors of the last layer, and the norm"


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_cut_off_run_thaws_as_if_it_had_not_been(step: int, deep: Path, data: Path, tmp_path: Path) -> None:
    more = freezing(layers=1, unfreeze_at=[0.34, 0.67])
    expected = train(deep, data, tmp_path / "whole", **more)

    with pytest.raises(CutOff):
        train(deep, data, tmp_path / "out", cut_at(step), **more)
    found = train(deep, data, tmp_path / "out", **more)

    assert log(found.folder) == log(expected.folder)
    assert (found.folder / WEIGHTS).read_bytes() == (expected.folder / WEIGHTS).read_bytes()


def test_a_run_that_was_killed_amid_thawing_is_resumed_exactly(deep: Path, data: Path, tmp_path: Path) -> None:
    more = freezing(layers=1, unfreeze_at=[0.34, 0.67])
    expected = train(deep, data, tmp_path / "whole", **more)
    kill("sft", deep, data, tmp_path / "out", 5, **more)

    made = prepare(recipe_of(tmp_path / "out"), device="cpu")
    found = carry_out(made, tokens_of(made), lambda *_: None)

    assert found.report["resumed_from"] == 4
    assert log(found.folder) == log(expected.folder)
    assert (found.folder / WEIGHTS).read_bytes() == (expected.folder / WEIGHTS).read_bytes()


def test_the_result_is_a_whole_model(deep: Path, data: Path, tmp_path: Path) -> None:
    made = job(deep, data, tmp_path / "out", **freezing())
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    assert read_json(outcome.folder / "manifest.json")["kind"] == "model"
    assert "library_name: transformers" in (outcome.folder / "README.md").read_text(encoding="utf-8")
    assert loss_of(outcome.folder, deep, tokens) == pytest.approx(outcome.report["eval"]["best"], abs=1e-5)
    assert outcome.report["planned"]["memory_gb"]["low"] > 0


def test_memory_is_planned_for_the_layers_that_are_trained(deep: Path) -> None:
    shape = shape_of(read_json(deep / "config.json"))
    part = Setup(adapter="full", device="cuda", precision="amp", trained_layers=2, trains_output=False)

    trained = trained_parameters(shape, part)

    inside = shape.parameters - shape.embedding
    assert trained == pytest.approx(inside / 2, rel=0.01)
    whole = memory_of(shape, Setup(adapter="full", device="cuda", precision="amp"))
    assert memory_of(shape, part).expected < whole.expected
    assert memory_of(shape, part).parts["optimizer"] == pytest.approx(8 * trained)


@pytest.mark.parametrize("shares", [[0.5, 0.2], [0.0], [1.0], [0.5, 0.5]])
def test_shares_that_do_not_rise_are_refused(shares: list[float], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        job(tmp_path / "no model", tmp_path, tmp_path / "out", **freezing(unfreeze_at=shares))

    errors = caught.value.errors if isinstance(caught.value, UserErrors) else [caught.value]
    assert any("shares of the run that rise" in one.message for one in errors)


def test_a_whole_model_does_not_go_on_from_an_adapter(deep: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="freezing trains the model"):
        job(deep, data, tmp_path / "out", adapter="freezing", from_adapter="somewhere")
