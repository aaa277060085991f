"""What people can and do spend: grades by spending, and how each grade buys (A3), from the orders alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from clvlib.audience.period import purchases
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import mark, tr

__all__ = ["Grades", "spending_grades"]

_NAMES = (mark("low"), mark("medium"), mark("high"), mark("top"))


@dataclass(frozen=True)
class Grades(Result):
    """Customers by what they spent in the last weeks.

    ``table`` has a row per grade, the highest first (index ``grade``): ``customers`` and ``customer_share``,
    ``spend_from`` (the smallest spend in it), ``revenue`` and ``revenue_share``, ``spend`` (mean per customer),
    ``orders_per_customer``, ``basket``, ``evening_share`` (of orders, from 18:00; where orders have a time of day),
    ``weekend_share``, ``coupon_share`` (where they have ``coupon_id``), ``buyers_this_week`` (in the last 7 days).

    Attributes
    ----------
    as_of : str
        The last day.
    weeks : int
        How far back spending counts.
    cuts : tuple of float
        Spend from which each grade above the lowest begins.
    """

    as_of: str
    weeks: int
    cuts: tuple[float, ...] = field(repr=False)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of ``table``."""
        money = dict.fromkeys(["spend_from", "revenue", "spend", "basket"], "money")
        shares = {str(name): "share" for name in self.table if str(name).endswith("_share")}
        return {**money, **shares, "orders_per_customer": ".1f"}

    @property
    def sentence(self) -> str:
        """What the highest grade brings, in words."""
        top = self.table.iloc[0]
        return tr(
            "The {customers:.0%} of customers in grade {grade} bring {revenue:.0%} of the revenue of {weeks} weeks",
            customers=top["customer_share"],
            grade=tr(str(self.table.index[0])),
            revenue=top["revenue_share"],
            weeks=self.weeks,
        )


def spending_grades(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    weeks: int = 52,
    shares: Sequence[float] = (0.5, 0.8, 0.95),
    names: Sequence[str] = _NAMES,
) -> Grades:
    """Grade the customers of the last weeks by their net spend, at quantiles of it.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        The orders.
    as_of : str or date
        The last day that counts.
    weeks : int
        How far back spending counts.
    shares : sequence of float
        Share of customers below each cut, rising. A customer at a cut belongs to the higher grade.
    names : sequence of str
        One more than ``shares``, from the lowest grade.

    Returns
    -------
    Grades

    Raises
    ------
    ParameterError
        Shares that do not rise between 0 and 1, or names that do not match them.
    EmptyDataError
        Nobody bought in these weeks.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": list("abcdefghij"), "amount": [*range(10, 100, 10), 500.0],
    ...                      "ordered_at": pd.Timestamp("2026-11-10 20:15")})
    >>> spending_grades(sold, "2026-11-15", shares=(0.5, 0.9), names=("low", "medium", "high")).table[
    ...     ["customers", "spend_from", "revenue", "evening_share"]]
            customers  spend_from  revenue  evening_share
    grade
    high            1       500.0    500.0            1.0
    medium          4        60.0    300.0            1.0
    low             5        10.0    150.0            1.0
    """
    cuts = [float(share) for share in shares]
    if not cuts or any(b <= a for a, b in pairwise([0.0, *cuts, 1.0])):
        raise ParameterError(f"shares: {list(shares)} do not rise between 0 and 1, as (0.5, 0.8, 0.95) do")
    if len(names) != len(cuts) + 1 or len(set(names)) < len(names):
        raise ParameterError(
            f"names: {len(cuts) + 1} different ones are needed for {len(cuts)} cuts, found {list(names)}"
        )
    if weeks < 1:
        raise ParameterError(f"weeks: {weeks} is less than one")
    last = as_date(as_of)
    bought = purchases(as_table(orders, "orders"))
    people = _people_sql(bought, last, weeks)
    quantiles = ", ".join(f"quantile_cont(spend, {share}) AS q{i}" for i, share in enumerate(cuts))
    found = bought.query(
        f"{people} SELECT COUNT(*) AS n, SUM(timed) AS timed, MAX(spend) AS most, {quantiles} FROM people"
    ).iloc[0]
    if not found["n"]:
        raise EmptyDataError(tr("nobody bought in the {weeks} weeks to {last}", weeks=weeks, last=last))
    if not found["most"]:
        raise EmptyDataError(
            tr(
                "every purchase in the {weeks} weeks to {last} is worth zero: there is no spend to grade",
                weeks=weeks,
                last=last,
            )
        )
    values = tuple(float(found[f"q{i}"]) for i in range(len(cuts)))
    table = _table(bought.query(_grade_sql(people, values)), names)
    unknown = [] if "coupon_id" in bought.columns else ["coupon_share"]
    unknown += [] if found["timed"] else ["evening_share"]
    table = table.drop(columns=unknown)
    return Grades(as_of=str(last), weeks=weeks, cuts=values, table=table)


