"""Unusual days: ordinary weeks are left alone as often as promised, and what was planted is found."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from clvlib.audience.unusual_days import plot_unusual_days, unusual_days
from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, ParameterError
from tests.sequential import seldom

WEEK = Week("2026-W46")
PATTERN = np.array([0.9, 0.9, 0.9, 1.0, 1.1, 1.3, 1.2])


def log(counts: np.ndarray, end: dt.date = WEEK.as_of) -> pd.DataFrame:
    """Orders of a shop with so many a day, the last on ``end``."""
    day = pd.date_range(end=pd.Timestamp(end), periods=len(counts), freq="D").repeat(counts)
    return pd.DataFrame({"customer_id": "a", "ordered_at": day + pd.Timedelta(hours=20), "amount": 1.0})


def ordinary(rng: np.random.Generator, weeks: int = 24, mean: float = 40, growth: float = 0.01) -> np.ndarray:
    trend = mean * np.exp(growth * np.arange(7 * weeks) / 7)
    return rng.poisson(trend * np.tile(PATTERN, weeks))


@pytest.mark.slow
@pytest.mark.parametrize("mean", [4, 60])
def test_ordinary_weeks_are_rarely_called_unusual(mean: float) -> None:
    rng = np.random.default_rng(46)
    alarms = ((unusual_days(log(ordinary(rng, mean=mean)), WEEK).table["verdict"] != "usual").any() for _ in range(400))
    assert seldom(alarms, 0.05, 0.15)  # of weeks; robust limits may be a little wide or narrow


def test_a_planted_peak_and_a_planted_gap_are_found() -> None:
    rng = np.random.default_rng(1)
    counts = ordinary(rng)
    counts[-5] *= 3  # Wednesday
    counts[-1] = 0  # Sunday
    found = unusual_days(log(counts), WEEK)
    assert found.table["verdict"].tolist() == ["usual", "usual", "high", "usual", "usual", "usual", "low"]
    assert "Wed 11 Nov was high" in found.sentence
    assert "Sun 15 Nov was low (orders: 0" in found.sentence
    assert [(alert["segment"], alert["severity"]) for alert in found.alerts()] == [
        ("Wednesday 11 November", "low"),
        ("Sunday 15 November", "medium"),
    ]
    # An earlier peak neither widens the limits much nor moves the forecast: the method is robust.
    calm = ordinary(np.random.default_rng(1))
    earlier = calm.copy()
    earlier[-40] *= 8
    one, two = (unusual_days(log(c), WEEK).table for c in (calm, earlier))
    np.testing.assert_allclose(one["expected"], two["expected"], rtol=0.1)


def test_a_series_without_noise_is_its_own_forecast() -> None:
    counts = np.tile([36, 36, 36, 49, 49, 64, 64], 16)
    table = unusual_days(log(counts), WEEK).table
    np.testing.assert_allclose(table["expected"], counts[-7:], rtol=1e-6)
    assert (table["verdict"] == "usual").all()


def test_the_order_of_rows_and_later_orders_change_nothing() -> None:
    rng = np.random.default_rng(2)
    frame = log(ordinary(rng))
    later = pd.concat([frame, log(np.array([500]), WEEK.end)]).sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(unusual_days(frame, WEEK).table, unusual_days(later, WEEK).table)


def test_double_11_of_the_sample_shop_is_found(sample_shop) -> None:
    found = unusual_days(sample_shop.table("orders"), sample_shop.week("2026-W46"))
    assert "Wed 11 Nov was high" in found.sentence
    assert found.graded >= 28
    ax = plot_unusual_days(found)
    assert ax.get_ylabel() == "orders a day"
    assert len(ax.get_lines()[1].get_xdata()) == 7


def test_too_little_to_say() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(EmptyDataError, match="reach 9 whole weeks before 2026-W46; 10 are needed"):
        unusual_days(log(ordinary(rng, weeks=10)), WEEK)
    assert len(unusual_days(log(ordinary(rng, weeks=11)), WEEK).table) == 7
    with pytest.raises(ParameterError, match="weeks is at least 10"):
        unusual_days(log(ordinary(rng)), WEEK, weeks=5)
    with pytest.raises(EmptyDataError, match="no purchase"):
        unusual_days(log(np.zeros(5, int)), WEEK)
