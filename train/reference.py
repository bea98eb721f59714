"""What the reference model says of each answer: computed once, kept on disk, never taken for another model's.

A record is the log-probability of one answer behind its prompt. It is found again by a hash of the tokens and of which
of them count, in a file that is named by the model: by every byte of its weights and how they are held. So whatever
decides the number (rows, chat template, truncation, reasoning, model, adapter, precision) is part of the key, and rows
that were added to a dataset cost only themselves. Records are appended as they are computed and carry a checksum: after
a kill the next run computes what is missing, and a flipped bit costs one record.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name of it

from schemas.errors import UserError
from schemas.manifest import library_versions
from train.data import TokenRows
from train.model import LEARNING_LIBRARIES, model_hash

if TYPE_CHECKING:
    from train.policy import Policy

FOLDER = "reference"
"""Where in the project home the files are."""

VERSION = 1
"""Raised whenever the same tokens and model give other numbers than before."""

Floats = np.ndarray[Any, np.dtype[np.float32]]

FLUSH_SECONDS = 5.0
"""What a kill can cost."""

_RECORD = struct.Struct("<16sdI")
"""Digest of the answer, its log-probability, and the checksum of both and of the key."""


def reference_key(model: Path, policy: Policy, adapter: str | None) -> str:
    """Identifies a reference model by its bytes, all of them, and by how and by what they are computed with. `adapter`:
    the hash of the one that it wears, if it does."""
    found = hashlib.sha256(f"{VERSION} {policy.device} {policy.weights} {policy.compute} {policy.attention}".encode())
    found.update(f" {model_hash(model)} {sorted(library_versions(LEARNING_LIBRARIES).items())} {adapter}".encode())
    return found.hexdigest()


def digests(rows: TokenRows) -> list[bytes]:
    """What each row is found by: its tokens and which of them count."""
    found = []
    for place in range(len(rows)):
        ids, weights = rows.row(place)
        mask = np.packbits(weights > 0).tobytes()
        found.append(hashlib.sha256(struct.pack("<q", len(ids)) + ids.tobytes() + mask).digest()[:16])
    return found


def read_records(path: Path, key: str) -> dict[bytes, float]:
    """The records of a file that are whole and belong to the key. Of two about one answer the first counts, so that a
    run reads the same number again. A file that cannot be read has none."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    salt = zlib.crc32(key.encode())
    found: dict[bytes, float] = {}
    for digest, value, check in _RECORD.iter_unpack(data[: len(data) - len(data) % _RECORD.size]):
        if check == zlib.crc32(struct.pack("<16sd", digest, value), salt):
            found.setdefault(digest, value)
    return found


