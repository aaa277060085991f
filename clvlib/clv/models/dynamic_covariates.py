"""BG/NBD and MBG/NBD whose customers buy faster or slower as time goes by: holidays, campaigns, streams seen."""

# ruff: noqa: SLF001 - a model made of another one stands on its forms

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.cells import Cells, periods_per_year, unit_of
from clvlib.clv.models.base import Prior, spans_of
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.clock import Clock, Instants, Tracks, day_name, day_numbers
from clvlib.clv.models.covariates import Base, WithCovariates
from clvlib.clv.models.encoding import encode, learn_encoding
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.optimise import Derivatives, Objective
from clvlib.clv.special import gauss_legendre
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table, as_table
from clvlib.errors import DataError, MissingColumnError, ParameterError

__all__ = ["DynamicCovariateModel"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_FARTHEST = 60.0  # no log-rate is tried beyond this
_NODES = 48  # points of a discounting integral, shared out among the periods, each of which has a few at least
_FEWEST_NODES = 4


class DynamicCovariateModel(WithCovariates):
    """BG/NBD or MBG/NBD in which the rate of purchasing changes with time-varying covariates.

    While alive a customer buys at rate λ·exp(g'z(t)); after a purchase he may leave, as before. On a clock that runs at
    the speed exp(g'z(t)) he is a customer of the model underneath: the likelihood is that of (x, τ(t_x), τ(T)), times
    exp(g'z) at each purchase, and predictions are those for the time τ that the planned covariates will make of the
    horizon. In Pareto/NBD customers leave by the calendar and not by this clock, so it is not offered.

    Parameters
    ----------
    model : PurchaseModel, its class or its name
        BetaGeoModel or ModifiedBetaGeoModel.
    covariates : pandas.DataFrame
        ``start``, the first day of each period, and a column per covariate; with ``customer_id`` too, each customer has
        periods of his own. They must cover all customers from their first purchase on, and the horizons asked for: a
        forecast takes the future values that stand here.
    until : str or datetime.date, optional
        Last day of the last period; default: it is as long as the one before.
    encoding : mapping of str to sequence, optional
        As for :class:`CovariateModel`; by default the reference is the level that lasts longest, and the mean over
        time of a number.

    Attributes
    ----------
    encoding_ : dict of str to list
        How columns become numbers; see :class:`CovariateModel`.
    as_of_ : str
        The last day that the fit looked at; new customers come then.

    Notes
    -----
    The summary carries its unit and its last day in ``attrs["clvlib"]``, as ``shop.customer_summary()`` makes them,
    with purchases collapsed by day. The day of a purchase has the covariates of that day. Besides those of the model
    underneath, the parameters are multipliers of the rate, ``purchase:holiday`` or ``purchase:season=winter``.

    Examples
    --------
    >>> seasons = pd.DataFrame({"start": ["2025-01-01", "2025-10-01", "2026-01-01"], "holiday": [0, 1, 0]})
    >>> params = {"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5, "purchase:holiday": 2.0}
    >>> model = DynamicCovariateModel.with_parameters(
    ...     params, unit="W", model=BetaGeoModel, covariates=seasons, until="2026-06-30")
    >>> who = pd.DataFrame({"frequency": [2], "recency": [20.0], "T": [30.0]}, index=["1"])
    >>> who.attrs["clvlib"] = {"unit": "W", "as_of": "2025-09-30"}
    >>> model.expected_purchases(who, horizon=13).round(2).to_dict()
    {'1': 0.99}
    """

    _wants_orders = True
    _built: tuple[Any, Any, Tracks] | None = None
    as_of_: str

    def __init__(
        self,
        model: Base,
        covariates: pd.DataFrame | Mapping[str, Sequence[Any]],
        until: str | dt.date | None = None,
        encoding: Mapping[str, Sequence[Any]] | None = None,
        prior: Prior | None = None,
    ) -> None:
        super().__init__(prior)
        self.model, self.covariates, self.until, self.encoding = model, covariates, until, encoding

    def __repr__(self) -> str:
        learned = ""
        if hasattr(self, "params_"):
            learned = ": " + ", ".join(f"{name} {value:.4g}" for name, value in self.params_.items())
        return f"<DynamicCovariateModel({self._base!r}, {', '.join(self._path().names)}){learned}>"

    @property
    def _base(self) -> BetaGeoModel:
        base = super()._base
        if not isinstance(base, BetaGeoModel):
            raise ParameterError(
                f"covariates that change with time go with BetaGeoModel and ModifiedBetaGeoModel; in "
                f"{type(base).__name__} customers do not leave by the clock of their purchases"
            )
        return base

    @property
    def _columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*PurchaseModel._columns, "track", "end")

    def _covariates(self) -> dict[str, list[str]]:
        return {"purchase": self._path().names}

    def _path(self) -> Tracks:
        """Return the covariates, put in order once."""
        if self._built is None or self._built[0] is not self.covariates or self._built[1] != self.until:
            until = None if self.until is None else as_date(self.until, "until")
            self._built = (self.covariates, self.until, Tracks(pd.DataFrame(self.covariates), until))
        return self._built[2]

    def with_covariates(self, covariates: pd.DataFrame, until: str | dt.date | None = None) -> Self:
        """Return this model, as fitted, with other covariates: a plan, or next week's values.

        Parameters
        ----------
        covariates : pandas.DataFrame
            As for the constructor, with the same columns.
        until : str or datetime.date, optional
            As for the constructor.

        Raises
        ------
        ParameterError
            When the columns are others.
        """
        other = copy.copy(self)
        other.covariates, other.until = covariates, until
        if sorted(other._path().names) != sorted(self._path().names):
            raise ParameterError(f"the model knows {self._path().names}; found {other._path().names}")
        return other

    def to_json(self, path: str | Path) -> None:
        """Write the fitted model, with its covariates, to a JSON file that :func:`clvlib.load` reads."""
        kept, frame = copy.copy(self), pd.DataFrame(self.covariates)
        frame = frame.assign(start=pd.to_datetime(frame["start"]).dt.strftime("%Y-%m-%d"))
        kept.covariates = {str(name): column.tolist() for name, column in frame.items()}
        kept.until = None if self.until is None else str(self.until)
        super(DynamicCovariateModel, kept).to_json(path)

    # ---- what is read

    def history(self, summary: pd.DataFrame, orders: pd.DataFrame | Table) -> pd.DataFrame:
        """Return the summary with what a fit needs of the purchases: sums of the covariates over repeat purchases.

        Parameters
        ----------
        summary : pandas.DataFrame
            By customer_id.
        orders : pandas.DataFrame or Table
            ``customer_id`` and ``ordered_at``, such as ``shop.table("orders")``: what the summary was made of.

        Raises
        ------
        DataError
            When they are not the orders that the summary was made of.
        """
        table = as_table(orders, "orders", "customer_id", "ordered_at")
        kept = " WHERE is_purchase" if "is_purchase" in table.columns else ""
        found = table.query(
            f"SELECT DISTINCT customer_id, CAST(ordered_at AS DATE) AS day FROM {{t}}{kept} ORDER BY 1, 2"
        )
        end, days = self._end(summary), self._unit_days(unit_of(summary))
        customer = np.asarray(summary.index.get_indexer(pd.Index(found["customer_id"])), dtype=np.intp)
        day = day_numbers(found["day"])
        first = end - summary["T"].to_numpy(dtype=float) * days
        counts = (customer >= 0) & (day <= end) & (day > first[customer] + 0.5)
        customer, day = customer[counts], day[counts]
        wrong = np.bincount(customer, minlength=len(summary)) != summary["frequency"].to_numpy(dtype=float)
        if wrong.any():
            raise DataError(
                f"orders: {int(wrong.sum()):,} of {len(summary):,} customers have other repeat purchases than the "
                f"summary says, first {summary.index[int(np.argmax(wrong))]!r}; is this what it was made of, by day?"
            )
        tracks = self._path().tracks(summary.index)
        sums = self._path().at_purchases(customer, tracks[customer], day, len(summary))
        return _with_attrs(summary.assign(**sums), summary)

    def fit(self, summary: pd.DataFrame, orders: pd.DataFrame | Table | None = None) -> Self:
        """Estimate the parameters by maximum likelihood.

        Parameters
        ----------
        summary : pandas.DataFrame
            A row per customer, by customer_id.
        orders : pandas.DataFrame or Table, optional
            As for :meth:`history`, unless the summary has been there.

        Returns
        -------
        Self
            The fitted model.

        Raises
        ------
        MissingColumnError, EmptyDataError, DataError, ParameterError
            When the summary or the covariates cannot be used as they are.

        Warns
        -----
        ConvergenceWarning
            When the data do not hold all parameters; the text names the simpler model that suffices.
        """
        Cells.read(summary, PurchaseModel._columns)
        if orders is not None:
            summary = self.history(summary, orders)
        frame, path = summary, self._path()
        self.encoding_ = learn_encoding(path.frame, path.names, self._days_of(path), self.encoding or {})
        self.unit_, self.as_of_ = unit_of(frame), day_name(self._end(frame))
        return self._fit_cells(self._with_sums(frame), self.unit_)

    @staticmethod
    def _days_of(path: Tracks) -> Array:
        """Return how many days each row holds, which is what it counts in averages."""
        row, length = path.grid
        return np.bincount(row.ravel(), length.ravel(), len(path.start)).astype(float)

    def log_likelihood(self, summary: pd.DataFrame) -> pd.Series:
        """Return each customer's log-likelihood; the summary has been at :meth:`history`."""
        self._read(summary)
        cells = self._with_sums(summary)
        return self._series(cells, self._log_likelihood(self._p(), cells), "log_likelihood")

    def _end(self, summary: pd.DataFrame) -> float:
        known = summary.attrs.get("clvlib", {})
        if "as_of" not in known or known.get("collapse", "D") != "D":
            raise ParameterError(
                "the summary says in attrs['clvlib'] its last day, as_of, and has purchases collapsed by day; "
                "shop.customer_summary(collapse='D') makes such a one"
            )
        return float(as_date(known["as_of"]).toordinal())

    def _located(self, summary: pd.DataFrame) -> pd.DataFrame:
        located = summary.assign(track=self._path().tracks(summary.index), end=self._end(summary))
        return _with_attrs(located, summary)

    def _read(self, summary: pd.DataFrame) -> Cells:
        self._p()
        return super()._read(self._located(summary) if isinstance(summary, pd.DataFrame) else summary)

    def _with_sums(self, summary: pd.DataFrame) -> Cells:
        """Return the distinct histories with the sums of the encoded covariates over their purchases."""
        names = [term.label for term in self._terms()]
        absent = [name for name in names if name not in summary]
        if absent:
            raise MissingColumnError(
                f"the summary lacks {', '.join(absent)}, sums over purchases; call fit(summary, orders) or "
                "make them with model.history(summary, orders)"
            )
        coded = {name: np.unique(summary[name].to_numpy(dtype=float), return_inverse=True) for name in names}
        frame = self._located(summary).assign(**{name: code for name, (_, code) in coded.items()})
        cells = Cells.read(frame, (*self._columns, *names))
        sums = {name: levels[cells[name].astype(np.intp)] for name, (levels, _) in coded.items()}
        for term in self._terms():
            if term.level is None:
                centre, scale = self.encoding_[term.column]
                sums[term.label] = (sums[term.label] - centre * cells["frequency"]) / scale
        return replace(cells, columns={**cells.columns, **sums})

    # ---- the clock

    @staticmethod
    def _unit_days(unit: str) -> float:
        return 365.25 / periods_per_year(unit)

    def _design(self) -> Array:
        """Return the covariates of each period as numbers, shape (rows, coefficients)."""
        numbers = encode(self._path().frame, self.encoding_)
        terms = self._terms()
        values = [numbers[t.column] if t.level is None else numbers[t.column] == t.level for t in terms]
        return np.stack(values, axis=1).astype(float)

    def _place(self, cells: Cells) -> tuple[Indices, Array]:
        """Return track and last day of each history; those of a new customer where they are not known."""
        if "track" in cells.columns:
            return cells["track"].astype(np.intp), cells["end"]
        if self._path().ids is not None or not hasattr(self, "as_of_"):
            raise ParameterError(
                "whose covariates, and from when on? Ask for a new customer as a row of a summary, with the history "
                "(0, 0, 0)"
            )
        end = float(as_date(self.as_of_).toordinal())
        return np.zeros(len(cells), dtype=np.intp), np.full(len(cells), end)

    def _instants(self, track: Indices, time: Array, what: str) -> Instants:
        path = self._path()
        row = path.row_at(track, time, what)
        width = path.grid[0].shape[1]
        return Instants(track * width + row - np.searchsorted(path.track, track), row, time - path.start[row])

    def _marks(self, cells: Cells) -> tuple[Instants, Instants, Instants]:
        """Return the first purchase, the last one and the end of each history."""
        track, end = self._place(cells)
        days = self._unit_days(self.unit_)
        start = end - cells["T"] * days
        last = start + cells["recency"] * days
        first, latest = (self._instants(track, time, "the history of a customer") for time in (start, last))
        return first, latest, self._instants(track, end, "the summary")

    def _clock(self, p: Array) -> Clock:
        speed = np.exp(np.clip(self._design() @ np.log(p[4:]), -_FARTHEST, _FARTHEST))
        return Clock(self._path(), speed, self._unit_days(self.unit_))

    @staticmethod
    def _on(clock: Clock, cells: Cells, marks: Sequence[Instants]) -> Cells:
        """Return the histories in the time of the clock."""
        first, last, end = (clock.read(mark) for mark in marks)
        columns = {"frequency": cells["frequency"], "recency": last - first, "T": end - first}
        return replace(cells, columns={**cells.columns, **columns})

    def _operational(self, p: Array, cells: Cells, horizon: ArrayLike | None = None) -> tuple[Cells, Array]:
        """Return the histories, and the coming span, in the time of the clock."""
        clock, marks = self._clock(p), self._marks(cells)
        own = self._on(clock, cells, marks)
        if horizon is None:
            return own, np.zeros(len(cells))
        track, end = self._place(cells)
        then = end + np.broadcast_to(np.asarray(horizon, dtype=float), len(cells)) * clock.days
        return own, clock.read(self._instants(track, then, "the horizon")) - clock.read(marks[2])

    # ---- likelihood

    def _sums(self, cells: Cells) -> Array:
        return np.stack([cells[term.label] for term in self._terms()])

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        own, _ = self._operational(p, cells)
        return np.asarray(self._base._log_likelihood(p[:4], own) + np.log(p[4:]) @ self._sums(cells))

    def _likelihood(self, cells: Cells) -> Objective:
        path, marks, design, sums = self._path(), self._marks(cells), self._design(), self._sums(cells)
        days, k = self._unit_days(self.unit_), design.shape[1]

        def times(speed: Array) -> Array:
            clock = Clock(path, speed, days)
            first, last, end = (clock.read(mark) for mark in marks)
            return np.stack([last - first, end - first])

        def evaluate(theta: Array) -> Derivatives:
            speed = np.exp(np.clip(design @ theta[4:], -_FARTHEST, _FARTHEST))
            tau = times(speed)
            slope = np.stack([times(speed * z) for z in design.T])
            bend = np.empty((k, k, 2, len(cells)))
            for i in range(k):
                for j in range(i + 1):
                    bend[i, j] = bend[j, i] = times(speed * design[:, i] * design[:, j])
            own = replace(cells, columns={"frequency": cells["frequency"], "recency": tau[0], "T": tau[1]})
            value, gradient, hessian = self._of_times(np.exp(theta[:4]), own, slope, bend)
            gradient[4:] += sums @ cells.weight
            return value + float(theta[4:] @ sums @ cells.weight), gradient, hessian

        return evaluate

    def _of_times(self, p: Array, cells: Cells, slope: Array, bend: Array) -> Derivatives:
        """Return value, gradient and Hessian in the log-parameters, τ(t_x) and τ(T) being functions of the last ones.

        With u = (r + x)/(α + τ(T)) and v = (r + x)/(α + τ(t_x)), the log odds of having left have the derivatives u and
        −v in the two times, and the log-likelihood has −u·P(alive) and −v·(1 − P(alive)).
        """
        base = self._base
        n, k = len(p), len(slope)
        value, gradient, hessian = 0.0, np.zeros(n + k), np.zeros((n + k, n + k))
        for block in cells.blocks():
            v, g, h = base._derivatives(p, block)
            value += v
            gradient[:n] += g * p
            hessian[:n, :n] += h * np.outer(p, p) + np.diag(g * p)
        r, alpha, a, b = p
        x, w = cells["frequency"], cells.weight
        alive = base._alive(p, cells)
        last, end = 1 / (alpha + cells["recency"]), 1 / (alpha + cells["T"])
        u, v = (r + x) * end, (r + x) * last
        doubt = alive * (1 - alive)
        first = np.stack([-v * (1 - alive), -u * alive])
        second = np.array(
            [
                [(1 - alive) * v * last + doubt * v**2, -doubt * u * v],
                [-doubt * u * v, alive * u * end + doubt * u**2],
            ]
        )
        odds = np.stack([np.log(end) - np.log(last), v - u, 0 * u, 0 * u])  # minus their slopes in r, α
        odds[2], odds[3] = -1 / a, 1 / (b + np.maximum(x + base._at_start, 1) - 1)
        mixed = np.stack([v * doubt * odds, -u * doubt * odds])
        mixed[0, :2] -= (1 - alive) * np.stack([last, -v * last])
        mixed[1, :2] -= alive * np.stack([end, -u * end])
        gradient[n:] = np.einsum("tn,ktn,n->k", first, slope, w)
        cross = np.einsum("tyn,ktn,n->yk", mixed, slope, w) * p[:, None]
        hessian[:n, n:], hessian[n:, :n] = cross, cross.T
        hessian[n:, n:] = np.einsum("tn,kltn,n->kl", first, bend, w)
        hessian[n:, n:] += np.einsum("stn,ksn,ltn,n->kl", second, slope, slope, w, optimize=True)
        return value, gradient, hessian

    # ---- the forms

    def _alive(self, p: Array, cells: Cells) -> Array:
        return self._base._alive(p[:4], self._operational(p, cells)[0])

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        return self._base._expected(p[:4], *self._operational(p, cells, horizon))

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        own, span = self._operational(p, cells, horizon)
        return self._base._tail(p[:4], own, span, n)

    def _farthest(self, p: Array, cells: Cells) -> Array:  # noqa: ARG002 - the covariates end where they end
        track, end = self._place(cells)
        return np.asarray((self._path().last[track] - end) / self._unit_days(self.unit_), dtype=float)

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        own, span = self._operational(p, cells, horizon)
        count, last = self._base._draw(p[:4], own, span, rng)
        clock, (track, end) = self._clock(p), self._place(cells)
        now = clock.read(self._instants(track, end, "the summary"))
        since = (clock.when(track, now + last) - end) / clock.days
        return count, np.where(count > 0, np.clip(since, 0.0, horizon), 0.0)

    def _discounted(self, p: Array, cells: Cells, rate: float, horizon: float | None) -> Array:
        """As for all models, period by period, since expectations have a kink where the covariates change."""
        end = self._discounted_end(rate, horizon)
        whole = self._expected_cells(p, cells, end)
        if rate == 0 or end == 0:
            return whole
        now, days = self._place(cells)[1], self._unit_days(self.unit_)
        kinks = np.unique((self._path().start - now[0]) / days)
        cuts = np.concatenate([[0.0], kinks[(kinks > 0) & (kinks < end)], [end]])
        pace = self._pace(p, cells)
        total = np.exp(-rate * end) * whole
        points = max(_FEWEST_NODES, -(-_NODES // (len(cuts) - 1)))
        for left, right in pairwise(cuts):
            low, span = np.log1p(left / pace), np.log1p(right / pace) - np.log1p(left / pace)
            for node, weight in zip(*gauss_legendre(points), strict=True):
                t = np.clip(pace * np.expm1(low + node * span), left, right)
                total = total + rate * np.exp(-rate * t) * (t + pace) * span * weight * self._expected(p, cells, t)
        return np.asarray(total)

    # ---- simulation

    def simulate(
        self, n: int, T: ArrayLike, seed: int | np.random.Generator, as_of: str | dt.date | None = None
    ) -> pd.DataFrame:
        """Draw new customers from the model.

        Parameters
        ----------
        n : int
            Customers; where each has covariates of his own, how many those are of.
        T : float or array of n
            How long each was observed after the first purchase, until ``as_of``.
        seed : int or numpy.random.Generator
        as_of : str or datetime.date, optional
            The last day of observation; default: that of the fit, or the last day of the covariates.

        Returns
        -------
        pandas.DataFrame
            frequency, recency, T and the sums over purchases by customer_id, in the model's unit; ready for ``fit``.

        Raises
        ------
        ParameterError
            When the covariates do not cover the time, or are not those of n customers.
        """
        p, path, rng = self._p(), self._path(), np.random.default_rng(seed)
        if path.ids is not None and len(path.ids) != n:
            raise ParameterError(f"the covariates are those of {len(path.ids):,} customers, n asks for {n:,}")
        if as_of is None:
            as_of = getattr(self, "as_of_", None) or day_name(path.last.min())
        index = pd.Index([str(i) for i in range(n)], name="customer_id") if path.ids is None else path.ids
        span = spans_of(n, T)
        frame = pd.DataFrame({"frequency": 0.0, "recency": 0.0, "T": span}, index=index)
        frame.attrs["clvlib"] = {"unit": self.unit_, "collapse": "D", "as_of": str(as_date(as_of))}
        track, clock = path.tracks(index), self._clock(p)
        start = self._end(frame) - span * clock.days
        born = Cells.of(frequency=np.zeros(n), recency=0.0, T=0.0, track=track.astype(float), end=start)
        count, frame["recency"] = self._draw(p, born, span, rng)
        frame["frequency"] = count
        # the purchases before the last one lie uniformly in the time of the clock
        began, ended = (
            clock.read(self._instants(track, day, "a history"))
            for day in (start, start + frame["recency"].to_numpy() * clock.days)
        )
        customer = np.repeat(np.arange(n), np.maximum(count - 1, 0).astype(np.intp))
        moment = began[customer] + rng.random(len(customer)) * (ended - began)[customer]
        lasting = np.flatnonzero(count > 0)
        who, shown = np.append(customer, lasting), np.append(moment, ended[lasting])
        sums = path.at_purchases(who, track[who], clock.when(track[who], shown), n)
        return _with_attrs(frame.assign(**sums), frame)


def _with_attrs(frame: pd.DataFrame, source: pd.DataFrame) -> pd.DataFrame:
    frame.attrs = dict(source.attrs)
    return frame
