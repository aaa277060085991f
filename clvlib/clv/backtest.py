"""Which model should this shop use? Forecasts from several past days, scored against what customers then did."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from clvlib.clv.leaderboard import leaderboard, sentence, standing
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.trials import AVERAGE_RATE, LAST_PERIOD, Trial, trial
from clvlib.data.calendar import as_date
from clvlib.data.summary import Collapse, Unit
from clvlib.data.together import a_shop
from clvlib.errors import ConvergenceWarning, EmptyDataError, ParameterError, ThinDataWarning
from clvlib.result import Result
from clvlib.words import mark, tr, trn

__all__ = ["AVERAGE_RATE", "LAST_PERIOD", "Backtest", "backtest", "graded", "ranking", "trials"]

Models = Mapping[str, PurchaseModel | type[PurchaseModel]] | Sequence[PurchaseModel | type[PurchaseModel]]
By = Literal["log_score", "crps"]

_FEWEST_WEEKS = 8  # origins chosen by us have at least so much to learn from
_LONGEST_STEP = 26  # weeks between origins chosen by us
_SPANS = {"W": mark("{n:g} weeks"), "D": mark("{n:g} days")}


@dataclass(frozen=True)
class Backtest(Result):
    """How models forecast this shop from several past days; ``table`` is the leaderboard, a row per model.

    ``table`` columns, pooled over origins (means are per customer and origin):

    - ``baseline``, ``parameters``: whether it is a simple rule, and how many numbers were estimated;
    - ``log_score`` (mean log probability of what happened, in nats; higher is better) and ``crps`` (in purchases;
      lower is better) of the predictive distribution of each customer's purchases;
    - ``difference``, ``lower``, ``upper``, ``verdict``: how much better than the best baseline it scored, with the
      paired bootstrap interval, positive is better; "better", "worse", "no clear difference" or "reference";
    - ``won``: at how many origins it scored better than the best baseline;
    - ``forecast``, ``actual``, ``bias`` (forecast / actual − 1), ``mae``, ``rmse``, ``wape`` (sum of absolute errors /
      actual) of the expected purchases; mind that the absolute error favours who forecasts the median, mostly 0;
    - ``pit_gap`` (mean distance of the PIT histogram from flat, as a share; 0 is calibrated) and ``pit_p`` (p-value
      of calibration);
    - ``brier`` (of P(active in the horizon)), ``reliability`` and ``resolution`` of it;
    - ``gini`` (how well it ranks customers by value: 0 chance, 1 perfect), ``top_share`` and ``top_lift`` (share of
      all value that its best tenth of customers held, and times their even share), mean over origins; by money where
      a spend model was given, else by purchases;
    - with a spend model ``money_forecast``, ``money_actual``, ``money_bias``, ``money_mae``.

    Attributes
    ----------
    choice : str
        The model to use: the one with the fewest parameters among those that nothing clearly beats.
    sentence : str
        Which and why.
    best_baseline : str
        What differences are to.
    by : {"log_score", "crps"}
        What the leaderboard is sorted and compared by.
    horizon : float
        Length of the forecasts, in ``unit``.
    unit : str
        Time unit.
    level : float
        Level of the intervals.
    origins : pandas.DataFrame
        By origin and model: the same figures, ``customers``, and ``converged``.
    calibration : pandas.DataFrame
        By model and bin of the PIT: ``left``, ``right`` (limits) and ``share``; 0.1 each where calibrated.
    active : pandas.DataFrame
        By model and group of customers of like P(active): customers, expected and actual share of buyers, and the
        interval of the latter.
    gains : pandas.DataFrame
        By model and share of customers, the highest forecast first (0, 0.01, ... 1): share of all value.
    fits : mapping
        By origin and model, the fitted models.
    """

    choice: str
    sentence: str
    best_baseline: str
    by: str
    horizon: float
    unit: str
    level: float
    origins: pd.DataFrame = field(repr=False)
    calibration: pd.DataFrame = field(repr=False)
    active: pd.DataFrame = field(repr=False)
    gains: pd.DataFrame = field(repr=False)
    fits: Mapping[dt.date, Mapping[str, PurchaseModel]] = field(repr=False)


def backtest(
    shop: Any,
    models: Models | None = None,
    origins: int | Sequence[str | dt.date] = 4,
    horizon: float = 13,
    spend: GammaGammaModel | None = None,
    *,
    unit: Unit = "W",
    collapse: Collapse = "D",
    as_of: str | dt.date | None = None,
    by: By = "log_score",
    level: float = 0.95,
    draws: int = 2000,
    seed: int | np.random.Generator = 0,
) -> Backtest:
    """Let models forecast from several past days, score them by what then happened, and say which one to use.

    Parameters
    ----------
    shop : Shop
        What :func:`clvlib.connect` returns.
    models : mapping or sequence of purchase models, optional
        Models or their classes, by name or named after their class; each is fitted afresh at each origin. Default:
        BG/NBD, MBG/NBD and Pareto/NBD.
    origins : int or sequence of date or str
        The last days that the models may see, or how many Sundays to take: equally spaced, the latest as late as the
        data allow, a horizon apart where there is room (at most 26 weeks), less where there is not.
    horizon : float
        Length of each forecast, in ``unit``.
    spend : GammaGammaModel, optional
        A spend model; fitted afresh too. Forecasts are then graded in money as well.
    unit : {"W", "D"}
        Time unit.
    collapse : {"D", "W"}
        As for :meth:`Shop.customer_summary`.
    as_of : date or str, optional
        Last day that may be known at all; by default the last of the data.
    by : {"log_score", "crps"}
        What decides.
    level : float
        Level of the intervals.
    draws : int
        Bootstrap resamples.
    seed : int or numpy.random.Generator
        Of the resampling; nothing else is random.

    Returns
    -------
    Backtest

    Raises
    ------
    EmptyDataError
        Nobody had bought by an origin, or nobody twice; or the data are too short to learn from before a horizon.
    ParameterError
        An argument that cannot be, or a horizon that reaches beyond the data.

    Warns
    -----
    ThinDataWarning
        Fewer origins than asked for, nobody bought in a horizon (``bias`` and ``wape`` are then left out), or the
        calibration cannot be tested.
    ConvergenceWarning
        A model that found no proper maximum at some origin; it is scored all the same.

    Notes
    -----
    Models are fitted on what they ask for: those of regular buying with ``litt``, :class:`CovariateModel` with its
    columns of the table customers, :class:`DynamicCovariateModel` with the orders.

    Nothing after an origin reaches a model, with two exceptions. The table customers says what it says today, so that
    covariates which change (a tier, a city) may tell of later days. And refunds are netted against their order whenever
    they came, so an order that was refunded after the origin is not a purchase before it either.

    Three baselines always take part. ``last_period`` repeats the repeat purchases (and the money) of the equally long
    period before the origin. ``average_rate`` takes frequency / T times the horizon, times average spend. Both forecast
    a figure and no distribution; for log score, CRPS and P(active) they are given a Poisson distribution around it,
    and where the figure is below half a purchase in the time from the first purchase to the end of the horizon, around
    that, since a Poisson of mean 0 would call every purchase impossible. ``NBDModel`` is a model without dropout.

    Distributions are those of the estimated parameters. Intervals come from a bootstrap over customers, each with all
    of his origins, the same resamples for all models (in 1024 random groups). They tell chance between customers; a
    season that all customers share is in the scores of each origin, and shows by comparing origins.

    Examples
    --------
    >>> from clvlib.data.connect import connect
    >>> from clvlib.data.datasets import cdnow
    >>> shop = connect({"orders": cdnow(sample=True)}, mapping="cdnow")
    >>> result = backtest(shop, [BetaGeoModel], ["1997-09-30"], 39)
    >>> result.choice, result.best_baseline
    ('BetaGeoModel', 'NBDModel')
    >>> print(result.table["forecast"].round(1)["BetaGeoModel"])
    1653.4
    """
    _check(by, level, draws)
    held = trials(shop, models, origins, horizon, spend, unit=unit, collapse=collapse, as_of=as_of)
    return graded(held, horizon, unit, by, level, draws, seed)


def trials(
    shop: Any,
    models: Models | None,
    origins: int | Sequence[str | dt.date],
    horizon: float,
    spend: GammaGammaModel | None,
    *,
    unit: Unit,
    collapse: Collapse,
    as_of: str | dt.date | None,
    near: Trial | None = None,
) -> list[Trial]:
    """Return the forecasts of :func:`backtest`, in the order of their days, to be scored by as much as is asked.

    ``near`` are the same models fitted on another day: each fit begins where one to similar data ended.
    """
    a_shop(shop)
    contestants = _contestants(models)
    _check_time(unit, collapse)
    if not (spend is None or isinstance(spend, GammaGammaModel)):
        raise ParameterError(f"spend is a spend model such as GammaGammaModel(); found {spend!r}")
    days = _days_of(horizon, unit)
    held: list[Trial] = []
    troubles: dict[str, list[str]] = {}
    for day in _origins(shop, origins, days, as_of):
        near = trial(shop, day, days, unit, collapse, contestants, spend, near, troubles)
        held.append(near)
    for name, found in troubles.items():
        text = tr(
            "{name}: no proper fit at {n} of {total} origins, lastly: {found}",
            name=tr(name),
            n=len(found),
            total=len(held),
            found=found[-1],
        )
        warnings.warn(text, ConvergenceWarning, stacklevel=3)
    return held


def ranking(held: Sequence[Trial], level: float = 0.95, draws: int = 2000, seed: int = 0) -> list[str]:
    """Return the choice of :func:`backtest` by log score, and then all models, the best first."""
    groups = {name: np.sum([each.log_score(name) for each in held], axis=0) for name in held[0].forecasts}
    parameters = {name: forecast.parameters for name, forecast in held[0].forecasts.items()}
    found = standing(groups, parameters, level, draws, seed)
    return [found.unbeaten[0], *found.order]


def graded(
    held: Sequence[Trial],
    horizon: float,
    unit: Unit,
    by: By = "log_score",
    level: float = 0.95,
    draws: int = 2000,
    seed: int | np.random.Generator = 0,
) -> Backtest:
    """Score forecasts in every way; arguments as in :func:`backtest`."""
    scores = {(each.day, name): each.score(name) for each in held for name in each.forecasts}
    nbd = (name for name, model in held[0].fits.items() if type(model) is NBDModel)
    board = leaderboard(scores, {LAST_PERIOD, AVERAGE_RATE, *nbd}, by, level, draws, seed)
    _tell_blanks(board.table, board.origins)
    return Backtest(
        table=board.table,
        choice=board.unbeaten[0],
        sentence=sentence(board, by, tr(_SPANS[unit], n=horizon), level),
        best_baseline=board.reference,
        by=by,
        horizon=float(horizon),
        unit=unit,
        level=level,
        origins=board.origins,
        calibration=board.calibration,
        active=board.active,
        gains=board.gains,
        fits={each.day: each.fits for each in held},
    )


# ---- what is asked


def _contestants(models: Models | None) -> dict[str, PurchaseModel]:
    """Return unfitted models by name, NBD always among them."""
    chosen: Models = (BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel) if models is None else models
    if isinstance(chosen, Mapping):
        named = list(chosen.items())
    else:
        named = [((model if isinstance(model, type) else type(model)).__name__, model) for model in chosen]
    result: dict[str, PurchaseModel] = {}
    for name, model in named:
        one = model() if isinstance(model, type) else model
        if not isinstance(one, PurchaseModel):
            raise ParameterError(f"{name}: a backtest compares purchase models; found {type(one).__name__}")
        if name in result or name in {LAST_PERIOD, AVERAGE_RATE}:
            raise ParameterError(f"two models are named {name!r}; pass a mapping with a name for each")
        result[name] = one
    if not result:
        raise ParameterError("a backtest needs at least one model")
    if not any(type(model) is NBDModel for model in result.values()):
        result[NBDModel.__name__] = NBDModel()
    return result


def _check(by: str, level: float, draws: int) -> None:
    if by not in {"log_score", "crps"}:
        raise ParameterError(f"by is 'log_score' or 'crps'; found {by!r}")
    if not 0 < level < 1 or draws < 100:
        raise ParameterError(f"level lies between 0 and 1 and draws is at least 100; found {level} and {draws}")


def _check_time(unit: str, collapse: str) -> None:
    if unit not in _SPANS or collapse not in {"D", "W"}:
        raise ParameterError(f"unit and collapse are 'W' or 'D'; found {unit!r}, {collapse!r}")


def _days_of(horizon: float, unit: str) -> int:
    days = horizon * (7 if unit == "W" else 1)
    if not (np.isfinite(days) and days >= 1) or abs(days - round(days)) > 1e-9:
        raise ParameterError(f"the horizon is a whole number of days, at least one; found {horizon} in {unit!r}")
    return round(days)


def _origins(
    shop: Any, origins: int | Sequence[str | dt.date], days: int, as_of: str | dt.date | None
) -> list[dt.date]:
    """Return the last days that models may see, in order."""
    until: dt.date = shop.data_until if as_of is None else min(as_date(as_of), shop.data_until)
    if isinstance(origins, int):
        return _sundays(shop.date_range[0], until, origins, days)
    if isinstance(origins, str) or not len(origins):
        raise ParameterError(f"origins is a number or a list of days; found {origins!r}")
    chosen = sorted({as_date(day, "origins") for day in origins})
    for day in chosen:
        if day + dt.timedelta(days=days) > until:
            raise ParameterError(
                f"origin {day}: the horizon ends on {day + dt.timedelta(days=days)} and the data on {until}; "
                "choose an earlier origin or a shorter horizon"
            )
    return chosen


def _sundays(first: dt.date, until: dt.date, count: int, days: int) -> list[dt.date]:
    """Return equally spaced Sundays, the latest as late as the data allow."""
    if count < 1:
        raise ParameterError(f"a backtest needs at least one origin; found {count}")
    latest = until - dt.timedelta(days=days)
    latest -= dt.timedelta(days=(latest.weekday() + 1) % 7)
    room = (latest - first).days // 7 - max(_FEWEST_WEEKS, -(-days // 14))
    if room < 0:
        raise EmptyDataError(
            tr(
                "the data run from {first} to {until}, which leaves too little to learn from before a horizon of "
                "{days} days; choose a shorter one",
                first=first,
                until=until,
                days=days,
            )
        )
    step = min(-(-days // 7), _LONGEST_STEP, room // max(count - 1, 1))
    if step < 1:
        text = trn(
            "the data have room for {n} origin a week apart, not {count}",
            "the data have room for {n} origins a week apart, not {count}",
            room + 1,
            count=count,
        )
        warnings.warn(text, ThinDataWarning, stacklevel=4)
        step, count = 1, room + 1
    return [latest - dt.timedelta(weeks=step * back) for back in reversed(range(count))]


def _tell_blanks(table: pd.DataFrame, origins: pd.DataFrame) -> None:
    """Say which figures are left out."""
    blank = sorted({str(name) for frame in (table, origins) for name in frame.columns[frame.isna().any()]})
    if blank:
        where = sorted({str(key[0]) for key in origins.index[origins.isna().any(axis=1)]})
        text = mark("too few customers or purchases for {figures}; they are left out there")
        if where:
            text = mark("too few customers or purchases for {figures} at {days}; they are left out there")
        told = tr(text, figures=", ".join(blank), days=", ".join(where))
        warnings.warn(told, ThinDataWarning, stacklevel=3)
