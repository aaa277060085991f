"""What every purchase model has in common: predictions with intervals, discounting, simulation.

A model provides four forms, each given a history: P(alive), the expected number of purchases in a coming span, the
probability of at least n purchases in it, and a way to draw it. A new customer is the history (0, 0, 0).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.optimize import elementwise

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Border, Estimator, check_level, normal_quantile, spans_of
from clvlib.clv.special import gauss_legendre, interpolated
from clvlib.errors import ParameterError
from clvlib.words import mark

__all__ = [
    "FINE",
    "RATE_BORDERS",
    "WIDTH",
    "PurchaseModel",
    "Uncertainty",
    "check_horizon",
    "check_uncertainty",
    "combine",
    "seen_lately",
]

Array = NDArray[np.float64]
Uncertainty = Literal["both", "parameters", "customer"]

# what gamma purchase rates degenerate to, in every model that has them
RATE_BORDERS = (
    Border({"r": 1, "alpha": 1}, mark("one purchase rate fits all customers; a Poisson rate without a gamma suffices")),
    Border({"r": -1, "alpha": -1}, mark("nearly all purchases come from very few customers; rates are all or nothing")),
    Border({"r": -1}, mark("hardly anybody buys again; expected purchases are near zero for all")),
    Border({"alpha": 1}, mark("hardly anybody buys again; expected purchases are near zero for all")),
)

_NODES = 48  # Gauss–Legendre points of a discounting integral
_EXACT = 24  # counts up to here stand alone in a distribution's grid, larger ones share bins
WIDTH, FINE = 0.12, 0.03  # of these, in logs; where a grid serves many customers
_MANY = 128  # histories of one x from which on they are looked up
_LEVELS = 64  # numbers x at a time
_TOGETHER = 8  # counts of a grid at a time, and a history that surely has no more drops out
_NOTHING = 1e-18
_RARE = 1e-7  # a chance below it makes no difference to a grid of counts
_BLOCK = 4096
_LONGEST_WAIT = 1e6  # times the time scale of a customer: longer than that nobody waits for a purchase


class PurchaseModel(Estimator):
    """Base of the models of purchasing and dropout."""

    _columns = ("frequency", "recency", "T")
    _wants_litt: ClassVar[bool] = False  # whether a summary with the column litt tells the model more
    _wants_orders: ClassVar[bool] = False  # whether it is fitted with the orders behind the summary

    @property
    def _covariate_columns(self) -> tuple[str, ...]:
        """Return what a summary must have besides a history."""
        return ()

    # ---- what a model file provides, all for parameters p and one value per history

    @abstractmethod
    def _alive(self, p: Array, cells: Cells) -> Array:
        """Return P(alive at T)."""

    @abstractmethod
    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        """Return E[X(T, T + horizon)]."""

    @abstractmethod
    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        """Return P(X(T, T + horizon) ≥ n) for n ≥ 1; n has the histories on its last axis."""

    @abstractmethod
    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return for one random customer of each history the coming purchases, and the time of the last since T."""

    def _onset(self, p: Array) -> float:  # noqa: ARG002 - models that can answer need them
        """Return τ where what those who will buy do depends on x and T alone, analytically in log(τ + T); else 0."""
        return 0.0

    def _pace(self, p: Array, cells: Cells) -> Array:
        """Return the time scale on which expectations change, for integrals over time."""
        return float(p[1]) + cells["T"]

    @staticmethod
    def _time(cells: Cells) -> float:
        """Return the mean time that customers were observed, for starting values."""
        return max(cells.mean("T"), 1e-12)

    def _rate(self, cells: Cells) -> float:
        """Return the mean rate of repeat purchases, above 0, for starting values."""
        return max(cells.mean("frequency"), 0.5 / cells.customers) / self._time(cells)

    # ---- predictions

    def probability_alive(self, summary: pd.DataFrame, interval: float | None = None) -> pd.Series | pd.DataFrame:
        """Return P(alive at T | history) per customer.

        Parameters
        ----------
        summary : pandas.DataFrame
            frequency, recency, T by customer_id, in the model's time unit.
        interval : float, optional
            Level of an interval for the uncertainty of the parameters.

        Returns
        -------
        pandas.Series or pandas.DataFrame
            Probabilities; with ``interval`` columns mean, lower, upper.
        """
        cells = self._read(summary)
        mean = self._alive(self._p(), cells)
        if interval is None:
            return self._series(cells, mean, "probability_alive")
        width = normal_quantile(interval) * self._spread(lambda p: _logit(self._alive(p, cells)))
        centre = _logit(mean)
        certain = mean >= 1
        lower = np.where(certain, 1.0, special.expit(centre - width))
        return self._frame(cells, mean, lower, np.where(certain, 1.0, special.expit(centre + width)))

    def total_alive(self, summary: pd.DataFrame, interval: float = 0.9, uncertainty: Uncertainty = "both") -> pd.Series:
        """Return how many customers are expected to be alive: mean, lower, upper; see :meth:`total_purchases`."""
        cells = self._read(summary)
        return self._total_interval(cells, lambda p: self._alive(p, cells), _yes_or_no, interval, uncertainty)

    def expected_purchases(
        self,
        summary: pd.DataFrame,
        horizon: float,
        interval: float | None = None,
        uncertainty: Uncertainty = "both",
    ) -> pd.Series | pd.DataFrame:
        """Return the purchases that each customer is expected to make within the horizon.

        Parameters
        ----------
        summary : pandas.DataFrame
            frequency, recency, T by customer_id, in the model's time unit.
        horizon : float
            Span after T, in the model's time unit.
        interval : float, optional
            Level, e.g. 0.9.
        uncertainty : {"both", "parameters", "customer"}
            What the interval holds: where the expectation lies given that parameters were estimated ("parameters"),
            how many purchases the customer may make by chance ("customer"), or where the number of purchases will lie
            ("both": the two distances from the mean combined as the root of their squares).

        Returns
        -------
        pandas.Series or pandas.DataFrame
            Expected purchases; with ``interval`` columns mean, lower, upper.
        """
        check_horizon(horizon)
        cells = self._read(summary)
        mean = self._expected_cells(self._p(), cells, horizon)
        if interval is None:
            return self._series(cells, mean, "expected_purchases")
        limits = self._limits(cells, horizon, mean, interval, uncertainty)
        return self._frame(cells, mean, *limits)

    def _limits(
        self, cells: Cells, horizon: float, mean: Array, interval: float, uncertainty: Uncertainty
    ) -> tuple[Array, Array]:
        check_uncertainty(uncertainty)
        z = normal_quantile(interval)
        own = known = (mean, mean)
        if uncertainty in {"both", "parameters"}:
            spread = self._spread(lambda p: _log(self._expected_cells(p, cells, horizon)))
            known = (mean * np.exp(-z * spread), mean * np.exp(z * spread))
        if uncertainty in {"both", "customer"}:
            lower, upper = self._quantiles(cells, horizon, ((1 - interval) / 2, (1 + interval) / 2))
            own = (lower, upper)
        return combine(mean, own, known)

    def total_purchases(
        self, summary: pd.DataFrame, horizon: float, interval: float = 0.9, uncertainty: Uncertainty = "both"
    ) -> pd.Series:
        """Return the purchases that all customers together are expected to make: mean, lower, upper.

        Parameters are as in :meth:`expected_purchases`. Chance evens out between customers, the uncertainty of the
        parameters does not.
        """
        check_horizon(horizon)
        cells = self._read(summary)

        def chance(_: Array) -> Array:
            return self._variance(self._p(), cells, horizon)

        return self._total_interval(
            cells, lambda p: self._expected_cells(p, cells, horizon), chance, interval, uncertainty
        )

    def total_buyers(
        self, summary: pd.DataFrame, horizon: float, interval: float = 0.9, uncertainty: Uncertainty = "both"
    ) -> pd.Series:
        """Return how many customers are expected to buy at all: mean, lower, upper; see :meth:`total_purchases`."""
        check_horizon(horizon)
        cells = self._read(summary)
        first = np.ones(len(cells))
        return self._total_interval(
            cells, lambda p: self._tail_cells(p, cells, horizon, first), _yes_or_no, interval, uncertainty
        )

    def _total_interval(
        self,
        cells: Cells,
        mean: Callable[[Array], Array],
        variance: Callable[[Array], Array],
        interval: float,
        uncertainty: Uncertainty,
    ) -> pd.Series:
        """Return the interval of a sum over customers from each history's mean, given parameters, and its variance."""
        check_uncertainty(uncertainty)
        own = mean(self._p())
        chance = 0.0 if uncertainty == "parameters" else float(cells.weight @ variance(own))
        spread = 0.0
        if uncertainty != "customer":
            spread = float(np.std(_log(np.array([cells.weight @ mean(p) for p in self._points()]))))
        return total_interval(float(cells.weight @ own), chance, spread, interval)

    def expected_purchases_new(self, t: ArrayLike) -> float | Array:
        """Return E[X(t)], the repeat purchases of a new customer within t of the first purchase.

        Parameters
        ----------
        t : float or array
            In the model's time unit.

        Returns
        -------
        float or array
            In the shape of ``t``.
        """
        p = self._p()
        time = np.asarray(t, dtype=float)
        if not (np.isfinite(time).all() and (time >= 0).all()):
            raise ParameterError("t is a span of time: finite and not negative")
        flat = time.ravel()
        values = self._expected(p, _newcomers(len(flat)), flat).reshape(time.shape)
        return float(values) if values.ndim == 0 else values

    def count_probability(self, summary: pd.DataFrame, horizon: float, n: int) -> pd.Series:
        """Return P(X(T, T + horizon) = n | history) per customer."""
        check_horizon(horizon)
        if n < 0 or n != int(n):
            raise ParameterError(f"n is a number of purchases; found {n}")
        cells = self._read(summary)
        return self._series(cells, self._count_chance(cells, horizon, n), "count_probability")

    def count_probability_new(self, t: float, n: int) -> float:
        """Return P(X(t) = n) of a new customer."""
        return float(self._count_chance(_newcomers(1), t, n)[0])

    def next_purchase_probability(self, summary: pd.DataFrame, horizon: float) -> pd.Series:
        """Return P(the next purchase comes within the horizon | history) per customer.

        As a function of the horizon it is the distribution of the time to the next purchase. It ends below 1: some
        customers have left, others will leave first.

        Parameters
        ----------
        summary : pandas.DataFrame
            frequency, recency, T by customer_id, in the model's time unit.
        horizon : float
            Span after T, in the model's time unit.
        """
        check_horizon(horizon)
        cells = self._read(summary)
        chance = self._tail_cells(self._p(), cells, horizon, np.ones(len(cells)))
        return self._series(cells, chance, "next_purchase_probability")

    def next_purchase_quantile(self, summary: pd.DataFrame, probability: float = 0.5) -> pd.Series:
        """Return the span after T within which each customer's next purchase comes with the given probability.

        Parameters
        ----------
        summary : pandas.DataFrame
            frequency, recency, T by customer_id, in the model's time unit.
        probability : float
            Between 0 and 1.

        Returns
        -------
        pandas.Series
            In the model's time unit; infinite where the next purchase is less likely than that however long one waits:
            we look a million times as far ahead as customers were observed (BG/BB: 10,000 occasions; covariates that
            change with time: as far as they are known).
        """
        if not 0 < probability < 1:
            raise ParameterError(f"probability lies between 0 and 1; found {probability}")
        cells = self._read(summary)
        return self._series(cells, self._wait(cells, probability), "next_purchase_quantile")

    def discounted_expected_purchases(
        self, summary: pd.DataFrame, rate: float, horizon: float | None = None
    ) -> pd.Series:
        """Return the present value of one unit per coming purchase, per customer.

        Parameters
        ----------
        summary : pandas.DataFrame
            frequency, recency, T by customer_id, in the model's time unit.
        rate : float
            Continuously compounded discount rate per time unit.
        horizon : float, optional
            Span that counts (DECT); None: all the future (DERT; Fader, Hardie & Lee 2005), which needs a rate above 0.

        Returns
        -------
        pandas.Series
            Discounted expected purchases.
        """
        cells = self._read(summary)
        return self._series(cells, self._discounted(self._p(), cells, rate, horizon), "discounted_expected_purchases")

    def _discounted(self, p: Array, cells: Cells, rate: float, horizon: float | None) -> Array:
        """Return ∫ e^(−δt) dE(t) = e^(−δH) E(H) + δ ∫ e^(−δt) E(t) dt, over t = c (e^y − 1) by Gauss–Legendre."""
        end = self._discounted_end(rate, horizon)
        whole = self._expected_cells(p, cells, end)
        if rate == 0 or end == 0:
            return whole
        pace = self._pace(p, cells)
        span = np.log1p(end / pace)
        total = np.exp(-rate * end) * whole
        for node, weight in zip(*gauss_legendre(_NODES), strict=True):
            t = pace * np.expm1(node * span)
            density = rate * np.exp(-rate * t) * (t + pace) * span * weight
            total = total + density * self._expected(p, cells, t)
        return np.asarray(total)

    @staticmethod
    def _discounted_end(rate: float, horizon: float | None) -> float:
        """Check rate and horizon, and return where money stops counting: the horizon, or when e^(−δt) is nothing."""
        if horizon is not None:
            check_horizon(horizon)
        if not np.isfinite(rate) or rate < 0 or (rate == 0 and horizon is None):
            raise ParameterError(f"the discount rate is positive (0 only with a horizon); found {rate}")
        return min(np.inf if horizon is None else horizon, 45.0 / rate if rate > 0 else np.inf)

    # ---- simulation

    def simulate(self, n: int, T: ArrayLike, seed: int | np.random.Generator) -> pd.DataFrame:
        """Draw new customers from the model.

        Parameters
        ----------
        n : int
            Customers.
        T : float or array of n
            How long each was observed after the first purchase.
        seed : int or numpy.random.Generator

        Returns
        -------
        pandas.DataFrame
            frequency, recency, T by customer_id ("0", "1", ...), in the model's unit.

        Raises
        ------
        ParameterError
            The number is not whole, or T is neither a span of time nor one per customer.
        """
        p = self._p()
        span = spans_of(n, T)
        count, last = self._draw(p, _newcomers(n), span, np.random.default_rng(seed))
        index = pd.Index([str(i) for i in range(n)], name="customer_id")
        frame = pd.DataFrame({"frequency": count, "recency": last, "T": span}, index=index)
        frame.attrs["clvlib"] = {"unit": self.unit_}
        return frame

    def simulate_future(self, summary: pd.DataFrame, horizon: float, seed: int | np.random.Generator) -> pd.Series:
        """Draw the purchases that each customer makes within the horizon, given the history."""
        check_horizon(horizon)
        cells = Cells.of(**{name: self._read(summary).expand(self._read(summary)[name]) for name in self._columns})
        count, _ = self._draw(self._p(), cells, np.full(len(cells), float(horizon)), np.random.default_rng(seed))
        return pd.Series(count, index=summary.index, name="purchases")

    # ---- the machinery behind them

    def _expected_cells(self, p: Array, cells: Cells, horizon: float) -> Array:
        return self._expected(p, cells, np.full(len(cells), float(horizon)))

    def _spread(self, function: Callable[[Array], Array]) -> Array:
        """Return the standard deviation of a function of the parameters over their estimates' distribution."""
        first, *others = self._points()
        origin = function(first)
        total, square = np.zeros_like(origin), np.zeros_like(origin)
        for p in others:  # one at a time: customers may be many
            away = function(p) - origin
            total += away
            square += away**2
        sets = 1 + len(others)
        return np.asarray(np.sqrt(np.maximum(square - total**2 / sets, 0.0) / sets))

    def _tail_cells(self, p: Array, cells: Cells, horizon: float, n: Array) -> Array:
        return self._tail(p, cells, np.full(len(cells), float(horizon)), n)

    def _count_chance(self, cells: Cells, horizon: float, n: int) -> Array:
        """Return P(X(T, T + horizon) = n)."""
        levels = np.arange(max(n, 1.0), n + 2)[:, None] * np.ones(len(cells))
        tail = self._tail_cells(self._p(), cells, horizon, levels)
        return np.asarray(np.maximum((tail[0] if n > 0 else 1.0) - tail[-1], 0.0))

    def _wait(self, cells: Cells, probability: float) -> Array:
        """Return the time at which the chance of a purchase reaches the probability, infinite where it never does."""
        p, pace = self._p(), self._pace(self._p(), cells)

        def excess(y: Array, number: Array) -> Array:
            which = number.astype(np.intp)
            return self._tail(p, cells.take(which), pace[which] * np.expm1(y), np.ones(len(which))) - probability

        number, longest = np.arange(float(len(cells))), np.log1p(self._farthest(p, cells) / pace)
        comes = excess(longest, number) > 0
        wait = np.full(len(cells), np.inf)
        if comes.any():
            found = elementwise.find_root(excess, (np.zeros(comes.sum()), longest[comes]), args=(number[comes],))
            wait[comes] = pace[comes] * np.expm1(np.asarray(found.x))
        return wait

    def _farthest(self, p: Array, cells: Cells) -> Array:
        """Return the longest horizon that makes a difference, or that can be asked for."""
        return _LONGEST_WAIT * self._pace(p, cells)

    def _quantiles(self, cells: Cells, horizon: float, probabilities: Sequence[float]) -> tuple[Array, ...]:
        """Return for each probability the smallest n with P(X ≤ n) ≥ probability."""
        some = self._tail_cells(self._p(), cells, horizon, np.ones(len(cells)))
        return tuple(self._quantile(cells, horizon, probability, some) for probability in probabilities)

    def _quantile(self, cells: Cells, horizon: float, probability: float, some: Array) -> Array:
        """Return a quantile from P(X ≥ 1), by doubling and bisection on the histories in doubt."""
        p = self._p()
        todo = np.flatnonzero(some > 1 - probability)
        low, high = (
            np.full(len(cells), -1.0),
            np.zeros(len(cells)),
        )  # P(X ≤ low) < probability ≤ P(X ≤ high), once found
        while len(todo):
            low[todo], high[todo] = high[todo], 2 * high[todo] + 1
            todo = todo[self._tail_cells(p, cells.take(todo), horizon, high[todo] + 1) > 1 - probability]
        todo = np.flatnonzero(high - low > 1)
        while len(todo):
            middle = np.floor((low[todo] + high[todo]) / 2)
            over = self._tail_cells(p, cells.take(todo), horizon, middle + 1) > 1 - probability
            low[todo[over]], high[todo[~over]] = middle[over], middle[~over]
            todo = todo[high[todo] - low[todo] > 1]
        return high

    def _count_grid(self, p: Array, cells: Cells, horizon: float, width: float = WIDTH) -> tuple[Array, Array]:
        """Return purchase counts n ≥ 1 (large ones share bins) and their probabilities, shapes (J, 1) and (J, m)."""
        top = self._most(p, cells, horizon)
        steps = np.arange(1.0, _EXACT + 1)
        if top > _EXACT:
            wide = np.ceil(np.geomspace(_EXACT + 1, top + 2, int(np.log(top / _EXACT) / width) + 2))
            steps = np.unique(np.concatenate([steps, wide]))
        else:
            steps = np.arange(1.0, max(top, 1.0) + 1)
        tail, todo = np.zeros((len(steps), len(cells))), np.arange(len(cells))
        for first in range(0, len(steps), _TOGETHER):
            n = steps[first : first + _TOGETHER, None] * np.ones(len(todo))
            tail[first : first + _TOGETHER, todo] = part = self._tail_cells(p, cells.take(todo), horizon, n)
            todo = todo[part[-1] > _NOTHING]
        probability = np.maximum(tail - np.vstack([tail[1:], np.zeros(len(cells))]), 0.0)
        middle = np.append((steps[:-1] + steps[1:] - 1) / 2, steps[-1])
        return middle[:, None], probability

    def _most(self, p: Array, cells: Cells, horizon: float) -> float:
        """Return the smallest n that no history exceeds with a chance above 1e-7, by doubling and bisection."""
        low, high = -1.0, 0.0
        while len(over := self._exceeding(p, cells, horizon, high)):
            cells, low, high = cells.take(over), high, 2 * high + 1
        while high - low > 1:
            middle = np.floor((low + high) / 2)
            over = self._exceeding(p, cells, horizon, middle)
            if len(over):
                cells, low = cells.take(over), middle
            else:
                high = middle
        return high

    def _exceeding(self, p: Array, cells: Cells, horizon: float, n: float) -> NDArray[np.intp]:
        return np.flatnonzero(self._tail_cells(p, cells, horizon, np.full(len(cells), n + 1)) > _RARE)

    def _variance(self, p: Array, cells: Cells, horizon: float) -> Array:
        """Return Var[X(T, T + horizon)] of one customer of each history."""
        first, second = self._moments(p, cells, horizon)
        return np.maximum(second - first**2, 0.0)

    def _moments(self, p: Array, cells: Cells, horizon: float) -> tuple[Array, Array]:
        """Return E[X(T, T + horizon)] and the mean of its square, both from the same grid of counts.

        Of very many histories those are looked up that share their x with many others, where x and T are all that
        matters to those who will buy.
        """
        onset, (levels, code, _) = self._onset(p), cells.histogram
        count = np.bincount(code)
        many = np.flatnonzero(count > _MANY)
        if not onset or horizon <= 0 or not len(many):
            return self._grid_moments(p, cells, horizon)
        some = self._tail_cells(p, cells, horizon, np.ones(len(cells)))
        y, moments = np.log(onset + cells["T"]), np.empty((2, len(cells)))
        for first in range(0, len(many), _LEVELS):  # so few that all nodes share a grid of counts
            x = levels[many[first : first + _LEVELS]]
            rows = np.flatnonzero(np.isin(cells["frequency"], x))
            of = np.searchsorted(x, cells["frequency"][rows])
            for order in (0, 1):
                of_buyers = partial(self._moment_of_buyers, p, horizon, onset, x, order)
                moments[order, rows] = some[rows] * interpolated(of_buyers, of, y[rows])
        rest = np.flatnonzero(count[code] <= _MANY)
        moments[:, rest] = self._grid_moments(p, cells.take(rest), horizon)
        return moments[0], moments[1]

    def _moment_of_buyers(
        self, p: Array, horizon: float, onset: float, levels: Array, order: int, code: NDArray[np.intp], y: Array
    ) -> Array:
        lately = seen_lately(levels[code], np.maximum(np.exp(y) - onset, 0.0))
        buy = self._tail_cells(p, lately, horizon, np.ones(len(lately)))
        return np.asarray(self._grid_moments(p, lately, horizon, FINE)[order] / np.maximum(buy, 1e-300))

    def _grid_moments(self, p: Array, cells: Cells, horizon: float, width: float = WIDTH) -> tuple[Array, Array]:
        first, second = np.empty(len(cells)), np.empty(len(cells))
        for where in self._alike(self._expected_cells(p, cells, horizon)):
            n, probability = self._count_grid(p, cells.take(where), horizon, width)
            first[where], second[where] = (n * probability).sum(axis=0), (n**2 * probability).sum(axis=0)
        return first, second

    @staticmethod
    def _alike(expected: Array) -> list[NDArray[np.intp]]:
        """Return blocks of histories with similar expectations, so that they share a grid of counts."""
        order = np.argsort(expected, kind="stable")
        return [order[first : first + _BLOCK] for first in range(0, len(order), _BLOCK)]

    @staticmethod
    def _frame(cells: Cells, mean: Array, lower: Array, upper: Array) -> pd.DataFrame:
        return pd.DataFrame(
            {"mean": cells.expand(mean), "lower": cells.expand(lower), "upper": cells.expand(upper)}, index=cells.index
        )


