"""From raw parts to checked tables: each row is kept, or set aside with its reason, and both are counted.

This is the one place where rows are judged. It runs on DuckDB, which spills to disk, and leaves behind the tables of
the contract, ``refunds``, and the records ``_quarantine``, ``_reasons``, ``_quality`` and ``_notes``.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby

import duckdb

from clvlib.data.config import Config, TableConfig
from clvlib.data.contract import CONTRACT, Column, TableContract
from clvlib.data.engine import identifier, literal
from clvlib.data.parse import EARLIEST, MACROS, SQL_TYPES, Parsed, parsed
from clvlib.data.reader import RawPart
from clvlib.data.refunds import net_orders
from clvlib.errors import ConfigError, DataError, EmptyDataError, EngineError, MissingColumnError
from clvlib.words import mark

__all__ = ["prepare"]

_RECORDS = (
    'CREATE TABLE _quarantine ("table" VARCHAR, file VARCHAR, "row" BIGINT, reason VARCHAR, example VARCHAR, '
    "amount DECIMAL(18,4), raw VARCHAR)",
    'CREATE TABLE _reasons ("table" VARCHAR, what VARCHAR, reason VARCHAR, "rows" BIGINT, share DOUBLE, '
    "file VARCHAR, first_row BIGINT, example VARCHAR)",
    'CREATE TABLE _quality ("table" VARCHAR, files BIGINT, rows_read BIGINT, rows_kept BIGINT, '
    "rows_quarantined BIGINT, rows_left_out BIGINT, amount_read DECIMAL(38,4), amount_kept DECIMAL(38,4), "
    "amount_quarantined DECIMAL(38,4), first TIMESTAMP, last TIMESTAMP)",
    'CREATE TABLE _notes ("table" VARCHAR, message VARCHAR, fields VARCHAR)',
)

_PLANNED = dt.timedelta(days=366)  # what is announced for later than this is a clock's error
_TOGETHER = 16  # parts of one form that one statement reads: to plan it costs more than to read a small file

_AHEAD = mark("in the future")
_NOT_A = {
    "id": mark("not an id"), "text": mark("not text"), "time": mark("not a time"), "date": mark("not a day"),
    "money": mark("not a number"), "number": mark("not a number"), "integer": mark("not a whole number"),
    "flag": mark("neither true nor false"),
}  # fmt: skip

_REJECTED = {
    "MISSING COLUMNS": f"row: {mark('too few columns')}",
    "TOO MANY COLUMNS": f"row: {mark('too many columns')}",
    "UNQUOTED VALUE": f"row: {mark('a quote is not closed')}",
    "LINE SIZE OVER MAXIMUM": f"row: {mark('longer than a row can be')}",
    "INVALID ENCODING": f"row: {mark('not UTF-8')}",
}

# Tables that others refer to come first.
_ORDER = ("sessions", "customers", *(name for name in CONTRACT if name not in {"sessions", "customers"}))

Parts = Callable[[str], list[tuple[TableConfig, RawPart]]]


@dataclass(frozen=True)
class _Check:
    """A condition on a parsed row, what to call it, and the source value to show."""

    condition: str
    reason: str
    example: str


def prepare(connection: duckdb.DuckDBPyConnection, config: Config, parts: Parts, today: dt.date) -> None:
    """Check every table that ``parts`` offers and leave the results in ``connection``.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        An empty database.
    config : Config
        The shop's settings.
    parts : callable
        Table name to its parts, an empty list where the shop has none.
    today : datetime.date
        The last day that rows may speak of, unless the configuration names one.

    Raises
    ------
    EmptyDataError
        There is no table at all, or an order table of which no row passes.
    MissingColumnError, DataError, ConfigError
        A table cannot be read as the contract and the configuration say.
    """
    for statement in (*MACROS, *_RECORDS):
        connection.execute(statement)
    end = (config.as_of or today) + dt.timedelta(days=1)
    seen: list[str] = []
    for name in _ORDER:
        found = parts(name)
        if found:
            table = CONTRACT[name]
            sources = [_sources(table, part_config, part) for part_config, part in found]
            _table(_Job(connection, table, found, sources, config, end), seen)
            seen.append(name)
    if not seen:
        raise EmptyDataError(
            "there is no table of the contract here: expected orders.csv, orders.parquet, orders-*.csv or a folder "
            'orders/, or files = "…" under [tables.orders] of clvlib.toml'
        )
    if "orders" not in seen:
        _tell(connection, "orders", mark("there is no order table, which the contract asks for"))


def _tell(connection: duckdb.DuckDBPyConnection, table: str, message: str, **fields: str) -> None:
    """Keep a note on a table: a message of the catalogue, and what its fields hold."""
    connection.execute("INSERT INTO _notes VALUES (?, ?, ?)", [table, message, json.dumps(fields)])


@dataclass(frozen=True)
class _Job:
    """One table on its way from raw parts to checked rows."""

    connection: duckdb.DuckDBPyConnection
    table: TableContract
    parts: list[tuple[TableConfig, RawPart]]
    sources: list[dict[str, str]]
    shop: Config
    end: dt.date
    """The first day that rows of what has happened may no longer speak of."""

    @property
    def until(self) -> dt.date:
        """The first day that this table's rows may no longer speak of."""
        return self.end + _PLANNED if self.table.plans else self.end

    @property
    def present(self) -> list[Column]:
        """The columns of the contract that at least one part has."""
        return [c for c in self.table.columns if any(c.name in source for source in self.sources)]

    @property
    def config(self) -> TableConfig:
        """What holds for the whole table is said in its first part."""
        return self.parts[0][0]

    def run(self, sql: str) -> None:
        self.connection.execute(sql)

    def number(self, sql: str) -> int:
        return int(self.connection.execute(sql).fetchall()[0][0])


