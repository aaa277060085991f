"""Where raw tables come from: a folder, one file, a DuckDB database, frames in memory. Each yields numbered parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

import duckdb
import pandas as pd

from clvlib.data.config import TableConfig
from clvlib.data.engine import identifier, literal, register
from clvlib.data.reader import RawPart, find_files, raw_part
from clvlib.errors import DataError

__all__ = ["DatabaseSource", "FileSource", "FolderSource", "FrameSource", "Source"]


class Source(Protocol):
    """Whatever can say which parts a table has."""

    def attach(self, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
        """Make the source reachable from ``connection``; ``scratch`` is a folder for copies."""
        ...

    def parts(self, table: str, config: TableConfig, number: int) -> list[RawPart]:
        """Return the parts of ``table`` that ``config`` describes, numbered from ``number``; none where absent."""
        ...


def _relation(connection: duckdb.DuckDBPyConnection, name: str, relation: str) -> RawPart:
    described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    columns = {str(row[0]): str(row[1]) for row in described}
    return RawPart(name, f"(SELECT row_number() OVER () AS _row, * FROM {relation})", columns)


class FolderSource:
    """A folder of CSV and Parquet files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def attach(self, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
        """Remember who reads, and where copies go."""
        self.connection, self.scratch = connection, scratch

    def parts(self, table: str, config: TableConfig, number: int) -> list[RawPart]:
        """Return a part per file."""
        files = find_files(self.folder, table, config)
        if config.files and not files:
            raise DataError(f"{table}: no file matches {config.files!r} in {self.folder.name}")
        return [raw_part(self.connection, file, config, self.scratch, number + i) for i, file in enumerate(files)]


class FileSource(FolderSource):
    """One file: of the tables that the configuration names, or of orders where it names none."""

    def __init__(self, file: Path, tables: Collection[str]) -> None:
        super().__init__(file)
        self.tables = tables or ("orders",)

    def parts(self, table: str, config: TableConfig, number: int) -> list[RawPart]:
        """Return the file, if it holds the table."""
        return [raw_part(self.connection, self.folder, config, self.scratch, number)] if table in self.tables else []


class DatabaseSource:
    """A DuckDB database of the user's own, opened to be read only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def attach(self, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:  # noqa: ARG002 - needs no copies
        """Attach the database."""
        connection.execute(f"ATTACH {literal(str(self.path))} AS source (READ_ONLY)")
        self.connection = connection

    def parts(self, table: str, config: TableConfig, number: int) -> list[RawPart]:  # noqa: ARG002 - names itself
        """Return the database's table of that name, or of the name in ``files``."""
        name = config.files or table
        query = "SELECT 1 FROM information_schema.tables WHERE table_catalog = 'source' AND table_name = ?"
        if self.connection.execute(query, [name]).fetchall():
            return [_relation(self.connection, name, f"source.{identifier(name)}")]
        if config.files:
            raise DataError(f"{table}: the database has no table {name!r}")
        return []


class FrameSource:
    """Frames in memory, by table name."""

    def __init__(self, frames: Mapping[str, pd.DataFrame]) -> None:
        self.frames = frames

    def attach(self, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:  # noqa: ARG002 - needs no copies
        """Let DuckDB scan the frames in place."""
        for name, frame in self.frames.items():
            register(connection, f"_frame_{name}", frame)
        self.connection = connection

    def parts(self, table: str, config: TableConfig, number: int) -> list[RawPart]:  # noqa: ARG002 - names itself
        """Return the frame of that name."""
        return [_relation(self.connection, table, f"_frame_{table}")] if table in self.frames else []
