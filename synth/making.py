"""Made rows as rows of a dataset: their columns, their ids, and the source that each of them has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from schemas.rows import ID_BYTES, Answer, Message, columns, content_digest, row_ids
from schemas.sources import Source
from synth.diversity import compared
from synth.policy import Ruling, Training
from synth.task import Made, Seed

_TRAINING: tuple[Training, ...] = ("allowed", "conditional", "unknown", "denied")
_PERSONAL_DATA: tuple[Literal["none", "scrubbed", "unknown", "present"], ...] = (
    "none",
    "scrubbed",
    "unknown",
    "present",
)
_SPLITS = ("train", "validation", "test")
_MOST_SOURCES = 3
_NAME_CHARS = 200
_HELD_CHARS = 2 << 20
_MESSAGE = tuple(one.name for one in fields(Message))
_ANSWER = tuple(one.name for one in fields(Answer))


class MadeSources:
    """The sources of made rows. A row's is that of the teachers that had a part in it and of the seeds it was made
    from, with the strictest that any of them says: neither a teacher's terms nor a seed's restriction is lost."""

    def __init__(
        self, seeds: Mapping[str, Source], rulings: Mapping[str, Ruling], labels: Mapping[str, str], job: str, use: str
    ) -> None:
        """`rulings` and `labels`, what a teacher is called, are by the runner's names of teachers."""
        self.table: dict[str, Source] = {}
        self.because: dict[str, str] = {}
        """For each source, what its `training` is owed to."""
        self._seeds = seeds
        self._rulings = rulings
        self._labels = labels
        self._evidence = f"synth, task {use}, job {job}"
        self._known: dict[tuple[frozenset[str], frozenset[str]], str] = {}

    def of(self, teachers: Iterable[str], seeds: Iterable[str], judge: str) -> str:
        """The name of the source of a row that these teachers and rows of these sources had a part in."""
        key = (frozenset(teachers), frozenset(seeds))
        if key not in self._known:
            self._known[key] = self._add(sorted(key[0]), sorted(key[1]), judge)
        return self._known[key]

    def _add(self, teachers: Sequence[str], seeds: Sequence[str], judge: str) -> str:
        writers = [one for one in teachers if one != judge] or teachers
        called = " + ".join(dict.fromkeys(self._labels[one] for one in writers))
        if len(seeds) > _MOST_SOURCES:  # or there would be as many sources as there are mixtures
            seeds, from_ = sorted(self._seeds), "several sources"
        else:
            from_ = ", ".join(seeds)
        name = f"{called} from {from_}"
        name = name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 9]} {hash_of(name)}"
        held = [self._seeds[one] for one in seeds]
        rulings = [self._rulings[one] for one in teachers]
        told = [(ruling.training, f"the terms of {ruling.model}") for ruling in rulings]
        told += [(one.training, f"the seeds' source {one.name}") for one in held]
        training, self.because[name] = max(told, key=lambda one: _TRAINING.index(one[0]))
        said = {one.personal_data for one in held} or {"unknown"}
        personal_data = next(one for one in reversed(_PERSONAL_DATA) if one in said)
        licences = list(dict.fromkeys(one.licence for one in held if one.licence))
        consents = list(dict.fromkeys(one.consent for one in held if one.consent))
        terms = dict.fromkeys([*(ruling.named for ruling in rulings), *(one.terms for one in held if one.terms)])
        self.table[name] = Source(
            name=name,
            kind="build",
            licence=" AND ".join(licences) or None,
            terms="; ".join(terms),
            evidence=self._evidence,
            training=training,
            personal_data=personal_data,
            consent="; ".join(consents) or None,
        )
        return name


def hash_of(text: str) -> str:
    """Eight digits that tell texts apart."""
    from hashlib import sha256

    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def columns_of(made: Made) -> dict[str, Any]:
    """A made row's content columns without nulls, as a row of its kind has them."""
    found: dict[str, Any] = {}
    for name in columns(made.kind):
        value = made.content.get(name)
        if value is None:
            continue
        if name == "answers":
            found[name] = [_answer(one) for one in value]
        elif name in ("messages", "prompt", "chosen", "rejected"):
            found[name] = [_message(one) for one in value]
        else:
            found[name] = value
    return found


def _message(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in _MESSAGE if given.get(name) is not None}


def _answer(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: given[name] for name in _ANSWER if given.get(name) is not None}
    return found | {"messages": [_message(one) for one in found.get("messages", ())]}


@lru_cache(maxsize=65_536)
def _salt(source: str, occurrence: int) -> int:
    """What a content's digest is mixed with for a row's id: the id of a content whose digest is nothing."""
    return int.from_bytes(row_ids(source, bytes(ID_BYTES), np.array([occurrence])), "big")


