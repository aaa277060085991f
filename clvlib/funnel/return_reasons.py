"""Why orders come back (F11), and whether a category has reasons of its own."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pandas as pd

from clvlib.data.calendar import as_period
from clvlib.data.engine import Table, as_table
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.parcels import parcels
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust
from clvlib.stats.proportions import proportion_effects, proportion_interval
from clvlib.words import paragraph, tr

__all__ = ["Reasons", "reasons"]


@dataclass(frozen=True)
class Reasons(Result):
    """Why orders came back.

    ``table`` has a row per ``reason``, the most frequent first: ``returned``, its ``share`` of the returns that have a
    reason, and the limits of that (Wilson). ``by`` has a row per category and reason: ``returned``, ``of`` (returns of
    the category that have a reason), ``share``, ``elsewhere`` (share in the other categories), ``difference`` with
    limits and ``p_value`` (Miettinen and Nurminen; Holm over all rows).

    Attributes
    ----------
    returned : int
        Returns of the period.
    not_given : int
        Those without a reason, which are in no share.
    by : pandas.DataFrame
        As above; empty without categories.
    level : float
        Of the intervals.
    """

    returned: int
    not_given: int
    by: pd.DataFrame
    level: float

    @property
    def sentence(self) -> str:
        """The first reason, and where one stands out, in words."""
        if self.table.empty:
            return tr("None of the {n:,} returns has a reason.", n=self.returned)
        top = self.table.iloc[0]
        head = tr(
            "The most frequent of the reasons given is {reason}: {share:.1%} of {n:,} ({lower:.1%} to {upper:.1%}).",
            reason=tr(str(top["reason"])),
            share=top["share"],
            n=self.returned - self.not_given,
            lower=top["lower"],
            upper=top["upper"],
        )
        odd = self.by[(self.by["p_value"] <= 1 - self.level) & (self.by["share"] > self.by["elsewhere"])]
        if odd.empty:
            return head
        row = odd.sort_values("p_value", kind="stable").iloc[0]
        more = tr(
            "In {category}, {reason} is {share:.1%} against {elsewhere:.1%} elsewhere.",
            category=tr(str(row["category"])),
            reason=tr(str(row["reason"])),
            share=row["share"],
            elsewhere=row["elsewhere"],
        )
        return paragraph(head, more)


def reasons(orders: Table | pd.DataFrame, period: tuple[Any, Any], level: float = 0.95) -> Reasons:
    """Count why the orders of a period came back, and whether a category has reasons of its own.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``ordered_at``, ``returned_at`` and ``return_reason``; ``category`` where known.
    period : tuple
        First day, and the day after the last, up to which things are known.
    level : float
        Of the intervals.

    Returns
    -------
    Reasons

    Raises
    ------
    MissingColumnError, ParameterError
        Returns or reasons are not recorded; the period or the level cannot be.
    EmptyDataError
        Nothing came back.
    """
    first, end = as_period(period)
    if not 0 < level < 1:
        raise ParameterError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    log = as_table(orders, "orders", "customer_id", "ordered_at", "returned_at", "return_reason")
    found = parcels(log, (first, end))
    category = "CAST(category AS VARCHAR)" if "category" in found.columns else "CAST(NULL AS VARCHAR)"
    rows = found.query(
        f"SELECT CAST(return_reason AS VARCHAR) AS reason, {category} AS category, COUNT(*) AS returned "
        "FROM {t} AS t WHERE state = 'returned' GROUP BY 1, 2 ORDER BY 1, 2"
    )
    if rows.empty:
        raise EmptyDataError(
            tr("no order from {first} to {last} came back", first=first, last=end - dt.timedelta(days=1))
        )
    given = rows[rows["reason"].notna()]
    table = given.groupby("reason", as_index=False)["returned"].sum()
    limits = proportion_interval(table["returned"], max(int(given["returned"].sum()), 1), level)
    table = table.assign(share=limits["estimate"], lower=limits["lower"], upper=limits["upper"])
    return Reasons(
        returned=int(rows["returned"].sum()),
        not_given=int(rows.loc[rows["reason"].isna(), "returned"].sum()),
        by=_by_category(given[given["category"].notna()], level),
        level=level,
        table=table.sort_values(["returned", "reason"], ascending=[False, True], kind="stable", ignore_index=True),
    )


def _by_category(given: pd.DataFrame, level: float) -> pd.DataFrame:
    """Each reason in each category against the same reason in the others."""
    grid = given.pivot_table(index="category", columns="reason", values="returned", aggfunc="sum", fill_value=0)
    if len(grid) < 2:
        return pd.DataFrame(columns=["category", "reason", "returned", "of", "share", "elsewhere", "p_value"])
    cells = grid.reset_index().melt(id_vars="category", value_name="returned")
    cells["of"] = cells["category"].map(grid.sum(axis=1))
    everywhere, total = cells["reason"].map(grid.sum(axis=0)), int(grid.to_numpy().sum())
    rest = everywhere - cells["returned"], total - cells["of"]
    effects = proportion_effects(cells["returned"], cells["of"], *rest, level)
    cells = cells.assign(
        share=cells["returned"] / cells["of"], elsewhere=rest[0] / rest[1], difference=effects["estimate"]
    )
    cells = cells.assign(lower=effects["lower"], upper=effects["upper"], p_value=adjust(effects["p_value"]).to_numpy())
    return cells.sort_values(["p_value", "category", "reason"], kind="stable", ignore_index=True)
