"""Arrow IPC files and streams, as Hugging Face datasets saves them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pyarrow as pa
import pyarrow.ipc

from curate.files import Block, Importer, InputFile, reject, unpacked
from curate.importers.parquet import BATCH_ROWS, rows_of, unreadable
from schemas.errors import Rejected


class Arrow(Importer):
    """Reads Arrow IPC, a few thousand rows at a time."""

    suffixes: ClassVar = (".arrow", ".feather", ".ipc")

    def blocks(self, file: InputFile) -> Iterator[Block]:
        done = 0
        try:
            with unpacked(file) as path, pa.memory_map(str(path)) as mapped:
                size = file.path.stat().st_size
                for batch in _batches(mapped):
                    for start in range(0, batch.num_rows, BATCH_ROWS):
                        rows = rows_of(batch.slice(start, BATCH_ROWS))
                        lines = list(range(done + 1, done + len(rows) + 1))
                        yield Block(rows, lines, bytes_read=min(mapped.tell(), size))
                        done += len(rows)
        except Rejected as why:
            yield Block(rejects=[reject(file, done + 1 if done else None, why)])
        except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
            yield Block(rejects=[reject(file, done + 1, unreadable(error))])


def _batches(mapped: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
    is_file = mapped.read(6) == b"ARROW1"
    mapped.seek(0)
    if is_file:
        with pa.ipc.open_file(mapped) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)
    else:
        with pa.ipc.open_stream(mapped) as stream:
            yield from stream
