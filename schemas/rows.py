"""Row kinds: what a row of each kind holds, as classes from which polars columns and JSON Schemas are derived."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from hashlib import sha256
from typing import Annotated, Any, Literal

import numpy as np
import orjson
import polars as pl
from pydantic import Field

ID_BYTES = 16
"""Length of row ids and content hashes: 128 bits, written as 32 hexadecimal digits."""

Kind = Literal["chat", "candidates", "preference", "text", "label", "score"]
"""The kinds of row; a dataset holds one."""

Role = Literal["system", "user", "assistant", "tool"]
"""Who speaks in a message."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row came from."""

    file: Annotated[str | None, Field(description="path of the file, relative to the folder that was imported")]
    line: Annotated[int | None, Field(description="line in the file, from 1; row number where a file has no lines")]
    part: Annotated[str | None, Field(description="which part of the file: a sheet, a function, a heading path")]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. All but role and content may be null."""

    role: Annotated[str, Field(description="system, user, assistant or tool")]
    content: Annotated[str | None, Field(description="what was said; null where a turn only calls tools")]
    name: Annotated[str | None, Field(description="name of the speaker or of the tool that answers")] = None
    tool_calls: Annotated[str | None, Field(description="calls the assistant makes: a JSON list in OpenAI's form")] = (
        None
    )
    tool_call_id: Annotated[str | None, Field(description="which call a tool's answer belongs to")] = None
    reasoning: Annotated[str | None, Field(description="the assistant's reasoning, kept apart from its answer")] = None
    weight: Annotated[float | None, Field(description="weight of this turn in the loss; null means by default")] = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One of several answers to a prompt."""

    messages: Annotated[list[Message], Field(description="the answer's turns")]
    teacher: Annotated[str | None, Field(description="the model or person that gave it")] = None
    rank: Annotated[int | None, Field(description="place among the answers, 1 is best")] = None
    score: Annotated[float | None, Field(description="quality score, more is better")] = None


@dataclass(frozen=True, slots=True)
class Row:
    """What a row of every kind has."""

    id: Annotated[str, Field(description="128-bit hash of source, content as imported and occurrence; stable for life")]
    content_hash: Annotated[str, Field(description="128-bit hash of what the row says now")]
    copy: Annotated[int, Field(description="number of this repeat of the row in a mix, from 0")]
    external_id: Annotated[str | None, Field(description="the user's own id of the row")]
    source: Annotated[str, Field(description="key into the manifest's sources table")]
    task: Annotated[str | None, Field(description="what the row teaches")]
    lang: Annotated[str | None, Field(description="language code; zh-en is mixed, code is program text")]
    split: Annotated[str | None, Field(description="train, validation or test")]
    origin: Annotated[Origin, Field(description="where the row came from")]
    parents: Annotated[list[str], Field(description="ids of the rows this one was made from")]
    extra: Annotated[str | None, Field(description="input fields that no column holds: a JSON object")]


@dataclass(frozen=True, slots=True)
class Chat(Row):
    """A conversation to learn from."""

    messages: Annotated[list[Message], Field(description="the turns in order")]
    tools: Annotated[str | None, Field(description="tools the assistant may call: a JSON list")] = None
    verdict: Annotated[bool | None, Field(description="whether the last answer is desirable (KTO)")] = None


@dataclass(frozen=True, slots=True)
class Candidates(Row):
    """One prompt with several answers, ranked or scored."""

    prompt: Annotated[list[Message], Field(description="the turns before the answers")]
    answers: Annotated[list[Answer], Field(description="the answers")]
    tools: Annotated[str | None, Field(description="tools the assistant may call: a JSON list")] = None


@dataclass(frozen=True, slots=True)
class Preference(Row):
    """One prompt with a better and a worse answer."""

    prompt: Annotated[list[Message], Field(description="the turns before the answers")]
    chosen: Annotated[list[Message], Field(description="the better answer's turns")]
    rejected: Annotated[list[Message], Field(description="the worse answer's turns")]
    tools: Annotated[str | None, Field(description="tools the assistant may call: a JSON list")] = None
    margin: Annotated[float | None, Field(description="how much better the chosen answer is")] = None
    weight: Annotated[float | None, Field(description="weight of this pair in the loss")] = None
    raters: Annotated[int | None, Field(description="how many people judged the pair")] = None
    agreement: Annotated[float | None, Field(description="share of raters who preferred the chosen answer, 0 to 1")] = (
        None
    )


