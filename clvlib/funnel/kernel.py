"""How many people walk through the steps, with intervals, and nobody counted as lost while the window is open (F1)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.engine import Table, as_table
from clvlib.errors import ParameterError, ThinDataWarning
from clvlib.funnel.chains import Chains, chains_by
from clvlib.funnel.query import Attribution, Ints, Order, Query, moment
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr, trn

__all__ = ["FunnelResult", "funnel", "funnels", "question", "readable"]

_UNITS = {"person": ("person_id",), "session": ("person_id", "session_id")}
_MADE = {"person": mark("{people:,} persons made {step}"), "session": mark("{people:,} sessions made {step}")}


@dataclass(frozen=True)
class FunnelResult(Result):
    """A funnel, a row per step (per segment and step with ``by``).

    ``table`` has the columns of ``by``, then

    - ``step``, ``people``: units that reached it and whose window is over; for an optional step, those whose chain can
      be made through it;
    - ``from_previous`` (of the required step before) with ``lower`` and ``upper``, ``from_first`` with ``first_lower``
      and ``first_upper``: step and total conversion with Wilson intervals (1 for the first step, by definition; missing
      for 0 of 0);
    - ``still_open``: units that have reached it so far, whose windows are all open; they are in no rate;
    - ``median_minutes``: median time since the latest event of the required step before, of those in ``people``;
      missing where there is nobody. In any order, the time that all steps so far took.

    With the attribution "step", ``people`` and ``still_open`` are those who first reached the step in the segment, and
    the rates are of those who first reached the step before (the first step) there, wherever they went on.

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
    robots : int
        Units kept apart as no person does so much; they are in no figure.
    apart : pandas.DataFrame
        Their ids and ``events``, how many of these steps, the busiest first; ids of the 100 busiest.
    optional : tuple of str
        Steps that may be left out.
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
    robots: int = 0
    apart: pd.DataFrame = field(repr=False, default_factory=pd.DataFrame)
    optional: tuple[str, ...] = field(repr=False, default=())

    @property
    def sentence(self) -> str:
        """How many get through, and where most are lost, in words."""
        table = self.total[~self.total["step"].isin(self.optional)].reset_index(drop=True)
        steps = table["step"]
        if len(table) < 2 or not table["people"].iloc[0]:
            return tr(_MADE[self.unit], people=table["people"].iloc[0], step=tr(self.steps[0]))
        lost = (-table["people"].diff()).iloc[1:].to_numpy()
        at = int(lost.argmax()) + 1
        rate, whole = table["from_previous"].iloc[at], table["from_first"].iloc[-1]
        return tr(
            "{whole:.1%} go all the way from {first} to {last}; most are lost between {before} and {after}, where "
            "{rate:.1%} go on",
            whole=whole,
            first=tr(steps[0]),
            last=tr(steps.iloc[-1]),
            before=tr(steps[at - 1]),
            after=tr(steps[at]),
            rate=rate,
        )

    @property
    def wide(self) -> pd.DataFrame:
        """A row per segment: people at the first step, each step's share of the one before, and the whole way's.

        Columns are the steps, ``<step>_lower`` and ``<step>_upper`` for all but the first; ``all_the_way`` with limits.
        """
        first, *later = self.steps
        rows = {step: part.set_index(list(self.by)) for step, part in self.table.groupby("step", sort=False)}
        parts = {first: rows[first]["people"]}
        for step in later:
            limits = {f"{step}{end}": rows[step][end.removeprefix("_")] for end in ("_lower", "_upper")}
            parts |= {step: rows[step]["from_previous"], **limits}
        ends = {"": "from_first", "_lower": "first_lower", "_upper": "first_upper"}
        parts |= {f"all_the_way{end}": rows[self.steps[-1]][column] for end, column in ends.items()}
        return pd.DataFrame(parts)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`wide`."""
        names = [*self.steps[1:], "all_the_way"]
        return {f"{name}{end}": "share" for name in names for end in ("", "_lower", "_upper")}

    def step_before(self, step: str) -> str:
        """Return the required step before a step: what its rate is of.

        Raises
        ------
        ParameterError
            The step is not in the funnel, or is its first.
        """
        if step not in self.steps[1:]:
            steps = ", ".join(self.steps[1:]) or "none, as the funnel has one step"
            raise ParameterError(f"step: {step!r} is not a step with one before it; those are {steps}")
        return next(s for s in self.steps[self.steps.index(step) - 1 :: -1] if s not in self.optional)


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
    order: Order = "ordered",
    optional: Sequence[str] = (),
    gaps: Mapping[str, str | pd.Timedelta] | None = None,
    excluded: Sequence[str] | Mapping[str, str] = (),
    ties: bool = True,
    reentry: bool = True,
    robot: int = 20_000,
) -> FunnelResult:
    """Count who moves through ``steps`` in their order within ``window`` of the first of them.

    Every first step opens a window, and the one that leads furthest counts: a person who came in vain on Monday and
    bought on Thursday has bought. The counts are exact, and equal to those of ClickHouse's ``windowFunnel``; in strict
    order that function stops where a chain first breaks, while here the next start gets its chance.

    What is written about time: events at the same time are taken in the order of ``steps``, excluded and other events
    after them; a duplicate changes nothing; a step that a wrong clock puts before the first one leads nowhere, and an
    event without a usable time is counted as ``unusable``; times are the shop's local clock, and a column with a time
    zone is refused.

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
    attribution : {"first", "last", "each", "step"}
        A unit belongs to the segment of its first, or its last counted start; the segments then add up to the total.
        With "each", all steps must be made in one segment and a unit counts in every segment it starts in (the same
        category viewed and bought, say); the total then counts pairs of unit and segment. With "step", each step counts
        where it was first reached; see :class:`FunnelResult`.
    order : {"ordered", "strict", "any"}
        "ordered": other events may come between the steps. "strict": between a step and the next, no event of the log
        may come but those two (and optional steps between them). "any": the steps count in whichever order they come,
        within the window of each other; a row then has who made all steps up to it, the first of them a counted start.
    optional : sequence of str
        Steps that may be left out, not the first; they do not change who reaches the others.
    gaps : mapping of str to str or pandas.Timedelta, optional
        Per step, the longest time since the required step before it, inclusive.
    excluded : sequence of str, or mapping of str to str
        Events that break a chain when they come between its first step and its last; as a mapping, on the way to the
        required step that each of them names alone.
    ties : bool
        Two events at the same time are taken in the order of ``steps``, since logs are coarse. Without ``ties`` a step
        must come later than the one before it.
    reentry : bool
        Without it, each unit's first start alone counts, as in many tools.
    robot : int
        A unit with more events of one step than this, in the time that is looked at, is kept apart.

    Returns
    -------
    FunnelResult
        Its ``table`` has a row per step.

    Raises
    ------
    ParameterError
        No step, a step twice, a window that is not positive, none of the steps in the log, a rule that names what is
        no step, or rules that contradict one another.
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
    return _funnels(
        events, steps, window, [by], unit=unit, level=level, as_of=as_of, starts=starts, open_windows=open_windows,
        attribution=attribution, order=order, optional=optional, gaps=gaps, excluded=excluded, ties=ties,
        reentry=reentry, robot=robot,
    )[0]  # fmt: skip


