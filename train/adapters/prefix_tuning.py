"""Train keys and values that every layer attends to."""

from __future__ import annotations

from typing import Any

from train.adapter import Setting, Situation, VirtualTokens


class PrefixTuning(VirtualTokens):
    """Prefix tuning: trained keys and values in every layer (Li and Liang 2021, arXiv 2101.00190)."""

    prefix_projection: bool = Setting(default=False, description="train them through a two-layer network")

    def peft_config(self, situation: Situation) -> Any:
        from peft import PrefixTuningConfig

        return PrefixTuningConfig(
            num_virtual_tokens=self.num_virtual_tokens,
            prefix_projection=self.prefix_projection,
            task_type="CAUSAL_LM",
        )
