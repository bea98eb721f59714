"""An index of a dataset's rows for near duplicates, kept beside it: what new rows are compared with, and no more."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from curate.kernels.matching import Entries, Matches, all_prefix_keys, frequencies
from curate.kernels.postings import Postings, search
from curate.kernels.shingles import Sets, contiguous
from curate.near import Comparison, entries_from
from schemas.dataset import Dataset
from schemas.errors import UserError
from schemas.run import sync_tree

VERSION = 1
_TOLD = "index.json"
_HEADER_BYTES = 128
_ARRAYS = ("hashes", "sizes", "first", "rows", "both", "slots", "owners", "short", "top", "frequency", "ids")


@dataclass(frozen=True)
class Index:
    """The rows of a dataset as they are compared, from files that are read where they are needed."""

    entries: Entries
    postings: Postings
    frequency: np.ndarray[Any, np.dtype[np.uint8]]
    ids: np.ndarray[Any, Any]

    def search(self, new: Entries, threshold: float) -> Matches:
        """For each new row the place of the indexed row it is most like."""
        keys = all_prefix_keys(new.sets, threshold, self.frequency)
        return search(new, keys, self.entries, self.postings, threshold)


def index_folder(dataset: Dataset) -> Path:
    """Where a dataset's index is kept: beside it, since a dataset never changes."""
    return dataset.folder.resolve().parent / f".{dataset.folder.resolve().name}.near-index"


def index_of(dataset: Dataset, comparison: Comparison, fields: str, text: Callable[[pl.DataFrame], pl.Series]) -> Index:
    """The index of a dataset; built where there is none, or one of other rows or settings.

    `text` gives what is compared of the rows of a frame, and `fields` is its name. Raises UserError for `lsh`, and
    where the folder beside the dataset cannot be written.
    """
    if comparison.search == "lsh":
        raise UserError("`against` needs an exact search", hint="set search: exact, or leave it to auto with words")
    told = {
        "version": VERSION,
        "digest": dataset.manifest.digest,
        "threshold": comparison.threshold,
        "n": comparison.n,
        "unit": comparison.unit,
        "fields": fields,
    }
    folder = index_folder(dataset)
    try:
        if orjson.loads((folder / _TOLD).read_bytes()) == told:
            return _opened(folder)
    except (OSError, ValueError):
        pass  # none yet, or one that was cut off
    try:
        _built(dataset, comparison, text, folder, told)
    except OSError as error:
        raise UserError(
            f"the index beside {dataset.folder} cannot be written: {error.strerror}",
            hint="make room, or permit writing",
        ) from error
    return _opened(folder)


def _built(
    dataset: Dataset, comparison: Comparison, text: Callable[[pl.DataFrame], pl.Series], folder: Path, told: Any
) -> None:
    found = [(frame["id"], comparison.summary(text(frame))) for frame in dataset.batches()]
    ids, compared = (pl.concat([one[place] for one in found]) for place in range(2))
    entries = entries_from(compared)
    frequency = frequencies(entries.sets)
    postings = Postings.of(all_prefix_keys(entries.sets, comparison.threshold, frequency))
    arrays = {
        "hashes": contiguous(entries.sets),
        "sizes": entries.sets.sizes,
        "first": entries.first,
        "rows": entries.rows,
        "both": entries.both,
        "slots": postings.slots,
        "owners": postings.owners,
        "short": postings.short,
        "top": postings.top,
        "frequency": frequency,
        "ids": np.array(ids.to_list(), dtype="S32"),
    }
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=folder.name) as temporary:
        work = Path(temporary) / "index"
        work.mkdir()
        for name in _ARRAYS:
            np.save(work / f"{name}.npy", arrays[name], allow_pickle=False)
        (work / _TOLD).write_bytes(orjson.dumps(told))
        sync_tree(work)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)


def _mapped(path: Path) -> np.ndarray[Any, Any]:
    """An array in a file, read where it is used; an empty one cannot be mapped."""
    mode: Any = "r" if path.stat().st_size > _HEADER_BYTES else None
    found: np.ndarray[Any, Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    return found


def _opened(folder: Path) -> Index:
    found = {name: _mapped(folder / f"{name}.npy") for name in _ARRAYS}
    arrays = {name: np.asarray(one) for name, one in found.items()}
    sizes = arrays["sizes"]
    addresses = arrays["hashes"].ctypes.data + 8 * (np.cumsum(sizes) - sizes)
    sets = Sets(addresses, sizes, [arrays["hashes"], found])
    return Index(
        Entries(sets, arrays["first"], arrays["rows"], arrays["both"]),
        Postings(arrays["slots"], arrays["owners"], arrays["short"], arrays["top"]),
        arrays["frequency"],
        arrays["ids"],
    )
