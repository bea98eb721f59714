"""How far answers can be trusted: agreement, the people behind them, and what swayed them.

- Agreement of all: Krippendorff's alpha (K. Krippendorff, Content analysis, 4th ed. 2018, ch. 12), nominal or ordinal,
  with percentile intervals from resampled units; and the share of pairs of people who say the same.
- Of each person: accuracy on gold, self-consistency on repeats, agreement with others; intervals are Wilson's
  (E. B. Wilson, Probable inference, JASA 22, 1927).
- What swayed them: how often the answer on the left, or the longer one, was preferred, and the same as terms of a
  Bradley–Terry model with each person's own, which holds the answers' quality fixed.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from review.bradley_terry import Fitted, fit
from review.forms import BOTH_BAD, TIE
from review.votes import Reviewed, Unit, Vote, firsts
from schemas.errors import UserError

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal"]

RESAMPLES = 1_000
LEVEL = 0.95
"""Level of every interval."""

FEW = 20
"""Below so many answers nothing is said against a person."""

STRENGTH_PENALTY = 0.25
"""Of an answer's strength: as if strengths were drawn with variance 2, so that two votes do not make a certainty."""

GLOBAL_PENALTY = 0.005
PERSON_PENALTY = 0.5
"""Of a person's own term: as if they were drawn with variance 1 around the common one."""

_Z = 1.959963984540054
_BLOCK = 50


@dataclass(frozen=True)
class Sway:
    """The Bradley–Terry fit behind position, length and people: log-odds, with standard errors."""

    strengths: dict[tuple[Unit, int], float]
    """Strength of each answer of each unit, the other terms held fixed."""
    position: tuple[float, float]
    length: tuple[float, float]
    people: dict[str, dict[str, tuple[float, float]]]
    """Person to {position, length}: the common term and the person's own together."""


