"""What a recipe would do and cost, before anything is sent: `synth run --dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from schemas.egress import HOME
from schemas.excerpt import mask, printable
from schemas.run import standing
from synth.budget import PICO
from synth.choosing import Choice
from synth.embedding import MOST_TEXTS, TEXT_CHARS
from synth.journal import FILE, Journal
from synth.opening import Job, distinct, goes_on, opened, place_of, policy_of, quiet, refused, terms
from synth.playing import begun
from synth.recipe import FIRST, Recipe
from synth.request import Request
from synth.runner import most, request_key
from synth.task import JUDGE, Said, Seed, Task, play

_SHOWN_PROMPTS = 10
_PROMPT_CHARS = 6_000
_ASSUMED_PACE = 10.0
_VERDICT_TOKENS = 12
_TEXT_TOKENS = 300


def plan(recipe: Recipe, out: Path, *, home: Path | None = None, policy: Path | None = None) -> dict[str, Any]:
    """What a run would do: prompts, requests, cost, terms and where rows would go. Asks nothing and writes nothing.

    The first round of questions is counted exactly. What later rounds ask depends on the answers; it is estimated by
    the task's examples.
    """
    home = home or HOME
    _, path = policy_of(home, policy)
    with opened(recipe, home, policy, quiet, dry=True) as job, ExitStack() as stack:
        journal = stack.enter_context(Journal(home)) if (home / "synth" / FILE).is_file() else None
        choice = Choice(recipe.job, len(job.seeds.rows))
        tries = list(_first_tries(choice))
        later = _by_examples(job.task)
        if choice.rows is not None:
            tries = tries[: max(1, -(-choice.rows // max(1, round(later.rows))))]
        first = _First(job, journal, tries)
        more = round(later.requests * first.requests)
        completion = first.answer_tokens + round(later.completion_tokens * first.requests)
        prompt = round(first.prompt_tokens * (1 + later.prompt_share))
        left = first.requests + more - first.answered
        return {
            "recipe": recipe.filled(),
            "dataset": str(out),
            "state": _STATES[_state(out, job)],
            "fingerprint": job.mark,
            "job": job.name,
            "seeds": len(job.seeds.rows),
            "seeds_rejected": len(job.seeds.rejects),
            "seeds_unusable": first.unusable,
            "requested": choice.requested,
            "requested_rows": choice.rows is not None,
            "tries": len(tries),
            "prompts": first.prompts,
            "requests": {
                "first_round": first.requests,
                "later_rounds_about": more,
                "answered_already": first.answered,
            },
            "tokens_about": {"prompt": prompt, "completion": completion},
            "money_about": (first.money + later.money(job, first)) / PICO,
            "first_round_at_most": {"tokens": first.most_tokens, "money": first.most_money / PICO},
            "time_about": _pace(job, left, prompt + completion),
            "budget": {
                "tokens": recipe.budget.tokens,
                "money": None if recipe.budget.money is None else float(recipe.budget.money),
            },
            "embeddings": _embeddings(job),
            "teachers": terms(job),
            "destinations": [
                {
                    **place_of(one, job),
                    "refused": [error.as_json() for error in refused(one, job.seeds, job.policy, path)],
                }
                for one in distinct([one for teacher in job.asked for one in teacher.endpoints])
            ],
        }


_STATES = {
    "nothing": "new",
    "this": "already done",
    "unfinished": "unfinished: it would go on",
    "another": "holds another result: --replace would be needed",
}


def _state(out: Path, job: Job) -> str:
    found = standing(out, job.mark)
    return "unfinished" if found == "another" and goes_on(out, job) else found


def _first_tries(choice: Choice) -> Iterator[tuple[int, int]]:
    """The tries that there would be if each made what it should."""
    while (batch := choice.batch()) is not None:
        for place, number in batch:
            yield place, number
            choice.tell(place, 1)


class _First:
    """The first round of questions of the tries that are planned, and what it takes."""

    def __init__(self, job: Job, journal: Journal | None, tries: Sequence[tuple[int, int]]) -> None:
        self.prompts: list[dict[str, Any]] = []
        self.requests = self.answered = self.unusable = 0
        self.prompt_tokens = self.answer_tokens = self.money = self.most_tokens = self.most_money = 0
        teachers = list({one.name: one for one in job.teachers.values()}.values())
        prices = {one.name: one.price for one in teachers}
        shown = {len(tries) * number // _SHOWN_PROMPTS for number in range(_SHOWN_PROMPTS)}
        keys = set()
        seed_at, by_role = job.seed_at(), {role: teacher.name for role, teacher in job.teachers.items()}
        for number, (place, again) in enumerate(tries):
            one = begun(job.task, seed_at(place), place, again, by_role)
            self.unusable += not one.asked
            if number in shown and not one.asked:
                shown.add(number + 1)
            for request in one.asked:
                key = request_key(request, teachers)
                if key in keys:
                    continue
                keys.add(key)
                self.requests += 1
                self.answered += journal is not None and journal.find(key) is not None
                prompt, completion = _prompt_tokens(request), _answer_tokens(request, job.task)
                self.prompt_tokens += prompt
                self.answer_tokens += completion
                self.money += prices[request.teacher].of(prompt, completion)
                bound = most(request, teachers)
                self.most_tokens += bound.tokens
                self.most_money += bound.money
            if number in shown and one.asked:
                self.prompts.append(
                    {
                        "seed": one.seed.id,
                        "teacher": job.labels[one.asked[0].teacher],
                        "messages": _rendered(one.asked[0]),
                    }
                )


def _embeddings(job: Job) -> dict[str, Any] | None:
    """The most that measuring rows by embeddings takes: of instructions and answers, of rows and seeds."""
    if job.embedder is None:
        return None
    texts = 4 * MOST_TEXTS
    tokens = texts * TEXT_CHARS
    return {
        "model": job.embedder.model,
        "texts_at_most": texts,
        "tokens_at_most": tokens,
        "money_at_most": job.embedder.price.of(tokens, 0) / PICO,
    }


def _rendered(request: Request) -> list[dict[str, str]]:
    """A request's messages as they are shown: whole, up to a page, obvious identifiers masked."""
    shown = []
    for one in request.body["messages"]:
        text = str(one.get("content") or one.get("tool_calls") or "")
        more = len(text) - _PROMPT_CHARS
        lines = "\n".join(printable(line) for line in mask(text[:_PROMPT_CHARS]).split("\n"))
        shown.append(
            {"role": str(one["role"]), "content": lines + (f"\n… {more:,} more characters" if more > 0 else "")}
        )
    return shown


