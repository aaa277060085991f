"""From raw parts to checked tables: each row is kept, or set aside with its reason, and both are counted.

This is the one place where rows are judged. It runs on DuckDB, which spills to disk, and leaves behind the tables of
the contract, ``refunds``, and the records ``_quarantine``, ``_reasons``, ``_quality`` and ``_notes``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import duckdb

from clvlib.data.config import Config, TableConfig
from clvlib.data.contract import CONTRACT, Column, TableContract
from clvlib.data.engine import identifier, literal
from clvlib.data.parse import EARLIEST, MACROS, SQL_TYPES, Parsed, parsed
from clvlib.data.reader import RawPart
from clvlib.data.refunds import net_orders
from clvlib.errors import ConfigError, DataError, EmptyDataError, EngineError, MissingColumnError

__all__ = ["prepare"]

_RECORDS = (
    'CREATE TABLE _quarantine ("table" VARCHAR, file VARCHAR, "row" BIGINT, reason VARCHAR, example VARCHAR, '
    "amount DECIMAL(18,4), raw VARCHAR)",
    'CREATE TABLE _reasons ("table" VARCHAR, what VARCHAR, reason VARCHAR, "rows" BIGINT, share DOUBLE, '
    "file VARCHAR, first_row BIGINT, example VARCHAR)",
    'CREATE TABLE _quality ("table" VARCHAR, files BIGINT, rows_read BIGINT, rows_kept BIGINT, '
    "rows_quarantined BIGINT, rows_left_out BIGINT, amount_read DECIMAL(38,4), amount_kept DECIMAL(38,4), "
    "amount_quarantined DECIMAL(38,4), first TIMESTAMP, last TIMESTAMP)",
    'CREATE TABLE _notes ("table" VARCHAR, note VARCHAR)',
)

_NOT_A = {
    "id": "not an id", "text": "not text", "time": "not a time", "date": "not a day", "money": "not a number",
    "number": "not a number", "integer": "not a whole number", "flag": "neither true nor false",
}  # fmt: skip

_REJECTED = {
    "MISSING COLUMNS": "row: too few columns",
    "TOO MANY COLUMNS": "row: too many columns",
    "UNQUOTED VALUE": "row: a quote is not closed",
    "LINE SIZE OVER MAXIMUM": "row: longer than a row can be",
    "INVALID ENCODING": "row: not UTF-8",
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
        There is no order table, or no order in it passes.
    MissingColumnError, DataError, ConfigError
        A table cannot be read as the contract and the configuration say.
    """
    for statement in (*MACROS, *_RECORDS):
        connection.execute(statement)
    last_day = config.as_of or today
    seen: list[str] = []
    for name in _ORDER:
        found = parts(name)
        if found:
            _table(connection, CONTRACT[name], found, config, last_day, seen)
            seen.append(name)
    if "orders" not in seen:
        raise EmptyDataError(
            "there is no order table: expected orders.csv, orders.parquet, orders-*.csv or a folder orders/, or "
            'files = "…" under [tables.orders] of clvlib.toml' + (f"; found {', '.join(sorted(seen))}" if seen else "")
        )


def _table(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    parts: list[tuple[TableConfig, RawPart]],
    config: Config,
    last_day: dt.date,
    seen: list[str],
) -> None:
    sources = [_sources(table, part_config, part) for part_config, part in parts]
    present = [c for c in table.columns if any(c.name in source for source in sources)]
    columns = ", ".join(f"{c.name} {SQL_TYPES[c.kind]}" for c in present)
    connection.execute(
        f"CREATE OR REPLACE TABLE _stage ({columns}, _file INTEGER, _row BIGINT, _hash UBIGINT, _reason VARCHAR, "
        "_aside VARCHAR, _example VARCHAR, _raw VARCHAR)"
    )
    left_out = 0
    for number, ((part_config, part), source) in enumerate(zip(parts, sources, strict=True)):
        left_out += _stage(connection, table, present, number, part_config, part, source, config, last_day)
        _note(connection, table.name, part, present, source)
    rejected = _rejects(connection, table.name, [part for _, part in parts])
    _judge(connection, table, present, parts, seen)
    count_zero = parts[0][0].zero_orders == "count"
    _record(connection, table, present, [part for _, part in parts], rejected, left_out, count_zero=count_zero)
    if not connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()[0][0]:
        _empty(connection, table)
    connection.execute("DROP TABLE _stage")


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


