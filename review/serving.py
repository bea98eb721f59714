"""`review serve`: the real Argilla on this machine, in one process, its state in one folder.

The folder holds the database, the people with their passwords, the key that signs log-ins, and a log. A server holds a
lock on it as long as it runs, whatever ends it. `review backup` copies it, also while a server runs; a plain copy of
the folder is whole only while none does.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

from review.environment import server_python
from review.server.people import ROLES, Person, alone, invited, read_people, write_people
from review.server.state import DATABASE, LOCK, LOG, PEOPLE, RUNNING, SECRET, write_private
from schemas.errors import UserError, nearest

HOST = "127.0.0.1"
"""Only this machine reaches the server, unless another address is asked for."""

PORT = 6900
"""Argilla's usual port; the next free one is taken where no port is asked for."""

_LAUNCH = Path(__file__).parent / "server" / "launch.py"
_PORTS_TO_TRY = 50
_SECONDS_FOR_LOCK = 3.0


@dataclass(frozen=True)
class Account:
    """Somebody who can log in, as the server knows them."""

    name: str
    role: str
    answers: int


@dataclass(frozen=True)
class Local:
    """A review server on this machine: its address, and the owner's key."""

    url: str
    api_key: str


def state_folder(home: Path) -> Path:
    """Where a project home keeps its review server."""
    return Path(os.path.realpath(home)) / "review"


