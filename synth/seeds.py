"""Seeds: the rows that others are made from, out of dataset folders or straight out of files."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from schemas.dataset import Reject, datasets_in, held_text, open_dataset, sha256_of
from schemas.errors import Rejected, UserError, UserErrors, raise_all
from schemas.formats import plan_for, read_row
from schemas.manifest import InputFile
from schemas.rows import content_columns, content_digest
from schemas.sources import Source
from synth.making import id_of
from synth.recipe import SeedSettings

ROWS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Endings of files that hold rows."""

TEXTS = (".txt", ".text", ".md", ".markdown", ".rst")
"""Endings of files that are one text each; markup stays as it is."""

MAX_FILE_BYTES = 256 << 20
"""Larger files are for `curate import`, which reads them piece by piece."""

MAX_SEEDS = 2_000_000

_MAX_CELL_CHARS = 16 << 20
_GOOD_FOR_BAD = 4
"""How many good characters beyond ASCII there are for a bad one, at least, in text that is damaged UTF-8."""

_KINDS = ("chat", "preference", "candidates", "text")


@dataclass
class Seeds:
    """Rows as dicts of their columns without nulls, and what is known of where they come from."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    """What is no row: with file, line and reason."""
    inputs: list[InputFile] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    """What each input holds, as hashes."""
    chain: list[dict[str, Any]] = field(default_factory=list)
    """Manifests of the datasets among them, as a manifest's `chain` has them."""

    def identity(self) -> dict[str, Any]:
        """What of them affects made rows: what they hold and on what terms. Not paths."""
        return {
            "seeds": self.marks,
            "sources": {name: source.model_dump() for name, source in sorted(self.sources.items())},
        }


def read_seeds(given: Sequence[SeedSettings]) -> Seeds:
    """The seeds that a recipe names, in its order. Raises UserErrors with everything that cannot be read at all."""
    found = Seeds()
    errors: list[UserError] = []
    seen: set[str] = set()
    for settings in given:
        try:
            folders = datasets_in(Path(settings.path))
            rows = _of_datasets(folders, settings, found) if folders else _of_files(settings, found)
            for row, where in rows:
                if row["id"] in seen:
                    found.rejects.append(Reject(*where, "repeated_seed", "an earlier seed is the same row", row["id"]))
                    continue
                seen.add(row["id"])
                found.rows.append(row)
                if len(found.rows) > MAX_SEEDS:
                    raise UserError(f"there are more than {MAX_SEEDS:,} seeds", hint="choose some with `curate run`")
        except UserErrors as several:
            errors += several.errors
        except UserError as error:
            errors.append(error)
    raise_all(errors)
    if not found.rows:
        raise _nothing(given, found.rejects)
    return found


Placed = tuple[dict[str, Any], tuple[str, int | None]]
"""A row, and the file and line it stands in."""


def _nothing(given: Sequence[SeedSettings], rejects: Sequence[Reject]) -> UserError:
    listed = ", ".join(one.path for one in given)
    if not rejects:
        return UserError(f"there are no seeds in {listed}", hint=f"rows are read from {', '.join(ROWS)} and text files")
    first = rejects[0]
    where = f"{first.file}:{first.line}" if first.line else first.file
    hint = f"`curate check {given[0].path}` says everything that is wrong"
    return UserError(f"none of {len(rejects):,} rows in {listed} is a seed; first, {where}: {first.detail}", hint=hint)


def _of_datasets(folders: Sequence[Path], settings: SeedSettings, found: Seeds) -> Iterator[Placed]:
    if settings.told() or settings.source:
        name = next(iter(settings.told()), "source")
        raise UserError(f"{settings.path} is a dataset and says itself where its rows come from", hint=f"remove {name}")
    for folder in folders:
        dataset = open_dataset(folder)
        manifest = dataset.manifest
        if dataset.kind not in _KINDS:
            raise UserError(
                f"{folder} holds {dataset.kind}s, from which nothing is made", hint="name the dataset of rows"
            )
        for name, source in manifest.sources.items():
            _add_source(found, name, source)
        kept = {"command", "name", "kind", "fingerprint", "digest", "counts", "inputs", "recipe", "steps", "created"}
        found.chain += [*manifest.chain, manifest.model_dump(mode="json", include=kept)]
        # The digest does not depend on the order of rows, but what is made of them does; the fingerprint does.
        found.marks.append(f"{dataset.kind} {manifest.digest} {manifest.fingerprint}")
        found.inputs.append(InputFile(path=str(folder), fingerprint=manifest.fingerprint, rows=dataset.rows))
        wanted = ["id", "source", "task", "lang", "split", "origin", "extra", *content_columns(dataset.kind)]
        for frame in dataset.batches(wanted):
            for row in frame.iter_rows(named=True):
                held = {name: value for name, value in row.items() if value is not None}
                origin = held.get("origin") or {}
                yield held, (origin.get("file") or str(folder), origin.get("line"))


