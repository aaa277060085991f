"""The chapter's object: a base valued, and a forecast checked, on CDNOW and on shops that are too thin."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

import clvlib as clv
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.valuation import CustomerValue
from clvlib.errors import EmptyDataError, ParameterError
from tests.clv.real_shops import real


@pytest.fixture(scope="module")
def shop(orders):
    frame = orders.rename(columns={"date": "ordered_at"})
    return clv.connect({"orders": frame.assign(ordered_at=frame["ordered_at"].dt.strftime("%Y-%m-%d"))})


@pytest.fixture(scope="module")
def study() -> CustomerValue:
    return CustomerValue(horizon=52, margin=0.3, annual_rate=0.15, model="BetaGeoModel", dropout_prior=None)


def test_the_base_is_the_sum_of_its_customers(shop, study):
    base = study.of(shop, "1998-06-28")
    assert base.customers == 2357 == len(base.table)
    assert base.value == pytest.approx(base.table["value"].sum())
    assert base.lower < base.value < base.upper
    assert base.active == pytest.approx(base.table["probability_alive"].sum())
    assert base.active_lower < base.active < base.active_upper <= 2357
    assert base.segments["mean"].sum() == pytest.approx(base.value)
    assert base.segments["share"].sum() == pytest.approx(1)
    assert base.table["value"].is_monotonic_decreasing
    assert 0.1 < base.top(0.1) < base.top(0.5) < base.top(1.0) + 1e-12
    assert np.isfinite(base.table.select_dtypes("number").to_numpy()).all()
    assert study.of(shop, "1998-06-28") is base
    parameters = base.parameters()
    assert parameters["parameter"].tolist() == ["r", "alpha", "a", "b", "p", "q", "gamma"]
    assert "value" in base._repr_html_()


def test_customers_at_risk(shop, study):
    base = study.of(shop, "1998-06-28")
    risky = base.at_risk(0.5)
    assert (risky["frequency"] > 0).all()
    assert risky["probability_alive"].between(0.1, 0.5).all()
    assert risky["loss"].is_monotonic_decreasing
    alive = risky["probability_alive"]
    # a loss is what the customer would be worth if surely alive, less what he is worth
    np.testing.assert_allclose(risky["loss"], risky["value"] / alive - risky["value"])


def test_the_outlook_is_what_the_next_one_grades(shop, study):
    """39 weeks ahead from the published split: 1653.4 expected (Fader, Hardie & Lee 2005), 1,882 came."""
    ahead, later = study.outlook(shop, "1997-09-30", 39), study.outlook(shop, "1998-06-30", 39)
    assert ahead.loc["repeat_purchases", "mean"] == pytest.approx(1653.4, abs=0.05)
    assert later.loc["repeat_purchases", "actual"] == 1882
    _, holdout = shop.calibration_holdout("1997-09-30", "1998-06-30")
    assert later.loc["repeat_buyers", "actual"] == (holdout["frequency_holdout"] > 0).sum()
    money = (holdout["frequency_holdout"] * holdout["monetary_value_holdout"]).sum()
    assert later.loc["repeat_spend", "actual"] == pytest.approx(money)
    assert (ahead["lower"] < ahead["mean"]).all()
    assert (ahead["mean"] < ahead["upper"]).all()
    model = study.of(shop, "1997-09-30").purchases
    known = shop.customer_summary("1997-09-30")
    buyers = (1 - model.count_probability(known, 39.0, 0)).sum()
    assert ahead.loc["repeat_buyers", "mean"] == pytest.approx(buyers)
    alone = model.total_purchases(known, 39.0, study.interval)
    assert ahead.loc["repeat_purchases", "lower"] < alone["lower"]  # weeks differ by more than chance on CDNOW
    assert ahead.loc["repeat_purchases", "upper"] > alone["upper"]
    assert "actual" not in ahead  # the shop is younger than 39 weeks before that


def test_spend_that_depends_on_frequency_may_be_chosen(shop):
    study = CustomerValue(model="BetaGeoModel", spend="DependentGammaGammaModel")
    base = study.of(shop, "1998-06-28")
    assert base.parameters()["parameter"].tolist()[-1] == "d"
    apart = study.independence(shop, "1998-06-28")
    assert apart.dependent.params_["d"] == pytest.approx(base.spend.params_["d"])
    with pytest.raises(ParameterError, match="spend is one of"):
        CustomerValue(spend="nonsense")


@pytest.mark.filterwarnings("ignore::clvlib.errors.ConvergenceWarning")  # Pareto/NBD finds nobody who leaves
def test_within_a_year_customers_leave():
    """Of 600 who bought clothes NBD forecast 28 weeks as well as any, and a year by a quarter and more too high."""
    orders = real("apparel")
    day = dt.date.fromisoformat(orders["ordered_at"].min()) + dt.timedelta(weeks=40)
    shop, study = clv.connect({"orders": orders}), CustomerValue()
    assert study.choose(shop, day).choice == "NBDModel"
    known, later = shop.calibration_holdout(day, day + dt.timedelta(weeks=52), unit="W", collapse="D")
    came = later["frequency_holdout"].sum()
    nbd = study.fitted(known, NBDModel).purchases.expected_purchases(known, 52).sum()
    valued = study.of(shop, day)
    assert nbd > 1.2 * came
    assert type(valued.purchases) is not NBDModel
    assert abs(valued.purchases.expected_purchases(known, 52).sum() / came - 1) < 0.15


def test_the_check_reproduces_the_published_holdout(shop, study):
    check = study.check(shop, "1998-06-30", split="1997-09-30")
    assert check.split == dt.date(1997, 9, 30)
    assert check.purchases.log_likelihood_ == pytest.approx(-9582.429, abs=5e-4)
    assert check.validation.expected == pytest.approx(1653.4, abs=0.05)
    assert check.validation.actual == 1882
    assert check.validation.mae == pytest.approx(0.78545, abs=5e-6)
    assert not check.inside
    assert check.table["actual"].iloc[0] == 1882
    by_weeks = study.check(shop, "1998-06-28", weeks=13)
    assert by_weeks.split == dt.date(1998, 3, 29)
    assert by_weeks.validation.duration == 13
    assert by_weeks.tracking["holdout"].sum() == 13


def test_both_engines_give_the_same_base(shop, study):
    other = CustomerValue(horizon=52, margin=0.3, annual_rate=0.15, engine="lifetimes").of(shop, "1998-06-28")
    base = study.of(shop, "1998-06-28")
    assert other.value == pytest.approx(base.value, rel=1e-4)
    assert other.lower == pytest.approx(base.lower, rel=1e-3)


def thin(rows) -> object:
    return clv.connect({"orders": pd.DataFrame(rows, columns=["customer_id", "ordered_at", "amount"])})


def test_shops_that_are_too_thin_get_a_sentence(study):
    once = thin([("a", "2026-01-05", 10.0), ("b", "2026-01-07", 20.0)])
    with pytest.raises(EmptyDataError, match="bought twice"):
        study.of(once, "2026-01-11")
    with pytest.raises(EmptyDataError, match="weeks of orders"):
        study.check(once, "2026-01-11")
    with pytest.raises(EmptyDataError):
        study.of(once, "2025-01-01")
    late = thin([("a", "2026-01-05", 10.0), ("a", "2026-06-01", 10.0)])
    with pytest.raises(EmptyDataError, match="had bought twice"):
        study.check(late, "2026-06-07")
    with pytest.raises(ParameterError, match="at least one week"):
        study.check(late, "2026-06-07", weeks=0)
