"""The folder is the registry: a name is the class in the file of that name."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from pathlib import Path
from typing import TypeVar

from schemas.errors import UserError, nearest

T = TypeVar("T")


def names(package: str) -> list[str]:
    """Names of what a package offers: its modules, sorted."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ValueError(f"{package} is not a package")
    return sorted(module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))


def find(package: str, name: str, kind: type[T]) -> type[T]:
    """The class of `kind` in the module `name` of a package, or in the file that a path like `./mine.py` names.

    Raises UserError when there is none, naming the nearest.
    """
    if name.endswith(".py"):
        return _from_file(Path(name), kind)
    known = names(package)
    if name not in known:
        raise UserError(f"there is no {kind.__name__.lower()} named {name!r}", hint=nearest(name, known))
    return _only_class(importlib.import_module(f"{package}.{name}"), kind, f"{package}.{name}")


def _from_file(path: Path, kind: type[T]) -> type[T]:
    if not path.is_file():
        raise UserError(f"{path} is not a file", hint="name a Python file relative to where the command runs")
    # Named by place and content, so that a file that was edited is a new module.
    told_apart = hashlib.sha256(str(path.resolve()).encode() + b"\x00" + path.read_bytes()).hexdigest()
    name = f"assay_user_{told_apart[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise UserError(
                f"{path} cannot be loaded: {type(error).__name__}: {error}",
                hint="run it with python to see where",
                file=str(path),
            ) from error
    return _only_class(sys.modules[name], kind, str(path))


def _only_class(module: object, kind: type[T], where: str) -> type[T]:
    own = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, kind)
        and not inspect.isabstract(member)
        and member.__module__ == getattr(module, "__name__", "")
        and not member.__name__.startswith("_")
    ]
    if len(own) != 1:
        found = ", ".join(member.__name__ for member in own) or "none"
        raise UserError(f"{where} must hold exactly one public {kind.__name__} class, found: {found}")
    return own[0]
