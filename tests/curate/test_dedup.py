"""`curate dedup` as a user runs it: which rows go, for which rows, and what the command says about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.importing import import_files, result_json
from curate.read import Reading
from curate.recipe import load_recipe, one_stage
from curate.running import run_recipe
from schemas.dataset import open_dataset
from tests.helpers import curate, curate_json, write_rows

TEA = "How do I make a good cup of tea with fresh leaves from the market near my house?"
POUR = "Boil water, warm the pot, add a spoon of leaves for each cup and wait four minutes before you pour it."
REFUND = "怎么申请退款？我上周买的鞋子不合适，想要退货，请告诉我流程。"
STEPS = "您好，请在订单页面点击申请退款，我们会在三个工作日{}处理，退款会原路退回您的账户。"
EVIL = "<script>alert('x')</script> & <b>bold</b>"
ROWS = [
    {"instruction": TEA, "output": POUR},
    {"instruction": TEA, "output": POUR.replace("four", "five")},
    {"instruction": REFUND, "output": STEPS.format("内")},
    {"instruction": REFUND, "output": STEPS.format("之内")},
    {"instruction": "What is a router?", "output": "A device that forwards packets between networks."},
    {"instruction": f"{TEA} {EVIL}", "output": POUR + " Then drink it slowly, with a friend and a biscuit."},
    {"instruction": f"{TEA} {EVIL}", "output": POUR + " Then drink it slowly, with a friend and a <i>biscuit</i>."},
    {"instruction": TEA, "output": "Boil water, warm the pot, add a spoon."},
    {"instruction": "Say it", "output": ""},
]
"""The second goes for the first, the fourth for the third, and the seventh for the sixth; the eighth is
like the first, but not like enough."""

GONE = {"rows.jsonl:2": "rows.jsonl:1", "rows.jsonl:4": "rows.jsonl:3", "rows.jsonl:7": "rows.jsonl:6"}


def kept_rows(folder: Path) -> pl.DataFrame:
    return pl.concat(open_dataset(folder).batches())


def dropped_rows(folder: Path) -> pl.DataFrame:
    return pl.concat(open_dataset(folder).dropped())


def where(rows: pl.DataFrame) -> dict[str, str]:
    """Ids to places in files."""
    return {row["id"]: f"{row['origin']['file']}:{row['origin']['line']}" for row in rows.iter_rows(named=True)}


def gone_for(folder: Path) -> dict[str, str]:
    """The place of each row that is gone, and of the row that stayed for it."""
    kept, dropped = where(kept_rows(folder)), dropped_rows(folder)
    because = [json.loads(one)["kept"] for one in dropped["because"]]
    return dict(zip(where(dropped).values(), (kept[one] for one in because), strict=True))


def kept_in(folder: Path) -> list[str]:
    return list(where(kept_rows(folder)).values())


def dedup(*arguments: object, out: Path, cwd: Path | None = None) -> dict[str, Any]:
    ran = curate("dedup", *arguments, "--out", out, "--json", cwd=cwd)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def imported(folder: Path, rows: Sequence[Any], name: str = "rows") -> Path:
    """The rows as a dataset."""
    write_rows(folder / f"{name}.jsonl", list(rows))
    import_files([folder / f"{name}.jsonl"], folder / name, Reading(), {"kind": "collect"})
    return folder / name


def by_stage(dataset: Path, out: Path, **settings: Any) -> dict[str, Any]:
    """What the command does once its options are read, without the seconds that a process takes to start."""
    return result_json(run_recipe(replace(one_stage("near_duplicates", settings, "test"), inputs=(dataset,)), out))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROWS as a dataset; no test changes it."""
    return imported(tmp_path_factory.mktemp("dataset"), ROWS)


@pytest.fixture(scope="module")
def clean(dataset: Path) -> Path:
    """The dataset without near duplicates, with what the command said; no test changes it."""
    out = dataset.parent / "clean"
    said = dedup(dataset, "--report", dataset.parent / "report.html", out=out)
    (dataset.parent / "said.json").write_text(json.dumps(said))
    return out


