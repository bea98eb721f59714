"""Reading files into rows: finds the files, recognises each row's format, gives ids, says what could not be used."""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from curate.arrays import array, column_array, from_hexadecimal, hexadecimal, lists, same
from curate.columnar import Layout
from curate.files import (
    MAX_ROW_BYTES,
    Block,
    Importer,
    InputFile,
    LineBlock,
    Stream,
    checked_encoding,
    detect_encoding,
    parse_json,
)
from curate.workers import WORTH_BYTES, Workers
from schemas.dataset import DATA, Reject, is_dataset
from schemas.errors import Rejected, UserError, nearest
from schemas.formats import FORMATS, OWN_KEYS, Format, Plan, Read, find_format, looks_inside, plan_for, read_row
from schemas.lookup import find, names
from schemas.rows import ID_BYTES, columns, content_columns, content_digest, row_ids

IMPORTERS = "curate.importers"

IGNORED_NAMES = frozenset(
    {"dataset_info.json", "dataset_dict.json", "state.json", "manifest.json", "croissant.json", "report.json"}
)
"""Files that stand beside rows and hold none."""

EXTRA_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS
"""How `extra` is written: keys sorted, so that it does not depend on their order in the file."""

_SAMPLE_ROWS = 200
_PLANS = 10_000
_FRAME_BYTES = 24 << 20


@dataclass(frozen=True)
class Reading:
    """How files are to be read."""

    format: str | None = None
    """Name of the format every row is in; None to recognise it row by row."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column in the file to the name it should be read as."""
    encoding: str | None = None
    task: str | None = None
    source: str | None = None
    """Source of every row; None names it after the path it came from."""

    def checked(self) -> Reading:
        """These settings, or UserError if they name something that does not exist."""
        if self.format is not None:
            find_format(self.format)
        fields = [(name, *aliases) for one in FORMATS.values() for name, aliases in one.fields.items()]
        known = {*OWN_KEYS, *(name for names in fields for name in names)}
        for name in self.columns.values():
            if name.strip().lower() not in known:
                raise UserError(f"--map: no format has a field {name!r}", hint=nearest(name, known))
        encoding = checked_encoding(self.encoding) if self.encoding else None
        return Reading(self.format, self.columns, encoding, self.task, self.source)


@dataclass
class Piece:
    """Rows of one kind, as a frame of its canonical columns, or rejected input, or both."""

    file: InputFile
    kind: str | None
    """Kind of the rows; of rejected input, the kind most rows of its file have, or None where that is not known."""
    frame: pl.DataFrame | None
    rejects: list[Reject]
    formats: Counter[str]
    bytes_read: int


@dataclass(frozen=True)
class Found:
    """What was found at some paths."""

    files: list[InputFile]
    passed_over: list[str]
    """Files in folders that nothing here reads."""


@cache
def importers() -> dict[str, str]:
    """File ending to the name of the importer that reads it."""
    return {suffix: name for name in names(IMPORTERS) for suffix in find(IMPORTERS, name, Importer).suffixes}  # type: ignore[type-abstract]


def importer_for(file: InputFile) -> Importer:
    """The importer for a file's ending. Raises UserError."""
    known = importers()
    if file.suffix not in known:
        raise UserError(
            f"{file.path} has an ending that is not known ({file.suffix or 'none'})",
            hint=f"rename it to one of {', '.join(sorted(known))}, or use `curate collect docs` for documents",
            file=str(file.path),
        )
    name = "json" if file.suffix in (".jsonl", ".ndjson") and _is_array(file) else known[file.suffix]
    return find(IMPORTERS, name, Importer)()  # type: ignore[type-abstract]


def _is_array(file: InputFile) -> bool:
    """Whether a file named as JSON Lines is one array of objects: it begins with one, and the next line with none."""
    head = next(Stream(file.path).chunks(), b"")[:65536].removeprefix(codecs.BOM_UTF8)
    return re.match(rb"\s*\[\s*\{", head) is not None and re.search(rb"\n\s*\[", head.lstrip()) is None


