"""One fitter for all models: damped Newton on log-parameters, several starts, an honest account of where it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Derivatives", "Objective", "Optimum", "flat_direction", "maximise", "newton"]

Array = NDArray[np.float64]
Derivatives = tuple[float, Array, Array]
Objective = Callable[[Array], Derivatives]

_NEAR = 1e-12  # of the log-likelihood: a step that promises less gain is the last
_DRIFT = 0.1  # a shorter way along a ridge is rounding, no drift
_FLAT = 0.04  # curvature below this: one standard error spans a factor e^5, the data do not hold the direction


@dataclass(frozen=True)
class Optimum:
    """Where a search ended.

    Attributes
    ----------
    theta : array
        Log-parameters.
    value, gradient, hessian : float, array, array
        Log-likelihood and its derivatives in the log-parameters there.
    settled : bool
        The gain that a further Newton step promises is negligible.
    flat : array or None
        Unit vector of the direction that the data do not hold, pointing the way the search was drifting, or naming the
        parameters when it drifted nowhere; None when the optimum is a proper one.
    """

    theta: Array
    value: float
    gradient: Array
    hessian: Array
    settled: bool
    flat: Array | None

    @property
    def proper(self) -> bool:
        """Whether it is a maximum, and the data hold it."""
        return self.settled and self.flat is None


def newton(objective: Objective, start: Array, lower: Array, upper: Array, passes: int = 200) -> Optimum:
    """Climb from one start inside a box by Newton steps, damped to a trust radius, saddle points repelling.

    Parameters
    ----------
    objective : callable
        Log-parameters to (value, gradient, Hessian).
    start, lower, upper : arrays
        Where to start, and the box.
    passes : int
        Give up after so many evaluations.
    """
    theta = np.clip(start, lower, upper)
    value, gradient, hessian = objective(theta)
    radius, settled = 2.0, False
    for _ in range(passes):
        step = _newton_step(theta, gradient, hessian, lower, upper)
        length = float(np.linalg.norm(step))
        step *= min(1.0, radius / length) if length > 0 else 0.0
        trial = np.clip(theta + step, lower, upper)
        step = trial - theta
        promised = float(gradient @ step + 0.5 * step @ hessian @ step)
        small = 1e-9 + 1e-14 * abs(value)
        if abs(float(gradient @ step)) < small + _NEAR * abs(value):
            settled = True
            break
        new = objective(trial)
        gain = new[0] - value
        if not np.isfinite(gain) or gain < -small:
            radius = 0.25 * float(np.linalg.norm(step))
            if radius < 1e-12:
                break
            continue
        if gain > 0.75 * promised:
            radius = min(8.0, max(radius, 2.0 * float(np.linalg.norm(step))))
        theta, (value, gradient, hessian) = trial, new
    flat = flat_direction(theta, start, hessian, lower, upper)
    if settled and flat is None:  # the last step is so short that the quadratic is exact: no need to look
        theta, value, gradient = trial, value + promised, gradient + hessian @ step
    return Optimum(theta, value, gradient, hessian, settled, flat)


def _newton_step(theta: Array, gradient: Array, hessian: Array, lower: Array, upper: Array) -> Array:
    """Return the Newton step with |eigenvalues|, in the coordinates that the box leaves free."""
    free = ~(((theta <= lower) & (gradient < 0)) | ((theta >= upper) & (gradient > 0)))
    step = np.zeros_like(theta)
    if free.any():
        values, vectors = np.linalg.eigh(-hessian[np.ix_(free, free)])
        floor = max(1e-12, 1e-14 * float(np.abs(values).max()))
        step[free] = vectors @ ((vectors.T @ gradient[free]) / np.maximum(np.abs(values), floor))
    return step


def flat_direction(theta: Array, start: Array, hessian: Array, lower: Array, upper: Array) -> Array | None:
    """Return the direction along which the likelihood is flat or the box was hit, or None.

    Towards a border the log-likelihood behaves as L∞ − c·exp(−θ): its curvature there equals the gap to the nested
    model, so a curvature below 0.04 says that the nested model fits as well to within a few hundredths of a nat.
    """
    outside = np.where(theta >= upper, 1.0, np.where(theta <= lower, -1.0, 0.0))
    if outside.any():
        return np.asarray(outside / np.linalg.norm(outside))
    values, vectors = np.linalg.eigh(-hessian)
    if values[0] >= _FLAT:
        return None
    plane = vectors[:, values < _FLAT]
    drift = plane @ (plane.T @ (theta - start))  # how far the search went where nothing held it
    length = float(np.linalg.norm(drift))
    if length > _DRIFT:
        return np.asarray(drift / length)
    return np.asarray(np.sqrt((plane**2).mean(axis=1)))  # a ridge: all that the data do not hold


def maximise(
    objective: Objective, starts: Sequence[Array], lower: Array, upper: Array, rough: Sequence[Objective] = ()
) -> Optimum:
    """Climb from every start and return the best end; with ``rough``, starts compete on cheaper objectives first.

    Parameters
    ----------
    objective, lower, upper
        As in :func:`newton`.
    starts : sequence of arrays
        The first is the model's own guess.
    rough : sequence of callables
        The objective on a small part of the data, on a larger one, and so on.
    """
    for part in rough:
        ends = [newton(part, start, lower, upper, passes=60) for start in starts]
        best = max(ends, key=lambda end: end.value)
        starts = [best.theta if best.flat is None else starts[0]]
    ends = [newton(objective, start, lower, upper) for start in starts]
    top = max(end.value for end in ends)
    near = [end for end in ends if end.value > top - 1e-6 - 1e-12 * abs(top)]
    return max(near, key=lambda end: (end.flat is None, end.settled, end.value))
