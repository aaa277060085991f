"""What an event is about: the product's category, and the live session's host, script and topic."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import pandas as pd

from clvlib.data.engine import DuckDBEngine, Table, identifier, literal, register
from clvlib.data.together import together
from clvlib.errors import ParameterError
from clvlib.words import mark

__all__ = ["Snapshot", "computed_once", "derived", "with_common", "with_context", "with_history", "with_personas"]

_NEW, _RETURNING, _OTHER = mark("new"), mark("returning"), mark("other")

_MOST = 20_000_000  # rows that are held twice
_number = count()
_SESSION = ("host_id", "script", "topic")


@dataclass(frozen=True)
class Snapshot(Table):
    """Rows that nobody else knows of, so that nothing can change them: what was learnt of them once stays true.

    Attributes
    ----------
    logs : dict of tuple of str to pandas.DataFrame
        What :func:`clvlib.funnel.keys.read_log` has found, by the columns that say who walks.
    tables : dict of str to Snapshot
        What :func:`derived` has computed, by its SQL.
    """

    logs: dict[tuple[str, ...], pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)
    tables: dict[str, Snapshot] = field(default_factory=dict, repr=False, compare=False)


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
    sold = {*tables["orders"].columns} if "orders" in tables else set()
    if "category" not in log.columns and "product_id" in log.columns and {"product_id", "category"} <= sold:
        added += ["category"]
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


def with_history(events: Table, orders: Table) -> Table:
    """Add ``new_or_returning``: whether the person had bought before the ISO week of the event.

    Parameters
    ----------
    events : Table
        With ``person_id`` and ``occurred_at``.
    orders : Table
        Of the same shop, all of them: ``customer_id`` and ``ordered_at``; where there is a column ``is_purchase`` only
        its rows count. Whoever is not in it, under the id that the event has, is new.
    """
    bought = "WHERE is_purchase" if "is_purchase" in orders.columns else ""
    relation = (
        f"(SELECT e.*, CASE WHEN first_order < date_trunc('week', e.occurred_at) THEN {literal(_RETURNING)}"
        f" ELSE {literal(_NEW)} END AS new_or_returning FROM {events.relation} AS e LEFT JOIN (SELECT customer_id,"
        f" MIN(ordered_at) AS first_order FROM {orders.relation} AS o {bought} GROUP BY customer_id) AS o"
        " ON o.customer_id = e.person_id)"
    )
    return Table(events.engine, events.name, relation, (*events.columns, "new_or_returning"))


def with_common(events: Table, column: str, name: str, condition: str, fewest: int, most: int = 20) -> Table:
    """Add a column that keeps the levels of another which enough people have, and takes the rest as ``other``.

    Parameters
    ----------
    events : Table
        With ``person_id``.
    column, name : str
        The column, and what the new one is called.
    condition : str
        SQL: which events are counted.
    fewest : int
        People that a level needs.
    most : int
        How many levels are kept, those with most people.

    Returns
    -------
    Table
        As it was where no level has enough.
    """
    quoted = identifier(column)
    counts = events.query(
        f"SELECT CAST({quoted} AS VARCHAR) AS name, COUNT(DISTINCT person_id) AS n FROM {{t}} AS e WHERE {condition}"
        f" AND {quoted} IS NOT NULL GROUP BY 1 HAVING COUNT(DISTINCT person_id) >= {int(fewest)}"
        f" ORDER BY n DESC, name LIMIT {int(most)}"
    )
    if counts.empty:
        return events
    relation = (
        f"(SELECT *, CASE WHEN {quoted} IS NULL OR CAST({quoted} AS VARCHAR) IN {literal(counts['name'].tolist())}"
        f" THEN CAST({quoted} AS VARCHAR) ELSE {literal(_OTHER)} END AS {identifier(name)} FROM {events.relation} AS e)"
    )
    return Table(events.engine, events.name, relation, (*events.columns, name))


def with_personas(events: Table, personas: pd.Series) -> Table:
    """Add ``persona`` by ``person_id``; of those who have none it is not known.

    Parameters
    ----------
    events : Table
        In DuckDB.
    personas : pandas.Series
        Index person, values persona.

    Raises
    ------
    ParameterError
        The events lie on another engine, or a person has two personas.
    """
    if not isinstance(events.engine, DuckDBEngine):
        raise ParameterError("personas: they can be joined to events in DuckDB alone")
    if personas.index.has_duplicates:
        raise ParameterError("personas: a person has more than one")
    frame = pd.DataFrame({"person_id": personas.index.astype("str"), "persona": personas.astype("str").to_numpy()})
    register(events.engine.connection, "_personas", frame)
    relation = f"(SELECT e.*, p.persona FROM {events.relation} AS e LEFT JOIN _personas AS p USING (person_id))"
    return Table(events.engine, events.name, relation, (*events.columns, "persona"))


def computed_once(events: Table) -> Table:
    """Return a table of the same rows that is not joined again for each of many queries, as long as it is small.

    Parameters
    ----------
    events : Table
        Of more than 20 million rows, or on another engine than DuckDB, it comes back as it is.
    """
    if (
        not isinstance(events.engine, DuckDBEngine)
        or events.query("SELECT COUNT(*) AS n FROM {t}")["n"].iloc[0] > _MOST
    ):
        return events
    return _stored(events.engine, events)


def derived(table: Table, name: str, columns: tuple[str, ...], sql: str) -> Table:
    """Return what a query says of a table as a table; of a snapshot it is computed once, however often it is asked.

    Parameters
    ----------
    table : Table
        What ``{t}`` stands for.
    name : str
        What to call the rows in messages.
    columns : tuple of str
        The columns that ``sql`` returns.
    sql : str
        The query.
    """
    asked = Table(table.engine, name, f"({sql.format(t=table.relation)})", columns)
    if not (isinstance(table, Snapshot) and isinstance(table.engine, DuckDBEngine)):
        return asked
    if sql not in table.tables:
        table.tables[sql] = _stored(table.engine, asked)
    return table.tables[sql]


def _stored(engine: DuckDBEngine, table: Table) -> Snapshot:
    name = f"_computed_{next(_number)}"
    engine.connection.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM {table.relation} AS e")
    return Snapshot(engine, table.name, name, table.columns)
