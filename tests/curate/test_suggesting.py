"""A suggested recipe makes the findings that it names go away, and leaves the others to people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from curate.suggesting import ORDER, suggested_recipe
from schemas.lookup import names
from tests.helpers import curate, curate_json, write_rows

TEA = "How do I make a good cup of tea with fresh leaves from the market near my house? I have a pot and a kettle."


def row(instruction: str, output: str, **more: Any) -> dict[str, Any]:
    return {"instruction": instruction, "output": output, **more}


ROWS = [
    *[
        row(f"第 {n} 家店几点关门？", f"第 {n} 家店晚上{word}点关门，周末多开一小时。")
        for n, word in enumerate("七八九十")
    ],
    row("怎么联系你们？", "请打我的手机13912345678，我姓王。"),
    row("Where do I write to?", "Write to li.lei@qinghe-mail.cn, please."),
    row("Your key?", "It is ghp_16C7e42F292c6912E7710c838347Ae178B4a."),
    row("Say something.", ""),
    row("Tea?", TEA),
    row("Tea?", TEA),
    row("Tea?", TEA.replace("fresh", "good")),
    row("Who are you?", "As an AI language model, I cannot answer that."),
    row("以JSON格式返回姓名。", "{'姓名': '小明'}"),
    row("Dear team", "Dear [Insert name], your order of [Insert date] has been sent."),
]


def test_running_it_makes_the_findings_go_away(tmp_path: Path) -> None:
    rows, recipe = write_rows(tmp_path / "rows.jsonl", ROWS), tmp_path / "fix.yaml"
    found = curate_json("profile", rows, "--suggest", recipe)["findings"]
    curate("import", rows, "--out", tmp_path / "in")

    curate_json("run", recipe, "--input", tmp_path / "in", "--out", tmp_path / "out")

    left = curate_json("profile", tmp_path / "out")["findings"]
    mended = {finding["kind"] for finding in found if finding["use"]}
    assert {"secret", "personal_data", "near_duplicates", "empty", "refusal", "invalid_json", "placeholder"} <= mended
    assert not mended & {finding["kind"] for finding in left}


def test_of_a_dataset_it_runs_as_it_is(tmp_path: Path) -> None:
    curate("import", write_rows(tmp_path / "rows.jsonl", ROWS), "--out", tmp_path / "in")
    curate("profile", tmp_path / "in", "--suggest", tmp_path / "fix.yaml")

    ran = curate_json("run", tmp_path / "fix.yaml", "--out", tmp_path / "out")

    assert ran["dropped"]["near_duplicate"] == 1


def test_what_no_stage_mends_is_a_comment(tmp_path: Path) -> None:
    profile = {
        "rows": 10,
        "findings": [
            {"kind": "one_task", "count": 9, "share": 0.9, "fix": "add\nrows: of others", "use": None, "settings": {}},
        ],
    }

    said = suggested_recipe(profile, [tmp_path / "a\nstages: b.jsonl"], tmp_path / "my fix.yaml")

    assert yaml.safe_load(said) == {"name": "suggested", "stages": []}
    assert "# one_task: 9 rows (90.0%): add rows: of others" in said


def test_a_finding_that_needs_settings_says_them(tmp_path: Path) -> None:
    finding = {"kind": "x", "count": 9, "share": 0.9, "fix": "", "use": "flaws", "settings": {"measures": ["chars: 1"]}}

    said = suggested_recipe({"rows": 10, "findings": [finding]}, [tmp_path / "a"], tmp_path / "fix.yaml")

    assert yaml.safe_load(said) == {"name": "fix", "stages": [{"use": "flaws", "measures": ["chars: 1"]}]}


def test_every_stage_in_order_exists() -> None:
    assert set(ORDER) <= set(names("curate.stages"))
