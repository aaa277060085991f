"""Satisfaction from 1 to 5 (A8, V10): how content those who said so are, by new and returning customers and topic."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.calendar import Week
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError
from clvlib.result import Result
from clvlib.stats.effect import Effect
from clvlib.stats.means import Moments, mean_difference, mean_interval
from clvlib.words import mark, tr

__all__ = ["Satisfaction", "SideBySide", "satisfaction", "side_by_side"]

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
    rows, with_topics = _ratings(tables, week.start, week.end)
    wrong = ~rows["rating"].between(_LEAST, _MOST)
    rows = rows[~wrong]
    if rows.empty:
        raise EmptyDataError(tr("nobody rated in week {week}", week=week.label))
    groups = {(_ALL, _ALL): rows}
    if "orders" in tables:
        kind = _kinds(tables["orders"], rows)
        groups |= {(_CUSTOMERS, str(name)): rows[kind == name] for name in np.unique(kind)}
    if with_topics:
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


@dataclass(frozen=True)
class SideBySide(Result):
    """How content new and returning customers were; ``table`` has a row for each of both, in all and per topic.

    ``table`` is indexed by ``topic`` and ``group`` (new, returning): ``people``, ``rating`` with ``lower`` and
    ``upper``, and ``low_share``, as in :class:`Satisfaction`.

    Attributes
    ----------
    first, last : str
        First and last day of the ratings.
    difference : Effect or None
        Rating of new less that of returning customers over all topics (Welch, people as what repeats); None where
        either are fewer than two, or all rated alike.
    """

    first: str
    last: str
    difference: Effect | None

    @property
    def sentence(self) -> str:
        """How far apart both are, in words."""
        if self.difference is None:
            return ""
        told = {"level": self.difference.level, "lower": self.difference.lower, "upper": self.difference.upper}
        ratings = dict(zip(("new", "returning"), self.table["rating"].loc[_ALL].loc[[_NEW, _RETURNING]], strict=True))
        if self.difference.p_value < 1 - self.difference.level:
            return tr(
                "Since {first}, new customers rated {new:.2f} on average and returning ones {returning:.2f} "
                "(difference {lower:+.2f} to {upper:+.2f}, {level:.0%} interval).",
                first=self.first,
                **ratings,
                **told,
            )
        return tr(
            "Since {first}, new customers rated {new:.2f} on average and returning ones {returning:.2f}, which is not "
            "told apart (difference {lower:+.2f} to {upper:+.2f}, {level:.0%} interval).",
            first=self.first,
            **ratings,
            **told,
        )


def side_by_side(
    feedback: Table | pd.DataFrame, week: Week, orders: Table | pd.DataFrame, weeks: int = 13, level: float = 0.95
) -> SideBySide:
    """Hold ratings of new customers against those of returning ones, by topic, over the last weeks.

    A rating is that of a new customer in the week of the first order, and of a returning one later. Who rated as both
    counts in both. One week has too few new customers who rate.

    Parameters
    ----------
    feedback, orders : Table or pandas.DataFrame
        As for :func:`satisfaction`.
    week : Week
        The last one.
    weeks : int
        How many.
    level : float
        Of the intervals.

    Returns
    -------
    SideBySide

    Raises
    ------
    EmptyDataError
        No customer rated in these weeks.

    Examples
    --------
    >>> day = pd.Timestamp("2026-11-10")
    >>> sold = pd.DataFrame({"customer_id": list("abcd"), "ordered_at": [day, day, *[day - pd.Timedelta("21D")] * 2]})
    >>> said = pd.DataFrame({"customer_id": list("abcd"), "rating": [3, 4, 5, 4], "created_at": day, "topic": "price"})
    >>> side_by_side(said, Week("2026-W46"), sold).table["rating"].to_dict()
    {('all', 'new'): 3.5, ('all', 'returning'): 4.5, ('price', 'new'): 3.5, ('price', 'returning'): 4.5}
    """
    tables = together(feedback=feedback, orders=orders)
    rows, with_topics = _ratings(tables, week.shift(1 - weeks).start, week.end)
    rows = rows[rows["rating"].between(_LEAST, _MOST)]
    kind = _kinds(tables["orders"], rows)
    rows = rows.assign(kind=kind)[kind != _NO_CUSTOMER]
    if rows.empty:
        raise EmptyDataError(tr("no customer rated in the {weeks} weeks to {week}", weeks=weeks, week=week.label))
    parts = {_ALL: rows, **({str(name): part for name, part in rows.groupby("topic")} if with_topics else {})}
    groups = {(topic, str(name)): own for topic, part in parts.items() for name, own in part.groupby("kind")}
    index = pd.MultiIndex.from_tuples(groups, names=["topic", "group"])
    both = [Moments.of(_means(groups[_ALL, name])) for name in (_NEW, _RETURNING) if (_ALL, name) in groups]
    apart = len(both) == 2 and min(m.n for m in both) > 1 and max(m.variance for m in both) > 0
    return SideBySide(
        first=week.shift(1 - weeks).start.isoformat(),
        last=week.as_of.isoformat(),
        difference=mean_difference(both[0], both[1], level) if apart else None,
        table=pd.DataFrame([_rated(own, level) for own in groups.values()], index=index),
    )


def _ratings(tables: dict[str, Table], start: dt.date, end: dt.date) -> tuple[pd.DataFrame, bool]:
    """Return the ratings of a span with their day and topic, and whether topics are known at all."""
    said = tables["feedback"].require("customer_id", "created_at", "rating")
    known = "topic" in said.columns
    topic = f"COALESCE(topic, '{_NO_TOPIC}')" if known else f"'{_NO_TOPIC}'"
    rows = said.query(
        f"SELECT customer_id, {topic} AS topic, CAST(rating AS DOUBLE) AS rating, CAST(created_at AS DATE) AS day FROM "
        f"{{t}} AS t WHERE rating IS NOT NULL AND CAST(created_at AS DATE) >= {literal(start)} AND "
        f"CAST(created_at AS DATE) < {literal(end)}"
    )
    return rows, known


def _kinds(orders: Table, rows: pd.DataFrame) -> NDArray[np.object_]:
    """Return what the customer of each rating was in its week: new, returning, or no customer yet."""
    orders.require("customer_id", "ordered_at")
    bought = " WHERE is_purchase" if "is_purchase" in orders.columns else ""
    sql = f"SELECT customer_id, MIN(CAST(ordered_at AS DATE)) AS first FROM {{t}} AS t{bought} GROUP BY customer_id"
    firsts = orders.query(sql).set_index("customer_id")["first"]
    first, day = pd.to_datetime(rows["customer_id"].map(firsts)), pd.to_datetime(rows["day"])
    monday = day - pd.to_timedelta(day.dt.day_of_week, unit="D")
    kinds = np.select([first < monday, first < monday + pd.Timedelta(days=7)], [_RETURNING, _NEW], _NO_CUSTOMER)
    return np.asarray(kinds, dtype=object)


def _rated(rows: pd.DataFrame, level: float) -> dict[str, float]:
    means = _means(rows)
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


def _means(rows: pd.DataFrame) -> NDArray[np.float64]:
    return rows.groupby("customer_id", dropna=False)["rating"].mean().to_numpy(dtype=float)
