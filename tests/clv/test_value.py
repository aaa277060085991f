"""Lifetime value: its mean, its unit, and whether its intervals hold what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.value import LifetimeValue
from clvlib.errors import ParameterError, UnitMismatchError

BG = {"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5}
GG = {"p": 6.0, "q": 4.0, "gamma": 15.0}


def draw(n: int, seed: int, horizon: float) -> tuple[pd.DataFrame, np.ndarray]:
    """Customers with histories, and what each then spends within the horizon, undiscounted."""
    rng = np.random.default_rng(seed)
    model = BetaGeoModel.with_parameters(BG, unit="W")
    frame = model.simulate(n, rng.integers(10, 45, n), rng)
    x = frame["frequency"].to_numpy()
    nu = rng.gamma(GG["q"], 1 / GG["gamma"], n)
    frame["monetary_value"] = np.where(x > 0, rng.gamma(np.maximum(GG["p"] * x, 1e-9), 1 / nu) / np.maximum(x, 1), 0.0)
    later = model.simulate_future(frame, horizon, rng).to_numpy()
    spent = np.where(later > 0, rng.gamma(np.maximum(GG["p"] * later, 1e-9), 1 / nu), 0.0)
    return frame, spent


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


@pytest.mark.parametrize("bad", [{"margin": 0}, {"margin": 2}, {"annual_rate": -0.1}, {"annual_rate": np.nan}])
def test_bad_arguments(value, bad):
    with pytest.raises(ParameterError):
        LifetimeValue(value.purchases, value.spend, **bad)


def test_a_customers_interval_agrees_with_simulation():
    """Given the parameters: of one history, drawn 40,000 times, the share below each limit is what the limit says."""
    model, spend = BetaGeoModel.with_parameters(BG, unit="W"), GammaGammaModel.with_parameters(GG)
    value = LifetimeValue(model, spend, annual_rate=0.0)
    rng = np.random.default_rng(2)
    for x, t_x, m in [(0, 0.0, 0.0), (3, 25.0, 40.0), (40, 29.0, 9.0)]:
        frame = pd.DataFrame({"frequency": [x], "recency": t_x, "T": 30.0, "monetary_value": m}, index=["c"])
        many = frame.loc[["c"] * 40000].reset_index(drop=True)
        later = model.simulate_future(many, 52, rng).to_numpy()
        nu = rng.gamma(GG["q"] + GG["p"] * x, 1 / (GG["gamma"] + x * m), len(later))
        spent = np.where(later > 0, rng.gamma(np.maximum(GG["p"] * later, 1e-9), 1 / nu), 0.0)
        table = value.predict(frame, 52, 0.9, uncertainty="customer").iloc[0]
        assert spent.mean() == pytest.approx(table["mean"], abs=5 * spent.std() / 200)
        assert (spent <= table["upper"]).mean() == pytest.approx(0.95, abs=0.006)
        assert (spent <= table["lower"]).mean() == pytest.approx(max(0.05, (spent == 0).mean()), abs=0.006)
        chance = value._chance(value._parts(frame, 52))[0] * (GG["gamma"] + x * m) ** 2
        assert np.sqrt(chance) == pytest.approx(spent.std(), rel=0.03)


def test_customers_intervals_cover_what_they_then_spend():
    """Nominal 90%: at least 88% of customers; mass at zero makes some intervals certain, so more is no fault."""
    frame, spent = draw(6000, 3, 26.0)
    table = fitted(frame, annual_rate=0.0).predict(frame, 26.0)
    assert ((spent >= table["lower"]) & (spent <= table["upper"])).mean() > 0.88
    assert (spent > table["upper"]).mean() < 0.06


@pytest.mark.slow
def test_totals_are_covered_nine_times_in_ten():
    """Nominal 90% for the whole base: fit, forecast, and compare with what customers then spend, 200 times."""
    inside = 0
    for seed in range(200):
        frame, spent = draw(1200, 1000 + seed, 26.0)
        total = fitted(frame, annual_rate=0.0).total(frame, 26.0).loc["all"]
        inside += total["lower"] <= spent.sum() <= total["upper"]
    assert 0.85 <= inside / 200 <= 0.95  # 0.9 ± 2.3 standard errors of 200 trials


@pytest.mark.slow
def test_total_purchases_are_covered_nine_times_in_ten():
    inside = 0
    truth = BetaGeoModel.with_parameters(BG, unit="W")
    for seed in range(200):
        frame, rng = truth.simulate(1200, 30.0, 500 + seed), np.random.default_rng(seed)
        total = BetaGeoModel().fit(frame).total_purchases(frame, 26.0)
        inside += total["lower"] <= truth.simulate_future(frame, 26.0, rng).sum() <= total["upper"]
    assert 0.85 <= inside / 200 <= 0.95
