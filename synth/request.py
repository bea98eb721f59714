"""What is asked of a teacher and what comes back, as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from schemas.errors import UserError


@dataclass(frozen=True, slots=True)
class Request:
    """One question: the JSON body of `/chat/completions` without its model.

    `sample` numbers the answers that are wanted to the same body, from 0. `teacher` names who is asked; empty for the
    only one.
    """

    body: Mapping[str, Any]
    sample: int = 0
    teacher: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One paid answer, the same bytes whenever and by whichever endpoint it was given.

    `model` is what the endpoint says it is, `id` the endpoint's own name for the answer. `refused` is true when the
    endpoint marked it a refusal or filtered it; a refusal in words is for the task to see. `value` is the JSON read
    from `text` when the request came with a schema, and it matches that schema.
    """

    key: str
    text: str | None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    id: str = ""
    refused: bool = False
    reasoning: str | None = None
    value: Any = field(default=None, compare=False)

    def holding(self, value: Any) -> Answer:
        """The same answer with the JSON read from it."""
        return Answer(
            self.key, self.text, self.tool_calls, self.finish_reason, self.prompt_tokens, self.completion_tokens,
            self.model, self.id, self.refused, self.reasoning, value,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer.

    `reason` is one of `bad_request` (the endpoint says that the request is wrong), `tries` (it failed too often),
    `budget` (not asked: it might have cost more than is left), `not_json`, `schema` and `truncated` (an answer came,
    and does not hold what was asked for). `detail` says more in words, and nothing of the row.
    """

    key: str
    reason: str
    detail: str = ""


def canonical(body: Mapping[str, Any], model: str, revision: str, sample: int) -> bytes:
    """The bytes that say what is asked of whom: the same for the same request, whatever the order of its keys.

    Raises UserError for a body that is not JSON, or asks for what the engine does itself: several answers, a stream.
    """
    if not isinstance(body.get("messages"), list | tuple) or not body["messages"]:
        raise UserError("a request has no messages", hint='its body needs "messages", as /chat/completions has them')
    for name, allowed in (("n", 1), ("stream", False)):
        if body.get(name, allowed) != allowed:
            raise UserError(f"a request sets {name!r}", hint="ask for several answers with sample numbers")
    if "model" in body:
        raise UserError("a request names a model", hint="the teacher names it; leave it out of the body")
    said = {"body": dict(body), "model": model, "revision": revision, "sample": sample}
    try:
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise UserError(f"a request cannot be written as JSON: {error}") from error


def key_of(said: bytes) -> str:
    """The name of a request in the journal: a hash of its canonical bytes, 64 hexadecimal digits."""
    return hashlib.sha256(said).hexdigest()
