"""What is still to be paid back of a week's sales, by what was paid back of earlier weeks in the end."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import ParameterError
from clvlib.result import Result
from clvlib.stats.means import Moments, mean_difference, mean_interval, ratio_moments
from clvlib.words import mark, money, paragraph, tr

__all__ = ["RefundsToCome", "refunds_to_come"]

_COLUMNS = {"ordered_at", "amount", "net_amount"}


@dataclass(frozen=True)
class RefundsToCome(Result):
    """How much of a week's sales is refunded so far, and how much of earlier weeks' was in the end.

    ``table`` has the rows ``week`` and ``settled`` (index ``when``): ``customers``, ``sold`` (before refunds),
    ``refunded``, ``share``, with ``lower`` and ``upper`` of the settled weeks' share (customers are what repeats).
    It is empty where no refunds are recorded, or one of the two sold nothing.

    Attributes
    ----------
    net : float
        What the week's sales come to when as much of them is refunded as of the settled weeks'; missing without them.
    short : bool
        Whether the week's share lies below that of the settled weeks by more than chance explains, so that refunds are
        still to come.
    """

    net: float
    short: bool

    @property
    def note(self) -> str:
        """What is to be known of the week's net sales, in a few words; empty where no refunds are missing."""
        return tr("about {net} when all refunds are in", net=money(self.net)) if self.short else ""

    @property
    def sentence(self) -> str:
        """The same with its reason."""
        if self.table.empty:
            return tr("Nothing is known of refunds in earlier weeks, so none are expected of this one's sales.")
        week, settled = self.table.loc["week"], self.table.loc["settled"]
        told = {"now": week["share"], "share": settled["share"], "lower": settled["lower"], "upper": settled["upper"]}
        text = mark(
            "Of this week's sales {now:.1%} is refunded so far, of those of earlier weeks {share:.1%} was in the end "
            "({lower:.1%} to {upper:.1%})."
        )
        if not self.short:
            return tr(text, **told)
        more = mark("If it comes to the same, {net} of them remains.")
        return paragraph(tr(text, **told), tr(more, net=money(self.net)))


def refunds_to_come(
    orders: Table | pd.DataFrame, week: Week, *, settled_after: int = 4, weeks: int = 8, level: float = 0.95
) -> RefundsToCome:
    """Hold the refunds of a week's orders against those of weeks whose refunds are in.

    A refund counts in the week of its order, so the last week always looks better than it will be. A week that lies
    back as far as the settled ones when the orders end has its refunds, and none are awaited.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        With ``amount`` and ``net_amount``; orders refunded in full belong to them.
    week : Week
        The week to judge.
    settled_after : int
        After so many weeks hardly any refund comes.
    weeks : int
        How many settled weeks are looked at.
    level : float
        Of the settled weeks' interval.

    Raises
    ------
    ParameterError
        A number of weeks below one.

    Examples
    --------
    >>> at = pd.to_datetime(["2026-10-06"] * 3 + ["2026-11-10"] * 2)
    >>> sold = pd.DataFrame({"customer_id": list("abcde"), "ordered_at": at, "amount": 100.0,
    ...                      "net_amount": [100.0, 100.0, 70.0, 100.0, 100.0]})
    >>> found = refunds_to_come(sold, Week("2026-W46"))
    >>> found.table["share"].tolist(), found.net, found.short
    ([0.0, 0.1], 180.0, False)
    """
    if settled_after < 1 or weeks < 1:
        raise ParameterError(f"settled_after and weeks are at least 1; found {settled_after} and {weeks}")
    end = week.shift(1 - settled_after).start
    begin = week.shift(1 - settled_after - weeks).start
    known = as_table(orders, "orders")
    nothing = RefundsToCome(table=pd.DataFrame(), net=float("nan"), short=False)
    if not set(known.columns) >= _COLUMNS:
        return nothing
    bought = "is_purchase OR net_amount <= 0" if "is_purchase" in known.columns else "TRUE"
    rows = known.query(
        f"""WITH placed AS (
            SELECT CASE WHEN ordered_at >= {literal(week.start)} THEN 'week' ELSE 'settled' END AS "when", customer_id,
                   CAST(SUM(amount) AS DOUBLE) AS x, CAST(SUM(amount - net_amount) AS DOUBLE) AS y
            FROM {{t}} AS t WHERE amount > 0 AND ({bought}) AND customer_id IS NOT NULL
              AND (ordered_at >= {literal(week.start)} AND ordered_at < {literal(week.end)}
                OR ordered_at >= {literal(begin)} AND ordered_at < {literal(end)})
            GROUP BY 1, 2)
        SELECT "when", (SELECT CAST(MAX(ordered_at) AS DATE) FROM {{t}} AS all_) AS until, COUNT(*) AS customers,
               SUM(x) AS sold, SUM(y) AS refunded, AVG(x) AS mean_x, AVG(y) AS mean_y,
               COALESCE(VAR_SAMP(x), 0) AS variance_x, COALESCE(VAR_SAMP(y), 0) AS variance_y,
               COALESCE(COVAR_SAMP(x, y), 0) AS covariance
        FROM placed GROUP BY 1"""
    ).set_index("when")
    if len(rows) < 2 or not float(rows["refunded"].loc["settled"]) > 0 or rows["customers"].min() < 2:
        return nothing
    moments = {str(when): _share(row) for when, row in rows.iterrows()}
    now, settled = moments["week"], moments["settled"]
    limits = mean_interval(settled, level)
    table = rows.loc[["week", "settled"], ["customers", "sold", "refunded"]].assign(share=[now.mean, settled.mean])
    table.loc["settled", ["lower", "upper"]] = [max(limits.lower, 0.0), limits.upper]
    until = pd.Timestamp(rows["until"].iloc[0]).date()
    awaited = until < week.shift(settled_after).start and mean_difference(settled, now, level).lower > 0
    net = float(table["sold"].loc["week"]) * (1 - max(now.mean, settled.mean))
    return RefundsToCome(table=table, net=net, short=awaited)


def _share(row: pd.Series) -> Moments:
    names = ("mean_y", "mean_x", "variance_y", "variance_x", "covariance")
    return ratio_moments(int(row["customers"]), **{name: float(row[name]) for name in names})
