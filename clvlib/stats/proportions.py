"""Rates and their differences, with intervals that can be trusted when counts are small or rates extreme."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.stats.effect import Effect

__all__ = ["proportion_difference", "proportion_effects", "proportion_interval", "proportion_ratio"]

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]


def proportion_interval(
    x: ArrayLike, n: ArrayLike, level: float | Floats = 0.95, method: str = "wilson", *, correction: float = 0.0
) -> pd.DataFrame:
    """Rates with confidence limits, for one group or for many at once.

    Parameters
    ----------
    x, n : float or array_like
        Successes and trials, 0 <= x <= n and n > 0; they broadcast against each other. Weighted counts are accepted.
    level : float or ndarray
        Confidence level, for all or for each.
    method : {"wilson", "clopper-pearson", "jeffreys"}
        Wilson's score interval (Wilson 1927), whose coverage is close to ``level`` on average; Clopper and Pearson's
        (1934), never below ``level``; or the Jeffreys interval with its usual ends at 0 and n (Brown, Cai & DasGupta
        2001).
    correction : float
        Continuity correction of Wilson's interval in counts (Newcombe 1998a, method 4 has 0.5).

    Returns
    -------
    pandas.DataFrame
        Columns ``estimate``, ``lower``, ``upper``; the index is that of ``x`` when it is a Series.

    Raises
    ------
    ValueError
        Counts that cannot be, a level outside (0, 1), an unknown method.

    Examples
    --------
    >>> proportion_interval(81, 263).round(4).values.tolist()  # Newcombe 1998a, table I
    [[0.308, 0.2553, 0.3662]]
    """
    index = x.index if isinstance(x, pd.Series) else None
    x, n = _counts(x, n)
    z = np.asarray(-special.ndtri(_alpha(level) / 2))
    if method == "wilson":
        lower, upper = _wilson(x, n, z, correction)
    elif method == "clopper-pearson":
        lower, upper = _beta_limits(x, n, level, 0.0, 1.0)
    elif method == "jeffreys":
        lower, upper = _beta_limits(x, n, level, 0.5, 0.5)
    else:
        raise ValueError(f"method {method!r} is not known; use 'wilson', 'clopper-pearson' or 'jeffreys'")
    return pd.DataFrame({"estimate": x / n, "lower": lower, "upper": upper}, index=index)


def proportion_difference(
    x1: float,
    n1: float,
    x2: float,
    n2: float,
    level: float = 0.95,
    *,
    method: str = "miettinen-nurminen",
    null: float = 0.0,
) -> Effect:
    """Difference of two independent proportions, ``x1 / n1 - x2 / n2``, with interval and p-value.

    Parameters
    ----------
    x1, n1, x2, n2 : float
        Successes and trials of the first and of the second group.
    level : float
        Confidence level.
    method : {"miettinen-nurminen", "mee", "newcombe"}
        Inverted score test with the variance factor N / (N - 1) (Miettinen & Nurminen 1985), the same without the
        factor (Mee 1984; at ``null=0`` it is Pearson's chi-square), or Newcombe's hybrid of Wilson intervals (Newcombe
        1998, method 10), whose p-value is one minus the level at which the interval first reaches ``null``.
    null : float
        The difference that the p-value tests; a non-inferiority margin, say.

    Returns
    -------
    Effect
        ``estimate``, ``lower``, ``upper``, ``p_value``, ``method`` and more; interval and p-value always agree.

    Raises
    ------
    ValueError
        Counts that cannot be (an empty group among them), a level or null out of range, an unknown method.

    Examples
    --------
    >>> d = proportion_difference(56, 70, 48, 80)  # Newcombe 1998, table II, case a
    >>> print(f"{d.estimate:.4f} {d.lower:.4f} {d.upper:.4f} {d.p_value:.4f}")
    0.2000 0.0528 0.3382 0.0083
    """
    return _single(_compared(_pairs(x1, n1, x2, n2), level, method, null, "difference"), method, level, null)


def proportion_ratio(
    x1: float,
    n1: float,
    x2: float,
    n2: float,
    level: float = 0.95,
    *,
    method: str = "miettinen-nurminen",
    null: float = 1.0,
) -> Effect:
    """Ratio of two independent proportions, ``(x1 / n1) / (x2 / n2)``, by the inverted score test.

    At ``null=1`` this is the very test behind :func:`proportion_difference` at ``null=0``, so that the absolute and
    the relative verdict cannot contradict each other.

    Parameters
    ----------
    x1, n1, x2, n2 : float
        Successes and trials of the first and of the second group.
    level : float
        Confidence level.
    method : {"miettinen-nurminen", "mee"}
        With the variance factor N / (N - 1) (Miettinen & Nurminen 1985) or without (Koopman 1984).
    null : float
        The ratio that the p-value tests.

    Returns
    -------
    Effect
        The upper limit (and the estimate) is infinite when the second group has no success.

    Raises
    ------
    ValueError
        As for :func:`proportion_difference`; also when neither group has a success, since 0 / 0 is no ratio.

    Examples
    --------
    >>> r = proportion_ratio(264, 2000, 200, 2000)
    >>> print(f"{r.estimate:.3f} {r.lower:.3f} {r.upper:.3f} {r.p_value:.5f}")
    1.320 1.111 1.569 0.00158
    """
    return _single(_compared(_pairs(x1, n1, x2, n2), level, method, null, "ratio"), method, level, null)


def proportion_effects(
    x1: ArrayLike,
    n1: ArrayLike,
    x2: ArrayLike,
    n2: ArrayLike,
    level: float = 0.95,
    *,
    method: str = "miettinen-nurminen",
    null: float | None = None,
    scale: str = "difference",
) -> pd.DataFrame:
    """Compare many pairs of proportions at once; see :func:`proportion_difference` and :func:`proportion_ratio`.

    Parameters
    ----------
    x1, n1, x2, n2 : array_like
        Counts that broadcast against one another.
    level, method, null
        As in the functions for one pair; ``null=None`` stands for 0 or 1, as ``scale`` has it.
    scale : {"difference", "ratio"}
        What is compared.

    Returns
    -------
    pandas.DataFrame
        A row per pair: ``estimate``, ``lower``, ``upper``, ``p_value``; the index is that of ``x1`` when it is a
        Series.

    Raises
    ------
    ValueError
        Counts that cannot be, a level or null out of range, an unknown method or scale.

    Examples
    --------
    >>> proportion_effects([56, 9], [70, 10], [48, 3], [80, 10])[["lower", "upper"]].round(4).values.tolist()
    [[0.0528, 0.3382], [0.17, 0.8406]]
    """
    index = x1.index if isinstance(x1, pd.Series) else None
    result = _compared(_pairs(x1, n1, x2, n2), level, method, null, scale)
    return pd.DataFrame(dict(zip(("estimate", "lower", "upper", "p_value"), result, strict=True)), index=index)


# --- the three inversions ---------------------------------------------------------------------------------------------

Counts = tuple[Floats, Floats, Floats, Floats]


def _compared(counts: Counts, level: float, method: str, null: float | None, scale: str) -> tuple[Floats, ...]:
    zcrit = float(-special.ndtri(_alpha(level) / 2))
    if scale == "difference":
        null = 0.0 if null is None else null
        if not -1 < null < 1:
            raise ValueError(f"a difference of proportions lies between -1 and 1; null={null} does not")
        return _differences(counts, zcrit, method, null)
    if scale == "ratio":
        null = 1.0 if null is None else null
        if not 0 < null < np.inf:
            raise ValueError(f"a ratio of proportions is positive and finite; null={null} is not")
        return _ratios(counts, zcrit, method, null)
    raise ValueError(f"scale {scale!r} is not known; use 'difference' or 'ratio'")


def _differences(counts: Counts, zcrit: float, method: str, null: float) -> tuple[Floats, ...]:
    x1, n1, x2, n2 = counts
    estimate = x1 / n1 - x2 / n2
    if method == "newcombe":
        lower, upper = _newcombe(counts, np.asarray(zcrit))
        return estimate, lower, upper, _newcombe_p_value(counts, null)
    factor = _variance_factor(counts, method)
    lower, upper = _inverted(_difference_score, counts, factor, zcrit, estimate, (-1.0, 1.0))
    return estimate, lower, upper, _two_sided(_difference_score(counts, np.full_like(estimate, null), factor))


def _ratios(counts: Counts, zcrit: float, method: str, null: float) -> tuple[Floats, ...]:
    x1, n1, x2, n2 = counts
    factor = _variance_factor(counts, method)
    p1, p2 = x1 / n1, x2 / n2
    if np.any((x1 == 0) & (x2 == 0)):
        raise ValueError("neither group has a success, and 0 / 0 is no ratio; compare by the difference instead")

    # A ratio t in [0, inf] is searched for as the share s = t / (1 + t) in [0, 1].
    share = p1 / (p1 + p2)
    lower, upper = _inverted(_ratio_score, counts, factor, zcrit, share, (0.0, 1.0))
    p_value = _two_sided(_ratio_score(counts, np.full_like(share, null / (1 + null)), factor))
    with np.errstate(divide="ignore"):
        return share / (1 - share), lower / (1 - lower), upper / (1 - upper), p_value


def _inverted(
    score: Callable[[Counts, Floats, Floats], Floats],
    counts: Counts,
    factor: Floats,
    zcrit: float,
    estimate: Floats,
    ends: tuple[float, float],
) -> Floats:
    """Where the score passes its critical values below and above the estimate, sought at once."""
    x1, n1, x2, n2, factors = (np.tile(each, 2) for each in (*counts, factor))

    def both(at: Floats) -> Floats:
        return score((x1, n1, x2, n2), at, factors)

    size = len(estimate)
    found = _crossing(both, np.repeat([zcrit, -zcrit], size), np.tile(estimate, 2), np.repeat(ends, size))
    return found.reshape(2, size)


def _difference_score(counts: Counts, delta: Floats, factor: Floats) -> Floats:
    """Score statistic of p1 - p2 = delta (Miettinen & Nurminen 1985, equation 9)."""
    x1, n1, x2, n2 = counts
    p2 = _constrained_p2(counts, delta)
    p1 = np.minimum(np.maximum(p2 + delta, 0), 1)
    variance = (p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2) * factor
    return _standardised(x1 / n1 - x2 / n2 - delta, variance)


def _ratio_score(counts: Counts, share: Floats, factor: Floats) -> Floats:
    """Score statistic of p1 = t * p2 at t = share / (1 - share), both sides multiplied by 1 - share."""
    x1, n1, x2, n2 = counts
    s, c = share, 1 - share
    # Likelihood equation under the constraint, (n1 + n2) t p2^2 - b p2 + (x1 + x2) = 0, cleared of fractions by c.
    # Its smaller root is taken in the form that does not cancel.
    a = (n1 + n2) * s
    b = (n1 + x2) * s + (x1 + n2) * c
    e = (x1 + x2) * c
    root = np.sqrt(np.maximum(b * b - 4 * a * e, 0))
    p2 = np.clip(2 * e / (b + root), 0, 1)
    p1 = np.clip(2 * s * (x1 + x2) / (b + root), 0, 1)
    variance = (c * c * p1 * (1 - p1) / n1 + s * s * p2 * (1 - p2) / n2) * factor
    return _standardised(c * x1 / n1 - s * x2 / n2, variance)


def _constrained_p2(counts: Counts, delta: Floats) -> Floats:
    """Maximum-likelihood p2 under p1 - p2 = delta: the cubic's root in closed form, then polished.

    The closed form (Miettinen & Nurminen 1985, appendix I) loses half of its digits where two roots nearly coincide,
    as they do for small rates; Newton's steps on the factored score restore them.
    """
    x1, n1, x2, n2 = counts
    total, successes = n1 + n2, x1 + x2
    b = ((n1 + 2 * n2) * delta - total - successes) / total
    c = ((n2 * delta - total - 2 * x2) * delta + successes) / total
    d = x2 * delta * (1 - delta) / total
    v = b**3 / 27 - b * c / 6 + d / 2
    u = np.copysign(np.sqrt(np.maximum(b * b / 9 - c / 3, 0)), v)
    cube = u**3
    cosine = np.minimum(np.maximum(np.divide(v, cube, out=np.zeros_like(v), where=cube != 0), -1), 1)
    p = 2 * u * np.cos((np.pi + np.arccos(cosine)) / 3) - b / 3
    low, high = np.maximum(0, -delta), np.minimum(1, 1 - delta)
    p = np.minimum(np.maximum(p, low), high)
    for _ in range(3):
        q = p + delta
        above, below = x1 - n1 * q, x2 - n2 * p
        spread, other = p * (1 - p), q * (1 - q)
        slope = above * (1 - 2 * p) - n1 * spread + below * (1 - 2 * q) - n2 * other
        step = np.divide(above * spread + below * other, slope, out=np.zeros_like(p), where=slope != 0)
        p = np.minimum(np.maximum(p - step, low), high)
    return np.asarray(p, dtype=float)


def _newcombe(counts: Counts, z: Floats) -> tuple[Floats, Floats]:
    """Newcombe 1998, method 10."""
    x1, n1, x2, n2 = counts
    p1, p2 = x1 / n1, x2 / n2
    l1, u1 = _wilson(x1, n1, z)
    l2, u2 = _wilson(x2, n2, z)
    lower = p1 - p2 - np.hypot(p1 - l1, u2 - p2)
    upper = p1 - p2 + np.hypot(u1 - p1, p2 - l2)
    return np.maximum(lower, -1), np.minimum(upper, 1)


def _newcombe_p_value(counts: Counts, null: float) -> Floats:
    x1, n1, x2, n2 = counts
    above = x1 / n1 - x2 / n2 > null

    def excess(z: Floats) -> Floats:
        lower, upper = _newcombe(counts, z)
        return np.where(above, lower - null, null - upper)

    z = _crossing(excess, 0.0, np.full_like(x1, 1e-12), np.full_like(x1, 40.0))
    return np.where(np.abs(x1 / n1 - x2 / n2 - null) < 1e-12, 1.0, _two_sided(z))


def _crossing(function: Score, target: float | Floats, inside: Floats, outside: Floats) -> Floats:
    """Where a monotone ``function`` passes ``target`` between ``inside`` and ``outside``, as Chandrupatla (1997) does.

    Where it does not pass it even at ``outside``, ``outside`` it is. Bisection until the function is smooth enough for
    inverse quadratic steps; infinite values, which a score has at the ends, are no obstacle.
    """
    a, b = outside.astype(float), inside.astype(float)
    fa, fb = function(a) - target, function(b) - target
    never = np.sign(fa) == np.sign(fb)
    t = np.full_like(a, 0.5)
    best = np.where(np.abs(fa) < np.abs(fb), a, b)
    for _ in range(100):
        x = a + t * (b - a)
        fx = function(x) - target
        same = np.sign(fx) == np.sign(fa)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        best = np.where(np.abs(fa) < np.abs(fb), a, b)
        with np.errstate(all="ignore"):
            limit = (2 * np.finfo(float).eps * np.abs(best) + 1e-18) / np.abs(b - c)
            done = never | (limit > 0.5) | (fa == 0) | (fb == 0)
            if done.all():
                break
            xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
            step = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
            smooth = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi) & np.isfinite(step)
        # what is found already stays where it is
        t = np.where(done, 0.0, np.clip(np.where(smooth, step, 0.5), limit, 1 - limit))
    return np.where(never, outside, best)


def _standardised(distance: Floats, variance: Floats) -> Floats:
    """``distance / sqrt(variance)``; without variance a hypothesis fits perfectly (0) or not at all (inf)."""
    z = np.where(np.abs(distance) < 1e-15, 0.0, np.copysign(np.inf, distance))  # less than 1 - p can resolve is nothing
    return np.divide(distance, np.sqrt(variance), out=z, where=variance > 0)


def _variance_factor(counts: Counts, method: str) -> Floats:
    _, n1, _, n2 = counts
    total = n1 + n2
    if method == "mee":
        return np.ones_like(total)
    if method == "miettinen-nurminen":
        return np.asarray(total / (total - 1))
    raise ValueError(
        f"method {method!r} is not known here; use 'miettinen-nurminen' or 'mee' ('newcombe' for differences)"
    )


# --- single proportions and checks ------------------------------------------------------------------------------------


def _wilson(x: Floats, n: Floats, z: float | Floats, correction: float = 0.0) -> tuple[Floats, Floats]:
    """Wilson's limits as roots of the score equation, in the form that keeps the digits of small rates."""

    def lower(x: Floats) -> Floats:
        x = np.maximum(x - correction, 0)
        zz = np.square(z)
        # the smaller root c / (b + sqrt(b^2 - a c)) of a p^2 - 2 b p + c = 0, with a = n + z^2
        b, c = x + zz / 2, x * x / n
        return np.asarray(c / (b + np.sqrt(zz * (x * (n - x) / n + zz / 4))))

    return lower(x), 1 - lower(n - x)


def _beta_limits(x: Floats, n: Floats, level: float | Floats, a: float, b: float) -> tuple[Floats, Floats]:
    """Beta quantiles; (0, 1) give Clopper and Pearson's limits, (.5, .5) Jeffreys'."""
    tail = _alpha(level) / 2
    lower = special.betaincinv(np.where(x > 0, x, 1) + a, n - x + b, tail)
    upper = special.betainccinv(x + b, np.where(x < n, n - x, 1) + a, tail)
    return np.where(x > 0, lower, 0.0), np.where(x < n, upper, 1.0)


def _two_sided(z: Floats) -> Floats:
    return np.asarray(np.minimum(1.0, 2 * special.ndtr(-np.abs(z))))


def _alpha(level: float | Floats) -> Floats:
    if not np.all((np.asarray(level) > 0) & (np.asarray(level) < 1)):
        raise ValueError(f"level is a share between 0 and 1, such as 0.95; found {level}")
    return 1 - np.asarray(level)


def _counts(x: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    xs, ns = np.broadcast_arrays(np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(n, float)))
    wrong = ~((xs >= 0) & (xs <= ns) & (ns > 0) & np.isfinite(ns))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{wrong.sum()} of {wrong.size} proportions cannot be formed, the first from {xs.flat[at]:g} successes in "
            f"{ns.flat[at]:g} trials: 0 <= successes <= trials and trials > 0 must hold; leave empty groups out"
        )
    return xs, ns


def _pairs(x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike) -> Counts:
    (x1, n1), (x2, n2) = _counts(x1, n1), _counts(x2, n2)
    x1, n1, x2, n2 = np.broadcast_arrays(x1, n1, x2, n2)
    return x1, n1, x2, n2


def _single(found: tuple[Floats, ...], method: str, level: float, null: float) -> Effect:
    if found[0].size != 1:
        raise ValueError(f"one pair of groups is compared here, found {found[0].size}; use proportion_effects for many")
    estimate, lower, upper, p_value = (float(each[0]) for each in found)
    return Effect(estimate, lower, upper, p_value, method, level, null)
