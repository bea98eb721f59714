"""The outside world's shapes of a row: recognise one, read it into a row's columns, write it back.

A format is recognised by a row's columns and what is in them. There is no registry file to edit: `FORMATS` below is the
whole list, in the order in which they are tried.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import orjson

from schemas.errors import Rejected, UserError, nearest
from schemas.turns import (
    ROLES,
    TURNS,
    Turn,
    blank,
    common_prefix,
    plain,
    read_messages,
    read_tools,
    read_turn,
    text_of,
    type_name,
    write_message,
    write_sharegpt,
)

Values = Mapping[str, Any]
"""A raw row by our names of its fields."""

Content = dict[str, Any]
"""A row's content columns, nulls left out."""

NOTES = "_import"
"""Key in a row's `extra` under which what a format needs to give back the same row is kept."""

OWN_KEYS = ("id", "task", "lang", "split")
"""Fields with a column of their own in every kind of row, whatever the format."""


class Format(ABC):
    """One shape of a row."""

    name: ClassVar[str]
    kind: ClassVar[str]
    description: ClassVar[str]
    fields: ClassVar[dict[str, tuple[str, ...]]]
    """Our name of each field to the other names it goes by, lower case."""
    required: ClassVar[tuple[str, ...]]
    judged: ClassVar[bool] = False
    """Whether it says that an answer is desirable or not."""
    dataset_info: ClassVar[dict[str, Any] | None] = None
    """LLaMA-Factory's dataset_info.json entry for this format, without the file name; None if it cannot read it."""

    @abstractmethod
    def fits(self, values: Values) -> bool:
        """Whether a row whose required fields are all there is in this format; null says nothing either way."""

    @abstractmethod
    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        """Content columns of the row; what is needed to write the same row again goes into `notes`. Raises Rejected."""

    @abstractmethod
    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        """The row in this format. Raises Rejected with `not_expressible` when the format cannot say it."""


def _is(value: Any, *types: type) -> bool:
    return value is None or isinstance(value, types)


def _messages_like(value: Any, key: str) -> bool:
    """Whether `value` is a list of messages that name their speaker under `key`."""
    return isinstance(value, list) and (not value or (isinstance(value[0], dict) and key in value[0]))


def _turns(value: Any, name: str, role: str, notes: dict[str, Any]) -> list[Turn]:
    """Messages given as a list, as one message, or as plain text spoken by `role`."""
    if type(value) is str:
        return [{"role": role, "content": value}]
    if isinstance(value, dict):
        return [read_turn(value, name, notes)]
    return read_messages(value, name, notes)


def _with_system(turns: list[Turn], values: Values, notes: dict[str, Any]) -> list[Turn]:
    """The turns after the system prompt that may stand beside them."""
    system = values.get("system")
    if blank(system):
        return turns
    notes["system"] = True
    return [{"role": "system", "content": text_of(system, "system")}, *turns]


def _system(turn: Turn, form: str) -> str:
    """The system prompt for a field beside the turns, where an empty one would be read as none."""
    said = plain(turn, form)
    if blank(said):
        raise Rejected("not_expressible", f"{form} has no place for an empty system prompt")
    return said


def _without_system(turns: list[Turn], notes: Mapping[str, Any], form: str) -> tuple[list[Turn], dict[str, Any]]:
    """The turns, and beside them the system prompt, if it stood there when they were read."""
    if notes.get("system") and turns and turns[0]["role"] == "system":
        return turns[1:], {"system": _system(turns[0], form)}
    return turns, {}


