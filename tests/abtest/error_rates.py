"""How often the tests of experiments err, by simulation; ``python -m tests.abtest.error_rates [runs]`` prints it.

Each case draws experiments without and with an effect, and compares the arms as an experiment does. ``error`` is how
often an effect is told where there is none, ``power`` how often the effect is, ``coverage`` how often the interval
holds the truth, in both. Of several looks or arms all must be right together. Errors are Monte Carlo's, at 95%.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from clvlib.abtest.looks import AnyTime, Look, Once, Planned
from clvlib.abtest.metrics import METRICS, Adjusted, Mean, Proportion, Ratio
from clvlib.abtest.query import merged
from clvlib.stats.effect import Effect
from clvlib.stats.means import Moments, mean_difference
from clvlib.stats.multiplicity import agreeing_alpha
from clvlib.stats.order_statistics import Counted, _joined
from clvlib.stats.proportions import proportion_difference, proportion_effects

RNG = np.random.Generator
Said = tuple[bool, bool]  # whether an effect was told, and whether the interval held the truth
Case = Callable[[RNG, bool], list[Said]]  # of one experiment, without or with an effect
CONVERSION = Proportion("conversion", "orders > 0")
REVENUE = Mean("revenue", "revenue")
RATE, LIFT, SIGMA, PEOPLE = 0.10, 1.32, 2.0, 2000


def spend(rng: RNG, n: int, rate: float, scale: float = 20.0, sigma: float = SIGMA) -> np.ndarray:
    """What ``n`` people bring: most nothing, buyers a lognormal amount."""
    buyers = rng.binomial(n, rate)
    return np.r_[rng.lognormal(np.log(scale), sigma, buyers), np.zeros(n - buyers)]


def mean_of(rate: float, scale: float = 20.0, sigma: float = SIGMA) -> float:
    return rate * scale * float(np.exp(sigma**2 / 2))


def row(x: np.ndarray, name: str = "revenue") -> dict[str, float]:
    return {"people": len(x), f"{name}_mean": x.mean(), f"{name}_variance": x.var(ddof=1)}


def between(lower: float, upper: float, truth: float) -> list[Said]:
    return [(lower > 0 or upper < 0, lower <= truth <= upper)]


def ends(effect: Effect, truth: float) -> list[Said]:
    return between(effect.lower, effect.upper, truth)


def inverted(x: np.ndarray, n: np.ndarray, truth: np.ndarray, alpha: np.ndarray) -> list[Said]:
    """Many comparisons of shares at once, each at its own level; an interval holds what its test does not reject."""
    p_values = {null: proportion_effects(x[0], n, x[1], n, null=null)["p_value"].to_numpy() for null in {0.0, *truth}}
    held = [p_values[null][place] >= alpha[place] for place, null in enumerate(truth)]
    return list(zip(p_values[0.0] < alpha, held, strict=True))


def shares(rng: RNG, effect: bool, ratio: bool = False) -> list[Said]:
    rates = (RATE * (LIFT if effect else 1), RATE)
    rows = [{"people": PEOPLE, "conversion_total": rng.binomial(PEOPLE, p)} for p in rates]
    if ratio:
        found = CONVERSION.ratio(rows[0], rows[1], 0.95)
        return between(found.lower - 1, found.upper - 1, rates[0] / RATE - 1)
    return ends(CONVERSION.difference(rows[0], rows[1], 0.95), rates[0] - RATE)


def money(rng: RNG, effect: bool, sizes: tuple[int, int], ratio: bool = False) -> list[Said]:
    rate = RATE * (LIFT if effect else 1)
    rows = [row(spend(rng, n, p)) for n, p in zip(sizes, (rate, RATE), strict=True)]
    if ratio:
        found = REVENUE.ratio(rows[0], rows[1], 0.95)
        return between(found.lower - 1, found.upper - 1, rate / RATE - 1)
    return ends(REVENUE.difference(rows[0], rows[1], 0.95), mean_of(rate) - mean_of(RATE))


def winsorised(rng: RNG, effect: bool) -> list[Said]:
    rate = RATE * (LIFT if effect else 1)
    groups = [spend(rng, PEOPLE, p) for p in (rate, RATE)]
    paid = np.concatenate(groups)
    cap = float(np.quantile(paid[paid > 0], 0.99))
    z = np.log(cap / 20.0) / SIGMA
    below = 20.0 * np.exp(SIGMA**2 / 2) * stats.norm.cdf(z - SIGMA) + cap * stats.norm.sf(z)
    sides = [Moments.of(np.minimum(x, cap)) for x in groups]
    return ends(mean_difference(*sides, method="guarded"), (rate - RATE) * below)


def adjusted(rng: RNG, effect: bool) -> list[Said]:
    metric, rows = Adjusted("revenue", "revenue"), {}
    for arm, lift in (("B", 1.2 if effect else 1.0), ("A", 1.0)):
        habit = rng.gamma(1.0, 10.0, PEOPLE)
        x, y = rng.poisson(habit), lift * rng.poisson(habit)
        c = np.cov(y, x)
        rows[arm] = {
            "people": PEOPLE, "revenue_raw_mean": y.mean(), "revenue_raw_variance": c[0, 0],
            "revenue_covariance": c[0, 1], "revenue_before_mean": x.mean(), "revenue_before_variance": c[1, 1],
        }  # fmt: skip
    ready = metric.prepare(rows)
    return ends(metric.difference(ready["B"], ready["A"], 0.95), 2.0 if effect else 0.0)


def basket(rng: RNG, effect: bool) -> list[Said]:
    metric, rows = Ratio("revenue", "revenue", denominator="orders"), {}
    for arm, mean in (("B", 55.0 if effect else 50.0), ("A", 50.0)):
        orders = rng.poisson(rng.gamma(0.3, 1.0, PEOPLE))
        y = np.where(orders > 0, rng.gamma(np.maximum(2.0 * orders, 1e-9), mean / 2.0), 0.0)
        c = np.cov(y, orders)
        rows[arm] = {
            "people": PEOPLE, "revenue_numerator_mean": y.mean(), "revenue_numerator_variance": c[0, 0],
            "revenue_denominator_mean": orders.mean(), "revenue_denominator_variance": c[1, 1],
            "revenue_covariance": c[0, 1],
        }  # fmt: skip
    ready = metric.prepare(rows)
    return ends(metric.difference(ready["B"], ready["A"], 0.95), 5.0 if effect else 0.0)


def medians(rng: RNG, effect: bool) -> list[Said]:
    shift = 0.5 if effect else 0.0
    sides = [Counted.of(np.round(rng.lognormal(3 + s, 1.0, 250))) for s in (shift, 0.0)]
    truth = round(np.exp(3 + shift)) - round(np.exp(3))
    return between(*_joined(sides[0], sides[1], 0.5, 0.95), truth)


def clusters(rng: RNG, effect: bool) -> list[Said]:
    """Forty broadcasts an arm of 20 to 80 people who resemble one another (correlation about 0.1)."""
    metric = CONVERSION.clustered()
    lift = 0.08 if effect else 0.0
    n = rng.integers(20, 80, 80)
    p = np.clip(rng.beta(2.7, 6.3, 80) + lift * (np.arange(80) < 40), 0, 1)
    cells = pd.DataFrame({
        "variant": np.repeat(["B", "A"], 40), "people": n, "conversion_total": rng.binomial(n, p),
        "cluster_id": np.arange(80).astype(str),
    })  # fmt: skip
    rows = {r["variant"]: r for r in merged(cells, ["variant"], [metric]).to_dict("records")}
    return ends(metric.difference(rows["B"], rows["A"], 0.95), lift)


def looks(rng: RNG, effect: bool, rule: Callable[[int], Look]) -> list[Said]:
    """Twelve weekly looks at arms that grow by a twelfth of the people each."""
    rates = np.array([RATE * (LIFT if effect else 1), RATE])
    more = np.full(12, PEOPLE // 12)
    more[-1] += PEOPLE % 12
    x, n = np.cumsum(rng.binomial(more[:, None], rates), axis=0).T, np.cumsum(more)
    return inverted(x, n, np.full(12, rates[0] - RATE), np.array([_alpha(rule, int(m)) for m in n]))


@cache
def _alpha(rule: Callable[[int], Look], n: int) -> float:
    return rule(n).alpha(0.05)


def arms(rng: RNG, effect: bool) -> list[Said]:
    """Three treatments against a control, corrected by Holm; all intervals hold together."""
    rates = np.array([RATE * (LIFT if effect else 1), RATE, RATE])
    x = np.stack([rng.binomial(PEOPLE, rates), np.full(3, rng.binomial(PEOPLE, RATE))])
    n = np.full(3, PEOPLE)
    levels = agreeing_alpha(proportion_effects(x[0], n, x[1], n)["p_value"], 0.05).to_numpy()
    return inverted(x, n, rates - RATE, levels)


def guardrail(rng: RNG, effect: bool) -> list[Said]:
    """A loss of exactly the margin, seen from the margin: to be told is to hold wrongly."""
    rate = RATE - 0.02
    x = rng.binomial(PEOPLE, [rate + (0.03 if effect else 0), RATE])
    found = proportion_difference(x[0], PEOPLE, x[1], PEOPLE, null=-0.02)
    return between(found.lower + 0.02, np.inf, 0.03 if effect else 0.0)


def once(_: int) -> Look:
    return Once()


def planned(n: int) -> Look:
    """Lan and DeMets's boundary at the last of the looks so far."""
    return Planned(
        tuple(np.unique(np.minimum(np.arange(1, 13) * (PEOPLE // 12), n) / PEOPLE))[: -(-n // (PEOPLE // 12))]
    )


def any_time(n: int) -> Look:
    return AnyTime(2.0 * n, 2.0 * PEOPLE, 0.05)


def split(rng: RNG, effect: bool) -> list[Said]:
    metric = METRICS["revenue"].per
    assert metric is not None
    rows = {}
    for arm, lift in (("B", LIFT if effect else 1.0), ("A", 1.0)):
        x = spend(rng, PEOPLE, RATE * lift, sigma=1.0)
        bought = x > 0
        c = np.cov(x, bought)
        name = metric.name
        rows[arm] = {
            "people": PEOPLE, f"{name}_numerator_mean": x.mean(), f"{name}_numerator_variance": c[0, 0],
            f"{name}_denominator_mean": bought.mean(), f"{name}_denominator_variance": c[1, 1],
            f"{name}_covariance": c[0, 1],
        }  # fmt: skip
    ready = metric.prepare(rows)
    truth = mean_of(RATE * (LIFT if effect else 1.0), sigma=1.0) - mean_of(RATE, sigma=1.0)
    part = next(iter(metric.split(ready["B"], ready["A"], 0.95).values()))
    return ends(part, truth)


CASES: dict[str, Case] = {
    "conversion, difference (Miettinen-Nurminen)": shares,
    "conversion, relative (the same test)": lambda rng, e: shares(rng, e, ratio=True),
    "revenue, difference, equal arms": lambda rng, e: money(rng, e, (2000, 2000)),
    "revenue, relative, equal arms": lambda rng, e: money(rng, e, (2000, 2000), ratio=True),
    "revenue, difference, arms 1:9": lambda rng, e: money(rng, e, (500, 4500)),
    "revenue, relative, arms 1:9": lambda rng, e: money(rng, e, (500, 4500), ratio=True),
    "revenue, largest 1% cut": winsorised,
    "revenue adjusted by earlier spending": adjusted,
    "spend per order (delta method)": basket,
    "revenue that more buyers brought (split)": split,
    "median of buyers (order statistics)": medians,
    "conversion, 40 clusters an arm": clusters,
    "guardrail at its margin": guardrail,
    "three arms (Holm)": arms,
    "12 looks, each an ordinary test": lambda rng, e: looks(rng, e, once),
    "12 looks, planned (Lan-DeMets)": lambda rng, e: looks(rng, e, planned),
    "12 looks, at any time (sequence)": lambda rng, e: looks(rng, e, any_time),
}


def measure(case: Case, runs: int, seed: int) -> dict[str, float]:
    """Error, power and coverage of one case over ``runs`` experiments without and as many with an effect."""
    told, held = np.zeros((2, runs), dtype=bool), np.zeros((2, runs), dtype=bool)
    for effect in (False, True):
        rng = np.random.default_rng([seed, effect])
        for run in range(runs):
            said = case(rng, effect)
            told[int(effect), run] = any(one for one, _ in said)
            held[int(effect), run] = all(one for _, one in said)
    (error, power), (coverage, lifted) = told.mean(axis=1), held.mean(axis=1)
    return {"error": error, "power": power, "coverage": coverage, "coverage, effect": lifted}


def table(runs: int = 1000, names: Sequence[str] = tuple(CASES)) -> pd.DataFrame:
    """A row per case, with the figures of :func:`measure`."""
    return pd.DataFrame({name: measure(CASES[name], runs, 1 + list(CASES).index(name)) for name in names}).T


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    found = table(runs)
    error = 1.96 * (found * (1 - found) / runs) ** 0.5
    width = max(map(len, found.index))
    sys.stdout.write(f"{runs} experiments each; share ± Monte Carlo error, per cent\n\n")
    sys.stdout.write(" " * width + "".join(f"{column:>19}" for column in found) + "\n")
    for name in found.index:
        cells = (f"{100 * found.loc[name, c]:6.1f} ± {100 * error.loc[name, c]:3.1f}" for c in found)
        sys.stdout.write(f"{name:<{width}}" + "".join(f"{cell:>19}" for cell in cells) + "\n")
