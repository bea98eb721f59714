"""How long rows are in tokens, from a sample of them: counted by a model's tokenizer, or estimated by characters."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import UserError

if TYPE_CHECKING:
    import polars as pl

SAMPLE_ROWS = 5_000
"""Rows whose tokens are counted; more say little more about lengths."""

MAX_CHARS = 200_000
"""Of a row that is tokenised; what is longer is counted on in proportion."""

TURN_TOKENS = 5
"""Of a chat template's marks around a turn: ChatML's `<|im_start|>user`, newlines and `<|im_end|>`."""

CHARS_PER_TOKEN, CJK_CHARS_PER_TOKEN = 4.2, 1.5
"""Where no tokenizer is at hand. Right to a quarter for the usual vocabularies of 100,000 tokens and more."""

SMALL_VOCABULARY, SMALL_CJK_CHARS_PER_TOKEN = 64_000, 0.6
"""Smaller ones were made for English, and write most Chinese characters as bytes: SmolLM2's takes 0.58 characters."""


@dataclass(frozen=True)
class Lengths:
    """Rows to train on, and how long they are in tokens."""

    rows: int
    held_out: int
    sampled: Sequence[int]
    """Tokens of rows of a sample, in order."""
    supervised: float
    """Share of the tokens that the assistant says."""
    counted_by: str
    error: float
    """By how much the tokens may be wrong, as a share."""
    tasks: int

    @property
    def mean(self) -> float:
        return sum(self.sampled) / max(len(self.sampled), 1)

    def at(self, share: float) -> int:
        """The length that this share of the rows is not longer than."""
        return self.sampled[min(int(share * len(self.sampled)), len(self.sampled) - 1)] if self.sampled else 0

    def cut(self, longest: int) -> Lengths:
        """As they are when rows are truncated."""
        return replace(self, sampled=[min(one, longest) for one in self.sampled])

    def padded(self, batch: int) -> float:
        """Tokens of a row when each batch is padded to its longest row: the expected maximum of `batch` draws."""
        n = len(self.sampled)
        return sum(one * (((at + 1) / n) ** batch - (at / n) ** batch) for at, one in enumerate(self.sampled))


def lengths_of(
    paths: Sequence[Path], folder: Path | None, validation: float = 0.0, vocabulary: int = 100_000
) -> Lengths:
    """Rows to train on in datasets, and the tokens of a sample of them, counted with the tokenizer in a model's folder
    or else estimated by characters and the size of its vocabulary. Raises UserError for what is no dataset of rows to
    train on."""
    from schemas.dataset import open_dataset

    opened = [open_dataset(path) for path in paths]
    odd = [one for one in opened if one.kind not in _COLUMNS]
    if odd:
        raise UserError(
            f"{odd[0].folder} holds rows of kind {odd[0].kind}, which are not trained on",
            hint=f"train on {', '.join(_COLUMNS)}",
        )
    tokenizer, small = _tokenizer(folder), vocabulary < SMALL_VOCABULARY
    per_token = SMALL_CJK_CHARS_PER_TOKEN if small else CJK_CHARS_PER_TOKEN
    every = max(sum(one.rows for one in opened) // SAMPLE_ROWS, 1)
    rows = held_out = seen = 0
    tasks: set[str | None] = set()
    found: list[tuple[int, int]] = []
    for dataset in opened:
        for frame in dataset.batches(["split", "task", *_COLUMNS[dataset.kind]]):
            held = frame["split"].is_in(["validation", "test"]).fill_null(False)
            held_out += int(held.sum())
            train = frame.filter(~held)
            rows += train.height
            tasks |= set(train["task"].unique())
            # Every so many rows, counted over the whole: a dataset is often sorted by source.
            chosen = train.gather_every(every, offset=-seen % every) if train.height > -seen % every else train.clear()
            seen += train.height
            found += _counted(chosen, dataset.kind, tokenizer, per_token)
    if not rows:
        raise UserError(f"{paths[0]} has no rows to train on", hint="look at its splits: curate show")
    if not held_out and validation:
        held_out = math.ceil(rows * validation)
        rows -= held_out
    total, supervised = sum(one for one, _ in found), sum(one for _, one in found)
    return Lengths(
        rows=rows,
        held_out=held_out,
        sampled=sorted(one for one, _ in found),
        supervised=supervised / max(total, 1),
        counted_by="the model's tokenizer" if tokenizer else "characters",
        error=0.05 if tokenizer else 0.4 if small else 0.25,
        tasks=len(tasks - {None}),
    )


_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "chat": ("messages", "tools"),
    "preference": ("prompt", "chosen", "rejected", "tools"),
    "text": ("text",),
}


def _tokenizer(folder: Path | None) -> Any:
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library's own are of no common class
        raise UserError(f"{folder / 'tokenizer.json'} cannot be read: {error}", hint="get the model again") from error


def _counted(frame: pl.DataFrame, kind: str, tokenizer: Any, per_token: float) -> list[tuple[int, int]]:
    """Tokens of each row, and those of them that a loss is taken of. A pair counts as the longer of its two sides."""
    pieces: list[str] = []
    plans: list[list[list[tuple[int, bool]]]] = []
    for row in frame.iter_rows(named=True):
        sides = []
        for side in _sides(row, kind):
            sides.append([(len(pieces) + at, ours) for at, (_, ours) in enumerate(side)])
            pieces += [text for text, _ in side]
        plans.append(sides)
    tokens = _tokens(pieces, tokenizer, per_token)
    marks = 0 if kind == "text" else TURN_TOKENS
    found = []
    for sides in plans:
        counted = [
            (sum(tokens[at] + marks for at, _ in side), sum(tokens[at] + 1 for at, ours in side if ours))
            for side in sides
        ]
        found.append(max(counted))
    return found


def _sides(row: Mapping[str, Any], kind: str) -> Iterator[list[tuple[str, bool]]]:
    """The conversations in a row: the text of each turn, and whether the assistant says it."""
    if kind == "text":
        yield [(row["text"] or "", True)]
        return
    tools = [(row["tools"], False)] if row["tools"] else []
    if kind == "chat":
        yield tools + _turns(row["messages"], answer=False)
        return
    prompt = [(text, False) for text, _ in _turns(row["prompt"], answer=False)]
    for name in ("chosen", "rejected"):
        yield tools + prompt + _turns(row[name], answer=True)


def _turns(messages: Sequence[Mapping[str, Any]] | None, *, answer: bool) -> list[tuple[str, bool]]:
    return [
        (
            "\n".join(one[name] for name in ("reasoning", "content", "tool_calls") if one[name]),
            answer or one["role"] == "assistant",
        )
        for one in messages or ()
    ]


def _tokens(texts: Sequence[str], tokenizer: Any, per_token: float) -> list[int]:
    """Tokens of each text."""
    if tokenizer is None:
        return [_estimated(text, per_token) for text in texts]
    found = []
    for start in range(0, len(texts), 512):
        batch = texts[start : start + 512]
        encoded = tokenizer.encode_batch_fast([text[:MAX_CHARS] for text in batch], add_special_tokens=False)
        found += [round(len(one) * max(len(text) / MAX_CHARS, 1.0)) for text, one in zip(batch, encoded, strict=True)]
    return found


def _estimated(text: str, per_token: float) -> int:
    wide = sum(1 for char in text[:MAX_CHARS] if char >= "\u2e80") * max(len(text) / MAX_CHARS, 1.0)
    return math.ceil((len(text) - wide) / CHARS_PER_TOKEN + wide / per_token)
