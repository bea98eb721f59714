"""What a search for near duplicates found: clusters of rows, for the report and for whoever chooses the threshold."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from curate.kernels.matching import Entries, Matches
from curate.kernels.shingles import Longs, Sets
from curate.near import Comparison, entries_from, rows_to_compare, slots_from
from curate.near_index import Index
from schemas.chat import ANSWER_MARK
from schemas.excerpt import excerpt

_SHOWN_CLUSTERS = 6
_SHOWN_MEMBERS = 4
_SHOWN_PAIRS = 8
_SHOWN_CHARS = 360
_READ_CHARS = 3_000
_BEFORE = 60
_STEPS = 20
_TOKEN = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|[^\W\u2e80-\u9fff\uf900-\ufaff]+|\s+|[^\w\s]")

Texts = Callable[[Sequence[int]], pl.DataFrame]


class Clusters:
    """Rows that stay and, for each, the rows that go for it.

    `summaries` has `ordinal`, `id`, `compared` (see `Comparison.summary`) and `source`; `order` has the places of its
    rows, best first; `texts` gives `ordinal` and `text` of just some rows. Rows that are near duplicates of one in
    `index` go for that one, and only the others are compared with each other.
    """

    def __init__(
        self,
        comparison: Comparison,
        summaries: pl.DataFrame,
        order: pl.Series,
        texts: Texts,
        index: Index | None = None,
    ) -> None:
        self.comparison = comparison
        self.index = index
        self._summaries = summaries
        self._order = order.to_numpy()
        self._texts = texts

    @cached_property
    def known(self) -> Matches:
        """For each row the row of the index that it is a near duplicate of, by its place there."""
        count = self._summaries.height
        if self.index is None:
            return Matches(np.full(count, -1, dtype=np.int64), np.zeros(count), 0)
        return self.index.search(self._entries, self.comparison.threshold)

    @cached_property
    def matches(self) -> Matches:
        """For each row that is not known the row that stays for it, by place."""
        return self._matched(self.comparison.threshold)

    def gone(self) -> pl.DataFrame:
        """Rows that go: `place`, the `id` of the row each goes for, and their `similarity`; in order."""
        ids = self._summaries["id"]
        parts = []
        if self.index is not None:
            places = np.flatnonzero(self.known.kept >= 0)
            names = [one.decode() for one in self.index.ids[self.known.kept[places]].tolist()]
            parts.append((places, pl.Series(names, dtype=pl.String), self.known.similarity[places]))
        places = np.flatnonzero(self.matches.kept >= 0)
        parts.append((places, ids.gather(self.matches.kept[places]), self.matches.similarity[places]))
        frames = [pl.DataFrame({"place": part[0], "id": part[1], "similarity": part[2]}) for part in parts]
        return pl.concat(frames).sort("place")

    def _matched(self, threshold: float) -> Matches:
        if self.comparison.search == "lsh":
            slots = slots_from(self._summaries["compared"])
            return self.comparison.match_slots(slots, self._entries, self._order)
        order = self._order[self.known.kept[self._order] < 0] if self.index is not None else self._order
        return self.comparison.match(self._entries, order, threshold)

    @cached_property
    def _entries(self) -> Entries:
        if self.comparison.search != "lsh":
            return entries_from(self._summaries["compared"])
        rows = rows_to_compare(slots_from(self._summaries["compared"]))
        texts = self._texts(self._summaries["ordinal"].gather(rows).to_list())["text"]
        found = self.comparison.whole(texts)
        addresses, sizes = (np.zeros(self._summaries.height, dtype=np.int64) for _ in range(2))
        addresses[rows], sizes[rows] = found.addresses, found.sizes
        return Entries.single(Sets(addresses, sizes, found.held))

    def how(self) -> dict[str, Any]:
        """How rows were searched, and why so."""
        comparison = self.comparison
        told: dict[str, Any] = {
            "search": comparison.search,
            "threshold": comparison.threshold,
            "unit": comparison.unit,
            "n": comparison.n,
            "verified": self.matches.verified + self.known.verified,
        }
        if comparison.search == "lsh":
            bands, rows, recall = comparison.bands()
            return told | {"bands": bands, "rows": rows, "recall": round(recall, 5)}
        sizes = self._entries.sets.sizes
        return told | {"shingles": int(sizes.sum()), "per_row": round(float(sizes.mean()), 1) if len(sizes) else 0.0}

    def findings(self, alarm: float) -> list[dict[str, Any]]:
        """Sources that lost more than `alarm` of their rows."""
        found = []
        for name, rows, gone in self._by_source():
            if gone > alarm * rows:
                found.append(
                    {
                        "kind": "source_of_near_duplicates",
                        "severity": "high",
                        "count": gone,
                        "share": gone / rows,
                        "example": f"{name}: {gone:,} of {rows:,} rows are near duplicates of others",
                        "fix": "look at the pairs in the report before you believe it; a template that rows share "
                        "may be all that is compared: try `field: answer`, or a higher threshold",
                    }
                )
        return found

    def report(self, explore: float | None) -> dict[str, Any]:
        """All that a report shows; texts are excerpts."""
        kept, similarity = self.matches.kept, self.matches.similarity
        gone = np.flatnonzero(kept >= 0)
        sizes = Counter(kept[gone].tolist())
        return {
            "how": self.how(),
            "rows": len(kept),
            "dropped": len(gone),
            "known": int((self.known.kept >= 0).sum()),
            "clusters": len(sizes),
            "sizes": _binned(sizes),
            "curve": self._curve(explore),
            "by_source": [list(one) for one in self._by_source()],
            "largest": self._largest(sizes),
            "borderline": self._shown(gone[np.argsort(similarity[gone], kind="stable")][:_SHOWN_PAIRS]),
        }

    def _curve(self, explore: float | None) -> list[list[float]]:
        """Thresholds and about how many rows would stay: upward from the same search, downward from one more."""
        threshold, total = self.comparison.threshold, len(self.matches.kept)
        points: dict[float, int] = {}
        if explore is not None and explore < threshold and self.comparison.search == "exact":
            lower = self._matched(explore).similarity
            stay = total - int((self.matches.similarity >= threshold - 1e-9).sum())
            for step in np.arange(explore, threshold - 1e-9, 0.05)[::-1]:
                stay = min(stay, total - int((lower >= step - 1e-9).sum()))  # a lower threshold drops no fewer
                points[round(float(step), 4)] = stay
        for step in sorted({threshold, *(place / _STEPS for place in range(_STEPS + 1) if place / _STEPS > threshold)}):
            points[round(step, 4)] = total - int((self.matches.similarity >= step - 1e-9).sum())
        return [[step, rows] for step, rows in sorted(points.items())]

    def _by_source(self) -> list[tuple[str, int, int]]:
        """Source, its rows, and how many of them go; those that lose most first."""
        gone = pl.Series("gone", (self.matches.kept >= 0) | (self.known.kept >= 0))
        counted = self._summaries.select("source", gone).group_by("source").agg(pl.len(), pl.col("gone").sum())
        return sorted(counted.iter_rows(), key=lambda one: (-one[2], one[0]))

    def _largest(self, sizes: Counter[int]) -> list[dict[str, Any]]:
        shown = sorted(sizes.items(), key=lambda one: (-one[1], one[0]))[:_SHOWN_CLUSTERS]
        found = []
        for place, size in shown:
            members = np.flatnonzero(self.matches.kept == place)
            least_alike = members[np.argsort(self.matches.similarity[members], kind="stable")][:_SHOWN_MEMBERS]
            found.append({"size": size + 1, "pairs": self._shown(least_alike)})
        return found

    def _shown(self, places: Longs) -> list[dict[str, Any]]:
        """Pairs of a row that goes and the row it goes for, side by side with differences marked."""
        if not len(places):
            return []
        kept = self.matches.kept[places]
        wanted = sorted({*places.tolist(), *kept.tolist()})
        ordinals = self._summaries["ordinal"].gather(wanted).to_list()
        texts = dict(zip(wanted, self._texts(ordinals)["text"].to_list(), strict=True))
        ids = self._summaries["id"]
        return [
            {
                "id": ids[int(place)],
                "kept": ids[int(other)],
                "similarity": round(float(self.matches.similarity[place]), 4),
                **side_by_side(texts[other] or "", texts[place] or ""),
            }
            for place, other in zip(places.tolist(), kept.tolist(), strict=True)
        ]


def side_by_side(kept: str, gone: str) -> dict[str, list[list[str]]]:
    """Excerpts of two texts from shortly before they first differ, as runs of [text, "same" or "differs"]."""
    plain = (text.replace(ANSWER_MARK, "") for text in (kept, gone))
    a, b = (_TOKEN.findall(excerpt(text, _READ_CHARS)) for text in plain)
    first = next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    begin, room = first, _BEFORE
    while begin and room > 0:
        begin -= 1
        room -= len(a[begin])
    left, right = ([["…", "same"]] if begin else [] for _ in range(2))
    for tag, i, j, k, m in difflib.SequenceMatcher(None, a[begin:], b[begin:], autojunk=False).get_opcodes():
        kind = "same" if tag == "equal" else "differs"
        for runs, part in ((left, a[begin + i : begin + j]), (right, b[begin + k : begin + m])):
            if part:
                runs.append(["".join(part), kind])
    return {"left": _cut(left), "right": _cut(right)}


def _cut(runs: list[list[str]]) -> list[list[str]]:
    """The runs as far as they are shown."""
    room, found = _SHOWN_CHARS, []
    for text, kind in runs:
        if room > 0:
            found.append([text if len(text) <= room else text[:room] + "…", kind])
        elif room == 0 and found:
            found[-1][0] += "…"
        room -= len(text)
    return found


def _binned(sizes: Counter[int]) -> list[list[Any]]:
    """How many clusters there are of 2 rows, 3, 4–5, 6–10, ... rows."""
    bounds = [(2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, 1_000), (1_001, 1 << 62)]
    found = []
    for low, high in bounds:
        count = sum(1 for size in sizes.values() if low <= size + 1 <= high)
        if count:
            name = str(low) if low == high else f"{low}+" if high == 1 << 62 else f"{low}–{high}"
            found.append([name, count])
    return found
