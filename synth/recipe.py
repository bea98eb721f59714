"""Recipes of jobs: seeds, a task, teachers, how many rows, a budget. And descriptions of the tasks there are."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.egress import is_here
from schemas.errors import RecipeError, UserError, nearest, raise_all
from schemas.excerpt import excerpt
from schemas.lookup import find, names
from schemas.recipe import Document, Path_, describe_settings, read_document, settings_of, typed
from synth.budget import Budget, Price
from synth.task import JUDGE, Example, Said, Task
from synth.teachers.openai_api import Endpoint, Teacher

TASKS = "synth.tasks"
LOCAL = "local"
"""The teacher that is a small model on this machine."""

FIRST = ""
"""How tasks name the recipe's `teacher`."""

EMBEDDINGS = "embeddings"

_KEYS = (
    "name", "description", "seeds", "task", "teacher", "teachers", "judge", "embeddings", "rows", "per_seed", "tries",
    "budget", "seed", "student",
)  # fmt: skip
_TAKEN = (JUDGE, "teacher", EMBEDDINGS)
_IN_PROCESS = "http://localhost"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SHORTEST_KEY = 20
_NO_KEYS = "name the variable that holds the key with api_key_env, or its file with api_key_file"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobSettings(_Settings):
    """What stands in a recipe by itself."""

    name: str | None = Field(default=None, min_length=1, max_length=200, description="what the dataset is called")
    description: str | None = Field(default=None, description="what it is for")
    rows: int | None = Field(default=None, ge=1, description="how many rows to make in all")
    per_seed: int | None = Field(default=None, ge=1, description="how often to carry the task out on each seed")
    tries: int | None = Field(
        default=None, ge=1, description="with rows: how often to carry the task out at most; 3 times rows if not given"
    )
    seed: int = Field(default=0, ge=0, description="decides all chances")
    student: str = Field(default="", description="the model to be trained on the rows: some terms allow their own kin")


class SeedSettings(_Settings):
    """Seeds at a path; of files, what is known of where they come from."""

    path: str = Field(description="a dataset folder, or a file or folder of rows or texts")
    source: str | None = Field(default=None, description="name of the source; the file's or folder's if not given")
    kind: Literal["buy", "build", "collect"] = Field(default="collect", description="how the rows were come by")
    licence: str | None = Field(default=None, description="SPDX licence expression, or the licence's text")
    terms: str | None = Field(default=None, description="output policy of the teacher model that wrote the rows")
    evidence: str | None = Field(default=None, description="contract number, collection record or address")
    training: Literal["allowed", "conditional", "denied", "unknown"] = Field(
        default="unknown", description="whether models may be trained on the rows"
    )
    personal_data: Literal["present", "scrubbed", "none", "unknown"] = Field(
        default="unknown", description="whether the rows hold personal data"
    )
    consent: str | None = Field(default=None, description="on what ground personal data was collected")

    def told(self) -> dict[str, Any]:
        """What is said of the source, where it is not the default."""
        return self.model_dump(exclude={"path", "source"}, exclude_defaults=True)


class PriceSettings(_Settings):
    """What a teacher costs."""

    prompt: Decimal = Field(default=Decimal(0), ge=0, description="money for a million tokens of prompts")
    completion: Decimal = Field(default=Decimal(0), ge=0, description="money for a million tokens of answers")


class BudgetSettings(_Settings):
    """The most a job may spend, over all its runs."""

    tokens: int | None = Field(default=None, ge=0, description="tokens of prompts and answers together")
    money: Decimal | None = Field(default=None, ge=0, description="money, in the currency of the prices")


class EndpointSettings(_Settings):
    """One address that serves a teacher's model."""

    base_url: str = Field(description="the address, as in https://api.openai.com/v1")
    api_key_env: str = Field(default="", description="the environment variable that holds the key")
    api_key_file: str = Field(default="", description="the file that holds the key")
    api_key_header: str = Field(default="Authorization", description="the header that the key is sent in")
    rpm: float = Field(default=0, ge=0, description="requests a minute, where the endpoint does not say itself")
    tpm: float = Field(default=0, ge=0, description="tokens a minute, where the endpoint does not say itself")
    structured: Literal["json_schema", "words"] = Field(
        default="json_schema", description="how JSON is asked for: by its schema, or in words"
    )
    api: Literal["chat", "responses"] = Field(default="chat", description="/chat/completions, or /responses")
    transport: Literal["http", "openai", "batch", "vllm", "llama"] = Field(
        default="http",
        description="our own client, the openai SDK, the Batch API (hours, half the price), or vLLM in this process",
    )
    options: dict[str, Any] = Field(default={}, description="for the transport vllm: what vllm.LLM takes")


