"""This week beside the past: the change, its interval, and verdicts that raise false alarms as rarely as they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from clvlib.data.calendar import Week
from clvlib.report import trend as module
from clvlib.report.chapter import KPI
from clvlib.report.harvest import Harvest
from clvlib.report.ledger import current
from clvlib.report.spark import sparkline
from clvlib.report.trend import CHANGED, NORMAL, Chart, Trend, trends

from .books import kpi, published

NOW = Week("2026-W46")


def told(out: Path, before: list[dict[str, Any] | None], now: dict[str, Any], **more: Any) -> Trend:
    """The trend of a figure that earlier reports had as ``before``, last week's at the end."""
    for ago, said in zip(range(len(before), 0, -1), before, strict=True):
        if said is not None:
            published(out, NOW.shift(-ago).label, [(KPI, said)], parameters=said.pop("parameters", {}))
    past = current(out, print)
    manifest = {"shop": "Shop", "week": NOW.label, "notebooks": {"01_a": {"parameters": {"week": NOW.label} | more}}}
    return trends(past, manifest, {"01_a": Harvest(kpis=[now])})["01_a", "sold"]


def sold(value: float | None, **more: Any) -> dict[str, Any]:
    return kpi("sold", value, **more)


def test_last_week_and_the_interval_of_the_change(tmp_path: Path):
    # Zou & Donner (2008): 20 ± (3, 4) less 12 ± (4, 3): 8 - √(3² + 3²), 8 + √(4² + 4²)
    trend = told(tmp_path, [None, sold(12, lower=8, upper=15)], sold(20, lower=17, upper=24))
    assert (trend.last, trend.change) == (12, 8)
    assert (trend.lower, trend.upper) == (pytest.approx(8 - 18**0.5), pytest.approx(8 + 32**0.5))
    assert trend.points == (*[None] * 10, 12, 20)
    assert trend.verdict == CHANGED  # its interval leaves zero out


def test_the_interval_decides_while_the_past_is_short(tmp_path: Path):
    now = sold(20, lower=17, upper=24)
    assert told(tmp_path, [sold(18, lower=14, upper=21)], now).verdict == NORMAL
    # at the very end of its interval the p-value is 1 - level: the change is 5, its interval reaches to 0
    at_zero = told(tmp_path, [sold(15, lower=11, upper=19)], now)
    assert at_zero.lower == pytest.approx(0)
    assert at_zero.p_value == pytest.approx(0.05)
    other = told(tmp_path, [sold(15, lower=11, upper=19, level=0.9)], now)
    assert (other.change, other.lower, other.verdict) == (5, None, "too early to say")
    assert told(tmp_path, [sold(15)], sold(15)).verdict == "too early to say"


def test_two_weeks_of_a_stock_err_alike_and_tell_nothing_of_its_change(tmp_path: Path):
    before, now = sold(18, lower=17.9, upper=18.1), sold(20, lower=19.9, upper=20.1)
    assert told(tmp_path / "flow", [before], now).verdict == CHANGED
    alone = told(tmp_path / "short", [before], now | {"stock": True})
    assert (alone.change, alone.lower, alone.upper, alone.verdict) == (2, None, None, "too early to say")
    record = [sold(value, lower=0, upper=40) for value in (10, 11, 12.1, 13, 14.1, 15, 16.1, 17, 18.1)]
    judged = told(tmp_path / "long", record, sold(30, lower=0, upper=60) | {"stock": True})
    assert (judged.lower, judged.verdict) == (None, CHANGED)  # by its changes, which were about one


def test_what_cannot_be_compared(tmp_path: Path):
    assert told(tmp_path / "none", [], sold(5)) == Trend((*[None] * 11, 5.0))
    assert told(tmp_path / "gap", [sold(4), None], sold(5)).change is None
    assert told(tmp_path / "absent", [sold(4)], sold(None)).change is None
    assert told(tmp_path / "unit", [sold(4, unit="share")], sold(5)).last is None
    changed = told(tmp_path / "parameters", [sold(4, parameters={"weeks": 4})], sold(5), weeks=8)
    assert (changed.last, changed.change, changed.verdict) == (4, None, "other parameters than last week")
    assert changed.points[-2] is None


def test_the_chart_of_changes(tmp_path: Path):
    # changes 1, 3, 1, 3 … of mean 2 and s² = 16/15 (n = 16): a change of 8 lies 6 / √(16/15 · 17/16) = 5.636 s away
    values = list(np.cumsum([0, *[1, 3] * 8]).astype(float))
    trend = told(tmp_path, [sold(value) for value in values], sold(values[-1] + 8))
    # P(|t(15)| > 5.636) by the series of Abramowitz & Stegun 26.7.3 for odd degrees of freedom
    assert trend.p_value == pytest.approx(_tail(6 / (16 / 15 * 17 / 16) ** 0.5, 15), rel=1e-9)
    assert trend.verdict == CHANGED
    assert told(tmp_path, [], sold(values[-1] + 3)).verdict == NORMAL


