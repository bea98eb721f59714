"""The `synth` command as a user runs it, against a real endpoint: what it makes, costs, refuses and goes on with."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from schemas.dataset import open_dataset, problems
from tests.helpers import curate_json, write_rows
from tests.synth.command import questions, recipe, started, synth, synth_json
from tests.synth.endpoint import Running, Settings, endpoint

CANARY = "canary-5f1e0c77a9b24d3e"


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with endpoint() as running:
        yield running


@pytest.fixture
def teacher(served: Running) -> Running:
    served.set(**asdict(Settings(latency=0.01)))
    return served


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for frame in open_dataset(folder).batches() for row in frame.iter_rows(named=True)]


def data_of(folder: Path) -> list[bytes]:
    """The bytes that must not depend on timing or kills."""
    rejected = folder / "rejected.jsonl"
    files = [*sorted((folder / "data").iterdir()), *([rejected] if rejected.exists() else [])]
    return [path.read_bytes() for path in files]


def departures(home: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in (home / "egress.jsonl").read_text().splitlines()]
    return [(line["destination"], row) for line in lines for row in line["rows"]]


def test_a_recipe_becomes_a_dataset_and_says_what_it_cost(tmp_path: Path, teacher: Running) -> None:
    path = recipe(tmp_path, teacher.url, teacher={
        "model": "stub", "base_url": teacher.url, "revision": "7", "price": {"prompt": 1, "completion": 2},
    })  # fmt: skip

    found = synth_json("run", path, "--out", "made", cwd=tmp_path)

    made, spent = tmp_path / "made", found["tokens"]
    assert (found["dataset"], found["requested"], found["kept"], found["rejected"]) == ("made", 20, 20, {})
    assert (found["paid_requests"], found["resumed"], found["already_done"]) == (20, 0, False)
    assert found["money"] == pytest.approx((spent["prompt"] + 2 * spent["completion"]) / 1e6)
    assert list(problems(made)) == []
    row = rows_of(made)[3]
    extra = json.loads(row["extra"])
    assert row["source"] == "stub from seeds"
    assert (row["task"], row["lang"], row["copy"], len(row["parents"])) == ("./echo.py", "en", 0, 1)
    assert (extra["teacher"], extra["revision"], extra["depth"]) == ("stub", "7", 1)
    assert len(extra["request"]) == 64
    assert found["diversity"]["fields"]["answer"]["made"]["texts"] == 20
    assert found["diversity"]["depth"] == {"1": 20}
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "Synthesis report" in page and "教师模型的条款需人工审查" in page


def test_what_is_done_is_not_done_again_and_something_else_is_refused(tmp_path: Path, teacher: Running) -> None:
    path = recipe(tmp_path, teacher.url)
    synth_json("run", path, "--out", "made", cwd=tmp_path)

    again = synth_json("run", path, "--out", "made", cwd=tmp_path)
    other = synth_json("run", path, "--out", "made", "--set", "seed=1", cwd=tmp_path, status=2)
    replaced = synth_json("run", path, "--out", "made", "--set", "seed=1", "--replace", cwd=tmp_path)

    assert again["already_done"]
    assert "--replace" in other["errors"][0]["hint"]
    assert replaced["kept"] == 20
    assert teacher.counts()["requests"] == 20, "the other job asks the same, and pays nothing"


def test_one_more_seed_costs_one_more_request(tmp_path: Path, teacher: Running) -> None:
    path = recipe(tmp_path, teacher.url)
    synth_json("run", path, "--out", "made", cwd=tmp_path)
    write_rows(tmp_path / "seeds.jsonl", questions(21))

    found = synth_json("run", path, "--out", "more", cwd=tmp_path)

    assert (found["kept"], found["paid_requests"]) == (21, 1)
    assert teacher.counts()["requests"] == 21
    assert {row["id"] for row in rows_of(tmp_path / "made")} < {row["id"] for row in rows_of(tmp_path / "more")}


def test_rows_in_all_are_as_many_as_are_asked_for(tmp_path: Path, teacher: Running) -> None:
    path = recipe(tmp_path, teacher.url, rows=13)

    found = synth_json("run", path, "--out", "made", cwd=tmp_path)
    more = synth_json("run", path, "--out", "more", "--set", "rows=130", cwd=tmp_path)

    assert (found["kept"], found["requested"], found["missing"]) == (13, 13, 0)
    assert more["kept"] == 130
    assert len({row["id"] for row in rows_of(tmp_path / "more")}) == 130
    tried = [row["parents"][0] for row in rows_of(tmp_path / "more")]
    assert {tried.count(seed) for seed in tried} <= {6, 7}, "all seeds alike often"


def test_a_dry_run_shows_what_would_be_asked_and_asks_nothing(tmp_path: Path, teacher: Running) -> None:
    path = recipe(tmp_path, teacher.url, teacher={"model": "stub", "base_url": teacher.url, "price": {"prompt": 1}})

    found = synth_json("run", path, "--out", "made", "--dry-run", cwd=tmp_path)
    shown = synth("run", path, "--out", "made", "--dry-run", cwd=tmp_path)

    assert [one["messages"][0]["content"] for one in found["prompts"]] == [
        f"What is item {n}?" for n in range(0, 20, 2)
    ]
    assert found["requests"] == {"first_round": 20, "later_rounds_about": 0, "answered_already": 0}
    assert found["state"] == "new"
    assert found["destinations"][0]["refused"] == []
    assert "What is item 18?" in shown.stdout
    assert teacher.counts()["requests"] == 0
    assert not (tmp_path / "made").exists() and not (tmp_path / ".assay").exists()


def test_a_dry_run_counts_what_is_paid_for_already(tmp_path: Path, teacher: Running) -> None:
    path = recipe(tmp_path, teacher.url)
    synth_json("run", path, "--out", "made", cwd=tmp_path)
    write_rows(tmp_path / "seeds.jsonl", questions(25))

    found = synth_json("run", path, "--out", "more", "--dry-run", cwd=tmp_path)

    assert (found["requests"]["first_round"], found["requests"]["answered_already"]) == (25, 20)


def test_a_budget_that_ends_leaves_a_dataset_that_a_larger_one_completes(tmp_path: Path, teacher: Running) -> None:
    write_rows(tmp_path / "seeds.jsonl", questions(60))
    path = recipe(tmp_path, teacher.url, task={"use": "./echo.py", "max_tokens": 50})

    short = synth_json("run", path, "--out", "made", "--budget-tokens", 900, cwd=tmp_path)
    spent, asked = short["tokens"], teacher.counts()["requests"]
    seen = synth("run", path, "--out", "made", "--budget-tokens", 900, cwd=tmp_path)
    whole = synth_json("run", path, "--out", "made", "--budget-tokens", 1_000_000, cwd=tmp_path)
    direct = synth_json("run", path, "--out", "direct", "--home", "elsewhere", cwd=tmp_path)

    assert not short["complete"] and 0 < short["kept"] < 60
    assert short["kept"] + short["missing"] == 60
    assert spent["prompt"] + spent["completion"] <= 900
    assert "larger budget goes on" in seen.stdout and "are missing" in seen.stdout
    assert (whole["complete"], whole["kept"], whole["already_done"]) == (True, 60, False)
    assert whole["resumed"] == asked and whole["paid_requests"] == 60
    assert data_of(tmp_path / "made") == data_of(tmp_path / "direct")
    assert direct["fingerprint"] == whole["fingerprint"]


def test_money_is_a_budget_too(tmp_path: Path, teacher: Running) -> None:
    path = recipe(tmp_path, teacher.url, task={"use": "./echo.py", "max_tokens": 50}, teacher={
        "model": "stub", "base_url": teacher.url, "price": {"prompt": 10, "completion": 30},
    })  # fmt: skip

    found = synth_json("run", path, "--out", "made", "--budget-money", 0.008, "--strict", cwd=tmp_path, status=1)

    assert 0 < found["money"] <= 0.008
    assert found["findings"][0]["kind"] == "budget_spent"


def test_a_kill_costs_nothing_twice_and_changes_no_byte(tmp_path: Path, teacher: Running) -> None:
    slots = 16
    teacher.change(latency=0.02, slots=slots, text_tokens=10)
    write_rows(tmp_path / "seeds.jsonl", questions(1_200))
    path = recipe(tmp_path, teacher.url, task={"use": "./echo.py", "max_tokens": 50})
    synth_json("run", path, "--out", "whole", "--home", "other", cwd=tmp_path)
    teacher.set(latency=0.02, slots=slots, text_tokens=10)
    journal = tmp_path / ".assay" / "synth" / "answers.v1.journal"
    chance = random.Random(7)

    kills = 0
    for share in (0.1, 0.4, 0.8):
        process = started("run", path, "--out", "made", cwd=tmp_path)
        wanted = int(share * 1_200) + chance.randrange(50)
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b" a ") < wanted):
            time.sleep(0.02)
        kills += process.poll() is None
        process.kill()
        process.communicate()
        assert not (tmp_path / "made").exists()
    found = synth_json("run", path, "--out", "made", cwd=tmp_path)

    billed = sum(teacher.bill()["billed"].values())
    assert kills == 3
    assert (found["kept"], found["complete"]) == (1_200, True)
    assert found["resumed"] > 0
    assert 1_200 <= billed <= 1_200 + kills * teacher.counts()["peak"], "paid again: what was in flight"
    assert data_of(tmp_path / "made") == data_of(tmp_path / "whole")
    assert list(problems(tmp_path / "made")) == []


def test_an_interrupt_is_a_sentence_and_loses_nothing(tmp_path: Path, teacher: Running) -> None:
    teacher.change(latency=0.05, slots=4)
    write_rows(tmp_path / "seeds.jsonl", questions(400))
    path = recipe(tmp_path, teacher.url)
    process = started("run", path, "--out", "made", cwd=tmp_path)
    while teacher.counts()["billed"] < 40:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    stopped = teacher.counts()["billed"]
    teacher.change(latency=0.001, slots=64)
    found = synth_json("run", path, "--out", "made", cwd=tmp_path)

    assert process.returncode == 130, error
    assert "the same command" in error and "Traceback" not in error
    assert stopped < 400
    assert (found["kept"], found["resumed"] + found["this_run"]["paid_requests"]) == (400, 400)
    assert sum(teacher.bill()["billed"].values()) == 400


@pytest.mark.parametrize(
    ("settings", "said", "hint"),
    [
        ({"key": "right"}, "refuses us: 401", "see that its key is right"),
        pytest.param(
            {"status": 404, "message": "The model does not exist"},
            "refuses us: 404",
            "serves 'stub'",
            marks=pytest.mark.soak,
        ),
        pytest.param(
            {"status": 402, "message": "No money"}, "refuses us: 402", "no money left", marks=pytest.mark.soak
        ),
    ],
)
def test_a_teacher_that_refuses_is_a_sentence(
    settings: dict[str, Any], said: str, hint: str, tmp_path: Path, teacher: Running
) -> None:
    teacher.change(**settings)
    path = recipe(tmp_path, teacher.url, teacher={"model": "stub", "base_url": teacher.url, "api_key_env": "OUR_KEY"})

    found = synth_json("run", path, "--out", "made", cwd=tmp_path, status=2, OUR_KEY=CANARY)

    assert said in found["errors"][0]["message"]
    assert hint in found["errors"][0]["hint"]
    assert CANARY not in json.dumps(found)


@pytest.mark.slow  # half a minute of waiting, two seconds of CPU
def test_an_endpoint_that_is_down_is_a_sentence(tmp_path: Path) -> None:
    path = recipe(tmp_path, "http://127.0.0.1:1/v1")

    ran = synth("run", path, "--out", "made", cwd=tmp_path)

    assert ran.returncode == 2
    assert "http://127.0.0.1:1/v1 has not answered for" in ran.stderr
    assert "see that it runs" in ran.stderr and "Traceback" not in ran.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("way", [{"transport": "batch"}, {"transport": "openai"}, {"api": "responses"}])
def test_whatever_way_a_teacher_is_asked_the_rows_are_the_same(
    way: dict[str, str], tmp_path: Path, teacher: Running
) -> None:
    plain = {"model": "stub", "base_url": teacher.url}
    synth_json("run", recipe(tmp_path, teacher.url), "--out", "plain", "--home", "elsewhere", cwd=tmp_path)
    path = recipe(tmp_path, teacher.url, teacher={**plain, **way})

    found = synth_json("run", path, "--out", "made", cwd=tmp_path)

    assert (found["kept"], found["paid_requests"]) == (20, 20)
    assert bool(teacher.counts()["batches"]) is (way == {"transport": "batch"})
    assert rows_of(tmp_path / "made") == rows_of(tmp_path / "plain")
    assert len(departures(tmp_path / ".assay")) == 20


def test_no_key_is_ever_written_or_shown(tmp_path: Path, teacher: Running) -> None:
    teacher.change(key=CANARY)
    given = {"model": "stub", "base_url": teacher.url, "api_key_env": "OUR_KEY"}
    path = recipe(tmp_path, teacher.url, teacher=given)

    wrong = synth("run", path, "--out", "wrong", cwd=tmp_path, OUR_KEY=f"{CANARY}-wrong")
    right = synth("run", path, "--out", "made", cwd=tmp_path, OUR_KEY=CANARY)
    unset = synth("run", path, "--out", "unset", cwd=tmp_path)

    assert (wrong.returncode, right.returncode, unset.returncode) == (2, 0, 2)
    assert "OUR_KEY is not set" in unset.stderr
    said = "".join(ran.stdout + ran.stderr for ran in (wrong, right))
    held = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert CANARY not in said
    assert not any(CANARY.encode() in data for data in held)


def test_rows_that_may_hold_personal_data_go_nowhere_unless_it_is_trusted(tmp_path: Path, teacher: Running) -> None:
    far = {"model": "stub", "base_url": "https://llm.example.com/v1"}
    path = recipe(tmp_path, teacher.url, seeds="seeds.jsonl", teacher=far)

    refused = synth_json("run", path, "--out", "made", cwd=tmp_path, status=2)
    planned = synth_json("run", path, "--out", "made", "--dry-run", cwd=tmp_path)
    (tmp_path / "policy.yaml").write_text("trusted: [https://llm.example.com/v1]\n")
    trusted = synth_json("run", path, "--out", "made", "--dry-run", "--policy", "policy.yaml", cwd=tmp_path)

    assert "seeds (unknown) may hold personal data" in refused["errors"][0]["message"]
    assert "may hold personal data" in planned["destinations"][0]["refused"][0]["message"]
    assert trusted["destinations"] == [
        {"address": "https://llm.example.com/v1", "here": False, "trusted": True, "refused": []}
    ]
    assert not (tmp_path / ".assay").exists()


def test_every_row_that_leaves_is_written_down_once_for_each_endpoint(tmp_path: Path, teacher: Running) -> None:
    endpoints = [teacher.url, teacher.url.replace("127.0.0.1", "localhost")]
    path = recipe(tmp_path, teacher.url, teacher={"model": "stub", "endpoints": endpoints})
    synth_json("run", path, "--out", "made", cwd=tmp_path)
    write_rows(tmp_path / "seeds.jsonl", questions(21))

    synth_json("run", path, "--out", "more", cwd=tmp_path)

    noted = departures(tmp_path / ".assay")
    parents = {row["parents"][0] for row in rows_of(tmp_path / "more")}
    assert len(noted) == len(set(noted)) == 2 * 21, "what the journal answers goes nowhere again"
    assert {address for address, _ in noted} == set(endpoints)
    assert {row for _, row in noted} == parents


def test_restrictions_of_seeds_are_inherited_and_named(tmp_path: Path, teacher: Running) -> None:
    write_rows(tmp_path / "a.jsonl", questions(5))
    write_rows(tmp_path / "b.jsonl", questions(9)[5:])
    (tmp_path / "policy.yaml").write_text(
        "terms:\n  - {name: ours, models: stub, verdict: allow, source: contract 3, date: 2026-11-01}\n"
    )
    seeds = [
        {"path": "a.jsonl", "training": "denied", "personal_data": "none", "licence": "CC-BY-NC-4.0"},
        {"path": "b.jsonl", "training": "allowed", "personal_data": "present"},
    ]
    path = recipe(tmp_path, teacher.url, seeds=seeds)

    found = synth_json("run", path, "--out", "made", "--policy", "policy.yaml", cwd=tmp_path)

    sources = open_dataset(tmp_path / "made").manifest.sources
    of_a, of_b = sources["stub from a"], sources["stub from b"]
    assert (of_a.kind, of_a.training, of_a.personal_data, of_a.licence) == ("build", "denied", "none", "CC-BY-NC-4.0")
    assert (of_b.training, of_b.personal_data) == ("allowed", "present")
    assert "ours (2026-11-01)" in str(of_b.terms)
    assert "seeds_restrict" in [one["kind"] for one in found["findings"]]
    assert {row["source"] for row in rows_of(tmp_path / "made")} == {"stub from a", "stub from b"}


def test_bad_lines_are_rejected_with_file_and_line(tmp_path: Path, teacher: Running) -> None:
    lines = [json.dumps(row) for row in questions(3)]
    (tmp_path / "seeds.jsonl").write_text(
        "\n".join([lines[0], "{broken", lines[1], '["a list"]', '{"x": 1}', lines[2]])
    )
    path = recipe(tmp_path, teacher.url)

    found = synth_json("run", path, "--out", "made", cwd=tmp_path)

    dataset = open_dataset(tmp_path / "made")
    assert found["kept"] == 3
    assert [(one["file"], one["line"], one["reason"]) for one in dataset.rejected()] == [
        ("seeds.jsonl", 2, "bad_json"), ("seeds.jsonl", 4, "not_an_object"), ("seeds.jsonl", 5, "unknown_format"),
    ]  # fmt: skip
    assert list(problems(tmp_path / "made")) == []


def test_what_was_rejected_is_shown_with_what_was_answered(tmp_path: Path, teacher: Running) -> None:
    teacher.change(text="I'm sorry, but I can't help with that.")
    path = recipe(tmp_path, teacher.url, task="back_translation", per_seed=1)
    synth_json("run", path, "--out", "made", cwd=tmp_path)

    found = synth_json("show", "made", "--rejected", "all", "--limit", 3, cwd=tmp_path)
    unknown = synth_json("show", "made", "--rejected", "nonsense", cwd=tmp_path, status=2)
    summed = synth_json("show", "made", cwd=tmp_path)
    page = synth("show", "made", cwd=tmp_path).stdout

    assert len(found["rejected_rows"]) == 3
    assert "I'm sorry" in found["rejected_rows"][0]["answer"]
    assert "nothing was rejected for 'nonsense'" in unknown["errors"][0]["message"]
    assert summed["kept"] == 0 and sum(summed["rejected"].values()) == 20
    assert "nothing_made" in page and "seeds.jsonl" not in page
    held = (tmp_path / "made" / "rejected.jsonl").read_text()
    assert "What is item" not in held, "of a row there is no more than where to find it"


def test_a_dataset_is_seeds_and_held_out_rows_stay_held_out(tmp_path: Path, teacher: Running) -> None:
    write_rows(tmp_path / "rows.jsonl", [{**row, "split": split} for row, split in zip(
        questions(3), ("train", "test", "validation"), strict=True
    )])  # fmt: skip
    curate_json("import", tmp_path / "rows.jsonl", "--out", tmp_path / "seeds", "--personal-data", "none")
    path = recipe(tmp_path, teacher.url, seeds=["seeds"])

    found = synth_json("run", path, "--out", "made", cwd=tmp_path)
    again = synth_json("run", recipe(tmp_path, teacher.url, seeds=["made"]), "--out", "deeper", cwd=tmp_path)

    made = rows_of(tmp_path / "made")
    assert found["kept"] == 3
    assert [row["split"] for row in made] == ["train", "test", "validation"]
    assert [row["parents"] for row in made] == [[row["id"]] for row in rows_of(tmp_path / "seeds")]
    assert again["diversity"]["depth"] == {"2": 3}
    assert again["diversity"]["share_synthetic_seeds"] == 1.0
    assert [one["command"] for one in open_dataset(tmp_path / "deeper").manifest.chain] == ["import", "synth"]


def test_a_dataset_is_never_written_over_by_what_is_made_of_it(tmp_path: Path, teacher: Running) -> None:
    path = recipe(tmp_path, teacher.url)
    synth_json("run", path, "--out", "made", cwd=tmp_path)

    found = synth_json(
        "run", recipe(tmp_path, teacher.url, seeds=["made"]), "--out", "made", "--replace", cwd=tmp_path, status=2
    )

    assert "is read by this job" in found["errors"][0]["message"]


def test_progress_is_json_events_where_it_is_piped(tmp_path: Path, teacher: Running) -> None:
    teacher.change(latency=0.1, slots=2)
    write_rows(tmp_path / "seeds.jsonl", questions(60))
    path = recipe(tmp_path, teacher.url)

    ran = synth("run", path, "--out", "made", "--json", cwd=tmp_path)

    events = [json.loads(line) for line in ran.stderr.splitlines()]
    assert events and {one["event"] for one in events} == {"progress"}
    assert json.loads(ran.stdout)["kept"] == 60


def test_tasks_are_listed_and_shown_with_a_recipe(tmp_path: Path) -> None:
    listed = synth_json("tasks", cwd=tmp_path)
    shown = synth("tasks", "paraphrase", cwd=tmp_path).stdout
    unknown = synth_json("tasks", "parafrase", cwd=tmp_path, status=2)

    assert len(listed["tasks"]) == 16
    assert "wordings" in shown and "use: paraphrase" in shown
    assert unknown["errors"][0]["hint"] == "did you mean 'paraphrase'?"


KINDS = '''"""What a seed says, as its kind of row."""

from synth.prompting import conversation
from synth.reading import said
from synth.task import OneRound, turn


class Kinds(OneRound):
    """What a seed says, as its kind of row."""

    def ask(self, seed, number, chance):
        return [conversation([turn("user", seed.text)], max_tokens=self.max_tokens)]

    def read(self, seed, asked, answers):
        if "text" in seed.row:
            return [seed.made("text", {"text": said(answers[0])})]
        return [seed.chat(seed.instruction, said(answers[0]))]
'''


def test_rows_of_several_kinds_become_a_dataset_of_each(tmp_path: Path, teacher: Running) -> None:
    (tmp_path / "kinds.py").write_text(KINDS)
    write_rows(tmp_path / "seeds.jsonl", [*questions(3), {"text": "A text."}, {"text": "一段文字。"}, {"no": "row"}])
    path = recipe(tmp_path, teacher.url, task="./kinds.py")

    found = synth_json("run", path, "--out", "made", cwd=tmp_path)
    again = synth_json("run", path, "--out", "made", cwd=tmp_path)

    assert [(one["kind"], one["rows_out"]) for one in found["datasets"]] == [("chat", 3), ("text", 2)]
    assert (found["dataset"], found["kept"], again["already_done"]) == ("made/chat", 5, True)
    assert [row["lang"] for row in rows_of(tmp_path / "made" / "text")] == ["en", "zh"]
    assert [list(problems(tmp_path / "made" / kind)) for kind in ("chat", "text")] == [[], []]
