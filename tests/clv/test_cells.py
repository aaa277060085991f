"""Reduction to distinct histories against NumPy's own, and where a search for the maximum stops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.clv.cells import Cells
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel

COLUMNS = ["frequency", "recency", "T"]
BUYING = BetaGeoModel.with_parameters({"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5})
LEAVING = ParetoNBDModel.with_parameters({"r": 0.6, "alpha": 5.0, "s": 0.6, "beta": 12.0})


def histories(rows: int, per: float, most: int = 40) -> pd.DataFrame:
    """Counts and times of a common grain."""
    rng = np.random.default_rng(rows)
    T = rng.integers(1, most, rows)
    x = rng.integers(0, 4, rows) * rng.integers(0, 3, rows)
    return pd.DataFrame({"frequency": x, "recency": np.where(x > 0, rng.integers(0, T + 1), 0) / per, "T": T / per})


@pytest.mark.parametrize(
    "summary",
    [
        histories(3, 1.0),
        histories(70_000, 1.0),
        histories(70_000, 7.0, most=300),
        histories(70_000, 0.001, most=9_000),  # whole numbers too large to be counted
        histories(20_000, 7.0, most=15_000),  # nearly every history is its own
        histories(500, 1.0).assign(frequency=10.0**6),
    ],
    ids=["few", "weeks", "days in weeks", "milliseconds", "fine", "heavy buyers"],
)
def test_distinct_histories_are_those_of_numpy(summary):
    cells = Cells.read(summary, COLUMNS)
    values = summary[COLUMNS].to_numpy(dtype=float)
    truth, inverse, count = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(np.column_stack([cells[name] for name in COLUMNS]), truth)
    np.testing.assert_array_equal(cells.weight, count)
    np.testing.assert_array_equal(cells.inverse, inverse)
    levels, code, mass = cells.histogram
    np.testing.assert_array_equal(levels[code], truth[:, 0])
    np.testing.assert_array_equal(mass, pd.Series(values[:, 0]).value_counts().sort_index())


def test_rows_that_stand_for_many_are_as_good_as_many_rows():
    summary = histories(5_000, 7.0)
    again = Cells.read(summary.assign(n=np.arange(5_000) % 3), COLUMNS)
    repeated = Cells.read(summary.loc[summary.index.repeat(np.arange(5_000) % 3)], COLUMNS)
    held = again.weight > 0
    np.testing.assert_array_equal(again.weight[held], repeated.weight)
    np.testing.assert_array_equal(again["T"][held], repeated["T"])


@pytest.mark.parametrize(
    ("cls", "buying"), [(BetaGeoModel, BUYING), (ParetoNBDModel, LEAVING), (GammaGammaModel, BUYING)]
)
@pytest.mark.parametrize("rows", [2_000, 60_000])
def test_the_last_step_is_taken_without_looking_and_lands_on_the_maximum(cls, buying, rows):
    """What is stored for the point returned is what the likelihood says there; the way to the maximum is nothing."""
    people = buying.simulate(rows, np.arange(rows) % 30 + 9.0, 3)
    people["recency"] = np.ceil(people["recency"])
    people["monetary_value"] = np.random.default_rng(4).gamma(6.0, 5.0, rows).round(1)
    model = cls().fit(people)
    assert model.converged_
    theta = np.log(model.params_.to_numpy())
    value, gradient, hessian = model._objective(model._usable(Cells.read(people, model._columns)))(theta)
    assert model.log_likelihood_ == pytest.approx(value, rel=1e-14)
    assert gradient @ np.linalg.solve(-hessian, gradient) < 1e-12  # in squared standard errors
    truth = np.sqrt(np.diag(np.linalg.inv(-hessian))) * model.params_
    np.testing.assert_allclose(model.standard_errors_, truth, rtol=2e-4)


def test_of_no_history_nothing_is_foreseen():
    none = Cells.of(frequency=[], recency=[], T=[])
    for model in (BUYING, LEAVING):
        p = model.params_.to_numpy()
        assert len(model._expected_cells(p, none, 26.0)) == len(model._tail_cells(p, none, 26.0, np.zeros(0))) == 0
