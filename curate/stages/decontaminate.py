"""Rows that hold a part of an evaluation set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl

from curate.stage import FIELD_PREFIX, Filter, Input, Setting, drop, keep
from schemas.dataset import is_dataset, open_dataset
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.kernels.shingles import Hashes

_LONG = "A train leaves the station at nine in the morning and travels at sixty kilometres an hour to the coast."
_ZH = "小明有二十四个苹果，他把其中的三分之一分给了同桌，又买回来五个，请问他现在一共有多少个苹果？"
_SHOWN_TOKENS = 40


@dataclass(frozen=True)
class Evaluation:
    """Evaluation sets as shingles: sorted hashes of runs of tokens, and of questions shorter than those."""

    runs: Hashes
    questions: Hashes
    rows: int


class Decontaminate(Filter):
    """Drop rows that share a run of tokens with an evaluation set, or ask one of its questions."""

    against: Input | tuple[Input, ...] = Setting(
        description="evaluation sets: datasets, or files of rows in any format"
    )
    ngram: int = Setting(
        default=13, ge=5, le=64, description="tokens in a row that must be the same; each CJK character is a token"
    )
    answers: bool = Setting(default=True, description="whether runs in the evaluation's answers count as well")

    evaluation: ClassVar[Sequence[dict[str, str]]] = (
        {"instruction": _LONG + " When does it arrive?", "output": "It arrives at noon."},
        {"instruction": _ZH, "output": "二十一个"},
        {"instruction": "What is the capital of Peru?", "output": "Lima"},
    )
    """What the evaluation set of the examples holds."""

    examples = (
        drop("contaminated", settings={"against": "evals.jsonl"}, instruction="Solve: " + _LONG, answer="Noon."),
        drop(
            "contaminated",
            settings={"against": "evals.jsonl"},
            instruction="Write a word problem.",
            answer="a TRAIN leaves the station at nine in the morning and travels at sixty kilometres an hour!",
        ),
        drop("contaminated", settings={"against": "evals.jsonl"}, instruction="解题：" + _ZH[5:], answer="21"),
        drop(
            "asked_in_evaluation",
            settings={"against": "evals.jsonl"},
            instruction="what is  the capital of peru?",
            answer="Lima.",
        ),
        keep(settings={"against": "evals.jsonl"}, instruction="What is the capital of Chile?", answer="Santiago"),
        keep(
            settings={"against": "evals.jsonl"},
            instruction="When does the train leave?",
            answer="A train leaves the station at nine in the evening.",
        ),
        keep(settings={"against": "evals.jsonl"}, instruction="小明有几个苹果？", answer="他有二十四个苹果。"),
    )

    def reasons(self) -> dict[str, pl.Expr]:
        conversation, instruction = self.text("conversation"), self.text("instruction")
        return {
            "contaminated": conversation.map_batches(self._holds_run, return_dtype=pl.Boolean, is_elementwise=True),
            "asked_in_evaluation": instruction.map_batches(self._asks, return_dtype=pl.Boolean, is_elementwise=True),
        }

    def because(self) -> dict[str, pl.Expr]:
        conversation = self.text("conversation")
        return {
            "contaminated": conversation.map_batches(self._shared, return_dtype=pl.String, is_elementwise=True),
            "asked_in_evaluation": self.text("instruction"),
        }

    def _holds_run(self, texts: pl.Series) -> pl.Series:
        from curate.kernels.overlap import count_among
        from curate.kernels.shingles import shingle_sets

        sets = shingle_sets(texts, self.ngram, least=self.ngram - 1)
        return pl.Series(texts.name, count_among(sets, self._evaluation().runs) > 0)

    def _asks(self, texts: pl.Series) -> pl.Series:
        from curate.kernels.overlap import count_among
        from curate.kernels.shingles import shingle_sets

        sets = shingle_sets(texts, self.ngram, most=self.ngram - 1)
        return pl.Series(texts.name, count_among(sets, self._evaluation().questions) > 0)

    def _shared(self, texts: pl.Series) -> pl.Series:
        """The longest run of tokens that each text shares with an evaluation set."""
        from curate.kernels.characters import tokens
        from curate.kernels.shingles import in_order

        runs = self._evaluation().runs
        found = []
        for text in texts.to_list():
            hits = np.isin(in_order(text or "", self.ngram), runs)
            edges = np.flatnonzero(np.diff(np.concatenate([[0], hits.astype(np.int8), [0]])))
            begin, end = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[1] - run[0], default=(0, 0))
            words = tokens(text or "")[begin : end + self.ngram - 1]
            said = _joined(words[:_SHOWN_TOKENS]) + ("…" if len(words) > _SHOWN_TOKENS else "")
            found.append(f"{len(words)} tokens in a row: {said}")
        return pl.Series(texts.name, found, dtype=pl.String)

    def _evaluation(self) -> Evaluation:
        paths = (self.against,) if isinstance(self.against, str) else self.against
        return _evaluation(tuple(_stamped(Path(path)) for path in paths), self.ngram, self.answers)


def _joined(words: Sequence[str]) -> str:
    """Tokens as text, with a space only between those that are words."""
    out = ""
    for word in words:
        spaced = out and word[0].isascii() and word[0].isalnum() and out[-1].isascii() and out[-1].isalnum()
        out += f" {word}" if spaced else word
    return out


def _stamped(path: Path) -> tuple[str, int, int]:
    """A path with what changes when its content does."""
    told = path / "manifest.json" if path.is_dir() else path
    if not told.exists():
        raise UserError(f"there is no {path}", hint="name a dataset, or a file of rows", file=str(path))
    found = told.stat()
    return str(path.resolve()), found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4)
def _evaluation(paths: tuple[tuple[str, int, int], ...], n: int, answers: bool) -> Evaluation:
    """The evaluation sets at some paths. Raises UserError where one holds no row."""
    from curate.kernels.shingles import contiguous, shingle_sets

    questions, every, rows = [], [], 0
    for path, _, _ in paths:
        asked, said = _texts(Path(path))
        if not len(asked):
            raise UserError(f"{path} holds no rows", hint=f"see what is in it: curate check {path}", file=path)
        rows += len(asked)
        questions.append(asked)
        every += [asked, said] if answers else [asked]
    runs = [contiguous(shingle_sets(texts, n, least=n - 1)) for texts in every]
    short = [contiguous(shingle_sets(texts, n, most=n - 1)) for texts in questions]
    return Evaluation(np.unique(np.concatenate(runs)), np.unique(np.concatenate(short)), rows)


def _texts(path: Path) -> tuple[pl.Series, pl.Series]:
    """Question and answer of each row of an evaluation set; a plain text is a question."""
    from curate.marks import with_fields
    from curate.read import Reading, find_rows, read_files

    def frames() -> Any:
        if is_dataset(path):
            dataset = open_dataset(path)
            yield from ((dataset.kind, frame) for frame in dataset.batches())
        else:
            for piece in read_files(find_rows([path], Reading()).files, Reading()):
                if piece.frame is not None and piece.kind is not None:
                    yield piece.kind, piece.frame

    asked, said = [pl.Series([], dtype=pl.String)], [pl.Series([], dtype=pl.String)]
    question, answer, text = (FIELD_PREFIX + name for name in ("prompt", "answer", "text"))
    for kind, frame in frames():
        full = with_fields(frame, kind, [pl.col(question), pl.col(answer), pl.col(text)])
        asked.append(full.select(pl.coalesce(question, text)).to_series().rename(""))
        said.append(full[answer].rename(""))
    return pl.concat(asked), pl.concat(said)
