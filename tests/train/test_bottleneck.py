"""Bottleneck adapters: they learn, are loaded again by PEFT, and say what cannot be done with them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.errors import UserError
from tests.train.small import (
    CutOff,
    cut_at,
    job_of,
    log,
    loss_of,
    read_json,
    train_with,
)
from train.adapter import Situation
from train.adapters.bottleneck import Bottleneck
from train.merging import merge
from train.running import carry_out, tokens_of

job = partial(job_of, "sft")
train = partial(train_with, "sft")


def bottleneck(**more: Any) -> dict[str, Any]:
    return {"adapter": "bottleneck", **{f"adapter__{name}": value for name, value in more.items()}}


@pytest.mark.parametrize(("variant", "behind"), [("houlsby", {"o_proj", "down_proj"}), ("pfeiffer", {"down_proj"})])
@pytest.mark.parametrize("non_linearity", ["relu", "gelu", "silu"])
def test_it_learns_and_loads_again_to_the_same_outputs(
    variant: str, behind: set[str], non_linearity: str, model: Path, data: Path, tmp_path: Path
) -> None:
    more = bottleneck(variant=variant, non_linearity=non_linearity, reduction_factor=4)
    made = job(model, data, tmp_path / "out", **more)
    tokens = tokens_of(made)

    outcome = carry_out(made, tokens, lambda *_: None)

    looked, config = outcome.report["eval"], read_json(outcome.folder / "adapter_config.json")
    assert looked["best"] < looked["first"]
    assert (config["peft_type"], set(config["target_modules"]), config["bottleneck_size"]) == ("BOTTLENECK", behind, 8)
    assert loss_of(outcome.folder, model, tokens) == pytest.approx(looked["best"], abs=1e-5)


def test_the_model_begins_as_it_was_and_is_it_again_when_switched_off(model: Path) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    ids = torch.arange(12)[None]
    with torch.no_grad():
        expected = base(input_ids=ids).logits
    adapted: Any = get_peft_model(base, Bottleneck().peft_config(Situation(1, 2, 32, "llama"))).eval()

    with torch.no_grad():
        begun = adapted(input_ids=ids).logits
        for name, one in adapted.named_parameters():
            one.data += one.requires_grad and "bottleneck_up" in name
        changed = adapted(input_ids=ids).logits
        with adapted.disable_adapter():
            off = adapted(input_ids=ids).logits

    assert torch.equal(begun, expected)
    assert not torch.allclose(changed, expected)
    assert torch.equal(off, expected)
    assert all(one.requires_grad == ("bottleneck_" in name) for name, one in adapted.named_parameters())


def test_it_stands_on_a_base_in_four_bits(model: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")

    outcome = train(model, data, tmp_path / "out", **bottleneck(load_in_4bit=True))

    assert "weights nf4" in outcome.report["device"]
    assert outcome.report["eval"]["best"] < outcome.report["eval"]["first"]


@pytest.mark.parametrize("step", [1, 4])
def test_a_cut_off_run_goes_on_exactly(step: int, model: Path, data: Path, tmp_path: Path) -> None:
    expected = train(model, data, tmp_path / "whole", **bottleneck())

    with pytest.raises(CutOff):
        train(model, data, tmp_path / "out", cut_at(step), **bottleneck())
    found = train(model, data, tmp_path / "out", **bottleneck())

    assert log(found.folder) == log(expected.folder)


def test_it_is_gone_on_from_and_not_merged(model: Path, data: Path, tmp_path: Path) -> None:
    first = train(model, data, tmp_path / "first", **bottleneck())

    second = train(model, data, tmp_path / "second", from_adapter=str(first.folder), max_steps=2, **bottleneck())

    assert second.report["loss"]["first"] < first.report["loss"]["first"]
    assert any("serves no bottleneck adapter" in one for one in first.report["warnings"])
    with pytest.raises(UserError, match="cannot be merged"):
        merge(first.folder, tmp_path / "merged", base=str(model))


def test_peft_refuses_to_merge_it_too(model: Path) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted: Any = get_peft_model(base, Bottleneck().peft_config(Situation(1, 2, 32, "llama")))

    with pytest.raises(ValueError, match="cannot be merged"):
        adapted.merge_and_unload()


def test_a_family_that_is_not_known_is_refused_before_anything_loads(data: Path, tmp_path: Path, model: Path) -> None:
    import json
    import shutil

    other = tmp_path / "other"
    shutil.copytree(model, other)
    config = read_json(other / "config.json")
    (other / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}), encoding="utf-8")

    with pytest.raises(UserError, match="family 'gpt2' is not known"):
        job(other, data, tmp_path / "out", adapter="bottleneck")
