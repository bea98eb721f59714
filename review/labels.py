"""`review pull` and `review status`: answers come back as a dataset of labels.

Every answer that was ever seen is in the review's folder, the latest of each person to each thing counts, and the
dataset is made of that: pulling twice gives the same labels, and an answer deleted on the server is not lost here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from review.asked import Answer, Asked, Pushed, Review, checked_name, key_of, keyed, pseudonym
from review.backend import Access, Backend
from review.forms import FORMS, Form
from review.pairs import meaning
from schemas.console import progress
from schemas.dataset import DatasetWriter, Told, is_dataset, open_dataset
from schemas.errors import DatasetError, UserError
from schemas.lookup import find
from schemas.manifest import InputFile, fingerprint, library_versions
from schemas.rows import columns, content_columns, content_digest
from schemas.run import AlreadyDone, run_into
from schemas.sources import Source

COMMAND = "review pull"
VERSION = 2
"""Raised whenever the same answers give other labels than before."""

LONGEST_SECONDS = 1_800.0
"""Longer between two answers of a person was a break, and says nothing."""

_ROWS = 4_096
_LIBRARIES = ("assay", "polars", "pyarrow", "orjson")


def pull(name: str, out: Path, access: Access, *, replace: bool = False) -> dict[str, Any]:
    """Fetch every answer to a review and write the labels to `out`, where an earlier pull of it gives way.

    Raises UserError when `out` holds anything else.
    """
    review = Review(access.home, checked_name(name))
    pushed = review.pushed()
    with review.lock():
        fetched = _fetch(review, pushed, FORMS[pushed.form], review.asked(), access)
    return write_labels(review, out, replace=replace) | fetched


def write_labels(review: Review, out: Path, *, replace: bool = False) -> dict[str, Any]:
    """Write the answers that are in a review's folder as labels to `out`. See `pull`."""
    pushed, asked, answers = review.pushed(), review.asked(), review.answers()
    taken = seconds_taken(list(answers.values())) if _backend(pushed).timed else {}
    mark = fingerprint(
        {
            "command": COMMAND,
            "version": VERSION,
            "review": review.name,
            "form": pushed.form,
            "asked": sorted(asked),
            "answers": sorted(
                [*key, str(taken.get(key)), orjson.dumps(one.values, option=orjson.OPT_SORT_KEYS).decode()]
                for key, one in answers.items()
            ),
        }
    )
    already = False
    try:
        with run_into(out, mark, replace=replace or _earlier(out, review.name)) as run:
            run.clear()
            writer = DatasetWriter(run.folder, "label")
            try:
                for frame in _frames(review.name, FORMS[pushed.form], asked, answers, taken):
                    writer.add(frame)
                writer.close()
            except BaseException:
                writer.abandon()
                raise
            writer.finish(_told(review.name, mark, pushed, writer, asked, answers))
            run.publish()
    except AlreadyDone:
        already = True
    labels = open_dataset(out)
    return {
        "dataset": str(out),
        "fingerprint": labels.manifest.fingerprint,
        "already": already,
        "review": review.name,
        "rows": len({one.row_id for one in asked.values()}),
        "asked": len(asked),
        "answered": len({one for one, _ in answers}),
        "answers": len(answers),
        "labels": labels.rows,
        "people": len({one.person for one in answers.values()}),
    }


def status(name: str, access: Access) -> dict[str, Any]:
    """How far people are, as the place where they answer counts."""
    review = Review(access.home, checked_name(name))
    pushed = review.pushed()
    known = review.asked()
    found = _backend(pushed)(access, pushed, FORMS[pushed.form]).progress()
    return {
        "review": name,
        "form": pushed.form,
        "backend": pushed.backend,
        "place": {key: value for key, value in pushed.place.items() if key != "key_file"},
        "rows": len({one.row_id for one in known.values()}),
        "asked": len(known),
        "arrived": found.rows,
        "answered": found.answered,
        "answers": found.answers,
        "people": found.people,
        "overlap": pushed.overlap,
        "pulled": len(review.answers()),
    }


def _backend(pushed: Pushed) -> type[Backend]:
    return find("review.backends", pushed.backend, Backend)  # type: ignore[type-abstract]


def _fetch(review: Review, pushed: Pushed, form: Form, asked: Mapping[str, Asked], access: Access) -> dict[str, Any]:
    """Bring what is new into the review's folder, page by page. How many answers are to nothing of ours (foreign), are
    not of the form (refused, by question), take the place of another one, or are older than one that is known."""
    key = key_of(access.home)
    known = review.answers()
    # Pages may be read again: each answer counts once.
    foreign: set[tuple[str, str]] = set()
    changed: set[tuple[str, str]] = set()
    older: set[tuple[str, str]] = set()
    refused: dict[tuple[str, str], str] = {}
    with progress("pulling", len(asked)) as shown:
        seen: set[str] = set()
        for page in _backend(pushed)(access, pushed, form).answers():
            new = []
            for given in page:
                answer = Answer(given.asked, pseudonym(key, pushed.backend, given.person), given.values, given.at)
                place = (answer.asked, answer.person)
                seen.add(given.asked)
                if given.asked not in asked:
                    foreign.add(place)
                    continue
                try:
                    meaning(form, asked[given.asked], given.values)
                except ValueError as error:
                    refused[place] = str(error).partition(":")[0]
                    continue
                refused.pop(place, None)
                before = known.get(place)
                if before == answer:
                    continue
                differs = before is not None and before.values != answer.values
                if before is not None and _moment(answer) < _moment(before):
                    older |= {place} if differs else set()
                    continue
                changed |= {place} if differs else set()
                known[place] = answer
                new.append(answer)
            review.answer(new)
            shown.at(len(seen), len(known))
    return {
        "foreign": len(foreign),
        "refused": dict(Counter(refused.values())),
        "changed": len(changed),
        "older": len(older),
    }


