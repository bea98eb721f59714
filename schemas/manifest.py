"""What a dataset says about itself."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, cast

import numpy as np
import orjson
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.rows import Kind
from schemas.sources import Source

MANIFEST = "manifest.json"
"""Name of the manifest's file; it is written last, so a folder that has it is whole."""

FORMAT_VERSION = 2
"""Version of the dataset folder: its layout, and how ids and hashes are made. Part of every fingerprint."""

DIGEST_BITS = 256
"""Row digests are sums modulo 2 to this power."""


class Written(BaseModel):
    """One file of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="path inside the dataset folder")
    sha256: str = Field(description="SHA-256 of the file's bytes, hexadecimal")
    bytes: int = Field(ge=0, description="size of the file")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError("the path leaves the dataset folder")
        return path


class Shard(Written):
    """One file of rows."""

    rows: int = Field(ge=0, description="rows or lines in the file")


class InputFile(BaseModel):
    """One thing a run read: a file, or a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="path as given")
    fingerprint: str = Field(description="SHA-256 of a file's bytes, or a dataset's own fingerprint")
    bytes: int | None = Field(default=None, description="size of a file")
    rows: int | None = Field(default=None, description="rows read from it")
    format: str | None = Field(default=None, description="format its rows are in")
    encoding: str | None = Field(default=None, description="encoding of its text")


class StepCount(BaseModel):
    """What one stage did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str = Field(description="name of the step in the recipe")
    use: str = Field(description="stage it uses")
    rows_in: int = Field(ge=0)
    dropped: dict[str, int] = Field(default_factory=dict, description="reason to rows")
    edited: int = Field(default=0, ge=0, description="rows changed")
    seconds: float = Field(default=0.0, ge=0)


class Counts(BaseModel):
    """Where every input row went. rows_out = rows_in - dropped - rejected - merged + made, always."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_in: int = Field(ge=0)
    rows_out: int = Field(ge=0)
    dropped: dict[str, int] = Field(default_factory=dict, description="reason to rows marked by stages")
    rejected: dict[str, int] = Field(default_factory=dict, description="reason to input that never became a row")
    merged: int = Field(default=0, ge=0)
    made: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _balance(self) -> Counts:
        expected = self.rows_in - sum(self.dropped.values()) - sum(self.rejected.values()) - self.merged + self.made
        if expected != self.rows_out:
            raise ValueError(f"counts do not balance: {expected} rows expected, {self.rows_out} written")
        return self


class Manifest(BaseModel):
    """Everything a dataset says about itself; the file is written last."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    command: str = Field(description="what made it: import, collect, run, ...")
    name: str
    kind: Kind = Field(description="kind of row it holds")
    fingerprint: str = Field(description="SHA-256 over everything that affects the rows, hexadecimal")
    digest: str = Field(description="order-independent digest of the rows, hexadecimal; see rows_digest")
    counts: Counts
    shards: list[Shard]
    dropped: list[Shard] = Field(default_factory=list, description="files of dropped rows")
    rejected: list[Shard] = Field(
        default_factory=list, description="the rejected.jsonl file, if any input was rejected"
    )
    sources: dict[str, Source] = Field(default_factory=dict)
    rows_by_source: dict[str, int] = Field(default_factory=dict)
    inputs: list[InputFile] = Field(default_factory=list)
    recipe: dict[str, Any] = Field(default_factory=dict, description="the settings, defaults written out")
    steps: list[StepCount] = Field(default_factory=list)
    chain: list[dict[str, Any]] = Field(
        default_factory=list,
        description="manifests of the inputs that are datasets, without their shards, oldest first",
    )
    findings: list[dict[str, Any]] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict, description="library versions")
    seconds: dict[str, float] = Field(default_factory=dict, description="timings")
    created: str = Field(default="", description="when the run ended, ISO 8601 in UTC")
    files: list[Written] = Field(default_factory=list, description="the other files: card, report, descriptions")
    checksum: str = Field(
        default="", description="SHA-256 of the manifest's own bytes, this value left empty; the last key"
    )

    @model_validator(mode="after")
    def _adds_up(self) -> Manifest:
        written = sum(shard.rows for shard in self.shards)
        if not written == self.counts.rows_out == sum(self.rows_by_source.values()):
            raise ValueError(
                f"{written} rows in shards, {self.counts.rows_out} counted, by source {self.rows_by_source}"
            )
        by_reason: Counter[str] = Counter()
        for step in self.steps:
            by_reason.update(step.dropped)
        if self.steps and by_reason != Counter(self.counts.dropped):
            raise ValueError(f"steps dropped {dict(by_reason)}, the dataset {self.counts.dropped}")
        for what, files, counted in (
            ("dropped", self.dropped, self.counts.dropped),
            ("rejected", self.rejected, self.counts.rejected),
        ):
            if sum(shard.rows for shard in files) != sum(counted.values()):
                raise ValueError(f"{what}: {sum(shard.rows for shard in files)} rows in files, {counted} counted")
        return self


_CHECKSUM = re.compile(rb'"checksum": "([0-9a-f]{64})"')


def sealed(manifest: Manifest) -> bytes:
    """The bytes of a manifest's file, its checksum filled in."""
    blank = manifest.model_copy(update={"checksum": ""}).model_dump_json(indent=2).encode() + b"\n"
    before, key, after = blank.rpartition(b'"checksum": "')
    return before + key + hashlib.sha256(blank).hexdigest().encode() + after