def _people_sql(bought: Table, last: dt.date, weeks: int) -> str:
    """One row per customer of the period."""
    end, week = last + dt.timedelta(days=1), last - dt.timedelta(days=6)
    coupon = "SUM(CASE WHEN coupon_id IS NULL THEN 0 ELSE 1 END)" if "coupon_id" in bought.columns else "0"
    return f"""WITH people AS (
        SELECT customer_id, CAST(SUM(net_amount) AS DOUBLE) AS spend, COUNT(*) AS orders, {coupon} AS coupons,
               SUM(CASE WHEN ordered_at = date_trunc('day', ordered_at) THEN 0 ELSE 1 END) AS timed,
               SUM(CASE WHEN hour(ordered_at) >= 18 THEN 1 ELSE 0 END) AS evening,
               SUM(CASE WHEN isodow(ordered_at) >= 6 THEN 1 ELSE 0 END) AS weekend,
               MAX(CASE WHEN ordered_at >= {literal(week)} THEN 1 ELSE 0 END) AS this_week
        FROM {{t}} AS t
        WHERE ordered_at >= {literal(end - dt.timedelta(weeks=weeks))} AND ordered_at < {literal(end)}
        GROUP BY customer_id)"""


def _grade_sql(people: str, cuts: tuple[float, ...]) -> str:
    place = " + ".join(f"CASE WHEN spend >= {cut!r} THEN 1 ELSE 0 END" for cut in cuts)
    return f"""{people} SELECT {place} AS place, COUNT(*) AS customers, MIN(spend) AS spend_from, SUM(spend) AS revenue,
        SUM(orders) AS orders, SUM(coupons) AS coupons, SUM(evening) AS evening, SUM(weekend) AS weekend,
        SUM(this_week) AS buyers_this_week FROM people GROUP BY 1 ORDER BY 1 DESC"""


def _table(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Shares and means per grade; a grade without customers (spends that tie over a cut) is left out."""
    total = frame[["customers", "revenue"]].sum()
    table = pd.DataFrame({
        "customers": frame["customers"].astype(np.int64),
        "customer_share": frame["customers"] / total["customers"],
        "spend_from": frame["spend_from"],
        "revenue": frame["revenue"],
        "revenue_share": frame["revenue"] / total["revenue"],
        "spend": frame["revenue"] / frame["customers"],
        "orders_per_customer": frame["orders"] / frame["customers"],
        "basket": frame["revenue"] / frame["orders"],
        "evening_share": frame["evening"] / frame["orders"],
        "weekend_share": frame["weekend"] / frame["orders"],
        "coupon_share": frame["coupons"] / frame["orders"],
        "buyers_this_week": frame["buyers_this_week"].astype(np.int64),
    })  # fmt: skip
    table.index = pd.Index([names[int(place)] for place in frame["place"]], name="grade")
    return table
