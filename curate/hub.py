"""Datasets of the Hugging Face hub, fetched by the `datasets` library where that is installed."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import UserError

_ID = re.compile(r"(?:hf://datasets/|hub:)?([A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*)(?::([\w.\-]+))?")


def hub_id(path: Path) -> tuple[str, str | None] | None:
    """Owner/name and configuration of a dataset on the hub, if that is what the words look like."""
    found = _ID.fullmatch(str(path).replace("hf:/datasets/", "hf://datasets/"))
    return (found.group(1), found.group(2)) if found and not path.suffix else None


def fetched(path: Path) -> Path:
    """A folder with the Parquet files of a hub dataset. Raises UserError when it cannot be had."""
    said = hub_id(path)
    if said is None:
        raise UserError(f"{path} does not exist", hint="check the path; it is relative to where the command runs")
    name, config = said
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{path} does not exist; if it is a dataset of the hub, the library that fetches it is missing",
            hint="pip install 'assay[hub]'",
        ) from None
    cache = Path.home() / ".cache" / "assay" / "hub" / name.replace("/", "--")
    folder = cache / (config or "default")
    if not (folder / "fetched").is_file():
        _reachable(path)
        try:
            # Scripts of a dataset are code from a stranger; current versions of the library run none.
            for split, rows in datasets.load_dataset(name, config).items():
                folder.mkdir(parents=True, exist_ok=True)
                rows.to_parquet(str(folder / f"{split}.parquet"))
        except Exception as error:
            said_first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise UserError(
                f"{path} is neither a file here nor could it be fetched from the hub: {said_first}",
                hint="check the name (HF_ENDPOINT names a mirror), or download the files and name their folder",
            ) from None
        (folder / "fetched").touch()
    return folder


def _reachable(path: Path) -> None:
    """Raise UserError at once where there is no connection; the library would try for half a minute."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    host = urlsplit(endpoint).hostname or endpoint
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        raise UserError(
            f"{path} does not exist here, and the hub at {host} cannot be reached",
            hint="check the path or the connection (HF_ENDPOINT names a mirror), or name downloaded files",
        ) from None
