"""Whether a step's rate is at or above what was agreed, and where people are lost if it is not (F2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.kernel import FunnelResult
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr

__all__ = ["Threshold", "step_counts", "threshold"]

_PASS, _FAIL, _UNDECIDED, _ALL = mark("pass"), mark("fail"), mark("undecided"), mark("all")
_TOLD = {
    "pass": mark("{what} is at {rate:.1%} ({lower:.1%} to {upper:.1%}): at or above the threshold of {minimum:.0%}"),
    "fail": mark(
        "{what} is at {rate:.1%} ({lower:.1%} to {upper:.1%}): below the threshold of {minimum:.0%}, {lost:,.0f} "
        "people short of it"
    ),
    "undecided": mark(
        "{what} is at {rate:.1%} ({lower:.1%} to {upper:.1%}): whether it reaches the threshold of {minimum:.0%} is "
        "undecided"
    ),
}


@dataclass(frozen=True)
class Threshold(Result):
    """A verdict on one step's rate, and on each segment's.

    ``table`` has a row per segment, those that lose most first: ``dimension`` (the columns that define it),
    ``segment``, ``before`` and ``people`` (who had made the step before, and this one), ``rate``, ``lower``, ``upper``
    (Wilson), ``verdict`` and ``people_lost``: how many more would have made the step at the minimum; 0 above it.

    Attributes
    ----------
    step, before : str
        The step, and the one before it.
    verdict : str
        ``pass`` where the whole interval lies at or above the minimum, ``fail`` where all of it lies below, else
        ``undecided``: the data allow both.
    rate, lower, upper : float
        The step's rate and its interval.
    minimum : float
        The threshold.
    people_lost : float
        How many more people would have made the step at the minimum; 0 above it.
    level : float
        Confidence level of the verdict; the segments' are held to it together (Bonferroni), so that one failing segment
        among twenty good ones is not found every week by chance.
    """

    step: str
    before: str
    verdict: str
    rate: float
    lower: float
    upper: float
    minimum: float
    people_lost: float
    level: float

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return tr(
            _TOLD[self.verdict],
            what=tr("{before} to {step}", before=tr(self.before), step=tr(self.step)),
            rate=self.rate,
            lower=self.lower,
            upper=self.upper,
            minimum=self.minimum,
            lost=self.people_lost,
        )

    @property
    def failing(self) -> pd.DataFrame:
        """The segments that fail, those that lose most first."""
        return self.table[self.table["verdict"] == "fail"]


def threshold(
    result: FunnelResult, step: str, minimum: float = 0.12, segments: Sequence[FunnelResult] = ()
) -> Threshold:
    """Judge the rate of ``step`` among those who made the step before it.

    Parameters
    ----------
    result : FunnelResult
        The funnel; with ``by``, its segments are judged too.
    step : str
        Any step but the first.
    minimum : float
        The smallest rate that passes.
    segments : sequence of FunnelResult
        The same funnel by other columns, whose segments are judged too.

    Returns
    -------
    Threshold

    Raises
    ------
    ParameterError
        The step is not in the funnel or is its first, or the minimum is no share.
    EmptyDataError
        Nobody made the step before, so there is no rate to judge.

    Examples
    --------
    >>> from clvlib.funnel.kernel import funnel
    >>> log = pd.DataFrame({"person_id": [*range(500), *range(40)], "event": ["click"] * 500 + ["cart"] * 40,
    ...                     "occurred_at": pd.Timestamp("2026-11-09")})
    >>> verdict = threshold(funnel(log, ["click", "cart"]), "cart", minimum=0.12)
    >>> verdict.verdict, verdict.rate, verdict.people_lost
    ('fail', 0.08, 20.0)
    """
    if not 0 < minimum < 1:
        raise ParameterError(f"minimum: {minimum} is no share between 0 and 1, such as 0.12 for 12%")
    whole = step_counts(result, step, total=True)
    if not whole["before"].iloc[0]:
        raise EmptyDataError(tr("nobody made the step before '{step}', so there is no rate to judge", step=tr(step)))
    overall = _judge(whole, minimum, result.level).iloc[0]
    parts = [step_counts(part, step) for part in ([result, *segments] if result.by else segments)]
    table = pd.concat(parts, ignore_index=True) if parts else whole.iloc[:0]
    table = table[table["before"] > 0].reset_index(drop=True)
    table = _judge(table, minimum, 1 - (1 - result.level) / max(len(table), 1))
    table = table.sort_values(["people_lost", "before"], ascending=False, kind="stable", ignore_index=True)
    figures: dict[str, Any] = {name: float(overall[name]) for name in ("rate", "lower", "upper", "people_lost")}
    return Threshold(
        step=step, before=result.step_before(step), verdict=str(overall["verdict"]), minimum=minimum,
        level=result.level, table=table, **figures,
    )  # fmt: skip


def step_counts(result: FunnelResult, step: str, *, total: bool = False) -> pd.DataFrame:
    """People before and at a step, a row per segment: ``dimension, segment, before, people``.

    Raises
    ------
    ParameterError
        The step is not in the funnel, or is its first; or each step has a segment of its own.
    """
    if result.attribution == "step" and not total:
        raise ParameterError("step: where each step has a segment of its own, its people are not part of those before")
    table = result.total if total else result.table
    before, at = result.steps.index(result.step_before(step)), result.steps.index(step)
    people = table["people"].to_numpy().reshape(-1, len(result.steps))  # a row per segment
    names = () if total else result.by
    labels = zip(*(table[name].to_numpy()[:: len(result.steps)] for name in names), strict=True)
    return pd.DataFrame({
        "dimension": " × ".join(names) or _ALL,
        "segment": [" × ".join(row) for row in labels] if names else _ALL,
        "before": people[:, before],
        "people": people[:, at],
    })  # fmt: skip


def _judge(counts: pd.DataFrame, minimum: float, level: float) -> pd.DataFrame:
    if counts.empty:
        return counts.assign(rate=0.0, lower=0.0, upper=0.0, verdict="", people_lost=0.0)
    limits = proportion_interval(counts["people"], counts["before"], level)
    verdict = np.select([limits["lower"] >= minimum, limits["upper"] < minimum], [_PASS, _FAIL], _UNDECIDED)
    return counts.assign(
        rate=limits["estimate"],
        lower=limits["lower"],
        upper=limits["upper"],
        verdict=verdict.astype(object),
        people_lost=np.maximum(minimum * counts["before"] - counts["people"], 0.0),
    )
