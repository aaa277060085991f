"""Where customers come from (A5): reach, new customers, what they cost, what they bring, and when that is paid back."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.audience.payback import PAID as _PAID
from clvlib.audience.payback import margin_curve, payback
from clvlib.audience.period import days, during, purchases
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from clvlib.result import Result
from clvlib.stats.means import Moments, mean_interval
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.totals import total_interval
from clvlib.words import mark, money, tr, trn

__all__ = ["Sources", "sources"]

Array = NDArray[np.float64]
_INVOICE = dt.timedelta(days=31)  # costs are often booked once a month
_UNKNOWN = mark("unknown")
_ALL = mark("all channels")
_RICH = mark(
    "One unit of money spent brings most through {best} ({high:.1f}, interval {high_lower:.1f} to {high_upper:.1f}) "
    "and least through {worst} ({low:.1f}, interval {low_lower:.1f} to {low_upper:.1f})."
)


@dataclass(frozen=True)
class Sources(Result):
    """Channels by what they cost and bring.

    ``table`` has a row per channel (index ``channel``), the one with most new customers first; ``unknown`` holds the
    customers of whom no table says the channel. Columns, as far as the tables given allow: ``impressions`` and
    ``clicks`` (bought), ``viewers`` (people seen through the channel), ``leads`` (signed up in the period),
    ``conversion`` (of these, the share that has bought so far) with ``conversion_lower`` and ``conversion_upper``
    (Wilson), ``new_customers`` (first purchase in the period), ``cost``, ``cac`` (cost per new customer),
    ``first_order`` (net amount of the day of the first purchase, mean), ``earned`` (margin so far per new customer),
    ``clv`` (that and the expected value, per new customer), ``clv_to_cac``, each with ``_lower`` and ``_upper``;
    ``payback_weeks`` with limits, ``followed_weeks`` (how far payback can be followed) and ``payback`` (in a word).

    A channel without spend has no cost, rather than none to pay: its ``cac`` is blank. One with spend and nobody new
    has a lower limit of ``cac`` alone. Cost is a known constant; the number of new customers is Poisson. So ``cac`` has
    Garwood's interval, ``clv_to_cac`` (their total value by the total cost) and the payback curve that of Fay and Feuer
    (1997); means per customer have Student's.

    Attributes
    ----------
    first, last : str
        First and last day of the period.
    margin : float
        Share of spend that is kept.
    level : float
        Of the intervals.
    total : pandas.DataFrame
        One row with the columns of ``table``, over all channels: all cost by all new customers.
    curve : pandas.DataFrame
        Per ``channel`` and ``week`` since the first purchase: ``at_risk`` (new customers that have had the week),
        ``margin`` (cumulative, per new customer), ``lower``, ``upper``, ``cac``.
    """

    first: str
    last: str
    margin: float
    level: float
    total: pd.DataFrame = field(repr=False)
    curve: pd.DataFrame = field(repr=False)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        money = ["cost", "cac", "cac_lower", "cac_upper", "first_order", "earned", "clv"]
        ratios = ["clv_to_cac", "clv_to_cac_lower", "clv_to_cac_upper"]
        forms = dict.fromkeys(money, "money") | dict.fromkeys(ratios, ".1f")
        forms |= {"leads": "count", "conversion": "share", "payback_weeks": ".0f"}
        shown = self.shown
        return {name: form for name, form in forms.items() if name in shown}

    @property
    def shown(self) -> pd.DataFrame:
        """The columns of ``table`` that a reader looks at first."""
        names = ["leads", "conversion", "new_customers", "cost", "cac", "cac_lower", "cac_upper", "first_order"]
        names += ["clv", "clv_to_cac", "clv_to_cac_lower", "clv_to_cac_upper"] if "clv" in self.table else ["earned"]
        return self.table[[name for name in (*names, "payback_weeks", "payback") if name in self.table]]

    @property
    def payback_sentence(self) -> str:
        """How many channels have brought back what they cost, in words."""
        cost = self.table.get("cost", pd.Series(dtype=float))
        if cost.notna().sum() == 0:
            return tr("What the channels cost is not known.")
        return tr(
            "{back} of {all} channels with a cost have brought back what they cost.",
            back=int((self.table["payback"] == _PAID).sum()),
            all=int(cost.notna().sum()),
        )

    @property
    def sentence(self) -> str:
        """Which channel brings most for what it costs, in words; without cost, which brings most customers."""
        ratios = self.table.get("clv_to_cac", pd.Series(dtype=float)).dropna().sort_values(kind="stable")
        if len(ratios) > 1:
            low, high = self.table.loc[ratios.index[0]], self.table.loc[ratios.index[-1]]
            told = {
                f"{name}{end}": row[f"clv_to_cac{end}"]
                for name, row in (("low", low), ("high", high))
                for end in ("", "_lower", "_upper")
            }
            return tr(_RICH, best=tr(str(high.name)), worst=tr(str(low.name)), **told)
        row = self.total.iloc[0]
        if not row["new_customers"]:
            return tr("{cost} was spent, and no new customer came.", cost=money(row["cost"]))
        if "cac" in self.table and np.isfinite(row["cac"]):
            return tr(
                "{new:,} new customers cost {cac} each ({lower} to {upper}).",
                new=int(row["new_customers"]),
                cac=money(row["cac"]),
                lower=money(row["cac_lower"]),
                upper=money(row["cac_upper"]),
            )
        most = self.table.iloc[0]
        return trn(
            "{n:,} new customer came, through {channel}.",
            "{n:,} new customers came, most of them through {channel} ({share:.0%}).",
            int(row["new_customers"]),
            channel=tr(str(most.name)),
            share=most["new_customers"] / row["new_customers"],
        )


def sources(
    orders: Table | pd.DataFrame,
    period: tuple[Any, Any],
    customers: Table | pd.DataFrame | None = None,
    spend: Table | pd.DataFrame | None = None,
    events: Table | pd.DataFrame | None = None,
    value: pd.Series | None = None,
    *,
    margin: float = 0.3,
    observed: float = 0.5,
    level: float = 0.95,
) -> Sources:
    """Compare the channels through which the new customers of a period came.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        All orders, since they say who is new; those after the period are not looked at.
    period : tuple
        First day, and the day after the last.
    customers : Table or pandas.DataFrame, optional
        ``channel`` of each customer, which counts before that of the first purchase, and ``signed_up_at``.
    spend : Table or pandas.DataFrame, optional
        ``channel``, ``date``, ``cost``, and ``impressions`` and ``clicks`` where known.
    events : Table or pandas.DataFrame, optional
        ``person_id``, ``occurred_at`` and ``channel``.
    value : pandas.Series, optional
        By customer_id, the margin expected from the end of the period on, in the money of the orders, not negative. Who
        has none counts as worth nothing.
    margin : float
        Share of spend that is kept.
    observed : float
        Payback is followed as far as at least this share of a channel's new customers has come.
    level : float
        Confidence level.

    Returns
    -------
    Sources

    Raises
    ------
    EmptyDataError
        In the period nobody bought for the first time, and nothing was spent.
    ParameterError
        The period holds no day, a share is none, or a value is negative or not finite.

    Warns
    -----
    ThinDataWarning
        Some new customers have no value, or the spend leaves more than a month of the period open.

    Examples
    --------
    >>> day = pd.Timestamp("2026-11-02")
    >>> sold = pd.DataFrame({"customer_id": list("abca"), "ordered_at": [day, day, day, day + pd.Timedelta(days=9)],
    ...                      "amount": [100.0, 300.0, 200.0, 400.0], "channel": ["Weibo", "Weibo", None, "KOL"]})
    >>> paid = pd.DataFrame({"channel": ["Weibo", "KOL"], "date": [day, day], "cost": [90.0, 50.0]})
    >>> found = sources(sold, ("2026-11-02", "2026-11-16"), spend=paid)
    >>> found.table[["new_customers", "cost", "cac", "earned", "payback"]]
             new_customers  cost   cac  earned           payback
    channel
    Weibo                2  90.0  45.0   120.0         paid back
    unknown              1   NaN   NaN    60.0      cost unknown
    KOL                  0  50.0   NaN     NaN  no new customers
    """
    first, end = days(period)
    _check(margin, observed, level)
    tables = together(orders=orders, customers=customers, spend=spend, events=events)
    rows = _new_customers(tables, first, end)
    counts = _counts(tables, first, end)
    if rows.empty and counts.get("cost", pd.Series(dtype=float)).fillna(0).sum() == 0:
        raise EmptyDataError(
            tr(
                "from {first} to {last} nobody bought for the first time, and nothing was spent",
                first=first,
                last=end - dt.timedelta(days=1),
            )
        )
    people = _people(rows, value, margin, end)
    names = sorted({*counts.index, *people["channel"]})
    blank = pd.Series(np.nan, index=counts.columns)
    groups = {name: people[people["channel"] == name] for name in names}
    curves = {name: margin_curve(rows, own, margin, observed, level) for name, own in groups.items()}
    made = [
        _row(groups[name], counts.loc[name] if name in counts.index else blank, curves[name], level) for name in names
    ]
    table = pd.DataFrame(made, index=pd.Index(names, name="channel")).sort_index()
    table = table.sort_values("new_customers", ascending=False, kind="stable")
    curve = pd.concat(curves, names=["channel"])
    if "cac" in table:
        curve["cac"] = table["cac"].reindex(curve.index.get_level_values(0)).to_numpy()
    whole = _row(people, counts.sum(min_count=1), margin_curve(rows, people, margin, observed, level), level)
    total = pd.DataFrame([whole], index=pd.Index([_ALL], name="channel"))
    last = str(end - dt.timedelta(days=1))
    return Sources(first=str(first), last=last, margin=margin, level=level, total=total, curve=curve, table=table)


def _check(margin: float, observed: float, level: float) -> None:
    for name, share, most in (("margin", margin, 1), ("observed", observed, 1), ("level", level, 1 - 1e-12)):
        if not 0 < share <= most:
            raise ParameterError(f"{name} is a share between 0 and 1; found {share}")


def _firsts(bought: Table, end: dt.date) -> str:
    """Every purchase before the end, with the customer's first day and the channel of the first purchase."""
    channel = "CAST(channel AS VARCHAR)" if "channel" in bought.columns else "CAST(NULL AS VARCHAR)"
    return f"""bought AS (
        SELECT customer_id, CAST(ordered_at AS DATE) AS day, net_amount, {channel} AS channel,
               MIN(CAST(ordered_at AS DATE)) OVER (PARTITION BY customer_id) AS first_day,
               ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY ordered_at, {channel} NULLS LAST) AS place
        FROM {{t}} AS t WHERE ordered_at < {literal(end)}),
      firsts AS (SELECT customer_id, channel, first_day FROM bought WHERE place = 1)"""


