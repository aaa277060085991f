"""Referrals: every figure by hand, the sample shop's truth, coverage when a few invite a lot, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.audience.referrals import _limits, referrals
from clvlib.audience.referrals_plot import leaders_data, leaders_plot
from clvlib.audience.referrals_rows import LEADERS, OTHERS
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from tests.conftest import ROOT

DAY = pd.Timestamp("2026-09-01")


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


def sold(*rows):
    frame = pd.DataFrame(rows, columns=["customer_id", "day", "amount"])
    return pd.DataFrame({"customer_id": frame["customer_id"], "amount": frame["amount"].astype(float),
                         "ordered_at": DAY + pd.to_timedelta(frame["day"], unit="D")})  # fmt: skip


def sent(*rows):
    """Who invites, on which day, whom, accepted after how many days (None: not), and whether a leader."""
    frame = pd.DataFrame(rows, columns=["referrer_id", "day", "customer_id", "after", "is_kol"])
    frame["sent_at"] = DAY + pd.to_timedelta(frame.pop("day"), unit="D")
    frame["accepted_at"] = frame["sent_at"] + pd.to_timedelta(frame.pop("after").astype(float), unit="D")
    return frame


ORDERS = sold(("a", 0, 10), ("b", 5, 20), ("b", 9, 20), ("c", 12, 30), ("d", 13, 5), ("e", 1, 7), ("e", 90, 100))
SENT = sent(
    ("a", 1, "b", 2, True),
    ("a", 1, "c", 9, False),  # a is a leader in all
    ("a", 2, None, None, True),
    ("b", 6, "d", 4, False),
    ("b", 6, "a", 1, False),  # a had bought before
    ("b", 7, "b", 1, False),  # oneself
    ("c", 12, "d", 1, False),  # d had accepted b's
    ("c", 13, "f", 2, False),  # f has bought nothing
    ("c", 14, None, 3, False),  # nobody knows whom
    ("d", 55, None, None, False),  # open at day 60
    ("d", 61, None, None, False),  # not yet sent at day 60
    ("b", 50, "g", 15, False),  # accepted later
    ("f", 20, "e", -3, False),  # by its clock before it was sent, and e had bought
)


def test_every_figure_by_hand():
    found = referrals(SENT, ORDERS, "2026-10-31")  # day 60 is the last
    assert (found.customers, found.invitations) == (5, 12)
    assert found.brought == 5  # b, c, d, f, and the one whom nobody knows
    assert found.k_factor == 1
    assert found.set_aside == {"self_referrals": 1, "repeated": 1, "already_customers": 2}
    assert (found.not_yet, found.nameless, found.early) == (1, 1, 1)
    assert found.open == 2  # d's of day 55, b's of day 50
    table = found.table
    assert table.loc[("is_kol", LEADERS), ["referrers", "invitations", "accepted", "brought"]].tolist() == [1, 3, 2, 2]
    assert table.loc[("is_kol", LEADERS), "revenue"] == 40 + 30
    assert table.loc[("is_kol", OTHERS), "revenue"] == 5  # d; e's 100 are after the day, and e was no new customer
    assert table.loc[("is_kol", LEADERS), "revenue_share"] == 70 / 75
    # by 30 days 9 of 12 have accepted; nobody is censored before the last of them accepts (9 days) but d's, at 6
    assert found.acceptance == pytest.approx(1 - (12 - 8) / 12 * (3 - 1) / 3)
    assert found.chains["customers"].to_dict() == {1: 2, 2: 2}
    assert found.referrers.loc["a", ["brought", "tree"]].tolist() == [2, 4]  # b and c, and by them d and f
    assert found.best.index.tolist() == ["a", "c", "b"]
    assert "nobody knows whom, and counted as new: 1. Accepted, by their clock, before they were sent: 1." in (
        found.chains_sentence
    )


def test_all_intervals_hold_their_estimates():
    found = referrals(SENT, ORDERS, "2026-10-31")
    for name in ("invitation_share", "brought_share", "revenue_share"):
        known = found.table.dropna(subset=f"{name}_lower")
        assert (known[f"{name}_lower"] <= known[name]).all()
        assert (known[name] <= known[f"{name}_upper"]).all()
    assert found.lower < found.k_factor < found.upper
    assert found.acceptance_lower < found.acceptance < found.acceptance_upper


def test_loops_and_long_chains():
    ring = sent(("x", 0, "y", 1, False), ("y", 0, "x", 1, False), ("y", 1, "z", 1, False))
    found = referrals(ring, sold(("z", 9, 1)), "2026-12-01")
    assert (found.loops, found.in_loops, len(found.chains)) == (1, 2, 0)
    assert "1 loop of people" in found.chains_sentence
    n = 3000
    line = sent(*((f"c{i}", 0, f"c{i + 1}", 1, False) for i in range(n)))
    deep = referrals(line, sold(("c0", 0, 5)), "2026-12-01")
    assert deep.chains.index.max() == n
    assert deep.referrers.loc["c0", "tree"] == n
    assert "3000 links" in deep.chains_sentence


@given(st.randoms(use_true_random=False), st.floats(0.01, 100))
@settings(max_examples=5)
def test_the_order_of_rows_and_the_currency_change_nothing(shuffle, rate):
    order = list(range(len(SENT)))
    shuffle.shuffle(order)
    one = referrals(SENT, ORDERS, "2026-10-31")
    other = referrals(SENT.iloc[order], ORDERS.assign(amount=ORDERS["amount"] * rate), "2026-10-31")
    pd.testing.assert_frame_equal(one.table.drop(columns="revenue"), other.table.drop(columns="revenue"))
    assert one.sentence == other.sentence
    assert one.chains_sentence == other.chains_sentence


def test_the_sample_shops_truth_is_found(shop):
    truth = json.loads((ROOT / "data" / "sample" / "truth.json").read_text(encoding="utf-8"))
    known = truth["parameters"]["referrals"]
    found = referrals(shop.table("referrals"), shop.table("orders"), "2026-11-15")
    assert found.lower < known["k_factor"] < found.upper
    assert found.acceptance_lower < known["acceptance"] < found.acceptance_upper
    weight = known["kol_share"] * known["kol_weight"]
    row = found.table.loc[("is_kol", LEADERS)]
    assert row["invitation_share_lower"] < weight / (weight + 1 - known["kol_share"]) < row["invitation_share_upper"]
    named = shop.query("SELECT COUNT(*) AS n FROM customers WHERE channel = 'Referral' AND customer_id IN "
                       "(SELECT customer_id FROM orders)")["n"].iloc[0]  # fmt: skip
    assert found.brought == named
    channels = truth["realised"][
        "channels"
    ]  # referred customers buy more often and stay longer: by how much is planted
    others = [row for name, row in channels.items() if name != "Referral"]
    rate = sum(row["rate"] * row["new_customers"] for row in others) / sum(row["new_customers"] for row in others)
    assert channels["Referral"]["rate"] > rate
    assert found.worth.loc[["spend", "repeat_rate"], "lower"].min() > 0
    assert found.compared > 0.9
    assert set(found.set_aside.values()) == {0}
    # what was not planted: leaders' invitations are accepted as others' are
    leaders, others = (found.table.loc[("is_kol", name)] for name in (LEADERS, OTHERS))
    assert max(leaders["lower"], others["lower"]) < min(leaders["upper"], others["upper"])


def test_at_an_earlier_day_later_rows_are_not_known(shop):
    early = referrals(shop.table("referrals"), shop.table("orders"), "2026-06-28")
    rows = shop.query("SELECT * FROM referrals WHERE sent_at < '2026-06-29'")
    assert early.invitations == len(rows)
    assert early.brought == rows["accepted_at"].lt("2026-06-29").sum()
    assert early.open > 0
    assert 0 < early.expected < early.open
    assert early.acceptance > early.brought / early.invitations  # the open ones are not counted as refused


def test_the_k_factors_interval_covers_where_a_few_invite_a_lot():
    """A hundredth invites 25 times as much, and what a customer brings is overdispersed beside."""
    rng, held, runs = np.random.default_rng(2), [], 400
    for _ in range(runs):
        rate = 0.12 / 1.24 * np.where(rng.random(600) < 0.01, 25, 1) * rng.gamma(0.7, 1 / 0.7, 600)
        ends = _limits(rng.poisson(rate).astype(float), 600, 0.95)
        held.append(ends["lower"] <= 0.12 <= ends["upper"])
    assert np.mean(held) > 0.91


def test_without_leaders_channels_or_names():
    bare = referrals(SENT.drop(columns=["is_kol"]), ORDERS, "2026-10-31")
    assert bare.table.index.get_level_values("by").unique().tolist() == ["all"]
    assert bare.leaders_sentence == ""
    assert "is_kol" not in bare.best
    with pytest.raises(EmptyDataError, match="opinion leader"):
        leaders_data(bare)
    nameless = referrals(SENT.drop(columns=["customer_id", "is_kol"]), ORDERS, "2026-10-31")
    assert nameless.brought == nameless.nameless == 9
    assert nameless.chains.empty
    assert nameless.worth["p_value"].isna().all()
    assert "too few" in nameless.worth_sentence
    assert nameless.chains_sentence.startswith("The longest chain has 0 links")


def test_young_invitations_and_those_that_nobody_accepted():
    young = referrals(sent(("a", 55, None, None, False)), ORDERS, "2026-10-31")
    assert np.isnan(young.acceptance)
    assert "No unanswered invitation is 30 days old yet" in young.sentence
    cold = referrals(sent(("a", 1, None, None, False), ("b", 1, None, None, False)), ORDERS, "2026-10-31")
    assert (cold.acceptance, cold.k_factor, cold.lower) == (0, 0, 0)
    assert cold.acceptance_upper == pytest.approx(0.6576, abs=1e-4)  # Wilson of 0 in 2
    assert cold.upper > 0


def test_the_value_that_is_handed_in():
    rng = np.random.default_rng(7)
    names = [f"n{i}" for i in range(400)]
    orders = sold(*((name, int(rng.integers(0, 28)), 20 + rng.random()) for name in names))
    invited = names[:120]
    rows = sent(*((f"n{300 + i % 90}", -9, name, 1, False) for i, name in enumerate(invited)))
    worth = pd.Series(rng.gamma(2, 50, 400), index=names)
    quiet = referrals(rows, orders, "2026-12-01", worth)
    assert (
        quiet.worth_sentence
        == "Referred customers cannot be told apart from others who first bought in the same weeks."
    )
    loud = referrals(rows, orders, "2026-12-01", worth.mask(worth.index.isin(invited), worth * 2))
    assert loud.worth.loc["value", "lower"] > 0
    assert "expected value" in loud.worth_sentence


def test_bad_input():
    with pytest.raises(MissingColumnError, match="accepted_at"):
        referrals(SENT.drop(columns="accepted_at"), ORDERS, "2026-10-31")
    with pytest.raises(EmptyDataError, match="nobody had been invited"):
        referrals(SENT, ORDERS, "2020-01-01")
    with pytest.raises(EmptyDataError, match="nobody had been invited"):
        referrals(sent(("a", 1, "a", None, False)), ORDERS, "2026-10-31")  # to oneself, and not accepted
    for wrong in ({"within": 0}, {"level": 1.0}):
        with pytest.raises(ParameterError, match="within is a day"):
            referrals(SENT, ORDERS, "2026-10-31", **wrong)


def test_a_part_of_the_shop(shop):
    part = shop.where(city_tier="tier 1")
    found = referrals(part.table("referrals"), part.table("orders"), "2026-11-15")
    assert 0 < found.k_factor < 1
    assert not shop.where(platform="Douyin").has("referrals")


def test_the_figure_draws_what_its_twin_says():
    found = referrals(SENT, ORDERS, "2026-10-31")
    data = leaders_data(found)
    ax = leaders_plot(found, title="Claim")
    assert [patch.get_width() for patch in ax.patches] == data["share"].tolist()
    assert data.loc["customer_share", "share"] == 1 / 5
