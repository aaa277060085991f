from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from clvlib.stats.means import Moments, mean_difference, mean_interval, mean_ratio, ratio_moments

moments = st.builds(Moments, st.integers(2, 10**6), st.floats(0.1, 100), st.floats(1e-3, 1e4))


def test_against_scipys_welch() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.gamma(0.5, 10, 80), rng.gamma(2, 3, 45)
    ours = mean_difference(Moments.of(a), Moments.of(b), 0.9)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    interval = theirs.confidence_interval(0.9)
    assert (ours.p_value, ours.lower, ours.upper) == pytest.approx((theirs.pvalue, interval.low, interval.high))


def test_against_scipys_student() -> None:
    x = np.random.default_rng(4).normal(1, 2, 30)
    one = stats.ttest_1samp(x, 0)
    ours = mean_interval(Moments.of(x))
    interval = one.confidence_interval()
    assert (ours.p_value, ours.lower, ours.upper) == pytest.approx((one.pvalue, interval.low, interval.high))


@given(moments, moments, st.sampled_from([0.8, 0.95, 0.999]))
def test_absolute_and_relative_verdicts_agree(a: Moments, b: Moments, level: float) -> None:
    difference = mean_difference(a, b, level)
    try:
        ratio = mean_ratio(a, b, level)
    except ValueError:  # the denominator cannot be told from zero
        return
    assert ratio.p_value == pytest.approx(difference.p_value, rel=1e-9)
    assert ratio.lower <= ratio.estimate <= ratio.upper
    assume(abs(difference.p_value - (1 - level)) > 1e-9)
    assert (not ratio.lower <= 1 <= ratio.upper) == difference.significant
    assert (not difference.lower <= 0 <= difference.upper) == difference.significant


@given(moments, moments)
def test_each_limit_is_rejected_at_exactly_its_level(a: Moments, b: Moments) -> None:
    difference = mean_difference(a, b)
    assert mean_difference(a, b, null=difference.lower).p_value == pytest.approx(0.05, rel=1e-4)
    try:
        ratio = mean_ratio(a, b)
    except ValueError:
        return
    for limit in (ratio.lower, ratio.upper):
        assert mean_ratio(a, b, null=limit).p_value == pytest.approx(0.05, rel=1e-4)


def test_ratio_of_sums_against_the_linearised_values() -> None:
    rng = np.random.default_rng(5)
    x = rng.poisson(2, 500) + 1.0
    y = x * rng.gamma(2, 5, 500)
    cov = np.cov(y, x)
    ours = ratio_moments(
        500, mean_y=y.mean(), mean_x=x.mean(), variance_y=cov[0, 0], variance_x=cov[1, 1], covariance=cov[0, 1]
    )
    ratio = y.sum() / x.sum()
    linear = Moments.of(ratio + (y - ratio * x) / x.mean())
    assert (ours.n, ours.mean, ours.variance) == pytest.approx((linear.n, linear.mean, linear.variance))


@pytest.mark.slow
def test_coverage_of_the_relative_effect_by_simulation() -> None:
    rng = np.random.default_rng(6)
    holds = 0
    for _ in range(2000):
        a, b = rng.gamma(1, 12, 400), rng.gamma(1, 10, 300)
        r = mean_ratio(Moments.of(a), Moments.of(b))
        holds += r.lower <= 1.2 <= r.upper
    assert holds / 2000 == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 2000) ** 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Moments.of([]), "0 of 0 values"),
        (lambda: Moments.of([1, np.nan]), "1 of 2 values are missing"),
        (lambda: Moments(0, 1, 1), "at least one unit"),
        (lambda: Moments(5, 1, -1), "not negative; found -1"),
        (lambda: mean_difference(Moments.of([1]), Moments.of([1, 2])), "at least two units"),
        (lambda: mean_difference(Moments.of([1, 1]), Moments.of([2, 2])), "neither group varies"),
        (lambda: mean_interval(Moments.of([3, 3])), "all values are 3"),
        (lambda: mean_interval(Moments.of([3, 4]), 2), "level is a share"),
        (lambda: mean_ratio(Moments.of([1, 2]), Moments.of([-1, 1])), "cannot be told from zero"),
        (
            lambda: ratio_moments(5, mean_y=1, mean_x=0, variance_y=1, variance_x=0, covariance=0),
            "denominator",
        ),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
