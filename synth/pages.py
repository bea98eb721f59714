"""What commands show on a terminal: each takes the same data that `--json` prints. And the line while a job runs."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from schemas.console import Progress, count, duration, heading, note, say, share, table
from schemas.excerpt import excerpt

_SEVERITY = {"high": "bold red", "medium": "yellow", "low": "dim"}
_VERDICTS = {
    "allow": "may be trained on",
    "conditions": "may be trained on, with duties",
    "review": "somebody has to look before it is trained on",
    "deny": "may not be trained on",
}
_EVENTS_EVERY_SECONDS = 2.0
_TOLD = ("endpoint_down", "endpoint_up", "endpoint_unusable", "budget_spent", "over_the_cap")


class Telling(Progress):
    """How far a job has come: a live line on a terminal, else a line now and then, or JSON events."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__("synth", 1.0, sys.stderr)
        self.as_json = as_json and not self.live
        self.state: dict[str, Any] = {}
        self._told = 0.0
        self._lock = threading.Lock()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take an event of the runner or of the job; from any thread."""
        with self._lock:
            kind = event["event"]
            self.state |= {name: value for name, value in event.items() if name not in ("event", "done", "total")}
            if kind in _TOLD or kind == "starting":
                self._say(event)
            elif self.as_json:
                if time.monotonic() - self._told >= _EVENTS_EVERY_SECONDS and kind in ("progress", "rows"):
                    self._told = time.monotonic()
                    self._event(self.facts())
            else:
                self.at(0.0, int(self.state.get("kept", 0)))

    def facts(self) -> dict[str, Any]:
        """What is known by now, as a JSON event."""
        state = self.state
        seconds = time.monotonic() - self.began
        done = self._portion()
        return {
            "event": "progress",
            "seconds": round(seconds, 1),
            "tried": state.get("tried", 0),
            "kept": state.get("kept", 0),
            "requested": state.get("requested"),
            "rejected": dict(state.get("rejected", {})),
            "tokens_per_second": state.get("tokens_per_second", 0.0),
            "tokens": state.get("job_tokens", 0),
            "money": state.get("job_money", 0.0),
            "budget_tokens": state.get("budget_tokens"),
            "budget_money": state.get("budget_money"),
            "in_flight": state.get("in_flight", 0),
            "eta_seconds": round(seconds / done * (1 - done), 1) if done > 0.02 else None,
        }

    def _portion(self) -> float:
        """How much of the job is done, 0 to 1."""
        state = self.state
        done, of = ("kept", "requested") if state.get("requested") else ("tried", "tries")
        whole = int(state.get(of) or 0)
        return min(1.0, int(state.get(done, 0)) / whole) if whole else 0.0

    def _show(self, now: float) -> None:
        line = self._line()
        if self.live:
            columns = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r\x1b[2K{line[:columns]}")
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def _line(self) -> str:
        """done, kept, rejected by reason, tokens a second, money of what is allowed, time left."""
        found = self.facts()
        of = f"/{found['requested']:,}" if found["requested"] else ""
        parts = [f"{100 * self._portion():3.0f} %", f"{found['tried']:,} tried", f"{found['kept']:,}{of} kept"]
        parts.append(f"{found['tokens_per_second']:,.0f} tok/s")
        if found["budget_money"] is not None or found["money"]:
            allowed = "" if found["budget_money"] is None else f" of {found['budget_money']:,.2f}"
            parts.append(f"{found['money']:,.4f}{allowed}")
        if found["budget_tokens"] is not None:
            parts.append(f"{found['tokens']:,} of {found['budget_tokens']:,} tokens")
        if found["eta_seconds"] is not None and found["eta_seconds"] > 0:
            parts.append(f"{duration(found['eta_seconds'])} left")
        worst = sorted(found["rejected"].items(), key=lambda one: -one[1])[:3]
        if worst:  # last: a narrow terminal cuts it off, and not what is spent
            parts.append("rejected " + " ".join(f"{reason} {number:,}" for reason, number in worst))
        return "  ".join(parts)

    def _say(self, event: Mapping[str, Any]) -> None:
        if self.as_json:
            self._event(event)
            return
        self.end()
        said = {
            "endpoint_down": f"{event.get('endpoint')} does not answer, waiting for it: {event.get('because')}",
            "endpoint_up": f"{event.get('endpoint')} answers again",
            "endpoint_unusable": f"{event.get('endpoint')} refuses us: {event.get('because')}",
            "budget_spent": "the budget is spent; what was begun is finished from what is there",
            "over_the_cap": f"{event.get('endpoint')} used {event.get('tokens')} tokens, more than it was allowed to",
            "starting": f"starting the teacher {event.get('teacher')} on this machine",
        }
        note(excerpt(said[event["event"]], 300))

    def _event(self, event: Mapping[str, Any]) -> None:
        self.stream.write(json.dumps(event, ensure_ascii=False, default=str) + "\n")
        self.stream.flush()


@contextmanager
def telling(*, as_json: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What to tell a job's events to. An interrupt is answered at once; what is on its way is waited for shortly."""
    told = Telling(as_json=as_json)
    before = signal.getsignal(signal.SIGINT)

    def interrupted(number: int, frame: object) -> None:
        told.end()
        signal.signal(signal.SIGINT, before)
        note("stopping: answers on their way are waited for, ten seconds at the most; once more to stop now")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)
        told.end()


