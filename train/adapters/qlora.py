"""LoRA over a base model held in 4 bits."""

from __future__ import annotations

from typing import Any

from train.adapter import LowRank, Setting, Situation


class Qlora(LowRank):
    """QLoRA: LoRA over a base in NF4 with double quantisation (Dettmers et al. 2023, arXiv 2305.14314)."""

    use_dora: bool = Setting(default=False, description="learn a magnitude for each column besides, as DoRA does")

    @property
    def quantised(self) -> bool:
        return True

    def peft_config(self, situation: Situation) -> Any:
        return self.low_rank_config(use_dora=self.use_dora)
