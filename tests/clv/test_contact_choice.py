"""The choice of contacts against every possible one, its bound, and the limits that it must keep."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.clv.contact_choice import NOBODY, choose
from clvlib.errors import ParameterError

CHANNELS = ["push", "push", "phone"]
GAIN = st.floats(-3, 9).map(lambda value: round(value, 1))
PROBLEM = st.tuples(
    st.lists(st.tuples(GAIN, GAIN, GAIN), min_size=1, max_size=4),
    st.tuples(*[st.floats(0, 5).map(lambda value: round(value, 1))] * 3),
    st.one_of(st.none(), st.floats(0, 10)),
    st.dictionaries(st.sampled_from(["push", "phone"]), st.integers(0, 3)),
)


def spent(action, costs) -> float:
    return float(costs[action[action != NOBODY]].sum())


def by_channel(action) -> dict[str, int]:
    used = [CHANNELS[i] for i in action[action != NOBODY]]
    return {name: used.count(name) for name in ("push", "phone")}


def allowed(action, costs, budget, capacity) -> bool:
    within = budget is None or spent(action, costs) <= budget + 1e-6
    return within and all(by_channel(action)[name] <= most for name, most in capacity.items())


@settings(max_examples=150)
@given(PROBLEM)
def test_nothing_within_the_limits_gains_more(problem):
    gains, costs, budget, capacity = np.array(problem[0]), np.array(problem[1]), problem[2], problem[3]
    found = choose(gains, costs, CHANNELS, budget, capacity)
    assert allowed(found.action, costs, budget, capacity)
    best = 0.0
    for candidate in product(range(-1, 3), repeat=len(gains)):
        action = np.array(candidate)
        rows = np.flatnonzero(action != NOBODY)
        if allowed(action, costs, budget, capacity):
            best = max(best, gains[rows, action[rows]].sum())
    assert found.gain == pytest.approx(best, abs=1e-5)
    assert found.gap < 1e-6


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0, 60), st.floats(0, 60))
def test_more_budget_or_capacity_never_lowers_the_gain(seed, first, second):
    rng = np.random.default_rng(seed)
    gains, costs = rng.normal(2, 3, (40, 3)), rng.gamma(1, 2, 3)
    low, high = sorted((first, second))
    assert choose(gains, costs, CHANNELS, low).gain <= choose(gains, costs, CHANNELS, high).gain + 1e-6
    caps = [{"push": int(most) // 3} for most in (low, high)]
    narrow, wide = (choose(gains, costs, CHANNELS, high, cap).gain for cap in caps)
    assert narrow <= wide + 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_large_problems_keep_limits_and_a_small_gap(seed):
    rng = np.random.default_rng(seed)
    gains, costs = rng.normal(2, 3, (3000, 3)), np.round(rng.gamma(1, 2, 3), 2)
    budget, capacity = float(rng.uniform(0, 4000)), {"push": int(rng.integers(0, 1500)), "phone": 300}
    found = choose(gains, costs, CHANNELS, budget, capacity)
    assert allowed(found.action, costs, budget, capacity)
    rows = np.flatnonzero(found.action != NOBODY)
    assert gains[rows, found.action[rows]].sum() == pytest.approx(found.gain)
    assert found.gap < 3e-3


def test_a_hundred_thousand_customers_who_may_all_get_everything_take_seconds(capfd):
    rng = np.random.default_rng(0)
    spend, effect = rng.gamma(4, 80, 100_000), np.array([0.005, 0.02, 0.01, 0.015, 0.03])
    costs = np.array([0.01, 0.05, 0.05, 0.5, 1.5])
    channels = ["push", "push", "sms", "sms", "phone"]
    begin = time.process_time()
    for budget, capacity in ((20_000, {"push": 50_000, "sms": 30_000, "phone": 5_000}), (5_000, {})):
        assert choose(np.outer(0.3 * spend, effect) - costs, costs, channels, budget, capacity).gap < 1e-4
    alike = choose(np.outer(np.full(100_000, 96.0), effect) - costs, costs, channels, 20_000, {"push": 50_000})
    assert alike.gap < 1e-9
    assert time.process_time() - begin < 6
    assert capfd.readouterr() == ("", "")


def test_no_limit_no_room_nobody():
    gains, costs = np.array([[1.0, 2.0, 3.0]]), np.ones(3)
    assert choose(gains, costs, CHANNELS).action.tolist() == [2]
    assert choose(gains, costs, CHANNELS, 0).action.tolist() == [NOBODY]
    assert choose(gains, np.zeros(3), CHANNELS, 0).gain == 3
    assert choose(gains, costs, CHANNELS, capacity={"phone": 0}).action.tolist() == [1]
    for none in (np.empty((0, 3)), np.full((4, 3), -1.0), np.full((4, 3), -np.inf)):
        found = choose(none, costs, CHANNELS, 5)
        assert (found.gain, found.gap, set(found.action)) in ((0, 0, set()), (0, 0, {NOBODY}))


@pytest.mark.parametrize(
    ("costs", "budget", "capacity", "what"),
    [
        ([1, -1, 1], None, None, "costs nothing or more"),
        ([1, np.nan, 1], None, None, "costs nothing or more"),
        ([1, 1, 1], -1, None, "budget"),
        ([1, 1, 1], np.nan, None, "budget"),
        ([1, 1, 1], 1, {"push": -1}, "capacity"),
        ([1, 1], 1, None, "customers × actions"),
    ],
)
def test_what_cannot_be_is_refused(costs, budget, capacity, what):
    with pytest.raises(ParameterError, match=what):
        choose(np.ones((2, 3)), np.array(costs, dtype=float), CHANNELS, budget, capacity)
