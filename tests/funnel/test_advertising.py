from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.advertising import advertising, reach
from clvlib.funnel.advertising_plots import advertising_data, plot_advertising
from clvlib.funnel.frequency import contact_frequency
from clvlib.funnel.reservations import reservations
from clvlib.stats.overdispersion import dispersed_ratio

WEEK = Week("2026-W46")
DAYS = pd.date_range("2026-09-14", "2026-11-15")


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


def spend_of(rng, ctr, channels=3, spread=0.0):
    """Half a million impressions a day and channel, whose rate differs by the day as a beta distribution does."""
    rows = []
    for k in range(channels):
        daily = np.full(len(DAYS), ctr) if not spread else rng.beta(ctr / spread, (1 - ctr) / spread, len(DAYS))
        clicks = rng.binomial(500_000, daily)
        rows.append(pd.DataFrame({"channel": f"c{k}", "date": DAYS, "impressions": 500_000, "clicks": clicks}))
    return pd.concat(rows, ignore_index=True).assign(cost=lambda f: 0.5 * f["clicks"])


def test_equals_the_sums_and_the_comparison_of_days():
    log = spend_of(np.random.default_rng(1), 0.03, spread=0.0002)
    found = advertising(log, WEEK)
    days = log.groupby("date", as_index=False)[["impressions", "clicks"]].sum()
    now = (days["date"] >= "2026-11-09").to_numpy()
    assert found.total["ctr"] == days.loc[now, "clicks"].sum() / days.loc[now, "impressions"].sum()
    effect = dispersed_ratio(days["clicks"], days["impressions"], now)
    assert found.total["change"] == pytest.approx(effect.estimate - 1)
    assert found.total["p_value"] == pytest.approx(effect.p_value)
    assert found.total["cpc"] == pytest.approx(0.5)
    assert found.total["cpm"] == pytest.approx(500 * found.total["ctr"])
    assert found.table["dimension"].unique().tolist() == ["all", "channel", "day of the week"]
    assert found.table.loc[found.table["dimension"] == "day of the week", "segment"].tolist()[0] == "Monday"


def test_what_only_days_do_is_not_found_and_a_change_is():
    rng = np.random.default_rng(2)
    found = [advertising(spend_of(rng, 0.03, spread=0.0002), WEEK) for _ in range(12)]
    assert sum(len(one.moved) > 0 for one in found) <= 3  # two dimensions at 5% each; binomial tests find all 12
    log = spend_of(rng, 0.03, spread=0.0002)
    up = (log["channel"] == "c1") & (log["date"] >= "2026-11-09")
    log.loc[up, "clicks"] = (log.loc[up, "clicks"] * 1.5).astype(int)
    moved = advertising(log, WEEK).moved
    assert moved["segment"].iloc[0] == "c1"
    assert "most clearly c1" in advertising(log, WEEK).sentence


def test_cost_per_click_has_students_interval_over_days():
    """With one click-through rate a day the delta method is Student's interval of the cost where clicks are alike."""
    log = spend_of(np.random.default_rng(3), 0.03, channels=1)
    log = log.assign(clicks=1000, cost=np.linspace(400, 600, len(log)))
    row = advertising(log, WEEK).total
    costs = log.loc[log["date"] >= "2026-11-09", "cost"]
    lower, upper = stats.t.interval(0.95, 6, costs.mean(), stats.sem(costs))
    assert (row["cpc_lower"], row["cpc_upper"]) == pytest.approx((lower / 1000, upper / 1000))


