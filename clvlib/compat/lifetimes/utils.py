"""lifetimes.utils: from transactions to summaries, value, and what a model expects over time.

Time is counted in whole periods (days, weeks, hours ...), as lifetimes does; within one, purchases count once.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.cells import Cells
from clvlib.errors import DataError, EmptyDataError, ParameterError

__all__ = [
    "ConvergenceError",
    "calculate_alive_path",
    "calibration_and_holdout_data",
    "expected_cumulative_transactions",
    "summary_data_from_transaction_data",
]

Moment = str | dt.date | np.datetime64

_PERIODS_PER_MONTH = {"W": 4.345, "M": 1.0, "D": 30.0, "H": 720.0, "h": 720.0}
_NAMES = {"H": "h", "T": "min", "S": "s"}  # of periods, before pandas 3


class ConvergenceError(ValueError):
    """What lifetimes raises when its optimiser fails; clvlib's warns with ConvergenceWarning and never raises this."""


def _check_inputs(
    frequency: ArrayLike,
    recency: ArrayLike | None = None,
    T: ArrayLike | None = None,
    monetary_value: ArrayLike | None = None,
) -> None:
    """Refuse vectors that no customers can have.

    Raises
    ------
    DataError
        A ValueError: recency after T, or above 0 without a repeat purchase; a frequency that is not a whole number; a
        monetary value that is not above 0; no customer; a value that is not finite, or negative.
    """
    named = {"frequency": frequency, "recency": recency, "T": T, "monetary_value": monetary_value}
    given = pd.DataFrame({name: np.asarray(values) for name, values in named.items() if values is not None})
    Cells.read(given, [str(name) for name in given])
    if "monetary_value" in given and (given["monetary_value"] <= 0).any():
        raise DataError("monetary_value: the Gamma-Gamma model is for customers whose mean spend is above 0")


def _moments(values: Any, datetime_format: str | None) -> Any:
    """Return dates as pandas understands them; whole numbers are read as text, so that a format applies to them."""
    if datetime_format is not None and isinstance(values, pd.Series) and pd.api.types.is_integer_dtype(values.dtype):
        values = values.astype(str)
    return pd.to_datetime(values, format=datetime_format)


def unit_of_time(freq: str) -> str:
    """Return a period's name as pandas 3 spells it."""
    return _NAMES.get(freq, freq)


def _period(moment: Moment | None, dates: pd.Series, datetime_format: str | None, freq: str) -> pd.Period:
    """Return the period that a moment lies in, or that of the last of the dates."""
    when = dates.max() if moment is None else _moments(moment, datetime_format)
    return pd.Timestamp(when).to_period(unit_of_time(freq))


def _ordinals(periods: pd.Series) -> NDArray[np.int64]:
    return np.asarray(periods.array.astype("int64"))


def _find_first_transactions(
    transactions: pd.DataFrame,
    customer_id_col: str,
    datetime_col: str,
    monetary_value_col: str | None = None,
    datetime_format: str | None = None,
    observation_period_end: Moment | None = None,
    freq: str = "D",
) -> pd.DataFrame:
    """Return a row per customer and period with purchases, whose column ``first`` marks the customer's first period.

    Amounts within a period are added up. Periods after that of ``observation_period_end`` are left out.
    """
    table = transactions[[customer_id_col, datetime_col, *([monetary_value_col] if monetary_value_col else [])]]
    dates = _moments(table[datetime_col], datetime_format)
    periods = dates.dt.to_period(unit_of_time(freq))
    seen = (periods <= _period(observation_period_end, dates, datetime_format, freq)).to_numpy()
    table = table.assign(**{datetime_col: periods})[seen].dropna(subset=[customer_id_col])
    keys = [customer_id_col, datetime_col]
    if monetary_value_col:
        table = table.groupby(keys, as_index=False)[[monetary_value_col]].sum()
    else:
        table = table.drop_duplicates().sort_values(keys, ignore_index=True)
    marked: pd.DataFrame = table.assign(first=~table[customer_id_col].duplicated())
    return marked


