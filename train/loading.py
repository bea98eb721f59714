"""The model that is trained: the base as the device holds it, and the adapter around it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from schemas.errors import UserError
from train.adapter import Adapter, Beginning, Situation
from train.model import load_model

if TYPE_CHECKING:
    from train.policy import Policy

UNTRAINED = 0.05
"""An embedding whose length is below this part of the median's was never trained."""


def load_base(folder: Path, policy: Policy) -> Any:
    """The base model as the policy says it is held. Raises UserError where it cannot be loaded."""
    settings: dict[str, Any] = {"attn_implementation": policy.attention}
    quantization = None
    if policy.weights == "nf4":
        from transformers import BitsAndBytesConfig

        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if policy.compute == "bf16" else torch.float32,
        )
        if policy.device != "cpu":
            settings["device_map"] = {"": 0}
    dtype = policy.compute if policy.weights == "nf4" else policy.weights
    return load_model(folder, dtype=dtype, quantization=quantization, **settings)


def adapted(
    base: Any, adapter: Adapter, situation: Situation, start: str | None, policy: Policy, beginning: Beginning
) -> Any:
    """The base with a new adapter around it, or with the one in the folder `start` to go on from; the base itself where
    its own parameters are trained. Raises UserError where they do not fit."""
    if start is not None:
        from peft import PeftModel

        import train.bottleneck  # noqa: F401 - PEFT knows it from then on

        try:
            model = PeftModel.from_pretrained(base, start, is_trainable=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise UserError(f"{start} does not fit the model: {error}"[:500], hint="name its own base model") from None
    else:
        try:
            model = adapter.around(base, situation, beginning)
        except ValueError as error:
            raise UserError(f"the adapter does not fit the model: {error}"[:500], hint="see target_modules") from None
    if policy.gradient_checkpointing and not adapter.whole_model:
        model.enable_input_require_grads()
    return model


def check_embeddings(model: Any, ids: Iterable[int], tokenizer: Any) -> None:
    """Raise UserError where the embedding of a token that ends a turn was never trained, as of a base model: with small
    adapters the model would not learn to stop."""
    table = model.get_input_embeddings().weight
    if not table.is_floating_point():
        return
    with torch.no_grad():
        lengths = table.float().norm(dim=1)
        usual = float(lengths.median())
        for one in ids:
            if one < len(lengths) and float(lengths[one]) < UNTRAINED * usual:
                name = tokenizer.convert_ids_to_tokens(one)
                raise UserError(
                    f"the token {name!r} that ends a turn was never trained in this model (its embedding is all but 0)",
                    hint="use the instruct version, a chat_template whose end of turn it knows, or train more than the "
                    "adapter: adapter: {use: lora, modules_to_save: [embed_tokens, lm_head]}",
                )
