"""Small datasets and answers for the tests of this folder, made as the commands make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from review.asked import Answer, Asked, Pushed, Review, key_of, pseudonym
from review.backend import Access
from review.labels import write_labels
from review.pushing import Push, push
from review.queue import Choice
from schemas.dataset import DatasetWriter, Told
from schemas.manifest import fingerprint
from schemas.rows import columns, content_columns, content_digest
from schemas.sources import Source

Message = dict[str, Any]


def said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def pair(question: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {
        "prompt": [said("user", question)],
        "chosen": [said("assistant", chosen)],
        "rejected": [said("assistant", rejected)],
    }


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [said("user", question), said("assistant", answer)]}


def candidates(question: str, *answers: str, scores: Sequence[float] = ()) -> dict[str, Any]:
    given: Sequence[float | None] = scores or [None] * len(answers)
    each = [
        {"messages": [said("assistant", answer)], "teacher": f"model-{number}", "score": score}
        for number, (answer, score) in enumerate(zip(answers, given, strict=True))
    ]
    return {"prompt": [said("user", question)], "answers": each}


def pairs(count: int) -> list[dict[str, Any]]:
    """Pairs that are told apart by their numbers; now the chosen answer is the longer one, now the other."""
    return [
        pair(f"问题 {n}：how many?", f"good answer {n}" + " indeed" * (n % 5), f"bad answer {n}" + " indeed" * (n % 3))
        for n in range(count)
    ]


def write_dataset(
    folder: Path,
    kind: str,
    contents: Iterable[Mapping[str, Any]],
    *,
    source: str = "made",
    personal_data: str = "none",
    **common: Any,
) -> Path:
    """A dataset of rows that say `contents`; `common` sets columns of all of them."""
    rows = []
    for number, content in enumerate(contents):
        whole = dict.fromkeys(content_columns(kind)) | {key: content[key] for key in content if key != "extra"}
        digest = content_digest(whole)
        rows.append(
            dict.fromkeys(columns(kind))
            | {"copy": 0, "source": source, "parents": [], "origin": {"file": "made", "line": number + 1, "part": None}}
            | {"extra": content.get("extra")}
            | common
            | {"id": digest.hex(), "content_hash": digest.hex()}
            | whole
        )
    writer = DatasetWriter(folder, kind)
    writer.add(pl.DataFrame(rows, schema=columns(kind), orient="row"))
    writer.close()
    told = Source(name=source, personal_data=personal_data)  # type: ignore[arg-type]
    mark = fingerprint({"rows": [row["id"] for row in rows], "source": told.model_dump()})
    manifest = {"command": "import", "name": folder.name, "fingerprint": mark, "sources": {source: told}}
    writer.finish(Told(rows_in=0, made=len(rows), manifest=manifest))
    return folder


def fixed_key(home: Path) -> None:
    """Draw the same in every run: a home's key is otherwise made at random."""
    (home / "reviews").mkdir(parents=True)
    (home / "reviews" / "key").write_bytes(b"0123456789abcdef" * 4)


def book_push(home: Path, dataset: Path, form: str, *people: str, **given: Any) -> tuple[dict[str, Any], Access]:
    """Push to workbooks, and how to get there again."""
    choice = Choice(**{key: given.pop(key) for key in list(given) if key in Choice.__dataclass_fields__})
    access = Access(home, people=people)
    return push(Push(dataset, form, choice, backend="xlsx", **given), access), access


def labelled(
    home: Path, name: str, out: Path, say: Mapping[tuple[str, str], Mapping[str, Any]]
) -> tuple[Path, dict[str, str]]:
    """Labels of a review whose answers are given as {(thing, person): values}, and person to pseudonym."""
    review, key = Review(home, name), key_of(home)
    names = {person: pseudonym(key, review.pushed().backend, person) for person in {person for _, person in say}}
    review.answer(Answer(asked, names[person], dict(values), "") for (asked, person), values in say.items())
    write_labels(review, out)
    return out, names


def asked_of(home: Path, name: str) -> list[Asked]:
    return list(Review(home, name).asked().values())


def pushed_of(home: Path, name: str) -> Pushed:
    return Review(home, name).pushed()


def coin(*parts: object) -> float:
    """A number from 0 to 1 that is the same every time."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:6], "big") / 2**48


def choose(asked: Asked, place: int) -> str:
    """What a person clicks to prefer the answer at a place of the row."""
    return "left" if asked.shown[0] == place else "right"
