"""One customer, many channels: every id by hand, the sample shop's truth, and platforms that only follow purchases."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.audience.cross_channel import KINDS, cross_channel
from clvlib.audience.cross_channel_plot import worth_data, worth_plot
from clvlib.data.identities import resolved
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from tests.conftest import ROOT

PERIOD = ("2026-11-02", "2026-11-09")
DAY = pd.Timestamp("2026-11-02 20:00")
NO_ORDERS = pd.DataFrame({"customer_id": pd.Series(dtype=str), "ordered_at": pd.Series(dtype="datetime64[us]"),
                          "amount": pd.Series(dtype=float)})  # fmt: skip


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


def seen(*rows):
    frame = pd.DataFrame(rows, columns=["person_id", "platform", "times"])
    frame = frame.loc[frame.index.repeat(frame.pop("times"))].reset_index(drop=True)
    return frame.assign(occurred_at=DAY)


def known(*rows):
    return pd.DataFrame(rows, columns=["source", "source_id", "customer_id"])


EVENTS = seen(
    ("C1", "x", 5), ("C1", "y", 1), ("x1", "x", 2), ("x2", "x", 1), ("y1", "y", 4), ("y9", "y", 3), ("z7", None, 2),
    (None, "x", 6),
)  # fmt: skip
KNOWN = known(
    ("x", "x1", "C1"), ("x", "x2", "C2"), ("y", "y1", "C1"), ("y", "y1", "C3"), ("x", "y1", "C1"), ("y", "y5", "C1"),
)  # fmt: skip
ORDERS = pd.DataFrame(
    {"customer_id": ["C2", "C3"], "ordered_at": [DAY, DAY - pd.Timedelta(days=30)], "amount": [9.0, 9]}
)


def test_every_id_by_hand():
    found = cross_channel(EVENTS, KNOWN, ORDERS, PERIOD, pd.DataFrame({"customer_id": ["C1"]}))
    assert found.nameless == 6
    assert (found.ids, found.people) == (6, 5)  # C1 and x1 are one; y1 may be C1 or C3
    assert (found.buying_ids, found.buyers) == (0, 1)  # C2, seen as x2
    assert found.total[["ids", *KINDS, "events"]].tolist() == [6, 1, 2, 1, 2, 18]
    assert found.table.loc["x", ["ids", *KINDS, "events"]].tolist() == [3, 1, 2, 0, 0, 8]
    assert found.table.loc["y", ["ids", *KINDS, "events"]].tolist() == [3, 1, 0, 1, 1, 8]
    assert found.table.loc["unknown", ["ids", *KINDS, "events"]].tolist() == [1, 0, 0, 0, 1, 2]
    assert found.total["resolved_share"] == 2 / 5
    assert found.total["resolved_share_upper"] == pytest.approx(0.7693, abs=1e-4)  # Wilson of 2 in 5
    assert found.total["lost_share"] == (4 + 3 + 2) / 18
    assert found.sources.loc["x"].tolist() == [3, 2, 1, 3]  # x1, x2, y1 of C1 and C2; y1 is doubtful
    assert found.sources.loc["y"].tolist() == [2, 2, 1, 1]
    assert "5 are no customer's own; the identities resolve 40%" in found.sentence
    assert "1 would have counted twice" in found.people_sentence
    assert "several customers: 1" in found.faults_sentence


def test_chains_and_loops_of_ids():
    links = known(("x", "a", "b"), ("x", "b", "c"), ("y", "p", "q"), ("y", "q", "p"), ("y", "s", "s"), ("y", "d", "c"))
    found = cross_channel(seen(("a", "x", 1)), links, NO_ORDERS, PERIOD)
    assert (found.chains, found.loops) == (1, 1)  # a leads to b, which leads on; p and q lead to one another
    assert "ids that lead to another id: 1; loops: 1" in found.faults_sentence
    good = cross_channel(seen(("a", "x", 1)), links.iloc[[1, 4, 5]], NO_ORDERS, PERIOD)
    assert good.faults_sentence == "No id is given to several customers, and none leads to another id."


IDS = st.sampled_from(["C1", "C2", "C3", "x1", "x2", "y1"])


@given(st.lists(st.tuples(IDS, st.sampled_from(["x", "y"]), st.integers(1, 3)), min_size=1, max_size=12),
       st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(["x1", "x2", "y1", "C3"]),
                          st.sampled_from(["C1", "C2", "C3"])), min_size=1, max_size=6),
       st.randoms(use_true_random=False))  # fmt: skip
@settings(max_examples=8)
def test_nothing_is_lost_and_people_are_those_of_the_resolved_events(events, links, shuffle):
    log, table = seen(*events), known(*links)
    found = cross_channel(log, table, NO_ORDERS, PERIOD, pd.DataFrame({"customer_id": ["C1", "C2", "C3"]}))
    assert (found.table[[*KINDS]].sum(axis=1) == found.table["ids"]).all()
    assert found.total["events"] == found.table["events"].iloc[:-1].sum() == len(log)
    tables = together(events=log, identities=table)
    people = resolved(tables["events"], tables["identities"]).query("SELECT DISTINCT person_id FROM {t} AS t")
    assert found.people == len(people)
    assert found.ids == log["person_id"].nunique()
    order = list(range(len(log)))
    shuffle.shuffle(order)
    other = cross_channel(
        log.iloc[order], table.iloc[::-1], NO_ORDERS, PERIOD, pd.DataFrame({"customer_id": ["C1", "C2", "C3"]})
    )
    pd.testing.assert_frame_equal(found.table, other.table)


def test_the_sample_shops_truth_is_found(shop):
    truth = json.loads((ROOT / "data" / "sample" / "truth.json").read_text(encoding="utf-8"))["parameters"][
        "identities"
    ]
    tables = [shop.table(name) for name in ("events", "identities", "orders")]
    found = cross_channel(*tables, ("2026-02-09", "2026-11-16"), shop.table("customers"))
    row = found.total
    assert row["resolved_share_lower"] < truth["resolved"] < row["resolved_share_upper"]
    # visits without purchase that carry an id of the platform: exposures less paid ones
    visits = shop.query(
        "SELECT SUM(CASE WHEN event = 'exposure' THEN 1 WHEN event = 'paid' THEN -1 ELSE 0 END) AS failed, "
        "SUM(CASE WHEN event = 'exposure' AND person_id NOT LIKE 'C%' THEN 1 ELSE 0 END) AS named FROM events"
    ).iloc[0]
    assert visits["named"] / visits["failed"] == pytest.approx(truth["anonymous_share"], abs=0.0015)
    assert (
        row["ids"] - row["own"]
        == shop.query("SELECT COUNT(DISTINCT person_id) AS n FROM events WHERE person_id NOT LIKE 'C%'")["n"].iloc[0]
    )
    assert (row["doubtful"], found.chains, found.loops, found.nameless) == (0, 0, 0, 0)
    assert found.people < found.ids
    assert found.buyers == found.buying_ids  # who buys is known by the own id
    # several platforms follow from many orders and from nothing else: nothing was planted
    assert found.spending("raw")["lower"] > 0
    assert found.spending("alike")["lower"] < 0 < found.spending("alike")["upper"]
    assert found.worth_sentence.endswith("Against customers with as many purchases they cannot be told apart.")


def shopping(rng, lift=0.0):
    """Who buys more often comes to more platforms; ``lift`` is what an order on the second adds to all of one's."""
    n = 1 + rng.geometric(0.35, 500)
    who = np.repeat(np.arange(500), n)
    platform = np.where(rng.random(len(who)) < 0.12, "y", "x")
    both = pd.Series(platform).groupby(who).transform("nunique").to_numpy() > 1
    amount = rng.gamma(1.5, 40, len(who)) * (1 + lift * both)
    return pd.DataFrame({"customer_id": who.astype(str), "ordered_at": DAY, "amount": amount, "platform": platform})


