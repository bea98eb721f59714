"""The engine for one machine: streams rows through the stages a batch at a time, and can be cut off anywhere.

The steps are cut into segments, each ending in a Compare. A finished segment is on disk with its counts, its dropped
rows and the Compare's choice, so that a run that was killed continues behind the last one it finished. Memory is
bounded by a few batches and the Compare's narrow summaries.
"""

from __future__ import annotations

import inspect
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.marks import Marked, Step, dropped_by, mark, summarise, with_fields
from curate.stage import Compare
from schemas.dataset import ArrowSink, DatasetWriter, read_arrow
from schemas.manifest import StepCount
from schemas.run import sync_tree, write_durably

Batches = Callable[[], Iterator[pl.DataFrame]]
"""Gives the rows again from the start each time it is called."""

_CHOICE = {"ordinal": pl.Int64(), "reason": pl.String(), "because": pl.String()}
_DONE = "done.json"
_KEPT = "kept.arrow"
_DROPPED = "dropped.arrow"
_CHOSEN = "choice.arrow"


@dataclass
class _Tally:
    """What each step of a segment did."""

    rows_in: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    edited: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def as_json(self) -> dict[str, Any]:
        return {
            "rows_in": self.rows_in,
            "dropped": self.dropped,
            "edited": self.edited,
            "seconds": self.seconds,
        }

    @classmethod
    def of(cls, said: dict[str, Any]) -> _Tally:
        return cls(
            Counter(said["rows_in"]),
            {step: Counter(reasons) for step, reasons in said["dropped"].items()},
            Counter(said["edited"]),
            defaultdict(float, said["seconds"]),
        )

    def add(self, other: _Tally) -> None:
        self.rows_in.update(other.rows_in)
        self.edited.update(other.edited)
        self.seconds.update(other.seconds)
        for step, seconds in other.seconds.items():
            self.seconds[step] += seconds
        for step, reasons in other.dropped.items():
            self.dropped.setdefault(step, Counter()).update(reasons)


@dataclass(frozen=True)
class _Segment:
    steps: tuple[Step, ...]
    compare: Step | None


def _segments(steps: Sequence[Step]) -> list[_Segment]:
    found: list[_Segment] = []
    simple: list[Step] = []
    for step in steps:
        if isinstance(step.stage, Compare):
            found.append(_Segment(tuple(simple), step))
            simple = []
        else:
            simple.append(step)
    found.append(_Segment(tuple(simple), None))
    return found


