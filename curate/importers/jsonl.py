"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from curate.files import (
    MAX_ROW_BYTES,
    UTF8,
    Block,
    Importer,
    InputFile,
    LineBlock,
    Stream,
    detect_encoding,
    ending_block,
    reject,
    too_large,
    utf8_chunks,
)
from schemas.dataset import Reject

_HEAD_BYTES = 1 << 16


class JsonLines(Importer):
    """Reads JSON Lines."""

    suffixes: ClassVar = (".jsonl", ".ndjson")

    def blocks(self, file: InputFile) -> Iterator[Block]:
        for lines in self.line_blocks(file):
            yield lines.parse()

    def line_blocks(self, file: InputFile) -> Iterator[LineBlock]:
        stream = Stream(file.path)
        encoding = file.encoding or detect_encoding(file.path)
        chunks = utf8_chunks(stream, encoding)
        line, rest, skipped = 1, b"", b""
        for chunk in chunks:
            data = rest + chunk
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            rejects = []
            if skipped and end:
                first = data.index(b"\n") + 1
                rejects.append(_too_large(file, line, skipped))
                line, skipped, data, end = line + 1, b"", data[first:], end - first
            elif skipped:
                rest = b""
            if end:
                as_it_is = encoding in UTF8 and not stream.packed
                offset = stream.bytes_read - len(rest) - end if as_it_is else None
                yield LineBlock(file, data[:end], line, rejects, stream.bytes_read, offset)
                line += int(np.count_nonzero(np.frombuffer(data, np.uint8, end) == ord("\n")))
            elif rejects:
                yield LineBlock(file, b"", line, rejects, stream.bytes_read)
            if len(rest) > MAX_ROW_BYTES:
                skipped, rest = rest[:_HEAD_BYTES], b""
        if skipped:
            yield LineBlock(file, b"", line, [_too_large(file, line, skipped)], stream.bytes_read)
        elif rest:
            yield LineBlock(file, rest, line, [], stream.bytes_read)
        ending = ending_block(file, stream, line)
        if ending:
            yield LineBlock(file, b"", line, ending.rejects, stream.bytes_read)


def _too_large(file: InputFile, line: int, head: bytes) -> Reject:
    return reject(file, line, too_large("line"), head)
