"""NBD: purchases at a gamma rate, and nobody ever leaves. The baseline that shows what dropout adds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.cells import Cells
from clvlib.clv.models.purchases import RATE_BORDERS, PurchaseModel
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import counts_up, log_rising, rising_slope

__all__ = ["NBDModel", "arrivals_tail", "rate_derivatives", "rate_log_likelihood"]

Array = NDArray[np.float64]


Histogram = tuple[Array, NDArray[np.intp], Array]


def rate_log_likelihood(r: float, alpha: float, x: Array, T: Array, histogram: Histogram | None = None) -> Array:
    """Return ln of Γ(r + x)/Γ(r) · α^r / (α + T)^(r + x): purchases at a rate λ ~ Gamma(r, α) until T.

    With ``cells.histogram`` what depends on x alone is computed once per distinct x.
    """
    levels, code = (x, slice(None)) if histogram is None else histogram[:2]
    # −r ln(1 + T/α) − x ln(α + T), which loses nothing when r and α are both large
    alone = np.asarray(log_rising(r, levels) - levels * np.log(alpha))
    return np.asarray(alone[code] - (r + x) * np.log1p(T / alpha))


def rate_derivatives(
    r: float, alpha: float, x: Array, T: Array, w: Array, histogram: Histogram | None = None
) -> Derivatives:
    """Return the weighted sum of :func:`rate_log_likelihood`, its gradient and Hessian in r and α."""
    levels, mass = (x, w) if histogram is None else (histogram[0], histogram[2])
    end, grown, bought = 1 / (alpha + T), np.log1p(T / alpha), w * x
    pull = T * end / alpha  # −d log(1 + T/α) / dα
    mixed, rest = w @ pull, w @ grown
    value = mass @ (log_rising(r, levels) - levels * np.log(alpha)) - r * rest - bought @ grown
    gradient = np.array([mass @ rising_slope(r, levels) - rest, r * mixed - bought @ end])
    second = bought @ end**2 - r * (w @ (pull * (end + 1 / alpha)))
    return float(value), gradient, np.array([[mass @ rising_slope(r, levels, 2), mixed], [mixed, second]])


def arrivals_tail(n: Array, r: Array, z: Array) -> Array:
    """Return P(N ≥ n), n ≥ 1, of the purchases within t at a rate λ ~ Gamma(r, α), where z = t/(α + t).

    Rows of n that count up by one are sums of the chances of single counts, one after the other: all terms are
    positive, and there is one incomplete beta function to compute, not one for each row.
    """
    n, r, z = np.broadcast_arrays(n, r, z)
    if not counts_up(n):
        return np.asarray(special.betainc(n, r, z))
    tail = np.empty(n.shape)
    with np.errstate(divide="ignore"):
        log_first = log_rising(r[0], n[0]) - special.gammaln(n[0] + 1) + r[0] * np.log1p(-z[0]) + n[0] * np.log(z[0])
    tail[0], tail[-1] = np.exp(log_first), special.betainc(n[-1], r[-1], z[-1])
    tail[1:-1] = z[:-2] * (r[:-2] + n[:-2]) / n[1:-1]
    np.cumprod(tail[:-1], axis=0, out=tail[:-1])
    return np.asarray(np.minimum(np.cumsum(tail[::-1], axis=0)[::-1], 1.0))


class NBDModel(PurchaseModel):
    """NBD (Ehrenberg 1959; Fader & Hardie, note 012): purchases at rate λ ~ Gamma(r, α), for ever.

    Parameters are learned by ``fit``: r, alpha (in the time unit). Recency tells this model nothing.

    Examples
    --------
    >>> import pandas as pd
    >>> model = NBDModel.with_parameters({"r": 0.5, "alpha": 10.0})
    >>> customer = pd.DataFrame({"frequency": [2], "recency": [5.0], "T": [40.0]}, index=["1"])
    >>> model.expected_purchases(customer, horizon=50).to_dict()  # (r + x)/(α + T) · 50
    {'1': 2.5}
    """

    _poolable = True
    _names = ("r", "alpha")
    _borders = RATE_BORDERS

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        return rate_log_likelihood(float(p[0]), float(p[1]), cells["frequency"], cells["T"], cells.histogram)

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        r, alpha = p
        return rate_derivatives(r, alpha, cells["frequency"], cells["T"], cells.weight, cells.histogram)

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        rate = self._rate(cells)
        return [(0.5, 0.5 / rate), (3.0, 3.0 / rate), (0.1, 0.1 / rate)]

    def _onset(self, p: Array) -> float:
        return float(p[1])

    def _alive(self, p: Array, cells: Cells) -> Array:  # noqa: ARG002 - nobody leaves
        return np.ones(len(cells))

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        r, alpha = p
        return np.asarray((r + cells["frequency"]) / (alpha + cells["T"]) * horizon)

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        r, alpha = p
        return arrivals_tail(n, r + cells["frequency"], horizon / (alpha + cells["T"] + horizon))

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        r, alpha = p
        count = rng.poisson(rng.gamma(r + cells["frequency"], 1 / (alpha + cells["T"])) * horizon).astype(float)
        last = horizon * rng.random(len(cells)) ** (1 / np.maximum(count, 1))
        return count, np.where(count > 0, last, 0.0)
