"""RCV: recent spend × frequency ÷ activity, literally as shops define it, on a scale of 0 to 10."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.recent import bought, recent_spend
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import tr

__all__ = ["RCV", "rcv"]

Array = NDArray[np.float64]
Scale = Literal["max", "log", "rank"]
Inactive = Literal["one", "zero", "most"]

_TOP = 10.0


@dataclass(frozen=True)
class RCV(Result):
    """RCV of a customer base; ``table`` has a row per customer who ever bought, the highest score first.

    ``table`` columns: ``amount`` (net spend of the window), ``purchases`` (its days with a purchase), ``active_days``
    (of the last days), ``raw`` (amount × purchases ÷ active days, in the currency), ``score`` (0 to 10), ``vip``.

    Attributes
    ----------
    as_of : str
        The last day.
    window, activity_window : int
        Days over which spend and purchases, and activity, count.
    scale, inactive : str or float
        How raw became score, and what customers without activity count as.
    vip_from : float
        The score from which a customer is a VIP.
    vips : int
    vip_share, vip_share_of_amount : float
        VIPs among customers, and what they spent of the window's money.
    seen_by : str
        What activity was read from: "events and orders", or "orders" where there are no events.
    """

    as_of: str
    window: int
    activity_window: int
    scale: str | float
    inactive: str
    vip_from: float
    vips: int
    vip_share: float
    vip_share_of_amount: float
    seen_by: str


def rcv(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    events: Table | pd.DataFrame | None = None,
    *,
    window: int = 30,
    activity_window: int = 30,
    scale: Scale | float = "max",
    inactive: Inactive = "one",
    vip: float = 5.0,
) -> RCV:
    """Score customers by recent spend × frequency ÷ activity.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``day`` and ``net_amount``; where there is a column ``is_purchase`` only its rows count.
    as_of : str or date
        The last day that counts.
    events : Table or pandas.DataFrame, optional
        ``person_id`` and ``occurred_at``, under customers' ids (:func:`clvlib.data.identities.events_of`).
    window : int
        Days over which spend and purchases count, each day with a purchase once.
    activity_window : int
        Days over which activity counts: the days with an event or a purchase.
    scale : {"max", "log", "rank"} or float
        How raw scores become 0 to 10: against the highest; the same in logs; by the share of customers who stand lower,
        equals halfway; or against the raw score given here, above which all have 10.
    inactive : {"one", "zero", "most"}
        What a customer with spend but without activity counts as: active on one day; of no value; of the highest score.
        It can only happen where activity is looked for in a shorter time than spend.
    vip : float
        Score from which a customer is a VIP.

    Returns
    -------
    RCV

    Raises
    ------
    EmptyDataError
        Nobody had bought by then.
    ParameterError
        A window of less than a day, a scale or rule that is not known, tables that do not go together.

    Notes
    -----
    The definition has traps. Raw scores are in currency, so that "5 and above" means nothing before a scale is chosen,
    and under "max" one large order moves everybody else down. A score falls as the customer becomes more active: of two
    who spent the same, the one who watched every evening ranks below the one who came once. Whoever has not bought
    within the window has 0, whatever he was worth before. Whether it forecasts spend better than RFM or a model is a
    question of fact: :func:`clvlib.clv.contest.value_contest`.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": ["a", "a", "b", "c"], "net_amount": [100.0, 50.0, 200.0, 80.0],
    ...                      "day": pd.to_datetime(["2026-11-02", "2026-11-10", "2026-11-10", "2026-08-01"])})
    >>> rcv(sold, "2026-11-15").table[["amount", "purchases", "active_days", "raw", "score"]]
                 amount  purchases  active_days    raw  score
    customer_id
    b             200.0          1            1  200.0   10.0
    a             150.0          2            2  150.0    7.5
    c               0.0          0            0    0.0    0.0
    """
    _check(window, activity_window, scale, inactive)
    last = as_date(as_of)
    tables = together(orders=orders, events=events)
    purchases = bought(tables["orders"])
    table = recent_spend(purchases, last, window).drop(columns="total").rename(columns={"spend": "amount"})
    if table.empty:
        raise EmptyDataError(tr("nobody had bought by {day}", day=last))
    active_days = _active_days(purchases, tables.get("events"), last, activity_window)
    table["active_days"] = active_days.reindex(table.index, fill_value=0)
    worth, active = (table["amount"] * table["purchases"]).to_numpy(), table["active_days"].to_numpy()
    raw = np.where(active > 0, worth / np.maximum(active, 1), 0.0 if inactive == "zero" else worth)
    if inactive == "most":
        raw = np.where((active == 0) & (worth > 0), raw.max(), raw)
    score = _scaled(raw, scale)
    table = table.assign(raw=raw, score=score, vip=score >= vip).sort_values("score", ascending=False, kind="stable")
    amount = float(table["amount"].sum())
    return RCV(
        as_of=str(last),
        window=window,
        activity_window=activity_window,
        scale=scale,
        inactive=inactive,
        vip_from=vip,
        vips=int(table["vip"].sum()),
        vip_share=float(table["vip"].mean()),
        vip_share_of_amount=float(table.loc[table["vip"], "amount"].sum()) / amount if amount > 0 else 0.0,
        seen_by="orders" if events is None else "events and orders",
        table=table,
    )


def _check(window: int, activity_window: int, scale: Scale | float, inactive: str) -> None:
    if window < 1 or activity_window < 1:
        raise ParameterError(f"windows have at least one day; found {window} and {activity_window}")
    if isinstance(scale, str) and scale not in {"max", "log", "rank"}:
        raise ParameterError(f"scale is 'max', 'log', 'rank' or a number; found {scale!r}")
    if not isinstance(scale, str) and not (np.isfinite(scale) and scale > 0):
        raise ParameterError(f"the raw score that counts as 10 is above 0; found {scale}")
    if inactive not in {"one", "zero", "most"}:
        raise ParameterError(f"inactive is 'one', 'zero' or 'most'; found {inactive!r}")


def _active_days(purchases: Table, events: Table | None, last: dt.date, activity_window: int) -> pd.Series:
    """Return on how many of the last days each person bought or was seen."""
    begin = literal(last - dt.timedelta(days=activity_window))
    days = _days_sql("t", "customer_id", "day", begin, last)
    others = {}
    if events is not None:
        others = {"seen": events.require("person_id", "occurred_at")}
        days += " UNION " + _days_sql("seen", "person_id", "occurred_at", begin, last)
    sql = f"SELECT customer_id, COUNT(*) AS n FROM ({days}) AS d GROUP BY 1 ORDER BY 1"
    return purchases.query(sql, **others).set_index("customer_id")["n"]


def _days_sql(table: str, who: str, when: str, begin: str, last: dt.date) -> str:
    day = f"CAST({when} AS DATE)"
    return (
        f"SELECT DISTINCT {who} AS customer_id, {day} AS day FROM {{{table}}} AS t "
        f"WHERE {day} > {begin} AND {day} <= {literal(last)} AND {who} IS NOT NULL"
    )


def _scaled(raw: Array, scale: Scale | float) -> Array:
    top = float(raw.max(initial=0.0))
    if top <= 0:
        return np.zeros(len(raw))
    if scale == "log":
        return np.asarray(_TOP * np.log1p(raw) / np.log1p(top))
    if scale == "rank":
        _, place, count = np.unique(raw, return_inverse=True, return_counts=True)
        lower = np.cumsum(count) - count
        return np.asarray(np.where(raw > 0, _TOP * (lower + count / 2)[place] / len(raw), 0.0))
    return np.asarray(np.minimum(_TOP * raw / (top if scale == "max" else float(scale)), _TOP))
