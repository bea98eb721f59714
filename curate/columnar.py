"""Reading blocks of plain JSON lines by whole columns: the same rows as line by line, several times faster.

A block is read so only if Arrow's strict JSON reader finds in it exactly the columns and types that were expected: a
field that is new, of another type, or there twice is an error for it, and the block is then read line by line. What
remains is checked here. A test holds the two ways together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json as pj

from curate.files import MAX_ROW_BYTES, InputFile, LineBlock
from schemas.formats import NOTES, Plan
from schemas.rows import columns, content_columns, content_digest
from schemas.turns import ROLES

if TYPE_CHECKING:
    from curate.read import Repeats

FLAT = {"alpaca": ("instruction", "output", "input", "system"), "prompt_completion_text": ("prompt", "completion")}
"""Formats whose rows are plain texts, and those of their fields that may occur."""

LISTS = {"sharegpt": ("conversations", "from", "value"), "messages": ("messages", "role", "content")}
"""Formats whose rows are one list of plain messages: the list, the speaker and what was said."""

_AHEAD = 2
_PLAIN: dict[type, pa.DataType] = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}


@dataclass(frozen=True)
class Layout:
    """The columns that plain rows of a file have."""

    plan: Plan
    schema: pa.Schema

    @staticmethod
    def of(plan: Plan, row: dict[str, Any]) -> Layout | None:
        """The layout of rows like this one, or None if they are not plain."""
        name = plan.format.name
        fields: list[tuple[str, pa.DataType]] = []
        for field, key in plan.places:
            if name in FLAT and field in FLAT[name]:
                fields.append((key, pa.string()))
            elif name in LISTS and field == LISTS[name][0]:
                _, speaker, said = LISTS[name]
                fields.append((key, pa.list_(pa.struct([(speaker, pa.string()), (said, pa.string())]))))
            else:
                return None
        for key in (*(key for _, key in plan.own), *plan.rest):
            kind = _PLAIN.get(type(row[key]))
            if kind is None or (key not in plan.rest and kind != pa.string()):
                return None
            fields.append((key, kind))
        return Layout(plan, pa.schema(fields)) if all(type(key) is str for key, _ in fields) else None

    def parse(self, block: LineBlock) -> pa.Table | None:
        """The block as a table, or None if it is not exactly so."""
        data = block.data
        if not data or block.rejects or b"\n\n" in data or data[:1] != b"{":
            return None
        body = data.removesuffix(b"\n")
        lines = body.count(b"\n") + 1
        # Each line is one object: it begins with a brace and ends with one, and there are as many rows as lines.
        if body[-1:] != b"}" or body.count(b"}\n{") != lines - 1:
            return None
        try:
            data.decode()
            table = pj.read_json(
                pa.BufferReader(data),
                read_options=pj.ReadOptions(use_threads=False, block_size=max(len(data) + 1, 1 << 16)),
                parse_options=pj.ParseOptions(explicit_schema=self.schema, unexpected_field_behavior="error"),
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        return table if table.num_rows == lines and len(data) <= MAX_ROW_BYTES else None

    def frame(
        self, table: pa.Table, first_line: int, file: InputFile, task: str | None, repeats: Repeats
    ) -> pl.DataFrame | None:
        """The table's rows as a frame of canonical columns, or None if one of them is not plain."""
        from curate.read import frame_of

        texts = {name: table.column(name).combine_chunks() for name in table.column_names}
        own = {key for _, key in self.plan.own}
        beside = [*self.plan.rest, *own]
        # Null and missing look alike in a column; line by line they differ only in `extra`.
        if any(texts[key].null_count for key in beside):
            return None
        read = self._flat(texts) if self.plan.format.name in FLAT else self._lists(texts)
        if read is None:
            return None
        contents, notes, messages = read
        extras = _extras({key: texts[key].to_pylist() for key in self.plan.rest}, notes, table.num_rows)
        values = {name: texts[key].to_pylist() for name, key in self.plan.own}
        tasks: Any = [one or task for one in values["task"]] if "task" in values else task
        kind = self.plan.format.kind
        empty = {
            name: pa.nulls(table.num_rows, _type(dtype))
            for name, dtype in columns(kind).items()
            if name in content_columns(kind)
        }
        return frame_of(
            kind,
            file,
            digests=[content_digest(content, nulls=False) for content in contents],
            repeats=repeats,
            lines=np.arange(first_line, first_line + table.num_rows),
            parts=None,
            extras=extras,
            external_ids=values.get("id"),
            tasks=tasks,
            languages=values.get("lang"),
            splits=values.get("split"),
            content=empty | {"messages": messages},
        )

    def _flat(self, texts: dict[str, pa.Array]) -> Any:
        places = dict(self.plan.places)
        asked_key, answer_key = (places[name] for name in self.plan.format.required)
        if texts[asked_key].null_count or texts[answer_key].null_count:
            return None
        asked, answers = texts[asked_key].to_pylist(), texts[answer_key].to_pylist()
        given = texts[places["input"]].to_pylist() if "input" in places else None
        systems = texts[places["system"]].to_pylist() if "system" in places else None
        if systems is not None and any(systems):
            return None
        notes: list[Any] | None = None
        if given is not None and any(given):
            notes = [{"instruction_chars": len(ask)} if more else None for ask, more in zip(asked, given, strict=True)]
            asked = [f"{ask}\n{more}" if more else ask for ask, more in zip(asked, given, strict=True)]
        contents = [
            {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}
            for ask, answer in zip(asked, answers, strict=True)
        ]
        count = len(asked)
        said: list[str] = [""] * (2 * count)
        said[::2], said[1::2] = asked, answers
        return contents, notes, _messages(["user", "assistant"] * count, said, np.arange(0, 2 * count + 1, 2))

    def _lists(self, texts: dict[str, pa.Array]) -> Any:
        key = dict(self.plan.places)[LISTS[self.plan.format.name][0]]
        _, speaker, said = LISTS[self.plan.format.name]
        lists = texts[key]
        flat = lists.flatten()
        lengths = np.diff(lists.offsets.to_numpy())
        if lists.null_count or flat.null_count or not lengths.all():
            return None
        speakers, contents = flat.field(speaker), flat.field(said)
        if speakers.null_count or contents.null_count:
            return None
        roles = [ROLES.get(name) for name in speakers.to_pylist()]
        if None in roles:
            return None
        words = contents.to_pylist()
        turns = [{"role": role, "content": word} for role, word in zip(roles, words, strict=True)]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ends = offsets.tolist()
        rows = [{"messages": turns[begin:end]} for begin, end in zip(ends, ends[1:], strict=False)]
        return rows, None, _messages(roles, words, offsets)


