from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.competition import _design, _exposure, _fit, association, competition
from clvlib.funnel.competitors import Coverage, competitors, our_sessions, promotions_of
from clvlib.funnel.competitors_plots import calendar_data, plot_calendar

ZERO = pd.Timestamp("2026-05-18")
WEEK = ("2026-05-18", "2026-05-25")
HOUR = pd.Timedelta(hours=1)


def live(rows):
    frame = pd.DataFrame(rows, columns=["platform", "start", "hours"])
    start = ZERO + frame["start"] * HOUR
    return pd.DataFrame(
        {"session_id": [f"s{i}" for i in range(len(frame))], "platform": frame["platform"], "started_at": start,
         "ended_at": start + frame["hours"] * HOUR}
    )  # fmt: skip


def theirs(rows):
    frame = pd.DataFrame(rows, columns=["brand", "platform", "start", "hours"])
    start = ZERO + frame["start"] * HOUR
    return pd.DataFrame(
        {"brand": frame["brand"], "platform": frame["platform"], "started_at": start,
         "ended_at": start + frame["hours"].astype(float) * HOUR, "promotion": "sale", "strength": 0.3,
         "traffic_source": "KOL"}
    )  # fmt: skip


SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=8)


@settings(max_examples=80)
@given(SPANS, st.integers(0, 50), st.integers(0, 20))
def test_coverage_equals_counting_hours(spans, start, length):
    inside = Coverage([a for a, _ in spans], [a + n for a, n in spans])
    hours = sum(any(a <= h < a + n for a, n in spans) for h in range(start, start + length))
    assert inside.between([start], [start + length])[0] == pytest.approx(hours)


def test_overlaps_by_hand():
    ours = live([("x", 20, 4), ("x", 44, 4), ("y", 20, 4)])
    promotions = theirs([("A", "x", 22, 24), ("B", "x", 23, 2), ("C", "y", 100, 5), ("D", None, 21, 1)])
    found = competitors(promotions, ours, WEEK)
    # x, first evening 20-24: D 21-22, A from 22, so 3 hours; second 44-48: A until 46, so 2; y: D, 1 hour
    assert found.sessions.set_index("session_id")["under"].to_dict() == {"s0": 3, "s1": 2, "s2": 1}
    table = found.table.set_index("brand")
    assert table["hours"].to_dict() == {"A": 4, "B": 1, "D": 2, "C": 0}
    assert table["sessions"].to_dict() == {"A": 2, "B": 1, "D": 2, "C": 0}
    assert found.share == pytest.approx(6 / 12)
    shares = found.shares.set_index(["dimension", "segment"])
    assert shares.loc[("platform", "x"), "share"] == pytest.approx(5 / 8)
    assert shares.loc[("time slot", "21–24 h"), ["our_hours", "under"]].tolist() == [9, 5]
    assert shares.loc["time slot", "under"].sum() == pytest.approx(6)
    assert shares.loc["time slot", "our_hours"].sum() == pytest.approx(12)
    assert "4 promotions of 4 competitors" in found.sentence
    assert found.sessions.set_index("session_id").loc["s0", "brands"] == "A, B, D"


def test_bad_and_missing_dates():
    ours = live([("x", 20, 4), ("x", 44, 4), ("x", 60, -1)])
    promotions = theirs([("A", "x", 22, -3), ("B", "x", -30, None), ("C", "x", 45, 0)])
    found = competitors(promotions, ours, WEEK, open_days=2)
    assert (found.impossible, found.open_ended, found.unusable) == (1, 1, 1)
    assert found.table.set_index("brand")["hours"].to_dict() == {"B": 0, "C": 0}  # B ended on the first evening
    assert competitors(promotions, ours, WEEK, open_days=3).share == pytest.approx(4 / 8)  # B until hour 42
    assert "1 that end before they begin" in found.sentence
    assert "1 without an end count for 2 days" in found.sentence


def calendars(rng, weeks=16):
    rows = [
        (f"p{p}", 24 * d + at + rng.uniform(0, 0.5), 3.5 - 1.5 * slot + rng.uniform(0, 0.5))
        for d in range(7 * weeks) for p in range(3) for slot, at in ((0, 19.5), (1, 11.75)) if slot == 0 or d % 7 > 4
    ]  # fmt: skip
    n = 2 * weeks
    starts = rng.integers(0, 7 * weeks, n) * 24 + rng.integers(10, 21, n)
    spans = zip(rng.integers(0, 3, n), starts, rng.integers(3, 72, n), strict=True)
    promotions = theirs([("b", f"p{p}", at, hours) for p, at, hours in spans])
    first, end = ZERO.date(), (ZERO + pd.Timedelta(weeks=weeks)).date()
    ours = our_sessions(live(rows), first, end)[0]
    return ours, _exposure(ours, promotions_of(promotions, first, end)[0], 7 * weeks)


