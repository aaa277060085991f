"""Gamma-Gamma with dependence: it is Gamma-Gamma at d = 1 and, with spend in units of d^log2(x), everywhere else."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

import clvlib as clv
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.errors import ConvergenceWarning
from tests.clv import oracles

PLAIN = {"p": 6.25, "q": 3.74, "gamma": 15.44}


def test_log_likelihood_agrees_with_mpmath():
    cases = list(product((1, 3, 250, 40000), (1e-4, 5.0, 35.0, 9e8)))
    frame = pd.DataFrame(cases, columns=["frequency", "monetary_value"])
    for p, q, gamma, d in [(6.25, 3.74, 15.44, 1.0), (0.2, 0.6, 3.0, 1.4), (900.0, 40.0, 1e-3, 0.2)]:
        model = clv.DependentGammaGammaModel.with_parameters({"p": p, "q": q, "gamma": gamma, "d": d})
        truth = [
            float(oracles.gamma_gamma_log_likelihood(p, q, gamma * d ** oracles.mp.log(x, 2), x, m)) for x, m in cases
        ]
        np.testing.assert_allclose(model.log_likelihood(frame), truth, rtol=1e-9, atol=1e-8)


def test_without_dependence_it_is_gamma_gamma(cdnow):
    plain = GammaGammaModel.with_parameters(PLAIN)
    model = clv.DependentGammaGammaModel.with_parameters({**PLAIN, "d": 1.0})
    pd.testing.assert_series_equal(model.expected_spend(cdnow), plain.expected_spend(cdnow))
    pd.testing.assert_frame_equal(
        model.expected_spend(cdnow, 0.9, "customer"), plain.expected_spend(cdnow, 0.9, "customer")
    )
    assert clv.DependentGammaGammaModel().fit(cdnow).log_likelihood_ > -4055.9177  # note 025, nested


def test_intervals_hold_what_they_say():
    """Customers' true means lie in the interval as often as it says, and their average is the expectation."""
    rng = np.random.default_rng(8)
    n, d = 40_000, 1.3
    x = rng.integers(0, 9, n)
    p, q, gamma = PLAIN.values()
    nu = rng.gamma(q, 1 / (gamma * d ** np.log2(np.maximum(x, 1))))
    own = np.where(x > 0, rng.gamma(np.maximum(p * x, 1e-9), 1 / nu) / np.maximum(x, 1), 0.0)
    frame = pd.DataFrame({"frequency": x, "monetary_value": own})
    model = clv.DependentGammaGammaModel.with_parameters({**PLAIN, "d": d})
    table = model.expected_spend(frame, 0.9, uncertainty="customer")
    truth = p / nu
    for level in (0, 1, 8):
        rows = x == level
        assert ((truth >= table["lower"]) & (truth <= table["upper"]))[rows].mean() == pytest.approx(0.9, abs=0.02)
        error = truth[rows].std() / np.sqrt(rows.sum())
        assert table["mean"][rows].mean() == pytest.approx(truth[rows].mean(), abs=4 * error)


def test_units_of_money_do_not_matter(cdnow):
    euro = clv.DependentGammaGammaModel().fit(cdnow)
    rupiah = clv.DependentGammaGammaModel().fit(cdnow.assign(monetary_value=cdnow["monetary_value"] * 16000))
    np.testing.assert_allclose(rupiah.params_, euro.params_ * [1, 1, 16000, 1], rtol=1e-6)


@pytest.mark.parametrize("x", [1.0, 3.0])
def test_what_cannot_be_learned_is_said(x):
    """Where all bought equally often there is no trend: at x = 1 d does nothing at all, elsewhere it is γ."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"frequency": x, "monetary_value": rng.gamma(6.0, size=200) / rng.gamma(4.0, 1 / 15, 200)})
    with pytest.warns(ConvergenceWarning, match="GammaGammaModel suffices|do not hold"):
        model = clv.DependentGammaGammaModel().fit(frame)
    assert not model.converged_
    assert np.isfinite(model.expected_spend(frame, 0.9).to_numpy()).all()


def test_lifetime_value_takes_it(cdnow):
    """Value under d = 1 is that of Gamma-Gamma; a scale that differs reaches both the mean and the interval."""
    purchases = clv.BetaGeoModel().fit(cdnow)
    few = cdnow.head(40)
    plain, same, more = (
        clv.LifetimeValue(purchases, spend, 0.3, 0.15).predict(few, 52, 0.9, "customer")
        for spend in (
            GammaGammaModel.with_parameters(PLAIN),
            clv.DependentGammaGammaModel.with_parameters({**PLAIN, "d": 1.0}),
            clv.DependentGammaGammaModel.with_parameters({**PLAIN, "d": 1.3}),
        )
    )
    pd.testing.assert_frame_equal(same, plain)
    one, repeat = few["frequency"] == 1, few["frequency"] > 1
    pd.testing.assert_frame_equal(more[one], plain[one])
    assert (more.loc[repeat, ["mean", "upper"]] > plain.loc[repeat, ["mean", "upper"]]).all(axis=None)
    fitted = clv.DependentGammaGammaModel().fit(cdnow)
    total = clv.LifetimeValue(purchases, fitted, 0.3, 0.15).total(cdnow, 52)
    assert np.isfinite(total.to_numpy()).all()
