"""How many people walk through the steps, with intervals, and nobody counted as lost while the window is open (F1)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pandas as pd

from clvlib.data.engine import Table, as_table
from clvlib.errors import ParameterError, ThinDataWarning
from clvlib.funnel.chains import Attribution, Chains, Query, chains, moment
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval

__all__ = ["FunnelResult", "funnel", "question", "readable"]

_UNITS = {"person": ("person_id",), "session": ("person_id", "session_id")}


@dataclass(frozen=True)
class FunnelResult(Result):
    """A funnel, a row per step (per segment and step with ``by``).

    ``table`` has the columns of ``by``, then

    - ``step``, ``people``: units that reached it and whose window is over;
    - ``from_previous`` with ``lower`` and ``upper``, ``from_first`` with ``first_lower`` and ``first_upper``: step and
      total conversion with Wilson intervals (1 for the first step, by definition; missing for 0 of 0);
    - ``still_open``: units that have reached it so far, whose windows are all open; they are in no rate;
    - ``median_minutes``: median time since the latest event of the step before, of those in ``people``; missing where
      there is nobody.

    Attributes
    ----------
    steps, by : tuple of str
        As asked for.
    window : str
        Longest time from the first step to the last.
    unit : str
        ``person``, or ``session``: a person in a session.
    level : float
        Confidence level of the intervals.
    attribution : str
        Which event said to which segment a unit belongs.
    as_of : str
        End of what has been observed; empty when everything counts as observed.
    open_units : int
        Units that are neither converted nor lost because all their windows are open.
    unusable : int
        Events of these steps without an id or a time; they are in no figure.
    total : pandas.DataFrame
        ``table`` over all segments together; equal to it without ``by``.
    """

    steps: tuple[str, ...] = field(repr=False)
    window: str
    unit: str
    level: float
    attribution: str
    as_of: str
    open_units: int
    unusable: int
    by: tuple[str, ...] = field(repr=False)
    total: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """How many get through, and where most are lost, in words."""
        table = self.total
        if len(table) < 2 or not table["people"].iloc[0]:
            return f"{table['people'].iloc[0]:,} {self.unit}s made {self.steps[0]}"
        lost = (-table["people"].diff()).iloc[1:].to_numpy()
        at = int(lost.argmax()) + 1
        rate, whole = table["from_previous"].iloc[at], table["from_first"].iloc[-1]
        return (
            f"{whole:.1%} go all the way from {self.steps[0]} to {self.steps[-1]}; "
            f"most are lost between {self.steps[at - 1]} and {self.steps[at]}, where {rate:.1%} go on"
        )


def funnel(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    window: str | pd.Timedelta = "7D",
    by: str | Sequence[str] = (),
    *,
    unit: Literal["person", "session"] = "person",
    level: float = 0.95,
    as_of: Any = None,
    starts: tuple[Any, Any] | None = None,
    open_windows: Literal["exclude", "so far"] = "exclude",
    attribution: Attribution = "first",
    strict: bool = False,
    reentry: bool = True,
) -> FunnelResult:
    """Count who moves through ``steps`` in their order within ``window`` of the first of them.

    Every first step opens a window, and the one that leads furthest counts: a person who came in vain on Monday and
    bought on Thursday has bought. The counts are exact, and equal to those of ClickHouse's ``windowFunnel``.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id``, ``occurred_at`` (a timestamp in the shop's zone, without time zone), ``event``; what ``by``
        names; ``session_id`` for sessions.
    steps : sequence of str
        Event names, at least one, each once. Other events may come between them.
    window : str or pandas.Timedelta
        Longest time from the first step to the last, inclusive.
    by : str or sequence of str
        Columns whose combinations are segments; a missing value is the segment ``unknown``.
    unit : {"person", "session"}
        Who walks. A session of a livestream has many viewers, so "session" means one person in one session.
    level : float
        Confidence level.
    as_of : date or time, optional
        End of what has been observed; a date means the end of that day. Later events are not looked at, and a start
        whose window is not over is not counted as lost: see ``open_windows``. Without it every start counts.
    starts : tuple, optional
        Earliest and latest (exclusive) time of a first step; ``None`` leaves a side open.
    open_windows : {"exclude", "so far"}
        "exclude": rates are over the units with at least one start whose window is over, and such starts alone.
        "so far": every start counts with what has happened by ``as_of``: to compare weeks, each seen at the same age.
    attribution : {"first", "last", "each"}
        A unit belongs to the segment of its first, or its last counted start; the segments then add up to the total.
        With "each", all steps must be made in one segment and a unit counts in every segment it starts in (the same
        category viewed and bought, say); the total then counts pairs of unit and segment.
    strict : bool
        Two events at the same time are taken in the order of ``steps``, since logs are coarse. With ``strict`` a step
        must come later than the one before it.
    reentry : bool
        Without it, each unit's first start alone counts, as in many tools.

    Returns
    -------
    FunnelResult
        Its ``table`` has a row per step.

    Raises
    ------
    ParameterError
        No step, a step twice, a window that is not positive, none of the steps in the log, and the like.
    MissingColumnError
        A column that is needed is absent.
    EmptyDataError
        There is no event.

    Warns
    -----
    ThinDataWarning
        A step does not occur in the log at all, or a rate is undefined (0 of 0) and is given as missing.

    Examples
    --------
    >>> log = pd.DataFrame({
    ...     "person_id": ["a", "a", "a", "b", "b"],
    ...     "event": ["view", "view", "order", "view", "order"],
    ...     "occurred_at": pd.to_datetime(["2026-11-02", "2026-11-12", "2026-11-13", "2026-11-02", "2026-11-12"]),
    ... })
    >>> funnel(log, ["view", "order"], window="7D").table[["step", "people", "from_first"]]
        step  people  from_first
    0   view       2         1.0
    1  order       1         0.5
    """
    query, span = question(
        steps, window, by, unit=unit, as_of=as_of, starts=starts, open_windows=open_windows,
        attribution=attribution, strict=strict, reentry=reentry,
    )  # fmt: skip
    found = chains(as_table(events, "events"), query)
    _check_names(found.log, query.steps)
    table = _table(found, query.steps, level)
    total = _table(found, query.steps, level, whole=True) if query.by else table
    _warn_undefined(total if query.by else table, query)
    return FunnelResult(
        steps=query.steps, window=readable(span), unit=unit, level=level, attribution=attribution,
        as_of="" if as_of is None else str(as_of), open_units=int((~found.closed).sum()),
        unusable=int(found.log["unusable"].reindex(list(query.steps)).sum()), by=query.by, total=total, table=table,
    )  # fmt: skip


def question(
    steps: Sequence[str],
    window: str | pd.Timedelta,
    by: str | Sequence[str] = (),
    *,
    unit: str = "person",
    as_of: Any = None,
    starts: tuple[Any, Any] | None = None,
    open_windows: str = "exclude",
    attribution: str = "first",
    strict: bool = False,
    reentry: bool = True,
) -> tuple[Query, pd.Timedelta]:
    """Check the arguments of a funnel (see :func:`funnel`); return what they ask, and the window."""
    span = _window(window)
    query = Query(
        steps=_steps(steps),
        window=span // pd.Timedelta(microseconds=1),
        unit=_choice(unit, _UNITS, "unit"),
        by=(by,) if isinstance(by, str) else tuple(by),
        attribution=_choice(attribution, {"first": "first", "last": "last", "each": "each"}, "attribution"),
        starts=_range(starts),
        cut=None if as_of is None else moment(as_of, "as_of", whole_day=True),
        exclude_open=_choice(open_windows, {"exclude": True, "so far": False}, "open_windows"),
        strict=strict,
        reentry=reentry,
    )
    return query, span


# --- arguments --------------------------------------------------------------------------------------------------------


def _steps(steps: Sequence[str]) -> tuple[str, ...]:
    if isinstance(steps, str) or not len(steps):
        raise ParameterError(f"steps: a list of event names is needed, found {steps!r}")
    if len(set(steps)) < len(steps):
        raise ParameterError(f"steps: {list(steps)} names an event twice; a step may occur once")
    return tuple(str(step) for step in steps)


def _window(window: str | pd.Timedelta) -> pd.Timedelta:
    try:
        span = pd.Timedelta(window)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"window: {window!r} is no length of time; write it like '7D' or '30min'") from error
    if pd.isna(span) or span < pd.Timedelta(microseconds=1):
        raise ParameterError(f"window: {window!r} is not positive; a window of nothing lets nobody pass")
    return span


def _range(starts: tuple[Any, Any] | None) -> tuple[int | None, int | None]:
    if starts is None:
        return None, None
    since, until = (None if at is None else moment(at, "starts") for at in starts)
    if since is not None and until is not None and since >= until:
        raise ParameterError(f"starts: {starts[0]} is not before {starts[1]} (which is exclusive)")
    return since, until


def _choice(value: Any, known: dict[str, Any], name: str) -> Any:
    if value not in known:
        raise ParameterError(f"{name}: {value!r} is not one of {', '.join(map(repr, known))}")
    return known[value]


def readable(span: pd.Timedelta) -> str:
    """Write a length of time briefly.

    >>> readable(pd.Timedelta("7D")), readable(pd.Timedelta("90min"))
    ('7 days', '0 days 01:30:00')
    """
    return f"{span.days} day{'s' if span.days != 1 else ''}" if span == pd.Timedelta(days=span.days) else str(span)


def _check_names(log: pd.DataFrame, steps: tuple[str, ...]) -> None:
    """Tell a name that is not in the log from a step that nobody reached."""
    known = [str(name) for name in log.index]
    absent = [step for step in steps if step not in known]
    shown = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
    if len(absent) == len(steps):
        raise ParameterError(f"steps: none of {', '.join(steps)} occurs in the log; its events are {shown}")
    for step in absent:
        close = get_close_matches(step, known, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        warnings.warn(
            f"steps: {step!r} never occurs in the log{hint}, so nobody reaches it; its events are {shown}",
            ThinDataWarning,
            stacklevel=3,
        )


# --- figures ----------------------------------------------------------------------------------------------------------


def _table(found: Chains, steps: tuple[str, ...], level: float, *, whole: bool = False) -> pd.DataFrame:
    """Count units per segment and step, with rates and medians."""
    k, groups = len(steps), 1 if whole else len(found.segments)
    segment = np.zeros_like(found.segment) if whole else found.segment
    closed = found.closed
    people = _reached(segment[closed], found.depth[closed], groups, k)
    still_open = _reached(segment[~closed], found.depth[~closed], groups, k)
    if not whole:  # a segment that has open units alone is shown: its people are not known yet
        labels = found.segments.loc[found.segments.index.repeat(k)].reset_index(drop=True)
    table = pd.DataFrame({"step": np.tile(np.asarray(steps, object), groups), "people": people.ravel()})
    previous = np.column_stack([people[:, 0], people[:, :-1]]).ravel()
    first = np.repeat(people[:, 0], k)
    table = table.assign(
        **_rates("from_previous", "", people.ravel(), previous, level, k),
        **_rates("from_first", "first_", people.ravel(), first, level, k),
        still_open=still_open.ravel(),
        median_minutes=_medians(found, segment, groups).ravel(),
    )
    table["step"] = table["step"].astype("str")
    return table if whole or found.segments.columns.empty else pd.concat([labels, table], axis=1)


def _reached(segment: Any, depth: Any, groups: int, k: int) -> Any:
    counts = np.bincount(segment * (k + 1) + depth, minlength=groups * (k + 1)).reshape(groups, k + 1)
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]


def _rates(name: str, prefix: str, x: Any, n: Any, level: float, k: int) -> dict[str, Any]:
    """Rate and interval where there is something to divide by; the first step's are 1 by definition."""
    rate = np.full((len(x), 3), np.nan)
    some = n > 0
    if some.any():
        rate[some] = _interval(x[some], n[some], level)
    rate[::k][x[::k] > 0] = 1.0
    return {name: rate[:, 0], f"{prefix}lower": rate[:, 1], f"{prefix}upper": rate[:, 2]}