def summary_data_from_transaction_data(
    transactions: pd.DataFrame,
    customer_id_col: str,
    datetime_col: str,
    monetary_value_col: str | None = None,
    datetime_format: str | None = None,
    observation_period_end: Moment | None = None,
    freq: str = "D",
    freq_multiplier: float = 1,
    include_first_transaction: bool = False,  # noqa: FBT001, FBT002 - lifetimes' signature
) -> pd.DataFrame:
    """Return what the models need to know of each customer, from a transaction log.

    Parameters
    ----------
    transactions : pandas.DataFrame
        A row per transaction.
    customer_id_col, datetime_col : str
        Its columns.
    monetary_value_col : str, optional
        The column of amounts, for models of spend.
    datetime_format : str, optional
        How dates are written, as for :func:`pandas.to_datetime`.
    observation_period_end : str or date, optional
        The last period that counts, whole; by default that of the last transaction.
    freq : str
        The period within which purchases count once: "D", "W", "h", "M" ...
    freq_multiplier : float
        Periods per unit of recency and T: ``freq="D", freq_multiplier=7`` gives weeks to the day.
    include_first_transaction : bool
        Count the first purchase, too; not for the fitters.

    Returns
    -------
    pandas.DataFrame
        By customer: frequency, recency, T and, with amounts, monetary_value (mean per repeat period, 0 without).
    """
    purchases = _find_first_transactions(
        transactions,
        customer_id_col,
        datetime_col,
        monetary_value_col,
        datetime_format,
        observation_period_end,
        freq,
    )
    dates = _moments(transactions[datetime_col], datetime_format)
    end = _period(observation_period_end, dates, datetime_format, freq).ordinal
    when = pd.Series(_ordinals(purchases[datetime_col]), index=purchases.index)
    seen = when.groupby(purchases[customer_id_col]).agg(["count", "min", "max"])
    summary = pd.DataFrame(
        {
            "frequency": (seen["count"] - (0 if include_first_transaction else 1)).astype(float),
            "recency": (seen["max"] - seen["min"]) / freq_multiplier,
            "T": (end - seen["min"]) / freq_multiplier,
        }
    )
    if monetary_value_col:
        counted = purchases if include_first_transaction else purchases[~purchases["first"]]
        mean = counted.groupby(customer_id_col)[monetary_value_col].mean()
        summary["monetary_value"] = mean.reindex(summary.index, fill_value=0.0).astype(float)
    return summary


def calibration_and_holdout_data(
    transactions: pd.DataFrame,
    customer_id_col: str,
    datetime_col: str,
    calibration_period_end: Moment,
    observation_period_end: Moment | None = None,
    freq: str = "D",
    freq_multiplier: float = 1,
    datetime_format: str | None = None,
    monetary_value_col: str | None = None,
    include_first_transaction: bool = False,  # noqa: FBT001, FBT002 - lifetimes' signature
) -> pd.DataFrame:
    """Return each customer's summary up to one moment, and what the customer did from then to another.

    The calibration ends with the period that ``calibration_period_end`` lies in, and the holdout begins with the next.
    The other parameters are those of :func:`summary_data_from_transaction_data`.

    Returns
    -------
    pandas.DataFrame
        By customer: frequency_cal, recency_cal, T_cal, frequency_holdout, duration_holdout and, with amounts,
        monetary_value_cal (mean per repeat period), monetary_value_holdout (mean per row of the log).

    Raises
    ------
    EmptyDataError
        A ValueError: nobody bought in the holdout.
    """
    dates = _moments(transactions[datetime_col], datetime_format)
    periods = dates.dt.to_period(unit_of_time(freq))
    split = _period(calibration_period_end, dates, datetime_format, freq)
    end = _period(observation_period_end, dates, datetime_format, freq)
    counts = ((periods > split) & (periods <= end)).to_numpy()
    if not counts.any():
        raise EmptyDataError(
            f"There is no data available between {split} and {end}: check calibration_period_end and "
            f"observation_period_end against the log, which runs from {dates.min()} to {dates.max()}"
        )
    calibration = summary_data_from_transaction_data(
        transactions,
        customer_id_col,
        datetime_col,
        monetary_value_col,
        datetime_format,
        calibration_period_end,
        freq,
        freq_multiplier,
        include_first_transaction,
    )
    both = calibration.add_suffix("_cal")
    who = transactions.loc[counts, customer_id_col].to_numpy()
    both["frequency_holdout"] = periods[counts].groupby(who).nunique()
    if monetary_value_col:
        both["monetary_value_holdout"] = transactions.loc[counts, monetary_value_col].groupby(who).mean()
    both = both.fillna(0.0).astype(float)
    both["duration_holdout"] = (end.ordinal - split.ordinal) / freq_multiplier
    return both


