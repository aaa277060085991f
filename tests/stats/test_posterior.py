from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaln

from clvlib.stats.posterior import posterior_means, posterior_proportions


def miller(a1: float, b1: float, a2: int, b2: float) -> float:
    """P(second > first) of two beta distributions in closed form, a2 whole (Miller 2015, "Bayesian A/B testing")."""
    i = np.arange(a2)
    return float(np.exp(betaln(a1 + i, b1 + b2) - np.log(b2 + i) - betaln(1 + i, b2) - betaln(a1, b1)).sum())


@pytest.mark.parametrize(
    ("counts", "prior"),
    [
        ((200, 2000, 264, 2000), (1, 1)),
        ((0, 10, 3, 10), (1, 1)),
        ((5, 5, 40, 50), (2, 3)),
        ((3, 9, 50_000, 10**6), (1, 7)),
    ],
)
def test_two_proportions_against_the_closed_form(counts: tuple[int, ...], prior: tuple[int, int]) -> None:
    (x1, n1, x2, n2), (a, b) = counts, prior
    found = posterior_proportions([x1, x2], [n1, n2], prior=prior)
    chance = miller(a + x1, b + n1 - x1, a + x2, b + n2 - x2)
    assert found["probability_best"].tolist() == pytest.approx([1 - chance, chance], abs=1e-9)
    first = stats.beta(a + x1, b + n1 - x1)
    assert found.iloc[0][["mean", "lower", "upper"]].tolist() == pytest.approx([first.mean(), *first.interval(0.95)])


@given(st.floats(-50, 50), st.floats(0.01, 20), st.floats(-50, 50), st.floats(0.01, 20))
def test_two_means_against_the_closed_form(m1: float, s1: float, m2: float, s2: float) -> None:
    found = posterior_means([m1, m2], [s1, s2])
    spread = float(np.hypot(s1, s2))
    z = (m2 - m1) / spread
    assert found["probability_best"].tolist() == pytest.approx([stats.norm.cdf(-z), stats.norm.cdf(z)], abs=1e-8)
    losses = [spread * (stats.norm.pdf(z) + d * stats.norm.cdf(d)) for d in (z, -z)]  # of the positive part of a normal
    assert found["expected_loss"].tolist() == pytest.approx(losses, abs=1e-8 * spread)


def test_a_normal_prior_pulls() -> None:
    """Arithmetic: precisions 1 / 4 and 1 / 1 weigh 10 and 2."""
    found = posterior_means([10.0], [2.0], prior=(2.0, 1.0)).iloc[0]
    assert found["mean"] == pytest.approx((10 / 4 + 2) / 1.25)
    assert found["upper"] - found["lower"] == pytest.approx(2 * 1.959964 * 1.25**-0.5, rel=1e-6)
    assert found[["probability_best", "expected_loss"]].tolist() == pytest.approx([1, 0], abs=1e-12)


@pytest.mark.parametrize("prior", [(1.0, 1.0), (0.5, 0.5)])
def test_four_proportions_against_draws(prior: tuple[float, float]) -> None:
    x, n = np.array([0, 30, 33, 12]), np.array([20, 300, 310, 90])
    found = posterior_proportions(x, n, prior=prior)
    runs = 200_000
    draws = np.random.default_rng(1).beta(prior[0] + x, prior[1] + n - x, (runs, 4))
    best = draws.max(axis=1)
    share = np.bincount(draws.argmax(axis=1), minlength=4) / runs
    lost = best[:, None] - draws
    assert np.abs(found["probability_best"] - share).max() < 4 * 0.5 / runs**0.5
    assert (np.abs(found["expected_loss"] - lost.mean(axis=0)) < 4 * lost.std(axis=0) / runs**0.5).all()
    assert found["probability_best"].sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: posterior_proportions([3], [2]), "between 0 and the trials"),
        (lambda: posterior_proportions([1], [2], prior=(0, 1)), "beta prior are positive"),
        (lambda: posterior_proportions([1], [2], level=95), "level is a share"),
        (lambda: posterior_means([1.0], [0.0]), "positive errors"),
        (lambda: posterior_means([np.nan], [1.0]), "finite means"),
        (lambda: posterior_means([1.0], [1.0], prior=(0, 0)), "positive deviation"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
