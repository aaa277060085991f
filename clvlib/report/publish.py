"""How a report reaches its readers: prepared out of sight, then put in place at once, one writer at a time."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clvlib.data.scratch import taken
from clvlib.errors import ReportError

__all__ = ["exchange", "locked", "outlasting", "publish", "reported", "staging", "tidied"]

_WEEKLY = re.compile(r"(?:\.staging-|\.old-)?(\d{4}-W\d\d)(?:[-.].*)?")  # folders of reports, see staging()
_AT_FDCWD, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2


def _sentence(error: OSError, what: str) -> ReportError:
    return ReportError(f"{what}: {error.strerror or error}")


@contextmanager
def locked(out: Path, name: str, what: str = "", wait: float = 0) -> Iterator[None]:
    """Hold the right to write one thing, such as a week's report; the system takes it back when the process ends.

    Parameters
    ----------
    out : pathlib.Path
        Folder of the reports.
    name : str
        Of the lock: the week, or ``ledger``.
    what : str
        What is written, for the message; empty: the report of that week.
    wait : float
        Seconds to wait for another run.

    Raises
    ------
    ReportError
        Another run holds it, or the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / f".{name}.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise _sentence(error, f"cannot write into the folder {out}") from error
    with file:
        until = time.monotonic() + wait
        while not taken(file):
            if time.monotonic() >= until:
                file.seek(0)
                holder = file.read().strip()
                raise ReportError(
                    f"another run{f' (process {holder})' if holder else ''} is writing "
                    f"{what or f'the report of {name}'} in {out}; wait for it, or end it"
                )
            time.sleep(0.05)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def staging(out: Path, week: str) -> Iterator[Path]:
    """Make a hidden folder on the same disk for a report in the making; whatever happens, nothing of it stays.

    Call it under :func:`locked`; it begins with :func:`tidied`.

    Raises
    ------
    ReportError
        The folder cannot be made.
    """
    tidied(out, week)
    try:
        folder = out / f".staging-{week}-{secrets.token_hex(4)}"
        folder.mkdir()  # readable for whom the umask says
    except OSError as error:
        raise _sentence(error, f"cannot write into the folder {out}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tidied(out: Path, week: str) -> None:
    """Remove what a run or change of a week left behind when it was killed, and put back what that had moved aside.

    Call it under :func:`locked`.
    """
    for old in out.glob(f".old-{week}-*"):
        if not (out / week).exists():
            old.rename(out / week)
        shutil.rmtree(old, ignore_errors=True)
    for left in out.glob(f".staging-{week}-*"):
        shutil.rmtree(left, ignore_errors=True)
    for part in (out / week).rglob(".*.part"):  # of written_whole()
        part.unlink()


def reported(out: Path) -> list[str]:
    """Return the weeks of which a folder holds a report: published, failed, or left behind by a run that was killed."""
    weeks = {found[1] for path in out.iterdir() if path.is_dir() and (found := _WEEKLY.fullmatch(path.name))}
    return sorted(weeks)


def outlasting(output: Path) -> Path:
    """Return the folder that stays when a week's report is made again: that of the reports, or ``output`` itself.

    Parameters
    ----------
    output : pathlib.Path
        Folder for tables, as a notebook is given it: that of a report in the making or of a published one, or any.

    Examples
    --------
    >>> outlasting(Path("/r/.staging-2026-W46-x/tables")) == outlasting(Path("/r/2026-W46/tables")) == Path("/r")
    True
    >>> outlasting(Path("/elsewhere")).name
    'elsewhere'
    """
    folder = output.resolve()
    return folder.parents[1] if _WEEKLY.fullmatch(folder.parent.name) else folder


def exchange(one: Path, other: Path) -> bool:
    """Let two folders swap places in a single step; False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    a, b = os.fsencode(one), os.fsencode(other)
    if sys.platform.startswith("linux") and hasattr(library, "renameat2"):
        return bool(library.renameat2(_AT_FDCWD, a, _AT_FDCWD, b, _RENAME_EXCHANGE) == 0)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return bool(library.renamex_np(a, b, _RENAME_SWAP) == 0)
    return False


def _empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def publish(staged: Path, target: Path) -> None:
    """Put a finished folder in its place; a reader sees the old report or the new one, never half of either.

    Parameters
    ----------
    staged : pathlib.Path
        What :func:`staging` made; afterwards it holds what was published before, if anything.
    target : pathlib.Path
        Where it goes.

    Raises
    ------
    ReportError
        It could not be moved, or something that is no report lies there; what was there is there still.
    """
    if target.exists() and not (target / "status.json").is_file() and not _empty(target):
        raise ReportError(f"{target} exists and is no report of ours; move it away, or choose another --out")
    try:
        if not target.exists():
            staged.rename(target)
        elif not exchange(staged, target):
            aside = target.with_name(f".old-{target.name}-{os.getpid()}")
            target.rename(aside)  # a crash between these two lines is mended by the next run, in staging()
            staged.rename(target)
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise _sentence(error, f"cannot put the report in its place, {target}") from error
