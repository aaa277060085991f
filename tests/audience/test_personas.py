"""Personas: what was planted is found, what was not is not, and names stay."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from clvlib.audience.personas import personas
from clvlib.audience.personas_features import read_habits, space_of
from clvlib.audience.personas_names import matched
from clvlib.audience.personas_number import persistence
from clvlib.audience.personas_plots import personas_data, plot_personas
from clvlib.data.engine import as_table
from clvlib.errors import EmptyDataError, ParameterError

LAST = "2026-11-15"
KINDS = ("beauty", "fashion", "home", "snacks", "baby")
PLANTED = np.array([[0.8, 0.05, 0.05, 0.05, 0.05], [0.05, 0.8, 0.05, 0.05, 0.05], [0.0, 0.0, 0.5, 0.5, 0.0]])


def made(customers=240, seed=1, shares=PLANTED, coupons=(0.1, 0.1, 0.8), end=LAST):
    """A shop of so many personas with 3 to 9 orders each; the truth is in the customer's id."""
    rng = np.random.default_rng(seed)
    persona = rng.integers(len(shares), size=customers)
    who = np.repeat(np.arange(customers), rng.integers(3, 10, customers))
    n = len(who)
    kind = [KINDS[rng.choice(len(KINDS), p=shares[p])] for p in persona[who]]
    frame = pd.DataFrame({
        "customer_id": [f"{i:04d}-{persona[i]}" for i in who],
        "ordered_at": pd.Timestamp(end) - pd.to_timedelta(rng.integers(0, 180 * 1440, n), unit="min"),
        "amount": np.round(rng.lognormal(4, 0.5, n), 2),
        "category": kind,
        "coupon_id": np.where(rng.random(n) < np.array(coupons)[persona[who]], "C", None),
    })  # fmt: skip
    return frame.sort_values("ordered_at", kind="stable", ignore_index=True)


def truth(found):
    return found.members.index.str[-1]


@pytest.fixture(scope="module")
def found():
    return personas(made(), LAST)


def test_planted_personas_are_found_and_named(found):
    assert found.number == 3
    assert adjusted_rand_score(truth(found), found.members) > 0.9
    named = {name: pd.Series(truth(found))[(found.members == name).to_numpy()].mode()[0] for name in found.table.index}
    tops = {kind: name.split(", ")[0] for name, kind in named.items()}
    assert (tops["0"], tops["1"]) == ("beauty", "fashion")
    assert tops["2"] in {"home", "snacks", "discounts"}
    assert found.p_value < 0.05
    assert found.table["customers"].sum() == 240
    assert found.table[["customer_share", "revenue_share"]].sum().tolist() == pytest.approx([1, 1])
    value = next(name for name in found.table.index if named[name] == "2")
    assert "of orders with a discount (index" in found.table["apart"][value]


def test_figures_of_the_table_equal_pandas(found):
    orders = made()
    orders["persona"] = orders["customer_id"].map(found.members)
    groups = orders.groupby("persona")
    table = found.table.sort_index()
    np.testing.assert_allclose(table["basket"], groups["amount"].mean())
    np.testing.assert_allclose(table["discount_share"], groups["coupon_id"].count() / groups.size())
    np.testing.assert_allclose(table["evening_share"], groups["ordered_at"].agg(lambda t: (t.dt.hour >= 18).mean()))
    shares = pd.crosstab(orders["persona"], orders["category"], normalize="index")
    np.testing.assert_allclose(found.shares.loc[shares.index, shares.columns], shares)
    overall = orders["category"].value_counts(normalize=True)
    np.testing.assert_allclose(found.shares.loc["everybody", overall.index], overall)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
@settings(max_examples=2)
def test_neither_the_order_of_rows_nor_the_currency_matters(found, seed, rate):
    orders = made().sample(frac=1, random_state=seed % 2**31)
    again = personas(orders.assign(amount=orders["amount"] * rate), LAST)
    pd.testing.assert_series_equal(again.members, found.members)
    pd.testing.assert_frame_equal(again.numbers, found.numbers)


