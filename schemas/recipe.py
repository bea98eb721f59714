"""Recipes: YAML into typed settings, every mistake at once with its line, before any data is read."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic_core
import yaml
from pydantic import BaseModel, ValidationError

from schemas.errors import RecipeError, nearest

Settings = TypeVar("Settings", bound=BaseModel)

MAX_CHARS = 1 << 18
MAX_ITEMS = 10_000
MAX_DEPTH = 32

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path_ = tuple[str | int, ...]
"""Where in a document something stands: keys and list positions."""


class Document:
    """A parsed YAML document that knows the line of everything in it."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.lines: dict[Path_, int] = {}
        self.errors: list[RecipeError] = []
        self._sizes: dict[int, int] = {}
        if len(text) > MAX_CHARS:
            raise RecipeError(f"{name} is longer than {MAX_CHARS:,} characters", hint="a recipe is short", file=name)
        try:
            self.value: Any = self._read(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            raise RecipeError(
                f"{name} is not valid YAML: {error.problem}",
                hint="check the indentation and the colons there",
                file=name,
                line=mark.line + 1 if mark else None,
            ) from None
        except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # What is no YAMLError comes from values that fit no tag: 2024-13-45, !!bool maybe, !!timestamp x.
            raise RecipeError(
                f"{name} is not valid YAML: {error}", hint="use plain text, lists and key: value", file=name
            ) from None

    def _read(self, text: str) -> Any:
        _check_depth(text, self.name)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            self._note(node, ())
            return loader.construct_document(node)
        finally:
            loader.dispose()

    def _note(self, node: yaml.Node, path: Path_) -> int:
        """Note the lines of everything in a node, and keys set twice. How many things the node holds, with every alias
        written out: a few aliases of aliases can hold more than fits into memory."""
        if id(node) in self._sizes:
            return self._counted(self._sizes[id(node)], node)
        self._sizes[id(node)] = MAX_ITEMS + 1  # until it is known: what holds itself has no end
        self.lines[path] = node.start_mark.line + 1
        size = 1
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
                line = key.start_mark.line + 1
                if name in seen:
                    said = f"{name!r} is set twice"
                    self.errors.append(RecipeError(said, hint="remove one of them", file=self.name, line=line))
                seen.add(name)
                size += self._note(key, (*path, name)) + self._note(value, (*path, name))
                self.lines[*path, name] = line
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                size += self._note(value, (*path, number))
        self._sizes[id(node)] = size
        return self._counted(size, node)

    def _counted(self, size: int, node: yaml.Node) -> int:
        if size > MAX_ITEMS:
            line = node.start_mark.line + 1
            raise RecipeError(f"{self.name} holds too much", hint="a recipe is short", file=self.name, line=line)
        return size

    def line(self, path: Path_) -> int | None:
        """Line of what stands at `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def error(self, path: Path_, message: str, hint: str = "") -> RecipeError:
        """A mistake at a place in the document."""
        where = spelled(path)
        return RecipeError(f"{where}: {message}" if where else message, hint=hint, file=self.name, line=self.line(path))


def _check_depth(text: str, name: str) -> None:
    """Refuse deep nesting before anything is built of it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else None
            raise RecipeError(f"{name} has more than {MAX_DEPTH} levels", hint="write it flat", file=name, line=line)


def spelled(path: Path_) -> str:
    """A place as people write it: stages[2].min_chars."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def read_document(path: Path) -> Document:
    """The YAML document in a file. Raises RecipeError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{path} does not exist", hint="check the path") from None
    except (UnicodeDecodeError, IsADirectoryError, ValueError) as error:
        raise RecipeError(
            f"{path} is no text file: {error}", hint="a recipe is YAML in UTF-8", file=str(path)
        ) from None
    return Document(text, str(path))


def settings_of(
    cls: type[Settings], values: Mapping[str, Any], document: Document, path: Path_, *, strings: bool = False
) -> tuple[Settings | None, list[RecipeError]]:
    """Typed settings and every mistake in them. `strings` says that values are command line text."""
    try:
        return cls.model_validate_strings(dict(values)) if strings else cls.model_validate(dict(values)), []
    except ValidationError as error:
        mistakes = error.errors()
        chosen = {one["loc"][:1] for one in mistakes if one["type"] == "literal_error"}
        # A setting that is one choice or a list of them: that a wrong choice is no list either need not be said.
        said = [one for one in mistakes if one["type"] != "tuple_type" or one["loc"][:1] not in chosen]
        return None, [_mistake(cls, one, document, path) for one in said]


def _mistake(cls: type[BaseModel], error: Any, document: Document, path: Path_) -> RecipeError:
    where = tuple(part for part in error["loc"] if isinstance(part, int) or not str(part).startswith("function-"))
    kind, message = error["type"], error["msg"]
    fields = {field.alias or name: field for name, field in cls.model_fields.items()}
    known = list(fields)
    if kind == "extra_forbidden":
        return document.error(
            (*path, *where[:-1], where[-1]), f"there is no setting {where[-1]!r}", nearest(str(where[-1]), known)
        )
    if kind == "missing":
        described = fields[str(where[0])].description if where and str(where[0]) in fields else None
        return document.error(path, f"the setting {spelled(where)!r} is missing", described or "")
    if kind == "literal_error":
        choices = allowed(fields[str(where[0])].annotation) if str(where[0]) in fields else []
        return document.error(
            (*path, *where[:1]), f"{error['input']!r} is not a choice", nearest(str(error["input"]), set(choices))
        )
    if kind == "value_error":
        return document.error((*path, *where), message.removeprefix("Value error, "))
    return document.error((*path, *where), f"{message[:1].lower()}{message[1:]}", f"found {error['input']!r}"[:200])


def allowed(annotation: Any) -> list[str]:
    """The values that a Literal allows, wherever it stands in an annotation."""
    if typing.get_origin(annotation) is typing.Literal:
        return [str(one) for one in typing.get_args(annotation)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list, tuple, typing.Annotated):
        return [one for inner in typing.get_args(annotation) for one in allowed(inner)]
    return []


def typed(text: str) -> Any:
    """A value of the command line, read as a recipe would read it."""
    try:
        return Document(text, "").value
    except RecipeError:
        return text


def describe_settings(cls: type[BaseModel]) -> list[dict[str, Any]]:
    """Settings as data: name, type in words, default, whether required, choices and description of each."""
    return [
        {
            "name": field.alias or name,
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


_TYPE_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "nothing"}


def _type_name(annotation: Any) -> str:
    """A setting's type in words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(inner[0])
    if origin is typing.Literal:
        return "one of " + ", ".join(allowed(annotation))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_name(one) for one in inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a {_type_name(inner[1])} for each name"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"list of {_type_name(next(one for one in inner if one is not Ellipsis))}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "settings"
    return _TYPE_WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
