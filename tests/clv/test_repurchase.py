"""Repurchase: by hand, against counts where all were followed, the sample's truth, and what was not planted."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

import clvlib as clv
from clvlib.clv.coupon_effect import ASSOCIATION, HELD_OUT, coupon_effect
from clvlib.clv.repurchase import ALL, repurchase
from clvlib.clv.repurchase_plots import repurchase_plot
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from tests.conftest import shared_data

DAY = "2026-11-15"


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


def sold(*rows: tuple[str, str], **more: object) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["customer_id", "day"]).assign(net_amount=10.0, **more)
    return frame.assign(day=pd.to_datetime(frame["day"]), ordered_at=pd.to_datetime(frame["day"]))


def test_by_hand():
    """a after 10 days, b after 40, c open since day 20, d open since day 60: Kaplan-Meier 3/4 and, of two, 1/2."""
    frame = sold(("a", "2026-01-01"), ("a", "2026-01-11"), ("b", "2026-01-01"), ("b", "2026-02-10"),
                 ("c", "2026-02-10"), ("d", "2026-01-01"))  # fmt: skip
    row = repurchase(frame, "2026-03-02", days=(10, 30, 45, 61)).table.loc[("", ALL)]
    assert row[["within_10", "within_30"]].tolist() == [0.25, 0.25]
    assert row["within_45"] == pytest.approx(1 - 0.75 / 2)
    assert np.isnan(row["within_61"])  # nobody was followed for so long
    assert (row["median"], row["customers"], row["repeated"]) == (40, 4, 2)


def test_several_orders_of_one_day_are_no_return():
    frame = sold(("a", "2026-01-01"), ("a", "2026-01-01"), ("b", "2026-01-01"))
    assert repurchase(frame, "2026-03-02").table["repeated"].tolist() == [0]


def test_shares_are_counts_where_all_were_followed(shop):
    """Those of the first 25 weeks, each followed for 90 days and more: Kaplan-Meier is the plain share."""
    until = dt.date(2026, 8, 2)
    rows = shop.table("orders").query("SELECT customer_id, day, net_amount, is_purchase FROM {t} WHERE is_purchase")
    first = rows.groupby("customer_id")["day"].transform("min")
    early = rows[first <= pd.Timestamp(until)]
    row = repurchase(early, DAY).table.loc[("", ALL)]
    wait = (early["day"] - first[early.index]).dt.days
    second = wait[wait > 0].groupby(early["customer_id"]).min()
    people = early["customer_id"].nunique()
    for n in (30, 60, 90):
        assert row[f"within_{n}"] == pytest.approx((second <= n).sum() / people)
        limits = clv.proportion_interval((second <= n).sum(), people).iloc[0]
        assert row[f"within_{n}_lower"] == pytest.approx(limits["lower"], abs=1e-6)
    cohorts = repurchase(early, DAY).cohorts
    assert cohorts["customers"].sum() == people
    total = (cohorts["week_12"] * cohorts["customers"]).sum()
    assert total == pytest.approx((second <= 84).sum())


def test_the_sample_tells_its_truth(shop, sample):
    truth = json.loads((sample / "truth.json").read_text())
    found = repurchase(shop.table("orders"), DAY, shop.table("customers"))
    row = found.table.loc[("", ALL)]
    # of those who bought, .4337 placed a second order; some of these were refunded in full, or of the same day
    assert row["repeated"] / row["customers"] == pytest.approx(truth["realised"]["repeat_share"], abs=0.02)
    assert found.tests["found"].to_dict() == {"channel": True, "category": True, "coupon": False}
    channels = found.table.loc["channel", "within_90"]
    rates = pd.Series({name: each["rate"] for name, each in truth["realised"]["channels"].items()})
    assert channels.rank().corr(rates.reindex(channels.index).rank()) > 0.7
    assert channels.idxmin() == "KOL"
    assert "coupon no difference" in found.sentence
    blank = found.cohorts[["week_4", "week_26"]].isna()
    assert blank["week_4"].tolist() == [False] * 8 + [True] * 2  # October's last customers were followed for 15 days
    assert blank.loc["2026-05":, "week_26"].all()
    ax = repurchase_plot(found, 30)
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["all customers", "Referral"]


def test_shuffled_channels_are_not_told_apart(shop):
    rng, found = np.random.default_rng(0), 0
    orders = shop.table("orders").query("SELECT customer_id, day, net_amount FROM {t} WHERE is_purchase")
    people = orders["customer_id"].unique()
    for _ in range(12):
        customers = pd.DataFrame({"customer_id": people, "channel": rng.choice(list("abcd"), len(people))})
        found += repurchase(orders, DAY, customers).tests.loc["channel", "found"]
    assert found <= 3


@pytest.mark.slow
def test_online_retail():
    folder = shared_data("online_retail")
    shop = clv.connect(folder / "online_retail.parquet", mapping="online_retail")
    found = repurchase(shop.table("orders"), "2011-12-04")
    row = found.table.loc[("", ALL)]
    assert 0.4 < row["within_90"] < 0.6
    assert found.tests.index.isin(["channel", "category", "coupon"]).all()


def test_a_log_of_orders_alone_and_bad_input():
    frame = sold(("a", "2026-01-01"), ("b", "2026-01-04"))
    alone = repurchase(frame, "2026-03-02")
    assert alone.tests.empty
    assert list(alone.table.index) == [("", ALL)]
    assert np.isinf(alone.table["median"].iloc[0])
    assert "not known yet" in repurchase(frame, "2026-01-10").sentence
    with pytest.raises(EmptyDataError, match="nobody has been followed"):
        repurchase_plot(repurchase(frame, "2026-01-10"))
    with pytest.raises(EmptyDataError, match="fewer than 10"):
        repurchase_plot(alone, 10)
    young = repurchase(frame, "2026-02-15")  # 30 days are known, 90 are not
    assert "30 days" in repurchase_plot(young).get_title(loc="left")
    one = sold(("a", "2026-01-01"), ("b", "2026-01-04"), channel="Weibo", category="beauty", coupon_id=None)
    assert repurchase(one, "2026-03-02").tests.empty  # everybody in one group
    with pytest.raises(EmptyDataError, match="no customer bought"):
        repurchase(frame, "2025-01-01")
    with pytest.raises(ParameterError, match="days are positive"):
        repurchase(frame, "2026-03-02", days=(90, 30))
    with pytest.raises(ParameterError, match="level"):
        repurchase(frame, "2026-03-02", level=1.0)
    with pytest.raises(MissingColumnError):
        repurchase(frame.drop(columns="day"), "2026-03-02")


# ---- the coupon


def test_the_coupons_effect_is_found_by_its_hold_out(shop, sample):
    """Hold-outs lose 30% of the orders within 14 days: with the coupon 1 / (1 − .3) times as many buy."""
    truth = json.loads((sample / "truth.json").read_text())["parameters"]["coupon_48h"]
    found = coupon_effect(shop.table("orders"), shop.table("contacts"), DAY)
    row = found.table.iloc[0]
    assert row["basis"] == HELD_OUT
    assert row["ratio"] == pytest.approx(1 / (1 - truth["effect"]), abs=0.15)
    true_difference = row["rate_sent"] * truth["effect"]
    assert row["lower"] < true_difference < row["upper"]
    assert row["lower"] > 0
    assert "of those held out" in found.sentence
    again = clv.contact_effects(shop.table("orders"), shop.table("contacts"), DAY)
    assert coupon_effect(shop.table("orders"), shop.table("contacts"), DAY, again).table.equals(found.table)


def coupons(effect: float, seed: int = 0, favoured: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw 900 first purchases of March, a coupon to half of them, and who then bought within the fortnight."""
    rng = np.random.default_rng(seed)
    first = pd.Timestamp("2026-03-02") + pd.to_timedelta(rng.integers(0, 25, 900), "D")
    keen = rng.random(900) < 0.5
    treated = rng.random(900) < (np.where(keen, 0.8, 0.2) if favoured else 0.5)
    again = rng.random(900) < np.where(keen, 0.3, 0.1) * np.where(treated, 1 + effect, 1)
    who = np.array([f"c{i}" for i in range(900)])
    later = pd.DataFrame({"customer_id": who[again], "day": first[again] + pd.Timedelta(days=8)})
    orders = pd.concat([pd.DataFrame({"customer_id": who, "day": first}), later], ignore_index=True)
    orders = orders.assign(ordered_at=orders["day"] + pd.Timedelta(hours=12), net_amount=50.0)
    sent = pd.DataFrame({"customer_id": who[treated], "sent_at": first[treated] + pd.Timedelta(hours=60)})
    return orders, sent.assign(action="coupon_48h")


def test_without_a_hold_out_it_is_an_association_and_says_so():
    found = coupon_effect(*coupons(0.6), "2026-06-01")
    row = found.table.iloc[0]
    assert row["basis"] == ASSOCIATION
    assert 0.4 < row["sent"] / (row["sent"] + row["without"]) < 0.6
    assert row["lower"] < 1.6 < row["upper"]
    assert found.sentence.startswith("Association only")
    biased = coupon_effect(*coupons(0.0, favoured=True), "2026-06-01").table.iloc[0]
    assert biased["lower"] > 1  # keen customers got it: why it is called an association


def test_its_interval_holds_as_often_as_it_says():
    hits = sum(
        row["lower"] < 1 < row["upper"]
        for seed in range(24)
        for row in [coupon_effect(*coupons(0.0, seed), "2026-06-01").table.iloc[0]]
    )
    assert hits >= 20  # 95% asked for


def test_coupons_that_were_never_sent():
    orders, sent = coupons(0.0)
    with pytest.raises(EmptyDataError, match="nobody was ever sent"):
        coupon_effect(orders, sent.assign(action="call"), "2026-06-01")
    with pytest.raises(EmptyDataError, match="too few"):
        coupon_effect(orders.head(3), sent, "2026-06-01")
