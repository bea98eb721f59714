"""What is true when people of different care say different things: A. P. Dawid and A. M. Skene, Maximum likelihood
estimation of observer error-rates using the EM algorithm, Applied Statistics 28 (1979).

crowd-kit has it too, without weights for people; a test holds that both agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

SMOOTHING = 0.5
"""Imagined answers in each cell of a person's table, so that a few answers do not make anyone infallible."""


@dataclass(frozen=True)
class Estimated:
    """Chances of each value for each unit, how common the values are, and for each person P(said | true)."""

    chances: Floats
    common: Floats
    errors: Floats


def estimate(
    units: Places,
    people: Places,
    values: Places,
    shape: tuple[int, int, int],
    *,
    weights: Floats | None = None,
    turned: NDArray[np.bool_] | None = None,
    smoothing: float = SMOOTHING,
    steps: int = 200,
    tolerance: float = 1e-8,
) -> Estimated:
    """Fit by expectation and maximisation, beginning with each unit's shares of votes.

    `units`, `people` and `values` have one entry for each answer, numbered from 0; `shape` is how many there are of
    each. An answer's weight is that of its person. Where `turned`, values 0 and 1 stand the other way round for the
    unit than for the person: 0 is what a person saw on the left, and people mistake left for right in their own way.
    Then neither is commoner than the other before anybody voted: it is the votes that decide, not the order of a file.
    """
    how_many, raters, kinds = shape
    weight = np.ones(len(units)) if weights is None else weights
    swap = np.arange(kinds)
    swap[:2] = [1, 0]
    seen = np.tile(np.arange(kinds), (len(units), 1))  # for each answer and true value: as what the person saw it
    if turned is not None:
        seen[turned] = swap
    line = np.arange(len(units))
    chances = np.zeros((how_many, kinds))
    np.add.at(chances, (units, seen[line, values]), weight)
    chances /= np.maximum(chances.sum(axis=1, keepdims=True), 1e-300)
    before = -np.inf
    for _ in range(steps):
        common = chances.mean(axis=0)
        if turned is not None:
            common[:2] = common[:2].mean()
        said = np.full((raters, kinds, kinds), smoothing)  # person, true, said
        np.add.at(said.transpose(0, 2, 1), (people, values), weight[:, None] * chances[units[:, None], seen])
        errors = said / np.maximum(said.sum(axis=2, keepdims=True), 1e-300)
        logs = np.zeros((how_many, kinds)) + np.log(np.maximum(common, 1e-300))
        np.add.at(
            logs, units, weight[:, None] * np.log(np.maximum(errors[people[:, None], seen, values[:, None]], 1e-300))
        )
        most = logs.max(axis=1, keepdims=True)
        chances = np.exp(logs - most)
        total = chances.sum(axis=1, keepdims=True)
        chances /= total
        likelihood = float((most + np.log(total)).sum())
        if abs(likelihood - before) < tolerance:
            break
        before = likelihood
    return Estimated(chances, common, errors)
