"""Looking into datasets: what they hold, a row's whole way, and what differs between two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.cutting import cut_parts
from curate.marks import Step, mark, with_fields
from curate.stage import FIELD_PREFIX, Compare, Stage
from schemas.dataset import Dataset, datasets_in, open_dataset
from schemas.errors import DatasetError, UserError, nearest
from schemas.excerpt import excerpt
from schemas.lookup import find
from schemas.manifest import InputFile
from schemas.rows import columns, content_columns

_SHOWN_CUTS = 5
_SHOWN_CHARS = 400


def look(path: Path, *, dropped: str | None = None, rejected: bool = False, limit: int = 10) -> dict[str, Any]:
    """What a dataset holds, with some of its rows, or of its dropped rows, or of its rejected input."""
    folders = datasets_in(path)
    dataset = open_dataset(path if len(folders) < 2 else _largest(folders))
    manifest = dataset.manifest
    found: dict[str, Any] = {
        "dataset": str(dataset.folder),
        "others": [str(folder) for folder in folders if folder != dataset.folder],
        "name": manifest.name,
        "command": manifest.command,
        "kind": manifest.kind,
        "counts": manifest.counts.model_dump(),
        "sources": [
            source.model_dump() | {"rows": manifest.rows_by_source.get(name, 0)}
            for name, source in manifest.sources.items()
        ],
        "steps": [step.model_dump() for step in manifest.steps],
        "inputs": [one.model_dump() for one in manifest.inputs],
        "findings": manifest.findings,
        "fingerprint": manifest.fingerprint,
        "created": manifest.created,
    }
    if rejected:
        found["showing"] = "rejected"
        found["rejected"] = [
            {**record, "detail": excerpt(record["detail"]), "held": excerpt(record["held"], _SHOWN_CHARS)}
            for record, _ in zip(dataset.rejected(), range(limit), strict=False)
        ]
    elif dropped is not None:
        known = {*manifest.counts.dropped, *(step.step for step in manifest.steps if step.dropped)}
        if dropped not in known and dropped != "all":
            raise UserError(
                f"no row of {path} was dropped for {dropped!r}",
                hint=nearest(dropped, known) if known else "no row was dropped at all",
            )
        found["showing"] = f"dropped for {dropped}" if dropped != "all" else "dropped"
        found["rows"] = list(_shown(_dropped_rows(dataset, dropped), dataset.kind, limit))
    else:
        found["showing"] = "rows"
        found["rows"] = list(_shown(dataset.batches(), dataset.kind, limit))
    return found


def _largest(folders: list[Path]) -> Path:
    return max(folders, key=lambda folder: open_dataset(folder).rows)


def _dropped_rows(dataset: Dataset, reason: str) -> Iterator[pl.DataFrame]:
    for frame in dataset.dropped():
        yield frame if reason == "all" else frame.filter((pl.col("reason") == reason) | (pl.col("stage") == reason))


def _shown(frames: Iterator[pl.DataFrame], kind: str, limit: int) -> Iterator[dict[str, Any]]:
    left = limit
    for frame in frames:
        for row in frame.head(left).iter_rows(named=True):
            yield shown_row(row, kind)
        left -= min(left, frame.height)
        if not left:
            return


def shown_row(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """A row as it may be shown: every piece an excerpt."""
    turns = []
    for name in content_columns(kind):
        value = row.get(name)
        if value is None:
            continue
        if isinstance(value, list) and name != "answers":
            turns += [(name if name != "messages" else turn["role"], _said(turn)) for turn in value]
        elif name == "answers":
            turns += [
                (f"answer {number}", _said(turn)) for number, one in enumerate(value, 1) for turn in one["messages"]
            ]
        else:
            turns.append((name, excerpt(value, _SHOWN_CHARS)))
    found: dict[str, Any] = {
        "id": row["id"],
        "where": where_of(row),
        "source": excerpt(row["source"], 80),
        "task": excerpt(row["task"], 80) if row["task"] else None,
        "lang": excerpt(row["lang"], 20) if row["lang"] else None,
        "turns": [{"who": who, "text": text} for who, text in turns],
    }
    if "reason" in row:
        found |= {
            "step": row["stage"],
            "reason": row["reason"],
            "because": excerpt(row["because"]) if row["because"] else "",
        }
    return found


def _said(turn: dict[str, Any]) -> str:
    said = excerpt(turn["content"], _SHOWN_CHARS) if turn.get("content") is not None else ""
    if turn.get("tool_calls"):
        said = f"{said} [calls {excerpt(turn['tool_calls'], 160)}]".strip()
    return said


def where_of(row: dict[str, Any]) -> str:
    """Where a row came from, as people write it: file:line (part)."""
    origin = row["origin"] or {}
    where = str(origin.get("file") or "?")
    if origin.get("line") is not None:
        where += f":{origin['line']}"
    if origin.get("part"):
        where += f" ({origin['part']})"
    return excerpt(where, 200)


@dataclass(frozen=True)
class _Place:
    """A row found in a dataset."""

    dataset: Dataset
    row: pl.DataFrame
    dropped: bool


def trace(path: Path, name: str) -> dict[str, Any]:
    """A row's whole way through the datasets that led to `path`. `name`: its id or the id's beginning, the user's own
    id of it, or FILE:LINE. Raises UserError when there is none, or several."""
    datasets = [open_dataset(one) for one in datasets_in(path)] or [open_dataset(path)]
    for dataset in datasets:
        place = _find(dataset, name)
        if place is not None:
            return _traced(place)
    for dataset in datasets:
        for ancestor in _ancestors(dataset):
            place = _find(ancestor, name)
            if place is not None:
                return _traced(place)
        rejected = _rejected(dataset, name)
        if rejected is not None:
            return rejected
    raise UserError(
        f"there is no row {name!r} in {path}, nor among what was dropped or rejected on the way to it",
        hint="give an id from `curate show`, your own id of the row, or FILE:LINE",
    )


def _matches(name: str) -> pl.Expr:
    file, colon, line = name.rpartition(":")
    wanted = (pl.col("id") == name) | (pl.col("external_id") == name)
    if len(name) >= 6:
        wanted |= pl.col("id").str.starts_with(name.lower())
    if colon and line.isdigit():
        origin = pl.col("origin").struct
        wanted |= (origin.field("line") == int(line)) & (
            (origin.field("file") == file) | origin.field("file").str.ends_with("/" + file)
        )
    return wanted


def _find(dataset: Dataset, name: str) -> _Place | None:
    """The row of that name in a dataset: the kept one where an equal row of another input was dropped, the first copy
    where a mix repeats it. Raises UserError when the name fits several rows."""
    wanted = _matches(name)
    hits = [(frame, False) for frame in dataset.matching(wanted)]
    hits += [(frame.filter(wanted), True) for frame in dataset.dropped()]
    found: dict[str, _Place] = {}
    for frame, dropped in hits:
        for number, row_id in enumerate(frame["id"]):
            found.setdefault(row_id, _Place(dataset, frame[number : number + 1], dropped))
    if name in found:
        return found[name]
    if len(found) > 1:
        some = list(found.items())[:5]
        listed = ", ".join(f"{row_id} ({where_of(place.row.row(0, named=True))})" for row_id, place in some)
        raise UserError(f"{len(found)} rows of {dataset.folder} are {name!r}", hint=f"name one of them: {listed}")
    return next(iter(found.values()), None)


def _rejected(dataset: Dataset, name: str) -> dict[str, Any] | None:
    file, colon, line = name.rpartition(":")
    for one in (dataset, *_ancestors(dataset)):
        for record in one.rejected():
            if (
                colon
                and str(record["line"]) == line
                and (record["file"] == file or record["file"].endswith("/" + file))
            ):
                return {
                    "id": None,
                    "where": name,
                    "fate": "rejected",
                    "in": str(one.folder),
                    "way": [
                        {
                            "dataset": str(one.folder),
                            "command": one.manifest.command,
                            "step": "read",
                            "verdict": "rejected",
                            "reason": record["reason"],
                            "because": excerpt(record["detail"]),
                        }
                    ],
                    "row": {"turns": [{"who": "held", "text": excerpt(record["held"], _SHOWN_CHARS)}]},
                    "missing": [],
                }
    return None


def _ancestors(dataset: Dataset) -> list[Dataset]:
    """The datasets this one was made from that can still be found, nearest first."""
    found: list[Dataset] = []
    for one in _inputs(dataset):
        parent = _input_dataset(dataset, one.path, one.fingerprint)
        if parent is not None:
            found += [parent, *_ancestors(parent)]
    return found


def _inputs(dataset: Dataset) -> list[InputFile]:
    """What the dataset was made from, where that is datasets."""
    return dataset.manifest.inputs if dataset.manifest.command not in ("import", "collect") else []


def _input_dataset(dataset: Dataset, path: str, fingerprint: str) -> Dataset | None:
    for candidate in (Path(path), dataset.folder.parent / path, dataset.folder.parent / Path(path).name):
        try:
            parent = open_dataset(candidate)
        except (DatasetError, OSError):
            continue
        if parent.manifest.fingerprint == fingerprint:
            return parent
    return None


def _traced(place: _Place) -> dict[str, Any]:
    way = _way(place.dataset, place.row["id"][0], place)
    missing = [
        one.path
        for dataset in (place.dataset, *_ancestors(place.dataset))
        for one in _inputs(dataset)
        if one.bytes is None and _input_dataset(dataset, one.path, one.fingerprint) is None  # else it is a file
    ]
    row = place.row.row(0, named=True)
    return {
        "id": row["id"],
        "external_id": excerpt(row["external_id"], 80) if row["external_id"] else None,
        "where": where_of(row),
        "fate": "dropped" if place.dropped else "kept",
        "in": str(place.dataset.folder),
        "way": way,
        "row": shown_row(row, place.dataset.kind),
        "missing": missing,
    }


def _way(dataset: Dataset, row_id: str, here: _Place | None = None) -> list[dict[str, Any]]:
    """Each verdict on a row, oldest first, up to and with what `dataset` says of it."""
    place = here or _find(dataset, row_id)
    if place is None:
        return []
    manifest = dataset.manifest
    before: list[dict[str, Any]] = []
    origin: pl.DataFrame | None = None
    for one in _inputs(dataset):
        parent = _input_dataset(dataset, one.path, one.fingerprint)
        found = _find(parent, row_id) if parent is not None else None
        if parent is not None and found is not None and not found.dropped:
            before, origin = _way(parent, row_id, found), found.row
            break
    if manifest.command != "run":
        row = place.row.row(0, named=True)
        file = next(
            (one for one in manifest.inputs if Path(one.path).name == Path(str(row["origin"]["file"])).name), None
        )
        return [
            *before,
            {
                "dataset": str(dataset.folder),
                "command": manifest.command,
                "step": "read",
                "verdict": "made" if manifest.command == "collect" else "read",
                "reason": None,
                "because": where_of(row) + (f", {file.format}" if file is not None and file.format else ""),
            },
        ]
    return before + _verdicts(place, origin)


def _verdicts(place: _Place, origin: pl.DataFrame | None) -> list[dict[str, Any]]:
    """What each step of a run made of a row. Filters and edits are done again on the row as it was before."""
    manifest = place.dataset.manifest
    final = place.row.row(0, named=True)
    current = origin
    found: list[dict[str, Any]] = []

    def say(step: str, verdict: str, reason: str | None = None, because: str = "") -> None:
        entry = {"dataset": str(place.dataset.folder), "command": "run", "step": step, "verdict": verdict}
        found.append(entry | {"reason": reason, "because": because})

    entries = manifest.recipe.get("stages", [])
    for step, entry in zip([one for one in manifest.steps if one.use != "inputs"], entries, strict=False):
        if place.dropped and final["stage"] in (step.step, "inputs"):
            say(final["stage"], "dropped", final["reason"], _because(place, final["because"]))
            break
        verdict, because = "kept", ""
        if step.edited and _compares(entry):
            later = manifest.steps[manifest.steps.index(step) + 1 :]
            current, verdict, because = _cut(current, place, any(one.edited for one in later))
        elif current is not None:
            current, verdict, because = _again(current, place.dataset.kind, step.step, entry)
        elif step.edited:
            verdict = "kept (perhaps rewritten: the dataset before this run was not found)"
        say(step.step, verdict, None, because)
    return found


def _again(row: pl.DataFrame, kind: str, name: str, entry: dict[str, Any]) -> tuple[pl.DataFrame | None, str, str]:
    """Carry out one step on a row that it kept: the row after it, the verdict, and what was rewritten."""
    if str(entry.get("use")).endswith(".py"):
        # A manifest may come from anywhere; what it names is not run.
        return None, "kept", "a stage in a file of its own is not carried out again"
    try:
        cls = find("curate.stages", entry["use"], Stage)
        stage = cls.model_validate({key: value for key, value in entry.items() if key not in ("use", "name")})
    except (UserError, ValueError):
        return None, "kept", "the stage is not there any more"
    if isinstance(stage, Compare):
        return row, "kept", "compared with the other rows"
    before = row.select(list(columns(kind)))
    try:
        after = mark(before, kind, [Step(name, stage)]).kept
    except UserError as error:
        return None, "kept", f"cannot be carried out again: {excerpt(error.message)}"
    if after.is_empty():
        return None, "kept", "the stage has changed since: it would drop the row now"
    changed = [
        column
        for column in columns(kind)
        if column != "content_hash" and bool(after[column].ne_missing(before[column]).any())
    ]
    if not changed:
        return after, "kept", ""
    told = []
    for column in changed:
        old, new = before[column][0], after[column][0]
        told.append(
            f"{column}: {excerpt(old, 40)} → {excerpt(new, 40)}"
            if not isinstance(new, pl.Series)
            else f"{column} rewritten"
        )
    return after, "rewritten", "; ".join(told)


def _compares(entry: dict[str, Any]) -> bool:
    """Whether a step of a recipe is a Compare that ships."""
    if str(entry.get("use")).endswith(".py"):
        return False
    try:
        return issubclass(find("curate.stages", entry["use"], Stage), Compare)
    except UserError:
        return False


def _cut(row: pl.DataFrame | None, place: _Place, rewritten_later: bool) -> tuple[pl.DataFrame | None, str, str]:
    """What a Compare that cuts made of a row: the row after it, as it is in the end where nothing rewrote it later."""
    if row is None or rewritten_later:
        return None, "kept (perhaps cut: what later steps rewrote cannot be told from it)", ""
    if row["content_hash"][0] == place.row["content_hash"][0]:
        return row, "kept", "compared with the other rows"
    parts = cut_parts(row.row(0, named=True), place.row.row(0, named=True), place.dataset.kind)
    told = "; ".join(f"“{excerpt(part, 120)}”" for part in parts[:_SHOWN_CUTS]) + ("; …" if parts[_SHOWN_CUTS:] else "")
    after = place.row.select(list(columns(place.dataset.kind)))
    return after, "rewritten", f"cut out, because other rows hold it too: {told}"


def _because(place: _Place, because: str | None) -> str:
    """What a dropped row's mark says; the row that was kept instead is shown with it."""
    if not because:
        return ""
    try:
        said = orjson.loads(because)
    except orjson.JSONDecodeError:
        return excerpt(because)
    kept = said.get("kept") if isinstance(said, dict) else None
    if not isinstance(kept, str):
        return excerpt(because)
    twin = _find(place.dataset, kept)
    told = f"like {kept}"
    if isinstance(said.get("similarity"), float):
        told += f" (similarity {said['similarity']:.3f})"
    if twin is not None:
        row = twin.row.row(0, named=True)
        field = FIELD_PREFIX + "conversation"
        text = with_fields(twin.row, place.dataset.kind, [pl.col(field)])[field][0]
        told += f" at {where_of(row)}, which was {'dropped later' if twin.dropped else 'kept'}: {excerpt(text, 100)}"
    return told


