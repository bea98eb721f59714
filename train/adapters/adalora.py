"""LoRA that spends its rank where it helps most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from train.adapter import Adapter, Setting, Situation

STATE = "adalora.safetensors"
"""In a checkpoint: all of its factors, and what ranks are chosen by."""

SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""PEFT's names of the importance of each number, and of its mean and spread over the steps."""


class Adalora(Adapter):
    """AdaLoRA: ranks shrink from init_r to target_r on average, by importance (Zhang et al. 2023, arXiv 2303.10512)."""

    learning_rate: ClassVar[float] = 1e-3
    cannot_be_served: ClassVar[str] = "vLLM serves no AdaLoRA: merge it first, or train lora"

    init_r: int = Setting(default=12, ge=1, le=1024, description="rank at the start")
    target_r: int = Setting(default=8, ge=1, le=1024, description="average rank at the end")
    lora_alpha: float = Setting(default=32, gt=0, description="the update is scaled by it")
    lora_dropout: float = Setting(default=0.0, ge=0, lt=1)
    tinit: float = Setting(default=0.1, ge=0, lt=1, description="share of the steps before ranks begin to shrink")
    tfinal: float = Setting(default=0.2, ge=0, lt=1, description="share of the steps at the end with ranks fixed")
    delta_t: int = Setting(default=10, ge=1, alias="deltaT", description="steps between two choices of ranks")
    orth_reg_weight: float = Setting(default=0.5, gt=0, description="weight of the term that keeps factors orthogonal")

    def peft_config(self, situation: Situation) -> Any:
        from peft import AdaLoraConfig

        return AdaLoraConfig(
            init_r=self.init_r,
            target_r=min(self.target_r, self.init_r),
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            tinit=int(self.tinit * situation.steps),
            tfinal=int(self.tfinal * situation.steps),
            deltaT=self.delta_t,
            orth_reg_weight=self.orth_reg_weight,
            total_step=situation.steps,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )

    def after_step(self, model: Any, step: int) -> None:
        model.base_model.update_and_allocate(step)

    def keep(self, model: Any, folder: Path) -> None:
        """What ranks are chosen by, and every factor: PEFT writes those that are in use, in tensors cut to size."""
        from safetensors.torch import save_file

        held = {f"trained/{name}": one.detach() for name, one in model.named_parameters() if one.requires_grad}
        for part in SCORES:
            scores = getattr(model.base_model.rankallocator, part)
            held |= {f"{part}/{name}": one for name, one in scores.items()}
        pattern = json.dumps(model.active_peft_config.rank_pattern)
        save_file({name: one.contiguous() for name, one in held.items()}, folder / STATE, {"rank_pattern": pattern})

    def restore(self, model: Any, folder: Path) -> bool:
        import torch
        from safetensors import safe_open

        found: dict[str, dict[str, Any]] = {part: {} for part in ("trained", *SCORES)}
        with safe_open(folder / STATE, framework="pt", device=str(model.device)) as held:
            pattern = json.loads(held.metadata()["rank_pattern"])
            for key in held.keys():  # noqa: SIM118 - it is no dict
                part, _, name = key.partition("/")
                found[part][name] = held.get_tensor(key)
        with torch.no_grad():
            for name, one in model.named_parameters():
                if one.requires_grad:
                    one.copy_(found["trained"][name])
        for part in SCORES:
            setattr(model.base_model.rankallocator, part, found[part])
        model.active_peft_config.rank_pattern = pattern
        return True

    def penalty(self, model: Any) -> Any:
        import torch

        parts = [one for name, one in model.named_parameters() if "lora_A" in name or "lora_B" in name]
        gaps = []
        for part in parts:
            square = part @ part.T if part.shape[0] < part.shape[1] else part.T @ part
            gaps.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=part.device)))
        return self.orth_reg_weight * torch.stack(gaps).mean()
