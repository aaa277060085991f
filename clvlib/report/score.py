"""One row per customer: segment, probability alive, expected purchases and value, with intervals."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd

import clvlib as clv

__all__ = ["score"]


def score(shop: Any, as_of: str | dt.date | None = None, horizon: float = 52, interval: float = 0.9) -> pd.DataFrame:
    """Score every customer with the standard models, BG/NBD for purchases and Gamma-Gamma for spend.

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
        expected_purchases, clv (margin and discount of the shop's configuration), the last two with _lower and
        _upper; the most valuable first.

    Raises
    ------
    EmptyDataError
        There are too few customers, or none who bought again.
    """
    base = shop.customer_summary(as_of, unit="W", collapse="D")
    purchases = clv.BetaGeoModel().fit(base)
    spend = clv.GammaGammaModel().fit(base)
    value = clv.LifetimeValue(purchases, spend, margin=shop.config.margin, annual_rate=shop.config.annual_rate)
    scored: pd.DataFrame = base.copy()
    scored["segment"] = clv.rfm(base).table["segment"].reindex(base.index)
    scored["probability_alive"] = purchases.probability_alive(base)
    expected = {
        "expected_purchases": purchases.expected_purchases(base, horizon=horizon, interval=interval),
        "clv": value.predict(base, horizon=horizon, interval=interval),
    }
    for name, frame in expected.items():
        scored[name] = frame["mean"]
        scored[[f"{name}_lower", f"{name}_upper"]] = frame[["lower", "upper"]]
    ranked: pd.DataFrame = scored.sort_values("clv", ascending=False, kind="stable")
    return ranked