def _extras(rest: dict[str, list[Any]], notes: list[Any] | None, count: int) -> list[str | None] | None:
    """`extra` of each row, as line by line."""
    if not rest and notes is None:
        return None
    from curate.read import EXTRA_OPTIONS

    names = list(rest)
    rows: list[dict[str, Any]] = (
        [dict(zip(names, values, strict=True)) for values in zip(*rest.values(), strict=True)]
        if rest
        else [{} for _ in range(count)]
    )
    if notes is not None:
        for row, note in zip(rows, notes, strict=True):
            if note is not None:
                row[NOTES] = note
    return [orjson.dumps(row, option=EXTRA_OPTIONS).decode() if row else None for row in rows]


def _messages(roles: list[Any], contents: list[str], offsets: Any) -> pa.Array:
    """Plain messages as an array of lists, from their parts laid out flat and where each row's begin."""
    message = columns("chat")["messages"]
    assert isinstance(message, pl.List) and isinstance(message.inner, pl.Struct)
    given = {"role": pa.array(roles, pa.large_string()), "content": pa.array(contents, pa.large_string())}
    arrays = [
        given[one.name] if one.name in given else pa.nulls(len(roles), _type(one.dtype)) for one in message.inner.fields
    ]
    return pa.LargeListArray.from_arrays(
        offsets, pa.StructArray.from_arrays(arrays, [one.name for one in message.inner.fields])
    )


def _type(dtype: Any) -> pa.DataType:
    from curate.read import _arrow_type

    return _arrow_type(dtype)


def ahead(
    blocks: Iterator[LineBlock], layout: Callable[[], Layout | None]
) -> Iterator[tuple[LineBlock, pa.Table | None]]:
    """Each block with its table, where it is plain; the next blocks are parsed meanwhile in a thread of their own."""
    waiting: deque[tuple[LineBlock, Layout | None, Future[pa.Table | None] | None]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="json") as pool:

        def take() -> tuple[LineBlock, pa.Table | None]:
            block, known, future = waiting.popleft()
            table = future.result() if future is not None else None
            # The layout may have changed since; a table of the old one is no longer what the caller expects.
            return block, table if known == layout() else None

        for block in blocks:
            known = layout()
            future = pool.submit(known.parse, block) if known is not None else None
            waiting.append((block, known, future))
            if len(waiting) > _AHEAD:
                yield take()
        while waiting:
            yield take()
