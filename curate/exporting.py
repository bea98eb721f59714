"""Writing datasets as files that trainers read: `curate export`."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
import polars as pl
import zstandard

from curate.importers.csv import as_cell, cell_value
from curate.importers.xlsx import escaped
from schemas.console import progress
from schemas.dataset import REJECTED, Dataset, Reject, RejectSink, open_dataset
from schemas.errors import Rejected, UserError, nearest
from schemas.formats import FORMATS, Format, find_format, write_row
from schemas.run import sync_folder

ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xlsx")
"""Endings of the files that can be written; .jsonl, .json, .csv and .tsv also with .gz or .zst."""

DATASET_INFO = "dataset_info.json"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_XLSX_ROWS = 1_048_575
_XLSX_CELL_CHARS = 32_767
_PARQUET_ROWS = 10_000
_NUMBERS: dict[str, type] = {
    "margin": float, "weight": float, "agreement": float, "score": float, "raters": int, "rank": int, "label": bool,
    "kto_tag": bool,
}  # fmt: skip
"""Types of columns and of fields of messages and answers that are no text."""
_NESTED = ("messages", "rejected_messages")

Rows = Iterator[dict[str, Any]]


def export_dataset(
    path: Path,
    format_: str,
    out: Path,
    *,
    split: str | None = None,
    extras: bool = True,
    escape_formulas: bool = False,
    replace: bool = False,
) -> dict[str, Any]:
    """Write every row of a dataset in a format, or those of one `split`. A folder gets NAME.jsonl, and for each split a
    file of its own, NAME-train.jsonl; and, for formats LLaMA-Factory reads, their dataset_info.json entries; so does
    the folder of a file. Rows that the format cannot express go to a .rejected.jsonl file beside it."""
    dataset = open_dataset(path)
    form = find_format(format_)
    if form.kind != dataset.kind:
        fitting = [name for name, one in FORMATS.items() if one.kind == dataset.kind]
        raise UserError(
            f"{path} holds {dataset.kind} rows, which {format_} cannot express",
            hint=f"formats for them: {', '.join(fitting)}",
        )
    ending, packing = _ending(out)
    splits = _splits(dataset)
    jobs = [
        _Export(dataset, form, ending or ".jsonl", extras, escape_formulas, rows, only)
        for only, rows in _parts(dataset, splits, split, whole=ending != "")
    ]
    targets = [out if ending else out / f"{_named(dataset, path, job)}.jsonl" for job in jobs]
    ending = ending or ".jsonl"
    for target in targets:
        if target.exists() and not replace:
            raise UserError(f"{target} exists", hint="give --replace to overwrite it, or choose another --out")
        if target.is_dir():
            raise UserError(f"{target} is a folder", hint=f"name a file, for example {target}/rows.jsonl")
    info, rejected, refused = None, None, Counter[str]()
    for job, target in zip(jobs, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f"{target.name}.{REJECTED}")
        _write(target, beside, ending, packing, job)
        refused += job.refused
        rejected = rejected or (str(beside) if job.refused else None)
        if not packing and _llama_factory_reads(job):
            info = _dataset_info(target, form, job)
    return {
        "dataset": str(path),
        "format": format_,
        "out": str(targets[0]),
        "files": {str(target): job.written for target, job in zip(targets, jobs, strict=True)},
        "rows_in": sum(job.total for job in jobs),
        "rows_out": sum(job.written for job in jobs),
        "rejected": dict(refused),
        "rejected_file": rejected,
        "dataset_info": str(info) if info else None,
        "findings": _findings(jobs, splits),
    }


_EVERY = "(every)"


def _splits(dataset: Dataset) -> dict[str | None, int]:
    """Splits with how many rows are in each, those to train on first; None for rows of none."""
    counted = Counter[str | None]()
    for frame in dataset.batches(["split"]):
        counted.update(dict(frame["split"].value_counts().iter_rows()))
    order = {"train": 0, "validation": 1, "test": 2}
    return dict(sorted(counted.items(), key=lambda one: (order.get(str(one[0]), 3), str(one[0]))))


def _parts(
    dataset: Dataset, splits: Mapping[str | None, int], split: str | None, *, whole: bool
) -> list[tuple[str | None, int]]:
    """What goes into each file: a split, or `_EVERY`; and how many rows that are."""
    if split is not None:
        if split not in splits:
            known = [name for name in splits if name is not None]
            hint = nearest(split, known) if known else "this dataset has no splits: `curate split` makes them"
            raise UserError(f"there is no split {split!r} in {dataset.folder}", hint=hint)
        return [(split, splits[split])]
    return [(_EVERY, dataset.rows)] if whole or len(splits) <= 1 else list(splits.items())


def _named(dataset: Dataset, path: Path, job: _Export) -> str:
    """What a file of these rows is called: as the folder of its dataset, with the split behind."""
    name = _file_name(path.resolve().name or dataset.manifest.name)
    return name if job.split == _EVERY else f"{name}-{_file_name(job.split) if job.split else 'no-split'}"


def _ending(out: Path) -> tuple[str, str]:
    """Ending and packing of the file to write; an empty ending for a folder."""
    endings = [one.lower() for one in out.suffixes[-2:]]
    packing = endings.pop() if endings and endings[-1] in (".gz", ".zst") else ""
    ending = endings[-1] if endings else ""
    if out.is_dir() or (not ending and not packing):
        return "", ""
    if ending not in ENDINGS:
        raise UserError(
            f"{out} has an ending that cannot be written ({ending or 'none'})", hint=nearest(ending, ENDINGS)
        )
    if packing and ending in (".parquet", ".xlsx"):
        raise UserError(f"{ending} files are packed already", hint=f"leave out {packing}")
    return ending, packing


def _file_name(name: str) -> str:
    """A name that is safe as a file's."""
    safe = "".join(char if char.isalnum() or char in "-_." else "-" for char in name).strip(".-")
    return safe or "rows"


