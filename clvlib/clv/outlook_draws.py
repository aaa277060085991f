"""Draws of the weeks to come: repeat orders from the purchase model, the rest from what past weeks were like."""

# ruff: noqa: SLF001 - draws stand on the machinery of the models, below what users see

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.outlook_weeks import YEAR, Past

__all__ = ["SEASONS", "Ahead", "Curve", "Series", "ahead", "forecast_series", "season"]

Array = NDArray[np.float64]

_WINDOW = 26  # weeks from which level and week effect are learnt; all of them once a season can be
SEASONS = 2 * 52  # weeks from which a yearly season is learnt
_HARMONICS = 6
_FEWEST = 8
_FARTHEST = 1.0  # a week at a third or at three times of what was expected tells no more than that
_LEAST_EXPECTED = 5.0  # repeat purchases of a week, below which its ratio is left out
_NODES, _PACE = 8, 4.0  # times at which a model is evaluated, dense within the first weeks
_BASKET = 26  # weeks whose baskets count


class Series(NamedTuple):
    """A forecast of a weekly series: its mean, and how a shock of one week moves the weeks after it."""

    mean: Array  # of the coming weeks
    weight: Array  # of a shock in the week itself, the next, and so on
    deviation: float  # of shocks
    residuals: Array  # of past weeks, the last last
    limit: float = 1.0  # sum of all weights, where it is finite


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


def season(values: Array, weeks: int) -> tuple[Array, Array]:
    """Return the yearly season of a weekly series and of the ``weeks`` after it; nothing below two years.

    Waves of a year and of its fractions, by least squares beside a straight line; how many, the corrected AIC decides
    (Hurvich & Tsai 1989), none among them.

    >>> season(np.ones(60), 4)[1].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    n = len(values)
    if n < SEASONS:
        return np.zeros(n), np.zeros(weeks)
    best = (np.inf, np.zeros(n + weeks))
    time = np.arange(n + weeks)
    for count in range(_HARMONICS + 1):
        angle = 2 * np.pi * time[:, None] * np.arange(1, count + 1) / YEAR
        waves = np.hstack([np.sin(angle), np.cos(angle)])
        design = np.column_stack([np.ones(n + weeks), time / n, waves])
        weight = np.linalg.lstsq(design[:n], values, rcond=None)[0]
        k = design.shape[1] + 1
        error = max(float(((values - design[:n] @ weight) ** 2).mean()), 1e-12)
        score = n * np.log(error) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        best = min(best, (score, waves @ weight[2:]), key=lambda found: found[0])
    return best[1][:n], best[1][n:]


def forecast_series(values: Array, weeks: int, *, reverts: bool) -> Series:
    """Forecast a weekly series whose level wanders, or one that goes back to zero.

    Parameters
    ----------
    values : array
        Past weeks, the last last.
    weeks : int
        How many to forecast.
    reverts : bool
        A first-order autoregression around zero, by least squares; else simple exponential smoothing, by statsmodels;
        after the yearly season is taken out.
    """
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing

    values = values if len(values) >= SEASONS else values[-_WINDOW:]
    past, coming = season(values, weeks)
    raw, steps = values - past, np.arange(weeks)
    if len(raw) < _FEWEST or np.ptp(raw) == 0:  # too few to learn from, or nothing moves
        level = 0.0 if reverts else float(raw.mean()) if len(raw) else 0.0
        off = raw - level
        deviation = float(np.sqrt((off**2).sum() / (len(off) - 1))) if len(raw) > 1 else 0.0
        return Series(level + coming, (steps == 0).astype(float), deviation, off)
    rest = _tamed(raw)
    if reverts:
        slope = float(np.clip(rest[1:] @ rest[:-1] / max(float(rest[:-1] @ rest[:-1]), 1e-300), 0.0, 0.9))
        residuals = raw[1:] - slope * rest[:-1]
        mean, weight, used, limit = rest[-1] * slope ** (steps + 1), np.power(slope, steps), 1, 1 / (1 - slope)
    else:
        fitted = SimpleExpSmoothing(rest, initialization_method="estimated").fit()
        slope, level = float(fitted.params["smoothing_level"]), float(fitted.forecast(1)[0])
        known = np.asarray(fitted.fittedvalues, dtype=float)
        # errors grow with the level, so that the weeks after an opening do not speak for quiet ones
        residuals = level * (raw - known) / np.maximum(np.maximum(known, raw), 1e-9)
        mean, weight, used, limit = np.full(weeks, level), np.where(steps == 0, 1.0, slope), 2, 1.0
    deviation = float(np.sqrt((residuals**2).sum() / max(len(residuals) - used, 1)))
    return Series(mean + coming, weight, deviation, residuals, limit)


def _tamed(values: Array) -> Array:
    """Return a series whose lone weeks far from those before them are drawn in, since a festival passes.

    A week farther than three robust deviations from the median of the eight weeks before it (Hampel 1974) moves the
    level no more than one at that distance would; a change that lasts moves the median.
    """
    before = np.lib.stride_tricks.sliding_window_view(values, _FEWEST)[:-1]
    middle = np.median(before, axis=1)
    reach = 3 * 1.4826 * np.median(np.abs(before - middle[:, None]), axis=1)
    return np.append(values[:_FEWEST], np.clip(values[_FEWEST:], middle - reach, middle + reach))


def ahead(
    model: PurchaseModel, summary: pd.DataFrame, past: Past, curve: Curve, spread: float, weeks: int, draws: int,
    rng: np.random.Generator,
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
    autoregression around zero. Estimates were made in such weeks, so the level has the error of their mean. New
    customers are forecast on the scale 2 √(n + 3/8), on which chance has variance 1 (Anscombe 1948). Shocks of both are
    drawn with the correlation of their residuals. Chance of single purchases is that of a Poisson count, widened to the
    variance that the model gives the total.
    """
    shared, arrivals, together = _series(model, past, weeks)
    first = rng.standard_normal((draws, weeks))
    second = together * first + np.sqrt(1 - together**2) * rng.standard_normal((draws, weeks))
    mean = np.maximum(np.diff(curve(np.arange(weeks + 1))), 0.0)
    factor = np.exp(shared.mean + _paths(shared, first) - _variance(shared) / 2)
    new = np.rint(np.maximum((arrivals.mean + _paths(arrivals, second)) ** 2 / 4 - 0.375, 0.0))
    level = shared.deviation * shared.limit / np.sqrt(max(len(shared.residuals), 1))
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


