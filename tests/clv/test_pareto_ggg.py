"""Pareto/GGG against its definition integrated by brute force, its Pareto/NBD limit, and customers drawn gap by gap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from clvlib.clv.models.pareto_ggg import ParetoGGGModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.errors import ConvergenceWarning, DataError

LETTERS = ("r", "alpha", "s", "beta", "t", "gamma")
TRUTH = (1.5, 3.0, 0.9, 20.0, 6.0, 2.0)
HISTORIES = [(0, 0.0, 30.0, 0.0), (1, 5.0, 30.0, np.log(5.0)), (6, 27.0, 30.0, 6 * np.log(4.2)), (6, 18.0, 30.0, 5.0)]


def given(p=TRUTH) -> ParetoGGGModel:
    return ParetoGGGModel.with_parameters(dict(zip(LETTERS, p, strict=True)), unit="W")


def frame(histories) -> pd.DataFrame:
    return pd.DataFrame(histories, columns=["frequency", "recency", "T", "litt"])


def brute_force(p, x, t_x, T, litt, h, points=140) -> tuple[float, float, float]:
    """Likelihood, that of being alive too, and of that and silence within h, over dense grids of k, λ and lifetime."""
    r, alpha, s, beta, t, gamma = p
    k = np.exp(np.linspace(-5, 3.5, points))[:, None]
    rate = np.exp(np.linspace(-22, 4, points))[None, :]
    prior = stats.gamma.pdf(k, t, scale=1 / gamma) * k * stats.gamma.pdf(rate, r, scale=1 / alpha) * rate
    prior = prior * (8.5 / (points - 1)) * (26 / (points - 1))
    gaps = k * x * np.log(k * rate) + (k - 1) * litt - k * rate * t_x - x * special.gammaln(k)
    weight = prior * np.exp(gaps)

    def survival(u):
        return (beta / (beta + u)) ** s

    def quiet(u):
        return special.gammaincc(k, k * rate * u)

    nodes, weights = np.polynomial.legendre.leggauss(24)
    u = (T - t_x) * (nodes + 1) / 2
    left = sum(w * s / (beta + t_x + v) * survival(t_x + v) * quiet(v) for v, w in zip(u, weights, strict=True))
    there = (weight * quiet(T - t_x)).sum() * survival(T)
    v = h * (nodes + 1) / 2
    ends = sum(w * s / (beta + T + z) * survival(T + z) * quiet(T - t_x + z) for z, w in zip(v, weights, strict=True))
    nothing = (weight * (ends * h / 2 + quiet(T - t_x + h) * survival(T + h))).sum()
    return (weight * left).sum() * (T - t_x) / 2 + there, there, nothing


def drawn(n, p, seed, horizon) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Customers drawn gap by gap: what is seen, who is alive, and what they do within the horizon."""
    r, alpha, s, beta, t, gamma = p
    rng = np.random.default_rng(seed)
    T = rng.uniform(15, 50, n)
    k, rate = rng.gamma(t, 1 / gamma, n), rng.gamma(r, 1 / alpha, n)
    life = rng.exponential(size=n) / rng.gamma(s, 1 / beta, n)
    gaps = rng.gamma(k, 1 / (k * rate), (600, n))
    times = np.cumsum(gaps, axis=0)
    seen, later = times <= np.minimum(T, life), (times > T) & (times <= np.minimum(T + horizon, life))
    litt = np.where(seen, np.log(np.maximum(gaps, 1e-300)), 0).sum(axis=0)
    table = frame(np.column_stack([seen.sum(axis=0), np.where(seen, times, 0).max(axis=0), T, litt]))
    return table, life > T, later.sum(axis=0)


@pytest.mark.parametrize("p", [TRUTH, (0.7, 5.0, 2.0, 60.0, 4.0, 4.0)])
def test_likelihood_alive_and_silence_agree_with_brute_force(p):
    truth = np.array([brute_force(p, *case, 10.0) for case in HISTORIES])
    table, model = frame(HISTORIES), given(p)
    np.testing.assert_allclose(model.log_likelihood(table), np.log(truth[:, 0]), atol=3e-5)
    np.testing.assert_allclose(model.probability_alive(table), truth[:, 1] / truth[:, 0], rtol=1e-4)
    chance = (truth[:, 0] - truth[:, 1] + truth[:, 2]) / truth[:, 0]
    np.testing.assert_allclose(model.count_probability(table, 10.0, 0), chance, rtol=1e-3)


def test_regularity_1_for_all_is_pareto_nbd(cdnow):
    """The times between purchases then tell nothing, whatever litt is."""
    few = cdnow.iloc[::40]
    litt = np.where(
        few["frequency"] > 0, few["frequency"] * np.log(0.5 * few["recency"] / few["frequency"] + 1e-300), 0
    )
    p = (0.5533, 10.578, 0.6061, 11.669)
    plain = ParetoNBDModel.with_parameters(dict(zip(LETTERS, p, strict=False)), unit="W")
    model = given((*p, 1e7, 1e7))
    np.testing.assert_allclose(
        model.log_likelihood(few.assign(litt=litt)), plain.log_likelihood(few), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(model.log_likelihood(few), plain.log_likelihood(few), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.probability_alive(few), plain.probability_alive(few), rtol=1e-4)
    np.testing.assert_allclose(model.expected_purchases(few, 39), plain.expected_purchases(few, 39), rtol=2e-3)


def test_predictions_are_what_drawn_customers_do():
    """Within groups by P(alive): how many are alive, and what they buy; and no more than chance beside the mean."""
    table, alive, future = drawn(4000, TRUTH, 5, 13.0)
    model = given()
    chance = model.probability_alive(table)
    for low, high in [(0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)]:
        group = ((chance >= low) & (chance < high)).to_numpy()
        error = np.sqrt((chance[group] * (1 - chance[group])).sum()) / group.sum()
        assert abs(alive[group].mean() - chance[group].mean()) < 3.5 * error
    few = slice(0, 800)
    gap = future[few] - model.expected_purchases(table.iloc[few], 13.0)
    assert abs(gap.mean()) < 3.5 * gap.std() / np.sqrt(len(gap))
    pareto = ParetoNBDModel().fit(table)
    brier = [((c - alive) ** 2).mean() for c in (chance, pareto.probability_alive(table))]
    assert brier[0] < 0.9 * brier[1]


def test_customers_drawn_by_hand_give_their_parameters_back():
    table, _, _ = drawn(1200, TRUTH, 6, 1.0)
    model = ParetoGGGModel().fit(table)
    assert model.converged_
    errors = (np.log(model.params_) - np.log(TRUTH)) / np.sqrt(np.diag(model._log_covariance))
    assert errors.abs().max() < 3.3


def test_one_regularity_is_a_border_that_is_named():
    table, _, _ = drawn(60, (*TRUTH[:4], 1e6, 0.5e6), 4, 1.0)
    with pytest.warns(ConvergenceWarning, match="equally regularly"):
        ParetoGGGModel().fit(table)


def test_times_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="litt"):
        given().probability_alive(frame([(2, 10.0, 20.0, 9.0)]))
    with pytest.raises(DataError, match="recency 0"):
        given().probability_alive(frame([(2, 0.0, 20.0, -9.0)]))
