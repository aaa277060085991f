"""Quadrature where each customer has his own regularity k: rules over k, and over a gap between purchases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.special import gauss_legendre

__all__ = ["gap_rule", "log_gamma_rule"]

Array = NDArray[np.float64]

_BEFORE, _RISE, _AFTER, _TAIL = 32, 8, 16, 10  # points before the gap's cut; after it below, about and above its mode
_DEPTH = 25.0  # where an integrand has fallen by e^−25 it is left alone
_FADED = 12.0  # and of k, by e^−12
_BROAD = 7.0  # standard deviations to either side of a mode


def log_gamma_rule(shape: Array, rate: Array, points: int) -> tuple[Array, Array]:
    """Return nodes u (points, m) and steps (m,) of the trapezoidal rule in u = ln k for what lies as k ~ Gamma does.

    In the log a gamma density is A(u − e^u) with its mode at 0: the rule covers what is within e^−12 of the mode, and
    for an integrand that fades at both ends the rule's error falls exponentially in 1/step.
    """
    q = _FADED / shape
    left, right = -(q + np.sqrt(2 * q)), np.log1p(q + np.sqrt(2 * q))
    for _ in range(8):  # Newton on the convex e^δ − 1 − δ = q
        left = left - (np.expm1(left) - left - q) / np.expm1(left)
        right = right - (np.expm1(right) - right - q) / np.expm1(right)
    step = (right - left) / (points - 1)
    return np.log(shape / rate) + left + np.arange(points)[:, None] * step, step


def gap_rule(k: Array, sigma: Array, cut: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return nodes v (J, …), weights, and which nodes lie before the cut, for integrals over a gap's log.

    The gap is in units in which it has the density e^(kv) (1 + e^v)^−(k + σ) in its log v; before the cut the integrand
    has a factor that falls as e^v towards −∞, after it none.

    Parameters
    ----------
    k, sigma, cut : arrays of one shape
        The cut may be −∞: there is no gap shorter than nothing.
    """
    mode, width = np.log(k) - np.log(sigma), np.sqrt(1 / k + 1 / sigma)
    reach = _BROAD / np.sqrt(1 + k) + _DEPTH / (1 + k)
    last = np.minimum(np.maximum(cut, mode - 600.0), mode + _BROAD * width + _DEPTH / sigma)
    low = np.minimum(mode, last) - reach
    rise = mode - np.minimum(2.0, _BROAD / np.sqrt(k))  # below, the density is e^(kv) but for a little
    bend = np.maximum(cut, mode + 2 * width)  # above, it falls exponentially or faster
    axis = (-1, *np.ones(k.ndim, dtype=int))
    x, w = (part.reshape(axis) for part in gauss_legendre(_BEFORE))
    nodes, weights = [low + x * (last - low)], [w * (last - low)]
    x, w = (part.reshape(axis) for part in gauss_legendre(_RISE))
    least = np.exp(k * np.minimum(cut - rise, 0.0))
    nodes.append(rise + np.log(least + x * (1 - least)) / k)
    weights.append(w * (1 - least) / (least + x * (1 - least)) / k)
    start = np.maximum(cut, rise)
    x, w = (part.reshape(axis) for part in gauss_legendre(_AFTER))
    nodes.append(start + x * (bend - start))
    weights.append(w * (bend - start))
    x, w = (part.reshape(axis) for part in special.roots_laguerre(_TAIL))
    pace = (k + sigma) * special.expit(bend) - k
    nodes.append(bend + x / pace)
    weights.append(w * np.exp(x) / pace)
    before = np.repeat([True, False], [_BEFORE, _RISE + _AFTER + _TAIL])
    return np.concatenate(nodes), np.concatenate(weights), before