# --- What becomes of rows --------------------------------------------------------------------------------


def test_near_duplicates_go_for_the_first_of_them(clean: Path) -> None:
    assert gone_for(clean) == GONE
    assert kept_in(clean) == [f"rows.jsonl:{line}" for line in (1, 3, 5, 6, 8, 9)]


def test_the_command_says_what_became_of_every_row(clean: Path) -> None:
    said = json.loads((clean.parent / "said.json").read_text())

    assert (said["rows_in"], said["rows_out"], said["dropped"]) == (9, 6, {"near_duplicate": 3})
    assert said["rows_in"] == said["rows_out"] + sum(said["dropped"].values())
    assert said["already_done"] is False


def test_a_row_that_goes_says_for_which_and_how_alike_they_are(clean: Path) -> None:
    dropped = dropped_rows(clean)

    because = [json.loads(one) for one in dropped["because"]]

    assert set(dropped["reason"]) == {"near_duplicate"}
    assert {one["kept"] for one in because} <= set(kept_rows(clean)["id"])
    assert all(0.8 <= one["similarity"] <= 1 for one in because)


def test_the_new_dataset_verifies(clean: Path) -> None:
    assert curate_json("verify", clean)["ok"]


def test_why_shows_the_row_that_stayed(clean: Path) -> None:
    found = curate_json("why", clean, "rows.jsonl:2")

    assert found["way"][-1]["verdict"] == "dropped"
    assert found["way"][-1]["reason"] == "near_duplicate"
    assert "rows.jsonl:1" in found["way"][-1]["because"]
    assert "similarity 0." in found["way"][-1]["because"]


def test_what_is_done_is_not_done_again(dataset: Path, clean: Path) -> None:
    before = (clean / "manifest.json").read_bytes()

    said = dedup(dataset, out=clean)

    assert said["already_done"] is True
    assert (clean / "manifest.json").read_bytes() == before


def test_nothing_in_a_row_is_html_in_the_report(clean: Path) -> None:
    page = (clean / "report.html").read_text(encoding="utf-8")
    copied = (clean.parent / "report.html").read_text(encoding="utf-8")

    assert copied == page
    assert "<script>alert" not in page
    assert "<b>bold</b>" not in page
    assert "<i>biscuit" not in page
    assert "&lt;script&gt;alert" in page


def test_the_report_has_the_clusters_and_the_pairs_at_the_border(clean: Path) -> None:
    clusters = json.loads((clean / "report.json").read_text(encoding="utf-8"))["clusters"]

    assert (clusters["rows"], clusters["dropped"], clusters["clusters"]) == (9, 3, 3)
    assert {pair["id"] for pair in clusters["borderline"]} == set(dropped_rows(clean)["id"])
    assert {pair["kept"] for pair in clusters["borderline"]} <= set(kept_rows(clean)["id"])
    assert clusters["curve"][0] == [0.8, 6]


# --- Inputs ----------------------------------------------------------------------------------------------


def test_a_file_of_rows_is_imported_once_and_deduplicated_as_a_dataset_is(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)

    said = dedup("rows.jsonl", out=Path("out"), cwd=tmp_path)
    again = dedup("rows.jsonl", out=Path("out"), cwd=tmp_path)

    assert (said["rows_in"], said["rows_out"], said["already_done"]) == (9, 6, False)
    assert again["already_done"] is True
    assert gone_for(tmp_path / "out") == GONE
    assert len(list((tmp_path / ".assay" / "imports").iterdir())) == 1


