"""Plain text files: each is one row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.files import MAX_ROW_BYTES, Block, Importer, InputFile, Stream, detect_encoding, reject, utf8_chunks
from schemas.errors import Rejected


class PlainTextFile(Importer):
    """Reads a text file as one row of text with its name as title."""

    suffixes: ClassVar = (".txt",)

    def blocks(self, file: InputFile) -> Iterator[Block]:
        stream = Stream(file.path)
        data = bytearray()
        try:
            for chunk in utf8_chunks(stream, file.encoding or detect_encoding(file.path)):
                data += chunk
                if len(data) > MAX_ROW_BYTES:
                    raise Rejected("too_large", f"the text is longer than {MAX_ROW_BYTES >> 20} MB")
            if stream.problem is not None:
                raise stream.problem
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            why = Rejected("invalid_utf8", "bytes that are not valid text; name the file's encoding with --encoding")
            line = data.count(b"\n", 0, error.start) + 1
            yield Block(rejects=[reject(file, line, why, bytes(data[error.start : error.start + 200]))])
        except Rejected as why:
            yield Block(rejects=[reject(file, None, why, bytes(data[:4096]))])
        else:
            if text.strip():
                row = {"text": text, "title": file.path.name.split(".")[0], "path": file.name}
                yield Block([row], [1], bytes_read=stream.bytes_read)
