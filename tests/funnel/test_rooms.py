"""Live rooms: counts by hand, the sample shop's truth, and shops that lack something."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.rooms import scorecard
from clvlib.funnel.rooms_compare import compare, room_cells
from clvlib.funnel.rooms_course import course
from clvlib.funnel.rooms_data import rooms
from clvlib.funnel.rooms_plots import _ticks, course_data, hosts_data, plot_course, plot_hosts
from clvlib.funnel.view import WeekFunnel

STEPS = ("exposure", "click", "cart", "order", "paid")
WEEK = Week("2026-W46")
PERIOD = (WEEK.start, WEEK.end)


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


@pytest.fixture(scope="module")
def view(shop):
    return WeekFunnel(shop, shop.week())


@pytest.fixture(scope="module")
def long(shop):
    """All 40 weeks of the sample."""
    tables = {name: shop.table(name) for name in ("events", "sessions", "orders")}
    return scorecard(week=shop.week(), steps=STEPS, step="cart", weeks=40, **tables)


def at(minute: float) -> pd.Timestamp:
    return pd.Timestamp("2026-11-10 20:00") + pd.Timedelta(minutes=minute)


@pytest.fixture
def small() -> dict[str, pd.DataFrame]:
    """Two sessions: in S1 three people, one of whom pays; in S2 one who only reserves, and one who is exposed."""
    sessions = pd.DataFrame(
        {
            "session_id": ["S1", "S2"],
            "host_id": ["H1", "H2"],
            "platform": "x",
            "started_at": [at(0), at(1440)],
            "ended_at": [at(60), at(1500)],
            "target_gmv": [100.0, np.nan],
        }
    )
    rows = [
        ("a", "exposure", 1, "S1", 100.0),
        ("a", "click", 2, "S1", 5.0),
        ("a", "cart", 3, "S1", None),
        ("a", "order", 4, "S1", None),
        ("a", "paid", 5, "S1", None),
        ("a", "exposure", 30, "S1", 60.0),
        ("b", "exposure", 40, "S1", 3600.0),  # beyond the session's end, after 20 minutes
        ("b", "paid", 41, "S1", None),  # without the steps before
        ("c", "exposure", 59, "S1", 0.0),
        ("d", "reserve", 1430, "S2", None),
        ("e", "exposure", 1441, "S2", 30.0),
        ("f", "exposure", 1442, None, 30.0),
        ("g", "exposure", 1442, "S9", 30.0),
    ]
    events = pd.DataFrame(rows, columns=["person_id", "event", "minute", "session_id", "dwell_s"])
    events["occurred_at"] = events.pop("minute").map(at)
    orders = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b", "b"],
            "session_id": ["S1", "S1", "S1", None],
            "ordered_at": [at(4), at(10), at(41), at(-5000)],
            "amount": [50.0, 30.0, 20.0, 10.0],
            "refunded_amount": [0.0, 30.0, 5.0, 0.0],
            "paid_at": [at(5), at(11), at(42), at(-4999)],
        }
    )
    return {"events": events, "sessions": sessions, "orders": orders}


def test_counts_by_hand(small):
    found = rooms(**small, steps=STEPS, period=PERIOD)
    assert found.visits.set_index("session_id")[["viewers", "click", "paid"]].to_dict("index") == {
        "S1": {"viewers": 3, "click": 1, "paid": 1},  # b paid without a click: not through the steps
        "S2": {"viewers": 1, "click": 0, "paid": 0},
    }
    sold = found.orders.iloc[0]
    assert (sold["orders"], sold["refunded"], sold["gmv"], sold["largest"]) == (3, 2, 65.0, 50.0)
    assert sold["new_customers"] == 1  # a's first; b had bought before, off air
    stays = found.stays[found.stays["host_id"] == "H1"].set_index("seconds")["observed"]
    assert stays.to_dict() == {0.0: True, 60.0: True, 100.0: True, 1200.0: False}


def test_scorecard_by_hand(small):
    with pytest.warns(UserWarning, match="hosts cannot be compared"):
        card = scorecard(**small, week=WEEK, steps=STEPS, step="cart", weeks=1)
    row = card.table.loc["H1"]
    assert (row["sessions"], row["viewers"], row["gmv"], row["attainment"]) == (1, 3, 65.0, 0.65)
    assert row["attainment_lower"] < 0.65 < row["attainment_upper"]
    # four visits left after 0, 60, 100 seconds; one was there when the session ended after 1200
    assert row["stay_5"] == pytest.approx(1 / 4)
    assert pd.isna(row["stay_30"])  # nobody was watched for so long
    assert pd.isna(card.table.loc["H2", "attainment"])
    assert "cannot be compared" in card.sentence  # the two were never on in the same week, platform and category
    assert card.alerts() == []
    assert card.week["session_id"].tolist() == ["S1", "S2"]


def test_a_robust_reader(small):
    """Order of the rows changes nothing; what is said twice counts once."""
    shuffled = {name: frame.sample(frac=1, random_state=3) for name, frame in small.items()}
    shuffled["events"] = pd.concat([shuffled["events"], small["events"].query("event != 'exposure'")])
    one, other = (rooms(**tables, steps=STEPS, period=PERIOD) for tables in (small, shuffled))
    pd.testing.assert_frame_equal(one.visits, other.visits)
    pd.testing.assert_frame_equal(one.stays, other.stays)
    pd.testing.assert_frame_equal(one.orders, other.orders)


def truth() -> dict:
    from tests.conftest import ROOT

    return json.loads((ROOT / "data" / "sample" / "truth.json").read_text())["parameters"]


def test_the_samples_hosts_are_found(long):
    """Host factors on the cart and on refunds (truth.json) lie within the intervals, for ratios to the mean host."""
    parameters = truth()
    for measure, factor, most_missed in (
        ("step_rate", parameters["funnel"]["host"]["cart"], 0),
        ("refund_rate", parameters["after_order"]["host_refund_factor"], 1),
    ):
        found = long.measures.loc[measure]
        true = pd.Series(factor)[found.index]
        true = true * (found["expected"] * found["observed"] / found["expected"]).sum() / (found["expected"] @ true)
        assert (~true.between(found["lower"], found["upper"])).sum() <= most_missed, measure
        assert np.corrcoef(found["ratio"], true)[0, 1] > 0.6
        assert found.loc["H08", "rank"] == 8
    assert long.measures.loc[("step_rate", "H01"), "rank"] == 1


def test_the_worst_host_is_named_and_nobody_else(view, long):
    for card in (view.rooms, long):
        alerts = card.alerts()
        assert [alert["segment"] for alert in alerts] == ["H08"]
        assert "sessions to look at: S" in alerts[0]["text"]
        recent = card.recent.set_index("session_id")
        named = alerts[0]["text"].split("sessions to look at: ")[1].split(", ")
        assert [recent.loc[name[:5], "host_id"] for name in named] == ["H08"] * 3
        assert [f"({recent.loc[name[:5], 'started_at']:%m-%d})" for name in named] == [name[6:] for name in named]
    assert "refund rate" in long.alerts()[0]["text"]


def test_stay_has_no_host_effect_in_the_sample(long):
    """Dwell was drawn alike for all hosts: the intervals overlap the whole shop's."""
    whole = np.average(long.table["stay_15"], weights=long.table["viewers"])
    held = (long.table["stay_15_lower"] <= whole) & (whole <= long.table["stay_15_upper"])
    assert held.sum() >= 7


