"""Revenue without its largest orders, beside the revenue itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import lognorm, norm

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.metrics import Ratio
from clvlib.stats.means import Moments, mean_difference
from tests.abtest.test_experiment import LATER, bought, cells, first, people

SPEND = Ratio("spend per buyer", "revenue", denominator="buyer")


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


def buyers(n: int, x: int, mean: float, deviation: float) -> dict[str, float]:
    """Aggregates of ``n`` people of whom ``x`` buy for ``mean`` on average."""
    p = x / n
    square = p * (deviation**2 + mean**2) - (p * mean) ** 2
    name, per = "spend per buyer", n / (n - 1)
    return {
        "people": n, f"{name}_numerator_mean": p * mean, f"{name}_numerator_variance": square * per,
        f"{name}_denominator_mean": p, f"{name}_denominator_variance": p * (1 - p) * per,
        f"{name}_covariance": p * mean * (1 - p) * per,
    }  # fmt: skip


def test_the_split_is_exact_and_its_errors_are_those_of_independent_parts() -> None:
    """Whether people buy and what buyers spend are uncorrelated, so the errors follow from those of p and s alone."""
    metric = SPEND
    rows = metric.prepare({"B": buyers(2000, 264, 55.0, 40.0), "A": buyers(1900, 190, 50.0, 30.0)})
    conversion, spend = metric.split(rows["B"], rows["A"], 0.95).values()
    assert conversion.estimate + spend.estimate == pytest.approx(0.132 * 55 - 0.1 * 50)
    assert conversion.estimate == pytest.approx(0.032 * 52.5)
    p = np.array([0.132, 0.1])
    vp, vs = p * (1 - p) / np.array([1999, 1899]), np.array([40.0, 30.0]) ** 2 / p / np.array([1999, 1899])
    half = 1.959964 * (vp.sum() * 52.5**2 + vs.sum() * 0.016**2) ** 0.5
    assert conversion.upper - conversion.estimate == pytest.approx(half, rel=1e-6)
    half = 1.959964 * (vs.sum() * 0.116**2 + vp.sum() * 2.5**2) ** 0.5
    assert spend.upper - spend.estimate == pytest.approx(half, rel=1e-6)


def test_the_split_of_an_experiment() -> None:
    orders = pd.concat([bought(first("A", 200), np.arange(200.0)), bought(first("B", 264), 90.0)])
    result = Experiment("script").analyse(people(A=2000, B=2000), orders, as_of=LATER)
    parts = result.split.set_index("part")["difference"]
    assert parts.sum() == pytest.approx(result.effects("revenue")["difference"].iloc[0], rel=1e-9)
    assert parts[["buyers", "spend per buyer"]].tolist() == pytest.approx([0.032 * 94.75, (90 - 99.5) * 0.116])


def test_nobody_buys_so_there_is_nothing_to_split() -> None:
    result = Experiment("script").judge(cells({"A": (2000, 0), "B": (2000, 30)}))
    assert result.split.empty


@pytest.mark.slow
def test_coverage_of_the_split() -> None:
    rng, runs, metric = np.random.default_rng(6), 1000, SPEND
    arms = {"B": (3000, 0.12, 22.0), "A": (3000, 0.10, 20.0)}
    truth = (0.02 * 21 * np.exp(0.5), 2 * 0.11 * np.exp(0.5))
    holds = np.zeros(2)
    for _ in range(runs):
        rows = {}
        for arm, (n, rate, scale) in arms.items():
            x = rng.lognormal(np.log(scale), 1, rng.binomial(n, rate))
            rows[arm] = buyers(n, len(x), x.mean(), x.std())
        ready = metric.prepare(rows)
        parts = metric.split(ready["B"], ready["A"], 0.95).values()
        holds += [part.lower <= true <= part.upper for part, true in zip(parts, truth, strict=True)]
    assert holds / runs == pytest.approx(np.full(2, 0.95), abs=3 * (0.95 * 0.05 / runs) ** 0.5)
