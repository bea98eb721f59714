"""Direct preference optimisation: of two answers, make the better one likelier than the other.

Rafailov et al. 2023 (arXiv 2305.18290). Of each pair the loss sees one number, how much more the model prefers the
chosen answer than the reference does: (log π(chosen) - log π(rejected)) - (the same of the reference). The reference is
the model as it begins; what it says is computed before the adapter is put on, once, and kept (train/reference.py), so
that a step takes the memory of one model and the time of one forward and backward pass.

transformers' Trainer trains, with losses of ours. TRL's DPOTrainer knows no weight and no certainty of a pair, cuts
each answer of a pair by itself and at the end alone, counts the newline behind the last turn, and rounds QLoRA's
adapters to bf16. With the same rows and settings the losses are the same: tests/train/test_dpo.py holds that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name of it
from transformers import Trainer

from schemas.egress import HOME
from train.checkpoint import CHECKPOINTS
from train.identity import adapter_hash
from train.loop import Tell, adapted_for, arguments_of, base_of, learn, pad_id_of
from train.pairs import PairRows
from train.recipe import DpoTraining
from train.reference import FOLDER, Floats, Reference, evaluating, log_probs, padded, picks_logits, reference_key
from train.trainer import LOG, Durable, read_log

if TYPE_CHECKING:
    from train.running import Job, Tokens

REFERENCE = "reference.bin"
"""The numbers a run has used, beside its checkpoints."""

METRICS = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
)
"""Logged besides the loss, by TRL's names: means over pairs. A reward is beta times how much likelier the answer became
(in nats; of simpo, beta times its mean log-probability); an accuracy is the share of pairs whose chosen answer has the
larger reward, which is chance before the first step, where all rewards are 0 up to rounding."""


class Pairs(torch.utils.data.Dataset[int]):  # type: ignore[misc] # torch has no types here
    """What a step reads: the places of pairs."""

    def __init__(self, rows: PairRows, reference: Floats | None) -> None:
        self.rows = rows
        self.reference = reference
        """Log-probability of each side by the reference model; None where the loss needs none."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> int:
        return place

    def batch(self, places: Sequence[int], pad_id: int) -> dict[str, torch.Tensor]:
        """Some pairs: the chosen sides, then the rejected ones, and what is known of each pair."""
        sides = [2 * place for place in places] + [2 * place + 1 for place in places]
        known = {"chances": self.rows.chances[list(places)], "weights": self.rows.counts[list(places)]}
        if self.reference is not None:
            known["reference"] = self.reference[sides]
        return padded(self.rows.sides, sides, pad_id) | {name: torch.from_numpy(one) for name, one in known.items()}