class _Export:
    """The rows of a dataset in a format, counting what could not be written."""

    def __init__(
        self,
        dataset: Dataset,
        form: Format,
        ending: str,
        extras: bool,
        escape_formulas: bool,
        total: int,
        split: str | None,
    ) -> None:
        self.dataset = dataset
        self.split = split
        self.total = total
        self.form = form
        self.ending = ending
        self.extras = extras
        self.escape_formulas = escape_formulas
        self.written = 0
        self.refused: Counter[str] = Counter()
        self.formulas = 0
        self.columns: set[str] = set()
        self.calls = False
        """Whether a written message has tool calls beside its content, which LLaMA-Factory's reader leaves out."""

    def rows(self, refuse: Callable[[Reject], None]) -> Rows:
        done = 0
        with progress("export", self.total) as shown:
            for frame in self.dataset.batches():
                if self.split != _EVERY:
                    frame = frame.filter(pl.col("split").eq_missing(self.split))
                for row in frame.iter_rows(named=True):
                    try:
                        written = write_row(row, self.form, extras=self.extras)
                        if self.ending in (".csv", ".tsv", ".xlsx"):
                            _check_cells(written, self.ending)
                    except Rejected as why:
                        origin = row["origin"] or {}
                        self.refused[f"{why.reason}: {why.detail}"] += 1
                        held = orjson.dumps(row, default=str).decode()
                        refuse(
                            Reject(
                                str(origin.get("file")),
                                origin.get("line"),
                                why.reason,
                                why.detail,
                                f"{row['id']} {held}",
                            )
                        )
                        continue
                    self.written += 1
                    self.columns.update(written)
                    self.calls = self.calls or any("tool_calls" in turn for turn in written.get("messages") or ())
                    yield written
                done += frame.height
                shown.at(done, done)

    def cell(self, value: Any) -> str:
        text = as_cell(value)
        if text.startswith(_FORMULA):
            self.formulas += 1
            if self.escape_formulas:
                return "'" + text
        return text


