"""How near the engine, told nothing, comes to a plain aiohttp client that is told the right concurrency.

    python tests/bench/synthesis.py [--requests 20000] [--slots 64 256] [--latency 0.2] [--rounds 1] [--limits]
        [--peers openai litellm distilabel curator --peer-requests 2000 --scratch DIR]

One local endpoint in a process of its own serves all, in turns. A client's rate is that between the endpoint's first
request and its last answer. The plain client keeps exactly as many requests in flight as the endpoint has slots, parses
the answers, and writes nothing down; the engine finds the number out, and journals every answer. CPU is the client's
process alone, imports left out. Wall figures say little while the machine is busy: what counts is the ratio.

`--limits` also plays an endpoint that refuses what is over its slots (30 % more is on offer than it takes), and one of
so many requests a minute that tells nobody. `--peers` runs others' clients, each in an environment of its own that is
made in `--scratch`, told the right concurrency; their CPU is that of all their processes, and has their imports in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import process_time

import orjson

from synth.request import Answer, Request
from synth.teachers.openai_api import Endpoint, Teacher
from tests.synth.endpoint import Running, endpoint


def body(number: int) -> dict[str, object]:
    """A question like no other."""
    words = "Please explain in a few sentences how this works, and give one example of it from daily life. " * 3
    return {"messages": [{"role": "user", "content": f"Question {number}: {words}"}], "max_tokens": 256}


def ours(url: str, requests: int, slots: int) -> tuple[float, float]:
    """CPU seconds and share of answers of the engine; `slots` is not told."""
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


CLIENTS = {"ours": ours, "plain": plain}

PEERS = {
    "openai": (
        ["openai"],
        """
import asyncio, openai
async def main():
    numbers, found = iter(range(requests)), 0
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
        async def work():
            nonlocal found
            for n in numbers:
                said = await client.chat.completions.create(model="stub", max_tokens=256, messages=messages(n))
                found += bool(said.choices)
        await asyncio.gather(*(work() for _ in range(slots)))
    return found
found = asyncio.run(main())
""",
    ),
    "litellm": (
        ["litellm"],
        """
import asyncio, litellm
async def main():
    numbers, found = iter(range(requests)), 0
    async def work():
        nonlocal found
        for n in numbers:
            said = await litellm.acompletion(
                model="openai/stub", api_base=url, api_key="none", max_tokens=256, messages=messages(n)
            )
            found += bool(said.choices)
    await asyncio.gather(*(work() for _ in range(slots)))
    return found
found = asyncio.run(main())
""",
    ),
    "distilabel": (
        ["distilabel[openai]", "requests"],
        """
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
if __name__ == "__main__":
    with Pipeline(name="bench") as pipeline:
        rows = LoadDataFromDicts(data=[{"instruction": messages(n)[0]["content"]} for n in range(requests)],
                                 batch_size=slots)
        llm = OpenAILLM(model="stub", base_url=url, api_key="none", generation_kwargs={"max_new_tokens": 256})
        rows >> TextGeneration(llm=llm, input_batch_size=slots)
    made = pipeline.run(use_cache=False)
    found = sum(bool(row["generation"]) for row in made["default"]["train"])
""",
    ),
    "curator": (
        ["bespokelabs-curator"],
        """
