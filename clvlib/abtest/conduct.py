"""How the report analyses an experiment: by its plan where there is one, and by what the report was asked for."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.looklog import COLUMNS, LookLog
from clvlib.abtest.metrics import GUARDRAILS, METRICS, Metric
from clvlib.abtest.outcome import ExperimentResult
from clvlib.abtest.plan import Lock, Plan
from clvlib.data.connect import Shop
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import mark, paragraph, tr

__all__ = ["Conduct", "Looks", "Review", "conduct"]

PLAN, LOCK = ".plan.yaml", ".plan.lock"  # behind the name of the experiment, in the shop's folder


@dataclass(frozen=True)
class Review(Result):
    """Whether an analysis is the one that was planned.

    Attributes
    ----------
    table : pandas.DataFrame
        What was planned, a row per ``item`` with ``planned``; empty without a plan.
    departures : pandas.DataFrame
        As from :meth:`clvlib.abtest.plan.Plan.departures`; empty without a lock.
    kept : bool
        Whether there is a plan, locked before the start, and nothing departs from it.
    sentence : str
        Which of these it is.
    """

    departures: pd.DataFrame
    kept: bool
    sentence: str


@dataclass(frozen=True)
class Looks(Result):
    """What was seen at earlier looks, and at this one.

    Attributes
    ----------
    table : pandas.DataFrame
        As :attr:`clvlib.abtest.looklog.LookLog.table`, up to this look, without the times of recording.
    sentence : str
        What was decided first.
    """

    sentence: str


@dataclass(frozen=True)
class Conduct:
    """An experiment of a shop, and the plan that says how it is analysed.

    Attributes
    ----------
    experiment : Experiment
        How it is analysed.
    shop : Shop
        Whose it is.
    as_of : date, str or None
        Until when the data are known.
    segment : str
        Column of the table of customers in whose every part the split is checked; empty: none.
    plan : Plan or None
        As it is written today.
    lock : Lock or None
        As it was locked; the analysis is held to this one.
    """

    experiment: Experiment
    shop: Shop
    as_of: str | dt.date | None = None
    segment: str = ""
    plan: Plan | None = None
    lock: Lock | None = None

    @cached_property
    def result(self) -> ExperimentResult:
        """What the experiment showed, analysed once; raises as :meth:`Experiment.of`."""
        return self.experiment.of(self.shop, self.as_of, self.segment)

    def review(self) -> Review:
        """Hold the analysis against the plan."""
        nothing = pd.DataFrame(columns=["what", "planned", "found"])
        if self.plan is None:
            text = mark(
                "Experiment {name} has no plan: write one before the next starts, as {file} in the shop's folder, so "
                "that nobody can choose afterwards what would have counted."
            )
            said = tr(text, name=self.result.name, file=plan_name(self.experiment.name))  # of a test that there is
            return Review(table=nothing.iloc[:, :0], departures=nothing, kept=False, sentence=said)
        if self.lock is None:
            text = mark(
                "The plan of experiment {name} was never locked, so it may have been written after the outcome."
            )
            said = tr(text, name=self.experiment.name)
            return Review(table=self.plan.table, departures=nothing, kept=False, sentence=said)
        try:
            result = self.result
        except EmptyDataError:  # the plan stands before anybody's days are over
            result = None
        departures = self.plan.departures(self.lock, self.experiment, result)
        said = self.lock.sentence(departures, begun=result is not None)
        table = self.plan.table
        if self.plan != self.lock.plan:
            table = self.lock.plan.table
            text = mark(
                "What the file says today does not count: the analysis is held to what was locked. To change a plan "
                "before people are assigned, lock it anew."
            )
            said = paragraph(said, tr(text))
        return Review(table=table, departures=departures, kept=departures.empty, sentence=said)

    def look(self, record: Path | None, at: pd.Timestamp) -> Looks:
        """Put this look on record, unless the same is there, and say what is.

        Parameters
        ----------
        record : Path or None
            The file, as :class:`LookLog` takes it; None where nothing is written.
        at : pandas.Timestamp
            The time now.

        Raises
        ------
        DataError
            The file was edited, or is no record of this experiment.
        """
        result, columns = self.result, [name for name in COLUMNS if name != "recorded_at"]
        if record is None:
            said = tr("Looks are put on record by reports alone, and this is none.")
            return Looks(table=pd.DataFrame(columns=columns), sentence=said)
        log = LookLog(record)
        until = pd.Timestamp(self.as_of if self.as_of is not None else self.shop.data_until)
        table = log.record(result, until, at)
        known = table.loc[table["look"] <= until, columns].reset_index(drop=True)
        return Looks(table=known, sentence=log.sentence)


def plan_name(experiment: str) -> str:
    """Name of the file in which the plan of an experiment is looked for."""
    return experiment.replace("/", "_") + PLAN


def conduct(
    shop: Shop,
    name: str,
    plan: str | Path = "",
    *,
    as_of: str | dt.date | None = None,
    segment: str = "",
    **asked: Any,
) -> Conduct:
    """Find the plan of an experiment, and say how it is analysed.

    Parameters
    ----------
    shop : Shop
        Whose experiment it is.
    name : str
        Name of the experiment in the assignments.
    plan : str or Path
        Path of the plan, from the shop's folder; empty: ``<name>.plan.yaml`` there, if any. Its lock lies beside it
        and ends in ``.lock`` instead; where there is one, it rules, whatever became of the plan's file.
    as_of : str or date, optional
        Until when the data are known.
    segment : str
        Column of the table of customers in whose every part the split is checked, if the shop has it.
    **asked : Any
        Parameters of :class:`Experiment`. What is empty (or zero) is as planned, or as by default without a plan; what
        is given rules, and is listed as a departure where it differs from the plan.

    Returns
    -------
    Conduct
        Metrics that the shop can measure are measured, those that are to be guarded too.

    Raises
    ------
    ParameterError
        There is no such plan, it is of another experiment, or it says what a plan cannot say.
    DataError
        The lock was edited.
    """
    path = _path(shop, name, plan)
    given = {key: value for key, value in asked.items() if value}
    measured = (*METRICS.values(), *(metric for metric in GUARDRAILS.values() if _measurable(shop, metric)))
    parts = segment if segment and shop.has(f"customers.{segment}") else ""
    if path is None:
        return Conduct(Experiment(name, metrics=measured, **given), shop, as_of, parts)
    file = path.with_suffix(".lock")
    lock = Lock.read(file) if file.is_file() else None
    said = lock.plan if lock is not None and not path.is_file() else Plan.read(path)
    ruling = said if lock is None or said == lock.plan else lock.plan  # a lock has its keys in another order
    for each, where in ((said, path), (ruling, file)):
        if each.experiment != name:
            raise ParameterError(f"{where}: this is the plan of experiment {each.experiment!r}, not of {name!r}")
    planned = ruling.build()
    known = {metric.name: metric for metric in (*planned.metrics, *measured)}
    if "min_per_arm" in given:  # who asks for more people than planned plans for as many
        given["planned_per_arm"] = max(given["min_per_arm"], ruling.people_per_arm)
    experiment = replace(planned, metrics=tuple(known.values()), **given)
    return Conduct(experiment, shop, as_of, parts, said, lock)


def _path(shop: Shop, name: str, plan: str | Path) -> Path | None:
    """Return where the plan lies, or lay when it was locked; None where none was asked for and none is there."""
    if str(plan):
        return (shop.folder or Path()) / plan
    found = None if shop.folder is None else shop.folder / plan_name(name)
    return found if found is not None and (found.is_file() or found.with_suffix(".lock").is_file()) else None


def _measurable(shop: Shop, metric: Metric) -> bool:
    """Whether the shop has what a metric needs; a shop that records no refunds does not have a refund share of zero."""
    if metric.name == "refund share" and not shop.has("orders.refunded_amount"):
        return shop.has("refunds") and bool(shop.query("SELECT COUNT(*) AS n FROM refunds")["n"].iloc[0])
    return all(shop.has(need) for need in metric.needs)
