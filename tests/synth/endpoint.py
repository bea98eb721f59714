"""A real OpenAI-compatible endpoint on 127.0.0.1 that misbehaves on demand, and bills what it serves.

    python tests/synth/endpoint.py [--port 8000] [--set '{"latency": 0.2, "slots": 64}']

It prints its port and serves until its input closes. POST /v1/chat/completions is served in `slots` at once, each for
`latency` seconds; what is over waits, or is refused (`over: refuse`). POST /settings changes settings and forgets all
that was (/change does not); GET /counts and GET /bill tell what happened. A request is billed when its slot is through,
whether or not anybody still listens, as a provider does. Faults are drawn from the request's content and how often it
has come: the same run meets the same faults, and a retry draws anew.

/v1/responses is the same in other words. /v1/files and /v1/batches take batches, each done after `batch_seconds`, its
lines in no order; `batch_ends` says how (`completed`, or after a `batch_share` of its requests `expired`, `cancelled`,
`failed`), faults of single requests go to its error file, and a share of `batch_faults` of calls is answered with an
error although it was carried out.
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
    long: float = 0.0
    long_seconds: float = 4.0
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
    batch_seconds: float = 0.3
    batch_ends: str = "completed"
    batch_share: float = 0.5
    batch_code: str = "invalid_request"
    batch_faults: float = 0.0


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
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.allowance = self.settings.burst or self.settings.requests_per_minute / 60
        self.allowance_at = 0.0

    def done(self, ordered: dict[str, Any], book: Book) -> None:
        """A batch has ended: its answers and its errors are in two files."""
        if book is not self.book:
            return
        lines = [json.loads(line) for line in self.files[ordered["input_file_id"]].splitlines()]
        lines.sort(key=lambda line: hashlib.sha256(line["custom_id"].encode()).digest())
        ends = self.settings.batch_ends
        count = (
            len(lines)
            if ends == "completed"
            else 0
            if ends == "failed"
            else int(self.settings.batch_share * len(lines))
        )
        answers, errors = [], []
        for number, line in enumerate(lines):
            asked = as_chat(line["body"]) if line["url"].endswith("/responses") else line["body"]
            name = name_of(asked)
            self.book.seen[name] += 1
            fault = self.fault(name)
            said: dict[str, Any] = {"custom_id": line["custom_id"], "response": None, "error": None}
            if number >= count:
                said["error"] = {"code": "batch_expired", "message": "This request could not be executed in time."}
                errors.append(said)
            elif fault:
                status = {"bad": 400, "stray_refusals": 429}.get(fault, 500)
                self.book.counts["errors" if status == 500 else fault] += 1
                said["response"] = {"status_code": status, "body": {"error": {"message": "This request is wrong"}}}
                errors.append(said)
            else:
                said["response"] = {"status_code": 200, "request_id": name, "body": self.answer(asked, name)}
                self.book.delivered[name] += 1
                answers.append(said)
        if ends == "failed":
            ordered["errors"] = {"data": [{"code": self.settings.batch_code, "message": "This batch is wrong"}]}
            errors = []
        for kind, held in (("output_file_id", answers), ("error_file_id", errors)):
            if held:
                ordered[kind] = f"file-{len(self.files)}"
                self.files[ordered[kind]] = b"\n".join(orjson.dumps(one) for one in held) + b"\n"
        ordered["status"] = ends

    def answer(self, asked: dict[str, Any], name: str) -> dict[str, Any]:
        """What is said to a request, and billed."""
        settings, book = self.settings, self.book
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
        cut = cap == completion
        said: dict[str, Any] = {"id": f"chatcmpl-{name}", "model": asked["model"]}
        if asked.get("responses"):
            item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
            thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "thinking"}]}
            said |= {"object": "response", "output": [thought, item], "status": "incomplete" if cut else "completed"}
            said |= {"incomplete_details": {"reason": "max_output_tokens"} if cut else None}
            usage = {"input_tokens": prompt, "output_tokens": completion}
        else:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}
            said |= {"object": "chat.completion", "choices": [choice]}
            usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        if settings.usage:
            said["usage"] = usage
        return said

    def fault(self, name: str) -> str:
        """The fault that a request meets this time, if any."""
        settings = self.settings
        if not any(getattr(settings, kind) for kind in ("bad", "poison", *DRAWN)):
            return ""
        drawn = hashlib.sha256(f"{name}/{self.book.seen[name]}".encode()).digest()
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
        method, path = first.split(b" ")[:2]
        if path.startswith((b"/v1/chat/completions", b"/v1/responses")):
            asked = orjson.loads(body[:length])
            self.chat(asked if b"chat" in path else as_chat(asked), headers.get(b"authorization", b"").decode())
        elif path.startswith(b"/v1/embeddings"):
            if self.known(headers.get(b"authorization", b"").decode()):
                self.embeddings(orjson.loads(body[:length]))
        elif path.startswith((b"/v1/files", b"/v1/batches")):
            if self.known(headers.get(b"authorization", b"").decode()):
                self.batch(method.decode(), path.decode(), body[:length])
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

    def known(self, authorization: str) -> bool:
        """Whether the key is right; said when it is not."""
        key = self.endpoint.settings.key
        if key and authorization != f"Bearer {key}":
            wrong = {"message": f"Incorrect API key provided: {authorization[7:]}", "code": "invalid_api_key"}
            self.send(401, {"error": wrong})
            return False
        return True

    def batch(self, method: str, path: str, body: bytes) -> None:
        """Files and batches."""
        endpoint, settings, book = self.endpoint, self.endpoint.settings, self.endpoint.book
        book.counts["batch_calls"] += 1
        told: Any = {"error": {"message": "no such thing"}}
        if (method, path) == ("POST", "/v1/files"):
            file = f"file-{len(endpoint.files)}"
            endpoint.files[file] = body.split(b"\r\n\r\n", 2)[2].rpartition(b"\r\n--")[0]
            told = {"id": file}
        elif (method, path) == ("POST", "/v1/batches"):
            asked = json.loads(body)
            book.counts["batches"] += 1
            ordered = {"id": f"batch-{len(endpoint.batches)}", "status": "in_progress", **asked}
            endpoint.batches[ordered["id"]] = ordered
            self.loop.call_later(settings.batch_seconds, endpoint.done, ordered, book)
            told = ordered
        elif path.startswith("/v1/batches?"):
            after = path.partition("&after=")[2]
            names = list(endpoint.batches)[::-1]
            names = names[names.index(after) + 1 if after else 0 :]
            told = {"data": [endpoint.batches[name] for name in names[:3]], "has_more": len(names) > 3}
        elif path.startswith("/v1/batches/"):
            told = endpoint.batches.get(path[12:], told)
        elif path.endswith("/content"):
            told = endpoint.files.get(path.split("/")[3], told)
        drawn = hashlib.sha256(f"{book.counts['batch_calls']}".encode()).digest()[0] / 256
        if drawn < settings.batch_faults:
            self.send(500, {"error": {"message": "The server had an error"}})
        else:
            self.send(404 if isinstance(told, dict) and "error" in told else 200, told)

    def embeddings(self, asked: dict[str, Any]) -> None:
        """Vectors of the words in texts, hashed: texts with the same words are alike."""
        self.endpoint.book.counts["embedded"] += len(asked["input"])
        if self.endpoint.settings.status != 200:
            self.send(self.endpoint.settings.status, {"error": {"message": self.endpoint.settings.message}})
            return
        data: list[dict[str, Any]] = []
        for place, text in enumerate(asked["input"]):
            vector = [0.01] * 64
            for word in text.lower().split():
                vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
            data.insert(0, {"index": place, "embedding": vector})  # in no order that is promised
        tokens = sum(len(text.split()) for text in asked["input"])
        self.send(
            200, {"data": data, "model": asked["model"], "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
        )

    def chat(self, asked: dict[str, Any], authorization: str) -> None:
        endpoint, settings, book = self.endpoint, self.endpoint.settings, self.endpoint.book
        now = self.loop.time()
        book.first = book.first or now
        book.counts["requests"] += 1
        endpoint.open += 1
        self.asking = True
        book.counts["peak"] = max(book.counts["peak"], endpoint.open)
        name = name_of(asked)
        book.seen[name] += 1
        if now < book.not_before.get(name, 0.0):
            book.counts["too_early"] += 1
        if not self.known(authorization):
            return
        if settings.status != 200:
            self.send(settings.status, {"error": {"message": settings.message, "code": settings.code}})
            return
        if not asked.get("messages"):
            self.send(400, {"error": {"message": "[] is too short - 'messages'"}})
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
        fault = endpoint.fault(name)
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
        seconds = settings.latency * length
        if int(name[6:12], 16) / 2**24 < settings.long:  # nothing of it comes before it is done
            self.endpoint.book.counts["long"] += 1
            seconds = settings.long_seconds
        self.loop.call_later(seconds, self.finish, asked, name, fault, self.endpoint.book)

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
        body = orjson.dumps(endpoint.answer(asked, name))
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


def name_of(asked: dict[str, Any]) -> str:
    """The name of a request in the book: of what it says, by whatever way it comes."""
    return hashlib.sha256(orjson.dumps([asked.get("messages"), asked.get("seed")])).hexdigest()[:16]


def as_chat(asked: dict[str, Any]) -> dict[str, Any]:
    """A request to /responses in the words of /chat/completions."""
    assert asked.get("store") is False
    return {
        "model": asked["model"],
        "messages": asked["input"],
        "max_tokens": asked["max_output_tokens"],
        "responses": True,
        **({"response_format": asked["text"]["format"]} if "text" in asked else {}),
    }


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
