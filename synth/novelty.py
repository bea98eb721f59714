"""Texts that say something new: none whose ROUGE-L with one that is already there is above a threshold.

Self-Instruct's filter (Wang et al. 2022, arXiv:2212.10560) compares each new instruction with all before it. The
decisions here are the same, and exact; only pairs that cannot be alike enough are never compared, and the others are
compared 64 tokens at a time.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from schemas.errors import Rejected

if TYPE_CHECKING:
    from synth.overlap import Longs
    from synth.task import Made

THRESHOLD = 0.7
"""Self-Instruct's: a text is dropped whose ROUGE-L with another is above it."""

MAX_TOKENS = 2_048
"""Longer texts are compared by their first tokens: what two texts of a million would take, nobody waits for."""

# Scripts written without spaces: kana, ideographs (those of extensions too), hangul stays a word.
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def tokens(text: str) -> list[str]:
    """What texts are compared by: words in lower case, and each Chinese or Japanese character by itself. Of ASCII text
    they are those of the package rouge_score, without its stemmer."""
    return _TOKEN.findall(text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower())


def words(text: str) -> list[str]:
    """Like `tokens`, but Chinese by jieba's words."""
    import jieba

    return [token for piece in jieba.lcut(text) for token in _TOKEN_OF_WORDS.findall(piece.lower())]


_TOKEN_OF_WORDS = re.compile(r"[^\W_]+")


def common_length(one: Sequence[object], other: Sequence[object]) -> int:
    """Length of the longest common subsequence, all of `one` at a time in a large number's bits (Hyyrö 2004)."""
    if not one or not other:
        return 0
    masks: dict[object, int] = {}
    for place, token in enumerate(one):
        masks[token] = masks.get(token, 0) | 1 << place
    every = (1 << len(one)) - 1
    row = every
    for token in other:
        met = row & masks.get(token, 0)
        row = (row + met | row - met) & every
    return len(one) - row.bit_count()


def rouge_l(one: str, other: str) -> float:
    """ROUGE-L's F-measure of two texts (Lin 2004), 0 to 1, by their first `MAX_TOKENS` tokens; 0 where one has none."""
    left, right = _first_tokens(one), _first_tokens(other)
    return 2 * common_length(left, right) / (len(left) + len(right)) if left and right else 0.0


@lru_cache(maxsize=64)  # a text is compared with several
def _first_tokens(text: str) -> Sequence[str]:
    return tokens(text)[:MAX_TOKENS]


@dataclass(frozen=True)
class Alike:
    """The text of a pool that a new one is too much like."""

    place: int
    """Which: the number of texts that the pool was shown before it."""
    score: float
    """Their ROUGE-L."""