def funnels(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    window: str | pd.Timedelta = "7D",
    by: Sequence[str | Sequence[str]] = ((),),
    **options: Any,
) -> list[FunnelResult]:
    """Split one funnel by several columns, each for itself; the events are read, and walked through, once.

    Parameters
    ----------
    events, steps, window, **options
        As for :func:`funnel`.
    by : sequence
        What :func:`funnel` takes, as often as there are funnels: ``["platform", ["platform", "category"], ()]``.

    Returns
    -------
    list of FunnelResult
        What :func:`funnel` returns for each of ``by``.
    """
    if options.get("attribution") != "each":
        return _funnels(events, steps, window, by, **options)
    return [found for columns in by for found in _funnels(events, steps, window, [columns], **options)]


def _funnels(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    window: str | pd.Timedelta,
    by: Sequence[str | Sequence[str]],
    *,
    level: float = 0.95,
    **options: Any,
) -> list[FunnelResult]:
    splits = [_columns(columns) for columns in by]
    query, span = question(steps, window, **options)
    found = chains_by(as_table(events, "events"), query, splits)
    _check_names(found[0].log, query)
    nowhere = np.broadcast_to(np.int64(0), found[0].times.shape)
    total = _table(replace(found[0], segment=nowhere, segments=pd.DataFrame(index=range(1))), query, level)
    _warn_undefined(total, query)
    as_of = options.get("as_of")
    whole = FunnelResult(
        steps=query.steps, window=readable(span), unit=options.get("unit", "person"), level=level,
        attribution=query.attribution, as_of="" if as_of is None else str(as_of),
        open_units=int((~found[0].closed).sum()),
        unusable=int(found[0].log["unusable"].reindex(list(query.steps)).sum()), by=(), total=total, table=total,
        robots=len(found[0].robots), apart=found[0].robots, optional=tuple(query.steps[k] for k in query.optional),
    )  # fmt: skip
    return [
        replace(whole, by=columns, table=_table(part, query, level)) if columns else whole
        for columns, part in zip(splits, found, strict=True)
    ]


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
    order: str = "ordered",
    optional: Sequence[str] = (),
    gaps: Mapping[str, str | pd.Timedelta] | None = None,
    excluded: Sequence[str] | Mapping[str, str] = (),
    ties: bool = True,
    reentry: bool = True,
    robot: int = 20_000,
) -> tuple[Query, pd.Timedelta]:
    """Check the arguments of a funnel (see :func:`funnel`); return what they ask, and the window."""
    span, names = _span(window, "window"), _steps(steps)
    skipped = _optional(optional, names)
    query = Query(
        steps=names,
        window=_micros(span),
        unit=_choice(unit, _UNITS, "unit"),
        by=_columns(by),
        attribution=_choice(attribution, {a: a for a in get_args(Attribution)}, "attribution"),
        starts=_range(starts),
        cut=None if as_of is None else moment(as_of, "as_of", whole_day=True),
        exclude_open=_choice(open_windows, {"exclude": True, "so far": False}, "open_windows"),
        ties=ties,
        reentry=reentry,
        order=_choice(order, {o: o for o in get_args(Order)}, "order"),
        optional=skipped,
        gaps=_gaps(gaps or {}, names),
        excluded=_excluded(excluded, names, skipped),
        robot=robot,
    )
    if order == "any" and (gaps or not ties or isinstance(excluded, Mapping)):
        raise ParameterError("order: with 'any' no step is before another; leave out gaps, ties and ways to a step")
    if robot < 1:
        raise ParameterError(f"robot: {robot} events would keep everybody apart; a limit such as 20,000 is meant")
    return query, span


