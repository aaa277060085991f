"""Gamma-Gamma: what a customer spends per purchase, shrunk towards what customers spend."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Border, Estimator, normal_quantile
from clvlib.clv.models.purchases import Uncertainty, combine
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import rising_slope
from clvlib.errors import EmptyDataError, ThinDataWarning
from clvlib.words import mark, tr

__all__ = ["GammaGammaModel"]

Array = NDArray[np.float64]


class GammaGammaModel(Estimator):
    """Gamma-Gamma model of spend (Fader, Hardie & Lee 2005, RFM and CLV; Fader & Hardie 2013, note 025).

    A purchase of a customer is worth Gamma(p, ν), ν varies between customers as Gamma(q, γ). Spend is taken to be
    independent of how often the customer buys.

    Only repeat buyers with a positive ``monetary_value`` (the mean of their repeat purchases) take part in the fit;
    predictions are for everybody. Parameters are learned by ``fit``: p, q, gamma (in the currency).

    Attributes
    ----------
    mean_spend_ : float
        Mean of the fitted customers' averages; it stands in where q ≤ 1 and the model has no mean.

    Examples
    --------
    >>> model = GammaGammaModel.with_parameters({"p": 6.25, "q": 3.74, "gamma": 15.44})
    >>> people = pd.DataFrame({"frequency": [2, 0], "monetary_value": [22.35, 0.0]}, index=["1", "3"])
    >>> model.expected_spend(people).round(1).to_dict()
    {'1': 24.7, '3': 35.2}
    """

    _names: ClassVar[tuple[str, ...]] = ("p", "q", "gamma")
    _columns = ("frequency", "monetary_value")
    _borders: ClassVar[tuple[Border, ...]] = (
        Border({"p": 1, "gamma": -1}, mark("each customer spends the same every time; the observed mean suffices")),
        Border({"p": 1}, mark("each customer spends the same every time; the observed mean suffices")),
        Border({"q": 1, "gamma": 1}, mark("all customers spend alike; one gamma distribution of spend suffices")),
        Border({"q": 1}, mark("all customers spend alike; one gamma distribution of spend suffices")),
        Border({"p": 1, "q": 1}, mark("everybody spends the same amount every time; a constant suffices")),
        Border({"p": 1, "q": 1, "gamma": 1}, mark("everybody spends the same amount every time; a constant suffices")),
    )
    mean_spend_: float

    def _usable(self, cells: Cells) -> Cells:
        usable = np.flatnonzero((cells["frequency"] > 0) & (cells["monetary_value"] > 0) & (cells.weight > 0))
        if not len(usable):
            text = mark("spend is learned from repeat buyers with a monetary_value above 0, and there is none")
            raise EmptyDataError(tr(text))
        chosen = cells.take(usable)
        self.mean_spend_ = chosen.mean("monetary_value")
        return chosen

    def _scale(self, p: Array, x: Array) -> Array | float:  # noqa: ARG002 - here it is one for all
        """Return γ of customers with x repeat purchases."""
        return float(p[2])

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        # note 025, eq. 1a; customers without a repeat purchase or without spend say nothing
        shape, q = p[:2]
        x, m = cells["frequency"], cells["monetary_value"]
        gamma = self._scale(p, x)
        telling = (x > 0) & (m > 0)
        x, m = np.where(telling, x, 1.0), np.where(telling, m, 1.0)
        px, spent = shape * x, x * m
        value = -special.betaln(px, q) - q * np.log1p(spent / gamma) - px * np.log1p(gamma / spent) - np.log(m)
        return np.where(telling, value, 0.0)

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        shape, q, gamma = p
        x, m, w = cells["frequency"], cells["monetary_value"], cells.weight
        levels, _, mass = cells.histogram
        pl = shape * levels
        bought, spent = w * x, x * m
        whole = 1 / (gamma + spent)
        share = spent * whole
        log_spent, rise = w @ np.log1p(spent / gamma), bought @ np.log1p(gamma / spent)
        shares, wholes = w @ share / gamma, bought @ whole
        first = mass @ (levels * rising_slope(pl, q)) - rise
        second = mass @ rising_slope(q, pl) - log_spent
        third = q * shares - shape * wholes
        pp = mass @ (levels**2 * rising_slope(pl, q, 2))
        pq = mass @ (levels * special.zeta(2, pl + q))
        qq = mass @ rising_slope(q, pl, 2)
        gg = shape * (bought @ whole**2) - q / gamma * (w @ (share * whole) + shares)
        hessian = np.array([[pp, pq, -wholes], [pq, qq, shares], [-wholes, shares, gg]])
        value = -mass @ special.betaln(pl, q) - q * log_spent - shape * rise - w @ np.log(m)
        return float(value), np.array([first, second, third]), hessian

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        mean = cells.mean("monetary_value")
        return [(4.0, 4.0, 0.75 * mean), (1.0, 2.0, mean), (20.0, 10.0, 0.45 * mean)]

    def _mean(self, p: Array, x: Array, m: Array) -> Array:
        """Return E[spend | history]; +∞ where the model has no mean."""
        shape, q = p[:2]
        freedom = shape * x + q - 1
        return np.where(freedom > 0, shape * (self._scale(p, x) + x * m) / np.where(freedom > 0, freedom, 1.0), np.inf)

    def _means(self, x: Array, m: Array) -> list[Array]:
        """Return E[spend | history] under each point of the estimates' distribution, the observed mean for none."""
        means, fallback = [self._mean(p, x, m) for p in self._points()], getattr(self, "mean_spend_", 1.0)
        return [np.asarray(np.where(np.isfinite(mean), mean, fallback), dtype=float) for mean in means]

    def _finite(self, mean: Array) -> Array:
        """Put the observed mean where the model has none, and say so."""
        lacking = ~np.isfinite(mean)
        if lacking.any():
            stand_in = getattr(self, "mean_spend_", None)
            if stand_in is None:
                raise EmptyDataError("with q ≤ 1 and no fitted customers this model has no mean spend to fall back on")
            warnings.warn(
                tr(
                    "q = {q:.3g}: spend has such a heavy tail that its mean does not exist for customers without "
                    "enough repeat purchases; the observed mean {mean:.4g} stands in for them",
                    q=self.params_["q"],
                    mean=stand_in,
                ),
                ThinDataWarning,
                stacklevel=4,
            )
            return np.where(lacking, stand_in, mean)
        return mean

    def expected_spend(
        self, summary: pd.DataFrame, interval: float | None = None, uncertainty: Uncertainty = "both"
    ) -> pd.Series | pd.DataFrame:
        """Return the mean spend per purchase that each customer is expected to show (note 025, eq. 5).

        Parameters
        ----------
        summary : pandas.DataFrame
            frequency and monetary_value by customer_id; customers without repeat purchase get the population mean.
        interval : float, optional
            Level of an interval for the customer's own mean.
        uncertainty : {"both", "parameters", "customer"}
            Whether it holds the uncertainty of the parameters, that about the customer given them, or both.

        Returns
        -------
        pandas.Series or pandas.DataFrame
            In the currency; with ``interval`` columns mean, lower, upper.

        Warns
        -----
        ThinDataWarning
            Where the model has no mean (q ≤ 1) and the observed one stands in.
        """
        cells = self._read(summary)
        x, m = cells["frequency"], cells["monetary_value"]
        mean = self._finite(self._mean(self._p(), x, m))
        if interval is None:
            return self._series(cells, mean, "expected_spend")
        own = known = (mean, mean)
        if uncertainty != "customer":
            width = normal_quantile(interval) * self._spread(x, m)
            known = (mean * np.exp(-width), mean * np.exp(width))
        if uncertainty != "parameters":
            p = self._p()
            shape, q = p[:2]
            rate = shape * (self._scale(p, x) + x * m)
            low, high = (1 - interval) / 2, (1 + interval) / 2
            own = tuple(rate / special.gammaincinv(q + shape * x, level) for level in (high, low))
        lower, upper = combine(mean, (own[0], own[1]), known)
        limits = {"mean": mean, "lower": lower, "upper": upper}
        return pd.DataFrame({name: cells.expand(value) for name, value in limits.items()}, index=cells.index)

    def simulate(self, frequency: ArrayLike, seed: int | np.random.Generator) -> pd.DataFrame:
        """Draw the spend of new customers from the model.

        Parameters
        ----------
        frequency : Series or array of n
            Repeat purchases of each.
        seed : int or numpy.random.Generator

        Returns
        -------
        pandas.DataFrame
            frequency and monetary_value by customer_id (that of a Series, else "0", "1", ...); 0 without a repeat
            purchase.
        """
        p, rng = self._p(), np.random.default_rng(seed)
        x = np.asarray(frequency, dtype=float)
        index = frequency.index if isinstance(frequency, pd.Series) else pd.Index([str(i) for i in range(len(x))])
        some = np.maximum(x, 1.0)
        spent = rng.gamma(p[0] * some) * self._scale(p, x) / np.maximum(rng.gamma(p[1], size=len(x)), 1e-300)
        columns = {"frequency": x, "monetary_value": np.where(x > 0, spent / some, 0.0)}
        return pd.DataFrame(columns, index=index.rename("customer_id"))

    def _spread(self, x: Array, m: Array) -> Array:
        """Return the standard deviation of log expected spend over the estimates' distribution."""
        values = self._means(x, m)
        return np.asarray(np.log(np.maximum(values, 1e-300)).std(axis=0))
