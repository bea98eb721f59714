"""How varied made rows are, measured against the seeds; and what to vary, drawn outside the model.

A teacher asked the same way answers the same way. Attributes (a topic, a difficulty, a length) are dealt to prompts in
the shares wanted, and what came of it is measured with numbers that need no model.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, localcontext
from functools import cache
from hashlib import sha256
from itertools import chain, pairwise
from typing import Any

from synth.novelty import tokens

Shares = Mapping[Any, float]
"""The values of an attribute and how often each is wanted; only their proportions count."""

_WHOLE = 1 << 64
_COMPRESSED_BYTES = 4 << 20
_MEASURED_CHARS = 8 << 20


def deal(attributes: Mapping[str, Shares | Sequence[str]], key: str, number: int) -> dict[str, str]:
    """A value of each attribute for row `number` of what `key` names (a job's seed and a row).

    The same on every machine, whatever else is dealt: a job that is made longer keeps what it had. Over the numbers the
    values come in their shares almost exactly, and so do pairs of them: place n is a start drawn by the key, plus n
    times a step of the generalised golden ratio (additive recurrence: Niederreiter 1992; R-sequence: Roberts 2018).
    A sequence of values wants each as often. Raises ValueError where an attribute has none, or a share is negative.
    """
    steps = _steps(len(attributes))
    dealt = {}
    for (name, wanted), step in zip(sorted(attributes.items()), steps, strict=True):
        shares = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted, 1.0)
        if not shares or min(shares.values()) < 0 or not sum(shares.values()):
            raise ValueError(f"{name} needs values, with shares that are not negative")
        start = int.from_bytes(sha256(f"{key}\0{name}".encode()).digest()[:8], "big")
        dealt[name] = _at((start + number * step) % _WHOLE / _WHOLE, shares)
    return dealt


def _at(place: float, shares: Mapping[str, float]) -> str:
    """The value at a place from 0 to 1 where values lie side by side, each as wide as its share."""
    wanted = [(value, share) for value, share in shares.items() if share]
    rest = place * sum(share for _, share in wanted)
    for value, share in wanted[:-1]:
        rest -= share
        if rest < 0:
            return value
    return wanted[-1][0]


@cache
def _steps(dimensions: int) -> tuple[int, ...]:
    """Powers of the inverse of the root of x ** (d + 1) = x + 1, as 64-bit fractions; in decimals, whose arithmetic is
    the same on every machine."""
    if not dimensions:
        return ()
    with localcontext(prec=50):
        root, power = Decimal(2), dimensions + 1
        for _ in range(100):  # Newton's method
            root -= (root**power - root - 1) / (power * root ** (power - 1) - 1)
        return tuple(int(_WHOLE / root ** (place + 1)) for place in range(dimensions))


@dataclass(frozen=True)
class Lengths:
    """How texts' lengths are spread, in tokens."""

    p5: int
    p50: int
    p95: int

    @classmethod
    def of(cls, counts: Sequence[int]) -> Lengths:
        """The spread of some lengths."""
        ordered = sorted(counts)
        return cls(*(ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (5, 50, 95)))


@dataclass(frozen=True)
class Diversity:
    """How varied some texts are."""

    texts: int
    distinct_1: float
    """Share of tokens that differ (Li et al. 2016), over as many tokens as are compared."""
    distinct_2: float
    """The same of two tokens in a row."""
    distinct_3: float
    self_overlap: float
    """Share of three tokens in a row that another of the texts has too; 0 where no two texts share any. What Self-BLEU
    (Zhu et al. 2018) is used for, in linear time."""
    compression_ratio: float
    """How many times smaller zlib makes the texts, of at most 4 MiB (Shaib et al. 2024); more means more repeats."""
    lengths: Lengths

    def as_json(self) -> dict[str, object]:
        """The numbers by name."""
        return asdict(self)


def distinct(split: Sequence[Sequence[str]], size: int, budget: int | None = None) -> float:
    """Distinct-n: the share of runs of `size` tokens that differ, among the first `budget` of them. The more text, the
    lower: only numbers over equally many can be compared. 0 where there are none."""
    seen: set[tuple[str, ...]] = set()
    count = 0
    for text in split:
        for run in _runs(text, size):
            if budget is not None and count >= budget:
                return len(seen) / count if count else 0.0
            seen.add(run)
            count += 1
    return len(seen) / count if count else 0.0


def self_overlap(split: Sequence[Sequence[str]], size: int = 3) -> float:
    """The share of runs of `size` tokens, each counted once a text, that another text has too."""
    per_text = [set(_runs(text, size)) for text in split]
    texts_with = Counter(chain.from_iterable(per_text))
    total = sum(map(len, per_text))
    return sum(count for count in texts_with.values() if count > 1) / total if total else 0.0


def seed_overlap(made: Sequence[Sequence[str]], seeds: Sequence[Sequence[str]], size: int = 3) -> float:
    """The share of runs of `size` tokens in made texts, each counted once a text, that some seed has."""
    known = set(chain.from_iterable(_runs(text, size) for text in seeds))
    per_text = [set(_runs(text, size)) for text in made]
    total = sum(map(len, per_text))
    return sum(len(runs & known) for runs in per_text) / total if total else 0.0


def _runs(text: Sequence[str], size: int) -> list[tuple[str, ...]]:
    if size == 2:
        return list(pairwise(text))
    return [tuple(text[at : at + size]) for at in range(len(text) - size + 1)]


def diversity(split: Sequence[Sequence[str]], texts: Sequence[str], budget: int | None = None) -> Diversity:
    """How varied some texts are, of which there is at least one. `split` has their tokens; `budget` is how many tokens,
    pairs and triples are looked at for the distinct shares."""
    joined = "\n".join(texts).encode("utf-8", "surrogatepass")[:_COMPRESSED_BYTES]
    return Diversity(
        texts=len(texts),
        distinct_1=distinct(split, 1, budget),
        distinct_2=distinct(split, 2, budget),
        distinct_3=distinct(split, 3, budget),
        self_overlap=self_overlap(split),
        compression_ratio=len(joined) / len(zlib.compress(joined)),
        lengths=Lengths.of([len(one) for one in split]),
    )


def compared(made: Sequence[str], seeds: Sequence[str]) -> dict[str, object]:
    """Made texts beside the seeds, as JSON: `made` and `seeds` (None where there are none), whose distinct shares are
    over equally many tokens, and `seed_overlap`, what made texts share with seeds word for word.

    Of many texts some are looked at, evenly spread, of 8 million characters on each side; `texts` says how many."""
    sides = {"made": _some(made), "seeds": _some(seeds)}
    split = {name: [tokens(text) for text in texts] for name, texts in sides.items()}
    sizes = [sum(map(len, texts)) for texts in split.values()]
    budget = min((size for size in sizes if size), default=0)
    said: dict[str, object] = {
        name: diversity(split[name], texts, budget).as_json() if texts else None for name, texts in sides.items()
    }
    said["seed_overlap"] = seed_overlap(split["made"], split["seeds"])
    return said


def _some(texts: Sequence[str]) -> list[str]:
    """Texts evenly spread over all, of `_MEASURED_CHARS` characters together at the most, or one."""
    total = sum(map(len, texts))
    step = max(1, -(-total // _MEASURED_CHARS))
    kept: list[str] = []
    left = _MEASURED_CHARS
    for text in texts[::step]:
        left -= len(text)
        if left < 0 and kept:
            break
        kept.append(text[:_MEASURED_CHARS])
    return kept


def coverage(dealt: Sequence[Mapping[str, str]]) -> dict[str, dict[str, float]]:
    """The share of each attribute's values among rows: of those asked and of those kept, it says which values a task's
    checks throw out."""
    counts: dict[str, Counter[str]] = {}
    for one in dealt:
        for name, value in one.items():
            counts.setdefault(name, Counter())[value] += 1
    return {
        name: {value: count / found.total() for value, count in sorted(found.items())}
        for name, found in sorted(counts.items())
    }