class TeacherSettings(_Settings):
    """A model that is asked. What `EndpointSettings` has may stand here too, for all its endpoints."""

    name: str = Field(default="", max_length=100, description="what to call it; its model if not given")
    model: str = Field(min_length=1, max_length=200, description="the model, as its endpoints call it")
    revision: str = Field(default="", max_length=200, description="which state of the model; another is asked anew")


class EmbeddingSettings(_Settings):
    """A model of embeddings behind /embeddings, which says how varied the rows are in what they mean."""

    model: str = Field(min_length=1, max_length=200, description="the model, as its endpoint calls it")
    revision: str = Field(default="", max_length=200, description="which state of the model; another is asked anew")
    base_url: str = Field(description="the address, as in https://api.openai.com/v1")
    api_key_env: str = Field(default="", description="the environment variable that holds the key")
    api_key_file: str = Field(default="", description="the file that holds the key")
    api_key_header: str = Field(default="Authorization", description="the header that the key is sent in")
    rpm: float = Field(default=0, ge=0, description="requests a minute, where the endpoint does not say itself")
    tpm: float = Field(default=0, ge=0, description="tokens a minute, where the endpoint does not say itself")
    price: Decimal | None = Field(default=None, ge=0, description="money for a million tokens")


class LocalSettings(_Settings):
    """The small teacher on this machine."""

    local: str | bool = Field(description="the path of a GGUF file; true is the model that comes with assay")
    name: str = Field(default="", max_length=100, description="what to call it")


@dataclass(frozen=True)
class TeacherPlan:
    """A teacher as a recipe names it."""

    role: str
    """How tasks name it: empty for the first, `judge`, or a key of `teachers`."""
    name: str
    """What to call it; empty for a local one that is called as its model."""
    model: str = ""
    revision: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    price: Price = field(default_factory=Price)
    priced: bool = True
    """Whether the recipe says what prompts and completions cost, though it be nothing."""
    local: bool = False
    file: Path | None = None
    """The local model's file, where it is not the one that comes with assay."""

    def open(self) -> AbstractContextManager[Teacher]:
        """The teacher, ready to be asked; a local one runs until the context ends."""
        called = self.role or "teacher"
        if not self.local:
            return nullcontext(Teacher(called, self.model, self.endpoints, revision=self.revision, price=self.price))
        from synth.teachers.local import local_teacher

        return local_teacher(self.file, name=called)

    def filled(self) -> dict[str, Any]:
        """Its settings for the manifest; nothing that is secret or may be."""
        if self.local:
            return {"local": str(self.file) if self.file else True}
        return {
            "name": self.name,
            "model": self.model,
            "revision": self.revision,
            "endpoints": [one.shown for one in self.endpoints],
            "price": {"prompt": str(self.price.prompt), "completion": str(self.price.completion)},
        }


@dataclass(frozen=True)
class Recipe:
    """A recipe that is known to be right."""

    name: str
    seeds: tuple[SeedSettings, ...]
    use: str
    """The task's name, or the path of a task of the user's own."""
    task: Task
    teachers: tuple[TeacherPlan, ...]
    """The first, the judge where there is one, and the others."""
    job: JobSettings
    budget: Budget
    embeddings: TeacherPlan | None = None
    """What measures how varied the rows are; no teacher, since it says nothing."""

    @property
    def has_judge(self) -> bool:
        """Whether another teacher judges than the first."""
        return any(one.role == JUDGE for one in self.teachers)

    def filled(self) -> dict[str, Any]:
        """The recipe with defaults written out."""
        by_role = {one.role: one.filled() for one in self.teachers}
        others = {role: said for role, said in by_role.items() if role not in (FIRST, JUDGE)}
        money = self.budget.money
        return {
            "name": self.name,
            "seeds": [one.model_dump(exclude_none=True) for one in self.seeds],
            "task": {"use": self.use, **self.task.model_dump(mode="json")},
            "teacher": by_role[FIRST],
            **({"judge": by_role[JUDGE]} if self.has_judge else {}),
            **({"teachers": others} if others else {}),
            **({"embeddings": self.embeddings.filled()} if self.embeddings else {}),
            **self.job.model_dump(exclude={"name", "description"}, exclude_none=True),
            "budget": {"tokens": self.budget.tokens, "money": None if money is None else str(money)},
        }

    def identity(self) -> dict[str, Any]:
        """What of it affects what is made, besides seeds and teachers: not the budget, not addresses, not prices."""
        found: dict[str, Any] = {
            "task": self.task.model_dump(mode="json"),
            "version": self.task.version,
            **self.job.model_dump(exclude={"name", "description"}),
        }
        if self.embeddings is not None:  # it changes the report
            found["embeddings"] = [self.embeddings.model, self.embeddings.revision]
        if self.use.endswith(".py"):
            found["source"] = hashlib.sha256(Path(self.use).read_bytes()).hexdigest()
        else:
            found["use"] = self.use
        return found


