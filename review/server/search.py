"""Search in Argilla's own tables: what is asked for becomes SQL, and nothing else is kept about records.

Behaves as Argilla's own engines do with the same requests, as far as their tests describe it, with two differences on
purpose: a user's progress counts that user's answers only, and text in scripts without spaces is found by phrase.
"""

# ruff: noqa: S608 - what is put together into SQL here are constants of ours and the names that `_at` quotes

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from review.server.index import catch_up, catch_up_vectors
from review.server.text import BadSearch, match_expression

RECORD_COLUMNS = ("id", "external_id", "status", "inserted_at", "updated_at")
"""Properties of a record itself that can be filtered and sorted by."""

_DATES = ("inserted_at", "updated_at")
_PRIME = 2_147_483_647
_SHUFFLED = f"(((records.rowid * 48271 + ?) % {_PRIME}) * ((records.rowid * 48271 + ?) % {_PRIME}) % {_PRIME})"


@dataclass(frozen=True)
class Scope:
    """What a filter or an order looks at.

    record: a column. metadata: a property's `name`. suggestion: a question's `name` and one of value, score, agent,
    type. response: a question's `name`, or "" for the status; `user`: only that user's (32 hex digits).
    """

    of: Literal["record", "metadata", "suggestion", "response"]
    name: str = ""
    property: str = "value"
    user: str = ""


@dataclass(frozen=True)
class Terms:
    """Records that have one of the values there."""

    scope: Scope
    values: Sequence[str]


@dataclass(frozen=True)
class Range:
    """Records that have a value there from `ge` to `le`, both included."""

    scope: Scope
    ge: float | str | None = None
    le: float | str | None = None


@dataclass(frozen=True)
class Order:
    """Sort by what is there; records that have nothing there come last."""

    scope: Scope
    descending: bool = False


@dataclass(frozen=True)
class Found:
    """One page of records, best first: ids (32 hex digits) with scores, and how many there are in all."""

    records: list[tuple[str, float]]
    total: int


@dataclass(frozen=True)
class _Sql:
    text: str
    values: tuple[Any, ...] = ()


def search(
    db: sqlite3.Connection,
    dataset: str,
    *,
    query: str = "",
    field: str = "",
    filters: Sequence[Terms | Range] = (),
    order: Sequence[Order] = (),
    offset: int = 0,
    limit: int = 100,
    shuffled_for: str = "",
) -> Found:
    """A page of a dataset's records that match a text search and all filters.

    Ordered by `order`; else by how well they match; else as they came in. `shuffled_for`: a user, for whom records
    come in an order of that user's own, the same at every request. Raises BadSearch.
    """
    text = _text(db, dataset, query, field)
    if text is None:
        return Found([], 0)
    where = _where(dataset, filters)
    score = _Sql("1.0") if not text.text else _Sql("hits.score")
    if shuffled_for:
        seed = int(shuffled_for, 16) % _PRIME
        score = _Sql(f"{score.text} * (1.0 - {_SHUFFLED} / {_PRIME}.0)", (seed, seed))
    if order:
        orders = [_order(one) for one in order]
    else:
        orders = [_Sql("score DESC")] if text.text or shuffled_for else []
    by = ", ".join([*(one.text for one in orders), "records.inserted_at, records.id"])
    source = "records JOIN hits ON hits.id = records.id" if text.text else "records"
    count = f"{text.text} SELECT count(*) FROM {source} WHERE {where.text}"
    page = (
        f"{text.text} SELECT records.id, {score.text} AS score FROM {source} WHERE {where.text} "
        f"ORDER BY {by} LIMIT ? OFFSET ?"
    )
    sorting = tuple(value for one in orders for value in one.values)
    with _reading(db):
        (total,) = db.execute(count, (*text.values, *where.values)).fetchone()
        values = (*text.values, *score.values, *where.values, *sorting, limit, offset)
        records = db.execute(page, values).fetchall()
    return Found(records, total)


