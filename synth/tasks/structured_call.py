"""Instructions that call for a function, with a valid call of it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from schemas.errors import UserError
from synth.checking import needed
from synth.diversity import deal
from synth.prompting import Wording, filled, question, quoted
from synth.reading import names, parsed, written
from synth.structured import Checker
from synth.task import JUDGE, Rejected, Rounds, Seed, Setting, Task, gives, rejects, turn

_WRITE: Wording = {
    "en": (
        "An assistant can call these functions, given as JSON Schema:\n\n$tools\n\n"
        "Write one request of a person that is served by one call of “$name”, $manner, and the call. Every value in "
        "the call must be said in the request, or follow from it; leave optional arguments out that it says nothing "
        "of. The request is in English and names no function, argument or JSON.\n"
        'Answer as JSON: {"instruction": "…", "name": "$name", "arguments": "{…}"}, the arguments as JSON in a string'
    ),
    "zh": (
        "某助手可以调用以下函数（JSON Schema 形式）：\n\n$tools\n\n"
        "请写一条用户请求，调用一次“$name”即可满足，$manner；并写出这次调用。调用中的每个值都必须在请求里说到或能由请求推出；"
        "请求没有提到的可选参数不要填。请求用中文书写，不出现函数名、参数名或 JSON。\n"
        '以 JSON 回答：{"instruction": "…", "name": "$name", "arguments": "{…}"}，其中 arguments 是装在字符串里的 JSON'
    ),
}
_MANNERS = {
    "en": ("put plainly", "put in passing, within a longer message", "with the values in an unusual order",
           "as people type on a phone"),
    "zh": ("说得直白", "在一段较长的话里顺带提出", "各个值的先后顺序与平常不同", "像手机上随手打的"),
}  # fmt: skip
_CALL: Wording = {
    "en": (
        "An assistant can call these functions, given as JSON Schema:\n\n$tools\n\nA person says:\n\n$request\n\n"
        "Which one call serves this? Leave optional arguments out that the person says nothing of. If none does, the "
        "name is empty.\n"
        'Answer as JSON: {"name": "…", "arguments": "{…}"}, the arguments as JSON in a string'
    ),
    "zh": (
        "某助手可以调用以下函数（JSON Schema 形式）：\n\n$tools\n\n用户说：\n\n$request\n\n"
        "应该调用哪一个函数、参数是什么？用户没有提到的可选参数不要填。没有合适的函数时 name 为空。\n"
        '以 JSON 回答：{"name": "…", "arguments": "{…}"}，其中 arguments 是装在字符串里的 JSON'
    ),
}
_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+|[^\W_\u3400-\u4dbf\u4e00-\u9fff]+")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3}){1,10}(?!\d)(?:\.\d{1,30})?|\d{1,300}(?:\.\d{1,30})?")
_MAX_DEPTH = 32
_MAX_TOOLS_CHARS = 40_000
_IN_WORDS = 12
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "book_table",
            "description": "Book a table.",
            "parameters": {
                "type": "object",
                "properties": {"people": {"type": "integer", "minimum": 1}, "name": {"type": "string"}},
                "required": ["people"],
            },
        },
    }
]
_SEED = {"id": "s", "tools": _TOOLS, "lang": "en", "messages": []}
_SEED_ZH = {"id": "s", "tools": _TOOLS, "lang": "zh", "messages": []}
_DEEP = {"id": "s", "tools": [{"name": "save", "parameters": {"type": "object"}}], "lang": "en", "messages": []}
_ASKED, _ASKED_ZH = "A table for 4 under the name Okafor, please.", "帮我订个4人的位子，姓欧阳。"
_FOR_4 = {"name": "book_table", "arguments": '{"people": 4, "name": "Okafor"}'}
_FOR_4_ZH = {"name": "book_table", "arguments": '{"people": 4, "name": "欧阳"}'}


_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class _Call(BaseModel):
    name: str
    arguments: str


class _Written(_Call):
    instruction: str


class StructuredCall(Task):
    """Instructions with calls of a given API: self-instructed tool use (Gorilla: Patil et al. 2023, arXiv:2305.15334)
    with staged verification (APIGen: Liu et al. 2024, arXiv:2406.18518).

    The tools are the row's (its column `tools`) or the setting's. A call must name a function that there is, its
    arguments must be JSON that the function's schema allows, values in words must be in the request, and a judge that
    is given the request alone must make the same call.
    """

    novel = True

    tools: tuple[dict[str, Any], ...] = Setting(
        default=(), description="functions in OpenAI's form; without any those of the seeds"
    )
    said: bool = Setting(default=True, description="whether every free text in a call must be said in the request")

    temperature: float = Setting(default=0.9, ge=0, le=2, description="how freely the teacher writes")

    examples = (
        gives(
            _SEED,
            [_FOR_4 | {"instruction": _ASKED}, {"name": "book_table", "arguments": '{"name":"Okafor","people":4}'}],
            {"instruction": _ASKED, "function": "book_table"},
        ),
        gives(
            _SEED_ZH,
            [_FOR_4_ZH | {"instruction": _ASKED_ZH}, _FOR_4_ZH],
            {"instruction": _ASKED_ZH},
            settings={"tools": _TOOLS},
        ),
        rejects("unknown_function", _SEED, [_FOR_4 | {"instruction": _ASKED, "name": "book_hotel"}]),
        rejects("bad_arguments", _SEED, [_FOR_4 | {"instruction": _ASKED, "arguments": '{"people": 0}'}]),
        rejects("bad_arguments", _SEED, [_FOR_4 | {"instruction": _ASKED, "arguments": "people=4"}]),
        rejects("argument_not_said", _SEED, [_FOR_4 | {"instruction": "A table for 4, please."}]),
        rejects(
            "other_call",
            _SEED_ZH,
            [_FOR_4_ZH | {"instruction": _ASKED_ZH}, {"name": "book_table", "arguments": '{"people": 4}'}],
        ),
        rejects(
            "argument_not_said",
            _SEED,
            [
                {
                    "instruction": "4 of us want shampoo.",
                    "name": "book_table",
                    "arguments": '{"people": 4, "name": "Ham"}',
                }
            ],
        ),
        rejects(
            "argument_not_said",
            _SEED,
            [{"instruction": "A table in room 150.", "name": "book_table", "arguments": '{"people": 15}'}],
        ),
        gives(
            _SEED,
            [
                {"instruction": "Seats for 1,234,567 fans.", "name": "book_table", "arguments": '{"people": 1234567}'},
                {"name": "book_table", "arguments": '{"people": 1234567}'},
            ],
            {"instruction": "Seats for 1,234,567 fans."},
        ),
        rejects(
            "bad_arguments",
            _DEEP,
            [{"instruction": "Save it.", "name": "save", "arguments": '{"it":' + "[" * 700 + "]" * 700 + "}"}],
        ),
        rejects("no_tools", {"id": "s", "messages": [turn("user", "Hello")]}),
    )

    def rounds(self, seed: Seed, number: int, chance: random.Random) -> Rounds:
        import orjson

        lang = seed.lang
        functions = self._functions(seed)
        checker = Checker()
        listed = orjson.dumps(list(functions.values()), option=orjson.OPT_INDENT_2).decode()
        needed(len(listed) <= _MAX_TOOLS_CHARS, "too_many_tools", f"their schemas have {len(listed):,} characters")
        dealt = deal({"name": list(functions), "manner": _MANNERS[lang]}, seed.key, number)
        asked = filled(_WRITE, lang, tools=quoted(listed), name=dealt["name"], manner=dealt["manner"])
        [reply] = yield [
            question(
                asked, lang, max_tokens=self.max_tokens, temperature=self.temperature, answer=_Written, sample=number
            )
        ]
        made = parsed(reply, _Written)
        instruction = written(made.instruction, lang, min_chars=4, max_chars=4_000)
        arguments = _checked(made, functions, checker)
        needed(made.name == dealt["name"], "unknown_function", "it calls another function than it was asked to")
        needed(not names(instruction, made.name), "names_function", "the request names the function")
        if self.said:
            function = functions[made.name]
            unsaid = [
                name for name, value in arguments.items() if not _is_said(value, instruction, _choices(function, name))
            ]
            needed(not unsaid, "argument_not_said", f"{len(unsaid)} of the arguments")

        [reply] = yield [
            question(
                filled(_CALL, lang, tools=quoted(listed), request=quoted(instruction)),
                lang,
                max_tokens=self.max_tokens,
                answer=_Call,
                teacher=JUDGE,
            )
        ]
        blind = parsed(reply, _Call)
        same = blind.name == made.name and _folded(_checked(blind, functions, checker)) == _folded(arguments)
        needed(same, "other_call", "the judge makes another call of the request")
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": made.name, "arguments": orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode()},
        }
        tools = [{"type": "function", "function": function} for function in functions.values()]
        content = {
            "messages": [
                turn("user", instruction),
                turn("assistant", None, tool_calls=orjson.dumps([call]).decode()),
            ],
            "tools": orjson.dumps(tools).decode(),
        }
        return [seed.made("chat", content, {"function": made.name, "manner": dealt["manner"]}, instruction)]

    def _functions(self, seed: Seed) -> dict[str, dict[str, Any]]:
        """The functions by name. Raises Rejected where there are none, or a schema is none."""
        import orjson

        given: Any = self.tools or seed.row.get("tools") or []
        if isinstance(given, str):
            try:
                given = orjson.loads(given)
            except orjson.JSONDecodeError:
                raise Rejected("bad_tools", "the column tools is no JSON") from None
        found: dict[str, dict[str, Any]] = {}
        for tool in given if isinstance(given, list | tuple) else []:
            function = tool.get("function", tool) if isinstance(tool, Mapping) else None
            if isinstance(function, Mapping) and isinstance(function.get("name"), str) and function["name"]:
                # The name is asked for by itself, outside the material: it must be a name, not orders to the teacher.
                needed(_NAME.fullmatch(function["name"]) is not None, "bad_tools", "a function's name is no name")
                found[function["name"]] = dict(function)
        if not found:
            raise Rejected("no_tools", "neither the task nor the seed has functions")
        return found


def _checked(call: _Call, functions: Mapping[str, Mapping[str, Any]], checker: Checker) -> dict[str, Any]:
    """The call's arguments, which its function's schema allows. Reasons: unknown_function, bad_arguments, bad_tools."""
    import orjson

    if call.name not in functions:
        raise Rejected("unknown_function", "the call names a function that there is not")
    schema = functions[call.name].get("parameters") or {"type": "object"}
    if isinstance(schema, Mapping) and "additionalProperties" not in schema and schema.get("properties"):
        schema = {**schema, "additionalProperties": False}  # an argument that the function does not have is made up
    try:
        validator = checker.prepare(schema)
        arguments = orjson.loads(call.arguments)
    except UserError:
        raise Rejected("bad_tools", "a function's parameters are no JSON Schema that can be used") from None
    except orjson.JSONDecodeError:
        raise Rejected("bad_arguments", "the arguments are no JSON") from None
    if not isinstance(arguments, dict):
        raise Rejected("bad_arguments", "the arguments are no object")
    for error in validator.iter_errors(arguments):
        raise Rejected("bad_arguments", f"against the schema's rule {'/'.join(map(str, error.schema_path))}")
    needed(_depth(arguments) <= _MAX_DEPTH, "bad_arguments", "the arguments are nested too deeply")
    return arguments


def _depth(value: Any) -> int:
    """How deep lists and objects are nested in a value."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _choices(function: Mapping[str, Any], name: str) -> list[Any]:
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    described = properties.get(name) if isinstance(properties, Mapping) else None
    found = described.get("enum") if isinstance(described, Mapping) else None
    return list(found) if isinstance(found, list) else []


