"""From an event log to sorted integers, one per event: what the engine does, and the packing.

The engine returns three numbers per event: which event, the time, and a 64-bit hash of who. Each event then becomes
one integer, ``(code * units + unit) * stride + time``. One sort of them by value, the fastest thing that NumPy does,
leaves each event's keys as a run of their own, ordered by unit and time. Because ``stride`` is longer than the observed
span and the window together, "the same unit, within the window" is one comparison of two such integers. Where there are
segments a fourth number says which; it takes no part in the sort, as only the segments of a few events matter: they are
looked up when it is known which.

People are told apart by that hash, as to number them in the engine would cost more than all the rest: among ten million
people, the odds that any two are taken for one are 1 in 370,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.engine import DuckDBEngine, Table, identifier, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.context import Snapshot
from clvlib.funnel.query import EPOCH, Ints, Query
from clvlib.words import mark, tr

__all__ = ["BLOCK", "Frame", "Piece", "Rows", "blocks", "frame_of", "pieces", "read_log", "read_names", "read_segments"]

_LIMIT = 2**62  # keys stay below it, and so does every sum of a key and a window
_ROWS = 60_000_000  # events that are worked on at a time, some 2.2 GB
BLOCK = 2**16
UNKNOWN = mark("unknown")
_MICROS = "epoch_us(CAST(occurred_at AS TIMESTAMP))"


@dataclass(frozen=True)
class Frame:
    """How a time, a unit and an event become one integer; times in ticks of ``grain`` microseconds."""

    low: int
    high: int  # inclusive
    grain: int
    window: int
    codes: int

    @property
    def stride(self) -> int:
        """Distance between two units: further than anything within one of them reaches."""
        return (self.high - self.low) // self.grain + self.window + 2

    @property
    def capacity(self) -> int:
        """How many units fit into one set of keys."""
        units = _LIMIT // (self.stride * self.codes)
        if not units:
            span = pd.Timedelta(self.high - self.low, "us").days
            raise ParameterError(f"events: {self.codes} kinds of events over {span:,} days are too many; use less time")
        return units

    def clock(self, microseconds: int) -> int:
        """First tick that is not before a moment."""
        return -((self.low - microseconds) // self.grain)


class Rows(NamedTuple):
    """Events as the engine returned them: code, time, unit and, where there are segments, the row of the segment.

    A unit is counted from the first one of its piece; an event with another than the piece's units is none of its.
    """

    code: NDArray[np.int8]
    time: NDArray[Any]
    unit: NDArray[np.int32]
    place: NDArray[Any] | None = None


@dataclass(frozen=True)
class Piece:
    """Some of the units, all their events: per code, sorted keys ``unit * stride + time``; and the rows they are of.

    ``who`` is the hash of each unit.
    """

    events: list[Ints]
    who: NDArray[np.uint64]
    rows: Rows


def pieces(events: Table, query: Query, frame: Frame, log: pd.DataFrame) -> Iterator[Piece]:
    """Yield the keys of all units that made the first step, so many units at a time as fit into memory and 62 bits."""
    rows = int(log.loc[_relevant(log, query), "n"].sum())
    size = 3 if query.order == "any" else 1.1 if query.by else 1  # of what is held per event while it is walked
    parts = 1 + int(rows * size // _ROWS)
    for part in range(parts):
        code, time, who, *place = _arrays(events, _sql(query, frame, log, part, parts), bool(query.by))
        started = code == 0
        left_out = _outside(time, query, frame) & started
        started &= ~left_out
        units = _distinct(who[started])
        unit = _rank(who, units)
        unit[left_out] = -1
        del who, started, left_out
        for first in range(0, len(units), frame.capacity):
            own = unit - np.int32(first) if first else unit
            yield _piece(Rows(code, time, own, *place), units[first : first + frame.capacity], frame)


def _outside(time: NDArray[Any], query: Query, frame: Frame) -> NDArray[np.bool_]:
    """Whether a first step at this time does not count as one."""
    since, until = (None if at is None else frame.clock(at) for at in query.starts)
    outside = np.zeros(len(time), bool)
    if since is not None:
        outside |= time < since
    if until is not None:
        outside |= time >= until
    return outside


def _piece(rows: Rows, who: NDArray[np.uint64], frame: Frame) -> Piece:
    """Pack, sort and split the events of the units ``who``."""
    n, end = len(who), 0
    key = np.empty(len(rows.code), np.int64)
    for codes, times, units in zip(blocks(rows.code), blocks(rows.time), blocks(rows.unit), strict=True):
        some = codes.astype(np.int64)
        for factor, term in ((n, units), (frame.stride, times)):
            some *= factor
            some += term
        some = some[(units >= 0) & (units < n)]
        key[end : end + len(some)] = some
        end += len(some)
    key = key[:end]
    key.sort()
    whole = n * frame.stride
    ends = np.searchsorted(key, np.arange(frame.codes + 1) * whole)
    runs = [key[ends[k] : ends[k + 1]] for k in range(frame.codes)]
    for k in range(frame.codes):  # in place, as this is the largest array
        runs[k] -= k * whole
    return Piece(runs, who, rows)


def _distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sort and leave out repeats; ``np.unique`` takes twenty times as long for hashes."""
    ordered = np.sort(values)
    return ordered[np.append(ordered[1:] != ordered[:-1], True)] if len(ordered) else ordered


