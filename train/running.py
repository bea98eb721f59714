"""One training run from recipe to folder: what it is, whether it can be, and carrying it out so that nothing is lost.

The run works in the temporary folder that `schemas.run` gives it. Its checkpoints are there, so that the same command,
or `train resume`, goes on from the last whole one; what is published has the adapter and what there is to say about it.
"""

from __future__ import annotations

import datetime
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from schemas.dataset import written
from schemas.errors import UserError
from schemas.manifest import MANIFEST, fingerprint, library_versions
from schemas.run import AlreadyDone, run_into, write_durably
from train.adapter import Situation
from train.chat_template import Chosen, asked_for, choose, is_file, load_template
from train.checkpoint import CHECKPOINTS, checkpoints
from train.data import Encoder, Piece, TokenRows, Told, gathered, shown
from train.identity import as_it_was_made, changes, check_base, identity_of
from train.model import ModelFolder, find_model, load_tokenizer
from train.pairs import PairEncoder, PairRows, gathered_pairs, shown_pair, told_by_lengths, warnings_of
from train.policy import Policy, gate, policy_for
from train.reading import Material, open_material
from train.recipe import KINDS, DpoTraining, Recipe, share_of
from train.replay import NO_ROWS, Replayed, chosen, held_out_rows, length_of, open_replay, sources_of, warning_of

SETTINGS = "settings.json"
"""In the temporary folder: what run it is, so that it can be resumed and what changed can be named."""

SET_ASIDE = "set_aside.jsonl"
LINEAGE = "lineage.json"
CARD = "README.md"
REPORT = "report.html"
REPORT_JSON = "report.json"