def load_recipe(
    path: Path,
    overrides: Mapping[str, str] | None = None,
    *,
    tokens: int | None = None,
    money: float | None = None,
) -> Recipe:
    """The recipe in a file, with `--set` overrides and a budget of the command line. Raises every mistake at once.

    Paths in a recipe are relative to where the command runs.
    """
    document = read_document(path)
    errors = list(document.errors)
    value = document.value
    if not isinstance(value, dict):
        raise document.error((), "a recipe has the keys seeds, task and teacher", "`synth tasks TASK` shows one")
    value = _overridden(value, overrides or {}, errors)
    errors += [
        document.error((str(key),), f"there is no key {key!r}", nearest(str(key), _KEYS))
        for key in value
        if key not in _KEYS
    ]
    plain = {key: value[key] for key in JobSettings.model_fields if key in value}
    job, wrong = settings_of(JobSettings, plain, document, ())
    errors += wrong
    seeds = _seeds(value.get("seeds"), document, errors)
    use, task = _task(value.get("task"), document, errors)
    teachers = _teachers(value, document, errors)
    embeddings = _embeddings(value["embeddings"], document, errors) if "embeddings" in value else None
    budget = _budget(value.get("budget"), document, errors)
    if tokens is not None:
        budget = replace(budget, tokens=tokens)
    if money is not None:
        budget = replace(budget, money=Decimal(str(money)))
    if job is not None:
        errors += _contradictions(job, document)
    errors += _unknown_teachers(task, teachers, document)
    if budget.money is not None:
        errors += _without_a_price([*teachers, *([embeddings] if embeddings else [])], document)
    raise_all(errors)
    assert job is not None and task is not None
    return Recipe(job.name or path.stem, tuple(seeds), use, task, tuple(teachers), job, budget, embeddings)


def _without_a_price(teachers: Sequence[TeacherPlan], document: Document) -> list[RecipeError]:
    """A budget of money that nothing would count against. Each teacher elsewhere says what it costs, 0 too. One at an
    address of this machine may be free, or a gateway to one that is not: it need not say so where another one does."""
    asked = [one for one in teachers if not one.local]
    silent = [one for one in asked if not one.priced]
    if len(silent) < len(asked):
        silent = [one for one in silent if any(not is_here(endpoint.url) for endpoint in one.endpoints)]
    if not silent:
        return []
    said = ", ".join(dict.fromkeys(one.name for one in silent))
    hint = "price: {prompt: 0.15, completion: 0.6}, for a million tokens each; 0 where it costs nothing"
    return [document.error(("budget",), f"a budget of money needs prices: {said} has none", hint)]


def _overridden(value: dict[Any, Any], overrides: Mapping[str, str], errors: list[RecipeError]) -> dict[Any, Any]:
    """The recipe with settings of the command line in it."""
    changed = dict(value)
    for key, text in overrides.items():
        first, *rest = key.split(".")
        if first not in _KEYS or not all(rest) or (rest and rest[-1] == "api_key"):
            hint = _NO_KEYS if rest and rest[-1] == "api_key" else nearest(first, _KEYS)
            errors.append(RecipeError(f"--set {key}: there is no such setting", hint=hint))
            continue
        given = typed(text)
        inner = changed
        for part in [first, *rest][:-1]:
            held = inner.get(part)
            if part == "task" and isinstance(held, str):
                held = {"use": held}
            if held is not None and not isinstance(held, dict):
                errors.append(RecipeError(f"--set {key}: {part} has no settings in the recipe", hint=""))
                break
            inner[part] = dict(held or {})
            inner = inner[part]
        else:
            inner[[first, *rest][-1]] = given
    return changed


