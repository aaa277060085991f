"""What orders alone can answer: new and returning customers, spending grades."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clvlib.audience.grades import spending_grades
from clvlib.audience.new_returning import new_returning, new_returning_weeks, weeks_sentence
from clvlib.audience.plots import grades_data, new_returning_data, plot_grades, plot_new_returning
from clvlib.data.calendar import Week
from clvlib.data.engine import as_table
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from clvlib.stats.totals import total_interval
from tests.conftest import shared_data

WEEK = ("2026-11-09", "2026-11-16")
START = pd.Timestamp("2026-10-26")

ROWS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 27 * 24), st.integers(1, 99)), min_size=1, max_size=50
)


def sold(rows):
    frame = pd.DataFrame(rows, columns=["customer_id", "hour", "amount"])
    return pd.DataFrame({"customer_id": frame["customer_id"], "amount": frame["amount"].astype(float),
                         "ordered_at": START + pd.to_timedelta(frame["hour"].astype("int64"), unit="h")})  # fmt: skip


@given(ROWS)
@settings(max_examples=60)
@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
def test_new_and_returning_equal_pandas(rows):
    orders = sold(rows)
    first = orders.groupby("customer_id")["ordered_at"].transform("min")
    inside = orders[orders["ordered_at"].ge(WEEK[0]) & orders["ordered_at"].lt(WEEK[1])]
    if inside.empty and not orders["ordered_at"].lt(WEEK[1]).any():
        with pytest.raises(EmptyDataError):
            new_returning(orders, WEEK)
        return
    if inside.empty:
        found = new_returning(orders, WEEK)
        assert (
            found.totals["total"].tolist() == found.table["buyers"].tolist() == found.table["orders"].tolist() == [0, 0]
        )
        assert found.totals.loc["buyers", "upper"] == pytest.approx(-np.log(0.025))  # Garwood: P(0; u) = .025
        assert np.isnan(found.totals.loc["revenue", "upper"])
        assert (found.sentence, found.table["buyer_share"].isna().all()) == ("nobody bought", True)
        return
    kind = np.where(first[inside.index] >= pd.Timestamp(WEEK[0]), "new", "returning")
    truth = inside.groupby(kind).agg(
        buyers=("customer_id", "nunique"), orders=("amount", "size"), revenue=("amount", "sum")
    )
    found = new_returning(orders, WEEK)
    table, each = found.table, inside.groupby("customer_id")["amount"].sum().astype(float)
    ends = total_interval(each.sum(), (each**2).sum(), each.max())
    np.testing.assert_allclose(found.totals.loc["revenue"], [each.sum(), *ends], rtol=1e-9)
    np.testing.assert_allclose(found.totals.loc["buyers"], [len(each), *total_interval(len(each), len(each), 1)])
    expected = truth.reindex(["new", "returning"]).fillna(0)
    assert table[["buyers", "orders", "revenue"]].values.tolist() == expected.values.tolist()
    assert table["buyer_share"].sum() == pytest.approx(1)
    baskets = (truth["revenue"] / truth["orders"]).reindex(["new", "returning"])
    np.testing.assert_allclose(table["basket"], baskets)


def test_basket_with_one_order_each_is_students_interval():
    """With one order a customer, the delta method is Student's interval of the mean order."""
    amounts = [12.0, 30.0, 18.0, 55.0, 20.0]
    orders = sold([(f"c{i}", 15 * 24, a) for i, a in enumerate(amounts)])
    with pytest.warns(ThinDataWarning, match="returning customers: 0 bought"):
        row = new_returning(orders, WEEK).table.loc["new"]
    lower, upper = stats.t.interval(0.95, 4, np.mean(amounts), stats.sem(amounts))
    assert (row["lower"], row["upper"]) == pytest.approx((lower, upper))


def test_basket_treats_customers_as_units():
    """Ten customers with 20 equal orders each: no wider or narrower than ten customers with one."""
    amounts = np.arange(10, 110, 10.0)
    once = sold([(f"c{i}", 15 * 24, a) for i, a in enumerate(amounts)])
    often = pd.concat([once] * 20)
    with pytest.warns(ThinDataWarning):
        one, many = (new_returning(o, WEEK).table.loc["new", ["lower", "upper"]].tolist() for o in (once, often))
    assert one == pytest.approx(many)


