"""Special functions in the stable forms that the models need, where the textbook differences would cancel."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = [
    "chebyshev_nodes",
    "clenshaw",
    "counts_up",
    "gauss_legendre",
    "interpolated",
    "log_rising",
    "rising_slope",
    "softplus",
]

Array = NDArray[np.float64]

_ROWS = 1 << 13  # rows at a time, to stay in the processor's cache
_STIRLING = 32.0  # from here on the series below are exact to double precision
_LOG_GAMMA = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)  # of z^-1, z^-3, ...
_DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132)  # of z^-2, z^-4, ...
_TRIGAMMA = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66)  # of z^-3, z^-5, ...


def _series(coefficients: tuple[float, ...], z: Array, first: int) -> Array:
    inverse = 1.0 / (z * z)
    total = np.zeros_like(z)
    for coefficient in reversed(coefficients):
        total = total * inverse + coefficient
    return total * z**-first


def _split(z: Array, x: Array, small: Callable[[Array, Array], Array], large: Callable[[Array, Array], Array]) -> Array:
    z, x = np.asarray(z, dtype=float), np.asarray(x, dtype=float)
    if z.ndim == 0:
        return (large if z >= _STIRLING else small)(z, x)
    z, x = np.broadcast_arrays(z, x)
    big = z >= _STIRLING
    if big.all() or not big.any():
        return (large if big.any() else small)(z, x)
    result = np.empty(z.shape)
    result[big] = large(z[big], x[big])
    result[~big] = small(z[~big], x[~big])
    return result


def log_rising(z: Array | float, x: Array | float) -> Array:
    """Return ln Γ(z + x) − ln Γ(z), also where z is so large that the two cancel.

    Parameters
    ----------
    z : array or float, positive
    x : array or float, not below 0

    Examples
    --------
    >>> bool(abs(log_rising(1e12, 2.0) - 2 * np.log(1e12)) < 1e-11)
    True
    """

    def large(z: Array, x: Array) -> Array:
        tail = _series(_LOG_GAMMA, z + x, 1) - _series(_LOG_GAMMA, z, 1)
        return (z - 0.5) * np.log1p(x / z) + x * np.log(z + x) - x + tail

    return _split(np.asarray(z), np.asarray(x), lambda z, x: special.gammaln(z + x) - special.gammaln(z), large)


def rising_slope(z: Array | float, x: Array | float, order: int = 1) -> Array:
    """Return the first or second derivative of :func:`log_rising` in z: ψ(z + x) − ψ(z), or ψ'(z + x) − ψ'(z)."""

    def first(z: Array, x: Array) -> Array:
        tail = _series(_DIGAMMA, z + x, 2) - _series(_DIGAMMA, z, 2)
        return np.log1p(x / z) + 0.5 * x / (z * (z + x)) + tail

    def second(z: Array, x: Array) -> Array:
        tail = _series(_TRIGAMMA, z + x, 3) - _series(_TRIGAMMA, z, 3)
        return -x / (z * (z + x)) * (1.0 + 0.5 * (1.0 / z + 1.0 / (z + x))) + tail

    if order == 1:
        return _split(np.asarray(z), np.asarray(x), lambda z, x: special.digamma(z + x) - special.digamma(z), first)
    return _split(np.asarray(z), np.asarray(x), lambda z, x: special.zeta(2, z + x) - special.zeta(2, z), second)


def counts_up(n: Array) -> bool:
    """Return whether there are rows of which each is the one before plus one, so that a recurrence goes through them.

    >>> counts_up(np.array([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]])), counts_up(np.array([1.0, 2.0]))
    (True, False)
    """
    return n.ndim > 1 and len(n) > 1 and bool((n[1:] - n[:-1] == 1).all())


def softplus(y: Array) -> tuple[Array, Array]:
    """Return ln(1 + e^y) and its derivative 1/(1 + e^−y), also where e^y is nothing or beyond all numbers.

    Examples
    --------
    >>> softplus(np.array([-np.inf, 0.0, 1e9]))
    (array([0.00000000e+00, 6.93147181e-01, 1.00000000e+09]), array([0. , 0.5, 1. ]))
    """
    small = np.exp(-np.abs(y))
    return np.maximum(y, 0.0) + np.log1p(small), np.where(y > 0, 1.0, small) / (1.0 + small)


@lru_cache(maxsize=16)
def gauss_legendre(points: int) -> tuple[Array, Array]:
    """Return nodes and weights of the Gauss–Legendre rule on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return (nodes + 1.0) / 2.0, weights / 2.0


