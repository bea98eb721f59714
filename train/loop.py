"""What all methods share of training: base and adapter, transformers' arguments, and the loop to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

from train.adapter import Beginning, Situation
from train.checkpoint import CHECKPOINTS, last_whole, step_of
from train.loading import adapted, check_embeddings, load_base
from train.model import quietly
from train.pairs import PairRows
from train.policy import memory_gb
from train.reference import padded
from train.replay import losses_of
from train.trainer import LOG, AdapterSteps, Recorder, every, read_log

if TYPE_CHECKING:
    from train.running import Job, Tokens

BEGAN = "began"
"""Beside the checkpoints: how the adapter began, where that has to be kept."""

BEGINNING_ROWS, BEGINNING_BATCH = 512, 16
"""Rows that an adapter may look at before it begins, and how many at once."""

Tell = Callable[[int, int, dict[str, Any]], None]
"""Is told a step, how many there will be, and what is logged of it."""


def base_of(job: Job, tokens: Tokens) -> Any:
    """The base model of a job, and chance as it is seeded. Raises UserError where it cannot be loaded, or could not
    learn to stop."""
    torch.set_num_threads(job.policy.threads)
    base = load_base(job.model.path, job.policy)
    if not job.recipe.adapter.trains_output:
        ends = set(job.stop_ids) & set(tokens.train.ids[tokens.train.weights > 0].tolist())
        check_embeddings(base, ends, job.tokenizer)
    set_seed(job.recipe.settings.seed)
    return base


def adapted_for(job: Job, tokens: Tokens, base: Any, folder: Path) -> Any:
    """The base with the job's adapter around it: a new one, or the one that it goes on from. `folder` is the run's."""
    situation, start = Situation.of(job.model.config, tokens.steps), job.recipe.settings.from_adapter
    return adapted(base, job.recipe.adapter, situation, start, job.policy, beginning_of(job, tokens, folder))


def beginning_of(job: Job, tokens: Tokens, folder: Path) -> Beginning:
    """What a job's adapter may look at before it begins: rows by chance, as the seed says."""
    rows = tokens.train.sides if isinstance(tokens.train, PairRows) else tokens.train

    def batches() -> Iterator[dict[str, Any]]:
        order = np.random.default_rng(job.recipe.settings.seed).permutation(len(rows)).tolist()
        for first in range(0, min(len(order), BEGINNING_ROWS), BEGINNING_BATCH):
            batch = padded(rows, order[first : first + BEGINNING_BATCH], pad_id_of(job.tokenizer))
            counted = batch.pop("counted")
            yield batch | {"labels": batch["input_ids"].masked_fill(~counted, -100)}

    return Beginning(folder / CHECKPOINTS / BEGAN, job.model.path, batches)


def learn(trainer: Any, job: Job, tokens: Tokens, folder: Path, tell: Tell) -> dict[str, Any]:
    """Train, from the last whole checkpoint in `folder` if there is one, and save what was trained there. Returns what
    is worth reporting."""
    from train.running import told_of_replay

    settings, adapter = job.recipe.settings, job.recipe.adapter
    whole, damaged = last_whole(Path(trainer.args.output_dir))
    job.warnings.extend(damaged)
    trainer.keep = settings.save_total_limit
    trainer.adapter = adapter
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Recorder(folder / LOG, tell, lambda: trainer.seen_tokens))
    trainer.add_callback(AdapterSteps(adapter))
    if settings.early_stopping_patience and tokens.validation is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.early_stopping_patience))
    # What replay is to keep shows against the model as it was.
    trainer.args.eval_on_start = bool(tokens.replay_validation) and tokens.validation is not None and whole is None
    began = time.monotonic()
    with quietly():
        used_cache = trainer.model.config.use_cache
        trainer.train(resume_from_checkpoint=str(whole) if whole else False)
        seconds = time.monotonic() - began
        trainer.model.config.use_cache = used_cache  # transformers turns it off to train, and would publish that
        adapter.publish(trainer.model, folder, beginning_of(job, tokens, folder))
    log = read_log(folder / LOG)
    trained = [one for one in log if "loss" in one]
    looked = [one for one in log if "eval_loss" in one]
    best = min(looked, key=lambda one: one["eval_loss"]) if looked else None
    parameters = list(trainer.model.parameters())
    return {
        "steps": trainer.state.global_step,
        "planned_steps": tokens.steps,
        "resumed_from": step_of(whole) if whole else None,
        "loss": {"first": trained[0]["loss"], "last": trained[-1]["loss"]} if trained else None,
        "eval": looks(looked) if looked else None,
        **({"replay": losses_of(told_of_replay(tokens), log)} if tokens.replay else {}),
        "best_step": best["step"] if best and settings.load_best_model_at_end else None,
        "stopped_early": trainer.state.global_step < tokens.steps,
        "memory_gb": memory_gb(job.policy.device),
        "seconds": round(log[-1]["seconds"] if log else seconds, 3),
        "tokens": log[-1].get("tokens") if log else None,
        "tokens_per_second": round(trainer.seen_tokens / seconds, 1) if seconds else None,
        "trainable_parameters": sum(one.numel() for one in parameters if one.requires_grad),
        "parameters": sum(one.numel() for one in parameters),
        "learning_rate": trainer.args.learning_rate,
    }


