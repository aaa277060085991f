"""How many personas there are: as many as other customers, and other orders of the same ones, show again (A4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.stats.k_means import adjusted_rand_index, k_means, nearest
from clvlib.stats.resample import interval_of_draws

__all__ = ["persistence", "stability"]

Floats = NDArray[np.float64]
_SPLITS, _SHUFFLES = 20, 199
_SAMPLE = 6000  # customers from whom the number is learnt, at most


def stability(points: Floats, numbers: range, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Tell for each number of clusters whether two halves of the customers lead to the same ones.

    Parameters
    ----------
    points : numpy.ndarray, shape (customers, features)
        Coordinates.
    numbers : range
        Numbers of clusters.
    level : float
        Share of the splits between the limits.
    seed : int
        Of the splits.

    Returns
    -------
    pandas.DataFrame
        Index ``number``: ``stability``, the mean adjusted Rand index (Hubert and Arabie 1985) between the groupings of
        all customers by centres learnt from either half, over random halves, and ``lower`` and ``upper``, between which
        it lies in most of them. After Lange, Roth, Braun and Buhmann (2004).
    """
    generator = np.random.default_rng(seed)
    points = points[np.sort(generator.permutation(len(points))[:_SAMPLE])]
    kind = np.unique(points, axis=0, return_inverse=True)[1]
    found = pd.DataFrame(index=pd.Index([], name="number"), columns=["stability", "lower", "upper"], dtype=float)
    for number in numbers:
        splits = [np.array_split(generator.permutation(len(points)), 2) for _ in range(_SPLITS)]
        if min(len(np.unique(kind[half])) for halves in splits for half in halves) < number:
            break
        sides = [np.stack(side) for side in zip(*splits, strict=True)]
        first, second = (nearest(points, k_means(points[side], number)) for side in sides)
        scores = [adjusted_rand_index(*pair) for pair in zip(first, second, strict=True)]
        found.loc[number] = interval_of_draws(scores, level).iloc[0].to_numpy()
    return found


def persistence(odd: NDArray[Any], even: NDArray[Any], orders: NDArray[Any], seed: int = 0) -> tuple[float, float]:
    """Tell whether every other order of a customer leads to the same persona as the rest.

    Parameters
    ----------
    odd, even : numpy.ndarray of int
        Personas from either half of each customer's orders, numbered from 0 on.
    orders : numpy.ndarray
        How many orders each has.
    seed : int
        Of the shuffles.

    Returns
    -------
    tuple of float
        Adjusted Rand index of the two, and the p-value of its being as large where halves are dealt at random among
        customers with as many orders. The number of orders alone makes halves alike: of few orders most are of one
        kind.
    """
    seen = adjusted_rand_index(odd, even)
    generator = np.random.default_rng(seed)
    stratum = np.where(orders < 8, orders, 8 + np.floor(4 * np.log2(np.maximum(orders, 8) / 8)))
    by_stratum = np.argsort(stratum, kind="stable")
    placed, first, second = stratum[by_stratum], odd[by_stratum], even[by_stratum]
    more = 0
    for _ in range(_SHUFFLES):
        dealt = second[np.lexsort((generator.random(len(placed)), placed))]
        more += adjusted_rand_index(first, dealt) >= seen - 1e-12
    return seen, (1 + more) / (1 + _SHUFFLES)
