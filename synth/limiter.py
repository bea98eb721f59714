"""How many requests one endpoint can be given at once, found out from how it answers; nobody is asked for a number.

Pure: the clock is handed in, so that a test can run an hour in a moment. In words:

- Slow start. As TCP does (Jacobson 1988), each answer makes room for one more, so that the number in flight doubles in
  every round of answers; as BBR does (Cardwell et al. 2016), that ends when two rounds bring no quarter more. What is
  then needed is what Little's law says, throughput times latency, and 15 % on top: a short queue at the endpoint costs
  nothing and hides the way there and back.
- Cruise. Now and then a little more is tried, for as long as it brings more; what brings a lot starts slow start again.
- Refusals (429). What stays in flight when all refusals are in is the ceiling. A refusal is not made good by another
  request: the next answer makes room. Fewer than a quarter refused is chance, and no ceiling.
- Rates (requests or tokens a minute). Given, told in headers, or learnt: refusals that stop when sending is paced at
  the accepted rate come from a rate, and the pace stays; refusals that do not stop are chance, and the pace goes.
"""

from __future__ import annotations

from dataclasses import dataclass

START = 32
"""In flight at first: enough for a laptop's server to be busy, and little enough for anybody's to bear."""

_GROWTH = 1.25
_MARGIN = 1.15
_REFUSED_SHARE = 0.25
_GROWING_SHARE = 0.05
_STRAY_SHARE = 0.015
_PROBE_SECONDS = (5.0, 30.0)
_STEP, _LARGE_STEP, _CEILING_STEP = 1.1, 1.25, 1.02