def interpolated(function: Callable[[NDArray[np.intp], Array], Array], code: NDArray[np.intp], y: Array) -> Array:
    """Return function(code, y), positive and analytic in y, of very many rows from few evaluations.

    Per code it is the exponential of a Chebyshev series in y, whose length follows from the nearest singularity, taken
    to lie at a distance of iπ, as for functions of log(α + T) that are singular at T = −α. Where the last coefficients
    are not below 1e-10, or a code has few rows, the rows themselves are evaluated.

    Parameters
    ----------
    function : callable
        Arrays of codes and of y, of one length, to values.
    code : array of int, from 0
    y : array
    """
    if not len(y):
        return np.zeros(0)
    low, high = float(y.min()), float(y.max())
    half = max((high - low) / 2, 1e-9)
    node, transform = chebyshev_nodes(half, 27.6)  # e^−27.6 = 1e-12
    points = len(node)
    count = np.bincount(code)
    many = np.flatnonzero(count > 2 * points)
    at = (low + high) / 2 + half * node
    few = np.flatnonzero(count[code] <= 2 * points)
    rest, some = few[_ROWS:], few[:_ROWS]
    found = function(np.append(np.repeat(many, points), code[some]), np.append(np.tile(at, len(many)), y[some]))
    values = found[: len(found) - len(some)].reshape(len(many), points)
    with np.errstate(divide="ignore", invalid="ignore"):
        series = np.log(values) @ transform
    good = np.abs(series[:, -2:]).max(axis=1, initial=0.0) < 1e-10  # False for NaN, too
    held = np.zeros(len(count), dtype=bool)
    held[many[good]] = True
    result = np.empty(len(y))
    result[some] = found[len(found) - len(some) :]
    if not good.all():
        rest = np.setdiff1d(np.flatnonzero(~held[code]), some, assume_unique=True)
    for first in range(0, len(rest), _ROWS):
        rows = rest[first : first + _ROWS]
        result[rows] = function(code[rows], y[rows])
    order = np.argsort(code.astype(np.min_scalar_type(len(count))), kind="stable")  # of short integers: a radix sort
    end = np.cumsum(count)
    for which, coefficients in zip(many[good], series[good], strict=True):
        for first in range(end[which] - count[which], end[which], _ROWS):
            rows = order[first : min(first + _ROWS, end[which])]
            result[rows] = np.exp(clenshaw(coefficients, (y[rows] - (low + high) / 2) / half))
    return result


def chebyshev_nodes(half: float, digits: float) -> tuple[Array, Array]:
    """Return nodes in (−1, 1), and the matrix that makes Chebyshev coefficients of a row of values there.

    As many as it takes to err by e^−digits, where an interval of half the length is iπ away from a singularity.
    """
    points = int(np.ceil(digits / np.arcsinh(np.pi / half))) + 3
    angle = np.pi * (np.arange(points) + 0.5) / points
    transform = np.cos(angle[:, None] * np.arange(points)) * (2 / points)
    transform[:, 0] /= 2
    return np.cos(angle), transform


def clenshaw(coefficients: Array, z: Array) -> Array:
    """Return the sum of a Chebyshev series; its coefficients lie on the first axis."""
    twice, this, last = 2 * z, np.zeros_like(z), np.zeros_like(z)
    for coefficient in coefficients[:0:-1]:
        last *= -1
        last += twice * this
        last += coefficient
        this, last = last, this
    return np.asarray(coefficients[0] + z * this - last)
