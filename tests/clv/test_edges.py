"""Shops at the edge: everybody alike, no table but orders, one customer: each analysis answers, or says why not."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest

import clvlib as clv
from clvlib.clv.contact_rules import Silent
from clvlib.clv.contest import rank_contest, value_contest
from clvlib.clv.valuation import CustomerValue
from clvlib.data.calendar import Week
from clvlib.errors import ClvError, ConvergenceWarning, EmptyDataError, ParameterError

DAYS = ("2026-01-06", "2026-02-03", "2026-03-03", "2026-04-07", "2026-05-05", "2026-06-09")
END = "2026-07-05"


@pytest.fixture(scope="module")
def alike():
    """Sixty customers who buy on the same days for the same money."""
    rows = [(f"c{i}", day, 50.0) for i in range(60) for day in DAYS]
    frame = pd.DataFrame(rows, columns=["customer_id", "ordered_at", "amount"])
    return clv.connect({"orders": frame}, as_of=END)


def test_everybody_in_one_segment(alike):
    orders, summary = alike.table("orders"), alike.customer_summary(END)
    assert clv.rfm(summary).segments["share"].tolist() == [1.0]
    members = clv.tiers(orders, END)
    assert members.summary["customers"].sum() == 60
    assert (members.summary["customers"] == 60).sum() == 1
    assert len(clv.rcv(orders, END).table["score"].unique()) == 1
    stages = clv.lifecycle(orders, END).table
    assert stages["people"].sum() == 60
    again = clv.repurchase(orders, END)
    assert again.table["within_30"].tolist() == [1.0]
    assert again.tests.empty
    with pytest.warns(ConvergenceWarning), pytest.raises(EmptyDataError, match="spent the same"):
        value_contest(alike, END, 8, CustomerValue(model="BetaGeoModel"))


def test_sums_that_differ_in_the_last_digit_are_no_ranking():
    scores = pd.DataFrame({"one": [1.0, 2.0, 3.0]}, index=list("abc"))
    with pytest.raises(EmptyDataError, match="spent the same"):
        rank_contest(scores, pd.Series([0.1 + 0.2, 0.3, 0.3], index=list("abc")))


def test_a_budget_of_zero_contacts_nobody_who_costs(alike):
    ids = pd.Index([f"c{i}" for i in range(60)], name="customer_id")
    worth = pd.DataFrame({"expected_spend": 50.0, "value": 10.0}, index=ids)
    calls = [Silent(action=name, channel="phone", cost=cost, from_days=1, to_days=400, assumed=0.1)
             for name, cost in (("call", 1.0), ("note", 0.0))]  # fmt: skip
    plan = clv.contact_plan(alike.table("orders"), END, worth, rules=calls, budget=0, holdout=0)
    assert plan.table.loc["call", "chosen"] == 0
    assert plan.table["cost"].sum() == 0
    assert plan.table.loc["note", "chosen"] == 60


def test_no_table_but_orders(sample_shop):
    """A shop without complaints, feedback and events is warned by its purchases, and causes are not invented."""
    base, orders = CustomerValue(model="BetaGeoModel"), sample_shop.table("orders")
    shop = clv.connect({"orders": orders.query("SELECT customer_id, ordered_at, amount FROM {t} WHERE is_purchase")},
                       as_of="2026-11-15")  # fmt: skip
    risk = clv.churn_risk(shop.table("orders"), "2026-11-15", value=base.of(shop, "2026-11-15").table["value"])
    assert risk.table["risk"].between(0, 1).all()
    assert {"late", "unanswered", "unhappy"}.isdisjoint(risk.evidence.index)


def test_ratings_outside_one_to_five_weigh_nothing():
    told = pd.DataFrame(
        {
            "customer_id": list("abcd"),
            "created_at": pd.Timestamp("2026-06-30"),
            "rating": [0, 6, -3, 1],
            "comment": ["太差了，物流慢", "x" * 100_000, "物流慢", "物流太慢"],
        }
    )
    heard = clv.voice(told, Week("2026-W27"), weeks=4)
    assert heard.table["severity"].dropna().between(0, 1).all()
    assert heard.table["severity"].max() == 1  # of the one rating that is one
    assert heard.sample["rating"].dropna().tolist() == [1]


def test_one_customer_is_answered_or_told():
    rows = [("a", day, 20.0 + i) for i, day in enumerate(DAYS)]
    shop = clv.connect({"orders": pd.DataFrame(rows, columns=["customer_id", "ordered_at", "amount"])}, as_of=END)
    orders = shop.table("orders")
    for ask in (
        lambda: clv.rfm(shop.customer_summary(END)),
        lambda: clv.tiers(orders, END),
        lambda: clv.lifecycle(orders, END),
        lambda: clv.repurchase(orders, END),
        lambda: clv.rcv(orders, END),
        lambda: clv.churn_risk(orders, END),
        lambda: clv.outlook(shop, END, CustomerValue(model="BetaGeoModel")),
        lambda: value_contest(shop, END, 8, CustomerValue(model="BetaGeoModel")),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # thin data are said to be thin
            try:
                said = len(ask().table)
            except ClvError as error:
                said = len(str(error))
        assert said


def test_labels_of_the_saved_sheet_come_back(sample_shop, sample):
    """What an analyst writes beside the sample is joined to feedback by customer and time, and is learnt from."""
    told = sample_shop.table("feedback").query("SELECT * EXCLUDE (label) FROM {t}")
    week = Week("2026-W46")
    sheet = clv.voice(told, week, weeks=4, size=60).sample
    labels = sheet[["customer_id", "created_at"]].assign(label="negative")
    known = told.merge(labels, "left", ["customer_id", "created_at"])
    assert len(known) == len(told)
    assert known["label"].notna().sum() == len(sheet)
    again = clv.voice(known, week, weeks=4, size=60).sample
    assert again["label"].tolist() == ["negative"] * len(sheet)


def test_what_is_not_given_is_missed_in_words(sample_shop):
    orders = sample_shop.query("SELECT * FROM orders")
    for ask in (clv.repurchase, clv.churn_risk, clv.lifecycle, clv.tiers, clv.rcv):
        with pytest.raises(
            ParameterError, match=r"orders: expected a table of a shop or a pandas.DataFrame, found None"
        ):
            ask(None, END)
    for ask in (clv.backtest, lambda frame: clv.outlook(frame, END)):
        with pytest.raises(
            ParameterError, match=r"a shop is needed, which clv.connect\(\) makes of tables; found DataFrame"
        ):
            ask(orders)


def test_a_week_is_a_label_too(sample_shop):
    said = sample_shop.table("feedback")
    assert clv.voice(said, "2026-W46").sentence == clv.voice(said, sample_shop.week("2026-W46")).sentence
