"""Rates of counts that come in clusters, such as the days of a week, which differ by more than chance within each.

A million impressions a day make a binomial interval that is a hair's breadth wide and wrong: what repeats is the day.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.stats.effect import Effect
from clvlib.stats.proportions import proportion_effects, proportion_interval

__all__ = ["dispersed_proportions", "dispersed_ratio", "dispersed_ratios"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
_COLUMNS = ("rate", "rate_lower", "rate_upper", "others", "estimate", "lower", "upper", "p_value")


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
    labels = np.zeros(np.shape(x)) if group is None else np.asarray(group)
    hits, trials = _checked(x, n, labels)
    names, at = np.unique(labels, return_inverse=True)
    cells = _design(hits, trials, at, np.zeros(len(names), np.int64))
    df = _known(cells, hits)
    scale = cells.effect / _shrunk(level, df)
    limits = proportion_interval(cells.x / scale, cells.n / scale, level)
    counts = {"clusters": cells.clusters, "x": cells.x, "n": cells.n}
    columns = counts | dict(limits.items()) | {"design_effect": cells.effect, "df": int(df[0])}
    return pd.DataFrame(columns).set_axis(pd.Index(names, name="group"))


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
    hits, trials = _checked(x, n, chosen)
    cells = _design(hits, trials, 1 - chosen, np.zeros(2, np.int64))
    found = _ratios(cells.x[None], cells.n[None], cells.effect[None], _known(cells, hits), level)
    estimate, lower, upper, p_value = (float(column[0]) for column in found)
    return Effect(estimate, lower, upper, p_value, "rao-scott", level, 1.0)


def dispersed_ratios(
    x: ArrayLike, n: ArrayLike, first: ArrayLike, sample: ArrayLike, level: float = 0.95
) -> pd.DataFrame:
    """Compare many samples at once, each as :func:`dispersed_ratio` does.

    Parameters
    ----------
    x, n, first, level
        As in :func:`dispersed_ratio`.
    sample : array_like
        Sample of each cluster.

    Returns
    -------
    pandas.DataFrame
        By ``sample``, sorted: ``rate`` of the clusters that are ``first`` with ``rate_lower`` and ``rate_upper`` (see
        :func:`dispersed_proportions`), ``others`` (their rate), and of the ratio ``estimate``, ``lower``, ``upper`` and
        ``p_value``. What a sample does not tell is missing: limits where no side has two clusters, the ratio also where
        a side has none, or neither has a success.

    Raises
    ------
    ValueError
        Counts that cannot be, or a level that is no share.

    Examples
    --------
    >>> week = [True] * 3 + [False] * 3 + [True]
    >>> found = dispersed_ratios([10, 30, 20, 40, 60, 50, 7], [100] * 7, week, [*"aaaaaab"])
    >>> found[["rate", "others", "estimate", "p_value"]].round(4).values.tolist()
    [[0.2, 0.5, 0.4, 0.0272], [0.07, nan, nan, nan]]
    """
    chosen = np.asarray(first, dtype=bool)
    hits, trials = _checked(x, n, chosen)
    names, number = np.unique(np.asarray(sample), return_inverse=True)
    kinds, at = np.unique(2 * number + ~chosen, return_inverse=True)  # cells: a sample's first side before the other
    of, side = kinds // 2, kinds % 2
    cells = _design(hits, trials, at, of)
    found = {name: np.full(len(names), np.nan) for name in _COLUMNS}
    for k, name in enumerate(("rate", "others")):
        found[name][of[side == k]] = (cells.x / cells.n)[side == k]
    told = (cells.df[of] > 0) & (side == 0)
    scale = cells.effect[told] / _shrunk(level, cells.df[of[told]])
    limits = proportion_interval(cells.x[told] / scale, cells.n[told] / scale, level)
    for end in ("lower", "upper"):
        found[f"rate_{end}"][of[told]] = limits[end]
    some = (cells.df > 0) & (np.bincount(of) == 2) & (np.bincount(of, cells.x) > 0)
    x2, n2, effect = (column[some[of]].reshape(-1, 2) for column in (cells.x, cells.n, cells.effect))
    for name, column in zip(_COLUMNS[4:], _ratios(x2, n2, effect, cells.df[some], level), strict=True):
        found[name][some] = column
    return pd.DataFrame(found, index=pd.Index(names, name="sample"))


def _ratios(x: Array, n: Array, effect: Array, df: Ints, level: float) -> tuple[Array, ...]:
    """Estimate, limits and p-value of the ratios of the first column's rates to the second's."""
    shrunk = _shrunk(level, df)
    (x1, x2), (n1, n2) = ((counts * shrunk[:, None] / effect).T for counts in (x, n))
    found = proportion_effects(x1, n1, x2, n2, level, method="mee", scale="ratio").to_numpy()
    p_value = 2 * special.stdtr(df, special.ndtri(found[:, 3] / 2) / np.sqrt(shrunk))
    return (*found[:, :3].T, np.minimum(p_value, 1.0))


def _shrunk(level: float, df: Ints) -> Array:
    """Return by what counts shrink so that score limits with the normal quantile are those with Student's."""
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    tail = (1 - level) / 2
    return np.asarray((special.ndtri(tail) / special.stdtrit(df, tail)) ** 2)


def _checked(x: ArrayLike, n: ArrayLike, labels: NDArray[Any]) -> tuple[Array, Array]:
    hits, trials = np.asarray(x, dtype=float), np.asarray(n, dtype=float)
    if not (hits.ndim == 1 and hits.shape == trials.shape == labels.shape):
        raise ValueError(
            f"successes, trials and groups must be equally long: {hits.shape} {trials.shape} {labels.shape}"
        )
    if not ((hits >= 0) & (hits <= trials) & (trials > 0) & np.isfinite(trials)).all():
        raise ValueError("each cluster needs 0 <= successes <= trials and trials > 0")
    return hits, trials


class _Cells(NamedTuple):
    """Counts of groups with their design effects, and the degrees of freedom of the sample that each set is."""

    clusters: Ints
    x: Array
    n: Array
    effect: Array
    df: Ints


def _known(cells: _Cells, hits: Array) -> Ints:
    """Degrees of freedom, where there are any."""
    if not cells.df.all():
        raise ValueError(
            f"{len(hits)} clusters in {len(cells.x)} groups: none has two, so how clusters differ is not known"
        )
    return cells.df


def _design(hits: Array, trials: Array, at: Ints, sample: Ints) -> _Cells:
    """Counts of groups with their design effects, from the group of each cluster and the sample of each group."""
    total, successes, squares = (np.bincount(at, w).astype(float) for w in (trials, hits, trials**2))
    share = successes / total
    spread = share * (1 - share)
    inner = spread > 0  # where all or none succeed nothing is learnt of how days differ
    residual = np.bincount(at, weights=(hits - trials * share[at]) ** 2)
    pairs = squares - total
    alone = total - squares / total
    twice = np.bincount(at, weights=trials**2 * (trials - 1))
    together = pairs - 2 * twice / total + squares * pairs / total**2
    excess = np.bincount(sample, (np.divide(residual, spread, out=np.zeros_like(total), where=inner) - alone) * inner)
    weight = np.bincount(sample, together * inner)
    correlation = np.maximum(np.divide(excess, weight, out=np.zeros_like(weight), where=weight > 0), 0.0)
    effect = 1 + correlation[sample] * (squares / total - 1)
    clusters = np.bincount(at)
    df = np.bincount(sample, clusters - 1).astype(np.int64)
    return _Cells(clusters, successes, total, np.maximum(effect, 1.0), df)
