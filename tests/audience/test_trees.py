"""Who stems from whom: against walking up one link at a time, on forests with and without loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.audience.trees import forest
from clvlib.errors import DataError

LINKS = st.dictionaries(st.integers(0, 14), st.integers(0, 14), min_size=1)  # child -> parent, itself among them


def walked(links: dict[int, int], start: int) -> tuple[int | None, int | None, bool]:
    """Root, depth, and whether one comes back to the start."""
    seen, here = [start], start
    while here in links and links[here] != here:
        here = links[here]
        if here in seen:
            return None, None, here == start
        seen.append(here)
    return here, len(seen) - 1, False


@given(LINKS)
def test_equals_walking_up(links):
    found = forest(pd.Series([*links]), pd.Series([*links.values()]))
    assert set(found.index) == {*links, *links.values()}
    below = dict.fromkeys(found.index, 0)
    for one in found.index:
        root, depth, looped = walked(links, one)
        row = found.loc[one]
        assert (row["loop"] >= 0) == looped
        assert pd.isna(row["root"]) == (root is None)
        if root is not None:
            assert (row["root"], row["depth"]) == (root, depth)
            here = one
            while links.get(here, here) != here:
                here = links[here]
                below[here] += 1
    assert found["descendants"].to_dict() == below


def test_loops_are_told_apart_and_what_hangs_on_them_is_in_no_tree():
    child, parent = [*"abcxyh"], [*"bcayxa"]  # a -> b -> c -> a, x <-> y, h hangs on the first
    found = forest(pd.Series(child), pd.Series(parent))
    assert [set(found.index[found["loop"] == k]) for k in (0, 1, 2)] == [set("abc"), set("xy"), set()]
    assert found.loc["h", "loop"] == -1
    assert found["depth"].isna().all()


def test_a_chain_longer_than_any_recursion():
    n = 20_000
    found = forest(pd.Series(np.arange(1, n)), pd.Series(np.arange(n - 1)))
    assert found.loc[n - 1, ["root", "depth"]].tolist() == [0, n - 1]
    assert found.loc[0, "descendants"] == n - 1
    ring = forest(pd.Series(np.arange(n)), pd.Series(np.r_[np.arange(1, n), 0]))
    assert (ring["loop"] == 0).all()


def test_two_parents_are_refused():
    with pytest.raises(DataError, match="1 ids have several parents"):
        forest(pd.Series(["a", "a"]), pd.Series(["b", "c"]))