def counts(rng, ours, share, effect):
    """Evenings of a platform in a row are alike, and counts vary more than Poisson's."""
    drift = np.zeros((3, 200))
    for day in range(1, 200):
        drift[:, day] = 0.6 * drift[:, day - 1] + rng.normal(0, 0.2, 3)
    level = drift[ours["platform"].str[1:].astype(int), (ours["begin"] // 24).astype(int)]
    rate = np.exp(level + rng.normal(0, 0.3, len(ours)) + np.log1p(effect) * share)
    return rng.poisson(6 * rate * ours["hours"].to_numpy(float)).astype(float)


def test_what_is_not_there_is_not_found_and_what_is_there_is():
    rng = np.random.default_rng(1)
    wrong = right = held = 0
    for _ in range(20):
        ours, exposure = calendars(rng)
        wrong += association(counts(rng, ours, exposure[0], 0.0), ours, exposure)["p_value"] < 0.05
        found = association(counts(rng, ours, exposure[0], -0.4), ours, exposure)
        right += found["p_value"] < 0.05
        held += found["lower"] <= -0.4 <= found["upper"]
    assert wrong <= 3  # of 20 at 5%: more than 3 are a chance of 2%
    assert right >= 17
    assert held >= 16


def test_the_model_is_statsmodels_poisson():
    rng = np.random.default_rng(2)
    ours, exposure = calendars(rng, 8)
    y = counts(rng, ours, exposure[0], -0.3)
    design = np.column_stack([_design(ours), exposure[0]])
    fit = sm.GLM(y, design, family=sm.families.Poisson(), offset=np.log(ours["hours"])).fit()
    np.testing.assert_allclose(_fit(y, ours["hours"].to_numpy(float), design), fit.fittedvalues, rtol=1e-4)
    found = association(y, ours, exposure)
    assert np.log1p(found["change"]) == pytest.approx(fit.params[-1], abs=1e-4)


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


def test_no_effect_in_the_sample(shop):
    """Competitors move nothing there (truth.json, planted.no_effect)."""
    tables = [shop.table(name) for name in ("competitors", "sessions")]
    found = competition(*tables, ("2026-02-09", "2026-11-16"), shop.table("events"), shop.table("orders"))
    assert (found.table["p_value"] > 0.05).all()
    assert (found.table["lower"] < 0).all()
    assert (found.table["upper"] > 0).all()
    assert found.sentence.endswith("no more than chance explains.")
    facts = competitors(*tables, ("2026-02-09", "2026-11-16"))
    assert len(facts.table) == 66
    assert found.share == pytest.approx(facts.share)
    again = competition(*tables, ("2026-02-09", "2026-11-16"), shop.table("events"), shop.table("orders"))
    pd.testing.assert_frame_equal(found.table, again.table)


def test_figure():
    ours = live([("x", 20, 4), ("y", 30, 4)])
    found = competitors(theirs([("A", "x", -5, 30), ("B", "y", 100, 200)]), ours, WEEK)
    data = calendar_data(found)
    assert data["start"].min() == ZERO
    assert data["end"].max() == ZERO + pd.Timedelta(days=7)
    ax = plot_calendar(found)
    assert len(ax.patches) == len(data) == 4
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "y"]


def test_bad_input(shop):
    ours = live([("x", 20, 4)])
    promotions = theirs([("A", "x", 22, 3)])
    with pytest.raises(EmptyDataError, match="no live session"):
        competitors(promotions, ours, ("2026-06-01", "2026-06-08"))
    with pytest.raises(EmptyDataError, match="no promotion"):
        competitors(promotions.iloc[:0], ours, WEEK)
    with pytest.raises(MissingColumnError, match="ended_at"):
        competitors(promotions, ours.drop(columns="ended_at"), WEEK)
    with pytest.raises(ParameterError, match="open_days"):
        competitors(promotions, ours, WEEK, open_days=0)
    bare = competitors(promotions[["brand", "started_at"]], ours.drop(columns="platform"), WEEK)
    assert bare.share == pytest.approx(0.5)
    with pytest.raises(EmptyDataError, match="nothing is known"):
        competition(promotions, ours, WEEK)
    with pytest.raises(ParameterError, match="level"):
        competition(promotions, ours, WEEK, level=1.5)
    log = pd.DataFrame({"person_id": ["a"], "session_id": "s0", "occurred_at": ZERO + 21 * HOUR})
    few = competition(promotions, ours, WEEK, log)
    assert few.table["p_value"].isna().all()
    assert "cannot be told yet" in few.sentence