_LIBRARIES = ("assay", "torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "safetensors")

ROWS_SHOWN = 3


@dataclass
class Job:
    """A run that can be: everything found and checked, nothing loaded yet."""

    recipe: Recipe
    model: ModelFolder
    material: Material
    tokenizer: Any
    chosen: Chosen
    stop_ids: tuple[int, ...]
    policy: Policy
    fingerprint: str
    identity: dict[str, Any]
    started: str
    """Day the run began, which templates that write a date are given."""
    warnings: list[str] = field(default_factory=list)
    replay: list[Replayed] = field(default_factory=list)
    """General data that are mixed in."""

    @property
    def materials(self) -> list[Material]:
        """All data that are trained on."""
        return [self.material, *(one.material for one in self.replay)]

    @property
    def out(self) -> Path:
        """Folder that is written."""
        return Path(self.recipe.settings.out)


@dataclass
class Tokens:
    """A job's rows as tokens."""

    train: TokenRows
    validation: TokenRows | None
    told: Told
    sequences: int
    """What a step reads `per_device_train_batch_size` of: rows, or packs of them."""
    steps: int
    steps_per_epoch: int
    examples: list[list[Piece]] = field(default_factory=list)
    """The first few rows as the model reads them, cut by what the loss counts. What is to become less likely has a
    negative weight."""
    pairs: dict[str, Any] | None = None
    """Of preferences, what their lengths tell; see `train.pairs.told_by_lengths`."""
    replay: list[dict[str, Any]] = field(default_factory=list)
    """Of each replayed dataset: name, path, share, rows, tokens and row_ids. Its rows stand behind all others in
    `train`."""
    replay_validation: dict[str, TokenRows] = field(default_factory=dict)
    """What replayed datasets hold out, by their names."""


def prepare(recipe: Recipe, *, device: str | None = None) -> Job:
    """Find and check everything that a run needs. Raises UserError with what is wrong, before any weight is loaded."""
    model = find_model(recipe.settings.model)
    recipe = recipe.within(model.config.get("max_position_embeddings"))
    settings = recipe.settings
    before = unfinished(Path(settings.out))
    told: list[str] = []
    if settings.from_adapter and not recipe.adapter.whole_model:  # which the gate refuses
        check_base(Path(settings.from_adapter), model.path)
        recipe, told = as_it_was_made(recipe, model)
    bf16_works = True
    if device is None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        bf16_works = device == "cpu" or torch.cuda.is_bf16_supported()
    policy = policy_for(recipe, device, bf16_works=bf16_works, threads=before.get("threads"))
    replay = open_replay(settings, KINDS[recipe.method])
    material = open_material(
        settings.data,
        KINDS[recipe.method],
        allow=settings.allow,
        validation=settings.validation,
        seed=settings.seed,
        elsewhere=sources_of(settings),
    )
    recipe.adapter.peft_config(Situation.of(model.config, 1))  # refuses a family of models that it does not know
    warnings = gate(recipe, policy, model.config, validation=material.split_by != "nothing")
    tokenizer = load_tokenizer(model.path)
    today = before.get("started") or datetime.date.today().isoformat()
    chosen, stop_ids = template_for(recipe, model, tokenizer, datetime.date.fromisoformat(today))
    warnings += template_warnings(recipe, model, tokenizer, chosen)
    identity = identity_of(recipe, model, material, chosen, stop_ids, replay)
    begun = before.get("policy")
    if begun is not None and begun != policy.precision() and before.get("identity") == identity:
        told.append(
            f"the run was begun on {' '.join(begun)} and goes on on {' '.join(policy.precision())} (device, weights, "
            "products): its numbers are not those of a run that was not cut off"
        )
    return Job(
        recipe,
        model,
        material,
        tokenizer,
        chosen,
        stop_ids,
        policy,
        fingerprint({"command": recipe.method, **identity}),
        identity,
        today,
        [*material.warnings, *(said for one in replay for said in one.material.warnings), *told, *warnings],
        replay,
    )


def template_for(
    recipe: Recipe, model: ModelFolder, tokenizer: Any, today: datetime.date
) -> tuple[Chosen, tuple[int, ...]]:
    """The chat template to train with, and the tokens that end a turn. Raises UserError."""
    settings = recipe.settings
    tokens = {name: value for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    stops = set(_stop_ids(model, tokenizer))
    if settings.eos_token is not None:
        added = tokenizer.convert_tokens_to_ids(settings.eos_token)
        if added is None or (added == tokenizer.unk_token_id and settings.eos_token != tokenizer.unk_token):
            raise UserError(
                f"eos_token {settings.eos_token!r} is no token of {model.name}", hint="see its tokenizer.json"
            )
        stops.add(int(added))
    names = [str(tokenizer.convert_ids_to_tokens(one)) for one in sorted(stops)]
    own = tokenizer.chat_template
    if isinstance(own, Mapping):
        own = own.get("default")
    name = model.path.name if Path(model.name).exists() else model.name
    if settings.chat_template is not None:
        template = load_template(settings.chat_template, tokens, today=today)
        return asked_for(template, own, name, tokens, names), tuple(sorted(stops))
    return choose(own, name, tokens, names, today=today), tuple(sorted(stops))


def template_warnings(recipe: Recipe, model: ModelFolder, tokenizer: Any, chosen: Chosen) -> list[str]:
    """What the chosen template and end of turn mean for those who serve the model."""
    found = []
    name, differs, token = chosen.template.name, ", ".join(chosen.differs_on), recipe.settings.eos_token
    if differs and chosen.asked_for:
        found.append(
            f"the chat template {name} writes {differs} otherwise than the model's own: serve what is trained with the "
            "chat_template.jinja beside it, not with the model's"
        )
    elif differs:
        found.append(
            f"the chat template {name} writes {differs} otherwise than the model's own: rows with them are trained as "
            "they will not be served"
        )
    stops = _stop_ids(model, tokenizer)
    if token is not None and not recipe.adapter.whole_model and tokenizer.convert_tokens_to_ids(token) not in stops:
        found.append(
            f"the model does not stop at {token} by itself: where its adapter is served beside it, name that as a "
            "stop token; `train merge` writes it into the model"
        )
    return found


def _stop_ids(model: ModelFolder, tokenizer: Any) -> list[int]:
    found: list[Any] = [tokenizer.eos_token_id, model.config.get("eos_token_id")]
    path = model.path / "generation_config.json"
    if path.is_file():
        try:
            found.append(orjson.loads(path.read_bytes()).get("eos_token_id"))
        except (orjson.JSONDecodeError, AttributeError):
            raise UserError(f"{path} is damaged", hint="get the model again", file=str(path)) from None
    return [one for said in found for one in (said if isinstance(said, list) else [said]) if isinstance(one, int)]


def working_folder(out: Path) -> Path:
    """Where a run works until it is published; see `schemas.run`."""
    real = Path(os.path.realpath(out))
    return real.with_name(f".{real.name}.assay-tmp")


def unfinished(out: Path) -> dict[str, Any]:
    """What the cut-off run of a folder says about itself; empty if there is none."""
    try:
        said = orjson.loads((working_folder(out) / SETTINGS).read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return {}
    return said if isinstance(said, dict) else {}


def check_unfinished(job: Job, *, replace: bool) -> None:
    """Raise UserError when the folder holds a cut-off run of something else, naming what differs."""
    before = unfinished(job.out)
    kept = checkpoints(working_folder(job.out) / CHECKPOINTS)
    if not before or not kept or replace or before.get("fingerprint") == job.fingerprint:
        return
    changed = changes(before.get("identity", {}), job.identity)
    raise UserError(
        f"{working_folder(job.out)} holds an unfinished run that is not this one: "
        + (f"{', '.join(changed)} changed" if changed else "it was made by another version"),
        hint="change it back to go on from its last checkpoint; give --replace to begin anew, or another --out",
    )


def tokens_of(job: Job, tell: Callable[[int], None] = lambda rows: None) -> Tokens:
    """The job's rows as tokens. Raises UserError where none can be trained on. `tell` is told rows done."""
    from train.methods.sft import Sequences
    from train.trainer import steps_of

    settings = job.recipe.settings
    encoder: Encoder | PairEncoder
    gather: Callable[[Any], TokenRows]
    if isinstance(settings, DpoTraining):
        encoder = PairEncoder(job.tokenizer, job.chosen.template, job.stop_ids, settings)
        gather = gathered_pairs
    else:
        encoder = Encoder(
            job.tokenizer,
            job.chosen.template,
            job.stop_ids,
            max_length=settings.max_length,
            truncation=settings.truncation,
            reasoning=settings.reasoning,
        )
        gather = gathered
    told = Told()

    def watched(part: Any) -> Any:
        for one in encoder.encode(job.material.rows(part), told):
            tell(told.rows)
            yield one

    rows = list(watched("train"))
    if not rows:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in told.reasons.items())
        one = told.set_aside[0] if told.set_aside else None
        detail = f" (the first: {one.where or one.id}: {one.detail})" if one else ""
        raise UserError(
            f"none of the {told.rows:,} rows can be trained on: {reasons or 'all of them are held out'}{detail}",
            hint="see what the rows hold: curate show; and what the model's chat template takes",
        )
    validation = None
    if job.material.split_by != "nothing":
        validation = gather(watched("validation"))
        if not len(validation):
            job.warnings.append("no row that is held out can be used: there is no validation")
            validation = None
    if settings.early_stopping_patience and validation is None:
        raise UserError("early_stopping_patience needs validation rows", hint="set it to 0, or hold out more rows")
    replay, held_out = _replayed(job, rows, validation, encoder, told)
    train = gather(rows)
    if isinstance(train, PairRows):
        sequences = len(train)
    else:
        sequences = len(Sequences(train, packing=settings.packing, max_length=settings.max_length))
    steps, per_epoch = steps_of(
        sequences,
        settings.per_device_train_batch_size,
        settings.gradient_accumulation_steps,
        settings.num_train_epochs,
        settings.max_steps,
    )
    if told.set_aside:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in told.reasons.items())
        job.warnings.append(f"{len(told.set_aside):,} of {told.rows:,} rows are set aside: {reasons}")
    if told.turns_dropped:
        job.warnings.append(
            f"{told.turns_dropped:,} rows are longer than max_length {settings.max_length:,} and lose their oldest "
            "turns"
        )
    if told.answers_cut:
        job.warnings.append(
            f"{told.answers_cut:,} answers are cut off at max_length {settings.max_length:,}: the model does not see "
            "how they end"
        )
    first = range(min(ROWS_SHOWN, len(train)))
    if isinstance(train, PairRows):
        assert isinstance(settings, DpoTraining)
        pairs = told_by_lengths(train)
        job.warnings.extend(warnings_of(pairs, len(train), settings))
        examples = [shown_pair(train, place, job.tokenizer) for place in first]
        return Tokens(train, validation, told, sequences, steps, per_epoch, examples, pairs, replay)
    if not settings.packing and not job.recipe.adapter.prompt_learning and _padding(train, settings) > 0.5:
        job.warnings.append("more than half of each batch is padding: packing: true would save that time")
    examples = [shown(train, place, job.tokenizer) for place in first]
    return Tokens(train, validation, told, sequences, steps, per_epoch, examples, None, replay, held_out)


def _replayed(
    job: Job, rows: list[Any], validation: TokenRows | None, encoder: Encoder | PairEncoder, told: Told
) -> tuple[list[dict[str, Any]], dict[str, TokenRows]]:
    """Add the rows that are replayed to `rows`; what is told of each dataset, and what those of conversations hold out.
    Raises UserError where none of a dataset's rows can be used."""
    from train.reference import digests

    if not job.replay:
        return [], {}
    known = frozenset(digests(validation.sides if isinstance(validation, PairRows) else validation or NO_ROWS))
    own = sum(map(length_of, rows))
    all_ = own / (1 - sum(one.share for one in job.replay))
    found, held_out = [], {}
    for one in job.replay:
        wanted = round(one.share * all_)
        more = chosen(one, wanted, lambda some: encoder.encode(some, told), known)
        if not more:
            raise UserError(f"none of the rows of {one.path} can be replayed", hint="see what they hold: curate show")
        rows += more
        tokens = sum(map(length_of, more))
        if said := warning_of(one, len(more), tokens, wanted):
            job.warnings.append(said)
        found.append(
            {
                "name": one.name,
                "path": one.path,
                "share": one.share,
                "rows": len(more),
                "tokens": tokens,
                "row_ids": [encoded.id if hasattr(encoded, "id") else encoded.chosen.id for encoded in more],
            }
        )
        if isinstance(encoder, Encoder) and len(some := gathered(encoder.encode(held_out_rows(one), told))):
            held_out[one.name] = some
    return found, held_out


def _padding(rows: TokenRows, settings: Any) -> float:
    """Share of padding in batches of rows in random order."""
    order = np.random.default_rng(0).permutation(len(rows))
    lengths = rows.lengths[order]
    batch = settings.per_device_train_batch_size
    padded = sum(
        int(lengths[at : at + batch].max()) * len(lengths[at : at + batch]) for at in range(0, len(lengths), batch)
    )
    return 1 - int(lengths.sum()) / padded


@dataclass
class Outcome:
    """What a run made."""

    folder: Path
    report: dict[str, Any]
    already: bool = False

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        keys = (
            "steps",
            "loss",
            "eval",
            "memory_gb",
            "seconds",
            "tokens",
            "tokens_per_second",
            "best_step",
            "fingerprint",
            *(("rewards", "pairs") if "rewards" in self.report else ()),
        )
        return {"adapter": str(self.folder), **{key: self.report.get(key) for key in keys}} | {
            "set_aside": self.report.get("set_aside", {}),
            "warnings": self.report.get("warnings", []),
            "already": self.already,
        }


Tell = Callable[[int, int, dict[str, Any]], None]


def done(job: Job) -> Outcome | None:
    """The outcome, where the folder holds that of exactly this run already."""
    from schemas.run import standing

    if standing(job.out, job.fingerprint) == "this":
        return Outcome(job.out, read_report(job.out), already=True)
    return None


def carry_out(job: Job, tokens: Tokens, tell: Tell, *, replace: bool = False) -> Outcome:
    """Train into the job's folder, from the last whole checkpoint if there is one. That stays whatever goes wrong."""
    from train.methods.dpo import run_dpo
    from train.methods.sft import run_sft
    from train.reporting import finish

    learn = {"sft": run_sft, "dpo": run_dpo}[job.recipe.method]
    check_unfinished(job, replace=replace)
    failed: UserError | None = None
    try:
        with run_into(job.out, job.fingerprint, replace=replace) as run:
            write_durably(run.folder / SETTINGS, orjson.dumps(_settings(job), option=orjson.OPT_INDENT_2))
            _write_lines(run.folder / SET_ASIDE, [one.as_json() for one in tokens.told.set_aside])
            try:
                began = time.monotonic()
                facts = learn(job, tokens, run.folder, tell)
                facts["planned"] = planned(job, tokens)
                facts["run_seconds"] = round(time.monotonic() - began, 3)
                finish(job, tokens, run.folder, facts)
                if not job.recipe.settings.keep_checkpoints:
                    shutil.rmtree(run.folder / CHECKPOINTS, ignore_errors=True)
                (run.folder / SETTINGS).unlink()
                _write_manifest(job, run.folder, facts)
                run.publish()
            except UserError as error:
                if not checkpoints(run.folder / CHECKPOINTS):
                    raise
                failed = error  # raised below: in here it would clear the folder, checkpoints and all
    except AlreadyDone:
        return Outcome(job.out, read_report(job.out), already=True)
    if failed is not None:
        raise failed
    return Outcome(job.out, read_report(job.out))


def read_report(folder: Path) -> dict[str, Any]:
    """What a finished run says about itself. Raises UserError when the folder is none's."""
    path = folder / REPORT_JSON
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} is no adapter that `train` made", hint="name the --out folder of a run") from None
    except orjson.JSONDecodeError:
        raise UserError(f"{path} is damaged", hint="train it again with --replace", file=str(path)) from None
    if not isinstance(found, dict) or "steps" not in found:
        raise UserError(f"{folder} is no adapter that `train` made", hint="name the --out folder of a run")
    return found


