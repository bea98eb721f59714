"""Making datasets out of files: `curate import` and `curate collect`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curate.collectors.collector import Collector, Found, Refused
from curate.files import InputFile
from curate.read import (
    Piece,
    Reading,
    Repeats,
    assemble,
    file_encoding,
    find_files,
    find_rows,
    is_large,
    read_files,
)
from curate.recipe import checked_settings
from curate.workers import Workers
from schemas.console import progress
from schemas.dataset import Dataset, DatasetWriter, Reject, RejectSink, Told, datasets_in, open_dataset, sha256_of
from schemas.errors import UserError
from schemas.excerpt import excerpt
from schemas.formats import FORMATS, Read
from schemas.lookup import find
from schemas.manifest import InputFile as ReadFile
from schemas.manifest import fingerprint, library_versions
from schemas.run import AlreadyDone, Run, run_into
from schemas.sources import Source

VERSION = 1
"""Raised whenever the same files and settings give other rows than before."""

_COLLECTED_ROWS = 4096
_REJECTED_FIX = {
    "import": "`curate check` says what to do about each kind",
    "collect": "what a collector leaves out is a setting: `curate collectors`",
}
_LIBRARIES = ("assay", "polars", "pyarrow", "orjson")


@dataclass(frozen=True)
class Made:
    """What a command made: the datasets, and whether they were there already."""

    datasets: list[Dataset]
    already: bool = False


def import_files(
    paths: Sequence[Path], out: Path, reading: Reading, source: Mapping[str, Any], *, replace: bool = False
) -> Made:
    """Read row files into a dataset; into one for each kind of row below `out` where there are several kinds.

    `source` has the fields of a Source other than its name. Raises UserError when nothing could be used.
    """
    reading = reading.checked()
    found = find_rows(paths, reading)
    settings = {
        "format": reading.format,
        "columns": dict(reading.columns),
        "task": reading.task,
        "encoding": reading.encoding,
        "source": reading.source,
    }
    job = _Job("import", paths, out, found.files, found.passed_over, settings, source)
    with Workers() as workers:
        if any(map(is_large, found.files)):
            workers.start()  # while the files are hashed
        return job.carry_out(lambda: read_files(found.files, reading, workers), replace=replace)


def collect_files(
    name: str,
    paths: Sequence[Path],
    out: Path,
    settings: Mapping[str, Any],
    source: Mapping[str, Any],
    *,
    source_name: str | None = None,
    replace: bool = False,
) -> Made:
    """Make rows from what people already have with the collector of that name."""
    cls = find("curate.collectors", name, Collector)  # type: ignore[type-abstract]
    collector = cls(**checked_settings(cls, settings, f"curate collect {name}"))
    found = find_files(paths, source_name, cls.suffixes())
    if not found.files:
        listed = ", ".join(str(path) for path in paths)
        raise UserError(
            f"there is nothing to collect in {listed}",
            hint=f"`curate collect {name}` reads {', '.join(cls.suffixes())}",
        )
    filled = {"collector": name, "version": cls.version, **collector.model_dump()}
    if cls.libraries:
        filled["libraries"] = library_versions(cls.libraries)
    job = _Job("collect", paths, out, found.files, found.passed_over, filled, {"kind": "collect", **source})
    return job.carry_out(lambda: _collected(collector, found.files), replace=replace)


def _collected(collector: Collector, files: Sequence[InputFile]) -> Iterator[Piece]:
    """A collector's rows as pieces, file by file."""
    repeats = Repeats()
    by_name = {file.name: file for file in files}
    read = 0
    found = collector.collect([(file.path, file.name) for file in files])
    for name, items in groupby(found, key=lambda item: item.file):
        read += by_name[name].path.stat().st_size
        while batch := list(islice(items, _COLLECTED_ROWS)):
            yield from _pieces(by_name[name], batch, read, repeats)