def _findings(findings: Sequence[Mapping[str, Any]]) -> None:
    if not findings:
        return
    heading("Findings")
    for one in findings:
        say(f"{one['severity']:<7} {one['kind']}: {excerpt(one['example'], 200)}", style=_SEVERITY[one["severity"]])
        say(f"        {one['fix']}")


def result_page(made: Mapping[str, Any]) -> None:
    """What a job made."""
    say()
    verb = "already done:" if made["already_done"] else "wrote"
    style = "bold green" if made["complete"] and made["kept"] else "bold yellow"
    say(
        f"{verb} {made['dataset']}  ({made['kept']:,} {made['kind']} rows, fingerprint {made['fingerprint'][:12]})",
        style=style,
    )
    _made(made)
    _findings(made["findings"])
    say()
    say(f"look into it: synth show {made['dataset']}   report: {made['report']}")


def _made(found: Mapping[str, Any]) -> None:
    rejected = sum(found["rejected"].values())
    wanted = f"{found['requested']:,} {'rows' if found['requested_rows'] else 'tries'} were wanted"
    say(
        f"{wanted}; {found['tries']:,} tries on {found['seeds']:,} seeds: {found['kept']:,} kept, {rejected:,} rejected"
    )
    if found["missing"] and not found["complete"]:
        say(f"{found['missing']:,} are missing, because the budget ended", style="yellow")
    tokens, budget, run = found["tokens"], found["budget"], found["this_run"]
    of_tokens = "" if budget["tokens"] is None else f" of {budget['tokens']:,}"
    of_money = "" if budget["money"] is None else f" of {budget['money']:,.2f}"
    say(
        f"paid: {found['paid_requests']:,} requests, {tokens['prompt']:,} + {tokens['completion']:,} tokens"
        f"{of_tokens}, {found['money']:,.4f}{of_money} in money"
    )
    perhaps = found["perhaps_billed"]
    if perhaps["requests"]:
        say(f"never answered and perhaps billed: {perhaps['requests']:,} requests, {perhaps['money']:,.4f} in money")
    if found["resumed"] or found["found"]:
        say(
            f"{found['resumed']:,} requests were paid by earlier runs of this job; {found['found']:,} answers cost "
            "nothing: they were kept from before, or several tries ask the same"
        )
    say(
        f"rate: {run['requests_per_second']:,} requests/s, {run['rows_per_minute']:,} rows/min, in "
        f"{duration(run['seconds'])}"
    )


