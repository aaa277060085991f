"""Some customers against others of their segment: by hand, when only the mix differs, and when something does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.audience.alike import compare_alike


def people(rng, chosen, others, lift=1.0):
    """Heavy-tailed amounts, larger in late segments, where there are more of the chosen."""
    rows = [
        (segment, kind, n)
        for segment, pair in enumerate(zip(chosen, others, strict=True))
        for kind, n in enumerate(pair)
    ]
    frame = pd.DataFrame([(s, k == 0) for s, k, n in rows for _ in range(n)], columns=["segment", "chosen"])
    scale = 50.0 * (1 + frame["segment"]) * np.where(frame["chosen"], lift, 1.0)
    frame["spend"] = rng.gamma(0.5, 2 * scale)
    frame["again"] = (rng.random(len(frame)) < 0.3).astype(float)
    return frame


def test_by_hand():
    frame = pd.DataFrame(
        {"segment": [1] * 5 + [2] * 4, "chosen": [1, 1, 0, 0, 0, 1, 1, 0, 0], "y": [4.0, 8, 1, 2, 3, 30, 10, 10, 8]}
    )
    table, covered = compare_alike(frame, frame["chosen"].eq(1), frame["segment"], ["y"], fewest=2)
    row = table.loc["y"]
    assert covered == 1
    assert row["mean"] == pytest.approx(5 / 9 * 6 + 4 / 9 * 20)  # 5 of 9 people are in segment 1
    assert row["other_mean"] == pytest.approx(5 / 9 * 2 + 4 / 9 * 9)
    parts = [(5 / 9, [4, 8]), (5 / 9, [1, 2, 3]), (4 / 9, [30, 10]), (4 / 9, [10, 8])]
    error = sum(w * w * np.var(values, ddof=1) / len(values) for w, values in parts) ** 0.5
    assert row["upper"] - row["difference"] == pytest.approx(stats.norm.isf(0.025) * error)
    assert row[["people", "other_people"]].tolist() == [4, 5]


@pytest.mark.parametrize(("lift", "truth"), [(1.0, 0.0), (1.5, 0.5)])
def test_intervals_cover_and_errors_are_held(lift, truth):
    """As many chosen a week as the sample shop has referred customers: about nine, of some seventy."""
    rng = np.random.default_rng(3)
    chosen, others = [6, 7, 9, 11, 13], [90, 80, 70, 60, 50]
    mix = np.array(chosen) + np.array(others)
    expected = truth * 50 * ((1 + np.arange(5)) * mix).sum() / mix.sum()
    held = []
    for _ in range(50):
        frame = people(rng, chosen, others, lift)
        table, _ = compare_alike(frame, frame["chosen"], frame["segment"], ["spend", "again"], fewest=3)
        held.append(
            [table.loc["spend", "lower"] <= expected <= table.loc["spend", "upper"], table["p_value"].min() > 0.05]
        )
    coverage, quiet = np.mean(held, axis=0)
    assert coverage > 0.84  # 93% and 92% of 400: heavy tails, 46 people
    if truth == 0:
        assert quiet > 0.78


def test_nobody_to_compare_with():
    frame = pd.DataFrame({"y": [1.0, 2.0], "s": ["a", "b"]})
    table, covered = compare_alike(frame, pd.Series([True, True]), frame["s"], ["y"])
    assert table.loc["y"].isna().all()
    assert covered == 0
    table, covered = compare_alike(frame, pd.Series([True, False]), frame["s"], ["y"])
    assert np.isnan(table.loc["y", "p_value"])
    assert covered == 0
