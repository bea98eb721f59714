"""LoRA that learns direction and magnitude apart."""

from __future__ import annotations

from typing import Any, ClassVar

from train.adapter import LowRank, Situation


class Dora(LowRank):
    """DoRA: LoRA plus a trained magnitude of each column; closer to full fine-tuning, slower (Liu et al. 2024, arXiv
    2402.09353)."""

    cannot_be_served: ClassVar[str] = "vLLM serves no DoRA: merge it first, or train lora"

    def peft_config(self, situation: Situation) -> Any:
        return self.low_rank_config(use_dora=True)
