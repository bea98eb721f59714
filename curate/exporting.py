"""Writing datasets as files that trainers read: `curate export`."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import orjson
import zstandard

from curate.importers.csv import as_cell
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

Rows = Iterator[dict[str, Any]]


def export_dataset(
    path: Path, format_: str, out: Path, *, extras: bool = True, escape_formulas: bool = False, replace: bool = False
) -> dict[str, Any]:
    """Write every row of a dataset in a format. A folder gets NAME.jsonl and, for formats LLaMA-Factory reads, its
    dataset_info.json entry; so does the folder of a file. Rows that the format cannot express go to a .rejected.jsonl
    file beside it."""
    dataset = open_dataset(path)
    form = find_format(format_)
    if form.kind != dataset.kind:
        fitting = [name for name, one in FORMATS.items() if one.kind == dataset.kind]
        raise UserError(
            f"{path} holds {dataset.kind} rows, which {format_} cannot express",
            hint=f"formats for them: {', '.join(fitting)}",
        )
    ending, packing = _ending(out)
    target = out / f"{_file_name(dataset.manifest.name)}.jsonl" if ending == "" else out
    ending = ending or ".jsonl"
    if target.exists() and not replace:
        raise UserError(f"{target} exists", hint="give --replace to overwrite it, or choose another --out")
    if target.is_dir():
        raise UserError(f"{target} is a folder", hint=f"name a file, for example {target}/rows.jsonl")
    target.parent.mkdir(parents=True, exist_ok=True)
    rejected = target.with_name(f"{target.name}.{REJECTED}")
    job = _Export(dataset, form, extras, escape_formulas)
    _write(target, rejected, ending, packing, job)
    info = (
        _dataset_info(target, form, job)
        if form.dataset_info is not None and ending in (".jsonl", ".json", ".csv", ".parquet")
        else None
    )
    return {
        "dataset": str(path),
        "format": format_,
        "out": str(target),
        "rows_in": dataset.rows,
        "rows_out": job.written,
        "rejected": dict(job.refused),
        "rejected_file": str(rejected) if job.refused else None,
        "dataset_info": str(info) if info else None,
        "findings": job.findings(ending),
    }


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

    def __init__(self, dataset: Dataset, form: Format, extras: bool, escape_formulas: bool) -> None:
        self.dataset = dataset
        self.form = form
        self.extras = extras
        self.escape_formulas = escape_formulas
        self.written = 0
        self.refused: Counter[str] = Counter()
        self.formulas = 0
        self.columns: set[str] = set()

    def rows(self, refuse: Callable[[Reject], None]) -> Rows:
        done = 0
        with progress("export", self.dataset.rows) as shown:
            for frame in self.dataset.batches():
                for row in frame.iter_rows(named=True):
                    try:
                        written = write_row(row, self.form, extras=self.extras)
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

    def findings(self, ending: str) -> list[dict[str, Any]]:
        if self.formulas and ending in (".csv", ".tsv") and not self.escape_formulas:
            fix = "to open the file in a spreadsheet, write .xlsx or give --escape-formulas"
            example = "a cell begins with = + - @, which a spreadsheet takes for a formula"
            return [{"kind": "formulas", "severity": "low", "count": self.formulas, "example": example, "fix": fix}]
        return []


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
        writers[ending](part, packing or ending, job.rows(sink.add), job)
        sink.close()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        rejected.unlink(missing_ok=True)
        if sink.counts:
            os.replace(refused_part, rejected)
        os.replace(part, target)
        sync_folder(target.parent)
    finally:
        sink.close()
        part.unlink(missing_ok=True)
        refused_part.unlink(missing_ok=True)


def _opened(part: Path, packing: str) -> IO[bytes]:
    if packing == ".gz":
        # No time and no name in the header: the same rows give the same bytes.
        return gzip.GzipFile(filename="", mode="wb", fileobj=part.open("wb"), mtime=0)
    if packing == ".zst":
        return zstandard.ZstdCompressor().stream_writer(part.open("wb"))
    return part.open("wb")


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
    separator = "\t" if part.name.split(".part")[0].find(".tsv.") > 0 else ","
    with _opened(part, packing) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        writer = csv.writer(text, delimiter=separator, lineterminator="\n")
        writer.writerow(columns)
        for row in again:
            writer.writerow([job.cell(row.get(name)) for name in columns])


def _parquet(part: Path, packing: str, rows: Rows, job: _Export) -> None:
    import polars as pl

    spool: list[dict[str, Any]] = []
    columns, again = _columns_first(rows)
    frames = []
    for row in again:
        # A column whose values have several shapes has no one Parquet type: extras are written as JSON text.
        spool.append(
            {name: row.get(name) if name in job.form.fields else _plain_value(row.get(name)) for name in columns}
        )
        if len(spool) >= _PARQUET_ROWS:
            frames.append(pl.DataFrame(spool, infer_schema_length=None))
            spool = []
    if spool or not frames:
        frames.append(pl.DataFrame(spool, infer_schema_length=None))
    pl.concat(frames, how="diagonal_relaxed").write_parquet(part)


def _plain_value(value: Any) -> str | None:
    return None if value is None else as_cell(value)


def _xlsx(part: Path, packing: str, rows: Rows, job: _Export) -> None:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    columns, again = _columns_first(rows)
    if job.written > _XLSX_ROWS:
        raise UserError(f"{job.written:,} rows are more than a worksheet holds", hint="write .csv, .jsonl or .parquet")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("rows")
    sheet.append(columns)
    for number, row in enumerate(again, start=1):
        cells = []
        for name in columns:
            text = as_cell(row.get(name))
            if len(text) > _XLSX_CELL_CHARS or ILLEGAL_CHARACTERS_RE.search(text):
                raise UserError(
                    f"row {number}: {name} holds what a worksheet cannot (over {_XLSX_CELL_CHARS:,} characters, or control characters)",
                    hint="write .csv, .jsonl or .parquet",
                )
            cell = WriteOnlyCell(sheet, value=text)
            cell.data_type = "s"  # text, never a formula
            cells.append(cell)
        sheet.append(cells)
    book.save(part)


def _dataset_info(target: Path, form: Format, job: _Export) -> Path:
    """Put the file's entry into LLaMA-Factory's dataset_info.json beside it, leaving other entries alone."""
    path = target.parent / DATASET_INFO
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if not isinstance(known, dict):
            raise ValueError("not an object")
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
    known[target.name.split(".")[0]] = entry
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(known, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)
    return path
