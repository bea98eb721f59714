"""What lies in a review server's folder, and how files in it are written."""

from __future__ import annotations

import os
from pathlib import Path

DATABASE = "argilla.db"
"""Everything Argilla holds, with the index of our search; its -wal and -shm belong to it."""

PEOPLE = "people.json"
"""Names, roles, passwords and API keys."""

SECRET = "secret.key"  # noqa: S105 - a file's name
"""The key that signs log-ins."""

RUNNING = "server.json"
"""Where a running server is found; it may be left over from one that was killed, which the lock tells."""

LOG = "server.log"
"""Warnings and errors of the server."""

LOCK = ".lock"
"""Held by a server as long as it runs."""


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all, and on disk when this returns."""
    new = path.with_name(f".{path.name}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)
    parent = os.open(path.parent, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)
