"""What past forecasts missed: hand arithmetic, intervals that hold the next one, and the shops that asked for it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import clvlib as clv
from clvlib.clv.misses import USUAL, misses, model_error
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.scores import poisson_tail
from clvlib.clv.trials import Trial, _Forecast
from clvlib.clv.valuation import CustomerValue
from clvlib.clv.value import LifetimeValue
from clvlib.data.datasets import cdnow
from clvlib.errors import ParameterError
from tests.clv.real_shops import parts, real, valued
from tests.clv.young_shops import TRUTHS, drawn

DAY = dt.date(2026, 3, 1)


def trial(day: dt.date, mean: list[float], came: list[float], spend: list[float] | None = None) -> Trial:
    """A forecast of purchases at a spend of 10 each, and the money that came."""
    case = np.arange(len(mean))
    each = None if spend is None else np.array(spend)
    forecast = _Forecast(np.array(mean), poisson_tail(np.array(mean)), case, each, 4, converged=True)
    actual = np.array(came) if spend is None else np.array(came) / 10
    return Trial(day, {}, None, {"model": forecast}, actual.astype(int), np.array(came), case)


def integral(missed: list[float], chance: list[float], apart: float) -> float:
    """The root of the posterior mean of σ² by adaptive quadrature, the normal and half normal densities by scipy."""

    def density(sigma: float) -> float:
        each = stats.norm.logpdf(missed, 0, np.sqrt(sigma**2 + np.array(chance)))
        return float(np.exp(each.mean() * apart) * stats.halfnorm.pdf(sigma, scale=0.2))

    whole, square = (integrate.quad(lambda x, k=k: x**k * density(x), 0, 1, limit=200)[0] for k in (0, 2))
    return float(np.sqrt(square / whole))


def test_misses_by_hand():
    """60 against 75, and 80 against 40, six weeks apart, each twelve weeks ahead."""
    found = misses(
        [
            trial(DAY, [1.0, 2.0, 3.0], [0.0, 30.0, 45.0], [10.0, 10.0, 10.0]),
            trial(DAY + dt.timedelta(weeks=6), [3.0, 2.0, 3.0], [40.0, 0.0, 0.0], [10.0, 10.0, 10.0]),
            trial(DAY + dt.timedelta(weeks=7), [3.0, 2.0, 3.0], [0.0, 0.0, 0.0], [10.0, 10.0, 10.0]),  # tells no ratio
        ],
        "model",
        84,
    )
    assert found[:3] == (2, 1, pytest.approx(140 / 115 - 1))
    assert found.days == 84
    assert found.apart == pytest.approx(1.5)  # six weeks more than the first twelve
    # chance: (10² + 10² + 15²)/60² and (10² + 20² + 30²)/80²; log 75/60 = .22314, log 40/80 = −.69315
    assert found.error == pytest.approx(integral([0.22314, -0.69315], [425 / 3600, 1400 / 6400], 1.5), rel=1e-4)
    assert "Over 12 weeks" in found.sentence
    assert "21.7% too high on average, and too high on 1 of 2 past days" in found.sentence
    assert "10.0% too low" in found._replace(bias=-0.1).sentence
    counted = misses(
        [trial(DAY, [1.0, 2.0], [2, 4])], "model", 7
    )  # without money, purchases are held against purchases
    assert (counted.bias, counted.apart) == (pytest.approx(-0.5), 1.0)
    assert misses([trial(DAY, [1.0], [0.0], [10.0])], "model", 84) is None


errors = st.lists(st.floats(-0.6, 0.6), min_size=1, max_size=5)


@settings(max_examples=30)
@given(errors, st.floats(0.001, 0.1), st.floats(0.5, 5), st.floats(1, 2))
def test_an_error_is_what_the_misses_tell_and_no_more(missed: list[float], chance: float, apart: float, times: float):
    by_chance = np.full(len(missed), chance)
    found = model_error(missed, by_chance, apart)
    assert 0 < found < 5 * USUAL
    assert found == pytest.approx(model_error(np.negative(missed[::-1]), by_chance, apart))
    assert found == pytest.approx(model_error(missed * 3, np.tile(by_chance, 3), apart))  # the same, told thrice
    assert found <= model_error(np.multiply(missed, times), by_chance, apart) + 1e-12
    assert found == pytest.approx(integral(missed, [chance] * len(missed), apart), rel=2e-3)


def test_without_a_record_it_is_what_is_usual_and_with_a_long_one_what_was_seen():
    assert model_error([], [], 0) == pytest.approx(USUAL, rel=0.003)
    rng = np.random.default_rng(4)
    for model in (0.05, 0.15, 0.3):
        missed = rng.normal(0, np.hypot(model, 0.05), 400)
        assert model_error(missed, np.full(400, 0.05**2), 400) == pytest.approx(model, rel=0.1)


@pytest.mark.parametrize(
    ("model", "least", "most"), [(0.0, 0.95, 1), (0.1, 0.88, 1), (0.2, 0.8, 0.95), (0.3, 0.75, 0.9)]
)
def test_intervals_hold_the_next_forecast_where_the_model_errs(model: float, least: float, most: float):
    """Three forecasts off by chance (0.1) and by the model; the fourth by estimation (0.1) too. Nominally 90%."""
    rng, held, alone = np.random.default_rng(3), 0, 0
    for _ in range(2000):
        errors = rng.normal(0, np.hypot(0.1, model), 4)
        own = np.hypot(0.1, 0.1)
        spread = np.hypot(own, model_error(errors[:3], np.full(3, 0.01), 3))
        last = errors[3] + rng.normal(0, 0.1)
        held += abs(last) < 1.645 * spread
        alone += abs(last) < 1.645 * own
    assert least < held / 2000 < most
    assert model < 0.2 or held > alone + 200


@pytest.fixture(scope="module")
def shop():
    return clv.connect({"orders": cdnow(sample=True)}, mapping="cdnow")


def test_the_value_of_the_base_holds_what_forecasts_missed(shop):
    """A gamma distribution with the variances of chance, of the estimates and of the model's error."""
    base = shop.customer_summary("1997-09-30", unit="W", collapse="D")
    value = LifetimeValue(BetaGeoModel().fit(base), GammaGammaModel().fit(base), annual_rate=0.0)
    parts_ = value.parts(base, 39)
    chance = value.sums(parts_, 0.9, uncertainty="customer").iloc[0]
    plain = value.sums(parts_, 0.9)
    found = value.sums(parts_, 0.9, model_error=0.3).iloc[0]
    grid = np.linspace(1, 400, 4000)
    known = plain.iloc[0]["upper"] / plain.iloc[0]["mean"]
    shape = grid[np.argmin(np.abs(stats.gamma.ppf(0.95, grid) / grid - known))]
    shape = 1 / (1 / shape + 0.09)
    assert found["upper"] / found["mean"] == pytest.approx(stats.gamma.ppf(0.95, shape) / shape, rel=2e-3)
    assert found["lower"] / found["mean"] == pytest.approx(stats.gamma.ppf(0.05, shape) / shape, rel=2e-3)
    assert value.sums(parts_, 0.9, model_error=0.0).equals(plain)
    assert value.sums(parts_, 0.9, uncertainty="customer", model_error=0.3).iloc[0].equals(chance)