def difference(a: Path, b: Path, *, limit: int = 5) -> dict[str, Any]:
    """Rows that were added, removed and changed from dataset `a` to dataset `b`, told apart by id."""
    one, two = open_dataset(a), open_dataset(b)
    if one.kind != two.kind:
        raise UserError(f"{a} holds {one.kind} rows and {b} holds {two.kind} rows", hint="compare datasets of one kind")
    key = ["id", "copy"]
    narrow = [*key, "content_hash", "source", "task", "lang", "split"]
    nothing = pl.DataFrame(schema={name: columns(one.kind)[name] for name in narrow})
    left, right = (pl.concat([nothing, *dataset.batches(narrow)]) for dataset in (one, two))
    added = right.join(left, on=key, how="anti")
    removed = left.join(right, on=key, how="anti")
    added, removed, elsewhere = _without_same_content(added, removed)
    both = left.join(right, on=key, how="inner", suffix="_b")
    rewritten = both.filter(pl.col("content_hash") != pl.col("content_hash_b"))
    moved = {
        name: both.filter(pl.col(name).ne_missing(pl.col(f"{name}_b"))).height for name in ("task", "lang", "split")
    }
    gone = _reasons(two, set(removed["id"]))
    return {
        "a": {"dataset": str(a), "rows": one.rows, "digest": one.manifest.digest},
        "b": {"dataset": str(b), "rows": two.rows, "digest": two.manifest.digest},
        "same": one.manifest.digest == two.manifest.digest,
        "rows": {
            "added": added.height,
            "removed": removed.height,
            "changed": rewritten.height,
            "unchanged": both.height - rewritten.height,
            "same_content": elsewhere,
        },
        "columns_changed": {name: rows for name, rows in moved.items() if rows},
        "removed_by_reason": gone,
        "by_source": _by(left, right, "source"),
        "by_task": _by(left, right, "task"),
        "by_language": _by(left, right, "lang"),
        "examples": {
            "added": _some(two, added["id"].head(limit).to_list()),
            "removed": _some(one, removed["id"].head(limit).to_list()),
            "changed": [
                {"before": before, "after": after}
                for before, after in zip(
                    _some(one, rewritten["id"].head(limit).to_list()),
                    _some(two, rewritten["id"].head(limit).to_list()),
                    strict=True,
                )
            ],
        },
    }


