"""The openai SDK as a transport: the same answers, and the runner's way with faults."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import UserError
from synth.journal import Journal
from synth.request import Answer, Request
from synth.runner import Patience, run
from synth.teachers.openai_api import Api, Endpoint, Teacher
from tests.synth.endpoint import endpoint

CANARY = "sk-canary-0123456789abcdef"


def questions(count: int) -> list[Request]:
    return [
        Request({"messages": [{"role": "user", "content": f"question {n} 问题"}], "top_k": 5}) for n in range(count)
    ]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_every_fault_at_once_loses_nothing_and_answers_as_our_own_client_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: Api
) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("TEACHER_KEY", CANARY)
    faults = {"errors": 0.05, "stray_refusals": 0.05, "drops": 0.03, "torn": 0.02}
    found = []
    with endpoint(latency=0.02, retry_after=0.2, key=CANARY, **faults) as served:
        one = Endpoint(served.url, key_env="TEACHER_KEY", api=api)
        for number, way in enumerate((replace(one, transport="openai"), one)):
            teacher = Teacher("one", "stub", (way,), max_tokens=64)
            with Journal(tmp_path / str(number)) as journal:
                found.append(list(run(questions(150), [teacher], journal)))
            if not number:
                counts, bill = served.counts(), served.bill()

    assert found[0] == found[1]
    assert all(isinstance(outcome, Answer) for outcome in found[0])
    assert set(bill["delivered"].values()) == {1}
    assert counts["too_early"] == 0
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert CANARY.encode() not in written


def test_an_endpoint_that_is_not_there_was_sent_nothing(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    teacher = Teacher("one", "stub", (Endpoint("http://127.0.0.1:1/v1", transport="openai"),))

    with Journal(tmp_path) as journal, pytest.raises(UserError, match="has not answered for"):
        list(run(questions(5), [teacher], journal, patience=Patience(first=1.0)))

    with Journal(tmp_path) as journal:
        assert journal.spent("job").uncertain == 0


def test_without_the_sdk_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    teacher = Teacher("one", "stub", (Endpoint("http://127.0.0.1:1/v1", transport="openai"),))

    with Journal(tmp_path) as journal, pytest.raises(UserError, match="not installed") as error:
        list(run(questions(5), [teacher], journal))

    assert "pip install openai" in error.value.hint


def test_a_teacher_on_this_machine_is_not_asked_by_way_of_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    with endpoint() as served, Journal(tmp_path) as journal:
        teacher = Teacher("one", "stub", (Endpoint(served.url, transport="openai"),), max_tokens=64)
        found = list(run(questions(3), [teacher], journal, patience=Patience(first=1.0)))

    assert all(isinstance(outcome, Answer) for outcome in found)
