"""The Responses API in the words of /chat/completions: what is asked is translated there, what is answered back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from schemas.errors import UserError
from synth.request import Answer
from synth.teachers.line import Lost, counted

_UNKNOWN = ("stop", "logit_bias", "logprobs", "presence_penalty", "frequency_penalty", "prediction", "modalities")


def as_responses(said: Mapping[str, Any]) -> dict[str, Any]:
    """The body of /responses for a body of /chat/completions. Nothing is to be stored at the endpoint.

    A seed is left out: there is none, and it promises nothing where there is. Raises UserError for what changes answers
    and cannot be said.
    """
    unknown = [name for name in _UNKNOWN if said.get(name) not in (None, 0, False)]
    if unknown:
        raise UserError(
            f"/responses knows no {', '.join(unknown)}", hint="use `api: chat`, or leave it out of the request"
        )
    try:
        return _translated(said)
    except (LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"a request cannot be said to /responses: {type(error).__name__} at {error}",
            hint="its messages and tools should be those of /chat/completions",
        ) from error


def read_response(key: str, body: bytes) -> Answer:
    """The answer in a body of /responses. Raises Lost when there is none in it."""
    try:
        said = orjson.loads(body)
        status, error = said.get("status") or "completed", said.get("error")
        if error or status not in ("completed", "incomplete"):
            detail = error.get("message") if isinstance(error, dict) else error
            raise Lost(f"the response is {status[:20]}: {str(detail or 'no reason is given')[:200]}")
        texts: list[str] = []
        refusals: list[str] = []
        thoughts: list[str] = []
        calls: list[Mapping[str, Any]] = []
        for item in said["output"]:
            if item["type"] == "message":
                parts = item.get("content") or ()
                texts += [part["text"] for part in parts if part["type"] == "output_text"]
                refusals += [part["refusal"] for part in parts if part["type"] == "refusal"]
            elif item["type"] == "reasoning":
                thoughts += [part["text"] for part in (item.get("content") or item.get("summary") or ())]
            elif item["type"] == "function_call":
                call = {"name": item["name"], "arguments": item["arguments"]}
                calls.append({"id": item.get("call_id") or "", "type": "function", "function": call})
        usage = said.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        why = str((said.get("incomplete_details") or {}).get("reason"))
        finish = {"max_output_tokens": "length", "content_filter": "content_filter"}.get(why, "stop")
        return Answer(
            key=key,
            text="".join(texts) if texts else "".join(refusals) if refusals else None,
            tool_calls=tuple(calls),
            finish_reason="tool_calls" if calls and finish == "stop" else finish,
            prompt_tokens=counted(usage.get("input_tokens")),
            completion_tokens=counted(usage.get("output_tokens")),
            model=str(said.get("model") or ""),
            id=str(said.get("id") or ""),
            refused=bool(refusals) or finish == "content_filter",
            reasoning="\n".join(thoughts) or None,
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Lost("the answer is not that of /responses") from None


def _translated(said: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"store": False}
    for name, value in said.items():
        if name == "messages":
            told["input"] = [item for message in value for item in _items(message)]
        elif name in ("max_tokens", "max_completion_tokens"):
            told["max_output_tokens"] = value
        elif name == "response_format":
            told["text"] = {**told.get("text", {}), "format": _format(value)}
        elif name == "verbosity":
            told["text"] = {**told.get("text", {}), "verbosity": value}
        elif name == "reasoning_effort":
            told["reasoning"] = {"effort": value}
        elif name == "tools":
            told["tools"] = [_flat(tool) for tool in value]
        elif name == "tool_choice":
            told["tool_choice"] = _flat(value) if isinstance(value, Mapping) else value
        elif name not in ("seed", "n", "stream", *_UNKNOWN):
            told[name] = value
    return told


def _items(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The input items of one message: its calls are items of their own."""
    role, content = message["role"], message.get("content")
    if role == "tool":
        yield {"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": _words(content)}
        return
    if content not in (None, "") or not message.get("tool_calls"):
        kind = "output_text" if role == "assistant" else "input_text"
        parts = [_part(part, kind) for part in content] if isinstance(content, list) else content
        yield {"role": role, "content": parts if parts is not None else ""}
    for call in message.get("tool_calls") or ():
        function = call["function"]
        yield {
            "type": "function_call",
            "call_id": call.get("id"),
            "name": function["name"],
            "arguments": function["arguments"],
        }


def _part(part: Mapping[str, Any], kind: str) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": kind, "text": part["text"]}
    if part["type"] == "image_url":
        image = part["image_url"]
        image = image if isinstance(image, Mapping) else {"url": image}
        return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail", "auto")}
    raise UserError(f"/responses takes no {part['type']!r} in a message", hint="use `api: chat`")


def _words(content: Any) -> Any:
    return "".join(part.get("text", "") for part in content) if isinstance(content, list) else content


def _format(asked: Mapping[str, Any]) -> dict[str, Any]:
    held = asked.get("json_schema")
    if asked.get("type") != "json_schema" or not isinstance(held, Mapping):
        return dict(asked)
    return {"name": "answer", **held, "type": "json_schema"}


def _flat(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    rest = {name: value for name, value in tool.items() if name != "function"}
    return {**rest, **function} if isinstance(function, Mapping) else rest
