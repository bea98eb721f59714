"""The fields of plain JSON lines as slices of the bytes they stand in: no object is made for a value.

Only for lines that are written alike: the same keys in the same order, the same spacing, values that are texts, whole
numbers, true or false. For all others the answer is None, and they are parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.arrays import array

Places = np.ndarray[Any, np.dtype[np.int64]]
Codes = np.ndarray[Any, np.dtype[np.uint8]]

_QUOTE, _BACKSLASH, _NEWLINE = b'"\\\n'
_BACKSLASHES = 32
_TOKENS = {int: r"^(0|-?[1-9][0-9]{0,17})$", bool: "^(true|false)$"}


@dataclass(frozen=True)
class Field:
    """The values of one field, a value for each row."""

    json: pa.Array
    """Each value's JSON as orjson writes it; of a text, without its quotation marks."""
    text: pa.Array | None
    """The texts themselves; None where the values are none."""


def fields(data: bytes, keys: Sequence[str], types: Sequence[type]) -> dict[str, Field] | None:
    """The fields of the rows in some lines, or None if the lines are not plain and written alike. `data` has no line
    end at its end."""
    codes = np.frombuffer(data, dtype=np.uint8)
    ends = np.append(np.flatnonzero(codes == _NEWLINE), len(codes))
    if np.count_nonzero(codes < 32) != len(ends) - 1:
        return None  # a control character in a text is not valid, and one between texts is not plain
    quotes = _quotes(codes)
    if quotes is None or len(quotes) != len(ends) * 2 * (len(keys) + sum(one is str for one in types)):
        return None
    marks = quotes.reshape(len(ends), -1).T
    at = np.append(0, ends[:-1] + 1)
    cut = []
    column = 0
    for place, (key, kind) in enumerate(zip(keys, types, strict=True)):
        name = orjson.dumps(key) + b":"
        begin = b"{" if place == 0 else _same(codes, at, marks[column], (b",", b", "))
        if begin is None or not _all(codes, at, begin + name):
            return None
        at = at + len(begin + name)
        column += 2
        if kind is str:
            space = _same(codes, at, marks[column], (b"", b" "))
            if space is None:
                return None
            cut.append((marks[column] + 1, marks[column + 1]))
            at = marks[column + 1] + 1
            column += 2
        else:
            space = b" " if codes[at[0] : at[0] + 1] == ord(" ") else b""
            end = ends - 1 if place == len(keys) - 1 else _comma(codes, marks[column])
            if end is None or not _all(codes, at, space) or (end < at + len(space)).any():
                return None
            cut.append((at + len(space), end))
            at = end
    if (at != ends - 1).any() or (codes[at] != ord("}")).any():
        return None
    escapes = np.flatnonzero(codes == _BACKSLASH)
    found = {}
    for key, kind, (begins, stops) in zip(keys, types, cut, strict=True):
        escaped = np.searchsorted(escapes, begins) < np.searchsorted(escapes, stops)
        field = _field(_slices(data, begins, stops), kind, escaped)
        if field is None:
            return None
        found[key] = field
    return found


def _quotes(codes: Codes) -> Places | None:
    """Where quotation marks stand that are not escaped."""
    quotes = np.flatnonzero(codes == _QUOTE)
    doubtful = np.flatnonzero(codes[quotes - 1] == _BACKSLASH)
    if not len(doubtful):
        return quotes
    escaped = np.ones(len(doubtful), dtype=bool)
    running = np.arange(len(doubtful))
    for back in range(2, _BACKSLASHES):  # an odd number of backslashes escapes
        running = running[codes[quotes[doubtful[running]] - back] == _BACKSLASH]
        if not len(running):
            return np.delete(quotes, doubtful[escaped])
        escaped[running] = ~escaped[running]
    return None


def _all(codes: Codes, at: Places, text: bytes) -> bool:
    """Whether `text` stands at each of the places."""
    return len(codes) >= at[-1] + len(text) and all((codes[at + n] == code).all() for n, code in enumerate(text))


def _same(codes: Codes, begins: Places, ends: Places, texts: Sequence[bytes]) -> bytes | None:
    """The one of the texts that stands between each pair of places."""
    for text in texts:
        if (ends - begins == len(text)).all() and _all(codes, begins, text):
            return text
    return None


def _comma(codes: Codes, quotes: Places) -> Places | None:
    """Where the comma before each quotation mark stands; there may be a space between, in all rows or in none."""
    for back in (1, 2):
        if (codes[quotes - back] == ord(",")).all():
            return quotes - back if back == 1 or (codes[quotes - 1] == ord(" ")).all() else None
    return None


def _slices(data: bytes, begins: Places, ends: Places) -> pa.Array:
    """The bytes between each pair of places, which are in order and do not overlap."""
    bounds = np.empty(2 * len(begins), dtype=np.int64)
    bounds[::2], bounds[1::2] = begins, ends
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    every = pa.Array.from_buffers(pa.large_string(), len(bounds) - 1, buffers)
    return every.take(array(np.arange(0, len(bounds) - 1, 2), pl.Int64))


def _field(raw: pa.Array, kind: type, escaped: np.ndarray[Any, np.dtype[np.bool_]]) -> Field | None:
    if kind is not str:
        whole = kind in _TOKENS and pc.all(pc.match_substring_regex(raw, _TOKENS[kind])).as_py()
        return Field(raw, None) if whole else None
    try:
        raw.validate(full=True)  # that it is UTF-8
    except pa.ArrowInvalid:
        return None
    if not escaped.any():
        return Field(raw, raw)
    which = array(escaped, pl.Boolean)
    written = raw.filter(which).to_pylist()
    try:
        said = orjson.loads('["' + '","'.join(written) + '"]')
    except orjson.JSONDecodeError:
        return None
    again = encoded(said)
    if again is None or len(said) != len(written):
        return None
    json = pc.replace_with_mask(raw, which, texts([one.decode() for one in again]))
    return Field(json, pc.replace_with_mask(raw, which, texts(said)))


def encoded(values: list[str]) -> list[bytes] | None:
    """Each text as orjson writes it, without its quotation marks; all at once, which is several times faster.

    None where they cannot be told apart again: what stands between two also stands where a text ends in quotation mark
    and comma, behind the backslash that escapes the mark.
    """
    written = orjson.dumps(values)[2:-2]
    found = written.split(b'","')
    return found if len(found) == len(values) and b'\\","' not in written else None


def texts(values: list[str]) -> pa.Array:
    """The texts as an array with 64-bit offsets, which pyarrow's functions take."""
    return array(values, pl.String).cast(pa.large_string())


def joined(*parts: pa.Array | str) -> pa.Array:
    """Texts row by row, put together from arrays and texts that are the same in all rows; at least one is an array."""
    return pc.binary_join_element_wise(
        *(pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts),
        pa.scalar("", pa.large_string()),
    )
