"""How a device is used for a run, and which combinations of settings break or mislead on it."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from schemas.errors import UserError, raise_all
from train.adapter import LowRank
from train.recipe import Recipe


@dataclass(frozen=True)
class Policy:
    """How the device is used."""

    device: str
    """cpu or cuda."""
    weights: str
    """Data type the weights are held in: fp32, bf16, or nf4 where the base is quantised."""
    compute: str
    """Data type that products are computed in."""
    gradient_checkpointing: bool
    attention: str
    threads: int
    because: str

    def precision(self) -> list[str]:
        """What its numbers depend on."""
        return [self.device, self.weights, self.compute]

    def said(self) -> str:
        """In one line, for people."""
        where = f"{self.device}, {self.threads} threads" if self.device == "cpu" else self.device
        checkpointing = "on" if self.gradient_checkpointing else "off"
        return (
            f"{where}; weights {self.weights}, computed in {self.compute}; attention {self.attention}; gradient "
            f"checkpointing {checkpointing} ({self.because})"
        )


def policy_for(recipe: Recipe, device: str, *, bf16_works: bool = True, threads: int | None = None) -> Policy:
    """How a device is used for a recipe. On a CPU everything is fp32: bf16 is 1.7 times as slow there, and five times
    under NF4 (measured, transformers 5.23). On CUDA bf16, NF4 where the adapter asks for it, and checkpointing."""
    settings, adapter = recipe.settings, recipe.adapter
    half = settings.bf16 if settings.bf16 is not None else device == "cuda" and bf16_works
    compute = "bf16" if half else "fp32"
    # Weights that are trained stay in fp32: steps smaller than bf16 can hold would be lost.
    held = "fp32" if device == "cpu" or adapter.whole_model else compute
    asked = settings.gradient_checkpointing
    checkpointing = asked if asked is not None else device == "cuda" and recipe.adapter_name != "prefix_tuning"
    because = "bf16 and checkpointing fit more onto a card" if device == "cuda" else "fp32 is fastest on a CPU"
    return Policy(
        device,
        "nf4" if adapter.quantised else held,
        compute,
        checkpointing,
        settings.attn_implementation,
        threads or settings.torch_threads or free_cores(),
        because,
    )


def free_cores() -> int:
    """Cores that nothing else is using, at least 1: threads that wait for a busy core spin, and slow each other down
    tenfold. OMP_NUM_THREADS counts where it is set."""
    if (said := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(said):
        return int(said)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - round(os.getloadavg()[0]))


def gate(recipe: Recipe, policy: Policy, config: Mapping[str, Any], *, validation: bool | None = None) -> list[str]:
    """Raise UserErrors for combinations that break or mislead in silence, before anything is loaded; returns what is
    worth a warning. `validation`: whether there will be any; None while it is not known."""
    settings, adapter, name = recipe.settings, recipe.adapter, recipe.adapter_name
    errors: list[UserError] = []

    def refuse(message: str, hint: str) -> None:
        errors.append(UserError(message, hint=hint))

    if adapter.prompt_learning and settings.packing:
        refuse(
            f"{name} and packing do not go together: packed rows would read each other (PEFT ignores positions)",
            "set packing: false",
        )
    if name == "prefix_tuning" and policy.gradient_checkpointing:
        refuse(
            "prefix_tuning and gradient checkpointing do not go together: the prefix is lost when layers run again",
            "set gradient_checkpointing: false",
        )
    if recipe.method == "dpo" and settings.packing:
        refuse("packing is for conversations, and dpo compares pairs", "set packing: false")
    if recipe.method == "dpo" and settings.neftune_noise_alpha:
        refuse("noise on one side only would be taken for preference", "leave neftune_noise_alpha out")
    if settings.attn_implementation == "flash_attention_2" and find_spec("flash_attn") is None:
        refuse("flash_attention_2 is not installed", "set attn_implementation: sdpa; packing is exact there too")
    if settings.attn_implementation == "flash_attention_2" and policy.device == "cpu":
        refuse("flash_attention_2 needs a GPU", "set attn_implementation: sdpa")
    if adapter.quantised and find_spec("bitsandbytes") is None:
        refuse(f"{name} needs bitsandbytes", "pip install bitsandbytes, or set adapter: lora")
    if policy.device == "cpu" and settings.optim in ("adamw_8bit", "paged_adamw_8bit"):
        refuse(f"optim {settings.optim} needs a GPU", "set optim: adamw_torch")
    for logger in settings.report_to:
        if find_spec(logger) is None:
            refuse(f"report_to names {logger}, which is not installed", f"pip install {logger}, or leave it out")
    window = config.get("max_position_embeddings")
    if isinstance(window, int) and settings.max_length > window:
        refuse(
            f"max_length {settings.max_length:,} is more than the {window:,} positions of the model",
            f"at most {window}",
        )
    if config.get("quantization_config") and not adapter.quantised:
        refuse("the model's weights are quantised already", "use the original model, or adapter: qlora on it")
    if settings.from_adapter and name == "adalora":
        refuse(
            "adalora cannot go on from an adapter: it chooses its ranks over the whole of one run",
            "merge the adapter (train merge) and train on that model, or set adapter: lora",
        )
    if settings.from_adapter and adapter.whole_model:
        refuse(
            f"from_adapter goes on from an adapter, and {name} trains the model", "name the trained model as `model`"
        )
    if validation is False and settings.early_stopping_patience:
        refuse("early_stopping_patience needs validation rows", "set validation: 0.05, or `curate split` the dataset")
    every_eval, every_save = settings.eval_steps, settings.save_steps
    if settings.load_best_model_at_end and validation and every_eval and every_save and every_save % every_eval:
        refuse(
            f"save_steps {every_save} is no multiple of eval_steps {every_eval}: the best may have no checkpoint",
            "make it one, or set load_best_model_at_end: false",
        )
    raise_all(errors)
    warnings = []
    if adapter.cannot_be_served:
        warnings.append(adapter.cannot_be_served)
    if getattr(adapter, "modules_to_save", ()):
        warnings.append("vLLM serves no adapter with modules_to_save: merge it first")
    if isinstance(adapter, LowRank):
        warnings += _rank_warnings(adapter, new=settings.from_adapter is None)
    if policy.device == "cpu" and policy.compute == "bf16":
        warnings.append("bf16 on a CPU is slower than fp32: leave bf16 out")
    return warnings


def _rank_warnings(adapter: LowRank, *, new: bool) -> list[str]:
    """What a low-rank update means for those who serve it."""
    r, how = adapter.published_r if new else adapter.r, adapter.init_lora_weights
    said = []
    if r != adapter.r:
        said.append(f"{how} trains rank {adapter.r} and writes rank {r}, which stands on the original model")
    if how == "loftq" and new:
        said.append("serve what loftq trained on the model in 16 bits: what it makes up for is missing in 4 bits")
    if adapter.eva_rho != 1:
        said.append("vLLM takes all layers for one rank and scale, and eva_rho gives each its own: merge it first")
    if r > 16 and not adapter.cannot_be_served:
        said.append(f"vLLM serves rank {r} only when started with --max-lora-rank {r}")
    return said


def memory_gb(device: str) -> float:
    """The most memory that this process has held, in GB (10⁹ bytes): on the card, or resident."""
    if device == "cuda":
        import torch

        return round(float(torch.cuda.max_memory_allocated()) / 1e9, 3)
    status = Path("/proc/self/status")
    if status.is_file():  # a process begins with its parent's ru_maxrss, but with a high-water mark of its own
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return round(int(peak.split()[1]) * 1024 / 1e9, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
