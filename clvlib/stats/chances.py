"""Probabilities that were stated for single cases, against what came: how many, whether they mean what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["calibration_p_value", "count_interval"]

_EXACT = 2_000  # cases up to which the distribution of their number is worked out
_CERTAIN = 1e-6  # a chance nearer to 0 or 1 than this is taken as this
Floats = NDArray[np.float64]


def count_interval(chances: ArrayLike, level: float = 0.95) -> tuple[int, int]:
    """Return between which numbers of events fall with a probability of at least ``level``, in equal tails.

    The number of events among independent cases is Poisson-binomial. Its distribution is worked out by convolution up
    to 2,000 cases, and taken as normal, with a correction for continuity, beyond.

    Parameters
    ----------
    chances : array_like, shape (n,)
        Of each case.
    level : float
        Of the interval.

    Raises
    ------
    ValueError
        A chance is outside [0, 1] or missing, or the level is outside (0, 1).

    Examples
    --------
    >>> count_interval([0.5] * 10, 0.9)  # as the binomial's quantiles at 5% and 95%
    (2, 8)
    """
    p = _checked(chances)
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1; found {level}")
    tail = (1 - level) / 2
    if len(p) > _EXACT:
        mean, sd = float(p.sum()), float((p * (1 - p)).sum()) ** 0.5
        reach = float(-special.ndtri(tail)) * sd + 0.5
        return max(0, int(np.ceil(mean - reach))), min(len(p), int(np.floor(mean + reach)))
    mass: Floats = np.zeros(len(p) + 1)
    mass[0] = 1.0
    for i, chance in enumerate(p):
        mass[1 : i + 2] = mass[1 : i + 2] * (1 - chance) + mass[: i + 1] * chance
        mass[0] *= 1 - chance
    below = np.cumsum(mass)
    return int(np.searchsorted(below, tail, "right")), int(np.searchsorted(below, 1 - tail - 1e-12))


def calibration_p_value(chances: ArrayLike, events: ArrayLike) -> float:
    """Test that stated chances hold: the score test of intercept 0 and slope 1 in logit P(event) = a + b logit(chance).

    The slope is tested only where chances differ.

    Parameters
    ----------
    chances, events : array_like, shape (n,)
        What was stated, and whether it came.

    Raises
    ------
    ValueError
        A chance is outside [0, 1] or missing, or there are none.

    References
    ----------
    Cox (1958), "Two further applications of a model for binary regression", Biometrika 45; Miller, Hui & Tierney
    (1991), "Validation techniques for logistic regression models", Statistics in Medicine 10.

    Examples
    --------
    >>> round(calibration_p_value([0.5] * 100, [1] * 60 + [0] * 40), 4)  # z = 2
    0.0455
    """
    p, y = np.clip(_checked(chances), _CERTAIN, 1 - _CERTAIN), np.asarray(events, dtype=float)
    if not len(p):
        raise ValueError("calibration needs cases")
    logit = np.log(p / (1 - p))
    weight = p * (1 - p)
    centred = logit - (weight @ logit) / weight.sum()  # so that the two scores are independent
    chi2, freedom = (y - p).sum() ** 2 / weight.sum(), 1
    spread = float(weight @ centred**2)
    if spread > 1e-9 * weight.sum():
        chi2, freedom = chi2 + float((y - p) @ centred) ** 2 / spread, 2
    return float(special.chdtrc(freedom, chi2))


def _checked(chances: ArrayLike) -> Floats:
    p = np.atleast_1d(np.asarray(chances, dtype=float))
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("every chance must lie between 0 and 1; found one that is missing or outside")
    return p
