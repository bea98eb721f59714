"""Tokens: counting them, and what a model's window and rows longer than it cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl

from schemas.errors import UserError
from schemas.excerpt import excerpt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

USUAL_HIDDEN_SIZE = 4096
"""Of a model of 7 to 8 thousand million parameters; assumed where the model's own is not known."""

_FILE = "tokenizer.json"
_MOST_WINDOW = 1 << 30
"""Tokenizers that know of no window say numbers beyond this."""


@dataclass(frozen=True)
class Window:
    """How many tokens a model takes in, and the width of its layers."""

    tokens: int
    hidden_size: int | None = None


def window_of(path: Path) -> Window | None:
    """The window of the model that a tokenizer belongs to, from the files beside it; None where none says."""
    folder = path if path.is_dir() else path.parent
    config, tokenizer = _read(folder / "config.json"), _read(folder / "tokenizer_config.json")
    hidden = config.get("hidden_size")
    for found in (config.get("max_position_embeddings"), tokenizer.get("model_max_length")):
        if isinstance(found, int | float) and 0 < found < _MOST_WINDOW:
            return Window(int(found), hidden if isinstance(hidden, int) and hidden > 0 else None)
    return None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def beyond(tokens: pl.Series, window: Window) -> dict[str, Any]:
    """What rows longer than a window are: {tokens: the window, rows, cut: tokens of them beyond it, share_of_tokens,
    share_of_compute, hidden_size, assumed: whether that is a guess}.

    A row of n tokens costs 6 P n + 6 L d n^2 floating-point operations to train on (Kaplan et al. 2020, with causal
    attention); with P about 12 L d^2 that is as n (1 + n / (12 d)), for layers of width d. Shares are of rows not cut.
    """
    lengths = tokens.drop_nulls().to_numpy().astype(np.float64)
    width = window.hidden_size or USUAL_HIDDEN_SIZE
    costs = lengths * (1 + lengths / (12 * width))
    over = lengths > window.tokens
    return {
        "tokens": window.tokens,
        "rows": int(over.sum()),
        "cut": int((lengths[over] - window.tokens).sum()),
        "share_of_tokens": round(float(lengths[over].sum() / max(lengths.sum(), 1)), 6),
        "share_of_compute": round(float(costs[over].sum() / max(costs.sum(), 1)), 6),
        "hidden_size": width,
        "assumed": window.hidden_size is None,
    }


class TokenCounter:
    """Counts tokens of one frame's texts, each distinct text once."""

    BATCH = 512
    MOST_CHARS = 100_000

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, int] = {}

    def each(self, texts: pl.Series) -> pl.Series:
        """Tokens of each text (UInt32), null for null. Very long texts are counted in pieces."""
        new = [text for text in texts.drop_nulls().unique() if text not in self._known]
        pieces = [
            (at, text[start : start + self.MOST_CHARS])
            for at, text in enumerate(new)
            for start in range(0, len(text) or 1, self.MOST_CHARS)
        ]
        counts = [0] * len(new)
        for start in range(0, len(pieces), self.BATCH):
            batch = pieces[start : start + self.BATCH]
            encoded = self._tokenizer.encode_batch_fast([text for _, text in batch], add_special_tokens=False)
            for (at, _), one in zip(batch, encoded, strict=True):
                counts[at] += len(one)
        self._known.update(zip(new, counts, strict=True))
        return pl.Series([None if text is None else self._known[text] for text in texts], dtype=pl.UInt32)

    def summed(self, texts: pl.Series) -> pl.Series:
        """Tokens of each list of texts together (UInt32)."""
        lengths = texts.list.len().fill_null(0).to_numpy()
        flat = texts.explode(empty_as_null=False, keep_nulls=False)
        tokens = np.concatenate([[0], np.cumsum(self.each(flat).fill_null(0).to_numpy(), dtype=np.int64)])
        ends = np.cumsum(lengths, dtype=np.int64)
        return pl.Series(tokens[ends] - tokens[ends - lengths], dtype=pl.UInt32)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`, or in the folder that holds one. Raises UserError when there is none."""
    # One thread: batches are small, and threads of this library do not survive a fork that happens later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    file = path / _FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"there is no tokenizer in {path}", hint="name a tokenizer.json, or a model folder that holds one"
        )
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception for every fault in the file
        raise UserError(
            f"{file} is not a tokenizer: {excerpt(error)}",
            hint="it should be a tokenizer.json as `tokenizers` writes it",
        ) from error