def _contradictions(job: JobSettings, document: Document) -> list[RecipeError]:
    found = []
    if job.rows is not None and job.per_seed is not None:
        found.append(document.error(("per_seed",), "rows and per_seed cannot both be given", "remove one of them"))
    if job.tries is not None and job.rows is None:
        found.append(document.error(("tries",), "tries belongs to rows", "give rows, or remove it"))
    if job.tries is not None and job.rows is not None and job.rows > 20 * job.tries:
        found.append(document.error(("tries",), f"{job.tries} tries cannot make {job.rows} rows", "raise it"))
    return found


def _seeds(value: Any, document: Document, errors: list[RecipeError]) -> list[SeedSettings]:
    if value is None:
        errors.append(document.error(("seeds",), "the recipe names no seeds", "seeds: [path/of/a/dataset]"))
        return []
    entries = [value] if isinstance(value, str | dict) else value
    if not entries or not isinstance(entries, list):
        errors.append(document.error(("seeds",), "seeds are paths of datasets or files", "seeds: [data/support]"))
        return []
    found = []
    for number, entry in enumerate(entries):
        place: Path_ = ("seeds", number) if isinstance(value, list) else ("seeds",)
        given = {"path": entry} if isinstance(entry, str) else entry
        if not isinstance(given, dict):
            errors.append(document.error(place, "seeds are paths of datasets or files", "- path: data/support"))
            continue
        settings, wrong = settings_of(SeedSettings, given, document, place)
        errors += wrong
        if settings is not None:
            if not Path(settings.path).exists():
                errors.append(
                    document.error(place, f"{settings.path} does not exist", "paths are relative to where you are")
                )
            found.append(settings)
    return found


def _task(value: Any, document: Document, errors: list[RecipeError]) -> tuple[str, Task | None]:
    given = {"use": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("use"), str):
        errors.append(document.error(("task",), "the recipe names no task", "task: paraphrase; `synth tasks` has them"))
        return "", None
    use = given["use"]
    try:
        cls = find(TASKS, use, Task)  # type: ignore[type-abstract]
    except UserError as error:
        errors.append(document.error(("task",), error.message, error.hint))
        return use, None
    task, wrong = settings_of(cls, {k: v for k, v in given.items() if k != "use"}, document, ("task",))
    errors += wrong
    return use, task


def _teachers(value: Mapping[Any, Any], document: Document, errors: list[RecipeError]) -> list[TeacherPlan]:
    found: list[TeacherPlan | None] = []
    others = value.get("teachers") or {}
    if "teacher" not in value:
        errors.append(
            document.error((), "the recipe names no teacher", "teacher: local, or one with model and base_url")
        )
    else:
        found.append(_teacher(FIRST, value["teacher"], document, ("teacher",), errors))
    if not isinstance(others, dict):
        errors.append(document.error(("teachers",), "they are named: a name, a colon, and settings as of teacher"))
        others = {}
    judge = value.get("judge")
    named = isinstance(judge, str) and judge in others
    if judge is not None and not named:
        found.append(_teacher(JUDGE, judge, document, ("judge",), errors))
    for name, given in others.items():
        place: Path_ = ("teachers", str(name))
        if (
            not isinstance(name, str)
            or not re.fullmatch(r"[\w.-]{1,64}", name)
            or name in (JUDGE, "teacher", EMBEDDINGS)
        ):
            errors.append(document.error(place, f"{name!r} cannot be a teacher's name here", "choose another"))
            continue
        one = _teacher(name, given, document, place, errors)
        found.append(one)
        if named and name == judge and one is not None:
            found.append(replace(one, role=JUDGE))
    return [one for one in found if one is not None]


def _teacher(role: str, value: Any, document: Document, place: Path_, errors: list[RecipeError]) -> TeacherPlan | None:
    if value == LOCAL:
        return TeacherPlan(role, "", local=True)
    if not isinstance(value, dict):
        said = "a teacher is `local`, or has a model and a base_url"
        errors.append(document.error(place, said, nearest(str(value), [LOCAL]) if isinstance(value, str) else ""))
        return None
    if LOCAL in value:
        return _local(role, value, document, place, errors)
    before = len(errors)
    _refuse_keys(value, document, place, errors)
    shared = {key: value[key] for key in EndpointSettings.model_fields if key in value}
    own = {key: value[key] for key in value if key not in (*EndpointSettings.model_fields, "endpoints", "price")}
    own.pop("api_key", None)
    settings, wrong = settings_of(TeacherSettings, own, document, place)
    errors += [_with_all_names(one, own, document, place) for one in wrong]
    price, wrong = settings_of(
        PriceSettings, _mapping(value, "price", document, place, errors), document, (*place, "price")
    )
    errors += wrong
    endpoints = _endpoints(value.get("endpoints"), shared, document, place, errors)
    if len(errors) > before or settings is None or price is None:
        return None
    return TeacherPlan(
        role, settings.name or settings.model, settings.model, settings.revision, tuple(endpoints),
        Price(price.prompt, price.completion), price.model_fields_set == PriceSettings.model_fields.keys(),
    )  # fmt: skip