def pair_losses(
    settings: DpoTraining,
    logps: torch.Tensor,
    reference: torch.Tensor | None,
    tokens: torch.Tensor,
    chances: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of each pair, and the rewards of its sides. `logps`, `reference` and `tokens` are of all chosen sides,
    then of all rejected ones: log-probability by the model, by the reference, and tokens of the answer.

    A label that may be wrong counts as both: the loss is its expectation, chance · ℓ(pair) + (1 - chance) · ℓ(the pair
    turned round), as in conservative DPO (Mitchell 2023); for ipo that is its own objective (Azar et al. 2023, eq. 17).
    """
    scores = logps if reference is None else logps - reference
    rewards = settings.strength * scores
    if settings.loss_type in ("ipo", "sigmoid_norm", "simpo"):
        scores = scores / tokens
    if settings.loss_type == "simpo":
        rewards = settings.strength * scores
    chosen, rejected = scores.chunk(2)
    ahead = chosen - rejected
    found = chances * _loss(settings, ahead) + (1 - chances) * _loss(settings, -ahead)
    if settings.sft_weight:
        found = found - settings.sft_weight * (logps / tokens).chunk(2)[0]  # Pang et al. 2024 (arXiv 2404.19733)
    return found, rewards


def _loss(settings: DpoTraining, ahead: torch.Tensor) -> torch.Tensor:
    """The loss of pairs whose chosen answer is `ahead` by so much."""
    beta = settings.strength
    match settings.loss_type:
        case "sigmoid" | "sigmoid_norm":  # Rafailov et al. 2023; by length: Lambert et al. 2024 (arXiv 2411.15124)
            return -F.logsigmoid(beta * ahead)
        case "hinge":  # Zhao et al. 2023 (SLiC-HF, arXiv 2305.10425), with the reward of DPO
            return torch.relu(1 - beta * ahead)
        case "ipo":  # Azar et al. 2023 (arXiv 2310.12036); means over tokens, as its authors computed it
            return (ahead - 1 / (2 * beta)) ** 2
        case "simpo":  # Meng et al. 2024 (arXiv 2405.14734)
            return -F.logsigmoid(beta * ahead - settings.simpo_gamma)


class DpoTrainer(Durable, Trainer):  # type: ignore[misc] # transformers has no types here
    """The Trainer of preferences. The loss is the mean over the pairs of the whole optimizer step, by their weights."""

    def __init__(self, *arguments: Any, settings: DpoTraining, pad_id: int = 0, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.loss_is_scaled_for_ga = True
        self.control: Any = self.control
        self.settings = settings
        self.pad_id = pad_id
        self.seen_tokens = 0
        self._picks_logits = picks_logits(self.model)
        self._sums: dict[str, float] = {}
        self._pairs = 0

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """The batches of one optimizer step, and the weight of all their pairs."""
        batches: list[Any] = []
        for _ in range(num_batches):
            try:
                batches.append(next(epoch_iterator))
            except StopIteration:
                break
        if not batches:
            return batches, None
        total = torch.stack([batch["weights"].sum() for batch in batches]).sum()
        if self.args.world_size > 1:
            total = self.accelerator.gather(total.to(device)).sum()
        return batches, total.to(device)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean loss of the pairs, and what is logged of them."""
        losses, facts = self.losses(model, inputs)
        weights = inputs["weights"]
        total = weights.sum() if num_items_in_batch is None else num_items_in_batch
        loss = (losses * weights).sum() / total
        if num_items_in_batch is not None and self.args.world_size > 1:
            loss = loss * self.args.world_size  # gradients are averaged over devices, and `total` is of all of them
        if model.training:
            self.seen_tokens += int(inputs["attention_mask"].sum())
            self._pairs += len(weights)
            for name, values in facts.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(values.sum())
        adapter = self.adapter
        if model.training and adapter is not None and (penalty := adapter.penalty(self.model)) is not None:
            loss = loss + penalty / self.args.gradient_accumulation_steps
        return (loss, {}) if return_outputs else loss

    def losses(self, model: Any, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of each pair, and METRICS of each."""
        logps = log_probs(model, batch, picks_logits=self._picks_logits)
        tokens = batch["counted"].sum(dim=1)
        losses, rewards = pair_losses(self.settings, logps, batch.get("reference"), tokens, batch["chances"])
        chosen, rejected = rewards.detach().chunk(2)
        said = (chosen, rejected, chosen - rejected, (chosen > rejected).float(), *logps.detach().chunk(2))
        return losses, dict(zip(METRICS, said, strict=True))

    def log(self, logs: dict[str, float], *arguments: Any, **named: Any) -> None:
        """What is logged of a step, with the means over its pairs."""
        if "loss" in logs and self._pairs:
            logs = logs | {name: value / self._pairs for name, value in self._sums.items()}
            self._sums, self._pairs = {}, 0
        super().log(logs, *arguments, **named)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean loss and METRICS of the pairs of validation, and loss and accuracy by task. Uses no chance: a run that
        looks at validation trains as one that does not."""
        dataset = eval_dataset if isinstance(eval_dataset, Pairs) else self.eval_dataset
        assert isinstance(dataset, Pairs)
        model = self.accelerator.unwrap_model(self.model_wrapped)
        longest = dataset.rows.lengths.reshape(-1, 2).max(axis=1)
        order = np.argsort(-longest, kind="stable").tolist()  # pairs of one length: less padding
        size = self.args.per_device_eval_batch_size
        weights = dataset.rows.counts.astype(np.float64)
        values = {name: np.zeros(len(dataset)) for name in ("loss", *METRICS)}
        with evaluating(model):
            for first in range(0, len(order), size):
                places = order[first : first + size]
                with self.compute_loss_context_manager():
                    losses, facts = self.losses(model, self._prepare_inputs(dataset.batch(places, self.pad_id)))
                for name, tensor in {"loss": losses, **facts}.items():
                    values[name][places] = tensor.float().cpu().numpy()
        metrics = {f"{metric_key_prefix}_loss": float(np.average(values["loss"], weights=weights))}
        metrics |= {f"{metric_key_prefix}_{name}": float(values[name].mean()) for name in METRICS}
        tasks = np.asarray(dataset.rows.tasks)
        names = sorted(set(dataset.rows.tasks))
        for name in names if len(names) > 1 else ():
            of = tasks == name
            said = name or "no_task"
            metrics[f"{metric_key_prefix}_loss_{said}"] = float(np.average(values["loss"][of], weights=weights[of]))
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def run_dpo(job: Job, tokens: Tokens, folder: Path, tell: Tell) -> dict[str, Any]:
    """Train into `folder`; see `train.loop.learn`. Returns what is worth reporting. `tell` is also told, before the
    first step, how far the reference is."""
    settings, policy = job.recipe.settings, job.policy
    assert isinstance(settings, DpoTraining) and isinstance(tokens.train, PairRows)
    assert tokens.validation is None or isinstance(tokens.validation, PairRows)
    pad_id = pad_id_of(job.tokenizer)
    base = base_of(job, tokens)
    without_dropout(base)
    if policy.device != "cpu" and policy.weights != "nf4":
        base.to(policy.device)
    start = settings.from_adapter
    model = adapted_for(job, tokens, base, folder) if start else None
    train = validation = None
    reference = None
    if settings.loss_type != "simpo":
        key = reference_key(job.model.path, policy, adapter_hash(Path(start)) if start else None)
        reference = Reference(key, folder / CHECKPOINTS / REFERENCE, HOME / FOLDER / f"{key}.bin")

        def known(rows: PairRows, what: str) -> Floats:
            assert reference is not None
            size = 2 * (settings.per_device_eval_batch_size or settings.per_device_train_batch_size)
            return reference.of(
                rows.sides,
                model if model is not None else base,
                policy,
                size,
                pad_id,
                lambda done, of: tell(0, tokens.steps, {"reference": done, "of": of, "rows": what}),
            )

        train = known(tokens.train, "train")
        validation = known(tokens.validation, "validation") if tokens.validation is not None else None
        job.warnings.extend(reference.warnings)
    pairs = Pairs(tokens.train, train)
    trainer = DpoTrainer(
        model=model if model is not None else adapted_for(job, tokens, base, folder),
        args=arguments_of(job, tokens, folder / CHECKPOINTS),
        train_dataset=pairs,
        eval_dataset=Pairs(tokens.validation, validation) if tokens.validation is not None else None,
        data_collator=lambda places: pairs.batch(places, pad_id),
        settings=settings,
        pad_id=pad_id,
    )
    facts = learn(trainer, job, tokens, folder, tell)
    trained = [one for one in read_log(folder / LOG) if "loss" in one]
    rewards = {name: {"first": trained[0][name], "last": trained[-1][name]} for name in METRICS} if trained else None
    used = {"computed": reference.computed, "key": reference.key} if reference is not None else None
    return facts | {"rewards": rewards, "reference": used}


def without_dropout(model: Any) -> None:
    """Take a model's own dropout away: the reference has none, and noise on one side only is taken for preference. That
    of an adapter stays as it is set."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
