"""What a way to adapt a model is: settings, and the PEFT configuration they make. One file each in `adapters/`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

__all__ = ["ADAPTERS", "Adapter", "Beginning", "LowRank", "Setting", "Situation", "VirtualTokens"]

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
    family: str = ""
    """The `model_type` of the model."""

    @classmethod
    def of(cls, config: Mapping[str, Any], steps: int) -> Situation:
        """By the config.json of a model."""
        layers, width = (int(config.get(name, 0)) for name in ("num_hidden_layers", "hidden_size"))
        return cls(steps, layers, width, str(config.get("model_type", "")))


@dataclass(frozen=True)
class Beginning:
    """What an adapter may look at before it begins, and where it keeps how it began."""

    folder: Path
    """Kept with the checkpoints: a run that goes on begins as it had begun."""
    model: Path
    """Folder of the base model."""
    batches: Callable[[], Iterator[dict[str, Any]]]
    """Some of the training rows: input_ids, attention_mask, and labels that are -100 where nothing is learnt."""


class Adapter(BaseModel, ABC):
    """Settings of one way to adapt a model. The docstring's first line is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: ClassVar[float] = 2e-4
    """The usual learning rate, where a recipe has none."""
    prompt_learning: ClassVar[bool] = False
    """Whether it adds tokens before the row. PEFT ignores position ids then: packed rows would see each other."""
    mergeable: ClassVar[bool] = True
    """Whether it can be merged into the base model."""
    cannot_be_served: ClassVar[str] = ""
    """Why vLLM cannot serve it beside others on one base; empty where it can."""
    whole_model: ClassVar[bool] = False
    """Whether the model's own parameters are trained, and a whole model is written."""

    @property
    def quantised(self) -> bool:
        """Whether the base model is held in 4 bits."""
        return False

    @property
    def trains_output(self) -> bool:
        """Whether the output layer is trained, so that the model can learn to say what it never said."""
        return False

    @abstractmethod
    def peft_config(self, situation: Situation) -> Any:
        """The PEFT configuration; None where the model's own parameters are trained. Raises UserError for a family of
        models that it does not know."""

    def around(self, base: Any, situation: Situation, beginning: Beginning) -> Any:
        """The base model ready to train: with a new adapter around it, if there is one."""
        from peft import get_peft_model

        return get_peft_model(base, self.peft_config(situation))

    def publish(self, model: Any, folder: Path, beginning: Beginning) -> None:
        """Write what was trained to a folder, as it is loaded and served."""
        model.save_pretrained(folder, safe_serialization=True)

    def before_step(self, model: Any, step: int, steps: int) -> None:
        """What it does ahead of optimizer step `step`, from 1, of so many."""

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


WITH_NOTHING = ("default", "gaussian", "orthogonal")
"""Ways for a low-rank update to begin that change nothing yet, and look at nothing."""

BEGINNINGS = rf"{'|'.join(WITH_NOTHING)}|eva|loftq|pissa(?:_niter_[1-9][0-9]?)?"


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
    use_rslora: bool = Setting(
        default=False, description="scale by lora_alpha / sqrt(r), as high ranks need (Kalajdzievski 2023, 2312.03732)"
    )
    init_lora_weights: str = Setting(
        default="default",
        description="how the update begins: default, gaussian, orthogonal; pissa or pissa_niter_N (the largest "
        "directions of the weights, with N found in so many rounds); eva (those of the rows); loftq (what 4 bits lose)",
    )
    eva_rho: float = Setting(
        default=1.0, ge=1, le=8, description="eva: how far ranks may move between layers; vLLM serves only 1"
    )

    @model_validator(mode="after")
    def _begins(self) -> LowRank:
        how = self.init_lora_weights
        if not re.fullmatch(BEGINNINGS, how):
            raise ValueError(
                f"init_lora_weights {how!r} is none of default, gaussian, orthogonal, pissa, pissa_niter_N, eva, loftq"
            )
        if how == "loftq" and not self.quantised:
            raise ValueError("loftq makes up for what 4 bits lose, and this base keeps its bits: use qlora, or pissa")
        if how == "loftq" and getattr(self, "use_dora", False):
            raise ValueError("loftq and use_dora do not go together: the magnitudes would be those of 4-bit weights")
        if how.startswith("pissa") and self.quantised:
            raise ValueError("pissa takes directions out of the base's weights, which 4 bits cannot hold: use loftq")
        if how == "orthogonal" and self.r % 2:
            raise ValueError(f"orthogonal needs an even rank, and r is {self.r}")
        if self.eva_rho != 1 and how != "eva":
            raise ValueError("eva_rho is for init_lora_weights: eva")
        return self

    @property
    def trains_output(self) -> bool:
        return bool(self.modules_to_save)

    @property
    def begins_with_something(self) -> bool:
        """Whether the update begins by the weights or the rows, so that how it began has to be kept."""
        return self.init_lora_weights not in WITH_NOTHING

    @property
    def published_r(self) -> int:
        """Rank of the adapter that is written; see `beginnings`."""
        return self.r * (2 if self.init_lora_weights.startswith(("pissa", "loftq")) else 1)

    def around(self, base: Any, situation: Situation, beginning: Beginning) -> Any:
        if not self.begins_with_something:
            return super().around(base, situation, beginning)
        from train.beginnings import begun

        return begun(base, self.peft_config(situation), self.init_lora_weights, beginning, self.eva_rho)

    def publish(self, model: Any, folder: Path, beginning: Beginning) -> None:
        super().publish(model, folder, beginning)
        if self.begins_with_something:
            from train.beginnings import fit_to_original

            fit_to_original(folder, beginning.folder)

    def low_rank_config(self, **more: Any) -> Any:
        """The LoraConfig of these settings; what it begins with is put in afterwards."""
        from peft import LoraConfig

        modules, how = self.target_modules, self.init_lora_weights
        return LoraConfig(
            r=self.r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=modules if isinstance(modules, str) else list(modules),
            modules_to_save=list(self.modules_to_save) or None,
            layers_to_transform=list(self.layers_to_transform) or None,
            use_rslora=self.use_rslora,
            init_lora_weights=how if how in ("gaussian", "orthogonal") else True,
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
