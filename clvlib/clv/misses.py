"""What forecasts from past days missed, and how much wider that makes the interval of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clvlib.clv.trials import Trial
from clvlib.words import mark, tr

__all__ = ["Misses", "misses"]

Array = NDArray[np.float64]


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
    square : float
        Mean square of log(actual / forecast), less what chance between customers makes of it; may be negative.
    """

    origins: int
    high: int
    bias: float
    days: int
    apart: float
    square: float

    def spread(self, estimated: Array) -> Array:
        """Return the relative deviation of forecasts like these, from that which estimation alone would give.

        The variance that the covariance of the estimates promises counts as one forecast more beside those seen; it is
        never lowered.

        >>> Misses(4, 3, 0.1, 91, 2.0, 0.04).spread(np.array([0.1, 0.3])).round(3).tolist()
        [0.173, 0.3]
        """
        own = np.square(estimated)
        return np.asarray(np.sqrt(np.maximum(own, (own + self.apart * self.square) / (1 + self.apart))))

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
    on, forecast, actual, square = [], [], [], []
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
            square.append(np.log(spent / total) ** 2 - float(((came - expected) ** 2).sum()) / total**2)
    if not on:
        return None
    high = sum(said > was for said, was in zip(forecast, actual, strict=True))
    apart = min(float(len(on)), 1 + (on[-1] - on[0]).days / days)
    return Misses(len(on), high, sum(forecast) / sum(actual) - 1, days, apart, float(np.mean(square)))