def find_files(paths: Sequence[Path], source: str | None, known: Iterable[str], encoding: str | None = None) -> Found:
    """The files at some paths, in a fixed order. A folder gives every file below it whose ending is in `known`.

    Rows refer to a file by its path below the folder named, or its own name; where that is ambiguous, by its path
    below the folder that the paths have in common. Raises UserError for what does not exist.
    """
    known = frozenset(known)
    files: list[tuple[Path, Path, str]] = []
    passed_over: list[str] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist", hint="check the path; it is relative to where the command runs")
        name = source or path.resolve().name.split(".")[0] or "files"
        if path.is_file():
            files.append((path, path.parent, name))
            continue
        if not path.is_dir():
            raise UserError(f"{path} is neither a file nor a folder", hint="name regular files or folders")
        for file in _below(path):
            relative = file.relative_to(path).as_posix()
            if (
                file.name not in IGNORED_NAMES
                and InputFile(file, "", "").suffix in known
                and file.resolve().is_relative_to(path.resolve())
            ):
                files.append((file, path, name))
            else:
                passed_over.append(relative)
    named = [file.relative_to(root).as_posix() for file, root, _ in files]
    if len(set(named)) != len(named):
        resolved = [file.resolve() for file, _, _ in files]
        if len(set(resolved)) != len(resolved):
            twice = next(file for file in resolved if resolved.count(file) > 1)
            raise UserError(f"{twice} is named twice", hint="name each file once")
        shared = Path(os.path.commonpath([file.parent for file in resolved]))
        named = [file.relative_to(shared).as_posix() for file in resolved]
    return Found(
        [InputFile(file, name, own, encoding) for (file, _, own), name in zip(files, named, strict=True)],
        passed_over,
    )


def _below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        # Datasets in a folder, among them what is being made of it, are not rows to be read again.
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not _holds_dataset(Path(root) / name)
        )
        for name in sorted(files):
            path = Path(root) / name
            if not name.startswith(".") and path.is_file():
                yield path


def _holds_dataset(folder: Path) -> bool:
    return is_dataset(folder) and (folder / DATA).is_dir()


def find_rows(paths: Sequence[Path], reading: Reading) -> Found:
    """The row files at some paths. Raises UserError when there is none."""
    for path in paths:
        if _holds_dataset(path):
            raise UserError(
                f"{path} is a dataset already",
                hint=f"clean it with `curate run`, or look at it with `curate show {path}`",
            )
    found = find_files(paths, reading.source, importers(), reading.encoding)
    for file in found.files:
        importer_for(file)
    if not found.files:
        listed = ", ".join(str(path) for path in paths)
        hint = f"files with these endings are read: {', '.join(sorted(importers()))} (also .gz and .zst)"
        raise UserError(f"there is no file with rows in {listed}", hint=hint)
    return found


def is_large(file: InputFile) -> bool:
    """Whether several processes read the file."""
    return file.suffix in (".jsonl", ".ndjson") and file.path.stat().st_size >= WORTH_BYTES


def read_files(files: Sequence[InputFile], reading: Reading, workers: Workers | None = None) -> Iterator[Piece]:
    """Every row of the files, in order, and every refusal. Raises UserError when a column to map is in none of them.

    `workers` may be given to read large files if they were started before."""
    repeats = Repeats()
    unseen, seen = set(reading.columns), set[str]()
    with workers or Workers() as some:
        for file in files:
            reader = _FileReader(file, reading, repeats, some)
            yield from reader.pieces()
            unseen -= reader.columns_seen
            seen |= reader.columns_seen
    for name in sorted(unseen):
        raise UserError(f"--map: there is no column {name!r} in the files", hint=nearest(name, seen))


def file_reader(file: InputFile, reading: Reading, usual: str | None) -> _FileReader:
    """A reader of one file whose usual format is known, and whose rows get no ids."""
    reader = _FileReader(file, reading, None)
    reader.usual = find_format(usual) if usual else None
    return reader