def look_page(found: Mapping[str, Any]) -> None:
    """A job that was carried out."""
    if "rejected_rows" in found:
        _rejected_page(found["rejected_rows"])
        return
    say()
    say(f"{found['name']}: {found['task']}, {found['kept']:,} {found['kind']} rows in {found['dataset']}", style="bold")
    _made(found)
    if found["rejected"]:
        heading("Rejected")
        total = found["kept"] + sum(found["rejected"].values())
        table(
            ("reason", "rows", "share"),
            [(reason, number, share(number, total)) for reason, number in found["rejected"].items()],
            numbers=(1, 2),
        )
        say(f"see what was answered: synth show {found['dataset']} --rejected REASON")
    _terms(found["teachers"])
    for one in found["sources"]:
        say(
            f"source {excerpt(one['name'], 80)}: training {one['training']} by {excerpt(one['because'], 80)}; "
            f"personal data {one['personal_data']}"
        )
    _diversity(found["diversity"])
    if effects := found.get("judge_effects"):
        shares = [
            f"{name.replace('_', ' ')} {value:.0%}" for name, value in effects.items() if isinstance(value, float)
        ]
        say(f"of {effects['pairs']:,} pairs: {', '.join(shares) or 'none differ in length'} (50 % is no effect)")
    heading("Rows")
    for row in found["examples"]:
        say(f"{row['id'][:12]}", style="dim")
        for name, text in row.items():
            if name not in ("id", "kind"):
                say(f"  {name}: {text}")
    _findings(found["findings"])
    say()
    say(f"report: {found['report']}")


def _rejected_page(rows: Sequence[Mapping[str, Any]]) -> None:
    for one in rows:
        say()
        where = f"{one['file']}:{one['line']}" if one["line"] else one["file"]
        say(f"{one['reason']}: {one['detail']}", style="bold yellow")
        say(f"  {excerpt(where, 100)}   {one['held']}", style="dim")
        if one["answer"]:
            say(f"  answered: {one['answer']}")
    if not rows:
        say("nothing was rejected")


def _terms(teachers: Sequence[Mapping[str, Any]]) -> None:
    heading("Teachers")
    for one in teachers:
        revision = f" ({excerpt(one['revision'], 20)})" if one["revision"] else ""
        say(f"{one['role']}: {excerpt(one['name'], 60)}{revision}: {_VERDICTS[one['verdict']]}")
        say(f"    {excerpt(one['said'], 240)}", style="dim")
        for place in one["endpoints"]:
            where = "this machine" if place["here"] else "trusted by the policy" if place["trusted"] else "elsewhere"
            say(f"    asked at {place['address']} ({where})", style="dim")


def _diversity(spread: Mapping[str, Any]) -> None:
    rows = []
    for field, one in spread["fields"].items():
        for side in ("made", "seeds"):
            if (found := one[side]) is not None:
                numbers = [found[name] for name in ("distinct_1", "distinct_2", "self_overlap", "compression_ratio")]
                shared = f"{one['seed_overlap']:.3f}" if side == "made" else ""
                told = [f"{value:.3f}" for value in numbers]
                rows.append((f"{field}, {side}", found["texts"], *told, found["lengths"]["p50"], shared))
    if rows:
        heading("Diversity")
        heads = ("field", "texts", "distinct-1", "distinct-2", "self-overlap", "compression", "median tokens", "seeds'")
        table(heads, rows, numbers=range(1, 8))
    if (meant := spread.get("embeddings")) is not None:
        _meaning(meant)
    if spread["depth"]:
        depths = ", ".join(f"{number:,} at depth {depth}" for depth, number in spread["depth"].items())
        say(
            f"every row is a teacher's: {depths}; "
            f"{share(spread['share_synthetic_seeds'] or 0, 1)} of the seeds were too"
        )


def _meaning(meant: Mapping[str, Any]) -> None:
    if meant["because"] is not None:
        say(f"embeddings of {meant['model']}: not measured, {excerpt(meant['because'], 300)}", style="yellow")
    rows = []
    for field, one in meant["fields"].items():
        for side in ("made", "seeds"):
            if (found := one[side]) is not None:
                near = one["nearest_seed"] if side == "made" else None
                score, apart = f"{found['vendi_score']:.1f}", f"{found['mean_distance']:.3f}"
                rows.append((f"{field}, {side}", found["texts"], score, apart, "" if near is None else f"{near:.3f}"))
    if rows:
        heading(f"Diversity of meaning, by embeddings of {meant['model']}")
        table(("field", "texts", "Vendi score", "mean distance", "nearest seed"), rows, numbers=range(1, 5))


