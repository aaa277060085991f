"""Membership tiers and points against their rules written out, and the sums that movements must keep."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvlib as clv
from clvlib.clv.tiers import tiers
from clvlib.errors import EmptyDataError, ParameterError

LAST = pd.Timestamp("2026-11-15")
ORDER = st.tuples(st.sampled_from("abcde"), st.integers(0, 120), st.integers(0, 3000))


def orders_of(rows) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["customer_id", "ago", "net_amount"]).astype({"net_amount": float})
    return frame.assign(day=LAST - pd.to_timedelta(frame["ago"], unit="D"))


def tier_of(own: pd.DataFrame, day: pd.Timestamp, weeks: int, need: str) -> str | None:
    own = own[own["day"] <= day]
    if own.empty:
        return None
    recent = own[own["day"] > day - pd.Timedelta(weeks=weeks)]
    spend, times = recent["net_amount"].sum(), recent["day"].nunique()
    for name, least, count in (("gold", 5000, 5), ("silver", 1000, 2)):
        reached = [spend >= least, times >= count]
        if all(reached) if need == "both" else any(reached):
            return name
    return "ordinary"


@settings(max_examples=30)
@given(
    st.lists(ORDER, min_size=1, max_size=30),
    st.integers(1, 20),
    st.integers(1, 10),
    st.sampled_from(["both", "either"]),
)
def test_tiers_are_what_the_rules_say(rows, weeks, since, need):
    sold = orders_of(rows)
    result = tiers(sold, LAST, weeks=weeks, since=since, need=need)
    for who, row in result.table.iterrows():
        own = sold[sold["customer_id"] == who]
        assert row["tier"] == tier_of(own, LAST, weeks, need)
        assert row["before"] == (tier_of(own, LAST - pd.Timedelta(weeks=since), weeks, need) or "not yet a customer")
        assert row["points"] == own["net_amount"].sum() // 300
    assert result.movement.to_numpy().sum() == len(result.table) == sold["customer_id"].nunique()
    assert result.summary["customers"].to_dict() == result.movement.sum().to_dict()
    order = ["ordinary", "silver", "gold"]
    old = result.movement.loc[order, order].to_numpy()
    assert (result.risen, result.fallen) == (np.triu(old, 1).sum(), np.tril(old, -1).sum())
    assert result.summary["spend"].sum() == pytest.approx(result.table["spend"].sum())


def test_a_tier_is_worth_what_its_members_are():
    sold = orders_of([("a", 1, 3000), ("a", 20, 3000), ("a", 30, 10), ("a", 40, 10), ("a", 50, 10), ("b", 3, 299.5)])
    result = tiers(sold, LAST, value=pd.Series({"a": 700.0, "b": 20.0}))
    assert result.summary.loc["gold", ["customers", "value", "points"]].tolist() == [1, 700.0, 20]
    assert result.summary.loc["ordinary", "points"] == 0
    assert result.table.loc["b", "to_next"] == pytest.approx(700.5)
    with pytest.raises(ParameterError, match="every customer"):
        tiers(sold, LAST, value=pd.Series({"a": 700.0}))
    assert clv.tiers is tiers


def test_what_cannot_be_is_refused():
    sold = orders_of([("a", 1, 10)])
    for rules in ({}, {"gold": (10, 2), "silver": (5, 1)}, {"ordinary": (1, 1)}, {"silver": (0, 0)}):
        with pytest.raises(ParameterError):
            tiers(sold, LAST, rules)
    for bad in ({"need": "all"}, {"weeks": 0}, {"since": 0}, {"points_per": 0}):
        with pytest.raises(ParameterError):
            tiers(sold, LAST, **bad)
    with pytest.raises(EmptyDataError):
        tiers(sold, "2020-01-01")


def test_moves_leave_out_who_stayed():
    rows = [("a", 60, 900), ("a", 3, 200), ("b", 60, 50), ("c", 2, 10), ("d", 1, 10)]
    found = tiers(orders_of(rows), LAST)
    assert found.moves.values.tolist() == [["not yet a customer", "ordinary", 2], ["ordinary", "silver", 1]]
