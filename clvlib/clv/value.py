"""Customer lifetime value: purchases × spend × margin, discounted, with intervals for customers, groups, the base."""

# ruff: noqa: SLF001 - value stands on the machinery of the models, below what users see

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.cells import Cells, periods_per_year, unit_of
from clvlib.clv.compound import Compound
from clvlib.clv.models.base import check_level, normal_quantile
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.purchases import PurchaseModel, Uncertainty, check_uncertainty, combine, total_interval
from clvlib.errors import ParameterError, ThinDataWarning
from clvlib.words import tr

__all__ = ["LifetimeValue", "Parts"]

Array = NDArray[np.float64]

_LEAST_FREEDOM = 2.1  # a spend distribution without a variance is given that of this many degrees of freedom


@dataclass(frozen=True)
class Parts:
    """What values are made of: per history (first group) and per row of the summary (second group)."""

    model: PurchaseModel
    paying: GammaGammaModel
    cells: Cells
    purchases: Array  # expected within the horizon, or its stand-in
    discount: Array  # present value of one of them
    horizon: float
    x: Array
    money: Array  # mean of repeat purchases so far
    spend: Array  # expected spend
    scale: Array  # γ + x·m: the row's scale of spend (where it depends on x, that γ is its own)

    @cached_property
    def often(self) -> list[Array]:
        """Expected purchases per history under each point of the estimates' distribution."""
        return [self.model._expected_cells(p, self.cells, self.horizon) for p in self.model._points()]

    @cached_property
    def much(self) -> list[Array]:
        """Expected spend per row under each point of the estimates' distribution."""
        return self.paying._means(self.x, self.money)

    @cached_property
    def chance(self) -> Array:
        """The variance of W, the sum of spend in units of γ + x·m, of one customer of each history."""
        shape, q = self.paying._p()[:2]
        freedom = q + shape * self.cells["frequency"]
        if (freedom <= 2).any():
            warnings.warn(
                tr(
                    "q = {q:.3g}: the variance of spend does not exist for customers with few purchases; the interval "
                    "of the total uses a lighter tail and is too narrow on its upper side",
                    q=q,
                ),
                ThinDataWarning,
                stacklevel=5,
            )
            freedom = np.maximum(freedom, _LEAST_FREEDOM)
        mean, square = self.model._moments(self.model._p(), self.cells, self.horizon)  # of the number of purchases
        first = shape * mean / (freedom - 1)
        second = (shape * mean + shape**2 * square) / ((freedom - 1) * (freedom - 2))
        return np.asarray(np.maximum(second - first**2, 0.0))

    def quantiles(self, *probabilities: float) -> list[Array]:
        """Return quantiles of W per history: given n purchases W is a beta prime (p·n, q + p·x) variable."""
        shape, q = self.paying._p()[:2]
        return Compound(self.model, self.cells, self.horizon, float(shape), float(q)).quantiles(probabilities)


