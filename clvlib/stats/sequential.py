"""Looking more than once: intervals and p-values that hold at every look."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from clvlib.stats.effect import Effect

__all__ = [
    "anytime_alpha",
    "anytime_p_value",
    "boundaries",
    "confidence_sequence",
    "exit_probabilities",
    "inflation",
    "planned_p_value",
]


def confidence_sequence(
    estimate: float, squared_error: float, n: float, tuned_to: float, level: float = 0.95, *, null: float = 0.0
) -> Effect:
    """Asymptotic confidence sequence: an interval that may be looked at as often as one likes.

    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2021), theorem 2.2: with ``v = n * squared_error`` the half-width is
    ``sqrt(2 v (n rho^2 + 1) / (n^2 rho^2) * log(sqrt(n rho^2 + 1) / alpha))``.

    Parameters
    ----------
    estimate : float
        The effect so far.
    squared_error : float
        Its squared standard error so far.
    n : float
        Units so far, all groups together.
    tuned_to : float
        Number of units at which the sequence is about tightest; it must be chosen before the first look.
    level : float
        Chance that all intervals of the sequence hold together.
    null : float
        The value that ``p_value`` tests. The p-value is valid at any look.

    Raises
    ------
    ValueError
        A size or an error that is not positive, a level outside (0, 1).

    Examples
    --------
    >>> error = 0.1 * 0.9 / 2000 + 0.132 * 0.868 / 2000
    >>> s = confidence_sequence(0.032, error, n=4000, tuned_to=5000)
    >>> print(f"{s.lower:.6f} {s.upper:.6f}")
    0.001250 0.062750
    """
    if not 0 < squared_error < math.inf:
        raise ValueError(f"a squared standard error is positive and finite; found {squared_error}")
    alpha = 1 - level
    half = _boundary(n, tuned_to, alpha, alpha) * math.sqrt(squared_error)
    p_value = _p_value((estimate - null) ** 2 / squared_error, n, tuned_to, alpha)
    return Effect(estimate, estimate - half, estimate + half, p_value, "confidence-sequence", level, null)


def anytime_alpha(alpha: float, n: float, tuned_to: float, tuned_alpha: float = 0.05) -> float:
    """Level of an ordinary two-sided test at this look under which all looks together err with at most ``alpha``.

    The confidence sequence is the set of values that an ordinary test does not reject when its critical value is the
    sequence's. Any test with a z statistic, the score test of two proportions for one, can so be inverted at every
    look, and its interval and p-value go on agreeing.

    Parameters
    ----------
    alpha : float
        Chance of a false rejection at any look whatever.
    n, tuned_to : float
        As in :func:`confidence_sequence`.
    tuned_alpha : float
        Level for which the sequence is tuned; one for a whole experiment, while ``alpha`` may differ between tests.

    Raises
    ------
    ValueError
        A size that is not positive, a level outside (0, 1).

    Examples
    --------
    >>> round(anytime_alpha(0.05, n=4000, tuned_to=4000), 5)
    0.0024
    """
    return float(2 * special.ndtr(-_boundary(n, tuned_to, alpha, tuned_alpha)))


def anytime_p_value(p_value: float, n: float, tuned_to: float, tuned_alpha: float = 0.05) -> float:
    """P-value that is valid at any look, from the ordinary two-sided one at this look.

    It is at most ``alpha`` exactly when the ordinary one is at most :func:`anytime_alpha` of it.

    Parameters
    ----------
    p_value : float
        Of an ordinary test of the data so far.
    n, tuned_to, tuned_alpha : float
        As in :func:`anytime_alpha`.

    Raises
    ------
    ValueError
        A size that is not positive, a p-value or level that cannot be.

    Examples
    --------
    >>> round(anytime_p_value(0.00159, n=4000, tuned_to=4000), 4), anytime_p_value(0.5, n=4000, tuned_to=4000)
    (0.0357, 1.0)
    """
    if not 0 <= p_value <= 1:
        raise ValueError(f"a p-value lies between 0 and 1; found {p_value}")
    return _p_value(float(-special.ndtri(p_value / 2)) ** 2, n, tuned_to, tuned_alpha)


def _information(n: float, tuned_to: float, alpha: float) -> float:
    """``n * rho^2`` with the rho that is about best at ``tuned_to`` units."""
    if not (n > 0 and tuned_to > 0 and 0 < alpha < 1):
        raise ValueError(
            f"n and tuned_to must be positive and levels between 0 and 1; found {n}, {tuned_to} and alpha {alpha}"
        )
    return n * (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tuned_to


def _boundary(n: float, tuned_to: float, alpha: float, tuned_alpha: float) -> float:
    """Critical value of the z statistic at this look."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies between 0 and 1; found {alpha}")
    m = _information(n, tuned_to, tuned_alpha)
    return math.sqrt(2 * (m + 1) / m * (0.5 * math.log1p(m) - math.log(alpha)))


