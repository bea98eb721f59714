"""Rows of real text for benchmarks, from what this machine has: the standard library and installed packages.

    python tests/bench/corpus.py OUT.jsonl [--rows 100000] [--root DIR ...]

Each row is `{"id", "text"}`: some paragraphs of a source file or document, about 1.1 KB on average. Packages repeat
licences, boilerplate and whole modules, so that a good part of the rows are near duplicates, as in scraped data.
"""

from __future__ import annotations

import argparse
import random
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import orjson

ENDINGS = (".py", ".pyi", ".txt", ".md", ".rst", ".h", ".js", ".html", ".json", ".pyx", ".c", ".css", ".xml")
WANTED_CHARS = 750


def files(roots: list[Path]) -> list[Path]:
    """Text files below the roots, in a fixed order of chance."""
    found = sorted({path for root in roots for path in root.rglob("*") if path.suffix in ENDINGS and path.is_file()})
    random.Random(7).shuffle(found)
    return found


def pieces(text: str) -> Iterator[str]:
    """Runs of paragraphs of about the wanted size."""
    piece = ""
    for paragraph in text.split("\n\n"):
        piece = f"{piece}\n\n{paragraph}" if piece else paragraph
        if len(piece) >= WANTED_CHARS:
            yield piece[: 8 * WANTED_CHARS]
            piece = ""
    if len(piece) > 40:
        yield piece


def default_roots() -> list[Path]:
    """Where this machine keeps Python's own library, the packages installed with it, and documents."""
    paths = sysconfig.get_paths()
    places = [paths["stdlib"], paths["purelib"], sys.base_prefix, "/usr/lib/python3", "/usr/share", "/usr/include"]
    return [path for path in dict.fromkeys(Path(one).resolve() for one in places) if path.is_dir()]


def write(out: Path, rows: int, roots: list[Path]) -> int:
    """Write the corpus; how many rows there are, fewer than wanted where the machine has less text."""
    written = 0
    with out.open("wb") as sink:
        for path in files(roots):
            text = path.read_text(encoding="utf-8", errors="ignore").replace("\x00", "")
            for piece in pieces(text):
                sink.write(orjson.dumps({"id": str(written), "text": piece}) + b"\n")
                written += 1
                if written == rows:
                    return written
    return written


def main() -> None:
    """Write a corpus."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--root", type=Path, action="append")
    chosen = parser.parse_args()
    rows = write(chosen.out, chosen.rows, chosen.root or default_roots())
    print(f"{rows:,} rows, {chosen.out.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