def _series(model: PurchaseModel, past: Past, weeks: int) -> tuple[Series, Series, float]:
    """Forecast what weeks share and who comes anew, and say how the two move together."""
    actual, expected = past.repeats, past.expected_repeats(model)
    told = np.flatnonzero(expected >= _LEAST_EXPECTED)
    since = int(told[0]) if len(told) else len(expected)
    ratio = np.clip(np.log((actual[since:] + 0.5) / (expected[since:] + 0.5)), -_FARTHEST, _FARTHEST)
    shared = forecast_series(ratio, weeks, reverts=True)
    chance = float((1 / np.maximum(expected[since:], 1.0))[-_WINDOW:].mean()) if since < len(expected) else 0.0
    arrivals = forecast_series(2 * np.sqrt(past.weeks["new"].to_numpy(dtype=float) + 0.375), weeks, reverts=False)
    n = min(len(shared.residuals), len(arrivals.residuals))
    first, second = (each.residuals[len(each.residuals) - n :] for each in (shared, arrivals))
    moves = n >= _FEWEST and min(first.std(), second.std()) > 0
    together = float(np.asarray(np.corrcoef(first, second))[0, 1]) if moves else 0.0
    # chance is drawn on its own, so it is no shock
    shared = shared._replace(deviation=float(np.sqrt(max(shared.deviation**2 - chance, 0.0))))
    return shared, arrivals, together


def _paths(series: Series, shocks: Array) -> Array:
    weeks = shocks.shape[1]
    paths = [shocks[:, : w + 1] @ series.weight[w::-1] for w in range(weeks)]
    return series.deviation * np.stack(paths, axis=1)


def _variance(series: Series) -> Array:
    return np.asarray(series.deviation**2 * np.cumsum(series.weight**2))


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
