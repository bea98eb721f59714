"""What rows longer than a model's window cost, and where the window is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.tokens import USUAL_HIDDEN_SIZE, Window, beyond, window_of
from tests.helpers import curate_json, write_rows


def lengths(*tokens: int | None) -> pl.Series:
    return pl.Series(tokens, dtype=pl.UInt32)


def test_rows_beyond_the_window_are_counted_with_what_is_cut() -> None:
    found = beyond(lengths(100, 200, 300, None), Window(150, 8))

    assert (found["rows"], found["cut"], found["tokens"]) == (2, 50 + 150, 150)
    assert found["share_of_tokens"] == pytest.approx(500 / 600, abs=1e-6)


def test_attention_makes_long_rows_cost_more_than_their_tokens() -> None:
    found = beyond(lengths(100, 300), Window(150, 10))

    costs = [n * (1 + n / 120) for n in (100, 300)]
    assert found["share_of_compute"] == pytest.approx(costs[1] / sum(costs), abs=1e-6)
    assert found["share_of_compute"] > found["share_of_tokens"]


def test_without_the_width_of_the_model_it_is_assumed_and_said() -> None:
    found = beyond(lengths(10), Window(150))

    assert (found["hidden_size"], found["assumed"], found["rows"]) == (USUAL_HIDDEN_SIZE, True, 0)


def test_no_rows_cost_nothing() -> None:
    assert beyond(lengths(), Window(5))["share_of_compute"] == 0


@pytest.mark.parametrize(
    ("files", "window"),
    [
        ({"config.json": {"max_position_embeddings": 2048, "hidden_size": 576}}, Window(2048, 576)),
        ({"tokenizer_config.json": {"model_max_length": 4096}}, Window(4096)),
        ({"tokenizer_config.json": {"model_max_length": 1e30}}, None),
        ({"config.json": ["not", "a", "config"], "tokenizer_config.json": {"model_max_length": "many"}}, None),
        ({}, None),
    ],
    ids=["config", "tokenizer", "endless", "hostile", "none"],
)
def test_the_window_is_what_the_files_beside_the_tokenizer_say(
    files: dict[str, Any], window: Window | None, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))

    assert window_of(tmp_path) == window
    assert window_of(tmp_path / "tokenizer.json") == window


def test_a_profile_says_it_where_a_window_is_given(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "word " * 400}, {"text": "短"}])

    found = curate_json("profile", rows, "--window", 100)["sequences"]["window"]

    assert (found["tokens"], found["rows"], found["assumed"]) == (100, 1, True)
