from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from clvlib.stats.multiplicity import adjust, agreeing_alpha

BH_1995 = [
    0.0001,
    0.0004,
    0.0019,
    0.0095,
    0.0201,
    0.0278,
    0.0298,
    0.0344,
    0.0459,
    0.3240,
    0.4262,
    0.5719,
    0.6528,
    0.7590,
    1,
]
NAMES = {"holm": "holm", "benjamini-hochberg": "fdr_bh", "bonferroni": "bonferroni"}


def test_benjamini_and_hochbergs_example() -> None:
    assert (adjust(BH_1995, "benjamini-hochberg") <= 0.05).sum() == 4
    assert (adjust(BH_1995, "holm") <= 0.05).sum() == 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from(sorted(NAMES)))
def test_against_statsmodels(p: list[float], method: str) -> None:
    expected = multipletests(p, method=NAMES[method])[1]
    np.testing.assert_allclose(adjust(p, method), expected, rtol=1e-12, atol=1e-300)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10), st.randoms(use_true_random=False))
def test_order_does_not_matter(p: list[float], random) -> None:
    order = list(range(len(p)))
    random.shuffle(order)
    np.testing.assert_allclose(adjust([p[i] for i in order]), adjust(p).iloc[order])


def test_index_and_nothing() -> None:
    assert adjust(pd.Series({"b": 0.02, "a": 0.03})).to_dict() == {"b": 0.04, "a": 0.04}
    assert adjust([]).empty
    assert adjust([], "benjamini-hochberg").empty


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjust([0.1, np.nan])
    with pytest.raises(ValueError, match="'fdr' is not known"):
        adjust([0.1], "fdr")


@given(st.lists(st.floats(0, 1), max_size=12), st.sampled_from(sorted(NAMES)), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_level_of_each_interval_gives_the_verdict_of_the_adjusted_p_value(
    p: list[float], method: str, alpha: float
) -> None:
    levels = agreeing_alpha(p, alpha, method)
    adjusted = adjust(p, method)
    assert (levels <= alpha * (1 + 1e-12)).all()
    for value, level, whole in zip(p, levels, adjusted, strict=True):
        if abs(value - level) > 1e-9:  # but for ties in the last bit
            assert (value < level) == (whole <= alpha)


def test_alpha_out_of_range() -> None:
    with pytest.raises(ValueError, match="alpha is a share"):
        agreeing_alpha([0.1], 0)