def _parse(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    config: TableConfig,
    part: RawPart,
    source: dict[str, str],
    zone: str,
) -> list[Parsed]:
    listed = ", ".join(f"({sql}) AS {identifier(name)}" for name, sql in source.items())
    try:
        described = connection.execute(f"DESCRIBE SELECT {listed} FROM {part.relation}").fetchall()
    except duckdb.Error as error:
        raise ConfigError(
            f"{table.name}: {part.name}: the columns cannot be read as configured ({str(error).splitlines()[0]})"
        ) from None
    types = {str(row[0]): str(row[1]) for row in described}
    return [
        parsed(table.by_name[name], f"({sql})", types[name], config, zone, table.name) for name, sql in source.items()
    ]


def _checks(item: Parsed, source: str, *, is_time: bool, end: dt.date) -> list[_Check]:
    """The checks of one column, in the order in which they are told."""
    column, name = item.column, item.column.name
    value, given = f"_v_{name}", f"_g_{name}"
    example = "NULL" if column.kind == "id" else f"left(CAST({source} AS VARCHAR), 40)"
    conditions: list[tuple[str, str]] = []
    if column.required:
        conditions.append((f"NOT {given}", "missing"))
    conditions.append((f"{given} AND {value} IS NULL", _NOT_A[column.kind]))
    if column.kind in {"time", "date"}:
        conditions.append((f"{value} < DATE {literal(EARLIEST)}", f"before {EARLIEST[:4]}"))
    if is_time:
        conditions.append((f"{value} >= DATE {literal(end.isoformat())}", "in the future"))
    if column.minimum is not None:
        conditions.append((f"{value} < {column.minimum:g}", f"below {column.minimum:g}"))
    if column.maximum is not None:
        conditions.append((f"{value} > {column.maximum:g}", f"above {column.maximum:g}"))
    return [_Check(condition, f"{name}: {word}", example) for condition, word in conditions]


def _stage(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    present: list[Column],
    number: int,
    config: TableConfig,
    part: RawPart,
    source: dict[str, str],
    shop: Config,
    last_day: dt.date,
) -> int:
    """Insert one part into the staging table; return how many rows ``where`` left out."""
    items = {item.column.name: item for item in _parse(connection, table, config, part, source, shop.timezone)}
    end = last_day + dt.timedelta(days=1)
    checks = {
        name: _checks(item, f"({source[name]})", is_time=name == table.time, end=end) for name, item in items.items()
    }
    row_checks = [check for name, item in items.items() if item.column.required for check in checks[name]]
    value_checks = [check for name, item in items.items() if not item.column.required for check in checks[name]]
    inner = ", ".join(f"{i.value} AS _v_{name}, {i.given} AS _g_{name}" for name, i in items.items())
    raw_columns = ", ".join(identifier(name) for name in part.columns)
    raw = ", ".join(f"{literal(name)}: CAST({identifier(name)} AS VARCHAR)" for name in part.columns)
    reason = "CASE " + " ".join(f"WHEN {c.condition} THEN {literal(c.reason)}" for c in row_checks) + " END"
    aside = ", ".join(f"CASE WHEN {c.condition} THEN {literal(c.reason)} END" for c in value_checks)
    example = "CASE " + " ".join(f"WHEN {c.condition} THEN {c.example}" for c in row_checks + value_checks) + " END"
    values = []
    for column in present:
        bad = [c.condition for c in checks.get(column.name, []) if not column.required]
        value = f"_v_{column.name}" if column.name in items else "NULL"
        values.append(f"CASE WHEN {' OR '.join(bad)} THEN NULL ELSE {value} END" if bad else value)
    keep = f"WHERE ({config.where})" if config.where else ""
    statement = (
        f"INSERT INTO _stage SELECT {', '.join(values)}, {number}, _row, hash({raw_columns}), {reason} AS _why, "
        f"nullif(concat_ws('|', {aside or 'NULL'}), '') AS _set, {example}, "
        f"CASE WHEN _why IS NOT NULL OR _set IS NOT NULL THEN CAST(to_json({{{raw}}}) AS VARCHAR) END "
        f"FROM (SELECT *, {inner} FROM {part.relation} {keep})"
    )
    try:
        connection.execute(statement)
        if not config.where:
            return 0
        query = f"SELECT count(*) FROM {part.relation} WHERE NOT coalesce(({config.where}), FALSE)"
        return int(connection.execute(query).fetchall()[0][0])
    except (duckdb.BinderException, duckdb.ParserException) as error:
        raise ConfigError(f"{table.name}: the configuration cannot be carried out ({error})") from None
    except duckdb.OutOfMemoryException as error:
        raise EngineError(f"{table.name}: memory and the temporary disk are full ({error})") from None
    except duckdb.Error as error:
        raise DataError(f"{table.name}: {part.name} cannot be read ({str(error).splitlines()[0]})") from None


