"""The engine against a real endpoint that misbehaves: nothing lost, nothing paid for twice, nothing over the budget."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from synth.budget import PICO, Budget, Price
from synth.journal import FILE, Journal
from synth.request import Answer, Failure, Request
from synth.runner import Event, Outcome, Patience, most, request_key, run
from synth.teachers.openai_api import Endpoint, Teacher
from tests.synth.endpoint import Running, Settings, endpoint

JOB = Path(__file__).parent / "job.py"
SOON = Patience(hung=1.0, first=3.0, endpoint=3.0, grace=2.0)


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with endpoint() as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(served: Running) -> None:
    served.set(**{**asdict(Settings()), "latency": 0.02})


def questions(count: int, **more: Any) -> list[Request]:
    return [Request({"messages": [{"role": "user", "content": f"question {n} 问题"}], **more}) for n in range(count)]


def teacher(*urls: str, **more: Any) -> Teacher:
    return Teacher("one", "stub", tuple(Endpoint(url) for url in urls), **{"max_tokens": 64, **more})


def asked(home: Path, requests: Any, teachers: list[Teacher], **more: Any) -> tuple[list[Outcome], list[Event]]:
    """What comes out, and the events."""
    events: list[Event] = []
    with Journal(home) as journal:
        budget = more.pop("budget", None)
        found = list(run(requests, teachers, journal, budget, **{"patience": SOON, "on_event": events.append, **more}))
    return found, events


def paid_again(served: Running) -> int:
    return sum(count - 1 for count in served.bill()["billed"].values())


def test_answers_come_in_the_order_of_requests(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.02, jitter=3.0)
    requests = questions(300)

    found, events = asked(tmp_path, requests, [teacher(served.url)], total=300)

    assert [outcome.key for outcome in found] == [request_key(request, [teacher(served.url)]) for request in requests]
    assert all(isinstance(one, Answer) and f"question {n} " in (one.text or "") for n, one in enumerate(found))
    assert events[-1]["event"] == "end" and events[-1]["done"] == events[-1]["total"] == 300


class Watched(Journal):
    """A journal that notes how much of the file was there whenever a flush began."""

    def __init__(self, home: Path) -> None:
        self.flushed = 0
        super().__init__(home)

    def sync(self) -> None:
        there = (self.folder / FILE).stat().st_size
        super().sync()
        self.flushed = there


def test_an_answer_counts_only_when_a_flush_began_after_it_was_written(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.0)
    early = []
    with Watched(tmp_path) as journal:
        for outcome in run(questions(1_500), [teacher(served.url)], journal, patience=SOON):
            end = (tmp_path / "synth" / FILE).read_bytes()[: journal.flushed]
            early += [outcome.key] if f"a {outcome.key}".encode() not in end else []

    assert early == []


def test_the_same_requests_are_never_paid_for_again_by_any_job(served: Running, tmp_path: Path) -> None:
    requests = questions(100)
    first, _ = asked(tmp_path, requests, [teacher(served.url)], job="first")

    changed = [*requests[:50], Request({"messages": [{"role": "user", "content": "edited"}]}), *requests[51:]]
    again, _ = asked(tmp_path, requests, [teacher(served.url)], job="second")
    edited, events = asked(tmp_path, changed, [teacher(served.url)], job="third")

    assert again == first
    assert [one for n, one in enumerate(edited) if n != 50] == [one for n, one in enumerate(first) if n != 50]
    assert served.counts()["billed"] == 101
    assert (events[-1]["cached"], events[-1]["answered"]) == (99, 1)


def test_another_model_revision_or_sample_is_another_answer_and_another_endpoint_is_not(
    served: Running, tmp_path: Path
) -> None:
    request = questions(1)[0]
    here, there = teacher(served.url), teacher(f"{served.url}/")

    keys = {
        request_key(request, [here]),
        request_key(request, [Teacher("one", "other", here.endpoints)]),
        request_key(request, [Teacher("one", "stub", here.endpoints, revision="2")]),
        request_key(Request(request.body, sample=1), [here]),
    }

    assert len(keys) == 4
    assert request_key(request, [here]) == request_key(request, [there])
    assert request_key(Request(dict(reversed(list({**request.body, "top_p": 1}.items())))), [here]) == request_key(
        Request({**request.body, "top_p": 1}), [here]
    )


def test_a_request_that_comes_twice_in_one_job_is_paid_for_once(served: Running, tmp_path: Path) -> None:
    found, _ = asked(tmp_path, questions(20) * 3, [teacher(served.url)])

    assert found[:20] == found[20:40] == found[40:]
    assert served.counts()["billed"] == 20


def test_requests_that_come_of_answers_are_asked_in_the_same_run(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.02, jitter=3.0)
    waiting, given, found = deque(questions(20)), 0, []

    def requests() -> Iterator[Request | None]:
        nonlocal given
        while given < 60:
            given += bool(waiting)
            yield waiting.popleft() if waiting else None

    with Journal(tmp_path) as journal:
        for outcome in run(requests(), [teacher(served.url)], journal):
            if isinstance(outcome, Answer):
                found.append(outcome)
                waiting.append(Request({"messages": [{"role": "user", "content": f"and after {outcome.key}"}]}))

    assert len({outcome.key for outcome in found}) == 60
    for before, after in zip(found, found[20:], strict=False):
        assert f"and after {before.key}" in (after.text or "")


def test_two_processes_with_the_same_job_at_once_pay_once(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.05)

    processes = [
        subprocess.Popen([sys.executable, JOB, str(tmp_path), served.url, "300", str(tmp_path / str(n))], env=path())
        for n in range(2)
    ]

    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()
    assert served.counts()["billed"] == 300


def test_every_fault_at_once_loses_nothing_and_pays_for_nothing_again(served: Running, tmp_path: Path) -> None:
    storm(served, tmp_path, 1_000)


@pytest.mark.soak
def test_every_fault_at_once_over_twenty_thousand_requests(served: Running, tmp_path: Path) -> None:
    storm(served, tmp_path, 20_000)


def storm(served: Running, home: Path, count: int) -> None:
    faults = {
        "errors": 0.05,
        "stray_refusals": 0.02,
        "drops": 0.01,
        "hangs": 0.003,
        "slow_bodies": 0.003,
        "torn": 0.002,
    }
    served.set(latency=0.05, retry_after=0.5, slow_seconds=3.0, **faults)

    found, events = asked(home, questions(count), [teacher(served.url)])

    counts, bill, end = served.counts(), served.bill(), events[-1]
    assert [type(outcome) for outcome in found] == [Answer] * count
    assert set(bill["delivered"].values()) == {1}
    # A body that was cut off had been billed, and it had not arrived.
    assert sum(bill["billed"].values()) - count == counts["torn"] + counts["nobody_there"]
    assert counts["nobody_there"] == 0
    assert counts["too_early"] == 0
    assert end["lost"] == counts["hangs"] + counts["drops"] + counts["torn"]
    assert counts["requests"] == count + end["lost"] + counts["errors"] + counts["refused"]


def test_an_endpoint_that_refuses_what_is_too_much_is_used_well(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.2, slots=16, over="refuse")

    found, _ = asked(tmp_path, questions(800), [teacher(served.url)])

    counts = served.counts()
    assert all(isinstance(outcome, Answer) for outcome in found)
    assert counts["refused"] < 0.08 * counts["requests"]
    assert counts["too_early"] == 0


@pytest.mark.parametrize("how", ["told", "given"])
def test_a_rate_limit_is_kept_and_hardly_a_request_is_wasted(served: Running, tmp_path: Path, how: str) -> None:
    served.set(latency=0.05, slots=1000, requests_per_minute=12_000, headers=how == "told")
    one = Endpoint(served.url, requests_per_minute=12_000 if how == "given" else 0)

    found, _ = asked(tmp_path, questions(1_000), [Teacher("one", "stub", (one,), max_tokens=64)])

    counts = served.counts()
    assert all(isinstance(outcome, Answer) for outcome in found)
    assert counts["refused"] < 0.02 * counts["requests"]


def test_a_slow_answer_that_flows_is_waited_for(served: Running, tmp_path: Path) -> None:
    served.set(slow_bodies=0.02, slow_seconds=4.0)

    found, events = asked(tmp_path, questions(200), [teacher(served.url)], patience=Patience(hung=0.5))

    assert all(isinstance(outcome, Answer) for outcome in found)
    assert served.counts()["slow_bodies"] > 0
    assert (events[-1]["lost"], paid_again(served)) == (0, 0)


def test_a_long_answer_among_short_ones_is_waited_for(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.02, long=0.01, long_seconds=4.0, text_tokens=4)

    found, events = asked(
        tmp_path, questions(300), [teacher(served.url, max_tokens=2_000)], patience=Patience(hung=0.5)
    )

    assert all(isinstance(outcome, Answer) for outcome in found)
    assert served.counts()["long"] > 0
    assert (events[-1]["lost"], paid_again(served)) == (0, 0)


def test_an_endpoint_that_refuses_for_ever_is_waited_for_only_so_long(served: Running, tmp_path: Path) -> None:
    found, _ = asked(tmp_path, questions(20), [teacher(served.url)])
    served.set(requests_per_minute=0.001, burst=0.5, retry_after=0.2)

    with pytest.raises(UserError, match="has refused every request for") as error:
        asked(tmp_path, questions(40), [teacher(served.url)], patience=Patience(refused=2.0))
    counts = served.counts()
    served.set(requests_per_minute=0)
    again, _ = asked(tmp_path, questions(40), [teacher(served.url)])

    assert "Rate limit reached" in error.value.message and "goes on later" in error.value.hint
    assert (counts["too_early"], counts["billed"]) == (0, 0)
    assert again[:20] == found
    assert served.counts()["billed"] == 20


def test_an_endpoint_that_asks_for_a_wait_beyond_all_patience_says_so_at_once(served: Running, tmp_path: Path) -> None:
    served.set(requests_per_minute=0.001, burst=0.5, retry_after=7_200)

    with pytest.raises(UserError, match=r"asks us to wait 7,[12]") as error:
        asked(tmp_path, questions(40), [teacher(served.url)])

    assert "of the hour or the day" in error.value.hint


def test_a_rate_limit_that_works_is_borne_however_long(served: Running, tmp_path: Path) -> None:
    served.set(requests_per_minute=120, burst=1, retry_after=0.5)

    found, events = asked(tmp_path, questions(16), [teacher(served.url)], patience=Patience(refused=2.0))

    assert all(isinstance(outcome, Answer) for outcome in found)
    assert events[-1]["seconds"] > 4


def test_answers_elsewhere_keep_a_job_going_where_one_endpoint_refuses(served: Running, tmp_path: Path) -> None:
    served.set(requests_per_minute=0.001, burst=0.5, retry_after=0.2)
    with endpoint(latency=0.3, slots=2) as slow:
        found, _ = asked(
            tmp_path, questions(30), [teacher(served.url, slow.url)], patience=Patience(refused=2.0, endpoint=3.0)
        )

    assert all(isinstance(outcome, Answer) for outcome in found)


def test_what_costs_less_is_still_asked_when_the_budget_does_not_cover_the_dearest(
    served: Running, tmp_path: Path
) -> None:
    one = teacher(served.url)
    small, dear = questions(1)[0], Request({**questions(2)[1].body, "max_tokens": 5_000})

    found, events = asked(tmp_path, [dear, small, dear], [one], budget=Budget(tokens=most(small, [one]).tokens))

    assert [type(outcome) for outcome in found] == [Failure, Answer, Failure]
    assert [event["event"] for event in events].count("budget_spent") == 1


def test_bad_requests_are_not_asked_again(served: Running, tmp_path: Path) -> None:
    served.set(bad=0.1)

    found, _ = asked(tmp_path, questions(200), [teacher(served.url)])

    bad = [outcome for outcome in found if isinstance(outcome, Failure)]
    assert 0 < len(bad) == served.counts()["bad"]
    assert {(failure.reason, failure.detail) for failure in bad} == {("bad_request", "400 This request is wrong")}


def test_what_fails_for_ever_is_given_up_and_the_rest_goes_on(served: Running, tmp_path: Path) -> None:
    served.set(errors=0.4)

    found, _ = asked(tmp_path, questions(100), [teacher(served.url)], patience=Patience(tries=2))

    reasons = Counter(outcome.reason for outcome in found if isinstance(outcome, Failure))
    assert set(reasons) == {"tries"}
    assert 1 <= reasons["tries"] <= 40


def test_requests_that_fail_each_time_are_not_taken_for_a_dead_endpoint(served: Running, tmp_path: Path) -> None:
    served.set(poison=0.2)

    found, events = asked(tmp_path, questions(200), [teacher(served.url)], patience=Patience(tries=4))

    reasons = Counter(outcome.reason for outcome in found if isinstance(outcome, Failure))
    assert reasons["tries"] > 20
    assert sum(isinstance(outcome, Answer) for outcome in found) + reasons["tries"] == 200
    assert not [event for event in events if event["event"] == "endpoint_down"]


def test_a_dead_endpoint_is_told_from_a_slow_one(served: Running, tmp_path: Path) -> None:
    served.set(latency=5.0)
    dead = "http://127.0.0.1:1/v1"

    found, events = asked(tmp_path, questions(10), [teacher(served.url)])
    with pytest.raises(UserError, match="has not answered for") as error:
        asked(tmp_path, questions(20), [teacher(dead)])

    assert all(isinstance(outcome, Answer) for outcome in found)
    assert not [event for event in events if event["event"] == "endpoint_down"]
    assert "127.0.0.1:1" in error.value.message
    assert "see that it runs" in error.value.hint


def test_an_endpoint_that_is_down_for_a_while_is_waited_for(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.05, slots=8)

    def break_and_mend() -> None:
        time.sleep(1.0)
        served.change(status=500)
        time.sleep(4.0)
        served.change(status=200, slots=64)

    thread = threading.Thread(target=break_and_mend)
    thread.start()
    found, events = asked(tmp_path, questions(1_000), [teacher(served.url)], patience=Patience(tries=3))
    thread.join()

    assert all(isinstance(outcome, Answer) for outcome in found)
    assert [event["event"] for event in events if "because" in event or event["event"] == "endpoint_up"] == [
        "endpoint_down",
        "endpoint_up",
    ]


def test_of_two_endpoints_each_gets_what_it_sustains(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.1, slots=8)
    with endpoint(latency=0.1, slots=32) as large:
        found, _ = asked(tmp_path, questions(2_000), [teacher(served.url, large.url)])
        share = large.counts()["billed"] / 2_000

    assert all(isinstance(outcome, Answer) for outcome in found)
    assert 0.7 < share < 0.9
    assert paid_again(served) == 0


def test_when_one_endpoint_is_dead_the_other_does_its_work(served: Running, tmp_path: Path) -> None:
    found, _ = asked(tmp_path, questions(200), [teacher("http://127.0.0.1:1/v1", served.url)])

    assert all(isinstance(outcome, Answer) for outcome in found)


@pytest.mark.parametrize(
    ("settings", "says", "hint"),
    [
        ({"status": 401, "message": "Incorrect API key"}, "401 Incorrect API key", "key_env"),
        ({"status": 404, "message": "The model `stub` does not exist"}, "does not exist", "'stub'"),
        ({"status": 429, "code": "insufficient_quota", "message": "You exceeded your quota"}, "quota", "no money left"),
        ({"status": 307, "message": "elsewhere"}, "307", "the address that it points to"),
    ],
)
def test_an_endpoint_that_refuses_us_is_said_at_once(
    served: Running, tmp_path: Path, settings: dict[str, Any], says: str, hint: str
) -> None:
    served.set(**settings)

    with pytest.raises(UserError) as error:
        asked(tmp_path, questions(100), [teacher(served.url)])

    assert says in error.value.message
    assert hint in error.value.hint
    assert served.counts()["requests"] <= 100


def test_a_key_is_found_in_nothing_that_is_written_or_raised(
    served: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "sk-canary-0123456789abcdef"
    monkeypatch.setenv("TEACHER_KEY", canary)
    one = Teacher("one", "stub", (Endpoint(served.url, key_env="TEACHER_KEY"),), max_tokens=64)

    served.set(key=canary, text=f"your key is {canary}")
    found, events = asked(tmp_path, questions(5), [one])
    served.set(key="another")
    with pytest.raises(UserError) as error:
        asked(tmp_path / "other", questions(5), [one])

    assert [outcome.text for outcome in found if isinstance(outcome, Answer)] == ["your key is ***"] * 5
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert canary.encode() not in written
    assert canary not in repr((found, events, one)) + str(error.value) + error.value.hint + caplog.text


SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
ASK_JSON = {"response_format": {"type": "json_schema", "json_schema": {"name": "mark", "schema": SCHEMA}}}


def test_an_answer_that_fits_its_schema_comes_with_its_value(served: Running, tmp_path: Path) -> None:
    served.set(text='{"score": 5}')

    found, _ = asked(tmp_path, questions(3, **ASK_JSON), [teacher(served.url)])

    assert [outcome.value for outcome in found if isinstance(outcome, Answer)] == [{"score": 5}] * 3


def test_an_answer_that_does_not_fit_is_asked_for_once_more(served: Running, tmp_path: Path) -> None:
    served.set(text="needs repair")

    found, events = asked(tmp_path, questions(3, **ASK_JSON), [teacher(served.url)])
    again, _ = asked(tmp_path, questions(3, **ASK_JSON), [teacher(served.url)])

    assert [outcome.value for outcome in found if isinstance(outcome, Answer)] == [{"score": 3}] * 3
    assert (events[-1]["repairs"], served.counts()["billed"]) == (3, 6)
    assert again == found


def test_an_answer_that_does_not_fit_twice_is_a_failure_with_its_reason(served: Running, tmp_path: Path) -> None:
    served.set(text="no JSON at all")

    found, _ = asked(tmp_path, questions(3, **ASK_JSON), [teacher(served.url)])

    assert [outcome.reason for outcome in found if isinstance(outcome, Failure)] == ["not_json"] * 3
    assert served.counts()["billed"] == 6


def test_an_endpoint_that_knows_no_schemas_is_found_out_and_told_in_words(served: Running, tmp_path: Path) -> None:
    served.set(text='{"score": 5}', refuse_schema=True)

    found, _ = asked(tmp_path, questions(200, **ASK_JSON), [teacher(served.url)])

    assert all(isinstance(outcome, Answer) and outcome.value == {"score": 5} for outcome in found)
    assert served.counts()["billed"] == 200


def test_an_endpoint_that_wants_the_other_name_of_the_cap_is_found_out(served: Running, tmp_path: Path) -> None:
    served.set(max_completion_tokens_only=True)

    found, _ = asked(tmp_path, questions(100), [teacher(served.url)])

    assert all(isinstance(outcome, Answer) for outcome in found)


def test_a_schema_that_cannot_be_used_is_said_before_anything_is_paid(served: Running, tmp_path: Path) -> None:
    wrong = {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "strin"}}}}

    with pytest.raises(UserError, match="JSON Schema"):
        asked(tmp_path, questions(3, **wrong), [teacher(served.url)])

    assert served.counts()["requests"] == 0


def test_a_budget_is_spent_nearly_to_the_end_and_never_over(served: Running, tmp_path: Path) -> None:
    price = Price(1, 4)
    one = teacher(served.url, price=price)
    requests = questions(400)
    cost = 4 * most(requests[0], [one]).money / PICO

    found, events = asked(tmp_path, requests, [one], budget=Budget(money=Decimal(str(cost))))

    paid = [outcome for outcome in found if isinstance(outcome, Answer)]
    rest = [outcome.reason for outcome in found if isinstance(outcome, Failure)]
    spent = sum(price.of(answer.prompt_tokens, answer.completion_tokens) for answer in paid) / PICO
    assert set(rest) == {"budget"}
    assert 0.6 * cost < spent <= cost
    assert events[-1]["job_money"] == pytest.approx(spent)
    assert served.counts()["billed"] == len(paid)


def test_what_is_told_as_spent_is_no_reservation_and_only_grows(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.5)

    _, events = asked(tmp_path, questions(300), [teacher(served.url, price=Price(1, 4))])

    told = [(event["job_tokens"], event["job_money"]) for event in events if event["event"] in ("progress", "end")]
    first = next(event for event in events if event["event"] == "progress")
    assert told == sorted(told)
    assert len(told) > 2
    assert first["in_flight"] > 0
    assert first["job_tokens"] == sum(first["tokens"].values())


def test_a_budget_counts_what_earlier_runs_of_the_job_spent(served: Running, tmp_path: Path) -> None:
    budget = Budget(tokens=4_000)

    first, _ = asked(tmp_path, questions(100), [teacher(served.url)], budget=budget)
    second, _ = asked(tmp_path, questions(200), [teacher(served.url)], budget=budget)
    other, _ = asked(tmp_path, questions(200), [teacher(served.url)], budget=budget, job="another")

    assert second[:100] == first
    assert served.counts()["tokens"] <= 8_000
    assert sum(isinstance(outcome, Answer) for outcome in other) > sum(isinstance(one, Answer) for one in second)


def test_a_budget_too_small_for_anything_asks_nothing(served: Running, tmp_path: Path) -> None:
    found, _ = asked(tmp_path, questions(5), [teacher(served.url)], budget=Budget(tokens=10))

    assert [outcome.reason for outcome in found if isinstance(outcome, Failure)] == ["budget"] * 5
    assert served.counts()["requests"] == 0


def test_an_endpoint_that_does_not_say_what_it_billed_is_taken_at_the_most(served: Running, tmp_path: Path) -> None:
    served.set(usage=False)
    one = teacher(served.url)
    budget = Budget(tokens=3 * most(questions(1)[0], [one]).tokens)

    found, _ = asked(tmp_path, questions(10), [one], budget=budget)

    assert sum(isinstance(outcome, Answer) for outcome in found) == 3


@pytest.mark.slow
def test_no_budget_is_exceeded_in_random_runs(served: Running, tmp_path: Path) -> None:
    budgets(served, tmp_path, 30)


@pytest.mark.soak
def test_no_budget_is_exceeded_in_a_thousand_random_runs(served: Running, tmp_path: Path) -> None:
    budgets(served, tmp_path, 1_000)


def budgets(served: Running, home: Path, runs: int) -> None:
    chance = random.Random(11)
    for number in range(runs):
        served.set(
            latency=chance.choice([0.0, 0.01, 0.03]),
            jitter=chance.random(),
            slots=chance.choice([4, 16, 200]),
            over=chance.choice(["queue", "refuse"]),
            retry_after=0.1,
            errors=chance.choice([0, 0, 0, 0.1]),
            drops=chance.choice([0, 0, 0, 0.05]),
            torn=chance.choice([0, 0, 0, 0.1]),
            usage=chance.random() < 0.8,
            tokens_per_byte=chance.choice([0.25, 1.0]),
            text_tokens=chance.choice([0, 10_000]),
        )
        one = teacher(served.url, price=Price(1, 1))
        requests = questions(chance.randint(10, 60))
        one_costs = most(requests[0], [one]).tokens
        tokens = chance.randint(one_costs, one_costs * len(requests) // 2)
        limit = Budget(tokens=tokens) if chance.random() < 0.5 else Budget(money=Decimal(tokens) / 10**6)

        found, _ = asked(home / str(number), requests, [one], budget=limit)

        billed = served.counts()["tokens"]
        assert billed <= tokens, f"run {number}"
        assert len(found) == len(requests)


def path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}


@pytest.mark.slow
def test_twenty_kills_lose_nothing_double_nothing_and_change_no_byte(served: Running, tmp_path: Path) -> None:
    kills(served, tmp_path, 1_000, 20)


@pytest.mark.soak
def test_a_hundred_kills_of_a_job_of_five_thousand(served: Running, tmp_path: Path) -> None:
    kills(served, tmp_path, 5_000, 100)


def kills(served: Running, tmp_path: Path, count: int, times: int) -> None:
    served.set(latency=0.1, slots=32)
    chance = random.Random(3)
    home, out = tmp_path / "home", tmp_path / "out"
    command = [sys.executable, str(JOB), str(home), served.url, str(count)]
    killed = 0
    for number in range(times):
        goal = (number + chance.random()) * count / (times + 1)
        process = subprocess.Popen([*command, str(out)], env=path())
        while process.poll() is None and len(served.bill()["billed"]) < goal:
            time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        (home / "synth" / FILE).read_bytes()
    assert not out.exists()

    subprocess.run([*command, str(out)], env=path(), check=True)

    again, peak = paid_again(served), served.counts()["peak"]
    assert killed == times
    assert len(served.bill()["billed"]) == count
    assert again <= killed * peak
    with Journal(home) as journal:
        assert (len(journal), journal.damaged) == (count, 0)
        assert journal.spent("job").answers == count
    subprocess.run(
        [*command[:2], str(tmp_path / "calm"), *command[3:], str(tmp_path / "whole")], env=path(), check=True
    )
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def test_stopping_early_keeps_what_was_on_its_way(served: Running, tmp_path: Path) -> None:
    served.set(latency=0.3)

    with Journal(tmp_path) as journal:
        outcomes = run(questions(1_000), [teacher(served.url)], journal, patience=SOON)
        next(outcomes)
        outcomes.close()
        held, spent = len(journal), journal.spent("job")

    assert held == served.counts()["billed"] > 1
    assert (spent.reserved, spent.uncertain) == (0, 0)


def test_an_error_in_the_requests_is_raised_where_they_are_read(served: Running, tmp_path: Path) -> None:
    def requests() -> Iterator[Request]:
        yield from questions(3)
        raise LookupError("no such seed")

    with pytest.raises(LookupError, match="no such seed"):
        asked(tmp_path, requests(), [teacher(served.url)])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "no messages"),
        ({"messages": [{"role": "user", "content": "x"}], "n": 3}, "'n'"),
        ({"messages": [{"role": "user", "content": "x"}], "stream": True}, "'stream'"),
        ({"messages": [{"role": "user", "content": "x"}], "model": "m"}, "names a model"),
        ({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": {1, 2}}]}, "cannot be written as JSON"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "cannot be written as JSON"),
    ],
)
def test_a_request_that_cannot_be_asked_is_the_callers_to_mend(
    served: Running, tmp_path: Path, body: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        asked(tmp_path, [Request(body)], [teacher(served.url)])


def test_a_request_goes_to_the_teacher_it_names(served: Running, tmp_path: Path) -> None:
    teachers = [teacher(served.url), Teacher("other", "other-model", (Endpoint(served.url),), max_tokens=9)]
    body = questions(1)[0].body

    found, _ = asked(tmp_path, [Request(body, teacher="one"), Request(body, teacher="other")], teachers)

    assert [outcome.model for outcome in found if isinstance(outcome, Answer)] == ["stub", "other-model"]
    for wrong, says in (("", "names no teacher"), ("three", "'three'")):
        with pytest.raises(UserError, match=says):
            asked(tmp_path, [Request(body, teacher=wrong)], teachers)


def test_no_requests_give_no_answers(served: Running, tmp_path: Path) -> None:
    found, _ = asked(tmp_path, [], [teacher(served.url)])

    assert found == []
