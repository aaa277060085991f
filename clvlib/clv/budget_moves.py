"""How a budget is best divided, what a move brings, and how much of that is extrapolation (V11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from clvlib.errors import ParameterError
from clvlib.words import mark, money, tr

__all__ = ["extrapolated", "moved", "proposed", "shift"]

Array = NDArray[np.float64]


def shift(spend: Array, elasticity: Array, worth: Array, total: float, least: Array, most: Array) -> Array:
    """Divide a budget so that the expected value is highest.

    Parameters
    ----------
    spend : array, shape (k,)
        Today's, above 0.
    elasticity, worth : array, shape (draws, k)
        Of each draw: the elasticity, from 0 to 1, and the value that today's spend brings.
    total : float
        What is divided.
    least, most : array, shape (k,)
        Limits of each channel.

    Returns
    -------
    array, shape (k,)

    Raises
    ------
    ParameterError
        The limits leave no room for the total.

    Examples
    --------
    Worth 10 √(spend / 100) and 20 √(spend / 100): the marginal values are equal where spend is as 1 to 4.

    >>> half, worth = np.full((1, 2), 0.5), np.array([[10.0, 20.0]])
    >>> shift(np.array([100.0, 100.0]), half, worth, 200, np.zeros(2), np.full(2, 200.0)).round(1).tolist()
    [40.0, 160.0]
    """
    if not float(least.sum()) - 1e-9 * max(total, 1) <= total <= float(most.sum()) * (1 + 1e-9):
        text = mark("limits from {least} to {most} leave no room for a budget of {total}")
        raise ParameterError(
            tr(text, least=money(float(least.sum())), most=money(float(most.sum())), total=money(total))
        )
    free = most - least > 1e-12 * max(total, 1)
    if free.sum() < 2:
        return np.where(free, total - least[~free].sum(), least)
    scale = max(float(worth.mean(axis=0).sum()), 1e-300)
    low, high = least[free] / spend[free], most[free] / spend[free]
    share = spend[free] / total
    room = 1 - float(least[~free].sum()) / total
    b, v = elasticity[:, free], worth[:, free] / scale

    def loss(x: Array) -> tuple[float, Array]:
        x = np.maximum(x, 1e-9)
        each = v * x**b
        return -float(each.mean(axis=0).sum()), -(b * each).mean(axis=0) / x

    start = low + (high - low) * (room - float(share @ low)) / max(float(share @ (high - low)), 1e-300)
    constraint: Any = {"type": "eq", "fun": lambda x: share @ x - room, "jac": lambda _: share}
    bounds, options = list(zip(low, high, strict=True)), {"maxiter": 500, "ftol": 1e-12}
    found: Any = optimize.minimize(  # type: ignore[call-overload]
        loss, start, jac=True, method="SLSQP", bounds=bounds, constraints=constraint, options=options
    )
    best = found.x if found.success or loss(found.x)[0] < loss(start)[0] else start
    result = least.astype(float).copy()
    result[free] = np.clip(best, low, high) * spend[free]
    return result


def proposed(
    table: pd.DataFrame, elasticity: Array, worth: Array, told: NDArray[np.bool_], total: float | None,
    change: float | Mapping[str, tuple[float, float]],
) -> Array:  # fmt: skip
    """Return what each channel should spend; those without a curve keep what they have."""
    spend = table["spend"].to_numpy(dtype=float)
    if isinstance(change, Mapping):
        limits = np.array([change.get(str(name), (own, own)) for name, own in zip(table.index, spend, strict=True)])
        least, most = limits.astype(float).T
    else:
        least, most = spend * (1 - change), spend * (1 + change)
    if not (np.isfinite([least, most]).all() and (least >= 0).all() and (least <= most).all()):
        raise ParameterError(
            f"change is a share from 0 to 1, or the least and the most spend by channel; found {change}"
        )
    least, most = np.where(told, least, spend), np.where(told, most, spend)
    if not told.any():
        return spend
    return shift(
        spend, np.where(told, elasticity, 0.0), worth, float(spend.sum()) if total is None else total, least, most
    )


def moved(spend: Array, table: pd.DataFrame, elasticity: Array, worth: Array) -> Array:
    """Return draws of the value that another spend brings beyond today's; of channels that move."""
    ratio = spend / table["spend"].to_numpy(dtype=float)
    moves = np.isfinite(elasticity).all(axis=0) & ~np.isclose(ratio, 1.0)
    return np.asarray((worth[:, moves] * (ratio[moves] ** elasticity[:, moves] - 1)).sum(axis=1))


def extrapolated(proposal: Array, seen: Array, table: pd.DataFrame, elasticity: Array, worth: Array) -> float:
    """Return the share of the expected value that moves, up or down, beyond spend that was seen."""
    today = table["spend"].to_numpy(dtype=float)

    def by_channel(spend: Array) -> Array:
        parts = [
            moved(np.where(np.arange(len(spend)) == i, spend, today), table, elasticity, worth).mean()
            for i in range(len(spend))
        ]
        return np.array(parts)

    whole = np.abs(by_channel(proposal)).sum()
    return float(np.abs(by_channel(proposal) - by_channel(seen)).sum() / whole) if whole > 0 else 0.0