def test_no_change_in_the_sample(shop):
    """Click-through rates of channels are constants there (sample_world.CHANNEL_CTR), and so are those of visits."""
    found = advertising(shop.table("spend"), WEEK)
    rates = found.table[found.table["dimension"] == "channel"].set_index("segment")
    assert rates.loc["Offline QR", "lower"] <= 0.18 <= rates.loc["Offline QR", "upper"]
    assert rates.loc["Weibo", "lower"] <= 0.012 <= rates.loc["Weibo", "upper"]
    assert found.moved.empty
    assert "no more than days differ" in found.sentence
    seen = reach(shop.table("events"), WEEK, shop.table("customers"), by=("hours", "region"))
    assert seen.moved.empty
    assert seen.total["reach"] <= seen.total["person_days"]
    assert seen.table.loc[seen.table["dimension"] == "region", "person_days"].sum() == seen.total["person_days"]
    people = shop.table("events").query(
        "SELECT COUNT(DISTINCT person_id) AS n FROM {t} AS t WHERE event = 'exposure' AND occurred_at >= '2026-11-09'"
    )
    assert seen.total["reach"] == people["n"].iloc[0]
    ax = plot_advertising(found)
    assert len(ax.get_yticklabels()) == len(advertising_data(found)) == 11


def test_contact_by_contact_against_counting(shop):
    """A constant chance of .3 at each contact: counted by hand, the rate among those who reach it stays .3."""
    rng = np.random.default_rng(4)
    rows, clicked = [], []
    for person in range(3000):
        contacts = 1 + rng.poisson(2)
        first = next((k for k in range(contacts) if rng.random() < 0.3), None)
        rows += [(person, k, "exposure") for k in range(contacts)]
        rows += [(person, first, "click")] if first is not None else []
        clicked.append((contacts if first is None else first + 1, first is not None))
    log = pd.DataFrame(rows, columns=["person_id", "k", "event"])
    log["occurred_at"] = pd.Timestamp("2026-11-09") + pd.to_timedelta(log["k"], unit="h")
    table = contact_frequency(log, ("2026-11-09", "2026-11-16")).table
    until = np.array([k for k, _ in clicked])
    seen = np.array([ok for _, ok in clicked])
    assert table.index.tolist() == [k for k in range(1, 7) if k == 1 or (until >= k).sum() >= 30]
    for k in table.index:
        assert table.loc[k, "people"] == (until >= k).sum()
        assert table.loc[k, "clicked"] == (seen & (until == k)).sum()
    inside = (table["lower"] <= 0.3) & (table["upper"] >= 0.3)
    assert inside.sum() >= len(table) - 1
    assert table.loc[3, "clicked_by"] == pytest.approx(1 - np.prod(1 - table["click_rate"].head(3)))
    found = contact_frequency(shop.table("events"), ("2026-09-21", "2026-11-16"))
    assert found.table["click_rate"].between(0.40, 0.52).all()  # .46 a visit, by platform .42 to .48: no wear
    assert found.without == 0


def test_orders_after_a_click_wait_for_their_window():
    at = pd.Timestamp("2026-11-09")
    hours = pd.to_timedelta([0, 1, 2, 150, 151, 160], unit="h")
    log = pd.DataFrame({"person_id": list("aaabbc"), "occurred_at": at + hours})
    log["event"] = ["exposure", "click", "paid", "exposure", "click", "click"]
    found = contact_frequency(log, ("2026-11-09", "2026-11-16"), window_days=5)
    assert len(found.table) == 1
    assert found.table.loc[1, ["clicked", "settled", "bought"]].tolist() == [2, 1, 1.0]
    assert found.without == 1
    assert np.isnan(contact_frequency(log, ("2026-11-09", "2026-11-16"), window_days=9).table.loc[1, "bought"])


def live_log(rng, sessions=40, rate=0.7):
    start = pd.Timestamp("2026-11-09 20:00") + pd.to_timedelta(rng.integers(0, 6, sessions), unit="D")
    live = pd.DataFrame({"session_id": [f"s{i}" for i in range(sessions)], "started_at": start, "platform": "x"})
    live["ended_at"] = live["started_at"] + pd.Timedelta(hours=2)
    rows = []
    for i, at in enumerate(start):
        for k in range(20):
            rows.append((f"p{i}-{k}", f"s{i}", "reserve", at - pd.Timedelta(hours=5)))
            if rng.random() < rate:
                rows.append((f"p{i}-{k}", f"s{i}", "exposure", at + pd.Timedelta(minutes=5)))
                if rng.random() < 0.2:
                    rows.append((f"p{i}-{k}", f"s{i}", "paid", at + pd.Timedelta(minutes=9)))
        rows += [(f"w{i}-{k}", f"s{i}", "exposure", at + pd.Timedelta(minutes=6)) for k in range(30)]
        rows += [(f"w{i}-{k}", f"s{i}", "paid", at + pd.Timedelta(minutes=8)) for k in range(3)]
    return pd.DataFrame(rows, columns=["person_id", "session_id", "event", "occurred_at"]), live


