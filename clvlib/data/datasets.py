"""Data sets that people know: CDNOW from the lifetimes package, others from a file that the user has.

Nothing is downloaded. ``clv.connect("cdnow")`` reads the copy inside lifetimes; for the rest pass the file or folder
and the name of its mapping, as in ``clv.connect("online_retail.parquet", mapping="online_retail")``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from clvlib.errors import DataError

__all__ = ["cdnow", "frames", "lifetimes_file"]


def lifetimes_file(name: str) -> Path:
    """Return where the installed lifetimes package keeps a data set of this file name.

    Raises
    ------
    DataError
        When the package is not installed.
    """
    spec = find_spec("lifetimes")  # finds the package without importing it, which would take a second
    if spec is None or not spec.submodule_search_locations:
        raise DataError("CDNOW comes with the lifetimes package, which is not installed: pip install lifetimes")
    return Path(spec.submodule_search_locations[0]) / "datasets" / name


def cdnow(*, sample: bool = False) -> pd.DataFrame:
    """Return CDNOW's orders: customer_id, ordered_at (YYYYMMDD as text), quantity, amount.

    Parameters
    ----------
    sample : bool
        The systematic 1/10 sample of 2,357 customers that the papers use, in place of all 23,570.

    Raises
    ------
    DataError
        The lifetimes package, which carries the file, is not installed.

    Examples
    --------
    >>> len(cdnow()), len(cdnow(sample=True))
    (69659, 6919)
    """
    names = ["customer_id", "ordered_at", "quantity", "amount"]
    file = lifetimes_file("CDNOW_sample.txt" if sample else "CDNOW_master.txt")
    if sample:  # the master's id, then the sample's
        return pd.read_csv(file, sep=r"\s+", header=None, names=["master_id", *names], dtype=str)[names]
    return pd.read_csv(file, sep=r"\s+", header=0, names=names, dtype=str)


def frames(name: str) -> dict[str, pd.DataFrame] | None:
    """Return the tables of a data set that a dependency carries, or None where the name means none."""
    return {"orders": cdnow()} if name == "cdnow" else None
