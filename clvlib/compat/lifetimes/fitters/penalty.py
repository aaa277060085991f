"""What is taken off a log-likelihood so that parameters stay small, or on one side of a wall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Penalty
from clvlib.clv.optimise import Derivatives

__all__ = ["ridge", "wall"]

Array = NDArray[np.float64]


def ridge(coefficient: float, *, per_customer: bool) -> Penalty:
    """Return ``coefficient`` times the sum of squared parameters, for the mean log-likelihood or for the sum."""

    def penalty(theta: Array, cells: Cells) -> Derivatives:
        squares = coefficient * (cells.customers if per_customer else 1.0) * np.exp(2 * theta)
        return float(squares.sum()), 2 * squares, np.diag(4 * squares)

    return penalty


def wall(position: int) -> Penalty:
    """Return a parabola that begins where the parameter at ``position`` falls to 1, and that nothing climbs."""

    def penalty(theta: Array, cells: Cells) -> Derivatives:
        inside = min(theta[position], 0.0)
        slope, steepness = np.zeros(len(theta)), 1e6 * cells.customers
        bend = np.zeros((len(theta), len(theta)))
        slope[position], bend[position, position] = 2 * steepness * inside, 2 * steepness * (inside < 0)
        return steepness * inside**2, slope, bend

    return penalty
