"""How low-rank updates begin: what is written stands on the original model; a cut-off run begins as it had begun."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from schemas.errors import UserError, UserErrors
from tests.train.small import (
    CutOff,
    cut_at,
    job_of,
    kill,
    log,
    loss_of,
    read_json,
    train_with,
)
from train.loading import load_base
from train.running import carry_out, prepare, recipe_of, tokens_of, working_folder

job = partial(job_of, "sft")
train = partial(train_with, "sft")

WEIGHTS = "adapter_model.safetensors"


@pytest.mark.parametrize(
    ("adapter", "how", "rank"),
    [
        ("lora", "pissa", 8),
        ("lora", "pissa_niter_4", 8),
        ("dora", "pissa", 8),
        ("lora", "eva", 4),
        ("dora", "eva", 4),
        ("qlora", "default", 4),
    ],
)
def test_what_is_written_says_on_the_original_model_what_was_trained(
    adapter: str, how: str, rank: int, model: Path, data: Path, tmp_path: Path
) -> None:
    made = job(model, data, tmp_path / "out", adapter=adapter, adapter__init_lora_weights=how, adapter__r=4)
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    looked = outcome.report["eval"]
    config = read_json(outcome.folder / "adapter_config.json")
    assert looked["best"] < looked["first"]
    assert (config["r"], config["init_lora_weights"], config["eva_config"]) == (rank, True, None)
    if adapter != "qlora":  # which was trained on other weights than these
        assert loss_of(outcome.folder, model, tokens) == pytest.approx(looked["best"], abs=2e-4)


def test_pissa_scaled_by_the_root_of_its_rank_keeps_its_scale(model: Path, data: Path, tmp_path: Path) -> None:
    made = job(
        model, data, tmp_path / "out", adapter__init_lora_weights="pissa", adapter__use_rslora=True, adapter__r=4
    )
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    assert loss_of(outcome.folder, model, tokens) == pytest.approx(outcome.report["eval"]["best"], abs=2e-4)


def test_ranks_that_eva_moved_are_loaded_again(model: Path, data: Path, tmp_path: Path) -> None:
    made = job(model, data, tmp_path / "out", adapter__init_lora_weights="eva", adapter__eva_rho=2.0, adapter__r=4)
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    assert read_json(outcome.folder / "adapter_config.json")["rank_pattern"]
    assert any("eva_rho gives each its own" in one for one in outcome.report["warnings"])
    assert loss_of(outcome.folder, model, tokens) == pytest.approx(outcome.report["eval"]["best"], abs=2e-4)


def test_a_pissa_adapter_is_merged_and_gone_on_from(model: Path, data: Path, tmp_path: Path) -> None:
    from train.merging import merge

    made = job(model, data, tmp_path / "out", adapter__init_lora_weights="pissa", adapter__r=4)
    tokens = tokens_of(made)
    first = carry_out(made, tokens, lambda *_: None)

    merged = merge(first.folder, tmp_path / "merged", base=str(model), dtype="fp32")
    second = train(model, data, tmp_path / "second", from_adapter=str(first.folder), max_steps=2)

    assert loss_of(Path(merged["model"]), model, tokens) == pytest.approx(first.report["eval"]["best"], abs=2e-4)
    assert second.report["loss"]["first"] < first.report["loss"]["first"]
    assert read_json(second.folder / "adapter_config.json")["r"] == 8
    assert read_json(second.folder / "manifest.json")["recipe"]["adapter"]["r"] == 8
    with pytest.raises(UserError, match=r"r \(8, not 4\)"):
        job(model, data, tmp_path / "third", from_adapter=str(first.folder), adapter__r=4)


def test_loftq_begins_with_what_four_bits_lose_and_writes_the_change_alone(
    model: Path, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    from bitsandbytes.functional import dequantize_4bit
    from safetensors.torch import load_file

    more: dict[str, Any] = {"adapter": "qlora", "adapter__init_lora_weights": "loftq", "adapter__r": 8}
    made = job(model, data, tmp_path / "out", **more, keep_checkpoints=True)
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    kept = outcome.folder / "checkpoints"
    began, best = kept / "began", kept / f"checkpoint-{outcome.report['best_step']}"
    quantised = load_base(model, made.policy).model.layers[0].mlp.up_proj.weight
    rounded = dequantize_4bit(quantised.data, quantised.quant_state).float().numpy()
    lost = load_file(model / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].float().numpy() - rounded
    assert np.linalg.norm(lost - update(began)) < 0.75 * np.linalg.norm(lost)
    assert update(outcome.folder) == pytest.approx(update(best) - update(began), abs=1e-6)
    assert outcome.report["eval"]["best"] < outcome.report["eval"]["first"]
    assert loss_of(outcome.folder, model, tokens) == pytest.approx(outcome.report["eval"]["best"], abs=0.02)


def update(folder: Path) -> Any:
    """What an adapter adds to a layer's weights."""
    from safetensors.torch import load_file

    config, held = read_json(folder / "adapter_config.json"), load_file(folder / WEIGHTS)
    name = "base_model.model.model.layers.0.mlp.up_proj"
    product = held[f"{name}.lora_B.weight"] @ held[f"{name}.lora_A.weight"]
    return (config["lora_alpha"] / config["r"] * product).numpy()