def _beside_turns(notes: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    """Fields of a column's messages that no column holds, by the message's number."""
    found = notes.get(TURNS)
    inner = found.get(column) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else {}


def _write_messages(content: Values, column: str, notes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A column's messages as role/content, with everything that stood in them."""
    extras = _beside_turns(notes, column)
    return [write_message(turn, extras.get(str(number))) for number, turn in enumerate(content[column])]


def _single(turns: list[Turn], role: str, form: str, name: str) -> str:
    """The text of a conversation that is one plain turn."""
    if len(turns) != 1 or turns[0]["role"] != role:
        raise Rejected("not_expressible", f"{form} has place for just one {role} turn as {name}")
    return plain(turns[0], form)


_INSTRUCTION = ("question", "query", "prompt", "问题", "指令", "提问", "用户问题", "user", "q")
_ANSWER = (
    "answer",
    "response",
    "completion",
    "回答",
    "答案",
    "回复",
    "输出",
    "answers",
    "reply",
    "target",
    "assistant",
    "a",
)
_TOOLS = ("functions",)


class Alpaca(Format):
    """Instruction, optional input, output; with system and history."""

    name = "alpaca"
    kind = "chat"
    description = "instruction, input, output; optional system and history"
    fields: ClassVar = {
        "instruction": _INSTRUCTION,
        "output": _ANSWER,
        "input": ("context", "输入"),
        "system": ("system_prompt", "系统提示"),
        "history": ("历史",),
    }
    required: ClassVar[tuple[str, ...]] = ("instruction", "output")
    dataset_info: ClassVar = {
        "columns": {
            "prompt": "instruction",
            "query": "input",
            "response": "output",
            "system": "system",
            "history": "history",
        }
    }

    def fits(self, values: Values) -> bool:
        return _is(values["instruction"], str) and _is(values["output"], str)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        messages, asked = _alpaca_prompt(values, notes)
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": text_of(values.get("output"), "output")})
        return {"messages": messages}

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        _no_tools(content, self.name)
        messages = list(content["messages"])
        if not messages or messages[-1]["role"] != "assistant":
            raise Rejected("not_expressible", "alpaca ends in an assistant turn")
        return _alpaca_asked(messages[:-1], notes, self.name) | {"output": plain(messages[-1], self.name)}


def _alpaca_prompt(values: Values, notes: dict[str, Any]) -> tuple[list[Turn], str]:
    """The turns before the instruction, and the instruction with its input."""
    messages: list[Turn] = []
    system = values.get("system")
    if not blank(system):
        messages.append({"role": "system", "content": text_of(system, "system")})
    history = values.get("history")
    if not blank(history):
        if not isinstance(history, list):
            raise Rejected(
                "wrong_type", f"history must be a list of question and answer pairs, found {type_name(history)}"
            )
        for number, pair in enumerate(history):
            if not isinstance(pair, list) or len(pair) != 2:
                raise Rejected("wrong_type", f"history[{number}] must be a question and an answer")
            messages.append({"role": "user", "content": text_of(pair[0], f"history[{number}][0]")})
            messages.append({"role": "assistant", "content": text_of(pair[1], f"history[{number}][1]")})
    instruction = text_of(values.get("instruction"), "instruction")
    given = values.get("input")
    if not blank(given):
        notes["instruction_chars"] = len(instruction)
        return messages, f"{instruction}\n{text_of(given, 'input')}"
    return messages, instruction


def _alpaca_asked(messages: list[Turn], notes: Mapping[str, Any], form: str) -> dict[str, Any]:
    """Instruction, input, system and history of the turns before an answer."""
    if not messages or messages[-1]["role"] != "user":
        raise Rejected("not_expressible", f"{form} has a user turn before its answer")
    asked = plain(messages[-1], form)
    at = notes.get("instruction_chars")
    out: dict[str, Any] = {"instruction": asked, "input": ""}
    if isinstance(at, int) and asked[at : at + 1] == "\n" and asked[at + 1 :]:
        out = {"instruction": asked[:at], "input": asked[at + 1 :]}
    before = messages[:-1]
    if before and before[0]["role"] == "system":
        out["system"] = _system(before[0], form)
        before = before[1:]
    if not _alternate(before):
        raise Rejected("not_expressible", f"{form} has a history of question and answer pairs only")
    if before:
        said = [plain(turn, form) for turn in before]
        out["history"] = [[said[number], said[number + 1]] for number in range(0, len(said), 2)]
    return out


def _alternate(turns: list[Turn]) -> bool:
    """Whether turns are pairs of question and answer."""
    roles = [turn["role"] for turn in turns]
    return roles == ["user", "assistant"] * (len(turns) // 2)


def _no_tools(content: Values, form: str) -> None:
    if content.get("tools"):
        raise Rejected("not_expressible", f"{form} has no place for tools")


class _Conversation(Format):
    """A list of messages with tools beside it, and a system prompt that may stand beside it too."""

    kind = "chat"
    key: ClassVar[str]

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        messages = _with_system(read_messages(values.get(self.key), self.key, notes), values, notes)
        tools = read_tools(values.get("tools"))
        return {"messages": messages, "tools": tools} if tools else {"messages": messages}

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        messages = list(content["messages"])
        turns, beside = _without_system(messages, notes, self.name)
        extras = _beside_turns(notes, "messages")
        skipped = len(messages) - len(turns)
        written = [self.turn(turn, extras.get(str(number + skipped))) for number, turn in enumerate(turns)]
        tools = {"tools": self.tools(content["tools"])} if content.get("tools") else {}
        return {self.key: written} | beside | tools

    def turn(self, turn: Turn, extras: Mapping[str, Any] | None) -> dict[str, Any]:
        return write_message(turn, extras)

    def tools(self, tools: str) -> Any:
        return orjson.loads(tools)


class ShareGPT(_Conversation):
    """Conversations of from and value, as LLaMA-Factory reads them."""

    name = "sharegpt"
    key = "conversations"
    description = "conversations of from/value, with function_call, observation and tools"
    fields: ClassVar = {"conversations": ("conversation", "对话"), "system": (), "tools": _TOOLS}
    required: ClassVar[tuple[str, ...]] = ("conversations",)
    dataset_info: ClassVar = {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
    }

    def fits(self, values: Values) -> bool:
        return _messages_like(values["conversations"], "from")

    def turn(self, turn: Turn, extras: Mapping[str, Any] | None) -> dict[str, Any]:
        return write_sharegpt(turn, extras)

    def tools(self, tools: str) -> Any:
        return _spelled(tools)


def _spelled(tools: str) -> str:
    """Tools as JSON text with spaces, as files in the wild have it."""
    import json

    return json.dumps(orjson.loads(tools), ensure_ascii=False)


class Messages(_Conversation):
    """Messages of role and content, as OpenAI and TRL have them."""

    name = "messages"
    key = "messages"
    description = "messages of role/content, with tool_calls and tools; content may be a list of text parts"
    fields: ClassVar = {"messages": ("conversations", "conversation", "对话"), "system": (), "tools": _TOOLS}
    required: ClassVar[tuple[str, ...]] = ("messages",)
    dataset_info: ClassVar = {
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "system": "system", "tools": "tools"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "observation_tag": "tool",
            "system_tag": "system",
        },
    }

    def fits(self, values: Values) -> bool:
        return _messages_like(values["messages"], "role")


class Pairs(Format):
    """ms-swift's conversation of human and assistant pairs."""

    name = "pairs"
    kind = "chat"
    description = "conversation of human/assistant pairs (ms-swift)"
    fields: ClassVar = {"conversation": ("conversations",), "system": ()}
    required = ("conversation",)

    def fits(self, values: Values) -> bool:
        return _messages_like(values["conversation"], "human")

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        messages = _with_system([], values, notes)
        pairs = values.get("conversation")
        if not isinstance(pairs, list):
            raise Rejected("wrong_type", "conversation must be a list of human/assistant pairs")
        if not pairs:
            raise Rejected("empty_conversation", "conversation has no pairs")
        for number, pair in enumerate(pairs):
            if not isinstance(pair, dict) or set(pair) - {"human", "assistant"}:
                raise Rejected("wrong_type", f"conversation[{number}] must hold human and assistant only")
            for key, role in (("human", "user"), ("assistant", "assistant")):
                messages.append({"role": role, "content": text_of(pair.get(key), f"conversation[{number}].{key}")})
        return {"messages": messages}

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        _no_tools(content, self.name)
        out: dict[str, Any] = {}
        messages = list(content["messages"])
        if messages and messages[0]["role"] == "system":
            out["system"] = _system(messages.pop(0), self.name)
        if not messages or not _alternate(messages):
            raise Rejected("not_expressible", "pairs alternate between human and assistant")
        said = [plain(turn, self.name) for turn in messages]
        pairs = [{"human": said[number], "assistant": said[number + 1]} for number in range(0, len(said), 2)]
        return {"conversation": pairs} | out


class PromptCompletion(Format):
    """TRL's prompt and completion as messages."""

    name = "prompt_completion"
    kind = "chat"
    description = "prompt and completion as messages (TRL)"
    fields: ClassVar = {"prompt": (), "completion": (), "tools": _TOOLS}
    required = ("prompt", "completion")

    def fits(self, values: Values) -> bool:
        return _messages_like(values["prompt"], "role") and _is(values["completion"], list)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        prompt = _turns(values.get("prompt"), "prompt", "user", notes)
        completion = _turns(values.get("completion"), "completion", "assistant", notes)
        notes["prompt_turns"] = len(prompt)
        content: Content = {"messages": prompt + completion}
        tools = read_tools(values.get("tools"))
        return content | ({"tools": tools} if tools else {})

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        at = _answer_at(list(content["messages"]), notes, self.name)
        written = _write_messages(content, "messages", notes)
        out: dict[str, Any] = {"prompt": written[:at], "completion": written[at:]}
        return out | ({"tools": orjson.loads(content["tools"])} if content.get("tools") else {})


def _answer_at(messages: list[Turn], notes: Mapping[str, Any], form: str) -> int:
    """Where the answer begins: where it did when it was read, else at the last turn."""
    at = notes.get("prompt_turns")
    if isinstance(at, int) and 0 < at < len(messages):
        return at
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise Rejected("not_expressible", f"{form} ends in an assistant turn")
    return len(messages) - 1


class PromptCompletionText(Format):
    """Prompt and completion as text."""

    name = "prompt_completion_text"
    kind = "chat"
    description = "prompt and completion as text"
    fields: ClassVar = {"prompt": (), "completion": ()}
    required = ("prompt", "completion")
    dataset_info: ClassVar = {"columns": {"prompt": "prompt", "response": "completion"}}

    def fits(self, values: Values) -> bool:
        return _is(values["prompt"], str) and _is(values["completion"], str)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        return {
            "messages": [
                {"role": "user", "content": text_of(values.get("prompt"), "prompt")},
                {"role": "assistant", "content": text_of(values.get("completion"), "completion")},
            ]
        }

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        _no_tools(content, self.name)
        messages = list(content["messages"])
        if len(messages) != 2:
            raise Rejected("not_expressible", f"{self.name} has one question and one answer")
        return {
            "prompt": _single(messages[:1], "user", self.name, "prompt"),
            "completion": _single(messages[1:], "assistant", self.name, "completion"),
        }


def _verdict(value: Any, name: str = "label") -> bool:
    if isinstance(value, bool):
        return value
    if value in (0, 1) and isinstance(value, int):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("true", "false", "1", "0"):
        return value.strip().lower() in ("true", "1")
    if value is None:
        raise Rejected("missing_field", f"{name} is missing or null")
    raise Rejected("wrong_type", f"{name} must be true or false, found {type_name(value)}")


def _verdict_like(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, bool)
        or (isinstance(value, str) and value.strip().lower() in ("true", "false"))
    )


class KTO(Format):
    """A text prompt and completion with a verdict."""

    name = "kto"
    kind = "chat"
    description = "prompt, completion and label (true is desirable) as text (TRL KTO)"
    fields: ClassVar = {"prompt": (), "completion": (), "label": ("kto_tag",)}
    required = ("prompt", "completion", "label")
    judged = True
    dataset_info: ClassVar = {"columns": {"prompt": "prompt", "response": "completion", "kto_tag": "label"}}

    def fits(self, values: Values) -> bool:
        return (
            _is(values["prompt"], str)
            and _is(values["completion"], str)
            and (_verdict_like(values["label"]) or values["label"] in (0, 1, "0", "1"))
        )

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        return PromptCompletionText().read(values, notes) | {"verdict": _verdict(values.get("label"))}

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        return PromptCompletionText().write(content, notes) | {"label": _has_verdict(content)}


def _has_verdict(content: Values) -> bool:
    if content.get("verdict") is None:
        raise Rejected("not_expressible", "the row has no verdict, which KTO needs as its label")
    return bool(content["verdict"])


class KTOAlpaca(Alpaca):
    """Alpaca with a verdict, which goes by no other name: a `label` beside an answer is often a class."""

    name = "kto_alpaca"
    description = "instruction, input, output and kto_tag (LLaMA-Factory KTO)"
    fields: ClassVar = Alpaca.fields | {"kto_tag": ()}
    required = ("instruction", "output", "kto_tag")
    judged = True
    dataset_info: ClassVar = {"columns": Alpaca.dataset_info["columns"] | {"kto_tag": "kto_tag"}}

    def fits(self, values: Values) -> bool:
        return super().fits(values) and (_verdict_like(values["kto_tag"]) or values["kto_tag"] in (0, 1, "0", "1"))

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        return super().read(values, notes) | {"verdict": _verdict(values.get("kto_tag"), "kto_tag")}

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        return super().write(content, notes) | {"kto_tag": _has_verdict(content)}


class KTOConversation(Format):
    """TRL's conversational KTO: prompt and completion as messages."""

    name = "kto_prompt_completion"
    kind = "chat"
    description = "prompt, completion as messages, and label (TRL KTO, conversational)"
    fields: ClassVar = {"prompt": (), "completion": (), "label": ("kto_tag",), "tools": _TOOLS}
    required = ("prompt", "completion", "label")
    judged = True

    def fits(self, values: Values) -> bool:
        return PromptCompletion().fits(values) and _verdict_like(values["label"])

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        return PromptCompletion().read(values, notes) | {"verdict": _verdict(values.get("label"))}

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        return PromptCompletion().write(content, notes) | {"label": _has_verdict(content)}


class KTOMessages(Messages):
    """Messages with a verdict on the last answer."""

    name = "kto_messages"
    description = "messages and label (LLaMA-Factory and ms-swift KTO)"
    fields: ClassVar = Messages.fields | {"label": ("kto_tag",)}
    required = ("messages", "label")
    judged = True
    dataset_info: ClassVar = Messages.dataset_info | {
        "columns": {"messages": "messages", "system": "system", "tools": "tools", "kto_tag": "label"}
    }

    def fits(self, values: Values) -> bool:
        return _messages_like(values["messages"], "role") and _verdict_like(values["label"])

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        return super().read(values, notes) | {"verdict": _verdict(values.get("label"))}

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        return super().write(content, notes) | {"label": _has_verdict(content)}


class KTOShareGPT(ShareGPT):
    """ShareGPT conversations with a verdict on the last answer."""

    name = "kto_sharegpt"
    description = "conversations of from/value and label (LLaMA-Factory KTO)"
    fields: ClassVar = ShareGPT.fields | {"label": ("kto_tag",)}
    required = ("conversations", "label")
    judged = True
    dataset_info: ClassVar = ShareGPT.dataset_info | {
        "columns": {"messages": "conversations", "system": "system", "tools": "tools", "kto_tag": "label"}
    }

    def fits(self, values: Values) -> bool:
        return _messages_like(values["conversations"], "from") and _verdict_like(values["label"])

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        return super().read(values, notes) | {"verdict": _verdict(values.get("label"))}

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        return super().write(content, notes) | {"label": _has_verdict(content)}


_NUMBERS: dict[str, type] = {"margin": float, "weight": float, "raters": int, "agreement": float}
"""Columns of a preference row that hold a number."""


def _pair(
    values: Values, prompt: list[Turn], chosen: list[Turn], rejected: list[Turn], names: Iterable[str] = _NUMBERS
) -> Content:
    """Content of a preference row with what may stand beside it."""
    content: Content = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    tools = read_tools(values.get("tools"))
    if tools:
        content["tools"] = tools
    for name in names:
        if not blank(values.get(name)):
            content[name] = _number(values[name], name, _NUMBERS[name])
    return content


def _number(value: Any, name: str, kind: type) -> Any:
    """A number, or the one that text spells, as cells of CSV do."""
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.inf
        if math.isfinite(number) and (kind is float or number.is_integer()):
            return kind(number)
    raise Rejected("wrong_type", f"{name} must be a number, found {type_name(value)}")


def _beside(content: Values, form: str = "") -> dict[str, Any]:
    """What stands beside the messages of a preference row, as written; with a form's name, one that has no tools."""
    out: dict[str, Any] = {}
    if content.get("tools"):
        if form:
            _no_tools(content, form)
        out["tools"] = orjson.loads(content["tools"])
    return out | {name: content[name] for name in _NUMBERS if content.get(name) is not None}


_NUMBER_FIELDS: dict[str, tuple[str, ...]] = dict.fromkeys(_NUMBERS, ())
_PAIR_FIELDS: dict[str, tuple[str, ...]] = {**_NUMBER_FIELDS, "tools": _TOOLS}


class PreferenceFormat(Format):
    """TRL's explicit prompt with chosen and rejected messages."""

    name = "preference"
    kind = "preference"
    description = "prompt, chosen, rejected as messages (TRL, explicit prompt)"
    fields: ClassVar = {"prompt": ("instruction", "question", "问题"), "chosen": (), "rejected": (), **_PAIR_FIELDS}
    required = ("prompt", "chosen", "rejected")

    def fits(self, values: Values) -> bool:
        return (_messages_like(values["prompt"], "role") or isinstance(values["prompt"], str)) and isinstance(
            values["chosen"], (list, dict)
        )

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        prompt = _turns(values.get("prompt"), "prompt", "user", notes)
        chosen = _turns(values.get("chosen"), "chosen", "assistant", notes)
        rejected = _turns(values.get("rejected"), "rejected", "assistant", notes)
        at = _repeated_prompt(prompt, chosen, rejected)
        if at:
            prompt, chosen, rejected = chosen[:at], chosen[at:], rejected[at:]
        return _pair(values, prompt, chosen, rejected)

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        if _repeated_prompt(*(list(content[key]) for key in self.required)):
            raise Rejected("not_expressible", f"in {self.name} both answers would be taken to repeat the prompt")
        return {key: _write_messages(content, key, notes) for key in self.required} | _beside(content)


def _repeated_prompt(prompt: list[Turn], chosen: list[Turn], rejected: list[Turn]) -> int:
    """How many turns of both answers are the prompt once more, perhaps with what came before it, as UltraFeedback has
    them; 0 if they are not."""
    if chosen[:1] and chosen[0]["role"] == "assistant":
        return 0
    most = min(common_prefix(chosen, rejected), len(chosen) - 1, len(rejected) - 1)
    return next((at for at in range(most, len(prompt) - 1, -1) if chosen[at - len(prompt) : at] == prompt), 0)


class PreferenceText(Format):
    """Prompt, chosen and rejected as text."""

    name = "preference_text"
    kind = "preference"
    description = "prompt, chosen, rejected as text (TRL, and LLaMA-Factory's ranking with instruction and input)"
    fields: ClassVar = {
        "prompt": ("instruction", "question", "问题"),
        "chosen": (),
        "rejected": (),
        "input": (),
        "system": (),
        "history": (),
        **_NUMBER_FIELDS,
    }
    required = ("prompt", "chosen", "rejected")
    dataset_info: ClassVar = {
        "ranking": True,
        "columns": {
            "prompt": "prompt",
            "query": "input",
            "chosen": "chosen",
            "rejected": "rejected",
            "system": "system",
            "history": "history",
        },
    }

    def fits(self, values: Values) -> bool:
        return all(_is(values[key], str) for key in self.required)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        asked = {key: values.get(key) for key in ("input", "system", "history")} | {"instruction": values.get("prompt")}
        messages, question = _alpaca_prompt(asked, notes)
        messages.append({"role": "user", "content": question})
        chosen = [{"role": "assistant", "content": text_of(values.get("chosen"), "chosen")}]
        rejected = [{"role": "assistant", "content": text_of(values.get("rejected"), "rejected")}]
        return _pair(values, messages, chosen, rejected)

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        asked = _alpaca_asked(list(content["prompt"]), notes, self.name)
        out: dict[str, Any] = {"prompt": asked.pop("instruction")}
        if not asked["input"]:
            del asked["input"]
        for key in ("chosen", "rejected"):
            out[key] = _single(list(content[key]), "assistant", self.name, key)
        return out | asked | _beside(content, self.name)


class PreferenceImplicit(Format):
    """TRL's implicit prompt: both conversations whole."""

    name = "preference_implicit"
    kind = "preference"
    description = "chosen and rejected conversations that begin alike (TRL, implicit prompt)"
    fields: ClassVar = {"chosen": (), "rejected": (), **_PAIR_FIELDS}
    required = ("chosen", "rejected")

    def fits(self, values: Values) -> bool:
        return _messages_like(values["chosen"], "role") and _is(values["rejected"], list)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        chosen, rejected = (read_messages(values.get(key), key, notes) for key in self.required)
        at = _shared_prompt(chosen, rejected)
        if not at:
            raise Rejected("no_prompt", "chosen and rejected do not begin with the same turns, so there is no prompt")
        return _pair(values, chosen[:at], chosen[at:], rejected[at:])

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        _keeps_prompt(content, self.name)
        prompt = _write_messages(content, "prompt", notes)
        return {key: prompt + _write_messages(content, key, notes) for key in self.required} | _beside(content)


def _shared_prompt(chosen: list[Turn], rejected: list[Turn]) -> int:
    """How many turns two conversations have in common before their answers."""
    shared = min(common_prefix(chosen, rejected), len(chosen) - 1, len(rejected) - 1)
    while shared > 0 and chosen[shared - 1]["role"] == "assistant":
        shared -= 1
    return max(shared, 0)


def _keeps_prompt(content: Values, form: str) -> None:
    prompt, chosen, rejected = (list(content[key]) for key in ("prompt", "chosen", "rejected"))
    if _shared_prompt(prompt + chosen, prompt + rejected) != len(prompt):
        raise Rejected("not_expressible", f"in {form} it would not be seen where the prompt ends")


_HH_TURNS = {"\n\nHuman:": "user", "\n\nAssistant:": "assistant"}


class PreferenceImplicitText(Format):
    """Conversations written out as Human and Assistant turns, as in Anthropic's HH."""

    name = "preference_implicit_text"
    kind = "preference"
    description = "chosen and rejected as text of Human: and Assistant: turns that begin alike"
    fields: ClassVar = {"chosen": (), "rejected": (), **_NUMBER_FIELDS}
    required = ("chosen", "rejected")

    def fits(self, values: Values) -> bool:
        return all(_is(values[key], str) for key in self.required)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        chosen, rejected = (_hh_turns(text_of(values.get(key), key), key) for key in self.required)
        return PreferenceImplicit().read({**values, "chosen": chosen, "rejected": rejected}, notes)

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        _keeps_prompt(content, self.name)
        names = {"user": "Human", "assistant": "Assistant"}
        out: dict[str, Any] = {}
        for key in self.required:
            turns = [*content["prompt"], *content[key]]
            if any(turn["role"] not in names for turn in turns):
                raise Rejected("not_expressible", f"{self.name} has Human and Assistant turns only")
            said = [(names[turn["role"]], plain(turn, self.name)) for turn in turns]
            if any(mark in text for mark in _HH_TURNS for _, text in said):
                raise Rejected("not_expressible", f"a turn's text holds {self.name}'s own mark")
            out[key] = "".join(f"\n\n{name}: {text}" for name, text in said)
        return out | _beside(content, self.name)


def _hh_turns(text: str, name: str) -> list[Turn]:
    import re

    pieces = re.split(r"(\n\nHuman:|\n\nAssistant:)", text if text.startswith("\n\n") else "\n\n" + text.lstrip())
    if len(pieces) < 3 or pieces[0].strip():
        raise Rejected("no_prompt", f"{name} has no Human: and Assistant: turns, and the row has no prompt")
    return [
        {"role": _HH_TURNS[pieces[number]], "content": pieces[number + 1].removeprefix(" ")}
        for number in range(1, len(pieces) - 1, 2)
    ]


class PreferenceShareGPT(Format):
    """LLaMA-Factory's conversations with chosen and rejected messages."""

    name = "preference_sharegpt"
    kind = "preference"
    description = "conversations of from/value with chosen and rejected messages (LLaMA-Factory)"
    fields: ClassVar = {"conversations": ("messages",), "chosen": (), "rejected": (), "system": (), **_PAIR_FIELDS}
    required = ("conversations", "chosen", "rejected")
    dataset_info: ClassVar = {
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {
            "messages": "conversations",
            "chosen": "chosen",
            "rejected": "rejected",
            "system": "system",
            "tools": "tools",
        },
    }

    def fits(self, values: Values) -> bool:
        # A list that begins with the question is a whole conversation, which stands for itself.
        chosen = values["chosen"]
        whole = isinstance(chosen, list) and bool(chosen) and _speaker(chosen[0]) in ("user", "system")
        return _is(values["conversations"], list) and _is(chosen, dict, str, list) and not whole

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        prompt = _with_system(read_messages(values.get("conversations"), "conversations", notes), values, notes)
        chosen = _turns(values.get("chosen"), "chosen", "assistant", notes)
        rejected = _turns(values.get("rejected"), "rejected", "assistant", notes)
        return _pair(values, prompt, chosen, rejected)

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        written: dict[str, list[dict[str, Any]]] = {}
        for key in ("prompt", "chosen", "rejected"):
            extras = _beside_turns(notes, key)
            written[key] = [write_sharegpt(turn, extras.get(str(number))) for number, turn in enumerate(content[key])]
            if key != "prompt" and len(written[key]) != 1:
                raise Rejected("not_expressible", f"{self.name} has one message as {key}")
        turns, system = _without_system(list(content["prompt"]), notes, self.name)
        if not turns:
            raise Rejected("not_expressible", f"{self.name} has a turn before the answers")
        beside = _beside(content)
        if "tools" in beside:
            beside["tools"] = _spelled(content["tools"])
        prompt = written["prompt"][-len(turns) :]
        return {"conversations": prompt} | system | {key: written[key][0] for key in ("chosen", "rejected")} | beside


def _speaker(turn: Any) -> str | None:
    """The role of a message in any dialect; None where it says none that is known."""
    said = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
    return ROLES.get(said.strip().lower()) if isinstance(said, str) else None


class RejectedResponse(Format):
    """ms-swift's messages, whose last answer is the chosen one, with a rejected response."""

    name = "rejected_response"
    kind = "preference"
    description = "messages ending in the better answer, and rejected_response (ms-swift)"
    fields: ClassVar = {
        "messages": ("conversations",),
        "rejected_response": ("rejected_messages",),
        "rejected_messages": (),
        "system": (),
        **_PAIR_FIELDS,
    }
    required = ("messages", "rejected_response")

    def fits(self, values: Values) -> bool:
        return _is(values["messages"], list) and _is(values["rejected_response"], str, list)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        messages = _with_system(read_messages(values.get("messages"), "messages", notes), values, notes)
        name = "rejected_response"
        if blank(values.get(name)) and not blank(values.get("rejected_messages")):
            name = "rejected_messages"
        rejected = _turns(values.get(name), name, "assistant", notes)
        if messages[-1]["role"] != "assistant":
            raise Rejected("missing_field", "messages does not end in an assistant turn, which is the chosen answer")
        at = len(messages) - 1
        if len(rejected) > 1:
            for whole in (_with_system(rejected, values, {}), rejected):
                shared = _shared_prompt(messages, whole)
                if shared:
                    at, rejected = shared, whole[shared:]
                    break
        if not at:
            raise Rejected("no_prompt", "messages has no turn before the chosen answer")
        return _pair(values, messages[:at], messages[at:], rejected)

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        prompt, chosen = (list(content[key]) for key in ("prompt", "chosen"))
        if not prompt or not chosen or chosen[-1]["role"] != "assistant":
            raise Rejected("not_expressible", f"{self.name} has a question and ends in the chosen answer")
        turns, system = _without_system(prompt, notes, self.name)
        asked = _write_messages(content, "prompt", notes)[len(prompt) - len(turns) :]
        out = {"messages": asked + _write_messages(content, "chosen", notes)} | system | _beside(content)
        refused = _write_messages(content, "rejected", notes)
        text_only = [one.keys() for one in refused] == [{"role", "content"}] and refused[0]["role"] == "assistant"
        if text_only and len(chosen) == 1:
            return out | {"rejected_response": refused[0]["content"]}
        _keeps_prompt(content, self.name)
        return out | {"rejected_messages": asked + refused}


class OpenAIPreference(Format):
    """OpenAI's preference rows."""

    name = "openai_preference"
    kind = "preference"
    description = "input.messages, preferred_output, non_preferred_output (OpenAI, Azure, Together, Fireworks)"
    fields: ClassVar = {"input": (), "preferred_output": (), "non_preferred_output": (), **_NUMBER_FIELDS}
    required = ("input", "preferred_output", "non_preferred_output")

    def fits(self, values: Values) -> bool:
        return _is(values["input"], dict)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        given = values.get("input")
        if not isinstance(given, dict):
            raise Rejected(
                "wrong_type" if given is not None else "missing_field", "input must be an object with messages"
            )
        rest = {key: value for key, value in given.items() if key not in ("messages", "tools")}
        if rest:
            notes["input"] = rest
        prompt = read_messages(given.get("messages"), "input.messages", notes)
        chosen = _turns(values.get("preferred_output"), "preferred_output", "assistant", notes)
        rejected = _turns(values.get("non_preferred_output"), "non_preferred_output", "assistant", notes)
        return _pair({**values, "tools": given.get("tools")}, prompt, chosen, rejected)

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        beside = _beside(content)
        given: dict[str, Any] = {"messages": _write_messages(content, "prompt", notes)}
        if "tools" in beside:
            given["tools"] = beside.pop("tools")
        return {
            "input": given | dict(notes.get("input") or {}),
            "preferred_output": _write_messages(content, "chosen", notes),
            "non_preferred_output": _write_messages(content, "rejected", notes),
        } | beside


class Ranked(Format):
    """One prompt with several answers, ranked or scored."""

    name = "candidates"
    kind = "candidates"
    description = "prompt and several answers with rank, score or model"
    fields: ClassVar = {
        "prompt": ("instruction", "question", "query", "问题"),
        "answers": ("responses", "completions", "outputs", "candidates", "回答"),
        "ranks": ("rank", "ranking"),
        "scores": ("score", "ratings"),
        "models": ("teachers",),
        "tools": _TOOLS,
    }
    required = ("prompt", "answers")

    def fits(self, values: Values) -> bool:
        answers = values["answers"]
        return (
            isinstance(answers, list)
            and bool(answers)
            and isinstance(answers[0], (str, dict))
            and _is(values["prompt"], str, list)
        )

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        prompt = _turns(values.get("prompt"), "prompt", "user", notes)
        given = values.get("answers")
        if not isinstance(given, list) or not given:
            raise Rejected("missing_field" if blank(given) else "wrong_type", "answers must be a list of answers")
        for key in ("models", "ranks", "scores"):
            if not blank(values.get(key)) and (not isinstance(values[key], list) or len(values[key]) != len(given)):
                raise Rejected("wrong_type", f"{key} must hold one value for each answer")
        answers = [_read_answer(one, number, values, notes) for number, one in enumerate(given)]
        content: Content = {"prompt": prompt, "answers": answers}
        tools = read_tools(values.get("tools"))
        return content | ({"tools": tools} if tools else {})

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        extras = notes.get("answers") or {}
        answers = []
        for number, answer in enumerate(content["answers"]):
            name = _answer_column(number)
            out: dict[str, Any] = {"messages": _write_messages(answer | {name: answer["messages"]}, name, notes)}
            out |= {key: answer[key] for key in ("teacher", "rank", "score") if answer.get(key) is not None}
            answers.append(out | dict(extras.get(str(number)) or {}))
        written: dict[str, Any] = {"prompt": _write_messages(content, "prompt", notes), "answers": answers}
        return written | ({"tools": orjson.loads(content["tools"])} if content.get("tools") else {})


_ANSWER_TEXT = ("content", "text", "response", "output", "answer", "completion", "value", "回答")


def _answer_column(number: int) -> str:
    """Where the notes keep the fields of an answer's messages."""
    return f"answers[{number}]"


def _read_answer(given: Any, number: int, values: Values, notes: dict[str, Any]) -> dict[str, Any]:
    name = f"answers[{number}]"
    rest: dict[str, Any] = {}
    if isinstance(given, str):
        messages: list[Turn] = [{"role": "assistant", "content": given}]
    elif not isinstance(given, dict):
        raise Rejected("wrong_type", f"{name} must be text or an object, found {type_name(given)}")
    elif "messages" in given:
        rest = dict(given)
        messages = read_messages(rest.pop("messages"), f"{name}.messages", notes)
    elif "role" in given or "from" in given:
        beside: dict[str, Any] = {}
        messages = [read_turn(given, name, beside)]
        rest = beside[TURNS][0][1] if TURNS in beside else {}
    else:
        rest = dict(given)
        key = next((key for key in _ANSWER_TEXT if key in rest), None)
        if key is None:
            raise Rejected("missing_field", f"{name} has no text")
        messages = [{"role": "assistant", "content": text_of(rest.pop(key), f"{name}.{key}")}]
    answer: dict[str, Any] = {"messages": messages}
    for column, keys, types in _ANSWER_COLUMNS:
        value = _take(rest, keys, types)
        if value is None:
            value = _beside_answer(values.get(f"{column}s" if column != "teacher" else "models"), number, column, types)
        if value is not None:
            answer[column] = float(value) if column == "score" else value
    if rest:
        notes.setdefault("answers", {})[str(number)] = rest
    return answer


_ANSWER_COLUMNS: tuple[tuple[str, tuple[str, ...], tuple[type, ...]], ...] = (
    ("teacher", ("teacher", "model", "model_name", "source"), (str,)),
    ("rank", ("rank",), (int,)),
    ("score", ("score", "overall_score", "rating", "reward"), (int, float)),
)
"""Columns of an answer, the names they go by, and their types."""


def _take(rest: dict[str, Any], keys: tuple[str, ...], types: tuple[type, ...]) -> Any:
    """Take the first of `keys` whose value has one of the types out of `rest`."""
    for key in keys:
        value = rest.get(key)
        if value is not None and isinstance(value, types) and not isinstance(value, bool):
            return rest.pop(key)
    return None


def _beside_answer(values: Any, number: int, column: str, types: tuple[type, ...]) -> Any:
    """An answer's value in a list that stands beside the answers, which has one for each."""
    if blank(values):
        return None
    if not _is(values[number], *types) or isinstance(values[number], bool):
        raise Rejected("wrong_type", f"the {column}s beside the answers have one of the wrong type")
    return values[number]


class PlainText(Format):
    """A text and perhaps its title."""

    name = "text"
    kind = "text"
    description = "plain text, with optional title and path"
    fields: ClassVar = {"text": ("content", "文本", "正文"), "title": ("标题",), "path": ()}
    required = ("text",)
    dataset_info: ClassVar = {"columns": {"prompt": "text"}}

    def fits(self, values: Values) -> bool:
        return isinstance(values["text"], str)

    def read(self, values: Values, notes: dict[str, Any]) -> Content:
        content: Content = {"text": text_of(values.get("text"), "text")}
        for key in ("title", "path"):
            if not blank(values.get(key)):
                content[key] = text_of(values[key], key)
        return content

    def write(self, content: Values, notes: Mapping[str, Any]) -> dict[str, Any]:
        return {key: content[key] for key in ("text", "title", "path") if content.get(key) is not None}


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        OpenAIPreference(),
        PreferenceFormat(),
        PreferenceText(),
        RejectedResponse(),
        PreferenceShareGPT(),
        PreferenceImplicit(),
        PreferenceImplicitText(),
        KTOShareGPT(),
        KTOMessages(),
        KTOConversation(),
        KTO(),
        KTOAlpaca(),
        ShareGPT(),
        Messages(),
        Pairs(),
        PromptCompletion(),
        PromptCompletionText(),
        Ranked(),
        Alpaca(),
        PlainText(),
    )
}
"""Every format by name, in the order in which they are tried."""


