"""Running the `synth` command as a user does, and what it needs: a recipe, a task of one's own, a teacher."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

import yaml

from tests.helpers import write_rows

ROOT = Path(__file__).parent.parent.parent

ECHO = '''"""The answer to a seed's question, as it is."""

from synth.prompting import conversation
from synth.reading import said
from synth.task import OneRound, turn


class Echo(OneRound):
    """The answer to a seed's question, as it is."""

    def ask(self, seed, number, chance):
        text = f"{seed.instruction} ({number})" if number else seed.instruction
        return [conversation([turn("user", text)], max_tokens=self.max_tokens)]

    def read(self, seed, asked, answers):
        return [seed.chat(seed.instruction, said(answers[0]))]
'''


def started(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """The `synth` command, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "synth.cli", *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def synth(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the `synth` command."""
    process = started(*arguments, cwd=cwd, **environment)
    out, error = process.communicate(timeout=300)
    return subprocess.CompletedProcess(list(map(str, arguments)), process.returncode, out, error)


def synth_json(*arguments: object, cwd: Path, status: int = 0, **environment: str) -> dict[str, Any]:
    """Run the `synth` command with --json, in this process: a second less each time; its object."""
    from synth.cli import main

    out, error = io.StringIO(), io.StringIO()
    given = ["synth", *map(str, arguments), "--json"]
    with (
        chdir(cwd),
        patch.object(sys, "argv", given),
        patch.dict(os.environ, environment),
        redirect_stdout(out),
        redirect_stderr(error),
    ):
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
    assert code == status, error.getvalue() + out.getvalue()
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def questions(count: int) -> list[dict[str, Any]]:
    """Seeds, no two alike."""
    return [{"instruction": f"What is item {number}?", "output": f"Item {number}."} for number in range(count)]


def recipe(folder: Path, url: str, **changes: Any) -> Path:
    """A recipe that echoes seeds; the task, the seeds and the recipe are in `folder`. None removes a key."""
    (folder / "echo.py").write_text(ECHO, encoding="utf-8")
    if not (folder / "seeds.jsonl").exists():
        write_rows(folder / "seeds.jsonl", questions(20))
    value = {
        "name": "echo",
        "seeds": [{"path": "seeds.jsonl", "personal_data": "none", "training": "allowed"}],
        "task": "./echo.py",
        "teacher": {"model": "stub", "base_url": url},
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({key: one for key, one in value.items() if one is not None}, allow_unicode=True))
    return path


@contextmanager
def answering(said: dict[str, list[str]]) -> Iterator[str]:
    """An endpoint that answers questions by the text of their last message, each of a list in its turn; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answers = said.get(question_of(asked), ["nobody said what to answer"])
            text = answers.pop(0) if len(answers) > 1 else answers[0]
            message = {"role": "assistant", "content": text}
            body = json.dumps(
                {
                    "id": "x",
                    "model": asked["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5},
                }
            ).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def question_of(body: Any) -> str:
    """What tells one question from another: its messages and its temperature."""
    return json.dumps([body["messages"], body.get("temperature")], ensure_ascii=False, sort_keys=True)
