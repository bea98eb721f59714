"""How kernels are compiled and run: once per machine, into a cache; without the interpreter's lock, in plain threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"
"""The user's cache directory: compiled kernels and tables that are worked out once."""

_CHUNKS = 32

if "NUMBA_CACHE_DIR" not in os.environ:
    numba.config.CACHE_DIR = str(CACHE / "kernels")


def kernel(function: Function) -> Function:
    """Compile a function of arrays and numbers when it is first called, and keep it for later processes.

    Not `parallel=True`: that takes 22 s to compile where this takes 6, and its threads fight with polars' own.
    """
    return numba.njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]


def inlined(function: Function) -> Function:
    """A small function that kernels call, compiled into each of them."""
    return numba.njit(nogil=True, inline="always")(function)  # type: ignore[no-any-return]


@intrinsic
def words_at(typing_context: Any, address: Any) -> Any:
    """The 64-bit unsigned numbers that begin at a memory address (int64), as a pointer to index."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint64)(types.int64), code


def threads() -> int:
    """How many threads kernels run in."""
    return os.cpu_count() or 1


def in_parallel(work: Callable[[int, int], Any], count: int, chunks: int = _CHUNKS) -> list[Any]:
    """`work(begin, end)` for runs of 0 to `count`, in threads; the answers in order."""
    bounds = sorted({count * place // chunks for place in range(chunks + 1)})
    runs = list(zip(bounds, bounds[1:], strict=False))
    if len(runs) <= 1:
        return [work(*run) for run in runs]
    with ThreadPoolExecutor(threads(), thread_name_prefix="kernel") as pool:
        return list(pool.map(lambda run: work(*run), runs))


def are_compiled() -> bool:
    """Whether this machine has compiled kernels; if not, the first use takes some seconds longer."""
    folder = Path(numba.config.CACHE_DIR)
    return folder.is_dir() and any(folder.rglob("*.nbc"))
