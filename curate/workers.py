"""Reading the lines of large files in several processes at once: the same pieces in the same order as in one.

A worker is a plain child process that speaks over its standard input and output, in messages of a length and that many
bytes. It ends when its input ends, so that none outlives a command that was killed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, Self

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.ipc

from curate.files import InputFile, LineBlock
from schemas.dataset import Reject
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.read import Piece, Reading

WORTH_BYTES = 64 << 20
"""Files smaller than this are read in the command's own process."""

MOST = 8
"""Most workers there are at once."""

_LENGTH = struct.Struct("<q")

_ENVIRONMENT = {
    "POLARS_MAX_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Where the allocator is glibc's: memory of one block serves the next, instead of being given back and asked for.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
"""What a worker has besides the command's own environment."""


class Workers:
    """Child processes that read blocks of lines. They are started by `start`, or when the first block is there."""

    def __init__(self) -> None:
        self._count = min(os.cpu_count() or 1, MOST)
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the processes, which takes them a second; nothing if they are there."""
        if self._all:
            return
        search = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": search}
        for _ in range(self._count):
            process = subprocess.Popen(
                [sys.executable, "-c", "from curate.workers import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
            self._all.append(process)
            self._idle.put(process)

    def pieces(self, file: InputFile, reading: Reading, usual: str, blocks: Iterator[LineBlock]) -> Iterator[Piece]:
        """The pieces of a file's blocks, in order, `usual` the name of its usual format. Their rows have no ids yet."""
        self.start()
        told = {
            "file": [str(file.path.absolute()), file.name, file.source, file.encoding],
            "reading": asdict(reading),
            "usual": usual,
        }
        waiting: deque[Future[list[Piece]]] = deque()
        with ThreadPoolExecutor(self._count, thread_name_prefix="reader") as pool:
            try:
                for block in blocks:
                    waiting.append(pool.submit(self._ask, told, block))
                    if len(waiting) > 2 * self._count:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End the workers."""
        for process in self._all:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # what was meant for a worker that is gone
                        pipe.close()

    def _ask(self, told: dict[str, Any], block: LineBlock) -> list[Piece]:
        process = self._idle.get()
        try:
            return self._answer(process, told, block)
        except (EOFError, BrokenPipeError):
            raise UserError(
                f"a process that read {block.file.path} ended (status {process.poll()}); "
                "perhaps memory ran out, or the file changed",
                hint="run the same command again, with more memory free and the file at rest",
            ) from None
        finally:
            self._idle.put(process)

    def _answer(self, process: subprocess.Popen[bytes], told: dict[str, Any], block: LineBlock) -> list[Piece]:
        from curate.read import Piece

        rejected = [asdict(one) for one in block.rejects]
        head = {"line": block.first_line, "bytes_read": block.bytes_read, "rejects": rejected}
        place = None if block.offset is None else [block.offset, len(block.data)]
        _send(_pipe(process.stdin), orjson.dumps(told | head | {"place": place}))
        if place is None:
            _send(_pipe(process.stdin), block.data)
        answer = orjson.loads(_receive(_pipe(process.stdout)))
        pieces = []
        for one in answer:
            frame = _frame(_receive(_pipe(process.stdout))) if one["frame"] else None
            rejects = [Reject(**record) for record in one["rejects"]]
            pieces.append(Piece(block.file, one["kind"], frame, rejects, Counter(one["formats"]), block.bytes_read))
        return pieces


def serve() -> None:
    """What a worker does: answer for each block with its pieces, until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself is interrupted, and ends its workers
    with contextlib.suppress(EOFError, BrokenPipeError):
        _serve()


def _serve() -> None:
    gc.set_threshold(1_000_000, 50, 100)  # a block's rows are let go by themselves, and looking for rings costs 6 %
    from curate.read import Reading, file_reader

    source, sink = sys.stdin.buffer, sys.stdout.buffer
    file, reader, known = None, None, None
    while True:
        head = orjson.loads(_receive(source))
        told = (head["file"], head["reading"], head["usual"])
        if file is None or reader is None or told != known:
            path, name, of, encoding = head["file"]
            file, known = InputFile(Path(path), name, of, encoding), told
            reader = file_reader(file, Reading(**head["reading"]), head["usual"])
        rejects = [Reject(**record) for record in head["rejects"]]
        data = _receive(source) if head["place"] is None else _part(file.path, *head["place"])
        block = LineBlock(file, data, head["line"], rejects, head["bytes_read"])
        pieces = list(reader.line_block(block))
        answer: list[dict[str, Any]] = [
            {
                "kind": piece.kind,
                "frame": piece.frame is not None,
                "rejects": [asdict(one) for one in piece.rejects],
                "formats": piece.formats,
            }
            for piece in pieces
        ]
        _send(sink, orjson.dumps(answer))
        for piece in pieces:
            if piece.frame is not None:
                _send(sink, _bytes(piece.frame))
        sink.flush()


def _part(path: Path, offset: int, length: int) -> bytes:
    """Some of a file's bytes. Raises EOFError where they are not there any more."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _send(pipe: IO[bytes], data: bytes | memoryview) -> None:
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """One message. Raises EOFError when the other side is gone."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _bytes(frame: pl.DataFrame) -> memoryview:
    sink = pa.BufferOutputStream()
    table = frame.to_arrow(compat_level=pl.CompatLevel.newest())
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def _frame(data: bytes) -> pl.DataFrame:
    with pa.ipc.open_stream(data) as reader:
        frame = pl.from_arrow(reader.read_all())
    assert isinstance(frame, pl.DataFrame)
    return frame
