"""One turn of a conversation as the outside world writes it: read into a message's columns, and written back.

A message here is a dict with a message's non-null columns only (see `schemas.rows.Message`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from schemas.errors import Rejected

Turn = dict[str, Any]
"""A message: its non-null columns."""

ROLES: dict[str, str] = {
    "system": "system",
    "developer": "system",
    "系统": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "用户": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "助手": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
    "ipython": "tool",
    "tool_response": "tool",
}
"""Names of speakers in the wild, lower case, to roles."""

CALL_ROLES = frozenset({"function_call", "tool_call"})
"""Names of turns whose text is a tool call in JSON."""

_PLAIN_KEYS = frozenset({"role", "content"})
_SHAREGPT_KEYS = frozenset({"from", "value"})
_NAMES = {str: "text", int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}


def type_name(value: object) -> str:
    """What a JSON value is, in words."""
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)


def text_of(value: Any, name: str) -> str:
    """The text of a value that must be text. Raises Rejected."""
    if type(value) is str:
        return value
    if value is None:
        raise Rejected("missing_field", f"{name} is missing or null")
    if isinstance(value, list):
        return _parts(value, name)
    raise Rejected("wrong_type", f"{name} must be text, found {type_name(value)}")


def _parts(parts: list[Any], name: str) -> str:
    """The text of content given as a list of parts."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif (
            isinstance(part, dict)
            and part.get("type") in ("text", "input_text", "output_text", None)
            and isinstance(part.get("text"), str)
        ):
            texts.append(part["text"])
        elif isinstance(part, dict) and "type" in part:
            raise Rejected(
                "not_text", f"{name} holds a part of type {str(part['type'])[:40]!r}, and only text can be used"
            )
        else:
            raise Rejected("wrong_type", f"{name} must be text or a list of text parts")
    return "".join(texts)


def read_messages(value: Any, name: str, extras: dict[str, Any] | None = None) -> list[Turn]:
    """A list of messages in any dialect (role/content or from/value).

    Fields that no column holds are put into `extras` by the message's number. Raises Rejected.
    """
    if not isinstance(value, list):
        if value is None:
            raise Rejected("missing_field", f"{name} is missing or null")
        raise Rejected("wrong_type", f"{name} must be a list of messages, found {type_name(value)}")
    if not value:
        raise Rejected("empty_conversation", f"{name} has no messages")
    turns = []
    for number, raw in enumerate(value):
        if type(raw) is not dict:
            raise Rejected("wrong_type", f"{name}[{number}] must be a message, found {type_name(raw)}")
        if len(raw) == 2:
            # The two commonest shapes, without the long way round.
            content = raw.get("content")
            if type(content) is str:
                role = ROLES.get(raw.get("role"))  # type: ignore[arg-type]
                if role is not None:
                    turns.append({"role": role, "content": content})
                    continue
            content = raw.get("value")
            if type(content) is str:
                role = ROLES.get(raw.get("from"))  # type: ignore[arg-type]
                if role is not None:
                    turns.append({"role": role, "content": content})
                    continue
        turns.append(read_turn(raw, f"{name}[{number}]", number, extras))
    return turns


def read_turn(raw: Mapping[str, Any], name: str, number: int = 0, extras: dict[str, Any] | None = None) -> Turn:
    """One message. See `read_messages`."""
    sharegpt = "from" in raw and "value" in raw
    speaker = raw.get("from" if sharegpt else "role")
    if not isinstance(speaker, str):
        raise Rejected(
            "missing_field" if speaker is None else "wrong_type", f"{name} does not say who speaks (role or from)"
        )
    content_key = "value" if sharegpt else "content"
    content = raw.get(content_key)
    key = speaker.strip().lower()
    used = {"from", "value"} if sharegpt else {"role", "content"}
    if key in CALL_ROLES:
        turn: Turn = {
            "role": "assistant",
            "tool_calls": _calls_from_text(text_of(content, f"{name}.{content_key}"), name),
        }
    else:
        if key not in ROLES:
            raise Rejected("unknown_role", f"{name} is spoken by {speaker[:40]!r}, which is no role")
        turn = {"role": ROLES[key]}
        if content is not None:
            turn["content"] = text_of(content, f"{name}.{content_key}")
    for field, value in raw.items():
        if field in used or value is None:
            continue
        if not _read_field(turn, field, value, name) and extras is not None:
            extras.setdefault(str(number), {})[field] = value
    if "content" not in turn and "tool_calls" not in turn:
        raise Rejected("missing_field", f"{name}.{content_key} is missing or null")
    return turn


