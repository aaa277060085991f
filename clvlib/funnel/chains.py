"""From an event log to one chain of steps per person: the part of a funnel that has to be fast.

The engine returns three numbers per event: the step, the time, and a 64-bit hash of who. Each event then becomes
one integer, ``unit * stride + time``, and each step one sorted array of them. Because ``stride`` is longer than the
observed span and the window together, "the same person, within the window" is one comparison of two such integers.
Per step, each event looks up the latest live start among the events of the step before; a running maximum hands that
start on. The cost is a sort and a few passes, whatever the number of re-entries.

People are told apart by that hash, as to number them in the engine would cost more than all the rest: among ten million
people, the odds that any two are taken for one are 1 in 370,000.
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
_ROWS = 30_000_000  # events that are worked on at a time, some 1.8 GB; half as many with segments
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
    reentry : bool
        Whether the best start counts, rather than the first.
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
    reentry: bool = True


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
    parts = _partitions(events, query, frame, used["n"])
    found = [_walk(keys, place, query, frame) for keys, place in _keys(events, query, frame, parts)]
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


def _labels(query: Query) -> list[str]:
    return [f"COALESCE(CAST({identifier(c)} AS VARCHAR), 'unknown')" for c in query.by]


def _named_labels(query: Query) -> str:
    return ", ".join(f"{label} AS b{i}" for i, label in enumerate(_labels(query)))


def _unit(query: Query) -> str:
    """Say in SQL who walks; where each segment is walked for itself, that is a person in a segment."""
    columns = [identifier(c) for c in query.unit]
    if len(columns) == 1 and query.attribution != "each":
        return columns[0]
    parts = [f"CAST({c} AS VARCHAR)" for c in columns] + (_labels(query) if query.attribution == "each" else [])
    return "(" + " || chr(31) || ".join(parts) + ")"


def _segments(events: Table, query: Query) -> pd.DataFrame:
    """Return the segments in which a first step was made, in the order in which :func:`_sql` numbers them."""
    if not query.by:
        return pd.DataFrame(index=range(1))
    names = ", ".join(f"b{i}" for i in range(len(query.by)))
    frame = events.query(
        f"SELECT DISTINCT {names} FROM (SELECT {_named_labels(query)} FROM {{t}} WHERE {_start_condition(query)}) AS s "
        f"ORDER BY {names}"
    )
    return frame.set_axis(list(query.by), axis=1)


def _partitions(events: Table, query: Query, frame: _Frame, rows: pd.Series) -> int:
    """Into how many parts to divide the units, for their keys to fit into 62 bits and a part into memory."""
    parts = 1 + int(rows.sum()) * (2 if query.by else 1) // _ROWS
    each = frame.stride * frame.segments
    if int(rows.get(query.steps[0], 0)) * each < _LIMIT * parts:
        return parts
    sql = f"SELECT approx_count_distinct({_unit(query)}) AS n FROM {{t}} WHERE {_start_condition(query)}"
    units = int(events.query(sql)["n"].iloc[0])
    return max(parts, int(1.5 * units * each // _LIMIT) + 1)  # half more: the count and the division are approximate


def _keys(events: Table, query: Query, frame: _Frame, parts: int) -> Iterator[tuple[list[Ints], Ints]]:
    """Sorted keys per step, and the segment of each start; a part of the units at a time."""
    n = frame.segments
    names = ["step", "t", "who", *(["g"] if query.by else [])]
    for part in range(parts):
        step, time, who, *place = _arrays(events, _sql(query, frame, part, parts), names)
        is_start = step == 0
        unit = _rank(who, _distinct(who[is_start]))
        keys = [(unit[rows].astype(np.int64) * frame.stride + time[rows]) for rows in _rows_by_step(step, unit, query)]
        del who, unit, time
        starts, *later = keys
        if place:  # the segment rides along in the lowest digits
            starts = np.sort(starts * n + place[0][is_start])
            yield [starts // n, *map(np.sort, later)], starts % n
        else:
            yield list(map(np.sort, keys)), np.zeros(len(starts), np.int64)


def _rows_by_step(step: NDArray[np.int8], unit: NDArray[np.int32], query: Query) -> list[NDArray[np.bool_]]:
    return [(step == k) & (unit >= 0) for k in range(len(query.steps))]


def _distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sort and leave out repeats; ``np.unique`` takes twenty times as long for hashes."""
    ordered = np.sort(values)
    return ordered[np.append(ordered[1:] != ordered[:-1], True)] if len(ordered) else ordered