def test_rows_of_two_datasets_are_compared_and_a_preferred_source_stays(tmp_path: Path, dataset: Path) -> None:
    bought = imported(tmp_path, ROWS[1:2], "bought")

    said = dedup(dataset, bought, "--prefer", "bought", out=tmp_path / "preferred")

    assert (said["rows_in"], said["rows_out"]) == (10, 6)
    assert {"rows.jsonl:1", "rows.jsonl:2"}.isdisjoint(kept_in(tmp_path / "preferred"))
    assert "bought.jsonl:1" in kept_in(tmp_path / "preferred")


def test_a_file_beside_a_dataset_is_refused(tmp_path: Path, dataset: Path) -> None:
    file = write_rows(tmp_path / "more.jsonl", ROWS)

    ran = curate("dedup", dataset, file, "--out", tmp_path / "out")

    assert ran.returncode == 2
    assert "curate import" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("search", ["exact", "lsh"])
def test_a_dataset_without_rows_has_no_near_duplicates(search: str, tmp_path: Path, dataset: Path) -> None:
    recipe = f"inputs: [{dataset}]\nstages:\n  - use: length\n    min_chars: 90000\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    run_recipe(load_recipe(str(tmp_path / "recipe.yaml")), tmp_path / "none")

    said = by_stage(tmp_path / "none", tmp_path / "out", search=search)

    assert (said["rows_in"], said["rows_out"], said["dropped"]) == (0, 0, {})


# --- Settings --------------------------------------------------------------------------------------------

