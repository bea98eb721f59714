"""Which rows are asked about, in what order, and why (pure, but for reading the datasets).

Every choice is made by digests under the home's key: nobody can foresee it, and the same command makes it again. A
larger limit adds rows to those of a smaller one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from review.asked import Asked, keyed
from review.forms import Form
from review.pairs import in_order
from schemas.chat import field as text_field
from schemas.dataset import Dataset, open_dataset
from schemas.errors import UserError
from schemas.rows import columns

LOWEST = "lowest:"
"""Stands before the name of a score when the lowest come first."""

MOST_ANSWERS = 6
"""More answers than this are not put side by side to be ranked."""

_READ_ROWS = 4_000


@dataclass(frozen=True)
class Choice:
    """What to ask about, as the command line says it."""

    select: str = "random"
    scores: Path | None = None
    limit: int | None = None
    gold: str | None = None
    """A dataset whose right answers are known, or the share of rows whose own verdict is taken as known."""
    repeat: float = 0.0
    pairs: int = 1
    """How many pairs are asked about a row with several answers."""
    round: int = 1


@dataclass
class Chosen:
    """What is asked, and how many rows are not, by reason."""

    items: list[Asked]
    k: int = 2
    left_out: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    """How many rows of the dataset are asked about."""


@dataclass(frozen=True)
class _Row:
    id: str
    hash: str
    source: str
    task: str | None
    lang: str | None
    chars: tuple[int, ...]
    """How long each of its answers is; 0 for one that says nothing."""
    same: tuple[int, ...]
    """For each answer, the first that says the same."""
    best: tuple[int, int] | None
    """Places of an answer known as better and one known as worse."""
    score: float | None
    why: str


def choose(dataset: Dataset, form: Form, choice: Choice, key: bytes) -> Chosen:
    """What to ask about the rows of a dataset. Raises UserError when nothing can be asked."""
    if dataset.kind not in form.kinds:
        raise UserError(
            f"{dataset.folder} holds {dataset.kind} rows, and the form {form.name} is about {' or '.join(form.kinds)}",
            hint="choose another --as: pairs, ranking, answers, accept or labels",
        )
    chosen = Chosen([])
    known, gold_folder = _gold(form, choice.gold, dataset)
    rows = _ordered(_rows(dataset, form), dataset, choice, key, chosen.left_out)
    chosen.k = _answers_at_once(form, rows)
    first = {row_id for row_id, _ in known}
    rows = [row for row in rows if row.id in first] + [row for row in rows if row.id not in first]
    for row in rows:
        if choice.limit is not None and chosen.rows >= choice.limit:
            break
        asked = list(_asked(row, form, chosen.k, choice, key, chosen.left_out))
        chosen.rows += bool(asked)
        chosen.items += [replace(one, gold=known.get((one.row_id, tuple(sorted(one.shown))))) for one in asked]
    if not chosen.items:
        said = ", ".join(f"{reason}: {count:,}" for reason, count in chosen.left_out.items()) or "the dataset is empty"
        raise UserError(f"no row of {dataset.folder} can be asked about ({said})", hint="choose other rows or a form")
    share = _share(choice.gold)
    if share is not None:
        chosen.items = _gold_by_share(chosen.items, {row.id: row.best for row in rows}, share, form, key)
    extras = [*_repeats(chosen.items, choice.repeat, key)]
    if gold_folder is not None:
        extras += _gold_rows(gold_folder, form, chosen, choice, key)
    chosen.items = _mixed(chosen.items, extras, key)
    return chosen


def item_id(form: str, row_id: str, row_hash: str, shown: Sequence[int], again: int = 0) -> str:
    """What is asked has this id in every place where it is asked: of the row as it is now, whatever the order."""
    said = orjson.dumps([form, row_id, row_hash, sorted(shown), again])
    return keyed(b"asked", said.decode()).hex()[:32]


def once_more(
    asked: Mapping[str, Asked], answered: set[str], form: Form, wanted: Mapping[str, set[tuple[int, ...]]], key: bytes
) -> tuple[list[Asked], int]:
    """What was asked of the rows `wanted` (all of it, or only those answers), asked once more; and how many of the rows
    were never asked about. What was asked once more and is not answered yet is not asked a third time."""
    latest: dict[tuple[str, str, tuple[int, ...]], Asked] = {}
    for one in asked.values():
        unit = (one.row_id, one.row_hash, tuple(sorted(one.shown)))
        sets = wanted.get(one.row_id)
        if sets is None or (sets and unit[2] not in sets) or one.repeat or one.why == "gold":
            continue
        if unit not in latest or latest[unit].again < one.again:
            latest[unit] = one
    found = []
    for unit, one in latest.items():
        if one.again and one.id not in answered:
            continue
        id_ = item_id(form.name, *unit, one.again + 1)
        order = in_order(one.shown, key, id_)
        chars = dict(zip(one.shown, one.chars, strict=True)) if one.shown else {}
        found.append(
            replace(
                one,
                id=id_,
                shown=order,
                chars=tuple(chars[place] for place in order) if order else one.chars,
                why="a third opinion",
                again=one.again + 1,
                gold=None,
            )
        )
    return found, len(wanted.keys() - {unit[0] for unit in latest})


def contents(dataset: Dataset, items: Sequence[Asked]) -> Iterator[tuple[Asked, dict[str, Any]]]:
    """Each thing asked about rows of a dataset with its row, in order. Things about rows it has not are left out."""
    for begin in range(0, len(items), _READ_ROWS):
        part = items[begin : begin + _READ_ROWS]
        wanted = pl.Series("id", sorted({one.row_id for one in part}))
        found: dict[str, dict[str, Any]] = {}
        for frame in dataset.matching(pl.col("id").is_in(wanted.implode())):
            for row in frame.iter_rows(named=True):
                found.setdefault(row["id"], row)
        for one in part:
            held = found.get(one.row_id)
            if held is not None and held["content_hash"] == one.row_hash:
                yield one, held


def answers_of(kind: str, row: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The answers of a row, each as messages, by their places: 0 is the chosen one of a pair."""
    if kind == "preference":
        return [row["chosen"], row["rejected"]]
    if kind == "candidates":
        return [one["messages"] for one in row["answers"]]
    if kind == "text":
        return [[{"role": "assistant", "content": row["text"]}]]
    messages = row["messages"]
    return [messages[-1:]] if messages and messages[-1]["role"] == "assistant" else [[]]