@dataclass(slots=True)
class Bucket:
    """So much a minute, spread evenly, with at most `burst` at once."""

    per_minute: float
    burst: float
    level: float
    at: float

    def fill(self, now: float) -> None:
        """Add what has come in since."""
        self.level = min(self.burst, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there. More than a whole burst is let through when the bucket is full."""
        lacking = min(amount, self.burst) - self.level
        return max(0.0, lacking * 60 / self.per_minute)


def bucket(per_minute: float, now: float, burst_seconds: float = 0.5) -> Bucket:
    """A full bucket whose burst is what comes in within `burst_seconds`, at least one."""
    burst = max(1.0, per_minute * burst_seconds / 60)
    return Bucket(per_minute, burst, burst, now)


class Limiter:
    """Says whether one more request may be sent to an endpoint now, and learns from each one that comes back."""

    def __init__(
        self, now: float, *, most: int = 4096, requests_per_minute: float = 0, tokens_per_minute: float = 0
    ) -> None:
        self.limit = float(min(START, most))
        self.in_flight = 0
        self.slow_start = True
        self.ceiling: float | None = None
        """The number in flight over which the endpoint refused, if it did."""
        self.blocked_until = 0.0
        self.requests = bucket(requests_per_minute, now) if requests_per_minute else None
        self.tokens = bucket(tokens_per_minute, now) if tokens_per_minute else None
        self.pace: Bucket | None = None
        """A rate learnt from refusals, where none was given or told."""
        self._given = bool(requests_per_minute), bool(tokens_per_minute)
        self._most = float(most)
        self._latency = 0.0
        self._best = 0.0
        self._best_latency = 0.0
        self._flat = 0
        self._held_until = 0.0
        self._last_answer = now
        self._probe_at = now
        self._probe_every = _PROBE_SECONDS[0]
        self._probe_from: tuple[float, float] | None = None
        self._probed_at = now
        self._probe_refused = 0
        self._step = _STEP
        self._settling = False
        self._rate = 0.0
        self._epoch = -1.0
        self._epoch_held = 0
        self._recent = [0, 0, 0, 0]  # answered and refused, in this latency and in the one before
        self._recent_at = now
        self._share = [0, 0]
        self._share_at = now
        self._share_before = 0.0
        self._stray_until = 0.0
        self._since = now
        self._answers = 0
        self._latencies = 0.0
        self._goal = 0
        self._round_latency = 0.0
        self._round_limit = self.limit
        self._full = False

    def room(self, now: float, tokens: float = 0) -> bool:
        """Whether a request of about so many tokens may be sent now."""
        return self.in_flight < int(self.limit) and not self.wait(now, tokens)

    def wait(self, now: float, tokens: float = 0) -> float:
        """Seconds before time alone allows a request; 0 when only the number in flight is in the way, or nothing."""
        until = max(self.blocked_until, self._held_until) - now
        for kind, amount in ((self.requests, 1.0), (self.pace, 1.0), (self.tokens, tokens)):
            if kind is not None:
                kind.fill(now)
                until = max(until, kind.wait(amount))
        return max(0.0, until)

    def sent(self, now: float, tokens: float = 0) -> None:
        """A request has gone out."""
        if not self.in_flight and now - self._last_answer > 2 * self._latency:
            self._begin(now)  # a pause is not a slow round
        self.in_flight += 1
        self._full |= self.in_flight >= int(self.limit)
        for kind, amount in ((self.requests, 1.0), (self.pace, 1.0), (self.tokens, tokens)):
            if kind is not None:
                kind.fill(now)
                kind.level -= amount

    def answered(self, now: float, latency: float, unused_tokens: float = 0) -> None:
        """A request was answered, `latency` seconds after it was sent, with so many tokens fewer than were thought."""
        if self.tokens is not None and unused_tokens > 0:
            self.tokens.level = min(self.tokens.burst, self.tokens.level + unused_tokens)
        self._goal = self._goal or self.in_flight  # a round that began with nothing in flight is of the first burst
        self.in_flight -= 1
        self._held_until = 0.0
        self._last_answer = now
        self._latency = latency if not self._latency else 0.9 * self._latency + 0.1 * latency
        self._count(now, 0)
        self._answers += 1
        self._latencies += latency
        answered, refused = self._lately()
        # Answers that take longer than those before stand in a queue: wait and see what the round brings.
        queued = latency > 1.5 * self._round_latency > 0
        if self.slow_start and not self._flat and not queued and refused <= _GROWING_SHARE * answered:
            self.limit = min(self._most, self.limit + 1, 2 * self._round_limit)
        if self._answers >= self._goal and now - self._since > 0.02:
            self._round(now)

    def refused(self, now: float, sent: float, retry_after: float) -> None:
        """A request that went out at `sent` was refused: too many, or too fast."""
        self.in_flight -= 1
        self._count(now, 1)
        self._held_until = now + min(1.0, max(0.05, 0.3 * self._latency))
        if sent > self._epoch:  # no refusal of this batch has come before: who is in flight now was sent by then
            self._epoch, self._epoch_held = now, self.in_flight
        else:
            self._epoch_held -= 1
        answered, refused = self._lately()
        over = refused >= 3 and refused > _REFUSED_SHARE * (answered + refused)
        if self.ceiling and self._probe_from and sent > self._probed_at:
            self._probe_refused += 1
            if self._probe_refused >= 3:  # a little over the ceiling is refused: so it still is one
                self.limit, over = self._probe_from[0], True
        if over:
            self._step = _CEILING_STEP
            self.limit = max(1.0, min(self.limit, float(self._epoch_held)))
            self._probe_every = min(_PROBE_SECONDS[1], 2 * self._probe_every) if self.ceiling else _PROBE_SECONDS[0]
            self.ceiling = self.limit
            self._cruise(now)
            self._share, self._share_at = [0, 0], now  # these came from the number in flight, not from a rate
        if not self.in_flight and now - self._last_answer > max(1.0, 3 * self._latency):
            self.blocked_until = max(self.blocked_until, now + retry_after)  # nothing gets through: everybody waits

    def failed(self, now: float) -> None:
        """A request came to nothing: an error of the server, a dropped or hung connection."""
        self.in_flight -= 1
        self._held_until = 0.0

    def hold(self, until: float) -> None:
        """Send nothing before then, unless an answer comes."""
        self._held_until = max(self._held_until, until)

    def told(self, now: float, kind: str, per_minute: float, remaining: float | None = None) -> None:
        """The endpoint said in a header how many `requests` or `tokens` a minute it takes, and how many are left."""
        if per_minute <= 0 or self._given[kind == "tokens"]:
            return
        held = self.requests if kind == "requests" else self.tokens
        if held is None:
            held = bucket(per_minute, now)
        elif held.per_minute != per_minute:
            held.per_minute, held.burst = per_minute, bucket(per_minute, now).burst
        if kind == "requests":
            self.requests, self.pace = held, None
        else:
            self.tokens = held
        if remaining is not None and remaining < held.burst:
            held.fill(now)
            held.level = min(held.level, remaining)

    def _begin(self, now: float) -> None:
        self._since = now
        self._answers = 0
        self._latencies = 0.0
        self._goal = self.in_flight
        self._round_limit = self.limit
        self._full = self.in_flight >= int(self.limit)

    def _round(self, now: float) -> None:
        """As many answers have come as were in flight, or more: see what that number in flight is worth."""
        rate, latency, full = self._answers / (now - self._since), self._latencies / self._answers, self._full
        self._round_latency = latency
        if self.slow_start:
            if full and self.limit < self._most:
                self._judge_start(now, rate, latency)
        elif self._settling:
            self._settling = False
        elif full:
            # By Little's law again: answers that come in bursts make a count in a window of time a poor measure.
            self._judge_cruise(now, self.limit / latency)
        self._begin(now)
        if not self.slow_start and not self._settling:
            self._goal = max(4 * self._goal, 64)

    def _judge_start(self, now: float, rate: float, latency: float) -> None:
        if rate >= _GROWTH * self._best:
            self._best, self._best_latency, self._flat = rate, latency, 0
            return
        if rate > self._best:
            self._best = rate
        self._flat += 1
        if self._flat >= 2:
            self.limit = min(self.limit, max(4.0, _MARGIN * self._best * self._best_latency + 2))
            self._cruise(now)

    def _cruise(self, now: float) -> None:
        self.slow_start = False
        self._probe_from = None
        self._probe_at = now + self._probe_every
        self._settling = True
        self._rate = 0.0

    def _judge_cruise(self, now: float, rate: float) -> None:
        if self._probe_from is not None:
            self._judge_probe(now, rate)
        elif self.pace is None and (now >= self._probe_at or rate > 1.07 * self._rate > 0):
            if rate > 1.07 * self._rate > 0 and not self.ceiling:
                self._step = _LARGE_STEP  # it has become faster by itself: there may be much more
            self._probe_from = (self.limit, rate)
            more = max(1.0 if self.ceiling else 2.0, (self._step - 1) * self.limit)
            self.limit = min(self._most, self.limit + more)
            self._settling = True
            self._probed_at, self._probe_refused = now, 0
        self._rate = 0.9 * self._rate + 0.1 * rate if self._rate else rate

    def _judge_probe(self, now: float, rate: float) -> None:
        assert self._probe_from is not None
        before, rate_before = self._probe_from
        self._probe_from = None
        offered, gained = self.limit / before - 1, rate / rate_before - 1
        if self.ceiling and (offered < 0.05 or gained > 0.4 * offered):  # it was borne; what is not is refused
            self._step = min(1.5, 2 * self._step - 1) if gained > 0.4 * offered else _CEILING_STEP
            self._probe_at = now + 1.0
            self._probe_every = _PROBE_SECONDS[0]
        elif gained > 0.03 and not self.ceiling:
            self._probe_at = now
            self._probe_every = _PROBE_SECONDS[0]
            if self._step == _LARGE_STEP and gained > 0.5 * offered:  # far from the end: grow as at first
                self.slow_start, self._flat, self._best = True, 0, 0.0
            self._step = _LARGE_STEP
        else:
            self.limit = before
            self._settling = True
            self._step = _CEILING_STEP if self.ceiling else _STEP
            self._probe_every = min(_PROBE_SECONDS[1], 2 * self._probe_every)
            self._probe_at = now + self._probe_every
        self._rate = max(self._rate, rate)

    def _lately(self) -> tuple[int, int]:
        """Answered and refused in this latency and the one before."""
        return self._recent[0] + self._recent[2], self._recent[1] + self._recent[3]

    def _count(self, now: float, refused: int) -> None:
        if now - self._recent_at > max(0.1, self._latency):
            self._recent = [0, 0, *self._recent[:2]]
            self._recent_at = now
        self._recent[refused] += 1
        self._share[refused] += 1
        span = now - self._share_at
        if span > max(2.0, 5 * self._latency) and sum(self._share) >= 50:
            self._judge_share(now, span)

    def _judge_share(self, now: float, span: float) -> None:
        """See whether refusals come from a rate: whether they stop when sending is paced at what was accepted."""
        answered, refused = self._share
        share, rate = refused / (answered + refused), answered / span
        self._share, self._share_at = [0, 0], now
        if self.requests is not None or self.tokens is not None:
            return
        if self.pace is None:
            if share > _STRAY_SHARE and now > self._stray_until and answered >= 20:
                self.pace = bucket(60 * 0.99 * rate, now, 0.1)
                self._share_before = share
        elif share > _STRAY_SHARE and share > 0.5 * self._share_before:
            self.pace = None  # sending slower did not help
            self._stray_until = now + 60.0
        elif share > _STRAY_SHARE:
            self.pace.per_minute = 60 * 0.99 * rate
        elif now - self._probe_at > 0:
            self.pace.per_minute *= 1.01
            self._probe_at = now + self._probe_every


class Fixed(Limiter):
    """A limiter with nothing to find out: so many at once, however they come back; only a wait that is asked for is
    kept."""

    def __init__(self, now: float, at_once: int) -> None:
        super().__init__(now)
        self.limit = self._most = float(at_once)

    def answered(self, now: float, latency: float, unused_tokens: float = 0) -> None:
        self.in_flight -= 1

    def refused(self, now: float, sent: float, retry_after: float) -> None:
        self.in_flight -= 1
        self.blocked_until = max(self.blocked_until, now + retry_after)

    def told(self, now: float, kind: str, per_minute: float, remaining: float | None = None) -> None:
        pass
