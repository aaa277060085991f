"""BdW: how long members stay, when the chance of leaving may change with the time that each has stayed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Border
from clvlib.clv.models.shifted_beta_geo import ShiftedBetaGeoModel
from clvlib.clv.optimise import Derivatives
from clvlib.clv.special import log_rising, rising_slope
from clvlib.words import mark

__all__ = ["BetaDiscreteWeibullModel"]

Array = NDArray[np.float64]

_LARGEST = 600.0  # of ln t^c, so that t^c stays a number wherever a search may go


class BetaDiscreteWeibullModel(ShiftedBetaGeoModel):
    """Beta-discrete-Weibull model of contracts (Fader, Hardie, Liu, Davin & Steenburgh 2018).

    As :class:`ShiftedBetaGeoModel`, but a member with chance θ ~ Beta(α, β) renews at least t times with probability
    (1 − θ)^(t^c), so that S(t) = B(α, β + t^c)/B(α, β). With c above 1 each member's risk of leaving grows with the
    time that he has stayed, with c below 1 it falls; c = 1 is sBG.

    Parameters are learned by ``fit``: alpha, beta, c. Methods and columns are those of :class:`ShiftedBetaGeoModel`.

    Examples
    --------
    >>> model = BetaDiscreteWeibullModel.with_parameters({"alpha": .2593, "beta": 1.7225, "c": 1.5844})
    >>> model.retention_rate([1, 2, 3, 4]).round(3).tolist()
    [0.869, 0.854, 0.883, 0.906]
    """

    _names = ("alpha", "beta", "c")
    _borders = (
        Border(
            {"alpha": 1, "beta": 1}, mark("one chance of leaving fits all members; a discrete Weibull tenure suffices")
        ),
        Border({"alpha": -1, "beta": -1}, mark("members leave at the first chance or never; a fixed share suffices")),
        Border({"c": -1}, mark("members leave at the first chance or never; a fixed share suffices")),
        Border({"c": 1}, mark("hardly anybody renews twice; the share who renew once suffices")),
        Border({"alpha": -1, "c": 1}, mark("nobody leaves before some time, and then all do")),
        Border({"beta": 1, "c": 1}, mark("nobody leaves before some time, and then all do")),
        Border({"alpha": 1, "c": -1}, mark("members leave at the first chance or never; a fixed share suffices")),
        Border({"alpha": -1}, mark("nobody leaves; there is no churn to model")),
        Border({"beta": 1}, mark("nobody leaves; there is no churn to model")),
        Border({"alpha": 1}, mark("everybody leaves at the first chance")),
        Border({"beta": -1}, mark("everybody leaves at the first chance")),
        Border({"alpha": -1, "beta": 1}, mark("nobody leaves; there is no churn to model")),
        Border({"alpha": 1, "beta": -1}, mark("everybody leaves at the first chance")),
    )

    # B(α, β + τ)/B(α, β) = Γ(β + α)/Γ(β) · Γ(β + τ)/Γ(β + τ + α): in this form nothing is lost however large τ is

    def _log_survival(self, p: Array, since: Array, t: Array) -> Array:
        alpha, beta, c = p
        return np.asarray(log_rising(beta + _power(since, c), alpha) - log_rising(beta + _power(t, c), alpha))

    def _tenure(self, p: Array, chances: Array) -> Array:
        return np.asarray(np.exp(np.minimum(np.log(np.maximum(chances, 1e-300)) / p[2], _LARGEST)))

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        # S(t − 1) − S(t) for those who left after t periods, S(T − 1) for the others
        left, renewals = self._events(cells)
        stayed = self._log_survival(p, np.zeros_like(renewals), renewals)
        renews = np.minimum(self._log_survival(p, renewals, renewals + 1), -1e-300)
        return np.asarray(stayed + np.where(left > 0, np.log(-np.expm1(renews)), 0.0))

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        left, renewals = self._events(cells)
        stayed, stayed_bend = _survival_derivatives(p, renewals)
        later, later_bend = _survival_derivatives(p, renewals + 1)
        slope, bend = later - stayed, later_bend - stayed_bend  # of d = ln of the chance to renew once more
        renews = np.minimum(self._log_survival(p, renewals, renewals + 1), -1e-300)
        odds = np.exp(renews) / -np.expm1(renews)  # of renewing once more
        first = -left * odds  # the derivatives of ln(1 − e^d)
        second = first * (1 + odds)
        w = cells.weight
        gradient = (stayed + first * slope) @ w
        hessian = (stayed_bend + first * bend) @ w + np.einsum("im,jm->ij", slope * (second * w), slope)
        return float(w @ self._log_likelihood(p, cells)), gradient, hessian

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        return [(alpha, beta, c) for alpha, beta in super()._starts(cells) for c in (1.0, 2.0)]


def _power(t: Array, c: float) -> Array:
    """Return t^c, 0 for t = 0."""
    return np.where(t > 0, np.exp(np.minimum(c * np.log(np.maximum(t, 1.0)), _LARGEST)), 0.0)


def _survival_derivatives(p: Array, t: Array) -> tuple[Array, Array]:
    """Return gradient (3, m) and Hessian (3, 3, m) of ln S(t) in α, β and c."""
    alpha, beta, c = p
    tau, log_t = _power(t, c), np.log(np.maximum(t, 1.0))
    along, along2 = tau * log_t, tau * log_t**2  # of t^c in c
    whole, whole2 = rising_slope(alpha + beta, tau), rising_slope(alpha + beta, tau, 2)
    down, down2 = -rising_slope(beta + tau, alpha), -rising_slope(beta + tau, alpha, 2)  # of ln S in t^c
    rest = rising_slope(beta, tau) - whole
    mixed = -special.polygamma(1, alpha + beta + tau)
    gradient = np.stack([-whole, rest, down * along])
    hessian = np.stack(
        [
            np.stack([-whole2, -whole2, mixed * along]),
            np.stack([-whole2, rising_slope(beta, tau, 2) - whole2, down2 * along]),
            np.stack([mixed * along, down2 * along, down2 * along**2 + down * along2]),
        ]
    )
    return gradient, hessian
