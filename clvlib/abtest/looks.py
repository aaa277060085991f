"""How often a test is looked at, and what an ordinary p-value or level is worth at one of these looks.

A test that may be looked at repeatedly is an ordinary one with another critical value at each look. So every metric is
compared by its ordinary test, at the level that its look allows, and interval, p-value and verdict go on agreeing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from scipy import special

from clvlib.stats.sequential import anytime_alpha, anytime_p_value, boundaries, inflation, planned_p_value
from clvlib.words import mark

__all__ = ["LOOKS", "AnyTime", "Look", "Once", "Planned", "TooEarly", "price"]

LOOKS = (mark("once"), mark("weekly"), mark("any"))
TAKEN = 12  # looks that a plan reckons with: a quarter of weeks


class Look(Protocol):
    """One look at a test."""

    def p_value(self, p_value: float) -> float:
        """Turn an ordinary test's p-value into one that allows for the other looks."""
        ...

    def alpha(self, alpha: float) -> float:
        """Level of the ordinary test at this look when all looks together may err with ``alpha``."""
        ...


@dataclass(frozen=True)
class Once:
    """The only look: the ordinary test."""

    def p_value(self, p_value: float) -> float:
        """Return it as it is."""
        return p_value

    def alpha(self, alpha: float) -> float:
        """Return it as it is."""
        return alpha


@dataclass(frozen=True)
class TooEarly:
    """A look at so few people that whatever they show leaves nothing out."""

    def p_value(self, p_value: float) -> float:  # noqa: ARG002 - as for every look
        """Return 1."""
        return 1.0

    def alpha(self, alpha: float) -> float:  # noqa: ARG002 - as for every look
        """Return 0."""
        return 0.0


@dataclass(frozen=True)
class AnyTime:
    """One of any number of looks, by an asymptotic confidence sequence (Waudby-Smith et al. 2021).

    Attributes
    ----------
    n : float
        People of both arms at this look.
    tuned_to : float
        People of both arms at which the sequence is about tightest.
    tuned_alpha : float
        Level for which it is.
    """

    n: float
    tuned_to: float
    tuned_alpha: float

    def p_value(self, p_value: float) -> float:
        """Turn it into one that holds at any look."""
        return anytime_p_value(p_value, self.n, self.tuned_to, self.tuned_alpha)

    def alpha(self, alpha: float) -> float:
        """Level of the ordinary test with the sequence's critical value."""
        return anytime_alpha(alpha, self.n, self.tuned_to, self.tuned_alpha)


@dataclass(frozen=True)
class Planned:
    """The last of the looks so far at a test of planned size, by spending alpha (Lan & DeMets 1983).

    Attributes
    ----------
    fractions : sequence of float
        Share of the planned people at each look so far; the last may exceed 1.
    """

    fractions: Sequence[float]

    def p_value(self, p_value: float) -> float:
        """Smallest alpha under which the plan would reject now."""
        return planned_p_value(float(-special.ndtri(p_value / 2)), self.fractions)

    def alpha(self, alpha: float) -> float:
        """Level of the ordinary test with the boundary's critical value."""
        return float(2 * special.ndtr(-boundaries(self.fractions, alpha)[-1]))


@cache
def price(how: str, power: float, alpha: float) -> float:
    """Return how many times the people of a single look a test needs that is looked at in the way that ``how`` names.

    Examples
    --------
    >>> [round(price(how, 0.8, 0.05), 2) for how in LOOKS]
    [1.0, 1.04, 1.77]
    """
    if how == "once":
        return 1.0
    fractions = np.arange(1, TAKEN + 1) / TAKEN
    if how == "weekly":
        return inflation(boundaries(fractions, alpha), fractions, power, alpha)
    levels = np.array([anytime_alpha(alpha, float(fraction), 1.0, alpha) for fraction in fractions])
    return inflation(-special.ndtri(levels / 2), fractions, power, alpha)
