"""How near the engine, told nothing, comes to a plain aiohttp client that is told the right concurrency.

    python tests/bench/synthesis.py [--requests 20000] [--slots 64 256] [--latency 0.2] [--rounds 1] [--with-openai]

One local endpoint in a process of its own serves both, in turns. A client's rate is that between the endpoint's first
request and its last answer. The plain client keeps exactly as many requests in flight as the endpoint has slots, parses
the answers, and writes nothing down; the engine finds the number out, and journals every answer. CPU is the client's
process alone, imports left out. Wall figures say little while the machine is busy: what counts is the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import monotonic, process_time

import orjson

from synth.request import Answer, Request
from synth.teachers.openai_api import Endpoint, Teacher
from tests.synth.endpoint import endpoint


def body(number: int) -> dict[str, object]:
    """A question like no other."""
    words = "Please explain in a few sentences how this works, and give one example of it from daily life. " * 3
    return {"messages": [{"role": "user", "content": f"Question {number}: {words}"}], "max_tokens": 256}


def ours(url: str, requests: int, slots: int) -> tuple[float, float]:
    """CPU seconds and share of answers of the engine; `slots` is not told."""
    import aiohttp  # noqa: F401 - its import is not counted, as in the others

    from synth.journal import Journal
    from synth.runner import run

    teacher = Teacher("bench", "stub", (Endpoint(url),))
    with tempfile.TemporaryDirectory() as home, Journal(Path(home)) as journal:
        began = process_time()
        asked: Iterator[Request] = (Request(body(number)) for number in range(requests))
        found = sum(isinstance(outcome, Answer) for outcome in run(asked, [teacher], journal))
        return process_time() - began, found / requests


def plain(url: str, requests: int, slots: int) -> tuple[float, float]:
    """The same of a plain aiohttp client on uvloop with `slots` requests in flight."""
    import aiohttp
    import uvloop

    async def ask() -> int:
        numbers, found = iter(range(requests)), 0
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def work() -> None:
                nonlocal found
                for number in numbers:
                    data = orjson.dumps({**body(number), "model": "stub"})
                    headers = {"Content-Type": "application/json"}
                    async with session.post(f"{url}/chat/completions", data=data, headers=headers) as response:
                        found += bool(orjson.loads(await response.read())["choices"])

            await asyncio.gather(*(work() for _ in range(slots)))
        return found

    began = process_time()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(ask())
    return process_time() - began, found / requests


def openai_sdk(url: str, requests: int, slots: int) -> tuple[float, float]:
    """The same of the openai SDK's asynchronous client, where it is installed."""
    openai = importlib.import_module("openai")

    async def ask() -> int:
        numbers, found = iter(range(requests)), 0
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

            async def work() -> None:
                nonlocal found
                for number in numbers:
                    found += bool((await client.chat.completions.create(model="stub", **body(number))).choices)

            await asyncio.gather(*(work() for _ in range(slots)))
        return found

    began = process_time()
    found = asyncio.run(ask())
    return process_time() - began, found / requests


CLIENTS = {"ours": ours, "plain": plain, "openai": openai_sdk}


def in_a_process(name: str, url: str, requests: int, slots: int) -> tuple[float, float]:
    """Run one client alone in a process."""
    ran = subprocess.run(
        [sys.executable, __file__, "--client", name, "--url", url, "--requests", str(requests), "--slots", str(slots)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )
    cpu, share = json.loads(ran.stdout)
    return cpu, share


def main() -> None:
    """Print rates, CPU, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--slots", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--with-openai", action="store_true")
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        print(json.dumps(CLIENTS[given.client](given.url, given.requests, given.slots[0])))
        return
    names = ["plain", "ours", *(["openai"] if given.with_openai else [])]
    with endpoint() as served:
        for slots in given.slots:
            capacity = slots / given.latency
            rates: dict[str, list[float]] = {name: [] for name in names}
            print(
                f"{given.requests:,} requests, {slots} slots x {given.latency:g} s: capacity {capacity:,.0f}/s",
                flush=True,
            )
            for number in range(given.rounds):
                for name in names[:: 1 if number % 2 == 0 else -1]:
                    served.set(slots=slots, latency=given.latency)
                    began = monotonic()
                    cpu, share = in_a_process(name, served.url, given.requests, slots)
                    wall, counts = monotonic() - began, served.counts()
                    rates[name].append(given.requests / counts["seconds"])
                    print(
                        f"  {name:7} {rates[name][-1]:7.1f}/s  {100 * rates[name][-1] / capacity:5.1f} % of capacity  "
                        f"{1000 * cpu / given.requests:.3f} ms CPU each  answered {100 * share:.0f} %  "
                        f"sent {counts['requests']:,}  wall {wall:.1f} s  load {os.getloadavg()[0]:.1f}",
                        flush=True,
                    )
            ratios = [mine / its for mine, its in zip(rates["ours"], rates["plain"], strict=True)]
            print(f"  ours / plain: {100 * median(ratios):.1f} %", flush=True)


if __name__ == "__main__":
    main()
