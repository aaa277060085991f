"""Platforms like for like: against figures made by hand, platforms that differ in their mix alone, and invariants."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from clvlib.audience.platforms import MEASURES, like_for_like, platforms
from clvlib.audience.platforms_plot import platforms_data, platforms_plot
from clvlib.data.identities import events_of
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError

PERIOD = ("2026-11-02", "2026-11-16")
DAY = pd.Timestamp("2026-11-02")


def test_every_figure_by_hand():
    orders = pd.DataFrame(
        [
            ("a", -9, 10.0, "x"),
            ("a", 1, 20.0, "x"),
            ("a", 1, 40.0, "x"),  # same day: no repeat purchase
            ("b", 2, 30.0, "x"),
            ("b", 9, 90.0, "y"),  # b came again, on the other platform
            ("c", 3, 50.0, None),
            ("d", 14, 70.0, "x"),  # after the period
        ],
        columns=["customer_id", "day", "amount", "platform"],
    )
    orders["ordered_at"] = DAY + pd.to_timedelta(orders.pop("day"), unit="D")
    events = pd.DataFrame(
        [("a", 1, "x"), ("a", 1, "x"), ("a", 5, "x"), ("b", 2, "x"), ("e", 2, "x"), ("e", 2, "y"), ("b", 20, "y")],
        columns=["person_id", "day", "platform"],
    )
    events["occurred_at"] = DAY + pd.to_timedelta(events.pop("day"), unit="D") + pd.Timedelta(hours=21)
    found = platforms(orders, PERIOD, events)
    assert found.of("basket")["raw"].to_dict() == {"x": 90 / 3, "y": 90}
    assert found.of("repeat_rate")["raw"].to_dict() == {"x": 1 / 2, "y": 1}
    assert found.of("activity")["raw"].to_dict() == {"x": 4 / 3, "y": 1}
    assert found.of("conversion")["raw"].to_dict() == {"x": 2 / 3, "y": 0}
    assert found.of("conversion")["people"].to_dict() == {"x": 3, "y": 1}
    assert found.nameless == 1
    # nothing can be compared: as it is, and without limits
    assert found.shown.columns.tolist() == ["users", "buyers", "conversion", "repeat_rate", "basket", "activity"]
    assert found.shown.loc["x", ["users", "buyers", "basket"]].tolist() == [3, 2, 30]
    assert found.table["standardised"].isna().all()  # too few to be compared like for like
    assert found.sentence.startswith("The platforms cannot be compared")


def units(rng, sizes, truth):
    """People of platforms x and y by segment; a person's total is Poisson around the segment's truth times his size."""
    rows = [
        (platform, segment)
        for platform, row in zip("xy", sizes, strict=True)
        for segment, n in enumerate(row)
        for _ in range(n)
    ]
    frame = pd.DataFrame(rows, columns=["platform", "segment"])
    frame["x"] = 1.0 + rng.poisson(1.0, len(frame))
    frame["y"] = rng.gamma(2.0, np.array(truth)[frame["segment"]] * frame["x"] / 2)
    return frame.reset_index(names="customer_id")


def test_a_mix_alone_makes_no_difference():
    """x has mostly the cheap segment, y the dear one; within segments they are alike."""
    rng, inside, raw = np.random.default_rng(11), [], []
    for _ in range(150):
        table, covered = like_for_like(units(rng, [(120, 60, 20), (30, 60, 90)], (20.0, 50.0, 100.0)))
        row = table.loc["x"]
        inside.append(row["difference_lower"] <= 0 <= row["difference_upper"])
        raw.append(table["raw_upper"]["x"] < table["raw_lower"]["y"])
        assert covered == 1
    assert np.mean(raw) > 0.99
    assert np.mean(inside) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 150)


def test_a_difference_beyond_the_mix_is_found():
    rng = np.random.default_rng(5)
    frame = units(rng, [(120, 60, 20), (30, 60, 90)], (20.0, 50.0, 100.0))
    frame.loc[frame["platform"] == "x", "y"] *= 1.5
    row = like_for_like(frame)[0].loc["x"]
    weights = frame.groupby("segment")["x"].sum() / frame["x"].sum()
    sums = frame[frame["platform"] == "x"].groupby("segment")[["y", "x"]].sum()
    assert row["standardised"] == pytest.approx((weights * sums["y"] / sums["x"]).sum())
    assert row["p_value"] < 0.01


def test_interval_of_one_segment_is_that_of_a_mean():
    """With one unit each, the delta method is the normal interval of a mean: 1.96 times the standard error."""
    y = np.random.default_rng(2).normal(10, 3, 80)
    frame = pd.DataFrame({"customer_id": range(80), "platform": "x", "segment": 0, "x": 1.0, "y": y})
    table, _ = like_for_like(frame)
    half = 1.959963984540054 * y.std(ddof=1) / np.sqrt(80)
    assert table.loc["x", ["lower", "upper"]].tolist() == pytest.approx([y.mean() - half, y.mean() + half])
    assert np.isnan(table.loc["x", "p_value"])  # one platform: nothing to compare with


def test_a_tiny_platform_does_not_keep_the_others_from_it():
    frame = units(np.random.default_rng(1), [(40, 40), (40, 40)], (20.0, 50.0))
    tiny = frame.head(3).assign(platform="z", customer_id=["p", "q", "r"])
    table, covered = like_for_like(pd.concat([frame, tiny], ignore_index=True))
    assert covered == 1
    assert table["standardised"].notna().to_dict() == {"x": True, "y": True, "z": False}
    only_x = pd.concat([frame, frame.head(30).assign(segment=9)], ignore_index=True)
    extra = frame["x"].head(30).sum()
    table, covered = like_for_like(only_x)
    assert covered == pytest.approx(1 - extra / only_x["x"].sum())


@settings(max_examples=20, deadline=None, phases=[Phase.generate])
@given(st.integers(0, 10**6), st.sampled_from([0.01, 100.0]))
def test_order_of_rows_unit_and_names(seed, unit):
    rng = np.random.default_rng(seed)
    frame = units(rng, rng.integers(6, 30, (2, 3)), (20.0, 50.0, 100.0))
    table, _ = like_for_like(frame)
    other, _ = like_for_like(frame.sample(frac=1, random_state=1).assign(y=frame["y"] * unit))
    money = table.columns.drop(["people", "p_value"])
    np.testing.assert_allclose(other[money], table[money] * unit, rtol=1e-8, atol=1e-9 * unit)
    np.testing.assert_allclose(other["p_value"], table["p_value"], rtol=1e-6)
    same = frame.assign(segment=0)  # one segment: standardised is raw
    plain, _ = like_for_like(same)
    np.testing.assert_allclose(plain["raw"], plain["standardised"])
    assert table.loc["x", "difference"] == pytest.approx(-table.loc["y", "difference"])


def test_what_cannot_be_is_refused():
    orders = pd.DataFrame({"customer_id": ["a"], "amount": 1.0, "ordered_at": DAY, "platform": None})
    with pytest.raises(EmptyDataError, match="nobody bought on a known platform from 2026-11-02 to 2026-11-15"):
        platforms(orders, PERIOD)
    with pytest.raises(MissingColumnError, match="platform"):
        platforms(orders.drop(columns="platform"), PERIOD)
    with pytest.raises(ParameterError, match="level"):
        platforms(orders, PERIOD, level=1)
    one = platforms(orders.assign(platform="x"), PERIOD)
    assert one.of("basket")["raw"].tolist() == [1]
    with pytest.raises(ParameterError, match="there are basket, repeat_rate"):
        one.of("conversion")


def test_the_sample_has_no_difference_of_baskets(sample_shop):
    """What people spend was planted without regard to the platform."""
    found = platforms(sample_shop.table("orders"), ("2026-05-18", "2026-11-16"), events_of(sample_shop))
    assert (found.of("basket")["p_value"] > 0.05).all()
    assert min(found.covered.values()) > 0.8
    assert found.sentence.startswith("Like for like, ")
    shown = found.shown
    assert shown.columns.tolist()[2:5] == ["conversion", "conversion_lower", "conversion_upper"]
    assert shown["conversion"].to_dict() == found.of("conversion")["standardised"].to_dict()
    panels = platforms_plot(found).figure.axes
    assert [panel.get_xlabel() for panel in panels] == [MEASURES[name] for name in found.measures]
    for panel, name in zip(panels, found.measures, strict=True):
        data = platforms_data(found, name)
        assert data.index.tolist() == shown.index.tolist()  # one order of the platforms, in the table and every panel
        lines = panel.get_lines()
        np.testing.assert_allclose(lines[0].get_xdata(orig=False), data["raw"])
        drawn = np.concatenate([line.get_xdata(orig=False) for line in lines[1:] if line.get_marker() == "o"])
        np.testing.assert_allclose(np.sort(drawn), np.sort(data["standardised"]))
