"""Personas: groups of customers by what they buy and how, named, explained, and kept from week to week (A4)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.audience.period import purchases
from clvlib.audience.personas_features import Habits, Space, category_names, read_habits, space_of
from clvlib.audience.personas_names import apart, matched, named, pooled
from clvlib.audience.personas_number import persistence, stability
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, as_table
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.k_means import k_means, nearest
from clvlib.stats.means import Moments, mean_interval
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr

__all__ = ["Personas", "personas", "spoken"]

EVERYBODY = mark("everybody")
_NEAR = 0.05  # from the most stable number of personas, within which the largest is taken
_WORTH = {f"value{end}": f"expected_value{end}" for end in ("", "_lower", "_upper")}  # as readers see it
_FEWEST = 60  # customers whose habits can be seen, for there to be personas at all


@dataclass(frozen=True)
class Personas(Result):
    """Customers by what they buy and how.

    ``table`` has a row per persona (index ``persona``), the largest first: ``customers``, ``customer_share``,
    ``revenue_share``, ``orders_per_customer``, ``basket``, ``discount_share`` and ``evening_share`` (of orders; where
    orders tell), ``value`` (mean of those with one) with ``value_lower``, ``value_upper`` (Student; where a value was
    given), and ``apart``: in words, what sets it apart. Without personas, one row ``everybody``.

    Attributes
    ----------
    as_of : str
        The last day.
    weeks : int
        How far back orders count.
    number : int
        Of personas; 1 where there are none.
    learners : int
        Customers with ``min_orders`` or more, from whom personas are learnt; all others belong to the nearest.
    reason : str
        Why there are no personas; empty where there are.
    persistence, p_value : float
        Adjusted Rand index between the personas that either half of the same customers' orders gives, and the p-value
        of there being nothing that lasts.
    shared, changed : int
        Customers of the week before, and how many of them have another persona now.
    changed_share, changed_lower, changed_upper : float
        Their share, with Wilson's interval; missing where the week before has no personas.
    level : float
        Of the intervals.
    members : pandas.Series
        Persona by ``customer_id``.
    numbers : pandas.DataFrame
        Index ``number``: ``stability``, ``lower``, ``upper`` (:func:`clvlib.audience.personas_number.stability`).
    shares : pandas.DataFrame
        By persona (rows) and category (columns): share of the persona's orders; last row ``everybody``.
    """

    as_of: str
    weeks: int
    number: int
    learners: int
    reason: str
    persistence: float
    p_value: float
    shared: int
    changed: int
    changed_share: float
    changed_lower: float
    changed_upper: float
    level: float
    members: pd.Series = field(repr=False)
    numbers: pd.DataFrame = field(repr=False)
    shares: pd.DataFrame = field(repr=False)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of ``table``."""
        shares = {str(name): "share" for name in self.table if str(name).endswith("_share")}
        money = dict.fromkeys(["basket", *_WORTH.values()], "money")
        return {name: form for name, form in (shares | money).items() if name in self.shown} | {
            "orders_per_customer": ".1f"
        }

    @property
    def shown(self) -> pd.DataFrame:
        """``table`` with the names in the language spoken."""
        return self.table.rename(index=spoken, columns=_WORTH)

    @property
    def sentence(self) -> str:
        """Which personas there are, or why there are none, in words."""
        if self.number == 1:
            return self.reason
        rows = zip(self.table.index, self.table["customer_share"], strict=True)
        groups = tr("; ").join(
            tr("{persona} ({share:.0%})", persona=spoken(str(name)), share=share) for name, share in rows
        )
        return tr("Customers fall into {n} personas: {groups}", n=self.number, groups=groups)

    @property
    def change_sentence(self) -> str:
        """How many changed their persona within a week, in words."""
        if not self.shared:
            return tr("The week before had too few customers to tell who changed persona.")
        return tr(
            "Of the {shared:,} customers of the week before, {share:.1%} have another persona now ({lower:.1%} to "
            "{upper:.1%}).",
            shared=self.shared,
            share=self.changed_share,
            lower=self.changed_lower,
            upper=self.changed_upper,
        )


def spoken(name: str) -> str:
    """Return the name of a persona in the language spoken.

    >>> spoken("beauty, small baskets")
    'beauty, small baskets'
    """
    return tr(", ").join(tr(part) for part in name.split(", "))