def _rank(values: NDArray[np.uint64], units: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Place of each value in the sorted ``units``, -1 where it is not among them.

    The units are hashes, so their leading bits say, but for a step or two, where in the order they stand: several times
    faster than a binary search, which misses the cache at each of its twenty steps.
    """
    bits = max(len(units).bit_length(), 1)
    shift = np.uint64(64 - bits)
    within = np.bincount((units >> shift).view(np.int64), minlength=2**bits)
    table = (np.cumsum(within) - within).astype(np.int32)
    ended = np.append(units, np.uint64(2**64 - 1))
    place = np.empty(len(values), np.int32)
    for some, at in zip(blocks(values), blocks(place), strict=True):
        at[:] = table.take((some >> shift).view(np.int64))
        found = ended.take(at)
        behind = np.flatnonzero(found < some)
        while len(behind):
            at[behind] += 1
            found[behind] = ended.take(at[behind])
            behind = behind[found[behind] < some[behind]]
        at[(found != some) | (at == len(units))] = -1
    return place


def blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of as many values as stay in the cache while they are worked on: three times as fast as all at once."""
    for first in range(0, max(len(values), 1), BLOCK):
        yield values[first : first + BLOCK]


# --- what the engine is asked -----------------------------------------------------------------------------------------


def read_log(events: Table, query: Query) -> pd.DataFrame:
    """Per event name: rows, rows that cannot be used, first and last time, and how fine the times are.

    Raises
    ------
    EmptyDataError
        There is no event at all.
    ParameterError
        ``occurred_at`` is no time without time zone.
    """
    logs = events.logs if isinstance(events, Snapshot) else {}
    if query.unit not in logs:
        logs[query.unit] = _read_log(events, query)
    return logs[query.unit]


def _read_log(events: Table, query: Query) -> pd.DataFrame:
    _check_time_column(events)
    usable = f"CASE WHEN {_usable(query)} THEN {_MICROS} END"
    log = events.query(
        f"""SELECT CAST(event AS VARCHAR) AS event, COUNT(*) AS n, COUNT(*) - COUNT(us) AS unusable,
                   MIN(us) AS first, MAX(us) AS last, MAX(us % 1000000) AS fraction, MAX(us % 1000) AS fine
            FROM (SELECT event, {usable} AS us FROM {{t}}) AS e GROUP BY 1 ORDER BY n DESC, 1"""
    )
    if log.empty:
        raise EmptyDataError(tr("{table}: the table has no row, so there is no funnel to show", table=events.name))
    return log.set_index("event")


def _check_time_column(events: Table) -> None:
    kind = events.engine.columns(events.relation)["occurred_at"].upper()
    if kind == "DATE" or (kind.startswith("TIMESTAMP") and "ZONE" not in kind):
        return
    advice = "convert it to the shop's local time without a zone" if "ZONE" in kind else "convert it to timestamps"
    raise ParameterError(f"{events.name}.occurred_at has the type {kind}; {advice} first")


def frame_of(query: Query, log: pd.DataFrame) -> Frame | None:
    """Return the clock on which all that can matter lies; nothing can where there is none."""
    first, last, fraction, fine = (log[name].to_numpy() for name in ("first", "last", "fraction", "fine"))
    used = log.index.isin(query.steps) & ~np.isnan(first)
    if not used.any():
        return None
    low, high = int(first[used].min()), int(last[used].max())
    since, until = query.starts
    if since is not None:
        low = max(low, since - (query.window if query.order == "any" else 0))
    if until is not None:
        high = min(high, until - 1 + query.window)
    if query.cut is not None:
        high = min(high, query.cut - 1)
    if low > high:
        return None
    known = _relevant(log, query)
    grain = 1_000_000 if not np.nanmax(fraction[known]) else 1 if np.nanmax(fine[known]) else 1_000
    low = low // 1_000_000 * 1_000_000  # whole seconds stay whole ticks
    codes = len(query.names) + (query.order == "strict")
    return Frame(low, high, grain, query.window // grain, codes)


def _relevant(log: pd.DataFrame, query: Query) -> NDArray[np.bool_]:
    """Which events of the log are looked at: in strict order all, as any of them breaks a chain."""
    known = log.index.notna() if query.order == "strict" else log.index.isin(query.names)
    return np.asarray(known)


def _text(name: str) -> str:
    """Quote an event name for SQL that :meth:`Table.query` will format."""
    return literal(name).replace("{", "{{").replace("}", "}}")


def _names(names: Sequence[str]) -> str:
    return f"CAST(event AS VARCHAR) IN ({', '.join(map(_text, names))})"


def _usable(query: Query) -> str:
    return " AND ".join([*(f"{identifier(c)} IS NOT NULL" for c in query.unit), "isfinite(occurred_at)"])


def _timestamp(microseconds: int) -> str:
    return literal((EPOCH + pd.Timedelta(microseconds, "us")).to_pydatetime())


def _labels(query: Query) -> list[str]:
    return [f"COALESCE(CAST({identifier(c)} AS VARCHAR), '{UNKNOWN}')" for c in query.by]


def _named_labels(query: Query) -> str:
    return ", ".join(f"{label} AS b{i}" for i, label in enumerate(_labels(query)))


def _unit(query: Query) -> str:
    """Say in SQL who walks; where each segment is walked for itself, that is a person in a segment."""
    columns = [identifier(c) for c in query.unit]
    if len(columns) == 1 and query.attribution != "each":
        return columns[0]
    parts = [f"CAST({c} AS VARCHAR)" for c in columns] + (_labels(query) if query.attribution == "each" else [])
    return "(" + " || chr(31) || ".join(parts) + ")"


def _all_segments(query: Query, frame: Frame) -> str:
    """Select the segments there are: those of first steps, or where each step has its own, of any step."""
    since, until = query.starts
    per_step = query.attribution == "step"
    conditions = [_names(query.steps if per_step else query.steps[:1]), _usable(query), _between(frame)]
    conditions += [] if since is None or per_step else [f"occurred_at >= {_timestamp(since)}"]
    conditions += [] if until is None or per_step else [f"occurred_at < {_timestamp(until)}"]
    names = ", ".join(f"b{i}" for i in range(len(query.by)))
    return (
        f"SELECT DISTINCT {names} FROM (SELECT {_named_labels(query)} FROM {{t}} WHERE {' AND '.join(conditions)}) AS s"
    )


def read_segments(events: Table, query: Query, frame: Frame | None) -> pd.DataFrame:
    """Return the segments, a column per column of ``by``, in the order in which their numbers are given."""
    if not query.by:
        return pd.DataFrame(index=range(1))
    if frame is None:
        return pd.DataFrame(columns=list(query.by), dtype="str")
    names = ", ".join(f"b{i}" for i in range(len(query.by)))
    return events.query(f"{_all_segments(query, frame)} ORDER BY {names}").set_axis(list(query.by), axis=1)


def read_names(events: Table, query: Query, who: NDArray[np.uint64]) -> pd.DataFrame:
    """Return the ids behind some hashes, a row per unit: ``who`` and the columns that name it."""
    columns = ", ".join(identifier(c) for c in (*query.unit, *(query.by if query.attribution == "each" else ())))
    named = f"SELECT DISTINCT hash({_unit(query)}) AS who, {columns} FROM {{t}} WHERE {_usable(query)}"
    return events.query(f"SELECT * FROM ({named}) AS n WHERE who IN ({', '.join(map(str, who))})")


def _arrays(events: Table, sql: str, placed: bool) -> list[NDArray[Any]]:  # noqa: FBT001 - internal
    """Columns as NumPy arrays: straight from DuckDB, which costs a third of the way through a frame."""
    sql = sql.format(t=events.relation)
    if isinstance(events.engine, DuckDBEngine):
        columns: Any = events.engine.connection.execute(sql).fetchnumpy()
    else:
        columns = events.engine.query(sql)
    return [np.asarray(columns[name]) for name in ("code", "t", "who", *(["g"] if placed else []))]


def _sql(query: Query, frame: Frame, log: pd.DataFrame, part: int, parts: int) -> str:
    """Ask for one row per event that can matter: its code, time on the key's clock, who, and the segment."""
    cases = " ".join(f"WHEN {_text(name)} THEN {k}" for k, name in enumerate(query.names))
    kind = "INTEGER" if frame.stride < 2**31 else "BIGINT"
    rows = f"""
        SELECT CAST(CASE CAST(event AS VARCHAR) {cases} ELSE {len(query.names)} END AS TINYINT) AS code,
               CAST(({_MICROS} - {frame.low}) // {frame.grain} AS {kind}) AS t, hash({_unit(query)}) AS who
               {", " + _named_labels(query) if query.by else ""}
        FROM {{t}} {_where(query, frame, log)}"""
    chosen = f"WHERE who % {parts} = {part}" if parts > 1 else ""
    if not query.by:
        return f"SELECT * FROM ({rows}) AS e {chosen}" if chosen else rows
    names = ", ".join(f"b{i}" for i in range(len(query.by)))
    return f"""
    WITH segments AS (
        SELECT {names}, CAST(row_number() OVER (ORDER BY {names}) - 1 AS INTEGER) AS g
        FROM ({_all_segments(query, frame)}) AS s
    )
    SELECT code, t, who, COALESCE(g, 0) AS g FROM ({rows}) AS e LEFT JOIN segments USING ({names}) {chosen}"""


def _between(frame: Frame) -> str:
    return f"occurred_at BETWEEN {_timestamp(frame.low)} AND {_timestamp(frame.high)}"


def _where(query: Query, frame: Frame, log: pd.DataFrame) -> str:
    """Leave out what cannot matter, and ask nothing that all rows fulfil: to filter costs as much as to fetch."""
    chosen = log[_relevant(log, query)]
    conditions = []
    if len(chosen) < len(log):
        conditions.append("event IS NOT NULL" if query.order == "strict" else _names(query.names))
    if chosen["unusable"].any():
        conditions.append(_usable(query))
    if chosen["first"].min() < frame.low or chosen["last"].max() > frame.high:
        conditions.append(_between(frame))
    return "WHERE " + " AND ".join(conditions) if conditions else ""
