"""What competitors do while we are live (F10): their promotions against our own calendar of sessions.

Hours are counted, not estimated: an overlap is a fact of two calendars and has no interval. Whether it goes with fewer
viewers or orders is another question, of :mod:`clvlib.funnel.competition`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.calendar import as_period
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.advertising import SLOTS
from clvlib.result import Result
from clvlib.words import mark, tr

__all__ = ["Competitors", "Coverage", "competitors", "our_sessions", "promotions_of"]

Array = NDArray[np.float64]
_UNKNOWN = mark("unknown")
_HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True)
class Competitors(Result):
    """Competitors' promotions of a period against our live sessions.

    ``table`` has a row per promotion, those that met most of our live hours first: ``brand``, ``promotion``,
    ``platform``, ``started_at``, ``ended_at``, ``strength``, ``traffic_source``, ``sessions`` (of ours, on the same
    platform, at the same time) and ``hours`` of these. A promotion without a platform meets all of ours.

    Attributes
    ----------
    first, last : str
        First and last day.
    sessions : pandas.DataFrame
        Our sessions: ``session_id``, ``platform``, ``started_at``, ``ended_at``, ``hours``, ``under`` (hours while a
        promotion ran; two at once count once), ``promotions`` (how many) and ``brands``.
    shares : pandas.DataFrame
        By ``dimension`` (all, platform, time slot, brand, traffic_source) and ``segment``: ``our_hours`` live, those
        ``under`` competition, and their ``share``.
    impossible : int
        Promotions that end before they begin, in no figure.
    open_ended : int
        Promotions without an end, taken to last ``open_days``.
    open_days : float
        As given.
    unusable : int
        Sessions of ours without an end, or with one before their beginning.
    """

    first: str
    last: str
    sessions: pd.DataFrame = field(repr=False)
    shares: pd.DataFrame = field(repr=False)
    impossible: int
    open_ended: int
    open_days: float
    unusable: int

    @property
    def share(self) -> float:
        """Share of our live hours while a competitor's promotion ran on the same platform."""
        return float(self.shares["share"].iloc[0])

    @property
    def claim(self) -> str:
        """How much of our live time had competition, in one line."""
        worst = self.shares[(self.shares["dimension"] == "platform") & (self.shares["under"] > 0)]
        if worst.empty:
            return tr("No competitor's promotion ran while we were live")
        top = worst.sort_values("share", ascending=False, kind="stable").iloc[0]
        return tr(
            "{share:.0%} of our live hours had a competitor's promotion beside them, most on {platform} ({most:.0%})",
            share=self.share,
            platform=tr(str(top["segment"])),
            most=top["share"],
        )

    @property
    def shown(self) -> pd.DataFrame:
        """The table as a notebook shows it."""
        return self.table.rename(columns={"started_at": "runs_from", "ended_at": "runs_until", "hours": "hours_met"})

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`shown`."""
        return {"strength": ".2f", "hours_met": ".1f"}

    @property
    def sentence(self) -> str:
        """How much of our live time had competition, and from whom, in words."""
        whole = self.shares.iloc[0]
        parts = [
            tr(
                "{promotions:,} promotions of {brands:,} competitors; they ran during {share:.0%} of our {hours:,.0f} "
                "live hours",
                promotions=len(self.table),
                brands=self.table["brand"].nunique(),
                share=whole["share"],
                hours=whole["our_hours"],
            )
        ]
        met = self.table[self.table["hours"] > 0]
        if len(met):
            top = met.iloc[0]
            parts.append(
                tr(
                    "the most by {brand} ({promotion}) on {platform}: {sessions:,} of our sessions, {hours:.1f} hours",
                    **{name: top[name] for name in ("brand", "promotion", "platform", "sessions", "hours")},
                )
            )
        if self.impossible:
            parts.append(tr("{n:,} that end before they begin are left out", n=self.impossible))
        if self.open_ended:
            parts.append(tr("{n:,} without an end count for {days:g} days", n=self.open_ended, days=self.open_days))
        return tr("{parts}.", parts=tr("; ").join(parts))


class Coverage:
    """How many hours of a span some promotion ran; overlapping ones count once.

    Parameters
    ----------
    starts, ends : array_like
        In hours.

    Examples
    --------
    >>> Coverage([1.0, 2.0, 10.0], [4.0, 3.0, 12.0]).between([0.0, 3.5], [2.0, 11.0]).tolist()
    [1.0, 1.5]
    """

    def __init__(self, starts: Any, ends: Any) -> None:
        begin, stop = np.asarray(starts, dtype=float), np.asarray(ends, dtype=float)
        order = np.argsort(begin, kind="stable")
        begin, stop = begin[order], np.maximum.accumulate(stop[order]) if len(stop) else stop
        new = np.concatenate([[True], begin[1:] > stop[:-1]]) if len(begin) else np.zeros(0, dtype=bool)
        first = begin[new]
        last = stop[np.concatenate([np.flatnonzero(new)[1:] - 1, [len(stop) - 1]])] if len(begin) else stop
        length = np.cumsum(last - first)
        self._knots = np.ravel(np.column_stack([first, last]))
        self._hours = np.ravel(np.column_stack([length - (last - first), length]))

    def until(self, at: Any) -> Array:
        """Hours covered before a time."""
        times = np.asarray(at, dtype=float)
        if not len(self._knots):
            return np.zeros_like(times)
        return np.asarray(np.interp(times, self._knots, self._hours), dtype=float)

    def between(self, start: Any, end: Any) -> Array:
        """Hours covered between two times."""
        return self.until(end) - self.until(start)


def competitors(
    competitors: Table | pd.DataFrame,
    sessions: Table | pd.DataFrame,
    period: tuple[Any, Any],
    *,
    open_days: float = 7,
) -> Competitors:
    """Hold competitors' promotions against our live sessions.

    Parameters
    ----------
    competitors : Table or pandas.DataFrame
        ``brand``, ``started_at``; what there is of ``ended_at``, ``platform``, ``promotion``, ``strength`` and
        ``traffic_source``.
    sessions : Table or pandas.DataFrame
        ``session_id``, ``started_at``, ``ended_at``; ``platform`` where known.
    period : tuple
        First day, and the day after the last.
    open_days : float
        A promotion without an end is taken to last so long.

    Returns
    -------
    Competitors

    Raises
    ------
    MissingColumnError
        A column is not there.
    EmptyDataError
        We had no live session in the period, or no promotion is known.
    ParameterError
        The period or ``open_days`` cannot be.

    Examples
    --------
    >>> at = pd.Timestamp("2026-11-10 20:00")
    >>> live = pd.DataFrame({"session_id": ["s"], "started_at": at, "ended_at": at + 4 * pd.Timedelta(hours=1)})
    >>> theirs = pd.DataFrame({"brand": ["A"], "started_at": at + pd.Timedelta(hours=1),
    ...                        "ended_at": at + pd.Timedelta(hours=2)})
    >>> competitors(theirs, live, ("2026-11-09", "2026-11-16")).share
    0.25
    """
    first, end = as_period(period)
    promotions, impossible = promotions_of(competitors, first, end, open_days)
    ours, unusable = our_sessions(sessions, first, end)
    if promotions.empty:
        last = end - dt.timedelta(days=1)
        raise EmptyDataError(tr("no promotion of a competitor is known from {first} to {last}", first=first, last=last))
    pairs = ours.merge(promotions.reset_index(names="number"), how="cross", suffixes=("", "_theirs"))
    pairs = pairs[(pairs["platform"] == pairs["platform_theirs"]) | (pairs["platform_theirs"] == "")]
    begin, stop = pairs[["begin", "begin_theirs"]].max(axis=1), pairs[["end", "end_theirs"]].min(axis=1)
    pairs = pairs.assign(hours_met=(stop - begin).clip(lower=0))
    pairs = pairs[pairs["hours_met"] > 0]
    met = pairs.groupby("number").agg(sessions=("session_id", "nunique"), hours=("hours_met", "sum"))
    table = promotions.join(met)
    table[["sessions", "hours"]] = table[["sessions", "hours"]].fillna(0)
    table = table.assign(sessions=table["sessions"].astype(int), platform=table["platform"].replace("", _UNKNOWN))
    named = [
        "brand",
        "promotion",
        "platform",
        "started_at",
        "ended_at",
        "strength",
        "traffic_source",
        "sessions",
        "hours",
    ]
    each = pairs.groupby("session_id").agg(
        promotions=("number", "nunique"), brands=("brand", lambda names: ", ".join(sorted(set(names))))
    )
    ours = ours.assign(under=_under(ours, promotions)).merge(each, how="left", on="session_id")
    ours = ours.assign(promotions=ours["promotions"].fillna(0).astype(int), brands=ours["brands"].fillna(""))
    return Competitors(
        first=str(first),
        last=str(end - dt.timedelta(days=1)),
        sessions=ours.drop(columns=["begin", "end"]),
        shares=_shares(ours, promotions),
        impossible=impossible,
        open_ended=int(promotions["open_ended"].sum()),
        open_days=open_days,
        unusable=unusable,
        table=table.sort_values(["hours", "started_at"], ascending=[False, True], kind="stable")[named].reset_index(
            drop=True
        ),
    )


def promotions_of(
    competitors: Table | pd.DataFrame, first: dt.date, end: dt.date, open_days: float = 7
) -> tuple[pd.DataFrame, int]:
    """Return the promotions that ran in a period, and how many that began in it end before they begin.

    ``begin`` and ``end`` are hours since the start of the period.

    Raises
    ------
    ParameterError
        ``open_days`` is no number of days.
    """
    if not (open_days > 0 and np.isfinite(open_days)):
        raise ParameterError(f"open_days: {open_days} is no number of days above zero")
    table = as_table(competitors, "competitors", "brand", "started_at")
    words = [
        f"COALESCE(CAST({name} AS VARCHAR), '{empty}') AS {name}" if name in table.columns else f"'{empty}' AS {name}"
        for name, empty in (
            ("brand", _UNKNOWN),
            ("promotion", _UNKNOWN),
            ("traffic_source", _UNKNOWN),
            ("platform", ""),
        )
    ]
    strength = "CAST(strength AS DOUBLE)" if "strength" in table.columns else "CAST(NULL AS DOUBLE)"
    ended = "ended_at" if "ended_at" in table.columns else "CAST(NULL AS TIMESTAMP)"
    rows = table.query(
        f"SELECT {', '.join(words)}, started_at, {ended} AS ended_at, {strength} AS strength FROM {{t}} AS t "
        f"WHERE started_at < {literal(end)} ORDER BY started_at, brand, promotion"
    )
    wrong = rows["ended_at"] < rows["started_at"]
    impossible = int((wrong & (rows["started_at"] >= pd.Timestamp(first))).sum())
    rows = rows[~wrong]
    stop = rows["ended_at"].fillna(rows["started_at"] + pd.Timedelta(days=open_days))
    zero = pd.Timestamp(first)
    rows = rows.assign(
        open_ended=rows["ended_at"].isna(), begin=(rows["started_at"] - zero) / _HOUR, end=(stop - zero) / _HOUR
    )
    return rows[rows["end"] > 0].reset_index(drop=True), impossible


def our_sessions(sessions: Table | pd.DataFrame, first: dt.date, end: dt.date) -> tuple[pd.DataFrame, int]:
    """Return our live sessions that began in a period, with their hours, and how many have no usable end.

    Raises
    ------
    EmptyDataError
        There is none.
    """
    table = as_table(sessions, "sessions", "session_id", "started_at", "ended_at")
    platform = "COALESCE(CAST(platform AS VARCHAR), '')" if "platform" in table.columns else "''"
    rows = table.query(
        f"SELECT session_id, {platform} AS platform, started_at, ended_at FROM {{t}} AS t WHERE session_id IS NOT NULL "
        f"AND started_at >= {literal(first)} AND started_at < {literal(end)} ORDER BY started_at, session_id"
    )
    zero = pd.Timestamp(first)
    begin, stop = (rows["started_at"] - zero) / _HOUR, (rows["ended_at"] - zero) / _HOUR
    good = stop > begin
    if not good.any():
        last = end - dt.timedelta(days=1)
        raise EmptyDataError(tr("there is no live session with an end from {first} to {last}", first=first, last=last))
    rows = rows.assign(begin=begin, end=stop, hours=stop - begin)[good].reset_index(drop=True)
    return rows, int((~good).sum())


def _under(ours: pd.DataFrame, promotions: pd.DataFrame) -> Array:
    """Hours of each of our sessions, or parts of them, while any of the promotions ran on its platform."""
    where, begin, end = (ours[name].to_numpy() for name in ("platform", "begin", "end"))
    there, starts, ends = (promotions[name].to_numpy() for name in ("platform", "begin", "end"))
    under = np.zeros(len(ours))
    for platform in set(where):
        here, theirs = where == platform, (there == platform) | (there == "")
        under[here] = Coverage(starts[theirs], ends[theirs]).between(begin[here], end[here])
    return under


def _shares(ours: pd.DataFrame, promotions: pd.DataFrame) -> pd.DataFrame:
    """Our live hours, and those under competition, by what can be planned with."""
    pieces = _by_clock(ours)
    pieces = pieces.assign(under=_under(pieces, promotions))
    total = float(ours["hours"].sum())
    rows = [("all", "all", total, float(pieces["under"].sum()))]
    for dimension, column in (("platform", "platform"), ("time slot", "slot")):
        sums = pieces.groupby(column)[["hours", "under"]].sum()
        rows += [(dimension, str(name) or _UNKNOWN, float(h), float(u)) for name, h, u in sums.itertuples()]
    for dimension in ("brand", "traffic_source"):
        hours = {name: _under(ours, part).sum() for name, part in promotions.groupby(dimension)}
        rows += [(dimension, str(k), total, float(v)) for k, v in sorted(hours.items(), key=lambda item: -item[1])]
    frame = pd.DataFrame(rows, columns=["dimension", "segment", "our_hours", "under"])
    return frame.assign(share=frame["under"] / frame["our_hours"])


def _by_clock(ours: pd.DataFrame) -> pd.DataFrame:
    """Sessions cut at full hours, since one that begins at seven also runs at ten."""
    first = np.floor(ours["begin"].to_numpy(float))
    number = np.maximum(np.ceil(ours["end"].to_numpy(float)) - first, 1).astype(int)
    row = np.repeat(np.arange(len(ours)), number)
    hour = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(number) - number, number)
    cut = ours.iloc[row].reset_index(drop=True)
    begin = np.maximum(cut["begin"].to_numpy(float), hour)
    end = np.minimum(cut["end"].to_numpy(float), hour + 1)
    slot = np.array(list(SLOTS))[np.searchsorted(list(SLOTS.values()), hour % 24, side="right")]
    return cut.assign(begin=begin, end=end, hours=end - begin, slot=slot)
