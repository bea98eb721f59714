"""Argilla's background jobs without Redis: a stand-in within the process, and a thread that does the jobs.

Nothing of the queue leaves the process, so there is no port to guard. Jobs that a kill loses are few: what follows a
new overlap is mended at the next start, and a webhook's call is lost.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import fakeredis
import redis  # type: ignore[import-not-found]

URL = "redis://localhost/0"
"""What ARGILLA_REDIS_URL is set to; nothing is ever connected to."""

_RETRY_SECONDS = 5.0


def stand_in() -> None:
    """Let Argilla's one connection to Redis be one to a store in memory; call it before Argilla is imported."""
    store = fakeredis.FakeServer()

    def from_url(url: str, **settings: Any) -> Any:
        return fakeredis.FakeRedis(server=store, **settings)

    redis.from_url = from_url


class Worker:
    """Does the jobs one after another in a thread of its own."""

    def __init__(self) -> None:
        from argilla_server.jobs.queues import DEFAULT_QUEUE, HIGH_QUEUE, REDIS_CONNECTION
        from rq import SimpleWorker  # type: ignore[import-not-found]
        from rq.scheduler import RQScheduler  # type: ignore[import-not-found]
        from rq.timeouts import TimerDeathPenalty  # type: ignore[import-not-found]

        class InThread(SimpleWorker):  # type: ignore[misc]
            death_penalty_class = TimerDeathPenalty  # the usual one needs the main thread

            def _install_signal_handlers(self) -> None:
                """Signals are the main thread's."""

        queues = [HIGH_QUEUE, DEFAULT_QUEUE]
        self._worker = InThread(queues, connection=REDIS_CONNECTION)
        self._scheduler = RQScheduler([queue.name for queue in queues], connection=REDIS_CONNECTION)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin; the threads end with the process."""
        threading.Thread(target=self._work, name="jobs", daemon=True).start()

    def stop(self) -> None:
        """Begin no more jobs."""
        self._stopping.set()

    def _work(self) -> None:
        # Bursts with a pause, not a blocking read: a burst ends by itself, and jobs to be tried again are looked for.
        while not self._stopping.wait(0.5):
            try:
                self._scheduler.acquire_locks()
                self._scheduler.enqueue_scheduled_jobs()
                self._worker.work(burst=True, logging_level="WARNING")
            except Exception:
                logging.getLogger("assay.jobs").exception("a background job could not be done")
                self._stopping.wait(_RETRY_SECONDS)
