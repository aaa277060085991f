"""Fans over time (A9): how many come back, how often, and how long those of each week stay."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.plotting import ACCENT, FAINT, SEQUENTIAL, new_axes, percent_axis, styled
from clvlib.result import Result
from clvlib.stats.means import Moments, mean_interval
from clvlib.stats.proportions import proportion_interval
from clvlib.words import tr

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
    facts = {name: table.query(_weekly(sql, week)).set_index("week") for name, sql in _QUERIES.items()}
    visits = table.query(_weekly(_COHORTS, week))
    if last - 1 not in facts["people"].index:
        raise EmptyDataError(tr("nobody was seen in week {week}, so nobody could come back", week=week.previous.label))
    began = int(visits["first"].min())
    numbers = np.arange(max(last - weeks + 1, began), last + 1)
    frame = pd.DataFrame({name: found["n"].reindex(numbers, fill_value=0) for name, found in facts.items()})
    frame["daily"] = frame["daily"] / 7
    frame["monthly"] = frame["monthly"].where(numbers >= began + _MONTH - 1).astype(float)
    squares = facts["daily"]["squares"].reindex(numbers, fill_value=0).to_numpy(dtype=float)
    frame[["stickiness", "stickiness_lower", "stickiness_upper"]] = [
        _stickiness(daily, square, people, level)
        for daily, square, people in zip(frame["daily"], squares, frame["monthly"], strict=True)
    ]
    stayed = frame.pop("stayed")
    before = facts["people"]["n"].reindex(numbers - 1, fill_value=0).to_numpy(dtype=float)
    frame[["retained", "lower", "upper"]] = np.nan
    some = before > 0
    rates = proportion_interval(stayed.to_numpy()[some], before[some], level)
    frame.loc[some, ["retained", "lower", "upper"]] = rates.to_numpy()
    frame.index = pd.Index([week.shift(int(number) - last).label for number in numbers], name="week")
    row = frame.iloc[-1]
    sizes, cohorts = _cohorts(visits, week, last, weeks)
    return Fans(
        week=week.label,
        retained=float(row["retained"]),
        lower=float(row["lower"]),
        upper=float(row["upper"]),
        before=int(before[-1]),
        stayed=int(stayed.iloc[-1]),
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
_QUERIES = {
    "people": "SELECT week, COUNT(*) AS n FROM weekly GROUP BY week",
    "daily": "SELECT week, SUM(days) AS n, SUM(days * days) AS squares FROM weekly GROUP BY week",
    "monthly": f"SELECT w.week + k.k AS week, COUNT(DISTINCT w.person_id) AS n FROM weekly AS w "
    f"CROSS JOIN (VALUES {', '.join(f'({k})' for k in range(_MONTH))}) AS k(k) GROUP BY w.week + k.k",
    "new": "SELECT week, COUNT(*) AS n FROM (SELECT MIN(week) AS week FROM weekly GROUP BY person_id) AS f "
    "GROUP BY week",
    "stayed": "SELECT a.week, COUNT(*) AS n FROM weekly AS a "
    "JOIN weekly AS b ON a.person_id = b.person_id AND a.week = b.week + 1 GROUP BY a.week",
}
_COHORTS = (
    "SELECT f.first, w.week, COUNT(*) AS n FROM weekly AS w "
    "JOIN (SELECT person_id, MIN(week) AS first FROM weekly GROUP BY person_id) AS f ON w.person_id = f.person_id "
    "GROUP BY f.first, w.week ORDER BY 1, 2"
)


def _number(week: Week) -> int:
    return (week.start - _MONDAY).days // 7


def _weekly(sql: str, week: Week) -> str:
    """Return a query over ``weekly``: a row per person and week, with the days on which the person was seen."""
    day = "CAST(occurred_at AS DATE)"
    number = f"CAST(FLOOR(DATE_DIFF('day', {literal(_MONDAY)}, day) / 7.0) AS INTEGER)"
    return (
        f"WITH seen AS (SELECT DISTINCT person_id, {day} AS day FROM {{t}} AS t WHERE person_id IS NOT NULL AND "
        f"{day} < {literal(week.end)}), weekly AS (SELECT person_id, {number} AS week, COUNT(*) AS days FROM seen "
        f"GROUP BY person_id, {number}) {sql}"
    )


def _cohorts(visits: pd.DataFrame, week: Week, last: int, weeks: int) -> tuple[pd.Series, pd.DataFrame]:
    """Return sizes and shares of the last cohorts; what has not come yet is blank, what came without anybody is 0."""
    grid = visits.assign(age=visits["week"] - visits["first"]).pivot_table("n", "first", "age")
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
        ax.set_title(tr("Seen again, of those seen in the week before"))
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
        ax.set(xlabel=tr("weeks since the first visit"), title=tr("How long those of each week come back"))
        percent_axis(ax.figure.colorbar(image, ax=ax).ax)
    return ax
