"""Draws of the weeks to come: repeat orders from the purchase model, the rest from what past weeks were like."""

# ruff: noqa: SLF001 - draws stand on the machinery of the models, below what users see

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.outlook_series import Drift, arrivals_drift, lone, shared_drift
from clvlib.clv.outlook_weeks import Past

__all__ = ["Ahead", "Curve", "ahead", "paced"]

Array = NDArray[np.float64]

_FEWEST = 8
_FARTHEST = 1.0  # a week at a third or at three times of what was expected tells no more than that
_LEAST_EXPECTED = 5.0  # repeat purchases of a week, below which its ratio is left out
_NODES, _PACE = 8, 4.0  # times at which a model is evaluated, dense within the first weeks
_NOBODY, _MOST = 2 * np.sqrt(3 / 8), 1e8  # limits of the scale of new customers
_BASKET = 26  # weeks whose baskets count


class Ahead(NamedTuple):
    """Draws of the coming weeks, arrays of shape (draws, weeks)."""

    known: Array  # repeat orders of the customers so far
    new: Array  # first orders
    later: Array  # repeat orders of those who are still to come
    money: Array
    known_mean: Array  # what the purchase model expects of the customers so far, shape (weeks,)
    shared: float  # relative deviation of estimates by what past weeks shared


class Curve(NamedTuple):
    """What all customers together are expected to do within t, up to a longest t."""

    spline: CubicSpline

    def __call__(self, t: ArrayLike) -> Array:
        """Return the expectation within t."""
        return np.asarray(self.spline(np.log1p(np.asarray(t, dtype=float) / _PACE)))

    @classmethod
    def of(cls, model: PurchaseModel, summary: pd.DataFrame, longest: float, spend: Array) -> tuple[Curve, Curve]:
        """Return expected purchases, and expected money with a spend for each row of the summary.

        The model is evaluated at a few times; between them a cubic spline is within a thousandth.
        """
        cells, p = model._read(summary), model._p()
        money = np.bincount(cells.inverse, weights=cells.rows * spend, minlength=len(cells))
        nodes = np.linspace(0, np.log1p(longest / _PACE), _NODES)
        each = [model._expected_cells(p, cells, t) for t in _PACE * np.expm1(nodes[1:])]
        both = [[0.0, *(float(weight @ one) for one in each)] for weight in (cells.weight, money)]
        return cls(CubicSpline(nodes, both[0])), cls(CubicSpline(nodes, both[1]))


def ahead(
    model: PurchaseModel, summary: pd.DataFrame, past: Past, pace: Array, curve: Curve, spread: float, weeks: int,
    draws: int, rng: np.random.Generator,
) -> Ahead:  # fmt: skip
    """Draw orders and money of the coming weeks.

    Parameters
    ----------
    model : PurchaseModel
        Fitted to the summary, in weeks.
    summary : pandas.DataFrame
        Histories at the end of ``past``.
    past : Past
        The weeks so far.
    pace : array
        Of the clock by which the model was fitted; :func:`paced`.
    curve : Curve
        Purchases that the customers so far are expected to make.
    spread : float
        Relative deviation of that total by what the parameters are not known.
    weeks, draws : int
        How many of either.
    rng : numpy.random.Generator

    Notes
    -----
    Weeks share what no customer's history holds: log(actual / expected) of past weeks goes on as a first-order
    autoregression around zero, seen through chance. Estimates were made in such weeks, so the level has the error of
    their mean. New customers are forecast on the scale 2 √(n + 3/8), on which chance has variance 1 (Anscombe 1948),
    with a trend that fades; what weeks vary beyond chance is drawn on it, and chance as a Poisson count, since below a
    few customers a week it has less variance. Shocks of both are drawn with the correlation of their residuals. Chance
    of single purchases is that of a Poisson count, widened to the variance that the model gives the total.
    """
    shared, arrivals, together = _series(model, past, pace, weeks)
    first = rng.standard_normal((draws, weeks))
    second = together * first + np.sqrt(1 - together**2) * rng.standard_normal((draws, weeks))
    mean = np.maximum(np.diff(curve(np.arange(weeks + 1))), 0.0)
    factor = np.exp(shared.paths(first, rng))
    factor *= np.exp(shared.expected()) / factor.mean(axis=0)
    beyond = arrivals._replace(noise=np.sqrt(np.maximum(arrivals.noise**2 - 1, 0.0)))
    new = rng.poisson(counts_at(beyond.paths(second, rng))).astype(float)
    level = shared.level_error(len(past.weeks))
    apart = float(np.hypot(_apart(model, summary, mean, spread, rng), level))
    own = np.exp(apart * rng.standard_normal((draws, 1)) - apart**2 / 2)
    since = np.diff(model.expected_purchases_new(np.arange(weeks) + 0.5), prepend=0.0)
    later = np.stack([new[:, : w + 1] @ since[w::-1] for w in range(weeks)], axis=1)
    known, later = (rng.poisson(np.minimum(factor * own * each, 1e15)).astype(float) for each in (mean, later))
    table = past.weeks.tail(_BASKET)
    repeats = (table["money"] - table["new_money"], table["orders"] - table["new"])
    money = (known + later) * _baskets(*repeats, (draws, weeks), rng)
    money += new * _baskets(table["new_money"], table["new"], (draws, weeks), rng)
    return Ahead(known, new, later, money, mean, level)


