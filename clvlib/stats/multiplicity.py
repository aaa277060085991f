"""Many tests at once: p-values adjusted so that they can be read one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["adjust"]


def adjust(p_values: ArrayLike, method: str = "holm") -> pd.Series:
    """Adjust p-values for their number.

    Parameters
    ----------
    p_values : array_like
        One p-value per hypothesis.
    method : {"holm", "benjamini-hochberg", "bonferroni"}
        Holm (1979) and Bonferroni hold the chance of any false rejection (use them where decisions hang on it);
        Benjamini & Hochberg (1995) holds the expected share of false ones among the rejections (for diagnostics).

    Returns
    -------
    pandas.Series
        Adjusted p-values in the order given; a hypothesis is rejected when its own is at most alpha. The index is
        that of ``p_values`` when it is a Series.

    Raises
    ------
    ValueError
        A p-value that is missing or outside [0, 1]; an unknown method.

    Examples
    --------
    >>> adjust([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    >>> adjust([0.01, 0.04, 0.03], "benjamini-hochberg").tolist()
    [0.03, 0.04, 0.04]
    """
    index = p_values.index if isinstance(p_values, pd.Series) else None
    p = np.atleast_1d(np.asarray(p_values, dtype=float))
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("every p-value must lie between 0 and 1; found one that is missing or outside")
    if method == "holm":
        adjusted = _holm(p)
    elif method == "benjamini-hochberg":
        adjusted = stats.false_discovery_control(p, method="bh") if len(p) else p
    elif method == "bonferroni":
        adjusted = np.minimum(1, p * len(p))
    else:
        raise ValueError(f"method {method!r} is not known; use 'holm', 'benjamini-hochberg' or 'bonferroni'")
    return pd.Series(adjusted, index=index, name="p_adjusted", dtype=float)


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, stepped)
    return adjusted
