"""Datasets without personal data: `curate scrub`, and `curate scrub --verify`."""

from __future__ import annotations

import hashlib
import html
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from pydantic import ValidationError

from curate.files import InputFile as RowFile
from curate.importing import Made
from curate.marks import Step, mark, rehashed
from curate.new_ids import NewIds
from curate.personal_data.replace import Keys, Replaced, Replacing
from curate.personal_data.surrogates import make_key, read_key
from curate.personal_data.telling import noted
from curate.read import Piece, Reading, file_encoding, find_rows, is_large, read_files
from curate.recipe import one_stage
from curate.running import DroppedExamples, link
from curate.stages.personal_data import PersonalData
from curate.workers import Workers
from schemas.card import CARD, CROISSANT
from schemas.console import progress
from schemas.dataset import (
    REJECTED,
    REPORT_JSON,
    Dataset,
    DatasetWriter,
    Reject,
    RejectSink,
    Told,
    datasets_in,
    open_dataset,
    sha256_of,
)
from schemas.egress import HOME
from schemas.errors import UserError
from schemas.excerpt import excerpt
from schemas.manifest import MANIFEST, StepCount, fingerprint, library_versions
from schemas.manifest import InputFile as ReadFile
from schemas.rows import columns
from schemas.run import AlreadyDone, Run, run_into
from schemas.sources import Source

VERSION = 2
"""Raised whenever the same input and settings give another folder than before."""

KEY_FILE = HOME / "scrub.key"
"""Where the key is that is made when none is named; the next scrub from the same folder finds it there."""

_STAGE = "personal_data"
_LIBRARIES = ("assay", "polars", "pyarrow", "orjson", *PersonalData.libraries)
_BEFORE = "dropped_before"
"""Name of what dropped the rows that a dataset has in `dropped` already."""
_AT_ONCE = 4096
_CUT_CHARS = 64
_MOST_LEFT = 1_000
_SOURCE_TEXTS = ("licence", "terms", "evidence", "consent")
_NO_SOURCE = "–"
_SOURCE_CHARS = 180


def scrub(path: Path, out: Path, settings: Mapping[str, Any], *, keep_ids: bool = False, replace: bool = False) -> Made:
    """Write what is at `path` to a new dataset without personal data: rows, dropped rows, rejected input, names,
    sources and history. `settings` are those of the stage `personal_data`.

    Rows get new ids under the key, as `curate.new_ids` says, unless `keep_ids`; what the history has of hashes over
    all rows does too. Where no key is named `KEY_FILE` is used, and made if it is not there.

    Nothing is written outside `out`, but for that key. Rows as they were are nowhere written, not even for a moment, so
    that a kill leaves none (a packed table alone is unpacked beside the system's other temporary files, for its owner).
    Raises UserError.
    """
    how = _how(settings, keep_ids)
    for read in (path, how.key_file):
        if read is not None and (_is_inside(read, out) or _is_inside(out, read)):
            raise UserError(
                f"{read} is read by this scrub, and {out} would be written into it or over it",
                hint="choose another --out: who gets it must get neither the key nor the rows as they were",
            )
    found = _found_at(path)
    key = _key(how)
    ids = NewIds(key) if key is not None and not keep_ids else None
    identity = {
        "command": "scrub",
        "version": [VERSION, how.stage.version],
        "input": found.identity,
        "settings": _told_settings(how, key),
        "libraries": library_versions(how.stage.libraries),
    }
    fresh = fingerprint(identity)
    fresh = fresh if ids is None else ids.of(fresh, len(fresh))
    job = _Job(how.stage, ids, _told_settings(how, key), fresh)
    try:
        with run_into(out, fresh, replace=replace) as run:
            run.clear()
            try:
                if found.datasets:
                    _scrub_datasets(found.datasets, job, run)
                else:
                    _scrub_files(found, job, run)
            except BaseException:
                run.clear()  # what is cut off is done again from the beginning
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
    """What scrubbing found: `personal_data` {type: n}, whether `names` were looked for, whether `ids` are new or kept,
    the `key_file` and the short name of the `key`."""
    types: Counter[str] = Counter()
    for dataset in made.datasets:
        types.update(dataset.manifest.recipe[_STAGE])
    told = made.datasets[0].manifest.recipe["scrub"]
    return {
        "personal_data": dict(types.most_common()),
        "names": told["names"],
        "ids": told["ids"],
        "key_file": str(settings.get("key_file") or KEY_FILE) if told["key"] else None,
        "key": told["key"],
    }


