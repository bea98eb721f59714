"""Train small matrices beside the model's own, which stay as they are."""

from __future__ import annotations

from typing import Any

from train.adapter import LowRank, Situation


class Lora(LowRank):
    """LoRA: low-rank updates beside every linear layer; small, mergeable, servable."""

    def peft_config(self, situation: Situation) -> Any:
        return self.low_rank_config()
