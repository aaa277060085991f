from __future__ import annotations

import mpmath
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from clvlib.stats.proportions import (
    _constrained_p2,
    proportion_difference,
    proportion_effects,
    proportion_interval,
    proportion_ratio,
)
from tests.conftest import shared_data

METHODS = ("miettinen-nurminen", "mee", "newcombe")
# Newcombe 1998, table II: x1 n1 x2 n2, then methods 6, 5 and 10
TABLE_II = {
    "a": ((56, 70, 48, 80), (0.0528, 0.3382), (0.0533, 0.3377), (0.0524, 0.3339)),
    "b": ((9, 10, 3, 10), (0.1700, 0.8406), (0.1821, 0.8370), (0.1705, 0.8090)),
    "c": ((6, 7, 2, 7), (0.0342, 0.8534), (0.0544, 0.8478), (0.0582, 0.8062)),
    "d": ((5, 56, 0, 29), (-0.0326, 0.1933), (-0.0313, 0.1926), (-0.0381, 0.1926)),
    "e": ((0, 10, 0, 20), (-0.1658, 0.2844), (-0.1611, 0.2775), (-0.1611, 0.2775)),
    "f": ((0, 10, 0, 10), (-0.2879, 0.2879), (-0.2775, 0.2775), (-0.2775, 0.2775)),
    "g": ((10, 10, 0, 20), (0.7156, 1.0), (0.7225, 1.0), (0.6791, 1.0)),
    "h": ((10, 10, 0, 10), (0.6636, 1.0), (0.6777, 1.0), (0.6075, 1.0)),
}


@pytest.mark.parametrize("case", TABLE_II)
@pytest.mark.parametrize("method", METHODS)
def test_newcombe_1998_table_ii(case: str, method: str) -> None:
    counts, *limits = TABLE_II[case]
    effect = proportion_difference(*counts, method=method)
    assert (effect.lower, effect.upper) == pytest.approx(limits[METHODS.index(method)], abs=5.01e-5)
    assert effect.estimate == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])


def test_the_table_in_the_shared_file_is_the_one_above() -> None:
    table = pd.read_csv(shared_data("newcombe") / "newcombe1998_table2.csv")
    names = {"miettinen_nurminen_m6": 1, "mee_m5": 2, "newcombe_hybrid_score_m10": 3}
    rows = table[table["method"].isin(names)]
    assert len(rows) == 24
    for row in rows.itertuples():
        assert TABLE_II[row.case][0] == (row.x1, row.n1, row.x2, row.n2)
        assert TABLE_II[row.case][names[row.method]] == (row.lower, row.upper)


def test_r_prop_test() -> None:
    effect = proportion_difference(264, 2000, 200, 2000, method="mee")
    assert effect.p_value == pytest.approx(0.001577385, rel=1e-6)
    assert stats.norm.isf(effect.p_value / 2) ** 2 == pytest.approx(9.9859572, rel=1e-7)
    mn = proportion_difference(264, 2000, 200, 2000)
    assert (mn.lower, mn.upper) == pytest.approx((0.012188, 0.051926), abs=5e-7)
    newcombe = proportion_difference(264, 2000, 200, 2000, method="newcombe")
    assert (newcombe.lower, newcombe.upper) == pytest.approx((0.012161, 0.051877), abs=5e-7)


def constrained_by_bisection(x1: int, n1: int, x2: int, n2: int, delta: float) -> mpmath.mpf:
    """The zero of the likelihood's slope along p1 = p2 + delta, in 50 digits."""
    with mpmath.workdps(50):
        d = mpmath.mpf(delta)

        def slope(p: mpmath.mpf) -> mpmath.mpf:
            q = p + d
            parts = [(x1, q), (-(n1 - x1), 1 - q), (x2, p), (-(n2 - x2), 1 - p)]
            return mpmath.fsum(c / v for c, v in parts if c)

        low, high = max(mpmath.mpf(0), -d), min(mpmath.mpf(1), 1 - d)
        for _ in range(160):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
        return middle


counts = st.tuples(st.integers(1, 400), st.integers(1, 400), st.floats(0, 1), st.floats(0, 1)).map(
    lambda t: (round(t[0] * t[2]), t[0], round(t[1] * t[3]), t[1])
)


@settings(max_examples=60)
@given(counts, st.floats(-0.99, 0.99))
def test_constrained_estimate_is_the_likelihoods_maximum(c: tuple[int, ...], delta: float) -> None:
    x1, n1, x2, n2 = c
    arrays = tuple(np.array([float(v)]) for v in c)
    assert _constrained_p2(arrays, np.array([delta]))[0] == pytest.approx(
        float(constrained_by_bisection(x1, n1, x2, n2, delta)), rel=1e-7, abs=1e-9
    )


