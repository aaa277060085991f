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


methods = st.sampled_from(["welch", "guarded"])


@given(moments, moments, st.sampled_from([0.8, 0.95, 0.999]), methods)
def test_absolute_and_relative_verdicts_agree(a: Moments, b: Moments, level: float, method: str) -> None:
    difference = mean_difference(a, b, level, method=method)
    try:
        ratio = mean_ratio(a, b, level, method=method)
    except ValueError:  # the denominator cannot be told from zero
        return
    assert ratio.p_value == pytest.approx(difference.p_value, rel=1e-9)
    assert ratio.lower <= ratio.estimate <= ratio.upper
    assume(abs(difference.p_value - (1 - level)) > 1e-9)
    assert (not ratio.lower <= 1 <= ratio.upper) == difference.significant
    assert (not difference.lower <= 0 <= difference.upper) == difference.significant


@given(moments, moments, methods)
def test_each_limit_is_rejected_at_exactly_its_level(a: Moments, b: Moments, method: str) -> None:
    difference = mean_difference(a, b, method=method)
    assert mean_difference(a, b, null=difference.lower, method=method).p_value == pytest.approx(0.05, rel=1e-4)
    try:
        ratio = mean_ratio(a, b, method=method)
    except ValueError:
        return
    for limit in (limit for limit in (ratio.lower, ratio.upper) if 0 < limit < np.inf):
        assert mean_ratio(a, b, null=limit, method=method).p_value == pytest.approx(0.05, rel=1e-4)


@given(moments, moments)
def test_the_guard_only_widens_and_leaves_groups_of_one_size_alone(a: Moments, b: Moments) -> None:
    welch, guarded = (mean_difference(a, b, method=method) for method in ("welch", "guarded"))
    assert guarded.lower <= welch.lower + 1e-9
    assert guarded.upper >= welch.upper - 1e-9
    same = Moments(a.n, b.mean, b.variance)
    welch, guarded = (mean_difference(a, same, method=method) for method in ("welch", "guarded"))
    assert (guarded.lower, guarded.upper) == pytest.approx((welch.lower, welch.upper), rel=1e-9)


def test_the_guard_against_scipys_student() -> None:
    """Where the smaller group varies less, the error is that of Student's test; the degrees of freedom stay Welch's."""
    rng = np.random.default_rng(7)
    a, b = rng.normal(0, 1, 20), rng.normal(1, 6, 200)
    guarded = mean_difference(Moments.of(a), Moments.of(b), method="guarded")
    student, welch = stats.ttest_ind(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert guarded.p_value == pytest.approx(2 * stats.t.sf(abs(student.statistic), welch.df))


def test_no_upper_limit_where_the_second_mean_may_be_zero() -> None:
    a, b = Moments(50, 10.0, 100.0), Moments(50, 1.0, 100.0)
    ratio = mean_ratio(a, b)
    assert ratio.upper == np.inf
    for null, kept in ((0.99 * ratio.lower, False), (1.01 * ratio.lower, True), (1e6, True)):
        assert (mean_ratio(a, b, null=null).p_value > 0.05) == kept


@pytest.mark.slow
@pytest.mark.parametrize(("n1", "n2"), [(2000, 2000), (500, 4500), (4500, 500)])
def test_coverage_of_the_relative_effect_under_a_heavy_tail(n1: int, n2: int) -> None:
    """Nine of ten spend nothing, the others lognormal with sigma 2; the delta method covers in 74% to 90%."""
    rng, runs, holds = np.random.default_rng(8), 500, 0
    for _ in range(runs):
        a, b = (rng.lognormal(0, 2, n) * (rng.random(n) < 0.1) for n in (n1, n2))
        ratio = mean_ratio(Moments.of(1.3 * a), Moments.of(b), method="guarded")
        holds += ratio.lower <= 1.3 <= ratio.upper
    assert holds / runs > 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Moments.of([]), "0 of 0 values"),
        (lambda: Moments.of([1, np.nan]), "1 of 2 values are missing"),
        (lambda: Moments(0, 1, 1), "at least one unit"),
        (lambda: Moments(5, 1, -1), "not negative; found -1"),
        (lambda: mean_difference(Moments.of([1]), Moments.of([1, 2])), "at least two units"),
        (lambda: mean_difference(Moments.of([1, 1]), Moments.of([2, 2])), "neither group varies"),
        (lambda: mean_difference(Moments.of([1, 2]), Moments.of([1, 2]), method="z"), "method 'z' is not known"),
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
