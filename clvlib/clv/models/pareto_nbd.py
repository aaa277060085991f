"""Pareto/NBD: purchases at a gamma rate, until a lifetime with its own gamma rate ends."""

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

__all__ = ["ParetoNBDModel"]

Array = NDArray[np.float64]

# points of the integral over the time of leaving, by how far the integrand falls: up to e^−4, to e^−16, or beyond
_POINTS = (14, 24, 40)
_STEEPNESS = (4.0, 16.0)
_DEPTH = 45.0  # where the integrand has fallen by e^−45 nothing is left to integrate


class ParetoNBDModel(PurchaseModel):
    """Pareto/NBD (Schmittlein, Morrison & Colombo 1987; Fader & Hardie 2005, note 009).

    While alive a customer buys at rate λ ~ Gamma(r, α); lifetime is exponential with rate μ ~ Gamma(s, β).

    The likelihood needs no hypergeometric function: it is the alive term times 1 + D, where D, the odds of having left,
    is the integral over the time u of leaving, between t_x and T, of

        f(u) = s/(β + u) · ((α + T)/(α + u))^(r + x) · ((β + T)/(β + u))^s,

    positive throughout, by Gauss–Legendre in log(min(α, β) + u). All derivatives are means over u under f.

    Parameters are learned by ``fit``: r, alpha, s, beta (alpha and beta in the time unit).

    Examples
    --------
    >>> import pandas as pd
    >>> model = ParetoNBDModel.with_parameters({"r": .5533, "alpha": 10.578, "s": .6061, "beta": 11.669}, unit="W")
    >>> customer = pd.DataFrame({"frequency": [26], "recency": [30.86], "T": [31.0]}, index=["1516"])
    >>> round(float(model.probability_alive(customer).iloc[0]), 4)
    0.9979
    """

    _names = ("r", "alpha", "s", "beta")
    _borders = (
        Border({"s": -1}, "nobody seems to leave; the NBD model (NBDModel) suffices"),
        Border({"beta": 1}, "nobody seems to leave; the NBD model (NBDModel) suffices"),
        Border({"s": -1, "beta": 1}, "nobody seems to leave; the NBD model (NBDModel) suffices"),
        Border({"s": 1, "beta": 1}, "one rate of leaving fits all customers; exponential lifetimes suffice"),
        Border({"s": -1, "beta": -1}, "customers leave at once or never; a fixed share of stayers suffices"),
        Border({"s": 1}, "everybody seems to leave at once; there is no repeat buying to model"),
        Border({"beta": -1}, "everybody seems to leave at once; there is no repeat buying to model"),
        *RATE_BORDERS,
    )

    @staticmethod
    def _depth(p: Array, cells: Cells, u: Array) -> Array:
        """Return how far ln f, but for (α + T), (β + T) and s, has fallen from t_x to u."""
        t_x = cells["recency"]
        fall = (p[0] + cells["frequency"]) * np.log1p((u - t_x) / (p[1] + t_x))
        return np.asarray(fall + (p[2] + 1) * np.log1p((u - t_x) / (p[3] + t_x)))

    def _leaving(self, p: Array, cells: Cells, points: int) -> tuple[Array, Array, Array]:
        """Return the log odds of having left, and times of leaving (J, m) with their probabilities given having left.

        u = (m + t_x) e^ζ − m with m = min(α, β); ζ runs until T, or until f has fallen by e^−45.
        """
        r, alpha, s, beta = p
        x, t_x, T = cells["frequency"], cells["recency"], cells["T"]
        least = min(alpha, beta)
        start = least + t_x
        end = np.log1p((T - t_x) / start)
        if points == _POINTS[-1]:
            pace = (r + x) * start / (alpha + t_x) + (s + 1) * start / (beta + t_x)
            end = np.minimum(end, _DEPTH / pace)
            for _ in range(6):  # Newton on a convex function, from beyond its root
                u = start * np.exp(end) - least
                excess = self._depth(p, cells, u) - _DEPTH
                slope = (least + u) * ((r + x) / (alpha + u) + (s + 1) / (beta + u))
                end = np.where(excess > 0, end - excess / slope, end)
        nodes, weights = gauss_legendre(points)
        u = t_x + start * np.expm1(nodes[:, None] * end)
        share = weights[:, None] * end * (u + least) / (beta + t_x) * np.exp(-self._depth(p, cells, u))
        total = share.sum(axis=0)
        empty = total <= 0  # T = t_x: no time to leave in
        total = np.where(empty, 1.0, total)
        rise = self._depth(p, cells, T) - np.log1p((T - t_x) / (beta + t_x))
        return np.where(empty, -np.inf, np.log(s) + rise + np.log(total)), u, share / total

    def _groups(self, p: Array, cells: Cells) -> Iterator[tuple[NDArray[np.intp], Cells, int]]:
        """Yield the histories in groups by how steeply f falls, and how many points its integral needs."""
        group = np.searchsorted(_STEEPNESS, self._depth(p, cells, cells["T"]))
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

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        return self._rows(p, cells, self._odds(p, cells))

    def _rows(self, p: Array, cells: Cells, odds: Array) -> Array:
        r, alpha, s, beta = p
        T = cells["T"]
        stays = rate_log_likelihood(r, alpha, cells["frequency"], T, cells.histogram) - s * np.log1p(T / beta)
        return np.asarray(stays + np.logaddexp(0.0, odds))

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        _, alpha, s, beta = p
        T, w = cells["T"], cells.weight
        odds, gradient, hessian = np.empty(len(cells)), np.zeros(4), np.zeros((4, 4))
        for where, part, points in self._groups(p, cells):
            odds[where], part_gradient, part_hessian = self._odds_derivatives(p, part, points)
            gradient, hessian = gradient + part_gradient, hessian + part_hessian
        pull = T / (beta + T) / beta
        bend = s * (w @ (pull * (1 / (beta + T) + 1 / beta)))
        gradient[2:] += [-w @ np.log1p(T / beta), s * (w @ pull)]
        hessian[2:, 2:] += [[0, w @ pull], [w @ pull, -bend]]
        rate_gradient, rate_hessian = rate_derivatives(p[0], alpha, cells["frequency"], T, w, cells.histogram)
        gradient[:2] += rate_gradient
        hessian[:2, :2] += rate_hessian
        return float(w @ self._rows(p, cells, odds)), gradient, hessian

    def _odds_derivatives(self, p: Array, cells: Cells, points: int) -> tuple[Array, Array, Array]:
        """Return the log odds, and gradient and Hessian of the weighted sum of log(1 + odds): means under f."""
        r, alpha, s, beta = p
        x, T, w = cells["frequency"], cells["T"], cells.weight
        odds, u, share = self._leaving(p, cells, points)
        gone = special.expit(odds)
        at_a, at_b, end_a, end_b = 1 / (alpha + u), 1 / (beta + u), 1 / (alpha + T), 1 / (beta + T)
        slope = np.stack(  # of log f(u)
            [
                np.log((alpha + T) * at_a),
                (r + x) * (end_a - at_a),
                1 / s + np.log((beta + T) * at_b),
                s * end_b - (s + 1) * at_b,
            ]
        )
        weighted = slope * (share * gone)
        mean = weighted.sum(axis=1)
        hessian = np.einsum("ijm,kjm->ik", weighted, slope * w) - np.einsum("im,km->ik", mean * w, mean)
        density = share * (gone * w)
        bend_r, bend_s = (density * (end_a - at_a)).sum(), (density * (end_b - at_b)).sum()
        bend_a = (density * (r + x) * (at_a**2 - end_a**2)).sum()
        bend_b = (density * ((s + 1) * at_b**2 - s * end_b**2)).sum()
        hessian += np.array(
            [
                [0, bend_r, 0, 0],
                [bend_r, bend_a, 0, 0],
                [0, 0, -(w @ gone) / s**2, bend_s],
                [0, 0, bend_s, bend_b],
            ]
        )
        return odds, mean @ w, hessian

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        rate, time = self._rate(cells), self._time(cells)
        return [
            (0.5, 0.25 / rate, 0.6, 0.4 * time),
            (2.0, 1.5 / rate, 2.0, 10.0 * time),
            (0.2, 0.05 / rate, 0.3, 0.1 * time),
        ]

    def _pace(self, p: Array, cells: Cells) -> Array:
        return np.asarray(p[3] + cells["T"])

    def _alive(self, p: Array, cells: Cells) -> Array:
        return np.asarray(special.expit(-self._odds(p, cells)))

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        # note 009, eq. 21; (1 − e^(−(s − 1)L))/(s − 1) with L = log(1 + t/(β + T)) is also right at s = 1
        r, alpha, s, beta = p
        rate = (r + cells["frequency"]) / (alpha + cells["T"])
        length = np.log1p(horizon / (beta + cells["T"]))
        span = (beta + cells["T"]) * length * special.exprel(-(s - 1) * length)
        return np.asarray(self._alive(p, cells) * np.minimum(rate * span, rate * horizon))

    def _tail(self, p: Array, cells: Cells, horizon: float, n: Array) -> Array:
        # the n-th purchase comes at v, a beta prime (n, r + x) variable in units of α + T, if it is lived to see
        r, alpha, s, beta = p
        k, a, b = r + cells["frequency"], alpha + cells["T"], beta + cells["T"]
        n, k, a, b, alive = np.broadcast_arrays(n, k, a, b, self._alive(p, cells))
        if horizon <= 0:
            return np.zeros(n.shape)
        width = 10 * np.sqrt((n + k) / (n * k))
        centre = np.log(n) - np.log(k) + np.log(a)
        low = np.exp(np.maximum(centre - width - 45 / n, -700.0))
        high = np.exp(np.minimum(centre + width + 45 / k, np.log(horizon)))
        low = np.minimum(low, high)
        least = np.minimum(a, b)
        start, stop = np.log1p(low / least), np.log1p(high / least)
        total = np.zeros(n.shape)
        constant = -special.betaln(n, k)
        for node, weight in zip(*gauss_legendre(64), strict=True):
            t = least * np.expm1(start + node * (stop - start))
            v = np.maximum(t / a, 1e-300)
            density = constant + (n - 1) * np.log(v) - (n + k) * np.log1p(v) - s * np.log1p(t / b)
            total = total + weight * (stop - start) * (least + t) / a * np.exp(density)
        return np.clip(alive * total, 0.0, alive)

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        r, alpha, s, beta = p
        alive = rng.random(len(cells)) < self._alive(p, cells)
        rate = rng.gamma(r + cells["frequency"], 1 / (alpha + cells["T"]))
        leaving = np.maximum(rng.gamma(s, 1 / (beta + cells["T"])), 1e-300)
        window = np.where(alive, np.minimum(rng.exponential(size=len(cells)) / leaving, horizon), 0.0)
        count = rng.poisson(rate * window).astype(float)
        last = window * rng.random(len(cells)) ** (1 / np.maximum(count, 1))
        return count, np.where(count > 0, last, 0.0)