def test_parts_agree(view, shop):
    card = view.rooms
    assert card.table["gmv"].sum() == pytest.approx(
        shop.query(
            "SELECT SUM(net_amount) AS s FROM orders JOIN sessions USING (session_id) WHERE started_at >= '2026-05-18'"
        )["s"].iloc[0]
    )
    assert card.measures.loc["conversion"]["n"].sum() == card.table["viewers"].sum()
    assert card.week["viewers"].sum() > 0
    assert set(card.shown.columns) >= {"conversion", "place", "attainment"}
    assert set(card.formats) <= set(card.shown.columns)
    assert set(card.sessions_formats) <= set(card.sessions_shown.columns)


def test_sessions_that_are_alike_raise_no_alarm():
    rng = np.random.default_rng(3)
    raised = 0
    for _ in range(25):
        sizes = rng.integers(30, 600, 24)
        cells = pd.DataFrame(
            {
                "session_id": [f"s{k}" for k in range(24)],
                "stratum": np.arange(24) % 4,
                "conversion_n": sizes,
                "conversion_y": rng.binomial(sizes, 0.05),
            }
        )
        found, _ = compare(cells, "session_id", "conversion")
        raised += bool((found["p_value"] * 24 < 0.05).any())
    assert raised <= 4


def test_course_by_hand(small):
    found = course(**small, steps=STEPS, period=PERIOD, minutes=20, fewest=1)
    assert found.table["viewers"].tolist() == [2, 0, 2]  # a and e; nobody; b and c
    assert found.table["on_air"].tolist() == [40, 40, 40]
    assert found.table["paid"].tolist() == [1, 0, 0]
    assert found.table["gmv"].tolist() == [80.0, 0.0, 20.0]
    assert found.table["gmv_per_minute"].tolist() == [2.0, 0.0, 0.5]
    assert np.isnan(found.table["rate"].iloc[1])
    assert found.p_value == pytest.approx(0.2482, abs=1e-4)  # 1 of 2 and 0 of 2: chi-square 4 / 3
    nobody = small["events"][small["events"]["event"] != "paid"]
    none = course(nobody, small["sessions"], steps=STEPS, period=PERIOD, fewest=1)
    assert none.sentence.startswith("Too few people")


