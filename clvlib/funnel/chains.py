"""From an event log to one chain of steps per person: the engine's part, the packing and the walk, put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.engine import Table
from clvlib.funnel.keys import frame_of, pieces, read_log, read_names, read_segments
from clvlib.funnel.query import Ints, Query
from clvlib.funnel.walk import Walked, walk

__all__ = ["Chains", "chains"]

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
        ``occurred_at`` is no time without time zone, or there are more segments than a key can hold.
    """
    events.require(*query.unit, "event", "occurred_at", *query.by)
    log = read_log(events, query)
    segments = read_segments(events, query)
    frame = frame_of(query, log, len(segments))
    found = [] if frame is None else [walk(piece, query, frame) for piece in pieces(events, query, frame, log)]
    found = found or [_nobody(len(query.steps))]
    one = found[0] if len(found) == 1 else Walked(*(np.concatenate(column) for column in zip(*found, strict=True)))
    robots = _named(events, query, one.robots, one.robot_events)
    return Chains(one.depth, one.segment, one.closed, one.times, one.first, one.gaps, segments, log, robots)


def _nobody(steps: int) -> Walked:
    none, grid = np.zeros(0, np.int64), np.zeros((0, steps), np.int64)
    return Walked(none.astype(np.int8), grid, none.astype(bool), grid, grid, grid, none.astype(np.uint64), none)


def _named(events: Table, query: Query, who: NDArray[np.uint64], counts: Ints) -> pd.DataFrame:
    """Return ids and events of the robots; asked of the engine only where there are any."""
    order = np.argsort(-counts, kind="stable")
    table = pd.DataFrame({"who": who[order], "events": counts[order]})
    if table.empty:
        return table.drop(columns="who")
    names = read_names(events, query, table["who"].to_numpy()[:_SHOWN])
    return names.merge(table, on="who", how="right").drop(columns="who")
