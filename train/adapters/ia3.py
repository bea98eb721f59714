"""Train one factor for each activation."""

from __future__ import annotations

from typing import Any, ClassVar

from train.adapter import Adapter, Situation


class Ia3(Adapter):
    """IA3: trained factors on keys, values and the feed-forward's middle (Liu et al. 2022, arXiv 2205.05638)."""

    learning_rate: ClassVar[float] = 3e-3
    cannot_be_served: ClassVar[str] = "vLLM serves no IA3: merge it first, or train lora"

    def peft_config(self, situation: Situation) -> Any:
        from peft import IA3Config

        return IA3Config(task_type="CAUSAL_LM")
