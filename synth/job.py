"""Carrying out a recipe: into a dataset, and looking at what was made."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from schemas.dataset import REPORT, REPORT_JSON, DatasetWriter, Reject, RejectSink, Told
from schemas.egress import HOME, note_departure
from schemas.errors import DatasetError, Rejected, UserError, nearest
from schemas.excerpt import excerpt
from schemas.manifest import fingerprint, library_versions
from schemas.run import AlreadyDone, Run, run_into
from synth.budget import PICO
from synth.choosing import Choice
from synth.journal import FILE, Journal
from synth.making import MadeSources, Spread, columns_of, digest_of, frame_of, row_of
from synth.opening import COMMAND, Job, Tell, datasets_of, goes_on, opened, quiet, terms
from synth.playing import Player, Try
from synth.recipe import Recipe
from synth.task import JUDGE, Made, Seed

_LIBRARIES = ("assay", "polars", "pyarrow", "orjson")
_FRAME_ROWS = 1_000
_EXAMPLES = 5


def carry_out(
    recipe: Recipe,
    out: Path,
    *,
    home: Path | None = None,
    policy: Path | None = None,
    replace: bool = False,
    tell: Tell = quiet,
) -> dict[str, Any]:
    """Carry out a recipe into a dataset; what it made and cost, as `--json` prints it.

    The answers are kept in the project home `home`: a job that is done is not done again, one that was cut off goes on,
    and nothing is paid for twice. Where the budget ends before the rows are there, what was made is published and the
    result says what is missing; with a larger budget the same recipe goes on. Raises UserError when rows may not be
    sent where the recipe says, a teacher cannot be asked, or `out` holds something else.
    """
    home = home or HOME
    for settings in recipe.seeds:
        folder = Path(settings.path).resolve()
        if folder.is_relative_to(out.resolve()) or out.resolve().is_relative_to(folder):
            raise UserError(
                f"{settings.path} is read by this job, and {out} would be written into it or over it",
                hint="choose another --out: a run never changes a dataset",
            )
    with opened(recipe, home, policy, tell) as job:
        try:
            with run_into(out, job.mark, replace=replace or goes_on(out, job)) as run:
                run.clear()  # what was answered is in the journal: reading it again is fast
                with Journal(home) as journal:
                    _Work(job, journal, run, tell).do()
                run.publish()
        except AlreadyDone:
            return look(out) | {"already_done": True}
    return look(out) | {"already_done": False}


class _Work:
    """One run of a job into a folder."""

    def __init__(self, job: Job, journal: Journal, run: Run, tell: Tell) -> None:
        self.job = job
        self.journal = journal
        self.run = run
        self.tell = tell
        self.began = time.monotonic()
        self.before = journal.spent(job.name).answers
        self.choice = Choice(job.recipe.job, len(job.seeds.rows))
        self.player = Player(
            job.task, job.seed_at(), job.teachers, journal, job.recipe.budget, job=job.name, home=job.home, tell=tell
        )
        self.sources = MadeSources(job.seeds.sources, job.rulings, job.labels, job.name, job.recipe.use)
        self.spread = Spread()
        self.writers: dict[str, DatasetWriter] = {}
        self.frames: dict[str, list[dict[str, Any]]] = {}
        self.rejects = RejectSink(run.folder / "rejected.part")
        self.seen: set[bytes] = set()
        self.kept = 0
        self.cut_off = 0
        self.judged: list[Mapping[str, Any]] = []
        self.examples: list[dict[str, Any]] = []

    def do(self) -> None:
        """Make the rows and write the dataset, all but publishing it."""
        try:
            for reject in self.job.seeds.rejects:
                self.rejects.add(reject)
            self._make()
            self._write()
        except BaseException:
            for writer in self.writers.values():
                writer.abandon()
            self.rejects.close()
            raise

    def _make(self) -> None:
        from synth.novelty import Pool

        for row in self.job.seeds.rows:
            self.spread.seed(Seed(row))
        pool = Pool(_instructions(self.job.seeds.rows)) if self.job.task.novel else None
        for one in self.player.play(self.choice.batch):
            if one.cut_off:
                self.cut_off += 1
                continue
            kept = self._keep(one, pool)
            self.choice.tell(one.place, kept, usable=one.questions > 0)
            self.tell(
                {
                    "event": "rows",
                    "tried": self.choice.tried,
                    "tries": self.choice.most,
                    "kept": self.kept,
                    "requested": self.choice.requested if self.choice.rows else None,
                    "rejected": dict(self.rejects.counts),
                }
            )

    def _keep(self, one: Try, pool: Any) -> int:
        """Keep what is good of a try; how many rows that is."""
        from synth.novelty import only_new

        kept = 0
        for result in only_new(one.results, pool) if pool is not None else one.results:
            if isinstance(result, Rejected):
                self._reject(one, result.reason, result.detail)
                continue
            content = columns_of(result)
            digest = digest_of(content)
            if digest in self.seen:
                self._reject(one, "repeated", "an earlier row says exactly the same")
            elif self.choice.rows is not None and self.kept >= self.choice.rows:
                self._reject(one, "not_needed", "there were enough rows before it; it is kept when more are asked for")
            else:
                self.seen.add(digest)
                self._add(one, result, content, digest)
                kept += 1
                self.kept += 1
        return kept

    def _reject(self, one: Try, reason: str, detail: str) -> None:
        origin = one.seed.row.get("origin") or {}
        file = origin.get("file") or str(one.seed.row.get("source", ""))
        held = f"seed {one.seed.id} try {one.number}" + (f" answer {one.key}" if one.key else "")
        self.rejects.add(Reject(file, origin.get("line"), reason, detail, held))

    def _add(self, one: Try, made: Made, content: dict[str, Any], digest: bytes) -> None:
        job = self.job
        judge = job.teachers[JUDGE].name if job.recipe.has_judge else ""
        parents = {str(row["source"]) for row in (one.seed.row, *one.seed.others) if row.get("source")}
        source = self.sources.of(one.teachers, parents, judge)
        writers = sorted(one.teachers - {judge}) or sorted(one.teachers)
        by_name = {teacher.name: teacher for teacher in job.teachers.values()}
        revisions = list(dict.fromkeys(by_name[name].revision for name in writers if by_name[name].revision))
        extra = {
            "made_by": job.recipe.use,
            "teacher": " + ".join(job.labels[name] for name in writers),
            "model": one.model,
            **({"revision": " + ".join(revisions)} if revisions else {}),
            "job": job.name,
            "request": one.key,
        }
        row = row_of(made, content, digest, source, one.seed, job.recipe.use, extra)
        self.spread.made(row, made.depth)
        if made.kind == "preference" and "longer" in made.notes:
            self.judged.append({name: made.notes[name] for name in ("longer", "more_list") if name in made.notes})
        if len(self.examples) < _EXAMPLES:
            self.examples.append({"id": row["id"], "kind": made.kind, **_example(row)})
        if made.kind not in self.writers:
            self.writers[made.kind] = DatasetWriter(self.run.folder / made.kind, made.kind)
        waiting = self.frames.setdefault(made.kind, [])
        waiting.append(row)
        if len(waiting) >= _FRAME_ROWS:
            self._flush(made.kind)

    def _flush(self, kind: str) -> None:
        """Hand rows to the writer, always as many at once: the bytes of the file depend on it."""
        rows = self.frames.pop(kind, [])
        if rows:
            self.writers[kind].add(frame_of(kind, rows))

    def _write(self) -> None:
        if not self.writers:  # of nothing, there is still what was rejected to look at
            self.writers["chat"] = DatasetWriter(self.run.folder / "chat", "chat")
        for kind in self.writers:
            self._flush(kind)
        first = max(self.writers.values(), key=lambda writer: writer.data.rows)
        first.rejects.take(self.rejects)
        for writer in self.writers.values():
            writer.close()
        only = len(self.writers) == 1
        if only:
            for path in list(first.folder.iterdir()):
                path.rename(self.run.folder / path.name)
            first.folder.rmdir()
        facts = self._facts(first.rejects.counts)
        for kind, writer in self.writers.items():
            folder = self.run.folder if only else self.run.folder / kind
            self._finish(writer, folder, facts, first=writer is first, only=only)

    def _finish(self, writer: DatasetWriter, folder: Path, facts: dict[str, Any], *, first: bool, only: bool) -> None:
        job = self.job
        bad = len(job.seeds.rejects) if first else 0
        name = job.recipe.name if only else f"{job.recipe.name}-{writer.kind}"
        mark = job.mark
        if not facts["complete"]:  # the same job with a larger budget is not done
            mark = fingerprint({"unfinished": job.mark, "rows": self.kept, "paid": facts["paid_requests"]})
        told = Told(
            # Seeds are parents, and no rows of this dataset; those that could not be read are rejected input.
            rows_in=bad,
            made=writer.data.rows + sum(writer.rejects.counts.values()) - bad,
            manifest={
                "command": COMMAND,
                "name": name,
                "fingerprint": mark,
                "sources": {one: self.sources.table[one] for one in sorted(writer.data.by_source)},
                "inputs": job.seeds.inputs,
                "recipe": {**job.recipe.filled(), "job": job.name},
                "chain": job.seeds.chain,
                "findings": facts["findings"],
                "versions": library_versions(_LIBRARIES),
                "seconds": {"run": round(time.monotonic() - self.began, 3)},
            },
            report={"synth": {key: value for key, value in facts.items() if key != "findings"}},
        )
        writer.finish(told, folder)

    def _facts(self, rejected: Mapping[str, int]) -> dict[str, Any]:
        """What a report and `synth show` say of the run, besides what the manifest holds."""
        meant = self._meant()
        job, spent = self.job, self.journal.spent(self.job.name)
        seconds = time.monotonic() - self.began
        paid = spent.answers - self.before
        budget = job.recipe.budget
        requested = self.choice.requested
        facts: dict[str, Any] = {
            "job": job.name,
            "task": job.recipe.use,
            "requested": requested,
            "requested_rows": self.choice.rows is not None,
            "kept": self.kept,
            "rejected": dict(sorted(rejected.items(), key=lambda one: -one[1])),
            "tries": self.choice.tried,
            "cut_off": self.cut_off,
            "complete": not self.player.cut_off,
            "missing": self._missing(),
            "seeds": len(job.seeds.rows),
            "tokens": {"prompt": spent.prompt_tokens, "completion": spent.completion_tokens},
            "money": spent.money / PICO,
            "perhaps_billed": {
                "requests": spent.uncertain + spent.reserved,
                "tokens": spent.uncertain_tokens + spent.reserved_tokens,
                "money": (spent.uncertain_money + spent.reserved_money) / PICO,
            },
            "budget": {
                "tokens": budget.tokens,
                "money": None if budget.money is None else float(budget.money),
            },
            "paid_requests": spent.answers,
            "resumed": self.before,
            "found": self.player.found,
            "this_run": {
                "paid_requests": paid,
                "seconds": round(seconds, 1),
                "requests_per_second": round(paid / seconds, 2),
                "rows_per_minute": round(60 * self.kept / seconds, 2),
            },
            "teachers": terms(job),
            "sources": [
                {**one.model_dump(include={"name", "training", "personal_data"}), "because": self.sources.because[name]}
                for name, one in sorted(self.sources.table.items())
            ],
            "diversity": {**self.spread.as_json(), "embeddings": meant},
            "examples": self.examples,
            "policy": job.policy.as_json(),
        }
        if self.judged:
            from synth.tasks.judge import effects

            facts["judge_effects"] = effects(self.judged)
        facts["findings"] = _findings(job, facts)
        return facts

    def _meant(self) -> dict[str, Any] | None:
        """How varied rows are in what they mean; None where the recipe names no embeddings."""
        job, embedder = self.job, self.job.embedder
        if embedder is None:
            return None
        if self.player.cut_off:
            return {"model": embedder.model, "fields": {}, "because": "the budget ended before it"}
        from synth.embedding import measured

        note_departure(
            job.home,
            destination=embedder.endpoints[0].shown,
            command=f"synth run {job.name}, embeddings of some seeds and of rows made of them",
            rows=[str(row.get("id", "")) for row in job.seeds.rows],
        )
        texts = self.spread.texts()
        return measured(texts, embedder, self.journal, job.recipe.budget, job=job.name, tell=self.tell)

    def _missing(self) -> int:
        """Rows that were wanted and are not there; where the recipe says how often to try, tries not made."""
        if self.choice.rows is not None:
            return max(0, self.choice.rows - self.kept)
        return self.choice.most - self.choice.tried


def _instructions(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the seeds ask; documents ask nothing."""
    found = []
    for row in rows:
        with suppress(Rejected):
            found.append(Seed(row).instruction)
    return found


