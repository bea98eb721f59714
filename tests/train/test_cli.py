from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_architecture import HEAVY
from tests.train import tiny_gguf

ROOT = Path(__file__).parents[2]


def train(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the `train` command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "train.cli", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT
    )


def modules_after(*arguments: str) -> set[str]:
    """The modules that are loaded when a command has run."""
    script = (
        "import sys, json; from train.cli import main; sys.argv = ['train', *json.loads(sys.argv[1])]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.stderr.write(json.dumps(sorted(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, json.dumps(arguments)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(ran.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--help"], ["import-model", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & {*HEAVY.split(), "peft", "trl", "gguf", "safetensors", "huggingface_hub"}


def test_a_plan_loads_no_torch(small_model: Path) -> None:
    of_folder = modules_after("plan", "--model", str(small_model), "--gpu", "24GB")

    assert "train.plan" in of_folder
    assert not of_folder & {"torch", "transformers", "peft", "gguf", "safetensors"}


def test_a_plan_is_told_to_people_and_to_machines() -> None:
    told = train("plan", "--model", "qwen2.5-7b", "--gpu", "24GB", "--adapter", "qlora", "--batch-size", "2")
    found: dict[str, Any] = json.loads(train("plan", "--model", "qwen2.5-7b", "--gpu", "24GB", "--json").stdout)

    assert told.returncode == 0, told.stderr
    assert "7,615,616,512 parameters" in told.stdout
    assert "Recommended: lora" in told.stdout
    assert {"memory_gb", "hours", "money", "recommendation", "because"} <= found.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan"], "the model is missing"),
        (["plan", "nowhere", "--model", "qwen2.5-7b"], "nowhere does not exist"),
        (["plan", "--model", "qwen2.5-7b", "--price", "cheap"], "--price 'cheap'"),
        (["plan", "--model", "qwen2.5-7b", "--set", "r"], "not of the form NAME=VALUE"),
        (["plan", "--model", "qwen2.5-7b", "--set", "r=1"], "--set changes a recipe"),
        (["import-model", "nowhere.gguf", "--out", "x"], "nowhere.gguf does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_mistake_ends_with_status_2_and_a_sentence(arguments: list[str], said: str) -> None:
    ran = train(*arguments)
    for_machines = train(*arguments, "--json")

    assert ran.returncode == for_machines.returncode == 2
    assert said in ran.stderr and "Traceback" not in ran.stderr
    assert said in json.loads(for_machines.stdout)["errors"][0]["message"]


def test_a_model_is_imported_and_planned_from_its_folder(tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model("llama"))

    ran = train("import-model", file, "--out", tmp_path / "model")
    again = json.loads(train("import-model", tmp_path, "--out", tmp_path / "model", "--json").stdout)
    planned = train("plan", "--model", tmp_path / "model")

    assert ran.returncode == 0, ran.stderr
    assert "verified: it loads, and its logits are those of the file" in ran.stdout
    assert again["done_before"] and again["model"] == str(tmp_path / "model")
    assert planned.returncode == 0, planned.stderr
    assert f"{again['parameters']:,} parameters" in planned.stdout
