"""Start a review server: run by `review serve` with the Python of the server's environment, in its own place.

    python launch.py serve SETTINGS     where SETTINGS is a JSON object, see `Settings`
    python launch.py people SETTINGS    make the accounts that are missing, and end

The server is Argilla unchanged, with its own web pages, in one process: SQLite, our search, jobs without Redis. This
environment holds Argilla and not assay, so the few modules of ours that are needed are made findable here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import logging.handlers
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REVIEW = types.ModuleType("review")
_REVIEW.__path__ = [str(Path(__file__).resolve().parent.parent)]
sys.modules.setdefault("review", _REVIEW)
sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).resolve().parent]

from review.server.state import DATABASE, LOG, RUNNING, SECRET, write_private  # noqa: E402 - not findable before

_TEMPORARY = ".tmp"
_SECONDS_TO_FINISH = 10
_LOG_BYTES = 5_000_000


@dataclass(frozen=True)
class Settings:
    """What `review serve` decided."""

    folder: str
    """The server's state."""
    url: str = ""
    """Where people find it."""
    socket: int = -1
    """Number of the open, listening socket."""
    as_json: bool = False


def main() -> None:
    """Do what the command line says."""
    what, settings = sys.argv[1], Settings(**json.loads(sys.argv[2]))
    folder = Path(settings.folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopped)
    _set_environment(folder, settings.url)
    _log_to(folder / LOG)

    from review.server import jobs

    jobs.stand_in()

    from review.server import seeding

    seeding.bring_up_to_date(folder / DATABASE)
    asyncio.run(seeding.make_accounts(folder))
    if what == "serve":
        _serve(folder, settings)


def _stopped(number: int, frame: object) -> None:
    raise SystemExit(0)


def _set_environment(folder: Path, url: str) -> None:
    """Argilla is told everything by the environment; what the user's own says about another Argilla is left out."""
    for name in [name for name in os.environ if name.startswith(("ARGILLA_", "FORWARDED_ALLOW"))]:
        del os.environ[name]
    os.environ |= {
        "ARGILLA_HOME_PATH": str(folder),
        "ARGILLA_DATABASE_URL": f"sqlite+aiosqlite:///{folder / DATABASE}?check_same_thread=False",
        "ARGILLA_DATABASE_SQLITE_TIMEOUT": "30",
        "ARGILLA_SEARCH_ENGINE": "assay",
        "ARGILLA_REDIS_URL": "redis://localhost/0",
        "ARGILLA_AUTH_SECRET_KEY": _secret(folder / SECRET),
        "ARGILLA_AUTH_OAUTH_CFG": str(folder / "oauth.yaml"),
        "ARGILLA_CORS_ORIGINS": json.dumps([url] if url else []),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    os.chdir(folder)
    # Argilla copies its pages to a temporary folder at each start; here, what a kill leaves is found again.
    own = folder / _TEMPORARY
    if sys.argv[1] == "serve":
        shutil.rmtree(own, ignore_errors=True)
    own.mkdir(exist_ok=True)
    tempfile.tempdir = str(own)


def _secret(path: Path) -> str:
    """The key that signs people's log-ins; kept, so that a restart logs nobody out."""
    if not path.exists():
        write_private(path, secrets.token_hex(32))
    return path.read_text(encoding="utf-8").strip()


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    path.chmod(0o600)
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.captureWarnings(True)  # libraries' warnings are nothing that people at a terminal can act on


def _keep_log() -> None:
    """Undo what libraries set up for their own logs, so that all of it goes to the file."""
    mine = [one for one in logging.root.handlers if isinstance(one, logging.handlers.RotatingFileHandler)]
    logging.root.handlers[:] = mine
    logging.root.setLevel(logging.WARNING)
    for known in logging.root.manager.loggerDict.values():
        if isinstance(known, logging.Logger):
            known.handlers[:] = []
            known.propagate, known.disabled = True, False


def _serve(folder: Path, settings: Settings) -> None:
    import uvicorn  # type: ignore[import-not-found]

    from review.server import engine, events, index, jobs, pages

    engine.register(folder / DATABASE)
    events.only_heard()

    from argilla_server import app

    nonce = secrets.token_urlsafe(16)
    pages.guard(folder / _TEMPORARY, nonce)
    worker = jobs.Worker()
    _keep_log()
    config = uvicorn.Config(
        _guarded(app, pages.policy(nonce)),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                worker.start()
                _ready(folder, settings)

    server = Server(config)
    listening = socket.socket(fileno=settings.socket)
    # Once a server has stopped, uvicorn raises the signals again that stopped it; then there is nothing left to stop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    server.run(sockets=[listening])
    worker.stop()
    index.settle(folder / DATABASE)
    (folder / RUNNING).unlink(missing_ok=True)
    shutil.rmtree(folder / _TEMPORARY, ignore_errors=True)
    if not server.started:
        _say(f"the review server could not start: see {folder / LOG}")
        raise SystemExit(1)
    if not settings.as_json:
        _say("the review server has stopped; everything is kept")
    logging.shutdown()
    os._exit(0)  # threads that wait for a job need not be waited for


def _ready(folder: Path, settings: Settings) -> None:
    state = {"url": settings.url, "pid": os.getpid(), "folder": str(folder)}
    write_private(folder / RUNNING, json.dumps(state))
    _say(
        json.dumps(state, ensure_ascii=False, indent=2)
        if settings.as_json
        else f"the review server is ready: {settings.url} (Ctrl-C stops it)"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _guarded(app: Any, policy: str) -> Any:
    """The application with headers on every answer that keep pages from fetching or running what is not theirs.

    To this machine itself it answers uncompressed: that costs more time than it saves.
    """

    headers = [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (scope.get("client") or ("",))[0] in ("127.0.0.1", "::1"):
            scope = scope | {"headers": [one for one in scope["headers"] if one[0] != b"accept-encoding"]}
        own = headers
        if scope["type"] == "http" and not scope["path"].startswith("/api/"):
            own = [*headers, (b"cache-control", b"no-cache")]  # the next start's pages carry another nonce

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await app(scope, receive, sent if scope["type"] == "http" else send)

    return guarded


if __name__ == "__main__":
    main()
