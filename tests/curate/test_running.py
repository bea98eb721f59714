"""Tests of curate/running.py, and of both engines with it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engines import local
from curate.engines.shards import run_shards
from curate.importing import import_files
from curate.read import Reading
from curate.recipe import load_recipe
from curate.running import plan, recipe_fingerprint, run_recipe
from curate.stages.length import Length
from schemas import dataset as datasets_module
from schemas.dataset import Dataset, open_dataset, problems
from schemas.errors import UserError
from schemas.lookup import names
from schemas.manifest import Counts, digest_hex, rows_digest
from tests.helpers import curate, curate_json, write_rows

TEA = {"instruction": "How do I make tea?", "output": "Boil some water first."}
ZH_TEA = {"instruction": "怎么泡茶？", "output": "先烧水，再放茶叶。"}
SHORT = {"instruction": "Why?", "output": "Yes."}
LONG_ENOUGH = {"use": "length", "min_chars": 5}


def imported(path: Path, rows: Sequence[Any], *, source: str = "web", **told: Any) -> Dataset:
    file = write_rows(path.with_name(f"{path.name}.jsonl"), list(rows))
    return import_files([file], path, Reading(source=source), told).datasets[0]


def recipe_file(folder: Path, *stages: Any, inputs: Sequence[Dataset] = (), **more: Any) -> str:
    said = {"inputs": [str(one.folder) for one in inputs], "stages": list(stages), **more}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(said, allow_unicode=True))
    return str(path)


def run(folder: Path, out: str, inputs: Sequence[Dataset], *stages: Any, **given: Any) -> Dataset:
    loaded = load_recipe(recipe_file(folder, *stages, inputs=inputs), given.pop("overrides", None))
    return run_recipe(loaded, folder / out, **given).datasets[0]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows_of(dataset: Dataset) -> list[dict[str, Any]]:
    return [row for frame in dataset.batches() for row in frame.iter_rows(named=True)]


def dropped_of(dataset: Dataset) -> list[dict[str, Any]]:
    return [row for frame in dataset.dropped() for row in frame.iter_rows(named=True)]


# --- What a run does --------------------------------------------------------------------------------------------------


def test_a_run_keeps_drops_and_says_why(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA, SHORT, ZH_TEA, TEA])

    clean = run(tmp_path, "clean", [raw], LONG_ENOUGH, "exact_duplicates")

    assert [row["origin"]["line"] for row in rows_of(clean)] == [1, 3]
    assert [(row["origin"]["line"], row["stage"], row["reason"]) for row in dropped_of(clean)] == [
        (2, "length", "too_short"),
        (4, "exact_duplicates", "copy"),
    ]
    assert clean.manifest.counts == Counts(rows_in=4, rows_out=2, dropped={"copy": 1, "too_short": 1})
    assert [(step.step, step.rows_in, step.dropped) for step in clean.manifest.steps] == [
        ("length", 4, {"too_short": 1}),
        ("exact_duplicates", 3, {"copy": 1}),
    ]
    assert not list(problems(clean.folder))


def test_an_edit_keeps_the_id_and_changes_the_content_hash(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [{"instruction": "Ｔｅａ？", "output": "Boil\u0000 water ﬁrst."}, TEA])

    clean = run(tmp_path, "clean", [raw], "normalise_text")

    before, after = rows_of(raw), rows_of(clean)
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert [old["content_hash"] != new["content_hash"] for old, new in zip(before, after, strict=True)] == [True, False]
    assert clean.manifest.steps[0].edited == 1
    assert not list(problems(clean.folder))


def test_a_run_never_changes_what_it_reads(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA, SHORT])
    before = {path: path.read_bytes() for path in raw.folder.rglob("*") if path.is_file()}

    run(tmp_path, "clean", [raw], "length", "normalise_text", "exact_duplicates")
    for out in ("raw", "raw/data", "raw/inside", "."):
        with pytest.raises(UserError, match="is read by this run"):
            run(tmp_path, out, [raw], "length", replace=True)

    assert {path: path.read_bytes() for path in raw.folder.rglob("*") if path.is_file()} == before


def test_what_a_stage_reads_is_not_written_over_either(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA])
    scores = write_rows(tmp_path / "scores" / "s.jsonl", [{"row_id": rows_of(raw)[0]["id"], "value": 1.0}])

    with pytest.raises(UserError, match=r"s\.jsonl is read by this run"):
        run(tmp_path, "scores", [raw], {"use": "top_by_score", "scores": str(scores), "keep_rows": 1}, replace=True)

    assert scores.is_file()


def test_rows_of_several_inputs_are_taken_once(tmp_path: Path) -> None:
    one = imported(tmp_path / "one", [TEA, SHORT])
    two = imported(tmp_path / "two", [ZH_TEA, TEA, TEA])

    clean = run(tmp_path, "clean", [one, two], "empty")

    assert [row["origin"]["file"] for row in rows_of(clean)] == ["one.jsonl", "one.jsonl", "two.jsonl", "two.jsonl"]
    assert [(row["stage"], row["reason"]) for row in dropped_of(clean)] == [("inputs", "repeated_row")]
    assert [(step.step, step.rows_in) for step in clean.manifest.steps] == [("inputs", 5), ("empty", 4)]
    assert clean.manifest.counts == Counts(rows_in=5, rows_out=4, dropped={"repeated_row": 1})


def test_a_run_that_drops_everything_makes_an_empty_dataset_and_says_so(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA, ZH_TEA])

    clean = run(tmp_path, "clean", [raw], {"use": "length", "min_chars": 1000}, "exact_duplicates", "normalise_text")
    cleaner = run(tmp_path, "cleaner", [clean], "exact_duplicates", "length")

    assert (clean.rows, cleaner.rows) == (0, 0)
    assert "source_lost_rows" in [one["kind"] for one in clean.manifest.findings]
    assert not list(problems(clean.folder)) + list(problems(cleaner.folder))
    assert pl.read_parquet(cleaner.folder / "data").height == 0


def test_rows_dropped_before_personal_data_was_replaced_are_told_of(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA, {"instruction": "电话？", "output": "13812345678"}, SHORT])

    late = run(tmp_path, "late", [raw], {"use": "length", "min_chars": 12}, "personal_data")
    early = run(tmp_path, "early", [raw], "personal_data", {"use": "length", "min_chars": 12})

    told = [one for one in late.manifest.findings if one["kind"] == "dropped_not_scrubbed"]
    assert [(one["severity"], one["count"]) for one in told] == [("high", sum(late.manifest.counts.dropped.values()))]
    assert "dropped_not_scrubbed" not in [one["kind"] for one in early.manifest.findings]


# --- Fingerprints -----------------------------------------------------------------------------------------------------


def mark_of(folder: Path, inputs: Sequence[Dataset], *stages: Any, **overrides: str) -> str:
    loaded = load_recipe(
        recipe_file(folder, *stages, inputs=inputs), {f"stages.{key}": overrides[key] for key in overrides}
    )
    return recipe_fingerprint(loaded, [open_dataset(one) for one in loaded.inputs])


def test_a_fingerprint_is_the_same_in_another_folder_and_process_and_order_of_keys(tmp_path: Path) -> None:
    marks = set()
    for name, keys in (("here", ("use", "min_chars", "field")), ("there", ("field", "min_chars", "use"))):
        (tmp_path / name).mkdir()
        raw = imported(tmp_path / name / "raw", [TEA])
        said = {"use": "length", "min_chars": 3, "field": "answer"}
        (tmp_path / name / "mine.py").write_text(MINE)
        stages = [{key: said[key] for key in keys}, {"use": str(tmp_path / name / "mine.py")}]
        marks.add(mark_of(tmp_path / name, [raw], *stages))
        for seed in ("1", "2"):
            command = [sys.executable, "-m", "curate.cli", "run", "recipe.yaml", "--out", "x", "--dry-run", "--json"]
            root = str(Path(__file__).parents[2])
            environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root}
            said_by = subprocess.check_output(command, cwd=tmp_path / name, env=environment)
            marks.add(orjson.loads(said_by)["fingerprint"])

    assert len(marks) == 1


MINE = """
import polars as pl
from curate.stage import Filter

