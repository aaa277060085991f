"""GGom/NBD: purchases at a gamma rate, until a lifetime ends whose risk may grow with age."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Border
from clvlib.clv.models.nbd import rate_derivatives, rate_log_likelihood
from clvlib.clv.models.purchases import RATE_BORDERS, PurchaseModel
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import gauss_legendre
from clvlib.words import mark

__all__ = ["GammaGompertzNBDModel"]

Array = NDArray[np.float64]

_DEPTH = 60.0  # where an integrand has fallen by e^−60 nothing is left to integrate
# points of the three panels of an integral over time, by how far the integrand falls: up to e^−4, to e^−16, or beyond
_POINTS = ((14, 10, 14), (20, 16, 20), (32, 24, 32))
_STEEPNESS = (4.0, 16.0)
_ARRIVAL = 64  # of the integral over the time of the n-th purchase


class GammaGompertzNBDModel(PurchaseModel):
    """GGom/NBD (Bemmaor & Glady 2012, Modeling purchasing behavior with sudden "death").

    While alive a customer buys at rate λ ~ Gamma(r, α); the lifetime is Gompertz, P(longer than u) =
    exp(−η (e^(bu) − 1)), with η ~ Gamma(s, β). The risk of leaving may grow with age as well as fall, which Pareto/NBD
    does not allow: it is the limit of b and β going to zero together, β/b being its β.

    The likelihood needs no closed form: it is the alive term times 1 + D, where D, the odds of having left, is the
    integral over the time u of leaving, between t_x and T, of the hazard at u times

        ((α + T)/(α + u))^(r + x) · (S(u)/S(T)),   S(u) = (β/(β − 1 + e^(bu)))^s,

    positive throughout, by Gauss–Legendre on up to three panels. All derivatives are means over u under that integrand.

    Parameters are learned by ``fit``: r, alpha (in the time unit), b (per time unit), s, beta.

    Examples
    --------
    >>> import pandas as pd
    >>> params = {"r": 0.55, "alpha": 10.6, "b": 0.05, "s": 0.6, "beta": 2.0}
    >>> model = GammaGompertzNBDModel.with_parameters(params, unit="W")
    >>> customer = pd.DataFrame({"frequency": [2], "recency": [30.0], "T": [39.0]}, index=["1"])
    >>> round(float(model.probability_alive(customer).iloc[0]), 3)
    0.749
    """

    _names = ("r", "alpha", "b", "s", "beta")
    _borders = (
        Border({"b": -1, "beta": -1}, mark("the risk of leaving does not grow; Pareto/NBD (ParetoNBDModel) suffices")),
        Border({"b": -1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border({"s": -1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border({"beta": 1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border(
            {"s": 1, "beta": 1}, mark("one risk of leaving fits all customers; a Gompertz without a gamma suffices")
        ),
        Border({"b": 1, "s": -1}, mark("one risk of leaving fits all customers; exponential lifetimes suffice")),
        Border(
            {"b": 1, "s": -1, "beta": 1}, mark("nobody leaves before some age, and then at one risk for all customers")
        ),
        Border(
            {"b": 1}, mark("everybody seems to leave at once or at one age; there is no spread of lifetimes to model")
        ),
        Border({"s": 1}, mark("everybody seems to leave at once; there is no repeat buying to model")),
        Border({"beta": -1}, mark("everybody seems to leave at once; there is no repeat buying to model")),
        *RATE_BORDERS,
    )

    # ---- likelihood

    @staticmethod
    def _fall(p: Array, cells: Cells, y: Array) -> Array:
        """Return how far the integrand, but for the hazard, has fallen y/b after t_x."""
        r, alpha, b, s, beta = p
        t_x = cells["recency"]
        slower = (r + cells["frequency"]) * np.log1p(y / (b * (alpha + t_x)))
        return np.asarray(s * _loss(y, _age(b, beta, t_x)) + slower)

    def _groups(self, p: Array, cells: Cells) -> Iterator[tuple[NDArray[np.intp], Cells, tuple[int, int, int]]]:
        """Yield the histories in groups by how steeply the integrand falls, and the points that each needs."""
        span = p[2] * (cells["T"] - cells["recency"])
        group = np.searchsorted(_STEEPNESS, self._fall(p, cells, span))
        for number, points in enumerate(_POINTS):
            where = np.flatnonzero(group == number)
            if len(where):
                yield where, cells.take(where), points

    def _odds(self, p: Array, cells: Cells) -> Array:
        """Return the log odds of having left."""
        odds = np.empty(len(cells))
        for where, part, points in self._groups(p, cells):
            odds[where] = self._leaving(p, part, points)[0]
        return odds

    def _leaving(self, p: Array, cells: Cells, points: tuple[int, int, int]) -> tuple[Array, Array, Array]:
        """Return the log odds of having left, and times of leaving (J, m) with their chances given having left."""
        r, alpha, b, s, beta = p
        x, t_x, T = cells["frequency"], cells["recency"], cells["T"]
        kappa, scale, span = _age(b, beta, t_x), b * (alpha + t_x), b * (T - t_x)
        with np.errstate(over="ignore"):
            reach = np.minimum(_loss(_DEPTH / s, 1 / kappa), scale * np.expm1(_DEPTH / (r + x)))
        y, weight = _panels(np.minimum(span, reach), kappa, np.minimum(kappa, scale), points)
        share = weight * np.exp(-self._fall(p, cells, y)) / (kappa * np.exp(-y) - np.expm1(-y))
        total = share.sum(axis=0)
        empty = total <= 0  # T = t_x: no time to leave in
        total = np.where(empty, 1.0, total)
        rise = self._fall(p, cells, span)
        return np.where(empty, -np.inf, np.log(s) + rise + np.log(total)), t_x + y / b, share / total

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        return self._rows(p, cells, self._odds(p, cells))

    def _rows(self, p: Array, cells: Cells, odds: Array) -> Array:
        r, alpha, b, s, beta = p
        T = cells["T"]
        rate = rate_log_likelihood(r, alpha, cells["frequency"], T, cells.histogram)
        return np.asarray(rate - s * _loss(b * T, beta) + np.logaddexp(0.0, odds))

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        r, alpha, b, s, beta = p
        x, T, w = cells["frequency"], cells["T"], cells.weight
        odds, gradient, hessian = np.empty(len(cells)), np.zeros(5), np.zeros((5, 5))
        for where, part, points in self._groups(p, cells):
            odds[where], part_gradient, part_hessian = self._odds_derivatives(p, part, points)
            gradient, hessian = gradient + part_gradient, hessian + part_hessian
        lost = _loss(b * T, beta)
        end, end_bend = _loss_derivatives(b, beta, T)
        gradient[2:] += [-s * (w @ end[0]), -w @ lost, -s * (w @ (end[1] - 1 / beta))]
        bb, bs, s_beta = w @ end_bend[0], w @ end[0], w @ (end[1] - 1 / beta)
        b_beta, beta_beta = w @ end_bend[1], w @ (end_bend[2] + 1 / beta**2)
        hessian[2:, 2:] -= np.array([[s * bb, bs, s * b_beta], [bs, 0, s_beta], [s * b_beta, s_beta, s * beta_beta]])
        _, rate_gradient, rate_hessian = rate_derivatives(r, alpha, x, T, w, cells.histogram)
        gradient[:2] += rate_gradient
        hessian[:2, :2] += rate_hessian
        return float(w @ self._rows(p, cells, odds)), gradient, hessian

    def _odds_derivatives(self, p: Array, cells: Cells, points: tuple[int, int, int]) -> tuple[Array, Array, Array]:
        """Return the log odds, and gradient and Hessian of the weighted sum of log(1 + odds): means over u."""
        r, alpha, b, s, beta = p
        x, T, w = cells["frequency"], cells["T"], cells.weight
        odds, u, share = self._leaving(p, cells, points)
        gone = special.expit(odds)
        at, end = 1 / (alpha + u), 1 / (alpha + T)
        later = _loss(b * (T - u), _age(b, beta, u))  # ln E(T) − ln E(u), E = β − 1 + e^(bu)
        now, now_bend = _loss_derivatives(b, beta, u)
        last, last_bend = _loss_derivatives(b, beta, T)
        slope = np.stack(  # of ln f(u)
            [
                np.log((alpha + T) * at),
                (r + x) * (end - at),
                1 / b + u - now[0] + s * (last[0] - now[0]),
                1 / s + later,
                s * (last[1] - now[1]) - now[1],
            ]
        )
        weighted = slope * (share * gone)
        mean = weighted.sum(axis=1)
        hessian = np.einsum("ijm,kjm->ik", weighted, slope * w) - np.einsum("im,km->ik", mean * w, mean)
        density = share * (gone * w)
        bend = np.zeros((5, 5))
        bend[0, 1] = (density * (end - at)).sum()
        bend[1, 1] = (density * (r + x) * (at**2 - end**2)).sum()
        bend[2, 2] = (density * (s * last_bend[0] - (s + 1) * now_bend[0])).sum() - (w @ gone) / b**2
        bend[2, 3] = (density * (last[0] - now[0])).sum()
        bend[2, 4] = (density * (s * last_bend[1] - (s + 1) * now_bend[1])).sum()
        bend[3, 3] = -(w @ gone) / s**2
        bend[3, 4] = (density * (last[1] - now[1])).sum()
        bend[4, 4] = (density * (s * last_bend[2] - (s + 1) * now_bend[2])).sum()
        return odds, mean @ w, hessian + bend + np.triu(bend, 1).T

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        rate, time = self._rate(cells), self._time(cells)
        return [
            (0.5, 0.25 / rate, 0.3 / time, 0.6, 0.15),
            (1.0, 0.7 / rate, 2.0 / time, 1.0, 10.0),
            (0.5, 0.25 / rate, 10.0 / time, 0.2, 100.0),
        ]

    # ---- predictions

    def _pace(self, p: Array, cells: Cells) -> Array:
        return np.asarray(_age(float(p[2]), float(p[4]), cells["T"]) / p[2] / max(p[3], 1.0))

    def _alive(self, p: Array, cells: Cells) -> Array:
        return np.asarray(special.expit(-self._odds(p, cells)))

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        r, alpha, b, s, beta = p
        kappa = _age(b, beta, cells["T"])
        end = np.minimum(b * horizon, _loss(_DEPTH / s, 1 / kappa))
        steepness = np.searchsorted(_STEEPNESS, (s * _loss(end, kappa)).max(initial=0.0))
        y, weight = _panels(end, kappa, kappa, _POINTS[steepness])
        lived = (weight * np.exp(-s * _loss(y, kappa))).sum(axis=0) / b
        rate = (r + cells["frequency"]) / (alpha + cells["T"])
        return np.asarray(self._alive(p, cells) * rate * np.minimum(lived, horizon))

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        # the n-th purchase comes at t, a beta prime (n, r + x) variable in units of α + T, if it is lived to see
        r, alpha, b, s, beta = p
        kappa, alive = _age(b, beta, cells["T"]), self._alive(p, cells)
        n, k, a, kappa, alive = np.broadcast_arrays(n, r + cells["frequency"], alpha + cells["T"], kappa, alive)
        width = 10 * np.sqrt((n + k) / (n * k))
        centre = np.log(n) - np.log(k) + np.log(a)
        low = np.exp(np.maximum(centre - width - 45 / n, -700.0))
        high = np.exp(np.minimum(centre + width + 45 / k, np.log(np.maximum(horizon, 1e-300))))
        high = np.minimum(high, _loss(_DEPTH / s, 1 / kappa) / b)
        low = np.minimum(low, high)
        least = np.minimum(a, np.minimum(kappa, 1.0) / b)
        start, stop = np.log1p(low / least), np.log1p(high / least)
        total = np.zeros(n.shape)
        for node, weight in zip(*gauss_legendre(_ARRIVAL), strict=True):
            t = least * np.expm1(start + node * (stop - start))
            v = np.maximum(t / a, 1e-300)
            density = (n - 1) * np.log(v) - (n + k) * np.log1p(v) - special.betaln(n, k) - s * _loss(b * t, kappa)
            total = total + weight * (stop - start) * (least + t) / a * np.exp(density)
        return np.where(horizon > 0, np.clip(alive * total, 0.0, alive), 0.0)

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        r, alpha, b, s, beta = p
        alive = rng.random(len(cells)) < self._alive(p, cells)
        rate = rng.gamma(r + cells["frequency"], 1 / (alpha + cells["T"]))
        left = _loss(rng.exponential(size=len(cells)) / s, 1 / _age(b, beta, cells["T"])) / b  # S falls by this factor
        window = np.where(alive, np.minimum(left, horizon), 0.0)
        count = rng.poisson(rate * window).astype(float)
        last = window * rng.random(len(cells)) ** (1 / np.maximum(count, 1))
        return count, np.where(count > 0, last, 0.0)


def _age(b: float, beta: float, t: Array) -> Array:
    """Return κ = 1 + (β − 1) e^(−bt): a customer alive at t lives on as a new one with κ in place of β."""
    return np.asarray(beta * np.exp(-b * t) - np.expm1(-b * t))


def _loss(y: Array | float, kappa: Array | float) -> Array:
    """Return ln(1 + (e^y − 1)/κ): −ln S over s after y/b; κ → 1/κ inverts it in y."""
    y, kappa = np.broadcast_arrays(np.asarray(y, dtype=float), np.asarray(kappa, dtype=float))
    far = y > 30
    near = np.log1p(np.expm1(np.where(far, 0.0, y)) / kappa)
    beyond = y - np.log(kappa) + np.log1p((kappa - 1) * np.exp(-np.where(far, y, 700.0)))
    return np.where(far, beyond, near)


def _loss_derivatives(b: float, beta: float, u: Array) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
    """Return the derivatives of ln(β − 1 + e^(bu)) in (b, β), and in (bb, bβ, ββ)."""
    m = 1 / _age(b, beta, u)
    inverse = m * np.exp(-b * u)
    return (u * m, inverse), (u**2 * m * (1 - m), -u * m * inverse, -(inverse**2))


def _panels(end: Array, kappa: Array, near: Array, points: tuple[int, int, int]) -> tuple[Array, Array]:
    """Return nodes (J, m) in y = bt and weights of the integral from 0 to ``end``.

    From 0 to 1 in the log of y + ``near``, the scale on which the integrand changes there; from 1 to ln κ, where the
    risk has come up, linearly; beyond in the log of y.
    """
    near = np.clip(near, 1e-300, 1.0)
    first = np.minimum(end, 1.0)
    second = np.clip(np.log(kappa), first, end)
    nodes, weights = [], []
    reach = np.log1p(first / near)
    for node, weight in zip(*gauss_legendre(points[0]), strict=True):
        y = near * np.expm1(node * reach)
        nodes.append(y)
        weights.append(weight * reach * (y + near))
    if (second > first).any():
        for node, weight in zip(*gauss_legendre(points[1]), strict=True):
            nodes.append(first + node * (second - first))
            weights.append(weight * (second - first))
    if (end > second).any():
        reach = np.log1p(end - second)
        for node, weight in zip(*gauss_legendre(points[2]), strict=True):
            nodes.append(second + np.expm1(node * reach))
            weights.append(weight * reach * np.exp(node * reach))
    return np.array(nodes), np.array(weights)
