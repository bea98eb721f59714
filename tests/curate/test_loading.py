"""What is large is loaded once, however many threads ask for it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from curate.loading import loaded_once


def test_threads_that_ask_at_once_get_one_thing_loaded_once() -> None:
    loaded = []

    @loaded_once
    def load(name: str) -> list[str]:
        time.sleep(0.05)  # long enough for all threads to ask
        loaded.append(name)
        return [name]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load, ["one"] * 8))

    assert loaded == ["one"]
    assert all(one is found[0] for one in found)
    assert load("other") == ["other"]
