"""Every command as a user runs it: what it prints for machines, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import curate, curate_json, write_rows

ROWS = [
    {"instruction": "What is a router?", "output": "A device that forwards packets between networks."},
    {"instruction": "什么是路由器？", "output": "路由器是在网络之间转发数据包的设备。"},
    {"instruction": "什么是路由器?", "output": "路由器是在网络之间转发数据包的设备。"},
    {"instruction": "Say it", "output": ""},
]
RECIPE = "inputs: [{dataset}]\nstages:\n  - use: empty\n  - use: exact_duplicates\n"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", [*ROWS, "no object"])


@pytest.fixture
def dataset(tmp_path: Path, rows: Path) -> Path:
    curate_json("import", rows, "--out", tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def clean(tmp_path: Path, dataset: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(dataset=dataset), encoding="utf-8")
    curate_json("run", tmp_path / "recipe.yaml", "--out", tmp_path / "clean")
    return tmp_path / "clean"


def balanced(found: dict[str, Any]) -> bool:
    gone = sum(found["dropped"].values()) + found["rejected"] + found["merged"]
    return bool(found["rows_out"] == found["rows_in"] - gone + found["made"])


def test_import_says_what_became_of_every_row(tmp_path: Path, rows: Path) -> None:
    found = curate_json("import", rows, "--out", tmp_path / "out")

    assert (found["rows_in"], found["rows_out"], found["rejected"]) == (5, 4, 1)
    assert found["dataset"] == str(tmp_path / "out")
    assert found["rejected_by_reason"] == {"not_an_object": 1}
    assert balanced(found)


def test_run_says_what_became_of_every_row(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(dataset=dataset), encoding="utf-8")

    found = curate_json("run", tmp_path / "recipe.yaml", "--out", tmp_path / "clean")

    assert found["dropped"] == {"copy": 1, "no_answer": 1}
    assert found["rows_out"] == 2
    assert balanced(found)


def test_a_run_that_is_done_is_not_done_again(tmp_path: Path, clean: Path) -> None:
    before = (clean / "manifest.json").read_bytes()

    found = curate_json("run", tmp_path / "recipe.yaml", "--out", clean)

    assert found["already_done"]
    assert (clean / "manifest.json").read_bytes() == before


def test_another_run_into_the_same_folder_is_refused_unless_asked_for(tmp_path: Path, clean: Path) -> None:
    change = ("--set", "stages.exact_duplicates.keep=last")

    refused = curate_json("run", tmp_path / "recipe.yaml", "--out", clean, *change, status=2)
    replaced = curate_json("run", tmp_path / "recipe.yaml", "--out", clean, *change, "--replace")

    assert "--replace" in refused["errors"][0]["hint"]
    assert replaced["rows_out"] == 2


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(dataset=dataset), encoding="utf-8")

    found = curate_json("run", tmp_path / "recipe.yaml", "--out", tmp_path / "clean", "--dry-run")

    assert found["rows_in"] == 4
    assert [stage["use"] for stage in found["recipe"]["stages"]] == ["empty", "exact_duplicates"]
    assert not (tmp_path / "clean").exists()


def test_profile_has_the_promised_keys(rows: Path, tmp_path: Path) -> None:
    found = curate_json("profile", rows, "--report", tmp_path / "report.html")

    assert found["rows"] == 4
    assert found["formats"] == {"alpaca": 4}
    assert found["duplicates"]["exact"] == 1
    assert set(found["languages"]) == {"en", "zh"}
    assert set(found["lengths"]["answer"]) >= {"min", "p50", "p95", "p99", "max"}
    assert {"kind", "severity", "count", "example", "fix"} <= set(found["findings"][0])
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_check_ends_with_1_when_rows_would_be_lost(rows: Path) -> None:
    found = curate_json("check", rows, status=1)

    assert found["files"][0]["format"] == "alpaca"
    assert (found["files"][0]["rows"], found["files"][0]["usable"]) == (5, 4)
    assert (found["problems"][0]["kind"], found["problems"][0]["line"]) == ("not_an_object", 5)


def test_check_ends_with_0_when_every_row_is_usable(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)

    found = curate_json("check", rows)

    assert found["problems"] == []


def test_verify_ends_with_0_for_a_whole_dataset_and_1_for_a_damaged_one(clean: Path) -> None:
    whole = curate_json("verify", clean)
    shard = clean / "data" / "00000.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)

    damaged = curate_json("verify", clean, status=1)

    assert whole["ok"]
    assert damaged["problems"][0]["kind"] == "wrong_hash"


def test_show_shows_rows_dropped_rows_and_rejected_input(dataset: Path, clean: Path) -> None:
    kept = curate_json("show", clean)
    dropped = curate_json("show", clean, "--dropped", "copy")
    rejected = curate_json("show", dataset, "--rejected")

    assert len(kept["rows"]) == 2
    assert dropped["rows"][0]["where"] == "rows.jsonl:3"
    assert rejected["rejected"][0]["line"] == 5


def test_why_tells_a_rows_whole_way(clean: Path) -> None:
    copy = curate_json("why", clean, "rows.jsonl:3")
    refused = curate_json("why", clean, "rows.jsonl:5")

    assert [one["verdict"] for one in copy["way"]] == ["read", "kept", "dropped"]
    assert "rows.jsonl:2" in copy["way"][-1]["because"]
    assert refused["fate"] == "rejected"


def test_diff_tells_what_is_gone_and_why(dataset: Path, clean: Path) -> None:
    found = curate_json("diff", dataset, clean)

    assert found["rows"] == {"added": 0, "removed": 2, "changed": 0, "unchanged": 2, "same_content": 0}
    assert found["removed_by_reason"] == {"copy": 1, "no_answer": 1}


def test_export_writes_what_trainers_read(clean: Path, tmp_path: Path) -> None:
    found = curate_json("export", clean, "--format", "sharegpt", "--out", tmp_path / "lf")

    assert found["rows_out"] == 2
    assert (tmp_path / "lf" / "dataset_info.json").is_file()


@pytest.mark.parametrize("command", ["stages", "recipes", "formats", "collectors"])
def test_lists_are_there_for_people_and_machines(command: str) -> None:
    plain = curate(command)
    found = curate_json(command)

    assert plain.returncode == 0
    assert all(one["name"] in plain.stdout for one in found[command])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "nowhere.jsonl", "--out", "x"], "does not exist"),
        (["run", "cleen", "--out", "x"], "did you mean 'clean'?"),
        (["show", "."], "manifest.json"),
        (["export", "nowhere", "--format", "alpaca", "--out", "x"], "does not exist"),
        (["collect", "cod", ".", "--out", "x"], "did you mean 'code'?"),
        (["stages", "lenght"], "did you mean 'length'?"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_sentences_with_a_hint_and_status_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    ran = curate(*arguments, cwd=tmp_path)
    as_json = curate(*arguments, "--json", cwd=tmp_path)

    assert ran.returncode == as_json.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert said in as_json.stdout


def test_strict_ends_with_1_on_findings(rows: Path, tmp_path: Path) -> None:
    ran = curate("import", rows, "--out", tmp_path / "out", "--strict")

    assert ran.returncode == 1


def test_nothing_a_row_holds_reaches_the_terminal_raw(tmp_path: Path) -> None:
    said = "\x1b[31mred\x1b[0m <b>x</b> 13800138000 \u202e"
    evil = {"instruction": "mail me at jane.doe@example.com", "output": said}
    rows = write_rows(tmp_path / "rows.jsonl", [evil])
    curate_json("import", rows, "--out", tmp_path / "out")

    shown = curate("show", tmp_path / "out").stdout + curate("profile", rows).stdout

    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown
    assert "jane.doe@example.com" not in shown
    assert "13800138000" not in shown


def test_a_folder_can_be_imported_into_itself_again_and_again(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    first = curate("import", ".", "--out", "out", "--json", cwd=tmp_path)

    again = curate("import", ".", "--out", "out", "--json", cwd=tmp_path)

    assert first.returncode == again.returncode == 0
    assert '"already_done": true' in again.stdout


def test_documents_are_collected_from_wherever_the_command_runs(tmp_path: Path) -> None:
    said = "Plug the router in, wait two minutes until the lamp is green, and open the page of its settings. " * 3
    (tmp_path / "guide.md").write_text(f"# Router\n\n## Installing it\n\n{said}\n", encoding="utf-8")

    ran = curate("collect", "docs", "guide.md", "--out", "docs", cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr


def test_a_column_to_map_that_is_not_there_is_a_mistake(rows: Path, tmp_path: Path) -> None:
    column = curate_json("import", rows, "--map", "output=answr", "--out", tmp_path / "a", status=2)
    field = curate_json("import", rows, "--map", "outptu=output", "--out", tmp_path / "b", status=2)

    assert "'answr'" in column["errors"][0]["message"]
    assert "'output'" in field["errors"][0]["hint"]


@pytest.mark.parametrize("text", ["", "instruction,output\n"], ids=["nothing", "header"])
def test_check_finds_a_file_without_rows(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text)

    found = curate_json("check", tmp_path / "rows.csv", status=1)

    assert found["problems"][0]["kind"] == "no_rows"


def test_a_reader_that_goes_away_is_no_error(dataset: Path) -> None:
    script = f"{sys.executable} -m curate.cli stages | head -1; exit ${{PIPESTATUS[0]}}"

    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_same_rows_under_another_source_are_told_from_new_ones(tmp_path: Path, dataset: Path) -> None:
    curate_json("export", dataset, "--format", "alpaca", "--out", tmp_path / "again.jsonl")
    curate_json("import", tmp_path / "again.jsonl", "--out", tmp_path / "again")

    found = curate_json("diff", dataset, tmp_path / "again")

    assert found["rows"] == {"added": 0, "removed": 0, "changed": 0, "unchanged": 0, "same_content": 4}
