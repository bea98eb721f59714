"""What is trained, on what and how: settings by Hugging Face's names, every mistake at once before anything loads."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from pydantic import Field as Setting

from schemas.errors import RecipeError, UserError, nearest, raise_all
from schemas.lookup import find, names
from schemas.recipe import Document, Path_, read_document, settings_of
from train.adapter import ADAPTERS, Adapter

Reasoning = Literal["keep", "mask", "drop"]
"""keep: the reasoning is trained on; mask: it is read and not trained on; drop: it is not in the text at all."""

Truncation = Literal["turns", "end", "none"]
"""turns: the oldest exchanges go first, then the answer's end; end: the end goes; none: too long a row is set aside."""

SoftLabels = Literal["review", "agreement", "margin", "off"]
"""Where a pair says how likely its chosen answer is the better one: what `review export` wrote; the share of raters;
its margin as log-odds; nowhere."""

PreferenceLoss = Literal["sigmoid", "hinge", "ipo", "sigmoid_norm", "simpo"]

RENAMED = {
    "adapter_name": "adapter",
    "alpha": "adapter.lora_alpha",
    "batch_size": "per_device_train_batch_size",
    "cutoff_len": "max_length",
    "dpo_beta": "beta",
    "dpo_label_smoothing": "label_smoothing",
    "gamma": "simpo_gamma",
    "loss": "loss_type",
    "pref_beta": "beta",
    "pref_ftx": "sft_weight",
    "pref_loss": "loss_type",
    "rpo_alpha": "sft_weight",
    "dataset": "data",
    "epochs": "num_train_epochs",
    "finetuning_type": "adapter",
    "lora_r": "adapter.r",
    "lora_rank": "adapter.r",
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "micro_batch_size": "per_device_train_batch_size",
    "model_name_or_path": "model",
    "base_model": "model",
    "optimizer": "optim",
    "output_dir": "out",
    "peft": "adapter",
    "per_device_batch_size": "per_device_train_batch_size",
    "rank": "adapter.r",
    "sample_packing": "packing",
    "steps": "max_steps",
    "template": "chat_template",
    "val_set_size": "validation",
    "warmup": "warmup_steps",
    "warmup_ratio": "warmup_steps",
}
"""Names that other trainers use, and where the setting is here."""


def share_of(said: str) -> tuple[str, float]:
    """A dataset and its share, of DATASET=0.1. Raises ValueError for what is none."""
    path, equals, number = said.rpartition("=")
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not path or not equals or not 0 < share < 1:
        raise ValueError(f"replay {said!r} is not of the form DATASET=SHARE, with a share between 0 and 1: general=0.1")
    return path, share


