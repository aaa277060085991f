"""New and returning customers side by side: buyers, orders, basket (A8), from the orders alone."""

from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clvlib.audience.period import days, purchases
from clvlib.data.calendar import Week
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from clvlib.result import Result
from clvlib.stats.effect import Effect
from clvlib.stats.means import Moments, mean_difference, mean_interval, ratio_moments
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.totals import total_interval
from clvlib.words import mark, tr, trn

__all__ = ["NewReturning", "new_returning", "new_returning_weeks", "weeks_sentence"]

_KINDS = (mark("new"), mark("returning"))
_ONE = (mark("one customer bought, and not for the first time"), mark("one customer bought, for the first time"))
_NOW = (mark("Nobody bought in {week}"), mark("Buyers in {week}: {people:,}, {share:.0%} of them for the first time"))
_LARGER = mark(
    "{share:.0%} of the {buyers:,} buyers are new; they bring {revenue:.0%} of the revenue, with baskets {ratio:.0%} "
    "larger"
)
_SMALLER = mark(
    "{share:.0%} of the {buyers:,} buyers are new; they bring {revenue:.0%} of the revenue, with baskets {ratio:.0%} "
    "smaller"
)


@dataclass(frozen=True)
class NewReturning(Result):
    """New and returning customers of a period.

    ``table`` has the rows ``new`` and ``returning`` (index ``kind``): ``buyers``, ``orders``, ``revenue`` (net of
    refunds), ``buyer_share`` with Wilson limits ``share_lower`` and ``share_upper``, ``revenue_share``,
    ``orders_per_buyer``, ``basket`` (revenue per order) with ``lower`` and ``upper``.

    Attributes
    ----------
    level : float
        Confidence level of the intervals.
    basket_difference : Effect or None
        Basket of the new less that of the returning customers (Welch); None where one of them has less than two buyers.
    totals : pandas.DataFrame
        Rows ``buyers`` and ``revenue``: ``total``, ``lower``, ``upper``, between which chance alone would bring such a
        period again (Fay and Feuer 1997, with a Poisson number of people).
    """

    level: float
    basket_difference: Effect | None
    totals: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """The shares of the new customers, and whether their basket differs, in words."""
        new, buyers = self.table.loc["new"], int(self.table["buyers"].sum())
        if not buyers:
            return tr("nobody bought")
        if buyers == 1:
            return tr(_ONE[int(self.table["buyers"].iloc[0])])
        told = {"share": new["buyer_share"], "buyers": buyers, "revenue": new["revenue_share"]}
        if not self.table["revenue"].sum():
            return tr("{share:.0%} of the {buyers:,} buyers are new; nobody paid anything", **told)
        if self.basket_difference is None:
            return tr("{share:.0%} of the {buyers:,} buyers are new; they bring {revenue:.0%} of the revenue", **told)
        if not self.basket_difference.significant:
            return tr(
                "{share:.0%} of the {buyers:,} buyers are new; they bring {revenue:.0%} of the revenue, with baskets "
                "that do not differ by more than chance explains",
                **told,
            )
        ratio = new["basket"] / self.table["basket"].loc["returning"] - 1
        return tr(_LARGER if ratio > 0 else _SMALLER, **told, ratio=abs(ratio))


