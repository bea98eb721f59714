"""The engine for one machine: streams rows through the stages a batch at a time, and can be cut off anywhere.

The steps are cut into segments, each ending in a Compare. A finished segment is on disk with its counts, its dropped
rows and the Compare's choice, so that a run that was killed continues behind the last one it finished. Memory is
bounded by a few batches and the Compare's narrow summaries, which go to a file where they are many.
"""

from __future__ import annotations

import inspect
import os
import shutil
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from curate.cutting import CUTS, cut_out
from curate.engines.summaries import Summaries, usual_memory
from curate.marks import Step, dropped_by, mark, summarise, with_fields
from curate.stage import Choice, Compare, Edit
from schemas.dataset import ArrowSink, DatasetWriter, read_arrow
from schemas.manifest import StepCount
from schemas.rows import columns
from schemas.run import sync_tree, write_durably

Batches = Callable[[], Iterator[pl.DataFrame]]
"""Gives the rows again from the start each time it is called."""

_CHOICE = {"ordinal": pl.Int64(), "reason": pl.String(), "because": pl.String()}
_AT_ONCE = min(os.cpu_count() or 1, 8)
"""How many batches are carried through the stages at once: polars frees the interpreter while it works."""

_DONE = "done.json"
_KEPT = "kept.arrow"
_DROPPED = "dropped.arrow"
_CHOSEN = "choice.arrow"
_CUTS = "cuts.arrow"
_SUMMARIES = "summaries.arrow"


class _Chosen(NamedTuple):
    """What the step of a name chose: rows to drop, and what to cut out of others."""

    name: str
    rows: pl.DataFrame
    cuts: pl.DataFrame


@dataclass
class _Tally:
    """What each step of a segment did."""

    rows_in: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    edited: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    findings: list[dict[str, Any]] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    noted: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows_in": self.rows_in,
            "dropped": self.dropped,
            "edited": self.edited,
            "seconds": self.seconds,
            "findings": self.findings,
            "report": self.report,
            "noted": self.noted,
        }

    @classmethod
    def of(cls, said: dict[str, Any]) -> _Tally:
        return cls(
            Counter(said["rows_in"]),
            {step: Counter(reasons) for step, reasons in said["dropped"].items()},
            Counter(said["edited"]),
            defaultdict(float, said["seconds"]),
            said["findings"],
            said["report"],
            said.get("noted", {}),
        )

    def add(self, other: _Tally) -> None:
        self.rows_in.update(other.rows_in)
        self.edited.update(other.edited)
        for step, seconds in other.seconds.items():
            self.seconds[step] += seconds
        for step, reasons in other.dropped.items():
            self.dropped.setdefault(step, Counter()).update(reasons)
        self.findings += other.findings
        self.report |= other.report
        for step, noted in other.noted.items():
            self.noted.setdefault(step, []).extend(noted)


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


@dataclass
class _Batch:
    """Some rows on their way through a segment."""

    kept: pl.DataFrame
    dropped: list[pl.DataFrame] = field(default_factory=list)
    summary: pl.DataFrame | None = None
    tally: _Tally = field(default_factory=_Tally)