class Training(BaseModel):
    """Settings of a training run, whatever is trained by it. Names and meanings are those of transformers and TRL."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = Setting(min_length=1, description="folder of the model, hf:NAME or modelscope:NAME")
    data: tuple[str, ...] = Setting(min_length=1, description="datasets to train on")
    out: str = Setting(min_length=1, description="folder to write the adapter to")
    from_adapter: str | None = Setting(default=None, description="go on from this adapter instead of a new one")
    replay: tuple[str, ...] = Setting(
        default=(), description="general data mixed in against forgetting, DATASET=0.1: a share of all tokens"
    )
    allow: tuple[str, ...] = Setting(default=(), description="sources to train on although they deny it; recorded")

    chat_template: str | None = Setting(default=None, description="one of ours by name, or a .jinja file")
    eos_token: str | None = Setting(default=None, description="the token that ends a turn, if not the tokenizer's own")
    max_length: int = Setting(default=1024, ge=8, description="tokens of a row; see truncation")
    truncation: Truncation = Setting(default="turns", description="what goes of rows that are too long")
    reasoning: Reasoning = Setting(default="keep", description="what becomes of an assistant's reasoning")
    packing: bool = Setting(default=False, description="several short rows share a sequence and never see each other")
    validation: float = Setting(
        default=0.05, ge=0, lt=1, description="share of prompts held out where the data has no split column; 0 is none"
    )

    per_device_train_batch_size: int = Setting(default=8, ge=1, description="sequences of a step on one device")
    per_device_eval_batch_size: int | None = Setting(default=None, ge=1, description="as for training if not given")
    gradient_accumulation_steps: int = Setting(default=1, ge=1, description="batches of an optimizer step")
    learning_rate: float | None = Setting(default=None, gt=0, le=1, description="the adapter's usual one if not given")
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Setting(
        default="cosine", description="how the learning rate changes over the run"
    )
    warmup_steps: float = Setting(default=0.03, ge=0, description="steps of rising rate; below 1 a share of all steps")
    weight_decay: float = Setting(default=0.0, ge=0, le=1)
    adam_beta1: float = Setting(default=0.9, ge=0, lt=1)
    adam_beta2: float = Setting(default=0.999, ge=0, lt=1)
    adam_epsilon: float = Setting(default=1e-8, gt=0)
    max_grad_norm: float = Setting(
        default=1.0, ge=0, description="gradients are scaled down to this length; 0 is never"
    )
    num_train_epochs: float = Setting(default=3.0, gt=0, description="times every row is seen")
    max_steps: int = Setting(default=-1, ge=-1, description="stop after so many steps; -1 is by epochs")
    optim: Literal["adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "sgd", "adafactor"] = Setting(
        default="adamw_torch"
    )
    seed: int = Setting(default=42, ge=0, le=2**32 - 1)
    neftune_noise_alpha: float | None = Setting(default=None, gt=0, description="noise on embeddings (NEFTune)")

    logging_steps: int = Setting(default=1, ge=1)
    eval_steps: int | None = Setting(default=None, ge=1, description="steps between looks at validation; once an epoch")
    save_steps: int | None = Setting(default=None, ge=1, description="steps between checkpoints; as eval_steps")
    save_total_limit: int = Setting(default=2, ge=1, description="last checkpoints that are kept, besides the best")
    keep_checkpoints: bool = Setting(default=False, description="keep them when the run has ended")
    early_stopping_patience: int = Setting(default=0, ge=0, description="looks without improvement before it stops")
    load_best_model_at_end: bool = Setting(default=True, description="the adapter is the best checkpoint, not the last")
    report_to: tuple[Literal["tensorboard", "wandb", "swanlab", "mlflow"], ...] = Setting(
        default=(), description="loggers besides log.jsonl, which is always written"
    )

    bf16: bool | None = Setting(default=None, description="by the device if not given")
    gradient_checkpointing: bool | None = Setting(default=None, description="by the device if not given")
    attn_implementation: Literal["sdpa", "eager", "flash_attention_2"] = Setting(default="sdpa")
    torch_threads: int | None = Setting(
        default=None, ge=1, description="threads on the CPU; the free cores if not given"
    )

    @field_validator("data", "allow", "report_to", "replay", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("replay")
    @classmethod
    def _shares(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if sum(share_of(one)[1] for one in value) >= 1:
            raise ValueError("the shares of what is replayed leave nothing of the data")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Training:
        if self.max_steps == 0:
            raise ValueError("max_steps is 0: nothing would be trained; -1 is by num_train_epochs")
        return self


class DpoTraining(Training):
    """Settings of learning from preferences: those of every run, and what is TRL's besides."""

    loss_type: PreferenceLoss = Setting(default="sigmoid", description="what is made of the difference of two answers")
    beta: float | None = Setting(
        default=None, gt=0, le=1000, description="how little the model may depart from the reference; by loss_type"
    )
    label_smoothing: float = Setting(
        default=0.0, ge=0, lt=0.5, description="chance that a label is wrong, of pairs that do not say it themselves"
    )
    soft_labels: SoftLabels = Setting(default="review", description="where pairs say how sure their label is")
    sft_weight: float = Setting(
        default=0.0, ge=0, le=100, description="weight of also learning to say the chosen answer, per token of it"
    )
    simpo_gamma: float = Setting(default=0.5, ge=0, le=100, description="the lead that simpo asks of chosen answers")
    num_train_epochs: float = Setting(default=1.0, gt=0, description="times every pair is seen")

    @property
    def strength(self) -> float:
        """beta, or the usual one of the loss."""
        return self.beta if self.beta is not None else USUAL_BETA[self.loss_type]


USUAL_BETA: Mapping[str, float] = {"sigmoid": 0.1, "hinge": 0.1, "ipo": 0.1, "sigmoid_norm": 5.0, "simpo": 2.0}
"""Rafailov et al. 2023 (arXiv 2305.18290), and TRL for the next two; Lambert et al. 2024 (Tulu 3, arXiv 2411.15124);
Meng et al. 2024 (arXiv 2405.14734). Losses that count by length need a larger one: theirs is a mean, not a sum."""

SETTINGS: Mapping[str, type[Training]] = {"sft": Training, "dpo": DpoTraining}
"""The settings of each method."""

KINDS: Mapping[str, str] = {"sft": "chat", "dpo": "preference"}
"""The kind of row that each method learns from."""

USUAL_RATE: Mapping[str, float] = {"sft": 1.0, "dpo": 0.05}
"""The usual learning rate of each method, in parts of the adapter's: for LoRA 1e-5, for a whole model TRL's 1e-6."""


