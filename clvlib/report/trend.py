"""Each of this week's figures beside its past: last week's value, the change, and whether it means anything.

The verdict holds a figure's change since last week against the changes of the weeks before, as a control chart for
single values does: under the same conditions as ever it is one more draw from the same distribution, so that
(change - mean) / (s √(1 + 1/n)) follows Student's t with n - 1 degrees of freedom (Hahn & Meeker, Statistical
Intervals, 1991, chapter 4: the prediction interval of one further value). Changes are used and not values, because
the latter would call every week of a growing shop unusual. While fewer than eight changes are known, the interval of
the change itself decides, where both weeks have one: that of Zou & Donner (2008), as if the weeks were independent. A
figure that is about much the same people as last week's, such as the value of all customers, has no such interval: both
weeks err alike, and that made of the two is several times too wide.
It also decides where a figure stood still in a quarter of its weeks or more, as a share near 100% or a count of what
hardly ever happens does: its changes are not normal, and if none of them moved, the first to do so would be beyond any
limit (of pages of ten such figures, 13 to 36% said "changed" without a cause; by the interval, at most 5% do).
All p-values of a report are adjusted together (Benjamini & Hochberg 1995): where nothing changed at all, the chance of
any "changed" on the page is at most 5% if changes are normal. In simulations of ten figures it was 3 to 5% for normal
ones, with a level or wandering, 3 to 7% for counts, rates and log-normal sums, and 6 to 16% with the tails of t(5): a
shop whose weeks jump without a cause is told so more often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from scipy import special

from clvlib.data.calendar import Week
from clvlib.report.harvest import Harvest
from clvlib.report.ledger import Ledger
from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.words import mark

__all__ = ["CHANGED", "FEWEST", "NORMAL", "SHOWN", "Trend", "settings", "trends"]

SHOWN: Final = 12  # weeks in a small chart
FEWEST: Final = 8  # changes from which normal variation can be told
_MOST: Final = 52  # changes that count: a year
_STILL: Final = 1 / 4  # share of changes that are none, from which on they say little of those that are one
_ALPHA: Final = 0.05
CHANGED, NORMAL = mark("changed"), mark("within normal variation")
_OURS = {"source", "week", "output", "lang"}


@dataclass(frozen=True)
class Chart:
    """What a further change is like, if it is like those before: Student's t around their mean.

    Attributes
    ----------
    mean, scale : float
        Of the changes; the scale holds that the mean is estimated.
    freedom : int
        Degrees of freedom.
    """

    mean: float
    scale: float
    freedom: int

    @classmethod
    def of(cls, before: Sequence[float]) -> Chart | None:
        """Learn from the changes of the past, if they are enough and the figure does not stand still as a rule."""
        n = len(before)
        if n < FEWEST or np.mean(np.equal(before, 0)) >= _STILL:
            return None
        scale = float(np.std(before, ddof=1)) * (1 + 1 / n) ** 0.5
        # figures carry eight digits: what moves by the same amount every week does so up to their last
        return cls(float(np.mean(before)), max(scale, 1e-7 * float(np.max(np.abs(before)))), n - 1)

    def p_value(self, change: float) -> float:
        """Of a change so far from the mean, or farther."""
        away = abs(change - self.mean)
        return float(2 * special.stdtr(self.freedom, -away / self.scale)) if self.scale else float(away == 0)

    def range(self, alpha: float) -> tuple[float, float]:
        """Between which a further change falls with a chance of ``1 - alpha``."""
        reach = -float(special.stdtrit(self.freedom, alpha / 2)) * self.scale
        return self.mean - reach, self.mean + reach


@dataclass(frozen=True)
class Trend:
    """One figure in time.

    Attributes
    ----------
    points : tuple of float or None
        Its last twelve weeks, this one at the end.
    last : float or None
        Last week's value, as it is known today.
    change, lower, upper : float or None
        Since last week, with its interval where both weeks have one of the same level and the figure is no stock.
    p_value : float or None
        Of the change, before adjustment.
    chart : Chart or None
        What the past says of changes.
    usual : tuple of float, or None
        Between which a change is within normal variation; it agrees with the verdict.
    verdict : str
        ``CHANGED``, ``NORMAL``, or why neither can be said.
    """

    points: tuple[float | None, ...]
    last: float | None = None
    change: float | None = None
    lower: float | None = None
    upper: float | None = None
    p_value: float | None = None
    chart: Chart | None = None
    usual: tuple[float, float] | None = None
    verdict: str = ""


def settings(manifest: Mapping[str, Any], chapter: str) -> dict[str, Any]:
    """Return the parameters of a chapter that change what its figures mean."""
    used = manifest["notebooks"].get(chapter, {}).get("parameters", {})
    return {name: value for name, value in used.items() if name not in _OURS}


def trends(past: Ledger, manifest: Mapping[str, Any], harvests: Mapping[str, Harvest]) -> dict[tuple[str, str], Trend]:
    """Hold the key figures of a report against those of the weeks before it.

    Parameters
    ----------
    past : Ledger
        What earlier reports said.
    manifest : mapping
        Of this report: shop, week and parameters.
    harvests : mapping
        What its chapters say.

    Returns
    -------
    dict
        By chapter and name.
    """
    shop, week = str(manifest["shop"]), Week(manifest["week"])
    before = past.rows("kpis", shop, week.label)
    made = past.manifests(shop)
    found = {}
    for chapter, said in harvests.items():
        alike = {label for label, other in made.items() if settings(other, chapter) == settings(manifest, chapter)}
        for kpi in said.kpis:
            is_ = {"chapter": chapter} | {field: kpi[field] for field in ("name", "unit", "currency")}
            rows = {row["week"]: row for row in before if is_.items() <= row.items()}
            comparable = {label: row for label, row in rows.items() if label in alike}
            found[chapter, kpi["name"]] = _trend(kpi, week, rows, comparable)
    return _judged(found)


def _number(row: Mapping[str, Any] | None, field: str = "value") -> float | None:
    return None if row is None or row[field] is None else float(row[field])


def _trend(
    kpi: Mapping[str, Any], week: Week, rows: Mapping[str, Mapping[str, Any]], comparable: Mapping[str, Any]
) -> Trend:
    labels = [week.shift(-i).label for i in range(1, SHOWN)]
    points = (*(_number(comparable.get(label)) for label in reversed(labels)), _number(kpi))
    previous = rows.get(week.previous.label)
    now, last = _number(kpi), _number(previous)
    if now is None or last is None or previous is None:
        return Trend(points, last)
    if week.previous.label not in comparable:
        return Trend(points, last, verdict=mark("other parameters than last week"))
    change = now - last
    lower, upper = (None, None) if kpi.get("stock") else _difference(kpi, previous)
    before = _changes(comparable, week)
    chart = Chart.of(before)
    p_value = chart.p_value(change) if chart else None
    if p_value is None and lower is not None and upper is not None:
        p_value = _p_value(change, lower, upper, float(kpi["level"]))
    if p_value is None and len(before) >= FEWEST and change == 0:
        p_value = 1.0  # what stood still as ever did not change
    early = mark("too early to say") if len(before) < FEWEST else mark("moves too seldom to say")
    verdict = "" if p_value is not None else early
    return Trend(points, last, change, lower, upper, p_value, chart, verdict=verdict)


def _changes(rows: Mapping[str, Mapping[str, Any]], week: Week) -> list[float]:
    """Return the changes between weeks that follow one another, up to last week's."""
    values = [_number(rows.get(week.shift(-i).label)) for i in range(1, _MOST + 2)]
    return [a - b for a, b in pairwise(values) if a is not None and b is not None]


