"""Train vectors that stand before every row."""

from __future__ import annotations

from typing import Any

from train.adapter import Situation, VirtualTokens


class PromptTuning(VirtualTokens):
    """Prompt tuning: trained vectors before the row's embeddings (Lester et al. 2021, arXiv 2104.08691)."""

    def peft_config(self, situation: Situation) -> Any:
        from peft import PromptTuningConfig

        return PromptTuningConfig(num_virtual_tokens=self.num_virtual_tokens, task_type="CAUSAL_LM")
