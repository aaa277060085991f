"""When people watch and buy: views, viewers and orders by hour and weekday, in the shop's time (A2)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import special

from clvlib.audience.period import days, during, purchases
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, MissingTableError, ParameterError
from clvlib.result import Result
from clvlib.stats.effect import Effect
from clvlib.stats.means import mean_interval, ratio_moments
from clvlib.words import mark, tr

__all__ = ["Slots", "change", "change_sentence", "lift", "lift_sentence", "lifts", "slots"]

Measure = Literal["views", "viewers", "orders"]
DAYS = (
    mark("Monday"),
    mark("Tuesday"),
    mark("Wednesday"),
    mark("Thursday"),
    mark("Friday"),
    mark("Saturday"),
    mark("Sunday"),
)
SHORT_DAYS = (mark("Mon"), mark("Tue"), mark("Wed"), mark("Thu"), mark("Fri"), mark("Sat"), mark("Sun"))
_PEAK = {
    "views": mark(
        "Views peak at {hour}:00, with {hour_share:.0%} of them in that hour; {day} is the busiest day "
        "({day_share:.0%})"
    ),
    "viewers": mark(
        "Viewers peak at {hour}:00, with {hour_share:.0%} of them in that hour; {day} is the busiest day "
        "({day_share:.0%})"
    ),
    "orders": mark(
        "Orders peak at {hour}:00, with {hour_share:.0%} of them in that hour; {day} is the busiest day "
        "({day_share:.0%})"
    ),
}


@dataclass(frozen=True)
class Slots(Result):
    """Activity by weekday and hour.

    ``table`` has a row for each of the 168 slots, also the quiet ones: ``weekday`` (0 is Monday), ``hour``, ``views``,
    ``viewers`` (people, each once per slot and week) and ``orders``, summed over the weeks; only what was given.

    Attributes
    ----------
    weeks : int
        How many weeks.
    first : str
        First day.
    measures : tuple of str
        What was counted.
    weekly : pandas.DataFrame
        The same per week: index ``week`` (0 is the first), ``weekday``, ``hour``.
    """

    weeks: int
    first: str
    measures: tuple[str, ...] = field(repr=False)
    weekly: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """When most happens, in words, of the first measure."""
        return self.sentence_of(self.measures[0])

    def sentence_of(self, name: str) -> str:
        """When most of one measure happens, in words."""
        hours, weekdays = (self.table.groupby(by)[name].sum() for by in ("hour", "weekday"))
        hour, weekday = int(hours.to_numpy().argmax()), int(weekdays.to_numpy().argmax())
        told = tr(
            _PEAK[name],
            hour=hour,
            hour_share=hours.max() / hours.sum(),
            day=tr(DAYS[weekday]),
            day_share=weekdays.max() / weekdays.sum(),
        )
        days = self.weekly[name].to_numpy(float).reshape(self.weeks, 7, 24).sum(axis=2)
        first = int((days.argmax(axis=1) == weekday)[days.any(axis=1)].sum())
        if 2 * first > self.weeks or self.weeks < 2:
            return told
        return tr("{told}, but was so in {n} of the {weeks} weeks only", told=told, n=first, weeks=self.weeks)


def slots(
    events: Table | pd.DataFrame | None,
    orders: Table | pd.DataFrame | None,
    period: tuple[Any, Any],
    *,
    viewing: Sequence[str] = (),
) -> Slots:
    """Count views, viewers and orders per weekday and hour.

    Parameters
    ----------
    events, orders : Table or pandas.DataFrame or None
        Tables of one shop, or frames; times are the shop's local times. One of them may be None.
    period : tuple
        First day, and the day after the last; whole weeks, so that each weekday comes equally often.
    viewing : sequence of str
        Events that are views; by default, any.

    Returns
    -------
    Slots

    Raises
    ------
    ParameterError
        The period is not a number of whole weeks.
    MissingTableError
        Neither events nor orders are given.
    EmptyDataError
        Nothing happened in the period, or all of it at midnight: those are dates without a time of day. Where only one
        of the two tables has such dates, its counts are left out.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": ["a", "b"], "amount": 9, "ordered_at": pd.Timestamp("2026-11-09 21:30")})
    >>> found = slots(None, sold, ("2026-11-09", "2026-11-16"))
    >>> found.table.query("orders > 0")
        weekday  hour  orders
    21        0    21       2
    """
    span = days(period)
    length = (span[1] - span[0]).days
    if length % 7:
        raise ParameterError(f"period: {span[0]} to {span[1]} is {length} days; take whole weeks")
    tables = together(events=events, orders=orders)
    if not tables:
        raise MissingTableError(tr("slots: neither events nor orders are given"))
    parts = [_counted(name, table, span, viewing) for name, table in tables.items()]
    if all(part.empty for part in parts):
        raise EmptyDataError(
            tr("nobody watched or ordered from {first} to {last}", first=span[0], last=span[1] - dt.timedelta(days=1))
        )
    timed = [part.drop(columns="timed") for part in parts if part.empty or part["timed"].any()]
    if all(part.empty for part in timed):
        raise EmptyDataError(tr("all times are dates without a time of day, so there are no hours to compare"))
    weekly = pd.concat(timed, axis=1).reindex(_grid(length // 7)).fillna(0).astype(np.int64)
    table = weekly.groupby(level=["weekday", "hour"]).sum().reset_index()
    return Slots(weeks=length // 7, first=str(span[0]), measures=tuple(weekly.columns), weekly=weekly, table=table)


def _grid(weeks: int) -> pd.MultiIndex:
    return pd.MultiIndex.from_product([range(weeks), range(7), range(24)], names=["week", "weekday", "hour"])


def _counted(name: str, table: Table, span: tuple[dt.date, dt.date], viewing: Sequence[str]) -> pd.DataFrame:
    """Counts per week, weekday and hour."""
    if name == "orders":
        table, time, measures, only = purchases(table), "ordered_at", "COUNT(*) AS orders", ""
    else:
        table = table.require("person_id", "occurred_at", *(["event"] if viewing else []))
        time, measures = "occurred_at", "COUNT(*) AS views, COUNT(DISTINCT person_id) AS viewers"
        only = f" AND event IN {literal([*viewing])}" if viewing else ""
    frame = table.query(
        f"""SELECT CAST(FLOOR(date_diff('day', {literal(span[0])}, CAST({time} AS DATE)) / 7.0) AS INTEGER) AS week,
                   CAST(isodow({time}) - 1 AS INTEGER) AS weekday, CAST(hour({time}) AS INTEGER) AS hour, {measures},
                   SUM(CASE WHEN {time} = date_trunc('day', {time}) THEN 0 ELSE 1 END) AS timed
            FROM {{t}} AS t WHERE {during(time, span)}{only} GROUP BY 1, 2, 3"""
    )
    return frame.set_index(["week", "weekday", "hour"])


def lift(
    result: Slots,
    measure: Measure = "views",
    *,
    hours: Iterable[int] = range(24),
    weekdays: Iterable[int] = range(7),
    level: float = 0.95,
) -> Effect:
    """How much busier some slots are than all others: 0.35 is 35% more per slot.

    Parameters
    ----------
    result : Slots
        At least two weeks.
    measure : {"views", "viewers", "orders"}
        What to compare.
    hours, weekdays : iterable of int
        The slots, hours 0 to 23 and weekdays 0 (Monday) to 6.
    level : float
        Confidence level.

    Returns
    -------
    Effect
        The lift with Student's interval over the weeks: people return and campaigns come and go, so weeks and not views
        are what repeats. The p-value is of lift 0.

    Raises
    ------
    ParameterError
        Not counted, no slot or every slot chosen, less than two weeks, or weeks that are all alike.
    EmptyDataError
        The other slots are empty, or all weeks but one.

    Examples
    --------
    >>> times = pd.date_range("2026-11-02", periods=14 * 24, freq="h")
    >>> busy = times[times.hour >= 21]
    >>> log = pd.DataFrame({"person_id": "a", "occurred_at": [*times, *busy, *busy[3:6]]})
    >>> found = lift(slots(log, None, ("2026-11-02", "2026-11-16")), hours=range(21, 24))
    >>> print(f"{found.estimate:.3f} ({found.lower:.3f} to {found.upper:.3f})")
    1.071 (0.164 to 1.979)
    """
    busy, rest = _sides(result, measure, hours, weekdays)
    if len(rest) < 2:
        raise ParameterError("a lift needs at least two weeks, as its interval comes from how weeks differ")
    if np.count_nonzero(busy + rest) < 2:
        text = tr("{measure}: one week alone has any, and an interval comes from how weeks differ", measure=tr(measure))
        raise EmptyDataError(text)
    if not rest.any():
        raise EmptyDataError(
            tr("{measure}: all are in these slots, so there is no rest to compare them with", measure=tr(measure))
        )
    return _over_weeks(busy, rest, level)


def lift_sentence(effect: Effect, hour: int) -> str:
    """Tell a lift of the views from an hour on, in words.

    >>> lift_sentence(Effect(2.99, 2.2, 3.83, 0.001, "student over weeks", 0.95), 21)
    'From 21:00 an hour has 4.0 times as many views as the other hours (3.2 to 4.8).'
    """
    ratios = {name: 1 + getattr(effect, name) for name in ("estimate", "lower", "upper")}
    return tr(
        "From {hour}:00 an hour has {estimate:.1f} times as many views as the other hours ({lower:.1f} to "
        "{upper:.1f}).",
        hour=hour,
        **ratios,
    )


_BEYOND = mark(
    "This week an hour from {hour}:00 had {estimate:+.0%} views against what the weeks before and the rest of the week "
    "led to expect ({lower:+.0%} to {upper:+.0%}): more than weeks differ."
)
_WITHIN = mark(
    "This week an hour from {hour}:00 had {estimate:+.0%} views against what the weeks before and the rest of the week "
    "led to expect ({lower:+.0%} to {upper:+.0%}): no more than weeks differ."
)


def change_sentence(effect: Effect, hour: int) -> str:
    """Tell a change of the views from an hour on, in words.

    >>> change_sentence(Effect(0.12, -0.25, 0.67, 0.5, "student, a new week", 0.95), 21).split("(")[1]
    '−25% to +67%): no more than weeks differ.'
    """
    told = {name: getattr(effect, name) for name in ("estimate", "lower", "upper")}
    return tr(_WITHIN if effect.lower <= 0 <= effect.upper else _BEYOND, hour=hour, **told)


def _sides(
    result: Slots, measure: Measure, hours: Iterable[int], weekdays: Iterable[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Counts per slot of the chosen slots and of all others, week by week."""
    if measure not in result.measures:
        raise ParameterError(f"measure: {measure!r} was not counted; there are {', '.join(result.measures)}")
    chosen = np.isin(np.arange(7), [*weekdays])[:, None] & np.isin(np.arange(24), [*hours])
    if not chosen.any() or chosen.all():
        raise ParameterError("hours, weekdays: some of the slots are to be compared with the others, not all or none")
    counts = result.weekly[measure].to_numpy(dtype=float).reshape(result.weeks, 7, 24)
    return counts[:, chosen].mean(axis=1), counts[:, ~chosen].mean(axis=1)


