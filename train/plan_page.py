"""What planning and importing show on a terminal: each takes the same data that `--json` prints."""

from __future__ import annotations

from typing import Any

from schemas.console import count, duration, heading, say, share, size, table
from schemas.excerpt import printable


def plan_page(found: dict[str, Any]) -> None:
    """A plan."""
    memory = found["memory_gb"]
    say(f"{printable(found['model'])}: {found['method']} with {found['adapter']} on {found['device']}", style="bold")
    _parameters(found["parameters"])
    heading("Memory at the peak")
    say(f"{memory['expected']:.2f} GB expected, {memory['low']:.2f} to {memory['high']:.2f}")
    table(("part", "GB"), [(name, f"{gb:.2f}") for name, gb in found["memory_parts_gb"].items()], numbers=(1,))
    if found["data"] is not None:
        _data(found["data"])
        _work(found)
    heading("Which method fits which card")
    cards = list(found["fits"][0]["cards"])
    table(
        ("method", "GB", *cards),
        [
            (one["adapter"], f"{one['memory_gb']['expected']:.1f}", *(one["cards"][card] for card in cards))
            for one in found["fits"]
        ],
        numbers=(1,),
    )
    say("yes: it fits; tight: it should; batch 1: with one sequence at a time, and more accumulation", style="dim")
    heading(f"Recommended: {found['recommendation']}")
    say(found["because"])
    for one in found["warnings"]:
        say(f"warning: {one}", style="yellow")
    say()
    say("assumed: " + "; ".join(found["assumptions"]), style="dim")


def _parameters(told: dict[str, int]) -> None:
    total = told["total"]
    active = f", {told['active']:,} active for a token" if told["active"] < 0.8 * total else ""
    say(f"{total:,} parameters{active}; {told['trained']:,} trained ({share(told['trained'], total)})")
    parts = {name: n for name, n in told.items() if name not in ("total", "active", "trained")}
    table(("part", "parameters", "share"), [(name, n, share(n, total)) for name, n in parts.items()], numbers=(1, 2))


def _data(told: dict[str, Any]) -> None:
    heading("Data")
    tokens, lengths = told["tokens"], told["lengths"]
    say(f"{told['rows']:,} rows to train on, {told['held_out']:,} held out; {told['tasks']} named tasks")
    say(f"tokens of a row: {lengths['p50']:,} (half), {lengths['p95']:,} (95 %), {lengths['max']:,} (longest)")
    cut = share(told["truncated"], 1)
    say(f"longer than {told['max_length']:,} tokens and cut: {cut} of the rows")
    table(
        ("tokens an epoch", "", "of padded"),
        [
            ("as they are", tokens["once"], share(tokens["once"], tokens["padded"])),
            ("the assistant's", tokens["supervised"], share(tokens["supervised"], tokens["padded"])),
            ("packed", tokens["packed"], share(tokens["packed"], tokens["padded"])),
            ("padded", tokens["padded"], share(tokens["padded"], tokens["padded"])),
        ],
        numbers=(1, 2),
    )


def _work(found: dict[str, Any]) -> None:
    heading("Time")
    hours = found["hours_range"]
    low, expected, high = (duration(hours[name] * 3600) for name in ("low", "expected", "high"))
    say(f"{found['steps']:,} steps: {expected} ({low} to {high})")
    if found["money"] is not None:
        money = found["money_range"]
        say(f"money: {count(found['money'])} ({count(money['low'])} to {count(money['high'])})")


def imported_page(found: dict[str, Any]) -> None:
    """A model that was converted."""
    verified = found["verified"]
    done = " (done before)" if found["done_before"] else ""
    say(f"{printable(found['model'])}{done}", style="bold")
    say(
        f"{found['architecture']}, {found['parameters']:,} parameters in {found['dtype']}, {size(found['bytes'])}; "
        f"{found['tokenizer']['tokens']:,} tokens, {'a' if found['chat_template'] else 'no'} chat template"
    )
    if verified["compared"]:
        say(
            f"verified: it loads, and its logits are those of the file (largest difference "
            f"{verified['largest_difference']:.2g}, KL {verified['kl']:.2g})",
            style="green",
        )
    for one in found["warnings"]:
        say(f"warning: {one}", style="yellow")
