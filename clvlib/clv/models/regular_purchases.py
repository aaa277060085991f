"""How often customers come who buy at every k-th event of a Poisson process, until a purchase is their last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.models.beta_geo import beta_rule
from clvlib.clv.special import gauss_legendre, log_rising

__all__ = ["expected_while_alive", "tail_while_alive"]

Array = NDArray[np.float64]

_NEAR = 2.0  # up to here the 32-point rule over the chance to leave is exact, as in BG/NBD
_STEEP = 10.0  # from this a on it is exact anywhere: hardly any weight lies near 0
_EDGE, _PANEL = 10, 28  # nodes of the other rule: at the two ends, and in each of the two panels between
_TINY = 1e-5  # expectations below this are summed from their tails, where the roots of unity would cancel

_BLOCK = 2048  # histories at a time: all nodes of theirs fit the cache


def expected_while_alive(s: Array, share: Array, tau: Array, a: float, b: Array) -> Array:
    """Return E[X] of customers alive now, with a relative error below 1e-8.

    Parameters
    ----------
    s, tau, b : arrays (m,)
        Shape of the rate's gamma distribution, coming span in units of its scale, and parameter b of each history.
    share : array (k, m)
        Chances that j = 0, ..., k − 1 events have passed since the last purchase; j adds to the shape.
    a : float
        The chance to leave after a purchase is Beta(a, b).
    """
    k = len(share)
    result = np.empty(len(s))
    far = (tau * (s + 1) > _NEAR * k * (a + b)) & (a < _STEEP)
    for group, rule in ((np.flatnonzero(~far), _gauss_rule), (np.flatnonzero(far), _wide_rule)):
        for where in np.split(group, range(_BLOCK, len(group), _BLOCK)) if len(group) else []:
            nodes = rule(a, b[where], tau[where] * (s[where] + 1) / k)
            result[where] = _averaged(s[where], share[:, where], tau[where], *nodes)
    small = np.flatnonzero(result < _TINY)
    if len(small):
        z = tau[small] / (1 + tau[small])
        result[small] = _summed(s[small], share[:, small], z, a, b[small], result[small])
    return np.maximum(result, 0.0)


def tail_while_alive(s: Array, share: Array, z: Array, a: float, b: Array, n: Array) -> Array:
    """Return P(X ≥ n) of customers alive: at least nk − j events, and n − 1 chances survived.

    Parameters are as in :func:`expected_while_alive`, with z = τ/(1 + τ).
    """
    k = len(share)
    arrivals = sum((part * special.betainc(k * n - j, s + j, z) for j, part in enumerate(share)), np.zeros(n.shape))
    return np.asarray(arrivals * np.exp(log_rising(b, n - 1) - log_rising(a + b, n - 1)))


def _summed(s: Array, share: Array, z: Array, a: float, b: Array, otherwise: Array) -> Array:
    """Return E[X] = Σ P(X ≥ n) where a few terms hold it, ``otherwise`` elsewhere."""
    total = np.zeros(len(s))
    term = total
    for n in range(1, 31):
        term = tail_while_alive(s, share, z, a, b, np.full(len(s), float(n)))
        total = total + term
        if (term <= 1e-12 * total).all():
            break
    return np.where(term <= 1e-12 * total, total, otherwise)


def _averaged(s: Array, share: Array, tau: Array, chance: Array, weight: Array) -> Array:
    """Return E[X] of customers alive from nodes (J, m) and weights of the chance p to leave.

    Given p, E = Σ_n (1 − p)^(n−1) P(N ≥ nk − j), with N ~ NBD(s + j, τ) events to come and j past ones in the mixture.
    The sum over every k-th term is the mean of the full sum at u = (1 − p)^(1/k) times each k-th root of unity:
    u/(1 − u) · [Π(u) − g(u) Π(u h)], h = 1/(1 + (1 − u) τ), g = h^s, Π(y) = Σ_j share_j y^j.
    """
    k = len(share)
    step = np.log1p(-np.minimum(chance, 1 - 1e-9)) / k
    lost = -np.expm1(step)  # 1 − u, without losing digits where p is small
    u = 1 - lost
    # Π(u) − Π(uh) g: written so that nothing cancels where few events are to come
    log_h = -np.log1p(lost * tau)
    value = np.zeros_like(u)
    for j in reversed(range(k)):
        value = value * u - share[j] * np.expm1((s + j) * log_h)
    value = value * u / lost
    for turn in range(1, k // 2 + 1):
        root = u * np.exp(2j * np.pi * turn / k)
        h = 1 / (1 + (1 - root) * tau)
        inner, outer = np.zeros_like(root), np.zeros_like(root)
        for part in share[::-1]:
            inner, outer = inner * root + part, outer * (root * h) + part
        both = 1 if 2 * turn == k else 2  # conjugate roots come in pairs
        value = value + both * (root / (1 - root) * (inner - np.exp(s * np.log(h)) * outer)).real
    return np.asarray((weight * value / np.maximum(1 - chance, 1e-9)).sum(axis=0) / k)


def _gauss_rule(a: float, b: Array, reach: Array) -> tuple[Array, Array]:  # noqa: ARG001 - the other rule needs it
    """Return nodes and weights (32, m) of the mean over p ~ Beta(a, b)."""
    levels, code = np.unique(b, return_inverse=True)
    nodes, weights = beta_rule(a, levels, 32)
    return nodes.T[:, code], weights.T[:, code]


def _wide_rule(a: float, b: Array, reach: Array) -> tuple[Array, Array]:
    """Return nodes and weights (J, m) of the mean over p ~ Beta(a, b) of functions that change at p ~ 1/reach as well.

    Gauss–Jacobi rules take the powers of p and 1 − p at the two ends, Gauss–Legendre in the logit of p what lies
    between.
    """
    low = 0.1 / (1 + np.maximum(reach, b))
    if a > 1:  # below this p lies no more than e^−40 of a mean over p of 1/p
        low = np.maximum(low, 0.1 * np.exp(-40 / (a - 1)) / (1 + b))
    high = 0.2 / (1 + a) * np.ones_like(b)  # of 1 − p
    constant = log_rising(b, a) - special.gammaln(a)  # −ln B(a, b)
    nodes, weights = [], []
    left, left_weight = (v[0] for v in beta_rule(a, np.array([1.0]), _EDGE))
    for x, w in zip(left, left_weight, strict=True):
        p = x * low
        nodes.append(p)
        weights.append(w * np.exp(constant + a * np.log(low) - np.log(a) + (b - 1) * np.log1p(-p)))
    levels, code = np.unique(b, return_inverse=True)
    right, right_weight = beta_rule(1.0, levels, _EDGE)  # of 1 − p ~ Beta(b, 1), as p ~ Beta(1, b)
    for x, w in zip(right.T, right_weight.T, strict=True):
        rest = (1 - x[code]) * high
        nodes.append(1 - rest)
        weights.append(w[code] * np.exp(constant + b * np.log(high) - np.log(b) + (a - 1) * np.log1p(-rest)))
    start, end = special.logit(low), -special.logit(high)
    cut = np.clip(np.log((1 + a) / (1 + b)), start, end)
    most = (60 + 6 * a) / b  # where (1 − p)^b is e^(−60 − 6a)
    end = np.minimum(end, np.maximum(most + np.log(-np.expm1(-most)), cut))
    for lower, upper in ((start, cut), (cut, end)):
        for x, w in zip(*gauss_legendre(_PANEL), strict=True):
            y = lower + x * (upper - lower)
            nodes.append(special.expit(y))
            log_density = constant + a * special.log_expit(y) + b * special.log_expit(-y)
            weights.append(w * (upper - lower) * np.exp(log_density))
    return np.array(nodes), np.array(weights)
