"""Looking more than once: intervals that hold at every look."""

from __future__ import annotations

import math

from clvlib.stats.effect import Effect

__all__ = ["confidence_sequence"]


def confidence_sequence(
    estimate: float, squared_error: float, n: float, tuned_to: float, level: float = 0.95, *, null: float = 0.0
) -> Effect:
    """Asymptotic confidence sequence: an interval that may be looked at as often as one likes.

    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2021), theorem 2.2: with ``v = n * squared_error`` the
    half-width is ``sqrt(2 v (n rho^2 + 1) / (n^2 rho^2) * log(sqrt(n rho^2 + 1) / alpha))``.

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
    if not (squared_error > 0 and n > 0 and tuned_to > 0 and 0 < level < 1):
        raise ValueError(
            "squared_error, n and tuned_to must be positive and level between 0 and 1; "
            f"found {squared_error}, {n}, {tuned_to} and {level}"
        )
    alpha = 1 - level
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tuned_to
    m = n * rho2
    half = math.sqrt(2 * squared_error * (m + 1) / m * (0.5 * math.log1p(m) - math.log(alpha)))
    # the same bound solved for alpha at the distance of the null, rho held fixed
    log_p = 0.5 * math.log1p(m) - (estimate - null) ** 2 * m / (2 * squared_error * (m + 1))
    return Effect(
        estimate, estimate - half, estimate + half, math.exp(min(0.0, log_p)), "confidence-sequence", level, null
    )
