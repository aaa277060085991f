"""Lifetime value: its mean, its unit, and whether its intervals hold what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.dependent_gamma_gamma import DependentGammaGammaModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.value import LifetimeValue
from clvlib.errors import ParameterError, UnitMismatchError

BG = {"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5}
GG = {"p": 6.0, "q": 4.0, "gamma": 15.0}


def fitted(frame: pd.DataFrame, **arguments) -> LifetimeValue:
    return LifetimeValue(BetaGeoModel().fit(frame), GammaGammaModel().fit(frame), **arguments)


@pytest.fixture(scope="module")
def value(cdnow) -> LifetimeValue:
    return fitted(cdnow, margin=0.3, annual_rate=0.15)


def test_mean_is_purchases_times_spend_times_margin_discounted(value, cdnow):
    rate = np.log(1.15) / (365.25 / 7)
    purchases = value.purchases.discounted_expected_purchases(cdnow, rate, 52)
    expected = 0.3 * purchases * value.spend.expected_spend(cdnow)
    table = value.predict(cdnow, 52)
    np.testing.assert_allclose(table["mean"], expected)
    np.testing.assert_allclose(value.predict(cdnow, 52, None), expected)
    total = value.total(cdnow, 52)
    assert total.loc["all", "mean"] == pytest.approx(expected.sum())
    assert total.loc["all", "customers"] == 2357
    assert value.predict(cdnow, None, None).sum() > expected.sum()


def test_a_new_customer_is_worth_what_new_customers_buy(value):
    """Undiscounted: E[X(t)], whose integral is published (1.444 in 52 weeks), times the mean of spend."""
    free = LifetimeValue(value.purchases, value.spend, annual_rate=0.0)
    p, q, gamma = value.spend.params_
    assert free.new_customer(52)["mean"] == pytest.approx(1.444 * p * gamma / (q - 1), rel=5e-4)
    row = value.new_customer(None)
    assert 0 == row["lower"] < row["mean"] < row["upper"]


def test_groups_add_up(value, cdnow):
    half = pd.Series(np.where(cdnow["frequency"] > 0, "repeat", "once"), index=cdnow.index)
    table = value.total(cdnow, 52, by=half)
    assert list(table.index) == ["once", "repeat"]
    assert table["mean"].sum() == pytest.approx(value.total(cdnow, 52).loc["all", "mean"])
    with pytest.raises(ParameterError, match="no group"):
        value.total(cdnow, 52, by=half.iloc[:5])


def test_the_annual_rate_means_the_same_in_every_unit(value, cdnow):
    days = cdnow.assign(recency=cdnow["recency"] * 7, T=cdnow["T"] * 7)
    days.attrs["clvlib"] = {"unit": "D"}
    other = fitted(days, margin=0.3, annual_rate=0.15)
    pd.testing.assert_frame_equal(other.predict(days, 52 * 7), value.predict(cdnow, 52), rtol=1e-5, atol=1e-6)
    with pytest.raises(UnitMismatchError):
        value.predict(days, 52)
    bare = cdnow.copy()
    bare.attrs = {}
    model = BetaGeoModel().fit(bare)
    with pytest.raises(ParameterError, match="time unit"):
        LifetimeValue(model, value.spend).predict(bare, 52)
    assert LifetimeValue(model, value.spend, unit="W").predict(bare, 52, None).sum() > 0


@pytest.mark.parametrize("bad", [{"margin": 0}, {"margin": 2}, *({"annual_rate": r} for r in (-0.1, 15, np.nan))])
def test_bad_arguments(value, bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        LifetimeValue(value.purchases, value.spend, **bad)


def test_models_that_change_places_are_told_apart(value):
    with pytest.raises(ParameterError, match="purchases is a PurchaseModel; found GammaGammaModel"):
        LifetimeValue(value.spend, value.purchases)
    with pytest.raises(ParameterError, match="spend is a GammaGammaModel; found NoneType"):
        LifetimeValue(value.purchases, None)


@pytest.mark.parametrize("d", [1.0, 1.3])
def test_a_customers_interval_agrees_with_simulation(d):
    """Given the parameters: of one history, drawn 40,000 times, the share below each limit is what the limit says."""
    model = BetaGeoModel.with_parameters(BG, unit="W")
    spend = DependentGammaGammaModel.with_parameters(GG | {"d": d}) if d > 1 else GammaGammaModel.with_parameters(GG)
    value = LifetimeValue(model, spend, annual_rate=0.0)
    rng = np.random.default_rng(2)
    for x, t_x, m in [(0, 0.0, 0.0), (3, 25.0, 40.0), (40, 29.0, 9.0)]:
        frame = pd.DataFrame({"frequency": [x], "recency": t_x, "T": 30.0, "monetary_value": m}, index=["c"])
        many = frame.loc[["c"] * 40000].reset_index(drop=True)
        later = model.simulate_future(many, 52, rng).to_numpy()
        scale = GG["gamma"] * d ** np.log2(max(x, 1)) + x * m
        nu = rng.gamma(GG["q"] + GG["p"] * x, 1 / scale, len(later))
        spent = np.where(later > 0, rng.gamma(np.maximum(GG["p"] * later, 1e-9), 1 / nu), 0.0)
        table = value.predict(frame, 52, 0.9, uncertainty="customer").iloc[0]
        assert spent.mean() == pytest.approx(table["mean"], abs=5 * spent.std() / 200)
        assert (spent <= table["upper"]).mean() == pytest.approx(0.95, abs=0.006)
        assert (spent <= table["lower"]).mean() == pytest.approx(max(0.05, (spent == 0).mean()), abs=0.006)
        chance = value.parts(frame, 52).chance[0] * scale**2
        assert np.sqrt(chance) == pytest.approx(spent.std(), rel=0.03)


@pytest.mark.parametrize("level", [0, 1, 1.5, 90, -0.1, float("nan"), "0.9"])
def test_levels_that_are_none(value, cdnow, level):
    model = value.purchases
    for ask in (value.predict, value.total, model.total_purchases, model.total_buyers, model.expected_purchases):
        with pytest.raises(ParameterError, match=r"an interval's level lies between 0 and 1, such as 0\.9; found"):
            ask(cdnow, 52, level)
    with pytest.raises(ParameterError, match=r"such as 0\.9; found"):
        value.new_customer(52, level)
    with pytest.raises(ParameterError, match=r"such as 0\.9; found"):
        model.probability_alive(cdnow, level)


def test_what_an_interval_cannot_hold_and_what_is_no_group(value, cdnow):
    for ask in (value.predict, value.total):
        with pytest.raises(ParameterError, match="'both', 'parameters' or 'customer'; found 'all'"):
            ask(cdnow, 52, uncertainty="all")
    for by in ("frequency", cdnow["frequency"].tolist()):
        with pytest.raises(ParameterError, match=r"by is a pandas\.Series, a group per customer"):
            value.total(cdnow, 52, by=by)
