"""Totals of a period: Garwood's published limits, invariants, and cover under heavy tails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clvlib.stats.totals import total_interval


@pytest.mark.parametrize(
    ("n", "lower", "upper"),  # Garwood 1936; Ulm, American Journal of Epidemiology 131, 1990
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390), (100, 81.364, 121.627)],
)
def test_a_count_has_garwoods_interval(n: int, lower: float, upper: float):
    assert total_interval(n, n, 1) == pytest.approx((lower, upper), abs=6e-4)
    assert total_interval(n, n, 1, 0.9)[1] == pytest.approx(stats.chi2.isf(0.05, 2 * n + 2) / 2)


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30), st.floats(0.01, 100), st.floats(0.5, 0.98))
def test_units_and_levels(parts: list[float], unit: float, level: float):
    spent = np.array(parts)
    total, squares, largest = spent.sum(), (spent**2).sum(), spent.max()
    lower, upper = total_interval(total, squares, largest, level)
    assert 0 <= lower <= total * (1 + 1e-9)
    assert upper >= total * (1 - 1e-9)
    scaled = total_interval(unit * total, unit**2 * squares, unit * largest, level)
    assert scaled == pytest.approx((unit * lower, unit * upper), rel=1e-6)
    wider = total_interval(total, squares, largest, (1 + level) / 2)
    assert wider[0] <= lower
    assert wider[1] >= upper


@pytest.mark.parametrize(("people", "sigma"), [(15, 0.5), (60, 1.0), (300, 1.0), (300, 1.5)])
def test_it_covers(people: int, sigma: float):
    rng = np.random.default_rng(5)
    truth, runs, held = people * np.exp(sigma**2 / 2), 3000, 0
    for n in rng.poisson(people, runs):
        spent = rng.lognormal(0, sigma, n)
        lower, upper = total_interval(spent.sum(), (spent**2).sum(), spent.max(initial=0.0))
        held += lower <= truth <= upper
    assert held / runs > 0.95 - 3 * (0.05 * 0.95 / runs) ** 0.5


def test_what_makes_no_sense_is_refused():
    for figures in ((-1, 1, 1), (1, float("nan"), 1), (1, 1, float("inf"))):
        with pytest.raises(ValueError, match="finite and not negative"):
            total_interval(*figures)
    with pytest.raises(ValueError, match="level"):
        total_interval(1, 1, 1, 1.0)
