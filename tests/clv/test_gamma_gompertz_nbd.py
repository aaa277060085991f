"""GGom/NBD against the paper, its Pareto/NBD limit, mpmath and simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.models.gamma_gompertz_nbd import GammaGompertzNBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.errors import ConvergenceWarning
from tests.clv import oracles

LETTERS = ("r", "alpha", "b", "s", "beta")
PARAMETERS = [
    (0.55, 10.6, 0.05, 0.6, 2.0),
    (3.0, 90.0, 0.3, 0.5, 400.0),
    (0.5, 5.0, 0.02, 5.0, 0.3),
    (40.0, 90.0, 0.01, 8.0, 4000.0),
    (0.05, 0.2, 0.5, 0.05, 1.0),
]


def frame(histories) -> pd.DataFrame:
    return pd.DataFrame(histories, columns=["frequency", "recency", "T"])


def given(p) -> GammaGompertzNBDModel:
    return GammaGompertzNBDModel.with_parameters(dict(zip(LETTERS, p, strict=True)))


def test_cdnow_is_the_pareto_limit(cdnow):
    """Bemmaor & Glady 2012: LL −9594.98, b → 0, and only β/b = 11.7 identified, the β of Pareto/NBD."""
    with pytest.warns(ConvergenceWarning, match=r"border.*Pareto/NBD \(ParetoNBDModel\) suffices"):
        model = GammaGompertzNBDModel().fit(cdnow)
    assert not model.converged_
    assert model.log_likelihood_ == pytest.approx(-9594.98, abs=5e-3)
    assert model.params_["beta"] / model.params_["b"] == pytest.approx(11.7, abs=0.05)
    pareto = ParetoNBDModel().fit(cdnow)
    np.testing.assert_allclose(model.params_[["r", "alpha", "s"]], pareto.params_[["r", "alpha", "s"]], rtol=1e-4)
    assert model.expected_purchases(cdnow, 39).sum() == pytest.approx(
        pareto.expected_purchases(cdnow, 39).sum(), rel=1e-4
    )


def test_its_limit_is_pareto_nbd(cdnow):
    pareto = ParetoNBDModel.with_parameters({"r": 0.55, "alpha": 10.6, "s": 0.6, "beta": 11.7}, unit="W")
    model = given((0.55, 10.6, 1e-12, 0.6, 11.7e-12))
    np.testing.assert_allclose(model.log_likelihood(cdnow), pareto.log_likelihood(cdnow), rtol=1e-9)
    np.testing.assert_allclose(model.probability_alive(cdnow), pareto.probability_alive(cdnow), rtol=1e-9)
    np.testing.assert_allclose(model.expected_purchases(cdnow, 39), pareto.expected_purchases(cdnow, 39), rtol=1e-9)


@pytest.mark.parametrize("p", PARAMETERS)
def test_likelihood_alive_and_expectation_agree_with_mpmath(p):
    cases = [(0, 0.0, 39.0), (9, 39.0, 39.0), (9, 35.0, 39.0), (170, 0.8, 39.0), (1, 18.0, 900.0), (170, 800.0, 900.0)]
    model, odds = given(p), [oracles.gompertz_odds(*p, *case) for case in cases]
    alive = np.array([1 / (1 + o) for o in odds], dtype=float)
    np.testing.assert_allclose(model.probability_alive(frame(cases)), alive, rtol=1e-8, atol=1e-300)
    r, alpha, b, s, beta = p
    with oracles.mp.workdps(30):
        stays = [
            oracles.mp.loggamma(r + x)
            - oracles.mp.loggamma(r)
            + r * oracles.mp.log(alpha)
            - (r + x) * oracles.mp.log(alpha + T)
            + oracles.mp.log(oracles.gompertz_survival(oracles.mp.mpf(T), b, s, beta))
            for x, _, T in cases
        ]
        truth = [float(stay + oracles.mp.log(1 + o)) for stay, o in zip(stays, odds, strict=True)]
    np.testing.assert_allclose(model.log_likelihood(frame(cases)), truth, rtol=1e-9, atol=1e-9)
    few = cases[::3]
    for horizon in (1.0, 500.0):
        truth = [float(oracles.gompertz_expected(*p, *case, horizon)) for case in few]
        np.testing.assert_allclose(model.expected_purchases(frame(few), horizon), truth, rtol=1e-7, atol=1e-250)


@pytest.mark.parametrize("p", PARAMETERS[:3])
def test_count_probabilities_agree_with_mpmath(p):
    for case in [(0, 0.0, 30.0), (12, 28.0, 30.0)]:
        for n in (1, 7):
            tails = [oracles.gompertz_tail(*p, *case, 26.0, m) for m in (n, n + 1)]
            ours = given(p).count_probability(frame([case]), 26.0, n)[0]
            assert ours == pytest.approx(float(tails[0] - tails[1]), rel=1e-7, abs=1e-12), (case, n)


def test_a_risk_that_grows_with_age_is_seen_where_pareto_nbd_sees_none():
    """Customers drawn by hand: Poisson purchases, Gompertz lifetimes; Pareto/NBD fits worse."""
    rng = np.random.default_rng(8)
    n, truth = 4_000, {"r": 1.5, "alpha": 4.0, "b": 0.15, "s": 0.8, "beta": 12.0}
    T = rng.uniform(20, 60, n)
    eta = rng.gamma(truth["s"], 1 / truth["beta"], n)
    lifetime = np.minimum(np.log1p(rng.exponential(size=n) / eta) / truth["b"], T)
    count = rng.poisson(rng.gamma(truth["r"], 1 / truth["alpha"], n) * lifetime)
    table = frame(
        np.column_stack([count, np.where(count, lifetime * rng.random(n) ** (1 / np.maximum(count, 1)), 0), T])
    )
    model = GammaGompertzNBDModel().fit(table)
    errors = (np.log(model.params_) - np.log(list(truth.values()))) / np.sqrt(np.diag(model._log_covariance))
    assert errors.abs().max() < 3.3
    assert np.mean(lifetime == T) == pytest.approx(model.probability_alive(table).mean(), abs=0.02)
    with pytest.warns(ConvergenceWarning):
        pareto = ParetoNBDModel().fit(table)
    assert model.log_likelihood_ > pareto.log_likelihood_ + 10