def _note(
    connection: duckdb.DuckDBPyConnection, table: str, part: RawPart, present: list[Column], source: dict[str, str]
) -> None:
    lacking = [column.name for column in present if column.name not in source]
    notes = list(part.notes)
    if lacking:
        notes.append(f"{part.name}: lacks {', '.join(lacking)}, which other files of {table} have; left empty there")
    for note in notes:
        connection.execute("INSERT INTO _notes VALUES (?, ?)", [table, note])


def _rejects(connection: duckdb.DuckDBPyConnection, table: str, parts: list[RawPart]) -> int:
    """Lines that DuckDB could not split into columns go to quarantine; later rows move down by as many."""
    connection.execute("CREATE OR REPLACE TEMP TABLE _shift (file INTEGER, start BIGINT, shift BIGINT)")
    total = 0
    reasons = " ".join(f"WHEN {literal(kind)} THEN {literal(text)}" for kind, text in _REJECTED.items())
    for number, part in enumerate(parts):
        known = connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [part.rejects]).fetchall()
        if not part.rejects or not known:
            continue
        lines = (
            f"(SELECT line - {part.header_lines} AS line, min(CAST(error_type AS VARCHAR)) AS kind, "
            f"min(csv_line) AS csv_line FROM {part.rejects} GROUP BY line)"
        )
        connection.execute(
            f"INSERT INTO _quarantine SELECT {literal(table)}, {literal(part.name)}, line, "
            f"CASE kind {reasons} ELSE 'row: ' || lower(kind) END, NULL, NULL, csv_line FROM {lines}"
        )
        connection.execute(
            f"INSERT INTO _shift SELECT {number}, line - i + 1, i FROM "
            f"(SELECT line, row_number() OVER (ORDER BY line) AS i FROM {lines})"
        )
        total += connection.execute(f"SELECT count(*) FROM {lines}").fetchall()[0][0]
        connection.execute(f"DROP TABLE {part.rejects}; DROP TABLE {part.rejects}_scan")
    return total


def _judge(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    present: list[Column],
    parts: list[tuple[TableConfig, RawPart]],
    seen: list[str],
) -> None:
    """The checks that need more than one row."""
    names = {column.name for column in present}
    config = parts[0][0]
    if table.key and names.issuperset(table.key) and config.duplicates == "quarantine":
        _duplicates(connection, table)
    if config.unknown_reference == "quarantine":
        for column in present:
            if column.references in seen:
                _references(connection, column)
    if table.name == "orders":
        _negative(connection, names, [part for part, _ in parts])


def _duplicates(connection: duckdb.DuckDBPyConnection, table: TableContract) -> None:
    keyed = " AND ".join(f"{name} IS NOT NULL" for name in table.key)
    connection.execute(
        "UPDATE _stage SET _reason = 'row: an exact copy of another' FROM ("
        "  SELECT _file AS f, _row AS r FROM ("
        "    SELECT _file, _row, row_number() OVER (PARTITION BY _hash ORDER BY _file, _row) AS i FROM _stage"
        f"    WHERE _reason IS NULL AND {keyed} AND _hash IN ("
        f"      SELECT _hash FROM _stage WHERE _reason IS NULL AND {keyed} GROUP BY _hash HAVING count(*) > 1)"
        "  ) WHERE i > 1) AS d WHERE _file = d.f AND _row = d.r"
    )
    if table.unique:
        key = ", ".join(table.key)
        connection.execute(
            f"UPDATE _stage SET _reason = '{table.key[0]}: occurs before, with other values' FROM ("
            "  SELECT _file AS f, _row AS r FROM ("
            f"    SELECT _file, _row, row_number() OVER (PARTITION BY {key} ORDER BY _file, _row) AS i"
            "     FROM _stage WHERE _reason IS NULL) WHERE i > 1) AS d WHERE _file = d.f AND _row = d.r"
        )


def _references(connection: duckdb.DuckDBPyConnection, column: Column) -> None:
    """A row whose required column names nobody goes; an optional one loses only that value."""
    other = CONTRACT[str(column.references)]
    reason = literal(f"{column.name}: not in {other.name}")
    change = (
        f"_reason = {reason}" if column.required else f"{column.name} = NULL, _aside = concat_ws('|', _aside, {reason})"
    )
    connection.execute(
        f"UPDATE _stage SET {change} WHERE _reason IS NULL AND {column.name} IS NOT NULL "
        f"AND {column.name} NOT IN (SELECT {other.key[0]} FROM {other.name})"
    )


