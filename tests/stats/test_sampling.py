from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clvlib.stats.proportions import proportion_effects
from clvlib.stats.sampling import (
    detectable_difference,
    detectable_mean_difference,
    highest_baseline,
    power_proportions,
    sample_ratio,
    sample_ratios,
    sample_size_means,
    sample_size_proportions,
)


def test_rs_power_prop_test() -> None:
    assert sample_size_proportions(0.10, 0.132) == pytest.approx(1570.804, abs=5e-4)
    assert sample_size_proportions(0.5, 0.75, power=0.9) == pytest.approx(76.70693, abs=5e-5)


@given(st.floats(0.01, 0.9), st.floats(0.005, 0.09), st.floats(0.3, 0.99), st.floats(0.2, 5))
def test_size_power_and_effect_are_inverses(p: float, d: float, power: float, ratio: float) -> None:
    n = sample_size_proportions(p + d, p, power, ratio=ratio)
    assert power_proportions(n, ratio * n, p + d, p) == pytest.approx(power, abs=1e-9)
    assert detectable_difference(p, n, ratio * n, power) == pytest.approx(d, rel=1e-6)


def test_what_two_thousand_an_arm_can_find() -> None:
    assert detectable_difference(0.138, 2000, 2000) <= 0.032 < detectable_difference(0.139, 2000, 2000)
    assert detectable_difference(0.5, 2, 2) == np.inf
    assert detectable_difference(1.0, 2000, 2000) == np.inf
    assert 0 < detectable_difference(0.0, 2000, 2000) < 0.01


@pytest.mark.slow
def test_power_by_simulation() -> None:
    rng = np.random.default_rng(1)
    x1, x2 = rng.binomial(2000, 0.132, 20_000), rng.binomial(2000, 0.1, 20_000)
    rejected = (proportion_effects(x1, 2000, x2, 2000)["p_value"] < 0.05).mean()
    assert rejected == pytest.approx(power_proportions(2000, 2000, 0.132, 0.1), abs=0.008)


def test_means() -> None:
    n = sample_size_means(0.5, 1.0, power=0.9)
    assert detectable_mean_difference(2 * 1.0 / n, power=0.9) == pytest.approx(0.5)
    assert n == pytest.approx(2 * (stats.norm.isf(0.025) + stats.norm.isf(0.1)) ** 2 / 0.25)


@pytest.mark.parametrize(
    ("counts", "p"), [([821588, 815482], 1.8218e-6), ([44700, 45489], 0.008608)]
)  # Kohavi's example; Cookie Cats
def test_published_sample_ratios(counts: list[int], p: float) -> None:
    assert sample_ratio(counts).p_value == pytest.approx(p, rel=5e-5)


def test_many_splits_at_once_are_scipys_one_by_one() -> None:
    counts = np.random.default_rng(4).poisson([[60, 25, 15]] * 20)
    theirs = [stats.chisquare(row, row.sum() * np.array([0.5, 0.25, 0.25])).pvalue for row in counts]
    np.testing.assert_allclose(sample_ratios(counts, [2, 1, 1]), theirs)


def test_sample_ratio_with_a_plan() -> None:
    result = sample_ratio(pd.Series({"A": 60, "B": 25, "C": 15}), [2, 1, 1])
    expected = stats.chisquare([60, 25, 15], [50, 25, 25])
    assert (result.chi2, result.p_value, result.df) == pytest.approx((expected.statistic, expected.pvalue, 2))
    assert list(result.table.index) == ["A", "B", "C"]
    assert result.table["planned"].sum() == pytest.approx(1)


def test_sample_ratio_of_labelled_counts() -> None:
    expected = stats.chisquare([60, 25, 15], [50, 25, 25]).pvalue
    for plan in ({"C": 1, "A": 2, "B": 1}, pd.Series({"C": 1, "A": 2, "B": 1})):  # by label, in whatever order
        result = sample_ratio({"A": 60, "B": 25, "C": 15}, plan)
        assert result.p_value == pytest.approx(expected)
    assert list(result.table.index) == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_ratio(2000, 2010), "two groups or more"),
        (lambda: sample_ratio(["many", "few"]), "counts: a number per group is needed"),
        (lambda: sample_ratio([1, 2], {"A": 1, "B": 1}), "planned shares: a number per group"),
        (lambda: sample_ratio({"A": 1, "B": 2}, {"A": 1, "C": 1}), "planned for"),
        (lambda: sample_size_proportions(0.1, 0.1), "must differ"),
        (lambda: sample_size_proportions(0.1, 1.2), "found 1.2"),
        (lambda: sample_size_proportions(0.1, 0.2, power=1), "alpha and power"),
        (lambda: power_proportions(0, 10, 0.1, 0.2), "both groups need people"),
        (lambda: sample_size_means(0, 1), "other than zero"),
        (lambda: detectable_mean_difference(-1), "not negative"),
        (lambda: sample_ratio([10]), "two groups or more"),
        (lambda: sample_ratio([0, 0]), "somebody must be there"),
        (lambda: sample_ratio([1, 2], [1, 0]), "planned shares"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_highest_baseline_is_where_the_detectable_difference_is_that_large() -> None:
    assert highest_baseline(0.032, 2000, 2000) == pytest.approx(0.138, abs=5e-4)  # as issue 6 has it
    assert detectable_difference(highest_baseline(0.05, 900, 1500), 900, 1500) == pytest.approx(0.05)
    assert highest_baseline(0.4, 2000, 2000) == 0.5
    assert highest_baseline(0.001, 50, 50) == 0
    for wrong in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            highest_baseline(wrong, 2000, 2000)
