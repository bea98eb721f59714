"""Datasets without personal data: `curate scrub`, and `curate scrub --verify`."""

from __future__ import annotations

import hashlib
import html
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.importing import Made, import_files
from curate.marks import Step, mark, rehashed
from curate.personal_data.replace import Replacing
from curate.personal_data.surrogates import make_key, read_key
from curate.personal_data.telling import noted
from curate.read import Reading, find_rows
from curate.recipe import one_stage
from curate.running import HOME, DroppedExamples, link
from curate.stages.personal_data import PersonalData
from schemas.card import CROISSANT
from schemas.console import progress
from schemas.dataset import REJECTED, Dataset, DatasetWriter, Reject, Told, datasets_in, open_dataset, sha256_of
from schemas.errors import UserError
from schemas.manifest import InputFile, StepCount, fingerprint, library_versions
from schemas.rows import columns
from schemas.run import AlreadyDone, Run, run_into
from schemas.sources import Source

VERSION = 1
"""Raised whenever the same input and settings give another folder than before."""

KEY_FILE = HOME / "scrub.key"
"""Where the key is that is made when none is named; the next scrub from the same folder finds it there."""

_STAGE = "personal_data"
_LIBRARIES = ("assay", "polars", "pyarrow", "orjson", *PersonalData.libraries)
_BEFORE = "dropped_before"
"""Name of what dropped the rows that a dataset has in `dropped` already."""
_WORK = "work"
_AT_ONCE = 4096
_CUT_CHARS = 64
_MOST_LEFT = 1_000
_SOURCE_TEXTS = ("licence", "terms", "evidence", "consent")
_NO_SOURCE = "–"


def scrub(path: Path, out: Path, settings: Mapping[str, Any], *, replace: bool = False) -> Made:
    """Write what is at `path` to a new dataset without personal data: rows, dropped rows, rejected input, names,
    sources and history. `settings` are those of the stage `personal_data`; where they want surrogates and name no key,
    `KEY_FILE` is used, and made if it is not there.

    Nothing is written outside `out`, but for that key. Where files are scrubbed, a run that is killed leaves rows as
    they were in its temporary folder beside `out`, until the same command is run again. Raises UserError.
    """
    stage = _stage(settings)
    key_file = Path(stage.key_file) if stage.key_file is not None else None
    for read in (path, key_file):
        if read is not None and (_is_inside(read, out) or _is_inside(out, read)):
            raise UserError(
                f"{read} is read by this scrub, and {out} would be written into it or over it",
                hint="choose another --out: who gets it must get neither the key nor the rows as they were",
            )
    if key_file == KEY_FILE and not KEY_FILE.exists():
        make_key(KEY_FILE)
    found = _found_at(path)
    identity = {
        "command": "scrub",
        "version": [VERSION, stage.version],
        "input": found.identity,
        "settings": _told_settings(stage),
        "libraries": library_versions(stage.libraries),
    }
    fresh = fingerprint(identity)
    try:
        with run_into(out, fresh, replace=replace) as run:
            run.clear()
            try:
                _write(found, stage, run, fresh)
            except BaseException:
                run.clear()  # it may hold rows as they were
                raise
            run.publish()
    except AlreadyDone:
        return Made([open_dataset(one) for one in datasets_in(out)], already=True)
    return Made([open_dataset(one) for one in datasets_in(out)])


def scrub_settings(
    entities: Sequence[str] | None, names: bool, with_: str | None, key_file: Path | None
) -> dict[str, Any]:
    """Settings of the stage `personal_data` from what a person wrote; types may be joined by commas."""
    types = [one for several in entities or () for one in several.replace(",", " ").split()]
    given = {"entities": types or None, "with": with_, "key_file": str(key_file) if key_file is not None else None}
    return {"names": names} | {name: value for name, value in given.items() if value is not None}


