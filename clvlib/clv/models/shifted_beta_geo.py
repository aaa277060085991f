"""sBG: how long members stay, when every renewal is seen, as in a subscription or a paid membership."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Border, Estimator, normal_quantile, spans_of
from clvlib.clv.models.beta_pieces import beta_term
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import log_rising
from clvlib.errors import DataError, ParameterError
from clvlib.words import mark

__all__ = ["ShiftedBetaGeoModel"]

Array = NDArray[np.float64]


class ShiftedBetaGeoModel(Estimator):
    """Shifted beta-geometric model of contracts (Fader & Hardie 2007, How to project customer retention).

    At the end of every paid period a member leaves with probability θ ~ Beta(α, β).

    ``T`` is how many periods a member could have paid, ``recency`` how many were paid, both whole and at least 1.
    Recency below T says that the member left after that many periods, recency equal to T that he is still there.

    Parameters are learned by ``fit``: alpha, beta.

    Examples
    --------
    >>> model = ShiftedBetaGeoModel.with_parameters({"alpha": .6681, "beta": 3.8061})
    >>> model.survival([0, 1, 7]).round(3).tolist()
    [1.0, 0.851, 0.489]
    """

    _names: ClassVar[tuple[str, ...]] = ("alpha", "beta")
    _columns = ("recency", "T")
    _borders: ClassVar[tuple[Border, ...]] = (
        Border({"alpha": -1}, mark("nobody leaves; there is no churn to model")),
        Border({"beta": 1}, mark("nobody leaves; there is no churn to model")),
        Border({"alpha": -1, "beta": 1}, mark("nobody leaves; there is no churn to model")),
        Border({"alpha": 1}, mark("everybody leaves at the first chance")),
        Border({"beta": -1}, mark("everybody leaves at the first chance")),
        Border({"alpha": 1, "beta": -1}, mark("everybody leaves at the first chance")),
        Border({"alpha": 1, "beta": 1}, mark("one chance of leaving fits all members; a geometric tenure suffices")),
        Border({"alpha": -1, "beta": -1}, mark("members leave at the first chance or never; a fixed share suffices")),
    )

    def _check(self, cells: Cells) -> None:
        for name in ("recency", "T"):
            if (cells[name] != np.floor(cells[name])).any() or (cells[name] < 1).any():
                raise DataError(f"summary.{name}: sBG counts paid periods, so {name} is a whole number from 1 for all")

    @staticmethod
    def _events(cells: Cells) -> tuple[Array, Array]:
        """Return who left (1) or not (0), and how many renewals each made."""
        left = np.where(cells["recency"] < cells["T"], 1.0, 0.0)
        return left, cells["recency"] - 1

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        # eqs. 5 and 6: B(α + 1, β + t − 1)/B(α, β) for those who left, B(α, β + t)/B(α, β) for the others
        left, renewals = self._events(cells)
        alpha, beta = p
        return log_rising(alpha, left) + log_rising(beta, renewals) - log_rising(alpha + beta, left + renewals)

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        value, gradient, hessian = beta_term(float(p[0]), float(p[1]), *self._events(cells))
        w = cells.weight
        return float(w @ value), gradient @ w, hessian @ w

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        left, renewals = self._events(cells)
        share = max(float(cells.weight @ left), 0.5) / max(float(cells.weight @ (left + renewals)), 1.0)
        return [(1.0, max(1.0 / share - 1.0, 0.1)), (0.5, 0.5), (10.0, max(10.0 / share - 10.0, 1.0))]

    def survival(self, t: ArrayLike) -> Array:
        """Return S(t), the share of new members who renew at least t times."""
        p, time = self._p(), _periods(t)
        return np.exp(self._log_survival(p, np.zeros_like(time), time))

    def retention_rate(self, t: ArrayLike) -> Array:
        """Return r(t) = S(t)/S(t − 1), the share who renew the t-th time, if they can; (β + t − 1)/(α + β + t − 1)."""
        p, time = self._p(), _periods(t)
        return np.exp(self._log_survival(p, np.maximum(time - 1, 0.0), time))

    def probability_retained(
        self, summary: pd.DataFrame, horizon: float, interval: float | None = None
    ) -> pd.Series | pd.DataFrame:
        """Return the chance that each member renews throughout the horizon; 0 for those who left.

        Parameters
        ----------
        summary : pandas.DataFrame
            recency and T by customer_id.
        horizon : float
            Coming periods; the whole ones count.
        interval : float, optional
            Level of an interval for the uncertainty of the parameters.
        """
        cells = self._read(summary)
        periods = float(_periods(horizon))
        mean = self._retained(self._p(), cells, periods)
        if interval is None:
            return self._series(cells, mean, "probability_retained")
        values = [np.log(np.maximum(self._retained(p, cells, periods), 1e-300)) for p in self._points()]
        width = normal_quantile(interval) * np.std(values, axis=0)
        limits = {"mean": mean, "lower": mean * np.exp(-width), "upper": np.minimum(mean * np.exp(width), 1.0)}
        return pd.DataFrame({name: cells.expand(value) for name, value in limits.items()}, index=cells.index)

    def expected_periods(self, summary: pd.DataFrame, horizon: float, rate: float = 0.0) -> pd.Series:
        """Return the coming periods that each member is expected to pay, discounted at a rate per period.

        Fader & Hardie 2010 (Customer-base valuation in a contractual setting, eq. 7) with a horizon; the j-th renewal
        is j periods away.
        """
        cells = self._read(summary)
        if not np.isfinite(rate) or rate < 0:
            raise ParameterError(f"the discount rate is not negative; found {rate}")
        p = self._p()
        total = np.zeros(len(cells))
        for j in range(1, int(_periods(horizon)) + 1):
            total += np.exp(-rate * j) * self._retained(p, cells, float(j))
        return self._series(cells, total, "expected_periods")

    def _retained(self, p: Array, cells: Cells, periods: float) -> Array:
        left, renewals = self._events(cells)
        return np.where(left > 0, 0.0, np.exp(self._log_survival(p, renewals, renewals + periods)))

    def _log_survival(self, p: Array, since: Array, t: Array) -> Array:
        """Return ln S(t)/S(since)."""
        alpha, beta = p
        return np.asarray(log_rising(beta + since, t - since) - log_rising(alpha + beta + since, t - since))

    def _tenure(self, p: Array, chances: Array) -> Array:  # noqa: ARG002 - a chance to leave a period
        """Return after how many periods a member leaves who survives so many chances to leave."""
        return chances

    def simulate(self, n: int, T: ArrayLike, seed: int | np.random.Generator) -> pd.DataFrame:
        """Draw n new members who could have paid T periods: recency and T by customer_id."""
        p, span = self._p(), spans_of(n, T)
        rng = np.random.default_rng(seed)
        chance = np.clip(rng.beta(p[0], p[1], n), 1e-300, 1 - 1e-16)
        tenure = np.maximum(np.ceil(self._tenure(p, np.log1p(-rng.random(n)) / np.log1p(-chance))), 1.0)
        index = pd.Index([str(i) for i in range(n)], name="customer_id")
        frame = pd.DataFrame({"recency": np.minimum(tenure, span), "T": span}, index=index)
        frame.attrs["clvlib"] = {"unit": self.unit_}
        return frame


def _periods(t: ArrayLike) -> Array:
    time = np.floor(np.asarray(t, dtype=float))
    if not (np.isfinite(time).all() and (time >= 0).all()):
        raise ParameterError("a number of periods is finite and not negative")
    return np.asarray(time)
