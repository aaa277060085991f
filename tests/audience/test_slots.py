from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clvlib.audience.plots import plot_slots, slots_data
from clvlib.audience.slots import Slots, change, lift, lifts, slots
from clvlib.errors import EmptyDataError, MissingColumnError, MissingTableError, ParameterError

FIRST = pd.Timestamp("2026-11-02")
PERIOD = ("2026-11-02", "2026-11-16")


def log(rows):
    frame = pd.DataFrame(rows, columns=["person_id", "minute"])
    times = FIRST + pd.to_timedelta(frame["minute"].astype("int64"), unit="min")
    return pd.DataFrame({"person_id": frame["person_id"].astype(str), "event": "view", "occurred_at": times})


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 14 * 1440 - 1)), min_size=1, max_size=60))
@settings(max_examples=40)
def test_equals_pandas(rows):
    rows = [*rows, ("a", 90)]  # not all at midnight, or else they are dates
    events = log(rows)
    orders = pd.DataFrame({"customer_id": events["person_id"], "ordered_at": events["occurred_at"], "amount": 1.0})
    found = slots(events, orders, PERIOD).table.set_index(["weekday", "hour"])
    keys = [events["occurred_at"].dt.day_of_week.rename("weekday"), events["occurred_at"].dt.hour.rename("hour")]
    week = events["occurred_at"].dt.isocalendar().week.rename("week")
    assert len(found) == 168
    assert found["views"].sum() == found["orders"].sum() == len(rows)
    views = events.groupby(keys)["event"].size()
    assert found["views"][found["views"] > 0].to_dict() == views.to_dict()
    viewers = events.groupby([week, *keys])["person_id"].nunique().groupby(level=["weekday", "hour"]).sum()
    assert found["viewers"][found["viewers"] > 0].to_dict() == viewers.to_dict()


def test_the_period_is_respected_and_times_are_the_shops():
    events = log([("a", -1), ("a", 0), ("a", 14 * 1440 - 1), ("a", 14 * 1440)])
    table = slots(events, None, PERIOD).table
    assert table["views"].sum() == 2
    assert table.query("weekday == 0 and hour == 0")["views"].tolist() == [1]
    assert table.query("weekday == 6 and hour == 23")["views"].tolist() == [1]


def weeks_of(evening, rest, first=FIRST):
    """A log with so many views at 21:15 on Monday and at 10:15 on Tuesday in each week."""
    rows = []
    for week, (a, b) in enumerate(zip(evening, rest, strict=True)):
        rows += [(f"p{i}", week * 10_080 + 21 * 60 + 15) for i in range(a)]
        rows += [(f"p{i}", week * 10_080 + 1440 + 10 * 60 + 15) for i in range(b)]
    return slots(log(rows), None, (first.date(), (first + pd.Timedelta(weeks=len(evening))).date()))


def test_lift_by_hand():
    """Means of 30 and 60 views, 21 hours of 168 against 147: (30/21) / (60/147) - 1 = 2.5; delta method, 4 weeks."""
    busy, rest = np.array([20.0, 30.0, 30.0, 40.0]), np.array([50.0, 70.0, 55.0, 65.0])
    found = lift(weeks_of([20, 30, 30, 40], [50, 70, 55, 65]), hours=range(21, 24))
    assert found.estimate == pytest.approx(2.5)
    residual = (busy / 21 - 3.5 * rest / 147) / (60 / 147)
    half = stats.t.isf(0.025, 3) * residual.std(ddof=1) / 2
    assert (found.lower, found.upper) == pytest.approx((2.5 - half, 2.5 + half))


def test_lift_intervals_cover():
    """Weeks with a common shock: 95% intervals of the true lift hold it in about 95% of 300 draws of 8 weeks."""
    from clvlib.audience.slots import _over_weeks

    rng = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        level = rng.lognormal(0, 0.3, 8)
        found = _over_weeks(rng.poisson(200 * level * 1.35) / 1.0, rng.poisson(200 * level) / 1.0, 0.95)
        held += found.lower <= 0.35 <= found.upper
    assert stats.binom.cdf(held, 300, 0.95) > 0.001
    assert stats.binom.sf(held - 1, 300, 0.95) > 0.0001


def test_lifts_of_all_hours_average_out():
    found = weeks_of([20, 30, 30, 40], [50, 70, 55, 65])
    table = lifts(found, "hour")
    assert table["count"].sum() == pytest.approx(90)
    assert table.loc[21, "lift"] == pytest.approx((30 / 7) / (60 / 161) - 1)
    assert table.loc[3].tolist() == [0, -1, -1, -1]
    assert len(lifts(found, "weekday")) == 7


def test_bad_input():
    events = log([("a", 5), ("a", 10_085)])
    with pytest.raises(ParameterError, match="whole weeks"):
        slots(events, None, ("2026-11-02", "2026-11-10"))
    with pytest.raises(MissingTableError):
        slots(None, None, PERIOD)
    with pytest.raises(EmptyDataError):
        slots(events, None, ("2020-01-06", "2020-01-13"))
    with pytest.raises(MissingColumnError):
        slots(events.drop(columns="person_id"), None, PERIOD)
    found = slots(events, None, PERIOD)
    with pytest.raises(ParameterError, match="was not counted"):
        lift(found, "orders", hours=[1])
    with pytest.raises(ParameterError, match="not all or none"):
        lift(found)
    with pytest.raises(ParameterError, match="not all or none"):
        lift(found, hours=[])
    with pytest.raises(EmptyDataError, match="no rest"):
        lift(found, hours=[0])
    with pytest.raises(ParameterError, match="two weeks"):
        lift(slots(events, None, ("2026-11-02", "2026-11-09")), weekdays=[0])
    with pytest.raises(ParameterError, match="neither 'hour' nor 'weekday'"):
        lifts(found, "month")