# --- arguments --------------------------------------------------------------------------------------------------------


def _columns(by: str | Sequence[str]) -> tuple[str, ...]:
    columns = (by,) if isinstance(by, str) else tuple(by)
    if not all(isinstance(column, str) for column in columns):
        raise ParameterError(f"by: names of columns are needed, found {by!r}")
    return columns


def _steps(steps: Sequence[str]) -> tuple[str, ...]:
    if isinstance(steps, str) or not isinstance(steps, Sized) or not len(steps):
        raise ParameterError(f"steps: a list of event names is needed, found {steps!r}")
    if len(set(steps)) < len(steps):
        raise ParameterError(f"steps: {list(steps)} names an event twice; a step may occur once")
    return tuple(str(step) for step in steps)


def _span(window: str | pd.Timedelta, name: str) -> pd.Timedelta:
    if str(window).strip().isdigit():  # pandas would take nanoseconds
        raise ParameterError(f"{name}: {window!r} has no unit; write it like '7D' or '30min'")
    try:
        span = pd.Timedelta(window)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name}: {window!r} is no length of time; write it like '7D' or '30min'") from error
    if pd.isna(span) or span < pd.Timedelta(microseconds=1):
        raise ParameterError(f"{name}: {window!r} is not positive; a window of nothing lets nobody pass")
    return span