def test_platforms_that_only_follow_purchases_are_worth_nothing():
    rng, log, table, quiet, loud = np.random.default_rng(8), seen(("C1", "x", 1)), known(("x", "x1", "C1")), [], []
    for _ in range(10):
        found = cross_channel(log, table, shopping(rng), PERIOD)
        assert found.spending("raw")["lower"] > 0
        quiet.append(found.spending("alike")["p_value"] > 0.05)
        loud.append(cross_channel(log, table, shopping(rng, 0.5), PERIOD).spending("alike")["lower"] > 0)
    assert np.mean(quiet) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 10)
    assert np.mean(loud) > 0.9


def test_a_value_that_is_handed_in_and_the_figure():
    rng = np.random.default_rng(1)
    orders = shopping(rng, 0.8)
    worth = orders.groupby("customer_id")["amount"].sum()
    found = cross_channel(seen(("C1", "x", 1)), known(("x", "x1", "C1")), orders, PERIOD, value=2 * worth)
    alike = found.worth.xs("alike", level="mix")
    assert alike.loc["value", "difference"] == pytest.approx(2 * alike.loc["spend", "difference"])
    assert "the difference is +" in found.worth_sentence
    ax = worth_plot(found, title="Claim")
    assert ax.lines[0].get_xdata().tolist() == worth_data(found)["difference"].tolist()
    assert found.platforms.sum() == 500


def test_shops_that_know_less(shop):
    found = cross_channel(EVENTS.drop(columns="platform"), KNOWN, NO_ORDERS, PERIOD)
    assert found.table.index.tolist() == ["unknown", "all platforms"]
    assert found.worth_sentence.startswith("Too few customers bought on several platforms")
    with pytest.raises(EmptyDataError, match="too few customers"):
        worth_data(found)
    own = cross_channel(seen(("C1", "x", 2)), known(("x", "x1", "C1")), ORDERS, PERIOD)
    assert own.sentence == "All 1 ids seen are customers' own: there is nothing to resolve."
    led = cross_channel(seen(("C1", "x", 2), ("x1", "x", 1)), known(("x", "x1", "C1")), ORDERS, PERIOD)
    assert led.sentence == "Of 2 ids seen, 1 are no customer's own; the identities lead all of those to a customer."
    part = shop.where(platform="Douyin")
    one = cross_channel(
        *(part.table(name) for name in ("events", "identities", "orders")), ("2026-05-18", "2026-11-16")
    )
    assert one.table.index.tolist() == ["Douyin", "all platforms"]
    assert one.platforms.index.tolist() == [1]


def test_bad_input():
    with pytest.raises(MissingColumnError, match="source_id"):
        cross_channel(EVENTS, KNOWN.drop(columns="source_id"), ORDERS, PERIOD)
    with pytest.raises(EmptyDataError, match="nobody was seen under any id"):
        cross_channel(EVENTS, KNOWN, ORDERS, ("2020-01-06", "2020-01-13"))
    with pytest.raises(EmptyDataError, match="nobody was seen"):
        cross_channel(EVENTS[EVENTS["person_id"].isna()], KNOWN, ORDERS, PERIOD)
    with pytest.raises(ParameterError, match="level"):
        cross_channel(EVENTS, KNOWN, ORDERS, PERIOD, level=1.0)
