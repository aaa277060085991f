"""How conversion grows with time since the first step, and what it will come to where windows are still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from clvlib.data.engine import Table, as_table
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.chains import Chains, chains
from clvlib.funnel.kernel import question, readable
from clvlib.funnel.query import moment
from clvlib.result import Result
from clvlib.stats.survival import kaplan_meier, survival_at
from clvlib.words import tr

__all__ = ["ConversionCurve", "conversion_curve"]

_HOUR = 3_600_000_000


@dataclass(frozen=True)
class ConversionCurve(Result):
    """The share converted by the time since the first step.

    ``table`` has a row per time at which somebody converted or ceased to be watched: ``hours`` since the first step,
    ``at_risk``, ``converted``, ``share`` with ``lower`` and ``upper`` (log-log), ``standard_error``.

    Attributes
    ----------
    start, goal : str
        First and last step.
    window : str
        How long a conversion counts.
    people : int
        Units whose first step lies in the period.
    converted, open_units : int
        Who has converted so far, and whose window is open and who has not.
    so_far : float
        ``converted / people``: what counting open windows as lost would report.
    final, lower, upper : float
        Share converted by the end of the window; missing where nobody has been watched for so long.
    borrowed_from : float
        Hours from which the reference's curve is used; missing where it is not.
    level : float
        Confidence level.
    """

    start: str
    goal: str
    window: str
    people: int
    converted: int
    open_units: int
    so_far: float
    final: float
    lower: float
    upper: float
    borrowed_from: float
    level: float
    hours: float = field(repr=False)

    @property
    def sentence(self) -> str:
        """What it comes to, in words."""
        told = {"so_far": self.so_far, "start": tr(self.start), "goal": tr(self.goal)}
        if np.isnan(self.final):
            return tr(
                "{so_far:.1%} of those at {start} have reached {goal} so far; nobody has been watched for {window} yet",
                **told,
                window=self.window,
            )
        if not self.open_units:
            return tr("{so_far:.1%} of those at {start} have reached {goal} so far", **told)
        return tr(
            "{so_far:.1%} of those at {start} have reached {goal} so far; {final:.1%} ({lower:.1%} to {upper:.1%}) "
            "will within {window}",
            **told,
            final=self.final,
            lower=self.lower,
            upper=self.upper,
            window=self.window,
        )


def conversion_curve(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    window: str | pd.Timedelta = "7D",
    *,
    as_of: Any,
    starts: tuple[Any, Any] | None = None,
    unit: Literal["person", "session"] = "person",
    level: float = 0.95,
    reference: ConversionCurve | None = None,
    min_at_risk: int = 30,
) -> ConversionCurve:
    """Estimate conversion by time since the first step, with open windows as censored (Kaplan & Meier 1958).

    Time runs from each unit's first start in the period; it converts when it has made all steps in their order within
    the window of that start. The estimate gives each open unit the chance that those like it had who were watched for
    longer, so ``people * final`` is what has converted plus what the open ones are expected to add (Efron 1967). That
    rests on people who start late converting as those who start early.

    Parameters
    ----------
    events, steps, window, unit, level
        As for :func:`clvlib.funnel.kernel.funnel`.
    as_of : date or time
        End of what has been observed; a date means the end of that day.
    starts : tuple, optional
        Earliest and latest (exclusive) time of the first step.
    reference : ConversionCurve, optional
        The curve of an older period with the same steps and window, whose windows are over. From the time at which less
        than ``min_at_risk`` units of this period are watched, its chances to convert later on are used in their place.
    min_at_risk : int
        See ``reference``.

    Returns
    -------
    ConversionCurve

    Raises
    ------
    EmptyDataError
        Nobody made the first step in the period.
    ParameterError
        As for :func:`~clvlib.funnel.kernel.funnel`; a reference of other steps or another window.

    Examples
    --------
    >>> log = pd.DataFrame({"person_id": list("abcdab"), "event": ["view"] * 4 + ["order"] * 2,
    ...     "occurred_at": pd.to_datetime(["2026-11-02", "2026-11-02", "2026-11-02", "2026-11-07",
    ...                                    "2026-11-03", "2026-11-08"])})
    >>> found = conversion_curve(log, ["view", "order"], "7D", as_of="2026-11-09")
    >>> found.so_far, round(found.final, 4), found.open_units
    (0.5, 0.625, 1)
    """
    query, span = question(steps, window, unit=unit, as_of=as_of, starts=starts, open_windows="so far", reentry=False)
    found = chains(as_table(events, "events"), query)
    if not len(found.depth):
        raise EmptyDataError(tr("nobody made the first step '{step}' in the period", step=tr(query.steps[0])))
    hours = span / pd.Timedelta(hours=1)
    if reference is not None and (reference.start, reference.goal, reference.hours) != (
        query.steps[0], query.steps[-1], hours,
    ):  # fmt: skip
        raise ParameterError("reference: its steps or its window are others; make both curves in one way")
    durations, converted = _durations(found, len(query.steps), moment(as_of, "as_of", whole_day=True), hours)
    try:
        curve = kaplan_meier(durations, converted, level=level)
    except ValueError as error:
        raise ParameterError(str(error)) from error
    final, lower, upper, borrowed = _final(curve, hours, reference, min_at_risk, level)
    return ConversionCurve(
        start=query.steps[0], goal=query.steps[-1], window=readable(span), people=len(converted),
        converted=int(converted.sum()), open_units=int((~converted & (durations < hours)).sum()),
        so_far=float(converted.mean()), final=final, lower=lower, upper=upper, borrowed_from=borrowed, level=level,
        hours=hours, table=_table(curve),
    )  # fmt: skip


def _durations(found: Chains, steps: int, cut: int, hours: float) -> tuple[np.ndarray, np.ndarray]:
    """Hours until conversion, or until the window's or the observation's end; and whether it was conversion."""
    start = found.times[:, 0]
    converted = found.depth == steps
    watched = np.minimum((cut - start) / _HOUR, hours)
    return np.where(converted, (found.times[:, -1] - start) / _HOUR, watched), converted


def _table(curve: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({
        "hours": curve["time"], "at_risk": curve["at_risk"].astype(np.int64),
        "converted": curve["events"].astype(np.int64), "share": 1 - curve["survival"], "lower": 1 - curve["upper"],
        "upper": 1 - curve["lower"], "standard_error": curve["standard_error"],
    })  # fmt: skip


def _final(
    curve: pd.DataFrame, hours: float, reference: ConversionCurve | None, min_at_risk: int, level: float
) -> tuple[float, float, float, float]:
    """Share by the end of the window with limits, and from when on it is the reference's."""
    thin, last = curve.loc[curve["at_risk"] < min_at_risk, "time"], float(curve["time"].iloc[-1])
    switch = float(thin.iloc[0]) if len(thin) else hours if last >= hours else float(np.nextafter(last, np.inf))
    if reference is None or switch >= hours:
        end = survival_at(curve, [hours]).iloc[0]
        if end["beyond"]:
            return np.nan, np.nan, np.nan, np.nan
        return float(1 - end["survival"]), float(1 - end["upper"]), float(1 - end["lower"]), np.nan
    own = _log_survival(curve["time"], curve["survival"], curve["standard_error"], np.nextafter(switch, 0))
    other = reference.table
    late = _log_survival(other["hours"], 1 - other["share"], other["standard_error"], hours)
    early = _log_survival(other["hours"], 1 - other["share"], other["standard_error"], np.nextafter(switch, 0))
    log_survival = own[0] + late[0] - early[0]
    variance = own[1] + late[1] - early[1]  # Greenwood's sum: its increments are independent
    share, lower, upper = _limits(log_survival, variance, level)
    return share, lower, upper, switch


def _log_survival(times: pd.Series, survival: pd.Series, error: pd.Series, at: float) -> tuple[float, float]:
    """Logarithm of a curve at a time and its variance."""
    place = int(np.searchsorted(times.to_numpy(), at, side="right")) - 1
    if place < 0:
        return 0.0, 0.0
    value = float(survival.iloc[place])
    if value <= 0:
        return -np.inf, 0.0
    return float(np.log(value)), float((error.iloc[place] / value) ** 2)


def _limits(log_survival: float, variance: float, level: float) -> tuple[float, ...]:
    """Share converted with log-log limits."""
    if not -np.inf < log_survival < 0:
        share = 1.0 if log_survival < 0 else 0.0
        return share, share, share
    spread = float(np.exp(stats.norm.isf((1 - level) / 2) * np.sqrt(variance) / -log_survival))
    return tuple(1 - float(np.exp(value)) for value in (log_survival, log_survival / spread, log_survival * spread))
