"""Shares of money: intervals that hold though money has a heavy tail and arms are of two sizes."""

from __future__ import annotations

import numpy as np
import pytest

from clvlib.abtest.ratio import Ratio, ShareOfSum
from clvlib.stats.proportions import proportion_difference

SHARE = ShareOfSum("refunds", "refunded", denominator="gross")
DELTA = Ratio("refunds", "refunded", denominator="gross")


def row(y, x) -> dict[str, float]:
    """Aggregates as the query gives them."""
    both = np.cov(y, x)
    means = {"refunds_numerator_mean": y.mean(), "refunds_denominator_mean": x.mean()}
    spreads = {"refunds_numerator_variance": both[0, 0], "refunds_denominator_variance": both[1, 1]}
    return {"people": len(x), "refunds_covariance": both[0, 1]} | means | spreads


def drawn(rng, people: int, share: float, sigma: float = 0.9) -> dict[str, float]:
    """A tenth buy, for lognormal amounts; some of the orders are refunded."""
    gross = np.where(rng.random(people) < 0.1, rng.lognormal(6, sigma, people), 0.0)
    return row(np.where(rng.random(people) < share, gross, 0.0), gross)


@pytest.mark.parametrize("sizes", [(2000, 2000), (1000, 4000)])
def test_intervals_hold_and_a_loss_by_the_margin_is_seldom_called_none(sizes):
    rng, runs, held, kept, plainly = np.random.default_rng(7), 250, 0, 0, 0
    for _ in range(runs):
        rows = {"B": drawn(rng, sizes[0], 0.13), "A": drawn(rng, sizes[1], 0.07)}
        ready, plain = SHARE.prepare(rows), DELTA.prepare(rows)
        effect = SHARE.difference(ready["B"], ready["A"], 0.95, null=0.06)
        held += effect.lower <= 0.06 <= effect.upper
        kept += effect.upper < 0.06
        plainly += DELTA.difference(plain["B"], plain["A"], 0.95, null=0.06).upper < 0.06
    assert held / runs > 0.93
    assert kept / runs < 0.025 + 3 * (0.025 * 0.975 / runs) ** 0.5
    assert plainly >= kept  # what the delta method would let pass


def test_orders_of_one_size_are_counts():
    people, buyers = np.arange(1000), 120
    gross = np.where(people < buyers, 50.0, 0.0)
    ready = SHARE.prepare(
        {"A": row(np.where(people < 9, 50.0, 0.0), gross), "B": row(np.where(people < 24, 50.0, 0.0), gross)}
    )
    ours, theirs = SHARE.difference(ready["B"], ready["A"], 0.95), proportion_difference(24, 120, 9, 120)
    assert (ours.lower, ours.upper, ours.p_value) == pytest.approx((theirs.lower, theirs.upper, theirs.p_value))
    assert SHARE.arm(ready["B"], 0.95).value == pytest.approx(0.2)


def test_no_refund_in_either_arm_is_known_as_well_as_counts_are():
    gross = np.where(np.arange(1000) < 300, 50.0, 0.0)
    ready = SHARE.prepare(dict.fromkeys("AB", row(np.zeros(1000), gross)))
    effect, theirs = SHARE.difference(ready["B"], ready["A"], 0.95, null=0.05), proportion_difference(0, 300, 0, 300)
    assert effect.upper == pytest.approx(theirs.upper)
    assert effect.upper < 0.05


def test_more_refunded_than_paid_and_clusters_are_ratios():
    rng = np.random.default_rng(1)
    gross = np.where(rng.random(1000) < 0.3, 50.0, 0.0)
    over = {"A": row(1.5 * gross * (rng.random(1000) < 0.9), gross), "B": row(gross * (rng.random(1000) < 0.1), gross)}
    ready, plain = SHARE.prepare(over), DELTA.prepare(over)
    assert SHARE.difference(ready["B"], ready["A"], 0.95) == DELTA.difference(plain["B"], plain["A"], 0.95)
    some = {arm: drawn(rng, 1000, 0.1) | {"clusters": 40, "freedom": 39.0} for arm in "AB"}
    ready, plain = SHARE.prepare(some), DELTA.prepare(some)
    assert SHARE.difference(ready["B"], ready["A"], 0.95) == DELTA.difference(plain["B"], plain["A"], 0.95)
    nobody = SHARE.prepare(dict.fromkeys("AB", row(np.zeros(10), np.zeros(10))))
    assert not SHARE.varies(nobody["A"], nobody["B"])
