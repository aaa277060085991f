"""Finds the files of a table and hands them to DuckDB as they are: every CSV field as text, every row numbered."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb

from clvlib.data.config import TableConfig
from clvlib.data.engine import literal
from clvlib.errors import ConfigError, DataError
from clvlib.words import mark

__all__ = ["RawPart", "find_files", "raw_part"]

_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".txt", ".parquet")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how files of Excel begin, new and old
_HEAD = 1 << 20


@dataclass(frozen=True)
class RawPart:
    """One file (or relation) of a table before any check.

    Attributes
    ----------
    name : str
        What messages call it.
    relation : str
        SQL that yields its columns and ``_row``, the number of the data row, from 1.
    columns : dict
        Source name to source type, in the file's order.
    rejects : str
        Temporary table in which DuckDB puts lines that are not rows once the relation is read, or "".
    notes : tuple of (str, dict)
        What a reader of the quality report should know about the file: a message of the catalogue, and its fields.
    header_lines : int
        How many lines come before the first data row.
    """

    name: str
    relation: str
    columns: dict[str, str]
    rejects: str = ""
    header_lines: int = 0
    notes: tuple[tuple[str, dict[str, str]], ...] = ()


def find_files(folder: Path, table: str, config: TableConfig) -> list[Path]:
    """Return the files of one part of a table, sorted by name.

    Without ``files`` in the configuration these are ``<table>.csv``, ``<table>-*.csv`` and whatever lies in a folder
    ``<table>/``; likewise ``.csv.gz``, ``.tsv``, ``.txt`` and ``.parquet``.

    Raises
    ------
    DataError
        There is none, but a workbook of the table's name: what somebody put there is not passed over.
    """
    if config.files:
        named = Path(config.files)
        if named.is_absolute():
            return [named] if named.is_file() else []
        return sorted(path for path in folder.glob(config.files) if path.is_file())
    found: set[Path] = set()
    for suffix in _SUFFIXES:
        found |= set(folder.glob(f"{table}{suffix}")) | set(folder.glob(f"{table}-*{suffix}"))
        found |= set(folder.glob(f"{table}/*{suffix}"))
    for workbook in () if found else sorted(folder.glob(f"{table}*.xls*")):
        raise _workbook(workbook)
    return sorted(path for path in found if path.is_file())


def raw_part(
    connection: duckdb.DuckDBPyConnection, path: Path, config: TableConfig, scratch: Path, number: int
) -> RawPart:
    """Describe one file.

    Raises
    ------
    DataError
        The file is empty, is not what its name says, or is text in another encoding than stated.
    """
    if path.suffix == ".parquet":
        return _parquet(connection, path)
    return _text(path, config, scratch, number)


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> RawPart:
    scan = f"read_parquet({literal(str(path))}, file_row_number = true)"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
    except duckdb.Error as error:
        raise DataError(f"{path.name}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    columns = {str(name): str(kind) for name, kind, *_ in described if name != "file_row_number"}
    return RawPart(path.name, f"(SELECT * EXCLUDE (file_row_number), file_row_number + 1 AS _row FROM {scan})", columns)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read_head(path: Path) -> tuple[bytes, bool]:
    """Return the first bytes of a file and whether they are all of it."""
    try:
        with _open(path) as stream:
            head = stream.read(_HEAD + 1)
    except (OSError, EOFError) as error:
        raise DataError(f"{path.name}: cannot be read ({error})") from None
    return head[:_HEAD], len(head) <= _HEAD


def _is(encoding: str, head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(head, final=False)
    except UnicodeDecodeError:
        return False
    return True


def _workbook(path: Path) -> DataError:
    return DataError(f"{path.name}: a workbook of Excel is not read; save its sheet as “CSV UTF-8”")


def _check_utf8(path: Path, head: bytes) -> None:
    if head.startswith(_WORKBOOKS):
        raise _workbook(path)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        hint = "utf-16"
    elif _is("utf-8", head):
        return
    else:
        hint = "gb18030" if _is("gb18030", head) else "latin-1"
    raise DataError(
        f"{path.name}: this is not UTF-8; it could be {hint}. Say so, once you have looked: "
        f'encoding = "{hint}" under [tables.…] of clvlib.toml'
    )


def _transcoded(path: Path, encoding: str, scratch: Path, number: int) -> Path:
    """Write a copy in UTF-8, piece by piece."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)("strict")
    except LookupError:
        raise ConfigError(f"{path.name}: no encoding is called {encoding!r}; write it like gb18030") from None
    copy = scratch / f"{number}-{path.name.removesuffix('.gz')}"
    with _open(path) as source, copy.open("w", encoding="utf-8", newline="") as target:
        done = 0
        while piece := source.read(_HEAD):
            try:
                target.write(decoder.decode(piece, final=False))
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path.name}: byte {done + error.start + 1:,} is not {encoding}; the encoding stated under "
                    f"[tables.…] is wrong, or the file is damaged"
                ) from None
            done += len(piece)
    return copy


def _delimiter(line: str) -> str:
    counts = {sign: line.count(sign) for sign in (",", ";", "\t", "|")}
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] else ","


def _names(path: Path, fields: Iterator[list[str]]) -> list[str]:
    names = [name.strip() for name in next(fields, [])]
    names = [name or f"column {i}" for i, name in enumerate(names, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path.name}: the header names {', '.join(twice)} twice; which one is meant cannot be known")
    return names


def _text(path: Path, config: TableConfig, scratch: Path, number: int) -> RawPart:
    head, whole = _read_head(path)
    if not head.strip():
        raise DataError(f"{path.name}: the file is empty; it lacks even a header")
    source = path
    if config.encoding and config.encoding.lower().replace("_", "-") not in {"utf-8", "utf8"}:
        source = _transcoded(path, config.encoding, scratch, number)
        head, whole = _read_head(source)
    _check_utf8(source, head)
    text = codecs.getincrementaldecoder("utf-8-sig")("replace").decode(head, final=False)
    delimiter = config.delimiter or _delimiter(text.splitlines()[0])
    names = list(config.header) or _names(path, csv.reader(io.StringIO(text, newline=None), delimiter=delimiter))
    columns = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names) + "}"
    rejects = f"_rejects_{number}"
    scan = (
        f"read_csv({literal(str(source))}, columns = {columns}, header = {literal(not config.header)}, "
        f"delim = {literal(delimiter)}, quote = '\"', escape = '\"', auto_detect = false, strict_mode = true, "
        f"nullstr = '', store_rejects = true, rejects_table = '{rejects}', rejects_scan = '{rejects}_scan')"
    )
    return RawPart(
        name=path.name,
        relation=f"(SELECT row_number() OVER () AS _row, * FROM {scan})",
        columns=dict.fromkeys(names, "VARCHAR"),
        rejects=rejects,
        header_lines=0 if config.header else 1,
        notes=_last_line(path, head, whole=whole),
    )


def _last_line(path: Path, head: bytes, *, whole: bool) -> tuple[tuple[str, dict[str, str]], ...]:
    if whole:
        last = head[-1:]
    elif path.suffix == ".gz":
        return ()
    else:
        with path.open("rb") as stream:
            stream.seek(-1, io.SEEK_END)
            last = stream.read(1)
    if last in {b"\n", b"\r"}:
        return ()
    text = mark("{file}: the last line has no line end; if the file was cut off, its last value may be cut too")
    return ((text, {"file": path.name}),)
