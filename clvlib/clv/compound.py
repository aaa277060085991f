"""What customers will spend, as a distribution: random numbers of purchases, each of a random amount.

Spend is counted in units of γ + x·m, in which n coming purchases of a customer who made x add up to a beta prime
(p·n, q + p·x) variable W; see :mod:`clvlib.clv.value`.
"""

# ruff: noqa: SLF001 - it stands on the machinery of the models, below what users see

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.interpolate import CubicSpline

from clvlib.clv.cells import Cells
from clvlib.clv.models.purchases import FINE, WIDTH, PurchaseModel, seen_lately
from clvlib.clv.special import chebyshev_nodes, clenshaw

__all__ = ["Compound"]

Array = NDArray[np.float64]

_IMPOSSIBLE = 1e-12  # a count less likely than that moves no quantile
_STEP = 0.25  # between the levels of a table, on the logit scale
_LOWEST = -20.0  # quantiles of lower levels than that (2e-9) are those of it
_DIGITS = 14.0  # a table's series in log T is cut off where terms are below e^−14
_WITNESSES = 16  # rows by which each table is judged
_CLOSE = 5e-4  # how far a table's quantile may lie from the true one, as a share of it
_ROWS = 1 << 13


@dataclass(frozen=True)
class Compound:
    """The coming spend W of one customer of each history.

    Attributes
    ----------
    model : PurchaseModel
    cells : Cells
        Histories.
    horizon : float
        Span ahead, in the model's unit.
    shape, q : float
        p and q of the spend model.
    """

    model: PurchaseModel
    cells: Cells
    horizon: float
    shape: float
    q: float

    def quantiles(self, probabilities: Sequence[float]) -> list[Array]:
        """Return quantiles of W per history.

        Who buys at all has a distribution of W that, in most models, depends on x and T alone, smoothly in T. So for
        each x with very many histories its quantiles are tabulated over T and their level, and each history looks up
        the level that its own chance to buy makes of the probability asked for.
        """
        p, x = self.model._p(), self.cells["frequency"]
        some = self.model._tail_cells(p, self.cells, self.horizon, np.ones(len(x)))
        missing = np.array([probability - (1 - some) for probability in probabilities])
        result = np.zeros(missing.shape)
        rows = np.flatnonzero((missing > 0).any(axis=0))  # for the others all quantiles are 0: they buy nothing
        level = np.clip(missing[:, rows] / some[rows], 0.0, 1.0)
        result[:, rows] = self._given_some(self.cells.take(rows), level)
        return list(result)

    def _given_some(self, cells: Cells, level: Array) -> Array:
        """Return quantiles of W of those who buy, one row per row of levels, 0 where a level is 0."""
        onset, (_, code, _) = self.model._onset(self.model._p()), cells.histogram
        result, tabled = np.zeros(level.shape), np.zeros(len(cells), dtype=bool)
        if onset > 0 and len(cells):
            y = np.log(onset + cells["T"])
            grid = _Grid.over(y, level[level > 0])
            many = np.flatnonzero(np.bincount(code) > grid.size)
            if len(many):
                tabled = self._looked_up(cells, y, level, grid, many, onset, result)
        rest = np.flatnonzero(~tabled)
        result[:, rest] = self.solved(cells.take(rest), level[:, rest])
        return result

    def _looked_up(
        self,
        cells: Cells,
        y: Array,
        level: Array,
        grid: _Grid,
        many: NDArray[np.intp],
        onset: float,
        result: Array,
    ) -> NDArray[np.bool_]:
        """Fill in the quantiles of histories with these x; return of which. Each table is judged by some of them."""
        values, code, _ = cells.histogram
        order = np.argsort(code, kind="stable")
        ends = np.cumsum(np.bincount(code))
        rows = [order[ends[which - 1] if which else 0 : ends[which]] for which in many]
        few = np.array([part[np.linspace(0, len(part) - 1, _WITNESSES).astype(np.intp)] for part in rows])
        T = np.maximum(np.exp(grid.times) - onset, 0.0)
        nodes = seen_lately(np.repeat(values[many], len(T)), np.tile(T, len(many)))
        both = Cells.of(**{name: np.append(nodes[name], cells[name][few]) for name in nodes.columns})
        asked = np.zeros((len(grid.levels), len(both)))
        asked[:, : len(nodes)] = special.expit(grid.levels)[:, None]
        asked[: len(level), len(nodes) :] = level[:, few.ravel()]
        found = self.solved(both, asked, FINE)
        truth = found[: len(level), len(nodes) :].reshape(len(level), *few.shape)
        tables = grid.tables(np.log(found[:, : len(nodes)]).reshape(len(grid.levels), len(many), len(T)))
        tabled = np.zeros(len(cells), dtype=bool)
        for table, mine, witnesses, right in zip(tables, rows, few, truth.transpose(1, 0, 2), strict=True):
            for out, level_of in zip(result, level, strict=True):
                for first in range(0, len(mine), _ROWS):
                    part = mine[first : first + _ROWS]
                    out[part] = grid.read(table, y[part], level_of[part])
            tabled[mine] = (np.abs(result[:, witnesses] - right) <= _CLOSE * right).all()
        return tabled

    def solved(self, cells: Cells, level: Array, width: float = WIDTH) -> Array:
        """Return quantiles of W of those who buy, history by history, from counts in bins of a width (in logs)."""
        result = np.zeros(level.shape)
        p, freedom = self.model._p(), self.q + self.shape * cells["frequency"]
        for where in self.model._alike(self.model._expected_cells(p, cells, self.horizon)):
            n, mass = self.model._count_grid(p, cells.take(where), self.horizon, width)
            mass /= np.maximum(mass.sum(axis=0), 1e-300)
            for found, asked in zip(result, level[:, where], strict=True):
                some = np.flatnonzero(asked > 0)
                if len(some):
                    chosen = where[some]
                    found[chosen] = _mixture_quantile(self.shape * n, mass[:, some], freedom[chosen], asked[some])
        return result


