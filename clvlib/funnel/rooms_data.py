"""What live sessions brought, counted where the events and orders lie: small frames by session and category."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError
from clvlib.funnel.context import with_context
from clvlib.words import mark, tr

__all__ = ["Rooms", "rooms"]

_OTHER = mark("other")
_OF_SESSION = ("host_id", "platform", "script", "topic", "ended_at", "target_gmv")


@dataclass(frozen=True)
class Rooms:
    """What happened in the live sessions of a period.

    Attributes
    ----------
    sessions : pandas.DataFrame
        A row per session: ``session_id``, ``started_at``, and of ``host_id``, ``platform``, ``script``, ``topic``,
        ``ended_at``, ``target_gmv`` what is known.
    visits : pandas.DataFrame
        By ``session_id`` and ``category`` (of the first product that a viewer saw; ``all`` where none is known):
        ``viewers``, and for each step how many of them made it and all before it, in any order, in the session.
    stays : pandas.DataFrame
        By ``host_id`` (empty: unknown): whole ``seconds`` in the room, whether they were ``observed`` to their end, as
        those whom the session's end cut short were not, and ``visits`` alike; empty where the log has no dwell times.
    orders : pandas.DataFrame
        By ``session_id`` and ``category``: ``orders`` (rows that were paid), ``refunded`` (of which any money or
        goods came back; missing where the table cannot say), ``gmv`` (net of refunds), ``squares`` and ``largest`` of
        it, ``new_customers`` (whose first purchase it was). Empty without orders.
    steps : tuple of str
        The funnel.
    """

    sessions: pd.DataFrame
    visits: pd.DataFrame
    stays: pd.DataFrame
    orders: pd.DataFrame
    steps: tuple[str, ...]


def rooms(
    events: Table | pd.DataFrame,
    sessions: Table | pd.DataFrame,
    orders: Table | pd.DataFrame | None = None,
    *,
    steps: Sequence[str],
    period: tuple[dt.date, dt.date],
    categories: int = 8,
) -> Rooms:
    """Count what the sessions brought that began in a period.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id``, ``session_id``, ``event``; ``occurred_at`` and ``dwell_s`` for the time in the room,
        ``product_id`` for the category.
    sessions : Table or pandas.DataFrame
        ``session_id``, ``started_at``.
    orders : Table or pandas.DataFrame, optional
        ``session_id``, ``customer_id``, ``ordered_at``, ``amount``. All orders, since they say who is new.
    steps : sequence of str
        The funnel; who made the first step is a viewer.
    period : tuple of datetime.date
        First day, and the day after the last.
    categories : int
        So many of the most frequent ones are told apart.

    Raises
    ------
    MissingColumnError
        A column that is needed is absent.
    EmptyDataError
        No session began in the period, or none had a viewer.
    """
    tables = together(events=events, sessions=sessions, orders=orders)
    tables["events"].require("person_id", "session_id", "event")
    tables["sessions"].require("session_id", "started_at")
    held = _held(tables["sessions"], period)
    listed = held.query("SELECT * FROM {t} ORDER BY started_at, session_id")
    first, last = period[0], period[1] - dt.timedelta(days=1)
    if listed.empty:
        raise EmptyDataError(tr("no live session began from {first} to {last}", first=first, last=last))
    log = with_context(**{name: tables[name] for name in ("events", "orders") if name in tables})
    visits = _visits(log, held, steps)
    if visits.empty:
        raise EmptyDataError(tr("no live session from {first} to {last} had a viewer", first=first, last=last))
    sold = _orders(tables["orders"], held) if "orders" in tables else pd.DataFrame()
    if "session_id" not in sold:
        sold = pd.DataFrame(columns=[*_KEYS, *_SUMS])
    common = visits.groupby("category")["viewers"].sum().sort_values(ascending=False, kind="stable").index[:categories]
    parts = [_pooled(frame, common) for frame in (visits, sold)]
    return Rooms(listed, parts[0], _stays(tables["events"], held, steps[0]), parts[1], tuple(steps))


_KEYS = ["session_id", "category"]
_SUMS = ["orders", "refunded", "gmv", "squares", "new_customers", "largest"]


def _pooled(frame: pd.DataFrame, common: pd.Index) -> pd.DataFrame:
    """Take rare categories together."""
    frame = frame.assign(category=frame["category"].where(frame["category"].isin(common), _OTHER))
    how = {c: "max" if c == "largest" else "sum" for c in frame.columns if c not in _KEYS}
    pooled = frame.groupby(_KEYS, as_index=False).agg(how)
    return pooled.assign(refunded=np.nan) if "refunded" in frame and frame["refunded"].isna().all() else pooled


def _held(sessions: Table, period: tuple[dt.date, dt.date]) -> Table:
    """The sessions that began in the period, one row each."""
    known = [c for c in _OF_SESSION if c in sessions.columns]
    chosen = ", ".join(["session_id", "MIN(started_at) AS started_at", *(f"MIN({c}) AS {c}" for c in known)])
    relation = (
        f"(SELECT {chosen} FROM {sessions.relation} AS s WHERE session_id IS NOT NULL"
        f" AND started_at >= {literal(period[0])} AND started_at < {literal(period[1])} GROUP BY session_id)"
    )
    return Table(sessions.engine, sessions.name, relation, ("session_id", "started_at", *known))


def _visits(log: Table, held: Table, steps: Sequence[str]) -> pd.DataFrame:
    made = [f"MAX(CASE WHEN e.event = {literal(step)} THEN 1 ELSE 0 END)" for step in steps]
    columns = ", ".join(f"{flag} AS s{k}" for k, flag in enumerate(made))
    sums = ", ".join(f"SUM({' * '.join(f's{j}' for j in range(k + 1))}) AS s{k}" for k in range(1, len(steps)))
    category = "NULL"
    if "category" in log.columns:
        category = f"MIN(CASE WHEN e.event = {literal(steps[0])} THEN e.category END)"
    found = log.query(
        f"WITH v AS (SELECT e.session_id, e.person_id, {category} AS category, {columns} FROM {{t}} AS e"
        f" JOIN {{held}} AS h ON e.session_id = h.session_id WHERE e.event IN {literal(list(steps))}"
        " AND e.person_id IS NOT NULL GROUP BY e.session_id, e.person_id)"
        f" SELECT session_id, COALESCE(category, 'all') AS category, COUNT(*) AS viewers, {sums} FROM v WHERE s0 = 1"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        held=held,
    )
    names = {f"s{k}": step for k, step in enumerate(steps)}
    return found.rename(columns=names).astype(dict.fromkeys(["viewers", *steps[1:]], np.int64))


def _stays(events: Table, held: Table, first: str) -> pd.DataFrame:
    """Time in the room; who was still there when the session ended was not seen to leave."""
    if not {"dwell_s", "occurred_at"} <= {*events.columns}:
        return pd.DataFrame(columns=["host_id", "seconds", "observed", "visits"])
    host = "COALESCE(h.host_id, '')" if "host_id" in held.columns else "''"
    room = "date_diff('second', e.occurred_at, h.ended_at)" if "ended_at" in held.columns else "NULL"
    return events.query(
        f"""WITH v AS (SELECT {host} AS host_id, CAST(e.dwell_s AS DOUBLE) AS dwell, {room} AS room
            FROM {{t}} AS e JOIN {{held}} AS h ON e.session_id = h.session_id
            WHERE e.event = {literal(first)} AND e.dwell_s IS NOT NULL)
        SELECT host_id, FLOOR(CASE WHEN room < dwell THEN CASE WHEN room > 0 THEN room ELSE 0 END ELSE dwell END)
               AS seconds, room IS NULL OR dwell <= room AS observed, COUNT(*) AS visits
        FROM v GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
        held=held,
    )


