from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.importing import import_files
from curate.near import Comparison
from curate.read import Reading
from curate.splitting import SPLITS, Split, leaking, split_dataset, split_from
from schemas.dataset import open_dataset, problems
from schemas.errors import UserError
from tests.helpers import write_rows

WORDS = [f"word{number}" for number in range(400)]


def dataset(folder: Path, rows: list[dict[str, Any]], *, source: str | None = None) -> Path:
    path = write_rows(folder / "rows.jsonl", rows)
    return import_files([path], folder / "dataset", Reading(source=source), {}).datasets[0].folder


def families(count: int = 120, members: int = 3) -> list[dict[str, Any]]:
    """Rows in families: a text, and texts in which a word of eighty is another."""
    chance = random.Random(5)
    rows = []
    for _ in range(count):
        words = chance.choices(WORDS, k=80)
        for _ in range(members):
            edited = list(words)
            edited[chance.randrange(80)] = chance.choice(WORDS)
            rows.append(
                {"instruction": "Say this.", "output": " ".join(edited), "when": f"2026-{chance.randint(1, 9)}"}
            )
    chance.shuffle(rows)
    return rows


def splits_of(path: Path) -> pl.DataFrame:
    made = open_dataset(path)
    return pl.concat(list(made.batches(["id", "split", "messages", "source", "extra"])))


def test_near_duplicates_are_on_one_side_and_the_shares_are_met(tmp_path: Path) -> None:
    path = dataset(tmp_path, families())

    made = split_dataset(path, tmp_path / "out", Split(validation=0.1, test=0.2))

    rows = splits_of(tmp_path / "out")
    said = rows["messages"].list.last().struct.field("content").to_list()
    texts = [["say", "this", ".", *text.split()] for text in said]
    sets = [frozenset(zip(*(text[place:] for place in range(5)), strict=False)) for text in texts]
    for one in range(len(sets)):
        for other in range(one):
            if len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= 0.8:
                assert rows["split"][one] == rows["split"][other]
    counted = dict(rows["split"].value_counts().iter_rows())
    assert counted == made.datasets[0].manifest.recipe["rows"]
    assert abs(counted["test"] - 72) <= 8 and abs(counted["validation"] - 36) <= 4
    assert not list(problems(tmp_path / "out"))


def test_the_split_of_a_row_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = families(40)
    one, two = dataset(tmp_path / "a", rows, source="s"), dataset(tmp_path / "b", rows[::-1], source="s")

    for path, name in ((one, "one"), (two, "two")):
        split_dataset(path, tmp_path / name, Split(validation=0.1, test=0.1))

    first, second = (splits_of(tmp_path / name).sort("id").select("id", "split") for name in ("one", "two"))
    assert first.equals(second)


def test_another_seed_splits_otherwise_and_the_same_one_is_already_done(tmp_path: Path) -> None:
    path = dataset(tmp_path, families(40))
    split_dataset(path, tmp_path / "one", Split(seed=1))

    again = split_dataset(path, tmp_path / "one", Split(seed=1))
    split_dataset(path, tmp_path / "two", Split(seed=2))

    assert again.already
    assert splits_of(tmp_path / "one")["split"].to_list() != splits_of(tmp_path / "two")["split"].to_list()


def test_by_time_holds_out_the_newest(tmp_path: Path) -> None:
    path = dataset(tmp_path, families(60, members=1))

    split_dataset(path, tmp_path / "out", Split(validation=0.1, test=0.1, by="time", when="when"))

    rows = splits_of(tmp_path / "out").with_columns(pl.col("extra").str.json_path_match("$.when").alias("when"))
    newest = rows.group_by("split").agg(pl.col("when").min(), pl.col("when").max().alias("latest"))
    found = {row["split"]: row for row in newest.iter_rows(named=True)}
    assert found["test"]["when"] >= found["validation"]["latest"] >= found["validation"]["when"]
    assert found["validation"]["when"] >= found["train"]["latest"]


def test_by_source_holds_out_whole_sources_but_for_what_would_leak(tmp_path: Path) -> None:
    chance = random.Random(1)
    shared = " ".join(chance.choices(WORDS, k=80))
    paths = []
    for name in ("one", "two", "three", "four"):
        own = [{"instruction": "Say this.", "output": " ".join(chance.choices(WORDS, k=80))} for _ in range(20)]
        paths.append(write_rows(tmp_path / f"{name}.jsonl", [*own, {"instruction": "Say this.", "output": shared}]))
    folder = import_files(paths, tmp_path / "dataset", Reading(), {}).datasets[0].folder

    made = split_dataset(folder, tmp_path / "out", Split(validation=0, test=0.25, by="source"))

    rows = splits_of(tmp_path / "out")
    held_out = rows.filter(split="test")
    assert held_out["source"].n_unique() == 1 and held_out.height == 20
    assert [finding["kind"] for finding in made.datasets[0].manifest.findings] == ["moved_to_train"]


def test_a_leak_would_be_seen() -> None:
    texts = pl.Series(
        ["Please tell me the opening hours of the shop.", "please tell me the OPENING hours of  the shop."]
    )
    comparison = Comparison()

    found = leaking(comparison, comparison.entries(texts), pl.Series(["train", "test"]))

    assert found == 1


@pytest.mark.parametrize(
    "given",
    [
        {"validation": 0.0, "test": 0.0},
        {"validation": 0.6, "test": 0.6},
        {"by": "chance"},
        {"by": "time"},
        {"when": "date"},
        {"on": ["anwser"]},
        {"threshold": 0.1},
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"validation": 0.1, "test": 0.1, "by": "cluster", "on": None, "threshold": 0.8}

    with pytest.raises(UserError) as refused:
        split_from(**(usual | {"when": None, "seed": 0} | given))

    assert refused.value.hint


def test_one_source_cannot_be_held_out(tmp_path: Path) -> None:
    path = dataset(tmp_path, families(20, members=1))

    with pytest.raises(UserError, match="no source is small enough"):
        split_dataset(path, tmp_path / "out", Split(by="source"))

    assert not (tmp_path / "out").exists()


def test_every_row_gets_one_of_the_splits(tmp_path: Path) -> None:
    rows = [{"instruction": "q", "output": ""}] * 3 + families(10)
    path = dataset(tmp_path, rows)

    split_dataset(path, tmp_path / "out", Split(validation=0.2, test=0.2))

    assert set(splits_of(tmp_path / "out")["split"].unique()) <= set(SPLITS)
    assert np.isclose(splits_of(tmp_path / "out").height, len(rows))