def test_the_backtest_of_the_base_is_what_its_interval_holds(shop):
    study = CustomerValue(dropout_prior=None)
    base = study.of(shop, "1998-06-28")
    row = study.choose(shop, "1998-06-28").table.loc[type(base.purchases).__name__]
    assert base.misses.bias == pytest.approx(row["money_bias"])
    assert base.misses.origins == 4
    alone = LifetimeValue(base.purchases, base.spend, study.margin, study.annual_rate, unit="W").total(base.table, 52)
    assert base.lower < alone["lower"].iloc[0] < base.value < alone["upper"].iloc[0] < base.upper
    assert base.model_error == base.misses.error
    plain = CustomerValue(model="BetaGeoModel").of(shop, "1998-06-28")
    assert (plain.misses, plain.model_error) == (None, USUAL)


def test_a_grocers_base_lies_in_the_interval():
    """All models over-forecast its second year: FINDINGS of BTYDplus, whose data it is."""
    rows = valued(next(parts(real("grocery"), 1525, 1)), (52,), (52,))
    assert (rows["error"] > 0.1).all()
    assert not rows["estimates alone"].any()
    assert rows["model error too"].all()


# ---- the prior of dropout


def test_the_prior_is_weak_and_can_be_had_without(shop):
    plain = CustomerValue(model="BetaGeoModel", dropout_prior=None).of(shop, "1997-09-30").purchases
    assert plain.log_likelihood_ == pytest.approx(-9582.429, abs=5e-4)  # Fader, Hardie & Lee 2005
    for name, letters in (
        ("BetaGeoModel", "ab"),
        ("ModifiedBetaGeoModel", "ab"),
        ("ParetoNBDModel", "s"),
        ("NBDModel", ""),
    ):
        model = CustomerValue(model=name).of(shop, "1997-09-30").purchases
        assert (model.prior or {}) == dict.fromkeys(letters, (1.0, 1.5))
    model = CustomerValue(model="BetaGeoModel").of(shop, "1997-09-30").purchases
    known = shop.customer_summary("1997-09-30", unit="W", collapse="D")
    assert model.expected_purchases(known, 39).sum() == pytest.approx(1653.4, rel=0.005)
    assert (np.log(model.params_ / plain.params_).abs() < 0.15 * plain.standard_errors_ / plain.params_).all()
    with pytest.raises(ParameterError, match="dropout_prior"):
        CustomerValue(dropout_prior=0.0)


def test_the_prior_fades_as_customers_come(shop):
    known = shop.customer_summary("1997-09-30", unit="W", collapse="D")
    study, apart = CustomerValue(), []
    for times in (1, 16, 256):
        frame = known.assign(n=float(times))
        held = study.fitted(frame, BetaGeoModel).purchases.params_
        apart.append(np.log(held / BetaGeoModel().fit(frame).params_)["a"])
    assert apart[1] / apart[0] == pytest.approx(1 / 16, rel=0.1)
    assert apart[2] / apart[1] == pytest.approx(1 / 16, rel=0.1)


@pytest.mark.parametrize("truth", ["CDNOW (2005)", "few leave"])
def test_the_prior_betters_forecasts_of_thin_shops(truth: str):
    """Of 500 customers within 16 weeks no fit is lost at a border, and values are nearer to the truth."""
    found = drawn(TRUTHS[truth], 500, 16, 60, seed=2)
    plain, held = (found[found["prior"] == prior] for prior in (False, True))
    assert held["converged"].all()
    assert plain["converged"].mean() < 0.9
    assert (held["error"] ** 2).mean() < 0.8 * (plain["error"] ** 2).mean()
    assert held["inside"].mean() > 0.8
