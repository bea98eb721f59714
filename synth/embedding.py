"""How varied texts are in what they mean, by the embeddings of a model that the recipe names.

Counting words cannot see that two texts say the same in other words. Embeddings are asked for through the engine, as
answers are: they are in the journal, within the budget, and not paid for twice.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from synth.budget import Budget
from synth.journal import Journal
from synth.request import Answer, Failure, Request
from synth.runner import run
from synth.teachers.openai_api import Teacher

MOST_TEXTS = 500
"""Of each side and field: what is measured of more is hardly another number, and costs the square of their count."""

TEXT_CHARS = 500
"""Of each text: most models of embeddings read 512 tokens."""

AT_ONCE = 16
"""Texts in one request."""

Vectors = NDArray[np.float32]
"""Embeddings of length 1, one a row: (texts, dimensions)."""


def requests_for(texts: Sequence[str], teacher: str = "") -> list[Request]:
    """The questions for the embeddings of some texts, in their order."""
    shown = [text[:TEXT_CHARS] for text in texts]
    return [
        Request(
            {
                "messages": [{"role": "user", "content": text} for text in shown[at : at + AT_ONCE]],
                "encoding_format": "float",
                "max_tokens": 1,
            },
            teacher=teacher,
        )
        for at in range(0, len(shown), AT_ONCE)
    ]


def vectors_of(answers: Sequence[Answer], count: int) -> Vectors:
    """The vectors in some answers, of which there must be `count`. Raises ValueError."""
    try:
        held = [
            np.frombuffer(base64.b64decode(one, validate=True), dtype="<f2")
            for answer in answers
            for one in orjson.loads(answer.text or "")
        ]
    except (binascii.Error, orjson.JSONDecodeError, TypeError) as error:
        raise ValueError("no vectors") from error
    if len(held) != count or len({one.size for one in held}) != 1:
        raise ValueError(f"{len(held)} vectors for {count} texts")
    found: Vectors = np.stack(held).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def vendi_score(vectors: Vectors) -> float:
    """How many texts that have nothing in common would be as varied: from 1 to their count. The exponential of the
    entropy of the eigenvalues of the cosine similarities over their count (Friedman & Dieng 2023, arXiv:2210.02410)."""
    if len(vectors) == 0:
        return 0.0
    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    small = exact @ exact.T if len(exact) <= exact.shape[1] else exact.T @ exact  # they have the same eigenvalues
    values = np.linalg.eigvalsh(small / len(exact))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def mean_distance(vectors: Vectors) -> float:
    """The mean cosine distance of two different texts, from 0 to 2; 0 of a single one."""
    count = len(vectors)
    if count < 2:
        return 0.0
    total = vectors.astype(np.float64).sum(axis=0)
    return float(1 - (total @ total - count) / (count * (count - 1)))


def measured(
    fields: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    teacher: Teacher,
    journal: Journal,
    budget: Budget,
    *,
    job: str,
    tell: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
    """How varied made texts are beside the seeds', by field, each given as (made, seeds).

    `fields`: for each the Vendi score and mean distance of `made` and of `seeds` (None where there are none), both over
    as many texts, since the score grows with their count; and `nearest_seed`, the median cosine similarity of a made
    text with the seed nearest to it (None without seeds). `because` says why there is nothing, where an answer is
    missing. Raises UserError where the endpoint cannot be used.
    """
    chosen: dict[str, tuple[list[str], list[str]]] = {}
    for name, sides_of in fields.items():
        made, seeds = ([text for text in side if text.strip()] for side in sides_of)
        most = min([MOST_TEXTS, *(len(side) for side in (made, seeds) if side)])
        chosen[name] = (_evenly(made, most), _evenly(seeds, most))
    sides = [side for pair in chosen.values() for side in pair if side]
    asked = [requests_for(side) for side in sides]
    outcomes = run([one for some in asked for one in some], [teacher], journal, budget, job=job, on_event=tell)
    answers: list[Answer] = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            outcomes.close()
            said = f"{outcome.reason}: {outcome.detail}"
            return {"model": teacher.model, "fields": {}, "because": said}
        answers.append(outcome)
    found: dict[str, Any] = {}
    place = iter(zip(sides, asked, strict=True))
    at = 0
    try:
        for name, pair in chosen.items():
            held: list[Vectors | None] = []
            for side in pair:
                if not side:
                    held.append(None)
                    continue
                _, requests = next(place)
                held.append(vectors_of(answers[at : at + len(requests)], len(side)))
                at += len(requests)
            found[name] = _compared(*held)
    except ValueError as error:
        return {"model": teacher.model, "fields": {}, "because": f"the endpoint gave {error}"}
    return {"model": teacher.model, "fields": found, "because": None}


def _compared(made: Vectors | None, seeds: Vectors | None) -> dict[str, Any]:
    if made is not None and seeds is not None and made.shape[1] != seeds.shape[1]:
        raise ValueError(f"vectors of {made.shape[1]} and of {seeds.shape[1]} numbers")
    nearest = None if made is None or seeds is None else float(np.median((made @ seeds.T).max(axis=1)))
    return {
        **{
            name: None
            if side is None
            else {"texts": len(side), "vendi_score": vendi_score(side), "mean_distance": mean_distance(side)}
            for name, side in (("made", made), ("seeds", seeds))
        },
        "nearest_seed": nearest,
    }


def _evenly(texts: Sequence[str], most: int) -> list[str]:
    """At most so many of some texts, evenly spread."""
    if len(texts) <= most:
        return list(texts)
    return [texts[number * len(texts) // most] for number in range(most)]
