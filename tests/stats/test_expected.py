from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.rates import test_poisson_2indep as poisson_test

from clvlib.stats.expected import compare_observed

ROWS = st.lists(st.tuples(st.integers(0, 30), st.floats(0.5, 30)), min_size=2, max_size=8)


def sums(rows: list[tuple[int, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["observed", "expected"], index=[f"s{k}" for k in range(len(rows))])


@settings(max_examples=40)
@given(ROWS)
def test_against_scipy_and_the_verdict_agrees_with_the_limits(rows: list[tuple[int, float]]) -> None:
    table = compare_observed(sums(rows), 1.0)
    total, planned = sum(x for x, _ in rows), sum(e for _, e in rows)
    if total == 0:
        assert table["p_value"].isna().all()
        return
    one_sided = [
        min(stats.binomtest(x, total, e / planned, alternative=side).pvalue for side in ("less", "greater"))
        for x, e in rows
    ]
    doubled = np.minimum(2 * np.array(one_sided), 1)
    holm = np.minimum(1, np.maximum.accumulate(np.sort(doubled) * np.arange(len(rows), 0, -1)))
    np.testing.assert_allclose(np.sort(table["p_value"]), holm, rtol=1e-9)
    clear = table.dropna(subset=["lower"])
    clear = clear[(clear["p_value"] - 0.05).abs() > 1e-9]
    outside = (clear["others"] < clear["lower"] * (1 - 1e-12)) | (clear["others"] > clear["upper"] * (1 + 1e-12))
    assert (outside == (clear["p_value"] <= 0.05)).all()


def test_two_segments_are_a_comparison_of_two_rates() -> None:
    """Breslow & Day 1987, as statsmodels has it (its two-sided p-value is of another kind, so one side is compared)."""
    table = compare_observed(sums([(24, 10.0), (16, 30.0)]), 1.0, 0.95).set_index("segment")
    one_side = poisson_test(24, 10, 16, 30, method="exact-cond", alternative="larger").pvalue
    assert table.loc["s0", "p_value"] == pytest.approx(2 * 2 * one_side)  # two-sided, and Holm's two
    ratio = table.loc["s0", "rate"] / table.loc["s0", "others"]
    assert ratio == pytest.approx((24 / 10) / (16 / 30))
    share = stats.binomtest(24, 40).proportion_ci(1 - 0.05 / 2)  # both rejected: the first at half of the level
    assert table.loc["s0", "lower"] / table.loc["s0", "others"] == pytest.approx(share.low / (1 - share.low) * 3)


def test_one_among_many_is_not_blamed() -> None:
    rng = np.random.default_rng(2)
    blamed = 0
    for _ in range(120):
        expected = rng.uniform(0.2, 12, 40)
        table = compare_observed(sums(list(zip(rng.poisson(expected), expected, strict=True))), 0.05)
        blamed += bool((table["p_value"] <= 0.05).any())
    assert blamed / 120 <= 0.09


def test_alone_or_nothing_expected() -> None:
    assert compare_observed(sums([(3, 2.0)]), 0.1)["rate"].isna().all()
    table = compare_observed(sums([(3, 2.0), (2, 3.0), (0, 0.0)]), 0.1)
    assert table["p_value"].notna().tolist() == [True, True, False]
