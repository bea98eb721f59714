"""What leaves the machine: which addresses a person's policy file trusts, and a record of every departure.

Rows whose source is neither scrubbed nor free of personal data are sent only to this machine itself or to a trusted
address. Every departure is written down, whatever the rows hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from schemas.errors import RecipeError, UserError, raise_all
from schemas.recipe import Document, read_document
from schemas.sources import Source

HOME = Path(".assay")
"""The project home, in the working directory: what outlives one run."""

EGRESS = "egress.jsonl"
"""Name of the record of departures; it lies in the project home."""

POLICY = "policy.yaml"
"""Name of the policy file in the project home; it is read where no other is named."""


def trusted_in(document: Document) -> tuple[tuple[str, ...], list[RecipeError]]:
    """The addresses under `trusted` in a policy file, and what is wrong with them."""
    given = (document.value or {}).get("trusted") or []
    if not isinstance(given, list):
        return (), [document.error(("trusted",), "it is a list", "begin each address with '- '")]
    errors = [
        document.error(("trusted", number), f"{one!r} is no address", "write it as https://host/path")
        for number, one in enumerate(given)
        if not isinstance(one, str) or _place(one) is None
    ]
    return tuple(given) if not errors else (), errors


def read_trusted(path: Path) -> tuple[str, ...]:
    """The addresses that a policy file trusts. Raises RecipeError or UserErrors with every mistake and its line."""
    document = read_document(path)
    raise_all(list(document.errors))
    if not isinstance(document.value, dict):
        raise RecipeError(f"{path} is no policy", hint="it has the keys terms and trusted", file=str(path))
    trusted, errors = trusted_in(document)
    raise_all(list(errors))
    return trusted


def trusts(trusted: Iterable[str], address: str) -> bool:
    """Whether rows that hold personal data, or may, can be sent to an address: it is this machine itself, or its
    scheme, host and port are those of a trusted one and its path begins with that one's."""
    asked = _place(address)
    if asked is None:
        return False
    if is_here(address):
        return True
    places = [place for place in map(_place, trusted) if place is not None]
    return any(asked[:3] == place[:3] and (asked[3] + "/").startswith(place[3].rstrip("/") + "/") for place in places)


def is_here(address: str) -> bool:
    """Whether an address is this machine's own."""
    place = _place(address)
    if place is None:
        return False
    if place[1] == "localhost":
        return True
    try:
        return ip_address(place[1]).is_loopback
    except ValueError:
        return False


def may_leave(
    sources: Mapping[str, Source], used: Iterable[str], address: str, trusted: Sequence[str], *, policy: Path
) -> None:
    """Raise UserError unless rows of the sources `used` may be sent to an address. `policy`: the file to mend."""
    if trusts(trusted, address):
        return
    held = {name: sources[name].personal_data if name in sources else "unknown" for name in sorted(set(used))}
    kept = {name: said for name, said in held.items() if said not in ("scrubbed", "none")}
    if kept:
        said = ", ".join(f"{name} ({personal_data})" for name, personal_data in list(kept.items())[:3])
        more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
        raise UserError(
            f"rows of {said}{more} may hold personal data and would be sent to {address}",
            hint=f"curate scrub them first; or name the address under `trusted:` in {policy} if it may see them; "
            "or import them with --personal-data none if they hold none",
        )


def note_departure(home: Path, *, destination: str, command: str, rows: Sequence[str]) -> None:
    """Append a departure to the record, on disk before anything is sent. `rows`: their ids; never their content."""
    line = orjson.dumps(
        {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "destination": destination,
            "command": command,
            "rows": list(rows),
        }
    )
    home.mkdir(parents=True, exist_ok=True)
    handle = os.open(home / EGRESS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, line + b"\n")
        os.fdatasync(handle)
    finally:
        os.close(handle)


def _place(address: str) -> tuple[str, str, int, str] | None:
    """Scheme, host, port and path of an address; None of one that is not whole, or has a name or `..` in it."""
    try:
        parts = urlsplit(address.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    if ".." in parts.path or "%" in parts.path or "\\" in address:
        return None
    return (
        parts.scheme,
        parts.hostname.lower(),
        port or (443 if parts.scheme == "https" else 80),
        parts.path.rstrip("/"),
    )
