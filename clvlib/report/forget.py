"""Forget a customer: out of the lists, pages, notebooks and ledger of a folder of reports, with proof (X4)."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pandas as pd

from clvlib.data.privacy import KEY, KEY_FILE, SAMPLE_KEY, Pseudonyms, find_key
from clvlib.errors import ParameterError, ReportError
from clvlib.report.ledger import erase
from clvlib.report.publish import locked, reported, tidied
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
    removed : dict of str to str
        Files that are gone as a whole, each with the reason: encrypted lists, printed pages that named the customer,
        and ledgers that were set aside broken.
    entries : dict of str to int
        Entries in which the pseudonym was overwritten, by ledger.
    searched : int
        Files that were searched again afterwards; none names the customer.
    """

    rows: dict[str, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    removed: dict[str, str] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)
    searched: int = 0

    @property
    def text(self) -> str:
        """All of it, in lines."""
        lines = [f"{name}: {count} row{'s' if count > 1 else ''} removed" for name, count in self.rows.items()]
        lines += [f"{name}: pseudonym overwritten" for name in self.texts]
        lines += [f"{name}: removed; {why}" for name, why in self.removed.items()]
        lines += [f"{name}: {n} entr{'ies' if n > 1 else 'y'} overwritten" for name, n in self.entries.items()]
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
        The key of a report's pseudonyms is not at hand (nothing is changed then), a file cannot be read or written, a
        report is just being written, or the customer is still found.
    """
    if not out.is_dir():
        raise ParameterError(f"{out}: no reports lie here")
    if not customer.strip():
        raise ParameterError("forget whom? Name the customer's id")
    found = Forgotten()
    with ExitStack() as locks:
        for week in reported(out):
            locks.enter_context(locked(out, week, wait=_WAIT))
            tidied(out, week)
        pseudonyms = [str(names.of([customer])[0]) for names in _known(out)]
        for path in sorted(_files(out), key=lambda path: path.suffix != ".pdf"):  # before the pages that they print
            _clean(path, path.relative_to(out).as_posix(), customer, pseudonyms, found)
        entries, broken = erase(out, pseudonyms, FORGOTTEN, tell)
        found.entries.update(entries)
        found.removed.update(dict.fromkeys(broken, "a ledger that cannot be read cannot be searched"))
        left = [path for path in _files(out) if _names(path, customer, pseudonyms)]
    if left:
        raise ReportError(f"the customer is still named in {', '.join(map(str, left))}")
    return replace(found, searched=len(_files(out)))


def _known(out: Path) -> list[Pseudonyms]:
    """Return the pseudonyms that reports have used, by each key at hand: those of all of them, or it is an error."""
    environ = {name: os.environ[name] for name in (KEY, KEY_FILE) if os.environ.get(name)}
    keys = [SAMPLE_KEY.encode(), *([find_key(None, environ)] if environ else [])]
    keys += [find_key(out, {})] if (out / ".key").exists() else []
    known = [Pseudonyms(key) for key in keys]
    fingerprints = {names.fingerprint for names in known}
    foreign = []
    for file in sorted(out.rglob("manifest.json")):
        try:
            made = json.loads(file.read_text(encoding="utf-8")).get("pseudonyms")
        except (OSError, ValueError, AttributeError) as error:
            raise ReportError(f"{file} cannot be read ({error})") from error
        if made and made not in fingerprints:
            foreign.append(file.parent.relative_to(out).as_posix())
    if foreign:
        raise ReportError(
            f"the pseudonyms of {', '.join(foreign)} were made with a key that is not at hand, so nobody can be found "
            f"there; nothing was changed. Name that key ({KEY} or {KEY_FILE}), or delete these reports first"
        )
    return known


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
            found.removed[shown] = "an encrypted list cannot be searched"
        elif path.suffix == ".pdf":
            page = path.with_suffix(".html")
            if page.exists() and _names(page, customer, pseudonyms):
                path.unlink()
                found.removed[shown] = "its page named the customer; the next report with --pdf prints it again"
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
