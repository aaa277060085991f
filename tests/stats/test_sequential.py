from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clvlib.stats.sequential import (
    anytime_alpha,
    anytime_p_value,
    boundaries,
    confidence_sequence,
    exit_probabilities,
    planned_p_value,
)


def test_known_figure() -> None:
    error = 0.1 * 0.9 / 2000 + 0.132 * 0.868 / 2000
    s = confidence_sequence(0.032, error, 4000, 5000)
    assert (s.lower, s.upper) == pytest.approx((0.001250, 0.062750), abs=5e-7)


@given(st.floats(0.1, 5), st.integers(10, 10**7), st.integers(100, 10**7), st.sampled_from([0.8, 0.95, 0.99]))
def test_limits_are_rejected_at_their_level(error: float, n: int, tuned: int, level: float) -> None:
    s = confidence_sequence(1.0, error, n, tuned, level)
    at = confidence_sequence(1.0, error, n, tuned, level, null=s.upper)
    assert at.p_value == pytest.approx(1 - level, rel=1e-6)


@pytest.mark.slow
def test_a_hundred_looks_reject_at_most_five_percent() -> None:
    rng = np.random.default_rng(8)
    steps = rng.normal(0, 1, (4000, 100)).cumsum(axis=1)
    n = 50 * np.arange(1, 101)
    means = steps * 50**0.5 / n  # every look adds 50 units of variance 1
    wrong = np.zeros(4000, dtype=bool)
    for k, size in enumerate(n):
        half = confidence_sequence(0.0, 1 / size, size, 2500).upper
        wrong |= np.abs(means[:, k]) > half
    assert wrong.mean() <= 0.05


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        confidence_sequence(0, 0, 10, 10)
    with pytest.raises(ValueError, match="must be positive"):
        anytime_alpha(0.05, 0, 10)
    with pytest.raises(ValueError, match="alpha lies between"):
        anytime_alpha(1.5, 10, 10)
    with pytest.raises(ValueError, match="p-value lies between"):
        anytime_p_value(1.5, 10, 10)


@given(st.floats(1e-12, 1), st.floats(1e-4, 0.5), st.integers(10, 10**6), st.integers(100, 10**6))
def test_an_ordinary_p_value_below_its_level_is_an_anytime_p_value_below_alpha(
    p: float, alpha: float, n: int, tuned: int
) -> None:
    level = anytime_alpha(alpha, n, tuned)
    if abs(p / max(level, 1e-300) - 1) > 1e-6:
        assert (p < level) == (anytime_p_value(p, n, tuned) < alpha)


# --- planned looks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("looks", "error"), [(1, 0.05), (2, 0.083), (3, 0.107), (5, 0.142), (10, 0.193), (20, 0.248)])
def test_armitage_mcpherson_and_rowe_1969(looks: int, error: float) -> None:
    found = exit_probabilities([1.959964] * looks, np.arange(1, looks + 1) / looks).sum()
    assert found == pytest.approx(error, abs=5e-4)