def _table(job: _Job, seen: list[str]) -> None:
    columns = ", ".join(f"{c.name} {SQL_TYPES[c.kind]}" for c in job.present)
    job.run(
        f"CREATE OR REPLACE TEMP TABLE _stage ({columns}, _file INTEGER, _row BIGINT, _hash UBIGINT, _reason VARCHAR, "
        "_aside VARCHAR, _example VARCHAR, _raw VARCHAR)"
    )
    left_out = sum(_stage(job, numbers) for numbers in _alike(job))
    for number in range(len(job.parts)):
        _note(job, number)
    rejected = _rejects(job)
    _judge(job, seen)
    _record(job, rejected, left_out)
    if not job.number(f"SELECT count(*) FROM {job.table.name}"):
        _empty(job)
    job.run("DROP TABLE _stage")


def _alike(job: _Job) -> list[range]:
    """Return the numbers of neighbouring parts that are read in one way."""
    found: list[range] = []
    for _, same in groupby(range(len(job.parts)), lambda i: (job.parts[i][0], [*job.parts[i][1].columns.items()])):
        numbers = list(same)
        found += [range(i, min(i + _TOGETHER, numbers[-1] + 1)) for i in numbers[::_TOGETHER]]
    return found


def _relation(job: _Job, numbers: range) -> str:
    """SQL for the source rows of some parts, each with the number of its part as ``_clv_part``."""
    return " UNION ALL ".join(f"SELECT {i} AS _clv_part, * FROM {job.parts[i][1].relation}" for i in numbers)


