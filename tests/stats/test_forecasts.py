"""Forecasts compared: against the paired t test, arithmetic, and forecasts that are equally good."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from clvlib.stats.forecasts import loss_difference


def test_one_step_ahead_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    own, rival = rng.exponential(1.0, 23), rng.exponential(1.3, 23)
    found, theirs = loss_difference(own, rival, level=0.9), stats.ttest_rel(own, rival)
    limits = theirs.confidence_interval(0.9)
    assert (found.lower, found.upper) == pytest.approx((limits.low, limits.high))
    assert found.p_value == pytest.approx(theirs.pvalue)


def test_two_steps_ahead_by_hand():
    """d = 1, 3, 2, 2, 4, 0: mean 2, autocovariances 10/6 and (−1 + 0 + 0 + 0 − 4)/6."""
    d = np.array([1.0, 3, 2, 2, 4, 0])
    variance = (10 / 6 + 2 * -5 / 6) / 6  # nothing: so Bartlett's weights
    assert variance == pytest.approx(0)
    found = loss_difference(d + 1, np.ones(6), span=2)
    bartlett = (10 / 6 + 2 * 0.5 * -5 / 6) / 6
    factor = (6 + 1 - 4 + 2 * 1 / 6) / 6
    half = stats.t.ppf(0.975, 5) * np.sqrt(bartlett / factor)
    assert (found.estimate, found.lower, found.upper) == pytest.approx((2, 2 - half, 2 + half))


def test_intervals_hold_where_neighbours_share_outcomes():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(800):
        shocks = rng.normal(size=(2, 63))
        own, rival = (np.convolve(each, np.ones(4), "valid") for each in shocks)
        found = loss_difference(own, rival, span=4)
        hits += found.lower <= 0 <= found.upper
    assert 0.89 < hits / 800 < 0.975  # 95% asked for, of 15 independent outcomes


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="pairs"):
        loss_difference([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="too few"):
        loss_difference([1, 2, 3], [1, 2, 2], span=3)
    same = loss_difference([1, 2, 3], [1, 2, 3])
    assert (same.lower, same.upper, same.p_value) == (0, 0, 1)