def _negative(connection: duckdb.DuckDBPyConnection, names: set[str], configs: list[TableConfig]) -> None:
    """A negative amount is a refund where the configuration says so, or where its order is there; else it is wrong."""
    refund = [f"coalesce(({rule}), FALSE)" for rule in dict.fromkeys(c.refunds for c in configs if c.refunds)]
    if "order_id" in names:
        paid = "SELECT order_id FROM _stage WHERE _reason IS NULL AND amount >= 0 AND order_id IS NOT NULL"
        refund.append(f"coalesce(order_id IN ({paid}), FALSE)")
    try:
        connection.execute(
            "UPDATE _stage SET _reason = 'amount: negative, and no refund', _example = CAST(amount AS VARCHAR) "
            f"WHERE _reason IS NULL AND amount < 0 AND NOT ({' OR '.join(refund) or 'FALSE'})"
        )
    except duckdb.Error as error:
        raise ConfigError(f"orders: the rule for refunds cannot be carried out ({error})") from None


def _record(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    present: list[Column],
    parts: list[RawPart],
    rejected: int,
    left_out: int,
    *,
    count_zero: bool,
) -> None:
    """Part kept rows from quarantined ones, count both, and make the clean table."""
    money = next((c.name for c in table.columns if c.kind == "money" and c.required), "NULL")
    files = " ".join(f"WHEN {i} THEN {literal(part.name)}" for i, part in enumerate(parts))
    file = f"CASE _file {files} END"
    shifted = (
        "_row + coalesce((SELECT max(shift) FROM _shift WHERE _shift.file = _stage._file AND start <= _stage._row), 0)"
    )
    connection.execute(
        f"INSERT INTO _quarantine SELECT {literal(table.name)}, {file}, {shifted}, _reason, _example, {money}, _raw "
        "FROM _stage WHERE _reason IS NOT NULL"
    )
    total = connection.execute("SELECT count(*) FROM _stage").fetchall()[0][0] + rejected
    connection.execute(
        f"INSERT INTO _reasons SELECT {literal(table.name)}, 'row', reason, count(*), count(*) / {max(total, 1)}, "
        'arg_min(file, "row"), min("row"), arg_min(example, "row") FROM _quarantine '
        f'WHERE "table" = {literal(table.name)} GROUP BY reason ORDER BY count(*) DESC, reason'
    )
    connection.execute(
        f"INSERT INTO _reasons SELECT {literal(table.name)}, 'value', reason, count(*), count(*) / {max(total, 1)}, "
        f"arg_min(file, r), min(r), arg_min(_example, r) FROM (SELECT unnest(string_split(_aside, '|')) AS reason, "
        f"{file} AS file, {shifted} AS r, _example FROM _stage WHERE _reason IS NULL AND _aside IS NOT NULL) "
        "GROUP BY reason ORDER BY count(*) DESC, reason"
    )
    columns = ", ".join(column.name for column in present)
    if table.name == "orders":
        net_orders(connection, [column.name for column in present], count_zero=count_zero)
    else:
        connection.execute(f"CREATE TABLE {table.name} AS SELECT {columns} FROM _stage WHERE _reason IS NULL")
    kept = "FILTER (WHERE _reason IS NULL)"
    span = f"min({table.time}) {kept}, max({table.time}) {kept}" if table.time else "NULL, NULL"
    connection.execute(
        f"INSERT INTO _quality SELECT {literal(table.name)}, {len(parts)}, {total}, "
        f"count(*) {kept}, count(*) FILTER (WHERE _reason IS NOT NULL) + {rejected}, "
        f"{left_out}, sum({money}), sum({money}) {kept}, "
        f"sum({money}) FILTER (WHERE _reason IS NOT NULL), {span} "
        "FROM _stage"
    )


def _empty(connection: duckdb.DuckDBPyConnection, table: TableContract) -> None:
    """No row passes: the order table is refused, any other counts as absent."""
    read = connection.execute('SELECT rows_read FROM _quality WHERE "table" = ?', [table.name]).fetchall()[0][0]
    if table.name == "orders":
        if not read:
            raise EmptyDataError("orders: the files have a header and no row")
        rows = connection.execute(
            "SELECT reason, \"rows\", example FROM _reasons WHERE \"table\" = 'orders' AND what = 'row'"
        ).fetchall()
        told = "; ".join(f"{r} in {n:,}" + (f" (such as {e!r})" if e else "") for r, n, e in rows)
        raise EmptyDataError(
            f"orders: none of the {read:,} rows passes the contract: {told}. If the values are well but of another "
            "form, say which under [tables.orders.formats] of clvlib.toml"
        )
    note = "has no row" if not read else f"has no row that passes, of {read:,}"
    connection.execute("INSERT INTO _notes VALUES (?, ?)", [table.name, f"{note}; it is left out"])
    connection.execute(f"DROP TABLE {table.name}")
