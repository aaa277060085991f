"""What is asked of an event log, in the terms that the kernel works with."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.errors import ParameterError

__all__ = ["EPOCH", "WEEK", "Attribution", "Ints", "Order", "Query", "moment"]

Ints = NDArray[np.int64]
Attribution = Literal["first", "last", "each", "step"]
Order = Literal["ordered", "strict", "any"]
EPOCH = pd.Timestamp(0)
WEEK = 7 * 86_400_000_000


@dataclass(frozen=True)
class Query:
    """What is asked of the event log, all times in microseconds since 1970, shop-local.

    Attributes
    ----------
    steps : tuple of str
        Event names in their order.
    window : int
        Longest time from the first step to the last, inclusive.
    unit : tuple of str
        Columns that say who walks: a person, or a person in a session.
    by : tuple of str
        Columns whose combinations are the segments.
    attribution : {"first", "last", "each", "step"}
        Which event says to which segment a unit belongs.
    starts : tuple of int or None
        Earliest and latest (exclusive) first step.
    cut : int or None
        End (exclusive) of what has been observed.
    exclude_open : bool
        Whether a start whose window is not over by ``cut`` is set aside.
    ties : bool
        Whether a step may come at the same time as the one before it.
    reentry : bool
        Whether the best start counts, rather than the first.
    order : {"ordered", "strict", "any"}
        Whether other events may come between the steps, and whether the steps may come in any order.
    optional : tuple of int
        Rows of ``steps`` that may be left out.
    gaps : tuple of int or None
        Per step, the longest time since the required step before it; empty without any.
    excluded : tuple of (str, tuple of int)
        Events that break a chain, and the steps before which they do.
    robot : int
        A unit with more events of one step than this is kept apart.
    """

    steps: tuple[str, ...]
    window: int
    unit: tuple[str, ...] = ("person_id",)
    by: tuple[str, ...] = ()
    attribution: Attribution = "first"
    starts: tuple[int | None, int | None] = (None, None)
    cut: int | None = None
    exclude_open: bool = True
    ties: bool = True
    reentry: bool = True
    order: Order = "ordered"
    optional: tuple[int, ...] = ()
    gaps: tuple[int | None, ...] = ()
    excluded: tuple[tuple[str, tuple[int, ...]], ...] = ()
    robot: int = 20_000

    @property
    def required(self) -> tuple[int, ...]:
        """Rows of ``steps`` that make up the chain."""
        return tuple(k for k in range(len(self.steps)) if k not in self.optional)

    @property
    def before(self) -> list[int]:
        """Per step, the row of the required step before it; the first stands for itself."""
        return [max((j for j in self.required if j < k), default=0) for k in range(len(self.steps))]

    @property
    def names(self) -> tuple[str, ...]:
        """The events that are looked at by name: a name's place here is its code."""
        return self.steps + tuple(name for name, _ in self.excluded)


def moment(value: Any, name: str, *, whole_day: bool = False) -> int:
    """Read a date or a time as microseconds since 1970; a day stands for its end when ``whole_day``.

    >>> moment("2026-11-15", "as_of", whole_day=True) - moment(dt.date(2026, 11, 15), "as_of") == 86_400_000_000
    True

    Raises
    ------
    ParameterError
        It is no date, or it carries a time zone.
    """
    try:
        stamp = pd.Timestamp(value)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name}: {value!r} is not a date or time; write it like 2026-11-15") from error
    if pd.isna(stamp):
        raise ParameterError(f"{name}: {value!r} is not a date or time; write it like 2026-11-15")
    if stamp.tzinfo is not None:
        raise ParameterError(f"{name}: {value!r} carries a time zone; give the shop's local time without one")
    if whole_day and stamp == stamp.normalize():
        stamp += pd.Timedelta(days=1)
    return _microseconds(stamp - EPOCH)


def _microseconds(delta: dt.timedelta) -> int:
    return int(pd.Timedelta(delta) // pd.Timedelta(microseconds=1))
