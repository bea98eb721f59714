"""One turn of a conversation as the outside world writes it: read into a message's columns, and written back.

A message here is a dict with a message's non-null columns only (see `schemas.rows.Message`).
"""

from __future__ import annotations

import json
import re
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

TURNS = "turns"
"""Key in a row's notes for fields of messages that no column holds; while it is read, pairs of a message and them."""

_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
_LONG_NUMBER = re.compile(r"\d{19}")
_NAMES = {str: "text", int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}


def type_name(value: object) -> str:
    """What a JSON value is, in words."""
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)


def blank(value: Any) -> bool:
    """Whether an optional field says nothing."""
    return value is None or value == "" or value == [] or value == {}


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


def read_messages(value: Any, name: str, notes: dict[str, Any]) -> list[Turn]:
    """A list of messages in any dialect (role/content or from/value).

    Fields that no column holds are put into `notes` under TURNS, beside the message. Raises Rejected.
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
            speaker, content = raw.get("role"), raw.get("content")
            if speaker is None:
                speaker, content = raw.get("from"), raw.get("value")
            if type(content) is str and type(speaker) is str:
                role = ROLES.get(speaker)
                if role is not None:
                    turns.append({"role": role, "content": content})
                    continue
        turns.append(read_turn(raw, f"{name}[{number}]", notes))
    return turns


def read_turn(raw: Mapping[str, Any], name: str, notes: dict[str, Any]) -> Turn:
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
    rest = {}
    for field, value in raw.items():
        if field not in used and value is not None and not _read_field(turn, field, value, name):
            rest[field] = value
    if sharegpt and "tool_calls" in turn and turn.get("content") == "":
        del turn["content"]  # from/value has no null
    if "content" not in turn and "tool_calls" not in turn:
        raise Rejected("missing_field", f"{name}.{content_key} is missing or null")
    if rest:
        notes.setdefault(TURNS, []).append((turn, rest))
    return turn


_COLUMN_OF = {
    "name": "name",
    "tool_call_id": "tool_call_id",
    "reasoning": "reasoning",
    "reasoning_content": "reasoning",
    "thinking": "reasoning",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "weight": "weight",
    "loss": "weight",
    "loss_weight": "weight",
    "train": "weight",
    "training": "weight",
}


def _read_field(turn: Turn, field: str, value: Any, name: str) -> bool:
    """Put one further field of a message where it belongs; False if no column holds it."""
    column = _COLUMN_OF.get(field)
    if column is None or column in turn:
        return False
    if column == "weight":
        if not isinstance(value, (bool, int, float)):
            return False
        turn["weight"] = float(value)
    elif field == "tool_calls":
        if not blank(value):
            calls = _list(value, f"{name}.tool_calls", "bad_tool_call")
            if not calls or not all(_call_name(call) for call in calls):
                raise Rejected("bad_tool_call", f"{name}.tool_calls holds a call without a name")
            turn["tool_calls"] = _dumps([_openai_call(call) for call in calls])
    elif field == "function_call":
        if not isinstance(value, dict) or not _call_name(value):
            raise Rejected("bad_tool_call", f"{name}.function_call has no name")
        turn["tool_calls"] = _dumps([_openai_call(value)])
    else:
        turn[column] = text_of(value, f"{name}.{field}")
    return True


def _call_name(call: Any) -> bool:
    """Whether a call says what it calls, in OpenAI's form or flat."""
    inner = call.get("function", call) if isinstance(call, dict) else None
    return isinstance(inner, dict) and isinstance(inner.get("name"), str)


def _openai_call(call: dict[str, Any]) -> dict[str, Any]:
    """A call in OpenAI's form, from that form or from just name and arguments."""
    if "function" in call:
        return call if "type" in call else call | {"type": "function"}
    beside = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    inner = {key: value for key, value in call.items() if key not in beside}
    return beside | {"type": "function", "function": inner}


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise Rejected("not_json", f"a value cannot be written as JSON: {error}") from None


def _loads(text: str, name: str, reason: str) -> Any:
    """The value that JSON text spells. Raises Rejected, also for numbers that would lose digits."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Rejected(reason, f"{name} is not valid JSON: {error}") from None
    if _LONG_NUMBER.search(text):
        json.loads(text, parse_int=lambda digits: _within_64_bits(digits, name))
    return value


def _within_64_bits(digits: str, name: str) -> int:
    if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64:
        raise Rejected("number_too_large", f"{name} holds a number that does not fit into 64 bits; write it as text")
    return int(digits)


def _list(value: Any, name: str, reason: str) -> list[Any]:
    """A list, or the one that JSON text spells."""
    if isinstance(value, str):
        value = _loads(value, name, reason)
    if not isinstance(value, list):
        raise Rejected(reason, f"{name} must be a list, found {type_name(value)}")
    return value


def read_tools(value: Any) -> str | None:
    """Tool descriptions, as a list or its JSON text, as JSON text; None when there are none. Raises Rejected."""
    if blank(value):
        return None
    tools = _list([value] if isinstance(value, dict) else value, "tools", "bad_tools")
    return _dumps(tools) if tools else None


def _calls_from_text(text: str, name: str) -> str:
    """The tool calls that a function_call turn spells as JSON text, in OpenAI's form, their arguments as an object."""
    found = _loads(text, f"{name}, a tool call,", "bad_tool_call")
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise Rejected("bad_tool_call", f"{name} is a tool call without a name")
    return _dumps([_openai_call(_plain_call(call)) for call in calls])


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
            out[name] = _short(turn[key])
    return out | dict(extras or {})


def _short(value: Any) -> Any:
    """A number without a needless fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def write_sharegpt(turn: Mapping[str, Any], extras: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A message as from/value. Raises Rejected when the form cannot say it."""
    out: dict[str, Any] = {"from": _SPEAKERS[turn["role"]], "value": turn.get("content") or ""}
    if turn.get("tool_calls"):
        if turn.get("content"):
            raise Rejected("not_expressible", "ShareGPT has no turn that both speaks and calls a tool")
        if turn["role"] != "assistant":
            raise Rejected("not_expressible", f"ShareGPT has no {turn['role']} turn that calls a tool")
        calls = [_sharegpt_call(call) for call in orjson.loads(turn["tool_calls"])]
        text = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
        out = {"from": "function_call", "value": text}
    for key, name in (("weight", "weight"), ("name", "name"), ("reasoning", "reasoning_content")):
        if turn.get(key) is not None:
            out[name] = _short(turn[key])
    if turn.get("tool_call_id") is not None:
        out["tool_call_id"] = turn["tool_call_id"]
    return out | dict(extras or {})


def _sharegpt_call(call: Any) -> Any:
    """A call as LLaMA-Factory has it: name and arguments, with its id beside them."""
    inner = _plain_call(call["function"])
    beside = {key: value for key, value in call.items() if key != "function" and (key, value) != ("type", "function")}
    if set(beside) - {"id"} or not isinstance(beside.get("id", ""), str) or "id" in inner:
        raise Rejected("not_expressible", f"ShareGPT has no place for a tool call's {', '.join(map(str, beside))}")
    return inner | beside


def _plain_call(call: Any) -> Any:
    """A call whose arguments, where they are the JSON text of an object, are that object."""
    if isinstance(call, dict) and isinstance(call.get("arguments"), str):
        try:
            arguments = _loads(call["arguments"], "arguments", "bad_tool_call")
        except Rejected:
            return call
        if isinstance(arguments, dict):
            return call | {"arguments": arguments}
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