def _interval(x: Any, n: Any, level: float) -> Any:
    try:
        return proportion_interval(x, n, level).to_numpy()
    except ValueError as error:
        raise ParameterError(str(error)) from error


def _medians(found: Chains, segment: Any, groups: int) -> Any:
    """Minutes since the latest event of the step before, median over closed units; missing where nobody is."""
    k = found.gaps.shape[1]
    medians = np.full((groups, k), np.nan)
    medians[:, 0] = 0.0
    for step in range(1, k):
        rows = found.closed & (found.depth > step)
        minutes = pd.Series(found.gaps[rows, step] / 60e6)
        by_segment = minutes.groupby(segment[rows]).median()
        medians[by_segment.index, step] = by_segment
    return medians


def _warn_undefined(total: pd.DataFrame, query: Query) -> None:
    if total["people"].iloc[0] == 0:
        waiting = f"; {total['still_open'].iloc[0]} have an open window" if total["still_open"].iloc[0] else ""
        text = f"nobody made the first step {query.steps[0]!r} with a window that is over{waiting}: rates are missing"
        warnings.warn(text, ThinDataWarning, stacklevel=3)
        return
    empty = total.loc[total["people"].eq(0) & total.index.to_series().lt(len(total) - 1), "step"]
    if len(empty):
        text = f"nobody reached {empty.iloc[0]!r}, so the step rate after it is missing (0 of 0)"
        warnings.warn(text, ThinDataWarning, stacklevel=3)
