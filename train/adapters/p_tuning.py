"""Train a small network that writes the vectors before every row."""

from __future__ import annotations

from typing import Any, ClassVar

from train.adapter import Setting, Situation, VirtualTokens


class PTuning(VirtualTokens):
    """P-tuning: a small network makes the vectors before the row (Liu et al. 2021, arXiv 2103.10385)."""

    learning_rate: ClassVar[float] = 1e-3

    encoder_hidden_size: int = Setting(default=128, ge=1, le=16384, description="width of the network")

    def peft_config(self, situation: Situation) -> Any:
        from peft import PromptEncoderConfig

        return PromptEncoderConfig(
            num_virtual_tokens=self.num_virtual_tokens,
            encoder_hidden_size=self.encoder_hidden_size,
            task_type="CAUSAL_LM",
        )
