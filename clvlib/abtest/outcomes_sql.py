"""From rows of assignments and orders to what each person did, as one SQL text that all questions begin with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pandas as pd

from clvlib.data.engine import Table, identifier, literal
from clvlib.errors import ParameterError
from clvlib.words import mark

__all__ = ["end_sql", "money_column", "outcomes_sql", "seconds"]

_UNKNOWN = mark("unknown")  # the segment of people whom the table of segments lacks
_CAPS = """caps AS (
  SELECT PERCENTILE_CONT(0.99) WITHIN GROUP (ORDER BY revenue) AS revenue_p99,
         PERCENTILE_CONT(0.999) WITHIN GROUP (ORDER BY revenue) AS revenue_p99_9
  FROM bought WHERE revenue > 0
)"""
_BOUGHT = """bought AS (
  SELECT unit_id,
         SUM(CASE WHEN earlier THEN 0 ELSE 1 END) AS orders, SUM(CASE WHEN earlier THEN 1 ELSE 0 END) AS before,
         SUM(CASE WHEN earlier THEN 0 ELSE amount END) AS revenue,
         SUM(CASE WHEN earlier THEN amount ELSE 0 END) AS revenue_before,
         SUM(CASE WHEN earlier THEN 0 ELSE gross END) AS gross,
         SUM(CASE WHEN amount - amount = 0 THEN 0 ELSE 1 END) AS bad_amounts
  FROM purchases GROUP BY unit_id
)"""
_DATED = """dated AS (
  SELECT *, CASE WHEN status = 'mature' THEN LEAST(until, CAST(DATE_TRUNC('week', done - INTERVAL 1 MICROSECOND)
                                                            AS TIMESTAMP) + INTERVAL 7 DAY) END AS look
  FROM outcomes
)"""


def outcomes_sql(tables: Mapping[str, Table], name: str, spans: tuple[str, str], end: str, by: str | None) -> str:
    """Return a text from ``WITH`` on, whose last tables are ``outcomes`` and ``dated``, a row per person.

    A metric may use the columns of ``outcomes``. A number less itself is 0 if it is finite. ``revenue_p99`` and
    ``revenue_p99_9`` are what 99% and 99.9% of the people with revenue, of all arms, stay below.

    Parameters
    ----------
    tables : mapping of str to Table
        ``assignments`` (which the query calls ``t``), ``orders``, and ``customers`` and ``complaints`` if asked for.
    name : str
        Of the experiment.
    spans : pair of str
        The window after the assignment and the time before it that serves for comparison, as SQL intervals.
    end : str
        As from :func:`end_sql`.
    by : str or None
        Column of ``customers`` that holds segments.
    """
    window, history = spans
    segment, joined = _segment(by)
    complained, complaints = _complaints(window) if "complaints" in tables else ("", "")
    joined += " LEFT JOIN complained AS c ON c.unit_id = p.unit_id" if complained else ""
    parts = [
        _known(end),
        _people(tables["assignments"], name),
        _purchases(tables["orders"], window, history),
        _BOUGHT,
        *([complained] if complained else []),
        _CAPS,
        _outcomes(window, segment, complaints, joined),
        _DATED,
    ]
    return "\nWITH " + ",\n".join(parts) + "\n"


def _known(end: str) -> str:
    """Until when the data are known, and when anybody ordered first and last."""
    return f"""known AS (
  SELECT {end} AS until, MIN(CAST(ordered_at AS TIMESTAMP)) AS first_order,
         MAX(CAST(ordered_at AS TIMESTAMP)) AS last_order
  FROM {{orders}} AS _k
)"""


def _people(assignments: Table, name: str) -> str:
    """Everybody assigned by then, with the first and the last of their arms and the first assignment."""
    wanted = literal(name).replace("{", "{{").replace("}", "}}")
    cluster = "MIN(CAST(cluster_id AS VARCHAR))" if "cluster_id" in assignments.columns else "CAST(NULL AS VARCHAR)"
    return f"""people AS (
  SELECT CAST(unit_id AS VARCHAR) AS unit_id, MIN(CAST(variant AS VARCHAR)) AS variant,
         MAX(CAST(variant AS VARCHAR)) AS other_variant, COUNT(*) AS seen,
         MIN(CAST(assigned_at AS TIMESTAMP)) AS assigned_at,
         {cluster} AS cluster_id
  FROM {{t}} AS _a, known
  WHERE experiment = {wanted} AND unit_id IS NOT NULL AND variant IS NOT NULL
    AND CAST(assigned_at AS TIMESTAMP) < known.until
  GROUP BY CAST(unit_id AS VARCHAR)
)"""


def _purchases(orders: Table, window: str, history: str) -> str:
    """Their orders around the assignment.

    An order that was never paid is no outcome; one that was paid and refunded is, with nothing left of its money.
    """
    money = money_column(orders)
    gross = "amount" if "amount" in orders.columns else money
    paid = "AND o.paid_at IS NOT NULL" if "paid_at" in orders.columns else ""
    return f"""purchases AS (
  SELECT p.unit_id, CAST(o.ordered_at AS TIMESTAMP) AS ordered_at,
         CAST(o.ordered_at AS TIMESTAMP) < p.assigned_at AS earlier, CAST(o.{money} AS DOUBLE) AS amount,
         CAST(o.{gross} AS DOUBLE) AS gross
  FROM people AS p JOIN {{orders}} AS o ON CAST(o.customer_id AS VARCHAR) = p.unit_id CROSS JOIN known
  WHERE CAST(o.ordered_at AS TIMESTAMP) >= p.assigned_at - {history}
    AND CAST(o.ordered_at AS TIMESTAMP) < p.assigned_at + {window}
    AND CAST(o.ordered_at AS TIMESTAMP) < known.until {paid}
)"""


def _outcomes(window: str, segment: str, complaints: str, joined: str) -> str:
    """What each person brought within the window and before, and whether the window is over."""
    return f"""outcomes AS (
  SELECT p.variant, p.seen, p.assigned_at, p.cluster_id, {segment} AS segment, p.assigned_at + {window} AS done,
         CAST(p.assigned_at AS DATE) AS day, known.until,
         CASE WHEN p.assigned_at + {window} > known.first_order AND p.assigned_at <= known.last_order THEN 0 ELSE 1 END
           AS uncovered,
         CASE WHEN p.variant <> p.other_variant THEN 'double' WHEN p.assigned_at + {window} <= known.until THEN 'mature'
              ELSE 'open' END AS status,
         COALESCE(b.orders, 0) AS orders, COALESCE(b.revenue, 0) AS revenue,
         COALESCE(b.gross, 0) AS gross, COALESCE(b.gross - b.revenue, 0) AS refunded, {complaints}
         COALESCE(b.before, 0) AS orders_before, COALESCE(b.revenue_before, 0) AS revenue_before,
         COALESCE(b.bad_amounts, 0) AS bad_amounts, caps.revenue_p99, caps.revenue_p99_9
  FROM people AS p CROSS JOIN known CROSS JOIN caps LEFT JOIN bought AS b ON b.unit_id = p.unit_id {joined}
)"""


def _complaints(window: str) -> tuple[str, str]:
    """SQL of a table that counts each person's complaints within the window, and of the column that it brings."""
    table = f"""complained AS (
  SELECT p.unit_id, COUNT(*) AS complaints
  FROM people AS p JOIN {{complaints}} AS o ON CAST(o.customer_id AS VARCHAR) = p.unit_id CROSS JOIN known
  WHERE CAST(o.opened_at AS TIMESTAMP) >= p.assigned_at AND CAST(o.opened_at AS TIMESTAMP) < p.assigned_at + {window}
    AND CAST(o.opened_at AS TIMESTAMP) < known.until
  GROUP BY p.unit_id
)"""
    return table, "COALESCE(c.complaints, 0) AS complaints,"


