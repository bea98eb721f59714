"""Reading blocks of plain JSON lines by whole columns: the same rows as line by line, several times faster.

A block is read so only if every line of it is one object with the same fields, in one of the two plainest shapes that
rows come in: a few texts, or a list of plain messages. Anything else in a block sends the whole block to the way line
by line. A test holds the two ways together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.arrays import array, lists, same
from curate.files import MAX_ROW_BYTES, InputFile, LineBlock
from curate.slices import Field, encoded, fields, joined
from schemas.formats import NOTES, Plan, looks_inside
from schemas.rows import ID_BYTES, columns, content_columns, digest
from schemas.turns import ROLES

if TYPE_CHECKING:
    from curate.read import Repeats

FLAT = {
    "alpaca": ("instruction", "output", "input", "system"),
    "prompt_completion_text": ("prompt", "completion"),
    "text": ("text",),
}
"""Formats whose rows are plain texts, and those of their fields that may occur."""

LISTS = {"sharegpt": ("conversations", "from", "value"), "messages": ("messages", "role", "content")}
"""Formats whose rows are one list of plain messages: the list, the speaker and what was said."""

_PLAIN = frozenset({str, int, bool})
_SPACE = np.frombuffer(b" \t\r", dtype=np.uint8)
_SPACE_OR_QUOTE = np.frombuffer(b' \t\r"', dtype=np.uint8)

_TEXT = '{"text":"'
_BEGIN = '{"messages":[{"content":"'
_TURN = '","role":"user"},{"content":"'
_END = '","role":"assistant"}]}'

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Parts:
    """What rows are made of."""

    digests: bytes
    """Content digests, 16 bytes each."""
    content: dict[str, pa.Array]
    """The content columns that are not null."""
    own: dict[str, pl.Series]
    extras: pl.Series | None


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

        parts = self._sliced(block) or self._walked(block)
        if parts is None:
            return None
        kind, types = self.plan.format.kind, columns(self.plan.format.kind)
        count = len(parts.digests) // ID_BYTES
        empty = {name: same(None, types[name], count) for name in content_columns(kind) if name not in parts.content}
        tasks = parts.own.get("task")
        return frame_of(
            kind,
            file,
            digests=parts.digests,
            repeats=repeats,
            lines=np.arange(block.first_line, block.first_line + count),
            parts=None,
            extras=parts.extras,
            external_ids=parts.own.get("id"),
            tasks=task if tasks is None else tasks if task is None else tasks.fill_null(task),
            languages=parts.own.get("lang"),
            splits=parts.own.get("split"),
            content=empty | parts.content,
        )

    def _sliced(self, block: LineBlock) -> Parts | None:
        """The block's rows out of the bytes they stand in, or None."""
        data = block.data.removesuffix(b"\n")
        if self.plan.format.name not in FLAT or block.rejects or not data or len(data) > MAX_ROW_BYTES:
            return None
        found = fields(data, self.keys, self.types)
        if found is None:
            return None
        places = dict(self.plan.places)
        given = {name: found[places[name]] for name in places}
        if any(field.text is None for field in (*given.values(), *(found[key] for _, key in self.plan.own))):
            return None
        if "system" in given and pc.any(pc.not_equal(given["system"].json, "")).as_py():
            return None
        own = {name: _or_null(pl.Series(found[key].text)) for name, key in self.plan.own}
        rest = {key: found[key] for key in self.plan.rest}
        if self.plan.format.name == "text":
            text = given["text"]
            texts = joined(_TEXT, text.json, '"}').cast(pa.large_binary()).to_pylist()
            extras = self._written(rest, None, len(texts))
            return Parts(b"".join(map(digest, texts)), {"text": text.text}, own, extras)
        asked, answers = (given[name] for name in self.plan.format.required)
        count = len(asked.json)
        words, json, notes = asked.text, asked.json, None
        if "input" in given:
            more = pc.not_equal(given["input"].json, "")
            if pc.any(more).as_py():
                notes = pc.if_else(more, pc.cast(pc.utf8_length(words), pa.large_string()), None)
                words = pc.if_else(more, joined(words, "\n", given["input"].text), words)
                json = pc.if_else(more, joined(json, "\\n", given["input"].json), json)
        rows = joined(_BEGIN, json, _TURN, answers.json, _END).cast(pa.large_binary()).to_pylist()
        turns = pa.concat_arrays([words, answers.text])
        by_row = np.arange(2 * count).reshape(2, count).T.ravel()
        return Parts(
            digests=b"".join(map(digest, rows)),
            content={
                "messages": plain_messages(
                    pl.Series(["user", "assistant"] * count, dtype=pl.String),
                    pl.Series(turns.take(array(by_row, pl.Int64))),
                    np.arange(0, 2 * count + 1, 2),
                )
            },
            own=own,
            extras=self._written(rest, notes, count),
        )

    def _written(self, rest: dict[str, Field], notes: pa.Array | None, count: int) -> pl.Series | None:
        """`extra` of each row, from the fields that are left and how long its instruction is, if that is noted."""
        texts = [(key, '"' if field.text is not None else "", field.json) for key, field in rest.items()]

        def written(members: list[tuple[str, str, pa.Array]]) -> pa.Array:
            parts: list[pa.Array | str] = []
            for key, mark, value in sorted(members, key=lambda one: one[0].encode()):
                parts += [f"{',' if parts else '{'}{orjson.dumps(key).decode()}:{mark}", value, mark]
            return joined(*parts, "}") if parts else pa.nulls(count, pa.large_string())

        if not rest and notes is None:
            return None
        plain = written(texts)
        if notes is None:
            return pl.Series(plain)
        noted = written([*texts, (NOTES, "", joined('{"instruction_chars":', notes, "}"))])
        return pl.Series(pc.if_else(pc.is_valid(notes), noted, plain))

    def _walked(self, block: LineBlock) -> Parts | None:
        """The block's rows by parsing them, or None."""
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
        if self.plan.format.name == "text":
            words = [row[dict(self.plan.places)["text"]] for row in rows]
            if set(map(type, words)) != {str}:
                return None
            digests, notes, nested = _text_digests(words), None, 0
            content = {"text": array(words, pl.String)}
        else:
            read = self._flat(rows) if self.plan.format.name in FLAT else self._lists(rows)
            if read is None:
                return None
            notes, roles, words, ends, nested = read
            digests = _digests(roles, words, ends)
            turns = (pl.Series(roles, dtype=pl.String), pl.Series(words, dtype=pl.String))
            content = {"messages": plain_messages(*turns, ends)}
        if digests is None or not _no_key_twice(block.data, len(self.keys) * len(rows) + nested):
            return None
        return Parts(
            digests=digests,
            content=content,
            own={name: _or_null(pl.Series(values, dtype=pl.String)) for name, values in own.items()},
            extras=_extras(rest, notes, len(rows)),
        )

    def _parsed(self, block: LineBlock) -> Rows | None:
        """The rows, if there is one in each line, each with the fields expected in the order expected."""
        array = bytearray(b"[%b]" % block.data.removesuffix(b"\n"))
        if block.rejects or array[1:2] != b"{" or array[-2:-1] != b"}" or len(array) > MAX_ROW_BYTES:
            return None
        codes = np.frombuffer(array, dtype=np.uint8)
        ends = np.flatnonzero(codes == ord("\n"))
        if (codes[ends - 1] != ord("}")).any() or (codes[ends + 1] != ord("{")).any():
            return None
        codes[ends] = ord(",")
        try:
            rows: Rows = orjson.loads(array)
        except orjson.JSONDecodeError:
            return None
        if len(rows) != len(ends) + 1 or list(map(tuple, rows)).count(self.keys) != len(rows):
            return None
        return rows

    def _flat(self, rows: Rows) -> Any:
        """Notes; roles and contents of the turns, laid out flat, and where each row's begin; how many keys there are
        below the rows' own. None if a row is not plain."""
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
        said: list[str] = [""] * (2 * len(rows))
        said[::2], said[1::2] = asked, answers
        return notes, ["user", "assistant"] * len(rows), said, np.arange(0, 2 * len(rows) + 1, 2), 0

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
        return None, roles, words, np.concatenate([[0], np.cumsum([len(one) for one in lists])]), 2 * len(flat)


