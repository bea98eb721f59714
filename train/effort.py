"""Operations that training takes, and how many a second a CPU does: what hours are planned by."""

from __future__ import annotations

import math
import time

from train.memory import Setup, adapter_parameters
from train.shapes import Shape

UTILISATION = (0.15, 0.30, 0.45)
"""Share of a card's speed that training reaches: low, expected, high. 0.3 to 0.45 is what well-tuned runs report."""

CPU_UTILISATION = (0.25, 0.5, 0.8)
"""Of the speed of a matrix product in numpy on the same cores."""

DEQUANTISING = 1.3
"""What a step on a 4-bit base takes compared with one on a 16-bit base (FACTS: 2.48 s to 1.93 s)."""


def operations_of_token(shape: Shape, setup: Setup, length: float) -> float:
    """Floating-point operations that training on one token of a sequence takes.

    2 for each parameter forward and 4 backward (Kaplan et al. 2020, arXiv 2001.08361), 2 of them for gradients of
    weights, which a frozen model does without; 2 again for what checkpointing computes twice; and causal attention.
    """
    full = setup.adapter == "full"
    answers = 2 if setup.method == "dpo" else 1
    passes = answers * ((6 if full else 4) + (2 if setup.checkpointing else 0))
    attention = answers * ((2 if setup.checkpointing else 0) + 6)
    trained = 0 if full else adapter_parameters(shape, setup.adapter, setup.r) * 6
    return _slower(setup) * (passes * shape.active + trained + attention * shape.layers * shape.attention * length)


def operations_of_reference(shape: Shape, setup: Setup, length: float) -> float:
    """Operations for one token of each pair that the reference takes: one forward pass over both answers, computed once
    in a run; 0 for a method without one."""
    if setup.method != "dpo":
        return 0.0
    return _slower(setup) * 2 * (2 * shape.active + 2 * shape.layers * shape.attention * length)


def _slower(setup: Setup) -> float:
    return DEQUANTISING if setup.adapter == "qlora" else 1.0


def cpu_speed() -> float:
    """Floating-point operations a second of a matrix product on this machine, measured now: the best of forty short
    ones, a tenth of a second together, since others may use the cores too."""
    import numpy as np

    side = 512
    left = np.ones((side, side), dtype=np.float32)
    best = math.inf
    for _ in range(40):
        began = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - began)
    return float(2 * side**3 / best)