def planned(job: Job, tokens: Tokens) -> dict[str, Any] | None:
    """What the plan says of the job's memory, in GB; None where it knows no such model or adapter."""
    from train.adapters.freezing import Freezing
    from train.memory import Setup, memory_of
    from train.shapes import shape_of

    settings, policy, name = job.recipe.settings, job.policy, job.recipe.adapter_name
    adapter = job.recipe.adapter
    if name not in ("full", "lora", "qlora", "dora") and not adapter.whole_model:
        return None
    try:
        shape = shape_of(job.model.config, job.model.name)
    except UserError:
        return None
    lengths = tokens.train.lengths
    half: Any = "fp32" if policy.compute == "fp32" else "amp" if adapter.whole_model else "bf16"
    setup = Setup(
        adapter="full" if adapter.whole_model else name,  # type: ignore[arg-type] # it is one of them: see above
        device="cpu" if policy.device == "cpu" else "cuda",
        precision=half,
        method="dpo" if isinstance(tokens.train, PairRows) else "sft",
        r=getattr(job.recipe.adapter, "r", 16),
        sequences=settings.per_device_train_batch_size,
        tokens=settings.max_length if settings.packing else int(lengths.max()),
        checkpointing=policy.gradient_checkpointing,
        optimizer=settings.optim,
        supervised=tokens.train.supervised / max(int(lengths.sum()), 1),
        trained_layers=adapter.most_layers(shape.layers) if isinstance(adapter, Freezing) else None,
        trains_output=adapter.trains_output,
    )
    memory = memory_of(shape, setup)
    return {"memory_gb": {part: round(getattr(memory, part) / 1e9, 3) for part in ("low", "expected", "high")}}