def counts_at(level: Array) -> Array:
    """Return the means of Poisson counts n of which 2 √(n + 3/8) has these means (Mäkitalo & Foi 2011).

    Squaring would take a shop to which nobody comes for one with a new customer in every second week.

    >>> counts_at(2 * np.sqrt(np.array([0.0, 100.0]) + 0.375)).round(2).tolist()
    [0.0, 100.26]
    """
    d = np.clip(level, _NOBODY, _MOST)
    mean = d**2 / 4 + np.sqrt(1.5) / 4 / d - 11 / 8 / d**2 + 5 * np.sqrt(1.5) / 8 / d**3 - 1 / 8
    return np.asarray(np.maximum(mean, 0.0))


def paced(model: PurchaseModel, past: Past) -> Array:
    """Return the pace of each past week: what lone weeks had of repeat orders, in those of the weeks before them."""
    pace, (ratio, chance, since) = np.ones(len(past.weeks)), _ratio(model, past, None)
    for week in np.flatnonzero(lone(ratio, chance)):
        pace[since + week] = np.exp(ratio[week] - np.median(ratio[week - _FEWEST : week]))
    return pace


def _ratio(model: PurchaseModel, past: Past, pace: Array | None) -> tuple[Array, Array, int]:
    """Return log(actual / expected) repeat orders of past weeks, its variance by chance, and the first of the weeks."""
    actual, expected = past.repeats, past.expected_repeats(model, pace)
    expected = expected if pace is None else expected / pace
    told = np.flatnonzero(expected >= _LEAST_EXPECTED)
    since = int(told[0]) if len(told) else len(expected)
    ratio = np.log((actual[since:] + 0.5) / (expected[since:] + 0.5))
    return np.clip(ratio, -_FARTHEST, _FARTHEST), 1 / np.maximum(expected[since:], 1.0), since


def _series(model: PurchaseModel, past: Past, pace: Array, weeks: int) -> tuple[Drift, Drift, float]:
    """Follow what weeks share and who comes anew, and say how the two move together."""
    ratio, chance, _ = _ratio(model, past, pace)
    shared = shared_drift(ratio, chance, weeks)
    arrivals = arrivals_drift(2 * np.sqrt(past.weeks["new"].to_numpy(dtype=float) + 0.375), weeks)
    n = min(len(shared.residuals), len(arrivals.residuals))
    first, second = (each.residuals[len(each.residuals) - n :] for each in (shared, arrivals))
    moves = n >= _FEWEST and min(first.std(), second.std()) > 0
    together = float(np.asarray(np.corrcoef(first, second))[0, 1]) if moves else 0.0
    return shared, arrivals, together


def _apart(model: PurchaseModel, summary: pd.DataFrame, mean: Array, spread: float, rng: np.random.Generator) -> float:
    """Return the relative deviation of all purchases together, chance of a Poisson count left out."""
    cells, weeks, total = model._read(summary), float(len(mean)), float(mean.sum())
    if total <= 0:
        return 0.0
    times = -(-2_000 // len(cells))
    each = np.tile(model._expected_cells(model._p(), cells, weeks), times)
    several = cells.take(np.tile(np.arange(len(cells)), times))
    drawn, _ = model._draw(model._p(), several, np.full(len(each), weeks), rng)
    variance = float(np.tile(cells.weight, times) @ (drawn - each) ** 2) / times
    return float(np.sqrt(spread**2 + max(variance - total, 0.0) / total**2))


def _baskets(money: pd.Series, orders: pd.Series, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Draw the mean basket of coming weeks from those of the past: their level, and how they differed."""
    sold = (orders > 0) & (money > 0)
    if not sold.any():
        return np.zeros(shape)
    level = float(money.sum() / orders.sum())
    n = int(sold.sum())
    off = np.log((money[sold] / orders[sold]).to_numpy(dtype=float) / level)
    deviation = float(np.sqrt((off**2).sum() / (n - 1))) if n > 1 else 0.0
    shocks = rng.standard_normal(shape) + rng.standard_normal((shape[0], 1)) / np.sqrt(n)
    return np.asarray(level * np.exp(deviation * shocks - deviation**2 * (1 + 1 / n) / 2))
