"""What the discrete-time models share: a beta-binomial term with its derivatives, and sums of such terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.special import log_rising, rising_slope

__all__ = ["beta_term", "mixture_derivatives"]

Array = NDArray[np.float64]


def beta_term(a: float, b: float, x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return ln B(a + x, b + y) − ln B(a, b), its gradient (2, …) and Hessian (2, 2, …) in a and b."""
    value = log_rising(a, x) + log_rising(b, y) - log_rising(a + b, x + y)
    both, both2 = rising_slope(a + b, x + y), rising_slope(a + b, x + y, 2)
    gradient = np.stack([rising_slope(a, x) - both, rising_slope(b, y) - both])
    hessian = np.stack(
        [np.stack([rising_slope(a, x, 2) - both2, -both2]), np.stack([-both2, rising_slope(b, y, 2) - both2])]
    )
    return value, gradient, hessian


def mixture_derivatives(log_terms: Array, gradient: Array, hessian: Array, w: Array) -> tuple[float, Array, Array]:
    """Return Σ w ln Σ exp(terms) with gradient and Hessian, from those of the terms.

    Parameters
    ----------
    log_terms : array (J, m)
        J terms of each of m histories; −∞ where a history has fewer.
    gradient, hessian : arrays (k, J, m) and (k, k, J, m)
        Derivatives of the log terms.
    w : array (m,)
        Weights of the histories.
    """
    total = special.logsumexp(log_terms, axis=0)
    share = np.exp(log_terms - total)
    mean = (gradient * share).sum(axis=1)
    second = np.einsum("ijm,kjm,jm->ik", gradient, gradient, share * w)
    bend = (hessian * (share * w)).sum(axis=(2, 3))
    return float(w @ total), mean @ w, bend + second - (mean * w) @ mean.T