@pytest.mark.parametrize(
    ("c", "delta"),
    [
        ((3, 10**7, 9, 10**7), 0.0),
        ((3, 10**7, 9, 10**7), -4e-7),
        ((3, 10**7, 9, 10**7), 1e-7),
        ((120, 10**7, 1, 10**3), -1e-6),
        ((10**7 - 2, 10**7, 10**7 - 9, 10**7), 1e-7),
    ],
)
def test_constrained_estimate_at_rates_of_one_in_a_million(c: tuple[int, ...], delta: float) -> None:
    arrays = tuple(np.array([float(v)]) for v in c)
    truth = constrained_by_bisection(*c, delta)
    assert _constrained_p2(arrays, np.array([delta]))[0] == pytest.approx(float(truth), rel=1e-6, abs=1e-12)


@settings(max_examples=50)
@given(counts, st.sampled_from(METHODS), st.sampled_from([0.8, 0.95, 0.999]), st.floats(-0.9, 0.9))
def test_interval_and_p_value_are_one_test(c: tuple[int, ...], method: str, level: float, null: float) -> None:
    effect = proportion_difference(*c, level=level, method=method, null=null)
    assert -1 <= effect.lower <= effect.estimate <= effect.upper <= 1
    assume(min(abs(null - effect.lower), abs(null - effect.upper)) > 1e-9)
    assert effect.significant == (not effect.lower <= null <= effect.upper)
    for limit in (effect.lower, effect.upper):
        if -1 + 1e-9 < limit < 1 - 1e-9:
            at = proportion_difference(*c, level=level, method=method, null=limit)
            assert at.p_value == pytest.approx(1 - level, rel=1e-5)


@settings(max_examples=50)
@given(counts, st.sampled_from(METHODS[:2]), st.sampled_from([0.8, 0.95, 0.999]))
def test_ratio_and_difference_give_one_verdict(c: tuple[int, ...], method: str, level: float) -> None:
    assume(c[0] + c[2] > 0)
    difference = proportion_difference(*c, level=level, method=method)
    ratio = proportion_ratio(*c, level=level, method=method)
    assert ratio.p_value == pytest.approx(difference.p_value, rel=1e-6, abs=1e-300)
    assert 0 <= ratio.lower <= ratio.estimate <= ratio.upper
    assume(min(abs(difference.lower), abs(difference.upper)) > 1e-9)
    assert (ratio.lower > 1 or ratio.upper < 1) == difference.significant


@settings(max_examples=50)
@given(counts, st.sampled_from(METHODS))
def test_symmetries(c: tuple[int, ...], method: str) -> None:
    x1, n1, x2, n2 = c
    here = proportion_difference(x1, n1, x2, n2, method=method)
    for there in (
        proportion_difference(x2, n2, x1, n1, method=method),  # groups swapped
        proportion_difference(n1 - x1, n1, n2 - x2, n2, method=method),  # successes and failures swapped
    ):
        expected = (-here.upper, -here.lower, here.p_value)
        assert (there.lower, there.upper, there.p_value) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_ratio_against_miettinen_and_nurminen_and_koopman() -> None:
    # Koopman 1984, section 3: 36 of 40 against 16 of 80 gives 2.94 to 7.15
    effect = proportion_ratio(36, 40, 16, 80, method="mee")
    assert (effect.lower, effect.upper) == pytest.approx((2.94, 7.15), abs=0.005)


def test_ratio_with_empty_cells() -> None:
    none_first, none_second = proportion_ratio(0, 50, 7, 50), proportion_ratio(7, 50, 0, 50)
    assert (none_first.estimate, none_first.lower) == (0, 0)
    assert (none_second.estimate, none_second.upper) == (np.inf, np.inf)
    assert none_second.lower == pytest.approx(1 / none_first.upper, rel=1e-9)
    assert proportion_ratio(50, 50, 50, 50).estimate == 1
    with pytest.raises(ValueError, match="0 / 0 is no ratio"):
        proportion_ratio(0, 50, 0, 50)