def change(
    result: Slots,
    measure: Measure = "views",
    *,
    hours: Iterable[int] = range(24),
    weekdays: Iterable[int] = range(7),
    level: float = 0.95,
) -> Effect:
    """How much busier some slots are in the last week than the weeks before led to expect.

    Expected is what all other slots of the week have, times the ratio of the two that the weeks before had on average
    (geometric mean). So a festival that fills all hours alike changes nothing, and a slot that has always been busy is
    not news.

    Parameters
    ----------
    result : Slots
        At least four weeks.
    measure, hours, weekdays, level
        As for :func:`lift`.

    Returns
    -------
    Effect
        0.35 is 35% more than expected. The interval holds no change where the last week is one like those before: it is
        Student's for a new value of the log ratio, as it differs from week to week. The p-value is of change 0.

    Raises
    ------
    ParameterError
        Not counted, or no slot or every slot chosen.
    EmptyDataError
        Less than three earlier weeks, or the last one, have counts on both sides.

    Examples
    --------
    >>> hours = [pd.Timestamp("2026-11-02 09:00") + pd.Timedelta(days=7 * w, hours=12 * (k % 2), minutes=k)
    ...          for w, n in enumerate([20, 22, 18, 20, 30]) for k in range(n) if k % 2 or k < 20]
    >>> seen = slots(pd.DataFrame({"person_id": "a", "occurred_at": hours}), None, ("2026-11-02", "2026-12-07"))
    >>> found = change(seen, hours=range(20, 24))
    >>> print(f"{found.estimate:.2f} ({found.lower:.2f} to {found.upper:.2f})")
    0.46 (0.24 to 0.74)
    """
    busy, rest = _sides(result, measure, hours, weekdays)
    known = (busy > 0) & (rest > 0)
    ratios = np.log(busy[known] / rest[known])
    if len(ratios) < 4 or not known[-1]:
        raise EmptyDataError(tr("three weeks before, and the last one, need {what} in these hours", what=tr(measure)))
    past, n = ratios[:-1], len(ratios) - 1
    apart, error = ratios[-1] - past.mean(), past.std(ddof=1) * np.sqrt(1 + 1 / n)
    half = -special.stdtrit(n - 1, (1 - level) / 2) * error
    p_value = 2 * special.stdtr(n - 1, -abs(apart) / error) if error > 0 else float(apart == 0)
    estimate, lower, upper = np.expm1([apart, apart - half, apart + half]).tolist()
    return Effect(estimate, lower, upper, float(p_value), "student, a new week", level)