class _FileReader:
    """Reads one file: recognises formats from a sample first, then row by row."""

    def __init__(
        self, file: InputFile, reading: Reading, repeats: Repeats | None, workers: Workers | None = None
    ) -> None:
        self.file = file
        self.workers = workers
        self.reading = reading
        self.repeats = repeats
        self.forced: Format | None = find_format(reading.format) if reading.format else None
        self.usual: Format | None = self.forced
        self.plans: dict[tuple[Any, ...], Plan | None] = {}
        self.layout: Layout | None = None
        self.columns_seen: set[str] = set()
        """Columns of the rows so far, noted only where some are to be read by another name."""

    def pieces(self) -> Iterator[Piece]:
        importer = importer_for(self.file)
        lines = importer.line_blocks(self.file) if not self.reading.columns else None
        if lines is not None:
            yield from self._lines(lines)
            return
        waiting: list[Block] = []
        sampled = 0
        for block in importer.blocks(self.file):
            if self.reading.columns:
                block.rows = [self._renamed(row) for row in block.rows]
            if self.usual is None:
                waiting.append(block)
                sampled += len(block.rows)
                if sampled >= _SAMPLE_ROWS:
                    yield from self._sampled(waiting)
                    waiting, sampled = [], 0
            else:
                yield from self._block(block)
        yield from self._sampled(waiting)

    def _sampled(self, waiting: list[Block]) -> Iterator[Piece]:
        """The pieces of the first blocks, from which the file's usual format is seen."""
        self.usual = self.usual or usual_format(row for one in waiting for row in one.rows[:_SAMPLE_ROWS])
        for one in waiting:
            yield from self._block(one)

    def _lines(self, lines: Iterator[LineBlock]) -> Iterator[Piece]:
        """The pieces of a file of JSON lines; of a large one, in several processes once its format is known."""
        for block in lines:
            yield from self.line_block(block)
            if self.workers is not None and self.usual is not None and is_large(self.file):
                break
        else:
            return
        for piece in self.workers.pieces(self.file, self.reading, self.usual.name, lines):
            if piece.frame is not None:
                piece.frame = self._numbered(piece.frame)
            yield piece

    def _numbered(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows that a worker read, with their ids."""
        assert self.repeats is not None
        digests = from_hexadecimal(frame["content_hash"])
        ids = row_ids(self.file.source, digests, self.repeats.count(self.file.source, digests))
        return frame.with_columns(pl.Series("id", hexadecimal(ids, ID_BYTES), dtype=pl.String))

    def line_block(self, block: LineBlock) -> Iterator[Piece]:
        """The pieces of some lines: by whole columns where their rows are plain, else line by line."""
        layout = self.layout or self._layout_of(block)
        frame = layout.frame(block, self.file, self.reading.task, self.repeats) if layout is not None else None
        if frame is not None and layout is not None:
            self.layout, self.usual = layout, self.usual or layout.plan.format
            formats = Counter({layout.plan.format.name: frame.height})
            yield Piece(self.file, layout.plan.format.kind, frame, [], formats, block.bytes_read)
            return
        rows = block.parse()
        if self.usual is None:
            yield from self._sampled([rows])
        else:
            yield from self._block(rows)
        if rows.rows:
            plan = self._plan(rows.rows[-1])
            self.layout = Layout.of(plan, rows.rows[-1]) if plan is not None else None

    def _layout_of(self, block: LineBlock) -> Layout | None:
        """The layout that a block's first row has, if there is one."""
        end = block.data.find(b"\n")
        first = block.data[:end] if end >= 0 else block.data
        if len(first) > MAX_ROW_BYTES:
            return None
        try:
            row = parse_json(first)
        except Rejected:
            return None
        plan = self._plan(row) if type(row) is dict else None
        return Layout.of(plan, row) if plan is not None else None

    def _renamed(self, row: dict[str, Any]) -> dict[str, Any]:
        names = self.reading.columns
        self.columns_seen.update(row)
        taken = {names[key] for key in row if key in names}
        return {names.get(key, key): value for key, value in row.items() if key in names or key not in taken}

    def _plan(self, row: dict[str, Any]) -> Plan | None:
        """How to read a row: looked up by its columns and their types, where these say it all."""
        kinds = tuple(map(type, row.values()))
        if list in kinds:  # lists of messages have dialects, which only a look inside tells
            return self._planned(row)
        signature = (*row, *kinds)
        try:
            plan = self.plans[signature]
        except KeyError:
            if len(self.plans) >= _PLANS:
                self.plans.clear()
            plan = None if any(map(looks_inside, row)) else self._planned(row)
            self.plans[signature] = plan
        return plan or self._planned(row)

    def _planned(self, row: dict[str, Any]) -> Plan | None:
        return plan_for(row, self.forced) or (plan_for(row, self.usual) if self.usual else None)

    def _block(self, block: Block) -> Iterator[Piece]:
        rejects = list(block.rejects)
        by_kind: dict[str, tuple[list[Read], list[int]]] = {}
        formats: Counter[str] = Counter()
        previous: Plan | None = None
        reads: list[Read] = []
        lines: list[int] = []
        for line, row in zip(block.lines, block.rows, strict=True):
            try:
                plan = self._plan(row)
                if plan is None:
                    raise Rejected("unknown_format", f"no format has the columns {', '.join(map(str, row))[:300]}")
                read = read_row(row, plan)
            except Rejected as why:
                rejects.append(Reject(self.file.name, line, why.reason, why.detail, _held(row)))
                continue
            if plan is not previous:
                reads, lines = by_kind.setdefault(plan.format.kind, ([], []))
                previous = plan
            reads.append(read)
            lines.append(line)
        for kind, (reads, lines) in by_kind.items():
            formats.update([read.format.name for read in reads])
            frame, bad = assemble(kind, reads, lines, self.file, block.part, self.reading.task, self.repeats)
            for number, refusal in bad:
                held = str(reads[number].content)[:4000]
                rejects.append(Reject(self.file.name, lines[number], refusal.reason, refusal.detail, held))
                formats[reads[number].format.name] -= 1
            yield Piece(self.file, kind, frame, [], formats, block.bytes_read)
            formats = Counter()
        if rejects or not by_kind:
            yield Piece(self.file, self.usual.kind if self.usual else None, None, rejects, formats, block.bytes_read)


def _held(row: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS).decode("utf-8", "replace")
    except TypeError:
        return str(row)


def usual_format(rows: Iterable[dict[str, Any]]) -> Format | None:
    """The format that most of the rows are in."""
    counts: Counter[str] = Counter()
    for row in rows:
        plan = plan_for(row)
        if plan is not None:
            counts[plan.format.name] += 1
    return FORMATS[counts.most_common(1)[0][0]] if counts else None


class Repeats:
    """Counts how often the same content of the same source came before. 8 bytes a row, and 16 MB.

    Contents are told apart by 64 of their digest's bits. Should two different ones ever collide, the later counts as a
    repeat: its id is another one than it would have been, and as unique.
    """

    def __init__(self) -> None:
        self._runs: dict[str, list[np.ndarray[Any, np.dtype[np.uint64]]]] = {}
        self._perhaps = np.zeros(1 << 24, dtype=bool)
        """Whether some key with these lowest bits was there: most keys are new, and need no search."""

    def count(self, source: str, digests: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
        """For each of the digests, of 16 bytes each, how many equal ones this source had before it."""
        keys = np.frombuffer(digests, dtype=np.uint64)[::2]
        runs = self._runs.setdefault(source, [])
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        first = np.searchsorted(ordered, ordered, side="left")
        before = np.arange(len(ordered)) - first
        slots = (ordered & np.uint64(len(self._perhaps) - 1)).astype(np.int64)
        perhaps = np.flatnonzero(self._perhaps[slots])
        self._perhaps[slots] = True
        searched = ordered[perhaps]
        for run in runs:
            found = np.searchsorted(run, searched, side="right") - np.searchsorted(run, searched, side="left")
            before[perhaps] += found
        runs.append(ordered)
        while len(runs) > 1 and len(runs[-2]) <= 2 * len(runs[-1]):
            merged = np.concatenate([runs.pop(), runs.pop()])
            merged.sort(kind="stable")
            runs.append(merged)
        counts = np.empty(len(keys), dtype=np.int64)
        counts[order] = before
        return counts


def assemble(
    kind: str,
    reads: list[Read],
    lines: list[int],
    file: InputFile,
    part: str | None,
    task: str | None,
    repeats: Repeats | None,
    parts: list[str | None] | None = None,
) -> tuple[pl.DataFrame, list[tuple[int, Rejected]]]:
    """Rows of one kind as a frame of its canonical columns; and those that cannot be, by their number in `reads`.

    `part` is every row's part of the file, or `parts` each row's own.
    """
    bad: list[tuple[int, Rejected]] = []
    digests: list[bytes] = []
    extras: list[str | None] = []
    good: list[Read] = []
    places: list[int] = []
    for number, read in enumerate(reads):
        try:
            digest = content_digest(read.content, nulls=False)
            extra = orjson.dumps(read.extra, default=str, option=EXTRA_OPTIONS).decode() if read.extra else None
        except (TypeError, orjson.JSONEncodeError) as error:
            said = str(error)
            known = {"surrogate": "invalid_unicode", "nteger": "number_too_large", "ecursion": "too_deep"}
            reason = next((reason for word, reason in known.items() if word in said), "not_json")
            bad.append((number, Rejected(reason, said)))
            continue
        digests.append(digest)
        extras.append(extra)
        good.append(read)
        places.append(number)
    owns = [read.own for read in good]
    types = columns(kind)
    contents = [read.content for read in good]
    frame = frame_of(
        kind,
        file,
        digests=b"".join(digests),
        repeats=repeats,
        lines=[lines[place] for place in places],
        parts=[parts[place] for place in places] if parts else part,
        extras=extras,
        external_ids=[own.get("id") for own in owns],
        tasks=[own.get("task") or task for own in owns],
        languages=[own.get("lang") for own in owns],
        splits=[own.get("split") for own in owns],
        content={
            name: column_array([content.get(name) for content in contents], types[name])
            for name in content_columns(kind)
        },
    )
    return frame, bad


def frame_of(
    kind: str,
    file: InputFile,
    *,
    digests: bytes,
    repeats: Repeats | None,
    lines: Sequence[int | None] | np.ndarray[Any, Any],
    parts: Sequence[str | None] | str | None,
    extras: Sequence[str | None] | pl.Series | None,
    external_ids: Sequence[str | None] | pl.Series | None,
    tasks: Sequence[str | None] | pl.Series | str | None,
    languages: Sequence[str | None] | pl.Series | None,
    splits: Sequence[str | None] | pl.Series | None,
    content: Mapping[str, pa.Array],
) -> pl.DataFrame:
    """A frame of a kind's canonical columns from its parts; one value stands for all rows. `digests` has the 16-byte
    content digest of each row.

    Without `repeats` the rows have empty ids, for somebody else to give."""
    count = len(digests) // ID_BYTES
    ids = row_ids(file.source, digests, repeats.count(file.source, digests)) if repeats is not None else None
    data: dict[str, pa.Array] = {
        "id": same("", pl.String, count) if ids is None else hexadecimal(ids, ID_BYTES),
        "content_hash": hexadecimal(digests, ID_BYTES),
        "copy": same(0, pl.Int64, count),
        "external_id": _strings(external_ids, count),
        "source": _strings(file.source, count),
        "task": _strings(tasks, count),
        "lang": _strings(languages, count),
        "split": _strings(splits, count),
        "origin": pa.StructArray.from_arrays(
            [_strings(file.name, count), array(lines, pl.Int64), _strings(parts, count)], ["file", "line", "part"]
        ),
        "parents": lists(np.zeros(count + 1, dtype=np.int64), array([], pl.String)),
        "extra": _strings(extras, count),
        **content,
    }
    frame = pl.from_arrow(pa.table(data))
    assert isinstance(frame, pl.DataFrame)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in columns(kind).items())


def _strings(values: Sequence[str | None] | pl.Series | str | None, count: int) -> pa.Array:
    if values is None or isinstance(values, str):
        return same(values, pl.String, count)
    return array(values, pl.String)


class Gather:
    """Puts small frames together until they are worth handing on."""

    def __init__(self, bytes_wanted: int = _FRAME_BYTES) -> None:
        self.wanted = bytes_wanted
        self._frames: list[pl.DataFrame] = []
        self._bytes = 0

    def add(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """The frames so far as one, once they are large enough."""
        self._frames.append(frame)
        self._bytes += int(frame.estimated_size())
        return self.rest() if self._bytes >= self.wanted else None

    def rest(self) -> pl.DataFrame | None:
        """What is left, or None."""
        frames, self._frames, self._bytes = self._frames, [], 0
        return pl.concat(frames) if frames else None


def file_encoding(file: InputFile) -> str | None:
    """The encoding a text file is read in; None for binary formats."""
    if file.suffix in (".parquet", ".arrow", ".feather", ".ipc", ".xlsx", ".xlsm"):
        return None
    return file.encoding or detect_encoding(file.path)