def dry(job: Job, tokens: Tokens) -> dict[str, Any]:
    """What `--dry-run --json` prints."""
    return {
        "adapter": str(job.out),
        "fingerprint": job.fingerprint,
        "recipe": job.recipe.filled(),
        "device": job.policy.said(),
        "template": {"name": job.chosen.template.name, "because": job.chosen.because},
        "rows": {"train": len(tokens.train), "validation": len(tokens.validation) if tokens.validation else 0},
        "tokens": int(tokens.train.lengths.sum()),
        "supervised": tokens.train.supervised,
        "steps": tokens.steps,
        "steps_per_epoch": tokens.steps_per_epoch,
        "set_aside": tokens.told.reasons,
        "warnings": job.warnings,
        "examples": [[{"text": one.text, "weight": one.weight} for one in row] for row in tokens.examples],
        **({"pairs": tokens.pairs} if tokens.pairs is not None else {}),
        **({"replay": told_of_replay(tokens)} if tokens.replay else {}),
    }


def told_of_replay(tokens: Tokens) -> list[dict[str, Any]]:
    """What is reported of replayed datasets before the run: all but the ids of their rows, and what they cost."""
    total = int(tokens.train.lengths.sum())
    return [
        {name: value for name, value in one.items() if name != "row_ids"}
        | {
            "of_all_tokens": round(one["tokens"] / total, 4),
            "held_out": len(tokens.replay_validation.get(one["name"], ())),
        }
        for one in tokens.replay
    ]


