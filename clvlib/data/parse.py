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
    f"CREATE OR REPLACE TEMP MACRO clv_trim(x) AS trim(CAST(x AS VARCHAR), {literal(_BLANKS)})",
    f"CREATE OR REPLACE TEMP MACRO clv_text(x) AS "
    f"CASE WHEN lower(clv_trim(x)) IN {literal(_MISSING)} THEN NULL ELSE clv_trim(x) END",
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
    value : str
        The expression for it, NULL where it cannot be read.
    given : str
        A condition: the source says something there.
    """

    column: Column
    value: str
    given: str


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
    text = f"clv_text({source})"
    given = f"{text} IS NOT NULL" if family in {"text", "float"} else f"({source}) IS NOT NULL"
    if column.kind in {"id", "text"}:
        value = _as_text(column, source, family, config, text)
    elif column.kind in {"time", "date"}:
        value = _as_time(column, source, family, config, zone, where)
    elif column.kind == "flag":
        value = _as_flag(text)
    else:
        value = _as_number(column, source, family, config, text)
    return Parsed(column, value, given)


def _as_text(column: Column, source: str, family: str, config: TableConfig, text: str) -> str:
    value = text
    if family == "float" and column.kind == "id":
        # A whole number that a missing neighbour turned into a float; beyond 2^53 its digits are already lost.
        value = (
            f"CASE WHEN isfinite({source}) AND {source} = floor({source}) AND abs({source}) < 9007199254740992 "
            f"THEN CAST(CAST({source} AS BIGINT) AS VARCHAR) END"
        )
    names = config.values.get(column.name)
    if names:
        cases = " ".join(f"WHEN {literal(theirs)} THEN {literal(ours)}" for theirs, ours in names.items())
        value = f"CASE {value} {cases} ELSE {value} END"
    return value


def _as_number(column: Column, source: str, family: str, config: TableConfig, text: str) -> str:
    if family == "text":
        body = f"clv_comma({text})" if config.decimal == "," else text
        digits = f"clv_number({body})"
    else:
        digits = f"CASE WHEN isfinite(CAST({source} AS DOUBLE)) THEN {source} END" if family == "float" else source
    scale = config.scale.get(column.name)
    if column.kind == "integer":
        number = f"TRY_CAST({digits} AS DOUBLE)"
        value = f"CASE WHEN {number} = floor({number}) THEN TRY_CAST({number} AS BIGINT) END"
    else:
        value = f"TRY_CAST({digits} AS {SQL_TYPES[column.kind]})"
    return f"TRY_CAST({value} * {scale} AS {SQL_TYPES[column.kind]})" if scale is not None else value


def _as_flag(text: str) -> str:
    word = f"lower({text})"
    return (
        f"CASE WHEN {word} IN ('1', '1.0', 'true', 't', 'yes', 'y', '是') THEN TRUE "
        f"WHEN {word} IN ('0', '0.0', 'false', 'f', 'no', 'n', '否') THEN FALSE END"
    )


def _as_time(column: Column, source: str, family: str, config: TableConfig, zone: str, where: str) -> str:
    formats = config.formats.get(column.name)
    place = literal(zone)
    if family in {"timestamp", "date"}:
        value = f"CAST({source} AS TIMESTAMP)"
    elif family == "instant":
        value = f"timezone({place}, {source})"
    elif formats in {"epoch_s", "epoch_ms"}:
        seconds = f"TRY_CAST(clv_number(clv_text({source})) AS DOUBLE)" + (" / 1000" if formats == "epoch_ms" else "")
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
        read = f"try_strptime(clv_text({source}), {listed})"
        value = f"timezone({place}, {read})" if all("%z" in p for p in patterns) else f"CAST({read} AS TIMESTAMP)"
    else:
        value = f"clv_time(clv_text({source}), {place})"
    return f"CAST({value} AS {SQL_TYPES[column.kind]})"
