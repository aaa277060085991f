"""ISO weeks, the rhythm of the report."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from clvlib.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Week", "as_date", "as_period", "week_span"]

_LABEL = re.compile(r"(\d{4})-?W(\d{2})")
_SPAN = re.compile(r"(?:(\d{4})-?)?W(\d{2})(?:\.\.(?:(\d{4})-?)?W(\d{2}))?")


@dataclass(frozen=True, order=True)
class Week:
    """An ISO week, Monday to Sunday, in the shop's time zone.

    Parameters
    ----------
    label : str
        Such as ``2026-W46``.

    Raises
    ------
    ParameterError
        The label is of another form, or that year has no such week.

    Examples
    --------
    >>> week = Week("2026-W46")
    >>> week.start.isoformat(), week.as_of.isoformat(), week.previous.label
    ('2026-11-09', '2026-11-15', '2026-W45')
    >>> Week("2026-W53").next.label
    '2027-W01'
    """

    label: str

    def __post_init__(self) -> None:
        match = _LABEL.fullmatch(self.label.strip().upper())
        if match is None:
            raise ParameterError(f"{self.label!r} is not an ISO week; write it like 2026-W46")
        year, number = int(match[1]), int(match[2])
        try:
            dt.date.fromisocalendar(year, number, 1)
        except ValueError:
            last = dt.date(year, 12, 28).isocalendar().week if year else 52
            raise ParameterError(f"the year {year} has weeks 01 to {last}, not {number:02d}") from None
        object.__setattr__(self, "label", f"{year}-W{number:02d}")

    @classmethod
    def containing(cls, day: dt.date) -> Week:
        """Return the week that holds ``day``."""
        year, number, _ = day.isocalendar()
        return cls(f"{year}-W{number:02d}")

    @property
    def start(self) -> dt.date:
        """Its Monday."""
        return dt.date.fromisocalendar(int(self.label[:4]), int(self.label[6:]), 1)

    @property
    def end(self) -> dt.date:
        """The Monday after it, so that ``start <= day < end``."""
        return self.start + dt.timedelta(days=7)

    @property
    def as_of(self) -> dt.date:
        """Its Sunday, the last day that a summary of this week looks at."""
        return self.start + dt.timedelta(days=6)

    def shift(self, weeks: int) -> Week:
        """Return the week ``weeks`` later (earlier where negative)."""
        return Week.containing(self.start + dt.timedelta(weeks=weeks))

    @property
    def previous(self) -> Week:
        """The week before."""
        return self.shift(-1)

    @property
    def next(self) -> Week:
        """The week after."""
        return self.shift(1)

    def __str__(self) -> str:
        return self.label


def week_span(text: str, latest: Week) -> list[Week]:
    """Read one week or several: ``2026-W46``, ``2026-W20..2026-W46``.

    Parameters
    ----------
    text : str
        What was asked for. A year that is left out is that of the other end, or else that of the last such week up to
        ``latest``.
    latest : Week
        The last week that the data reach.

    Raises
    ------
    ParameterError
        It is neither, ends before it begins, or there is no such week.

    Examples
    --------
    >>> [week.label for week in week_span("W52..W01", Week("2027-W10"))]
    ['2026-W52', '2026-W53', '2027-W01']
    >>> [week.label for week in week_span("2026-W45..W46", Week("2027-W10"))]
    ['2026-W45', '2026-W46']
    """
    match = _SPAN.fullmatch(text.strip().upper())
    if match is None:
        raise ParameterError(f"{text!r} is no week and no span of weeks; write it like 2026-W46 or 2026-W20..2026-W46")
    first_year, first, last_year, last = match.groups()
    end = _up_to(last_year or first_year, last, latest) if last else _up_to(first_year, first, latest)
    week = _up_to(first_year, first, end) if last else end
    if end < week:
        raise ParameterError(f"{text!r} ends before it begins")
    weeks = [week]
    while weeks[-1] < end:
        weeks.append(weeks[-1].next)
    return weeks


def _up_to(year: str | None, number: str, latest: Week) -> Week:
    """Return a week by its number: of that year, or the last such week up to ``latest``."""
    if year is not None:
        return Week(f"{year}-W{number}")
    for back in range(int(latest.label[:4]), int(latest.label[:4]) - 30, -1):
        try:
            week = Week(f"{back}-W{number}")
        except ParameterError:  # few years have a 53rd week
            continue
        if week <= latest:
            return week
    raise ParameterError(f"no year has a week {number}")


def as_date(value: str | dt.date | np.datetime64, name: str = "as_of") -> dt.date:
    """Read a day from text, a date or a timestamp.

    >>> as_date("2026-11-15")
    datetime.date(2026, 11, 15)

    Raises
    ------
    ParameterError
        It is none of these.
    """
    day: object = value.date() if isinstance(value, dt.datetime) else value  # pandas.Timestamp is one, too
    if isinstance(day, dt.date) and not isinstance(day, dt.datetime):  # pandas.NaT stays what it is
        return day
    import numpy as np  # not before it is needed: the front door of reports stands before it

    try:
        if isinstance(value, np.datetime64):
            return dt.date.fromisoformat(str(value.astype("datetime64[D]")))
        return dt.date.fromisoformat(cast("str", day))  # what is no text is refused
    except (TypeError, ValueError):
        raise ParameterError(f"{name}: {value!r} is not a day; write it like 2026-11-15") from None


def as_period(period: tuple[Any, Any]) -> tuple[dt.date, dt.date]:
    """Read a period as its first day and the day after its last.

    >>> as_period(("2026-11-09", "2026-11-16"))
    (datetime.date(2026, 11, 9), datetime.date(2026, 11, 16))

    Raises
    ------
    ParameterError
        It is no pair of days, or holds no day.
    """
    if not isinstance(period, tuple) or len(period) != 2:
        raise ParameterError(f"period: the first day and the day after the last are needed, found {period!r}")
    first, end = as_date(period[0], "period"), as_date(period[1], "period")
    if first >= end:
        raise ParameterError(f"period: {first} to {end} holds no day; the second is the day after the last")
    return first, end