def is_sealed(data: bytes) -> bool:
    """Whether the bytes of a manifest's file are the ones that were written."""
    *_, last = [None, *_CHECKSUM.finditer(data)]
    if last is None:
        return False
    blank = data[: last.start(1)] + data[last.end(1) :]
    return hashlib.sha256(blank).hexdigest().encode() == last.group(1)


def canonical_json(value: Any) -> bytes:
    """The one JSON encoding that fingerprints are taken of: sorted keys, no spaces, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def fingerprint(parts: Mapping[str, Any]) -> str:
    """SHA-256 of `parts` as canonical JSON, hexadecimal. By value, never by pickle: equal on every machine."""
    return hashlib.sha256(canonical_json({"format_version": FORMAT_VERSION, **parts})).hexdigest()


def rows_digest(frame: pl.DataFrame) -> int:
    """Order-independent digest of rows: the sum of each row's SHA-256, modulo 2**256.

    A row's digest covers its common columns; its content is covered by `content_hash`. Digests of parts add up.
    """
    nothing = pl.lit("\x00")
    parts = [
        pl.col("id"),
        pl.col("content_hash"),
        pl.col("copy").cast(pl.String),
        *(pl.col(name).fill_null(nothing) for name in ("external_id", "source", "task", "lang", "split", "extra")),
        pl.col("origin").struct.field("file").fill_null(nothing),
        pl.col("origin").struct.field("line").cast(pl.String).fill_null(nothing),
        pl.col("origin").struct.field("part").fill_null(nothing),
        pl.col("parents").list.join(","),
    ]
    # Each part's length and a unit separator before it keep two rows from looking alike by moving text between columns.
    told_apart: list[pl.Series | str] = []
    for series in frame.select(part.alias(str(place)) for place, part in enumerate(parts)):
        first = cast(str | None, series.first())
        if told_apart and first is not None and (series == first).all():  # most columns of most frames hold one value
            told_apart += ["\x1e", f"{len(first.encode())}\x1f{first}"]
        else:
            told_apart += ["\x1e", series.str.len_bytes().cast(pl.String), "\x1f", series]
    line = pl.concat_str([pl.lit(part) for part in told_apart[1:]])
    lines = frame.select(line.cast(pl.Binary)).to_series().to_list()
    sha256 = hashlib.sha256
    digests = b"".join([sha256(line).digest() for line in lines])
    # Each digest as eight 32-bit limbs; the sums of limbs fit into 64 bits for four thousand million rows.
    limbs = np.frombuffer(digests, dtype="<u4").reshape(-1, 8).sum(axis=0, dtype=np.uint64)
    total = sum(int(limb) << (32 * place) for place, limb in enumerate(limbs))
    return total % (1 << DIGEST_BITS)


def digest_hex(total: int) -> str:
    """A digest as 64 hexadecimal digits."""
    return f"{total % (1 << DIGEST_BITS):064x}"


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of distributions; those that are not installed are left out."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
