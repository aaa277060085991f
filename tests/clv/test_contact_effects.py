"""Effects of contacts: by hand, against truths planted in simulations and in the sample shop, and where nothing is."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.contact_effects import ASSUMED, contact_effects, shrunk
from clvlib.errors import MissingColumnError, ParameterError
from clvlib.stats.proportions import proportion_difference

MONDAY = pd.Timestamp("2026-09-07 10:00")
LAST = "2026-11-15"


def contacts_of(customers, held, sent_at=MONDAY, action="call") -> pd.DataFrame:
    return pd.DataFrame({"customer_id": customers, "sent_at": sent_at, "action": action, "is_holdout": held})


def orders_of(customers, at, amount=100.0) -> pd.DataFrame:
    return pd.DataFrame({"customer_id": customers, "ordered_at": at, "net_amount": amount})


def test_by_hand():
    contacts = contacts_of(range(30), [i < 10 for i in range(30)])
    late = pd.Timedelta("14D")
    sold = pd.concat([
        orders_of([0, 1], MONDAY + pd.Timedelta("1h")),  # 2 of 10 held out
        orders_of(range(10, 22), MONDAY + late),  # 12 of 20 sent, on the last moment
        orders_of([10, 10], MONDAY + pd.Timedelta("3D")),  # another day, one of them twice
        orders_of([25], MONDAY + late + pd.Timedelta("1s")),  # too late
        orders_of([26], MONDAY),  # not after it
    ])  # fmt: skip
    row = contact_effects(sold, contacts, LAST, margin=0.5).table.loc["call"]
    assert (row["sent"], row["held_out"], row["open"]) == (20, 10, 0)
    oracle = proportion_difference(12, 20, 2, 10)
    figures = row[["rate_sent", "rate_held", "effect", "lower", "upper", "p_value", "p_adjusted"]].astype(float)
    assert figures.tolist() == pytest.approx(
        [0.6, 0.2, 0.4, oracle.lower, oracle.upper, oracle.p_value, oracle.p_value]
    )
    assert row["ratio"] == pytest.approx(3)
    assert row["margin"] == pytest.approx(0.5 * (1400 / 20 - 200 / 10))
    assert row["purchases_per_buyer"] == pytest.approx(15 / 14)
    drawn = (row["expected"] - row["effect"]) / (ASSUMED - row["effect"])  # how far towards the assumption
    assert 0 < drawn < 1
    assert row["basis"] == f"measured on 10 held out, {drawn:.0%} assumed"


def test_an_open_window_counts_as_neither():
    contacts = contacts_of(
        range(40), [i % 2 == 0 for i in range(40)], [MONDAY] * 20 + [pd.Timestamp("2026-11-03")] * 20
    )
    row = contact_effects(orders_of([1], MONDAY + pd.Timedelta("1D")), contacts, "2026-11-15").table.loc["call"]
    assert (row["sent"], row["held_out"], row["open"]) == (10, 10, 20)
    full = contact_effects(orders_of([1], MONDAY + pd.Timedelta("1D")), contacts, "2026-11-16").table.loc["call"]
    assert (full["sent"], full["open"]) == (20, 0)
    later = contact_effects(orders_of([1], MONDAY + pd.Timedelta("1D")), contacts, "2026-09-25").table.loc["call"]
    assert (later["sent"], later["open"]) == (10, 0)  # what was sent afterwards is not known


def test_weeks_without_a_hold_out_are_not_compared():
    # quiet week: 2 of 20 buy either way; campaign: 40 of 40 buy, nobody held out
    quiet = contacts_of(range(40), [i < 20 for i in range(40)])
    campaign = contacts_of(range(100, 140), held=False, sent_at=MONDAY + pd.Timedelta("7D"))
    buyers = [0, 1, 20, 21, *range(100, 140)]
    sold = orders_of(buyers, [MONDAY + pd.Timedelta("8D")] * len(buyers))
    row = contact_effects(sold, pd.concat([quiet, campaign]), LAST).table.loc["call"]
    assert row["effect"] == pytest.approx(0)
    assert row["rate_sent"] == pytest.approx(0.1)


@pytest.mark.parametrize("effect", [0.0, 0.2])
def test_intervals_cover_and_nothing_is_found_where_nothing_is(effect):
    """Customers who differ, contacted up to four times in weeks that differ, hold-out shares that differ."""
    rng = np.random.default_rng(5)
    inside, found, null, near = [], [], [], []
    for _ in range(25):
        base = rng.beta(1, 5, 250)
        who = np.repeat(np.arange(250), 4)[rng.random(1000) < 0.8]
        week = rng.integers(0, 6, len(who))
        held = rng.random(len(who)) < np.array([0.1, 0.2, 0.1, 0.0, 0.3, 0.1])[week]
        action = rng.integers(0, 2, len(who))
        lift = np.where((action == 1) & ~held, effect, 0.0)
        chance = np.clip(base[who] + np.array([0, 0, 0.1, 0.3, 0, 0])[week] + lift, 0, 1)
        start = MONDAY + pd.to_timedelta(21 * week, unit="D")
        names = [f"{i}.{k}" for i, k in zip(who, action, strict=True)]
        contacts = contacts_of(names, held, start, np.array(["no", "yes"])[action])
        contacts = contacts[~contacts.duplicated(["customer_id", "sent_at"])]
        bought = contacts[rng.random(len(contacts)) < chance[contacts.index]]
        sold = orders_of(bought["customer_id"], bought["sent_at"] + pd.Timedelta("2D"))
        table = contact_effects(sold, contacts, "2027-03-01").table
        inside += [
            table.loc["no", "lower"] <= 0 <= table.loc["no", "upper"],
            table.loc["yes", "lower"] <= effect <= table.loc["yes", "upper"],
        ]
        found.append(table.loc["yes", "found"])
        null.append(table.loc["no", "found"])
        planned = abs(table["expected"] - [0, effect]) / table["expected_error"]
        near += (planned < 2).tolist()
    assert np.mean(inside) > 0.9
    assert np.mean(null) < 0.1
    assert np.mean(near) > 0.7  # shrunk for the sake of all actions, so less than 95% where one is far off
    assert np.mean(found) < 0.1 if effect == 0 else np.mean(found) > 0.4


def test_the_sample_shop(sample_shop, sample):
    """The coupon multiplies the chance to buy by 1 / (1 − 0.3); nothing else was planted."""
    truth = json.loads((sample / "truth.json").read_text())["parameters"]["coupon_48h"]
    result = contact_effects(
        sample_shop.table("orders"), sample_shop.table("contacts"), LAST, window_days=truth["window_days"]
    )
    table = result.table
    coupon = table.loc["coupon_48h"]
    planted = coupon["rate_sent"] * truth["effect"]
    assert coupon["lower"] < planted < coupon["upper"]
    assert abs(coupon["expected"] - planted) < 2 * coupon["expected_error"]
    assert table.index[table["found"]].tolist() == ["coupon_48h"]
    effect, lower, upper = 100 * coupon[["effect", "lower", "upper"]].astype(float)  # differences of shares, not shares
    assert f"coupon 48h: {effect:+.1f} points ({lower:+.1f} to {upper:+.1f})" in result.sentence
    assert "win_back" not in result.sentence
    assert (table.drop(index="coupon_48h")[["lower", "upper"]].prod(axis=1) < 0).all()


def test_lower_prices_come_out_of_the_margin_in_full():
    """Goods that cost 50 sell at 100: 5 of 20 held out buy; 10 of 20 sent a coupon do, at 90 (all 500 times over)."""
    n = 500
    contacts = contacts_of(range(40 * n), [i < 20 * n for i in range(40 * n)])
    at = MONDAY + pd.Timedelta("1D")
    held, sent = orders_of(range(5 * n), at), orders_of(range(20 * n, 30 * n), at, 90.0)
    sold = pd.concat([held.assign(discount=0.0), sent.assign(discount=10.0)])
    row = contact_effects(sold, contacts, LAST, margin=0.5).table.loc["call"]
    profit = 10 / 20 * (90 - 50) - 5 / 20 * (100 - 50)
    assert row["margin"] == pytest.approx(profit)
    assert row["price_cut"] == pytest.approx(0.1)
    assert row["kept"] * 0.5 * 100 == pytest.approx(profit, rel=0.02)  # shrunk a little
    assert row["kept_error"] > row["expected_error"]
    alike = pd.concat([held.assign(discount=10.0), sent.assign(discount=9.0)])  # everybody pays a tenth less
    row = contact_effects(alike, contacts, LAST, margin=0.5).table.loc["call"]
    assert row["price_cut"] == pytest.approx(0, abs=1e-12)
    assert row["kept"] == pytest.approx(row["expected"])
    fewer = pd.concat([held.assign(discount=30.0), sent.assign(discount=10.0)])  # by chance: a contact raises no price
    row = contact_effects(fewer, contacts, LAST, margin=0.5).table.loc["call"]
    assert row["price_cut"] < 0
    assert row["kept"] == pytest.approx(row["expected"])
    row = contact_effects(sold.drop(columns="discount"), contacts, LAST, margin=0.5).table.loc["call"]
    assert np.isnan(row["price_cut"])
    assert (row["kept"], row["kept_error"]) == (row["expected"], row["expected_error"])


def test_the_error_of_a_price_cut():
    """Customers contacted twice, who keep to their coupons: the deviation over shops is the error that is stated."""
    rng = np.random.default_rng(8)
    cuts, errors = [], []
    for _ in range(60):
        who = np.tile(np.arange(300), 2)
        held = rng.random(600) < 0.4
        start = MONDAY + pd.to_timedelta(np.repeat([0, 21], 300), unit="D")
        bought = np.flatnonzero(rng.random(600) < 0.3)
        price = rng.lognormal(4, 0.7, len(bought))
        off = price * np.where(rng.random(300)[who[bought]] < np.where(held[bought], 0.2, 0.7), 0.15, 0.0)
        sold = orders_of(who[bought], start[bought] + pd.Timedelta("2D"), price - off).assign(discount=off)
        row = contact_effects(sold, contacts_of(who, held, start), "2027-03-01").table.loc["call"]
        cuts.append(row["price_cut"])
        errors.append(row["price_cut_error"])
    assert np.mean(errors) == pytest.approx(np.std(cuts), rel=0.25)
    assert np.mean(cuts) == pytest.approx(1 - (1 - 0.7 * 0.15) / (1 - 0.2 * 0.15), abs=3 * np.std(cuts) / 60**0.5)


def test_shrinking():
    """One action: the posterior over (effect, spread) on a fine grid."""
    effect, error, assumed = 0.05, 0.02, 0.01
    spread, value = np.linspace(2e-4, 0.2, 1000)[:, None], np.linspace(-0.9, 0.9, 3601)
    log = -np.log(1 + (spread / 0.03) ** 2) - np.log(spread) - 0.5 * ((value - assumed) / spread) ** 2
    density = np.exp(log - 0.5 * ((value - effect) / error) ** 2)
    weight = density.sum(axis=0) / density.sum()
    mean, deviation = shrunk(np.array([effect]), np.array([error]), np.array([assumed]))
    assert mean[0] == pytest.approx(weight @ value, abs=4e-4)
    assert deviation[0] == pytest.approx(np.sqrt(weight @ value**2 - (weight @ value) ** 2), rel=0.03)
    near, far = (shrunk(np.array([0.05]), np.array([e]), np.zeros(1))[0][0] for e in (0.001, 1.0))
    assert near == pytest.approx(0.05, abs=1e-3)
    assert abs(far) < 0.001


def test_no_history():
    sold = orders_of([1, 2], MONDAY)
    for contacts in (None, contacts_of([], []), contacts_of([1, 2], held=False)):
        result = contact_effects(sold, contacts, LAST, assumed={"call": 0.02, "vip": ASSUMED})
        assert result.table["expected"].tolist() == [0.02, ASSUMED]
        assert set(result.table["basis"]) == {"assumed"}
        assert not result.table["found"].any()
        assert "assumption" in result.sentence
    without = contact_effects(sold, contacts_of([1, 2], held=False).drop(columns="is_holdout"), LAST)
    assert without.table.loc["call", "held_out"] == 0
    assert contact_effects(sold, None, LAST).table.empty


def test_nobody_buys():
    row = contact_effects(orders_of([99], MONDAY), contacts_of(range(20), [i < 10 for i in range(20)]), LAST)
    table = row.table.loc["call"]
    assert (table["effect"], table["found"]) == (0, False)
    assert table["lower"] < 0 < table["upper"]
    assert np.isnan(table["margin"])


def test_what_cannot_be_is_refused():
    sold, contacts = orders_of([1], MONDAY), contacts_of([1], held=False)
    for wrong in ({"window_days": 0}, {"margin": 0}, {"level": 1}, {"assumed": {"call": 2}}):
        with pytest.raises(ParameterError):
            contact_effects(sold, contacts, LAST, **wrong)
    with pytest.raises(MissingColumnError, match="sent_at"):
        contact_effects(sold, contacts.drop(columns="sent_at"), LAST)
