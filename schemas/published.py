"""The JSON Schemas of row kinds and the manifest: generated from the classes, published in schemas/json.

`python -m schemas.published` writes them; a test holds that they are up to date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from schemas.manifest import Manifest
from schemas.rows import KINDS
from schemas.sources import Source

FOLDER = Path(__file__).parent / "json"


def published() -> dict[str, dict[str, Any]]:
    """File name to schema."""
    found: dict[str, dict[str, Any]] = {f"{name}.json": TypeAdapter(cls).json_schema() for name, cls in KINDS.items()}
    found["manifest.json"] = Manifest.model_json_schema()
    found["source.json"] = Source.model_json_schema()
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: dialect | schema for name, schema in found.items()}


def text_of(schema: dict[str, Any]) -> str:
    """A schema as its file's text."""
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def write() -> None:
    """Write every schema to its file."""
    FOLDER.mkdir(exist_ok=True)
    for name, schema in published().items():
        (FOLDER / name).write_text(text_of(schema), encoding="utf-8")


if __name__ == "__main__":
    write()