@dataclass(frozen=True)
class _How:
    """What a person asked for."""

    stage: PersonalData
    keep_ids: bool
    key_file: Path | None
    """None where nothing needs a key."""


def _how(settings: Mapping[str, Any], keep_ids: bool) -> _How:
    given = dict(settings)
    key_file = given.pop("key_file", None)
    with_surrogates = given.get("with") == "surrogate"
    if key_file is None and (with_surrogates or not keep_ids):
        key_file = KEY_FILE
    stage = _stage(given | ({"key_file": str(key_file)} if with_surrogates else {}))
    return _How(stage, keep_ids, Path(key_file) if key_file is not None else None)


def _stage(settings: Mapping[str, Any]) -> PersonalData:
    (step,) = one_stage(_STAGE, settings, "curate scrub").steps
    assert isinstance(step.stage, PersonalData)
    return step.stage.in_one_order()


def _key(how: _How) -> bytes | None:
    """The key, made where none was named and there is none yet."""
    if how.key_file is None:
        return None
    if how.key_file == KEY_FILE:
        try:
            make_key(KEY_FILE)
        except FileExistsError:
            pass
        except OSError as error:
            raise UserError(
                f"the key {KEY_FILE} cannot be made: {error.strerror}",
                hint="give a key with --key-file, or run in a folder that you may write to",
            ) from None
    return read_key(how.key_file)


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _told_settings(how: _How, key: bytes | None) -> dict[str, Any]:
    """The stage's settings with a short name of the key, which tells nothing of it, in the place of where it is."""
    settings = how.stage.model_dump(mode="json", exclude={"key_file"})
    name = None if key is None else hashlib.sha256(b"name of the key\x00" + key).hexdigest()[:16]
    return settings | {"key": name, "ids": "kept" if how.keep_ids else "new"}


@dataclass(frozen=True)
class _Found:
    """What is scrubbed: datasets, or files of rows; and all of it that affects the result."""

    path: Path
    datasets: list[Dataset]
    identity: list[Any]
    files: list[RowFile] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    stamps: list[tuple[int, int]] = field(default_factory=list)
    """Size and time of last change of each file, before it was first read."""


def _found_at(path: Path) -> _Found:
    datasets = [open_dataset(folder) for folder in datasets_in(path)]
    if not datasets:
        files = find_rows([path], Reading()).files
        stamps = [_stamp(file.path) for file in files]
        hashes = [sha256_of(file.path) for file in files]
        names = [[file.name, file.source] for file in files]
        identity = [[*name, known] for name, known in zip(names, hashes, strict=True)]
        return _Found(path, [], identity, files, hashes, stamps)
    kinds = [one.kind for one in datasets]
    if len(set(kinds)) < len(kinds):
        listed = ", ".join(str(one.folder) for one in datasets)
        raise UserError(f"{path} holds several datasets", hint=f"scrub one at a time: {listed}")
    return _Found(path, datasets, [[one.kind, one.manifest.digest, one.manifest.fingerprint] for one in datasets])


def _stamp(path: Path) -> tuple[int, int]:
    try:
        str(path).encode()
        found = path.stat()
        path.open("rb").close()
    except UnicodeEncodeError:
        raise UserError(f"the name of {excerpt(str(path))} is not valid UTF-8", hint="rename the file") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}", hint="check that it is there, and yours to read"
        ) from error
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class _Job:
    """What one scrub does with everything it reads."""

    stage: PersonalData
    ids: NewIds | None
    """None where ids are kept."""
    settings: dict[str, Any]
    fingerprint: str

    def texts(
        self, name: str, texts: Sequence[str], notes: list[Mapping[str, Any]], *, paths: bool = False
    ) -> list[str]:
        """The texts with what is found in them replaced, and noted under a name."""
        replaced = self.stage.replacing.texts(pl.Series(texts, dtype=pl.String), paths=paths)
        counted: Counter[str] = Counter()
        for text in texts:
            counted.update(replaced.found.get(text, {}))
        notes.append(
            {
                "rows": 0,
                "found": [[type_, name, _NO_SOURCE, values, 0] for type_, values in sorted(counted.items())],
                "examples": [[type_, name, said] for type_, some in replaced.examples.items() for _, said in some],
            }
        )
        return replaced.texts.to_list()

    def rejects(self, some: Sequence[Mapping[str, Any]], sink: RejectSink, notes: list[Mapping[str, Any]]) -> None:
        """Write rejected input, given as `Reject.as_json` has it, without what is found in it."""
        files = self.texts("rejected: file", [str(one["file"]) for one in some], notes, paths=True)
        details = self.texts("rejected: detail", [str(one["detail"]) for one in some], notes)
        held = self.texts("rejected: held", [_without_cut_end(str(one["held"])) for one in some], notes)
        for one, file, detail, text in zip(some, files, details, held, strict=True):
            sink.add(Reject(file, one["line"], one["reason"], detail, text))

    def history(self, said: list[Any]) -> list[Any]:
        """Part of a manifest without hashes that tell what all rows said together."""
        return said if self.ids is None else [self.ids.history(one) for one in said]


