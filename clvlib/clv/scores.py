"""How good a forecast of counts was: proper scores, calibration, and how well it ranks customers by value.

A forecast is handed in as its upper tail, P(X ≥ n), which every purchase model knows in closed form; the scores follow
from it by sums of positive terms. All arrays have one entry per distinct case (a history and what came after it), so
that cost grows with those and not with customers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "BrierParts",
    "CountScores",
    "Tail",
    "brier_parts",
    "count_scores",
    "gains",
    "gini",
    "log_scores",
    "pit_shares",
    "pit_test",
    "poisson_tail",
]

Array = NDArray[np.float64]

# (which cases, n ≥ 1 with these cases on its last axis) -> P(X ≥ n)
Tail = Callable[[NDArray[np.intp], Array], Array]

_RESOLUTION = 1e-15  # a probability that is the difference of two tails is not known better than this part of them
_NEGLIGIBLE = 1e-8  # a tail below this adds less than its square to a CRPS
_CHUNK = 1 << 20  # numbers held at once


@dataclass(frozen=True)
class CountScores:
    """Scores of forecast counts, an entry per case.

    Attributes
    ----------
    log_score : array
        Log probability of what happened, in nats; higher is better.
    crps : array
        Continuous ranked probability score, in counts; lower is better, and 0 is a forecast without doubt or error.
    below, upto : array
        P(X < y) and P(X ≤ y) for the count y that happened.
    active : array
        P(X ≥ 1).
    """

    log_score: Array
    crps: Array
    below: Array
    upto: Array
    active: Array


def poisson_tail(mean: ArrayLike) -> Tail:
    """Return the tail of Poisson counts with the given means, one per case.

    >>> tail = poisson_tail([1.0, 2.0])
    >>> tail(np.array([0, 1]), np.array([1.0, 1.0])).round(4).tolist()  # 1 − e^−1, 1 − e^−2
    [0.6321, 0.8647]
    """
    means = np.asarray(mean, dtype=float)
    return lambda where, n: np.asarray(special.gammainc(n, means[where]))


def count_scores(tail: Tail, observed: ArrayLike) -> CountScores:
    """Score forecast counts against those that happened.

    Parameters
    ----------
    tail : callable
        The forecast: ``tail(where, n)`` gives P(X ≥ n) of the cases ``where``, for n ≥ 1 with cases on its last axis.
    observed : array_like of int, shape (m,)
        The count that happened in each case.

    Returns
    -------
    CountScores

    Notes
    -----
    P(X = y) is the difference of two tails. Where it is smaller than 1e-15 of the larger one it is set to that, so a
    forecast that calls impossible what happened loses 35 nats, not infinitely many.

    CRPS = Σ_{n<y} P(X ≤ n)² + Σ_{n≥y} P(X > n)² (Epstein 1969; Czado, Gneiting & Held 2009, eq. 5).

    Examples
    --------
    >>> scores = count_scores(poisson_tail([1.0]), [0])
    >>> scores.log_score.round(6).tolist(), scores.crps.round(4).tolist()
    ([-1.0], [0.4762])
    """
    y = np.asarray(observed, dtype=float)
    reached, passed = _tails(tail, y)
    crps, active = _crps(tail, y)
    return CountScores(_log_score(reached, passed), crps, 1 - reached, 1 - passed, active)


def log_scores(tail: Tail, observed: ArrayLike) -> Array:
    """Return the log scores of :func:`count_scores` alone, which cost a fraction of all.

    >>> log_scores(poisson_tail([1.0]), [0]).round(6).tolist()
    [-1.0]
    """
    return _log_score(*_tails(tail, np.asarray(observed, dtype=float)))


def _tails(tail: Tail, y: Array) -> tuple[Array, Array]:
    """Return P(X ≥ y) and P(X > y)."""
    every = np.arange(len(y))
    reached = np.ones(len(y))
    some = np.flatnonzero(y > 0)
    reached[some] = tail(some, y[some])
    return reached, np.minimum(tail(every, y + 1), reached)


def _log_score(reached: Array, passed: Array) -> Array:
    return np.log(np.maximum(reached - passed, np.maximum(_RESOLUTION * reached, 1e-300)))


def _crps(tail: Tail, y: Array) -> tuple[Array, Array]:
    """Sum the CRPS count by count, a case leaving once its tail is nothing; and return P(X ≥ 1)."""
    result, active = np.zeros(len(y)), np.zeros(len(y))
    todo, done = np.arange(len(y)), 0
    while len(todo):
        step = min(max(8, done), 1 + _CHUNK // len(todo))
        following = []
        for first in range(0, len(todo), _CHUNK // 8):
            part = todo[first : first + _CHUNK // 8]
            n = np.arange(done, done + step, dtype=float)[:, None]
            beyond = tail(part, np.broadcast_to(n + 1, (step, len(part))))  # P(X > n)
            if not done:
                active[part] = np.clip(beyond[0], 0.0, 1.0)
            result[part] += np.where(n < y[part], (1 - beyond) ** 2, beyond**2).sum(axis=0)
            over = beyond[-1] < _NEGLIGIBLE
            result[part[over]] += np.maximum(y[part[over]] - done - step, 0.0)  # P(X ≤ n)² is 1 from here on
            following.append(part[~over])
        todo, done = np.concatenate(following), done + step
    return result, active


def pit_shares(scores: CountScores, bins: int = 10) -> Array:
    """Return the share of each case's probability integral transform in equal bins of (0, 1), shape (m, bins).

    The transform of a count is uniform between P(X < y) and P(X ≤ y) (the non-randomised PIT of Czado, Gneiting & Held
    2009, eq. 2); averaged over cases, the bins of a right forecast hold equal shares.

    >>> pit_shares(count_scores(poisson_tail([1.0]), [0]), bins=2).round(4).tolist()  # uniform on (0, e^−1)
    [[1.0, 0.0]]
    """
    edges = np.linspace(0, 1, bins + 1)
    width = np.maximum(scores.upto - scores.below, _RESOLUTION)
    until = np.clip((edges - scores.below[:, None]) / width[:, None], 0.0, 1.0)
    until[:, 0], until[:, -1] = 0.0, 1.0
    return np.diff(until, axis=1)


def pit_test(shares: ArrayLike, customers: ArrayLike) -> float:
    """Test that the mean PIT histogram is flat.

    Hotelling's T² of the bins' shares around 1/J. It needs no random numbers, and knows that the PIT of counts varies
    less than that of a continuous forecast, since it takes the variance from the data.

    Parameters
    ----------
    shares : array_like, shape (groups, bins)
        Sums of :func:`pit_shares` over the customers of independent groups.
    customers : array_like, shape (groups,)
        How many customers each holds.

    Returns
    -------
    float
        P-value; NaN where there are too few groups, or they do not differ, so that nothing can be tested.
    """
    sums, n = np.asarray(shares, dtype=float), np.asarray(customers, dtype=float)
    sums, n = sums[n > 0], n[n > 0]
    excess = (sums - n[:, None] / sums.shape[1])[:, :-1]  # the bins add up, so one of them says nothing new
    groups = len(excess)
    if groups <= 2 * excess.shape[1]:  # too few to know how the bins vary together
        return float("nan")
    values, vectors = np.linalg.eigh(np.cov(excess, rowvar=False).reshape(excess.shape[1], -1))
    told = values > max(1e-9 * float(values[-1]), 1e-18)
    rank = int(told.sum())
    if not rank:
        return float("nan")
    mean = excess.mean(axis=0) @ vectors[:, told]
    squared = groups * float((mean**2 / values[told]).sum())
    return float(special.fdtrc(rank, groups - rank, squared * (groups - rank) / (rank * (groups - 1))))


class BrierParts(NamedTuple):
    """What a Brier score is made of: reliability − resolution + uncertainty + within.

    Attributes
    ----------
    reliability : float
        How far the bins' forecasts lie from what happened there; 0 is calibrated.
    resolution : float
        How far the bins lie from one another; higher is better.
    uncertainty : float
        Variance of what happened; no forecast changes it.
    within : float
        What the differences between forecasts of one bin add; 0 where they are equal.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def brier_parts(
    forecast: ArrayLike, happened: ArrayLike, bins: ArrayLike, weight: ArrayLike | None = None
) -> BrierParts:
    """Decompose a Brier score over bins (Murphy 1973; within bins as in Stephenson, Coelho & Jolliffe 2008).

    Parameters
    ----------
    forecast, happened : array_like, shape (m,)
        Probabilities, and 0 or 1 (or the share of those in whom it happened, who had the same forecast).
    bins : array_like of int, shape (m,)
        The bin of each.
    weight : array_like, shape (m,), optional
        How many customers each stands for.

    Examples
    --------
    >>> parts = brier_parts([0.2, 0.2, 0.8, 0.8], [0, 1, 1, 1], [0, 0, 1, 1])
    >>> [round(part, 4) for part in parts]  # Brier score 0.19
    [0.065, 0.0625, 0.1875, 0.0]
    """
    p, hit = np.asarray(forecast, dtype=float), np.asarray(happened, dtype=float)
    w = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=float)
    w = w / w.sum()
    _, code = np.unique(np.asarray(bins), return_inverse=True)
    share = np.bincount(code, w)
    mean_p, mean_hit = np.bincount(code, w * p) / share, np.bincount(code, w * hit) / share
    base = float(w @ hit)
    off = p - mean_p[code]
    within = float(w @ (off**2 - 2 * off * (hit - mean_hit[code])))
    reliability = float(share @ (mean_p - mean_hit) ** 2)
    resolution = float(share @ (mean_hit - base) ** 2)
    return BrierParts(reliability, resolution, base * (1 - base), within)