def _named(tables: dict[str, Table]) -> str:
    """The channel of each customer by the table customers, one row each."""
    if "customers" not in tables or "channel" not in tables["customers"].columns:
        return "named AS (SELECT customer_id, channel FROM firsts WHERE 1 = 0)"
    return "named AS (SELECT customer_id, CAST(MIN(channel) AS VARCHAR) AS channel FROM {customers} AS c GROUP BY 1)"


def _new_customers(tables: dict[str, Table], first: dt.date, end: dt.date) -> pd.DataFrame:
    """Spend of each new customer by weeks since the first purchase: 0 is its day, 1 the seven days after it."""
    bought = purchases(tables["orders"])
    return bought.query(
        f"""WITH {_firsts(bought, end)}, {_named(tables)}
        SELECT b.customer_id, COALESCE(n.channel, f.channel, '{_UNKNOWN}') AS channel,
               CAST(f.first_day AS TIMESTAMP) AS first_day,
               CAST(CEIL(DATE_DIFF('day', f.first_day, b.day) / 7.0) AS INTEGER) AS week,
               CAST(SUM(b.net_amount) AS DOUBLE) AS spend
        FROM bought AS b JOIN firsts AS f ON b.customer_id = f.customer_id
        LEFT JOIN named AS n ON b.customer_id = n.customer_id
        WHERE f.first_day >= {literal(first)} GROUP BY 1, 2, 3, 4 ORDER BY 1, 4""",
        **{name: table for name, table in tables.items() if name == "customers"},
    )


