"""How a low-rank update begins where it does not begin as nothing: PiSSA, LoftQ and EVA.

PiSSA (Meng et al. 2024, arXiv 2404.02948) moves the largest directions of each weight W into the factors, and trains on
W - B₀A₀ as the base; LoftQ (Li et al. 2023, arXiv 2310.08659, one round of it) begins with what 4 bits lose of W, so
that the 4-bit base and B₀A₀ together are nearly W. As they are, such factors fit only a base that nobody else has. What
is published is the change since the beginning, BA - B₀A₀, as one update of twice the rank: it stands on the original
model, with what else stands there. EVA (Paischer et al. 2024, arXiv 2410.07170) begins with the directions that the
rows have at each layer, and changes nothing of the base.

How an update began is kept with the checkpoints: a run that goes on takes it from there, to the last bit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from schemas.errors import UserError
from train.adapter import Beginning
from train.checkpoint import damage, seal
from train.model import quietly, weight_files

CONFIG, FACTORS = "adapter_config.json", "adapter_model.safetensors"


def begun(base: Any, config: Any, how: str, beginning: Beginning, rho: float) -> Any:
    """The base with a low-rank adapter around it that begins as `how` says, or as the run that is gone on with began.
    Raises UserError where it cannot."""
    from peft import PeftModel, get_peft_model

    if not damage(beginning.folder):
        model: Any = PeftModel.from_pretrained(base, str(beginning.folder), is_trainable=True)
        if how.startswith("pissa"):
            _take_out(model)
        return model
    if how == "eva":
        from peft import EvaConfig

        config.init_lora_weights, config.eva_config = "eva", EvaConfig(rho=rho)
    model = get_peft_model(base, config)
    if how == "eva":
        _by_rows(model, beginning)
    elif how == "loftq":
        _by_lost_bits(model, beginning)
    else:
        _check_untied(model)
        for _, layer in _layers(model):
            layer.pissa_init("default", how)
            layer.set_adapter(layer.active_adapters)  # its new factors are trained
    _keep(model, beginning.folder)
    return model


def fit_to_original(folder: Path, began: Path) -> None:
    """Make the adapter in `folder` one for the original base model, if it began with something that the base lacks: the
    change since then, of twice the rank."""
    if damage(began):
        return  # it goes on from an adapter, which stands on the original model already
    config = json.loads((folder / CONFIG).read_bytes())
    start = load_file(began / FACTORS)
    if not any("lora_B" in name and bool(one.any()) for name, one in start.items()):
        return
    for pattern in ("rank_pattern", "alpha_pattern"):
        assert not config.get(pattern), pattern
    state = load_file(folder / FACTORS)
    for name, tensor in state.items():
        if "lora_A" in name:
            state[name] = torch.cat([tensor, start[name].to(tensor)], dim=0).contiguous()
        elif "lora_B" in name:
            state[name] = torch.cat([tensor, -start[name].to(tensor)], dim=1).contiguous()
    config["r"] *= 2
    config["lora_alpha"] *= 2**0.5 if config.get("use_rslora") else 2  # the update is scaled as before
    save_file(state, folder / FACTORS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _keep(model: Any, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, safe_serialization=True)
    seal(folder)


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    """The linear layers that are adapted, by their names in the base model."""
    from peft.tuners.lora import LoraLayer

    for name, layer in model.base_model.model.named_modules():
        if isinstance(layer, LoraLayer) and "default" in layer.lora_A:
            yield name, layer


def _take_out(model: Any) -> None:
    """Take what the adapter begins with out of the base's weights, as PEFT does when it begins."""
    with torch.no_grad():
        for _, layer in _layers(model):
            weight = layer.get_base_layer().weight
            factors = layer.lora_B["default"].weight.data, layer.lora_A["default"].weight.data
            taken = layer.scaling["default"] * factors[0] @ factors[1]
            weight.data = (weight.data.to(torch.float32) - taken).to(weight.dtype)


def _check_untied(model: Any) -> None:
    shared = model.get_input_embeddings().weight
    for name, layer in _layers(model):
        if layer.get_base_layer().weight is shared:
            raise UserError(
                f"{name} shares its weights with the embeddings, which pissa would change with it",
                hint="leave it out of target_modules, or set init_lora_weights: default",
            )


def _by_lost_bits(model: Any, beginning: Beginning) -> None:
    from bitsandbytes.functional import dequantize_4bit

    where: dict[str, str] = {}
    for file in weight_files(beginning.model):
        with safe_open(beginning.model / file, framework="pt") as held:
            where |= dict.fromkeys(held.keys(), file)
    with torch.no_grad():
        for name, layer in _layers(model):
            quantised = layer.get_base_layer().weight
            if not hasattr(quantised, "quant_state"):
                continue  # bitsandbytes leaves a few layers in all of their bits: nothing is lost there
            if (key := f"{name}.weight") not in where:
                raise UserError(f"the model has no tensor {key} to compare 4 bits with", hint="leave loftq out")
            with safe_open(beginning.model / where[key], framework="pt") as held:
                original = held.get_tensor(key)
            rounded = dequantize_4bit(quantised.data, quantised.quant_state)
            lost = original.to(rounded.device, torch.float32) - rounded.to(torch.float32)
            left, sizes, right = torch.linalg.svd(lost, full_matrices=False)
            r = layer.r["default"]
            root = (sizes[:r] / layer.scaling["default"]).sqrt()
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            a.data = (root[:, None] * right[:r]).to(a).contiguous()
            b.data = (left[:, :r] * root).to(b).contiguous()


def _by_rows(model: Any, beginning: Beginning) -> None:
    from peft import initialize_lora_eva_weights

    batches = list(beginning.batches())
    config = model.peft_config["default"]
    training = model.training
    model.eval()
    with quietly():
        try:
            initialize_lora_eva_weights(model, batches, show_progress_bar=False)
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"eva cannot begin by these rows: {error}"[:300],
                hint="more rows, a smaller r, or init_lora_weights: default",
            ) from error
    model.train(training)
    config.init_lora_weights, config.eva_config = True, None  # it has begun: who loads it needs no rows
