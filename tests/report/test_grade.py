"""Forecasts are graded when their time has come, against what the report of that week says happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from clvlib.data.calendar import Week
from clvlib.report.chapter import FORECAST
from clvlib.report.grade import Grades, grades
from clvlib.report.harvest import Harvest
from clvlib.report.ledger import current
from clvlib.stats.quantiles import LEVELS

from .books import forecast, published

NOW = Week("2026-W46")


def graded(out: Path, now: list[dict[str, Any]], before: dict[int, list[dict[str, Any]]]) -> Grades:
    """Grades of this week after reports ``ago`` weeks before."""
    for ago, said in before.items():
        published(out, NOW.shift(-ago).label, [(FORECAST, each) for each in said])
    return grades(current(out, print), "Shop", NOW, {"01_a": Harvest(forecasts=now)})


def test_due_forecasts_meet_what_happened(tmp_path: Path):
    result = graded(
        tmp_path,
        [forecast("sold", 100.0, 105.0), forecast("sold", 400.0, 430.0, weeks=4)],
        {
            1: [forecast("sold", 102.0, 96.0), forecast("sold", 390.0, 380.0, weeks=4)],
            2: [forecast("sold", 80.0, 100.0)],
            4: [forecast("sold", 410.0, 370.0, weeks=4), forecast("sold", 90.0, None, level=0.8)],
        },
    )
    table = result.table.set_index(["weeks", "week"])
    assert table.loc[(1, "2026-W45"), ["mean", "actual", "naive", "inside", "due"]].tolist() == [
        102, 105, 96, True, "2026-W46",
    ]  # fmt: skip
    assert table.loc[(1, "2026-W44"), ["mean", "actual", "naive", "inside"]].tolist() == [80, 96, 100, False]
    assert table.loc[(4, "2026-W42"), ["mean", "actual", "naive", "inside"]].tolist() == [410, 430, 370, False]
    assert table.loc[(1, "2026-W42"), "actual"] != table.loc[(1, "2026-W42"), "actual"]  # W43 was not reported
    assert result.sentence == (
        "Of 2 forecasts due this week, 1 fell inside their 90% intervals. "
        "1 forecast that was due is open: no report says what came. "
        "Of 3 forecasts due since 2026-W45, 1 fell inside their 90% intervals."
    )
    assert result.ahead[["weeks", "mean", "due"]].to_numpy().tolist() == [[1, 100, "2026-W47"], [4, 400, "2026-W50"]]
    weekly = result.record.set_index("weeks").loc[1]
    assert (weekly["graded"], weekly["inside"], weekly["coverage"]) == (2, 1, 0.5)
    assert weekly["bias"] == pytest.approx((102 + 80) / (105 + 96) - 1)
    assert weekly["mean_error"] == (3 + 16) / 2
    assert weekly["naive_error"] == (9 + 4) / 2
    assert weekly["gain"] == pytest.approx(1 - 19 / 13)


def test_forecasts_that_share_weeks_count_as_one(tmp_path: Path):
    def held(weeks: int) -> float:
        before = {ago: [forecast("sold", 100.0, 100.0, weeks=weeks)] for ago in range(1, 25)}
        result = graded(tmp_path / str(weeks), [forecast("sold", 100.0, 100.0, weeks=weeks)], before)
        row = result.record.iloc[0]
        assert (row["graded"], row["coverage"], row["bias"], row["gain"]) == (25 - weeks, 1.0, 0.0, None)
        assert row["coverage_upper"] == pytest.approx(1)
        return float(row["coverage_lower"])

    z2 = 1.959963984540054**2  # Wilson's lower end at x = n is n / (n + z²)
    assert held(1) == pytest.approx(24 / (24 + z2))
    assert held(4) == pytest.approx(21 / 4 / (21 / 4 + z2))


def test_sentences(tmp_path: Path):
    assert graded(tmp_path / "a", [], {}).sentence == "No forecast was due yet."
    first = graded(tmp_path / "b", [forecast("sold", 1.0, 1.0, weeks=4)], {})
    assert first.sentence == "No forecast was due yet; the first is due in 2026-W50."
    before = {ago: [forecast("sold", 100.0, 100.0)] for ago in range(1, 13)}
    many = graded(tmp_path / "c", [forecast("sold", 5.0, 100.0)], before).sentence
    assert many == (
        "Of 1 forecast due this week, 1 fell inside its 90% interval. "
        "Of 12 forecasts due since 2026-W35, 12 fell inside their 90% intervals (100.0%)."
    )


def test_late_data_change_the_grade(tmp_path: Path):
    """What came is what the last revision says: a later report of the week due corrects it."""
    past = {2: [forecast("sold", 100.0, 90.0)], 1: [forecast("sold", 95.0, 80.0)]}
    assert not graded(tmp_path, [], past).table.set_index("week").loc["2026-W44", "inside"]
    past[1] = [forecast("sold", 95.0, 99.0)]
    assert graded(tmp_path, [], past).table.set_index("week").loc["2026-W44", "inside"]


def test_a_forecast_is_held_to_what_it_said_when_its_time_came(tmp_path: Path):
    def stands(ago: int) -> float:
        rows = current(tmp_path, print).rows("forecasts", "Shop")
        return float(next(row["mean"] for row in rows if row["week"] == NOW.shift(-ago).label))

    def report(ago: int, mean: float, actual: float = 0.0) -> None:
        published(tmp_path, NOW.shift(-ago).label, [(FORECAST, forecast("sold", mean, actual))])
        current(tmp_path, print)

    report(2, 50.0)
    report(2, 60.0)  # made again before the week that it is about was reported
    report(1, 70.0, 100.0)
    report(2, 100.0)  # and after: it is too late to say so
    assert (stands(2), stands(1)) == (60, 70)
    report(1, 70.0, 99.0)  # what happened is what is known today
    assert grades(current(tmp_path, print), "Shop", NOW, {}).table["actual"].iloc[0] == 99
    report(3, 1.0)  # the past made afterwards: the first time counts
    report(3, 2.0)
    assert stands(3) == 1


def spread(actual: float | None, *, scale: float = 10.0, shift: float = 0.0, **more: Any) -> dict[str, Any]:
    """A forecast of 100 that tells the quantiles of a normal law."""
    values = 100 + shift + scale * stats.norm.ppf(LEVELS)
    ends = {"lower": values[0], "upper": values[-1], "quantiles": [list(p) for p in zip(LEVELS, values, strict=True)]}
    return forecast("sold", 100.0 + shift, actual) | ends | more


def test_whole_distributions_are_graded(tmp_path: Path):
    """By hand for what comes as forecast: each quantile costs its distance, 2 Σ w u z on either side."""
    result = graded(tmp_path, [spread(100.0)], {2: [spread(100.0)], 1: [spread(100.0)], 3: [forecast("sold", 90, 99)]})
    row = result.spread.iloc[0]
    assert row["graded"] == 2  # that of three weeks ago told its interval alone
    assert result.record.iloc[0]["graded"] == 3
    assert row["middle"] == {0.5: (2, 2), 0.8: (2, 2), 0.9: (2, 2)}
    tails = [(0.05, 0.075, 1.644854), (0.1, 0.1, 1.281552), (0.25, 0.2, 0.674490)]  # level, what it stands for, z
    assert row["crps"] == pytest.approx(2 * 2 * 10 * sum(u * w * z for u, w, z in tails), rel=1e-6)
    assert row["naive_error"] == 0
    assert row["gain"] is None
    assert row["verdict"] == "too early to say"
    assert "istribution" not in result.sentence


@pytest.mark.parametrize(
    ("said", "verdict"),
    [({}, ""), ({"shift": -12}, "forecasts too low"), ({"scale": 4}, "intervals too narrow"),
     ({"scale": 60}, "intervals too wide")],
)  # fmt: skip
def test_what_is_wrong_with_a_distribution_is_said(tmp_path: Path, said: dict[str, float], verdict: str):
    """Twenty weeks whose figures are spread as the normal law says: the middles of twenty slices of it."""
    came = np.random.default_rng(1).permutation(100 + 10 * stats.norm.ppf((np.arange(20) + 0.5) / 20))
    before = {20 - i: [spread(came[i - 1] if i else None, **said)] for i in range(20)}
    result = graded(tmp_path, [spread(came[-1], **said)], before)
    row = result.spread.iloc[0]
    assert (row["graded"], row["verdict"]) == (20, verdict or "no fault shows")
    if verdict:
        assert result.sentence.endswith(f"Distributions to mend: Sold, 1\u00a0week: {verdict}.")
    else:
        assert result.sentence.endswith("over the one distribution that can be judged as it should be.")
        assert row["place"] == pytest.approx(0.5, abs=1e-9)
        assert row["middle"] == {0.5: (10, 20), 0.8: (16, 20), 0.9: (18, 20)}


def test_overlapping_distributions_are_judged_by_those_that_share_no_week(tmp_path: Path):
    before = {ago: [spread(100.0, weeks=4)] for ago in range(1, 36)}
    row = graded(tmp_path, [spread(100.0, weeks=4)], before).spread.iloc[0]
    assert (row["graded"], row["verdict"]) == (32, "intervals too wide")  # 8 of them stand alone, each in the middle
    before.pop(35)
    before.pop(34)
    before.pop(33)
    assert graded(tmp_path / "b", [spread(100.0, weeks=4)], before).spread.iloc[0]["verdict"] == "intervals too wide"


def test_too_few_that_stand_alone_are_not_judged(tmp_path: Path):
    before = {ago: [spread(100.0, weeks=4)] for ago in range(1, 32)}
    row = graded(tmp_path, [spread(100.0, weeks=4)], before).spread.iloc[0]
    assert (row["graded"], row["verdict"]) == (28, "too early to say")


def test_a_ledger_from_before_quantiles_says_the_same(tmp_path: Path):
    """A report that is recorded again by a version that knows quantiles is no revision."""
    published(tmp_path, "2026-W40", [(FORECAST, forecast("sold", 100.0, 90.0))])
    ledger = current(tmp_path, print)
    (content,) = ledger.connection.execute("SELECT content FROM entries WHERE kind = 'forecast'").fetchall()[0]
    assert "quantiles" not in content
    assert ledger.rows("forecasts", "Shop")[0]["quantiles"] is None