def test_vectorised_rows_equal_single_calls() -> None:
    frame = proportion_effects(pd.Series([56, 9, 0], index=list("xyz")), [70, 10, 10], [48, 3, 0], [80, 10, 20])
    assert list(frame.index) == list("xyz")
    for row, key in zip(frame.itertuples(), "abe", strict=True):
        single = proportion_difference(*TABLE_II[key][0])
        assert (row.lower, row.upper, row.p_value) == (single.lower, single.upper, single.p_value)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least", "mean"), [("miettinen-nurminen", 0.925, 0.95), ("newcombe", 0.91, 0.95)])
def test_exact_coverage_over_a_grid(method: str, least: float, mean: float) -> None:
    """Every table of 30 against 40 weighed by its exact probability, over a grid of true rates."""
    n1, n2 = 30, 40
    x1, x2 = (v.ravel().astype(float) for v in np.meshgrid(np.arange(n1 + 1), np.arange(n2 + 1), indexing="ij"))
    frame = proportion_effects(x1, n1, x2, n2, method=method)
    coverage = []
    for p1 in np.arange(0.03, 1, 0.047):
        for p2 in np.arange(0.02, 1, 0.049):
            weight = stats.binom.pmf(x1, n1, p1) * stats.binom.pmf(x2, n2, p2)
            holds = (frame["lower"] <= p1 - p2) & (p1 - p2 <= frame["upper"])
            coverage.append(float(weight[holds].sum()))
    assert np.mean(coverage) == pytest.approx(mean, abs=0.008)
    assert min(coverage) > least


# --- one proportion ---------------------------------------------------------------------------------------------------


# Newcombe 1998a, table I (95%): Wilson's method 3, its corrected form 4, Clopper and Pearson 5
@pytest.mark.parametrize(
    ("x", "n", "wilson", "corrected", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2535, 0.3682), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0598, 0.1644), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.2005), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0018, 0.1963), (0.0009, 0.1776)),
    ],
)
def test_newcombe_1998a_table_i(x: int, n: int, wilson: tuple, corrected: tuple, exact: tuple) -> None:
    for expected, arguments in (
        (wilson, {}),
        (corrected, {"correction": 0.5}),
        (exact, {"method": "clopper-pearson"}),
    ):
        row = proportion_interval(x, n, **arguments).iloc[0]
        assert (row["lower"], row["upper"]) == pytest.approx(expected, abs=5.01e-5)


@pytest.mark.parametrize(("ours", "theirs"), [("wilson", "wilson"), ("clopper-pearson", "beta")])
def test_against_statsmodels(ours: str, theirs: str) -> None:
    x = np.array([0, 1, 7, 50, 99, 100])
    frame = proportion_interval(x, 100, 0.9, method=ours)
    lower, upper = proportion_confint(x, 100, alpha=0.1, method=theirs)
    np.testing.assert_allclose(frame["lower"], lower, atol=1e-12)
    np.testing.assert_allclose(frame["upper"], upper, atol=1e-12)


def test_jeffreys_is_the_beta_posterior_between_the_ends() -> None:
    frame = proportion_interval([0, 7, 20], 20, method="jeffreys")
    assert frame["lower"][0] == 0
    assert frame["upper"][2] == 1
    assert tuple(frame.loc[1, ["lower", "upper"]]) == pytest.approx(stats.beta.interval(0.95, 7.5, 13.5))


def test_index_and_weighted_counts() -> None:
    frame = proportion_interval(pd.Series({"a": 2.5, "b": 0.0}), 10)
    assert list(frame.index) == ["a", "b"]
    assert frame.loc["a", "estimate"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0), "0 successes in 0 trials"),
        ((5, 4), "5 successes in 4 trials"),
        ((-1, 4), "-1 successes"),
        ((np.nan, 4), "nan successes"),
        ((1, np.inf), "inf trials"),
        ((1, 4, 1.0), "level is a share"),
        ((1, 4, 0.9, "wald"), "'wald' is not known"),
    ],
)
def test_impossible_counts_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        proportion_interval(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: proportion_difference(0, 0, 1, 2), "0 successes in 0 trials"),
        (lambda: proportion_difference(1, 2, 1, 2, method="agresti"), "'agresti' is not known"),
        (lambda: proportion_difference(1, 2, 1, 2, null=1), "between -1 and 1"),
        (lambda: proportion_difference(1, 2, 1, 2, level=0), "level is a share"),
        (lambda: proportion_difference([1, 1], 2, 1, 2), "one pair"),
        (lambda: proportion_ratio(1, 2, 1, 2, null=0), "positive and finite"),
        (lambda: proportion_effects(1, 2, 1, 2, scale="odds"), "'odds' is not known"),
    ],
)
def test_impossible_comparisons_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
