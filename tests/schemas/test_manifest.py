"""Tests of schemas/manifest.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.manifest import (
    Counts,
    Manifest,
    Shard,
    StepCount,
    canonical_json,
    digest_hex,
    fingerprint,
    is_sealed,
    library_versions,
    rows_digest,
    sealed,
)
from schemas.rows import columns

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def row(**given: Any) -> dict[str, Any]:
    common = {
        "id": "0" * 32,
        "content_hash": "1" * 32,
        "copy": 0,
        "source": "web",
        "origin": {"file": "a.jsonl", "line": 1, "part": None},
        "parents": [],
        "text": "Hello",
    }
    return dict.fromkeys(columns("text")) | common | given


def digest(*rows: dict[str, Any]) -> int:
    return rows_digest(pl.DataFrame(list(rows), schema=columns("text")))


def manifest(**given: Any) -> Manifest:
    fields: dict[str, Any] = {
        "command": "import",
        "name": "tea",
        "kind": "text",
        "fingerprint": "f" * 64,
        "digest": "0" * 64,
        "counts": Counts(rows_in=2, rows_out=2),
        "shards": [Shard(path="data/00000.parquet", sha256="a" * 64, bytes=1, rows=2)],
        "rows_by_source": {"web": 2},
    }
    return Manifest(**fields | given)


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=5), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(parts: dict[str, Any], random: Any) -> None:
    keys = list(parts)
    random.shuffle(keys)

    assert fingerprint({key: parts[key] for key in keys}) == fingerprint(parts)


@given(JSON, JSON)
def test_different_parts_have_different_fingerprints(one: Any, two: Any) -> None:
    assert (fingerprint({"part": one}) == fingerprint({"part": two})) == (canonical_json(one) == canonical_json(two))


def test_a_fingerprint_is_the_same_in_every_process(tmp_path: Path) -> None:
    parts = "{'settings': {'a': 1, 'b': [None, 'é中']}, 'files': [['x', 1.5]]}"
    program = f"from schemas.manifest import fingerprint; print(fingerprint({parts}))"

    found = set()
    for seed in ("0", "1", "77"):
        said = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        found.add(subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, env=said, text=True).strip())

    assert found == {fingerprint(eval(parts))}


@given(st.lists(st.tuples(st.text(), st.none() | st.text(), st.integers(0, 3)), max_size=8), st.randoms())
def test_the_digest_of_rows_does_not_depend_on_their_order_nor_on_where_they_are_cut(
    said: list[tuple[str, str | None, int]], random: Any
) -> None:
    rows = [row(external_id=one, task=two, copy=three) for one, two, three in said]
    shuffled = random.sample(rows, len(rows))
    cut = random.randint(0, len(rows))

    parts = digest_hex(digest(*shuffled[:cut]) + digest(*shuffled[cut:]))

    assert parts == digest_hex(digest(*rows))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "2" * 32},
        {"content_hash": "2" * 32},
        {"copy": 1},
        {"external_id": "7"},
        {"external_id": ""},
        {"source": "book"},
        {"task": "chat"},
        {"lang": "zh"},
        {"split": "train"},
        {"origin": {"file": "b.jsonl", "line": 1, "part": None}},
        {"origin": {"file": "a.jsonl", "line": 2, "part": None}},
        {"origin": {"file": "a.jsonl", "line": 1, "part": "sheet"}},
        {"parents": ["3" * 32]},
        {"extra": "{}"},
    ],
)
def test_the_digest_covers_every_column(change: dict[str, Any]) -> None:
    assert digest(row(**change)) != digest(row())


def test_text_that_moves_to_the_next_column_changes_the_digest() -> None:
    assert digest(row(task="ab", lang="c")) != digest(row(task="a", lang="bc"))


def test_a_row_that_is_there_twice_changes_the_digest() -> None:
    assert digest(row(), row()) not in (digest(row()), 0)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 30))
def test_counts_that_do_not_balance_cannot_be_written(
    dropped: int, rejected: int, merged: int, made: int, rows_out: int
) -> None:
    counts: dict[str, Any] = {
        "dropped": {"copy": dropped},
        "rejected": {"bad_json": rejected},
        "merged": merged,
        "made": made,
    }

    if 20 - dropped - rejected - merged + made == rows_out:
        assert Counts(rows_in=20, rows_out=rows_out, **counts).rows_out == rows_out
    else:
        with pytest.raises(ValidationError, match="do not balance"):
            Counts(rows_in=20, rows_out=rows_out, **counts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"counts": Counts(rows_in=3, rows_out=3)},
        {"rows_by_source": {"web": 1}},
        {"counts": Counts(rows_in=3, rows_out=2, dropped={"copy": 1})},
        {"counts": Counts(rows_in=3, rows_out=2, rejected={"bad_json": 1})},
        {"steps": [StepCount(step="length", use="length", rows_in=3, dropped={"too_short": 1})]},
    ],
)
def test_a_manifest_whose_numbers_contradict_each_other_cannot_be_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        manifest(**wrong)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/data.parquet", "data/../../x"])
def test_a_manifest_cannot_point_out_of_its_folder(path: str) -> None:
    with pytest.raises(ValidationError, match="leaves the dataset folder"):
        Shard(path=path, sha256="a" * 64, bytes=1, rows=2)


@given(st.text(), JSON)
def test_a_sealed_manifest_reads_back_whatever_it_says(name: str, said: Any) -> None:
    told = manifest(name=name, recipe={"checksum": "0" * 64, "said": said})

    data = sealed(told)

    assert is_sealed(data)
    assert Manifest.model_validate_json(data).model_copy(update={"checksum": ""}) == told


@given(st.data())
def test_a_flipped_bit_breaks_the_seal(data: Any) -> None:
    whole = sealed(manifest(seconds={"run": 1e-07}))
    place = data.draw(st.integers(0, len(whole) * 8 - 1))

    broken = bytearray(whole)
    broken[place // 8] ^= 1 << place % 8

    assert not is_sealed(bytes(broken))


def test_versions_of_what_is_not_installed_are_left_out() -> None:
    assert list(library_versions(["no-such-distribution", "polars"])) == ["polars"]