def _counts(tables: dict[str, Table], first: dt.date, end: dt.date) -> pd.DataFrame:
    """Sums of the period per channel, from whatever tables there are; what a table does not say is blank."""
    parts: list[pd.DataFrame] = []
    if "spend" in tables:
        parts.append(_spent(tables["spend"].require("channel", "date", "cost"), first, end))
    if "events" in tables and "channel" in tables["events"].columns:
        parts.append(
            tables["events"].query(
                f"""SELECT COALESCE(CAST(channel AS VARCHAR), '{_UNKNOWN}') AS channel,
                COUNT(DISTINCT person_id) AS viewers FROM {{t}} AS t
                WHERE {during("occurred_at", (first, end))} GROUP BY 1"""
            )
        )
    if "customers" in tables and "signed_up_at" in tables["customers"].columns:
        bought = purchases(tables["orders"])
        parts.append(
            bought.query(
                f"""WITH {_firsts(bought, end)}, {_named(tables)}, signed AS (
                    SELECT customer_id, MIN(signed_up_at) AS signed_up_at FROM {{customers}} AS c GROUP BY 1)
                SELECT COALESCE(n.channel, f.channel, '{_UNKNOWN}') AS channel, COUNT(*) AS leads,
                       COUNT(f.customer_id) AS bought
                FROM signed AS s LEFT JOIN firsts AS f ON s.customer_id = f.customer_id
                LEFT JOIN named AS n ON s.customer_id = n.customer_id
                WHERE {during("s.signed_up_at", (first, end))} GROUP BY 1""",
                customers=tables["customers"],
            )
        )
    indexed = [part.set_index("channel").astype(float) for part in parts]
    return pd.concat(indexed, axis=1).sort_index() if indexed else pd.DataFrame(index=pd.Index([], dtype=str))


