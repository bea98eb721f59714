"""The only reader and writer of dataset folders.

NAME/manifest.json          written last: if it is there, the dataset is whole
     data/00000.parquet     the rows: zstd, page checksums, canonical columns; the only Parquet in the folder
     dropped/00000.arrow    rows that stages marked, with `stage`, `reason`, `because`; Arrow IPC on purpose, so that a
                            stray **/*.parquet never reads them back in
     rejected.jsonl         input that never became a row
     README.md croissant.json report.html report.json
"""

from __future__ import annotations

import datetime
import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from schemas.card import CARD, CROISSANT, card, croissant
from schemas.errors import DatasetError
from schemas.excerpt import excerpt
from schemas.manifest import DIGEST_BITS, MANIFEST, Counts, Manifest, Shard, digest_hex, rows_digest
from schemas.report import render_run
from schemas.rows import Kind, columns, content_columns, content_digest
from schemas.run import write_durably

DATA = "data"
DROPPED = "dropped"
REJECTED = "rejected.jsonl"

ROW_GROUP_BYTES = 16 << 20
"""A row group is closed when its rows reach this size in memory."""

SHARD_BYTES = 512 << 20
"""A shard is closed when its rows reach this size in memory."""

HELD_CHARS = 2_000
"""How much of a rejected piece of input is kept."""

_PENDING = 2


@dataclass(frozen=True, slots=True)
class Reject:
    """Input that did not become a row: where it stood, a snake_case reason, a sentence, and what it held."""

    file: str
    line: int | None
    reason: str
    detail: str = ""
    held: str = ""

    def as_json(self) -> dict[str, Any]:
        """The record in rejected.jsonl; `held` is cut."""
        held = self.held if len(self.held) <= HELD_CHARS else self.held[:HELD_CHARS] + "…"
        return {"file": self.file, "line": self.line, "reason": self.reason, "detail": self.detail, "held": held}


def held_text(raw: bytes) -> str:
    """The beginning of some bytes as text for a Reject; what is not UTF-8 is written as escapes."""
    return raw[: HELD_CHARS * 4 + 4].decode("utf-8", errors="backslashreplace")


class ParquetSink:
    """Writes frames of canonical columns to `folder`/00000.parquet and on, encoding in a thread of its own.

    The bytes depend on the rows and how they were cut into frames, not on timing.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.kind = kind
        self.rows = 0
        self.digest = 0
        self.by_source: Counter[str] = Counter()
        self.by_language: Counter[str | None] = Counter()
        self.by_task: Counter[str | None] = Counter()
        self.shards: list[Shard] = []
        self._columns = columns(kind)
        self._buffer: list[pl.DataFrame] = []
        self._buffered = 0
        self._shard_bytes = 0
        self._shard_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._pending: list[Future[None]] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows. `frame` has exactly the kind's columns, in any order."""
        if frame.is_empty():
            return
        frame = frame.select(list(self._columns))
        self._buffer.append(frame)
        self._buffered += _bytes_of(frame)
        self.rows += frame.height
        if self._buffered >= ROW_GROUP_BYTES:
            self._flush()

    def finish(self) -> list[Shard]:
        """Write what is left and return the shards. An empty dataset has one shard with no rows."""
        if self._buffer or self.rows == 0:
            self._flush()
        self._submit(self._close_shard)
        self._wait(0)
        self._pool.shutdown()
        return self.shards

    def abandon(self) -> None:
        """Stop without finishing; what was written is left for the run to clear."""
        for future in self._pending:
            future.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        frame = pl.concat(self._buffer) if self._buffer else pl.DataFrame(schema=self._columns)
        size = self._buffered
        self._buffer, self._buffered = [], 0
        self._submit(self._write, frame, size)

    def _submit(self, work: Any, *arguments: Any) -> None:
        self._wait(_PENDING - 1)
        self._pending.append(self._pool.submit(work, *arguments))

    def _wait(self, most: int) -> None:
        while len(self._pending) > most:
            self._pending.pop(0).result()

    def _write(self, frame: pl.DataFrame, size: int) -> None:
        table = to_arrow(frame)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self.folder / f"{len(self.shards):05d}.parquet",
                table.schema,
                compression="zstd",
                compression_level=1,
                write_page_checksum=True,
                write_page_index=True,
                use_dictionary=["source", "task", "lang", "split", "origin.file", "origin.part"],
                store_schema=False,
            )
        self._writer.write_table(table, row_group_size=max(1, frame.height))
        self.digest = (self.digest + rows_digest(frame)) % (1 << DIGEST_BITS)
        for name, counted in (("source", self.by_source), ("lang", self.by_language), ("task", self.by_task)):
            counted.update(dict(frame[name].value_counts().iter_rows()))  # type: ignore[attr-defined]
        self._shard_bytes += size
        self._shard_rows += frame.height
        if self._shard_bytes >= SHARD_BYTES:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        path = self.folder / f"{len(self.shards):05d}.parquet"
        self.shards.append(shard_of(path, self.folder.parent, self._shard_rows))
        self._shard_bytes = self._shard_rows = 0


