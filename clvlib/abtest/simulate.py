"""What a test would do on a shop's own figures: how often it errs where there is nothing, and what it finds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.query import fetch_values, span
from clvlib.data.engine import Table
from clvlib.errors import DataError, EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.means import welch_freedom
from clvlib.stats.proportions import proportion_effects, proportion_interval
from clvlib.words import mark, tr

__all__ = ["Simulation", "revenue_power", "simulate"]

MOST = 200_000  # people whose values are drawn from; more say nothing new
AT_ONCE = 100_000  # values that are drawn together


@dataclass(frozen=True)
class Simulation(Result):
    """How a test of ``n`` people an arm behaves.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per effect: ``effect`` (a share of the control's mean), ``difference`` (the same in the values' unit),
        ``found`` (share of runs in which the test told the arms apart) with ``found_lower``, ``found_upper``, and
        ``covered`` (share of intervals that held the true difference) with ``covered_lower``, ``covered_upper``. The
        limits are those of the simulation's own error, at 95%.
    n, runs : int
        People per arm, and runs per effect.
    level : float
        Of the test.
    """

    n: int
    runs: int
    level: float


def simulate(
    values: ArrayLike,
    n: int,
    *,
    effects: Sequence[float] = (0.0, 0.05, 0.1, 0.2),
    runs: int = 1000,
    level: float = 0.95,
    seed: int | np.random.Generator = 0,
) -> Simulation:
    """Draw both arms from what people brought before, raise one by each effect, and test.

    An effect of 0 is the A/A test: what is found there is found by chance. The other rows are the power, which for
    revenue, mostly zero with a heavy tail, no formula gives.

    Parameters
    ----------
    values : array_like
        What each person brought in a window before the test, those who brought nothing included. Zeros and ones are
        conversions, and compared as such.
    n : int
        People per arm.
    effects : sequence of float
        Relative: 0.1 raises each value, or the rate of conversion, by a tenth.
    runs : int
        Simulated tests per effect.
    level : float
        Confidence level of the test.
    seed : int or numpy.random.Generator
        Source of randomness.

    Raises
    ------
    ParameterError
        Values that are missing, infinite or all the same; fewer than two people or 100 runs; an effect of -1 or less,
        or that raises a rate above 1.

    Examples
    --------
    >>> spend = np.r_[np.zeros(900), np.geomspace(5, 500, 100)]
    >>> table = simulate(spend, 1000, effects=[0.0, 0.5, 2.0], runs=200).table
    >>> [bool(row) for row in table["found"] > [0.01, 0.2, 0.9]], bool(table["found"][0] < 0.12)
    ([True, True, True], True)
    """
    x = np.asarray(values, dtype=float).ravel()
    if not (len(x) and np.isfinite(x).all() and x.min() < x.max()):
        raise ParameterError(f"values: finite numbers that are not all the same are needed; found {len(x)} values")
    if not (n >= 2 and runs >= 100):
        raise ParameterError(f"n and runs: at least 2 people and 100 runs are needed; found {n} and {runs}")
    share = bool(np.isin(x, (0.0, 1.0)).all())
    highest = 1 / x.mean() - 1 if share else np.inf
    if not all(-1 < effect <= highest for effect in effects):
        raise ParameterError(f"effects: more than -1 and at most {highest:.4g} is needed; found {list(effects)}")
    generator = np.random.default_rng(seed)
    rows = []
    for effect in effects:
        compare = _rates if share else _means
        limits = compare(x, n, effect, runs, level, generator)
        true = effect * float(x.mean())
        told = int(((limits[0] > 0) | (limits[1] < 0)).sum())
        held = int(((limits[0] <= true) & (true <= limits[1])).sum())
        rows.append(
            {"effect": effect, "difference": true} | _share("found", told, runs) | _share("covered", held, runs)
        )
    return Simulation(table=pd.DataFrame(rows), n=n, runs=runs, level=level)


def revenue_power(
    experiment: Experiment,
    assignments: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    *,
    as_of: str | dt.date | None = None,
    effects: Sequence[float] = (0.0, 0.1, 0.2, 0.5),
    runs: int = 400,
    seed: int | np.random.Generator = 0,
) -> Simulation:
    """Say which changes of revenue a test of the size asked for finds, on what people of the control brought.

    Parameters
    ----------
    experiment : Experiment
        Its control, window, level and ``min_per_arm`` count.
    assignments, orders, as_of
        As :meth:`Experiment.analyse` takes them.
    effects, runs, seed
        As :func:`simulate` takes them.

    Raises
    ------
    DataError
        People were assigned by cluster.
    EmptyDataError
        The control has nobody whose window is over, or nobody of it brought anything else than the others.
    ParameterError
        As :func:`simulate`.
    """
    window = span(experiment.window, "window")
    values = fetch_values(assignments, orders, name=experiment.name, window=window, as_of=as_of)
    if "cluster_id" in values:
        text = mark("experiment {name!r}: clusters were assigned, and people are drawn one by one in a simulation")
        raise DataError(tr(text, name=experiment.name))
    own = values[values["variant"] == experiment.control].groupby("revenue")["people"].sum()
    if len(own) < 2:
        text = mark("experiment {name!r}: what people of {control} brought does not vary, so nothing can be simulated")
        raise EmptyDataError(tr(text, name=experiment.name, control=experiment.control))
    generator = np.random.default_rng(seed)
    brought = np.repeat(own.index.to_numpy(dtype=float), own.to_numpy(dtype=int))
    if len(brought) > MOST:
        brought = generator.choice(brought, MOST)
    n, level = experiment.min_per_arm, experiment.level
    return simulate(brought, n, effects=effects, runs=runs, level=level, seed=generator)


Limits = tuple[NDArray[np.float64], NDArray[np.float64]]


def _rates(
    x: NDArray[np.float64], n: int, effect: float, runs: int, level: float, generator: np.random.Generator
) -> Limits:
    counts = generator.binomial(n, [x.mean() * (1 + effect), x.mean()], (runs, 2))
    found = proportion_effects(counts[:, 0], n, counts[:, 1], n, level)
    return found["lower"].to_numpy(), found["upper"].to_numpy()


def _means(
    x: NDArray[np.float64], n: int, effect: float, runs: int, level: float, generator: np.random.Generator
) -> Limits:
    together = max(1, AT_ONCE // (2 * n))
    means, variances = np.empty((runs, 2)), np.empty((runs, 2))
    for done in range(0, runs, together):
        drawn = x[generator.integers(len(x), size=(min(together, runs - done), 2, n))]
        rows = slice(done, done + len(drawn))
        means[rows], variances[rows] = drawn.mean(axis=2), drawn.var(axis=2, ddof=1)
    means[:, 0] *= 1 + effect
    first, second = variances[:, 0] * (1 + effect) ** 2 / n, variances[:, 1] / n
    reach = np.full(runs, np.inf)  # where nothing varies, nothing is told
    some = first + second > 0  # of arms of one size Welch's error is the guarded one
    freedom = welch_freedom(first[some], second[some], n, n)
    reach[some] = -special.stdtrit(freedom, (1 - level) / 2) * np.sqrt(first[some] + second[some])
    apart = means[:, 0] - means[:, 1]
    return apart - reach, apart + reach


def _share(name: str, x: int, runs: int) -> dict[str, float]:
    row = proportion_interval(x, runs).iloc[0]
    return {name: x / runs, f"{name}_lower": float(row["lower"]), f"{name}_upper": float(row["upper"])}
