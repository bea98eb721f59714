"""Spare Argilla the work of building events that nobody listens to.

For every record written and every answer given, Argilla loads the whole dataset's settings to build an event, and
then finds that no webhook is there to be told. Here it looks for webhooks first; where there is one, nothing changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from argilla_server.webhooks.v1 import records, responses
from sqlalchemy import text  # type: ignore[import-not-found]

_LISTENERS = text("SELECT 1 FROM webhooks WHERE enabled LIMIT 1")


class _Unheard:
    """An event that nobody is told of."""

    async def notify(self, db: Any) -> list[Any]:
        return []


def only_heard() -> None:
    """Build events only while there is an enabled webhook; call it once, before the server starts."""
    records.build_record_event = _if_heard(records.build_record_event)
    responses.build_response_event = _if_heard(responses.build_response_event)


def _if_heard(build: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def built(db: Any, *about: Any) -> Any:
        if (await db.execute(_LISTENERS)).first() is None:
            return _Unheard()
        return await build(db, *about)

    return built
