"""A job is one run of the engine: rounds and batches of many tries overlap, and their rows come in their order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from schemas.dataset import open_dataset
from synth.job import carry_out
from synth.recipe import load_recipe
from tests.helpers import write_rows
from tests.synth.command import questions, recipe
from tests.synth.endpoint import Running, Settings, endpoint

TWICE = '''"""An answer, and what is answered to it by a judge, if the question is no multiple of three."""

from synth.prompting import conversation
from synth.reading import said
from synth.request import Request
from synth.task import JUDGE, Task, turn


class Twice(Task):
    """An answer, and what is answered to it by a judge."""

    def rounds(self, seed, number, chance):
        [reply] = yield [conversation([turn("user", f"{seed.instruction} {number}")], max_tokens=self.max_tokens)]
        last = said(reply)
        if sum(map(int, filter(str.isdigit, seed.instruction))) % 3:
            asked = conversation([turn("user", f"Is it so? {last}")], max_tokens=self.max_tokens, teacher=JUDGE)
            both = yield [asked, Request({**asked.body, "temperature": 0.5}, 1, JUDGE)]
            last = " / ".join(map(said, both))
        return [seed.chat(f"{seed.instruction} {number}", last)]
'''


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with endpoint() as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(served: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served.set(**asdict(Settings(latency=0.01)))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twice.py").write_text(TWICE)


def carried_out(folder: Path, url: str, out: str, **changes: Any) -> tuple[dict[str, Any], Counter[str]]:
    """What a job made, and how many events of each kind it told."""
    told: Counter[str] = Counter()
    judge = {"model": "judge", "base_url": url}
    path = recipe(folder, url, task="./twice.py", judge=judge, **changes)
    loaded = load_recipe(path, {}, tokens=None, money=None)
    made = carry_out(loaded, Path(out), home=Path(f"home-{out}"), tell=lambda event: told.update([event["event"]]))
    return made, told


def data_of(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((Path(folder) / "data").iterdir())]


def test_rows_come_in_the_order_of_seeds_whatever_is_answered_first(served: Running, tmp_path: Path) -> None:
    write_rows(tmp_path / "seeds.jsonl", questions(150))
    quick, _ = carried_out(tmp_path, served.url, "quick")
    served.set(latency=0.02, jitter=4.0, errors=0.05, stray_refusals=0.03, retry_after=0.1)

    slow, told = carried_out(tmp_path, served.url, "slow")

    assert (quick["kept"], slow["kept"]) == (150, 150)
    assert data_of("quick") == data_of("slow")
    assert told["end"] == 1, "both rounds were asked in one run of the engine"


def test_batches_of_tries_that_depend_on_earlier_ones_are_one_run_too(served: Running, tmp_path: Path) -> None:
    made, told = carried_out(tmp_path, served.url, "made", rows=200)

    assert (made["kept"], made["missing"]) == (200, 0)
    assert told["end"] == 1


def test_seeds_of_which_nothing_can_be_asked_hold_nothing_up(served: Running, tmp_path: Path) -> None:
    silent = [{"messages": [{"role": "assistant", "content": f"Nobody asked {n}."}]} for n in range(1_500)]
    write_rows(tmp_path / "seeds.jsonl", [*silent, *questions(5), *silent])

    made, _ = carried_out(tmp_path, served.url, "made")

    assert (made["kept"], made["tries"]) == (5, made["seeds"])
    assert made["rejected"]["no_instruction"] == made["seeds"] - 5


def test_rows_are_noted_for_a_judge_only_when_it_is_asked(served: Running, tmp_path: Path) -> None:
    write_rows(tmp_path / "seeds.jsonl", questions(9))

    carried_out(tmp_path, served.url, "made")

    lines = [json.loads(line) for line in Path("home-made/egress.jsonl").read_text().splitlines()]
    noted = Counter(row for line in lines for row in line["rows"])
    parents = [
        row["parents"][0] for frame in open_dataset(Path("made")).batches() for row in frame.iter_rows(named=True)
    ]
    assert [noted[one] for one in parents] == [1, 2, 2, 1, 2, 2, 1, 2, 2]
