"""Sources of traffic: against tables made by hand, simulated shops of known truth, and the sample's planted costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats

from clvlib.audience.payback import margin_curve, payback
from clvlib.audience.sources import sources
from clvlib.audience.sources_plots import payback_data, payback_plot, value_data, value_plot
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError, ThinDataWarning
from clvlib.stats.totals import total_interval

DAY = pd.Timestamp("2026-10-05")
PERIOD = ("2026-10-05", "2026-11-02")  # four weeks
MONEY = {"cost", "cac", "first_order", "earned", "clv"}


def shop():
    """Customers a and b by Weibo, c by a QR code, d of unknown channel; e bought before the period.

    Weibo: 90 for two, 45 each. KOL: 50 for nobody. The QR code: nothing known. Orders of d: none says a channel.
    """
    orders = pd.DataFrame(
        [
            ("e", -3, 80.0, "KOL"),
            ("a", 0, 100.0, "Weibo"),
            ("a", 0, 20.0, "Weibo"),  # same day: part of the first order
            ("a", 7, 50.0, "KOL"),  # first week, as the seventh day after
            ("a", 8, 60.0, None),  # second week
            ("b", 7, 40.0, "Weibo"),
            ("c", 20, 300.0, "Weibo"),  # the customers' table says QR
            ("d", 21, 10.0, None),
            ("e", 22, 500.0, "Weibo"),
            ("a", 28, 999.0, "Weibo"),  # after the period
        ],
        columns=["customer_id", "day", "amount", "channel"],
    )
    orders["ordered_at"] = DAY + pd.to_timedelta(orders.pop("day"), unit="D") + pd.Timedelta(hours=20)
    customers = pd.DataFrame(
        {"customer_id": list("abcdefgh"), "channel": ["Weibo", None, "QR", None, "KOL", *["QR"] * 3]}
    )
    customers["signed_up_at"] = DAY + pd.to_timedelta([0, 1, 2, 3, -9, 4, 5, 40], unit="D")
    cost = [("Weibo", 0, 60.0), ("Weibo", 27, 30.0), ("KOL", 3, 50.0), ("Weibo", 28, 7.0)]
    spend = pd.DataFrame(cost, columns=["channel", "day", "cost"])
    spend["date"] = DAY + pd.to_timedelta(spend.pop("day"), unit="D")
    return orders, customers, spend


def test_every_figure_by_hand():
    orders, customers, spend = shop()
    value = pd.Series({"a": 30.0, "b": 0.0, "c": 10.0, "d": 1.0, "e": 1e9})
    found = sources(orders, PERIOD, customers, spend, value=value, margin=0.5)
    table = found.table
    assert table.index.tolist() == ["Weibo", "QR", "unknown", "KOL"]
    assert table["new_customers"].tolist() == [2, 1, 1, 0]
    assert table["leads"].tolist()[:3] == [2, 3, 1]
    np.testing.assert_allclose(table["conversion"], [1, 1 / 3, 1, np.nan])  # c of c, f, g; h signs up later
    np.testing.assert_allclose(table["cost"], [90, np.nan, np.nan, 50])
    np.testing.assert_allclose(table["cac"], [45, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(table["first_order"], [(120 + 40) / 2, 300, 10, np.nan])
    np.testing.assert_allclose(table["earned"], [0.5 * (230 + 40) / 2, 150, 5, np.nan])
    np.testing.assert_allclose(table["clv"], [(115 + 30 + 20) / 2, 160, 6, np.nan])
    np.testing.assert_allclose(table["clv_to_cac"], [(115 + 30 + 20) / 90, np.nan, np.nan, 0])
    assert table["payback"].tolist() == ["paid back", "cost unknown", "cost unknown", "no new customers"]
    # a has had 3 whole weeks, b 2: 40 with the first order, +12.5 in week 1 and +15 in week 2, 45 needed
    assert found.curve.loc["Weibo", "margin"].tolist() == pytest.approx([40, 52.5, 67.5, 67.5])
    assert found.curve.loc["Weibo", "at_risk"].tolist() == [2, 2, 2, 1]
    assert table.loc["Weibo", ["payback_weeks", "followed_weeks"]].tolist() == [1, 3]
    fewest, most = stats.chi2.ppf([0.025, 0.975], [4, 6]) / 2  # Garwood's limits of two
    assert table.loc["Weibo", ["cac_lower", "cac_upper"]].tolist() == pytest.approx([90 / most, 90 / fewest])
    assert table.loc["KOL", "cac_lower"] == pytest.approx(50 / (stats.chi2.ppf(0.975, 2) / 2))
    total = found.total.iloc[0]
    assert total[["new_customers", "cost", "cac"]].tolist() == [4, 140, 35]
    assert total["clv_to_cac"] == pytest.approx((165 + 160 + 6) / 140)


def test_tables_that_are_not_there():
    orders, _, spend = shop()
    alone = sources(orders, PERIOD)
    assert alone.table["new_customers"].to_dict() == {"Weibo": 3, "unknown": 1}
    assert not {"cost", "cac", "payback", "leads", "clv"} & set(alone.table)
    assert alone.payback_sentence == "What the channels cost is not known."
    assert alone.shown.columns.tolist() == ["new_customers", "first_order", "earned"]
    assert alone.sentence == "4 new customers came, most of them through Weibo (75%)."
    seen = pd.DataFrame({"person_id": list("aab"), "channel": ["Weibo", "Weibo", None], "occurred_at": DAY})
    found = sources(orders, PERIOD, spend=spend.assign(clicks=[5, 6, 7, 8]), events=seen)
    assert found.table[["clicks", "viewers"]].sum().tolist() == [18, 2]
    assert found.sentence == "4 new customers cost 35.00 each (13.67 to 128)."
    with pytest.raises(EmptyDataError, match="no channel has both"):
        value_plot(found)
    with pytest.raises(EmptyDataError, match="no channel has both"):
        payback_plot(alone)
    assert sources(orders.drop(columns="channel"), PERIOD).table["new_customers"].to_dict() == {"unknown": 4}


def test_what_cannot_be_is_refused():
    orders, _, spend = shop()
    with pytest.raises(EmptyDataError, match="nobody bought for the first time, and nothing was spent"):
        sources(orders, ("2020-01-01", "2020-01-08"), spend=spend)
    only = sources(orders.iloc[:1], PERIOD, spend=spend)
    assert only.table["payback"].tolist() == ["no new customers"] * 2
    assert only.sentence == "140 was spent, and no new customer came."
    free = sources(orders, PERIOD, spend=spend.assign(cost=0.0), value=pd.Series(1.0, index=list("abcd")))
    row = free.table.loc["Weibo"]
    assert row[["cost", "cac", "payback_weeks"]].tolist() == [0, 0, 0]
    assert np.isnan(row["clv_to_cac"])
    with pytest.raises(MissingColumnError):
        sources(orders, PERIOD, spend=spend.drop(columns="cost"))
    with pytest.raises(ParameterError, match="negative or not finite"):
        sources(orders, PERIOD, value=pd.Series(-1.0, index=list("abcd")))
    for name in ("margin", "observed", "level"):
        with pytest.raises(ParameterError, match=name):
            sources(orders, PERIOD, **{name: 0})
    with pytest.warns(ThinDataWarning, match="3 new customers have no expected value"):
        sources(orders, PERIOD, value=pd.Series({"a": 1.0}))
    with pytest.warns(ThinDataWarning, match="spend is known from 2026-10-05 to 2026-11-01 only"):
        sources(orders, ("2026-08-01", "2026-11-02"), spend=spend)


ORDERS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 27), st.integers(1, 500), st.sampled_from(["X", "Y", None])),
    min_size=2,
    max_size=25,
)


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(ORDERS, st.integers(0, 400), st.randoms(use_true_random=False))
def test_order_of_rows_unit_of_money_and_a_split_channel(rows, cost, random):
    random.shuffle(shuffled := list(rows))

    def made(lines, unit=1.0, half=None):
        frame = pd.DataFrame(lines, columns=["customer_id", "day", "amount", "channel"])
        frame["ordered_at"] = DAY + pd.to_timedelta(frame.pop("day").astype(float), unit="D")
        frame["amount"] = frame["amount"] * unit
        first = frame.groupby("customer_id")["ordered_at"].transform("min")
        who = pd.DataFrame({"customer_id": list("abcdefgh"), "channel": ["X", "X", "Y", "Y", "X", "X", "Y", "X"]})
        paid = pd.DataFrame({"channel": ["X", "Y"], "date": DAY, "cost": [cost * unit, 10.0 * unit]})
        if half is not None:
            who["channel"] = who["channel"].where(~who["customer_id"].isin(half) | (who["channel"] == "Y"), "X2")
            paid = pd.concat([paid, paid.iloc[:1].assign(channel="X2", cost=3.0 * unit)])
            paid["cost"] = paid["cost"].where(paid["channel"] != "X", max(cost - 3.0, 0) * unit)
        assert first.notna().all()
        value = pd.Series(np.arange(8) * unit, index=list("abcdefgh"))
        return sources(frame, PERIOD, who, paid, value=value)

    plain, other, cents, split = made(rows), made(shuffled), made(rows, 128.0), made(rows, half=["a", "e"])
    pd.testing.assert_frame_equal(plain.table, other.table)
    for name in plain.table.select_dtypes("number"):
        unit = 128.0 if name.removesuffix("_lower").removesuffix("_upper") in MONEY else 1.0
        np.testing.assert_allclose(cents.table[name], unit * plain.table[name], rtol=1e-9)
    if cost >= 3:
        pd.testing.assert_frame_equal(split.total, plain.total)
        parts, whole = split.table.reindex(["X", "X2"]), plain.table.loc["X"]
        assert parts[["new_customers", "cost"]].sum().tolist() == whole[["new_customers", "cost"]].tolist()
        weights = parts["new_customers"] / max(parts["new_customers"].sum(), 1)
        assert (parts["earned"] * weights).sum() == pytest.approx(np.nan_to_num(whole["earned"]))


def arrivals(rng, expected, weeks, followed):
    """New customers of a Poisson number, each with one purchase, and others at a falling rate; spend is lognormal."""
    n = rng.poisson(expected)
    had = rng.integers(0, weeks, n)
    bought = (rng.random((n, followed + 1)) < 0.3 * 0.9 ** np.arange(followed + 1)) | (np.arange(followed + 1) == 0)
    spent = np.where(bought, rng.lognormal(4, 0.8, bought.shape), 0.0)
    who, week = np.nonzero(spent * (np.arange(followed + 1) <= had[:, None]))
    rows = pd.DataFrame({"customer_id": who, "week": week, "spend": spent[who, week]})
    return rows, pd.DataFrame({"weeks": had}), spent


def test_payback_and_its_curve_cover_the_truth():
    """60 expected customers over 26 weeks, half of them followed for 12; the cost is what they bring by week 6."""
    rng, followed, expected = np.random.default_rng(7), 12, 60
    brings = np.r_[1, 0.3 * 0.9 ** np.arange(1, followed + 1)] * np.exp(4 + 0.8**2 / 2)
    truth = 0.3 * expected * brings.cumsum()
    covered = {"curve": [], "payback": []}
    for _ in range(200):
        rows, people, _ = arrivals(rng, expected, 26, followed)
        curve = margin_curve(rows, people, 0.3, 0.5)
        assert len(curve) >= 9  # as half of the customers have had about 12 weeks
        at = min(len(curve) - 1, followed)
        low, high = len(people) * curve[["lower", "upper"]].iloc[at]
        covered["curve"].append(low <= truth[at] <= high)
        found = payback(curve, truth[6] - 1e-6, len(people))
        first, last = (np.nan_to_num(found[f"payback_{end}"], nan=np.inf) for end in ("lower", "upper"))
        covered["payback"].append(first <= 6 <= last)
    rates = {name: np.mean(inside) for name, inside in covered.items()}
    assert min(rates.values()) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200), rates


def test_where_all_have_had_all_weeks_the_curve_is_a_plain_mean():
    rng = np.random.default_rng(3)
    rows, people, spent = arrivals(rng, 50, 1, 8)
    people["weeks"] = 9
    who, week = np.nonzero(spent)
    rows = pd.DataFrame({"customer_id": who, "week": week, "spend": spent[who, week]})
    curve = margin_curve(rows, people, 0.25)
    each = 0.25 * spent.cumsum(axis=1)
    np.testing.assert_allclose(curve["margin"].iloc[:9], each.mean(axis=0))
    for age in (0, 8):
        own = each[:, age]
        limits = np.array(total_interval(own.sum(), (own**2).sum(), own.max())) / len(own)
        np.testing.assert_allclose(curve.loc[age, ["lower", "upper"]].to_numpy(dtype=float), limits)


@pytest.fixture(scope="module")
def sample(sample_shop):
    found = sample_shop
    period = ("2026-02-09", "2026-11-16")
    tables = {name: found.table(name) for name in ("customers", "spend", "events")}
    base = found.customer_summary(period[1])
    value = pd.Series(100.0, index=base.index)
    return sources(found.table("orders"), period, **tables, value=value)


def test_costs_planted_in_the_sample_are_found(sample):
    """Costs are drawn around the planted cost of each new customer; a few of these are lost to the accident's rows."""
    truth = json.loads(Path("data/sample/truth.json").read_text())["parameters"]["channels"]
    table = sample.table
    planted = pd.Series(truth["cac"]).reindex(table.index)
    assert np.abs(table["cac"] / planted - 1).max() < 0.06
    assert (table["cac_lower"].lt(planted) & planted.lt(table["cac_upper"])).all()
    assert table["clv_to_cac"].idxmax() == "WeChat group"  # the cheapest, and its customers stay
    assert table["clv_to_cac"].idxmin() == "KOL"  # the dearest, and its customers leave
    assert table["earned"].idxmin() == "KOL"
    assert sample.sentence.startswith("One unit of money spent brings most through WeChat group (")


def test_figures_draw_what_their_twins_say(sample):
    data = value_data(sample)
    drawn = value_plot(sample).get_lines()[0].get_xdata(orig=False)
    np.testing.assert_allclose(drawn, data["clv_to_cac"])
    curves = payback_data(sample, 3)
    assert curves.columns.tolist() == ["Douyin", "Taobao Live", "KOL"]  # most cost
    ax = payback_plot(sample, channels=3)
    np.testing.assert_allclose(ax.get_lines()[2].get_ydata(orig=False), curves["KOL"].dropna())
    title = ax.get_title(loc="left").replace("\n", " ")
    assert title == "11 of 11 channels with a cost have brought back what they cost."
