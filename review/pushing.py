"""`review push`: rows chosen, shuffled, noted, and sent to where people answer.

What is asked is on disk before it is sent, and what has arrived is noted after: the same command after a kill sends
what is missing, and nothing twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from review.asked import Asked, Pushed, Review, checked_name, key_of, prefill_digest
from review.backend import Access, Backend, Record
from review.forms import FORMS, Form, Lang
from review.queue import Choice, answers_of, choose, contents, once_more, prompt_of, said_by
from schemas.console import progress
from schemas.dataset import Dataset, open_dataset
from schemas.egress import POLICY, is_here, may_leave, note_departure, read_trusted
from schemas.errors import UserError, nearest
from schemas.lookup import find
from schemas.sources import Source

_HAN = re.compile(r"[\u3400-\u9fff]")
_LOOKED_AT = 200
_NOTED_AT_ONCE = 10_000
_READ_AT_ONCE = 4_000


@dataclass(frozen=True)
class Push:
    """What `review push` was asked to do."""

    dataset: Path
    form: str
    choice: Choice
    name: str | None = None
    backend: str = "argilla"
    overlap: int = 2
    lang: str | None = None
    only: Path | None = None
    policy: Path | None = None


def push(job: Push, access: Access) -> dict[str, Any]:
    """Send rows to where people answer. Raises UserError, before anything is sent, when they cannot be."""
    if job.form not in FORMS:
        raise UserError(f"there is no form {job.form!r}", hint=nearest(job.form, FORMS))
    form = FORMS[job.form]
    if job.lang not in (None, "en", "zh"):
        raise UserError(f"--lang {job.lang!r} is no language of the forms", hint="en or zh")
    dataset = open_dataset(job.dataset)
    review = Review(access.home, checked_name(job.name or f"{job.dataset.resolve().name}-{form.name}"))
    with review.lock():
        return _push(job, access, form, dataset, review)


def _push(job: Push, access: Access, form: Form, dataset: Dataset, review: Review) -> dict[str, Any]:
    key = key_of(access.home)
    known, answered = review.asked(), {asked for asked, _ in review.answers()}
    pushed = review.pushed() if review.exists else None
    if pushed is not None and pushed.place.get("making") and not known:
        pushed = None  # it was cut off before anything was there
    number = 1 + max((one.round for one in known.values()), default=0)
    left_out: Counter[str] = Counter()
    if job.only is not None:
        if pushed is None:
            raise UserError(f"there is no review {review.name} to ask more in", hint="--name says which one")
        items, missing = once_more(known, answered, form, read_only(job.only), key)
        items = [replace(one, round=number) for one in items]
        left_out["never_asked"] = missing
        k = pushed.k
    else:
        chosen = choose(dataset, form, replace(job.choice, round=number), key)
        items, left_out, k = chosen.items, chosen.left_out, chosen.k
    lang = _lang(job.lang, pushed, dataset, items)
    wanted = Pushed(
        review.name, form.name, job.backend, dataset.kind, _with(pushed, dataset), lang, job.overlap, k=k,
        place=pushed.place if pushed else {"making": True} if review.exists else {},
    )  # fmt: skip
    if pushed is not None:
        _check_same(pushed, wanted)
    backend = find("review.backends", job.backend, Backend)(access, wanted, form)  # type: ignore[type-abstract]
    places = [dataset, *_gold_dataset(job.choice.gold)]
    sent = review.sent()
    due = [one for one in known.values() if one.id not in sent] + [one for one in items if one.id not in known]
    unsent = _held(due, form, places)
    new = [one for one in unsent if one.id not in known]
    findings = _departure(backend.address, _sources(places), unsent, job, access)
    findings += _elsewhere({one.id for one in unsent}, due, wanted, places)
    place = _prepared(review, backend, wanted)
    backend.pushed = replace(wanted, place=place)
    backend.check(unsent)
    review.ask(new)  # only what can be sent: what was asked about has to arrive for the review to be whole
    if unsent and backend.address is not None:
        ids = sorted({one.row_id for one in unsent})
        for begin in range(0, len(ids), _NOTED_AT_ONCE):
            note_departure(
                access.home,
                destination=backend.address,
                command=f"review push {review.name}",
                rows=ids[begin : begin + _NOTED_AT_ONCE],
            )
    with progress("pushing", len(unsent)) as shown:
        arrived = 0
        for there in backend.send(_records(unsent, form, places, lang)):
            review.arrived(there)
            arrived += len(there)
            shown.at(arrived, arrived)
    everything = [*known.values(), *new]
    return {
        "review": review.name,
        "form": form.name,
        "backend": job.backend,
        "place": {name: value for name, value in place.items() if name != "key_file"},
        "rows": len({one.row_id for one in everything}),
        "asked": len(everything),
        "new": len(new),
        "sent": arrived,
        "gold": sum(one.gold is not None for one in everything),
        "repeats": sum(one.repeat for one in everything),
        "left_out": {reason: count for reason, count in left_out.items() if count},
        "lang": lang,
        "overlap": wanted.overlap,
        "findings": findings,
    }


def _prepared(review: Review, backend: Backend, wanted: Pushed) -> dict[str, Any]:
    """The place where people answer, ready; on disk before and after, so that what is half made is known as ours."""
    first = "making" in wanted.place or not wanted.place
    if first:
        backend.pushed = replace(wanted, place={"making": True})
        review.save(backend.pushed)
    try:
        place = backend.prepare()
    except UserError:
        if first:
            review.forget()
        raise
    place.pop("making", None)
    review.save(replace(wanted, place=place))
    return place


def read_only(path: Path) -> dict[str, set[tuple[int, ...]]]:
    """Which rows a file names: JSON lines {row_id, answers} as `review agreement --third` writes them, or ids."""
    wanted: dict[str, set[tuple[int, ...]]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", hint="one row id on each line") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            said = orjson.loads(line) if line.lstrip().startswith("{") else {"row_id": line.strip()}
            sets = wanted.setdefault(str(said["row_id"]), set())
            if said.get("answers"):
                sets.add(tuple(sorted(int(one) for one in said["answers"])))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise UserError(
                "neither a row's id nor {row_id, answers}", hint="one on each line", file=str(path), line=number
            ) from None
    if not wanted:
        raise UserError(f"{path} names no rows", hint="one row id on each line")
    return wanted


def _with(pushed: Pushed | None, dataset: Dataset) -> dict[str, str]:
    return (pushed.datasets if pushed else {}) | {dataset.manifest.fingerprint: str(dataset.folder)}


def _check_same(old: Pushed, new: Pushed) -> None:
    """Raise UserError when a review of this name is another one."""
    for name in ("form", "backend", "kind", "k", "overlap", "lang"):
        was, is_ = getattr(old, name), getattr(new, name)
        if was != is_:
            option = {"form": "as"}.get(name, name)
            same = f"give --{option} {was}, or " if name not in ("kind", "k") else "give "
            raise UserError(
                f"the review {old.name} was pushed with {name} {was}, and this is {name} {is_}",
                hint=f"{same}another --name: a form cannot change once people answer",
            )


def _gold_dataset(gold: str | None) -> list[Dataset]:
    """The dataset that gold rows are read from, if they are of another one."""
    if gold is None or not Path(gold).is_dir():
        return []
    found = open_dataset(Path(gold))
    return [found] if found.kind != "label" else []


def _lang(asked: str | None, pushed: Pushed | None, dataset: Dataset, items: Sequence[Asked]) -> Lang:
    """The language of the form: as asked for, as it was, or that of most rows."""
    if asked is not None:
        return "zh" if asked == "zh" else "en"
    if pushed is not None:
        return "zh" if pushed.lang == "zh" else "en"
    told = Counter("zh" if str(one.lang).startswith("zh") else "en" for one in items if one.lang)
    if not told:
        for one, row in contents(dataset, items[:_LOOKED_AT]):
            del one
            text = said_by(prompt_of(dataset.kind, row)) + "".join(map(said_by, answers_of(dataset.kind, row)))
            # A Chinese character says about as much as three Latin letters.
            told["zh" if 3 * len(_HAN.findall(text)) > len(text) else "en"] += 1
    return "zh" if told["zh"] > told["en"] else "en"


def _sources(datasets: Sequence[Dataset]) -> dict[str, Source]:
    """The sources of datasets. Raises UserError where two tell of one source differently: who may see its rows?"""
    found: dict[str, Source] = {}
    for dataset in datasets:
        for name, source in dataset.manifest.sources.items():
            if found.setdefault(name, source).personal_data != source.personal_data:
                raise UserError(
                    f"the source {name!r} is {found[name].personal_data} in one dataset and {source.personal_data} in "
                    f"{dataset.folder}",
                    hint="scrub both, or import one of them again with another --source",
                )
    return found


def _departure(
    address: str | None, sources: Mapping[str, Source], items: Sequence[Asked], job: Push, access: Access
) -> list[dict[str, Any]]:
    """Raise UserError unless the rows may go to an address. Findings where they go into files that are handed on."""
    used = {one.source for one in items}
    if address is None or is_here(address):
        held = sorted(
            name for name in used if name not in sources or sources[name].personal_data not in ("scrubbed", "none")
        )
        if address is None and held:
            fix = "scrub them first if the workbooks leave your hands: curate scrub"
            return [{"kind": "not_scrubbed", "severity": "high", "count": len(items), "sources": held, "fix": fix}]
        return []
    policy = job.policy or access.home / POLICY
    trusted = read_trusted(policy) if job.policy is not None or policy.is_file() else ()
    may_leave(sources, used, address, trusted, policy=policy)
    return []


def _held(items: Sequence[Asked], form: Form, datasets: Sequence[Dataset]) -> list[Asked]:
    """Those of `items` whose rows the datasets hold as they were, each knowing the text shown for editing again."""
    shown = form.shows in ("one", "row") and any(question.name == "edited" for question in form.questions)
    found = {}
    for dataset in datasets:
        for one, row in contents(dataset, items):
            text = prefill_digest(_editable(form, one, dataset.kind, row)) if shown else one.prefilled
            found[one.id] = replace(one, prefilled=text)
    return [found[one.id] for one in items if one.id in found]


def _elsewhere(
    held: set[str], due: Sequence[Asked], pushed: Pushed, datasets: Sequence[Dataset]
) -> list[dict[str, Any]]:
    """A finding about things that are due and cannot be sent: their rows are of other datasets, or are changed."""
    left = [one for one in due if one.id not in held]
    if not left:
        return []
    marks = {one.manifest.fingerprint for one in datasets}
    fixes = [
        f"push {path} as it was" for path in sorted({p for mark, p in pushed.datasets.items() if mark not in marks})
    ]
    if any(one.why == "gold" for one in left):
        fixes.append("give the same --gold as before")
    fix = f"their rows are not in {datasets[0].folder} as they were asked about: {', or '.join(fixes)}"
    return [{"kind": "rows_elsewhere", "severity": "high", "count": len(left), "fix": fix}]


def _editable(form: Form, asked: Asked, kind: str, row: Mapping[str, Any]) -> str:
    if form.shows not in ("one", "row"):
        return ""
    answers = answers_of(kind, row)
    place = asked.shown[0] if asked.shown else 0
    return said_by(answers[place]) if place < len(answers) else ""


def _records(items: Sequence[Asked], form: Form, datasets: Sequence[Dataset], lang: Lang) -> Iterator[Record]:
    """What is shown for each thing asked."""
    has_edit = any(question.name == "edited" for question in form.questions)
    for begin in range(0, len(items), _READ_AT_ONCE):
        part = items[begin : begin + _READ_AT_ONCE]
        ready: dict[str, Record] = {}
        for dataset in datasets:
            for one, row in contents(dataset, part):
                answers = answers_of(dataset.kind, row)
                shown = [answers[place] for place in one.shown]
                prompt = prompt_of(dataset.kind, row)
                if form.shows == "row":
                    prompt, shown = [*prompt, *answers[0]], []
                ready[one.id] = Record(one, prompt, shown, _editable(form, one, dataset.kind, row) if has_edit else "")
        yield from (ready[one.id] for one in part)