def calculate_alive_path(
    model: Any, transactions: pd.DataFrame, datetime_col: str, t: int, freq: str = "D"
) -> pd.Series:
    """Return how one customer's P(alive) went from the first purchase on.

    Parameters
    ----------
    model
        A fitted fitter.
    transactions : pandas.DataFrame
        The purchases of one customer.
    datetime_col : str
        Its column of dates.
    t : int
        Periods since the first purchase; the path runs until the last purchase if that is later.
    freq : str
        The period.

    Returns
    -------
    pandas.Series
        P(alive) by the number of periods since the first purchase, from 0.
    """
    days = np.unique(_ordinals(_moments(transactions[datetime_col], None).dt.to_period(unit_of_time(freq))))
    days -= days[0]
    age = np.arange(max(int(t), days[-1]) + 1)
    frequency = np.searchsorted(days, age, side="right") - 1
    return pd.Series(np.asarray(model.conditional_probability_alive(frequency, days[frequency], age)))


def expected_cumulative_transactions(
    model: Any,
    transactions: pd.DataFrame,
    datetime_col: str,
    customer_id_col: str,
    t: int,
    datetime_format: str | None = None,
    freq: str = "D",
    freq_multiplier: int = 1,
    set_index_date: bool = False,  # noqa: FBT001, FBT002 - lifetimes' signature
) -> pd.DataFrame:
    """Return all customers' repeat purchases so far, and those that the model expects of them.

    Parameters
    ----------
    model
        A fitted fitter.
    transactions : pandas.DataFrame
        A row per transaction.
    datetime_col, customer_id_col : str
        Its columns.
    t : int
        Periods since the first of all purchases.
    datetime_format : str, optional
        How dates are written, as for :func:`pandas.to_datetime`.
    freq : str
        The period within which purchases count once.
    freq_multiplier : int
        Periods per unit of the model's time, and per row.
    set_index_date : bool
        Let periods be the index, not numbers.

    Returns
    -------
    pandas.DataFrame
        actual, predicted: running sums, at the end of every unit of time.
    """
    purchases = _find_first_transactions(
        transactions, customer_id_col, datetime_col, datetime_format=datetime_format, freq=freq
    )
    when = _ordinals(purchases[datetime_col])
    start, first = when.min(), purchases["first"].to_numpy()
    ends = (np.arange(int(t) // freq_multiplier) + 1) * freq_multiplier
    whole = int(ends[-1]) if len(ends) else 0
    born, repeated = (np.bincount(when[rows] - start, minlength=whole)[:whole] for rows in (first, ~first))
    expected = model.expected_number_of_purchases_up_to_time(np.arange(1, whole + 1) / freq_multiplier)
    index = None
    if set_index_date:
        index = pd.period_range(purchases[datetime_col].min(), periods=whole)[ends - 1]
    running = {"actual": repeated.cumsum(), "predicted": np.convolve(born, np.asarray(expected))}
    return pd.DataFrame({name: values[ends - 1] for name, values in running.items()}, index=index)


def _scale_time(age: ArrayLike) -> float:
    """Return the factor that makes the greatest age 1."""
    return 1.0 / float(np.max(np.asarray(age, dtype=float)))


def _customer_lifetime_value(
    transaction_prediction_model: Any,
    frequency: pd.Series,
    recency: pd.Series,
    T: pd.Series,
    monetary_value: pd.Series,
    time: float = 12,
    discount_rate: float = 0.01,
    freq: str = "D",
) -> pd.Series:
    """Return the money expected of each customer over ``time`` months, discounted once a month.

    Parameters
    ----------
    transaction_prediction_model
        A fitted fitter with ``predict``.
    frequency, recency, T : pandas.Series
        Of the customers.
    monetary_value : pandas.Series
        The mean spend expected of each.
    time : float
        Months.
    discount_rate : float
        A month.
    freq : {"D", "W", "M", "h"}
        The unit of recency and T; a month has 30 days, 4.345 weeks or 720 hours.

    Returns
    -------
    pandas.Series
        By customer, named clv.

    Raises
    ------
    ParameterError
        When ``freq`` is none of these.
    """
    if freq not in _PERIODS_PER_MONTH:
        raise ParameterError(f"freq is one of {', '.join(_PERIODS_PER_MONTH)}; found {freq!r}")
    value: Any = 0.0
    before: Any = 0.0
    for month in np.arange(1, time + 1):
        bought = transaction_prediction_model.predict(month * _PERIODS_PER_MONTH[freq], frequency, recency, T)
        value += monetary_value * (bought - before) / (1 + discount_rate) ** month
        before = bought
    return pd.Series(value, index=getattr(frequency, "index", None), name="clv")
