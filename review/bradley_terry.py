"""The Bradley–Terry model with terms for who judged and what stood where.

P(a is preferred to b) = sigmoid(strength of a − strength of b + x·terms), where x describes the showing: which answer
stood left, which was longer, who judged. R. A. Bradley and M. E. Terry, Rank analysis of incomplete block designs,
Biometrika 39 (1952); the order effect after R. R. Davidson and R. J. Beaver, Biometrics 33 (1977). A tie counts as half
a win for each. Penalties keep every fit finite and its optimum the only one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_MOST_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Fitted:
    """Strengths of the answers and the other terms, in log-odds, with the covariance of the terms."""

    strengths: Floats
    terms: Floats
    covariance: Floats


def fit(
    items: int,
    first: Places,
    second: Places,
    share: Floats,
    *,
    penalty: float,
    design: Floats | None = None,
    term_penalties: Floats | None = None,
    weights: Floats | None = None,
) -> Fitted:
    """The model's fit to comparisons of `first` with `second`, of which `first` won `share` (1, 0.5 or 0).

    `penalty` times the sum of squared strengths, and each term's own penalty times its square, are added to the
    negative log-likelihood. `design` has a row for each comparison and a column for each term.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    count = len(first)
    x = np.zeros((count, 0)) if design is None else design
    weight = np.ones(count) if weights is None else weights
    lines = np.arange(count)
    sides: Any = sparse.csr_matrix(
        (np.r_[np.ones(count), -np.ones(count)], (np.r_[lines, lines], np.r_[first, second])), shape=(count, items)
    )
    full: Any = sparse.hstack([sides, sparse.csr_matrix(x)], format="csr")
    ridge = np.r_[np.full(items, penalty), np.zeros(x.shape[1]) if term_penalties is None else term_penalties]

    def loss(at: Floats) -> float:
        logit = full @ at
        return float(weight @ (np.logaddexp(0.0, logit) - share * logit) + ridge @ at**2)

    def curvature(at: Floats) -> tuple[Floats, Any]:
        chance = 1.0 / (1.0 + np.exp(-np.clip(full @ at, -500, 500)))
        gradient = full.T @ (weight * (chance - share)) + 2 * ridge * at
        spread = sparse.diags(weight * chance * (1 - chance))
        hessian = full.T @ spread @ full + sparse.diags(2 * ridge + 1e-12)
        return gradient, splu(sparse.csc_matrix(hessian))

    at = np.zeros(items + x.shape[1])
    value = loss(at)
    for _ in range(_MOST_STEPS):
        gradient, solver = curvature(at)
        step = solver.solve(gradient)
        size = 1.0
        while (tried := loss(at - size * step)) > value and size > 1e-6:
            size /= 2
        at, value = at - size * step, min(tried, value)
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    _, solver = curvature(at)
    unit = np.zeros((len(at), x.shape[1]))
    unit[items:] = np.eye(x.shape[1])
    covariance = solver.solve(unit)[items:] if x.shape[1] else np.zeros((0, 0))
    return Fitted(at[:items], at[items:], covariance)