@dataclass(frozen=True)
class Recipe:
    """One run: what method, with what adapter, under what settings."""

    method: str
    settings: Training
    adapter_name: str
    adapter: Adapter

    def within(self, window: object) -> Recipe:
        """The recipe, its max_length no more than the positions of the model, if nobody set it."""
        if not isinstance(window, int) or "max_length" in self.settings.model_fields_set:
            return self
        length = min(self.settings.max_length, window)
        return replace(self, settings=self.settings.model_copy(update={"max_length": length}))

    @property
    def learning_rate(self) -> float:
        """As it is set, or what is usual for the adapter and the method."""
        return self.settings.learning_rate or self.adapter.learning_rate * USUAL_RATE[self.method]

    def filled(self) -> dict[str, Any]:
        """Every setting, defaults written out."""
        usual = {"beta": self.settings.strength} if isinstance(self.settings, DpoTraining) else {}
        return {
            "method": self.method,
            **self.settings.model_dump(mode="json"),
            **usual,
            "learning_rate": self.learning_rate,
            "adapter": {"use": self.adapter_name, **self.adapter.model_dump(mode="json", by_alias=True)},
        }


def load_recipe(
    method: str,
    config: Path | None,
    given: Mapping[str, Any],
    overrides: Mapping[str, str],
) -> Recipe:
    """The recipe of a YAML file, options given besides it, and `--set` overrides, in this order of strength.

    Raises RecipeError or UserErrors with every mistake, its line, and the nearest name of what does not exist.
    """
    settings = SETTINGS[method]
    document = read_document(config) if config else Document("", "the command line")
    values = document.value if document.value is not None else {}
    if not isinstance(values, dict):
        raise RecipeError(
            f"{document.name} holds no settings", hint="one `name: value` on each line", file=document.name
        )
    values = {str(key): value for key, value in values.items()}
    errors = list(document.errors)
    if (said := values.pop("method", method)) != method:
        errors.append(document.error(("method",), f"{said!r} is not {method!r}", f"use `train {said}`"))
    values |= {name: value for name, value in given.items() if value is not None}
    adapter = values.pop("adapter", "lora")
    chosen = {"use": adapter} if isinstance(adapter, str) else adapter
    if not isinstance(chosen, dict) or not isinstance(chosen.get("use"), str):
        errors.append(document.error(("adapter",), "an adapter names what it uses", "adapter: {use: lora, r: 16}"))
        chosen = {"use": "lora"}
    chosen = {str(key): value for key, value in chosen.items()}
    for name, text in overrides.items():
        head, dot, tail = name.partition(".")
        if head == "adapter" and dot:
            chosen[tail] = typed(text)
        elif name == "adapter":
            chosen = {"use": str(typed(text))}
        else:
            values[name] = typed(text)
    use = chosen.pop("use")
    made, mistakes = settings_of(settings, values, document, ())
    errors += [_renamed(one, values, settings, document, ()) for one in mistakes]
    of_adapter = None
    try:
        kind = find(ADAPTERS, use, Adapter)  # type: ignore[type-abstract]
    except UserError as error:
        errors.append(document.error(("adapter", "use"), error.message, error.hint))
    else:
        of_adapter, mistakes = settings_of(kind, chosen, document, ("adapter",))
        errors += [_renamed(one, chosen, kind, document, ("adapter",)) for one in mistakes]
    raise_all(errors)
    assert made is not None and of_adapter is not None
    return Recipe(method, made, use, of_adapter)


def typed(text: str) -> Any:
    """A value of the command line, read as a recipe would read it."""
    try:
        return Document(text, "").value
    except RecipeError:
        return text


def _renamed(
    error: RecipeError, values: Mapping[str, Any], cls: type[BaseModel], document: Document, path: Path_
) -> RecipeError:
    """A mistake, with the place the setting has here where another trainer's name of it was used."""
    for name in values:
        if f"there is no setting {name!r}" not in error.message:
            continue
        known = name in RENAMED and (path or RENAMED[name].partition(".")[0] in {*cls.model_fields, "adapter"})
        if known and RENAMED[name] not in values:
            return document.error((*path, name), f"there is no setting {name!r}", f"here it is `{RENAMED[name]}`")
        if not path and difflib.get_close_matches(name, cls.model_fields, n=1, cutoff=0.6):
            return error
        if not path and (home := _adapters_with(name)):
            hint = f"it is a setting of the adapter: adapter: {{use: {home[0]}, {name}: …}}"
            return document.error((name,), f"there is no setting {name!r}", hint)
        if not path and (others := [method for method, other in SETTINGS.items() if name in other.model_fields]):
            hint = f"it is a setting of `train {others[0]}`"
            return document.error((name,), f"there is no setting {name!r}", hint)
        return document.error((*path, name), f"there is no setting {name!r}", nearest(name, cls.model_fields))
    return error


def _adapters_with(name: str) -> list[str]:
    known = sorted(names(ADAPTERS), key=lambda one: (one != "lora", one))
    return [one for one in known if name in find(ADAPTERS, one, Adapter).model_fields]  # type: ignore[type-abstract]
