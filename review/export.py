"""`review export`: answers become rows to train on, by a rule that says whom to believe.

What each rule does to a pair of answers:

majority       the value that most votes have; a draw is a tie
dawid_skene    the value that is likely when each person's own habits of mistaking one for another, left for right among
               them, are taken into account
bradley_terry  the answer that is stronger once the pull of place, everybody's and each person's, is taken out

Nothing is dropped in silence: what is left out is in `dropped`, with its reason.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from review.agreement import STRENGTH_PENALTY, compared, strength_of, swayed
from review.asked import keyed
from review.bradley_terry import fit
from review.dawid_skene import estimate
from review.forms import BOTH_BAD, TIE
from review.labels import opened_rows, source_name
from review.queue import answers_of, prompt_of
from review.votes import Reviewed, Unit, Vote, firsts, read_votes
from schemas.dataset import Dataset, DatasetWriter, Told, open_dataset
from schemas.errors import UserError, nearest
from schemas.manifest import InputFile, StepCount, fingerprint, library_versions
from schemas.rows import columns, content_columns, content_digest
from schemas.run import AlreadyDone, run_into
from schemas.sources import Source

COMMAND = "review export"
VERSION = 1
"""Raised whenever the same labels and settings give other rows than before."""

RULES = ("majority", "dawid_skene", "bradley_terry")
TIES = ("drop", "soft", "keep")
BOTH = ("drop", "edit", "tie")
MARKS: dict[str, pl.DataType] = {"stage": pl.String(), "reason": pl.String(), "because": pl.String()}
EVEN = 1e-6
"""Chances closer to one half than this are even."""

UNSURE = 0.05
"""A model's chances closer to one half than this decide nothing: the pair is a tie."""

_ROWS = 2_048
_LIBRARIES = ("assay", "numpy", "polars", "pyarrow", "orjson", "scipy")


@dataclass(frozen=True)
class Terms:
    """How answers become rows."""

    to: str
    rule: str = "majority"
    ties: str = "drop"
    """drop; soft: a tie is half a vote for each; keep: a pair that says that both are as good."""
    both_bad: str = "drop"
    """drop; edit: kept where somebody wrote a better answer, else dropped; tie: taken for a tie."""
    person_cap: float | None = None
    """The largest share of all votes that one person's may weigh."""
    without: tuple[str, ...] = ()
    min_people: int = 1
    min_rating: float = 3.0
    """The lowest mean that each rated point of an answer may have."""


@dataclass
class Verdict:
    """What was decided about a unit."""

    value: Any
    """Place of the better answer, tie, both_bad; for a row keep, fix or drop."""
    chance: float | None = None
    """How likely the unit's first answer is the better one."""
    votes: dict[str, int] = field(default_factory=dict)
    disagreement: float | None = None
    """Share of pairs of people who said different things."""
    margin: float | None = None
    """How much better the first answer is, by what people said; negative where the second is."""
    edited: str | None = None
    by: str | None = None
    strength: float | None = None


def export(folder: Path, out: Path, terms: Terms, *, rows: Path | None = None, replace: bool = False) -> dict[str, Any]:
    """Write the rows that the labels in `folder` lead to. Raises UserError when they cannot lead to such rows."""
    _check(terms)
    reviewed = read_votes(folder)
    kind = _kind(reviewed, terms)
    unknown = sorted(set(terms.without) - {vote.person for votes in reviewed.votes.values() for vote in votes})
    if unknown:
        raise UserError(f"there is no person {unknown[0]!r}", hint="`review agreement` lists them")
    manifest = reviewed.labels.manifest
    mark = fingerprint(
        {"command": COMMAND, "version": VERSION, "labels": manifest.fingerprint, "terms": vars(terms) | {"kind": kind}}
    )
    counts: dict[str, Any] = {}
    try:
        with run_into(out, mark, replace=replace) as run:
            run.clear()
            datasets = list(opened_rows(manifest.inputs, rows))
            writer = DatasetWriter(run.folder, kind)
            try:
                counts = _write(writer, reviewed, datasets, terms, kind)
                writer.close()
            except BaseException:
                writer.abandon()
                raise
            writer.finish(_told(reviewed, datasets, terms, mark, writer, counts, out.name))
            run.publish()
    except AlreadyDone:
        pass
    made = open_dataset(out)
    said = made.manifest.counts
    return {
        "dataset": str(out),
        "fingerprint": made.manifest.fingerprint,
        "kind": kind,
        "rows_in": said.rows_in,
        "rows_out": said.rows_out,
        "dropped": said.dropped,
        "rejected": 0,
        "merged": 0,
        "made": 0,
        "findings": made.manifest.findings,
        **made.manifest.recipe["counts"],
    }


