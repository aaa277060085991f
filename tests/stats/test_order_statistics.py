"""Quantiles by order statistics: against scipy and statsmodels, by simulation, and what must hold whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clvlib.stats.order_statistics import Counted, _joined, quantile_difference, quantile_interval


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("n", [21, 200])
def test_limits_of_one_sample_are_scipys(n: int, probability: float) -> None:
    x = np.random.default_rng(n).lognormal(3, 2, n)
    theirs = stats.quantile_test(x, p=probability).confidence_interval(0.95)
    _, lower, upper = quantile_interval(Counted.of(x), probability)
    mine = [lower if np.isfinite(lower) else np.nan, upper if np.isfinite(upper) else np.nan]
    assert mine == pytest.approx([theirs.low, theirs.high], nan_ok=True)


def test_the_median_is_the_usual_one_and_99_percent_needs_368_units() -> None:
    assert Counted.of([4.0, 1.0, 3.0, 2.0]).quantile(0.5) == 2.5
    assert Counted.of([4.0, 1.0, 3.0]).quantile(0.5) == 3.0
    # .99^367 = .02500 and .99^368 = .02476: from 368 on the largest value is a limit with a tail of 2.5%
    assert quantile_interval(Counted.of(range(368)), 0.99)[2] == 367
    assert quantile_interval(Counted.of(range(366)), 0.99)[2] == np.inf


def test_joined_limits_by_hand() -> None:
    """1 to 100 has a median of 50.5 between 40 and 61, so two such samples differ by at most 10.5 times root 2."""
    effect = quantile_difference(Counted.of(range(101, 201)), Counted.of(range(1, 101)), 0.5)
    assert [effect.estimate, effect.lower, effect.upper] == pytest.approx(
        [100, 100 - 10.5 * 2**0.5, 100 + 10.5 * 2**0.5]
    )


def test_a_large_sample_agrees_with_quantile_regression() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.lognormal(3, 1, 3000), rng.lognormal(3.1, 1, 3000)
    x = sm.add_constant(np.repeat([1.0, 0.0], 3000))
    fitted = sm.QuantReg(np.r_[a, b], x).fit(q=0.75)
    effect = quantile_difference(Counted.of(a), Counted.of(b), 0.75)
    assert effect.estimate == pytest.approx(fitted.params[1], rel=0.01)
    theirs = fitted.conf_int()[1]
    assert effect.upper - effect.lower == pytest.approx(theirs[1] - theirs[0], rel=0.15)
    assert effect.p_value == pytest.approx(fitted.pvalues[1], abs=0.03)


samples = st.lists(st.integers(-3, 30), min_size=1, max_size=60)


@given(samples, samples, st.sampled_from([0.1, 0.5, 0.9, 0.99]), st.sampled_from([0.8, 0.95, 0.99]))
def test_interval_and_p_value_agree_whatever_the_ties(a: list[int], b: list[int], p: float, level: float) -> None:
    effect = quantile_difference(Counted.of(a), Counted.of(b), p, level)
    assert effect.lower <= effect.estimate <= effect.upper
    assert effect.significant == (effect.lower > 0 or effect.upper < 0)
    other = quantile_difference(Counted.of(b), Counted.of(a), p, level)
    assert (other.lower, other.upper, other.p_value) == pytest.approx((-effect.upper, -effect.lower, effect.p_value))


@given(samples)
def test_counts_are_repetition_and_order_does_not_matter(x: list[int]) -> None:
    values, counts = np.unique(x, return_counts=True)
    assert Counted.of(values, counts).ranks.tolist() == Counted.of(x[::-1]).ranks.tolist()
    assert [Counted.of(x).at(k + 1) for k in range(len(x))] == sorted(x)


def test_mostly_zeros() -> None:
    a, b = (Counted.of([0.0, 10.0], [960, 40]) for _ in range(2))
    effect = quantile_difference(a, b, 0.9)
    assert (effect.estimate, effect.lower, effect.upper, effect.p_value) == (0, 0, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.5, 0.9])
@pytest.mark.parametrize("sizes", [(60, 500), (1000, 1000)])
@pytest.mark.parametrize("rounded", [False, True])
def test_coverage(probability: float, sizes: tuple[int, int], rounded: bool) -> None:
    """Lognormal with sigma 2 against sigma 1, of which six in ten are zeros; rounded up to tens there are ties."""
    rng, runs, held = np.random.default_rng(4), 400, 0
    shapes = ((3.0, 2.0), (3.2, 1.0))

    def draw(n: int, mean: float, sigma: float) -> np.ndarray:
        x = np.where(rng.random(n) < 0.6, 0.0, rng.lognormal(mean, sigma, n))
        return np.ceil(x / 10) * 10 if rounded else x

    inside = max(probability - 0.6, 0) / 0.4  # of the values that are not zero
    truth = [np.exp(m + s * stats.norm.ppf(inside)) if inside else 0.0 for m, s in shapes]
    truth = [np.ceil(t / 10) * 10 for t in truth] if rounded else truth
    for _ in range(runs):
        first, second = (Counted.of(draw(n, *shape)) for n, shape in zip(sizes, shapes, strict=True))
        lower, upper = _joined(first, second, probability, 0.95)
        held += lower <= truth[0] - truth[1] <= upper
    assert held / runs > 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5


@pytest.mark.parametrize(
    ("values", "counts", "message"),
    [([], None, "0 of 0 values"), ([np.nan, 1.0], None, "1 of 2 values"), ([1.0], [0.5], "whole numbers"),
     ([1.0, 2.0], [1], "whole numbers")],
)  # fmt: skip
def test_bad_samples(values: list[float], counts: list[float] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Counted.of(values, counts)


@pytest.mark.parametrize(("probability", "level"), [(0.0, 0.95), (1.0, 0.95), (0.5, 1.0), (np.nan, 0.95)])
def test_bad_parameters(probability: float, level: float) -> None:
    sample = Counted.of([1.0, 2.0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile_difference(sample, sample, probability, level)
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile_interval(sample, probability, level)
