from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from clvlib.stats.resample import bootstrap, interval_of_draws


def test_interval_of_draws() -> None:
    draws = np.column_stack([np.arange(101.0), np.arange(101.0) * 2])
    frame = interval_of_draws(draws, 0.9)
    assert frame.values.tolist() == pytest.approx(np.array([[50, 5, 95], [100, 10, 190]]))
    with pytest.raises(ValueError, match="1 of 2 draws"):
        interval_of_draws([1, np.nan])


def test_bca_against_scipy() -> None:
    x = np.random.default_rng(2).exponential(5, 60)
    ours = bootstrap(np.mean, x, draws=6000, seed=1)
    theirs = stats.bootstrap((x,), np.mean, n_resamples=6000, rng=np.random.default_rng(9)).confidence_interval
    error = x.std() / 60**0.5
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), abs=0.2 * error)


def test_percentile_against_the_normal_interval() -> None:
    x = np.random.default_rng(2).normal(0.2, 1, 400)
    ours = bootstrap(np.mean, x, draws=6000, method="percentile")
    half = 1.96 * x.std() / 20
    assert (ours.lower, ours.upper) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.1 * half)
    z = x.mean() / (x.std() / 20)
    assert ours.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=0.25)


def test_seed_decides_and_rows_stay_together() -> None:
    x = np.arange(50.0)

    def slope(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.polyfit(a, b, 1)[0])

    first, again = (bootstrap(slope, x, 3 * x + 1, draws=200, seed=7) for _ in range(2))
    assert first == again
    assert (first.lower, first.upper) == pytest.approx((3, 3))


def test_groups_widen_the_interval_of_correlated_rows() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 25)
    x = rng.normal(0, 1, 40)[groups] + rng.normal(0, 0.3, 1000)
    rows = bootstrap(np.mean, x, draws=500, method="percentile")
    clusters = bootstrap(np.mean, x, draws=500, method="percentile", groups=groups)
    assert clusters.upper - clusters.lower > 3 * (rows.upper - rows.lower)
    assert clusters.estimate == pytest.approx(x.mean())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap(np.mean, [1.0]), "at least two rows"),
        (lambda: bootstrap(np.mean, [1.0, 2.0], [1.0]), "equally long"),
        (lambda: bootstrap(np.mean), "must be there"),
        (lambda: bootstrap(lambda _: np.inf, [1.0, 2.0]), "finite number"),
        (lambda: bootstrap(np.mean, [1.0, 2.0], draws=5), "at least 100"),
        (lambda: bootstrap(np.mean, [1.0, 2.0], groups=[1]), "group label"),
        (lambda: bootstrap(np.mean, [1.0, 2.0], level=1), "level is a share"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
