"""Comma- and tab-separated values with a header line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, ClassVar

from curate.files import (
    MAX_ROW_BYTES,
    Block,
    Importer,
    InputFile,
    Stream,
    detect_encoding,
    ending_block,
    reject,
    utf8_chunks,
)
from schemas.errors import Rejected

NESTED = frozenset(
    ["messages", "conversations", "conversation", "history", "chosen", "rejected", "prompt", "completion", "answers", "responses", "completions", "tools", "functions", "input", "preferred_output", "non_preferred_output", "rejected_response", "ranks", "scores", "models"]
)
"""Columns whose cells may hold JSON."""


class SeparatedValues(Importer):
    """Reads CSV and TSV; the separator is found from the header."""

    suffixes: ClassVar = (".csv", ".tsv")

    def blocks(self, file: InputFile) -> Iterator[Block]:
        csv.field_size_limit(MAX_ROW_BYTES)
        stream = Stream(file.path)
        lines = _TextLines(utf8_chunks(stream, file.encoding or detect_encoding(file.path)))
        first = next(iter(lines), "")
        if not first.strip():
            return
        lines.again(first)
        reader = csv.reader(lines, delimiter=_separator(first, file.suffix), strict=True)
        block = Block()
        header: list[str] | None = None
        line = 1
        while True:
            line = lines.number + 1
            try:
                cells = next(reader, None)
                if cells is None:
                    break
                if not any(cell.strip() for cell in cells):
                    continue
                if header is None:
                    header = [cell.strip() for cell in cells]
                    if len(set(header)) != len(header):
                        raise Rejected("duplicate_column", "two columns of the header have the same name")
                    continue
                block.rows.append(_row(header, cells))
                block.lines.append(line)
            except csv.Error as error:
                why = Rejected("bad_csv", f"{error} (the row that begins here ends at line {lines.number})")
                block.rejects.append(reject(file, line, why, lines.last))
            except Rejected as why:
                block.rejects.append(reject(file, line, why, lines.last))
                if header is not None and why.reason == "duplicate_column":
                    break
            if block.full():
                block.bytes_read = stream.bytes_read
                yield block
                block = Block()
        block.bytes_read = stream.bytes_read
        yield block
        ending = ending_block(file, stream, line)
        if ending:
            yield ending


class _TextLines:
    """Decoded lines for the csv module, counted."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.number = 0
        self.last = ""
        self._again: str | None = None
        self._lines = self._decoded(chunks)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again is not None:
            line, self._again = self._again, None
        else:
            line = next(self._lines)
        self.number += 1
        self.last = line
        if max(line, default="") >= "\udc80" and any("\ud800" <= char <= "\udfff" for char in line):
            raise Rejected("invalid_utf8", "bytes that are not valid text; name the file's encoding with --encoding")
        return line

    def again(self, line: str) -> None:
        """Give `line` once more."""
        self._again = line
        self.number -= 1

    @staticmethod
    def _decoded(chunks: Iterator[bytes]) -> Iterator[str]:
        rest = b""
        for chunk in chunks:
            pieces = (rest + chunk).split(b"\n")
            rest = pieces.pop()
            for piece in pieces:
                yield piece.decode("utf-8", errors="surrogateescape") + "\n"
        if rest:
            yield rest.decode("utf-8", errors="surrogateescape")


def _separator(header: str, suffix: str) -> str:
    if suffix == ".tsv":
        return "\t"
    return max(",;\t|", key=header.count)


def _row(header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise Rejected("wrong_field_count", f"{len(cells)} cells, the header has {len(header)}")
    return {name: cell_value(name, cell) for name, cell in zip(header, cells, strict=True) if name or cell}


def cell_value(name: str, cell: str) -> Any:
    """A cell's text, or the list or object it spells in a column that may hold one; None for an empty cell of one."""
    if name.strip().lower() in NESTED and cell[:1] in ("[", "{"):
        try:
            found = json.loads(cell)
        except (ValueError, RecursionError):
            return cell
        return found if isinstance(found, (list, dict)) else cell
    return cell


def as_cell(value: Any) -> str:
    """A value as a cell's text: nested values as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def csv_text(rows: list[list[str]], separator: str) -> str:
    """Rows of cells as CSV text."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(rows)
    return out.getvalue()