def _sources(table: TableContract, config: TableConfig, part: RawPart) -> dict[str, str]:
    """SQL over the source row for each column of the contract that the part has."""
    lower = {name.strip().casefold(): name for name in reversed(part.columns)}
    found: dict[str, str] = {}
    for column in table.columns:
        wanted = config.columns.get(column.name)
        if isinstance(wanted, dict):
            found[column.name] = wanted["sql"]
            continue
        name = column.name if wanted is None else str(wanted)
        exact = name if name in part.columns else lower.get(name.strip().casefold())
        if exact is not None:
            found[column.name] = identifier(exact)
        elif column.required or wanted is not None:
            near = get_close_matches(name, part.columns, n=1, cutoff=0.6)
            hint = f'; did you mean {column.name} = "{near[0]}"?' if near else ""
            raise MissingColumnError(
                f"{table.name}: {part.name} has no column {name!r}; it has {', '.join(part.columns)}. Name theirs "
                f"under [tables.{table.name}.columns] of clvlib.toml{hint}"
            )
    return found


def _parse(job: _Job, number: int) -> dict[str, Parsed]:
    table, source = job.table, job.sources[number]
    config, part = job.parts[number]
    listed = ", ".join(f"({sql}) AS {identifier(name)}" for name, sql in source.items())
    try:
        described = job.connection.execute(f"DESCRIBE SELECT {listed} FROM {part.relation}").fetchall()
    except duckdb.Error as error:
        raise ConfigError(
            f"{table.name}: {part.name}: the columns cannot be read as configured ({str(error).splitlines()[0]})"
        ) from None
    types = {str(row[0]): str(row[1]) for row in described}
    return {
        name: parsed(table.by_name[name], f"({sql})", types[name], config, job.shop.timezone, table.name)
        for name, sql in source.items()
    }


def _checks(item: Parsed, source: str, end: dt.date | None) -> list[_Check]:
    """The checks of one column, in the order in which they are told; ``end`` is the first day that it may not name."""
    column, name = item.column, item.column.name
    value, given = f"_v_{name}", f"_g_{name}"
    example = "NULL" if column.kind == "id" else f"left(CAST({source} AS VARCHAR), 40)"
    conditions: list[tuple[str, str]] = []
    if column.required:
        conditions.append((f"{given} IS NULL", mark("missing")))
    conditions.append((f"{given} IS NOT NULL AND {value} IS NULL", _NOT_A[column.kind]))
    if column.kind in {"time", "date"}:
        conditions.append((f"{value} < DATE {literal(EARLIEST)}", f"before {EARLIEST[:4]}"))
    if end is not None:
        conditions.append((f"{value} >= DATE {literal(end.isoformat())}", _AHEAD))
    if column.minimum is not None:
        conditions.append((f"{value} < {column.minimum:g}", f"below {column.minimum:g}"))
    if column.maximum is not None:
        conditions.append((f"{value} > {column.maximum:g}", f"above {column.maximum:g}"))
    return [_Check(condition, f"{name}: {word}", example) for condition, word in conditions]


def _selection(job: _Job, numbers: range) -> str:
    """SQL that yields the staged form of some parts: values, why a row goes, which values are set aside."""
    source = job.sources[numbers[0]]
    config, part = job.parts[numbers[0]]
    items = _parse(job, numbers[0])
    checks = {
        name: _checks(item, f"({source[name]})", end=job.until if name == job.table.time else None)
        for name, item in items.items()
    }
    row_checks = [check for name, item in items.items() if item.column.required for check in checks[name]]
    value_checks = [check for name, item in items.items() if not item.column.required for check in checks[name]]
    reason = "CASE " + " ".join(f"WHEN {c.condition} THEN {literal(c.reason)}" for c in row_checks) + " END"
    aside = ", ".join(f"CASE WHEN {c.condition} THEN {literal(c.reason)} END" for c in value_checks) or "NULL"
    example = "CASE " + " ".join(f"WHEN {c.condition} THEN {c.example}" for c in row_checks + value_checks) + " END"
    values = []
    for column in job.present:
        bad = [c.condition for c in checks.get(column.name, []) if not column.required]
        kept = f"_v_{column.name}" if column.name in items else "NULL"
        values.append(f"CASE WHEN {' OR '.join(bad)} THEN NULL ELSE {kept} END" if bad else kept)
    # One level each for text, what is given and the value, so that no expression is computed twice.
    text = ", ".join(f"{item.text} AS _t_{name}" for name, item in items.items())
    given = ", ".join(f"{item.given} AS _g_{name}" for name, item in items.items())
    value = ", ".join(f"{item.value} AS _v_{name}" for name, item in items.items())
    raw_columns = ", ".join(identifier(name) for name in part.columns)
    raw = ", ".join(f"{literal(name)}: CAST({identifier(name)} AS VARCHAR)" for name in part.columns)
    rows = f"({_relation(job, numbers)})" + (f" WHERE ({config.where})" if config.where else "")
    return (
        f"SELECT {', '.join(values)}, _clv_part, _row, hash({raw_columns}), {reason} AS _why, "
        f"nullif(concat_ws('|', {aside}), '') AS _set, {example}, "
        f"CASE WHEN _why IS NOT NULL OR _set IS NOT NULL THEN CAST(to_json({{{raw}}}) AS VARCHAR) END "
        f"FROM (SELECT *, {value} FROM (SELECT *, {given} FROM (SELECT *, {text} FROM {rows})))"
    )


