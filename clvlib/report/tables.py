"""Tables of the report as files: whole or not at all, and safe to open in a spreadsheet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from clvlib.errors import ReportError

__all__ = ["column_names", "defused", "save_table", "written_whole"]

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
        part.unlink(missing_ok=True)
        raise ReportError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def column_names(frame: pd.DataFrame) -> list[str]:
    """Return the names of the columns as text, the levels of each in one."""
    names: list[Any] = list(frame.columns)
    return [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in names]


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Make the index columns, names text, and values that no file format knows text."""
    if any(frame.index.names) or not isinstance(frame.index, pd.RangeIndex):
        names = [str(name) if name is not None else f"level_{i}" for i, name in enumerate(frame.index.names)]
        frame = frame.reset_index(names=names, allow_duplicates=True)
    frame = frame.copy()
    frame.columns = column_names(frame)
    for i, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, (pd.CategoricalDtype, pd.IntervalDtype, pd.PeriodDtype)) or dtype.kind == "O":
            column = frame.iloc[:, i]
            kinds = {type(v) for v in column if not pd.api.types.is_scalar(v) or pd.notna(v)}
            if kinds - {str} and (len(kinds) > 1 or kinds <= {pd.Interval, pd.Period}):
                frame.isetitem(i, [None if pd.isna(v) else str(v) for v in column])
    return frame


def save_table(frame: pd.DataFrame, folder: Path, name: str) -> None:
    """Write a frame as ``<name>.parquet`` and ``<name>.csv``.

    Parameters
    ----------
    frame : pandas.DataFrame
        All of it is written, unrounded; the index becomes columns where it says something.
    folder : pathlib.Path
        Made where it does not exist.
    name : str
        Without ending.

    Raises
    ------
    ReportError
        A file could not be written.
    """
    flat = _flat(frame)
    written_whole(folder / f"{name}.parquet", lambda path: flat.to_parquet(path, index=False))
    text = flat.copy()
    for i, dtype in enumerate(flat.dtypes):
        if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype)):
            text.isetitem(i, [defused(value) for value in flat.iloc[:, i]])
    text.columns = [defused(column) for column in text.columns]
    # with a byte-order mark, without which Excel reads Chinese as Latin letters
    written_whole(folder / f"{name}.csv", lambda path: text.to_csv(path, index=False, encoding="utf-8-sig"))
