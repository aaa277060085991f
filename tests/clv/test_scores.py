"""Scores against brute force, mpmath and what is known of them."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from clvlib.clv.cells import Cells
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.nbd import NBDModel, arrivals_tail
from clvlib.clv.scores import (
    CountScores,
    brier_parts,
    count_scores,
    gains,
    gini,
    log_scores,
    pit_shares,
    pit_test,
    poisson_tail,
)


def model_tail(model, cells, horizon):
    return lambda where, n: model._tail(model._p(), cells.take(where), horizon, n)


# ---- log score and CRPS


@given(st.floats(0.01, 60), st.integers(0, 80))
@settings(max_examples=60)
def test_poisson_scores_are_those_of_a_brute_sum(mean, y):
    scores = count_scores(poisson_tail([mean]), [y])
    n = np.arange(2000)
    cdf = stats.poisson.cdf(n, mean)
    assert scores.crps[0] == pytest.approx(((cdf - (n >= y)) ** 2).sum(), rel=1e-8, abs=1e-10)
    log_p = stats.poisson.logpmf(y, mean)
    if log_p > np.log(1e-5 * stats.poisson.sf(y - 1, mean)):
        assert scores.log_score[0] == pytest.approx(log_p, abs=1e-9)
    assert scores.below[0] == pytest.approx(stats.poisson.cdf(y - 1, mean), abs=1e-12)
    assert scores.upto[0] == pytest.approx(stats.poisson.cdf(y, mean), abs=1e-12)
    assert scores.active[0] == pytest.approx(-np.expm1(-mean))


def test_poisson_crps_has_a_closed_form():
    # Wei & Held 2014, Test 23: 787-805: (y − λ)(2F(y) − 1) + 2λ f(y) − λ e^−2λ (I0(2λ) + I1(2λ)), at 40 digits
    mp.mp.dps = 40
    for mean, y in [("0.3", 0), ("0.3", 4), ("7.5", 2), ("40", 61), ("300", 290)]:
        m = mp.mpf(mean)
        f = mp.exp(-m) * m**y / mp.factorial(y)
        cdf = mp.gammainc(y + 1, m, mp.inf, regularized=True)
        exact = (y - m) * (2 * cdf - 1) + 2 * m * f - m * mp.exp(-2 * m) * (mp.besseli(0, 2 * m) + mp.besseli(1, 2 * m))
        found = count_scores(poisson_tail([float(m)]), [y])
        assert found.crps[0] == pytest.approx(float(exact), rel=1e-9)
        assert found.log_score[0] == pytest.approx(float(mp.log(f)), abs=1e-9)


@given(st.integers(1, 40), st.floats(0.01, 400), st.floats(1e-9, 1 - 1e-6))
@settings(max_examples=100)
def test_counts_in_a_row_have_the_tails_of_the_incomplete_beta_function(first, r, z):
    n = np.arange(first, first + 8.0)[:, None] * np.ones(2)
    truth = special.betainc(n, r, z)
    np.testing.assert_allclose(arrivals_tail(n, np.full(2, r), np.full(2, z)), truth, rtol=1e-9, atol=1e-280)


def test_log_scores_alone_are_those_of_all_scores():
    tail, y = poisson_tail([0.3, 2.0, 9.0]), [0, 5, 30]
    assert log_scores(tail, y).tolist() == count_scores(tail, y).log_score.tolist()


def test_negative_binomial_scores_against_mpmath():
    # NBD given (x, T): P(X = n) = Γ(k + n)/(Γ(k) n!) (b/(b + h))^k (h/(b + h))^n with k = r + x, b = α + T
    mp.mp.dps = 40
    model = NBDModel.with_parameters({"r": 0.385, "alpha": 12.07})
    cases = [(0, 39.0, 0), (0, 39.0, 5), (3, 20.0, 2), (170, 39.0, 120)]
    x, T, y = (np.array(column, dtype=float) for column in zip(*cases, strict=True))
    found = count_scores(model_tail(model, Cells.of(frequency=x, recency=T, T=T), 26.0), y)
    for i, (frequency, time, seen) in enumerate(cases):
        k, b, h = mp.mpf("0.385") + frequency, mp.mpf("12.07") + time, mp.mpf(26)
        p = [mp.rf(k, n) / mp.factorial(n) * (b / (b + h)) ** k * (h / (b + h)) ** n for n in range(900)]
        cdf, exact = mp.mpf(0), mp.mpf(0)
        for n, part in enumerate(p):
            cdf += part
            exact += (cdf - (n >= seen)) ** 2
        assert found.crps[i] == pytest.approx(float(exact), rel=1e-9)
        assert found.log_score[i] == pytest.approx(float(mp.log(p[seen])), abs=1e-8)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), min_size=1, max_size=8))
@settings(max_examples=40)
def test_crps_of_a_point_mass_is_its_absolute_error(pairs):
    point, y = np.array(pairs, dtype=float).T
    scores = count_scores(lambda where, n: (n <= point[where]).astype(float), y)
    assert scores.crps == pytest.approx(np.abs(point - y))
    sure = point == y
    assert scores.log_score[sure] == pytest.approx(0.0)
    assert (scores.log_score[~sure] < -34).all()
    assert np.isfinite(scores.log_score).all()


def test_cases_are_scored_one_by_one(monkeypatch):
    rng = np.random.default_rng(2)
    mean = np.concatenate([rng.gamma(0.5, 2, 60), [500.0, 3000.0, 0.0]])
    y = np.append(rng.poisson(mean), 0)[: len(mean)]
    y[5] = 400
    together = count_scores(poisson_tail(mean), y)
    for i in range(len(mean)):
        alone = count_scores(poisson_tail(mean[[i]]), y[[i]])
        assert together.crps[i] == pytest.approx(alone.crps[0], rel=1e-9, abs=1e-12)
        assert together.log_score[i] == alone.log_score[0]
    monkeypatch.setattr("clvlib.clv.scores._CHUNK", 64)
    blocks = count_scores(poisson_tail(mean), y)
    assert blocks.crps == pytest.approx(together.crps, rel=1e-12)


def test_the_truth_scores_best_in_expectation():
    # both scores are strictly proper: the expected score under P, by exact sums, is best for P itself
    n = np.arange(400)
    p = stats.poisson.pmf(n, 3.0)
    logs, crps = {}, {}
    for mean in (2.0, 2.9, 3.0, 3.1, 5.0):
        scores = count_scores(poisson_tail(np.full(len(n), mean)), n)
        logs[mean], crps[mean] = p @ np.where(p > 1e-14, scores.log_score, 0), p @ scores.crps
    assert max(logs, key=logs.get) == 3.0
    assert min(crps, key=crps.get) == 3.0
    assert logs[3.0] == pytest.approx(-stats.poisson(3.0).entropy(), abs=1e-8)


# ---- calibration


def test_pit_shares_add_up_and_lie_where_the_outcome_does():
    scores = CountScores(*[np.array([0.0])] * 2, below=np.array([0.25]), upto=np.array([0.75]), active=np.array([1.0]))
    np.testing.assert_allclose(pit_shares(scores, 4), [[0, 0.5, 0.5, 0]])
    scores = CountScores(*[np.zeros(2)] * 2, below=np.array([0.2, 1.0]), upto=np.array([0.2, 1.0]), active=np.ones(2))
    assert pit_shares(scores, 10).sum(axis=1) == pytest.approx(1)
    assert pit_shares(scores, 10)[1, -1] == pytest.approx(1)


def test_pit_is_uniform_in_expectation_under_the_truth():
    n = np.arange(200)
    for mean in (0.05, 1.0, 20.0):
        shares = pit_shares(count_scores(poisson_tail(np.full(len(n), mean)), n))
        np.testing.assert_allclose(stats.poisson.pmf(n, mean) @ shares, 0.1, atol=1e-12)


def test_the_calibration_test_keeps_its_level_and_finds_a_wrong_model():
    rng = np.random.default_rng(5)
    means = rng.gamma(0.6, 2.0, 800)
    levels, wrong = [], []
    for _ in range(400):
        y = rng.poisson(means)
        levels.append(pit_test(pit_shares(count_scores(poisson_tail(means), y)), np.ones(len(y))))
        if len(wrong) < 20:
            wrong.append(pit_test(pit_shares(count_scores(poisson_tail(1.4 * means), y)), np.ones(len(y))))
    # 400 tests at 5%: 8 to 34 rejections within 3.2 standard errors
    assert 8 <= np.sum(np.array(levels) < 0.05) <= 34
    assert stats.kstest(levels, "uniform").pvalue > 0.001
    assert max(wrong) < 0.001


def test_pit_of_a_model_whose_customers_are_its_own_is_uniform():
    true = BetaGeoModel.with_parameters({"r": 0.25, "alpha": 4.4, "a": 0.8, "b": 2.5}, unit="W")
    people = true.simulate(20_000, np.tile([10.0, 20.0, 30.0, 40.0], 5000), seed=1)
    y = true.simulate_future(people, 26.0, seed=2).to_numpy()
    cells = Cells.of(**{name: people[name].to_numpy() for name in ("frequency", "recency", "T")})
    shares = pit_shares(count_scores(model_tail(true, cells, 26.0), y))
    assert pit_test(shares, np.ones(len(y))) > 0.001
    assert shares.mean(axis=0) == pytest.approx(0.1, abs=0.004)
    other = BetaGeoModel.with_parameters({"r": 0.35, "alpha": 4.4, "a": 0.8, "b": 2.5}, unit="W")
    assert pit_test(pit_shares(count_scores(model_tail(other, cells, 26.0), y)), np.ones(len(y))) < 0.001


def test_groups_too_few_to_test_give_no_figure():
    assert np.isnan(pit_test(np.ones((1, 10)) / 10, [1]))
    assert np.isnan(pit_test(np.tile([0.3, 0.7], (60, 1)), np.ones(60)))  # they do not differ
    assert np.isnan(pit_test(np.random.default_rng(1).random((18, 10)), np.ones(18)))


# ---- Brier


@given(st.integers(0, 10_000), st.integers(1, 60))
@settings(max_examples=60)
def test_the_parts_of_a_brier_score_add_up(seed, size):
    rng = np.random.default_rng(seed)
    p, hit, bins = rng.random(size), rng.integers(2, size=size), rng.integers(4, size=size)
    parts = brier_parts(p, hit, bins)
    whole = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert whole == pytest.approx(((p - hit) ** 2).mean(), abs=1e-12)
    twice = brier_parts(p, hit, bins, np.full(size, 2.0))
    assert twice == pytest.approx(brier_parts(np.tile(p, 2), np.tile(hit, 2), np.tile(bins, 2)))


def test_brier_of_known_forecasts():
    hit = np.array([0, 0, 0, 1])
    climatology = brier_parts(np.full(4, 0.25), hit, np.zeros(4, dtype=int))
    assert tuple(climatology) == pytest.approx((0, 0, 3 / 16, 0))
    perfect = brier_parts(hit, hit, hit)
    assert perfect.resolution == pytest.approx(perfect.uncertainty)
    assert perfect.reliability == pytest.approx(0)


# ---- ranking


def test_gains_by_hand():
    actual = np.array([10.0, 0, 5, 5])
    np.testing.assert_allclose(gains([4, 3, 2, 1], actual, 5), [0, 0.5, 0.5, 0.75, 1])
    np.testing.assert_allclose(gains([1, 1, 1, 1], actual, 5), [0, 0.25, 0.5, 0.75, 1])
    assert np.isnan(gains([1, 2], [0, 0], 3)[1])


@given(st.integers(0, 10_000))
@settings(max_examples=60)
def test_ranking_does_not_depend_on_rows_or_scale(seed):
    rng = np.random.default_rng(seed)
    forecast, actual = rng.integers(4, size=30).astype(float), rng.gamma(1, 1, 30)
    order = rng.permutation(30)
    assert gini(forecast, actual) == pytest.approx(gini(forecast[order], actual[order]), abs=1e-12)
    assert gini(3 * forecast + 1, 7 * actual) == pytest.approx(gini(forecast, actual), abs=1e-12)
    assert gini(-forecast, actual) == pytest.approx(-gini(forecast, actual), abs=1e-12)
    assert gini(actual, actual) == pytest.approx(1)
    np.testing.assert_allclose(gains(forecast[order], actual[order]), gains(forecast, actual), atol=1e-12)


def test_gini_is_the_mean_over_the_orders_of_ties():
    rng = np.random.default_rng(3)
    forecast, actual = rng.integers(3, size=12).astype(float), rng.gamma(1, 1, 12)
    broken = [gini(forecast + 1e-6 * rng.random(12), actual) for _ in range(4000)]
    assert gini(forecast, actual) == pytest.approx(np.mean(broken), abs=4 * np.std(broken) / np.sqrt(4000))


def test_gini_index_of_a_known_distribution():
    # an exponential distribution has a Gini index of one half, so the curve in its own order encloses 1/4
    value = -np.log1p(-(np.arange(200_000) + 0.5) / 200_000)
    curve = gains(value, value, 1001)
    assert np.trapezoid(curve, dx=1e-3) - 0.5 == pytest.approx(0.25, abs=1e-4)
    assert np.isnan(gini([1, 2], [3, 3]))
