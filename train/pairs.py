"""Pairs of answers as tokens: which is the better one, how sure that is, and what their lengths already tell.

Both answers of a pair keep the same prompt, whatever is cut: else the model would learn from what only one of them was
told. A pair that cannot be used is set aside with a reason, like a row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import orjson

from train.chat_template import ChatTemplate
from train.data import (
    Encoded,
    Encoder,
    Ids,
    Piece,
    SetAside,
    TokenRows,
    Told,
    Weights,
    gathered,
    shown,
    where_of,
)
from train.recipe import DpoTraining

BATCH = 256
"""Pairs that are tokenised at once."""

NO_LIMIT = 1 << 31

EVEN = 1e-6
"""Chances closer to one half than this are a tie, as for `review export`."""

FEW = 20
"""Pairs below which lengths tell nothing."""

Floats = np.ndarray[Any, np.dtype[np.float32]]


class PairReason:
    """Why a pair is set aside, besides what may be wrong with either answer; see `train.data.Reason`."""

    TIE = "tie"
    SAME = "same_answers"
    CUT = "same_until_cut"
    NO_WEIGHT = "no_weight"
    WEIGHT = "bad_weight"
    MARGIN = "bad_margin"


class Pair(NamedTuple):
    """One pair as tokens."""

    chosen: Encoded
    rejected: Encoded
    chance: float
    """How likely it is that the chosen answer is the better one."""
    weight: float


@dataclass(frozen=True)
class PairRows(TokenRows):
    """Pairs as tokens: each row is a pair, and two stretches of tokens, its chosen answer behind the prompt and its
    rejected one. `sides` has them as rows of their own."""

    chances: Floats
    """How likely it is that each pair's chosen answer is the better one."""
    counts: Floats
    """What each pair weighs."""

    @cached_property
    def sides(self) -> TokenRows:
        """Of pair n, row 2n is the chosen side and row 2n + 1 the rejected one."""
        ids, tasks = ([one for one in every for _ in range(2)] for every in (self.row_ids, self.tasks))
        return TokenRows(self.ids, self.weights, self.starts, ids, tasks)


