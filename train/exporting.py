"""Exporting: what was trained, as files that others serve, published only if they behave as it did.

`safetensors` is a model's folder, as transformers and vLLM load it; `gguf` is one file, as llama.cpp and what is built
on it do. An adapter is merged into its base first, and never into 4 bits: that rounds away what was learnt.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from schemas.dataset import written
from schemas.errors import UserError, nearest
from schemas.manifest import MANIFEST, fingerprint, library_versions
from schemas.run import AlreadyDone, run_into, write_durably
from train.gguf import free_memory
from train.gguf_writing import Writable, check_type, parameters_of, writable, write_gguf
from train.identity import adapter_hash
from train.merging import merge
from train.model import (
    DTYPES,
    copy_tokenizer,
    load_model,
    model_hash,
    quietly,
    read_json_object,
    write_chat_template,
    write_stop_ids,
)
from train.trained import Trained, open_trained
from train.verifying import has_llama, verify_folder, verify_gguf

FORMATS = ("safetensors", "gguf")

EXPORT = 1
"""Version of what is written: raise it with what changes the files."""

_DTYPES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}
_MERGED, _READ = "merged", "read"


def export(
    source: str,
    out: Path,
    *,
    to: str,
    kind: str | None = None,
    base: str | None = None,
    replace: bool = False,
    tell: Callable[[str], None] = lambda doing: None,
) -> dict[str, Any]:
    """Write an adapter on its base, or a model, to the folder `out`, and compare what is there with what was trained.

    `to` is safetensors or gguf; `kind` how weights are stored: f32, f16, bf16, and in GGUF q8_0 (bf16 and f16 if not
    given). `tell` is told what is being done. Returns {export, file, format, type, source, base, merged_in, bytes,
    verified, warnings, already}. Raises UserError for what cannot be exported, before anything is written, and for what
    does not behave as it was trained.
    """
    if to not in FORMATS:
        raise UserError(f"there is no format {to!r} to export to", hint=nearest(to, FORMATS))
    kind = kind or ("f16" if to == "gguf" else "bf16")
    check_type(kind)
    if to == "safetensors" and kind not in _DTYPES:
        raise UserError(f"safetensors hold no {kind}", hint="f32, f16 or bf16; or --to gguf")
    known, name = open_trained(source, base)
    words = writable(known.model, known.parts) if to == "gguf" else None
    made = fingerprint(
        {
            "command": "export",
            "version": EXPORT,
            "model": model_hash(known.model),
            "adapter": None if known.base is None else adapter_hash(known.folder),
            "to": to,
            "type": kind,
            "stops": known.stops,
            "template": known.served_template,
            "asked_llama_cpp": words is not None and has_llama(),
        }
    )
    try:
        with run_into(out, made, replace=replace) as run:
            run.clear()  # minutes at most; half of an export is not worth trusting
            told = (
                _as_folder(known, run.folder, kind, tell)
                if words is None
                else _as_gguf(known, words, run.folder, kind, out.name, tell)
            )
            files = [
                written(path, run.folder).model_dump()
                for path in sorted(run.folder.rglob("*"))
                if path.is_file() and path.name != "run.json"
            ]
            result = {
                "format": to,
                "type": kind,
                "source": source,
                "base": name,
                "bytes": sum(one["bytes"] for one in files),
                **told,
            }
            said = {
                "format_version": 1,
                "command": "export",
                "kind": "model",
                "fingerprint": made,
                "base": {"name": name or source, "hash": model_hash(known.model)},
                "adapter": None if name is None else {"path": source, "hash": adapter_hash(known.folder)},
                "shards": [],
                "files": files,
                "result": result,
                "versions": library_versions(("assay", "torch", "transformers", "peft", "gguf", "xllamacpp")),
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            }
            write_durably(run.folder / MANIFEST, orjson.dumps(said, option=orjson.OPT_INDENT_2))
            run.publish()
            already = False
    except AlreadyDone:
        already = True
    result = orjson.loads((out / MANIFEST).read_bytes())["result"]
    file = result.get("file")
    return {"export": str(out), **result, "file": str(out / file) if file else None, "already": already}


def _as_folder(known: Trained, out: Path, kind: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """A model's folder ready to serve."""
    dtype = _DTYPES[kind]
    tell("writing the model")
    if known.base is None:
        with quietly():
            load_model(known.folder, dtype=dtype).save_pretrained(out, safe_serialization=True)
        copy_tokenizer(known.folder, out)
    else:
        merge(known.folder, out / _MERGED, base=str(known.base), dtype=dtype)
        (out / _MERGED / MANIFEST).unlink()
        for path in (out / _MERGED).iterdir():
            path.rename(out / path.name)
        (out / _MERGED).rmdir()
    _write_served(known, out)
    tell("comparing it with what was trained")
    found = verify_folder(known, out, kind)
    warnings = found.pop("warnings")
    return {"merged_in": None if known.base is None else dtype, "warnings": warnings, "verified": found}


def _write_served(known: Trained, out: Path) -> None:
    """Beside a model, how it is talked to as it was trained."""
    if known.served_template is not None:
        write_chat_template(out, known.served_template)
    if known.stops:
        if not (out / "generation_config.json").is_file():
            (out / "generation_config.json").write_text("{}", encoding="utf-8")
        write_stop_ids(out, known.stops)
    for path in out.glob("*.safetensors"):
        path.chmod((out / "config.json").stat().st_mode)  # safetensors makes its files readable to their owner alone


def _as_gguf(
    known: Trained, words: Writable, out: Path, kind: str, name: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """One GGUF file. Merging in 32 bits rounds once, when the file is written; in 16 it would round twice."""
    folder, dtype = known.folder, None
    if known.base is not None:
        dtype = "fp32" if 10 * parameters_of(known.base) < free_memory() else _own_dtype(known.base)
        folder = out / _MERGED
        tell(f"merging the adapter into its base in {dtype}")
        merge(known.folder, folder, base=str(known.base), dtype=dtype)
    file = out / (f"{name}.gguf" if name.endswith(kind) else f"{name}-{kind}.gguf")
    tell(f"writing {file.name}")
    told = write_gguf(words, folder, file, kind, stops=known.stops, template=known.served_template, name=name)
    (out / _READ).mkdir()
    tell("comparing it with what was trained, in transformers and in llama.cpp")
    found = verify_gguf(known, file, kind, out / _READ)
    for scratch in (_READ, _MERGED):
        shutil.rmtree(out / scratch, ignore_errors=True)
    warnings = found.pop("warnings")
    return {"file": file.name, "tensors": told["as"], "merged_in": dtype, "warnings": warnings, "verified": found}


def _own_dtype(folder: Path) -> str:
    """What a model's weights are held in: bf16 where its config.json does not say."""
    config = read_json_object(folder / "config.json")
    said = str(config.get("dtype") or config.get("torch_dtype"))
    return next((ours for ours, theirs in DTYPES.items() if theirs == said), "bf16")