def _pieces(file: InputFile, items: Sequence[Found | Refused], read: int, repeats: Repeats) -> Iterator[Piece]:
    form = FORMATS["messages"]
    found = [item for item in items if isinstance(item, Found)]
    rejects = [
        Reject(item.file, item.line, item.reason, item.detail, item.held) for item in items if isinstance(item, Refused)
    ]
    reads = []
    for item in found:
        turns = [{key: value for key, value in turn.items() if value is not None} for turn in item.messages]
        content = {"messages": turns} | ({"tools": item.tools} if item.tools else {})
        own = {key: value for key, value in (("id", item.external_id), ("task", item.task)) if value}
        reads.append(Read(form, content, own, dict(item.extra)))
    if reads:
        lines: list[Any] = [item.line for item in found]
        frame, bad = assemble("chat", reads, lines, file, None, None, repeats, [item.part for item in found])
        rejects += [Reject(file.name, lines[number], why.reason, why.detail) for number, why in bad]
        yield Piece(file, "chat", frame, [], Counter(messages=frame.height), read)
    if rejects:
        yield Piece(file, "chat", None, rejects, Counter(), read)


class _Job:
    """One import or collection."""

    def __init__(
        self,
        command: str,
        paths: Sequence[Path],
        out: Path,
        files: Sequence[InputFile],
        passed_over: list[str],
        settings: Mapping[str, Any],
        source: Mapping[str, Any],
    ) -> None:
        self.command = command
        self.paths = paths
        self.out = out
        self.files = files
        self.passed_over = passed_over
        self.settings = dict(settings)
        self.sources = {file.source: _source(file.source, source) for file in files}
        self.seconds: dict[str, float] = {}

    def carry_out(self, read: Callable[[], Iterator[Piece]], *, replace: bool) -> Made:
        began = time.monotonic()
        stamps = [_stamp(file.path) for file in self.files]
        hashes = {file.name: _hash(file) for file in self.files}
        self.seconds["hash"] = time.monotonic() - began
        mark = fingerprint(
            {
                "command": self.command,
                "version": VERSION,
                "settings": self.settings,
                "files": [[file.name, file.source, hashes[file.name]] for file in self.files],
                "sources": {name: source.model_dump() for name, source in self.sources.items()},
            }
        )
        try:
            with run_into(self.out, mark, replace=replace) as run:
                run.clear()  # reading is fast, so a cut-off import is not continued but done again
                try:
                    self._write(run, read, mark, hashes)
                except BaseException as error:
                    run.clear()
                    if isinstance(error, FileNotFoundError):
                        self._check_unchanged(stamps)
                    raise
                self._check_unchanged(stamps)
                run.publish()
        except AlreadyDone:
            return Made([open_dataset(one) for one in datasets_in(self.out)], already=True)
        return Made([open_dataset(one) for one in datasets_in(self.out)])

    def _check_unchanged(self, stamps: Sequence[tuple[int, int] | None]) -> None:
        for file, stamp in zip(self.files, stamps, strict=True):
            if _stamp(file.path) != stamp:
                raise UserError(f"{file.path} changed while it was read", hint="run the same command again")

    def _write(self, run: Run, read: Callable[[], Iterator[Piece]], mark: str, hashes: Mapping[str, str]) -> None:
        began = time.monotonic()
        writers: dict[str, DatasetWriter] = {}
        loose = RejectSink(run.folder / "rejected.part")
        reading = _Tally()
        sizes = [file.path.stat().st_size for file in self.files]
        begins = dict(zip((file.name for file in self.files), accumulate(sizes, initial=0), strict=False))
        try:
            with progress(self.command, sum(sizes)) as shown:
                for piece in read():
                    if piece.kind is not None and piece.frame is not None and piece.frame.height:
                        if piece.kind not in writers:
                            writers[piece.kind] = DatasetWriter(run.folder / piece.kind, piece.kind)
                        writers[piece.kind].add(piece.frame)
                    for reject in piece.rejects:
                        sink = writers[piece.kind].rejects if piece.kind in writers else loose
                        sink.add(reject)
                    reading.count(piece)
                    done = begins[piece.file.name] + piece.bytes_read
                    shown.at(done, reading.total, f"{self.command} {piece.file.name}")
            if not writers:
                raise _nothing_usable(self.command, self.paths, loose)
            first = max(writers.values(), key=lambda writer: writer.data.rows)
            first.rejects.take(loose)
            for writer in writers.values():
                writer.close()
        except BaseException:
            for writer in writers.values():
                writer.abandon()
            loose.close()
            raise
        self.seconds["read"] = time.monotonic() - began
        only = len(writers) == 1
        if only:
            for path in list(first.folder.iterdir()):
                path.rename(run.folder / path.name)
            first.folder.rmdir()
        for kind, writer in writers.items():
            self._finish(writer, run.folder if only else run.folder / kind, kind, only, mark, hashes, reading)

    def _finish(
        self,
        writer: DatasetWriter,
        folder: Path,
        kind: str,
        only: bool,
        mark: str,
        hashes: Mapping[str, str],
        reading: _Tally,
    ) -> None:
        name = self.out.name if only else f"{self.out.name}-{kind}"
        used = {file for (file, of) in reading.rows if of == kind}
        inputs = [
            ReadFile(
                path=str(file.path),
                fingerprint=hashes[file.name],
                bytes=file.path.stat().st_size,
                rows=reading.rows[file.name, kind],
                format=", ".join(form for form, _ in reading.formats.get(file.name, Counter()).most_common()) or None,
                encoding=file_encoding(file) if self.command == "import" else None,
            )
            for file in self.files
            if file.name in used or only
        ]
        told = Told(
            rows_in=writer.data.rows + sum(writer.rejects.counts.values()),
            manifest={
                "command": self.command,
                "name": name,
                "fingerprint": mark,
                "sources": {one: self.sources[one] for one in sorted(writer.data.by_source)},
                "inputs": inputs,
                "recipe": {key: value for key, value in self.settings.items() if value not in (None, {}, [])},
                "findings": self._findings(writer, reading),
                "versions": library_versions(_LIBRARIES),
                "seconds": {key: round(value, 3) for key, value in self.seconds.items()},
            },
        )
        writer.finish(told, folder)

    def _findings(self, writer: DatasetWriter, reading: _Tally) -> list[dict[str, Any]]:
        findings: list[dict[str, Any]] = []
        refused = writer.rejects.counts
        if refused:
            worst, number = refused.most_common(1)[0]
            example = writer.rejects.examples[worst][0]
            findings.append(
                finding(
                    "rejected",
                    "low" if self.command == "collect" else "high" if _many(refused, writer.data.rows) else "medium",
                    sum(refused.values()),
                    f"{example['file']}:{example['line']} {worst}: {example['detail']}",
                    f"{number:,} for {worst}; {_REJECTED_FIX[self.command]}",
                )
            )
        mixed = [name for name, formats in reading.formats.items() if sum(1 for n in formats.values() if n) > 1]
        if mixed:
            findings.append(
                finding("mixed_formats", "low", len(mixed), mixed[0], "each row was read in its own format")
            )
        if self.passed_over:
            findings.append(
                finding(
                    "passed_over",
                    "low",
                    len(self.passed_over),
                    self.passed_over[0],
                    "files that hold no rows were left alone",
                )
            )
        unlicensed = [
            name for name, source in self.sources.items() if not source.licence and name in writer.data.by_source
        ]
        if unlicensed and self.command == "import":
            findings.append(
                finding(
                    "no_licence",
                    "low",
                    len(unlicensed),
                    unlicensed[0],
                    "say it with --licence SPDX, and --evidence for proof",
                )
            )
        return findings