def agreement(reviewed: Reviewed, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Everything that `review agreement` says, with the keys that are promised."""
    deciding = reviewed.votes.get(reviewed.form.decides.name, [])
    people = sorted({vote.person for votes in reviewed.votes.values() for vote in votes})
    measured = {name: firsts(votes) for name, votes in _measured(reviewed).items()}
    main = "order" if reviewed.form.name == "ranking" else reviewed.form.decides.name
    once = measured.get(main, [])
    pairwise = reviewed.form.decides.name == "better"
    sway = swayed(once) if pairwise else None
    found: dict[str, Any] = {
        "review": reviewed.recipe["review"],
        "form": reviewed.form.name,
        "rows": len({vote.unit.row_id for vote in deciding}),
        "units": len({vote.unit for vote in deciding}),
        "answers": len(deciding),
        "alpha": {
            name: alpha(unsided(name, votes), _level(reviewed, name), resamples=resamples, seed=seed)
            for name, votes in measured.items()
        },
        "pairwise": {name: _pairwise(votes, resamples, seed) for name, votes in measured.items()},
        "people": {},
        "position_effect": _preferred(_left(once)) | _odds(sway.position if sway else None) if pairwise else None,
        "length_effect": _preferred(_longer(once)) | _odds(sway.length if sway else None) if pairwise else None,
        "third_opinion": undecided(once, deciding) if reviewed.form.decides.kind != "rating" else [],  # a mean decides
    }
    found["people"] = _people(people, deciding, measured.get(main, []), sway, found)
    found["findings"] = _findings(found)
    return found


def _measured(reviewed: Reviewed) -> dict[str, list[Vote]]:
    """Question to votes, for every question that has values to compare, and `strength` and `order` made of others."""
    found = {}
    for name, votes in reviewed.votes.items():
        question = reviewed.form.question(name)
        if question.kind in ("choice", "rating") and name != "margin":
            found[name] = votes
        elif question.kind == "choices":
            found[name] = [_with(vote, vote.unit, "+".join(vote.value)) for vote in votes]
        elif question.kind == "ranking":
            found["order"] = [pair for vote in votes for pair in compared(vote)]
    if margins := {(vote.asked, vote.person): int(vote.value) for vote in reviewed.votes.get("margin", ())}:
        found["strength"] = [
            _with(vote, vote.unit, strength)
            for vote in reviewed.votes.get("better", ())
            if (strength := strength_of(vote, margins.get((vote.asked, vote.person)))) is not None
        ]
    return found


def unsided(name: str, votes: Sequence[Vote]) -> list[Vote]:
    """Votes on which of two answers is better as 0 or 1, and by how much: which of them stands first is drawn for each
    unit, the same in every run. Votes on anything else as they are.

    A row may have more answers, and agreement by chance is reckoned over the values that a unit can have; nor may it
    count for chance that one side of a dataset is mostly the better one.
    """
    if name == "strength":
        return [_with(vote, vote.unit, -vote.value if _drawn(vote.unit) else vote.value) for vote in votes]
    if name not in ("better", "order"):
        return list(votes)
    return [
        _with(vote, vote.unit, vote.unit.answers.index(vote.value) ^ _drawn(vote.unit))
        if vote.value in vote.unit.answers
        else vote
        for vote in votes
    ]


def _drawn(unit: Unit) -> int:
    return hashlib.blake2b(repr(unit).encode(), digest_size=1).digest()[0] & 1


def _level(reviewed: Reviewed, name: str) -> Level:
    if name in ("strength", "order"):
        return "ordinal" if name == "strength" else "nominal"
    return reviewed.form.question(name).level


def _with(vote: Vote, unit: Unit, value: Any) -> Vote:
    return Vote(
        unit, vote.person, value, vote.shown, vote.chars, vote.asked, None, vote.repeat, vote.round, vote.seconds,
        vote.task, vote.lang, vote.again,
    )  # fmt: skip


def strength_of(vote: Vote, margin: int | None) -> int | None:
    """How much better the answer that stands first in the row is, from -3 to 3."""
    if vote.value == TIE:
        return 0
    if vote.value == BOTH_BAD or margin is None:
        return None
    return margin if vote.value == vote.unit.answers[0] else -margin


def compared(vote: Vote) -> list[Vote]:
    """A ranking as votes on each pair of its answers."""
    places = {answer: place for place, group in enumerate(vote.value) for answer in group}
    found = []
    for number, a in enumerate(vote.unit.answers):
        for b in vote.unit.answers[number + 1 :]:
            value: Any = TIE if places[a] == places[b] else a if places[a] < places[b] else b
            found.append(_with(vote, Unit(vote.unit.row_id, vote.unit.row_hash, (a, b)), value))
    return found


# ── agreement of all ─────────────────────────────────────────────────────────────────────────────────────────────────


def alpha(votes: Sequence[Vote], level: Level, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Krippendorff's alpha of votes, {value, low, high, units}; nulls where it is not defined: fewer than two people
    answered anything together, or everybody always said the same."""
    import krippendorff

    counts, _ = counted(votes)
    counts = counts[counts.sum(axis=1) > 1]
    nothing = {"value": None, "low": None, "high": None, "units": len(counts)}
    if len(counts) == 0 or (counts.sum(axis=0) > 0).sum() < 2:
        return nothing
    used = counts.sum(axis=0) > 0
    counts = counts[:, used]
    value = float(
        krippendorff.alpha(value_counts=counts, value_domain=np.arange(counts.shape[1]), level_of_measurement=level)
    )
    each = resampled_alphas(counts, level, resamples, seed)
    low, high = np.nanquantile(each, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(each) else (math.nan, math.nan)
    return {"value": value, "low": _number(low), "high": _number(high), "units": len(counts)}


def counted(votes: Sequence[Vote]) -> tuple[Floats, list[Any]]:
    """Units by values: how many people said what. Values in order, numbers by size."""
    domain = sorted({vote.value for vote in votes}, key=lambda value: (isinstance(value, str), value))
    column = {value: number for number, value in enumerate(domain)}
    lines: dict[Unit, int] = {}
    cells: Counter[tuple[int, int]] = Counter()
    for vote in votes:
        cells[lines.setdefault(vote.unit, len(lines)), column[vote.value]] += 1
    counts = np.zeros((len(lines), len(domain)))
    for (line, value), number in cells.items():
        counts[line, value] = number
    return counts, domain


def resampled_alphas(counts: Floats, level: str, resamples: int, seed: int) -> Floats:
    """Alpha of as many units drawn with replacement, many times. `counts` has units with two answers or more."""
    units, kinds = counts.shape
    spread = (counts[:, :, None] * counts[:, None, :] - np.eye(kinds) * counts[:, :, None]) / (
        counts.sum(axis=1)[:, None, None] - 1
    )
    flat = spread.reshape(units, -1)
    rng = np.random.default_rng(seed)
    found = []
    for begin in range(0, resamples, _BLOCK):
        many = min(_BLOCK, resamples - begin)
        drawn = rng.multinomial(units, np.full(units, 1 / units), size=many)
        for coincidences in (drawn @ flat).reshape(many, kinds, kinds):
            found.append(_alpha(coincidences, level))
    return np.array(found)


def _alpha(coincidences: Floats, level: str) -> float:
    """Alpha of a coincidence matrix; not a number where all values are alike."""
    totals = coincidences.sum(axis=1)
    kinds = len(totals)
    if level == "ordinal":
        below = np.cumsum(totals) - totals / 2
        distance = (below[:, None] - below[None, :]) ** 2
    else:
        distance = 1.0 - np.eye(kinds)
    expected = float((np.outer(totals, totals) * distance).sum())
    if expected == 0:
        return math.nan
    return 1.0 - (float(totals.sum()) - 1) * float((coincidences * distance).sum()) / expected


def _pairwise(votes: Sequence[Vote], resamples: int, seed: int) -> dict[str, Any]:
    """Share of pairs of people who said the same of a unit, with an interval from resampled units."""
    counts, _ = counted(votes)
    totals = counts.sum(axis=1)
    pairs = totals * (totals - 1) / 2
    same = (counts * (counts - 1) / 2).sum(axis=1)
    if pairs.sum() == 0:
        return {"value": None, "low": None, "high": None, "pairs": 0}
    used = pairs > 0
    pairs, same = pairs[used], same[used]
    rng = np.random.default_rng(seed)
    shares = []
    for begin in range(0, resamples, _BLOCK):
        drawn = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=min(_BLOCK, resamples - begin))
        shares.append((drawn @ same) / (drawn @ pairs))
    low, high = np.quantile(np.concatenate(shares), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "value": float(same.sum() / pairs.sum()),
        "low": float(low),
        "high": float(high),
        "pairs": int(pairs.sum()),
    }


def undecided(once: Sequence[Vote], deciding: Sequence[Vote]) -> list[dict[str, Any]]:
    """Units on which two people or more have no majority: a third opinion is wanted.

    `once`: each person's first votes, of rankings on pairs of their answers; such a ranking is listed once, with the
    votes on its pairs without a majority. `deciding`: all votes on what was asked. `same_people`: it was asked again,
    and only of people who had said it before, which decides nothing.
    """
    asked = {vote.asked: vote.unit for vote in deciding}
    whole: dict[Unit, Unit] = {}
    by_unit: dict[Unit, Counter[str]] = defaultdict(Counter)
    for vote in once:
        whole[vote.unit] = asked[vote.asked]
        ranked = whole[vote.unit] != vote.unit
        by_unit[vote.unit][_place_in(vote) if ranked else str(vote.value)] += 1
    found: dict[Unit, dict[str, int]] = defaultdict(dict)
    for unit, said in by_unit.items():
        if said.total() >= 2 and 2 * max(said.values()) <= said.total():
            found[whole[unit]] |= sorted(said.items())
    first: dict[Unit, set[str]] = defaultdict(set)
    again: dict[Unit, set[str]] = defaultdict(set)
    for vote in deciding:
        (again if vote.again else first)[vote.unit].add(vote.person)
    return [
        {
            "row_id": unit.row_id,
            "answers": list(unit.answers),
            "votes": votes,
            "same_people": bool(again[unit]) and again[unit] <= first[unit],
        }
        for unit, votes in found.items()
    ]


def _place_in(vote: Vote) -> str:
    """A vote on a pair of a ranking's answers, as 0>2 or 0=2."""
    a, b = vote.unit.answers
    return f"{a}={b}" if vote.value == TIE else f"{a}>{b}" if vote.value == a else f"{b}>{a}"


# ── what swayed people ───────────────────────────────────────────────────────────────────────────────────────────────


def swayed(votes: Sequence[Vote], weights: Mapping[str, float] | None = None, *, length: bool = True) -> Sway | None:
    """The Bradley–Terry fit to votes on pairs; None where there is none. Both bad says nothing about which is better.

    `weights`: how much each person's votes count, 1 where none is given. Without `length` that an answer is longer
    counts as its own merit: it may well be better for it, where standing on the left never is a merit.
    """
    used = [vote for vote in votes if vote.value != BOTH_BAD and len(vote.shown) == 2]
    if not used:
        return None
    people = sorted({vote.person for vote in used})
    number = {person: place for place, person in enumerate(people)}
    items: dict[tuple[str, str, int], int] = {}
    first, second, share = [], [], []
    design = np.zeros((len(used), 2 + 2 * len(people)))
    for line, vote in enumerate(used):
        left, right = vote.shown
        ends = [items.setdefault((vote.unit.row_id, vote.unit.row_hash, one), len(items)) for one in (left, right)]
        first.append(ends[0])
        second.append(ends[1])
        share.append(0.5 if vote.value == TIE else float(vote.value == left))
        longer = _log_ratio(vote) if length else 0.0
        person = number[vote.person]
        design[line, [0, 2 + person]] = 1.0
        design[line, [1, 2 + len(people) + person]] = longer
    penalties = np.r_[GLOBAL_PENALTY, GLOBAL_PENALTY, np.full(2 * len(people), PERSON_PENALTY)]
    given = weights or {}
    fitted = fit(
        len(items),
        np.array(first, dtype=np.int64),
        np.array(second, dtype=np.int64),
        np.array(share),
        penalty=STRENGTH_PENALTY,
        design=design,
        term_penalties=penalties,
        weights=np.array([given.get(vote.person, 1.0) for vote in used]),
    )
    strengths = {}
    for vote in used:
        for one in vote.unit.answers:
            place = items[vote.unit.row_id, vote.unit.row_hash, one]
            strengths[vote.unit, one] = float(fitted.strengths[place])
    each = {
        person: {
            "position": _together(fitted, [0, 2 + place]),
            "length": _together(fitted, [1, 2 + len(people) + place]),
        }
        for person, place in number.items()
    }
    return Sway(strengths, _together(fitted, [0]), _together(fitted, [1]), each)


def _together(fitted: Fitted, places: list[int]) -> tuple[float, float]:
    """The sum of some terms, and its standard error."""
    variance = float(fitted.covariance[np.ix_(places, places)].sum())
    return float(fitted.terms[places].sum()), math.sqrt(max(variance, 0.0))


def _log_ratio(vote: Vote) -> float:
    """How many times longer the left answer is, in doublings, at most three."""
    left, right = (max(chars, 1) for chars in vote.chars)
    return max(-3.0, min(3.0, math.log2(left / right)))


def _left(votes: Iterable[Vote]) -> list[bool]:
    """For each decided vote on a pair, whether the answer on the left won."""
    return [vote.value == vote.shown[0] for vote in votes if vote.value not in (TIE, BOTH_BAD)]


def _longer(votes: Iterable[Vote]) -> list[bool]:
    """For each decided vote on answers of different length, whether the longer one won."""
    return [
        (vote.value == vote.shown[0]) == (vote.chars[0] > vote.chars[1])
        for vote in votes
        if vote.value not in (TIE, BOTH_BAD) and vote.chars[0] != vote.chars[1]
    ]


def _preferred(won: Sequence[bool]) -> dict[str, Any]:
    return share_of(sum(won), len(won))


def _odds(term: tuple[float, float] | None) -> dict[str, Any]:
    """A term as how many times it multiplies the odds, {odds: {value, low, high}}."""
    if term is None:
        return {"odds": None}
    value, error = term
    low, high = value - _Z * error, value + _Z * error
    return {"odds": {name: math.exp(min(one, 50.0)) for name, one in (("value", value), ("low", low), ("high", high))}}


def share_of(part: int, whole: int) -> dict[str, Any]:
    """A share with Wilson's interval: {value, low, high, n}; nulls of nothing."""
    if not whole:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = wilson(part, whole)
    return {"value": part / whole, "low": low, "high": high, "n": whole}


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, square = part / whole, _Z * _Z
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    half = _Z / (1 + square / whole) * math.sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return max(0.0, middle - half), min(1.0, middle + half)


def chance_of(part: int, whole: int) -> float:
    """How likely so uneven a split is of fair throws, on both sides."""
    from scipy.stats import binomtest

    return float(binomtest(part, whole).pvalue) if whole else 1.0


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _people(
    people: Sequence[str], deciding: Sequence[Vote], once: Sequence[Vote], sway: Sway | None, found: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    by_person: dict[str, list[Vote]] = {person: [] for person in people}
    for vote in deciding:
        by_person[vote.person].append(vote)
    first_by_person: dict[str, list[Vote]] = {person: [] for person in people}
    by_unit: dict[Unit, list[Vote]] = defaultdict(list)
    for vote in once:
        first_by_person[vote.person].append(vote)
        by_unit[vote.unit].append(vote)
    told = {}
    for person in people:
        mine, first = by_person[person], first_by_person[person]
        gold = [vote.value == vote.gold for vote in mine if vote.gold is not None]
        same, compared = 0, 0
        for vote in first:
            others = [other.value for other in by_unit[vote.unit] if other.person != person]
            same += sum(value == vote.value for value in others)
            compared += len(others)
        again = _again(mine)
        seconds = sorted(vote.seconds for vote in mine if vote.seconds is not None)
        one: dict[str, Any] = {
            "answers": len(mine),
            "median_seconds": seconds[len(seconds) // 2] if seconds else None,
            "gold": share_of(sum(gold), len(gold)),
            "self_consistency": share_of(sum(again), len(again)),
            "agrees": share_of(same, compared),
        }
        if sway is not None:
            one["left"] = _preferred(_left(first))
            one["longer"] = _preferred(_longer(first))
            terms = sway.people.get(person)
            one["bias"] = {name: _odds(terms[name] if terms else None)["odds"] for name in ("position", "length")}
        told[person] = one
    for person in people:
        told[person]["flags"] = _flags(person, told, found)
    return told


def _again(votes: Sequence[Vote]) -> list[bool]:
    """For everything a person was asked again, whether they said the same."""
    by_unit: dict[Unit, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_unit[vote.unit].append(vote)
    return [other.value == said[0].value for said in by_unit.values() for other in said[1:]]


def _flags(person: str, told: Mapping[str, Mapping[str, Any]], found: Mapping[str, Any]) -> list[str]:
    """What speaks against a person's answers. Tests are shared out among people, so that many do not make it likely."""
    one = told[person]
    flags = []
    if "left" in one and one["left"]["n"] >= FEW:
        left = one["left"]
        if chance_of(round(left["value"] * left["n"]), left["n"]) < (1 - LEVEL) / len(told):
            flags.append("position")
        # Against the middle of all people: a share that one of them moves would make the others look odd.
        longer = one["longer"]
        shares = sorted(other["longer"]["value"] for other in told.values() if other["longer"]["n"] >= FEW)
        if longer["n"] >= FEW and len(shares) >= 3:
            middle, rest = shares[len(shares) // 2], sum(other["longer"]["n"] for other in told.values()) - longer["n"]
            if _differs(longer["value"], longer["n"], middle, rest) < (1 - LEVEL) / len(told):
                flags.append("length")
    gold = one["gold"]
    if gold["n"] >= 5 and gold["high"] < 0.75:
        flags.append("gold")
    again = one["self_consistency"]
    if again["n"] >= 5 and again["high"] < 0.75:
        flags.append("self_consistency")
    agrees = one["agrees"]
    same = sum(other["agrees"]["value"] * other["agrees"]["n"] for other in told.values() if other["agrees"]["n"])
    whole = sum(other["agrees"]["n"] for other in told.values())
    if agrees["n"] >= FEW:
        rest = whole - 2 * agrees["n"]  # what others say of each other, without this person on either side
        if rest >= FEW:
            others_agree = (same - 2 * agrees["value"] * agrees["n"]) / rest
            worse = agrees["value"] < others_agree
            if worse and _differs(agrees["value"], agrees["n"], others_agree, rest) < (1 - LEVEL) / len(told):
                flags.append("disagrees")
    medians = sorted(other["median_seconds"] for other in told.values() if other["median_seconds"] is not None)
    known = one["median_seconds"] is not None and len(medians) >= 3 and one["answers"] >= FEW
    if known and one["median_seconds"] < medians[len(medians) // 2] / 3:
        flags.append("fast")
    return flags


def _differs(a: float, n: int, b: float, m: float) -> float:
    """How likely two shares of n and m are to differ so by chance (two-sided, normal)."""
    pooled = (a * n + b * m) / (n + m)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return math.erfc(abs(a - b) / spread / math.sqrt(2)) if spread else 1.0


def _findings(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What has to be known before anything is exported."""
    findings = []
    for person, one in found["people"].items():
        for flag in one["flags"]:
            findings.append({"kind": f"person_{flag}", "severity": "high", "count": one["answers"], "person": person})
    for kind in ("position", "length"):
        effect = found[f"{kind}_effect"]
        if effect and effect["n"] >= FEW:
            part = round(effect["value"] * effect["n"])
            if chance_of(part, effect["n"]) < (1 - LEVEL) / 2 and kind == "position":
                findings.append({"kind": "position_effect", "severity": "high", "count": effect["n"]})
            if kind == "length" and effect["low"] > 0.6:
                findings.append({"kind": "length_effect", "severity": "medium", "count": effect["n"]})
    for name, one in found["alpha"].items():
        if one["high"] is not None and one["high"] < 0.667 and name not in ("reasons",):
            findings.append({"kind": "low_agreement", "severity": "medium", "count": one["units"], "question": name})
    if found["third_opinion"]:
        findings.append({"kind": "third_opinion", "severity": "low", "count": len(found["third_opinion"])})
    if same := sum(one["same_people"] for one in found["third_opinion"]):
        findings.append({"kind": "same_people_again", "severity": "medium", "count": same})
    return [one | {"fix": _FIXES[one["kind"]]} for one in findings]


_FIXES = {
    "person_position": "chooses by place: export with --rule bradley_terry, which takes it out, or --without PERSON",
    "person_length": "chooses by length more or less than others: look at the answers before exporting",
    "person_gold": "wrong on known answers: talk to the person; export with --without PERSON or --rule dawid_skene",
    "person_self_consistency": "answers repeats differently: talk to the person; --without PERSON",
    "person_disagrees": "agrees less than the others do: export with --rule dawid_skene, which weighs by care",
    "person_fast": "answers in a third of the usual time: look at the answers before exporting",
    "position_effect": "answers on one side win more often than by chance: export with --rule bradley_terry",
    "length_effect": "longer answers mostly win: look whether they are better; a model will learn to be long",
    "low_agreement": "people read the question differently: sharpen the guidelines and ask some rows again",
    "third_opinion": "no majority: write them with --third FILE and push them again with --only FILE",
    "same_people_again": "asked again, and answered by nobody new, so still undecided: add an annotator, push again",
}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def write_third(found: Mapping[str, Any], path: Path) -> None:
    """Write what wants a third opinion for `review push --only`, one on each line."""
    _written(path, b"".join(orjson.dumps(one) + b"\n" for one in found["third_opinion"]), "--third")


def write_report(found: Mapping[str, Any], reviewed: Reviewed, path: Path) -> None:
    """Write the HTML page; it opens in the language of the form."""
    from schemas.report_review import render_agreement

    page = render_agreement(found, lang="zh" if reviewed.recipe.get("lang") == "zh" else "en")
    _written(path, page.encode(), "--report")


def _written(path: Path, data: bytes, option: str) -> None:
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder", hint="name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
