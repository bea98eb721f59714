"""A running review server for the tests of this folder."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from review.server.people import Person, read_people

SECONDS_TO_START = 420
"""A first start installs the server, which takes minutes; later ones take seconds."""


class ReviewServer:
    """A real review server with a home of its own, started as a user starts it.

    `home` is what to give to --home, `url` where it is, `api_key` its owner's. `client(name)` speaks as one of the
    people in it: owner, annotator1 … annotator3, and whoever `review users add` invites later.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.said = home.with_name(f"{home.name}.said")
        self.errors = home.with_name(f"{home.name}.errors")
        self._clients: list[httpx.Client] = []

    def start(self, *arguments: str) -> None:
        """Start it, on any free port, and wait until it answers."""
        command = [sys.executable, "-m", "review.cli", "serve", "--home", str(self.home), "--json"]
        # Into files, not pipes: one that nobody reads from fills up, and then whoever writes to it waits for ever.
        with self.said.open("wb") as said, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, *(arguments or ("--port", "0", "--annotators", "3"))],
                stdout=said,
                stderr=errors,
                start_new_session=True,  # a Ctrl-C that another test sends is not for this server
            )
        self.url = self._ready()["url"]

    def stop(self) -> int:
        """Stop it as Ctrl-C does; its exit status."""
        return self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it with no chance to tidy up."""
        self._end(signal.SIGKILL)

    @property
    def api_key(self) -> str:
        """The owner's API key."""
        return self._person("owner").api_key

    def password(self, name: str) -> str:
        """What one of the people logs in with."""
        return self._person(name).password

    def client(self, name: str = "owner") -> httpx.Client:
        """An HTTP client that is logged in as one of the people; addresses begin at /api/v1."""
        assert self.process is not None and self.process.poll() is None, f"the server ended: {self._last_words()}"
        client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=60)
        self._clients.append(client)
        answer = client.post("/token", data={"username": name, "password": self.password(name)})
        answer.raise_for_status()
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return client

    def _last_words(self) -> str:
        if self.process is None:
            return "it was stopped"
        written = [path for path in (self.errors, self.home / "review" / "server.log") if path.is_file()]
        said = " ".join(path.read_text(encoding="utf-8")[-2_000:] for path in written)
        return f"status {self.process.returncode}; {said}"

    def _ready(self) -> dict[str, Any]:
        """The JSON object that the server prints once it is ready; its last words if it never is."""
        assert self.process is not None
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until and self.process.poll() is None:
            said = self.said.read_text(encoding="utf-8")
            if said.rstrip().endswith("}"):
                found: dict[str, Any] = json.loads(said)
                return found
            time.sleep(0.1)
        self.process.kill()
        self.process.wait()
        raise AssertionError(f"the review server did not start: {self._last_words()}")

    def _person(self, name: str) -> Person:
        return next(one for one in read_people(self.home / "review") if one.name == name)

    def _end(self, number: int) -> int:
        for client in self._clients:
            client.close()
        self._clients.clear()
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        self.process = None
        return status


@contextlib.contextmanager
def serving(home: Path) -> Iterator[ReviewServer]:
    """A server with a given home, for tests that stop, kill or restart it."""
    server = ReviewServer(home)
    try:
        yield server
    finally:
        if server.process is not None:
            server.kill()


@pytest.fixture(scope="session")
def review_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewServer]:
    """One running server for all tests of a session: give your workspaces and datasets names of their own.

    The people are owner, annotator1, annotator2 and annotator3, in the workspace "review". See `ReviewServer` for what
    it can do: `review_server.home`, `.url`, `.api_key`, `.client(name)`. To kill or restart one use `serving(home)`.
    """
    with serving(tmp_path_factory.mktemp("review") / ".assay") as server:
        server.start()
        yield server
