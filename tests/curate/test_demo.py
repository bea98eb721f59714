"""The shipped support set has planted flaws with an answer key: the shipped recipe must find them, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.dataset import open_dataset
from tests.helpers import curate_json

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "curate" / "demo"
FILES = ("support_zh.jsonl", "support_en.jsonl", "support_export.csv")

EXPECTED = {
    "boilerplate": {"stock_phrase"},
    "broken_json": {"bad_json"},
    "trailing_comma": {"bad_json"},
    "duplicate_key": {"duplicate_key"},
    "empty_answer": {"no_answer"},
    "whitespace_answer": {"no_answer"},
    "exact_duplicate": {"copy"},
    "missing_output": {"missing_field"},
    "wrong_type": {"wrong_type"},
    "placeholder": {"unfilled", "to_do", "lorem_ipsum"},
    "refusal": {"refusal"},
    "repetition": {"one_phrase_over_and_over", "stock_phrase"},
    "near_duplicate": {"near_duplicate"},
    "wrong_language": {"language_mismatch"},
}
"""Flaws that must be found wherever they were planted, and the reasons that say so."""


@pytest.fixture(scope="module")
def fates(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """File and line to `kept` or the reason for which the row is gone."""
    folder = tmp_path_factory.mktemp("demo")
    curate_json("import", *(DEMO / name for name in FILES), "--out", folder / "support", "--source", "demo")
    tuned = ("--set", "stages.near_duplicates.ngram=3", "--set", "stages.near_duplicates.threshold=0.7")
    curate_json("run", "clean", "--input", folder / "support", "--out", folder / "clean", *tuned)
    found: dict[tuple[str, int], str] = {}
    clean = open_dataset(folder / "clean")
    for frame in clean.batches(["origin"]):
        found |= {(origin["file"], origin["line"]): "kept" for origin in frame["origin"]}
    for frame in clean.dropped():
        for origin, reason in zip(frame["origin"], frame["reason"], strict=True):
            found[origin["file"], origin["line"]] = reason
    for record in open_dataset(folder / "support").rejected():
        found[record["file"], record["line"]] = record["reason"]
    return found


def planted() -> list[tuple[str, int, str]]:
    key = json.loads((ROOT / "tests" / "golden" / "demo_flaws.json").read_text(encoding="utf-8"))
    return [(file, int(line), kind) for file in FILES for line, kind in key[file].items()]


@pytest.mark.parametrize("kind", EXPECTED)
def test_planted_flaws_are_found(fates: dict[tuple[str, int], str], kind: str) -> None:
    places = [(file, line) for file, line, flaw in planted() if flaw == kind]

    found = {fates[place] for place in places}

    assert places
    assert found <= EXPECTED[kind]


def test_no_good_row_is_dropped(fates: dict[tuple[str, int], str]) -> None:
    flawed = {(file, line) for file, line, _ in planted()}

    wrongly = {place: fate for place, fate in fates.items() if fate != "kept" and place not in flawed}

    assert wrongly == {}
