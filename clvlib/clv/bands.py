"""How far the purchases of all customers may lie from a model's track of them, week by week and summed up."""

# ruff: noqa: SLF001 - bands stand on the machinery of the models, below what users see

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import _WIDEST
from clvlib.clv.models.purchases import PurchaseModel, total_interval

__all__ = ["expected_by_age", "track_bands"]

Array = NDArray[np.float64]
Days = NDArray[np.int64]

_STEP = 1e-4  # of a log-parameter, for slopes


def expected_by_age(model: PurchaseModel, p: Array, age: Days, per: float) -> Array:
    """Return E[X(age)] for ages in days, ``per`` of which are the model's time unit; negative ages have none."""
    days = np.arange(max(int(age.max(initial=0)), 0) + 1.0)
    newcomers = Cells.of(frequency=np.zeros(len(days)), recency=0.0, T=0.0)
    return np.asarray(model._expected(p, newcomers, days / per)[np.maximum(age, 0)])


def track_bands(
    model: PurchaseModel, births: pd.Series, ends: Days, last: int, per: float, interval: float, draws: int, seed: int
) -> pd.DataFrame:
    """Return limits for the repeat purchases in each period and up to its end.

    What is seen less what is expected is a sum over customers: of what chance makes of each, less what his history,
    through the estimates, has moved the expectation. To first order the latter is J C s, with J the slope of the
    expected track, C the covariance of the estimates and s the slope of his log-likelihood, all in the log-parameters.
    In the calibration the two go together and the band is narrower than chance alone, since the model has been fitted
    to just these purchases; after it the second is an error of its own. The variance per customer is that of customers
    drawn from the model along their whole track, so that all this is held at once; the limits are those of a gamma
    distribution. A model that was given its parameters has chance alone.

    Parameters
    ----------
    model : PurchaseModel
        Fitted to the histories up to day ``last``.
    births : pandas.Series
        Number of customers by day of the first purchase, a whole number.
    ends : array of int, shape (W,)
        Last day of each period.
    last : int
        Last day that the model has seen.
    per : float
        Days in the model's time unit.
    interval : float
        Level of the band.
    draws, seed : int
        Customers drawn, and how.

    Returns
    -------
    pandas.DataFrame
        Per period: lower, upper, lower_cumulative, upper_cumulative.
    """
    p, customers = model._p(), float(births.sum())
    days, counts = births.index.to_numpy(dtype=np.int64), births.to_numpy(dtype=float)
    place = (np.arange(draws) + 0.5) / draws * customers
    birth = days[np.searchsorted(np.cumsum(counts), place)]
    path, history = _drawn(model, birth, ends, last, per, np.random.default_rng(seed))
    error = path - expected_by_age(model, p, ends[:, None] - birth, per)
    if model._log_covariance is not None:
        ages = ends[:, None] - days
        slope = _slopes(lambda q: expected_by_age(model, q, ages, per) @ counts, p)
        score = _slopes(lambda q: model._log_likelihood(q, history), p)
        values, vectors = np.linalg.eigh(model._log_covariance)
        covariance = (vectors * np.clip(values, 0.0, _WIDEST**2)) @ vectors.T
        error -= slope.T @ covariance @ score
    expected = expected_by_age(model, p, ends[:, None] - days, per) @ counts
    rows = {}
    for suffix, mean, deviation in (
        ("", np.diff(expected, prepend=0.0), np.diff(error, axis=0, prepend=0.0)),
        ("_cumulative", expected, error),
    ):
        variance = customers * (deviation**2).mean(axis=1)
        limits = [total_interval(m, v, 0.0, interval) for m, v in zip(mean, variance, strict=True)]
        rows[f"lower{suffix}"] = [limit["lower"] for limit in limits]
        rows[f"upper{suffix}"] = [limit["upper"] for limit in limits]
    return pd.DataFrame(rows)


def _drawn(
    model: PurchaseModel, birth: Days, ends: Days, last: int, per: float, rng: np.random.Generator
) -> tuple[Array, Cells]:
    """Return the repeat purchases that customers drawn from the model make by each end, and their histories on a day.

    Each stretch is drawn given the history so far, which every model can.
    """
    p = model._p()
    x, t_x, T = (np.zeros(len(birth)) for _ in range(3))
    seen, history = {}, Cells.of(frequency=x, recency=t_x, T=T)
    for end in np.unique(np.append(ends, last)):
        age = np.maximum(end - birth, 0) / per
        born = np.flatnonzero(age > T)
        so_far = Cells.of(frequency=x[born], recency=t_x[born], T=T[born])
        count, when = model._draw(p, so_far, age[born] - T[born], rng)
        t_x[born] = np.where(count > 0, T[born] + when, t_x[born])
        x[born] += count
        T[born] = age[born]
        seen[int(end)] = x.copy()
        if end == last:
            history = Cells.of(frequency=x.copy(), recency=t_x.copy(), T=T.copy())
    return np.stack([seen[int(end)] for end in ends]), history


def _slopes(function: Callable[[Array], Array], p: Array) -> Array:
    """Return the slopes of a function in each log-parameter, shape (k, …)."""
    shifts = np.exp(_STEP * np.eye(len(p)))
    return np.stack([(function(p * up) - function(p / up)) / (2 * _STEP) for up in shifts])
