"""Recipes of cleaning stages, and descriptions of the stages, recipes and collectors there are."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic_core
import yaml
from pydantic import BaseModel

from curate.collectors.collector import Collector
from curate.marks import Step
from curate.stage import Compare, Edit, Filter, Stage, _IsInput
from schemas.dataset import is_dataset, open_dataset, sha256_of
from schemas.errors import RecipeError, UserError, UserErrors, nearest
from schemas.excerpt import excerpt
from schemas.lookup import find, names
from schemas.manifest import library_versions
from schemas.recipe import Document, allowed, raise_all, read_document, settings_of

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

    def identity(self) -> list[dict[str, Any]]:
        """Everything about the steps that affects rows: settings, stage versions, libraries, a user's stage by its text,
        what an input setting names by its content. Not paths."""
        return [_identity(use, step) for use, step in zip(self.uses, self.steps, strict=True)]


def _identity(use: str, step: Step) -> dict[str, Any]:
    stage = step.stage
    settings = stage.model_dump(mode="json")
    for name in input_settings(type(stage)):
        if settings.get(name) is not None:
            settings[name] = {"content": content_of(Path(str(settings[name])))}
    found: dict[str, Any] = {"step": step.name, "settings": settings, "version": stage.version}
    if use.endswith(".py"):
        found["source"] = hashlib.sha256(Path(use).read_bytes()).hexdigest()
    else:
        found["use"] = use
    if stage.libraries:
        found["libraries"] = library_versions(stage.libraries)
    return found


def input_settings(stage: type[Stage]) -> list[str]:
    """Names of the settings that name a dataset or file to read."""
    return [
        name for name, field in stage.model_fields.items() if any(isinstance(one, _IsInput) for one in field.metadata)
    ]


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
    if not path.exists() and "/" not in name and not name.endswith((".yaml", ".yml")):
        known = [file.stem for file in RECIPES.glob("*.yaml")]
        if name not in known:
            raise RecipeError(f"there is no recipe named {name!r}, and no such file", hint=nearest(name, known))
        path = RECIPES / f"{name}.yaml"
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
    entries = value.get("stages")
    if not isinstance(entries, list) or not entries:
        errors.append(document.error(("stages",), "stages must be a list of stages", "- use: length"))
        entries = []
    found = _named(entries, document, errors)
    _override(found, overrides or {}, document, errors)
    steps, uses = _steps(found, document, errors)
    paths = tuple(inputs or _inputs(value.get("inputs"), document, errors))
    errors += _missing_inputs(paths, steps, document)
    raise_all(errors)
    return Recipe(str(value.get("name") or path.stem), paths, tuple(steps), tuple(uses))


@dataclass
class _Entry:
    """One stage as a recipe has it."""

    number: int
    use: str
    name: str
    settings: dict[str, Any]
    from_command_line: set[str]


def _named(entries: list[Any], document: Document, errors: list[RecipeError]) -> list[_Entry]:
    found: list[_Entry] = []
    used: dict[str, int] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, str):
            entry = {"use": entry}
        if not isinstance(entry, dict) or not isinstance(entry.get("use"), str):
            errors.append(document.error(("stages", number), "a stage names what it uses", "- use: length"))
            continue
        use = entry["use"]
        plain = str(entry.get("name") or (Path(use).stem if use.endswith(".py") else use))
        used[plain] = used.get(plain, 0) + 1
        name = plain if used[plain] == 1 else f"{plain}-{used[plain]}"
        settings = {str(key): value for key, value in entry.items() if key not in ("use", "name")}
        found.append(_Entry(number, use, name, settings, set()))
    return found


def _override(found: list[_Entry], overrides: Mapping[str, str], document: Document, errors: list[RecipeError]) -> None:
    by_name = {entry.name: entry for entry in found}
    for key, text in overrides.items():
        parts = key.split(".")
        if len(parts) != 3 or parts[0] != "stages":
            errors.append(
                RecipeError(
                    f"--set {key}: not a setting of a stage", hint="for example --set stages.length.min_chars=80"
                )
            )
        elif parts[1] not in by_name:
            errors.append(
                RecipeError(f"--set {key}: the recipe has no stage {parts[1]!r}", hint=nearest(parts[1], by_name))
            )
        else:
            try:
                by_name[parts[1]].settings[parts[2]] = yaml.safe_load(text)
            except yaml.YAMLError:
                by_name[parts[1]].settings[parts[2]] = text
            by_name[parts[1]].from_command_line.add(parts[2])


def _steps(found: list[_Entry], document: Document, errors: list[RecipeError]) -> tuple[list[Step], list[str]]:
    steps, uses = [], []
    for entry in found:
        place = ("stages", entry.number)
        try:
            cls = find(STAGES, entry.use, Stage)  # type: ignore[type-abstract]
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
            document.error((), "the recipe names no inputs", "add `inputs: [DATASET]`, or give --input DATASET")
        )
        return []
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or not value:
        errors.append(document.error(("inputs",), "inputs must be a list of dataset folders"))
        return []
    return [Path(one) for one in value]


def _missing_inputs(paths: Sequence[Path], steps: list[Step], document: Document) -> list[RecipeError]:
    errors = []
    for path in paths:
        try:
            open_dataset(path)
        except UserError as error:
            errors.append(
                RecipeError(error.message, hint=error.hint, file=document.name, line=document.line(("inputs",)))
            )
    for step in steps:
        for name in input_settings(type(step.stage)):
            value = getattr(step.stage, name)
            if value is None:
                continue
            try:
                content_of(Path(value))
            except UserError as error:
                errors.append(
                    RecipeError(f"stages.{step.name}.{name}: {error.message}", hint=error.hint, file=document.name)
                )
    return errors


def checked_settings(cls: type[BaseModel], values: Mapping[str, str], where: str) -> dict[str, Any]:
    """Command line text as typed settings of `cls`. Raises every mistake at once."""
    document = Document("", where)
    parsed = {}
    for key, text in values.items():
        try:
            parsed[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            parsed[key] = text
    settings, errors = settings_of(cls, parsed, document, ())
    if errors and settings is None:
        raise UserErrors([RecipeError(f"{where}: --set {error.message}", hint=error.hint) for error in errors])
    assert settings is not None
    return settings.model_dump()


def describe_settings(cls: type[BaseModel]) -> list[dict[str, Any]]:
    """Settings of a stage or collector: name, type, default and description of each."""
    return [
        {
            "name": name,
            "type": _type_name(field.annotation),
            "default": None
            if field.default is pydantic_core.PydanticUndefined
            else field.get_default(call_default_factory=True),
            "required": field.is_required(),
            "choices": allowed(field.annotation),
            "description": field.description or "",
        }
        for name, field in cls.model_fields.items()
    ]


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(allowed(annotation))
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(
            annotation.__name__, annotation.__name__
        )
    return str(annotation).replace("typing.", "").replace(" | None", " or nothing")


def describe_stages(name: str | None = None) -> list[dict[str, Any]]:
    """Every stage there is, or one, as data."""
    found = []
    for one in [name] if name else names(STAGES):
        cls = find(STAGES, one, Stage)  # type: ignore[type-abstract]
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
