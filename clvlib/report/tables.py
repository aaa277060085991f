"""Tables of the report as files: whole or not at all, and safe to open in a spreadsheet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from clvlib.data.privacy import encrypted
from clvlib.errors import ReportError

__all__ = [
    "column_names",
    "csv_text",
    "defused",
    "flattened",
    "save_list",
    "save_table",
    "write_table",
    "written_whole",
]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?%?")


def defused(value: Any) -> Any:
    """Keep a spreadsheet from running text that looks like a formula; numbers stay numbers.

    Source: OWASP, "CSV Injection".

    >>> defused("=1+1"), defused("-5"), defused(-5), defused("@x"), defused("a=b")
    ("'=1+1", '-5', -5, "'@x", 'a=b')
    """
    if isinstance(value, str) and value.lstrip(" ")[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} and value.strip():
        return value if _NUMBER.fullmatch(value) else f"'{value}"
    return value


def written_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a file beside ``path``, then put it in its place at once.

    Raises
    ------
    ReportError
        The disk is full, the folder cannot be written, or the like; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(path)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def column_names(frame: pd.DataFrame) -> list[str]:
    """Return the names of the columns as text, the levels of each in one."""
    names: list[Any] = list(frame.columns)
    return [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in names]


def _needs_text(column: pd.Series) -> bool:
    dtype = column.cat.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    if isinstance(dtype, (pd.IntervalDtype, pd.PeriodDtype)):
        return True
    if dtype.kind != "O" or isinstance(dtype, pd.StringDtype):
        return False
    kinds = {type(value) for value in column.dropna()}
    return len(kinds) > 1 or bool(kinds & {pd.Interval, pd.Period})


def flattened(frame: pd.DataFrame) -> pd.DataFrame:
    """Make the index columns, names text, and values that no file format knows text."""
    if any(frame.index.names) or not isinstance(frame.index, pd.RangeIndex):
        names = [str(name) if name is not None else f"level_{i}" for i, name in enumerate(frame.index.names)]
        frame = frame.reset_index(names=names, allow_duplicates=True)
    flat = frame.copy(deep=False)
    flat.columns = column_names(frame)
    for i, (_, column) in enumerate(frame.items()):
        if _needs_text(column):
            text = [None if pd.isna(value) else str(value) for value in column]
            flat.isetitem(i, pd.array(text, dtype="str"))
    return flat


def csv_text(frame: pd.DataFrame) -> str:
    """Write a frame as CSV that is safe to open in a spreadsheet; numbers are exact."""
    return _csv(flattened(frame))


def _csv(flat: pd.DataFrame) -> str:
    safe = flat.copy(deep=False)
    for i, (_, column) in enumerate(flat.items()):
        if isinstance(column.dtype, pd.StringDtype):
            runs = [text for text in column.unique() if defused(text) != text and isinstance(text, str)]
            if runs:
                safe.isetitem(i, column.where(~column.isin(runs), "'" + column).array)
        elif not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)):
            safe.isetitem(i, [defused(value) for value in column])
    safe.columns = [defused(name) for name in flat.columns]
    return str(safe.to_csv(index=False))


def write_table(frame: pd.DataFrame, path: Path, mode: int = 0o644) -> None:
    """Write a frame as Parquet or CSV, by the ending of the name.

    Parameters
    ----------
    frame : pandas.DataFrame
        All of it is written, unrounded; the index becomes columns where it says something.
    path : pathlib.Path
        Ends in .parquet or .csv; its folder is made where it does not exist.
    mode : int
        Who may read it.

    Raises
    ------
    ReportError
        The file could not be written.
    """
    _write_flat(flattened(frame), path, mode)


def _write_flat(flat: pd.DataFrame, path: Path, mode: int = 0o644) -> None:
    def write(part: Path) -> None:
        part.touch(mode=mode)
        if path.suffix == ".csv":  # with a byte-order mark, without which Excel reads Chinese as Latin letters
            part.write_text(_csv(flat), encoding="utf-8-sig", newline="")
        else:
            flat.to_parquet(part, index=False)

    written_whole(path, write)


def save_list(frame: pd.DataFrame, folder: Path, name: str, recipients: Sequence[str] = ()) -> Path:
    """Write a list of customers as CSV for its owner alone; with recipients encrypted, in the format of age.

    Parameters
    ----------
    frame : pandas.DataFrame
        All of it is written.
    folder : pathlib.Path
        Where to.
    name : str
        Of the file: ``<name>.csv``, or ``<name>.csv.age``.
    recipients : sequence of str
        Public keys of age.

    Raises
    ------
    ReportError, ConfigError
        The file could not be written, or a key is not one.
    """
    content = csv_text(frame).encode("utf-8-sig")
    path = folder / f"{name}.csv"
    if recipients:
        content, path = encrypted(content, recipients), folder / f"{name}.csv.age"

    def write(part: Path) -> None:
        part.touch(mode=0o600)
        part.write_bytes(content)

    return written_whole(path, write)


def save_table(frame: pd.DataFrame, folder: Path, name: str) -> None:
    """Write a frame as ``<name>.parquet`` and ``<name>.csv`` into a folder; see :func:`write_table`."""
    flat = flattened(frame)
    for ending in ("parquet", "csv"):
        _write_flat(flat, folder / f"{name}.{ending}")
