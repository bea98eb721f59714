"""Argilla's search engine on a laptop: its registry's name for our search, in the server's own process.

Every write is committed before Argilla tells its engine, and search answers from the tables themselves: so what there
is to do on a write is at most to index words a little earlier than the next search would.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from argilla_server.enums import MetadataPropertyType, SimilarityOrder
from argilla_server.errors.future import UnprocessableEntityError
from argilla_server.search_engine.base import (
    AndFilter,
    FloatMetadataMetrics,
    IntegerMetadataMetrics,
    MetadataFilterScope,
    RecordFilterScope,
    ResponseFilterScope,
    SearchEngine,
    SearchResponseItem,
    SearchResponses,
    SuggestionFilterScope,
    TermsFilter,
    TermsMetrics,
)

from review.server import index, search
from review.server.text import BadSearch

NAME = "assay"
"""What the engine is called in ARGILLA_SEARCH_ENGINE."""

_THREADS = 4

T = TypeVar("T")


class Readers:
    """A few threads, each with a connection of its own, that answer searches beside the event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine = threading.local()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="search")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work with a connection. What cannot be searched for is the client's mistake."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(self._connection()))
        except BadSearch as error:
            raise UnprocessableEntityError(str(error)) from error

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._mine, "db"):
            self._mine.db = index.connect(self._path)
        db: sqlite3.Connection = self._mine.db
        return db


def register(path: Path) -> None:
    """Make the engine known to Argilla by its name; `path` is the server's database."""
    readers = Readers(path)

    @SearchEngine.register(NAME)
    class Engine(TablesEngine):
        @classmethod
        async def new_instance(cls) -> Engine:
            return cls(readers)


class TablesEngine(SearchEngine):  # type: ignore[misc]
    """Answers from Argilla's own tables."""

    def __init__(self, readers: Readers) -> None:
        self._run = readers.run

    async def close(self) -> None:
        """The threads serve the next request too."""

    async def ping(self) -> bool:
        return True

    async def info(self) -> dict[str, str]:
        return {"name": NAME, "tagline": "answers from Argilla's own tables"}

    async def create_index(self, dataset: Any) -> None:
        await self._run(lambda db: index.catch_up(db, dataset.id.hex))

    async def delete_index(self, dataset: Any) -> None:
        await self._run(lambda db: index.forget(db, dataset.id.hex))

    async def index_records(self, dataset: Any, records: Iterable[Any]) -> None:
        await self._run(lambda db: index.catch_up(db, dataset.id.hex))

    async def delete_records(self, dataset: Any, records: Iterable[Any]) -> None:
        await self._run(lambda db: index.catch_up(db, dataset.id.hex))

    async def configure_metadata_property(self, dataset: Any, metadata_property: Any) -> None:
        pass

    async def partial_record_update(self, record: Any, **update: Any) -> None:
        pass

    async def update_record_response(self, response: Any) -> None:
        pass

    async def delete_record_response(self, response: Any) -> None:
        pass

    async def update_record_suggestion(self, suggestion: Any) -> None:
        pass

    async def delete_record_suggestion(self, suggestion: Any) -> None:
        pass

    async def get_dataset_progress(self, dataset: Any) -> dict[str, int]:
        if dataset.is_draft:
            return {"total": 0}
        return await self._run(lambda db: search.progress(db, dataset.id.hex))

    async def get_dataset_user_progress(self, dataset: Any, user: Any) -> dict[str, int]:
        if dataset.is_draft:
            return {"total": 0}
        return await self._run(lambda db: search.progress_of(db, dataset.id.hex, user.id.hex))

    async def search(
        self,
        dataset: Any,
        query: Any = None,
        filter: Any = None,
        sort: Sequence[Any] | None = None,
        offset: int = 0,
        limit: int = 100,
        user_id: UUID | str | None = None,
    ) -> Any:
        text, field = _query(query)
        found = await self._run(
            lambda db: search.search(
                db,
                dataset.id.hex,
                query=text,
                field=field,
                filters=_filters(filter),
                order=[search.Order(_scope(one.scope), str(one.order) == "desc") for one in sort or ()],
                offset=offset,
                limit=limit,
                shuffled_for=UUID(str(user_id)).hex if user_id else "",
            )
        )
        return _responses(found)

    async def similarity_search(
        self,
        dataset: Any,
        vector_settings: Any,
        value: list[float] | None = None,
        record: Any = None,
        query: Any = None,
        filter: Any = None,
        max_results: int = 100,
        order: Any = SimilarityOrder.most_similar,
        threshold: float | None = None,
    ) -> Any:
        if bool(value) == bool(record):
            raise ValueError("a similarity search needs either a vector or a record")
        vector = value or record.vector_value_by_vector_settings(vector_settings)
        if not vector:
            raise ValueError("the record has no such vector")
        if order == SimilarityOrder.least_similar:
            vector = [-number for number in vector]
        text, field = _query(query)
        found = await self._run(
            lambda db: search.similar(
                db,
                dataset.id.hex,
                vector_settings.id.hex,
                vector,
                excluding=record.id.hex if record else "",
                query=text,
                field=field,
                filters=_filters(filter),
                limit=max_results,
                threshold=threshold,
            )
        )
        return _responses(found)

    async def compute_metrics_for(self, metadata_property: Any) -> Any:
        dataset, name = metadata_property.dataset_id.hex, metadata_property.name
        if metadata_property.type == MetadataPropertyType.terms:
            held = await self._run(lambda db: search.terms_held(db, dataset, name))
            values = [TermsMetrics.TermCount(term=term, count=count) for term, count in held]
            return TermsMetrics(total=sum(count for _, count in held), values=values)
        least, greatest = await self._run(lambda db: search.extremes(db, dataset, name))
        integer = metadata_property.type == MetadataPropertyType.integer
        return (IntegerMetadataMetrics if integer else FloatMetadataMetrics)(min=least, max=greatest)


def _query(query: Any) -> tuple[str, str]:
    """What to look for and in which field, "" for all."""
    if query is None or isinstance(query, str):
        return query or "", ""
    return query.q, query.field or ""


def _filters(given: Any) -> list[search.Terms | search.Range]:
    if given is None:
        return []
    if isinstance(given, AndFilter):
        return [one for part in given.filters for one in _filters(part)]
    scope = _scope(given.scope)
    if isinstance(given, TermsFilter):
        return [search.Terms(scope, [str(value) for value in given.values])]
    return [search.Range(scope, given.ge, given.le)]


def _scope(given: Any) -> search.Scope:
    if isinstance(given, RecordFilterScope):
        return search.Scope("record", str(given.property))
    if isinstance(given, MetadataFilterScope):
        return search.Scope("metadata", given.metadata_property)
    if isinstance(given, SuggestionFilterScope):
        return search.Scope("suggestion", given.question, given.property)
    assert isinstance(given, ResponseFilterScope)
    return search.Scope("response", given.question or "", user=given.user.id.hex if given.user else "")


def _responses(found: search.Found) -> Any:
    items = [SearchResponseItem(record_id=UUID(record), score=score) for record, score in found.records]
    return SearchResponses(items=items, total=found.total)
