"""Fans over time (A9): how many come back, how often, and how long those of each week stay."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.data.calendar import Week
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.plotting import ACCENT, FAINT, SEQUENTIAL, new_axes, percent_axis, styled, wrapped
from clvlib.result import Result
from clvlib.stats.means import Moments, mean_interval
from clvlib.stats.proportions import proportion_interval
from clvlib.words import tr, trn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Fans", "cohorts_plot", "fans", "retention_plot"]

_MONTH = 4  # weeks


@dataclass(frozen=True)
class Fans(Result):
    """How people come back; ``table`` has a row per week.

    ``table`` columns: ``people`` (seen in the week), ``daily`` (mean people a day), ``monthly`` (seen in the four
    weeks that end with it), ``stickiness`` (daily ÷ monthly: the share of the week's days on which they came) with
    ``_lower`` and ``_upper``, ``new`` (seen for the first time), ``retained`` (of those seen in the week before, the
    share seen again) with ``lower`` and ``upper``. A column is blank where the data begin too late to tell.

    Attributes
    ----------
    week : str
        The last week.
    retained, lower, upper : float
        Of the people of the week before, the share seen again in it, with Wilson's interval.
    before, stayed : int
        How many those were, and how many came again.
    level : float
        Of the intervals.
    cohorts : pandas.DataFrame
        By week of the first visit (rows) and weeks since (columns): share seen in that week; blank where it has not
        come yet. The first cohort holds all who were there when the data begin.
    sizes : pandas.Series
        People of each cohort.
    """

    week: str
    retained: float
    lower: float
    upper: float
    before: int
    stayed: int
    level: float
    cohorts: pd.DataFrame = field(repr=False)
    sizes: pd.Series = field(repr=False)

    @property
    def sentence(self) -> str:
        """Retention in words."""
        return tr(
            "Of the {before:,} people of the week before, {retained:.0%} came again ({lower:.0%} to {upper:.0%}).",
            before=self.before,
            retained=self.retained,
            lower=self.lower,
            upper=self.upper,
        )

    @property
    def trend_sentence(self) -> str:
        """Retention beside that of the weeks before, in words."""
        before = self.table["retained"].iloc[:-1].dropna()
        now = tr("{retained:.0%} came again in {week}", retained=self.retained, week=self.week[-3:])
        if before.empty:
            return now
        return trn(
            "{now}; in the week before it was {low:.0%}",
            "{now}; in the {n} weeks before it was between {low:.0%} and {high:.0%}",
            len(before),
            now=now,
            low=before.min(),
            high=before.max(),
        )

    @property
    def cohorts_sentence(self) -> str:
        """How many of the new people were seen again, the week after and later, in words; all cohorts together."""
        grid = self.cohorts.iloc[:-1, 1:]
        sizes = grid.notna().mul(self.sizes.iloc[:-1], axis=0)
        shares = (grid.mul(sizes).sum() / sizes.sum()).dropna()
        if shares.empty:
            return tr("Nobody was new in the weeks before")
        late = min(_MONTH, len(shares)) - 1
        told = {"first": shares.iloc[0], "later": shares.iloc[late], "weeks": shares.index[late]}
        if not late:
            return tr("Of the people who were new, {first:.0%} were seen again in the week after", **told)
        return tr(
            "Of the people who were new, {first:.0%} were seen again in the week after, {later:.0%} in week {weeks}",
            **told,
        )

    @property
    def stickiness_sentence(self) -> str:
        """Stickiness in words; empty where the data have no four weeks yet."""
        row = self.table.iloc[-1]
        if np.isnan(row["stickiness_lower"]):
            return ""
        return tr(
            "On a mean day {daily:,.0f} people came, {share:.1%} of the {monthly:,} of four weeks ({lower:.1%} to "
            "{upper:.1%}).",
            daily=row["daily"],
            share=row["stickiness"],
            monthly=int(row["monthly"]),
            lower=row["stickiness_lower"],
            upper=row["stickiness_upper"],
        )


def fans(events: Table | pd.DataFrame, week: Week, weeks: int = 12, level: float = 0.95) -> Fans:
    """Look at who came back in the last weeks.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id`` and ``occurred_at``. A person who is known by several ids counts once where the events are under
        customers' ids (:func:`clvlib.data.identities.events_of`).
    week : Week
        The last one.
    weeks : int
        How many, at least two.
    level : float
        Of the intervals.

    Returns
    -------
    Fans

    Raises
    ------
    EmptyDataError
        Nobody was seen in the week before.
    ParameterError
        Less than two weeks.

    Examples
    --------
    >>> seen = pd.DataFrame({"person_id": list("abcab"), "occurred_at": pd.to_datetime(
    ...     ["2026-11-02", "2026-11-03", "2026-11-04", "2026-11-10", "2026-11-12"])})
    >>> result = fans(seen, Week("2026-W46"), weeks=2)
    >>> result.sentence
    'Of the 3 people of the week before, 67% came again (21% to 94%).'
    """
    if weeks < 2:
        raise ParameterError(f"to come back takes two weeks at least; found {weeks}")
    table = as_table(events, "events", "person_id", "occurred_at")
    last = _number(week)
    visits = table.query(_visits(week))
    if not visits["week"].eq(last - 1).any():
        raise EmptyDataError(tr("nobody was seen in week {week}, so nobody could come back", week=week.previous.label))
    began = int(visits["first"].min())
    numbers = np.arange(max(last - weeks + 1, began), last + 1)
    counts = _by_week(visits, began, last)
    frame = pd.DataFrame({name: values[numbers - began] for name, values in counts.items()})
    frame["daily"] = frame["daily"] / 7
    frame["monthly"] = frame["monthly"].where(numbers >= began + _MONTH - 1).astype(float)
    squares, stayed = frame.pop("squares"), frame.pop("stayed").to_numpy()
    frame[["stickiness", "stickiness_lower", "stickiness_upper"]] = [
        _stickiness(daily, square, people, level)
        for daily, square, people in zip(frame["daily"], squares, frame["monthly"], strict=True)
    ]
    before = np.append(0, counts["people"])[numbers - began]  # nobody was seen before the data begin
    retained = np.full((len(numbers), 3), np.nan)
    some = before > 0
    retained[some] = proportion_interval(stayed[some], before[some], level)
    frame[["retained", "lower", "upper"]] = retained
    frame.index = pd.Index([week.shift(int(number) - last).label for number in numbers], name="week")
    row = frame.iloc[-1]
    sizes, cohorts = _cohorts(visits, week, last, weeks)
    return Fans(
        week=week.label,
        retained=float(row["retained"]),
        lower=float(row["lower"]),
        upper=float(row["upper"]),
        before=int(before[-1]),
        stayed=int(stayed[-1]),
        level=level,
        cohorts=cohorts,
        sizes=sizes,
        table=frame,
    )


def _stickiness(daily: float, squares: float, people: float, level: float) -> list[float]:
    """Mean share of the week's days on which somebody of the four weeks came, with Student's interval over people."""
    if not people > 0:
        return [np.nan] * 3
    mean = daily / people
    variance = (squares / 49 - people * mean**2) / (people - 1) if people > 1 else 0.0
    if not variance > 1e-12:
        return [mean, np.nan, np.nan]
    found = mean_interval(Moments(people, mean, variance), level)
    return [found.estimate, found.lower, found.upper]


_MONDAY = dt.date(1970, 1, 5)


def _number(week: Week) -> int:
    return (week.start - _MONDAY).days // 7


def _visits(week: Week) -> str:
    """Return a query that counts weeks in which people were seen.

    By the person's ``first`` week, the ``week``, whether seen in the week before (``again``) and how many weeks there
    are to the next one (``until``, at most four): ``n``, their ``days``, and the ``squares`` of these.
    """
    day = "CAST(occurred_at AS DATE)"
    number = f"CAST(FLOOR(DATE_DIFF('day', {literal(_MONDAY)}, day) / 7.0) AS INTEGER)"
    person = "PARTITION BY person_id"
    return (
        f"WITH seen AS (SELECT DISTINCT person_id, {day} AS day FROM {{t}} AS t WHERE person_id IS NOT NULL AND "
        f"{day} < {literal(week.end)}), weekly AS (SELECT person_id, {number} AS week, COUNT(*) AS days FROM seen "
        f"GROUP BY person_id, {number}), placed AS (SELECT MIN(week) OVER ({person}) AS first, week, days, "
        f"COALESCE(LAG(week) OVER ({person} ORDER BY week) = week - 1, FALSE) AS again, "
        f"LEAST(COALESCE(LEAD(week) OVER ({person} ORDER BY week) - week, {_MONTH}), {_MONTH}) AS until FROM weekly) "
        "SELECT first, week, again, until, COUNT(*) AS n, CAST(SUM(days) AS DOUBLE) AS days, "
        "CAST(SUM(days * days) AS DOUBLE) AS squares FROM placed GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    )


def _by_week(visits: pd.DataFrame, began: int, last: int) -> dict[str, NDArray[np.float64]]:
    """Sums for each week from the first one on."""
    week, until = visits["week"].to_numpy() - began, visits["until"].to_numpy()
    n = visits["n"].to_numpy()

    def total(values: NDArray[Any], at: NDArray[Any] = week) -> NDArray[Any]:
        return np.bincount(at, values, minlength=last - began + 1)[: last - began + 1]

    # somebody counts in the weeks after a visit up to the next one, so in each of them once
    month = [total(np.where(until > k, n, 0), week + k) for k in range(_MONTH)]
    return {
        "people": total(n).astype(np.int64),
        "daily": total(visits["days"].to_numpy()),
        "monthly": np.sum(month, axis=0),
        "new": total(np.where(visits["first"] == visits["week"], n, 0)).astype(np.int64),
        "stayed": total(np.where(visits["again"], n, 0)),
        "squares": total(visits["squares"].to_numpy()),
    }


def _cohorts(visits: pd.DataFrame, week: Week, last: int, weeks: int) -> tuple[pd.Series, pd.DataFrame]:
    """Return sizes and shares of the last cohorts; what has not come yet is blank, what came without anybody is 0."""
    grid = visits.assign(age=visits["week"] - visits["first"]).pivot_table("n", "first", "age", aggfunc="sum")
    firsts = np.arange(max(last - weeks + 1, int(grid.index.min())), last + 1)
    ages = np.arange(len(firsts))
    grid = grid.reindex(index=firsts, columns=ages).fillna(0.0)
    sizes = grid[0].astype(int)
    shares = grid.div(sizes.where(sizes > 0), axis=0).where(firsts[:, None] + ages[None, :] <= last)
    labels = pd.Index([week.shift(int(first) - last).label for first in firsts], name="week")
    return sizes.set_axis(labels).rename("people"), shares.set_axis(labels).rename_axis(columns="weeks since")


def retention_plot(result: Fans, ax: Axes | None = None) -> Axes:
    """Draw the share that came again, week by week, with its interval (``result.table``)."""
    frame = result.table.dropna(subset="retained")
    ax = ax if ax is not None else new_axes()
    places = np.arange(len(frame))
    with styled():
        ax.fill_between(places, frame["lower"], frame["upper"], color=FAINT)
        ax.plot(places, frame["retained"], color=ACCENT, marker="o", markersize=4)
        ax.set_xticks(places, [label[5:] for label in frame.index])
        ax.set_ylim(bottom=0)
        ax.set_ylabel(tr("of the people of the week before"))
        ax.set_title(wrapped(result.trend_sentence))
        percent_axis(ax, "y")
    return ax


def cohorts_plot(result: Fans, ax: Axes | None = None) -> Axes:
    """Draw by week of the first visit the share seen in each later week (``result.cohorts``)."""
    grid = result.cohorts.iloc[:-1, 1:]  # those of the last week have not come back yet
    ax = ax if ax is not None else new_axes(height=0.36 * len(grid) + 1.4)
    with styled():
        image = ax.imshow(grid.to_numpy(dtype=float), aspect="auto", cmap=SEQUENTIAL, vmin=0)
        ax.grid(visible=False)
        ax.set_xticks(np.arange(grid.shape[1]), list(grid.columns))
        ax.set_yticks(
            np.arange(len(grid)), [f"{str(label)[5:]} ({n:,})" for label, n in result.sizes.iloc[:-1].items()]
        )
        ax.set(xlabel=tr("weeks since the first visit"), ylabel=tr("week of the first visit (people)"))
        ax.set_title(wrapped(result.cohorts_sentence))
        percent_axis(ax.figure.colorbar(image, ax=ax).ax)
    return ax
