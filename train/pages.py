"""What training commands show on a terminal: each takes the same data that `--json` prints."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from schemas.console import duration, heading, say, table
from schemas.excerpt import excerpt

if TYPE_CHECKING:
    from train.data import Piece
    from train.running import Job, Outcome, Tokens

_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE_COLUMNS = 60


def job_page(job: Job, tokens: Tokens) -> None:
    """What will be trained on and how: shown before the first step, and by `--dry-run`."""
    from train.reporting import replay_line
    from train.running import told_of_replay

    recipe, rows = job.recipe, tokens.train
    say(f"{recipe.method}: {job.model.name} adapted by {recipe.adapter_name}", style="bold")
    say(f"device    {job.policy.said()}")
    say(f"template  {job.chosen.template.name}: {job.chosen.because}")
    held = f", {len(tokens.validation):,} held out" if tokens.validation is not None else ", none held out"
    say(
        f"rows      {len(rows):,}{held}; {int(rows.lengths.sum()):,} tokens, {rows.supervised:,} supervised; "
        f"longest {int(rows.lengths.max()):,}"
    )
    for one in told_of_replay(tokens):
        say(f"replay    {replay_line(one)}")
    packs = f", {tokens.sequences:,} packs" if recipe.settings.packing else ""
    say(f"steps     {tokens.steps:,}, {tokens.steps_per_epoch:,} an epoch{packs}")
    if tokens.pairs is not None:
        pairs_lines(tokens.pairs, len(rows))
    for warning in job.warnings:
        say(f"warning   {warning}", style="yellow")
    if tokens.pairs is not None:
        heading("What is learnt: ⟦+ is to become likelier +⟧ than ⟦- what is rejected -⟧ behind the same prompt")
    else:
        heading("What is learnt: only what stands between ⟦ and ⟧ counts in the loss")
    for place, example in enumerate(tokens.examples):
        say()
        mask_line(place + 1, example)
    say()


def pairs_lines(pairs: Mapping[str, Any], count: int) -> None:
    """What the lengths of answers tell."""
    gap = pairs["gap_tokens"]
    say(
        f"answers   {pairs['chosen_tokens']:g} tokens chosen, {pairs['rejected_tokens']:g} rejected; "
        f"gap {gap['mean']:+g}, 90 % from {gap['p5']:+,} to {gap['p95']:+,}"
    )
    longer = pairs["longer_chosen"]
    said = (
        "all of one length" if longer is None else f"the chosen one is longer in {longer:.0%} of {pairs['unequal']:,}"
    )
    say(f"          {said}; {pairs['shared_start']:.0%} of the answers is a beginning that both share")
    if pairs["soft_labels"] or pairs["weighted"]:
        say(f"labels    {pairs['soft_labels']:,} of {count:,} are not certain, {pairs['weighted']:,} have a weight")


def mask_line(number: int, example: Sequence[Piece]) -> None:
    """One row with its loss mask. Marked by brackets too, so that it reads without colours."""
    paired = any(one.weight < 0 for one in example)

    def marked(one: Piece) -> str:
        if not one.weight:
            return one.text
        if paired:
            sign = "+" if one.weight > 0 else "-"
            return f"⟦{sign}{one.text}{sign}⟧"
        return f"⟦{one.text}⟧" + (f"×{one.weight:g}" if one.weight != 1 else "")

    text = "".join(map(marked, example))
    say(f"{number}. {text}")


def step_label(step: int, steps: int, record: Mapping[str, Any]) -> str:
    """One logged step, for the progress line."""
    if "reference" in record:
        return f"reference, {record['rows']}  {record['reference']:,}/{record['of']:,}"
    said = f"step {step:,}/{steps:,}"
    if "loss" in record:
        said += f"  loss {record['loss']:.4f}"
    if "eval_loss" in record:
        said += f"  validation {record['eval_loss']:.4f}"
    for place in ("rewards/accuracies", "eval_rewards/accuracies"):
        if place in record:
            said += f"  in order {record[place]:.0%}"
    return said


def outcome_page(outcome: Outcome) -> None:
    """A run that has ended."""
    show_page(outcome.report, str(outcome.folder), already=outcome.already)


def show_page(report: Mapping[str, Any], folder: str, *, already: bool = False) -> None:
    """A run, from its report: `train show`."""
    from train.reporting import replay_line

    rows = report["rows"]
    say()
    say(f"{folder}" + (": already done" if already else ""), style="bold green")
    say(
        f"{report['base']['name']} adapted by {report['adapter']} on {rows['train']:,} rows "
        f"({report['row_tokens']['supervised']:,} supervised tokens)"
    )
    for one in report["data"]:
        say(f"  {excerpt(one['path'], 120)}  {one['rows']:,} rows  {one['fingerprint'][:16]}")
    loss, looked = report.get("loss") or {}, report.get("eval")
    log = report.get("log", [])
    trained = [float(one["loss"]) for one in log if "loss" in one]
    validated = [float(one["eval_loss"]) for one in log if "eval_loss" in one]
    heading("Loss")
    if trained:
        say(f"training    {curve(trained)}  {loss['first']:.4f} → {loss['last']:.4f}")
    if looked:
        best = f", best {looked['best']:.4f}"
        if report.get("best_step") is not None:
            best += f" at step {report['best_step']:,}"
        say(f"validation  {curve(validated)}  {looked['first']:.4f} → {looked['last']:.4f}{best}")
        if looked.get("by_task"):
            tasks = sorted(looked["by_task"].items(), key=lambda one: -one[1])
            table(
                ("task", "validation loss"),
                [(excerpt(name, 40), f"{value:.4f}") for name, value in tasks[:20]],
                numbers=(1,),
            )
    for one in report.get("replay") or ():
        say(f"replay      {replay_line(one)}")
    if rewards := report.get("rewards"):
        rewards_table(rewards, looked)
    heading("Cost")
    stopped = f" of {report['planned_steps']:,} planned" if report.get("stopped_early") else ""
    speed = f", {report['tokens_per_second']:,.0f} tokens/s" if report.get("tokens_per_second") else ""
    memory = f"{report['memory_gb']:.2f} GB at most"
    if plan := (report.get("planned") or {}).get("memory_gb"):
        memory += f" (planned {plan['low']:.2f} to {plan['high']:.2f})"
    say(f"{report['steps']:,} steps{stopped} in {duration(report['seconds'])}{speed}; {memory}")
    say(f"{report['trainable_parameters']:,} of {report['parameters']:,} parameters trained; {report['device']}")
    if report.get("resumed_from") is not None:
        say(f"resumed from step {report['resumed_from']:,}")
    if report["set_aside"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in report["set_aside"].items())
        say(f"set aside: {reasons}; each with its reason in {folder}/set_aside.jsonl", style="yellow")
    if report["allowed"]:
        say(f"sources that deny training, allowed by name: {', '.join(report['allowed'])}", style="yellow")
    say(f"curves, rows and settings: {folder}/report.html")


def rewards_table(rewards: Mapping[str, Mapping[str, float]], looked: Mapping[str, Any] | None) -> None:
    """How far pairs came to be in order."""
    heading("Rewards")
    lines = [(name, f"{one['first']:.4f}", f"{one['last']:.4f}") for name, one in rewards.items()]
    for name in ("accuracy", "margin") if looked else ():
        assert looked is not None
        lines.append((f"{name} on validation", f"{looked[name]['first']:.4f}", f"{looked[name]['last']:.4f}"))
    table(("", "first", "last"), lines, numbers=(1, 2))


def curve(values: Sequence[float], columns: int = _CURVE_COLUMNS) -> str:
    """Values as a line of blocks, each column the mean of its stretch."""
    width = min(columns, len(values))
    if not width:
        return ""
    edges = [len(values) * place // width for place in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[min(int((one - low) / span * len(_BLOCKS)), len(_BLOCKS) - 1)] for one in means)


def merged_page(found: Mapping[str, Any]) -> None:
    """A model that was merged."""
    verified = found["verified"]
    say(f"{found['model']}: {found['adapter']} merged into {found['base']} ({found['dtype']})", style="bold green")
    say(
        f"checked: differs from adapter and base together by {verified['kl_mean']:.2g} nats a token (at most "
        f"{verified['kl_max']:.2g}); the likeliest token is the same in {100 * verified['same_top_token']:.1f} %"
    )
