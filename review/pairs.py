"""Blind and shuffled: in which order answers are shown, and what a choice between them means for the row (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from review.asked import Asked, keyed, prefill_digest
from review.display import restored
from review.forms import ANSWER, BOTH_BAD, LEFT, RIGHT, TIE, Form


def in_order(shown: Sequence[int], key: bytes, id_: str) -> tuple[int, ...]:
    """The answers in the order in which they are shown: as good as random, the same again for the same home."""
    return tuple(sorted(shown, key=lambda place: keyed(key, "order", id_, str(place))))


def meaning(form: Form, asked: Asked, values: Mapping[str, Any]) -> dict[str, str]:
    """Question to value as JSON, in terms of the row: the place of the better answer instead of left and right.

    Empty answers are left out, and so is an edited answer that is the one that was shown for editing. Raises ValueError
    for a value that the form does not know.
    """
    found = {}
    for question in form.questions:
        value = values.get(question.name)
        if value is None or value == "" or value == []:
            continue
        if question.kind == "text":
            text = restored(str(value)).strip()
            if not text or (question.name == "edited" and prefill_digest(text) == asked.prefilled):
                continue
            found[question.name] = _json(text)
        elif question.kind == "ranking":
            found[question.name] = _json(_ranking(asked, value))
        elif question.kind == "rating":
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= question.most:
                raise ValueError(f"{question.name}: {value!r} is not from 1 to {question.most}")
            found[question.name] = _json(value)
        elif question.kind == "choices":
            known = {option.value for option in question.options}
            if not isinstance(value, list) or not set(value) <= known:
                raise ValueError(f"{question.name}: {value!r} is not among {sorted(known)}")
            found[question.name] = _json(sorted(value))
        else:
            if value not in {option.value for option in question.options}:
                raise ValueError(f"{question.name}: {value!r} is no option")
            found[question.name] = _json(_choice(asked, value))
    return found


def _choice(asked: Asked, value: Any) -> Any:
    if value == LEFT:
        return asked.shown[0]
    if value == RIGHT:
        return asked.shown[1]
    return value


def _ranking(asked: Asked, value: Any) -> list[list[int]]:
    """Places of the answers, best first; those that share a place together."""
    ranks: dict[int, list[int]] = {}
    names = [f"{ANSWER}{number + 1}" for number in range(len(asked.shown))]
    given = {one["value"]: one["rank"] for one in value} if isinstance(value, list) else {}
    if sorted(given) != names or not all(isinstance(rank, int) for rank in given.values()):
        raise ValueError(f"ranking: {sorted(given)!r} is not {names!r}")
    for number, name in enumerate(names):
        ranks.setdefault(int(given[name]), []).append(asked.shown[number])
    return [sorted(ranks[rank]) for rank in sorted(ranks)]


def shown_choice(asked: Asked, value: object) -> str:
    """What people saw for a value in terms of the row: left or right for the place of an answer."""
    if value in (TIE, BOTH_BAD):
        return str(value)
    return LEFT if value == asked.shown[0] else RIGHT


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
