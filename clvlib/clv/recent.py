"""What customers spent within the last days, and how often they bought: the facts behind scores and tiers."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from clvlib.data.engine import Table, as_table, literal

__all__ = ["bought", "recent_spend"]


def bought(orders: Table | pd.DataFrame) -> Table:
    """Return the orders that are purchases, with ``customer_id``, ``day`` and ``net_amount``."""
    table = as_table(orders, "orders", "customer_id", "day", "net_amount")
    return table.where("is_purchase") if "is_purchase" in table.columns else table


def recent_spend(purchases: Table, last: dt.date, days: int) -> pd.DataFrame:
    """Summarise the purchases of everybody who had bought by a day.

    Parameters
    ----------
    purchases : Table
        What :func:`bought` returns.
    last : date
        The last day that counts.
    days : int
        Length of the window that ends with it.

    Returns
    -------
    pandas.DataFrame
        By customer_id: ``spend`` (net, of the window), ``purchases`` (its days with one), ``total`` (net, of all time).
    """
    recent = f"CAST(day AS DATE) > {literal(last - dt.timedelta(days=days))}"
    return purchases.query(
        "SELECT customer_id, CAST(SUM(CASE WHEN recent THEN amount ELSE 0 END) AS DOUBLE) AS spend, "
        "CAST(SUM(CASE WHEN recent THEN 1 ELSE 0 END) AS BIGINT) AS purchases, CAST(SUM(amount) AS DOUBLE) AS total "
        f"FROM (SELECT customer_id, CAST(day AS DATE) AS day, {recent} AS recent, SUM(net_amount) AS amount "
        f"FROM {{t}} AS t WHERE CAST(day AS DATE) <= {literal(last)} GROUP BY 1, 2, 3) AS d GROUP BY 1 ORDER BY 1"
    ).set_index("customer_id")
