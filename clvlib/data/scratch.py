"""Folders for copies of a shop's tables: they live as long as somebody works with them, also where that is killed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

__all__ = ["Scratch", "taken"]

_PREFIX: Final = "clvlib-run-"


def taken(file: IO[str]) -> bool:
    """Take the lock of an open file, unless another process has it; the system takes it back when this one ends."""
    if sys.platform == "win32":  # nobody takes a lock, and nothing is removed for want of one
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Scratch:
    """A folder that only its owner can read, below that for temporary files, until it is closed or forgotten.

    Those of processes that were killed, whose locks nobody holds any more, are removed first: there are customers in
    them.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    """

    def __init__(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError), (left / "lock").open("r+", encoding="utf-8") as file:
                if taken(file):
                    shutil.rmtree(left, ignore_errors=True)
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)
        self._lock = (self.path / "new").open("w", encoding="utf-8")
        taken(self._lock)
        (self.path / "new").rename(self.path / "lock")  # which others see once it is held

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()
        self._lock.close()