def serve(
    home: Path, *, host: str, port: int | None, annotators: int, as_json: bool, say: Callable[[str], None]
) -> NoReturn:
    """Become the server: never returns. `say` is told what happens before.

    The first start invites an owner and annotators. Raises UserError when the port is taken or a server runs already.
    """
    folder = _made(home)
    lock = _lock(folder)
    (folder / RUNNING).unlink(missing_ok=True)  # of a server that was killed: its port may be another's by now
    listening = _listen(host, port, say)
    url = f"http://{_shown(host)}:{listening.getsockname()[1]}"
    python = server_python(say)
    new = _first_people(folder, annotators)
    if new:
        say(f"people of this server, also kept in {folder / PEOPLE} (only you may read it):")
        for person in new:
            say(f"  {person.role:9}  {person.name:13}  password {person.password}")
    say("starting the review server: about 10 seconds, longer the first time")
    settings = {"folder": str(folder), "url": url, "socket": listening.fileno(), "as_json": as_json}
    for handle in (lock, listening.fileno()):
        os.set_inheritable(handle, True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(python, [str(python), "-s", str(_LAUNCH), "serve", json.dumps(settings)], _environment())  # noqa: S606


def running(home: Path) -> Local | None:
    """The server of a project home if it runs and answers, with its owner's key."""
    folder = state_folder(home)
    if not folder.is_dir() or not _locked(folder):
        return None
    try:
        state = json.loads((folder / RUNNING).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None  # it is starting
    owner = next((one for one in read_people(folder) if one.role == "owner"), None)
    return Local(state["url"], owner.api_key) if owner else None


def add_person(home: Path, name: str, role: str, say: Callable[[str], None]) -> Person:
    """Invite somebody, whether or not the server runs. Raises UserError for a name that is taken or no name."""
    if role not in ROLES[1:]:
        raise UserError(f"{role!r} is no role for a person", hint=nearest(role, ROLES[1:]))
    if not name.strip() or name != name.strip() or len(name) > 64 or not name.isprintable():
        raise UserError(f"{name!r} is no name for a person", hint="up to 64 characters that can be seen")
    folder = _made(home)
    python = server_python(say)
    _first_people(folder, 0)
    person = invited(name, role)
    with alone(folder):
        known = read_people(folder)
        taken = {one.name for one in known} | {one.name for one in accounts(home)}
        if name in taken:
            raise UserError(f"there is a person called {name!r} already", hint="review users list shows all")
        write_people(folder, [*known, person])
    command = [str(python), "-s", str(_LAUNCH), "people", json.dumps({"folder": str(folder)})]
    ran = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise UserError(f"the account could not be made: {ran.stderr.strip()[-300:]}", hint=f"see {folder / LOG}")
    return person


def accounts(home: Path) -> list[Account]:
    """Who can log in, in the order in which they came; empty before the first start."""
    database = state_folder(home) / DATABASE
    if not database.exists():
        return []
    db = sqlite3.connect(database, timeout=30)
    try:
        rows = db.execute(
            "SELECT username, role, (SELECT count(*) FROM responses WHERE user_id = users.id AND status = 'submitted') "
            "FROM users ORDER BY inserted_at"
        ).fetchall()
    except sqlite3.OperationalError:
        return []  # its tables are being made
    finally:
        db.close()
    return [Account(*row) for row in rows]


def backup(home: Path, out: Path) -> Path:
    """Copy a server's state to a folder that can take its place, also while the server runs and people answer.

    Raises UserError when there is nothing to copy, or something at `out` already.
    """
    folder = state_folder(home)
    if not (folder / DATABASE).exists():
        raise UserError(f"{folder} holds no review server", hint="review serve makes one")
    if out.exists():
        raise UserError(f"{out} exists already", hint="choose another --out; nothing in it was touched")
    new = out.with_name(f".{out.name}.assay-tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True, mode=0o700)
    try:
        held, copy = sqlite3.connect(folder / DATABASE, timeout=30), sqlite3.connect(new / DATABASE)
        held.backup(copy)  # one moment of the database, whoever writes meanwhile
        held.close()
        copy.close()
        (new / DATABASE).chmod(0o600)
        for name in (PEOPLE, SECRET):
            write_private(new / name, (folder / name).read_text(encoding="utf-8"))
        new.rename(out)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return out


def _made(home: Path) -> Path:
    """The state's folder, which only its owner may look into: it holds rows and passwords."""
    folder = state_folder(home)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}", hint="choose another --home") from error
    return folder


def _first_people(folder: Path, annotators: int) -> list[Person]:
    """Invite the first people if there are none; who was invited."""
    with alone(folder):
        if read_people(folder):
            return []
        new = [invited("owner", "owner")]
        new += [invited(f"annotator{number + 1}", "annotator") for number in range(annotators)]
        write_people(folder, new)
    return new


def _lock(folder: Path) -> int:
    """A handle that keeps other servers away from the folder as long as any process holds it."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + _SECONDS_FOR_LOCK  # one that was just stopped may still be letting go
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(handle)
                raise UserError(
                    f"a review server runs on {folder} already{_where(folder)}",
                    hint="stop it first, or use it: it serves any number of people; --home starts another",
                ) from None
            time.sleep(0.1)


def _locked(folder: Path) -> bool:
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _where(folder: Path) -> str:
    try:
        return ", at " + str(json.loads((folder / RUNNING).read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError):
        return ""


def _listen(host: str, port: int | None, say: Callable[[str], None]) -> socket.socket:
    """A listening socket: on the port asked for, or on the usual one or the next that is free."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise UserError(f"--host {host!r} is no address of this machine", hint=f"by default it is {HOST}") from None
    if not ip_address(address[0]).is_loopback:
        say(
            f"warning: everybody on the network who reaches {host} can reach this server. Passwords and rows travel "
            "unencrypted: put a proxy with TLS before it, or use an SSH tunnel and leave --host out"
        )
    for candidate in [port] if port is not None else range(PORT, PORT + _PORTS_TO_TRY):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address[0], candidate))
            listening.listen(2048)
        except OverflowError:
            raise UserError(f"--port {port} is no port", hint="0 to 65535; 0 takes a free one") from None
        except OSError as error:
            listening.close()
            if port is not None:
                raise UserError(
                    f"port {port} of {host} cannot be used: {error.strerror}",
                    hint="leave --port out to take the next free one",
                ) from None
            continue
        if port is None and candidate != PORT:
            say(f"port {PORT} is taken; using {candidate}")
        return listening
    raise UserError(f"no port from {PORT} to {PORT + _PORTS_TO_TRY - 1} is free", hint="--port 0 takes any free one")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _environment() -> dict[str, str]:
    """The environment for the server's Python: ours, without what would show it our libraries."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
