"""Gamma-Gamma against note 025 and against mpmath."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.errors import ConvergenceWarning, EmptyDataError, ThinDataWarning
from tests.clv import oracles


@pytest.fixture(scope="module")
def spend(cdnow) -> GammaGammaModel:
    return GammaGammaModel().fit(cdnow)


def test_note_025(spend, cdnow):
    assert spend.converged_
    assert spend.n_customers_ == 946
    assert spend.mean_spend_ == pytest.approx(35.08, abs=0.005)
    assert spend.log_likelihood_ == pytest.approx(-4055.9177, abs=5e-5)
    for letter, known in {"p": 6.25, "q": 3.74, "gamma": 15.44}.items():
        assert spend.params_[letter] == pytest.approx(known, abs=0.005), letter
    first_ten = [24.65, 18.91, 35.17, 35.17, 35.17, 71.46, 18.91, 35.17, 27.28, 35.17]
    np.testing.assert_allclose(spend.expected_spend(cdnow).head(10), first_ten, atol=0.005)


def test_log_likelihood_agrees_with_mpmath():
    cases = list(product((1, 3, 250, 40000), (1e-4, 5.0, 35.0, 9e8)))
    frame = pd.DataFrame(cases, columns=["frequency", "monetary_value"])
    for p in [(6.25, 3.74, 15.44), (0.2, 0.6, 3.0), (900.0, 40.0, 1e-3), (30.0, 5000.0, 9e5)]:
        model = GammaGammaModel.with_parameters({"p": p[0], "q": p[1], "gamma": p[2]})
        truth = [float(oracles.gamma_gamma_log_likelihood(*p, *case)) for case in cases]
        np.testing.assert_allclose(model.log_likelihood(frame), truth, rtol=1e-9, atol=1e-8)


def test_shrinkage_lies_between_population_and_own_mean(spend, cdnow):
    buyers = cdnow[cdnow["frequency"] > 0]
    expected = spend.expected_spend(buyers)
    p, q, gamma = spend.params_
    population = p * gamma / (q - 1)
    low, high = np.minimum(population, buyers["monetary_value"]), np.maximum(population, buyers["monetary_value"])
    assert (expected >= low - 1e-9).all()
    assert (expected <= high + 1e-9).all()
    # q + p·x − 1 of these is (q − 1) + p·x: the weight of one's own mean grows with x
    weight = p * buyers["frequency"] / (p * buyers["frequency"] + q - 1)
    np.testing.assert_allclose(expected, weight * buyers["monetary_value"] + (1 - weight) * population)


def test_intervals_hold_what_they_say(spend):
    """Customers' true means lie in the "customer" interval as often as it says."""
    rng = np.random.default_rng(8)
    p, q, gamma = spend.params_
    n = 20000
    nu = rng.gamma(q, 1 / gamma, n)
    x = rng.integers(0, 6, n)
    own = np.where(x > 0, rng.gamma(np.maximum(p * x, 1e-9), 1 / nu) / np.maximum(x, 1), 0.0)
    frame = pd.DataFrame({"frequency": x, "monetary_value": own})
    table = spend.expected_spend(frame, 0.9, uncertainty="customer")
    inside = ((p / nu >= table["lower"]) & (p / nu <= table["upper"])).mean()
    assert inside == pytest.approx(0.9, abs=0.01)


def test_a_mean_that_does_not_exist():
    rng = np.random.default_rng(4)
    n = 4000
    nu = rng.gamma(0.8, 1 / 15.0, n)
    x = rng.integers(1, 4, n)
    frame = pd.DataFrame({"frequency": x, "monetary_value": rng.gamma(3.0 * x, 1 / nu) / x})
    model = GammaGammaModel().fit(frame)
    assert model.params_["q"] < 1
    newcomers = pd.DataFrame({"frequency": [0, 5], "monetary_value": [0.0, 40.0]})
    with pytest.warns(ThinDataWarning, match="heavy tail"):
        table = model.expected_spend(newcomers, 0.9)
    assert np.isfinite(table.to_numpy()).all()
    assert table.loc[0, "mean"] == pytest.approx(model.mean_spend_)


def test_units_of_money_do_not_matter(spend, cdnow):
    rupiah = GammaGammaModel().fit(cdnow.assign(monetary_value=cdnow["monetary_value"] * 16000))
    np.testing.assert_allclose(rupiah.params_, spend.params_ * [1, 1, 16000], rtol=1e-6)


def test_nobody_to_learn_from():
    with pytest.raises(EmptyDataError, match="repeat buyers"):
        GammaGammaModel().fit(pd.DataFrame({"frequency": [0, 2], "monetary_value": [0.0, 0.0]}))


@pytest.mark.parametrize(
    "rows",
    [[(2, 10.0)], [(2, 10.0)] * 30, [(1, 10.0), (1, 10.0), (40000, 12.0)], [(3, float(m)) for m in range(1, 40)]],
    ids=["one", "identical", "enormous", "even"],
)
def test_hard_data_end_in_figures(rows):
    frame = pd.DataFrame(rows, columns=["frequency", "monetary_value"])
    try:
        model = GammaGammaModel().fit(frame)
    except ConvergenceWarning:
        with pytest.warns(ConvergenceWarning, match=r"suffices|do not hold"):
            model = GammaGammaModel().fit(frame)
        assert not model.converged_
    assert np.isfinite(model.expected_spend(frame, 0.9).to_numpy()).all()


def test_simulated_spend_has_the_moments_of_theory_and_gives_its_parameters_back():
    truth = {"p": 6.0, "q": 5.0, "gamma": 15.0}
    x = pd.Series(np.tile([0, 1, 2, 5], 15_000), index=[f"c{i}" for i in range(60_000)])
    frame = GammaGammaModel.with_parameters(truth).simulate(x, seed=3)
    assert (frame["monetary_value"][x == 0] == 0).all()
    for count in (1, 5):  # E[m] = pγ/(q − 1), Var[m] = E[Var] + Var[E]
        m = frame["monetary_value"][x == count]
        mean, square = 6 * 15 / 4, 15**2 / (4 * 3)
        variance = 6 * square / count + 36 * (square - (15 / 4) ** 2)
        assert m.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / len(m)))
        assert m.var() == pytest.approx(variance, rel=0.15)
    model = GammaGammaModel().fit(frame)
    errors = (np.log(model.params_) - np.log(pd.Series(truth))) / np.sqrt(np.diag(model._log_covariance))
    assert errors.abs().max() < 3.3