@dataclass(frozen=True)
class _Grid:
    """Where log quantiles are tabulated: at Chebyshev nodes in log(onset + T), and even steps of the level's logit."""

    middle: float
    half: float
    nodes: Array
    transform: Array
    levels: Array

    @classmethod
    def over(cls, y: Array, level: Array) -> _Grid:
        """Return a grid that covers these times and levels."""
        half = max(float(np.ptp(y)) / 2, 1e-9)
        low, high = special.logit([level.min(), level.max()])
        start = max(float(low), _LOWEST)
        steps = max(int(np.ceil((float(high) - start) / _STEP)), 3)
        return cls(
            float(y.max() + y.min()) / 2, half, *chebyshev_nodes(half, _DIGITS), start + _STEP * np.arange(steps + 1.0)
        )

    @property
    def size(self) -> int:
        """Entries of a table."""
        return len(self.nodes) * len(self.levels)

    @property
    def times(self) -> Array:
        """The nodes as values of log(onset + T)."""
        return self.middle + self.half * self.nodes

    def tables(self, values: Array) -> Array:
        """Return a table from each (levels, _, nodes): (_, 4, steps, terms), cubics, the highest power first."""
        return np.asarray(CubicSpline(self.levels, values @ self.transform).c.transpose(2, 0, 1, 3))

    def read(self, table: Array, y: Array, level: Array) -> Array:
        """Return quantiles, 0 where the level is 0."""
        with np.errstate(divide="ignore"):
            place = np.maximum(special.logit(level) - self.levels[0], 0.0) / _STEP
        piece = np.minimum(place.astype(np.intp), table.shape[1] - 1)
        beyond = ((place - piece) * _STEP)[:, None]
        total = table[0, piece]
        for power in table[1:]:
            total = total * beyond + power[piece]
        return np.where(level > 0, np.exp(clenshaw(total.T, (y - self.middle) / self.half)), 0.0)


def _mixture_quantile(shape: Array, mass: Array, freedom: Array, level: Array) -> Array:
    """Return w with Σ mass · P(beta prime(shape, freedom) ≤ w) = level, by Halley's method in log w, kept in a bracket.

    Counts that are next to impossible are left out, and so is whoever is done: a step of 1e-4 errs by its third power.
    """
    column, number = np.nonzero(mass.T > _IMPOSSIBLE)
    a, b, m = shape[number, 0], freedom[column], mass.T[column, number]
    log_beta = special.betaln(a, b)
    y = _gamma_quantile(shape, mass, freedom, level)
    low, high = y - 64.0, y + 64.0
    todo = np.ones(len(y), dtype=bool)
    for _ in range(100):
        x = special.expit(y)[column]
        below = np.bincount(column, m * special.betainc(a, b, x), len(y))
        density = m * np.exp(a * np.log(x) + b * np.log1p(-x) - log_beta)
        slope, bend = np.bincount(column, density, len(y)), np.bincount(column, density * (a - (a + b) * x), len(y))
        f = np.where(todo, below - level, 0.0)
        low, high = np.where(f < 0, y, low), np.where(f > 0, y, high)
        with np.errstate(invalid="ignore", over="ignore"):  # between the steps of spend that hardly varies
            newton = np.divide(f, slope, out=np.full_like(y, np.inf), where=slope > 0)
            curve = np.divide(bend, 2 * slope, out=np.zeros_like(y), where=slope > 0)
            step = y - newton / np.maximum(1 - newton * curve, 0.5)
        after = np.where((step > low) & (step < high), step, (low + high) / 2)
        done = (np.abs(f) < 1e-14) | (high - low < 1e-9) | (np.abs(after - y) < 1e-4)
        y = np.where(todo, after, y)
        todo &= ~done
        if not todo.any():
            break
        kept = todo[column]
        column, a, b, m, log_beta = column[kept], a[kept], b[kept], m[kept], log_beta[kept]
    return np.asarray(np.exp(y))


def _gamma_quantile(shape: Array, mass: Array, freedom: Array, level: Array) -> Array:
    """Return the log quantile of gammas with about the moments of the mixtures."""
    whole = np.maximum(mass.sum(axis=0), 1e-300)
    mean = (mass * shape).sum(axis=0) / whole
    square = (mass * shape * (shape + 1)).sum(axis=0) / whole
    inflated = square / mean**2 * (freedom - 1).clip(min=1.0) / (freedom - 2).clip(min=1.0)
    k = 1 / np.maximum(inflated - 1, 1e-6)
    share = np.clip(level / whole, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(np.maximum(special.gammaincinv(k, share) / k, 1e-30)) + np.log(mean / freedom))
