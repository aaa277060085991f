"""From an event log to one chain of steps per person: the part of a funnel that has to be fast.

Each event becomes one 64-bit integer, ``unit * stride + time``, in the engine. Every step then is one sorted array,
and because ``stride`` is longer than the observed span and the window together, "the same person, within the window"
is one comparison of two such integers. Per step, each event looks up the latest live start among the events of the step
before; a running maximum hands that start on. The cost is a sort and a few passes, whatever the number of re-entries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.engine import DuckDBEngine, Table, identifier, literal
from clvlib.errors import EmptyDataError, ParameterError

__all__ = ["Chains", "Query", "chains", "moment"]

Ints = NDArray[np.int64]
Attribution = Literal["first", "last", "each"]
_LIMIT = 2**62  # keys stay below it, and so does every sum of a key and a window
_EPOCH = pd.Timestamp(0)


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
    attribution : {"first", "last", "each"}
        Which event says to which segment a unit belongs.
    starts : tuple of int or None
        Earliest and latest (exclusive) first step.
    cut : int or None
        End (exclusive) of what has been observed.
    exclude_open : bool
        Whether a start whose window is not over by ``cut`` is set aside.
    strict : bool
        Whether a step must come later than the one before it, rather than not earlier.
    """

    steps: tuple[str, ...]
    window: int
    unit: tuple[str, ...] = ("person_id",)
    by: tuple[str, ...] = ()
    attribution: Attribution = "first"
    starts: tuple[int | None, int | None] = (None, None)
    cut: int | None = None
    exclude_open: bool = True
    strict: bool = False


@dataclass(frozen=True)
class Chains:
    """The best chain of each unit that made the first step, a unit per row.

    Attributes
    ----------
    depth : ndarray of int, shape (n,)
        Steps reached, at least 1.
    segment : ndarray of int, shape (n,)
        Row of ``segments`` that the unit belongs to.
    closed : ndarray of bool, shape (n,)
        Whether the window of the chain's start is over.
    times : ndarray of int, shape (n, k)
        When each step was made, in microseconds since 1970; -1 where it was not.
    gaps : ndarray of int, shape (n, k)
        Microseconds from the latest event of the step before to each step; -1 where it was not made, 0 for the first.
    segments : pandas.DataFrame
        The segments, a column per ``by`` column, as text.
    log : pandas.DataFrame
        Per event name in the whole log: rows, and rows left out for want of an id or a time.
    """

    depth: NDArray[np.int8]
    segment: Ints
    closed: NDArray[np.bool_]
    times: Ints
    gaps: Ints
    segments: pd.DataFrame
    log: pd.DataFrame


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
    return _microseconds(stamp - _EPOCH)