FIELDS = [
    {"instruction": TEA, "output": "Boil water."},
    {"instruction": TEA.lower(), "output": "Ask somebody in the shop around the corner."},
    {"instruction": "How long must it stand?", "output": POUR},
    {"instruction": "And what do I do then, when it is hot?", "output": POUR.upper()},
    {"instruction": TEA.replace("?", " ?"), "output": "Boil water. Then wait, and drink it."},
]
"""Alike in their instruction: the first, second and fifth; in their answer: the third and fourth."""


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FIELDS as a dataset; no test changes it."""
    return imported(tmp_path_factory.mktemp("fields"), FIELDS, "f")


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        (["--on", "instruction", "--on", "answer", "--threshold", "0.7"], {5: 1}),
        (["--on", "instruction", "--keep", "longest"], {1: 5, 2: 5}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_rows_are_compared_by_the_fields_asked_for(
    options: list[str], gone: dict[int, int], fields: Path, tmp_path: Path
) -> None:
    dedup(fields, *options, out=tmp_path / "out")

    assert gone_for(tmp_path / "out") == {f"f.jsonl:{row}": f"f.jsonl:{other}" for row, other in gone.items()}


@pytest.mark.parametrize(
    ("settings", "gone"),
    [
        ({"field": "instruction"}, {2: 1, 5: 1}),
        ({"field": "answer"}, {4: 3}),
        ({"field": "instruction", "keep": "last"}, {1: 5, 2: 5}),
        ({"field": "instruction", "search": "lsh"}, {2: 1, 5: 1}),
        ({"field": "instruction", "search": "lsh", "keep": "longest"}, {1: 5, 2: 5}),
        ({"field": "instruction", "shingle": "characters"}, {2: 1, 5: 1}),
        ({"field": "instruction", "shingle": "characters", "search": "exact", "ngram": 3}, {2: 1, 5: 1}),
        ({"field": "instruction", "threshold": 1}, {2: 1, 5: 1}),
        ({"field": "conversation"}, {}),
    ],
)
def test_rows_go_as_the_settings_say(
    settings: dict[str, Any], gone: dict[int, int], fields: Path, tmp_path: Path
) -> None:
    said = by_stage(fields, tmp_path / "out", **settings)

    assert said["rows_in"] == said["rows_out"] + sum(said["dropped"].values())
    if gone:
        assert gone_for(tmp_path / "out") == {f"f.jsonl:{row}": f"f.jsonl:{other}" for row, other in gone.items()}
    else:
        assert said["dropped"] == {}


def test_at_a_threshold_of_one_only_equal_sets_go(dataset: Path, tmp_path: Path) -> None:
    said = by_stage(dataset, tmp_path / "out", threshold=1)

    assert (said["rows_out"], said["dropped"]) == (9, {})


def test_the_best_row_by_a_key_of_extra_stays(tmp_path: Path) -> None:
    scores: list[Any] = [2, 10, None, "9", "many"]
    rows = [{"instruction": TEA, "output": POUR, "score": score} for score in scores]
    rows[2].pop("score")
    rows = [row | {"output": f"{row['output']} {'!' * place}"} for place, row in enumerate(rows)]

    by_stage(imported(tmp_path, rows), tmp_path / "out", keep="best", by="score")

    assert kept_in(tmp_path / "out") == ["rows.jsonl:2"]


def test_the_best_pair_by_its_margin_stays(tmp_path: Path) -> None:
    rows = [
        {"prompt": TEA, "chosen": POUR + end, "rejected": "No idea.", "margin": margin}
        for end, margin in ((" So.", 0.5), (" Yes.", 4.0), (" Well.", 2.0))
    ]

    by_stage(imported(tmp_path, rows), tmp_path / "out", keep="best", by="margin")

    assert kept_in(tmp_path / "out") == ["rows.jsonl:2"]


def test_lsh_drops_what_is_plainly_the_same_and_says_how_it_searched(dataset: Path, tmp_path: Path) -> None:
    said = dedup(dataset, "--search", "lsh", "--ngram", 2, out=tmp_path / "out")

    how = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["clusters"]["how"]
    assert said["dropped"] == {"near_duplicate": 3}
    assert gone_for(tmp_path / "out") == GONE
    assert (how["search"], how["recall"] >= 0.99) == ("lsh", True)


def test_lsh_drops_nothing_where_no_two_rows_are_alike(tmp_path: Path) -> None:
    rows = imported(
        tmp_path, [{"instruction": f"{word} alone", "output": f"{word} says so"} for word in ("tea", "rye")]
    )

    said = by_stage(rows, tmp_path / "out", search="lsh")

    assert (said["rows_out"], said["dropped"]) == (2, {})


def test_exploring_says_what_lower_thresholds_would_drop_and_drops_no_more(dataset: Path, tmp_path: Path) -> None:
    said = dedup(dataset, "--explore", 0.3, out=tmp_path / "out")

    curve = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["clusters"]["curve"]
    assert said["rows_out"] == 6
    assert curve[0][0] == 0.3
    assert [0.8, 6] in curve
    assert curve[0][1] < 6


def test_the_same_rows_stay_whatever_the_number_of_threads(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("POLARS_MAX_THREADS", threads)
        dedup(dataset, "--threshold", "0.5", out=tmp_path / threads)
        found.append((kept_in(tmp_path / threads), gone_for(tmp_path / threads)))

    assert found[0] == found[1]
    assert len(found[0][1]) >= 3


@pytest.mark.parametrize("search", ["exact", "lsh"])
def test_what_does_not_fit_into_memory_is_compared_from_a_file(search: str, dataset: Path, tmp_path: Path) -> None:
    options = ("--threshold", "0.5", "--search", search)
    dedup(dataset, *options, out=tmp_path / "held")

    dedup(dataset, *options, "--memory", "1 kB", out=tmp_path / "spilt")

    assert gone_for(tmp_path / "spilt") == gone_for(tmp_path / "held")
    assert len(gone_for(tmp_path / "spilt")) >= 3
    assert not list((tmp_path / "spilt").rglob("summaries*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--memory", "much"], "--memory 3GB"),
        (["--threshold", "2"], "threshold"),
        (["--on", "instructoin"], "field"),
        (["--search", "fuzzy"], "search"),
        (["--keep", "best"], "by"),
        (["--shingle", "characters", "--search", "exact"], "ngram"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_values_are_sentences_and_status_2(options: list[str], said: str, dataset: Path, tmp_path: Path) -> None:
    ran = curate("dedup", dataset, *options, "--out", tmp_path / "out")

    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "out").exists()
