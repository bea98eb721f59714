"""Before a run: parameters, memory, steps, time, money, which method fits which card, what to do. Loads no model.

Arithmetic on a model's config.json and on the lengths of rows. What is assumed is listed with the result.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args

from schemas.errors import UserError, nearest
from train.cards import SIZES_GB, USUAL_TFLOPS, Card, card_named
from train.effort import CPU_UTILISATION, UTILISATION, cpu_speed, operations_of_reference, operations_of_token
from train.known_models import KNOWN, known_config
from train.lengths import TURN_TOKENS, Lengths, lengths_of
from train.memory import OPTIMIZER_BYTES, AdapterName, Memory, Precision, Setup, adapter_parameters, memory_of
from train.shapes import FAMILIES, Shape, is_multimodal, shape_of

ADAPTERS: tuple[AdapterName, ...] = get_args(AdapterName)
METHODS = ("sft", "dpo")

PACKED_FULL = 0.97
"""How full packed sequences are: short rows leave little room."""

FEW_ROWS = 200
FULL_TOKENS = 50_000_000
"""Tokens from which on a low-rank update may be too small for what they teach (Schulman et al. 2025, LoRA without
regret: full fine-tuning wins where the data exceed what the adapter can hold)."""


@dataclass(frozen=True)
class Wish:
    """What is to be planned. None: by the device, or by the recipe's defaults."""

    model: str | None = None
    method: str = "sft"
    adapter: str = "lora"
    r: int = 16
    gpu: str | None = None
    price: float | None = None
    """Of an hour."""
    max_length: int = 1024
    batch_size: int = 8
    accumulation: int = 1
    epochs: float = 3.0
    max_steps: int = -1
    packing: bool = False
    checkpointing: bool | None = None
    optimizer: str = "adamw_torch"
    validation: float = 0.05


