"""Who watched in which week, against what the customer's own earlier weeks let expect."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.engine import Table, literal

__all__ = ["Watching"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

_PRIOR = 2.0  # weeks of usual watching that stand in for a customer of whom little is known
_FEWEST = 20  # customers from whom a week's usual watching is learnt


@dataclass(frozen=True)
class Watching:
    """Weeks with an event, by customer; week 1 is that of the first purchase of all, the last ends with ``last``.

    Attributes
    ----------
    customers : pandas.Index
    seen : array of int, shape (customers, weeks + 1)
        In how many of the weeks 1 … j each was seen.
    usual : array, shape (weeks + 1,)
        Sum over the weeks 1 … j of the share of customers, known before each, who were seen in it.
    last : datetime.date
    """

    customers: pd.Index
    seen: NDArray[np.uint16]
    usual: Array
    last: dt.date

    @classmethod
    def read(cls, events: Table, first: pd.Series, last: dt.date) -> Watching:
        """Count the weeks in which each customer was seen up to a day.

        Parameters
        ----------
        events : Table
            ``person_id``, ``occurred_at``.
        first : pandas.Series
            Day of the first purchase by customer_id.
        last : datetime.date
        """
        back = f"CAST(FLOOR(DATE_DIFF('day', CAST(occurred_at AS DATE), {literal(last)}) / 7.0) AS INTEGER)"
        rows = events.query(
            f"SELECT person_id, {back} AS back FROM {{t}} AS e WHERE CAST(occurred_at AS DATE) <= {literal(last)} "
            f"AND CAST(occurred_at AS DATE) >= {literal(first.min().date())} GROUP BY 1, 2"
        )
        weeks = (last - first.min().date()).days // 7 + 1
        code = first.index.get_indexer(pd.Index(rows["person_id"]))
        known = code >= 0
        seen = np.zeros((len(first), weeks + 1), dtype=np.uint16)
        seen[code[known], weeks - rows["back"].to_numpy()[known]] = 1
        joined = weeks - (pd.Timestamp(last) - first).dt.days.to_numpy() // 7
        share = np.zeros(weeks + 1)
        for week in range(1, weeks + 1):
            before = joined < week
            if before.sum() >= _FEWEST:
                share[week] = seen[before, week].mean()
        return cls(first.index, np.cumsum(seen, axis=1, dtype=np.uint16), np.cumsum(share), last)

    def faded(self, first: pd.Series, last: pd.Series, day: dt.date) -> tuple[Array, Array]:
        """Return how much less customers were seen than expected, in logs, since and before the last purchase.

        Since: expected is the customer's rate between his purchases, times what was usual in the weeks since. Before:
        the second half of the time between first and last purchase, against the first half.

        Parameters
        ----------
        first, last : pandas.Series
            Days of the first and the last purchase, by customer_id.
        day : datetime.date
            The last day that counts, whole weeks before the last of all.
        """
        rows = self.customers.get_indexer(first.index)
        begin, end = self._week(first), self._week(last)
        middle = (begin + end) // 2
        now = np.full(len(first), self._week(pd.Series([pd.Timestamp(day)]))[0])
        early, usual_early = self._between(rows, begin, middle)
        late, usual_late = self._between(rows, middle, end - 1)
        since, usual_since = self._between(rows, end, now)
        rate = (early + late + _PRIOR) / (usual_early + usual_late + _PRIOR)
        rate_early = (early + _PRIOR) / (usual_early + _PRIOR)
        return (
            np.log((rate * usual_since + 0.5) / (since + 0.5)),
            np.log((rate_early * usual_late + 0.5) / (late + 0.5)),
        )

    def _week(self, days: pd.Series) -> Whole:
        weeks: Whole = len(self.usual) - 1 - (pd.Timestamp(self.last) - days).dt.days.to_numpy() // 7
        return weeks

    def _between(self, rows: Whole, begin: Whole, end: Whole) -> tuple[Array, Array]:
        """Return the weeks after ``begin`` up to ``end`` in which each was seen, and in which that was usual."""
        end = np.maximum(begin, end)
        seen: Array = self.seen[rows, end].astype(np.float64) - self.seen[rows, begin].astype(np.float64)
        return seen, self.usual[end] - self.usual[begin]
