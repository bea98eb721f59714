"""Which seed is tried when: all alike often, and as many times as it takes for the rows that are wanted."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator

from synth.recipe import JobSettings

PILOT = 64
"""How many tries there are before it is known how many rows a try makes."""

_GROWTH = 8
_TRIES_A_ROW = 3


class Choice:
    """The order of tries. It depends on the recipe and on what became of earlier tries, and on nothing else.

    With `per_seed` every seed is tried so often. With `rows` seeds are tried in an order by chance, those first of
    which the fewest rows were kept, until there are enough rows; a seed that can never be used is not tried again.
    """

    def __init__(self, job: JobSettings, seeds: int) -> None:
        self.rows = job.rows
        self.seeds = seeds
        self.per_seed = job.per_seed or 1
        self.most = self.per_seed * seeds if self.rows is None else job.tries or max(PILOT, _TRIES_A_ROW * self.rows)
        """How many tries there are at most."""
        self.tried = 0
        self.kept = 0
        self._goes_on = job.tries is not None
        self._begun = False
        self._order = list(range(seeds))
        if self.rows is not None:
            random.Random(f"{job.seed}/order").shuffle(self._order)  # noqa: S311 - to spread, not to hide
        self._kept = [0] * seeds
        self._tries = [0] * seeds
        self._useless: set[int] = set()

    @property
    def requested(self) -> int:
        """The rows that are wanted; where the recipe says how often to try, the tries."""
        return self.most if self.rows is None else self.rows

    def batch(self) -> Iterator[tuple[int, int]] | None:
        """The next tries, by seed and number; None where there are no more. The earlier ones have been told of."""
        if self.rows is None:
            if self._begun:
                return None
            self._begun = True
            return ((place, number) for number in range(self.per_seed) for place in self._order)
        missing = self.rows - self.kept
        hopeless = self.tried >= PILOT and not self.kept and not self._goes_on
        if missing <= 0 or self.tried >= self.most or hopeless or len(self._useless) == self.seeds:
            return None
        if not self.tried:
            size = min(missing, PILOT, self.seeds)  # each once at most: some may turn out to be of no use
        else:
            size = -(-missing * self.tried // max(self.kept, 1))
            size = min(size, _GROWTH * self.tried)
        return iter(self._fewest(min(size, self.most - self.tried)))

    def tell(self, place: int, kept: int, *, usable: bool = True) -> None:
        """How many rows of a try were kept, and whether anything could be asked about its seed."""
        self.tried += 1
        self.kept += kept
        self._kept[place] += kept
        if self.rows is None:
            return
        if not usable:
            self._useless.add(place)

    def _fewest(self, size: int) -> list[tuple[int, int]]:
        """Tries of the seeds of which the fewest rows were kept, then of those tried least. A seed that was tried in
        vain counts as if a row of it was kept in every third try, so that the hard ones do not take all."""
        heap = [
            (self._kept[place] + self._tries[place] // _TRIES_A_ROW, self._tries[place], rank, place)
            for rank, place in enumerate(self._order)
            if place not in self._useless
        ]
        heapq.heapify(heap)
        chosen = []
        for _ in range(size):
            kept, tries, rank, place = heapq.heappop(heap)
            chosen.append((place, tries))
            self._tries[place] = tries + 1
            # What is chosen here may be kept: the others have their turn first.
            heapq.heappush(heap, (kept + 1, tries + 1, rank, place))
        return chosen