def found_by_scrub(made: Made, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What scrubbing found: `personal_data` {type: n}, whether `names` were looked for, the `key_file` and the short
    name of the `key`."""
    types: Counter[str] = Counter()
    for dataset in made.datasets:
        types.update(dataset.manifest.recipe[_STAGE])
    told = made.datasets[0].manifest.recipe["scrub"]
    return {
        "personal_data": dict(types.most_common()),
        "names": told["names"],
        "key_file": _stage(settings).key_file,
        "key": told["key"],
    }


def _stage(settings: Mapping[str, Any]) -> PersonalData:
    given = dict(settings)
    if given.get("with") == "surrogate" and given.get("key_file") is None:
        given["key_file"] = str(KEY_FILE)
    (step,) = one_stage(_STAGE, given, "curate scrub").steps
    assert isinstance(step.stage, PersonalData)
    return step.stage


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _told_settings(stage: PersonalData) -> dict[str, Any]:
    """The stage's settings with a short name of the key, which tells nothing of it, in the place of where it is."""
    settings = stage.model_dump(mode="json", exclude={"key_file"})
    key = None
    if stage.key_file is not None:
        key = hashlib.sha256(b"name of the key\x00" + read_key(Path(stage.key_file))).hexdigest()[:16]
    return settings | {"key": key}


@dataclass(frozen=True)
class _Found:
    """What is scrubbed: datasets, or files of rows; and all of it that affects the result."""

    path: Path
    datasets: list[Dataset]
    identity: list[Any]


def _found_at(path: Path) -> _Found:
    datasets = [open_dataset(folder) for folder in datasets_in(path)]
    if not datasets:
        files = find_rows([path], Reading()).files
        return _Found(path, [], [[file.name, file.source, sha256_of(file.path)] for file in files])
    kinds = [one.kind for one in datasets]
    if len(set(kinds)) < len(kinds):
        listed = ", ".join(str(one.folder) for one in datasets)
        raise UserError(f"{path} holds several datasets", hint=f"scrub one at a time: {listed}")
    return _Found(path, datasets, [[one.kind, one.manifest.digest, one.manifest.fingerprint] for one in datasets])


def _write(found: _Found, stage: PersonalData, run: Run, mark_: str) -> None:
    datasets = found.datasets
    work = run.folder / _WORK
    if not datasets:
        datasets = import_files([found.path], work / "rows", Reading(), {"kind": "collect"}).datasets
    only = len(datasets) == 1
    for dataset in datasets:
        folder = run.folder if only else run.folder / dataset.kind
        name = run.out.name if only else f"{run.out.name}-{dataset.kind}"
        _Scrub(dataset, stage, folder, imported=not found.datasets).carry_out(name, mark_)
    shutil.rmtree(work, ignore_errors=True)


class _Scrub:
    """One dataset on its way into another."""

    def __init__(self, dataset: Dataset, stage: PersonalData, folder: Path, *, imported: bool) -> None:
        self.dataset = dataset
        self.stage = stage
        self.imported = imported
        self.notes: list[Mapping[str, Any]] = []
        self.edited = 0
        self.taken_out: Counter[str] = Counter()
        self.dropped_before: Counter[str] = Counter()
        self.sources = self._new_sources()
        self.examples = DroppedExamples(dataset.kind)
        self.writer = DatasetWriter(folder, dataset.kind, watch=self.examples.add)

    def carry_out(self, name: str, mark_: str) -> None:
        """Write everything that the dataset holds, and the manifest."""
        began = time.monotonic()
        old = self.dataset.manifest
        rows_in = self.dataset.rows + sum(part.rows for part in (*old.dropped, *old.rejected))
        try:
            with progress("scrub", rows_in) as shown:
                done = 0
                for rows in chain(self._rows(), self._dropped(), self._rejected()):
                    done += rows
                    shown.at(done, done)
            self.writer.close()
        except BaseException:
            self.writer.abandon()
            raise
        taken_over = self._taken_over(name)
        findings, report = self.stage.told(self.notes)
        seconds = round(time.monotonic() - began, 3)
        step = StepCount(
            step=_STAGE,
            use=_STAGE,
            rows_in=self.dataset.rows,
            dropped=dict(self.taken_out),
            edited=self.edited,
            seconds=seconds,
        )
        before = StepCount(
            step=_BEFORE,
            use=_BEFORE,
            rows_in=self.dataset.rows + self.dropped_before.total(),
            dropped=dict(sorted(self.dropped_before.items())),
        )
        manifest: dict[str, Any] = {
            "command": "scrub",
            "fingerprint": mark_,
            **taken_over,
            "recipe": {"scrub": _told_settings(self.stage), _STAGE: report["scrubbed"]["types"]},
            "steps": [before, step] if self.dropped_before else [step],
            "findings": findings,
            "versions": library_versions(_LIBRARIES),
            "seconds": {"scrub": seconds},
        }
        self.writer.finish(Told(rows_in, manifest, report={"examples": self.examples.found(), **report}))

    def _rows(self) -> Iterator[int]:
        for frame in self.dataset.batches():
            marked = mark(self._renamed(frame), self.dataset.kind, [Step(_STAGE, self.stage)])
            self.notes += marked.noted[_STAGE]
            self.edited += marked.edited.total()
            self.writer.add(marked.kept)
            for gone in marked.dropped:
                self.taken_out.update(dict(gone["reason"].value_counts().iter_rows()))
                self.writer.drop(gone)
            yield frame.height

    def _dropped(self) -> Iterator[int]:
        kind = self.dataset.kind
        for frame in map(self._renamed, self.dataset.dropped()):
            after, found = self.stage.replacing.rows(frame)
            after, _ = rehashed(frame, after, list(columns(kind)), kind)
            fields = ("dropped: " + pl.col("field")).alias("field")
            self.notes.append(noted(found.with_columns(fields), after["source"]))
            self.dropped_before.update(dict(after["reason"].value_counts().iter_rows()))
            self.writer.drop(after)
            yield frame.height

    def _rejected(self) -> Iterator[int]:
        records = self.dataset.rejected()
        while some := list(islice(records, _AT_ONCE)):
            files = self._texts("rejected: file", [str(one["file"]) for one in some], paths=True)
            details = self._texts("rejected: detail", [str(one["detail"]) for one in some])
            held = self._texts("rejected: held", [_without_cut_end(str(one["held"])) for one in some])
            for one, file, detail, text in zip(some, files, details, held, strict=True):
                self.writer.rejects.add(Reject(file, one["line"], one["reason"], detail, text))
            yield len(some)

    def _taken_over(self, name: str) -> dict[str, Any]:
        """What the manifest takes over from the old one."""
        old = self.dataset.manifest
        inputs = (
            old.inputs
            if self.imported
            else [InputFile(path=str(self.dataset.folder), fingerprint=old.fingerprint, rows=self.dataset.rows)]
        )
        names = self._texts("manifest", [name, *(one.path for one in inputs)], paths=True)
        (history,) = self._texts("manifest", [orjson.dumps([*old.chain, link(old)]).decode()], paths=True)
        return {
            "name": names[0],
            "inputs": [one.model_copy(update={"path": path}) for one, path in zip(inputs, names[1:], strict=True)],
            "chain": orjson.loads(history),
            "sources": {
                self.sources[given]: self._source(source)
                for given, source in old.sources.items()
                if self.sources[given] in self.writer.data.by_source
            },
        }

    def _source(self, source: Source) -> Source:
        said = {key: value for key in _SOURCE_TEXTS if (value := getattr(source, key)) is not None}
        new = dict(zip(said, self._texts("sources", list(said.values())), strict=True))
        if self.stage.names and self.stage.entities is None:
            new["personal_data"] = "scrubbed"
        return source.model_copy(update=new | {"name": self.sources[source.name]})

    def _new_sources(self) -> dict[str, str]:
        """Names of sources to new ones; no two become one."""
        old = list(self.dataset.manifest.sources)
        found: dict[str, str] = {}
        for given, new in zip(old, self._texts("sources", old, paths=True), strict=True):
            names = chain([new], (f"{new}-{number}" for number in count(2)))
            found[given] = next(name for name in names if name not in found.values())
        return found

    def _renamed(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.col("source").replace(self.sources))

    def _texts(self, name: str, texts: Sequence[str], *, paths: bool = False) -> list[str]:
        """The texts with what is found in them replaced, and noted under a name."""
        replaced = self.stage.replacing.texts(pl.Series(texts, dtype=pl.String), paths=paths)
        counted: Counter[str] = Counter()
        for text in texts:
            counted.update(replaced.found.get(text, {}))
        self.notes.append(
            {
                "rows": 0,
                "found": [[type_, name, _NO_SOURCE, values, 0] for type_, values in sorted(counted.items())],
                "examples": [[type_, name, said] for type_, some in replaced.examples.items() for _, said in some],
            }
        )
        return replaced.texts.to_list()


def _without_cut_end(held: str) -> str:
    """A rejected piece of input; where it was cut off, without the last word, which may be half of an identifier."""
    if not held.endswith("…"):
        return held
    end = max(held.rfind(char, -_CUT_CHARS) for char in " \t\n\"',;，。；：")
    return held[: end + 1 if end >= 0 else -_CUT_CHARS] + "…"


# ── verifying ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Left:
    """What is left in a folder: counts of all, and places of the first."""

    types: Counter[str] = field(default_factory=Counter)
    places: list[dict[str, Any]] = field(default_factory=list)

    def add(self, file: str, where: str, name: str, type_: str, number: int, example: str | None) -> None:
        self.types[type_] += number
        if len(self.places) < _MOST_LEFT:
            told = {"type": type_, "count": number, "file": file, "where": where, "field": name}
            self.places.append(told | {"excerpt": example or ""})


def verify_scrubbed(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Personal data that is left anywhere in a dataset's folder, surrogates, tags and masks not counted:
    `personal_data` {type: n}, and `left` [{type, count, file, where, field, excerpt}], its first places.

    Every file is read, whoever wrote it, and the names of all. `settings`: `entities`, `names`, `threshold`.
    """
    datasets = [open_dataset(folder) for folder in datasets_in(path)] or [open_dataset(path)]
    stage = _stage({name: settings[name] for name in ("entities", "names", "threshold") if name in settings})
    left = _Left()
    known = set()
    total = sum(one.rows for one in datasets)
    with progress("verify", total) as shown:
        done = 0
        for dataset in datasets:
            known |= {dataset.folder / part.path for part in _parts(dataset)}
            inside = dataset.folder.relative_to(path).as_posix()
            prefix = "" if inside == "." else f"{inside}/"
            for name, frames in (("data", dataset.batches()), ("dropped", dataset.dropped())):
                for frame in frames:
                    _, found = stage.replacing.rows(frame)
                    for row, column, type_, number, example in found.iter_rows():
                        left.add(f"{prefix}{name}/", f"row {frame['id'][row]}", column, type_, number, example)
                    done += frame.height if name == "data" else 0
                    shown.at(done, done)
            said = (
                (f"line {number}", str(record[one]))
                for number, record in enumerate(dataset.rejected(), 1)
                for one in ("file", "detail", "held")
            )
            _look(stage.replacing, said, left, f"{prefix}{REJECTED}", paths=True)
        for file in sorted(one for one in path.rglob("*") if one.is_file()):
            name = file.relative_to(path).as_posix()
            shown_name = str(stage.replacing.texts(pl.Series([name]), paths=True).texts[0])
            _look(stage.replacing, [("its name", name)], left, shown_name, paths=True)
            if file not in known:
                _look(stage.replacing, _texts_of(file), left, shown_name)
    return {
        "dataset": str(path),
        "rows": total,
        "names": stage.names,
        "personal_data": dict(left.types.most_common()),
        "left": left.places,
        "ok": not left.types,
    }


def _parts(dataset: Dataset) -> list[Any]:
    manifest = dataset.manifest
    return [*manifest.shards, *manifest.dropped, *manifest.rejected]


def _look(
    replacing: Replacing, texts: Iterable[tuple[str, str]], left: _Left, file: str, *, paths: bool = False
) -> None:
    """Add what is in some texts of a file, each with where it stands."""
    rest = iter(texts)
    while some := list(islice(rest, _AT_ONCE)):
        replaced = replacing.texts(pl.Series([text for _, text in some], dtype=pl.String), paths=paths)
        shown = {(type_, text): said for type_, known in replaced.examples.items() for text, said in known}
        for where, text in some:
            for type_, number in sorted(replaced.found.get(text, {}).items()):
                left.add(file, where, "", type_, number, shown.get((type_, text)))


_VOCABULARY = re.compile(r'"https?://(?:schema\.org/|mlcommons\.org/croissant/(?:RAI/|1\.0)?|purl\.org/dc/terms/)"')
"""Addresses that every Croissant description has."""
_NOT_TEXT = re.compile(r"<style\b.*?</style>|<[^>]*>", re.DOTALL)


def _texts_of(file: Path) -> Iterator[tuple[str, str]]:
    """What a file says, in pieces, each with where it stands: JSON whole, of HTML what is shown, else by lines."""
    text = file.read_bytes().decode("utf-8", "replace")
    if file.suffix == ".json":
        yield "", _VOCABULARY.sub('""', text) if file.name == CROISSANT else text
        return
    if file.suffix == ".html":
        text = html.unescape(_NOT_TEXT.sub("\n", text))
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}", line
