"""What a whole `synth run` costs beside the engine alone: time, memory, and requests a second.

    python tests/bench/synth_job.py [--seeds 100000] [--latency 0.05]

A local endpoint in a process of its own answers a paraphrase job as a teacher would: wordings with their words in
another order, and verdicts. The job is the real command in a process of its own; its peak of memory is its own. Then
the engine alone asks the same endpoint as many questions of about that size, its journal on. The ratio says what
reading seeds, tasks, checks, several rounds and writing the dataset take.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import cast

import orjson
import uvloop

MATERIAL = re.compile(r"<material-[0-9a-f]{8}>\n(.*?)\n</material", re.DOTALL)
THINGS = ("a router", "an invoice", "the printer", "my booking", "a passport", "the heating", "a bicycle", "the garden")


def answer(prompt: str) -> str:
    """What a teacher might say."""
    texts = MATERIAL.findall(prompt)
    if "wordings" in prompt:
        words = texts[0].rstrip("?").split()
        turned = [words[shift:] + words[:shift] for shift in (3, 5, 7)]
        return json.dumps({"wordings": [" ".join(one) + "?" for one in turned]})
    return json.dumps({"verdict": "no" if "How do I close my account?" in texts else "yes"})


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    latency = 0.0

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not found or length is None or len(body) < int(length[1]):
            return
        self.buffer = body[int(length[1]) :]
        asked = orjson.loads(body[: int(length[1])])
        said = answer(asked["messages"][-1]["content"])
        usage = {"prompt_tokens": len(body) // 4, "completion_tokens": len(said) // 4}
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        reply = orjson.dumps({"id": "x", "model": asked["model"], "choices": [choice], "usage": usage})
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply)
        asyncio.get_running_loop().call_later(self.latency, self.transport.write, head + reply)


async def serve(latency: float) -> None:
    """Serve until standard input closes."""
    Connection.latency = latency
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def endpoint(latency: float) -> Iterator[str]:
    """An endpoint of its own process; its address."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--latency", str(latency)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.wait()


def seeds(path: Path, count: int) -> None:
    """A file of as many questions, no two alike."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            asked = f"Could you please tell me how people in town {number} usually take care of {THINGS[number % 8]}?"
            file.write(json.dumps({"instruction": asked, "output": f"They ask at desk {number} first."}) + "\n")


def engine(url: str, requests: int, home: Path) -> float:
    """Requests a second of the engine alone."""
    from synth.journal import Journal
    from synth.request import Request
    from synth.runner import run
    from synth.teachers.openai_api import Endpoint, Teacher

    def asked() -> Iterator[Request]:
        for number in range(requests):
            text = f"Would the same answer do?\n<material-00000000>\nquestion {number}\n</material-00000000>\n" * 5
            yield Request({"messages": [{"role": "user", "content": text}], "max_tokens": 256, "temperature": 0.0})

    teacher = Teacher("teacher", "bench", (Endpoint(url),))
    with Journal(home) as journal:
        began = monotonic()
        for _ in run(asked(), [teacher], journal):
            pass
        return requests / (monotonic() - began)


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(given.latency))
        return
    with tempfile.TemporaryDirectory() as folder, endpoint(given.latency) as url:
        home = Path(folder)
        seeds(home / "seeds.jsonl", given.seeds)
        teacher = {"model": "bench", "base_url": url}
        recipe = {"name": "bench", "seeds": "seeds.jsonl", "task": "paraphrase", "teacher": teacher}
        (home / "recipe.yaml").write_text(json.dumps(recipe))
        command = [sys.executable, "-m", "synth.cli", "run", "recipe.yaml", "--out", "out", "--json"]
        began = monotonic()
        process = subprocess.Popen(
            command, cwd=home, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        )  # fmt: skip
        assert process.stdout is not None
        said = json.loads(process.stdout.read())
        _, _, used = os.wait4(process.pid, 0)
        seconds = monotonic() - began
        paid, cpu = said["paid_requests"], used.ru_utime + used.ru_stime
        pace = paid / seconds
        alone = engine(url, min(paid, 100_000), home / "alone")
    print(f"{given.seeds:,} seeds, {paid:,} requests, {said['kept']:,} rows kept, {said['rejected']}")
    print(f"job:          {seconds:8.1f} s  {pace:8.0f} requests/s  {1000 * cpu / paid:.3f} ms CPU a request")
    print(f"engine alone:             {alone:8.0f} requests/s")
    print(f"ratio:        {pace / alone:8.2f}")
    print(f"peak memory:  {used.ru_maxrss / 1024:8.0f} MB")


if __name__ == "__main__":
    main()
