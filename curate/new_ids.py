"""New ids for rows whose old ones tell what they said.

An id is a hash of what a row said when it was imported. Who knows the rest of a row that was scrubbed finds a telephone
number in it by hashing it with every number there is, until the id comes out. A new id is HMAC-SHA-256 of the old one
under a key, cut to its length: without the key there is nothing to try, and under one key the same id is the same new
one in every dataset, so that rows, labels, scores and parents still find each other.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from curate.marks import rehashed
from schemas.rows import ID_BYTES

_COLUMNS = ("id", "row_id", "row_hash")
_ID = re.compile(r"\b[0-9a-f]{32}\b", re.ASCII)
_OF_WHOLES = ("fingerprint", "digest")
"""Keys in a manifest of what is hashed over all rows of a dataset, or over a file."""
_HASH = re.compile(r"[0-9a-f]{32,128}")


@dataclass(frozen=True)
class NewIds:
    """The new ids under one key."""

    key: bytes = field(repr=False)

    def of(self, old: str, digits: int = 2 * ID_BYTES) -> str:
        """The new id of an id or a hash, in hexadecimal digits (64 at most)."""
        return hmac.digest(self.key, b"row id\x00" + old.encode("utf-8", "surrogatepass"), "sha256").hex()[:digits]

    def rows(self, frame: pl.DataFrame, kind: str) -> pl.DataFrame:
        """Rows, or dropped rows, with a new id for every id in `id`, `parents`, `row_id`, `row_hash` and `because`."""
        new = [self._texts(frame[name]) for name in _COLUMNS if name in frame.columns]
        lists = [None if ids is None else [self.of(one) for one in ids] for ids in frame["parents"].to_list()]
        new.append(pl.Series("parents", lists, dtype=frame.schema["parents"]))
        if "because" in frame.columns:
            said = [None if text is None else self.text(text) for text in frame["because"].to_list()]
            new.append(pl.Series("because", said, dtype=pl.String))
        after, _ = rehashed(frame, frame.with_columns(new), [one.name for one in new], kind)
        return after

    def text(self, text: str) -> str:
        """A text with a new id in the place of each id in it."""
        return _ID.sub(lambda found: self.of(found[0]), text)

    def history(self, said: Any) -> Any:
        """Part of a manifest with new fingerprints and digests, which are hashes of what all rows said together."""
        if isinstance(said, Mapping):
            return {key: self._whole(key, value) for key, value in said.items()}
        return [self.history(one) for one in said] if isinstance(said, list) else said

    def _whole(self, key: str, value: Any) -> Any:
        if key in _OF_WHOLES and isinstance(value, str) and _HASH.fullmatch(value):
            return self.of(value, min(len(value), 64))
        return self.history(value)

    def _texts(self, ids: pl.Series) -> pl.Series:
        return pl.Series(ids.name, [None if one is None else self.of(one) for one in ids.to_list()], dtype=pl.String)