_SPEAKERS = frozenset(
    {"role", "sender", "from", "speaker", "session", "session_id", "conversation_id", "发送者", "角色", "会话id"}
)
"""Columns that tell one message of a chat log from a plain text."""


def looks_inside(column: str) -> bool:
    """Whether it takes a column's value, and not only its type, to tell a row's format, even where it is plain."""
    return column.strip().lower() in ("label", "kto_tag")


def find_format(name: str) -> Format:
    """The format of that name. Raises UserError naming the nearest."""
    if name not in FORMATS:
        raise UserError(f"there is no format named {name!r}", hint=nearest(name, FORMATS))
    return FORMATS[name]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read rows that have certain columns: the format, and which column each of its fields stands in."""

    format: Format
    places: tuple[tuple[str, str], ...]
    own: tuple[tuple[str, str], ...]
    rest: tuple[str, ...]

    def why(self) -> str:
        """One line that says what the format was recognised by."""
        named = [f"{key} (as {name})" if key != name else key for name, key in self.places]
        return f"columns {', '.join(named)}"


@dataclass(slots=True)
class Read:
    """One row as read: its content columns without nulls, its own keys, and everything else."""

    format: Format
    content: Content
    own: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def places(form: Format, row: Mapping[str, Any]) -> dict[str, str]:
    """For each field of the format that the row has: the name of the column it stands in; of several, one not null."""
    lower = {key.strip().lower(): key for key in reversed(list(row)) if isinstance(key, str)}
    found: dict[str, str] = {}
    used: set[str] = set()
    for name, aliases in form.fields.items():
        keys = [lower[alias] for alias in (name, *aliases) if alias in lower and lower[alias] not in used]
        if keys:
            found[name] = next((key for key in keys if row[key] is not None), keys[0])
            used.add(found[name])
    return found


def plan_for(row: Mapping[str, Any], form: Format | None = None) -> Plan | None:
    """The plan for rows like this one, in `form` or the first format it fits; None when it fits none.

    A column that is null is as good as none, as files of columns have it where rows of several formats share one file;
    only if no format is left then, a null is taken for a value that is missing.
    """
    if form is not None:
        return _plan(row, form, places(form, row))
    missing: Plan | None = None
    for plan, complete in _candidates(tuple(row), tuple(value is None for value in row.values())):
        if plan.format.fits({name: row[key] for name, key in plan.places}):
            if complete:
                return plan
            missing = missing or plan
    return missing


@lru_cache(maxsize=1024)
def _candidates(columns: tuple[str, ...], nulls: tuple[bool, ...]) -> tuple[tuple[Plan, bool], ...]:
    """The plans for rows with these columns, some of them null, and whether each finds every field that it needs."""
    row = {name: None if null else "" for name, null in zip(columns, nulls, strict=True)}
    message = any(isinstance(key, str) and key.strip().lower() in _SPEAKERS for key in row)
    found = []
    for form in FORMATS.values():
        if form.name == "text" and message:
            continue  # one message of a chat log, which is no text of its own
        where = places(form, row)
        if all(name in where for name in form.required):
            complete = all(row[where[name]] is not None for name in form.required)
            found.append((_plan(row, form, where), complete))
    return tuple(found)


def _plan(row: Mapping[str, Any], form: Format, found: Mapping[str, str]) -> Plan:
    used = set(found.values())
    own = tuple((name, name) for name in OWN_KEYS if name in row and name not in used)
    rest = tuple(key for key in row if key not in used and key not in OWN_KEYS)
    return Plan(form, tuple(found.items()), own, rest)


def read_row(row: Mapping[str, Any], plan: Plan) -> Read:
    """Read one raw row. Raises Rejected with a reason."""
    notes: dict[str, Any] = {}
    content = plan.format.read({name: row[key] for name, key in plan.places}, notes)
    if TURNS in notes:
        notes[TURNS] = _placed(content, notes[TURNS])
    extra = {key: row[key] for key in plan.rest} if plan.rest else {}
    own: dict[str, str] = {}
    for name, key in plan.own:
        value = row[key]
        if type(value) is str:
            if value:
                own[name] = value
        elif name == "id" and type(value) is int:
            own[name] = str(value)
            notes["id"] = value
        elif value is not None:
            extra[key] = value
    if NOTES in extra:
        notes[NOTES] = extra[NOTES]
    if notes:
        extra[NOTES] = notes
    return Read(plan.format, content, own, extra)


def _placed(content: Content, found: list[tuple[Turn, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Fields of messages that no column holds, by column and number of the message they stood in."""
    columns = {key: value for key, value in content.items() if isinstance(value, list) and key != "answers"}
    columns |= {_answer_column(number): one["messages"] for number, one in enumerate(content.get("answers") or ())}
    placed: dict[str, dict[str, Any]] = {}
    for turn, fields in found:
        for column, turns in columns.items():
            for number, one in enumerate(turns):
                if one is turn:
                    placed.setdefault(column, {})[str(number)] = fields
    return placed


