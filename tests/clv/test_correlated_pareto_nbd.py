"""Pareto/NBD with correlated processes against CLVTools' figure, the plain model, integration and simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special

from clvlib.clv.inference import likelihood_ratio
from clvlib.clv.models.correlated_pareto_nbd import CorrelatedParetoNBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.errors import ConvergenceWarning

LETTERS = ("r", "alpha", "s", "beta", "kappa")
HISTORIES = [(0, 0.0, 30.0), (2, 9.0, 30.0), (5, 28.0, 30.0), (12, 30.0, 30.0)]


def given(p, kernel_time=None) -> CorrelatedParetoNBDModel:
    return CorrelatedParetoNBDModel.with_parameters(dict(zip(LETTERS, p, strict=True)), kernel_time=kernel_time)


def frame(histories) -> pd.DataFrame:
    return pd.DataFrame(histories, columns=["frequency", "recency", "T"])


def joint(p, kernel_time, points=100):
    """Nodes λ, μ and weights of the joint density: a product rule for the two gammas, tilted by Sarmanov's factor."""
    r, alpha, s, beta, kappa = p
    (u, v), (wu, wv) = zip(*(special.roots_genlaguerre(points, shape - 1) for shape in (r, s)), strict=True)
    one, other = (1.0, 1.0) if kernel_time is None else (kernel_time / alpha, kernel_time / beta)
    a, b = (1 + one) ** -r, (1 + other) ** -s
    upper, lower = 1 / max(a * (1 - b), b * (1 - a)), 1 / max(a * b, (1 - a) * (1 - b))
    m = (kappa - 1) / (kappa / upper + 1 / lower)
    factor = 1 + m * np.outer(np.exp(-one * u) - a, np.exp(-other * v) - b)
    weight = np.outer(wu / special.gamma(r), wv / special.gamma(s)) * factor
    return (u / alpha)[:, None], (v / beta)[None, :], weight


def test_clvtools_figure_and_that_it_lies_at_the_limit_of_its_family(cdnow):
    """CLVTools 0.12: r .5432 α 10.100 s .5088 β 9.179 cor .0861, LL −9591.766: nearly the largest m that there is."""
    model = given((0.5432, 10.1, 0.5088, 9.179, 1e12), kernel_time=1.0)
    assert model.log_likelihood(cdnow).sum() == pytest.approx(-9591.766, abs=1e-3)  # m of four digits, limit of all
    assert model.correlation() == pytest.approx(0.0861, abs=5e-5)


def test_cdnow_asks_for_more_dependence_than_that(cdnow):
    with pytest.warns(ConvergenceWarning, match="limit"):
        model = CorrelatedParetoNBDModel().fit(cdnow)
    assert model.log_likelihood_ > -9591.766 + 5
    assert 0.2 < model.correlation() < 0.35
    test = likelihood_ratio(ParetoNBDModel().fit(cdnow), model)
    assert test["statistic"] == pytest.approx(2 * (model.log_likelihood_ + 9594.976), abs=2e-3)
    assert test["p_value"] < 1e-4


@pytest.mark.parametrize("kernel_time", [None, 1.0])
def test_kappa_1_is_the_plain_model(cdnow, kernel_time):
    p = (0.5533, 10.578, 0.6061, 11.669)
    plain = ParetoNBDModel.with_parameters(dict(zip(LETTERS, p, strict=False)))
    model = given((*p, 1.0), kernel_time)
    assert model.correlation() == 0
    for name, arguments in [("log_likelihood", ()), ("probability_alive", ()), ("expected_purchases", (39,))]:
        theirs = getattr(plain, name)(cdnow, *arguments)
        np.testing.assert_allclose(getattr(model, name)(cdnow, *arguments), theirs, rtol=1e-12)


@pytest.mark.parametrize("kernel_time", [None, 4.0])
@pytest.mark.parametrize("kappa", [0.05, 20.0])
def test_everything_agrees_with_integration_over_both_rates(kernel_time, kappa):
    p = (2.0, 20.0, 2.0, 60.0, kappa)
    rate, leaving, weight = joint(p, kernel_time)
    model, both = given(p, kernel_time), rate + leaving
    assert weight.sum() == pytest.approx(1, rel=1e-12)
    moments = [float((weight * f).sum()) for f in (rate, leaving, rate * leaving, rate**2, leaving**2)]
    deviation = np.sqrt((moments[3] - moments[0] ** 2) * (moments[4] - moments[1] ** 2))
    assert model.correlation() == pytest.approx((moments[2] - moments[0] * moments[1]) / deviation, rel=1e-9)
    likelihood, alive, expected = [], [], []
    for x, t_x, T in HISTORIES:
        there = weight * rate**x * np.exp(-both * T)
        left = weight * rate**x * leaving / both * (np.exp(-both * t_x) - np.exp(-both * T))
        likelihood.append(np.log((there + left).sum()))
        alive.append(there.sum() / (there + left).sum())
        expected.append((there * rate * -np.expm1(-leaving * 26) / leaving).sum() / (there + left).sum())
    table = frame(HISTORIES)
    np.testing.assert_allclose(model.log_likelihood(table), likelihood, rtol=1e-8)
    np.testing.assert_allclose(model.probability_alive(table), alive, rtol=1e-7)
    np.testing.assert_allclose(model.expected_purchases(table, 26), expected, rtol=1e-7)


def test_dependence_drawn_by_hand_is_found():
    """Rates resampled from two independent gammas by Sarmanov's factor; then purchases and lifetimes."""
    rng = np.random.default_rng(2)
    n, p = 1500, (2.0, 1.5, 1.5, 25.0, 0.4)
    rate, leaving = rng.gamma(p[0], 1 / p[1], 20 * n), rng.gamma(p[2], 1 / p[3], 20 * n)
    a, b = 2 ** -p[0], 2 ** -p[2]
    upper, lower = max(a * (1 - b), b * (1 - a)), max(a * b, (1 - a) * (1 - b))
    factor = 1 + (p[4] - 1) / (p[4] * upper + lower) * (np.exp(-p[1] * rate) - a) * (np.exp(-p[3] * leaving) - b)
    chosen = rng.choice(20 * n, n, p=factor / factor.sum())
    rate, leaving = rate[chosen], leaving[chosen]
    T = rng.uniform(30, 80, n)
    lived = np.minimum(rng.exponential(size=n) / leaving, T)
    count = rng.poisson(rate * lived)
    table = frame(np.column_stack([count, np.where(count, lived * rng.random(n) ** (1 / np.maximum(count, 1)), 0), T]))
    model = CorrelatedParetoNBDModel().fit(table)
    errors = (np.log(model.params_) - np.log(p)) / np.sqrt(np.diag(model._log_covariance))
    assert errors.abs().max() < 3.3
    assert model.correlation() < 0
    assert model.probability_alive(table).mean() == pytest.approx((lived == T).mean(), abs=0.03)
