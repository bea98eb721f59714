"""Models: where one is, whether it may be loaded, and loading it. Safetensors only, never a program of the model's own.

A name is a folder, `hf:OWNER/NAME` or `modelscope:OWNER/NAME`. What is on the machine is used; only what is not is
fetched, and HF_ENDPOINT says from where.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from schemas.errors import UserError, nearest

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "LICENSE*", "README.md")
"""What is fetched of a model: no pickle, no program."""

PLANNED = ("config.json", "tokenizer.json", WEIGHTS[1])
"""What is fetched to plan with."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
"""All that a tokenizer is made of."""

LEARNING_LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")
"""Those that decide what a model says and learns: with another version of one the same run gives other numbers."""

MAX_CONFIG_BYTES = 4 << 20
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


@dataclass(frozen=True)
class ModelFolder:
    """A model on this machine: its folder, what its config.json says, and the name it was asked for by."""

    path: Path
    config: Mapping[str, Any]
    name: str

    @property
    def family(self) -> str:
        """Its `model_type`."""
        return str(self.config.get("model_type", ""))


def find_model(name: str, *, weights: bool = True, fetch: bool = True) -> ModelFolder:
    """The model by that name, looked for on this machine first and fetched if it is not here.

    `weights=False` is content with a config.json, and fetches little else of a model that is not here; `fetch=False`
    fetches nothing. Raises UserError for what is missing, holds its weights as pickle, or needs a program of its own.
    """
    place, colon, rest = name.partition(":")
    if colon and place in ("hf", "modelscope"):
        if not _NAME.fullmatch(rest) or ".." in rest:
            raise UserError(f"{name!r} is no name of a model", hint=f"write it as {place}:OWNER/NAME")
        here = _cached(place, rest, weights)
        if here is None and not fetch:
            raise UserError(f"{name} is not on this machine", hint="fetch it first")
        path = here or (_from_hub(rest, weights) if place == "hf" else _from_modelscope(rest, weights))
    else:
        path = Path(name).expanduser()
        _check_here(path, name)
    found = ModelFolder(path, read_config(path), name)
    if weights:
        check_loadable(found)
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """What the config.json in a model's folder says. Raises UserError when there is none or it is damaged."""
    path = folder / "config.json"
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UserError(f"{path} is too large for a config.json", hint="check what it is", file=str(path))
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no config.json, so it is no model's folder", hint=_looks_like(folder)) from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise UserError(f"{path} is damaged: {said}", hint="get the model again", file=str(path)) from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is no JSON object", hint="get the model again", file=str(path))
    return found


