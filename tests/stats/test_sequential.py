from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.stats.sequential import anytime_alpha, anytime_p_value, confidence_sequence


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