def test_figure_draws_what_its_twin_says():
    found = weeks_of([20, 30], [50, 70])
    grid = slots_data(found)
    assert grid.shape == (7, 24)
    assert grid.loc["Mon", 21] == 25
    ax = plot_slots(found, title="Claim")
    assert ax.collections[0].get_array().ravel().tolist() == grid.to_numpy().ravel().tolist()


def test_dates_without_a_time_of_day_have_no_hours():
    midnight = log([("a", 0), ("b", 1440)])
    with pytest.raises(EmptyDataError, match="without a time of day"):
        slots(midnight, None, PERIOD)
    orders = pd.DataFrame({"customer_id": ["a"], "ordered_at": [FIRST + pd.Timedelta(hours=3)], "amount": [1.0]})
    assert slots(midnight, orders, PERIOD).measures == ("orders",)


def test_sentence():
    found = weeks_of([20, 30], [50, 70])
    assert found.sentence == "Views peak at 10:00, with 71% of them in that hour; Tuesday is the busiest day (71%)"


def test_change_by_hand():
    """Ratios of the hours on Monday evening to the rest: 21 of 168 slots a week, 1/2 four times, then 3/4."""
    found = change(weeks_of([20, 30, 24, 33, 30], [40, 60, 50, 60, 40]), hours=range(21, 24))
    past, last = np.log(np.array([20 / 40, 30 / 60, 24 / 50, 33 / 60])), np.log(30 / 40)
    error = past.std(ddof=1) * np.sqrt(1 + 1 / 4)
    assert found.estimate == pytest.approx(np.exp(last - past.mean()) - 1)
    assert found.upper == pytest.approx(np.exp(last - past.mean() + stats.t.isf(0.025, 3) * error) - 1)
    assert found.p_value == pytest.approx(2 * stats.t.sf((last - past.mean()) / error, 3))


def test_a_festival_in_all_hours_and_a_slot_that_is_always_busy_are_no_change():
    found = change(weeks_of([300, 310, 295, 305, 900], [100, 104, 99, 101, 300]), hours=range(21, 24))
    assert found.lower < 0 < found.upper
    assert abs(found.estimate) < 0.03


def counted(busy, rest):
    """Views at 21:00 on Monday and at 10:00 on Tuesday, week by week, without a log of them."""
    grid = pd.MultiIndex.from_product([range(len(busy)), range(7), range(24)], names=["week", "weekday", "hour"])
    weekly = pd.DataFrame({"views": np.zeros(len(grid), dtype=np.int64)}, index=grid)
    for week, (a, b) in enumerate(zip(busy, rest, strict=True)):
        weekly.loc[[(week, 0, 21), (week, 1, 10)], "views"] = a, b
    return Slots(weeks=len(busy), first="2026-11-02", measures=("views",), weekly=weekly, table=weekly.reset_index())


def test_weeks_like_those_before_are_told_to_have_changed_as_seldom_as_said():
    rng, held, runs = np.random.default_rng(3), [], 200
    for _ in range(runs):
        level = rng.lognormal(0, 0.4, 8)  # of the weeks, the same for all their hours
        busy, rest = rng.poisson(200 * level * rng.lognormal(0, 0.1, 8)), rng.poisson(300 * level)
        found = change(counted(busy, rest), hours=range(21, 24))
        held.append(found.lower <= 0 <= found.upper)
    assert np.mean(held) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / runs)


def test_a_change_needs_weeks_before():
    for busy, rest in (([3, 4, 5], [5] * 3), ([3, 4, 5, 6, 0], [5] * 5), ([3, 4, 5, 6], [0, 5, 5, 5])):
        with pytest.raises(EmptyDataError, match="three weeks before"):
            change(weeks_of(busy, rest), hours=[21])
    with pytest.raises(ParameterError, match="not all or none"):
        change(weeks_of([3] * 5, [4] * 5))


def test_a_day_that_one_week_alone_made_the_busiest_is_told_as_such():
    """Ten views each Monday of four weeks, and a hundred on one Wednesday."""
    monday = pd.Timestamp("2026-10-19 21:00")
    times = [monday + pd.Timedelta(weeks=week) for week in range(4) for _ in range(10)]
    festival = [monday + pd.Timedelta(days=9)] * 100
    period = ("2026-10-19", "2026-11-16")

    def told(when):
        return slots(pd.DataFrame({"person_id": "a", "occurred_at": when}), None, period).sentence

    assert told(times + festival).endswith("Wednesday is the busiest day (71%), but was so in 1 of the 4 weeks only")
    assert told(times).endswith("Monday is the busiest day (100%)")


def test_one_week_has_no_lift():
    when = pd.Timestamp("2026-11-10 21:00") + pd.to_timedelta([0, 1, 30], "h")
    found = slots(pd.DataFrame({"person_id": "a", "occurred_at": when}), None, ("2026-10-19", "2026-11-16"))
    with pytest.raises(EmptyDataError, match="one week alone"):
        lift(found, hours=range(21, 24))
