"""What forecasts from past days missed, and how much wider that makes the interval of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.trials import Trial
from clvlib.words import mark, tr

__all__ = ["USUAL", "Misses", "misses", "model_error"]

Array = NDArray[np.float64]

USUAL = 0.2  # relative deviation of a model's error in shops of which nothing is known yet
_ERRORS = 5 * USUAL * (np.arange(500) + 0.5) / 500  # a rule of midpoints
_CLOSEST = 0.01  # what was missed by less tells no more than that


class Misses(NamedTuple):
    """How forecasts of what all customers so far would spend turned out.

    Attributes
    ----------
    origins, high : int
        Past days, and those on which the forecast was too high.
    bias : float
        Mean error as a share of what came, above 0 where forecasts were too high.
    days : int
        How far ahead they looked.
    apart : float
        How many of them share no day: forecasts whose days overlap tell less.
    error : float
        Relative deviation of the model's own error; :func:`model_error`.
    """

    origins: int
    high: int
    bias: float
    days: int
    apart: float
    error: float

    @property
    def sentence(self) -> str:
        """To which side the forecasts leant."""
        text = mark(
            "Over {n} weeks the spend of the customers so far was forecast {bias:.1%} too high on average, and too "
            "high on {high} of {all} past days; the interval of the value allows for such errors."
        )
        if self.bias < 0:
            text = mark(
                "Over {n} weeks the spend of the customers so far was forecast {bias:.1%} too low on average, and too "
                "high on {high} of {all} past days; the interval of the value allows for such errors."
            )
        return tr(text, n=self.days // 7, bias=abs(self.bias), high=self.high, all=self.origins)


def misses(held: Sequence[Trial], name: str, days: int) -> Misses | None:
    """Return what a model's forecasts of the trials missed; None where nothing was forecast or came.

    Parameters
    ----------
    held : sequence of Trial
        In the order of their days.
    name : str
        Of the model.
    days : int
        How far ahead each looked.

    Notes
    -----
    Chance is what customers differ from their own forecasts: the sum of the squares of that is the variance of a total
    of independent customers.
    """
    on, forecast, actual, chance = [], [], [], []
    for each in held:
        made = each.forecasts[name]
        expected, came = made.mean, each.actual.astype(float)
        if made.spend is not None:
            expected, came = made.mean * made.spend, each.money
        total, spent = float(expected.sum()), float(came.sum())
        if total > 0 and spent > 0:
            on.append(each.day)
            forecast.append(total)
            actual.append(spent)
            chance.append(float(((came - expected) ** 2).sum()) / total**2)
    if not on:
        return None
    high = sum(said > was for said, was in zip(forecast, actual, strict=True))
    apart = min(float(len(on)), 1 + (on[-1] - on[0]).days / days)
    error = model_error(np.log(np.divide(actual, forecast)), chance, apart)
    return Misses(len(on), high, sum(forecast) / sum(actual) - 1, days, apart, error)


def model_error(missed: ArrayLike, chance: ArrayLike, apart: float) -> float:
    """Return by how much a model errs beyond chance and estimation: the relative deviation of its forecasts' error.

    A model is wrong in ways that its own intervals do not know: customers leave otherwise, a season comes, baskets
    grow. How far, differs between shops, so it is learnt from the shop's own record, beginning with what is usual.

    Parameters
    ----------
    missed : array
        log(actual / forecast) of past forecasts.
    chance : array
        Its variance by chance.
    apart : float
        How many independent forecasts they are worth.

    Returns
    -------
    float
        Root of the posterior mean of σ², where the misses are normal around 0 with variance σ² + chance, and σ is half
        normal with deviation ``USUAL`` beforehand (Gelman 2006). Their likelihood counts ``apart`` of them.

    Examples
    --------
    A shop without a record, one whose forecasts were good, one whose were bad:

    >>> [round(model_error(*record), 2) for record in (([], [], 0), ([0.01, 0.02], [0, 0], 2), ([0.4, 0.5], [0, 0], 2))]
    [0.2, 0.06, 0.36]
    """
    off, by_chance = (np.asarray(values, dtype=float)[:, None] for values in (missed, chance))
    variance = np.maximum(_ERRORS**2 + by_chance, _CLOSEST**2)
    likelihood = -(np.log(variance) + off**2 / variance).sum(axis=0) / 2 * apart / max(len(off), 1)
    weight = np.exp(likelihood - likelihood.max() - (_ERRORS / USUAL) ** 2 / 2)
    return float(np.sqrt(weight @ _ERRORS**2 / weight.sum()))
