"""Gamma-Gamma in which customers who buy more often may spend more, or less, each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Border
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.optimise import Derivatives

__all__ = ["DependentGammaGammaModel"]

Array = NDArray[np.float64]

_ALIKE = "repeat buyers hardly differ in how often they bought; GammaGammaModel suffices"


class DependentGammaGammaModel(GammaGammaModel):
    """Gamma-Gamma model whose scale of spend changes with the number of purchases.

    As :class:`GammaGammaModel`, but ν of a customer with x repeat purchases is Gamma(q, γ d^log₂x): whoever has twice
    as many spends d times as much on each. d = 1 is independence and the plain model; whether it holds, and whether it
    matters, says :func:`clvlib.clv.independence.independence`.

    Expected spend is that of a customer who has bought as often as he has by now. Coming purchases will raise x, but
    what they may then say of him is not known yet, so x stays as observed. A customer without a repeat purchase is
    taken for one who is about to make his first: x = 1.

    Parameters are learned by ``fit``: p, q, gamma (in the currency, where x = 1), d.

    Examples
    --------
    >>> import pandas as pd
    >>> model = DependentGammaGammaModel.with_parameters({"p": 6.0, "q": 4.0, "gamma": 15.0, "d": 1.1})
    >>> people = pd.DataFrame({"frequency": [0, 1, 4, 4000], "monetary_value": [0.0, 30.0, 30.0, 30.0]})
    >>> model.expected_spend(people).round(2).tolist()
    [30.0, 30.0, 30.7, 30.01]
    """

    _names = ("p", "q", "gamma", "d")
    _borders = (
        Border({"gamma": 1, "d": -1}, _ALIKE),
        Border({"gamma": -1, "d": 1}, _ALIKE),
        Border({"d": 1}, _ALIKE),
        Border({"d": -1}, _ALIKE),
        *GammaGammaModel._borders,  # noqa: SLF001 - the parent's
    )

    def _scale(self, p: Array, x: Array) -> Array | float:
        return np.asarray(p[2] * p[3] ** _doublings(x))

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        # spend in units of d^z is plain Gamma-Gamma, and ln d acts on a customer as ln γ does, z times as strongly
        gamma, d = p[2:]
        z, m, w = _doublings(cells["frequency"]), cells["monetary_value"], cells.weight
        columns = {**cells.columns, "monetary_value": m / d**z}
        (value, first, second), once, twice = (
            super(DependentGammaGammaModel, self)._derivatives(p[:3], replace(cells, columns=columns, weight=weight))
            for weight in (w, w * z, w * z**2)
        )
        slope = gamma / d * once[1][2]
        cross = gamma / d * once[2][2] + np.array([0.0, 0.0, once[1][2] / d])
        bend = (gamma * twice[1][2] + gamma**2 * twice[2][2, 2]) / d**2 - slope / d
        hessian = np.block([[second, cross[:, None]], [cross, bend]])
        return value - float(w @ z * np.log(d)), np.append(first, slope), hessian

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        return [(*start, 1.0) for start in super()._starts(cells)]


def _doublings(x: Array) -> Array:
    """Return log₂ of the repeat purchases, of which everybody is taken to make one."""
    return np.log2(np.maximum(x, 1.0))
