"""One day of a backtest: what was known on it, the models fitted to that, and their forecasts scored by what came."""

# ruff: noqa: SLF001 - scores stand on the distributions of the models, below what users see

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.leaderboard import FINE, GROUPS, PIT_BINS, Score
from clvlib.clv.models.base import Estimator
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.scores import Tail, count_scores, gains, gini, log_scores, pit_shares, poisson_tail
from clvlib.data.engine import Table
from clvlib.data.summary import Collapse, Unit
from clvlib.errors import ConvergenceWarning, EmptyDataError
from clvlib.words import mark, tr

__all__ = ["AVERAGE_RATE", "LAST_PERIOD", "Trial", "trial"]

Array = NDArray[np.float64]
Model = TypeVar("Model", bound=Estimator)

LAST_PERIOD, AVERAGE_RATE = mark("last_period"), mark("average_rate")


class _Origin(NamedTuple):
    """What was known on a day, and what came within the horizon."""

    day: dt.date
    known: pd.DataFrame
    orders: Table | None  # where a model wants them
    actual: NDArray[np.int64]
    money: Array
    duration: float
    last: Array  # repeat purchases in the equally long period before
    last_money: Array


class _Forecast(NamedTuple):
    """What a model says: per customer the mean and the case, per case the distribution."""

    mean: Array
    tail: Tail
    case: NDArray[np.intp]
    spend: Array | None  # per purchase of each customer
    parameters: int
    converged: bool


class _Cases(NamedTuple):
    """The distinct pairs of history and outcome."""

    tail: Tail
    outcome: NDArray[np.int64]
    which: NDArray[np.intp]  # of customers, the pair


