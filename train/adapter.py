"""What a way to adapt a model is: settings, and the PEFT configuration they make. One file each in `adapters/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

__all__ = ["ADAPTERS", "Adapter", "LowRank", "Setting", "Situation", "VirtualTokens"]

ADAPTERS = "train.adapters"
"""The package whose modules are the adapters."""


@dataclass(frozen=True)
class Situation:
    """What an adapter must know of the run it is made for."""

    steps: int
    """Optimizer steps of the whole run."""
    layers: int
    """Layers of the model."""
    hidden_size: int
    """Width of the model."""

    @classmethod
    def of(cls, config: Mapping[str, Any], steps: int) -> Situation:
        """By the config.json of a model."""
        layers, width = (int(config.get(name, 0)) for name in ("num_hidden_layers", "hidden_size"))
        return cls(steps, layers, width)


class Adapter(BaseModel, ABC):
    """Settings of one way to adapt a model. The docstring's first line is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: ClassVar[float] = 2e-4
    """The usual learning rate, where a recipe has none."""
    quantised: ClassVar[bool] = False
    """Whether the base model is held in 4 bits."""
    prompt_learning: ClassVar[bool] = False
    """Whether it adds tokens before the row. PEFT ignores position ids then: packed rows would see each other."""
    mergeable: ClassVar[bool] = True
    """Whether it can be merged into the base model."""
    cannot_be_served: ClassVar[str] = ""
    """Why vLLM cannot serve it beside others on one base; empty where it can."""

    @abstractmethod
    def peft_config(self, situation: Situation) -> Any:
        """The PEFT configuration; None where the whole model is trained."""

    def after_step(self, model: Any, step: int) -> None:
        """What it does behind optimizer step `step`, from 1, while the gradients are there."""

    def keep(self, model: Any, folder: Path) -> None:
        """Write to a checkpoint what is needed to go on from it exactly, besides what PEFT writes."""

    def restore(self, model: Any, folder: Path) -> bool:
        """Take up all that is trained from a checkpoint, by what `keep` wrote; whether that was done, and PEFT need not
        load it."""
        return False

    def penalty(self, model: Any) -> Any:
        """A term of the loss that keeps the adapter in shape, as a tensor; None where there is none."""
        return None


class LowRank(Adapter):
    """Settings that LoRA and its kin share (Hu et al. 2021, arXiv 2106.09685)."""

    r: int = Setting(default=16, ge=1, le=1024, description="rank of the update")
    lora_alpha: float = Setting(default=32, gt=0, description="the update is scaled by lora_alpha / r")
    lora_dropout: float = Setting(default=0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = Setting(
        default="all-linear", description="modules that are adapted; all-linear is what matches full fine-tuning"
    )
    modules_to_save: tuple[str, ...] = Setting(default=(), description="modules trained whole; vLLM cannot serve them")
    layers_to_transform: tuple[int, ...] = Setting(default=(), description="only these layers, from 0; all if empty")
    use_rslora: bool = Setting(default=False, description="scale by lora_alpha / sqrt(r) (Kalajdzievski 2023)")
    init_lora_weights: Literal["default", "gaussian", "orthogonal"] = Setting(
        default="default", description="how the update begins"
    )

    def low_rank_config(self, **more: Any) -> Any:
        """The LoraConfig of these settings."""
        from peft import LoraConfig

        modules = self.target_modules
        return LoraConfig(
            r=self.r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=modules if isinstance(modules, str) else list(modules),
            modules_to_save=list(self.modules_to_save) or None,
            layers_to_transform=list(self.layers_to_transform) or None,
            use_rslora=self.use_rslora,
            init_lora_weights=True if self.init_lora_weights == "default" else self.init_lora_weights,
            task_type="CAUSAL_LM",
            **more,
        )


class VirtualTokens(Adapter):
    """Settings of adapters that put trained vectors before every row."""

    learning_rate: ClassVar[float] = 1e-2
    prompt_learning: ClassVar[bool] = True
    mergeable: ClassVar[bool] = False
    cannot_be_served: ClassVar[str] = "vLLM serves no prompt learning"

    num_virtual_tokens: int = Setting(default=16, ge=1, le=4096, description="trained vectors before every row")
