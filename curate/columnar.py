"""Reading blocks of plain JSON lines by whole columns: the same rows as line by line, several times faster.

A block is read so only if every line of it is one object with the same fields, in one of the two plainest shapes that
rows come in: a few texts, or a list of plain messages. Anything else in a block sends the whole block to the way line
by line. A test holds the two ways together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from curate.arrays import array, lists, same
from curate.files import MAX_ROW_BYTES, InputFile, LineBlock
from schemas.formats import NOTES, Plan, looks_inside
from schemas.rows import columns, content_columns, content_digest
from schemas.turns import ROLES

if TYPE_CHECKING:
    from curate.read import Repeats

FLAT = {"alpaca": ("instruction", "output", "input", "system"), "prompt_completion_text": ("prompt", "completion")}
"""Formats whose rows are plain texts, and those of their fields that may occur."""

LISTS = {"sharegpt": ("conversations", "from", "value"), "messages": ("messages", "role", "content")}
"""Formats whose rows are one list of plain messages: the list, the speaker and what was said."""

_PLAIN = frozenset({str, int, bool})
_SPACE = np.frombuffer(b" \t\r", dtype=np.uint8)
_SPACE_OR_QUOTE = np.frombuffer(b' \t\r"', dtype=np.uint8)

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Layout:
    """The fields that plain rows of a file have."""

    plan: Plan
    keys: tuple[str, ...]
    types: tuple[type, ...]

    @staticmethod
    def of(plan: Plan, row: dict[str, Any]) -> Layout | None:
        """The layout of rows like this one, or None if they are not plain."""
        name = plan.format.name
        known = FLAT.get(name) or LISTS.get(name, ())[:1]
        names = {name for field, aliases in plan.format.fields.items() for name in (field, *aliases)}
        fields = {field for field, _ in plan.places}
        plain = (
            fields.issuperset(plan.format.required)
            and fields.issubset(known)
            and not any(key == NOTES or looks_inside(key) or key.strip().lower() in names for key in plan.rest)
        )
        return Layout(plan, tuple(row), tuple(map(type, row.values()))) if plain else None

    def frame(
        self, block: LineBlock, file: InputFile, task: str | None, repeats: Repeats | None
    ) -> pl.DataFrame | None:
        """The block's rows as a frame of canonical columns, or None if one of them is not plain."""
        from curate.read import frame_of

        rows = self._parsed(block)
        if rows is None:
            return None
        rest = {key: [row[key] for row in rows] for key in self.plan.rest}
        own = {name: [row[key] for row in rows] for name, key in self.plan.own}
        expected = dict(zip(self.keys, self.types, strict=True))
        if not all(expected[key] in _PLAIN and set(map(type, rest[key])) == {expected[key]} for key in rest):
            return None  # a value of another type may make another format of the row
        if not all(set(map(type, values)) == {str} for values in own.values()):
            return None
        own = {name: [value or None for value in values] for name, values in own.items()}
        read = self._flat(rows) if self.plan.format.name in FLAT else self._lists(rows)
        if read is None:
            return None
        contents, notes, messages, nested = read
        if not _no_key_twice(block.data, len(self.keys) * len(rows) + nested):
            return None
        kind, types = self.plan.format.kind, columns(self.plan.format.kind)
        empty = {name: same(None, types[name], len(rows)) for name in content_columns(kind) if name != "messages"}
        return frame_of(
            kind,
            file,
            digests=[content_digest(content, nulls=False) for content in contents],
            repeats=repeats,
            lines=np.arange(block.first_line, block.first_line + len(rows)),
            parts=None,
            extras=_extras(rest, notes, len(rows)),
            external_ids=own.get("id"),
            tasks=[one or task for one in own["task"]] if "task" in own else task,
            languages=own.get("lang"),
            splits=own.get("split"),
            content=empty | {"messages": messages},
        )

    def _parsed(self, block: LineBlock) -> Rows | None:
        """The rows, if there is one in each line, each with the fields expected in the order expected."""
        data = block.data.removesuffix(b"\n")
        ends = data.count(b"\n")
        if (
            block.rejects
            or data[:1] != b"{"
            or data[-1:] != b"}"
            or data.count(b"}\n{") != ends
            or len(data) > MAX_ROW_BYTES
        ):
            return None
        try:
            rows: Rows = orjson.loads(b"[" + data.replace(b"\n", b",\n") + b"]")
        except orjson.JSONDecodeError:
            return None
        if len(rows) != ends + 1 or list(map(tuple, rows)).count(self.keys) != len(rows):
            return None
        return rows

    def _flat(self, rows: Rows) -> Any:
        """Contents, notes, messages and how many keys there are below the rows' own; None if a row is not plain."""
        places = dict(self.plan.places)
        asked, answers = ([row[places[name]] for row in rows] for name in self.plan.format.required)
        if set(map(type, asked)) != {str} or set(map(type, answers)) != {str}:
            return None
        if "system" in places and any(row[places["system"]] for row in rows):
            return None
        notes: list[Any] | None = None
        if "input" in places:
            given = [row[places["input"]] for row in rows]
            if not {str, type(None)}.issuperset(map(type, given)):
                return None
            if any(given):
                notes = [
                    {"instruction_chars": len(ask)} if more else None for ask, more in zip(asked, given, strict=True)
                ]
                asked = [f"{ask}\n{more}" if more else ask for ask, more in zip(asked, given, strict=True)]
        contents = [
            {"messages": [{"content": ask, "role": "user"}, {"content": answer, "role": "assistant"}]}
            for ask, answer in zip(asked, answers, strict=True)
        ]
        said: list[str] = [""] * (2 * len(rows))
        said[::2], said[1::2] = asked, answers
        offsets = np.arange(0, 2 * len(rows) + 1, 2)
        return contents, notes, plain_messages(["user", "assistant"] * len(rows), said, offsets), 0

    def _lists(self, rows: Rows) -> Any:
        """See `_flat`."""
        name, speaker, said = LISTS[self.plan.format.name]
        key = dict(self.plan.places)[name]
        lists = [row[key] for row in rows]
        if set(map(type, lists)) != {list} or not all(lists):
            return None
        flat = [turn for turns in lists for turn in turns]
        if set(map(type, flat)) != {dict} or set(map(len, flat)) != {2}:
            return None
        try:
            roles = [ROLES.get(turn[speaker]) for turn in flat]
            words = [turn[said] for turn in flat]
        except (KeyError, TypeError):
            return None
        if None in roles or set(map(type, words)) != {str}:
            return None
        turns = [{"content": word, "role": role} for word, role in zip(words, roles, strict=True)]
        ends = np.concatenate([[0], np.cumsum([len(one) for one in lists])])
        places = ends.tolist()
        contents = [{"messages": turns[places[number] : places[number + 1]]} for number in range(len(rows))]
        return contents, None, plain_messages(roles, words, ends), 2 * len(flat)


