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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
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
from schemas.manifest import (
    DIGEST_BITS,
    FORMAT_VERSION,
    MANIFEST,
    Counts,
    Manifest,
    Shard,
    Written,
    digest_hex,
    is_sealed,
    rows_digest,
    sealed,
)
from schemas.rows import Kind, columns, content_columns, content_digest
from schemas.run import replaced_name, write_durably

DATA = "data"
DROPPED = "dropped"
REJECTED = "rejected.jsonl"
REPORT = "report.html"
REPORT_JSON = "report.json"

ROW_GROUP_BYTES = 8 << 20
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
        """The record in rejected.jsonl; `held` is cut, and half characters are written as escapes."""
        held = self.held if len(self.held) <= HELD_CHARS else self.held[:HELD_CHARS] + "…"
        texts = {"file": self.file, "reason": self.reason, "detail": self.detail, "held": held}
        whole = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in texts.items()}
        return {"file": whole["file"], "line": self.line} | whole


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
            with suppress(OSError, pa.ArrowException):  # the disk may be full; why the run stopped is what counts
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
        if frame.height:  # `datasets` stumbles over an empty row group, and not over none
            self._writer.write_table(table, row_group_size=frame.height)
        self.digest = (self.digest + rows_digest(frame)) % (1 << DIGEST_BITS)
        for name, counted in (("source", self.by_source), ("lang", self.by_language), ("task", self.by_task)):
            counted.update(dict(frame[name].value_counts().iter_rows()))
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

    def __init__(self, path: Path, compression: str | None = "zstd") -> None:
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
    """The manifest's entry for a finished file of rows."""
    return Shard(**written(path, root).model_dump(), rows=rows)


def written(path: Path, root: Path) -> Written:
    """The manifest's entry for a finished file."""
    return Written(path=path.relative_to(root).as_posix(), sha256=sha256_of(path), bytes=path.stat().st_size)


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


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say what to do when a file of a dataset cannot be read."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"{path} cannot be read: {error}", hint="run `curate verify` to see what is damaged", file=str(path)
        ) from error


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
        for read in self._groups():
            yield read(names or list(columns(self.kind)))

    def matching(self, wanted: pl.Expr) -> Iterator[pl.DataFrame]:
        """The rows for which `wanted` is true, in order. Columns that it does not need are read only where it is."""
        needed = sorted(set(wanted.meta.root_names()))
        for read in self._groups():
            hits = read(needed).select(wanted).to_series().arg_true()
            if len(hits):
                yield read(list(columns(self.kind)))[hits]

    def _groups(self) -> Iterator[Callable[[Sequence[str]], pl.DataFrame]]:
        """For each row group, in order, what reads the named columns of it."""
        types = columns(self.kind)
        for shard in self.manifest.shards:
            path = self.folder / shard.path
            with _reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:

                def read(
                    names: Sequence[str], group: int, path: Path = path, file: pq.ParquetFile = file
                ) -> pl.DataFrame:
                    with _reading(path):
                        frame = pl.from_arrow(file.read_row_group(group, columns=list(names)))
                    assert isinstance(frame, pl.DataFrame)
                    return frame.select(pl.col(name).cast(types[name]) for name in names)

                for group in range(file.num_row_groups):
                    yield partial(read, group=group)

    def scan(self) -> pl.LazyFrame:
        """Its rows as a lazy frame."""
        return pl.scan_parquet([self.folder / shard.path for shard in self.manifest.shards])

    def dropped(self) -> Iterator[pl.DataFrame]:
        """The rows that stages marked, with the marks, in order."""
        for shard in self.manifest.dropped:
            with _reading(self.folder / shard.path):
                yield from read_arrow(self.folder / shard.path)

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
        if is_dataset(replaced_name(path)):
            raise DatasetError(
                f"{path} was being replaced when the command was cut off",
                hint=f"run that command again; what {path} held is safe in {replaced_name(path)}",
            )
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
    return Dataset(path, _read_manifest(manifest))


