"""``clv.connect``: a shop from a folder, a file, a ``clvlib.toml``, a database or frames in memory."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from clvlib.data import datasets, segment, summary
from clvlib.data.calendar import Week, as_date, week_span
from clvlib.data.config import Config, TableConfig, parse_config, read_config
from clvlib.data.contract import CONTRACT
from clvlib.data.covariates import add_covariates
from clvlib.data.engine import DuckDBEngine, Table, identifier, literal, opened
from clvlib.data.prepare import prepare
from clvlib.data.quality import Quality, read_quality
from clvlib.data.reader import RawPart
from clvlib.data.remote import UrlSource, is_remote, is_url, remote_source
from clvlib.data.scratch import Scratch
from clvlib.data.sources import DatabaseSource, FileSource, FolderSource, FrameSource, Source
from clvlib.errors import (
    ClvError,
    ConfigError,
    DataError,
    EmptyDataError,
    EngineError,
    MissingTableError,
    ParameterError,
)

__all__ = ["Shop", "connect"]

_STORE_VERSION = 1


class Shop:
    """A shop's checked tables, and the questions that they answer. Made by :func:`connect`.

    Attributes
    ----------
    config : Config
        Its settings.
    source : str
        What it was connected to, for people.
    tables : tuple of str
        The tables that it has, in the order of the contract.
    folder : Path or None
        Where what belongs to the shop lies beside its tables, such as plans of experiments: the folder that it was
        connected to, or that of the file; None for frames.
    whole : Shop
        Itself, or the shop that it is a part of.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        config: Config,
        source: str,
        scratch: Scratch | None = None,
        whole: Shop | None = None,
        folder: Path | None = None,
    ) -> None:
        self.config = config
        self.source = source
        self.folder = folder
        self._whole = whole
        self._engine = DuckDBEngine(connection)
        self._tables: dict[str, Table] = {}  # those that were asked for: to look up columns takes a query
        self._finish = weakref.finalize(self, _clear, connection, scratch)
        there = {str(row[0]) for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        self.tables = tuple(name for name in (*CONTRACT, "refunds") if name in there)

    def __repr__(self) -> str:
        return f"<Shop {self.name}: {', '.join(self.tables)}>"

    @property
    def name(self) -> str:
        """Its name, for titles."""
        return self.config.name or Path(self.source).stem or self.source

    @property
    def is_sample(self) -> bool:
        """Whether the data are made up."""
        return self.config.sample

    def has(self, *names: str) -> bool:
        """Whether all the named tables, or columns written ``table.column``, are there.

        >>> orders = pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2026-01-05"], "amount": [9]})
        >>> shop = connect({"orders": orders})
        >>> shop.has("orders", "orders.amount"), shop.has("orders.platform"), shop.has("events")
        (True, False, False)
        """
        for name in names:
            table, _, column = name.partition(".")
            if table not in self.tables or (column and column not in self.table(table).columns):
                return False
        return True

    def table(self, name: str) -> Table:
        """Return a table of the contract, or ``refunds``.

        Raises
        ------
        MissingTableError
            This shop does not have it.
        """
        if name not in self.tables:
            raise MissingTableError(f"this shop has no table {name!r}; it has {', '.join(self.tables)}", name)
        if name not in self._tables:
            relation = identifier(name)
            self._tables[name] = Table(self._engine, name, relation, tuple(self._engine.columns(relation)))
        return self._tables[name]

    def query(self, sql: str) -> pd.DataFrame:
        """Answer an SQL question over the tables, for exploring.

        Raises
        ------
        ParameterError
            It is no question but a command, such as UPDATE or DROP: what was checked stays as it is.
        EngineError
            What the engine said.

        Examples
        --------
        >>> orders = pd.DataFrame({"customer_id": ["a", "a"], "ordered_at": "2026-01-05", "amount": [9, 5]})
        >>> connect(orders).query("SELECT customer_id, sum(amount) AS spent FROM orders GROUP BY 1").values.tolist()
        [['a', 14.0]]
        """
        _check_asks(sql)
        return self._engine.query(sql)

    @property
    def whole(self) -> Shop:
        """Itself, or the shop that it is a part of."""
        return self._whole or self

    def where(self, **columns: str) -> Shop:
        """Return a part of this shop, or itself where nothing is asked for.

        Parameters
        ----------
        **columns : str
            Value by column, such as ``platform="Douyin"``; empty text where it is not known. What there is to choose
            from says :meth:`segments`, and :mod:`clvlib.data.segment` what a part means for each table.

        Raises
        ------
        ParameterError
            A shop is not divided by such a column, or the part has neither order nor event.

        Examples
        --------
        >>> orders = pd.DataFrame({"customer_id": ["a", "b"], "ordered_at": ["2026-01-05", "2026-01-06"],
        ...                        "amount": [9, 5], "platform": ["Douyin", "Kuaishou"]})
        >>> connect({"orders": orders}).where(platform="Douyin").customer_summary().index.tolist()
        ['a']
        """
        if not columns:
            return self
        if self._whole is not None:
            raise ParameterError(f"this is a part of a shop already ({self.name}); name all columns in one call")
        connection = self._engine.connection.cursor()
        kept = segment.narrow(connection, self._columns, columns)
        said = ", ".join(f"{column} = {value or '?'}" for column, value in columns.items())
        config = replace(self.config, name=f"{self.name}, {said}", as_of=self.data_until)
        part = Shop(connection, config, self.source, whole=self, folder=self.folder)
        part.tables = kept
        return part

    def segments(self) -> dict[str, tuple[str, ...]]:
        """Return by which columns :meth:`where` can divide the shop, and into what, the most frequent first."""
        return segment.values(self.whole._engine.connection, self.whole._columns)  # noqa: SLF001 - it is a shop too

    @property
    def _columns(self) -> dict[str, tuple[str, ...]]:
        return {name: self.table(name).columns for name in self.tables}

    def quality(self) -> Quality:
        """Return what the checks found: rows kept and quarantined, why, and sums that reconcile."""
        return read_quality(self._engine, self.data_until)

    def quarantine(self, table: str | None = None) -> pd.DataFrame:
        """Return the rows set aside: table, file, row, reason, example, amount and the row as it was read."""
        where = f' WHERE "table" = {literal(table)}' if table else ""
        return self._engine.query(f'SELECT * FROM _quarantine{where} ORDER BY "table", file, "row"')

    def customer_summary(
        self,
        as_of: str | dt.date | None = None,
        unit: summary.Unit = "W",
        collapse: summary.Collapse = "D",
        *,
        compressed: bool = False,
        litt: bool = False,
        spend: bool | None = None,
        covariates: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Return frequency, recency, T, monetary_value and spend per customer, and columns of the table customers.

        See :func:`clvlib.data.summary.customer_summary`; without ``as_of``, up to the last day of the data. Text that
        is not known of a customer in ``covariates`` is "unknown".
        """
        if compressed and covariates:
            raise ParameterError(
                "covariates are of customers, and a compressed summary has none; ask without compressed"
            )
        until = self.data_until if as_of is None else as_of
        found = summary.customer_summary(
            self.table("orders"), until, unit, collapse, compressed=compressed, litt=litt, spend=spend
        )
        return self._with_covariates(found, covariates)

    def _with_covariates(self, found: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
        return add_covariates(found, self.table("customers"), covariates) if len(covariates) else found

    def calibration_holdout(
        self,
        split: str | dt.date,
        as_of: str | dt.date | None = None,
        unit: summary.Unit = "W",
        collapse: summary.Collapse = "D",
        *,
        litt: bool = False,
        covariates: Sequence[str] = (),
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the summary up to ``split`` and what came after.

        See :func:`clvlib.data.summary.calibration_holdout`; without ``as_of``, up to the last day of the data.
        ``covariates`` are as in :meth:`customer_summary`.
        """
        until = self.data_until if as_of is None else as_of
        known, later = summary.calibration_holdout(self.table("orders"), split, until, unit, collapse, litt=litt)
        return self._with_covariates(known, covariates), later

    def _days(self, table: str, column: str) -> tuple[dt.date, dt.date]:
        day = f"CAST({column} AS DATE)"
        span = self.query(f"SELECT CAST(min({day}) AS VARCHAR) AS a, CAST(max({day}) AS VARCHAR) AS b FROM {table}")
        return dt.date.fromisoformat(span["a"].iloc[0]), dt.date.fromisoformat(span["b"].iloc[0])

    @cached_property
    def date_range(self) -> tuple[dt.date, dt.date]:
        """First and last day with an order; with an event, in a shop that has no orders.

        Raises
        ------
        MissingTableError
            It has neither.
        """
        if self.has("orders"):
            return self._days("orders", "ordered_at")
        if not self.has("events"):
            raise MissingTableError(f"this shop has neither orders nor events; it has {', '.join(self.tables)}")
        return self._days("events", "occurred_at")

    @cached_property
    def data_until(self) -> dt.date:
        """The last day that the data speak of: as configured, or else the last with an order or an event."""
        if self.config.as_of is not None:
            return self.config.as_of
        last = self.date_range[1]
        return max(last, self._days("events", "occurred_at")[1]) if self.has("events") else last

    def week(self, label: str | None = None) -> Week:
        """Return a week of the data; without a label the last complete one.

        Raises
        ------
        ParameterError
            There is no such week, it is several, or the data do not reach it.
        """
        weeks = self.weeks(label or "")
        if len(weeks) > 1:
            raise ParameterError(f"{label!r} is more than one week")
        return weeks[0]

    def weeks(self, span: str = "") -> list[Week]:
        """Return weeks of the data: one, or several such as ``2026-W20..2026-W46``, ``W20..W46`` being the last such.

        Raises
        ------
        ParameterError
            There are no such weeks, or the data do not reach them.
        """
        first, last = self.date_range[0], self.data_until
        complete = Week.containing(last + dt.timedelta(days=1)).previous
        if not span:
            if complete.as_of < first:
                raise ParameterError(f"the data cover no complete week: they run from {first} to {last}")
            return [complete]
        weeks = week_span(span, Week.containing(last))
        for week in weeks:
            if week.start > last or week.as_of < first:
                raise ParameterError(
                    f"week {week} ({week.start} to {week.as_of}) lies outside the data, which run from {first} to "
                    f"{last}"
                )
        return weeks

    def fingerprint(self) -> dict[str, dict[str, Any]]:
        """Return rows, first, last and a hash for each table, and rows with a hash for each ISO week of its time.

        The hashes do not depend on the order of rows.
        """
        prints: dict[str, dict[str, Any]] = {}
        for name in self.tables:
            time = CONTRACT[name].time if name in CONTRACT else "refunded_at"
            when = f"coalesce(strftime({time}, '%G-W%V'), '')" if time else "''"
            span = f"CAST(min({time}) AS VARCHAR), CAST(max({time}) AS VARCHAR)" if time else "NULL, NULL"
            total = f"sum(CAST(hash({name}) AS HUGEINT))"
            query = f"SELECT {when}, count(*), {span}, {total} FROM {identifier(name)} GROUP BY 1 ORDER BY 1"
            weeks = self._engine.connection.execute(query).fetchall()
            prints[name] = {
                "rows": sum(week[1] for week in weeks),
                "first": min((week[2] for week in weeks if week[2]), default=None),
                "last": max((week[3] for week in weeks if week[3]), default=None),
                "hash": f"{sum(week[4] for week in weeks) % 2**64:016x}",
                "weeks": {week[0]: f"{week[1]} {week[4] % 2**32:08x}" for week in weeks},
            }
        return prints

    def close(self) -> None:
        """Close the connection and remove temporary files; this also happens when the shop is forgotten."""
        self._finish()


def _check_asks(sql: str) -> None:
    try:
        kinds = {statement.type.name for statement in duckdb.extract_statements(sql)}
    except duckdb.Error:
        return  # the engine says what is wrong with it
    if commands := kinds - {"SELECT", "EXPLAIN", "MULTI"}:  # DESCRIBE, SUMMARIZE and SHOW are SELECT, PIVOT is MULTI
        raise ParameterError(
            f"query answers questions (SELECT, DESCRIBE, SUMMARIZE …) and changes nothing; found "
            f"{', '.join(sorted(commands))}"
        )


def _clear(connection: duckdb.DuckDBPyConnection, scratch: Scratch | None) -> None:
    connection.close()
    if scratch is not None:
        scratch.close()


def _scratch(connection: duckdb.DuckDBPyConnection, memory_limit: str | None) -> Scratch:
    """Make a folder for what does not fit into memory, and tell DuckDB."""
    scratch = Scratch()
    connection.execute(f"SET temp_directory = {literal(str(scratch.path / 'spill'))}")
    if memory_limit:
        connection.execute(f"SET memory_limit = {literal(memory_limit)}")
    return scratch


def connect(
    source: str | Path | pd.DataFrame | Mapping[str, pd.DataFrame] | Any,
    *,
    mapping: str | Path | None = None,
    as_of: str | dt.date | None = None,
    store: str | Path | None = None,
    memory_limit: str | None = None,
) -> Shop:
    """Open a shop: read its tables, check them against the contract, set aside what breaks it.

    Parameters
    ----------
    source : str, Path, frame, mapping of frames, connection, or Ibis backend
        A folder of CSV or Parquet files, a DuckDB file, a ``clvlib.toml``, one CSV or Parquet file of orders, the
        name of a data set that ships with a dependency (``"cdnow"``), a frame of orders, frames by table name, a store
        that ``connect`` made before, the URL of a database as SQLAlchemy writes it (``"postgresql+psycopg://ann:$SHOP_KEY@db/shop"``,
        in which ``$SHOP_KEY`` is a variable of the environment), a connection to DuckDB, or a connected backend of
        Ibis (Spark, a warehouse). Frames are of pandas, or of what makes an Arrow stream (polars, pyarrow). Of a
        database, tables or views of the contract's names are read, once and in batches.
    mapping : str or Path, optional
        A ``clvlib.toml`` that says how to read the source, or the name of one that ships; by default the one in the
        folder, if any.
    as_of : str or datetime.date, optional
        The last day that rows may speak of; later ones are quarantined. Default: as configured, else today.
    store : str or Path, optional
        Keep the checked tables in this DuckDB file, which opens at once from then on; a store that is there is
        replaced once all is read, any other file is left alone. Default: in memory, and on a temporary disk once they
        outgrow it.
    memory_limit : str, optional
        What DuckDB may use before it spills to disk, such as ``"2GB"``. Default: 80% of the machine's memory.

    Returns
    -------
    Shop

    Raises
    ------
    ConfigError, DataError, EmptyDataError, MissingColumnError, EngineError
        The source cannot be read; the message says what was found, where, and what to do.
    ParameterError
        ``store`` names a file of another kind, or lies in a folder that is not there.

    Examples
    --------
    >>> orders = pd.DataFrame({"customer_id": ["007", "007", "8"], "amount": ["12.50", "1,000", "9 yuan"],
    ...                        "ordered_at": ["2026-01-05", "2026-01-19 20:15", "2026-01-06"]})
    >>> shop = connect({"orders": orders})
    >>> shop.customer_summary("2026-02-01")
                 frequency  recency         T  monetary_value   spend
    customer_id
    007                  1      2.0  3.857143          1000.0  1012.5
    >>> print(shop.quality().sentences()[0])
    orders: amount: not a number: 1 of 3 rows, first at row 3 of orders ('9 yuan'); the rows were quarantined
    """
    if is_remote(source):
        config = _with_as_of(read_config(mapping) if mapping else Config(), as_of)
        return _remote(source, config, store, memory_limit)
    if _is_frame(source):
        source = {"orders": source}
    if not isinstance(source, Mapping):
        if not isinstance(source, str | Path):
            raise ParameterError(
                "source: a folder, a file, the URL or connection of a database, an Ibis backend, a frame of orders, or "
                f"frames by table name; found {type(source).__name__}"
            )
        text = str(source)
        known = datasets.frames(text) if not Path(text).exists() else None
        if known is None:
            return _from_path(Path(text), mapping, as_of, store, memory_limit)
        source, config = known, read_config(text)
    else:
        config = read_config(mapping) if mapping else parse_config({})
        text = "frames in memory"
    config = _with_as_of(config, as_of)
    for name in source:
        if name not in CONTRACT:
            raise DataError(f"the contract has no table {name!r}; it has {', '.join(CONTRACT)}")
        if not _is_frame(source[name]):
            raise ParameterError(f"{name}: a pandas.DataFrame is needed, found {type(source[name]).__name__}")
        if isinstance(source[name], pd.DataFrame) and source[name].columns.empty:
            raise EmptyDataError(f"{name}: the frame has no column")
    return _prepared(FrameSource(source), config, text, store, memory_limit)


def _is_frame(source: Any) -> bool:
    return isinstance(source, pd.DataFrame) or hasattr(source, "__arrow_c_stream__")


def _with_as_of(config: Config, as_of: str | dt.date | None) -> Config:
    return config if as_of is None else replace(config, as_of=as_date(as_of))


def _remote(source: Any, config: Config, store: str | Path | None, memory_limit: str | None) -> Shop:
    origin = remote_source(source)
    return _prepared(origin, config, origin.name, store, memory_limit)


def _from_path(
    path: Path,
    mapping: str | Path | None,
    as_of: str | dt.date | None,
    store: str | Path | None,
    memory_limit: str | None,
) -> Shop:
    if not path.exists():
        raise DataError(f"{path}: there is no such folder or file")
    config = read_config(mapping) if mapping is not None else None
    folder = (path if path.is_dir() else path.parent).resolve()
    if path.suffix == ".toml":
        config = read_config(path)
        if is_url(config.source):
            return _remote(config.source, _with_as_of(config, as_of), store, memory_limit)
        path = (path.parent / config.source).resolve()
        if not path.exists():
            raise ConfigError(f"clvlib.toml: source = {config.source!r}: there is no such folder or file")
    elif config is None and path.is_dir() and (path / "clvlib.toml").is_file():
        return _from_path(path / "clvlib.toml", None, as_of, store, memory_limit)
    origin: Source = FolderSource(path) if path.is_dir() else FileSource(path, config.tables if config else ())
    if _is_sqlite(path):
        origin = UrlSource(f"sqlite:///{path.resolve()}")
    elif path.is_file() and path.suffix in {".duckdb", ".db", ".ddb"}:
        opened = _open_store(path, memory_limit)
        if opened is not None:
            if mapping is not None or as_of is not None or store is not None:
                raise ParameterError(f"{path.name} was checked before; connect to its source to read it otherwise")
            return opened
        origin = DatabaseSource(path)
    return _prepared(origin, _with_as_of(config or Config(), as_of), path.name, store, memory_limit, folder)


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _prepared(
    origin: Source,
    config: Config,
    source: str,
    store: str | Path | None,
    memory_limit: str | None,
    folder: Path | None = None,
) -> Shop:
    if store is None:
        connection, scratch = _checked(origin, config, source, ":memory:", memory_limit)
        return Shop(connection, config, source, scratch, folder=folder)
    kept = Path(store)
    if kept.exists() and not _is_store(kept):
        raise ParameterError(f"store: {kept.name} is there and no store that clvlib made; name another file")
    if not kept.parent.is_dir():
        raise ParameterError(f"store: there is no folder {kept.parent}")
    with tempfile.TemporaryDirectory(prefix=f".{kept.name}-", dir=kept.parent) as beside:
        fresh = Path(beside) / kept.name
        connection, scratch = _checked(origin, config, source, fresh, memory_limit)
        with _or_clear(connection, scratch, source):
            _seal(connection, config, source, folder)
        _clear(connection, scratch)
        connection = opened(fresh, read_only=True)  # under its own path: this process may still read the old one
        scratch = _scratch(connection, memory_limit)
        Path(f"{kept}.wal").unlink(missing_ok=True)  # of a store that is replaced
        fresh.replace(kept)
    return Shop(connection, config, source, scratch, folder=folder)


def _checked(
    origin: Source, config: Config, source: str, into: str | Path, memory_limit: str | None
) -> tuple[duckdb.DuckDBPyConnection, Scratch]:
    """Read and check the tables of a source into a new database; return it, and the folder of what it spills."""
    connection = opened(into)
    scratch = _scratch(connection, memory_limit)
    with _or_clear(connection, scratch, source):
        origin.attach(connection, scratch.path)
        count = 0

        def parts(table: str) -> list[tuple[TableConfig, RawPart]]:
            nonlocal count
            found = []
            for part_config in config.parts(table):
                for part in origin.parts(table, part_config, count):
                    found.append((part_config, part))
                    count += 1
            return found

        prepare(connection, config, parts, dt.datetime.now(ZoneInfo(config.timezone)).date())
    return connection, scratch


@contextmanager
def _or_clear(connection: duckdb.DuckDBPyConnection, scratch: Scratch, source: str) -> Iterator[None]:
    """Clear up where a ``with`` block fails, as on a full disk; what the engine says becomes an error of ours."""
    try:
        yield
    except BaseException as error:
        _clear(connection, scratch)
        if isinstance(error, duckdb.Error) and not isinstance(error, ClvError):
            raise EngineError(f"{source}: {str(error).splitlines()[0]}") from error
        raise


def _seal(connection: duckdb.DuckDBPyConnection, config: Config, source: str, folder: Path | None) -> None:
    """Write the settings beside the checked tables, so that the file speaks for itself."""
    kept = {
        "version": _STORE_VERSION,
        "made": uuid.uuid4().hex,
        "source": source,
        "folder": None if folder is None else str(folder),
        "config": {
            "name": config.name,
            "timezone": config.timezone,
            "currency": config.currency,
            "language": config.language,
            "sample": config.sample,
            "value": {"margin": config.margin, "annual_rate": config.annual_rate},
            "thresholds": dict(config.thresholds),
            "targets": dict(config.targets),
            "funnel": {"steps": list(config.funnel_steps)},
            "privacy": {"smallest_group": config.smallest_group, "recipients": list(config.recipients)},
        },
        "as_of": config.as_of.isoformat() if config.as_of else None,
    }
    connection.execute("CREATE TABLE _store (content VARCHAR)")
    connection.execute("INSERT INTO _store VALUES (?)", [json.dumps(kept, ensure_ascii=False)])
    connection.execute("CHECKPOINT")


def _open_store(path: Path, memory_limit: str | None) -> Shop | None:
    """Open a DuckDB file read-only if ``connect`` made it; None where it is a database of the user's own."""
    try:
        connection = opened(path, read_only=True)
    except duckdb.Error as error:
        raise DataError(f"{path.name}: cannot be opened as a DuckDB file ({str(error).splitlines()[0]})") from None
    if not _has_store(connection):
        connection.close()
        return None
    kept = json.loads(connection.execute("SELECT content FROM _store").fetchall()[0][0])
    if kept.get("made") != _made(path):  # DuckDB gives a process the file that it has open under a path
        connection.close()
        raise DataError(f"{path.name}: was replaced; close the shop that still reads what was there before")
    if kept["version"] != _STORE_VERSION:
        connection.close()
        raise DataError(f"{path.name}: was made by another version of clvlib; connect to its source again")
    scratch = _scratch(connection, memory_limit)
    config = _with_as_of(parse_config(kept["config"], path.name), kept["as_of"])
    folder = Path(kept["folder"]) if kept.get("folder") else path.parent.resolve()
    return Shop(connection, config, kept["source"], scratch, folder=folder)


def _has_store(connection: duckdb.DuckDBPyConnection) -> bool:
    return bool(connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = '_store'").fetchall())


def _is_store(path: Path) -> bool:
    """Whether a file is a store that ``connect`` made, with whatever version."""
    try:
        with opened(path, read_only=True) as connection:
            return _has_store(connection)
    except duckdb.Error:
        return False


def _made(path: Path) -> str | None:
    """Return which store lies under a path, whatever this process has open."""
    with opened() as connection:
        connection.execute(f"ATTACH {literal(str(path))} AS store (READ_ONLY)")
        made: str | None = json.loads(connection.execute("SELECT content FROM store._store").fetchall()[0][0]).get(
            "made"
        )
    return made