def _with_all_names(error: RecipeError, own: Mapping[str, Any], document: Document, place: Path_) -> RecipeError:
    """The mistake; of a setting that there is not, with the nearest of all that a teacher has."""
    known = [*TeacherSettings.model_fields, *EndpointSettings.model_fields, "endpoints", "price"]
    for key in own:
        if f"no setting {key!r}" in error.message:
            return document.error((*place, str(key)), f"there is no setting {key!r}", nearest(str(key), known))
    return error


def _local(
    role: str, value: dict[str, Any], document: Document, place: Path_, errors: list[RecipeError]
) -> TeacherPlan | None:
    settings, wrong = settings_of(LocalSettings, value, document, place)
    errors += wrong
    if settings is None:
        return None
    file = Path(settings.local) if isinstance(settings.local, str) else None
    if settings.local is False or (file is not None and not file.is_file()):
        said = "local: false is no teacher" if file is None else f"{file} is not a file"
        errors.append(document.error((*place, LOCAL), said, "give the path of a GGUF file, or true"))
        return None
    return TeacherPlan(role, settings.name, local=True, file=file)


def _embeddings(value: Any, document: Document, errors: list[RecipeError]) -> TeacherPlan | None:
    place: Path_ = (EMBEDDINGS,)
    if not isinstance(value, dict):
        errors.append(document.error(place, "embeddings have a model and a base_url"))
        return None
    before = len(errors)
    _refuse_keys(value, document, place, errors)
    own = {key: one for key, one in _without_bad_names(value).items() if key != "api_key"}
    settings, wrong = settings_of(EmbeddingSettings, own, document, place)
    errors += wrong
    if settings is None or len(errors) > before:
        return None
    try:
        endpoint = Endpoint(
            settings.base_url,
            key_env=settings.api_key_env,
            key_header=settings.api_key_header,
            key_file=settings.api_key_file,
            requests_per_minute=settings.rpm,
            tokens_per_minute=settings.tpm,
            api="embeddings",
        )
    except UserError as error:
        errors.append(document.error((*place, "base_url"), error.message, error.hint))
        return None
    price = Price(settings.price or Decimal(0), Decimal(0))
    return TeacherPlan(
        EMBEDDINGS, settings.model, settings.model, settings.revision, (endpoint,), price, settings.price is not None
    )


def _mapping(
    value: Mapping[str, Any], key: str, document: Document, place: Path_, errors: list[RecipeError]
) -> dict[str, Any]:
    found = value.get(key)
    if found is not None and not isinstance(found, dict):
        errors.append(document.error((*place, key), "it has settings: prompt and completion"))
    return found if isinstance(found, dict) else {}


def _endpoints(
    value: Any, shared: dict[str, Any], document: Document, place: Path_, errors: list[RecipeError]
) -> list[Endpoint]:
    """A teacher's endpoints: its own address, or those listed, which have its settings where they say nothing else."""
    if value is None:
        given: list[tuple[Path_, Any]] = [(place, shared)]
    elif isinstance(value, list) and value:
        given = [((*place, "endpoints", number), one) for number, one in enumerate(value)]
        if "base_url" in shared:
            errors.append(document.error((*place, "base_url"), "base_url and endpoints cannot both be given"))
    else:
        errors.append(
            document.error((*place, "endpoints"), "endpoints are a list of addresses", "- base_url: https://…")
        )
        return []
    found = []
    for where, one in given:
        own = {"base_url": one} if isinstance(one, str) else one
        if not isinstance(own, dict):
            errors.append(document.error(where, "an endpoint is an address, or has a base_url"))
            continue
        if where != place:
            _refuse_keys(own, document, where, errors)
            own = {key: held for key, held in shared.items() if key != "base_url"} | own
            own.pop("api_key", None)
        if own.get("transport") == "vllm":
            own = {"base_url": _IN_PROCESS} | own
        settings, wrong = settings_of(EndpointSettings, _without_bad_names(own), document, where)
        errors += wrong
        if settings is None:
            continue
        try:
            found.append(
                Endpoint(
                    settings.base_url,
                    key_env=settings.api_key_env,
                    key_header=settings.api_key_header,
                    key_file=settings.api_key_file,
                    requests_per_minute=settings.rpm,
                    tokens_per_minute=settings.tpm,
                    structured=settings.structured,
                    api=settings.api,
                    transport=settings.transport,
                    options=settings.options,
                )
            )
        except UserError as error:
            errors.append(document.error((*where, "base_url"), error.message, error.hint))
    return found


