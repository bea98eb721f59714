"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

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
    utf8_chunks,
)
from schemas.errors import Rejected


class JsonLines(Importer):
    """Reads JSON Lines."""

    suffixes: ClassVar = (".jsonl", ".ndjson")

    def blocks(self, file: InputFile) -> Iterator[Block]:
        stream = Stream(file.path)
        block = Block()
        line = 0
        for line, raw, held in _lines(utf8_chunks(stream, file.encoding or detect_encoding(file.path))):
            try:
                if raw is None:
                    raise Rejected("too_large", f"the line is longer than {MAX_ROW_BYTES >> 20} MB")
                row = parse_json(raw)
                if type(row) is not dict:
                    raise Rejected("not_an_object", "the line is not a JSON object")
            except Rejected as why:
                block.rejects.append(reject(file, line, why, held if raw is None else raw))
            else:
                block.rows.append(row)
                block.lines.append(line)
            if block.full():
                block.bytes_read = stream.bytes_read
                yield block
                block = Block()
        block.bytes_read = stream.bytes_read
        yield block
        ending = ending_block(file, stream, line + 1)
        if ending:
            yield ending


def _lines(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes | None, bytes]]:
    """(number from 1, line or None when it is too long, its beginning) of every line that is not blank."""
    number = 0
    rest = b""
    skipping = b""
    for chunk in chunks:
        pieces = chunk.split(b"\n")
        if len(pieces) == 1:
            if skipping:
                continue
            rest += chunk
            if len(rest) > MAX_ROW_BYTES:
                skipping, rest = rest[:65536], b""
            continue
        if skipping:
            number += 1
            yield number, None, skipping
            skipping, rest = b"", b""
            pieces = pieces[1:]
            if len(pieces) == 1:
                rest = pieces[0]
                continue
        pieces[0] = rest + pieces[0]
        rest = pieces.pop()
        for piece in pieces:
            number += 1
            if len(piece) > MAX_ROW_BYTES:
                yield number, None, piece[:65536]
            elif piece and not piece.isspace():
                yield number, piece, b""
    if skipping:
        yield number + 1, None, skipping
    elif rest and not rest.isspace():
        yield number + 1, rest, b""
