"""Summaries are the same whether they are held or mapped from a file."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curate.engines.summaries import Summaries

FRAMES = [
    pl.DataFrame(
        {"ordinal": [n, n + 1], "sets": [[n, 2**63 + n], []], "said": [f"第 {n} 行" * n, None]},
        schema={"ordinal": pl.Int64, "sets": pl.List(pl.UInt64), "said": pl.String},
    )
    for n in range(0, 40, 2)
]


@pytest.mark.parametrize("memory", [0, 1_000, 1 << 30])
def test_what_is_added_comes_out_in_order_and_no_file_stays(memory: int, tmp_path: Path) -> None:
    summaries = Summaries(tmp_path / "summaries.arrow", memory)
    for frame in FRAMES:
        summaries.add(frame)

    whole = summaries.whole()

    assert whole.equals(pl.concat(FRAMES))
    assert (tmp_path / "summaries.arrow").exists() == (memory < 1 << 30)
    del whole
    summaries.close()
    assert not list(tmp_path.iterdir())
