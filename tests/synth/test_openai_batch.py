"""The Batch API as a transport: what was ordered is never ordered again, whatever happened in between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.errors import UserError
from synth.budget import Budget
from synth.journal import Journal
from synth.request import Answer, Failure, Request
from synth.runner import Event, Outcome, most, run
from synth.teachers.openai_api import Endpoint, Teacher
from tests.synth.endpoint import Running, Settings, endpoint

JOB = Path(__file__).parent / "job.py"


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with endpoint() as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(served: Running) -> None:
    served.set(**{**asdict(Settings()), "batch_seconds": 0.2})


def questions(count: int, **more: Any) -> list[Request]:
    return [Request({"messages": [{"role": "user", "content": f"question {n} 问题"}], **more}) for n in range(count)]


def teacher(served: Running, **more: Any) -> Teacher:
    return Teacher("one", "stub", (Endpoint(served.url, **{"transport": "batch", **more}),), max_tokens=64)


def asked(home: Path, requests: Any, one: Teacher, **more: Any) -> tuple[list[Outcome], list[Event]]:
    events: list[Event] = []
    with Journal(home) as journal:
        found = list(run(requests, [one], journal, **{"on_event": events.append, **more}))
    return found, events


def left(home: Path) -> list[Path]:
    return [path for path in (home / "synth" / "batches").iterdir() if path.suffix == ".json"]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_answers_are_those_of_single_requests_at_the_same_keys(served: Running, tmp_path: Path, api: str) -> None:
    single, _ = asked(tmp_path / "single", questions(30), teacher(served, transport="http", api=api))

    found, events = asked(tmp_path / "batch", questions(30), teacher(served, api=api))

    assert found == single
    assert (events[-1]["answered"], events[-1]["sent"]) == (30, 30)
    assert [event["status"] for event in events if event["event"] == "batch"][-1] == "completed"
    assert left(tmp_path / "batch") == []


def test_batches_are_cut_by_rows_and_by_bytes(served: Running, tmp_path: Path) -> None:
    asked(tmp_path / "rows", questions(50), teacher(served, batch_rows=20))
    by_rows = served.counts()["batches"]
    served.set()
    asked(tmp_path / "bytes", questions(50), teacher(served, batch_bytes=5_000))
    by_bytes = served.counts()["batches"]

    assert by_rows == 3
    assert 2 <= by_bytes <= 6


def test_single_faults_are_asked_again_and_wrong_requests_are_not(served: Running, tmp_path: Path) -> None:
    served.set(errors=0.1, stray_refusals=0.1, bad=0.1)

    found, _ = asked(tmp_path, questions(100), teacher(served))

    wrong = [outcome for outcome in found if isinstance(outcome, Failure)]
    assert {failure.reason for failure in wrong} == {"bad_request"}
    assert 0 < len(wrong) == served.counts()["bad"]
    assert set(served.bill()["billed"].values()) == {1}
    assert left(tmp_path) == []


def test_calls_that_fail_although_they_were_carried_out_order_nothing_twice(served: Running, tmp_path: Path) -> None:
    served.set(batch_faults=0.35)

    found, _ = asked(tmp_path, questions(40), teacher(served, batch_rows=10))

    assert all(isinstance(outcome, Answer) for outcome in found)
    assert set(served.bill()["billed"].values()) == {1}
    assert served.counts()["batches"] == 4


@pytest.mark.parametrize("ends", ["expired", "cancelled"])
def test_what_a_batch_did_not_come_to_is_asked_again(served: Running, tmp_path: Path, ends: str) -> None:
    served.set(batch_ends=ends, batch_share=0.7)

    found, _ = asked(tmp_path, questions(20), teacher(served), on_event=mend_after(served, 2))

    assert all(isinstance(outcome, Answer) for outcome in found)
    assert set(served.bill()["billed"].values()) == {1}
    assert served.counts()["batches"] >= 2
    assert left(tmp_path) == []


def mend_after(served: Running, batches: int) -> Any:
    """Let batches complete once so many have ended otherwise."""
    seen: Counter[str] = Counter()

    def on_event(event: Event) -> None:
        if event["event"] == "batch" and event["status"] in ("expired", "cancelled", "failed"):
            seen["ended"] += 1
            if seen["ended"] == batches:
                served.change(batch_ends="completed")

    return on_event


def test_a_batch_that_is_turned_down_is_said_and_can_be_mended(served: Running, tmp_path: Path) -> None:
    served.set(batch_ends="failed")

    with pytest.raises(UserError, match="takes no such batch: invalid_request This batch is wrong") as error:
        asked(tmp_path, questions(5), teacher(served))
    served.change(batch_ends="completed")
    found, _ = asked(tmp_path, questions(5), teacher(served))

    assert "transport: batch" in error.value.hint
    assert all(isinstance(outcome, Answer) for outcome in found)


def test_a_key_that_is_wrong_is_said_at_once(served: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "sk-canary-0123456789abcdef"
    monkeypatch.setenv("TEACHER_KEY", canary)
    served.set(key="another")

    with pytest.raises(UserError, match="refuses us: 401") as error:
        asked(tmp_path, questions(5), teacher(served, key_env="TEACHER_KEY"))

    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert canary not in error.value.message + written.decode(errors="replace")


def test_a_budget_counts_what_is_ordered_and_what_is_kept(served: Running, tmp_path: Path) -> None:
    one = teacher(served)
    budget = Budget(tokens=2 * most(questions(1)[0], [one]).tokens)

    found, _ = asked(tmp_path, questions(60), one, budget=budget)

    answered = sum(isinstance(outcome, Answer) for outcome in found)
    assert 5 < answered < 60
    assert {outcome.reason for outcome in found if isinstance(outcome, Failure)} == {"budget"}
    assert served.counts()["tokens"] <= (budget.tokens or 0)


def job(home: Path, served: Running, count: int, out: Path, **more: Any) -> subprocess.Popen[bytes]:
    """A job in a process of its own."""
    said = orjson.dumps({"transport": "batch", **more}).decode()
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    return subprocess.Popen([sys.executable, str(JOB), str(home), served.url, str(count), str(out), said], env=path)


def test_who_stops_waiting_finds_the_answers_later_and_pays_nothing(served: Running, tmp_path: Path) -> None:
    served.set(batch_seconds=4.0)

    process = job(tmp_path, served, 20, tmp_path / "out")
    while not served.counts()["batches"]:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    with Journal(tmp_path) as journal:
        reserved = journal.spent("job").reserved
    assert job(tmp_path, served, 20, tmp_path / "out").wait(60) == 0

    with Journal(tmp_path) as journal:
        spent = journal.spent("job")
    assert reserved == 20
    assert (served.counts()["batches"], spent.uncertain, spent.reserved, spent.answers) == (1, 0, 0, 20)
    assert left(tmp_path) == []


def test_eight_kills_order_nothing_twice_and_change_no_byte(served: Running, tmp_path: Path) -> None:
    served.set(batch_seconds=1.5)
    chance = random.Random(5)
    home, out = tmp_path / "home", tmp_path / "out"
    killed = 0
    for _ in range(8):
        process = job(home, served, 60, out, batch_rows=20)
        time.sleep(0.3 + 1.2 * chance.random())
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert job(home, served, 60, out, batch_rows=20).wait(120) == 0
    assert job(tmp_path / "calm", served, 60, tmp_path / "whole", transport="http").wait(120) == 0

    assert killed > 2
    # The calm job billed each once more.
    assert set(served.bill()["billed"].values()) == {2}
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()
    with Journal(home) as journal:
        spent = journal.spent("job")
    # What a kill met before it was written down as ordered counts as perhaps billed.
    assert (spent.answers, spent.reserved) == (60, 0)
    assert left(home) == []


@pytest.mark.parametrize("moment", ["before it is ordered", "before its id is known", "before its answers are kept"])
def test_a_kill_at_the_worst_moment_orders_nothing_twice(served: Running, tmp_path: Path, moment: str) -> None:
    script = (
        "import sys, os; from pathlib import Path; from synth.teachers import openai_batch as b; "
        "from synth.runner import run; from synth.journal import Journal; "
        "from tests.synth.test_openai_batch import questions; from synth.teachers.openai_api import *\n"
        "async def die(*_, **__): os._exit(9)\n"
        "kept = b.BatchLine._note\n"
        "def die_at_id(self, order, said):\n"
        "    if 'batch' in said: os._exit(9)\n"
        "    kept(self, order, said)\n"
        f"moment = {moment!r}\n"
        "if moment == 'before it is ordered': b.BatchLine._send = die\n"
        "elif moment == 'before its id is known': b.BatchLine._note = die_at_id\n"
        "else: b.BatchLine._collect = die\n"
        "one = Teacher('one', 'stub', (Endpoint(sys.argv[2], transport='batch'),), max_tokens=64)\n"
        "list(run(questions(10), [one], Journal(Path(sys.argv[1]))))\n"
    )
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path), served.url], env=path, check=False)

    found, _ = asked(tmp_path, questions(10), teacher(served))

    assert died.returncode == 9
    assert all(isinstance(outcome, Answer) for outcome in found)
    assert set(served.bill()["billed"].values()) == {1}
    assert served.counts()["batches"] == 1
    with Journal(tmp_path) as journal:
        assert journal.spent("job").uncertain == 0
    assert left(tmp_path) == []


def test_a_batch_the_endpoint_does_not_know_is_not_bought_again_unasked(served: Running, tmp_path: Path) -> None:
    served.set(batch_seconds=30.0)
    process = job(tmp_path, served, 10, tmp_path / "out")
    while not served.counts()["batches"] or b'"batch":' not in b"".join(one.read_bytes() for one in left(tmp_path)):
        time.sleep(0.05)
    process.kill()
    process.wait()
    with endpoint() as other, pytest.raises(UserError, match="refuses us: 404") as error:
        for path in left(tmp_path):
            path.write_bytes(path.read_bytes().replace(served.url.encode(), other.url.encode()))
        asked(tmp_path, [Request({"messages": [{"role": "user", "content": "question 3"}]})], teacher(other))

    assert left(tmp_path)[0].name in error.value.hint