def id_of(source: str, digest: bytes, occurrence: int = 0) -> str:
    """The id of a row of a source that says this: what `schemas.rows.row_ids` gives many rows at once."""
    return f"{int.from_bytes(digest, 'big') ^ _salt(source, occurrence):032x}"


def row_of(
    made: Made, content: dict[str, Any], digest: bytes, source: str, seed: Seed, use: str, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """A made row. It teaches what its seed teaches, and stands in the split of its seeds: what was made from a test row
    is no row to train on."""
    splits = [one.get("split") for one in (seed.row, *seed.others)]
    known = [split for split in splits if split in _SPLITS]
    return {
        "id": id_of(source, digest),
        "content_hash": digest.hex(),
        "copy": 0,
        "source": source,
        "task": seed.row.get("task") or use,
        "lang": made.lang,
        "split": max(known, key=_SPLITS.index) if known else None,
        "origin": {"file": None, "line": None, "part": None},
        "parents": list(made.parents),
        "extra": orjson.dumps({**made.extra(), **extra}, option=orjson.OPT_SORT_KEYS).decode(),
        **_whole(content),
    }


def frame_of(kind: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of `row_of` as a frame, by way of Arrow: polars takes eight times as long for the same."""
    schema = columns(kind)
    shape = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    frame = pl.from_arrow(pa.Table.from_pylist(rows, schema=shape))
    assert isinstance(frame, pl.DataFrame)
    return frame.cast(schema)  # type: ignore[arg-type]


def _whole(content: Mapping[str, Any]) -> dict[str, Any]:
    """Content with every field of every message, as polars wants it."""
    found = dict(content)
    for name in ("messages", "prompt", "chosen", "rejected"):
        if name in found:
            found[name] = [{key: one.get(key) for key in _MESSAGE} for one in found[name]]
    if "answers" in found:
        found["answers"] = [
            {key: one.get(key) for key in _ANSWER}
            | {"messages": [{key: turn.get(key) for key in _MESSAGE} for turn in one["messages"]]}
            for one in found["answers"]
        ]
    return found


def digest_of(content: Mapping[str, Any]) -> bytes:
    """The digest of a made row's content."""
    return content_digest(content, nulls=False)


@dataclass
class Texts:
    """Some of many texts, evenly spread, of two million characters at the most: more would tell little more, and what
    they are compared by takes a hundred times their size."""

    held: list[str] = field(default_factory=list)
    _chars: int = 0
    _step: int = 1
    _seen: int = 0

    def add(self, text: str) -> None:
        """One more."""
        if self._seen % self._step == 0:
            self.held.append(text)
            self._chars += len(text)
            while self._chars > _HELD_CHARS and len(self.held) > 1:
                self.held = self.held[::2]
                self._step *= 2
                self._chars = sum(map(len, self.held))
        self._seen += 1


class Spread:
    """How varied made rows are beside their seeds, and how far they are from rows that no teacher made."""

    def __init__(self) -> None:
        self.depths: Counter[int] = Counter()
        self._made = {"instruction": Texts(), "answer": Texts(), "text": Texts()}
        self._seeds = {"instruction": Texts(), "answer": Texts(), "text": Texts()}
        self.synthetic_seeds = 0
        self.seeds = 0

    def seed(self, seed: Seed) -> None:
        """One more seed."""
        self.seeds += 1
        self.synthetic_seeds += seed.depth > 0
        for name, text in _texts(seed).items():
            self._seeds[name].add(text)

    def made(self, row: Mapping[str, Any], depth: int) -> None:
        """One more made row."""
        self.depths[depth] += 1
        for name, text in _texts(Seed(row)).items():
            self._made[name].add(text)

    def texts(self) -> dict[str, tuple[list[str], list[str]]]:
        """Made texts and the seeds', by field; of those fields that made rows have."""
        return {name: (texts.held, self._seeds[name].held) for name, texts in self._made.items() if texts.held}

    def as_json(self) -> dict[str, Any]:
        """What was measured: for each field that made rows have, `synth.diversity.compared`."""
        return {
            "fields": {name: compared(made, seeds) for name, (made, seeds) in self.texts().items()},
            "depth": {str(depth): count for depth, count in sorted(self.depths.items())},
            "share_synthetic": 1.0 if self.depths else None,
            "share_synthetic_seeds": self.synthetic_seeds / self.seeds if self.seeds else None,
        }


def _texts(seed: Seed) -> dict[str, str]:
    from schemas.errors import Rejected

    if seed.row.get("text"):
        return {"text": str(seed.row["text"])}
    found = {}
    for name in ("instruction", "answer"):
        try:
            found[name] = getattr(seed, name)
        except Rejected:
            continue
    return found