def _scrub_datasets(datasets: Sequence[Dataset], job: _Job, run: Run) -> None:
    for dataset in datasets:
        only = len(datasets) == 1
        folder = run.folder if only else run.folder / dataset.kind
        old = dataset.manifest
        scrub = _Scrub(dataset.kind, job, folder, list(old.sources))
        rows_in = dataset.rows + sum(part.rows for part in (*old.dropped, *old.rejected))
        with scrub.writing(), progress("scrub", rows_in) as shown:
            done = 0
            for frames, add in ((dataset.batches(), scrub.add), (dataset.dropped(), scrub.add_dropped)):
                for frame in frames:
                    add(frame)
                    done += frame.height
                    shown.at(done, done)
            records = dataset.rejected()
            while some := list(islice(records, _AT_ONCE)):
                scrub.reject(some)
                done += len(some)
                shown.at(done, done)
        given = ReadFile(path=str(dataset.folder), fingerprint=old.fingerprint, rows=dataset.rows)
        name = run.out.name if only else f"{run.out.name}-{dataset.kind}"
        scrub.finish(name, [given], [*old.chain, link(old)], old.sources)


def _scrub_files(found: _Found, job: _Job, run: Run) -> None:
    """Scrub files as they are read: a row is written only when nothing is left in it."""
    scrubs: dict[str, _Scrub] = {}
    loose = RejectSink(run.folder / "rejected.part")
    notes: list[Mapping[str, Any]] = []
    rows: Counter[tuple[str, str]] = Counter()
    formats: dict[str, Counter[str]] = {}
    sources = {file.source: _collected(file.source) for file in found.files}
    sizes = [size for size, _ in found.stamps]
    begins = dict(zip((file.name for file in found.files), accumulate(sizes, initial=0), strict=False))
    with ExitStack() as writing, Workers() as workers, progress("scrub", sum(sizes)) as shown:
        writing.callback(loose.close)
        if any(map(is_large, found.files)):
            workers.start()
        for piece in read_files(found.files, Reading(), workers):
            if piece.kind is not None and piece.frame is not None and piece.frame.height:
                if piece.kind not in scrubs:
                    scrubs[piece.kind] = _Scrub(piece.kind, job, run.folder / piece.kind, list(sources))
                    writing.enter_context(scrubs[piece.kind].writing())
                scrubs[piece.kind].add(piece.frame)
                rows[piece.file.name, piece.kind] += piece.frame.height
            formats.setdefault(piece.file.name, Counter()).update(piece.formats)
            _reject(piece, scrubs, job, loose, notes)
            shown.at(begins[piece.file.name] + piece.bytes_read, sum(rows.values()), "scrub")
        if not scrubs:
            raise _nothing_usable(found.path, loose)
        first = max(scrubs.values(), key=lambda scrub: scrub.writer.data.rows)
        first.notes += notes
        first.writer.rejects.take(loose)
    if [_stamp(file.path) for file in found.files] != found.stamps:
        raise UserError(f"{found.path} changed while it was read", hint="run the same command again")
    only = len(scrubs) == 1
    if only:
        for path in list(first.writer.folder.iterdir()):
            path.rename(run.folder / path.name)
        first.writer.folder.rmdir()
    for kind, scrub in scrubs.items():
        inputs = [
            ReadFile(
                path=str(file.path),
                fingerprint=known,
                bytes=size,
                rows=rows[file.name, kind],
                format=", ".join(form for form, _ in formats.get(file.name, Counter()).most_common()) or None,
                encoding=file_encoding(file),
            )
            for file, known, size in zip(found.files, found.hashes, sizes, strict=True)
            if rows[file.name, kind] or only
        ]
        name = run.out.name if only else f"{run.out.name}-{kind}"
        scrub.finish(name, inputs, [], sources, run.folder if only else run.folder / kind)