class Mine(Filter):
    "Drop answers that say no."
    def reasons(self) -> dict[str, pl.Expr]:
        return {"no": self.text("answer").str.contains("no")}
"""


def test_everything_that_affects_the_rows_changes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = imported(tmp_path / "raw", [TEA, ZH_TEA])
    other = imported(tmp_path / "other", [TEA])
    licensed = imported(tmp_path / "licensed", [TEA, ZH_TEA], licence="MIT")
    turned = imported(tmp_path / "turned", [ZH_TEA, TEA])
    mine = tmp_path / "mine.py"
    mine.write_text(MINE)
    scores = write_rows(tmp_path / "scores.jsonl", [{"row_id": rows_of(raw)[0]["id"], "value": 1.0}])
    top = {"use": "top_by_score", "scores": str(scores), "keep_rows": 1}

    marks = [
        mark_of(tmp_path, [raw], "length"),
        mark_of(tmp_path, [other], "length"),
        mark_of(tmp_path, [licensed], "length"),
        mark_of(tmp_path, [turned], "length"),
        mark_of(tmp_path, [raw, other], "length"),
        mark_of(tmp_path, [other, raw], "length"),
        mark_of(tmp_path, [raw], "length", "length"),
        mark_of(tmp_path, [raw], "empty"),
        mark_of(tmp_path, [raw], "length", "empty"),
        mark_of(tmp_path, [raw], "empty", "length"),
        mark_of(tmp_path, [raw], {"use": "length", "name": "renamed"}),
        mark_of(tmp_path, [raw], {"use": "length", "min_chars": 2}),
        mark_of(tmp_path, [raw], {"use": "length", "field": "instruction"}),
        mark_of(tmp_path, [raw], "length", **{"length.max_chars": "7"}),
        mark_of(tmp_path, [raw], {"use": str(mine)}),
        mark_of(tmp_path, [raw], top),
    ]
    mine.write_text(MINE + "# another text\n")
    marks.append(mark_of(tmp_path, [raw], {"use": str(mine)}))
    scores.write_text(scores.read_text().replace("1.0", "2.0"))
    marks.append(mark_of(tmp_path, [raw], top))
    monkeypatch.setattr(Length, "version", 99)
    marks.append(mark_of(tmp_path, [raw], "length"))
    monkeypatch.setattr(Length, "libraries", ("polars",))
    marks.append(mark_of(tmp_path, [raw], "length"))

    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("mutations", [50, pytest.param(1000, marks=pytest.mark.soak)])
def test_no_changed_setting_is_taken_for_another(tmp_path: Path, mutations: int) -> None:
    raw = imported(tmp_path / "raw", [TEA])
    dice = random.Random(4)

    seen: dict[str, Any] = {}
    for _ in range(mutations):
        stages = [
            {"use": "length", "min_chars": dice.randrange(50), "max_chars": dice.randrange(50, 99)},
            {"use": "exact_duplicates", "keep": dice.choice(["first", "last"]), "prefer": dice.sample(["a", "b"], 2)},
            {"use": "balance", "max_rows": dice.randrange(1, 9), "seed": dice.randrange(9)},
        ]
        said = dice.sample(stages, dice.randrange(1, 4))
        assert seen.setdefault(mark_of(tmp_path, [raw], *said), said) == said

    assert len(seen) > mutations * 0.7


def test_a_plan_says_what_would_happen(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA, SHORT])
    loaded = load_recipe(recipe_file(tmp_path, LONG_ENOUGH, inputs=[raw]))
    other = load_recipe(recipe_file(tmp_path, "length", inputs=[raw]))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.docx").write_text("x")

    before = plan(loaded, tmp_path / "clean")
    run_recipe(loaded, tmp_path / "clean")

    assert (before["state"], before["rows_in"], before["kind"]) == ("new", 2, "chat")
    assert plan(loaded, tmp_path / "clean")["state"] == "already done"
    assert plan(other, tmp_path / "clean")["state"] == "holds another result: --replace would be needed"
    with pytest.raises(UserError, match="other files"):
        plan(loaded, tmp_path / "mine")


# --- Engines ----------------------------------------------------------------------------------------------------------

WORDS = [
    "tea",
    "water",
    "hot",
    "how",
    "茶",
    "水",
    "怎么",
    "please",
    "<name>",
    "[...]",
    "tea " * 12,
    "I cannot help with that.",
    "作为一个人工智能语言模型，我无法回答。",
    "好的",
    "Ｔｅａ",
    "na\u00efve",
    "```python\nx = 1",
    "and then the",
]
TASKS = [None, "qa", "chat"]


def some_rows(number: int, seed: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)

    def said(most: int) -> str:
        return " ".join(dice.choices(WORDS, k=dice.randrange(most)))

    rows: list[dict[str, Any]] = []
    for place in range(number):
        row: dict[str, Any] = {"instruction": said(3), "input": "", "output": said(9)}
        row["task"] = dice.choice(TASKS)
        row["score"] = place % 5
        rows.append(dice.choice([row, rows[-1] if rows else row]))
    return rows


def every_stage(raw: Dataset, folder: Path) -> list[dict[str, Any]]:
    scores = [{"row_id": row["id"], "value": float(int(row["id"][:4], 16))} for row in rows_of(raw)[::2]]
    needed: dict[str, dict[str, Any]] = {
        "balance": {"max_rows": 20},
        "length": {"min_chars": 2},
        "language": {"keep": ["zh", "en", "zh-en"]},
        "decontaminate": {"against": str(write_rows(folder / "evals.jsonl", [{"text": "What is asked here?"}]))},
        "top_by_score": {"scores": str(write_rows(folder / "scores.jsonl", scores)), "keep_share": 0.8},
        "where": {"column": "extra.score", "op": "<", "value": 4},
    }
    return [{"use": name, **needed.get(name, {})} for name in names("curate.stages")]


@pytest.mark.parametrize("seed", range(2))
def test_both_engines_give_the_same_rows_for_every_shipped_stage_however_rows_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    raw = imported(tmp_path / "raw", some_rows(150, seed))
    stages = every_stage(raw, tmp_path)
    random.Random(seed).shuffle(stages)
    whole = run(tmp_path, "whole", [raw], *stages)

    monkeypatch.setattr(datasets_module, "ROW_GROUP_BYTES", 2_000)
    monkeypatch.setattr(datasets_module, "SHARD_BYTES", 20_000)
    tiny = write_tiny(raw, tmp_path / "tiny", rows_each=7)
    parts = run(tmp_path, "parts", [tiny], *stages)
    loaded = load_recipe(recipe_file(tmp_path, *stages, inputs=[raw]))
    (frame,) = raw.batches()
    marked = run_shards("chat", [frame[place : place + 11] for place in range(0, frame.height, 11)], loaded.steps)

    reasons = whole.manifest.counts.dropped.keys()
    assert reasons & {"copy", "near_duplicate"} and len(reasons) > 1  # whichever of the two stages comes first
    assert whole.rows > 0
    assert parts.manifest.digest == whole.manifest.digest == digest_hex(rows_digest(marked.kept))
    assert rows_of(parts) == rows_of(whole) == list(marked.kept.iter_rows(named=True))
    by_shards = [
        (row["id"], row["stage"], row["reason"]) for one in marked.dropped for row in one.iter_rows(named=True)
    ]
    for one in (whole, parts):
        assert sorted((row["id"], row["stage"], row["reason"]) for row in dropped_of(one)) == sorted(by_shards)
        assert not list(problems(one.folder))
    assert_balanced(whole)


def write_tiny(dataset: Dataset, folder: Path, rows_each: int) -> Dataset:
    """The same dataset in small row groups."""
    from schemas.dataset import DatasetWriter, Told

    writer = DatasetWriter(folder, dataset.kind)
    frame = pl.concat(dataset.batches())
    for place in range(0, frame.height, rows_each):
        writer.add(frame[place : place + rows_each])
    writer.close()
    given = dataset.manifest.model_dump(include={"command", "name", "fingerprint", "sources"})
    writer.finish(Told(dataset.rows, given))
    return open_dataset(folder)


def assert_balanced(dataset: Dataset) -> None:
    """Each step got what the one before it left."""
    counts, steps = dataset.manifest.counts, dataset.manifest.steps
    assert steps[0].rows_in == counts.rows_in
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        left = step.rows_in - sum(step.dropped.values())
        assert left == (following.rows_in if following is not None else counts.rows_out)
    assert sum((Counter(step.dropped) for step in steps), Counter()) == Counter(counts.dropped)
    assert counts.rows_out == dataset.rows == len(rows_of(dataset))


STAGES = st.lists(
    st.sampled_from(["empty", "exact_duplicates", "normalise_text", "length", "refusal", "balance", "truncated"]),
    min_size=1,
    max_size=5,
)


@settings(max_examples=15, deadline=None)
@given(STAGES, st.integers(0, 40), st.integers(0, 99), st.booleans())
def test_counts_always_balance(
    tmp_path_factory: pytest.TempPathFactory, stages: list[str], number: int, seed: int, twice: bool
) -> None:
    folder = tmp_path_factory.mktemp("balance")
    raw = imported(folder / "raw", [TEA, *some_rows(number, seed)])
    more = [imported(folder / "more", [TEA, *some_rows(number // 2, seed + twice)])]
    settings_of = {"balance": {"max_rows": 3}, "length": {"min_chars": 4}}

    clean = run(folder, "clean", [raw, *more], *({"use": name, **settings_of.get(name, {})} for name in stages))

    assert_balanced(clean)
    assert not list(problems(clean.folder))
    assert {row["id"] for row in rows_of(clean)}.isdisjoint(
        {row["id"] for row in dropped_of(clean) if row["stage"] != "inputs"}
    )


def test_a_comparison_gets_the_rows_it_asks_for_in_the_order_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_tiny(
        imported(tmp_path / "raw", [{"instruction": str(n), "output": str(n)} for n in range(20)]), tmp_path / "tiny", 3
    )
    (tmp_path / "asks.py").write_text(ASKS)

    clean = run(tmp_path, "clean", [raw], {"use": str(tmp_path / "asks.py")})

    assert [row["because"] for row in dropped_of(clean)] == ["19 0 7 7"]
    assert clean.manifest.steps[0].use == "asks"


ASKS = """
import polars as pl
from curate.stage import Compare

