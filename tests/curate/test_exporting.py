"""What was imported comes back from every kind of file, whole or not at all; trainers find what they look for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from curate.cli import app
from curate.exporting import ENDINGS, export_dataset
from curate.importing import import_files
from curate.read import Reading
from schemas.dataset import open_dataset
from schemas.errors import UserError
from schemas.formats import FORMATS

HARD = [
    "=1+1",
    "\t+1",
    " spaced ",
    'say "hi", twice; or\nnot',
    "a\r\nb\rc",
    "\u0000\u0007 null",
    "[1, 2]",
    '{"a": 1}',
    "𠮷😀 \u2028 ﬁ",
    "_x000D_ and _x0041_",
    "NaN",
    "007",
    "",
]
"""Texts that files of one kind or another are known to spoil."""

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": ["x"]}}}
SHAREGPT_CALL = '{"name": "f", "arguments": {"x": [1, null], "y": {"z": 1.5}}}'


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content} | more


def said(speaker: str, value: str, **more: Any) -> dict[str, Any]:
    return {"from": speaker, "value": value} | more


def rows_of(name: str, text: str) -> list[dict[str, Any]]:
    """Some rows of a format around a text."""
    user, good, bad = turn("user", text), turn("assistant", f"good {text}"), turn("assistant", f"bad {text}")
    chat = [user, good | {"weight": 0.5}, user, turn("assistant", "more", reasoning_content=text, time=1)]
    calling = [
        user,
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL | {"id": "c2"}]},
        turn("tool", text, tool_call_id="c1", name="f"),
        good,
    ]
    human = [said("human", text), said("gpt", text, weight=0)]
    told = [said("human", text), said("function_call", SHAREGPT_CALL), said("observation", text), said("gpt", "x")]
    numbers = {"margin": 0.5, "weight": 2.0, "raters": 3, "agreement": 0.75}
    made: dict[str, list[dict[str, Any]]] = {
        "alpaca": [
            {"instruction": text, "input": "", "output": "a"},
            {"instruction": "q", "input": text, "output": text, "system": "s", "history": [["q", text]]},
        ],
        "kto_alpaca": [{"instruction": text, "input": "x", "output": text, "kto_tag": False}],
        "sharegpt": [{"conversations": human}, {"conversations": told, "system": "s", "tools": json.dumps([TOOL])}],
        "kto_sharegpt": [{"conversations": human, "label": True}, {"conversations": told, "label": False}],
        "messages": [{"messages": chat}, {"messages": calling, "tools": [TOOL], "system": "s"}],
        "kto_messages": [{"messages": chat, "label": False}, {"messages": calling, "tools": [TOOL], "label": True}],
        "pairs": [{"conversation": [{"human": text, "assistant": text}] * 2, "system": "s"}],
        "prompt_completion": [
            {"prompt": [user], "completion": [good]},
            {"prompt": calling[:2], "completion": calling[2:]},
        ],
        "kto_prompt_completion": [{"prompt": [user], "completion": [good], "label": True}],
        "prompt_completion_text": [{"prompt": text, "completion": text, "n": 1, "flag": True, "deep": {"a": [text]}}],
        "kto": [{"prompt": text, "completion": text, "label": True}],
        "preference": [
            {"prompt": [user], "chosen": [good], "rejected": [bad], **numbers},
            {"prompt": chat, "chosen": calling[1:], "rejected": [bad], "tools": [TOOL]},
        ],
        "preference_text": [{"prompt": text, "chosen": text, "rejected": f"{text}!", "input": text, **numbers}],
        "preference_implicit": [{"chosen": [user, good], "rejected": [user, bad]}],
        "preference_implicit_text": [
            {key: f"\n\nHuman: {text}\n\nAssistant: {key}" for key in ("chosen", "rejected")},
        ],
        "preference_sharegpt": [{"conversations": human[:1], "chosen": human[1], "rejected": told[1], "system": "s"}],
        "rejected_response": [
            {"messages": [user, good], "rejected_response": text},
            {"messages": calling, "rejected_messages": [user, bad, user, good]},
        ],
        "openai_preference": [
            {"input": {"messages": [user], "tools": [TOOL]}, "preferred_output": [good], "non_preferred_output": [bad]},
            {"input": {"messages": [user], "n": 1}, "preferred_output": calling[1:], "non_preferred_output": [bad]},
        ],
        "candidates": [
            {"prompt": [user], "answers": [{"messages": [good], "score": 1, "rank": 2, "x": 5}, {"messages": [bad]}]},
        ],
        "text": [{"text": f"{text}."}, {"text": f"{text}!", "title": "t", "path": "p"}],
    }  # fmt: skip
    return [row | {"id": f"{number}"} for number, row in enumerate(made[name])]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="")
    return path


def curate(*arguments: object) -> Any:
    """What a command prints as JSON."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def hashes(dataset: Path) -> list[tuple[str, str]]:
    return [
        (row["external_id"], row["content_hash"])
        for frame in open_dataset(dataset).batches()
        for row in frame.iter_rows(named=True)
    ]


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset of each format, by its name."""
    folder = tmp_path_factory.mktemp("imported")
    for name in FORMATS:
        rows = [row for text in HARD for row in rows_of(name, text)]
        curate("import", jsonl(folder / f"{name}.jsonl", rows), "--out", folder / name)
    return {name: folder / name for name in FORMATS}


FILES = [*ENDINGS, ".jsonl.gz", ".json.zst", ".csv.gz", ".tsv.zst"]


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("name", FORMATS)
def test_rows_come_back_from_every_kind_of_file(
    imported: dict[str, Path], tmp_path: Path, name: str, ending: str
) -> None:
    out = tmp_path / f"rows{ending}"

    exported = curate("export", imported[name], "--format", name, "--out", out)
    curate("import", out, "--out", tmp_path / "again")

    before, after = hashes(imported[name]), hashes(tmp_path / "again")
    assert open_dataset(tmp_path / "again").kind == open_dataset(imported[name]).kind
    assert after == before
    assert not exported["rejected"]


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=5), ending=st.sampled_from(ENDINGS))
def test_any_text_comes_back_from_any_file(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], ending: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = [{"id": f"{n}", "instruction": text, "input": text, "output": text} for n, text in enumerate(texts)]
    import_files([jsonl(folder / "a.jsonl", rows)], folder / "a", Reading(), {})

    export_dataset(folder / "a", "alpaca", folder / f"out{ending}")
    import_files([folder / f"out{ending}"], folder / "b", Reading(), {})

    assert hashes(folder / "b") == hashes(folder / "a")


def test_more_rows_than_one_piece_of_parquet_keep_one_schema(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"messages": [turn("user", "q"), turn("assistant", f"{n}")]} for n in range(10_500)]
    rows[10_400] = {"messages": [turn("user", "q"), turn("assistant", "a", weight=0.5, time=[1])], "tools": [TOOL]}
    import_files([jsonl(tmp_path / "a.jsonl", rows)], tmp_path / "a", Reading(), {})

    export_dataset(tmp_path / "a", "messages", tmp_path / "out.parquet")
    import_files([tmp_path / "out.parquet"], tmp_path / "b", Reading(), {})

    assert hashes(tmp_path / "b") == hashes(tmp_path / "a")


def test_no_cell_of_a_workbook_is_a_formula(tmp_path: Path) -> None:
    rows = [{"instruction": "=1+1", "output": '=HYPERLINK("http://x")', "=cmd": "=A1"}]
    import_files([jsonl(tmp_path / "a.jsonl", rows)], tmp_path / "a", Reading(), {})

    export_dataset(tmp_path / "a", "alpaca", tmp_path / "out.xlsx")

    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").worksheets[0]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value} == {"s"}
    assert sheet["A2"].value == "=1+1"


def test_formulas_in_csv_are_named_and_escaped_on_request(tmp_path: Path) -> None:
    import_files([jsonl(tmp_path / "a.jsonl", [{"instruction": "=1+1", "output": "a"}])], tmp_path / "a", Reading(), {})

    plain = export_dataset(tmp_path / "a", "alpaca", tmp_path / "plain.csv")
    export_dataset(tmp_path / "a", "alpaca", tmp_path / "safe.csv", escape_formulas=True)

    assert [(one["kind"], one["count"]) for one in plain["findings"]] == [("formulas", 1)]
    assert (tmp_path / "safe.csv").read_text().splitlines()[1].startswith("'=1+1")


@pytest.mark.parametrize("ending", FILES)
def test_an_export_that_is_interrupted_leaves_no_file(
    imported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    def interrupted(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("curate.exporting.os.fsync", interrupted)

    with pytest.raises(KeyboardInterrupt):
        export_dataset(imported["alpaca"], "alpaca", tmp_path / f"out{ending}")

    assert list(tmp_path.iterdir()) == []


def test_an_export_that_is_interrupted_leaves_the_file_that_was_there(
    imported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "out.jsonl").write_text("mine")
    monkeypatch.setattr("curate.exporting.os.fsync", interrupted)

    with pytest.raises(KeyboardInterrupt):
        export_dataset(imported["alpaca"], "alpaca", tmp_path / "out.jsonl", replace=True)

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.jsonl", "mine")]


def test_rows_that_the_format_cannot_say_are_listed_beside_the_file(tmp_path: Path) -> None:
    rows = [{"messages": [turn("user", "q"), turn("assistant", "a")]}, {"messages": [turn("user", "q")] * 2}]
    import_files([jsonl(tmp_path / "a.jsonl", rows)], tmp_path / "a", Reading(), {})

    done = export_dataset(tmp_path / "a", "alpaca", tmp_path / "out.csv")

    assert (done["rows_in"], done["rows_out"]) == (2, 1)
    refused = [json.loads(line) for line in Path(done["rejected_file"]).read_text().splitlines()]
    assert [(one["file"], one["line"], one["reason"]) for one in refused] == [("a.jsonl", 2, "not_expressible")]


@pytest.mark.parametrize(
    ("name", "ending", "row", "reason"),
    [
        ("text", ".csv", {"text": " "}, "blank"),
        ("text", ".xlsx", {"text": "x" * 40_000}, "longer"),
        ("prompt_completion_text", ".csv", {"prompt": json.dumps([turn("user", "q")]), "completion": ""}, "as JSON"),
    ],
)
def test_a_row_that_a_table_would_not_give_back_is_refused(
    tmp_path: Path, name: str, ending: str, row: dict[str, Any], reason: str
) -> None:
    import_files([jsonl(tmp_path / "a.jsonl", [row])], tmp_path / "a", Reading(), {})

    done = export_dataset(tmp_path / "a", name, tmp_path / f"out{ending}")

    assert done["rows_out"] == 0
    assert [reason in one for one in done["rejected"]] == [True]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.dataset_info is not None])
def test_the_entry_for_llama_factory_names_columns_that_are_there(
    imported: dict[str, Path], tmp_path: Path, name: str, ending: str
) -> None:
    (tmp_path / "dataset_info.json").write_text('{"other": {"file_name": "other.json"}}')

    done = export_dataset(imported[name], name, tmp_path / f"my.v1{ending}")

    known = json.loads((tmp_path / "dataset_info.json").read_text())
    assert known["other"] == {"file_name": "other.json"}
    if done["dataset_info"] is None:
        assert ending == ".csv" or [one["kind"] for one in done["findings"]] == ["tool_calls"]
        return
    entry = known["my.v1"]
    reader: dict[str, Any] = {".jsonl": pl.read_ndjson, ".json": pl.read_json, ".csv": pl.read_csv}
    options = {} if ending in (".csv", ".parquet") else {"infer_schema_length": None}
    frame = reader.get(ending, pl.read_parquet)(tmp_path / entry["file_name"], **options)
    assert set(entry["columns"].values()) <= set(frame.columns)
    kinds = {key: frame[column].dtype for key, column in entry["columns"].items()}
    for key in ("prompt", "query", "response", "system", "tools"):
        if key in kinds and name not in ("messages", "kto_messages"):
            assert kinds[key] == pl.String
    if "messages" in kinds:
        inner = {one.name for one in kinds["messages"].inner.fields}
        tags = entry.get("tags", {"role_tag": "from", "content_tag": "value"})
        assert {tags["role_tag"], tags["content_tag"]} <= inner


def test_messages_without_tool_calls_have_an_entry_for_llama_factory(tmp_path: Path) -> None:
    rows = [{"messages": [turn("user", "q"), turn("assistant", "a")], "system": "s"}]
    import_files([jsonl(tmp_path / "a.jsonl", rows)], tmp_path / "a", Reading(), {})

    export_dataset(tmp_path / "a", "messages", tmp_path / "out")

    entry = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["a"]
    assert entry["columns"] == {"messages": "messages", "system": "system"}
    assert entry["tags"]["role_tag"] == "role"


def test_a_packed_file_has_no_entry_for_llama_factory_which_cannot_read_it(
    imported: dict[str, Path], tmp_path: Path
) -> None:
    done = export_dataset(imported["alpaca"], "alpaca", tmp_path / "out.jsonl.gz")

    assert done["dataset_info"] is None
    assert not (tmp_path / "dataset_info.json").exists()


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("alpca", "out.jsonl", "alpca"),
        ("preference", "out.jsonl", "holds chat rows"),
        ("alpaca", "out.doc", ".doc"),
        ("alpaca", "out.parquet.gz", "packed already"),
        ("alpaca", "there.jsonl", "exists"),
    ],
)
def test_a_mistake_is_named_before_anything_is_written(
    imported: dict[str, Path], tmp_path: Path, name: str, out: str, message: str
) -> None:
    (tmp_path / "there.jsonl").write_text("mine")

    with pytest.raises(UserError) as caught:
        export_dataset(imported["alpaca"], name, tmp_path / out)

    assert message in caught.value.message
    assert caught.value.hint
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("there.jsonl", "mine")]


def test_the_same_rows_give_the_same_bytes(imported: dict[str, Path], tmp_path: Path) -> None:
    for ending in (".jsonl", ".jsonl.gz", ".csv.zst", ".parquet"):
        for name in ("one", "two"):
            export_dataset(imported["messages"], "messages", tmp_path / f"{name}{ending}")

        assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()


# --- Splits ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splits")
    names = ["train"] * 4 + ["validation", "test"]
    rows = [{"instruction": f"问 {n}", "output": f"答 {n}", "split": name} for n, name in enumerate(names)]
    import_files([jsonl(folder / "rows.jsonl", rows)], folder / "faq", Reading(), {})
    return folder / "faq"


def read_lines(path: Path) -> list[str]:
    return [json.loads(line)["instruction"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_folder_gets_a_file_of_each_split(splits: Path, tmp_path: Path) -> None:
    found = export_dataset(splits, "alpaca", tmp_path)

    assert found["files"] == {
        str(tmp_path / "faq-train.jsonl"): 4,
        str(tmp_path / "faq-validation.jsonl"): 1,
        str(tmp_path / "faq-test.jsonl"): 1,
    }
    assert read_lines(tmp_path / "faq-train.jsonl") == ["问 0", "问 1", "问 2", "问 3"]
    assert read_lines(tmp_path / "faq-test.jsonl") == ["问 5"]
    info = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))
    assert list(info) == ["faq-train", "faq-validation", "faq-test"]
    assert (found["rows_in"], found["rows_out"], found["findings"]) == (6, 6, [])


def test_one_split_can_be_asked_for(splits: Path, tmp_path: Path) -> None:
    found = export_dataset(splits, "alpaca", tmp_path / "out.csv", split="validation")

    assert (found["rows_in"], found["rows_out"], found["findings"]) == (1, 1, [])
    assert "问 4" in (tmp_path / "out.csv").read_text(encoding="utf-8")


def test_several_splits_in_one_file_are_a_finding(splits: Path, tmp_path: Path) -> None:
    found = export_dataset(splits, "alpaca", tmp_path / "out.jsonl")

    assert found["rows_out"] == 6
    assert [(one["kind"], one["count"]) for one in found["findings"]] == [("splits_in_one_file", 2)]


def test_a_split_that_is_not_there_is_told_with_the_nearest(splits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no split 'trian'") as caught:
        export_dataset(splits, "alpaca", tmp_path, split="trian")

    assert caught.value.hint == "did you mean 'train'?"
    assert not list(tmp_path.iterdir())


def test_no_file_is_written_when_one_of_them_exists(splits: Path, tmp_path: Path) -> None:
    (tmp_path / "faq-test.jsonl").write_text("mine")

    with pytest.raises(UserError, match=r"faq-test\.jsonl exists"):
        export_dataset(splits, "alpaca", tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["faq-test.jsonl"]