@dataclass(frozen=True)
class _Grouping:
    """Customers of one day by number of the cluster."""

    habits: Habits = field(repr=False)
    space: Space = field(repr=False)
    centers: NDArray[np.float64] = field(repr=False)
    learners: NDArray[np.bool_] = field(repr=False)

    @property
    def labels(self) -> pd.Series:
        return pd.Series(nearest(self.space(self.habits.all), self.centers), index=self.habits.all.index)

    def persists(self) -> tuple[float, float]:
        kept = self.habits.all["orders"].to_numpy()[self.learners]
        odd, even = (
            nearest(self.space(frame[self.learners]), self.centers) for frame in (self.habits.odd, self.habits.even)
        )
        return persistence(odd, even, kept)


def personas(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    weeks: int = 52,
    *,
    value: pd.Series | None = None,
    most: int = 8,
    enough: float = 0.8,
    min_orders: int = 3,
    level: float = 0.95,
) -> Personas:
    """Find personas among the customers of the last weeks.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        The orders; ``category``, ``coupon_id``, ``discount`` and times of day count where they are there.
    as_of : str or date
        The last day that counts.
    weeks : int
        How far back orders count.
    value : pandas.Series, optional
        What each customer is worth, by ``customer_id``.
    most : int
        Personas at most.
    enough : float
        Stability from which a number of personas is accepted; of those nearly as stable as the best, the largest.
    min_orders : int
        Orders from which a customer's habits can be seen, at least two.
    level : float
        Confidence level.

    Returns
    -------
    Personas

    Raises
    ------
    EmptyDataError
        Nobody bought in these weeks.
    ParameterError
        A number out of range, or values that are not one per customer.

    Notes
    -----
    k-means on Hellinger's distance between the categories of customers' orders, with basket, discount and evening as
    far as they repeat from order to order; why, is in ``clvlib/OPINIONS.md``. The number is the largest that is found
    again in random halves of the customers nearly as well as the best (after Tibshirani and Walther 2005), on condition
    that halves of the same customers' orders agree too. Names are those of the end of the last quarter: clusters are
    matched to it over the customers whom they share (Kuhn 1955), by way of the week before.
    """
    _check(weeks, most, enough, min_orders, level)
    last = as_date(as_of)
    table = as_table(orders, "orders")
    categories = category_names(purchases(table), _span(last, weeks))
    habits = read_habits(table, _span(last, weeks), categories)
    if habits.all.empty:
        raise EmptyDataError(tr("nobody bought in the {weeks} weeks to {last}", weeks=weeks, last=last))
    numbers, found, persisted, reason = _choose(habits, most, enough, min_orders, level)
    if found is None:
        labels = pd.Series(EVERYBODY, index=habits.all.index)
        before = labels.iloc[:0]
    else:
        read = [read_habits(table, _span(day, weeks), categories) for day in (_quarter(last), last - dt.timedelta(7))]
        labels, before = _carried(found, read, min_orders)
    both = labels.index.intersection(before.index)
    changed = int((labels[both] != before[both]).sum())
    share = proportion_interval(changed, len(both), level).iloc[0] if len(both) else dict.fromkeys(_LIMITS, np.nan)
    return Personas(
        as_of=str(last), weeks=weeks, number=1 if found is None else labels.nunique(),
        learners=int(habits.learners(min_orders).sum()), reason=reason, persistence=persisted[0], p_value=persisted[1],
        shared=len(both), changed=changed, changed_share=float(share["estimate"]),
        changed_lower=float(share["lower"]), changed_upper=float(share["upper"]), level=level,
        members=labels.rename("persona"), numbers=numbers, shares=pooled(habits, labels, EVERYBODY),
        table=_table(habits, labels, value, level),
    )  # fmt: skip


_LIMITS = ("estimate", "lower", "upper")


def _check(weeks: int, most: int, enough: float, min_orders: int, level: float) -> None:
    if weeks < 1 or most < 2 or min_orders < 2:
        raise ParameterError(
            f"weeks ({weeks}) is at least 1, most ({most}) and min_orders ({min_orders}) are at least 2"
        )
    if not (0 < enough <= 1 and 0 < level < 1):
        raise ParameterError(f"enough ({enough}) and level ({level}) are shares, such as 0.8 and 0.95")


def _span(last: dt.date, weeks: int) -> tuple[dt.date, dt.date]:
    end = last + dt.timedelta(days=1)
    return end - dt.timedelta(weeks=weeks), end


