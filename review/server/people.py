"""The people who may log in: a file that only its owner may read, and what of it the server has made accounts of.

The file says what is wanted; accounts follow it. Whoever is in it and not yet `made` gets an account at the next start,
or at once; an account deleted on the server is not made again.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from review.server.state import PEOPLE, write_private

ROLES = ("owner", "admin", "annotator")
"""What Argilla lets people be: an owner sees everything, an admin a workspace, an annotator answers."""

_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True)
class Person:
    """One who may log in."""

    name: str
    role: str
    password: str
    api_key: str
    made: bool = False
    """Whether the server has, or had, an account of this name."""


def invited(name: str, role: str) -> Person:
    """A person with a new password of 77 bits, easy to read out, and a new API key."""
    groups = ["".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4)]
    return Person(name, role, "-".join(groups), f"assay.{secrets.token_urlsafe(32)}")


def read_people(folder: Path) -> list[Person]:
    """The people in a server's folder; none if the file is not there yet."""
    try:
        return [Person(**one) for one in json.loads((folder / PEOPLE).read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []


def write_people(folder: Path, people: Sequence[Person]) -> None:
    """Write the people of a server; call it within `alone`."""
    write_private(folder / PEOPLE, json.dumps([asdict(one) for one in people], ensure_ascii=False, indent=1) + "\n")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the right to change the file of people."""
    handle = os.open(folder / ".people.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