class LifetimeValue:
    """Value of customers over a coming span: expected purchases × expected spend × margin, discounted.

    Parameters
    ----------
    purchases : PurchaseModel
        A fitted purchase model.
    spend : GammaGammaModel
        A fitted spend model; :class:`DependentGammaGammaModel` is one.
    margin : float
        Share of spend that is kept, above 0 up to 1.
    annual_rate : float
        Effective annual discount rate from 0 to 1, e.g. 0.15; it is compounded continuously whatever the time unit.
    unit : str, optional
        Time unit of the summary, when neither the summary nor the purchase model says it.

    Examples
    --------
    >>> from clvlib.clv.models.beta_geo import BetaGeoModel
    >>> m = BetaGeoModel.with_parameters({"r": .2426, "alpha": 4.4136, "a": .7929, "b": 2.4259}, unit="W")
    >>> g = GammaGammaModel.with_parameters({"p": 6.25, "q": 3.74, "gamma": 15.44})
    >>> who = pd.DataFrame({"frequency": [2], "recency": [30.43], "T": [38.86], "monetary_value": [22.35]}, index=["1"])
    >>> value = LifetimeValue(m, g, margin=0.3, annual_rate=0.15).predict(who, horizon=52, interval=None)
    >>> value.round(2).to_dict()
    {'1': 10.82}
    """

    def __init__(
        self,
        purchases: PurchaseModel,
        spend: GammaGammaModel,
        margin: float = 1.0,
        annual_rate: float = 0.1,
        unit: str | None = None,
    ) -> None:
        for name, model, kind in (("purchases", purchases, PurchaseModel), ("spend", spend, GammaGammaModel)):
            if not isinstance(model, kind):
                raise ParameterError(f"{name} is a {kind.__name__}; found {type(model).__name__}")
        if not 0 < margin <= 1:
            raise ParameterError(f"margin is a share of spend, above 0 up to 1; found {margin}")
        if not 0 <= annual_rate <= 1:
            raise ParameterError(f"annual_rate is a share per year, such as 0.15 for 15%; found {annual_rate}")
        self.purchases, self.spend = purchases, spend
        self.margin, self.annual_rate, self.unit = margin, annual_rate, unit

    def predict(
        self,
        summary: pd.DataFrame,
        horizon: float | None,
        interval: float | None = 0.9,
        uncertainty: Uncertainty = "both",
    ) -> pd.DataFrame | pd.Series:
        """Return the value of each customer.

        Parameters
        ----------
        summary : pandas.DataFrame
            frequency, recency, T, monetary_value by customer_id.
        horizon : float or None
            Span in the summary's time unit; None: all the future.
        interval : float or None
            Level of the interval; None: no interval.
        uncertainty : {"both", "parameters", "customer"}
            Whether the interval holds the uncertainty of both models' parameters, the customer's own randomness
            (whether, how often and for how much he buys), or both.

        Returns
        -------
        pandas.DataFrame or pandas.Series
            mean, lower, upper in the currency; without interval the means alone.
        """
        return self.each(self.parts(summary, horizon), interval, uncertainty)

    def each(
        self, parts: Parts, interval: float | None = 0.9, uncertainty: Uncertainty = "both"
    ) -> pd.DataFrame | pd.Series:
        """Return what :meth:`predict` does, from parts that serve several questions."""
        expand, index = parts.cells.expand, parts.cells.index
        mean = self.margin * expand(parts.purchases * parts.discount) * parts.spend
        if interval is None:
            return pd.Series(mean, index=index, name="value")
        check_level(interval)
        check_uncertainty(uncertainty)
        own = known = (mean, mean)
        if uncertainty != "parameters":
            worth = self.margin * parts.scale
            low, high = parts.quantiles((1 - interval) / 2, (1 + interval) / 2)
            own = (worth * expand(parts.discount * low), worth * expand(parts.discount * high))
        if uncertainty != "customer":
            often, much = _log_spread(parts.often), _log_spread(parts.much)
            width = normal_quantile(interval) * np.hypot(expand(often), much)
            known = (mean * np.exp(-width), mean * np.exp(width))
        lower, upper = combine(mean, own, known)
        return pd.DataFrame({"mean": mean, "lower": lower, "upper": upper}, index=index)

    def new_customer(
        self, horizon: float | None, interval: float = 0.9, uncertainty: Uncertainty = "both"
    ) -> pd.Series:
        """Return what a customer who just bought for the first time is worth from then on: mean, lower, upper.

        What the first purchase itself earned is not part of it. Parameters are as in :meth:`predict`.
        """
        row = pd.DataFrame({"frequency": [0], "recency": 0.0, "T": 0.0, "monetary_value": 0.0}, index=["new customer"])
        return pd.DataFrame(self.predict(row, horizon, interval, uncertainty)).iloc[0]

    def total(
        self,
        summary: pd.DataFrame,
        horizon: float | None,
        interval: float = 0.9,
        by: pd.Series | None = None,
        uncertainty: Uncertainty = "both",
    ) -> pd.DataFrame:
        """Return the value of the whole base, or of groups of customers, with intervals.

        Parameters
        ----------
        summary, horizon, interval, uncertainty
            As in :meth:`predict`. Chance evens out between customers, the uncertainty of the parameters does not.
        by : pandas.Series, optional
            A group per customer, indexed as the summary.

        Returns
        -------
        pandas.DataFrame
            A row per group (one row "all" without groups): customers, mean, lower, upper.
        """
        return self.sums(self.parts(summary, horizon), interval, by, uncertainty)

    def sums(
        self,
        parts: Parts,
        interval: float = 0.9,
        by: pd.Series | None = None,
        uncertainty: Uncertainty = "both",
        model_error: float = 0.0,
    ) -> pd.DataFrame:
        """Return what :meth:`total` does, from parts that serve several questions.

        Intervals that hold the uncertainty of the parameters also hold that the models themselves err, by a relative
        deviation of ``model_error`` (:func:`clvlib.clv.misses.model_error`), in which all customers share.
        """
        check_uncertainty(uncertainty)
        expand, rows = parts.cells.expand, parts.cells.rows
        codes, names = _groups(parts.cells.index, by)

        def sums(values: Array) -> Array:
            return np.bincount(codes, weights=values, minlength=len(names)).astype(float)

        worth = self.margin * rows * expand(parts.discount)
        mean = sums(worth * expand(parts.purchases) * parts.spend)
        variance, spread = np.zeros(len(names)), np.zeros(len(names))
        if uncertainty != "parameters":
            chance = (self.margin * expand(parts.discount) * parts.scale) ** 2 * expand(parts.chance)
            variance = sums(rows * chance)
        if uncertainty != "customer":
            often = [sums(worth * parts.spend * expand(expected)) for expected in parts.often]
            much = [sums(worth * expand(parts.purchases) * spend) for spend in parts.much]
            spread = np.sqrt(_log_spread(often) ** 2 + _log_spread(much) ** 2 + model_error**2)
        limits = [total_interval(*group, interval) for group in zip(mean, variance, spread, strict=True)]
        table = pd.DataFrame(limits, index=pd.Index(names, name="group"))
        table.insert(0, "customers", sums(rows))
        return table

    def _rate(self, summary: pd.DataFrame) -> float:
        """Return the continuous discount rate per time unit of the summary."""
        unit = unit_of(summary) or self.purchases.unit_ or (self.unit or "")
        if self.annual_rate == 0:
            return 0.0
        return float(np.log1p(self.annual_rate)) / periods_per_year(unit)

    def parts(self, summary: pd.DataFrame, horizon: float | None) -> Parts:
        """Return what the values of customers and of groups are made of; arguments as in :meth:`predict`."""
        model = self.purchases
        cells, p = model._read(summary), model._p()
        rate = self._rate(summary)
        discounted = model._discounted(p, cells, rate, horizon)
        # with no end in sight the count of purchases within 1/rate, the mean age of discounted money, shapes chance
        span = horizon if horizon is not None else 1 / rate
        expected = model._expected_cells(p, cells, span)
        discount = np.divide(discounted, expected, out=np.zeros_like(expected), where=expected > 0)
        spend = self.spend.expected_spend(summary).to_numpy(dtype=float)
        x, m = (summary[name].to_numpy(dtype=float) for name in ("frequency", "monetary_value"))
        scale = self.spend._scale(self.spend._p(), x) + x * m
        return Parts(model, self.spend, cells, expected, discount, span, x, m, spend, scale)


def _log_spread(values: list[Array]) -> Array:
    """Return the standard deviation of the log over points of equal weight."""
    return np.asarray(np.log(np.maximum(values, 1e-300)).std(axis=0))


def _groups(index: pd.Index, by: pd.Series | None) -> tuple[NDArray[np.intp], pd.Index]:
    if by is None:
        return np.zeros(len(index), dtype=np.intp), pd.Index(["all"])
    if not isinstance(by, pd.Series):
        raise ParameterError(f"by is a pandas.Series, a group per customer, indexed as the summary; found {by!r:.60}")
    groups = by.reindex(index)
    codes, names = pd.factorize(groups, sort=True)
    if (codes < 0).any():
        raise ParameterError(f"by names no group for {int((codes < 0).sum()):,} of {len(codes):,} customers")
    return codes, names
