"""A ratio between those with and those without something, within strata: the same customer, say, on other days."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from clvlib.stats.effect import Effect

__all__ = ["matched_ratio"]


def matched_ratio(
    y: ArrayLike, n: ArrayLike, treated: ArrayLike, stratum: ArrayLike, cluster: ArrayLike, level: float = 0.95
) -> Effect:
    """Estimate one ratio of means from comparisons within strata alone.

    The model is y = n × (of the stratum) × ratio where treated, fitted as Poisson regression with a constant for each
    stratum, which asks for nothing but these means (Wooldridge 1999); so y may be money. Standard errors are those of
    clusters, whatever goes on within them.

    Parameters
    ----------
    y, n : array_like
        Sum of what was observed, and of how many (or of how much was expected).
    treated : array_like of bool
        Whether with or without.
    stratum, cluster : array_like
        Who is compared with whom, and whose rows belong together.
    level : float
        Confidence level.

    Returns
    -------
    Effect
        The ratio; its p-value is that of 1.

    Raises
    ------
    ValueError
        Figures that cannot be, or less than ten clusters in strata that have both with and without.

    Examples
    --------
    Dear and cheap customers, each spending a fifth more with it; those with it are the dear ones:

    >>> found = matched_ratio([12, 10] * 10 + [120, 100] * 10, [1, 1] * 10 + [9, 9] * 10, [True, False] * 20,
    ...                       np.repeat(range(20), 2), np.repeat(range(20), 2))
    >>> round(found.estimate, 6)
    1.2
    """
    yy, nn = np.asarray(y, dtype=float), np.asarray(n, dtype=float)
    x = np.asarray(treated, dtype=bool)
    if not (np.isfinite(yy) & (yy >= 0) & np.isfinite(nn) & (nn > 0)).all() or not 0 < level < 1:
        raise ValueError("figures are finite, not negative, of more than nothing, and the level lies in (0, 1)")
    s = pd.factorize(np.asarray(stratum))[0]
    both = (np.bincount(s, x) > 0) & (np.bincount(s, ~x) > 0) & (np.bincount(s, yy) > 0)
    kept = both[s]
    yy, nn, x, s = yy[kept], nn[kept], x[kept], s[kept]
    c = pd.factorize(np.asarray(cluster)[kept])[0]
    if c.max(initial=0) < 9 or not (yy[x].sum() > 0 and yy[~x].sum() > 0):
        raise ValueError("less than ten clusters have anything to compare")
    of, total = np.bincount(s, nn * ~x), np.bincount(s, yy)
    with_it = np.bincount(s, nn * x)
    log_ratio = 0.0
    for _ in range(100):
        share = with_it * np.exp(log_ratio) / np.maximum(with_it * np.exp(log_ratio) + of, 1e-300)
        score, information = yy[x].sum() - total @ share, total @ (share * (1 - share))
        step = np.clip(score / information, -1, 1)
        log_ratio += step
        if abs(step) < 1e-12:
            break
    level_of = total / np.maximum(with_it * np.exp(log_ratio) + of, 1e-300)
    residual = (x - share[s]) * (yy - nn * level_of[s] * np.exp(log_ratio * x))
    error = float(np.sqrt(np.sum(np.bincount(c, residual) ** 2)) / information)
    reach = float(-special.ndtri((1 - level) / 2)) * error
    p_value = float(2 * special.ndtr(-abs(log_ratio) / error)) if error > 0 else 1.0
    ends = np.exp([log_ratio, log_ratio - reach, log_ratio + reach])
    return Effect(float(ends[0]), float(ends[1]), float(ends[2]), p_value, "within strata", level, 1.0)