def similar(
    db: sqlite3.Connection,
    dataset: str,
    settings: str,
    vector: Sequence[float],
    *,
    excluding: str = "",
    query: str = "",
    field: str = "",
    filters: Sequence[Terms | Range] = (),
    limit: int = 100,
    threshold: float | None = None,
) -> Found:
    """The records whose vectors point most nearly where `vector` does.

    Scored by (1 + cosine) / 2, which is compared with `threshold` if one is given.
    """
    import numpy as np

    catch_up_vectors(db, settings)
    text = _text(db, dataset, query, field)
    if text is None:
        return Found([], 0)
    where = _where(dataset, filters)
    source = "records JOIN hits ON hits.id = records.id" if text.text else "records"
    statement = (
        f"{text.text} SELECT records.id, assay_vectors.value FROM {source} "
        "JOIN assay_vectors ON assay_vectors.vector_settings_id = ? AND assay_vectors.record_id = records.id "
        f"WHERE {where.text} AND records.id <> ? AND length(assay_vectors.value) = ?"
    )
    values = (*text.values, settings, *where.values, excluding, 4 * len(vector))
    found = db.execute(statement, values).fetchall()
    if not found:
        return Found([], 0)
    matrix = np.frombuffer(b"".join(blob for _, blob in found), dtype=np.float32).reshape(len(found), -1)
    asked = np.asarray(vector, dtype=np.float32)
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(asked)
        scores = (1 + np.nan_to_num(matrix @ asked / lengths)) / 2  # a vector of zeros points nowhere: in the middle
    places = np.argsort(-scores, kind="stable")[:limit]
    records = [(str(found[place][0]), float(scores[place])) for place in places]
    if threshold is not None:
        records = [one for one in records if one[1] >= threshold]
    return Found(records, len(records))


def progress(db: sqlite3.Connection, dataset: str) -> dict[str, int]:
    """How many records a dataset holds, and how many of each status."""
    rows = db.execute(
        "SELECT status, count(*) FROM records WHERE dataset_id = ? GROUP BY status", (dataset,)
    ).fetchall()
    return {"total": sum(number for _, number in rows), **dict(rows)}


def progress_of(db: sqlite3.Connection, dataset: str, user: str) -> dict[str, int]:
    """How many records of a dataset a user has answered, and how many answers have each status."""
    rows = db.execute(
        "SELECT responses.status, count(*) FROM responses JOIN records ON records.id = responses.record_id "
        "WHERE responses.user_id = ? AND records.dataset_id = ? GROUP BY responses.status",
        (user, dataset),
    ).fetchall()
    return {"total": sum(number for _, number in rows), **dict(rows)}


def terms_held(db: sqlite3.Connection, dataset: str, name: str) -> list[tuple[str, int]]:
    """The values of a metadata property with how often each stands there, most frequent first."""
    each = _each(_at("records.metadata", name))
    return db.execute(
        f"SELECT CAST(held.value AS TEXT), count(*) FROM records, {each} AS held "
        "WHERE records.dataset_id = ? AND held.value IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1",
        (dataset,),
    ).fetchall()


def extremes(db: sqlite3.Connection, dataset: str, name: str) -> tuple[float | None, float | None]:
    """The least and the greatest value of a numeric metadata property; None where there is none."""
    each = _each(_at("records.metadata", name))
    found: tuple[float | None, float | None] = db.execute(
        f"SELECT min(held.value), max(held.value) FROM records, {each} AS held WHERE records.dataset_id = ?",
        (dataset,),
    ).fetchone()
    return found