class LocalEngine:
    """Carries out steps on rows of one kind, working in `work`."""

    def __init__(
        self,
        kind: str,
        steps: Sequence[Step],
        work: Path,
        tell: Callable[[str, int], None] | None = None,
        memory: int | None = None,
    ) -> None:
        """`memory`: bytes that a Compare's summaries may take before they are kept in a file."""
        self.kind = kind
        self.memory = usual_memory() if memory is None else memory
        self.steps = steps
        self.work = work
        self.tally = _Tally()
        """What the steps did, once they are carried out; and what Compares found and have to show."""
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
        choice = _Chosen(*first, pl.DataFrame(schema=CUTS)) if first is not None else None
        source = rows
        for number, folder in enumerate(folders):
            compare = segments[number].compare
            assert compare is not None
            if number >= finished:
                self._segment(source, segments[number], choice, folder)
                if number:
                    (folders[number - 1] / _KEPT).unlink(missing_ok=True)
            self.tally.add(_Tally.of(orjson.loads((folder / _DONE).read_bytes())))
            chosen, cuts = (
                pl.concat([pl.DataFrame(schema=schema), *_frames(folder / name)])
                for schema, name in ((_CHOICE, _CHOSEN), (CUTS, _CUTS))
            )
            choice = _Chosen(compare.name, chosen, cuts)
            source = partial(_frames, folder / _KEPT)
        for folder in folders:
            for frame in _frames(folder / _DROPPED):
                writer.drop(frame)
        last = _Tally()
        for batch in self._marked(source, segments[-1], choice, last):
            writer.add(batch.kept)
            for frame in batch.dropped:
                writer.drop(frame)
        self.tally.add(last)
        for step in self.steps:
            if isinstance(step.stage, Edit) and step.name in self.tally.noted:
                findings, report = step.stage.told(self.tally.noted[step.name])
                self.tally.findings += findings
                for name, part in report.items():  # a stage that a recipe uses twice has two parts
                    self.tally.report[f"{name}:{step.name}" if name in self.tally.report else name] = part
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

    def _segment(self, rows: Batches, segment: _Segment, choice: _Chosen | None, folder: Path) -> None:
        """Carry out a segment that ends in a Compare, and leave its result on disk."""
        assert segment.compare is not None and isinstance(segment.compare.stage, Compare)
        compare, stage = segment.compare, segment.compare.stage
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        kept_sink = ArrowSink(folder / _KEPT, compression="lz4")
        dropped_sink = ArrowSink(folder / _DROPPED)
        summaries = Summaries(folder / _SUMMARIES, self.memory)
        tally = _Tally()
        ordinal = 0
        for batch in self._marked(rows, segment, choice, tally):
            for frame in batch.dropped:
                dropped_sink.add(frame)
            assert batch.summary is not None
            summaries.add(batch.summary.with_columns(pl.col("ordinal") + ordinal))
            kept_sink.add(batch.kept)
            ordinal += batch.kept.height
        kept_sink.close()
        dropped_sink.close()
        began = time.monotonic()
        self._tell(compare.name, ordinal)
        choice_made = Choice(pl.DataFrame(schema=_CHOICE))
        if ordinal:
            fetch = partial(_fetch, folder / _KEPT, self.kind)
            choice_made = Choice.of(stage.choose(summaries.whole(), fetch))
        summaries.close()
        tally.findings += choice_made.findings
        tally.report |= choice_made.report
        tally.rows_in[compare.name] += ordinal
        tally.seconds[compare.name] += time.monotonic() - began
        chosen = choice_made.rows.select(pl.col(name).cast(dtype) for name, dtype in _CHOICE.items()).sort("ordinal")
        if chosen["ordinal"].n_unique() != chosen.height or chosen["reason"].null_count():
            raise ValueError(f"{compare.name} chose a row twice, or without a reason")
        cuts = pl.DataFrame(schema=CUTS) if choice_made.cuts is None else choice_made.cuts
        for name, frame in ((_CHOSEN, chosen), (_CUTS, cuts.select(list(CUTS)).sort("ordinal", maintain_order=True))):
            sink = ArrowSink(folder / name)
            sink.add(frame)
            sink.close()
        sync_tree(folder)
        write_durably(folder / _DONE, orjson.dumps(tally.as_json() | {"rows": ordinal}))

    def _marked(self, rows: Batches, segment: _Segment, choice: _Chosen | None, tally: _Tally) -> Iterator[_Batch]:
        """Each batch carried through the segment, in order; several are on their way at once."""
        ordinal = 0
        labels = ", ".join(step.name for step in segment.steps) or "write"
        waiting: deque[tuple[int, list[pl.DataFrame], Future[_Batch]]] = deque()

        def done() -> _Batch:
            height, chosen_away, future = waiting.popleft()
            batch = future.result()
            batch.dropped[:0] = chosen_away
            tally.add(batch.tally)
            self._tell(labels, height)
            return batch

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stages") as pool:
            try:
                for frame in rows():
                    height = frame.height
                    frame, gone = _without_chosen(frame, self.kind, ordinal, choice, tally)
                    ordinal += height
                    waiting.append((height, gone, pool.submit(self._carried, frame, segment)))
                    if len(waiting) > _AT_ONCE:
                        yield done()
                while waiting:
                    yield done()
            finally:
                pool.shutdown(cancel_futures=True)

    def _carried(self, frame: pl.DataFrame, segment: _Segment) -> _Batch:
        """One batch through a segment's Filters and Edits, and its summary for the Compare. Pure."""
        batch = _Batch(frame)
        for step in segment.steps:
            began = time.monotonic()
            batch.tally.rows_in[step.name] += batch.kept.height
            marked = mark(batch.kept, self.kind, [step])
            batch.kept = marked.kept
            batch.dropped += marked.dropped
            for (name, reason), number in marked.reasons.items():
                batch.tally.dropped.setdefault(name, Counter())[reason] += number
            batch.tally.edited.update(marked.edited)
            batch.tally.noted |= marked.noted
            batch.tally.seconds[step.name] += time.monotonic() - began
        if segment.compare is not None:
            assert isinstance(segment.compare.stage, Compare)
            began = time.monotonic()
            batch.summary = summarise(batch.kept, self.kind, segment.compare.stage, 0, segment.compare.name)
            batch.tally.seconds[segment.compare.name] += time.monotonic() - began
        return batch


def _without_chosen(
    frame: pl.DataFrame, kind: str, ordinal: int, choice: _Chosen | None, tally: _Tally
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """A batch whose first row has this ordinal without what a choice cuts out and the rows that it drops, and those."""
    if choice is None:
        return frame, []
    rows, cuts = (
        one[one["ordinal"].search_sorted(ordinal) : one["ordinal"].search_sorted(ordinal + frame.height)]
        for one in (choice.rows, choice.cuts)
    )
    if rows.is_empty() and cuts.is_empty():
        return frame, []
    numbered = frame.with_columns(pl.int_range(ordinal, ordinal + frame.height, dtype=pl.Int64).alias("ordinal"))
    numbered, changed = cut_out(numbered, kind, cuts)
    tally.edited.update({choice.name: changed} if changed else {})
    kept, gone = dropped_by(numbered, choice.name, rows)
    if gone.is_empty():
        return kept, []
    counted = tally.dropped.setdefault(choice.name, Counter())
    for reason, number in gone.group_by("reason").len().iter_rows():
        counted[reason] += number
    return kept, [gone]


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
        nothing = with_fields(pl.DataFrame(schema=columns(kind)), kind, [pl.col(name) for name in names])
        return wanted.clear().hstack(nothing.select(names))
    return wanted.join(pl.concat(found), on="ordinal", how="left", maintain_order="left")
