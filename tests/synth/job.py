"""One job as a process of its own, to be killed: python job.py HOME URL REQUESTS OUT ['{"api": …}']"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import orjson

from synth.journal import Journal
from synth.request import Request
from synth.runner import run
from synth.teachers.openai_api import Endpoint, Teacher


def main() -> None:
    """Ask, and write what came out only when all of it is there."""
    home, url, requests, out, *more = sys.argv[1:]
    endpoint = Endpoint(url, **orjson.loads(more[0])) if more else Endpoint(url)
    teacher = Teacher("one", "stub", (endpoint,), max_tokens=64)
    asked = (Request({"messages": [{"role": "user", "content": f"question {n}"}]}) for n in range(int(requests)))
    with Journal(Path(home)) as journal:
        lines = [orjson.dumps(asdict(outcome)) for outcome in run(asked, [teacher], journal)]
    Path(out).write_bytes(b"\n".join(lines))


if __name__ == "__main__":
    main()
