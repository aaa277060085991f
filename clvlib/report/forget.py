"""Forget a customer: out of the lists, pages, notebooks and ledger of a folder of reports, with proof (X4)."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from clvlib.data.privacy import SAMPLE_KEY, Pseudonyms, find_key
from clvlib.errors import ParameterError, ReportError
from clvlib.report.ledger import NAME, erase
from clvlib.report.publish import locked
from clvlib.report.tables import written_whole

__all__ = ["FORGOTTEN", "Forgotten", "forget"]

FORGOTTEN: Final = "P-forgotten"

_TEXT = {".html", ".ipynb", ".json", ".txt", ".md"}
_WAIT = 60.0  # seconds for a run that writes a week


@dataclass(frozen=True)
class Forgotten:
    """What was removed.

    Attributes
    ----------
    rows : dict of str to int
        Rows removed, by file of a list or table.
    texts : list of str
        Files in which the pseudonym was overwritten.
    removed : list of str
        Encrypted lists, which cannot be searched and are gone as a whole.
    entries : int
        Entries of the ledger in which the pseudonym was overwritten.
    searched : int
        Files that were searched again afterwards; none names the customer.
    """

    rows: dict[str, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    entries: int = 0
    searched: int = 0

    @property
    def text(self) -> str:
        """All of it, in lines."""
        lines = [f"{name}: {count} row{'s' if count > 1 else ''} removed" for name, count in self.rows.items()]
        lines += [f"{name}: pseudonym overwritten" for name in self.texts]
        lines += [f"{name}: removed; an encrypted list cannot be searched" for name in self.removed]
        if self.entries:
            lines.append(f"{NAME}: {self.entries} entr{'ies' if self.entries > 1 else 'y'} overwritten")
        if not lines:
            lines.append("the customer was in no report")
        return "\n".join([*lines, f"{self.searched} files searched again: the customer is in none of them"])


def forget(customer: str, out: Path, tell: Callable[[str], None] = lambda _: None) -> Forgotten:
    """Remove a customer from everything that reports stored, and search all of it again.

    The shop's own data are not touched: a customer who is still there will be in the next report. Back-ups, and copies
    that left the folder, are out of reach.

    Parameters
    ----------
    customer : str
        The customer's id in the shop.
    out : pathlib.Path
        Folder of the reports.
    tell : callable
        Receives a line where the ledger is broken.

    Returns
    -------
    Forgotten

    Raises
    ------
    ParameterError
        There is no such folder, or no id.
    ReportError
        A file cannot be read or written, a report is just being written, or the customer is still found.
    """
    if not out.is_dir():
        raise ParameterError(f"{out}: no reports lie here")
    if not customer.strip():
        raise ParameterError("forget whom? Name the customer's id")
    pseudonyms = [str(Pseudonyms(key).of([customer])[0]) for key in (find_key(out), SAMPLE_KEY)]
    found = Forgotten()
    weeks = {path.name.split(".")[0] for path in out.iterdir() if path.is_dir() and not path.name.startswith(".")}
    with ExitStack() as locks:
        for week in sorted(weeks):
            locks.enter_context(locked(out, week, wait=_WAIT))
        for path in _files(out):
            _clean(path, path.relative_to(out).as_posix(), customer, pseudonyms, found)
        entries = sum(erase(out, name, FORGOTTEN, tell) for name in pseudonyms)
        left = [path for path in _files(out) if _names(path, customer, pseudonyms)]
    if left:
        raise ReportError(f"the customer is still named in {', '.join(map(str, left))}")
    return Forgotten(found.rows, found.texts, found.removed, entries, len(_files(out)))


def _files(out: Path) -> list[Path]:
    """Return what may hold a customer: all files but the key, the locks and the ledger."""
    skipped = (".key", ".lock")
    return [
        path
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.endswith(skipped) and path.suffix != ".duckdb"
    ]


def _frame(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)


def _of(frame: pd.DataFrame, customer: str, pseudonyms: list[str]) -> pd.Series:
    """Say which rows are about the customer."""
    rows = pd.Series(data=False, index=frame.index)
    # an id is written with an apostrophe where it could run in a spreadsheet
    for column, names in (("customer_id", [customer, f"'{customer}"]), ("customer", pseudonyms)):
        if column in frame:
            rows |= frame[column].astype(str).isin(names)
    return rows


def _clean(path: Path, shown: str, customer: str, pseudonyms: list[str], found: Forgotten) -> None:
    try:
        if path.suffix == ".age":
            path.unlink()
            found.removed.append(shown)
        elif path.suffix in {".csv", ".parquet"}:
            frame = _frame(path)
            own = _of(frame, customer, pseudonyms)
            if own.any():
                _replace(path, _bytes(frame[~own], path.suffix))
                found.rows[shown] = int(own.sum())
        elif path.suffix in _TEXT:
            before = content = path.read_bytes()
            for name in pseudonyms:
                content = content.replace(name.encode(), FORGOTTEN.encode())
            if content != before:
                _replace(path, content)
                found.texts.append(shown)
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read or written ({error})") from error


def _bytes(frame: pd.DataFrame, suffix: str) -> bytes:
    if suffix == ".csv":
        return frame.to_csv(index=False).encode("utf-8-sig")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode & 0o777

    def write(part: Path) -> None:
        part.touch(mode=mode)
        part.write_bytes(content)
        with part.open("rb") as written:
            os.fsync(written.fileno())

    written_whole(path, write)


def _names(path: Path, customer: str, pseudonyms: list[str]) -> bool:
    """Say whether a file still names the customer: under the pseudonym anywhere, under the id in a list."""
    if path.suffix in {".csv", ".parquet"} and _of(_frame(path), customer, pseudonyms).any():
        return True
    content = path.read_bytes()
    return any(name.encode() in content for name in pseudonyms)