@dataclass(frozen=True, slots=True)
class Text(Row):
    """Plain text, as for continued pre-training."""

    text: Annotated[str, Field(description="the text")]
    title: Annotated[str | None, Field(description="its title")] = None
    path: Annotated[str | None, Field(description="its path in the place it came from")] = None


@dataclass(frozen=True, slots=True)
class Label(Row):
    """An answer that a person or model gave about a row."""

    row_id: Annotated[str, Field(description="id of the row it is about")]
    row_hash: Annotated[str, Field(description="content_hash of that row when the answer was given")]
    question: Annotated[str, Field(description="what was asked")]
    value: Annotated[str, Field(description="the answer, as JSON")]
    rater: Annotated[str | None, Field(description="who answered, by a name that says nothing")] = None
    seconds: Annotated[float | None, Field(description="how long it took, where that is known")] = None
    shown: Annotated[str | None, Field(description="places of the answers shown, in that order: a JSON list")] = None
    round: Annotated[int | None, Field(description="which round of review it belongs to, from 1")] = None


@dataclass(frozen=True, slots=True)
class Score(Row):
    """A number measured for a row."""

    row_id: Annotated[str, Field(description="id of the row it is about")]
    row_hash: Annotated[str, Field(description="content_hash of that row when it was measured")]
    name: Annotated[str, Field(description="what was measured")]
    value: Annotated[float, Field(description="the measurement")]


KINDS: dict[str, type[Row]] = {
    "chat": Chat,
    "candidates": Candidates,
    "preference": Preference,
    "text": Text,
    "label": Label,
    "score": Score,
}


def polars_type(annotation: Any) -> pl.DataType:
    """The polars type of a column annotated so. Null is always allowed."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return polars_type(typing.get_args(annotation)[0])
    if origin in (types.UnionType, typing.Union):
        return polars_type(next(one for one in typing.get_args(annotation) if one is not type(None)))
    if origin is list:
        return pl.List(polars_type(typing.get_args(annotation)[0]))
    if is_dataclass(annotation) and isinstance(annotation, type):
        hints = typing.get_type_hints(annotation)
        return pl.Struct({field.name: polars_type(hints[field.name]) for field in fields(annotation)})
    simple: dict[Any, pl.DataType] = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean()}
    return simple[annotation]


@cache
def columns(kind: str) -> dict[str, pl.DataType]:
    """Canonical columns of a kind of row, in order: name to polars type."""
    cls = KINDS[kind]
    hints = typing.get_type_hints(cls)
    return {field.name: polars_type(hints[field.name]) for field in fields(cls)}


@cache
def common_columns() -> tuple[str, ...]:
    """Names of the columns that every kind has."""
    return tuple(field.name for field in fields(Row))


@cache
def content_columns(kind: str) -> tuple[str, ...]:
    """Names of the columns that say what a row says: the kind's own, in order."""
    return tuple(name for name in columns(kind) if name not in common_columns())


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def content_digest(content: Mapping[str, Any], *, nulls: bool = True, ordered: bool = False) -> bytes:
    """16-byte digest of a row's content columns as JSON with sorted keys. Nulls and key order do not count.

    `nulls=False` says that there are none in it at any depth, and `ordered` that all keys are in order, which saves
    looking and sorting. Surrogate code points cannot occur: importers reject them.
    """
    encoded = orjson.dumps(
        _without_nulls(dict(content)) if nulls else content, option=None if ordered else orjson.OPT_SORT_KEYS
    )
    return digest(encoded)


def digest(data: bytes) -> bytes:
    """The first 16 bytes of SHA-256, which processors compute themselves: 1.5 times as fast as BLAKE2b."""
    return sha256(data).digest()[:ID_BYTES]


def row_ids(source: str, digests: bytes, occurrences: np.ndarray[Any, np.dtype[np.int64]]) -> bytes:
    """Ids of rows of one source, 16 bytes each, as `digests` has the rows' content digests. `occurrences` says which
    repeat of its content in that source each row is.

    An id is the content's digest XOR that of the source's name and the occurrence: as hard to bring to a
    collision as the digest itself, and made for many rows at once.
    """
    which, places = np.unique(occurrences, return_inverse=True)
    salts = [digest(b"%b\x00%d" % (source.encode(), occurrence)) for occurrence in which.tolist()]
    salt = np.frombuffer(b"".join(salts), dtype=np.uint64).reshape(-1, 2)[places]
    return (np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2) ^ salt).tobytes()
