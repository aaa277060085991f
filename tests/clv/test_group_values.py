"""Groups valued each by models of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import clvlib as clv
from clvlib.clv.group_values import group_values
from clvlib.errors import EmptyDataError, ParameterError

SPEND = {"p": 6.0, "q": 4.0, "gamma": 15.0}


def law(r: float) -> clv.BetaGeoModel:
    return clv.BetaGeoModel.with_parameters({"r": r, "alpha": 5.0, "a": 0.8, "b": 2.5}, unit="W")


def drawn(n: int, r: float, seed: int) -> pd.DataFrame:
    """Customers who follow BG/NBD and Gamma-Gamma, seen for 40 weeks."""
    rng = np.random.default_rng(seed)
    frame = law(r).simulate(n, 40.0, seed)
    x = frame["frequency"].to_numpy()
    many = np.maximum(x, 1)
    mean = rng.gamma(SPEND["p"] * many) / many / (rng.gamma(SPEND["q"], 1 / SPEND["gamma"], n))
    frame = frame.assign(monetary_value=np.where(x > 0, mean, 0.0))
    return frame.set_axis(pd.Index([f"{seed}-{i}" for i in range(n)], name="customer_id"))


def test_each_group_has_the_value_of_its_own_models() -> None:
    one, two = drawn(2000, 0.3, 1), drawn(1500, 0.9, 2)
    by = pd.Series(["one"] * 2000 + ["two"] * 1500 + ["two"], index=[*one.index, *two.index, "never bought"])
    both = pd.concat([one, two]).sample(frac=1, random_state=3)
    found = group_values(both, by, 26, annual_rate=0.15)
    table = found.table.set_index("group")
    alone = clv.LifetimeValue(clv.BetaGeoModel().fit(two), clv.GammaGammaModel().fit(two), 1.0, 0.15, unit="W")
    assert table.loc["two", "mean"] == pytest.approx(alone.predict(two, 26, interval=None).sum(), rel=1e-5)
    assert table["customers"].tolist() == [2000, 1500]
    assert found.value.loc[two.index].sum() == pytest.approx(table.loc["two", "mean"])
    for group, own, r in (("one", one, 0.3), ("two", two, 0.9)):
        truly = clv.LifetimeValue(law(r), clv.GammaGammaModel.with_parameters(SPEND), 1.0, 0.15, unit="W")
        total = truly.predict(own, 26, interval=None).sum()
        assert abs(table.loc[group, "mean"] - total) < 4 * table.loc[group, "error"]
        assert table.loc[group, "error"] < 0.15 * total


def test_too_few_who_came_back() -> None:
    one, two = drawn(800, 0.5, 1), drawn(20, 0.5, 2)
    by = pd.Series(["one"] * 800 + ["two"] * 20, index=[*one.index, *two.index])
    with pytest.raises(EmptyDataError, match=r"two: \d+ customers bought again, and models of their own need 30"):
        group_values(pd.concat([one, two]), by, 26)
    with pytest.raises(ParameterError, match="no customer has a group"):
        group_values(one, by.iloc[:0], 26)
    with pytest.raises(ParameterError, match="level"):
        group_values(one, by, 26, level=95)
