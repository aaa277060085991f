"""How an effect builds up: the difference by days since the assignment, among people who have been there that long."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.query import fetch, merged, span
from clvlib.data.engine import Table
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import mark, tr

__all__ = ["ExposureResult", "exposure"]

COLUMNS = ("days", "arm", "n", "control_n", "value", "control_value", "difference", "lower", "upper", "level")


@dataclass(frozen=True)
class ExposureResult(Result):
    """The effect by days since the assignment.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per number of ``days`` and treatment ``arm``, of the people who were assigned at least so long ago: ``n``,
        ``control_n``, ``value``, ``control_value``, ``difference``, ``lower``, ``upper``, ``level``. The intervals of
        all rows hold together. Days that nobody has reached, or in which nothing varies, have none.
    metric, unit : str
        What is compared, and its unit.
    sentence : str
        From when on an effect can be told.
    """

    metric: str
    unit: str
    sentence: str


def exposure(
    experiment: Experiment,
    assignments: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    days: Sequence[int] = (1, 2, 3, 5, 7, 14),
    *,
    as_of: str | dt.date | None = None,
) -> ExposureResult:
    """Compare the primary metric after each number of days.

    Someone who was assigned yesterday tells what happens in a day and nothing about a week; if people who have just
    come were counted after seven days too, a growing test would look like a fading effect.

    Parameters
    ----------
    experiment : Experiment
        What is analysed; its metric, control and level count.
    assignments, orders, as_of
        As :meth:`Experiment.analyse` takes them.
    days : sequence of int
        Days since the assignment.

    Raises
    ------
    EmptyDataError
        Nobody has been there for any of these days.
    ParameterError
        ``days`` are no positive whole numbers.
    """
    if not (len(days) and all(day == int(day) and day > 0 for day in days)):
        raise ParameterError(f"days: positive whole numbers are needed; found {list(days)}")
    metric = next(m for m in experiment.metrics if m.name == experiment.metric)
    rows: list[dict[str, Any]] = []
    for day in sorted(set(days)):
        asked = replace(experiment, window=f"{day}D")
        window, history = span(asked.window, "window"), span(asked.history, "history")
        cells = fetch(assignments, orders, [metric], name=asked.name, window=window, history=history, as_of=as_of)
        rows += _after(day, cells, asked, len(set(days)))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if table.empty:
        text = mark(
            "experiment {name!r}: in some arm nobody has been there for {days} days, or nobody brought anything"
        )
        raise EmptyDataError(tr(text, name=experiment.name, days=min(days)))
    return ExposureResult(table=table, metric=metric.name, unit=metric.unit, sentence=_sentence(table, metric.name))


def _after(day: int, cells: pd.DataFrame, experiment: Experiment, looks: int) -> list[dict[str, Any]]:
    """Compare everybody whose ``day`` days are over."""
    metric = next(m for m in experiment.metrics if m.name == experiment.metric)
    metric = metric.clustered() if "cluster_id" in cells else metric
    mature = cells[(cells["status"] == "mature") & (cells["people"] > 0)]
    if experiment.control not in set(mature["variant"]):
        return []
    there = merged(mature, ["variant"], [metric]).to_dict("records")
    arms = metric.prepare({str(row["variant"]): {str(key): value for key, value in row.items()} for row in there})
    control = arms[experiment.control]
    level = 1 - (1 - experiment.level) / (looks * max(len(cells["variant"].unique()) - 1, 1))
    rows = []
    for arm in sorted(set(arms) - {experiment.control}):
        if metric.varies(arms[arm], control):
            effect = metric.difference(arms[arm], control, level)
            first, second = (metric.arm(row, level) for row in (arms[arm], control))
            figures = (first.n, second.n, first.value, second.value, effect.estimate, effect.lower, effect.upper, level)
            rows.append(dict(zip(COLUMNS, (day, arm, *figures), strict=True)))
    return rows


def _sentence(table: pd.DataFrame, metric: str) -> str:
    """Name the first day on which an effect can be told, and whether the last still shows it."""
    told = table[(table["lower"] > 0) | (table["upper"] < 0)]
    if told.empty:
        return tr("On no day since the assignment can an effect on {metric} be told.", metric=tr(metric))
    first = told.iloc[0]
    last = table[table["arm"] == first["arm"]].iloc[-1]
    text = mark(
        "{arm}'s effect on {metric} can first be told on day {first}; after {last} days, with {n:,} people, it no "
        "longer can."
    )
    if last["lower"] > 0 or last["upper"] < 0:
        text = mark(
            "{arm}'s effect on {metric} can first be told on day {first}; after {last} days, with {n:,} people, it "
            "still can."
        )
    figures = {"first": int(first["days"]), "last": int(last["days"]), "n": int(last["n"])}
    return tr(text, arm=first["arm"], metric=tr(metric), **figures)