def _read_field(turn: Turn, field: str, value: Any, name: str) -> bool:
    """Put one further field of a message where it belongs; False if no column holds it."""
    if field in ("name", "tool_call_id"):
        turn[field] = text_of(value, f"{name}.{field}")
    elif field in ("reasoning", "reasoning_content", "thinking"):
        turn["reasoning"] = text_of(value, f"{name}.{field}")
    elif field == "tool_calls":
        if value == [] or value == "":
            return True
        turn["tool_calls"] = _json_list(value, f"{name}.tool_calls", "bad_tool_call")
    elif field == "function_call":
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise Rejected("bad_tool_call", f"{name}.function_call has no name")
        turn["tool_calls"] = _dumps([{"type": "function", "function": value}])
    elif field in ("weight", "loss", "loss_weight", "train", "training"):
        if not isinstance(value, (bool, int, float)):
            return False
        turn["weight"] = float(value)
    else:
        return False
    return True


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _json_list(value: Any, name: str, reason: str) -> str:
    """A list, or the JSON text of one, as JSON text."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise Rejected(reason, f"{name} is not valid JSON: {error}") from None
    if not isinstance(value, list):
        raise Rejected(reason, f"{name} must be a list, found {type_name(value)}")
    return _dumps(value)


def read_tools(value: Any) -> str | None:
    """Tool descriptions, as a list or its JSON text, as JSON text; None when there are none. Raises Rejected."""
    if value is None or value == "" or value == []:
        return None
    found = _json_list([value] if isinstance(value, dict) else value, "tools", "bad_tools")
    return None if found == "[]" else found


def _calls_from_text(text: str, name: str) -> str:
    """The tool calls that a function_call turn spells as JSON text."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Rejected("bad_tool_call", f"{name} is a tool call but not valid JSON: {error}") from None
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise Rejected("bad_tool_call", f"{name} is a tool call without a name")
    return _dumps([{"type": "function", "function": call} for call in calls])


def write_message(turn: Mapping[str, Any], extras: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A message as role/content, with the further columns it has, in OpenAI's form."""
    out: dict[str, Any] = {"role": turn["role"], "content": turn.get("content")}
    if turn.get("tool_calls"):
        out["tool_calls"] = orjson.loads(turn["tool_calls"])
    for key, name in (
        ("tool_call_id", "tool_call_id"),
        ("name", "name"),
        ("reasoning", "reasoning_content"),
        ("weight", "weight"),
    ):
        if turn.get(key) is not None:
            value = turn[key]
            out[name] = int(value) if name == "weight" and float(value).is_integer() else value
    return out | dict(extras or {})


def write_sharegpt(turn: Mapping[str, Any], extras: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A message as from/value. Raises Rejected when the form cannot say it."""
    speakers = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
    out: dict[str, Any] = {"from": speakers[turn["role"]], "value": turn.get("content") or ""}
    if turn.get("tool_calls"):
        if turn.get("content"):
            raise Rejected("not_expressible", "ShareGPT has no turn that both speaks and calls a tool")
        calls = [call.get("function", call) for call in orjson.loads(turn["tool_calls"])]
        calls = [_plain_call(call) for call in calls]
        text = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
        out = {"from": "function_call", "value": text}
    if turn.get("weight") is not None:
        out["weight"] = int(turn["weight"]) if float(turn["weight"]).is_integer() else turn["weight"]
    if turn.get("name") is not None:
        out["name"] = turn["name"]
    if turn.get("reasoning") is not None:
        out["reasoning_content"] = turn["reasoning"]
    if turn.get("tool_call_id") is not None:
        out["tool_call_id"] = turn["tool_call_id"]
    return out | dict(extras or {})


def _plain_call(call: Any) -> Any:
    """A call whose arguments, where they are JSON text, are the object they spell, as LLaMA-Factory has them."""
    if isinstance(call, dict) and isinstance(call.get("arguments"), str):
        try:
            return call | {"arguments": orjson.loads(call["arguments"])}
        except orjson.JSONDecodeError:
            return call
    return call


def plain(turn: Mapping[str, Any], form: str) -> str:
    """The content of a message that has nothing else. Raises Rejected when a form of text only cannot say it."""
    for key in ("tool_calls", "tool_call_id", "name", "reasoning", "weight"):
        if turn.get(key) is not None:
            raise Rejected("not_expressible", f"{form} has no place for a message's {key}")
    return str(turn.get("content") or "")


def common_prefix(one: Sequence[Turn], other: Sequence[Turn]) -> int:
    """How many messages two conversations begin with alike."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
