"""Spend and new customers by channel and week, and what segments of new customers bring for their cost (V11)."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pandas as pd
from scipy import stats

from clvlib.data.engine import Table, identifier, literal
from clvlib.errors import ParameterError, ThinDataWarning
from clvlib.stats.totals import total_interval
from clvlib.words import mark, trn

__all__ = ["by_segment", "new_people", "segment_of", "weekly_spend"]

_UNKNOWN = mark("unknown")


def new_people(tables: dict[str, Table], end: dt.date, weeks: int, value: pd.Series, margin: float) -> pd.DataFrame:
    """Return the new customers: channel, weeks since the first purchase, value, and how much of it is only expected."""
    orders = tables["orders"].require("customer_id", "day", "net_amount")
    bought = orders.where("is_purchase") if "is_purchase" in orders.columns else orders
    own = "CAST(channel AS VARCHAR)" if "channel" in orders.columns else "CAST(NULL AS VARCHAR)"
    named = "SELECT NULL AS customer_id, NULL AS channel WHERE 1 = 0"
    if "customers" in tables and "channel" in tables["customers"].columns:
        named = "SELECT customer_id, MIN(CAST(channel AS VARCHAR)) AS channel FROM {customers} AS c GROUP BY 1"
    people = bought.query(
        f"""WITH b AS (SELECT customer_id, CAST(day AS DATE) AS day, {own} AS channel, net_amount FROM {{t}} AS t
              WHERE CAST(day AS DATE) <= {literal(end)}),
            f AS (SELECT customer_id, MIN(day) AS first, CAST(SUM(net_amount) AS DOUBLE) AS spent FROM b GROUP BY 1),
            c AS (SELECT b.customer_id, MIN(b.channel) AS channel FROM b JOIN f ON b.customer_id = f.customer_id
              WHERE b.day = f.first GROUP BY 1),
            n AS ({named})
        SELECT f.customer_id, COALESCE(n.channel, c.channel, '{_UNKNOWN}') AS channel,
          CAST(FLOOR(DATE_DIFF('day', f.first, {literal(end)}) / 7.0) AS INTEGER) AS week, f.spent
        FROM f JOIN c ON f.customer_id = c.customer_id LEFT JOIN n ON f.customer_id = n.customer_id
        WHERE DATE_DIFF('day', f.first, {literal(end)}) < {7 * weeks} ORDER BY 1""",
        **{name: table for name, table in tables.items() if name == "customers"},
    )
    brought = value.reindex(people["customer_id"]).to_numpy(dtype=float)
    if np.isinf(brought).any() or (brought < 0).any():
        raise ParameterError("value: some are negative or not finite; margins that are expected are 0 or more")
    lacking = int(np.isnan(brought).sum())
    if lacking:
        text = trn(
            "{n:,} new customer has no expected value and counts as worth nothing beyond what was earned",
            "{n:,} new customers have no expected value and count as worth nothing beyond what was earned",
            lacking,
        )
        warnings.warn(text, ThinDataWarning, stacklevel=3)
    expected = np.nan_to_num(brought)
    return people.assign(expected=expected, value=margin * people.pop("spent").to_numpy(dtype=float) + expected)


def weekly_spend(spend: Table, people: pd.DataFrame, end: dt.date, weeks: int) -> pd.DataFrame:
    """Return cost and new customers of each channel that ever cost anything, for each week, 0 the last."""
    ago = f"DATE_DIFF('day', CAST(date AS DATE), {literal(end)})"
    cost = spend.require("channel", "date", "cost").query(
        f"SELECT CAST(channel AS VARCHAR) AS channel, CAST(FLOOR({ago} / 7.0) AS INTEGER) AS week, "
        f"CAST(SUM(cost) AS DOUBLE) AS cost FROM {{t}} AS t WHERE {ago} >= 0 AND {ago} < {7 * weeks} "
        "AND channel IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )
    if (cost["cost"] < 0).any():
        raise ParameterError(f"spend.cost: a week cost less than nothing; the least is {cost['cost'].min():g}")
    names = sorted(cost.loc[cost["cost"] > 0, "channel"].unique())
    last = int(cost["week"].max()) if len(cost) else -1
    grid = pd.MultiIndex.from_product([names, range(last + 1)], names=["channel", "week"])
    came = people.groupby(["channel", "week"]).size()
    columns = {"cost": cost.set_index(["channel", "week"])["cost"], "new": came}
    return pd.DataFrame(
        {name: part.reindex(grid, fill_value=0) for name, part in columns.items()}, index=grid
    ).reset_index()


def by_segment(
    people: pd.DataFrame, weekly: pd.DataFrame, segment: pd.Series | None, error: float, level: float
) -> pd.DataFrame:
    """Return what new customers of each segment bring, and cost at what their channels cost per new customer.

    ``error`` is the relative standard error that all expected values share.
    """
    columns = ["customers", "value_per_customer", "cost_per_customer", "average", "average_lower", "average_upper"]
    if segment is None or people.empty:
        return pd.DataFrame(columns=columns, dtype=float, index=pd.Index([], name="segment"))
    sums = weekly.groupby("channel")[["cost", "new"]].sum()
    rows = people[people["channel"].isin(sums.index)]
    each = rows["channel"].map(sums["cost"] / sums["new"].clip(lower=1)).to_numpy(dtype=float)
    names = segment.reindex(rows["customer_id"]).fillna(_UNKNOWN).astype(str).to_numpy()
    made = {}
    for name in sorted(set(names)):
        own, cost = rows["value"].to_numpy(dtype=float)[names == name], float(each[names == name].sum())
        ends = np.array(total_interval(float(own.sum()), float((own**2).sum()), float(own.max(initial=0.0)), level))
        shared = (
            float(stats.norm.ppf((1 + level) / 2)) * error * float(rows["expected"].to_numpy()[names == name].sum())
        )
        ends = own.sum() + np.array([-1, 1]) * np.hypot(ends - own.sum(), shared)
        ratio = [total / cost if cost > 0 else np.nan for total in (float(own.sum()), *np.maximum(ends, 0.0))]
        made[name] = [len(own), own.mean(), cost / len(own), *ratio]
    table = pd.DataFrame.from_dict(made, orient="index", columns=columns).rename_axis(index="segment")
    return table.sort_values("customers", ascending=False, kind="stable")


def segment_of(customers: Table | None, column: str) -> pd.Series | None:
    """Return a column of the table customers by customer_id; None where none is asked for."""
    if not column:
        return None
    if customers is None:
        raise ParameterError(f"segment {column!r} is a column of the table customers, which was not given")
    name = identifier(column)
    found = customers.require("customer_id", column).query(
        f"SELECT customer_id, MIN(CAST({name} AS VARCHAR)) AS segment FROM {{t}} AS t GROUP BY 1"
    )
    return found.set_index("customer_id")["segment"]
