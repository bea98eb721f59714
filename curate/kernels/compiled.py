"""How kernels are compiled and run: once per machine, into a cache; without the interpreter's lock, in threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"
"""The user's cache directory: compiled kernels and tables that are worked out once."""

_CHUNKS = 32

_config: Any = numba.config
if "NUMBA_CACHE_DIR" not in os.environ:
    _config.CACHE_DIR = str(CACHE / "kernels")


def kernel(function: Function) -> Function:
    """Compile a function of arrays and numbers when it is first called, and keep it for later processes.

    Not `parallel=True`: that takes 22 s to compile where this takes 6, and its threads fight with polars' own.
    """
    return cast(Function, numba.njit(nogil=True, cache=True)(function))


def inlined(function: Function) -> Function:
    """A small function that kernels call, compiled into each of them."""
    return cast(Function, numba.njit(nogil=True, inline="always")(function))


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return cast(Any, types.CPointer)(types.uint64)(types.int64), code


words_at: Callable[[Any], Any] = cast(Any, _pointer)
"""In a kernel: the 64-bit unsigned numbers that begin at a memory address (int64), as a pointer to index."""


def threads() -> int:
    """How many threads kernels run in."""
    return os.cpu_count() or 1


def in_parallel(work: Callable[[int, int], Any], count: int, chunks: int = _CHUNKS) -> list[Any]:
    """`work(begin, end)` for runs of 0 to `count`, in threads; the answers in order."""
    bounds = sorted({count * place // chunks for place in range(chunks + 1)})
    runs = list(pairwise(bounds))
    if len(runs) <= 1:
        return [work(*run) for run in runs]
    with ThreadPoolExecutor(threads(), thread_name_prefix="kernel") as pool:
        return list(pool.map(lambda run: work(*run), runs))


def are_compiled() -> bool:
    """Whether this machine has compiled kernels; if not, the first use takes some seconds longer."""
    folder = Path(_config.CACHE_DIR)
    return folder.is_dir() and any(folder.rglob("*.nbc"))
