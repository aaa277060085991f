"""Revenue without its largest orders, beside the revenue itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import lognorm, norm

from clvlib.abtest.experiment import Experiment
from clvlib.stats.means import Moments, mean_difference
from tests.abtest.test_experiment import LATER, bought, cells, first, people


def test_winsorised_revenue_stands_in_the_row_of_the_raw() -> None:
    rng = np.random.default_rng(4)
    spend = {arm: rng.lognormal(3, 2, 150) for arm in "AB"}
    orders = pd.concat([bought(first(arm, 150), spend[arm]) for arm in "AB"])
    result = Experiment("script", min_per_arm=1).analyse(people(A=1000, B=900), orders, as_of=LATER)
    row = result.effects("revenue").iloc[0]
    for label, share in (("p99", 0.99), ("p99_9", 0.999)):
        cap = np.quantile(np.concatenate([*spend.values()]), share)  # one for both arms, of those who spend
        groups = [np.r_[np.minimum(spend[arm], cap), np.zeros(n - 150)] for arm, n in (("B", 900), ("A", 1000))]
        theirs = mean_difference(*map(Moments.of, groups), level=row["level"], method="guarded")
        found = row[[f"{k}_{label}" for k in ("cap", "value", "difference", "lower", "upper")]].tolist()
        expected = [cap, groups[0].mean(), theirs.estimate, theirs.lower, theirs.upper]
        assert found == pytest.approx(expected, rel=1e-9)
    assert row["upper_p99"] - row["lower_p99"] < row["upper"] - row["lower"]
    assert result.table.loc[result.table["metric"] == "conversion", "cap_p99"].isna().all()


def test_nothing_to_winsorise() -> None:
    assert np.isnan(Experiment("script").judge(cells({"A": (2000, 5), "B": (2000, 5)})).primary["lower_p99"].iloc[0])
    orders = bought(first("A", 20) + first("B", 30), -5.0)  # more was paid back than paid: nobody spent anything
    row = (
        Experiment("script", min_per_arm=1).analyse(people(A=90, B=90), orders, as_of=LATER).effects("revenue").iloc[0]
    )
    assert np.isnan(row["cap_p99"])
    assert (row["lower_p99"], row["upper_p99"]) == pytest.approx((row["lower"], row["upper"]))


def mean_below(cap: float, rate: float, scale: float) -> float:
    """E[min(X, cap)] where ``rate`` of people spend lognormal(log(scale), 2)."""
    z = np.log(cap / scale) / 2
    return rate * (scale * np.exp(2) * norm.cdf(z - 2) + cap * lognorm.sf(cap, 2, scale=scale))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(2000, 2000), (800, 3200)])
def test_coverage_of_winsorised_means(sizes: tuple[int, int]) -> None:
    rng, runs, holds = np.random.default_rng(5), 1000, 0
    arms = ((0.12, 12.0), (0.10, 10.0))
    for _ in range(runs):
        groups = [
            np.r_[rng.lognormal(np.log(scale), 2, k := rng.binomial(n, rate)), np.zeros(n - k)]
            for n, (rate, scale) in zip(sizes, arms, strict=True)
        ]
        spent = np.concatenate(groups)
        cap = float(np.quantile(spent[spent > 0], 0.99))
        effect = mean_difference(*(Moments.of(np.minimum(g, cap)) for g in groups), method="guarded")
        holds += effect.lower <= mean_below(cap, *arms[0]) - mean_below(cap, *arms[1]) <= effect.upper
    assert holds / runs > 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5
