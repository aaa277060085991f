"""What customers buy and how, as coordinates in which they can be grouped (A4)."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.audience.period import during, purchases
from clvlib.data.engine import Table, literal

__all__ = ["Habits", "Space", "category_names", "orders_by_kind", "read_habits", "space_of"]

Floats = NDArray[np.float64]
CATEGORIES = 12  # the largest ones; the rest are one more
_MANNERS = 0.5  # the most that a manner of buying may weigh beside what is bought


@dataclass(frozen=True)
class Habits:
    """Counts per customer, of all orders and of every second one.

    Attributes
    ----------
    all, odd, even : pandas.DataFrame
        Index ``customer_id``, sorted and the same in all: ``orders``, ``spend``, ``discounted`` and ``evening`` (orders
        with a discount, from 18:00; absent where nothing tells), then ``c0``, ``c1`` … orders per category, the rest
        last.
    categories : tuple of str
        Names of ``c0`` and so on, without the rest; empty where orders have no category.
    """

    all: pd.DataFrame = field(repr=False)
    odd: pd.DataFrame = field(repr=False)
    even: pd.DataFrame = field(repr=False)
    categories: tuple[str, ...]

    def learners(self, orders: int) -> NDArray[np.bool_]:
        """Whose orders are as many as that, so that habits can be seen."""
        return self.all["orders"].to_numpy() >= orders


@dataclass(frozen=True)
class Space:
    """Coordinates of customers: what each block of features is measured from, and in which unit.

    Attributes
    ----------
    center : dict of str to numpy.ndarray
        Mean per block.
    factor : dict of str to float
        What a block is multiplied by: its weight over its spread.
    """

    center: dict[str, Floats]
    factor: dict[str, float]

    def __call__(self, counts: pd.DataFrame) -> Floats:
        """Coordinates, a row per customer; what is not known of one lies at the mean."""
        found = _blocks(counts)
        parts = [(found[name] - self.center[name]) * factor for name, factor in self.factor.items()]
        placed = np.nan_to_num(np.hstack(parts))
        return np.asarray(np.round(placed, 9), dtype=float)  # so that sums in another order are no difference


def category_names(bought: Table, span: tuple[dt.date, dt.date]) -> tuple[str, ...]:
    """Return the categories with most orders of a time, the largest first."""
    if "category" not in bought.columns:
        return ()
    found = bought.query(
        f"""SELECT CAST(category AS VARCHAR) AS category, COUNT(*) AS n FROM {{t}} AS t
        WHERE category IS NOT NULL AND {during("ordered_at", span)} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {CATEGORIES}"""
    )
    return tuple(found["category"])


def read_habits(orders: Table, span: tuple[dt.date, dt.date], categories: tuple[str, ...]) -> Habits:
    """Count each customer's purchases of a time.

    Parameters
    ----------
    orders : Table
        The orders.
    span : tuple of date
        First day, and the day after the last.
    categories : tuple of str
        As :func:`category_names` finds them.
    """
    rows = purchases(orders).query(_sql(purchases(orders), span, categories))
    rows["customer_id"] = rows["customer_id"].astype(str)
    rows = rows.set_index("customer_id").sort_index(kind="stable")
    everyone = rows.index.unique()
    half = rows.pop("half")
    odd, even = (rows[half == k].reindex(everyone).fillna(0).astype(float) for k in (1, 0))
    together = odd + even
    if not together["timed"].sum():
        odd, even, together = (frame.drop(columns="evening") for frame in (odd, even, together))
    odd, even, together = (frame.drop(columns="timed") for frame in (odd, even, together))
    return Habits(together, odd, even, categories)


def _sql(bought: Table, span: tuple[dt.date, dt.date], categories: tuple[str, ...]) -> str:
    """One row per customer and half of the orders, alternately by time; equal times in an order of their own."""
    signs = [
        f"{name} {test}" for name, test in (("coupon_id", "IS NOT NULL"), ("discount", "> 0")) if name in bought.columns
    ]
    discounted = f"CASE WHEN {' OR '.join(signs)} THEN 1 ELSE 0 END" if signs else "NULL"
    category = "CAST(category AS VARCHAR)" if categories else "NULL"
    counts = [f"SUM(CASE WHEN category = {literal(name)} THEN 1 ELSE 0 END)" for name in categories]
    counts += [f"SUM(CASE WHEN category NOT IN {literal([*categories])} THEN 1 ELSE 0 END)"] if categories else []
    columns = "".join(f", {count} AS c{i}" for i, count in enumerate(counts))
    columns += ", SUM(discounted) AS discounted" if signs else ""
    return f"""WITH bought AS (
        SELECT customer_id, ordered_at, CAST(net_amount AS DOUBLE) AS amount, {category} AS category,
               {discounted} AS discounted FROM {{t}} AS t WHERE {during("ordered_at", span)}
    ), placed AS (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY ordered_at, amount, category, discounted) % 2
               AS half FROM bought
    )
    SELECT customer_id, half, COUNT(*) AS orders, SUM(amount) AS spend,
           SUM(CASE WHEN ordered_at = date_trunc('day', ordered_at) THEN 0 ELSE 1 END) AS timed,
           SUM(CASE WHEN hour(ordered_at) >= 18 THEN 1 ELSE 0 END) AS evening{columns}
    FROM placed GROUP BY customer_id, half"""


def space_of(habits: Habits, learners: NDArray[np.bool_]) -> Space:
    """Scale what is bought and how, by the customers whose habits can be seen.

    Parameters
    ----------
    habits : Habits
        Counts.
    learners : numpy.ndarray of bool
        Whose spread is the unit.

    Returns
    -------
    Space
        Categories weigh one. A manner of buying (basket, discount, evening) weighs half of its reliability: the
        correlation of odd with even orders of the same people, stepped up to all of them (Spearman 1910, Brown 1910).
        What does not vary, or does not repeat, has no part.
    """
    found, odd, even = (_blocks(frame[learners]) for frame in (habits.all, habits.odd, habits.even))
    center, factor = {}, {}
    for name, values in found.items():
        known = np.isfinite(values).all(axis=1)
        if known.sum() < 2:
            continue
        mean = values[known].mean(axis=0)
        spread = float(np.sqrt(((values[known] - mean) ** 2).sum(axis=1).mean()))
        weight = 1.0 if name == "category" else _MANNERS * _reliability(odd[name][:, 0], even[name][:, 0])
        if spread > 1e-9 and weight > 1e-6:
            center[name], factor[name] = mean, weight / spread
    return Space(center, factor)


def orders_by_kind(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the columns ``c0``, ``c1`` … of counts."""
    return counts[[name for name in counts if re.fullmatch(r"c\d+", str(name))]]


def _blocks(counts: pd.DataFrame) -> dict[str, Floats]:
    """Features by block, not yet scaled; missing where a customer's orders do not tell."""
    orders, spend = (
        np.where(known > 0, known, np.nan) for known in (counts[name].to_numpy(float) for name in ("orders", "spend"))
    )
    found = {"basket": np.log(spend / orders)[:, None]}
    found |= {
        name: (counts[name].to_numpy(float) / orders)[:, None] for name in ("discounted", "evening") if name in counts
    }
    kinds = orders_by_kind(counts).to_numpy(float)
    if kinds.shape[1]:
        known = kinds.sum(axis=1, keepdims=True)
        # roots of shares: distances are then Hellinger's, in which one order of a rare kind is no outlier
        found["category"] = np.sqrt(kinds / np.where(known > 0, known, np.nan))
    return found


def _reliability(odd: Floats, even: Floats) -> float:
    both = np.isfinite(odd) & np.isfinite(even)
    x, y = odd[both], even[both]
    if both.sum() < 3 or np.ptp(x) < 1e-9 or np.ptp(y) < 1e-9:
        return 0.0
    r = max(0.0, float(np.corrcoef(x, y)[0, 1]))
    return 2 * r / (1 + r)
