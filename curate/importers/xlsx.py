"""Excel workbooks: every sheet, the first row of each is its header."""

from __future__ import annotations

import datetime
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from curate.files import MAX_RATIO, Block, Importer, InputFile, reject, unpacked
from curate.importers.csv import row_of
from schemas.errors import Rejected

_MAX_UNPACKED = 2 << 30
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPED = re.compile(r"_x((?![dD][89a-fA-F])[0-9A-Fa-f]{4})_")


class Workbook(Importer):
    """Reads .xlsx workbooks cell by cell; formulas give the value that was stored with them."""

    suffixes: ClassVar = (".xlsx", ".xlsm")

    def blocks(self, file: InputFile) -> Iterator[Block]:
        import openpyxl

        try:
            with unpacked(file) as path:
                check_archive(path)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
                try:
                    for sheet in book.worksheets:
                        yield from _sheet(file, sheet)
                finally:
                    book.close()
        except Rejected as why:
            yield Block(rejects=[reject(file, None, why)])
        except Exception as error:
            bad = Rejected("damaged_file", f"is no readable workbook: {type(error).__name__}")
            yield Block(rejects=[reject(file, None, bad)])


def check_archive(path: Path) -> None:
    """Raise Rejected if a zip archive is damaged or unpacks to much more than it should."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [(entry.file_size, entry.compress_size) for entry in archive.infolist()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Rejected("damaged_file", f"is no readable archive: {error}") from None
    unpacked, packed = sum(size for size, _ in sizes), sum(size for _, size in sizes)
    if unpacked > _MAX_UNPACKED or (unpacked > 64 << 20 and unpacked > MAX_RATIO * max(packed, 1)):
        raise Rejected("compression_bomb", f"unpacks to {unpacked >> 20} MB from {packed >> 10} KB")


def _sheet(file: InputFile, sheet: Any) -> Iterator[Block]:
    block = Block(part=sheet.title)
    header: list[str] | None = None
    number = 0
    try:
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            texts = [_text(cell) for cell in cells]
            if not any(text.strip() for text in texts):
                continue
            if header is None:
                header = [text.strip() for text in texts]
                continue
            try:
                block.rows.append(row_of(header, texts))
                block.lines.append(number)
            except Rejected as why:
                block.rejects.append(reject(file, number, why, "\t".join(texts)))
            if block.full():
                yield block
                block = Block(part=sheet.title)
    except Exception as error:
        bad = Rejected("damaged_file", f"sheet {sheet.title!r} cannot be read on from this row: {type(error).__name__}")
        block.rejects.append(reject(file, number + 1, bad))
    yield block


def escaped(text: str) -> str:
    """Text as a cell holds it: characters that XML has not, or does not keep, in Excel's own way of writing."""
    return _NOT_IN_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", text)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _text(cell: Any) -> str:
    """A cell as text: numbers without a needless fraction, dates in ISO form."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, (datetime.datetime, datetime.date, datetime.time)):
        return cell.isoformat()
    return _unescaped(str(cell))