def _micros(span: pd.Timedelta) -> int:
    return int(span // pd.Timedelta(microseconds=1))


def _later(step: str, steps: tuple[str, ...], name: str) -> int:
    """Row of a step that is not the first."""
    if step not in steps[1:]:
        others = ", ".join(steps[1:]) or "none"
        raise ParameterError(f"{name}: {step!r} is no step after the first; those are {others}")
    return steps.index(step)


def _optional(optional: Sequence[str], steps: tuple[str, ...]) -> tuple[int, ...]:
    names = (optional,) if isinstance(optional, str) else optional
    return tuple(sorted({_later(name, steps, "optional") for name in names}))


def _gaps(gaps: Mapping[str, str | pd.Timedelta], steps: tuple[str, ...]) -> tuple[int | None, ...]:
    if not gaps:
        return ()
    longest = {_later(name, steps, "gaps"): _micros(_span(gap, f"gaps[{name!r}]")) for name, gap in gaps.items()}
    return tuple(longest.get(k) for k in range(len(steps)))


def _excluded(
    excluded: Sequence[str] | Mapping[str, str], steps: tuple[str, ...], optional: tuple[int, ...]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    names = (excluded,) if isinstance(excluded, str) else excluded
    both = [name for name in names if name in steps]
    if both:
        raise ParameterError(f"excluded: {both[0]!r} is a step; to bar a step out of its turn, ask for strict order")
    if not isinstance(names, Mapping):
        return tuple((name, tuple(range(1, len(steps) + 1))) for name in dict.fromkeys(names))
    ways = {name: _later(step, steps, f"excluded[{name!r}]") for name, step in names.items()}
    for name, way in ways.items():
        if way in optional:
            raise ParameterError(f"excluded[{name!r}]: {steps[way]!r} is optional; name a required step")
    return tuple((name, (way,)) for name, way in ways.items())


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
    return trn("{n} day", "{n} days", span.days) if span == pd.Timedelta(days=span.days) else str(span)


def _check_names(log: pd.DataFrame, query: Query) -> None:
    """Tell a name that is not in the log from a step that nobody reached."""
    known = [str(name) for name in log.index]
    absent = [name for name in query.names if name not in known]
    shown = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
    if set(query.steps) <= set(absent):
        raise ParameterError(f"steps: none of {', '.join(query.steps)} occurs in the log; its events are {shown}")
    for name in absent:
        close = get_close_matches(name, known, 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        role, so = ("steps", "nobody reaches it") if name in query.steps else ("excluded", "it breaks no chain")
        warnings.warn(
            f"{role}: {name!r} never occurs in the log{hint}, so {so}; its events are {shown}",
            ThinDataWarning,
            stacklevel=4,
        )


# --- figures ----------------------------------------------------------------------------------------------------------


def _table(found: Chains, query: Query, level: float) -> pd.DataFrame:
    """Count units per segment and step, with rates and medians."""
    k, groups = len(query.steps), len(found.segments)
    reached = found.times >= 0
    over = reached & found.closed[:, None]
    people, begun, before = (_counted(found, over, groups, at) for at in (range(k), [0] * k, query.before))
    columns = {
        "step": pd.array(list(query.steps) * groups, "str"),
        "people": people.ravel(),
        **_rates("from_previous", "", before, people[:, query.before], level),
        **_rates("from_first", "first_", begun, people[:, [0] * k], level),
        # a segment that has open units alone is shown: its people are not known yet
        "still_open": _counted(found, reached & ~found.closed[:, None], groups, range(k)).ravel(),
        "median_minutes": _medians(found, over, groups).ravel(),
    }
    labels = {name: column.array.repeat(k) for name, column in found.segments.items()}
    return pd.DataFrame(labels | columns)


def _counted(found: Chains, reached: NDArray[np.bool_], groups: int, at: Sequence[int]) -> Ints:
    """Count units that reached each step, by the segment that they belong to at the step which ``at`` says."""
    counts = [np.bincount(found.segment[reached[:, k], step], minlength=groups) for k, step in enumerate(at)]
    return np.column_stack(counts)


def _rates(name: str, prefix: str, x: Ints, n: Ints, level: float) -> dict[str, Any]:
    """Rate and interval where there is something to divide by; the first step's are 1 by definition."""
    rate = np.full((*x.shape, 3), np.nan)
    some = n > 0
    if some.any():
        rate[some] = _interval(x[some], n[some], level)
    rate[:, 0][x[:, 0] > 0] = 1.0
    columns = rate.reshape(-1, 3).T
    return dict(zip((name, f"{prefix}lower", f"{prefix}upper"), columns, strict=True))


def _interval(x: Any, n: Any, level: float) -> Any:
    try:
        return proportion_interval(x, n, level).to_numpy()
    except ValueError as error:
        raise ParameterError(str(error)) from error


def _medians(found: Chains, over: NDArray[np.bool_], groups: int) -> NDArray[np.float64]:
    """Minutes since the latest event of the step before, median over closed units; missing where nobody is."""
    medians = np.full((groups, over.shape[1]), np.nan)
    medians[:, 0] = 0.0
    for step in range(1, over.shape[1]):
        rows = over[:, step]
        gaps, segment = found.gaps[rows, step], found.segment[rows, step]
        gaps = np.sort(gaps) if groups == 1 else gaps[np.lexsort((gaps, segment))]
        ends = np.bincount(segment, minlength=groups).cumsum()
        starts = np.append(0, ends[:-1])
        there = starts < ends
        middle = (starts + ends)[there]
        medians[there, step] = (gaps[(middle - 1) // 2] / 60e6 + gaps[middle // 2] / 60e6) / 2
    return medians


def _warn_undefined(total: pd.DataFrame, query: Query) -> None:
    if total["people"].iloc[0] == 0:
        told = {"step": tr(query.steps[0]), "waiting": total["still_open"].iloc[0]}
        text = (
            tr(
                "nobody made the first step '{step}' with a window that is over; {waiting} have an open window: rates "
                "are missing",
                **told,
            )
            if told["waiting"]
            else tr("nobody made the first step '{step}' with a window that is over: rates are missing", **told)
        )
        warnings.warn(text, ThinDataWarning, stacklevel=4)
        return
    leading = [query.before[k] for k in range(1, len(query.steps))]
    empty = total.loc[total["people"].eq(0) & total.index.isin(leading), "step"]
    if len(empty):
        text = tr("nobody reached '{step}', so the step rate after it is missing (0 of 0)", step=tr(empty.iloc[0]))
        warnings.warn(text, ThinDataWarning, stacklevel=4)
