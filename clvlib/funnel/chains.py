"""From an event log to one chain of steps per person: the engine's part, the packing and the walk, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.engine import Table
from clvlib.funnel.keys import frame_of, pieces, read_log, read_names, read_segments
from clvlib.funnel.query import Ints, Query
from clvlib.funnel.walk import Walked, walk

__all__ = ["Chains", "chains", "chains_by"]

_SHOWN = 100  # robots that are named


@dataclass(frozen=True)
class Chains:
    """The best chain of each unit that made the first step, a unit per row.

    Attributes
    ----------
    depth : ndarray of int, shape (n,)
        Required steps reached, at least 1.
    segment : ndarray of int, shape (n, k)
        Row of ``segments`` that the unit belongs to at each step.
    closed : ndarray of bool, shape (n,)
        Whether the window of the chain's start is over.
    times : ndarray of int, shape (n, k)
        When each step of the chain was made, in microseconds since 1970; -1 where it was not.
    first : ndarray of int, shape (n, k)
        When each step was first reached from any start; -1 where it was not.
    gaps : ndarray of int, shape (n, k)
        Microseconds from the latest event of the required step before to each step (in any order, that all steps so far
        took); -1 where it was not made, 0 for the first.
    segments : pandas.DataFrame
        The segments, a column per ``by`` column, as text.
    log : pandas.DataFrame
        Per event name in the whole log: rows, and rows left out for want of an id or a time.
    robots : pandas.DataFrame
        Units kept apart as no person does so much: their ids (of the 100 busiest; the others' are missing) and
        ``events``, how many of these steps, the busiest first. They are in nothing else here.
    """

    depth: NDArray[np.int8]
    segment: Ints
    closed: NDArray[np.bool_]
    times: Ints
    first: Ints
    gaps: Ints
    segments: pd.DataFrame
    log: pd.DataFrame
    robots: pd.DataFrame


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
    return chains_by(events, query, [query.by])[0]


def chains_by(events: Table, query: Query, splits: Sequence[tuple[str, ...]]) -> list[Chains]:
    """Find the best chain of each unit once, and split the units into segments in several ways.

    Parameters
    ----------
    events, query
        As for :func:`chains`; with the attribution "each", where segments say what a unit is, there is one way.
    splits : sequence of tuple of str
        Columns whose combinations are segments; none for no segments.

    Returns
    -------
    list of Chains
        What :func:`chains` finds by the columns of each split; they share all but ``segment`` and ``segments``.
    """
    query = replace(query, by=tuple(dict.fromkeys(name for columns in splits for name in columns)))
    events.require(*query.unit, "event", "occurred_at", *query.by)
    log = read_log(events, query)
    frame = frame_of(query, log)
    segments = read_segments(events, query, frame)
    codes = {name: pd.factorize(segments[name], sort=True)[0] for name in query.by if [*splits] != [query.by]}
    ways = [_numbered(segments, codes, columns) for columns in splits]
    places = np.array([place for _, place in ways])
    found = [] if frame is None else [walk(piece, query, frame, places) for piece in pieces(events, query, frame, log)]
    found = found or [_nobody(len(query.steps), len(splits))]
    one = found[0] if len(found) == 1 else Walked(*(np.concatenate(column) for column in zip(*found, strict=True)))
    robots = _named(events, query, one.robots, one.robot_events)
    return [
        Chains(one.depth, one.segment[:, k], one.closed, one.times, one.first, one.gaps, names, log, robots)
        for k, (names, _) in enumerate(ways)
    ]


def _numbered(segments: pd.DataFrame, codes: dict[str, Ints], columns: tuple[str, ...]) -> tuple[pd.DataFrame, Ints]:
    """Segments by some of the columns, in their order, and which of them each segment by all columns belongs to."""
    if columns == tuple(segments.columns):
        return segments, np.arange(len(segments))
    place = np.zeros(len(segments), np.int64)
    for name in columns:  # numbered anew after each column, so that they stay small
        place = np.unique(place * len(segments) + codes[name], return_inverse=True)[1]
    first = np.unique(place, return_index=True)[1]
    names = segments.loc[first, list(columns)].reset_index(drop=True)
    return names if columns else pd.DataFrame(index=range(1)), place


def _nobody(steps: int, splits: int) -> Walked:
    none, grid = np.zeros(0, np.int64), np.zeros((0, steps), np.int64)
    segment = np.zeros((0, splits, steps), np.int64)
    return Walked(none.astype(np.int8), segment, none.astype(bool), grid, grid, grid, none.astype(np.uint64), none)


def _named(events: Table, query: Query, who: NDArray[np.uint64], counts: Ints) -> pd.DataFrame:
    """Return ids and events of the robots; asked of the engine only where there are any."""
    if not len(who):
        return pd.DataFrame({"events": counts})
    order = np.argsort(-counts, kind="stable")
    table = pd.DataFrame({"who": who[order], "events": counts[order]})
    names = read_names(events, query, table["who"].to_numpy()[:_SHOWN])
    return names.merge(table, on="who", how="right").drop(columns="who")