def test_figures(view):
    drawn = hosts_data(view.rooms)
    assert drawn.loc["conversion"].index[0] == "H01"
    ax = plot_hosts(view.rooms)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(drawn.loc["conversion"].index)
    assert ax.get_title(loc="left")
    assert len(course_data(view.course)) == len(view.course.table)
    assert plot_course(view.course).get_title(loc="left")


def test_of_many_hosts_the_best_and_the_last_are_drawn(view):
    rows = pd.concat([view.rooms.measures.loc[["conversion"]]] * 10, ignore_index=True)
    rows.index = pd.MultiIndex.from_product(
        [["conversion"], [f"H{k:02}" for k in range(80)]], names=["measure", "host_id"]
    )
    many = dataclasses.replace(view.rooms, measures=rows)
    order = many.of("conversion").index
    assert list(hosts_data(many).loc["conversion"].index) == [*order[:12], *order[-12:]]


def test_shops_that_lack_something(small):
    tables = {**small, "sessions": small["sessions"].drop(columns=["ended_at", "target_gmv", "platform"])}
    tables["events"] = tables["events"].drop(columns="dwell_s")
    with pytest.warns(UserWarning, match="cannot be compared"):
        bare = scorecard(tables["events"], tables["sessions"], WEEK, steps=STEPS, weeks=1)
    assert bare.table[["gmv", "stay_5", "attainment", "refund_rate"]].isna().all(axis=None)
    assert "gmv" not in bare.shown
    assert course(tables["events"], tables["sessions"], steps=STEPS, period=PERIOD, fewest=1).table["gmv"].isna().all()
    for hostless in (small["sessions"].assign(host_id=None), small["sessions"].drop(columns="host_id")):
        card = scorecard(small["events"], hostless, WEEK, small["orders"], steps=STEPS, weeks=1)
        assert (card.hostless, len(card.table), card.alerts()) == (2, 0, [])
        assert card.week["gmv"].tolist() == [65.0, 0.0]
        with pytest.raises(EmptyDataError, match="no live session has a host"):
            _ = card.shown
    with pytest.raises(EmptyDataError, match="no live session began"):
        rooms(**small, steps=STEPS, period=(dt.date(2020, 1, 6), dt.date(2020, 1, 13)))
    with pytest.raises(EmptyDataError, match="had a viewer"):
        rooms(**small, steps=("reserved", "paid"), period=PERIOD)
    with pytest.raises(EmptyDataError, match="hardly anybody"):
        course(**small, steps=STEPS, period=PERIOD)
    with pytest.raises(MissingColumnError, match="session_id"):
        rooms(small["events"].drop(columns="session_id"), small["sessions"], steps=STEPS, period=PERIOD)
    with pytest.raises(ParameterError, match="two steps"):
        scorecard(small["events"], small["sessions"], WEEK, steps=STEPS[:1])
    with pytest.raises(ParameterError, match="a minute"):
        course(**small, steps=STEPS, period=PERIOD, minutes=0)


def test_one_host_cannot_be_compared(small):
    alone = small["sessions"].assign(host_id="H1")
    with pytest.warns(UserWarning, match="cannot be compared"):
        card = scorecard(small["events"], alone, WEEK, small["orders"], steps=STEPS, weeks=1)
    assert card.found.empty
    assert np.isnan(card.spread)
    with pytest.raises(EmptyDataError, match="cannot be compared"):
        hosts_data(card)
    assert room_cells(rooms(**small, steps=STEPS, period=PERIOD))["stratum"].iloc[0] == "x|all|0"


def test_ticks_keep_their_distance():
    assert _ticks(0.9, 1.1) == [1, 0.9, 1.1]
    wide = sorted(_ticks(0.02, 12))
    assert wide == [0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10]  # 6% of log(600) is a factor of 1.47