def _without_same_content(added: pl.DataFrame, removed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """The rows that are really new or gone, and how many are the same under another id, as after an export and an
    import: their source has another name."""
    place = pl.int_range(pl.len()).over("content_hash").alias("place")
    added, removed = added.with_columns(place), removed.with_columns(place)
    key = ["content_hash", "place"]
    new, gone = added.join(removed, on=key, how="anti"), removed.join(added, on=key, how="anti")
    return new.drop("place"), gone.drop("place"), added.height - new.height


def _reasons(dataset: Dataset, removed: set[str]) -> dict[str, int]:
    """Why the dataset, or one on the way to it, dropped the rows that are gone."""
    left = pl.DataFrame({"id": list(removed)}, schema={"id": pl.String})
    counts: Counter[str] = Counter()
    for one in (dataset, *_ancestors(dataset)):
        for frame in one.dropped():
            hits = frame.select("id", "reason").join(left, on="id", how="semi")
            counts.update(dict(hits["reason"].value_counts().iter_rows()))
            left = left.join(hits, on="id", how="anti")
    if left.height:
        counts["not in it"] = left.height
    return dict(counts.most_common())


def _by(left: pl.DataFrame, right: pl.DataFrame, name: str) -> dict[str, dict[str, int]]:
    before, after = (Counter(dict(frame[name].value_counts().iter_rows())) for frame in (left, right))
    keys = sorted(set(before) | set(after), key=lambda key: -max(before[key], after[key]))[:30]
    return {excerpt(key, 80) if key is not None else "–": {"a": before[key], "b": after[key]} for key in keys}


def _some(dataset: Dataset, ids: list[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for frame in dataset.batches() if ids else ():
        for row in frame.filter(pl.col("id").is_in(ids)).iter_rows(named=True):
            found[row["id"]] = shown_row(row, dataset.kind)
        if len(found) == len(ids):
            break
    return [found[one] for one in ids if one in found]