def check_loadable(model: ModelFolder) -> None:
    """Raise UserError unless the model can be loaded without running a program of its own, all of its weights there."""
    folder = model.path
    if not any((folder / name).is_file() for name in WEIGHTS):
        pickled = sorted(one.name for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt") for one in folder.glob(ending))
        if pickled:
            raise UserError(
                f"{folder} holds its weights only as pickle ({pickled[0]}), which can run any program when it is read",
                hint="get the model as safetensors; most models on the hubs have them",
            )
        raise UserError(f"{folder} has no weights: no {WEIGHTS[0]} in it", hint=_looks_like(folder))
    if (folder / "adapter_config.json").is_file():  # it would be loaded into the model, unseen
        raise UserError(
            f"{folder} holds an adapter beside the model", hint="merge it first (train merge), or take its files away"
        )
    missing = [file for file in weight_files(folder) if not (folder / file).is_file()]
    if missing:
        raise UserError(
            f"{folder} lacks {missing[0]}" + (f" and {len(missing) - 1} more of its weights" if missing[1:] else ""),
            hint="the download was cut off; run it again",
        )
    if "auto_map" in model.config and model.family not in _native_families():
        raise UserError(
            f"{folder} can only be loaded by running a program that came with it (auto_map in its config.json)",
            hint="that is not done; use a version of the model that transformers knows by itself",
        )


def weight_files(folder: Path) -> list[str]:
    """Names of a model's safetensors files, by its index if it has one. Raises UserError for a damaged index."""
    index = folder / WEIGHTS[1]
    if not index.is_file():
        return [WEIGHTS[0]]
    try:
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (UnicodeDecodeError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{index} is damaged", hint="get the model again", file=str(index)) from None
    odd = [one for one in files if not isinstance(one, str) or Path(one).name != one]
    if odd:
        raise UserError(f"{index} names a file outside the folder: {odd[0]!r}", hint="do not use this model")
    return files


def model_hash(folder: Path) -> str:
    """Identifies a model by its bytes, all of them: config, tokenizer and weights."""
    found = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", *weight_files(folder)):
        path = folder / name
        if path.is_file():
            said = path.stat()
            digest = _sha256(path.resolve(), said.st_ino, said.st_size, said.st_mtime_ns, said.st_ctime_ns)
            found.update(f"{name} {digest}\n".encode())
    return found.hexdigest()


@lru_cache(maxsize=4096)
def _sha256(path: Path, inode: int, size: int, written: int, changed: int) -> str:
    """Read once in a process as long as nobody writes the file."""
    from schemas.dataset import sha256_of

    return sha256_of(path)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer's files, its chat template among them."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def write_chat_template(folder: Path, text: str) -> None:
    """Make it the chat template of the tokenizer in a folder, and the only one: of two, programs take either."""
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
    path = folder / "tokenizer_config.json"
    if path.is_file():
        said = read_json_object(path)
        if said.pop("chat_template", None) is not None:
            path.write_text(json.dumps(said, ensure_ascii=False, indent=2), encoding="utf-8")


def write_end_of_turn(folder: Path, token: str) -> None:
    """Make a token the one that the tokenizer in a folder ends a turn with."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        if path.is_file() or name == "tokenizer_config.json":
            said = read_json_object(path) if path.is_file() else {}
            path.write_text(json.dumps(said | {"eos_token": token}, ensure_ascii=False, indent=2), encoding="utf-8")


def write_stop_ids(folder: Path, ids: Sequence[int]) -> None:
    """Make these the tokens at which the model in a folder stops, by its config.json and its generation_config.json."""
    stops = ids[0] if len(ids) == 1 else list(ids)
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        if path.is_file():
            path.write_text(json.dumps(read_json_object(path) | {"eos_token_id": stops}, indent=2), encoding="utf-8")


def read_json_object(path: Path) -> dict[str, Any]:
    """What a JSON file of a model or adapter says. Raises UserError where it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged", hint="get it again", file=str(path))
    return found


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a model's folder, as transformers' class. Raises UserError when there is none."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file() and not (folder / "tokenizer.model").is_file():
        raise UserError(f"{folder} has no tokenizer", hint="copy tokenizer.json and tokenizer_config.json there")
    with quietly():
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise UserError(
                f"the tokenizer in {folder} cannot be loaded: {error}", hint="get the model again"
            ) from error


def load_model(folder: Path, *, dtype: str = "fp32", quantization: Any = None, **settings: Any) -> Any:
    """The model in a folder, ready to train. `dtype` is fp32, bf16 or fp16; `quantization` a bitsandbytes setting;
    `settings` go to transformers' `from_pretrained`. Raises UserError when a tensor is missing, too many, or of another
    shape than config.json says: transformers would fill it with noise and say so in a log."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if dtype not in DTYPES:
        raise UserError(f"there is no data type {dtype!r}", hint=nearest(dtype, DTYPES))
    check_loadable(ModelFolder(folder, read_config(folder), str(folder)))
    with quietly():
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, DTYPES[dtype]),
                quantization_config=quantization,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **settings,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(f"the model in {folder} cannot be loaded: {error}", hint="get the model again") from error
    _check_report(folder, report, cut="num_hidden_layers" in settings)
    return model


def _check_report(folder: Path, report: Mapping[str, Any], *, cut: bool) -> None:
    """Refuse a model whose tensors are not those that its config.json calls for. `cut`: fewer layers were asked for."""
    odd = {
        "is missing": sorted(report.get("missing_keys") or ()),
        "has another shape than config.json says": sorted(str(one) for one in report.get("mismatched_keys") or ()),
        "is not part of such a model": [] if cut else sorted(report.get("unexpected_keys") or ()),
    }
    for said, names in odd.items():
        if names:
            more = f" (and {len(names) - 1} more)" if names[1:] else ""
            raise UserError(f"the model in {folder}: {names[0]} {said}{more}", hint="get the model again")


@contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' progress bars and advice, which would be printed beside our own lines."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _native_families() -> frozenset[str]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return frozenset(CONFIG_MAPPING_NAMES)


def _check_here(path: Path, name: str) -> None:
    if path.is_file():
        if path.suffix == ".gguf":
            raise UserError(
                f"{path} is a GGUF file, which cannot be trained",
                hint=f"convert it once: train import-model {path} --out DIR",
            )
        raise UserError(f"{path} is a file, not a model's folder", hint="name the folder that holds config.json")
    if not path.is_dir():
        # An absolute or nested path is a folder that is not there; OWNER/NAME may be meant for a hub.
        hub = f"if it is on a hub: hf:{name} or modelscope:{name}" if _NAME.fullmatch(name) else "check the path"
        raise UserError(f"{path} does not exist", hint=hub)


def _looks_like(folder: Path) -> str:
    """What to do about a folder that is no model's, by what is in it."""
    if any(folder.glob("*.gguf")):
        return f"it holds a GGUF file: train import-model {folder} --out DIR"
    if (folder / "adapter_config.json").is_file():
        return "it holds an adapter: name the model that it was trained on"
    return "name the folder that holds config.json and model.safetensors"


def _cached(place: str, name: str, weights: bool) -> Path | None:
    """Where a hub's model lies on this machine, whole; None if it does not."""
    for folder in _hub_cache(name) if place == "hf" else _modelscope_cache(name):
        if (folder / "config.json").is_file() and (not weights or _whole(folder)):
            return folder
    return None


def _hub_cache(name: str) -> list[Path]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return [Path(snapshot_download(name, local_files_only=True))]
    except LocalEntryNotFoundError:
        return []


def _modelscope_cache(name: str) -> list[Path]:
    # Its library writes a dot in a name as three underscores.
    names = [name, name.replace(".", "___")]
    return [
        root / one
        for root in (_modelscope() / "models", _modelscope() / "hub" / "models", _modelscope())
        for one in names
    ]


def _modelscope() -> Path:
    return Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope" / "hub")


def _whole(folder: Path) -> bool:
    """Whether all the weights that a folder's index names are there."""
    try:
        return all((folder / file).is_file() for file in weight_files(folder))
    except UserError:
        return False


def _from_hub(name: str, weights: bool) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise UserError(
            f"hf:{name} is not on this machine, and HF_HUB_OFFLINE is set",
            hint="unset it to fetch the model, or give --model the folder of a copy",
        )
    try:
        return Path(snapshot_download(name, allow_patterns=list(WANTED if weights else PLANNED)))
    except RepositoryNotFoundError:
        raise UserError(
            f"there is no model {name!r} at {constants.ENDPOINT}, or it is not open to you",
            hint="check the name; for a gated model, accept its terms there and set HF_TOKEN",
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"hf:{name} is not on this machine and cannot be fetched from {constants.ENDPOINT}: {type(error).__name__}",
            hint="check the network; HF_ENDPOINT names a mirror; or give --model the folder of a copy",
        ) from error


def _from_modelscope(name: str, weights: bool) -> Path:
    try:
        from modelscope import snapshot_download  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UserError(
            f"modelscope:{name} is not in {_modelscope()}, and fetching it needs the package modelscope",
            hint="pip install modelscope; or give --model the folder of a copy",
        ) from None
    try:
        return Path(snapshot_download(name, allow_file_pattern=list(WANTED if weights else PLANNED)))
    except Exception as error:  # the library's own are of no common class
        raise UserError(
            f"modelscope:{name} cannot be fetched: {type(error).__name__}",
            hint="check the name and the network; or give --model the folder of a copy",
        ) from error
