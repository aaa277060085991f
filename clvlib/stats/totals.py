"""Intervals of what a period brought: counts of people, and sums of what they spent, as chance would make them again.

A week's total is no sample of anything, yet the same shop in the same state would have had another week: people come
by chance. With a Poisson number of people, a count has Garwood's interval (Biometrika 28, 1936), and a sum over people
the gamma interval of Fay and Feuer (Statistics in Medicine 16, 1997), which is Garwood's where all bring the same.
"""

from __future__ import annotations

from math import isfinite

from scipy.special import gammaincinv

__all__ = ["total_interval"]


def total_interval(total: float, squares: float, largest: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a sum over a Poisson number of people.

    Parameters
    ----------
    total : float
        Sum of what the people of the period brought; for their number, one each.
    squares : float
        Sum of the squares.
    largest : float
        What the one who brought most brought.
    level : float
        Confidence level.

    Returns
    -------
    tuple of float
        Lower and upper end. It covers at least as often as it says, wherever it was tried by its authors and here.

    Raises
    ------
    ValueError
        A figure is negative or not finite, or the level is no share.

    Examples
    --------
    >>> [round(end, 3) for end in total_interval(10, 10, 1)]
    [4.795, 18.39]
    """
    if not all(isfinite(figure) and figure >= 0 for figure in (total, squares, largest)):
        raise ValueError(
            f"a total, its squares and its largest part are finite and not negative: {total}, {squares}, {largest}"
        )
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    tail = (1 - level) / 2

    def end(amount: float, variance: float, chance: float) -> float:
        return float(gammaincinv(amount**2 / variance, chance) * variance / amount) if variance else 0.0

    return end(total, squares, tail) if total else 0.0, end(total + largest, squares + largest**2, 1 - tail)
