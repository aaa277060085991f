"""Quantiles and their differences, from counts of values: no shape assumed, ties and heavy tails as they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from clvlib.stats.effect import Effect

__all__ = ["Counted", "quantile_difference", "quantile_interval"]

_HALVINGS = 30  # of the p-value, which is found to a billionth


@dataclass(frozen=True)
class Counted:
    """A sample as its distinct values, and how often each is there; any engine can count them.

    Attributes
    ----------
    values : array
        In ascending order.
    ranks : array
        How many units have that value or a smaller one.
    worth : float
        How many independent units they are worth where they come in clusters (Korn & Graubard 1998); 0: as many as
        there are.
    """

    values: NDArray[np.float64]
    ranks: NDArray[np.int64]
    worth: float = 0.0

    @classmethod
    def of(cls, values: ArrayLike, counts: ArrayLike | None = None) -> Counted:
        """Count ``values``, each once, or as often as ``counts`` says.

        Raises
        ------
        ValueError
            No value, or one that is missing or infinite; counts that are no positive whole numbers.

        Examples
        --------
        >>> Counted.of([3.0, 0.0, 0.0]).ranks.tolist(), Counted.of([3.0, 0.0], [1, 2]).quantile(0.5)
        ([2, 3], 0.0)
        """
        x = np.asarray(values, dtype=float).ravel()
        n = np.ones(len(x)) if counts is None else np.asarray(counts, dtype=float).ravel()
        if not (len(x) and np.isfinite(x).all()):
            raise ValueError(f"{np.sum(~np.isfinite(x))} of {len(x)} values are missing or infinite; one is needed")
        if len(n) != len(x) or not ((n > 0) & (n == np.floor(n))).all():
            raise ValueError("counts are positive whole numbers, one for each value")
        distinct, place = np.unique(x, return_inverse=True)
        return cls(distinct, np.cumsum(np.bincount(place, n)).round().astype(np.int64))

    @property
    def n(self) -> int:
        """Number of units."""
        return int(self.ranks[-1])

    def at(self, rank: int) -> float:
        """Return the value of the unit of a rank, the smallest being 1; beyond the ends it is infinite."""
        if rank < 1:
            return -np.inf
        return np.inf if rank > self.n else float(self.values[np.searchsorted(self.ranks, rank)])

    def quantile(self, probability: float) -> float:
        """Return the value that a share of the units stays at or below; halfway between two where both are."""
        place = probability * self.n
        whole = round(place)
        if abs(place - whole) < 1e-9 * self.n:
            return (self.at(max(whole, 1)) + self.at(min(whole + 1, self.n))) / 2
        return self.at(int(np.ceil(place)))

    def limits(self, probability: float, level: float) -> tuple[float, float]:
        """Confidence limits of a quantile, two of the values: exact whatever the shape, conservative for ties."""
        tail, worth = (1 - level) / 2, max(1, int(self.worth or self.n))
        low, high = np.asarray(stats.binom.ppf([tail, 1 - tail], worth, probability)).tolist()
        if high >= worth:
            return self.at(int(low * self.n / worth)), np.inf
        return self.at(int(low * self.n / worth)), self.at(int(np.ceil((high + 1) * self.n / worth)))


def quantile_interval(sample: Counted, probability: float, level: float = 0.95) -> tuple[float, float, float]:
    """Quantile of one sample with exact limits (Conover 1999, section 3.2): estimate, lower, upper.

    Where there are too few units for a limit it is infinite: for the 99th percentile below 368 of them at 95%.

    Raises
    ------
    ValueError
        A probability or a level outside (0, 1).

    Examples
    --------
    >>> quantile_interval(Counted.of(range(1, 101)), 0.5)
    (50.5, 40.0, 61.0)
    """
    _check(probability, level)
    return sample.quantile(probability), *sample.limits(probability, level)


def quantile_difference(first: Counted, second: Counted, probability: float, level: float = 0.95) -> Effect:
    """Difference of a quantile between two independent samples, ``first - second``.

    The samples' own exact limits are joined as Newcombe (1998) joins those of proportions: the distance from an
    estimate to its limit is squared and added (Zou & Donner 2008, MOVER). So skew is kept, nothing need be known of the
    density, and the p-value is the smallest level at which the interval leaves zero out.

    Parameters
    ----------
    first, second : Counted
        The two samples.
    probability : float
        Which quantile: 0.5 is the median.
    level : float
        Confidence level.

    Returns
    -------
    Effect
        Limits may be infinite where units are few.

    Raises
    ------
    ValueError
        A probability or a level outside (0, 1).

    Examples
    --------
    >>> effect = quantile_difference(Counted.of(range(30, 130)), Counted.of(range(1, 101)), 0.5)
    >>> effect.estimate, round(effect.lower, 2), round(effect.upper, 2), effect.significant
    (29.0, 14.15, 43.85, True)
    """
    _check(probability, level)
    estimate = first.quantile(probability) - second.quantile(probability)
    lower, upper = _joined(first, second, probability, level)
    told, not_told = 1.0, 0.0
    for _ in range(_HALVINGS):
        middle = (told + not_told) / 2
        low, high = _joined(first, second, probability, 1 - middle)
        told, not_told = (middle, not_told) if low > 0 or high < 0 else (told, middle)
    return Effect(estimate, lower, upper, told, "order statistics", level)


def _joined(first: Counted, second: Counted, probability: float, level: float) -> tuple[float, float]:
    a, b = first.quantile(probability), second.quantile(probability)
    (a_low, a_high), (b_low, b_high) = first.limits(probability, level), second.limits(probability, level)
    return a - b - float(np.hypot(a - a_low, b_high - b)), a - b + float(np.hypot(a_high - a, b - b_low))


def _check(probability: float, level: float) -> None:
    if not (0 < probability < 1 and 0 < level < 1):
        raise ValueError(f"a quantile and a level lie between 0 and 1; found {probability} and {level}")