@pytest.mark.parametrize("dominant", [0.2, 0.6])
def test_where_nothing_was_planted_there_is_nothing(dominant):
    """All draw from the same shares. At 5% each, two of three shops have personas with a chance below 1%."""
    same = np.full((1, 5), (1 - dominant) / 4)
    same[0, 0] = dominant
    results = [personas(made(300, seed, same, (0.3,)), LAST) for seed in range(3)]
    assert sum(each.number > 1 for each in results) <= 1
    none = next(each for each in results if each.number == 1)
    assert none.table.index.tolist() == ["everybody"]
    assert none.sentence.startswith("No personas: ")
    assert none.table["customers"].tolist() == [300]


def test_persistence_forgives_the_number_of_orders():
    """Halves that agree through the number of orders alone are no evidence; those that agree beyond it are."""
    rng = np.random.default_rng(3)
    orders = rng.integers(3, 40, 600)
    by_count = [(rng.random(600) < np.where(orders > 15, 0.9, 0.1)).astype(int) for _ in range(2)]
    seen, p_value = persistence(*by_count, orders)
    assert seen > 0.1
    assert p_value > 0.05
    lasting = rng.integers(0, 2, 600)
    noisy = [np.where(rng.random(600) < 0.2, 1 - lasting, lasting) for _ in range(2)]
    assert persistence(*noisy, orders)[1] == pytest.approx(1 / 200)


@given(st.permutations(range(4)), st.integers(0, 10**6))
@settings(max_examples=40)
def test_names_follow_the_people_when_numbers_are_permuted(order, seed):
    rng = np.random.default_rng(seed)
    label = np.r_[np.arange(4), rng.integers(0, 4, 200)]
    people = [f"c{i}" for i in range(len(label))]
    names = dict(enumerate(["beauty", "fashion", "home, evening", "mixed"]))
    before = pd.Series(label, index=people).map(names)
    moved = np.where(rng.random(len(label)) < 0.1, rng.integers(0, 4, len(label)), label)
    now = pd.Series(np.asarray(order)[np.r_[np.arange(4), moved[4:]]], index=people)
    found = matched(before, now, lambda: dict.fromkeys(range(4), "fresh"))
    assert {order[k]: name for k, name in names.items()} == found


def test_a_group_of_other_people_has_a_name_of_its_own():
    before = pd.Series("old", index=["a", "b"])
    now = pd.Series([0, 0, 1, 1, 1, 2], index=list("abcdef"))
    assert matched(before, now, lambda: {0: "new", 1: "old", 2: "old"}) == {0: "old", 1: "old, 2", 2: "old, 3"}


def test_the_share_that_changed():
    """Twenty lovers of beauty products buy ten times as much of something else this week."""
    steady = made(300, 5, end="2026-11-08")
    turning = steady[steady["customer_id"].str.endswith("-0")]
    turning = turning[turning["customer_id"].isin(sorted(turning["customer_id"].unique())[:20])]
    day = pd.Timestamp("2026-11-12 12:00")
    new = pd.concat([turning] * 10).assign(category="fashion", ordered_at=day)
    found = personas(pd.concat([steady, new]), LAST, most=3)
    assert found.number == 3
    before = personas(steady, "2026-11-08", most=3)
    truly = int((found.members[before.members.index] != before.members).sum())
    assert found.shared == len(before.members)
    assert 20 <= found.changed <= 24
    assert found.changed == truly
    assert found.changed_lower < found.changed / found.shared < found.changed_upper
    assert set(found.table.index) == set(before.table.index)
    assert found.change_sentence.startswith("Of the 300 customers of the week before, ")


def test_value_per_persona(found):
    value = pd.Series(np.where(truth(found) == "0", 100.0, 10.0), index=found.members.index)
    value += np.arange(len(value)) % 7
    table = personas(made(), LAST, value=value.iloc[::-1]).table
    np.testing.assert_allclose(table["value"], value.groupby(found.members).mean()[table.index])
    assert (table["value_lower"] < table["value"]).all()
    assert (table["value"] < table["value_upper"]).all()
    assert {"value", "value_lower", "value_upper"}.isdisjoint(found.table)