def _moment(answer: Answer) -> datetime:
    """When an answer was given, in UTC, which servers need not say; the beginning of time where it is not known."""
    moment = datetime.fromisoformat(answer.at) if answer.at else datetime.min
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _earlier(out: Path, name: str) -> bool:
    """Whether a folder holds an earlier pull of this review, which the new one takes the place of."""
    if not is_dataset(out):
        return False
    try:
        manifest = open_dataset(out).manifest
    except DatasetError:
        return False
    return manifest.command == COMMAND and manifest.recipe.get("review") == name


def seconds_taken(answers: Sequence[Answer]) -> dict[tuple[str, str], float]:
    """(thing, person) to the seconds since the person's answer before; none for the first one after a break."""
    by_person: dict[str, list[tuple[datetime, Answer]]] = defaultdict(list)
    for one in answers:
        if one.at:
            by_person[one.person].append((_moment(one), one))
    found = {}
    for person, mine in by_person.items():
        mine.sort(key=lambda pair: (pair[0], pair[1].asked))
        for (before, _), (now, one) in pairwise(mine):
            passed = (now - before).total_seconds()
            if 0 < passed <= LONGEST_SECONDS:
                found[one.asked, person] = round(passed, 1)
    return found


def _frames(
    name: str,
    form: Form,
    asked: Mapping[str, Asked],
    answers: Mapping[tuple[str, str], Answer],
    taken: Mapping[tuple[str, str], float],
) -> Iterator[pl.DataFrame]:
    """The labels, in the order in which things were asked; `taken`: seconds that answers took."""
    place = {id_: number for number, id_ in enumerate(asked)}
    ordered = sorted(answers.values(), key=lambda one: (place.get(one.asked, 0), one.person))
    rows: list[dict[str, Any]] = []
    for answer in ordered:
        one = asked.get(answer.asked)
        if one is None:
            continue
        rows += _labels(name, form, one, answer, taken.get((answer.asked, answer.person)))
        if len(rows) >= _ROWS:
            yield pl.DataFrame(rows, schema=columns("label"), orient="row")
            rows = []
    if rows:
        yield pl.DataFrame(rows, schema=columns("label"), orient="row")


def _labels(name: str, form: Form, asked: Asked, answer: Answer, seconds: float | None) -> Iterator[dict[str, Any]]:
    about = {
        "asked": asked.id,
        "again": asked.again,
        "chars": list(asked.chars),
        "gold": asked.gold,
        "repeat": asked.repeat,
        "why": asked.why,
    }
    extra = orjson.dumps({key: value for key, value in about.items() if value not in (None, False)}).decode()
    for question, value in meaning(form, asked, answer.values).items():
        content = {
            "row_id": asked.row_id,
            "row_hash": asked.row_hash,
            "question": question,
            "value": value,
            "rater": answer.person,
            "seconds": seconds,
            "shown": orjson.dumps(asked.shown).decode() if asked.shown else None,
            "round": asked.round,
        }
        assert content.keys() == set(content_columns("label"))
        yield {
            "id": keyed(b"label", name, asked.id, answer.person, question).hex()[:32],
            "content_hash": content_digest(content).hex(),
            "copy": 0,
            "external_id": None,
            "source": source_name(name),
            "task": asked.task,
            "lang": asked.lang,
            "split": None,
            "origin": {"file": name, "line": None, "part": asked.id},
            "parents": [asked.row_id],
            "extra": extra,
            **content,
        }


def source_name(review: str) -> str:
    """The source of what people wrote in a review."""
    return f"review {review}"


def _told(
    name: str,
    mark: str,
    pushed: Pushed,
    writer: DatasetWriter,
    asked: Mapping[str, Asked],
    answers: Mapping[tuple[str, str], Answer],
) -> Told:
    source = Source(name=source_name(name), kind="build", evidence=f"assay review {name}", personal_data="unknown")
    return Told(
        rows_in=0,
        made=writer.data.rows,
        manifest={
            "command": COMMAND,
            "name": name,
            "fingerprint": mark,
            "sources": {source.name: source} if writer.data.rows else {},
            "inputs": [InputFile(path=path, fingerprint=one) for one, path in pushed.datasets.items()],
            "recipe": {
                "review": name,
                "form": pushed.form,
                "lang": pushed.lang,
                "overlap": pushed.overlap,
                "kind": pushed.kind,
                "asked": len(asked),
                "answers": len(answers),
            },
            "versions": library_versions(_LIBRARIES),
        },
    )


def opened_rows(labels_inputs: Sequence[InputFile], given: Path | None) -> Iterator[Any]:
    """The datasets that labels are about. Raises UserError when one is not where it was, or is another one now."""
    if given is not None:
        found = open_dataset(given)
        if found.manifest.fingerprint not in {one.fingerprint for one in labels_inputs}:
            raise UserError(
                f"{given} is not the dataset that was reviewed", hint="give the one that was pushed, unchanged"
            )
        yield found
        return
    for one in labels_inputs:
        found = open_dataset(Path(one.path))
        if found.manifest.fingerprint != one.fingerprint:
            raise UserError(
                f"{one.path} was made anew since its rows were reviewed",
                hint="answers are about the rows as they were: give the old dataset with --rows DIR",
            )
        yield found
