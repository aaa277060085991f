"""Tests of the test, on a shop's own figures."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.abtest import simulate as simulation
from clvlib.abtest.experiment import Experiment
from clvlib.abtest.simulate import _means, revenue_power, simulate
from clvlib.errors import DataError, EmptyDataError, ParameterError
from clvlib.stats.means import Moments, mean_difference
from clvlib.stats.sampling import power_proportions
from tests.abtest.test_experiment import LATER, bought, first, people


def test_the_power_of_proportions_is_rs() -> None:
    values = np.r_[np.ones(10), np.zeros(90)]
    table = simulate(values, 1571, effects=[0.0, 0.32], runs=4000, seed=1).table.set_index("effect")
    assert table.loc[0.32, "found"] == pytest.approx(0.8, abs=4 * 0.4 / 4000**0.5)  # power.prop.test(.10, .132): 1570.8
    assert power_proportions(1571, 1571, 0.132, 0.1) == pytest.approx(0.8, abs=1e-3)
    assert table["found_lower"].loc[0.0] < 0.05 < table["found_upper"].loc[0.0]
    assert (table["covered_lower"] < 0.953).all()
    assert table["difference"].tolist() == pytest.approx([0, 0.032])


def test_the_power_of_normal_means_is_that_of_the_formula() -> None:
    """R's power.t.test(n = 64, delta = 0.5, sd = 1) has 0.8014596."""
    values = np.random.default_rng(3).normal(0, 1, 200_000)
    values = (values - values.mean()) / values.std() + 10
    table = simulate(values, 64, effects=[0.05], runs=2000, seed=4).table  # half a deviation, spread up by a twentieth
    assert table["found"].iloc[0] == pytest.approx(0.79, abs=4 * 0.41 / 2000**0.5)


def test_limits_are_those_of_one_comparison_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """People drawn one by one, as an analysis would take them; a pair of arms in which nobody spends tells nothing."""
    monkeypatch.setattr(simulation, "AT_ONCE", 1000)
    spend = np.r_[np.zeros(60), np.geomspace(5, 500, 4)]
    ours = np.array(_means(spend, 15, 0.2, 70, 0.9, np.random.default_rng(9)))
    generator, theirs = np.random.default_rng(9), []
    for _ in range(70):
        first, second = 1.2 * generator.choice(spend, 15), generator.choice(spend, 15)
        if first.any() or second.any():
            effect = mean_difference(Moments.of(first), Moments.of(second), 0.9, method="guarded")
            theirs.append([effect.lower, effect.upper])
        else:
            theirs.append([-np.inf, np.inf])
    assert not np.isfinite(theirs).all()
    np.testing.assert_allclose(ours.T, theirs, rtol=1e-12)


@pytest.mark.slow
def test_a_thousand_tests_of_nothing_err_in_one_of_twenty_and_take_two_seconds() -> None:
    rng = np.random.default_rng(5)
    spend = rng.lognormal(3, 1.5, 20_000) * (rng.random(20_000) < 0.12)
    start = time.process_time()
    row = simulate(spend, 2000, effects=[0.0], seed=6).table.iloc[0]
    assert time.process_time() - start < 2
    assert row["found"] < 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5
    assert row["covered"] == 1 - row["found"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 10), "finite numbers that are not all the same"),
        (([1.0, np.nan], 10), "finite numbers"),
        (([2.0, 2.0], 10), "all the same"),
        (([0.0, 2.0], 1), "at least 2 people"),
        (([0.0, 2.0], 10, 5), "100 runs"),
        (([0.0, 1.0], 10, 100, [1.5]), "at most 1 is needed"),
        (([0.0, 3.0], 10, 100, [-1.0]), "more than -1"),
    ],
)
def test_bad_input(arguments: tuple, message: str) -> None:
    values, n, *rest = arguments
    runs, effects = [*rest, *[100, [0.0]][len(rest) :]]
    with pytest.raises(ParameterError, match=message):
        simulate(values, n, runs=runs, effects=effects)


def test_too_few_people_to_see_anybody_spend() -> None:
    table = simulate(np.r_[np.zeros(10_000), 5.0], 2, effects=[0.0], runs=100).table
    assert table[["found", "covered"]].iloc[0].tolist() == [0, 1]


def test_the_power_for_revenue_is_that_of_what_the_control_brought() -> None:
    """One in ten brings 50, as if drawn: a test of 2,000 an arm has the power of the formula for that variance."""
    orders = pd.concat([bought(first("A", 200)), bought(first("B", 400), 500.0)])
    experiment = Experiment("script", min_per_arm=2000)
    found = revenue_power(experiment, people(A=2000, B=2000), orders, as_of=LATER, effects=[0.0, 0.3])
    assert found.table["difference"].tolist() == pytest.approx([0, 1.5])
    error = (2500 * 0.09 * (1 + 1.3**2) / 2000) ** 0.5
    power = stats.norm.sf(1.96 - 1.5 / error)
    assert found.table["found_lower"][1] < power < found.table["found_upper"][1]
    assert found.table["found_lower"][0] < 0.05 < found.table["found_upper"][0]
    with pytest.raises(EmptyDataError, match="what people of A brought does not vary"):
        revenue_power(experiment, people(A=2000, B=2000), orders.iloc[200:], as_of=LATER)
    with pytest.raises(DataError, match="clusters were assigned"):
        revenue_power(experiment, people(A=2000, B=2000).assign(cluster_id="c"), orders, as_of=LATER)
