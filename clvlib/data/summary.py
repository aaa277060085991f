"""One small frame per question about purchases: the customer summary, and its split for validation.

The queries use integers for time and exact decimals for money, so that every engine gives the same bits.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import pandas as pd

from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, literal
from clvlib.errors import EmptyDataError, ParameterError

__all__ = ["Collapse", "Unit", "calibration_holdout", "customer_summary", "elapsed"]

Unit = Literal["D", "W", "M", "Y"]
Collapse = Literal["D", "W", "M"]

_DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_EPOCH = dt.date(1970, 1, 1)


def _check(unit: str, collapse: str) -> None:
    if unit not in _DAYS or collapse not in {"D", "W", "M"}:
        raise ParameterError(f"unit is D, W, M or Y and collapse D, W or M; found unit={unit!r}, collapse={collapse!r}")
    if collapse not in {"D", unit}:
        raise ParameterError(
            f"purchases collapsed by {collapse} are counted in whole {collapse}; unit={unit!r} would pretend to know "
            f"more. Use unit={collapse!r}, or collapse='D'"
        )


def _period(day: str, collapse: str) -> str:
    """SQL for the number of the day, ISO week or month that ``day`` lies in."""
    days = f"DATE_DIFF('day', DATE '1970-01-01', {day})"
    if collapse == "W":  # 1970-01-01 was a Thursday
        return f"CAST(FLOOR(({days} + 3) / 7.0) AS INTEGER)"
    if collapse == "M":
        return f"(EXTRACT(YEAR FROM {day}) * 12 + EXTRACT(MONTH FROM {day}))"
    return days


def _period_of(day: dt.date, collapse: str) -> int:
    days = (day - _EPOCH).days
    return {"D": days, "W": (days + 3) // 7, "M": day.year * 12 + day.month}[collapse]


def elapsed(start: dt.date, end: dt.date, unit: str = "W", collapse: str = "D") -> float:
    """Return the time between two days as the summary counts it.

    >>> elapsed(dt.date(1997, 9, 30), dt.date(1998, 6, 30), unit="W")
    39.0
    """
    _check(unit, collapse)
    steps = _period_of(end, collapse) - _period_of(start, collapse)
    return steps / (_DAYS[unit] if collapse == "D" else 1.0)


def _summary_sql(
    until: dt.date,
    unit: str,
    collapse: str,
    *,
    litt: bool = False,
    spend: bool = False,
    holdout: dt.date | None = None,
) -> str:
    # Joining the first period back costs a quarter less than a window function over all customers.
    scale = _DAYS[unit] if collapse == "D" else 1.0
    period, last = _period("day", collapse), _period_of(until, collapse)
    gap, columns, known, bought = "", "", "period", "COUNT(*)"
    if holdout is not None:  # the same, of the periods up to the split, and what came after it
        known, bought = f"CASE WHEN period <= {last} THEN period END", f"COUNT(CASE WHEN period <= {last} THEN 1 END)"
        later = f"COUNT(CASE WHEN period > {last} THEN 1 END)"
        columns = (
            f", {later} AS frequency_holdout, CAST(COALESCE(SUM(CASE WHEN period > {last} THEN amount END), 0) AS "
            f"DOUBLE) / GREATEST({later}, 1) AS monetary_value_holdout"
        )
    if litt:
        before = f"LAG({period}) OVER (PARTITION BY customer_id ORDER BY {period})"
        gap = f", LN(CAST({period} - {before} AS DOUBLE) / {scale!r}) AS log_gap"
        columns += f", COALESCE(SUM(CASE WHEN period <= {last} THEN log_gap END), 0) AS litt"
    if spend:
        columns += f", CAST(SUM(CASE WHEN period <= {last} THEN amount END) AS DOUBLE) AS spend"
    return (
        f"WITH p AS (SELECT customer_id, {period} AS period, SUM(net_amount) AS amount{gap} FROM {{t}} "
        f"WHERE is_purchase AND day <= {literal(holdout or until)} GROUP BY 1, 2), "
        "f AS (SELECT customer_id, MIN(period) AS first FROM p GROUP BY customer_id) "
        f"SELECT p.customer_id, {bought} - 1 AS frequency, "
        f"CAST(MAX({known}) - MIN(period) AS DOUBLE) / {scale!r} AS recency, "
        f"CAST({last} - MIN(period) AS DOUBLE) / {scale!r} AS T, "
        f"CAST(COALESCE(SUM(CASE WHEN period > first AND period <= {last} THEN amount END), 0) AS DOUBLE) "
        f"/ GREATEST({bought} - 1, 1) AS monetary_value{columns} "
        f"FROM p JOIN f ON p.customer_id = f.customer_id GROUP BY p.customer_id HAVING MIN(period) <= {last}"
    )


def customer_summary(
    orders: Table,
    as_of: str | dt.date,
    unit: Unit = "W",
    collapse: Collapse = "D",
    *,
    compressed: bool = False,
    litt: bool = False,
    spend: bool | None = None,
) -> pd.DataFrame:
    """Summarise each customer's purchases up to and including the day ``as_of``.

    Parameters
    ----------
    orders : Table
        With ``customer_id``, ``day``, ``net_amount`` and ``is_purchase``.
    as_of : str or datetime.date
        The last day looked at.
    unit : {"D", "W", "M", "Y"}
        In which time is counted: days, weeks, months of 30.4375 and years of 365.25 days.
    collapse : {"D", "W", "M"}
        Purchases within one day (ISO week, month) count as one. For W and M time is counted in whole periods.
    compressed : bool
        Return the distinct histories and how many customers share each, as ``n``, in place of the customers.
    litt : bool
        Add the column ``litt``, the sum of the logs of the times between a customer's purchases, in ``unit``; 0
        without a repeat purchase. It tells models of regular buying how regular a customer is.
    spend : bool, optional
        Whether to add the column ``spend``, the net amount of all purchases, the first among them, which
        ``monetary_value`` leaves out: the money of :func:`clvlib.rfm`. By default, unless compressed.

    Returns
    -------
    pandas.DataFrame
        Index ``customer_id``; ``frequency`` (repeat purchases), ``recency`` (last purchase) and ``T`` (``as_of``), both
        since the first purchase, in ``unit``; ``monetary_value``, mean net amount of a repeat purchase, 0 without
        one; ``spend``. Compressed: ``frequency, recency, T, n``. ``frame.attrs["clvlib"]`` holds unit, collapse and
        as_of.

    Raises
    ------
    EmptyDataError
        There is no purchase on or before ``as_of``.
    ParameterError
        The unit does not go with the collapse, or ``litt`` or ``spend`` with ``compressed``.

    Notes
    -----
    The definitions are those of lifetimes' ``summary_data_from_transaction_data``: collapse D with unit D or W is its
    ``freq="D"`` with ``freq_multiplier`` 1 or 7, collapse W its ``freq="W"``.
    """
    _check(unit, collapse)
    for name, asked in (("litt", litt), ("spend", spend)):
        if compressed and asked:
            raise ParameterError(f"{name} differs between customers of one history; ask for it without compressed")
    until = as_date(as_of)
    sql = _summary_sql(until, unit, collapse, litt=litt, spend=not compressed and spend is not False)
    if compressed:
        sql = (
            f"SELECT frequency, recency, T, COUNT(*) AS n FROM ({sql}) AS s GROUP BY 1, 2, 3 "
            "ORDER BY frequency, recency, T"
        )
        frame = orders.query(sql)
    else:
        frame = orders.query(f"{sql} ORDER BY customer_id").set_index("customer_id")
    if frame.empty:
        raise _nothing(orders, until)
    frame.attrs["clvlib"] = _attrs(unit, collapse, until)
    return frame


def _attrs(unit: str, collapse: str, until: dt.date) -> dict[str, str]:
    return {"unit": unit, "collapse": collapse, "as_of": until.isoformat()}


def _nothing(orders: Table, until: dt.date) -> EmptyDataError:
    span = orders.query(
        "SELECT CAST(MIN(day) AS VARCHAR) AS a, CAST(MAX(day) AS VARCHAR) AS b FROM {t} WHERE is_purchase"
    )
    first = span["a"].iloc[0]
    if not isinstance(first, str):
        return EmptyDataError("orders: no order is a purchase: all are unpaid or refunded in full")
    return EmptyDataError(f"no purchase on or before {until}; the first is of {first}, the last of {span['b'].iloc[0]}")


def calibration_holdout(
    orders: Table,
    split: str | dt.date,
    as_of: str | dt.date,
    unit: Unit = "W",
    collapse: Collapse = "D",
    *,
    litt: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summarise purchases up to ``split``, and what the same customers did from the next day to ``as_of``.

    Parameters
    ----------
    orders : Table
        As for :func:`customer_summary`.
    split : str or datetime.date
        Last day of the calibration period.
    as_of : str or datetime.date
        Last day of the holdout period.
    unit, collapse, litt
        As for :func:`customer_summary`.

    Returns
    -------
    calibration : pandas.DataFrame
        What :func:`customer_summary` gives for ``split``.
    holdout : pandas.DataFrame
        Same index: ``frequency_holdout`` (periods with a purchase), ``monetary_value_holdout`` (their mean net
        amount, 0 without one) and ``duration_holdout`` (length of the holdout, in ``unit``).

    Raises
    ------
    ParameterError
        ``split`` is not before ``as_of``, or cuts a week or month by which purchases are collapsed.
    """
    _check(unit, collapse)
    last, end = as_date(split, "split"), as_date(as_of)
    if last >= end:
        raise ParameterError(f"split ({last}) must lie before as_of ({end})")
    if _period_of(last, collapse) == _period_of(last + dt.timedelta(days=1), collapse):
        raise ParameterError(f"split ({last}) cuts a period of collapse={collapse!r}; choose the last day of one")
    sql = _summary_sql(last, unit, collapse, litt=litt, spend=True, holdout=end)
    frame = orders.query(f"{sql} ORDER BY p.customer_id").set_index("customer_id")
    if frame.empty:
        raise _nothing(orders, last)
    ahead = ["frequency_holdout", "monetary_value_holdout"]
    calibration, holdout = frame.drop(columns=ahead), frame[ahead].copy()
    holdout["duration_holdout"] = elapsed(last, end, unit, collapse)
    calibration.attrs["clvlib"], holdout.attrs["clvlib"] = (_attrs(unit, collapse, day) for day in (last, end))
    return calibration, holdout