def _p_value(z_squared: float, n: float, tuned_to: float, tuned_alpha: float) -> float:
    """The boundary solved for alpha."""
    m = _information(n, tuned_to, tuned_alpha)
    return math.exp(min(0.0, 0.5 * math.log1p(m) - z_squared * m / (2 * (m + 1))))


# --- planned looks ----------------------------------------------------------------------------------------------------

Array = NDArray[np.float64]
Spending = Callable[[float, float], float]


def _obrien_fleming(alpha: float, fraction: float) -> float:
    """Both sides spend half, each by Lan and DeMets's first function: 2 (1 - Phi(z_{alpha / 4} / sqrt t))."""
    return float(4 * special.ndtr(special.ndtri(alpha / 4) / math.sqrt(fraction)))


def _pocock(alpha: float, fraction: float) -> float:
    return alpha * math.log(1 + (math.e - 1) * fraction)


SPENDING: dict[str, Spending] = {"obrien-fleming": _obrien_fleming, "pocock": _pocock}


def boundaries(fractions: ArrayLike, alpha: float = 0.05, spending: str = "obrien-fleming") -> Array:
    """Critical values of the z statistic at planned looks, by spending alpha (Lan & DeMets 1983).

    Parameters
    ----------
    fractions : array_like
        Share of the planned people seen at each look so far, rising. The last may exceed 1: then more came by the look
        that completes the plan than was planned, all of alpha is spent, and what they add is new. Neither the number of
        looks nor their times need be fixed beforehand, only the people planned and the spending function.
    alpha : float
        Two-sided error of the first kind of all looks together.
    spending : {"obrien-fleming", "pocock"}
        Spend late, which costs hardly any power at the end, or about evenly.

    Returns
    -------
    numpy.ndarray
        One critical value per look, for the absolute value of z.

    Raises
    ------
    ValueError
        Fractions that do not rise from above 0, one before the last of 1 or more, a level outside (0, 1), an unknown
        spending function.

    Examples
    --------
    >>> boundaries([0.2, 0.4, 0.6, 0.8, 1.0]).round(3).tolist()
    [4.877, 3.357, 2.68, 2.29, 2.031]
    """
    t = _fractions(fractions)
    if not 0 < alpha < 1 or spending not in SPENDING:
        raise ValueError(
            f"alpha lies in (0, 1) and spending is one of {', '.join(SPENDING)}; found {alpha}, {spending!r}"
        )
    spent = np.array([SPENDING[spending](alpha, min(1.0, float(fraction))) for fraction in t])
    walk, found = _Walk(), []
    for fraction, share in zip(t, np.diff(spent, prepend=0.0), strict=True):
        walk.step(float(fraction))
        found.append(walk.boundary(float(share)))
        walk.stop(found[-1])
    return np.array(found)


def exit_probabilities(critical: ArrayLike, fractions: ArrayLike, drift: float = 0.0) -> Array:
    """Chance that the z statistic first passes its critical value at each look (Armitage, McPherson & Rowe 1969).

    Parameters
    ----------
    critical : array_like
        Critical values for the absolute value of z.
    fractions : array_like
        Share of the planned information at each look.
    drift : float
        Expectation of z at fraction 1: 0 under no effect, ``isf(alpha / 2) + isf(1 - power)`` at the planned one.

    Returns
    -------
    numpy.ndarray
        A probability per look; their sum is the error of the first kind, or the power.

    Examples
    --------
    >>> float(exit_probabilities([1.96] * 5, [0.2, 0.4, 0.6, 0.8, 1]).sum().round(3))  # five looks at p < .05
    0.142
    """
    t, c = _fractions(fractions), np.asarray(critical, dtype=float)
    if c.shape != t.shape or not np.all(c > 0):
        raise ValueError(f"a positive critical value is needed for each of the {len(t)} looks; found {c.tolist()}")
    walk, found = _Walk(drift), []
    for fraction, value in zip(t, c, strict=True):
        walk.step(float(fraction))
        found.append(walk.outside(float(value)))
        walk.stop(float(value))
    return np.array(found)


