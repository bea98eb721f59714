"""Train small networks behind the parts of every layer."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from schemas.errors import UserError
from train.adapter import Adapter, Setting, Situation

ATTENTION, FEED_FORWARD = "o_proj", "down_proj"
"""The last linear layers of both parts of a layer, in the families that are known."""

FAMILIES = ("gemma", "granite", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3")
"""Those whose parts end so, with nothing between that and the sum with what went past."""


class Bottleneck(Adapter):
    """Bottleneck adapters: a small network behind attention and feed-forward (Houlsby et al. 2019, arXiv 1902.00751),
    or behind the latter alone (Pfeiffer et al. 2021, arXiv 2005.00247); neither merged nor served by vLLM."""

    learning_rate: ClassVar[float] = 1e-3
    mergeable: ClassVar[bool] = False
    cannot_be_served: ClassVar[str] = (
        "vLLM serves no bottleneck adapter, and none can be merged: it runs in transformers (train chat); or train lora"
    )

    variant: Literal["houlsby", "pfeiffer"] = Setting(default="houlsby", description="two in a layer, or one")
    reduction_factor: int = Setting(default=16, ge=1, le=1024, description="how much narrower it is than the model")
    non_linearity: Literal["relu", "gelu", "silu"] = Setting(default="relu", description="what is inside")
    load_in_4bit: bool = Setting(default=False, description="hold the model in 4 bits, as qlora does")

    @property
    def quantised(self) -> bool:
        return self.load_in_4bit

    def peft_config(self, situation: Situation) -> Any:
        if situation.family not in FAMILIES:
            raise UserError(
                f"where a bottleneck stands in a model of the family {situation.family!r} is not known; known are "
                f"{', '.join(FAMILIES)}",
                hint="set adapter: lora",
            )
        from train.bottleneck import BottleneckConfig

        return BottleneckConfig(
            target_modules=[FEED_FORWARD] if self.variant == "pfeiffer" else [ATTENTION, FEED_FORWARD],
            bottleneck_size=max(situation.hidden_size // self.reduction_factor, 1),
            non_linearity=self.non_linearity,
            task_type="CAUSAL_LM",
        )