@contextmanager
def _reading(db: sqlite3.Connection) -> Iterator[None]:
    """Several statements that see the tables at one moment."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


def _text(db: sqlite3.Connection, dataset: str, query: str, field: str) -> _Sql | None:
    """A WITH clause that names the hits of a text search; empty if none was asked for, None if it finds nothing."""
    if not query.strip():
        return _Sql("")
    table = catch_up(db, dataset)
    if table is None:
        return None
    name, fields = table
    columns = [f"f{place}" for place, known in enumerate(fields) if not field or known == field]
    expression = match_expression(query, columns) if columns else None
    if expression is None:
        return None
    return _Sql(
        # A greater bm25 is a worse match in SQLite; the column that holds the same word in every row weighs nothing.
        f"WITH hits AS MATERIALIZED (SELECT assay_rows.record_id AS id, -bm25({name}, 0.0) AS score "
        f"FROM {name} JOIN assay_rows ON assay_rows.number = {name}.rowid WHERE {name} MATCH ?)",
        (expression,),
    )


def _where(dataset: str, filters: Sequence[Terms | Range]) -> _Sql:
    parts = [_Sql("records.dataset_id = ?", (dataset,)), *map(_filter, filters)]
    return _Sql(" AND ".join(part.text for part in parts), tuple(value for part in parts for value in part.values))


def _filter(one: Terms | Range) -> _Sql:
    scope = one.scope
    if scope.of == "record":
        _known(scope.name)
        return _held(one, f"records.{scope.name}", date=scope.name in _DATES, identifier=scope.name == "id")
    if scope.of == "metadata":
        return _held_in(one, _at("records.metadata", scope.name))
    if scope.of == "suggestion":
        return _suggested(one)
    if not scope.name:
        return _answered(one)
    held = _held_in(one, _at('responses."values"', scope.name, "value"))
    of_user = _Sql(" AND responses.user_id = ?", (scope.user,)) if scope.user else _Sql("")
    return _Sql(
        f"EXISTS (SELECT 1 FROM responses WHERE responses.record_id = records.id{of_user.text} AND {held.text})",
        (*of_user.values, *held.values),
    )


def _suggested(one: Terms | Range) -> _Sql:
    scope = one.scope
    if scope.property in ("value", "score"):
        held = _held_in(one, (f"suggestions.{scope.property}", "'$'"))
    else:
        held = _held(one, f"suggestions.{_column_of_suggestion(scope)}")
    return _Sql(
        "EXISTS (SELECT 1 FROM suggestions JOIN questions ON questions.id = suggestions.question_id "
        f"WHERE suggestions.record_id = records.id AND questions.name = ? AND {held.text})",
        (scope.name, *held.values),
    )


def _answered(one: Terms | Range) -> _Sql:
    """By the status of answers: pending means that there is none, by that user or by anyone."""
    if isinstance(one, Range):
        raise BadSearch("the status of answers has no range")
    user = one.scope.user
    mine = _Sql(" AND responses.user_id = ?", (user,)) if user else _Sql("")
    there = "(SELECT 1 FROM responses WHERE responses.record_id = records.id" + mine.text
    parts: list[_Sql] = []
    given = [value for value in one.values if value != "pending"]
    if len(given) < len(one.values):
        parts.append(_Sql(f"NOT EXISTS {there})", mine.values))
    if given:
        places = ", ".join("?" * len(given))
        parts.append(_Sql(f"EXISTS {there} AND responses.status IN ({places}))", (*mine.values, *given)))
    if not parts:
        return _Sql("1")
    return _Sql(
        f"({' OR '.join(part.text for part in parts)})", tuple(value for part in parts for value in part.values)
    )


def _held(one: Terms | Range, column: str, *, date: bool = False, identifier: bool = False) -> _Sql:
    """A condition on a column that holds one text."""
    if isinstance(one, Terms):
        values = [_date(value) if date else _identifier(value) if identifier else value for value in one.values]
        return _Sql(f"{column} IN ({', '.join('?' * len(values))})", tuple(values))
    bounds = [(">=", one.ge, False), ("<=", one.le, True)]
    given = [(sign, bound, last) for sign, bound, last in bounds if bound is not None]
    return _Sql(
        " AND ".join(f"{column} {sign} ?" for sign, _, _ in given) or "1",
        tuple(_date(bound, last=last) if date else str(bound) for _, bound, last in given),
    )


def _held_in(one: Terms | Range, at: tuple[str, str]) -> _Sql:
    """A condition on a place in JSON that holds a value or a list of values, of which one is enough."""
    column, path = at
    if isinstance(one, Terms):
        values = tuple(reading for value in one.values for reading in _readings(value))
        condition = f"IN ({', '.join('?' * len(values))})"
        text, bounds = f"{{}} {condition}", values
    else:
        given = [(sign, _number(bound)) for sign, bound in ((">=", one.ge), ("<=", one.le)) if bound is not None]
        # Numbers only: in SQLite every text is greater than every number.
        text = " AND ".join(["typeof({}) IN ('integer', 'real')", *(f"{{}} {sign} ?" for sign, _ in given)])
        bounds = tuple(bound for _, bound in given)
    single = text.replace("{}", f"json_extract({column}, {path})")
    several = text.replace("{}", "held.value")
    return _Sql(
        f"(CASE json_type({column}, {path}) WHEN 'array' THEN EXISTS "
        f"(SELECT 1 FROM json_each({column}, {path}) AS held WHERE {several}) ELSE {single} END)",
        bounds + bounds,
    )


def _order(one: Order) -> _Sql:
    scope = one.scope
    direction = "DESC" if one.descending else "ASC"
    best = "max" if one.descending else "min"
    if scope.of == "record":
        _known(scope.name)
        found = _Sql(f"records.{scope.name}")
    elif scope.of == "metadata":
        found = _Sql(_best(best, _at("records.metadata", scope.name)))
    elif scope.of == "suggestion":
        if scope.property in ("value", "score"):
            value = _best(best, (f"suggestions.{scope.property}", "'$'"))
        else:
            value = f"suggestions.{_column_of_suggestion(scope)}"
        found = _Sql(
            f"(SELECT {value} FROM suggestions JOIN questions ON questions.id = suggestions.question_id "
            "WHERE suggestions.record_id = records.id AND questions.name = ?)",
            (scope.name,),
        )
    else:
        column, path = _at('responses."values"', scope.name, "value")
        held = f"json_extract({column}, {path})"
        answer = f"CASE typeof(min({held})) WHEN 'text' THEN {best}({held}) ELSE avg({held}) END"
        value = answer if scope.name else f"{best}(responses.status)"
        mine = " AND responses.user_id = ?" if scope.user else ""
        found = _Sql(
            f"(SELECT {value} FROM responses WHERE responses.record_id = records.id{mine})",
            (scope.user,) if scope.user else (),
        )
    return _Sql(f"{found.text} {direction} NULLS LAST", found.values)


def _best(best: str, at: tuple[str, str]) -> str:
    column, path = at
    return f"(SELECT {best}(held.value) FROM json_each({column}, {path}) AS held)"


def _each(at: tuple[str, str]) -> str:
    return f"json_each({at[0]}, {at[1]})"


def _at(column: str, *keys: str) -> tuple[str, str]:
    """A column of JSON and the path in it as SQL: the one piece of it that is not ours, hence quoted.

    Keys are written as Argilla's JSON has them, other letters than ASCII as \\u…: older SQLite compares the bytes.
    """
    if any('"' in key for key in keys):
        raise BadSearch("a name with a quotation mark in it cannot be searched by")
    path = "$" + "".join("." + json.dumps(key) for key in keys)
    return column, "'" + path.replace("'", "''") + "'"


def _known(name: str) -> None:
    if name not in RECORD_COLUMNS:
        raise BadSearch(f"a record has no {name!r} to filter or sort by")


def _column_of_suggestion(scope: Scope) -> str:
    if scope.property not in ("agent", "type"):
        raise BadSearch(f"a suggestion has no {scope.property!r}")
    return scope.property


def _readings(value: str) -> list[Any]:
    """A filter's value as text, and as a number where it is one: filters come as text, JSON holds both."""
    readings: list[Any] = [value]
    for read in (int, float):
        try:
            number = read(value)
        except ValueError:
            continue
        if abs(number) < 2**63 and number == number:
            readings.append(number)
            break
    return readings


def _number(bound: float | str) -> float:
    try:
        return float(bound)
    except ValueError:
        raise BadSearch(f"{bound!r} is no number") from None


def _identifier(value: str) -> str:
    try:
        return UUID(value).hex
    except ValueError:
        return value


def _date(bound: float | str, *, last: bool = False) -> str:
    """A moment as the tables write it, in UTC; a day without a time, as the last moment of it if `last`."""
    try:
        if isinstance(bound, float | int) or (bound.isdigit() and len(bound) > 8):
            moment = datetime.fromtimestamp(float(bound) / 1000, UTC)
        else:
            moment = datetime.fromisoformat(bound)
            if last and len(bound.strip()) <= 10:
                moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
    except (ValueError, OverflowError, OSError):
        raise BadSearch(f"{bound!r} is no date") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(" ", "microseconds")