def plan(
    subject: Path | None,
    wish: Wish,
    given: Mapping[str, Any] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The plan for a dataset or a recipe; without one, for a model alone. `given` wins over the recipe, which
    `overrides` change, which wins over the wish.

    Returns {memory_gb {low, expected, high}, hours, money, recommendation, because, ..}: DESIGN section 8 lists what is
    promised. Raises UserError for what is not there or not known.
    """
    datasets, wish = _subject(subject, wish, overrides or {})
    wish = replace(wish, **(given or {}))
    if wish.model is None:
        raise UserError("the model is missing", hint="--model with a folder, hf:OWNER/NAME or a name: qwen2.5-7b")
    _check(wish)
    config, folder = _config_of(wish.model)
    shape = _shape(config, wish.model, folder)
    card = _card(wish.gpu)
    longest = min(wish.max_length, shape.window)
    lengths = lengths_of(datasets, folder, wish.validation, shape.vocab_size) if datasets else None
    setup = setup_for(wish, card, lengths.cut(longest) if lengths else None, longest)
    memory = memory_of(shape, setup)
    work = _work(shape, wish, setup, lengths.cut(longest) if lengths else None, card)
    fits = _fits(shape, setup)
    recommendation, because = recommend(shape, setup, lengths, card, wish)
    trained = adapter_parameters(shape, setup.adapter, wish.r)
    result: dict[str, Any] = {
        "model": wish.model,
        "method": wish.method,
        "adapter": wish.adapter,
        "device": card.name if card else "cpu",
        "parameters": {"total": shape.parameters, "active": shape.active, "trained": trained, **shape.parts},
        "memory_gb": _in_gb(memory),
        "memory_parts_gb": {name: round(size / 1e9, 3) for name, size in memory.parts.items()},
        "data": _data(lengths, longest, wish) if lengths else None,
        **work,
        "fits": fits,
        "recommendation": recommendation,
        "because": because,
        "assumptions": _assumptions(wish, setup, lengths, card),
        "warnings": _warnings(shape, config, setup, lengths, longest, wish, card, memory),
    }
    return result


def setup_for(wish: Wish, card: Card | None, lengths: Lengths | None, longest: int) -> Setup:
    """What decides the memory of a run, by the policy that runs follow: on the CPU everything in fp32, on a card bf16
    and checkpointing, and trained weights in fp32."""
    adapter = cast(AdapterName, wish.adapter)
    on_card = card is not None
    tokens = longest if lengths is None or wish.packing else max(min(lengths.at(1.0), longest), 1)
    return Setup(
        adapter=adapter,
        device="cuda" if on_card else "cpu",
        precision="fp32" if not on_card else "amp" if adapter == "full" else "bf16",
        method="dpo" if wish.method == "dpo" else "sft",
        r=wish.r,
        sequences=wish.batch_size,
        tokens=tokens,
        checkpointing=on_card if wish.checkpointing is None else wish.checkpointing,
        optimizer=wish.optimizer,
        supervised=lengths.supervised if lengths else 1.0,
    )


def _subject(subject: Path | None, wish: Wish, overrides: Mapping[str, str]) -> tuple[list[Path], Wish]:
    """The datasets to plan for, and the wish filled from a recipe."""
    if overrides and (subject is None or subject.is_dir()):
        raise UserError("--set changes a recipe, and none is given", hint="use the options: train plan --help")
    if subject is None:
        return [], wish
    if not subject.exists():
        raise UserError(f"{subject} does not exist", hint="name a dataset's folder or a recipe (.yaml)")
    if subject.is_dir():
        return [subject], wish
    if subject.suffix not in (".yaml", ".yml"):
        raise UserError(
            f"{subject} is a file, not a dataset", hint=f"import it first: curate import {subject} --out DIR"
        )
    from train.recipe import load_recipe

    given = {} if wish.model is None else {"model": wish.model}
    recipe = load_recipe(wish.method, subject, {"out": "planned", **given}, overrides)
    said = recipe.settings
    if recipe.adapter_name not in ADAPTERS:
        raise UserError(
            f"{recipe.adapter_name} is not planned for; known: {', '.join(ADAPTERS)}", hint="plan for lora: it is close"
        )
    filled = replace(
        wish,
        model=said.model,
        adapter=recipe.adapter_name,
        r=int(getattr(recipe.adapter, "r", wish.r)),
        max_length=said.max_length,
        batch_size=said.per_device_train_batch_size,
        accumulation=said.gradient_accumulation_steps,
        epochs=said.num_train_epochs,
        max_steps=said.max_steps,
        packing=said.packing,
        checkpointing=said.gradient_checkpointing,
        optimizer=said.optim,
        validation=said.validation,
    )
    return [Path(one) for one in said.data], filled


def _check(wish: Wish) -> None:
    if wish.method not in METHODS:
        raise UserError(f"there is no method {wish.method!r} to plan for", hint=nearest(wish.method, METHODS))
    if wish.optimizer not in OPTIMIZER_BYTES:
        raise UserError(
            f"there is no optimizer {wish.optimizer!r} to plan for", hint=nearest(wish.optimizer, OPTIMIZER_BYTES)
        )
    if wish.adapter not in ADAPTERS:
        raise UserError(f"there is no adapter {wish.adapter!r} to plan for", hint=nearest(wish.adapter, ADAPTERS))


def _config_of(name: str) -> tuple[Mapping[str, Any], Path | None]:
    """A model's config.json and its folder: what is on this machine, else the table of known models, else the hub's."""
    from train.model import find_model

    config = known_config(name)
    if not name.startswith(("hf:", "modelscope:")) and not Path(name).expanduser().exists():
        if config is None:
            short = name.lower().rpartition("/")[2]
            near = (
                nearest(short, KNOWN) if get_close_matches(short, KNOWN) else "known by name: " + ", ".join(_EXAMPLES)
            )
            raise UserError(
                f"{name} is no folder here, and its sizes are not known",
                hint=f"give the folder with its config.json, or hf:OWNER/NAME; {near}",
            )
        return config, None
    try:
        found = find_model(name, weights=False, fetch=config is None)
    except UserError:
        if config is None:
            raise
        return config, None
    return found.config, found.path


_EXAMPLES = ("qwen2.5-7b", "qwen3-8b", "llama-3.1-8b", "mistral-7b", "gemma-2-9b", "smollm2-135m")


def _shape(config: Mapping[str, Any], name: str, folder: Path | None) -> Shape:
    try:
        return shape_of(config, name)
    except UserError as error:
        total = _weights_size(folder)
        if total is None or str(config.get("model_type")) in FAMILIES:
            raise
        known = ", ".join(sorted(FAMILIES))
        raise UserError(
            f"{error.message}; its weights are {total / 1e9:.1f} GB, which LoRA needs at least",
            hint=f"known families: {known}",
        ) from None


def _weights_size(folder: Path | None) -> int | None:
    """Bytes of a model's weights, by its index or its file."""
    if folder is None:
        return None
    try:
        said = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return int(said["metadata"]["total_size"])
    except (OSError, ValueError, LookupError, TypeError):
        single = folder / "model.safetensors"
        return single.stat().st_size if single.is_file() else None


def _card(said: str | None) -> Card | None:
    """The card that was named; None is the CPU, which is also taken where no card is named."""
    return None if said is None or said.lower() == "cpu" else card_named(said)


def _data(lengths: Lengths, longest: int, wish: Wish) -> dict[str, Any]:
    cut = lengths.cut(longest)
    too_long = sum(1 for one in lengths.sampled if one > longest)
    tokens = round(cut.mean * lengths.rows)
    return {
        "rows": lengths.rows,
        "held_out": lengths.held_out,
        "tasks": lengths.tasks,
        "tokens": {
            "once": tokens,
            "padded": round(cut.padded(wish.batch_size) * lengths.rows),
            "packed": round(tokens / PACKED_FULL),
            "supervised": round(tokens * lengths.supervised),
        },
        "lengths": {"p50": lengths.at(0.5), "p95": lengths.at(0.95), "max": lengths.at(1.0)},
        "max_length": longest,
        "truncated": round(too_long / max(len(lengths.sampled), 1), 4),
        "counted_by": lengths.counted_by,
        "sampled": len(lengths.sampled),
        "error": lengths.error,
    }


def _work(shape: Shape, wish: Wish, setup: Setup, lengths: Lengths | None, card: Card | None) -> dict[str, Any]:
    """Steps, hours and money: {steps, hours, hours_range, money, money_range}; None where the data are not known."""
    if lengths is None:
        return {"steps": None, "hours": None, "hours_range": None, "money": None, "money_range": None}
    sequences = math.ceil(lengths.rows * lengths.mean / (setup.tokens * PACKED_FULL)) if wish.packing else lengths.rows
    of_sequence = setup.tokens if wish.packing else lengths.padded(wish.batch_size)
    per_epoch = max(math.ceil(math.ceil(sequences / wish.batch_size) / wish.accumulation), 1)
    steps = wish.max_steps if wish.max_steps > 0 else max(math.ceil(wish.epochs * per_epoch), 1)
    tokens = steps * wish.accumulation * min(wish.batch_size, sequences) * of_sequence
    operations = tokens * operations_of_token(shape, setup, of_sequence)
    operations += (lengths.rows + lengths.held_out) * lengths.mean * operations_of_reference(shape, setup, of_sequence)
    speed, shares = (
        (cpu_speed(), CPU_UTILISATION) if card is None else ((card.tflops or USUAL_TFLOPS) * 1e12, UTILISATION)
    )
    slow, expected, fast = (operations / (speed * share) / 3600 for share in shares)
    hours = {"low": fast, "expected": expected, "high": slow}
    price = wish.price
    return {
        "steps": steps,
        "hours": _digits(expected),
        "hours_range": {name: _digits(value) for name, value in hours.items()},
        "money": None if price is None else _digits(expected * price),
        "money_range": None if price is None else {name: _digits(value * price) for name, value in hours.items()},
    }


def _digits(value: float) -> float:
    """Three digits: more would claim what is not known."""
    return float(f"{value:.3g}")


def _in_gb(memory: Memory) -> dict[str, float]:
    return {name: round(getattr(memory, name) / 1e9, 2) for name in ("low", "expected", "high")}


def verdict(memory: Memory, available: float) -> str:
    """yes: it fits whatever happens; tight: it is expected to; no."""
    if memory.high <= available:
        return "yes"
    return "tight" if memory.expected <= available else "no"


def _fits(shape: Shape, setup: Setup) -> list[dict[str, Any]]:
    """For each way to adapt: memory on a card at the same batch, at a batch of one, and which cards hold it."""
    found = []
    for adapter in ADAPTERS:
        there = _on_card(setup, adapter)
        smallest = replace(there, sequences=1)
        memory, least = memory_of(shape, there), memory_of(shape, smallest)
        cards = {}
        for size in SIZES_GB:
            said = verdict(memory, size * 2**30)
            if said == "no" and verdict(least, size * 2**30) != "no":
                said = "batch 1"
            cards[f"{size} GB"] = said
        found.append({"adapter": adapter, "memory_gb": _in_gb(memory), "batch_1_gb": _in_gb(least), "cards": cards})
    return found


def _on_card(setup: Setup, adapter: AdapterName) -> Setup:
    precision: Precision = "amp" if adapter == "full" else "bf16"
    return replace(
        setup,
        adapter=adapter,
        device="cuda",
        precision=precision,
        checkpointing=setup.checkpointing or setup.device == "cpu",
    )


def recommend(shape: Shape, setup: Setup, lengths: Lengths | None, card: Card | None, wish: Wish) -> tuple[str, str]:
    """What to do, and why: by the card, the size of the data, and how many tasks there are."""
    available = card.bytes if card else _machine_bytes()
    where = f"{card.memory_gb:g} GB" if card else f"this machine's {available / 1e9:.0f} GB"
    tokens = lengths.rows * lengths.mean if lengths else 0.0
    order: list[AdapterName] = ["lora", "qlora"]
    why = "it learns as much as full fine-tuning at this size of data, and the adapter is small, mergeable and servable"
    if tokens >= FULL_TOKENS:
        order.insert(0, "full")
        why = f"{tokens / 1e6:,.0f} million tokens can teach more than a low-rank update holds"
    for adapter in order:
        tried = _on_device(setup, adapter, card)
        for sequences in sorted({setup.sequences, max(setup.sequences // 4, 1), 1}, reverse=True):
            memory = memory_of(shape, replace(tried, sequences=sequences))
            said = verdict(memory, available)
            if said == "no":
                continue
            reasons = [f"{memory.expected / 1e9:.1f} GB ({memory.low / 1e9:.1f} to {memory.high / 1e9:.1f}) of {where}"]
            reasons.append(why if adapter == order[0] else f"{order[order.index(adapter) - 1]} does not fit")
            if said == "tight":
                reasons.append("it is tight: a shorter max_length makes it safe")
            if sequences < setup.sequences:
                more = math.ceil(setup.sequences / sequences) * wish.accumulation
                reasons.append(f"with batches of {sequences} and gradient_accumulation_steps {more}")
            return _advice(adapter, lengths), "; ".join(reasons + _about_data(lengths))
    smallest = memory_of(shape, replace(_on_device(setup, "qlora", card), sequences=1))
    return (
        "take a smaller model or a larger card",
        f"even qlora with batches of one takes {smallest.expected / 1e9:.1f} GB of {where}",
    )


def _on_device(setup: Setup, adapter: AdapterName, card: Card | None) -> Setup:
    return replace(setup, adapter=adapter) if card is None else _on_card(setup, adapter)


def _advice(adapter: AdapterName, lengths: Lengths | None) -> str:
    if lengths is not None and lengths.rows < FEW_ROWS:
        return f"{adapter}, after more rows"
    if lengths is not None and lengths.tasks > 1 and adapter != "full":
        return f"{adapter}, one adapter for all {lengths.tasks} tasks first"
    return adapter


def _about_data(lengths: Lengths | None) -> list[str]:
    if lengths is None:
        return ["the data are not known: name a dataset for steps, time and lengths"]
    said = []
    if lengths.rows < FEW_ROWS:
        said.append(f"{lengths.rows:,} rows teach a tone or a format, hardly more")
    if lengths.tasks > 1:
        said.append("tasks that disturb each other show in the loss by task; give those an adapter of their own")
    return said


def _machine_bytes() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _assumptions(wish: Wish, setup: Setup, lengths: Lengths | None, card: Card | None) -> list[str]:
    weights = {"fp32": "fp32", "bf16": "bf16", "amp": "fp32 weights computed with in bf16"}[setup.precision]
    said = [
        f"{setup.sequences} sequences of {setup.tokens:,} tokens in the largest batch",
        f"{weights}, {setup.optimizer}, checkpointing {'on' if setup.checkpointing else 'off'}",
        "one device",
    ]
    if lengths is not None:
        said.append(
            f"tokens counted by {lengths.counted_by} in {len(lengths.sampled):,} rows, right to "
            f"{100 * lengths.error:.0f} %; {TURN_TOKENS} more for each turn's marks"
        )
        if card is None:
            said.append("the speed of this CPU as it is now, with what else runs on it")
        else:
            speed = f"{card.tflops:g}" if card.tflops else f"{USUAL_TFLOPS:g} (not known: as an RTX 3090)"
            low, expected, high = (f"{100 * share:.0f}" for share in UTILISATION)
            said.append(f"{speed} TFLOP/s, of which {expected} % are used ({low} to {high})")
    if wish.method == "dpo":
        said.append(
            "the reference is a second copy of the model"
            if setup.adapter == "full"
            else "the reference is the model with its adapter switched off"
        )
    return said


def _warnings(
    shape: Shape,
    config: Mapping[str, Any],
    setup: Setup,
    lengths: Lengths | None,
    longest: int,
    wish: Wish,
    card: Card | None,
    memory: Memory,
) -> list[str]:
    said = []
    available = card.bytes if card else _machine_bytes()
    if verdict(memory, available) == "no":
        said.append(f"{wish.adapter} at this batch takes {memory.expected / 1e9:.1f} GB, more than there is")
    if longest < wish.max_length:
        said.append(f"the model's window is {shape.window:,} tokens, less than max_length")
    if lengths is not None:
        too_long = sum(1 for one in lengths.sampled if one > longest) / max(len(lengths.sampled), 1)
        if too_long > 0.01:
            said.append(f"{100 * too_long:.1f} % of the rows are longer than {longest:,} tokens and are cut")
        padded = lengths.cut(longest).padded(wish.batch_size)
        if not wish.packing and padded > 1.5 * lengths.cut(longest).mean and wish.method == "sft":
            share = 1 - lengths.cut(longest).mean / padded
            said.append(f"{100 * share:.0f} % of what is computed would be padding: set packing")
    if shape.experts and setup.adapter == "qlora":
        share = shape.experts / shape.parameters
        said.append(
            f"the experts, {100 * share:.0f} % of the parameters, stay in 16 bits: transformers holds them as no "
            "linear layers, and bitsandbytes does not quantise them"
        )
    if shape.experts and setup.adapter != "full":
        trained = adapter_parameters(shape, setup.adapter, setup.r)
        said.append(
            f"all-linear adapts every expert: {trained / 1e6:,.0f} million parameters; with target_modules of the "
            "attention alone it would be a hundredth"
            if shape.adapted != shape.linears
            else "all-linear does not adapt the experts, only what is around them"
        )
    if is_multimodal(config):
        said.append("only the model's text part is counted")
    if setup.adapter == "full" and card is not None and setup.optimizer == "adamw_torch":
        more = memory.expected - memory_of(shape, replace(setup, optimizer="adamw_torch_fused")).expected
        if more > 0.5e9:
            said.append(f"optim adamw_torch takes {more / 1e9:.1f} GB more at each step than adamw_torch_fused")
    if card is not None and not card.bf16:
        said.append(
            f"{card.name} has no bf16: what is planned here in bf16 runs in fp32 there, and takes twice as much"
        )
    return said