def _collected(name: str) -> Source:
    try:
        return Source(name=name, kind="collect")
    except ValidationError:
        raise UserError(
            f"the file name {excerpt(name, 60)!r} cannot name a source",
            hint="rename the file, or import it with --source",
        ) from None


def _reject(
    piece: Piece, scrubs: Mapping[str, _Scrub], job: _Job, loose: RejectSink, notes: list[Mapping[str, Any]]
) -> None:
    if not piece.rejects:
        return
    some = [one.as_json() for one in piece.rejects]
    scrub_ = scrubs.get(piece.kind or "")
    if scrub_ is not None:
        scrub_.reject(some)
    else:
        job.rejects(some, loose, notes)


def _nothing_usable(path: Path, loose: RejectSink) -> UserError:
    if not loose.counts:
        return UserError(f"there are no rows in {path}", hint="the files are empty, or hold only a header")
    reason, number = loose.counts.most_common(1)[0]
    every = sum(loose.counts.values())
    return UserError(
        f"none of {every:,} rows in {path} can be used; {number:,} for {reason}",
        hint=f"run `curate check {path}` for everything that is wrong; `curate import` can map columns",
    )


class _Scrub:
    """Rows of one kind, and what belongs to them, on their way into a dataset."""

    def __init__(self, kind: str, job: _Job, folder: Path, sources: Sequence[str]) -> None:
        self.kind = kind
        self.job = job
        self.notes: list[Mapping[str, Any]] = []
        self.began = time.monotonic()
        self.rows_in = 0
        self.edited = 0
        self.taken_out: Counter[str] = Counter()
        self.dropped_before: Counter[str] = Counter()
        self.sources = self._new_sources(sources)
        self.examples = DroppedExamples(kind)
        self.writer = DatasetWriter(folder, kind, watch=self.examples.add)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While rows are added; what was written is closed at the end, and left as it is where it came to none."""
        try:
            yield
            self.writer.close()
        except BaseException:
            self.writer.abandon()
            raise

    def add(self, frame: pl.DataFrame) -> None:
        """Write rows, without what is found in them."""
        marked = mark(self._renamed(frame), self.kind, [Step(_STAGE, self.job.stage)])
        self.notes += marked.noted[_STAGE]
        self.edited += marked.edited.total()
        self.rows_in += frame.height
        self.writer.add(marked.kept)
        for gone in marked.dropped:
            self.taken_out.update(dict(gone["reason"].value_counts().iter_rows()))
            self.writer.drop(gone)

    def add_dropped(self, frame: pl.DataFrame) -> None:
        """Write rows that were dropped before, without what is found in them."""
        before = self._renamed(frame)
        after, found = self.job.stage.replacing.rows(before)
        after, _ = rehashed(before, after, list(columns(self.kind)), self.kind)
        fields = ("dropped: " + pl.col("field")).alias("field")
        self.notes.append(noted(found.with_columns(fields), after["source"]))
        self.dropped_before.update(dict(after["reason"].value_counts().iter_rows()))
        self.writer.drop(after)

    def reject(self, some: Sequence[Mapping[str, Any]]) -> None:
        """Write rejected input, given as `Reject.as_json` has it."""
        self.job.rejects(some, self.writer.rejects, self.notes)

    def finish(
        self,
        name: str,
        inputs: Sequence[ReadFile],
        chain_: list[Any],
        sources: Mapping[str, Source],
        folder: Path | None = None,
    ) -> None:
        """Write everything else, and the manifest. `chain_` is the history, `sources` what is known of each."""
        paths = self._texts("manifest", [name, *(one.path for one in inputs)], paths=True)
        (history,) = self._texts("manifest", [orjson.dumps(self.job.history(chain_)).decode()], paths=True)
        known = {
            self.sources[given]: self._source(source)
            for given, source in sources.items()
            if self.sources[given] in self.writer.data.by_source
        }
        marks = [one["fingerprint"] for one in self.job.history([one.model_dump() for one in inputs])]
        findings, report = self.job.stage.told(self.notes)
        if self.job.ids is None:
            findings = [*findings, _ids_kept(self.writer.data.rows)]
        seconds = round(time.monotonic() - self.began, 3)
        step = StepCount(
            step=_STAGE,
            use=_STAGE,
            rows_in=self.rows_in,
            dropped=dict(self.taken_out),
            edited=self.edited,
            seconds=seconds,
        )
        before = StepCount(
            step=_BEFORE,
            use=_BEFORE,
            rows_in=self.rows_in + self.dropped_before.total(),
            dropped=dict(sorted(self.dropped_before.items())),
        )
        manifest: dict[str, Any] = {
            "command": "scrub",
            "fingerprint": self.job.fingerprint,
            "name": paths[0],
            "inputs": [
                one.model_copy(update={"path": path, "fingerprint": mark_})
                for one, path, mark_ in zip(inputs, paths[1:], marks, strict=True)
            ],
            "chain": orjson.loads(history),
            "sources": known,
            "recipe": {"scrub": self.job.settings, _STAGE: report["scrubbed"]["types"]},
            "steps": [before, step] if self.dropped_before else [step],
            "findings": findings,
            "versions": library_versions(_LIBRARIES),
            "seconds": {"scrub": seconds},
        }
        rows_in = before.rows_in + sum(self.writer.rejects.counts.values())
        told = Told(rows_in, manifest, report={"examples": self.examples.found(), **report})
        self.writer.finish(told, folder)

    def _source(self, source: Source) -> Source:
        said = {key: value for key in _SOURCE_TEXTS if (value := getattr(source, key)) is not None}
        new = dict(zip(said, self._texts("sources", list(said.values())), strict=True))
        if self.job.stage.names and self.job.stage.entities is None:
            new["personal_data"] = "scrubbed"
        return source.model_copy(update=new | {"name": self.sources[source.name]})

    def _new_sources(self, old: Sequence[str]) -> dict[str, str]:
        """Names of sources to new ones; no two become one."""
        keys = Keys()
        told = self._texts("sources", old, paths=True)
        # A tag may be longer than what it stands for.
        return {given: keys.new(given, new[:_SOURCE_CHARS]) for given, new in zip(old, told, strict=True)}

    def _renamed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows with the new names of their sources and, unless ids are kept, new ids."""
        renamed = frame.with_columns(pl.col("source").replace(self.sources))
        return renamed if self.job.ids is None else self.job.ids.rows(renamed, self.kind)

    def _texts(self, name: str, texts: Sequence[str], *, paths: bool = False) -> list[str]:
        return self.job.texts(name, texts, self.notes, paths=paths)


