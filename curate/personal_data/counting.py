"""Rows that hold personal data, counted for a profile: types, and examples in which every value is masked.

Values that are nobody's, such as addresses at example.com, do not count: they are what others are replaced by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from curate.personal_data.detect import Detector
from curate.personal_data.surrogates import is_surrogate

SECRET = "SECRET"  # noqa: S105
"""The type that is no person's but must not be there either."""


_BEFORE_CHARS, _BEHIND_CHARS = 50, 100


class Counting:
    """Counts rows with personal data, one frame after the other, and keeps a few examples of each type."""

    def __init__(self, names: bool = False, max_examples: int = 5) -> None:
        self.names = names
        self.rows = 0
        """Rows with personal data of any type but secrets."""
        self._detector = Detector(names=names)
        self._types: Counter[str] = Counter()
        self._max_examples = max_examples
        self.examples: dict[str, list[dict[str, Any]]] = {}

    def found(self, texts: pl.Series) -> pl.DataFrame:
        """What is found in texts, which `take` counts; any thread may do it."""
        return _real(texts, self._detector.find(texts))

    def take(self, texts: pl.Series, found: pl.DataFrame, show: Callable[[int, str], dict[str, Any]]) -> None:
        """The rows that come next: their texts, what was found in them, and how to show the row at a place with some
        text as its excerpt."""
        if found.is_empty():
            return
        types = found.unique(["text", "type"])["type"].value_counts()
        self._types.update(dict(types.iter_rows()))
        self.rows += found.filter(pl.col("type") != SECRET)["text"].n_unique()
        for (type_,), some in found.group_by("type", maintain_order=True):
            shown = self.examples.setdefault(str(type_), [])
            first = some.unique("text", keep="first", maintain_order=True)
            for place, begin in first.select("text", "begin").head(self._max_examples - len(shown)).iter_rows():
                spans = found.filter(pl.col("text") == place).select("begin", "end", "type").rows()
                shown.append(show(place, around(texts[place], spans, begin)))

    @property
    def types(self) -> dict[str, int]:
        """Rows by the types that they hold, the commonest first."""
        return dict(sorted(self._types.items(), key=lambda one: (-one[1], one[0])))


def _real(texts: pl.Series, found: pl.DataFrame) -> pl.DataFrame:
    """Findings but for values that are nobody's."""
    real = [not is_surrogate(type_, texts[at][begin:end]) for at, begin, end, type_, _ in found.iter_rows()]
    return found.filter(pl.Series(real, dtype=pl.Boolean))


def around(text: str, spans: Sequence[tuple[int, int, str]], begin: int) -> str:
    """What is near the span that begins there, every span of the text replaced by its type: `call <PHONE_NUMBER> now`.

    The spans are in order and do not overlap.
    """
    first, last = max(0, begin - _BEFORE_CHARS), begin + _BEHIND_CHARS
    pieces, at = ["…"] if first else [], first
    for start, end, type_ in spans:
        if end <= first or start >= last:
            continue
        pieces += [text[at:start] if start > at else "", f"<{type_}>"]
        at = max(end, at)
    return "".join([*pieces, text[at:last]])
