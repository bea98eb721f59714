"""Train the last layers of the model itself, and more of them as the run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import field_validator

from schemas.errors import UserError
from train.adapter import Adapter, Beginning, Setting, Situation


class Freezing(Adapter):
    """Partial freezing: the last layers are trained whole, and further ones below them thaw at given shares of the run
    (gradual unfreezing: Howard and Ruder 2018, ULMFiT, arXiv 1801.06146). The result is a whole model."""

    learning_rate: ClassVar[float] = 2e-5
    mergeable: ClassVar[bool] = False
    whole_model: ClassVar[bool] = True

    layers: int = Setting(default=2, ge=0, description="last layers that are trained from the first step")
    unfreeze_at: tuple[float, ...] = Setting(
        default=(0.25, 0.5, 0.75), description="shares of the run at which more layers are trained; [] is never"
    )
    unfreeze_layers: int = Setting(default=1, ge=1, description="how many more each time")
    norm: bool = Setting(default=True, description="also the norm behind the last layer")
    lm_head: bool = Setting(default=False, description="also the output layer; the embeddings with it where they share")

    @field_validator("unfreeze_at")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)) or not all(0 < one < 1 for one in value):
            raise ValueError("unfreeze_at is shares of the run that rise, each between 0 and 1: [0.25, 0.5]")
        return value

    def peft_config(self, situation: Situation) -> Any:
        return None

    @property
    def trains_output(self) -> bool:
        return self.lm_head

    def layers_at(self, step: int, steps: int, layers: int) -> int:
        """How many of so many layers are trained in optimizer step `step`, from 1, of `steps`."""
        passed = sum(step - 1 >= share * steps for share in self.unfreeze_at)
        return min(self.layers + passed * self.unfreeze_layers, layers)

    def most_layers(self, layers: int) -> int:
        """How many of so many layers are trained in the end."""
        return self.layers_at(2, 1, layers)

    def around(self, base: Any, situation: Situation, beginning: Beginning) -> Any:
        """The optimizer is made for all that will ever be trained; what is frozen still gets no gradient, and no
        state."""
        layers = len(_layers(base)[1])
        self._thaw(base, self.layers_at(1, 1, layers))
        if not any(one.requires_grad for one in base.parameters()):
            raise UserError("nothing is trained at the first step: layers is 0, and nothing else set", hint="layers: 2")
        self._thaw(base, self.most_layers(layers))
        return base

    def before_step(self, model: Any, step: int, steps: int) -> None:
        self._thaw(model, self.layers_at(step, steps, len(_layers(model)[1])))

    def _thaw(self, model: Any, last: int) -> None:
        """Train the last so many layers, and what else is set; freeze the others."""
        body, layers = _layers(model)
        trained = {id(one) for layer in layers[len(layers) - last :] for one in layer.parameters()}
        if self.norm:
            trained |= {id(one) for module in _behind(body) for one in module.parameters()}
        if self.lm_head:
            trained |= {id(one) for one in model.get_output_embeddings().parameters()}
        for one in model.parameters():
            one.requires_grad_(id(one) in trained)


def _layers(model: Any) -> tuple[Any, Any]:
    """The part of a model that holds its layers, and these, the first one first."""
    import torch

    for module in model.modules():
        for child in module.children():
            if isinstance(child, torch.nn.ModuleList) and len(child) == model.config.num_hidden_layers:
                return module, child
    raise UserError("the model's layers cannot be told apart", hint="use lora, or full")


def _behind(body: Any) -> Iterator[Any]:
    """The norms that stand behind the layers."""
    for name, child in body.named_children():
        if "norm" in name or name == "ln_f":
            yield child