def _ids_kept(rows: int) -> dict[str, Any]:
    return {
        "kind": "ids_kept",
        "severity": "medium",
        "count": rows,
        "example": "ids are hashes of what rows said before: who knows the rest of a row can find a telephone number "
        "that was in it by trying all",
        "fix": "scrub without --keep-ids, or give the dataset only to those who may see the rows as they were",
    }


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
        files = sorted(one for one in path.rglob("*") if one.is_file())
        names = [file.relative_to(path).as_posix() for file in files]
        named = stage.replacing.texts(pl.Series(names, dtype=pl.String), paths=True)
        for file, name, shown_name in zip(files, names, named.texts.to_list(), strict=True):
            _add_found(named, [("its name", name)], left, shown_name)
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
        _add_found(replaced, some, left, file)


def _add_found(replaced: Replaced, some: Iterable[tuple[str, str]], left: _Left, file: str) -> None:
    """Add what was replaced in some of the texts, each with where it stands."""
    shown = {(type_, text): said for type_, known in replaced.examples.items() for text, said in known}
    for where, text in some:
        for type_, number in sorted(replaced.found.get(text, {}).items()):
            left.add(file, where, "", type_, number, shown.get((type_, text)))


_VOCABULARY = re.compile(r'"https?://(?:schema\.org/|mlcommons\.org/croissant/(?:RAI/|1\.0)?|purl\.org/dc/terms/)"')
"""Addresses that every Croissant description has."""
_LICENCE = re.compile(r'"licen[cs]e"(?=:)|^license(?:_name)?:', re.MULTILINE)
"""Keys of a source's licence, which nobody drives with: the number of a contract is no driving licence."""
_WITH_LICENCES = (MANIFEST, CARD, CROISSANT, REPORT_JSON)
_NOT_TEXT = re.compile(r"<style\b.*?</style>|<[^>]*>", re.DOTALL)


def _texts_of(file: Path) -> Iterator[tuple[str, str]]:
    """What a file says, in pieces, each with where it stands: JSON whole, of HTML what is shown, else by lines."""
    text = file.read_bytes().decode("utf-8", "replace")
    if file.name in _WITH_LICENCES:
        text = _LICENCE.sub('""' if file.suffix == ".json" else "", text)
    if file.suffix == ".json":
        yield "", _VOCABULARY.sub('""', text) if file.name == CROISSANT else text
        return
    if file.suffix == ".html":
        text = html.unescape(_NOT_TEXT.sub("\n", text))
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}", line