def _difference(now: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the interval of the change from those of its two ends, by square and add."""
    x, x_low, x_high = (_number(now, field) for field in ("value", "lower", "upper"))
    y, y_low, y_high = (_number(last, field) for field in ("value", "lower", "upper"))
    if None in {x_low, x_high, y_low, y_high} or now["level"] != last["level"]:
        return None, None
    below, above = np.hypot(x - x_low, y_high - y), np.hypot(x_high - x, y - y_low)  # type: ignore[operator]
    return x - y - below, x - y + above  # type: ignore[operator]


def _p_value(change: float, lower: float, upper: float, level: float) -> float:
    """Return the level at which the interval of the change would end at zero, taking its sides as normal."""
    reach = change - lower if change > 0 else upper - change
    if reach <= 0:
        return 1.0 if change == 0 else 0.0
    return float(2 * special.ndtr(special.ndtri((1 - level) / 2) * abs(change) / reach))


def _judged(found: dict[tuple[str, str], Trend]) -> dict[tuple[str, str], Trend]:
    raw = {key: trend.p_value for key, trend in found.items() if trend.p_value is not None}
    values, method = list(raw.values()), "benjamini-hochberg"
    for key, p, alpha in zip(raw, adjust(values, method), agreeing_alpha(values, _ALPHA, method), strict=True):
        trend = found[key]
        usual = trend.chart.range(alpha) if trend.chart else None
        found[key] = replace(trend, verdict=CHANGED if p <= _ALPHA else NORMAL, usual=usual)
    return found
