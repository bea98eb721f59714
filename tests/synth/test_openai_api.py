"""What endpoints say, and what must not be said of them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from schemas.errors import UserError
from synth.budget import Price
from synth.teachers.line import Lost, Reply
from synth.teachers.openai_api import (
    Endpoint,
    HttpLine,
    Teacher,
    duration,
    error_of,
    rate_limits,
    read_answer,
    retry_after,
)


def body(**message: object) -> bytes:
    return orjson.dumps({"id": "x", "model": "m-2026", "choices": [{"message": message, "finish_reason": "stop"}]})


def test_an_answer_is_read() -> None:
    said = orjson.loads(body(role="assistant", content="好的", reasoning_content="想"))
    said["usage"] = {"prompt_tokens": 3, "completion_tokens": 4}

    answer = read_answer("k", orjson.dumps(said))

    assert (answer.text, answer.finish_reason, answer.model, answer.id) == ("好的", "stop", "m-2026", "x")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.reasoning) == (3, 4, "想")
    assert not answer.refused


def test_a_marked_refusal_is_one() -> None:
    answer = read_answer("k", body(role="assistant", content=None, refusal="I cannot help with that."))

    assert answer.refused
    assert answer.text == "I cannot help with that."


def test_content_in_parts_is_put_together() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "你"}, {"type": "text", "text": "好"}]

    assert read_answer("k", body(role="assistant", content=parts)).text == "你好"


def test_tool_calls_are_kept() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    answer = read_answer("k", body(role="assistant", content=None, tool_calls=[call]))

    assert answer.tool_calls == (call,)
    assert answer.text is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": [1]}}]}',
        b'{"choices": [{"message": {"content": "x"}}]',
        b"\xff\xfe",
    ],
)
def test_what_is_no_answer_is_lost_and_no_traceback(data: bytes) -> None:
    with pytest.raises(Lost):
        read_answer("k", data)


@pytest.mark.parametrize(
    "usage", [None, [], "x", {"prompt_tokens": -1, "completion_tokens": "7"}, {"prompt_tokens": True}]
)
def test_a_usage_that_is_none_counts_as_nothing(usage: object) -> None:
    said = orjson.loads(body(role="assistant", content="x"))
    said["usage"] = usage

    try:
        answer = read_answer("k", orjson.dumps(said))
    except Lost:
        pytest.fail("an answer with an odd usage is an answer all the same")

    assert (answer.prompt_tokens, answer.completion_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:10 GMT"}, 10.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    wall = 1792567680.0  # 2026-10-21 07:28:00 UTC

    assert retry_after(headers, wall) == seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("6m0s", 360),
        ("120ms", 0.12),
        ("1.5s", 1.5),
        ("1h2m3s", 3723),
        ("2m59.56s", 179.56),
        ("12", 12),
        ("1d", 86400),
        ("", 0),
        ("x" * 99, 0),
    ],
)
def test_durations_of_headers_are_read(said: str, seconds: float) -> None:
    assert duration(said) == pytest.approx(seconds)


def test_rates_are_read_from_headers_and_those_of_a_day_are_not() -> None:
    headers = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-reset-requests": "2m59.56s",
        "x-ratelimit-limit-tokens": "18000",
        "x-ratelimit-remaining-tokens": "17997",
        "x-ratelimit-reset-tokens": "7.66s",
    }

    assert rate_limits(headers) == {"tokens": (18000.0, 17997.0)}
    assert rate_limits({"x-ratelimit-limit-requests": "many"}) == {}


def test_errors_are_read_in_all_their_forms() -> None:
    said = [
        b'{"error": {"message": "m", "code": "c"}}',
        b'{"error": {"message": "m", "type": "c", "code": null}}',
        b'{"error": "m"}',
        b'{"object": "error", "message": "m", "code": "c"}',
        b"m",
    ]

    assert [error_of(Reply(400, {}, body)) for body in said] == [
        ("c", "m"),
        ("c", "m"),
        ("", "m"),
        ("c", "m"),
        ("", "m"),
    ]


def test_a_key_is_read_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEACHER_KEY", "sk-one\n")
    (tmp_path / "key").write_text("sk-two\n")

    one = Endpoint("https://a.example/v1", key_env="TEACHER_KEY")
    two = Endpoint("https://a.example/v1", key_file=str(tmp_path / "key"))

    assert (one.key().value, two.key().value) == ("sk-one", "sk-two")
    assert "sk-one" not in repr(one) + repr(one.key()) + str(vars(HttpLine(Teacher("t", "m", (one,)), one))["_key"])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Endpoint("api.example.com/v1"),
        lambda: Endpoint("ftp://api.example.com"),
        lambda: Endpoint("https://me:secret@api.example.com/v1"),
        lambda: Endpoint("https://a.example/v1", key_env="NOT_SET_ANYWHERE").key(),
        lambda: Endpoint("https://a.example/v1", key_file="/nowhere/key").key(),
        lambda: Teacher("t", "m", ()),
        lambda: Teacher("t", "m", (Endpoint("https://a.example/v1"),), max_tokens=0),
        lambda: Price(0, -2),
    ],
)
def test_a_setting_that_cannot_be_is_the_users_to_mend(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(UserError) as found:
        wrong()

    assert "secret" not in found.value.message + found.value.hint
    assert found.value.hint


def test_an_endpoint_is_sent_what_it_understands() -> None:
    endpoint = Endpoint(
        "https://a.example/v1?api-version=2", structured="words", completion_cap="max_completion_tokens"
    )
    line = HttpLine(Teacher("t", "m", (endpoint,)), endpoint)
    asked = {
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 5,
        "seed": 7,
        "response_format": {"type": "json_object"},
    }

    sent = line.said(asked, 2)

    assert (sent["model"], sent["max_completion_tokens"], sent["seed"]) == ("m", 5, 9)
    assert not sent.keys() & {"max_tokens", "response_format"}