def inflation(critical: ArrayLike, fractions: ArrayLike, power: float = 0.8, alpha: float = 0.05) -> float:
    """How many times the people of a single look a test with several needs (Jennison & Turnbull 2000, section 2.2.2).

    Parameters
    ----------
    critical, fractions : array_like
        As :func:`exit_probabilities` takes them.
    power, alpha : float
        Chance to find the effect, and two-sided error of the first kind of the single look.

    Raises
    ------
    ValueError
        As :func:`exit_probabilities`, or a share outside (0, 1).

    Examples
    --------
    >>> round(inflation([2.040 * (5 / k) ** 0.5 for k in range(1, 6)], [0.2, 0.4, 0.6, 0.8, 1]), 3)  # their table 2.4
    1.028
    """
    if not (0 < power < 1 and 0 < alpha < 1):
        raise ValueError(f"alpha and power lie between 0 and 1; found {alpha} and {power}")
    alone = float(special.ndtri(power) - special.ndtri(alpha / 2))

    def shortfall(root: float) -> float:
        return float(exit_probabilities(critical, fractions, root * alone).sum()) - power

    return float(optimize.brentq(shortfall, 0.5, 10.0, xtol=1e-9)) ** 2


def planned_p_value(z: float, fractions: ArrayLike, spending: str = "obrien-fleming") -> float:
    """Smallest alpha at which the plan would reject at the last of these looks: it inverts :func:`boundaries`.

    Parameters
    ----------
    z : float
        The statistic at the last look.
    fractions, spending
        As in :func:`boundaries`.

    Examples
    --------
    >>> round(planned_p_value(2.031, [0.2, 0.4, 0.6, 0.8, 1.0]), 3)
    0.05
    """
    size = abs(z)

    def excess(log_alpha: float) -> float:
        return float(boundaries(fractions, math.exp(log_alpha), spending)[-1]) - size

    # the ordinary p-value is the least it can be: what spends less than alpha rejects less often than alpha
    low, high = math.log(max(float(2 * special.ndtr(-size)), 1e-12)), math.log(1 - 1e-9)
    if low >= high:
        return 1.0
    if excess(low) <= 0:
        return math.exp(low)
    if excess(high) >= 0:
        return 1.0
    return math.exp(float(optimize.brentq(excess, low, high, xtol=1e-7)))


@cache
def _nodes(number: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(number)


class _Walk:
    """Brownian motion seen at the looks, where paths that left the boundaries are taken out: its density, on nodes."""

    FAR = 9.0  # standard errors beyond which nothing is left

    def __init__(self, drift: float = 0.0) -> None:
        self.drift, self.time, self.spread = drift, 0.0, 0.0
        self.at, self.weight = np.zeros(1), np.ones(1)  # a point mass in the origin

    def step(self, time: float) -> None:
        """Go to the next look; ``time`` is its fraction."""
        self.move = self.drift * (time - self.time)
        self.spread, self.time = math.sqrt(time - self.time), time

    def outside(self, critical: float) -> float:
        """Chance of having stayed inside so far and being outside now."""
        c = critical * math.sqrt(self.time)
        centre = self.at + self.move
        tails = special.ndtr((centre - c) / self.spread) + special.ndtr((-c - centre) / self.spread)
        return float((self.weight * tails).sum())

    def boundary(self, share: float) -> float:
        """Critical value that is passed now with probability ``share``."""
        if self.outside(self.FAR) >= share:
            return self.FAR
        return float(optimize.brentq(lambda c: self.outside(c) - share, 1e-12, self.FAR, xtol=1e-12))

    def stop(self, critical: float) -> None:
        """Keep what lies inside, on Gauss and Legendre's nodes, close enough to see the steps' spread."""
        c = min(critical, self.FAR) * math.sqrt(self.time)
        nodes, weights = _nodes(min(1024, 64 * math.ceil(c / self.spread / 4)))
        at = c * nodes
        steps = (at[:, None] - self.at - self.move) / self.spread
        density = np.exp(-0.5 * steps**2) @ self.weight / (self.spread * math.sqrt(2 * math.pi))
        self.at, self.weight = at, c * weights * density


def _fractions(fractions: ArrayLike) -> Array:
    t = np.atleast_1d(np.asarray(fractions, dtype=float))
    if not (len(t) and np.all(np.diff(t, prepend=0.0) > 0) and np.all(t[:-1] < 1) and np.isfinite(t[-1])):
        raise ValueError(f"fractions rise from above 0, all but the last below 1; found {t.tolist()}")
    return t
