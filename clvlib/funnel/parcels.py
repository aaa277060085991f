"""Orders after they are placed: the times of payment, dispatch, receipt and return, as far as they are known by a day.

Shared by :mod:`clvlib.funnel.fulfilment` and :mod:`clvlib.funnel.returns`. A row is an order, or a line of one where
the table has lines.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pandas as pd

from clvlib.data.engine import Table, identifier, literal

__all__ = ["AFTER", "USABLE", "durations", "one_by_one", "outcome", "parcels", "text"]

AFTER = ("shipped_at", "received_at", "returned_at")
USABLE = "state NOT IN ('unpaid', 'impossible', 'cancelled')"


def parcels(orders: Table, period: tuple[dt.date, dt.date]) -> Table:
    """Return the orders of a period with what had become of them by its end; later times are not known yet.

    Parameters
    ----------
    orders : Table
        ``ordered_at``; and what there is of ``paid_at``, the columns of :data:`AFTER`, ``amount`` and ``net_amount``
        (or ``refunded_amount``).
    period : tuple of datetime.date
        When the orders were placed: first day, and the day after the last.

    Returns
    -------
    Table
        The columns of ``orders``, and ``started`` (paid, or ordered where payment is not known), ``shipped``,
        ``received``, ``returned``, ``back`` (share of the amount that was paid back) and ``state``: ``unpaid``,
        ``impossible`` (something before what it follows), ``cancelled`` (paid back in full and never sent),
        ``returned``, ``received``, ``shipped`` or ``waiting``; where a shop records neither dispatch nor receipt, just
        ``paid``.
    """
    first, end = period
    now = f"CAST({literal(end)} AS TIMESTAMP)"

    def known(column: str) -> str:
        return (
            f"CASE WHEN {column} < {now} THEN {column} END" if column in orders.columns else "CAST(NULL AS TIMESTAMP)"
        )

    paid = known("paid_at") if "paid_at" in orders.columns else "ordered_at"
    back = "0"
    if "amount" in orders.columns and "net_amount" in orders.columns:
        back = "CASE WHEN amount > 0 THEN 1 - net_amount / amount ELSE 0 END"
    elif {"amount", "refunded_amount"} <= {*orders.columns}:
        back = "CASE WHEN amount > 0 THEN LEAST(COALESCE(refunded_amount, 0), amount) / amount ELSE 0 END"
    sent = {"shipped_at", "received_at"} & {*orders.columns}
    rest = "WHEN back >= 1 THEN 'cancelled' ELSE 'waiting'" if sent else "ELSE 'paid'"
    steps = "started, shipped, received, returned"
    relation = f"""(SELECT *, CASE WHEN started IS NULL THEN 'unpaid'
        WHEN started < ordered_at OR shipped < started OR received < COALESCE(shipped, started)
          OR returned < COALESCE(received, shipped, started) THEN 'impossible'
        WHEN returned IS NOT NULL THEN 'returned' WHEN received IS NOT NULL THEN 'received'
        WHEN shipped IS NOT NULL THEN 'shipped' {rest} END AS state
        FROM (SELECT *, CASE WHEN {paid} IS NULL THEN 0 ELSE CAST({back} AS DOUBLE) END AS back, {paid} AS started,
          {known("shipped_at")} AS shipped, {known("received_at")} AS received, {known("returned_at")} AS returned
          FROM {orders.relation} AS o WHERE ordered_at >= {literal(first)} AND ordered_at < {literal(end)}) AS p)"""
    return Table(orders.engine, orders.name, relation, (*orders.columns, "back", *steps.split(", "), "state"))


def durations(
    found: Table,
    since: str,
    until: str,
    end: dt.date,
    condition: str = "TRUE",
    causes: str = "'seen'",
    by: Sequence[str] = (),
    each: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Count how long rows waited: a row per distinct time, in hours to the minute, with what happened.

    Parameters
    ----------
    found : Table
        What :func:`parcels` returned.
    since, until : str
        SQL of the two times; where the second is missing, the row is watched until ``end``.
    end : datetime.date
        The first day of which nothing is known.
    condition : str
        Which rows.
    causes : str
        SQL of what happened.
    by : sequence of str
        SQL of what else to count by, ``AS`` included.
    each : sequence of str, optional
        Columns by which to count as well, each on its own; see :func:`one_by_one`.

    Returns
    -------
    pandas.DataFrame
        With ``each``, ``dimension`` and ``segment``; the columns of ``by``, ``hours`` (events rounded up, open rows
        down, so that nobody counts as watched for longer than they were), ``cause`` (empty where open) and ``n``.
    """
    seconds = f"DATE_DIFF('second', CAST({since} AS TIMESTAMP), CAST({{}} AS TIMESTAMP))"
    seen, age = seconds.format(until), seconds.format(literal(end))
    keys = [*(sql.rpartition(" AS ")[2] for sql in by), "hours", "cause"]
    counted, sets = ("", ", ".join(keys)) if each is None else one_by_one(each, keys)
    columns = ", ".join([*by, *(f"{text(name)} AS {identifier(name)}" for name in each or ()), ""])
    order = ", ".join(str(k + 1) for k in range(len(keys) + 2 * (each is not None)))
    return found.query(
        f"""SELECT {counted} {", ".join(keys)}, COUNT(*) AS n FROM (SELECT {columns}
            CASE WHEN {until} IS NULL THEN FLOOR({age} / 60.0) ELSE CEIL({seen} / 60.0) END / 60.0 AS hours,
            CASE WHEN {until} IS NULL THEN '' ELSE {causes} END AS cause
          FROM {{t}} AS t WHERE {condition}) AS p GROUP BY {sets} ORDER BY {order}"""
    )