def test_lan_and_demets_boundaries() -> None:
    found = boundaries([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found.tolist() == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=5e-4)
    assert boundaries([1.0]).tolist() == pytest.approx([stats.norm.isf(0.025)], abs=1e-9)


fractions = st.lists(st.integers(1, 50), min_size=1, max_size=8, unique=True).map(
    lambda steps: np.sort(np.array(steps)) / 50
)


@settings(max_examples=40)
@given(fractions, st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from(["obrien-fleming", "pocock"]))
def test_all_looks_together_spend_what_the_function_allows(t: np.ndarray, alpha: float, spending: str) -> None:
    spent = exit_probabilities(boundaries(t, alpha, spending), t).sum()
    if spending == "pocock":
        allowed = alpha * np.log(1 + (np.e - 1) * t[-1])
    else:
        allowed = 4 * stats.norm.sf(stats.norm.isf(alpha / 4) / np.sqrt(t[-1]))
    assert spent == pytest.approx(allowed, rel=1e-6, abs=1e-12)


@settings(max_examples=15)
@given(fractions, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_planned_p_value_is_alpha_on_the_boundary(t: np.ndarray, alpha: float) -> None:
    critical = boundaries(t, alpha)[-1]
    if critical < 6:
        assert planned_p_value(critical, t) == pytest.approx(alpha, rel=1e-4)
        assert planned_p_value(-critical * 1.01, t) < alpha < planned_p_value(critical * 0.99, t)


def test_more_people_than_planned_at_the_last_look() -> None:
    """A plan that is complete after 1.3 times its people: looks at 1 would be surer to agree with that before."""
    seen, rng = np.array([0.3, 0.6, 0.95, 1.3]), np.random.default_rng(4)
    critical = boundaries(seen)
    assert exit_probabilities(critical, seen).sum() == pytest.approx(0.05, rel=1e-6)
    assert critical[:-1].tolist() == pytest.approx(boundaries(seen[:-1]).tolist())
    assert critical[-1] > boundaries(np.minimum(seen, 1.0))[-1]
    steps = rng.standard_normal((100_000, 4)) * np.sqrt(np.diff(seen, prepend=0.0))
    z = steps.cumsum(axis=1) / np.sqrt(seen)
    error = (0.05 * 0.95 / len(z)) ** 0.5
    assert (np.abs(z) > critical).any(axis=1).mean() == pytest.approx(0.05, abs=3 * error)
    assert (np.abs(z) > boundaries(np.minimum(seen, 1.0))).any(axis=1).mean() > 0.05 + 3 * error  # as if none were more


def test_power_against_simulation() -> None:
    t = np.arange(1, 6) / 5
    drift = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    critical = boundaries(t)
    rng = np.random.default_rng(4)
    walk = (rng.normal(drift * 0.2, 0.2**0.5, (40_000, 5))).cumsum(axis=1) / np.sqrt(t)
    simulated = (np.abs(walk) > critical).any(axis=1).mean()
    exact = exit_probabilities(critical, t, drift).sum()
    assert exact == pytest.approx(simulated, abs=3 * (0.16 / 40_000) ** 0.5)
    assert 0.78 < exact < 0.8  # what five looks cost of the 80% at one


@pytest.mark.slow
def test_twelve_weekly_looks_under_no_effect() -> None:
    """Proof by simulation, on conversions: naive looks reject 21%, both ways of ours at most 5%."""
    rng = np.random.default_rng(2026)
    runs, looks, weekly = 20_000, 12, 250
    x = rng.binomial(weekly, 0.12, (2, runs, looks)).cumsum(axis=2)
    n = weekly * np.arange(1, looks + 1)
    pooled = x.sum(axis=0) / (2 * n)
    z = np.abs(x[0] - x[1]) / n / np.sqrt(pooled * (1 - pooled) * 2 / n * 2 * n / (2 * n - 1))
    planned = boundaries(n / n[-1])
    anytime = np.array([stats.norm.isf(anytime_alpha(0.05, 2 * k, 4000) / 2) for k in n])
    naive, weeks, any_time = ((z > c).any(axis=1).mean() for c in (stats.norm.isf(0.025), planned, anytime))
    error = (0.05 * 0.95 / runs) ** 0.5
    assert naive == pytest.approx(exit_probabilities([1.959964] * 12, n / n[-1]).sum(), abs=0.01)
    assert naive > 0.2
    assert weeks == pytest.approx(0.05, abs=3 * error)
    assert any_time <= 0.05


def test_bad_plans() -> None:
    for wrong in ([], [0.5, 0.5], [0.0, 1.0], [1.0, 1.2], [0.5, np.inf]):
        with pytest.raises(ValueError, match="fractions rise"):
            boundaries(wrong)
    with pytest.raises(ValueError, match="spending is one of"):
        boundaries([1.0], spending="haybittle")
    with pytest.raises(ValueError, match="positive critical value"):
        exit_probabilities([1.96], [0.5, 1.0])
