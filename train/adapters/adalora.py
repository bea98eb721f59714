"""LoRA that spends its rank where it helps most."""

from __future__ import annotations

from typing import Any, ClassVar

from train.adapter import Adapter, Setting, Situation


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

    def penalty(self, model: Any) -> Any:
        import torch

        parts = [one for name, one in model.named_parameters() if "lora_A" in name or "lora_B" in name]
        gaps = []
        for part in parts:
            square = part @ part.T if part.shape[0] < part.shape[1] else part.T @ part
            gaps.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=part.device)))
        return self.orth_reg_weight * torch.stack(gaps).mean()
