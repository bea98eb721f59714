"""The limiter against endpoints played out in no time: it is told nothing, and finds what each can take."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from synth.limiter import Limiter


@dataclass
class Play:
    """An endpoint and a client with `requests` to ask, event by event."""

    requests: int
    slots: int = 64
    latency: float = 0.2
    jitter: float = 0.0
    refuses: bool = False
    per_second: float = 0.0
    tells: bool = False
    stray: float = 0.0
    retry_after: float = 1.0
    slots_later: tuple[float, int] = (1e9, 0)
    limiter: Limiter = field(default_factory=lambda: Limiter(0.0))
    refused: int = 0
    sent: int = 0
    early: int = 0
    limits: list[tuple[float, float]] = field(default_factory=list)

    def run(self) -> float:
        """Play to the end; the seconds it takes."""
        chance = random.Random(7)
        events: list[tuple[float, int, str, Any]] = []
        later: list[float] = []
        waiting: deque[float] = deque()
        now = filled = 0.0
        busy = done = number = 0
        left, allowance = self.requests, self.per_second

        def plan(after: float, kind: str, sent: float) -> None:
            nonlocal number
            number += 1
            heapq.heappush(events, (now + after, number, kind, sent))

        def send() -> None:
            nonlocal left
            while self.limiter.room(now):
                if later and later[0] <= now:
                    heapq.heappop(later)
                elif left:
                    left -= 1
                else:
                    return
                self.limiter.sent(now)
                self.sent += 1
                plan(chance.uniform(0.0005, 0.0015), "arrives", now)

        def serve(sent: float) -> None:
            nonlocal busy
            busy += 1
            plan(self.latency * (1 + self.jitter * chance.expovariate(1)), "served", sent)

        plan(0.0, "tick", 0.0)
        while done < self.requests:
            now, _, kind, sent = heapq.heappop(events)
            slots = self.slots if now < self.slots_later[0] else self.slots_later[1]
            if kind == "tick":
                self.limits.append((now, self.limiter.limit))
                plan(0.01, "tick", 0.0)
            elif kind == "arrives":
                allowance, filled = min(self.per_second, allowance + (now - filled) * self.per_second), now
                spent = self.per_second and allowance < 1
                if spent or chance.random() < self.stray or (self.refuses and busy >= slots):
                    plan(0.001, "refused", sent)
                    continue
                allowance -= 1
                if busy < slots:
                    serve(sent)
                else:
                    waiting.append(sent)
            elif kind == "served":
                busy -= 1
                plan(0.001, "answered", sent)
                while waiting and busy < slots:
                    serve(waiting.popleft())
            elif kind == "answered":
                done += 1
                self.limiter.answered(now, now - sent)
                if self.tells:
                    self.limiter.told(now, "requests", 60 * self.per_second, max(0.0, allowance))
            else:
                self.refused += 1
                self.limiter.refused(now, sent, self.retry_after)
                heapq.heappush(later, now + self.retry_after)
            send()
        return now


@pytest.mark.parametrize("slots", [1, 8, 64, 100, 256])
def test_a_queueing_endpoint_is_kept_busy(slots: int) -> None:
    play = Play(requests=slots * 80, slots=slots)

    seconds = play.run()

    assert play.requests / seconds > 0.95 * slots / 0.2


@pytest.mark.parametrize("slots", [64, 256])
def test_a_queue_at_the_endpoint_stays_short(slots: int) -> None:
    play = Play(requests=slots * 200, slots=slots)

    play.run()

    assert slots <= play.limits[-1][1] < 1.3 * slots


def test_answers_of_all_lengths_are_no_trouble() -> None:
    play = Play(requests=20_000, slots=64, jitter=1.0)

    seconds = play.run()

    assert play.requests / seconds > 0.95 * 64 / 0.4


@pytest.mark.parametrize("slots", [4, 64, 256])
def test_an_endpoint_that_refuses_is_used_to_nine_tenths_and_hardly_bothered(slots: int) -> None:
    play = Play(requests=slots * 100, slots=slots, refuses=True)

    seconds = play.run()

    assert play.requests / seconds > 0.9 * slots / 0.2
    assert play.refused < max(32, 0.02 * play.sent)  # 32 are in flight before anything is known


def test_refusals_by_chance_are_no_ceiling() -> None:
    play = Play(requests=10_000, slots=64, stray=0.02)

    seconds = play.run()

    assert play.requests / seconds > 0.9 * 64 / 0.2


def test_a_rate_that_is_told_is_kept_without_a_refusal() -> None:
    play = Play(requests=6_000, slots=10_000, per_second=300, tells=True)

    seconds = play.run()

    assert play.refused == 0
    assert play.requests / seconds > 290


def test_a_rate_that_is_given_is_kept_without_a_refusal() -> None:
    play = Play(requests=6_000, slots=10_000, per_second=300, limiter=Limiter(0.0, requests_per_minute=18_000))

    seconds = play.run()

    assert play.refused == 0
    assert play.requests / seconds > 290


def test_a_rate_that_nobody_tells_is_learnt_from_refusals() -> None:
    play = Play(requests=30_000, slots=10_000, jitter=1.0, per_second=300)

    seconds = play.run()

    assert play.refused < 0.02 * play.sent
    assert play.requests / seconds > 0.95 * 300


def test_capacity_that_comes_later_is_found() -> None:
    play = Play(requests=20_000, slots=64, slots_later=(20.0, 128))

    seconds = play.run()

    assert seconds < 1.1 * (20 + (20_000 - 20 * 320) / 640)


def test_capacity_that_goes_is_borne() -> None:
    play = Play(requests=20_000, slots=128, slots_later=(10.0, 32), refuses=True)

    seconds = play.run()

    assert seconds < 1.1 * (10 + (20_000 - 10 * 640) / 160)
    assert play.refused < 0.05 * play.sent


def test_tokens_a_minute_are_spread_over_the_minute() -> None:
    limiter = Limiter(0.0, tokens_per_minute=60_000)
    now, sent = 0.0, 0

    while now < 30:
        while limiter.room(now, 100):
            limiter.sent(now, 100)
            limiter.answered(now + 0.001, 0.001)
            sent += 100
        now += max(0.001, limiter.wait(now, 100))

    assert 29_000 <= sent <= 32_000


def test_a_request_larger_than_the_burst_is_let_through_in_time() -> None:
    limiter = Limiter(0.0, tokens_per_minute=600)

    assert limiter.room(0.0, 5_000)
    limiter.sent(0.0, 5_000)
    limiter.answered(1.0, 1.0)

    assert not limiter.room(100.0, 10)
    assert limiter.room(510.0, 10)


def test_when_nothing_gets_through_everybody_waits_as_long_as_was_asked() -> None:
    limiter = Limiter(0.0)
    limiter.sent(0.0)
    limiter.answered(0.2, 0.2)
    for _ in range(5):
        limiter.sent(10.0)

    for _ in range(5):
        limiter.refused(10.1, 10.0, 20.0)

    assert not limiter.room(29.0)
    assert limiter.room(30.2)