def _add_source(found: Seeds, name: str, source: Source) -> None:
    if found.sources.setdefault(name, source) != source:
        raise UserError(
            f"two of the seeds describe the source {name!r} differently",
            hint="import one of them again with another --source, or name it with source: in the recipe",
        )


def _of_files(settings: SeedSettings, found: Seeds) -> Iterator[Placed]:
    root = Path(settings.path)
    files = [root] if root.is_file() else _below(root)
    if not files:
        raise UserError(
            f"there are no files of seeds in {root}",
            hint=f"they end in {', '.join((*ROWS, *TEXTS))}; `curate import` reads more",
        )
    name = settings.source or root.resolve().name.split(".")[0] or "files"
    try:
        _add_source(found, name, Source(name=name, **settings.told()))
    except ValidationError as error:
        raise UserError(
            f"{name[:60]!r} cannot be a source's name: {error.errors()[0]['msg']}", hint="name it with source:"
        ) from None
    repeats: Counter[bytes] = Counter()
    for file in files:
        shown = file.name if root.is_file() else file.relative_to(root).as_posix()
        before = len(found.rejects)
        rows = 0
        for line, raw in _raw_rows(file, shown, found.rejects):
            try:
                row = _row(raw, name, shown, line, repeats)
            except Rejected as why:
                found.rejects.append(Reject(shown, line, why.reason, why.detail, _held(raw)))
            else:
                rows += 1
                yield row, (shown, line)
        mark = sha256_of(file)
        found.marks.append(f"{shown} {mark}")
        rows += len(found.rejects) - before
        found.inputs.append(InputFile(path=str(file), fingerprint=mark, bytes=file.stat().st_size, rows=rows))


def _below(folder: Path) -> list[Path]:
    """The files of seeds below a folder, in order; nothing hidden, nothing that leads out of it."""
    inside = folder.resolve()
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (*ROWS, *TEXTS)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
        and path.resolve().is_relative_to(inside)
    ]


def _row(raw: Any, source: str, file: str, line: int | None, repeats: Counter[bytes]) -> dict[str, Any]:
    """A raw row as columns. Its id is the one that `curate import` gives it. Raises Rejected."""
    if not isinstance(raw, dict):
        raise Rejected("not_an_object", "a row must be an object of fields")
    plan = plan_for(raw)
    if plan is None:
        listed = ", ".join(str(key)[:40] for key in list(raw)[:8])
        raise Rejected("unknown_format", f"no format has the columns {listed}")
    read = read_row(raw, plan)
    try:
        digest = content_digest(read.content, nulls=False)
        extra = orjson.dumps(read.extra, default=str, option=orjson.OPT_NON_STR_KEYS).decode() if read.extra else None
    except (TypeError, orjson.JSONEncodeError) as error:
        raise Rejected("not_json", f"a value cannot be kept: {error}") from None
    occurrence = repeats[digest]
    repeats[digest] += 1
    row = {
        "id": id_of(source, digest, occurrence),
        "source": source,
        "task": read.own.get("task"),
        "lang": read.own.get("lang"),
        "split": read.own.get("split"),
        "origin": {"file": file, "line": line, "part": None},
        "extra": extra,
        **read.content,
    }
    return {name: value for name, value in row.items() if value is not None}


def _held(raw: Any) -> str:
    try:
        return held_text(orjson.dumps(raw, default=str, option=orjson.OPT_NON_STR_KEYS))
    except (TypeError, orjson.JSONEncodeError):
        return ""


