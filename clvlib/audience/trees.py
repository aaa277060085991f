"""Who stems from whom: depth, root and loops where everybody points to one other at most."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.errors import DataError

__all__ = ["forest"]


def forest(child: pd.Series, parent: pd.Series) -> pd.DataFrame:
    """Follow links upwards, all of them at once, each round twice as far as the one before.

    Parameters
    ----------
    child, parent : pandas.Series
        Equally long: a link per row. A child has one parent; a link to oneself makes a root.

    Returns
    -------
    pandas.DataFrame
        A row per id, ordered as they first occur: ``parent`` (missing for a root), ``root`` and ``depth`` (0 at the
        root; both missing where the way up ends in a loop), ``descendants`` (all below, outside loops), ``loop`` (for
        those who are part of a loop its number, -1 for all others).

    Raises
    ------
    DataError
        A child has two parents.

    Examples
    --------
    >>> forest(pd.Series(["b", "c", "x", "y"]), pd.Series(["a", "b", "y", "x"]))[["depth", "descendants", "loop"]]
       depth  descendants  loop
    b    1.0            1    -1
    c    2.0            0    -1
    x    NaN            0     0
    y    NaN            0     0
    a    0.0            2    -1
    """
    if child.duplicated().any():
        raise DataError(f"{int(child.duplicated().sum())} ids have several parents; keep one link each")
    codes, ids = pd.factorize(pd.concat([child, parent], ignore_index=True))
    own = np.arange(len(ids))
    up = own.copy()
    up[codes[: len(child)]] = codes[len(child) :]
    jump, depth, lowest = up, (up != own).astype(np.int64), own
    for _ in range(len(ids).bit_length()):
        lowest = np.minimum(lowest, lowest[jump])
        further = jump[jump]
        if np.array_equal(further, jump):
            break
        depth, jump = depth + depth[jump], further
    rooted = up[jump] == jump  # otherwise the jump has ended inside a loop, somewhere
    looped = np.zeros(len(ids), dtype=bool)
    looped[jump[~rooted]] = True
    loop = np.full(len(ids), -1)
    loop[looped] = pd.factorize(lowest[looped])[0]
    labels = pd.Series(ids)
    return pd.DataFrame(
        {
            "parent": labels[up].where(up != own).to_numpy(),
            "root": labels[jump].where(rooted).to_numpy(),
            "depth": np.where(rooted, depth, np.nan),
            "descendants": _descendants(up, np.where(rooted, depth, -1)),
            "loop": loop,
        },
        index=pd.Index(ids),
    )


def _descendants(up: NDArray[np.intp], depth: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many stem from each, from the deepest level upwards."""
    below = np.zeros(len(up), dtype=np.int64)
    order = np.argsort(-depth, kind="stable")
    order = order[depth[order] > 0]
    for level in np.split(order, np.flatnonzero(np.diff(depth[order])) + 1):
        np.add.at(below, up[level], below[level] + 1)
    return below
