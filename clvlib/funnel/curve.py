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
from clvlib.stats.proportions import proportion_interval
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
    then_people, then_converted : int
        Of the reference, who had made the first step, and the last, when it was as old as this period is; 0 without.
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
    then_people: int
    then_converted: int
    level: float
    hours: float = field(repr=False)
    known: float = field(repr=False)
    units: pd.DataFrame = field(repr=False)

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
            "are to be expected within {window}",
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
) -> ConversionCurve:
    """Estimate conversion by time since the first step, with open windows as censored (Kaplan & Meier 1958).

    Time runs from each unit's first start in the period; it converts when it has made all steps in their order within
    the window of that start. The estimate gives each open unit the chance that those like it had who were watched for
    longer, so ``people * final`` is what has converted plus what the open ones are expected to add (Efron 1967). That
    rests on people who start late converting as those who start early, and in a week they do not: who starts on Monday
    is watched on weekdays, who starts on Sunday comes back in another week. With a ``reference`` what the open units
    add is therefore what those of the reference added who had started on the same day of their period and had not
    converted when it was as old as this one (the chain ladder of insurers; England & Verrall 2002).

    Parameters
    ----------
    events, steps, window, unit, level
        As for :func:`clvlib.funnel.kernel.funnel`.
    as_of : date or time
        End of what has been observed; a date means the end of that day.
    starts : tuple, optional
        Earliest and latest (exclusive) time of the first step.
    reference : ConversionCurve, optional
        The curve of an older period with the same steps and window, whose windows are over.

    Returns
    -------
    ConversionCurve

    Raises
    ------
    EmptyDataError
        Nobody made the first step in the period.
    ParameterError
        As for :func:`~clvlib.funnel.kernel.funnel`; a reference of other steps or another window, or with open windows.

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
    _check_reference(reference, query.steps[0], query.steps[-1], hours)
    units, known = _units(found, len(query.steps), moment(as_of, "as_of", whole_day=True), starts, hours)
    converted = units["converted"].to_numpy()
    try:
        curve = kaplan_meier(units["hours"].to_numpy(), converted, level=level)
    except ValueError as error:
        raise ParameterError(str(error)) from error
    then = None if reference is None else _then(reference.units, known)
    limits = _end(curve, hours) if then is None else _expected(units, then, level)
    return ConversionCurve(
        start=query.steps[0], goal=query.steps[-1], window=readable(span), people=len(converted),
        converted=int(converted.sum()), open_units=int((~converted & (units["hours"] < hours)).sum()),
        so_far=float(converted.mean()), **dict(zip(("final", "lower", "upper"), limits, strict=True)),
        then_people=0 if then is None else len(then), then_converted=0 if then is None else int(then["early"].sum()),
        level=level, hours=hours, known=known, units=units, table=_table(curve),
    )  # fmt: skip


def _check_reference(reference: ConversionCurve | None, start: str, goal: str, hours: float) -> None:
    if reference is None:
        return
    if (reference.start, reference.goal, reference.hours) != (start, goal, hours):
        raise ParameterError("reference: its steps or its window are others; make both curves in one way")
    if reference.open_units:
        raise ParameterError(f"reference: {reference.open_units} of its windows are open; take an older period")


def _units(
    found: Chains, steps: int, cut: int, starts: tuple[Any, Any] | None, hours: float
) -> tuple[pd.DataFrame, float]:
    """Return a row per unit and the hours from the period's begin to the end of what is known.

    ``begin`` are the hours from the period's begin to the unit's start, ``hours`` those from its start until it
    ``converted``, or else until the window's or the observation's end.
    """
    start = found.times[:, 0]
    zero = moment(starts[0], "starts") if starts and starts[0] is not None else int(start.min())
    converted = found.depth == steps
    watched = np.minimum((cut - start) / _HOUR, hours)
    lasted = np.where(converted, (found.times[:, -1] - start) / _HOUR, watched)
    units = pd.DataFrame({"begin": (start - zero) / _HOUR, "hours": lasted, "converted": converted})
    return units, (cut - zero) / _HOUR


def _then(reference: pd.DataFrame, known: float) -> pd.DataFrame:
    """The reference's units so many hours after its begin: ``early`` had converted by then, ``late`` did afterwards."""
    there = reference[reference["begin"] <= known]
    early = there["converted"] & (there["begin"] + there["hours"] <= known)
    return there.assign(early=early, late=there["converted"] & ~early)


def _end(curve: pd.DataFrame, hours: float) -> tuple[float, float, float]:
    """Share by the end of the window with its limits, where anybody has been watched for so long."""
    end = survival_at(curve, [hours]).iloc[0]
    if end["beyond"]:
        return np.nan, np.nan, np.nan
    return float(1 - end["survival"]), float(1 - end["upper"]), float(1 - end["lower"])


def _expected(units: pd.DataFrame, then: pd.DataFrame, level: float) -> tuple[float, float, float]:
    """Share by the end of the window, what is open converting as the reference's open units of the same day did."""
    waiting = units.loc[~units["converted"], "begin"]
    left = 1 - float(units["converted"].mean())
    if not left:
        return 1.0, 1.0, 1.0
    held = then[~then["early"]]
    by_day = held["late"].groupby(held["begin"] // 24).agg(["mean", "size"])
    weight = (waiting // 24).value_counts().reindex(by_day.index, fill_value=0).to_numpy(float)
    if not weight.any():
        return np.nan, np.nan, np.nan
    weight = weight / weight.sum()
    chance, size = by_day["mean"].to_numpy(float), by_day["size"].to_numpy(float)
    stay = 1 - float(weight @ chance)
    if left * stay == 1:  # nobody has and nobody had: a share of none among those who were watched
        none = proportion_interval(0, min(len(units), len(held)), level).iloc[0]
        return float(none["estimate"]), float(none["lower"]), float(none["upper"])
    error = float(weight**2 @ (chance * (1 - chance) / size))
    variance = (1 - left) / (left * len(units)) + (error / stay**2 if stay else 0.0)  # of logarithms: they add up
    return _limits(float(np.log(left * stay)) if stay else -np.inf, variance, level)


def _table(curve: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({
        "hours": curve["time"], "at_risk": curve["at_risk"].astype(np.int64),
        "converted": curve["events"].astype(np.int64), "share": 1 - curve["survival"], "lower": 1 - curve["upper"],
        "upper": 1 - curve["lower"], "standard_error": curve["standard_error"],
    })  # fmt: skip


def _limits(log_survival: float, variance: float, level: float) -> tuple[float, float, float]:
    """Share converted with log-log limits."""
    if not -np.inf < log_survival < 0:
        share = 1.0 if log_survival < 0 else 0.0
        return share, share, share
    spread = float(np.exp(stats.norm.isf((1 - level) / 2) * np.sqrt(variance) / -log_survival))
    share, lower, upper = -np.expm1([log_survival, log_survival / spread, log_survival * spread])
    return float(share), float(lower), float(upper)
