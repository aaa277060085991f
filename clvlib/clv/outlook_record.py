"""How forecasts from past days turned out against the naive one, and intervals widened where past ones were narrow."""

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from clvlib.clv.models.base import normal_quantile
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.outlook_forecast import FIGURES, Made, forecast
from clvlib.clv.outlook_weeks import Past
from clvlib.clv.valuation import CustomerValue
from clvlib.errors import EmptyDataError
from clvlib.stats.forecasts import loss_difference
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark

__all__ = ["histories", "past_forecasts", "record", "widened"]

Array = NDArray[np.float64]

_LEARN = 16  # weeks that a forecast of the past had to learn from, at least
_PRIOR = 4.0  # past forecasts that were as their intervals said, added to those seen
_FARTHEST = 4.0  # deviations, beyond which an outcome tells no more: none at all where a shop has shut
_DRAWS = 500
_ENDS = ("lower", "upper")
_RECORD = [
    "origins", "error", "naive_error", "difference", "lower", "upper", "verdict", "bias", "high", "inside", "coverage",
    "coverage_lower", "coverage_upper",
]  # fmt: skip
_SAID = ("mean", "lower", "upper", "median")
_PAST = ["origin", "weeks", "figure", *_SAID, "naive", "actual"]
_NOTHING = pd.MultiIndex.from_arrays([[], []], names=["weeks", "figure"])
_BETTER, _WORSE = mark("that is better"), mark("that is worse, so the naive forecast serves as well or better")
_OPEN, _FEW = mark("which is better cannot be told yet"), mark("too few outcomes to compare")


def histories(shop: Any, day: dt.date) -> pd.DataFrame:
    """Return the histories on a day; no rows where nobody had bought."""
    try:
        found: pd.DataFrame = shop.customer_summary(as_of=day, unit="W", collapse="D")
    except EmptyDataError:
        return pd.DataFrame(columns=["frequency", "recency", "T", "monetary_value"], dtype=float)
    return found


