"""Memory that training takes at its peak, part by part: arithmetic on a model's shape, nothing loaded.

The peak is one of two moments. When the backward pass begins, everything that the forward pass kept is there, with the
logits and their gradients. When the optimizer steps, every gradient is there. Weights and optimizer states are there
at both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from train.shapes import Shape

AdapterName = Literal["full", "lora", "qlora", "dora"]
Precision = Literal["fp32", "bf16", "amp"]
"""fp32: all of it. bf16: weights and what is computed. amp: trained weights in fp32, computed with in bf16."""

NF4_BYTES = 0.5 + 0.127 / 8
"""Of a weight in NF4 with blocks of 64 whose scales are quantised again (Dettmers et al. 2023, arXiv 2305.14314)."""

OPTIMIZER_BYTES = {
    "adamw_torch": 8.0,
    "adamw_torch_fused": 8.0,
    "adamw_8bit": 2.1,
    "paged_adamw_8bit": 2.1,
    "adafactor": 0.1,
    "sgd": 0.0,
}
"""Of the states of a trained parameter held in fp32; half of it for AdamW's where the weights are bf16."""

TILE_TOKENS, TILE_WORDS = 4096, 32768
"""TRL 1.16 computes its loss in tiles of so many tokens and words of the vocabulary."""

LIBRARIES_BYTES = 0.74e9
"""Of a process on the CPU before it holds a model: torch, transformers, peft and trl imported, 0.54 GB, and what they
set up in their first steps. Measured by tests/bench/train_plan.py."""

KEPT_BY_HEAP = 1.3
"""On the CPU, what was kept for one step is not all given back before the next (glibc's heap), and no optimizer state
or gradient of a whole model takes its place where that is frozen. Measured there too."""

CONTEXT_BYTES = 0.7e9
"""On a card: the CUDA context, and the work space of its libraries."""