def _without_bad_names(own: dict[str, Any]) -> dict[str, Any]:
    """Settings without a variable's name that may be a key: what is wrong with it has been said, without it."""
    return {key: value for key, value in own.items() if key != "api_key_env" or _is_variable(value)}


def _is_variable(value: Any) -> bool:
    """Whether it is the name of an environment variable. Long ones without an underscore are rather keys."""
    return (
        isinstance(value, str)
        and _VARIABLE.fullmatch(value) is not None
        and (len(value) < _SHORTEST_KEY or "_" in value)
    )


def _refuse_keys(own: Mapping[str, Any], document: Document, place: Path_, errors: list[RecipeError]) -> None:
    """Say what is wrong with a key in a recipe, without showing it."""
    if "api_key" in own:
        errors.append(document.error((*place, "api_key"), "the recipe holds a key", _NO_KEYS))
    if "api_key_env" in own and own["api_key_env"] and not _is_variable(own["api_key_env"]):
        said = "this is not the name of an environment variable"
        errors.append(document.error((*place, "api_key_env"), said, _NO_KEYS))


def _budget(value: Any, document: Document, errors: list[RecipeError]) -> Budget:
    if value is None:
        return Budget()
    if not isinstance(value, dict):
        errors.append(document.error(("budget",), "it has settings: tokens and money", "budget: {tokens: 1000000}"))
        return Budget()
    settings, wrong = settings_of(BudgetSettings, value, document, ("budget",))
    errors += wrong
    return Budget(settings.tokens, settings.money) if settings is not None else Budget()


def _unknown_teachers(task: Task | None, teachers: Sequence[TeacherPlan], document: Document) -> list[RecipeError]:
    known = {one.role for one in teachers}
    asked = getattr(task, "teachers", ())
    return [
        document.error(("task", "teachers"), f"no teacher is called {name!r}", nearest(str(name), known - {FIRST}))
        for name in asked
        if name not in known
    ]


def describe_tasks(name: str | None = None) -> list[dict[str, Any]]:
    """Every task there is, or one, as data. Raises UserError for one that there is not."""
    found = []
    for one in [name] if name else names(TASKS):
        cls: type[Task] = find(TASKS, one, Task)  # type: ignore[type-abstract]
        found.append(
            {
                "name": one,
                "version": cls.version,
                # The first line may end in the middle of a sentence.
                "description": " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split()),
                "doc": inspect.getdoc(cls) or "",
                "novel": cls.novel,
                "reasons": sorted({reason for example in cls.examples for reason in example.reasons}),
                "settings": describe_settings(cls),
                "examples": [_described(example) for example in cls.examples],
            }
        )
    return found


def _described(example: Example) -> dict[str, Any]:
    """An example as texts to show."""
    return {
        "seed": excerpt(_shown(example.row), 400),
        "settings": {key: str(value) for key, value in example.settings.items()},
        "answers": [excerpt(one.text if isinstance(one, Said) else one, 200) for one in example.answers],
        "made": [{key: excerpt(value, 200) for key, value in made.items()} for made in example.made],
        "reasons": list(example.reasons),
    }


def _shown(row: Mapping[str, Any]) -> str:
    """What an example's seed says, in one line."""
    turns = [*(row.get("messages") or []), *(row.get("prompt") or [])]
    said = [f"{one['role']}: {one.get('content') or ''}" for one in turns]
    for side in ("chosen", "rejected"):
        said += [f"{side}: {one.get('content') or ''}" for one in row.get(side) or []]
    for answer in row.get("answers") or []:
        said += [f"answer: {one.get('content') or ''}" for one in answer["messages"]]
    return " | ".join([*said, *([str(row["text"])] if row.get("text") else [])])
