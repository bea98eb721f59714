"""Answers that must be JSON of a given schema: checked here whatever the endpoint promises, and asked again once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from schemas.errors import UserError
from synth.request import Answer, Request

_FENCE = re.compile(r"\A\s*```[A-Za-z]{0,10}[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
THOUGHT_ENDS = "</think>"
"""What stands behind the thoughts of a teacher that thinks aloud."""
_TOLD_CHARS = 400
"""How much of the checker's finding the teacher is told in the repair."""


class Unfit(Exception):  # noqa: N818 - a verdict on an answer
    """An answer does not hold what was asked for.

    `reason` is a Failure's; `detail` names the place and the rule and nothing of the answer; `told` is for the teacher.
    """

    def __init__(self, reason: str, detail: str, told: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.told = told or detail


def json_in(text: str) -> Any:
    """The JSON value in an answer: bare, in a code fence, behind a teacher's thoughts, or an object with words around
    it. Raises orjson.JSONDecodeError."""
    text = text.rpartition(THOUGHT_ENDS)[2]
    fenced = _FENCE.match(text)
    whole = fenced[1] if fenced else text
    try:
        return orjson.loads(whole)
    except orjson.JSONDecodeError:
        begin, end = whole.find("{"), whole.rfind("}")
        if begin < 0 or end < begin:
            raise
        return orjson.loads(whole[begin : end + 1])


def schema_of(body: Mapping[str, Any]) -> Any:
    """The JSON Schema that a request asks for: True for any JSON, None for none."""
    asked = body.get("response_format")
    if not isinstance(asked, Mapping) or asked.get("type") not in ("json_schema", "json_object"):
        return None
    if asked["type"] == "json_object":
        return True
    held = asked.get("json_schema")
    return held.get("schema", True) if isinstance(held, Mapping) else True


class Checker:
    """Reads answers against schemas, each compiled once; patterns run in linear time and nothing is fetched."""

    def __init__(self) -> None:
        self._validators: dict[bytes, Any] = {}

    def read(self, schema: Any, answer: Answer) -> Any:
        """The JSON that an answer holds, as `json_in` finds it. Raises Unfit when it does not match the schema."""
        validator = self.prepare(schema)
        try:
            value = json_in(answer.text or "")
        except orjson.JSONDecodeError as error:
            if answer.finish_reason == "length":
                raise Unfit("truncated", "the answer ends at max_tokens") from None
            raise Unfit("not_json", f"character {error.pos}: {error.msg}") from None
        found = next(iter(validator.iter_errors(value)), None)
        if found is not None:
            # The place may name keys of the answer; the rule's path names only the schema's.
            rule = "/".join(map(str, found.schema_path))
            raise Unfit("schema", f"against the schema's rule {rule}", str(found.message)[:_TOLD_CHARS])
        return value

    def prepare(self, schema: Any) -> Any:
        """The validator of a schema. Raises UserError when it is none that can be used: before anything is paid for."""
        import jsonschema_rs

        name = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
        if name not in self._validators:
            try:
                self._validators[name] = jsonschema_rs.validator_for(
                    schema, pattern_options=jsonschema_rs.RegexOptions(), retriever=_fetch_nothing
                )
            except ValueError as error:
                raise UserError(
                    f"a request's JSON Schema cannot be used: {str(error).splitlines()[0]}",
                    hint="it must be whole in itself; patterns may not look around or refer back",
                ) from error
        return self._validators[name]


def repair(request: Request, answer: Answer, unfit: Unfit) -> Request:
    """The same request with the unfit answer and what is wrong with it: asked once."""
    complaint = (
        f"That is not valid: {unfit.told}\nAnswer again with nothing but one JSON value that matches the schema. "
        "/ 上面的回答不符合要求，请只输出一个符合给定 schema 的 JSON。"
    )
    messages = [
        *request.body["messages"],
        {"role": "assistant", "content": answer.text or ""},
        {"role": "user", "content": complaint},
    ]
    return Request({**request.body, "messages": messages}, request.sample, request.teacher)


def told_in_words(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request for an endpoint that knows no `response_format`: the schema is put into the last message."""
    schema = schema_of(body)
    plain = {name: value for name, value in body.items() if name != "response_format"}
    if schema is None:
        return plain
    rule = "Answer with nothing but one JSON value"
    if schema is not True:
        rule += f" that matches this JSON Schema:\n{orjson.dumps(schema).decode()}"
    last = dict(body["messages"][-1])
    if isinstance(last.get("content"), str):
        last["content"] += f"\n\n{rule}"
        plain["messages"] = [*body["messages"][:-1], last]
    else:
        plain["messages"] = [*body["messages"], {"role": "user", "content": rule}]
    return plain


def _fetch_nothing(address: str) -> Any:
    raise ValueError("it refers to a schema elsewhere, and nothing is fetched")