def write_row(row: Mapping[str, Any], form: Format, *, extras: bool = True) -> dict[str, Any]:
    """A canonical row (a dict of its columns) in a format, with the fields that no column holds unless told otherwise.

    Raises Rejected with `not_expressible` when the format cannot say what the row says.
    """
    extra = orjson.loads(row["extra"]) if row.get("extra") else {}
    notes = extra.pop(NOTES, None) or {}
    if row.get("verdict") is not None and not form.judged:
        judging = ", ".join(one.name for one in FORMATS.values() if one.judged)
        raise Rejected("not_expressible", f"{form.name} has no place for a verdict; {judging} have")
    out = form.write(row, notes)
    if extras:
        own = {
            "id": notes.get("id", row.get("external_id")),
            "task": row.get("task"),
            "lang": row.get("lang"),
            "split": row.get("split"),
        }
        beside = {key: value for key, value in own.items() if value is not None} | extra
        if NOTES in notes:
            beside[NOTES] = notes[NOTES]
        out |= {key: value for key, value in beside.items() if key not in out}
    return out


__all__ = [
    "FORMATS",
    "NOTES",
    "ROLES",
    "Format",
    "Plan",
    "Read",
    "find_format",
    "looks_inside",
    "plan_for",
    "read_row",
    "write_row",
]
