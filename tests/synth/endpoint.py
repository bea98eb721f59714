"""A real OpenAI-compatible endpoint on 127.0.0.1 that misbehaves on demand, and bills what it serves.

    python tests/synth/endpoint.py [--port 8000] [--set '{"latency": 0.2, "slots": 64}']

It prints its port and serves until its input closes. POST /v1/chat/completions is served in `slots` at once, each for
`latency` seconds; what is over waits, or is refused (`over: refuse`). POST /settings changes settings and forgets all
that was (/change does not); GET /counts and GET /bill tell what happened. A request is billed when its slot is through,
whether or not anybody still listens, as a provider does. Faults are drawn from the request's content and how often it
has come: the same run meets the same faults, and a retry draws anew.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop

DRAWN = ("errors", "stray_refusals", "drops", "hangs", "slow_bodies", "torn")
"""Faults that a retry may be spared."""


@dataclass
class Settings:
    """What the endpoint does. Shares are of all requests; seconds and counts as named."""

    latency: float = 0.05
    jitter: float = 0.0
    slots: int = 64
    over: str = "queue"
    retry_after: float = 1.0
    requests_per_minute: float = 0
    burst: float = 0
    headers: bool = False
    errors: float = 0.0
    stray_refusals: float = 0.0
    drops: float = 0.0
    hangs: float = 0.0
    slow_bodies: float = 0.0
    slow_seconds: float = 3.0
    bad: float = 0.0
    poison: float = 0.0
    torn: float = 0.0
    status: int = 200
    message: str = "The server had an error"
    code: str = ""
    text: str = ""
    text_tokens: int = 0
    tokens_per_byte: float = 0.25
    usage: bool = True
    refuse_schema: bool = False
    max_completion_tokens_only: bool = False
    key: str = ""


@dataclass
class Book:
    """What has happened."""

    counts: Counter[str] = field(default_factory=Counter)
    billed: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    not_before: dict[str, float] = field(default_factory=dict)
    first: float = 0.0
    last: float = 0.0


class Endpoint:
    """State shared by all connections."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clear()

    def clear(self) -> None:
        self.book = Book()
        self.busy = 0
        self.open = 0
        self.waiting: deque[tuple[Connection, dict[str, Any], str, str]] = deque()
        self.allowance = self.settings.burst or self.settings.requests_per_minute / 60
        self.allowance_at = 0.0


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.buffer = b""
        self.gone = False
        self.asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.loop = asyncio.get_running_loop()
        self.endpoint.book.counts["connections"] += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self.closed()

    def closed(self) -> None:
        """The request on this connection is no longer open."""
        self.endpoint.open -= self.asking
        self.asking = False

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        length = int(headers.get(b"content-length", 0))
        if len(body) < length:
            return
        self.buffer = body[length:]
        path = first.split(b" ")[1]
        if path.startswith(b"/v1/chat/completions"):
            self.chat(orjson.loads(body[:length]), headers.get(b"authorization", b"").decode())
        elif path in (b"/settings", b"/change"):
            for name, value in json.loads(body[:length]).items():
                assert hasattr(self.endpoint.settings, name), name
                setattr(self.endpoint.settings, name, value)
            if path == b"/settings":
                self.endpoint.clear()
            self.send(200, asdict(self.endpoint.settings))
        elif path == b"/counts":
            book = self.endpoint.book
            self.send(
                200,
                {
                    **book.counts,
                    "seconds": book.last - book.first,
                    "tokens": sum(book.tokens.values()),
                    "busy": self.endpoint.busy,
                },
            )
        elif path == b"/bill":
            book = self.endpoint.book
            self.send(200, {"billed": book.billed, "delivered": book.delivered})
        else:
            self.send(404, {"error": {"message": f"no such path: {path.decode()}"}})

    def send(self, status: int, said: Any, headers: str = "") -> None:
        self.closed()
        if not self.gone:
            body = said if isinstance(said, bytes) else orjson.dumps(said)
            head = (
                f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
            )
            self.transport.write(head.encode() + body)

    def chat(self, asked: dict[str, Any], authorization: str) -> None:
        endpoint, settings, book = self.endpoint, self.endpoint.settings, self.endpoint.book
        now = self.loop.time()
        book.first = book.first or now
        book.counts["requests"] += 1
        endpoint.open += 1
        self.asking = True
        book.counts["peak"] = max(book.counts["peak"], endpoint.open)
        name = hashlib.sha256(orjson.dumps([asked.get("messages"), asked.get("seed")])).hexdigest()[:16]
        book.seen[name] += 1
        if now < book.not_before.get(name, 0.0):
            book.counts["too_early"] += 1
        if settings.key and authorization != f"Bearer {settings.key}":
            self.send(
                401,
                {"error": {"message": f"Incorrect API key provided: {authorization[7:]}", "code": "invalid_api_key"}},
            )
            return
        if settings.status != 200:
            self.send(settings.status, {"error": {"message": settings.message, "code": settings.code}})
            return
        if settings.refuse_schema and "response_format" in asked:
            self.send(400, {"error": {"message": "Unsupported parameter: 'response_format'"}})
            return
        if settings.max_completion_tokens_only and "max_tokens" in asked:
            self.send(
                400, {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}
            )
            return
        if settings.requests_per_minute:
            burst = settings.burst or settings.requests_per_minute / 60
            if endpoint.allowance_at:
                endpoint.allowance += (now - endpoint.allowance_at) * settings.requests_per_minute / 60
            endpoint.allowance, endpoint.allowance_at = min(burst, endpoint.allowance), now
            if endpoint.allowance < 1:
                self.refuse(name, now)
                return
            endpoint.allowance -= 1
        fault = self.fault(name)
        if fault == "stray_refusals":
            self.refuse(name, now)
        elif fault == "errors":
            book.counts["errors"] += 1
            self.loop.call_later(settings.latency / 10, self.send, 500, {"error": {"message": settings.message}})
        elif fault == "bad":
            book.counts["bad"] += 1
            self.send(400, {"error": {"message": "This request is wrong"}})
        elif fault == "hangs":
            book.counts["hangs"] += 1
        elif fault == "drops":
            book.counts["drops"] += 1
            self.loop.call_later(settings.latency / 2, self.transport.close)
        elif endpoint.busy < settings.slots:
            self.serve(asked, name, fault)
        elif settings.over == "refuse":
            self.refuse(name, now)
        else:
            endpoint.waiting.append((self, asked, name, fault))

    def fault(self, name: str) -> str:
        settings = self.endpoint.settings
        if not any(getattr(settings, kind) for kind in ("bad", "poison", *DRAWN)):
            return ""
        drawn = hashlib.sha256(f"{name}/{self.endpoint.book.seen[name]}".encode()).digest()
        number = int.from_bytes(drawn[:6], "big") / 2**48
        if int(name[:8], 16) / 2**32 > 1 - settings.poison:
            return "errors"
        if settings.bad and int(name[:8], 16) / 2**32 < settings.bad:  # the request's own fault, each time it comes
            return "bad"
        for kind in DRAWN:
            share = getattr(settings, kind)
            if number < share:
                return kind
            number -= share
        return ""

    def refuse(self, name: str, now: float) -> None:
        wait = self.endpoint.settings.retry_after
        self.endpoint.book.counts["refused"] += 1
        self.endpoint.book.not_before[name] = now + wait
        self.send(
            429,
            {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}},
            f"retry-after: {wait:g}\r\n",
        )

    def serve(self, asked: dict[str, Any], name: str, fault: str) -> None:
        settings = self.endpoint.settings
        self.endpoint.busy += 1
        length = 1 + settings.jitter * (int(name[:6], 16) / 2**24)
        self.loop.call_later(settings.latency * length, self.finish, asked, name, fault, self.endpoint.book)

    def finish(self, asked: dict[str, Any], name: str, fault: str, book: Book) -> None:
        endpoint, settings = self.endpoint, self.endpoint.settings
        if book is not endpoint.book:
            return
        endpoint.busy -= 1
        book.last = self.loop.time()
        while endpoint.waiting and endpoint.busy < settings.slots:
            connection, its, of, its_fault = endpoint.waiting.popleft()
            if not connection.gone:  # as vLLM, which drops who has hung up
                connection.serve(its, of, its_fault)
        last = asked["messages"][-1]["content"]
        text = settings.text or f"answer to {last} from {name}"
        if "repair" in settings.text and len(asked["messages"]) > 1:
            text = '{"score": 3}'
        cap = asked.get("max_completion_tokens", asked.get("max_tokens", 1 << 30))
        content = sum(len(message["content"].encode()) for message in asked["messages"])
        prompt = int(settings.tokens_per_byte * content) + 8
        completion = min(cap, settings.text_tokens or len(text) // 4 + 1)
        book.billed[name] += 1
        book.tokens[name] += prompt + completion
        book.counts["billed"] += 1
        said: dict[str, Any] = {
            "id": f"chatcmpl-{name}",
            "object": "chat.completion",
            "model": asked["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "length" if cap == completion else "stop",
                }
            ],
        }
        if settings.usage:
            said["usage"] = {"prompt_tokens": prompt, "completion_tokens": completion}
        body = orjson.dumps(said)
        if self.gone:
            book.counts["nobody_there"] += 1
            return
        if fault == "torn":
            book.counts["torn"] += 1
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body[: len(body) // 2])
            self.transport.close()
            return
        book.delivered[name] += 1
        if fault == "slow_bodies":
            book.counts["slow_bodies"] += 1
            self.closed()
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
            part = len(body) // 10 + 1
            for number in range(10):
                piece = body[number * part : (number + 1) * part]
                self.loop.call_later(number * settings.slow_seconds / 10, self.transport.write, piece)
            return
        headers = ""
        if settings.headers:
            limit, left = settings.requests_per_minute, int(endpoint.allowance)
            said_of = {"limit": f"{limit:g}", "remaining": left, "reset": "1s"}
            headers = "".join(f"x-ratelimit-{name}-requests: {value}\r\n" for name, value in said_of.items())
        self.send(200, body, headers)


class Running:
    """An endpoint in a process of its own, as a test sees it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1"

    def set(self, **settings: Any) -> None:
        """Change settings and clear the counts."""
        self._call("/settings", json.dumps(settings).encode())

    def change(self, **settings: Any) -> None:
        """Change settings and go on."""
        self._call("/change", json.dumps(settings).encode())

    def counts(self) -> Counter[str]:
        """What has happened since."""
        return Counter(self._call("/counts"))

    def bill(self) -> dict[str, dict[str, int]]:
        """How often each request was billed, and how often its answer was delivered whole."""
        found: dict[str, dict[str, int]] = self._call("/bill")
        return found

    def _call(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data=body, timeout=30) as response:
            return json.load(response)


@contextmanager
def endpoint(**settings: Any) -> Iterator[Running]:
    """Start an endpoint with these settings; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), "--set", json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        yield Running(process, int(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


async def serve(settings: Settings, port: int) -> None:
    """Serve until standard input closes, as it does when who started this ends."""
    shared = Endpoint(settings)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(shared), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve on a free port, or the one given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--set", type=json.loads, default={}, help="settings as a JSON object")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Settings(**given.set), given.port))


if __name__ == "__main__":
    main()
