"""Pareto/NBD: purchases at a gamma rate, until a lifetime with its own gamma rate ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.cells import Cells, distinct_levels
from clvlib.clv.models.base import Border
from clvlib.clv.models.nbd import rate_derivatives, rate_log_likelihood
from clvlib.clv.models.purchases import RATE_BORDERS, PurchaseModel
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import gauss_legendre, interpolated, softplus
from clvlib.words import mark

__all__ = ["ParetoNBDModel"]

Array = NDArray[np.float64]

# points of the integral over the time of leaving, by how far the integrand falls: to e^−1, e^−2, e^−4, e^−16; more than
# that where ζ runs beyond 2, and the most where the integrand falls further
_POINTS = (6, 8, 10, 14, 24, 40)
_STEEPNESS = (1.0, 2.0, 4.0, 16.0)
_LONG, _STEEP = 4, 5
_ELEMENTS = 1 << 14  # of a block of histories times points: what fits the processor's cache
_TIMES = 64  # points of a discounting integral
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

    _poolable = True
    _names = ("r", "alpha", "s", "beta")
    _borders = (
        Border({"s": -1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border({"beta": 1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border({"s": -1, "beta": 1}, mark("nobody seems to leave; the NBD model (NBDModel) suffices")),
        Border({"s": 1, "beta": 1}, mark("one rate of leaving fits all customers; exponential lifetimes suffice")),
        Border({"s": -1, "beta": -1}, mark("customers leave at once or never; a fixed share of stayers suffices")),
        Border({"s": 1}, mark("everybody seems to leave at once; there is no repeat buying to model")),
        Border({"beta": -1}, mark("everybody seems to leave at once; there is no repeat buying to model")),
        *RATE_BORDERS,
    )

    @staticmethod
    def _depth(p: Array, cells: Cells, u: Array) -> Array:
        """Return how far ln f, but for (α + T), (β + T) and s, has fallen from t_x to u."""
        t_x = cells["recency"]
        fall = (p[0] + cells["frequency"]) * np.log1p((u - t_x) / (p[1] + t_x))
        return np.asarray(fall + (p[2] + 1) * np.log1p((u - t_x) / (p[3] + t_x)))

    def _leaving(self, p: Array, cells: Cells, points: int) -> tuple[Array, Array, Array, Array]:
        """Return the log odds of having left, and when: (J, m) times u with their probabilities given having left.

        Of a time the logs of (α + u)/(α + t_x) and (β + u)/(β + t_x) are returned, (2, J, m).
        u = (m + t_x) e^ζ − m with m = min(α, β); ζ runs until T, or until f has fallen by e^−45.
        """
        r, alpha, s, beta = p
        x, t_x, T = cells["frequency"], cells["recency"], cells["T"]
        start = min(alpha, beta) + t_x
        end = np.log1p((T - t_x) / start)
        if points == _POINTS[-1]:
            pace = (r + x) * start / (alpha + t_x) + (s + 1) * start / (beta + t_x)
            end = np.minimum(end, _DEPTH / pace)
            for _ in range(6):  # Newton on a convex function, from beyond its root
                since = start * np.expm1(end)
                excess = self._depth(p, cells, t_x + since) - _DEPTH
                slope = (start + since) * ((r + x) / (alpha + t_x + since) + (s + 1) / (beta + t_x + since))
                end = np.where(excess > 0, end - excess / slope, end)
        nodes, weights = gauss_legendre(points)
        since = np.expm1(nodes[:, None] * end)
        growth = np.empty((2, *since.shape))
        for log, scale in zip(growth, (alpha, beta), strict=True):
            np.log1p(np.multiply(since, start / (scale + t_x), out=log), out=log)
        share = np.exp(-(r + x) * growth[0] - (s + 1) * growth[1])
        share *= 1 + since
        share *= weights[:, None]
        total = share.sum(axis=0)
        mass = total * end * start / (beta + t_x)
        empty = mass <= 0  # T = t_x: no time to leave in
        share /= np.where(empty, 1.0, total)
        mass = np.where(empty, 1.0, mass)
        rise = self._depth(p, cells, T) - np.log1p((T - t_x) / (beta + t_x))
        return np.where(empty, -np.inf, np.log(s) + rise + np.log(mass)), t_x + start * since, growth, share

    def _groups(self, p: Array, cells: Cells) -> Iterator[tuple[NDArray[np.intp], Cells, int]]:
        """Yield the histories in groups by how steeply f falls, and how many points its integral needs."""
        t_x, T = cells["recency"], cells["T"]
        group = np.searchsorted(_STEEPNESS, self._depth(p, cells, T))
        group[group == len(_STEEPNESS)] = _STEEP
        group[(group < _STEEP) & (T - t_x > np.expm1(2) * (min(p[1], p[3]) + t_x))] = _LONG
        for number, points in enumerate(_POINTS):
            found = np.flatnonzero(group == number)
            size = max(_ELEMENTS // points, 1)
            for first in range(0, len(found), size):
                where = found[first : first + size]
                yield where, cells.take(where), points

    def _odds(self, p: Array, cells: Cells) -> Array:
        """Return the log odds of having left."""
        odds = np.empty(len(cells))
        for where, part, points in self._groups(p, cells):
            odds[where] = self._leaving(p, part, points)[0]
        return odds

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        r, alpha, s, beta = p
        T = cells["T"]
        stays = rate_log_likelihood(r, alpha, cells["frequency"], T, cells.histogram) - s * np.log1p(T / beta)
        return np.asarray(stays + softplus(self._odds(p, cells))[0])

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        r, alpha, s, beta = p
        x, T, w = cells["frequency"], cells["T"], cells.weight
        odds, gradient, hessian = np.empty(len(cells)), np.zeros(4), np.zeros((4, 4))
        for where, part, points in self._groups(p, cells):
            odds[where], part_gradient, part_hessian = self._odds_derivatives(p, part, points)
            gradient, hessian = gradient + part_gradient, hessian + part_hessian
        pull = T / (beta + T) / beta
        bend = s * (w @ (pull * (1 / (beta + T) + 1 / beta)))
        lasted = w @ np.log1p(T / beta)
        gradient[2:] += [-lasted, s * (w @ pull)]
        hessian[2:, 2:] += [[0, w @ pull], [w @ pull, -bend]]
        value, rate_gradient, rate_hessian = rate_derivatives(r, alpha, x, T, w, cells.histogram)
        gradient[:2] += rate_gradient
        hessian[:2, :2] += rate_hessian
        return value - float(s * lasted - w @ softplus(odds)[0]), gradient, hessian

    def _odds_derivatives(self, p: Array, cells: Cells, points: int) -> tuple[Array, Array, Array]:
        """Return the log odds, and gradient and Hessian of the weighted sum of log(1 + odds): means under f."""
        r, alpha, s, beta = p
        x, t_x, T = cells["frequency"], cells["recency"], cells["T"]
        odds, u, growth, share = self._leaving(p, cells, points)
        left = special.expit(odds) * cells.weight
        share *= left
        end_a, end_b = 1 / (alpha + T), 1 / (beta + T)
        slope = np.empty((4, *u.shape))  # of log f(u)
        np.subtract(np.log1p((T - t_x) / (alpha + t_x)), growth[0], out=slope[0])
        np.subtract((r + x) * end_a, (r + x) / (alpha + u), out=slope[1])
        np.subtract(1 / s + np.log1p((T - t_x) / (beta + t_x)), growth[1], out=slope[2])
        np.subtract(s * end_b, (s + 1) / (beta + u), out=slope[3])
        weighted = slope * share
        mean = weighted.sum(axis=1)
        square = weighted.reshape(4, -1) @ slope.reshape(4, -1).T
        weight = np.where(cells.weight == 0, 1.0, cells.weight)
        hessian = square - (mean / weight) @ mean.T
        # the slopes' own slopes hold 1/(α + u)² and 1/(β + u)², which are left to the moments that are there already
        bend_r = (mean[1] / (r + x)).sum()
        bend_a = (np.einsum("jm,jm->m", weighted[1], slope[1]) / (r + x)).sum() - 2 * end_a @ mean[1]
        bend_s = (left @ end_b + mean[3].sum()) / (s + 1)
        bend_b = (square[3, 3] - s * end_b @ (2 * mean[3] + left * end_b)) / (s + 1)
        hessian += np.array(
            [
                [0, bend_r, 0, 0],
                [bend_r, bend_a, 0, 0],
                [0, 0, -left.sum() / s**2, bend_s],
                [0, 0, bend_s, bend_b],
            ]
        )
        return odds, mean.sum(axis=1), hessian

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        rate, time = self._rate(cells), self._time(cells)
        return [
            (0.5, 0.25 / rate, 0.6, 0.4 * time),
            (2.0, 1.5 / rate, 2.0, 10.0 * time),
            (0.2, 0.05 / rate, 0.3, 0.1 * time),
        ]

    def _discounted(self, p: Array, cells: Cells, rate: float, horizon: float | None) -> Array:
        # (r + x)/(α + T) ∫ e^(−δt) ((β + T)/(β + T + t))^s dt: the integral is a function of T alone
        r, alpha, s, beta = p
        end = self._discounted_end(rate, horizon)
        nodes, weights = gauss_legendre(_TIMES)

        def worth(_: NDArray[np.intp], log_time: Array) -> Array:
            scale = np.exp(log_time)[:, None]
            span = np.log1p(end / scale)
            if s > 1:
                span = np.minimum(span, _DEPTH / (s - 1))
            density = np.exp((1 - s) * nodes * span - rate * scale * np.expm1(nodes * span))
            return np.asarray((density * span * scale) @ weights)

        span = interpolated(worth, np.zeros(len(cells), dtype=np.intp), np.log(beta + cells["T"]))
        return np.asarray(self._alive(p, cells) * (r + cells["frequency"]) / (alpha + cells["T"]) * span)

    def _onset(self, p: Array) -> float:
        return float(min(p[1], p[3]))

    def _alive(self, p: Array, cells: Cells) -> Array:
        # of customers without a repeat purchase it is a function of T alone
        least, lone = min(p[1], p[3]), (cells["frequency"] == 0) & (cells["recency"] == 0)
        alive, rest = np.empty(len(cells)), np.flatnonzero(~lone)
        alive[rest] = special.expit(-self._odds(p, cells.take(rest)))

        def at(_: NDArray[np.intp], log_time: Array) -> Array:
            T = np.maximum(np.exp(log_time) - least, 0.0)
            return np.asarray(special.expit(-self._odds(p, Cells.of(frequency=0.0, recency=0.0, T=T))))

        log_time = np.log(least + cells["T"][lone])
        alive[lone] = interpolated(at, np.zeros(len(log_time), dtype=np.intp), log_time)
        return alive

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        # note 009, eq. 21; (1 − e^(−(s − 1)L))/(s − 1) with L = log(1 + t/(β + T)), whose limit at s = 1 is L
        r, alpha, s, beta = p
        rate = (r + cells["frequency"]) / (alpha + cells["T"])
        length = np.log1p(horizon / (beta + cells["T"]))
        steepness = -(s - 1) * length
        mean = np.divide(np.expm1(steepness), steepness, out=np.ones_like(steepness), where=steepness != 0)
        span = (beta + cells["T"]) * length * mean
        return np.asarray(self._alive(p, cells) * np.minimum(rate * span, rate * horizon))

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        return self._alive(p, cells) * self._tail_while_alive(p, cells["frequency"], cells["T"], horizon, n)

    def _tail_cells(self, p: Array, cells: Cells, horizon: float, n: Array) -> Array:
        if n.ndim > 1:
            return super()._tail_cells(p, cells, horizon, n)
        least, (levels, code, _) = min(p[1], p[3]), cells.histogram
        numbers, which = distinct_levels(n)

        def at(code: NDArray[np.intp], log_time: Array) -> Array:
            x, number = levels[code // len(numbers)], numbers[code % len(numbers)]
            return self._tail_while_alive(p, x, np.exp(log_time) - least, horizon, number)

        log_time = np.log(least + cells["T"])
        return self._alive(p, cells) * interpolated(at, code * len(numbers) + which, log_time)

    @staticmethod
    def _tail_while_alive(p: Array, x: Array, T: Array, horizon: Array | float, n: Array) -> Array:
        """Return P(X(T, T + horizon) ≥ n) of customers alive at T."""
        # the n-th purchase comes at v, a beta prime (n, r + x) variable in units of α + T, if it is lived to see
        r, alpha, s, beta = p
        n, k, a, b = np.broadcast_arrays(n, r + x, alpha + T, beta + T)
        width = 10 * np.sqrt((n + k) / (n * k))
        centre = np.log(n) - np.log(k) + np.log(a)
        low = np.exp(np.maximum(centre - width - 45 / n, -700.0))
        high = np.exp(np.minimum(centre + width + 45 / k, np.log(np.maximum(horizon, 1e-300))))
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
        return np.where(horizon > 0, np.clip(total, 0.0, 1.0), 0.0)

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        r, alpha, s, beta = p
        alive = rng.random(len(cells)) < self._alive(p, cells)
        rate = rng.gamma(r + cells["frequency"], 1 / (alpha + cells["T"]))
        leaving = np.maximum(rng.gamma(s, 1 / (beta + cells["T"])), 1e-300)
        window = np.where(alive, np.minimum(rng.exponential(size=len(cells)) / leaving, horizon), 0.0)
        count = rng.poisson(rate * window).astype(float)
        last = window * rng.random(len(cells)) ** (1 / np.maximum(count, 1))
        return count, np.where(count > 0, last, 0.0)