def _spent(spend: Table, first: dt.date, end: dt.date) -> pd.DataFrame:
    more = [name for name in ("impressions", "clicks") if name in spend.columns]
    sums = ", ".join(f"CAST(SUM({name}) AS DOUBLE) AS {name}" for name in ("cost", *more))
    inside = during("date", (first, end))
    found = spend.query(
        f"SELECT CAST(channel AS VARCHAR) AS channel, {sums}, CAST(MIN(date) AS TIMESTAMP) AS since, "
        f"CAST(MAX(date) AS TIMESTAMP) AS until FROM {{t}} AS t WHERE {inside} GROUP BY 1"
    )
    if len(found):
        since, until = found["since"].min().date(), found["until"].max().date()
        if max(since - first, end - dt.timedelta(days=1) - until) > _INVOICE:
            text = tr(
                "spend is known from {since} to {until} only, and customers count from {first} to {last}: cost per new "
                "customer comes out too low",
                since=since,
                until=until,
                first=first,
                last=end - dt.timedelta(days=1),
            )
            warnings.warn(text, ThinDataWarning, stacklevel=4)
    return found.drop(columns=["since", "until"])


def _people(rows: pd.DataFrame, value: pd.Series | None, margin: float, end: dt.date) -> pd.DataFrame:
    """One row per new customer: channel, whole weeks that have passed, first order, margin so far, expected value."""
    people = rows[rows["week"] == 0].set_index("customer_id")[["channel", "first_day", "spend"]]
    people = people.rename(columns={"spend": "first_order"})
    people["weeks"] = (pd.Timestamp(end) - people.pop("first_day")).dt.days.sub(1) // 7
    people["earned"] = margin * rows.groupby("customer_id")["spend"].sum().reindex(people.index)
    if value is not None:
        expected = value.reindex(people.index).astype(float)
        if expected.lt(0).any() or np.isinf(expected).any():
            raise ParameterError("value: some are negative or not finite; margins that are expected are 0 or more")
        lacking = int(expected.isna().sum())
        if lacking:
            text = trn(
                "{n:,} new customer has no expected value and counts as worth nothing beyond what was earned",
                "{n:,} new customers have no expected value and count as worth nothing beyond what was earned",
                lacking,
            )
            warnings.warn(text, ThinDataWarning, stacklevel=3)
        people["clv"] = people["earned"] + expected.fillna(0.0)
    return people


def _row(people: pd.DataFrame, sums: pd.Series, curve: pd.DataFrame, level: float) -> dict[str, Any]:
    """Figures of one channel."""
    row: dict[str, Any] = {str(k): sums[k] for k in ("impressions", "clicks", "viewers", "leads") if k in sums.index}
    if "leads" in row:
        share = [np.nan] * 3
        if row["leads"] > 0:
            share = proportion_interval(sums["bought"], sums["leads"], level).iloc[0].tolist()
        row |= _limits("conversion", *share)
    row["new_customers"] = n = len(people)
    if "cost" in sums.index:
        fewest, most = total_interval(n, n, 1.0, level)
        row["cost"] = cost = float(sums["cost"])
        row |= _limits("cac", cost / n if n else np.nan, cost / most, cost / fewest if fewest else np.nan)
    for name in ("first_order", "earned", "clv"):
        if name in people:
            row |= _limits(name, *_mean(people[name].to_numpy(dtype=float), level))
    if "cost" in row and "clv" in people:
        row |= _limits("clv_to_cac", *_ratio(people["clv"].to_numpy(dtype=float), row["cost"], level))
    if "cost" in row:
        row |= payback(curve, row["cost"], n)
    return row


def _limits(name: str, estimate: float, lower: float, upper: float) -> dict[str, float]:
    return {name: estimate, f"{name}_lower": lower, f"{name}_upper": upper}


def _mean(values: Array, level: float) -> Iterator[float]:
    """Mean with Student's interval, blank where there is none."""
    if len(values) < 2 or values.min() == values.max():
        return iter([values.mean() if len(values) else np.nan, np.nan, np.nan])
    found = mean_interval(Moments.of(values), level)
    return iter([found.estimate, found.lower, found.upper])


def _ratio(values: Array, cost: float, level: float) -> list[float]:
    """Total value by cost; blank where nothing was spent, since nothing can be divided by it."""
    if not cost > 0:
        return [np.nan] * 3
    lower, upper = total_interval(values.sum(), (values**2).sum(), values.max(initial=0.0), level)
    return [values.sum() / cost, lower / cost, upper / cost if len(values) else np.nan]
