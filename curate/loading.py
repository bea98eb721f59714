"""Loading what is large once, however many threads ask for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache, update_wrapper
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

Loaded = TypeVar("Loaded")


def loaded_once(load: Callable[..., Loaded]) -> _lru_cache_wrapper[Loaded]:
    """`functools.cache`, but a second thread waits for the first: `cache` alone lets each of them load for itself."""
    cached, lock = cache(load), RLock()

    def ask(*given: Hashable, **named: Hashable) -> Loaded:
        with lock:
            return cached(*given, **named)

    asked: Any = update_wrapper(ask, load)
    asked.cache_clear = cached.cache_clear
    return cast("_lru_cache_wrapper[Loaded]", asked)