def _tail(t: float, df: int) -> float:
    angle, term, total = np.arctan(t / df**0.5), np.cos(np.arctan(t / df**0.5)), 0.0
    for i in range(1, df - 1, 2):
        total += term
        term *= (i + 1) / (i + 2) * np.cos(angle) ** 2
    return float(1 - 2 / np.pi * (angle + np.sin(angle) * total))


def test_a_figure_that_stands_still_is_judged_by_its_interval(tmp_path: Path):
    """300 of 300 for twelve weeks: 299 is no change, 280 is one; without an interval, none can tell."""
    sure = dict(zip(("value", "lower", "upper"), _wilson(300, 300), strict=True))
    past = [sold(**sure) for _ in range(12)]
    for many, verdict in ((299, NORMAL), (280, CHANGED)):
        value, lower, upper = _wilson(many, 300)
        trend = told(tmp_path / str(many), list(map(dict, past)), sold(value, lower=lower, upper=upper))
        assert (trend.verdict, trend.chart, trend.usual) == (verdict, None, None)
    assert told(tmp_path / "same", list(map(dict, past)), sold(**sure)).verdict == NORMAL
    assert told(tmp_path / "bare", [sold(7.0) for _ in range(12)], sold(8.0)).verdict == "moves too seldom to say"
    assert told(tmp_path / "bare", [], sold(7.0)).verdict == NORMAL
    steady = [sold(float(value)) for value in range(12)]  # what moves by as much every week does move
    assert told(tmp_path / "steady", steady, sold(20.0)).verdict == CHANGED


def _wilson(x: int, n: int) -> tuple[float, float, float]:
    z = 1.959964
    middle, half = (x + z * z / 2) / (n + z * z), z / (n + z * z) * (x * (n - x) / n + z * z / 4) ** 0.5
    return x / n, middle - half, middle + half


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a share near one", "a rare count"])
def test_what_hardly_ever_moves_raises_no_more_false_alarms(tmp_path: Path, kind: str):
    """Pages of ten figures whose changes are mostly none: at most 5% say "changed" (by a chart, 13 to 36% would)."""
    chance, alarms, pages = np.random.default_rng(11), 0, 300
    for _ in range(pages):
        if kind == "a share near one":
            figures = [[_wilson(int(x), 300) for x in chance.binomial(300, 0.999, 14)] for _ in range(10)]
        else:  # the exact interval of a Poisson count
            ends = np.arange(9)
            lower, upper = np.nan_to_num(chi2.ppf(0.025, 2 * ends) / 2), chi2.ppf(0.975, 2 * ends + 2) / 2
            figures = [[(float(x), lower[x], upper[x]) for x in chance.poisson(0.1, 14)] for _ in range(10)]
        found = {}
        for name, weeks in enumerate(figures):
            said = [sold(float(value), lower=low, upper=high) for value, low, high in weeks]
            rows = {NOW.shift(i - 13).label: row for i, row in enumerate(said[:-1])}
            found["c", str(name)] = module._trend(said[-1], NOW, rows, rows)
        alarms += any(trend.verdict == CHANGED for trend in module._judged(found).values())
    assert alarms / pages < 0.05 + 2.6 * (0.05 * 0.95 / pages) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a level with noise", "growth in steps of chance"])
def test_false_alarms_over_all_figures(kind: str):
    """Where nothing changes, at most 5% of reports of ten figures say "changed" anywhere; a true jump is found."""
    chance, alarms, found, reports = np.random.default_rng(5), 0, 0, 400
    for _ in range(reports):
        noise = chance.standard_normal((10, 14))
        walks = noise if kind.startswith("a level") else np.cumsum(noise + 0.3, axis=1)
        series = {("c", str(i)): list(map(float, walk)) for i, walk in enumerate(walks)}
        alarms += CHANGED in _verdicts(series)
        series["c", "0"][-1] += 12
        found += _verdicts(series)[0] == CHANGED
    assert alarms / reports < 0.05 + 2.6 * (0.05 * 0.95 / reports) ** 0.5
    assert found / reports > 0.9


def _verdicts(series: dict[tuple[str, str], list[float]]) -> list[str]:
    made = {}
    for key, walk in series.items():
        change, before = walk[-1] - walk[-2], np.diff(walk[:-1])
        chart = Chart.of(list(before))
        assert chart is not None
        made[key] = Trend((), change=change, p_value=chart.p_value(change), chart=chart)
    judged = list(module._judged(made).values())
    for trend in judged:  # the usual range agrees with the verdict
        assert trend.usual is not None
        assert (trend.usual[0] < trend.change < trend.usual[1]) == (trend.verdict == NORMAL)
    return [trend.verdict for trend in judged]


def test_sparkline():
    assert sparkline([None, 3.0], "count", "") == ""
    drawn = str(sparkline([1.0, 3.0, None, 2.0, None], "money", "USD"))
    assert drawn.count("<polyline") == 2
    assert "<circle" not in drawn  # this week is not known
    assert 'points="3.0,25.0 31.5,3.0"' in drawn  # from the lowest to the highest
    assert "last 5 weeks: from $1.00 to $2.00, lowest $1.00, highest $3.00, 2 weeks not known" in drawn
    assert 'points="3.0,14.0 117.0,14.0"' in str(sparkline([5.0, 5.0], "count", ""))
