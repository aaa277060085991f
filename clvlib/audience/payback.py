"""When new customers have brought what they cost: mean cumulative margin by weeks since the first purchase.

Customers who came lately have not had all weeks yet. Each week's margin is therefore averaged over those who have had
it whole, and the averages are added up (Nelson's mean cumulative function, Technometrics 37, 1995), which is right
where who came later buys like who came earlier. Each customer's part in the sum (its influence) takes the place of what
he brought in the interval of Fay and Feuer (Statistics in Medicine 16, 1997), which holds that the number of new
customers is Poisson; where everybody has had all weeks the two are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clvlib.stats.totals import total_interval
from clvlib.words import mark

__all__ = ["PAID", "margin_curve", "payback"]

PAID = mark("paid back")
_OPEN = mark("not reached")
_NO_COST = mark("cost unknown")
_NOBODY = mark("no new customers")


def margin_curve(
    rows: pd.DataFrame, people: pd.DataFrame, margin: float, observed: float = 0.5, level: float = 0.95
) -> pd.DataFrame:
    """Return the mean cumulative margin of new customers.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``customer_id``, ``week`` since the first purchase (0 is the day itself) and ``spend`` in it; of others too.
    people : pandas.DataFrame
        By customer_id, ``weeks``: how many whole weeks have passed.
    margin : float
        Share of spend that is kept.
    observed : float
        The curve ends before the week that less than this share of the people has had.
    level : float
        Confidence level.

    Returns
    -------
    pandas.DataFrame
        Index ``week``; ``at_risk``, ``margin`` per person with ``lower`` and ``upper``.

    Examples
    --------
    Both have had the first week, and one of them the second:

    >>> spent = pd.DataFrame({"customer_id": list("abab"), "week": [0, 0, 1, 2], "spend": [10.0, 30.0, 20.0, 50.0]})
    >>> margin_curve(spent, pd.DataFrame({"weeks": [1, 2]}, index=["a", "b"]), 0.5)[["at_risk", "margin"]]
          at_risk  margin
    week
    0           2    10.0
    1           2    15.0
    2           1    40.0
    """
    n = len(people)
    had = people["weeks"].to_numpy(dtype=np.int64)
    place = people.index.get_indexer(pd.Index(rows["customer_id"]))
    week = np.where(place >= 0, rows["week"].to_numpy(dtype=np.int64), -1)
    spend = rows["spend"].to_numpy(dtype=float)
    reached = np.sort(had)[::-1]
    last = int(reached[max(int(np.ceil(observed * n)), 1) - 1]) if n else -1
    influence, mean = np.zeros(n), 0.0
    found = []
    for age in range(last + 1):
        at_risk = had >= age
        own = week == age
        brought = margin * np.bincount(place[own], spend[own], minlength=n)[at_risk]
        mean += brought.mean()
        influence[at_risk] += (brought - brought.mean()) * (n / len(brought))
        parts = mean + influence
        limits = total_interval(max(n * mean, 0.0), float(parts @ parts), max(float(parts.max()), 0.0), level)
        found.append((len(brought), mean, limits[0] / n, limits[1] / n))
    return pd.DataFrame(found, columns=["at_risk", "margin", "lower", "upper"]).rename_axis("week")


def payback(curve: pd.DataFrame, cost: float, customers: int) -> dict[str, Any]:
    """Return when the mean cumulative margin reaches the cost per new customer.

    Parameters
    ----------
    curve : pandas.DataFrame
        As :func:`margin_curve` returns it.
    cost : float
        Of all of them together; not a number where it is not known.
    customers : int
        How many.

    Returns
    -------
    dict
        ``payback_weeks`` with ``payback_lower`` and ``payback_upper``, blank where not reached in the
        ``followed_weeks``; ``payback``: paid back, not reached, cost unknown, no new customers. The limits are where
        the curve's own limits reach the cost.

    Examples
    --------
    >>> curve = pd.DataFrame({"margin": [5.0, 9, 12], "lower": [3.0, 5, 7], "upper": [8.0, 14, 19]})
    >>> list(payback(curve, 100.0, 10).values())
    [2.0, 1.0, nan, 2, 'paid back']
    """

    def reached(column: str) -> float:
        enough = curve[column].to_numpy() >= cost / customers * (1 - 1e-12)
        return float(np.argmax(enough)) if enough.any() else np.nan

    known = customers > 0 and np.isfinite(cost)
    weeks, latest, earliest = (reached(name) if known else np.nan for name in ("margin", "lower", "upper"))
    unknown = _NO_COST if customers else _NOBODY
    reach = _OPEN if np.isnan(weeks) else PAID
    return {
        "payback_weeks": weeks,
        "payback_lower": earliest,
        "payback_upper": latest,
        "followed_weeks": max(len(curve) - 1, 0),
        "payback": reach if known else unknown,
    }
