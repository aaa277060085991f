"""Ranks with intervals: by hand, against the definition, and all at once where everybody, or some, are alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from clvlib.stats.ranks import rank_intervals


@settings(max_examples=40)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=7), st.floats(0.2, 4), st.floats(0, 0.9))
def test_equals_the_definition(scores, error, correlation):
    """Every pair, Holm by statsmodels, counted one by one."""
    s, m = np.array(scores, dtype=float), len(scores)
    v = error**2 * (correlation * np.ones((m, m)) + (1 - correlation) * np.eye(m))
    found = rank_intervals(s, v)
    pairs = [(i, j) for i in range(m) for j in range(i + 1, m)]
    if not pairs:
        assert found[["rank", "rank_lower", "rank_upper"]].to_numpy().tolist() == [[1, 1, 1]]
        return
    z = [abs(s[i] - s[j]) / np.sqrt(2 * error**2 * (1 - correlation)) for i, j in pairs]
    sure = multipletests(2 * stats.norm.sf(z), 0.05, "holm")[0]
    ahead = {(i, j) if s[i] > s[j] else (j, i) for (i, j), yes in zip(pairs, sure, strict=True) if yes}
    for k in range(m):
        assert found["rank"][k] == 1 + sum(s > s[k])
        assert found["rank_lower"][k] == 1 + sum((j, k) in ahead for j in range(m))
        assert found["rank_upper"][k] == m - sum((k, j) in ahead for j in range(m))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(0.1, 100), st.randoms(use_true_random=False))
def test_units_and_order_change_nothing(scores, unit, shuffle):
    s = pd.Series(scores, index=[f"s{i}" for i in range(len(scores))]).round(3)
    v = pd.Series(np.linspace(0.5, 2, len(s)), index=s.index)
    columns = ["rank", "rank_lower", "rank_upper"]
    one = rank_intervals(s, v)[columns]
    order = list(s.index)
    shuffle.shuffle(order)
    pd.testing.assert_frame_equal(rank_intervals(unit * s[order], unit**2 * v[order])[columns].loc[s.index], one)


@pytest.mark.parametrize("truth", [[0.0] * 8, [0.0] * 4 + [3.0] * 4, list(range(8))])
def test_all_true_ranks_are_held_at_once(truth):
    """A true rank of one who is as good as others may be any of theirs."""
    rng, held = np.random.default_rng(12), []
    true = np.array(truth, dtype=float)
    errors = np.linspace(0.5, 1.5, 8)
    best = 1 + (true[None, :] > true[:, None]).sum(axis=1)
    worst = 8 - (true[None, :] < true[:, None]).sum(axis=1)
    for _ in range(600):
        found = rank_intervals(true + errors * rng.standard_normal(8), errors**2)
        held.append(((found["rank_lower"] <= best) & (worst <= found["rank_upper"])).all())
    assert np.mean(held) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 600)


def test_what_differs_much_is_told_apart():
    found = rank_intervals([9.0, 5.0, 5.1, 0.0], [0.1] * 4)
    assert found[["rank_lower", "rank_upper"]].to_numpy().tolist() == [[1, 1], [2, 3], [2, 3], [4, 4]]
    assert found["ahead"].tolist() == [3, 1, 1, 0]


def test_what_has_no_error_is_sure():
    same = rank_intervals([1.0, 1.0, 2.0], [0.0, 0.0, 0.0])
    assert same[["rank", "rank_lower", "rank_upper"]].to_numpy().tolist() == [[2, 2, 3], [2, 2, 3], [1, 1, 1]]
    tied = rank_intervals([1.0, 2.0], [[1.0, 1.0], [1.0, 1.0]])  # their errors are the same ones
    assert tied["rank_upper"].tolist() == [2, 1]


def test_bad_input():
    for scores, errors in (([1.0, np.nan], [1, 1]), ([1.0, 2.0], [1.0]), ([1.0, 2.0], [1, np.inf])):
        with pytest.raises(ValueError, match="finite"):
            rank_intervals(scores, errors)
    with pytest.raises(ValueError, match="not negative"):
        rank_intervals([1.0, 2.0], [1, -1])
    with pytest.raises(ValueError, match="level"):
        rank_intervals([1.0, 2.0], [1, 1], 1.0)