class ArrowSink:
    """Writes frames of any one set of columns to one Arrow IPC file; nothing is written until there are rows."""

    def __init__(self, path: Path, compression: str = "zstd") -> None:
        self.path = path
        self.compression = compression
        self.rows = 0
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        if frame.is_empty():
            return
        table = to_arrow(frame)
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            options = pa.ipc.IpcWriteOptions(compression=self.compression)
            self._writer = pa.ipc.new_file(self.path, table.schema, options=options)
        self._writer.write_table(table)
        self.rows += frame.height

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _bytes_of(frame: pl.DataFrame) -> int:
    return int(frame.estimated_size())


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """The frame as an Arrow table with 64-bit strings and lists, which every reader knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def shard_of(path: Path, root: Path, rows: int) -> Shard:
    """The manifest's entry for a finished file."""
    return Shard(path=path.relative_to(root).as_posix(), sha256=sha256_of(path), bytes=path.stat().st_size, rows=rows)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrow(path: Path) -> Iterator[pl.DataFrame]:
    """The frames of an Arrow IPC file, one record batch at a time."""
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
        for number in range(reader.num_record_batches):
            frame = pl.from_arrow(pa.Table.from_batches([reader.get_batch(number)]))
            assert isinstance(frame, pl.DataFrame)
            yield frame