def looks(looked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """First, last and best loss on validation, the best step's by task, and where there are any the accuracies and
    margins of pairs."""
    best = min(looked, key=lambda one: one["eval_loss"])
    prefix = "eval_loss_"
    found: dict[str, Any] = {
        "first": looked[0]["eval_loss"],
        "last": looked[-1]["eval_loss"],
        "best": best["eval_loss"],
        "by_task": {name.removeprefix(prefix): value for name, value in best.items() if name.startswith(prefix)},
    }
    for name, key in (("accuracy", "eval_rewards/accuracies"), ("margin", "eval_rewards/margins")):
        if key in best:
            found[name] = {"first": looked[0][key], "last": looked[-1][key], "best": best[key]}
    return found


def arguments_of(job: Job, tokens: Tokens, checkpoints: Path) -> TrainingArguments:
    """transformers' arguments for a job."""
    settings, policy = job.recipe.settings, job.policy
    validation = tokens.validation is not None
    looks = every(tokens.steps, tokens.steps_per_epoch, settings.eval_steps or settings.save_steps)
    saves = every(tokens.steps, tokens.steps_per_epoch, settings.save_steps or settings.eval_steps)
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=settings.per_device_train_batch_size,
        per_device_eval_batch_size=settings.per_device_eval_batch_size or settings.per_device_train_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=job.recipe.learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.adam_beta1,
        adam_beta2=settings.adam_beta2,
        adam_epsilon=settings.adam_epsilon,
        max_grad_norm=settings.max_grad_norm,
        num_train_epochs=settings.num_train_epochs,
        max_steps=settings.max_steps,
        optim=settings.optim,
        seed=settings.seed,
        neftune_noise_alpha=settings.neftune_noise_alpha,
        logging_steps=settings.logging_steps,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if validation else "no",
        eval_steps=looks if validation else None,
        save_strategy="steps",
        save_steps=saves,
        save_total_limit=None,
        load_best_model_at_end=settings.load_best_model_at_end and validation and saves % looks == 0,
        metric_for_best_model="eval_loss" if validation else None,
        greater_is_better=False if validation else None,
        report_to=list(settings.report_to) or "none",
        use_cpu=policy.device == "cpu",
        bf16=policy.compute == "bf16" and policy.device != "cpu",
        activation_checkpointing=policy.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if policy.gradient_checkpointing else None,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=policy.device != "cpu",
        use_cache=True,  # in the config.json of a whole model; the loss asks for none
        restore_callback_states_from_checkpoint=True,  # how long early stopping has waited
    )
    arguments._n_gpu = 1  # of several cards one is used: DataParallel would cut the places of the loss apart
    return arguments


def pad_id_of(tokenizer: Any) -> int:
    """A token to pad with. Which one it is does not matter: padding has no weight and nothing attends to it."""
    for one in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(one, int):
            return one
    return 0