def _read_manifest(path: Path) -> Manifest:
    data = path.read_bytes()
    hint = "make the dataset again with --replace"
    try:
        found = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DatasetError(
            f"{path} is damaged or was written by another version: {where}: {first['msg']}", hint=hint, file=str(path)
        ) from error
    if not is_sealed(data):
        raise DatasetError(f"{path} was changed since it was written: its checksum is wrong", hint=hint, file=str(path))
    if found.format_version != FORMAT_VERSION:
        raise DatasetError(
            f"{path} is of format {found.format_version}, whose ids and hashes are made otherwise; this is format "
            f"{FORMAT_VERSION}",
            hint=hint,
            file=str(path),
        )
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; the dataset is whole from now on."""
    write_durably(folder / MANIFEST, sealed(manifest))


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
        record = reject.as_json()
        self._file.write(orjson.dumps(record) + b"\n")
        self.counts[reject.reason] += 1
        known = self.examples.setdefault(reject.reason, [])
        if len(known) < self._most:
            shown = {"detail": excerpt(reject.detail), "excerpt": excerpt(reject.held)}
            known.append({"reason": reject.reason, "file": record["file"], "line": reject.line, **shown})

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
    """Collects the rows, dropped rows and rejected input of one dataset into a folder. `watch` sees dropped rows."""

    def __init__(self, folder: Path, kind: str, watch: Callable[[pl.DataFrame], None] | None = None) -> None:
        self.folder = folder
        self._watch = watch
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
        if self._watch is not None:
            self._watch(frame)
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
        for sink in (self._dropped, self.rejects):
            with suppress(OSError, pa.ArrowException):
                sink.close()

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
        from schemas.report_run import render_run  # a tenth of a second that reading a dataset does without

        report = told.report | _report_of(manifest, self)
        (folder / REPORT_JSON).write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2, default=str))
        (folder / REPORT).write_text(render_run(report), encoding="utf-8")
        manifest.files = [written(folder / name, folder) for name in (CARD, CROISSANT, REPORT_JSON, REPORT)]
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
        "funnel": [step.model_dump() for step in manifest.steps],
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


def repeated(frames: Callable[[], Iterator[pl.DataFrame]]) -> pl.DataFrame:
    """`ordinal` and `id` of every row whose id and copy an earlier row has. Takes 8 bytes a row, and reads again only
    where there may be some. `frames` gives `id` and `copy`, from the start each time it is called."""
    nothing = pl.DataFrame(schema={"ordinal": pl.Int64, "id": pl.String})
    key = pl.struct("id", "copy")
    hashes = [frame.select(key.hash().alias("hash")).to_series() for frame in frames()]
    if not hashes:
        return nothing
    every = pl.concat(hashes)
    twice = every.filter(every.is_duplicated()).unique()
    if twice.is_empty():
        return nothing
    found, first = [], 0
    for frame in frames():
        ordinal = pl.int_range(first, first + frame.height, dtype=pl.Int64).alias("ordinal")
        found.append(frame.select(ordinal, "id", "copy").filter(key.hash().is_in(twice.implode())))
        first += frame.height
    return pl.concat(found).filter(~key.is_first_distinct()).select("ordinal", "id")


def problems(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Everything about a dataset folder that is not as its manifest says: (kind, file, message).

    Reads every byte: the manifest's checksum, each file's SHA-256 and size, row counts, the rows' digest and content
    hashes, that ids are unique, that counts balance, and that no file is there that readers would take for rows.
    """
    try:
        dataset = open_dataset(folder)
    except DatasetError as error:
        if not is_dataset(folder):
            raise
        yield "damaged_manifest", MANIFEST, error.message
        return
    manifest = dataset.manifest
    rows = {one.path: one for one in (*manifest.shards, *manifest.dropped, *manifest.rejected)}
    whole = True
    for one in (*rows.values(), *manifest.files):
        problem = _file_problem(folder / one.path, one)
        if problem is not None:
            whole = whole and one.path not in rows
            yield problem
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        misleads = name.startswith((f"{DATA}/", f"{DROPPED}/")) or path.suffix in (".parquet", ".arrow")
        if misleads and name not in rows and not path.is_dir():
            yield "unknown_file", name, "no such file in the manifest; readers of data/*.parquet would take it for rows"
    if whole:
        yield from _row_problems(dataset)


def _file_problem(path: Path, said: Written) -> tuple[str, str, str] | None:
    if not path.is_file():
        return "missing_file", said.path, "the file is gone"
    size = path.stat().st_size
    if size != said.bytes:
        return "wrong_size", said.path, f"{size} bytes, the manifest says {said.bytes}"
    if sha256_of(path) != said.sha256:
        return "wrong_hash", said.path, "the bytes are not the ones that were written"
    return None


def _row_problems(dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    manifest = dataset.manifest
    digest, rows, wrong = 0, 0, 0
    by_source: Counter[str] = Counter()
    content = content_columns(dataset.kind)
    for frame in dataset.batches():
        rows += frame.height
        digest = (digest + rows_digest(frame)) % (1 << DIGEST_BITS)
        by_source.update(dict(frame["source"].value_counts().iter_rows()))
        hashes = (content_digest(row).hex() for row in frame.select(content).iter_rows(named=True))
        wrong += sum(found != said for found, said in zip(hashes, frame["content_hash"], strict=True))
    if wrong:
        yield "wrong_content", DATA, f"content_hash does not fit what the row says, in {wrong} rows"
    if rows != manifest.counts.rows_out:
        yield "wrong_count", DATA, f"{rows} rows, the manifest says {manifest.counts.rows_out}"
    if digest_hex(digest) != manifest.digest:
        yield "wrong_digest", DATA, "the rows are not the ones the manifest was written for"
    again = repeated(lambda: dataset.batches(["id", "copy"]))
    if again.height:
        yield "repeated_id", DATA, f"{again.height} ids occur more than once, for example {again['id'][0]}"
    dropped: Counter[str] = Counter()
    for frame in dataset.dropped():
        dropped.update(dict(frame["reason"].value_counts().iter_rows()))
    rejected = Counter(record["reason"] for record in dataset.rejected())
    for what, file, found, counted in (
        ("rows by source", DATA, by_source, manifest.rows_by_source),
        ("dropped rows by reason", DROPPED, dropped, manifest.counts.dropped),
        ("rejected by reason", REJECTED, rejected, manifest.counts.rejected),
    ):
        if found != Counter(counted):
            yield "wrong_count", file, f"{what}: {dict(found)}, the manifest says {counted}"
