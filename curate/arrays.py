"""Arrow arrays out of Python values, made by polars: pyarrow's own way imports pandas wherever that is installed, which
costs every command a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa


def array(values: Sequence[Any] | np.ndarray[Any, Any] | pl.Series, dtype: pl.DataType | type[pl.DataType]) -> pa.Array:
    """The values as an array of a plain type. Raises TypeError for other values."""
    series = values if isinstance(values, pl.Series) else pl.Series(values, dtype=dtype, strict=True)
    return series.to_arrow(compat_level=pl.CompatLevel.newest())


def hexadecimal(raw: bytes, width: int) -> pa.Array:
    """Each `width` bytes of `raw` as a string of hexadecimal digits."""
    count = len(raw) // width
    offsets = np.arange(count + 1, dtype=np.int64) * (2 * width)
    return pa.Array.from_buffers(
        pa.large_string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(raw.hex().encode())]
    )


def from_hexadecimal(strings: pl.Series) -> bytes:
    """What `hexadecimal` was made from."""
    return bytes.fromhex("".join(strings.to_list()))


def same(value: Any, dtype: pl.DataType | type[pl.DataType], count: int) -> pa.Array:
    """An array of one value, `count` times."""
    return array(pl.repeat(value, count, dtype=dtype, eager=True), dtype)


def lists(offsets: np.ndarray[Any, Any], values: pa.Array, null: Sequence[bool] | pl.Series | None = None) -> pa.Array:
    """Lists of `values`: the i-th is values[offsets[i]:offsets[i + 1]], or null where `null` says so."""
    mask = array(null, pl.Boolean) if null is not None else None
    return pa.LargeListArray.from_arrays(array(np.asarray(offsets, dtype=np.int64), pl.Int64), values, mask=mask)


def column_array(values: list[Any], dtype: pl.DataType) -> pa.Array:
    """Python values as an array of a canonical column's type. Lists and structs are laid out flat first, which is
    several times faster than having them walked."""
    if isinstance(dtype, pl.List):
        assert isinstance(dtype.inner, pl.DataType)
        offsets = np.zeros(len(values) + 1, dtype=np.int64)
        np.cumsum([0 if value is None else len(value) for value in values], out=offsets[1:])
        flat = [item for value in values if value for item in value]
        null = [value is None for value in values] if None in values else None
        return lists(offsets, column_array(flat, dtype.inner), null)
    if isinstance(dtype, pl.Struct):
        present = set().union(*values) if values else set()
        arrays = []
        for member in dtype.fields:
            assert isinstance(member.dtype, pl.DataType)
            if member.name in present:
                arrays.append(column_array([value.get(member.name) for value in values], member.dtype))
            else:
                arrays.append(same(None, member.dtype, len(values)))
        return pa.StructArray.from_arrays(arrays, [member.name for member in dtype.fields])
    return array(values, dtype)