def test_what_does_not_repeat_or_vary_has_no_part():
    orders = made(240, 2, coupons=(0.3, 0.3, 0.3))
    span = (pd.Timestamp("2025-11-16").date(), pd.Timestamp("2026-11-16").date())

    def factor(frame, categories=KINDS):
        habits = read_habits(as_table(frame, "orders"), span, categories)
        return space_of(habits, habits.learners(3)).factor

    assert factor(orders)["category"] > 0
    assert factor(orders).get("discounted", 0) < 0.5  # against 2 and more where coupons are a habit
    assert factor(made(240, 2, coupons=(0.0, 0.0, 1.0)))["discounted"] > 1
    alike = orders.assign(category="beauty", amount=5.0, coupon_id=None, ordered_at=pd.Timestamp("2026-11-01"))
    assert factor(alike) == {}
    assert personas(alike, LAST).reason == "No personas: customers do not differ in anything that repeats"


def test_orders_that_tell_little():
    orders = made()
    bare = orders[["customer_id", "ordered_at", "amount"]]
    result = personas(bare, LAST)
    assert result.number == 1
    assert result.shares.empty or not len(result.shares.columns)
    holes = orders.assign(
        category=orders["category"].where(orders.index % 9 > 0), amount=orders["amount"].where(orders.index % 10 > 0)
    )
    found = personas(holes, LAST)
    assert adjusted_rand_score(truth(found), found.members) > 0.7
    with pytest.raises(EmptyDataError, match="nobody bought"):
        personas(orders, "2020-01-05")


def test_too_few_customers():
    found = personas(made(5), LAST)
    assert found.reason == "No personas: only 5 customers have 3 orders or more, and at least 60 are needed"
    assert np.isnan(found.changed_share)
    assert found.change_sentence == "The week before had too few customers to tell who changed persona."
    one = personas(made(100).assign(customer_id="a"), LAST)
    assert one.table["customers"].tolist() == [1]


def test_parameters():
    orders = made(5)
    for wrong in ({"weeks": 0}, {"most": 1}, {"min_orders": 1}, {"enough": 0}, {"level": 1}):
        with pytest.raises(ParameterError):
            personas(orders, LAST, **wrong)
    with pytest.raises(ParameterError, match="one number per customer_id"):
        personas(orders, LAST, value=pd.Series([1.0, 2.0], index=["a", "a"]))
    with pytest.raises(ParameterError, match="none of its customers"):
        personas(orders, LAST, value=pd.Series([1.0], index=["nobody"]))


SAMPLE = ("appliances, home", "beauty, skincare", "fashion, shoes and bags", "snacks, home")
LIKELY = {  # of truth.json: categories of which each planted persona buys most
    "appliances": "appliances", "beauty": "beauty", "fashion": "fashion", "value": "snacks",
}  # fmt: skip


def test_the_sample_shop_has_the_four_that_were_planted(sample_shop, sample):
    """Shares of categories, as truth.json has them, and names that last from week to week."""
    orders = sample_shop.table("orders")
    found, later = (personas(orders, day) for day in ("2026-11-08", LAST))
    assert set(later.table.index) == set(found.table.index) == set(SAMPLE)
    assert later.changed_share < 0.05
    planted = json.loads((sample / "truth.json").read_text(encoding="utf-8"))["parameters"]["personas"]
    for name, category in LIKELY.items():
        persona = next(row for row in SAMPLE if row.startswith(category))
        ours, theirs = later.shares.loc[persona], pd.Series(planted["categories"][name])[later.shares.columns]
        # companions of the product bought before dilute what is chosen freely
        assert np.abs(ours - theirs).sum() / 2 < 0.2, name
    coupons = later.table["discount_share"]
    assert coupons.idxmax() == "snacks, home"
    assert later.table["basket"].idxmax() == "appliances, home"
    assert later.table["basket"].idxmin() == "snacks, home"


def test_the_figure_draws_what_its_twin_says(found):
    data = personas_data(found)
    assert data.index.tolist() == [*found.table.index, "everybody"]
    ax = plot_personas(found, title="Claim")
    drawn = ax.collections[0].get_array().reshape(data.shape)
    np.testing.assert_allclose(drawn, data)
    with pytest.raises(EmptyDataError, match="No personas: only 5"):
        personas_data(personas(made(5), LAST))
    uncategorised = replace(found, shares=found.shares.iloc[:, :0])
    with pytest.raises(EmptyDataError, match="no category"):
        personas_data(uncategorised)