def _rank(values: NDArray[np.uint64], units: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Place of each value in the sorted ``units``, -1 where it is not among them.

    The units are hashes, so their leading bits say, but for a step or two, where in the order they stand: several times
    faster than a binary search, which misses the cache at each of its twenty steps.
    """
    bits = len(units).bit_length() + 1
    shift = np.uint64(64 - bits)
    table = np.searchsorted(units >> shift, np.arange(2**bits, dtype=np.uint64)).astype(np.int32)
    ended = np.append(units, np.uint64(2**64 - 1))
    place: NDArray[np.int32] = table[values >> shift]
    behind = np.flatnonzero(ended[place] < values)
    while len(behind):
        place[behind] += 1
        behind = behind[ended[place[behind]] < values[behind]]
    place[(ended[place] != values) | (place == len(units))] = -1
    return place


def _arrays(events: Table, sql: str, names: Sequence[str]) -> list[NDArray[Any]]:
    """Columns as NumPy arrays: straight from DuckDB, which costs a third of the way through a frame."""
    sql = sql.format(t=events.relation)
    if isinstance(events.engine, DuckDBEngine):
        columns: Any = events.engine.connection.execute(sql).fetchnumpy()
    else:
        columns = events.engine.query(sql)
    return [np.asarray(columns[name]) for name in names]


def _sql(query: Query, frame: _Frame, part: int, parts: int) -> str:
    """Ask for one row per event that can matter: step, time on the key's clock, who, and the segment."""
    cases = " ".join(f"WHEN {_text(s)} THEN {k}" for k, s in enumerate(query.steps))
    kind = "INTEGER" if frame.stride < 2**31 else "BIGINT"
    since = 0 if query.starts[0] is None else frame.clock(query.starts[0])
    until = frame.stride if query.starts[1] is None else frame.clock(query.starts[1])
    division = f" AND who % {parts} = {part}" if parts > 1 else ""
    names = ", ".join(f"b{i}" for i in range(len(query.by)))
    labels, place, segments, join = "", "", "", ""
    if names:
        labels, place, join = (
            f", {_named_labels(query)}",
            ", COALESCE(g, 0) AS g",
            f"LEFT JOIN segments USING ({names})",
        )
        segments = f""", segments AS (
            SELECT {names}, row_number() OVER (ORDER BY {names}) - 1 AS g
            FROM (SELECT DISTINCT {_named_labels(query)} FROM {{t}} WHERE {_start_condition(query)}) AS s
        )"""
    return f"""
    WITH e AS (
        SELECT CAST(CASE CAST(event AS VARCHAR) {cases} END AS TINYINT) AS step,
               CAST(({_MICROS} - {frame.low}) // {frame.grain} AS {kind}) AS t, hash({_unit(query)}) AS who{labels}
        FROM {{t}}
        WHERE occurred_at BETWEEN {_timestamp(frame.low)} AND {_timestamp(frame.high)} AND {_usable(query)}
    ){segments}
    SELECT step, t, who{place} FROM e {join}
    WHERE (step > 0 OR (step = 0 AND t >= {since} AND t < {until})){division}"""


def _last_closed(query: Query, frame: _Frame) -> int:
    """Latest start, on the key's clock, whose window is over."""
    if query.cut is None or not query.exclude_open:
        return frame.stride
    return frame.clock(query.cut - query.window) - 1  # the window is inclusive and the cut is not


# --- what NumPy does --------------------------------------------------------------------------------------------------


def _walk(keys: list[Ints], place: Ints, query: Query, frame: _Frame) -> tuple[NDArray[Any], ...]:
    """Depth, segment, maturity, times and gaps of each unit's best chain; ``place`` is the segment of each start."""
    unit = keys[0] // frame.stride
    kept, owner, closed = _counted_starts(keys[0], unit, frame.stride, _last_closed(query, frame))
    if not query.reentry:
        kept = np.append(True, unit[1:] != unit[:-1])[: len(unit)]
        owner = np.arange(len(closed))
    events = [keys[0][kept], *keys[1:]]
    depth, best = _reach(events, owner, len(closed), frame.window, strict=query.strict)
    made = _replay(events, depth, events[0][best], strict=query.strict)
    gaps = _gaps(keys, made, strict=query.strict)
    last = query.attribution == "last"
    touch = np.searchsorted(owner, np.arange(len(closed)), side="right" if last else "left") - last
    base = unit[kept][best] * frame.stride
    for k in range(made.shape[1]):  # in place, as these are the largest arrays left
        there = made[:, k] >= 0
        made[there, k] = (made[there, k] - base[there]) * frame.grain + frame.low
        gaps[there, k] *= frame.grain
    return depth, place[kept][touch], closed, made, gaps


def _counted_starts(
    keys: Ints, unit: Ints, stride: int, last_closed: int
) -> tuple[NDArray[np.bool_] | slice, Ints, NDArray[np.bool_]]:
    """Leave out the open starts of those who have a closed one; return who is kept, their owners, and who is closed.

    A closed start has been watched for the whole window, an open one only if it converted early: to count the second
    kind would overstate the rate. So the open ones count for nobody but those who have no other, who are kept apart.
    """
    new = np.ones(len(unit), bool)
    new[1:] = unit[1:] != unit[:-1]
    owner = np.cumsum(new) - 1
    if last_closed >= stride:  # nothing is open
        return slice(None), owner, np.ones(int(new.sum()), bool)
    over = keys - unit * stride <= last_closed
    closed = over[new]
    keep = over | ~closed[owner]
    return keep, owner[keep], closed


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