def _findings(jobs: Sequence[_Export], splits: Mapping[str | None, int]) -> list[dict[str, Any]]:
    found = []
    formulas, form = sum(job.formulas for job in jobs), jobs[0].form
    if formulas and not jobs[0].escape_formulas:
        fix = "to open the file in a spreadsheet, write .xlsx or give --escape-formulas"
        example = "a cell begins with = + - @, which a spreadsheet takes for a formula"
        found.append({"kind": "formulas", "severity": "low", "count": formulas, "example": example, "fix": fix})
    if any(job.calls for job in jobs) and form.dataset_info is not None:
        fix = "for LLaMA-Factory, which does not see tool calls in messages, write --format sharegpt"
        example = f"messages have tool_calls, so there is no entry in {DATASET_INFO}"
        found.append({"kind": "tool_calls", "severity": "low", "count": 1, "example": example, "fix": fix})
    if len(splits) > 1 and jobs[0].split == _EVERY:
        held_out = sum(rows for name, rows in splits.items() if name not in ("train", None))
        found.append(
            {
                "kind": "splits_in_one_file",
                "severity": "medium",
                "count": held_out,
                "example": ", ".join(f"{name}: {rows:,} rows" for name, rows in splits.items()),
                "fix": "give a folder as --out for a file of each split, or --split train",
            }
        )
    return found


def _check_cells(written: Mapping[str, Any], ending: str) -> None:
    """Raise Rejected for a row that a table of text cells would not give back."""
    cells = {name: as_cell(value) for name, value in written.items()}
    if not any(cell.strip() for cell in cells.values()):
        raise Rejected("not_expressible", f"all its cells are blank, which {ending} files have between rows")
    for name, cell in cells.items():
        if name != "tools" and isinstance(written[name], str) and cell_value(name, cell) != cell:
            raise Rejected("not_expressible", f"the text of {name} would be read as JSON")
        if ending == ".xlsx" and len(escaped(cell)) > _XLSX_CELL_CHARS:
            raise Rejected("not_expressible", f"{name} is longer than the {_XLSX_CELL_CHARS:,} characters of a cell")


def _write(target: Path, rejected: Path, ending: str, packing: str, job: _Export) -> None:
    """Write the file under another name first, so that the name stands for a whole file."""
    writers: dict[str, Callable[[Path, str, Rows, _Export], None]] = {
        ".jsonl": _jsonl,
        ".json": _json,
        ".csv": _separated,
        ".tsv": _separated,
        ".parquet": _parquet,
        ".xlsx": _xlsx,
    }
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    refused_part = part.with_name(part.name + ".rejected")
    sink = RejectSink(refused_part)
    try:
        writers[ending](part, packing, job.rows(sink.add), job)
        sink.close()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        rejected.unlink(missing_ok=True)
        if sink.counts:
            refused_part.replace(rejected)
        part.replace(target)
        sync_folder(target.parent)
    finally:
        sink.close()
        part.unlink(missing_ok=True)
        refused_part.unlink(missing_ok=True)


@contextmanager
def _opened(part: Path, packing: str) -> Iterator[BinaryIO]:
    with part.open("wb") as file:
        if packing == ".gz":
            # No time and no name in the header: the same rows give the same bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                yield cast(BinaryIO, packed)
        elif packing == ".zst":
            with zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False) as packed:
                yield cast(BinaryIO, packed)
        else:
            yield file


def _jsonl(part: Path, packing: str, rows: Rows, job: _Export) -> None:
    with _opened(part, packing) as file:
        for row in rows:
            file.write(orjson.dumps(row, default=str) + b"\n")


def _json(part: Path, packing: str, rows: Rows, job: _Export) -> None:
    with _opened(part, packing) as file:
        file.write(b"[")
        for number, row in enumerate(rows):
            file.write((b",\n" if number else b"\n") + orjson.dumps(row, default=str))
        file.write(b"\n]\n")


