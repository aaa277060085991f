"""Who may be contacted with what: small declarative rules, each with its window of time and its reason."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from clvlib.errors import MissingColumnError, ParameterError
from clvlib.words import tr, trn

__all__ = ["RULES", "AfterOrder", "Known", "Rule", "Scored", "Silent"]

_LETTERS = {"rcv"}  # scores whose names are letters that stand for words


class Known(NamedTuple):
    """What is known at the end of the report week.

    ``customers``: by customer_id, the first and the last purchase (``first``, ``last``); ``value`` and ``risk``: frames
    by customer_id; ``start``: the moment at which the week to plan begins.
    """

    customers: pd.DataFrame
    value: pd.DataFrame
    risk: pd.DataFrame | None
    start: pd.Timestamp


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """What all rules share.

    Attributes
    ----------
    action : str
        Its name, as in the table of contacts.
    channel : str
        How it is sent; empty: as most often so far.
    cost : float, optional
        Of one contact; without one, the mean of those sent so far by the channel, else by any, or 0.
    assumed : float
        Extra buyers per contact, until it has been measured against a hold-out.
    most : int
        So many contacts by this action at most within ``most_days``; 0: as many as the other rules allow.
    most_days : int
    """

    action: str
    channel: str = ""
    cost: float | None = None
    assumed: float = 0.01
    most: int = 0
    most_days: int = 30

    def __post_init__(self) -> None:
        if not self.action:
            raise ParameterError("an action has a name")
        if self.cost is not None and not (np.isfinite(self.cost) and self.cost >= 0):
            raise ParameterError(f"{self.action}: a contact costs nothing or more; found {self.cost}")
        if self.most < 0 or self.most_days < 1 or not -1 < self.assumed < 1:
            raise ParameterError(
                f"{self.action}: most is 0 or more, most_days at least 1, assumed a difference of shares; found "
                f"{self.most}, {self.most_days}, {self.assumed}"
            )

    @abstractmethod
    def candidates(self, known: Known) -> pd.DataFrame:
        """Return by customer_id: ``since`` (what it answers to), ``earliest``, ``deadline`` and ``fact``."""

    @abstractmethod
    def reason(self, fact: Any) -> str:
        """Say why a customer is a candidate."""


@dataclass(frozen=True, kw_only=True)
class AfterOrder(Rule):
    """Within hours after an order: the first one of a customer, or his last.

    Attributes
    ----------
    order : {"first", "last"}
    from_hours, to_hours : float
        The time after the order in which the contact is to be made.
    """

    order: Literal["first", "last"] = "last"
    from_hours: float = 0.0
    to_hours: float = 24.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in {"first", "last"} or not 0 <= self.from_hours < self.to_hours:
            raise ParameterError(
                f"{self.action}: after the 'first' or the 'last' order, from fewer hours to more; found "
                f"{self.order!r}, {self.from_hours}, {self.to_hours}"
            )

    def candidates(self, known: Known) -> pd.DataFrame:
        """Return those whose window overlaps the week."""
        since = known.customers[self.order]
        frame = pd.DataFrame({"since": since, "fact": since.dt.normalize()})
        begin, end = known.start, known.start + pd.Timedelta(days=7)
        first, last = (since + pd.Timedelta(hours=hours) for hours in (self.from_hours, self.to_hours))
        frame["earliest"], frame["deadline"] = first.where(first > begin, begin), last.where(last < end, end)
        return frame[frame["earliest"] < frame["deadline"]]

    def reason(self, fact: Any) -> str:
        """Name the day of the order."""
        if self.order == "first":
            return tr("First order on {day:%Y-%m-%d}", day=fact)
        return tr("Order on {day:%Y-%m-%d}", day=fact)


@dataclass(frozen=True, kw_only=True)
class Silent(Rule):
    """Customers whose last order is some time ago.

    Attributes
    ----------
    from_days, to_days : float
        Days without an order.
    """

    from_days: float = 45
    to_days: float = 180

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.from_days < self.to_days:
            raise ParameterError(f"{self.action}: from fewer days to more; found {self.from_days} to {self.to_days}")

    def candidates(self, known: Known) -> pd.DataFrame:
        """Return those who have been silent for so long when the week begins."""
        days = (known.start - known.customers["last"]).dt.total_seconds() / 86_400
        days = days[(days >= self.from_days) & (days < self.to_days)]
        return _any_time(days.astype(int), known.start)

    def reason(self, fact: Any) -> str:
        """Name the days of silence."""
        return trn("No order for {n:,} day", "No order for {n:,} days", int(fact))


@dataclass(frozen=True, kw_only=True)
class Scored(Rule):
    """Customers with a high score: VIPs by RCV or value, those at risk by their risk.

    Attributes
    ----------
    frame : {"value", "risk"}
        Which of the frames passed in has the score.
    column : str
    least : float, optional
        The score from which a customer counts.
    top : float, optional
        Or the share of customers with the highest scores who do.
    because : str
        The column that says why, in words; empty, or absent from the frame: the score itself is the reason.
    """

    frame: Literal["value", "risk"] = "value"
    column: str = "value"
    least: float | None = None
    top: float | None = None
    because: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frame not in {"value", "risk"} or (self.least is None) == (self.top is None):
            raise ParameterError(
                f"{self.action}: the frame is 'value' or 'risk', with either least or top; found {self.frame!r}, "
                f"{self.least}, {self.top}"
            )
        if self.top is not None and not 0 < self.top <= 1:
            raise ParameterError(f"{self.action}: top is a share of customers; found {self.top}")

    def candidates(self, known: Known) -> pd.DataFrame:
        """Return those with the score; nobody where the frame was not passed in."""
        frame = known.value if self.frame == "value" else known.risk
        if frame is None:
            return _any_time(pd.Series(dtype=float), known.start)
        if self.column not in frame:
            raise MissingColumnError(
                f"{self.action}: the frame of {self.frame} has no column {self.column}; it has "
                f"{', '.join(map(str, frame.columns))}"
            )
        score = frame[self.column].astype(float).dropna()
        if self.least is not None:
            chosen = score[score >= self.least]
        else:
            ranked = score.sort_index(kind="stable").sort_values(ascending=False, kind="stable")
            chosen = ranked.head(int(np.ceil(float(self.top or 0) * len(ranked))))
        fact = frame.loc[chosen.index, self.because] if self.because in frame else chosen
        return _any_time(fact, known.start)

    def reason(self, fact: Any) -> str:
        """Name the score, or say what the frame says."""
        if isinstance(fact, str):
            return tr(fact)
        name = self.column.replace("_", " ")
        score = tr(name.upper() if name in _LETTERS else name.capitalize())
        return tr("{score}: {value:,.2f}", score=score, value=float(fact))


RULES: tuple[Rule, ...] = (
    AfterOrder(action="thank_you_24h", order="first", to_hours=24),
    AfterOrder(action="coupon_48h", from_hours=48, to_hours=168),
    Silent(action="sleeping_message", from_days=45, to_days=90, most=2),
    Scored(action="vip_service", frame="value", column="value", top=0.05, most=1),
    Scored(action="win_back", frame="risk", column="risk", least=0.5, because="reason", most=1),
)


def _any_time(fact: pd.Series, start: pd.Timestamp) -> pd.DataFrame:
    """Return candidates who may be contacted at any time of the week."""
    frame = pd.DataFrame({"since": pd.NaT, "fact": fact}, index=fact.index)
    frame["since"] = frame["since"].astype("datetime64[us]")
    return frame.assign(earliest=start, deadline=start + pd.Timedelta(days=7))


def within_hours(frame: pd.DataFrame, quiet: tuple[float, float] | None) -> pd.DataFrame:
    """Move ``earliest`` behind quiet hours and ``deadline`` before them; leave out for whom no time is left."""
    if quiet is None:
        return frame[frame["earliest"] < frame["deadline"]]
    begin, end = quiet
    if not (0 <= begin < 24 and 0 <= end < 24 and begin != end):
        raise ParameterError(f"quiet hours begin and end between 0 and 24, such as (22, 9); found {quiet}")
    moved = frame.assign(
        earliest=_moved(frame["earliest"], begin, end, lambda hour: np.where(hour < end, 0, 1), end),
        deadline=_moved(frame["deadline"], begin, end, lambda hour: np.where(hour < begin, -1, 0), begin),
    )
    return moved[moved["earliest"] < moved["deadline"]]


def _moved(
    times: pd.Series, begin: float, end: float, days: Callable[[np.ndarray], np.ndarray], to: float
) -> pd.Series:
    """Move the times that lie in quiet hours to an hour of the day, or of one beside it."""
    day = times.dt.normalize()
    hour = ((times - day) / pd.Timedelta(hours=1)).to_numpy()
    late, early = hour >= begin, hour < end
    quiet = (late | early) if begin > end else (late & early)
    shift = pd.to_timedelta(days(hour), unit="D") if begin > end else pd.to_timedelta(np.zeros(len(hour)), unit="D")
    there = day + shift + pd.Timedelta(hours=to)
    return times.where(~quiet, there)


def week_start(as_of: dt.date) -> pd.Timestamp:
    """Return the moment after the last day that is known."""
    return pd.Timestamp(as_of) + pd.Timedelta(days=1)
