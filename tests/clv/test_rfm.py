"""RFM: the cut rule by hand, and a grid of names without gap or overlap."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clvlib as clv
from clvlib.clv.rfm import SEGMENTS, rfm
from clvlib.clv.valuation import CustomerValue
from clvlib.errors import DataError, EmptyDataError, MissingColumnError, ParameterError


def base(frequency, silence=None, money=None) -> pd.DataFrame:
    n = len(frequency)
    silence = np.arange(n, dtype=float) if silence is None else np.asarray(silence, dtype=float)
    frequency = np.asarray(frequency)
    recency = np.where(frequency > 0, 100.0 - silence, 0.0)
    T = np.where(frequency > 0, 100.0, silence)
    money = np.full(n, 10.0) if money is None else np.asarray(money, dtype=float)
    money = np.where(frequency > 0, money, 0.0)
    columns = {"frequency": frequency, "recency": recency, "T": T, "monetary_value": money}
    return pd.DataFrame(columns, index=[f"c{i}" for i in range(n)])


def test_the_grid_names_every_pair_of_scores_once():
    pairs = [pair for rows, columns in SEGMENTS.values() for pair in product(rows, columns)]
    assert sorted(pairs) == sorted(product(range(1, 6), repeat=2))


def test_scores_by_hand():
    # ten customers, six of whom never came back: 0 of 10 stand below them, so F = 1; then 6, 7, 8, 9 of 10 below:
    # 1 + ⌊5·6/10⌋ = 4, 1 + ⌊3.5⌋ = 4, 1 + 4 = 5, 1 + ⌊4.5⌋ = 5
    table = rfm(base([0, 0, 0, 0, 0, 0, 1, 2, 3, 4])).table
    assert table["F"].tolist() == [1, 1, 1, 1, 1, 1, 4, 4, 5, 5]
    # silence 0 … 9: the most silent stands last
    assert table["R"].tolist() == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert table["M"].tolist() == table["F"].tolist()
    assert table["score"].iloc[0] == "511"
    assert table["segment"].tolist() == [
        "new customers", "new customers", "promising", "promising", "about to sleep", "about to sleep", "at risk",
        "at risk", "cannot lose them", "cannot lose them",
    ]  # fmt: skip


def test_segments_add_up(cdnow):
    result = rfm(cdnow)
    assert result.unit == "W"
    assert result.segments["customers"].sum() == len(cdnow)
    assert result.segments["share"].sum() == pytest.approx(1)
    assert result.segments["share_of_money"].sum() == pytest.approx(1)
    money = (cdnow["frequency"] * cdnow["monetary_value"]).sum()
    assert (result.segments["money"] * result.segments["customers"]).sum() == pytest.approx(money)
    assert "segment" in result._repr_html_()
    assert clv.rfm is rfm


def test_own_money_and_no_money_at_all():
    frame = base([0, 1, 2]).assign(spend=[300.0, 20.0, 10.0])
    assert rfm(frame).table["M"].tolist() == [4, 2, 1]
    assert (rfm(frame).first_counts, rfm(base([0, 1, 2])).first_counts) == (True, False)
    assert "bought once stand at 0" not in rfm(frame).sentence
    assert rfm(base([0, 1, 2])).sentence.endswith("no column spend, which customer_summary() gives.")
    assert rfm(frame).sentence.startswith("promising: 33% of the customers, 91% of the money.")  # 300 of 330
    assert (rfm(base([0, 0, 0])).segments["share_of_money"] == 0).all()


def test_a_shop_is_scored_as_the_standard_has_it(sample_shop):
    """Straight from the orders: fifths of customers by the last purchase, days with one, and all that was spent."""
    result = rfm(sample_shop.customer_summary("2026-11-15"))
    same = CustomerValue(model="BetaGeoModel").of(sample_shop, "2026-11-15").scores
    pd.testing.assert_frame_equal(result.table, same.table)
    orders = sample_shop.query("SELECT customer_id, day, net_amount FROM orders WHERE is_purchase")
    groups = orders.groupby("customer_id")
    truth = {
        "R": (groups["day"].max() - pd.Timestamp("2026-11-15")).dt.days,
        "F": groups["day"].nunique(),
        "M": groups["net_amount"].sum().round(2),
    }
    for score, value in truth.items():
        stand = np.searchsorted(np.sort(value), value)  # how many stand strictly worse
        fifth = pd.Series(1 + 5 * stand // len(value), value.index)
        pd.testing.assert_series_equal(result.table[score], fifth.loc[result.table.index], check_names=False)
    assert result.first_counts
    assert result.segments.loc["new customers", "money"] > 0  # they bought once
    assert (result.segments["money"] * result.segments["customers"]).sum() == pytest.approx(orders["net_amount"].sum())


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_order_of_rows_and_ties(frequency, shuffle):
    frame = base(frequency, silence=[(7 * i) % 5 for i in range(len(frequency))])
    table = rfm(frame).table
    order = list(frame.index)
    shuffle.shuffle(order)
    pd.testing.assert_frame_equal(rfm(frame.loc[order]).table.loc[frame.index], table)
    for score, value in (("R", "silence"), ("F", "purchases"), ("M", "money")):
        assert table[score].between(1, 5).all()
        assert len(table[[value, score]].drop_duplicates()) == table[value].nunique()


def test_bad_input():
    with pytest.raises(MissingColumnError):
        rfm(base([1]).drop(columns="T"))
    with pytest.raises(EmptyDataError):
        rfm(base([]))
    with pytest.raises(DataError, match=r"summary\.spend: 1 of 2 rows are not finite numbers, first nan for .*c1"):
        rfm(base([1, 1]).assign(spend=[1.0, None]))
    with pytest.raises(ParameterError, match="compressed"):
        rfm(base([1]).assign(n=3))
