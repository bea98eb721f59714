"""Profiling paths: `curate profile`."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.profile import Profiler
from curate.read import Gather, Reading, find_rows, read_files
from curate.tokens import Window
from schemas.console import progress
from schemas.dataset import Dataset, datasets_in, open_dataset
from schemas.excerpt import excerpt

_REJECTED_EXAMPLES = 3
_FRAME_BYTES = 12 << 20
"""So much text is measured at once by each core: less would be slower, as every frame takes a third of a second."""


def profile_paths(
    paths: Sequence[Path],
    reading: Reading,
    tokenizer: Path | None = None,
    report: Path | None = None,
    *,
    window: int | None = None,
    names: bool = False,
    verbs: bool = False,
    suggest: Path | None = None,
) -> dict[str, Any]:
    """The profile of any files, folders or datasets; as an HTML page in `report` as well, and what would mend it as a
    recipe in `suggest`, if given. `window` is the model's, in tokens; `names` and `verbs`: see `Profiler`."""
    reading = reading.checked()
    profiler = Profiler(tokenizer, window=Window(window) if window else None, names=names, verbs=verbs)
    told = _Told()
    for path in paths:
        folders = datasets_in(path)
        if folders:
            for folder in folders:
                profiler.add_each(_dataset_frames(open_dataset(folder), told))
        else:
            profiler.add_each(_file_frames(path, reading, told))
    found = dict(
        profiler.result(
            formats=dict(told.formats),
            bytes=told.bytes,
            files=told.files,
            rejected=dict(told.rejected),
            rejected_examples=told.rejected_examples,
        )
    )
    if report is not None:
        from schemas.report_profile import render_profile

        title = ", ".join(path.name or str(path.resolve().name) for path in paths)
        when = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(render_profile(found, title, when), encoding="utf-8")
    if suggest is not None:
        from curate.suggesting import suggested_recipe

        suggest.parent.mkdir(parents=True, exist_ok=True)
        suggest.write_text(suggested_recipe(found, paths, suggest), encoding="utf-8")
    return found


class _Told:
    """What the profiler cannot see in frames."""

    def __init__(self) -> None:
        self.formats: Counter[str] = Counter()
        self.bytes = 0
        self.files = 0
        self.rejected: Counter[str] = Counter()
        self.rejected_examples: list[dict[str, Any]] = []

    def reject(self, reason: str, file: str, line: int | None, held: str) -> None:
        self.rejected[reason] += 1
        if self.rejected[reason] <= _REJECTED_EXAMPLES:
            self.rejected_examples.append({"reason": reason, "file": file, "line": line, "excerpt": excerpt(held)})


def _dataset_frames(dataset: Dataset, told: _Told) -> Iterator[tuple[pl.DataFrame, str]]:
    """A dataset's rows, frame by frame, with their kind."""
    told.formats["dataset"] += dataset.rows
    told.files += len(dataset.manifest.shards)
    told.bytes += sum(shard.bytes for shard in dataset.manifest.shards)
    done = 0
    with progress(f"profile {dataset.folder.name}", dataset.rows) as shown:
        for frame in dataset.batches():
            yield frame, dataset.kind
            done += frame.height
            shown.at(done, done)


def _file_frames(path: Path, reading: Reading, told: _Told) -> Iterator[tuple[pl.DataFrame, str]]:
    """The rows of files, frame by frame, with their kind."""
    found = find_rows([path], reading)
    sizes = {file.name: file.path.stat().st_size for file in found.files}
    told.files += len(sizes)
    told.bytes += sum(sizes.values())
    done = dict.fromkeys(sizes, 0)
    gathered: dict[str, Gather] = {}
    rows = 0
    with progress(f"profile {path.name}", sum(sizes.values())) as shown:
        for piece in read_files(found.files, reading):
            told.formats.update(piece.formats)
            for reject in piece.rejects:
                told.reject(reject.reason, reject.file, reject.line, reject.held)
            if piece.frame is not None and piece.kind is not None:
                rows += piece.frame.height
                frame = gathered.setdefault(piece.kind, Gather(_FRAME_BYTES)).add(piece.frame)
                if frame is not None:
                    yield frame, piece.kind
            done[piece.file.name] = piece.bytes_read
            shown.at(sum(done.values()), rows)
        for kind, gather in gathered.items():
            rest = gather.rest()
            if rest is not None:
                yield rest, kind
    told.formats = +told.formats