@pytest.mark.parametrize(
    ("adapter", "how", "rho"),
    [("lora", "pissa_niter_2", 1.0), ("lora", "eva", 2.0), ("qlora", "loftq", 1.0), ("dora", "pissa", 1.0)],
)
@pytest.mark.parametrize("step", [1, 4])
def test_a_cut_off_run_begins_as_it_had_begun(
    step: int, adapter: str, how: str, rho: float, model: Path, data: Path, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"adapter": adapter, "adapter__init_lora_weights": how, "adapter__lora_dropout": 0.1}
    more |= {"adapter__r": 4, "adapter__eva_rho": rho}
    expected = train(model, data, tmp_path / "whole", **more)

    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(step), **more)
    found = train(model, data, tmp_path / "out", **more)

    assert log(found.folder) == log(expected.folder)
    assert (found.folder / WEIGHTS).read_bytes() == (expected.folder / WEIGHTS).read_bytes()


def test_a_killed_run_that_began_by_pissa_is_resumed_exactly(model: Path, data: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"adapter__init_lora_weights": "pissa_niter_2", "adapter__r": 4}
    expected = train(model, data, tmp_path / "whole", **more)
    kill("sft", model, data, tmp_path / "out", 5, **more)
    began = working_folder(tmp_path / "out") / "checkpoints" / "began"
    assert (began / WEIGHTS).is_file()

    made = prepare(recipe_of(tmp_path / "out"), device="cpu")
    found = carry_out(made, tokens_of(made), lambda *_: None)

    assert found.report["resumed_from"] == 4
    assert log(found.folder) == log(expected.folder)
    assert (found.folder / WEIGHTS).read_bytes() == (expected.folder / WEIGHTS).read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use": "lora", "init_lora_weights": "loftq"}, "this base keeps its bits"),
        ({"use": "qlora", "init_lora_weights": "pissa"}, "which 4 bits cannot hold"),
        ({"use": "qlora", "init_lora_weights": "loftq", "use_dora": True}, "do not go together"),
        ({"use": "lora", "init_lora_weights": "pisa"}, "'pisa' is none of default"),
        ({"use": "lora", "init_lora_weights": "pissa_niter_0"}, "is none of default"),
        ({"use": "lora", "init_lora_weights": "orthogonal", "r": 5}, "orthogonal needs an even rank"),
        ({"use": "lora", "eva_rho": 2.0}, "eva_rho is for"),
    ],
)
def test_beginnings_that_do_not_go_together_are_refused_before_anything_loads(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    more = {f"adapter__{name}": value for name, value in settings.items() if name != "use"}

    with pytest.raises(UserError) as caught:
        job(tmp_path / "no model", tmp_path, tmp_path / "out", adapter=settings["use"], **more)

    errors = caught.value.errors if isinstance(caught.value, UserErrors) else [caught.value]
    assert any(message in one.message for one in errors)


def test_weights_shared_with_the_embeddings_are_not_taken_apart(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lm_head shares its weights with the embeddings"):
        train(
            model, data, tmp_path / "out",
            adapter__init_lora_weights="pissa", adapter__target_modules=["q_proj", "lm_head"], adapter__r=4,
        )  # fmt: skip


def test_the_base_model_is_what_it_was(model: Path, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    before = load_file(model / "model.safetensors")

    train(model, data, tmp_path / "out", adapter__init_lora_weights="pissa", adapter__r=4, max_steps=2)

    after = load_file(model / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
