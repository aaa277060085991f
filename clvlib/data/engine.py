"""The seam between the analyses and the place where the data lie.

An analysis states its question as SQL over named tables and receives a small frame. The SQL is written in DuckDB's
dialect, in the subset that sqlglot carries over to Spark and to the usual warehouses: window functions, ``CASE``,
``GROUP BY``, casts and plain arithmetic. ``ARG_MIN``, ``ASOF`` joins, list functions and the like stay inside
:mod:`clvlib.data.prepare`, which only ever runs on DuckDB. Why SQL and not Ibis: see ``clvlib/OPINIONS.md``.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pandas as pd

from clvlib.errors import EngineError, MissingColumnError, ParameterError

__all__ = ["THREADS", "DuckDBEngine", "Engine", "Table", "as_table", "identifier", "literal", "opened", "register"]

THREADS = "CLVLIB_THREADS"  # environment variable: how many threads a query may use; default: one per core


def opened(path: str | Path = ":memory:", *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a database that draws no bars, and never reaches for the network, as DuckDB does for an extension.

    Parameters
    ----------
    path : str or pathlib.Path
        A file, or ``:memory:``.
    read_only : bool
        Whether the file is only read.
    """
    config: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    if os.environ.get(THREADS, "").isdecimal():
        config["threads"] = max(1, int(os.environ[THREADS]))
    connection = duckdb.connect(str(path), read_only=read_only, config=config)
    connection.execute("SET enable_progress_bar = false")  # on in Jupyter, where bars would stand in a chapter
    return connection


class Engine(Protocol):
    """Whatever can answer a query: DuckDB inside the process, or a warehouse behind a transpiler."""

    def query(self, sql: str) -> pd.DataFrame:
        """Run one statement in DuckDB's dialect and return its rows."""
        ...

    def columns(self, relation: str) -> dict[str, str]:
        """Names and types of a relation's columns, in their order."""
        ...


class DuckDBEngine:
    """DuckDB inside this process.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection, optional
        An open connection; without one, a new database in memory.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        self.connection = opened() if connection is None else connection

    def query(self, sql: str) -> pd.DataFrame:
        """Run one statement and return its rows; ``DECIMAL`` comes back as float.

        Raises
        ------
        EngineError
            What the engine said, in one line, with the query behind it.
        """
        try:
            frame: pd.DataFrame = self.connection.execute(sql).df()
        except duckdb.Error as error:
            raise EngineError(f"{str(error).splitlines()[0]}\nin the query: {sql}") from error
        return frame

    def columns(self, relation: str) -> dict[str, str]:
        """Names and types of a relation's columns, in their order."""
        rows = self.connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
        return {str(row[0]): str(row[1]) for row in rows}


@dataclass(frozen=True)
class Table:
    """A table of the contract, wherever it lies; cheap to pass around, never the rows themselves.

    Attributes
    ----------
    engine : Engine
        Who answers queries about it.
    name : str
        Its name in the contract, for messages.
    relation : str
        What stands for it in SQL.
    columns : tuple of str
        The columns that it has.
    """

    engine: Engine
    name: str
    relation: str
    columns: tuple[str, ...]

    def query(self, sql: str, **others: Table) -> pd.DataFrame:
        """Answer ``sql``, in which ``{t}`` stands for this table and ``{name}`` for each of ``others``."""
        relations = {name: other.relation for name, other in others.items()}
        return self.engine.query(sql.format(t=self.relation, **relations))

    def require(self, *columns: str) -> Table:
        """Return itself when all ``columns`` are there.

        Raises
        ------
        MissingColumnError
            It names the missing columns and those that the table has.
        """
        missing = [column for column in columns if column not in self.columns]
        if missing:
            raise MissingColumnError(
                f"{self.name}: column {', '.join(missing)} is needed here; the table has {', '.join(self.columns)}",
                *(f"{self.name}.{column}" for column in missing),
            )
        return self

    def where(self, condition: str) -> Table:
        """Return the rows for which the SQL ``condition`` holds, as a table."""
        relation = f"(SELECT * FROM {self.relation} AS _t WHERE {condition})"
        return Table(self.engine, self.name, relation, self.columns)


def register(connection: duckdb.DuckDBPyConnection, name: str, frame: Any) -> None:
    """Let a connection scan a frame in place; a copy of it where its memory runs backwards, as after ``iloc[::-1]``.

    Frames of others (pyarrow, polars, a relation of DuckDB) are taken as the Arrow tables that they are or make.
    """
    if not isinstance(frame, pd.DataFrame):
        import pyarrow as pa  # slow to import, and pandas frames do without

        connection.register(name, pa.table(frame))
        return
    try:
        connection.register(name, frame)
    except duckdb.Error:
        connection.register(name, frame.copy())


def as_table(data: Table | pd.DataFrame, name: str, *required: str) -> Table:
    """Let an analysis accept a table of a shop or a pandas frame alike.

    Parameters
    ----------
    data : Table or pandas.DataFrame
        The rows. A frame is scanned in place, not copied.
    name : str
        What to call it in messages.
    *required : str
        Columns that must be there.

    Raises
    ------
    MissingColumnError
        A required column is absent.
    ParameterError
        ``data`` is neither.
    """
    if isinstance(data, Table):
        return data.require(*required)
    if not isinstance(data, pd.DataFrame):
        raise ParameterError(f"{name}: expected a table of a shop or a pandas.DataFrame, found {type(data).__name__}")
    engine = DuckDBEngine()
    register(engine.connection, "frame", data)
    return Table(engine, name, "frame", tuple(str(c) for c in data.columns)).require(*required)


def identifier(name: str) -> str:
    """Quote a column or table name for SQL.

    >>> identifier('收货地址 ')
    '"收货地址 "'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """Write a Python value as an SQL literal.

    >>> literal("O'Hara"), literal(dt.date(2026, 11, 15)), literal([1, 2.5])
    ("'O''Hara'", "DATE '2026-11-15'", '(1, 2.5)')
    """
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int, float, Decimal)):
        return str(value).upper() if isinstance(value, bool) else str(value)
    if isinstance(value, dt.date):  # a datetime or pandas.Timestamp is one too
        kind = "TIMESTAMP" if isinstance(value, dt.datetime) else "DATE"
        return f"{kind} '{value.isoformat().replace('T', ' ')}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, Sequence) and not isinstance(value, Mapping):
        return "(" + ", ".join(literal(item) for item in value) + ")"
    raise ParameterError(f"no SQL literal for a {type(value).__name__}")
