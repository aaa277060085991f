"""Pareto/GGG: Pareto/NBD for customers who differ in how regularly they buy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.clv.cells import Cells, unit_of
from clvlib.clv.models.base import Border, spans_of
from clvlib.clv.models.interpurchase import read_litt
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.clv.models.purchases import RATE_BORDERS, PurchaseModel, check_horizon
from clvlib.clv.models.regularity import gap_rule, log_gamma_rule
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import gauss_legendre
from clvlib.errors import DataError
from clvlib.words import mark

__all__ = ["ParetoGGGModel"]

Array = NDArray[np.float64]

_POINTS = 16  # over k, for the likelihood
_FEW = 10  # and for predictions
_NEWTON = 12  # steps to the mode of k
_ARRIVAL = 20  # over the time of the n-th purchase
_EXACT, _REST = 24, 16  # purchases counted one by one, and points of the sum over the others
_SURE = -16.0  # ln of what may be left out
_MOST = 1e9  # purchases that nobody makes
_ROWS = 128  # histories at a time
_GRAIN = 1e-3  # a recency of 0 after a repeat purchase is below the clock's grain: it counts as this share of T
_CANDIDATES = 64  # from which one k is drawn for a customer with a history


class ParetoGGGModel(PurchaseModel):
    """Pareto/GGG (Platzer & Reutterer 2016, Ticking away the moments: timing regularity helps to better predict).

    As :class:`ParetoNBDModel`, but the times between a customer's purchases are Gamma(k, kλ): of mean 1/λ, and the more
    regular the larger k. Customers differ in k as well, which is Gamma(t, γ); k = 1 for all is Pareto/NBD.

    The summary should carry a column ``litt``, the sum of the logs of the times between a customer's purchases, in the
    unit of T (``shop.customer_summary(litt=True)``). Without it the purchases between first and last are averaged out,
    and data rarely hold t and γ.

    Parameters are learned by ``fit``: r, alpha (of λ), s, beta (of leaving; alpha and beta in the time unit), t, gamma
    (of k).

    Notes
    -----
    Fitted by maximum marginal likelihood where the paper samples. For a given k the history is one of x + 1 gaps, the
    last of unknown length y: the likelihood is the integral over y of the gamma likelihood of all gaps, times the
    chance to have left within y where y ends before T. A trapezoidal rule over ln k and Gauss rules over ln y leave an
    error of a customer's log-likelihood of about 1e-6 where t is 4, 1e-3 at worst where t is 1, more below. Predictions
    sum over n the density of the n-th coming purchase, in which the integral over λ and the silence before it have
    closed forms; their relative error is below 1e-3.

    Examples
    --------
    >>> import pandas as pd
    >>> params = {"r": 1.0, "alpha": 4.0, "s": 0.6, "beta": 12.0, "t": 20.0, "gamma": 5.0}
    >>> model = ParetoGGGModel.with_parameters(params, unit="W")
    >>> customers = pd.DataFrame({"frequency": 9, "recency": [36.0, 27.0], "T": 38.0}, index=["1", "2"])
    >>> customers["litt"] = [9 * 1.35, 9 * 1.05]
    >>> model.probability_alive(customers).round(2).to_dict()
    {'1': 0.97, '2': 0.02}
    """

    _wants_litt = True
    _names = ("r", "alpha", "s", "beta", "t", "gamma")
    _borders = (
        Border(
            {"t": 1, "gamma": 1}, mark("all customers buy equally regularly; BG/CNBD-k (BetaGeoCNBDkModel) may suffice")
        ),
        Border({"t": 1}, mark("customers buy like clockwork; the regularity of the clock is not known")),
        Border({"gamma": -1}, mark("customers buy like clockwork; the regularity of the clock is not known")),
        Border({"t": -1, "gamma": -1}, mark("customers buy like clockwork or in bursts; two fixed groups suffice")),
        Border({"s": -1}, mark("nobody seems to leave")),
        Border({"beta": 1}, mark("nobody seems to leave")),
        Border({"s": -1, "beta": 1}, mark("nobody seems to leave")),
        Border({"s": 1, "beta": 1}, mark("one rate of leaving fits all customers; exponential lifetimes suffice")),
        Border({"s": -1, "beta": -1}, mark("customers leave at once or never; a fixed share of stayers suffices")),
        Border({"s": 1}, mark("everybody seems to leave at once; there is no repeat buying to model")),
        Border({"beta": -1}, mark("everybody seems to leave at once; there is no repeat buying to model")),
        *RATE_BORDERS,
    )

    # ---- histories with litt

    def fit(self, summary: pd.DataFrame) -> Self:
        """Estimate the parameters by maximum likelihood, as any model does; the summary should have ``litt``."""
        return self._fit_cells(self._with_litt(Cells.read(summary, self._columns), summary), unit_of(summary))

    def _read(self, summary: pd.DataFrame) -> Cells:
        return self._with_litt(super()._read(summary), summary)

    @staticmethod
    def _with_litt(cells: Cells, summary: pd.DataFrame) -> Cells:
        """Return the distinct histories with litt as a part of them."""
        if "litt" not in summary:
            return cells
        litt = read_litt(summary)
        if ((summary["frequency"] > 0) & (summary["recency"] <= 0)).any():
            raise DataError("summary.litt: a repeat purchase at recency 0 has no log of a time between purchases")
        names = [*cells.columns, "litt"]
        table = np.stack([*(cells.expand(values) for values in cells.columns.values()), litt])
        found, inverse = np.unique(table, axis=1, return_inverse=True)
        weight = np.bincount(inverse, weights=cells.rows, minlength=found.shape[1]).astype(float)
        return Cells(dict(zip(names, found, strict=True)), weight, cells.index, inverse, cells.rows)

    # ---- likelihood

    @staticmethod
    def _between(cells: Cells, k: Array) -> Array:
        """Return the log of what the times between purchases add: e^((k−1) litt) Γ(k)^−x, or its mean without litt."""
        x = cells["frequency"]
        if "litt" in cells.columns:
            return np.asarray((k - 1) * cells["litt"] - x * special.gammaln(k))
        t_x = np.maximum(cells["recency"], _GRAIN * cells["T"])
        some = (x > 0) & (t_x > 0)
        n = np.where(some, x, 1.0)
        value = (k - 1) * n * np.log(np.where(some, t_x, 1.0)) + special.gammaln(n) - special.gammaln(k * n)
        return np.where(some, value, 0.0)

    @staticmethod
    def _made_for(p: Array, cells: Cells) -> tuple[Array, Array]:
        """Return shape and rate of gamma distributions that lie over k as the gaps of each history let it lie.

        In ln k they have the mode and the curvature of t ln k − γk + h(k), h the log-likelihood of the gaps: Newton.
        """
        r, alpha, _, _, t, gamma = p
        x, t_x = cells["frequency"], cells["recency"]
        shape, rate = np.full(len(x), float(t)), np.full(len(x), float(gamma))
        if "litt" not in cells.columns or not x.any():
            return shape, rate
        n = np.maximum(x, 1.0)
        spread = n * np.log(np.where(x > 0, t_x, 1.0) / n) - cells["litt"]
        u = np.log((t + (n - 1) / 2) / (gamma + np.maximum(spread, 0.0)))
        bend = -shape
        for _ in range(_NEWTON):
            k = np.exp(u)
            sigma, end = r + k * x, 1 / (alpha + k * t_x)
            first = x * (special.digamma(sigma) - special.digamma(k) + 1 + np.log(k * end)) - sigma * t_x * end
            second = x**2 * special.polygamma(1, sigma) - x * special.polygamma(1, k) + x / k
            second += sigma * (t_x * end) ** 2 - 2 * x * t_x * end
            rise = t - gamma * k + k * (first + cells["litt"])
            bend = np.minimum(rise - t + k**2 * second, -0.5 * t)
            u = np.clip(u + np.clip(-rise / bend, -2.0, 2.0), -25.0, 25.0)
        return np.where(x > 0, -bend, shape), np.where(x > 0, -bend * np.exp(-u), rate)

    def _regularities(self, p: Array, cells: Cells, points: int) -> tuple[Array, Array]:
        """Return nodes k (points, m) and log weights, of means over k ~ Gamma(t, γ)."""
        t, gamma = p[4:]
        u, step = log_gamma_rule(*self._made_for(p, cells), points)
        k = np.exp(np.clip(u, -25.0, 25.0))
        return k, np.log(step) + t * np.log(gamma) - special.gammaln(t) + t * np.log(k) - gamma * k

    def _given(self, p: Array, cells: Cells, k: Array, n: Array | float) -> Array:
        """Return ln of the likelihood of the gaps and n more, but for what depends on the length of these."""
        r, alpha = p[:2]
        sigma = r + k * (cells["frequency"] + n)
        bought = special.gammaln(sigma) - special.gammaln(r) + k * (cells["frequency"] + n) * np.log(k)
        return np.asarray(r * np.log(alpha) + bought + self._between(cells, k))

    def _nodes(self, p: Array, cells: Cells, points: int) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        """Return k (K, m), gaps y (J, K, m), log terms (J, K, m), and which of the J lie within the silence."""
        r, alpha, s, beta = p[:4]
        x, t_x, T = cells["frequency"], cells["recency"], cells["T"]
        k, weight = self._regularities(p, cells, points)
        scale = (alpha + k * t_x) / k
        sigma = r + k * x
        with np.errstate(divide="ignore"):
            cut = np.log((T - t_x) / scale)
        v, step, before = gap_rule(k, sigma, cut)
        y = scale * np.exp(np.clip(v, -600.0, 600.0))
        gaps = self._given(p, cells, k, 1.0) - special.gammaln(k) + weight - s * np.log1p(t_x / beta)
        terms = gaps + k * np.log(y) - (sigma + k) * np.log(alpha + k * (t_x + y)) + np.log(np.maximum(step, 1e-300))
        lived = s * np.log1p(y[before] / (beta + t_x))
        terms[before] += np.log(np.maximum(-np.expm1(-lived), 1e-300))
        return k, y, terms, before

    @staticmethod
    def _parts(cells: Cells) -> Iterator[tuple[slice, Cells]]:
        for first in range(0, len(cells), _ROWS):
            where = slice(first, first + _ROWS)
            yield where, cells.take(where)

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        value = np.empty(len(cells))
        for where, part in self._parts(cells):
            value[where] = special.logsumexp(self._nodes(p, part, _POINTS)[2], axis=(0, 1))
        return value

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        value, gradient, hessian = 0.0, np.zeros(6), np.zeros((6, 6))
        for _, part in self._parts(cells):
            v, g, h = self._part_derivatives(p, part)
            value, gradient, hessian = value + v, gradient + g, hessian + h
        return value, gradient, hessian

    def _part_derivatives(self, p: Array, cells: Cells) -> Derivatives:
        """Return the derivatives as means over k and y."""
        r, alpha, s, beta, t, gamma = p
        x, t_x, w = cells["frequency"], cells["recency"], cells.weight
        k, y, terms, before = self._nodes(p, cells, _POINTS)
        total = special.logsumexp(terms, axis=(0, 1))
        share = np.exp(terms - total)
        sigma, at = r + k * (x + 1), 1 / (alpha + k * (t_x + y))
        start, stop = 1 / (beta + t_x), 1 / (beta + t_x + y[before])
        length = np.maximum(np.log1p(y[before] * start), 1e-300)  # of the gap on the clock of leaving
        a = s * length / np.expm1(np.clip(s * length, 1e-300, 600.0))
        along = (stop - start) / length  # of ln length in β
        g = np.empty((6, *y.shape))
        g[0] = np.log(alpha) - special.digamma(r) + special.digamma(sigma) + np.log(at)
        g[1] = r / alpha - sigma * at
        g[2], g[3] = -np.log1p(t_x / beta), s * (1 / beta - start)
        g[2, before] += a / s
        g[3, before] += along * a
        g[4], g[5] = np.log(gamma) - special.digamma(t) + np.log(k), t / gamma - k
        weighted = g * share
        mean = weighted.sum(axis=(1, 2))
        h = np.zeros((6, 6))
        part = share * w
        h[0, 0] = (part * special.polygamma(1, sigma)).sum() - w.sum() * special.polygamma(1, r)
        h[0, 1] = w.sum() / alpha - (part * at).sum()
        h[1, 1] = (part * sigma * at**2).sum() - w.sum() * r / alpha**2
        within, bend = part[before], a * length / s + a**2 / s**2
        h[2, 2] = -(within * bend).sum()
        h[2, 3] = w @ (1 / beta - start) + (within * along * (a / s - s * bend)).sum()
        h[3, 3] = -(within * (along * a * (start + stop) + (along * s) ** 2 * bend)).sum()
        h[3, 3] -= s * (w @ (1 / beta**2 - start**2))
        h[4, 4], h[4, 5], h[5, 5] = -w.sum() * special.polygamma(1, t), w.sum() / gamma, -w.sum() * t / gamma**2
        h += np.triu(h, 1).T
        h += (weighted * w).reshape(6, -1) @ g.reshape(6, -1).T - (mean * w) @ mean.T
        return float(w @ total), mean @ w, h

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        first, second, _ = ParetoNBDModel()._starts(cells)  # noqa: SLF001 - the same two processes
        return [(*first, 2.0, 1.0), (*second, 5.0, 2.0)]

    # ---- predictions

    def _alive(self, p: Array, cells: Cells) -> Array:
        value = np.empty(len(cells))
        for where, part in self._parts(cells):
            _, _, terms, before = self._nodes(p, part, _POINTS)
            silent = special.logsumexp(terms[~before], axis=(0, 1)) - special.logsumexp(terms, axis=(0, 1))
            later = p[2] * np.log1p((part["T"] - part["recency"]) / (p[3] + part["recency"]))
            value[where] = np.exp(silent - later)
        return np.clip(value, 0.0, 1.0)

    def _about(self, p: Array, cells: Cells) -> tuple[Array, Array, Array]:
        """Return k (K, m), log weights with those of the history and of being alive so far, and ln(y0/scale)."""
        alpha, s, beta = p[1:4]
        level = special.logsumexp(self._nodes(p, cells, _POINTS)[2], axis=(0, 1))
        k, weight = self._regularities(p, cells, _FEW)
        silence = np.maximum(cells["T"] - cells["recency"], 1e-300)
        before = np.log(silence) - np.log(alpha / k + cells["recency"])
        return k, weight - s * np.log1p(cells["T"] / beta) - level, before

    def _arrival(
        self, p: Array, cells: Cells, about: tuple[Array, Array, Array], horizon: Array, n: Array, rate: float = 0.0
    ) -> Array:
        """Return the mean of e^(−rate·v) over the time v of the n-th coming purchase, 0 if it never comes; n (N, m).

        Given k, n gaps add up to W after t_x, the first of them outlasting the silence y0 with the chance that a
        Beta(k, (n − 1)k) variable exceeds y0/W.
        """
        r, alpha, s, beta = p[:4]
        x, t_x, T = cells["frequency"], cells["recency"], cells["T"]
        k, weight, first = about
        n = np.minimum(n, _MOST)[:, None, :]
        scale, sigma, silence = alpha / k + t_x, r + k * x, T - t_x
        mode, width = np.log(n * k) - np.log(sigma), np.sqrt(1 / (n * k) + 1 / sigma)
        last = np.log(np.maximum(silence + horizon, 1e-300)) - np.log(scale)
        low = np.maximum(first, np.minimum(mode, last) - 7 * width - 25 / (n * k))
        high = np.maximum(np.minimum(last, np.maximum(mode, low) + 7 * width + 25 / sigma), low)
        both = self._given(p, cells, k, n) - special.gammaln(n * k) + weight
        others = np.maximum((n - 1) * k, 1e-300) * np.ones(both.shape)
        own, bound = k * np.ones(both.shape), -np.log(k) - special.betaln(k, others)
        total = np.zeros(both.shape)
        for node, w in zip(*gauss_legendre(_ARRIVAL), strict=True):
            whole = scale * np.exp(np.clip(low + node * (high - low), -600.0, 600.0))  # W
            wait = np.clip(whole - silence, 0.0, horizon)
            density = both + n * k * np.log(whole) - (sigma + n * k) * np.log(alpha + k * (t_x + whole))
            density = np.minimum(density - s * np.log1p(wait / (beta + T)) - rate * wait, 50.0)
            share = wait / (wait + silence + 1e-300)
            # where the first gap hardly falls within the silence, or nothing depends on it, its chance counts as 1
            asked = (bound + k * np.log1p(-np.minimum(share, 1 - 1e-16)) > _SURE) & (density > 3 * _SURE) & (n > 1)
            lived = w * (high - low) * np.exp(density)
            lived[asked] *= special.betainc(others[asked], own[asked], share[asked])
            total += lived
        return np.asarray(np.clip(total.sum(axis=1), 0.0, 1.0) * (n[:, 0] < _MOST))

    def _total(self, p: Array, cells: Cells, horizon: Array, rate: float = 0.0) -> Array:
        """Return Σ_n of :meth:`_arrival`: one by one as far as 24, then by a Gauss rule between half-numbers."""
        value = np.zeros(len(cells))
        mean = (p[0] + cells["frequency"]) / (p[1] + cells["T"])
        most = horizon * (mean + 8 * np.sqrt(mean / (p[1] + cells["T"])) + 25 / (p[1] + cells["T"])) + 8
        order = np.argsort(most, kind="stable")
        for first in range(0, len(order), _ROWS):
            where = order[first : first + _ROWS]
            part, span, top = cells.take(where), horizon[where], most[where]
            about, ones, term = self._about(p, part), np.ones((1, len(where))), np.zeros(len(where))
            for n in range(1, _EXACT + 1):
                before, term = term, self._arrival(p, part, about, span, n * ones, rate)[0]
                value[where] += term
                if (term <= 1e-9 * value[where]).all():
                    break
            else:
                x, w = gauss_legendre(_REST)
                length = np.log(np.maximum(top, 2 * _EXACT) / (_EXACT + 0.5))
                n_at = (_EXACT + 0.5) * np.exp(x[:, None] * length)
                rest = self._arrival(p, part, about, span, n_at, rate)
                value[where] += (w[:, None] * length * n_at * rest).sum(axis=0) + (
                    term - before
                ) / 24  # Euler–Maclaurin
        return np.where(horizon > 0, value, 0.0)

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        return self._total(p, cells, np.asarray(horizon, dtype=float))

    def _discounted(self, p: Array, cells: Cells, rate: float, horizon: float | None) -> Array:
        return self._total(p, cells, np.full(len(cells), self._discounted_end(rate, horizon)), rate)

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        rows = np.atleast_2d(np.asarray(n, dtype=float))
        value = np.zeros(rows.shape)
        for where, part in self._parts(cells):
            span = np.maximum(horizon[where], 1e-300)
            value[:, where] = self._arrival(p, part, self._about(p, part), span, rows[:, where])
        return np.where(horizon > 0, np.minimum(value, self._alive(p, cells)), 0.0).reshape(np.shape(n))

    # ---- drawing

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        r, alpha, s, beta = p[:4]
        m, x, t_x, T = len(cells), cells["frequency"], cells["recency"], cells["T"]
        alive = rng.random(m) < self._alive(p, cells)
        k = self._drawn_regularity(p, cells, rng)
        sigma, scale = r + k * x, (alpha + k * t_x) / k
        past = special.betainc(k, sigma, (T - t_x) / (T - t_x + scale))
        z = special.betaincinv(k, sigma, past + rng.random(m) * (1 - past))
        gap = np.maximum(scale * z / np.maximum(1 - z, 1e-300), T - t_x)
        rate = rng.gamma(sigma + k, 1 / (alpha + k * (t_x + gap)))
        leaving = np.maximum(rng.gamma(s, 1 / (beta + T)), 1e-300)
        window = np.where(alive, np.minimum(rng.exponential(size=m) / leaving, horizon), 0.0)
        count, last, _ = _gone_through(k, rate, gap - (T - t_x), window, rng)
        return count, last

    def _drawn_regularity(self, p: Array, cells: Cells, rng: np.random.Generator) -> Array:
        """Draw k given the history and alive: one of 64 from Gamma(t, γ) bent to the history, by their weights."""
        t, gamma = p[4:]
        if not cells["T"].any():
            return np.asarray(np.maximum(rng.gamma(t, 1 / gamma, len(cells)), 1e-12))
        k, weight = self._regularities(p, cells, _POINTS)
        mean = special.softmax(weight + self._silent(p, cells, k), axis=0)
        centre = (mean * np.log(k)).sum(axis=0)
        spread = np.sqrt((mean * (np.log(k) - centre) ** 2).sum(axis=0)) + 1e-6
        noise = rng.standard_t(5, (_CANDIDATES, len(cells)))
        candidates = np.exp(centre + spread * noise)
        prior = t * np.log(candidates) - gamma * candidates
        log_weight = prior + self._silent(p, cells, candidates) + 3 * np.log1p(noise**2 / 5)
        chosen = np.argmax(log_weight + rng.gumbel(size=log_weight.shape), axis=0)
        return np.asarray(candidates[chosen, np.arange(len(cells))])

    def _silent(self, p: Array, cells: Cells, k: Array) -> Array:
        """Return ln of the likelihood of k: of the gaps, and of the silence after them."""
        sigma, end = p[0] + k * cells["frequency"], p[1] + k * cells["recency"]
        silence = cells["T"] - cells["recency"]
        quiet = special.betainc(sigma, k, end / (end + k * silence))
        return np.asarray(self._given(p, cells, k, 0.0) - sigma * np.log(end) + np.log(np.maximum(quiet, 1e-300)))

    def simulate(self, n: int, T: ArrayLike, seed: int | np.random.Generator) -> pd.DataFrame:
        """Draw n new customers observed for T: frequency, recency, T and litt by customer_id."""
        r, alpha, s, beta, t, gamma = self._p()
        span, rng = spans_of(n, T), np.random.default_rng(seed)
        k, rate = np.maximum(rng.gamma(t, 1 / gamma, n), 1e-12), rng.gamma(r, 1 / alpha, n)
        leaving = np.maximum(rng.gamma(s, 1 / beta, n), 1e-300)
        window = np.minimum(rng.exponential(size=n) / leaving, span)
        first = rng.gamma(k, 1 / np.maximum(k * rate, 1e-300))
        count, last, litt = _gone_through(k, rate, first, window, rng)
        index = pd.Index([str(i) for i in range(n)], name="customer_id")
        frame = pd.DataFrame({"frequency": count, "recency": last, "T": span, "litt": litt}, index=index)
        frame.attrs["clvlib"] = {"unit": self.unit_}
        return frame

    def simulate_future(self, summary: pd.DataFrame, horizon: float, seed: int | np.random.Generator) -> pd.Series:
        """Draw the purchases that each customer makes within the horizon, given the history."""
        check_horizon(horizon)
        cells = self._read(summary)
        rows = replace(cells.take(cells.inverse), index=cells.index)
        count, _ = self._draw(self._p(), rows, np.full(len(rows), float(horizon)), np.random.default_rng(seed))
        return pd.Series(count, index=summary.index, name="purchases")


def _gone_through(
    k: Array, rate: Array, first: Array, window: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return purchases within the window, the time of the last, and the sum of the logs of the gaps."""
    count, last, litt = np.zeros(len(k)), np.zeros(len(k)), np.zeros(len(k))
    gap, todo = first, np.arange(len(k))
    while True:
        here = (last[todo] + gap <= window[todo]) & (gap > 0)
        todo, gap = todo[here], gap[here]
        if not len(todo):
            return count, last, litt
        count[todo] += 1
        last[todo] += gap
        litt[todo] += np.log(gap)
        gap = rng.gamma(k[todo], 1 / np.maximum(k[todo] * rate[todo], 1e-300))
