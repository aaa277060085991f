"""Small groups are left out of tables, what is left out is counted, and nobody finds them by subtraction."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from clvlib.report.groups import guarded
from clvlib.report.tables import save_table
from clvlib.words import speaking


def test_each_whole_has_a_row_of_its_own():
    # what hides the 7 is of its own dimension, where 100 − 57 would tell
    flat = pd.DataFrame({"dimension": ["all", *"ppphh"], "who": list("_abcde"), "people": [100, 57, 36, 7, 88, 12]})
    found = guarded(flat, "people", 10)
    assert found.shown["who"].tolist() == ["_", "a", "d", "e"]
    assert found.saved.to_dict("list") == {
        "dimension": ["all", "p", "h", "h", "p"],
        "who": ["_", "a", "d", "e", "withheld (2 groups)"],
        "people": [100.0, 57.0, 88.0, 12.0, 43.0],
    }
    assert found.note.startswith("withheld: 2 groups of 43 in all")


def test_wholes_of_an_index():
    frame = pd.DataFrame({"people": [120, 45, 7, 45, 45]})
    frame.index = pd.MultiIndex.from_tuples([*zip("xxyyy", "abcde", strict=True)], names=["by", "value"])
    found = guarded(frame, "people", 10)
    assert found.shown.index.tolist() == [("x", "a"), ("x", "b"), ("y", "e")]
    last = found.saved.iloc[-1]
    assert (last["by"], last["value"], last["people"]) == ("y", "withheld (2 groups)", 52)


def test_several_wholes_are_counted_in_groups_alone():
    """Their people are the same people, so that a sum over them would count somebody twice."""
    frame = pd.DataFrame({"by": list("aabb"), "who": list("wxyz"), "people": [50, 7, 40, 8]})
    found = guarded(frame, "people", 10)
    assert found.shown.empty
    assert found.note.startswith("withheld: 4 groups (fewer than 10")
    assert found.saved["people"].tolist() == [57, 48]


def test_what_a_sum_would_give_away_is_not_summed():
    for people in ([7], [3, 4], [9]):
        found = guarded(pd.DataFrame({"people": people}), "people", 10)
        assert len(found.shown) == 0
        assert len(found.saved) == 1
        assert found.saved["people"].isna().all()
        assert "in all" not in found.note


def test_nothing_small_is_nothing_changed():
    frame = pd.DataFrame({"who": ["a", "b"], "people": [10, 0]})
    found = guarded(frame, "people", 10)
    assert found.shown is frame
    assert found.saved is frame
    assert found.note == ""


def test_types_of_what_is_shown_stay_and_files_hold_it(tmp_path: Path):
    spans = pd.arrays.IntervalArray.from_tuples([(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)], closed="both")
    frame = pd.DataFrame({"week": [1, 2, 3], "people": [50, 40, 7], "rate": spans, "good": [True, False, True]})
    found = guarded(frame, "people", 10)
    assert found.shown.dtypes.equals(frame.dtypes)
    assert isinstance(found.shown.index, pd.RangeIndex)  # else it would be shown, as a column without a name
    save_table(found.saved, tmp_path, "small")
    for kept in (pd.read_csv(tmp_path / "small.csv"), pd.read_parquet(tmp_path / "small.parquet")):
        assert kept["week"].astype(str).tolist() == ["1", "withheld (2 groups)"]
        assert kept["people"].tolist() == [50, 47]
        assert "3.0" not in str(kept["rate"].tolist())


def test_in_chinese():
    with speaking("zh"):
        found = guarded(pd.DataFrame({"who": ["a", "b"], "people": [50, 7]}), "people", 10)
        assert found.note == "未列出2组，合计57（不足10，或可由所列各组相减推出）"


@given(st.lists(st.integers(0, 60), min_size=1, max_size=12), st.integers(1, 30))
def test_files_add_up_and_no_small_group_is_told(people: list[int], k: int):
    frame = pd.DataFrame({"who": [f"g{i}" for i in range(len(people))], "people": people})
    found = guarded(frame, "people", k)
    told = found.shown["people"]
    assert ((told == 0) | (told >= k)).all()
    rest = sum(people) - told.sum()
    # whoever knows the whole knows what is left of it: it is no single group, nor fewer than k people
    left = found.saved["people"].iloc[len(told) :]
    if len(left) and left.notna().all():
        assert left.sum() == rest >= k
        assert len(people) - len(told) > 1
    elif len(left):
        assert (told == 0).all()  # nothing but small groups: nothing is told at all