import os, tempfile
os.environ.update(CURATOR_CACHE_DIR=tempfile.mkdtemp(), TELEMETRY_ENABLED="0", CURATOR_DISABLE_RICH_DISPLAY="1")
from bespokelabs import curator
llm = curator.LLM(model_name="stub", backend="openai", generation_params={"max_tokens": 256},
                  backend_params={"base_url": url, "api_key": "none", "max_concurrent_requests": slots,
                                  "max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10})
made = llm([messages(n)[0]["content"] for n in range(requests)])
made = getattr(made, "dataset", made)
found = len(made)
""",
    ),
}
"""What each peer is installed by, and the plainest use of it that its own documents show."""

_PEER = """
import sys
url, requests, slots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
words = "Please explain in a few sentences how this works, and give one example of it from daily life. " * 3
def messages(n):
    return [{"role": "user", "content": f"Question {n}: {words}"}]
"""


def peer_python(name: str, scratch: Path) -> Path | None:
    """The interpreter of an environment that has a peer in it; None, and why, when it does not install."""
    python = scratch / name / "bin" / "python"
    if not (scratch / name / "whole").exists():
        made = subprocess.run([sys.executable, "-m", "venv", scratch / name], capture_output=True, text=True)
        if made.returncode == 0:
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[name][0]]
            try:
                made = subprocess.run(pip, capture_output=True, text=True, timeout=900)
            except subprocess.TimeoutExpired:
                print(f"  {name}: left out, it did not install within 15 minutes", flush=True)
                return None
        if made.returncode:
            print(f"  {name}: left out, it did not install: {made.stderr.strip()[-200:]}", flush=True)
            return None
        (scratch / name / "whole").touch()
    return python


def peer(python: Path, name: str, url: str, requests: int, slots: int) -> tuple[float, float]:
    """CPU seconds of all processes and share of answers of a peer, run in its own environment. Raises RuntimeError."""
    with tempfile.TemporaryDirectory() as folder:
        script, said = Path(folder) / "peer.py", Path(folder) / "found"
        last = f"\nif __name__ == '__main__': open({str(said)!r}, 'w').write(str(found))\n"
        script.write_text(_PEER + PEERS[name][1] + last)
        before = os.times()
        ran = subprocess.run(
            [python, script, url, str(requests), str(slots)], cwd=folder, capture_output=True, text=True, timeout=900
        )
        after = os.times()
        if ran.returncode or not said.exists():
            raise RuntimeError(ran.stderr.strip()[-300:])
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return cpu, int(said.read_text()) / requests


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


def told(name: str, requests: int, capacity: float, cpu: float, share: float, counts: Counter[str]) -> str:
    """One line of the results."""
    rate = requests / counts["seconds"]
    return (
        f"  {name:10} {rate:7.1f}/s  {100 * rate / capacity:5.1f} % of capacity  "
        f"{1000 * cpu / requests:.3f} ms CPU each  answered {100 * share:.1f} %  "
        f"sent {counts['requests']:,}  refused {counts['refused']:,}  load {os.getloadavg()[0]:.1f}"
    )


def throughput(served: Running, given: argparse.Namespace) -> None:
    """The engine beside the plain client."""
    for slots in given.slots:
        capacity = slots / given.latency
        rates: dict[str, list[float]] = {name: [] for name in CLIENTS}
        print(
            f"{given.requests:,} requests, {slots} slots x {given.latency:g} s: capacity {capacity:,.0f}/s", flush=True
        )
        for number in range(given.rounds):
            for name in list(CLIENTS)[:: -1 if number % 2 == 0 else 1]:
                served.set(slots=slots, latency=given.latency)
                cpu, share = in_a_process(name, served.url, given.requests, slots)
                counts = served.counts()
                rates[name].append(given.requests / counts["seconds"])
                print(told(name, given.requests, capacity, cpu, share, counts), flush=True)
        ratios = [mine / its for mine, its in zip(rates["ours"], rates["plain"], strict=True)]
        print(f"  ours / plain: {100 * median(ratios):.1f} %", flush=True)


def limits(served: Running, given: argparse.Namespace) -> None:
    """Endpoints that refuse: what is over the slots, and what is over a rate."""
    requests = min(given.requests, 6_000)
    print(f"{requests:,} requests at an endpoint that refuses: 64 slots x 0.2 s, capacity 320/s", flush=True)
    served.set(slots=64, latency=0.2, over="refuse", retry_after=1.0)
    cpu, share = in_a_process("ours", served.url, requests, 0)
    print(told("ours", requests, 320, cpu, share, counts := served.counts()), flush=True)
    print(
        f"  refused {100 * counts['refused'] / counts['requests']:.2f} %, too early {counts['too_early']}", flush=True
    )
    rate_requests = 5 * requests
    print(f"{rate_requests:,} requests at 18,000 a minute that nobody tells of: 300/s", flush=True)
    served.set(slots=10_000, latency=0.2, over="queue", requests_per_minute=18_000, retry_after=1.0)
    cpu, share = in_a_process("ours", served.url, rate_requests, 0)
    print(told("ours", rate_requests, 300, cpu, share, counts := served.counts()), flush=True)
    print(f"  wasted {100 * counts['refused'] / counts['requests']:.2f} % of requests", flush=True)
    served.set(over="queue", requests_per_minute=0)


def peers(served: Running, given: argparse.Namespace) -> None:
    """The engine beside what others use, in turns."""
    requests, slots = given.peer_requests, given.slots[0]
    capacity = slots / given.latency
    print(f"{requests:,} requests, {slots} slots x {given.latency:g} s, peers told {slots}", flush=True)
    scratch = given.scratch or Path(tempfile.mkdtemp(prefix="assay-peers-"))
    for name in ["ours", *given.peers, "ours"]:
        python = None if name == "ours" else peer_python(name, scratch)
        if name != "ours" and python is None:
            continue
        served.set(slots=slots, latency=given.latency)
        try:
            if python is None:
                cpu, share = in_a_process(name, served.url, requests, slots)
            else:
                cpu, share = peer(python, name, served.url, requests, slots)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"  {name}: did not run: {error}", flush=True)
            continue
        print(told(name, requests, capacity, cpu, share, served.counts()), flush=True)


def main() -> None:
    """Print rates, CPU, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--slots", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[])
    parser.add_argument("--peer-requests", type=int, default=2_000)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        print(json.dumps(CLIENTS[given.client](given.url, given.requests, given.slots[0])))
        return
    with endpoint() as served:
        if given.requests:
            throughput(served, given)
        if given.limits:
            limits(served, given)
        if given.peers:
            peers(served, given)


if __name__ == "__main__":
    main()
