"""One row per customer: segment, probability alive, expected purchases and value, with intervals."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd

from clvlib.clv.valuation import CustomerValue
from clvlib.errors import ParameterError

__all__ = ["score"]


def score(shop: Any, as_of: str | dt.date | None = None, horizon: float = 52, interval: float = 0.9) -> pd.DataFrame:
    """Score every customer as notebook 03 does: by the purchase model that the backtest chooses, and Gamma-Gamma.

    Parameters
    ----------
    shop : Shop
        What :func:`clvlib.connect` returned.
    as_of : str or datetime.date, optional
        The last day that is looked at; without one, the last day of the data.
    horizon : float
        Weeks ahead.
    interval : float
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        By customer_id: frequency, recency, T (weeks), monetary_value, segment (RFM), probability_alive,
        clv (margin and discount of the shop's configuration) and expected_purchases, both with _lower and _upper; the
        most valuable first.

    Raises
    ------
    ParameterError
        The day lies beyond the data.
    EmptyDataError
        There are too few customers, or none who bought again.
    """
    day = shop.data_until if as_of is None else pd.Timestamp(as_of).date()
    if day > shop.data_until:
        raise ParameterError(f"{day} lies beyond the data, which end on {shop.data_until}")
    base = CustomerValue(horizon, shop.config.margin, shop.config.annual_rate, interval).of(shop, day)
    often = base.purchases.expected_purchases(base.table, horizon, interval)
    scored: pd.DataFrame = base.table.drop(columns=["expected_purchases", "expected_spend", "loss"])
    scored = scored.rename(columns={"value": "clv", "lower": "clv_lower", "upper": "clv_upper"})
    names = {"mean": "expected_purchases", "lower": "expected_purchases_lower", "upper": "expected_purchases_upper"}
    return scored.join(pd.DataFrame(often).rename(columns=names))