def _raw_rows(file: Path, shown: str, rejects: list[Reject]) -> Iterator[tuple[int | None, Any]]:
    """What stands in a file, with its line, or its number where there are no lines. What cannot be read is rejected."""
    suffix = file.suffix.lower()
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UserError(
                f"{file} is larger than {MAX_FILE_BYTES >> 20} MB",
                hint=f"import it first: curate import {file} --out DIR",
            )
        if suffix == ".parquet":
            yield from _parquet(file)
            return
        if suffix not in (*ROWS, *TEXTS):
            raise UserError(
                f"seeds are not read from {file.name}", hint=f"import it first: curate import {file} --out DIR"
            )
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", hint="see that it is yours to read") from error
    try:
        if suffix in (".jsonl", ".ndjson"):
            yield from _lines(data, shown, rejects)
        elif suffix == ".json":
            yield from _json(data, shown, rejects)
        elif suffix in (".csv", ".tsv"):
            yield from _table(_text(data), suffix, shown, rejects)
        elif text := _text(data).strip():
            yield 1, {"text": text, "title": file.name.split(".")[0], "path": shown}
    except Rejected as why:
        rejects.append(Reject(shown, None, why.reason, why.detail, held_text(data[:400])))


def _text(data: bytes) -> str:
    """Text in UTF-8, UTF-16 with its mark, or GB18030. Raises Rejected (invalid_utf8)."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig" if _is_utf8(data) else "gb18030"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        said = "bytes that are not valid text; `curate import --encoding` reads other encodings"
        raise Rejected("invalid_utf8", said) from None


def _is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8, or were before something damaged a few of them: most bytes would pass for GB18030."""
    text = data.decode("utf-8", errors="replace")
    bad = text.count("\ufffd")
    return not bad or bad * _GOOD_FOR_BAD <= sum(not letter.isascii() for letter in text) - bad


def _lines(data: bytes, shown: str, rejects: list[Reject]) -> Iterator[tuple[int, Any]]:
    """The values of JSON Lines, each line by itself."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or not _is_utf8(data):
        data = _text(data).encode()
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, orjson.loads(line)
        except orjson.JSONDecodeError as error:
            said = f"not valid JSON: {error.msg} at character {error.pos + 1}"
            rejects.append(Reject(shown, number, "bad_json", said, held_text(line[:8192])))


def _json(data: bytes, shown: str, rejects: list[Reject]) -> Iterator[tuple[int, Any]]:
    """The rows of a JSON document: a list, one object, or an object whose only list of objects they are; else lines."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or not _is_utf8(data):
        data = _text(data).encode()
    try:
        value = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        first = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if first == b"{" and b"\n" in data.strip():
            yield from _lines(data, shown, rejects)
            return
        line = data.count(b"\n", 0, error.pos) + 1
        said = f"not valid JSON: {error.msg} at character {error.pos + 1}"
        rejects.append(Reject(shown, line, "bad_json", said, held_text(data[max(0, error.pos - 80) : error.pos + 80])))
        return
    if isinstance(value, dict):
        lists = [one for one in value.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
        value = lists[0] if plan_for(value) is None and len(lists) == 1 else [value]
    yield from enumerate(value if isinstance(value, list) else [value], 1)


def _table(text: str, suffix: str, shown: str, rejects: list[Reject]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV or TSV file with a header."""
    csv.field_size_limit(_MAX_CELL_CHARS)
    head = text[: text.find("\n")] if "\n" in text else text
    divider = (
        "\t"
        if suffix == ".tsv" or head.count("\t") > head.count(",")
        else ";"
        if head.count(";") > head.count(",")
        else ","
    )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=divider)
    header: list[str] | None = None
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            rejects.append(Reject(shown, reader.line_num, "bad_csv", f"not valid CSV: {error}"))
            return
        if cells is None:
            return
        began, line = line, reader.line_num + 1
        if not any(cells):
            continue
        if header is None:
            header = [one.strip() for one in cells]
        elif len(cells) != len(header):
            said = f"{len(cells)} cells, and the header has {len(header)}"
            rejects.append(Reject(shown, began, "wrong_cells", said, divider.join(cells)[:2000]))
        else:
            yield began, {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _parquet(file: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            number = 0
            for batch in opened.iter_batches(batch_size=1_000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file} cannot be read: {error}", hint="is it a Parquet file?") from error
