"""The Responses API in the words of /chat/completions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.errors import UserError
from synth.journal import Journal
from synth.request import Answer, Request
from synth.runner import request_key, run
from synth.teachers.line import Lost
from synth.teachers.openai_api import Endpoint, Teacher
from synth.teachers.responses import as_responses, read_response
from tests.synth.endpoint import endpoint

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "上海"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}}


def test_what_is_asked_is_translated_whole() -> None:
    said = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "天气?"}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "晴"},
            {"role": "assistant", "content": "晴天。"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 7,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "mark", "schema": SCHEMA, "strict": True}},
        "reasoning_effort": "low",
    }

    told = as_responses(said)

    assert told == {
        "model": "m",
        "store": False,
        "input": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "input_text", "text": "天气?"}]},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "上海"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "晴"},
            {"role": "assistant", "content": "晴天。"},
        ],
        "max_output_tokens": 9,
        "temperature": 0.5,
        "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "weather"},
        "text": {"format": {"type": "json_schema", "name": "mark", "schema": SCHEMA, "strict": True}},
        "reasoning": {"effort": "low"},
    }


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"stop": ["\n"]}, "knows no stop"),
        ({"presence_penalty": 0.5, "logprobs": True}, "knows no logprobs, presence_penalty"),
        ({"messages": [{"content": "x"}]}, "cannot be said"),
        ({"messages": [7]}, "cannot be said"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "takes no 'input_audio'"),
    ],
)
def test_what_cannot_be_said_is_the_callers_to_mend(more: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        as_responses({"messages": [{"role": "user", "content": "x"}], **more})


def test_what_is_answered_is_translated_back() -> None:
    said = {
        "id": "resp_1",
        "model": "m-2026",
        "status": "completed",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "想"}]},
            {
                "type": "message",
                "content": [{"type": "output_text", "text": "你"}, {"type": "output_text", "text": "好"}],
            },
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "上海"}'},
            {"type": "web_search_call", "id": "w"},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }

    answer = read_response("k", orjson.dumps(said))

    assert (answer.text, answer.reasoning, answer.tool_calls) == ("你好", "想", (CALL,))
    assert (answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == ("tool_calls", 3, 4)
    assert (answer.model, answer.id, answer.refused) == ("m-2026", "resp_1", False)


@pytest.mark.parametrize(
    ("more", "finish", "refused"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length", False),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter", True),
        ({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]}, "stop", True),
        ({"output": []}, "stop", False),
    ],
)
def test_how_an_answer_ended_is_told(more: dict[str, Any], finish: str, refused: bool) -> None:
    said = {"output": [{"type": "message", "content": [{"type": "output_text", "text": "x"}]}], **more}

    answer = read_response("k", orjson.dumps(said))

    assert (answer.finish_reason, answer.refused) == (finish, refused)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"output": 3}',
        b'{"output": [{"type": "message", "content": [{"type": "output_text"}]}]}',
        b'{"output": [null]}',
        b'{"status": "failed", "error": {"code": "server_error", "message": "m"}, "output": []}',
        b'{"status": "in_progress", "output": []}',
        b'{"choices": []}',
    ],
)
def test_what_is_no_answer_is_lost_and_no_traceback(data: bytes) -> None:
    with pytest.raises(Lost):
        read_response("k", data)


def test_the_same_request_has_the_same_answer_and_key_by_either_api(tmp_path: Path) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "mark", "schema": SCHEMA}}
    requests = [
        Request({"messages": [{"role": "user", "content": f"问题 {n}"}], "response_format": schema}) for n in range(40)
    ]
    with endpoint(latency=0.01, errors=0.1, stray_refusals=0.05, retry_after=0.1, text='{"score": 3}') as served:
        teachers = [
            Teacher("one", "stub", (Endpoint(served.url, api=api),), max_tokens=64) for api in ("chat", "responses")
        ]
        found = []
        for number, teacher in enumerate(teachers):
            with Journal(tmp_path / str(number)) as journal:
                found.append(list(run(requests, [teacher], journal)))

    assert [request_key(one, teachers[:1]) for one in requests] == [request_key(one, teachers[1:]) for one in requests]
    chat, responses = ([one for one in each if isinstance(one, Answer)] for each in found)
    assert [(one.key, one.text, one.value, one.prompt_tokens, one.completion_tokens) for one in chat] == [
        (one.key, one.text, one.value, one.prompt_tokens, one.completion_tokens) for one in responses
    ]
    assert len(chat) == 40
    assert responses[0].reasoning == "thinking"
