"""BG/BB: customers who may buy at given occasions only, such as a donation a year or one stream a week."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Border
from clvlib.clv.models.beta_pieces import beta_term, mixture_derivatives
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import log_rising
from clvlib.errors import DataError
from clvlib.words import mark

__all__ = ["BetaGeoBetaBinomModel"]

Array = NDArray[np.float64]

_LONGEST_WAIT = 10_000  # occasions: nobody waits longer for a purchase


class BetaGeoBetaBinomModel(PurchaseModel):
    """BG/BB (Fader, Hardie & Shang 2010, Customer-base analysis in a discrete-time noncontractual setting).

    At each occasion a customer who is alive buys with probability p ~ Beta(α, β); before each occasion he leaves for
    good with probability θ ~ Beta(γ, δ).

    Time is counted in occasions: ``T`` is how many there were, ``recency`` which was the last used (0: none),
    ``frequency`` how many were used. All three are whole numbers. Of a horizon the whole occasions count. As in the
    paper, P(alive) is that of being alive at the next occasion.

    Parameters are learned by ``fit``: alpha, beta (buying), gamma, delta (leaving).

    Examples
    --------
    >>> import pandas as pd
    >>> model = BetaGeoBetaBinomModel.with_parameters({"alpha": 1.204, "beta": .750, "gamma": .657, "delta": 2.783})
    >>> donors = pd.DataFrame({"frequency": [0, 2, 6], "recency": [0, 4, 6], "T": 6})
    >>> model.probability_alive(donors).round(2).tolist()
    [0.11, 0.59, 0.93]
    """

    _names = ("alpha", "beta", "gamma", "delta")
    _borders = (
        Border({"gamma": -1}, mark("nobody seems to leave; a beta-binomial model suffices")),
        Border({"delta": 1}, mark("nobody seems to leave; a beta-binomial model suffices")),
        Border({"gamma": -1, "delta": 1}, mark("nobody seems to leave; a beta-binomial model suffices")),
        Border(
            {"gamma": 1, "delta": 1}, mark("one chance of leaving fits all customers; a geometric lifetime suffices")
        ),
        Border({"gamma": -1, "delta": -1}, mark("customers leave at once or never; a fixed share of stayers suffices")),
        Border(
            {"alpha": 1, "beta": 1}, mark("one chance of buying fits all customers; a binomial without a beta suffices")
        ),
        Border({"alpha": -1, "beta": -1}, mark("customers buy at every occasion or at none; two fixed groups suffice")),
        Border({"alpha": -1}, mark("hardly anybody buys again; expected purchases are near zero for all")),
        Border({"beta": 1}, mark("hardly anybody buys again; expected purchases are near zero for all")),
        Border({"beta": -1}, mark("everybody buys at every occasion while alive; a geometric lifetime suffices")),
    )

    def _check(self, cells: Cells) -> None:
        for name in ("recency", "T"):
            if (cells[name] != np.floor(cells[name])).any():
                raise DataError(f"summary.{name}: BG/BB counts occasions, so {name} is a whole number for everybody")
        if (cells["frequency"] > cells["recency"]).any():
            raise DataError("summary.frequency: BG/BB allows one purchase per occasion, so it cannot exceed recency")

    def _log_terms(self, p: Array, cells: Cells) -> tuple[Array, Array, Array]:
        """Return the terms of eq. 5 (left after occasion t_x + i, or alive at T) and how many occasions each spans."""
        x, t_x, T = cells["frequency"], cells["recency"], cells["T"]
        last = int((T - t_x).max())
        i = np.arange(last + 1)[:, None]
        seen = np.minimum(t_x + i, T)  # occasions that the customer was alive at
        alive = t_x + i == T
        alpha, beta, gamma, delta = p
        bought = log_rising(alpha, x) + log_rising(beta, seen - x) - log_rising(alpha + beta, seen)
        stayed = log_rising(delta, seen) - log_rising(gamma + delta, seen)
        left = np.where(alive, 0.0, np.log(gamma) - np.log(gamma + delta + seen))
        return np.where(t_x + i > T, -np.inf, bought + stayed + left), seen, alive

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        return np.asarray(special.logsumexp(self._log_terms(p, cells)[0], axis=0))

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        terms, seen, alive = self._log_terms(p, cells)
        alpha, beta, gamma, delta = (float(v) for v in p)
        x = np.broadcast_to(cells["frequency"], seen.shape)
        _, buy1, buy2 = beta_term(alpha, beta, x, seen - x)
        _, leave1, leave2 = beta_term(gamma, delta, np.where(alive, 0.0, 1.0), seen)
        hessian = np.zeros((4, 4, *seen.shape))
        hessian[:2, :2], hessian[2:, 2:] = buy2, leave2
        return mixture_derivatives(terms, np.concatenate([buy1, leave1]), hessian, cells.weight)

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:  # noqa: ARG002 - its parameters have no unit
        return [(1.0, 1.0, 0.5, 3.0), (0.5, 2.0, 1.0, 20.0), (3.0, 3.0, 0.3, 0.5)]

    def _alive(self, p: Array, cells: Cells) -> Array:
        # at the next occasion: there at T, and not gone before it
        terms, _, alive = self._log_terms(p, cells)
        there = np.where(alive, terms, 0.0).sum(axis=0) - special.logsumexp(terms, axis=0)
        stays = (p[3] + cells["T"]) / (p[2] + p[3] + cells["T"])
        return np.asarray(np.exp(there) * stays)

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        return self._sum(p, cells, np.floor(horizon), 0.0)

    def _discounted(self, p: Array, cells: Cells, rate: float, horizon: float | None) -> Array:
        end = self._discounted_end(rate, horizon)
        return self._sum(p, cells, np.full(len(cells), np.floor(end)), rate)

    def _sum(self, p: Array, cells: Cells, occasions: Array, rate: float) -> Array:
        """Return Σ e^(−δj) P(alive at the j-th coming occasion) E[p], j up to each history's number of occasions."""
        alpha, beta, gamma, delta = p
        chance = (alpha + cells["frequency"]) / (alpha + beta + cells["T"])
        alive, total = self._alive(p, cells), np.zeros(len(cells))
        longest = int(occasions.max()) if len(occasions) else 0
        for j in range(1, longest + 1):
            total = total + np.where(j <= occasions, alive * np.exp(-rate * j), 0.0)
            alive = alive * (delta + cells["T"] + j) / (gamma + delta + cells["T"] + j)
        return np.asarray(total * chance)

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        # the n-th purchase falls on occasion m, a beta negative binomial, and the customer lives to see it
        alpha, beta, gamma, delta = p
        x, T = cells["frequency"], cells["T"]
        a, b, d = alpha + x, beta + T - x, delta + T + 1
        n, a, b, d, alive = np.broadcast_arrays(n, a, b, d, self._alive(p, cells))
        total = np.zeros(n.shape)
        for m in range(1, int(np.floor(horizon.max(initial=0.0))) + 1):
            misses = np.maximum(m - n, 0.0)
            ways = special.gammaln(m) - special.gammaln(n) - special.gammaln(misses + 1)
            hit = log_rising(a, n) + log_rising(b, misses) - log_rising(a + b, n + misses)
            lived = log_rising(d, m - 1.0) - log_rising(gamma + d, m - 1.0)
            total = total + np.where((m >= n) & (m <= horizon), np.exp(ways + hit + lived), 0.0)
        return np.asarray(alive * total)

    def _wait(self, cells: Cells, probability: float) -> Array:
        # occasion by occasion: the first purchase falls on the m-th, and the customer lives to see it
        alpha, beta, gamma, delta = self._p()
        a, b, d = alpha + cells["frequency"], beta + cells["T"] - cells["frequency"], delta + cells["T"] + 1
        wait, chance = np.full(len(cells), np.inf), np.zeros(len(cells))
        first = self._alive(self._p(), cells) * a / (a + b)
        for m in range(1, _LONGEST_WAIT + 1):
            chance = chance + first
            wait[np.isinf(wait) & (chance >= probability)] = m
            if (np.isfinite(wait) | (first < 1e-16)).all():
                break
            first = first * (b + m - 1) / (a + b + m) * (d + m - 1) / (gamma + d + m - 1)
        return wait

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        alpha, beta, gamma, delta = p
        x, T = cells["frequency"], cells["T"]
        alive = rng.random(len(cells)) < self._alive(p, cells)
        buys, leaves = rng.beta(alpha + x, beta + T - x), rng.beta(gamma, delta + T + 1)
        count, last = np.zeros(len(cells)), np.zeros(len(cells))
        for j in range(1, int(np.floor(horizon.max())) + 1):
            bought = alive & (j <= horizon) & (rng.random(len(cells)) < buys)
            count, last = count + bought, np.where(bought, float(j), last)
            alive = alive & (rng.random(len(cells)) >= leaves)
        return count, last
