"""Recipes of cleaning stages, and descriptions of the stages, recipes and collectors there are."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from curate.collectors.collector import Collector
from curate.marks import Step
from curate.stage import Compare, Edit, Filter, Stage, _IsInput
from schemas.dataset import Dataset, is_dataset, open_dataset, sha256_of
from schemas.errors import RecipeError, UserError, UserErrors, nearest, raise_all
from schemas.excerpt import excerpt
from schemas.lookup import find, names
from schemas.manifest import library_versions
from schemas.recipe import Document, describe_settings, read_document, settings_of, typed

STAGES = "curate.stages"
RECIPES = Path(__file__).parent / "recipes"

_KEYS = ("name", "description", "inputs", "stages")


@dataclass(frozen=True)
class Recipe:
    """A recipe that is known to be right."""

    name: str
    inputs: tuple[Path, ...]
    steps: tuple[Step, ...]
    uses: tuple[str, ...]
    """What each step names as its stage."""

    def filled(self) -> dict[str, Any]:
        """The recipe with defaults written out."""
        return {
            "name": self.name,
            "inputs": [str(path) for path in self.inputs],
            "stages": [
                {"use": use, **({"name": step.name} if step.name != use else {}), **step.stage.model_dump(mode="json")}
                for use, step in zip(self.uses, self.steps, strict=True)
            ],
        }

    def read_by_stages(self) -> list[Path]:
        """What the stages read besides the rows: paths that input settings name."""
        return [path for step in self.steps for paths in input_paths(step.stage).values() for path in paths]

    def identity(self) -> list[dict[str, Any]]:
        """Everything about the steps that affects rows: settings, stage versions, libraries, a user's stage by its
        text, what an input setting names by its content. Not paths."""
        return [_identity(use, step) for use, step in zip(self.uses, self.steps, strict=True)]


def _identity(use: str, step: Step) -> dict[str, Any]:
    stage = step.stage
    settings = stage.model_dump(mode="json")
    for name, paths in input_paths(stage).items():
        settings[name] = {"content": [content_of(path) for path in paths]}
    found: dict[str, Any] = {"step": step.name, "settings": settings, "version": stage.version}
    if use.endswith(".py"):
        found["source"] = hashlib.sha256(Path(use).read_bytes()).hexdigest()
    else:
        found["use"] = use
    if stage.libraries:
        found["libraries"] = library_versions(stage.libraries)
    if relied_on := stage.relies_on():
        found["relies_on"] = relied_on
    return found


def input_paths(stage: Stage) -> dict[str, list[Path]]:
    """The settings that name datasets or files to read, with the paths they name."""
    found = {}
    for name, field in type(stage).model_fields.items():
        value = getattr(stage, name)
        if _names_input(field.annotation, *field.metadata) and value:
            found[name] = [Path(one) for one in ([value] if isinstance(value, str) else value)]
    return found


def _names_input(annotation: Any, *metadata: Any) -> bool:
    """Whether a setting is an Input, or may be one, or is a list of them."""
    inner = typing.get_args(annotation)
    return any(isinstance(one, _IsInput) for one in (*metadata, *inner)) or any(map(_names_input, inner))


def content_of(path: Path) -> str:
    """What a dataset or file holds, as a digest. Raises UserError if there is none."""
    if is_dataset(path):
        return open_dataset(path).manifest.digest
    if path.is_file():
        return sha256_of(path)
    raise UserError(f"{path} is neither a file nor a dataset", hint="check the path")


def load_recipe(name: str, overrides: Mapping[str, str] | None = None, inputs: Sequence[Path] | None = None) -> Recipe:
    """The recipe in a file, or the shipped one of that name, with `--set` overrides. Raises every mistake at once.

    Paths in a recipe are relative to where the command runs.
    """
    path = Path(name)
    known = [file.stem for file in RECIPES.glob("*.yaml")]
    if not path.is_file() and name in known:  # a folder of that name is somebody's dataset
        path = RECIPES / f"{name}.yaml"
    elif not path.exists() and "/" not in name and not name.endswith((".yaml", ".yml")):
        raise RecipeError(f"there is no recipe named {name!r}, and no such file", hint=nearest(name, known))
    document = read_document(path)
    errors = list(document.errors)
    value = document.value
    if not isinstance(value, dict):
        raise document.error(
            (),
            "a recipe has the keys name, inputs and stages",
            f"see {RECIPES.name}/ for examples, or `curate recipes`",
        )
    for key in value:
        if key not in _KEYS:
            errors.append(document.error((str(key),), f"there is no key {key!r}", nearest(str(key), _KEYS)))
        elif key in ("name", "description") and not isinstance(value[key], str):
            errors.append(document.error((key,), "must be text", f"found {value[key]!r}"[:200]))
    entries = value.get("stages")
    if not isinstance(entries, list) or not entries:
        errors.append(document.error(("stages",), "stages must be a list of stages", "- use: length"))
        entries = []
    found = _named(entries, document, errors)
    _override(found, overrides or {}, errors)
    steps, uses = _steps(found, document, errors)
    paths = tuple(inputs or _inputs(value.get("inputs"), document, errors))
    errors += _wrong_inputs(paths, steps, document, named_by_recipe=not inputs)
    raise_all(errors)
    return Recipe(value.get("name") or path.stem, paths, tuple(steps), tuple(uses))


def one_stage(use: str, settings: Mapping[str, Any], where: str) -> Recipe:
    """A recipe of one stage with these settings, and no inputs yet. Raises every mistake at once; `where` says who
    asks."""
    cls = find(STAGES, use, Stage)
    stage, errors = settings_of(cls, settings, Document("", where), ())
    raise_all([RecipeError(f"{where}: {error.message}", hint=error.hint) for error in errors])
    assert stage is not None
    return Recipe(use, (), (Step(use, stage),), (use,))


@dataclass
class _Entry:
    """One stage as a recipe has it."""

    number: int
    use: str
    name: str
    settings: dict[str, Any]


def _named(entries: list[Any], document: Document, errors: list[RecipeError]) -> list[_Entry]:
    found: list[_Entry] = []
    taken = {"inputs"}  # what rows are dropped by that an earlier input holds too
    for number, entry in enumerate(entries):
        if isinstance(entry, str):
            entry = {"use": entry}
        if not isinstance(entry, dict) or not isinstance(entry.get("use"), str):
            errors.append(document.error(("stages", number), "a stage names what it uses", "- use: length"))
            continue
        use = entry["use"]
        given = entry.get("name")
        if given is not None and (not isinstance(given, str) or not given or given in taken):
            errors.append(
                document.error(("stages", number, "name"), f"{given!r} is taken, or no name", "choose another")
            )
            given = None
        plain = given or (Path(use).stem if use.endswith(".py") else use)
        name = next(one for one in chain([plain], (f"{plain}-{again}" for again in count(2))) if one not in taken)
        taken.add(name)
        settings = {str(key): value for key, value in entry.items() if key not in ("use", "name")}
        found.append(_Entry(number, use, name, settings))
    return found


def _override(found: list[_Entry], overrides: Mapping[str, str], errors: list[RecipeError]) -> None:
    by_name = {entry.name: entry for entry in found}
    for key, text in overrides.items():
        step, dot, setting = key.removeprefix("stages.").rpartition(".")
        if not key.startswith("stages.") or not dot or not setting:
            errors.append(
                RecipeError(
                    f"--set {key}: not a setting of a stage", hint="for example --set stages.length.min_chars=80"
                )
            )
        elif step not in by_name:
            errors.append(RecipeError(f"--set {key}: the recipe has no stage {step!r}", hint=nearest(step, by_name)))
        else:
            by_name[step].settings[setting] = typed(text)


def _steps(found: list[_Entry], document: Document, errors: list[RecipeError]) -> tuple[list[Step], list[str]]:
    steps, uses = [], []
    for entry in found:
        place = ("stages", entry.number)
        try:
            cls = find(STAGES, entry.use, Stage)
        except UserError as error:
            errors.append(document.error((*place, "use"), error.message, error.hint))
            continue
        stage, mistakes = settings_of(cls, entry.settings, document, place)
        errors += mistakes
        if stage is not None:
            steps.append(Step(entry.name, stage))
            uses.append(entry.use)
    return steps, uses


def _inputs(value: Any, document: Document, errors: list[RecipeError]) -> list[Path]:
    if value is None:
        errors.append(
            RecipeError(
                "the recipe names no inputs", hint="name a dataset behind it: curate run RECIPE DATASET --out DIR"
            )
        )
        return []
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or not value:
        errors.append(document.error(("inputs",), "inputs must be a list of dataset folders"))
        return []
    return [Path(one) for one in value]


def _wrong_inputs(
    paths: Sequence[Path], steps: list[Step], document: Document, *, named_by_recipe: bool
) -> list[RecipeError]:
    errors = []
    try:
        open_inputs(paths)
    except UserErrors as found:
        line = document.line(("inputs",)) if named_by_recipe else None
        name = document.name if named_by_recipe else ""
        errors = [RecipeError(one.message, hint=one.hint, file=name, line=line) for one in found.errors]
    for step in steps:
        for name, named in input_paths(step.stage).items():
            for path in named:
                try:
                    content_of(path)
                except UserError as error:
                    said = f"stages.{step.name}.{name}: {error.message}"
                    errors.append(RecipeError(said, hint=error.hint, file=document.name))
    return errors


def open_inputs(paths: Sequence[Path]) -> list[Dataset]:
    """The datasets that a run reads, which must hold one kind of rows. Raises UserErrors."""
    found: list[Dataset] = []
    errors: list[UserError] = []
    for path in paths:
        try:
            found.append(open_dataset(path))
        except UserError as error:
            errors.append(error)
    kinds = sorted({one.kind for one in found})
    if len(kinds) > 1:
        errors.append(
            UserError(
                f"the inputs hold different kinds of rows: {', '.join(kinds)}",
                hint="run the recipe on each kind by itself",
            )
        )
    if errors:
        raise UserErrors(errors)
    return found


def checked_settings(cls: type[BaseModel], values: Mapping[str, str], where: str) -> dict[str, Any]:
    """Command line text as typed settings of `cls`. Raises every mistake at once."""
    parsed = {key: typed(text) for key, text in values.items()}
    settings, errors = settings_of(cls, parsed, Document("", where), ())
    raise_all([RecipeError(f"{where}: --set {error.message}", hint=error.hint) for error in errors])
    assert settings is not None
    return settings.model_dump()


def describe_stages(name: str | None = None) -> list[dict[str, Any]]:
    """Every stage there is, or one, as data."""
    found = []
    for one in [name] if name else names(STAGES):
        cls = find(STAGES, one, Stage)
        kind = (
            "filter"
            if issubclass(cls, Filter)
            else "edit"
            if issubclass(cls, Edit)
            else "compare"
            if issubclass(cls, Compare)
            else "stage"
        )
        reasons = sorted({example.reason for example in cls.examples if example.reason})
        found.append(
            {
                "name": one,
                "kind": kind,
                "version": cls.version,
                "description": cls.description(),
                "doc": inspect.getdoc(cls) or "",
                "reasons": reasons,
                "settings": describe_settings(cls),
                "examples": [
                    {
                        "row": {key: excerpt(value) for key, value in example.row.items()},
                        "reason": example.reason,
                        "after": {key: excerpt(value) for key, value in example.after.items()},
                        "settings": dict(example.settings),
                    }
                    for example in cls.examples
                ],
            }
        )
    return found


def describe_collectors() -> list[dict[str, Any]]:
    """Every collector there is, as data."""
    found = []
    for name in names("curate.collectors"):
        if name == "collector":
            continue
        cls = find("curate.collectors", name, Collector)  # type: ignore[type-abstract]
        doc = (inspect.getdoc(cls) or "").strip().splitlines()
        found.append(
            {
                "name": name,
                "description": doc[0] if doc else "",
                "files": list(cls.suffixes()),
                "settings": describe_settings(cls),
            }
        )
    return found


def shipped_recipes() -> list[dict[str, Any]]:
    """The recipes that ship: name, description, path and stages."""
    found = []
    for path in sorted(RECIPES.glob("*.yaml")):
        value = read_document(path).value
        used = [entry["use"] if isinstance(entry, dict) else entry for entry in value["stages"]]
        found.append(
            {"name": path.stem, "description": value.get("description", ""), "path": str(path), "stages": used}
        )
    return found
