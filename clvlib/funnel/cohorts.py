"""Conversion by week of the first step and weeks since: a triangle in which what has not happened yet is blank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.engine import Table, as_table
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.chains import chains
from clvlib.funnel.kernel import question
from clvlib.funnel.query import WEEK, moment
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.words import tr

__all__ = ["Triangle", "triangle"]


@dataclass(frozen=True)
class Triangle(Result):
    """Share converted, by cohort and time since the first step.

    ``table`` has a row per cohort (index ``cohort``, weeks): ``people``, and for 1, 2, … weeks the share that has made
    all steps within so many weeks of the first; missing where not all of the cohort has been watched for so long.

    Attributes
    ----------
    start, goal : str
        First and last step.
    level : float
        Confidence level.
    cells : pandas.DataFrame
        The same, a row per cell that is known: ``cohort``, ``weeks``, ``people``, ``converted``, ``share``, ``lower``,
        ``upper`` (Wilson).
    """

    start: str
    goal: str
    level: float
    cells: pd.DataFrame = field(repr=False)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of ``table``."""
        return {str(name): "share" for name in self.table.columns[1:]}


def triangle(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    week: Week,
    cohorts: int = 8,
    within: int = 8,
    level: float = 0.95,
) -> Triangle:
    """Follow the people who came for the first time in each week.

    Parameters
    ----------
    events, steps
        As for :func:`clvlib.funnel.kernel.funnel`.
    week : Week
        The last cohort, and the end of what has been observed.
    cohorts : int
        How many weeks of people.
    within : int
        For how many weeks to follow them.
    level : float
        Confidence level.

    Returns
    -------
    Triangle
        A person belongs to the week of the first start in the whole log, and the chain from that start is followed. In
        a log that begins late, the first cohorts hold people who had been there before.

    Raises
    ------
    EmptyDataError
        Nobody made the first step for the first time in these weeks.
    ParameterError
        No cohort, or no week to follow them for.

    Examples
    --------
    >>> log = pd.DataFrame({"person_id": list("abab"), "event": ["view", "view", "order", "order"],
    ...     "occurred_at": pd.to_datetime(["2026-10-26", "2026-11-02", "2026-10-28", "2026-11-14"])})
    >>> triangle(log, ["view", "order"], Week("2026-W46"), cohorts=3, within=3).table
              people    1    2    3
    cohort
    2026-W44       1  1.0  1.0  NaN
    2026-W45       1  0.0  NaN  NaN
    2026-W46       0  NaN  NaN  NaN
    """
    if cohorts < 1 or within < 1:
        raise ParameterError(f"cohorts and within are at least 1; found {cohorts} and {within}")
    weeks = [week.shift(k) for k in range(1 - cohorts, 1)]
    options: dict[str, Any] = {"as_of": week.as_of, "open_windows": "so far", "reentry": False}
    query, _ = question(steps, pd.Timedelta(weeks=within), starts=(None, week.end), **options)
    found = chains(as_table(events, "events"), query)
    opening = moment(weeks[0].start, "week")
    new = found.times[:, 0] >= opening
    if not new.any():
        raise EmptyDataError(
            tr(
                "nobody made the first step '{step}' for the first time from {first} to {last}",
                step=tr(query.steps[0]),
                first=weeks[0].start,
                last=week.as_of,
            )
        )
    times, depth = found.times[new], found.depth[new]
    start = times[:, 0]
    cohort = (start - opening) // WEEK
    done = depth == len(query.steps)
    age = np.maximum(-(-(times[done, -1] - start[done]) // WEEK), 1)  # within 1 week: up to its very end
    people = np.bincount(cohort, minlength=cohorts)
    converted = np.zeros((cohorts, within + 1), np.int64)
    np.add.at(converted, (cohort[done], age), 1)
    cells = _cells([str(each) for each in weeks], people, converted[:, 1:].cumsum(axis=1), level)
    table = cells.pivot_table(index="cohort", columns="weeks", values="share", dropna=False)
    table = table.reindex(index=[str(each) for each in weeks], columns=range(1, within + 1))
    table.insert(0, "people", people)
    table.columns = pd.Index([str(name) for name in table.columns])
    return Triangle(start=query.steps[0], goal=query.steps[-1], level=level, cells=cells, table=table)


def _cells(labels: list[str], people: np.ndarray, converted: np.ndarray, level: float) -> pd.DataFrame:
    """Cells that are known: the last of a cohort has been watched for so many weeks when as many have gone by."""
    cohorts, within = converted.shape
    row, column = np.nonzero(
        (np.add.outer(np.arange(cohorts), np.arange(within)) < cohorts - 1) & (people > 0)[:, None]
    )
    cells = pd.DataFrame({
        "cohort": np.array(labels, object)[row], "weeks": column + 1, "people": people[row],
        "converted": converted[row, column],
    })  # fmt: skip
    if cells.empty:
        return cells.assign(share=0.0, lower=0.0, upper=0.0)
    try:
        limits = proportion_interval(cells["converted"], cells["people"], level)
    except ValueError as error:
        raise ParameterError(str(error)) from error
    return cells.assign(share=limits["estimate"], lower=limits["lower"], upper=limits["upper"])
