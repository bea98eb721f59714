"""Supervised fine-tuning: learn to say what the assistant says.

transformers' Trainer trains, with a loss of ours. TRL's SFTTrainer would tokenise rows by itself into a cache keyed by
a pickle's hash, knows no weight of a turn, rounds QLoRA's adapters to bf16 on a CPU too, and flattens a packed batch
into one sequence whose attention mask grows with the square of the batch. With the same rows and settings the losses
are the same: tests/train/test_sft.py holds that, and tests/bench/train_sft.py shows the speed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name of it
from transformers import Trainer

from train.checkpoint import CHECKPOINTS
from train.data import TokenRows, pack
from train.loop import Tell, adapted_for, arguments_of, base_of, learn, pad_id_of
from train.trainer import Durable

if TYPE_CHECKING:
    from train.running import Job, Tokens


class Sequences(torch.utils.data.Dataset[dict[str, Any]]):  # type: ignore[misc] # torch has no types here
    """What a step reads: single rows, or rows packed to `max_length`, each a dict of `ids`, `weights`, `positions`."""

    def __init__(self, rows: TokenRows, *, packing: bool = False, max_length: int = 0) -> None:
        self.rows = rows
        self.groups = pack(rows.lengths.tolist(), max_length) if packing else [[one] for one in range(len(rows))]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, place: int) -> dict[str, Any]:
        ids, weights, positions = [], [], []
        for one in self.groups[place]:
            row_ids, row_weights = self.rows.row(one)
            row_weights = row_weights.copy()
            row_weights[0] = 0.0  # nothing stands before it that it could be predicted from
            ids.append(row_ids)
            weights.append(row_weights)
            positions.append(np.arange(len(row_ids), dtype=np.int64))
        return {
            "ids": np.concatenate(ids),
            "weights": np.concatenate(weights),
            "positions": np.concatenate(positions),
        }


class Collator:
    """Batches: padded on the right; packed rows are told apart by positions that begin anew at each.

    transformers makes the block-diagonal mask of such positions for sdpa and eager attention, where no attention mask
    is given, so that padding is a row of its own behind the others. Flash attention reads them only from one flat
    sequence.
    """

    def __init__(self, pad_id: int, *, packing: bool, flat: bool = False) -> None:
        self.pad_id = pad_id
        self.packing = packing
        self.flat = flat

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if self.flat:
            items = [{name: np.concatenate([one[name] for one in items]) for name in items[0]}]
        width = max(len(one["ids"]) for one in items)
        shape = (len(items), width)
        batch = {
            "input_ids": torch.full(shape, self.pad_id, dtype=torch.int64),
            "weights": torch.zeros(shape, dtype=torch.float32),
        }
        positions = torch.zeros(shape, dtype=torch.int64)
        attention = torch.zeros(shape, dtype=torch.int64)
        for place, one in enumerate(items):
            length = len(one["ids"])
            batch["input_ids"][place, :length] = torch.from_numpy(one["ids"].astype(np.int64))
            batch["weights"][place, :length] = torch.from_numpy(one["weights"])
            positions[place, :length] = torch.from_numpy(one["positions"])
            positions[place, length:] = torch.arange(width - length)
            attention[place, :length] = 1
        batch["tokens"] = torch.tensor(sum(len(one["ids"]) for one in items))
        return batch | ({"position_ids": positions} if self.packing else {"attention_mask": attention})


class SftTrainer(Durable, Trainer):  # type: ignore[misc] # transformers has no types here
    """The Trainer of supervised fine-tuning. The loss is the mean over supervised tokens of the whole optimizer step,
    each counted by its weight."""

    def __init__(
        self, *arguments: Any, pad_id: int = 0, replayed: Mapping[str, Sequences] | None = None, **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self.replayed = dict(replayed or {})
        """Held-out rows of data that are replayed: looked at apart, by their names."""
        self.loss_is_scaled_for_ga = True
        self.control: Any = self.control
        self.pad_id = pad_id
        self.seen_tokens = 0
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        self._picks_logits = "logits_to_keep" in inspect.signature(base.forward).parameters

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """The batches of one optimizer step, and the weight of all their tokens."""
        batches: list[Any] = []
        for _ in range(num_batches):
            try:
                batches.append(next(epoch_iterator))
            except StopIteration:
                break
        if not batches:
            return batches, None
        total = torch.stack([batch["weights"][:, 1:].sum() for batch in batches]).sum()
        if self.args.world_size > 1:
            total = self.accelerator.gather(total.to(device)).sum()
        return batches, total.to(device)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy of the tokens that count. Logits are computed only where some row of the batch needs them."""
        weights = inputs.pop("weights")
        tokens = inputs.pop("tokens")
        if model.training:
            self.seen_tokens += int(tokens)
        losses, counted = self.token_losses(model, inputs, weights)
        total = counted.sum() if num_items_in_batch is None else num_items_in_batch
        loss = (losses * counted).sum() / total.clamp(min=1e-8)
        if num_items_in_batch is not None and self.args.world_size > 1:
            loss = loss * self.args.world_size  # gradients are averaged over devices, and `total` is of all of them
        adapter = self.adapter
        if model.training and adapter is not None and (penalty := adapter.penalty(self.model)) is not None:
            loss = loss + penalty / self.args.gradient_accumulation_steps
        return (loss, {}) if return_outputs else loss

    def token_losses(
        self, model: Any, inputs: dict[str, Any], weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy and weight of every token that counts, row by row."""
        ids = inputs["input_ids"]
        counted = weights[:, 1:]
        wanted = counted != 0
        virtual = self.adapter is not None and self.adapter.prompt_learning
        if self._picks_logits and not virtual:
            places = wanted.any(dim=0).nonzero().squeeze(-1)
            if not len(places):
                places = torch.zeros(1, dtype=torch.int64, device=ids.device)
            logits = model(**inputs, use_cache=False, logits_to_keep=places).logits
        else:
            places = torch.arange(ids.shape[1] - 1, device=ids.device)
            logits = model(**inputs, use_cache=False).logits[:, -ids.shape[1] : -1]
        chosen = wanted[:, places]
        targets = ids[:, 1:][:, places][chosen]
        losses = F.cross_entropy(logits[chosen].float(), targets, reduction="none")
        return losses, counted[:, places][chosen]

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean loss over the supervised tokens of validation, in all and by task. Uses no chance: a run that looks at
        validation trains as one that does not."""
        dataset = eval_dataset if isinstance(eval_dataset, Sequences) else self.eval_dataset
        assert isinstance(dataset, Sequences)
        sums, counts = self._losses_by_task(dataset)
        metrics = {f"{metric_key_prefix}_loss": sum(sums.values()) / max(sum(counts.values()), 1e-8)}
        if len(sums) > 1:
            for task in sorted(sums):
                metrics[f"{metric_key_prefix}_loss_{task or 'no_task'}"] = sums[task] / max(counts[task], 1e-8)
        for name, rows in self.replayed.items():
            sums, counts = self._losses_by_task(rows)
            metrics[f"{metric_key_prefix}_replay_{name}"] = sum(sums.values()) / max(sum(counts.values()), 1e-8)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _losses_by_task(self, dataset: Sequences) -> tuple[dict[str, float], dict[str, float]]:
        """The sum of the losses of each task's tokens, and of what they count."""
        model = self.accelerator.unwrap_model(self.model_wrapped)
        training = model.training
        model.eval()
        collate = Collator(self.pad_id, packing=False)
        order = np.argsort(-dataset.rows.lengths, kind="stable").tolist()  # rows of one length: less padding
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        with torch.no_grad():
            for first in range(0, len(order), self.args.per_device_eval_batch_size):
                places = order[first : first + self.args.per_device_eval_batch_size]
                batch = self._prepare_inputs(collate([dataset[place] for place in places]))
                weights = batch.pop("weights")
                del batch["tokens"]
                with self.compute_loss_context_manager():
                    losses, counted = self.token_losses(model, batch, weights)
                rows = (weights[:, 1:] != 0).nonzero()[:, 0].tolist()
                weighted = (losses.float() * counted).tolist()
                for row, loss, weight in zip(rows, weighted, counted.tolist(), strict=True):
                    task = dataset.rows.tasks[dataset.groups[places[row]][0]]
                    sums[task] = sums.get(task, 0.0) + loss
                    counts[task] = counts.get(task, 0.0) + weight
        model.train(training)
        return sums, counts


def run_sft(job: Job, tokens: Tokens, folder: Path, tell: Tell) -> dict[str, Any]:
    """Train into `folder`; see `train.loop.learn`. Returns what is worth reporting."""
    settings, policy = job.recipe.settings, job.policy
    model = adapted_for(job, tokens, base_of(job, tokens), folder)
    pad_id, packing = pad_id_of(job.tokenizer), settings.packing
    trainer = SftTrainer(
        model=model,
        args=arguments_of(job, tokens, folder / CHECKPOINTS),
        train_dataset=Sequences(tokens.train, packing=packing, max_length=settings.max_length),
        eval_dataset=Sequences(tokens.validation) if tokens.validation is not None else None,
        data_collator=Collator(pad_id, packing=packing, flat=policy.attention == "flash_attention_2" and packing),
        pad_id=pad_id,
        replayed={name: Sequences(rows) for name, rows in tokens.replay_validation.items()},
    )
    return learn(trainer, job, tokens, folder, tell)
