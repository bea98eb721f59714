"""The recipe that would mend what a profile found: `curate profile --suggest`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from schemas.dataset import datasets_in

ORDER = (
    "personal_data",
    "empty",
    "placeholder",
    "refusal",
    "boilerplate",
    "truncated",
    "repetition",
    "language_mismatch",
    "flaws",
    "exact_duplicates",
    "near_duplicates",
)
"""Stages in the order of a recipe: what rows say first, then rows alone, then rows compared with each other."""


def suggested_recipe(profile: Mapping[str, Any], paths: Sequence[Path], out: Path) -> str:
    """A recipe in YAML of the stages that the profile's findings name, each with why; what no stage mends is a comment.

    `out` is the file that it is meant for.
    """
    found = [finding for finding in profile["findings"] if finding["use"]]
    left = [finding for finding in profile["findings"] if not finding["use"]]
    uses = sorted({finding["use"] for finding in found}, key=lambda use: (ORDER.index(use), use))
    datasets = [folder for path in paths for folder in datasets_in(path)]
    lines = []
    if len(datasets) < len(paths):
        given = " ".join(str(path) for path in paths)
        lines += [
            f"# curate import {_commented(given)} --out DIR",
            f"# curate run {_commented(str(out))} --input DIR --out CLEAN",
        ]
    else:
        lines.append(f"# curate run {_commented(str(out))} --out CLEAN")
    lines.append(f"name: {out.stem if out.stem.isidentifier() else 'suggested'}")
    if len(datasets) >= len(paths):
        lines += ["inputs:", *(f"  - {_quoted(str(path))}" for path in paths)]
    lines.append("stages:" if uses else "stages: []")
    for use in uses:
        own = [finding for finding in found if finding["use"] == use]
        lines += [f"  # {_why(finding, profile['rows'])}" for finding in own]
        lines.append(f"  - use: {use}")
        for name, value in own[0].get("settings", {}).items():
            lines.append(f"    {name}: {_quoted(value)}")
    if left:
        lines += ["", "# For people to decide:"]
        lines += [f"# {_why(finding, profile['rows'])}: {_commented(finding['fix'])}" for finding in left]
    return "\n".join(lines) + "\n"


def _why(finding: Mapping[str, Any], rows: int) -> str:
    share = f" ({finding['share']:.1%})" if rows else ""
    return f"{finding['kind']}: {finding['count']:,} rows{share}"


def _quoted(value: Any) -> str:
    """A value as YAML in one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).removesuffix("...\n").strip()
    )


def _commented(text: str) -> str:
    """Text fit for a comment."""
    return " ".join(text.split())
