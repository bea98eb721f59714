"""What every method's trainer shares: whole checkpoints, exact logs, and a stop before a broken model is kept.

transformers' Trainer is what trains; this is mixed into it. It writes no pickle, marks each checkpoint whole when it is
on disk, and stops at a loss or a weight that is no number instead of training on.
"""

from __future__ import annotations

import errno
import math
import shutil
import time
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from transformers import TrainerCallback

from schemas.errors import UserError
from train.adapter import Adapter
from train.checkpoint import last_whole, prune, seal

LOG = "log.jsonl"
"""Name of the log in a run's folder: one JSON object for every logged step and look at validation."""


class Durable:
    """Mixed into a Trainer: `class SftTrainer(Durable, Trainer)`. Set `keep` and `adapter` before it trains."""

    keep: int = 2
    """How many of the last checkpoints stay."""
    adapter: Adapter | None = None

    def training_step(self: Any, *arguments: Any, **named: Any) -> Any:
        """One batch forward and backward. Raises UserError at a loss that is no number."""
        loss = super().training_step(*arguments, **named)  # type: ignore[misc]
        if not bool(torch.isfinite(loss).all()):
            raise self.broken("the loss is no longer a number")
        return loss

    def broken(self: Any, what: str) -> UserError:
        """The error of a run that went wrong, naming the last whole checkpoint."""
        whole, _ = last_whole(Path(self.args.output_dir))
        where = f"the last whole checkpoint is {whole}" if whole else "there is no checkpoint yet"
        return UserError(
            f"{what} at step {self.state.global_step + 1}; {where}",
            hint="lower learning_rate, raise warmup_steps, or set max_grad_norm; then train again with --replace",
        )

    def _save(self: Any, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)  # type: ignore[misc]
        Path(output_dir or self.args.output_dir, "training_args.bin").unlink(missing_ok=True)  # a pickle

    def _save_checkpoint(self: Any, model: Any, trial: Any = None) -> None:
        if any(not bool(torch.isfinite(one).all()) for one in self.model.parameters() if one.requires_grad):
            raise self.broken("a weight is no longer a number")
        root = Path(self.args.output_dir)
        folder = root / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            if self.args.should_save:
                if self.adapter is not None:
                    self.adapter.keep(self.model, folder)
                seal(folder)
        except (OSError, RuntimeError, SafetensorError) as error:
            if not _is_full(error, root):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            whole, _ = last_whole(root)
            where = f"the last whole checkpoint is {whole}" if whole else "there is no checkpoint yet"
            raise UserError(
                f"the disk is full: checkpoint-{self.state.global_step} could not be written; {where}",
                hint="free some space and run the same command again: it goes on from that checkpoint",
            ) from error
        if self.args.should_save:
            best = self.state.best_model_checkpoint
            prune(root, self.keep, Path(best) if best else None)

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.adapter is None or not self.adapter.restore(self.model, Path(resume_from_checkpoint)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]

    def _load_best_model(self: Any) -> None:
        if self.adapter is None or not self.adapter.restore(self.model, Path(self.state.best_model_checkpoint)):
            super()._load_best_model()  # type: ignore[misc]


class Recorder(TrainerCallback):  # type: ignore[misc] # transformers has no types here
    """Writes log.jsonl as the run goes, and tells `tell(step, steps, record)`."""

    def __init__(self, path: Path, tell: Any, tokens: Any = None) -> None:
        self.path = path
        self.tell = tell
        self.tokens = tokens
        """Returns how many tokens were read so far, padding left out."""
        self.began = time.monotonic()
        self.before = 0.0
        self.tokens_before = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Cut the log where the checkpoint was taken that the run goes on from."""
        kept = [one for one in read_log(self.path) if 0 < state.global_step >= one["step"]]
        self.before = kept[-1]["seconds"] if kept else 0.0
        self.tokens_before = kept[-1].get("tokens", 0) if kept else 0
        self.path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in kept))
        self.began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Log ahead of each checkpoint: what is summed up since the last time is in none, and would be lost."""
        if control.should_save:
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        """Append what is logged."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        record: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        record |= {name: value for name, value in logs.items() if name != "epoch"}
        record["seconds"] = round(self.before + time.monotonic() - self.began, 3)
        if self.tokens is not None:
            record["tokens"] = self.tokens_before + int(self.tokens())
        with self.path.open("ab") as file:
            file.write(orjson.dumps(record) + b"\n")
        self.tell(state.global_step, state.max_steps, record)


class AdapterSteps(TrainerCallback):  # type: ignore[misc]
    """Lets an adapter do its own work around every optimizer step, as AdaLoRA does."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Nothing is computed yet."""
        self.adapter.before_step(model, state.global_step + 1, state.max_steps)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Gradients are still there."""
        self.adapter.after_step(model, state.global_step + 1)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log; a last line that was cut off is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            break
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            break
        found.append(record)
    return found


def every(steps: int, per_epoch: int, given: int | None, most: int = 500) -> int:
    """Steps between two checkpoints: as given, else once an epoch, and at least each `most` steps."""
    return given or max(1, min(per_epoch, most, steps))


def steps_of(sequences: int, batch: int, accumulation: int, epochs: float, max_steps: int) -> tuple[int, int]:
    """Optimizer steps of a run on one device, and of one epoch of it, as transformers counts them."""
    batches = math.ceil(sequences / batch)
    per_epoch = max(math.ceil(batches / accumulation), 1)
    return (max_steps if max_steps > 0 else math.ceil(epochs * per_epoch)), per_epoch


def _is_full(error: BaseException, folder: Path) -> bool:
    """Whether an error while writing is for want of space; torch and safetensors do not say it as an errno."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    said = str(error)
    if "No space left" in said or "os error 28" in said:
        return True
    return "PytorchStreamWriter" in said or "unexpected pos" in said or shutil.disk_usage(folder).free < 1 << 20