@dataclass(frozen=True)
class Dataset:
    """A whole dataset on disk."""

    folder: Path
    manifest: Manifest = field(repr=False)

    @property
    def kind(self) -> str:
        """Kind of its rows."""
        return self.manifest.kind

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return self.manifest.counts.rows_out

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Its rows in order, one row group at a time, checksums checked; `names` picks columns."""
        for shard in self.manifest.shards:
            path = self.folder / shard.path
            try:
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    for group in range(file.num_row_groups):
                        frame = pl.from_arrow(file.read_row_group(group, columns=list(names) if names else None))
                        assert isinstance(frame, pl.DataFrame)
                        wanted = columns(self.kind)
                        yield frame.select(pl.col(name).cast(wanted[name]) for name in names or wanted)
            except (OSError, pa.ArrowException) as error:
                raise DatasetError(
                    f"{path} cannot be read: {error}", hint="run `curate verify` to see what is damaged", file=str(path)
                ) from error

    def scan(self) -> pl.LazyFrame:
        """Its rows as a lazy frame."""
        return pl.scan_parquet([self.folder / shard.path for shard in self.manifest.shards])

    def dropped(self) -> Iterator[pl.DataFrame]:
        """The rows that stages marked, with the marks, in order."""
        for shard in self.manifest.dropped:
            try:
                yield from read_arrow(self.folder / shard.path)
            except (OSError, pa.ArrowException) as error:
                raise DatasetError(
                    f"{self.folder / shard.path} cannot be read: {error}",
                    hint="run `curate verify` to see what is damaged",
                ) from error

    def rejected(self) -> Iterator[dict[str, Any]]:
        """The records of rejected.jsonl, in order."""
        for shard in self.manifest.rejected:
            with (self.folder / shard.path).open("rb") as file:
                for line in file:
                    yield orjson.loads(line)


def is_dataset(path: Path) -> bool:
    """Whether `path` is a folder with a manifest of ours."""
    return (path / MANIFEST).is_file()


def datasets_in(path: Path) -> list[Path]:
    """The dataset folders at `path`: itself, or those one level below it."""
    if is_dataset(path):
        return [path]
    return sorted(manifest.parent for manifest in path.glob(f"*/{MANIFEST}")) if path.is_dir() else []


def open_dataset(path: Path) -> Dataset:
    """The dataset in a folder. Raises DatasetError with what to do when it is not exactly one whole dataset."""
    if not path.exists():
        raise DatasetError(f"{path} does not exist", hint="make a dataset with `curate import PATH --out DIR`")
    if not path.is_dir():
        raise DatasetError(f"{path} is a file, not a dataset", hint=f"import it first: curate import {path} --out DIR")
    manifest = path / MANIFEST
    if not manifest.is_file():
        inside = datasets_in(path)
        if inside:
            listed = ", ".join(str(one) for one in inside)
            raise DatasetError(
                f"{path} holds several datasets, one for each kind of row", hint=f"name one of: {listed}"
            )
        raise DatasetError(
            f"{path} has no {MANIFEST}, so it is no dataset, or the run that wrote it did not finish",
            hint=f"import files with `curate import {path} --out DIR`, or run the command that wrote it again",
        )
    try:
        return Dataset(path, Manifest.model_validate_json(manifest.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DatasetError(
            f"{manifest} is damaged or was written by another version: {where}: {first['msg']}",
            hint="make the dataset again with --replace",
            file=str(manifest),
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; the dataset is whole from now on."""
    write_durably(folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")


class RejectSink:
    """Writes rejected input to a JSON Lines file, and remembers the first few of each reason as masked examples."""

    def __init__(self, path: Path, examples: int = 3) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[dict[str, Any]]] = {}
        self._most = examples
        self._file: BinaryIO | None = None

    def add(self, reject: Reject) -> None:
        """Append one."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
        self._file.write(orjson.dumps(reject.as_json()) + b"\n")
        self.counts[reject.reason] += 1
        known = self.examples.setdefault(reject.reason, [])
        if len(known) < self._most:
            shown = {"detail": excerpt(reject.detail), "excerpt": excerpt(reject.held)}
            known.append({"reason": reject.reason, "file": reject.file, "line": reject.line, **shown})

    def take(self, other: RejectSink) -> None:
        """Append everything another one wrote."""
        other.close()
        if not other.counts:
            return
        self.close()
        with self.path.open("ab") as mine, other.path.open("rb") as theirs:
            shutil.copyfileobj(theirs, mine)
        other.path.unlink()
        self.counts.update(other.counts)
        for reason, examples in other.examples.items():
            known = self.examples.setdefault(reason, [])
            known += examples[: self._most - len(known)]

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class DatasetWriter:
    """Collects the rows, dropped rows and rejected input of one dataset into a folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        folder.mkdir(parents=True, exist_ok=True)
        self.data = ParquetSink(folder / DATA, kind)
        self._dropped = ArrowSink(folder / DROPPED / "00000.arrow")
        self.rejects = RejectSink(folder / REJECTED)
        self.dropped: Counter[str] = Counter()

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        self.data.add(frame)

    def drop(self, frame: pl.DataFrame) -> None:
        """Append dropped rows, which have the marks."""
        self._dropped.add(frame)
        self.dropped.update(dict(frame["reason"].value_counts().iter_rows()))

    def close(self) -> None:
        """Finish every file of rows."""
        self.data.finish()
        self._dropped.close()
        self.rejects.close()

    def abandon(self) -> None:
        """Close files without finishing."""
        self.data.abandon()
        self._dropped.close()
        self.rejects.close()

    def finish(self, told: Told, folder: Path | None = None) -> Manifest:
        """Write everything else into the folder, the manifest last. `folder` is where it stands now, if it was moved.

        Call after `close`. Raises ValueError if the counts do not balance, which would be our bug.
        """
        folder = folder or self.folder
        dropped = []
        if self._dropped.rows:
            dropped.append(shard_of(folder / DROPPED / "00000.arrow", folder, self._dropped.rows))
        rejected = []
        if self.rejects.counts:
            rejected.append(shard_of(folder / REJECTED, folder, sum(self.rejects.counts.values())))
        manifest = Manifest(
            **told.manifest,
            kind=cast(Kind, self.kind),
            digest=digest_hex(self.data.digest),
            shards=self.data.shards,
            dropped=dropped,
            rejected=rejected,
            counts=Counts(
                rows_in=told.rows_in,
                rows_out=self.data.rows,
                dropped=dict(sorted(self.dropped.items())),
                rejected=dict(sorted(self.rejects.counts.items())),
                made=told.made,
            ),
            rows_by_source=dict(sorted(self.data.by_source.items())),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        languages = [code for code, _ in self.data.by_language.most_common() if code]
        (folder / CARD).write_text(card(manifest, languages), encoding="utf-8")
        (folder / CROISSANT).write_text(croissant(manifest), encoding="utf-8")
        report = told.report | _report_of(manifest, self)
        (folder / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2, default=str))
        (folder / "report.html").write_text(render_run(report), encoding="utf-8")
        write_manifest(folder, manifest)
        return manifest


