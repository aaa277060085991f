"""The log-rank test against statsmodels, weights as repetition, and the level that it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import survdiff

from clvlib.stats.log_rank import log_rank


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_against_statsmodels_with_and_without_strata(groups):
    rng = np.random.default_rng(groups)
    t, event = rng.integers(1, 25, 160).astype(float), rng.random(160) < 0.7
    group, stratum = rng.integers(0, groups, 160), rng.integers(0, 3, 160)
    t += 3 * (group == 1)
    assert log_rank(t, event, group) == pytest.approx(survdiff(t, event.astype(int), group)[1])
    theirs = survdiff(t, event.astype(int), group, strata=stratum)[1]
    assert log_rank(t, event, group, stratum=stratum) == pytest.approx(theirs)


rows = st.lists(
    st.tuples(st.integers(1, 6), st.booleans(), st.sampled_from("ab"), st.integers(1, 3)), min_size=4, max_size=30
)


@settings(max_examples=60)
@given(rows)
def test_weights_are_repetition_and_order_does_not_matter(data):
    t, event, group, w = (np.array(column) for column in zip(*data, strict=True))
    found = log_rank(t, event, group, w)
    assert found == pytest.approx(log_rank(*(np.repeat(x, w) for x in (t, event, group))), abs=1e-12)
    assert found == pytest.approx(log_rank(t[::-1], event[::-1], group[::-1], w[::-1]), abs=1e-9)
    assert 0 <= found <= 1


def test_it_errs_as_often_as_it_says():
    rng, found = np.random.default_rng(5), 0
    for _ in range(400):
        wait, end = rng.exponential(30, 120), rng.uniform(10, 60, 120)
        found += log_rank(np.minimum(wait, end).round(), wait < end, rng.integers(0, 3, 120)) < 0.05
    assert 0.025 < found / 400 < 0.085


def test_nothing_to_compare():
    assert log_rank([1, 2, 3], [True, True, False], ["a", "a", "a"]) == 1
    assert log_rank([1, 2, 3], [False, False, False], ["a", "b", "a"]) == 1