def test_reservations():
    log, live = live_log(np.random.default_rng(5))
    period = ("2026-11-09", "2026-11-16")
    found = reservations(log, live, period)
    came = log[log["event"] == "exposure"]["person_id"].str.startswith("p").sum()
    assert found.total[["sessions", "reserved", "came"]].tolist() == [40, 800, came]
    assert found.total["lower"] <= 0.7 <= found.total["upper"]
    assert found.walk_in_rate == pytest.approx(0.1)
    assert found.ratio_lower <= 2 <= found.ratio_upper
    assert "of those who came without one" in found.sentence
    early = reservations(log, live, ("2026-11-09", "2026-11-12"))
    assert early.sessions["session_id"].nunique() == (live["started_at"] < "2026-11-12").sum()
    running = live.assign(ended_at=live["ended_at"].where(live.index > 0, pd.Timestamp("2026-11-20")))
    assert reservations(log, running, period).open_sessions == 1
    assert reservations(log, live.iloc[1:], period).nowhere == 20


def test_reservations_of_the_sample(shop, sample):
    """Reservations were drawn from visits, so who reserves comes: .02 of those that fail, more of those that pay."""
    truth = json.loads((sample / "truth.json").read_text())["parameters"]["interaction"]["reserve"]
    found = reservations(shop.table("events"), shop.table("sessions"), ("2026-02-09", "2026-11-16"))
    assert found.total["show_up"] == 1
    assert found.total["lower"] > 0.99
    sums = found.sessions[["came", "bought", "walked_in", "walk_in_bought"]].sum()
    failed = sums["came"] - sums["bought"], sums["walked_in"] - sums["walk_in_bought"]
    assert failed[0] / sum(failed) == pytest.approx(truth["failed"], rel=0.1)
    assert 1 < found.ratio_lower < found.ratio_upper < truth["paid"] / truth["failed"]


def test_bad_input(shop):
    log = spend_of(np.random.default_rng(6), 0.03, channels=1)
    with pytest.raises(EmptyDataError, match="nothing was shown in week 2027-W01"):
        advertising(log, Week("2027-W01"))
    with pytest.raises(MissingColumnError, match="clicks"):
        advertising(log.drop(columns="clicks"), WEEK)
    with pytest.raises(ParameterError, match="before_weeks"):
        advertising(log, WEEK, before_weeks=0)
    broken = log.copy()
    broken.loc[len(log) - 1, "clicks"] = 600_000
    broken["impressions"] = broken["impressions"].where(broken.index != len(log) - 2)
    found = advertising(broken, WEEK)
    assert (found.impossible, found.incomplete) == (1, 1)
    first = advertising(log[log["date"] >= "2026-11-09"], WEEK)
    assert np.isnan(first.total["change"])
    assert first.sentence.endswith("%).")
    day = advertising(log[log["date"] == "2026-11-10"], WEEK)
    assert np.isnan(day.total["lower"])
    with pytest.raises(EmptyDataError, match="days enough"):
        plot_advertising(day)
    none = advertising(log.assign(clicks=0, cost=5.0), WEEK)
    assert np.isnan(none.total["cpc"])
    events = shop.table("events")
    for call in (
        lambda: reach(events, Week("2025-W01")),
        lambda: contact_frequency(events, ("2025-01-01", "2025-02-01")),
        lambda: reservations(events, shop.table("sessions"), ("2025-01-01", "2025-02-01")),
    ):
        with pytest.raises(EmptyDataError):
            call()
    with pytest.raises(ParameterError, match="most"):
        contact_frequency(events, ("2026-01-01", "2026-02-01"), most=0)
    with pytest.raises(ParameterError, match="level"):
        reservations(events, shop.table("sessions"), ("2025-01-01", "2025-02-01"), level=1)