def plan_page(planned: Mapping[str, Any]) -> None:
    """What a run would do."""
    for number, one in enumerate(planned["prompts"], 1):
        heading(f"Prompt {number} of {len(planned['prompts'])}, to {one['teacher']}, seed {one['seed'][:12]}")
        for message in one["messages"]:
            say(f"[{message['role']}]", style="dim")
            say(message["content"])
    recipe = planned["recipe"]
    heading(f"{recipe['name']} → {planned['dataset']} ({planned['state']})")
    what = "rows" if planned["requested_rows"] else "tries"
    say(f"{planned['requested']:,} {what} of {planned['seeds']:,} seeds, by {planned['tries']:,} tries to begin with")
    if planned["seeds_rejected"] or planned["seeds_unusable"]:
        say(
            f"{planned['seeds_rejected']:,} rows are no seeds, {planned['seeds_unusable']:,} tries have nothing to ask",
            style="yellow",
        )
    requests, tokens = planned["requests"], planned["tokens_about"]
    say(
        f"requests: {requests['first_round']:,} in the first round, {requests['answered_already']:,} of them answered "
        f"already; about {requests['later_rounds_about']:,} later, by the task's examples"
    )
    at_most, budget = planned["first_round_at_most"], planned["budget"]
    say(
        f"tokens: about {tokens['prompt']:,} in prompts and {tokens['completion']:,} in answers; "
        f"the first round at most {at_most['tokens']:,}"
    )
    say(f"money: about {planned['money_about']:,.4f}; the first round at most {at_most['money']:,.4f}")
    if (meant := planned["embeddings"]) is not None:
        most = f"{meant['texts_at_most']:,} texts, {meant['tokens_at_most']:,} tokens, {meant['money_at_most']:,.4f}"
        say(f"embeddings of {meant['model']}: at most {most} in money")
    limits = [f"{count(value)} {name}" for name, value in budget.items() if value is not None]
    say(f"budget: {', '.join(limits) or 'no limit'}; it is reserved before each request, and never exceeded")
    say(f"time: about {duration(planned['time_about']['seconds'])}, by {planned['time_about']['by']}")
    _terms(planned["teachers"])
    for place in planned["destinations"]:
        for error in place["refused"]:
            say(f"refused: {error['message']}", style="bold red")
            say(f"    hint: {error['hint']}")


def tasks_page(found: Sequence[Mapping[str, Any]], *, whole: bool) -> None:
    """The tasks there are, or one whole."""
    if not whole:
        say()
        table(("task", "what it makes"), [(one["name"], one["description"]) for one in found])
        say("one task's settings, examples and a recipe: synth tasks NAME")
        return
    for one in found:
        say()
        say(one["name"], style="bold")
        say(one["doc"])
        heading("Settings")
        table(
            ("setting", "type", "default", ""),
            [
                (setting["name"], setting["type"], _default(setting), setting["description"])
                for setting in one["settings"]
            ],
        )
        if one["reasons"]:
            say(f"rejects for, among others: {', '.join(one['reasons'])}")
        heading("Examples")
        for example in one["examples"]:
            settings = ", ".join(f"{name}: {value}" for name, value in example["settings"].items())
            say(f"seed: {example['seed']}" + (f"   ({settings})" if settings else ""))
            for answer in example["answers"]:
                say(f"  answered: {answer}", style="dim")
            for made in example["made"]:
                say("  made: " + "; ".join(f"{name}: {value}" for name, value in made.items()), style="green")
            for reason in example["reasons"]:
                say(f"  rejected: {reason}", style="yellow")
        heading("A recipe")
        say(recipe_for(one["name"], [setting["name"] for setting in one["settings"] if setting["required"]]))


def _default(setting: Mapping[str, Any]) -> str:
    if setting["required"]:
        return "needed"
    value = setting["default"]
    return "–" if value in ((), {}, "", None) else json.dumps(value, ensure_ascii=False, default=str)


def recipe_for(task: str, needed: Sequence[str] = ()) -> str:
    """A recipe to begin with."""
    settings = "".join(f"\n  {name}: …" for name in needed)
    return f"""name: my-{task.replace("_", "-")}
seeds: [my-rows.jsonl]        # or a dataset folder, CSV, Parquet, text files
task:
  use: {task}{settings}
teacher:                      # or: teacher: local
  model: the-model
  base_url: https://host/v1
  api_key_env: MY_API_KEY     # the variable that holds the key
  price: {{prompt: 0.15, completion: 0.60}}   # a million tokens
rows: 100                     # or per_seed: 1
budget: {{money: 5}}"""
