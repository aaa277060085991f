"""BG/NBD: purchases at a gamma rate, and a beta chance to leave for good after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.cells import Cells, distinct_levels
from clvlib.clv.models.base import Border
from clvlib.clv.models.nbd import arrivals_tail, rate_derivatives, rate_log_likelihood
from clvlib.clv.models.purchases import RATE_BORDERS, PurchaseModel
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import counts_up, gauss_legendre, interpolated, log_rising, rising_slope, softplus
from clvlib.words import mark

__all__ = ["BetaGeoModel", "discounted_while_alive", "expected_while_alive"]

Array = NDArray[np.float64]

_TIMES = 64  # Gauss–Legendre points of a discounting integral
_STEP = 0.4  # of the logit of the chance to leave: an error below 1e-9
_PART, _ROWS = 256, 4096  # histories at a time: of such an integral, of an expectation
_CERTAIN = 1e8  # a and b beyond it leave no doubt about p: as if they were that large
_SAME = 30.0  # a function counts as constant where its change times the weight there, as p^a, is below e^−30


class BetaGeoModel(PurchaseModel):
    """BG/NBD (Fader, Hardie & Lee 2005, "Counting your customers" the easy way).

    While alive a customer buys at rate λ ~ Gamma(r, α); after every repeat purchase he leaves for good with probability
    p ~ Beta(a, b). A customer without repeat purchase is alive by assumption.

    Parameters are learned by ``fit``: r, alpha (in the time unit), a, b.

    Examples
    --------
    >>> import pandas as pd
    >>> model = BetaGeoModel.with_parameters({"r": .242595, "alpha": 4.413602, "a": .792920, "b": 2.425888}, unit="W")
    >>> customer = pd.DataFrame({"frequency": [2], "recency": [30.43], "T": [38.86]}, index=["1"])
    >>> round(float(model.expected_purchases(customer, horizon=39).iloc[0]), 3)
    1.226
    """

    _names = ("r", "alpha", "a", "b")
    _poolable = True
    _at_start: ClassVar[int] = 0  # how many chances to leave come before the first repeat purchase
    _borders = (
        Border({"a": -1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border({"b": 1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border({"a": -1, "b": 1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border({"a": 1}, mark("everybody seems to leave at the first chance; there is no repeat buying to model")),
        Border({"b": -1}, mark("everybody seems to leave at the first chance; there is no repeat buying to model")),
        Border(
            {"a": 1, "b": -1}, mark("everybody seems to leave at the first chance; there is no repeat buying to model")
        ),
        Border(
            {"a": 1, "b": 1},
            mark("one chance of leaving fits all customers; a geometric dropout without a beta suffices"),
        ),
        Border({"a": -1, "b": -1}, mark("customers leave at once or never; a fixed share of stayers suffices")),
        *RATE_BORDERS,
    )

    def _mixture(self, p: Array, cells: Cells) -> tuple[Array, Array, Array]:
        """Return the log odds of having left, the log of (α + T)/(α + t_x), and b + e − 1 (e ≥ 1 chances to leave)."""
        r, alpha, a, b = p
        t_x, (levels, code, _) = cells["recency"], cells.histogram
        q = np.log1p((cells["T"] - t_x) / (alpha + t_x))
        chances = levels + self._at_start
        later = b + np.maximum(chances, 1) - 1
        ahead = np.where(chances > 0, np.log(a) - np.log(later), -np.inf)
        return ahead[code] + (r + cells["frequency"]) * q, q, later[code]

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        # Fader, Hardie & Lee 2005, eq. 6, with the larger of its two terms taken out
        r, alpha, a, b = p
        levels, code, _ = cells.histogram
        e = levels + self._at_start
        survived = np.asarray(log_rising(b, e) - log_rising(a + b, e))[code]
        rate = rate_log_likelihood(r, alpha, cells["frequency"], cells["T"], cells.histogram)
        return np.asarray(rate + survived + softplus(self._mixture(p, cells)[0])[0])

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        r, alpha, a, b = p
        x, t_x, T, w = cells["frequency"], cells["recency"], cells["T"], cells.weight
        odds, q, later = self._mixture(p, cells)
        lost, gone = softplus(odds)  # gone = 1 − P(alive)
        end, last, left = 1 / (alpha + T), 1 / (alpha + t_x), w * gone
        slope = np.stack([q, (r + x) * (end - last), np.full_like(q, 1 / a), -1 / later])  # of the odds
        gradient = np.vecdot(slope, left)  # unlike a matrix product, in one thread
        hessian = (slope * (left * (1 - gone))) @ slope.T
        bend = left @ (end - last)
        levels, _, mass = cells.histogram
        e = levels + self._at_start
        ab1, ab2 = mass @ rising_slope(a + b, e), mass @ rising_slope(a + b, e, 2)
        value, rate_gradient, rate_hessian = rate_derivatives(r, alpha, x, T, w, cells.histogram)
        value += float(mass @ (log_rising(b, e) - log_rising(a + b, e)) + w @ lost)
        gradient += np.array([*rate_gradient, -ab1, mass @ rising_slope(b, e) - ab1])
        hessian[:2, :2] += rate_hessian
        hessian += np.array(
            [
                [0, bend, 0, 0],
                [bend, left @ ((r + x) * (last**2 - end**2)), 0, 0],
                [0, 0, -ab2 - left.sum() / a**2, -ab2],
                [0, 0, -ab2, mass @ rising_slope(b, e, 2) - ab2 + left @ (1 / later**2)],
            ]
        )
        return value, gradient, hessian

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        rate = self._rate(cells)
        return [(0.5, 0.5 / (2 * rate), 0.7, 2.0), (2.0, 2.0 / rate, 1.0, 20.0), (0.2, 0.05 / rate, 0.3, 0.5)]

    def _onset(self, p: Array) -> float:
        return float(p[1])

    def _alive(self, p: Array, cells: Cells) -> Array:
        return np.asarray(special.expit(-self._mixture(p, cells)[0]))

    def _survivors(self, p: Array, cells: Cells) -> tuple[Array, Array, float, Array]:
        """Return r', α', a, b' of the customers of each history, given that they are alive."""
        r, alpha, a, b = p
        x = cells["frequency"]
        return r + x, alpha + cells["T"], float(a), b + x + self._at_start

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        return self._alive(p, cells) * expected_while_alive(*self._survivors(p, cells), horizon)

    def _expected_cells(self, p: Array, cells: Cells, horizon: float) -> Array:
        return self._foreseen(p, cells, lambda r, alpha, a, b, _: expected_while_alive(r, alpha, a, b, horizon))

    def _discounted(self, p: Array, cells: Cells, rate: float, horizon: float | None) -> Array:
        end = self._discounted_end(rate, horizon)
        if rate == 0 or end == 0:
            return self._expected_cells(p, cells, end)
        return self._foreseen(p, cells, lambda r, alpha, a, b, _: discounted_while_alive(r, alpha, a, b, rate, end))

    def _foreseen(
        self,
        p: Array,
        cells: Cells,
        while_alive: Callable[[Array, Array, float, Array, Array], Array],
        n: Array | None = None,
    ) -> Array:
        """Return P(alive) times what is to come while alive, which depends on x and T alone, or on a number n too."""
        levels, code, _ = cells.histogram
        numbers, which = (np.zeros(1), np.zeros_like(code)) if n is None else distinct_levels(n)

        def at(code: NDArray[np.intp], log_alpha: Array) -> Array:
            x, number = levels[code // len(numbers)], numbers[code % len(numbers)]
            return while_alive(p[0] + x, np.exp(log_alpha), float(p[2]), p[3] + x + self._at_start, number)

        log_alpha = np.log(p[1] + cells["T"])
        return self._alive(p, cells) * interpolated(at, code * len(numbers) + which, log_alpha)

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        return self._alive(p, cells) * tail_while_alive(*self._survivors(p, cells), n, horizon)

    def _tail_cells(self, p: Array, cells: Cells, horizon: float, n: Array) -> Array:
        if n.ndim > 1 or len(cells) <= _ROWS:
            return super()._tail_cells(p, cells, horizon, n)
        return self._foreseen(p, cells, lambda r, alpha, a, b, n: tail_while_alive(r, alpha, a, b, n, horizon), n)

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        r, alpha, a, b = self._survivors(p, cells)
        alive = rng.random(len(cells)) < self._alive(p, cells)
        arrivals = rng.poisson(rng.gamma(r, 1 / alpha) * horizon).astype(float)
        chance = np.maximum(rng.beta(a, b), 1e-300)
        leaves_after = np.maximum(
            np.ceil(np.log1p(-rng.random(len(cells))) / np.log1p(-np.minimum(chance, 1 - 1e-16))), 1
        )
        count = np.where(alive, np.minimum(arrivals, leaves_after), 0.0)
        # the count-th of the arrivals, which lie uniformly in the horizon
        last = horizon * rng.beta(np.maximum(count, 1), np.maximum(arrivals - count, 0) + 1)
        return count, np.where(count > 0, last, 0.0)


def expected_while_alive(r: Array, alpha: Array, a: float, b: Array, t: Array | float) -> Array:
    """Return E[X(t)] of customers alive now: rate ~ Gamma(r, α), chance to leave after each purchase ~ Beta(a, b).

    It is the mean of (1 − (α/(α + pt))^r)/p over p ~ Beta(a, b) (Fader, Hardie & Lee 2005, eq. 9, before p is
    integrated out), by the trapezoidal rule in the logit of p: all terms are positive, so nothing cancels.
    """
    r, alpha, b, t = np.broadcast_arrays(r, alpha, b, t)
    tau = t / alpha
    result = np.empty(tau.shape)
    for first in range(0, len(tau), _ROWS):
        part = slice(first, first + _ROWS)
        levels, code = np.unique(b[part], return_inverse=True)
        most = np.full(len(levels), r[part].max())
        total = np.zeros(len(code))
        for p, w in zip(*_logit_rule(a, levels, most, tau[part].max()), strict=True):
            chance = p[code]
            total -= w[code] * np.expm1(-r[part] * np.log1p(chance * tau[part])) / chance
        result[part] = total
    return np.clip(result, 0.0, r * tau)


def tail_while_alive(r: Array, alpha: Array, a: float, b: Array, n: Array, t: Array | float) -> Array:
    """Return P(X(t) ≥ n) of customers alive now; arguments as in :func:`expected_while_alive`.

    It is P(a Poisson process has n arrivals) · P(n − 1 chances are survived): rate and dropout are independent.
    """
    arrivals = arrivals_tail(n, r, t / (alpha + t))
    if not counts_up(n):
        return np.asarray(arrivals * np.exp(log_rising(b, n - 1) - log_rising(a + b, n - 1)))
    survived = (b + n - 2) / (a + b + n - 2)
    survived[0] = np.exp(log_rising(b, n[0] - 1) - log_rising(a + b, n[0] - 1))
    return np.asarray(arrivals * np.cumprod(survived, axis=0))


def discounted_while_alive(r: Array, alpha: Array, a: float, b: Array, rate: float, end: float) -> Array:
    """Return ∫ e^(−δt) dE[X(t)] until ``end`` of customers alive now; arguments as in :func:`expected_while_alive`.

    The pace of purchases at t, r/α · E[(1 + pt/α)^−(r + 1)] with p ~ Beta(a, b), is a sum of positive terms, by the
    trapezoidal rule in the logit of p; over t it is integrated by Gauss–Legendre in log(1 + t/α).
    """
    result = np.empty(len(r))
    nodes, weights = gauss_legendre(_TIMES)
    for first in range(0, len(r), _PART):
        part = slice(first, first + _PART)
        scale, k = alpha[part, None], r[part, None]
        span = np.log1p(end / scale)
        v = np.expm1(nodes * span)
        worth = weights * span * (1 + v) * np.exp(-rate * scale * v)
        total = np.zeros_like(v)
        for p, w in zip(*_logit_rule(a, b[part], r[part], end / alpha[part]), strict=True):
            total += w[:, None] * np.exp(-(k + 1) * np.log1p(p[:, None] * v))
        result[part] = r[part] * np.einsum("ij,ij->i", worth, total)
    return result


def _logit_rule(a: Array | float, b: Array, r: Array, reach: Array | float) -> tuple[Array, Array]:
    """Return nodes and weights (J, m) of means over p ~ Beta(a, b) of (1 + pv)^−(r + 1) and the like, 0 ≤ v ≤ reach.

    The trapezoidal rule in y = logit p errs by e^(−π²/h): such functions are analytic for |Im y| < π/2 at least. To
    either side, where the function does not change any more, its terms are a geometric series.
    """
    excess = np.maximum(np.minimum(a, b) / _CERTAIN, 1.0)
    a, b = a / excess, b / excess
    deviation = np.sqrt(special.polygamma(1, a) + special.polygamma(1, b))
    bulk = 9 * deviation
    peak = np.log(a) - np.log(b)
    # a steep function moves the peak, at most to where it begins to fall, and no further than r + 1 is to a
    moved = np.maximum(-np.log1p((r + 1) * reach), np.log(np.maximum(a - r - 1, 1e-300)) - np.log(b + r + 1))
    low = np.minimum(peak, moved) - bulk - 40 / a
    low = np.maximum(low, -np.log1p((r + 1) * reach + b) - _SAME / (1 + a))
    high = np.minimum(peak + bulk + 40 / b, _SAME / (1 + b) + np.log1p(a + r))
    high = np.maximum(high, low + np.minimum(deviation, 1.0))
    count = int(np.ceil(((high - low) / np.minimum(_STEP, 0.7 * deviation)).max()))
    step = (high - low) / count
    y = low + np.arange(-1, count + 2)[:, None] * step
    constant = log_rising(b, a) - special.gammaln(a) + np.log(step)  # −ln B(a, b), and the step
    weight = np.exp(constant + a * special.log_expit(y) + b * special.log_expit(-y))
    weight[0] /= -np.expm1(-a * step)
    weight[-1] /= -np.expm1(-b * step)
    return special.expit(y), weight


def beta_rule(a: float, b: Array, points: int) -> tuple[Array, Array]:
    """Return nodes and weights (shapes (len(b), points)) of the Gauss rule for means over Beta(a, b).

    Golub & Welsch 1969 with the Jacobi recurrence, moved to (0, 1) so that nothing cancels for large b.
    """
    s = a + b - 2
    k = np.arange(1, points)[:, None]
    diagonal = np.vstack([a / (s + 2), (2 * k * k + 2 * k * (s + 1) + s * a) / ((2 * k + s) * (2 * k + s + 2))])
    m = k[1:]
    head = a * b / ((2 + s) ** 2 * (3 + s))
    rest = m * (m + b - 1) * (m + a - 1) * (m + s) / ((2 * m + s) ** 2 * (2 * m + s + 1) * (2 * m + s - 1))
    matrix = np.zeros((len(b), points, points))
    i = np.arange(points)
    matrix[:, i, i] = diagonal.T
    matrix[:, i[1:], i[:-1]] = matrix[:, i[:-1], i[1:]] = np.sqrt(np.vstack([head, rest]).T)
    nodes, vectors = np.linalg.eigh(matrix)
    return np.clip(nodes, 1e-300, 1.0), vectors[:, 0, :] ** 2