def _orders(orders: Table, held: Table) -> pd.DataFrame:
    if "session_id" not in orders.columns:
        return pd.DataFrame()
    orders.require("customer_id", "ordered_at", "amount")
    has = set(orders.columns)
    paid = "amount > 0" + (" AND paid_at IS NOT NULL" if "paid_at" in has else "")
    back = "COALESCE(refunded_amount, 0)" if "refunded_amount" in has else "0"
    net = "net_amount" if "net_amount" in has else f"amount - {back}"
    signs = [f"{back} > 0"] if "refunded_amount" in has else []
    signs += ["net_amount < amount"] if "net_amount" in has else []
    signs += ["returned_at IS NOT NULL"] if "returned_at" in has else []
    refunded = f"CASE WHEN {' OR '.join(signs)} THEN 1 ELSE 0 END" if signs else "NULL"
    category = "CAST(category AS VARCHAR)" if "category" in has else "NULL"
    kept = "is_purchase" if "is_purchase" in has else "net > 0"
    return orders.query(
        f"""WITH o AS (SELECT *, CAST({net} AS DOUBLE) AS net, {refunded} AS back FROM {{t}} AS t WHERE {paid}),
        p AS (SELECT *, CASE WHEN {kept} AND ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY
              CASE WHEN {kept} THEN 0 ELSE 1 END, ordered_at, session_id) = 1 THEN 1 ELSE 0 END AS is_new FROM o)
        SELECT p.session_id, COALESCE({category}, 'all') AS category, COUNT(*) AS orders,
               CAST(SUM(back) AS DOUBLE) AS refunded, SUM(net) AS gmv, SUM(net * net) AS squares,
               SUM(is_new) AS new_customers, MAX(net) AS largest
        FROM p JOIN {{held}} AS h ON p.session_id = h.session_id GROUP BY 1, 2 ORDER BY 1, 2""",
        held=held,
    )