def _no_key_twice(data: bytes, keys: int) -> bool:
    """Whether there are just as many keys in some JSON as were read from it; a key that occurs twice is read once.

    A key's quotation mark stands before a colon. In a text that mark would be escaped, so that only a backslash at the
    end of a key could deceive; then, and where space stands before a colon, the answer is no.
    """
    codes = np.frombuffer(data, dtype=np.uint8)
    colons = np.flatnonzero(codes == ord(":"))
    before, further = codes[colons - 1], codes[colons - 2]
    quoted = before == ord('"')
    escaped = quoted & (further == ord("\\"))
    spaced = np.isin(before, _SPACE) & np.isin(further, _SPACE_OR_QUOTE)
    if spaced.any() or (escaped.any() and b'\\\\"' in data):
        return False
    return int(quoted.sum() - escaped.sum()) == keys


def _extras(rest: dict[str, list[Any]], notes: list[Any] | None, count: int) -> list[str | None] | None:
    """`extra` of each row, as line by line."""
    if not rest and notes is None:
        return None
    from curate.read import EXTRA_OPTIONS

    names = list(rest)
    rows: Rows = [dict(zip(names, values, strict=True)) for values in zip(*rest.values(), strict=True)] if rest else []
    if notes is not None:
        rows = rows or [{} for _ in range(count)]
        for row, note in zip(rows, notes, strict=True):
            if note is not None:
                row[NOTES] = note
    return [orjson.dumps(row, option=EXTRA_OPTIONS).decode() if row else None for row in rows]


def plain_messages(roles: list[Any] | pl.Series, contents: list[str] | pl.Series, offsets: Any) -> pa.Array:
    """Plain messages as an array of lists, from their parts laid out flat and where each row's begin."""
    message = columns("chat")["messages"]
    assert isinstance(message, pl.List) and isinstance(message.inner, pl.Struct)
    given = {"role": array(roles, pl.String), "content": array(contents, pl.String)}
    arrays = [
        given[one.name] if one.name in given else same(None, cast(pl.DataType, one.dtype), len(roles))
        for one in message.inner.fields
    ]
    return lists(offsets, pa.StructArray.from_arrays(arrays, [one.name for one in message.inner.fields]))
