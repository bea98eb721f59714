"""What a run is: everything that decides what it learns, by its bytes; and which adapter belongs to which base."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import UserError
from schemas.manifest import MANIFEST, library_versions
from train.adapter import WITH_NOTHING, Adapter, LowRank, Situation
from train.chat_template import Chosen
from train.data import ENCODING
from train.model import LEARNING_LIBRARIES, ModelFolder, model_hash, read_json_object
from train.reading import Material
from train.recipe import Recipe

if TYPE_CHECKING:
    from train.replay import Replayed

NOT_IDENTITY = (
    *("out", "report_to", "keep_checkpoints", "save_total_limit", "torch_threads", "allow"),
    *("data", "replay", "model", "chat_template"),
)
"""Settings that change nothing about what is learnt, or enter the fingerprint by what they name."""


def identity_of(
    recipe: Recipe,
    model: ModelFolder,
    material: Material,
    chosen: Chosen,
    stop_ids: Sequence[int],
    replay: Sequence[Replayed] = (),
) -> dict[str, Any]:
    """Everything that decides what is learnt: settings, rows, model, tokenizer, template. Not paths, not the device."""
    filled = {name: value for name, value in recipe.filled().items() if name not in NOT_IDENTITY}
    if recipe.settings.from_adapter:
        filled["from_adapter"] = adapter_hash(Path(recipe.settings.from_adapter))
    return {
        "settings": filled,
        "data": [[one.manifest.digest, one.manifest.fingerprint] for one in material.datasets],
        "replay": [
            [dataset.manifest.digest, dataset.manifest.fingerprint, one.share]
            for one in replay
            for dataset in one.material.datasets
        ],
        "model": model_hash(model.path),
        "template": hashlib.sha256(chosen.template.text.encode()).hexdigest(),
        "stop_ids": list(stop_ids),
        "libraries": library_versions(LEARNING_LIBRARIES),
        "encoding": ENCODING,
    }


def adapter_hash(folder: Path) -> str:
    """Identifies an adapter by its bytes. Raises UserError where there is none."""
    files = [folder / name for name in ("adapter_config.json", "adapter_model.safetensors")]
    if not all(path.is_file() for path in files):
        raise UserError(f"{folder} holds no adapter", hint="name a folder with adapter_model.safetensors")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def check_base(adapter: Path, base: Path) -> None:
    """Raise UserError when an adapter says that it was trained on another base."""
    said = _manifest_of(adapter).get("identity")
    trained_on = said.get("model") if isinstance(said, dict) else None
    if trained_on is not None and trained_on != model_hash(base):
        raise UserError(
            f"{base} is not the model that {adapter} was trained on: its weights, config or tokenizer differ",
            hint="name the right one with --model",
        )


def stop_ids_of(adapter: Path) -> list[int]:
    """The tokens that end a turn by an adapter's manifest; empty of one that `train` did not make."""
    said = _manifest_of(adapter).get("identity")
    ids = said.get("stop_ids") if isinstance(said, dict) else None
    return [one for one in ids if isinstance(one, int)] if isinstance(ids, list) else []


def _manifest_of(adapter: Path) -> dict[str, Any]:
    path = adapter / MANIFEST
    return read_json_object(path) if path.is_file() else {}


def as_it_was_made(recipe: Recipe, model: ModelFolder) -> tuple[Recipe, list[str]]:
    """The recipe with the settings of the adapter that it goes on from, and what is to be said of them. Raises
    UserError where that is of another kind, or where the recipe says otherwise than it was made with."""
    from peft import PeftConfig

    import train.bottleneck  # noqa: F401 - PEFT knows it from then on

    start, adapter = Path(str(recipe.settings.from_adapter)), recipe.adapter
    adapter_hash(start)  # that there is one
    try:
        made: Any = PeftConfig.from_pretrained(str(start))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{start / 'adapter_config.json'} is damaged: {error}"[:300], hint="train it again") from None
    ours: Any = adapter.peft_config(Situation.of(model.config, 1))
    kinds = [type(one).__name__ + (" with DoRA" if getattr(one, "use_dora", False) else "") for one in (made, ours)]
    if kinds[0] != kinds[1]:
        raise UserError(
            f"{start} is a {kinds[0]}, and the recipe's adapter is {kinds[1]}",
            hint="set the same adapter as it was trained with",
        )
    written = _manifest_of(start).get("recipe")
    settings = written.get("adapter") if isinstance(written, dict) else None
    theirs = settings if isinstance(settings, dict) else _settings_of_config(adapter, made)
    if isinstance(adapter, LowRank) and theirs.get("init_lora_weights") not in (None, *WITH_NOTHING):
        # It was written as what changed since it began, of another rank, and goes on as any adapter does.
        theirs = theirs | {"r": made.r, "lora_alpha": made.lora_alpha, "init_lora_weights": "default", "eva_rho": 1.0}
    mine = adapter.model_dump(mode="json", by_alias=True)
    differ = {name: theirs[name] for name in mine if name in theirs and theirs[name] != mine[name]}
    said = {field.alias or name: name in adapter.model_fields_set for name, field in type(adapter).model_fields.items()}
    if wrong := [f"{name} ({short(theirs[name])}, not {short(mine[name])})" for name in differ if said[name]]:
        raise UserError(
            f"{start} was made with other settings than the recipe has: {', '.join(wrong)}",
            hint="leave them out: its own are taken; or begin a new adapter on the merged model (train merge)",
        )
    if not differ:
        return recipe, []
    taken = type(adapter).model_validate(mine | differ)
    names = ", ".join(f"{name} {short(value)}" for name, value in differ.items())
    return replace(recipe, adapter=taken), [f"the adapter's settings are those of {start}: {names}"]


def _settings_of_config(adapter: Adapter, config: Any) -> dict[str, Any]:
    """An adapter's settings by the configuration that PEFT wrote, which has no word for how it began."""
    mine = adapter.model_dump(mode="json", by_alias=True)
    found = {name: getattr(config, name) for name in mine if hasattr(config, name) and name != "init_lora_weights"}
    for name, value in found.items():
        if isinstance(mine[name], list):
            found[name] = sorted(value or [])
        elif isinstance(value, set):
            found[name] = sorted(value)
    return found


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    parts = ("data", "replay", "model", "template", "stop_ids", "encoding")
    names = [name for name in parts if before.get(name) != now[name]]
    for part in ("libraries", "settings"):
        old, new = before.get(part, {}), now[part]
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                names.append(f"{name} ({short(old.get(name))} → {short(new.get(name))})")
    return names


def short(value: Any) -> str:
    text = str(value.get("use", value)) if isinstance(value, dict) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