class Pool:
    """Texts that new ones are compared with. Memory: about 60 bytes a token, and the distinct words.

    ```python
    pool = Pool(seeds)
    alike = pool.admit(["Name three colours.", "Name three bright colours."])  # [None, Alike(place=…, score=0.857…)]
    ```
    """

    def __init__(
        self,
        texts: Iterable[str] = (),
        threshold: float = THRESHOLD,
        tokenize: Callable[[str], list[str]] = tokens,
    ) -> None:
        """A pool of texts, whether or not they are alike. `tokenize` is `tokens` or `words`.

        Raises ValueError for a threshold that is not between 0 and 1."""
        if not 0 < threshold < 1:
            raise ValueError(f"a threshold is between 0 and 1, not {threshold}")
        import numpy as np

        self._np = np
        self._tokenize = tokenize
        exact = Fraction(str(threshold)).limit_denominator(1_000_000)
        self._top, self._bottom = exact.numerator, exact.denominator
        self._ids: dict[str, int] = {}
        # Arrays of one entry a text, a token of a text, a distinct token, a posting; they have room to spare.
        self._count = self._used = self._members = 0
        self._starts = np.zeros(1, dtype=np.int64)
        self._seen = np.zeros(0, dtype=np.int64)
        self._signs = np.zeros(0, dtype=np.uint64)
        self._tokens: Longs = np.zeros(0, dtype=np.int64)
        self._ranked: Longs = np.zeros(0, dtype=np.int64)
        self._held_at: Longs = np.zeros(0, dtype=np.int64)
        self._counts: Longs = np.zeros(0, dtype=np.int64)
        self._rooms: Longs = np.zeros(0, dtype=np.int64)
        self._places: Longs = np.zeros(0, dtype=np.int64)
        self._left: Longs = np.zeros(0, dtype=np.int64)
        self._postings: Longs = np.zeros(0, dtype=np.int64)
        sums = np.arange(2 * MAX_TOKENS + 1, dtype=np.int64)
        self._needs: Longs = self._top * sums // (2 * self._bottom) + 1
        self._take(list(texts), compare=False)

    def __len__(self) -> int:
        """How many texts are in the pool."""
        return self._members

    def admit(self, texts: Sequence[str]) -> list[Alike | None]:
        """For each text in order: None, and it joins the pool; or the one it is most like, which has to be above the
        threshold. The answers are the same however texts are cut into batches; large batches are faster."""
        return self._take(texts, compare=True)

    def _take(self, texts: Sequence[str], *, compare: bool) -> list[Alike | None]:
        from synth.overlap import search

        if not texts:
            return []
        np, first, last = self._np, self._count, self._count + len(texts)
        split = [self._tokenize(text)[:MAX_TOKENS] for text in texts]
        self._number(split)
        sizes = np.fromiter(map(len, split), dtype=np.int64, count=len(split))
        used = int(self._starts[first])
        total = used + int(sizes.sum())
        self._starts = self._grown(self._starts, last + 1)
        self._starts[first + 1 : last + 1] = used + np.cumsum(sizes)
        self._tokens, self._ranked = self._grown(self._tokens, total), self._grown(self._ranked, total)
        new = np.fromiter(
            (self._ids[token] for token in chain.from_iterable(split)), dtype=np.int64, count=total - used
        )
        self._tokens[used:total] = new
        # The rarest first: tokens were numbered from the commonest on.
        self._ranked[used:total] = new[np.lexsort((-new, np.repeat(np.arange(len(split)), sizes)))]
        distinct = len(self._ids)
        self._held_at, self._counts = self._grown(self._held_at, distinct), self._grown(self._counts, distinct)
        self._rooms, self._left = self._grown(self._rooms, distinct), self._grown(self._left, distinct)
        self._places = self._grown(self._places, distinct, fill=-1)
        self._seen, self._signs = self._grown(self._seen, last, fill=-1), self._grown(self._signs, last)
        # Postings that move leave their old room behind: less than twice what is posted, and twice again in room.
        self._postings = self._grown(self._postings, 4 * total)
        best, shared = np.zeros(len(split), dtype=np.int64), np.zeros(len(split), dtype=np.int64)
        self._used = search(
            self._tokens, self._starts, self._ranked, first, last, self._held_at, self._counts, self._rooms,
            self._postings, self._used, self._places, self._left, self._seen, self._signs, self._needs, compare,
            self._top, self._bottom, best, shared,
        )  # fmt: skip
        self._count = last
        self._members += int((best < 0).sum())
        return [
            self._alike(first + place, other, common) if other >= 0 else None
            for place, (other, common) in enumerate(zip(best.tolist(), shared.tolist(), strict=True))
        ]

    def _alike(self, place: int, other: int, common: int) -> Alike:
        lengths = self._starts[place + 1] - self._starts[place] + self._starts[other + 1] - self._starts[other]
        return Alike(other, 2 * common / int(lengths))

    def _number(self, split: Sequence[Sequence[str]]) -> None:
        """Number tokens that are new, the commonest first; what was numbered once keeps its number."""
        for token, _ in Counter(chain.from_iterable(split)).most_common():
            self._ids.setdefault(token, len(self._ids))

    def _grown(self, array: Any, size: int, fill: int = 0) -> Any:
        """The array with room for `size` values, twice what it had at least: one at a time stays linear."""
        if len(array) >= size:
            return array
        grown = self._np.full(max(size, 2 * len(array)), fill, dtype=array.dtype)
        grown[: len(array)] = array
        return grown


def only_new(results: Sequence[Made | Rejected], pool: Pool) -> list[Made | Rejected]:
    """What tasks made, in order, with rows that are too much like one of the pool rejected (`not_novel`)."""
    places = [place for place, one in enumerate(results) if not isinstance(one, Rejected)]
    alike = pool.admit([one.about for one in results if not isinstance(one, Rejected)])
    found = dict(zip(places, alike, strict=True))
    kept: list[Made | Rejected] = []
    for place, one in enumerate(results):
        near = found.get(place)
        kept.append(Rejected("not_novel", f"ROUGE-L with another is {near.score:.2f}") if near else one)
    return kept