def _segment(by: str | None) -> tuple[str, str]:
    """SQL of a person's segment, and of the join that brings it."""
    if by is None:
        return "CAST(NULL AS VARCHAR)", ""
    value = f"MIN(CAST({identifier(by)} AS VARCHAR))"
    return f"COALESCE(s.segment, {literal(_UNKNOWN)})", (
        f"LEFT JOIN (SELECT CAST(customer_id AS VARCHAR) AS unit_id, {value} AS segment FROM {{customers}} AS _s"
        " GROUP BY CAST(customer_id AS VARCHAR)) AS s ON s.unit_id = p.unit_id"
    )


def end_sql(as_of: str | dt.date | None) -> str:
    """SQL of the first moment that is no longer known: after a date's end, at a time, or after the last one seen."""
    if as_of is None:
        return (
            "(SELECT MAX(moment) + INTERVAL 1 MICROSECOND FROM (SELECT MAX(CAST(ordered_at AS TIMESTAMP)) AS moment "
            "FROM {orders} AS _o UNION ALL SELECT MAX(CAST(assigned_at AS TIMESTAMP)) FROM {t} AS _a) AS _m)"
        )
    try:
        at = pd.Timestamp(as_of)
    except ValueError as error:
        raise ParameterError(f"as_of: {as_of!r} is no date or time") from error
    whole_day = not isinstance(as_of, dt.datetime) and at == at.normalize()
    return literal(at + pd.Timedelta("1D") if whole_day else at)


def seconds(length: pd.Timedelta) -> str:
    """Return a span as an SQL interval."""
    return f"INTERVAL {round(length.total_seconds())} SECOND"


def money_column(orders: Table) -> str:
    """Return the column of an order's amount: net where there is one."""
    return "net_amount" if "net_amount" in orders.columns else "amount"
