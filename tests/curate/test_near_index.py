from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.importing import import_files
from curate.near import Comparison
from curate.near_index import index_folder, index_of
from curate.read import Reading
from schemas.dataset import Dataset, problems
from schemas.errors import UserError
from tests.helpers import write_rows

WORDS = [f"w{number}" for number in range(80)] + list("退款订单物流发票保修电池")


def texts(count: int, seed: int) -> list[str]:
    """Texts of 5 to 200 tokens, a good part of which are others with some words changed."""
    chance = random.Random(seed)
    base = random.Random(0)
    known = [base.choices(WORDS, k=base.choice((5, 20, 70, 200))) for _ in range(60)]
    found = []
    for _ in range(count):
        words = list(chance.choice(known))
        for _ in range(chance.randint(0, max(len(words) // 15, 1))):
            words[chance.randrange(len(words))] = chance.choice(WORDS)
        found.append(" ".join(words))
    return found


def dataset(folder: Path, said: list[str]) -> Dataset:
    path = write_rows(folder / "rows.jsonl", [{"text": one} for one in said])
    return import_files([path], folder / "dataset", Reading(), {}).datasets[0]


def text(frame: pl.DataFrame) -> pl.Series:
    return frame["text"]


@pytest.mark.parametrize("settings", [{}, {"n": 3}, {"threshold": 0.6}, {"n": 4, "unit": "characters"}])
def test_the_index_finds_what_a_search_over_everything_finds(settings: dict[str, Any], tmp_path: Path) -> None:
    comparison = Comparison(**settings)
    old, new = texts(400, 1), texts(300, 2)
    index = index_of(dataset(tmp_path, old), comparison, "text", text)

    found = index.search(comparison.entries(pl.Series(new)), comparison.threshold)

    together = comparison.entries(pl.Series(old + new))
    expected = comparison.nearest(together, np.arange(400), np.arange(400, 700))
    assert (found.kept == expected.kept[400:]).all()
    assert (found.similarity == expected.similarity[400:]).all()
    assert (found.kept >= 0).sum() > 50


def test_the_index_is_beside_the_dataset_and_used_again(tmp_path: Path) -> None:
    made = dataset(tmp_path, texts(50, 1))
    index_of(made, Comparison(), "text", text)
    stamp = (index_folder(made) / "hashes.npy").stat().st_mtime_ns

    def not_again(frame: pl.DataFrame) -> pl.Series:
        raise AssertionError

    again = index_of(made, Comparison(), "text", not_again)

    assert (index_folder(made) / "hashes.npy").stat().st_mtime_ns == stamp
    assert len(again.ids) == 50
    assert not list(problems(made.folder))


@pytest.mark.parametrize("changed", ["threshold", "rows", "damage"])
def test_an_index_of_other_rows_or_settings_is_built_anew(changed: str, tmp_path: Path) -> None:
    made = dataset(tmp_path, texts(50, 1))
    index_of(made, Comparison(), "text", text)
    comparison = Comparison(threshold=0.7) if changed == "threshold" else Comparison()
    if changed == "rows":
        path = write_rows(tmp_path / "rows.jsonl", [{"text": one} for one in texts(60, 3)])
        made = import_files([path], tmp_path / "dataset", Reading(), {}, replace=True).datasets[0]
    if changed == "damage":
        (index_folder(made) / "index.json").write_text('{"version"')

    found = index_of(made, comparison, "text", text)

    assert len(found.ids) == made.rows
    matches = found.search(
        comparison.entries(pl.Series(texts(60, 3 if changed == "rows" else 1))), comparison.threshold
    )
    assert (matches.similarity[: made.rows] == 1).all() or changed == "rows"


def test_an_index_of_no_rows_finds_nothing(tmp_path: Path) -> None:
    made = dataset(tmp_path, ["!"])

    found = index_of(made, Comparison(), "text", lambda frame: pl.Series([""] * frame.height))

    assert (found.search(Comparison().entries(pl.Series(["a b c"])), 0.8).kept == -1).all()


def test_lsh_has_no_index(tmp_path: Path) -> None:
    made = dataset(tmp_path, ["a b c"])

    with pytest.raises(UserError, match="exact search"):
        index_of(made, Comparison(search="lsh"), "text", text)