def _curve(forecast: Array, actual: Array) -> tuple[Array, Array]:
    """Return the corners of the gains curve: shares of customers and of value, equal forecasts in one step."""
    # two ways to reckon one forecast may differ in the last bit, and still are a tie
    _, code = np.unique(-np.round(forecast / max(float(np.abs(forecast).max()), 1e-300), 12), return_inverse=True)
    customers = np.concatenate([[0.0], np.cumsum(np.bincount(code))])
    value = np.concatenate([[0.0], np.cumsum(np.bincount(code, actual))])
    with np.errstate(invalid="ignore", divide="ignore"):
        return customers / customers[-1], value / value[-1]


def gains(forecast: ArrayLike, actual: ArrayLike, points: int = 101) -> Array:
    """Return the share of all value that the customers ranked highest by the forecast turned out to hold.

    Parameters
    ----------
    forecast, actual : array_like, shape (customers,)
        What was forecast and what came, not negative. Customers of equal forecast share their value evenly, so that
        the order of rows does not matter.
    points : int
        Shares of customers, evenly from 0 to 1.

    Returns
    -------
    array, shape (points,)
        NaN where no customer had any value.

    Examples
    --------
    >>> gains([3, 2, 1, 1], [5, 1, 4, 0], points=5).tolist()
    [0.0, 0.5, 0.6, 0.8, 1.0]
    """
    x, y = _curve(np.asarray(forecast, dtype=float), np.asarray(actual, dtype=float))
    return np.asarray(np.interp(np.linspace(0, 1, points), x, y))


def gini(forecast: ArrayLike, actual: ArrayLike) -> float:
    """Return how well a forecast ranks customers by value: 1 as well as can be, 0 no better than chance.

    It is the Gini index of actual value along the order of the forecast, over that along its own order. NaN where all
    customers had the same value.

    >>> round(gini([3, 2, 1, 1], [5, 1, 4, 0]), 4), round(gini([2, 1], [1, 2]), 4)
    (0.4444, -1.0)
    """
    f, a = np.asarray(forecast, dtype=float), np.asarray(actual, dtype=float)
    areas = [float(np.trapezoid(y, x)) - 0.5 for x, y in (_curve(f, a), _curve(a, a))]
    return areas[0] / areas[1] if areas[1] > 1e-12 else float("nan")
