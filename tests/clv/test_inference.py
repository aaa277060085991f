"""Profiles against another optimiser, the bootstrap against repeated samples, the ratio test against its error rate."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from clvlib.clv.inference import bootstrap_intervals, likelihood_ratio, posterior_draws, profile_intervals
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.errors import ConvergenceWarning, ParameterError


def negative_binomial(x: np.ndarray, T: np.ndarray, r: float, alpha: float) -> float:
    return float(stats.nbinom.logpmf(x, r, alpha / (alpha + T)).sum())


def test_the_profile_of_nbd_is_that_of_scipy():
    rng = np.random.default_rng(1)
    T = rng.integers(10, 40, 300).astype(float)
    x = rng.poisson(rng.gamma(0.8, 1 / 9, 300) * T)
    base = pd.DataFrame({"frequency": x, "recency": np.where(x > 0, T / 2, 0), "T": T})
    table = profile_intervals(NBDModel().fit(base), base, 0.9)

    def best_alpha(r: float) -> float:
        found = optimize.minimize_scalar(
            lambda a: -negative_binomial(x, T, r, np.exp(a)), bounds=(-4, 9), method="bounded"
        )
        return -float(found.fun)

    top = max(best_alpha(r) for r in np.linspace(0.9, 1.1, 5) * table.loc["r", "estimate"])
    for side in ("lower", "upper"):
        assert best_alpha(table.loc["r", side]) == pytest.approx(top - stats.chi2.ppf(0.9, 1) / 2, abs=2e-5)
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()


def test_with_many_customers_profile_and_wald_agree():
    model = BetaGeoModel.with_parameters({"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5}, unit="W")
    base = model.simulate(60_000, 60, 3).round()
    base["recency"] = np.where(base["frequency"] > 0, np.maximum(base["recency"], 1), 0)
    fitted = BetaGeoModel().fit(base)
    profile, wald = profile_intervals(fitted, base), fitted.summary()
    np.testing.assert_allclose(np.log(profile["upper"] / wald["upper"]), 0, atol=4e-3)
    np.testing.assert_allclose(np.log(profile["lower"] / wald["lower"]), 0, atol=4e-3)


def test_a_parameter_held_on_one_side_has_an_open_limit():
    """Counts without more spread than Poisson: r may be anything large."""
    x = np.repeat([0, 1, 2, 3, 4], [37, 37, 18, 6, 2])
    base = pd.DataFrame({"frequency": x, "recency": np.where(x > 0, 5.0, 0.0), "T": 10.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NBDModel().fit(base)
    table = profile_intervals(model, base)
    assert np.isinf(table.loc["r", "upper"])
    assert 0.5 < table.loc["r", "lower"] < 20


def test_bootstrap_spread_is_that_of_repeated_samples():
    truth = NBDModel.with_parameters({"r": 0.8, "alpha": 9.0})
    rng = np.random.default_rng(5)
    fits = np.log([NBDModel().fit(truth.simulate(1500, 30, rng)).params_ for _ in range(150)])
    base = truth.simulate(1500, 30, 7)
    model = NBDModel().fit(base)
    table = bootstrap_intervals(model, base, 0.9, draws=200, seed=1)
    spread = np.log(np.array(table.attrs["draws"])).std(axis=0)
    np.testing.assert_allclose(spread, fits.std(axis=0), rtol=0.25)
    again = bootstrap_intervals(model, base.sample(frac=1, random_state=2), 0.9, draws=200, seed=1)
    pd.testing.assert_frame_equal(table, again)
    cells = base.groupby(list(base.columns)).size().rename("n").reset_index()
    pd.testing.assert_frame_equal(bootstrap_intervals(NBDModel().fit(cells), cells, 0.9, 200, 1), table, rtol=1e-6)


def test_profiles_cover(cdnow):
    """Nominal 90% intervals of r from 200 customers each hold the truth in 83 to 96 of 100 samples (4 errors wide)."""
    truth = NBDModel.with_parameters({"r": 0.8, "alpha": 9.0})
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(200):
        base = truth.simulate(200, 30, rng)
        table = profile_intervals(NBDModel().fit(base), base, 0.9)
        inside += table.loc["r", "lower"] < 0.8 < table.loc["r", "upper"]
    assert 0.83 * 200 <= inside <= 0.96 * 200
    spend = profile_intervals(GammaGammaModel().fit(cdnow), cdnow)
    assert (spend["lower"] < spend["estimate"]).all()


def test_likelihood_ratio(cdnow):
    simple, full = NBDModel().fit(cdnow), ParetoNBDModel().fit(cdnow)
    row = likelihood_ratio(simple, full)
    assert row["freedom"] == 2
    assert row["statistic"] == pytest.approx(2 * (-9594.976 - simple.log_likelihood_), abs=2e-3)  # as published
    assert row["p_value"] == pytest.approx(np.exp(-row["statistic"] / 2))  # χ² with two degrees of freedom
    assert row["aic_gain"] == pytest.approx(simple.aic_ - full.aic_)
    with pytest.raises(ParameterError, match="not nested"):
        likelihood_ratio(full, simple)
    with pytest.raises(ParameterError, match="different summaries"):
        likelihood_ratio(NBDModel().fit(cdnow.iloc[:500]), full)
    with pytest.raises(ParameterError, match="given its parameters"):
        likelihood_ratio(NBDModel.with_parameters({"r": 1.0, "alpha": 9.0}), full)


def test_other_data_are_refused(cdnow):
    model = NBDModel().fit(cdnow)
    with pytest.raises(ParameterError, match="other customers"):
        profile_intervals(model, cdnow.iloc[:500])
    shifted = cdnow.assign(frequency=cdnow["frequency"] * 2)
    with pytest.raises(ParameterError, match="not at its maximum"):
        profile_intervals(model, shifted)
    with pytest.raises(ParameterError, match="take more"):
        bootstrap_intervals(model, cdnow, 0.95, draws=20)


def grid_posterior(x: np.ndarray, T: np.ndarray, prior: dict) -> pd.DataFrame:
    """Mean and quantiles of r and alpha under the posterior on a fine grid of their logs."""
    u, v = np.linspace(-3, 3, 241)[:, None], np.linspace(-1, 6, 281)[None, :]
    log = np.zeros((241, 281))
    for count, span in zip(x, T, strict=True):
        log = log + stats.nbinom.logpmf(count, np.exp(u), np.exp(v) / (np.exp(v) + span))
    for axis, (median, deviation) in zip((u, v), prior.values(), strict=False):
        log = log + stats.norm.logpdf(axis, np.log(median), deviation)
    mass = np.exp(log - log.max())
    mass /= mass.sum()
    rows = {}
    for name, axis, margin in (("r", u.ravel(), mass.sum(axis=1)), ("alpha", v.ravel(), mass.sum(axis=0))):
        cdf = np.cumsum(margin) - margin / 2
        rows[name] = {"mean": margin @ axis} | {q: np.interp(q, cdf, axis) for q in (0.05, 0.5, 0.95)}
    return pd.DataFrame(rows).T


@pytest.mark.parametrize("prior", [{}, {"r": (3.0, 0.4)}])
def test_posterior_draws_are_those_of_a_grid(prior):
    """Few customers, so that the posterior is far from normal."""
    rng = np.random.default_rng(7)
    T = rng.integers(10, 40, 40).astype(float)
    x = rng.poisson(rng.gamma(0.8, 1 / 9, 40) * T)
    base = pd.DataFrame({"frequency": x, "recency": np.where(x > 0, T / 2, 0), "T": T})
    draws = np.log(posterior_draws(NBDModel(prior=prior or None).fit(base), base, 20_000, seed=1))
    truth = grid_posterior(x, T, prior)
    assert draws.attrs["effective"] > 10_000
    for name in ("r", "alpha"):
        error = draws[name].std() / np.sqrt(draws.attrs["effective"])
        assert draws[name].mean() == pytest.approx(truth.loc[name, "mean"], abs=4 * error)
        found = draws[name].quantile([0.05, 0.5, 0.95])
        np.testing.assert_allclose(found, truth.loc[name, [0.05, 0.5, 0.95]].astype(float), atol=8 * error)


def test_a_posterior_needs_what_holds_it():
    frame = pd.DataFrame({"frequency": [0, 1, 2, 3], "recency": [0.0, 5, 8, 9], "T": 10.0, "n": [37, 37, 18, 8]})
    with pytest.warns(ConvergenceWarning):
        loose = NBDModel().fit(frame)
    with pytest.raises(ParameterError, match="prior"):
        posterior_draws(loose, frame)
    held = NBDModel(prior={"r": (2.0, 0.5)}).fit(frame)
    assert held.converged_
    assert np.isfinite(posterior_draws(held, frame, 200)).all(axis=None)
    with pytest.raises(ParameterError, match="other customers"):
        posterior_draws(held, frame.head(2))
    with pytest.raises(ParameterError, match="prior"):
        likelihood_ratio(held, held)