class _Tally:
    """Rows by file and kind, and formats by file."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, str]] = Counter()
        self.total = 0
        self.formats: dict[str, Counter[str]] = {}

    def count(self, piece: Piece) -> None:
        if piece.frame is not None and piece.kind is not None:
            self.rows[piece.file.name, piece.kind] += piece.frame.height
            self.total += piece.frame.height
        self.formats.setdefault(piece.file.name, Counter()).update(piece.formats)


def _many(refused: Counter[str], rows: int) -> bool:
    return sum(refused.values()) * 20 > rows


def finding(kind: str, severity: str, count: int, example: str, fix: str) -> dict[str, Any]:
    """One finding in the form that reports and `--json` have."""
    return {"kind": kind, "severity": severity, "count": count, "example": example, "fix": fix}


def _source(name: str, fields: Mapping[str, Any]) -> Source:
    try:
        return Source(name=name, **fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{first['loc'][0]} of the source {excerpt(name, 60)!r}: {first['msg']}",
            hint="name the source yourself with --source",
        ) from None


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of last change; None where the file is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _hash(file: InputFile) -> str:
    try:
        file.name.encode()
    except UnicodeEncodeError:
        raise UserError(f"the name of {excerpt(str(file.path))} is not valid UTF-8", hint="rename the file") from None
    try:
        return sha256_of(file.path)
    except OSError as error:
        raise UserError(
            f"{file.path} cannot be read: {error.strerror}", hint="check that it is there, and yours to read"
        ) from error


def _nothing_usable(command: str, paths: Sequence[Path], loose: RejectSink) -> UserError:
    loose.close()
    loose.path.unlink(missing_ok=True)
    listed = ", ".join(str(path) for path in paths)
    if not loose.counts:
        return UserError(f"there are no rows in {listed}", hint="the files are empty, or hold only a header")
    reason, number = loose.counts.most_common(1)[0]
    example = loose.examples[reason][0]
    said = f"{example['file']}:{example['line']}: {example['detail']}"
    columns = ""
    if reason == "unknown_format":
        columns = "; map a column with --map output=COLUMN, or see `curate formats`"
    every = sum(loose.counts.values())
    if command == "collect":
        return UserError(
            f"nothing in {listed} can be collected; {number:,} of {every:,} for {reason}, first at {said}",
            hint="`curate collectors` says what each collector reads and how it is set",
        )
    return UserError(
        f"none of {every:,} rows in {listed} can be used; {number:,} for {reason}, first at {said}",
        hint=f"run `curate check {paths[0]}` for everything that is wrong{columns}",
    )


def result_json(made: Made) -> dict[str, Any]:
    """The stable JSON result of a command that makes a dataset."""
    first = max(made.datasets, key=lambda dataset: dataset.rows)
    total: dict[str, Any] = {
        "dataset": str(first.folder),
        "fingerprint": first.manifest.fingerprint,
        "rows_in": 0,
        "rows_out": 0,
        "dropped": Counter(),
        "rejected": 0,
        "merged": 0,
        "made": 0,
        "findings": [],
    }
    for dataset in made.datasets:
        counts = dataset.manifest.counts
        total["rows_in"] += counts.rows_in
        total["rows_out"] += counts.rows_out
        total["dropped"].update(counts.dropped)
        total["rejected"] += sum(counts.rejected.values())
        total["merged"] += counts.merged
        total["made"] += counts.made
        total["findings"] += dataset.manifest.findings
    total["dropped"] = dict(total["dropped"])
    rejected_by: Counter[str] = Counter()
    for dataset in made.datasets:
        rejected_by.update(dataset.manifest.counts.rejected)
    return total | {
        "rejected_by_reason": dict(rejected_by),
        "kind": first.kind,
        "already_done": made.already,
        "datasets": [
            {
                "dataset": str(dataset.folder),
                "kind": dataset.kind,
                "rows_out": dataset.rows,
                "digest": dataset.manifest.digest,
            }
            for dataset in made.datasets
        ],
    }
