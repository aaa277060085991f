"""Totals of a period: Garwood's published limits, invariants, and cover under heavy tails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clvlib.stats.totals import share_interval, total_interval


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


@given(st.floats(0.1, 1e3), st.floats(0.1, 1e3), st.floats(0.01, 100))
def test_shares_do_not_know_units_and_add_up(part: float, rest: float, unit: float):
    here = share_interval(part, 2 * part, rest, 3 * rest)
    there = share_interval(rest, 3 * rest, part, 2 * part)
    assert here == pytest.approx((1 - there[0], 1 - there[2], 1 - there[1]))
    assert share_interval(unit * part, unit**2 * 2 * part, unit * rest, unit**2 * 3 * rest) == pytest.approx(here)


def test_a_share_of_counts_is_that_of_the_logit():
    """x = 20, 80: logit(0.2) ± t sqrt(1/20 + 1/80), df (1/20 + 1/80)^2 / (1/20^3 + 1/80^3), by hand 30.77."""
    share, lower, upper = share_interval(20, 20, 80, 80)
    half = stats.t.isf(0.025, 30.7692) * (1 / 20 + 1 / 80) ** 0.5
    ends = (0.2, 0.25 * np.exp(-half) / (1 + 0.25 * np.exp(-half)), 0.25 * np.exp(half) / (1 + 0.25 * np.exp(half)))
    assert (share, lower, upper) == pytest.approx(ends, rel=1e-6)
    many = share_interval(2e7, 2e7, 8e7, 8e7)
    assert many[2] - many[1] == pytest.approx(2 * 1.959964 * (0.2 * 0.8 / 1e8) ** 0.5, rel=1e-4)  # binomial


@pytest.mark.parametrize(("few", "many"), [(5, 300), (12, 400), (30, 3000)])
def test_shares_of_a_few_who_bring_much_are_covered(few: int, many: int):
    """As opinion leaders do: a hundredth of the people, 25 times as much each, with a tail."""
    rng, runs, held = np.random.default_rng(6), 1500, 0
    truth = 25 * few / (25 * few + many)
    for n, m in rng.poisson((few, many), (runs, 2)):
        part, rest = 25 * rng.gamma(0.8, 1 / 0.8, n), rng.gamma(0.5, 2, m)
        _, lower, upper = share_interval(part.sum(), part @ part, rest.sum(), rest @ rest)
        held += lower <= truth <= upper
    assert held / runs > 0.95 - 3 * (0.05 * 0.95 / runs) ** 0.5


def test_ends_of_a_share():
    assert share_interval(0, 0, 5, 5)[0] == 0
    assert np.isnan(share_interval(5, 5, 0, 0)[1])
    assert np.isnan(share_interval(0, 0, 0, 0)[0])
    with pytest.raises(ValueError, match="finite and not negative"):
        share_interval(-1, 1, 1, 1)
    with pytest.raises(ValueError, match="level"):
        share_interval(1, 1, 1, 1, 0.0)
