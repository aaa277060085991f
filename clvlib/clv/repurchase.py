"""When customers come back (V7): time to the second purchase, by where they came from and what they bought first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.log_rank import log_rank
from clvlib.stats.multiplicity import adjust
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.survival import kaplan_meier, share_by, survival_quantile
from clvlib.words import mark, paragraph, tr

__all__ = ["ALL", "Repurchase", "repurchase"]

ALL = mark("all customers")
_UNKNOWN, _OTHERS = mark("unknown"), mark("others")
_WITH, _WITHOUT = mark("with a coupon"), mark("without a coupon")
_NAMES = {"channel": mark("channel"), "category": mark("first category"), "coupon": mark("coupon")}

_FEWEST, _MOST = 30, 20  # customers of a group, and groups; the rest are others


@dataclass(frozen=True)
class Repurchase(Result):
    """How soon customers buy again; ``table`` has a row for all of them and one per group.

    ``table``, by ``by`` (empty, channel, category or coupon, of the first purchase) and ``group``: ``customers``,
    ``repeated`` (so far), ``within_30`` and so on (share that bought again within so many days) with ``_lower`` and
    ``_upper``, and ``median`` days to the second purchase with its limits, infinite where less than half come back.

    Attributes
    ----------
    as_of : str
        The last day that counts; customers who have not bought again by then are open, not lost.
    days : tuple of int
        Those of the shares.
    level : float
        Of the intervals.
    tests : pandas.DataFrame
        By what customers are divided: ``groups``, ``p_value`` (log-rank, within months of the first purchase),
        ``p_adjusted`` (Holm) and ``found``.
    curve : pandas.DataFrame
        Share that has bought again by ``day``, with limits, by ``by`` and ``group``.
    cohorts : pandas.DataFrame
        By month of the first purchase: ``customers``, and the share that bought again within so many weeks with
        limits, blank where not all could.
    """

    as_of: str
    days: tuple[int, ...]
    level: float
    tests: pd.DataFrame = field(repr=False)
    curve: pd.DataFrame = field(repr=False)
    cohorts: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """How soon customers come back, and what it goes with."""
        row = self.table.iloc[0]
        shares = [
            tr(
                "{share:.1%} ({lower:.1%} to {upper:.1%}) within {n} days",
                share=row[f"within_{n}"],
                lower=row[f"within_{n}_lower"],
                upper=row[f"within_{n}_upper"],
                n=n,
            )
            for n in self.days
            if np.isfinite(row[f"within_{n}"])
        ]
        said = [tr("New customers who buy again: {shares}.", shares=tr("; ").join(shares) or tr("not known yet"))]
        return paragraph(*said, *(self._told(str(name)) for name in self.tests.index))

    def _told(self, by: str) -> str:
        test, name = self.tests.loc[by], tr(_NAMES[by])
        p = f"p = {test['p_adjusted']:.2g}" if test["p_adjusted"] >= 1e-4 else "p < 0.0001"
        if not test["found"]:
            text = mark("By {by} no difference is shown beyond chance ({p}).")
            return tr(text, by=name, p=p)
        column = f"within_{self.days[-1]}"
        shares = self.table.xs(by, level="by")[column].dropna().drop([_OTHERS, _UNKNOWN], errors="ignore")
        if shares.empty:
            return tr("By {by} they differ ({p}).", by=name, p=p)
        return tr(
            "By {by} they differ ({p}), from {low:.0%} ({worst}) to {high:.0%} ({best}) within {n} days.",
            by=name,
            p=p,
            low=shares.min(),
            worst=tr(str(shares.idxmin())),
            high=shares.max(),
            best=tr(str(shares.idxmax())),
            n=self.days[-1],
        )


def repurchase(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    customers: Table | pd.DataFrame | None = None,
    *,
    days: Sequence[int] = (30, 60, 90),
    weeks: Sequence[int] = (4, 8, 12, 26),
    level: float = 0.95,
) -> Repurchase:
    """Measure how soon customers make their second purchase, those who have not yet made it counted as open.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``day`` and ``net_amount``; ``channel``, ``category`` and ``coupon_id`` where known. Where
        there is a column ``is_purchase`` only its rows count. Purchases of one day are one.
    as_of : str or date
        The last day that counts.
    customers : Table or pandas.DataFrame, optional
        ``channel`` of each customer, which counts before that of the first purchase.
    days : sequence of int
        Within which shares are told.
    weeks : sequence of int
        The same for cohorts.
    level : float
        Confidence level.

    Returns
    -------
    Repurchase

    Raises
    ------
    EmptyDataError
        Nobody bought by then.
    ParameterError
        Days or weeks that are no positive numbers in their order, or a level that is no share.

    Notes
    -----
    Shares and medians are those of Kaplan and Meier (1958); a share has Wilson's limits at its effective number, and is
    blank where nobody was followed for so long. Of channels and categories the 20 largest of 30 first purchases or more
    stand alone, where there are more than two. Groups are compared by the log-rank test within months of the first
    purchase, so that a channel is not blamed for its season, corrected for the number of comparisons (Holm). They are
    associations: who came with a coupon differs from who did not in more than that.

    Examples
    --------
    >>> days = pd.to_datetime(["2026-01-01", "2026-01-11", "2026-01-01", "2026-03-12", "2026-01-01"])
    >>> sold = pd.DataFrame({"customer_id": list("aabbc"), "day": days, "net_amount": 10.0, "channel": "Weibo"})
    >>> repurchase(sold, "2026-04-30").table[["customers", "repeated", "within_30", "within_90", "median"]]
                           customers  repeated  within_30  within_90  median
    by      group
            all customers          3         2   0.333333   0.666667    70.0
    channel Weibo                  3         2   0.333333   0.666667    70.0
    """
    _check(days, weeks, level)
    end = as_date(as_of)
    rows = _waits(together(orders=orders, customers=customers), end)
    if rows.empty:
        raise EmptyDataError(tr("no customer bought on or before {day}", day=end))
    known = [by for by in _NAMES if by in rows and (rows[by] != _UNKNOWN).any()]
    groups = {("", ALL): rows} | {(by, str(name)): part for by in known for name, part in rows.groupby(by)}
    curves = {key: kaplan_meier(part["wait"], part["again"], part["n"], level) for key, part in groups.items()}
    made = [_row(groups[key], curves[key], days, level) for key in groups]
    table = pd.DataFrame(made, index=pd.MultiIndex.from_tuples(groups, names=["by", "group"]))
    order = pd.Series({by: i for i, by in enumerate(["", *known])})
    place = pd.DataFrame({"by": order[table.index.get_level_values(0)].to_numpy(), "n": -table["customers"].to_numpy()})
    return Repurchase(
        as_of=str(end),
        days=tuple(days),
        level=level,
        tests=_tests(rows, known, level),
        curve=pd.concat({key: _bought(curve) for key, curve in curves.items()}, names=["by", "group"]),
        cohorts=_cohorts(rows, weeks, level),
        table=table.iloc[place.sort_values(["by", "n"], kind="stable").index.to_numpy()],
    )


def _waits(tables: dict[str, Table], end: dt.date) -> pd.DataFrame:
    """Return days to the second purchase, or to the end, and how many customers share them and what came first."""
    orders = tables["orders"].require("customer_id", "day", "net_amount")
    bought = orders.where("is_purchase") if "is_purchase" in orders.columns else orders

    def first(column: str, otherwise: str = "NULL") -> str:
        return f"CAST({column} AS VARCHAR)" if column in orders.columns else otherwise

    named = "SELECT NULL AS customer_id, NULL AS channel WHERE 1 = 0"
    if "customers" in tables and "channel" in tables["customers"].columns:
        named = "SELECT customer_id, MIN(CAST(channel AS VARCHAR)) AS channel FROM {customers} AS c GROUP BY 1"
    coupon = f"MAX(CASE WHEN coupon_id IS NULL THEN '{_WITHOUT}' ELSE '{_WITH}' END)"
    coupon = coupon if "coupon_id" in orders.columns else f"'{_UNKNOWN}'"
    found = bought.query(
        f"""WITH b AS (SELECT customer_id, CAST(day AS DATE) AS day, net_amount, {first("channel")} AS channel,
              {first("category")} AS category{", coupon_id" if "coupon_id" in orders.columns else ""}
              FROM {{t}} AS t WHERE CAST(day AS DATE) <= {literal(end)}),
            f AS (SELECT customer_id, MIN(day) AS first FROM b GROUP BY 1),
            s AS (SELECT b.customer_id, MIN(b.day) AS second FROM b JOIN f ON b.customer_id = f.customer_id
              WHERE b.day > f.first GROUP BY 1),
            c AS (SELECT b.customer_id, {coupon} AS coupon FROM b JOIN f ON b.customer_id = f.customer_id
              WHERE b.day = f.first GROUP BY 1),
            r AS (SELECT b.customer_id, b.channel, b.category, ROW_NUMBER() OVER (PARTITION BY b.customer_id
              ORDER BY b.net_amount DESC, b.category NULLS LAST, b.channel NULLS LAST) AS place
              FROM b JOIN f ON b.customer_id = f.customer_id WHERE b.day = f.first),
            n AS ({named})
        SELECT COALESCE(n.channel, r.channel, '{_UNKNOWN}') AS channel, COALESCE(r.category, '{_UNKNOWN}') AS category,
          c.coupon, strftime(f.first, '%Y-%m') AS month,
          DATE_DIFF('day', f.first, COALESCE(s.second, {literal(end)})) AS wait, s.second IS NOT NULL AS again,
          MIN(DATE_DIFF('day', f.first, {literal(end)})) AS followed, COUNT(*) AS n
        FROM f JOIN r ON f.customer_id = r.customer_id AND r.place = 1 JOIN c ON f.customer_id = c.customer_id
        LEFT JOIN s ON f.customer_id = s.customer_id LEFT JOIN n ON f.customer_id = n.customer_id
        GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6""",
        **{name: table for name, table in tables.items() if name == "customers"},
    )
    for by in ("channel", "category"):
        sizes = found[found[by] != _UNKNOWN].groupby(by)["n"].sum().sort_values(ascending=False, kind="stable")
        kept = (
            {*sizes.index[(sizes >= _FEWEST).to_numpy()][:_MOST], _UNKNOWN}
            if len(sizes) > 2
            else {*sizes.index, _UNKNOWN}
        )
        found[by] = found[by].where(found[by].isin(kept), _OTHERS)
    return found.astype({"wait": float, "followed": float, "again": bool})


def _row(rows: pd.DataFrame, curve: pd.DataFrame, days: Sequence[int], level: float) -> dict[str, Any]:
    row: dict[str, Any] = {"customers": int(rows["n"].sum()), "repeated": int(rows.loc[rows["again"], "n"].sum())}
    for day in days:
        found = share_by(curve, day, level)
        row |= {f"within_{day}": found["estimate"]} | {f"within_{day}_{end}": found[end] for end in ("lower", "upper")}
    median = survival_quantile(curve, 0.5)
    return row | dict(zip(("median", "median_lower", "median_upper"), median, strict=True))


def _bought(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the share that has bought again, from the share that waits."""
    told = {"share": 1 - curve["survival"], "lower": 1 - curve["upper"], "upper": 1 - curve["lower"]}
    return pd.DataFrame({**told, "at_risk": curve["at_risk"]}).set_index(pd.Index(curve["time"], name="day"))


