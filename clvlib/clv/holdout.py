"""Was the model right? Forecasts against what customers then did, by customer, by frequency and by week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvlib.clv.bands import expected_by_age, track_bands
from clvlib.clv.cells import PERIODS_PER_YEAR
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.result import Result
from clvlib.words import tr

__all__ = ["Validation", "tracking", "validate", "week_effect"]


@dataclass(frozen=True)
class Validation(Result):
    """How a model forecast a holdout; ``table`` has a row per number of purchases in the calibration.

    ``table`` columns: ``customers``, ``expected`` and ``actual`` (mean purchases per customer in the holdout).

    Attributes
    ----------
    model : str
        Its name.
    customers : int
        How many were forecast.
    duration : float
        Length of the holdout, in the time unit.
    expected, lower, upper : float
        Purchases forecast for all customers, with the interval.
    actual : float
        Purchases made.
    mae, rmse, bias : float
        Mean absolute, root mean squared and mean error of the customers' forecasts.
    active_expected, active_actual : float
        Customers forecast to buy at all, and those who did.
    by_customer : pandas.DataFrame
        ``expected`` and ``actual`` by customer_id.
    """

    model: str
    customers: int
    duration: float
    expected: float
    lower: float
    upper: float
    actual: float
    mae: float
    rmse: float
    bias: float
    active_expected: float
    active_actual: float
    by_customer: pd.DataFrame


def validate(
    model: PurchaseModel,
    calibration: pd.DataFrame,
    holdout: pd.DataFrame | None = None,
    interval: float = 0.9,
    top: int = 7,
) -> Validation:
    """Forecast the holdout of each customer from the calibration, and compare.

    Parameters
    ----------
    model : PurchaseModel
        Fitted to the calibration.
    calibration : pandas.DataFrame
        frequency, recency, T by customer_id; or lifetimes' one frame with frequency_cal, recency_cal, T_cal,
        frequency_holdout and duration_holdout.
    holdout : pandas.DataFrame, optional
        frequency_holdout and duration_holdout by the same customer_id.
    interval : float
        Level of the interval of the total.
    top : int
        Frequencies from here on share a row of the table.

    Returns
    -------
    Validation
        Errors, the total with its interval, and expected against actual by frequency.

    Raises
    ------
    MissingColumnError
        When a column of the holdout is absent.
    ParameterError
        When the two frames are not of the same customers, or the holdout has several lengths.
    """
    known, later = _two_frames(calibration, holdout)
    duration = later["duration_holdout"].to_numpy(dtype=float)
    if np.ptp(duration) > 1e-9 * duration.max():
        raise ParameterError("duration_holdout differs between customers; validate one length at a time")
    actual = later["frequency_holdout"].astype(float).rename("actual")
    expected = model.expected_purchases(known, float(duration[0]))
    by_customer = pd.DataFrame({"expected": expected, "actual": actual})
    total = _total(model, known, float(duration[0]), interval)
    error = by_customer["expected"] - by_customer["actual"]
    groups = by_customer.groupby(known["frequency"].clip(upper=top).astype(int))
    table = groups.mean()
    table.insert(0, "customers", groups.size())
    table.index.name = "frequency"
    return Validation(
        model=type(model).__name__,
        customers=len(error),
        duration=float(duration[0]),
        expected=float(total["mean"]),
        lower=float(total["lower"]),
        upper=float(total["upper"]),
        actual=float(actual.sum()),
        mae=float(error.abs().mean()),
        rmse=float(np.sqrt((error**2).mean())),
        bias=float(error.mean()),
        active_expected=float(model.next_purchase_probability(known, float(duration[0])).sum()),
        active_actual=float((actual > 0).sum()),
        by_customer=by_customer,
        table=table,
    )


def _total(model: PurchaseModel, known: pd.DataFrame, duration: float, interval: float) -> pd.Series:
    uncertainty = "customer" if model._log_covariance is None else "both"  # noqa: SLF001 - given parameters have none
    return model.total_purchases(known, duration, interval, uncertainty)  # type: ignore[arg-type]


def _two_frames(calibration: pd.DataFrame, holdout: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    later = calibration if holdout is None else holdout
    absent = [name for name in ("frequency_holdout", "duration_holdout") if name not in later]
    if absent:
        raise MissingColumnError(f"the holdout lacks {', '.join(absent)}; shop.calibration_holdout() makes both frames")
    if not later.index.sort_values().equals(calibration.index.sort_values()):
        raise ParameterError("calibration and holdout are not of the same customers")
    known = calibration.rename(columns=lambda name: str(name).removesuffix("_cal"))
    return known, later.reindex(known.index)


def tracking(
    model: PurchaseModel,
    orders: Table | pd.DataFrame,
    as_of: Any,
    split: Any = None,
    unit: str | None = None,
    interval: float | None = None,
    draws: int = 5_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return expected and actual repeat purchases per week, of the customers known at the split.

    Parameters
    ----------
    model : PurchaseModel
        Fitted to the calibration; its time unit is used.
    orders : Table or pandas.DataFrame
        customer_id and day (date of purchase); with a column is_purchase only the rows where it holds count. Purchases
        of one day count as one.
    as_of : date or str
        Last day looked at; a week that is not over by then is left out.
    split : date or str, optional
        Last day of the calibration: customers who first bought later are not followed. None: no holdout.
    unit : str, optional
        The model's time unit, where the model does not know it.
    interval : float, optional
        Level of bands within which the actual figures lie if the model is right: chance, and after the split that the
        parameters were estimated (:func:`clvlib.clv.bands.track_bands`).
    draws, seed : int
        Customers drawn for the bands, and how. Pareto/GGG takes milliseconds for each; 1,000 will do.

    Returns
    -------
    pandas.DataFrame
        By week (its Monday): expected, actual, expected_cumulative, actual_cumulative, holdout (after the split); with
        ``interval`` lower, upper, lower_cumulative, upper_cumulative.
    """
    table = as_table(orders, "orders", "customer_id", "day")
    end = as_date(as_of)
    last = end if split is None else as_date(split, "split")
    days = _daily(table, end, last)
    if days.empty:
        raise EmptyDataError(tr("no customer bought on or before {day}", day=last))
    day = pd.to_datetime(days["day"])
    monday = day.min() - pd.Timedelta(days=day.min().weekday())
    weeks = (pd.Timestamp(end) - monday).days // 7 + (1 if end.weekday() == 6 else 0)
    if weeks < 1:
        raise EmptyDataError(tr("tracking goes by whole weeks, and not one is over"))
    starts = pd.date_range(monday, periods=weeks, freq="7D")
    number = (day - monday).dt.days.astype(np.int64)
    births = days.groupby(number)["born"].sum()
    births = births[births > 0]
    actual = days.groupby(number // 7)["repeats"].sum().reindex(range(weeks), fill_value=0)
    per = PERIODS_PER_YEAR["D"] / PERIODS_PER_YEAR[unit or model.unit_ or "W"]
    ends = 7 * np.arange(1, weeks + 1, dtype=np.int64) - 1  # a purchase on day d is known on that day
    age = ends[:, None] - births.index.to_numpy()[None, :]
    cumulative = expected_by_age(model, model._p(), age, per) @ births.to_numpy(dtype=float)  # noqa: SLF001
    frame = pd.DataFrame({"expected": np.diff(cumulative, prepend=0.0), "actual": actual.to_numpy(dtype=float)})
    frame["expected_cumulative"] = cumulative
    frame["actual_cumulative"] = frame["actual"].cumsum()
    frame["holdout"] = starts > pd.Timestamp(last)
    if interval is not None:
        seen = (pd.Timestamp(last) - monday).days
        frame = frame.join(track_bands(model, births, ends, seen, per, interval, draws, seed))
    return frame.set_index(pd.DatetimeIndex(starts, name="week"))


def week_effect(track: pd.DataFrame, weeks: int = 26) -> float:
    """Return by how much, relatively, weeks differ from what the model expects beyond the chance of single purchases.

    What all customers share, a festival or bad weather, is not in any model of customers; it is seen in the track of
    past weeks. With actual = expected × a factor of mean 1 and variance τ², and chance as in a Poisson count, the
    squared errors less the expected counts estimate τ² (method of moments).

    Parameters
    ----------
    track : pandas.DataFrame
        What :func:`tracking` returned: expected, actual.
    weeks : int
        How many of the last weeks count.

    Returns
    -------
    float
        τ, 0 where chance explains all.

    Examples
    --------
    >>> track = pd.DataFrame({"expected": [100.0, 100, 100, 100], "actual": [100.0, 130, 70, 100]})
    >>> round(week_effect(track), 3)
    0.187
    """
    last = track.tail(weeks)
    expected = last["expected"].to_numpy(dtype=float)
    excess = float(((last["actual"] - expected) ** 2 - expected).sum())
    return float(np.sqrt(max(excess, 0.0) / max(float(expected @ expected), 1e-300)))


def _daily(table: Table, end: Any, last: Any) -> pd.DataFrame:
    """Return per day how many customers first bought, and how many bought again."""
    condition = "AND is_purchase" if "is_purchase" in table.columns else ""
    return table.query(
        f"WITH p AS (SELECT DISTINCT customer_id, CAST(day AS DATE) AS day FROM {{t}} "
        f"WHERE CAST(day AS DATE) <= {literal(end)} {condition}), "
        "f AS (SELECT customer_id, MIN(day) AS first FROM p GROUP BY customer_id) "
        "SELECT CAST(p.day AS VARCHAR) AS day, SUM(CASE WHEN p.day = f.first THEN 1 ELSE 0 END) AS born, "
        "SUM(CASE WHEN p.day > f.first THEN 1 ELSE 0 END) AS repeats "
        f"FROM p JOIN f ON p.customer_id = f.customer_id WHERE f.first <= {literal(last)} GROUP BY 1 ORDER BY 1"
    )