def _check(terms: Terms) -> None:
    for name, value, known in (
        ("to", terms.to, ("preference", "sft")),
        ("rule", terms.rule, RULES),
        ("ties", terms.ties, TIES),
        ("both-bad", terms.both_bad, BOTH),
    ):
        if value not in known:
            raise UserError(f"--{name} {value!r} is no choice", hint=nearest(value, known))
    if terms.person_cap is not None and not 0 < terms.person_cap <= 1:
        raise UserError(f"--person-cap {terms.person_cap} is no share", hint="a number above 0 and up to 1")


def _kind(reviewed: Reviewed, terms: Terms) -> str:
    """Kind of row that comes out. Raises UserError where the form asks nothing that leads there."""
    form = reviewed.form.name
    if form == "labels":
        raise UserError(
            "labels of a row are no rows to train on", hint="use the labels dataset itself, joined by row_id"
        )
    if form in ("accept", "answers"):
        if terms.to != "sft":
            raise UserError(f"the form {form} says nothing about which answer is better", hint="export it --to sft")
        if terms.rule == "bradley_terry" or (form == "answers" and terms.rule != "majority"):
            raise UserError(f"--rule {terms.rule} cannot be used on the form {form}", hint="--rule majority")
    if form == "ranking" and terms.rule == "dawid_skene":
        raise UserError("--rule dawid_skene cannot be used on rankings", hint="majority or bradley_terry")
    if terms.to == "preference":
        return "preference"
    return "text" if reviewed.recipe.get("kind") == "text" else "chat"


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def verdicts(reviewed: Reviewed, terms: Terms) -> tuple[dict[Unit, Verdict], dict[str, float]]:
    """What was decided about each unit, and how much each person's votes weigh."""
    votes = [vote for vote in reviewed.deciding() if vote.person not in terms.without]
    if not votes:
        raise UserError("there are no answers to export", hint="pull again once people have answered: review pull")
    weights = capped(Counter(vote.person for vote in votes), terms.person_cap)
    if reviewed.form.name == "answers":
        found = _rated(reviewed, terms, weights)
    elif reviewed.form.name == "ranking":
        found = _ranked(votes, terms, weights)
    else:
        found = _decided(votes, terms, weights, pairs=reviewed.form.name == "pairs")
        _add_margins(found, reviewed, terms)
    _add_edits(found, votes, reviewed, terms)
    return found, weights


def capped(answers: Mapping[str, int], cap: float | None) -> dict[str, float]:
    """How much each person's votes weigh, at most 1, so that no person's make up more than `cap` of all.

    Raises UserError when there are too few people for that.
    """
    weights = dict.fromkeys(answers, 1.0)
    if cap is None:
        return weights
    if cap * len(answers) < 1 - 1e-9:
        raise UserError(
            f"{len(answers)} people cannot each weigh {cap:.0%} of the votes or less",
            hint=f"--person-cap {math.ceil(100 / len(answers)) / 100} is the least",
        )
    limited: set[str] = set()
    while True:
        free = sum(count for person, count in answers.items() if person not in limited)
        share = 1 - cap * len(limited)
        total = free / share if share > 1e-12 else 0.0
        over = {person for person, count in answers.items() if person not in limited and count > cap * total + 1e-9}
        if not limited and not over:
            return weights
        if share <= 1e-12 or not over or len(limited | over) == len(answers):
            if over:  # all of them: the fewest answers set the measure
                least = min(answers.values())
                return {person: least / count for person, count in answers.items()}
            return {person: cap * total / answers[person] if person in limited else 1.0 for person in answers}
        limited |= over


