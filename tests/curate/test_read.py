"""Files are found in a fixed order, each row is read in its own format, and its id comes from what it says alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate.importing import import_files
from curate.read import Piece, Reading, Repeats, find_files, find_rows, importers, read_files
from schemas.errors import UserError


def written(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def pieces(*paths: Path, **settings: Any) -> list[Piece]:
    reading = Reading(**settings).checked()
    return list(read_files(find_rows(paths, reading).files, reading))


def rows(*paths: Path, **settings: Any) -> list[dict[str, Any]]:
    return [row for one in pieces(*paths, **settings) if one.frame is not None for row in one.frame.to_dicts()]


def reasons(*paths: Path, **settings: Any) -> list[tuple[int | None, str]]:
    return [(reject.line, reject.reason) for one in pieces(*paths, **settings) for reject in one.rejects]


def formats(*paths: Path, **settings: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in pieces(*paths, **settings):
        total.update(one.formats)
    return {name: count for name, count in total.items() if count}


ASK = {"instruction": "q", "output": "a"}


def asks(number: int) -> dict[str, Any]:
    return {"instruction": f"q{number}", "output": "a"}


# --- Which files ------------------------------------------------------------------------------------------------------


def test_files_of_a_folder_come_in_order_named_by_their_path_in_it(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/z.jsonl", "a/b/c.csv", "c.JSON"):
        written(tmp_path / name, ASK)

    found = find_rows([tmp_path], Reading())

    assert [file.name for file in found.files] == ["b.jsonl", "c.JSON", "a/z.jsonl", "a/b/c.csv"]


def test_hidden_files_and_files_that_stand_beside_rows_are_not_read(tmp_path: Path) -> None:
    for name in ("a.jsonl", ".hidden.jsonl", ".git/x.jsonl", "dataset_info.json", "readme.md"):
        written(tmp_path / name, ASK)

    found = find_rows([tmp_path], Reading())

    assert [file.name for file in found.files] == ["a.jsonl"]
    assert found.passed_over == ["dataset_info.json", "readme.md"]


def test_files_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    one, two = written(tmp_path / "x/a.jsonl", ASK), written(tmp_path / "y/a.jsonl", ASK)

    found = find_rows([one, two], Reading())

    assert [file.name for file in found.files] == ["x/a.jsonl", "y/a.jsonl"]


def test_rows_belong_to_the_source_named_after_their_path(tmp_path: Path) -> None:
    one, two = written(tmp_path / "shop.v1.jsonl", ASK), written(tmp_path / "faq/a.jsonl", ASK)

    found = rows(one, two.parent)

    assert [row["source"] for row in found] == ["shop", "faq"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone.jsonl", "does not exist"), ("a.exe", "ending that is not known"), ("empty", "no file with rows")],
)
def test_a_path_that_cannot_be_read_is_a_mistake_with_advice(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    written(tmp_path / "a.exe", "x")

    with pytest.raises(UserError, match=message) as caught:
        find_rows([tmp_path / name], Reading())

    assert caught.value.hint


def test_a_file_named_twice_is_a_mistake(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", ASK)

    with pytest.raises(UserError, match="named twice"):
        find_files([path, path], None, importers())


def test_a_dataset_is_not_imported_again(tmp_path: Path) -> None:
    import_files([written(tmp_path / "a.jsonl", ASK)], tmp_path / "made", Reading(), {})

    with pytest.raises(UserError, match="is a dataset already"):
        find_rows([tmp_path / "made"], Reading())


@pytest.mark.parametrize(("settings", "hint"), [({"format": "alpca"}, "alpaca"), ({"encoding": "utf-9"}, "gb18030")])
def test_a_setting_that_does_not_exist_is_a_mistake(settings: dict[str, Any], hint: str) -> None:
    with pytest.raises(UserError) as caught:
        Reading(**settings).checked()

    assert hint in caught.value.hint


# --- Which format -----------------------------------------------------------------------------------------------------


def test_each_row_of_a_mixed_file_is_read_in_its_own_format(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", ASK, {"text": "t"}, {"prompt": "q", "chosen": "a", "rejected": "b"}, ASK)

    assert formats(path) == {"alpaca": 2, "text": 1, "preference_text": 1}
    assert [row["origin"]["line"] for row in rows(path) if "messages" in row] == [1, 4]


def test_null_columns_of_other_formats_do_not_hide_a_rows_own(tmp_path: Path) -> None:
    blank = dict.fromkeys(("prompt", "completion", "chosen", "rejected", "label", "text"))
    path = written(
        tmp_path / "a.jsonl",
        blank | {"prompt": "q", "completion": "a"},
        blank | {"prompt": "q", "chosen": "a", "rejected": "b"},
        blank | {"text": "t"},
        blank | {"prompt": "q", "completion": "a", "label": True},
    )

    assert formats(path) == {"prompt_completion_text": 1, "preference_text": 1, "text": 1, "kto": 1}


def test_a_missing_field_is_named_when_no_format_fits(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", ASK, {"instruction": "q", "output": None})

    assert reasons(path) == [(2, "missing_field")]


@pytest.mark.parametrize("labels", [["good", "true", "bad", "false"], ["true", "good", "false", "bad"]])
def test_the_order_of_labels_does_not_matter(tmp_path: Path, labels: list[str]) -> None:
    path = written(tmp_path / "a.jsonl", *({"prompt": "q", "completion": "a", "label": label} for label in labels))

    verdicts = {json.loads(row["extra"] or '{"label": "judged"}')["label"]: row["verdict"] for row in rows(path)}

    assert formats(path) == {"prompt_completion_text": 2, "kto": 2}
    assert verdicts["good"] is None


def test_a_format_that_is_named_is_every_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"prompt": "q", "response": "a", "text": "t"}, {"text": "t"})

    assert formats(path, format="text") == {"text": 2}
    assert reasons(path, format="alpaca") == [(2, "missing_field")]


def test_columns_that_are_mapped_are_read_as_the_field(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"frage": "q", "antwort": "a", "output": "not this"})

    found = rows(path, columns={"frage": "instruction", "antwort": "output"})

    assert [turn["content"] for turn in found[0]["messages"]] == ["q", "a"]


def test_the_users_own_fields_have_their_columns(tmp_path: Path) -> None:
    own = {"id": 7, "task": "t", "lang": "zh", "split": "test"}
    path = written(tmp_path / "a.jsonl", ASK | own, ASK | dict.fromkeys(own, ""), ASK | dict.fromkeys(own))

    found = rows(path, task="by default")

    names = ("external_id", "task", "lang", "split")
    assert [tuple(row[name] for name in names) for row in found] == [
        ("7", "t", "zh", "test"),
        (None, "by default", None, None),
        (None, "by default", None, None),
    ]


# --- Ids --------------------------------------------------------------------------------------------------------------


def ids(*paths: Path) -> list[str]:
    return [row["id"] for row in rows(*paths)]


def test_an_id_does_not_depend_on_where_the_row_stands(tmp_path: Path) -> None:
    one = written(tmp_path / "one/a.jsonl", asks(1), asks(2), asks(3))
    two = written(tmp_path / "two/a.csv", "question,answer", "q3,a", "new,a", "q1,a", "q2,a")

    before, after = ids(one), ids(two)

    assert after[0] == before[2]
    assert after[2:] == before[:2]


def test_rows_that_say_the_same_have_ids_of_their_own(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a.jsonl", ASK, ASK, asks(1)), written(tmp_path / "b/a.jsonl", ASK)

    found = ids(one, two)

    assert len(set(found)) == 4
    assert found[:1] + found[2:3] == ids(written(tmp_path / "c/a.jsonl", ASK, asks(1)))


def test_another_source_gives_other_ids(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a.jsonl", ASK), written(tmp_path / "b.jsonl", ASK)

    found = rows(one, two)

    assert found[0]["content_hash"] == found[1]["content_hash"]
    assert found[0]["id"] != found[1]["id"]


def test_repeats_are_counted_across_frames_of_any_size() -> None:
    contents = [bytes([number % 5]) * 16 for number in range(500)]
    repeats, seen = Repeats(), Counter[bytes]()
    expected = []
    for content in contents:
        expected.append(seen[content])
        seen[content] += 1

    counted = []
    for begin, end in [(0, 1), (1, 3), (3, 100), (100, 101), (101, 499), (499, 500)]:
        counted += repeats.count("s", b"".join(contents[begin:end])).tolist()

    assert counted == expected