def _microseconds(delta: dt.timedelta) -> int:
    return int(pd.Timedelta(delta) // pd.Timedelta(microseconds=1))


def chains(events: Table, query: Query) -> Chains:
    """Find the best chain of each unit.

    Parameters
    ----------
    events : Table
        With the columns that ``query`` names, and ``event`` and ``occurred_at``.
    query : Query
        What is asked.

    Returns
    -------
    Chains
        A unit per row, in no particular order.

    Raises
    ------
    EmptyDataError
        There is no event at all.
    ParameterError
        ``occurred_at`` is no time without time zone.
    """
    events.require(*query.unit, "event", "occurred_at", *query.by)
    _check_time_column(events)
    log = _log(events, query)
    used = log[log.index.isin(query.steps) & log["first"].notna()]
    segments = _segments(events, query)
    low, high = _bounds(query, used)
    if low > high or not len(segments):
        return _nobody(len(query.steps), segments, log)
    grain = 1_000_000 if (used["fraction"] == 0).all() else 1
    frame = _Frame(low, high, grain, query.window // grain, len(segments))
    parts = _partitions(events, query, frame, int(used["n"].get(query.steps[0], 0)))
    found = [_walk(keys, query, frame) for keys in _keys(events, query, frame, parts)]
    depth, segment, closed, times, gaps = (np.concatenate(column) for column in zip(*found, strict=True))
    return Chains(depth, segment, closed, times, gaps, segments, log)


def _nobody(steps: int, segments: pd.DataFrame, log: pd.DataFrame) -> Chains:
    none, grid = np.zeros(0, np.int64), np.zeros((0, steps), np.int64)
    return Chains(none.astype(np.int8), none, none.astype(bool), grid, grid, segments, log)


# --- what the engine does ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """How a time and a unit become one integer."""

    low: int
    high: int  # inclusive
    grain: int
    window: int
    segments: int

    @property
    def stride(self) -> int:
        return (self.high - self.low) // self.grain + self.window + 2

    def clock(self, microseconds: int) -> int:
        """First tick that is not before a moment."""
        return -((self.low - microseconds) // self.grain)


def _check_time_column(events: Table) -> None:
    kind = events.engine.columns(events.relation)["occurred_at"].upper()
    if kind == "DATE" or (kind.startswith("TIMESTAMP") and "ZONE" not in kind):
        return
    advice = "convert it to the shop's local time without a zone" if "ZONE" in kind else "convert it to timestamps"
    raise ParameterError(f"{events.name}.occurred_at has the type {kind}; {advice} first")


def _text(name: str) -> str:
    """Quote an event name for SQL that :meth:`Table.query` will format."""
    return literal(name).replace("{", "{{").replace("}", "}}")


def _usable(query: Query) -> str:
    return " AND ".join([*(f"{identifier(c)} IS NOT NULL" for c in query.unit), "isfinite(occurred_at)"])


_MICROS = "epoch_us(CAST(occurred_at AS TIMESTAMP))"


def _log(events: Table, query: Query) -> pd.DataFrame:
    """Per event name: rows, rows that cannot be used, first and last time, whether times have fractions of a second."""
    usable = f"CASE WHEN {_usable(query)} THEN {_MICROS} END"
    log = events.query(
        f"""SELECT CAST(event AS VARCHAR) AS event, COUNT(*) AS n, COUNT(*) - COUNT(us) AS unusable,
                   MIN(us) AS first, MAX(us) AS last, MAX(us % 1000000) AS fraction
            FROM (SELECT event, {usable} AS us FROM {{t}}) AS e GROUP BY 1 ORDER BY n DESC, 1"""
    )
    if log.empty:
        raise EmptyDataError(f"{events.name}: the table has no row, so there is no funnel to show")
    return log.set_index("event")


def _bounds(query: Query, used: pd.DataFrame) -> tuple[int, int]:
    """Return the first and the last microsecond that can matter; nothing does when the first is after the last."""
    if used.empty:
        return 1, 0
    low, high = int(used["first"].min()), int(used["last"].max())
    since, until = query.starts
    if since is not None:
        low = max(low, since)
    if until is not None:
        high = min(high, until - 1 + query.window)
    if query.cut is not None:
        high = min(high, query.cut - 1)
    return (low // 1_000_000 * 1_000_000, high) if low <= high else (1, 0)  # whole seconds stay whole ticks


def _start_condition(query: Query) -> str:
    since, until = query.starts
    conditions = [f"CAST(event AS VARCHAR) = {_text(query.steps[0])}", _usable(query)]
    conditions += [] if since is None else [f"occurred_at >= {_timestamp(since)}"]
    conditions += [] if until is None else [f"occurred_at < {_timestamp(until)}"]
    conditions += [] if query.cut is None else [f"occurred_at < {_timestamp(query.cut)}"]
    return " AND ".join(conditions)


def _timestamp(microseconds: int) -> str:
    return literal((_EPOCH + pd.Timedelta(microseconds, "us")).to_pydatetime())


def _labels(query: Query) -> str:
    return ", ".join(f"COALESCE(CAST({identifier(c)} AS VARCHAR), 'unknown') AS b{i}" for i, c in enumerate(query.by))


def _segments(events: Table, query: Query) -> pd.DataFrame:
    """Return the segments in which a first step was made, in the order in which :func:`_sql` numbers them."""
    if not query.by:
        return pd.DataFrame(index=range(1))
    names = ", ".join(f"b{i}" for i in range(len(query.by)))
    frame = events.query(
        f"SELECT DISTINCT {names} FROM (SELECT {_labels(query)} FROM {{t}} WHERE {_start_condition(query)}) AS s "
        f"ORDER BY {names}"
    )
    return frame.set_axis(list(query.by), axis=1)


def _partitions(events: Table, query: Query, frame: _Frame, starts: int) -> int:
    """Into how many parts the units must be divided for their keys to fit into 62 bits."""
    each = frame.stride * frame.segments
    if starts * each < _LIMIT:
        return 1
    unit = ", ".join(identifier(c) for c in query.unit)
    sql = f"SELECT approx_count_distinct(({unit})) AS n FROM {{t}} WHERE {_start_condition(query)}"
    units = int(events.query(sql)["n"].iloc[0])
    return int(1.5 * units * each // _LIMIT) + 1  # half more: the count is approximate, and so is the division


def _keys(events: Table, query: Query, frame: _Frame, parts: int) -> Iterator[list[Ints]]:
    """Sorted keys per step, a part of the units at a time."""
    for part in range(parts):
        step, key = _arrays(events, _sql(query, frame, part, parts), ("step", "key"))
        yield [np.sort(key[step == k]) for k in range(len(query.steps))]


def _arrays(events: Table, sql: str, names: Sequence[str]) -> list[NDArray[Any]]:
    """Columns as NumPy arrays: straight from DuckDB, which costs a third of the way through a frame."""
    sql = sql.format(t=events.relation)
    if isinstance(events.engine, DuckDBEngine):
        columns: Any = events.engine.connection.execute(sql).fetchnumpy()
    else:
        columns = events.engine.query(sql)
    return [np.asarray(columns[name]) for name in names]


def _sql(query: Query, frame: _Frame, part: int, parts: int) -> str:
    """One row per event that can matter: the step and the key; units that never start are left out by the join."""
    unit = [identifier(c) for c in query.unit]
    cases = " ".join(f"WHEN {_text(s)} THEN {k}" for k, s in enumerate(query.steps))
    labels = [f"b{i}" for i in range(len(query.by))]
    division = f" AND hash({', '.join(unit)}) % {parts} = {part}" if parts > 1 else ""
    each = query.attribution == "each" and labels
    selected = ", ".join([*unit, *([_labels(query)] if labels else [])])
    since = 0 if query.starts[0] is None else frame.clock(query.starts[0])
    until = frame.stride if query.starts[1] is None else frame.clock(query.starts[1])
    keys = [*unit, "g"] if each else unit
    return f"""
    WITH e AS (
        SELECT {selected}, CAST(CASE CAST(event AS VARCHAR) {cases} END AS TINYINT) AS step,
               ({_MICROS} - {frame.low}) // {frame.grain} AS t
        FROM {{t}}
        WHERE occurred_at BETWEEN {_timestamp(frame.low)} AND {_timestamp(frame.high)} AND {_usable(query)}{division}
    ), starts AS (SELECT * FROM e WHERE step = 0 AND t >= {since} AND t < {until}
    ), {_segment_sql(query, labels)}{_member_sql(query, frame, unit, labels)}
    SELECT step, (m.code * {frame.segments} + m.g) * CAST({frame.stride} AS BIGINT) + t AS key
    FROM {_labelled("e", labels) if each else "e"} JOIN members AS m USING ({", ".join(keys)})
    WHERE step > 0 OR (step = 0 AND t >= {since} AND t < {until})"""


def _segment_sql(query: Query, labels: list[str]) -> str:
    if not labels:
        return ""
    names = ", ".join(labels)
    return f"""segments AS (
        SELECT {names}, row_number() OVER (ORDER BY {names}) - 1 AS g
        FROM (SELECT DISTINCT {_labels(query)} FROM {{t}} WHERE {_start_condition(query)}) AS s
    ), """


def _labelled(relation: str, labels: list[str]) -> str:
    return f"{relation} JOIN segments USING ({', '.join(labels)})" if labels else relation


def _member_sql(query: Query, frame: _Frame, unit: list[str], labels: list[str]) -> str:
    """Number the units, and give each its segment: that of its first or last start that counts, or each of them."""
    names, n = ", ".join(unit), frame.segments
    if not labels:
        segment, group = "0", names
    elif query.attribution == "each":
        segment, group = "g", f"{names}, g"
    elif query.attribution == "first":
        segment, group = f"MIN(t * {n} + g) % {n}", names
    else:  # of the last start whose window is over, where there is one: an open start is then no part of the chain
        closed = f"CASE WHEN t <= {_last_closed(query, frame)} THEN {frame.stride * n} ELSE 0 END"
        segment, group = f"MAX({closed} + t * {n} + g) % {n}", names
    return f"""members AS (
        SELECT *, row_number() OVER () - 1 AS code
        FROM (SELECT {names}, {segment} AS g FROM {_labelled("starts", labels)} GROUP BY {group}) AS m
    )"""


def _last_closed(query: Query, frame: _Frame) -> int:
    """Latest start, on the key's clock, whose window is over."""
    if query.cut is None or not query.exclude_open:
        return frame.stride
    return frame.clock(query.cut - query.window) - 1  # the window is inclusive and the cut is not


# --- what NumPy does --------------------------------------------------------------------------------------------------


def _walk(keys: list[Ints], query: Query, frame: _Frame) -> tuple[NDArray[Any], ...]:
    """Depth, segment, maturity, times and gaps of each unit's best chain."""
    starts, owner, closed = _counted_starts(keys[0], _last_closed(query, frame), frame.stride)
    events = [starts, *keys[1:]]
    depth, best = _reach(events, owner, len(closed), frame.window, strict=query.strict)
    made = _replay(events, depth, starts[best], strict=query.strict)
    gaps = _gaps(keys, made, strict=query.strict)
    unit = starts[best] // frame.stride
    base = unit * frame.stride
    for k in range(made.shape[1]):  # in place, as these are the largest arrays left
        there = made[:, k] >= 0
        made[there, k] = (made[there, k] - base[there]) * frame.grain + frame.low
        gaps[there, k] *= frame.grain
    return depth, unit % frame.segments, closed, made, gaps


def _counted_starts(keys: Ints, last_closed: int, stride: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Leave out the open starts of those who have a closed one; return starts, their owners, and who is closed.

    A closed start has been watched for the whole window, an open one only if it converted early: to count the second
    kind would overstate the rate. So the open ones count for nobody but those who have no other, who are kept apart.
    """
    unit = keys // stride
    new = np.ones(len(keys), bool)
    new[1:] = unit[1:] != unit[:-1]
    owner = np.cumsum(new) - 1
    over = keys - unit * stride <= last_closed
    closed = over[new]
    keep = over | ~closed[owner]
    return keys[keep], owner[keep], closed


def _reach(events: list[Ints], owner: Ints, units: int, window: int, *, strict: bool) -> tuple[NDArray[np.int8], Ints]:
    """Steps that each unit reaches, and the start of the chain by which it does so first.

    Among the chains that end at an event, one with the latest start lives longest, so only that start is carried.
    """
    starts = events[0]
    depth = np.ones(units, np.int8)
    best = np.searchsorted(owner, np.arange(units))
    origin = np.arange(len(starts))  # per event of the step before: the latest live start, as a row of `starts`
    for k in range(1, len(events)):
        before = np.searchsorted(events[k - 1], events[k], side="left" if strict else "right") - 1
        carried = np.where(before >= 0, origin[before], -1) if len(origin) else np.full(len(before), -1)
        alive = carried >= 0
        alive[alive] = events[k][alive] - starts[carried[alive]] <= window
        reached = carried[alive]
        who = owner[reached]
        new = np.ones(len(who), bool)
        new[1:] = who[1:] != who[:-1]
        depth[who] = k + 1
        best[who[new]] = reached[new]
        origin = np.maximum.accumulate(np.where(alive, carried, -1))
    return depth, best


def _replay(events: list[Ints], depth: NDArray[np.int8], start: Ints, *, strict: bool) -> Ints:
    """Keys of the events that make up each unit's chain, each step at its earliest; -1 where none."""
    made = np.full((len(start), len(events)), -1, np.int64)
    made[:, 0] = start
    for k in range(1, len(events)):
        rows = np.flatnonzero(depth > k)
        at = np.searchsorted(events[k], made[rows, k - 1], side="right" if strict else "left")
        made[rows, k] = events[k][at]
    return made


def _gaps(keys: list[Ints], made: Ints, *, strict: bool) -> Ints:
    """Time to each step from the latest event of the step before, be it part of the chain or not.

    The chain's own steps would do, were it not that a start is looked for where its window is over: for people who come
    often, the time from that start to the next step would grow with the window and say nothing of how long they took.
    """
    gaps = np.full_like(made, -1)
    gaps[:, 0] = 0
    for k in range(1, len(keys)):
        rows = np.flatnonzero(made[:, k] >= 0)
        at = np.searchsorted(keys[k - 1], made[rows, k], side="left" if strict else "right") - 1
        gaps[rows, k] = made[rows, k] - keys[k - 1][at]
    return gaps
