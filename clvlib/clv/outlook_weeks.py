"""The shop's weeks as one small frame: orders, buyers, new customers and money, for forecasts of the weeks to come."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.bands import expected_by_age
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.outlook_series import SEASONS, YEAR
from clvlib.clv.recent import bought
from clvlib.data.engine import Table, literal
from clvlib.errors import EmptyDataError
from clvlib.words import tr

__all__ = ["Past", "past_weeks"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """Whole weeks up to a day, counted back from it, the oldest first.

    Attributes
    ----------
    last : datetime.date
        The day.
    weeks : pandas.DataFrame
        Per week: ``orders`` (several of a customer's day count once), ``new`` (first orders), ``money`` and
        ``new_money`` (net, of all orders and of first ones).
    pairs : pandas.DataFrame
        Customers by ``week`` in which they bought and the one ``before`` it in which they had, -1,000,000 for none.
    births : pandas.Series
        Customers by the day of their first order, in days before ``last``.
    """

    last: dt.date
    weeks: pd.DataFrame
    pairs: pd.DataFrame
    births: pd.Series

    @property
    def repeats(self) -> Array:
        """Orders that were not a customer's first, per week."""
        return (self.weeks["orders"] - self.weeks["new"]).to_numpy(dtype=float)

    def until(self, back: int) -> Past:
        """Return what was known ``back`` weeks earlier."""
        count = len(self.weeks) - back
        births = self.births[self.births.index >= 7 * back]
        return Past(
            self.last - dt.timedelta(weeks=back),
            self.weeks.iloc[:count],
            self.pairs[self.pairs["week"] < count],
            births.set_axis(births.index - 7 * back),
        )

    def total(self, start: int, stop: int) -> dict[str, float]:
        """Return ``orders``, ``buyers`` and ``revenue`` of the weeks from ``start`` to before ``stop``."""
        week, before, customers = self.pairs.to_numpy().T
        buyers = customers[(week >= start) & (week < stop) & (before < start)].sum()
        orders, money = (float(self.weeks[name].to_numpy()[start:stop].sum()) for name in ("orders", "money"))
        return {"orders": orders, "buyers": float(buyers), "revenue": money}

    def came(self, weeks: Sequence[int], value: float) -> list[float]:
        """Return the figures of the last weeks, one number of weeks after the other, ``value`` among them."""
        n = len(self.weeks)
        found = [self.total(n - week, n) if week <= n else dict.fromkeys(("orders", "buyers", "revenue"), np.nan)
                 for week in weeks]  # fmt: skip
        return [figure for row in found for figure in (*row.values(), value)]

    def naive(self, weeks: Sequence[int], value: float) -> list[float]:
        """Return the figures of last year's same weeks; in a shop of less than two years those of the last weeks.

        A year ago a young shop had hardly opened: to do better than that is no merit.
        """
        if len(self.weeks) < SEASONS:
            return self.came(weeks, value)
        start = len(self.weeks) - round(YEAR)
        return [figure for week in weeks for figure in (*self.total(start, start + week).values(), value)]

    def expected_repeats(self, model: PurchaseModel, pace: Array | None = None) -> Array:
        """Return the repeat purchases of each week that a model fitted in weeks expects of customers of their age.

        ``pace`` is that of the clock by which the model was fitted (:func:`clvlib.clv.outlook_weeks.by_clock`).
        """
        ends = np.arange(len(self.weeks), -1, -1.0)
        births = self.births.index.to_numpy(dtype=float)[None, :] / 7
        pace = np.ones(len(self.weeks)) if pace is None else pace
        age = np.rint(7 * (clock(pace, births) - clock(pace, ends)[:, None])).astype(np.int64)
        so_far = expected_by_age(model, model._p(), age, 7.0) @ self.births.to_numpy(dtype=float)  # noqa: SLF001 - as in tracking
        return np.diff(so_far)


def clock(pace: Array, ago: Array) -> Array:
    """Return how long ago a time is, by a clock that runs at a pace of its own in each week.

    >>> clock(np.array([1.0, 1.0, 3.0]), np.array([0.5, 1.0, 2.0, 3.5])).tolist()
    [1.5, 3.0, 4.0, 5.5]
    """
    passed = np.append(0.0, np.cumsum(pace[::-1]))
    whole = np.arange(len(passed), dtype=float)
    return np.asarray(np.interp(ago, whole, passed) + np.maximum(ago - whole[-1], 0.0))


def by_clock(summary: pd.DataFrame, pace: Array) -> pd.DataFrame:
    """Return histories by a clock on which a festival's week lasts as long as the weeks whose orders it had.

    To a model, purchases that come together at the end are customers who are alive and buy often; a clock that ran
    faster in that week takes them for what they are.
    """
    age = clock(pace, summary["T"].to_numpy(dtype=float))
    last = clock(pace, (summary["T"] - summary["recency"]).to_numpy(dtype=float))
    return summary.assign(T=age, recency=np.where(summary["frequency"] > 0, age - last, 0.0))


def past_weeks(orders: Table | pd.DataFrame, as_of: dt.date) -> Past:
    """Count the whole weeks of a shop that end with a day.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``day``, ``net_amount``; where there is a column ``is_purchase`` only its rows count.
    as_of : date
        The last day.

    Raises
    ------
    EmptyDataError
        Nobody had bought by then, or the first week is not over.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": list("aab"), "net_amount": 10.0,
    ...                      "day": pd.to_datetime(["2026-11-02", "2026-11-09", "2026-11-10"])})
    >>> past = past_weeks(sold, dt.date(2026, 11, 15))
    >>> past.weeks["orders"].tolist(), past.weeks["new"].tolist(), past.total(0, 2)
    ([1, 2], [1, 1], {'orders': 3.0, 'buyers': 2.0, 'revenue': 30.0})
    """
    table, end = bought(orders), literal(as_of)
    days = (
        "WITH d AS (SELECT customer_id, CAST(day AS DATE) AS day, SUM(net_amount) AS money FROM {t} AS t "
        f"WHERE CAST(day AS DATE) <= {end} GROUP BY 1, 2), "
        "f AS (SELECT customer_id, day, money, MIN(day) OVER (PARTITION BY customer_id) AS first FROM d) "
    )
    births = table.query(f"{days} SELECT DATE_DIFF('day', day, {end}) AS age, COUNT(*) AS n FROM f WHERE day = first "
                         "GROUP BY 1 ORDER BY 1")  # fmt: skip
    if births.empty:
        raise EmptyDataError(tr("no customer bought on or before {day}", day=as_of))
    count = (int(births["age"].max()) + 1) // 7
    if not count:
        raise EmptyDataError(tr("the first week with an order is not over by {day}", day=as_of))
    rows = table.query(
        f"{days}, w AS (SELECT customer_id, CAST(FLOOR(DATE_DIFF('day', day, {end}) / 7.0) AS INTEGER) AS back, "
        "COUNT(*) AS orders, SUM(money) AS money, SUM(CASE WHEN day = first THEN 1 ELSE 0 END) AS new, "
        "SUM(CASE WHEN day = first THEN money ELSE 0 END) AS new_money FROM f GROUP BY 1, 2), "
        "p AS (SELECT w.*, LAG(back) OVER (PARTITION BY customer_id ORDER BY back DESC) AS earlier FROM w) "
        "SELECT back, COALESCE(earlier, 2000000) AS earlier, COUNT(*) AS customers, "
        "CAST(SUM(orders) AS BIGINT) AS orders, CAST(SUM(new) AS BIGINT) AS new, "
        "CAST(SUM(money) AS DOUBLE) AS money, CAST(SUM(new_money) AS DOUBLE) AS new_money "
        "FROM p GROUP BY 1, 2 ORDER BY 1, 2"
    )
    week, before = count - 1 - rows["back"], count - 1 - rows["earlier"]
    pairs = pd.DataFrame({"week": week, "before": np.maximum(before, -1_000_000)})
    weeks = rows.groupby(pairs["week"])[["orders", "new", "money", "new_money"]].sum()
    weeks = weeks.reindex(range(count), fill_value=0).rename_axis(index="week")
    return Past(as_of, weeks, pairs.assign(customers=rows["customers"]), births.set_index("age")["n"])