def new_returning(orders: Table | pd.DataFrame, period: tuple[Any, Any], level: float = 0.95) -> NewReturning:
    """Compare the customers whose first purchase falls into a period with those who had bought before.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        All orders, not the period's alone, since they say who is new.
    period : tuple
        First day, and the day after the last.
    level : float
        Confidence level.

    Returns
    -------
    NewReturning
        The basket's interval treats customers, not orders, as what repeats: one customer's orders resemble each other.

    Raises
    ------
    EmptyDataError
        Nobody has bought by the end of the period.
    ParameterError
        The period holds no day.

    Warns
    -----
    ThinDataWarning
        A basket has no interval, because less than two customers bought or all spent the same; where nobody bought in
        the period, the shares are missing and the upper end of its revenue is.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": list("aabbcd"), "amount": [10, 20, 10, 40, 30, 50],
    ...                      "ordered_at": pd.to_datetime(["2026-11-01", "2026-11-10"] * 2 + ["2026-11-10"] * 2)})
    >>> new_returning(sold, ("2026-11-09", "2026-11-16")).table[["buyers", "orders", "basket"]]
               buyers  orders  basket
    kind
    new             2       2    40.0
    returning       2       2    30.0
    """
    first, end = days(period)
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    frame = (
        purchases(as_table(orders, "orders"))
        .query(
            f"""WITH people AS (
            SELECT customer_id, CASE WHEN MIN(ordered_at) >= {literal(first)} THEN 'new' ELSE 'returning' END AS kind,
                   CAST(SUM(CASE WHEN ordered_at >= {literal(first)} THEN 1 ELSE 0 END) AS DOUBLE) AS x,
                   CAST(SUM(CASE WHEN ordered_at >= {literal(first)} THEN net_amount ELSE 0 END) AS DOUBLE) AS y
            FROM {{t}} AS t WHERE ordered_at < {literal(end)} GROUP BY customer_id)
            SELECT kind, COUNT(*) AS buyers, SUM(x) AS orders, SUM(y) AS revenue, AVG(x) AS mean_x, AVG(y) AS mean_y,
                   COALESCE(VAR_SAMP(x), 0) AS variance_x, COALESCE(VAR_SAMP(y), 0) AS variance_y,
                   COALESCE(COVAR_SAMP(x, y), 0) AS covariance, SUM(y * y) AS squares, MAX(y) AS largest
            FROM people GROUP BY kind, x > 0"""
        )
        .set_index("kind")
    )
    if frame.empty:
        raise EmptyDataError(tr("nobody bought from {first} to {last}", first=first, last=end - dt.timedelta(days=1)))
    frame = frame[frame["orders"] > 0]
    moments = {str(kind): _basket(row) for kind, row in frame.iterrows()}
    table = _table(frame.reindex(list(_KINDS)), moments, level)
    enough = all(kind in moments and moments[kind].n > 1 for kind in _KINDS)
    varied = enough and any(moments[kind].variance > 0 for kind in _KINDS)
    difference = mean_difference(moments["new"], moments["returning"], level) if varied else None
    return NewReturning(level=level, basket_difference=difference, totals=_totals(frame, level), table=table)


def _totals(frame: pd.DataFrame, level: float) -> pd.DataFrame:
    people, revenue = float(frame["buyers"].sum()), float(frame["revenue"].sum())
    bounds = (0.0, np.nan)  # what one who might have come would have spent is not known
    if people:
        bounds = total_interval(revenue, frame["squares"].sum(), frame["largest"].max(), level)
    rows = {"buyers": (people, *total_interval(people, people, 1.0, level)), "revenue": (revenue, *bounds)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["total", "lower", "upper"])


def _basket(row: pd.Series) -> Moments:
    names = ("mean_y", "mean_x", "variance_y", "variance_x", "covariance")
    return ratio_moments(int(row["buyers"]), **{name: float(row[name]) for name in names})


