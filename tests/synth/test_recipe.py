"""Recipes of jobs: every mistake at once with its line, overrides, and never a key."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from schemas.errors import RecipeError, UserError, UserErrors
from synth.budget import Price
from synth.recipe import Recipe, load_recipe
from synth.task import Task
from synth.tasks.paraphrase import Paraphrase

GOOD = """\
name: better words
seeds: [rows.jsonl]
task:
  use: paraphrase
  wordings: 4
teacher:
  model: gpt-4o-mini
  base_url: https://api.example.com/v1
  api_key_env: EXAMPLE_KEY
  price: {prompt: 0.15, completion: 0.6}
  rpm: 500
judge: local
rows: 500
budget: {tokens: 1000000, money: 5}
seed: 3
"""


def loaded(folder: Path, text: str, **overrides: str) -> Recipe:
    (folder / "rows.jsonl").write_text('{"text": "a"}\n')
    path = folder / "recipe.yaml"
    path.write_text(text.replace("rows.jsonl", str(folder / "rows.jsonl")), encoding="utf-8")
    return load_recipe(path, {key.replace("__", "."): value for key, value in overrides.items()})


def mistakes(folder: Path, text: str, **overrides: str) -> list[tuple[int | None, str]]:
    with pytest.raises(UserError) as caught:
        loaded(folder, text, **overrides)
    error = caught.value
    found = error.errors if isinstance(error, UserErrors) else [error]
    assert all(isinstance(one, RecipeError) for one in found)
    return [(one.line, f"{one.message} / {one.hint}") for one in found]


def test_a_recipe_is_read_whole(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD)

    teacher, judge = found.teachers
    assert found.task == Paraphrase(wordings=4)
    assert (found.name, found.job.rows, found.job.seed) == ("better words", 500, 3)
    assert (teacher.name, teacher.endpoints[0].key_env) == ("gpt-4o-mini", "EXAMPLE_KEY")
    assert teacher.endpoints[0].requests_per_minute == 500
    assert teacher.price.completion == Decimal("0.6")
    assert (judge.role, judge.local, found.has_judge) == ("judge", True, True)
    assert (found.budget.tokens, found.budget.money) == (1_000_000, 5)


def test_the_command_line_changes_settings(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD.replace("task:\n  use: paraphrase\n  wordings: 4", "task: paraphrase"), **{
        "task__wordings": "7", "rows": "20", "teacher__model": "other", "budget__money": "0.5",
    })  # fmt: skip

    assert found.task == Paraphrase(wordings=7)
    assert (found.job.rows, found.teachers[0].model, found.budget.money) == (20, "other", Decimal("0.5"))


def test_every_mistake_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        GOOD.replace("wordings: 4", "wording: 4")
        .replace("base_url:", "baseurl:")
        .replace("prompt: 0.15", "prompt: -1")
        .replace("judge: local", "judge: locl")
        .replace("seed: 3", "sead: 3")
        .replace("rows: 500", "rows: none")
    )

    found = mistakes(tmp_path, text)

    assert [(line, said.partition(" / ")[2]) for line, said in found if "did you mean" in said] == [
        (5, "did you mean 'wordings'?"),
        (8, "did you mean 'base_url'?"),
        (12, "did you mean 'local'?"),
        (15, "did you mean 'seed'?"),
    ]
    assert {line for line, _ in found} >= {5, 8, 10, 12, 13, 15}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seeds: [rows.jsonl]\n", ""), "names no seeds"),
        (("[rows.jsonl]", "[nowhere.jsonl]"), "nowhere.jsonl does not exist"),
        (("use: paraphrase", "use: parafrase"), "did you mean 'paraphrase'?"),
        (("rows: 500", "rows: 500\nper_seed: 2"), "cannot both be given"),
        (("rows: 500", "tries: 5"), "tries belongs to rows"),
        (("rows: 500", "rows: 0"), "rows"),
        (("  price: {prompt: 0.15, completion: 0.6}\n", ""), "a budget of money needs prices"),
        (("judge: local", "judge: {model: x, base_url: 'https://b.example/v1'}"), "needs prices: x has none"),
        (("price: {prompt: 0.15, completion: 0.6}", "price:"), "needs prices: gpt-4o-mini has none"),
        (("price: {prompt: 0.15, completion: 0.6}", "price: {prompt: 0.15}"), "needs prices: gpt-4o-mini has none"),
        (("https://api.example.com/v1", "api.example.com"), "is not the address of an endpoint"),
        (("https://api", "https://me:secret@api"), "holds a password"),
        (("judge: local", "judge: {model: x}"), "'base_url' is missing"),
        (("judge: local", "judge: {local: nowhere.gguf}"), "nowhere.gguf is not a file"),
        (("use: paraphrase\n  wordings: 4", "use: preference_pairs\n  teachers: ['', strong]"), "no teacher is called"),
        (("rpm: 500", "endpoints: [https://a.example/v1]"), "cannot both be given"),
        (("budget: {tokens: 1000000, money: 5}", "budget: 5"), "tokens and money"),
    ],
)
def test_a_mistake_is_a_sentence(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace(*change))

    assert any(said in one for _, one in found), found
    assert not any("secret" in one for _, one in found)


@pytest.mark.parametrize("text", ["", "3", "- a\n", "teacher: 5\n", "seeds: 7\ntask: []\nteacher: []\nteachers: x\n"])
def test_what_is_no_recipe_is_a_sentence(text: str, tmp_path: Path) -> None:
    assert mistakes(tmp_path, text)


@pytest.mark.parametrize(
    "line",
    [
        "api_key: sk-abcdefghijklmnop1234",
        "api_key_env: sk-abcdefghijklmnop1234",
        "api_key_env: 0123456789abcdefghijklmnop1234",
        "api_key_env: abcdefghijklmnop12340123456789",
        "endpoints: [{base_url: 'https://a.example', api_key: sk-abcdefghijklmnop1234}]",
    ],
)
def test_a_key_in_a_recipe_is_refused_and_not_repeated(line: str, tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("api_key_env: EXAMPLE_KEY", line))

    assert any("api_key_env" in said for _, said in found)
    assert not any("abcdefghijklmnop1234" in said for _, said in found)


def test_what_is_kept_of_a_recipe_says_what_it_is_but_no_address_changes_what_is_made(tmp_path: Path) -> None:
    one = loaded(tmp_path, GOOD)
    other = loaded(tmp_path, GOOD.replace("api.example.com/v1", "b.example/v1?key=x").replace("money: 5", "money: 6"))

    assert one.identity() == other.identity()
    assert "key=x" not in str(other.filled())
    assert one.filled()["task"] == {"use": "paraphrase", **one.task.model_dump(mode="json")}


def test_several_teachers_and_endpoints_are_read(tmp_path: Path) -> None:
    text = GOOD.replace(
        "judge: local", "judge: strong\nteachers:\n  strong: {model: big, base_url: 'http://localhost:1'}"
    )
    text = text.replace("  base_url: https://api.example.com/v1\n", "  endpoints:\n    - https://a.example/v1\n"
                        "    - {base_url: 'https://b.example/v1', rpm: 10}\n")  # fmt: skip

    found = loaded(tmp_path, text)

    first = found.teachers[0]
    assert [(one.url, one.key_env, one.requests_per_minute) for one in first.endpoints] == [
        ("https://a.example/v1", "EXAMPLE_KEY", 500),
        ("https://b.example/v1", "EXAMPLE_KEY", 10),
    ]
    assert {one.role: one.model for one in found.teachers[1:]} == {"strong": "big", "judge": "big"}


def test_a_task_of_ones_own_counts_by_its_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    body = "from synth.task import Task\n\n\nclass Mine(Task):\n    def rounds(self, seed, number, chance):\n        "
    file.write_text(body + "return []\n        yield\n")
    before = loaded(tmp_path, GOOD.replace("use: paraphrase\n  wordings: 4", f"use: {file}")).identity()
    file.write_text(body + "return [1]\n        yield\n")

    after = loaded(tmp_path, GOOD.replace("use: paraphrase\n  wordings: 4", f"use: {file}"))

    assert isinstance(after.task, Task)
    assert before != after.identity()


FREE = "price: {prompt: 0, completion: 0}"
HERE = "{model: here, base_url: 'http://127.0.0.1:8000/v1'}"


def test_a_price_of_nothing_is_a_price(tmp_path: Path) -> None:
    both = GOOD.replace("judge: local", "judge: {model: x, base_url: 'https://b.example/v1', " + FREE + "}")

    assert loaded(tmp_path, both).teachers[1].price == Price(0, 0)
    assert loaded(tmp_path, GOOD.replace("price: {prompt: 0.15, completion: 0.6}", FREE)).budget.money == 5


def test_a_teacher_on_this_machine_needs_no_price_beside_one_that_has_one(tmp_path: Path) -> None:
    beside = GOOD.replace("judge: local", f"judge: {HERE}")
    alone = GOOD.replace("  price: {prompt: 0.15, completion: 0.6}\n", "").replace(
        "https://api.example.com", "http://[::1]:1"
    )
    elsewhere_too = beside.replace(HERE, "{model: x, endpoints: ['http://127.0.0.1:8000/v1', 'https://b.example/v1']}")

    assert loaded(tmp_path, beside).teachers[1].model == "here"
    assert any("gpt-4o-mini has none" in said for _, said in mistakes(tmp_path, alone))
    assert any("needs prices: x has none" in said for _, said in mistakes(tmp_path, elsewhere_too))


def test_without_a_budget_of_money_nobody_asks_for_prices(tmp_path: Path) -> None:
    text = GOOD.replace("  price: {prompt: 0.15, completion: 0.6}\n", "").replace(", money: 5", "")

    assert loaded(tmp_path, text).budget.money is None


def test_vllm_in_this_process_has_no_address(tmp_path: Path) -> None:
    text = GOOD.replace("rpm: 500", "transport: vllm")
    within = text.replace("  base_url: https://api.example.com/v1\n", "").replace("  api_key_env: EXAMPLE_KEY\n", "")

    found = loaded(tmp_path, within)

    assert [(one.url, one.transport) for one in found.teachers[0].endpoints] == [("http://localhost", "vllm")]
    assert [line for line, said in mistakes(tmp_path, text) if "runs in this process, and asks nobody at" in said] == [
        8
    ]