def _decided(votes: Sequence[Vote], terms: Terms, weights: Mapping[str, float], *, pairs: bool) -> dict[Unit, Verdict]:
    by_unit: dict[Unit, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_unit[vote.unit].append(vote)
    found = {unit: _by_majority(unit, said, weights, pairs=pairs) for unit, said in by_unit.items()}
    if terms.rule == "dawid_skene":
        _by_care(found, by_unit, weights, pairs=pairs)
    elif terms.rule == "bradley_terry":
        _by_strength(found, votes, weights)
    return found


def _by_majority(unit: Unit, votes: Sequence[Vote], weights: Mapping[str, float], *, pairs: bool) -> Verdict:
    weighed: dict[Any, float] = defaultdict(float)
    for vote in votes:
        weighed[vote.value] += weights[vote.person]
    most = max(weighed.values())
    first = [value for value, weight in weighed.items() if weight > most - 1e-9]
    said = Counter(vote.value for vote in votes)
    verdict = Verdict(
        first[0] if len(first) == 1 else TIE,
        votes={str(value): count for value, count in sorted(said.items(), key=lambda pair: str(pair[0]))},
        disagreement=_disagreement(said),
    )
    if pairs:
        a, b = unit.answers
        decided = weighed[a] + weighed[b] + weighed[TIE]
        verdict.chance = (weighed[a] + weighed[TIE] / 2) / decided if decided else None
        if verdict.value == TIE and TIE not in first and BOTH_BAD in first:
            verdict.value = BOTH_BAD
    return verdict


def _disagreement(said: Counter[Any]) -> float | None:
    whole = said.total()
    if whole < 2:
        return None
    same = sum(count * (count - 1) for count in said.values())
    return 1 - same / (whole * (whole - 1))


def _by_care(
    found: dict[Unit, Verdict], by_unit: Mapping[Unit, Sequence[Vote]], weights: Mapping[str, float], *, pairs: bool
) -> None:
    """Verdicts by Dawid and Skene's estimate. Of pairs, values are what people saw: left, right, tie, both bad."""
    units = list(by_unit)
    people = sorted({vote.person for votes in by_unit.values() for vote in votes})
    domain = [0, 1, TIE, BOTH_BAD] if pairs else sorted({vote.value for votes in by_unit.values() for vote in votes})
    if not pairs and len(domain) < 2:
        return  # everybody said the same
    number = {person: place for place, person in enumerate(people)}
    lines, who, said, turned = [], [], [], []
    for line, unit in enumerate(units):
        for vote in by_unit[unit]:
            lines.append(line)
            who.append(number[vote.person])
            seen = vote.shown.index(vote.value) if pairs and vote.value in vote.shown else vote.value
            said.append(domain.index(seen))
            turned.append(pairs and vote.shown != unit.answers)
    fitted = estimate(
        np.array(lines, dtype=np.int64),
        np.array(who, dtype=np.int64),
        np.array(said, dtype=np.int64),
        (len(units), len(people), len(domain)),
        weights=np.array([weights[people[one]] for one in who]),
        turned=np.array(turned) if pairs else None,
    )
    for unit, chances in zip(units, fitted.chances.tolist(), strict=True):
        verdict = found[unit]
        best = max(range(len(domain)), key=chances.__getitem__)
        draw = sum(chance > chances[best] - EVEN for chance in chances) > 1
        if pairs:
            decided = chances[0] + chances[1] + chances[2]
            verdict.chance = (chances[0] + chances[2] / 2) / decided if decided > EVEN else None
            unsure = best < 2 and abs((verdict.chance or 0.0) - 0.5) < UNSURE
            verdict.value = TIE if draw or unsure else unit.answers[best] if best < 2 else domain[best]
        else:
            verdict.value = TIE if draw else domain[best]


def _by_strength(found: dict[Unit, Verdict], votes: Sequence[Vote], weights: Mapping[str, float]) -> None:
    """Verdicts by a Bradley–Terry model in which place, for everybody and for each person, has a term of its own."""
    sway = swayed(votes, weights, length=False)
    for unit, verdict in found.items():
        a, b = unit.answers
        if sway is None or (unit, a) not in sway.strengths:
            continue
        ahead = sway.strengths[unit, a] - sway.strengths[unit, b]
        verdict.strength = ahead
        verdict.chance = 1 / (1 + math.exp(-ahead))
        if verdict.value == BOTH_BAD or (
            verdict.value == TIE and verdict.votes.get(TIE, 0) * 2 > sum(verdict.votes.values())
        ):
            continue
        verdict.value = TIE if abs(verdict.chance - 0.5) < UNSURE else a if ahead > 0 else b


def _ranked(votes: Sequence[Vote], terms: Terms, weights: Mapping[str, float]) -> dict[Unit, Verdict]:
    """Verdicts on the best and the worst answer of each ranking."""
    by_unit: dict[Unit, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_unit[vote.unit].append(vote)
    found = {}
    for unit, said in by_unit.items():
        wins = np.full((len(unit.answers), len(unit.answers)), 0.0)
        place = {answer: number for number, answer in enumerate(unit.answers)}
        for vote in said:
            for pair in compared(vote):
                a, b = (place[one] for one in pair.unit.answers)
                share = 0.5 if pair.value == TIE else float(pair.value == pair.unit.answers[0])
                wins[a, b] += weights[vote.person] * share
                wins[b, a] += weights[vote.person] * (1 - share)
        total = wins + wins.T
        if terms.rule == "bradley_terry":
            one, other = np.triu_indices(len(place), 1)
            fought = total[one, other]
            shares = wins[one, other] / fought
            fitted = fit(len(place), one, other, shares, penalty=STRENGTH_PENALTY, weights=fought)
            score = fitted.strengths
        else:
            score = wins.sum(axis=1) / total.sum(axis=1)
        best, worst = int(np.argmax(score)), int(np.argmin(score))
        ahead = float(score[best] - score[worst])
        pair_unit = Unit(unit.row_id, unit.row_hash, tuple(sorted((unit.answers[best], unit.answers[worst]))))
        if best == worst or ahead < EVEN:
            pair_unit = Unit(unit.row_id, unit.row_hash, unit.answers[:2])
        pairs = [pair for vote in said for pair in compared(vote) if pair.unit == pair_unit]
        verdict = _by_majority(pair_unit, pairs, weights, pairs=True)
        verdict.value = TIE if ahead < EVEN else unit.answers[best]
        if terms.rule == "bradley_terry":
            verdict.strength = ahead if verdict.value == pair_unit.answers[0] else -ahead
            verdict.chance = 1 / (1 + math.exp(-verdict.strength))
        found[pair_unit] = verdict
    return found


def _rated(reviewed: Reviewed, terms: Terms, weights: Mapping[str, float]) -> dict[Unit, Verdict]:
    """keep for answers whose mean on every point is high enough, low_rating for others; the mean of all as chance."""
    means: dict[Unit, dict[str, float]] = defaultdict(dict)
    people: dict[Unit, set[str]] = defaultdict(set)
    spread: dict[Unit, Counter[Any]] = defaultdict(Counter)
    for question in reviewed.form.questions:
        if question.kind != "rating":
            continue
        sums: dict[Unit, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for vote in firsts(reviewed.votes.get(question.name, ())):
            if vote.person not in terms.without:
                weight = weights.get(vote.person, 1.0)
                sums[vote.unit][0] += weight * vote.value
                sums[vote.unit][1] += weight
                people[vote.unit].add(vote.person)
                if question is reviewed.form.decides:
                    spread[vote.unit][vote.value] += 1
        for unit, (total, weight) in sums.items():
            means[unit][question.name] = total / weight
    return {
        unit: Verdict(
            "keep" if min(said.values()) >= terms.min_rating else "low_rating",
            votes={"people": len(people[unit])},
            margin=sum(said.values()) / len(said),
            disagreement=_disagreement(spread[unit]),
        )
        for unit, said in means.items()
    }


def _add_margins(found: Mapping[Unit, Verdict], reviewed: Reviewed, terms: Terms) -> None:
    margins = {(vote.asked, vote.person): int(vote.value) for vote in reviewed.votes.get("margin", ())}
    if not margins:
        return
    sums: dict[Unit, list[int]] = defaultdict(list)
    for vote in reviewed.deciding():
        strength = strength_of(vote, margins.get((vote.asked, vote.person)))
        if strength is not None and vote.person not in terms.without:
            sums[vote.unit].append(strength)
    for unit, strengths in sums.items():
        found[unit].margin = sum(strengths) / len(strengths)


def _add_edits(found: Mapping[Unit, Verdict], votes: Sequence[Vote], reviewed: Reviewed, terms: Terms) -> None:
    """The edited answer of each unit: of those who decided as it was decided, the one who agrees most with others."""
    said = {(vote.unit, vote.person): vote.value for vote in votes}
    agreed: Counter[str] = Counter()
    for (unit, person), value in said.items():
        if unit in found and found[unit].value == value:
            agreed[person] += 1
    units = {(unit.row_id, unit.row_hash): unit for unit in found} if reviewed.form.name == "ranking" else {}
    best: dict[Unit, tuple[bool, int, str, str]] = {}
    for vote in reviewed.votes.get("edited", ()):
        unit = units.get((vote.unit.row_id, vote.unit.row_hash), vote.unit)
        if unit not in found or vote.person in terms.without:
            continue
        if reviewed.form.name == "accept" and said.get((vote.unit, vote.person)) != found[unit].value:
            continue  # who was outvoted mends nothing
        rank = (said.get((vote.unit, vote.person)) == found[unit].value, agreed[vote.person], vote.person, vote.value)
        if unit not in best or rank > best[unit]:
            best[unit] = rank
    for unit, (_, _, person, text) in best.items():
        found[unit].edited, found[unit].by = text, person


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write(
    writer: DatasetWriter, reviewed: Reviewed, datasets: Sequence[Dataset], terms: Terms, kind: str
) -> dict[str, Any]:
    found, weights = verdicts(reviewed, terms)
    by_row: dict[str, list[Unit]] = defaultdict(list)
    for unit in found:
        by_row[unit.row_id].append(unit)
    review = str(reviewed.recipe["review"])
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    used: set[Unit] = set()
    edited = 0

    def flush() -> None:
        if kept:
            writer.add(pl.DataFrame(kept, schema=columns(kind), orient="row"))
        if dropped:
            writer.drop(pl.DataFrame(dropped, schema=columns(kind) | MARKS, orient="row"))
        kept.clear()
        dropped.clear()

    for dataset in datasets:
        wanted = pl.Series("id", sorted(by_row)).implode()
        for frame in dataset.matching(pl.col("id").is_in(wanted) & (pl.col("copy") == 0)):
            for row in frame.iter_rows(named=True):
                for unit in by_row[row["id"]]:
                    if unit in used or unit.row_hash != row["content_hash"]:
                        continue
                    used.add(unit)
                    verdict = found[unit]
                    reason, made = _row(row, dataset.kind, unit, verdict, terms, kind, review)
                    if reason:
                        because = orjson.dumps(verdict.votes).decode()
                        dropped.append(made | {"stage": "export", "reason": reason, "because": because})
                    else:
                        edited += verdict.edited is not None
                        kept.append(made)
                if len(kept) + len(dropped) >= _ROWS:
                    flush()
    flush()
    return {
        "units": len(used),
        "elsewhere": len(found) - len(used),
        "edited": edited,
        "weights": {person: round(weight, 6) for person, weight in sorted(weights.items())},
    }


def _row(
    row: Mapping[str, Any], row_kind: str, unit: Unit, verdict: Verdict, terms: Terms, kind: str, review: str
) -> tuple[str, dict[str, Any]]:
    """The row that a verdict makes, and why it is dropped, if it is."""
    answers = answers_of(row_kind, row)
    prompt = prompt_of(row_kind, row)
    if row_kind == "text":
        reason = _reason_of_row(verdict)
        text = verdict.edited if verdict.edited is not None and verdict.value != "keep" else row["text"]
        content: dict[str, Any] = {"text": text, "title": row["title"], "path": row["path"]}
        return _enough(reason, verdict, terms), _finished(row, content, verdict, review, kind, {})
    if len(unit.answers) < 2:
        reason = _reason_of_row(verdict)
        answer = answers[unit.answers[0] if unit.answers else 0]
        answer = _said(answer, verdict.edited)
        content = {"messages": [*prompt, *answer], "tools": row["tools"], "verdict": row.get("verdict")}
        return _enough(reason, verdict, terms), _finished(row, content, verdict, review, kind, {}, unit, row_kind)
    better, reason = _better(unit, verdict, terms)
    worse = unit.answers[0] if better == unit.answers[1] else unit.answers[1]
    chance = verdict.chance if verdict.chance is None or better == unit.answers[0] else 1 - verdict.chance
    even = verdict.value == TIE and terms.ties == "keep"
    soft = {"soft": 0.5 if even else chance}
    chosen = _said(answers[better], verdict.edited)
    if kind == "preference":
        sign = 1 if better == unit.answers[0] else -1
        margin = verdict.margin if verdict.margin is not None else verdict.strength
        preferred = verdict.votes.get(str(better), 0) / max(sum(verdict.votes.values()), 1)
        content = {
            "prompt": prompt,
            "chosen": chosen,
            "rejected": answers[worse],
            "tools": row["tools"],
            "margin": 0.0 if even else None if margin is None else sign * margin,
            "weight": abs(2 * chance - 1) if terms.ties == "soft" and chance is not None else None,
            "raters": sum(verdict.votes.values()),
            "agreement": preferred,
        }
    else:
        content = {"messages": [*prompt, *chosen], "tools": row["tools"], "verdict": None}
        if not reason and verdict.value == TIE and verdict.edited is None and terms.ties != "keep":
            reason = "tie"
    return _enough(reason, verdict, terms), _finished(row, content, verdict, review, kind, soft, unit, row_kind)


def _enough(reason: str, verdict: Verdict, terms: Terms) -> str:
    return "too_few_people" if sum(verdict.votes.values()) < terms.min_people else reason


def _reason_of_row(verdict: Verdict) -> str:
    if verdict.value == "drop":
        return "dropped_by_people"
    if verdict.value == TIE:
        return "undecided"
    if verdict.value == "fix" and verdict.edited is None:
        return "fix_without_edit"
    if verdict.value == "low_rating" and verdict.edited is None:
        return "low_rating"
    return ""


def _better(unit: Unit, verdict: Verdict, terms: Terms) -> tuple[int, str]:
    """Place of the answer that is taken for the better one, and why the pair is dropped all the same."""
    likely = unit.answers[0] if verdict.chance is None or verdict.chance >= 0.5 else unit.answers[1]
    value = verdict.value
    if value == BOTH_BAD:
        if terms.both_bad == "drop" or (terms.both_bad == "edit" and verdict.edited is None):
            return likely, "both_bad"
        if terms.both_bad == "edit":
            return likely, ""
        value = TIE
    if value != TIE:
        return value, ""
    if verdict.edited is not None:
        return likely, ""  # an answer that somebody made better is better than either
    if terms.ties == "drop":
        return likely, "tie"
    if terms.ties == "soft" and (verdict.chance is None or abs(verdict.chance - 0.5) < EVEN):
        return likely, "undecided"
    return likely, ""


def _said(messages: list[dict[str, Any]], edited: str | None) -> list[dict[str, Any]]:
    return list(messages) if edited is None else [{"role": "assistant", "content": edited}]


def _finished(
    row: Mapping[str, Any],
    content: dict[str, Any],
    verdict: Verdict,
    review: str,
    kind: str,
    more: Mapping[str, Any],
    unit: Unit | None = None,
    row_kind: str = "",
) -> dict[str, Any]:
    """A whole row: what it says, what people said about it, and where it came from."""
    told: dict[str, Any] = {
        "review": review,
        **more,
        "votes": verdict.votes,
        "disagreement": verdict.disagreement,
        "edited": verdict.edited is not None,
    }
    extra = orjson.loads(row["extra"]) if row["extra"] else {}
    same = row_kind in ("", kind)
    id_ = row["id"] if same else keyed(b"export", row["id"], kind, str(unit.answers if unit else "")).hex()[:32]
    blank: dict[str, Any] = dict.fromkeys(content_columns(kind))
    content = blank | content
    common = {name: row[name] for name in ("copy", "external_id", "task", "lang", "split", "origin")}
    return {
        **common,
        **content,
        "id": id_,
        "content_hash": content_digest(content).hex(),
        "source": row["source"] if verdict.edited is None else edited_source(row["source"], review),
        "parents": list(row["parents"]) if same else [row["id"]],
        "extra": orjson.dumps({**extra, "review": told}).decode(),
    }


def edited_source(source: str, review: str) -> str:
    """The source of rows that somebody rewrote."""
    return f"{source[:100]}, edited in {source_name(review)}"


def _sources(datasets: Sequence[Dataset], review: str, used: Sequence[str]) -> dict[str, Source]:
    """The sources of the rows written. What people typed may hold personal data, whatever the source held."""
    found: dict[str, Source] = {}
    for dataset in datasets:
        for name, source in dataset.manifest.sources.items():
            found.setdefault(name, source)
            new = edited_source(name, review)
            personal = "present" if source.personal_data == "present" else "unknown"
            found.setdefault(new, source.model_copy(update={"name": new, "personal_data": personal}))
    return {name: found[name] for name in sorted(set(used)) if name in found}


def _told(
    reviewed: Reviewed,
    datasets: Sequence[Dataset],
    terms: Terms,
    mark: str,
    writer: DatasetWriter,
    counts: Mapping[str, Any],
    name: str,
) -> Told:
    manifest = reviewed.labels.manifest
    review = str(reviewed.recipe["review"])
    used = [*writer.data.by_source]
    step = StepCount(
        step="export", use=terms.rule, rows_in=counts["units"], dropped=dict(writer.dropped), edited=counts["edited"]
    )
    findings = []
    if not counts["units"]:
        findings.append(
            {"kind": "no_rows", "severity": "high", "count": 0, "fix": "give the dataset that was pushed: --rows DIR"}
        )
    inputs = [InputFile(path=str(reviewed.labels.folder), fingerprint=manifest.fingerprint, rows=reviewed.labels.rows)]
    inputs += [InputFile(path=str(one.folder), fingerprint=one.manifest.fingerprint, rows=one.rows) for one in datasets]
    return Told(
        rows_in=counts["units"],
        manifest={
            "command": COMMAND,
            "name": name,
            "fingerprint": mark,
            "sources": _sources(datasets, review, used),
            "inputs": inputs,
            "recipe": {**vars(terms), "without": list(terms.without), "review": review, "counts": dict(counts)},
            "steps": [step],
            "findings": findings,
            "versions": library_versions(_LIBRARIES),
        },
    )
