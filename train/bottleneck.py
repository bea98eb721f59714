"""Bottleneck adapters, as PEFT has its own: small networks behind the output of a layer's parts.

PEFT 0.21 has none, and the library `adapters` 1.3 wants transformers 4.57. Importing this module makes them known to
PEFT, whose `get_peft_model`, `save_pretrained` and `from_pretrained` then work as with all others. Like PEFT's own
layers they stand around a linear layer, quantised or not; behind the last one of attention and of the feed-forward
part, that is where Houlsby et al. 2019 (arXiv 1902.00751) put them: before the sum with what went past. They are no
linear function, and cannot be merged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn

NAME = "BOTTLENECK"
"""Its `peft_type` in adapter_config.json."""

FUNCTIONS = {"relu": nn.functional.relu, "gelu": nn.functional.gelu, "silu": nn.functional.silu}


@dataclass
class BottleneckConfig(PeftConfig):  # type: ignore[misc] # PEFT has no types here
    """What adapter_config.json says of a bottleneck adapter."""

    target_modules: list[str] | None = field(default=None)
    """Names of the linear layers that one stands behind."""
    bottleneck_size: int = field(default=64)
    non_linearity: str = field(default="relu")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = NAME


class BottleneckLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A linear layer with a bottleneck behind it: x + up(f(down(x))) of what the layer says. `up` begins as nothing, so
    that the model begins as it was."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    other_param_names = ("functions",)

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: BottleneckConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck_down = nn.ModuleDict()
        self.bottleneck_up = nn.ModuleDict()
        self.functions: dict[str, str] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        """Put another adapter behind the layer."""
        width = int(self.get_base_layer().out_features)
        self.bottleneck_down[adapter_name] = nn.Linear(width, config.bottleneck_size)
        self.bottleneck_up[adapter_name] = nn.Linear(config.bottleneck_size, width)
        self.functions[adapter_name] = config.non_linearity
        nn.init.zeros_(self.bottleneck_up[adapter_name].weight)
        nn.init.zeros_(self.bottleneck_up[adapter_name].bias)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        """What the layer says, and what the adapters that are switched on add to it."""
        said: torch.Tensor = self.base_layer(x, *arguments, **named)
        if self.disable_adapters:
            return said
        for name in self.active_adapters:
            if name in self.bottleneck_down:
                down, up = self.bottleneck_down[name], self.bottleneck_up[name]
                inside = FUNCTIONS[self.functions[name]](down(said.to(down.weight.dtype)))
                said = said + up(inside).to(said.dtype)
        return said

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Raises ValueError: there are no weights that say the same."""
        raise ValueError("a bottleneck adapter is no linear function, and cannot be merged into the model")


class BottleneckModel(BaseTuner):  # type: ignore[misc]
    """A model with bottlenecks behind the linear layers that the configuration names."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012 - PEFT reads it so

    def _create_and_replace(
        self,
        peft_config: BottleneckConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, peft_config)
            return
        if not isinstance(target, nn.Linear):
            raise ValueError(f"{current_key} is no linear layer: a bottleneck cannot stand behind it")
        made = BottleneckLayer(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            made.requires_grad_(False)
        self._replace_module(parent, target_name, made, target)

    def _check_merge_allowed(self) -> None:
        raise ValueError("a bottleneck adapter is no linear function, and cannot be merged into the model")


PEFT_TYPE_TO_CONFIG_MAPPING[NAME] = BottleneckConfig
PEFT_TYPE_TO_TUNER_MAPPING[NAME] = BottleneckModel
PEFT_TYPE_TO_PREFIX_MAPPING[NAME] = BottleneckModel.prefix
