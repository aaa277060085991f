"""From sorted keys to one chain of steps per unit: what has to be fast, and exact.

Step by step, each event looks up the latest event of the step before that can be reached from a start, and takes over
that start. No other choice can do better: of the events that can be reached, a later one comes from a start that is as
late or later, so it leaves most of the window, of the gap and of the way past what breaks a chain. The cost is a few
passes over the sorted keys, whatever the number of re-entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clvlib.funnel.keys import BLOCK, Frame, Piece, blocks
from clvlib.funnel.query import Ints, Query

__all__ = ["Walked", "walk"]


class Walked(NamedTuple):
    """What the units of a piece have reached: see :class:`clvlib.funnel.chains.Chains`; and who was kept apart."""

    depth: NDArray[np.int8]
    segment: Ints
    closed: NDArray[np.bool_]
    times: Ints
    first: Ints
    gaps: Ints
    robots: NDArray[np.uint64]
    robot_events: Ints


def walk(piece: Piece, query: Query, frame: Frame, splits: Ints) -> Walked:
    """Find the best chain of each unit of a piece.

    ``splits`` says for each way to split the units into segments, a row each, what the segments of ``query`` are there.
    """
    robots, events = _robots(piece, query, frame)
    piece = _without(piece, robots, frame) if len(robots) else piece
    path = _Path(piece, query, frame)
    depth, made, first = path.best(query.required)
    for step in query.optional:
        at = sum(k < step for k in query.required)
        deeper, through, reached = path.best((*query.required[:at], step, *query.required[at:]))
        for column, found in ((made, through), (first, reached)):
            column[:, step] = np.where(deeper > depth, found[:, step], -1)
    gaps = path.gaps(made)
    segment = path.segments(first, splits)
    base = np.arange(len(depth)) * frame.stride
    for k in range(made.shape[1]):  # in place, as these are the largest arrays left
        there = made[:, k] >= 0
        for keys in (made, first):
            keys[there, k] = (keys[there, k] - base[there]) * frame.grain + frame.low
        gaps[there, k] *= frame.grain
    walks: slice | NDArray[np.bool_] = slice(None)
    if len(robots):
        walks = np.ones(len(depth), bool)
        walks[robots] = False
    return Walked(
        depth[walks], segment[walks], path.closed[walks], made[walks], first[walks], gaps[walks], piece.who[robots],
        events,
    )  # fmt: skip


def _robots(piece: Piece, query: Query, frame: Frame) -> tuple[Ints, Ints]:
    """Units with more events of one step than anybody makes by hand, and how many they have of all steps.

    Of so many keys in a row, two at least are met when every n-th is looked at, where n is half as many.
    """
    steps = piece.events[: len(query.steps)]
    met = [keys[:: max(query.robot // 2, 1)] // frame.stride for keys in steps]
    units = np.unique(np.concatenate([unit[1:][unit[1:] == unit[:-1]] for unit in met]))
    bounds = [np.searchsorted(keys, np.array([units, units + 1]) * frame.stride) for keys in steps]
    counts = np.array([high - low for low, high in bounds])
    robots = counts.max(axis=0) > query.robot
    return units[robots], counts[:, robots].sum(axis=0)


def _without(piece: Piece, robots: Ints, frame: Frame) -> Piece:
    kept = [~np.isin(keys // frame.stride, robots) for keys in piece.events]
    return replace(piece, events=[keys[some] for keys, some in zip(piece.events, kept, strict=True)])


class _Path:
    """The events of a piece, which of its starts count, and the ways through them."""

    def __init__(self, piece: Piece, query: Query, frame: Frame) -> None:
        self.query, self.frame = query, frame
        self.events, self.rows, self.units = piece.events, piece.rows, len(piece.who)
        self.counted, self.closed = self._counted()
        self.starts = self.events[0][self.counted]
        ways = {self._way(k) for k in range(1, len(query.steps) + (query.order == "any"))}
        self.blocks = {step: self._blocks(step) for step in ways}
        self.side: Literal["left", "right"] = "right" if query.ties else "left"

    def _first(self, keys: Ints) -> tuple[Ints, Ints]:
        """Rows of each unit's first key, and the units."""
        rows, units, last = [], [], -1
        for k, some in enumerate(blocks(keys)):
            unit = some // self.frame.stride
            new = np.flatnonzero(np.diff(unit, prepend=last))
            rows.append(new + k * BLOCK)
            units.append(unit[new])
            last = unit[-1] if len(unit) else last
        return np.concatenate(rows), np.concatenate(units)

    def _counted(self) -> tuple[NDArray[np.bool_] | slice, NDArray[np.bool_]]:
        """Leave out the open starts of those who have a closed one; say which starts count, and who is closed.

        A closed start has been watched for the whole window, an open one only if it converted early: to count the
        second kind would overstate the rate. So the open ones count for nobody but those who have no other, who are
        kept apart.
        """
        query, frame, starts = self.query, self.frame, self.events[0]
        closed = np.ones(self.units, bool)
        last_closed = frame.stride
        if query.cut is not None and query.exclude_open:  # the window is inclusive and the cut is not
            last_closed = frame.clock(query.cut - query.window) - 1
        if query.reentry and last_closed >= frame.stride:
            return slice(None), closed
        unit = starts // frame.stride
        over = starts - unit * frame.stride <= last_closed
        if not query.reentry:
            first = np.zeros(len(starts), bool)
            first[self._first(starts)[0]] = True
            over &= first
        closed[unit] = False
        closed[unit[over]] = True
        return over | ~closed[unit] if query.reentry else first, closed

    def _way(self, step: int) -> int:
        """Required step to which the way to ``step`` leads; beyond the steps where there is none."""
        return min((k for k in self.query.required if k >= step), default=len(self.query.steps))

    def _blocks(self, step: int) -> Ints | None:
        """Keys of the events that may not come on the way to a required step.

        A chain is broken by a key that is not before the one step, and is before the other. Events at the same time are
        taken in the order of their codes; so an earlier step's key counts as one tick before.
        """
        query, last = self.query, len(self.query.steps)
        codes = [last + k for k, (_, steps) in enumerate(query.excluded) if step in steps]
        earlier: list[int] = []
        if query.order == "strict":
            before = max((k for k in query.required if k < step), default=0)
            codes = list(range(min(step + 1, last), len(self.events)))
            earlier = list(range(before))
        keys = [self.events[code] for code in codes] + [self.events[code] - 1 for code in earlier]
        return np.sort(np.concatenate(keys)) if sum(map(len, keys)) else None

    # --- the steps in their order -------------------------------------------------------------------------------------

    def best(self, chain: Sequence[int]) -> tuple[NDArray[np.int8], Ints, Ints]:
        """Steps of ``chain`` that each unit reaches, the keys by which it first goes so far, and first reaches each."""
        return self._any_order(chain) if self.query.order == "any" else self._in_order(chain)

    def _nowhere(self) -> Ints:
        """One column per step, with no key in it."""
        return np.full((self.units, len(self.query.steps)), -1, np.int64, order="F")

    def _in_order(self, chain: Sequence[int]) -> tuple[NDArray[np.int8], Ints, Ints]:
        depth, reached = np.zeros(self.units, np.int8), self._nowhere()
        layers: list[Ints] = []
        origin = base = keys = self.starts
        for k, step in enumerate(chain):
            if k:
                found = [self._reached(layers[-1], origin, base, some, step) for some in blocks(self.events[step])]
                keys, origin, base = (np.concatenate(column) for column in zip(*found, strict=True))
            if not len(keys):
                break
            layers.append(keys)
            first, unit = self._first(keys)
            depth[unit] = k + 1
            reached[unit, step] = keys[first]
        return depth, self._back(chain, layers, depth, reached), reached

    def _reached(self, before: Ints, origin: Ints, base: Ints, keys: Ints, step: int) -> tuple[Ints, Ints, Ints]:
        """Leave the keys that go on from a key of the layer before; with their start and their last required step."""
        at = np.searchsorted(before, keys, side=self.side) - 1
        start = origin[at]
        alive = (at >= 0) & (keys - start <= self.frame.window)
        gap = self.query.gaps[step] if self.query.gaps else None
        if gap is not None:
            alive &= keys - base[at] <= gap // self.frame.grain
        blocked = self.blocks[self._way(step)]
        if blocked is not None:
            last = np.searchsorted(blocked, keys) - 1
            alive &= (last < 0) | (blocked[last] < before[at])
        keys = keys[alive]
        return keys, start[alive], base[at[alive]] if step in self.query.optional else keys

    def _back(self, chain: Sequence[int], layers: list[Ints], depth: NDArray[np.int8], reached: Ints) -> Ints:
        """Go back from each unit's deepest event, each time to the latest that led there; -1 where there is none."""
        made = self._nowhere()
        for k in range(len(layers) - 1, -1, -1):
            ended = depth == k + 1
            made[ended, chain[k]] = reached[ended, chain[k]]
            if k + 1 < len(layers):
                rows = np.flatnonzero(depth > k + 1)
                at = np.searchsorted(layers[k], made[rows, chain[k + 1]], side=self.side) - 1
                made[rows, chain[k]] = layers[k][at]
        return made

    # --- the steps in any order ---------------------------------------------------------------------------------------

    def _any_order(self, chain: Sequence[int]) -> tuple[NDArray[np.int8], Ints, Ints]:
        """Count from every event that could be a unit's earliest how many of the first steps come soon enough."""
        runs = [self.starts, *(self.events[step] for step in chain[1:])]
        earliest = np.sort(np.concatenate(runs))
        limit = earliest + self.frame.window
        blocks = self.blocks[len(self.query.steps)]
        if blocks is not None:
            limit = np.minimum(limit, _next(blocks, earliest))
        depth, made, reached = np.zeros(self.units, np.int8), self._nowhere(), self._nowhere()
        start = np.full(self.units, -1)
        for k, run in enumerate(runs):
            soon = _next(run, earliest) <= limit
            earliest, limit = earliest[soon], limit[soon]
            first, unit = self._first(earliest)
            depth[unit] = k + 1
            start[unit] = earliest[first]
            reached[unit, chain[k]] = _next(run, start[unit])
        for k, run in enumerate(runs):
            rows = np.flatnonzero(depth > k)
            made[rows, chain[k]] = _next(run, start[rows])
        return depth, made, reached

    # --- what is said of a chain --------------------------------------------------------------------------------------

    def gaps(self, made: Ints) -> Ints:
        """Time to each step from the latest event of the required step before, be it part of the chain or not.

        The chain's own steps would do, were it not that a start is looked for where its window is over: for people who
        come often, the time from that start to the next step would grow with the window and say nothing of how long
        they took. In any order, it is the time that all steps up to this one took.
        """
        gaps = np.full_like(made, -1)
        gaps[:, 0] = 0
        for k in range(1, made.shape[1]):
            rows = np.flatnonzero(made[:, k] >= 0)
            before = [step for step in self.query.required if step < k]
            if self.query.order == "any":
                times = made[rows][:, [*before, k]]
                gaps[rows, k] = times.max(axis=1) - times.min(axis=1)
            else:
                events = self.events[before[-1]]
                at = np.searchsorted(events, made[rows, k], side=self.side) - 1
                gaps[rows, k] = made[rows, k] - events[at]
        return gaps

    def segments(self, reached: Ints, splits: Ints) -> Ints:
        """Segment of each unit at each step; shape (units, splits, steps).

        Where each step has its own, it is that of the event by which the step was first reached. The events of the
        chain would not do: a unit that goes on was last seen where it went on from, one that does not, where it began.
        """
        shape = (self.units, len(splits), reached.shape[1])
        if not self.query.by:
            return np.broadcast_to(np.int64(0), shape)
        if self.query.attribution == "step":
            return np.stack([self._placed(k, reached[:, k], splits) for k in range(shape[2])], axis=-1)
        first, unit = self._first(self.starts)
        last = self.query.attribution == "last" and self.query.reentry
        touch = np.full(self.units, -1)
        touch[unit] = self.starts[np.append(first[1:], len(self.starts)) - 1 if last else first]
        return np.broadcast_to(self._placed(0, touch, splits, last=last)[:, :, None], shape)

    def _placed(self, step: int, keys: Ints, splits: Ints, *, last: bool = False) -> Ints:
        """Segment of the event of a step that each unit made at its key; shape (units, splits).

        Of several at that time, it is the one whose segment comes first, or last.
        """
        time = np.where(keys < 0, -1, keys - np.arange(self.units) * self.frame.stride)
        units, places = [], []
        columns = [blocks(np.asarray(column)) for column in self.rows]
        for code, times, unit, place in zip(*columns, strict=True):
            some = np.flatnonzero((code == step) & (unit >= 0) & (unit < self.units))
            there = unit[some]
            met = time[there] == times[some]
            units.append(there[met])
            places.append(place[some[met]])
        unit, place = np.concatenate(units), np.concatenate(places)
        found = np.full((self.units, len(splits)), -1 if last else splits.shape[1])
        for k, segment in enumerate(splits):
            (np.maximum if last else np.minimum).at(found[:, k], unit, segment[place])
        found[keys < 0] = 0
        return found


def _next(keys: Ints, after: Ints) -> Ints:
    """The first of the sorted keys that is not before each moment; beyond all of them where there is none."""
    return np.append(keys, np.iinfo(np.int64).max)[np.searchsorted(keys, after)]
