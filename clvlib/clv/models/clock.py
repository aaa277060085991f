"""Covariates by day, and clocks that run as fast as they say."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.errors import DataError, MissingColumnError, ParameterError

__all__ = ["Clock", "Instants", "Tracks", "day_name", "day_numbers"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

_APART = 1e8  # days between the tracks of different customers on one axis


class Tracks:
    """Values that hold from one day to the next, on one track for all customers or on a track for each.

    Day d of a calendar is the time (d − 1, d]: purchases of the day d are recorded at time d, and between a first
    purchase on day 1 and the end of day 8 lie the seven days 2 to 8.

    Parameters
    ----------
    covariates : pandas.DataFrame
        ``start`` (first day of a period), values, and ``customer_id`` where customers have tracks of their own.
    until : date, optional
        The last day that the last period lasts; default: it lasts as long as the one before.
    """

    def __init__(self, covariates: pd.DataFrame, until: dt.date | None) -> None:
        if "start" not in covariates:
            raise MissingColumnError("covariates need a column start, the first day of each period")
        self.names = [str(name) for name in covariates.columns if name not in {"start", "customer_id"}]
        if not self.names or not len(covariates):
            raise ParameterError("covariates need at least one period and one column besides start and customer_id")
        own = "customer_id" in covariates
        self.ids = pd.Index(covariates["customer_id"].unique()).sort_values() if own else None
        track = np.zeros(len(covariates), dtype=np.intp)
        if self.ids is not None:
            track = np.asarray(self.ids.get_indexer(pd.Index(covariates["customer_id"])), dtype=np.intp)
        start = day_numbers(covariates["start"])
        order = np.lexsort([start, track])
        frame, track, start = covariates.iloc[order], track[order], start[order]
        if ((np.diff(start) == 0) & (np.diff(track) == 0)).any():
            raise DataError("covariates: a customer has two periods that start on the same day; keep one")
        self.first = start[np.flatnonzero(np.diff(track, prepend=-1))] - 1
        self.last = self._ends(track, start, until)
        changes = _changes(frame[self.names], track)
        self.frame, self.track, self.start = frame[changes], track[changes], start[changes] - 1
        if (self.last <= self.first).any():
            raise ParameterError("until lies before the first period")

    @staticmethod
    def _ends(track: Indices, start: Array, until: dt.date | None) -> Array:
        final = np.flatnonzero(np.diff(track, append=track[-1] + 1))
        if until is not None:
            return np.full(len(final), float(until.toordinal()))
        lonely = np.diff(final, prepend=-1) < 2
        if lonely.any():
            raise ParameterError("a single period has no known length: say until when the covariates are known")
        return np.asarray(2 * start[final] - start[final - 1] - 1)

    @cached_property
    def grid(self) -> tuple[Indices, Array]:
        """The row of the frame of each track's j-th period, and how long it lasts; shapes (tracks, most periods)."""
        number = np.bincount(self.track)
        offset = np.append(0, np.cumsum(number))
        j = np.arange(number.max())
        row = np.minimum(offset[:-1, None] + j, offset[1:, None] - 1)
        end = np.append(self.start[1:], 0.0)
        end[offset[1:] - 1] = self.last
        length = np.maximum(np.where(j < number[:, None], (end - self.start)[row], 0.0), 0.0)
        return row, length

    def row_at(self, track: Indices, time: Array, what: str) -> Indices:
        """Return the row that holds at each time; refuse times that the covariates do not cover."""
        bad = (time < self.first[track] - 1e-6) | (time > self.last[track] + 1e-6)
        if bad.any():
            at = int(np.argmax(bad))
            first, last = day_name(self.first[track[at]] + 1), day_name(self.last[track[at]])
            whom = "" if self.ids is None else f" of customer {self.ids[track[at]]!r}"
            raise ParameterError(
                f"{what} reaches to {day_name(time[at])}, but the covariates{whom} are known from {first} to {last}; "
                "give them for that time too, as planned: model.with_covariates(frame)"
            )
        found = np.searchsorted(self.track * _APART + self.start, track * _APART + time) - 1
        least = np.searchsorted(self.track, track)
        return np.asarray(np.maximum(found, least), dtype=np.intp)

    def tracks(self, index: pd.Index) -> Indices:
        """Return the track of each customer."""
        if self.ids is None:
            return np.zeros(len(index), dtype=np.intp)
        found = np.asarray(self.ids.get_indexer(index), dtype=np.intp)
        if (found < 0).any():
            who = index[int(np.argmax(found < 0))]
            raise DataError(f"covariates: {int((found < 0).sum()):,} customers have none, first {who!r}")
        return found

    def at_purchases(self, customer: Indices, track: Indices, day: Array, n: int) -> dict[str, Array]:
        """Return sums over each customer's purchases: of numbers, and how many came at each level of text."""
        frame = self.frame.iloc[self.row_at(track, day, "a purchase")]
        sums = {}
        for name in self.names:
            if pd.api.types.is_numeric_dtype(frame[name]):
                sums[f"purchase:{name}"] = np.bincount(customer, frame[name].to_numpy(dtype=float), n).astype(float)
                continue
            text = frame[name].astype(str).to_numpy(dtype=object)
            for level in sorted(set(self.frame[name].astype(str))):
                sums[f"purchase:{name}={level}"] = np.bincount(customer, text == level, n).astype(float)
        return sums


