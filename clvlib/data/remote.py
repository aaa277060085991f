"""Tables that lie elsewhere: in a database that SQLAlchemy reaches by a URL, or behind an Ibis backend.

Each table is streamed once, in batches, into Parquet beside the checked tables; memory holds one batch. What
SQLAlchemy yields is written as text, as a CSV file would hold it, so that a column of mixed types (SQLite has them)
is judged by the contract, row by row, and money in ``NUMERIC`` keeps every digit.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from clvlib.data.config import TableConfig
from clvlib.data.engine import identifier
from clvlib.data.reader import RawPart, raw_part
from clvlib.errors import ConfigError, DataError, EngineError

__all__ = ["UrlSource", "is_remote", "is_url", "remote_source", "without_password"]

_BATCH = 50_000  # rows
_URL = re.compile(r"[A-Za-z][\w+.-]*://")
_PASSWORD = re.compile(r"(://[^:/@]*:)([^@/]*)(?=@)")
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


def is_url(source: Any) -> bool:
    """Whether a source is the URL of a database.

    >>> is_url("postgresql://host/shop"), is_url("data/sample"), is_url("sqlite:///shop.db")
    (True, False, True)
    """
    return isinstance(source, str) and bool(_URL.match(source))


def is_backend(source: Any) -> bool:
    """Whether a source is an Ibis backend, such as ``ibis.pyspark.connect(session)``."""
    return all(callable(getattr(source, name, None)) for name in ("list_tables", "table"))


def is_remote(source: Any) -> bool:
    """Whether a source is a database that answers from where it is."""
    return is_url(source) or is_backend(source) or isinstance(source, duckdb.DuckDBPyConnection)


def remote_source(source: Any) -> UrlSource | OpenDuckDB | BackendSource:
    """Return what reads it."""
    if is_url(source):
        return UrlSource(source)
    held = getattr(source, "con", None) if is_backend(source) else source
    return OpenDuckDB(held) if isinstance(held, duckdb.DuckDBPyConnection) else BackendSource(source)


def without_password(source: str) -> str:
    """Write a URL as it may be shown: a password is left out, the name of a variable that holds it is not.

    >>> without_password("mysql+pymysql://ann:secret@db/shop"), without_password("mysql://ann:$SHOP_KEY@db/shop")
    ('mysql+pymysql://ann:***@db/shop', 'mysql://ann:$SHOP_KEY@db/shop')
    """
    return _PASSWORD.sub(lambda m: m[1] + (m[2] if _VARIABLE.fullmatch(m[2]) else "***"), source)


def _filled_in(url: str) -> str:
    """Put the values of variables of the environment into a URL, so that it need not hold a password."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise ConfigError(f"{without_password(url)}: the environment has no variable {name}")
        return os.environ[name]

    return _VARIABLE.sub(value, url)


