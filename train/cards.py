"""Graphics cards: memory and speed by name, from their makers' data sheets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import UserError, nearest


@dataclass(frozen=True)
class Card:
    """A card: memory as it is sold (24 GB are 24 GiB), and dense 16-bit tensor speed with sums in 32 bits, in TFLOP/s;
    None where it is not known."""

    name: str
    memory_gb: float
    tflops: float | None
    bf16: bool = True

    @property
    def bytes(self) -> float:
        """Memory in bytes."""
        return self.memory_gb * 2**30


CARDS: Mapping[str, Card] = {
    one.name: one
    for one in (
        Card("t4", 16, 65, bf16=False),
        Card("v100-16gb", 16, 125, bf16=False),
        Card("v100-32gb", 32, 125, bf16=False),
        Card("rtx3090", 24, 71),
        Card("rtx4090", 24, 165),
        Card("rtx5090", 32, 210),
        Card("a10", 24, 125),
        Card("l4", 24, 121),
        Card("a6000", 48, 155),
        Card("l40s", 48, 362),
        Card("a100-40gb", 40, 312),
        Card("a100", 80, 312),
        Card("h100", 80, 989),
        Card("h200", 141, 989),
    )
}

SIZES_GB = (8, 12, 16, 24, 32, 40, 48, 80)
"""Memory of the cards that plans are made for."""

USUAL_TFLOPS = 71.0
"""Assumed of a card that is given by its memory alone: an RTX 3090's."""


def card_named(said: str) -> Card:
    """The card that `--gpu` means: a name (`a100`, `rtx4090`), or its memory (`24GB`). Raises UserError."""
    short = re.sub(r"[\s_]+", "", said.lower()).replace("nvidia-", "").replace("geforce-", "").replace("nvidia", "")
    short = short.removeprefix("rtx-").replace("rtx-", "rtx")
    memory = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)(?:gi?b?)?", short)
    if memory is not None and 1 <= float(memory[1]) <= 2048 and short not in ("3090", "4090", "5090", "6000"):
        return Card(f"{float(memory[1]):g} GB", float(memory[1]), None)
    for name in (short, f"rtx{short}", short.removesuffix("-80gb"), short.removesuffix("80gb")):
        if name in CARDS:
            return CARDS[name]
    raise UserError(
        f"--gpu {said!r} is no card that is known here, and no size",
        hint=f"give its memory: --gpu 24GB; or a name: {nearest(short, CARDS)}",
    )
