"""What a Compare is told of the rows, held in memory, or mapped from a file where that would be too much."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from schemas.dataset import ArrowSink


def usual_memory() -> int:
    """A quarter of the machine's memory, in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (ValueError, OSError, AttributeError):  # not every system says it
        return 1 << 30


class Summaries:
    """Frames of summaries, one after another: in memory up to `memory` bytes, then in the file `path`.

    A file that is mapped counts as memory only while the system has no better use for it, so that sets of shingles may
    take more than the machine has. What comes out is the same.
    """

    def __init__(self, path: Path, memory: int) -> None:
        self._path = path
        self._memory = memory
        self._frames: list[pl.DataFrame] = []
        self._bytes = 0
        self._sink: ArrowSink | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Append some rows' summaries."""
        if self._sink is None:
            self._frames.append(frame)
            self._bytes += int(frame.estimated_size())
            if self._bytes <= self._memory:
                return
            self._sink = ArrowSink(self._path, compression=None)  # what is compressed cannot be used where it lies
        for one in self._frames or [frame]:
            self._sink.add(one)
        self._frames.clear()

    def whole(self) -> pl.DataFrame:
        """All of them in one frame, which must not be used after `close`. There must be at least one."""
        if self._sink is None:
            frames, self._frames = self._frames, []
            return pl.concat(frames)
        self._sink.close()
        with pa.ipc.open_file(pa.memory_map(str(self._path))) as reader:
            frame = pl.from_arrow(reader.read_all(), rechunk=False)
        assert isinstance(frame, pl.DataFrame)
        return frame

    def close(self) -> None:
        """Let go of the file."""
        if self._sink is not None:
            self._sink.close()
            self._path.unlink(missing_ok=True)