def _digests(roles: list[str], words: list[str], ends: Any) -> bytes | None:
    """Each row's `content_digest`, from its turns; None where that cannot be told (see `encoded`)."""
    texts = encoded(words)
    if texts is None:
        return None
    begin = b'{"messages":[{"content":"'
    between = {role: f'","role":"{role}"}},{{"content":"'.encode() for role in set(roles)}
    last = {role: f'","role":"{role}"}}]}}'.encode() for role in set(roles)}
    parts = [b""] * (2 * len(words))
    parts[::2], parts[1::2] = texts, [between[role] for role in roles]
    places = ends.tolist()
    for end in places[1:]:
        parts[2 * end - 1] = last[roles[end - 1]]
    rows = [parts[2 * first : 2 * end] for first, end in pairwise(places)]
    return b"".join([digest(b"".join([begin, *row])) for row in rows])


def _text_digests(texts: list[str]) -> bytes | None:
    """Each plain text's `content_digest`; None where that cannot be told."""
    written = encoded(texts)
    return None if written is None else b"".join([digest(_TEXT.encode() + text + b'"}') for text in written])


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


def _or_null(texts: pl.Series) -> pl.Series:
    return texts.set(texts == "", None)


def _extras(rest: dict[str, list[Any]], notes: list[Any] | None, count: int) -> pl.Series | None:
    """`extra` of each row, as line by line."""
    if not rest and notes is None:
        return None
    from curate.read import EXTRA_OPTIONS

    names = list(rest)
    options = EXTRA_OPTIONS if notes is not None or names != sorted(names) else None  # sorting takes its time
    rows: Rows = [dict(zip(names, values, strict=True)) for values in zip(*rest.values(), strict=True)] if rest else []
    if notes is not None:
        rows = rows or [{} for _ in range(count)]
        for row, note in zip(rows, notes, strict=True):
            if note is not None:
                row[NOTES] = note
    written = [orjson.dumps(row, option=options).decode() if row else None for row in rows]
    return pl.Series(written, dtype=pl.String)


def plain_messages(roles: pl.Series, contents: pl.Series, offsets: Any) -> pa.Array:
    """Plain messages as an array of lists, from their parts laid out flat and where each row's begin."""
    message = columns("chat")["messages"]
    assert isinstance(message, pl.List) and isinstance(message.inner, pl.Struct)
    given = {"role": array(roles, pl.String), "content": array(contents, pl.String)}
    arrays = [
        given[one.name] if one.name in given else same(None, cast(pl.DataType, one.dtype), len(roles))
        for one in message.inner.fields
    ]
    return lists(offsets, pa.StructArray.from_arrays(arrays, [one.name for one in message.inner.fields]))
