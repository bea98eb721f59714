"""What commands show on a terminal: each takes the same data that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.console import count, heading, say, table
from schemas.excerpt import excerpt

_SEVERITY = {"high": "bold red", "medium": "yellow", "low": "dim"}


def pushed_page(found: Mapping[str, Any]) -> None:
    """What was pushed."""
    place = found["place"].get("url") or found["place"].get("folder")
    verb = "nothing new for" if not found["sent"] else f"pushed {found['sent']:,} to"
    say(f"{verb} {place}: review {found['review']}", style="bold green")
    say(
        f"{found['asked']:,} things asked about {found['rows']:,} rows, of {found['overlap']} people each; "
        f"{found['gold']:,} gold, {found['repeats']:,} repeats; form {found['form']} in {found['lang']}"
    )
    for reason, number in found["left_out"].items():
        say(f"left out: {number:,}, {reason}", style="yellow")
    _findings(found["findings"])
    say(f"how far people are: review status {found['review']}")


def status_page(found: Mapping[str, Any]) -> None:
    """How far people are."""
    say(
        f"{found['review']}: {found['form']} at {found['place'].get('url') or found['place'].get('folder')}",
        style="bold",
    )
    say(
        f"{found['answered']:,} of {found['arrived']:,} have {found['overlap']} answers; "
        f"{found['answers']:,} answers, {found['pulled']:,} of them pulled"
    )
    if found["people"]:
        table(
            ("person", "answers"),
            [(excerpt(name, 40), number) for name, number in found["people"].items()],
            numbers=(1,),
        )
    if found["arrived"] < found["asked"]:
        missing = found["asked"] - found["arrived"]
        say(f"{missing:,} have not arrived: run the same review push again", style="yellow")
    say(f"bring the answers back: review pull {found['review']} --out DIR")


def pulled_page(found: Mapping[str, Any]) -> None:
    """What was pulled."""
    verb = "already there:" if found["already"] else "wrote"
    say(f"{verb} {found['labels']:,} labels in {found['dataset']}", style="bold green")
    told = f"{found['answers']:,} answers of {found['people']:,} people"
    say(f"{told} to {found['answered']:,} of {found['asked']:,} things")
    if found["foreign"]:
        say(f"{found['foreign']:,} answers are to records that this review did not ask about; left out", style="yellow")
    if found["changed"]:
        say(f"{found['changed']:,} answers pulled earlier were changed by those who gave them")
    if found["older"]:
        say(f"{found['older']:,} answers are older than those pulled earlier, which stay", style="yellow")
    for question, number in found["refused"].items():
        say(f"{number:,} answers to {question!r} are not of this form; left out", style="yellow")
    say(f"how far they can be trusted: review agreement {found['dataset']}")


def agreement_page(found: Mapping[str, Any], files: Sequence[str]) -> None:
    """How far answers can be trusted."""
    say()
    say(
        f"{found['review']}: {found['answers']:,} answers to {found['units']:,} things in {found['rows']:,} rows",
        style="bold",
    )
    heading("Agreement")
    rows = []
    for name, one in found["alpha"].items():
        pair = found["pairwise"].get(name, {})
        rows.append((name, _number(one["value"]), _between(one), one["units"], _percent(pair.get("value"))))
    table(("question", "alpha", "95 %", "things", "same answer"), rows, numbers=(1, 3, 4))
    for kind, name in (("position_effect", "the answer on the left"), ("length_effect", "the longer answer")):
        effect = found[kind]
        if effect and effect["n"]:
            say(f"{name} was preferred in {_percent(effect['value'])} ({_share_between(effect)}) of {effect['n']:,}")
    heading("People")
    table(
        ("person", "answers", "agrees", "gold", "repeats", "left", "longer", "seconds", "what speaks against"),
        [
            (
                person,
                one["answers"],
                _percent(one["agrees"]["value"]),
                _of(one["gold"]),
                _of(one["self_consistency"]),
                _percent(one.get("left", {}).get("value")),
                _percent(one.get("longer", {}).get("value")),
                count(one["median_seconds"]),
                ", ".join(one["flags"]),
            )
            for person, one in found["people"].items()
        ],
        numbers=(1, 2, 5, 6, 7),
    )
    if found["third_opinion"]:
        say(f"{len(found['third_opinion']):,} have no majority and want a third opinion")
    _findings(found["findings"])
    for file in files:
        say(f"wrote {file}")


def exported_page(found: Mapping[str, Any]) -> None:
    """What was exported."""
    say(f"wrote {found['rows_out']:,} {found['kind']} rows in {found['dataset']}", style="bold green")
    say(f"{found['rows_in']:,} things were decided; {found['edited']:,} rows hold an answer that somebody wrote")
    for reason, number in found["dropped"].items():
        say(f"left out: {number:,}, {reason}", style="yellow")
    if found["elsewhere"]:
        say(f"{found['elsewhere']:,} answers are about rows of other datasets, such as gold; not exported", style="dim")
    _findings(found["findings"])


def _findings(findings: Sequence[Mapping[str, Any]]) -> None:
    if not findings:
        return
    heading("Findings")
    for one in findings:
        whom = one.get("person") or one.get("question") or ""
        say(f"{one['severity']:<7} {one['kind']} {whom}: {one['count']:,}", style=_SEVERITY[one["severity"]])
        say(f"        {one['fix']}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _between(one: Mapping[str, Any]) -> str:
    return "–" if one["low"] is None or one["high"] is None else f"{one['low']:.3f} to {one['high']:.3f}"


def _share_between(one: Mapping[str, Any]) -> str:
    return f"{_percent(one['low'])} to {_percent(one['high'])}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _of(one: Mapping[str, Any]) -> str:
    return "–" if not one["n"] else f"{_percent(one['value'])} of {one['n']}"
