"""Rolling origins: on several past days the risks are forecast from what was known then, and held against what came."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.churn_causes import Staying, learn_staying
from clvlib.clv.churn_features import CAUSES, Known, Records
from clvlib.clv.churn_hazard import FEWEST, Hazard, Line, fit_hazard, logit, straightened
from clvlib.errors import EmptyDataError, ThinDataWarning
from clvlib.words import tr

__all__ = [
    "HAZARD",
    "METHODS",
    "PURCHASE",
    "RULE",
    "Forecaster",
    "days_of",
    "known_days",
    "rounds",
    "staying_of",
    "train",
]

Array = NDArray[np.float64]

HAZARD, PURCHASE, RULE = "hazard", "purchase model", "recency rule"
METHODS = (HAZARD, PURCHASE, RULE)

_WARM_UP = 8  # weeks of orders before the first day that is looked at
_MOST = 10  # days looked at
_ROUNDS = 3  # of them, the last ones grade


@dataclass(frozen=True)
class Forecaster:
    """What was learnt by a day: the three ways to a risk, each calibrated on the last day whose outcome was known.

    Attributes
    ----------
    hazard : Hazard or None
        None where there is too little to learn from; ``why`` says so.
    purchase : Line
        Calibration of the purchase model's logit.
    rule : Line
        Logit of the risk along the log of the weeks of silence.
    why : str
    """

    hazard: Hazard | None
    purchase: Line
    rule: Line
    why: str = ""

    def forecast(self, known: Known) -> pd.DataFrame:
        """Return the risk of each active customer, a column per method."""
        columns = {
            PURCHASE: self.purchase.shift + self.purchase.slope * logit(known.facts["no_purchase"]),
            RULE: self.rule.shift + self.rule.slope * _silence(known),
        }
        if self.hazard is not None:
            columns = {HAZARD: self.hazard.logit(known.frame)} | columns
        return pd.DataFrame({name: 1 / (1 + np.exp(-x)) for name, x in columns.items()}, index=known.frame.index)


def days_of(records: Records) -> list[dt.date]:
    """Return the days that are looked at, the earliest first: every half horizon, the last one with its outcome known.

    Raises
    ------
    EmptyDataError
        The shop is too young to have any.
    """
    first = records.first_day() + dt.timedelta(weeks=_WARM_UP)
    day = records.last - dt.timedelta(weeks=records.horizon)
    days: list[dt.date] = []
    while day >= first and len(days) < _MOST:
        days.append(day)
        day -= dt.timedelta(weeks=-(-records.horizon // 2))
    if not days or days[0] - dt.timedelta(weeks=records.horizon) < days[-1]:
        seen = ((records.last - records.first_day()).days + 1) // 7
        raise EmptyDataError(
            f"{seen} weeks of orders are too few to learn who leaves within {records.horizon} weeks and to test it: "
            f"that takes {_WARM_UP + 2 * records.horizon} at least, or a shorter horizon"
        )
    return days[::-1]


def train(past: Sequence[Known], day: dt.date, horizon: int) -> Forecaster:
    """Learn from the days whose outcome was known by a day, one at least: calibrate on the last, learn before it."""
    ripe = _ripe(past, day, horizon)
    later = ripe[-1]
    lapsed = _lapsed([later])
    purchase = straightened(logit(later.facts["no_purchase"]), lapsed)
    rule = straightened(_silence(later), lapsed, precision=0.01)
    earlier = _ripe(ripe, later.day, horizon)
    try:
        frame = pd.concat([known.frame for known in earlier]) if earlier else later.frame.iloc[:0]
        hazard = fit_hazard(frame, _lapsed(earlier)).calibrated(later.frame, lapsed)
    except EmptyDataError as error:
        return Forecaster(None, purchase, rule, str(error))
    return Forecaster(hazard, purchase, rule)


def staying_of(past: Sequence[Known], hazard: Hazard) -> Staying | None:
    """Learn in how many customers the causes of a hazard acted, from all past days; None where it has no cause."""
    if not set(CAUSES) & set(hazard.groups):
        return None
    return learn_staying(hazard, pd.concat([known.frame for known in past]), _lapsed(past))


def rounds(past: Sequence[Known], horizon: int) -> pd.DataFrame:
    """Forecast the last days from what was known by each.

    Parameters
    ----------
    past : sequence of Known
        With their outcomes, the earliest first.
    horizon : int

    Returns
    -------
    pandas.DataFrame
        By customer_id, a row per customer and day: ``day``, ``lapsed``, ``silence_weeks``, and the risk by each method.
        Days on which the hazard could be learnt alone where there are any.
    """
    graded = []
    for known in past[-_ROUNDS:]:
        if not _ripe(past, known.day, horizon):
            continue
        risks = train(past, known.day, horizon).forecast(known)
        graded.append(risks.assign(day=known.day, lapsed=_lapsed([known]), silence_weeks=known.facts["silence_weeks"]))
    with_hazard = [rows for rows in graded if HAZARD in rows]
    return pd.concat(with_hazard or graded)


def known_days(records: Records) -> list[Known]:
    """Return what was known on each past day; days on which nobody was active are left out.

    Raises
    ------
    EmptyDataError
        Nobody was active on any, or all of the customers lapsed, or none.
    """
    past: list[Known] = []
    for day in days_of(records):
        try:
            past.append(records.at(day, past[-1] if past else None))
        except EmptyDataError as error:
            warnings.warn(tr("A day is left out: {why}", why=str(error)), ThinDataWarning, stacklevel=3)
    if len(past) < 2 or not _ripe(past, past[-1].day, records.horizon):
        raise EmptyDataError("on too few past days anybody was active: there is nothing to learn leaving from")
    outcomes = _lapsed(past)
    if outcomes.all() or not outcomes.any():
        raise EmptyDataError(
            f"on {len(past)} past days {'every' if outcomes.all() else 'no'} active customer then bought nothing for "
            f"{records.horizon} weeks: there is nothing to learn leaving from"
        )
    if len(outcomes) < 2 * FEWEST:
        raise EmptyDataError(f"{len(outcomes)} active customers on all past days are too few to learn leaving from")
    return past


def _ripe(past: Sequence[Known], day: dt.date, horizon: int) -> list[Known]:
    return [known for known in past if known.day + dt.timedelta(weeks=horizon) <= day]


def _lapsed(past: Sequence[Known]) -> Array:
    parts = [known.lapsed.to_numpy(dtype=float) for known in past if known.lapsed is not None]
    return np.concatenate(parts) if parts else np.zeros(0)


def _silence(known: Known) -> Array:
    return np.asarray(np.log1p(known.facts["silence_weeks"].to_numpy(dtype=float)))