def past_forecasts(
    shop: Any, study: CustomerValue, past: Past, model: type[PurchaseModel], today: Made, weeks: list[int],
    origins: int, step: int, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Forecast from past days, and hold that against what came."""
    worth: dict[int, float] = {0: today.value}
    rows: list[dict[str, Any]] = []
    for back in range(step, len(past.weeks) - _LEARN + 1, step)[:origins]:
        then = past.until(back)
        known = histories(shop, then.last)
        if not (known["frequency"] > 0).any() or len(then.weeks) <= weeks[0]:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of today's fits the reader is told; those of the past are graded
            life = study.fitted(known, model)
            made = forecast(study, then, life, known, weeks, _DRAWS, seed, today)
        worth[back] = made.value
        rows += _outcomes(past, then, made, [week for week in weeks if week <= back], worth)
    graded = pd.DataFrame(rows, columns=_PAST).astype({"origin": "datetime64[s]", "weeks": int}).dropna()
    return _judged(graded.sort_values(["weeks", "origin"], kind="stable", ignore_index=True), step, study.interval)


def _outcomes(past: Past, then: Past, made: Made, weeks: list[int], worth: dict[int, float]) -> list[dict[str, Any]]:
    """Return a past day's forecasts beside what came, value by how many weeks ago it was reckoned."""
    start, rows = len(then.weeks), []
    said = {key: dict(zip(_SAID, row, strict=True)) for key, *row in made.table[list(_SAID)].itertuples()}
    for week in weeks:
        naive = then.naive([week], made.value)
        value = worth.get(len(past.weeks) - start - week, np.nan)
        came = [*past.total(start, start + week).values(), value]
        for figure, rival, actual in zip(FIGURES, naive, came, strict=True):
            told: dict[str, Any] = {"origin": pd.Timestamp(then.last), "weeks": week, "figure": figure}
            rows.append({**told, **said[week, figure], "naive": rival, "actual": actual})
    return rows


def _judged(graded: pd.DataFrame, step: int, level: float) -> pd.DataFrame:
    """Widen the interval of each past forecast by what had come by then, and say what fell inside."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.log(graded["upper"] / graded["lower"]) / (2 * normal_quantile(level))
        graded = graded.assign(off=np.log(graded["actual"] / graded["median"]) / reach)
    origin, weeks = graded["origin"].to_numpy(), graded["weeks"].to_numpy()
    due, off = origin + pd.to_timedelta(7 * weeks, "D").to_numpy(), graded["off"].to_numpy(dtype=float)
    same = (weeks[:, None] == weeks) & (graded["figure"].to_numpy()[:, None] == graded["figure"].to_numpy())
    wider = [
        Wider.by(off[alike & (due <= then)], -(-int(week) // step))
        for alike, then, week in zip(same, origin, weeks, strict=True)
    ]
    for end in _ENDS:
        told = zip(wider, graded[end], graded["median"], strict=True)
        graded[end] = [each.stretched(value, middle, (1 - level) / 2) for each, value, middle in told]
    return graded.assign(inside=graded["actual"].between(graded["lower"], graded["upper"]))


class Wider(NamedTuple):
    """How much wider than it says an interval is, where past ones were too narrow.

    Attributes
    ----------
    scale : float
        Root of the mean squared error of past forecasts, in units of what their intervals said, and of some that are
        as they said, so that few outcomes do little; those that share weeks count as one. Never below 1.
    freedom : float
        How many forecasts that is the mean of: quantiles are those of Student's t, since a scale learnt from few is not
        known exactly.
    """

    scale: float
    freedom: float

    @classmethod
    def by(cls, off: Array, span: int) -> Wider:
        """Learn from past errors, of which ``span`` share weeks; those beyond four deviations count as four.

        >>> told = Wider.by(np.array([2.0, -2.0, 2.0, 2.0]), 2)
        >>> round(told.scale, 3), told.freedom  # (4 + 16 / 2) / (4 + 2) is 2
        (1.414, 6.0)
        """
        off = np.clip(off[~np.isnan(off)], -_FARTHEST, _FARTHEST)
        freedom = _PRIOR + len(off) / span
        return cls(float(np.sqrt(max((_PRIOR + (off**2).sum() / span) / freedom, 1.0))), freedom)

    def stretched(self, value: float, middle: float, probability: float) -> float:
        """Return a quantile farther from the median, on the scale of logs."""
        if not (value > 0 and middle > 0) or probability == 0.5:
            return float(value)
        student = special.stdtrit(self.freedom, probability) / special.ndtri(probability)
        return float(middle * (value / middle) ** (self.scale * student))


def widened(table: pd.DataFrame, past: pd.DataFrame, step: int, level: float) -> pd.DataFrame:
    """Return today's forecasts with intervals and quantiles widened by the past ones."""
    rows = []
    for at, (weeks, figure) in enumerate(table.index):
        row = table.iloc[at]
        off = past.loc[(past["weeks"] == weeks) & (past["figure"] == figure), "off"].to_numpy(dtype=float)
        wider, middle = Wider.by(off, -(-weeks // step)), row["median"]
        ends = {end: wider.stretched(row[end], middle, (1 - level) / 2) for end in _ENDS}
        quantiles = {share: wider.stretched(value, middle, share) for share, value in row["quantiles"].items()}
        rows.append({**row, **ends, "quantiles": quantiles})
    return pd.DataFrame(rows, index=table.index).drop(columns="median")


def record(past: pd.DataFrame, step: int) -> pd.DataFrame:
    """Return how past forecasts turned out, by weeks ahead and figure."""
    rows = {}
    for weeks in sorted(past["weeks"].unique()):
        for figure in FIGURES:
            group = past[(past["weeks"] == weeks) & (past["figure"] == figure)]
            if len(group):
                rows[int(weeks), figure] = _row(group, -(-int(weeks) // step))
    table = pd.DataFrame(list(rows.values()), columns=_RECORD)
    table.index = pd.MultiIndex.from_tuples(rows, names=["weeks", "figure"]) if rows else _NOTHING
    return table


def _row(group: pd.DataFrame, span: int) -> dict[str, Any]:
    """Grade the forecasts of one figure."""
    actual, n = group["actual"].to_numpy(dtype=float), len(group)
    scale = float(actual.mean()) or 1.0
    own, rival = ((group[name] - group["actual"]).abs().to_numpy(dtype=float) / scale for name in ("mean", "naive"))
    above = (group["mean"] - group["actual"]).to_numpy(dtype=float) / scale
    figures = (n, own.mean(), rival.mean(), own.mean() - rival.mean(), np.nan, np.nan, _FEW, above.mean())
    row: dict[str, Any] = dict(zip(_RECORD, figures, strict=False)) | {"high": int((above > 0).sum())}
    if n >= span + 2:
        found = loss_difference(own, rival, span)
        row |= {"lower": found.lower, "upper": found.upper}
        row["verdict"] = _BETTER if found.upper < 0 else _WORSE if found.lower > 0 else _OPEN
    inside, share = int(group["inside"].sum()), min(span, n)
    limits = proportion_interval(inside / share, n / share).iloc[0]
    covered = dict(zip(_RECORD[-4:], (inside, inside / n, limits["lower"], limits["upper"]), strict=True))
    return row | covered
