"""Train every parameter of the model."""

from __future__ import annotations

from typing import Any, ClassVar

from train.adapter import Adapter, Beginning, Situation


class Full(Adapter):
    """Full fine-tuning: every parameter is trained, and the result is a whole model."""

    learning_rate: ClassVar[float] = 2e-5
    mergeable: ClassVar[bool] = False
    whole_model: ClassVar[bool] = True

    @property
    def trains_output(self) -> bool:
        return True

    def peft_config(self, situation: Situation) -> Any:
        return None

    def around(self, base: Any, situation: Situation, beginning: Beginning) -> Any:
        return base
