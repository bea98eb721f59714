"""Answers that must be JSON are checked here, whatever the endpoint promises."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from schemas.errors import UserError
from synth.request import Answer, Request
from synth.structured import Checker, Unfit, json_in, repair, schema_of, told_in_words

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 1}, "why": {"type": "string", "pattern": "^(a+)+$"}},
    "required": ["score"],
    "additionalProperties": False,
}
BODY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "给这段回答打分"}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "mark", "schema": SCHEMA}},
}


def answer(text: str | None, finish_reason: str = "stop") -> Answer:
    return Answer("k", text, finish_reason=finish_reason)


@pytest.mark.parametrize(
    "text", ['{"score": 3}', '```json\n{"score": 3}\n```', '  ```\n{"score": 3}```\n', '\n{"score":3}\n']
)
def test_json_is_read_bare_or_in_a_fence(text: str) -> None:
    assert Checker().read(SCHEMA, answer(text)) == {"score": 3}


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("I would say three.", "stop", "not_json"),
        (None, "stop", "not_json"),
        ('{"score": 3', "length", "truncated"),
        ('{"score": 3', "stop", "not_json"),
        ('{"score": "三"}', "stop", "schema"),
        ('{"score": 3, "secret": "x"}', "stop", "schema"),
        ("[" * 5000, "stop", "not_json"),
        ('{"score": NaN}', "stop", "not_json"),
    ],
)
def test_what_does_not_match_is_named(text: str | None, finish: str, reason: str) -> None:
    with pytest.raises(Unfit) as found:
        Checker().read(SCHEMA, answer(text, finish))

    assert found.value.reason == reason
    assert "secret" not in found.value.detail and "三" not in found.value.detail


def test_a_pattern_cannot_be_made_to_run_for_ever() -> None:
    with pytest.raises(Unfit, match="schema"):
        Checker().read(SCHEMA, answer('{"score": 1, "why": "' + "a" * 200_000 + '!"}'))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"$ref": "http://127.0.0.1:1/other.json"},
        {"pattern": "(?=a)"},
        3,
        {"$ref": "file:///etc/passwd"},
    ],
)
def test_a_schema_that_cannot_be_used_is_the_users_to_mend(schema: Any) -> None:
    with pytest.raises(UserError, match="JSON Schema"):
        Checker().prepare(schema)


def test_any_json_will_do_where_no_schema_is_given() -> None:
    schema = schema_of({"response_format": {"type": "json_object"}})

    assert Checker().read(schema, answer("[1, 2]")) == [1, 2]
    assert schema_of({"response_format": {"type": "text"}}) is None
    assert schema_of({}) is None


def test_a_repair_shows_the_teacher_its_answer_and_what_is_wrong_with_it() -> None:
    request = Request(BODY, 2, "t")

    asked = repair(
        request, answer('{"score": 0}'), Unfit("schema", "against minimum", "0 is less than the minimum of 1")
    )

    assert asked.body["messages"][:1] == BODY["messages"]
    assert asked.body["messages"][1] == {"role": "assistant", "content": '{"score": 0}'}
    assert "0 is less than the minimum of 1" in asked.body["messages"][2]["content"]
    assert (asked.sample, asked.teacher, asked.body["response_format"]) == (2, "t", BODY["response_format"])
    assert len(BODY["messages"]) == 1


def test_an_endpoint_without_schemas_is_told_in_words() -> None:
    told = told_in_words(BODY)

    assert "response_format" not in told
    assert '"minimum":1' in told["messages"][-1]["content"]
    assert BODY["messages"][0]["content"] == "给这段回答打分"


@pytest.mark.parametrize(
    "text",
    [
        '{"verdict": "yes"}',
        '```json\n{"verdict": "yes"}\n```',
        '<think>It says {no}.</think>\n{"verdict": "yes"}',
        'Here it is: {"verdict": "yes"} 希望有帮助！',
    ],
    ids=["bare", "fenced", "thought aloud", "words around it"],
)
def test_json_is_found_where_teachers_put_it(text: str) -> None:
    assert json_in(text) == {"verdict": "yes"}


def test_what_holds_no_json_raises() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        json_in("yes, {of course")