def prompt_of(kind: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns before the answers."""
    if kind in ("preference", "candidates"):
        return list(row["prompt"])
    if kind == "text":
        return []
    messages = list(row["messages"])
    return messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages


def said_by(messages: Sequence[Mapping[str, Any]]) -> str:
    """What some turns say, as one text."""
    return "\n".join(str(one["content"]) for one in messages if one.get("content"))


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _texts(kind: str, form: Form) -> pl.Expr:
    """The texts of a row's answers, a list; the whole row where the form is about that."""
    if form.shows == "row":
        return pl.concat_list(text_field(kind, "conversation"))
    if kind == "preference":
        return pl.concat_list(text_field(kind, "chosen"), text_field(kind, "rejected"))
    if kind == "candidates":
        content = pl.element().struct.field("content")
        said = pl.element().struct.field("messages").list.eval(content.drop_nulls()).list.join("\n")
        return pl.col("answers").list.eval(said)
    return pl.concat_list(text_field(kind, "answer"))


def _rows(dataset: Dataset, form: Form) -> Iterator[_Row]:
    texts = _texts(dataset.kind, form)
    best: pl.Expr = pl.lit(None)
    if dataset.kind == "candidates":
        best = pl.col("answers").list.eval(
            pl.struct(pl.element().struct.field("rank"), pl.element().struct.field("score"))
        )
    for frame in dataset.batches():
        narrow = frame.filter(pl.col("copy") == 0).select(
            "id", "content_hash", "source", "task", "lang", texts.alias("texts"), best.alias("best")
        )
        for row in narrow.iter_rows(named=True):
            said = [text or "" for text in row["texts"]]
            places: dict[str, int] = {}
            same = tuple(places.setdefault(text, place) for place, text in enumerate(said))
            known = (0, 1) if dataset.kind == "preference" else _best(row["best"]) if row["best"] else None
            if known is not None and same[known[0]] == same[known[1]]:
                known = None
            lengths = tuple(len(text) if text.strip() else 0 for text in said)
            yield _Row(
                row["id"], row["content_hash"], row["source"], row["task"], row["lang"], lengths, same, known, None, ""
            )


def _best(ranked: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Places of the best and the worst answer by rank, or by score; None where neither tells them apart."""
    for name, sign in (("rank", 1), ("score", -1)):
        values = [(sign * one[name], place) for place, one in enumerate(ranked) if one[name] is not None]
        if len(values) == len(ranked) > 1 and min(values)[0] < max(values)[0]:
            return min(values)[1], max(values)[1]
    return None


def _ordered(rows: Iterator[_Row], dataset: Dataset, choice: Choice, key: bytes, left_out: Counter[str]) -> list[_Row]:
    drawn = sorted(rows, key=lambda row: keyed(key, "draw", row.id))
    if choice.select == "random":
        return [replace(row, why="drawn at random") for row in drawn]
    lowest = choice.select.startswith(LOWEST)
    name = choice.select.removeprefix(LOWEST)
    scores = _scores(dataset, name, choice.scores)
    scored = [replace(row, score=scores[row.id]) for row in drawn if row.id in scores]
    if not scored:
        where = choice.scores or dataset.folder
        raise UserError(
            f"no row of {where} has a number named {name!r}",
            hint="--select takes random, the name of a score (--scores DATASET), of a column, or of a key in `extra`",
        )
    if len(scored) < len(drawn):
        left_out["no_score"] += len(drawn) - len(scored)
    scored.sort(key=lambda row: row.score or 0.0, reverse=not lowest)
    word = "lowest" if lowest else "highest"
    return [replace(row, why=f"{word} {name}") for row in scored]


def _scores(dataset: Dataset, name: str, folder: Path | None) -> dict[str, float]:
    """Row id to number: of a dataset of scores, of a column, or of a key in `extra`."""
    found: dict[str, float] = {}
    if folder is not None:
        scores = open_dataset(folder)
        if scores.kind != "score":
            raise UserError(f"{folder} holds {scores.kind} rows, not scores", hint="name a dataset of scores")
        for frame in scores.matching(pl.col("name") == name):
            found.update(zip(frame["row_id"], frame["value"], strict=True))
    else:
        types = columns(dataset.kind)
        value = pl.col(name) if name in types and types[name].is_numeric() else _extra(name)
        for frame in dataset.batches():
            numbers = frame.select("id", value.cast(pl.Float64, strict=False).alias("value")).drop_nulls()
            found.update(zip(numbers["id"], numbers["value"], strict=True))
    return {row: number for row, number in found.items() if number == number}  # a NaN has no place in an order


def _extra(name: str) -> pl.Expr:
    def value(extra: str) -> float | None:
        try:
            held = orjson.loads(extra).get(name)
        except (orjson.JSONDecodeError, AttributeError):
            return None
        return float(held) if isinstance(held, (int, float)) and not isinstance(held, bool) else None

    return pl.col("extra").map_elements(value, return_dtype=pl.Float64)


# ── what is asked about a row ────────────────────────────────────────────────────────────────────────────────────────


def _answers_at_once(form: Form, rows: Sequence[_Row]) -> int:
    """How many answers are ranked at once: what most rows have, since a form cannot change from row to row."""
    if form.shows != "several":
        return 2
    counts = Counter(len(_distinct(row)) for row in rows)
    usable = Counter({min(count, MOST_ANSWERS): rows for count, rows in counts.items() if count >= 2})
    return max(usable, key=lambda count: (usable[count], count)) if usable else 2


def _distinct(row: _Row) -> list[int]:
    """Places of the answers that say something, and nothing that an earlier one says."""
    return [place for place, first in enumerate(row.same) if place == first and row.chars[place]]


def _asked(row: _Row, form: Form, k: int, choice: Choice, key: bytes, left_out: Counter[str]) -> Iterator[Asked]:
    distinct = _distinct(row)
    if form.shows == "row":
        shows: list[tuple[int, ...]] = [()]
    elif form.shows == "one":
        shows = [(place,) for place in distinct]
    else:
        count = 2 if form.shows == "two" else k
        few = "same_answers" if len(row.chars) >= count and sum(map(bool, row.chars)) >= count else "too_few_answers"
        if len(distinct) < count:
            left_out[few] += 1
            return
        sets = list(itertools.combinations(distinct, count)) if len(distinct) <= 12 else [tuple(distinct[:count])]
        sets.sort(key=lambda one: keyed(key, "set", row.id, str(one)))
        shows = sets[: choice.pairs if form.shows == "two" else 1]
    if not shows or (form.shows == "row" and not any(row.chars)):
        left_out["no_answer"] += 1
        return
    for shown in shows:
        id_ = item_id(form.name, row.id, row.hash, shown)
        order = in_order(shown, key, id_)
        chars = tuple(row.chars[place] for place in order) if shown else row.chars[:1]
        yield Asked(
            id_, row.id, row.hash, order, chars, row.source, row.why, choice.round, row.task, row.lang, row.score
        )


def _repeats(items: Sequence[Asked], share: float, key: bytes) -> list[Asked]:
    """A share of what is asked, asked once more with the answers the other way round: nobody should change sides."""
    plain = sorted((one for one in items if one.gold is None), key=lambda one: keyed(key, "repeat", one.id))
    again = []
    for one in plain[: round(share * len(items))]:
        id_ = keyed(b"asked", one.id, "repeat").hex()[:32]
        turned = replace(one, id=id_, shown=one.shown[::-1], repeat=True, why="repeat")
        again.append(replace(turned, chars=one.chars[::-1]))
    return again


def _mixed(items: Sequence[Asked], extras: Sequence[Asked], key: bytes) -> list[Asked]:
    """`extras` put among `items` at places that cannot be foreseen; the order of `items` stays."""
    count = len(items)
    places = [(place + 0.5, one) for place, one in enumerate(items)]
    drawn = [int.from_bytes(keyed(key, "place", one.id)[:6], "big") / 2**48 * count for one in extras]
    return [one for _, one in sorted([*places, *zip(drawn, extras, strict=True)], key=lambda pair: pair[0])]


# ── gold ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _share(gold: str | None) -> float | None:
    try:
        share = float(gold) if gold is not None else None
    except ValueError:
        return None
    if share is not None and not 0 < share <= 0.5:
        raise UserError(f"--gold {gold} is no share", hint="a number above 0 and up to 0.5, or a dataset")
    return share


def _gold(
    form: Form, gold: str | None, dataset: Dataset
) -> tuple[dict[tuple[str, tuple[int, ...]], str], Dataset | None]:
    """Known values of (row, answers shown) in the dataset itself, and a dataset of other rows with known answers."""
    if gold is None or _share(gold) is not None:
        return {}, None
    other = open_dataset(Path(gold))
    if other.kind != "label":
        if form.shows != "two" or other.kind not in form.kinds:
            raise UserError(
                f"{gold} holds {other.kind} rows, which say nothing about the form {form.name}",
                hint="give a dataset of labels on rows of the same dataset, as `review pull` writes them",
            )
        return {}, other
    values: dict[tuple[str, tuple[int, ...]], set[str]] = {}
    for frame in other.matching(pl.col("question") == form.decides.name):
        for row in frame.iter_rows(named=True):
            shown = tuple(sorted(orjson.loads(row["shown"]))) if row["shown"] else ()
            values.setdefault((row["row_id"], shown), set()).add(row["value"])
    known = {item: said.pop() for item, said in values.items() if len(said) == 1}
    if not known:
        raise UserError(
            f"{gold} has no undisputed answer to {form.decides.name!r}", hint="give labels of the same form"
        )
    return known, None


def _gold_by_share(
    items: list[Asked], best: Mapping[str, tuple[int, int] | None], share: float, form: Form, key: bytes
) -> list[Asked]:
    """`items` with the dataset's own verdict taken as known for a share of them, and what is asked there set to it."""
    usable = [one for one in items if form.shows == "two" and best.get(one.row_id) is not None]
    if not usable:
        raise UserError(
            "no row says itself which answer is right, so that none can be gold by share",
            hint="only pairs, and rows with ranks or scores, do: give --gold a dataset of labels instead",
        )
    usable.sort(key=lambda one: keyed(key, "gold", one.id))
    drawn: dict[str, Asked] = {}
    for one in usable[: max(1, round(share * len(items)))]:
        better, worse = best[one.row_id] or (0, 1)
        if set(one.shown) == {better, worse}:
            drawn[one.id] = replace(one, gold=str(better), why="gold")
    return [drawn.get(one.id, one) for one in items]


def _gold_rows(gold: Dataset, form: Form, chosen: Chosen, choice: Choice, key: bytes) -> list[Asked]:
    """Every row of a gold dataset as a thing asked, dressed as one of the others."""
    dress = chosen.items
    found = []
    for row in _rows(gold, form):
        if row.best is None:
            chosen.left_out["gold_without_verdict"] += 1
            continue
        id_ = item_id(form.name, row.id, row.hash, row.best)
        order = in_order(row.best, key, id_)
        chars = tuple(row.chars[place] for place in order)
        # A source or task of its own would give a gold row away to whoever filters by it.
        like = dress[int.from_bytes(keyed(key, "dress", id_)[:6], "big") % len(dress)]
        found.append(
            Asked(
                id_, row.id, row.hash, order, chars, row.source, "gold", choice.round, like.task, row.lang, like.score,
                str(row.best[0]),
            )
        )  # fmt: skip
    return found