def one_by_one(columns: Sequence[str], keys: Sequence[str]) -> tuple[str, str]:
    """Write the SQL that counts all rows, and again by each of some columns, in one question.

    Parameters
    ----------
    columns : sequence of str
        What to count by on its own.
    keys : sequence of str
        What to count by at all events.

    Returns
    -------
    tuple of str
        The first columns to select, ``dimension`` (the name of a column, or empty for all rows) and ``segment`` (its
        value), and what to group by.

    Examples
    --------
    >>> one_by_one(["host"], ["stratum"])[1]
    'GROUPING SETS ((stratum), ("host", stratum))'
    """
    names = [identifier(column) for column in columns]
    which = "".join(
        f"WHEN GROUPING({name}) = 0 THEN {literal(column)} " for name, column in zip(names, columns, strict=True)
    )
    sets = ", ".join(f"({', '.join([*first, *keys])})" for first in ([], *([name] for name in names)))
    dimension, segment = (
        (f"CASE {which}ELSE '' END", f"COALESCE({', '.join(names)}, NULL)") if names else ("''", "NULL")
    )
    return f"{dimension} AS dimension, {segment} AS segment,", f"GROUPING SETS ({sets})"


def text(column: str) -> str:
    """Write a column as text in SQL."""
    return f"CAST({identifier(column)} AS VARCHAR)"


def outcome(found: Table, return_days: float, end: dt.date) -> tuple[str, str, str]:
    """Write the SQL of when a parcel's fate was decided, of what it is, and of whether it came back too late to count.

    A parcel is kept when the return period has passed since it was received (where that is not recorded, since it was
    sent, or else paid). One that comes back later counts as kept at that time, as it did until then. A parcel that was
    refused comes back without having been received.
    """
    base = next((name for name in ("received", "shipped") if f"{name}_at" in found.columns), "started")
    over = f"({base} + INTERVAL '{round(return_days * 86_400)}' SECOND)"
    late = f"(returned IS NOT NULL AND {base} IS NOT NULL AND returned > {over})"
    back = f"(returned IS NOT NULL AND NOT {late})"
    decided = f"CASE WHEN {back} THEN returned WHEN {over} <= CAST({literal(end)} AS TIMESTAMP) THEN {over} END"
    return decided, f"CASE WHEN {back} THEN 'returned' ELSE 'kept' END", late