def _tests(rows: pd.DataFrame, known: list[str], level: float) -> pd.DataFrame:
    names, p_values, counts = [], [], []
    for by in known:
        told = rows[rows[by] != _UNKNOWN]
        different = len(told[by].unique())
        if different > 1:
            names.append(by)
            counts.append(different)
            p_values.append(log_rank(told["wait"], told["again"], told[by], told["n"], told["month"]))
    table = pd.DataFrame({"groups": counts, "p_value": p_values}, index=pd.Index(names, name="by", dtype=object))
    table["p_adjusted"] = adjust(table["p_value"]) if names else pd.Series(dtype=float)
    return table.assign(found=table["p_adjusted"] < 1 - level)


def _cohorts(rows: pd.DataFrame, weeks: Sequence[int], level: float) -> pd.DataFrame:
    made = {}
    for month, part in rows.groupby("month"):
        n, followed = int(part["n"].sum()), float(part["followed"].min())
        row: dict[str, Any] = {"customers": n}
        for week in weeks:
            again = int(part.loc[part["again"] & (part["wait"] <= 7 * week), "n"].sum())
            limits = proportion_interval(again, n, level).iloc[0]
            known = followed >= 7 * week
            told = {"": limits["estimate"], "_lower": limits["lower"], "_upper": limits["upper"]}
            row |= {f"week_{week}{end}": value if known else np.nan for end, value in told.items()}
        made[month] = row
    table = pd.DataFrame.from_dict(made, orient="index").rename_axis(index="month")
    ends = [f"week_{week}{end}" for end in ("_lower", "_upper") for week in weeks]
    return table[["customers", *(f"week_{week}" for week in weeks), *ends]]


def _check(days: Sequence[int], weeks: Sequence[int], level: float) -> None:
    for name, spans in (("days", days), ("weeks", weeks)):
        if not len(spans) or list(spans) != sorted(set(spans)) or spans[0] < 1:
            raise ParameterError(f"{name} are positive and in their order, such as (30, 60, 90); found {tuple(spans)}")
    if not 0 < level < 1:
        raise ParameterError(f"level is a share; found {level}")