class _Streamed(ABC):
    """A source whose tables come in batches, and are kept in the scratch folder until they are checked."""

    def attach(self, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
        """Remember who reads, and where copies go."""
        self.connection, self.scratch = connection, scratch

    def parts(self, table: str, config: TableConfig, number: int) -> list[RawPart]:
        """Return the table of that name, or of the name in ``files``."""
        name = config.files or table
        if not self._has(name):
            if config.files:
                raise DataError(f"{table}: the database has no table {name!r}")
            return []
        file = self.scratch / f"{number}-{table}.parquet"
        writer: pq.ParquetWriter | None = None
        try:
            for batch in self._batches(name):
                writer = writer or pq.ParquetWriter(file, batch.schema)
                writer.write_batch(batch)
        finally:
            if writer is not None:
                writer.close()
        return [replace(raw_part(self.connection, file, config, self.scratch, number), name=name)]

    @abstractmethod
    def _has(self, name: str) -> bool:
        """Whether there is a table or view of that name, perhaps with its schema before a point."""

    @abstractmethod
    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        """Yield its rows; one batch at least, which says the columns."""


class BackendSource(_Streamed):
    """An Ibis backend: Spark, a warehouse, or whatever else Ibis speaks to.

    Parameters
    ----------
    backend : ibis.backends.BaseBackend
        Connected; it stays open and its owner's.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    @property
    def name(self) -> str:
        """What it is called, for people."""
        return str(getattr(self.backend, "name", type(self.backend).__name__))

    def _has(self, name: str) -> bool:
        schema, _, table = name.rpartition(".")
        return table in self.backend.list_tables(**({"database": schema} if schema else {}))

    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        schema, _, table = name.rpartition(".")
        found = self.backend.table(table, **({"database": schema} if schema else {}))
        reader = found.to_pyarrow_batches(chunk_size=_BATCH)
        yield pa.RecordBatch.from_pylist([], schema=reader.schema)
        yield from reader


class OpenDuckDB(_Streamed):
    """A connection to DuckDB that its owner holds open.

    Ibis' backend for DuckDB has one, and reading it takes no part of Ibis, which lags behind new versions of DuckDB.
    """

    name = "duckdb"

    def __init__(self, owned: duckdb.DuckDBPyConnection) -> None:
        self.owned = owned

    def _has(self, name: str) -> bool:
        try:
            self.owned.sql(f"SELECT * FROM {_quoted(name)} LIMIT 0")
        except duckdb.CatalogException:
            return False
        return True

    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        reader = pa.RecordBatchReader.from_stream(self.owned.sql(f"SELECT * FROM {_quoted(name)}"))
        yield pa.RecordBatch.from_pylist([], schema=reader.schema)
        yield from reader


def _quoted(name: str) -> str:
    return ".".join(identifier(part) for part in name.split("."))


class UrlSource(_Streamed):
    """A database that SQLAlchemy reaches.

    Parameters
    ----------
    url : str
        As SQLAlchemy writes it; ``$NAME`` stands for a variable of the environment.

    Raises
    ------
    ConfigError
        SQLAlchemy or the database's driver is not installed, or the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.url = without_password(url)
        try:
            import sqlalchemy
        except ImportError:
            raise ConfigError(
                f"{self.url}: to read from a database, install clvlib-livestream[sql] and the driver of the database"
            ) from None
        self._sql = sqlalchemy
        try:
            self._engine = sqlalchemy.create_engine(_filled_in(url))
        except ImportError as error:
            raise ConfigError(f"{self.url}: the driver of the database is not installed ({error})") from None
        except sqlalchemy.exc.ArgumentError:
            raise ConfigError(f"{self.url}: is no URL of a database, such as postgresql+psycopg://host/shop") from None

    @property
    def name(self) -> str:
        """What it is called, for people."""
        return str(self._engine.url.database or self._engine.url.host or self._engine.dialect.name)

    def _refusal(self, error: Exception) -> EngineError:
        return EngineError(f"{self.url}: {str(getattr(error, 'orig', error)).strip().splitlines()[0]}")

    def _has(self, name: str) -> bool:
        schema, _, table = name.rpartition(".")
        try:
            return bool(self._sql.inspect(self._engine).has_table(table, schema=schema or None))
        except self._sql.exc.SQLAlchemyError as error:
            raise self._refusal(error) from None

    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        schema, _, short = name.rpartition(".")
        streaming = {"stream_results": True, "yield_per": _BATCH}
        try:
            with self._engine.connect() as connection:
                table = self._sql.Table(short, self._sql.MetaData(), schema=schema or None, autoload_with=connection)
                # text columns as they lie: what is no time in a column of times is for the contract to judge
                columns = [_as_it_lies(self._sql, column) for column in table.columns]
                rows = connection.execution_options(**streaming).execute(self._sql.select(*columns))
                names = [column.name for column in table.columns]
                yield _texts(names, [])
                for part in rows.partitions(_BATCH):
                    yield _texts(names, part)
        except self._sql.exc.SQLAlchemyError as error:
            raise self._refusal(error) from None
        finally:
            self._engine.dispose()


def _as_it_lies(sql: Any, column: Any) -> Any:
    """Keep SQLAlchemy from parsing what SQLite holds as text, since it would stop at the first value that is none."""
    kept = (sql.DateTime, sql.Date, sql.Numeric, sql.Boolean)
    return sql.type_coerce(column, sql.types.NullType()).label(column.name) if isinstance(column.type, kept) else column


def _texts(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    arrays = [pa.array([_text(value) for value in column], pa.string()) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


def _text(value: Any) -> str | None:
    """Write a value as a CSV file would hold it.

    >>> [_text(v) for v in (None, Decimal("1E+2"), 0.1, True, dt.datetime(2026, 11, 15, 20, 5), b"ab")]
    [None, '100', '0.1', 'true', '2026-11-15 20:05:00', 'ab']
    """
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case dt.datetime():
            return value.isoformat(sep=" ")
        case bytes():
            return value.decode(errors="replace")
        case _:
            return str(value)