def test_difference_of_baskets():
    rng = np.random.default_rng(1)
    rows = [(f"o{i}", 0, 10) for i in range(40)] + [(f"o{i}", 15 * 24, int(rng.integers(50, 90))) for i in range(40)]
    rows += [(f"n{i}", 15 * 24, int(rng.integers(20, 60))) for i in range(30)]
    found = new_returning(sold(rows), WEEK)
    new = [r[2] for r in rows if r[0].startswith("n")]
    returning = [r[2] for r in rows if r[0].startswith("o") and r[1]]
    welch = stats.ttest_ind(new, returning, equal_var=False)
    assert found.basket_difference.p_value == pytest.approx(welch.pvalue, rel=1e-6)
    assert found.basket_difference.estimate == pytest.approx(np.mean(new) - np.mean(returning))


@given(ROWS)
@settings(max_examples=40)
def test_weeks_equal_pandas(rows):
    orders = sold(rows)
    table = new_returning_weeks(orders, Week("2026-W47"), 6)
    monday = orders["ordered_at"].dt.to_period("W").dt.start_time
    first = monday.groupby(orders["customer_id"]).transform("min")
    for label, row in table.iterrows():
        here = monday.eq(pd.Timestamp(Week(label).start))
        assert row["new"] == orders.loc[here & first.eq(monday), "customer_id"].nunique()
        assert row["returning"] == orders.loc[here & first.ne(monday), "customer_id"].nunique()
        assert row["revenue_new"] + row["revenue_returning"] == orders.loc[here, "amount"].sum()
    assert table.index[-1] == "2026-W47"


def test_a_checked_table_decides_what_a_purchase_is():
    orders = sold([("a", 15 * 24, 10), ("b", 15 * 24, 20), ("c", 15 * 24, 30)])
    checked = orders.assign(net_amount=[10.0, 5.0, 0.0], is_purchase=[True, True, False])
    with pytest.warns(ThinDataWarning):
        table = new_returning(as_table(checked, "orders"), WEEK).table
    assert table.loc["new", ["buyers", "revenue"]].tolist() == [2, 15]


@given(ROWS, st.integers(1, 6))
@settings(max_examples=40)
def test_grades_equal_pandas(rows, weeks):
    orders = sold(rows)
    last = pd.Timestamp("2026-11-15")
    inside = orders[
        orders["ordered_at"].lt("2026-11-16") & orders["ordered_at"].ge(last + pd.Timedelta(days=1, weeks=-weeks))
    ]
    if inside.empty:
        with pytest.raises(EmptyDataError):
            spending_grades(orders, "2026-11-15", weeks)
        return
    spend = inside.groupby("customer_id")["amount"].sum()
    found = spending_grades(orders, "2026-11-15", weeks)
    assert found.cuts == pytest.approx(tuple(spend.quantile([0.5, 0.8, 0.95])))
    place = np.searchsorted(np.asarray(found.cuts), spend, side="right")
    names = np.array(["low", "medium", "high", "top"])
    truth = spend.groupby(names[place]).agg(["size", "sum", "min"])
    table = found.table
    assert table[["customers", "revenue", "spend_from"]].values.tolist() == truth.loc[table.index].values.tolist()
    assert len(truth) == len(table)
    week = inside.loc[inside["ordered_at"] >= "2026-11-09", "customer_id"].nunique()
    assert table["buyers_this_week"].sum() == week
    count = inside.groupby(inside["customer_id"].map(dict(zip(spend.index, names[place], strict=True))))[
        "amount"
    ].size()
    assert (table["orders_per_customer"] * table["customers"]).tolist() == pytest.approx(
        count.loc[table.index].tolist()
    )
    evening = inside[inside["ordered_at"].dt.hour >= 18].shape[0]
    if (inside["ordered_at"] == inside["ordered_at"].dt.normalize()).all():  # dates without a time of day
        assert "evening_share" not in table
        return
    assert (table["evening_share"] * table["orders_per_customer"] * table["customers"]).sum() == pytest.approx(evening)


def test_everybody_spends_the_same():
    table = spending_grades(sold([(c, 15 * 24, 10) for c in "abcd"]), "2026-11-15").table
    assert table["customers"].to_dict() == {"top": 4}


