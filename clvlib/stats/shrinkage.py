"""Groups compared fairly: ratios to what was to be expected, drawn towards one another as far as luck may explain them.

A host with two streams tops every list of raw rates, or ends it. Here the ratio of what a group did to what was
expected of it is Poisson (over- or underdispersed) around a true ratio, and the true ratios follow a gamma
distribution (Clayton and Kaldor, Biometrics 43, 1987). Its spread is not fixed at one estimate, which would make
intervals too short where groups are few, but averaged over what the data allow, all spreads being equally likely
beforehand (Gelman, Bayesian Analysis 1, 2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

__all__ = ["Shrunken", "like_for_like_ratios", "shrink_ratios", "stand_out"]

Array = NDArray[np.float64]
SPREADS = np.geomspace(0.004, 2.0, 60)  # standard deviations of the true ratios that are considered


@dataclass(frozen=True)
class Shrunken:
    """Ratios of groups, shrunken.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per group: ``raw`` ratio, ``ratio`` (posterior mean), ``lower``, ``upper`` (central), ``own`` (weight of
        the group's own data, the rest being that of the others), ``rank`` (1 is best), ``rank_lower``, ``rank_upper``
        (central interval of the rank) and ``probability_best``.
    centre : float
        Mean of the true ratios.
    spread : float
        Their standard deviation by that mean (posterior mean).
    """

    table: pd.DataFrame
    centre: float
    spread: float


def shrink_ratios(
    observed: ArrayLike,
    expected: ArrayLike,
    *,
    better: Literal["higher", "lower"] = "higher",
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Shrunken:
    """Shrink ratios of observed to expected towards one another.

    Parameters
    ----------
    observed, expected : array_like
        Per group, on the scale on which the variance of the observed is the expected: counts of rare events as they
        are; of a share p, both by 1 - p; sums of money, both by the sum of squares over the sum.
    better : {"higher", "lower"}
        Which end is rank 1.
    level : float
        Of the intervals.
    draws, seed : int
        Of the posterior; the same seed gives the same figures, whatever the order of the groups.

    Returns
    -------
    Shrunken

    Raises
    ------
    ValueError
        Figures that cannot be, less than two groups, nothing observed anywhere, a level outside (0, 1).

    Examples
    --------
    Two of ten stand out far less than two hundred of a thousand, where ten in a hundred were expected:

    >>> found = shrink_ratios([2, 200, 95, 103, 98], [1, 100, 100, 100, 100]).table
    >>> found["raw"].tolist(), bool(found["ratio"].iloc[0] < found["ratio"].iloc[1])
    ([2.0, 2.0, 0.95, 1.03, 0.98], True)
    """
    index = observed.index if isinstance(observed, pd.Series) else None
    o, e = _checked(observed, expected, level)
    order = np.lexsort((e, o))
    o, e = o[order], e[order]
    weight, centre, error = _posterior_of_spread(o, e)
    rng = np.random.default_rng(seed)
    picked = np.searchsorted(np.cumsum(weight), (np.arange(draws) + 0.5) / draws).clip(max=len(SPREADS) - 1)
    mean = centre[picked] * np.exp(error[picked] * rng.standard_normal(draws))
    shape = SPREADS[picked] ** -2.0
    theta = rng.standard_gamma(shape[:, None] + o) / ((shape / mean)[:, None] + e)
    places = np.argsort(-theta if better == "higher" else theta, axis=1)
    ranks = np.empty_like(places)
    np.put_along_axis(ranks, places, np.arange(1, len(o) + 1)[None, :], axis=1)
    tail = (1 - level) / 2
    own = weight @ (e / (SPREADS[:, None] ** -2.0 / centre[:, None] + e))
    table = pd.DataFrame({
        "raw": np.divide(o, e, out=np.full_like(o, np.nan), where=e > 0),
        "ratio": theta.mean(axis=0),
        "lower": np.quantile(theta, tail, axis=0),
        "upper": np.quantile(theta, 1 - tail, axis=0),
        "own": own,
        "rank": stats.rankdata(ranks.mean(axis=0)),
        "rank_lower": np.quantile(ranks, tail, axis=0, method="lower"),
        "rank_upper": np.quantile(ranks, 1 - tail, axis=0, method="higher"),
        "probability_best": (ranks == 1).mean(axis=0),
    })  # fmt: skip
    table = table.iloc[np.argsort(order)].set_axis(pd.RangeIndex(len(o)) if index is None else index)
    return Shrunken(table=table, centre=float(weight @ centre), spread=float(weight @ SPREADS))


def _posterior_of_spread(o: Array, e: Array) -> tuple[Array, Array, Array]:
    """Per spread its weight, the centre that fits best, and the standard error of the centre's logarithm.

    The likelihood is that of negative binomial counts; the centre is integrated out (Laplace), flat in its logarithm.
    """
    k = SPREADS[:, None] ** -2.0
    log_mean = np.full((len(SPREADS), 1), np.log(o.sum() / e.sum()))
    for _ in range(50):
        mu = np.exp(log_mean) * e
        score = (k * (o - mu) / (k + mu)).sum(axis=1, keepdims=True)
        information = (k * mu * (k + o) / (k + mu) ** 2).sum(axis=1, keepdims=True)
        step = np.clip(score / information, -1, 1)
        log_mean = log_mean + step
        if np.abs(step).max() < 1e-10:
            break
    mu = np.exp(log_mean) * e
    likelihood = special.gammaln(k + o) - special.gammaln(k) - (k + o) * np.log1p(mu / k) + special.xlogy(o, mu / k)
    log_weight = likelihood.sum(axis=1) - np.log(information[:, 0]) / 2 + np.log(SPREADS)  # the grid's own density
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum(), np.exp(log_mean[:, 0]), information[:, 0] ** -0.5


def like_for_like_ratios(group: ArrayLike, stratum: ArrayLike, y: ArrayLike, n: ArrayLike) -> pd.DataFrame:
    """Compare what groups brought with what was to be expected of the strata that they had.

    The model is y = n × (of the group) × (of the stratum) with Poisson-like errors, fitted by maximum likelihood: a
    stratum's level is what it would be if all groups were alike, so a group that has most of a stratum to itself is
    not compared with itself. Where little was observed, groups may fall apart: nothing of one in any stratum that
    others share, but something in a stratum of its own, so that its ratio runs to zero and that stratum's level to
    infinity. Then each group is given half an observation at the ratio one (a gamma prior, by its maximum).

    Parameters
    ----------
    group, stratum : array_like
        Labels of each cell.
    y, n : array_like
        What was observed (a count, or money), and of how many.

    Returns
    -------
    pandas.DataFrame
        Index: groups, in their order. ``n``, ``observed``, ``expected`` (the sums of both agree; where groups
        fall apart, of what can be compared) and ``information``:
        the share of the group's expectation that can be compared with others, 0 where no stratum has anybody else.

    Raises
    ------
    ValueError
        Figures that are negative or not finite, or nothing observed.

    Examples
    --------
    Both convert alike in either stratum, b has more of the better one:

    >>> like_for_like_ratios(["a", "a", "b", "b"], [1, 2, 1, 2], [9, 10, 1, 90], [90, 20, 10, 180])[
    ...     ["observed", "expected"]].round(6).values.tolist()
    [[19.0, 19.0], [91.0, 91.0]]
    """
    yy, nn = np.asarray(y, dtype=float), np.asarray(n, dtype=float)
    if not (np.isfinite(yy) & (yy >= 0) & np.isfinite(nn) & (nn >= 0)).all() or not yy.sum() > 0:
        raise ValueError("what was observed is finite, not negative, and somewhere more than nothing")
    groups, (brought, size) = _table(group, stratum, yy, nn)
    of_group = brought.sum(axis=1)
    ratio, rate, expected = _fitted(brought, size)
    seen = ratio[of_group > 0]
    apart = bool(seen.min() < _APART * seen.max())
    if apart:
        ratio, rate, expected = _fitted(brought, size, float(yy[yy > 0].mean()) / 2)
    fitted = size * rate * ratio[:, None]
    others = 1 - np.divide(fitted, fitted.sum(axis=0), out=np.ones_like(fitted), where=fitted.sum(axis=0) > 0)
    comparable = np.divide((size * rate * others).sum(axis=1), expected, out=np.zeros(len(groups)), where=expected > 0)
    weight = comparable if apart and comparable.any() else np.ones(len(groups))  # what stands alone is no measure then
    expected = expected * ((of_group @ weight) / (expected @ weight))
    columns = {"n": size.sum(axis=1), "observed": of_group, "expected": expected, "information": comparable}
    return pd.DataFrame(columns, index=pd.Index(groups, name="group"))


_APART = 0.02  # of the largest ratio: less than that of groups of which something was seen is no ratio but a border


def _fitted(brought: Array, size: Array, extra: float = 0.0) -> tuple[Array, Array, Array]:
    """Return ratios of the groups, levels of the strata, and what is expected of each group at the ratio one."""
    of_group, of_stratum = brought.sum(axis=1), brought.sum(axis=0)
    ratio = np.ones(len(of_group))
    for _ in range(1000):
        rate = np.divide(of_stratum, ratio @ size, out=np.zeros_like(of_stratum), where=ratio @ size > 0)
        expected = size @ rate
        new = np.divide(of_group + extra, expected + extra, out=np.ones(len(ratio)), where=expected + extra > 0)
        if np.abs(new - ratio).max() < 1e-9:
            break
        ratio = new
    return ratio, rate, expected


def stand_out(group: ArrayLike, stratum: ArrayLike, x: ArrayLike, n: ArrayLike) -> pd.DataFrame:
    """Test each group against all others within the same strata (Mantel and Haenszel 1959, continuity corrected).

    Parameters
    ----------
    group, stratum : array_like
        Labels of each cell.
    x, n : array_like
        Successes and trials.

    Returns
    -------
    pandas.DataFrame
        Index: groups, in their order. ``z`` (negative: fewer successes than among the others) and two-sided
        ``p_value``, which is 1 where nothing can be compared.

    Raises
    ------
    ValueError
        Counts that cannot be.

    Examples
    --------
    >>> stand_out(["a", "b"], [1, 1], [30, 60], [200, 200]).round(4).values.tolist()
    [[-3.468, 0.0005], [3.468, 0.0005]]
    """
    groups, (xx, nn) = _table(group, stratum, x, n)
    if not ((xx >= 0) & (xx <= nn)).all():
        raise ValueError("successes lie between 0 and the trials")
    won, of = xx.sum(axis=0), nn.sum(axis=0)
    mean = won * nn / np.maximum(of, 1)
    variance = mean * (of - won) * (of - nn) / np.maximum(of * (of - 1), 1)
    apart, error = (xx - mean).sum(axis=1), np.sqrt(variance.sum(axis=1))
    size = np.divide(np.maximum(np.abs(apart) - 0.5, 0), error, out=np.zeros(len(groups)), where=error > 0)
    columns = {"z": np.sign(apart) * size, "p_value": 2 * special.ndtr(-size)}
    return pd.DataFrame(columns, index=pd.Index(groups, name="group"))


def _table(group: ArrayLike, stratum: ArrayLike, *values: ArrayLike) -> tuple[Array, list[Array]]:
    """Groups, and sums of each of the values with a row per group and a column per stratum."""
    groups, g = np.unique(np.asarray(group), return_inverse=True)
    strata, s = np.unique(np.asarray(stratum), return_inverse=True)
    shape = (len(groups), len(strata))
    sums = [np.bincount(g * shape[1] + s, np.asarray(v, dtype=float), shape[0] * shape[1]) for v in values]
    return groups, [np.asarray(flat.reshape(shape)) for flat in sums]


def _checked(observed: ArrayLike, expected: ArrayLike, level: float) -> tuple[Array, Array]:
    o, e = np.asarray(observed, dtype=float), np.asarray(expected, dtype=float)
    if o.shape != e.shape or o.ndim != 1 or len(o) < 2:
        raise ValueError(f"two groups or more are needed, each observed and expected; found {o.shape} and {e.shape}")
    if not (np.isfinite(o) & (o >= 0) & np.isfinite(e) & (e >= 0)).all() or not (o.sum() > 0 and e.sum() > 0):
        raise ValueError("observed and expected are finite, not negative, and somewhere more than nothing")
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    return o, e