class Trial(NamedTuple):
    """Forecasts from a day beside what came, to be scored by as much as is asked.

    Attributes
    ----------
    day : datetime.date
        The origin.
    fits : mapping of str to PurchaseModel
        The models as fitted on it.
    spend : GammaGammaModel or None
        The spend model as fitted on it.
    forecasts : mapping
        By name; the simple rules come first.
    actual, money : array
        Purchases and money that came, per customer.
    group : array of int
        Of customers, the same at every origin.
    """

    day: dt.date
    fits: Mapping[str, PurchaseModel]
    spend: GammaGammaModel | None
    forecasts: Mapping[str, _Forecast]
    actual: NDArray[np.int64]
    money: Array
    group: NDArray[np.intp]

    def _cases(self, forecast: _Forecast) -> _Cases:
        top = int(self.actual.max()) + 1
        pair, which = np.unique(forecast.case * np.int64(top) + self.actual, return_inverse=True)
        case = (pair // top).astype(np.intp)
        return _Cases(lambda where, n: forecast.tail(case[where], n), pair % top, which)

    def _summed(self, cases: _Cases, *columns: Array) -> Array:
        """Return customers and the sums of columns by group."""
        each = [np.ones(len(cases.outcome)), *columns]
        return np.stack([np.bincount(self.group, column[cases.which], GROUPS) for column in each], axis=1)

    def log_score(self, name: str) -> Array:
        """Return customers and the sum of log scores by group: all that a choice by them needs."""
        cases = self._cases(self.forecasts[name])
        return self._summed(cases, log_scores(cases.tail, cases.outcome))

    def score(self, name: str) -> Score:
        """Score a forecast in every way."""
        forecast = self.forecasts[name]
        cases = self._cases(forecast)
        scores = count_scores(cases.tail, cases.outcome)
        active, bought = scores.active[cases.which], (self.actual > 0).astype(float)
        error = forecast.mean - self.actual
        figures = {
            "forecast": float(forecast.mean.sum()),
            "actual": float(self.actual.sum()),
            "absolute": float(np.abs(error).sum()),
            "squared": float((error**2).sum()),
            "brier": float(((active - bought) ** 2).sum()),
        }
        worth, came = forecast.mean, self.actual.astype(float)
        if forecast.spend is not None:
            worth, came = forecast.mean * forecast.spend, self.money
            figures["money_forecast"], figures["money_actual"] = float(worth.sum()), float(came.sum())
            figures["money_absolute"] = float(np.abs(worth - came).sum())
        figures["gini"] = gini(worth, came)
        fine = np.minimum((np.sqrt(active) * FINE).astype(np.intp), FINE - 1)
        bins = [np.bincount(fine, column, FINE) for column in (np.ones(len(fine)), active, bought)]
        return Score(
            groups=self._summed(cases, scores.log_score, scores.crps, *pit_shares(scores, PIT_BINS).T),
            figures=figures,
            active=np.stack(bins, axis=1),
            gains=gains(worth, came),
            parameters=forecast.parameters,
            converged=forecast.converged,
        )


def trial(
    shop: Any,
    day: dt.date,
    days: int,
    unit: Unit,
    collapse: Collapse,
    models: Mapping[str, PurchaseModel],
    spend: GammaGammaModel | None,
    near: Trial | None,
    troubles: dict[str, list[str]],
) -> Trial:
    """Fit models to what was known on a day, and forecast the ``days`` that followed.

    Parameters
    ----------
    shop, day, days, unit, collapse
        As for :func:`clvlib.clv.backtest.backtest`.
    models : mapping
        Unfitted purchase models.
    spend : GammaGammaModel or None
        An unfitted spend model.
    near : Trial or None
        The same models on another day, from where the fits may begin.
    troubles : dict
        What fits complain of is added here, by name.

    Raises
    ------
    EmptyDataError
        Nobody had bought twice by then.
    """
    origin = _at(shop, day, days, unit, collapse, models)
    start = {} if near is None else near.fits
    fits = {name: _fitted(name, model, origin, start.get(name), troubles) for name, model in models.items()}
    if spend is not None:
        spend = _fitted(mark("spend model"), spend, origin, None if near is None else near.spend, troubles)
    group = (pd.util.hash_array(origin.known.index.to_numpy(dtype=object)) % GROUPS).astype(np.intp)
    return Trial(day, fits, spend, _forecasts(origin, fits, spend), origin.actual, origin.money, group)


def _at(
    shop: Any, day: dt.date, days: int, unit: Unit, collapse: Collapse, models: Mapping[str, PurchaseModel]
) -> _Origin:
    """Summarise what was known on a day, what came, and what the period before had held."""
    asked = dict.fromkeys(column for model in models.values() for column in model._covariate_columns)
    known, later = shop.calibration_holdout(
        day,
        day + dt.timedelta(days=days),
        unit,
        collapse,
        litt=any(model._wants_litt for model in models.values()),
        covariates=list(asked),
    )
    if not known["frequency"].sum() > 0:
        raise EmptyDataError(
            tr(
                "origin {day}: none of {n:,} customers had bought twice by then, so there is nothing to learn repeat "
                "buying from; choose later origins",
                day=day,
                n=len(known),
            )
        )
    frequency = known["frequency"].to_numpy(dtype=float)
    money = frequency * known["monetary_value"].to_numpy(dtype=float)
    try:
        before = shop.customer_summary(day - dt.timedelta(days=days), unit, collapse).reindex(known.index).fillna(0.0)
        past, past_money = before["frequency"].to_numpy(dtype=float), before["frequency"] * before["monetary_value"]
    except EmptyDataError:  # the shop is younger than that
        past, past_money = np.zeros(len(known)), np.zeros(len(known))
    actual = later["frequency_holdout"].to_numpy(dtype=np.int64)
    return _Origin(
        day=day,
        known=known,
        orders=shop.table("orders") if any(model._wants_orders for model in models.values()) else None,
        actual=actual,
        money=actual * later["monetary_value_holdout"].to_numpy(dtype=float),
        duration=float(later["duration_holdout"].iloc[0]),
        last=np.maximum(frequency - past, 0.0),
        last_money=np.maximum(money - np.asarray(past_money, dtype=float), 0.0),
    )


def _fitted(name: str, model: Model, origin: _Origin, near: Model | None, troubles: dict[str, list[str]]) -> Model:
    """Fit a fresh copy on what was known, and note what the fit complains of."""
    orders = [origin.orders] if getattr(model, "_wants_orders", False) else []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = type(model)(**model.get_params())._beginning(near).fit(origin.known, *orders)
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            troubles.setdefault(name, []).append(tr("origin {day}: {text}", day=origin.day, text=warning.message))
        else:
            warnings.warn(warning.message, warning.category, stacklevel=4)
    return fitted


def _forecasts(
    origin: _Origin, fits: Mapping[str, PurchaseModel], spender: GammaGammaModel | None
) -> dict[str, _Forecast]:
    spend = None if spender is None else np.asarray(spender.expected_spend(origin.known), dtype=float)
    frequency, age = origin.known["frequency"].to_numpy(dtype=float), origin.known["T"].to_numpy(dtype=float)
    rate = np.divide(origin.duration * frequency, age, out=np.zeros(len(age)), where=age > 0)
    least = 0.5 * origin.duration / (age + origin.duration)
    average = origin.known["monetary_value"].to_numpy(dtype=float)
    repeated = np.divide(origin.last_money, origin.last, out=np.zeros(len(age)), where=origin.last > 0)
    rules = {LAST_PERIOD: (origin.last, repeated), AVERAGE_RATE: (rate, average)}
    found = {name: _rule(mean, None if spend is None else each, least) for name, (mean, each) in rules.items()}
    return found | {name: _model(model, origin, spend) for name, model in fits.items()}


def _rule(mean: Array, spend: Array | None, least: Array) -> _Forecast:
    """Give a figure a Poisson distribution that calls nothing impossible."""
    levels, case = np.unique(np.maximum(mean, least), return_inverse=True)
    return _Forecast(mean, poisson_tail(levels), case, spend, parameters=0, converged=True)


def _model(model: PurchaseModel, origin: _Origin, spend: Array | None) -> _Forecast:
    cells, p, horizon = model._read(origin.known), model._p(), origin.duration
    mean = cells.expand(model._expected_cells(p, cells, horizon))

    def tail(where: NDArray[np.intp], n: Array) -> Array:
        return np.asarray(model._tail_cells(p, cells.take(where), horizon, n))

    return _Forecast(mean, tail, cells.inverse, spend, len(model._names), model.converged_)
