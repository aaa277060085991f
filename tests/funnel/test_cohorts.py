from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.cohorts import triangle

MONDAY = pd.Timestamp("2026-10-12")
LAST = Week("2026-W46")  # the fifth week, to 2026-11-15

PEOPLE = st.lists(
    st.tuples(st.integers(0, 5 * 7 * 24 - 1), st.one_of(st.none(), st.integers(0, 6 * 7 * 24))), min_size=1, max_size=40
)


def log(people):
    rows = [(f"p{i}", start, "view") for i, (start, _) in enumerate(people)]
    rows += [(f"p{i}", s + t, "order") for i, (s, t) in enumerate(people) if t is not None]
    frame = pd.DataFrame(rows, columns=["person_id", "hour", "event"])
    return frame.assign(occurred_at=MONDAY + pd.to_timedelta(frame["hour"].astype("int64"), unit="h"))


@given(PEOPLE)
@settings(max_examples=50)
@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
def test_cells_by_hand_and_blanks(people):
    found = triangle(log(people), ["view", "order"], LAST, cohorts=5, within=4)
    for k in range(5):
        here = [(s, t) for s, t in people if s // 168 == k]
        assert found.table["people"].iloc[k] == len(here)
        for weeks in range(1, 5):
            value = found.table[str(weeks)].iloc[k]
            if k + 1 + weeks > 5 or not here:  # the week's last person has been watched for less
                assert np.isnan(value)
            else:
                assert value == pytest.approx(sum(t is not None and t <= weeks * 168 for _, t in here) / len(here))


def test_intervals_and_bad_input():
    people = [(k, 5 if k % 2 else None) for k in range(50)]
    cells = triangle(log(people), ["view", "order"], LAST, cohorts=5, within=2).cells
    assert cells["share"].tolist() == [0.5, 0.5]
    assert (cells["lower"] < 0.5).all()
    assert (cells["upper"] > 0.5).all()
    with pytest.raises(ParameterError):
        triangle(log(people), ["view", "order"], LAST, cohorts=0)
    with pytest.raises(ParameterError, match="level"):
        triangle(log(people), ["view", "order"], LAST, cohorts=5, level=7)
    with pytest.raises(EmptyDataError, match="nobody made the first step"):
        triangle(log(people), ["view", "order"], LAST.shift(20))


def test_who_came_before_is_in_no_later_cohort():
    people = [(0, None), (3 * 168, None)]
    events = log(people)
    again = events.assign(occurred_at=events["occurred_at"] + pd.Timedelta(weeks=1))
    found = triangle(pd.concat([events, again]), ["view", "order"], LAST, cohorts=4, within=1)
    assert found.table["people"].tolist() == [0, 0, 1, 0]


def test_only_the_running_week_is_all_blank():
    found = triangle(log([(4 * 168 + 5, 3)]), ["view", "order"], LAST, cohorts=1, within=2)
    assert found.table["people"].tolist() == [1]
    assert found.table[["1", "2"]].isna().all(axis=None)
    assert found.cells.empty
