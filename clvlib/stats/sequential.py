"""Looking more than once: intervals and p-values that hold at every look."""

from __future__ import annotations

import math

from scipy import stats

from clvlib.stats.effect import Effect

__all__ = ["anytime_alpha", "anytime_p_value", "confidence_sequence"]


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
    return float(2 * stats.norm.sf(_boundary(n, tuned_to, alpha, tuned_alpha)))


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
    return _p_value(float(stats.norm.isf(p_value / 2)) ** 2, n, tuned_to, tuned_alpha)


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