def recipe_of(out: Path) -> Recipe:
    """The recipe of a run that was cut off. Raises UserError where there is none to go on with."""
    from train.recipe import load_recipe

    said = unfinished(out)
    if "recipe" not in said:
        if (out / REPORT_JSON).is_file():
            raise UserError(f"{out} is finished", hint=f"see it with: train show {out}")
        raise UserError(f"{out} has no run to go on with", hint="name the --out folder of a run that was cut off")
    values = {**said["recipe"], "out": str(out)}
    return load_recipe(str(values.pop("method")), None, values, {})


def _settings(job: Job) -> dict[str, Any]:
    return {
        "fingerprint": job.fingerprint,
        "identity": job.identity,
        "recipe": _at_home(job.recipe.filled()),
        "started": job.started,
        "threads": job.policy.threads,
        "policy": job.policy.precision(),
        "versions": library_versions(_LIBRARIES),
    }


def _at_home(filled: dict[str, Any]) -> dict[str, Any]:
    """A filled recipe that can be read from any working directory."""
    there = {name: filled[name] for name in ("model", "from_adapter") if filled[name] and Path(filled[name]).exists()}
    if is_file(filled["chat_template"] or ""):
        there["chat_template"] = filled["chat_template"]
    absolute = {name: str(Path(path).resolve()) for name, path in there.items()}
    data = [str(Path(path).resolve()) for path in filled["data"]]
    replay = [f"{Path(path).resolve()}={share!r}" for path, share in map(share_of, filled["replay"])]
    return filled | absolute | {"data": data, "replay": replay}


def _write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    if records:
        path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in records))


def _write_manifest(job: Job, folder: Path, facts: Mapping[str, Any]) -> None:
    """Written last: a folder that has it is whole. Its keys are those by which `schemas.run` knows a folder of ours."""
    files = [
        written(path, folder).model_dump()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", MANIFEST)
    ]
    said = {
        "format_version": 1,
        "command": job.recipe.method,
        "kind": "model" if job.recipe.adapter.whole_model else "adapter",
        "fingerprint": job.fingerprint,
        "recipe": job.recipe.filled(),
        "identity": job.identity,
        "shards": [],
        "files": files,
        "versions": library_versions(_LIBRARIES),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    write_durably(folder / MANIFEST, orjson.dumps(said, option=orjson.OPT_INDENT_2))