def _table(frame: pd.DataFrame, moments: dict[str, Moments], level: float) -> pd.DataFrame:
    counts = frame[["buyers", "orders"]].fillna(0).astype(np.int64)
    table = counts.assign(revenue=frame["revenue"].fillna(0.0))
    buyers, total = table["buyers"].sum(), table["revenue"].sum()
    shares = proportion_interval(table["buyers"], buyers, level) if buyers else np.nan
    table[["buyer_share", "share_lower", "share_upper"]] = shares
    if buyers and not total:
        text = tr("every purchase is worth zero, so there are no shares of revenue")
        warnings.warn(text, ThinDataWarning, stacklevel=3)
    table["revenue_share"] = table["revenue"] / (total or np.nan)
    table["orders_per_buyer"] = frame["mean_x"]
    table["basket"] = frame["revenue"] / frame["orders"]
    table[["lower", "upper"]] = np.nan
    for kind in _KINDS if buyers else ():
        group = moments.get(kind)
        if group is not None and group.n > 1 and group.variance > 0:
            limits = mean_interval(group, level)
            table.loc[kind, ["lower", "upper"]] = [limits.lower, limits.upper]
        else:
            n = 0 if group is None else int(group.n)
            text = tr(
                "{kind} customers: {n} bought, too few or too alike for an interval around their basket",
                kind=tr(kind),
                n=n,
            )
            warnings.warn(text, ThinDataWarning, stacklevel=3)
    return table.rename_axis("kind")


def new_returning_weeks(orders: Table | pd.DataFrame, week: Week, weeks: int = 12) -> pd.DataFrame:
    """Count new and returning buyers in each of the last weeks.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        All orders, since they say who is new.
    week : Week
        The last week.
    weeks : int
        How many.

    Returns
    -------
    pandas.DataFrame
        Index ``week`` (labels; weeks before the first order are left out), columns ``new``, ``returning`` (buyers),
        ``revenue_new``, ``revenue_returning``. A customer counts as new in the week of the first purchase.
    """
    labels = [week.shift(k) for k in range(1 - weeks, 1)]
    frame = purchases(as_table(orders, "orders")).query(
        f"""WITH bought AS (
            SELECT customer_id, CAST(date_trunc('week', ordered_at) AS DATE) AS monday,
                   CAST(SUM(net_amount) AS DOUBLE) AS revenue
            FROM {{t}} AS t WHERE ordered_at < {literal(week.end)} GROUP BY 1, 2
        ), marked AS (SELECT *, MIN(monday) OVER (PARTITION BY customer_id) AS first_monday FROM bought)
        SELECT CAST(monday AS VARCHAR) AS monday, SUM(CASE WHEN monday = first_monday THEN 1 ELSE 0 END) AS new,
               SUM(CASE WHEN monday > first_monday THEN 1 ELSE 0 END) AS returning,
               SUM(CASE WHEN monday = first_monday THEN revenue ELSE 0 END) AS revenue_new,
               SUM(CASE WHEN monday > first_monday THEN revenue ELSE 0 END) AS revenue_returning
        FROM marked GROUP BY 1 ORDER BY 1"""
    )
    if frame.empty:
        raise EmptyDataError(tr("there is no order before {day}", day=week.end))
    since = frame["monday"].iloc[0]
    shown = [each for each in labels if each.start.isoformat() >= since]
    table = frame.set_index("monday").reindex([each.start.isoformat() for each in shown]).fillna(0)
    table.index = pd.Index([str(each) for each in shown], name="week")
    return table.astype({"new": np.int64, "returning": np.int64})


def weeks_sentence(weeks: pd.DataFrame) -> str:
    """Compare the last week's buyers with the weeks before, in words.

    >>> weeks = pd.DataFrame({"new": [9, 3], "returning": [11, 27]}, index=["2026-W45", "2026-W46"])
    >>> weeks_sentence(weeks)
    'Buyers in W46: 30, 10% of them for the first time; a mean of 20 in the week before'
    """
    total = weeks["new"] + weeks["returning"]
    people = int(total.iloc[-1])
    told = {"people": people, "week": str(weeks.index[-1])[-3:], "share": weeks["new"].iloc[-1] / max(people, 1)}
    now = tr(_NOW[people > 0], **told)
    if len(weeks) < 2:
        return now
    return trn(
        "{now}; a mean of {mean:,.0f} in the week before",
        "{now}; a mean of {mean:,.0f} in the {n} weeks before",
        len(weeks) - 1,
        mean=total.iloc[:-1].mean(),
        now=now,
    )
