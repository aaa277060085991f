"""Pareto/NBD in which customers who buy often may be those who leave early, or late."""

# ruff: noqa: SLF001 - the likelihood is a sum of the plain model's, and so are its predictions

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Border, Prior
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.optimise import Derivatives
from clvlib.words import mark

__all__ = ["CorrelatedParetoNBDModel"]

Array = NDArray[np.float64]
Complex = NDArray[np.complex128] | Array

_PLAIN = ParetoNBDModel()
_STEP = 1e-30  # of derivatives by an imaginary step, which has no difference to lose digits in
_DIFFERENCE = 1e-5  # relative step of differences
_ROUNDS = 500  # of rejection; what is left then is kept as it is
_FAR = 600.0  # of a term's log-likelihood above that of the sum, to which its coefficient then adds nothing
_LEAST = 1e-14  # of the sum, against the size of its terms: below this nothing but rounding is left


class CorrelatedParetoNBDModel(PurchaseModel):
    """Pareto/NBD with dependent rates of purchasing and leaving (Sarmanov 1966; Park & Fader 2004 for the family).

    As :class:`ParetoNBDModel`, but λ and μ have the joint density

        f(λ) g(μ) [1 + m (e^(−λ/λ₀) − A) (e^(−μ/μ₀) − B)],

    f and g gamma densities, A and B the means of the two kernels under them. The kernels shift α and β only, so that
    likelihood and predictions are sums of four of Pareto/NBD's. m > 0: those who buy often leave early.

    What m may be depends on the other parameters; κ covers its range whatever they are: m is at its lower limit for
    κ → 0, 0 for κ = 1 (Pareto/NBD), and at its upper limit for κ → ∞.

    Parameters
    ----------
    kernel_time : float, optional
        1/λ₀ and 1/μ₀, in the time unit. None: α and β, so that the model does not depend on the time unit. In CLVTools
        it is 1 whatever the unit, which with time in weeks allows weak correlations only.
    prior : mapping of str to (float, float), optional
        See :class:`Estimator`.

    Notes
    -----
    Parameters are learned by ``fit``: r, alpha, s, beta (alpha and beta in the time unit), kappa.

    Examples
    --------
    >>> params = {"r": 0.5, "alpha": 10.0, "s": 0.5, "beta": 10.0, "kappa": 5.0}
    >>> model = CorrelatedParetoNBDModel.with_parameters(params, unit="W")
    >>> round(model.correlation(), 3)
    0.163
    """

    _names = ("r", "alpha", "s", "beta", "kappa")
    _borders = (
        Border(
            {"kappa": 1},
            mark("those who buy often leave early as strictly as this model allows; correlation at its limit"),
        ),
        Border(
            {"kappa": -1},
            mark("those who buy often stay long as strictly as this model allows; correlation at its limit"),
        ),
        *ParetoNBDModel._borders,
    )

    def __init__(self, kernel_time: float | None = None, prior: Prior | None = None) -> None:
        super().__init__(prior)
        self.kernel_time = kernel_time

    # ---- dependence

    def correlation(self) -> float:
        """Return the correlation of a customer's rates of purchasing and leaving."""
        p = self._p()
        r, alpha, s, beta = p[:4]
        m_ab = float(self._coefficients(p)[3])
        near, far = self._shifted(p)
        return float(m_ab * np.sqrt(r * s) * (1 - alpha / near) * (1 - beta / far))

    def _shifted(self, p: Array) -> tuple[float, float]:
        """Return what the kernels make of α and β."""
        if self.kernel_time is None:
            return 2 * float(p[1]), 2 * float(p[3])
        return float(p[1]) + self.kernel_time, float(p[3]) + self.kernel_time

    def _dependence(self, p: Complex) -> tuple[Any, Any, Any]:
        """Return m, 1 + m A B without a difference, and ln A B."""
        r, alpha, s, beta, kappa = p
        if self.kernel_time is None:
            log_a, log_b = -r * np.log(2.0), -s * np.log(2.0)
        else:
            log_a, log_b = -r * np.log1p(self.kernel_time / alpha), -s * np.log1p(self.kernel_time / beta)
        a, b = np.exp(log_a), np.exp(log_b)
        rest_a, rest_b = -np.expm1(log_a), -np.expm1(log_b)
        upper = max(a * rest_b, b * rest_a, key=lambda z: z.real)  # 1/m at its limits
        lower = max(a * b, rest_a * rest_b, key=lambda z: z.real)
        whole = kappa * upper + lower
        return (kappa - 1) / whole, (kappa * (upper + a * b) + (lower - a * b)) / whole, log_a + log_b

    def _coefficients(self, p: Complex) -> Complex:
        """Return the coefficients of the four terms: none, α, β, both shifted."""
        m, plain, log_ab = self._dependence(p)
        m_ab = m * np.exp(log_ab)
        return np.array([plain, -m_ab, -m_ab, m_ab])

    def _coefficient_derivatives(self, p: Array) -> tuple[Array, Array, Array]:
        """Return the coefficients (4,), their gradients (4, 5) and Hessians (4, 5, 5)."""

        def gradient(at: Array) -> Array:
            return np.stack([self._coefficients(at + 1j * _STEP * row).imag / _STEP for row in np.eye(5)], axis=1)

        steps = np.diag(1e-5 * p)
        bend = [(gradient(p + step) - gradient(p - step)) / (2 * step.max()) for step in steps]
        return np.asarray(self._coefficients(p)), gradient(p), np.stack(bend, axis=2)

    # ---- likelihood

    def _terms(self, p: Array) -> list[Array]:
        """Return the parameters of the four Pareto/NBD models."""
        r, alpha, s, beta = p[:4]
        near, far = self._shifted(p)
        return [np.array([r, x, s, y]) for x, y in ((alpha, beta), (near, beta), (alpha, far), (near, far))]

    def _sum(self, p: Array, cells: Cells) -> tuple[Array, Array, Array]:
        """Return the log-likelihood, those of the four terms (4, m), and their shares of the sum: some may be < 0."""
        values = np.stack([_PLAIN._log_likelihood(term, cells) for term in self._terms(p)])
        m, plain, log_ab = (float(part) for part in self._dependence(p))
        with np.errstate(divide="ignore"):
            shifted = np.log(abs(m)) + log_ab
            sizes = np.array([np.log(max(plain, 0.0)), shifted, shifted, shifted])[:, None] + values
        top = sizes.max(axis=0)
        parts = np.exp(sizes - top) * np.array([1.0, -np.sign(m), -np.sign(m), np.sign(m)])[:, None]
        total = np.maximum(parts.sum(axis=0), _LEAST * np.abs(parts).sum(axis=0))
        return top + np.log(total), values, parts / total

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        return self._sum(p, cells)[0]

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        value, values, _ = self._sum(p, cells)
        parts = np.exp(np.minimum(values - value, _FAR))
        c, c1, c2 = self._coefficient_derivatives(p)
        w, m = cells.weight, len(cells)
        linear = self.kernel_time is None
        whole, gradient, hessian = np.zeros((5, m)), np.zeros(5), np.zeros((5, 5))
        for i, term in enumerate(self._terms(p)):
            chain = np.array([1.0, term[1] / p[1] if linear else 1.0, 1.0, term[3] / p[3] if linear else 1.0])
            part = w * parts[i]
            _, rise, bend = _PLAIN._derivatives(term, replace(cells, weight=part))
            g = np.zeros((5, m))
            g[:4] = chain[:, None] * _row_gradient(term, cells)
            gradient[:4] += c[i] * chain * rise
            gradient += c1[i] * part.sum()
            hessian[:4, :4] += c[i] * np.outer(chain, chain) * bend
            crossed = np.outer(c1[i], g @ part)
            hessian += c[i] * np.einsum("im,jm->ij", g * part, g) + crossed + crossed.T + c2[i] * part.sum()
            whole += parts[i] * (c[i] * g + c1[i][:, None])
        return float(w @ value), gradient, hessian - np.einsum("im,jm->ij", whole * w, whole)

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        first, second, _ = _PLAIN._starts(cells)
        return [(*first, 3.0), (*first, 0.3), (*second, 1.0)]

    # ---- predictions

    def _pace(self, p: Array, cells: Cells) -> Array:
        return _PLAIN._pace(p[:4], cells)

    def _mixed(self, p: Array, cells: Cells, values: Sequence[Array]) -> Array:
        """Return the mean of the four models' predictions, whose weights may be negative but add up to 1."""
        return np.asarray(sum(part * value for part, value in zip(self._sum(p, cells)[2], values, strict=True)))

    def _alive(self, p: Array, cells: Cells) -> Array:
        values = [_PLAIN._alive(term, cells) for term in self._terms(p)]
        return np.clip(self._mixed(p, cells, values), 0.0, 1.0)

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        values = [_PLAIN._expected(term, cells, horizon) for term in self._terms(p)]
        return np.maximum(self._mixed(p, cells, values), 0.0)

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        values = [_PLAIN._tail(term, cells, horizon, n) for term in self._terms(p)]
        return np.clip(self._mixed(p, cells, values), 0.0, 1.0)

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        r, alpha, s, beta = p[:4]
        m = float(self._dependence(p)[0])
        near, far = self._shifted(p)
        a, b = (alpha / near) ** r, (beta / far) ** s
        most = 1 + max(m * max(a * b, (1 - a) * (1 - b)), -m * max(a * (1 - b), b * (1 - a)))
        rate, leaving = np.empty(len(cells)), np.empty(len(cells))
        todo = np.arange(len(cells))
        for _ in range(_ROUNDS):
            x, T = cells["frequency"][todo], cells["T"][todo]
            rate[todo], leaving[todo] = rng.gamma(r + x, 1 / (alpha + T)), rng.gamma(s, 1 / (beta + T))
            u, v = np.exp(-rate[todo] * (near - alpha)), np.exp(-leaving[todo] * (far - beta))
            todo = todo[rng.random(len(todo)) * most > 1 + m * (u - a) * (v - b)]
            if not len(todo):
                break
        alive = rng.random(len(cells)) < self._alive(p, cells)
        span = rng.exponential(size=len(cells)) / np.maximum(leaving, 1e-300)
        window = np.where(alive, np.minimum(span, horizon), 0.0)
        count = rng.poisson(rate * window).astype(float)
        last = window * rng.random(len(cells)) ** (1 / np.maximum(count, 1))
        return count, np.where(count > 0, last, 0.0)


def _row_gradient(p: Array, cells: Cells) -> Array:
    """Return each history's gradient (4, m) of Pareto/NBD's log-likelihood, by differences."""
    steps = np.diag(_DIFFERENCE * p)
    up, down = ([_PLAIN._log_likelihood(p + sign * step, cells) for step in steps] for sign in (1, -1))
    return np.asarray((np.stack(up) - np.stack(down)) / (2 * _DIFFERENCE * p[:, None]))
