"""Comma- and tab-separated values with a header line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, ClassVar

from curate.files import (
    MAX_ROW_BYTES,
    Block,
    Importer,
    InputFile,
    Stream,
    detect_encoding,
    ending_block,
    parse_json,
    reject,
    too_large,
    utf8_chunks,
)
from schemas.dataset import held_text
from schemas.errors import Rejected

_NESTED = frozenset({
    "messages", "conversations", "conversation", "对话", "history", "历史", "answers", "responses", "completions",
    "outputs", "candidates", "tools", "functions", "preferred_output", "non_preferred_output", "rejected_messages",
    "ranks", "scores", "models",
})  # fmt: skip
"""Columns whose cells hold JSON."""

_PERHAPS_NESTED = frozenset({
    "prompt", "instruction", "question", "completion", "chosen", "rejected", "rejected_response", "input",
})  # fmt: skip
"""Columns whose cells hold text, or messages as JSON."""


class SeparatedValues(Importer):
    """Reads CSV and TSV; the separator is found from the header."""

    suffixes: ClassVar = (".csv", ".tsv")

    def blocks(self, file: InputFile) -> Iterator[Block]:
        csv.field_size_limit(MAX_ROW_BYTES)
        stream = Stream(file.path)
        lines = _TextLines(stream, file.encoding or detect_encoding(file.path))
        block = Block()
        try:
            first = next((line for line in lines if line.strip()), "")
        except Rejected as why:
            yield Block(rejects=[reject(file, lines.number, why, lines.last)])
            return
        lines.again(first)
        reader = csv.reader(lines, delimiter=_separator(first, file.suffix), strict=True)
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
                    continue
                if len(cells) != len(header):
                    raise Rejected("wrong_field_count", f"{len(cells)} cells, the header has {len(header)}")
                block.rows.append(row_of(header, cells))
                block.lines.append(line)
            except csv.Error as error:
                bad = Rejected("bad_csv", f"{error} (the row that begins here ends at line {lines.number})")
                block.rejects.append(reject(file, line, bad, lines.last))
            except Rejected as why:
                block.rejects.append(reject(file, line, why, lines.last))
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
    """Decoded lines for the csv module, counted. Raises Rejected for a line that is no text, and goes on after it."""

    def __init__(self, stream: Stream, encoding: str) -> None:
        self.number = 0
        self.last = ""
        self._again: str | None = None
        self._stream = stream
        self._chunks = utf8_chunks(stream, encoding)
        self._lines: list[bytes] = []
        """Lines that were read, the next one last."""
        self._rest = b""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again is not None:
            line, self._again = self._again, None
            self.number += 1
            return line
        if not self._lines:
            self._read()
        raw = self._lines.pop()
        self.number += 1
        self.last = held_text(raw)
        if len(raw) > MAX_ROW_BYTES:
            raise too_large("line")
        try:
            self.last = line = raw.decode("utf-8")
        except UnicodeDecodeError:
            why = "bytes that are not valid text; name the file's encoding with --encoding"
            raise Rejected("invalid_utf8", why) from None
        return line

    def again(self, line: str) -> None:
        """Give `line` once more."""
        self._again = line
        self.number -= 1

    def _read(self) -> None:
        """Read on to the next line end. Of a line that is too long only the beginning is kept."""
        for chunk in self._chunks:
            if len(self._rest) > MAX_ROW_BYTES and b"\n" not in chunk:
                continue
            whole, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
            if newline:
                self._lines = [line + newline for line in reversed(whole.split(b"\n"))]
                return
        rest, self._rest = self._rest, b""
        if not rest:
            raise StopIteration
        if self._stream.problem is not None:
            self.number += 1
            self.last = held_text(rest)
            raise self._stream.problem
        self._lines = [rest]


def _separator(header: str, suffix: str) -> str:
    if suffix == ".tsv":
        return "\t"
    return max(",;\t|", key=header.count)


def row_of(header: list[str], cells: list[str]) -> dict[str, Any]:
    """A row's cells by the names of their columns. Raises Rejected for a cell whose column has no name or another's."""
    row: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=False):
        if not name:
            continue
        if name not in row:
            row[name] = cell_value(name, cell)
        elif cell:
            raise Rejected("duplicate_column", f"two columns are named {name[:60]!r}")
    if any(cell and not name for name, cell in zip_longest(header, cells)):
        raise Rejected("wrong_field_count", "a cell stands under no header")
    return row


def cell_value(name: str, cell: str) -> Any:
    """A cell's text, or the list or object it spells in a column that may hold one."""
    name = name.strip().lower()
    if cell[:1] not in ("[", "{") or (name not in _NESTED and name not in _PERHAPS_NESTED):
        return cell
    try:
        found = parse_json(cell.encode())
    except (Rejected, UnicodeEncodeError):
        return cell
    return found if name in _NESTED or _are_messages(found) else cell


def _are_messages(found: Any) -> bool:
    """Whether a value is one message, a list of them, or an object that holds such a list."""
    turns = found.get("messages", [found]) if isinstance(found, dict) else found
    return bool(turns) and all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in turns)


def as_cell(value: Any) -> str:
    """A value as a cell's text: nested values as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
