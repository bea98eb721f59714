"""What tests of several folders need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def curate(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the `curate` command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "curate.cli", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd
    )


def curate_json(*arguments: object, status: int = 0) -> dict[str, Any]:
    """Run the `curate` command with --json; its object."""
    ran = curate(*arguments, "--json")
    assert ran.returncode == status, ran.stderr + ran.stdout
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def write_rows(path: Path, rows: list[Any]) -> Path:
    """Write a JSON Lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