def _stage(job: _Job, numbers: range) -> int:
    """Insert some parts into the staging table; return how many rows ``where`` left out."""
    config, part = job.parts[numbers[0]]
    try:
        left = f"SELECT count(*) FROM ({_relation(job, numbers)}) WHERE NOT coalesce(({config.where}), FALSE)"
        left_out = job.number(left) if config.where else 0
        job.run(f"INSERT INTO _stage {_selection(job, numbers)}")
    except duckdb.Error as error:
        if len(numbers) > 1:  # which of them it is shows when each is read by itself
            return sum(_stage(job, range(i, i + 1)) for i in numbers)
        line = str(error).splitlines()[0]
        if isinstance(error, (duckdb.BinderException, duckdb.ParserException)):
            raise ConfigError(f"{job.table.name}: the configuration cannot be carried out ({error})") from None
        if isinstance(error, (duckdb.OutOfMemoryException, duckdb.IOException)):
            raise EngineError(f"{job.table.name}: {part.name}: {line}") from None
        raise DataError(f"{job.table.name}: {part.name} cannot be read ({line})") from None
    return left_out


def _note(job: _Job, number: int) -> None:
    part, source = job.parts[number][1], job.sources[number]
    lacking = [column.name for column in job.present if column.name not in source]
    for message, fields in part.notes:
        _tell(job.connection, job.table.name, message, **fields)
    if lacking:
        message = mark("{file}: lacks {columns}, which other files of the table have; left empty there")
        _tell(job.connection, job.table.name, message, file=part.name, columns=", ".join(lacking))