class Instants(NamedTuple):
    """Moments on the tracks: which period, and how long into it."""

    place: Indices  # in the flattened grid
    row: Indices
    into: Array


class Clock:
    """Time that runs at the speed exp(g'z(t)) on each track, in the model's unit, and its derivatives in g."""

    def __init__(self, path: Tracks, speed: Array, days: float) -> None:
        row, length = path.grid
        self.path, self.speed, self.days = path, speed, days
        steps = np.cumsum(length * speed[row], axis=1)
        self.before = np.hstack([np.zeros((len(steps), 1)), steps[:, :-1]])

    def read(self, at: Instants) -> Array:
        """Return what the clock shows."""
        return np.asarray((self.before.ravel()[at.place] + at.into * self.speed[at.row]) / self.days)

    def when(self, track: Indices, reading: Array) -> Array:
        """Return the time at which the clock shows what it shows, speeds being positive."""
        row, _ = self.path.grid
        apart = 2 * float(self.before.max() + (self.path.last - self.path.first).max() * self.speed.max())
        shown = self.before + apart * np.arange(len(self.before))[:, None]
        target = reading * self.days
        place = np.searchsorted(shown.ravel(), target + apart * track, side="right") - 1
        place = np.minimum(place, track * row.shape[1] + np.bincount(self.path.track)[track] - 1)
        found = row.ravel()[place]
        time = self.path.start[found] + (target - self.before.ravel()[place]) / self.speed[found]
        return np.asarray(np.minimum(time, self.path.last[track]))


def day_numbers(dates: pd.Series) -> Array:
    """Return the proleptic number of each day."""
    day = pd.to_datetime(dates).to_numpy(dtype="datetime64[D]")
    if np.isnat(day).any():
        raise DataError(f"{dates.name}: {int(np.isnat(day).sum()):,} of {len(day):,} rows have no day")
    return np.asarray(day.astype(np.int64) + dt.date(1970, 1, 1).toordinal(), dtype=float)


def day_name(day: float) -> str:
    """Return the date of a day's number."""
    return str(dt.date.fromordinal(int(min(max(np.ceil(day), 1), dt.date.max.toordinal()))))


def _changes(values: pd.DataFrame, track: Indices) -> NDArray[np.bool_]:
    """Return which rows differ from the row before on the same track."""
    changed = np.diff(track, prepend=-1) != 0
    for name in values:
        code = pd.factorize(values[name])[0]
        changed |= np.diff(code, prepend=-2) != 0
    return np.asarray(changed)
