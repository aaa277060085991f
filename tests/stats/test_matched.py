from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.discrete.conditional_models import ConditionalPoisson

from clvlib.stats.matched import matched_ratio


def shop(
    rng: np.random.Generator, ratio: float = 1.0, customers: int = 120, *, confounded: bool = True
) -> pd.DataFrame:
    """Orders of customers who differ, the dear of whom join in more."""
    level = rng.lognormal(4, 0.7, customers)
    joins = np.where(level > np.median(level), 0.5, 0.15) if confounded else 0.3
    who = np.repeat(np.arange(customers), 1 + rng.poisson(3, customers))
    x = rng.random(len(who)) < np.broadcast_to(joins, customers)[who]
    y = rng.gamma(2, level[who] / 2) * np.where(x, ratio, 1.0)
    return pd.DataFrame({"who": who, "x": x, "y": y})


def of(orders: pd.DataFrame, stratum: str = "who"):
    return matched_ratio(orders["y"], np.ones(len(orders)), orders["x"], orders[stratum], orders["who"])


def test_it_is_conditional_poisson_regression():
    orders = shop(np.random.default_rng(1)).assign(y=lambda t: t["y"].round())
    orders = orders[orders.groupby("who")["x"].transform("nunique") > 1]
    fit = ConditionalPoisson(orders["y"].astype(int), orders[["x"]].astype(float), groups=orders["who"]).fit(disp=0)
    assert np.log(of(orders).estimate) == pytest.approx(fit.params.iloc[0], abs=1e-5)


def test_errors_are_those_of_clusters():
    """A Poisson regression with a constant for each customer, and statsmodels' sandwich over customers."""
    orders = shop(np.random.default_rng(2), customers=40)
    both = orders.groupby("who")["x"].transform("nunique") > 1
    orders = orders[both]
    design = np.column_stack([orders["x"], pd.get_dummies(orders["who"])]).astype(float)
    fit = sm.GLM(orders["y"], design, sm.families.Poisson()).fit(
        cov_type="cluster", cov_kwds={"groups": orders["who"].to_numpy(), "use_correction": False}
    )
    found = of(orders)
    low, high = fit.conf_int().iloc[0] if hasattr(fit.conf_int(), "iloc") else fit.conf_int()[0]
    assert np.log([found.estimate, found.lower, found.upper]) == pytest.approx(
        [fit.params.iloc[0], low, high], abs=1e-6
    )
    assert found.p_value == pytest.approx(fit.pvalues.iloc[0], abs=1e-6)


def test_sums_are_rows():
    orders = shop(np.random.default_rng(3))
    sums = orders.groupby(["who", "x"], as_index=False).agg(y=("y", "sum"), n=("y", "size"))
    one, other = of(orders), matched_ratio(sums["y"], sums["n"], sums["x"], sums["who"], sums["who"])
    assert [one.estimate, one.lower, one.upper] == pytest.approx([other.estimate, other.lower, other.upper])


@pytest.mark.parametrize("ratio", [1.0, 1.3])
def test_it_covers_where_the_raw_ratio_misleads(ratio: float):
    rng = np.random.default_rng(4)
    held, raw = [], []
    for _ in range(250):
        orders = shop(rng, ratio)
        found = of(orders)
        held.append(found.lower <= ratio <= found.upper)
        raw.append(of(orders.assign(one=0), "one").lower > ratio)
    assert 0.91 < np.mean(held) < 0.98
    assert np.mean(raw) > 0.5  # as counted, joining in seems to raise the basket


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1.0] * 4, [1.0] * 4, [True, False] * 2, [1, 1, 2, 2], [1, 1, 2, 2]), "less than ten clusters"),
        (([], [], [], [], []), "less than ten clusters"),
        (([-1.0, 2], [1.0, 1], [True, False], [1, 1], [1, 2]), "not negative"),
        (([1.0, 2], [0.0, 1], [True, False], [1, 1], [1, 2]), "more than nothing"),
    ],
)
def test_bad_input(columns, message: str):
    with pytest.raises(ValueError, match=message):
        matched_ratio(*columns)