def _example(row: Mapping[str, Any]) -> dict[str, str]:
    """A row's texts as excerpts."""
    if row.get("text"):
        return {"text": excerpt(row["text"], 400)}
    found = {}
    for name in ("messages", "prompt", "chosen", "rejected"):
        for number, one in enumerate(row.get(name) or ()):
            label = one["role"] if name in ("messages", "prompt") else name
            said = one.get("content") or one.get("tool_calls")
            found[f"{label}" if label not in found else f"{label} {number + 1}"] = excerpt(said, 400)
    for number, answer in enumerate(row.get("answers") or (), 1):
        said = " ".join(str(one.get("content") or "") for one in answer["messages"])
        score = "" if answer.get("score") is None else f" ({answer['score']:g})"
        found[f"answer {number}{score}"] = excerpt(said, 400)
    return found


def _finding(kind: str, severity: str, count: int, example: str, fix: str) -> dict[str, Any]:
    return {"kind": kind, "severity": severity, "count": count, "example": example, "fix": fix}


_SEVERITY = {"deny": "high", "review": "medium", "conditions": "low"}


def _findings(job: Job, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What somebody should know of a job, the worst first."""
    found = []
    rejected = {reason: count for reason, count in facts["rejected"].items() if reason != "not_needed"}
    bad = Counter(one.reason for one in job.seeds.rejects)
    lost = sum(rejected.values()) - bad.total()
    worst = next((reason for reason in rejected if rejected[reason] > bad[reason]), "")
    if not facts["complete"]:
        what = "rows" if facts["requested_rows"] else "tries"
        said = f"{facts['kept']:,} rows are made; {facts['missing']:,} {what} of {facts['requested']:,} are missing"
        fix = "the same command with a larger budget goes on from here and pays for nothing twice"
        found.append(_finding("budget_spent", "high", facts["missing"], said, fix))
    elif not facts["kept"]:
        said = f"no row was good in {facts['tries']:,} tries; most often: {worst or 'nothing was asked'}"
        fix = "see what was answered: synth show DATASET --rejected all; then change the seeds, the task or the teacher"
        found.append(_finding("nothing_made", "high", 0, said, fix))
    elif facts["requested_rows"] and facts["missing"]:
        said = f"{facts['kept']:,} of {facts['requested']:,} rows in {facts['tries']:,} tries; most often: {worst}"
        fix = "see why with synth show DATASET --rejected all; then give more seeds, or more tries"
        found.append(_finding("too_few_rows", "high", facts["missing"], said, fix))
    if facts["kept"] and lost > facts["kept"]:
        said = f"{lost:,} were rejected and {facts['kept']:,} kept; most often: {worst}"
        fix = "see what was answered: synth show DATASET --rejected all"
        found.append(_finding("mostly_rejected", "medium", lost, said, fix))
    for one in facts["teachers"]:
        if one["verdict"] in _SEVERITY:
            fix = "somebody has to look at the terms; what they decide goes into the policy file, under terms"
            fix = fix if one["verdict"] == "review" else "train refuses such rows" if one["verdict"] == "deny" else ""
            fix = fix or "do what the terms ask for before a model is given out"
            said = f"{one['name']}: {one['said']}"
            found.append(_finding(f"terms_{one['verdict']}", _SEVERITY[one["verdict"]], facts["kept"], said, fix))
    for one in facts["sources"]:
        if one["because"].startswith("the seeds") and one["training"] in ("denied", "unknown"):
            said = f"training on rows of {one['name']} is {one['training']}, by {one['because']}"
            fix = "say what may be done with the seeds: training: in the recipe, or `curate import --training`"
            severity = "high" if one["training"] == "denied" else "low"
            found.append(_finding("seeds_restrict", severity, facts["kept"], said, fix))
    if bad:
        first = job.seeds.rejects[0]
        said = f"{first.file}:{first.line} {first.reason}: {first.detail}"
        found.append(
            _finding("bad_seeds", "medium", bad.total(), said, "they were left out; `curate check` says all of them")
        )
    if any(plan.local and plan.file is None for plan in job.recipe.teachers):
        said = "the teacher is a model of 135 million parameters"
        found.append(_finding("small_teacher", "medium", facts["kept"], said, "good to try a recipe, not to train on"))
    if facts["perhaps_billed"]["requests"]:
        said = (
            f"{facts['perhaps_billed']['requests']:,} requests were sent and never answered; they may have been billed"
        )
        fix = f"they count against the budget, at most {facts['perhaps_billed']['money']:.4f} in money"
        found.append(_finding("perhaps_billed", "low", facts["perhaps_billed"]["requests"], said, fix))
    return sorted(found, key=lambda one: ("high", "medium", "low").index(one["severity"]))


def look(
    path: Path, *, rejected: str | None = None, limit: int = _EXAMPLES, home: Path | None = None
) -> dict[str, Any]:
    """What a job made and cost, from what it wrote. `rejected` adds rows rejected for a reason, or for `all`, with the
    teacher's answer where the journal in `home` has it. Raises UserError where the dataset is of another command."""
    datasets = datasets_of(path)
    of_synth = [one for one in datasets if one.manifest.command == COMMAND]
    if not of_synth:
        raise UserError(f"{path} was not made by `synth run`", hint=f"look at it with `curate show {path}`")
    first = max(of_synth, key=lambda one: one.rows)
    try:
        report = orjson.loads((first.folder / REPORT_JSON).read_bytes())["synth"]
    except (OSError, KeyError, orjson.JSONDecodeError) as error:
        raise DatasetError(f"{first.folder / REPORT_JSON} is damaged", hint="run `curate verify` on it") from error
    found = {
        "dataset": str(first.folder),
        "name": first.manifest.name,
        "kind": first.kind,
        "fingerprint": first.manifest.fingerprint,
        **report,
        "findings": first.manifest.findings,
        "report": str(first.folder / REPORT),
        "datasets": [{"dataset": str(one.folder), "kind": one.kind, "rows_out": one.rows} for one in of_synth],
    }
    if limit != _EXAMPLES:
        rows = (row for one in of_synth for frame in one.batches() for row in frame.iter_rows(named=True))
        found["examples"] = [{"id": row["id"], **_example(row)} for row in islice(rows, limit)]
    if rejected is not None:
        known = {reason: count for one in of_synth for reason, count in one.manifest.counts.rejected.items()}
        if rejected != "all" and rejected not in known:
            raise UserError(f"nothing was rejected for {rejected!r}", hint=nearest(rejected, [*known, "all"]))
        records = (record for one in of_synth for record in one.rejected() if rejected in ("all", record["reason"]))
        found["rejected_rows"] = _with_answers(list(islice(records, limit)), home or HOME)
    return found


def _with_answers(records: Sequence[Mapping[str, Any]], home: Path) -> list[dict[str, Any]]:
    """Rejected rows as they are shown: where they come from, why, and what the teacher had answered."""
    shown = []
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(home)) if (home / "synth" / FILE).is_file() else None
        for record in records:
            head, _, key = str(record["held"]).partition(" answer ")
            answer = journal.find(key) if journal is not None and len(key) == 64 else None
            shown.append(
                {
                    "reason": record["reason"],
                    "detail": excerpt(record["detail"], 300),
                    "file": record["file"],
                    "line": record["line"],
                    "held": excerpt(head, 300),
                    "answer": excerpt(answer.text, 600) if answer is not None else None,
                }
            )
    return shown
