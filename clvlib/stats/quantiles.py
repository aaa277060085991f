"""Forecasts that are told by some of their quantiles: how good they were, and whether they mean what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["LEVELS", "Calibration", "calibration", "pinball", "quantile_score"]

LEVELS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)  # the middle half, 80% and 90%, and the median
Floats = NDArray[np.float64]


def pinball(actual: ArrayLike, quantile: ArrayLike, level: ArrayLike) -> Floats:
    """Loss of a quantile that was forecast: (1{y ≤ q} − level)(q − y), least in expectation at the true quantile.

    Parameters
    ----------
    actual, quantile, level : array_like
        What came, the quantile forecast, and its level between 0 and 1; they broadcast against each other.

    References
    ----------
    Gneiting & Raftery (2007), "Strictly proper scoring rules, prediction, and estimation", JASA 102, section 6.1.

    Examples
    --------
    >>> pinball(10, [8, 12], [0.9, 0.9]).round(3).tolist()  # too low costs nine times as much as too high
    [1.8, 0.2]
    """
    y, q, u = (np.asarray(value, dtype=float) for value in (actual, quantile, level))
    loss: Floats = ((y <= q) - u) * (q - y)
    return loss


def quantile_score(actual: float, quantiles: Mapping[float, float]) -> float:
    """Score a forecast by its quantiles: the CRPS as far as they tell it, in the unit of the figure; less is better.

    The CRPS is twice the integral of the pinball loss over all levels (Gneiting & Raftery 2007, section 4.2; Laio &
    Tamea 2007). Here each level stands for those that are nearer to it than to any other. As a sum of pinball losses
    with fixed weights it is proper for any levels; with symmetric ones the score of a single figure is its absolute
    error, so that forecasts with and without a distribution can be held against each other.

    Parameters
    ----------
    actual : float
        What came.
    quantiles : mapping
        Level -> quantile.

    Examples
    --------
    >>> quantile_score(13, {0.25: 10, 0.5: 10, 0.75: 10})
    3.0
    """
    levels = np.array(sorted(quantiles))
    ends = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    losses = pinball(actual, [quantiles[level] for level in levels], levels)
    return float(2 * np.diff(ends) @ losses)


@dataclass(frozen=True)
class Calibration:
    """Whether what came fell where forecasts said it would, by the probability integral transform (PIT).

    Attributes
    ----------
    n : int
        How many forecasts were looked at.
    place : float
        Mean PIT, 0.5 where forecasts are right; more: what came was above what was forecast.
    spread : float
        Mean distance of the PIT from 0.5, in units of what it should be; more than 1: distributions were too narrow.
    p_place, p_spread : float
        That so far off comes by chance, each by itself: adjust them together.
    """

    n: int
    place: float
    spread: float
    p_place: float
    p_spread: float


def calibration(forecasts: Iterable[tuple[float, Mapping[float, float]]]) -> Calibration:
    """Test whether forecasts that do not overlap were calibrated.

    Where a figure fell among the quantiles of its forecast is its PIT as far as the quantiles tell: the middle of the
    levels on both sides. Under the hypothesis it is one of the middles, with the distances between the levels as
    probabilities (Dawid 1984; Diebold, Gunther & Tay 1998), so that mean and variance of place and distance are known
    exactly, and sums of some eight forecasts are close enough to normal.

    Parameters
    ----------
    forecasts : iterable of (float, mapping)
        What came, and level -> quantile; levels may differ between forecasts.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        There are no forecasts.

    Examples
    --------
    >>> quarters = {0.25: -1.0, 0.5: 0.0, 0.75: 1.0}
    >>> found = calibration((y, quarters) for y in (-2, -0.5, 0.5, 2) * 3)
    >>> found.n, found.place, found.spread, found.p_spread
    (12, 0.5, 1.0, 1.0)
    """
    seen = [_distances(actual, quantiles) for actual, quantiles in forecasts]
    if not seen:
        raise ValueError("calibration needs forecasts and what came of them")
    place, place_variance, spread, expected, spread_variance = np.sum(seen, axis=0)
    n, p_place = len(seen), float(2 * special.ndtr(-abs(place) / place_variance**0.5))
    p_spread = float(2 * special.ndtr(-abs(spread - expected) / spread_variance**0.5)) if spread_variance > 0 else 1.0
    return Calibration(n, float(0.5 + place / n), float(spread / expected), p_place, p_spread)


def _distances(actual: float, quantiles: Mapping[float, float]) -> tuple[float, float, float, float, float]:
    """Return the distance of the PIT from 0.5 with its variance; its size with its mean and variance."""
    levels = np.array(sorted(quantiles))
    values = np.array([quantiles[level] for level in levels])
    ends = np.concatenate([[0.0], levels, [1.0]])
    middles, chances = (ends[1:] + ends[:-1]) / 2 - 0.5, np.diff(ends)
    # on a quantile, or on several of one value, it lies in the middle of all that they bound
    below, above = np.searchsorted(values, actual, "left"), np.searchsorted(values, actual, "right")
    place = (ends[below] + ends[above + 1]) / 2 - 0.5
    size = np.abs(middles)
    mean = chances @ size
    return place, float(chances @ middles**2), abs(place), float(mean), float(chances @ size**2 - mean**2)
