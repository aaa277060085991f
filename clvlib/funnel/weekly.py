"""The same funnel week after week, each week seen at the same age, and by several columns at once (F2, F3)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.engine import Table, as_table
from clvlib.errors import ThinDataWarning
from clvlib.funnel.kernel import FunnelResult, funnel, funnels
from clvlib.funnel.query import WEEK, moment
from clvlib.funnel.threshold import step_counts
from clvlib.stats.proportions import proportion_interval
from clvlib.words import tr

__all__ = ["trend", "trend_sentence", "week_funnels"]

_NUMBER = "number_of_week"


def week_funnels(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    week: Week,
    by: Sequence[str | Sequence[str]] = (),
    window: str | pd.Timedelta = "7D",
    **options: Any,
) -> list[FunnelResult]:
    """Return the funnel of the people who start in a week, once for each element of ``by``, as seen at the week's end.

    A start late in the week has had less time than one early in it. That is the same in every week, so weeks compare;
    a single week's rate is what has happened so far, a lower bound of what will.

    Parameters
    ----------
    events, steps, window
        As for :func:`clvlib.funnel.kernel.funnel`.
    week : Week
        ISO week of the first step, and of what has been observed.
    by : sequence
        Columns, or lists of columns: ``["platform", ["platform", "category"]]`` gives two funnels. None gives one
        without segments.
    **options
        For :func:`~clvlib.funnel.kernel.funnel`.

    Returns
    -------
    list of FunnelResult
    """
    table = as_table(events, "events")
    options = {"starts": (week.start, week.end), "as_of": week.as_of, "open_windows": "so far", **options}
    return funnels(table, steps, window, by or [()], **options)


def trend(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    step: str,
    week: Week,
    weeks: int = 12,
    window: str | pd.Timedelta = "7D",
    **options: Any,
) -> pd.DataFrame:
    """Return a step's rate in each of the last weeks, each as seen at its own end.

    Parameters
    ----------
    events, steps, window, **options
        As for :func:`week_funnels`; but the weeks say which starts count and what has been observed.
    step : str
        Any step but the first; its rate is among those who made the step before.
    week : Week
        The last week.
    weeks : int
        How many.

    Returns
    -------
    pandas.DataFrame
        Index ``week`` (labels), columns ``before``, ``people``, ``rate``, ``lower``, ``upper`` (Wilson); in a week in
        which nobody made the step before, the rate is missing.

    Warns
    -----
    ThinDataWarning
        Some weeks have nobody.
    """
    first = week.shift(1 - weeks)
    found = _each_week(as_table(events, "events"), steps, first, week, window, options)
    labels = pd.Index([str(first.shift(k)) for k in range(weeks)], name="week")
    counts = step_counts(found, step).set_index("segment")[["before", "people"]]
    counts = counts.reindex([str(k) for k in range(weeks)], fill_value=0).set_index(labels)
    empty = counts["before"].eq(0)
    if empty.any():
        text = tr(
            "in {n} of {weeks} weeks nobody made the step before '{step}'; their rates are missing",
            n=empty.sum(),
            weeks=weeks,
            step=tr(step),
        )
        warnings.warn(text, ThinDataWarning, stacklevel=2)
    rates = pd.DataFrame(np.nan, counts.index, ["rate", "lower", "upper"])
    if not empty.all():
        rates[~empty] = proportion_interval(counts["people"][~empty], counts["before"][~empty], found.level).to_numpy()
    return counts.join(rates)


def _each_week(
    events: Table, steps: Sequence[str], first: Week, last: Week, window: str | pd.Timedelta, options: dict[str, Any]
) -> FunnelResult:
    """Return the funnel of each of some weeks, numbered from 0 on, as seen at its own end: a person starts it anew."""
    passed = f"epoch_us(CAST(occurred_at AS TIMESTAMP)) - {moment(first.start, 'week')}"
    number = f"CASE WHEN isfinite(occurred_at) THEN ({passed}) // {WEEK} END"
    relation = f"(SELECT *, {number} AS {_NUMBER} FROM {events.relation} AS e)"
    weekly = replace(events, relation=relation, columns=(*events.columns, _NUMBER))
    span: dict[str, Any] = {"starts": (first.start, last.end), "as_of": last.as_of, "open_windows": "so far"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinDataWarning)
        return funnel(weekly, steps, window, _NUMBER, attribution="each", **span, **options)


def trend_sentence(rates: pd.DataFrame, step: str) -> str:
    """Compare the last week of a trend with the range of the weeks before, in words.

    >>> rates = pd.DataFrame({"rate": [0.14, 0.16, 0.10]}, index=["2026-W44", "2026-W45", "2026-W46"])
    >>> trend_sentence(rates, "cart")
    'cart was at 10.0% in W46; in the 2 weeks before it was between 14.0% and 16.0%'
    """
    last, before = rates["rate"].iloc[-1], rates["rate"].iloc[:-1].dropna()
    label = str(rates.index[-1])[-3:]
    told = {"step": tr(step), "week": label}
    if np.isnan(last):
        return tr("{step} has no rate in {week}, as nobody made the step before it", **told)
    if before.empty:
        return tr("{step} was at {rate:.1%} in {week}", **told, rate=last)
    return tr(
        "{step} was at {rate:.1%} in {week}; in the {n} weeks before it was between {low:.1%} and {high:.1%}",
        **told,
        rate=last,
        n=len(before),
        low=before.min(),
        high=before.max(),
    )
