"""What fits and predictions cost beside lifetimes, at an equal log-likelihood: CPU seconds and memory.

``pytest tests/benchmarks/test_models.py -n 0 -s`` prints the figures; ``CLVLIB_BENCHMARK_CUSTOMERS=10000000`` before it
makes them those of ten million customers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clvlib as clv

CUSTOMERS = int(os.environ.get("CLVLIB_BENCHMARK_CUSTOMERS", "1000000"))
LIFETIMES_FIT = 7.4  # CPU seconds that lifetimes' BG/NBD takes per million customers where the aims were set
LETTERS = {
    "BetaGeoModel": {"r": 0.2426, "alpha": 4.4136, "a": 0.7929, "b": 2.4259},
    "ModifiedBetaGeoModel": {"r": 0.5248, "alpha": 6.183, "a": 0.891, "b": 1.614},
    "BetaGeoCNBDkModel": {"r": 0.2426, "alpha": 2.2068, "a": 0.7929, "b": 2.4259, "k": 2},
    "ParetoNBDModel": {"r": 0.5533, "alpha": 10.578, "s": 0.6061, "beta": 11.669},
}


@cache
def people(name: str, grain: float = 0.0) -> pd.DataFrame:
    """Customers of a model, 27 to 39 weeks old, their times continuous or rounded up to a grain; spend in cents."""
    rng = np.random.default_rng(7)
    T = rng.uniform(27, 39, CUSTOMERS)
    if grain:
        T = np.ceil(T / grain) * grain
    summary = getattr(clv, name).with_parameters(LETTERS[name], unit="W").simulate(CUSTOMERS, T, rng)
    if grain:
        summary["recency"] = np.minimum(np.ceil(summary["recency"] / grain) * grain, summary["T"])
    x = summary["frequency"].to_numpy()
    mean = rng.gamma(6.25 * np.maximum(x, 1)) / np.maximum(x, 1) / rng.gamma(3.74, 1 / 15.44, CUSTOMERS)
    return summary.assign(monetary_value=np.where(x > 0, mean.round(2), 0.0))


def clock(task: Callable[[], Any], times: int = 1) -> float:
    """CPU seconds, of the quickest of some calls."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        task()
        spent.append(time.process_time() - start)
    return min(spent)


def megabytes(task: Callable[[], Any]) -> float:
    """Most memory held at once beyond what was held before."""
    tracemalloc.start()
    task()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def lifetimes_fit(name: str, summary: pd.DataFrame) -> tuple[float, dict[str, float]]:
    """CPU seconds and estimates of lifetimes' fitter, gamma by our letter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lifetimes

        fitter = getattr(lifetimes, name.replace("Model", "Fitter"))()
        columns = ["frequency", "recency", "T"]
        if name == "GammaGammaModel":
            summary, columns = summary[summary["monetary_value"] > 0], ["frequency", "monetary_value"]
        spent = clock(lambda: fitter.fit(*[summary[column] for column in columns]))
    return spent, {"gamma" if letter == "v" else letter: float(value) for letter, value in fitter.params_.items()}


@cache
def unit() -> float:
    """CPU seconds that lifetimes' BG/NBD takes here for a million customers."""
    return lifetimes_fit("BetaGeoModel", people("BetaGeoModel").iloc[:100_000])[0] * 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "customers", "times"),
    [
        ("BetaGeoModel", 100_000, 10),
        ("ModifiedBetaGeoModel", 100_000, 10),
        ("GammaGammaModel", 100_000, 4),
        ("ParetoNBDModel", 5_000, 5),
    ],
)
def test_the_same_work_costs_lifetimes_many_times_as_much(name, customers, times):
    """Half to a third of the ratios measured, which grow with the number of customers."""
    summary = people(name if name in LETTERS else "BetaGeoModel").iloc[:customers]
    cls = getattr(clv, name)
    theirs, estimates = lifetimes_fit(name, summary)
    ours = clock(lambda: cls().fit(summary), 3)
    print(f"\n{name}, {customers:,} customers: {ours:.3f} CPU s, lifetimes {theirs:.2f}, {theirs / ours:.0f} times")  # noqa: T201 - the measurement
    found = cls().fit(summary).log_likelihood_
    reached = float(cls.with_parameters(estimates).log_likelihood(summary).sum())
    assert found >= reached - 1e-6 * abs(reached)
    assert theirs > times * ours