def _is_said(value: Any, request: str, choices: list[Any]) -> bool:
    """Whether a value is said: free text by most of its words (a date may be said otherwise), a number by its digits
    or, up to twelve, in words. Choices and truth values follow from what is said and are left to the judge."""
    if isinstance(value, bool) or value is None or value in choices:
        return True
    if isinstance(value, list):
        return all(_is_said(one, request, choices) for one in value)
    if isinstance(value, dict):
        return all(_is_said(one, request, []) for one in value.values())
    if isinstance(value, int | float):
        said = (Decimal(found.replace(",", "")) for found in _NUMBER.findall(request))
        return abs(value) <= _IN_WORDS or Decimal(str(abs(value))) in said
    if any(character.isdigit() for character in value):
        return True
    low = request.casefold()
    spaced, words = set(_WORD.findall(low)), _WORD.findall(value.casefold())
    return not words or sum(word in (low if _is_chinese(word) else spaced) for word in words) * 2 > len(words)


def _is_chinese(word: str) -> bool:
    """Whether a word of `_WORD` is Chinese, and so may stand within another."""
    return "\u3400" <= word[0] <= "\u9fff"


def _folded(value: Any) -> Any:
    """A value in which case and edges of texts, and 4 and 4.0, are one."""
    if isinstance(value, dict):
        return {name: _folded(one) for name, one in sorted(value.items())}
    if isinstance(value, list):
        return [_folded(one) for one in value]
    return value.strip().casefold() if isinstance(value, str) else value
