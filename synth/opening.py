"""The job of a recipe with everything it names at hand: seeds read, teachers ready, terms looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.dataset import Dataset, datasets_in, open_dataset
from schemas.egress import POLICY, is_here, may_leave, trusts
from schemas.errors import UserError, raise_all
from schemas.manifest import fingerprint
from synth.policy import Policy, Ruling
from synth.recipe import FIRST, Recipe
from synth.seeds import Seeds, read_seeds
from synth.task import JUDGE, Seed, Task, companions
from synth.teachers.openai_api import Endpoint, Teacher

COMMAND = "synth"
"""What made the dataset, in its manifest."""

VERSION = 1
"""Raised whenever the same recipe and answers make other rows than before."""

Event = Mapping[str, Any]
Tell = Callable[[Event], None]


def quiet(_: Event) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Job:
    """A recipe with everything that it names at hand."""

    recipe: Recipe
    seeds: Seeds
    teachers: Mapping[str, Teacher]
    """By the name that tasks give them; the judge is the first where the recipe names none."""
    rulings: Mapping[str, Ruling]
    """By the runner's name of the teacher."""
    labels: Mapping[str, str]
    policy: Policy
    home: Path
    mark: str
    embedder: Teacher | None = None

    @property
    def name(self) -> str:
        """Whose budget it is in the journal."""
        return self.mark[:16]

    @property
    def asked(self) -> list[Teacher]:
        """All that rows are sent to."""
        return [*self.teachers.values(), *([self.embedder] if self.embedder is not None else [])]

    @property
    def task(self) -> Task:
        return self.recipe.task

    def seed_at(self) -> Callable[[int], Seed]:
        """The seed at a place."""
        return seed_at(self.task, self.seeds.rows, self.recipe.job.seed)


def seed_at(task: Task, rows: Sequence[Mapping[str, Any]], chance: int) -> Callable[[int], Seed]:
    """The seed at a place, with the rows that the task wants beside it, which are of its language."""
    count = task.companions()
    if not count:
        return lambda place: Seed.of(rows[place], (), chance)
    by_language: dict[str, list[Mapping[str, Any]]] = {}
    within = []
    for row in rows:
        others = by_language.setdefault(Seed.of(row).lang, [])
        within.append((others, len(others)))
        others.append(row)

    def seed(place: int) -> Seed:
        others, at = within[place]
        return Seed.of(rows[place], companions(others, at, count, chance), chance)

    return seed


def policy_of(home: Path, file: Path | None) -> tuple[Policy, Path]:
    """The policy, and the file that says it or would."""
    path = file or home / POLICY
    return (Policy.read(path) if file or path.is_file() else Policy()), path


@contextmanager
def opened(recipe: Recipe, home: Path, policy_file: Path | None, tell: Tell, *, dry: bool = False) -> Iterator[Job]:
    """The job of a recipe: seeds read, teachers ready. Raises UserErrors before anything is sent where rows may not
    go where they would, or a key is missing; a dry run says so instead."""
    policy, path = policy_of(home, policy_file)
    seeds = read_seeds(recipe.seeds)
    tell({"event": "seeds", "seeds": len(seeds.rows), "bad_seeds": len(seeds.rejects)})
    embeddings = [recipe.embeddings] if recipe.embeddings is not None else []
    endpoints = [one for plan in (*recipe.teachers, *embeddings) for one in plan.endpoints]
    if not dry:
        raise_all([error for one in distinct(endpoints) for error in refused(one, seeds, policy, path)])
    with ExitStack() as stack:
        ready: dict[str, Teacher] = {}
        for plan in recipe.teachers:
            if plan.local:
                tell({"event": "starting", "teacher": plan.file or "SmolLM2"})
            ready[plan.role] = stack.enter_context(plan.open())
        embedder = next((stack.enter_context(one.open()) for one in embeddings), None)
        labels = {ready[plan.role].name: plan.name or ready[plan.role].model for plan in recipe.teachers}
        by_role = {**ready, JUDGE: ready.get(JUDGE, ready[FIRST])}
        rulings = {one.name: policy.ruling(one.model, recipe.job.student) for one in ready.values()}
        mark = fingerprint(
            {
                "command": COMMAND,
                "version": VERSION,
                **recipe.identity(),
                **seeds.identity(),
                "teachers": {role: [labels[one.name], one.model, one.revision] for role, one in sorted(ready.items())},
                "terms": {name: [ruling.training, ruling.named] for name, ruling in sorted(rulings.items())},
            }
        )
        yield Job(recipe, seeds, by_role, rulings, labels, policy, home, mark, embedder)


def distinct(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    return list({(one.url, one.key_env, one.key_file): one for one in endpoints}.values())


def refused(endpoint: Endpoint, seeds: Seeds, policy: Policy, path: Path) -> list[UserError]:
    """Why seeds cannot go to an endpoint, or could not be asked about there."""
    found: list[UserError] = []
    try:
        may_leave(seeds.sources, seeds.sources, endpoint.url, policy.trusted, policy=path)
    except UserError as error:
        hint = f"{error.hint}, or say so under seeds in the recipe (personal_data: none)"
        found.append(UserError(error.message, hint=hint))
    try:
        endpoint.key()
    except UserError as error:
        found.append(error)
    return found


def terms(job: Job) -> list[dict[str, Any]]:
    """What each teacher's terms allow, and where it is."""
    return [
        {
            "role": "judge" if role == JUDGE and job.recipe.has_judge else role or "teacher",
            "name": job.labels[teacher.name],
            "revision": teacher.revision,
            "endpoints": [place_of(one, job) for one in teacher.endpoints],
            "said": job.rulings[teacher.name].named,
            **job.rulings[teacher.name].as_json(),
        }
        for role, teacher in job.teachers.items()
        if role != JUDGE or job.recipe.has_judge
    ]


def place_of(endpoint: Endpoint, job: Job) -> dict[str, Any]:
    here = is_here(endpoint.url)
    return {"address": endpoint.shown, "here": here, "trusted": not here and trusts(job.policy.trusted, endpoint.url)}


def goes_on(out: Path, job: Job) -> bool:
    """Whether `out` holds what this very job made before its budget ended."""
    with suppress(UserError, OSError):
        return all(
            one.manifest.command == COMMAND
            and one.manifest.recipe.get("job") == job.name
            and one.manifest.fingerprint != job.mark
            for one in datasets_of(out)
        )
    return False


def datasets_of(path: Path) -> list[Dataset]:
    """The dataset in a folder, or those of several kinds that a job wrote below it."""
    return [open_dataset(one) for one in datasets_in(path) or [path]]