def combine(mean: Array, own: tuple[Array, Array], known: tuple[Array, Array]) -> tuple[Array, Array]:
    """Combine two intervals around one mean: distances add as squares (Zou & Donner 2008); never under 0."""
    lower = mean - np.hypot(mean - own[0], mean - known[0])
    upper = mean + np.hypot(own[1] - mean, known[1] - mean)
    return np.clip(lower, 0.0, mean), np.maximum(upper, mean)


def total_interval(mean: float, variance: float, spread: float, interval: float) -> pd.Series:
    """Return mean, lower, upper of a total from its chance variance and the log-spread from the parameters.

    The total is positive and skewed to the right when customers are few, so a gamma distribution with its two moments
    gives the limits.
    """
    check_level(interval)
    total_variance = variance + (mean * spread) ** 2
    if mean <= 0 or total_variance <= 0:
        return pd.Series({"mean": mean, "lower": mean, "upper": mean})
    deviation = float(np.sqrt(total_variance))
    shape = (mean / deviation) ** 2
    if shape < 1e-2:  # nearly all mass at 0, where the gamma's quantiles say nothing
        upper = mean + normal_quantile(interval) * deviation
        return pd.Series({"mean": mean, "lower": 0.0, "upper": upper})
    levels = np.array([(1 - interval) / 2, (1 + interval) / 2])
    lower, upper = special.gammaincinv(shape, levels) * mean / shape
    return pd.Series({"mean": mean, "lower": float(lower), "upper": float(upper)})


