"""The format doctor names each file's format and every problem, with what to do about it, and its counts balance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curate.check import HINTS, check_paths
from curate.cli import app
from curate.read import Reading

GOOD = '{"instruction": "q", "output": "a"}'


def check(*paths: Path, **settings: Any) -> dict[str, Any]:
    return check_paths(paths, Reading(**settings))


def written(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_good_file_has_no_problems(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", GOOD, GOOD)

    found = check(path)

    assert found["problems"] == []
    assert found["files"] == [
        {
            "path": str(path),
            "name": "a.jsonl",
            "format": "alpaca",
            "why": "columns instruction, output",
            "formats": {"alpaca": 2},
            "kinds": {"chat": 2},
            "encoding": "utf-8",
            "rows": 2,
            "usable": 2,
        }
    ]


def test_each_problem_has_its_file_line_message_and_hint(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", GOOD, '{"instruction": "q"', GOOD, '{"instruction": "q", "output": null}')

    found = check(path)

    assert [{key: one[key] for key in ("kind", "file", "line", "count")} for one in found["problems"]] == [
        {"kind": "bad_json", "file": "a.jsonl", "line": 2, "count": 1},
        {"kind": "missing_field", "file": "a.jsonl", "line": 4, "count": 1},
    ]
    assert [one["message"] for one in found["problems"]][1] == "output is missing or null"
    assert [one["hint"] for one in found["problems"]] == [HINTS["bad_json"], HINTS["missing_field"]]


def test_counts_balance_over_files_of_several_kinds(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", GOOD, "", "{", "[]", GOOD, {"text": "t"}, {"chosen": "x", "rejected": "y"})
    written(tmp_path / "b.json", [{"text": "t"}, 5, {"x": 1}])
    written(tmp_path / "c.csv", "question,answer", "q,a", "q", '"q"x,a')
    written(tmp_path / "notes.md", "nothing")

    found = check(tmp_path)

    by_file = {one["name"]: (one["rows"], one["usable"]) for one in found["files"]}
    assert by_file == {"a.jsonl": (6, 3), "b.json": (3, 1), "c.csv": (3, 1)}
    assert found["rows"] == found["usable"] + sum(one["count"] for one in found["problems"]) == 12
    assert found["passed_over"] == ["notes.md"]
    assert found["files"][0]["formats"] == {"alpaca": 2, "text": 1}


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"session_id": "1", "role": "user", "content": "hi"}, "curate collect chats"),
        ({"会话id": "1", "发送者": "客服", "内容": "您好"}, "curate collect chats"),
        ({"user_question": "q", "bot_reply": "a"}, "--map instruction=user_question --map output=bot_reply"),
        ({"工单标题": "q", "处理回复": "a"}, "--map instruction=工单标题 --map output=处理回复"),
        ({"my question": "q", "the answer": "a"}, "--map instruction='my question' --map output='the answer'"),
        ({"n": 1, "story": "Once upon a time. " * 20, "tag": "x"}, "--map text=story"),
        ({"masked": "Once upon " * 20, "full_text": "Once upon " * 19}, "--map text=full_text"),
        ({"n": 1, "m": 2}, "curate formats"),
    ],
)
def test_unknown_columns_get_advice_that_names_them(tmp_path: Path, row: dict[str, Any], hint: str) -> None:
    path = written(tmp_path / "a.jsonl", row, row)

    found = check(path)

    assert [(one["kind"], one["count"]) for one in found["problems"]] == [("unknown_format", 2)]
    assert hint in found["problems"][0]["hint"]


def test_the_mapping_that_is_advised_works(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"user_question": "q", "bot_reply": "a"})

    found = check(path, columns={"user_question": "instruction", "bot_reply": "output"})

    assert found["problems"] == []
    assert found["files"][0]["why"] == "columns instruction, output"


def test_examples_are_masked(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"who": "li@example.com", "n": 1})

    found = check(path)

    assert "li@example.com" not in json.dumps(found)


@pytest.mark.parametrize(("rows", "status"), [([GOOD], 0), ([GOOD, "{"], 1)])
def test_the_exit_status_says_whether_rows_would_be_lost(tmp_path: Path, rows: list[str], status: int) -> None:
    path = written(tmp_path / "a.jsonl", *rows)

    done = CliRunner().invoke(app, ["check", str(path), "--json"])

    assert done.exit_code == status
    found = json.loads(done.output)
    assert {"path", "format", "encoding", "rows", "usable"} <= set(found["files"][0])
    assert all({"kind", "file", "line", "message", "hint"} <= set(one) for one in found["problems"])
