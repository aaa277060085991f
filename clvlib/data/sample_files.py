"""How the sample shop's columns become files: coded text, ids, times and money, written by pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

__all__ = ["NEVER", "Codes", "Columns", "Ids", "Money", "Times", "take", "to_arrow", "write_table"]

NEVER = np.iinfo(np.int64).min  # a time that has not come: NULL in the file


class Codes(NamedTuple):
    """Text as codes into a list of labels; a negative code is NULL."""

    codes: npt.NDArray[Any]
    labels: tuple[str, ...] | list[str]


class Ids(NamedTuple):
    """Numbered ids, such as C000042; a negative number is NULL."""

    numbers: npt.NDArray[Any]
    prefix: str
    width: int


class Times(NamedTuple):
    """Seconds since the shop's first Monday, ``NEVER`` for NULL."""

    seconds: npt.NDArray[Any]


class Money(NamedTuple):
    """Integer cents."""

    cents: npt.NDArray[Any]


Column: TypeAlias = "npt.NDArray[Any] | Codes | Ids | Times | Money | pa.Array"
Columns: TypeAlias = "dict[str, Any]"


def take(columns: Columns, rows: npt.NDArray[Any]) -> Columns:
    """Some rows of every column."""
    return {
        name: type(c)(c[0][rows], *c[1:]) if isinstance(c, (Codes, Ids, Times, Money)) else c.take(rows)
        for name, c in columns.items()
    }


def length(columns: Columns) -> int:
    """How many rows there are."""
    first = next(iter(columns.values()))
    return len(first[0] if isinstance(first, (Codes, Ids, Times, Money)) else first)


def _codes(column: Codes) -> pa.Array:
    codes = np.asarray(column.codes)
    index = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(index, pa.array(list(column.labels), pa.string()))


def _ids(column: Ids) -> pa.Array:
    numbers = np.asarray(column.numbers)
    digits = pc.utf8_lpad(pa.array(np.maximum(numbers, 0)).cast(pa.string()), column.width, "0")
    text = pc.binary_join_element_wise(column.prefix, digits, "")
    return pc.if_else(pa.array(numbers >= 0), text, pa.scalar(None, pa.string()))


def to_arrow(columns: Columns, epoch: np.datetime64) -> pa.Table:
    """Turn columns into an Arrow table; ``epoch`` is the shop's first Monday, 00:00."""
    arrays: dict[str, pa.Array] = {}
    for name, column in columns.items():
        match column:
            case Codes():
                arrays[name] = _codes(column)
            case Ids():
                arrays[name] = _ids(column)
            case Times(seconds):
                never = seconds == NEVER
                stamps = epoch + np.where(never, 0, seconds).astype("timedelta64[s]")
                arrays[name] = pa.array(stamps.astype("datetime64[s]"), mask=never)
            case Money(cents):
                arrays[name] = pa.array(cents / 100.0)
            case _:
                arrays[name] = column if isinstance(column, pa.Array) else pa.array(column)
    return pa.table(arrays)


def write_table(path: Path, parts: Sequence[Columns], epoch: np.datetime64, *, squeeze: bool) -> int:
    """Write one file, CSV or Parquet by its suffix, and return its rows; ``squeeze`` trades time for size."""
    table = pa.concat_tables([to_arrow(columns, epoch) for columns in parts], promote_options="none")
    if path.suffix == ".csv":
        for k, field in enumerate(table.schema):  # the CSV writer knows no dictionaries
            if pa.types.is_dictionary(field.type):
                table = table.set_column(k, field.name, table.column(k).cast(pa.string()))
        pa.csv.write_csv(table, path, pa.csv.WriteOptions(quoting_style="needed"))
        return int(table.num_rows)
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    plain = {*times, *([] if squeeze else ["person_id"])}
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=12 if squeeze else 1,
        coerce_timestamps="ms",
        use_dictionary=[name for name in table.column_names if name not in plain],
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
        store_schema=False,
    )
    return int(table.num_rows)


def times_shifted(times: Times, rows: npt.NDArray[Any], seconds: int) -> Times:
    """Move some rows in time."""
    moved = times.seconds.copy()
    moved[rows] += seconds
    return Times(moved)