def _over_weeks(busy: np.ndarray, rest: np.ndarray, level: float) -> Effect:
    """Ratio of two sums over weeks, less one, by the delta method with weeks as units."""
    covariance = np.cov(busy, rest)
    moments = ratio_moments(
        len(busy), mean_y=busy.mean(), mean_x=rest.mean(), variance_y=covariance[0, 0],
        variance_x=covariance[1, 1], covariance=covariance[0, 1],
    )  # fmt: skip
    lifted = type(moments)(moments.n, moments.mean - 1, moments.variance)
    try:
        found = mean_interval(lifted, level)
    except ValueError as error:
        raise ParameterError(f"no interval for this lift: {error}") from error
    return Effect(found.estimate, max(found.lower, -1.0), found.upper, found.p_value, "student over weeks", level)


def lifts(
    result: Slots, by: Literal["hour", "weekday"] = "hour", measure: Measure = "views", level: float = 0.95
) -> pd.DataFrame:
    """Return the lift of each hour, or each weekday, against the rest.

    Parameters
    ----------
    result : Slots
        At least two weeks.
    by : {"hour", "weekday"}
        Which.
    measure, level
        As for :func:`lift`.

    Returns
    -------
    pandas.DataFrame
        Index ``by``; ``count`` (a week's mean), ``lift``, ``lower``, ``upper``. Hours in which nothing ever happened
        have lift -1 and no interval of their own: both limits are -1.

    Raises
    ------
    ParameterError
        As for :func:`lift`, or ``by`` is neither.
    """
    if by not in {"hour", "weekday"}:
        raise ParameterError(f"by: {by!r} is neither 'hour' nor 'weekday'")
    if measure not in result.measures:
        raise ParameterError(f"measure: {measure!r} was not counted; there are {', '.join(result.measures)}")
    rows, counts = [], result.table.groupby(by)[measure].sum()
    for value in range(24 if by == "hour" else 7):
        count = counts[value] / result.weeks
        chosen: dict[str, Any] = {f"{by}s": [value]}
        if count:
            found = lift(result, measure, level=level, **chosen)
            rows.append((value, count, found.estimate, found.lower, found.upper))
        else:
            rows.append((value, 0.0, -1.0, -1.0, -1.0))
    return pd.DataFrame(rows, columns=[by, "count", "lift", "lower", "upper"]).set_index(by)