def _prompt_tokens(request: Request) -> int:
    """About how many tokens a request's messages have: a token is about four bytes, in Chinese too."""
    return sum(
        len(str(one.get("content") or "").encode("utf-8", "replace")) // 4 + 8 for one in request.body["messages"]
    )


def _answer_tokens(request: Request, task: Task) -> int:
    """About how many tokens an answer has: a verdict a few, a text as many as texts usually have."""
    cap = int(request.body["max_tokens"])
    return min(cap, _VERDICT_TOKENS if cap == task.check_tokens and "response_format" in request.body else _TEXT_TOKENS)


@dataclass(frozen=True)
class _Later:
    """What later rounds take, for each request of the first round and each token of its prompt."""

    requests: float
    completion_tokens: float
    prompt_share: float
    judged: float
    """The share of those prompts that the judge is asked."""
    rows: float
    """Rows that a try makes."""

    def money(self, job: Job, first: _First) -> int:
        """About what the later rounds cost, in pico."""
        completion = self.completion_tokens * first.requests
        prompt = self.prompt_share * first.prompt_tokens
        shares = ((job.teachers[JUDGE], self.judged), (job.teachers[FIRST], 1 - self.judged))
        return sum(one.price.of(round(prompt * share), round(completion * share)) for one, share in shares)


def _by_examples(task: Task) -> _Later:
    """What later rounds take by those of the task's examples that make rows: the most that any asks."""
    asked: list[Request] = []
    found = []
    for example in (one for one in task.examples if one.made):
        answers = iter(example.answers)
        asked.clear()

        def answer(request: Request, answers: Iterator[Any] = answers) -> Said:
            asked.append(request)
            said = next(answers)
            return (
                said if isinstance(said, Said) else Said(said if isinstance(said, str) else orjson.dumps(said).decode())
            )

        own = type(task)(**example.settings)
        seed = Seed.of(example.row, example.others)
        results = play(own, seed, example.number, answer)
        first = len(next(own.rounds(seed, example.number, seed.chance(example.number))))
        later = asked[first:]
        found.append(
            (
                len(later) / first,
                sum(_answer_tokens(one, own) for one in later) / first,
                sum(map(_prompt_tokens, later)) / max(1, sum(map(_prompt_tokens, asked[:first]))),
                sum(_prompt_tokens(one) for one in later if one.teacher == JUDGE)
                / max(1, sum(map(_prompt_tokens, later))),
                len(results),
            )
        )
    if not found:
        return _Later(0, 0, 0, 0, 1)
    return _Later(*(max(values) for values in zip(*found, strict=True)))


def _pace(job: Job, requests: int, tokens: int) -> dict[str, Any]:
    """About how long a job takes by the limits that its recipe names; without any, at a pace that is assumed."""
    endpoints = job.teachers[FIRST].endpoints
    a_minute = sum(one.requests_per_minute for one in endpoints)
    tokens_a_minute = sum(one.tokens_per_minute for one in endpoints)
    limits = [60 * requests / a_minute] if a_minute else []
    limits += [60 * tokens / tokens_a_minute] if tokens_a_minute else []
    by = "the limits in the recipe" if limits else f"{_ASSUMED_PACE:g} requests a second, which is a guess"
    return {"seconds": round(max(limits) if limits else requests / _ASSUMED_PACE, 1), "by": by}