def _quarter(last: dt.date) -> dt.date:
    """Return the day before the quarter of a day."""
    return dt.date(last.year, 3 * ((last.month - 1) // 3) + 1, 1) - dt.timedelta(days=1)


def _grouping(habits: Habits, number: int, min_orders: int) -> _Grouping | None:
    """Cluster the customers of a day; None where too few can be seen, or they are too alike."""
    learners = habits.learners(min_orders)
    if learners.sum() < _FEWEST:
        return None
    space = space_of(habits, learners)
    if not space.factor:
        return None
    points = space(habits.all[learners])
    if len(np.unique(points, axis=0)) < number:
        return None
    return _Grouping(habits, space, k_means(points[None], number)[0], learners)


def _choose(
    habits: Habits, most: int, enough: float, min_orders: int, level: float
) -> tuple[pd.DataFrame, _Grouping | None, tuple[float, float], str]:
    """Find the largest number of personas that other customers and other orders show too, or say why there is none."""
    learners = habits.learners(min_orders)
    none, unknown = stability(np.empty((0, 1)), range(0)), (np.nan, np.nan)
    if learners.sum() < _FEWEST:
        text = tr(
            "No personas: only {n:,} customers have {orders} orders or more, and at least {least} are needed",
            n=int(learners.sum()),
            orders=min_orders,
            least=_FEWEST,
        )
        return none, None, unknown, text
    space = space_of(habits, learners)
    numbers = stability(space(habits.all[learners]), range(2, most + 1), level) if space.factor else none
    if numbers.empty:
        return numbers, None, unknown, tr("No personas: customers do not differ in anything that repeats")
    score = numbers["stability"]
    stable = numbers.index[(score >= enough) & (score >= score.max() - _NEAR)][::-1]
    if stable.empty:
        text = tr(
            "No personas: no number of them is found again in other customers (stability {best:.2f} at best, "
            "{enough:.2f} is needed)",
            best=numbers["stability"].max(),
            enough=enough,
        )
        return numbers, None, unknown, text
    for number in stable:
        found = _grouping(habits, int(number), min_orders)
        seen = found.persists() if found else unknown
        adjusted = seen[0], min(1.0, seen[1] * len(stable))
        if found and adjusted[1] < 1 - level:
            return numbers, found, adjusted, ""
    text = tr(
        "No personas: groups can be formed, but different orders of one customer lead to different ones, as by chance"
    )
    return numbers, None, adjusted, text


def _carried(found: _Grouping, read: list[Habits], min_orders: int) -> tuple[pd.Series, pd.Series]:
    """Name today's clusters as those of the days before; returns personas of today and of the last day before."""
    number = len(found.centers)
    earlier = [_grouping(habits, number, min_orders) if len(habits.all) else None for habits in read]
    carried = before = pd.Series(dtype=object)
    for each in [*earlier, found]:
        if each is not None:
            labels = each.labels
            before, carried = carried, labels.map(matched(carried, labels, partial(named, each.habits, labels)))
    return carried, before if earlier[-1] is not None else before.iloc[:0]


def _table(habits: Habits, labels: pd.Series, value: pd.Series | None, level: float) -> pd.DataFrame:
    """Size, habits and value per persona."""
    sums = habits.all.groupby(labels).sum()
    size = labels.value_counts().reindex(sums.index)
    table = pd.DataFrame({
        "customers": size.astype(np.int64),
        "customer_share": size / size.sum(),
        "revenue_share": sums["spend"] / (sums["spend"].sum() or np.nan),
        "orders_per_customer": sums["orders"] / size,
        "basket": sums["spend"] / sums["orders"],
    })  # fmt: skip
    for name, column in (("discounted", "discount_share"), ("evening", "evening_share")):
        if name in sums:
            table[column] = sums[name] / sums["orders"]
    if value is not None:
        table[["value", "value_lower", "value_upper"]] = _values(labels, value, table.index, level)
    table["apart"] = pd.Series(apart(habits, labels))
    order = table.assign(name=table.index).sort_values(["customers", "name"], ascending=[False, True], kind="stable")
    return table.loc[order.index].rename_axis("persona")


def _values(labels: pd.Series, value: pd.Series, names: pd.Index, level: float) -> NDArray[np.float64]:
    if not isinstance(value, pd.Series) or value.index.has_duplicates:
        raise ParameterError("value: a pandas.Series with one number per customer_id is needed")
    worth = value.set_axis(value.index.astype(str)).reindex(labels.index).astype(float)
    worth = worth[np.isfinite(worth)]
    if worth.empty:
        raise ParameterError("value: none of its customers bought in these weeks, or none has a number")
    rows = np.full((len(names), 3), np.nan)
    for row, name in zip(rows, names, strict=True):
        own = worth[labels[worth.index] == name].to_numpy()
        if len(own):
            row[0] = own.mean()
        if len(own) > 1 and own.var() > 0:
            limits = mean_interval(Moments.of(own), level)
            row[1:] = limits.lower, limits.upper
    return rows