def test_purchases_worth_nothing():
    orders = pd.DataFrame({"customer_id": ["a", "b"], "ordered_at": pd.Timestamp("2026-11-10"), "amount": 0.0})
    orders = orders.assign(net_amount=0.0, is_purchase=True)
    with pytest.raises(EmptyDataError, match="worth zero"):
        spending_grades(orders, "2026-11-15")
    with pytest.warns(ThinDataWarning) as said:
        result = new_returning(orders, ("2026-11-09", "2026-11-16"))
    assert result.sentence == "100% of the 2 buyers are new; nobody paid anything"
    assert any("worth zero" in str(warning.message) for warning in said)


def test_coupons():
    orders = sold([("a", 15 * 24, 10), ("a", 15 * 24, 10), ("b", 15 * 24, 30)]).assign(coupon_id=["x", None, None])
    table = spending_grades(orders, "2026-11-15", shares=(0.5,), names=("low", "high")).table
    assert table["coupon_share"].to_dict() == {"high": 0, "low": 0.5}


def test_bad_input():
    orders = sold([("a", 15 * 24, 10)])
    for shares, names in [((), ("all",)), ((0.5, 0.4), "abc"), ((0, 0.5), "abc"), ((0.5, 1), "abc"), ((0.5,), "abc")]:
        with pytest.raises(ParameterError):
            spending_grades(orders, "2026-11-15", shares=shares, names=tuple(names))
    with pytest.raises(ParameterError, match="less than one"):
        spending_grades(orders, "2026-11-15", 0)
    with pytest.raises(EmptyDataError, match="nobody bought in the 52 weeks"):
        spending_grades(orders, "2020-11-15")
    with pytest.raises(ParameterError, match="between 0 and 1"):
        new_returning(orders, WEEK, level=0)
    with pytest.raises(EmptyDataError, match="no order before"):
        new_returning_weeks(orders, Week("2020-W46"))


def test_figures_draw_what_their_twins_say():
    orders = sold([(f"c{i}", 24 * (i % 20), 10 + i) for i in range(40)])
    found = spending_grades(orders, "2026-11-15")
    ax = plot_grades(found, title="Claim")
    assert [p.get_width() for p in ax.patches] == [
        *grades_data(found)["customer_share"], *grades_data(found)["revenue_share"],
    ]  # fmt: skip
    weeks = new_returning_weeks(orders, Week("2026-W46"))
    ax = plot_new_returning(weeks, title="Claim")
    assert [p.get_height() for p in ax.patches] == [
        *new_returning_data(weeks)["returning"],
        *new_returning_data(weeks)["new"],
    ]


@pytest.fixture(scope="module")
def cdnow():
    path = shared_data("cdnow") / "CDNOW_master.txt"
    frame = pd.read_csv(path, sep=r"\s+", header=0, names=["customer_id", "day", "quantity", "amount"], dtype=str)
    return frame.assign(amount=frame["amount"].astype(float), ordered_at=pd.to_datetime(frame["day"], format="%Y%m%d"))


def test_cdnow(cdnow):
    """23,570 customers, all of them new between January and March 1997 (known_answers.md)."""
    with pytest.warns(ThinDataWarning, match="returning customers: 0 bought"):
        quarter = new_returning(cdnow.assign(amount=cdnow["amount"] + 0.01), ("1997-01-01", "1997-04-01"))
    assert quarter.table["buyers"].tolist() == [23_570, 0]


def test_sentences():
    rows = [(f"o{i}", 0, 10) for i in range(30)] + [(f"o{i}", 15 * 24, 50 + i) for i in range(30)]
    rows += [(f"n{i}", 15 * 24 + 20, 25 + i / 10) for i in range(10)]
    found = new_returning(sold(rows), WEEK)
    assert found.sentence == ("25% of the 40 buyers are new; they bring 12% of the revenue, with baskets 61% smaller")
    assert weeks_sentence(new_returning_weeks(sold(rows), Week("2026-W46"))) == (
        "Buyers in W46: 40, 25% of them for the first time; a mean of 15 in the 2 weeks before"
    )
    assert weeks_sentence(new_returning_weeks(sold(rows), Week("2026-W47"))) == (
        "Nobody bought in W47; a mean of 23 in the 3 weeks before"
    )
    with pytest.warns(ThinDataWarning):
        assert (
            new_returning(sold(rows[:1]), ("2026-10-01", "2026-11-30")).sentence
            == "one customer bought, for the first time"
        )
    assert spending_grades(sold(rows), "2026-11-15").sentence.startswith("The 5% of customers in grade top bring")
