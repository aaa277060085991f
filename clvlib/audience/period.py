"""What the audience analyses share: a period of days, and the orders that are purchases."""

from __future__ import annotations

import datetime as dt

from clvlib.data.calendar import as_period as days
from clvlib.data.engine import Table, literal

__all__ = ["days", "during", "purchases"]


def during(column: str, period: tuple[dt.date, dt.date]) -> str:
    """Return the SQL condition that a time lies in a period."""
    return f"{column} >= {literal(period[0])} AND {column} < {literal(period[1])}"


def purchases(orders: Table) -> Table:
    """Return the orders that are purchases, with ``net_amount``.

    A shop's checked orders know which those are (paid, and not refunded in full); in a frame of one's own, those of
    a positive amount.
    """
    orders.require("customer_id", "ordered_at")
    if "is_purchase" in orders.columns:
        return orders.require("net_amount").where("is_purchase")
    orders.require("amount")
    relation = (
        f"(SELECT * FROM (SELECT *, amount AS net_amount FROM {orders.relation} AS o WHERE amount > 0"
        " AND customer_id IS NOT NULL AND ordered_at IS NOT NULL) AS p)"
    )
    if "net_amount" in orders.columns:
        return orders.where("net_amount > 0 AND customer_id IS NOT NULL AND ordered_at IS NOT NULL")
    return Table(orders.engine, orders.name, relation, (*orders.columns, "net_amount"))
