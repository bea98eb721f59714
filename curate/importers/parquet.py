"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from curate.files import Block, Importer, InputFile, reject, unpacked
from schemas.errors import Rejected

BATCH_ROWS = 2048


class Parquet(Importer):
    """Reads Parquet, a few thousand rows at a time."""

    suffixes: ClassVar = (".parquet",)

    def blocks(self, file: InputFile) -> Iterator[Block]:
        done = 0
        try:
            with unpacked(file) as path, pq.ParquetFile(path, page_checksum_verification=True) as parquet:
                total = max(parquet.metadata.num_rows, 1)
                size = file.path.stat().st_size
                for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
                    rows = batch.to_pylist()
                    lines = list(range(done + 1, done + len(rows) + 1))
                    done += len(rows)
                    yield Block(rows, lines, bytes_read=size * done // total)
        except Rejected as why:
            yield Block(rejects=[reject(file, None, why)])
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            yield Block(rejects=[reject(file, done + 1, unreadable(error))])


def unreadable(error: Exception) -> Rejected:
    """Why a binary file could not be read on."""
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return Rejected("damaged_file", f"cannot be read on from this row: {said[:200]}")
