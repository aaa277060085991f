"""Rates of counts that come in clusters, such as the days of a week, which differ by more than chance within each.

A million impressions a day make a binomial interval that is a hair's breadth wide and wrong: what repeats is the day.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.stats.effect import Effect
from clvlib.stats.proportions import proportion_interval, proportion_ratio

__all__ = ["dispersed_proportions", "dispersed_ratio"]

Array = NDArray[np.float64]


def dispersed_proportions(
    x: ArrayLike, n: ArrayLike, group: ArrayLike | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Rates of groups of clusters, with limits that hold how clusters of one group differ.

    Parameters
    ----------
    x, n : array_like
        Successes and trials of each cluster, 0 <= x <= n and n > 0.
    group : array_like, optional
        Group of each cluster; all are one group without. A group may have a single cluster where others have more.
    level : float
        Confidence level.

    Returns
    -------
    pandas.DataFrame
        By ``group``, sorted: ``clusters``, ``x``, ``n``, ``estimate``, ``lower``, ``upper``, ``design_effect`` (how
        many times the variance is the binomial one, at least 1) and ``df``.

    Raises
    ------
    ValueError
        Counts that cannot be, a level that is no share, or no group of two clusters.

    Notes
    -----
    Clusters have a common intraclass correlation r, found by equating the sum of squares with its expectation under
    var x = n p q (1 + (n - 1) r) (Williams 1982, as Kleinman 1973); a group's design effect is 1 + r (sum n^2 / sum n -
    1), and counts divided by it enter Wilson's interval (Rao & Scott 1992) with Student's t in place of the normal
    quantile. With clusters of one size this is the quasi-binomial, whose dispersion is Pearson's chi-square by its
    degrees of freedom.

    Examples
    --------
    >>> dispersed_proportions([10, 30, 20], [100, 100, 100])[["estimate", "design_effect"]].round(3).values.tolist()
    [[0.2, 6.25]]
    """
    counts, df = _effects(x, n, group)
    scale = counts["design_effect"] / _shrunk(level, df)
    limits = proportion_interval(counts["x"] / scale, counts["n"] / scale, level).set_axis(counts.index)
    return pd.concat([counts[["clusters", "x", "n"]], limits, counts["design_effect"]], axis=1).assign(df=df)


def dispersed_ratio(x: ArrayLike, n: ArrayLike, first: ArrayLike, level: float = 0.95) -> Effect:
    """Ratio of the rate of the clusters that are ``first`` to that of the others.

    Parameters
    ----------
    x, n : array_like
        As in :func:`dispersed_proportions`.
    first : array_like of bool
        Which clusters are compared with the rest.
    level : float
        Confidence level.

    Returns
    -------
    Effect
        Of the score test (Koopman 1984) on counts divided by design effects, with Student's t.

    Raises
    ------
    ValueError
        As :func:`dispersed_proportions`; or one side has no cluster, or neither has a success.

    Examples
    --------
    >>> effect = dispersed_ratio([10, 30, 20, 40, 60, 50], [100] * 6, [True] * 3 + [False] * 3)
    >>> print(f"{effect.estimate:.2f} {effect.lower:.2f} {effect.upper:.2f} {effect.p_value:.4f}")
    0.40 0.18 0.85 0.0272
    """
    chosen = np.asarray(first, dtype=bool)
    if not 0 < chosen.sum() < len(chosen):
        raise ValueError("one of the two sides has no cluster")
    counts, df = _effects(x, n, np.where(chosen, 0, 1))
    shrunk = _shrunk(level, df)
    counts = counts[["x", "n"]].div(counts["design_effect"] / shrunk, axis=0)
    (x1, n1), (x2, n2) = counts.to_numpy()
    found = proportion_ratio(x1, n1, x2, n2, level, method="mee")
    p_value = float(2 * special.stdtr(df, special.ndtri(found.p_value / 2) / shrunk**0.5))
    return Effect(found.estimate, found.lower, found.upper, min(p_value, 1.0), "rao-scott", level, 1.0)


def _shrunk(level: float, df: int) -> float:
    """Return by what counts shrink so that score limits with the normal quantile are those with Student's."""
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    tail = (1 - level) / 2
    return float(special.ndtri(tail) / special.stdtrit(df, tail)) ** 2


def _effects(x: ArrayLike, n: ArrayLike, group: ArrayLike | None) -> tuple[pd.DataFrame, int]:
    """Counts by group with their design effects, and the degrees of freedom of these."""
    hits, trials = np.asarray(x, dtype=float), np.asarray(n, dtype=float)
    labels = np.zeros(len(hits)) if group is None else np.asarray(group)
    if not (hits.ndim == 1 and hits.shape == trials.shape == labels.shape):
        raise ValueError(
            f"successes, trials and groups must be equally long: {hits.shape} {trials.shape} {labels.shape}"
        )
    if not ((hits >= 0) & (hits <= trials) & (trials > 0) & np.isfinite(trials)).all():
        raise ValueError("each cluster needs 0 <= successes <= trials and trials > 0")
    names, at = np.unique(labels, return_inverse=True)
    df = len(hits) - len(names)
    if df < 1:
        raise ValueError(
            f"{len(hits)} clusters in {len(names)} groups: none has two, so how clusters differ is not known"
        )
    total, successes, squares = (np.bincount(at, weights=w) for w in (trials, hits, trials**2))
    share = successes / total
    spread = share * (1 - share)
    inner = spread > 0  # where all or none succeed nothing is learnt of how days differ
    residual = np.bincount(at, weights=(hits - trials * share[at]) ** 2)
    pairs = squares - total
    alone = total - squares / total
    twice = np.bincount(at, weights=trials**2 * (trials - 1))
    together = pairs - 2 * twice / total + squares * pairs / total**2
    excess = (np.divide(residual, spread, out=np.zeros_like(total), where=inner) - alone)[inner].sum()
    weight = together[inner].sum()
    correlation = max(excess / weight, 0.0) if weight > 0 else 0.0
    effect = 1 + correlation * (squares / total - 1)
    frame = pd.DataFrame(
        {"clusters": np.bincount(at), "x": successes, "n": total, "design_effect": np.maximum(effect, 1.0)},
        index=pd.Index(names, name="group"),
    )
    return frame, df