def _rejects(job: _Job) -> int:
    """Lines that DuckDB could not split into columns go to quarantine; later rows move down by as many."""
    job.run("CREATE OR REPLACE TEMP TABLE _shift (file INTEGER, start BIGINT, shift BIGINT)")
    tables = {str(row[0]) for row in job.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    there = {i: part for i, (_, part) in enumerate(job.parts) if part.rejects in tables}
    if not there:
        return 0
    counts = " UNION ALL ".join(f"SELECT {i}, count(DISTINCT line) FROM {part.rejects}" for i, part in there.items())
    found = {i: n for i, n in job.connection.execute(counts).fetchall() if n}
    reasons = " ".join(f"WHEN {literal(kind)} THEN {literal(text)}" for kind, text in _REJECTED.items())
    for number in sorted(found):
        part = there[number]
        lines = (
            f"(SELECT line - {part.header_lines} AS line, min(CAST(error_type AS VARCHAR)) AS kind, "
            f"min(csv_line) AS csv_line FROM {part.rejects} GROUP BY line)"
        )
        job.run(
            f"INSERT INTO _quarantine SELECT {literal(job.table.name)}, {literal(part.name)}, line, "
            f"CASE kind {reasons} ELSE 'row: ' || lower(kind) END, NULL, NULL, csv_line FROM {lines}"
        )
        job.run(
            f"INSERT INTO _shift SELECT {number}, line - i + 1, i FROM "
            f"(SELECT line, row_number() OVER (ORDER BY line) AS i FROM {lines})"
        )
    job.run("".join(f"DROP TABLE {part.rejects}; DROP TABLE {part.rejects}_scan;" for part in there.values()))
    return sum(found.values())


def _judge(job: _Job, seen: list[str]) -> None:
    """Carry out the checks that need more than one row."""
    names = {column.name for column in job.present}
    if job.table.key and names.issuperset(job.table.key) and job.config.duplicates == "quarantine":
        _duplicates(job)
    if job.config.unknown_reference == "quarantine":
        for column in job.present:
            if column.references in seen:
                _references(job, column)
    if job.table.name == "orders":
        _negative(job, names)


def _duplicates(job: _Job) -> None:
    key = ", ".join(job.table.key)
    keyed = " AND ".join(f"{name} IS NOT NULL" for name in job.table.key)
    # Most rows are ruled out by the hash alone; the key beside it keeps two rows of equal hash apart.
    job.run(
        f"UPDATE _stage SET _reason = 'row: {mark('an exact copy of another')}' FROM ("
        "  SELECT _file AS f, _row AS r FROM ("
        f"    SELECT _file, _row, row_number() OVER (PARTITION BY _hash, {key} ORDER BY _file, _row) AS i FROM _stage"
        f"    WHERE _reason IS NULL AND {keyed} AND _hash IN ("
        f"      SELECT _hash FROM _stage WHERE _reason IS NULL AND {keyed} GROUP BY _hash HAVING count(*) > 1)"
        "  ) WHERE i > 1) AS d WHERE _file = d.f AND _row = d.r"
    )
    if job.table.unique:
        job.run(
            f"UPDATE _stage SET _reason = '{job.table.key[0]}: {mark('occurs before, with other values')}' FROM ("
            "  SELECT _file AS f, _row AS r FROM ("
            f"    SELECT _file, _row, row_number() OVER (PARTITION BY {key} ORDER BY _file, _row) AS i"
            "     FROM _stage WHERE _reason IS NULL) WHERE i > 1) AS d WHERE _file = d.f AND _row = d.r"
        )


def _references(job: _Job, column: Column) -> None:
    """Quarantine the row whose required column names nobody; an optional column loses only that value."""
    other = CONTRACT[str(column.references)]
    reason = literal(f"{column.name}: not in {other.name}")
    change = (
        f"_reason = {reason}" if column.required else f"{column.name} = NULL, _aside = concat_ws('|', _aside, {reason})"
    )
    job.run(
        f"UPDATE _stage SET {change} WHERE _reason IS NULL AND {column.name} IS NOT NULL "
        f"AND {column.name} NOT IN (SELECT {other.key[0]} FROM {other.name})"
    )


def _negative(job: _Job, names: set[str]) -> None:
    """Let a negative amount be a refund where the configuration says so or its order is there; else it is wrong."""
    if not job.number("SELECT count(*) FROM _stage WHERE _reason IS NULL AND amount < 0"):
        return
    rules = dict.fromkeys(config.refunds for config, _ in job.parts if config.refunds)
    refund = [f"coalesce(({rule}), FALSE)" for rule in rules]
    if "order_id" in names:
        paid = "SELECT order_id FROM _stage WHERE _reason IS NULL AND amount >= 0 AND order_id IS NOT NULL"
        refund.append(f"coalesce(order_id IN ({paid}), FALSE)")
    try:
        job.run(
            f"UPDATE _stage SET _reason = 'amount: {mark('negative, and no refund')}', "
            "_example = CAST(amount AS VARCHAR) "
            f"WHERE _reason IS NULL AND amount < 0 AND NOT ({' OR '.join(refund) or 'FALSE'})"
        )
    except duckdb.Error as error:
        raise ConfigError(f"orders: the rule for refunds cannot be carried out ({error})") from None


def _record(job: _Job, rejected: int, left_out: int) -> None:
    """Part kept rows from quarantined ones, count both, and make the clean table."""
    table, name = job.table, literal(job.table.name)
    money = next((c.name for c in table.columns if c.kind == "money" and c.required), "NULL")
    files = " ".join(f"WHEN {i} THEN {literal(part.name)}" for i, (_, part) in enumerate(job.parts))
    file = f"CASE _file {files} END"
    row = (
        "_row + coalesce((SELECT max(shift) FROM _shift WHERE _shift.file = _stage._file AND start <= _stage._row), 0)"
    )
    job.run(
        f"INSERT INTO _quarantine SELECT {name}, {file}, {row}, _reason, _example, {money}, _raw FROM _stage "
        "WHERE _reason IS NOT NULL"
    )
    total = job.number("SELECT count(*) FROM _stage") + rejected
    told = f"count(*), count(*) / {max(total, 1)}, arg_min(file, r), min(r), arg_min(example, r)"
    gone = f'(SELECT *, "row" AS r FROM _quarantine WHERE "table" = {name})'
    aside = (
        f"(SELECT unnest(string_split(_aside, '|')) AS reason, {file} AS file, {row} AS r, _example AS example "
        "FROM _stage WHERE _reason IS NULL AND _aside IS NOT NULL)"
    )
    for what, rows in (("row", gone), ("value", aside)):
        job.run(
            f"INSERT INTO _reasons SELECT {name}, '{what}', reason, {told} FROM {rows} GROUP BY reason "
            "ORDER BY count(*) DESC, reason"
        )
    columns = [column.name for column in job.present]
    if table.name == "orders":
        net_orders(job.connection, columns, count_zero=job.config.zero_orders == "count")
    else:
        job.run(f"CREATE TABLE {table.name} AS SELECT {', '.join(columns)} FROM _stage WHERE _reason IS NULL")
    kept = "FILTER (WHERE _reason IS NULL)"
    span = f"min({table.time}) {kept}, max({table.time}) {kept}" if table.time else "NULL, NULL"
    job.run(
        f"INSERT INTO _quality SELECT {name}, {len(job.parts)}, {total}, count(*) {kept}, "
        f"count(*) FILTER (WHERE _reason IS NOT NULL) + {rejected}, {left_out}, sum({money}), sum({money}) {kept}, "
        f"sum({money}) FILTER (WHERE _reason IS NOT NULL), {span} FROM _stage"
    )


def _empty(job: _Job) -> None:
    """Refuse an order table of which no row passes; count any other such table as absent."""
    name = job.table.name
    read = job.number(f'SELECT rows_read FROM _quality WHERE "table" = {literal(name)}')
    if name == "orders":
        if not read:
            raise EmptyDataError("orders: the files have a header and no row")
        rows = job.connection.execute(
            "SELECT reason, \"rows\", example FROM _reasons WHERE \"table\" = 'orders' AND what = 'row'"
        ).fetchall()
        told = "; ".join(f"{r} in {n:,}" + (f" (such as {e!r})" if e else "") for r, n, e in rows)
        ahead = any(reason.endswith(_AHEAD) for reason, _, _ in rows)
        day = job.until - dt.timedelta(days=1)
        clock = f" Today is {day} by the clock here, or as_of in clvlib.toml: is that right?" if ahead else ""
        raise EmptyDataError(
            f"orders: none of the {read:,} rows passes the contract: {told}.{clock} If the values are well but "
            "of another form, say which under [tables.orders.formats] of clvlib.toml, such as ordered_at = "
            '"%d.%m.%Y %H:%M"'
        )
    if read:
        message = mark("has no row that passes, of {rows}; it is left out")
        _tell(job.connection, name, message, rows=f"{read:,}")
    else:
        _tell(job.connection, name, mark("has no row; it is left out"))
    job.run(f"DROP TABLE {name}")