def seen_lately(x: Array, T: Array) -> Cells:
    """Return histories of customers who bought just now, where they bought again at all."""
    return Cells.of(frequency=x, recency=np.where(x > 0, T, 0.0), T=T)


def _newcomers(n: int) -> Cells:
    return Cells.of(frequency=np.zeros(n), recency=0.0, T=0.0)


def check_horizon(horizon: float) -> None:
    """Refuse what is no span of time ahead."""
    if not isinstance(horizon, int | float | np.number) or not np.isfinite(horizon) or horizon < 0:
        raise ParameterError(f"the horizon is a finite span of time, not negative; found {horizon!r}")


def check_uncertainty(uncertainty: str) -> None:
    """Refuse what :data:`Uncertainty` does not name."""
    if uncertainty not in {"both", "parameters", "customer"}:
        raise ParameterError(f"uncertainty is 'both', 'parameters' or 'customer'; found {uncertainty!r}")


def _yes_or_no(chance: Array) -> Array:
    """Return the variance of what happens with a chance."""
    return np.asarray(chance * (1 - chance))


def _log(values: Array) -> Array:
    return np.log(np.maximum(values, 1e-300))


def _logit(values: Array) -> Array:
    inside = np.clip(values, 1e-300, 1 - 1e-16)
    return np.asarray(np.log(inside) - np.log1p(-inside))