def fit(model: Any, summary: pd.DataFrame) -> Any:
    return type(model)().fit(summary)


def discounted(model: Any, summary: pd.DataFrame) -> Any:
    return model.discounted_expected_purchases(summary, 0.0027)


def foreseen(model: Any, summary: pd.DataFrame) -> Any:
    return model.expected_purchases(summary, 26)


def foreseen_with_interval(model: Any, summary: pd.DataFrame) -> Any:
    return model.expected_purchases(summary, 26, interval=0.9)


def valued_with_interval(model: Any, summary: pd.DataFrame) -> Any:
    spend = clv.GammaGammaModel().fit(summary)
    return clv.LifetimeValue(model, spend, annual_rate=0.15).predict(summary, 52)


def valued_together(model: Any, summary: pd.DataFrame) -> Any:
    spend = clv.GammaGammaModel().fit(summary)
    return clv.LifetimeValue(model, spend, annual_rate=0.15).total(summary, 52)


WEEK, DAY = 1.0, 1 / 7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "grain", "task", "seconds", "most"),
    [
        ("BetaGeoModel", 0.0, fit, 0.2, 150),
        ("BetaGeoModel", DAY, fit, 0.2, 150),
        ("ModifiedBetaGeoModel", 0.0, fit, 0.2, 150),
        ("BetaGeoCNBDkModel", 0.0, fit, 0.7, 150),
        ("GammaGammaModel", 0.0, fit, 0.05, 150),
        ("ParetoNBDModel", 0.0, fit, 1.0, 150),
        ("ParetoNBDModel", WEEK, fit, 0.4, 150),
        ("BetaGeoModel", 0.0, foreseen, 0.35, 150),
        ("BetaGeoModel", 0.0, discounted, 0.35, 150),
        ("ParetoNBDModel", 0.0, discounted, 0.35, 150),
        ("BetaGeoModel", 0.0, foreseen_with_interval, 2.0, 1000),
        ("ParetoNBDModel", 0.0, foreseen_with_interval, 2.0, 1000),
        ("BetaGeoModel", 0.0, valued_with_interval, 4.0, 1000),
        ("ParetoNBDModel", 0.0, valued_with_interval, 5.0, 1000),
        ("BetaGeoModel", 0.0, valued_together, 3.0, 1000),
    ],
)
def test_cost_per_million_customers(name, grain, task, seconds, most):
    """The aims of issue 3, as shares of a lifetimes fit; twice that is allowed here, since test machines are shared."""
    summary = people(name if name in LETTERS else "BetaGeoModel", grain)
    model = getattr(clv, name)().fit(summary)
    spent = clock(lambda: task(model, summary), 2) / CUSTOMERS * 1e6
    memory = megabytes(lambda: task(model, summary)) / CUSTOMERS * 1e6
    speed = unit() / spent
    print(f"\n{name} {task.__name__} at {grain:.2g}: {spent:.3f} s (aim {seconds}), {memory:.0f} MB, {speed:.0f} times")  # noqa: T201 - the measurement
    assert speed > LIFETIMES_FIT / seconds / 2
    assert memory < most


@pytest.mark.slow
def test_the_import_costs_next_to_nothing():
    """Half a second is the aim; pandas takes about that."""
    code = "import sys, time; start = time.process_time(); __import__(sys.argv[1]); print(time.process_time() - start)"
    ours, pandas = (
        min(
            float(subprocess.run([sys.executable, "-c", code, name], capture_output=True, check=True).stdout)
            for _ in "12"
        )
        for name in ("clvlib", "pandas")
    )
    print(f"\nimport clvlib {ours:.3f} CPU s, pandas {pandas:.3f}")  # noqa: T201 - the measurement
    assert ours < pandas / 4
