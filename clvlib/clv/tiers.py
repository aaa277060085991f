"""Membership tiers and points (V6): who stands where, who moved, and what a tier is worth."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from clvlib.clv.recent import bought, recent_spend
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import mark, tr

__all__ = ["ORDINARY", "RULES", "Tiers", "tiers"]

ORDINARY, NOT_YET = mark("ordinary"), mark("not yet a customer")
RULES: dict[str, tuple[float, int]] = {mark("silver"): (1000.0, 2), mark("gold"): (5000.0, 5)}

Need = Literal["both", "either"]


@dataclass(frozen=True)
class Tiers(Result):
    """Membership tiers of a customer base; ``table`` has a row per customer.

    ``table`` columns: ``spend`` and ``purchases`` (days with one) of the last weeks, ``tier``, ``before`` (the tier
    then, "not yet a customer" before the first purchase), ``points`` (earned so far), ``to_next`` (spend that is
    missing to the next tier; 0 where only purchases are, or there is no next one).

    Attributes
    ----------
    as_of : str
        The last day.
    weeks : int
        How far back spend and purchases count.
    since : int
        Weeks between ``before`` and now.
    risen, fallen : int
        Customers whose tier is higher, or lower, than it was.
    summary : pandas.DataFrame
        By tier, the highest first: customers, share, spend, share_of_spend, points, and value where it was given.
    movement : pandas.DataFrame
        Customers by tier before (rows) and now (columns).
    """

    as_of: str
    weeks: int
    since: int
    risen: int
    fallen: int
    summary: pd.DataFrame = field(repr=False)
    movement: pd.DataFrame = field(repr=False)

    @property
    def moves(self) -> pd.DataFrame:
        """Who went from one tier to another: ``before``, ``now``, ``customers``, the most first."""
        found = self.movement.reset_index(names="before").melt("before", var_name="now", value_name="customers")
        found = found[(found["before"] != found["now"]) & (found["customers"] > 0)]
        return found.sort_values("customers", ascending=False, kind="stable", ignore_index=True)


def tiers(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    rules: Mapping[str, tuple[float, int]] | None = None,
    *,
    need: Need = "both",
    weeks: int = 52,
    since: int = 4,
    points_per: float = 300.0,
    value: pd.Series | None = None,
) -> Tiers:
    """Put each customer in a membership tier by spend and frequency.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``day`` and ``net_amount``; where there is a column ``is_purchase`` only its rows count.
    as_of : str or date
        The last day that counts.
    rules : mapping of str to (float, int), optional
        Tiers above the ordinary one, from the lowest: the spend and the purchases from which they begin. Default:
        silver from 1,000 and 2, gold from 5,000 and 5.
    need : {"both", "either"}
        Whether spend and purchases must both reach the tier, or one of them.
    weeks : int
        How far back they count.
    since : int
        Weeks ago with which today's tiers are compared.
    points_per : float
        A point is earned with every full amount of this, over all purchases so far, net of refunds.
    value : pandas.Series, optional
        What each customer is worth, by customer_id.

    Returns
    -------
    Tiers

    Raises
    ------
    EmptyDataError
        Nobody had bought by then.
    ParameterError
        Rules that do not rise, or a figure that cannot be.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": list("aaab"), "net_amount": [2000.0, 2000, 1500, 700],
    ...                      "day": pd.to_datetime(["2026-03-01", "2026-09-01", "2026-11-10", "2026-11-11"])})
    >>> result = tiers(sold, "2026-11-15", {"silver": (1000, 2), "gold": (5000, 3)})
    >>> result.table[["spend", "tier", "before", "points", "to_next"]]
                  spend      tier              before  points  to_next
    customer_id
    a            5500.0      gold              silver      18      0.0
    b             700.0  ordinary  not yet a customer       2    300.0
    """
    levels = _checked(RULES if rules is None else rules, need, weeks, since, points_per)
    last = as_date(as_of)
    purchases = bought(orders)
    now = recent_spend(purchases, last, 7 * weeks)
    if now.empty:
        raise EmptyDataError(tr("nobody had bought by {day}", day=last))
    then = recent_spend(purchases, last - dt.timedelta(weeks=since), 7 * weeks)
    names = [ORDINARY, *levels]
    place = _places(now, levels, need)
    before = pd.Series(_places(then, levels, need), index=then.index).reindex(now.index).to_numpy(dtype=float)
    table = now[["spend", "purchases"]].copy()
    table["tier"] = [names[i] for i in place]
    table["before"] = [NOT_YET if np.isnan(i) else names[int(i)] for i in before]
    table["points"] = np.floor(now["total"] / points_per + 1e-9).clip(lower=0).astype("int64")
    goals = np.array([*(spend for spend, _ in levels.values()), 0.0])
    table["to_next"] = np.maximum(goals[place] - table["spend"], 0.0)
    moved = np.nan_to_num(place - before)  # who was no customer yet did not move
    return Tiers(
        as_of=str(last),
        weeks=weeks,
        since=since,
        risen=int((moved > 0).sum()),
        fallen=int((moved < 0).sum()),
        summary=_summary(table, names, value),
        movement=_movement(table, names),
        table=table,
    )


def _checked(
    rules: Mapping[str, tuple[float, int]], need: str, weeks: int, since: int, points_per: float
) -> dict[str, tuple[float, int]]:
    levels = {str(name): (float(spend), int(count)) for name, (spend, count) in rules.items()}
    rising = [(0.0, 0), *levels.values()]
    if not levels or any(b[0] < a[0] or b[1] < a[1] or a == b for a, b in pairwise(rising)):
        raise ParameterError(f"tiers rise in spend and purchases, the lowest first; found {dict(rules)}")
    if {ORDINARY, NOT_YET} & set(levels):
        raise ParameterError(f"{ORDINARY!r} is the tier of those who reach no other; name the tiers above it")
    if need not in {"both", "either"} or weeks < 1 or since < 1 or not points_per > 0:
        raise ParameterError(
            f"need is 'both' or 'either', weeks and since at least 1, points_per above 0; found {need!r}, {weeks}, "
            f"{since}, {points_per}"
        )
    return levels


def _places(facts: pd.DataFrame, levels: Mapping[str, tuple[float, int]], need: Need) -> np.ndarray:
    """Return the place of each customer's tier: the highest that is reached."""
    spend, purchases = facts["spend"].to_numpy(), facts["purchases"].to_numpy()
    place = np.zeros(len(facts), dtype=np.intp)
    for i, (least, times) in enumerate(levels.values(), start=1):
        rich, often = spend >= least - 1e-9, purchases >= times
        place[rich & often if need == "both" else rich | often] = i
    return place


def _summary(table: pd.DataFrame, names: list[str], value: pd.Series | None) -> pd.DataFrame:
    groups = table.assign(value=0.0 if value is None else value.reindex(table.index)).groupby("tier")
    frame = groups.agg(customers=("spend", "size"), spend=("spend", "sum"), points=("points", "sum"))
    frame = frame.reindex(names[::-1], fill_value=0).astype({"spend": float})
    frame.insert(1, "share", frame["customers"] / len(table))
    total = float(frame["spend"].sum())
    frame.insert(3, "share_of_spend", frame["spend"] / total if total > 0 else 0.0)
    if value is not None:
        if value.reindex(table.index).isna().any():
            raise ParameterError("value names what every customer is worth")
        frame["value"] = groups["value"].sum().reindex(frame.index, fill_value=0.0)
        frame["value_per_customer"] = frame["value"] / frame["customers"].clip(lower=1)
    return frame


def _movement(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    counts = pd.crosstab(table["before"], table["tier"])
    return counts.reindex(index=[NOT_YET, *names], columns=names, fill_value=0)