@dataclass
class Told:
    """What a command says about the dataset it made, besides the rows."""

    rows_in: int
    manifest: dict[str, Any]
    """Fields of the manifest: command, name, fingerprint, sources, inputs, recipe, steps, ..."""
    made: int = 0
    report: dict[str, Any] = field(default_factory=dict)
    """Fields of the report that the manifest does not hold: examples, profiles."""


def _report_of(manifest: Manifest, writer: DatasetWriter) -> dict[str, Any]:
    """What the report shows, from the manifest."""
    counts = manifest.counts
    return {
        "title": manifest.name,
        "command": manifest.command,
        "kind": manifest.kind,
        "rows_in": counts.rows_in,
        "rows_out": counts.rows_out,
        "dropped": counts.dropped,
        "rejected": counts.rejected,
        "merged": counts.merged,
        "made": counts.made,
        "steps": [step.model_dump() for step in manifest.steps],
        "rejected_examples": [one for examples in writer.rejects.examples.values() for one in examples],
        "sources": [
            source.model_dump() | {"rows": manifest.rows_by_source.get(name, 0)}
            for name, source in manifest.sources.items()
        ],
        "inputs": [one.model_dump() for one in manifest.inputs],
        "languages": {code or "?": rows for code, rows in writer.data.by_language.most_common()},
        "tasks": {task or "–": rows for task, rows in writer.data.by_task.most_common(20)},
        "findings": manifest.findings,
        "fingerprint": manifest.fingerprint,
        "digest": manifest.digest,
        "recipe": yaml.safe_dump(manifest.recipe, allow_unicode=True, sort_keys=False) if manifest.recipe else "",
        "created": manifest.created,
    }


def problems(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Everything about a dataset folder that is not as its manifest says: (kind, file, message).

    Reads every byte: each file's SHA-256 and size, row counts, the rows' digest and content hashes, that ids are unique,
    that counts balance, and that no file is there that the manifest does not know.
    """
    dataset = open_dataset(folder)
    manifest = dataset.manifest
    whole = True
    for shard in (*manifest.shards, *manifest.dropped, *manifest.rejected):
        path = folder / shard.path
        if not path.is_file():
            whole = False
            yield "missing_file", shard.path, "the file is gone"
        elif path.stat().st_size != shard.bytes:
            whole = False
            yield "wrong_size", shard.path, f"{path.stat().st_size} bytes, the manifest says {shard.bytes}"
        elif sha256_of(path) != shard.sha256:
            whole = False
            yield "wrong_hash", shard.path, "the bytes are not the ones that were written"
    known = {shard.path for shard in (*manifest.shards, *manifest.dropped, *manifest.rejected)}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and name not in known
            and (name.startswith((f"{DATA}/", f"{DROPPED}/")) or path.suffix == ".parquet")
        ):
            yield "unknown_file", name, "no such file in the manifest; readers of data/*.parquet would take it for rows"
    if whole:
        yield from _row_problems(dataset)


def _row_problems(dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    manifest = dataset.manifest
    digest, rows, wrong = 0, 0, 0
    ids: list[pl.Series] = []
    content = content_columns(dataset.kind)
    for frame in dataset.batches():
        rows += frame.height
        digest = (digest + rows_digest(frame)) % (1 << DIGEST_BITS)
        ids.append(frame["id"])
        hashes = (content_digest(row).hex() for row in frame.select(content).iter_rows(named=True))
        wrong += sum(found != said for found, said in zip(hashes, frame["content_hash"], strict=True))
    if wrong:
        yield "wrong_content", DATA, f"content_hash does not fit what the row says, in {wrong} rows"
    if rows != manifest.counts.rows_out or rows != sum(shard.rows for shard in manifest.shards):
        yield "wrong_count", DATA, f"{rows} rows, the manifest says {manifest.counts.rows_out}"
    if digest_hex(digest) != manifest.digest:
        yield "wrong_digest", DATA, "the rows are not the ones the manifest was written for"
    if ids:
        every = pl.concat(ids)
        if every.n_unique() != len(every):
            yield "repeated_id", DATA, f"{len(every) - every.n_unique()} ids occur more than once"
    found: Counter[str] = Counter()
    for frame in dataset.dropped():
        found.update(dict(frame["reason"].value_counts().iter_rows()))
    if found != Counter(manifest.counts.dropped):
        yield (
            "wrong_count",
            DROPPED,
            f"dropped rows by reason: {dict(found)}, the manifest says {manifest.counts.dropped}",
        )
    refused = Counter(record["reason"] for record in dataset.rejected())
    if refused != Counter(manifest.counts.rejected):
        yield (
            "wrong_count",
            REJECTED,
            f"rejected by reason: {dict(refused)}, the manifest says {manifest.counts.rejected}",
        )
