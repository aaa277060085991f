"""Was one forecast better than another? Losses of both on the same days, which may share what came of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from clvlib.stats.effect import Effect

__all__ = ["loss_difference"]


def loss_difference(own: ArrayLike, rival: ArrayLike, span: int = 1, level: float = 0.95) -> Effect:
    """Compare the mean losses of two forecasts (Diebold & Mariano 1995).

    Parameters
    ----------
    own, rival : array_like, shape (n,)
        Losses on the same days, in order and equally spaced, such as absolute errors.
    span : int
        How many of these days a forecast reaches ahead: neighbours closer than that share outcomes.
    level : float
        Confidence level.

    Returns
    -------
    Effect
        Of mean(own) − mean(rival): below 0 the first is better.

    Raises
    ------
    ValueError
        Lengths differ, a loss is missing, or there are not two losses more than the span.

    Notes
    -----
    The variance of the mean difference holds its autocovariances up to ``span`` − 1; with the factor and Student's
    distribution of Harvey, Leybourne & Newbold (1997). Where these add up to nothing or less, autocovariances are
    weighted as by Bartlett (Newey & West 1987).

    Examples
    --------
    >>> found = loss_difference([1, 2, 1, 2, 2], [2, 2, 3, 4, 4])
    >>> round(found.estimate, 2), round(found.lower, 2), round(found.upper, 2)
    (-1.4, -2.51, -0.29)
    """
    first, second = np.asarray(own, dtype=float), np.asarray(rival, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or not np.isfinite([first, second]).all():
        raise ValueError("losses of two forecasts come in pairs, and none is missing")
    d, n = first - second, len(first)
    if span < 1 or n < span + 2 or not 0 < level < 1:
        raise ValueError(f"{n} losses are too few for forecasts that reach {span} of them ahead, or no level: {level}")
    off = d - d.mean()
    covariance = np.array([off[k:] @ off[: n - k] for k in range(span)]) / n
    variance = (covariance[0] + 2 * covariance[1:].sum()) / n
    if variance <= 1e-12 * covariance[0]:
        variance = (covariance[0] + 2 * (1 - np.arange(1, span) / span) @ covariance[1:]) / n
    factor = max((n + 1 - 2 * span + span * (span - 1) / n) / n, 1 / n)
    error = float(np.sqrt(variance / factor))
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * error
    estimate = float(d.mean())
    p_value = float(2 * special.stdtr(n - 1, -abs(estimate) / error)) if error > 0 else float(estimate == 0)
    return Effect(estimate, estimate - half, estimate + half, p_value, "Diebold-Mariano", level)
