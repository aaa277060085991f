from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.stats.overdispersion import dispersed_proportions, dispersed_ratio, dispersed_ratios
from clvlib.stats.proportions import proportion_interval, proportion_ratio


def test_clusters_of_one_size_are_the_quasi_binomial() -> None:
    """statsmodels' GLM with scale='X2': the same dispersion, and the same error of the log odds."""
    rng = np.random.default_rng(1)
    n, first = np.full(30, 500), np.arange(30) < 10
    x = rng.binomial(n, rng.beta(8, 32, 30))
    design = sm.add_constant(first.astype(float))
    fit = sm.GLM(x / n, design, family=sm.families.Binomial(), var_weights=n).fit(scale="X2")
    table = dispersed_proportions(x, n, first)
    np.testing.assert_allclose(table["design_effect"], fit.scale, rtol=1e-10)
    assert table["df"].iloc[0] == fit.df_resid == 28
    share = table.loc[False, "estimate"]
    error = np.sqrt(table.loc[False, "design_effect"] / (table.loc[False, "n"] * share * (1 - share)))
    assert error == pytest.approx(fit.bse[0], rel=1e-6)
    effect = dispersed_ratio(x, n, first)
    assert effect.p_value == pytest.approx(fit.pvalues[1], rel=0.15)  # score and Wald, near enough


CLUSTERS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=4, max_size=20)


@settings(max_examples=50)
@given(CLUSTERS)
def test_never_narrower_than_binomial_and_order_does_not_matter(pairs: list[tuple[int, int]]) -> None:
    n = np.array([max(a, b) for a, b in pairs])
    x = np.array([min(a, b) for a, b in pairs])
    row = dispersed_proportions(x, n).iloc[0]
    plain = proportion_interval(x.sum(), n.sum()).iloc[0]
    assert row["design_effect"] >= 1
    assert row["lower"] <= plain["lower"] + 1e-12
    assert row["upper"] >= plain["upper"] - 1e-12
    turned = dispersed_proportions(x[::-1], n[::-1]).iloc[0]
    np.testing.assert_allclose(row.to_numpy(float), turned.to_numpy(float), rtol=1e-9)
    first = np.arange(len(n)) % 2 == 0
    if x.sum():
        effect = dispersed_ratio(x, n, first)
        assert effect.lower <= effect.estimate <= effect.upper
        assert (effect.p_value < 0.05) == (not effect.lower <= 1 <= effect.upper) or abs(effect.p_value - 0.05) < 1e-6


def test_expectation_of_the_correlation_is_exact_for_unequal_clusters() -> None:
    """The mean over simulations of the unfloored estimate: r = 1 / (a + b + 1) of the beta distribution."""
    rng = np.random.default_rng(3)
    n = np.array([20, 50, 100, 400, 400, 1000, 50])
    found = []
    for _ in range(400):
        x = rng.binomial(n, rng.beta(2, 6, len(n)))
        row = dispersed_proportions(x, n).iloc[0]
        found.append((row["design_effect"] - 1) / ((n**2).sum() / n.sum() - 1))
    assert np.mean(found) == pytest.approx(1 / 9, rel=0.2)  # the spread within groups is itself estimated


@pytest.mark.parametrize("spread", [20.0, 1e6])
def test_intervals_cover_and_the_binomial_ones_do_not(spread: float) -> None:
    """A week of days against eight weeks before, half a million impressions a day, three times as many on one."""
    rng, held, ratio, plain = np.random.default_rng(7), 0, 0, 0
    runs = 80
    for _ in range(runs):
        n = np.full(63, 500_000)
        n[-5] *= 3
        x = rng.binomial(n, rng.beta(0.03 * spread * 50, 0.97 * spread * 50, 63))
        week = np.arange(63) >= 56
        row = dispersed_proportions(x, n, week).loc[True]
        held += row["lower"] <= 0.03 <= row["upper"]
        effect = dispersed_ratio(x, n, week)
        ratio += effect.lower <= 1 <= effect.upper
        sides = [v for part in (week, ~week) for v in (x[part].sum(), n[part].sum())]
        plain += proportion_ratio(*sides).significant
    assert held / runs >= 0.88
    assert ratio / runs >= 0.88
    if spread == 20.0:
        assert plain / runs > 0.6


def test_two_clusters_have_students_wide_interval() -> None:
    """Of 40% and 60% of a million each, one degree of freedom: 12.7 errors of .1, which leaves nothing out."""
    row = dispersed_proportions([400_000, 600_000], [1_000_000] * 2).iloc[0]
    assert row["lower"] < 0.08
    assert row["upper"] > 0.92
    equal = dispersed_ratio([40, 60, 41], [100, 100, 100], [True, False, False])
    assert equal.lower < 0.4 < 1 < 2 < equal.upper
    assert equal.p_value > 0.3


def test_single_clusters_borrow_and_bad_input() -> None:
    table = dispersed_proportions([10, 30, 20, 25], [100] * 4, ["a", "a", "a", "b"])
    assert table.loc["b", "design_effect"] == pytest.approx(6.25)
    with pytest.raises(ValueError, match="none has two"):
        dispersed_proportions([1, 2], [5, 5], ["a", "b"])
    with pytest.raises(ValueError, match="equally long"):
        dispersed_proportions([1], [5, 5])
    for x, n in (([6], [5]), ([1, 0], [5, 0]), ([-1, 2], [5, 5])):
        with pytest.raises(ValueError, match=r"0 <= successes|equally"):
            dispersed_proportions(x, n)
    with pytest.raises(ValueError, match="has no cluster"):
        dispersed_ratio([1, 2], [5, 5], [True, True])
    assert dispersed_proportions([0, 0, 0], [10, 20, 30]).iloc[0]["design_effect"] == 1.0


def test_many_samples_at_once_are_each_compared_alone():
    """Samples of all kinds: both sides, one side, one cluster a side, no success, one cluster alone."""
    rng = np.random.default_rng(3)
    sides = [rng.random(9) < 0.4 for _ in range(6)] + [
        [True] * 3,
        [False] * 4,
        [True, False],
        [True, True, False],
        [True],
    ]
    sample = np.repeat(np.arange(len(sides)), [len(side) for side in sides])
    first, n = np.concatenate(sides), rng.integers(20, 200, len(sample))
    x = rng.binomial(n, 0.1 + 0.2 * first) * (sample != 9)
    order = rng.permutation(len(sample))
    found = dispersed_ratios(x[order], n[order], first[order], sample[order])
    for k, row in found.iterrows():
        here = sample == k
        if len(sides[k]) == len(set(sides[k])):
            assert row[["rate_lower", "rate_upper", "estimate", "lower", "p_value"]].isna().all()
        elif any(sides[k]):
            alone = dispersed_proportions(x[here], n[here], first[here]).loc[True]
            np.testing.assert_allclose(row[["rate", "rate_lower", "rate_upper"]], alone[["estimate", "lower", "upper"]])
        compared = k not in (6, 7, 8, 9, 10)
        assert row[["estimate", "lower", "upper", "p_value"]].notna().all() == compared
        if compared:
            effect = dispersed_ratio(x[here], n[here], first[here])
            told = [effect.estimate, effect.lower, effect.upper, effect.p_value]
            np.testing.assert_allclose(row[["estimate", "lower", "upper", "p_value"]].astype(float), told)
            assert row["others"] == x[here & ~first].sum() / n[here & ~first].sum()
    with pytest.raises(ValueError, match="each cluster needs"):
        dispersed_ratios([2], [1], [True], [0])
