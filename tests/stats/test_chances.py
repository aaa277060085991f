from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from clvlib.stats.chances import calibration_p_value, count_interval


@pytest.mark.parametrize(("n", "p", "level"), [(1, 0.3, 0.9), (20, 0.1, 0.95), (60, 0.5, 0.8), (500, 0.02, 0.9)])
def test_equal_chances_are_binomial(n: int, p: float, level: float):
    tail = (1 - level) / 2
    assert count_interval([p] * n, level) == (stats.binom.ppf(tail, n, p), stats.binom.ppf(1 - tail, n, p))


def test_by_hand():
    """Three cases: none 0.9·0.5·0.2 = 0.09, one 0.01 + 0.09 + 0.36 = 0.46, two 0.01·... and so on."""
    p = [0.1, 0.5, 0.8]
    mass = [0.9 * 0.5 * 0.2, 0.1 * 0.5 * 0.2 + 0.9 * 0.5 * 0.2 + 0.9 * 0.5 * 0.8]
    assert sum(mass) == pytest.approx(0.55)
    assert count_interval(p, 0.80) == (1, 2)  # P(0) = 0.09 < 0.1, P(at most 2) = 0.96 >= 0.9
    assert count_interval(p, 0.85) == (0, 2)  # 0.09 > 0.075


def test_many_are_nearly_normal():
    rng = np.random.default_rng(3)
    p = rng.beta(2, 5, 2_000)
    exact, normal = count_interval(p, 0.95), count_interval(np.append(p, 0.0), 0.95)
    assert np.abs(np.subtract(exact, normal)).max() <= 1


def test_limits():
    assert count_interval([], 0.9) == (0, 0)
    assert count_interval([0.0, 0.0, 1.0], 0.9) == (1, 1)
    for chances, level in (([1.1], 0.9), ([np.nan], 0.9), ([0.5], 1.0)):
        with pytest.raises(ValueError, match=r"must lie between|lies between"):
            count_interval(chances, level)
    with pytest.raises(ValueError, match="needs cases"):
        calibration_p_value([], [])


def test_against_the_score_test_of_statsmodels():
    rng = np.random.default_rng(4)
    p = rng.beta(2, 3, 400)
    y = rng.random(400) < p**1.2
    logit = np.log(p / (1 - p))
    model = sm.GLM(y.astype(float), sm.add_constant(logit), family=sm.families.Binomial())
    score, information = model.score([0.0, 1.0]), model.information([0.0, 1.0])
    chi2 = score @ np.linalg.solve(-information, score)
    assert calibration_p_value(p, y) == pytest.approx(stats.chi2.sf(abs(chi2), 2))


def test_the_order_of_cases_does_not_matter_and_certainty_is_borne():
    rng = np.random.default_rng(5)
    p, y = rng.random(50), rng.integers(0, 2, 50)
    shuffled = rng.permutation(50)
    assert calibration_p_value(p, y) == pytest.approx(calibration_p_value(p[shuffled], y[shuffled]))
    assert calibration_p_value([0.0, 1.0, 0.5], [0, 1, 1]) > 0.1
    assert calibration_p_value([0.0, 1.0, 0.5], [1, 1, 1]) < 1e-6


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        (lambda p: p, False),  # calibrated
        (lambda p: np.minimum(1, 1.25 * p), True),  # too low
        (lambda p: 1 / (1 + (1 / p - 1) ** 0.5), True),  # too extreme: the slope is a half
    ],
)
def test_calibrated_chances_pass_at_the_nominal_rate_and_others_are_found(truth, found: bool):
    rng = np.random.default_rng(6)
    wrong = 0
    for _ in range(1_000):
        p = rng.beta(2, 4, 300)
        wrong += calibration_p_value(p, rng.random(300) < truth(p)) <= 0.05
    assert wrong / 1_000 > 0.8 if found else abs(wrong / 1_000 - 0.05) < 0.02  # 0.014 is two standard errors
