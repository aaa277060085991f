"""How a source column becomes a column of the contract: one SQL expression per kind and source type.

Everything here is text for DuckDB. A value that cannot be read becomes NULL, and a second expression says that it was
there and could not be read, so that nothing is misread and nothing lost in silence.
"""

from __future__ import annotations

from dataclasses import dataclass

from clvlib.data.config import TableConfig
from clvlib.data.contract import Column
from clvlib.data.engine import literal
from clvlib.errors import ConfigError, DataError

__all__ = ["EARLIEST", "MACROS", "SQL_TYPES", "Parsed", "parsed"]

EARLIEST = "1990-01-01"
"""Times before this day are set aside: they are nearly always an unset clock or a cut-off number."""

SQL_TYPES = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "time": "TIMESTAMP",
    "date": "DATE",
    "money": "DECIMAL(18,4)",
    "number": "DOUBLE",
    "integer": "BIGINT",
    "flag": "BOOLEAN",
}

_MISSING = ("", "nan", "null", "none", "n/a", "#n/a", "nat", "undefined", "\\n")
_BLANKS = " \t\r\n\u00a0\u3000\ufeff"
_PLAIN = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_GROUPED = r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?"
_DATE = r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"
_CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_OFFSET = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"

# A number as text: a currency sign goes, thousands separators go where they stand in groups of three, and anything
# else is refused, so that neither "1,5" nor "1.234,5" is taken for another number.
MACROS = (
    # Trimming by a set of characters is slow and nearly never needed, so plain ASCII is let through first.
    "CREATE OR REPLACE TEMP MACRO clv_trim(x) AS CASE WHEN regexp_full_match(CAST(x AS VARCHAR), '[!-~]*') "
    f"THEN CAST(x AS VARCHAR) ELSE trim(CAST(x AS VARCHAR), {literal(_BLANKS)}) END",
    f"CREATE OR REPLACE TEMP MACRO clv_given(x) AS CASE WHEN lower(x) IN {literal(_MISSING)} THEN NULL ELSE x END",
    "CREATE OR REPLACE TEMP MACRO clv_bare(x) AS regexp_replace(x, '^([+-]?)[¥￥$€£]\\s*', '\\1')",
    f"CREATE OR REPLACE TEMP MACRO clv_number(x) AS CASE "
    f"WHEN regexp_full_match(clv_bare(x), {literal(_PLAIN)}) THEN clv_bare(x) "
    f"WHEN regexp_full_match(clv_bare(x), {literal(_GROUPED)}) THEN replace(clv_bare(x), ',', '') END",
    "CREATE OR REPLACE TEMP MACRO clv_comma(x) AS translate(x, ',.', '.,')",
    f"CREATE OR REPLACE TEMP MACRO clv_time(x, zone) AS CASE "
    f"WHEN regexp_full_match(x, {literal(_DATE + '([ T]' + _CLOCK + ')?')}) THEN TRY_CAST(x AS TIMESTAMP) "
    f"WHEN regexp_full_match(x, {literal(_DATE + '[ T]' + _CLOCK + ' ?' + _OFFSET)}) "
    f"THEN timezone(zone, TRY_CAST(regexp_replace(x, ' ([+-])', '\\1') AS TIMESTAMPTZ)) END",
)

_INTEGERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
}  # fmt: skip
_FLOATS = {"FLOAT", "DOUBLE"}


@dataclass(frozen=True)
class Parsed:
    """A column of the contract as SQL over a source row.

    Attributes
    ----------
    column : Column
        What it is to be.
    text : str
        The source value as trimmed text, where it is read as text; else the source value. To be named ``_t_<column>``.
    given : str
        That, NULL where it only says that nothing is there. To be named ``_g_<column>``, beside ``_t_<column>``.
    value : str
        The value, NULL where it cannot be read, from ``_g_<column>``.
    """

    column: Column
    text: str
    given: str
    value: str


def _family(source_type: str) -> str:
    base = source_type.split("(", maxsplit=1)[0].strip()
    if source_type.startswith("TIMESTAMP WITH TIME ZONE"):
        return "instant"
    if base.startswith("TIMESTAMP"):
        return "timestamp"
    if base in _INTEGERS:
        return "integer"
    if base in _FLOATS:
        return "float"
    if base in {"VARCHAR", "ENUM", "UUID"}:
        return "text"
    return {"DECIMAL": "decimal", "DATE": "date", "BOOLEAN": "flag", '"NULL"': "text", "NULL": "text"}.get(
        base, "other"
    )