class _Aside(Exception):  # noqa: N818 - a verdict on a pair
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class PairEncoder:
    """Turns preferences into tokens, for one model and one set of settings. Raises UserError as `Encoder` does."""

    def __init__(self, tokenizer: Any, template: ChatTemplate, stop_ids: Iterable[int], settings: DpoTraining) -> None:
        self._encoder = Encoder(
            tokenizer, template, stop_ids, max_length=NO_LIMIT, truncation="none", reasoning=settings.reasoning
        )
        self._settings = settings

    def encode(self, rows: Iterable[Mapping[str, Any]], told: Told) -> Iterator[Pair]:
        """The pairs as tokens, in order, those that are set aside left out and written down in `told`. `rows` are as a
        dataset of kind preference has them."""
        source = iter(rows)
        while batch := list(itertools.islice(source, BATCH)):
            told.rows += len(batch)
            sides, aside, literal = self._sides(batch)
            for place, row in enumerate(batch):
                wrong = aside.get(f"{place} chosen") or aside.get(f"{place} rejected")
                try:
                    if wrong is not None:
                        side = "chosen" if f"{place} chosen" in aside else "rejected"
                        raise _Aside(wrong.reason, f"the {side} answer: {wrong.detail}")
                    chance, weight = belief(row, self._settings)
                    pair = sides[f"{place} chosen"], sides[f"{place} rejected"]
                    chosen, rejected = self._fitted(row, pair, told)
                except _Aside as reason:
                    told.set_aside.append(SetAside(row["id"], where_of(row), reason.reason, reason.detail))
                    continue
                told.special_as_text += place in literal
                task = row.get("task") or ""
                yield Pair(
                    Encoded(row["id"], task, chosen.ids, chosen.weights),
                    Encoded(row["id"], task, rejected.ids, rejected.weights),
                    chance,
                    weight,
                )

    def _sides(
        self, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[dict[str, Encoded], dict[str, SetAside], frozenset[int]]:
        """Both sides of pairs as conversations of their own, by the pair's place and the side's name; what is wrong
        with some; and the places of pairs in which a special token is spelt out."""
        told = Told()
        found: dict[str, Encoded] = {}
        literal = set()
        conversations = (
            _conversation(row, side, row["prompt"] or (), f"{place} {side}")
            for place, row in enumerate(rows)
            for side in ("chosen", "rejected")
        )
        before = 0
        for one in self._encoder.encode(conversations, told):
            found[one.id] = one
            if told.special_as_text > before:
                before = told.special_as_text
                literal.add(int(one.id.split()[0]))
        return found, {one.id: one for one in told.set_aside}, frozenset(literal)

    def _fitted(self, row: Mapping[str, Any], pair: tuple[Encoded, Encoded], told: Told) -> tuple[Encoded, Encoded]:
        """Both sides, no longer than max_length, after one and the same prompt. Raises _Aside."""
        most, truncation = self._settings.max_length, self._settings.truncation
        if np.array_equal(pair[0].ids, pair[1].ids):
            raise _Aside(PairReason.SAME, "both answers read the same")
        longest = _longest(pair)
        if longest <= most:
            return pair
        if truncation == "none":
            raise _Aside("too_long", f"{longest:,} tokens")
        if truncation == "turns" and (shorter := self._without_oldest(row)) is not None:
            told.turns_dropped += 1
            pair = shorter
            if _longest(pair) <= most:
                return pair
        cut = tuple(Encoded(one.id, one.task, one.ids[:most], one.weights[:most]) for one in pair)
        if not all(one.weights[1:].any() for one in cut):
            raise _Aside("too_long", "an answer begins behind max_length")
        if np.array_equal(cut[0].ids, cut[1].ids):
            raise _Aside(PairReason.CUT, "the answers differ only behind max_length")
        told.answers_cut += 1
        return cut[0], cut[1]

    def _without_oldest(self, row: Mapping[str, Any]) -> tuple[Encoded, Encoded] | None:
        """Both sides without as few of the prompt's oldest exchanges as make them fit, or with its last question alone;
        None if it has only one."""
        prompt = row["prompt"] or []
        head = [one for one in prompt[:1] if one["role"] == "system"]
        asked = [place for place, one in enumerate(prompt) if one["role"] == "user"][1:]
        low, high, found = 0, len(asked) - 1, None
        while low <= high:  # what is left only gets shorter, so half of the places can be ruled out each time
            middle = (low + high) // 2
            rest = [*head, *prompt[asked[middle] :]]
            sides, aside, _ = self._sides([{**row, "prompt": rest}])
            if aside:
                low = middle + 1
                continue
            pair = sides["0 chosen"], sides["0 rejected"]
            if _longest(pair) <= self._settings.max_length:
                found, high = pair, middle - 1
            else:
                found, low = (pair if middle == len(asked) - 1 else found), middle + 1
        return found


def belief(row: Mapping[str, Any], settings: DpoTraining) -> tuple[float, float]:
    """How likely the chosen answer of a pair is the better one, and what the pair weighs. Raises _Aside for a tie.

    Of pairs that say nothing themselves the label is wrong with the chance `label_smoothing` (conservative DPO,
    Mitchell 2023). An answer that somebody wrote anew is better than either: what was said of the old ones is not about
    it.
    """
    told = _review(row.get("extra"))
    said, margin, weight = told.get("soft"), row.get("margin"), row.get("weight")
    weight = 1.0 if weight is None else float(weight)
    if not 0 <= weight < 1e6:
        raise _Aside(PairReason.WEIGHT, f"it has the weight {weight:g}")
    if margin is not None and not math.isfinite(margin):
        raise _Aside(PairReason.MARGIN, f"it has the margin {margin}")
    own: float | None = None
    if told.get("edited") is not True:
        if margin == 0:
            raise _Aside(PairReason.TIE, "its margin is 0")
        if settings.soft_labels == "review" and _is_share(said):
            own = float(said)
            if abs(weight - abs(2 * own - 1)) < EVEN:
                weight = 1.0  # the same fact: it would count twice
        elif settings.soft_labels == "margin" and margin is not None:
            own = 1 / (1 + math.exp(-max(min(margin, 50.0), -50.0)))
        elif settings.soft_labels == "agreement" and row.get("agreement") is not None:
            share, raters = row["agreement"], row.get("raters") or 0
            if 0 <= share <= 1 and raters >= 0:
                own = (share * raters + 1) / (raters + 2) if raters else share  # Laplace: few are believed less
        if own is not None and abs(own - 0.5) < EVEN:
            raise _Aside(PairReason.TIE, "neither answer is more likely to be the better one")
    if not weight:
        raise _Aside(PairReason.NO_WEIGHT, "it has the weight 0")
    return (1 - settings.label_smoothing if own is None else own), weight


def _is_share(said: Any) -> TypeGuard[float]:
    return isinstance(said, (int, float)) and not isinstance(said, bool) and 0 <= said <= 1


def _review(extra: str | None) -> Mapping[str, Any]:
    """What `review export` wrote about a pair beside its columns."""
    if not extra or '"review"' not in extra:
        return {}
    try:
        said = orjson.loads(extra)
    except orjson.JSONDecodeError:
        return {}
    found = said.get("review") if isinstance(said, dict) else None
    return found if isinstance(found, dict) else {}


def _conversation(row: Mapping[str, Any], side: str, prompt: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """One answer behind the prompt. Only the answer counts, all that the assistant says in it alike."""
    before = [{**one, "weight": 0.0} for one in prompt]
    answer = [{**one, "weight": None if one.get("weight") != 0 else 0.0} for one in row[side] or ()]
    return {"id": name, "messages": [*before, *answer], "tools": row.get("tools"), "task": None, "origin": None}


def _longest(pair: tuple[Encoded, Encoded]) -> int:
    return max(len(one.ids) for one in pair)


def gathered_pairs(pairs: Iterable[Pair]) -> PairRows:
    """The pairs one behind the other."""
    chances: list[float] = []
    weights: list[float] = []

    def sides() -> Iterator[Encoded]:
        for pair in pairs:
            chances.append(pair.chance)
            weights.append(pair.weight)
            yield pair.chosen
            yield pair.rejected

    rows = gathered(sides())
    return PairRows(
        rows.ids,
        rows.weights,
        rows.starts,
        rows.row_ids[::2],
        rows.tasks[::2],
        np.asarray(chances, dtype=np.float32),
        np.asarray(weights, dtype=np.float32),
    )


def shared(left: Ids, right: Ids) -> int:
    """Tokens that two rows begin with alike."""
    width = min(len(left), len(right))
    differs = np.flatnonzero(left[:width] != right[:width])
    return int(differs[0]) if len(differs) else width


def answer_begins(weights: Weights) -> int:
    """Place of the first token of an answer."""
    return int(np.argmax(weights > 0))


def told_by_lengths(pairs: PairRows) -> dict[str, Any]:
    """What the lengths of answers, in tokens, tell of which is chosen, and how much of them is the same at first.

    `longer_chosen` is the share of pairs of unequal length whose chosen answer is the longer one; `shared_start` the
    mean share of the shorter answer that both begin with. Both decide what is learnt: a model can lower its loss by
    length alone where one side is mostly longer, and nothing is learnt from a beginning that is the same.
    """
    chosen, rejected, same = [], [], []
    for place in range(len(pairs)):
        (left, left_weights), (right, right_weights) = pairs.sides.row(2 * place), pairs.sides.row(2 * place + 1)
        lengths = [int((one > 0).sum()) for one in (left_weights, right_weights)]
        chosen.append(lengths[0])
        rejected.append(lengths[1])
        same.append(max(shared(left, right) - answer_begins(left_weights), 0) / max(min(lengths), 1))
    gap = np.asarray(chosen) - np.asarray(rejected)
    unequal = int((gap != 0).sum())
    soft = pairs.chances[(pairs.chances > 0) & (pairs.chances < 1)]
    return {
        "chosen_tokens": round(float(np.mean(chosen)), 1),
        "rejected_tokens": round(float(np.mean(rejected)), 1),
        "gap_tokens": {
            "mean": round(float(gap.mean()), 1),
            **{name: int(np.percentile(gap, share)) for name, share in (("p5", 5), ("p50", 50), ("p95", 95))},
        },
        "unequal": unequal,
        "longer_chosen": round(int((gap > 0).sum()) / unequal, 4) if unequal else None,
        "shared_start": round(float(np.mean(np.minimum(same, 1.0))), 4),
        "mostly_shared": int((np.asarray(same) > 0.5).sum()),
        "soft_labels": len(soft),
        "against": int((pairs.chances < 0.5).sum()),
        "weighted": int((pairs.counts != 1).sum()),
    }


def warnings_of(facts: Mapping[str, Any], pairs: int, settings: DpoTraining) -> list[str]:
    """What of it is worth a warning."""
    found = []
    longer = facts["longer_chosen"]
    if facts["unequal"] >= FEW and longer is not None and abs(longer - 0.5) >= 0.2:
        what, share = ("longer", longer) if longer > 0.5 else ("shorter", 1 - longer)
        advice = (
            ""
            if settings.loss_type in ("ipo", "sigmoid_norm", "simpo")
            else "; loss_type: sigmoid_norm counts by length"
        )
        found.append(
            f"the chosen answer is the {what} one in {share:.0%} of pairs ({facts['chosen_tokens']:g} to "
            f"{facts['rejected_tokens']:g} tokens on average): a model can learn to be {what} instead of better{advice}"
        )
    if facts["mostly_shared"] > pairs / 2:
        found.append(
            f"in {facts['mostly_shared']:,} of {pairs:,} pairs more than half of the answers is the same beginning, of "
            "which nothing is learnt"
        )
    if facts["against"]:
        found.append(
            f"of {facts['against']:,} pairs the chosen answer is the less likely one to be better: they pull the other "
            f"way (soft_labels: {settings.soft_labels})"
        )
    return found


def shown_pair(pairs: PairRows, place: int, tokenizer: Any) -> list[Piece]:
    """A pair as the model reads it: the prompt, the chosen answer with the weight 1, the rejected one with -1."""
    pieces = shown(pairs.sides, 2 * place, tokenizer)
    ids, weights = pairs.sides.row(2 * place + 1)
    begin = answer_begins(weights)
    alone = TokenRows(ids[begin:], weights[begin:], np.asarray([0, len(ids) - begin]), [""], [""])
    other = [Piece(one.text, -one.weight) for one in shown(alone, 0, tokenizer)]
    return [*pieces, Piece(" ↔ ", 0.0), *other]
