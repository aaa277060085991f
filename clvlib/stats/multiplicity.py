"""Many tests at once: p-values adjusted so that they can be read one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

__all__ = ["adjust", "agreeing_alpha"]


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
        adjusted = _benjamini_hochberg(p)
    elif method == "bonferroni":
        adjusted = np.minimum(1, p * len(p))
    else:
        raise ValueError(f"method {method!r} is not known; use 'holm', 'benjamini-hochberg' or 'bonferroni'")
    return pd.Series(adjusted, index=index, name="p_adjusted", dtype=float)


def agreeing_alpha(p_values: ArrayLike, alpha: float = 0.05, method: str = "holm") -> pd.Series:
    """Level of each test at which its own interval says what its adjusted p-value says.

    An interval at ``1 - agreeing_alpha`` leaves the null value out exactly when the adjusted p-value is at most
    ``alpha``. For Holm this is the level of the step at which the hypothesis was decided, so each interval covers with
    at least ``1 - alpha`` on its own; for Benjamini and Hochberg it is that of the false-coverage-rate intervals of
    Benjamini & Yekutieli (2005).

    Parameters
    ----------
    p_values, method
        As in :func:`adjust`.
    alpha : float
        Level of the whole family.

    Returns
    -------
    pandas.Series
        One level per hypothesis, indexed as ``p_values``.

    Raises
    ------
    ValueError
        As :func:`adjust`; or ``alpha`` outside (0, 1).

    Examples
    --------
    >>> agreeing_alpha([0.01, 0.04, 0.03]).round(4).tolist()  # one rejection, so the others were held against 0.05 / 2
    [0.0167, 0.025, 0.025]
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is a share between 0 and 1, such as 0.05; found {alpha}")
    adjusted = adjust(p_values, method)
    m, rejected = len(adjusted), int((adjusted <= alpha).sum())
    if method == "holm":
        rank = pd.Series(np.asarray(p_values, dtype=float), index=adjusted.index).rank(method="first").to_numpy()
        levels = alpha / (m - np.minimum(rank - 1, rejected))  # rank - 1 < m, so the divisor is at least 1
    elif method == "benjamini-hochberg":
        levels = np.full(m, alpha * max(rejected, 1) / max(m, 1))
    else:
        levels = np.full(m, alpha / max(m, 1))
    return pd.Series(levels, index=adjusted.index, name="alpha", dtype=float)


def _benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini & Hochberg (1995); as in :func:`scipy.stats.false_discovery_control`, which takes long to import."""
    order = np.argsort(p, kind="stable")[::-1]
    stepped = np.minimum.accumulate(p[order] * (len(p) / np.arange(len(p), 0, -1)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, stepped)
    return adjusted


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, stepped)
    return adjusted