def parsed(column: Column, source: str, source_type: str, config: TableConfig, zone: str, where: str) -> Parsed:
    """Write the expression that reads ``source`` (SQL of type ``source_type``) as ``column``.

    Raises
    ------
    DataError
        No rule turns that type into that kind: a list, or a number read as a time without a format.
    """
    family = _family(source_type)
    if family == "other":
        raise DataError(f"{where}.{column.name}: the source column is a {source_type}, which cannot be read")
    given = f"_g_{column.name}"
    if column.kind in {"id", "text"}:
        value = _as_text(column, given, family, config)
    elif column.kind in {"time", "date"}:
        value = _as_time(column, given, family, config, zone, where)
    elif column.kind == "flag":
        value = _as_flag(given)
    else:
        value = _as_number(column, given, family, config)
    text = f"_t_{column.name}"
    if family == "text":
        return Parsed(column, f"clv_trim({source})", f"clv_given({text})", value)
    if family == "float":
        return Parsed(column, source, f"CASE WHEN NOT isnan({text}) THEN {text} END", value)
    return Parsed(column, source, text, value)


def _as_text(column: Column, given: str, family: str, config: TableConfig) -> str:
    value = f"CAST({given} AS VARCHAR)"
    if family == "float" and column.kind == "id":
        # A whole number that a missing neighbour turned into a float; beyond 2^53 its digits are already lost.
        value = (
            f"CASE WHEN isfinite({given}) AND {given} = floor({given}) AND abs({given}) < 9007199254740992 "
            f"THEN CAST(CAST({given} AS BIGINT) AS VARCHAR) END"
        )
    names = config.values.get(column.name)
    if names:
        cases = " ".join(f"WHEN {literal(theirs)} THEN {literal(ours)}" for theirs, ours in names.items())
        value = f"CASE {value} {cases} ELSE {value} END"
    return value


def _as_number(column: Column, given: str, family: str, config: TableConfig) -> str:
    digits = given
    if family == "text":
        digits = f"clv_number({f'clv_comma({given})' if config.decimal == ',' else given})"
    elif family == "float":
        digits = f"CASE WHEN isfinite({given}) THEN {given} END"
    scale = config.scale.get(column.name)
    if column.kind == "integer":
        number = f"TRY_CAST({digits} AS DOUBLE)"
        value = f"CASE WHEN {number} = floor({number}) THEN TRY_CAST({number} AS BIGINT) END"
    else:
        value = f"TRY_CAST({digits} AS {SQL_TYPES[column.kind]})"
    return f"TRY_CAST({value} * {scale} AS {SQL_TYPES[column.kind]})" if scale is not None else value


def _as_flag(given: str) -> str:
    word = f"lower(CAST({given} AS VARCHAR))"
    return (
        f"CASE WHEN {word} IN ('1', '1.0', 'true', 't', 'yes', 'y', '是') THEN TRUE "
        f"WHEN {word} IN ('0', '0.0', 'false', 'f', 'no', 'n', '否') THEN FALSE END"
    )


def _as_time(column: Column, given: str, family: str, config: TableConfig, zone: str, where: str) -> str:
    formats = config.formats.get(column.name)
    place = literal(zone)
    if family in {"timestamp", "date"}:
        value = f"CAST({given} AS TIMESTAMP)"
    elif family == "instant":
        value = f"timezone({place}, {given})"
    elif formats in {"epoch_s", "epoch_ms"}:
        number = f"clv_number({given})" if family == "text" else given
        seconds = f"TRY_CAST({number} AS DOUBLE)" + (" / 1000" if formats == "epoch_ms" else "")
        value = f"timezone({place}, to_timestamp(CASE WHEN {seconds} BETWEEN 0 AND 253402300799 THEN {seconds} END))"
    elif family != "text" and formats is None:
        raise DataError(
            f"{where}.{column.name}: the source column is a number; if it counts seconds since 1970 write "
            f'{column.name} = "epoch_s" (or "epoch_ms") under [tables.….formats], else its strptime format'
        )
    elif formats is not None:
        patterns = [formats] if isinstance(formats, str) else list(formats)
        if any(not isinstance(p, str) or "%" not in p for p in patterns):
            raise ConfigError(
                f"{where}.{column.name}: the format {formats!r} is neither strptime nor epoch_s, epoch_ms"
            )
        listed = "[" + ", ".join(literal(p) for p in patterns) + "]"
        read = f"try_strptime(CAST({given} AS VARCHAR), {listed})"
        value = f"timezone({place}, {read})" if all("%z" in p for p in patterns) else f"CAST({read} AS TIMESTAMP)"
    else:
        value = f"clv_time({given}, {place})"
    return f"CAST({value} AS {SQL_TYPES[column.kind]})"
