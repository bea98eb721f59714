"""Tests of curate/lineage.py."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.importing import import_files
from curate.lineage import difference, look, trace
from curate.read import Reading
from curate.recipe import load_recipe
from curate.running import run_recipe
from schemas.dataset import Dataset, open_dataset
from schemas.errors import UserError
from schemas.manifest import Manifest, sealed
from tests.helpers import curate_json, write_rows

TEA = {"id": "tea-1", "instruction": "How do I make tea?", "output": "Boil some water first."}
AGAIN = {"id": "tea-2", "instruction": "how do I make  tea?", "output": "Boil some water first."}
WIDE = {"id": "wide", "instruction": "Ｈｏｗ ｍｕｃｈ？", "output": "Call 13812345678, ﬁrst.\x1b[31m"}
SHORT = {"id": "short", "instruction": "Why?", "output": "Yes."}
STAGES: list[Any] = ["normalise_text", {"use": "length", "min_chars": 5}, "exact_duplicates", "empty"]


def imported(path: Path, rows: Sequence[Any], source: str = "web") -> Dataset:
    file = write_rows(path.parent / "in" / f"{path.name}.jsonl", list(rows))
    return import_files([file], path, Reading(source=source), {}).datasets[0]


def run(out: Path, inputs: Sequence[Dataset], *stages: Any) -> Dataset:
    recipe = out.parent / f"{out.name}.yaml"
    recipe.write_text(yaml.safe_dump({"inputs": [str(one.folder) for one in inputs], "stages": list(stages)}))
    return run_recipe(load_recipe(str(recipe)), out).datasets[0]


@pytest.fixture
def raw(tmp_path: Path) -> Dataset:
    return imported(
        tmp_path / "raw",
        [TEA, SHORT, AGAIN, WIDE, "bad", {"id": "tea-3", **{k: TEA[k] for k in ("instruction", "output")}}],
    )


@pytest.fixture
def clean(tmp_path: Path, raw: Dataset) -> Dataset:
    return run(tmp_path / "clean", [raw], *STAGES)


def steps(found: dict[str, Any]) -> list[str]:
    return [f"{one['step']} {one['verdict']}" for one in found["way"]]


def id_of(dataset: Dataset, external_id: str) -> str:
    frames = [*dataset.batches(["id", "external_id"]), *dataset.dropped()]
    found = [frame.filter(external_id=external_id)["id"].to_list() for frame in frames]
    return str(next(one[0] for one in found if one))


# --- why --------------------------------------------------------------------------------------------------------------


def test_a_row_is_found_by_id_its_beginning_the_users_id_and_its_place(clean: Dataset) -> None:
    whole = id_of(clean, "tea-1")

    for name in (whole, whole[:8], whole[:8].upper(), "tea-1", "raw.jsonl:1"):
        found = trace(clean.folder, name)

        assert (found["id"], found["external_id"], found["where"]) == (whole, "tea-1", "raw.jsonl:1")
        assert found["fate"] == "kept"
        assert steps(found) == [
            "read read",
            "normalise_text kept",
            "length kept",
            "exact_duplicates kept",
            "empty kept",
        ]


def test_a_dropped_row_is_shown_with_the_row_that_was_kept_instead(clean: Dataset) -> None:
    found = trace(clean.folder, "tea-2")

    last = found["way"][-1]
    assert found["fate"] == "dropped"
    assert steps(found)[-1] == "exact_duplicates dropped"
    assert last["reason"] == "copy"
    assert id_of(clean, "tea-1") in last["because"]
    assert "raw.jsonl:1, which was kept: How do I make tea?" in last["because"]
    assert found["row"]["turns"][0]["text"].startswith("how do I make")


def test_a_row_that_was_dropped_first_shows_no_later_step(clean: Dataset) -> None:
    found = trace(clean.folder, "short")

    assert steps(found) == ["read read", "normalise_text kept", "length dropped"]
    assert found["way"][-1]["reason"] == "too_short"
    assert "4" in found["way"][-1]["because"]


def test_a_row_that_was_rewritten_says_what_changed_and_shows_nothing_raw(clean: Dataset) -> None:
    found = trace(clean.folder, "wide")

    assert steps(found)[1] == "normalise_text rewritten"
    assert "\x1b" not in str(found)
    assert "13812345678" not in str(found)


def test_input_that_was_rejected_is_found_by_its_place(clean: Dataset, raw: Dataset) -> None:
    for folder in (raw.folder, clean.folder):
        found = trace(folder, "raw.jsonl:5")

        assert (found["fate"], found["in"]) == ("rejected", str(raw.folder))
        assert found["way"][0]["reason"] == "not_an_object"


def test_a_row_that_an_earlier_run_dropped_is_found_from_the_last_dataset(tmp_path: Path, clean: Dataset) -> None:
    second = run(tmp_path / "second", [clean], {"use": "length", "min_chars": 22})
    third = run(tmp_path / "third", [second], "empty")

    gone = trace(third.folder, "tea-2")
    kept = trace(third.folder, "tea-1")

    assert (gone["fate"], gone["in"]) == ("dropped", str(clean.folder))
    assert steps(gone)[-1] == "exact_duplicates dropped"
    assert [one["dataset"].rpartition("/")[2] for one in kept["way"]] == ["raw", *["clean"] * 4, "second", "third"]


def test_a_row_of_two_inputs_is_the_one_that_was_kept(tmp_path: Path, raw: Dataset) -> None:
    more = imported(tmp_path / "more", [TEA])
    both = run(tmp_path / "both", [raw, more], "empty")

    found = trace(both.folder, id_of(raw, "tea-1"))

    assert both.manifest.counts.dropped == {"repeated_row": 1}
    assert (found["fate"], found["where"]) == ("kept", "raw.jsonl:1")


def test_what_is_missing_on_the_way_is_named(clean: Dataset, raw: Dataset) -> None:
    shutil.rmtree(raw.folder)

    kept = trace(clean.folder, "wide")
    dropped = trace(clean.folder, "tea-2")

    assert kept["missing"] == [str(raw.folder)]
    assert steps(kept)[0].startswith("normalise_text kept (perhaps rewritten")
    assert steps(dropped)[-1] == "exact_duplicates dropped"
    with pytest.raises(UserError, match=r"no row 'raw\.jsonl:5'"):
        trace(clean.folder, "raw.jsonl:5")


def test_another_dataset_in_the_place_of_the_parent_is_not_taken_for_it(
    tmp_path: Path, clean: Dataset, raw: Dataset
) -> None:
    shutil.rmtree(raw.folder)
    imported(tmp_path / "raw", [SHORT])

    assert trace(clean.folder, "tea-1")["missing"] == [str(raw.folder)]


def test_datasets_that_moved_together_are_still_found(tmp_path: Path, clean: Dataset, raw: Dataset) -> None:
    (tmp_path / "archive").mkdir()
    for one in (clean, raw):
        one.folder.rename(tmp_path / "archive" / one.folder.name)

    found = trace(tmp_path / "archive" / "clean", "tea-1")

    assert found["missing"] == []
    assert steps(found)[0] == "read read"


@pytest.mark.parametrize(
    "name", ["nobody", "", ":", "raw.jsonl:99", "other.jsonl:1", "f" * 32, "raw.jsonl:x", "'; drop"]
)
def test_a_name_that_fits_no_row_is_a_sentence(clean: Dataset, name: str) -> None:
    with pytest.raises(UserError, match="there is no row") as error:
        trace(clean.folder, name)

    assert "FILE:LINE" in error.value.hint


def test_a_name_that_fits_several_rows_lists_them(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA | {"output": "one"}, TEA | {"output": "two"}])

    with pytest.raises(UserError, match=r"2 rows of .* are 'tea-1'") as error:
        trace(raw.folder, "tea-1")

    assert "raw.jsonl:1" in error.value.hint and "raw.jsonl:2" in error.value.hint


def test_a_stage_that_a_manifest_names_as_a_file_is_never_run(tmp_path: Path, raw: Dataset) -> None:
    reasons = "return {'no': self.text('answer') == 'no'}"
    stage = f"from curate.stage import Filter\nclass Mine(Filter):\n  'Mine.'\n  def reasons(self): {reasons}\n"
    (tmp_path / "mine.py").write_text(stage)
    clean = run(tmp_path / "clean", [raw], {"use": str(tmp_path / "mine.py")}, "empty")
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'was-here')!r}, 'w')\n{stage}")

    found = trace(clean.folder, "tea-1")

    assert steps(found) == ["read read", "mine kept", "empty kept"]
    assert "not carried out again" in found["way"][1]["because"]
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("use", ["no_such_stage", "length", "where"])
def test_a_stage_that_cannot_be_carried_out_again_is_said(clean: Dataset, use: str) -> None:
    said = clean.manifest.model_dump()
    said["recipe"]["stages"][0] = {"use": use, "no_such_setting": 1}
    (clean.folder / "manifest.json").write_bytes(sealed(Manifest.model_validate(said)))

    assert trace(clean.folder, "tea-1")["way"][1]["because"] == "the stage is not there any more"


def test_a_row_of_a_folder_of_several_datasets_is_found(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", [TEA, {"text": "plain", "id": "text-1"}, "bad"])
    import_files([file], tmp_path / "out", Reading(), {})

    assert trace(tmp_path / "out", "tea-1")["in"] == str(tmp_path / "out" / "chat")
    assert trace(tmp_path / "out", "text-1")["in"] == str(tmp_path / "out" / "text")
    assert trace(tmp_path / "out", "rows.jsonl:3")["fate"] == "rejected"


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_shows_rows_dropped_rows_and_rejected_input(clean: Dataset, raw: Dataset) -> None:
    kept = look(clean.folder)
    copies = look(clean.folder, dropped="copy", limit=1)
    every = look(clean.folder, dropped="all")
    rejected = look(raw.folder, rejected=True)

    assert [row["where"] for row in kept["rows"]] == ["raw.jsonl:1", "raw.jsonl:4"]
    assert [row["reason"] for row in copies["rows"]] == ["copy"]
    assert sorted(row["reason"] for row in every["rows"]) == ["copy", "copy", "too_short"]
    assert [one["line"] for one in rejected["rejected"]] == [5]
    assert "13812345678" not in str(kept) and "\x1b" not in str(kept)


def test_a_reason_that_nothing_was_dropped_for_gets_the_nearest(clean: Dataset, raw: Dataset) -> None:
    with pytest.raises(UserError, match="dropped for 'to_short'") as error:
        look(clean.folder, dropped="to_short")
    with pytest.raises(UserError) as none:
        look(raw.folder, dropped="copy")

    assert error.value.hint == "did you mean 'too_short'?"
    assert none.value.hint == "no row was dropped at all"


# --- diff -------------------------------------------------------------------------------------------------------------


def test_a_difference_says_what_was_added_removed_and_changed_and_why(clean: Dataset, raw: Dataset) -> None:
    found = difference(raw.folder, clean.folder)
    back = difference(clean.folder, raw.folder)
    same = difference(raw.folder, raw.folder)

    assert found["rows"] == {"added": 0, "removed": 3, "changed": 1, "unchanged": 1, "same_content": 0}
    assert found["removed_by_reason"] == {"copy": 2, "too_short": 1}
    assert [one["after"]["id"] for one in found["examples"]["changed"]] == [id_of(raw, "wide")]
    assert len(found["examples"]["removed"]) == 3
    assert found["by_source"] == {"web": {"a": 5, "b": 2}}
    assert back["rows"] == {"added": 3, "removed": 0, "changed": 1, "unchanged": 1, "same_content": 0}
    assert same["same"] and same["rows"] == {"added": 0, "removed": 0, "changed": 0, "unchanged": 5, "same_content": 0}


def test_a_difference_with_an_empty_dataset_is_everything(tmp_path: Path, raw: Dataset) -> None:
    empty = run(tmp_path / "empty", [raw], {"use": "length", "min_chars": 999})

    assert difference(raw.folder, empty.folder)["rows"]["removed"] == 5
    assert difference(empty.folder, raw.folder)["rows"]["added"] == 5
    assert difference(empty.folder, empty.folder)["same"]


def test_datasets_of_different_kinds_are_not_compared(tmp_path: Path, raw: Dataset) -> None:
    text = imported(tmp_path / "text", [{"text": "plain"}])

    with pytest.raises(UserError, match=r"holds chat rows and .* holds text rows"):
        difference(raw.folder, text.folder)


def test_the_commands_say_the_same(clean: Dataset, raw: Dataset) -> None:
    why = curate_json("why", clean.folder, "tea-2")
    diff = curate_json("diff", raw.folder, clean.folder)

    assert (why["fate"], diff["rows"]["removed"]) == ("dropped", 3)
    assert open_dataset(clean.folder).rows == 2