class LocalEngine:
    """Carries out steps on rows of one kind, working in `work`."""

    def __init__(
        self, kind: str, steps: Sequence[Step], work: Path, tell: Callable[[str, int], None] | None = None
    ) -> None:
        self.kind = kind
        self.steps = steps
        self.work = work
        self.tally = _Tally()
        self._tell = tell or (lambda label, rows: None)

    def carry_out(
        self, rows: Batches, writer: DatasetWriter, first: tuple[str, pl.DataFrame] | None = None
    ) -> list[StepCount]:
        """Send every row through every step into `writer`.

        `first` is a name and a choice (`ordinal`, `reason`, `because`) of rows to drop before the first step. Returns
        what each step did, in order. Call `clear` when the rows are safe elsewhere.
        """
        segments = _segments(self.steps)
        folders = [self.work / f"{number:03d}" for number in range(len(segments) - 1)]
        finished = _finished(folders)
        if not finished:
            self.clear()
        choice = first
        source = rows
        for number, folder in enumerate(folders):
            compare = segments[number].compare
            assert compare is not None
            if number >= finished:
                self._segment(source, segments[number], choice, folder)
                if number:
                    (folders[number - 1] / _KEPT).unlink(missing_ok=True)
            self.tally.add(_Tally.of(orjson.loads((folder / _DONE).read_bytes())))
            choice = (compare.name, pl.concat([pl.DataFrame(schema=_CHOICE), *_frames(folder / _CHOSEN)]))
            source = partial(_frames, folder / _KEPT)
        for folder in folders:
            for frame in _frames(folder / _DROPPED):
                writer.drop(frame)
        last = _Tally()
        for kept, dropped in self._marked(source, segments[-1], choice, last):
            writer.add(kept)
            for frame in dropped:
                writer.drop(frame)
        self.tally.add(last)
        return self._counts(first[0] if first is not None else None)

    def clear(self) -> None:
        """Remove what is kept to continue from. Its first mark goes first, so that no part of it is ever continued."""
        (self.work / "000" / _DONE).unlink(missing_ok=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def _counts(self, first: str | None) -> list[StepCount]:
        counts = [
            StepCount(
                step=step.name,
                use=Path(inspect.getfile(type(step.stage))).stem,
                rows_in=self.tally.rows_in[step.name],
                dropped=dict(sorted(self.tally.dropped.get(step.name, Counter()).items())),
                edited=self.tally.edited[step.name],
                seconds=round(self.tally.seconds[step.name], 3),
            )
            for step in self.steps
        ]
        if first is not None:
            dropped = dict(self.tally.dropped.get(first, Counter()))
            rows_in = sum(dropped.values()) + (counts[0].rows_in if counts else 0)
            counts.insert(0, StepCount(step=first, use=first, rows_in=rows_in, dropped=dropped))
        return counts

    def _segment(self, rows: Batches, segment: _Segment, choice: tuple[str, pl.DataFrame] | None, folder: Path) -> None:
        """Carry out a segment that ends in a Compare, and leave its result on disk."""
        assert segment.compare is not None and isinstance(segment.compare.stage, Compare)
        compare, stage = segment.compare, segment.compare.stage
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        kept_sink = ArrowSink(folder / _KEPT, compression="lz4")
        dropped_sink = ArrowSink(folder / _DROPPED)
        summaries: list[pl.DataFrame] = []
        tally = _Tally()
        ordinal = 0
        for kept, dropped in self._marked(rows, segment, choice, tally):
            for frame in dropped:
                dropped_sink.add(frame)
            began = time.monotonic()
            summaries.append(summarise(kept, self.kind, stage, ordinal))
            tally.seconds[compare.name] += time.monotonic() - began
            kept_sink.add(kept)
            ordinal += kept.height
        kept_sink.close()
        dropped_sink.close()
        began = time.monotonic()
        self._tell(compare.name, ordinal)
        chosen = pl.DataFrame(schema=_CHOICE)
        if ordinal:
            chosen = stage.choose(
                pl.concat(summaries), lambda ordinals, names: _fetch(folder / _KEPT, self.kind, ordinals, names)
            )
        tally.rows_in[compare.name] += ordinal
        tally.seconds[compare.name] += time.monotonic() - began
        chosen = chosen.select(pl.col(name).cast(dtype) for name, dtype in _CHOICE.items()).sort("ordinal")
        if chosen["ordinal"].n_unique() != chosen.height or chosen["reason"].null_count():
            raise ValueError(f"{compare.name} chose a row twice, or without a reason")
        sink = ArrowSink(folder / _CHOSEN)
        sink.add(chosen)
        sink.close()
        sync_tree(folder)
        write_durably(folder / _DONE, orjson.dumps(tally.as_json() | {"rows": ordinal}))

    def _marked(
        self, rows: Batches, segment: _Segment, choice: tuple[str, pl.DataFrame] | None, tally: _Tally
    ) -> Iterator[tuple[pl.DataFrame, list[pl.DataFrame]]]:
        """Each batch as kept rows and dropped rows."""
        ordinal = 0
        labels = ", ".join(step.name for step in segment.steps) or "write"
        for frame in rows():
            height = frame.height
            dropped: list[pl.DataFrame] = []
            if choice is not None:
                name, chosen = choice
                begin, end = (chosen["ordinal"].search_sorted(place) for place in (ordinal, ordinal + height))
                here = chosen[begin:end]
                if here.height:
                    numbered = frame.with_columns(
                        pl.int_range(ordinal, ordinal + height, dtype=pl.Int64).alias("ordinal")
                    )
                    frame, gone = dropped_by(numbered, name, here)
                    dropped.append(gone)
                    counted = tally.dropped.setdefault(name, Counter())
                    for reason, number in gone.group_by("reason").len().iter_rows():
                        counted[reason] += number
            ordinal += height
            for step in segment.steps:
                began = time.monotonic()
                tally.rows_in[step.name] += frame.height
                marked: Marked = mark(frame, self.kind, [step])
                frame = marked.kept
                dropped += marked.dropped
                for (name, reason), number in marked.reasons.items():
                    tally.dropped.setdefault(name, Counter())[reason] += number
                tally.edited.update(marked.edited)
                tally.seconds[step.name] += time.monotonic() - began
            self._tell(labels, height)
            yield frame, dropped


def _finished(folders: Sequence[Path]) -> int:
    """How many segments an earlier run finished, if the rows that the next one reads are still there."""
    done = list(takewhile(lambda folder: (folder / _DONE).is_file(), folders))
    if done:
        rows = orjson.loads((done[-1] / _DONE).read_bytes())["rows"]
        if rows and not (done[-1] / _KEPT).is_file():
            return 0
    return len(done)


def _frames(path: Path) -> Iterator[pl.DataFrame]:
    """The frames of an Arrow file; none where it is not there, because it would hold no rows."""
    return read_arrow(path) if path.is_file() else iter(())


def _fetch(path: Path, kind: str, ordinals: Sequence[int], names: Sequence[str]) -> pl.DataFrame:
    """The named columns or fields of just some rows; see `curate.stage.Fetch`."""
    wanted = pl.DataFrame({"ordinal": pl.Series(list(ordinals), dtype=pl.Int64)})
    found: list[pl.DataFrame] = []
    first = 0
    for frame in read_arrow(path):
        here = wanted.filter(pl.col("ordinal").is_between(first, first + frame.height - 1)).unique("ordinal")
        if here.height:
            rows = frame[here["ordinal"] - first]
            full = with_fields(rows, kind, [pl.col(name) for name in names])
            found.append(full.select(here["ordinal"], *names))
        first += frame.height
    if not found:
        return wanted.clear()
    return wanted.join(pl.concat(found), on="ordinal", how="left", maintain_order="left")