@dataclass(frozen=True)
class Setup:
    """What decides the memory of a run, besides the model."""

    adapter: AdapterName = "lora"
    device: Literal["cpu", "cuda"] = "cuda"
    precision: Precision = "bf16"
    method: Literal["sft", "dpo"] = "sft"
    r: int = 16
    sequences: int = 8
    """In one batch."""
    tokens: int = 1024
    """Of the longest sequence of the largest batch."""
    checkpointing: bool = True
    optimizer: str = "adamw_torch"
    supervised: float = 1.0
    """Share of the tokens that the loss is taken of."""
    trained_layers: int | None = None
    """Of a whole model: how many of its layers are trained at the most, the last ones; None is all of it."""
    trains_output: bool = True
    """Whether the output layer is trained, where not all of the model is."""
    tiled_loss: bool = False
    """Whether the loss is computed in tiles, as TRL does; else logits are there whole."""


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak: by part, and in all."""

    parts: dict[str, float]
    low: float
    expected: float
    high: float


def adapter_parameters(shape: Shape, adapter: AdapterName, r: int) -> int:
    """Parameters that are trained."""
    if adapter == "full":
        return shape.parameters
    low_rank = sum(one.count * r * (one.inputs + one.outputs) for one in shape.adapted)
    magnitudes = sum(one.count * one.outputs for one in shape.adapted)
    return low_rank + (magnitudes if adapter == "dora" else 0)


def trained_parameters(shape: Shape, setup: Setup) -> int:
    """Parameters that a run trains: an adapter's, the model's, or those of its last layers."""
    if setup.trained_layers is None:
        return adapter_parameters(shape, setup.adapter, setup.r)
    output = shape.head or shape.embedding
    inside = shape.parameters - shape.embedding - shape.head
    return round(inside * _share_trained(shape, setup)) + (output if setup.trains_output else 0)


def _share_trained(shape: Shape, setup: Setup) -> float:
    return 1.0 if setup.trained_layers is None else min(setup.trained_layers / shape.layers, 1.0)


def memory_of(shape: Shape, setup: Setup) -> Memory:
    """The peak of one process on one device.

    `low` has no batch of the longest rows, and an optimizer that needs no room to step; `high` has an allocator that
    wastes a quarter of what comes and goes.
    """
    trained = trained_parameters(shape, setup)
    full = setup.adapter == "full"
    width = 4 if setup.precision == "fp32" else 2  # of a number that is computed with
    held = 2 if setup.precision == "bf16" and full else 4  # of a trained parameter
    weights = _weights(shape, setup, width)
    optimizer = trained * OPTIMIZER_BYTES[setup.optimizer] * (0.5 if held == 2 and "8bit" not in setup.optimizer else 1)
    gradients = float(trained * held)
    activations, logits = _activations(shape, setup, width), _logits(shape, setup, width)
    # The gradient of the output layer is made first, while everything is still there.
    output_trained = full and (setup.trained_layers is None or setup.trains_output)
    first_gradient = (shape.head or shape.embedding) * held if output_trained else 0.0
    backward = activations + logits + first_gradient
    scratch = _step_scratch(shape, setup, trained * held, held)
    step = gradients + scratch
    comes_and_goes = max(backward, step)
    if setup.method == "dpo" and full:
        weights += shape.parameters * width  # the reference model; an adapter is switched off instead
    runtime = LIBRARIES_BYTES if setup.device == "cpu" else CONTEXT_BYTES
    parts = {
        "weights": weights,
        "adapter": 0.0 if full else float(trained * held),
        "optimizer": optimizer,
        "gradients": gradients if step >= backward else first_gradient,
        "optimizer step": scratch if step >= backward else 0.0,
        "activations": activations if backward > step else 0.0,
        "logits": logits if backward > step else 0.0,
        "runtime": runtime,
    }
    stays = weights + parts["adapter"] + optimizer
    expected = stays + comes_and_goes + runtime
    return Memory(
        parts={name: size for name, size in parts.items() if size},
        low=stays + 0.85 * max(backward, gradients) + 0.7 * runtime,
        expected=expected,
        high=1.03 * stays + 1.25 * comes_and_goes + 1.5 * runtime,
    )


def _weights(shape: Shape, setup: Setup, width: int) -> float:
    if setup.adapter == "qlora":
        inside = sum(one.count * one.inputs * one.outputs for one in shape.linears)
        return inside * NF4_BYTES + (shape.parameters - inside) * width
    if setup.adapter == "full" and setup.precision == "amp":
        # And a copy in bf16 that autocast keeps for the step of what is trained.
        return shape.parameters * 4.0 + trained_parameters(shape, setup) * 2.0
    return float(shape.parameters * width)


def _step_scratch(shape: Shape, setup: Setup, trained_bytes: float, held: int) -> float:
    """What the optimizer makes on the way. PyTorch's AdamW steps all tensors of a card at once, with one number more
    for each parameter; the fused one needs none, and on the CPU it goes tensor by tensor."""
    if setup.optimizer != "adamw_torch":
        return 0.0
    if setup.device == "cuda":
        return trained_bytes
    return min(float(max(shape.embedding, shape.hidden_size)) * held, trained_bytes)


def _activations(shape: Shape, setup: Setup, width: int) -> float:
    """What the forward pass keeps for the backward pass."""
    full, tokens = setup.adapter == "full", setup.sequences * setup.tokens * (2 if setup.method == "dpo" else 1)
    kept = float(shape.kept * width)
    if width == 2:
        kept += 2 * shape.kept_by_norms  # their inputs are kept in 32 bits
    if full:
        kept += shape.kept_by_norms * width
    else:
        kept += sum(one.count for one in shape.linears) / shape.layers * setup.r * width
    layer = float(tokens * kept)
    if setup.adapter == "dora":
        # The update is multiplied out, and the result is kept beside the base layer's, for each linear layer.
        outputs = sum(one.count * one.outputs for one in shape.linears) / shape.layers
        squares = sum(one.count * one.inputs * (one.inputs + setup.r) for one in shape.linears) / shape.layers
        layer += (2 * tokens * outputs + squares) * width
    if setup.device == "cpu" and (not full or setup.trained_layers is not None):
        layer *= KEPT_BY_HEAP
    layers = shape.layers * _share_trained(shape, setup)  # below the lowest one that is trained, nothing is kept
    if setup.checkpointing:
        return (layers + 2) * tokens * shape.hidden_size * width + layer
    return layers * layer + 2 * tokens * shape.hidden_size * width


def _logits(shape: Shape, setup: Setup, width: int) -> float:
    """The logits, their logarithms of probabilities and their gradients, when the backward pass begins."""
    tokens = setup.sequences * setup.tokens * (2 if setup.method == "dpo" else 1)
    if setup.tiled_loss:
        tile = min(tokens, TILE_TOKENS) * min(shape.vocab_size, TILE_WORDS)
        # Without Triton, torch makes eight tiles' worth of numbers on the way, and a mask.
        return tile * (8.25 * 4 if setup.device == "cpu" else 1.0 * width)
    # Logits are made where any sequence of the batch has a token that counts, and copied for those that count.
    made = 1 - (1 - setup.supervised) ** setup.sequences
    copies = 2 * 4 if width == 4 else 2 + 4 + 4
    return tokens * shape.vocab_size * (width * made + copies * setup.supervised)
