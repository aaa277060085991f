"""A part of a shop: what it means that one looks at a platform, a channel, a host or a region alone.

A row belongs to the part by its own column; where its table has none, by the live session it belongs to; where the
column is one of customers, by the customer it is about. Tables that only say who and what there is (customers,
identities, assignments, contacts, and sessions that do not say the column) stay whole. Of what is left, such as
complaints where platforms are divided, nobody can tell the part, so the part has no such table: no figure of all stands
under the name of a few.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

import duckdb

from clvlib.data.engine import identifier, literal
from clvlib.errors import ParameterError

__all__ = ["COLUMNS", "narrow", "values"]

_OF_CUSTOMERS: Final = ("region", "city", "city_tier", "gender", "income_band")
COLUMNS: Final = ("platform", "channel", "category", "host_id", "script", *_OF_CUSTOMERS)
"""The columns by which a shop is divided: those that mean the same in every table that counts by them."""

_OWN: Final = ("orders", "events", "sessions", "spend", "competitors")  # the channel of a contact is another matter
_WHO: Final = ("customers", "identities", "assignments", "contacts", "sessions")
_PERSON: Final = ("person_id", "unit_id", "referrer_id", "customer_id")  # whom a row is about, the first that is there

Tables = Mapping[str, tuple[str, ...]]


def narrow(connection: duckdb.DuckDBPyConnection, tables: Tables, segment: Mapping[str, str]) -> tuple[str, ...]:
    """Put views of a part in front of the tables, for this connection alone; return the names of what it has.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        One of its own, as views in front of tables are seen by one connection only.
    tables : mapping
        Columns by table, of the whole shop.
    segment : mapping
        Value by column; empty text where it is not known.

    Raises
    ------
    ParameterError
        A shop is not divided so, or there is neither order nor event.
    """
    for column in segment:
        _refuse(tables, column)
    store = _store(connection)
    kept = []
    for name in tables:
        found = [_condition(tables, name, column, value, store) for column, value in segment.items()]
        sql = " AND ".join(f"({condition})" for condition in found if condition)
        connection.execute(
            f"CREATE TEMP VIEW {identifier(name)} AS SELECT * FROM {store}.{identifier(name)} WHERE {sql or 'TRUE'}"
        )
        if not sql or connection.execute(f"SELECT 1 FROM {identifier(name)} LIMIT 1").fetchall():
            kept.append(name)
    if not {"orders", "events"} & set(kept):
        raise ParameterError(_nobody(connection, tables, segment))
    return tuple(kept)


def values(connection: duckdb.DuckDBPyConnection, tables: Tables) -> dict[str, tuple[str, ...]]:
    """Return by which columns the tables are divided and into what, the most frequent first, empty text last."""
    divided = {}
    for column in COLUMNS:
        if _holders(tables, column):
            named = _named(connection, tables, column)
            unknown = [""] if _any(connection, tables, column, "") else []
            if len(named) + len(unknown) > 1:
                divided[column] = (*named, *unknown)
    return divided


def _store(connection: duckdb.DuckDBPyConnection) -> str:
    """Return what the tables themselves are called, whatever views stand before them."""
    name = connection.execute("SELECT current_database()").fetchall()[0][0]
    return f"{identifier(name)}.main"


def _holders(tables: Tables, column: str) -> list[str]:
    """Return the tables whose own column decides."""
    names = ("customers",) if column in _OF_CUSTOMERS else _OWN
    return [name for name in names if column in tables.get(name, ())]


def _named(connection: duckdb.DuckDBPyConnection, tables: Tables, column: str) -> list[str]:
    store, own = _store(connection), identifier(column)
    holders = [name for name in _holders(tables, column) if name in {"orders", "events", "sessions", "customers"}]
    if not holders:
        return []
    counts = " UNION ALL ".join(f"SELECT {own} AS v, count(*) AS n FROM {store}.{name} GROUP BY 1" for name in holders)
    rows = connection.execute(
        f"SELECT v FROM ({counts}) WHERE coalesce(v, '') <> '' GROUP BY v ORDER BY sum(n) DESC, v"
    ).fetchall()
    return [str(row[0]) for row in rows]


def _any(connection: duckdb.DuckDBPyConnection, tables: Tables, column: str, value: str) -> bool:
    store = _store(connection)
    for name in ("orders", "events"):
        if name in tables:
            condition = _condition(tables, name, column, value, store)
            if connection.execute(f"SELECT 1 FROM {store}.{name} WHERE {condition} LIMIT 1").fetchall():
                return True
    return False


def _condition(tables: Tables, name: str, column: str, value: str, store: str) -> str:
    """Return which rows of a table are of the part: empty where all are, FALSE where nobody can tell."""
    if name in _holders(tables, column):
        return f"coalesce({identifier(column)}, '') = {literal(value)}"
    if column in _OF_CUSTOMERS:
        person = next((key for key in _PERSON if key in tables[name]), "")
        if person:
            return _linked(person, _people(tables, column, value, store), value)
    elif "session_id" in tables[name] and column in tables.get("sessions", ()):
        sessions = f"SELECT session_id FROM {store}.sessions WHERE {_says(column, value)}"
        return _linked("session_id", sessions, value)
    return "" if name in _WHO else "FALSE"


def _says(column: str, value: str) -> str:
    """Hold for the rows that say the value; for empty text, for those that say any."""
    own = f"coalesce({identifier(column)}, '')"
    return f"{own} = {literal(value)}" if value else f"{own} <> ''"


def _linked(key: str, known: str, value: str) -> str:
    inside = f"coalesce({identifier(key)} IN ({known}), FALSE)"
    return inside if value else f"NOT {inside}"


def _people(tables: Tables, column: str, value: str, store: str) -> str:
    """Return the ids of the customers in question, those that they have elsewhere too, as far as these are theirs."""
    named = f"SELECT customer_id FROM {store}.customers WHERE {_says(column, value)}"
    if "identities" not in tables:
        return named
    one = (
        f"SELECT source_id, min(customer_id) AS customer_id FROM {store}.identities GROUP BY source_id "
        "HAVING count(DISTINCT customer_id) = 1"
    )
    return (
        f"{named} AND customer_id NOT IN (SELECT source_id FROM ({one})) "
        f"UNION ALL SELECT source_id FROM ({one}) WHERE customer_id IN ({named})"
    )


def _refuse(tables: Tables, column: str) -> None:
    if column not in COLUMNS:
        near = get_close_matches(column, COLUMNS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it is by {', '.join(COLUMNS)}"
        raise ParameterError(f"a shop is not divided by {column!r}; {hint}")
    if not _holders(tables, column):
        raise ParameterError(f"no table of this shop says the {column}")


def _nobody(connection: duckdb.DuckDBPyConnection, tables: Tables, segment: Mapping[str, str]) -> str:
    """Say what nothing was found for, and what there is."""
    asked = " and ".join(f"{column} = {value!r}" for column, value in segment.items())
    for column, value in segment.items():
        there = _named(connection, tables, column)
        if value and value not in there:
            near = get_close_matches(value, there, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(there[:10])}"
            return f"no order or event has {asked}; {hint}"
    return f"no order or event has {asked}"
