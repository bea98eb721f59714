"""Merging an adapter into its base: a model that needs no adapter, checked to behave as the two did together.

The base is loaded in 16 or 32 bits whatever the adapter was trained on: merging into 4-bit weights rounds the adapter
away (huggingface/peft#2321).
"""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import orjson
import torch

from schemas.dataset import written
from schemas.errors import UserError
from schemas.manifest import MANIFEST, fingerprint, library_versions
from schemas.run import AlreadyDone, run_into, write_durably
from train.adapter import ADAPTERS, Adapter
from train.model import find_model, load_model, load_tokenizer, quietly
from train.running import adapter_hash, model_hash

MOST_KL = 0.05
"""Nats per token that the merged model may differ from adapter and base together; bf16 alone gives about 0.001."""

PROBES = (
    "What is the capital of France? Answer in one sentence.",
    "请用一句话介绍一下长城。",
    "Write a Python function that adds two numbers.",
    "The kettle leaks when I pour it. Please help me.",
)


def merge(
    folder: Path, out: Path, *, base: str | None = None, dtype: str = "bf16", replace: bool = False
) -> dict[str, Any]:
    """Write the model that an adapter makes of its base to `out`. Raises UserError for an adapter that cannot be
    merged, and when the result does not behave as adapter and base do."""
    mark = adapter_hash(folder)
    config = _adapter_config(folder)
    _check_mergeable(folder, config)
    model = find_model(base or str(config.get("base_model_name_or_path", "")))
    _check_base(folder, model.path)
    made = fingerprint({"command": "merge", "adapter": mark, "base": model_hash(model.path), "dtype": dtype})
    try:
        with run_into(out, made, replace=replace) as run:
            run.clear()
            measured = _write(folder, model.path, run.folder, dtype)
            said = {
                "format_version": 1,
                "command": "merge",
                "kind": "model",
                "fingerprint": made,
                "base": {"name": model.name, "hash": model_hash(model.path)},
                "adapter": {"path": str(folder), "hash": mark},
                "dtype": dtype,
                "verified": measured,
                "shards": [],
                "files": [
                    written(path, run.folder).model_dump()
                    for path in sorted(run.folder.rglob("*"))
                    if path.is_file() and path.name != "run.json"
                ],
                "versions": library_versions(("assay", "torch", "transformers", "peft")),
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            }
            write_durably(run.folder / MANIFEST, orjson.dumps(said, option=orjson.OPT_INDENT_2))
            run.publish()
    except AlreadyDone:
        pass
    told = orjson.loads((out / MANIFEST).read_bytes())
    return {"model": str(out), "adapter": str(folder), "base": model.name, "dtype": dtype, "verified": told["verified"]}


def _adapter_config(folder: Path) -> dict[str, Any]:
    path = folder / "adapter_config.json"
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        raise UserError(f"{path} is damaged", hint="train it again", file=str(path)) from None
    return found if isinstance(found, dict) else {}


def _check_mergeable(folder: Path, config: dict[str, Any]) -> None:
    from schemas.lookup import find, names

    kind = str(config.get("peft_type", ""))
    for name in names(ADAPTERS):
        adapter = find(ADAPTERS, name, Adapter)  # type: ignore[type-abstract]
        if name.replace("_", "") == kind.lower().replace("_", "") and not adapter.mergeable:
            raise UserError(
                f"{folder} is made by {name}, which stands beside the model and cannot be merged into it",
                hint="serve it as an adapter, or train lora",
            )


def _check_base(folder: Path, base: Path) -> None:
    """Raise UserError when the adapter says that it was trained on another base."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    said = orjson.loads(manifest.read_bytes()).get("identity", {}).get("model")
    if said is not None and said != model_hash(base):
        raise UserError(
            f"{base} is not the model that {folder} was trained on: its weights, config or tokenizer differ",
            hint="name the right one with --model",
        )


def _write(adapter: Path, base: Path, out: Path, dtype: str) -> dict[str, float]:
    """Merge into `out`; what was measured."""
    from peft import PeftModel

    tokenizer = load_tokenizer(adapter if (adapter / "tokenizer.json").is_file() else base)
    with quietly():
        together = PeftModel.from_pretrained(load_model(base, dtype=dtype), str(adapter)).eval()
        before = _log_probabilities(together, tokenizer)
        merged = together.merge_and_unload(safe_merge=True)
        merged.save_pretrained(out, safe_serialization=True)
    del together, merged
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        source = adapter if (adapter / name).is_file() else base
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    if (adapter / "chat_template.jinja").is_file() or (base / "chat_template.jinja").is_file():
        source = adapter if (adapter / "chat_template.jinja").is_file() else base
        shutil.copyfile(source / "chat_template.jinja", out / "chat_template.jinja")
    for path in out.glob("*.safetensors"):
        path.chmod((out / "config.json").stat().st_mode)
    after = _log_probabilities(load_model(out, dtype=dtype).eval(), tokenizer)
    divergence = torch.cat([(b.exp() * (b - a)).sum(dim=-1) for b, a in zip(before, after, strict=True)])
    same = torch.cat([b.argmax(-1) == a.argmax(-1) for b, a in zip(before, after, strict=True)])
    measured = {
        "kl_mean": float(divergence.mean()),
        "kl_max": float(divergence.max()),
        "same_top_token": float(same.float().mean()),
    }
    if not measured["kl_mean"] <= MOST_KL:
        raise UserError(
            f"the merged model does not behave as the adapter does: {measured['kl_mean']:.3f} nats a token apart",
            hint="merge with --dtype fp32; if it stays so, serve the adapter beside its base",
        )
    return measured


def _log_probabilities(model: Any, tokenizer: Any) -> list[torch.Tensor]:
    """Of every next token of the probes, as the model sees them."""
    found = []
    with torch.no_grad():
        for text in PROBES:
            asked = text
            if tokenizer.chat_template is not None:
                turns = [{"role": "user", "content": text}]
                asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            ids = tokenizer(asked, add_special_tokens=tokenizer.chat_template is None, return_tensors="pt").input_ids
            found.append(model(input_ids=ids.to(model.device)).logits[0].float().log_softmax(-1).cpu())
    return found
