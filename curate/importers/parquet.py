"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from curate.files import Block, Importer, InputFile, reject, unpacked
from schemas.errors import Rejected

BATCH_ROWS = 2048
_BATCH_BYTES = 16 << 20


class Parquet(Importer):
    """Reads Parquet, a few thousand rows at a time."""

    suffixes: ClassVar = (".parquet",)

    def blocks(self, file: InputFile) -> Iterator[Block]:
        done = 0
        try:
            with unpacked(file) as path, pq.ParquetFile(path, page_checksum_verification=True) as parquet:
                about = parquet.metadata
                total = max(about.num_rows, 1)
                size = file.path.stat().st_size
                row_bytes = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups)) // total + 1
                rows_at_once = max(1, min(BATCH_ROWS, _BATCH_BYTES // row_bytes))
                for batch in parquet.iter_batches(batch_size=rows_at_once):
                    rows = rows_of(batch)
                    lines = list(range(done + 1, done + len(rows) + 1))
                    done += len(rows)
                    yield Block(rows, lines, bytes_read=size * done // total)
        except Rejected as why:
            yield Block(rejects=[reject(file, done + 1 if done else None, why)])
        except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
            yield Block(rejects=[reject(file, done + 1, unreadable(error))])


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch as dicts. Raises Rejected or an Arrow error if they are no sound rows."""
    names = batch.schema.names
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Rejected("duplicate_column", f"two columns are named {twice[:60]!r}")
    batch.validate(full=True)
    for number, column in enumerate(batch.schema):
        if pa.types.is_temporal(column.type):  # Python's own types hold neither nanoseconds nor every year
            batch = batch.set_column(number, column.name, batch.column(number).cast(pa.string()))
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def unreadable(error: Exception) -> Rejected:
    """Why a binary file could not be read on."""
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return Rejected("damaged_file", f"cannot be read on from this row: {said[:200]}")
