"""Do groups wait equally long? The log-rank test on counts, within strata."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["log_rank"]

Array = NDArray[np.float64]


def log_rank(
    durations: ArrayLike,
    observed: ArrayLike,
    group: ArrayLike,
    weights: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
) -> float:
    """Test that the time to an event is distributed alike in all groups (Mantel 1966; Peto & Peto 1972).

    Parameters
    ----------
    durations : array_like
        Time to the event, or to the end of observation.
    observed : array_like of bool
        Whether the event was seen.
    group : array_like
        What is compared.
    weights : array_like, optional
        How many share the row.
    stratum : array_like, optional
        Groups are compared within each, and the comparisons added.

    Returns
    -------
    float
        P-value; 1 where there is one group only, or nothing to compare.

    Examples
    --------
    >>> round(log_rank([1, 2, 3, 4, 5, 6], [True] * 6, list("aaabbb")), 4)
    0.0246
    """
    t, event = np.asarray(durations, dtype=float), np.asarray(observed, dtype=bool)
    w = np.ones_like(t) if weights is None else np.asarray(weights, dtype=float)
    codes, names = pd.factorize(np.asarray(group))
    strata = np.zeros(len(t), dtype=np.intp) if stratum is None else pd.factorize(np.asarray(stratum))[0]
    if len(names) < 2:
        return 1.0
    excess, variance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    for part in range(strata.max() + 1):
        own = strata == part
        off, spread = _compared(t[own], event[own], codes[own], w[own], len(names))
        excess += off
        variance += spread
    values, vectors = np.linalg.eigh(variance)
    told = values > 1e-9 * max(float(values[-1]), 1e-300)
    if not told.any() or values[-1] <= 0:
        return 1.0
    statistic = float((((excess @ vectors[:, told]) ** 2) / values[told]).sum())
    return float(special.chdtrc(int(told.sum()), statistic))


def _compared(t: Array, event: NDArray[np.bool_], code: NDArray[np.intp], w: Array, groups: int) -> tuple[Array, Array]:
    """Return events less those expected, and their covariance, by the hypergeometric distribution at each time."""
    times, at = np.unique(t, return_inverse=True)
    events, leaving = (np.zeros((len(times), groups)) for _ in range(2))
    np.add.at(events, (at, code), w * event)
    np.add.at(leaving, (at, code), w)
    at_risk = np.cumsum(leaving[::-1], axis=0)[::-1]
    n, d = at_risk.sum(axis=1), events.sum(axis=1)
    share = at_risk / n[:, None]
    scale = d * np.divide(n - d, n - 1, out=np.zeros_like(n), where=n > 1)
    covariance = np.diag(scale @ share) - share.T @ (share * scale[:, None])
    return np.asarray((events - d[:, None] * share).sum(axis=0)), np.asarray(covariance)