def append_records(path: Path, key: str, records: Mapping[bytes, float]) -> None:
    """Add records to a file and have them on disk; a last one that was cut off is cut away first."""
    salt = zlib.crc32(key.encode())
    data = b"".join(
        _RECORD.pack(digest, value, zlib.crc32(struct.pack("<16sd", digest, value), salt))
        for digest, value in records.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        size -= size % _RECORD.size
        os.ftruncate(handle, size)
        os.lseek(handle, size, os.SEEK_SET)
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(data)
        os.fsync(handle)
    finally:
        os.close(handle)


class Reference:
    """Log-probabilities of a reference model. `own` is the run's file, `cache` the one that all runs share."""

    def __init__(self, key: str, own: Path, cache: Path) -> None:
        self.key = key
        self.own = own
        self.cache = cache
        self.computed = 0
        """Answers that were computed now; all others were there."""
        self.warnings: list[str] = []

    def of(
        self,
        rows: TokenRows,
        model: Any,
        policy: Policy,
        batch: int,
        pad_id: int,
        tell: Callable[[int, int], None],
    ) -> Floats:
        """The log-probability of each row's answer, by `model` where it is not known yet. `tell` is told how many of
        those are done. Raises UserError for a number that is none."""
        wanted = digests(rows)
        # What the run itself has used comes first: it goes on with the same numbers, whatever became of the cache.
        mine = read_records(self.own, self.key)
        known = read_records(self.cache, self.key) | mine
        missing = list({digest: place for place, digest in enumerate(wanted) if digest not in known}.values())
        if missing:
            self._compute(rows, wanted, missing, known, model, policy, batch, pad_id, tell)
        used = {digest: known[digest] for digest in wanted}
        if fresh := {digest: value for digest, value in used.items() if digest not in mine}:
            append_records(self.own, self.key, fresh)
        return np.asarray([used[digest] for digest in wanted], dtype=np.float32)

    def _compute(
        self,
        rows: TokenRows,
        wanted: Sequence[bytes],
        missing: Sequence[int],
        known: dict[bytes, float],
        model: Any,
        policy: Policy,
        batch: int,
        pad_id: int,
        tell: Callable[[int, int], None],
    ) -> None:
        lengths = rows.lengths
        order = sorted(missing, key=lambda place: (-int(lengths[place]), place))  # what is too much fails at once
        fresh: dict[bytes, float] = {}
        flushed = time.monotonic()
        with evaluating(model):
            for first in range(0, len(order), batch):
                places = order[first : first + batch]
                values = _log_probs_of(model, rows, places, policy, pad_id)
                for place, value in zip(places, values, strict=True):
                    if not np.isfinite(value):
                        raise UserError(
                            f"the model gives an answer of row {rows.row_ids[place]} no probability ({value})",
                            hint="the model's weights are broken, or too large for the data type: set bf16: false",
                        )
                    fresh[wanted[place]] = value
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    self._keep(fresh)
                    known |= fresh
                    fresh, flushed = {}, time.monotonic()
                tell(min(first + batch, len(order)), len(order))
        self._keep(fresh)
        known |= fresh
        self.computed += len(order)

    def _keep(self, fresh: Mapping[bytes, float]) -> None:
        if not fresh:
            return
        append_records(self.own, self.key, fresh)
        try:
            append_records(self.cache, self.key, fresh)
        except OSError as error:
            if not self.warnings:
                self.warnings.append(
                    f"the reference's log-probabilities are not kept for other runs: {self.cache} cannot be written "
                    f"({error.strerror})"
                )


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """A model without dropout and gradients, as it was afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def padded(rows: TokenRows, places: Sequence[int], pad_id: int) -> dict[str, torch.Tensor]:
    """Rows as one batch, padded on the right: `input_ids`, `attention_mask`, and `counted`, where an answer stands."""
    width = max(int(rows.lengths[place]) for place in places)
    ids = torch.full((len(places), width), pad_id, dtype=torch.int64)
    attention = torch.zeros((len(places), width), dtype=torch.int64)
    counted = torch.zeros((len(places), width), dtype=torch.bool)
    for line, place in enumerate(places):
        row_ids, weights = rows.row(place)
        ids[line, : len(row_ids)] = torch.from_numpy(row_ids.astype(np.int64))
        attention[line, : len(row_ids)] = 1
        counted[line, : len(row_ids)] = torch.from_numpy(weights > 0)
    counted[:, 0] = False  # nothing stands before it that it could be predicted from
    return {"input_ids": ids, "attention_mask": attention, "counted": counted}


def log_probs(model: Any, batch: Mapping[str, torch.Tensor], *, picks_logits: bool) -> torch.Tensor:
    """Log-probability of each row's answer: the sum over its tokens. `picks_logits`: the model computes logits only
    where it is asked to, which saves most of the memory of long prompts."""
    ids, counted = batch["input_ids"], batch["counted"][:, 1:]
    inputs = {"input_ids": ids, "attention_mask": batch["attention_mask"]}
    if picks_logits:
        places = counted.any(dim=0).nonzero().squeeze(-1)
        logits = model(**inputs, use_cache=False, logits_to_keep=places).logits
    else:
        places = torch.arange(ids.shape[1] - 1, device=ids.device)
        logits = model(**inputs, use_cache=False).logits[:, -ids.shape[1] : -1]  # virtual tokens stand before the row's
    wanted = counted[:, places]
    targets = ids[:, 1:][:, places][wanted]
    found = -F.cross_entropy(logits[wanted].float(), targets, reduction="none")
    lines = wanted.nonzero()[:, 0]
    return torch.zeros(len(ids), dtype=found.dtype, device=found.device).index_add(0, lines, found)


def picks_logits(model: Any) -> bool:
    """Whether a model can be asked for the logits of some places alone."""
    import inspect

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    virtual = hasattr(model, "active_peft_config") and model.active_peft_config.is_prompt_learning
    return not virtual and "logits_to_keep" in inspect.signature(base.forward).parameters


def _log_probs_of(model: Any, rows: TokenRows, places: Sequence[int], policy: Policy, pad_id: int) -> list[float]:
    batch = {name: tensor.to(model.device) for name, tensor in padded(rows, places, pad_id).items()}
    half = policy.compute == "bf16" and policy.device != "cpu"
    with torch.autocast(policy.device, dtype=torch.bfloat16) if half else nullcontext():
        found: list[float] = log_probs(model, batch, picks_logits=picks_logits(model)).tolist()
    return found
