"""Satisfaction from 1 to 5 (A8, V10): how content those who said so are, by new and returning customers and topic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError
from clvlib.result import Result
from clvlib.stats.means import Moments, mean_interval
from clvlib.words import mark, tr

__all__ = ["Satisfaction", "satisfaction"]

_LEAST, _MOST = 1.0, 5.0
_ALL, _CUSTOMERS, _TOPIC = mark("all"), mark("customers"), mark("topic")
_NEW, _RETURNING, _NO_CUSTOMER, _NO_TOPIC = mark("new"), mark("returning"), mark("no customer yet"), mark("none")


@dataclass(frozen=True)
class Satisfaction(Result):
    """What people who rated were content with; ``table`` has a row per group.

    ``table`` is indexed by ``by`` (all, customers, topic) and ``group``: ``people`` who rated, ``rating`` (mean of
    their means, 1 to 5) with ``lower`` and ``upper``, and ``low_share`` (of people whose mean is 2 or less). Limits are
    blank where fewer than two people rated, or all alike.

    Attributes
    ----------
    week : str
    rating, lower, upper : float
        Of all who rated in the week; the limits are the rating itself where no interval can be drawn.
    people, ratings : int
        Who rated, and how many ratings.
    level : float
        Of the intervals.
    out_of_range : int
        Ratings below 1 or above 5, which do not count.
    """

    week: str
    rating: float
    lower: float
    upper: float
    people: int
    ratings: int
    level: float
    out_of_range: int

    @property
    def sentence(self) -> str:
        """The rating in words."""
        told = {
            "people": self.people,
            "rating": self.rating,
            "level": self.level,
            "lower": self.lower,
            "upper": self.upper,
        }
        if not self.out_of_range:
            return tr(
                "{people:,} people rated {rating:.2f} of 5 on average ({level:.0%} interval {lower:.2f} to "
                "{upper:.2f}).",
                **told,
            )
        return tr(
            "{people:,} people rated {rating:.2f} of 5 on average ({level:.0%} interval {lower:.2f} to {upper:.2f}); "
            "{ignored:,} ratings outside 1 to 5 do not count.",
            **told,
            ignored=self.out_of_range,
        )


def satisfaction(
    feedback: Table | pd.DataFrame, week: Week, orders: Table | pd.DataFrame | None = None, level: float = 0.95
) -> Satisfaction:
    """Average the ratings of a week, each person counting once.

    Parameters
    ----------
    feedback : Table or pandas.DataFrame
        ``customer_id``, ``created_at`` and ``rating``; and ``topic``.
    week : Week
    orders : Table or pandas.DataFrame, optional
        ``customer_id`` and ``ordered_at``: new are those whose first order fell into the week, returning those with an
        earlier one.
    level : float
        Of the intervals.

    Returns
    -------
    Satisfaction
        Those who rate are not all customers: the interval holds chance, not who chose to speak.

    Raises
    ------
    EmptyDataError
        Nobody rated in the week.

    Examples
    --------
    >>> said = pd.DataFrame({"customer_id": list("aabc"), "rating": [5, 3, 2, 4],
    ...                      "created_at": pd.Timestamp("2026-11-10")})
    >>> satisfaction(said, Week("2026-W46")).sentence
    '3 people rated 3.33 of 5 on average (95% interval 1.00 to 5.00).'
    """
    tables = together(feedback=feedback, orders=orders)
    said = tables["feedback"].require("customer_id", "created_at", "rating")
    topic = f"COALESCE(topic, '{_NO_TOPIC}')" if "topic" in said.columns else f"'{_NO_TOPIC}'"
    rows = said.query(
        f"SELECT customer_id, {topic} AS topic, CAST(rating AS DOUBLE) AS rating FROM {{t}} AS t WHERE rating IS NOT "
        f"NULL AND CAST(created_at AS DATE) >= {literal(week.start)} AND CAST(created_at AS DATE) < {literal(week.end)}"
    )
    wrong = ~rows["rating"].between(_LEAST, _MOST)
    rows = rows[~wrong]
    if rows.empty:
        raise EmptyDataError(tr("nobody rated in week {week}", week=week.label))
    groups = {(_ALL, _ALL): rows}
    if "orders" in tables:
        kind = _kinds(tables["orders"], week).reindex(rows["customer_id"]).fillna(_NO_CUSTOMER).to_numpy()
        groups |= {(_CUSTOMERS, str(name)): rows[kind == name] for name in np.unique(kind)}
    if "topic" in said.columns:
        groups |= {(_TOPIC, str(name)): part for name, part in rows.groupby("topic")}
    index = pd.MultiIndex.from_tuples(groups, names=["by", "group"])
    table = pd.DataFrame([_rated(part, level) for part in groups.values()], index=index)
    whole = table.iloc[0]
    lower, upper = (whole["rating"] if np.isnan(whole[end]) else whole[end] for end in ("lower", "upper"))
    return Satisfaction(
        week=week.label,
        rating=float(whole["rating"]),
        lower=float(lower),
        upper=float(upper),
        people=int(whole["people"]),
        ratings=len(rows),
        level=level,
        out_of_range=int(wrong.sum()),
        table=table,
    )


def _kinds(orders: Table, week: Week) -> pd.Series:
    """Return who had bought by the end of the week: new in it, or returning."""
    orders.require("customer_id", "ordered_at")
    bought = " AND is_purchase" if "is_purchase" in orders.columns else ""
    found = orders.query(
        f"SELECT customer_id, CASE WHEN MIN(CAST(ordered_at AS DATE)) >= {literal(week.start)} THEN '{_NEW}' ELSE "
        f"'{_RETURNING}' END AS kind FROM {{t}} AS t WHERE CAST(ordered_at AS DATE) < {literal(week.end)}{bought} "
        "GROUP BY customer_id"
    )
    kinds: pd.Series = found.set_index("customer_id")["kind"]
    return kinds


def _rated(rows: pd.DataFrame, level: float) -> dict[str, float]:
    means = rows.groupby("customer_id", dropna=False)["rating"].mean().to_numpy()
    moments = Moments.of(means)
    lower = upper = float("nan")
    if moments.n > 1 and moments.variance > 0:
        interval = mean_interval(moments, level)
        lower, upper = max(interval.lower, _LEAST), min(interval.upper, _MOST)
    return {
        "people": len(means),
        "rating": moments.mean,
        "lower": lower,
        "upper": upper,
        "low_share": float((means <= 2).mean()),
    }
