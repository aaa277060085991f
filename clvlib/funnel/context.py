"""What an event is about: the product's category, and the live session's host, script and topic."""

from __future__ import annotations

import pandas as pd

from clvlib.data.engine import Table, identifier
from clvlib.data.together import together

__all__ = ["with_context"]

_SESSION = ("host_id", "script", "topic")


def with_context(
    events: Table | pd.DataFrame,
    orders: Table | pd.DataFrame | None = None,
    sessions: Table | pd.DataFrame | None = None,
) -> Table:
    """Add columns to break a funnel down by; nothing is computed until the table is queried.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        With ``product_id`` and ``session_id``, as far as it has them.
    orders : Table or pandas.DataFrame, optional
        Where it has ``product_id`` and ``category``, each product's most frequent category there is added as
        ``category``.
    sessions : Table or pandas.DataFrame, optional
        What it has of ``host_id``, ``script`` and ``topic`` is added by ``session_id``.

    Returns
    -------
    Table
        A row per event; what is not known is missing, which a funnel shows as ``unknown``.

    Examples
    --------
    >>> log = pd.DataFrame({"person_id": ["a", "a"], "product_id": ["p1", "p2"]})
    >>> sold = pd.DataFrame({"product_id": ["p1"], "category": ["beauty"]})
    >>> with_context(log, sold).query("SELECT product_id, category FROM {t} ORDER BY 1")
      product_id category
    0         p1   beauty
    1         p2      NaN
    """
    tables = together(events=events, orders=orders, sessions=sessions)
    log = tables["events"]
    added: list[str] = []
    joins = ""
    if "orders" in tables and "product_id" in log.columns and {"product_id", "category"} <= {*tables["orders"].columns}:
        added += [] if "category" in log.columns else ["category"]
        joins += (
            " LEFT JOIN (SELECT product_id, category FROM (SELECT product_id, category, row_number() OVER"
            " (PARTITION BY product_id ORDER BY COUNT(*) DESC, category) AS place"
            f" FROM {tables['orders'].relation} AS o WHERE product_id IS NOT NULL AND category IS NOT NULL"
            " GROUP BY product_id, category) AS c WHERE place = 1) AS p USING (product_id)"
        )
    if "sessions" in tables and "session_id" in log.columns:
        names = [c for c in _SESSION if c in tables["sessions"].columns and c not in log.columns]
        added += names
        chosen = ", ".join(["session_id", *(f"MIN({c}) AS {c}" for c in names)])
        joins += (
            f" LEFT JOIN (SELECT {chosen} FROM {tables['sessions'].relation} AS s WHERE session_id IS NOT NULL"
            " GROUP BY session_id) AS s USING (session_id)"
        )
    columns = ", ".join([*(f"e.{identifier(c)}" for c in log.columns), *added])
    relation = f"(SELECT {columns} FROM {log.relation} AS e{joins})"
    return Table(log.engine, log.name, relation, (*log.columns, *added))
