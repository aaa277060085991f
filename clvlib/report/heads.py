"""What stands above the columns of tables, in words: a name that is not here is shown with spaces for underscores."""

from __future__ import annotations

from typing import Final

from clvlib.words import mark

__all__ = ["HEADS"]

# name of the column -> what readers see
HEADS: Final = {
    "frequency": mark("frequency"),
}