class Asks(Compare):
    "Drop the first row and say what four others are."
    def summary(self):
        return {}
    def choose(self, summaries, fetch):
        found = fetch([19, 0, 7, 7], ["field:answer"])
        said = " ".join(found["field:answer"])
        return pl.DataFrame({"ordinal": [0], "reason": ["first"], "because": [said]})
"""


# --- When things go wrong ---------------------------------------------------------------------------------------------

RAISES = """
import polars as pl
from curate.stage import Filter

def look(texts):
    for text in texts:
        if "bad" in text:
            raise {error}("cannot read it")
    return pl.Series([False] * len(texts))

class Raises(Filter):
    "Raises on some rows."
    def reasons(self):
        answer = self.text("answer")
        return {{"wrong": answer.map_batches(look, return_dtype=pl.Boolean, is_elementwise=True)}}
"""


@pytest.mark.parametrize("error", ["ValueError", "KeyError", "ZeroDivisionError", "RuntimeError", "AttributeError"])
def test_a_stage_that_raises_stops_the_run_naming_the_row(tmp_path: Path, error: str) -> None:
    rows = [{"instruction": str(number), "output": "good"} for number in range(50)]
    rows[37]["output"] = "bad"
    raw = imported(tmp_path / "raw", rows)
    (tmp_path / "raises.py").write_text(RAISES.format(error=error))
    before = names_in(tmp_path)

    with pytest.raises(UserError, match="cannot read it") as said:
        run(tmp_path, "clean", [raw], "exact_duplicates", {"use": str(tmp_path / "raises.py")})

    assert "'raises'" in said.value.message
    assert rows_of(raw)[37]["id"] in said.value.message
    assert "\n" not in said.value.message
    assert names_in(tmp_path) == sorted([*before, "recipe.yaml"])


def test_a_users_own_stage_is_carried_out(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA, {"instruction": "Tea?", "output": "no"}])
    (tmp_path / "mine.py").write_text(MINE)
    recipe_file(tmp_path, {"use": "./mine.py"}, inputs=[raw])

    said = curate("run", "recipe.yaml", "--out", "clean", cwd=tmp_path)

    clean = open_dataset(tmp_path / "clean")
    assert said.returncode == 0
    assert [(row["stage"], row["reason"]) for row in dropped_of(clean)] == [("mine", "no")]
    assert clean.manifest.steps[0].use == "mine"


def test_a_comparison_that_breaks_its_promise_is_our_bug_and_publishes_nothing(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA, ZH_TEA])
    (tmp_path / "asks.py").write_text(
        ASKS.replace("[19, 0, 7, 7]", "[0]")
        .replace('"ordinal": [0]', '"ordinal": [0, 0]')
        .replace('["first"]', '["a", "b"]')
        .replace("[said]", "[said, said]")
    )

    with pytest.raises(ValueError, match="twice"):
        run(tmp_path, "clean", [raw], {"use": str(tmp_path / "asks.py")})

    assert not (tmp_path / "clean").exists()


def test_a_full_disk_publishes_nothing_and_the_run_continues_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = imported(tmp_path / "raw", [TEA, ZH_TEA, TEA])
    done: list[str] = []
    segment = local.LocalEngine._segment

    def counted(self: local.LocalEngine, rows: Any, steps: Any, choice: Any, folder: Path) -> None:
        done.append(folder.name)
        segment(self, rows, steps, choice, folder)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local.LocalEngine, "_segment", counted)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(pq.ParquetWriter, "write_table", full)
        run(tmp_path, "clean", [raw], "exact_duplicates", "length")
    nothing = not (tmp_path / "clean").exists()
    clean = run(tmp_path, "clean", [raw], "exact_duplicates", "length")

    assert nothing
    assert done == ["000"]
    assert clean.rows == 2
    assert ".clean.assay-tmp" not in names_in(tmp_path)


def test_inputs_that_do_not_fit_together_are_sentences(tmp_path: Path) -> None:
    one = imported(tmp_path / "one", [TEA])
    two = imported(tmp_path / "two", [TEA], licence="MIT")
    text = imported(tmp_path / "text", [{"text": "plain"}])

    with pytest.raises(UserError, match="describe the source 'web' differently"):
        run(tmp_path, "clean", [one, two], "length")
    with pytest.raises(UserError, match="different kinds of rows: chat, text"):
        run(tmp_path, "clean", [one, text], "length")


def test_json_says_what_a_run_made(tmp_path: Path) -> None:
    raw = imported(tmp_path / "raw", [TEA, SHORT])

    found = curate_json("run", recipe_file(tmp_path, LONG_ENOUGH, inputs=[raw]), "--out", tmp_path / "clean")

    assert (found["rows_in"], found["rows_out"], found["dropped"], found["rejected"]) == (2, 1, {"too_short": 1}, 0)
    assert found["dataset"] == str(tmp_path / "clean")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte; skipped where it takes more rights than the tests have."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full_is_a_sentence_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    dice = random.Random(2)
    raw = imported(
        tmp_path / "raw", [{"instruction": f"{n}", "output": f"{dice.getrandbits(2000):x}"} for n in range(2000)]
    )
    recipe = recipe_file(tmp_path, "exact_duplicates", inputs=[raw])

    said = curate("run", recipe, "--out", small_disk / "out")
    there = (small_disk / "out").exists()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    again = curate("run", recipe, "--out", small_disk / "out")

    assert said.returncode == 2 and "disk is full" in said.stderr and "Traceback" not in said.stderr
    assert not there
    assert again.returncode == 0
    assert names_in(small_disk) == ["out"]
    assert open_dataset(small_disk / "out").rows == 2000
