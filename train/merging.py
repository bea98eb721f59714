"""Merging an adapter into its base: a model that needs no adapter, checked to behave as the two did together.

The base is loaded in 16 or 32 bits whatever the adapter was trained on: merging into 4-bit weights rounds the adapter
away (huggingface/peft#2321).
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import orjson
import torch

from schemas.dataset import written
from schemas.errors import UserError
from schemas.manifest import MANIFEST, fingerprint, library_versions
from schemas.run import AlreadyDone, run_into, write_durably
from train.adapter import ADAPTERS, Adapter
from train.identity import adapter_hash, check_base, stop_ids_of
from train.model import (
    copy_tokenizer,
    find_model,
    load_model,
    load_tokenizer,
    model_hash,
    quietly,
    read_json_object,
    write_chat_template,
    write_stop_ids,
)

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
    config = read_json_object(folder / "adapter_config.json")
    _check_mergeable(folder, config)
    model = find_model(base or str(config.get("base_model_name_or_path", "")))
    check_base(folder, model.path)
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
    for folder in (base, adapter):
        copy_tokenizer(folder, out)
    if not (adapter / "chat_template.jinja").is_file() and isinstance(tokenizer.chat_template, str):
        write_chat_template(out, tokenizer.chat_template)
    if stops := stop_ids_of(adapter):
        write_stop_ids(out, stops)
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