def _batched(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists of `size`, the last as long as it is."""
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def _columns_first(rows: Rows) -> tuple[list[str], Rows]:
    """Every column of any row, in order of appearance, and the rows again. Rows wait on disk meanwhile."""
    columns: dict[str, None] = {}
    spool = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed by the generator below
    for row in rows:
        columns.update(dict.fromkeys(row))
        spool.write(orjson.dumps(row, default=str) + b"\n")
    spool.seek(0)

    def again() -> Rows:
        with spool:
            for line in spool:
                yield orjson.loads(line)

    return list(columns), again()


def _separated(part: Path, packing: str, rows: Rows, job: _Export) -> None:
    columns, again = _columns_first(rows)
    separator = "\t" if job.ending == ".tsv" else ","
    with _opened(part, packing) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        # With this line end, which is RFC 4180's, every cell that holds either half of it is quoted.
        writer = csv.writer(text, delimiter=separator, lineterminator="\r\n")
        writer.writerow([job.cell(name) for name in columns])
        for row in again:
            writer.writerow([job.cell(row.get(name)) for name in columns])
        text.flush()
        text.detach()


def _parquet(part: Path, packing: str, rows: Rows, job: _Export) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, again = _columns_first(_typed_row(row, job.form) for row in rows)
    schema = pa.schema([(name, pa.null()) for name in columns])
    with tempfile.TemporaryFile("w+b") as spool:
        try:
            for batch in _batched(again, _PARQUET_ROWS):
                batch = [
                    {name: row.get(name) for name in columns} for row in batch
                ]  # Arrow looks at the first row only
                table = pa.Table.from_pylist(batch)
                schema = pa.unify_schemas([schema, table.schema], promote_options="permissive")
                for row in batch:
                    spool.write(orjson.dumps(row) + b"\n")
            spool.seek(0)
            schema = pa.schema([(one.name, pa.string() if pa.types.is_null(one.type) else one.type) for one in schema])
            with pq.ParquetWriter(part, schema, compression="zstd") as writer:
                for batch in _batched(map(orjson.loads, spool), _PARQUET_ROWS):
                    writer.write_table(pa.Table.from_pylist(batch, schema=schema))
        except pa.ArrowInvalid as error:
            raise UserError(f"the rows have no common columns and types: {error}", hint="write .jsonl") from None


def _typed_row(row: dict[str, Any], form: Format) -> dict[str, Any]:
    """A row whose columns have one type each, whatever stands in other rows: what may have any shape is JSON text."""
    return {name: _typed(name, value, name in form.fields or name in _NESTED) for name, value in row.items()}


def _typed(name: str, value: Any, known: bool) -> Any:
    if value is None or isinstance(value, str):
        return value
    if known and name in _NUMBERS and isinstance(value, (int, float)):
        return _NUMBERS[name](value)
    if known and name not in ("tools", "tool_calls"):
        if isinstance(value, list):
            return [_typed(name, one, known) for one in value]
        if isinstance(value, dict):
            return {key: _typed(key, one, key in _NESTED or key in _NUMBERS) for key, one in value.items()}
    return as_cell(value)


def _xlsx(part: Path, packing: str, rows: Rows, job: _Export) -> None:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell

    columns, again = _columns_first(rows)
    if job.written > _XLSX_ROWS:
        raise UserError(f"{job.written:,} rows are more than a worksheet holds", hint="write .csv, .jsonl or .parquet")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("rows")

    def cell(value: Any) -> WriteOnlyCell:
        made = WriteOnlyCell(sheet, value=escaped(as_cell(value)))
        made.data_type = "s"  # text, never a formula
        return made

    sheet.append([cell(name) for name in columns])
    for row in again:
        sheet.append([cell(row.get(name)) for name in columns])
    book.save(part)


def _llama_factory_reads(job: _Export) -> bool:
    """Whether LLaMA-Factory reads the rows as they were written; in cells of CSV it finds text only."""
    info = job.form.dataset_info
    if info is None or job.calls or job.ending not in (".jsonl", ".json", ".csv", ".parquet"):
        return False
    return job.ending != ".csv" or ("formatting" not in info and "history" not in job.columns)


def _dataset_info(target: Path, form: Format, job: _Export) -> Path:
    """Put the file's entry into LLaMA-Factory's dataset_info.json beside it, leaving other entries alone."""
    path = target.parent / DATASET_INFO
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if not isinstance(known, dict):
            raise ValueError("it is not an object")
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} is there and cannot be read ({error}), so the entry for {target.name} was not added",
            hint=f"mend or move it; {target} is written",
        ) from None
    assert form.dataset_info is not None
    entry = {"file_name": target.name, **form.dataset_info}
    entry["columns"] = {
        key: name for key, name in entry["columns"].items() if name in job.columns or key in ("prompt", "messages")
    }
    known[target.name.removesuffix(job.ending)] = entry
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(known, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path
